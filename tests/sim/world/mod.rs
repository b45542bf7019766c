//! The simulated world: leaves, hubs, a daemon and its store on a virtual clock, with a network and crashes by seed.
//!
//! Every cause of change is one event; every choice comes from one seeded generator, so a seed is a trace. Messages travel as
//! the bytes that real sockets carry.

mod check;
mod clients;
mod daemon;
mod hubs;
mod leaves;
mod network;

use crate::{
    ledger::{Entry, Ledger},
    store::Store,
    workload::Workload,
};
use bytes::Bytes;
use headwater::{
    command::{CommandError, Reply},
    hub::{Connection, Hub, HubEffect, HubInput, Request, RowId},
    id::{ClientId, Key, No, ReplicaId, TimestampMs},
    leaf::{Leaf, LeafEffect, LeafInput},
    message::{HubToLeaf, HubToOrigin, LeafToHub, Lifetime, OriginToHub},
    origin::{Link, Origin, OriginConfig, OriginEffect, OriginInput},
    slot::Slot,
    store::{Commit, Load, Loaded, Outcome},
    wire,
};
use std::{
    collections::{BTreeMap, BinaryHeap, VecDeque, hash_map::DefaultHasher},
    hash::{Hash, Hasher},
};

/// What the daemon is told that the store may lose.
const LOSS_WINDOW_MS: i64 = 3_000;

/// How rough the world is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Climate {
    pub(crate) hubs: usize,
    pub(crate) leaves: usize,
    /// How long clients are at work, in virtual milliseconds.
    pub(crate) work_ms: i64,
    pub(crate) faults: bool,
    /// How much of its recent past the store loses in a failover, in milliseconds; zero for no failovers.
    pub(crate) loss_ms: i64,
}

#[derive(Clone, Debug)]
enum Event {
    Deliver { wire: u64, to_hub: bool, frame: Vec<u8> },
    Closed { wire: u64, at_hub: bool },
    LeafDial(usize),
    LeafCut(usize),
    LeafTick(usize, i64),
    LeafWork(usize),
    HttpWork,
    HttpSend(u64),
    HubUp(usize),
    HubTick(usize, i64),
    HubFault(usize),
    DaemonUp,
    DaemonDial(u64),
    DaemonFault,
    OriginTick(u64, i64),
    StoreLoad { daemon: u64, run_id: u64, load: Load },
    StoreCommit { daemon: u64, run_id: u64, commit: Box<Commit> },
    StoreLoaded { daemon: u64, loaded: Box<Loaded> },
    StoreCommitted { daemon: u64, slot: Slot, outcome: Outcome },
    Snapshot,
    FailOver,
    Relay { hub: usize, from: usize, wire: u64, frame: Vec<u8> },
    Forwarded { hub: usize, wire: u64, message: Box<HubToLeaf> },
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

#[derive(Clone, Copy, Debug, PartialEq)]
enum Peer {
    Leaf(usize),
    Daemon(u64),
}

struct Wire {
    peer: Peer,
    hub: usize,
    is_open: bool,
}

struct HubNode {
    machine: Option<Hub>,
    rows: BTreeMap<Vec<u8>, Vec<u8>>,
    id: ReplicaId,
    skew_ms: i64,
    wake_at: i64,
}

struct LeafNode {
    machine: Leaf,
    wire: Option<u64>,
    hub: usize,
    skew_ms: i64,
    sums: BTreeMap<Key, i64>,
    wake_at: i64,
}

struct Daemon {
    machine: Option<Origin>,
    life: u64,
    skew_ms: i64,
    wake_at: i64,
}

struct Http {
    hub: usize,
    commands: Vec<Vec<Bytes>>,
    entries: Vec<Entry>,
    attempts: u32,
    is_done: bool,
}

/// The world.
pub(crate) struct World {
    pub(crate) climate: Climate,
    pub(crate) now: i64,
    rng: fastrand::Rng,
    queue: BinaryHeap<Scheduled>,
    scheduled: u64,
    hubs: Vec<HubNode>,
    leaves: Vec<LeafNode>,
    daemon: Daemon,
    pub(crate) store: Store,
    wires: BTreeMap<u64, Wire>,
    https: BTreeMap<u64, Http>,
    requests: BTreeMap<u64, u64>,
    relays: BTreeMap<u64, (usize, u64)>,
    next_id: u64,
    workload: Workload,
    pub(crate) ledger: Ledger,
    promised: BTreeMap<(ReplicaId, Slot), No>,
    is_rough: bool,
    pub(crate) violations: Vec<String>,
    trace: DefaultHasher,
    pub(crate) log: Option<VecDeque<String>>,
}

impl World {
    pub(crate) fn new(seed: u64, climate: Climate) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let start = 1_700_000_000_000;
        let mut world = Self {
            climate,
            now: start,
            queue: BinaryHeap::new(),
            scheduled: 0,
            hubs: Vec::new(),
            leaves: Vec::new(),
            daemon: Daemon { machine: None, life: 0, skew_ms: rng.i64(-400..400), wake_at: 0 },
            store: Store::new(climate.loss_ms),
            wires: BTreeMap::new(),
            https: BTreeMap::new(),
            requests: BTreeMap::new(),
            relays: BTreeMap::new(),
            next_id: 1,
            workload: Workload::new(),
            ledger: Ledger::default(),
            promised: BTreeMap::new(),
            is_rough: climate.faults,
            violations: Vec::new(),
            trace: DefaultHasher::new(),
            log: None,
            rng,
        };
        for index in 0..climate.hubs {
            let skew_ms = world.rng.i64(-400..400);
            let entropy = world.rng.u64(..);
            let (hub, effects) = Hub::create(format!("hub/{index}"), entropy, TimestampMs(start + skew_ms));
            let node = HubNode { id: hub.id(), machine: Some(hub), rows: BTreeMap::new(), skew_ms, wake_at: 0 };
            world.hubs.push(node);
            world.perform_hub(index, effects, false);
        }
        for index in 0..climate.leaves {
            let client = ClientId(world.rng.u128(..));
            let lifetime = if index % 2 == 0 { Lifetime::Tab } else { Lifetime::Isolate };
            let skew_ms = world.rng.i64(-10_000..10_000);
            let hub = world.rng.usize(..climate.hubs);
            let mut machine = Leaf::new(client, lifetime);
            let _ = machine.handle(LeafInput::Subscribe(Workload::keys()), TimestampMs(start));
            world.leaves.push(LeafNode { machine, wire: None, hub, skew_ms, sums: BTreeMap::new(), wake_at: 0 });
            world.after(0, 500, Event::LeafDial(index));
            world.after(100, 1_000, Event::LeafWork(index));
        }
        world.after(0, 500, Event::DaemonUp);
        world.after(100, 500, Event::HttpWork);
        world.after(100, 100, Event::Snapshot);
        if climate.faults {
            for index in 0..climate.hubs {
                world.after(2_000, 20_000, Event::HubFault(index));
            }
            for index in 0..climate.leaves {
                world.after(2_000, 15_000, Event::LeafCut(index));
            }
            world.after(3_000, 20_000, Event::DaemonFault);
        }
        if climate.loss_ms > 0 {
            world.after(8_000, 20_000, Event::FailOver);
        }
        world
    }

    /// Runs the whole scenario; the violations tell how it went.
    pub(crate) fn run(&mut self) {
        let start = self.now;
        self.run_until(start + self.climate.work_ms);
        // Calm: whoever is down comes back, nothing more fails, and all that waits must come through.
        self.is_rough = false;
        self.workload.is_closed = true;
        for hub in 0..self.hubs.len() {
            for key in Workload::keys() {
                self.issue(hub, vec![vec![Bytes::from_static(b"EXISTS"), Bytes::from(key)]], vec![Entry::Nothing]);
            }
        }
        self.settle("after the work");
        if self.climate.loss_ms > LOSS_WINDOW_MS {
            // A hub learns of such a loss in a slot where it has something to say.
            for hub in 0..self.hubs.len() {
                for command in Workload::touches() {
                    self.issue(hub, vec![command], vec![Entry::Nothing]);
                }
            }
            self.settle("after the repair");
        }
        if self.violations.is_empty() {
            // A shortening by one operation that saw all.
            let key = Workload::deadline_key();
            let at = self.now + 500_000;
            let line = format!("SET {key} 1 PXAT {at}");
            let command = line.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
            self.issue(0, vec![command], vec![Entry::Nothing]);
            self.ledger.settle_deadline(key, TimestampMs(at));
            self.settle("after the shortening");
        }
        self.check();
    }

    /// A digest of all that happened.
    pub(crate) fn trace(&self) -> u64 {
        self.trace.finish()
    }

    fn run_until(&mut self, end: i64) {
        while self.violations.is_empty() && self.queue.peek().is_some_and(|next| next.0 <= end) {
            let Some(Scheduled(at, _, event)) = self.queue.pop() else { break };
            self.now = at;
            at.hash(&mut self.trace);
            std::mem::discriminant(&event).hash(&mut self.trace);
            if let Some(log) = &mut self.log {
                let text = format!("{at} {event:?}");
                log.push_back(text.chars().take(2_000).collect());
            }
            self.happen(event);
        }
        self.now = self.now.max(end);
    }

    fn settle(&mut self, when: &str) {
        const PATIENCE_MS: i64 = 180_000;
        let end = self.now + PATIENCE_MS;
        // Whatever was asked for last must first get going.
        self.run_until(self.now + 3_000);
        while self.violations.is_empty() && self.unquiet().is_some() {
            if self.now >= end {
                self.violations.push(format!("stuck {when}: {}", self.unquiet().unwrap_or_default()));
            }
            self.run_until(self.now + 500);
        }
    }

    /// What still waits, in words.
    fn unquiet(&self) -> Option<String> {
        if let Some((id, http)) = self.https.iter().find(|(_, http)| !http.is_done) {
            return Some(format!("request {id} at hub {} has no answer", http.hub));
        }
        for (index, leaf) in self.leaves.iter().enumerate() {
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
        match &self.daemon.machine {
            None => Some("the daemon is down".to_owned()),
            Some(origin) if origin.queued() > 0 => Some("the daemon has deltas queued".to_owned()),
            Some(_) => None,
        }
    }

    fn after(&mut self, least_ms: i64, more_ms: i64, event: Event) {
        let delay = least_ms + if more_ms > 0 { self.rng.i64(0..more_ms) } else { 0 };
        self.scheduled += 1;
        self.queue.push(Scheduled(self.now + delay, self.scheduled, event));
    }

    fn chance(&mut self, of: u32) -> bool {
        self.is_rough && self.rng.u32(..of) == 0
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Deliver { wire, to_hub, frame } => self.deliver(wire, to_hub, &frame),
            Event::Closed { wire, at_hub } => self.closed(wire, at_hub),
            Event::LeafDial(leaf) => self.leaf_dial(leaf),
            Event::LeafCut(leaf) => {
                if self.is_rough {
                    if let Some(wire) = self.leaves[leaf].wire {
                        self.break_wire(wire);
                    }
                    self.after(2_000, 15_000, Event::LeafCut(leaf));
                }
            }
            Event::LeafTick(leaf, at) => {
                if self.leaves[leaf].wake_at == at {
                    self.leaf_input(leaf, LeafInput::Tick);
                }
            }
            Event::LeafWork(leaf) => self.leaf_work(leaf),
            Event::HttpWork => {
                if let Some((commands, entries)) = self.workload.over_http(&mut self.rng, self.now) {
                    let hub = self.rng.usize(..self.hubs.len());
                    self.issue(hub, commands, entries);
                    self.after(20, 200, Event::HttpWork);
                }
            }
            Event::HttpSend(id) => self.http_send(id),
            Event::HubUp(hub) => self.hub_up(hub),
            Event::HubTick(hub, at) => {
                if self.hubs[hub].wake_at == at {
                    self.hub_input(hub, HubInput::Tick);
                }
            }
            Event::HubFault(hub) => {
                if self.is_rough {
                    if self.rng.bool() {
                        self.crash_hub(hub);
                    } else {
                        self.hibernate(hub);
                    }
                    self.after(5_000, 20_000, Event::HubFault(hub));
                }
            }
            Event::DaemonUp => self.daemon_up(),
            Event::DaemonDial(life) => self.daemon_dial(life),
            Event::DaemonFault => {
                if self.is_rough {
                    self.crash_daemon();
                    self.after(5_000, 20_000, Event::DaemonFault);
                }
            }
            Event::OriginTick(life, at) => {
                if self.daemon.life == life && self.daemon.wake_at == at {
                    self.origin_input(OriginInput::Tick);
                }
            }
            Event::StoreLoad { daemon, run_id, load } => {
                if run_id == self.store.run_id {
                    let loaded = Box::new(self.store.load(&load, TimestampMs(self.now)));
                    self.after(0, 5, Event::StoreLoaded { daemon, loaded });
                }
            }
            Event::StoreCommit { daemon, run_id, commit } => {
                // Also one of a daemon that died meanwhile: it was on its way.
                if run_id == self.store.run_id {
                    let outcome = self.store.commit(&commit, TimestampMs(self.now));
                    self.after(0, 5, Event::StoreCommitted { daemon, slot: commit.slot, outcome });
                }
            }
            Event::StoreLoaded { daemon, loaded } => {
                if self.daemon.life == daemon {
                    self.origin_input(OriginInput::Loaded(*loaded));
                }
            }
            Event::StoreCommitted { daemon, slot, outcome } => {
                if self.daemon.life == daemon {
                    self.origin_input(OriginInput::Committed(slot, outcome));
                }
            }
            Event::Snapshot => {
                self.store.snapshot(TimestampMs(self.now));
                if self.is_rough {
                    self.after(100, 0, Event::Snapshot);
                }
            }
            Event::FailOver => {
                if self.is_rough {
                    self.fail_over();
                    self.after(8_000, 20_000, Event::FailOver);
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
        }
    }

    fn note(&mut self, text: impl FnOnce() -> String) {
        if let Some(log) = &mut self.log {
            log.push_back(format!("{} {}", self.now, text()));
        }
    }

    fn fresh_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }
}
