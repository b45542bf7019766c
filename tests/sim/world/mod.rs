//! The simulated world: leaves, hubs, daemons and their store on a virtual clock, with a network and crashes by seed.
//!
//! Every cause of change is one event. What clients do and what goes wrong is planned before the run; delays and the
//! network's small mischief come from generators of their own for each socket, node and request, so that a run from which
//! something was left out still resembles the whole. Messages travel as the bytes that real sockets carry.

mod check;
mod clients;
mod daemon;
mod faults;
mod hubs;
mod leaves;
mod memory;
mod network;
mod strict;
mod trace;

use crate::{
    kept::Kept,
    ledger::{Entry, Ledger},
    plan::{Action, End, Kind, What},
    reads::{Reader, Removals},
    scenario::{AUDIT_MS, LOSS_WINDOW_MS, PATIENCE_MS, Scenario},
    selection::Selection,
    store::Store,
    workload::{Work, Workload, key},
};
use bytes::Bytes;
use headwater::{
    command::{CommandError, Reply},
    fault::{self, Fault},
    hub::{Connection, Hub, HubConfig, HubEffect, HubInput, Request, RowId},
    id::{ClientId, HashSeed, Key, No, ReplicaId, SessionId, TimestampMs},
    leaf::{Leaf, LeafEffect, LeafInput, LeafRowId, LeafRowWrite},
    message::{HubToLeaf, HubToOrigin, LeafToHub, Lifetime, Mark, OriginToHub},
    origin::{JobsDone, Link, Origin, OriginConfig, OriginEffect, OriginInput, StableBy},
    slot::Slot,
    store::{Commit, LedgerOutcome, LedgerSwap, Load, Loaded, Outcome},
    wire,
};
use network::{Care, framed};
use std::{
    collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque},
    fmt::Debug,
};
use trace::Trace;

/// When every run begins, in milliseconds since the Unix epoch.
const START_MS: i64 = 1_700_000_000_000;

/// The furthest that a planned trouble sets a clock off, in milliseconds.
pub(crate) const CLOCK_MS_MAX: i64 = 150_000;

/// Which promise was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Checker {
    /// Nodes that have seen the same hold the same, in bytes; plain values read as the state says.
    Convergence,
    /// Each acknowledged operation counts exactly once.
    Accounts,
    /// What was called stable survives the loss that was allowed for.
    Stability,
    /// Reads of one session never go back.
    Reads,
    /// No stamp lies further ahead than the bound.
    Stamps,
    /// What is kept is bounded by what lives.
    Memory,
    /// Without faults everything settles.
    Progress,
    /// Nobody is refused who did nothing wrong.
    Refusals,
    /// What is persisted is what is in memory.
    Rows,
    /// The same seed is the same trace.
    Repetition,
    /// Strict limits are never exceeded.
    Limits,
    /// No assertion fails and nothing panics.
    Panics,
}

/// A promise that was broken, and how.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Violation {
    pub(crate) checker: Checker,
    pub(crate) text: String,
}

#[derive(Clone, Debug)]
enum Event {
    Act(usize),
    Deliver { wire: u64, to_hub: bool, frame: Vec<u8> },
    Closed { wire: u64, at_hub: bool },
    Silent { hub: usize, peer: End },
    LeafDial(usize),
    LeafTick(usize, i64),
    HttpSend(u64),
    AwaitCommit(usize, Vec<Key>),
    HubUp(usize),
    HubTick(usize, i64),
    DaemonUp(usize, u64),
    DaemonLost(usize, u64),
    DaemonDial(usize, u64),
    OriginTick(usize, u64, i64),
    StoreLoad { daemon: usize, life: u64, run_id: u64, load: Load },
    StoreCommit { daemon: usize, life: u64, run_id: u64, commit: Box<Commit> },
    StoreConfirm { daemon: usize, life: u64, run_id: u64, slots: Vec<Slot> },
    StoreConfirmed { daemon: usize, life: u64, slots: Vec<Slot> },
    StoreLoaded { daemon: usize, life: u64, loaded: Box<Loaded> },
    StoreCommitted { daemon: usize, life: u64, slot: Slot, outcome: Outcome },
    StoreSwap { daemon: usize, life: u64, run_id: u64, swap: Box<LedgerSwap> },
    StoreSwapped { daemon: usize, life: u64, answer: Box<(Key, LedgerOutcome)> },
    Hint { daemon: usize, slot: Slot, seq: u64 },
    Touched { daemon: usize, life: u64, keys: Vec<Key> },
    Snapshot,
    Relay { hub: usize, from: usize, wire: u64, frame: Vec<u8> },
    Forwarded { hub: usize, wire: u64, message: Box<HubToLeaf> },
    ClockBack(End),
}

struct Scheduled(i64, u64, Event);

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        (self.0, self.1) == (other.0, other.1)
    }
}
impl Eq for Scheduled {}
impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (other.0, other.1).cmp(&(self.0, self.1))
    }
}

/// Whose delays and mischief: each has a generator of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Lane {
    Wire(End, usize),
    Node(End),
    Store(usize),
    Relay(usize, usize),
    Http(u64),
}

struct Wire {
    peer: End,
    /// Which life of the daemon.
    life: u64,
    hub: usize,
    is_open: bool,
    ends_told: u8,
}

struct HubNode {
    machine: Option<Hub>,
    /// Of its present life.
    seed: HashSeed,
    rows: BTreeMap<Vec<u8>, Vec<u8>>,
    id: ReplicaId,
    /// Who it was before it lost its storage.
    former: Vec<ReplicaId>,
    skew_ms: i64,
    wake_at: i64,
    /// Effects until it crashes.
    crash_after: Option<(u32, i64)>,
    reader: Reader,
}

struct LeafNode {
    machine: Leaf,
    /// What a tab stored; none for a leaf that lives in memory alone.
    rows: Option<BTreeMap<Vec<u8>, Bytes>>,
    wire: Option<u64>,
    hub: usize,
    skew_ms: i64,
    away_until: i64,
    wake_at: i64,
    reader: Reader,
    kept: Kept,
    /// Operations by number in the ledger: not sent yet, in order by key; and sent, by session and sequence.
    unsent: BTreeMap<Key, VecDeque<usize>>,
    sent: BTreeMap<(SessionId, u64), (Key, usize)>,
    /// Keys that it reset while increments of its own were open.
    soft: BTreeSet<Key>,
    /// The session in which it sent last.
    session: Option<SessionId>,
    /// The session of which its hub told it last.
    welcomed: Option<SessionId>,
    /// How many operations may yet be refused because their session ended.
    may_refuse: usize,
}

struct Daemon {
    machine: Option<Origin>,
    life: u64,
    skew_ms: i64,
    wake_at: i64,
    paused_until: i64,
    crash_after: Option<(u32, i64)>,
    run_id: u64,
}

struct Http {
    hub: usize,
    work: Work,
    asked_ms: i64,
    is_done: bool,
}

struct Partition {
    hub: usize,
    peer: End,
    to_hub: bool,
    from_hub: bool,
    until: i64,
}

/// The world.
pub(crate) struct World {
    scenario: Scenario,
    seed: u64,
    actions: Vec<Action>,
    now: i64,
    lanes: BTreeMap<Lane, fastrand::Rng>,
    queue: BinaryHeap<Scheduled>,
    scheduled: u64,
    hubs: Vec<HubNode>,
    leaves: Vec<LeafNode>,
    daemons: Vec<Daemon>,
    store: Store,
    wires: BTreeMap<u64, Wire>,
    partitions: Vec<Partition>,
    clocks_off: BTreeMap<End, i64>,
    /// The latest time that any daemon's clock showed.
    latest_clock: TimestampMs,
    https: BTreeMap<u64, Http>,
    requests: BTreeMap<u64, u64>,
    /// What hubs are asked to see committed: their numbers in slots.
    commits: BTreeMap<u64, Vec<Mark>>,
    relays: BTreeMap<u64, (usize, u64)>,
    next_id: u64,
    pub(crate) ledger: Ledger,
    /// What the plain client did, by number in the ledger.
    by_plain: Vec<usize>,
    /// Keys that somebody asked to be revoked.
    revoked: BTreeSet<Key>,
    /// Keys whose plain values were evicted.
    evicted: BTreeSet<Key>,
    removals: Removals,
    strictly: strict::Strictly,
    /// What hubs were told is stable.
    promised: BTreeMap<(ReplicaId, Slot), No>,
    /// Which hub's number an acknowledged operation has, where a hub may lose its storage.
    landed: Vec<(ReplicaId, Slot, No, usize)>,
    is_noisy: bool,
    /// The run is a part of what was planned.
    is_part: bool,
    /// Troubles still come.
    is_rough: bool,
    /// The store lost more than it was allowed to, or a value was evicted.
    has_losses: bool,
    pub(crate) violations: Vec<Violation>,
    trace: Trace,
}

impl World {
    /// The world of a seed, with a part of what its plan holds.
    pub(crate) fn new(seed: u64, scenario: Scenario, actions: Vec<Action>, selection: &Selection) -> Self {
        let has = |kind| scenario.troubles.iter().any(|(other, _)| *other == kind);
        let count = |selected: Option<usize>, all: usize| selected.unwrap_or(all).min(all);
        let mut world = Self {
            scenario,
            seed,
            now: START_MS,
            lanes: BTreeMap::new(),
            queue: BinaryHeap::new(),
            scheduled: 0,
            hubs: Vec::new(),
            leaves: Vec::new(),
            daemons: Vec::new(),
            store: Store::new(scenario.loss_ms),
            wires: BTreeMap::new(),
            partitions: Vec::new(),
            clocks_off: BTreeMap::new(),
            latest_clock: TimestampMs(START_MS),
            https: BTreeMap::new(),
            requests: BTreeMap::new(),
            commits: BTreeMap::new(),
            relays: BTreeMap::new(),
            next_id: 1,
            ledger: Ledger::default(),
            by_plain: Vec::new(),
            evicted: BTreeSet::new(),
            revoked: BTreeSet::new(),
            removals: Removals::default(),
            strictly: strict::Strictly::default(),
            promised: BTreeMap::new(),
            landed: Vec::new(),
            is_noisy: has(Kind::Noise) && !selection.is_quiet,
            is_part: selection.only.is_some() || selection.hubs.is_some() || selection.daemons.is_some(),
            is_rough: true,
            has_losses: false,
            violations: Vec::new(),
            trace: Trace::default(),
            actions,
        };
        let hubs = count(selection.hubs, scenario.hubs);
        (0..hubs).for_each(|index| world.add_hub(index));
        (0..count(selection.leaves, scenario.leaves)).for_each(|index| world.add_leaf(index, hubs));
        (0..count(selection.daemons, scenario.daemons)).for_each(|index| world.add_daemon(index));
        for index in 0..world.actions.len() {
            world.at(world.actions[index].at_ms, Event::Act(index));
        }
        if has(Kind::FailOver) {
            world.at(100, Event::Snapshot);
        }
        if has(Kind::Lose) {
            // What no hub holds whole is lost for good.
            world.hold_all();
        }
        world
    }

    /// Digests all inputs and effects from now on.
    pub(crate) fn digest(&mut self) {
        self.trace.digest();
    }

    /// Keeps the last inputs and effects from now on.
    pub(crate) fn log(&mut self, lines: usize) {
        self.trace.log(lines);
    }

    /// What came of the digest and of the log.
    pub(crate) fn trace(&self) -> &Trace {
        &self.trace
    }

    /// Runs the whole scenario; the violations tell how it went.
    pub(crate) fn run(&mut self) {
        self.run_until(START_MS + self.scenario.work_ms);
        if self.leaves.iter().any(|leaf| leaf.away_until > self.now + 3_600_000) {
            // Nobody else has anything to do until they are back. Who asked over HTTP has long given up.
            let open = self.https.iter().filter(|(_, http)| !http.is_done).map(|(id, _)| *id);
            open.collect::<Vec<u64>>().into_iter().for_each(|id| self.give_up(id));
            self.now += 86_400_000;
        }
        self.calm_down();
        if self.has(Kind::Clock) {
            // What bears the time of a clock that was ahead is refused until that time is near.
            self.run_until(self.now + CLOCK_MS_MAX);
        }
        self.hold_all();
        if self.scenario.plain_ms > 0 {
            // Where the server's word was lost, plain values are looked at by turns.
            self.run_until(self.now + 125_000);
        }
        self.settle("after the work");
        if self.has(Kind::Lose) {
            // Nobody is told; it is found by looking.
            self.run_until(self.now + 4 * AUDIT_MS);
            self.settle("after the audits");
        }
        if self.has_losses {
            // A hub learns of such a loss in a slot where it has something to say.
            for hub in 0..self.hubs.len() {
                for work in Workload::touches(hub) {
                    self.issue(hub, work);
                }
            }
            self.settle("after the repair");
        }
        if self.scenario.has_deadlines && self.violations.is_empty() {
            // A shortening by one operation that saw all.
            let at = self.now + 1_500_000;
            self.issue(0, Work::line(&format!("SET ttl 1 PXAT {at}")));
            self.ledger.settle_deadline(key("ttl"), TimestampMs(at));
            // A daemon that came anew knows of fields' ends once it reads the key.
            self.issue(0, Work::line("HSET timed last 1"));
            self.settle("after the shortening");
        }
        self.hold_all();
        self.settle("before the checks");
        if self.has(Kind::Wipe) {
            // Leaves ask after what a hub settled and lost.
            self.run_until(self.now + 90_000);
        }
        self.check();
        self.check_strict_limits();
        self.check_memory();
    }

    /// Makes every hub hold every key.
    fn hold_all(&mut self) {
        for hub in 0..self.hubs.len() {
            for key in Workload::keys() {
                self.issue(hub, Work::unbooked(vec![vec![Bytes::from_static(b"EXISTS"), Bytes::from(key)]]));
            }
        }
    }

    /// Whoever is down comes back, nothing more fails, and all that waits must come through.
    fn calm_down(&mut self) {
        self.check_stamps();
        self.is_rough = false;
        self.is_noisy = false;
        self.end_partitions();
        self.clocks_off.clear();
        for hub in &mut self.hubs {
            hub.crash_after = None;
        }
        for daemon in &mut self.daemons {
            daemon.crash_after = None;
            daemon.paused_until = daemon.paused_until.min(self.now);
        }
        // A late touch of what is kept would shorten its last deadline.
        let kept = self.https.iter().filter(|(_, http)| !http.is_done && matches!(http.work.entry, Entry::Kept(..)));
        let kept: Vec<u64> = kept.map(|(id, _)| *id).collect();
        kept.into_iter().for_each(|id| self.give_up(id));
        for leaf in 0..self.leaves.len() {
            self.leaves[leaf].away_until = self.now;
            self.at(0, Event::LeafDial(leaf));
        }
        if self.scenario.has_deadlines {
            let keep = vec![crate::workload::words("SADD kept last"), crate::workload::words("PEXPIRE kept 3000000")];
            self.issue(0, Work { commands: keep, entry: Entry::Kept(key("kept"), Bytes::from("last")) });
        }
    }

    fn run_until(&mut self, end: i64) {
        while self.violations.is_empty() && self.queue.peek().is_some_and(|next| next.0 <= end) {
            let Some(Scheduled(at, _, event)) = self.queue.pop() else { break };
            self.now = self.now.max(at);
            self.happen(event);
        }
        self.now = self.now.max(end);
    }

    fn settle(&mut self, when: &str) {
        let end = self.now + PATIENCE_MS;
        // Whatever was asked for last must first get going, and daemons read markers again by turns.
        self.run_until(self.now + 25_000);
        while self.violations.is_empty()
            && let Some(unquiet) = self.unquiet()
        {
            if self.now >= end {
                self.violate(Checker::Progress, format!("stuck {when}: {unquiet}"));
            }
            self.run_until(self.now + 500);
        }
        // What the last to come asked for at once.
        self.run_until(self.now + 500);
    }

    /// What still waits, in words.
    fn unquiet(&self) -> Option<String> {
        if let Some((id, http)) = self.https.iter().find(|(_, http)| !http.is_done) {
            return Some(format!("request {id} at hub {} has no answer", http.hub));
        }
        for (index, leaf) in self.leaves.iter().enumerate() {
            if !leaf.machine.status().is_connected || !leaf.wire.is_some_and(|wire| self.is_open(wire)) {
                return Some(format!("leaf {index} is not connected"));
            }
            let pending = leaf.machine.status().pending;
            if pending > 0 {
                return Some(format!("leaf {index} has {pending} operations pending"));
            }
        }
        for (index, node) in self.hubs.iter().enumerate() {
            let Some(hub) = &node.machine else { return Some(format!("hub {index} is down")) };
            let status = hub.status();
            if status.pending > 0 || status.unstable > 0 {
                return Some(format!("hub {index}: {} pending, {} unstable", status.pending, status.unstable));
            }
        }
        for (index, daemon) in self.daemons.iter().enumerate() {
            match &daemon.machine {
                None => return Some(format!("daemon {index} is down")),
                Some(origin) if origin.queued() > 0 => return Some(format!("daemon {index} has deltas queued")),
                Some(_) => {}
            }
        }
        None
    }

    fn violate(&mut self, checker: Checker, text: String) {
        self.trace.record(self.now, checker, &text);
        self.violations.push(Violation { checker, text });
    }

    fn lane(&mut self, lane: Lane) -> &mut fastrand::Rng {
        let seed = self.seed;
        self.lanes.entry(lane).or_insert_with(|| fastrand::Rng::with_seed(trace::mix(seed, &lane)))
    }

    /// Something happens after at least so long, and up to so much longer.
    fn after(&mut self, lane: Lane, least_ms: i64, more_ms: i64, event: Event) {
        let more = if more_ms > 0 { self.lane(lane).i64(0..more_ms) } else { 0 };
        self.at(least_ms + more, event);
    }

    fn at(&mut self, delay_ms: i64, event: Event) {
        self.scheduled += 1;
        self.queue.push(Scheduled(self.now + delay_ms, self.scheduled, event));
    }

    /// One in so many, where there is mischief.
    fn chance(&mut self, lane: Lane, of: u32) -> bool {
        self.is_noisy && self.lane(lane).u32(..of) == 0
    }

    /// The time as the node has it.
    fn clock(&self, node: End) -> TimestampMs {
        let skew_ms = match node {
            End::Leaf(leaf) => self.leaves[leaf].skew_ms,
            End::Hub(hub) => self.hubs[hub].skew_ms,
            End::Daemon(daemon) => self.daemons[daemon].skew_ms,
        };
        TimestampMs(self.now + skew_ms + self.clocks_off.get(&node).copied().unwrap_or(0))
    }

    fn happen(&mut self, event: Event) {
        if let Some(daemon) = self.daemon_of(&event).filter(|daemon| self.daemons[*daemon].paused_until > self.now) {
            // It stands still; what comes meanwhile waits in order.
            let delay = self.daemons[daemon].paused_until - self.now;
            self.at(delay, event);
            return;
        }
        match event {
            Event::Act(index) => {
                let action = self.actions[index].clone();
                self.trace.record(self.now, "plan", &action);
                match action.what {
                    What::Leaf { leaf, work } => self.leaf_work(leaf, &work),
                    What::Http { hub, work } => self.issue(hub, work),
                    What::Plain { work } => self.plain_write(&work),
                    What::Strict { hub, limit, cost } => self.ask_strictly(hub, limit, cost),
                    What::Trouble(trouble) => self.trouble(trouble),
                }
            }
            Event::Deliver { wire, to_hub, frame } => self.deliver(wire, to_hub, &frame),
            Event::Closed { wire, at_hub } => self.closed(wire, at_hub),
            Event::Silent { hub, peer } => self.hear_nothing(hub, peer),
            Event::LeafDial(leaf) => self.leaf_dial(leaf),
            Event::LeafTick(leaf, at) => {
                if self.leaves[leaf].wake_at == at {
                    self.leaf_input(leaf, LeafInput::Tick);
                }
            }
            Event::HttpSend(id) => self.http_send(id),
            Event::AwaitCommit(hub, keys) => self.await_commit(hub, keys),
            Event::HubUp(hub) => self.hub_up(hub),
            Event::HubTick(hub, at) => {
                if self.hubs[hub].wake_at == at {
                    self.hub_input(hub, HubInput::Tick);
                }
            }
            Event::DaemonUp(daemon, life) => self.daemon_up(daemon, life),
            Event::DaemonLost(daemon, run_id) => self.daemon_lost(daemon, run_id),
            Event::DaemonDial(daemon, life) => self.daemon_dial(daemon, life),
            Event::OriginTick(daemon, life, at) => {
                if self.daemons[daemon].life == life && self.daemons[daemon].wake_at == at {
                    self.origin_input(daemon, OriginInput::Tick);
                }
            }
            Event::StoreLoad { daemon, life, run_id, load } => self.store_load(daemon, life, run_id, &load),
            Event::StoreCommit { daemon, life, run_id, commit } => self.store_commit(daemon, life, run_id, &commit),
            Event::StoreConfirm { daemon, life, run_id, slots } => self.store_confirm(daemon, life, run_id, slots),
            Event::StoreConfirmed { daemon, life, slots } => {
                if self.daemons[daemon].life == life {
                    self.origin_input(daemon, OriginInput::Survives(slots));
                }
            }
            Event::StoreLoaded { daemon, life, loaded } => {
                if self.daemons[daemon].life == life {
                    self.origin_input(daemon, OriginInput::Loaded(*loaded));
                }
            }
            Event::StoreCommitted { daemon, life, slot, outcome } => {
                if self.daemons[daemon].life == life {
                    self.origin_input(daemon, OriginInput::Committed(slot, outcome));
                }
            }
            Event::StoreSwap { daemon, life, run_id, swap } => self.store_swap(daemon, life, run_id, *swap),
            Event::StoreSwapped { daemon, life, answer } => {
                if self.daemons[daemon].life == life {
                    let (key, outcome) = *answer;
                    self.origin_input(daemon, OriginInput::Swapped(key, outcome));
                }
            }
            Event::Hint { daemon, slot, seq } => self.origin_input(daemon, OriginInput::Changed(slot, seq)),
            Event::Touched { daemon, life, keys } => {
                if self.daemons[daemon].life == life {
                    self.origin_input(daemon, OriginInput::Touched(keys));
                }
            }
            Event::Snapshot => {
                self.store.snapshot(TimestampMs(self.now));
                if self.is_rough {
                    self.at(100, Event::Snapshot);
                }
            }
            Event::Relay { hub, from, wire, frame } => {
                let id = self.fresh_id();
                self.relays.insert(id, (from, wire));
                let message = wire::decode(&frame).expect("hubs relay whole frames");
                self.hub_input(hub, HubInput::Relay(Request(id), message));
            }
            Event::Forwarded { hub, wire, message } => {
                self.hub_input(hub, HubInput::Forwarded(Connection(wire), *message));
            }
            Event::ClockBack(node) => {
                self.clocks_off.remove(&node);
            }
        }
    }

    fn daemon_of(&self, event: &Event) -> Option<usize> {
        match event {
            Event::Deliver { wire, to_hub: false, .. } | Event::Closed { wire, at_hub: false } => {
                let peer = self.wires.get(wire).map(|wire| wire.peer);
                peer.and_then(|peer| if let End::Daemon(daemon) = peer { Some(daemon) } else { None })
            }
            Event::DaemonLost(daemon, _)
            | Event::DaemonDial(daemon, _)
            | Event::OriginTick(daemon, ..)
            | Event::StoreLoaded { daemon, .. }
            | Event::StoreConfirmed { daemon, .. }
            | Event::Hint { daemon, .. }
            | Event::Touched { daemon, .. }
            | Event::StoreSwapped { daemon, .. }
            | Event::StoreCommitted { daemon, .. } => Some(*daemon),
            _ => None,
        }
    }

    fn fresh_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }
}
