//! Finding what the store or a hub lost: the origin compares digests with a hub, block of slots by block, narrows down to
//! where they differ, and exchanges only that.
//!
//! A slot is compared when its history began anew, and where a hub says that the store lost what was called stable; and all
//! that hubs hold is compared by turns at a slow pace, since a server may lose a single key and nobody be told. Each
//! comparison reads the companions anew from the store.
//!
//! Of each hub one block is compared at a time, and one message of a comparison is under way. Digests of parts are short,
//! so a difference may be missed by chance: a block in which anything was exchanged is compared again, under another seed
//! and from its own digest of 64 bits, until that is equal or [`ATTEMPTS_MAX`] is reached.
//!
//! What a hub ships counts only if it stood then where this origin had brought it: it has seen whatever was committed of the
//! keys that it holds, so that a key which the store lost comes back no older than it was.

use super::{HeldSlot, Link, Origin, OriginEffect, slot::Busy};
use crate::{
    digest::{Item, Items, KEY_BITS, KeyDigest, Node, SLOT_BITS, covers, low_bits},
    id::{Dot, HashSeed, Key, No, ReplicaId, TimestampMs},
    limits::{DIGEST_SPLIT_MAX, DIGESTS_MAX, FRAME_BYTES_TARGET, KEYS_CHUNK, NODES_MAX},
    message::{Ask, Cursor, Digest, OriginToHub, Refusal, RefusalCause, SlotDelta},
    slot::Slot,
    state::{Ctx, Element, ElementId, Header, KeyDelta, KeyView},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{BuildHasher, Hasher},
};

/// How many items a part has, on average, when a node is first split.
const ITEMS_PER_PART: usize = 32;

/// An element or small key that stands alone in a node that differs is split off once, so that it travels only if it is what
/// differs.
const SINGLE_SPLIT: u8 = 4;

/// A key of so few items is exchanged whole.
const ITEMS_WHOLE_MAX: usize = 8;

/// How often a block is compared in a row: where it is written to all the time, it may never be found equal.
const ATTEMPTS_MAX: u8 = 4;

/// How many keys a block has at most, unless it is one slot, and how many are looked at in turn in the background.
const BLOCK_KEYS: usize = 4096;

/// What is compared with a hub.
#[derive(Debug, Default)]
pub(super) struct Comparison {
    /// Slots to compare.
    queue: BTreeSet<Slot>,
    /// Slots of which the hub waits to hear that they were compared.
    lost: BTreeSet<Slot>,
    /// Those of these that were compared in this history, and wait for what the hub shipped to be committed.
    mending: BTreeMap<Slot, Option<ReplicaId>>,
    block: Option<Block>,
    /// The number of the last message that asked for something.
    round: u64,
    /// The last slot that was compared in the background, and when to go on from there.
    last_audit: Option<Slot>,
    pub(super) audit_at: Option<TimestampMs>,
}

/// The block under way.
#[derive(Debug)]
struct Block {
    node: Node,
    slots: BTreeSet<Slot>,
    /// Slots of which the companions are not read yet.
    waiting: BTreeSet<Slot>,
    /// Which history of each slot is compared.
    histories: BTreeMap<Slot, Option<ReplicaId>>,
    seed: HashSeed,
    attempts: u8,
    found: Vec<Item>,
    items: Items,
    /// What was asked for, and the digests of these nodes at the hub as far as they are known.
    asked: Vec<(Ask, u64)>,
    /// What is to be asked for next.
    next: Vec<(Ask, u64)>,
    /// Where the two differ.
    differ: Vec<Node>,
    /// The exchange under way.
    exchange: Option<Exchange>,
    is_mended: bool,
    /// Slots of which something was left out of the last exchange, since it was about to change.
    passed_over: BTreeSet<Slot>,
    /// Keys with many intervals, since deltas spoke of single dots. Once the digests are equal the hub's context takes
    /// their place.
    in_parts: BTreeSet<Key>,
}

/// What the hub was asked for.
#[derive(Debug)]
struct Exchange {
    /// Ascending and apart.
    nodes: Vec<Node>,
    /// Where the hub stood in the slots that count.
    cursors: BTreeMap<Slot, Cursor>,
}

impl Comparison {
    /// Nothing yet; in the background from some time on.
    pub(super) fn starting(audit_at: TimestampMs) -> Self {
        Self { audit_at: Some(audit_at), ..Self::default() }
    }

    /// Has a slot compared, and the hub told that it was; once, whoever asks, since what the hub is told of is compared in the
    /// history that there is then. Where its companions are yet to be read for the block under way, that will do.
    pub(super) fn ask(&mut self, slot: Slot) {
        let is_read = self.block.as_ref().is_none_or(|block| !block.waiting.contains(&slot));
        if self.lost.insert(slot) && is_read {
            self.queue.insert(slot);
        }
    }
}

impl Block {
    /// What a hub shipped of a slot; it has no number in the marker. It leaves out what is equal here, so it counts in the
    /// history alone that was compared.
    fn mend(&self, slot: Slot, keys: Vec<(Key, KeyDelta)>) -> SlotDelta {
        let history = self.histories.get(&slot).copied().flatten();
        SlotDelta { slot, history, from: No::ZERO, to: No::ZERO, keys }
    }

    /// Files a node in which the hub has another digest.
    fn judge(&mut self, node: Node, known: u64, split_before: u8) {
        let own = self.items.of(node);
        let (Some(first), Some(last)) = (own.first(), own.last()) else { return self.differ.push(node) };
        let is_one_key = first.at >> KEY_BITS == last.at >> KEY_BITS;
        let is_small = node.bits() <= KEY_BITS && is_one_key && own.len() <= ITEMS_WHOLE_MAX;
        let is_alone = is_small || own.len() == 1;
        let is_apart = is_alone && split_before == SINGLE_SPLIT || is_small && node.bits() == KEY_BITS;
        let wanted = if is_alone {
            SINGLE_SPLIT
        } else if node.bits() < KEY_BITS && is_one_key {
            DIGEST_SPLIT_MAX
        } else {
            let parts = own.len().div_ceil(ITEMS_PER_PART).max(1).ilog2();
            u8::try_from(parts).unwrap_or(DIGEST_SPLIT_MAX).clamp(2, DIGEST_SPLIT_MAX)
        };
        let end = if node.bits() < KEY_BITS { KEY_BITS } else { 64 };
        let split = wanted.min(end.saturating_sub(node.bits()));
        if is_apart || split == 0 {
            self.differ.push(node);
        } else {
            self.next.push((Ask { node, split }, known));
        }
    }

    /// Takes the hub's answer; says whether it answers what was asked.
    fn take(&mut self, digests: &[Digest]) -> bool {
        let asked = std::mem::take(&mut self.asked);
        if asked.len() != digests.len() {
            return false;
        }
        for ((Ask { node, split }, known), digest) in asked.into_iter().zip(digests) {
            match digest {
                Digest::Whole(sum) if split == 0 => {
                    if *sum != self.items.digest(node) && !fault!(DifferencesIgnored) {
                        self.judge(node, *sum, 0);
                    }
                }
                Digest::Parts(parts) if split > 0 && node.parts(split).count() == parts.len().saturating_add(1) => {
                    let given = parts.iter().fold(0_u16, |sum, part| sum.wrapping_add(*part));
                    let last = low_bits(known).wrapping_sub(given);
                    for (part, theirs) in node.parts(split).zip(parts.iter().copied().chain([last])) {
                        if theirs != low_bits(self.items.digest(part)) {
                            self.judge(part, theirs.into(), split);
                        }
                    }
                }
                Digest::Whole(_) | Digest::Parts(_) => return false,
            }
        }
        true
    }
}

impl Origin {
    /// A hub asks for these slots, of which the store lost what was stable or whose history began anew.
    pub(super) fn compare_lost(&mut self, link: Link, slots: Vec<Slot>) {
        let Some(state) = self.links.get_mut(&link) else { return };
        slots.into_iter().for_each(|slot| state.comparison.ask(slot));
    }

    /// Begins with the next block of each hub that has one to compare and none under way; says whether there was any.
    pub(super) fn begin_comparisons(&mut self) -> bool {
        let mut seeds = self.seeds;
        let mut is_any = false;
        for (link, state) in &mut self.links {
            let comparison = &mut state.comparison;
            let Some(first) = comparison.queue.first().copied().filter(|_| comparison.block.is_none()) else {
                continue;
            };
            let node = block_around(first, &state.held);
            let is_in = |slot: &Slot| Node::block(*slot, node.bits()) == node;
            let mut slots: BTreeSet<Slot> = comparison.queue.iter().copied().filter(is_in).collect();
            comparison.queue.retain(|slot| !slots.contains(slot));
            slots.extend(state.held.keys().copied().filter(is_in));
            seeds = seeds.wrapping_add(1);
            for slot in &slots {
                self.slots.entry(*slot).or_default().audits.insert(*link);
                self.ready.insert(*slot);
            }
            comparison.block = Some(Block {
                node,
                waiting: slots.clone(),
                slots,
                seed: drawn(self.config.seed, seeds),
                attempts: 1,
                found: Vec::new(),
                items: Items::default(),
                asked: Vec::new(),
                next: Vec::new(),
                differ: Vec::new(),
                exchange: None,
                is_mended: false,
                passed_over: BTreeSet::new(),
                in_parts: BTreeSet::new(),
                histories: BTreeMap::new(),
            });
            is_any = true;
        }
        self.seeds = seeds;
        is_any
    }

    /// Has what hubs hold compared by turns.
    pub(super) fn audit(&mut self, now: TimestampMs) {
        for state in self.links.values_mut().filter(|state| state.hub.is_some()) {
            let comparison = &mut state.comparison;
            let is_due = comparison.audit_at.is_some_and(|at| at <= now);
            if !is_due || comparison.block.is_some() || !comparison.queue.is_empty() {
                continue;
            }
            comparison.audit_at = Some(now.plus_ms(self.config.audit_ms));
            let is_after = |slot: &Slot| comparison.last_audit.is_none_or(|last| *slot > last);
            if !state.held.keys().any(is_after) {
                comparison.last_audit = None;
            }
            let start = comparison.last_audit;
            let mut keys = 0_usize;
            for (slot, held) in state.held.iter().filter(|(slot, _)| start.is_none_or(|last| **slot > last)) {
                if keys >= BLOCK_KEYS {
                    break;
                }
                keys = keys.saturating_add(held.keys.len());
                comparison.queue.insert(*slot);
                comparison.last_audit = Some(*slot);
            }
        }
    }

    /// The companions of a slot were read for a comparison.
    pub(super) fn snapshot(&mut self, link: Link, slot: Slot, now: TimestampMs) {
        let (Some(state), Some(work)) = (self.links.get_mut(&link), self.slots.get(&slot)) else { return };
        let Some(block) = &mut state.comparison.block else { return };
        if !block.waiting.remove(&slot) {
            return;
        }
        block.histories.insert(slot, work.marker.as_ref().map(|marker| marker.incarnation));
        for key in state.held.get(&slot).into_iter().flat_map(|held| &held.keys) {
            let cached = work.cache.get(key).filter(|cached| !cached.key.state.deadline().is_past(now));
            let Some(view) = cached.map(|cached| cached.key.state.view()) else { continue };
            block.found.extend(KeyDigest::new(block.seed, key).items(view));
            let ctx = view.ctx();
            if ctx.interval_count() > ctx.replicas().count() {
                // As where a lost key was written to before it was missed.
                block.in_parts.insert(key.clone());
            }
        }
        if block.waiting.is_empty() {
            block.items = std::mem::take(&mut block.found).into_iter().collect();
            block.next = vec![(Ask { node: block.node, split: 0 }, 0)];
            self.go_on_comparing(link);
        }
    }

    pub(super) fn digests(&mut self, link: Link, round: u64, digests: &[Digest], contexts: Vec<(Key, Ctx)>) {
        let Some(state) = self.links.get_mut(&link).filter(|state| state.comparison.round == round) else { return };
        let Some(block) = state.comparison.block.as_mut().filter(|block| !block.asked.is_empty()) else { return };
        if block.take(digests) {
            let is_equal = block.next.is_empty() && block.differ.is_empty();
            for (key, ctx) in contexts.into_iter().filter(|(key, _)| is_equal && block.slots.contains(&key.slot())) {
                let header = Header { ctx, ..Header::default() };
                let part = block.mend(key.slot(), vec![(key, KeyDelta { header, ..KeyDelta::default() })]);
                self.ready.insert(part.slot);
                self.slots.entry(part.slot).or_default().mends.push((link, part));
            }
            self.go_on_comparing(link);
        } else {
            let reason = "the digests are not those that were asked for";
            self.refuse(link, Refusal::new(RefusalCause::Unexpected, reason));
        }
    }

    /// What a hub has where the two differ: joined with the next commit of the slot.
    pub(super) fn exchanged(
        &mut self,
        link: Link,
        (round, is_last): (u64, bool),
        cursors: &[(Slot, Cursor)],
        keys: Vec<(Key, KeyDelta)>,
        now: TimestampMs,
    ) {
        let latest = keys.iter().filter_map(|(_, delta)| delta.latest_hlc()).max();
        if let Some(latest) = latest
            && let Err(error) = self.clock.observe(latest, now)
        {
            self.refuse(link, Refusal::new(RefusalCause::Clock, error.to_string()));
            return;
        }
        let Some(state) = self.links.get_mut(&link).filter(|state| state.comparison.round == round) else { return };
        let Some(block) = &mut state.comparison.block else { return };
        let Some(Exchange { nodes, cursors: stood }) = &block.exchange else { return };
        let stands = |slot: Slot| cursors.iter().find(|(other, _)| *other == slot).map(|(_, cursor)| *cursor);
        let has_seen = |slot: Slot| match (stood.get(&slot), stands(slot)) {
            (Some(stood), Some(now)) => stood.incarnation == now.incarnation && stood.seq <= now.seq,
            _ => false,
        };
        let mut parts: BTreeMap<Slot, Vec<(Key, KeyDelta)>> = BTreeMap::new();
        for (key, delta) in keys {
            let slot = key.slot();
            let is_held = state.held.get(&slot).is_some_and(|held| held.keys.contains(&key));
            if is_held && has_seen(slot) {
                let own = KeyDigest::new(block.seed, &key).node();
                if !nodes.iter().any(|node| node.first() <= own.first() && own.last() <= node.last()) {
                    block.in_parts.insert(key.clone());
                }
                let known = self.slots.get(&slot).and_then(|work| work.cache.get(&key));
                let dead = known.map(|cached| dead_in(&delta, cached.key.state.view())).unwrap_or_default();
                if let Some(held) = state.held.get_mut(&slot).filter(|_| !dead.is_empty()) {
                    held.owed.insert(key.clone());
                    held.relisted.entry(key.clone()).or_default().extend(dead);
                }
                parts.entry(slot).or_default().push((key, delta));
            }
        }
        block.is_mended = true;
        if is_last {
            block.exchange = None;
        }
        for (slot, keys) in parts {
            self.slots.entry(slot).or_default().mends.push((link, block.mend(slot, keys)));
            self.ready.insert(slot);
        }
        if is_last {
            self.go_on_comparing(link);
        }
    }

    /// Asks for more digests, or exchanges where they differ, or compares again, or ends the block.
    fn go_on_comparing(&mut self, link: Link) {
        let Some(state) = self.links.get_mut(&link) else { return };
        let comparison = &mut state.comparison;
        let Some(block) = &mut comparison.block else { return };
        if !block.next.is_empty() {
            block.next.sort_by_key(|(ask, _)| (ask.node.bits(), ask.split, ask.node.index()));
            let (mut left, mut count) = (DIGESTS_MAX, 0_usize);
            for (ask, _) in block.next.iter().take(NODES_MAX) {
                let Some(rest) = left.checked_sub(parts_of(*ask)) else { break };
                left = rest;
                count = count.saturating_add(1);
            }
            block.asked = block.next.drain(..count).collect();
            comparison.round = comparison.round.wrapping_add(1);
            let asks = block.asked.iter().map(|(ask, _)| *ask).collect();
            // Asked for once, with the block's own digest.
            let keys = std::mem::take(&mut block.in_parts).into_iter().take(KEYS_CHUNK).collect();
            let message = OriginToHub::Compare { round: comparison.round, seed: block.seed, asks, keys };
            self.effects.push(OriginEffect::ToHub(link, message));
        } else if !block.differ.is_empty() {
            self.exchange(link);
        } else if block.is_mended && block.attempts < ATTEMPTS_MAX {
            self.seeds = self.seeds.wrapping_add(1);
            block.attempts = block.attempts.saturating_add(1);
            block.is_mended = false;
            block.passed_over.clear();
            block.seed = drawn(self.config.seed, self.seeds);
            block.waiting = block.slots.clone();
            for slot in &block.slots {
                self.slots.entry(*slot).or_default().audits.insert(link);
                self.ready.insert(*slot);
            }
        } else {
            self.end_block(link);
        }
    }

    /// Sends what this side has where the two differ.
    fn exchange(&mut self, link: Link) {
        let Some(state) = self.links.get_mut(&link) else { return };
        let comparison = &mut state.comparison;
        let Some(block) = &mut comparison.block else { return };
        let mut nodes = std::mem::take(&mut block.differ);
        nodes.sort_unstable_by_key(|node| node.first());
        let mut cursors = BTreeMap::new();
        let mut listed: BTreeMap<u64, Vec<(&Key, ElementId, KeyView<'_>)>> = BTreeMap::new();
        for slot in &block.slots {
            let (Some(held), Some(work)) = (state.held.get(slot), self.slots.get(slot)) else { continue };
            if work.is_attaching(link) || !held.owed.is_empty() {
                // The hub is about to hear more: what it ships of the slot is passed over, and compared another time.
                block.passed_over.insert(*slot);
                continue;
            }
            cursors.insert(*slot, held.cursor);
            for key in &held.keys {
                if work.is_unsettled(key) && !fault!(UncommittedExchanged) {
                    block.passed_over.insert(*slot);
                    continue;
                }
                let digest = KeyDigest::new(block.seed, key);
                let mut own = block.items.of(digest.node()).iter();
                let Some(cached) = work.cache.get(key).filter(|_| own.any(|item| covers(&nodes, item.at))) else {
                    continue;
                };
                let view = cached.key.state.view();
                let header = (digest.node().first(), ElementId::String);
                let elements = view.elements().into_iter().map(|(id, _)| (digest.place(&id), id));
                for (at, id) in elements.chain([header]).filter(|(at, _)| covers(&nodes, *at)) {
                    listed.entry(at).or_default().push((key, id, view));
                }
            }
        }
        let (mut deltas, mut bytes, mut count) = (BTreeMap::<Key, KeyDelta>::new(), 0_usize, 0_usize);
        for node in nodes.iter().take(NODES_MAX) {
            if bytes > FRAME_BYTES_TARGET {
                break;
            }
            for (key, id, view) in listed.range(node.first()..=node.last()).flat_map(|(_, listed)| listed) {
                let delta = deltas.entry((*key).clone()).or_insert_with(|| view.to_delta(Ctx::new(), &[]));
                // The header's place has no element but the string, which has a place of its own too.
                let is_there = *id == ElementId::String && !delta.elements.is_empty();
                let Some(element) = view.element(id).filter(|_| !is_there) else { continue };
                bytes = bytes.saturating_add(element.approximate_bytes(id));
                for dot in element.base.dots() {
                    delta.header.ctx.insert(dot);
                }
                delta.elements.push((id.clone(), element));
            }
            count = count.saturating_add(1);
        }
        block.differ = nodes.split_off(count);
        let mut keys: Vec<(Key, KeyDelta)> = deltas.into_iter().collect();
        for (_, delta) in &mut keys {
            delta.header.ctx.union(&delta.header.wipe);
            delta.elements.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        }
        block.exchange = Some(Exchange { nodes: nodes.clone(), cursors });
        // Those of as many bits stand together in the message.
        nodes.sort_unstable();
        comparison.round = comparison.round.wrapping_add(1);
        let message = OriginToHub::Exchange { round: comparison.round, seed: block.seed, nodes, keys };
        self.effects.push(OriginEffect::ToHub(link, message));
    }

    /// Tells hubs that slots were compared, once what they shipped of these is in the store: from then on they leave out of
    /// what they send whatever is stable.
    pub(super) fn tell_compared(&mut self) {
        for (link, state) in &mut self.links {
            let comparison = &mut state.comparison;
            let is_mended = |slot: &Slot| self.slots.get(slot).is_none_or(|work| !work.has_mends_of(*link));
            let mended: Vec<(Slot, Option<ReplicaId>)> =
                comparison.mending.extract_if(.., |slot, _| is_mended(slot)).collect();
            let present = |slot: &Slot| self.slots.get(slot)?.marker.as_ref().map(|marker| marker.incarnation);
            let (told, again): (Vec<_>, Vec<_>) = mended.into_iter().partition(|(slot, of)| present(slot) == *of);
            comparison.queue.extend(again.into_iter().map(|(slot, _)| slot));
            let told: Vec<Slot> = told.into_iter().map(|(slot, _)| slot).collect();
            comparison.lost.retain(|slot| !told.contains(slot));
            if !told.is_empty() {
                self.effects.push(OriginEffect::ToHub(*link, OriginToHub::Compared(told)));
            }
        }
    }

    fn end_block(&mut self, link: Link) {
        let Some(state) = self.links.get_mut(&link) else { return };
        let Some(block) = state.comparison.block.take() else { return };
        let history = |slot: Slot| self.slots.get(&slot)?.marker.as_ref().map(|marker| marker.incarnation);
        let lost: Vec<Slot> = block.slots.intersection(&state.comparison.lost).copied().collect();
        // What was passed over, or compared before the store lost it again, is compared anew before the hub is told.
        let is_present = |slot: &Slot| block.histories.get(slot).is_some_and(|compared| *compared == history(*slot));
        let is_done = |slot: &Slot| is_present(slot) && !block.passed_over.contains(slot);
        let (told, again): (Vec<Slot>, Vec<Slot>) = lost.into_iter().partition(is_done);
        state.comparison.mending.extend(told.into_iter().map(|slot| (slot, history(slot))));
        state.comparison.queue.extend(again);
        for slot in &block.slots {
            if let Some(work) = self.slots.get_mut(slot).filter(|work| work.busy == Busy::Idle && !work.has_work()) {
                // What nobody but the comparison asked for need not stay in memory.
                // Those that end are found there when they have.
                let cache = &mut work.cache;
                std::mem::take(&mut work.read_to_compare).into_iter().for_each(|key| {
                    if cache.get(&key).is_some_and(|cached| cached.key.state.deadline().at().is_none()) {
                        cache.remove(&key);
                    }
                });
            }
        }
    }
}

/// The largest block around a slot in which the hub holds no more keys than are compared at once.
fn block_around(slot: Slot, held: &BTreeMap<Slot, HeldSlot>) -> Node {
    let mut blocks = (0..SLOT_BITS).map(|bits| Node::block(slot, bits));
    let fits = |node: &Node| {
        let inside = held.iter().filter(|(slot, _)| Node::block(**slot, node.bits()) == *node);
        inside.fold(0, |keys: usize, (_, held)| keys.saturating_add(held.keys.len())) <= BLOCK_KEYS
    };
    blocks.find(fits).unwrap_or_else(|| Node::block(slot, SLOT_BITS))
}

/// The elements that a hub shipped and in which something lives that is known to be dead here.
fn dead_in(shipped: &KeyDelta, own: KeyView<'_>) -> Vec<ElementId> {
    let ctx = own.ctx();
    let is_dead = |(id, theirs): &&(ElementId, Element)| {
        let known: Vec<Dot> = theirs.base.dots().filter(|dot| ctx.contains(*dot)).collect();
        let living: Vec<Dot> = own.element(id).iter().flat_map(|element| element.base.dots()).collect();
        known.iter().any(|dot| !living.contains(dot))
    };
    shipped.elements.iter().filter(is_dead).map(|(id, _)| id.clone()).collect()
}

/// How many digests answer it.
fn parts_of(ask: Ask) -> usize {
    1_usize.checked_shl(ask.split.into()).unwrap_or(usize::MAX)
}

/// One of many seeds that nobody outside can tell.
fn drawn(secret: HashSeed, number: u64) -> HashSeed {
    let half = |which: u8| {
        let mut hasher = secret.build_hasher();
        hasher.write(&number.to_le_bytes());
        hasher.write(&[which]);
        hasher.finish()
    };
    HashSeed(half(0), half(1))
}
