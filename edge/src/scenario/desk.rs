//! How a scenario speaks with hubs, and what it answers.

use crate::{
    auth::Client,
    clock, config, decide,
    hub::call::Commands,
    isolate::Scene,
    rate,
    refusal::Refusal,
    respond,
    rest::{self, Encoding, Shape},
    router,
    shard::Shard,
};
use bytes::Bytes;
use headwater::command::CommandError;
use serde::Deserialize;
use serde_json::Value;
use std::cell::{Cell, RefCell};
use worker::Response;

/// What a hub answered to a command instead of a reply.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Unanswered(String);

impl Unanswered {
    /// Whether the hub does not hold a key that it needs, and cannot ask for it.
    pub(crate) fn is_away(&self) -> bool {
        self.0 == CommandError::NotHeld.to_string()
    }

    /// Whether a key is revoked.
    pub(crate) fn is_of_revoked(&self) -> bool {
        self.0.starts_with("ERR Headwater: the key is revoked")
    }

    /// The status of the whole answer: who asks again later may have more luck, or not.
    pub(crate) fn status(&self) -> u16 {
        let is_passing = [CommandError::NotHeld, CommandError::Behind, CommandError::OutOfMemory];
        match () {
            () if is_passing.iter().any(|error| self.0 == error.to_string()) => 503,
            () if self.is_of_revoked() => 410,
            () if self.0.starts_with("WRONGTYPE") => 409,
            () => 400,
        }
    }
}

/// A command's reply.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Outcome {
    Result(Value),
    Error(String),
}

/// What came of each command of a list.
pub(crate) type Replies<const N: usize> = [Result<Value, Unanswered>; N];

/// What a verb answers.
#[derive(Debug)]
pub(crate) struct Answer {
    status: u16,
    body: Value,
}

impl Answer {
    pub(crate) fn of(status: u16, body: Value) -> Self {
        Self { status, body }
    }

    pub(crate) fn ok(body: Value) -> Self {
        Self::of(200, body)
    }
}

/// Where a verb has its commands run: in the name of one client, with what that has seen.
pub(crate) struct Desk<'a> {
    scene: Scene<'a>,
    client: &'a Client,
    sync_token: RefCell<Option<String>>,
    is_provisional: Cell<bool>,
}

impl<'a> Desk<'a> {
    pub(crate) fn new(scene: Scene<'a>, client: &'a Client, sync_token: Option<String>) -> Self {
        Self { scene, client, sync_token: RefCell::new(sync_token), is_provisional: Cell::new(false) }
    }

    pub(crate) fn now_ms(&self) -> i64 {
        clock::now().0
    }

    /// Has commands run in one step that no other request comes between, at the hub of their keys.
    pub(crate) async fn run<const N: usize>(&self, commands: [Vec<Bytes>; N]) -> Result<Replies<N>, Refusal> {
        let commands = Vec::from(commands);
        self.client.check(commands.iter().map(Vec::as_slice)).map_err(Refusal::NotPermitted)?;
        let (env, namespace) = (self.scene.env, &self.client.namespace);
        let shard = Shard::of_commands(&commands, namespace, config::shards(env)?)?;
        decide::keep_rate(self.scene, rate::call(self.client, commands.iter().map(Vec::as_slice))).await?;
        let sync_token = self.sync_token.borrow().clone();
        let (shape, encoding) = (Shape::Transaction, Encoding::Lossy);
        let commands = Commands { shape, encoding, sync_token, idempotency: None, commands };
        let mut response = router::hand(env, &shard.hub_name(&config::region(env)?, namespace), &commands).await?;
        let headers = response.headers();
        if let Some(token) = headers.get(respond::SYNC_TOKEN)? {
            self.sync_token.replace(Some(token));
        }
        let is_provisional = headers.get("headwater-provisional")?.is_some();
        self.is_provisional.set(self.is_provisional.get() || is_provisional);
        if response.status_code() != 200 {
            let outcome: Outcome = response.json().await?;
            let text = if let Outcome::Error(error) = outcome { error } else { String::new() };
            return Err(Unanswered(text).into());
        }
        let outcomes: Vec<Outcome> = response.json().await?;
        let replies: Vec<Result<Value, Unanswered>> = outcomes.into_iter().map(Outcome::reply).collect();
        replies.try_into().map_err(|_other_count| Refusal::TimedOut)
    }

    /// The response, with what the client has seen by now.
    pub(crate) fn respond(&self, Answer { status, body }: &Answer) -> Result<Response, Refusal> {
        let token = self.sync_token.borrow();
        Ok(respond::replies(*status, rest::json(body), self.is_provisional.get(), token.as_deref())?)
    }
}

impl Outcome {
    fn reply(self) -> Result<Value, Unanswered> {
        match self {
            Self::Result(value) => Ok(value),
            Self::Error(error) => Err(Unanswered(error)),
        }
    }
}

/// A command from its words.
pub(crate) fn command(words: &[&str]) -> Vec<Bytes> {
    words.iter().map(|word| Bytes::copy_from_slice(word.as_bytes())).collect()
}

/// A hash as HGETALL answers it.
pub(crate) fn pairs(reply: &Value) -> Vec<(&str, &str)> {
    let words: Vec<&str> = reply.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    words.as_chunks::<2>().0.iter().map(|[name, value]| (*name, *value)).collect()
}

/// An integer, be it a reply or the text of a value.
pub(crate) fn integer(reply: &Value) -> Option<i64> {
    reply.as_i64().or_else(|| reply.as_str()?.parse().ok())
}
