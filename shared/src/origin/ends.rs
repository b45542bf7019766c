//! What ends by itself in the cache: keys that no hub can revive any more, and hash fields.
//!
//! Each slot is filed under the first time at which something in it may end, so that a look costs the slots that are due
//! and not all that is known. The time may be too early, since what would have ended was lengthened or forgotten: then
//! nothing is found and the slot is filed anew. It is never too late: a key is noted whenever it is read or written.

use super::{
    Origin,
    slot::{Busy, Cached},
};
use crate::{
    id::{Key, TimestampMs},
    slot::Slot,
};
use std::collections::{BTreeMap, BTreeSet};

/// After so long a slot is looked at again in which what had ended could not be forgotten yet, or what was foreign may have
/// made room.
pub(super) const RETRY_MS: i64 = 10_000;

/// Slots by the first time at which to look at them.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    order: BTreeSet<(TimestampMs, Slot)>,
    of: BTreeMap<Slot, TimestampMs>,
}

impl Agenda {
    /// Has the slot looked at by this time. Logarithmic in the slots.
    pub(super) fn note(&mut self, slot: Slot, at: TimestampMs) {
        let known = self.of.get(&slot).copied();
        if known.is_some_and(|known| known <= at) {
            return;
        }
        if let Some(known) = known {
            self.order.remove(&(known, slot));
        }
        self.order.insert((at, slot));
        self.of.insert(slot, at);
    }

    /// The first time of all.
    pub(super) fn next(&self) -> Option<TimestampMs> {
        self.order.first().map(|(at, _)| *at)
    }

    fn pop_due(&mut self, now: TimestampMs) -> Option<Slot> {
        let (_, slot) = self.order.first().copied().filter(|(at, _)| *at <= now)?;
        self.order.pop_first();
        self.of.remove(&slot);
        Some(slot)
    }
}

impl Origin {
    /// Finds keys that have ended for good, and fields that have ended. What was foreign is tried again when it next
    /// changes: the operator may have made room.
    pub(super) fn sweep(&mut self, now: TimestampMs) {
        while let Some(slot) = self.foreign.pop_due(now) {
            self.slots.entry(slot).or_default().foreign.clear();
        }
        while let Some(slot) = self.ends.pop_due(now) {
            self.sweep_slot(slot, now);
        }
    }

    fn sweep_slot(&mut self, slot: Slot, now: TimestampMs) {
        let Some(work) = self.slots.get_mut(&slot) else { return };
        let retry = now.plus_ms(RETRY_MS);
        if work.busy != Busy::Idle {
            return self.ends.note(slot, retry);
        }
        let keys = |is_due: &dyn Fn(&Cached) -> bool| -> Vec<Key> {
            work.cache.iter().filter(|(_, cached)| is_due(cached)).map(|(key, _)| key.clone()).collect()
        };
        let gone = keys(&|cached| cached.has_ended(now) && !fault!(ExpiredKept));
        let ended = keys(&|cached| cached.has_ended_fields(now));
        for at in work.cache.values().filter_map(|cached| cached.next_end()) {
            self.ends.note(slot, if at <= now { retry } else { at });
        }
        if !(gone.is_empty() && ended.is_empty()) {
            work.expired.extend(gone);
            work.ended.extend(ended);
            self.ready.insert(slot);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn slot(number: usize) -> Slot {
        Slot::all().nth(number).unwrap()
    }

    #[test]
    fn a_slot_is_due_once_at_the_earliest_time_noted() {
        let mut agenda = Agenda::default();
        for (number, at) in [(1, 30), (2, 20), (1, 10), (1, 40)] {
            agenda.note(slot(number), TimestampMs(at));
        }
        assert_eq!(agenda.next(), Some(TimestampMs(10)));
        let due: Vec<Slot> = std::iter::from_fn(|| agenda.pop_due(TimestampMs(100))).collect();
        assert_eq!(due, [slot(1), slot(2)]);
    }

    #[test]
    fn a_slot_is_not_due_before_its_time() {
        let mut agenda = Agenda::default();
        agenda.note(slot(1), TimestampMs(10));
        assert_eq!(agenda.pop_due(TimestampMs(9)), None);
        assert_eq!(agenda.pop_due(TimestampMs(10)), Some(slot(1)));
    }
}
