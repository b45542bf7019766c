//! Commits: hubs' deltas joined into the companions, plain values brought up to date, the marker moved. All or nothing.

use super::{
    Link, Origin, OriginEffect,
    draft::{Draft, Drafts, Numbers},
    ends::RETRY_MS,
    orders::Order,
    slot::{Busy, SlotWork},
};
use crate::{
    id::{Key, No, ReplicaId, TimestampMs},
    limits::EXPIRY_GRACE_MS,
    message::{OriginToHub, RunReply, SlotDelta},
    slot::Slot,
    store::{Commit, Expected, KeyCommit, Marker, MarkerChange, Otherwise, Outcome, Plain},
};
use std::collections::{BTreeMap, BTreeSet};

/// How often in a row plain clients may be faster than a commit that overwrites what they write, or miss what it expects,
/// before it does not ask any more, but for keys that a command in one agreed order changed.
const MOVED_MAX: u32 = 8;

/// What to do when the commit under way has happened.
#[derive(Debug, Default)]
pub(super) struct Committing {
    change: Option<MarkerChange>,
    /// The hubs whose deltas are in it, with the link to tell.
    links: BTreeMap<Link, ReplicaId>,
    /// The keys, and whose deltas changed each.
    keys: BTreeMap<Key, BTreeSet<ReplicaId>>,
    /// The deltas that are in it.
    taken: Vec<(Link, SlotDelta)>,
    /// What hubs shipped where digests differed.
    mended: Vec<(Link, SlotDelta)>,
    forgotten: Vec<Key>,
    /// When it was made.
    at: TimestampMs,
    ended: Vec<Key>,
    erased: Vec<Key>,
    /// Keys of which the plain values were read for it.
    read: Vec<Key>,
    /// Keys that hubs wait for and whose values it begins, where it finds that nothing stands there.
    begun: Vec<Key>,
    /// Keys at which it adopts what plain clients wrote.
    adopted: usize,
    /// Keys whose plain values were found to differ from what the states showed, and whether any stands there.
    looked_upon: Vec<(Key, bool)>,
    /// Keys whose plain values stand as their states show afterwards.
    shown: Vec<Key>,
    /// The commands that were executed for it, with what each is answered then.
    pub(super) orders: Vec<(Order, RunReply)>,
    /// Whether it begins the keys of the deltas that are in it, and does nothing else.
    is_beginning: bool,
    /// What hubs want no more by now, each one key that it begins; or all, of a hub that begins again and sends anew.
    unwanted: Vec<(Link, Option<Key>)>,
}

impl Committing {
    /// A commit that begins keys.
    pub(super) fn beginning(
        change: MarkerChange,
        links: BTreeMap<Link, ReplicaId>,
        taken: Vec<(Link, SlotDelta)>,
        shown: Vec<Key>,
        at: TimestampMs,
    ) -> Self {
        Self { change: Some(change), links, taken, shown, at, is_beginning: true, ..Self::default() }
    }

    /// Whether it begins that key. Logarithmic: of such a commit the keys stand in order.
    pub(super) fn begins(&self, key: &Key) -> bool {
        self.is_beginning && self.shown.binary_search(key).is_ok()
    }

    /// A hub does not want a key any more that is begun, or begins again itself.
    pub(super) fn unwant(&mut self, link: Link, key: Option<&Key>) {
        if key.is_none_or(|key| self.begins(key)) {
            self.unwanted.push((link, key.cloned()));
        }
    }

    /// Whether what that hub shipped in a comparison is in it.
    pub(super) fn mends_of(&self, link: Link) -> bool {
        self.mended.iter().any(|(other, _)| *other == link)
    }

    /// Whether it changes that key.
    pub(super) fn changes(&self, key: &Key) -> bool {
        self.keys.contains_key(key) || self.forgotten.contains(key) || self.begins(key)
    }
}

impl Origin {
    /// Opens a fresh incarnation of a slot's history, in a commit of its own: the server is not the one that it was, or all
    /// of the slot is gone.
    pub(super) fn open_incarnation(&mut self, slot: Slot) {
        let incarnation = self.fresh_incarnation();
        let run_id = self.config.run_id.clone();
        let Some(work) = self.slots.get_mut(&slot) else { return };
        let previous = work.marker.as_ref().map(|marker| (marker.incarnation, marker.seq));
        let change = MarkerChange {
            open: Some((incarnation, run_id, previous)),
            seq: work.seq().saturating_add(1),
            no: work.marker.as_ref().map_or(No::ZERO, |marker| marker.no),
            hubs: Vec::new(),
        };
        work.cache.clear();
        work.plain.seen.clear();
        work.is_lost |= work.marker.is_none();
        self.stability.forget(slot);
        let commit = Commit {
            slot,
            fence: previous.map(|(incarnation, _)| incarnation),
            expected_seq: work.seq(),
            marker: change.clone(),
            keys: Vec::new(),
        };
        self.requests = self.requests.saturating_add(1);
        work.busy = Busy::Committing;
        work.committing = Some(Box::new(Committing { change: Some(change), ..Committing::default() }));
        self.effects.push(OriginEffect::Commit(commit));
    }

    /// Commits the deltas that wait, together.
    pub(super) fn commit(&mut self, slot: Slot, now: TimestampMs) {
        let incarnation = self.fresh_incarnation();
        let run_id = self.config.run_id.clone();
        let Some(work) = self.slots.get_mut(&slot) else { return };
        if work.marker.is_none() {
            // Nothing was ever committed here, so there is nothing to forget.
            work.expired.clear();
            work.ended.clear();
        }
        work.spare_living(now);
        let is_idle = work.inbox.is_empty() && work.mends.is_empty() && work.plain.reads.is_empty();
        let nothing_ends = work.expired.is_empty() && work.ended.is_empty() && work.erased.is_empty();
        if is_idle && nothing_ends && work.orders.is_empty() {
            // What comes later may not rest on what was read so early.
            work.plain.fresh.clear();
            return;
        }
        let open = work.marker.is_none().then_some((incarnation, run_id, None));
        let own = work.marker.as_ref().map_or(incarnation, |marker| marker.incarnation);
        let seq = work.seq().saturating_add(1);
        let mut committing = Committing { at: now, ..Committing::default() };
        let mut hubs: BTreeMap<ReplicaId, No> = BTreeMap::new();
        let mut settled = Vec::new();
        let mut drafts = Drafts::of(work, &mut self.clock, own, now);
        let reads = std::mem::take(&mut drafts.work.plain.reads);
        let found = drafts.adopt_reads(&reads);
        committing.adopted = found.adopted;
        committing.looked_upon = found.looked_upon;
        for key in &found.foreign {
            self.foreign.note(slot, now.plus_ms(RETRY_MS));
            self.effects.push(OriginEffect::Foreign(key.clone()));
        }
        committing.read = reads.into_keys().collect();
        let inbox = std::mem::take(&mut drafts.work.inbox);
        for (link, part) in &inbox {
            let Some(hub) = self.links.get(link).and_then(|state| state.hub) else { continue };
            let known = hubs.get(&hub).copied().unwrap_or_else(|| drafts.work.number_of(hub));
            let is_gap = part.from > known && !fault!(MarkerJumpsGap);
            let is_former = part.history.is_some_and(|history| history != own) && !fault!(FormerHistoryCounted);
            if is_gap || is_former {
                // Something before it is missing here, or the hub has not heard yet that the store lost what it leaves out as
                // stable: nothing of it counts, the hub sends again from there.
                self.effects.push(OriginEffect::ToHub(*link, OriginToHub::Resume(vec![(slot, known)])));
                settled.push(*link);
                continue;
            }
            committing.links.insert(*link, hub);
            if part.to > known {
                hubs.insert(hub, part.to);
            }
            part.keys.iter().for_each(|(key, delta)| drafts.take(key, delta, part, hub));
        }
        committing.taken = inbox;
        for key in std::mem::take(&mut drafts.work.ended) {
            if drafts.end_fields(&key) {
                committing.ended.push(key);
            }
        }
        for key in std::mem::take(&mut drafts.work.erased) {
            if drafts.work.plain.is_unread(&key) {
                drafts.work.erased.insert(key);
            } else if drafts.erase(&key) {
                committing.erased.push(key);
            } else {
                self.effects.push(OriginEffect::Erased(key));
            }
        }
        let mends = std::mem::take(&mut drafts.work.mends);
        // What went on under another incarnation lost nothing, and against nothing a hub ships all that it has.
        let goes_on = |history: ReplicaId, marker: &Marker| {
            history == marker.incarnation || marker.previous.is_some_and(|(before, _)| before == history)
        };
        for (link, part) in &mends {
            let Some(hub) = self.links.get(link).and_then(|state| state.hub) else { continue };
            let marker = drafts.work.marker.as_ref();
            let is_kept = part.history.is_none_or(|history| marker.is_some_and(|marker| goes_on(history, marker)));
            if !is_kept && !fault!(FormerHistoryCounted) {
                // The store lost what was compared; a comparison follows.
                continue;
            }
            for (key, delta) in &part.keys {
                drafts.work.doubt_value(key);
                drafts.take(key, delta, part, hub);
            }
        }
        let hub_of = |link: Link| self.links.get(&link).and_then(|state| state.hub);
        let draws = &mut self.draws;
        committing.orders = drafts.execute_orders(&hubs, hub_of, &found.unfit, self.is_plainless, || draws.bits());
        let Drafts { work, keys: drafts, numbers: Numbers { no, .. }, .. } = drafts;
        let mut executed = Vec::new();
        let mut mending: BTreeSet<Link> = mends.iter().map(|(link, _)| *link).collect();
        committing.mended = mends;
        let mut keys: Vec<KeyCommit> = Vec::new();
        for (key, draft) in drafts.iter().filter(|(_, draft)| draft.is_changed) {
            let mut part = key_commit(work, key, draft, seq, now);
            // What a command was answered holds only if nobody else was given the same.
            let may_overwrite = work.plain.moved >= MOVED_MAX && !draft.is_ordered;
            if may_overwrite || fault!(PlainGuardsDropped) {
                part.plain.guards.iter_mut().for_each(|guard| guard.otherwise = Otherwise::Tell);
            }
            if !part.plain.commands.is_empty() {
                // Where nothing is written nobody looks whether the value is still there.
                self.watch.written(key, now);
                committing.shown.push(key.clone());
            }
            if begins_value(&part) && work.plain.unread.remove(key) {
                committing.begun.push(key.clone());
                if let Some(shown) = work.cache.get(key).and_then(|cached| cached.key.state.shown(now))
                    && fault!(AbsenceNotCompared)
                {
                    part.plain.expected = Expected::AbsentOr(shown);
                }
            }
            keys.push(part);
            committing.keys.insert(key.clone(), draft.by.clone());
        }
        for key in std::mem::take(&mut work.expired) {
            if !drafts.contains_key(&key) {
                keys.push(forget(work, &key, seq));
                committing.forgotten.push(key);
            }
        }
        let change = MarkerChange { open, seq, no, hubs: hubs.into_iter().collect() };
        if keys.is_empty() && change.hubs.is_empty() {
            // All of it was known: acknowledge again. Another daemon may have committed it, and this one answers for it now.
            let known: Vec<_> =
                committing.links.iter().map(|(link, hub)| (*link, *hub, work.number_of(*hub))).collect();
            for (link, hub, no) in known {
                if !fault!(StableOfOthersForgotten) {
                    self.note_committed(slot, hub, no);
                }
                self.effects.push(OriginEffect::ToHub(link, OriginToHub::Committed(vec![(slot, no)])));
                settled.push(link);
            }
            executed = committing.orders;
        } else {
            let commit = Commit {
                slot,
                fence: work.marker.as_ref().map(|marker| marker.incarnation),
                expected_seq: work.seq(),
                marker: change.clone(),
                keys,
            };
            committing.change = Some(change);
            self.requests = self.requests.saturating_add(1);
            work.busy = Busy::Committing;
            work.committing = Some(Box::new(committing));
            self.effects.push(OriginEffect::Commit(commit));
        }
        for link in settled {
            self.settle_link(link, slot, now);
        }
        // What these read is of one moment with the marker, and they change nothing.
        for (order, reply) in executed {
            self.ordered(&order, reply, now);
        }
        // What a comparison showed that hubs are to hear again goes with the commit, or now if there is none.
        let is_idle = |work: &SlotWork| work.busy == Busy::Idle;
        mending.retain(|link| self.slots.get(&slot).is_some_and(|work| is_idle(work) && !work.is_attaching(*link)));
        for link in mending {
            self.push_down(link, slot, false);
        }
    }

    pub(super) fn committed(&mut self, slot: Slot, outcome: Outcome, now: TimestampMs) {
        let Some(work) = self.slots.get_mut(&slot) else { return };
        if work.end_request() {
            self.requests = self.requests.saturating_sub(1);
        }
        self.ready.insert(slot);
        let Some(mut committing) = work.committing.take() else { return };
        match outcome {
            Outcome::Committed => {}
            Outcome::Drifted(ref keys) => {
                // Perhaps the value is another than the one that was seen there.
                committing.shown.retain(|key| !keys.contains(key));
                keys.iter().for_each(|key| self.watch.look(key, now));
            }
            Outcome::Stale if fault!(StaleTakenForCommitted) => {}
            refused => {
                work.is_wary = true;
                if !work.is_known {
                    self.slot_novelty.note(false);
                }
                // The cache was changed ahead of the store; the deltas still wait and are joined anew.
                for key in committing.keys.keys() {
                    work.cache.remove(key);
                }
                committing.restore_orders(work);
                work.expired.extend(committing.forgotten);
                work.ended.extend(committing.ended);
                work.erased.extend(committing.erased);
                let read: BTreeSet<Key> = committing.read.into_iter().collect();
                if !self.is_plainless {
                    work.plain.unread.extend(read.iter().cloned().chain(committing.begun));
                }
                if !fault!(RefusedCommitForgotten) {
                    if committing.is_beginning {
                        work.put_back(committing.taken, &committing.unwanted);
                    } else {
                        let is_gone = |link: &Link| committing.unwanted.contains(&(*link, None));
                        committing.taken.retain(|(link, _)| !is_gone(link));
                        committing.mended.retain(|(link, _)| !is_gone(link));
                        work.inbox.splice(0..0, committing.taken);
                    }
                    work.mends.splice(0..0, committing.mended);
                }
                match refused {
                    Outcome::Committed | Outcome::Drifted(_) | Outcome::Stale => work.doubt(),
                    Outcome::Moved(keys) => {
                        work.plain.moved = work.plain.moved.saturating_add(1);
                        work.plain.drifted.extend(keys);
                    }
                    Outcome::Conflict(keys) => keys.iter().for_each(|key| {
                        self.novelty.note(false);
                        // An expired companion vanishes by itself; then its place in the feed is all that is left to drop.
                        if work.cache.remove(key).is_none_or(|cached| cached.version.is_none()) {
                            work.expired.remove(key);
                        }
                    }),
                    Outcome::Missing(keys) if self.is_plainless || work.plain.moved >= MOVED_MAX => {
                        work.anew.extend(keys);
                    }
                    Outcome::Missing(keys) => {
                        work.plain.moved = work.plain.moved.saturating_add(1);
                        work.plain.drifted.extend(keys);
                    }
                    Outcome::Foreign(keys) => {
                        for key in keys {
                            if self.is_plainless || read.contains(&key) {
                                work.plain.unread.remove(&key);
                                self.foreign.note(slot, now.plus_ms(RETRY_MS));
                                work.foreign.insert(key.clone());
                                self.effects.push(OriginEffect::Foreign(key));
                            } else {
                                // Perhaps plain clients wrote what can be adopted.
                                self.novelty.note(false);
                                work.plain.drifted.insert(key);
                            }
                        }
                    }
                }
                return;
            }
        }
        let Some(change) = committing.change else { return };
        apply_to_marker(work, &change);
        work.forget_feed();
        work.plain.moved = 0;
        work.is_wary = false;
        work.is_known = true;
        committing.looked_upon.iter().for_each(|(key, is_there)| work.plain.look_upon(key, *is_there));
        let evictions = work.plain.evictions;
        work.plain.seen.extend(committing.shown.into_iter().map(|key| (key, evictions)));
        self.effects.extend(committing.erased.into_iter().map(OriginEffect::Erased));
        if committing.adopted > 0 {
            self.effects.push(OriginEffect::Adopted(committing.adopted));
        }
        for (key, by) in &committing.keys {
            work.anew.remove(key);
            work.read_to_compare.remove(key);
            if let Some(cached) = work.cache.get_mut(key) {
                // What has been written to twice is perhaps written to again.
                cached.is_begun &= cached.version.is_none();
                cached.sole = by.first().copied().filter(|_| cached.is_begun && by.len() == 1);
                if cached.is_begun {
                    work.begun.push(key.clone());
                }
                cached.version = Some(change.seq);
                cached.fields_at = committing.at;
                cached.next_end().into_iter().for_each(|at| self.ends.note(slot, at));
            }
        }
        for key in &committing.forgotten {
            work.plain.seen.remove(key);
            work.cache.remove(key);
        }
        let told: Vec<_> = committing.links.iter().map(|(link, hub)| (*link, *hub, work.number_of(*hub))).collect();
        for (link, hub, no) in told {
            self.note_committed(slot, hub, no);
            // By the same link another identity of the hub may speak by now, which numbers anew.
            if self.links.get(&link).is_some_and(|state| state.hub == Some(hub)) {
                self.acknowledge(link, slot, no);
                self.settle_link(link, slot, now);
            }
        }
        self.owe(slot, &committing.keys);
        if committing.is_beginning {
            self.hold_begun(slot, committing.taken, &committing.unwanted);
        }
        for (order, reply) in committing.orders {
            self.ordered(&order, reply, now);
        }
    }

    /// Sends the keys on to the hubs that hold them, but not what a hub alone changed back to that hub.
    fn owe(&mut self, slot: Slot, keys: &BTreeMap<Key, BTreeSet<ReplicaId>>) {
        let Some(work) = self.slots.get(&slot) else { return };
        let mut links = Vec::new();
        let may_hear = |link: &Link| fault!(AttachingHubPushed) || !work.is_attaching(*link);
        for (link, state) in self.links.iter_mut().filter(|(link, _)| may_hear(link)) {
            let Some(held) = state.held.get_mut(&slot) else { continue };
            let others = keys
                .iter()
                .filter(|(key, by)| held.keys.contains(*key) && by.iter().any(|replica| Some(*replica) != state.hub));
            held.owed.extend(others.map(|(key, _)| key.clone()));
            // A hub that has no cursor yet gets one, by which it tells when the slot's history is another.
            links.push((*link, held.cursor.incarnation.is_none()));
        }
        for (link, is_first) in links {
            self.push_down(link, slot, is_first);
        }
    }

    pub(super) fn fresh_incarnation(&mut self) -> ReplicaId {
        // Distinct from every other: 48 random bits of this machine, of which each use takes the next.
        let incarnation = ReplicaId::of_origin(self.config.entropy);
        self.config.entropy =
            self.config.entropy.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        incarnation
    }
}

fn key_commit(work: &mut SlotWork, key: &Key, draft: &Draft, seq: u64, now: TimestampMs) -> KeyCommit {
    let anew = work.anew.contains(key);
    let is_foreign = work.foreign.contains(key);
    let cached = work.cache.entry(key.clone()).or_default();
    let mut put: Vec<_> = draft.touched.iter().map(|id| cached.key.touch(id, seq)).collect();
    let delete = cached.key.prune(seq);
    put.retain(|(name, _)| !delete.contains(name));
    if draft.is_whole {
        cached.key.pruned_to = seq;
    }
    put.push(cached.key.header_field());
    let state = &cached.key.state;
    let plain = if is_foreign {
        Plain::untouched()
    } else {
        let mut plain = draft.before.commands(key, state, anew, now);
        if let (true, Expected::Absent, Some(shown)) = (anew, plain.expected, state.shown(now)) {
            // A value of that type is the one that was written before the companion was lost.
            plain.expected = Expected::AbsentOr(shown);
        }
        plain
    };
    KeyCommit {
        key: key.clone(),
        expected_version: cached.version,
        version: seq,
        forget: false,
        put,
        delete,
        expire_at: state.deadline().at().map(|at| at.plus_ms(if fault!(GraceIgnored) { 0 } else { EXPIRY_GRACE_MS })),
        plain,
    }
}

/// Whether the commit happens only where neither a companion nor a plain value stands, so that afterwards the value is known
/// to be as the state shows it.
fn begins_value(part: &KeyCommit) -> bool {
    let Plain { expected, commands, .. } = &part.plain;
    part.expected_version.is_none() && *expected == Expected::Absent && !commands.is_empty()
}

fn forget(work: &SlotWork, key: &Key, seq: u64) -> KeyCommit {
    KeyCommit {
        key: key.clone(),
        expected_version: work.cache.get(key).and_then(|cached| cached.version),
        version: seq,
        forget: true,
        put: Vec::new(),
        delete: Vec::new(),
        expire_at: None,
        plain: Plain::untouched(),
    }
}

fn apply_to_marker(work: &mut SlotWork, change: &MarkerChange) {
    let opened = change.open.as_ref().map(|(incarnation, run_id, previous)| crate::store::Marker {
        incarnation: *incarnation,
        run_id: run_id.clone(),
        seq: change.seq,
        no: change.no,
        previous: *previous,
        hubs: work.marker.as_ref().map(|marker| marker.hubs.clone()).unwrap_or_default(),
    });
    if opened.is_some() {
        work.marker = opened;
    }
    if let Some(marker) = &mut work.marker {
        marker.seq = change.seq;
        marker.no = change.no;
        marker.hubs.extend(change.hubs.iter().copied());
    }
}
