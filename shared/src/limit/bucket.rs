//! The token bucket, as bookings of refills to come.
//!
//! A bucket's level depends on all of its past, so counters of spends per window could not give it from a few windows.
//! This is the virtual schedule of GCRA (ITU-T I.371) instead: time is cut into slots, each slot brings `refill` tokens,
//! and a spend books the earliest tokens that no spend has booked yet, from the current slot on. What is booked in the
//! current slot and beyond is the *backlog*; the bucket's level is `burst - backlog`. A slot that ends takes its bookings
//! with it, which is the refill; what nobody booked in it is lost, which is the bucket's brim. A slot's bookings are a
//! counter that only grows, so the bookings of two hubs add up. Where two hubs, not knowing of each other, booked a slot
//! beyond its refill, the surplus is carried into the slots after it.
//!
//! **Error.** Let `c_i` be the spends of interval i and `q_{i+1} = max(0, q_i + c_i - refill)` the backlog of the exact
//! bucket with refills at the ends of intervals. With one interval a slot the backlog here is that `q`, always: slots
//! before a booking are full, so a slot that ends takes exactly `min(refill, backlog)`. A bucket that takes longer to fill
//! than [`SLOTS`] intervals has slots of `m` intervals, so that it stays at few counters; within a slot the refills since
//! the slot's start count as come, also for bookings made after them. Both are `max over s of (spends since s - refills
//! since s)`, here with s at starts of slots only, so `q - (m - 1) * refill <= backlog <= q`. A bucket refilled without
//! steps has a backlog within `refill` of `q`, hence within `m * refill` of the one here. Since `m` is the number of
//! intervals in which the bucket fills over 16, rounded up, `(m - 1) * refill` is below a sixteenth of `burst + refill`.
//!
//! A surplus is carried for twice the time in which the bucket fills and then forgiven. What hubs overbooked at one time is
//! paid back in full unless together they took more than twice the burst; where they keep on overbooking for longer than
//! that time, the oldest surplus is lost.

use super::{Add, Counts, Limit, Window};
use crate::id::TimestampMs;

/// The most slots in which an empty bucket fills.
const SLOTS: u64 = 16;

/// How a bucket's time is cut.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    interval_ms: i64,
    refill: u128,
    pub(super) slot_ms: i64,
    slot_refill: u128,
    /// In how many slots an empty bucket fills.
    slots: i64,
}

impl Shape {
    pub(super) fn of(limit: &Limit) -> Self {
        let (refill, burst) = (limit.limit.get(), limit.burst.get());
        let intervals = burst.div_ceil(refill);
        let per_slot = intervals.div_ceil(SLOTS);
        // The limit is validated: an empty bucket fills within the longest window, so nothing here saturates.
        let per_slot_signed = i64::try_from(per_slot).unwrap_or(i64::MAX);
        Self {
            interval_ms: limit.width_ms(),
            refill: refill.into(),
            slot_ms: limit.width_ms().saturating_mul(per_slot_signed),
            slot_refill: u128::from(refill).saturating_mul(per_slot.into()),
            slots: i64::try_from(intervals.div_ceil(per_slot.max(1))).unwrap_or(i64::MAX),
        }
    }

    /// How many slots before and after the current one are read: back as far as a surplus is carried, and ahead as far
    /// as a spend can book.
    pub(super) fn reach(&self) -> (i64, i64) {
        (self.slots.saturating_mul(2), self.slots)
    }

    /// Whole intervals of the slot that passed when `into_ms` of it have, as tokens.
    fn refilled(&self, into_ms: i64) -> u128 {
        let intervals = into_ms.max(0).checked_div(self.interval_ms).unwrap_or(0);
        u128::try_from(intervals).unwrap_or(0).saturating_mul(self.refill)
    }
}

/// The bookings of all slots that a decision at some time reads.
pub(super) struct Bookings<'a> {
    pub(super) shape: Shape,
    pub(super) capacity: u64,
    /// Each slot with what is booked in it, earliest first.
    pub(super) slots: &'a [(Window, u64)],
}

impl Bookings<'_> {
    /// What is booked and not yet refilled at `at`, which lies at or after the time that the slots were read for.
    pub(super) fn backlog(&self, at: TimestampMs) -> u128 {
        let current = self.slot_at(at);
        let refilled = self.shape.refilled(at.since_ms(current.start));
        let booked = |slots: &dyn Fn(Window) -> bool| {
            let counted = self.slots.iter().filter(|(slot, _)| slots(*slot));
            counted.fold(0_u128, |sum, (_, booked)| sum.saturating_add((*booked).into()))
        };
        let head = self.surplus(current).saturating_add(booked(&|slot| slot == current));
        head.saturating_sub(refilled).saturating_add(booked(&|slot| slot > current))
    }

    fn slot_at(&self, at: TimestampMs) -> Window {
        Window::at(Counts::Bookings, self.shape.slot_ms, at)
    }

    /// The surplus that slots before `current` carry into it, as far back as a decision there reads.
    fn surplus(&self, current: Window) -> u128 {
        let first = current.shifted(self.shape.reach().0.saturating_neg());
        let mut surplus = 0_u128;
        let mut next = first;
        for (slot, booked) in self.slots.iter().filter(|(slot, _)| (first..current).contains(slot)) {
            surplus = surplus.saturating_add((*booked).into()).saturating_sub(self.shape.slot_refill);
            next = slot.shifted(1);
        }
        // Slots beyond those that were read have no bookings, and refill all the same.
        let unread = current.start.since_ms(next.start).checked_div(self.shape.slot_ms).unwrap_or(0);
        surplus.saturating_sub(u128::try_from(unread).unwrap_or(0).saturating_mul(self.shape.slot_refill))
    }

    /// Books `cost` in the earliest free tokens from `now` on.
    pub(super) fn book(&self, cost: u64, now: TimestampMs) -> Vec<(Window, u64)> {
        let current = self.slot_at(now);
        let mut surplus = self.surplus(current);
        let ahead = self.slots.partition_point(|(slot, _)| *slot < current);
        let rest = self.slots.get(ahead..).unwrap_or_default();
        let mut left = cost;
        let mut booked = Vec::new();
        for (position, (slot, taken)) in (1..).zip(rest) {
            let load = surplus.saturating_add((*taken).into());
            let free = u64::try_from(self.shape.slot_refill.saturating_sub(load)).unwrap_or(u64::MAX);
            // What fits nowhere goes into the last slot: amounts are never lost.
            let amount = if position == rest.len() { left } else { left.min(free) };
            if amount > 0 {
                booked.push((*slot, amount));
            }
            left = left.saturating_sub(amount);
            surplus = load.saturating_sub(self.shape.slot_refill);
        }
        booked
    }

    /// The earliest time from which `cost` fits, if nothing more is spent; none if it never does.
    ///
    /// The backlog only falls while nobody spends, and only at ends of intervals: a binary search over these.
    pub(super) fn fits_from(&self, cost: u64, now: TimestampMs) -> Option<TimestampMs> {
        let room = u128::from(self.capacity.checked_sub(cost)?);
        if self.backlog(now) <= room {
            return Some(now);
        }
        let after = |intervals: i64| {
            let passed = now.0.checked_div_euclid(self.shape.interval_ms).unwrap_or(0);
            TimestampMs(passed.saturating_add(intervals).saturating_mul(self.shape.interval_ms))
        };
        // Once the slots that were read are out of reach the backlog is zero, so the doubling ends.
        let (mut low, mut high) = (0_i64, 1_i64);
        while self.backlog(after(high)) > room {
            (low, high) = (high, high.checked_mul(2)?);
        }
        while high.saturating_sub(low) > 1 {
            let middle = low.midpoint(high);
            if self.backlog(after(middle)) > room { low = middle } else { high = middle }
        }
        Some(after(high))
    }

    /// The next end of an interval after `now`.
    pub(super) fn next_refill(&self, now: TimestampMs) -> TimestampMs {
        Window::at(Counts::Bookings, self.shape.interval_ms, now).end()
    }
}

impl Limit {
    /// These bookings as counters to raise.
    pub(super) fn adds(&self, raised: impl IntoIterator<Item = (Window, u64)>) -> Vec<Add> {
        raised.into_iter().map(|(window, amount)| Add { window, amount, expires_at: self.expires_at(window) }).collect()
    }
}
