//! A slot's work: what waits for it, what is known of it, and the one load or commit under way.

use super::{Link, Origin, OriginEffect, companion::StoredKey, novelty::Novelty, orders::Order, two_way::PlainReads};
use crate::{
    id::{Key, No, ReplicaId, TimestampMs},
    limits::EXPIRY_GRACE_MS,
    message::{OriginToHub, SlotDelta},
    slot::Slot,
    store::{Load, Loaded, Marker, PlainLoad},
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A key as the store had it when it was last read or written.
#[derive(Debug)]
pub(super) struct Cached {
    pub(super) version: Option<u64>,
    pub(super) key: StoredKey,
    /// The plain value is without the fields that had ended by then. Of a key that was just read nobody knows.
    pub(super) fields_at: TimestampMs,
    /// Nobody looked for it in the store: it is new there, if its first commit happens, and no commit has followed that.
    pub(super) is_begun: bool,
    /// The hub whose changes it consists of, where there is nothing else in it.
    pub(super) sole: Option<ReplicaId>,
}

impl Default for Cached {
    fn default() -> Self {
        Self { version: None, key: StoredKey::default(), fields_at: TimestampMs(i64::MIN), is_begun: true, sole: None }
    }
}

impl Cached {
    /// Whether the key expired so long ago that no hub can revive it any more.
    pub(super) fn has_ended(&self, now: TimestampMs) -> bool {
        self.end().is_some_and(|at| at <= now)
    }

    /// Whether a field ended that the plain value still has, or so long ago that its state is to go too.
    pub(super) fn has_ended_fields(&self, now: TimestampMs) -> bool {
        let is_due = self.next_field_end().is_some_and(|at| at <= now) && !fault!(EndedFieldsKept);
        is_due && self.version.is_some() && !self.has_ended(now)
    }

    /// When the first thing happens of which [`Cached::has_ended`] and [`Cached::has_ended_fields`] tell.
    pub(super) fn next_end(&self) -> Option<TimestampMs> {
        let fields = self.next_field_end().filter(|_| self.version.is_some());
        self.end().into_iter().chain(fields).min()
    }

    fn end(&self) -> Option<TimestampMs> {
        let grace_ms = if fault!(GraceIgnored) { 0 } else { EXPIRY_GRACE_MS };
        self.key.state.deadline().at().map(|at| at.plus_ms(grace_ms))
    }

    fn next_field_end(&self) -> Option<TimestampMs> {
        let state = self.key.state.view();
        let unwritten = state.field_end_after(self.fields_at);
        let lingering = state.field_end_after(TimestampMs(i64::MIN)).map(|at| at.plus_ms(EXPIRY_GRACE_MS));
        unwritten.into_iter().chain(lingering).min()
    }
}

/// What is under way.
#[derive(Debug, Default, PartialEq)]
pub(super) enum Busy {
    #[default]
    Idle,
    Loading,
    Committing,
}

/// What a slot's work needs and is not in memory.
#[derive(Debug, Default)]
struct Missing {
    keys: BTreeSet<Key>,
    changed_after: Option<u64>,
    plain: BTreeSet<Key>,
}

impl Missing {
    fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.changed_after.is_none() && self.plain.is_empty()
    }
}

/// One slot.
#[derive(Debug, Default)]
pub(super) struct SlotWork {
    pub(super) busy: Busy,
    /// Whether the marker below is as the store had it.
    pub(super) is_known: bool,
    pub(super) marker: Option<Marker>,
    /// Boxed: most slots know few keys, and a node of the map has room for eleven.
    pub(super) cache: BTreeMap<Key, Box<Cached>>,
    /// Keys that were begun, which need not stay in the cache unless more happens to them.
    pub(super) begun: Vec<Key>,
    /// Deltas that arrived and that nobody has looked at.
    pub(super) arrived: Vec<(Link, SlotDelta)>,
    /// Deltas to commit, with what their hubs ask for by them.
    pub(super) inbox: Vec<(Link, SlotDelta)>,
    /// What hubs shipped where digests differed, to commit too; not numbered.
    pub(super) mends: Vec<(Link, SlotDelta)>,
    /// Hubs with which the slot is to be compared, and those for which its companions are being read.
    pub(super) audits: BTreeSet<Link>,
    auditing: BTreeSet<Link>,
    /// Companions that are in the cache for a comparison alone.
    pub(super) read_to_compare: BTreeSet<Key>,
    /// Keys of what arrived that the hubs which told of them do not ask for.
    unwanted: BTreeSet<(Link, Key)>,
    /// Keys asked for.
    pub(super) wants: BTreeSet<(Link, Key)>,
    /// Hubs that must hear where their number stands.
    pub(super) resumes: BTreeSet<Link>,
    /// Hubs that must hear what changed since their cursor.
    attaches: BTreeSet<Link>,
    /// Hubs that are still telling which keys they hold.
    telling: BTreeSet<Link>,
    /// A sequence, and the names of the keys that changed after it, by the change feed; for the attaching hubs.
    feed: Option<(u64, Vec<Key>)>,
    /// After which sequence the load under way reads the feed.
    reading_feed_after: Option<u64>,
    /// The commit under way, of which most slots have none.
    pub(super) committing: Option<Box<super::commit::Committing>>,
    /// Keys whose plain value must be written whole.
    pub(super) anew: BTreeSet<Key>,
    /// Keys at which a foreign type stands.
    pub(super) foreign: BTreeSet<Key>,
    /// Expired keys to forget.
    pub(super) expired: BTreeSet<Key>,
    /// Keys of which fields have ended.
    pub(super) ended: BTreeSet<Key>,
    /// Commands that need one agreed order, in that in which they came.
    pub(super) orders: VecDeque<Order>,
    /// Keys to remove for good.
    pub(super) erased: BTreeSet<Key>,
    /// What is read of plain values.
    pub(super) plain: PlainReads,
    /// The store lost all of the slot that hubs know: a plain value without a companion may hold what hubs counted.
    pub(super) is_lost: bool,
    /// The marker is to be read again: another daemon may have moved it.
    pub(super) is_doubted: bool,
    /// The last commit was refused: nothing is assumed of keys that are not in the cache.
    pub(super) is_wary: bool,
    /// A companion does not decode: the slot is left as it is, unacknowledged.
    is_damaged: bool,
}

impl SlotWork {
    pub(super) fn attach(&mut self, link: Link) {
        self.telling.remove(&link);
        self.attaches.insert(link);
    }

    /// A hub asks for a key, of which what plain clients wrote is compared before it is told.
    pub(super) fn want(&mut self, link: Link, key: &Key, is_plainless: bool) {
        if !is_plainless {
            self.plain.unread.insert(key.clone());
        }
        self.unwanted.remove(&(link, key.clone()));
        self.wants.insert((link, key.clone()));
    }

    /// A hub will tell of more keys before it is to hear of the slot.
    pub(super) fn await_more(&mut self, link: Link) {
        self.attaches.remove(&link);
        self.telling.insert(link);
    }

    /// Whether a hub still waits to hear what changed since its cursor: until then nothing later may reach it.
    pub(super) fn is_attaching(&self, link: Link) -> bool {
        self.attaches.contains(&link) || self.telling.contains(&link)
    }

    pub(super) fn queued(&self) -> usize {
        self.arrived.len().saturating_add(self.inbox.len()).saturating_add(self.mends.len())
    }

    /// Forgets what waits for a hub that is gone or begins again: it sends anew.
    pub(super) fn forget_link(&mut self, link: Link) {
        self.resumes.remove(&link);
        self.attaches.remove(&link);
        self.telling.remove(&link);
        self.wants.retain(|(other, _)| *other != link);
        self.arrived.retain(|(other, _)| *other != link);
        self.inbox.retain(|(other, _)| *other != link);
        self.mends.retain(|(other, _)| *other != link);
        self.orders.retain(|order| order.link() != link);
        self.audits.remove(&link);
        self.auditing.remove(&link);
        if let Some(committing) = &mut self.committing {
            committing.unwant(link, None);
        }
    }

    /// Leaves alone what was to be forgotten and turns out to be alive: it was read, or lengthened, since.
    pub(super) fn spare_living(&mut self, now: TimestampMs) {
        let cache = &self.cache;
        let is_there = |key: &Key| cache.get(key).filter(|cached| cached.version.is_some());
        self.expired.retain(|key| is_there(key).is_none_or(|cached| cached.has_ended(now)));
    }

    /// What was read of the change feed is behind a commit.
    pub(super) fn forget_feed(&mut self) {
        self.feed = None;
    }

    /// Has a key's plain value written whole where the store lost its companion: what the value was brought to is not known.
    pub(super) fn doubt_value(&mut self, key: &Key) {
        if self.cache.get(key).is_none_or(|cached| cached.version.is_none()) || self.foreign.remove(key) {
            self.anew.insert(key.clone());
        }
    }

    /// Forgets what was read of the store.
    pub(super) fn doubt(&mut self) {
        self.is_known = false;
        self.feed = None;
    }

    /// The store answered. Says whether it had been asked.
    pub(super) fn end_request(&mut self) -> bool {
        std::mem::take(&mut self.busy) != Busy::Idle
    }

    pub(super) fn has_work(&self) -> bool {
        !self.arrived.is_empty() || self.has_other_work()
    }

    /// Whether there is something to do beside what has just arrived.
    fn has_other_work(&self) -> bool {
        !(self.inbox.is_empty()
            && self.plain.is_idle()
            && self.mends.is_empty()
            && self.orders.is_empty()
            && self.audits.is_empty()
            && self.wants.is_empty()
            && self.resumes.is_empty()
            && self.attaches.is_empty()
            && self.expired.is_empty()
            && self.ended.is_empty()
            && self.erased.is_empty()
            && !self.is_doubted)
    }

    /// Takes back what a refused commit was to begin, but for what a hub that began again sends anew.
    pub(super) fn put_back(&mut self, mut taken: Vec<(Link, SlotDelta)>, unwanted: &[(Link, Option<Key>)]) {
        taken.retain(|(link, _)| !unwanted.contains(&(*link, None)));
        self.arrived.splice(0..0, taken);
        let unwanted = unwanted.iter().filter_map(|(link, key)| Some((*link, key.clone()?)));
        // Those that were asked for again since are wanted.
        self.unwanted.extend(unwanted.filter(|pair| !self.wants.contains(pair)));
    }

    /// Whether a key of which nothing is known may be taken for one that is new.
    fn assumes_new(&self, novelty: &Novelty) -> bool {
        !self.is_doubted && !self.is_wary && novelty.is_likely()
    }

    /// Forgets the states of keys that were begun and that nothing waits for: most keys are not written to again soon, and
    /// those that are stay in memory from then on. That they are there is remembered.
    pub(super) fn let_go(&mut self) {
        if self.begun.is_empty() || self.busy != Busy::Idle || self.has_work() {
            return;
        }
        for key in std::mem::take(&mut self.begun) {
            let is_idle = |cached: &Cached| cached.is_begun && cached.version.is_some() && cached.next_end().is_none();
            if self.cache.get(&key).is_some_and(|cached| is_idle(cached)) && self.plain.seen.contains_key(&key) {
                self.cache.remove(&key);
            }
        }
    }

    /// Whether anything is known of the key or its plain value.
    pub(super) fn is_known_key(&self, key: &Key) -> bool {
        let is_there = self.cache.contains_key(key) || self.plain.seen.contains_key(key);
        is_there || self.anew.contains(key) || self.foreign.contains(key)
    }

    /// Whether a hub changed the key and waits for the commit.
    pub(super) fn has_delta(&self, key: &Key) -> bool {
        is_listed(&self.inbox, key) || self.is_mended(key)
    }

    /// Whether a hub shipped the key in a comparison and waits for the commit.
    pub(super) fn is_mended(&self, key: &Key) -> bool {
        is_listed(&self.mends, key)
    }

    /// Whether the commit under way changes the key: what is known of it here is ahead of the store, and if the store refuses
    /// it, other operations take the origin's numbers in it.
    pub(super) fn is_unsettled(&self, key: &Key) -> bool {
        self.committing.as_ref().is_some_and(|committing| committing.changes(key))
    }

    /// Whether something that the hub shipped in a comparison is not in the store yet.
    pub(super) fn has_mends_of(&self, link: Link) -> bool {
        let is_under_way = self.committing.as_ref().is_some_and(|committing| committing.mends_of(link));
        is_under_way || self.mends.iter().any(|(other, _)| *other == link)
    }

    pub(super) fn number_of(&self, hub: ReplicaId) -> No {
        self.marker.as_ref().and_then(|marker| marker.hubs.get(&hub)).copied().unwrap_or_default()
    }

    pub(super) fn seq(&self) -> u64 {
        self.marker.as_ref().map_or(0, |marker| marker.seq)
    }
}

impl Origin {
    /// Goes on with a slot: reads what is missing, answers what can be answered, commits what waits.
    pub(super) fn step(&mut self, slot: Slot, now: TimestampMs) {
        let Some(work) = self.slots.get_mut(&slot) else { return };
        if work.busy != Busy::Idle || !work.has_work() {
            work.let_go();
            return;
        }
        if work.is_damaged {
            self.put_off(slot, now);
            return;
        }
        let may_begin = work.assumes_new(&self.novelty) && !work.has_other_work() && work.telling.is_empty();
        if !may_begin {
            self.take_in(slot);
        }
        let Some(work) = self.slots.get_mut(&slot) else { return };
        // A commit finds out by itself that nothing was ever committed here.
        let is_new =
            may_begin && !work.is_known && work.marker.is_none() && self.slot_novelty.is_likely() && !self.evicts;
        if is_new && self.begin(slot, now) {
            return;
        }
        let Some(work) = self.slots.get_mut(&slot) else { return };
        if !work.is_known || work.is_doubted {
            // With the marker comes what is missing anyway.
            let missing = self.missing(slot);
            self.load(slot, missing);
            return;
        }
        let is_foreign_run = work.marker.as_ref().is_some_and(|marker| marker.run_id != self.config.run_id);
        // Hubs know a history of the slot, the store has none any more.
        let links = work.attaches.iter().filter_map(|link| self.links.get(link)?.held.get(&slot));
        let is_lost = work.marker.is_none() && links.map(|held| held.cursor).any(|cursor| cursor.incarnation.is_some());
        if (is_foreign_run || is_lost) && !fault!(IncarnationKept) {
            self.open_incarnation(slot);
            return;
        }
        if may_begin && self.begin(slot, now) {
            return;
        }
        self.take_in(slot);
        self.answer_resumes(slot);
        let missing = self.missing(slot);
        if !missing.is_empty() {
            self.load(slot, missing);
            return;
        }
        if let Some(work) = self.slots.get_mut(&slot) {
            work.plain.pass(&work.cache, now);
        }
        self.answer_attaches(slot);
        self.answer_wants(slot);
        if self.read_for_comparison(slot, now) {
            return;
        }
        self.commit(slot, now);
        let hub_of = |link: Link| self.links.get(&link).and_then(|state| state.hub);
        let waits = |work: &SlotWork| {
            // What was read for another command no longer counts; what was shipped, and what was read of plain values, was known
            // already, so that no commit leads back here.
            let is_due = |order: &Order| order.is_due(work, hub_of(order.link()));
            work.orders.iter().any(is_due) || !work.audits.is_empty() || !work.wants.is_empty()
        };
        if self.slots.get(&slot).is_some_and(|work| work.busy == Busy::Idle && waits(work)) {
            self.ready.insert(slot);
        }
        if let Some(work) = self.slots.get_mut(&slot) {
            work.let_go();
        }
    }

    /// Has what arrived go the way of all deltas: whoever tells of a key that it does not hold asks for it too.
    pub(super) fn take_in(&mut self, slot: Slot) {
        let Some(work) = self.slots.get_mut(&slot) else { return };
        let unwanted = std::mem::take(&mut work.unwanted);
        for (link, part) in std::mem::take(&mut work.arrived) {
            let held = self.links.get(&link).and_then(|state| state.held.get(&slot)).map(|held| &held.keys);
            for (key, _) in part.keys.iter().filter(|(key, _)| !held.is_some_and(|held| held.contains(key))) {
                if !unwanted.contains(&(link, key.clone())) && !fault!(UnheldNotSent) {
                    work.want(link, key, self.is_plainless);
                }
            }
            work.inbox.push((link, part));
        }
    }

    /// Leaves what waits for a damaged slot undone and unacknowledged, so that the hubs' other slots go on: a hub sends it
    /// again to the daemon's next machine.
    fn put_off(&mut self, slot: Slot, now: TimestampMs) {
        self.take_in(slot);
        let Some(work) = self.slots.get_mut(&slot) else { return };
        let mut links = std::mem::take(&mut work.resumes);
        links.extend(std::mem::take(&mut work.inbox).into_iter().map(|(link, _)| link));
        work.wants.clear();
        work.attaches.clear();
        work.expired.clear();
        work.ended.clear();
        work.mends.clear();
        work.plain.forget();
        let orders = std::mem::take(&mut work.orders);
        for link in std::mem::take(&mut work.audits) {
            self.snapshot(link, slot, now);
        }
        for link in links {
            if let Some(state) = self.links.get_mut(&link) {
                state.resuming.remove(&slot);
            }
            self.settle_link(link, slot, now);
        }
        self.refuse_orders(orders, now);
    }

    /// The companions, plain values and the feed that the waiting work needs. Of a slot whose marker is not known nobody can
    /// tell from where on the feed is needed.
    fn missing(&mut self, slot: Slot) -> Missing {
        let Some(work) = self.slots.get_mut(&slot) else { return Missing::default() };
        // Of keys that are new, as most were of late, a commit finds out by itself that neither companion nor value is there.
        let assumes_new = work.assumes_new(&self.novelty);
        let told = work.inbox.iter().flat_map(|(_, part)| &part.keys).map(|(key, _)| key);
        let begun: BTreeSet<&Key> = told.clone().filter(|key| assumes_new && !work.is_known_key(key)).collect();
        let mended = work.mends.iter().flat_map(|(_, part)| &part.keys).map(|(key, _)| key);
        let wanted = work.wants.iter().map(|(_, key)| key);
        let mut keys: BTreeSet<Key> = told.chain(wanted).filter(|key| !begun.contains(key)).cloned().collect();
        keys.extend(mended.chain(&work.ended).chain(&work.erased).cloned());
        let mut plain = work.plain.take_due(&begun);
        let hub_of = |link: Link| self.links.get(&link).and_then(|state| state.hub);
        for order in work.orders.iter().filter(|order| work.is_known && order.is_due(work, hub_of(order.link()))) {
            keys.extend(order.keys().cloned());
            // One whose hub is to hear of the key first is read for that.
            if !self.is_plainless && !order.is_awaited(work) {
                plain.extend(order.unread(work));
            }
        }
        if !self.is_plainless {
            // Where the companion is lost the value is written anew: what plain clients began there since is read before.
            let is_lost = |key: &&Key| work.cache.get(*key).is_some_and(|cached| cached.version.is_none());
            let mended = work.mends.iter().flat_map(|(_, part)| &part.keys).map(|(key, _)| key).filter(is_lost);
            plain.extend(mended.filter(|key| !work.plain.fresh.contains(*key)).cloned());
        }
        keys.extend(plain.iter().chain(work.plain.reads.keys()).cloned());
        let mut changed_after = None;
        if work.is_known && !work.attaches.is_empty() {
            let links = work.attaches.iter().filter_map(|link| self.links.get(link));
            let held: Vec<_> = links.filter_map(|state| state.held.get(&slot)).collect();
            let known = held.iter().map(|held| super::push::known_seq(work.marker.as_ref(), held.cursor));
            let from = known.min().unwrap_or(0);
            match work.feed.as_ref().filter(|(after, _)| *after <= from) {
                // A hub may have attached while the feed was read for others.
                None => changed_after = Some(from),
                Some((_, changed)) => {
                    keys.extend(changed.iter().filter(|key| held.iter().any(|held| held.keys.contains(*key))).cloned());
                    // A hub that starts from nothing gets all that it holds.
                    for held in held {
                        if super::push::known_seq(work.marker.as_ref(), held.cursor) == 0 {
                            keys.extend(held.keys.iter().cloned());
                        }
                    }
                }
            }
        }
        keys.retain(|key| !work.cache.contains_key(key));
        Missing { keys, changed_after, plain }
    }

    /// Reads the companions of all that the hubs to compare with hold, also of what is known: the store may have lost it.
    /// What such hubs shipped is committed before. Says whether a load is under way.
    fn read_for_comparison(&mut self, slot: Slot, now: TimestampMs) -> bool {
        let Some(work) = self.slots.get_mut(&slot).filter(|work| work.mends.is_empty()) else { return false };
        if work.audits.is_empty() {
            return false;
        }
        let links = std::mem::take(&mut work.audits);
        let held = links.iter().filter_map(|link| self.links.get(link)?.held.get(&slot));
        let keys: BTreeSet<Key> = held.flat_map(|held| &held.keys).cloned().collect();
        if keys.is_empty() {
            links.into_iter().for_each(|link| self.snapshot(link, slot, now));
            return false;
        }
        work.auditing = links;
        work.read_to_compare.extend(keys.iter().filter(|key| !work.cache.contains_key(*key)).cloned());
        self.load(slot, Missing { keys, ..Missing::default() });
        true
    }

    fn load(&mut self, slot: Slot, missing: Missing) {
        let Missing { keys, changed_after, plain } = missing;
        let Some(work) = self.slots.get_mut(&slot) else { return };
        self.requests = self.requests.saturating_add(1);
        work.busy = Busy::Loading;
        work.is_doubted = false;
        work.reading_feed_after = changed_after;
        work.plain.reading.clone_from(&plain);
        let plain = plain.into_iter().map(|key| {
            let expected = work.cache.get(&key).and_then(|cached| cached.key.state.stored_kind());
            PlainLoad { key, expected }
        });
        let plain = plain.collect();
        let load = Load { slot, keys: keys.into_iter().collect(), changed_after, plain };
        self.effects.push(OriginEffect::Load(load));
    }

    pub(super) fn loaded(&mut self, loaded: Loaded, now: TimestampMs) {
        let slot = loaded.slot;
        let Some(work) = self.slots.get_mut(&slot) else { return };
        if work.end_request() {
            self.requests = self.requests.saturating_sub(1);
        }
        self.evicts |= loaded.evictions > 0;
        let is_first = !std::mem::replace(&mut work.is_known, true) && work.marker.is_none() && !work.is_wary;
        if is_first && !(work.arrived.is_empty() && work.inbox.is_empty()) {
            // Those that are read for other reasons say little of what hubs will tell of next, and of a refusal it was noted.
            self.slot_novelty.note(loaded.marker.is_none());
        }
        self.ready.insert(slot);
        // A slot of a cluster may have moved to another server, and with it comes all but the run id.
        let place = |marker: &Marker| (marker.incarnation, marker.seq, marker.run_id.clone());
        if work.marker.as_ref().map(place) != loaded.marker.as_ref().map(place) {
            // Another daemon's commits, or another history: nothing read before holds, and who holds keys must hear.
            if !fault!(StaleCacheKept) {
                work.cache.clear();
            }
            work.feed = None;
            work.plain.read_again();
            let incarnation = |marker: &Option<Marker>| marker.as_ref().map(|marker| marker.incarnation);
            if incarnation(&work.marker) != incarnation(&loaded.marker) {
                self.stability.forget(slot);
            }
            work.marker = loaded.marker;
            for (link, state) in &self.links {
                let holds = state.held.get(&slot).is_some_and(|held| !held.keys.is_empty());
                if holds && !work.telling.contains(link) {
                    work.attaches.insert(*link);
                }
            }
        }
        let told: BTreeSet<&Key> = work.inbox.iter().flat_map(|(_, part)| &part.keys).map(|(key, _)| key).collect();
        for (key, companion) in loaded.keys {
            let version = companion.as_ref().map(|companion| companion.version);
            if told.contains(&key) {
                // Those that are read for other reasons say little of what hubs will tell of next.
                self.novelty.note(version.is_none());
            }
            let known = work.cache.get(&key).filter(|cached| cached.version.is_some());
            if version.is_none() && known.is_some_and(|cached| cached.has_ended(now)) {
                // It vanished by itself before it was forgotten here: its place in the change feed is left.
                work.expired.insert(key.clone());
            }
            match companion.as_ref().map(StoredKey::decode).transpose() {
                Ok(stored) => {
                    let key_state = stored.unwrap_or_default();
                    let cached = Cached { version, key: key_state, is_begun: false, ..Cached::default() };
                    cached.next_end().into_iter().for_each(|at| self.ends.note(slot, at));
                    work.cache.insert(key, Box::new(cached));
                }
                Err(_) => {
                    work.is_damaged = true;
                    self.effects.push(OriginEffect::Foreign(key));
                }
            }
        }
        if let Some(after) = work.reading_feed_after.take() {
            work.feed = Some((after, loaded.changed.into_iter().map(|(key, _)| key).collect()));
        }
        let auditing = std::mem::take(&mut work.auditing);
        work.plain.evictions = loaded.evictions;
        self.take_reads(slot, loaded.plain, now);
        for link in auditing {
            self.snapshot(link, slot, now);
        }
    }

    fn answer_resumes(&mut self, slot: Slot) {
        let Some(work) = self.slots.get_mut(&slot) else { return };
        let links = std::mem::take(&mut work.resumes);
        let mut told = Vec::new();
        for link in links {
            let Some(state) = self.links.get_mut(&link) else { continue };
            let Some(hub) = state.hub else { continue };
            let no = work.number_of(hub);
            state.resuming.remove(&slot);
            self.effects.push(OriginEffect::ToHub(link, OriginToHub::Resume(vec![(slot, no)])));
            told.push((hub, no));
        }
        for (hub, no) in told {
            self.note_committed(slot, hub, no);
        }
    }

    fn answer_attaches(&mut self, slot: Slot) {
        let Some(work) = self.slots.get_mut(&slot) else { return };
        let links = std::mem::take(&mut work.attaches);
        let changed = work.feed.take().map(|(_, changed)| changed).filter(|_| !fault!(FeedIgnored)).unwrap_or_default();
        let marker = work.marker.clone();
        let mut told = Vec::new();
        for link in links {
            let Some(state) = self.links.get_mut(&link) else { continue };
            if let Some(held) = state.held.get_mut(&slot) {
                let cursor = held.cursor.incarnation;
                if let (Some(marker), Some(hub)) = (&marker, state.hub)
                    && cursor.is_some_and(|cursor| cursor != marker.incarnation)
                {
                    // What the hub takes for stable may be gone with the history that it knows.
                    let no = marker.hubs.get(&hub).copied().unwrap_or_default();
                    self.effects.push(OriginEffect::ToHub(link, OriginToHub::Resume(vec![(slot, no)])));
                    told.push((hub, no));
                    if !fault!(NewHistoryNotCompared) {
                        // So may be what plain clients wrote, and the hub saw.
                        state.comparison.ask(slot);
                    }
                }
                held.owed.extend(changed.iter().filter(|key| held.keys.contains(*key)).cloned());
                if super::push::known_seq(marker.as_ref(), held.cursor) == 0 {
                    held.owed.extend(held.keys.iter().cloned());
                }
            }
            self.push_down(link, slot, true);
        }
        // The hub sends nothing again of what it is told is there, so this daemon answers for it.
        for (hub, no) in told {
            self.note_committed(slot, hub, no);
        }
    }
}

fn is_listed(parts: &[(Link, SlotDelta)], key: &Key) -> bool {
    parts.iter().flat_map(|(_, part)| &part.keys).any(|(other, _)| other == key)
}
