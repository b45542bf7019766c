//! What isolates and hubs decide on limits: those that a client asks for, and the rates of its token.

use crate::{
    clock, config,
    hub::call::Commands,
    isolate::Scene,
    level::Levels,
    limit::{Answer, Call, Check, Outcome, Verdict},
    peers::PeerError,
    refusal::Refusal,
    rest::{Encoding, Shape},
    router::{at_leaf, hand},
    shard::Shard,
};
use bytes::Bytes;
use futures_util::future::join_all;
use headwater::namespace::Namespace;
use std::collections::{BTreeMap, VecDeque};

/// Refuses a request that is beyond the rates of its token, or of which that cannot be told.
pub(crate) async fn keep_rate(scene: Scene<'_>, call: Option<Call>) -> Result<(), Refusal> {
    let Some(call) = call else { return Ok(()) };
    let levels = Levels { writes_at_leaf: true, ..Levels::default() };
    let asking = Asking { levels, idempotency: None, namespace: Namespace::rates() };
    let (verdicts, _) = verdicts(scene, &call, asking).await?;
    let answer = Answer::of(&call, &verdicts, clock::now().0);
    match answer.status {
        200 => Ok(()),
        429 => Err(Refusal::Rate(answer)),
        _ => {
            let cause = verdicts.iter().find_map(Verdict::error).unwrap_or_default();
            Err(Refusal::RateUndecided(cause.to_owned()))
        }
    }
}

/// What is decided on the checks of a call, in their order, each at the hub of its key; and how old the oldest is of what an
/// isolate decided on, in milliseconds, if any did.
pub(crate) async fn verdicts(
    scene: Scene<'_>,
    call: &Call,
    asking: Asking,
) -> Result<(Vec<Verdict>, Option<i64>), Refusal> {
    let (shards, region) = (config::shards(scene.env)?, config::region(scene.env)?);
    let namespace = &asking.namespace;
    let mut of_shards: BTreeMap<Shard, Vec<&Check>> = BTreeMap::new();
    let mut places = Vec::with_capacity(call.checks.len());
    for check in &call.checks {
        let shard = Shard::of(namespace.key(&check.key)?.slot(), shards);
        of_shards.entry(shard).or_default().push(check);
        places.push(shard);
    }
    let hub_name = |shard: &Shard| shard.hub_name(&region, namespace);
    let asked = of_shards.iter().map(|(shard, checks)| decide(scene, hub_name(shard), checks, &asking));
    let decided = join_all(asked).await;
    let staleness_ms = decided.iter().filter_map(|(_, staleness_ms)| *staleness_ms).max();
    let mut outcomes: BTreeMap<Shard, _> =
        of_shards.keys().copied().zip(decided.into_iter().map(|(outcomes, _)| outcomes)).collect();
    let verdicts = call.checks.iter().zip(places).filter_map(|(check, shard)| {
        let of_shard = outcomes.get_mut(&shard)?;
        Some(Verdict::of(check, of_shard.pop_front()?))
    });
    Ok((verdicts.collect(), staleness_ms))
}

/// How limits are asked for.
pub(crate) struct Asking {
    pub(crate) levels: Levels,
    pub(crate) idempotency: Option<Bytes>,
    pub(crate) namespace: Namespace,
}

/// What is answered to these checks, one outcome each: where nobody can be asked, why not. With the staleness where this
/// isolate decided.
async fn decide(scene: Scene<'_>, hub: String, checks: &[&Check], asking: &Asking) -> (VecDeque<Outcome>, Option<i64>) {
    let commands: Vec<Vec<Bytes>> = checks.iter().map(|check| check.command()).collect();
    let all = |error: String| (vec![Outcome::Error(error); checks.len()].into(), None);
    if asking.idempotency.is_none() {
        match at_leaf(scene, &hub, &asking.namespace, &commands, asking.levels) {
            Ok(Some(answered)) => {
                return (answered.replies.into_iter().map(Outcome::of).collect(), Some(answered.staleness_ms));
            }
            Ok(None) => {}
            Err(refusal) => return all(refusal.to_string()),
        }
    }
    let idempotency = asking.idempotency.clone();
    let (shape, encoding, levels) = (Shape::Pipeline, Encoding::Lossy, asking.levels);
    let commands = Commands { shape, encoding, sync_token: None, idempotency, levels, commands };
    let answered = async {
        let answered = hand(scene.env, &hub, &commands).await?;
        match answered.status() {
            200 => Ok(serde_json::from_slice::<VecDeque<Outcome>>(answered.body())?),
            status => Err(PeerError::Status(status).into()),
        }
    };
    match answered.await {
        Ok(outcomes) if outcomes.len() == checks.len() => (outcomes, None),
        Ok(_) => all(Refusal::TimedOut.to_string()),
        Err::<_, Refusal>(refusal) => all(refusal.to_string()),
    }
}
