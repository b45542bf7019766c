//! The scripts of `@upstash/ratelimit` at hubs and leaves: what several nodes come to, and what is answered without the
//! origin. That one node answers as Redis does is tested with the package itself (tests/edge/clients/ratelimit.test.mjs).

use crate::common::{self, MINUTE, SECOND, World};

const A: usize = 0;
const B: usize = 1;

const FIXED: &str = "EVALSHA b2efc02798c8e9b471a10f9b1d5745db89923ff3 1 k 10 60000 1";
const FIXED_LEFT: &str = "EVALSHA 823cb2a5a902d69681244f5e28e5ebb8f2a89edd 1 k 10";
const DENY: &str = "EVALSHA e8062088fe7e67994f617766e5d766490de1afb8 2 all status ada ben";

/// Takes so many of 10 tokens, of which 4 come back a minute; `at` is in seconds of the client's clock.
fn take(by: i64, at: i64) -> String {
    format!("EVALSHA d60be5bd3d83482ae229309f1f7425424f891204 1 k 10 60000 4 {} {by}", at * SECOND)
}

fn world(hubs: usize) -> World {
    let mut world = World::new(hubs);
    world.hold(&["k", "previous", "all", "status"]);
    world
}

#[test]
fn what_two_hubs_counted_apart_counts_once_they_meet() {
    let mut world = world(2);
    world.part(B);
    for hub in [A, B] {
        for count in 1..=6 {
            assert_eq!(world.run(hub, FIXED), format!("[:{count} :10]"));
        }
    }
    world.join(B);
    world.settle();
    for hub in [A, B] {
        assert_eq!(world.run(hub, FIXED_LEFT), "[:-2 :10]");
    }
    assert_eq!(world.agreed("GET k"), "$12");
}

#[test]
fn a_window_ends_by_itself() {
    let mut world = world(2);
    world.run(A, FIXED);
    world.settle();
    assert_eq!(world.run(B, FIXED), "[:2 :10]");
    assert_eq!(world.run(B, "PTTL k"), format!(":{MINUTE}"));
    world.advance(10 * MINUTE);
    assert_eq!(world.agreed("EXISTS k"), ":0");
    assert!([A, B].iter().all(|hub| world.state(*hub, "k").elements().is_empty()));
}

#[test]
fn takings_at_two_hubs_both_leave_a_bucket() {
    let mut world = world(2);
    assert_eq!(world.run(A, &take(2, 0)), "[:8 :60000 :10]");
    world.settle();
    world.part(B);
    assert_eq!(world.run(A, &take(3, 1)), "[:5 :60000 :10]");
    assert_eq!(world.run(B, &take(4, 1)), "[:4 :60000 :10]");
    world.join(B);
    world.settle();
    assert_eq!(world.run(A, &take(2, 2)), "[:-1 :60000 :10]");
    assert_eq!(world.run(A, &take(1, 2)), "[:0 :60000 :10]");
    assert_eq!(world.agreed("HGET k tokens"), "$0");
}

#[test]
fn two_hubs_that_refill_at_once_bring_one_refill_and_lose_no_taking() {
    for late in [A, B] {
        let mut world = world(2);
        world.run(A, &take(8, 0));
        world.settle();
        world.part(B);
        // Neither sees what the other takes before it refills, and after.
        for hub in [A, B] {
            assert_eq!(world.run(hub, &take(1, 30)), "[:1 :60000 :10]");
        }
        for hub in [1 - late, late] {
            world.skip(SECOND);
            assert_eq!(world.run(hub, &take(1, 61)), "[:4 :120000 :10]");
        }
        world.join(B);
        world.settle();
        // Of 10, 8 and four times one were taken, and 4 came back.
        assert_eq!(world.agreed("HGET k tokens"), "$2", "the later refill is that of {late}");
        assert_eq!(world.agreed("HGET k refilledAt"), "$60000");
    }
}

#[test]
fn requests_noted_at_two_hubs_are_all_in_the_window() {
    let mut world = world(2);
    world.part(B);
    let noted = |name: &str| format!("EVALSHA e04b753a75909b7f99aae4c04cf8869a8de02a9e 1 k {name} 60000 2");
    assert_eq!(world.run(A, &noted("a")), "[$a $2]");
    assert_eq!(world.run(B, &noted("b")), "[$b $2]");
    world.join(B);
    world.settle();
    assert_eq!(world.run(A, "EVALSHA e066c8ce3eaca142b0894ad1541e0a58c9924819 1 k null"), "[$a $2 $b $2]");
}

#[test]
fn a_limit_goes_on_without_the_origin_and_says_so_while_a_deny_list_does_not() {
    let mut world = World::new(1);
    world.part(A);
    let answered = world.pipeline(A, &[FIXED, FIXED_LEFT, &FIXED.replace(" k ", " new "), DENY], None);
    assert!(answered.provisional);
    let replies: Vec<String> = answered.replies.iter().map(common::text::show).collect();
    let away = "-ERR Headwater: the origin is away and this edge does not hold the key";
    assert_eq!(replies, ["[:1 :10]", "[:9 :10]", "[:1 :10]", away]);
}

#[test]
fn a_deny_list_is_due_once() {
    let mut world = world(1);
    world.run(A, "SADD all ben");
    assert_eq!(world.run(A, DENY), "[[:0 :1] :-2]");
    assert_eq!(world.run(A, DENY), "[[:0 :1] :30]");
    assert_eq!(world.run(A, "GET status"), "$pending");
}

#[test]
fn a_reset_deletes_what_matches_of_what_the_hub_knows() {
    let mut world = World::new(1);
    for key in ["p:ada:1", "p:ada:2", "p:ben:1"] {
        world.run(A, &format!("SET {key} 5"));
    }
    let reset = |pattern: &str| format!("EVALSHA 54bd274ddc59fb3be0f42deee2f64322a10e2b50 1 {pattern} null");
    assert_eq!(world.run(A, &reset("p:ada:*")), "nil");
    assert_eq!(world.run(A, "EXISTS p:ada:1 p:ada:2 p:ben:1"), ":1");
    assert_eq!(world.run(A, &reset("p:ben:1")), "nil");
    assert_eq!(world.run(A, "EXISTS p:ben:1"), ":0");
    let leaf = world.leaf_at(A, &["p:ada:1"]);
    let refused = "-ERR Headwater: this needs one agreed order and runs only at the origin";
    assert_eq!(world.run_leaf(leaf, &reset("p:ada:*")), refused);
}

#[test]
fn a_leaf_offline_counts_and_is_counted_later() {
    let mut world = world(1);
    let leaf = world.leaf_at(A, &["k"]);
    world.disconnect(leaf);
    assert_eq!(world.run_leaf(leaf, FIXED), "[:1 :10]");
    assert_eq!(world.run_leaf(leaf, &take(1, 0)), "-WRONGTYPE Operation against a key holding the wrong kind of value");
    assert_eq!(world.run(A, FIXED), "[:1 :10]");
    world.connect(leaf, A);
    world.settle();
    assert_eq!(world.refused(leaf), [""; 0]);
    assert_eq!(world.agreed("GET k"), "$2");
}

#[test]
fn a_dynamic_limit_that_is_no_number_is_an_error() {
    let mut world = World::new(1);
    let line = "EVALSHA b2efc02798c8e9b471a10f9b1d5745db89923ff3 2 k limit 10 60000 1";
    world.run(A, "SET limit 3");
    assert_eq!(world.run(A, line), "[:1 :3]");
    world.run(A, "SET limit many");
    assert_eq!(world.run(A, line), "-ERR value is not an integer or out of range");
    assert_eq!(world.run(A, "GET k"), "$1");
}
