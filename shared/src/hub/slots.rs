//! What a hub knows of each slot: how far its operations there are acknowledged, and where it stands in the origin's history.

use super::keyspace::{GROUP, KeyNo, Standing};
use crate::{
    id::{No, ReplicaId},
    message::Cursor,
    slot::Slot,
    wire::{Invalid, reader::Reader, writer::Writer},
};
use std::{collections::BTreeSet, ops::Bound};

/// What the byte of flags in a slot's row says.
const HAS_CURSOR: u8 = 1;
const IS_DOUBTED: u8 = 2;

/// A slot as the hub knows it. The first four outlive the machine in the slot's row; the rest is rebuilt.
#[derive(Debug, Default)]
pub(super) struct SlotState {
    /// All of the hub's operations up to here are in Redis.
    pub(super) committed: No,
    /// All up to here survive the loss that Redis may suffer.
    pub(super) stable: No,
    /// Where the hub stands in the origin's history of the slot.
    pub(super) cursor: Cursor,
    /// The slot's history began anew, and what is held was not compared since: it may be what the store lost.
    pub(super) is_doubted: bool,
    /// The last number that the hub used in the slot.
    pub(super) latest: No,
    /// All up to here is on its way; never less than `committed`.
    pub(super) sent: No,
    /// Nobody else can have seen a number after this; unlike `sent` it never goes back. All that was stored counts as seen.
    pub(super) offered: No,
    /// The highest number of the hub's own in the slot that the origin can have heard of, or that was stored. If the origin
    /// knows of a higher one, this storage is an old copy.
    pub(super) uttered: No,
    /// The keys with changes that are not known stable, each once, in the order in which they became so.
    pub(super) unstable: Vec<KeyNo>,
    /// Those of them that changed since the slot was sent, perhaps twice, if that is known.
    changed: Vec<KeyNo>,
    knows_changed: bool,
    /// Those that are on their way.
    under_way: Vec<KeyNo>,
    /// Whether the origin, which lost what was stable, has what this hub holds again; as long as the connection lasts.
    pub(super) is_compared: bool,
    /// How many keys of the slot are held.
    held: usize,
    /// Their numbers, and some that keys had which are held no more; perhaps twice.
    held_keys: Vec<KeyNo>,
    /// Whether the slot stands in the list of those with something to send.
    is_listed: bool,
    /// Whether the slot's row is to be written before the present input is done with.
    is_dirty: bool,
}

impl SlotState {
    /// Something of each part, read so that all are near.
    pub(super) fn skim(&self) -> u64 {
        self.committed.0 ^ self.latest.0 ^ self.uttered.0 ^ self.unstable.len() as u64 ^ u64::from(self.is_dirty)
    }

    /// Whether the origin lost what was stable: what is held is compared then, and the other keys are sent whole. It follows
    /// from what is stored, so that a hub which restarts before it made good the loss still does.
    pub(super) fn is_lost(&self) -> bool {
        self.committed < self.stable
    }

    /// Whether nothing is sent of the slot until the origin has compared what it lost. What acknowledges anything before then
    /// is from before the loss.
    pub(super) fn awaits_comparison(&self) -> bool {
        self.is_lost() && !self.is_compared && !fault!(LostNotCompared)
    }

    /// Whether any key of the slot is held.
    pub(super) fn holds_any(&self) -> bool {
        self.held > 0
    }

    /// The numbers of the keys that are held, each once, and perhaps some that are held no more. Linearithmic.
    pub(super) fn held_keys(&self) -> Vec<KeyNo> {
        let mut keys = self.held_keys.clone();
        keys.sort_unstable();
        keys.dedup();
        keys
    }

    /// The slot's row: how far its operations are committed and stable, and the cursor.
    pub(super) fn write(&self, w: &mut Writer) {
        w.varint(self.committed.0);
        w.varint(self.stable.0);
        let has_cursor = if self.cursor.incarnation.is_some() { HAS_CURSOR } else { 0 };
        w.u8(has_cursor | if self.is_doubted { IS_DOUBTED } else { 0 });
        w.varint(self.cursor.incarnation.map_or(0, ReplicaId::to_bits));
        w.varint(self.cursor.seq);
    }

    /// Puts back what [`SlotState::write`] wrote.
    pub(super) fn restore(&mut self, r: &mut Reader<'_>) -> Result<(), Invalid> {
        self.committed = No(r.varint()?);
        self.stable = No(r.varint()?);
        let flags = r.u8()?;
        if flags & !(HAS_CURSOR | IS_DOUBTED) != 0 {
            return Err(Invalid::Tag("cursor"));
        }
        self.is_doubted = flags & IS_DOUBTED != 0;
        let incarnation = Some(ReplicaId::from_bits(r.varint()?)).filter(|_| flags & HAS_CURSOR != 0);
        self.cursor = Cursor { incarnation, seq: r.varint()? };
        self.sent = self.committed;
        self.uttered = self.committed.max(self.stable);
        Ok(())
    }

    /// The keys that may have changed after `committed`.
    fn changed(&self) -> &[KeyNo] {
        if self.knows_changed { &self.changed } else { &self.unstable }
    }

    /// The keys that are on their way.
    pub(super) fn under_way(&self) -> &[KeyNo] {
        &self.under_way
    }

    /// The keys that may have changed after `committed`; from now on all that did are on their way.
    pub(super) fn take_changed(&mut self) -> Vec<KeyNo> {
        let changed = std::mem::take(&mut self.changed);
        if std::mem::replace(&mut self.knows_changed, true) { changed } else { self.unstable.clone() }
    }

    /// Notes which of the unstable keys are on their way.
    pub(super) fn note_sent(&mut self, keys: Vec<KeyNo>) {
        self.under_way = keys;
    }

    /// The keys that were on their way, if all up to `no` has arrived and that is all of them.
    pub(super) fn take_arrived(&mut self, no: No) -> Vec<KeyNo> {
        let is_all = self.committed < self.sent && self.sent <= no;
        if is_all { std::mem::take(&mut self.under_way) } else { Vec::new() }
    }

    /// Some keys are not unstable any more, and their numbers may become others'.
    pub(super) fn retain_unstable(&mut self, is_unstable: impl Fn(KeyNo) -> bool) {
        self.changed.retain(|no| is_unstable(*no));
        self.under_way.retain(|no| is_unstable(*no));
    }

    /// Nothing is on its way, and what follows `no` is to be sent.
    pub(super) fn send_again_from(&mut self, no: No) {
        (self.committed, self.sent) = (no, no);
        self.is_compared = false;
        self.knows_changed = false;
        self.under_way = Vec::new();
    }

    /// Notes that the origin is told of all of the hub's numbers up to here.
    pub(super) fn utter(&mut self, no: No) {
        self.uttered = self.uttered.max(no);
    }

    /// Whether the slot is to be put on the list of those with something to send.
    fn is_to_be_listed(&self) -> bool {
        self.has_pending() && !self.is_listed
    }

    /// Whether there is something to send that is not on its way.
    pub(super) fn has_pending(&self) -> bool {
        self.sent <= self.committed && self.latest.max(self.stable) > self.committed
    }
}

/// From so many changed keys on a slot is worth a commit of its own.
const FULL: usize = 4;

/// Of so many slots that are sent while some are full, one is the next of all that have something to send, so that none waits for
/// ever.
const TURNS: usize = 4;

/// Slots that have their turns in the order of their numbers, round and round.
#[derive(Debug, Default)]
struct Round {
    slots: BTreeSet<Slot>,
    last: Option<Slot>,
}

impl Round {
    /// Those that have their turns next, to the end of this round. Logarithmic.
    fn upcoming(&self) -> impl Iterator<Item = Slot> + '_ {
        let after = self.last.map_or(Bound::Unbounded, Bound::Excluded);
        self.slots.range((after, Bound::Unbounded)).copied()
    }

    /// The slot that has its turn now. Logarithmic.
    fn turn(&mut self) -> Option<Slot> {
        let next = self.upcoming().next().or(self.slots.first().copied());
        self.last = next;
        next
    }
}

/// The slots by number, and the lists of those with something to send and of those whose rows are to be written.
#[derive(Debug, Default)]
pub(super) struct Slots {
    states: Vec<Option<Box<SlotState>>>,
    pending: Round,
    /// Those of the pending in which many keys changed. Each slot costs the store a commit however few its keys are, so where
    /// all that is pending is too much to be sent at once, these go first and the others gather more.
    full: Round,
    /// How many slots were sent, by which turns are counted.
    turns: usize,
    dirty: Vec<Slot>,
    /// The places in all lists of held keys.
    held_places: usize,
}

impl Slots {
    /// A slot that the hub has anything of. Constant time, as are the next two.
    pub(super) fn at(&self, slot: Slot) -> Option<&SlotState> {
        self.states.get(usize::from(slot.get()))?.as_deref()
    }

    /// See [`Slots::at`].
    pub(super) fn at_mut(&mut self, slot: Slot) -> Option<&mut SlotState> {
        self.states.get_mut(usize::from(slot.get()))?.as_deref_mut()
    }

    /// A slot, which is begun if the hub has nothing of it.
    pub(super) fn of(&mut self, slot: Slot) -> &mut SlotState {
        if self.states.is_empty() {
            self.states.resize_with(usize::from(Slot::COUNT), || None);
        }
        let state = self.states.get_mut(usize::from(slot.get())).expect("there is a place for every slot");
        state.get_or_insert_default()
    }

    /// Notes that a key of the slot is held from now on.
    pub(super) fn hold(&mut self, slot: Slot, no: KeyNo) {
        let state = self.of(slot);
        let before = state.held_keys.capacity();
        state.held = state.held.saturating_add(1);
        state.held_keys.push(no);
        let after = state.held_keys.capacity();
        self.held_places = self.held_places.saturating_add(after).saturating_sub(before);
    }

    /// Notes that a key of the slot is held no more. `is_held` tells which are. Constant time over many.
    pub(super) fn release(&mut self, slot: Slot, is_held: impl Fn(KeyNo) -> bool) {
        let Some(state) = self.at_mut(slot) else { return };
        let before = state.held_keys.capacity();
        state.held = state.held.saturating_sub(1);
        if state.held == 0 {
            state.held_keys = Vec::new();
        } else if state.held_keys.len() > state.held.saturating_mul(2).saturating_add(8) {
            state.held_keys.retain(|no| is_held(*no));
            state.held_keys.sort_unstable();
            state.held_keys.dedup();
            state.held_keys.shrink_to(state.held.saturating_mul(2));
        }
        let after = state.held_keys.capacity();
        self.held_places = self.held_places.saturating_add(after).saturating_sub(before);
    }

    /// What the lists of held keys take, in bytes. Constant time.
    pub(super) fn memory_bytes(&self) -> usize {
        self.held_places.saturating_mul(size_of::<KeyNo>())
    }

    /// The slots that the hub has anything of, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Slot, &SlotState)> + '_ {
        Slot::all().zip(&self.states).filter_map(|(slot, state)| Some((slot, state.as_deref()?)))
    }

    /// See [`Slots::iter`].
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (Slot, &mut SlotState)> + '_ {
        Slot::all().zip(&mut self.states).filter_map(|(slot, state)| Some((slot, state.as_deref_mut()?)))
    }

    /// Notes the hub's last number in a slot, and the key that it changed, which stood so `before`.
    pub(super) fn note_latest(&mut self, slot: Slot, latest: No, key: KeyNo, before: Standing) {
        let state = self.of(slot);
        state.latest = latest;
        if before == Standing::Stable {
            state.unstable.push(key);
        }
        let mut becomes_full = false;
        if before != Standing::Changed && !(before == Standing::Unstable && fault!(RewriteNotSent)) {
            state.changed.push(key);
            becomes_full = state.is_listed && state.changed.len() == FULL;
        }
        if state.is_to_be_listed() {
            self.list(slot);
        }
        if becomes_full {
            self.full.slots.insert(slot);
        }
    }

    /// Puts a slot on the list of those with something to send, if it has and is not there.
    pub(super) fn list(&mut self, slot: Slot) {
        let Some(state) = self.at_mut(slot).filter(|state| state.is_to_be_listed()) else { return };
        state.is_listed = true;
        let is_full = state.changed().len() >= FULL;
        self.pending.slots.insert(slot);
        if is_full {
            self.full.slots.insert(slot);
        }
    }

    /// Notes that a slot's row is to be written.
    pub(super) fn dirty(&mut self, slot: Slot) {
        if !std::mem::replace(&mut self.of(slot).is_dirty, true) {
            self.dirty.push(slot);
        }
    }

    /// Takes the list of slots whose rows are to be written.
    pub(super) fn take_dirty(&mut self) -> Vec<Slot> {
        let dirty = std::mem::take(&mut self.dirty);
        for slot in &dirty {
            self.of(*slot).is_dirty = false;
        }
        dirty
    }

    /// Some keys of each of the slots that [`Slots::take_pending`] may take next.
    pub(super) fn upcoming(&self) -> impl Iterator<Item = KeyNo> + '_ {
        let full = self.full.slots.len().min(GROUP - GROUP / TURNS);
        let others = GROUP.saturating_sub(full);
        let next = self.full.upcoming().take(full).chain(self.pending.upcoming().take(others));
        next.filter_map(|slot| self.at(slot)).flat_map(|state| state.changed().iter().take(GROUP)).copied()
    }

    /// Takes the next slot off the lists of those with something to send: mostly a full one. Logarithmic.
    pub(super) fn take_pending(&mut self) -> Option<Slot> {
        self.turns = self.turns.wrapping_add(1);
        let full = if self.turns.is_multiple_of(TURNS) { None } else { self.full.turn() };
        let slot = full.or_else(|| self.pending.turn())?;
        self.pending.slots.remove(&slot);
        self.full.slots.remove(&slot);
        if let Some(state) = self.at_mut(slot) {
            state.is_listed = false;
        }
        Some(slot)
    }
}
