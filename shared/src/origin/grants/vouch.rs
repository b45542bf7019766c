//! For how long the store's present life has lasted at least, as all daemons saw it together.
//!
//! A daemon that begins knows only that the server lives; but where another one of the same life stood before it, what was granted
//! in a former life may have ended long ago. So each writes down every few seconds how long the life has lasted, beside the run id that the
//! store adds, under the name of the empty key, which has no strict limit. What stands there is a lower bound: who reads it adds the time
//! that passed since, and nobody's clock is compared. It is written at once where the life is another one, so that a server which
//! takes over, and gives back soon, leaves a trace.

use crate::{
    id::{Key, TimestampMs},
    lease::LocalMs,
    store::{LedgerOutcome, LedgerSwap, StoredLedger},
    wire::stored::{from_stored, to_stored},
};
use bytes::Bytes;

/// How often it is written, in milliseconds.
const WRITTEN_MS: u64 = 5_000;

/// For how long it stays, in milliseconds: a year.
const KEPT_MS: i64 = 365 * 24 * 3_600_000;

/// What is known of the store's present life.
#[derive(Debug, Default)]
pub(super) struct Vouch {
    /// How long it had lasted, and when that was read.
    read: Option<(u64, LocalMs)>,
    version: Option<u64>,
    is_known: bool,
    /// Whether what stood there was of another life: then no account that was found can be trusted either.
    is_former: bool,
    is_under_way: bool,
    /// The version that is being written, and when it last was.
    writing: Option<u64>,
    written_at: Option<LocalMs>,
}

/// The key under which it stands.
pub(super) fn is_its(key: &Key) -> bool {
    key.as_bytes().is_empty()
}

impl Vouch {
    pub(super) fn is_known(&self) -> bool {
        self.is_known
    }

    pub(super) fn is_former(&self) -> bool {
        self.is_former
    }

    /// For how many milliseconds the life has lasted for certain.
    pub(super) fn age_ms(&self, now: LocalMs) -> u64 {
        let read = self.read.map_or(0, |(age_ms, at)| age_ms.saturating_add(now.0.saturating_sub(at.0)));
        read.max(now.0)
    }

    /// Reads it, unless that is under way.
    pub(super) fn ask(&mut self, now: TimestampMs) -> Option<LedgerSwap> {
        (!std::mem::replace(&mut self.is_under_way, true)).then(|| self.swap(None, now))
    }

    /// Writes it, if it is time.
    pub(super) fn write(&mut self, now: TimestampMs, local: LocalMs, fresh: u32) -> Option<LedgerSwap> {
        let is_due = self.written_at.is_none_or(|at| local >= at.plus_ms(WRITTEN_MS));
        if !self.is_known || self.is_under_way || !is_due {
            return None;
        }
        self.is_under_way = true;
        let version = self.version.map_or(fresh.into(), |before| before.wrapping_add(1));
        let age_ms = self.age_ms(local);
        self.written_at = Some(local);
        self.writing = Some(version);
        Some(self.swap(Some((version, to_stored(|w| w.varint(age_ms)).into())), now))
    }

    /// Takes the answer to either.
    pub(super) fn answered(&mut self, outcome: LedgerOutcome, local: LocalMs) {
        self.is_under_way = false;
        let found = match outcome {
            LedgerOutcome::Swapped => {
                self.version = self.writing;
                return;
            }
            LedgerOutcome::Found(found) => found,
        };
        let is_first = !std::mem::replace(&mut self.is_known, true);
        self.version = found.as_ref().map(|found| found.version);
        let Some(StoredLedger { is_current, bytes, .. }) = found else { return };
        if is_current {
            let age_ms = from_stored(&bytes, |r| r.varint()).unwrap_or(0).max(self.age_ms(local));
            self.read = Some((age_ms, local));
        } else if is_first && self.read.is_none() {
            self.is_former = true;
        }
    }

    fn swap(&self, value: Option<(u64, Bytes)>, now: TimestampMs) -> LedgerSwap {
        let key = Key::new(Bytes::new()).expect("the empty key is a key");
        LedgerSwap { key, expected: self.version, value, expire_at: now.plus_ms(KEPT_MS) }
    }
}
