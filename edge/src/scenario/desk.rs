//! How a scenario speaks with hubs, and what it answers.

use super::once::Once;
use crate::{
    auth::Client,
    clock, config, decide,
    hub::call::{self, Commands},
    isolate::Scene,
    level::Levels,
    limits::HUB_TIMEOUT_MS,
    peers::{self, PeerError},
    rate,
    refusal::Refusal,
    respond::{self, Json},
    rest::{self, Encoding, Shape},
    router,
    shard::Shard,
    timeout,
};
use bytes::Bytes;
use headwater::command::CommandError;
use serde::Deserialize;
use serde_json::Value;
use std::cell::{Cell, RefCell};

/// What a hub answered to a command instead of a reply; to the whole request, where it says with which status.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Unanswered(String, Option<u16>);

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
        let is_one = |errors: &[CommandError]| errors.iter().any(|error| self.0 == error.to_string());
        let at_hub = [CommandError::NotHeld, CommandError::Behind, CommandError::OutOfMemory, CommandError::OutboxFull];
        let at_origin = [CommandError::OriginAway, CommandError::TooManyAtOrigin, CommandError::OriginBehind];
        match self.1 {
            Some(status) => status,
            None if is_one(&at_hub) || is_one(&at_origin) => 503,
            None if is_one(&[CommandError::OutcomeUnknown]) => 504,
            None if self.is_of_revoked() => 410,
            None if self.0.starts_with("WRONGTYPE") => 409,
            None => 400,
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

/// What came of a command.
pub(crate) type Replied = Result<Value, Unanswered>;

/// What came of each command of a list.
pub(crate) type Replies<const N: usize> = [Replied; N];

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
    levels: Levels,
    shape: Shape,
    once: Option<Once>,
    sync_token: RefCell<Option<String>>,
    is_provisional: Cell<bool>,
}

impl<'a> Desk<'a> {
    pub(crate) fn new(
        scene: Scene<'a>,
        client: &'a Client,
        sync_token: Option<String>,
        levels: Levels,
        (shape, once): (Shape, Option<Once>),
    ) -> Self {
        Self {
            scene,
            client,
            levels,
            shape,
            once,
            sync_token: RefCell::new(sync_token),
            is_provisional: Cell::new(false),
        }
    }

    pub(crate) fn now_ms(&self) -> i64 {
        clock::now().0
    }

    /// Has commands run in one step that no other request comes between, at the hub of their keys.
    pub(crate) async fn run<const N: usize>(&self, commands: [Vec<Bytes>; N]) -> Result<Replies<N>, Refusal> {
        self.run_all(Vec::from(commands)).await?.try_into().map_err(|_other_count| Refusal::TimedOut)
    }

    async fn run_all(&self, commands: Vec<Vec<Bytes>>) -> Result<Vec<Replied>, Refusal> {
        let hub = self.hub(&commands)?;
        self.keep_rate(&commands).await?;
        self.hand(&hub, None, commands).await
    }

    /// As [`Self::run`], for the one step in which a verb writes. `memo` is what beside the replies its answer is made of. Where the
    /// call bears an `Idempotency-Key` that wrote before, nothing is executed, and both are those of the first time.
    pub(crate) async fn write<const N: usize>(
        &self,
        memo: Value,
        commands: [Vec<Bytes>; N],
    ) -> Result<(Value, Replies<N>), Refusal> {
        let (memo, replies) = self.write_all(memo, Vec::from(commands)).await?;
        Ok((memo, replies.try_into().map_err(|_other_count| Refusal::TimedOut)?))
    }

    /// As [`Self::write`], of any number of commands.
    pub(crate) async fn write_all(
        &self,
        memo: Value,
        mut commands: Vec<Vec<Bytes>>,
    ) -> Result<(Value, Vec<Replied>), Refusal> {
        let Some(once) = &self.once else { return Ok((memo, self.run_all(commands).await?)) };
        let hub = self.hub(&commands)?;
        self.keep_rate(&commands).await?;
        commands.push(once.note(memo));
        let replies = self.hand(&hub, Some(once.key()), commands).await?;
        self.remembered(once, replies)?.ok_or(Refusal::OtherCall)
    }

    /// What the call wrote before, for verbs that read first and would find what they did. `commands` are some of those by which it
    /// would write.
    pub(crate) async fn written(&self, commands: &[Vec<Bytes>]) -> Result<Option<(Value, Vec<Replied>)>, Refusal> {
        let Some(once) = &self.once else { return Ok(None) };
        let hub = self.hub(commands)?;
        let replies = self.hand(&hub, Some(once.key()), vec![Once::look()]).await?;
        self.remembered(once, replies)
    }

    /// The memo among the replies to a step, and the others.
    fn remembered(&self, once: &Once, mut replies: Vec<Replied>) -> Result<Option<(Value, Vec<Replied>)>, Refusal> {
        let last = replies.pop().ok_or(Refusal::TimedOut)??;
        Ok(once.read(&last)?.map(|memo| (memo, replies)))
    }

    /// What the outbox has for the key of a command, if the client may run that.
    pub(crate) async fn jobs(&self, of: &[Bytes]) -> Result<call::Jobs, Refusal> {
        let asked = [of.to_vec()];
        let hub = self.hub(&asked)?;
        self.keep_rate(&asked).await?;
        let key = of.get(1).map_or(&[][..], |key| key);
        let hub = peers::hub(self.scene.env, &hub)?;
        let asked = hub.fetch_with_request(call::post(call::JOBS, key)?);
        let mut response = timeout::within(HUB_TIMEOUT_MS, asked).await.ok_or(Refusal::TimedOut)??;
        match response.status_code() {
            200 => Ok(response.json().await?),
            status => Err(PeerError::Status(status).into()),
        }
    }

    /// A name for what this call makes, which a retry of it has too.
    pub(crate) fn name(&self) -> Result<String, worker::Error> {
        match &self.once {
            Some(once) => Ok(once.name()),
            None => Ok(format!("{:016x}{:016x}", clock::entropy()?, clock::entropy()?)),
        }
    }

    /// The name of the hub of these commands, if the client may run them.
    fn hub(&self, commands: &[Vec<Bytes>]) -> Result<String, Refusal> {
        self.client.check(router::read(commands)).map_err(Refusal::NotPermitted)?;
        let (env, namespace) = (self.scene.env, &self.client.namespace);
        let shard = Shard::of_commands(commands, namespace, config::shards(env)?)?;
        Ok(shard.hub_name(&config::region(env)?, namespace))
    }

    async fn keep_rate(&self, commands: &[Vec<Bytes>]) -> Result<(), Refusal> {
        decide::keep_rate(self.scene, rate::call(self.client, router::read(commands))).await
    }

    async fn hand(
        &self,
        hub: &str,
        idempotency: Option<Bytes>,
        commands: Vec<Vec<Bytes>>,
    ) -> Result<Vec<Replied>, Refusal> {
        let sync_token = self.sync_token.borrow().clone();
        let (shape, encoding) = (self.shape, Encoding::Lossy);
        // What a verb writes rests on what it has read before.
        let levels = Levels { reads_at_origin: self.levels.reads_at_origin && idempotency.is_none(), ..self.levels };
        let commands = Commands { shape, encoding, sync_token, idempotency, levels, commands };
        let answered = router::hand(self.scene.env, hub, &commands).await?;
        if let Some(token) = answered.header(respond::SYNC_TOKEN) {
            self.sync_token.replace(Some(token.to_owned()));
        }
        let is_provisional = answered.header(respond::PROVISIONAL).is_some();
        self.is_provisional.set(self.is_provisional.get() || is_provisional);
        if answered.status() != 200 {
            let status = answered.status();
            let outcome: Outcome = serde_json::from_slice(answered.body())?;
            let text = if let Outcome::Error(error) = outcome { error } else { String::new() };
            return Err(Unanswered(text, Some(status)).into());
        }
        let outcomes: Vec<Outcome> = serde_json::from_slice(answered.body())?;
        Ok(outcomes.into_iter().map(Outcome::reply).collect())
    }

    /// The response, with what the client has seen by now.
    pub(crate) fn respond(&self, Answer { status, body }: &Answer) -> Json {
        let token = self.sync_token.borrow();
        Json::replies(*status, rest::json(body), self.is_provisional.get(), token.as_deref())
    }
}

impl Outcome {
    fn reply(self) -> Replied {
        match self {
            Self::Result(value) => Ok(value),
            Self::Error(error) => Err(Unanswered(error, None)),
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
