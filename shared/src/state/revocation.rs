//! Remove-wins revocations: denylists, logouts, bans.
//!
//! A subject's state is the greatest (generation, until). It is hidden while `now < until`, whatever else is written
//! concurrently, and the entry may be dropped once `until` has passed: nothing it revoked can still be alive then.

use crate::id::TimestampMs;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How a subject is revoked.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Revocation {
    /// Everything of the subject issued under this generation or a lower one is revoked.
    pub generation: u64,
    /// Until when: the latest deadline that anything revoked could have.
    pub until: TimestampMs,
}

/// The revoked subjects.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Revocations(BTreeMap<Bytes, Revocation>);

impl Revocations {
    /// Revokes `subject`; returns the delta.
    #[must_use]
    pub fn revoke(&mut self, subject: Bytes, revocation: Revocation) -> Self {
        let delta = Self(BTreeMap::from([(subject, revocation)]));
        self.join(&delta);
        delta
    }

    /// Joins by the greater revocation of each subject; returns whether anything changed.
    pub fn join(&mut self, other: &Self) -> bool {
        let mut changed = false;
        for (subject, theirs) in &other.0 {
            let own = self.0.get(subject);
            if own.is_none_or(|own| own < theirs) {
                self.0.insert(subject.clone(), *theirs);
                changed = true;
            }
        }
        changed
    }

    /// Whether something of `subject` issued under `generation` is revoked at `now`.
    pub fn is_revoked(&self, subject: &[u8], generation: u64, now: TimestampMs) -> bool {
        self.0.get(subject).is_some_and(|own| now < own.until && generation <= own.generation)
    }

    /// Drops what ended before `now`.
    pub fn sweep(&mut self, now: TimestampMs) {
        self.0.retain(|_, own| now < own.until);
    }
}
