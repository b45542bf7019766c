//! Commands that need one agreed order, executed at the origin: what they answer, what hubs have by then, and what becomes of
//! them when something is lost.
#![cfg(not(target_arch = "wasm32"))]

use crate::common::{self, World};
use headwater::command::CommandError;
use std::collections::BTreeSet;

fn lines(replies: &[Result<headwater::command::Reply, CommandError>]) -> Vec<String> {
    replies.iter().map(common::text::show).collect()
}

fn number(reply: &str) -> i64 {
    reply.trim_start_matches(':').parse().unwrap_or_else(|_| panic!("{reply} is a number"))
}

#[test]
fn of_two_edges_that_set_a_key_if_it_is_absent_one_does() {
    for round in 0..50 {
        let mut world = World::new(2);
        let first = world.begin(0, &["SET k a NX"]);
        let second = world.begin(1, &["SET k b NX"]);
        if round % 2 == 0 {
            world.advance(round);
        }
        world.settle();
        let replies = [lines(&world.take(first)), lines(&world.take(second))].concat();
        assert_eq!(replies.iter().filter(|reply| *reply == "+OK").count(), 1, "{replies:?}");
        let value = if replies[0] == "+OK" { "$a" } else { "$b" };
        assert_eq!(world.agreed("GET k"), value);
    }
}

#[test]
fn what_the_edge_wrote_before_comes_first_and_what_it_asks_next_shows_it() {
    let mut world = World::new(2);
    assert_eq!(world.run(0, "SET k v"), "+OK");
    assert_eq!(world.run(0, "GETDEL k"), "$v");
    assert_eq!(world.run(0, "GET k"), "nil");
    world.run(0, "SADD s a b c");
    let popped = world.run(0, "SPOP s");
    assert_eq!(world.run(0, &format!("SISMEMBER s {}", &popped[1..])), ":0");
    assert_eq!(world.run(0, "SCARD s"), ":2");
    world.settle();
    assert_eq!(world.agreed("SCARD s"), ":2");
    world.assert_agreement("s");
    world.assert_agreement("k");
}

#[test]
fn commands_of_one_request_are_executed_in_their_order() {
    let mut world = World::new(1);
    let commands =
        ["SET k a", "SET k b NX", "SET k c GET", "GET k", "INCR n", "GETDEL n", "EXISTS n", "SETNX n 5", "INCR n"];
    let replies = world.pipeline(0, &commands, None).replies;
    assert_eq!(lines(&replies), ["+OK", "nil", "$a", "$c", ":1", "$1", ":0", ":1", ":6"]);
    world.settle();
    world.assert_agreement("k");
    world.assert_agreement("n");
}

#[test]
fn each_member_is_popped_once() {
    let mut world = World::new(3);
    world.run(0, "SADD s 1 2 3 4 5 6 7 8 9");
    world.run(1, "ZADD z 3 c 1 a 2 b");
    world.settle();
    let asked: Vec<_> = (0..9).map(|at| world.begin(at % 3, &["SPOP s"])).collect();
    world.settle();
    let popped: BTreeSet<String> = asked.into_iter().map(|request| lines(&world.take(request)).remove(0)).collect();
    assert_eq!(popped.len(), 9, "{popped:?}");
    assert_eq!(world.agreed("EXISTS s"), ":0");
    let asked: Vec<_> = (0..3).map(|hub| world.begin(hub, &["ZPOPMIN z"])).collect();
    world.settle();
    let popped: BTreeSet<String> = asked.into_iter().map(|request| lines(&world.take(request)).remove(0)).collect();
    assert_eq!(popped, ["[$a $1]", "[$b $2]", "[$c $3]"].map(str::to_owned).into());
}

#[test]
fn what_plain_clients_wrote_counts_though_nobody_told() {
    let mut world = World::new(1);
    world.hold(&["k", "s"]);
    world.plain_unheard("SET k plain");
    assert_eq!(world.run(0, "SET k v NX GET"), "$plain");
    assert_eq!(world.run(0, "GET k"), "$plain");
    world.plain_unheard("SADD s x");
    assert_eq!(world.run(0, "SPOP s 5"), "[$x]");
    world.plain_unheard("SET k other");
    assert_eq!(world.run(0, "GETDEL k"), "$other");
    world.settle();
    world.assert_agreement("k");
    world.assert_agreement("s");
}

#[test]
fn what_is_given_away_is_given_once_though_plain_clients_are_faster_for_long() {
    let mut world = World::new(1);
    world.run(0, "SET k v");
    world.settle();
    let faster = ["SET k 1", "SET k 2", "SET k 3", "SET k 4", "SET k 5", "SET k 6", "SET k 7", "SET k 8", "SET k 9"];
    // At last one of them has it by a GETDEL of its own.
    world.store.meddling = faster.into_iter().chain(["UNLINK k"]).collect();
    assert_eq!(world.run(0, "GETDEL k"), "nil");
    assert!(world.store.meddling.is_empty());
    world.settle();
    world.assert_agreement("k");
}

#[test]
fn what_follows_waits_for_the_key_of_which_the_origin_began_a_new_life() {
    let mut world = World::new(2);
    world.run(0, "SET c v EX 10");
    world.hold(&["c"]);
    // It has ended, and is not forgotten yet.
    world.advance(90_000);
    let replies = world.pipeline(0, &["SETNX c w", "GET c"], None).replies;
    assert_eq!(lines(&replies), [":1", "$w"]);
    world.settle();
    world.assert_agreement("c");
}

#[test]
fn keys_of_several_slots_have_no_one_order() {
    let mut world = World::new(1);
    assert!(world.run(0, "MSETNX a 1 b 2").contains("CROSSSLOT"));
    assert_eq!(world.run(0, "MSETNX {t}a 1 {t}b 2"), ":1");
    assert_eq!(world.run(0, "MSETNX {t}b 3 {t}c 4"), ":0");
    assert_eq!(world.run(0, "EXISTS {t}a {t}b {t}c"), ":2");
    assert_eq!(world.run(0, "RENAMENX {t}a {t}b"), ":0");
    assert_eq!(world.run(0, "RENAMENX {t}a {t}c"), ":1");
    assert_eq!(world.run(0, "GET {t}c"), "$1");
}

#[test]
fn a_flush_deletes_every_key_but_one_that_is_not_ours_and_says_so() {
    let mut world = World::new(2);
    for name in ["{t}a", "{t}b", "{t}c", "elsewhere"] {
        world.run(0, &format!("SET {name} v"));
    }
    world.hold(&["{t}a", "{t}b", "{t}c", "elsewhere"]);
    world.plain_unheard("UNLINK {t}b");
    world.plain_unheard("SADD {t}b x");
    let refused = world.run(0, "FLUSHDB");
    assert!(refused.contains("keys were left"), "{refused}");
    assert_eq!(world.agreed("EXISTS {t}a"), ":0");
    assert_eq!(world.agreed("EXISTS {t}c"), ":0");
    assert_eq!(world.agreed("EXISTS elsewhere"), ":0");
    assert_eq!(world.store.names().map(ToString::to_string).collect::<Vec<_>>(), ["{t}b"]);
    world.plain_unheard("UNLINK {t}b");
    assert_eq!(world.run(0, "FLUSHDB"), "+OK");
}

#[test]
fn with_the_origin_away_nothing_is_done() {
    let mut world = World::new(1);
    world.part(0);
    let replies = world.pipeline(0, &["SET k v NX", "SET k w", "GETDEL k"], None).replies;
    assert_eq!(replies[0], Err(CommandError::OriginAway));
    assert_eq!(replies[2], Err(CommandError::OriginAway));
    world.join(0);
    world.settle();
    assert_eq!(world.run(0, "GET k"), "$w");
}

#[test]
fn a_lost_answer_leaves_the_outcome_unknown_and_a_retry_under_its_key_does_nothing() {
    let mut world = World::new(1);
    world.run(0, "SET k 1");
    world.settle();
    let asked = world.begin_as(0, &["GETDEL k", "INCR n"], Some("once"));
    world.part(0);
    world.settle();
    let replies = world.take(asked);
    assert_eq!(replies[0], Err(CommandError::OutcomeUnknown));
    // What was to follow is done all the same, as after any error in a pipeline.
    assert_eq!(lines(&replies)[1], ":1");
    world.join(0);
    world.settle();
    let again = world.pipeline(0, &["GETDEL k", "INCR n"], Some("once")).replies;
    assert_eq!(again, replies);
    assert_eq!(world.run(0, "GET n"), "$1");
}

#[test]
fn a_request_that_was_answered_in_one_order_is_answered_the_same_again() {
    let mut world = World::new(1);
    let first = world.pipeline(0, &["SET k v NX", "INCR n"], Some("key")).replies;
    assert_eq!(lines(&first), ["+OK", ":1"]);
    world.restart_hub(0);
    world.settle();
    assert_eq!(world.pipeline(0, &["SET k v NX", "INCR n"], Some("key")).replies, first);
    assert_eq!(world.run(0, "GET n"), "$1");
}

#[test]
fn a_lock_has_one_holder_and_its_tokens_grow() {
    let mut world = World::new(2);
    let first = number(&world.run(0, "HW.LOCK l one 1000"));
    assert_eq!(world.run(1, "HW.LOCK l two 1000"), "nil");
    // Who asks again, since it lost the answer, has it already.
    assert_eq!(number(&world.run(0, "HW.LOCK l one 1000")), first);
    assert_eq!(world.run(1, "HW.EXTEND l two 1000"), "nil");
    assert_eq!(world.run(1, "HW.UNLOCK l two"), ":0");
    assert_eq!(number(&world.run(0, "HW.EXTEND l one 5000")), first);
    world.advance(2_000);
    assert_eq!(world.run(1, "HW.LOCK l two 1000"), "nil");
    assert_eq!(world.run(0, "HW.UNLOCK l one"), ":1");
    let second = number(&world.run(1, "HW.LOCK l two 1000"));
    assert!(second > first);
    assert_eq!(world.run(0, "HGET l owner"), "$two");
    // It ends by itself.
    world.advance(1_001);
    assert_eq!(world.run(1, "HW.UNLOCK l two"), ":0");
    assert_eq!(world.run(1, "HW.EXTEND l two 1000"), "nil");
    let third = number(&world.run(0, "HW.LOCK l one 1000"));
    assert!(third > second);
    assert_eq!(world.run(0, "TYPE l"), "+hash");
    // Long after nobody remembers its token, and the clock sees to it.
    world.advance(3 * 3_600_000);
    assert_eq!(world.run(0, "EXISTS l"), ":0");
    assert!(number(&world.run(0, "HW.LOCK l one 1000")) > third);
    world.settle();
    world.assert_agreement("l");
}

/// Also where the clock stands still, or another daemon's is behind.
#[test]
fn tokens_grow_though_the_clock_does_not() {
    let mut world = World::new(1);
    let mut last = 0;
    for _ in 0..20 {
        let token = number(&world.run(0, "HW.LOCK l me 10000"));
        assert!(token > last && token < 1 << 53, "{token} after {last}");
        last = token;
        assert_eq!(world.run(0, "HW.UNLOCK l me"), ":1");
    }
    world.skip(-400);
    assert!(number(&world.run(0, "HW.LOCK l me 10000")) > last);
}

#[test]
fn another_type_is_an_error_and_nothing_is_done() {
    let mut world = World::new(1);
    world.run(0, "SET k v");
    for line in ["SPOP k", "ZPOPMIN k", "HW.LOCK k me 1000"] {
        assert!(world.run(0, line).contains("WRONGTYPE"), "{line}");
    }
    world.run(0, "SADD s a");
    for line in ["GETDEL s", "SET s v GET"] {
        assert!(world.run(0, line).contains("WRONGTYPE"), "{line}");
    }
    assert_eq!(world.run(0, "SET s v XX"), "+OK");
    assert_eq!(world.run(0, "TYPE s"), "+string");
}

#[test]
fn a_leaf_says_that_it_cannot() {
    let mut world = World::new(1);
    let leaf = world.leaf_at(0, &["k"]);
    world.settle();
    for line in ["SET k v NX", "GETDEL k", "SCAN 0", "HW.LOCK k me 1000"] {
        assert!(world.run_leaf(leaf, line).contains("runs only at the origin"), "{line}");
    }
    assert_eq!(world.run_leaf(leaf, "SET k v"), "+OK");
}
