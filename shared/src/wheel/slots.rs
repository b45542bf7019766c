//! The slots of a wheel and the entries linked in them: doubly linked lists in one vector.
//!
//! Invariant: an occupied entry is in the list of exactly one slot; a slot's bit is set as long as its list is not empty;
//! no entry of a slot is due before the slot's `earliest`.

/// Bits of a time that one level resolves.
pub(super) const LEVEL_BITS: u32 = 6;
/// Slots of a level. Their bits fill one word, so that the next occupied one is a single instruction away.
const SLOTS: usize = 1 << LEVEL_BITS;
/// No entry follows.
const NONE: u32 = u32::MAX;
/// Stands in `previous` of an entry that is free.
const FREE: u32 = u32::MAX;
/// Marks a `previous` that names a slot, in which the entry is the first.
const IN_SLOT: u32 = 1 << 31;

/// An entry in twenty bytes: without `packed`, padding would make it twenty-four.
#[derive(Clone, Copy, Debug)]
#[repr(Rust, packed(4))]
struct Entry {
    deadline: u64,
    id: u32,
    next: u32,
    previous: u32,
}

/// The slots of one resolution.
#[derive(Clone, Debug)]
struct Level {
    /// Which slots have entries.
    occupied: u64,
    first: [u32; SLOTS],
    earliest: [u64; SLOTS],
}

/// Where a list is: its level and the digit of its times there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Slot {
    pub(super) level: u32,
    pub(super) digit: u32,
}

/// All entries, by slot.
#[derive(Clone, Debug, Default)]
pub(super) struct Slots {
    entries: Vec<Entry>,
    levels: Vec<Level>,
    first_free: Option<u32>,
    len: u32,
}

impl Slots {
    pub(super) const fn new() -> Self {
        Self { entries: Vec::new(), levels: Vec::new(), first_free: None, len: 0 }
    }

    pub(super) fn len(&self) -> u32 {
        self.len
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.entries.capacity() * size_of::<Entry>() + self.levels.capacity() * size_of::<Level>()
    }

    /// Makes an entry that is in no slot yet.
    pub(super) fn add(&mut self, deadline: u64, id: u32) -> u32 {
        let entry = Entry { deadline, id, next: NONE, previous: FREE };
        self.len += 1;
        if let Some(at) = self.first_free {
            let next = self.entries[at as usize].next;
            self.first_free = (next != NONE).then_some(next);
            self.entries[at as usize] = entry;
            return at;
        }
        if self.entries.len() == self.entries.capacity() {
            self.entries.reserve_exact((self.entries.len() / 4).max(4));
        }
        self.entries.push(entry);
        (self.entries.len() - 1) as u32
    }

    /// Frees an entry that is in no slot; with the last one all memory.
    pub(super) fn free(&mut self, at: u32) {
        self.len -= 1;
        if self.len == 0 {
            *self = Self::new();
            return;
        }
        let next = self.first_free.replace(at).unwrap_or(NONE);
        let entry = &mut self.entries[at as usize];
        (entry.next, entry.previous) = (next, FREE);
    }

    /// The deadline and handle of an entry, unless it is free or was never made.
    pub(super) fn entry(&self, at: u32) -> Option<(u64, u32)> {
        let entry = self.entries.get(at as usize).filter(|entry| entry.previous != FREE)?;
        Some((entry.deadline, entry.id))
    }

    pub(super) fn set_deadline(&mut self, at: u32, deadline: u64) {
        self.entries[at as usize].deadline = deadline;
    }

    /// Puts an entry that is in no slot into this one. O(1).
    pub(super) fn link(&mut self, at: u32, slot: Slot) {
        let (level, digit) = (slot.level as usize, slot.digit as usize);
        if self.levels.len() <= level {
            self.levels.reserve_exact(level + 1 - self.levels.len());
            self.levels.resize(level + 1, Level::EMPTY);
        }
        let deadline = self.entries[at as usize].deadline;
        let level = &mut self.levels[level];
        level.occupied |= 1 << digit;
        level.earliest[digit] = level.earliest[digit].min(deadline);
        let next = std::mem::replace(&mut level.first[digit], at);
        let entry = &mut self.entries[at as usize];
        (entry.next, entry.previous) = (next, IN_SLOT | slot.level << LEVEL_BITS | slot.digit);
        if next != NONE {
            self.entries[next as usize].previous = at;
        }
    }

    /// Takes an entry out of its slot. O(1).
    pub(super) fn unlink(&mut self, at: u32) {
        let Entry { next, previous, .. } = self.entries[at as usize];
        if next != NONE {
            self.entries[next as usize].previous = previous;
        }
        if previous & IN_SLOT == 0 {
            self.entries[previous as usize].next = next;
            return;
        }
        let slot = previous & !IN_SLOT;
        let (level, digit) = ((slot >> LEVEL_BITS) as usize, slot as usize % SLOTS);
        let level = &mut self.levels[level];
        level.first[digit] = next;
        if next == NONE {
            level.occupied &= !(1 << digit);
            level.earliest[digit] = u64::MAX;
        }
    }

    /// Levels that ever had an entry.
    pub(super) fn levels(&self) -> u32 {
        self.levels.len() as u32
    }

    /// The first entry of a slot.
    pub(super) fn first(&self, slot: Slot) -> Option<u32> {
        let first = self.levels.get(slot.level as usize)?.first[slot.digit as usize];
        (first != NONE).then_some(first)
    }

    /// A time at or before which no entry of the slot is due.
    pub(super) fn earliest(&self, slot: Slot) -> Option<u64> {
        Some(self.levels.get(slot.level as usize)?.earliest[slot.digit as usize])
    }

    /// Which slots of a level have entries, as bits.
    pub(super) fn occupied(&self, level: u32) -> u64 {
        self.levels.get(level as usize).map_or(0, |level| level.occupied)
    }

    /// Empties a slot. The entries are in none until each is linked again; [`Slots::detached`] walks them. O(1).
    pub(super) fn detach(&mut self, slot: Slot) -> u32 {
        let Some(level) = self.levels.get_mut(slot.level as usize) else { return NONE };
        level.occupied &= !(1 << slot.digit);
        level.earliest[slot.digit as usize] = u64::MAX;
        std::mem::replace(&mut level.first[slot.digit as usize], NONE)
    }

    /// The entry at the head of what was detached, its deadline, and what follows.
    pub(super) fn detached(&self, at: u32) -> Option<(u32, u64, u32)> {
        self.entries.get(at as usize).map(|entry| (at, entry.deadline, entry.next))
    }
}

impl Level {
    const EMPTY: Self = Self { occupied: 0, first: [NONE; SLOTS], earliest: [u64::MAX; SLOTS] };
}
