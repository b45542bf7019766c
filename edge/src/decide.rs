//! What isolates and hubs decide on limits: those that a client asks for, and the rates of its token.

use crate::{
    clock,
    config::{self, ConfigError},
    hub::call::Commands,
    isolate::{self, Answered, Scene},
    level::Levels,
    limit::{Answer, Call, Check, Outcome, Verdict},
    peers::PeerError,
    refusal::Refusal,
    rest::{Encoding, Shape},
    router::hand,
    shard::Shard,
};
use bytes::Bytes;
use futures_util::future::join_all;
use headwater::{
    command::{Command, CommandError},
    id::Key,
    namespace::Namespace,
};
use std::{borrow::Cow, collections::BTreeMap};
use worker::Env;

/// Refuses a request that is beyond the rates of its token, or of which that cannot be told.
pub(crate) async fn keep_rate(scene: Scene<'_>, call: Option<Call>) -> Result<(), Refusal> {
    let Some(call) = call else { return Ok(()) };
    let levels = Levels { writes_at_leaf: true, ..Levels::default() };
    let asking = Asking { levels, idempotency: None, hubs: Hubs::of(scene.env, Namespace::rates())? };
    let (verdicts, _) = verdicts(scene, &call.checks, &asking).await?;
    let answer = Answer::of(&call, &verdicts, clock::now().0);
    match answer.status {
        200 => Ok(()),
        429 => Err(Refusal::Rate(answer)),
        _ => {
            let cause = verdicts.iter().find_map(|verdict| verdict.decision().err()).unwrap_or_default();
            Err(Refusal::RateUndecided(cause.to_owned()))
        }
    }
}

/// Where a namespace's limits are decided in this region.
pub(crate) struct Hubs {
    region: String,
    shards: u16,
    namespace: Namespace,
    /// The name of the first, which is the only one of most regions.
    first: String,
}

impl Hubs {
    pub(crate) fn of(env: &Env, namespace: Namespace) -> Result<Self, ConfigError> {
        let (region, shards) = (config::region(env)?, config::shards(env)?);
        let first = Shard::default().hub_name(&region, &namespace);
        Ok(Self { region, shards, namespace, first })
    }

    /// Where the windows of a client's key are.
    fn shard_of(&self, key: &Key) -> Result<Shard, CommandError> {
        let key = self.namespace.key(key)?;
        Ok(if self.shards == 1 { Shard::default() } else { Shard::of(key.slot(), self.shards) })
    }

    fn name(&self, shard: Shard) -> Cow<'_, str> {
        match shard == Shard::default() {
            true => Cow::Borrowed(&self.first),
            false => Cow::Owned(shard.hub_name(&self.region, &self.namespace)),
        }
    }
}

/// How limits are asked for.
pub(crate) struct Asking {
    pub(crate) levels: Levels,
    pub(crate) idempotency: Option<Bytes>,
    pub(crate) hubs: Hubs,
}

/// What this isolate decides on one check; none where it cannot.
pub(crate) fn verdict_here(scene: Scene<'_>, check: &Check, asking: &Asking) -> Option<Verdict> {
    let shard = asking.hubs.shard_of(&check.key).ok()?;
    let mut answered = here(scene, &asking.hubs.name(shard), &[check.command()], asking).ok()??;
    Some(Verdict::of(check, Outcome::of(answered.replies.pop()?)))
}

/// What is decided on checks, in their order, each at the hub of its key; and how old the oldest is of what an isolate decided
/// on, in milliseconds, if any did.
pub(crate) async fn verdicts(
    scene: Scene<'_>,
    checks: &[Check],
    asking: &Asking,
) -> Result<(Vec<Verdict>, Option<i64>), Refusal> {
    let shards = checks.iter().map(|check| asking.hubs.shard_of(&check.key)).collect::<Result<Vec<Shard>, _>>()?;
    if let [first, others @ ..] = &shards[..]
        && others.iter().all(|shard| shard == first)
    {
        return Ok(decide(scene, *first, checks.iter().collect(), asking).await);
    }
    let mut of_shards: BTreeMap<Shard, Vec<&Check>> = BTreeMap::new();
    for (shard, check) in shards.iter().zip(checks) {
        of_shards.entry(*shard).or_default().push(check);
    }
    let places: Vec<Shard> = of_shards.keys().copied().collect();
    let decided = join_all(of_shards.into_iter().map(|(shard, checks)| decide(scene, shard, checks, asking))).await;
    let staleness_ms = decided.iter().filter_map(|(_, staleness_ms)| *staleness_ms).max();
    let decided = decided.into_iter().map(|(verdicts, _)| verdicts.into_iter());
    let mut of_shards: BTreeMap<Shard, _> = places.into_iter().zip(decided).collect();
    let verdicts = shards.iter().filter_map(|shard| of_shards.get_mut(shard)?.next());
    Ok((verdicts.collect(), staleness_ms))
}

/// What one hub decides on these checks, one verdict each: where nobody can be asked, why not. With the staleness where this
/// isolate decided.
async fn decide(scene: Scene<'_>, shard: Shard, checks: Vec<&Check>, asking: &Asking) -> (Vec<Verdict>, Option<i64>) {
    let hub = asking.hubs.name(shard);
    let commands: Vec<Command> = checks.iter().map(|check| check.command()).collect();
    let (outcomes, staleness_ms) = match here(scene, &hub, &commands, asking) {
        Ok(Some(answered)) => {
            (Ok(answered.replies.into_iter().map(Outcome::of).collect()), Some(answered.staleness_ms))
        }
        Ok(None) => (at_hub(scene, &hub, &checks, asking).await, None),
        Err(refusal) => (Err(refusal), None),
    };
    let of = |(check, outcome): (&&Check, Outcome)| Verdict::of(check, outcome);
    let verdicts = match outcomes {
        Ok(outcomes) => checks.iter().zip(outcomes).map(of).collect(),
        Err(refusal) => {
            let error = refusal.to_string();
            checks.iter().map(|check| of((check, Outcome::Error(error.clone())))).collect()
        }
    };
    (verdicts, staleness_ms)
}

/// What this isolate answers, where the call asks for no more.
fn here(scene: Scene<'_>, hub: &str, commands: &[Command], asking: &Asking) -> Result<Option<Answered>, Refusal> {
    // Only a hub remembers what it answered to a key.
    if asking.idempotency.is_some() || !asking.levels.allow_leaf() {
        return Ok(None);
    }
    isolate::answer(scene, hub, commands, asking.levels)
}

async fn at_hub(scene: Scene<'_>, hub: &str, checks: &[&Check], asking: &Asking) -> Result<Vec<Outcome>, Refusal> {
    let commands = checks.iter().map(|check| check.argv()).collect();
    let (shape, encoding, levels) = (Shape::Pipeline, Encoding::Lossy, asking.levels);
    let idempotency = asking.idempotency.clone();
    let commands = Commands { shape, encoding, sync_token: None, idempotency, levels, commands };
    let answered = hand(scene.env, hub, &commands).await?;
    let outcomes: Vec<Outcome> = match answered.status() {
        200 => serde_json::from_slice(answered.body())?,
        status => return Err(PeerError::Status(status).into()),
    };
    if outcomes.len() == checks.len() { Ok(outcomes) } else { Err(Refusal::TimedOut) }
}
