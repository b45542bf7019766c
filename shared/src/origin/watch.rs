//! Which plain values to look at, and when.
//!
//! A server that tracks keys says that one was changed, also where the daemon's own commit did it. The first such word after
//! an own commit is taken for its echo, and the value looked at a while later, since a plain client may have written in the
//! same instant; every other is followed at once. A key that is written to all the time is read at a pace that follows its
//! size. What nobody said anything of is looked at by turns, and so are the keys of echoes that come faster than they can be
//! followed.

use super::{Link, LinkState};
use crate::{
    id::{HashSeed, Key, TimestampMs},
    slot::Slot,
};
use hashbrown::HashTable;
use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{BuildHasher, Hasher},
    ops::Bound,
};

/// The time between two reads of a value of few elements, in milliseconds, and of how many elements a further one takes.
const PACE_MS: i64 = 20;
const ELEMENTS_PER_MS: usize = 100;

/// How long after the echo of an own commit the value is looked at, in milliseconds, or somewhat later, with others of that time.
const ECHO_MS: i64 = 1_000;
const TOGETHER_MS: i64 = 100;

/// The time between two such looks on average, in milliseconds, and how much longer than that the last of them may wait for its turn. Commits
/// of ever new keys make more echoes than a look each is worth: a plain client would have to write to the same key between
/// the commit and the server's next word of it.
const ECHO_PACE_MS: i64 = 4;
const ECHO_WAIT_MS: i64 = 10_000;

/// The time between two looks at what nobody said anything of, in milliseconds, how many keys each takes, and when the next
/// round begins at the earliest.
const AUDIT_MS: i64 = 1_000;
const AUDIT_KEYS: usize = 256;
const ROUND_MS: i64 = 60_000;

/// What is kept of keys that nothing happens to goes after so long, in milliseconds.
const FORGET_MS: i64 = 120_000;

/// The keys to look at.
#[derive(Debug, Default)]
pub(super) struct Watch {
    due: BTreeSet<(TimestampMs, Key)>,
    due_at: BTreeMap<Key, TimestampMs>,
    /// When a value was last read, and how long the next read waits after that.
    reads: BTreeMap<Key, (TimestampMs, i64)>,
    echoes: Echoes,
    /// When the last look that follows an echo has its turn.
    last_echo_at: Option<TimestampMs>,
    /// The last key of the round under way, and when that round began.
    last: Option<(Slot, Key)>,
    round_at: Option<TimestampMs>,
    audited_at: Option<TimestampMs>,
}

/// Own commits of which the server has not told, and when they were made, by the hashes of their keys: each new key passes
/// here twice. Where two keys have one hash, a value is looked at somewhat later.
#[derive(Debug, Default)]
struct Echoes {
    seed: HashSeed,
    table: HashTable<(u64, TimestampMs)>,
}

impl Echoes {
    fn hash(&self, key: &Key) -> u64 {
        let mut hasher = self.seed.build_hasher();
        hasher.write(key.as_bytes());
        hasher.finish()
    }

    fn expect(&mut self, key: &Key, now: TimestampMs) {
        let hash = self.hash(key);
        let entry = self.table.entry(hash, |(other, _)| *other == hash, |(other, _)| *other);
        entry.and_modify(|(_, at)| *at = now).or_insert((hash, now));
    }

    /// Whether one was expected, which it is no more.
    fn take(&mut self, key: &Key) -> bool {
        let hash = self.hash(key);
        self.table.find_entry(hash, |(other, _)| *other == hash).map(|entry| entry.remove()).is_ok()
    }

    /// Those of commits that were made too long ago are not expected any more.
    fn forget(&mut self, now: TimestampMs) {
        self.table.retain(|(_, at)| now.since_ms(*at).abs() < FORGET_MS);
        self.table.shrink_to(self.table.len().saturating_mul(2), |(other, _)| *other);
    }
}

impl Watch {
    /// Nothing to look at yet. Names are hashed under the host's secret seed.
    pub(super) fn new(seed: HashSeed) -> Self {
        Self { echoes: Echoes { seed, ..Echoes::default() }, ..Self::default() }
    }

    /// The server says that the value was changed. Of most own commits of a busy daemon that is all there is to it; of the rest
    /// it is asked whether the value `matters` here.
    pub(super) fn touched(&mut self, key: &Key, now: TimestampMs, matters: impl FnOnce() -> bool) {
        if !self.echoes.take(key) {
            if matters() {
                self.look(key, now);
            }
            return;
        }
        let soonest = now.plus_ms(ECHO_MS);
        // A clock that was set back must not put it off.
        let last = self.last_echo_at.filter(|last| last.since_ms(soonest) <= ECHO_WAIT_MS);
        let turn = last.map_or(soonest, |last| soonest.max(last.plus_ms(ECHO_PACE_MS)));
        let at = turn.plus_ms(TOGETHER_MS.saturating_sub(turn.0.rem_euclid(TOGETHER_MS)));
        let is_late = turn.since_ms(soonest) > ECHO_WAIT_MS;
        if is_late || self.due_at.get(key).is_some_and(|due| *due <= at) || !matters() {
            return;
        }
        self.last_echo_at = Some(turn);
        self.look_at(key, at);
    }

    /// A commit writes to the value.
    pub(super) fn written(&mut self, key: &Key, now: TimestampMs) {
        self.echoes.expect(key, now);
    }

    /// A value of so many elements was read.
    pub(super) fn read(&mut self, key: &Key, count: usize, now: TimestampMs) {
        let more_ms = i64::try_from(count.div_euclid(ELEMENTS_PER_MS)).unwrap_or(i64::MAX);
        self.reads.insert(key.clone(), (now, PACE_MS.saturating_add(more_ms)));
    }

    /// The value is to be looked at as soon as its pace allows.
    pub(super) fn look(&mut self, key: &Key, now: TimestampMs) {
        let paced = self.reads.get(key).map_or(now, |(read_at, pace_ms)| read_at.plus_ms(*pace_ms));
        // A clock that was set back must not put it off.
        self.look_at(key, paced.clamp(now, now.plus_ms(FORGET_MS)));
    }

    fn look_at(&mut self, key: &Key, at: TimestampMs) {
        match self.due_at.get(key) {
            Some(earlier) if *earlier <= at => return,
            Some(later) => drop(self.due.remove(&(*later, key.clone()))),
            None => {}
        }
        self.due.insert((at, key.clone()));
        self.due_at.insert(key.clone(), at);
    }

    /// The keys to look at now.
    pub(super) fn take_due(&mut self, now: TimestampMs) -> Vec<Key> {
        let mut keys = Vec::new();
        while self.due.first().is_some_and(|(at, _)| *at <= now) {
            if let Some((_, key)) = self.due.pop_first() {
                self.due_at.remove(&key);
                keys.push(key);
            }
        }
        keys
    }

    /// When there is something to look at next.
    pub(super) fn next_at(&self) -> Option<TimestampMs> {
        self.due.first().map(|(at, _)| *at)
    }

    /// What happened to values for a while is not known: the next round begins at once.
    pub(super) fn lose_track(&mut self) {
        self.echoes.table = HashTable::new();
        (self.last, self.round_at) = (None, None);
    }

    /// Has some of the keys that hubs hold looked at, by turns.
    pub(super) fn audit(&mut self, links: &BTreeMap<Link, LinkState>, now: TimestampMs) {
        let is_later = |at: Option<TimestampMs>, ms: i64| at.is_none_or(|at| now.since_ms(at).abs() >= ms);
        if !is_later(self.audited_at, AUDIT_MS) || self.last.is_none() && !is_later(self.round_at, ROUND_MS) {
            return;
        }
        self.audited_at = Some(now);
        self.reads.retain(|_, (at, _)| now.since_ms(*at).abs() < FORGET_MS);
        self.echoes.forget(now);
        if self.last.is_none() {
            self.round_at = Some(now);
        }
        let mut next: BTreeSet<(Slot, Key)> = BTreeSet::new();
        for state in links.values() {
            let from = self.last.as_ref().map_or(Bound::Unbounded, |(slot, _)| Bound::Included(*slot));
            let held = state.held.range((from, Bound::Unbounded));
            let keys = held.flat_map(|(slot, held)| held.keys.iter().map(|key| (*slot, key)));
            let after = keys.filter(|(slot, key)| {
                self.last.as_ref().is_none_or(|(last_slot, last)| (*slot, *key) > (*last_slot, last))
            });
            next.extend(after.take(AUDIT_KEYS).map(|(slot, key)| (slot, key.clone())));
        }
        let is_end = next.len() < AUDIT_KEYS;
        let next: Vec<(Slot, Key)> = next.into_iter().take(AUDIT_KEYS).collect();
        next.iter().for_each(|(_, key)| self.look(key, now));
        self.last = next.into_iter().next_back().filter(|_| !is_end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: TimestampMs = TimestampMs(1_000_000);

    fn key() -> Key {
        Key::new("k").unwrap()
    }

    #[test]
    fn the_echo_of_a_commit_is_followed_later_than_a_plain_clients_write() {
        let mut watch = Watch::default();
        watch.written(&key(), START);
        watch.touched(&key(), START, || false);
        assert_eq!(watch.next_at(), None);
        watch.written(&key(), START);
        watch.touched(&key(), START, || true);
        assert_eq!(watch.next_at(), Some(START.plus_ms(ECHO_MS + TOGETHER_MS)));
        watch.touched(&key(), START, || true);
        assert_eq!(watch.next_at(), Some(START));
        assert_eq!(watch.take_due(START), [key()]);
        assert_eq!(watch.next_at(), None);
    }

    #[test]
    fn echoes_are_followed_at_a_pace_and_those_too_many_are_left_to_the_turns() {
        let mut watch = Watch::default();
        let keys: Vec<Key> = (0..10_000).map(|at| Key::new(format!("k{at}")).unwrap()).collect();
        for key in &keys {
            watch.written(key, START);
            watch.touched(key, START, || true);
        }
        assert_eq!(watch.take_due(START.plus_ms(ECHO_MS + TOGETHER_MS - 1)), []);
        assert_eq!(watch.take_due(START.plus_ms(ECHO_MS + TOGETHER_MS)).len(), 25);
        assert_eq!(watch.next_at(), Some(START.plus_ms(ECHO_MS + 2 * TOGETHER_MS)));
        let all = watch.take_due(START.plus_ms(ECHO_MS + ECHO_WAIT_MS + TOGETHER_MS));
        assert_eq!(all.len(), usize::try_from(ECHO_WAIT_MS / ECHO_PACE_MS).unwrap() + 1 - 25);
        assert_eq!(watch.next_at(), None);
        // Of a plain client's write the server tells once more, and later echoes have their turn again.
        watch.touched(&keys[9_999], START, || true);
        assert_eq!(watch.take_due(START), [keys[9_999].clone()]);
        for now in [START.plus_ms(ECHO_WAIT_MS), START.plus_ms(-100_000)] {
            watch.written(&keys[0], now);
            watch.touched(&keys[0], now, || true);
            let latest = now.plus_ms(ECHO_MS + ECHO_WAIT_MS + TOGETHER_MS);
            assert!(watch.next_at().is_some_and(|at| at <= latest));
            watch.take_due(latest);
        }
    }

    #[test]
    fn an_echo_is_expected_once_and_for_a_while() {
        let mut watch = Watch::new(HashSeed(1, 2));
        let other = Key::new("other").unwrap();
        watch.written(&key(), START);
        watch.written(&key(), START.plus_ms(FORGET_MS / 2));
        watch.written(&other, START);
        watch.audit(&BTreeMap::new(), START.plus_ms(FORGET_MS));
        let now = START.plus_ms(FORGET_MS);
        watch.touched(&key(), now, || true);
        assert_eq!(watch.next_at(), Some(now.plus_ms(ECHO_MS + TOGETHER_MS)), "it was written to again since");
        watch.touched(&other, now, || true);
        assert_eq!(watch.take_due(now), [other], "long ago");
        watch.touched(&key(), now, || true);
        assert_eq!(watch.take_due(now), [key()]);
    }

    #[test]
    fn a_large_value_is_read_less_often() {
        let mut watch = Watch::default();
        watch.read(&key(), 100_000, START);
        watch.touched(&key(), START, || true);
        assert_eq!(watch.next_at(), Some(START.plus_ms(PACE_MS + 1_000)));
    }
}
