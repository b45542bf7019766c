//! HW.LIMIT: a decision on a request by the counters of its limit's windows, which are fields of a hash.
//!
//! Each replica counts its own spends, so that those of two hubs which could not see each other both count once they meet.
//! A field ends with its window, and the key with its last field: a limit that nobody asks for any more takes no memory.

use super::{Prepared, Subject};
use crate::{
    command::{CommandError, Reply},
    id::{ReplicaId, TimestampMs},
    limit::{Decision, Knowledge, Limit, OverAdmission, Seen, Window},
    ordered::OrderedMap,
    state::{DeadlineChange, Effect, ElementId, Kind},
};
use bytes::Bytes;
use std::num::NonZeroU64;

/// What is answered for what is not known, or not bounded.
const NONE: i64 = -1;

pub(super) fn decide(
    key: Subject<'_>,
    limit: &Limit,
    cost: u64,
    nodes: Option<NonZeroU64>,
    peek: bool,
) -> Result<Prepared, CommandError> {
    key.expect(Kind::Hash)?;
    let staleness_ms = key.vantage.heard_at.map(|at| key.now.since_ms(at).max(0).unsigned_abs());
    // What a leaf spent and its hub settled stands under the hub's name, so to itself a leaf is also another node.
    let is_leaf = key.vantage.replica == ReplicaId::LEAF;
    let nodes = nodes.map(|nodes| nodes.saturating_add(u64::from(is_leaf)));
    let knowledge = Knowledge { staleness_ms: staleness_ms.unwrap_or(u64::MAX), budgets: None, nodes };
    let counters = Counters::of(&key, limit.windows_read(key.now));
    let decision = limit.decide(cost, key.now, &knowledge, |window| counters.seen(window));
    let reply = reply(&decision, staleness_ms);
    let end = decision.adds.iter().map(|add| add.expires_at).max();
    let Some(end) = end.filter(|_| !peek) else { return Ok(reply.into()) };
    let mut effects = beginning(&key, end);
    effects.extend(decision.adds.iter().map(|add| Effect::Spend {
        element: ElementId::Field(add.window.field()),
        amount: add.amount,
        until: add.expires_at,
    }));
    Ok(key.done(reply, effects))
}

/// The counters of a key's windows.
struct Counters<'a> {
    key: &'a Subject<'a>,
    /// All of them, in order, where the key has fewer fields than windows are read: a limit that is asked for now and then has
    /// spends in few of a sliding window's slots, and the name of every other slot would be made and looked for in vain. A tab
    /// decides seldom, and its module is spared this.
    listed: Option<OrderedMap<Window, Seen>>,
}

impl<'a> Counters<'a> {
    fn of(key: &'a Subject<'a>, windows: usize) -> Self {
        let is_few = cfg!(feature = "hub") && !key.is_expired() && key.state.count(Kind::Hash) < windows;
        Self { key, listed: if is_few { list(key, windows) } else { None } }
    }

    fn seen(&self, window: Window) -> Seen {
        match self.listed.as_ref().filter(|_| cfg!(feature = "hub")) {
            _ if self.key.is_expired() => Seen::default(),
            Some(listed) => listed.get(&window).copied().unwrap_or_default(),
            None => seen(self.key, window.field()),
        }
    }
}

/// The counters of all windows, unless more fields are recorded than windows are read: those that were removed may be.
fn list(key: &Subject<'_>, windows: usize) -> Option<OrderedMap<Window, Seen>> {
    let mut listed = OrderedMap::new();
    for (before, name) in key.state.names_of(Kind::Hash).enumerate() {
        if before >= windows {
            return None;
        }
        if let Some(window) = Window::from_field(name) {
            listed.insert(window, seen(key, Bytes::copy_from_slice(name)));
        }
    }
    Some(listed)
}

/// What was spent in the window whose counter that field is, here and by others.
fn seen(key: &Subject<'_>, field: Bytes) -> Seen {
    let counter = key.element(&ElementId::Field(field));
    let mut seen = Seen::default();
    for (replica, amount) in counter.iter().flat_map(|counter| counter.spent()) {
        let count = if replica == key.vantage.replica { &mut seen.own } else { &mut seen.others };
        *count = count.saturating_add(amount);
    }
    seen
}

/// What goes before the spends: a key that begins with them, or that ends at all, ends after them.
fn beginning(key: &Subject<'_>, end: TimestampMs) -> Vec<Effect> {
    let mut effects = key.begun_until(end);
    if key.shown.is_some() && key.deadline.at().is_some_and(|own| own < end) {
        effects.push(key.moves(DeadlineChange::Raise(end)));
    }
    effects
}

/// `[allowed, remaining, reset at, retry after, staleness, over-admission at most, over-admission expected]`, times in
/// milliseconds.
fn reply(decision: &Decision, staleness_ms: Option<u64>) -> Reply {
    let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let over_admit_max = match decision.bounds.over_admit_max {
        OverAdmission::Bounded(most) => number(most),
        OverAdmission::Unbounded => NONE,
    };
    let answers = [
        i64::from(decision.is_allowed()),
        number(decision.remaining),
        decision.reset_at.0,
        decision.retry_after_ms.map_or(NONE, number),
        staleness_ms.map_or(NONE, number),
        over_admit_max,
        number(decision.bounds.over_admit_expected),
    ];
    answers.into_iter().map(Reply::Int).collect()
}
