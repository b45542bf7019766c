//! HW.REVOKE in full: what a key that is revoked refuses, what becomes of what was written where nobody knew, at hubs, at the
//! origin, under plain clients and in leaves, and when all of it is forgotten.

use super::{
    A, B, C, back_online, common::DAY, common::MINUTE, common::SECOND, world, world_of, world_with_offline_leaf,
};

const REVOKED: &str = "-ERR Headwater: the key is revoked until";

fn assert_refused(reply: &str) {
    assert!(reply.starts_with(REVOKED), "{reply}");
}

#[test]
fn what_is_revoked_is_gone_and_refuses_every_write_until_then() {
    let mut world = world("k", &["HSET k f 1", "EXPIRE k 100"]);
    assert_eq!(world.run(A, "HW.REVOKED k"), ":-2");
    assert_eq!(world.run(A, "HW.REVOKE k PX 60000"), ":1");
    assert_eq!(world.agreed("HW.REVOKED k"), ":60000");
    for (read, reply) in [
        ("EXISTS k", ":0"),
        ("TYPE k", "+none"),
        ("TTL k", ":-2"),
        ("HGETALL k", "[]"),
        ("DEL k", ":0"),
        ("EXPIRE k 1000", ":0"),
        ("PERSIST k", ":0"),
        ("GETDEL k", "nil"),
        ("RENAME k other", "-ERR no such key"),
        ("HW.REVOKE k EX 10", ":0"),
    ] {
        assert_eq!(world.run(B, read), reply, "{read}");
    }
    world.run(A, "SET other v");
    for write in [
        "SET k v",
        "SET k v NX",
        "SETNX k v",
        "MSET other w k v",
        "INCR k",
        "APPEND k v",
        "HSET k f 2",
        "HINCRBY k f 1",
        "SADD k m",
        "ZADD k 1 m",
        "ZADD k NX 1 m",
        "ZINCRBY k 1 m",
        "RENAME other k",
        "COPY other k",
        "HW.LOCK k me 1000",
        "SUNIONSTORE k tags",
        "HW.LIMIT k FIXED 5 1000",
    ] {
        world.run(A, "SADD tags a");
        assert_refused(&world.run(A, write));
    }
    // Of a command with several keys nothing is done.
    assert_eq!(world.agreed("GET other"), "$v");
    world.advance(MINUTE);
    assert_eq!(world.run(B, "SADD k m"), ":1");
    assert_eq!(world.agreed("SMEMBERS k"), "[$m]");
    assert_eq!(world.agreed("TTL k"), ":-1");
    assert_eq!(world.agreed("HW.REVOKED k"), ":-2");
}

#[test]
fn an_edge_that_does_not_hold_the_key_revokes_it_with_the_origin_away() {
    let mut world = super::common::World::new(3);
    world.run(A, "HSET k f 1");
    world.settle();
    world.part(B);
    let answered = world.pipeline(B, &["HW.REVOKE k EX 1000"], None);
    assert!(answered.provisional);
    world.run(A, "HSET k f 2");
    world.join(B);
    world.settle();
    assert_eq!(world.run(C, "HGET k f"), "nil");
    assert_eq!(world.agreed("EXISTS k"), ":0");
    assert_refused(&world.run(C, "HSET k f 3"));
}

#[test]
fn a_rename_into_it_that_did_not_know_is_dead() {
    let mut world = world("k", &["SET k v", "SET other w"]);
    world.hold(&["other"]);
    world.run(A, "HW.REVOKE k EX 1000");
    assert_eq!(world.run(B, "RENAME other k"), "+OK");
    assert_eq!(world.agreed("EXISTS k"), ":0");
}

#[test]
fn what_was_written_where_nobody_knew_is_dead_also_after_the_end() {
    let mut world = world("k", &["SET k v"]);
    world.part(B);
    world.run(A, "HW.REVOKE k EX 10");
    world.run(B, "SET k w");
    world.run(B, "INCR k");
    world.advance(20 * SECOND);
    world.join(B);
    assert_eq!(world.agreed("EXISTS k"), ":0");
    // As after a deadline: what is written now begins anew.
    assert_eq!(world.run(A, "APPEND k z"), ":1");
    assert_eq!(world.agreed("GET k"), "$z");
}

#[test]
fn a_blind_write_after_the_end_by_who_did_not_know_begins_anew() {
    let mut world = world("k", &["SADD k a"]);
    world.part(B);
    world.run(A, "HW.REVOKE k EX 10");
    world.advance(20 * SECOND);
    world.run(B, "SADD k b");
    world.join(B);
    assert_eq!(world.agreed("SMEMBERS k"), "[$b]");
    assert_eq!(world.agreed("TTL k"), ":-1");
}

#[test]
fn a_touch_and_a_write_that_did_not_know_do_not_bring_it_back() {
    let mut world = world("k", &["HSET k f 1", "EXPIRE k 100"]);
    world.part(B);
    world.run(B, "PERSIST k");
    world.run(B, "EXPIRE k 100000");
    world.run(A, "HW.REVOKE k EX 50");
    world.advance(2 * SECOND);
    world.run(B, "PERSIST k");
    world.run(B, "HSET k f 2");
    world.join(B);
    assert_eq!(world.agreed("EXISTS k"), ":0");
    world.advance(60 * SECOND);
    assert_eq!(world.agreed("EXISTS k"), ":0");
}

#[test]
fn a_leafs_write_from_a_day_offline_is_refused() {
    for write in ["HSET k f 2", "EXPIRE k 8640000", "PERSIST k"] {
        let (mut world, leaf) = world_with_offline_leaf("k", &["HSET k f 1", "EXPIRE k 864000"]);
        world.run(A, "HW.REVOKE k EX 8640000");
        world.skip(SECOND);
        assert_eq!(world.run_leaf(leaf, write), if write.starts_with("HSET") { ":0" } else { ":1" });
        world.sleep(DAY);
        world.connect(leaf, B);
        world.settle();
        let refused = world.refused(leaf);
        assert!(
            matches!(&refused[..], [one] if one.starts_with("k: ERR Headwater: the key is revoked until")),
            "{refused:?}"
        );
        assert_eq!(world.run_leaf(leaf, "EXISTS k"), ":0", "rolled back");
        assert_eq!(world.agreed("EXISTS k"), ":0");
    }
}

#[test]
fn a_leaf_offline_revokes_and_writes_no_more() {
    let (mut world, leaf) = world_with_offline_leaf("k", &["HSET k f 1"]);
    assert_eq!(world.run_leaf(leaf, "HW.REVOKE k EX 8640000"), ":1");
    assert_eq!(world.run_leaf(leaf, "EXISTS k"), ":0");
    assert_refused(&world.run_leaf(leaf, "HSET k f 2"));
    world.run(A, "HSET k f 3");
    world.sleep(DAY);
    back_online(&mut world, leaf);
    assert_eq!(world.agreed("EXISTS k"), ":0");
}

#[test]
fn a_leaf_revokes_for_no_longer_than_the_hub_admits() {
    let (mut world, leaf) = world_with_offline_leaf("k", &["HSET k f 1"]);
    assert_eq!(
        world.run_leaf(leaf, "HW.REVOKE k EX 34560001"),
        "-ERR Headwater: a key is revoked for at most 400 days"
    );
    // Its clock may be ahead.
    world.skip(DAY);
    world.run_leaf(leaf, "HW.REVOKE k EX 34560000");
    world.skip(-DAY);
    world.connect(leaf, B);
    world.settle();
    assert_eq!(world.refused(leaf), ["k: ERR Headwater: a key is revoked for at most 400 days"]);
    assert_eq!(world.agreed("HGET k f"), "$1");
}

#[test]
fn what_a_plain_client_writes_to_it_goes_again() {
    let mut world = world("k", &["SET k v"]);
    world.run(A, "HW.REVOKE k EX 1000");
    world.advance(2 * SECOND);
    world.plain("SET k back");
    world.advance(2 * SECOND);
    assert_eq!(world.agreed("EXISTS k"), ":0");
    // Also where nobody heard of it and the daemon looks.
    world.plain_unheard("SADD k back");
    world.run(B, "HW.REVOKE k EX 2000");
    world.advance(3 * MINUTE);
    assert_eq!(world.agreed("EXISTS k"), ":0");
}

#[test]
fn who_begins_again_still_knows() {
    let mut world = world("k", &["SET k v"]);
    let leaf = world.leaf_at(B, &["k"]);
    world.part(B);
    world.run(B, "HW.REVOKE k EX 1000");
    world.restart_hub(B);
    assert_refused(&world.run(B, "SET k w"));
    world.run(A, "SET k w");
    world.settle();
    world.restart_origin(2);
    world.join(B);
    world.settle();
    world.restart_hub(A);
    assert_eq!(world.agreed("EXISTS k"), ":0");
    assert_refused(&world.run_leaf(leaf, "SET k x"));
    assert_refused(&world.run(A, "SET k x"));
}

#[test]
fn a_store_that_lost_the_revocation_hears_of_it_again() {
    let mut world = world("k", &["SET k v"]);
    let before = world.store.clone();
    world.run(A, "HW.REVOKE k EX 1000");
    world.settle();
    world.store = before;
    world.restart_origin(2);
    world.run(B, "SET k w");
    world.advance(5 * SECOND);
    assert_eq!(world.agreed("EXISTS k"), ":0");
}

#[test]
fn it_is_forgotten_after_the_end_and_a_grace() {
    let mut world = world_of(2, "k", &["SADD k a"]);
    world.run(A, "HW.REVOKE k EX 100");
    world.run(B, "SADD k b");
    world.advance(90 * SECOND);
    assert_eq!(world.agreed("EXISTS k"), ":0");
    assert!(!world.state(A, "k").is_empty());
    world.advance(5 * MINUTE);
    for hub in [A, B] {
        assert!(world.state(hub, "k").is_empty(), "hub {hub}: {:?}", world.state(hub, "k"));
    }
    assert!(world.store.companion(&super::common::key("k"), world.now).is_none());
}

#[test]
fn an_erased_key_stays_revoked() {
    let mut world = world("k", &["SADD k a"]);
    world.part(B);
    world.run(A, "HW.REVOKE k EX 1000");
    world.run(B, "SADD k b");
    world.join(B);
    world.settle();
    world.erase(&["k"]);
    world.advance(2 * SECOND);
    assert_eq!(world.agreed("EXISTS k"), ":0");
    for hub in [A, B] {
        assert_eq!(world.state(hub, "k").elements(), [], "nothing of it is left at hub {hub}");
    }
    assert_refused(&world.run(B, "SADD k c"));
}

#[test]
fn a_time_that_has_passed_takes_away_what_is_seen_and_hides_nothing() {
    let mut world = world("k", &["SET k v"]);
    assert_eq!(world.run(A, "HW.REVOKE k EXAT 1"), ":1");
    assert_eq!(world.run(A, "HW.REVOKED k"), ":-2");
    assert_eq!(world.run(B, "SET k w"), "+OK");
    assert_eq!(world.agreed("GET k"), "$w");
}

#[test]
fn what_is_no_deadline_is_an_error() {
    let mut world = world("k", &["SET k v"]);
    for (line, error) in [
        ("HW.REVOKE k", "-ERR wrong number of arguments for 'hw.revoke' command"),
        ("HW.REVOKE k KEEPTTL 1", "-ERR syntax error"),
        ("HW.REVOKE k EX x", "-ERR value is not an integer or out of range"),
        ("HW.REVOKE k PX 0", "-ERR invalid expire time in 'hw.revoke' command"),
        ("HW.REVOKE k EX 9223372036854775", "-ERR invalid expire time in 'hw.revoke' command"),
        ("HW.REVOKE k EX 34560001", "-ERR Headwater: a key is revoked for at most 400 days"),
        ("HW.REVOKED k k", "-ERR wrong number of arguments for 'hw.revoked' command"),
    ] {
        assert_eq!(world.run(A, line), error, "{line}");
    }
    assert_eq!(world.agreed("GET k"), "$v");
}
