//! The keys of a slot while a commit of them is being made: states in the cache run ahead of the store, and a draft of each
//! remembers what stood there before.

use super::{
    plain::Before,
    slot::{Cached, SlotWork},
};
use crate::{
    hlc::{Clock, Hlc},
    id::{Dot, Key, No, ReplicaId, Stamp, TimestampMs},
    limits::EXPIRY_GRACE_MS,
    message::SlotDelta,
    state::{DeadlineChange, Effect, ElementId, KeyDelta, KeyState, Mint, Touched},
};
use std::collections::{BTreeMap, BTreeSet};

/// A key while a commit is being made.
pub(super) struct Draft {
    pub(super) before: Before,
    pub(super) touched: BTreeSet<ElementId>,
    pub(super) is_changed: bool,
    /// Whether a delta was complete: what it does not list is removed, and has no field to tell so.
    pub(super) is_whole: bool,
    /// Whether a command in one agreed order changed it, which was answered what stood there.
    pub(super) is_ordered: bool,
    /// Whose changes are in it.
    pub(super) by: BTreeSet<ReplicaId>,
}

impl Draft {
    /// Nothing is changed yet; what ended since the last commit was there.
    pub(super) fn of(cached: &Cached, now: TimestampMs) -> Self {
        let state = &cached.key.state;
        let mut before = Before::of(state, now, cached.fields_at);
        if !fault!(EndedFieldsKept) {
            state.view().ended_fields(now).iter().for_each(|id| before.note(state, id));
        }
        let (touched, by) = (BTreeSet::new(), BTreeSet::new());
        Self { before, touched, is_changed: false, is_whole: false, is_ordered: false, by }
    }

    /// Notes what a replica changed.
    pub(super) fn take(&mut self, touched: Touched, by: ReplicaId) {
        self.touched.extend(touched.elements.into_iter().map(|(id, _)| id));
        self.is_changed = true;
        self.by.insert(by);
    }

    /// Has the commit refused, however often, where what a command was answered does not stand there any more.
    pub(super) fn guard_order(&mut self) {
        self.before.guard_members();
        self.is_ordered = true;
    }

    /// Notes how every element stands before all of them may change.
    pub(super) fn note_all(&mut self, state: &KeyState) {
        state.elements().iter().for_each(|(id, _)| self.before.note(state, id));
    }
}

/// The origin's own numbers in a slot.
pub(super) struct Numbers<'a> {
    /// The incarnation.
    pub(super) own: ReplicaId,
    /// The last number.
    pub(super) no: No,
    clock: &'a mut Clock,
    now: TimestampMs,
}

impl Numbers<'_> {
    /// Has what follows bear later stamps than this one, if it lies within the bound.
    pub(super) fn heed(&mut self, seen: Hlc) {
        let _ = self.clock.observe(seen, self.now);
    }

    /// The next number, with a stamp.
    pub(super) fn mint(&mut self) -> Mint {
        self.no = self.no.next();
        Mint { dot: Dot { replica: self.own, no: self.no }, hlc: self.clock.tick(self.now) }
    }

    /// As [`Numbers::mint`], for an operation on a key that the origin may have passed over since its last one there: its
    /// numbers in between are other keys' of the slot, and the context stays one interval.
    pub(super) fn mint_on(&mut self, state: &mut KeyState) -> Mint {
        state.bridge(self.own, self.no);
        self.mint()
    }
}

/// What a commit in the making changes, key by key.
pub(super) struct Drafts<'a> {
    pub(super) work: &'a mut SlotWork,
    pub(super) keys: BTreeMap<Key, Draft>,
    pub(super) numbers: Numbers<'a>,
    pub(super) now: TimestampMs,
}

impl<'a> Drafts<'a> {
    /// No draft yet; `own` is the incarnation in whose name the origin acts.
    pub(super) fn of(work: &'a mut SlotWork, clock: &'a mut Clock, own: ReplicaId, now: TimestampMs) -> Self {
        let no = work.marker.as_ref().map_or(No::ZERO, |marker| marker.no);
        Self { work, keys: BTreeMap::new(), numbers: Numbers { own, no, clock, now }, now }
    }

    /// Takes what a hub did to a key.
    pub(super) fn take(&mut self, key: &Key, delta: &KeyDelta, part: &SlotDelta, hub: ReplicaId) {
        let earlier = self.earlier_in(key, delta);
        if let Some(deadline) = self.join(key, delta, part, hub) {
            self.start_afresh(key, deadline);
            let _ = self.join(key, delta, part, hub);
        }
        self.take_back(key, &earlier);
    }

    /// Joins one delta into the cached key. Gives back the deadline that the key must start afresh after, and joins nothing,
    /// if the key had expired and the delta's hub wrote to it without knowing.
    fn join(&mut self, key: &Key, delta: &KeyDelta, part: &SlotDelta, hub: ReplicaId) -> Option<Option<TimestampMs>> {
        let cached = self.work.cache.entry(key.clone()).or_default();
        let draft = self.keys.entry(key.clone()).or_insert_with(|| Draft::of(cached, self.now));
        let state = &mut cached.key.state;
        if is_written_after_expiry(state, delta, self.now) {
            return Some(delta.header.deadline.at().filter(|at| *at > self.now));
        }
        delta.elements.iter().for_each(|(id, _)| draft.before.note(state, id));
        if delta.complete || !state.header().wipe.covers(&delta.header.wipe) {
            draft.note_all(state);
        }
        // The marker vouches for all of the hub's numbers before: none of them concerns this key but those recorded.
        if !fault!(ContextNotBridged) && !cached.key.unheard.contains(&hub) {
            state.bridge(hub, part.from);
        }
        let known: BTreeSet<ReplicaId> = state.ctx().replicas().collect();
        let touched = state.join(delta);
        let is_new = |replica: &ReplicaId| *replica != hub && !known.contains(replica);
        cached.key.unheard.extend(state.ctx().replicas().filter(is_new));
        if delta.complete && part.to == part.from && !known.contains(&hub) {
            // Perhaps a piece of a key that others follow: until they are here, nobody vouches for what lies between.
            cached.key.unheard.insert(hub);
        } else if part.to > part.from || (!delta.complete && part.to > No::ZERO) {
            cached.key.unheard.remove(&hub);
        }
        draft.is_whole |= delta.complete;
        if !touched.is_empty() {
            // Also what the hub lists and is not here: other hubs may have it, from a history that a failover undid.
            draft.touched.extend(delta.elements.iter().map(|(id, _)| id.clone()));
            draft.take(touched, hub);
        }
        None
    }

    /// Does for the hub what a write after the deadline does: wipes what the key held and opens an epoch, in the origin's
    /// name.
    fn start_afresh(&mut self, key: &Key, deadline: Option<TimestampMs>) {
        let (Some(cached), Some(draft)) = (self.work.cache.get_mut(key), self.keys.get_mut(key)) else { return };
        let state = &mut cached.key.state;
        draft.note_all(state);
        let epoch = Effect::Deadline { change: DeadlineChange::Open(deadline), seen: state.deadline().epoch() };
        for effect in [state.seen_whole(), epoch] {
            draft.take(state.apply(&effect, self.numbers.mint()), self.numbers.own);
        }
    }

    /// Removes a key whole in the origin's name, and has it end now, so that hubs and companion forget it, names of elements
    /// included. Says whether there was anything.
    pub(super) fn erase(&mut self, key: &Key) -> bool {
        let Some(cached) = self.work.cache.get_mut(key) else { return false };
        let state = &mut cached.key.state;
        let is_revoked = state.deadline().is_revoked(self.now);
        if state.ctx().is_empty() || state.deadline().is_past(self.now) || is_revoked && state.elements().is_empty() {
            return false;
        }
        state.bridge(self.numbers.own, self.numbers.no);
        if !self.keys.contains_key(key) {
            self.keys.insert(key.clone(), Draft::of(cached, self.now));
        }
        self.start_afresh(key, Some(self.now));
        true
    }

    /// Takes fields that have ended out of the plain value; their state goes once no hub can revive them any more, as an HDEL
    /// in the origin's name. Says whether the key is in the commit for it.
    pub(super) fn end_fields(&mut self, key: &Key) -> bool {
        let Some(cached) = self.work.cache.get_mut(key) else { return false };
        if cached.version.is_none() || cached.has_ended(self.now) {
            return false;
        }
        let draft = self.keys.entry(key.clone()).or_insert_with(|| Draft::of(cached, self.now));
        draft.is_changed = true;
        let state = &mut cached.key.state;
        for id in state.view().ended_fields(self.now.plus_ms(EXPIRY_GRACE_MS.saturating_neg())) {
            draft.before.note(state, &id);
            let (seen, cuts) = state.seen(&id);
            let mint = self.numbers.mint_on(state);
            let touched = state.apply(&Effect::Write { element: id, base: None, seen, cuts }, mint);
            draft.take(touched, self.numbers.own);
        }
        true
    }
}

/// Whether the key had expired before the delta's hub wrote to it, which did not know of the deadline.
fn is_written_after_expiry(state: &KeyState, delta: &KeyDelta, now: TimestampMs) -> bool {
    let deadline = state.deadline();
    let Some(ended) = deadline.at().filter(|at| *at <= now) else { return false };
    // Also one that moved the deadline out while the key lived there.
    let knew = delta.header.deadline.follows(&deadline);
    let is_new = |stamp: Stamp| !state.header().ctx.contains(stamp.dot) && stamp.hlc.time() >= ended;
    !knew && delta.header.claims.iter().any(|(_, stamp)| is_new(stamp))
}
