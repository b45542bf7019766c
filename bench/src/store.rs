//! A store for an origin in the same process: companions, markers and change feeds in memory, and no plain values.

use std::collections::BTreeMap;

use headwater::{
    id::{Key, TimestampMs},
    slot::Slot,
    store::{Commit, Companion, LedgerOutcome, LedgerSwap, Load, Loaded, Marker, Outcome, StoredLedger},
};

/// The store. A copy is a backup.
#[derive(Clone, Debug, Default)]
pub struct Store {
    markers: BTreeMap<Slot, Marker>,
    /// The companions by key.
    pub companions: BTreeMap<Key, Companion>,
    /// When companions vanish.
    ends: BTreeMap<Key, TimestampMs>,
    feed: BTreeMap<Slot, BTreeMap<Key, u64>>,
    /// The accounts of strict limits.
    ledgers: BTreeMap<Key, StoredLedger>,
}

impl Store {
    /// Reads what is asked for.
    #[must_use]
    pub fn load(&self, load: &Load, now: TimestampMs) -> Loaded {
        let is_there = |key: &Key| self.ends.get(key).is_none_or(|end| now < *end);
        let companion = |key: &Key| self.companions.get(key).filter(|_| is_there(key)).cloned();
        let feed = self.feed.get(&load.slot).into_iter().flatten();
        let changed = load.changed_after.map(|after| feed.filter(move |(_, seq)| **seq > after));
        Loaded {
            slot: load.slot,
            marker: self.markers.get(&load.slot).cloned(),
            keys: load.keys.iter().map(|key| (key.clone(), companion(key))).collect(),
            changed: changed.into_iter().flatten().map(|(key, seq)| (key.clone(), *seq)).collect(),
            plain: Vec::new(),
            evictions: 0,
        }
    }

    /// Swaps an account, or reads it.
    pub fn swap(&mut self, swap: &LedgerSwap) -> LedgerOutcome {
        let outcome = swap.judged(self.ledgers.get(&swap.key));
        if outcome == LedgerOutcome::Swapped {
            self.ledgers.extend(swap.stored().map(|stored| (swap.key.clone(), stored)));
        }
        outcome
    }

    /// Writes a commit. One daemon commits at a time, so nothing is ever refused.
    ///
    /// # Panics
    /// When a slot's first commit does not open its marker.
    pub fn commit(&mut self, commit: &Commit, now: TimestampMs) -> Outcome {
        let change = &commit.marker;
        if let Some((incarnation, run_id, previous)) = &change.open {
            let hubs = self.markers.get(&commit.slot).map(|marker| marker.hubs.clone()).unwrap_or_default();
            let (incarnation, run_id, previous) = (*incarnation, run_id.clone(), *previous);
            let marker = Marker { incarnation, run_id, seq: change.seq, no: change.no, previous, hubs };
            self.markers.insert(commit.slot, marker);
        }
        let marker = self.markers.get_mut(&commit.slot).expect("the first commit opens the marker");
        (marker.seq, marker.no) = (change.seq, change.no);
        marker.hubs.extend(change.hubs.iter().copied());
        let feed = self.feed.entry(commit.slot).or_default();
        for part in &commit.keys {
            let has_ended = self.ends.remove(&part.key).is_some_and(|end| end <= now);
            if part.forget || has_ended {
                self.companions.remove(&part.key);
            }
            if part.forget {
                feed.remove(&part.key);
                continue;
            }
            let companion = self.companions.entry(part.key.clone()).or_default();
            companion.version = part.version;
            companion.fields.extend(part.put.iter().cloned());
            part.delete.iter().for_each(|name| drop(companion.fields.remove(name)));
            feed.insert(part.key.clone(), part.version);
            if let Some(end) = part.expire_at {
                self.ends.insert(part.key.clone(), end);
            }
        }
        Outcome::Committed
    }
}
