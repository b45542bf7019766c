//! Deadlines of many keys in a hierarchical timing wheel (Varghese and Lauck 1987, scheme 7).
//!
//! A time is a row of digits in base 64. An entry stands at the level of the highest digit in which its deadline differs
//! from the wheel's time, in the slot of that digit; the lowest level resolves single milliseconds. When time moves on,
//! the slots that it passed are due whole, and those that it entered are spread over finer slots, so that an entry is
//! touched at most once per level, however far the clock jumps. When time moves back, the slots that are finer than the
//! step are gathered into a coarser one.
//!
//! Entries are linked within one vector, so that a cancelled or moved deadline leaves nothing behind. The lazy
//! alternative, which leaves stale entries in place and asks the caller when they fire, is smaller by eight bytes an entry
//! and wakes a sleeping object for nothing whenever a key was touched or deleted; that costs more than the bytes.
//!
//! Invariant: the slot of the wheel's own time holds exactly the entries that are due; all others stand where their
//! deadline and the wheel's time say, so a lower level is due before a higher one.
#![allow(clippy::indexing_slicing, reason = "links are made here alone; a handle from outside is looked up")]
#![allow(clippy::arithmetic_side_effects, reason = "digits and levels are below 64, lengths are those of vectors")]

mod slots;
#[cfg(test)]
mod tests;

use crate::id::TimestampMs;
use slots::{LEVEL_BITS, Slot, Slots};
use std::num::NonZeroU32;

/// A scheduled entry, for [`Wheel::cancel`] and [`Wheel::reschedule`]. It ends when the entry fires or is cancelled; its
/// number may then name a later entry.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TimerId(NonZeroU32);

impl TimerId {
    /// One more than the entry's place, so that none is zero and an optional timer takes no more.
    fn of(at: u32) -> Self {
        Self(NonZeroU32::MIN.saturating_add(at))
    }

    fn at(self) -> u32 {
        self.0.get() - 1
    }
}

/// Handles with deadlines, and which of them are due.
///
/// ```
/// use headwater::{id::TimestampMs, wheel::Wheel};
///
/// let mut wheel = Wheel::new();
/// assert_eq!(wheel.advance(TimestampMs(0)).count(), 0);
/// let timer = wheel.insert(TimestampMs(1_000), 7);
/// wheel.insert(TimestampMs(2_000), 8);
/// wheel.reschedule(timer, TimestampMs(3_000));
/// assert_eq!(wheel.next(), Some(TimestampMs(2_000)));
/// assert_eq!(wheel.advance(TimestampMs(2_500)).collect::<Vec<_>>(), [(TimestampMs(2_000), 8)]);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Wheel {
    /// The time of the last advance, as an ordered integer.
    now: u64,
    slots: Slots,
}

impl Wheel {
    /// An empty wheel at the beginning of time, which allocates nothing.
    pub const fn new() -> Self {
        Self { now: 0, slots: Slots::new() }
    }

    /// How many entries there are. O(1).
    pub fn len(&self) -> u32 {
        self.slots.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes that the wheel has allocated, without its own `size_of`: nothing while it is empty; else 20 to 25 per
    /// entry at the greatest number of entries since it was empty, and 784 per level. O(1).
    pub fn memory_bytes(&self) -> u64 {
        self.slots.memory_bytes() as u64
    }

    /// Schedules a handle. One whose deadline has passed is due at the next advance. Amortised O(1).
    pub fn insert(&mut self, deadline: TimestampMs, id: u32) -> TimerId {
        let deadline = ordered(deadline);
        let at = self.slots.add(deadline, id);
        self.slots.link(at, self.slot(deadline));
        TimerId::of(at)
    }

    /// Takes an entry out and returns its handle, if it is there. O(1).
    pub fn cancel(&mut self, timer: TimerId) -> Option<u32> {
        let (_, id) = self.slots.entry(timer.at())?;
        self.slots.unlink(timer.at());
        self.slots.free(timer.at());
        Some(id)
    }

    /// Gives an entry another deadline, and returns whether it is there. O(1).
    pub fn reschedule(&mut self, timer: TimerId, deadline: TimestampMs) -> bool {
        if self.slots.entry(timer.at()).is_none() {
            return false;
        }
        let deadline = ordered(deadline);
        self.slots.unlink(timer.at());
        self.slots.set_deadline(timer.at(), deadline);
        self.slots.link(timer.at(), self.slot(deadline));
        true
    }

    /// When the host should look again: nothing is due before this, and something mostly is at it. `None` while the wheel
    /// is empty.
    ///
    /// Exact but for cancelled and moved entries, which may leave it early by less than the width of their slot: at most
    /// the time that was left, and never at or before the last advance unless something is due. O(1).
    pub fn next(&self) -> Option<TimestampMs> {
        let level = (0..self.slots.levels()).find(|level| self.slots.occupied(*level) != 0)?;
        let digit = self.slots.occupied(level).trailing_zeros();
        self.slots.earliest(Slot { level, digit }).map(timestamp)
    }

    /// Sets the wheel's time and takes out what is due, with its deadline, in no particular order. What the caller leaves
    /// in the iterator stays due.
    ///
    /// Amortised O(1) per entry forwards, however far. Backwards, entries that lie nearer than the step (rounded up to a
    /// power of 64) are moved once.
    pub fn advance(&mut self, now: TimestampMs) -> Due<'_> {
        let (before, now) = (self.now, ordered(now));
        self.now = now;
        if before != now && !self.is_empty() {
            let top = level_of(before ^ now);
            for level in 0..top {
                self.replace(level, u64::MAX);
            }
            // Forwards, slots are passed up to the new digit. Backwards, all stay in which something is to come; at the
            // lowest level that leaves the slot of what was due.
            let digit = digit_of(before.max(now), top);
            match before < now {
                true => self.replace(top, u64::MAX >> (63 - digit)),
                false if top == 0 => self.replace(top, 1 << digit),
                false => {}
            }
        }
        let slot = self.slot(now);
        Due { wheel: self, slot }
    }

    /// Puts the entries of those slots of a level whose bits are set where they belong now.
    fn replace(&mut self, level: u32, digits: u64) {
        // The bits as they are now: what comes into a slot on the way is in its place already.
        let mut occupied = self.slots.occupied(level) & digits;
        while occupied != 0 {
            let mut rest = self.slots.detach(Slot { level, digit: occupied.trailing_zeros() });
            while let Some((at, deadline, next)) = self.slots.detached(rest) {
                self.slots.link(at, self.slot(deadline));
                rest = next;
            }
            occupied &= occupied - 1;
        }
    }

    /// Where an entry with this deadline belongs.
    fn slot(&self, deadline: u64) -> Slot {
        let time = deadline.max(self.now);
        let level = level_of(time ^ self.now);
        Slot { level, digit: digit_of(time, level) }
    }
}

/// The entries that are due. See [`Wheel::advance`].
#[derive(Debug)]
pub struct Due<'a> {
    wheel: &'a mut Wheel,
    slot: Slot,
}

impl Iterator for Due<'_> {
    type Item = (TimestampMs, u32);

    fn next(&mut self) -> Option<Self::Item> {
        let at = self.wheel.slots.first(self.slot)?;
        let (deadline, id) = self.wheel.slots.entry(at)?;
        self.wheel.slots.unlink(at);
        self.wheel.slots.free(at);
        Some((timestamp(deadline), id))
    }
}

const SIGN: u64 = 1 << 63;

/// A time as an integer without sign, in the same order.
fn ordered(time: TimestampMs) -> u64 {
    time.0.cast_unsigned() ^ SIGN
}

fn timestamp(ordered: u64) -> TimestampMs {
    TimestampMs((ordered ^ SIGN).cast_signed())
}

/// The level of the highest digit that is not zero.
fn level_of(difference: u64) -> u32 {
    (difference | 1).ilog2() / LEVEL_BITS
}

fn digit_of(time: u64, level: u32) -> u32 {
    (time >> (level * LEVEL_BITS)) as u32 % (1 << LEVEL_BITS)
}
