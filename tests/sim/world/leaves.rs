//! Leaves: dialling, roaming, work, what became of it, and reads that must never go back.

use super::*;
use headwater::standings::StandingsQuery;

/// What a leaf watches of the board.
pub(super) fn watched(leaf: usize) -> (Key, StandingsQuery) {
    let members = ["x", "z", "other0"].map(Bytes::from).to_vec();
    (Key::new("board:{b}").expect("a short name"), StandingsQuery { top: leaf as u32 % 4, members })
}

fn watch(leaf: usize) -> LeafInput {
    let (key, query) = watched(leaf);
    LeafInput::Watch(key, query)
}

impl World {
    pub(super) fn add_leaf(&mut self, index: usize, hubs: usize) {
        let lane = self.lane(Lane::Node(End::Leaf(index)));
        let (client, skew_ms, hub) = (ClientId(lane.u128(..)), lane.i64(-10_000..10_000), lane.usize(..hubs));
        let lifetime = if index.is_multiple_of(2) { Lifetime::Tab } else { Lifetime::Isolate };
        let is_stored = lifetime == Lifetime::Tab;
        let mut machine = if is_stored { Leaf::stored(client, lifetime) } else { Leaf::new(client, lifetime) };
        let mut effects = machine.handle(LeafInput::Subscribe(Workload::keys()), TimestampMs(self.now));
        effects.extend(machine.handle(watch(index), TimestampMs(self.now)));
        self.leaves.push(LeafNode {
            machine,
            rows: is_stored.then(BTreeMap::new),
            wire: None,
            hub,
            skew_ms,
            away_until: 0,
            wake_at: 0,
            reader: Reader::default(),
            kept: Kept::default(),
            unsent: BTreeMap::new(),
            sent: BTreeMap::new(),
            soft: BTreeSet::new(),
            session: None,
            welcomed: None,
            may_refuse: 0,
        });
        self.perform_leaf(index, effects);
        self.after(Lane::Node(End::Leaf(index)), 0, 500, Event::LeafDial(index));
    }

    pub(super) fn leaf_input(&mut self, leaf: usize, input: LeafInput) {
        let now = self.clock(End::Leaf(leaf));
        self.trace.record(self.now, End::Leaf(leaf), &input);
        let effects = self.leaves[leaf].machine.handle(input, now);
        self.perform_leaf(leaf, effects);
    }

    pub(super) fn perform_leaf(&mut self, leaf: usize, effects: Vec<LeafEffect>) {
        let now = self.clock(End::Leaf(leaf));
        let node = &mut self.leaves[leaf];
        for key in node.kept.follow(&node.machine, &effects, &Workload::keys(), now) {
            self.violate(Checker::Reads, format!("leaf {leaf} was not told that {key} reads differently"));
        }
        for effect in effects {
            self.trace.record(self.now, End::Leaf(leaf), &effect);
            match effect {
                LeafEffect::Persist(writes) => self.store_leaf(leaf, writes),
                LeafEffect::Send(message) => {
                    self.note_sent(leaf, &message);
                    let frame = framed(&message);
                    if let Some(wire) = self.leaves[leaf].wire {
                        let is_repeated = matches!(message, LeafToHub::Operations { .. } | LeafToHub::Own { .. });
                        self.transmit(wire, true, frame, Care::repeated_if(is_repeated));
                    }
                }
                LeafEffect::Changed(keys) => self.watch_reads(leaf, &keys),
                LeafEffect::Refused(key, cause) => self.refused(leaf, &key, &cause),
                LeafEffect::Redial => {
                    if let Some(wire) = self.leaves[leaf].wire {
                        self.break_wire(wire);
                    }
                }
                LeafEffect::WakeAt(at) => {
                    let delay = at.since_ms(self.clock(End::Leaf(leaf))).max(0);
                    self.leaves[leaf].wake_at = self.now + delay;
                    self.at(delay, Event::LeafTick(leaf, self.now + delay));
                }
                // There are no other tabs.
                LeafEffect::Share(_) => {}
                LeafEffect::Forward { .. } | LeafEffect::Again(_) => {
                    unreachable!("no leaf here shares its tab's rows")
                }
            }
        }
    }

    fn store_leaf(&mut self, leaf: usize, writes: Vec<LeafRowWrite>) {
        let rows = self.leaves[leaf].rows.as_mut().expect("only a leaf that is stored stores");
        for write in writes {
            match write {
                LeafRowWrite::Put(row, body) => {
                    rows.insert(row.to_bytes(), body);
                }
                LeafRowWrite::Done(no, _) => {
                    rows.remove(&LeafRowId::Pending(no).to_bytes());
                }
                LeafRowWrite::Drop(row) => {
                    rows.remove(&row.to_bytes());
                }
                LeafRowWrite::DropKey(key) => {
                    let prefix = LeafRowId::Key(key).to_bytes();
                    rows.retain(|row, _| !row.starts_with(&prefix));
                }
            }
        }
    }

    /// Closes the tab and opens it again, if it is one: it must come back as it went.
    pub(super) fn reopen(&mut self, leaf: usize) {
        let Some(rows) = &self.leaves[leaf].rows else { return };
        let rows = rows.iter().map(|(row, body)| (LeafRowId::from_bytes(row).expect("a leaf's row"), body.clone()));
        let mut restored = Leaf::restore(rows).expect("a leaf reads its rows");
        for key in Workload::keys() {
            if restored.key(&key) != self.leaves[leaf].machine.key(&key) {
                self.violate(Checker::Rows, format!("leaf {leaf}: {key} is another once the tab is opened again"));
            }
        }
        let mut effects = restored.handle(LeafInput::Subscribe(Workload::keys()), self.clock(End::Leaf(leaf)));
        effects.extend(restored.handle(watch(leaf), self.clock(End::Leaf(leaf))));
        self.leaves[leaf].machine = restored;
        self.leaves[leaf].kept = Kept::default();
        self.perform_leaf(leaf, effects);
    }

    /// Which of the ledger's operations went out under which number.
    fn note_sent(&mut self, leaf: usize, message: &LeafToHub) {
        let node = &mut self.leaves[leaf];
        let (session, first, operations) = match (message, node.welcomed) {
            (LeafToHub::Operations { session, first, operations, .. }, _) => (*session, first, operations),
            (LeafToHub::Own { session: no, first, operations, .. }, Some(welcomed)) => {
                (SessionId { no: *no, ..welcomed }, first, operations)
            }
            _ => return,
        };
        node.session = Some(session);
        for (seq, operation) in (first.0..).zip(operations) {
            if let std::collections::btree_map::Entry::Vacant(place) = node.sent.entry((session, seq))
                && let Some(number) = node.unsent.get_mut(&operation.key).and_then(VecDeque::pop_front)
            {
                place.insert((operation.key.clone(), number));
            }
        }
    }

    /// What a hub says of operations decides what they were promised.
    pub(super) fn leaf_told(&mut self, leaf: usize, message: &HubToLeaf) {
        match message {
            HubToLeaf::Verdicts { session, through, accepted, .. } => {
                for (seq, _, no) in accepted {
                    if let Some((key, number)) = self.leaves[leaf].sent.get(&(*session, seq.0)) {
                        self.landed.push((session.hub, key.slot(), *no, *number));
                    }
                }
                self.leaves[leaf].sent.retain(|(other, seq), _| other != session || *seq > through.0);
            }
            HubToLeaf::Welcome { session, .. } => self.leaves[leaf].welcomed = Some(*session),
            HubToLeaf::Expired(session) => {
                let is_lost = self.hubs.iter().any(|hub| hub.former.contains(&session.hub));
                let node = &mut self.leaves[leaf];
                let (ended, open) = std::mem::take(&mut node.sent).into_iter().partition(|((id, _), _)| id == session);
                node.sent = open;
                let ended: BTreeMap<_, (Key, usize)> = ended;
                node.may_refuse += ended.len();
                if !ended.is_empty() || is_lost {
                    // What is rolled back was seen, and so was what a hub settled and lost.
                    node.reader.forget();
                }
                ended.values().for_each(|(_, number)| self.ledger.orphan(*number));
            }
            _ => {}
        }
    }

    fn refused(&mut self, leaf: usize, key: &Key, cause: &CommandError) {
        if matches!(cause, CommandError::Revoked { .. }) && self.was_revoked(Some(key)) {
            return;
        }
        let may_end = self.has(Kind::Wipe) || self.has(Kind::Away);
        let node = &mut self.leaves[leaf];
        if *cause == CommandError::SessionEnded && may_end && node.may_refuse > 0 {
            node.may_refuse -= 1;
        } else {
            self.violate(Checker::Refusals, format!("leaf {leaf}: an operation on {key} was refused: {cause}"));
        }
    }

    /// Until a reset over open increments of the same leaf is settled, the view shows it as taking away all that its hub's
    /// sum held meanwhile; such reads are let pass.
    fn watch_reads(&mut self, leaf: usize, keys: &[Key]) {
        for key in keys {
            let node = &mut self.leaves[leaf];
            let Some(state) = node.machine.key(key) else { continue };
            // A hub that loses its storage may take with it a revocation that it had shown.
            let is_lost =
                Workload::may_be_revoked(key) && self.scenario.troubles.iter().any(|(kind, _)| *kind == Kind::Wipe);
            let may_go_back = self.scenario.may_go_back(key.as_bytes()) || is_lost;
            let back = node.reader.read(key, state.view(), &self.removals).filter(|_| !may_go_back);
            let is_soft = node.soft.contains(key);
            let is_open = node.unsent.get(key).is_some_and(|open| !open.is_empty())
                || node.sent.values().any(|(other, _)| other == key);
            if !is_open {
                node.soft.remove(key);
            }
            if let Some(back) = back.filter(|_| !is_soft) {
                self.violate(Checker::Reads, format!("leaf {leaf} read {back}"));
            }
        }
    }

    pub(super) fn leaf_dial(&mut self, leaf: usize) {
        let node = &self.leaves[leaf];
        if node.wire.is_some() || node.away_until > self.now {
            return;
        }
        let (hub, peer) = (node.hub % self.hubs.len(), End::Leaf(leaf));
        if self.hubs[hub].machine.is_none() || self.is_parted(peer, hub) {
            self.after(Lane::Node(peer), 100, 3_000, Event::LeafDial(leaf));
            return;
        }
        let wire = self.open_wire(peer, 0, hub);
        self.leaves[leaf].wire = Some(wire);
        self.leaf_input(leaf, LeafInput::Opened);
    }

    pub(super) fn leaf_work(&mut self, leaf: usize, work: &Work) {
        let now = self.clock(End::Leaf(leaf));
        self.note_asked(&work.entry);
        let mut seen = None;
        if let Entry::Reset(key) | Entry::Unscore(key, _) | Entry::Clear(key) = &work.entry {
            let open = |element: headwater::state::Element| {
                element.sum.dots().iter().any(|dot| dot.replica == ReplicaId::LEAF)
            };
            let state = self.leaves[leaf].machine.key(key);
            if state.is_some_and(|state| state.elements().into_iter().any(|(_, element)| open(element))) {
                self.ledger.soften(key);
                self.leaves[leaf].soft.insert(key.clone());
            }
        }
        let number = self.ledger.len();
        // As shells do it: at once, or together with what else is done in the same turn.
        let in_turns = leaf % 2 == 1;
        for (at, command) in work.commands.iter().enumerate() {
            let pending = self.leaves[leaf].machine.status().pending;
            let (reply, effects) = if in_turns {
                (self.leaves[leaf].machine.act(command, now).map(|(reply, _)| reply), None)
            } else {
                let (reply, effects) = self.leaves[leaf].machine.command(command, now);
                (reply, Some(effects))
            };
            match reply {
                Ok(reply) if at + 1 < work.commands.len() => seen = Some(reply),
                Ok(_) => {}
                Err(CommandError::NotHeld) => return,
                Err(CommandError::Revoked { .. }) if self.was_revoked(work.entry.key()) => return,
                Err(error) => self.violate(Checker::Refusals, format!("leaf {leaf}: {work} answers {error}")),
            }
            let made = self.leaves[leaf].machine.status().pending.saturating_sub(pending);
            if let Some(key) = command.get(1).and_then(|name| Key::new(name.clone()).ok()) {
                self.leaves[leaf].unsent.entry(key).or_default().extend(std::iter::repeat_n(number, made));
            }
            self.removals.note(&work.entry, seen.as_ref());
            effects.into_iter().for_each(|effects| self.perform_leaf(leaf, effects));
        }
        if in_turns {
            self.leaf_input(leaf, LeafInput::Flush);
        }
        self.ledger.book(work.entry.clone(), seen.as_ref(), self.now, self.now);
    }
}
