//! What the hub tells the origin of what it holds, so that the two find where they differ and ship only that.
//!
//! The hub keeps nothing of a comparison: it answers from its present state. What it ships speaks only of dots that it
//! lists, of dots that the origin listed and that are dead here, and, of a key that is asked for whole, of its context. So
//! each delta is sound by itself, whatever either side did since digests were compared.

use super::{Connection, Hub, HubEffect, keyspace::KeyNo};
use crate::{
    digest::{Items, KeyDigest, Node, SLOT_BITS, covers, low_bits},
    id::{HashSeed, Key, TimestampMs},
    limits::FRAME_BYTES_TARGET,
    message::{Ask, Cursor, Digest, HubToOrigin},
    slot::Slot,
    state::{Element, ElementId, KeyDelta},
};
use std::collections::{BTreeMap, BTreeSet};

impl Hub {
    /// Answers with the digests that are asked for. Linearithmic in the keys of the slots in question.
    pub(super) fn compare(
        &mut self,
        connection: Connection,
        (round, seed): (u64, HashSeed),
        asks: &[Ask],
        keys: &[Key],
        now: TimestampMs,
    ) {
        let nodes = ascending(asks.iter().map(|ask| ask.node));
        let held = self.held_in(&nodes, seed, now);
        let items: Items = held.into_iter().flat_map(|(_, no, digest)| digest.items(self.keys.view(no))).collect();
        let digests = asks.iter().map(|Ask { node, split }| match split {
            0 => Digest::Whole(items.digest(*node)),
            _ => {
                let mut parts: Vec<u16> = node.parts(*split).map(|part| low_bits(items.digest(part))).collect();
                parts.pop();
                Digest::Parts(parts)
            }
        });
        let digests = digests.collect();
        keys.iter().for_each(|key| self.utter_all(key.slot()));
        let held = keys.iter().filter_map(|key| self.keys.find(key).map(|no| (key, no)));
        let contexts = held.filter(|(_, no)| self.keys.entry(*no).is_held);
        let contexts = contexts.map(|(key, no)| (key.clone(), self.keys.view(no).ctx())).collect();
        let message = HubToOrigin::Digests { round, digests, contexts };
        self.effects.push(HubEffect::ToOrigin(connection, message));
    }

    /// Joins what the origin has where the two differ, and tells what this hub has there.
    pub(super) fn exchange(
        &mut self,
        connection: Connection,
        (round, seed): (u64, HashSeed),
        nodes: Vec<Node>,
        theirs: Vec<(Key, KeyDelta)>,
        now: TimestampMs,
    ) {
        let nodes = ascending(nodes);
        let theirs: BTreeMap<Key, KeyDelta> = theirs.into_iter().collect();
        let mut stamps = theirs.values().filter_map(KeyDelta::latest_hlc);
        if stamps.any(|latest| self.clock.observe(latest, now).is_err()) {
            let nothing = HubToOrigin::Exchanged { round, last: true, cursors: Vec::new(), keys: Vec::new() };
            self.effects.push(HubEffect::ToOrigin(connection, nothing));
            let own = self.held_in(&nodes, seed, now).into_iter().map(|(key, ..)| key.slot());
            let slots: BTreeSet<Slot> = own.chain(theirs.keys().map(Key::slot)).collect();
            for slot in slots {
                self.refuse(slot, now);
                self.doubted.insert(slot);
                self.slots.of(slot).is_doubted = true;
                self.slots.dirty(slot);
            }
            return;
        }
        for (key, delta) in &theirs {
            let held = self.keys.find(key).filter(|no| self.keys.entry(*no).is_held);
            if let Some(no) = held.filter(|no| !self.keys.is_left_over(*no, delta.header.deadline, now)) {
                self.join(no, delta);
            }
        }
        let (mut keys, mut bytes) = (Vec::new(), 0_usize);
        for (key, no, digest) in self.held_in(&nodes, seed, now) {
            for delta in self.exchanged(no, digest, &nodes, theirs.get(&key)) {
                bytes = bytes.saturating_add(key.as_bytes().len()).saturating_add(delta.approximate_bytes());
                keys.push((key.clone(), delta));
                if bytes > FRAME_BYTES_TARGET {
                    bytes = 0;
                    self.tell_exchanged(connection, round, false, std::mem::take(&mut keys));
                }
            }
        }
        self.tell_exchanged(connection, round, true, keys);
    }

    /// The origin has what this hub holds of these slots, but for those in which the hub could not take what the origin has.
    pub(super) fn compared(&mut self, slots: &[Slot]) {
        for slot in slots.iter().filter(|slot| !self.doubted.contains(*slot)) {
            if let Some(state) = self.slots.at_mut(*slot) {
                state.is_compared = true;
                if std::mem::take(&mut state.is_doubted) {
                    self.slots.dirty(*slot);
                }
                self.slots.list(*slot);
            }
        }
    }

    fn tell_exchanged(&mut self, connection: Connection, round: u64, last: bool, keys: Vec<(Key, KeyDelta)>) {
        let slots: BTreeSet<Slot> = keys.iter().map(|(key, _)| key.slot()).collect();
        slots.iter().for_each(|slot| self.utter_all(*slot));
        let cursor = |slot: Slot| self.slots.at(slot).map_or_else(Cursor::default, |state| state.cursor);
        let cursors = slots.into_iter().map(|slot| (slot, cursor(slot))).collect();
        let message = HubToOrigin::Exchanged { round, last, cursors, keys };
        self.effects.push(HubEffect::ToOrigin(connection, message));
    }

    /// Contexts tell of numbers that were not sent yet.
    fn utter_all(&mut self, slot: Slot) {
        if let Some(state) = self.slots.at_mut(slot) {
            state.utter(state.latest);
        }
    }

    /// The held keys that have a part in the nodes, in order. A key that has ended is left to end at both sides.
    fn held_in(&self, nodes: &[Node], seed: HashSeed, now: TimestampMs) -> Vec<(Key, KeyNo, KeyDigest)> {
        let near = self.slots.iter().filter(|(slot, _)| touches(nodes, Node::block(*slot, SLOT_BITS)));
        let numbers = near.flat_map(|(slot, state)| state.held_keys().into_iter().map(move |no| (slot, no)));
        let mut found: Vec<_> = numbers
            .filter(|(slot, no)| self.keys.is_held_in(*no, *slot))
            .filter_map(|(_, no)| {
                let key = self.keys.key(no);
                let digest = KeyDigest::new(seed, &key);
                let is_there = touches(nodes, digest.node()) && !self.keys.view(no).deadline().is_past(now);
                is_there.then_some((key, no, digest))
            })
            .collect();
        found.sort_unstable_by(|(a, ..), (b, ..)| a.cmp(b));
        found
    }

    /// What this hub has of a key in the nodes, and of the elements that the origin listed.
    fn exchanged(&self, no: KeyNo, digest: KeyDigest, nodes: &[Node], theirs: Option<&KeyDelta>) -> Vec<KeyDelta> {
        let view = self.keys.view(no);
        let node = digest.node();
        let is_whole = nodes.iter().any(|asked| asked.first() <= node.first() && node.last() <= asked.last());
        let mut elements: BTreeMap<ElementId, Element> =
            view.elements().into_iter().filter(|(id, _)| is_whole || covers(nodes, digest.place(id))).collect();
        let listed = || theirs.into_iter().flat_map(|delta| &delta.elements);
        for (id, _) in listed() {
            elements.entry(id.clone()).or_insert_with(|| view.element(id).unwrap_or_else(|| Element::empty(id.kind())));
        }
        if elements.is_empty() && !is_whole && !covers(nodes, node.first()) {
            return Vec::new();
        }
        let mut header = view.header();
        let known = std::mem::take(&mut header.ctx);
        // The dots that the origin listed and that are dead here.
        let mut dead: BTreeMap<&ElementId, Vec<_>> = BTreeMap::new();
        for (id, element) in listed() {
            dead.insert(id, element.base.dots().filter(|dot| known.contains(*dot)).collect());
        }
        let mut parts = Vec::new();
        let mut part = KeyDelta { header: header.clone(), ..KeyDelta::default() };
        let mut bytes = 0_usize;
        for (id, element) in elements {
            if bytes > FRAME_BYTES_TARGET {
                parts.push(std::mem::replace(&mut part, KeyDelta { header: header.clone(), ..KeyDelta::default() }));
                bytes = 0;
            }
            bytes = bytes.saturating_add(element.approximate_bytes(&id));
            let dots = element.base.dots().chain(dead.remove(&id).into_iter().flatten());
            for dot in dots {
                part.header.ctx.insert(dot);
            }
            part.elements.push((id, element));
        }
        if is_whole || fault!(ExchangeClaimsAll) {
            // All of the key has been listed by then.
            part.header.ctx = known;
        }
        parts.push(part);
        for part in &mut parts {
            part.header.ctx.union(&header.wipe);
        }
        parts
    }
}

fn ascending(nodes: impl IntoIterator<Item = Node>) -> Vec<Node> {
    let mut nodes: Vec<Node> = nodes.into_iter().collect();
    nodes.sort_unstable_by_key(|node| node.first());
    nodes
}

/// Whether any of the nodes, ascending and apart, and this one have positions in common.
fn touches(nodes: &[Node], node: Node) -> bool {
    let after = nodes.partition_point(|other| other.first() <= node.last());
    after.checked_sub(1).and_then(|before| nodes.get(before)).is_some_and(|other| other.last() >= node.first())
}
