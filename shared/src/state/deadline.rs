//! A key's deadline: a lexicographic maximum of (epoch, time).
//!
//! Within an epoch the later deadline wins, so concurrent touches need no coordination. Only removing a deadline, or a
//! clear shortening, opens an epoch; the later stamped epoch wins.

use crate::{
    id::{Stamp, TimestampMs},
    limits::CLOCK_BOUND_MS,
};
use serde::{Deserialize, Serialize};

/// When a key ends, if it does. The derived order is the lattice order: no epoch before any, unset before any time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
pub struct Deadline {
    epoch: Option<Stamp>,
    at: Option<TimestampMs>,
}

impl Deadline {
    /// Joins by maximum; returns whether this changed.
    pub fn join(&mut self, other: &Self) -> bool {
        let mut winner = (*self).max(*other);
        if fault!(DeadlineTakesEarlier) && self.at.is_some() && other.at.is_some() {
            winner = (*self).min(*other);
        }
        if fault!(DeadlineIgnoresEpoch) {
            winner = Self { epoch: self.epoch.max(other.epoch), at: self.at.max(other.at) };
        }
        std::mem::replace(self, winner) != winner
    }

    /// The deadline of these parts.
    pub(crate) fn of(epoch: Option<Stamp>, at: Option<TimestampMs>) -> Self {
        Self { epoch, at }
    }

    /// Whether the key has ended at `now`.
    pub fn is_past(&self, now: TimestampMs) -> bool {
        self.at.is_some_and(|at| at <= now)
    }

    /// When the key ends.
    pub fn at(&self) -> Option<TimestampMs> {
        self.at
    }

    /// The stamp of the operation that opened the epoch.
    pub fn epoch(&self) -> Option<Stamp> {
        self.epoch
    }

    /// Whether setting the deadline to `at` is a clear shortening, which needs an epoch of its own.
    pub fn is_shortened_by(&self, at: TimestampMs) -> bool {
        self.at.is_some_and(|own| own.since_ms(at) > CLOCK_BOUND_MS.saturating_mul(2))
    }

    /// Moves the deadline to `at` within `epoch`, if that is later. Where a later epoch stands nothing changes; where an
    /// earlier one stands this is the first word of `epoch`.
    pub fn raise(&mut self, epoch: Option<Stamp>, at: TimestampMs) {
        *self = (*self).max(Self { epoch, at: Some(at) });
    }

    /// Opens an epoch in which the deadline is `at`.
    pub fn open(&mut self, stamp: Stamp, at: Option<TimestampMs>) {
        *self = (*self).max(Self { epoch: Some(stamp), at });
    }
}
