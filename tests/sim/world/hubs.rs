//! Hubs: inputs, effects performed in order, crashes between any two, and sleep.

use super::*;

impl World {
    pub(super) fn hub_now(&self, hub: usize) -> TimestampMs {
        TimestampMs(self.now + self.hubs[hub].skew_ms)
    }

    pub(super) fn hub_input(&mut self, hub: usize, input: HubInput) {
        let now = self.hub_now(hub);
        let Some(machine) = &mut self.hubs[hub].machine else { return };
        let effects = machine.handle(input, now);
        self.perform_hub(hub, effects, true);
    }

    /// Performs effects in order; the hub may crash before any of them.
    pub(super) fn perform_hub(&mut self, hub: usize, effects: Vec<HubEffect>, may_crash: bool) {
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

    pub(super) fn wires_of(&self, hub: usize) -> Vec<u64> {
        self.wires.iter().filter(|(_, wire)| wire.is_open && wire.hub == hub).map(|(id, _)| *id).collect()
    }

    pub(super) fn crash_hub(&mut self, hub: usize) {
        if self.hubs[hub].machine.take().is_none() {
            return;
        }
        for wire in self.wires_of(hub) {
            self.break_wire(wire);
        }
        self.after(50, 3_000, Event::HubUp(hub));
    }

    pub(super) fn restored(&mut self, hub: usize) -> Hub {
        let node = &self.hubs[hub];
        let rows = node.rows.iter().map(|(id, body)| (RowId::from_bytes(id).expect("row ids parse"), body.clone()));
        Hub::restore(format!("hub/{hub}"), rows.collect::<Vec<_>>()).expect("a hub's own rows restore it")
    }

    pub(super) fn hub_up(&mut self, hub: usize) {
        if self.hubs[hub].machine.is_none() {
            self.hubs[hub].machine = Some(self.restored(hub));
        }
    }

    /// The object sleeps and wakes with its sockets still open.
    pub(super) fn hibernate(&mut self, hub: usize) {
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
}
