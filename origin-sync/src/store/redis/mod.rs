//! The store in a Redis, with the plain values beside the companions.
//!
//! Over one multiplexed connection that never reconnects by itself: the run id that it read first is then the run id
//! under which each of its commands ran, and on that the fence of incarnations rests.

mod answer;
mod names;
mod plain;
mod request;
mod script;

pub use self::plain::PlainError;

use super::{RedisUrl, Store, StoreError};
use bytes::Bytes;
use headwater::{
    id::{Key, KeyTooLong},
    store::{Commit, Load, Loaded, Outcome},
};
use redis::{
    AsyncConnectionConfig, Client, IntoConnectionInfo, RedisError, Value, aio::MultiplexedConnection,
    io::tcp::TcpSettings,
};
use script::CommitScript;
use std::time::Duration;

/// A server beyond this is as good as gone.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The largest commits take some hundred milliseconds; a server that is silent for longer is torn down and asked anew.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection to a Redis.
#[derive(Debug)]
pub struct RedisStore {
    connection: MultiplexedConnection,
    script: CommitScript,
    run_id: Bytes,
}

/// Why Redis did not answer as it should.
#[derive(Debug, thiserror::Error)]
pub enum RedisStoreError {
    /// The connection, or an error answer.
    #[error("redis: {0}")]
    Server(#[from] RedisError),
    /// An answer of another shape, or what stands in Headwater's keys was not written by it.
    #[error("redis holds or answers what was not expected: {0}")]
    Answer(&'static str),
    /// A name in the change feed is no key.
    #[error("redis holds a malformed change feed")]
    FeedKey(#[source] KeyTooLong),
    /// A key of the request lies in another slot.
    #[error("the key {key} does not lie in the slot of its request")]
    Slot {
        /// The key.
        key: Key,
    },
    /// The server does not let this user run a command that commits need.
    #[error("redis refuses {command}, which commits need: {error}")]
    Refused {
        /// The command.
        command: String,
        /// What Redis says.
        error: String,
    },
    /// A plain command that is not run.
    #[error(transparent)]
    Plain(#[from] PlainError),
}

impl RedisStore {
    /// Connects, reads the run id before anything else, and installs the compare-and-set.
    pub async fn connect(url: &RedisUrl) -> Result<Self, RedisStoreError> {
        let (mut connection, run_id) = open(url).await?;
        let script = CommitScript::install(&mut connection).await?;
        Ok(Self { connection, script, run_id })
    }

    async fn read(&self, load: Load) -> Result<Loaded, RedisStoreError> {
        let slot = load.slot;
        let mut pipe = redis::pipe();
        pipe.atomic().cmd("HGETALL").arg(names::marker(slot));
        for key in &load.keys {
            if key.slot() != slot {
                return Err(RedisStoreError::Slot { key: key.clone() });
            }
            pipe.cmd("HGETALL").arg(names::companion(slot, key));
        }
        if let Some(after) = load.changed_after {
            pipe.cmd("ZRANGEBYSCORE").arg(names::feed(slot)).arg(format!("({after}")).arg("+inf").arg("WITHSCORES");
        }
        let answers: Vec<Value> = pipe.query_async(&mut self.connection.clone()).await?;
        let mut answers = answers.into_iter();
        let mut next = || answers.next().ok_or(RedisStoreError::Answer("a transaction has too few answers"));
        let marker = answer::marker(next()?)?;
        let keys = load
            .keys
            .into_iter()
            .map(|key| Ok((key, answer::companion(next()?)?)))
            .collect::<Result<_, RedisStoreError>>()?;
        let changed = if load.changed_after.is_some() { answer::changed(next()?)? } else { Vec::new() };
        Ok(Loaded { slot, marker, keys, changed })
    }

    async fn write(&self, commit: &Commit) -> Result<Outcome, RedisStoreError> {
        let request = request::encode(commit)?;
        let answer = self.script.call(&mut self.connection.clone(), &request).await?;
        request::decode(commit, answer)
    }
}

impl Store for RedisStore {
    async fn load(&self, load: Load) -> Result<Loaded, StoreError> {
        Ok(self.read(load).await?)
    }

    async fn commit(&self, commit: Commit) -> Result<Outcome, StoreError> {
        Ok(self.write(&commit).await?)
    }

    fn run_id(&self) -> Bytes {
        self.run_id.clone()
    }

    async fn ping(&self) -> Result<(), StoreError> {
        let ping = redis::cmd("PING").exec_async(&mut self.connection.clone()).await;
        Ok(ping.map_err(RedisStoreError::Server)?)
    }
}

/// Whether this is a URL at all.
pub(super) fn check(url: &str) -> Result<(), RedisStoreError> {
    url.into_connection_info()?;
    Ok(())
}

async fn open(url: &RedisUrl) -> Result<(MultiplexedConnection, Bytes), RedisStoreError> {
    let tcp = TcpSettings::default().set_nodelay(true);
    let client = Client::open(url.as_str().into_connection_info()?.set_tcp_settings(tcp))?;
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT_TIMEOUT))
        .set_response_timeout(Some(RESPONSE_TIMEOUT));
    let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
    let info: String = redis::cmd("INFO").arg("server").query_async(&mut connection).await?;
    let run_id = answer::run_id(&info)?;
    Ok((connection, run_id))
}
