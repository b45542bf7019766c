//! Fixed and sliding windows: what counts as used, and from when on a cost would fit.
//!
//! A fixed window is one counter. A sliding window is one for each of its *slots*, of which a decision reads all that the last
//! `window_ms` touch, and counts each of them whole: a spend counts until its slot has left the window behind, so for at least
//! the window and for less than a slot longer. So no span of `window_ms` ever holds more than the limit of what one node let
//! pass that saw every counter. What counts too long makes it refuse too much: at most what was spent in the earliest slot.

use super::{Algorithm, Limit, Window};
use crate::id::TimestampMs;

/// Into how many slots a sliding window is cut. A slot is a counter of each hub, and a decision reads all; more of them let a
/// spend go sooner after its time.
const SLOTS: u64 = 64;

/// A short window has fewer slots, of this length, since every counter lives for the clock bound beyond its time; but not
/// fewer than four.
const SLOT_MS_MIN: u64 = 250;
const SLOTS_MIN: u64 = 4;

/// The length of the counters' windows in milliseconds.
pub(super) fn slot_ms(limit: &Limit) -> i64 {
    match limit.algorithm {
        Algorithm::SlidingWindow => {
            let window_ms = limit.window_ms.get();
            let least_ms = window_ms.div_ceil(SLOTS_MIN).min(SLOT_MS_MIN);
            i64::try_from(window_ms.div_ceil(SLOTS).max(least_ms)).unwrap_or(i64::MAX)
        }
        Algorithm::FixedWindow | Algorithm::TokenBucket => limit.width_ms(),
    }
}

/// For how long after its end a counter still counts, in milliseconds.
pub(super) fn lingers_ms(limit: &Limit) -> i64 {
    match limit.algorithm {
        Algorithm::SlidingWindow => limit.width_ms().saturating_sub(1),
        Algorithm::FixedWindow | Algorithm::TokenBucket => 0,
    }
}

/// What counts against the limit: all of what a decision reads.
pub(super) fn used(counts: &[(Window, u64)]) -> u128 {
    counts.iter().fold(0, |sum, (_, count)| sum.saturating_add((*count).into()))
}

/// The earliest time from which `cost` fits, if nothing more is spent; none if it never does. Linear in the counters, which
/// are in order.
pub(super) fn fits_from(limit: &Limit, counts: &[(Window, u64)], cost: u64, now: TimestampMs) -> Option<TimestampMs> {
    let room = u128::from(limit.capacity().checked_sub(cost)?);
    let mut left = used(counts);
    let mut at = now;
    for (window, count) in counts {
        if left <= room {
            break;
        }
        left = left.saturating_sub((*count).into());
        at = limit.left_behind_at(*window);
    }
    Some(at)
}

/// When the limit next eases: when the earliest counter that says anything ends to count, or `current` where none does.
pub(super) fn reset_at(limit: &Limit, counts: &[(Window, u64)], current: Window) -> TimestampMs {
    let earliest = counts.iter().find(|(_, count)| *count > 0).map_or(current, |(window, _)| *window);
    limit.left_behind_at(earliest)
}

impl Limit {
    /// The first millisecond at which a decision does not read the window's counter any more.
    fn left_behind_at(&self, window: Window) -> TimestampMs {
        window.end().plus_ms(lingers_ms(self))
    }
}
