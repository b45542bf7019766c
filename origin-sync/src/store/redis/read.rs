//! Loads as one transaction, and its answers as what was loaded.

use super::{
    RedisStoreError, answer, names,
    plain_read::{self, As},
};
use headwater::store::{Load, Loaded, PlainLoad};
use redis::{RedisError, Value, aio::MultiplexedConnection};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// A load on its way.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) load: Load,
    /// Whether plain values are read whatever their types are, and not only as they are expected.
    pub(super) of_any_type: bool,
}

/// What came of a load; nothing where a plain value is of a type that was not expected.
pub(super) type Read = Result<Option<Loaded>, RedisStoreError>;

/// What loads cost the server, in commands.
#[expect(clippy::ptr_arg, reason = "what a request is")]
pub(super) fn weight(loads: &Vec<Asked>) -> usize {
    loads.iter().map(|Asked { load, .. }| load.keys.len() + 4 * load.plain.len() + 1).sum()
}

/// How a server is read.
#[derive(Clone, Debug)]
pub(super) struct Reads {
    pub(super) connection: MultiplexedConnection,
    pub(super) tells_expiry: bool,
    /// How many keys the server had evicted when it was last asked.
    pub(super) evictions: Arc<AtomicU64>,
}

impl Reads {
    /// Reads all of it in one snapshot, and gives what came of it request by request.
    pub(super) async fn run(self, requests: Vec<Vec<Asked>>) -> Vec<Vec<Read>> {
        let sizes: Vec<usize> = requests.iter().map(Vec::len).collect();
        let mut read = self.read(requests.into_iter().flatten().collect()).await.into_iter();
        sizes.into_iter().map(|size| read.by_ref().take(size).collect()).collect()
    }

    async fn read(mut self, loads: Vec<Asked>) -> Vec<Read> {
        let mut pipe = redis::pipe();
        pipe.atomic();
        // How many commands each load is.
        let mut counts = Vec::with_capacity(loads.len());
        for asked in &loads {
            let before = pipe.len();
            self.ask(&mut pipe, asked);
            counts.push(pipe.len().saturating_sub(before));
        }
        let asks_evictions = loads.iter().any(|asked| !asked.load.plain.is_empty());
        if asks_evictions {
            pipe.cmd("INFO").arg("stats");
        }
        // A value that is read in several ways fails in all but one.
        let answers: Result<Vec<Value>, RedisError> = pipe.ignore_errors().query_async(&mut self.connection).await;
        let mut answers = match answers {
            Ok(answers) => answers,
            Err(error) => return loads.iter().map(|_| Err(error.clone().into())).collect(),
        };
        // Where nobody asks, what was told last counts.
        let info = if asks_evictions { answers.pop() } else { None };
        let evictions = || match &info {
            Some(info) => answer::evictions(info),
            None => Ok(self.evictions.load(Ordering::Relaxed)),
        };
        if let Ok(evictions) = evictions() {
            self.evictions.store(evictions, Ordering::Relaxed);
        }
        let mut answers = answers.into_iter();
        let answered = loads.into_iter().zip(counts).map(|(asked, count)| {
            // Also where an answer is malformed, the next load's begin behind all of this one's.
            let mut own = answers.by_ref().take(count).collect::<Vec<_>>().into_iter();
            let mut next = || own.next().ok_or(RedisStoreError::Answer("a transaction has too few answers"));
            self.take(asked, evictions()?, &mut next)
        });
        answered.collect()
    }

    fn ask(&self, pipe: &mut redis::Pipeline, Asked { load, of_any_type }: &Asked) {
        let slot = load.slot;
        pipe.cmd("HGETALL").arg(names::marker(slot));
        for key in &load.keys {
            pipe.cmd("HGETALL").arg(names::companion(slot, key));
        }
        if let Some(after) = load.changed_after {
            pipe.cmd("ZRANGEBYSCORE").arg(names::feed(slot)).arg(format!("({after}")).arg("+inf").arg("WITHSCORES");
        }
        for plain in &load.plain {
            plain_read::ask(pipe, slot, &plain.key, read_as(plain, *of_any_type), self.tells_expiry);
        }
    }

    fn take(
        &self,
        Asked { load, of_any_type }: Asked,
        evictions: u64,
        next: &mut impl FnMut() -> Result<Value, RedisStoreError>,
    ) -> Read {
        let marker = answer::marker(answer::answered(next()?)?)?;
        let mut keys = Vec::with_capacity(load.keys.len());
        for key in load.keys {
            keys.push((key, answer::companion(answer::answered(next()?)?)?));
        }
        let changed = match load.changed_after {
            Some(_) => answer::changed(answer::answered(next()?)?)?,
            None => Vec::new(),
        };
        let mut plain = Vec::with_capacity(load.plain.len());
        for asked in load.plain {
            match plain_read::take(next, read_as(&asked, of_any_type), self.tells_expiry)? {
                Some(read) => plain.push((asked.key, read)),
                None => return Ok(None),
            }
        }
        Ok(Some(Loaded { slot: load.slot, marker, keys, changed, plain, evictions }))
    }
}

fn read_as(plain: &PlainLoad, of_any_type: bool) -> As {
    if of_any_type { As::Any } else { As::Expected(plain.expected) }
}
