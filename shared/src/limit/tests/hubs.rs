//! Hubs that learn of each other late: what they admit together, and what their error bars state.

use super::*;

/// One request at one of several hubs.
#[derive(Clone, Debug)]
struct Asked {
    hub: usize,
    pause: i64,
    cost: u64,
    /// When each hub learns of it, as a share of the staleness in 1/16.
    delays: [u64; HUBS],
}

const HUBS: usize = 4;

fn asked() -> impl Strategy<Value = Vec<Asked>> {
    let one = (0..HUBS, prop_oneof![0_i64..4, 0_i64..64], 1_u64..4, proptest::array::uniform(0_u64..=16));
    vec(one.prop_map(|(hub, pause, cost, delays)| Asked { hub, pause, cost, delays }), 1..120)
}

/// What hubs admitted, with the time at which each hub learns of it.
struct Spent {
    hub: usize,
    cost: u64,
    adds: Vec<Add>,
    known_at: [i64; HUBS],
}

/// What is booked and not yet refilled, by these counters.
fn backlog_of(limit: &Limit, now: i64, count: impl Fn(Window) -> u64) -> u64 {
    let now = TimestampMs(now);
    let slots: Vec<_> = limit.windows(now).map(|window| (window, count(window))).collect();
    let bookings = bucket::Bookings { shape: bucket::Shape::of(limit), capacity: limit.capacity(), slots: &slots };
    bookings.backlog(now) as u64
}

/// What is used once a request is decided, for somebody who knows of all hubs' spends.
struct Used {
    /// By the counters.
    counted: u64,
    /// By the definition.
    exact: u64,
}

/// Runs requests at hubs that learn of each other after up to `staleness_ms`; each keeps to `budget` where there is one.
/// `check` sees what is really used, and the decision.
fn run_hubs(
    limit: &Limit,
    asked: &[Asked],
    staleness_ms: u64,
    budget: Option<u64>,
    mut check: impl FnMut(Used, &Decision) -> Result<(), TestCaseError>,
) -> Result<(), TestCaseError> {
    let (mut log, mut spent, mut now) = (Log::default(), Vec::<Spent>::new(), 1_000_003);
    for Asked { hub, pause, cost, delays } in asked {
        now += pause * limit.window_ms() as i64 / 64;
        let unseen = spent.iter().filter(|s| s.hub == *hub && s.known_at.iter().any(|at| *at > now));
        let unseen: u64 = unseen.map(|s| s.cost).sum();
        let budgets = budget.map(|b| Budgets { own: b - unseen, elsewhere: b * (HUBS as u64 - 1) });
        let count = |window: Window, whose: &dyn Fn(&Spent) -> bool| -> u64 {
            let adds = spent.iter().filter(|s| whose(s)).flat_map(|s| &s.adds);
            adds.filter(|add| add.window == window).map(|add| add.amount).sum()
        };
        let decision = limit.decide(
            *cost,
            TimestampMs(now),
            &Knowledge { staleness_ms, budgets, nodes: NonZeroU64::new(HUBS as u64) },
            |window| Seen {
                own: count(window, &|s| s.hub == *hub),
                others: count(window, &|s| s.hub != *hub && s.known_at[*hub] <= now),
            },
        );
        let counted = match limit.algorithm() {
            Algorithm::FixedWindow | Algorithm::SlidingWindow => log.used(limit, now),
            Algorithm::TokenBucket => backlog_of(limit, now, |window| count(window, &|_| true)),
        };
        let admitted = if decision.is_allowed() { *cost } else { 0 };
        check(Used { counted: counted + admitted, exact: log.exact(limit, now) + admitted }, &decision)?;
        if decision.is_allowed() {
            let mut known_at = delays.map(|delay| now + (delay * staleness_ms / 16) as i64);
            known_at[*hub] = now;
            spent.push(Spent { hub: *hub, cost: *cost, adds: decision.adds, known_at });
            log.0.push((now, *cost));
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn hubs_with_budgets_admit_no_more_than_they_state(
        limit in limits(), asked in asked(), staleness_ms in 0_u64..3_000, budget in 0_u64..12,
    ) {
        run_hubs(&limit, &asked, staleness_ms, Some(budget), |Used { counted, .. }, decision| {
            let over = counted.saturating_sub(limit.capacity());
            let OverAdmission::Bounded(stated) = decision.bounds.over_admit_max else {
                return Err(TestCaseError::fail("a budget bounds"));
            };
            prop_assert!(over <= stated, "{over} over, {stated} stated");
            prop_assert!(decision.bounds.over_admit_expected <= stated);
            prop_assert!(!decision.is_allowed() || stated <= budget * (HUBS as u64 - 1));
            Ok(())
        })?;
    }

    #[test]
    fn hubs_whose_number_is_known_admit_no_more_than_they_state(
        limit in windows(), asked in asked(), staleness_ms in 0_u64..3_000,
    ) {
        run_hubs(&limit, &asked, staleness_ms, None, |Used { exact, .. }, decision| {
            let over = exact.saturating_sub(limit.capacity());
            let OverAdmission::Bounded(stated) = decision.bounds.over_admit_max else {
                return Err(TestCaseError::fail("a number of nodes bounds"));
            };
            prop_assert!(over <= stated, "{over} over, {stated} stated");
            Ok(())
        })?;
    }

    #[test]
    fn hubs_that_learn_at_once_decide_as_one(limit in limits(), asked in asked()) {
        run_hubs(&limit, &asked, 0, None, |Used { counted, .. }, decision| {
            prop_assert_eq!(decision.remaining, limit.capacity() - counted);
            prop_assert_eq!(decision.bounds.over_admit_expected, 0);
            Ok(())
        })?;
    }
}

#[test]
fn hubs_without_news_of_each_other_reach_the_stated_bound() {
    let limit = Limit::fixed_window(10, 1_000).unwrap();
    let asked: Vec<_> =
        (0..HUBS).flat_map(|hub| [7, 3].map(|cost| Asked { hub, pause: 0, cost, delays: [16; HUBS] })).collect();
    let mut over_stated = Vec::new();
    run_hubs(&limit, &asked, 500, Some(7), |Used { counted, .. }, decision| {
        over_stated.push((counted.saturating_sub(10), decision.bounds.over_admit_max, decision.verdict));
        Ok(())
    })
    .unwrap();
    // Every hub spends its budget of 7 and none can go on: 28 in all, as each of them said could happen.
    let (over, stated, verdict) = over_stated[HUBS * 2 - 2];
    assert_eq!((over, stated, verdict), (18, OverAdmission::Bounded(18), Verdict::Allowed));
    assert!(over_stated.iter().skip(1).step_by(2).all(|(_, _, verdict)| *verdict == Verdict::OverBudget));
}

proptest! {
    #[test]
    fn what_two_hubs_overbook_at_one_time_is_paid_back_in_full(
        refill in 1_u64..9, burst in 1_u64..60, taken in 1_u64..60, traffic in traffic(),
    ) {
        prop_assume!(burst <= 16 * refill);
        let limit = Limit::token_bucket(refill, 640, burst).unwrap();
        let (mut log, mut counters, mut now) = (Log::default(), Counters::default(), 640_000);
        // Neither knows of the other: each finds its share in a full bucket.
        for cost in [burst, taken.min(burst)] {
            counters.apply(&Counters::default().decide(&limit, cost, now).adds);
            log.0.push((now, cost));
        }
        for (pause, cost) in traffic {
            now += pause * 10;
            let decision = counters.decide(&limit, cost, now);
            let backlog = backlog_of(&limit, now, |window| counters.0.get(&window).map_or(0, |(count, _)| *count));
            prop_assert_eq!(backlog, log.backlog(&limit, now, 640));
            prop_assert_eq!(decision.is_allowed(), backlog + cost <= burst);
            if let Some(wait) = decision.retry_after_ms.filter(|wait| *wait > 0) {
                prop_assert!(counters.decide(&limit, cost, now + wait as i64).is_allowed());
                prop_assert!(!counters.decide(&limit, cost, now + wait as i64 - 1).is_allowed());
            }
            counters.apply(&decision.adds);
            if decision.is_allowed() {
                log.0.push((now, cost));
            }
        }
    }
}

#[test]
fn a_surplus_older_than_twice_the_time_to_fill_is_forgiven() {
    // One per second, one at once; four hubs take it without knowing of each other.
    let limit = Limit::token_bucket(1, 1_000, 1).unwrap();
    let mut all = Counters::default();
    for _ in 0..4 {
        all.apply(&Counters::default().decide(&limit, 1, 0).adds);
    }
    let remaining: Vec<_> = (0..5).map(|second| all.decide(&limit, 0, second * 1_000).remaining).collect();
    assert_eq!(remaining, [0, 0, 0, 1, 1], "an exact bucket would refill after four seconds");
}

#[test]
fn hubs_that_see_nobody_reach_what_their_number_bounds() {
    let limit = Limit::sliding_window(10, 1_000).unwrap();
    let asked: Vec<_> = (0..HUBS).map(|hub| Asked { hub, pause: 0, cost: 10, delays: [16; HUBS] }).collect();
    let mut last = None;
    run_hubs(&limit, &asked, 500, None, |used, decision| {
        last = Some((used.exact - 10, decision.bounds.over_admit_max));
        Ok(())
    })
    .unwrap();
    assert_eq!(last, Some((30, OverAdmission::Bounded(30))));
}

#[test]
fn nobody_bounds_an_unknown_number_of_nodes_nor_buckets() {
    let (window, bucket) = (Limit::fixed_window(10, 1_000).unwrap(), Limit::token_bucket(1, 1_000, 10).unwrap());
    for (limit, nodes) in [(window, None), (bucket, None), (bucket, NonZeroU64::new(2))] {
        let knowledge = Knowledge { staleness_ms: 0, budgets: None, nodes };
        let decision = limit.decide(1, TimestampMs(0), &knowledge, |_| Seen::default());
        assert_eq!(decision.bounds.over_admit_max, OverAdmission::Unbounded);
    }
}

#[test]
fn the_expected_error_is_the_others_rate_times_the_staleness() {
    let limit = Limit::fixed_window(100, 10_000).unwrap();
    // 6 s into the window others are seen to have spent 80 in its first 4 s: 20 a second, unseen for 2 s.
    let knowledge = Knowledge { staleness_ms: 2_000, budgets: None, nodes: None };
    let decide = |own| limit.decide(1, TimestampMs(6_000), &knowledge, |_| Seen { own, others: 80 });
    assert_eq!(decide(0).bounds.over_admit_expected, 81 + 40 - 100);
    let bounded = Knowledge { budgets: Some(Budgets { own: 5, elsewhere: 30 }), ..knowledge };
    let bounds = limit.decide(1, TimestampMs(6_000), &bounded, |_| Seen { own: 0, others: 80 }).bounds;
    assert_eq!((bounds.over_admit_max, bounds.over_admit_expected), (OverAdmission::Bounded(11), 11));
}
