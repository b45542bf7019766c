//! Requests that are answered once the origin has what was written: the durability `origin`.
//!
//! The shell asks for that when it has the replies, and names the keys. Awaited is, for each slot of these, the last number that
//! the hub used there by then, and the last job that it took in, so that also what a remembered answer stands for is awaited
//! again. Where the origin goes away or time is up, the answer is no: what was written stays in this hub's storage and reaches
//! the origin later. Nothing of this is stored.

use super::{Hub, HubEffect, Request};
use crate::{
    id::{Key, No, TimestampMs},
    slot::Slot,
};
use std::collections::BTreeSet;

/// How long a request waits for the origin's commits, in milliseconds: many times what a busy daemon lets operations wait for each
/// other, and less than clients wait.
const COMMIT_MS_MAX: i64 = 10_000;

/// A request, and what it waits for.
#[derive(Debug)]
pub(super) struct Committing {
    request: Request,
    slots: Vec<Awaited>,
    pub(super) until: TimestampMs,
}

/// What the origin is to have of a slot.
#[derive(Debug)]
struct Awaited {
    slot: Slot,
    written: No,
    job: No,
}

impl Hub {
    /// Has a request wait for the origin to have what this hub has now in the slots of these keys, as Redis calls them.
    pub(super) fn await_commit(&mut self, request: Request, keys: &[Key], now: TimestampMs) {
        let slots: BTreeSet<Slot> = keys.iter().map(Key::slot).collect();
        let awaited = |slot: Slot| {
            let written = self.slots.at(slot).map(|state| state.latest).unwrap_or_default();
            Awaited { slot, written, job: self.outbox.last(slot) }
        };
        let slots = slots.into_iter().map(awaited).collect();
        self.committing.push(Committing { request, slots, until: now.plus_ms(COMMIT_MS_MAX) });
    }

    /// Answers those that wait no longer. Linear in what they wait for.
    pub(super) fn answer_committed(&mut self, now: TimestampMs) {
        for waiting in std::mem::take(&mut self.committing) {
            let is_committed = waiting.slots.iter().all(|awaited| self.is_committed(awaited));
            if is_committed || now >= waiting.until || self.origin.is_none() {
                self.effects.push(HubEffect::Committed(waiting.request, is_committed));
            } else {
                self.committing.push(waiting);
            }
        }
    }

    /// What they wait for is this hub's no more, and nobody will say what became of it.
    pub(super) fn give_up_commits(&mut self) {
        let given_up = std::mem::take(&mut self.committing);
        self.effects.extend(given_up.into_iter().map(|waiting| HubEffect::Committed(waiting.request, false)));
    }

    fn is_committed(&self, Awaited { slot, written, job }: &Awaited) -> bool {
        fault!(CommitNotAwaited)
            || self.slots.at(*slot).is_none_or(|state| state.committed >= *written) && self.outbox.has_run(*slot, *job)
    }
}
