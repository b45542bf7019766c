//! DESIGN §2.1, row by row: what concurrent operations come to between nodes.
//!
//! What runs before the next [`World::agreed`] is concurrent; `agreed` also demands that hubs, leaves, the companion and the
//! plain value show the same. Redis' own meaning within one node is the business of `redis.rs`.

mod placements;
mod revocations;

use crate::common::{self, DAY, MINUTE, SECOND, World};

const A: usize = 0;
const B: usize = 1;
const C: usize = 2;

/// Two hubs that hold the key after these commands at the first.
fn world(key: &str, before: &[&str]) -> World {
    world_of(2, key, before)
}

fn world_of(hubs: usize, key: &str, before: &[&str]) -> World {
    let mut world = World::new(hubs);
    world.hold(&[key]);
    for line in before {
        world.run(A, line);
    }
    world.settle();
    world.skip(SECOND);
    world
}

/// Two hubs, and a leaf at the second that lost its socket a day ago.
fn world_with_offline_leaf(key: &str, before: &[&str]) -> (World, usize) {
    let mut world = world(key, before);
    let leaf = world.leaf_at(B, &[key]);
    world.disconnect(leaf);
    world.sleep(DAY);
    (world, leaf)
}

fn back_online(world: &mut World, leaf: usize) {
    world.connect(leaf, B);
    world.settle();
    assert_eq!(world.refused(leaf), [""; 0]);
    assert_eq!(world.leaf(leaf).status().pending, 0);
}

mod increments {
    use super::*;

    #[test]
    fn both_count() {
        let mut world = world("k", &["SET k 5"]);
        assert_eq!(world.run(A, "INCR k"), ":6");
        assert_eq!(world.run(B, "INCRBY k 10"), ":15");
        assert_eq!(world.agreed("GET k"), "$16");
    }

    #[test]
    fn both_count_in_a_hash_field() {
        let mut world = world("k", &["HSET k f 5"]);
        world.run(A, "HINCRBY k f 1");
        world.run(B, "HINCRBY k f 10");
        assert_eq!(world.agreed("HGET k f"), "$16");
    }

    #[test]
    fn both_count_also_from_a_leaf_a_day_offline() {
        let (mut world, leaf) = world_with_offline_leaf("k", &["SET k 5"]);
        world.run(A, "INCR k");
        assert_eq!(world.run_leaf(leaf, "INCRBY k 10"), ":15");
        world.sleep(DAY);
        back_online(&mut world, leaf);
        assert_eq!(world.agreed("GET k"), "$16");
    }

    #[test]
    fn overflow_is_an_error_where_executed() {
        let mut world = world("k", &["SET k 9223372036854775806"]);
        assert_eq!(world.run(A, "INCR k"), ":9223372036854775807");
        assert_eq!(world.run(A, "INCR k"), "-ERR increment or decrement would overflow");
        assert_eq!(world.agreed("GET k"), "$9223372036854775807");
    }

    #[test]
    fn overflow_of_a_leafs_increment_is_refused_by_its_hub() {
        let (mut world, leaf) = world_with_offline_leaf("k", &["SET k 9223372036854775806"]);
        world.run(B, "INCR k");
        assert_eq!(world.run_leaf(leaf, "INCR k"), ":9223372036854775807");
        world.connect(leaf, B);
        world.settle();
        assert_eq!(world.refused(leaf), ["k: ERR increment or decrement would overflow"]);
        assert_eq!(world.agreed("GET k"), "$9223372036854775807");
    }

    #[test]
    fn a_merged_view_beyond_i64_is_clamped() {
        let mut world = world("k", &["SET k 9223372036854775806"]);
        world.run(A, "INCR k");
        world.run(B, "INCR k");
        assert_eq!(world.agreed("GET k"), "$9223372036854775807");
        // The sum itself is exact: what was clamped counts again once it fits.
        world.run(A, "DECRBY k 2");
        assert_eq!(world.agreed("GET k"), "$9223372036854775806");
    }

    #[test]
    fn a_merged_view_below_i64_is_clamped() {
        let mut world = world("k", &["SET k -9223372036854775807"]);
        world.run(A, "DECR k");
        world.run(B, "DECR k");
        assert_eq!(world.agreed("GET k"), "$-9223372036854775808");
    }
}

mod assignments {
    use super::*;

    #[test]
    fn the_later_set_wins() {
        let mut world = world("k", &["SET k old"]);
        world.run(B, "SET k early");
        world.skip(SECOND);
        world.run(A, "SET k late");
        assert_eq!(world.agreed("GET k"), "$late");
    }

    #[test]
    fn sets_in_the_same_instant_have_one_order() {
        let mut world = world("k", &[]);
        world.run(B, "SET k b");
        world.run(A, "SET k a");
        // The replica breaks the tie.
        assert_eq!(world.agreed("GET k"), "$b");
    }

    #[test]
    fn the_later_field_wins() {
        let mut world = world("k", &["HSET k f old g old"]);
        world.run(A, "HSET k f late");
        world.run(B, "HSET k g early");
        world.skip(SECOND);
        world.run(B, "HSET k f later");
        world.run(A, "HSET k g late");
        assert_eq!(world.agreed("HGETALL k"), "[$f $later $g $late]");
    }

    #[test]
    fn a_leafs_set_counts_from_when_it_was_made() {
        let (mut world, leaf) = world_with_offline_leaf("k", &["SET k old"]);
        world.run_leaf(leaf, "SET k leaf");
        world.advance(MINUTE);
        world.run(A, "SET k hub");
        world.sleep(DAY);
        back_online(&mut world, leaf);
        assert_eq!(world.agreed("GET k"), "$hub");
    }

    #[test]
    fn a_leafs_set_wins_over_an_earlier_one() {
        let (mut world, leaf) = world_with_offline_leaf("k", &["SET k old"]);
        world.run(A, "SET k hub");
        world.advance(MINUTE);
        world.run_leaf(leaf, "SET k leaf");
        world.sleep(DAY);
        back_online(&mut world, leaf);
        assert_eq!(world.agreed("GET k"), "$leaf");
    }
}

mod observed_reset {
    use super::*;

    #[test]
    fn set_wipes_the_increments_that_it_saw_and_no_others() {
        let mut world = world("k", &["INCRBY k 5"]);
        world.run(A, "SET k 100");
        world.run(B, "INCRBY k 2");
        assert_eq!(world.agreed("GET k"), "$102");
    }

    #[test]
    fn set_leaves_what_it_did_not_see_of_a_sum_that_it_saw_in_part() {
        let mut world = world("k", &[]);
        world.run(B, "INCRBY k 5");
        world.settle();
        world.run(B, "INCRBY k 2");
        world.run(A, "SET k 100");
        assert_eq!(world.agreed("GET k"), "$102");
    }

    #[test]
    fn del_leaves_the_increment_that_it_did_not_see() {
        let mut world = world("k", &["INCRBY k 5"]);
        world.run(A, "DEL k");
        world.run(B, "INCRBY k 2");
        assert_eq!(world.agreed("GET k"), "$2");
    }

    #[test]
    fn del_leaves_a_fields_increment_that_it_did_not_see() {
        let mut world = world("k", &["HINCRBY k f 5"]);
        world.run(A, "DEL k");
        world.run(B, "HINCRBY k f 2");
        assert_eq!(world.agreed("HGETALL k"), "[$f $2]");
    }

    #[test]
    fn hset_wipes_the_fields_increments_that_it_saw_and_no_others() {
        let mut world = world("k", &["HINCRBY k f 5"]);
        world.run(A, "HSET k f 100");
        world.run(B, "HINCRBY k f 2");
        assert_eq!(world.agreed("HGET k f"), "$102");
    }

    #[test]
    fn two_resets_of_the_same_sum_take_it_away_once() {
        let mut world = world("k", &["INCRBY k 5"]);
        world.run(A, "DEL k");
        world.run(B, "SET k 1");
        world.run(B, "INCRBY k 3");
        assert_eq!(world.agreed("GET k"), "$4");
    }

    #[test]
    fn a_set_that_is_no_integer_hides_the_rest() {
        let mut world = world("k", &["INCRBY k 5"]);
        world.run(A, "SET k text");
        world.run(B, "INCRBY k 2");
        assert_eq!(world.agreed("GET k"), "$text");
        // Hidden and not lost: the next integer SET has seen it.
        world.run(B, "SET k 1");
        assert_eq!(world.agreed("GET k"), "$1");
    }

    #[test]
    fn del_by_a_leaf_a_day_offline_leaves_what_it_did_not_see() {
        let (mut world, leaf) = world_with_offline_leaf("k", &["INCRBY k 5"]);
        world.run_leaf(leaf, "DEL k");
        world.run(B, "INCRBY k 2");
        world.sleep(DAY);
        back_online(&mut world, leaf);
        assert_eq!(world.agreed("GET k"), "$2");
    }

    #[test]
    fn set_by_a_leaf_sees_its_own_increments_on_the_way() {
        let (mut world, leaf) = world_with_offline_leaf("k", &["INCRBY k 5"]);
        assert_eq!(world.run_leaf(leaf, "INCRBY k 3"), ":8");
        world.run(B, "INCRBY k 2");
        world.run_leaf(leaf, "SET k 100");
        assert_eq!(world.run_leaf(leaf, "INCRBY k 1"), ":101");
        back_online(&mut world, leaf);
        assert_eq!(world.agreed("GET k"), "$103");
    }
}

mod add_wins {
    use super::*;

    #[test]
    fn sadd_over_srem() {
        let mut world = world("k", &["SADD k m n"]);
        world.run(A, "SREM k m n");
        world.run(B, "SADD k m");
        assert_eq!(world.agreed("SMEMBERS k"), "[$m]");
    }

    #[test]
    fn hset_over_hdel() {
        let mut world = world("k", &["HSET k f 1 g 1"]);
        world.run(A, "HDEL k f g");
        world.run(B, "HSET k f 2");
        assert_eq!(world.agreed("HGETALL k"), "[$f $2]");
    }

    #[test]
    fn zadd_over_zrem() {
        let mut world = world("k", &["ZADD k 1 m 1 n"]);
        world.run(A, "ZREM k m n");
        world.run(B, "ZADD k 2 m");
        assert_eq!(world.agreed("ZRANGE k 0 -1 WITHSCORES"), "[$m $2]");
    }

    #[test]
    fn any_write_over_del() {
        for (before, write, read, reply) in [
            ("SET k 1", "SET k 2", "GET k", "$2"),
            ("SADD k a b", "SADD k b", "SMEMBERS k", "[$b]"),
            ("HSET k a 1 b 1", "HSET k b 2", "HGETALL k", "[$b $2]"),
            ("ZADD k 1 a 1 b", "ZADD k 2 b", "ZRANGE k 0 -1 WITHSCORES", "[$b $2]"),
            ("ZADD k 1 a 1 b", "ZADD k GT 2 b", "ZRANGE k 0 -1 WITHSCORES", "[$b $2]"),
            ("ZADD k 1 a 1 b", "ZADD k LT 0 b", "ZRANGE k 0 -1 WITHSCORES", "[$b $0]"),
        ] {
            let mut world = world("k", &[before]);
            world.run(A, "DEL k");
            world.run(B, write);
            assert_eq!(world.agreed(read), reply, "{write} beside DEL");
        }
    }

    #[test]
    fn a_remove_takes_away_all_that_it_observed() {
        let mut world = world("k", &["SADD k m"]);
        world.run(B, "SADD k m");
        world.settle();
        world.run(A, "SREM k m");
        assert_eq!(world.agreed("EXISTS k"), ":0");
    }

    #[test]
    fn a_remove_by_a_leaf_a_day_offline_takes_away_only_what_it_observed() {
        for (before, remove, write, read, reply) in [
            ("SADD k a b", "SREM k a b", "SADD k b", "SMEMBERS k", "[$b]"),
            ("HSET k a 1 b 1", "HDEL k a b", "HSET k b 2", "HGETALL k", "[$b $2]"),
            ("ZADD k 1 a 1 b", "ZREM k a b", "ZADD k 2 b", "ZRANGE k 0 -1 WITHSCORES", "[$b $2]"),
            ("SADD k a b", "DEL k", "SADD k b", "SMEMBERS k", "[$b]"),
            ("HSET k a 1 b 1", "DEL k", "HSET k b 2", "HGETALL k", "[$b $2]"),
            ("ZADD k 1 a 1 b", "DEL k", "ZADD k 2 b", "ZRANGE k 0 -1 WITHSCORES", "[$b $2]"),
        ] {
            let (mut world, leaf) = world_with_offline_leaf("k", &[before]);
            // First the write, long before the leaf's remove by the clock: what counts is what the leaf observed.
            world.run(A, write);
            world.advance(MINUTE);
            world.run_leaf(leaf, remove);
            world.sleep(DAY);
            back_online(&mut world, leaf);
            assert_eq!(world.agreed(read), reply, "{remove} beside {write}");
        }
    }

    #[test]
    fn an_add_by_a_leaf_a_day_offline_survives_the_remove() {
        let (mut world, leaf) = world_with_offline_leaf("k", &["SADD k m n"]);
        world.run_leaf(leaf, "SADD k m");
        world.sleep(DAY);
        world.run(A, "DEL k");
        world.settle();
        back_online(&mut world, leaf);
        assert_eq!(world.agreed("SMEMBERS k"), "[$m]");
    }

    #[test]
    fn an_add_repeated_after_a_leaf_saw_the_first_survives_that_leafs_remove() {
        let mut world = world("k", &[]);
        let leaf = world.leaf_at(A, &["k"]);
        world.part(A);
        world.run(A, "SADD k m");
        world.settle();
        assert_eq!(world.run_leaf(leaf, "SISMEMBER k m"), ":1");
        world.disconnect(leaf);
        world.run_leaf(leaf, "SREM k m");
        world.run(A, "SADD k m");
        world.connect(leaf, A);
        world.join(A);
        assert_eq!(world.agreed("SMEMBERS k"), "[$m]");
    }

    #[test]
    fn an_add_repeated_by_a_restarted_hub_survives_the_remove_of_the_first() {
        let mut world = world("k", &[]);
        world.deafen(A);
        world.run(A, "SADD k m");
        world.settle();
        assert_eq!(world.run(B, "SREM k m"), ":1");
        world.part(A);
        world.restart_hub(A);
        assert_eq!(world.run(A, "SADD k m"), ":0");
        world.join(A);
        assert_eq!(world.agreed("SMEMBERS k"), "[$m]");
    }

    #[test]
    fn an_add_and_remove_by_one_leaf_offline_leave_nothing() {
        let (mut world, leaf) = world_with_offline_leaf("k", &[]);
        world.run_leaf(leaf, "SADD k m");
        world.run_leaf(leaf, "SREM k m");
        world.run_leaf(leaf, "SADD k n");
        back_online(&mut world, leaf);
        assert_eq!(world.agreed("SMEMBERS k"), "[$n]");
    }
}

mod boards {
    use super::*;

    #[test]
    fn zincrby_beside_zincrby_is_the_sum_to_the_bit() {
        let mut world = world_of(3, "k", &[]);
        // Of 0.1, 0.2 and 0.3 the order of addition shows in the last bit; replicas are added in their order.
        world.run(C, "ZINCRBY k 0.3 m");
        world.run(B, "ZINCRBY k 0.2 m");
        world.run(A, "ZINCRBY k 0.1 m");
        assert_eq!(world.agreed("ZSCORE k m"), "$0.60000000000000009");
        let bits = |hub: usize| {
            let element = headwater::state::ElementId::Ranked("m".into());
            world.state(hub, "k").element(&element).and_then(|m| m.score()).map(f64::to_bits)
        };
        assert_eq!([bits(A), bits(B), bits(C)], [Some((0.1_f64 + 0.2 + 0.3).to_bits()); 3]);
    }

    #[test]
    fn zincrby_of_a_leaf_a_day_offline_counts() {
        let (mut world, leaf) = world_with_offline_leaf("k", &["ZADD k 10 m"]);
        assert_eq!(world.run_leaf(leaf, "ZINCRBY k 5 m"), "$15");
        world.run(A, "ZINCRBY k 2 m");
        world.sleep(DAY);
        back_online(&mut world, leaf);
        assert_eq!(world.agreed("ZSCORE k m"), "$17");
    }

    #[test]
    fn increments_that_leave_the_range_of_floats_in_sum_alone_are_still_sent() {
        let mut world = world("k", &["ZADD k -1e308 m"]);
        world.run(A, "ZINCRBY k 1e308 m");
        assert_eq!(world.run(A, "ZINCRBY k 1e308 m"), "$1e+308");
        assert_eq!(world.agreed("ZSCORE k m"), "$1e+308");
    }

    #[test]
    fn the_later_zadd_wins() {
        let mut world = world("k", &["ZADD k 1 m"]);
        world.run(B, "ZADD k 20 m");
        world.skip(SECOND);
        world.run(A, "ZADD k 10 m");
        assert_eq!(world.agreed("ZSCORE k m"), "$10");
    }

    #[test]
    fn of_zadd_gt_the_greatest_wins() {
        let mut world = world("k", &["ZADD k 1 m"]);
        world.run(B, "ZADD k GT 20 m");
        world.skip(SECOND);
        world.run(A, "ZADD k GT 10 m");
        assert_eq!(world.agreed("ZSCORE k m"), "$20");
    }

    #[test]
    fn of_zadd_lt_the_least_wins() {
        let mut world = world("k", &["ZADD k 100 m"]);
        world.run(B, "ZADD k LT 10 m");
        world.skip(SECOND);
        world.run(A, "ZADD k LT 20 m");
        assert_eq!(world.agreed("ZSCORE k m"), "$10");
    }

    #[test]
    fn zadd_gt_survives_a_concurrent_later_zadd_below() {
        let mut world = world("k", &["ZADD k 1 m"]);
        world.run(B, "ZADD k GT 20 m");
        world.skip(SECOND);
        world.run(A, "ZADD k 10 m");
        assert_eq!(world.agreed("ZSCORE k m"), "$20");
    }

    #[test]
    fn zadd_leaves_the_increment_that_it_did_not_see() {
        let mut world = world("k", &["ZADD k 1 m", "ZINCRBY k 4 m"]);
        world.run(A, "ZADD k 100 m");
        world.run(B, "ZINCRBY k 2 m");
        assert_eq!(world.agreed("ZSCORE k m"), "$102");
    }

    #[test]
    fn zrem_leaves_the_increment_that_it_did_not_see() {
        let mut world = world("k", &["ZADD k 1 m", "ZINCRBY k 4 m"]);
        world.run(A, "ZREM k m");
        world.run(B, "ZINCRBY k 2 m");
        assert_eq!(world.agreed("ZSCORE k m"), "$2");
    }

    #[test]
    fn zrem_by_a_leaf_a_day_offline_leaves_the_increment_that_it_did_not_see() {
        let (mut world, leaf) = world_with_offline_leaf("k", &["ZADD k 1 m"]);
        world.run_leaf(leaf, "ZREM k m");
        world.run(B, "ZINCRBY k 2 m");
        world.sleep(DAY);
        back_online(&mut world, leaf);
        assert_eq!(world.agreed("ZSCORE k m"), "$2");
    }
}

mod deadlines {
    use super::*;

    #[test]
    fn the_later_deadline_wins() {
        let mut world = world("k", &["SET k v"]);
        world.run(B, "EXPIRE k 200");
        world.skip(SECOND);
        world.run(A, "EXPIRE k 100");
        assert_eq!(world.agreed("PTTL k"), ":199000");
    }

    #[test]
    fn the_later_of_two_touches_wins() {
        let mut world = world("k", &["SET k v EX 100"]);
        world.run(B, "EXPIRE k 300");
        world.run(A, "EXPIRE k 200");
        assert_eq!(world.agreed("TTL k"), ":300");
    }

    #[test]
    fn persist_opens_an_epoch_and_wins_over_a_touch() {
        let mut world = world("k", &["SET k v EX 100"]);
        world.run(A, "PERSIST k");
        world.run(B, "EXPIRE k 300");
        assert_eq!(world.agreed("TTL k"), ":-1");
    }

    #[test]
    fn a_clear_shortening_opens_an_epoch_and_wins_over_a_touch() {
        let mut world = world("k", &["SET k v EX 100"]);
        world.run(A, "EXPIRE k 10");
        world.run(B, "EXPIRE k 300");
        assert_eq!(world.agreed("TTL k"), ":10");
    }

    #[test]
    fn of_two_epochs_the_later_stamped_wins() {
        let mut world = world("k", &["SET k v EX 100"]);
        world.run(A, "EXPIRE k 10");
        world.skip(SECOND);
        world.run(B, "PERSIST k");
        assert_eq!(world.agreed("TTL k"), ":-1");

        let mut world = self::world("k", &["SET k v EX 100"]);
        world.run(B, "PERSIST k");
        world.skip(SECOND);
        world.run(A, "EXPIRE k 10");
        assert_eq!(world.agreed("TTL k"), ":10");
    }

    #[test]
    fn a_touch_by_a_leaf_sees_its_own_persist_on_the_way() {
        let (mut world, leaf) = world_with_offline_leaf("k", &["SET k v EX 864000"]);
        world.run_leaf(leaf, "PERSIST k");
        world.run_leaf(leaf, "EXPIRE k 1728000");
        assert_eq!(world.run_leaf(leaf, "TTL k"), ":1728000");
        back_online(&mut world, leaf);
        assert_eq!(world.agreed("TTL k"), ":1728000");
    }

    #[test]
    fn a_touch_that_a_leaf_sends_to_the_next_hub_has_seen_the_persist_that_it_sent_to_the_one_before() {
        let mut world = world("k", &["SET k v EX 100"]);
        let leaf = world.leaf_at(A, &["k"]);
        world.run_leaf(leaf, "PERSIST k");
        // It reaches the first hub, the answer is lost.
        world.connect(leaf, B);
        world.run_leaf(leaf, "EXPIRE k 300");
        world.settle();
        assert_eq!(world.refused(leaf), [""; 0]);
        assert_eq!(world.agreed("TTL k"), ":300");
    }

    #[test]
    fn a_persist_by_a_leaf_whose_clock_runs_behind_opens_a_later_epoch_than_it_saw() {
        let mut world = world("k", &["SET k v EX 100"]);
        let leaf = world.leaf_at(B, &["k"]);
        world.run(A, "EXPIRE k 10");
        world.settle();
        world.disconnect(leaf);
        world.skip(-SECOND);
        world.run_leaf(leaf, "PERSIST k");
        world.skip(2 * SECOND);
        back_online(&mut world, leaf);
        assert_eq!(world.agreed("TTL k"), ":-1");
    }

    #[test]
    fn a_touch_by_a_leaf_a_day_offline_is_joined_too() {
        let (mut world, leaf) = world_with_offline_leaf("k", &["SET k v EX 864000"]);
        world.run_leaf(leaf, "EXPIRE k 1728000");
        world.run(A, "EXPIRE k 1000000");
        back_online(&mut world, leaf);
        assert_eq!(world.agreed("TTL k"), ":1728000");
    }
}

mod expiry {
    use super::*;

    #[test]
    fn one_deadline_covers_the_whole_key_everywhere_at_once() {
        let mut world = world("k", &["SADD k a", "EXPIRE k 10"]);
        let leaf = world.leaf_at(B, &["k"]);
        world.advance(8_999);
        assert_eq!(world.agreed("SCARD k"), ":1");
        assert_eq!(world.run_leaf(leaf, "SCARD k"), ":1");
        world.skip(1);
        // No message has passed.
        assert_eq!([world.run(A, "EXISTS k"), world.run(B, "EXISTS k")], [":0", ":0"]);
        assert_eq!(world.run_leaf(leaf, "EXISTS k"), ":0");
        assert_eq!(world.agreed("SCARD k"), ":0");
    }

    #[test]
    fn a_write_after_the_deadline_starts_afresh() {
        for (before, write, read, reply) in [
            ("SET k 7 EX 10", "INCR k", "GET k", "$1"),
            ("SADD k a", "SADD k b", "SMEMBERS k", "[$b]"),
            ("HSET k f 7", "HINCRBY k f 1", "HGETALL k", "[$f $1]"),
            ("ZADD k 7 m", "ZINCRBY k 1 m", "ZRANGE k 0 -1 WITHSCORES", "[$m $1]"),
        ] {
            let mut world = world("k", &[before, "EXPIRE k 10"]);
            world.advance(20 * SECOND);
            world.run(B, write);
            assert_eq!(world.agreed(read), reply, "{write} after the deadline");
            assert_eq!(world.agreed("TTL k"), ":-1");
        }
    }

    #[test]
    fn a_write_long_after_the_deadline_starts_afresh() {
        let mut world = world("k", &["SADD k a", "EXPIRE k 10"]);
        world.sleep(DAY);
        world.run(B, "SADD k b");
        assert_eq!(world.agreed("SMEMBERS k"), "[$b]");
        assert_eq!(world.agreed("TTL k"), ":-1");
    }

    #[test]
    fn a_blind_write_that_does_not_know_of_the_deadline_starts_afresh_at_the_origin() {
        let mut world = World::new(2);
        world.run(A, "SADD k a");
        world.run(A, "EXPIRE k 10");
        world.settle();
        world.part(B);
        world.advance(20 * SECOND);
        world.run(B, "SADD k b");
        world.join(B);
        assert_eq!(world.agreed("SMEMBERS k"), "[$b]");
        assert_eq!(world.agreed("TTL k"), ":-1");
    }

    #[test]
    fn a_late_touch_revives_what_lingers() {
        let mut world = world("k", &["SADD k a", "EXPIRE k 10"]);
        world.part(B);
        world.run(B, "EXPIRE k 3600");
        world.advance(20 * SECOND);
        assert_eq!(world.run(A, "EXISTS k"), ":0");
        world.join(B);
        assert_eq!(world.agreed("SMEMBERS k"), "[$a]");
    }
}

mod field_deadlines {
    use super::*;

    #[test]
    fn a_field_ends_everywhere_at_once_and_the_others_stay() {
        let mut world = world("k", &["HSET k f 1 g 2", "HEXPIRE k 10 FIELDS 1 f"]);
        let leaf = world.leaf_at(B, &["k"]);
        world.advance(8_999);
        assert_eq!(world.agreed("HGETALL k"), "[$f $1 $g $2]");
        world.skip(1);
        // No message has passed.
        assert_eq!([world.run(A, "HGETALL k"), world.run(B, "HLEN k")], ["[$g $2]", ":1"]);
        assert_eq!(world.run_leaf(leaf, "HGET k f"), "nil");
        world.advance(2 * SECOND);
        assert_eq!(world.agreed("HGETALL k"), "[$g $2]");
    }

    #[test]
    fn a_key_whose_last_field_ended_does_not_exist() {
        let mut world = world("k", &["HSET k f 1", "HPEXPIRE k 5000 FIELDS 1 f"]);
        world.advance(6 * SECOND);
        assert_eq!(world.agreed("TYPE k"), "+none");
        assert_eq!(world.run(B, "SADD k m"), ":1");
        assert_eq!(world.agreed("TYPE k"), "+set");
    }

    #[test]
    fn what_is_left_of_a_field_goes_a_minute_after_it_ended() {
        let mut world = world("k", &["HSET k f 1 g 2", "HEXPIRE k 10 FIELDS 1 f"]);
        let f = headwater::state::ElementId::Field("f".into());
        world.advance(30 * SECOND);
        assert!([A, B].iter().all(|hub| world.state(*hub, "k").element(&f).is_some()), "a late touch could revive it");
        world.advance(MINUTE);
        assert!([A, B].iter().all(|hub| world.state(*hub, "k").element(&f).is_none()));
        assert_eq!(world.agreed("HGETALL k"), "[$g $2]");
    }

    #[test]
    fn the_plain_field_of_a_key_that_a_new_daemon_reads_goes_too() {
        let mut world = world("k", &["HSET k f 1 g 2", "HEXPIRE k 10 FIELDS 1 f"]);
        world.part(A);
        world.part(B);
        world.restart_origin(1);
        world.advance(20 * SECOND);
        world.join(A);
        world.join(B);
        world.run(A, "HSET k h 3");
        world.advance(2 * SECOND);
        assert_eq!(world.agreed("HGETALL k"), "[$g $2 $h $3]");
    }

    #[test]
    fn a_late_touch_revives_what_lingers() {
        let mut world = world("k", &["HSET k f 1 g 2", "HEXPIRE k 10 FIELDS 1 f"]);
        world.part(B);
        world.run(B, "HEXPIRE k 3600 FIELDS 1 f");
        world.advance(20 * SECOND);
        assert_eq!(world.run(A, "HGET k f"), "nil");
        world.join(B);
        assert_eq!(world.agreed("HGET k f"), "$1");
    }

    #[test]
    fn an_increment_after_the_end_starts_afresh() {
        let mut world = world("k", &["HINCRBY k f 5", "HSET k g 1", "HEXPIRE k 10 FIELDS 1 f"]);
        world.advance(12 * SECOND);
        assert_eq!(world.run(B, "HINCRBY k f 1"), ":1");
        assert_eq!(world.agreed("HTTL k FIELDS 1 f"), "[:-1]");
        assert_eq!(world.agreed("HGET k f"), "$1");
    }

    #[test]
    fn hset_clears_the_deadline_that_it_saw_and_no_other() {
        let mut world = world("k", &["HSET k f 1", "HEXPIRE k 100 FIELDS 1 f"]);
        world.run(A, "HSET k f 2");
        assert_eq!(world.agreed("HTTL k FIELDS 1 f"), "[:-1]");
        world.run(A, "HSET k f 3");
        world.run(B, "HEXPIRE k 100 FIELDS 1 f");
        assert_eq!(world.agreed("HTTL k FIELDS 1 f"), "[:100]");
    }

    #[test]
    fn a_leaf_offline_touches_what_it_wrote_itself() {
        let (mut world, leaf) = world_with_offline_leaf("k", &["HSET k g 1"]);
        assert_eq!(world.run_leaf(leaf, "HSET k f 1"), ":1");
        assert_eq!(world.run_leaf(leaf, "HEXPIRE k 1728000 FIELDS 2 f g"), "[:1 :1]");
        assert_eq!(world.run_leaf(leaf, "HINCRBY k f 4"), ":5");
        assert_eq!(world.run_leaf(leaf, "HPERSIST k FIELDS 1 f"), "[:1]");
        assert_eq!(world.run_leaf(leaf, "HEXPIRE k 864000 FIELDS 1 f"), "[:1]");
        back_online(&mut world, leaf);
        assert_eq!(world.agreed("HGETALL k"), "[$f $5 $g $1]");
        assert_eq!(world.agreed("HTTL k FIELDS 2 f g"), "[:864000 :1728000]");
    }

    #[test]
    fn a_touch_that_a_leaf_sends_to_the_next_hub_keeps_the_value_that_it_sent_to_the_one_before() {
        let mut world = world("k", &[]);
        let leaf = world.leaf_at(A, &["k"]);
        world.run_leaf(leaf, "HSET k f 1");
        world.run_leaf(leaf, "HEXPIRE k 300 FIELDS 1 f");
        // Both reach the first hub, the answer is lost.
        world.connect(leaf, B);
        world.run_leaf(leaf, "HPERSIST k FIELDS 1 f");
        world.run_leaf(leaf, "HEXPIRE k 100 FIELDS 1 f");
        world.settle();
        assert_eq!(world.refused(leaf), [""; 0]);
        assert_eq!(world.agreed("HGET k f"), "$1");
        assert_eq!(world.agreed("HTTL k FIELDS 1 f"), "[:100]");
    }
}

mod two_types {
    use super::*;

    #[test]
    fn the_later_claim_shows() {
        let mut world = world("k", &[]);
        world.run(A, "SADD k m");
        world.skip(SECOND);
        world.run(B, "HSET k f v");
        assert_eq!(world.agreed("TYPE k"), "+hash");
        assert_eq!(world.agreed("HGETALL k"), "[$f $v]");
        assert_eq!(world.run(A, "SADD k n"), "-WRONGTYPE Operation against a key holding the wrong kind of value");
    }

    #[test]
    fn both_are_kept() {
        let mut world = world("k", &[]);
        world.run(A, "SADD k m");
        world.skip(SECOND);
        world.run(B, "HSET k f v");
        world.settle();
        world.run(A, "HDEL k f");
        // What showed is gone; what it hid shows again.
        assert_eq!(world.agreed("SMEMBERS k"), "[$m]");
    }

    #[test]
    fn del_removes_both() {
        let mut world = world("k", &[]);
        world.run(A, "SADD k m");
        world.run(B, "HSET k f v");
        world.settle();
        world.run(A, "DEL k");
        assert_eq!(world.agreed("EXISTS k"), ":0");
    }
}

mod nodes {
    use super::*;

    #[test]
    fn a_partition_heals_whoever_restarts_in_it() {
        let mut world = world("k", &["ZADD k 1 m"]);
        let leaf = world.leaf_at(B, &["k"]);
        world.part(B);
        world.run(A, "ZINCRBY k 1 m");
        world.run(B, "ZINCRBY k 10 m");
        world.run_leaf(leaf, "ZINCRBY k 100 m");
        world.settle();
        world.restart_hub(B);
        world.settle();
        world.join(B);
        assert_eq!(world.agreed("ZSCORE k m"), "$112");
        world.restart_origin(2);
        world.run(A, "ZINCRBY k 1000 m");
        assert_eq!(world.agreed("ZSCORE k m"), "$1112");
        world.restart_hub(A);
        assert_eq!(world.agreed("ZSCORE k m"), "$1112");
    }

    #[test]
    fn a_leaf_that_roams_counts_once() {
        let mut world = world("k", &[]);
        let leaf = world.leaf_at(A, &["k"]);
        world.run_leaf(leaf, "INCRBY k 1");
        // The operations reach the hub, the answer is lost.
        world.disconnect(leaf);
        world.settle();
        world.run_leaf(leaf, "INCRBY k 10");
        world.connect(leaf, B);
        world.settle();
        assert_eq!(world.refused(leaf), [""; 0]);
        assert_eq!(world.agreed("GET k"), "$11");
    }

    #[test]
    fn a_removal_that_a_leaf_sends_to_the_next_hub_has_seen_what_it_sent_to_the_one_before() {
        for (write, remove) in [
            ("INCR k", "DEL k"),
            ("SADD k m", "DEL k"),
            ("SADD k m", "SREM k m"),
            ("HINCRBY k f 1", "HDEL k f"),
            ("ZINCRBY k 1 m", "ZREM k m"),
        ] {
            let mut world = world("k", &[]);
            let leaf = world.leaf_at(A, &["k"]);
            world.run_leaf(leaf, write);
            // The write reaches the first hub, the answer is lost.
            world.connect(leaf, B);
            world.run_leaf(leaf, remove);
            world.settle();
            assert_eq!(world.refused(leaf), [""; 0]);
            assert_eq!(world.agreed("EXISTS k"), ":0", "{write}, {remove}");
        }
    }

    #[test]
    fn a_repeated_request_with_its_idempotency_key_counts_once() {
        let mut world = world("k", &[]);
        let first = world.pipeline(A, &["INCR k"], Some("once")).replies;
        world.restart_hub(A);
        assert_eq!(world.pipeline(A, &["INCR k"], Some("once")).replies, first);
        assert_eq!(world.agreed("GET k"), "$1");
    }

    #[test]
    fn an_unknown_key_with_the_origin_away_is_an_error_and_a_blind_write_provisional() {
        let mut world = World::new(2);
        world.part(B);
        assert_eq!(world.run(B, "GET k"), "-ERR Headwater: the origin is away and this edge does not hold the key");
        assert!(world.pipeline(B, &["INCR k"], None).provisional);
    }
}
