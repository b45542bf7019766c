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

/// What a load costs the server, in commands.
pub(super) fn weight(asked: &Asked) -> usize {
    asked.load.keys.len().saturating_add(asked.load.plain.len().saturating_mul(4)).saturating_add(1)
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
    /// Reads all of it in one snapshot.
    pub(super) async fn run(mut self, loads: Vec<Asked>) -> Vec<Read> {
        let mut pipe = redis::pipe();
        pipe.atomic();
        for asked in &loads {
            self.ask(&mut pipe, asked);
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
        if asks_evictions && let Some(Ok(evictions)) = answers.pop().map(|info| answer::evictions(&info)) {
            self.evictions.store(evictions, Ordering::Relaxed);
        }
        let mut answers = answers.into_iter();
        let mut answer = |asked: Asked| {
            let mut own = answers.by_ref().take(self.count(&asked)).collect::<Vec<_>>().into_iter();
            self.take(asked, &mut || own.next().ok_or(RedisStoreError::Answer("a transaction has too few answers")))
        };
        loads.into_iter().map(&mut answer).collect()
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

    /// How many answers a load has.
    fn count(&self, Asked { load, of_any_type }: &Asked) -> usize {
        let count = |plain: &PlainLoad| plain_read::count(read_as(plain, *of_any_type), self.tells_expiry);
        let plain: usize = load.plain.iter().map(count).sum();
        1 + load.keys.len() + usize::from(load.changed_after.is_some()) + plain
    }

    fn take(
        &self,
        Asked { load, of_any_type }: Asked,
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
        let evictions = self.evictions.load(Ordering::Relaxed);
        Ok(Some(Loaded { slot: load.slot, marker, keys, changed, plain, evictions }))
    }
}

fn read_as(plain: &PlainLoad, of_any_type: bool) -> As {
    if of_any_type { As::Any } else { As::Expected(plain.expected) }
}
