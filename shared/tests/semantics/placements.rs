//! Each row of the table wherever its two operations may meet: at two hubs; at a hub and in the origin, which has long
//! committed the other; and with either of them by a leaf that was offline for a day before and a day after.
//!
//! The second operation is always made later by the clock. The rows on single commands in several forms, and on what only
//! one placement can show, are in the file above; those on what no write of a leaf comes through, in `revocations.rs`.

use super::{A, B, back_online, common::DAY, common::SECOND, world, world_with_offline_leaf};

/// A row: what was before, two concurrent operations, how long to wait, what to read, and what every node must answer.
struct Row {
    before: &'static [&'static str],
    first: &'static str,
    second: &'static str,
    /// In milliseconds; a deadline shows by what is there long after.
    wait_ms: i64,
    read: &'static str,
    reply: &'static str,
}

impl Row {
    fn meets_at_two_hubs(&self) {
        let mut world = world("k", self.before);
        world.run(A, self.first);
        world.skip(SECOND);
        world.run(B, self.second);
        self.check(&mut world);
    }

    fn meets_in_the_origin(&self) {
        let mut world = world("k", self.before);
        world.part(B);
        world.run(A, self.first);
        world.advance(SECOND);
        world.run(B, self.second);
        world.join(B);
        self.check(&mut world);
    }

    fn comes_second_from_a_leaf_a_day_offline(&self) {
        let (mut world, leaf) = world_with_offline_leaf("k", self.before);
        world.run(A, self.first);
        world.skip(SECOND);
        world.run_leaf(leaf, self.second);
        world.sleep(DAY);
        back_online(&mut world, leaf);
        self.check(&mut world);
    }

    fn comes_first_from_a_leaf_a_day_offline(&self) {
        let (mut world, leaf) = world_with_offline_leaf("k", self.before);
        world.run_leaf(leaf, self.first);
        world.skip(SECOND);
        world.run(A, self.second);
        world.sleep(DAY);
        back_online(&mut world, leaf);
        self.check(&mut world);
    }

    fn check(&self, world: &mut super::World) {
        world.settle();
        world.skip(self.wait_ms);
        if self.wait_ms > 0 {
            // Until the daemon takes fields that ended out of the plain hash.
            world.advance(2 * SECOND);
        }
        assert_eq!(world.agreed(self.read), self.reply, "{} beside {}", self.first, self.second);
    }
}

macro_rules! rows {
    ($($name:ident: $before:expr, $first:literal beside $second:literal, $read:literal is $reply:literal $(after $wait:expr)?;)*) => {$(
        mod $name {
            use super::*;

            row!($before, $first beside $second, $read is $reply $(after $wait)?);

            #[test]
            fn with_the_second_by_a_leaf_a_day_offline() {
                row().comes_second_from_a_leaf_a_day_offline();
            }

            #[test]
            fn with_the_first_by_a_leaf_a_day_offline() {
                row().comes_first_from_a_leaf_a_day_offline();
            }
        }
    )*};
}

/// Rows for hubs alone.
macro_rules! rows_of_hubs {
    ($($name:ident: $before:expr, $first:literal beside $second:literal, $read:literal is $reply:literal $(after $wait:expr)?;)*) => {$(
        mod $name {
            use super::*;

            row!($before, $first beside $second, $read is $reply $(after $wait)?);
        }
    )*};
}

macro_rules! row {
    ($before:expr, $first:literal beside $second:literal, $read:literal is $reply:literal $(after $wait:expr)?) => {
        fn row() -> Row {
            let wait_ms = [0 $(+ $wait)?][0];
            Row { before: &$before, first: $first, second: $second, wait_ms, read: $read, reply: $reply }
        }

        #[test]
        fn between_two_hubs() {
            row().meets_at_two_hubs();
        }

        #[test]
        fn between_a_hub_and_the_origin() {
            row().meets_in_the_origin();
        }
    };
}

// The days of the deadlines: 864 000 s are ten, 8 640 000 s a hundred.
rows! {
    incr_and_incr_both_count: ["SET k 5"], "INCR k" beside "INCRBY k 10", "GET k" is "$16";
    hincrby_and_hincrby_both_count: ["HSET k f 5"], "HINCRBY k f 1" beside "HINCRBY k f 10", "HGET k f" is "$16";
    of_set_and_set_the_later_wins: ["SET k old"], "SET k early" beside "SET k late", "GET k" is "$late";
    of_hset_and_hset_the_later_wins: ["HSET k f old"], "HSET k f early" beside "HSET k f late", "HGET k f" is "$late";
    set_keeps_a_later_incr: ["INCRBY k 5"], "SET k 100" beside "INCRBY k 2", "GET k" is "$102";
    set_keeps_an_earlier_incr_unseen: ["INCRBY k 5"], "INCRBY k 2" beside "SET k 100", "GET k" is "$102";
    del_keeps_a_later_incr: ["INCRBY k 5"], "DEL k" beside "INCRBY k 2", "GET k" is "$2";
    del_keeps_an_earlier_incr_unseen: ["INCRBY k 5"], "INCRBY k 2" beside "DEL k", "GET k" is "$2";
    hset_keeps_an_hincrby: ["HINCRBY k f 5"], "HINCRBY k f 2" beside "HSET k f 100", "HGET k f" is "$102";
    sadd_wins_over_a_later_srem: ["SADD k m n"], "SADD k m" beside "SREM k m n", "SMEMBERS k" is "[$m]";
    sadd_wins_over_an_earlier_srem: ["SADD k m n"], "SREM k m n" beside "SADD k m", "SMEMBERS k" is "[$m]";
    hset_wins_over_a_later_hdel: ["HSET k f 1 g 1"], "HSET k f 2" beside "HDEL k f g", "HGETALL k" is "[$f $2]";
    hset_wins_over_an_earlier_hdel: ["HSET k f 1 g 1"], "HDEL k f g" beside "HSET k f 2", "HGETALL k" is "[$f $2]";
    zadd_wins_over_a_later_zrem: ["ZADD k 1 m 1 n"], "ZADD k 2 m" beside "ZREM k m n", "ZRANGE k 0 -1" is "[$m]";
    zadd_wins_over_an_earlier_zrem: ["ZADD k 1 m 1 n"], "ZREM k m n" beside "ZADD k 2 m", "ZRANGE k 0 -1" is "[$m]";
    set_wins_over_a_later_del: ["SET k 1"], "SET k 2" beside "DEL k", "GET k" is "$2";
    sadd_wins_over_a_later_del: ["SADD k a b"], "SADD k b" beside "DEL k", "SMEMBERS k" is "[$b]";
    hset_wins_over_a_later_del: ["HSET k a 1 b 1"], "HSET k b 2" beside "DEL k", "HGETALL k" is "[$b $2]";
    zadd_wins_over_a_later_del: ["ZADD k 1 a 1 b"], "ZADD k 2 b" beside "DEL k", "ZRANGE k 0 -1" is "[$b]";
    zincrby_and_zincrby_are_summed: ["ZADD k 1 m"], "ZINCRBY k 2 m" beside "ZINCRBY k 4 m", "ZSCORE k m" is "$7";
    of_zadd_and_zadd_the_later_wins: ["ZADD k 1 m"], "ZADD k 20 m" beside "ZADD k 10 m", "ZSCORE k m" is "$10";
    of_zadd_gt_the_greatest_wins: ["ZADD k 1 m"], "ZADD k GT 20 m" beside "ZADD k GT 10 m", "ZSCORE k m" is "$20";
    of_zadd_lt_the_least_wins: ["ZADD k 100 m"], "ZADD k LT 10 m" beside "ZADD k LT 20 m", "ZSCORE k m" is "$10";
    zadd_keeps_a_zincrby: ["ZINCRBY k 4 m"], "ZADD k 100 m" beside "ZINCRBY k 2 m", "ZSCORE k m" is "$102";
    zadd_keeps_an_earlier_zincrby_unseen: ["ZINCRBY k 4 m"], "ZINCRBY k 2 m" beside "ZADD k 100 m", "ZSCORE k m" is "$102";
    zrem_keeps_a_zincrby: ["ZADD k 1 m"], "ZREM k m" beside "ZINCRBY k 2 m", "ZSCORE k m" is "$2";
    zrem_keeps_an_earlier_zincrby_unseen: ["ZADD k 1 m"], "ZINCRBY k 2 m" beside "ZREM k m", "ZSCORE k m" is "$2";
    of_expire_and_expire_the_later_deadline_wins:
        ["SET k v"], "EXPIRE k 8640000" beside "EXPIRE k 864000", "EXISTS k" is ":1" after 20 * DAY;
    one_deadline_covers_what_both_wrote:
        ["SADD k a", "EXPIRE k 864000"], "SADD k b" beside "SADD k c", "EXISTS k" is ":0" after 20 * DAY;
    persist_wins_over_a_later_touch:
        ["SET k v EX 432000"], "PERSIST k" beside "EXPIRE k 864000", "EXISTS k" is ":1" after 20 * DAY;
    persist_wins_over_an_earlier_touch:
        ["SET k v EX 432000"], "EXPIRE k 864000" beside "PERSIST k", "EXISTS k" is ":1" after 20 * DAY;
    a_clear_shortening_wins_over_a_later_touch:
        ["SET k v EX 4320000"], "EXPIRE k 864000" beside "EXPIRE k 8640000", "EXISTS k" is ":0" after 20 * DAY;
    of_persist_and_a_shortening_the_later_wins:
        ["SET k v EX 4320000"], "PERSIST k" beside "EXPIRE k 864000", "EXISTS k" is ":0" after 20 * DAY;
    of_a_shortening_and_persist_the_later_wins:
        ["SET k v EX 4320000"], "EXPIRE k 864000" beside "PERSIST k", "EXISTS k" is ":1" after 20 * DAY;
    of_hexpire_and_hexpire_the_later_deadline_wins:
        ["HSET k f v"], "HEXPIRE k 8640000 FIELDS 1 f" beside "HEXPIRE k 864000 FIELDS 1 f", "HLEN k" is ":1" after 20 * DAY;
    hpersist_wins_over_a_later_touch_of_the_field:
        ["HSET k f v", "HEXPIRE k 432000 FIELDS 1 f"], "HPERSIST k FIELDS 1 f" beside "HEXPIRE k 864000 FIELDS 1 f",
        "HLEN k" is ":1" after 20 * DAY;
    a_clear_shortening_of_a_field_wins_over_a_later_touch:
        ["HSET k f v g v", "HEXPIRE k 4320000 FIELDS 1 f"], "HEXPIRE k 864000 FIELDS 1 f" beside "HEXPIRE k 8640000 FIELDS 1 f",
        "HLEN k" is ":1" after 20 * DAY;
    a_touch_of_a_field_survives_a_later_hset:
        ["HSET k f v g v"], "HEXPIRE k 864000 FIELDS 1 f" beside "HSET k f w", "HLEN k" is ":1" after 20 * DAY;
    hdel_wins_over_a_touch_of_the_field:
        ["HSET k f v g v"], "HDEL k f" beside "HEXPIRE k 8640000 FIELDS 1 f", "HLEN k" is ":1" after 20 * DAY;
    of_two_types_the_later_claim_shows: [], "SADD k m" beside "HSET k f v", "TYPE k" is "+hash";
}

// A write of a leaf that was offline is refused, see `revocations.rs`; its revocation counts.
rows_of_hubs! {
    revoke_wins_over_a_later_set: ["SET k 1"], "HW.REVOKE k EX 864000" beside "SET k 2", "EXISTS k" is ":0";
    revoke_wins_over_a_later_incr: ["SET k 1"], "HW.REVOKE k EX 864000" beside "INCR k", "EXISTS k" is ":0";
    revoke_wins_over_a_later_sadd: ["SADD k a"], "HW.REVOKE k EX 864000" beside "SADD k a b", "EXISTS k" is ":0";
    revoke_wins_over_a_later_hset: ["HSET k f 1"], "HW.REVOKE k EX 864000" beside "HSET k f 2", "EXISTS k" is ":0";
    revoke_wins_over_a_later_zadd: ["ZADD k 1 m"], "HW.REVOKE k EX 864000" beside "ZADD k 2 m", "EXISTS k" is ":0";
    revoke_wins_over_a_later_zincrby: ["ZADD k 1 m"], "HW.REVOKE k EX 864000" beside "ZINCRBY k 2 m", "EXISTS k" is ":0";
    revoke_wins_over_a_later_touch:
        ["HSET k f 1", "EXPIRE k 1800"], "HW.REVOKE k EX 864000" beside "EXPIRE k 8640000", "EXISTS k" is ":0" after 5 * DAY;
    revoke_wins_over_a_later_persist:
        ["SET k v EX 1800"], "HW.REVOKE k EX 864000" beside "PERSIST k", "EXISTS k" is ":0" after 5 * DAY;
    revoke_wins_over_a_key_that_begins: [], "HW.REVOKE k EX 864000" beside "SADD k a", "EXISTS k" is ":0";
    revoke_wins_over_an_earlier_set: ["SET k 1"], "SET k 2" beside "HW.REVOKE k EX 864000", "EXISTS k" is ":0";
    revoke_wins_over_an_earlier_hset: ["HSET k f 1"], "HSET k f 2" beside "HW.REVOKE k EX 864000", "EXISTS k" is ":0";
    revoke_wins_over_an_earlier_touch:
        ["HSET k f 1", "EXPIRE k 1800000"], "EXPIRE k 8640000" beside "HW.REVOKE k EX 864000", "EXISTS k" is ":0" after 20 * DAY;
    what_was_revoked_has_ended_afterwards:
        ["SET k v"], "HW.REVOKE k EX 864000" beside "SET k w EX 8640000", "EXISTS k" is ":0" after 20 * DAY;
    of_two_revocations_the_later_end_counts:
        ["SET k v"], "HW.REVOKE k EX 8640000" beside "HW.REVOKE k EX 864000", "SET k w NX" is
        "-ERR Headwater: the key is revoked until 1708640001000 (milliseconds since 1970); nothing was done" after 20 * DAY;
}

rows! {
    revoke_wins_over_an_earlier_del: ["SADD k a"], "DEL k" beside "HW.REVOKE k EX 864000", "EXISTS k" is ":0";
}

// A hub that shows text refuses a leaf's increment, as below.
rows_of_hubs! {
    set_of_text_hides_an_incr: ["INCRBY k 5"], "SET k text" beside "INCRBY k 2", "GET k" is "$text";
}

#[test]
fn an_incr_by_a_leaf_a_day_offline_is_refused_where_text_was_set() {
    let (mut world, leaf) = world_with_offline_leaf("k", &["INCRBY k 5"]);
    world.run(A, "SET k text");
    world.skip(SECOND);
    world.run_leaf(leaf, "INCRBY k 2");
    world.sleep(DAY);
    world.connect(leaf, B);
    world.settle();
    assert_eq!(world.refused(leaf), ["k: ERR value is not an integer or out of range"]);
    assert_eq!(world.agreed("GET k"), "$text");
}
