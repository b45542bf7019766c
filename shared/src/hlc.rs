//! Hybrid logical clocks (Kulkarni et al. 2014): wall-clock milliseconds with a counter for causality within one.
//!
//! A clock is read only through [`Clock::tick`], which takes the host's time as an argument.

use crate::{id::TimestampMs, limits::STAMP_AHEAD_MS_MAX};
use serde::{Deserialize, Serialize};
use std::fmt;

const COUNTER_BITS: u32 = 16;
const COUNTER_MASK: u64 = (1 << COUNTER_BITS) - 1;

/// A hybrid logical time: 48 bits of milliseconds since the Unix epoch, 16 bits of counter.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Hlc(u64);

impl Hlc {
    /// The first instant of `time`; times before the epoch count as the epoch.
    pub fn at(time: TimestampMs) -> Self {
        let ms = u64::try_from(time.0).unwrap_or(0).min(u64::MAX >> COUNTER_BITS);
        Self(ms << COUNTER_BITS)
    }

    /// The wall-clock part.
    pub fn time(self) -> TimestampMs {
        TimestampMs(i64::try_from(self.0 >> COUNTER_BITS).unwrap_or(i64::MAX))
    }

    /// The next instant: the counter's next value, or the next millisecond when it is full.
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The raw 64 bits.
    pub fn to_bits(self) -> u64 {
        self.0
    }

    /// The time with these raw bits.
    pub fn from_bits(bits: u64) -> Self {
        Self(bits)
    }
}

impl fmt::Debug for Hlc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}", self.time().0, self.0 & COUNTER_MASK)
    }
}

/// A stamp lay further ahead of the receiver than healthy clocks do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "a stamp lies {ahead_ms} ms ahead of this node; at most {STAMP_AHEAD_MS_MAX} are accepted: check the sender's clock"
)]
pub struct StampAhead {
    /// How far ahead it lay, in milliseconds.
    pub ahead_ms: i64,
}

/// A replica's hybrid logical clock. It never goes back, also when the host's clock does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Clock {
    latest: Hlc,
}

impl Clock {
    /// A clock that has seen `latest`.
    pub fn resumed(latest: Hlc) -> Self {
        Self { latest }
    }

    /// A fresh time, later than every one ticked or observed before.
    pub fn tick(&mut self, now: TimestampMs) -> Hlc {
        self.latest = self.latest.next().max(Hlc::at(now));
        self.latest
    }

    /// Takes note of a received time, so that what follows is stamped later.
    pub fn observe(&mut self, seen: Hlc, now: TimestampMs) -> Result<(), StampAhead> {
        let ahead_ms = seen.time().since_ms(now);
        if ahead_ms > STAMP_AHEAD_MS_MAX {
            return Err(StampAhead { ahead_ms });
        }
        self.latest = self.latest.max(seen);
        Ok(())
    }

    /// The latest time ticked or observed.
    pub fn latest(&self) -> Hlc {
        self.latest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_grow_when_the_host_clock_goes_back() {
        let mut clock = Clock::default();
        let first = clock.tick(TimestampMs(1_000));
        let second = clock.tick(TimestampMs(10));
        assert!(second > first);
        assert_eq!(second.time(), TimestampMs(1_000));
    }

    #[test]
    fn a_stamp_beyond_the_bound_is_refused_and_changes_nothing() {
        let mut clock = Clock::default();
        let far = Hlc::at(TimestampMs(STAMP_AHEAD_MS_MAX + 2));
        assert_eq!(clock.observe(far, TimestampMs(1)), Err(StampAhead { ahead_ms: STAMP_AHEAD_MS_MAX + 1 }));
        assert_eq!(clock, Clock::default());
    }
}
