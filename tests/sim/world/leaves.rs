//! Leaves: dialling, roaming, work, and reads that must never go back.

use super::*;

impl World {
    pub(super) fn leaf_input(&mut self, leaf: usize, input: LeafInput) {
        let now = TimestampMs(self.now + self.leaves[leaf].skew_ms);
        let effects = self.leaves[leaf].machine.handle(input, now);
        self.perform_leaf(leaf, effects);
    }

    pub(super) fn perform_leaf(&mut self, leaf: usize, effects: Vec<LeafEffect>) {
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
    pub(super) fn watch_reads(&mut self, leaf: usize, keys: &[Key]) {
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

    pub(super) fn leaf_dial(&mut self, leaf: usize) {
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

    pub(super) fn leaf_work(&mut self, leaf: usize) {
        let Some((commands, entry)) = self.workload.at_leaf(&mut self.rng, self.now) else { return };
        let now = TimestampMs(self.now + self.leaves[leaf].skew_ms);
        let mut seen = None;
        let mut is_refused = false;
        if let Entry::Reset(key) | Entry::Unscore(key, _) | Entry::Clear(key) = &entry {
            let state = self.leaves[leaf].machine.key(key);
            let open = |element: &headwater::state::Element| {
                element.sum.dots().iter().any(|dot| dot.replica == ReplicaId::LEAF)
            };
            if state.is_some_and(|state| state.elements().iter().any(|(_, element)| open(element))) {
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
}
