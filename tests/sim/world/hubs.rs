//! Hubs: inputs, effects performed in order, crashes between any two, and sleep.

use super::*;

impl World {
    pub(super) fn add_hub(&mut self, index: usize) {
        let lane = self.lane(Lane::Node(End::Hub(index)));
        let (skew_ms, entropy) = (lane.i64(-400..400), lane.u64(..));
        let seed = HashSeed(lane.u64(..), lane.u64(..));
        let (hub, effects) = Hub::create(config(index, seed), entropy, TimestampMs(self.now + skew_ms));
        self.hubs.push(HubNode {
            id: hub.id(),
            machine: Some(hub),
            seed,
            rows: BTreeMap::new(),
            former: Vec::new(),
            skew_ms,
            wake_at: 0,
            crash_after: None,
            reader: Reader::default(),
        });
        self.perform_hub(index, effects);
    }

    pub(super) fn hub_input(&mut self, hub: usize, input: HubInput) {
        let now = self.clock(End::Hub(hub));
        if self.hubs[hub].machine.is_none() {
            return;
        }
        self.trace.record(self.now, End::Hub(hub), &input);
        let Some(machine) = &mut self.hubs[hub].machine else { return };
        let effects = machine.handle(input, now);
        self.perform_hub(hub, effects);
    }

    /// Performs effects in order; the hub may crash before any of them.
    pub(super) fn perform_hub(&mut self, hub: usize, mut effects: Vec<HubEffect>) {
        if fault::is_active(Fault::AnsweredBeforePersisted) && matches!(effects.first(), Some(HubEffect::Persist(_))) {
            effects.rotate_left(1);
        }
        for effect in effects {
            if let Some((after, down_ms)) = self.hubs[hub].crash_after {
                if after == 0 {
                    self.crash_hub(hub, down_ms);
                    return;
                }
                self.hubs[hub].crash_after = Some((after - 1, down_ms));
            }
            self.trace.record(self.now, End::Hub(hub), &effect);
            match effect {
                HubEffect::Persist(rows) => {
                    for row in rows {
                        let id = row.id.to_bytes();
                        match row.body {
                            Some(body) => self.hubs[hub].rows.insert(id, body.to_vec()),
                            None => self.hubs[hub].rows.remove(&id),
                        };
                    }
                }
                HubEffect::Reply { request, replies, .. } => self.http_reply(request.0, &replies),
                HubEffect::ToLeaf(connection, message) => {
                    let frame = framed(&message);
                    let care = match message {
                        HubToLeaf::Verdicts { .. } => Care::Repeated,
                        HubToLeaf::State { .. } => Care::Hardy,
                        _ => Care::Fragile,
                    };
                    self.transmit(connection.0, false, frame, care);
                }
                HubEffect::ToOrigin(connection, message) => {
                    if let (HubToOrigin::Gap(slot, _), true) = (&message, self.scenario.troubles.is_empty()) {
                        let text = format!("hub {hub} could not join a delta of {slot:?}, though nothing was lost");
                        self.violate(Checker::Progress, text);
                    }
                    let frame = framed(&message);
                    let is_hardy = matches!(message, HubToOrigin::Delta(_));
                    self.transmit(connection.0, false, frame, Care::hardy_if(is_hardy));
                }
                HubEffect::Forward { connection, hub: to, message } => {
                    // A directory knows under which name a hub was, also after it began anew there.
                    let is_it = |node: &HubNode| node.id == to || node.former.contains(&to);
                    let Some(target) = self.hubs.iter().position(is_it) else { continue };
                    let lane = Lane::Relay(hub, target);
                    if !self.chance(lane, 10) {
                        let frame = wire::encode(&message).expect("messages fit a frame");
                        self.after(lane, 5, 100, Event::Relay { hub: target, from: hub, wire: connection.0, frame });
                    }
                }
                HubEffect::Relayed(request, message) => {
                    let Some((from, wire)) = self.relays.remove(&request.0) else { continue };
                    let lane = Lane::Relay(from, hub);
                    if !self.chance(lane, 10) {
                        self.after(lane, 5, 100, Event::Forwarded { hub: from, wire, message: Box::new(message) });
                    }
                }
                HubEffect::Committed(request, is_committed) => self.told_committed(hub, request.0, is_committed),
                // Nobody listens to channels here.
                HubEffect::ToListeners(..) => {}
                HubEffect::WakeAt(at) => {
                    let delay = at.since_ms(self.clock(End::Hub(hub))).max(0);
                    self.hubs[hub].wake_at = self.now + delay;
                    self.at(delay, Event::HubTick(hub, self.now + delay));
                }
            }
        }
    }

    pub(super) fn wires_of(&self, hub: usize) -> Vec<u64> {
        self.wires.iter().filter(|(_, wire)| wire.is_open && wire.hub == hub).map(|(id, _)| *id).collect()
    }

    pub(super) fn crash_hub(&mut self, hub: usize, down_ms: i64) {
        self.hubs[hub].crash_after = None;
        if self.hubs[hub].machine.take().is_none() {
            return;
        }
        for wire in self.wires_of(hub) {
            self.break_wire(wire);
        }
        self.at(down_ms, Event::HubUp(hub));
    }

    pub(super) fn restored(&self, hub: usize) -> Result<Hub, headwater::hub::RestoreError> {
        let node = &self.hubs[hub];
        let rows = node.rows.iter().map(|(id, body)| (RowId::from_bytes(id).expect("row ids parse"), body.clone()));
        Hub::restore(config(hub, node.seed), rows.collect::<Vec<_>>())
    }

    /// What a hub draws at random follows from a seed, and no two lives of one have the same.
    fn reseed(&mut self, hub: usize) {
        let lane = self.lane(Lane::Node(End::Hub(hub)));
        let seed = HashSeed(lane.u64(..), lane.u64(..));
        self.hubs[hub].seed = seed;
    }

    pub(super) fn hub_up(&mut self, hub: usize) {
        if self.hubs[hub].machine.is_some() {
            return;
        }
        self.reseed(hub);
        if self.hubs[hub].rows.is_empty() {
            let now = self.clock(End::Hub(hub));
            let entropy = self.lane(Lane::Node(End::Hub(hub))).u64(..);
            let (machine, effects) = Hub::create(config(hub, self.hubs[hub].seed), entropy, now);
            self.hubs[hub].id = machine.id();
            self.hubs[hub].machine = Some(machine);
            self.perform_hub(hub, effects);
        } else {
            self.hubs[hub].machine = Some(self.restored(hub).expect("a hub's own rows restore it"));
        }
    }

    /// The object sleeps and wakes with its sockets still open.
    pub(super) fn hibernate(&mut self, hub: usize) {
        if self.hubs[hub].machine.is_none() {
            return;
        }
        self.reseed(hub);
        self.hubs[hub].machine = Some(self.restored(hub).expect("a hub's own rows restore it"));
        let (mut leaves, mut origins) = (Vec::new(), Vec::new());
        for wire in self.wires_of(hub) {
            match self.wires[&wire].peer {
                End::Leaf(_) => leaves.push(Connection(wire)),
                End::Hub(_) | End::Daemon(_) => origins.push(Connection(wire)),
            }
        }
        self.hub_input(hub, HubInput::Woken { leaves, origins });
    }
}

fn config(hub: usize, seed: HashSeed) -> HubConfig {
    HubConfig { seed, ..HubConfig::from(format!("hub/{hub}")) }
}
