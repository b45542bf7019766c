//! What a hub holds, lets go and refuses, and when it asks to be woken.

use crate::common::{DAY, MINUTE, SECOND, START, World, key};
use headwater::{
    command::{CommandError, Reply},
    eviction::Policy,
    hub::MemoryLimit,
};

const A: usize = 0;
const B: usize = 1;

const OOM: &str = "-OOM command not allowed when used memory > 'maxmemory'.";

fn bounded(hubs: usize, bytes_max: usize, policy: Policy) -> World {
    World::bounded(hubs, Some(MemoryLimit { bytes_max, policy }))
}

/// Sets keys of this name at the first hub until all is stable.
/// A hub with these keys, and a bound a little above what they take. Sizes differ between machines, so an unbounded hub
/// tells how much that is on this one.
fn just_fitting(policy: Policy, prepare: impl Fn(&mut World)) -> World {
    let mut unbounded = World::new(1);
    prepare(&mut unbounded);
    let mut world = bounded(1, unbounded.hub(A).memory_bytes() * 5 / 4, policy);
    prepare(&mut world);
    world
}

fn fill(world: &mut World, name: &str, count: usize) {
    for n in 0..count {
        assert_eq!(world.run(A, &format!("SET {name}{n} {}", value(n))), "+OK");
        if n % 10 == 9 {
            world.advance(2 * SECOND);
        }
    }
    world.advance(2 * SECOND);
}

fn value(n: usize) -> String {
    format!("{n}-{}", "x".repeat(300))
}

/// How many keys of this name the first hub has.
fn kept(world: &World, name: &str, count: usize) -> usize {
    (0..count).filter(|n| world.hub(A).key(&key(&format!("{name}{n}"))).is_some()).count()
}

mod eviction {
    use super::*;

    #[test]
    fn what_was_evicted_is_fetched_again_and_agrees() {
        let mut world = bounded(2, 40_000, Policy::AllKeysLru);
        fill(&mut world, "k", 200);
        let status = world.hub(A).status();
        assert!(status.evicted > 50 && status.memory_bytes <= 40_000, "{status:?}");
        for n in 0..200 {
            assert_eq!(world.agreed(&format!("GET k{n}")), format!("${}", value(n)));
            assert!(world.hub(A).memory_bytes() <= 40_000);
        }
    }

    #[test]
    fn the_rows_of_what_was_evicted_go_too() {
        let mut world = bounded(1, 40_000, Policy::AllKeysLru);
        fill(&mut world, "k", 200);
        let keys = world.hub(A).keys().len();
        let rows = world.rows(A).keys().filter(|id| id.first() == Some(&b'k')).count();
        assert_eq!(rows, keys);
        world.restart_hub(A);
        world.settle();
        assert_eq!(world.hub(A).keys().len(), keys);
    }

    #[test]
    fn nothing_unacknowledged_is_evicted() {
        let mut world = bounded(1, 40_000, Policy::AllKeysLru);
        world.part(A);
        let lines: Vec<String> = (0..300).map(|n| format!("SET k{n} {}", value(n))).collect();
        let accepted = lines.iter().take_while(|line| world.run(A, line) == "+OK").count();
        assert!((20..300).contains(&accepted), "{accepted} keys fill the hub");
        assert_eq!(kept(&world, "k", accepted), accepted);
        world.join(A);
        world.advance(10 * SECOND);
        for n in 0..accepted {
            assert_eq!(world.agreed(&format!("GET k{n}")), format!("${}", value(n)));
        }
    }

    #[test]
    fn what_stands_behind_a_command_at_the_origin_keeps_its_keys() {
        let mut world = bounded(1, 40_000, Policy::AllKeysLru);
        world.run(A, "SET kept v");
        world.advance(10 * SECOND);
        let request = world.begin(A, &["SET lock me NX", "GET kept"]);
        assert!(!world.is_answered(request));
        for n in 0..150 {
            world.run(A, &format!("SET k{n} {}", value(n)));
        }
        world.settle();
        assert_eq!(world.take(request), [Ok(Reply::Ok), Ok(Reply::Bulk("v".into()))]);
    }

    #[test]
    fn the_longest_idle_keys_go_first() {
        let mut world = just_fitting(Policy::AllKeysLru, |world| {
            fill(world, "hot", 40);
            fill(world, "idle", 40);
        });
        assert_eq!(world.hub(A).status().evicted, 0);
        world.advance(MINUTE);
        for n in 0..40 {
            world.run(A, &format!("GET hot{n}"));
        }
        while world.hub(A).status().evicted < 30 {
            let n = world.hub(A).status().last_no;
            world.run(A, &format!("SET new{n} {}", value(0)));
            world.advance(2 * SECOND);
        }
        assert!(kept(&world, "hot", 40) >= 38, "{} of 40 used keys are left", kept(&world, "hot", 40));
        assert!(kept(&world, "idle", 40) <= 15, "{} of 40 idle keys are left", kept(&world, "idle", 40));
    }

    #[test]
    fn the_keys_that_end_first_go_first_and_none_without_a_deadline() {
        let prepare = |world: &mut World| {
            fill(world, "late", 25);
            fill(world, "soon", 25);
            fill(world, "never", 25);
            for n in 0..25 {
                world.run(A, &format!("PEXPIRE late{n} {}", 20 * DAY));
                world.run(A, &format!("PEXPIRE soon{n} {}", DAY));
            }
            world.advance(2 * SECOND);
        };
        let mut world = just_fitting(Policy::VolatileTtl, prepare);
        assert_eq!(world.hub(A).status().evicted, 0);
        while world.hub(A).status().evicted < 20 {
            let n = world.hub(A).status().last_no;
            world.run(A, &format!("SET new{n} {}", value(0)));
            world.advance(2 * SECOND);
        }
        assert_eq!(kept(&world, "never", 25), 25);
        let (soon, late) = (kept(&world, "soon", 25), kept(&world, "late", 25));
        assert!(soon <= 9 && late >= 20, "{soon} of 25 that end soon are left, {late} of 25 that end late");
    }

    #[test]
    fn a_key_that_a_leaf_follows_stays() {
        let mut world = bounded(1, 40_000, Policy::AllKeysLru);
        world.run(A, "SET followed v");
        world.leaf_at(A, &["followed"]);
        fill(&mut world, "k", 200);
        assert!(world.hub(A).status().evicted > 50);
        assert!(world.hub(A).key(&key("followed")).is_some());
    }

    #[test]
    fn a_counter_in_which_the_hub_counted_stays_and_so_loses_nothing() {
        let mut world = bounded(2, 40_000, Policy::AllKeysLru);
        for _ in 0..5 {
            world.run(A, "INCR count");
            world.run(A, "HINCRBY hash field 1");
            world.run(A, "ZINCRBY board 1 m");
        }
        world.advance(2 * SECOND);
        world.restart_hub(A);
        fill(&mut world, "k", 200);
        assert!(world.hub(A).status().evicted > 50);
        world.run(A, "INCR count");
        world.run(A, "HINCRBY hash field 1");
        world.run(A, "ZINCRBY board 1 m");
        world.advance(2 * SECOND);
        assert_eq!(world.agreed("GET count"), "$6");
        assert_eq!(world.agreed("HGET hash field"), "$6");
        assert_eq!(world.agreed("ZSCORE board m"), "$6");
    }

    #[test]
    fn a_counter_that_others_count_can_go_and_come_back() {
        let mut world = bounded(2, 40_000, Policy::AllKeysLru);
        world.run(B, "INCRBY count 5");
        world.settle();
        assert_eq!(world.run(A, "GET count"), "$5");
        fill(&mut world, "k", 400);
        assert!(world.hub(A).key(&key("count")).is_none(), "the counter was idle longest");
        world.run(A, "INCR count");
        world.advance(2 * SECOND);
        assert_eq!(world.agreed("GET count"), "$6");
    }

    #[test]
    fn a_blind_write_to_an_evicted_key_joins_what_comes_back() {
        let mut world = bounded(2, 40_000, Policy::AllKeysLru);
        world.run(A, "SADD set a b");
        fill(&mut world, "k", 400);
        assert!(world.hub(A).key(&key("set")).is_none(), "the set was idle longest");
        world.run(A, "SADD set c");
        world.advance(2 * SECOND);
        assert_eq!(world.agreed("SCARD set"), ":3");
    }

    #[test]
    fn the_same_inputs_evict_the_same_keys() {
        let kept = || {
            let mut world = bounded(1, 40_000, Policy::AllKeysLfu);
            fill(&mut world, "k", 200);
            world.hub(A).keys()
        };
        assert_eq!(kept(), kept());
    }
}

mod refusal {
    use super::*;

    fn full() -> World {
        let mut world = bounded(1, 20_000, Policy::AllKeysLru);
        world.run(A, "SADD set a b");
        world.advance(2 * SECOND);
        world.part(A);
        let mut n = 0;
        while world.run(A, &format!("SET k{n} {}", value(n))) == "+OK" {
            n += 1;
            assert!(n < 1_000, "the hub never refuses");
        }
        world
    }

    #[test]
    fn a_hub_where_nothing_can_go_refuses_what_may_grow_in_redis_words() {
        let mut world = full();
        let refused = world.hub(A).status().refused;
        for line in ["SET k0 w", "INCR n", "SADD s m", "HSET h f v", "HINCRBY h f 1", "ZADD z 1 m", "ZINCRBY z 1 m"] {
            assert_eq!(world.run(A, line), OOM, "{line}");
        }
        assert_eq!(world.hub(A).status().refused, refused + 7);
    }

    #[test]
    fn what_the_origin_would_execute_is_refused_too_where_it_may_grow() {
        let mut world = bounded(1, 20_000, Policy::NoEviction);
        while world.run(A, &format!("SET k{} {}", world.now.0, value(0))) == "+OK" {
            world.advance(2 * SECOND);
        }
        for line in ["SET n v NX", "HW.LOCK l me 1000"] {
            let request = world.begin(A, &[line]);
            assert!(world.is_answered(request), "{line} is not sent");
            assert_eq!(world.take(request), [Err(CommandError::OutOfMemory)], "{line}");
        }
        assert_eq!(world.run(A, "GETDEL other"), "nil");
    }

    #[test]
    fn it_still_reads_and_removes() {
        let mut world = full();
        assert_eq!(world.run(A, "GET k0"), format!("${}", value(0)));
        assert_eq!(world.run(A, "EXPIRE k0 100"), ":1");
        assert_eq!(world.run(A, "DEL k0"), ":1");
    }

    #[test]
    fn it_accepts_again_once_keys_can_go() {
        let mut world = full();
        world.join(A);
        world.advance(10 * SECOND);
        assert_eq!(world.run(A, "SET more v"), "+OK");
    }

    #[test]
    fn a_leafs_operation_is_refused_with_a_verdict() {
        let mut world = full();
        let leaf = world.add_leaf();
        world.connect(leaf, A);
        world.settle();
        world.run_leaf(leaf, "SADD mine m");
        world.settle();
        assert_eq!(world.refused(leaf), [format!("mine: {}", &OOM[1..])]);
        assert!(world.hub(A).key(&key("mine")).is_none());
    }

    #[test]
    fn a_hub_that_may_evict_nothing_refuses_though_all_is_stable() {
        let mut world = bounded(1, 20_000, Policy::NoEviction);
        let refused = (0..200).any(|n| {
            world.advance(2 * SECOND);
            world.run(A, &format!("SET k{n} {}", value(n))) == OOM
        });
        assert!(refused);
        assert_eq!(world.hub(A).status().evicted, 0);
    }
}

mod ends {
    use super::*;

    #[test]
    fn a_hub_whose_keys_all_ended_holds_next_to_nothing() {
        let mut world = World::new(1);
        world.run(A, "GET first");
        let empty = world.hub(A).memory_bytes();
        for n in 0..1_000 {
            world.run(A, &format!("HSET k{n} f {}", value(n)));
            world.run(A, &format!("PEXPIRE k{n} {}", 10 * MINUTE));
        }
        world.advance(2 * SECOND);
        let full = world.hub(A).memory_bytes();
        assert!(full > 400_000, "{full}");
        world.skip(DAY);
        world.advance(5 * MINUTE);
        assert_eq!(world.hub(A).status().keys, 0);
        let left = world.hub(A).memory_bytes();
        // Slots' states are not counted; the index and the replicas' names keep their least size.
        assert!(left <= empty + 2_000, "{left} bytes are left, {empty} of them from the start");
    }

    #[test]
    fn sessions_verdicts_and_answers_are_counted_until_they_end() {
        let mut world = World::new(1);
        let before = world.hub(A).memory_bytes();
        let leaf = world.add_leaf();
        world.connect(leaf, A);
        world.settle();
        world.part(A);
        let session = world.hub(A).memory_bytes() - before;
        assert!(session > 100, "{session} bytes for a session");
        world.pipeline(A, &["PING"], None);
        let idle = world.hub(A).memory_bytes();
        assert_eq!(world.pipeline(A, &["SADD s m"], Some("once")).replies.len(), 1);
        let written = world.hub(A).memory_bytes() - idle;
        world.join(A);
        world.skip(40 * DAY);
        world.advance(5 * MINUTE);
        let left = world.hub(A).memory_bytes();
        assert!(written > 100 && left < idle + written, "{written} bytes for a write, {left} left after {idle}");
    }

    /// The bytes of a hub's rows, and those that it counts in memory, after so many writes, one every tenth of a second: something
    /// is always on its way, and what is stable always lags behind.
    fn after_writes(world: &mut World, count: usize, line: &str) -> (usize, usize) {
        for n in 0..count {
            assert!(!world.run(A, &format!("{line} {n}")).starts_with('-'));
            world.advance(100);
        }
        (world.rows(A).values().map(Vec::len).sum(), world.hub(A).memory_bytes())
    }

    #[test]
    fn a_key_that_is_written_without_a_pause_takes_no_more_with_each_write() {
        for line in ["SET k", "HSET k f"] {
            let mut world = World::new(1);
            world.hold(&["k"]);
            let early = after_writes(&mut world, 50, line);
            let late = after_writes(&mut world, 1_000, line);
            assert!(late.0 <= early.0 * 2 && late.1 <= early.1 * 2, "{line}: {early:?}, then {late:?}");
            world.advance(2 * SECOND);
            world.assert_agreement("k");
        }
    }

    #[test]
    fn so_it_is_while_the_origin_is_away() {
        for line in ["SET k", "HSET k f"] {
            let mut world = World::new(2);
            world.hold(&["k"]);
            // What the origin has heard of is told again when it is back.
            world.run(A, &format!("{line} before"));
            world.advance(2 * SECOND);
            world.leaf_at(A, &["k"]);
            world.part(A);
            let early = after_writes(&mut world, 50, line);
            world.restart_hub(A);
            let late = after_writes(&mut world, 1_000, line);
            assert!(late.0 <= early.0 * 2 && late.1 <= early.1 * 2, "{line}: {early:?}, then {late:?}");
            world.run(B, &format!("{line} elsewhere"));
            world.join(A);
            world.advance(2 * SECOND);
            world.assert_agreement("k");
        }
    }

    #[test]
    fn a_deleted_key_keeps_its_own_row_alone() {
        let mut world = World::new(1);
        world.run(A, "SADD k a");
        world.run(A, "DEL k");
        world.advance(5 * MINUTE);
        assert_eq!(world.hub(A).keys(), [key("k")]);
        assert!(!world.rows(A).keys().any(|id| id.first() == Some(&b'e')));
        world.run(A, "SADD k b");
        assert_eq!(world.agreed("SMEMBERS k"), "[$b]");
    }

    #[test]
    fn a_deleted_counter_is_kept_so_that_it_counts_on() {
        let mut world = World::new(2);
        world.run(A, "INCRBY k 5");
        world.settle();
        world.run(A, "DEL k");
        world.advance(5 * MINUTE);
        world.run(A, "INCR k");
        assert_eq!(world.agreed("GET k"), "$1");
    }

    #[test]
    fn a_key_that_is_not_there_is_forgotten_once_its_leaf_has_gone() {
        let mut world = World::new(1);
        let leaf = world.leaf_at(A, &["nothing"]);
        world.advance(5 * MINUTE);
        assert_eq!(world.hub(A).keys(), [key("nothing")]);
        world.disconnect(leaf);
        world.advance(5 * MINUTE);
        assert_eq!(world.hub(A).keys(), []);
    }

    #[test]
    fn a_key_whose_deadline_moved_ends_at_the_later_one() {
        let mut world = World::new(1);
        world.run(A, "SET k v");
        world.run(A, "PEXPIRE k 60000");
        world.advance(2 * SECOND);
        world.run(A, &format!("PEXPIRE k {DAY}"));
        world.skip(DAY / 2);
        world.advance(5 * MINUTE);
        assert_eq!(world.run(A, "GET k"), "$v");
        world.skip(DAY);
        world.advance(5 * MINUTE);
        assert_eq!(world.hub(A).keys(), []);
    }

    #[test]
    fn a_key_ends_after_a_restart_too() {
        let mut world = World::new(1);
        world.run(A, "SET k v");
        world.run(A, "PEXPIRE k 60000");
        world.advance(2 * SECOND);
        world.restart_hub(A);
        world.advance(5 * MINUTE);
        assert_eq!(world.hub(A).keys(), []);
    }

    #[test]
    fn what_became_stable_after_its_end_is_forgotten() {
        let mut world = World::new(1);
        world.run(A, "EXISTS k");
        world.part(A);
        world.run(A, "SET k v");
        world.run(A, "PEXPIRE k 1000");
        world.advance(10 * MINUTE);
        assert_eq!(world.hub(A).keys(), [key("k")]);
        world.join(A);
        world.advance(5 * MINUTE);
        assert_eq!(world.hub(A).keys(), []);
    }
}

mod waking {
    use super::*;

    #[test]
    fn a_hub_in_which_nothing_ends_asks_for_no_wake_up() {
        let mut world = World::new(1);
        world.run(A, "SADD k a");
        world.run(A, "INCR n");
        world.advance(10 * MINUTE);
        assert_eq!(world.wake_at(A), None);
    }

    #[test]
    fn a_hub_whose_leaf_follows_what_is_not_there_is_woken_only_for_the_ticket() {
        let mut world = World::new(1);
        world.leaf_at(A, &["nothing"]);
        world.advance(10 * MINUTE);
        let wake_at = world.wake_at(A).expect("the ticket ends");
        assert!(wake_at >= START.plus_ms(30 * DAY), "{wake_at:?}");
    }

    #[test]
    fn a_hub_is_woken_once_for_all_that_ends_within_a_minute() {
        let mut world = World::new(1);
        for n in 0..50 {
            world.run(A, &format!("SET k{n} v"));
            world.run(A, &format!("PEXPIRE k{n} {}", DAY + n * SECOND));
        }
        world.advance(10 * MINUTE);
        let first = world.wake_at(A).expect("keys end");
        assert!(first >= START.plus_ms(DAY), "{first:?}");
        assert_eq!(first.0 % MINUTE, 0);
        world.skip(first.0 - world.now.0 - SECOND);
        world.advance(SECOND);
        let second = world.wake_at(A);
        assert!(second.is_none_or(|second| second.0 - first.0 == MINUTE), "{second:?}");
        world.advance(MINUTE);
        assert_eq!(world.hub(A).keys(), []);
        assert_eq!(world.wake_at(A), None);
    }
}
