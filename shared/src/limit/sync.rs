//! When to tell others of own spends: sooner as the limit nears.

use std::num::NonZeroU64;

/// The share of what is left that may be spent between two syncs: a quarter. Half of what is left is then spent after
/// three syncs, and a limit of n is approached in about `ln(n) / ln(4/3)` syncs, whatever the rate.
const SHARE: u64 = 4;

/// How fast a limit is being spent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rate {
    /// So much was spent,
    pub amount: u64,
    /// in so many milliseconds.
    pub per_ms: NonZeroU64,
}

/// Between what intervals a sync is planned, in milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SyncBounds {
    /// Not sooner than this: what a round trip takes, say.
    pub min_ms: u64,
    /// Not later than this, however slowly the limit is spent. Wins over a greater minimum.
    pub max_ms: u64,
}

/// In how many milliseconds to sync next: when a quarter of what remains will be spent at this rate, within the bounds.
///
/// Less remaining or a higher rate never makes it later. With nothing remaining it is the minimum: what made the limit
/// full should be known elsewhere at once.
pub fn sync_after_ms(remaining: u64, rate: Rate, bounds: SyncBounds) -> u64 {
    let quarter_in_ms = u128::from(remaining)
        .saturating_mul(rate.per_ms.get().into())
        .checked_div(u128::from(rate.amount).saturating_mul(SHARE.into()))
        .unwrap_or(if remaining == 0 { 0 } else { u128::MAX });
    u64::try_from(quarter_in_ms).unwrap_or(u64::MAX).max(bounds.min_ms).min(bounds.max_ms)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BOUNDS: SyncBounds = SyncBounds { min_ms: 10, max_ms: 5_000 };

    fn rate(amount: u64, per_ms: u64) -> Rate {
        Rate { amount, per_ms: NonZeroU64::new(per_ms).unwrap() }
    }

    #[test]
    fn an_idle_limit_syncs_at_the_maximum_and_a_full_one_at_the_minimum() {
        assert_eq!(sync_after_ms(100, rate(0, 1_000), BOUNDS), 5_000);
        assert_eq!(sync_after_ms(0, rate(5, 1_000), BOUNDS), 10);
        assert_eq!(sync_after_ms(0, rate(0, 1_000), BOUNDS), 10);
    }

    #[test]
    fn a_quarter_of_the_rest_is_spent_between_syncs() {
        // 100 a second, 80 left: 20 are spent in 200 ms.
        assert_eq!(sync_after_ms(80, rate(100, 1_000), BOUNDS), 200);
    }

    #[test]
    fn a_limit_is_approached_in_logarithmically_many_syncs() {
        let (mut remaining, mut syncs) = (1_000_000_u64, 0);
        // A million a minute, one sync at least every minute: the minimum of 1 ms comes into play near the end only.
        let bounds = SyncBounds { min_ms: 1, max_ms: 60_000 };
        while remaining > 100 {
            let after_ms = sync_after_ms(remaining, rate(1_000_000, 60_000), bounds);
            remaining = remaining.saturating_sub(after_ms * 1_000_000 / 60_000);
            syncs += 1;
        }
        assert!((30..=40).contains(&syncs), "ln(10^4) / ln(4/3) is 32; it took {syncs}");
    }

    proptest! {
        #[test]
        fn nearer_to_the_limit_is_never_later(
            remaining in any::<u64>(), less in any::<u64>(), amount in any::<u64>(), more in any::<u64>(),
            per_ms in 1..u64::MAX,
        ) {
            let (less, remaining) = (less.min(remaining), less.max(remaining));
            let (amount, more) = (amount.min(more), amount.max(more));
            let at = |remaining, amount| sync_after_ms(remaining, rate(amount, per_ms), BOUNDS);
            prop_assert!(at(less, amount) <= at(remaining, amount));
            prop_assert!(at(remaining, more) <= at(remaining, amount));
            prop_assert!((BOUNDS.min_ms..=BOUNDS.max_ms).contains(&at(remaining, amount)));
        }
    }
}
