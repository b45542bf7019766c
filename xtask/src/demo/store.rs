//! Reading what arrived at the origin: Redis by an ordinary client and ordinary commands, or the embedded store through the daemon.
//!
//! It counts what it sends itself, so that the figures about Redis can leave the demo's own reads out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Bytes;
use redis::AsyncConnectionConfig;
use redis::aio::MultiplexedConnection;
use tokio::sync::Mutex;

use super::http::{Http, HttpError};

/// How long Redis may take for one pipeline.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(30);

/// A reply of either store, brought to one form.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Found {
    /// No such thing.
    Nil,
    /// A number.
    Integer(i64),
    /// A string; bytes that are not UTF-8 show as replacement characters, and so as a difference.
    Text(String),
    /// Several, a map's names and values in turn.
    List(Vec<Self>),
}

impl Found {
    /// As text, where it is one value.
    pub(crate) fn text(&self) -> Option<String> {
        match self {
            Self::Integer(number) => Some(number.to_string()),
            Self::Text(text) => Some(text.clone()),
            Self::Nil | Self::List(_) => None,
        }
    }

    /// As a number, where it is one.
    pub(crate) fn integer(&self) -> Option<i64> {
        self.text()?.parse().ok()
    }

    /// As texts; nothing is an empty list.
    pub(crate) fn texts(&self) -> Option<Vec<String>> {
        match self {
            Self::Nil => Some(Vec::new()),
            Self::List(all) => all.iter().map(Self::text).collect(),
            Self::Integer(_) | Self::Text(_) => None,
        }
    }
}

/// The store could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    /// Redis, or the way to it.
    #[error("cannot read Redis")]
    Redis(#[from] redis::RedisError),
    /// The daemon, or the way to it.
    #[error("cannot read the embedded store through the daemon")]
    Daemon(#[from] HttpError),
    /// The daemon refuses a command.
    #[error("the daemon answers {command} with: {error}")]
    Refused {
        /// What was asked.
        command: String,
        /// What it says.
        error: String,
    },
    /// A reply of another shape than the command has.
    #[error("{command} brought {found:?}")]
    Shape {
        /// What was asked.
        command: String,
        /// What came.
        found: Box<Found>,
    },
}

/// How much a reader has asked of Redis itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct OwnCalls {
    /// Requests, a pipeline being one.
    pub(crate) calls: u64,
    /// Commands in them, by name, as `commandstats` writes it.
    pub(crate) by_command: BTreeMap<String, u64>,
}

/// A reader of the origin's store. Cheap to clone; clones share connection and counts.
#[derive(Clone, Debug)]
pub(crate) enum Store {
    /// Plain Redis.
    Redis(RedisReader),
    /// The daemon's embedded store.
    Embedded(Http),
}

/// A connection that is made anew after an error, because `--chaos` kills the server.
#[derive(Clone, Debug)]
pub(crate) struct RedisReader {
    client: redis::Client,
    connection: Arc<Mutex<Option<MultiplexedConnection>>>,
    own: Arc<Mutex<OwnCalls>>,
}

impl Store {
    /// Reads Redis at `url`.
    pub(crate) fn redis(url: &str) -> Result<Self, ReadError> {
        let client = redis::Client::open(url)?;
        Ok(Self::Redis(RedisReader { client, connection: Arc::default(), own: Arc::default() }))
    }

    /// Reads the embedded store behind the daemon at `base`.
    pub(crate) fn embedded(base: &str, origin_token: &str) -> Self {
        Self::Embedded(Http::new(base, origin_token))
    }

    /// What to call it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Redis(_) => "Redis",
            Self::Embedded(_) => "the embedded store",
        }
    }

    /// Runs read commands, one reply each, in order.
    pub(crate) async fn read(&self, commands: &[Vec<&str>]) -> Result<Vec<Found>, ReadError> {
        match self {
            Self::Redis(reader) => reader.read(commands).await,
            Self::Embedded(http) => {
                let mut replies = Vec::with_capacity(commands.len());
                for command in commands {
                    replies.push(ask_daemon(http, command).await?);
                }
                Ok(replies)
            }
        }
    }

    /// Runs one read command.
    pub(crate) async fn read_one(&self, command: &[&str]) -> Result<Found, ReadError> {
        let replies = self.read(&[command.to_vec()]).await?;
        Ok(replies.into_iter().next().unwrap_or(Found::Nil))
    }
}

impl OwnCalls {
    fn count(&mut self, commands: &[Vec<&str>]) {
        self.calls += 1;
        for name in commands.iter().filter_map(|command| command.first()) {
            *self.by_command.entry(name.to_ascii_lowercase()).or_default() += 1;
        }
    }
}

impl RedisReader {
    /// What this reader has asked so far.
    pub(crate) async fn own_calls(&self) -> OwnCalls {
        self.own.lock().await.clone()
    }

    /// Runs read commands as one pipeline.
    pub(crate) async fn read(&self, commands: &[Vec<&str>]) -> Result<Vec<Found>, ReadError> {
        let mut pipeline = redis::pipe();
        for command in commands {
            if let Some((name, arguments)) = command.split_first() {
                pipeline.cmd(name).arg(arguments);
            }
        }
        let mut connection = self.connection().await?;
        self.own.lock().await.count(commands);
        let replies: Result<Vec<redis::Value>, _> = pipeline.query_async(&mut connection).await;
        if replies.is_err() {
            *self.connection.lock().await = None;
        }
        Ok(replies?.into_iter().map(from_redis).collect())
    }

    async fn connection(&self) -> Result<MultiplexedConnection, ReadError> {
        // A tokio mutex, held across the connect on purpose: one caller connects, the others wait for it.
        let mut slot = self.connection.lock().await;
        match &*slot {
            Some(connection) => Ok(connection.clone()),
            None => {
                // The default half second is too short for a large board.
                let config = AsyncConnectionConfig::new().set_response_timeout(Some(RESPONSE_TIMEOUT));
                let connection = self.client.get_multiplexed_async_connection_with_config(&config).await?;
                Ok(slot.insert(connection).clone())
            }
        }
    }
}

async fn ask_daemon(http: &Http, command: &[&str]) -> Result<Found, ReadError> {
    let body = Bytes::from(serde_json::Value::from(command).to_string());
    let mut answer = http.post("/command", None, body).await?;
    if let Some(error) = answer.get("error") {
        return Err(ReadError::Refused { command: command.join(" "), error: error.to_string() });
    }
    // The bare value, or wrapped as the edges wrap theirs.
    Ok(from_json(answer.get_mut("result").map_or(serde_json::Value::Null, serde_json::Value::take)))
}

fn from_redis(value: redis::Value) -> Found {
    match value {
        redis::Value::Nil => Found::Nil,
        redis::Value::Int(number) => Found::Integer(number),
        redis::Value::BulkString(bytes) => Found::Text(String::from_utf8_lossy(&bytes).into_owned()),
        redis::Value::SimpleString(text) => Found::Text(text),
        redis::Value::Okay => Found::Text("OK".to_owned()),
        redis::Value::Double(number) => Found::Text(number.to_string()),
        redis::Value::Array(all) | redis::Value::Set(all) => Found::List(all.into_iter().map(from_redis).collect()),
        redis::Value::Map(pairs) => {
            Found::List(pairs.into_iter().flat_map(|(name, value)| [from_redis(name), from_redis(value)]).collect())
        }
        other => Found::Text(format!("{other:?}")),
    }
}

fn from_json(value: serde_json::Value) -> Found {
    match value {
        serde_json::Value::Null => Found::Nil,
        serde_json::Value::Bool(flag) => Found::Integer(flag.into()),
        serde_json::Value::Number(number) => {
            number.as_i64().map_or_else(|| Found::Text(number.to_string()), Found::Integer)
        }
        serde_json::Value::String(text) => Found::Text(text),
        serde_json::Value::Array(all) => Found::List(all.into_iter().map(from_json).collect()),
        serde_json::Value::Object(fields) => {
            Found::List(fields.into_iter().flat_map(|(name, value)| [Found::Text(name), from_json(value)]).collect())
        }
    }
}
