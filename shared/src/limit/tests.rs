//! The limiters against a log of every request, at one node; `hubs` has several that learn of each other late.

mod hubs;

use super::*;
use crate::{id::TimestampMs, limits::CLOCK_BOUND_MS};
use proptest::{collection::vec, prelude::*};
use std::collections::BTreeMap;

const ALONE: Knowledge = Knowledge { staleness_ms: 0, budgets: None, nodes: NonZeroU64::new(1) };

/// The oracle: every admitted request, and the definitions read off the list.
#[derive(Default)]
struct Log(Vec<(i64, u64)>);

impl Log {
    fn spent(&self, from: i64, to: i64) -> u64 {
        self.0.iter().filter(|(at, _)| (from..to).contains(at)).map(|(_, cost)| cost).sum()
    }

    /// What counts as used at `now` for a node that knows the whole log.
    fn used(&self, limit: &Limit, now: i64) -> u64 {
        let width = limit.window_ms() as i64;
        let start = now - now.rem_euclid(width);
        match limit.algorithm() {
            Algorithm::FixedWindow => self.spent(start, now + 1),
            Algorithm::SlidingWindow => {
                let first = now - width + 1;
                self.spent(first - first.rem_euclid(counting::slot_ms(limit)), now + 1)
            }
            Algorithm::TokenBucket => self.backlog(limit, now, width * intervals_per_slot(limit)),
        }
    }

    /// What counts by the limit's definition.
    fn exact(&self, limit: &Limit, now: i64) -> u64 {
        let width = limit.window_ms() as i64;
        match limit.algorithm() {
            Algorithm::FixedWindow => self.used(limit, now),
            Algorithm::SlidingWindow => self.spent(now - width + 1, now + 1),
            Algorithm::TokenBucket => self.backlog(limit, now, width),
        }
    }

    /// The greatest, over starts that are multiples of `step_ms`, of what was spent since beyond what was refilled since.
    fn backlog(&self, limit: &Limit, now: i64, step_ms: i64) -> u64 {
        let width = limit.window_ms() as i64;
        let starts = self.0.iter().map(|(at, _)| at - at.rem_euclid(step_ms)).filter(|start| *start <= now);
        let over = starts.map(|start| {
            let refilled = (now.div_euclid(width) - start.div_euclid(width)) as u64 * limit.per_window();
            self.spent(start, now + 1).saturating_sub(refilled)
        });
        over.max().unwrap_or(0)
    }

    /// The backlog of a bucket that is refilled without steps, times the interval.
    fn backlog_continuous(&self, limit: &Limit, now: i64) -> u128 {
        let (mut backlog, mut at) = (0_u128, i64::MIN);
        for (time, cost) in self.0.iter().copied().chain([(now, 0)]) {
            backlog = backlog.saturating_sub(u128::from(limit.per_window()) * time.abs_diff(at) as u128);
            (backlog, at) = (backlog + u128::from(cost) * u128::from(limit.window_ms()), time);
        }
        backlog
    }
}

fn intervals_per_slot(limit: &Limit) -> i64 {
    (limit.capacity().div_ceil(limit.per_window())).div_ceil(16) as i64
}

/// A node's counters.
#[derive(Default)]
struct Counters(BTreeMap<Window, (u64, TimestampMs)>);

impl Counters {
    fn decide(&self, limit: &Limit, cost: u64, now: i64) -> Decision {
        let own = |window| self.0.get(&window).map_or(0, |(count, _)| *count);
        limit.decide(cost, TimestampMs(now), &ALONE, |window| Seen { own: own(window), others: 0 })
    }

    fn apply(&mut self, adds: &[Add]) {
        for add in adds {
            let counter = self.0.entry(add.window).or_insert((0, add.expires_at));
            *counter = (counter.0 + add.amount, add.expires_at);
        }
    }

    fn drop_expired(&mut self, now: i64) {
        self.0.retain(|_, (_, expires_at)| now < expires_at.0);
    }
}

fn slidings() -> impl Strategy<Value = Limit> {
    (1_u64..20, 1_u64..2_000).prop_map(|(limit, ms)| Limit::sliding_window(limit, ms).unwrap())
}

fn windows() -> impl Strategy<Value = Limit> {
    prop_oneof![(1_u64..20, 1_u64..2_000).prop_map(|(limit, ms)| Limit::fixed_window(limit, ms).unwrap()), slidings(),]
}

/// Buckets with one interval a slot, and with many.
fn buckets() -> impl Strategy<Value = Limit> {
    let bucket = |(refill, ms, burst)| Limit::token_bucket(refill, ms, burst).unwrap();
    prop_oneof![(1_u64..9, 1_u64..500, 1_u64..40).prop_map(bucket), (1_u64..3, 1_u64..50, 30_u64..400).prop_map(bucket)]
}

fn limits() -> impl Strategy<Value = Limit> {
    prop_oneof![windows(), buckets()]
}

/// Requests: the pause before each, as a share of the window in 1/64, and its cost.
fn traffic() -> impl Strategy<Value = Vec<(i64, u64)>> {
    let pause = prop_oneof![3 => 0_i64..8, 2 => 0_i64..64, 1 => 64_i64..400];
    let cost = prop_oneof![4 => 1_u64..3, 1 => 0_u64..50];
    vec((pause, cost), 1..80)
}

/// Runs the requests at one node; `check` sees the log before each, the decision and the time.
fn run(
    limit: &Limit,
    traffic: &[(i64, u64)],
    mut check: impl FnMut(&Log, &Counters, &Decision, u64, i64) -> Result<(), TestCaseError>,
) -> Result<Log, TestCaseError> {
    let (mut log, mut counters, mut now) = (Log::default(), Counters::default(), 1_000_003);
    for (pause, cost) in traffic {
        now += pause * limit.window_ms() as i64 / 64;
        let decision = counters.decide(limit, *cost, now);
        check(&log, &counters, &decision, *cost, now)?;
        counters.apply(&decision.adds);
        if decision.is_allowed() {
            log.0.push((now, *cost));
        }
    }
    Ok(log)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn windows_decide_as_their_definition_over_the_log(limit in windows(), traffic in traffic()) {
        run(&limit, &traffic, |log, _, decision, cost, now| {
            let used = log.used(&limit, now);
            prop_assert_eq!(decision.is_allowed(), used + cost <= limit.capacity());
            let after = if decision.is_allowed() { used + cost } else { used };
            prop_assert_eq!(decision.remaining, limit.capacity().saturating_sub(after));
            Ok(())
        })?;
    }

    #[test]
    fn no_span_of_a_sliding_window_holds_more_than_the_limit(limit in slidings(), traffic in traffic()) {
        let log = run(&limit, &traffic, |_, _, _, _, _| Ok(()))?;
        for (at, _) in &log.0 {
            prop_assert!(log.spent(at - limit.window_ms() as i64 + 1, at + 1) <= limit.capacity());
        }
    }

    #[test]
    fn a_bucket_is_within_its_bound_of_the_exact_bucket(limit in buckets(), traffic in traffic()) {
        run(&limit, &traffic, |log, counters, _, _, now| {
            let remaining = counters.decide(&limit, 0, now).remaining;
            let exact = limit.capacity() as i128 - i128::from(log.backlog(&limit, now, limit.window_ms() as i64));
            let surplus = i128::from(remaining) - exact;
            let bound = i128::from(limit.per_window()) * i128::from(intervals_per_slot(&limit) - 1);
            prop_assert!((0..=bound).contains(&surplus), "{surplus} of at most {bound} beyond {exact}");
            prop_assert_eq!(remaining, limit.capacity() - log.used(&limit, now));
            Ok(())
        })?;
    }

    #[test]
    fn a_bucket_is_within_a_slot_of_one_refilled_without_steps(limit in buckets(), traffic in traffic()) {
        run(&limit, &traffic, |log, counters, _, _, now| {
            let interval = limit.window_ms() as i128;
            let here = i128::from(limit.capacity() - counters.decide(&limit, 0, now).remaining) * interval;
            let bound = i128::from(limit.per_window()) * i128::from(intervals_per_slot(&limit)) * interval;
            let there = log.backlog_continuous(&limit, now) as i128;
            prop_assert!((here - there).abs() <= bound, "{here} and {there} are more than {bound} apart");
            Ok(())
        })?;
    }

    #[test]
    fn a_refused_request_fits_after_the_stated_wait_and_not_before(limit in limits(), traffic in traffic()) {
        run(&limit, &traffic, |_, counters, decision, cost, now| {
            let Some(wait) = decision.retry_after_ms else {
                prop_assert!(cost > limit.capacity());
                return Ok(());
            };
            prop_assert!(counters.decide(&limit, cost, now + wait as i64).is_allowed());
            prop_assert_eq!(wait == 0, decision.is_allowed());
            prop_assert!(wait == 0 || !counters.decide(&limit, cost, now + wait as i64 - 1).is_allowed());
            Ok(())
        })?;
    }

    #[test]
    fn expired_counters_are_not_missed(limit in limits(), traffic in traffic()) {
        let mut kept = Counters::default();
        run(&limit, &traffic, |_, counters, decision, cost, now| {
            // Another node's clock may run ahead by the clock bound.
            kept.drop_expired(now + CLOCK_BOUND_MS);
            prop_assert_eq!(&kept.decide(&limit, cost, now), decision);
            kept.apply(&decision.adds);
            let read: Vec<_> = limit.windows(TimestampMs(now)).collect();
            prop_assert!(counters.0.keys().filter(|window| read.contains(window)).count() <= kept.0.len());
            Ok(())
        })?;
    }

    #[test]
    fn what_is_counted_is_the_cost_in_windows_that_are_read(limit in limits(), traffic in traffic()) {
        run(&limit, &traffic, |_, _, decision, cost, now| {
            let counted: u64 = decision.adds.iter().map(|add| add.amount).sum();
            prop_assert_eq!(counted, if decision.is_allowed() { cost } else { 0 });
            let read: Vec<_> = limit.windows(TimestampMs(now)).collect();
            prop_assert!(decision.adds.iter().all(|add| add.amount > 0 && read.contains(&add.window)));
            Ok(())
        })?;
    }

    #[test]
    fn counts_of_any_size_do_not_panic(
        limit in limits(), cost in any::<u64>(), now in any::<i64>(), own in any::<u64>(), others in any::<u64>(),
        staleness_ms in any::<u64>(),
    ) {
        let budgets = Some(Budgets { own, elsewhere: others });
        let knowledge = Knowledge { staleness_ms, budgets, nodes: NonZeroU64::new(staleness_ms) };
        let decision = limit.decide(cost, TimestampMs(now), &knowledge, |_| Seen { own, others });
        prop_assert!(decision.remaining <= limit.capacity());
    }
}

#[test]
fn a_limit_that_makes_no_sense_is_refused_by_what_is_wrong() {
    assert_eq!(Limit::fixed_window(0, 1), Err(LimitError::Amount(0)));
    assert_eq!(Limit::sliding_window(AMOUNT_MAX + 1, 1), Err(LimitError::Amount(AMOUNT_MAX + 1)));
    assert_eq!(Limit::fixed_window(1, 0), Err(LimitError::Window(0)));
    assert_eq!(Limit::token_bucket(1, 1, 0), Err(LimitError::Burst(0)));
    let slow = Limit::token_bucket(1, WINDOW_MS_MAX, 2);
    let fills_in_ms = u128::from(WINDOW_MS_MAX) * 2;
    assert_eq!(slow, Err(LimitError::FillsTooSlowly { burst: 2, fills_in_ms }));
    assert!(Limit::token_bucket(AMOUNT_MAX, WINDOW_MS_MAX, AMOUNT_MAX).is_ok());
}

#[test]
fn a_stored_limit_is_validated_again() {
    let limit = Limit::token_bucket(3, 1_000, 30).unwrap();
    let bytes = postcard::to_allocvec(&limit).unwrap();
    assert_eq!(postcard::from_bytes::<Limit>(&bytes), Ok(limit));
    let broken = postcard::to_allocvec(&(Algorithm::FixedWindow, 0_u64, 1_000_u64, 0_u64)).unwrap();
    assert!(postcard::from_bytes::<Limit>(&broken).is_err());
}
