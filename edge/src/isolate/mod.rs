//! What an isolate of the stateless Worker answers from its own memory: counters and limits that it follows, where the call
//! asks for no more.
//!
//! For each hub that its requests ask for, an isolate has the core's leaf ([`held::Held`]). A request runs its commands there
//! and is answered at once; what they did goes to the hub in the exchanges that one request makes after its answer
//! ([`exchange`]). The platform lets no request use another's sockets, promises or timers, so nothing but data is shared
//! between requests here, and nothing waits for another request.
//!
//! An isolate ends whenever the platform likes, and with it what its hub has not acknowledged: that is what a call accepts
//! that asks for the durability `leaf`. A key that the isolate does not follow yet, or has not heard of for a while, is
//! answered by the hub as if nothing had been asked for, and followed from then on.

mod exchange;
mod held;

use crate::{clock, config, level::Levels, refusal::Refusal};
use headwater::{
    command::{Command, CommandError, Reply},
    id::ClientId,
};
use held::Held;
use std::{cell::RefCell, collections::BTreeMap};
use worker::{Context, Env};

pub(crate) use held::Answered;

thread_local! {
    /// The leaves of this isolate, by their hubs' names.
    static LEAVES: RefCell<BTreeMap<String, Held>> = const { RefCell::new(BTreeMap::new()) };
}

/// What one request runs on.
#[derive(Clone, Copy)]
pub(crate) struct Scene<'a> {
    pub(crate) env: &'a Env,
    pub(crate) context: &'a Context,
}

/// Runs commands here, all or none; none where the hub is to be asked. As at the hub's other leaves, keys have the names of the
/// namespace's clients.
pub(crate) fn answer(
    scene: Scene<'_>,
    hub: &str,
    commands: &[Command],
    levels: Levels,
) -> Result<Option<Answered>, Refusal> {
    if !commands.iter().all(|command| held::is_answered(command, levels)) {
        return Ok(None);
    }
    let now = clock::now();
    let is_new = with(hub, |_| ()).is_none();
    if is_new {
        let client = ClientId(u128::from(clock::entropy()?) << 64 | u128::from(clock::entropy()?));
        let held = Held::new(client, config::unacknowledged(scene.env)?);
        LEAVES.with_borrow_mut(|leaves| leaves.insert(hub.to_owned(), held));
    }
    let run = |held: &mut Held| (held.answer(commands, now), held.take_charge(now));
    let (answered, owner) = with(hub, run).unwrap_or_default();
    if let Some(owner) = owner {
        scene.context.wait_until(exchange::run(scene.env.clone(), hub.to_owned(), owner));
    }
    Ok(answered)
}

/// The replies of commands that were run here.
pub(crate) type Replies = Vec<Result<Reply, CommandError>>;

/// The leaf of a hub, unless it was never asked for.
fn with<R>(hub: &str, work: impl FnOnce(&mut Held) -> R) -> Option<R> {
    LEAVES.with_borrow_mut(|leaves| leaves.get_mut(hub).map(work))
}
