//! A key's deadline: a lexicographic maximum of (epoch, time), beside the latest revocation.
//!
//! Within an epoch the later deadline wins, so concurrent touches need no coordination. Only removing a deadline, or a
//! clear shortening, opens an epoch; the later stamped epoch wins.
//!
//! A revocation wins over all of that until the time that it names. Of two the later counts. What is revoked is hidden until
//! then, and has ended then, whatever was written to it meanwhile; so it is forgotten as what expired is. Only an epoch that is
//! opened at that time or later begins anew, and the revocation says nothing more. That is a pure function of both parts, so
//! it is dropped there, and the join stays one.

use crate::{
    id::{Stamp, TimestampMs},
    limits::CLOCK_BOUND_MS,
};
use serde::{Deserialize, Serialize};

/// When a key ends, if it does, and until when it is revoked, if it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Deadline {
    epoch: Option<Stamp>,
    at: Option<TimestampMs>,
    /// None where the epoch was opened at that time or later.
    revoked: Option<TimestampMs>,
}

impl Deadline {
    /// Joins both parts by their maxima; returns whether this changed.
    pub fn join(&mut self, other: &Self) -> bool {
        let mut winner = self.joined(other);
        if fault!(DeadlineTakesEarlier) && self.at.is_some() && other.at.is_some() {
            (winner.epoch, winner.at) = self.moved().min(other.moved());
        }
        if fault!(DeadlineIgnoresEpoch) {
            winner = Self { epoch: self.epoch.max(other.epoch), at: self.at.max(other.at), ..winner };
        }
        if fault!(RevocationYields) && self.moved() != other.moved() {
            // As if whoever moved the deadline last had a say.
            winner.revoked = if self.moved() > other.moved() { self.revoked } else { other.revoked };
        }
        std::mem::replace(self, winner) != winner
    }

    /// The deadline of these parts, which is not revoked.
    pub(crate) fn of(epoch: Option<Stamp>, at: Option<TimestampMs>) -> Self {
        Self { epoch, at, revoked: None }
    }

    /// This, revoked as well; `None` where its epoch ends the revocation, which then is none.
    pub(crate) fn with_revocation(self, until: TimestampMs) -> Option<Self> {
        let deadline = Self { revoked: Some(until), ..self };
        (deadline.settled() == deadline).then_some(deadline)
    }

    /// Whether the key has ended at `now`. What is revoked has not before it may be forgotten.
    pub fn is_past(&self, now: TimestampMs) -> bool {
        self.at().is_some_and(|at| at <= now)
    }

    /// Whether the key is revoked at `now`, so that nothing may be written to it.
    pub fn is_revoked(&self, now: TimestampMs) -> bool {
        self.revoked.is_some_and(|until| now < until)
    }

    /// Whether a reader sees nothing of the key at `now`: it has ended, or is revoked.
    pub fn hides(&self, now: TimestampMs) -> bool {
        let is_revoked = self.revoked.is_some() && !fault!(RevocationShown);
        is_revoked || self.is_past(now)
    }

    /// When the key ends: what is revoked when the revocation does.
    pub fn at(&self) -> Option<TimestampMs> {
        self.revoked.or(self.at)
    }

    /// When the key would end, were it not revoked.
    pub(crate) fn moved_to(&self) -> Option<TimestampMs> {
        self.at
    }

    /// Until when the key is revoked, whether that has passed or not.
    pub fn revoked(&self) -> Option<TimestampMs> {
        self.revoked
    }

    /// The stamp of the operation that opened the epoch.
    pub fn epoch(&self) -> Option<Stamp> {
        self.epoch
    }

    /// Whether this knows all that `other` does.
    pub fn covers(&self, other: &Self) -> bool {
        self.joined(other) == *self
    }

    /// Whether this moved the deadline after `other`, and knows of what ended there.
    pub fn follows(&self, other: &Self) -> bool {
        let ends_revocation = other.revoked.is_none() || self.joined(other).revoked.is_none();
        self.moved() > other.moved() && ends_revocation
    }

    /// Whether setting the deadline to `at` is a clear shortening, which needs an epoch of its own.
    pub fn is_shortened_by(&self, at: TimestampMs) -> bool {
        self.at.is_some_and(|own| own.since_ms(at) > CLOCK_BOUND_MS.saturating_mul(2))
    }

    /// Moves the deadline to `at` within `epoch`, if that is later. Where a later epoch stands nothing changes; where an
    /// earlier one stands this is the first word of `epoch`.
    pub fn raise(&mut self, epoch: Option<Stamp>, at: TimestampMs) {
        *self = self.joined(&Self { epoch, at: Some(at), revoked: None });
    }

    /// Opens an epoch in which the deadline is `at`.
    pub fn open(&mut self, stamp: Stamp, at: Option<TimestampMs>) {
        *self = self.joined(&Self { epoch: Some(stamp), at, revoked: None });
    }

    /// Revokes the key until then, or later where it is already.
    pub fn revoke(&mut self, until: TimestampMs) {
        *self = self.joined(&Self { revoked: Some(until), ..Self::default() });
    }

    /// What clients moved, in the order of the lattice: no epoch before any, unset before any time.
    pub(super) fn moved(&self) -> (Option<Stamp>, Option<TimestampMs>) {
        (self.epoch, self.at)
    }

    fn joined(&self, other: &Self) -> Self {
        let (epoch, at) = self.moved().max(other.moved());
        Self { epoch, at, revoked: self.revoked.max(other.revoked) }.settled()
    }

    fn settled(self) -> Self {
        let begins_anew = |until: &TimestampMs| self.epoch.is_some_and(|epoch| epoch.hlc.time() >= *until);
        Self { revoked: self.revoked.filter(|until| !begins_anew(until)), ..self }
    }
}
