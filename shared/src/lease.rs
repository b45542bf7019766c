//! Leases: durations on local clocks, so that a holder has stopped before its granter counts the lease as ended.
//!
//! ```text
//! holder    sends the request ......... may use until `duration` after that, by its own clock
//! granter          ....... grants ..... counts it as ended `duration * (1 + drift) / (1 - drift)` later, by its own
//! ```
//! A request is sent before it is granted, so the holder's time starts first; clocks whose rates are off by at most `drift`
//! then end it first too. No clock is ever compared with another (Gray and Cheriton, "Leases", 1989), and nothing here is
//! stored: a holder that restarts has no lease, and a granter that restarts takes it that anyone may still have one, so it
//! grants nothing until the longest lease has ended.
//!
//! A lease only says until when its holder may use rights. What is granted is in the account of a limit
//! ([`crate::limit::Ledger`]), which takes the terms from here; what a holder has is in the hub. What a silent holder used cannot be known,
//! so at the end of its lease all counts as used. [`crate::state::Rights`] is for rights that replicas hand to each other and that do
//! not come back with time.

use crate::id::ReplicaId;
use std::collections::BTreeMap;

/// The longest lease that can be configured, in milliseconds: an hour. It is also how long a new granter is silent.
pub const LEASE_MS_MAX: u64 = 3_600_000;

/// The greatest drift that can be configured, in parts per million: a tenth. Quartz is off by some hundred, and NTP slews a
/// clock by at most 500.
pub const DRIFT_PPM_MAX: u32 = 100_000;

const MILLION: u64 = 1_000_000;

/// Milliseconds on one node's own clock: from any beginning, never going back, and not comparable with another node's.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct LocalMs(pub u64);

impl LocalMs {
    /// So much later.
    pub(crate) fn plus_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    fn until_ms(self, later: Self) -> u64 {
        later.0.saturating_sub(self.0)
    }
}

/// How long leases last, and how wrong clocks may be. All nodes are configured alike.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Terms {
    lease_ms_max: u64,
    drift_ppm: u32,
}

/// Why there is no lease.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LeaseError {
    /// The longest lease is zero or too long.
    #[error("the longest lease is {0} ms; it must be between 1 and {LEASE_MS_MAX} ms")]
    Longest(u64),
    /// The drift is not one of a clock.
    #[error("the clock drift is {0} ppm; at most {DRIFT_PPM_MAX} are allowed")]
    Drift(u32),
    /// A lease was asked for that is longer than configured, or of no duration.
    #[error("a lease of {asked_ms} ms is asked for; it must be between 1 and {lease_ms_max} ms")]
    Duration {
        /// The duration asked for.
        asked_ms: u64,
        /// The longest that is granted.
        lease_ms_max: u64,
    },
    /// Leases of the granter's previous life may still run.
    #[error("leases granted before the restart may still run for {wait_ms} ms")]
    Silent {
        /// How long until leases are granted again.
        wait_ms: u64,
    },
    /// A grant answers a request that is not the holder's latest, or that it has taken the answer to.
    #[error("the grant answers no request that is open")]
    NotAsked,
    /// The holder has no lease that still runs.
    #[error("no lease is running")]
    Ended,
}

impl Terms {
    /// Leases of at most `lease_ms_max`, on clocks whose rates are off by at most `drift_ppm` parts per million.
    pub fn new(lease_ms_max: u64, drift_ppm: u32) -> Result<Self, LeaseError> {
        if lease_ms_max == 0 || lease_ms_max > LEASE_MS_MAX {
            return Err(LeaseError::Longest(lease_ms_max));
        }
        if drift_ppm > DRIFT_PPM_MAX {
            return Err(LeaseError::Drift(drift_ppm));
        }
        Ok(Self { lease_ms_max, drift_ppm })
    }

    /// The longest lease, in milliseconds.
    pub fn lease_ms_max(&self) -> u64 {
        self.lease_ms_max
    }

    /// After how many milliseconds a granter counts a lease of `duration_ms` as ended: rounded up, and one more, since a
    /// clock that reads whole milliseconds may have shown the instant of the grant as up to one too early.
    pub(crate) fn granter_ms(&self, duration_ms: u64) -> u64 {
        let drift = u64::from(self.drift_ppm);
        let slow = u128::from(duration_ms).saturating_mul(MILLION.saturating_add(drift).into());
        let stretched = slow.div_ceil(MILLION.saturating_sub(drift).max(1).into());
        u64::try_from(stretched).unwrap_or(u64::MAX).saturating_add(1)
    }
}

/// The granter's side: who may be using a lease.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Granter {
    terms: Terms,
    /// When the last lease of a previous life has ended.
    silent_until: LocalMs,
    /// When each lease has ended here, at the latest.
    running: BTreeMap<ReplicaId, LocalMs>,
}

impl Granter {
    /// The granter of a site that never granted anything.
    pub fn first(terms: Terms) -> Self {
        Self { terms, silent_until: LocalMs(0), running: BTreeMap::new() }
    }

    /// A granter that does not know what was granted before `now`: a process that restarted, or a new incarnation.
    pub fn restarted(terms: Terms, now: LocalMs) -> Self {
        let silent_until = now.plus_ms(terms.granter_ms(terms.lease_ms_max));
        Self { terms, silent_until, running: BTreeMap::new() }
    }

    /// Notes a lease for `holder`, or a longer one, from now on.
    ///
    /// # Errors
    /// If the duration is not allowed, or leases of a previous life may still run.
    pub fn grant(&mut self, holder: ReplicaId, duration_ms: u64, now: LocalMs) -> Result<(), LeaseError> {
        let lease_ms_max = self.terms.lease_ms_max;
        if duration_ms == 0 || duration_ms > lease_ms_max {
            return Err(LeaseError::Duration { asked_ms: duration_ms, lease_ms_max });
        }
        if now < self.silent_until {
            return Err(LeaseError::Silent { wait_ms: now.until_ms(self.silent_until) });
        }
        let ends_at = now.plus_ms(self.terms.granter_ms(duration_ms));
        let ends = self.running.entry(holder).or_insert(ends_at);
        *ends = ends_at.max(*ends);
        Ok(())
    }

    /// Whether `holder` may still be using a lease.
    pub fn is_running(&self, holder: ReplicaId, now: LocalMs) -> bool {
        now < self.silent_until || self.running.get(&holder).is_some_and(|ends_at| now < *ends_at)
    }

    /// Forgets the leases that have ended by `now`, and says whose. Linear in the leases that run.
    pub fn sweep(&mut self, now: LocalMs) -> Vec<ReplicaId> {
        let mut ended = Vec::new();
        self.running.retain(|holder, ends_at| {
            let runs = now < *ends_at;
            if !runs {
                ended.push(*holder);
            }
            runs
        });
        ended
    }

    /// When to sweep next.
    pub fn next_end(&self) -> Option<LocalMs> {
        self.running.values().min().copied()
    }
}

/// A request for a lease: 64 random bits, so that an answer to a request from before a restart is not taken for one to a
/// later request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RequestId(pub u64);

/// The holder's side.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Holder {
    open: Option<(RequestId, LocalMs)>,
    ends_at: Option<LocalMs>,
}

impl Holder {
    /// Notes a request that is about to be sent; an answer to an earlier one is then not taken any more.
    pub fn requested(&mut self, request: RequestId, now: LocalMs) {
        self.open = Some((request, now));
    }

    /// Takes the answer to `request`: a lease of `duration_ms`, counted from when the request was sent.
    ///
    /// # Errors
    /// If it does not answer the latest request, or did so before.
    pub fn granted(&mut self, request: RequestId, duration_ms: u64) -> Result<(), LeaseError> {
        let (_, sent_at) = self.open.take_if(|(open, _)| *open == request).ok_or(LeaseError::NotAsked)?;
        self.ends_at = self.ends_at.max(Some(sent_at.plus_ms(duration_ms)));
        Ok(())
    }

    /// For how many more milliseconds rights may be used, at least one.
    ///
    /// # Errors
    /// If no lease is running: what is left of the rights is to be handed back.
    pub fn left_ms(&self, now: LocalMs) -> Result<u64, LeaseError> {
        let left_ms = self.ends_at.map_or(0, |ends_at| now.until_ms(ends_at));
        if left_ms == 0 { Err(LeaseError::Ended) } else { Ok(left_ms) }
    }
}

#[cfg(test)]
mod tests;
