//! The decision on one request: whether it fits, what to count, and how wrong that may be.

use super::{
    Algorithm, Limit, Window,
    bucket::{Bookings, Shape},
    counting,
};
use crate::{few::Few, id::TimestampMs};
use std::num::NonZeroU64;

/// So many windows are read without an allocation: those of a fixed window, and of a short sliding one.
const FEW: usize = 5;

/// A window's counter as seen here, in two shares.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Seen {
    /// What this node counted itself, all of it.
    pub own: u64,
    /// What other nodes counted, as far as it has come here.
    pub others: u64,
}

/// Budgets under which nodes decide without asking each other. A node stops when it has spent its budget and others do not
/// know yet; that alone bounds what a decision cannot see.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Budgets {
    /// What this node may still spend before others have seen its spends.
    pub own: u64,
    /// What all others together may have spent without this node having seen it.
    pub elsewhere: u64,
}

/// What this node knows about the others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Knowledge {
    /// How old the others' counts are: all that they spent longer ago than this is in [`Seen::others`].
    pub staleness_ms: u64,
    /// The budgets, where nodes keep to any.
    pub budgets: Option<Budgets>,
    /// How many nodes at most decide on the limit, this one included, where that is known.
    pub nodes: Option<NonZeroU64>,
}

/// What was decided.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// The request fits.
    Allowed,
    /// It does not fit into the limit.
    OverLimit,
    /// It fits into the limit as seen here but not into this node's budget: tell the others of the spends, then ask again.
    OverBudget,
}

/// How far all nodes together may have admitted more than the limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OverAdmission {
    /// By at most this much.
    Bounded(u64),
    /// No budgets are kept, and it is a bucket, or nobody knows how many nodes there are: by as much as the others spent since
    /// their counts were taken, whatever that is.
    Unbounded,
}

/// How wrong a decision may be. Both amounts speak of the instant of the decision: how far all that was admitted anywhere
/// by then, this request included, goes beyond the limit by its definition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ErrorBar {
    /// How old the others' counts are.
    pub staleness_ms: u64,
    /// At most this much. With budgets, those elsewhere and what is seen to be over already; else what the other nodes let pass
    /// if each of them, seeing nobody, spends the whole limit.
    pub over_admit_max: OverAdmission,
    /// So much is to be expected, if the others went on at the rate seen here.
    pub over_admit_expected: u64,
}

/// A counter to raise, for a request that is allowed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Add {
    /// Which counter.
    pub window: Window,
    /// By how much.
    pub amount: u64,
    /// Until when the counter must live.
    pub expires_at: TimestampMs,
}

/// The answer to one request.
#[derive(Clone, PartialEq, Eq, Debug)]
#[must_use = "an allowed request counts only once `adds` are applied"]
pub struct Decision {
    /// Whether the request is allowed, and why not.
    pub verdict: Verdict,
    /// The capacity of the limit.
    pub limit: u64,
    /// What is left of it after this request.
    pub remaining: u64,
    /// When the current window ends, or when a bucket is next refilled.
    pub reset_at: TimestampMs,
    /// After how many milliseconds the same request would fit, if nothing else were admitted: 0 if it fits now, none if
    /// waiting alone does not help, since it is larger than the limit or the budget is spent.
    pub retry_after_ms: Option<u64>,
    /// How wrong this may be.
    pub bounds: ErrorBar,
    /// What to count; empty unless allowed.
    pub adds: Vec<Add>,
}

impl Decision {
    /// Whether the request may pass.
    pub fn is_allowed(&self) -> bool {
        self.verdict == Verdict::Allowed
    }
}

impl Limit {
    /// Decides on a request of `cost` at `now`, given what `seen` says of each of [`Limit::windows`]. A cost of 0 asks what
    /// is left and counts nothing.
    ///
    /// Linear in the windows that the limit reads.
    pub fn decide(
        &self,
        cost: u64,
        now: TimestampMs,
        knowledge: &Knowledge,
        seen: impl Fn(Window) -> Seen,
    ) -> Decision {
        let windows: Few<(Window, Seen), FEW> = self.windows(now).map(|window| (window, seen(window))).collect();
        let counts: Few<(Window, u64), FEW> =
            windows.iter().map(|(window, seen)| (*window, seen.own.saturating_add(seen.others))).collect();
        let reading = Reading::of(self, &counts, now);
        let own: Few<(Window, u64), FEW> = windows.iter().map(|(window, seen)| (*window, seen.own)).collect();
        let own = Reading::of(self, &own, now).used(now);

        let used = reading.used(now);
        let capacity = u128::from(self.capacity());
        let fits = used.saturating_add(cost.into()) <= capacity;
        let verdict = match (fits, knowledge.budgets) {
            (false, _) => Verdict::OverLimit,
            (true, Some(budgets)) if budgets.own < cost => Verdict::OverBudget,
            (true, _) => Verdict::Allowed,
        };
        let allowed = verdict == Verdict::Allowed;
        let admitted = u128::from(if allowed { cost } else { 0 });
        let (used, own) = (used.saturating_add(admitted), own.saturating_add(admitted));
        let retry_after_ms = match verdict {
            Verdict::Allowed => Some(0),
            Verdict::OverLimit => reading.fits_from(cost, now).map(|at| at.since_ms(now).unsigned_abs()),
            Verdict::OverBudget => None,
        };
        Decision {
            verdict,
            limit: self.capacity(),
            remaining: clamped(capacity.saturating_sub(used)),
            reset_at: reading.reset_at(now),
            retry_after_ms,
            bounds: self.bounds(used, own, now, knowledge, &windows),
            adds: if allowed { self.adds(reading.raised(cost, now)) } else { Vec::new() },
        }
    }

    /// What is wrong at most, where `used` counts here with this request, of which this node spent `own`.
    fn bounds(
        &self,
        used: u128,
        own: u128,
        now: TimestampMs,
        knowledge: &Knowledge,
        windows: &[(Window, Seen)],
    ) -> ErrorBar {
        let over = |unseen: u64| clamped(used.saturating_add(unseen.into()).saturating_sub(self.capacity().into()));
        let over_admit_max = match (knowledge.budgets, knowledge.nodes) {
            (Some(budgets), _) => OverAdmission::Bounded(over(budgets.elsewhere)),
            (None, Some(nodes)) => self.over_of(own, nodes),
            (None, None) => OverAdmission::Unbounded,
        };
        let expected = over(expected_unseen(now, knowledge.staleness_ms, windows));
        let over_admit_expected = match over_admit_max {
            OverAdmission::Bounded(max) => expected.min(max),
            OverAdmission::Unbounded => expected,
        };
        ErrorBar { staleness_ms: knowledge.staleness_ms, over_admit_max, over_admit_expected }
    }

    /// How far so many nodes go beyond the limit at most, of which this one spent `own` of it.
    ///
    /// A node admits only where the spends that it sees, its own among them, and the cost stay within the capacity. So each
    /// other node's own spends in a window are no more than the capacity, whatever it knows of the others. Of a bucket
    /// that bounds nothing: nodes that cannot see each other refill each for itself, so what they let pass too much grows for
    /// as long as that lasts.
    fn over_of(&self, own: u128, nodes: NonZeroU64) -> OverAdmission {
        match self.algorithm() {
            Algorithm::FixedWindow | Algorithm::SlidingWindow => {
                let capacity = u128::from(self.capacity());
                let others = u128::from(nodes.get().saturating_sub(1)).saturating_mul(capacity);
                OverAdmission::Bounded(clamped(own.saturating_add(others).saturating_sub(capacity)))
            }
            Algorithm::TokenBucket => OverAdmission::Unbounded,
        }
    }
}

/// What the others are to be expected to have spent since their counts were taken: their rate over the windows that the
/// counts cover, times the staleness, rounded up. Where less than the staleness is covered, as much as was seen.
fn expected_unseen(now: TimestampMs, staleness_ms: u64, windows: &[(Window, Seen)]) -> u64 {
    let Some((first, _)) = windows.first() else { return 0 };
    let begun = windows.iter().filter(|(window, _)| window.start <= now);
    let others = begun.fold(0_u64, |sum, (_, seen)| sum.saturating_add(seen.others));
    let span_ms = now.since_ms(first.start).unsigned_abs();
    let unseen_ms = staleness_ms.min(span_ms);
    let covered_ms = span_ms.saturating_sub(unseen_ms).max(unseen_ms).max(1);
    // Nearly always there is no need for more than 64 bits, whose division is the faster one.
    match others.checked_mul(unseen_ms) {
        Some(product) => product.div_ceil(covered_ms),
        None => clamped(u128::from(others).saturating_mul(unseen_ms.into()).div_ceil(covered_ms.into())),
    }
}

fn clamped(amount: u128) -> u64 {
    u64::try_from(amount).unwrap_or(u64::MAX)
}

/// The counts of one decision, under the limit's algorithm.
enum Reading<'a> {
    Windows { limit: &'a Limit, counts: &'a [(Window, u64)], current: Window },
    Bucket(Bookings<'a>),
}

impl<'a> Reading<'a> {
    fn of(limit: &'a Limit, counts: &'a [(Window, u64)], now: TimestampMs) -> Self {
        match limit.algorithm() {
            Algorithm::FixedWindow | Algorithm::SlidingWindow => {
                Self::Windows { limit, counts, current: limit.window_at(now) }
            }
            Algorithm::TokenBucket => {
                Self::Bucket(Bookings { shape: Shape::of(limit), capacity: limit.capacity(), slots: counts })
            }
        }
    }

    fn used(&self, now: TimestampMs) -> u128 {
        match self {
            Self::Windows { counts, .. } => counting::used(counts),
            Self::Bucket(bookings) => bookings.backlog(now),
        }
    }

    fn reset_at(&self, now: TimestampMs) -> TimestampMs {
        match self {
            Self::Windows { limit, counts, current } => counting::reset_at(limit, counts, *current),
            Self::Bucket(bookings) => bookings.next_refill(now),
        }
    }

    fn fits_from(&self, cost: u64, now: TimestampMs) -> Option<TimestampMs> {
        match self {
            Self::Windows { limit, counts, .. } => counting::fits_from(limit, counts, cost, now),
            Self::Bucket(bookings) => bookings.fits_from(cost, now),
        }
    }

    fn raised(&self, cost: u64, now: TimestampMs) -> Vec<(Window, u64)> {
        match self {
            Self::Windows { .. } if cost == 0 => Vec::new(),
            Self::Windows { current, .. } => vec![(*current, cost)],
            Self::Bucket(bookings) => bookings.book(cost, now),
        }
    }
}
