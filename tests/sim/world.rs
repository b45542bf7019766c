//! The simulated world: leaves, hubs, a daemon and its store on a virtual clock, with a network and crashes by seed.
//!
//! Every cause of change is one event; every choice comes from one seeded generator, so a seed is a trace. Messages travel as
//! the bytes that real sockets carry.

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

    // ---- the network

    fn open_wire(&mut self, peer: Peer, hub: usize) -> u64 {
        let id = self.fresh_id();
        self.wires.insert(id, Wire { peer, hub, is_open: true });
        id
    }

    fn break_wire(&mut self, id: u64) {
        let Some(wire) = self.wires.get_mut(&id) else { return };
        if wire.is_open {
            wire.is_open = false;
            self.after(0, 200, Event::Closed { wire: id, at_hub: true });
            self.after(0, 200, Event::Closed { wire: id, at_hub: false });
        }
    }

    /// Sockets keep order and lose nothing until they break. What carries state or acknowledges it must bear more, so now
    /// and then such a frame is doubled or delayed all the same; what opens a connection or subscribes is not.
    fn transmit(&mut self, id: u64, to_hub: bool, frame: Vec<u8>, is_hardy: bool) {
        if !self.wires.get(&id).is_some_and(|wire| wire.is_open) {
            return;
        }
        if self.chance(400) {
            self.break_wire(id);
            return;
        }
        let jitter = if is_hardy && self.chance(100) { 300 } else { 0 };
        if is_hardy && self.chance(100) {
            self.after(5, 300, Event::Deliver { wire: id, to_hub, frame: frame.clone() });
        }
        self.after(5, jitter, Event::Deliver { wire: id, to_hub, frame });
    }

    fn deliver(&mut self, id: u64, to_hub: bool, frame: &[u8]) {
        let Some(wire) = self.wires.get(&id).filter(|wire| wire.is_open) else { return };
        let (peer, hub) = (wire.peer, wire.hub);
        match (peer, to_hub) {
            (Peer::Leaf(_), true) => {
                let message = wire::decode(frame).expect("leaves send valid frames");
                self.hub_input(hub, HubInput::Leaf(Connection(id), message));
            }
            (Peer::Daemon(_), true) => {
                let message: OriginToHub = wire::decode(frame).expect("the daemon sends valid frames");
                if let OriginToHub::Stable(slots) = &message {
                    for (slot, no) in slots {
                        let promised = self.promised.entry((self.hubs[hub].id, *slot)).or_default();
                        *promised = (*promised).max(*no);
                    }
                }
                self.hub_input(hub, HubInput::Origin(Connection(id), message));
            }
            (Peer::Leaf(leaf), false) => {
                let message = wire::decode(frame).expect("hubs send valid frames");
                self.leaf_input(leaf, LeafInput::Hub(message));
            }
            (Peer::Daemon(life), false) => {
                if life == self.daemon.life {
                    let message = wire::decode(frame).expect("hubs send valid frames");
                    self.origin_input(OriginInput::Hub(Link(id), message));
                }
            }
        }
    }

    fn closed(&mut self, id: u64, at_hub: bool) {
        let Some(wire) = self.wires.get(&id) else { return };
        let (peer, hub) = (wire.peer, wire.hub);
        match (peer, at_hub) {
            (Peer::Leaf(_), true) => self.hub_input(hub, HubInput::LeafClosed(Connection(id))),
            (Peer::Daemon(_), true) => self.hub_input(hub, HubInput::OriginClosed(Connection(id))),
            (Peer::Leaf(leaf), false) => {
                if self.leaves[leaf].wire == Some(id) {
                    self.leaves[leaf].wire = None;
                    self.leaf_input(leaf, LeafInput::Closed);
                    self.after(100, 3_000, Event::LeafDial(leaf));
                }
            }
            (Peer::Daemon(life), false) => {
                if life == self.daemon.life {
                    self.origin_input(OriginInput::Closed(Link(id)));
                }
            }
        }
    }

    // ---- hubs

    fn hub_now(&self, hub: usize) -> TimestampMs {
        TimestampMs(self.now + self.hubs[hub].skew_ms)
    }

    fn hub_input(&mut self, hub: usize, input: HubInput) {
        let now = self.hub_now(hub);
        let Some(machine) = &mut self.hubs[hub].machine else { return };
        let effects = machine.handle(input, now);
        self.perform_hub(hub, effects, true);
    }

    /// Performs effects in order; the hub may crash before any of them.
    fn perform_hub(&mut self, hub: usize, effects: Vec<HubEffect>, may_crash: bool) {
        for effect in effects {
            if may_crash && self.chance(3_000) {
                self.crash_hub(hub);
                return;
            }
            match effect {
                HubEffect::Persist(rows) => {
                    for row in rows {
                        let id = row.id.to_bytes();
                        match row.body {
                            Some(body) => self.hubs[hub].rows.insert(id, body),
                            None => self.hubs[hub].rows.remove(&id),
                        };
                    }
                }
                HubEffect::Reply { request, replies, .. } => self.http_reply(request.0, &replies),
                HubEffect::ToLeaf(connection, message) => {
                    let frame = wire::encode(&message).expect("messages fit a frame");
                    let is_hardy = matches!(message, HubToLeaf::State { .. } | HubToLeaf::Verdicts { .. });
                    self.transmit(connection.0, false, frame, is_hardy);
                }
                HubEffect::ToOrigin(connection, message) => {
                    let frame = wire::encode(&message).expect("messages fit a frame");
                    self.transmit(connection.0, false, frame, matches!(message, HubToOrigin::Delta(_)));
                }
                HubEffect::Forward { connection, hub: to, message } => {
                    let target = self.hubs.iter().position(|node| node.id == to);
                    if let Some(target) = target.filter(|_| !self.chance(10)) {
                        let frame = wire::encode(&message).expect("messages fit a frame");
                        self.after(5, 100, Event::Relay { hub: target, from: hub, wire: connection.0, frame });
                    }
                }
                HubEffect::Relayed(request, message) => {
                    if let Some((from, wire)) = self.relays.remove(&request.0)
                        && !self.chance(10)
                    {
                        self.after(5, 100, Event::Forwarded { hub: from, wire, message: Box::new(message) });
                    }
                }
                HubEffect::WakeAt(at) => {
                    let at = (at.0 - self.hubs[hub].skew_ms).max(self.now);
                    self.hubs[hub].wake_at = at;
                    self.after(at - self.now, 0, Event::HubTick(hub, at));
                }
            }
        }
    }

    fn wires_of(&self, hub: usize) -> Vec<u64> {
        self.wires.iter().filter(|(_, wire)| wire.is_open && wire.hub == hub).map(|(id, _)| *id).collect()
    }

    fn crash_hub(&mut self, hub: usize) {
        if self.hubs[hub].machine.take().is_none() {
            return;
        }
        for wire in self.wires_of(hub) {
            self.break_wire(wire);
        }
        self.after(50, 3_000, Event::HubUp(hub));
    }

    fn restored(&mut self, hub: usize) -> Hub {
        let node = &self.hubs[hub];
        let rows = node.rows.iter().map(|(id, body)| (RowId::from_bytes(id).expect("row ids parse"), body.clone()));
        Hub::restore(format!("hub/{hub}"), rows.collect::<Vec<_>>()).expect("a hub's own rows restore it")
    }

    fn hub_up(&mut self, hub: usize) {
        if self.hubs[hub].machine.is_none() {
            self.hubs[hub].machine = Some(self.restored(hub));
        }
    }

    /// The object sleeps and wakes with its sockets still open.
    fn hibernate(&mut self, hub: usize) {
        if self.hubs[hub].machine.is_none() {
            return;
        }
        self.hubs[hub].machine = Some(self.restored(hub));
        let (mut leaves, mut origins) = (Vec::new(), Vec::new());
        for wire in self.wires_of(hub) {
            match self.wires[&wire].peer {
                Peer::Leaf(_) => leaves.push(Connection(wire)),
                Peer::Daemon(_) => origins.push(Connection(wire)),
            }
        }
        self.hub_input(hub, HubInput::Woken { leaves, origins });
    }

    // ---- leaves

    fn leaf_input(&mut self, leaf: usize, input: LeafInput) {
        let now = TimestampMs(self.now + self.leaves[leaf].skew_ms);
        let effects = self.leaves[leaf].machine.handle(input, now);
        self.perform_leaf(leaf, effects);
    }

    fn perform_leaf(&mut self, leaf: usize, effects: Vec<LeafEffect>) {
        for effect in effects {
            match effect {
                LeafEffect::Send(message) => {
                    let frame = wire::encode(&message).expect("messages fit a frame");
                    if let Some(wire) = self.leaves[leaf].wire {
                        self.transmit(wire, true, frame, matches!(message, LeafToHub::Operations { .. }));
                    }
                }
                LeafEffect::Changed(keys) => self.watch_reads(leaf, &keys),
                LeafEffect::Refused(key, cause) => {
                    self.violations.push(format!("leaf {leaf}: an operation on {key} was refused: {cause}"));
                }
                LeafEffect::Redial => {
                    if let Some(wire) = self.leaves[leaf].wire {
                        self.break_wire(wire);
                    }
                }
                LeafEffect::WakeAt(at) => {
                    let at = (at.0 - self.leaves[leaf].skew_ms).max(self.now);
                    self.leaves[leaf].wake_at = at;
                    self.after(at - self.now, 0, Event::LeafTick(leaf, at));
                }
            }
        }
    }

    /// A sum that only grows must never be read lower than before.
    fn watch_reads(&mut self, leaf: usize, keys: &[Key]) {
        let node = &mut self.leaves[leaf];
        for key in keys.iter().filter(|key| Workload::only_grows(key)) {
            let Some(state) = node.machine.key(key) else { continue };
            let element = state.element(&headwater::state::ElementId::String);
            let value = element.map_or(0, |element| element.integer().unwrap_or(0));
            let before = node.sums.insert(key.clone(), value).unwrap_or(0);
            if value < before {
                self.violations.push(format!("leaf {leaf} read {key} go back from {before} to {value}"));
            }
        }
    }

    fn leaf_dial(&mut self, leaf: usize) {
        if self.leaves[leaf].wire.is_some() {
            return;
        }
        if self.chance(3) {
            self.leaves[leaf].hub = self.rng.usize(..self.hubs.len());
        }
        let hub = self.leaves[leaf].hub;
        if self.hubs[hub].machine.is_none() {
            self.after(100, 3_000, Event::LeafDial(leaf));
            return;
        }
        let wire = self.open_wire(Peer::Leaf(leaf), hub);
        self.leaves[leaf].wire = Some(wire);
        self.leaf_input(leaf, LeafInput::Opened);
        // A leaf whose socket says nothing for long dials again, as a heartbeat would have it.
        self.after(20_000, 1_000, Event::LeafDial(leaf));
    }

    fn leaf_work(&mut self, leaf: usize) {
        let Some((commands, entry)) = self.workload.at_leaf(&mut self.rng, self.now) else { return };
        let now = TimestampMs(self.now + self.leaves[leaf].skew_ms);
        let mut seen = None;
        let mut is_refused = false;
        if let Entry::Reset(key) | Entry::Unscore(key, _) | Entry::Clear(key) = &entry {
            let state = self.leaves[leaf].machine.key(key);
            let open = |element: &headwater::state::Element| {
                element.sum.dots().iter().any(|dot| dot.replica == ReplicaId::LEAF)
            };
            if state.is_some_and(|state| state.elements().any(|(_, element)| open(element))) {
                self.ledger.soften(key);
            }
        }
        for command in &commands {
            let (reply, effects) = self.leaves[leaf].machine.command(command, now);
            match reply {
                Ok(reply) if command.as_ptr() != commands[commands.len() - 1].as_ptr() => seen = Some(reply),
                Ok(_) => {}
                Err(CommandError::NotHeld) => {
                    is_refused = true;
                    break;
                }
                Err(error) => self.violations.push(format!("leaf {leaf}: {command:?} answers {error}")),
            }
            self.perform_leaf(leaf, effects);
        }
        if !is_refused {
            self.note(|| format!("leaf {leaf} did {commands:?} seeing {seen:?}"));
            self.ledger.book(entry, seen.as_ref());
        }
        self.after(50, 1_000, Event::LeafWork(leaf));
    }

    // ---- clients over HTTP

    fn issue(&mut self, hub: usize, commands: Vec<Vec<Bytes>>, entries: Vec<Entry>) {
        let id = self.fresh_id();
        self.https.insert(id, Http { hub, commands, entries, attempts: 0, is_done: false });
        self.after(1, 20, Event::HttpSend(id));
    }

    fn http_send(&mut self, id: u64) {
        let request = self.fresh_id();
        let Some(http) = self.https.get_mut(&id) else { return };
        if http.is_done {
            return;
        }
        http.attempts += 1;
        let hub = http.hub;
        let commands = http.commands.clone();
        let idempotency = Some(Bytes::from(format!("request-{id}")));
        self.requests.insert(request, id);
        self.note(|| format!("http {id} at hub {hub}: {commands:?}"));
        self.after(6_000, 2_000, Event::HttpSend(id));
        if !self.chance(20) {
            self.hub_input(hub, HubInput::Commands { request: Request(request), commands, idempotency });
        }
    }

    fn http_reply(&mut self, request: u64, replies: &[Result<Reply, CommandError>]) {
        let Some(id) = self.requests.remove(&request) else { return };
        self.note(|| format!("http {id} answered {replies:?}"));
        if self.chance(20) {
            return;
        }
        let Some(http) = self.https.get_mut(&id) else { return };
        if http.is_done {
            return;
        }
        if !self.is_rough
            && replies.iter().any(|reply| matches!(reply, Err(CommandError::NotHeld)))
            && http.entries.len() == 1
            && matches!(http.entries[0], Entry::Nothing)
        {
            // Asked in the calm to make the hub hold the key: until it does.
            let renamed = self.https.remove(&id);
            if let Some(http) = renamed {
                self.issue(http.hub, http.commands, http.entries);
            }
            return;
        }
        http.is_done = true;
        let entries = std::mem::take(&mut http.entries);
        let mut seen = None;
        let reads = replies.len() - entries.len();
        for (at, reply) in replies.iter().enumerate() {
            if at < reads {
                seen = reply.as_ref().ok();
                continue;
            }
            match reply {
                Ok(_) => self.ledger.book(entries[at - reads].clone(), seen),
                Err(CommandError::NotHeld) => {}
                Err(error) => self.violations.push(format!("{:?} answers {error}", entries[at - reads])),
            }
        }
    }

    // ---- the daemon and its store

    fn origin_input(&mut self, input: OriginInput) {
        let now = TimestampMs(self.now + self.daemon.skew_ms);
        let Some(machine) = &mut self.daemon.machine else { return };
        let effects = machine.handle(input, now);
        let (daemon, run_id) = (self.daemon.life, self.store.run_id);
        for effect in effects {
            if self.chance(5_000) {
                self.crash_daemon();
                return;
            }
            match effect {
                OriginEffect::ToHub(link, message) => {
                    let frame = wire::encode(&message).expect("messages fit a frame");
                    let is_hardy = !matches!(message, OriginToHub::Welcome { .. } | OriginToHub::Refused(_));
                    self.transmit(link.0, true, frame, is_hardy);
                }
                OriginEffect::Close(link, reason) => {
                    if !reason.contains("hello") {
                        self.violations.push(format!("the daemon refused a hub: {reason}"));
                    }
                    self.break_wire(link.0);
                }
                OriginEffect::Load(load) => self.after(0, 5, Event::StoreLoad { daemon, run_id, load }),
                OriginEffect::Commit(commit) => {
                    let slow = if self.chance(20) { 2_000 } else { 5 };
                    self.after(0, slow, Event::StoreCommit { daemon, run_id, commit: Box::new(commit) });
                }
                OriginEffect::Foreign(key) => self.violations.push(format!("a foreign value at {key}")),
                OriginEffect::WakeAt(at) => {
                    let at = (at.0 - self.daemon.skew_ms).max(self.now);
                    self.daemon.wake_at = at;
                    self.after(at - self.now, 0, Event::OriginTick(daemon, at));
                }
            }
        }
    }

    fn crash_daemon(&mut self) {
        self.daemon.machine = None;
        self.daemon.life += 1;
        let wires: Vec<u64> = self
            .wires
            .iter()
            .filter(|(_, w)| w.is_open && matches!(w.peer, Peer::Daemon(_)))
            .map(|(id, _)| *id)
            .collect();
        for wire in wires {
            self.break_wire(wire);
        }
        self.after(100, 3_000, Event::DaemonUp);
    }

    fn daemon_up(&mut self) {
        if self.daemon.machine.is_some() {
            return;
        }
        let config = OriginConfig {
            run_id: Bytes::from(self.store.run_id.to_string()),
            entropy: self.rng.u64(..),
            loss_window_ms: LOSS_WINDOW_MS,
            window_ms: 50,
        };
        self.daemon.machine = Some(Origin::new(config));
        self.after(0, 200, Event::DaemonDial(self.daemon.life));
    }

    fn daemon_dial(&mut self, life: u64) {
        if life != self.daemon.life || self.daemon.machine.is_none() {
            return;
        }
        for hub in 0..self.hubs.len() {
            let is_dialled =
                self.wires.values().any(|wire| wire.is_open && wire.hub == hub && wire.peer == Peer::Daemon(life));
            if !is_dialled && self.hubs[hub].machine.is_some() {
                let wire = self.open_wire(Peer::Daemon(life), hub);
                self.origin_input(OriginInput::Opened(Link(wire)));
            }
        }
        if life == self.daemon.life {
            self.after(200, 1_000, Event::DaemonDial(life));
        }
    }

    fn fail_over(&mut self) {
        let choice = self.rng.usize(..);
        self.store.fail_over(choice);
        if self.climate.loss_ms > LOSS_WINDOW_MS {
            // More is lost than the daemon was told could be: no promise holds, and hubs must make it good.
            self.promised.clear();
        }
        for ((hub, slot), no) in &self.promised {
            let kept = self.store.marker(*slot).and_then(|marker| marker.hubs.get(hub)).copied().unwrap_or_default();
            if kept < *no {
                self.violations.push(format!("{hub} was promised {no:?} of {slot:?} stable; a failover left {kept:?}"));
            }
        }
        self.crash_daemon();
    }

    // ---- the end

    fn check(&mut self) {
        if !self.violations.is_empty() {
            return;
        }
        let now = TimestampMs(self.now);
        let mut wrong = Vec::new();
        let mut origin = BTreeMap::new();
        for key in Workload::keys() {
            let state =
                self.store.companion(&key, now).map(|c| headwater::origin::key_state(c).expect("companions decode"));
            origin.insert(key, state.unwrap_or_default());
        }
        for difference in self.ledger.audit(|key| origin.get(key)) {
            wrong.push(format!("origin: {difference}"));
        }
        for (index, node) in self.hubs.iter().enumerate() {
            let Some(hub) = &node.machine else { continue };
            for difference in self.ledger.audit(|key| hub.key(key)) {
                wrong.push(format!("hub {index}: {difference}"));
            }
            for (key, at_origin) in &origin {
                let empty = headwater::state::KeyState::default();
                let at_hub = hub.key(key).unwrap_or(&empty);
                crate::compare::states(&format!("hub {index} {key}"), at_hub, at_origin, now, &mut wrong);
            }
            // What is persisted is what is in memory.
            let rows = node.rows.iter().map(|(id, body)| (RowId::from_bytes(id).expect("row ids parse"), body.clone()));
            match Hub::restore(format!("hub/{index}"), rows.collect::<Vec<_>>()) {
                Ok(restored) => {
                    for key in hub.keys() {
                        if hub.key(key) != restored.key(key) {
                            wrong.push(format!("hub {index}: {key} differs from its rows"));
                        }
                    }
                }
                Err(error) => wrong.push(format!("hub {index} does not restore: {error}")),
            }
        }
        for (index, leaf) in self.leaves.iter().enumerate() {
            for difference in self.ledger.audit(|key| leaf.machine.key(key)) {
                wrong.push(format!("leaf {index}: {difference}"));
            }
        }
        for (key, state) in &origin {
            crate::compare::plain(key, state, self.store.plain(key, now), now, &mut wrong);
        }
        self.violations = wrong;
    }
}
