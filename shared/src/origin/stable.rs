//! What survives the loss that the store may suffer, and so may be forgotten by hubs.
//!
//! Two things tell. One is that the loss window has passed. The other is the store's own word: it is asked whether all that
//! was committed before survives (Redis asks its replicas and its log by WAIT and WAITAOF), one question at a time, slot by
//! slot. What the store does not answer for is asked again with what came meanwhile. Which of the two counts is the
//! operator's choice ([`StableBy`]).
//!
//! What was noted in a history of a slot is forgotten when that history ends: the store may have lost it.

use super::{StableBy, elapsed::Elapsed};
use crate::{
    id::{No, ReplicaId, TimestampMs},
    slot::Slot,
};
use std::collections::{BTreeMap, BTreeSet};

/// What a number counts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Counted {
    /// A hub's operations.
    Operations,
    /// A hub's jobs.
    Jobs,
}

/// The highest number of each hub in each slot.
type Numbers = BTreeMap<(Slot, ReplicaId, Counted), No>;

/// What is committed and not yet stable.
#[derive(Debug)]
pub(super) struct Stability {
    by: StableBy,
    window_ms: i64,
    elapsed: Elapsed,
    /// In order of the elapsed time, in milliseconds, at which the window ends.
    waiting: BTreeMap<i64, Vec<(Slot, ReplicaId, Counted, No)>>,
    /// What the store is to be asked about, and what it is being asked about.
    unasked: Numbers,
    asked: Option<Numbers>,
    /// What is stable and not yet told.
    due: Numbers,
}

impl Stability {
    /// With a loss window of this length, in milliseconds.
    pub(super) fn new(by: StableBy, window_ms: i64) -> Self {
        Self {
            by,
            window_ms,
            elapsed: Elapsed::for_window(window_ms),
            waiting: BTreeMap::new(),
            unasked: Numbers::new(),
            asked: None,
            due: Numbers::new(),
        }
    }

    /// The clock shows `now`.
    pub(super) fn pass(&mut self, now: TimestampMs) {
        self.elapsed.pass(now);
    }

    /// Notes that all of a hub's numbers up to here are in the store.
    pub(super) fn note(&mut self, slot: Slot, hub: ReplicaId, counted: Counted, no: No) {
        if self.by != StableBy::Window {
            raise(&mut self.unasked, (slot, hub, counted), no);
            if fault!(ConfirmedBeforeAsked)
                && let Some(asked) = &mut self.asked
            {
                raise(asked, (slot, hub, counted), no);
            }
        }
        if self.by != StableBy::Store {
            let end_ms =
                if fault!(StableAtCommit) { self.elapsed.total_ms() } else { self.elapsed.end_ms(self.window_ms) };
            self.waiting.entry(end_ms).or_default().push((slot, hub, counted, no));
        }
    }

    /// The slot's history ended: what was noted of it may be lost.
    pub(super) fn forget(&mut self, slot: Slot) {
        let numbers = [Some(&mut self.unasked), self.asked.as_mut(), Some(&mut self.due)];
        numbers.into_iter().flatten().for_each(|numbers| numbers.retain(|(other, ..), _| *other != slot));
        for noted in self.waiting.values_mut() {
            noted.retain(|(other, ..)| *other != slot);
        }
        self.waiting.retain(|_, noted| !noted.is_empty());
    }

    /// The slots about which the store is to be asked now, if it is to be.
    pub(super) fn question(&mut self) -> Option<Vec<Slot>> {
        if self.asked.is_some() || self.unasked.is_empty() {
            return None;
        }
        let asked = std::mem::take(&mut self.unasked);
        let mut slots: Vec<Slot> = asked.keys().map(|(slot, ..)| *slot).collect();
        slots.dedup();
        self.asked = Some(asked);
        Some(slots)
    }

    /// The store says that what was committed in these slots before it was asked survives; of the others it does not.
    pub(super) fn answered(&mut self, surviving: &[Slot]) {
        let surviving: BTreeSet<Slot> = surviving.iter().copied().collect();
        for (of, no) in self.asked.take().into_iter().flatten() {
            let is_surviving = surviving.contains(&of.0);
            raise(if is_surviving { &mut self.due } else { &mut self.unasked }, of, no);
        }
        if self.by == StableBy::Either {
            let due = &self.due;
            for noted in self.waiting.values_mut() {
                noted.retain(|(slot, hub, counted, no)| due.get(&(*slot, *hub, *counted)).is_none_or(|due| due < no));
            }
            self.waiting.retain(|_, noted| !noted.is_empty());
        }
    }

    /// Takes what became stable: each hub's highest number in each slot.
    pub(super) fn take(&mut self) -> BTreeMap<(ReplicaId, Counted), BTreeMap<Slot, No>> {
        while let Some(entry) = self.waiting.first_entry() {
            if *entry.key() > self.elapsed.total_ms() {
                break;
            }
            for (slot, hub, counted, no) in entry.remove() {
                let of = (slot, hub, counted);
                raise(&mut self.due, of, no);
                if self.unasked.get(&of).is_some_and(|unasked| *unasked <= no) {
                    self.unasked.remove(&of);
                }
            }
        }
        let mut stable: BTreeMap<(ReplicaId, Counted), BTreeMap<Slot, No>> = BTreeMap::new();
        for ((slot, hub, counted), no) in std::mem::take(&mut self.due) {
            stable.entry((hub, counted)).or_default().insert(slot, no);
        }
        stable
    }

    /// When to look at the clock again.
    pub(super) fn look_at(&self, now: TimestampMs) -> Option<TimestampMs> {
        self.waiting.keys().next().map(|end_ms| self.elapsed.look_at(*end_ms, now))
    }
}

fn raise(numbers: &mut Numbers, of: (Slot, ReplicaId, Counted), no: No) {
    let highest = numbers.entry(of).or_default();
    *highest = (*highest).max(no);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hub() -> ReplicaId {
        ReplicaId::from_bits(1 << 16)
    }

    fn slots() -> [Slot; 2] {
        [Slot::of(b"a"), Slot::of(b"b")]
    }

    fn taken(stability: &mut Stability) -> Vec<(Slot, No)> {
        stability.take().remove(&(hub(), Counted::Operations)).unwrap_or_default().into_iter().collect()
    }

    #[test]
    fn what_the_store_does_not_answer_for_is_asked_again() {
        let mut stability = Stability::new(StableBy::Store, 1_000);
        let [a, b] = slots();
        stability.note(a, hub(), Counted::Operations, No(1));
        stability.note(b, hub(), Counted::Operations, No(2));
        let mut asked = vec![a, b];
        asked.sort_unstable();
        assert_eq!(stability.question(), Some(asked));
        stability.answered(&[a]);
        assert_eq!(taken(&mut stability), [(a, No(1))]);
        assert_eq!(stability.question(), Some(vec![b]));
        stability.pass(TimestampMs(0));
        stability.pass(TimestampMs(1_000_000));
        assert_eq!(taken(&mut stability), []);
    }

    #[test]
    fn what_comes_after_the_question_is_not_answered_by_it() {
        let mut stability = Stability::new(StableBy::Store, 1_000);
        let [a, _] = slots();
        stability.note(a, hub(), Counted::Operations, No(1));
        assert!(stability.question().is_some());
        stability.note(a, hub(), Counted::Operations, No(2));
        assert_eq!(stability.question(), None, "one question at a time");
        stability.answered(&[a]);
        assert_eq!(taken(&mut stability), [(a, No(1))]);
    }

    #[test]
    fn the_window_counts_where_the_store_does_not_answer_and_nothing_is_told_twice() {
        let mut stability = Stability::new(StableBy::Either, 800);
        let [a, b] = slots();
        stability.pass(TimestampMs(0));
        stability.note(a, hub(), Counted::Operations, No(1));
        stability.note(b, hub(), Counted::Operations, No(2));
        stability.question();
        stability.answered(&[a]);
        assert_eq!(taken(&mut stability), [(a, No(1))]);
        for step in 1..=20 {
            stability.pass(TimestampMs(step * 100));
        }
        assert_eq!(taken(&mut stability), [(b, No(2))]);
        assert_eq!(stability.question(), None);
    }

    #[test]
    fn what_a_slot_lost_is_not_called_stable() {
        for by in [StableBy::Window, StableBy::Either, StableBy::Store] {
            let mut stability = Stability::new(by, 0);
            let [a, _] = slots();
            stability.note(a, hub(), Counted::Operations, No(1));
            stability.question();
            stability.note(a, hub(), Counted::Operations, No(2));
            stability.forget(a);
            stability.answered(&[a]);
            stability.pass(TimestampMs(0));
            stability.pass(TimestampMs(1_000));
            assert_eq!(taken(&mut stability), [], "{by:?}");
        }
    }
}
