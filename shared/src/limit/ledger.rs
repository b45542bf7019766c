//! What was granted of one strict limit: the account that keeps all nodes together within it.
//!
//! A hub spends only rights that the origin granted to it. The origin writes down each grant before the hub hears of it, and
//! grants no more than what is left:
//! ```text
//! room = capacity - granted and still open - spent and still counting
//! ```
//! A grant is **open** until the hub tells how much of it was used, or its lease is over for certain; then it is taken to be used whole.
//! What was used counts from when that was written down, which is never before it was spent: for a window's length. A bucket
//! takes back what is at least that old, `limit` of it at a time and not twice within a window's length, whenever its windows begin. So at most `limit` is spent in any span of a window's length, and of a bucket at most
//! `burst` and `limit` for each whole window that the span is long, whoever hears of what and when. What it costs is room: a right counts for the window and for the
//! time from its grant to the report.
//!
//! **Time.** No clock is compared with another one, so the account that is stored bears no times: each granter counts from
//! when it first saw an entry, which is never before it was made. One that restarts counts all of it from the start. A window
//! that begins at multiples of its length on everybody's clock needs such a comparison, so a *fixed* window is kept as a sliding one, which keeps to it
//! wherever its windows begin.
//!
//! Amounts of one limit may change while they are in use. With another window or algorithm the limit counts as used up, since what
//! was forgotten under the former one may count under this one.

use super::{Algorithm, Limit};
use crate::{
    id::ReplicaId,
    lease::{LocalMs, Terms},
    wire::{Invalid, WireError, reader::Reader, stored::from_stored, stored::to_stored, writer::Writer},
};
use std::collections::BTreeMap;

/// For how long a hub may use what it was granted, in milliseconds, counted from when it asked: some round trips around the world.
/// It is also for how long what a hub took with it when it ended is missing, before it counts as used.
pub const GRANT_LEASE_MS: u64 = 5_000;

/// How much clocks may gain or lose, in parts per million: twice what NTP slews.
const DRIFT_PPM: u32 = 1_000;

/// Into how many batches a window's spends are gathered.
const BATCHES: u64 = 64;

/// Entries that an account may have: a hub has one or two open, a granter some more batches than a window has.
const ENTRIES_MAX: usize = 8_192;

/// What an open grant takes at least, and a batch.
const OPEN_BYTES_MIN: usize = 3;
const BATCH_BYTES_MIN: usize = 2;

/// What a hub asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Wanted {
    /// Less is of no use to it now.
    pub least: u64,
    /// What waits for it.
    pub needed: u64,
    /// With what it expects to need before it asks again; at least `needed`.
    pub ahead: u64,
}

/// An amount, and since when it is known here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Dated {
    amount: u64,
    since: LocalMs,
}

/// The account of one limit as a granter sees it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Ledger {
    /// Whether it is a bucket, and its window, since the first grant.
    shape: Option<(bool, u64)>,
    open: BTreeMap<(ReplicaId, u64), Dated>,
    /// Numbers batches; never reused.
    next: u64,
    batches: BTreeMap<u64, Dated>,
    /// When a bucket was last refilled, at the latest.
    refilled_at: LocalMs,
    /// The batch that this granter began last.
    own: Option<u64>,
}

fn terms() -> Terms {
    Terms::new(GRANT_LEASE_MS, DRIFT_PPM).expect("the terms are constants within their bounds")
}

/// After how many milliseconds here so many have passed on any clock.
fn surely_ms(ms: u64) -> u64 {
    terms().granter_ms(ms)
}

/// For how long a granter that may have lost an account grants nothing: what was granted before has been used by then, and has
/// left the window. A bucket is full again after the time in which it fills.
pub fn silence_ms(limit: &Limit) -> u64 {
    let counts_ms = match limit.algorithm() {
        Algorithm::FixedWindow | Algorithm::SlidingWindow => limit.window_ms(),
        Algorithm::TokenBucket => {
            limit.window_ms().saturating_mul(limit.capacity().div_ceil(limit.per_window().max(1)).max(1))
        }
    };
    surely_ms(GRANT_LEASE_MS).saturating_add(surely_ms(counts_ms)).saturating_add(batch_ms(limit))
}

fn batch_ms(limit: &Limit) -> u64 {
    limit.window_ms().div_ceil(BATCHES)
}

/// For how long a batch counts from when it was begun: it may have grown until its end.
fn counts_ms(limit: &Limit) -> u64 {
    surely_ms(limit.window_ms()).saturating_add(batch_ms(limit))
}

fn is_bucket(limit: &Limit) -> bool {
    limit.algorithm() == Algorithm::TokenBucket
}

impl Ledger {
    /// The account of a limit of which nothing was granted. Batches are numbered from `first`, which is drawn at random, so that those of
    /// an account that vanished are told from them.
    pub fn begun(first: u32) -> Self {
        Self { next: first.into(), ..Self::default() }
    }

    /// Brings the account up to `now`: what a lease ended of is used, and what has left the window is gone. To be called before
    /// anything else of the same moment. Linear in the entries.
    pub fn settle(&mut self, limit: &Limit, now: LocalMs) {
        let shape = (is_bucket(limit), limit.window_ms());
        let is_reshaped = self.shape.is_some_and(|before| before != shape);
        self.shape = Some(shape);
        let lease_ms = surely_ms(GRANT_LEASE_MS);
        let ended = self.open.extract_if(.., |_, grant| grant.since.plus_ms(lease_ms) <= now);
        let ended = ended.fold(0_u64, |sum, (_, grant)| sum.saturating_add(grant.amount));
        if is_reshaped {
            self.batches.clear();
            self.own = None;
            self.spend(limit, limit.capacity(), now);
        }
        self.spend(limit, ended, now);
        if is_bucket(limit) {
            self.refill(limit, now);
        } else {
            self.batches.retain(|_, batch| now < batch.since.plus_ms(counts_ms(limit)));
        }
    }

    /// Notes that a hub used so much of a grant, and will use no more. Of a grant that is not open this changes nothing: it
    /// counts as used whole.
    pub fn close(&mut self, limit: &Limit, hub: ReplicaId, request: u64, used: u64, now: LocalMs) {
        if let Some(grant) = self.open.remove(&(hub, request)) {
            self.spend(limit, used.min(grant.amount), now);
        }
    }

    /// Grants what there is room for, up to what is asked; fewer ahead as the limit nears. A request that was granted is answered
    /// as before.
    pub fn grant(&mut self, limit: &Limit, hub: ReplicaId, request: u64, wanted: Wanted, now: LocalMs) -> u64 {
        if let Some(grant) = self.open.get(&(hub, request)) {
            return grant.amount;
        }
        let room = self.room(limit);
        let fair = wanted.needed.max(room / 8).min(wanted.ahead.max(wanted.needed));
        let amount = fair.min(room);
        if amount == 0 || amount < wanted.least || self.open.len() >= ENTRIES_MAX {
            return 0;
        }
        self.open.insert((hub, request), Dated { amount, since: now });
        amount
    }

    /// How much may still be granted.
    pub fn room(&self, limit: &Limit) -> u64 {
        let open = self.open.values().fold(0_u64, |sum, grant| sum.saturating_add(grant.amount));
        let spent = self.batches.values().fold(0_u64, |sum, batch| sum.saturating_add(batch.amount));
        limit.capacity().saturating_sub(open.saturating_add(spent))
    }

    /// In how many milliseconds there is room for `amount` for certain, if nothing more is granted and what is open is used.
    pub fn fits_in_ms(&self, limit: &Limit, amount: u64, now: LocalMs) -> u64 {
        let room = self.room(limit);
        let mut missing = amount.saturating_sub(room);
        if missing == 0 {
            return 0;
        }
        if is_bucket(limit) {
            let refills = missing.div_ceil(limit.per_window().max(1));
            return surely_ms(limit.window_ms()).saturating_mul(refills);
        }
        let counts_ms = counts_ms(limit);
        let ends = |dated: &Dated, more_ms: u64| {
            (dated.since.plus_ms(counts_ms.saturating_add(more_ms)).0.saturating_sub(now.0), dated.amount)
        };
        let open = self.open.values().map(|grant| ends(grant, surely_ms(GRANT_LEASE_MS)));
        let mut ends: Vec<(u64, u64)> = self.batches.values().map(|batch| ends(batch, 0)).chain(open).collect();
        ends.sort_unstable();
        for (after_ms, amount) in ends {
            missing = missing.saturating_sub(amount);
            if missing == 0 {
                return after_ms;
            }
        }
        counts_ms
    }

    /// Whether the other account says the same but for what has left the window here. Such need not be stored: who reads it
    /// counts too much.
    pub fn is_stored_as(&self, other: &Self) -> bool {
        let amount = |dated: &Dated| dated.amount;
        let is_kept = |(no, batch): (&u64, &Dated)| other.batches.get(no).map(amount) == Some(batch.amount);
        let is_new = other.shape.is_none() && self.open.is_empty() && self.batches.is_empty();
        (self.shape == other.shape || is_new) && self.open == other.open && self.batches.iter().all(is_kept)
    }

    fn spend(&mut self, limit: &Limit, amount: u64, now: LocalMs) {
        if amount == 0 {
            return;
        }
        let is_young = |batch: &Dated| now.0 < batch.since.plus_ms(batch_ms(limit)).0;
        match self.own.and_then(|no| self.batches.get_mut(&no)).filter(|batch| is_young(batch)) {
            Some(batch) => batch.amount = batch.amount.saturating_add(amount),
            None => {
                self.own = Some(self.next);
                self.batches.insert(self.next, Dated { amount, since: now });
                self.next = self.next.saturating_add(1);
            }
        }
    }

    /// Takes back what is old enough, in refills that lie a window apart. One that comes late leaves the later ones where they were
    /// due; each is made as of its own time. Linear in the refills that are due and take anything.
    fn refill(&mut self, limit: &Limit, now: LocalMs) {
        while let Some(oldest) = self.batches.values().map(|batch| batch.since).min() {
            let at = self.refilled_at.plus_ms(surely_ms(limit.window_ms())).max(oldest.plus_ms(counts_ms(limit)));
            if now < at {
                break;
            }
            let mut left = limit.per_window();
            for batch in self.batches.values_mut().filter(|batch| batch.since.plus_ms(counts_ms(limit)) <= at) {
                let taken = batch.amount.min(left);
                batch.amount = batch.amount.saturating_sub(taken);
                left = left.saturating_sub(taken);
            }
            self.batches.retain(|_, batch| batch.amount > 0);
            self.refilled_at = at;
        }
    }

    /// The account as it is stored, without times.
    pub fn to_bytes(&self) -> Vec<u8> {
        to_stored(|w| self.write(w))
    }

    /// The account that another granter, or this one, stored; of what `before` knew already the times are kept.
    ///
    /// # Errors
    /// When it does not decode.
    pub fn from_bytes(bytes: &[u8], before: &Self, now: LocalMs) -> Result<Self, WireError> {
        from_stored(bytes, |r| Self::read(r, before, now))
    }

    fn write(&self, w: &mut Writer) {
        let (is_bucket, window_ms) = self.shape.unwrap_or_default();
        w.u8(is_bucket.into());
        w.varint(window_ms);
        w.varint(self.next);
        w.count(self.open.len());
        for ((hub, request), grant) in &self.open {
            w.replica(*hub);
            w.varint(*request);
            w.varint(grant.amount);
        }
        w.count(self.batches.len());
        for (no, batch) in &self.batches {
            w.varint(*no);
            w.varint(batch.amount);
        }
    }

    fn read(r: &mut Reader<'_>, before: &Self, now: LocalMs) -> Result<Self, Invalid> {
        let is_bucket = match r.u8()? {
            0 => false,
            1 => true,
            _ => return Err(Invalid::Tag("limit")),
        };
        let window_ms = r.varint()?;
        let next = r.varint()?;
        let dated = |known: Option<&Dated>, amount| Dated { amount, since: known.map_or(now, |known| known.since) };
        let open = r.list("grants", ENTRIES_MAX, OPEN_BYTES_MIN, |r| {
            let id = (r.replica()?.1, r.varint()?);
            Ok((id, dated(before.open.get(&id), r.varint()?)))
        })?;
        let batches = r.list("batches", ENTRIES_MAX, BATCH_BYTES_MIN, |r| {
            let no = r.varint()?;
            Ok((no, dated(before.batches.get(&no), r.varint()?)))
        })?;
        let batches: BTreeMap<u64, Dated> = batches.into_iter().collect();
        Ok(Self {
            shape: Some((is_bucket, window_ms)).filter(|(_, window_ms)| *window_ms > 0),
            open: open.into_iter().collect(),
            next,
            own: before.own.filter(|no| batches.contains_key(no)),
            batches,
            // Whoever stored it may have refilled it just then.
            refilled_at: now,
        })
    }
}

#[cfg(test)]
#[path = "ledger/tests.rs"]
mod tests;
