//! Sockets between nodes: frames in flight, breaks, partitions, and what is delivered.

use super::*;

/// After so long without a sign a socket counts as broken, in milliseconds.
const HEARTBEAT_MS: i64 = 10_000;

/// What a frame must bear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Care {
    /// Nothing but a broken socket.
    Fragile,
    /// That it comes late, or twice.
    Hardy,
    /// That it does not come at all.
    Repeated,
}

impl Care {
    pub(super) fn hardy_if(is_hardy: bool) -> Self {
        if is_hardy { Self::Hardy } else { Self::Fragile }
    }

    pub(super) fn repeated_if(is_repeated: bool) -> Self {
        if is_repeated { Self::Repeated } else { Self::Fragile }
    }
}

impl World {
    pub(super) fn open_wire(&mut self, peer: End, life: u64, hub: usize) -> u64 {
        let id = self.fresh_id();
        self.wires.insert(id, Wire { peer, life, hub, is_open: true, ends_told: 0 });
        id
    }

    pub(super) fn is_open(&self, id: u64) -> bool {
        self.wires.get(&id).is_some_and(|wire| wire.is_open)
    }

    /// Each end hears of it in its own time, and sometimes late.
    pub(super) fn break_wire(&mut self, id: u64) {
        let Some(wire) = self.wires.get_mut(&id) else { return };
        if !wire.is_open {
            return;
        }
        wire.is_open = false;
        let lane = Lane::Wire(wire.peer, wire.hub);
        for at_hub in [true, false] {
            let late = if self.chance(lane, 8) { HEARTBEAT_MS } else { 200 };
            self.after(lane, 0, late, Event::Closed { wire: id, at_hub });
        }
    }

    /// Sockets keep order and lose nothing until they break. What carries state or acknowledges it must bear more, so now
    /// and then such a frame is doubled or delayed all the same, and one that is sent again until it is answered is lost;
    /// what opens a connection or subscribes is not.
    pub(super) fn transmit(&mut self, id: u64, to_hub: bool, frame: Vec<u8>, care: Care) {
        let Some(wire) = self.wires.get(&id).filter(|wire| wire.is_open) else { return };
        let (peer, hub) = (wire.peer, wire.hub);
        let lane = Lane::Wire(peer, hub);
        if self.chance(lane, 500) {
            self.break_wire(id);
            return;
        }
        let now = self.now;
        let held =
            self.partitions.iter().filter(|part| part.holds(peer, hub, to_hub)).map(|part| part.until - now).max();
        if let Some(delay) = held.filter(|delay| *delay > 0) {
            self.at(delay + 5, Event::Deliver { wire: id, to_hub, frame });
            return;
        }
        if care == Care::Repeated && self.chance(lane, 100) {
            return;
        }
        let is_hardy = care != Care::Fragile;
        let jitter = if is_hardy && self.chance(lane, 100) { 300 } else { 0 };
        if is_hardy && self.chance(lane, 100) {
            self.after(lane, 5, 300, Event::Deliver { wire: id, to_hub, frame: frame.clone() });
        }
        self.after(lane, 5, jitter, Event::Deliver { wire: id, to_hub, frame });
    }

    pub(super) fn part(&mut self, partition: Partition) {
        let (hub, peer) = (partition.hub, partition.peer);
        if partition.until - self.now > HEARTBEAT_MS {
            self.after(Lane::Wire(peer, hub), HEARTBEAT_MS, 2_000, Event::Silent { hub, peer });
        }
        self.partitions.push(partition);
    }

    /// All partitions end, and what they held back comes through at once, in order.
    pub(super) fn end_partitions(&mut self) {
        self.partitions.clear();
        let soon = self.now + 5;
        let is_held = |event: &Event| matches!(event, Event::Deliver { .. });
        let events = std::mem::take(&mut self.queue).into_iter();
        let sooner = |Scheduled(at, order, event): Scheduled| {
            Scheduled(if is_held(&event) { at.min(soon) } else { at }, order, event)
        };
        self.queue = events.map(sooner).collect();
    }

    /// Whether nothing comes through in one way at least.
    pub(super) fn is_parted(&self, peer: End, hub: usize) -> bool {
        let parts = self.partitions.iter().filter(|part| part.until > self.now);
        parts.into_iter().any(|part| part.peer == peer && part.hub == hub)
    }

    pub(super) fn hear_nothing(&mut self, hub: usize, peer: End) {
        if self.is_parted(peer, hub) {
            let silent = self.wires.iter().filter(|(_, wire)| wire.is_open && wire.hub == hub && wire.peer == peer);
            let silent: Vec<u64> = silent.map(|(id, _)| *id).collect();
            silent.into_iter().for_each(|wire| self.break_wire(wire));
        }
    }

    pub(super) fn deliver(&mut self, id: u64, to_hub: bool, frame: &[u8]) {
        let Some(wire) = self.wires.get(&id).filter(|wire| wire.is_open) else { return };
        let (peer, hub, life) = (wire.peer, wire.hub, wire.life);
        match (peer, to_hub) {
            (End::Leaf(_), true) => {
                let message = wire::decode(frame).expect("leaves send valid frames");
                self.hub_input(hub, HubInput::Leaf(Connection(id), message));
            }
            (End::Leaf(leaf), false) => {
                let message = wire::decode(frame).expect("hubs send valid frames");
                self.leaf_told(leaf, &message);
                self.leaf_input(leaf, LeafInput::Hub(message));
            }
            (_, true) => {
                let message: OriginToHub = wire::decode(frame).expect("the daemon sends valid frames");
                if let OriginToHub::Stable(slots) = &message {
                    for (slot, no) in slots {
                        let promised = self.promised.entry((self.hubs[hub].id, *slot)).or_default();
                        *promised = (*promised).max(*no);
                    }
                }
                self.hub_input(hub, HubInput::Origin(Connection(id), message));
            }
            (End::Daemon(daemon), false) => {
                if life == self.daemons[daemon].life {
                    let message = wire::decode(frame).expect("hubs send valid frames");
                    self.origin_input(daemon, OriginInput::Hub(Link(id), message));
                }
            }
            (End::Hub(_), false) => {}
        }
    }

    pub(super) fn closed(&mut self, id: u64, at_hub: bool) {
        let Some(wire) = self.wires.get_mut(&id) else { return };
        wire.ends_told += 1;
        let (peer, hub, life) = (wire.peer, wire.hub, wire.life);
        if wire.ends_told == 2 {
            self.wires.remove(&id);
        }
        match (peer, at_hub) {
            (End::Leaf(_), true) => self.hub_input(hub, HubInput::LeafClosed(Connection(id))),
            (_, true) => self.hub_input(hub, HubInput::OriginClosed(Connection(id))),
            (End::Leaf(leaf), false) => {
                if self.leaves[leaf].wire == Some(id) {
                    self.leaves[leaf].wire = None;
                    self.leaf_input(leaf, LeafInput::Closed);
                    self.after(Lane::Node(peer), 100, 3_000, Event::LeafDial(leaf));
                }
            }
            (End::Daemon(daemon), false) => {
                if life == self.daemons[daemon].life {
                    self.origin_input(daemon, OriginInput::Closed(Link(id)));
                }
            }
            (End::Hub(_), false) => {}
        }
    }
}

impl Partition {
    fn holds(&self, peer: End, hub: usize, to_hub: bool) -> bool {
        self.peer == peer && self.hub == hub && if to_hub { self.to_hub } else { self.from_hub }
    }
}

/// As ends send that have greeted; greetings are in full in any case.
pub(super) fn framed<M: wire::Message>(message: &M) -> Vec<u8> {
    let terms = wire::Terms { features: wire::Features::BRIEF, ..wire::Terms::default() };
    terms.encode(message).expect("messages fit a frame")
}
