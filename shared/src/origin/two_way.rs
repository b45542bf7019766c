//! Plain clients' writes in a commit: what was read of plain values is compared before hubs' deltas are joined.
//!
//! A value and its companion are of one moment when both were read at the marker on which the commit fences, so a read
//! counts for the next commit only, and is made again when that is refused.

use super::{
    Origin,
    adopt::{Finding, Known, adopt, differs},
    draft::{Draft, Drafts},
    slot::Cached,
};
use crate::{
    id::{Key, ReplicaId, TimestampMs},
    slot::Slot,
    state::{Amount, Effect, Element, ElementId, Increment, KeyDelta, NewBase, Sum},
    store::PlainRead,
};
use std::collections::{BTreeMap, BTreeSet};

impl Origin {
    /// A server that tracks keys says that these were changed.
    pub(super) fn touched(&mut self, keys: Vec<Key>, now: TimestampMs) {
        for key in keys {
            self.watch.touched(&key, now, || {
                let slot = key.slot();
                let holds =
                    |state: &super::LinkState| state.held.get(&slot).is_some_and(|held| held.keys.contains(&key));
                let asks = |work: &super::SlotWork| {
                    let is_begun = work.committing.as_ref().is_some_and(|committing| committing.begins(&key));
                    is_begun || work.wants.iter().any(|(_, wanted)| *wanted == key)
                };
                self.links.values().any(holds) || self.slots.get(&slot).is_some_and(|work| asks(work))
            });
        }
    }

    /// What was seen there is not removed by a plain client. Where nothing is known of the slot nothing was seen.
    pub(super) fn discarding(&mut self, key: Key) {
        if let Some(work) = self.slots.get_mut(&key.slot()) {
            work.plain.discarded.insert(key);
        }
    }

    /// Has values read whose time has come.
    pub(super) fn look(&mut self, now: TimestampMs) {
        for key in self.watch.take_due(now) {
            let slot = key.slot();
            if !self.is_plainless
                && let Some(work) = self.slots.get_mut(&slot)
            {
                work.plain.drifted.insert(key);
                self.ready.insert(slot);
            }
        }
    }

    /// Takes what the store answered of plain values. One that has none is not asked again.
    pub(super) fn take_reads(&mut self, slot: Slot, reads: Vec<(Key, PlainRead)>, now: TimestampMs) {
        let Some(work) = self.slots.get_mut(&slot) else { return };
        let is_asked = !std::mem::take(&mut work.plain.reading).is_empty();
        if is_asked && reads.is_empty() {
            self.is_plainless = true;
        }
        for (key, read) in reads {
            let count = read.value.as_ref().map_or(0, crate::store::PlainValue::count);
            self.watch.read(&key, count, now);
            if let Some(cached) = work.cache.get_mut(&key)
                && cached.key.state.view().ended_fields(now).iter().all(|id| !read.has_field(id.name_bytes()))
            {
                // Otherwise fields that have ended would be expected there, and taken out.
                cached.fields_at = cached.fields_at.max(now);
            }
            work.plain.fresh.insert(key.clone());
            work.plain.reads.insert(key, read);
        }
        if self.is_plainless {
            work.plain.forget();
        }
    }
}

/// What is read of a slot's plain values, and when they were last seen.
#[derive(Debug, Default)]
pub(super) struct PlainReads {
    /// Keys to read and compare: those that somebody waits for, and those that may differ.
    pub(super) unread: BTreeSet<Key>,
    pub(super) drifted: BTreeSet<Key>,
    /// Those that the load under way reads, and what was read at the present marker.
    pub(super) reading: BTreeSet<Key>,
    pub(super) reads: BTreeMap<Key, PlainRead>,
    /// Keys whose plain values were read, and so are compared, since the last commit at the present marker.
    pub(super) fresh: BTreeSet<Key>,
    /// Keys whose plain value was last seen to be there, and how many keys the server had evicted by then.
    pub(super) seen: BTreeMap<Key, u64>,
    /// Keys at which the operator has had a value removed, until that is found.
    pub(super) discarded: BTreeSet<Key>,
    /// How many keys the server has evicted, as far as is known.
    pub(super) evictions: u64,
    /// How many commits in a row were refused since plain clients had written.
    pub(super) moved: u32,
}

impl PlainReads {
    /// Whether nothing is to be read, and nothing that was read waits for its commit.
    pub(super) fn is_idle(&self) -> bool {
        self.unread.is_empty() && self.drifted.is_empty() && self.reads.is_empty()
    }

    /// Whether the key's plain value must be compared before anybody is told of the key.
    pub(super) fn is_unread(&self, key: &Key) -> bool {
        self.unread.contains(key) || self.reads.contains_key(key)
    }

    /// All that is to be read; the load that follows reads it. Whether anything stands at those that are `begun` the commit
    /// finds out, unless it is known that something changed there.
    pub(super) fn take_due(&mut self, begun: &BTreeSet<&Key>) -> BTreeSet<Key> {
        let (left, due) = std::mem::take(&mut self.unread).into_iter().partition(|key| begun.contains(key));
        self.unread = left;
        BTreeSet::into_iter(due).chain(std::mem::take(&mut self.drifted)).collect()
    }

    /// What was read is of another moment than the marker.
    pub(super) fn read_again(&mut self) {
        self.fresh.clear();
        self.drifted.extend(std::mem::take(&mut self.reads).into_keys());
    }

    /// Forgets what was to be read, and what was.
    pub(super) fn forget(&mut self) {
        self.unread.clear();
        self.drifted.clear();
        self.reads.clear();
        self.fresh.clear();
    }

    /// Notes whether a value stands at a key, of which everything is known up to now.
    pub(super) fn look_upon(&mut self, key: &Key, is_there: bool) {
        if is_there {
            self.seen.insert(key.clone(), self.evictions);
        } else {
            self.seen.remove(key);
            self.discarded.remove(key);
        }
    }

    /// Drops what was read of values that are as they should be, so that nobody waits for a commit of them.
    pub(super) fn pass(&mut self, cache: &BTreeMap<Key, Box<Cached>>, now: TimestampMs) {
        let Self { reads, seen, evictions, .. } = self;
        reads.retain(|key, read| {
            let is_same = cache.get(key).is_some_and(|cached| !differs(&cached.key.state, read, now));
            if is_same && read.value.is_some() {
                seen.insert(key.clone(), *evictions);
            }
            !is_same
        });
    }
}

/// What came of the values that were read.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// At how many keys plain clients had written.
    pub(super) adopted: usize,
    /// Keys that hubs changed and whose values are not Headwater's.
    pub(super) foreign: Vec<Key>,
    /// Keys whose values are not Headwater's, whoever asks.
    pub(super) unfit: BTreeSet<Key>,
    /// Keys of which the commit makes what was found the origin's own, and whether a value stands there. Until it has happened
    /// they count as seen as they were before: where the store refuses it, what is read then is judged by that again.
    pub(super) looked_upon: Vec<(Key, bool)>,
}

/// An element as it stands here, of which a delta tells what earlier incarnations did.
pub(super) struct Earlier {
    element: ElementId,
    /// Its sum, and the incarnations that have shares in it.
    sum: Sum,
    of: Vec<ReplicaId>,
    /// What was written outright and stands here, if the delta tells of a write that the store lost.
    base: Option<NewBase>,
}

impl Drafts<'_> {
    /// Makes what plain clients did to the values that were read the origin's own.
    pub(super) fn adopt_reads(&mut self, reads: &BTreeMap<Key, PlainRead>) -> Found {
        let mut found = Found::default();
        for (key, read) in reads {
            let work = &mut *self.work;
            let Some(cached) = work.cache.get_mut(key) else { continue };
            let seen = work.plain.seen.get(key).copied();
            let is_discarded = read.value.is_none() && work.plain.discarded.contains(key);
            let is_seen = seen == Some(work.plain.evictions) && !is_discarded;
            let is_removal = is_seen || fault!(EvictionTakenForRemoval);
            let is_same = is_removal || seen.is_none() && work.plain.evictions == 0;
            let has_companion = cached.version.is_some();
            if work.is_lost && work.plain.evictions > 0 && !has_companion || fault!(PlainWritesIgnored) {
                continue;
            }
            let known = Known { has_companion, is_removal, is_same };
            let state = &mut cached.key.state;
            let finding = adopt(state, read, known, self.now, &mut |state| self.numbers.mint_on(state));
            // Plain clients read what the state shows now.
            let mut draft = Draft::of(cached, self.now);
            let is_foreign = matches!(finding, Finding::Foreign);
            if !is_foreign {
                work.foreign.remove(key);
            }
            let is_there = read.value.is_some() && !is_foreign;
            if matches!(finding, Finding::Same | Finding::Ending | Finding::Foreign) {
                work.plain.look_upon(key, is_there);
            } else {
                found.looked_upon.push((key.clone(), is_there));
            }
            match finding {
                Finding::Same => continue,
                Finding::Adopted(touched) => {
                    draft.before.deadline = read.expire_at.filter(|_| read.tells_expiry).or(draft.before.deadline);
                    draft.take(touched, self.numbers.own);
                    found.adopted = found.adopted.saturating_add(1);
                }
                Finding::Restored(touched) => {
                    work.anew.insert(key.clone());
                    draft.take(touched, self.numbers.own);
                    found.adopted = found.adopted.saturating_add(1);
                }
                Finding::Lowered => {
                    draft.before.deadline = read.expire_at;
                    draft.is_changed = true;
                }
                Finding::Lost => {
                    work.anew.insert(key.clone());
                    draft.is_changed = true;
                }
                Finding::Revoked(kind) => {
                    draft.before.show(kind);
                    draft.is_changed = true;
                }
                Finding::Ending => {
                    work.anew.insert(key.clone());
                    continue;
                }
                Finding::Foreign => {
                    found.unfit.insert(key.clone());
                    // A mend writes the value anew where its companion was lost, and hears from the store if it is foreign.
                    if work.has_delta(key) && work.foreign.insert(key.clone()) && !work.is_mended(key) {
                        found.foreign.push(key.clone());
                    }
                    continue;
                }
            }
            self.keys.insert(key.clone(), draft);
        }
        found
    }

    /// The elements that a delta lists and in which the origin's earlier incarnations had a part, as they stand here. Of a key
    /// without a companion there are none: all of it was lost.
    pub(super) fn earlier_in(&self, key: &Key, delta: &KeyDelta) -> Vec<Earlier> {
        let Some(cached) = self.work.cache.get(key).filter(|cached| cached.version.is_some()) else {
            return Vec::new();
        };
        let is_earlier = |replica: &ReplicaId| replica.is_of_origin() && *replica != self.numbers.own;
        let state = &cached.key.state;
        let ctx = state.ctx();
        let mut parts = Vec::new();
        for (id, element) in &delta.elements {
            let of: Vec<ReplicaId> = match &element.sum {
                Sum::Int(sum) => sum.parts().map(|(replica, _)| replica).filter(is_earlier).collect(),
                Sum::Float(sum) => sum.parts().map(|(replica, _)| replica).filter(is_earlier).collect(),
            };
            let is_lost = element.base.dots().any(|dot| is_earlier(&dot.replica) && !ctx.contains(dot));
            if !of.is_empty() || is_lost {
                let known = state.element(id).unwrap_or_else(|| Element::empty(id.kind()));
                let base = known.latest_written().filter(|_| is_lost);
                parts.push(Earlier { element: id.clone(), sum: known.sum, of, base });
            }
        }
        parts
    }

    /// What plain clients did is as durable as their server: where a hub brings a share of an earlier incarnation that is
    /// ahead of what the store kept, the difference is taken back under the present one, and what stands here is written over
    /// what was written before the loss. What the server kept of it is in the plain value, and adopted from there.
    pub(super) fn take_back(&mut self, key: &Key, parts: &[Earlier]) {
        let (Some(cached), Some(draft)) = (self.work.cache.get_mut(key), self.keys.get_mut(key)) else { return };
        let state = &mut cached.key.state;
        for Earlier { element, sum, of, base } in parts {
            let by = match (sum, state.element(element).map(|element| element.sum)) {
                (Sum::Int(before), Some(Sum::Int(after))) => {
                    let ahead = of.iter().fold(0, |sum: i128, replica| sum.plus(after.ahead_of(before, *replica)));
                    (ahead != 0).then(|| Increment::Int(ahead.saturating_neg()))
                }
                (Sum::Float(before), Some(Sum::Float(after))) => {
                    let ahead = of.iter().fold(0.0, |sum: f64, replica| sum.plus(after.ahead_of(before, *replica)));
                    (ahead != 0.0).then_some(Increment::Float(-ahead))
                }
                _ => None,
            };
            if let Some(by) = by.filter(|_| !fault!(EarlierSharesCounted)) {
                let mint = self.numbers.mint_on(state);
                draft.take(state.apply(&Effect::Add { element: element.clone(), by }, mint), self.numbers.own);
            }
            if let Some(base) = base.clone().filter(|_| !fault!(EarlierSharesCounted)) {
                let (seen, _) = state.seen(element);
                let cuts = Element::empty(element.kind()).sum.seen();
                let write = Effect::Write { element: element.clone(), base: Some(base), seen, cuts };
                let mint = self.numbers.mint_on(state);
                draft.take(state.apply(&write, mint), self.numbers.own);
            }
        }
    }
}
