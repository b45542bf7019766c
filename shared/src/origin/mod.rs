//! The origin: reconciles every hub into one store by compare-and-set.
//!
//! It takes hubs' deltas, joins them into the companions' state, and commits state, plain values, change feed and slot
//! marker of one slot together. Of each slot one load or commit is under way at a time; whatever comes meanwhile waits
//! and shares the next commit, so the busier a key, the fewer commands an operation costs.
//!
//! **Marker.** Each slot's marker holds per hub the number up to which all of its operations there are committed. It moves
//! only where a delta joins up with it, and rolls back with the data under a failover. A changed run id opens a fresh
//! incarnation, on which every commit fences; hubs resend above the marker.
//!
//! **Downlink.** To each hub goes what others changed in the keys that it holds, from the cursor at which it stands. What
//! other daemons committed is found by reading markers again: of a slot when somebody says that it changed, and of all that
//! hubs hold keys in by turns, since such hints may be lost.
//!
//! **Comparison.** What the store lost without a trace in its markers is found by digests (`compare.rs`).
//!
//! The machine holds nothing that the store and the hubs do not have: when the store's connection breaks, the daemon
//! makes a new one.

mod adopt;
mod api;
mod awaits;
mod begin;
mod changes;
mod commit;
mod companion;
mod compare;
mod credit;
mod draft;
mod elapsed;
mod ends;
mod grants;
mod novelty;
mod orders;
mod plain;
mod push;
mod slot;
mod stable;
mod topics;
mod two_way;
mod watch;
mod window;

pub use api::{JobsDone, Link, LinkStatus, OriginConfig, OriginEffect, OriginInput, StableBy};
pub use companion::key_state;

use crate::{
    command::CommandError,
    hlc::Clock,
    id::{Key, No, ReplicaId, TimestampMs},
    limits::{NUMBER_MAX, RUNS_MAX},
    message::{Cursor, HubToOrigin, OriginToHub, Refusal, RefusalCause, RunReply, SlotDelta},
    namespace::Namespace,
    random::Random,
    slot::Slot,
    state::ElementId,
    wire::Capabilities,
};
use awaits::Await;
use bytes::Bytes;
use compare::Comparison;
use ends::Agenda;
use grants::Grants;
use novelty::Novelty;
use orders::Call;
use slot::SlotWork;
use stable::{Counted, Stability};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
};
use topics::Topics;
use watch::Watch;
use window::Window;

/// How often markers are read again, in milliseconds, and of how many slots: all of a small keyspace each second, and at
/// most so many reads a second of a large one.
const REVIEW_MS: i64 = 1_000;
const REVIEW_SLOTS: usize = 16;

/// Loads and commits under way at once, of as many slots. A store that takes 64 of them in a call has several calls to go on
/// with; what more is known to be due waits as hubs sent it, and not in the larger form of a commit.
pub const REQUESTS_MAX: usize = 512;

/// The origin's state machine: one daemon's view of the store and its hubs.
#[derive(Debug)]
pub struct Origin {
    config: OriginConfig,
    clock: Clock,
    links: BTreeMap<Link, LinkState>,
    /// Boxed: a node of the map has room for eleven, which move to make room for others.
    slots: BTreeMap<Slot, Box<SlotWork>>,
    stability: Stability,
    /// Commands that hubs asked for and that need one agreed order, by the hub's number of the call.
    calls: BTreeMap<(Link, u64), Call>,
    /// Hubs that wait to be told as much as their clients have seen.
    awaits: Vec<Await>,
    /// The slot whose marker was last read again for no other reason than to see whether it moved, and when.
    last_review: Option<Slot>,
    reviewed_at: Option<TimestampMs>,
    watch: Watch,
    /// Whether the store was found to have no plain values.
    is_plainless: bool,
    /// How many seeds were drawn for comparisons.
    seeds: u64,
    /// What commands that draw at random follow.
    draws: Random,
    /// When something in a slot's cache may end.
    ends: Agenda,
    /// Whether keys were new of late, and slots.
    novelty: Novelty,
    slot_novelty: Novelty,
    /// Whether the store was seen to evict. How much it had is known of slots that were read, and what is known of a value begins
    /// with that.
    evicts: bool,
    /// Until when a slot's foreign keys count as such.
    foreign: Agenda,
    grants: Grants,
    topics: Topics,
    /// Slots with something to do, and the last that had its turn: they have it in the order of their numbers, round and
    /// round, so that none waits for ever.
    ready: BTreeSet<Slot>,
    last_turn: Option<Slot>,
    /// How many loads and commits are under way.
    requests: usize,
    /// Keys that hubs began and hold from now on, of which they are told together.
    begun: BTreeMap<Link, Vec<(Slot, Cursor, Vec<Key>)>>,
    effects: Vec<OriginEffect>,
    /// Where among these a hub is told what is committed; what is found committed together it is told together.
    acknowledged: BTreeMap<Link, usize>,
    wake_at: Option<TimestampMs>,
}

/// A connected hub.
#[derive(Debug, Default)]
struct LinkState {
    hub: Option<ReplicaId>,
    name: String,
    clock_offset_ms: i64,
    batches: u64,
    held: BTreeMap<Slot, HeldSlot>,
    /// Slots whose marker the hub must hear of before it gets credit.
    resuming: BTreeSet<Slot>,
    /// Slots that came and are not committed.
    outstanding: BTreeSet<Slot>,
    /// While how many are not the next batch may be asked for: as many as the last frame has, after one of little half as many as
    /// before it.
    left_over_max: usize,
    /// When the window of the present batch ends.
    window_end: Option<TimestampMs>,
    window: Window,
    /// When the next batch may be asked for.
    credit_at: Option<TimestampMs>,
    /// Whether the next batch is asked for, or will be then.
    is_credited: bool,
    comparison: Comparison,
    /// How many calls of the hub are being run.
    runs: usize,
}

/// The keys of a slot that a hub holds.
#[derive(Debug, Default)]
struct HeldSlot {
    /// Where the hub stands, as it said or was told.
    cursor: Cursor,
    keys: BTreeSet<Key>,
    /// Keys that others changed since the cursor.
    owed: BTreeSet<Key>,
    /// Elements of these that the hub is to hear of though nobody changed them.
    relisted: BTreeMap<Key, BTreeSet<ElementId>>,
}

impl LinkState {
    /// What the hub holds of a slot, of which it is told more as of `at`. Where it has nothing of the slot yet it takes its cursor
    /// from the first whole key, and so must this side.
    fn held_from(&mut self, slot: Slot, at: Cursor) -> &mut HeldSlot {
        let held = self.held.entry(slot).or_default();
        if held.keys.is_empty() || held.cursor.incarnation.is_none() {
            held.cursor = at;
        }
        held
    }
}

impl Origin {
    /// A machine for one connection to the store.
    pub fn new(config: OriginConfig) -> Self {
        Self {
            draws: Random::new(config.seed.0 ^ config.entropy),
            stability: Stability::new(config.stable_by, config.loss_window_ms),
            watch: Watch::new(config.seed),
            config,
            clock: Clock::default(),
            links: BTreeMap::new(),
            slots: BTreeMap::new(),
            calls: BTreeMap::new(),
            awaits: Vec::new(),
            last_review: None,
            reviewed_at: None,
            is_plainless: false,
            seeds: 0,
            ends: Agenda::default(),
            novelty: Novelty::default(),
            slot_novelty: Novelty::default(),
            evicts: false,
            foreign: Agenda::default(),
            grants: Grants::new(),
            topics: Topics::default(),
            ready: BTreeSet::new(),
            last_turn: None,
            requests: 0,
            effects: Vec::new(),
            begun: BTreeMap::new(),
            acknowledged: BTreeMap::new(),
            wake_at: None,
        }
    }

    /// Has it expect that keys which hubs speak of are new, and their slots too, before any was looked up. What is not new is
    /// found out all the same.
    #[must_use]
    pub fn expecting_new_keys(self) -> Self {
        Self { novelty: Novelty::expected(), slot_novelty: Novelty::expected(), ..self }
    }

    /// The machine's one door, through which every cause of change comes. Effects are to be performed in order.
    pub fn handle(&mut self, input: OriginInput, now: TimestampMs) -> Vec<OriginEffect> {
        self.handle_all([input], now)
    }

    /// Takes inputs that came together, in their order, and does once what each of them gives cause for.
    pub fn handle_all(&mut self, inputs: impl IntoIterator<Item = OriginInput>, now: TimestampMs) -> Vec<OriginEffect> {
        self.stability.pass(now);
        self.grants.pass(now);
        inputs.into_iter().for_each(|input| self.take(input, now));
        self.acknowledged.clear();
        self.conclude(now)
    }

    /// One cause of change, in one match.
    fn take(&mut self, input: OriginInput, now: TimestampMs) {
        match input {
            OriginInput::Opened(link) => {
                self.links.insert(link, LinkState::default());
                self.effects
                    .push(OriginEffect::ToHub(link, OriginToHub::Welcome { now, capabilities: Capabilities::CURRENT }));
            }
            OriginInput::Hub(link, message) => self.hub_message(link, message, now),
            OriginInput::Closed(link) => self.forget_link(link),
            OriginInput::Loaded(loaded) => self.loaded(loaded, now),
            OriginInput::Committed(slot, outcome) => self.committed(slot, outcome, now),
            OriginInput::Ran(link, call, replies) => {
                if let Some(replies) = self.listed(link, call, replies, now) {
                    self.ran(link, call, replies);
                }
            }
            OriginInput::JobsDone(link, done) => self.jobs_done(link, done),
            OriginInput::Swapped(key, outcome) => self.ledger_swapped(&key, outcome, now),
            OriginInput::Survives(slots) => self.stability.answered(&slots),
            OriginInput::Erase(keys) => self.erase(keys),
            OriginInput::Changed(slot, seq) => self.changed(slot, seq),
            OriginInput::Touched(keys) => self.touched(keys, now),
            OriginInput::Discarding(key) => self.discarding(key),
            OriginInput::Untracked => self.watch.lose_track(),
            OriginInput::Listening(topic, heard) => self.topic_heard(&topic, &heard),
            OriginInput::Published(published) => self.published(&published),
            OriginInput::Overrun(link) => self.overrun(link),
            OriginInput::Tick => {
                self.wake_at = None;
                self.end_orders(now);
                self.look_for_awaited(now);
                self.review(now);
                self.sweep(now);
                self.grants.sweep();
                self.write_vouch(now);
                self.audit(now);
                if !self.is_plainless {
                    self.watch.audit(&self.links, now);
                }
            }
        }
    }

    /// Does what is to be done by now.
    fn conclude(&mut self, now: TimestampMs) -> Vec<OriginEffect> {
        self.look(now);
        self.announce_stable();
        // Without a turn for all of them the store will answer, and that leads back here.
        while self.requests < REQUESTS_MAX
            && let Some(slot) = self.next_turn()
        {
            self.step(slot, now);
        }
        self.tell_begun();
        self.tell_compared();
        self.answer_awaits();
        self.begin_listings();
        self.give_credit(now);
        self.effects.extend(self.stability.question().map(OriginEffect::Confirm));
        self.ask_to_wake(now);
        std::mem::take(&mut self.effects)
    }

    /// The next slot with something to do; where there is none, comparisons may begin that give some.
    fn next_turn(&mut self) -> Option<Slot> {
        if self.ready.is_empty() && !self.begin_comparisons() {
            return None;
        }
        let later = self.last_turn.and_then(|last| self.ready.range((Bound::Excluded(last), Bound::Unbounded)).next());
        let slot = later.or(self.ready.first()).copied()?;
        self.ready.remove(&slot);
        self.last_turn = Some(slot);
        Some(slot)
    }

    /// What an operator sees of the hubs.
    pub fn links(&self) -> impl Iterator<Item = (Link, LinkStatus)> + '_ {
        self.links.iter().map(|(link, state)| {
            let status = LinkStatus {
                hub: state.hub,
                name: state.name.clone(),
                held: state.held.values().map(|held| held.keys.len()).sum(),
                batches: state.batches,
                clock_offset_ms: state.clock_offset_ms,
            };
            (*link, status)
        })
    }

    /// Operations received and not yet committed, as slot deltas.
    pub fn queued(&self) -> usize {
        self.slots.values().map(|work| work.queued()).sum()
    }

    fn hub_message(&mut self, link: Link, message: HubToOrigin, now: TimestampMs) {
        let Some(state) = self.links.get_mut(&link) else { return };
        match message {
            HubToOrigin::Hello { hub, name, now: hub_now, unstable, capabilities: _ } => {
                // Also from a hub that woke up: whatever this daemon believed of it is void.
                let offset = hub_now.since_ms(now);
                if state.hub.is_some_and(|before| before != hub) {
                    // It began anew, and listens once it is greeted: what is on its way is for who it was.
                    let welcome = OriginToHub::Welcome { now, capabilities: Capabilities::CURRENT };
                    self.effects.push(OriginEffect::ToHub(link, welcome));
                }
                *state = LinkState {
                    hub: Some(hub),
                    name,
                    clock_offset_ms: offset,
                    batches: state.batches,
                    resuming: unstable.iter().copied().collect(),
                    credit_at: Some(now),
                    is_credited: true,
                    comparison: Comparison::starting(now.plus_ms(self.config.audit_ms)),
                    ..LinkState::default()
                };
                for work in self.slots.values_mut() {
                    work.forget_link(link);
                }
                self.forget_orders(link);
                self.forget_awaits(link);
                self.forget_topics(link);
                for slot in unstable {
                    self.slots.entry(slot).or_default().resumes.insert(link);
                    self.ready.insert(slot);
                }
            }
            HubToOrigin::Held { slots, more } if state.hub.is_some() => {
                let unfinished = slots.last().filter(|_| more).map(|(slot, ..)| *slot);
                for (slot, cursor, keys) in slots {
                    let held = state.held.entry(slot).or_default();
                    held.cursor = cursor;
                    held.keys.extend(keys);
                    let work = self.slots.entry(slot).or_default();
                    if unfinished == Some(slot) {
                        work.await_more(link);
                    } else {
                        work.attach(link);
                        self.ready.insert(slot);
                    }
                }
            }
            HubToOrigin::Delta(slots) if state.hub.is_some() => self.delta(link, slots, now),
            HubToOrigin::Subscribe(keys) if state.hub.is_some() => {
                for key in keys {
                    let slot = key.slot();
                    self.slots.entry(slot).or_default().want(link, &key, self.is_plainless);
                    self.ready.insert(slot);
                }
            }
            HubToOrigin::Unsubscribe(keys) => {
                for key in keys {
                    if let Some(held) = self.links.get_mut(&link).and_then(|state| state.held.get_mut(&key.slot())) {
                        held.keys.remove(&key);
                        held.owed.remove(&key);
                    }
                    self.take_in(key.slot());
                    let work = self.slots.entry(key.slot()).or_default();
                    if let Some(committing) = &mut work.committing {
                        committing.unwant(link, Some(&key));
                    }
                    work.wants.retain(|(other, wanted)| *other != link || *wanted != key);
                    if work.cache.get(&key).is_none_or(|cached| cached.version.is_none()) {
                        // Its companion may have vanished by itself while no daemon knew it: then its place in the change
                        // feed is left. A companion that is still there refuses this.
                        self.ready.insert(key.slot());
                        work.expired.insert(key);
                    }
                }
            }
            HubToOrigin::Gap(slot, cursor) if state.hub.is_some() => {
                if let Some(held) = state.held.get_mut(&slot) {
                    held.cursor = cursor;
                    self.slots.entry(slot).or_default().attach(link);
                    self.ready.insert(slot);
                }
            }
            HubToOrigin::Lost(slots) if state.hub.is_some() => self.compare_lost(link, slots),
            HubToOrigin::Digests { round, digests, contexts } if state.hub.is_some() => {
                self.digests(link, round, &digests, contexts);
            }
            HubToOrigin::Exchanged { round, last, cursors, keys } if state.hub.is_some() => {
                self.exchanged(link, (round, last), &cursors, keys, now);
            }
            HubToOrigin::Run { call, commands } if state.hub.is_some() => self.run(link, call, commands),
            HubToOrigin::Order { call, after, within, commands } if state.hub.is_some() => {
                self.order(link, call, after, within, commands, now);
            }
            HubToOrigin::Await { call, marks } if state.hub.is_some() => self.await_marks(link, call, marks, now),
            HubToOrigin::Jobs { slot, jobs } if state.hub.is_some() => {
                if let Some(hub) = state.hub {
                    self.effects.push(OriginEffect::Jobs { link, hub, slot, jobs });
                }
            }
            HubToOrigin::Rights(request) if state.hub.is_some() => self.rights_wanted(link, request, now),
            HubToOrigin::Listen(topics) if state.hub.is_some() => self.listen(link, topics),
            HubToOrigin::Unlisten(topics) => self.unlisten(link, topics),
            HubToOrigin::Held { .. }
            | HubToOrigin::Delta(_)
            | HubToOrigin::Subscribe(_)
            | HubToOrigin::Gap(..)
            | HubToOrigin::Lost(_)
            | HubToOrigin::Digests { .. }
            | HubToOrigin::Exchanged { .. }
            | HubToOrigin::Run { .. }
            | HubToOrigin::Order { .. }
            | HubToOrigin::Await { .. }
            | HubToOrigin::Jobs { .. }
            | HubToOrigin::Listen(_)
            | HubToOrigin::Rights(_) => {
                let reason = "the first message of a hub must be its hello";
                self.refuse(link, Refusal::new(RefusalCause::Unexpected, reason));
            }
        }
    }

    fn delta(&mut self, link: Link, slots: Vec<SlotDelta>, now: TimestampMs) {
        let latest = slots.iter().flat_map(|part| &part.keys).filter_map(|(_, delta)| delta.latest_hlc()).max();
        if let Some(latest) = latest
            && let Err(error) = self.clock.observe(latest, now)
            && !fault!(StampsUnbounded)
        {
            self.refuse(link, Refusal::new(RefusalCause::Clock, error.to_string()));
            return;
        }
        let no = slots.iter().map(|part| part.to).max().unwrap_or_default();
        if no.0 > NUMBER_MAX {
            let reason = format!("an operation's number is {}, beyond {NUMBER_MAX}", no.0);
            self.refuse(link, Refusal::new(RefusalCause::Limit, reason));
            return;
        }
        let Some(state) = self.links.get_mut(&link) else { return };
        state.batches = state.batches.saturating_add(1);
        let (parts, keys) = (slots.len(), slots.iter().map(|part| part.keys.len()).sum::<usize>());
        let window_ms = state.window.arrived(no, keys, self.config.window_ms, self.config.window_ms_max);
        state.window_end = Some(now.plus_ms(window_ms));
        for part in slots {
            state.outstanding.insert(part.slot);
            self.ready.insert(part.slot);
            let work = self.slots.entry(part.slot).or_default();
            work.arrived.push((link, part));
        }
        state.frame_arrived(parts, keys, now);
    }

    /// Has a hub's commands run, unless as many are under way as may be.
    fn run(&mut self, link: Link, call: u64, commands: Vec<Vec<Bytes>>) {
        let Some(state) = self.links.get_mut(&link) else { return };
        let is_full = state.runs >= RUNS_MAX;
        state.runs = state.runs.saturating_add(1);
        if is_full {
            let refused = Err(CommandError::TooManyAtOrigin.to_string().into());
            self.ran(link, call, vec![refused; commands.len()]);
        } else {
            self.effects.push(OriginEffect::Run { link, call, commands, within: Namespace::default() });
        }
    }

    fn ran(&mut self, link: Link, call: u64, replies: Vec<RunReply>) {
        let Some(state) = self.links.get_mut(&link) else { return };
        state.runs = state.runs.saturating_sub(1);
        self.effects.push(OriginEffect::ToHub(link, OriginToHub::Ran { call, replies }));
    }

    /// Jobs have run, or had before: in either case they are not stable yet.
    fn jobs_done(&mut self, link: Link, JobsDone { hub, slot, through, replies }: JobsDone) {
        self.stability.note(slot, hub, Counted::Jobs, through);
        if self.links.get(&link).is_some_and(|state| state.hub == Some(hub)) {
            self.effects.push(OriginEffect::ToHub(link, OriginToHub::JobsDone { slot, through, replies }));
        }
    }

    /// What plain clients wrote and nobody has read yet is read first, so that it goes too.
    fn erase(&mut self, keys: Vec<Key>) {
        for key in keys {
            let slot = key.slot();
            let work = self.slots.entry(slot).or_default();
            if !self.is_plainless {
                work.plain.unread.insert(key.clone());
            }
            work.erased.insert(key);
            self.ready.insert(slot);
        }
    }

    /// Another daemon moved the slot's marker: whoever holds keys there must hear.
    fn changed(&mut self, slot: Slot, seq: u64) {
        if let Some(work) = self.slots.get_mut(&slot)
            && work.seq() < seq
        {
            work.is_doubted = true;
            self.ready.insert(slot);
        }
    }

    /// Reads the markers of some of the slots in which hubs hold keys, by turns.
    fn review(&mut self, now: TimestampMs) {
        if self.reviewed_at.is_some_and(|at| now.since_ms(at).abs() < REVIEW_MS) || fault!(OthersNotHeard) {
            return;
        }
        self.reviewed_at = Some(now);
        let held: BTreeSet<Slot> = self.links.values().flat_map(|state| state.held.keys().copied()).collect();
        let after = held.iter().filter(|slot| self.last_review.is_none_or(|last| **slot > last));
        let mut next: Vec<Slot> = after.chain(&held).copied().take(REVIEW_SLOTS.min(held.len())).collect();
        next.dedup();
        for slot in next {
            self.last_review = Some(slot);
            if let Some(work) = self.slots.get_mut(&slot) {
                work.is_doubted = true;
                self.ready.insert(slot);
            }
        }
    }

    /// A frame is refused whole: nothing of it counts, and the connection ends.
    fn refuse(&mut self, link: Link, refusal: Refusal) {
        let reason = refusal.detail.clone();
        self.effects.push(OriginEffect::ToHub(link, OriginToHub::Refused(refusal)));
        self.effects.push(OriginEffect::Close(link, reason));
        self.forget_link(link);
    }

    fn forget_link(&mut self, link: Link) {
        self.links.remove(&link);
        self.forget_orders(link);
        self.forget_awaits(link);
        self.forget_topics(link);
        self.grants.forget_link(link);
        for work in self.slots.values_mut() {
            work.forget_link(link);
        }
    }

    /// Tells a hub that its numbers in a slot are in the store, with what it is told of other slots already: it may hear of it
    /// ahead of what comes in between, for it is so.
    fn acknowledge(&mut self, link: Link, slot: Slot, no: No) {
        let at = self.acknowledged.get(&link).and_then(|at| self.effects.get_mut(*at));
        if let Some(OriginEffect::ToHub(_, OriginToHub::Committed(slots))) = at {
            slots.push((slot, no));
        } else {
            self.acknowledged.insert(link, self.effects.len());
            self.effects.push(OriginEffect::ToHub(link, OriginToHub::Committed(vec![(slot, no)])));
        }
    }

    /// Notes that a hub's numbers in a slot are in the store, to be called stable once they are.
    fn note_committed(&mut self, slot: Slot, hub: ReplicaId, no: No) {
        self.stability.note(slot, hub, Counted::Operations, no);
    }

    fn announce_stable(&mut self) {
        let due = self.stability.take();
        if due.is_empty() {
            return;
        }
        for (link, state) in &self.links {
            let numbers = |counted: Counted| {
                let slots = due.get(&(state.hub?, counted))?;
                Some(slots.iter().map(|(slot, no)| (*slot, *no)).collect())
            };
            let operations = numbers(Counted::Operations).map(OriginToHub::Stable);
            let jobs = numbers(Counted::Jobs).map(OriginToHub::JobsStable);
            let told = operations.into_iter().chain(jobs);
            self.effects.extend(told.map(|message| OriginEffect::ToHub(*link, message)));
        }
    }

    fn ask_to_wake(&mut self, now: TimestampMs) {
        let credit = self.links.values().filter_map(|state| state.credit_at);
        let stable = self.stability.look_at(now);
        let ends = [&self.ends, &self.foreign].into_iter().filter_map(Agenda::next);
        let review = self.links.values().any(|state| !state.held.is_empty()).then(|| now.plus_ms(REVIEW_MS));
        let holding = self.links.values().filter(|state| !state.held.is_empty());
        let audit = holding.filter_map(|state| state.comparison.audit_at);
        let look = (!self.links.is_empty()).then(|| self.grants.next_look(now));
        let Some(earliest) = credit
            .chain(look)
            .chain(stable)
            .chain(ends)
            .chain(review)
            .chain(audit)
            .chain(self.watch.next_at())
            .chain(self.next_late_order())
            .chain(self.next_look())
            .min()
        else {
            return;
        };
        let at = earliest.max(now.plus_ms(1));
        if self.wake_at.is_none_or(|asked| at < asked || asked <= now) {
            self.wake_at = Some(at);
            self.effects.push(OriginEffect::WakeAt(at));
        }
    }
}
