//! What plain clients write under managed keys reaches the edges, and nothing of either side is lost.

use crate::common::{MINUTE, SECOND, World, key};
use headwater::{
    message::{Cursor, OriginToHub},
    wire::Capabilities,
};

const A: usize = 0;
const B: usize = 1;

/// Two hubs that hold the key, after these commands at the first.
fn world(key: &str, before: &[&str]) -> World {
    let mut world = World::new(2);
    world.hold(&[key]);
    for line in before {
        world.run(A, line);
    }
    world.advance(2 * SECOND);
    world
}

mod counters {
    use super::*;

    #[test]
    fn an_increment_is_noticed_when_the_server_tells() {
        let mut world = world("k", &["INCRBY k 5"]);
        world.plain("INCRBY k 3");
        assert_eq!(world.agreed("GET k"), "$8");
        assert_eq!(world.adopted, 1);
    }

    #[test]
    fn an_increment_that_nobody_heard_of_is_noticed_at_the_next_commit() {
        let mut world = world("k", &["INCRBY k 5"]);
        world.plain_unheard("INCRBY k 3");
        world.run(B, "INCRBY k 1");
        world.advance(SECOND);
        assert_eq!(world.agreed("GET k"), "$9");
    }

    #[test]
    fn an_increment_that_nobody_heard_of_is_found_by_looking() {
        let mut world = world("k", &["INCRBY k 5"]);
        world.plain_unheard("INCRBY k 3");
        world.advance(3 * MINUTE);
        assert_eq!(world.agreed("GET k"), "$8");
    }

    #[test]
    fn increments_of_all_at_once_add_up() {
        let mut world = world("k", &[]);
        for round in 0..50 {
            world.run(A, "INCRBY k 3");
            world.run(B, "DECRBY k 1");
            world.plain("INCRBY k 10");
            if round % 3 == 0 {
                world.settle();
            }
        }
        world.advance(5 * SECOND);
        assert_eq!(world.agreed("GET k"), "$600");
    }

    #[test]
    fn own_commits_are_not_adopted() {
        let mut world = world("k", &["INCRBY k 5"]);
        for _ in 0..10 {
            world.run(A, "INCR k");
            world.advance(3 * SECOND);
        }
        assert_eq!((world.agreed("GET k").as_str(), world.adopted), ("$15", 0));
    }

    #[test]
    fn a_key_that_only_plain_clients_wrote_is_read_from_an_edge_and_kept_fresh() {
        let mut world = World::new(2);
        world.plain("INCRBY k 41");
        assert_eq!(world.run(A, "GET k"), "$41");
        world.plain("INCRBY k 1");
        world.settle();
        assert_eq!(world.run(B, "GET k"), "$42");
        assert_eq!(world.agreed("GET k"), "$42");
    }

    #[test]
    fn a_first_increment_at_an_edge_adds_to_what_plain_clients_counted() {
        let mut world = World::new(2);
        world.plain("INCRBY k 41");
        world.run(A, "INCR k");
        world.advance(SECOND);
        assert_eq!(world.agreed("GET k"), "$42");
    }

    #[test]
    fn an_increment_that_a_delete_at_an_edge_did_not_see_survives_it() {
        let mut world = world("k", &["INCRBY k 5"]);
        world.plain_unheard("INCRBY k 3");
        world.run(A, "DEL k");
        world.advance(SECOND);
        assert_eq!(world.agreed("GET k"), "$3");
    }

    #[test]
    fn an_increment_at_an_edge_survives_a_plain_delete_that_did_not_see_it() {
        let mut world = world("k", &["INCRBY k 5"]);
        world.run(A, "INCRBY k 2");
        world.plain("UNLINK k");
        world.advance(SECOND);
        assert_eq!(world.agreed("GET k"), "$2");
    }

    #[test]
    fn increments_that_a_failover_lost_come_back_once() {
        let mut world = world("k", &["INCRBY k 5"]);
        let seen = world.store.clone();
        world.plain("INCRBY k 3");
        world.advance(SECOND);
        assert_eq!(world.agreed("GET k"), "$8");
        // The other server had the plain client's write already, and not what the daemon made of it.
        world.store = seen;
        world.plain_unheard("INCRBY k 3");
        world.restart_origin(2);
        world.advance(15 * MINUTE);
        world.run(A, "INCR k");
        world.run(B, "INCR k");
        world.advance(15 * MINUTE);
        assert_eq!(world.agreed("GET k"), "$10");
    }

    #[test]
    fn what_plain_clients_began_after_all_was_lost_is_not_written_over_from_the_hubs() {
        let mut world = World::new(2);
        let empty = world.store.clone();
        world.hold(&["k"]);
        world.plain("INCRBY k 7");
        world.advance(SECOND);
        assert_eq!(world.agreed("GET k"), "$7");
        world.store = empty;
        world.restart_origin(2);
        world.plain_unheard("INCRBY k 8");
        world.advance(15 * MINUTE);
        let text = world.agreed("GET k");
        assert!(text == "$8" || text == "$15", "{text}: what the server acknowledged since is kept");
    }

    #[test]
    fn increments_that_a_failover_lost_are_taken_back_from_the_hubs_at_once() {
        let mut world = world("k", &["INCRBY k 5"]);
        let before = world.store.clone();
        world.plain("INCRBY k 3");
        world.advance(SECOND);
        assert_eq!(world.agreed("GET k"), "$8");
        world.store = before;
        world.restart_origin(2);
        world.advance(2 * SECOND);
        assert_eq!(world.agreed("GET k"), "$5");
        assert_eq!(world.store.get(&key("k")).map(|value| value.as_ref()), Some(&b"5"[..]));
    }

    #[test]
    fn so_they_are_where_hub_and_daemon_went_down_before_they_were_compared() {
        let mut world = World::new(1);
        world.hold(&["k"]);
        world.run(A, "INCRBY k 5");
        world.advance(2 * SECOND);
        let before = world.store.clone();
        world.plain("INCRBY k 3");
        world.advance(SECOND);
        let former = world.store.marker(&key("k")).map(|marker| marker.incarnation);
        world.store = before;
        world.restart_origin(2);
        // The hub hears of the new history, and of nothing else.
        world.deafen(A);
        world.settle();
        world.tell(A, &OriginToHub::Welcome { now: world.now, capabilities: Capabilities::CURRENT });
        world.settle();
        let marker = world.store.marker(&key("k")).expect("the daemon opened a history");
        let to = Cursor { incarnation: Some(marker.incarnation), seq: marker.seq };
        assert_ne!(to.incarnation, former);
        let from = Cursor { incarnation: former, seq: 0 };
        world.tell(A, &OriginToHub::Down { slot: key("k").slot(), from, to, keys: Vec::new() });
        world.restart_hub(A);
        world.restart_origin(2);
        world.advance(2 * SECOND);
        assert_eq!(world.agreed("GET k"), "$5");
        assert_eq!(world.store.get(&key("k")).map(|value| value.as_ref()), Some(&b"5"[..]));
    }
}

/// The operator has a foreign value removed that no daemon has looked at: for these the value of before just vanishes.
mod discarded {
    use super::*;

    #[test]
    fn a_foreign_value_that_nobody_looked_at_takes_nothing_away_when_it_is_removed() {
        let mut world = world("k", &["INCRBY k 5"]);
        world.discard("k");
        world.run(A, "INCRBY k 1");
        world.advance(SECOND);
        assert_eq!(world.agreed("GET k"), "$6");
    }

    #[test]
    fn what_a_client_removes_after_that_is_removed() {
        let mut world = world("k", &["INCRBY k 5"]);
        world.discard("k");
        world.advance(SECOND);
        assert_eq!(world.agreed("GET k"), "$5");
        world.plain("UNLINK k");
        world.advance(SECOND);
        world.run(A, "INCRBY k 1");
        world.advance(SECOND);
        assert_eq!(world.agreed("GET k"), "$1");
    }
}

mod strings {
    use super::*;

    #[test]
    fn a_text_is_adopted() {
        let mut world = world("k", &["SET k old"]);
        world.plain("SET k new");
        assert_eq!(world.agreed("GET k"), "$new");
    }

    #[test]
    fn a_text_that_is_not_seen_is_not_overwritten_by_an_increment() {
        let mut world = world("k", &["INCRBY k 5"]);
        world.plain_unheard("SET k text");
        world.run(A, "INCR k");
        world.advance(SECOND);
        assert_eq!(world.agreed("GET k"), "$text");
    }

    #[test]
    fn the_later_of_two_texts_stays() {
        let mut world = world("k", &["SET k old"]);
        world.plain_unheard("SET k plain");
        world.advance(MINUTE);
        world.run(A, "SET k edge");
        world.advance(SECOND);
        assert_eq!(world.agreed("GET k"), "$edge");
    }

    #[test]
    fn a_delete_is_adopted() {
        let mut world = world("k", &["SET k old"]);
        world.plain("UNLINK k");
        assert_eq!(world.agreed("GET k"), "nil");
    }

    #[test]
    fn a_counter_that_plain_clients_began_anew_after_an_eviction_adds_to_what_was_there() {
        let mut world = world("k", &["INCRBY k 100"]);
        world.store.evict_plain(&key("k"));
        world.plain_unheard("INCRBY k 8");
        world.run(A, "INCRBY k 16");
        world.advance(3 * MINUTE);
        assert_eq!(world.agreed("GET k"), "$124");
    }

    #[test]
    fn what_was_found_after_an_eviction_is_judged_alike_once_the_commit_was_refused() {
        let mut world = world("k", &["INCRBY k 100", "INCR other{k}"]);
        world.store.evict_plain(&key("k"));
        world.plain_unheard("INCRBY k 8");
        // The first commit finds that the value moved; the second, which takes up what was read, is refused for another key.
        world.store.meddling.extend(["SET unmanaged 1", "SET other{k} text"]);
        world.pipeline(A, &["INCRBY k 16", "INCR other{k}"], None);
        world.advance(3 * MINUTE);
        assert!(world.store.meddling.is_empty());
        assert_eq!(world.agreed("GET k"), "$124");
    }

    #[test]
    fn a_commit_that_writes_no_value_does_not_vouch_for_it() {
        let mut world = world("k", &["SET k v"]);
        world.store.evict_plain(&key("k"));
        // With another key of the slot the daemon hears of an eviction; the same text again changes nothing that shows.
        world.run(A, "SET other{k} 1");
        world.run(B, "SET k v");
        world.advance(SECOND);
        world.advance(3 * MINUTE);
        assert_eq!(world.agreed("GET k"), "$v");
    }

    #[test]
    fn a_value_that_vanished_while_the_server_evicted_is_written_again() {
        let mut world = world("k", &["SET k old"]);
        world.store.evict_plain(&key("k"));
        world.run(A, "EXISTS k");
        world.advance(3 * MINUTE);
        assert_eq!(world.agreed("GET k"), "$old");
    }

    #[test]
    fn a_value_that_vanished_while_no_daemon_looked_is_written_again() {
        let mut world = world("k", &["SET k old"]);
        world.plain_unheard("UNLINK k");
        world.restart_origin(1);
        world.advance(3 * MINUTE);
        assert_eq!(world.agreed("GET k"), "$old");
    }
}

mod collections {
    use super::*;

    #[test]
    fn members_are_added_and_removed_by_both() {
        let mut world = world("k", &["SADD k a b c"]);
        world.plain("SADD k d");
        world.plain("SREM k a");
        world.run(A, "SREM k b");
        world.run(B, "SADD k e");
        world.advance(SECOND);
        assert_eq!(world.agreed("SMEMBERS k"), "[$c $d $e]");
    }

    #[test]
    fn a_member_that_a_delete_at_an_edge_did_not_see_survives_it() {
        let mut world = world("k", &["SADD k a b"]);
        world.plain_unheard("SADD k c");
        world.run(A, "DEL k");
        world.advance(3 * MINUTE);
        assert_eq!(world.agreed("SMEMBERS k"), "[$c]");
    }

    #[test]
    fn a_set_that_a_plain_client_emptied_is_gone() {
        let mut world = world("k", &["SADD k a b"]);
        world.plain("SREM k a b");
        assert_eq!(world.agreed("SCARD k"), ":0");
    }

    #[test]
    fn fields_are_written_counted_and_removed_by_both() {
        let mut world = world("k", &["HSET k n 5 t old gone 1"]);
        world.plain("HINCRBY k n 3");
        world.plain("HSET k t new");
        world.plain("HDEL k gone");
        world.run(A, "HINCRBY k n 1");
        world.run(B, "HSET k u other");
        world.advance(SECOND);
        assert_eq!(world.agreed("HGETALL k"), "[$n $9 $t $new $u $other]");
    }

    #[test]
    fn field_increments_of_all_at_once_add_up() {
        let mut world = world("k", &[]);
        for round in 0..50 {
            world.run(A, "HINCRBY k n 3");
            world.run(B, "HINCRBY k m 1");
            world.plain("HINCRBY k n 10");
            world.plain_unheard("HINCRBY k m 1");
            if round % 3 == 0 {
                world.settle();
            }
        }
        world.advance(3 * MINUTE);
        assert_eq!(world.agreed("HGETALL k"), "[$m $100 $n $650]");
    }

    #[test]
    fn scores_are_set_counted_and_removed_by_both() {
        let mut world = world("k", &["ZADD k 1 a 2 b 3 c"]);
        world.plain("ZINCRBY k 10 a");
        world.plain("ZADD k 0.5 d");
        world.plain("ZREM k b");
        world.run(A, "ZINCRBY k 100 a");
        world.run(B, "ZREM k c");
        world.advance(SECOND);
        assert_eq!(world.agreed("ZRANGE k 0 -1 WITHSCORES"), "[$d $0.5 $a $111]");
    }

    #[test]
    fn score_increments_of_all_at_once_add_up() {
        let mut world = world("k", &[]);
        for round in 0..50 {
            world.run(A, "ZINCRBY k 3 a");
            world.run(B, "ZINCRBY k -1 a");
            world.plain("ZINCRBY k 10 a");
            if round % 3 == 0 {
                world.settle();
            }
        }
        world.advance(5 * SECOND);
        assert_eq!(world.agreed("ZSCORE k a"), "$600");
    }

    #[test]
    fn a_value_of_another_type_is_not_adopted() {
        let mut world = world("k", &["SADD k a"]);
        world.plain("UNLINK k");
        world.plain("SET k theirs");
        world.advance(3 * MINUTE);
        assert_eq!(world.run(B, "SMEMBERS k"), "[$a]");
    }
}

mod deadlines {
    use super::*;

    #[test]
    fn fields_that_ended_before_the_daemon_knew_the_hash_are_not_expected_there() {
        let mut world = world("k", &["HSET k f v", "HPEXPIRE k 4000 FIELDS 1 f"]);
        world.advance(10 * SECOND);
        // The daemon took the last field out of the value, and with it the value; the next one knows nothing of that.
        world.restart_origin(2);
        world.run(B, "HINCRBY k n 3");
        world.advance(10 * SECOND);
        assert_eq!(world.agreed("HGETALL k"), "[$n $3]");
    }

    #[test]
    fn a_deadline_is_set_moved_and_taken_away() {
        let mut world = world("k", &["SET k v"]);
        let at = world.now.plus_ms(10 * MINUTE).0;
        world.plain(&format!("PEXPIREAT k {at}"));
        assert_eq!(world.agreed("PEXPIRETIME k"), format!(":{at}"));
        let (sooner, later) = (at - 5 * MINUTE, at + 5 * MINUTE);
        for moved in [later, sooner] {
            world.advance(SECOND);
            world.plain(&format!("PEXPIREAT k {moved}"));
            assert_eq!(world.agreed("PEXPIRETIME k"), format!(":{moved}"));
        }
        world.advance(SECOND);
        world.plain("PERSIST k");
        assert_eq!(world.agreed("PEXPIRETIME k"), ":-1");
    }

    #[test]
    fn a_key_that_ends_by_itself_is_no_delete() {
        let mut world = world("k", &["SET k v"]);
        let at = world.now.plus_ms(MINUTE).0;
        world.plain(&format!("PEXPIREAT k {at}"));
        world.advance(2 * MINUTE);
        assert_eq!(world.agreed("GET k"), "nil");
        world.plain("SET k again");
        world.hold(&["k"]);
        assert_eq!(world.agreed("GET k"), "$again");
        assert_eq!(world.agreed("PEXPIRETIME k"), ":-1");
    }

    #[test]
    fn a_deadline_that_a_plain_client_lowered_by_less_than_clocks_differ_is_written_again() {
        let mut world = world("k", &["SET k v", "PEXPIRE k 600000"]);
        let at = world.agreed("PEXPIRETIME k")[1..].parse::<i64>().unwrap();
        world.plain(&format!("PEXPIREAT k {}", at - 300));
        world.run(A, "SET k w KEEPTTL");
        world.advance(2 * SECOND);
        assert_eq!(world.agreed("PEXPIRETIME k"), format!(":{at}"));
    }
}
