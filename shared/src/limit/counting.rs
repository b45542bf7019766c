//! Fixed and sliding windows: what counts as used, and from when on a cost would fit.

use super::{Algorithm, Limit};
use crate::id::TimestampMs;
use std::num::NonZeroU128;

/// The spends of the window before and of the one that `now` lies in.
#[derive(Clone, Copy)]
pub(super) struct Spends {
    pub(super) previous: u64,
    pub(super) current: u64,
}

/// What counts against the limit `into_ms` after the start of the current window.
///
/// `floor(previous * (width - into) / width) + current` for a sliding window.
pub(super) fn used(limit: &Limit, spends: Spends, into_ms: u64) -> u128 {
    let covered = match limit.algorithm {
        Algorithm::SlidingWindow => {
            let left_ms = limit.window_ms.get().saturating_sub(into_ms);
            u128::from(spends.previous).saturating_mul(left_ms.into()) / NonZeroU128::from(limit.window_ms)
        }
        Algorithm::FixedWindow | Algorithm::TokenBucket => 0,
    };
    covered.saturating_add(spends.current.into())
}

/// The earliest time from which `cost` fits, if nothing more is spent; none if it never does.
pub(super) fn fits_from(limit: &Limit, spends: Spends, cost: u64, now: TimestampMs) -> Option<TimestampMs> {
    let window = limit.window_at(now);
    let room = limit.capacity().checked_sub(cost)?;
    let into = |start: TimestampMs, into_ms: u64| start.plus_ms(i64::try_from(into_ms).unwrap_or(i64::MAX));
    if let Some(room) = room.checked_sub(spends.current) {
        return Some(into(window.start, fades_after_ms(limit, spends.previous, room)).max(now));
    }
    Some(into(window.end(), fades_after_ms(limit, spends.current, room)))
}

/// How far into a window the share that counts of the window before has come down to `room`.
///
/// `previous * (width - into) < (room + 1) * width` solved for the least integer; a whole width if it takes that long.
fn fades_after_ms(limit: &Limit, previous: u64, room: u64) -> u64 {
    if limit.algorithm == Algorithm::FixedWindow || previous <= room {
        return 0;
    }
    let width_ms = u128::from(limit.window_ms.get());
    let bound = u128::from(room).saturating_add(1).saturating_mul(width_ms);
    let left_ms_max = bound.div_ceil(u128::from(previous).max(1)).saturating_sub(1);
    u64::try_from(width_ms.saturating_sub(left_ms_max)).unwrap_or(u64::MAX)
}
