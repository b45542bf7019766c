//! Time that has passed, told from a clock that may be set.
//!
//! A loss window is a duration, and a host's clock that is set forward must not shorten it: what was called stable too early
//! is forgotten by its hub, and a failover then loses it. So no single step of the clock counts for more than a part of the
//! window, and a step back counts for nothing. A machine that is not asked for longer than that only waits longer.

use crate::id::TimestampMs;

/// The parts of a window that a step of the clock may count for.
const PARTS: i64 = 8;

/// Adds up how far the clock went.
#[derive(Debug)]
pub(super) struct Elapsed {
    total_ms: i64,
    step_ms: i64,
    seen: Option<TimestampMs>,
}

impl Elapsed {
    /// For windows of this length, in milliseconds.
    pub(super) fn for_window(window_ms: i64) -> Self {
        Self { total_ms: 0, step_ms: window_ms.div_euclid(PARTS).max(1), seen: None }
    }

    /// Of which no step counts for more than this, in milliseconds.
    pub(super) fn in_steps(step_ms: i64) -> Self {
        Self { total_ms: 0, step_ms: step_ms.max(1), seen: None }
    }

    /// The clock shows `now`.
    pub(super) fn pass(&mut self, now: TimestampMs) {
        let step_ms = self.seen.map_or(0, |seen| now.since_ms(seen));
        let most_ms = if fault!(StableByWallClock) { i64::MAX } else { self.step_ms };
        self.total_ms = self.total_ms.saturating_add(step_ms.clamp(0, most_ms));
        self.seen = Some(now);
    }

    /// How much time has passed, in milliseconds.
    pub(super) fn total_ms(&self) -> i64 {
        self.total_ms
    }

    /// When a window that begins now will be over for certain, also if the clock is set forward once meanwhile.
    pub(super) fn end_ms(&self, window_ms: i64) -> i64 {
        self.total_ms.saturating_add(window_ms).saturating_add(self.step_ms)
    }

    /// When to look at the clock again so that `end_ms` is not missed.
    pub(super) fn look_at(&self, end_ms: i64, now: TimestampMs) -> TimestampMs {
        now.plus_ms(end_ms.saturating_sub(self.total_ms).clamp(1, self.step_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_set_forward_ends_no_window() {
        let mut elapsed = Elapsed::for_window(800);
        elapsed.pass(TimestampMs(1_000));
        let end = elapsed.end_ms(800);
        elapsed.pass(TimestampMs(90_000));
        elapsed.pass(TimestampMs(90_100));
        assert!(elapsed.total_ms() < end);
    }

    #[test]
    fn a_window_ends_in_steps() {
        let mut elapsed = Elapsed::for_window(800);
        let mut now = TimestampMs(1_000);
        elapsed.pass(now);
        let end = elapsed.end_ms(800);
        while elapsed.total_ms() < end {
            now = elapsed.look_at(end, now);
            elapsed.pass(now);
        }
        assert_eq!(now, TimestampMs(1_900));
    }

    #[test]
    fn a_clock_set_back_delays_a_window_by_nothing_but_that_step() {
        let mut elapsed = Elapsed::for_window(800);
        for now in [1_000, 1_100, 50, 150] {
            elapsed.pass(TimestampMs(now));
        }
        assert_eq!(elapsed.total_ms(), 200);
    }
}
