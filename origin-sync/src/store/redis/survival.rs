//! Whether what was committed survives what a server may lose, as the server itself tells by WAIT and WAITAOF.
//!
//! Both speak of what their own connection wrote, and nothing else gets through on it meanwhile. So the question has a
//! connection of its own: on it a key of no use is written, and what was committed before that write stands before it for the
//! replicas and in the log too.
//!
//! That replicas have a write helps only where the one that is promoted is among them. So as many are asked for as were ever
//! connected at once, or as the operator says; docs/origin-sync.md tells when that is enough.

use super::{
    RedisStoreError,
    access::{Access, Node},
    answer, names,
    refusal::Refusal,
    server::Mode,
};
use headwater::{origin::StableBy, slot::Slot};
use redis::{ConnectionAddr, ErrorKind, Pipeline, RedisError, ServerErrorKind, Value, aio::MultiplexedConnection};
use std::{
    fmt,
    str::FromStr,
    sync::atomic::{AtomicU32, Ordering},
};

/// How long the server may wait for its replicas and its log before it is asked anew, in milliseconds.
const WAIT_MS: u32 = 1_000;

/// How long the key of no use stays, in milliseconds.
const KEY_MS: u32 = 60_000;

/// By what a commit counts as stable, as the operator says.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum StableMeans {
    /// By what the server has of the others, and in any case by the window.
    #[default]
    Auto,
    /// Only once it is in the log on the server's disk, and at the replicas if there are any.
    WaitAof,
    /// Only once the replicas have it.
    Wait,
    /// Once the loss window has passed.
    Window,
}

/// By what a commit counts as stable, and how many replicas must have it.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct StableConfig {
    /// By what.
    pub means: StableMeans,
    /// How many; if that is not said, as many as were connected at once since the daemon connected.
    pub replicas: Option<u32>,
}

/// Means that there are not.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is none of auto, waitaof, wait and window")]
pub struct StableMeansError(String);

impl StableConfig {
    /// What tells the machine.
    pub(super) fn stable_by(self) -> StableBy {
        match self.means {
            StableMeans::Auto => StableBy::Either,
            StableMeans::WaitAof | StableMeans::Wait => StableBy::Store,
            StableMeans::Window => StableBy::Window,
        }
    }
}

impl FromStr for StableMeans {
    type Err = StableMeansError;

    fn from_str(text: &str) -> Result<Self, StableMeansError> {
        match text {
            "auto" => Ok(Self::Auto),
            "waitaof" => Ok(Self::WaitAof),
            "wait" => Ok(Self::Wait),
            "window" => Ok(Self::Window),
            other => Err(StableMeansError(other.to_owned())),
        }
    }
}

/// What a server says of some slots.
#[derive(Debug, Default)]
pub(super) struct Survival {
    /// All of these survives that was committed before.
    pub(super) survivors: Vec<Slot>,
    /// These are other nodes' now.
    pub(super) moved: Vec<(Slot, Node)>,
}

/// Who asks one server.
#[derive(Debug)]
pub(super) struct Witness {
    connection: MultiplexedConnection,
    mode: Mode,
    /// Whether the server's own log is asked for.
    asks_log: bool,
    /// Whether replicas are asked for.
    asks_replicas: bool,
    /// How many, where the operator says so.
    replicas: Option<u32>,
    /// How many at least, where nobody says so.
    at_least: u32,
    /// How many were connected at once.
    seen: AtomicU32,
}

impl Witness {
    /// Finds out what the server can be asked. There is nobody where only the window counts.
    ///
    /// # Errors
    /// When the server has not what the operator asks for.
    pub(super) async fn start(
        access: &Access,
        address: &ConnectionAddr,
        mode: Mode,
    ) -> Result<Option<Self>, RedisStoreError> {
        let StableConfig { means, replicas } = access.stable();
        if means == StableMeans::Window {
            return Ok(None);
        }
        let mut connection = access.connect(address).await?;
        let waits_for_log = means != StableMeans::Wait && waits_for_log(&mut connection).await?;
        let asks_log = waits_for_log && is_logged(&mut connection).await?;
        if means == StableMeans::WaitAof && !asks_log {
            return Err(RedisStoreError::NotStable(if waits_for_log {
                "stable = waitaof needs appendonly yes"
            } else {
                "stable = waitaof needs a server that knows WAITAOF (Redis 7.2), and a user who may use it"
            }));
        }
        let asks_replicas = is_served(redis::cmd("WAIT").arg(0).arg(1).query_async(&mut connection).await)?;
        let seen: u32 = answer::replicas(&redis::cmd("ROLE").query_async(&mut connection).await?);
        match (means, replicas) {
            (StableMeans::Wait, _) if !asks_replicas => {
                return Err(RedisStoreError::NotStable("stable = wait needs a user who may use WAIT"));
            }
            (StableMeans::Wait, Some(0)) => {
                return Err(RedisStoreError::NotStable("stable = wait needs stable-replicas of at least 1"));
            }
            // After a failover there may be none for a while.
            (StableMeans::Wait, None) if seen == 0 => {
                tracing::warn!("no replica is connected; nothing is called stable before there is one");
            }
            (StableMeans::WaitAof, _) if !asks_replicas && replicas.unwrap_or(seen) > 0 => {
                return Err(RedisStoreError::NotStable("stable = waitaof needs a user who may use WAIT"));
            }
            _ => {}
        }
        let at_least = u32::from(means == StableMeans::Wait);
        Ok(Some(Self { connection, mode, asks_log, asks_replicas, replicas, at_least, seen: AtomicU32::new(seen) }))
    }

    /// In which of the slots all survives that was committed before; in none where the server cannot say.
    pub(super) async fn survival(&self, slots: &[Slot]) -> Result<Survival, RedisStoreError> {
        let replicas = self.replicas();
        let (here, moved) = match self.mode {
            Mode::Standalone => (slots.to_vec(), Vec::new()),
            Mode::Cluster => self.look(slots).await?,
        };
        let Some(first) = here.first() else { return Ok(Survival { survivors: here, moved }) };
        let mut pipe = redis::pipe();
        pipe.ignore_errors().cmd("ROLE");
        let asked = self.ask(&mut pipe, *first, replicas);
        let answers: Vec<Value> = pipe.query_async(&mut self.connection.clone()).await?;
        let mut answers = answers.into_iter();
        let role = answers.next().ok_or(RedisStoreError::Answer("a pipeline has too few answers"))?;
        if !answer::is_master(&role) {
            return Err(RedisStoreError::NotMaster);
        }
        self.seen.fetch_max(answer::replicas(&role), Ordering::Relaxed);
        let is_reached = asked.is_reached(answers)? && self.replicas() == replicas;
        Ok(Survival { survivors: if is_reached { here } else { Vec::new() }, moved })
    }

    /// The slots that the node still has whole, and where others have moved. What of these was committed here is asked about
    /// there.
    async fn look(&self, slots: &[Slot]) -> Result<(Vec<Slot>, Vec<(Slot, Node)>), RedisStoreError> {
        let mut pipe = redis::pipe();
        pipe.ignore_errors();
        for slot in slots {
            pipe.cmd("HGET").arg(names::marker(*slot)).arg("i");
        }
        let answers: Vec<Value> = pipe.query_async(&mut self.connection.clone()).await?;
        let (mut here, mut moved) = (Vec::new(), Vec::new());
        for (slot, answer) in slots.iter().zip(answers) {
            match answer {
                Value::ServerError(error) => match Refusal::of_server(&error) {
                    Some(Refusal::Moved(to)) => moved.push((*slot, to)),
                    Some(Refusal::NotNow(_)) => {}
                    None => return Err(RedisStoreError::Server(RedisError::from(error))),
                },
                _ => here.push(*slot),
            }
        }
        Ok((here, moved))
    }

    /// How many replicas are asked for now.
    fn replicas(&self) -> u32 {
        let seen = self.seen.load(Ordering::Relaxed);
        if self.asks_replicas { self.replicas.unwrap_or_else(|| seen.max(self.at_least)) } else { 0 }
    }

    fn ask(&self, pipe: &mut Pipeline, slot: Slot, replicas: u32) -> Asked {
        let asked = Asked { log: self.asks_log, replicas };
        if asked.is_something() {
            pipe.cmd("SET").arg(names::witness(slot)).arg("").arg("PX").arg(KEY_MS);
        }
        if asked.log {
            pipe.cmd("WAITAOF").arg(1).arg(0).arg(WAIT_MS);
        }
        if replicas > 0 {
            pipe.cmd("WAIT").arg(replicas).arg(WAIT_MS);
        }
        asked
    }
}

impl fmt::Display for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.asks_log, self.replicas()) {
            (true, 0) => f.write_str("WAITAOF"),
            (_, replicas) if self.seen.load(Ordering::Relaxed) < replicas => {
                let log = if self.asks_log { "WAITAOF and " } else { "" };
                write!(f, "{log}WAIT ({replicas} replicas, of which not all are connected)")
            }
            (true, replicas) => write!(f, "WAITAOF and WAIT ({replicas} replicas)"),
            (false, 0) => f.write_str("the window, for want of log and replicas"),
            (false, replicas) => write!(f, "WAIT ({replicas} replicas)"),
        }
    }
}

/// What the server was asked for.
#[derive(Clone, Copy, Debug)]
struct Asked {
    log: bool,
    replicas: u32,
}

impl Asked {
    fn is_something(self) -> bool {
        self.log || self.replicas > 0
    }

    /// Whether the answers to the write, WAITAOF and WAIT say that all of it came about.
    fn is_reached(self, mut answers: impl Iterator<Item = Value>) -> Result<bool, RedisStoreError> {
        if !self.is_something() {
            return Ok(false);
        }
        let mut next = || match answers.next() {
            // It says that it did nothing, as without memory: asked again later.
            Some(Value::ServerError(error)) if Refusal::of_server(&error).is_some() => Ok(Value::Nil),
            Some(Value::ServerError(error)) => Err(RedisStoreError::Server(RedisError::from(error))),
            Some(value) => Ok(value),
            None => Err(RedisStoreError::Answer("a pipeline has too few answers")),
        };
        let is_written = next()? != Value::Nil;
        let is_logged = !self.log || is_in_log(&next()?);
        let is_copied = self.replicas == 0 || matches!(next()?, Value::Int(count) if count >= i64::from(self.replicas));
        Ok(is_written && is_logged && is_copied)
    }
}

/// WAITAOF answers how many logs have it: the server's own, 0 or 1, and those of replicas.
fn is_in_log(answer: &Value) -> bool {
    matches!(answer, Value::Array(counts) if matches!(counts.as_slice(), [Value::Int(1..), Value::Int(_)]))
}

/// Whether the server knows WAITAOF, and this user may use it.
async fn waits_for_log(connection: &mut MultiplexedConnection) -> Result<bool, RedisStoreError> {
    // It is answered at once, since nothing is asked for.
    is_served(redis::cmd("WAITAOF").arg(0).arg(0).arg(1).query_async(connection).await)
}

async fn is_logged(connection: &mut MultiplexedConnection) -> Result<bool, RedisStoreError> {
    let info: String = redis::cmd("INFO").arg("persistence").query_async(connection).await?;
    Ok(info.lines().any(|line| line.trim_end() == "aof_enabled:1"))
}

/// Whether a command was run, and not refused as unknown or withheld.
fn is_served(answer: Result<Value, RedisError>) -> Result<bool, RedisStoreError> {
    match answer {
        Ok(_) => Ok(true),
        Err(error) => match error.kind() {
            ErrorKind::Server(ServerErrorKind::NoPerm | ServerErrorKind::ResponseError) => Ok(false),
            _ => Err(error.into()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reached(log: bool, replicas: u32, answers: &[Value]) -> bool {
        Asked { log, replicas }.is_reached(answers.iter().cloned()).unwrap()
    }

    fn logs(own: i64, replicas: i64) -> Value {
        Value::Array(vec![Value::Int(own), Value::Int(replicas)])
    }

    #[test]
    fn all_that_was_asked_for_must_have_come_about() {
        assert!(reached(false, 2, &[Value::Okay, Value::Int(2)]));
        assert!(reached(false, 2, &[Value::Okay, Value::Int(3)]));
        assert!(!reached(false, 2, &[Value::Okay, Value::Int(1)]));
        assert!(reached(true, 0, &[Value::Okay, logs(1, 0)]));
        assert!(!reached(true, 0, &[Value::Okay, logs(0, 2)]));
        assert!(reached(true, 1, &[Value::Okay, logs(1, 0), Value::Int(1)]));
        assert!(!reached(true, 1, &[Value::Okay, logs(1, 1), Value::Int(0)]));
        assert!(!reached(true, 1, &[Value::Okay, logs(0, 1), Value::Int(1)]));
    }

    #[test]
    fn a_server_that_is_asked_for_nothing_vouches_for_nothing() {
        assert!(!reached(false, 0, &[]));
    }

    #[test]
    fn answers_of_another_shape_vouch_for_nothing() {
        assert!(!reached(true, 0, &[Value::Okay, Value::Int(1)]));
        assert!(!reached(true, 0, &[Value::Okay, Value::Array(vec![Value::Int(1)])]));
        assert!(!reached(false, 1, &[Value::Okay, Value::Nil]));
        assert!(Asked { log: false, replicas: 1 }.is_reached([Value::Okay].into_iter()).is_err());
    }

    #[test]
    fn means_are_named() {
        assert_eq!("waitaof".parse::<StableMeans>().unwrap(), StableMeans::WaitAof);
        assert!("WAIT".parse::<StableMeans>().unwrap_err().to_string().contains("auto, waitaof, wait and window"));
    }
}
