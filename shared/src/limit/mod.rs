//! Rate limits as pure functions over short window counters and `now`.
//!
//! A limit is a set of counters, one per window, replicated like any counter and ending by themselves. What travels
//! between nodes is counts and never verdicts, so that the spends of two hubs which could not see each other both count
//! once they meet. [`Limit::decide`] reads the counters that [`Limit::windows`] names, answers with a [`Decision`], and
//! says which counters to raise; the caller reads and writes. The command HW.LIMIT (`exec/limit.rs`) keeps a
//! counter as a field of a hash key, called [`Window::field`], which ends at [`Limit::expires_at`].
//!
//! | algorithm | what counts against the capacity | exact? |
//! |---|---|---|
//! | fixed window | the spends of the window that `now` lies in | as its definition |
//! | sliding window | the spends of every slot, a sixty-fourth of the window or 250 ms, that a window ending now touches | never too few; see [`Algorithm::SlidingWindow`] |
//! | token bucket | what was spent and not yet refilled, as bookings of refills to come | see `bucket.rs` |
//!
//! Two counters with a share of the former, as `@upstash/ratelimit` and others keep a sliding window, cannot tell where in the
//! window before its spends lay, and let up to twice the limit pass. Amounts are integers without a unit, times are
//! milliseconds, and windows are aligned to the Unix epoch, so that all nodes cut time alike.
//!
//! Every decision carries an [`ErrorBar`]: how old the others' counts are, and how far beyond the limit all nodes together
//! may be or can be expected to be.

mod bucket;
mod counting;
mod decision;
mod ledger;
mod sync;
mod window;

#[cfg(test)]
mod tests;

pub use decision::{Add, Budgets, Decision, ErrorBar, Knowledge, OverAdmission, Seen, Verdict};
pub use ledger::{GRANT_LEASE_MS, Ledger, Wanted, silence_ms};
pub use sync::{Rate, SyncBounds, sync_after_ms};
pub use window::{Counts, Window};

use serde::{Deserialize, Serialize};
use std::num::NonZeroU64;

/// The largest amount of a limit or burst: what a JSON number holds exactly.
pub const AMOUNT_MAX: u64 = (1 << 53) - 1;

/// The longest window, and the longest time in which an empty bucket fills, in milliseconds: 31 days.
pub const WINDOW_MS_MAX: u64 = 31 * 24 * 3_600_000;

/// How the spends of the past count against a limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Algorithm {
    /// At most `limit` in each window. Around a boundary up to twice that pass within one window's length.
    FixedWindow,
    /// At most `limit` in any span of a window's length. A spend counts for that long, and for up to a slot longer; see
    /// `counting.rs`.
    SlidingWindow,
    /// Up to `burst` at once, refilled by `limit` at each end of a window.
    TokenBucket,
}

/// A validated limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "Unchecked", into = "Unchecked")]
pub struct Limit {
    algorithm: Algorithm,
    limit: NonZeroU64,
    window_ms: NonZeroU64,
    burst: NonZeroU64,
}

/// What is wrong with a limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, thiserror::Error)]
pub enum LimitError {
    /// The limit, or a bucket's refill, is zero or too large.
    #[error("the limit is {0}; it must be between 1 and {AMOUNT_MAX}")]
    Amount(u64),
    /// The window, or a bucket's interval, is zero or too long.
    #[error("the window is {0} ms; it must be between 1 and {WINDOW_MS_MAX} ms")]
    Window(u64),
    /// A bucket's burst is zero or too large.
    #[error("the burst is {0}; it must be between 1 and {AMOUNT_MAX}")]
    Burst(u64),
    /// An empty bucket takes too long to fill.
    #[error("a bucket of {burst} fills in {fills_in_ms} ms; at most {WINDOW_MS_MAX} ms are allowed")]
    FillsTooSlowly {
        /// The bucket's capacity.
        burst: u64,
        /// How long it would take to fill, in milliseconds.
        fills_in_ms: u128,
    },
}

impl Limit {
    /// At most `limit` in each window of `window_ms`.
    pub fn fixed_window(limit: u64, window_ms: u64) -> Result<Self, LimitError> {
        Self::new(Algorithm::FixedWindow, limit, window_ms, limit)
    }

    /// At most `limit` in any span of `window_ms`; see [`Algorithm::SlidingWindow`].
    pub fn sliding_window(limit: u64, window_ms: u64) -> Result<Self, LimitError> {
        Self::new(Algorithm::SlidingWindow, limit, window_ms, limit)
    }

    /// At most `burst` at once, of which `refill` come back every `interval_ms`.
    pub fn token_bucket(refill: u64, interval_ms: u64, burst: u64) -> Result<Self, LimitError> {
        let limit = Self::new(Algorithm::TokenBucket, refill, interval_ms, burst)?;
        let fills_in_ms = u128::from(burst.div_ceil(refill)).saturating_mul(interval_ms.into());
        if fills_in_ms > WINDOW_MS_MAX.into() {
            return Err(LimitError::FillsTooSlowly { burst, fills_in_ms });
        }
        Ok(limit)
    }

    fn new(algorithm: Algorithm, limit: u64, window_ms: u64, burst: u64) -> Result<Self, LimitError> {
        let within = |value: u64, max: u64| NonZeroU64::new(value).filter(|value| value.get() <= max);
        Ok(Self {
            algorithm,
            limit: within(limit, AMOUNT_MAX).ok_or(LimitError::Amount(limit))?,
            window_ms: within(window_ms, WINDOW_MS_MAX).ok_or(LimitError::Window(window_ms))?,
            burst: within(burst, AMOUNT_MAX).ok_or(LimitError::Burst(burst))?,
        })
    }

    /// How spends count.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The most that can be spent at once when nothing was spent before: the limit, or a bucket's burst.
    pub fn capacity(&self) -> u64 {
        self.burst.get()
    }

    /// The amount per window, or a bucket's refill per interval.
    pub fn per_window(&self) -> u64 {
        self.limit.get()
    }

    /// The length of a window, or a bucket's interval, in milliseconds.
    pub fn window_ms(&self) -> u64 {
        self.window_ms.get()
    }
}

/// A limit as it is stored or received, before it is validated.
#[derive(Serialize, Deserialize)]
struct Unchecked {
    algorithm: Algorithm,
    limit: u64,
    window_ms: u64,
    burst: u64,
}

impl TryFrom<Unchecked> for Limit {
    type Error = LimitError;

    fn try_from(unchecked: Unchecked) -> Result<Self, LimitError> {
        let Unchecked { algorithm, limit, window_ms, burst } = unchecked;
        match algorithm {
            Algorithm::FixedWindow => Self::fixed_window(limit, window_ms),
            Algorithm::SlidingWindow => Self::sliding_window(limit, window_ms),
            Algorithm::TokenBucket => Self::token_bucket(limit, window_ms, burst),
        }
    }
}

impl From<Limit> for Unchecked {
    fn from(limit: Limit) -> Self {
        let Limit { algorithm, limit, window_ms, burst } = limit;
        Self { algorithm, limit: limit.get(), window_ms: window_ms.get(), burst: burst.get() }
    }
}
