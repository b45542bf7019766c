//! HW.LIMIT at hubs and leaves, against a log of every request.

use crate::common::{MINUTE, SECOND, START, World};
use proptest::{collection::vec, prelude::*};

const A: usize = 0;
const B: usize = 1;

/// What HW.LIMIT answered.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Answer {
    is_allowed: bool,
    remaining: i64,
    reset_at: i64,
    retry_after_ms: i64,
    staleness_ms: i64,
    over_admit_max: i64,
    over_admit_expected: i64,
}

fn answer(reply: &str) -> Answer {
    let numbers = reply.trim_start_matches('[').trim_end_matches(']').split(' ');
    let numbers: Vec<i64> = numbers.map(|number| number[1..].parse().unwrap_or_else(|_| panic!("{reply}"))).collect();
    let [allowed, remaining, reset_at, retry_after_ms, staleness_ms, over_admit_max, over_admit_expected] = numbers[..]
    else {
        panic!("{reply} has seven numbers")
    };
    let is_allowed = allowed == 1;
    Answer { is_allowed, remaining, reset_at, retry_after_ms, staleness_ms, over_admit_max, over_admit_expected }
}

/// Hubs that hold the key, at the start of a minute.
fn world(hubs: usize) -> World {
    let mut world = World::new(hubs);
    world.hold(&["k"]);
    world.skip(MINUTE - START.0.rem_euclid(MINUTE));
    world
}

#[test]
fn two_hubs_that_know_of_each_other_share_a_limit() {
    let mut world = world(2);
    let line = "HW.LIMIT k FIXED 10 60000 COST 4";
    assert_eq!(answer(&world.run(A, line)).remaining, 6);
    world.settle();
    assert_eq!(answer(&world.run(B, line)).remaining, 2);
    world.settle();
    let refused = answer(&world.run(A, line));
    assert_eq!((refused.is_allowed, refused.remaining, refused.retry_after_ms), (false, 2, MINUTE));
    assert_eq!(refused.reset_at - world.now.0, MINUTE);
    world.advance(MINUTE);
    assert!(answer(&world.run(A, line)).is_allowed);
}

#[test]
fn spends_of_two_hubs_that_cannot_see_each_other_both_count_once_they_meet() {
    let mut world = world(2);
    world.part(B);
    for hub in [A, B] {
        let last = (0..11).map(|_| answer(&world.run(hub, "HW.LIMIT k FIXED 10 60000"))).last().unwrap();
        assert_eq!((last.is_allowed, last.remaining, last.over_admit_max), (false, 0, -1));
    }
    world.join(B);
    world.settle();
    assert_eq!(answer(&world.run(A, "HW.LIMIT k FIXED 100 60000 PEEK COST 0")).remaining, 80);
    world.assert_agreement("k");
}

#[test]
fn hubs_that_cannot_see_each_other_are_bounded_by_their_number() {
    let mut world = world(2);
    world.part(B);
    for algorithm in ["FIXED", "SLIDING"] {
        for hub in [A, B] {
            let line = format!("HW.LIMIT k {algorithm} 10 60000 COST 10 NODES 2");
            let first = answer(&world.run(hub, &line));
            assert_eq!((first.is_allowed, first.over_admit_max), (true, 10), "{algorithm}");
        }
        world.skip(2 * MINUTE);
    }
    let bucket = answer(&world.run(A, "HW.LIMIT k BUCKET 10 60000 NODES 2"));
    assert_eq!((bucket.is_allowed, bucket.over_admit_max), (true, -1));
}

#[test]
fn a_leaf_counts_what_its_hub_settled_for_it_as_another_nodes() {
    let mut world = world(1);
    let leaf = world.leaf_at(A, &["k"]);
    let line = "HW.LIMIT k SLIDING 10 60000 COST 10 NODES 1";
    assert_eq!(answer(&world.run_leaf(leaf, line)).over_admit_max, 10);
    world.settle();
    let refused = answer(&world.run_leaf(leaf, line));
    assert_eq!((refused.is_allowed, refused.over_admit_max), (false, 0));
}

#[test]
fn a_leaf_offline_decides_by_what_it_saw_and_its_spends_count_later() {
    let mut world = world(2);
    world.run(A, "HW.LIMIT k SLIDING 10 60000 COST 3");
    let leaf = world.leaf_at(B, &["k"]);
    world.disconnect(leaf);
    world.skip(5 * SECOND);
    let first = answer(&world.run_leaf(leaf, "HW.LIMIT k SLIDING 10 60000 COST 5"));
    assert_eq!((first.is_allowed, first.remaining, first.staleness_ms), (true, 2, 5 * SECOND));
    assert!(!answer(&world.run_leaf(leaf, "HW.LIMIT k SLIDING 10 60000 COST 5")).is_allowed);
    world.run(A, "HW.LIMIT k SLIDING 10 60000 COST 4");
    world.connect(leaf, B);
    world.settle();
    assert_eq!(world.refused(leaf), [""; 0]);
    let peek = answer(&world.run(A, "HW.LIMIT k SLIDING 20 60000 PEEK"));
    assert_eq!((peek.is_allowed, peek.remaining), (true, 20 - 3 - 5 - 4 - 1));
    world.assert_agreement("k");
}

#[test]
fn others_spends_are_expected_to_go_on_while_nothing_is_heard() {
    let mut world = world(2);
    world.run(A, "HW.LIMIT k FIXED 10 60000 COST 8");
    world.advance(10 * SECOND);
    world.part(B);
    world.skip(10 * SECOND);
    let seen = answer(&world.run(B, "HW.LIMIT k FIXED 10 60000"));
    assert_eq!((seen.is_allowed, seen.remaining), (true, 1));
    assert!(seen.staleness_ms >= 10 * SECOND && seen.over_admit_expected > 0, "{seen:?}");
}

/// A key of few fields is read field by field, one of many window by window.
#[test]
fn what_else_stands_at_the_key_changes_no_decision() {
    let (mut few, mut many) = (world(1), world(1));
    let fields: Vec<String> = (0..200).map(|at| format!("w937:{at} x")).collect();
    many.run(A, &format!("HSET k {}", fields.join(" ")));
    for (algorithm, step) in [("SLIDING", 700), ("SLIDING", 900), ("BUCKET", 1_300)] {
        for _ in 0..150 {
            let line = format!("HW.LIMIT k {algorithm} 40 60000");
            assert_eq!(few.run(A, &line), many.run(A, &line), "{algorithm}");
            [&mut few, &mut many].into_iter().for_each(|world| world.skip(step));
        }
    }
}

#[test]
fn a_peek_counts_nothing() {
    let mut world = world(1);
    for _ in 0..3 {
        assert_eq!(answer(&world.run(A, "HW.LIMIT k BUCKET 1 1000 BURST 5 PEEK")).remaining, 4);
    }
    assert_eq!(world.run(A, "EXISTS k"), ":0");
}

#[test]
fn a_limit_that_nobody_asks_for_takes_no_memory() {
    let mut world = world(2);
    for _ in 0..5 {
        world.run(A, "HW.LIMIT k SLIDING 10 1000");
        world.advance(700);
    }
    assert_eq!(world.run(B, "TYPE k"), "+hash");
    world.advance(10 * MINUTE);
    assert_eq!(world.agreed("EXISTS k"), ":0");
    assert!([A, B].iter().all(|hub| world.state(*hub, "k").elements().is_empty()));
}

#[test]
fn a_limit_in_use_keeps_no_windows_but_those_of_the_last_minutes() {
    let mut world = world(2);
    for _ in 0..600 {
        world.run(A, "HW.LIMIT k FIXED 10 1000");
        world.run(B, "HW.LIMIT k FIXED 10 1000");
        world.advance(SECOND);
    }
    let windows = world.state(A, "k").elements().len();
    assert!(windows <= 90, "{windows} windows of a second are kept");
    world.assert_agreement("k");
}

#[test]
fn what_is_no_limit_is_refused() {
    let mut world = world(1);
    for (line, error) in [
        ("HW.LIMIT k FIXED 0 1000", "-ERR Headwater: the limit is 0; it must be between 1 and 9007199254740991"),
        ("HW.LIMIT k FIXED 1 0", "-ERR Headwater: the window is 0 ms; it must be between 1 and 2678400000 ms"),
        ("HW.LIMIT k FIXED 1 1000 BURST 2", "-ERR syntax error"),
        ("HW.LIMIT k LEAKY 1 1000", "-ERR syntax error"),
        ("HW.LIMIT k FIXED 1 1000 COST", "-ERR syntax error"),
        ("HW.LIMIT k FIXED 1 1000 COST -1", "-ERR value is not an integer or out of range"),
        ("HW.LIMIT k FIXED 1 1000 NODES 0", "-ERR value is not an integer or out of range"),
        ("HW.LIMIT k FIXED 1", "-ERR wrong number of arguments for 'hw.limit' command"),
    ] {
        assert_eq!(world.run(A, line), error, "{line}");
    }
    world.run(A, "SADD k m");
    let wrong_type = "-WRONGTYPE Operation against a key holding the wrong kind of value";
    assert_eq!(world.run(A, "HW.LIMIT k FIXED 1 1000"), wrong_type);
}

/// Every admitted request, and the definitions of the windows read off the list.
#[derive(Default)]
struct Log(Vec<(i64, i64)>);

impl Log {
    fn spent(&self, from: i64, to: i64) -> i64 {
        self.0.iter().filter(|(at, _)| (from..to).contains(at)).map(|(_, cost)| cost).sum()
    }

    fn used(&self, is_sliding: bool, width: i64, now: i64) -> i64 {
        // A sliding window counts every slot that it touches: 64 of them, or fewer of 250 ms, but not fewer than four.
        let slots = |slots: u64| (width as u64).div_ceil(slots) as i64;
        let (first, slot) = if is_sliding { (now - width + 1, slots(64).max(slots(4).min(250))) } else { (now, width) };
        self.spent(first - first.rem_euclid(slot), now + 1)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(48) })]

    #[test]
    fn hubs_that_know_of_each_other_decide_as_one_that_has_the_log(
        limit in 1_i64..20, width in 1_i64..4_000, is_sliding: bool,
        traffic in vec((0_usize..2, prop_oneof![4 => 0_i64..40, 1 => 0_i64..300], 1_i64..4), 1..40),
    ) {
        let mut world = world(2);
        let mut log = Log::default();
        let name = if is_sliding { "SLIDING" } else { "FIXED" };
        for (hub, pause, cost) in traffic {
            world.advance(pause * width / 64);
            let used = log.used(is_sliding, width, world.now.0);
            let answer = answer(&world.run(hub, &format!("HW.LIMIT k {name} {limit} {width} COST {cost}")));
            prop_assert_eq!(answer.is_allowed, used + cost <= limit);
            let after = if answer.is_allowed { used + cost } else { used };
            prop_assert_eq!(answer.remaining, (limit - after).max(0));
            if answer.is_allowed {
                log.0.push((world.now.0, cost));
            }
            world.settle();
        }
    }
}
