//! Sockets between nodes: frames in flight, breaks, and what is delivered.

use super::*;

impl World {
    pub(super) fn open_wire(&mut self, peer: Peer, hub: usize) -> u64 {
        let id = self.fresh_id();
        self.wires.insert(id, Wire { peer, hub, is_open: true });
        id
    }

    pub(super) fn break_wire(&mut self, id: u64) {
        let Some(wire) = self.wires.get_mut(&id) else { return };
        if wire.is_open {
            wire.is_open = false;
            self.after(0, 200, Event::Closed { wire: id, at_hub: true });
            self.after(0, 200, Event::Closed { wire: id, at_hub: false });
        }
    }

    /// Sockets keep order and lose nothing until they break. What carries state or acknowledges it must bear more, so now
    /// and then such a frame is doubled or delayed all the same; what opens a connection or subscribes is not.
    pub(super) fn transmit(&mut self, id: u64, to_hub: bool, frame: Vec<u8>, is_hardy: bool) {
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

    pub(super) fn deliver(&mut self, id: u64, to_hub: bool, frame: &[u8]) {
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

    pub(super) fn closed(&mut self, id: u64, at_hub: bool) {
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
}
