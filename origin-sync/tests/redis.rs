//! One suite for every store: Redis with functions, Redis without, Valkey, either of them by TLS, under sentinels and as a
//! cluster, and the embedded file.
//!
//! What needs Valkey is ignored unless it is asked for, since not every machine offers it: `cargo xtask test redis` asks for it
//! where it is, and counts it as skipped where it is not.
//!
//! Each test has a server or a file of its own. Where the store has plain values they are looked at with a plain client.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(missing_docs, unreachable_pub, reason = "nothing here is for others")]

mod cases;
mod channel_cases;
mod job_cases;
mod machine_cases;
mod ordered_cases;
mod passing_cases;
mod plain_cases;
mod stable_cases;
mod support;
mod topology_cases;
mod two_way_cases;

use headwater::id::{No, ReplicaId};
use origin_sync::store::{Jobs, KeyScan, RedisStore, Store};
use std::time::{Duration, Instant};
use support::{
    bed::{
        Bed, Clustered, Embedded, Functions, LoggedValkey, OnValkey, Scripts, Secured, SecuredValkey, UnderSentinels,
        ValkeyClustered, ValkeyUnderSentinels,
    },
    say::{bytes, commit, committed, key, load_all},
    tls::Certificates,
};
use tokio::time::timeout;

macro_rules! suite {
    ($name:ident, OnValkey, $($rest:tt)+) => {
        suite!([ignore = "needs Valkey"] $name, OnValkey, $($rest)+);
    };
    ($name:ident, LoggedValkey, $($rest:tt)+) => {
        suite!([ignore = "needs Valkey"] $name, LoggedValkey, $($rest)+);
    };
    ($name:ident, SecuredValkey, $($rest:tt)+) => {
        suite!([ignore = "needs Valkey"] $name, SecuredValkey, $($rest)+);
    };
    ($name:ident, ValkeyClustered, $($rest:tt)+) => {
        suite!([ignore = "needs Valkey"] $name, ValkeyClustered, $($rest)+);
    };
    ($name:ident, ValkeyUnderSentinels, $($rest:tt)+) => {
        suite!([ignore = "needs Valkey"] $name, ValkeyUnderSentinels, $($rest)+);
    };
    ($name:ident, $($rest:tt)+) => {
        suite!([cfg(all())] $name, $($rest)+);
    };
    ($attribute:tt $name:ident, $bed:ident, $cases:ident: $($case:ident),+ $(,)?) => {
        mod $name {
            use super::*;

            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            #$attribute
            async fn $case() {
                $cases::$case($bed::make().await).await;
            })+
        }
    };
}

macro_rules! every_store {
    ($($name:ident: $bed:ident),+ $(,)?) => {
        $(suite!($name, $bed, cases:
            nothing_is_loaded_from_an_empty_store,
            a_first_commit_is_read_back,
            a_moved_companion_is_a_conflict_and_nothing_happens,
            another_incarnation_is_stale,
            another_sequence_is_stale,
            a_marker_where_none_is_expected_is_stale,
            a_new_incarnation_keeps_the_hubs_numbers,
            fields_are_put_and_deleted,
            keys_may_hold_any_bytes,
            keys_that_begin_alike_stay_apart,
            the_feed_is_in_order_and_forgets,
            companions_expire,
            an_expiry_can_be_taken_back,
            a_big_commit_is_read_back,
            slots_commit_side_by_side,
            of_many_commits_at_once_one_wins,
            commits_outlive_the_connection,
            a_key_of_another_slot_is_an_error,
            an_account_is_swapped_where_its_version_stands,
            an_identity_is_whose_it_was_first_until_it_is_assigned,
        );)+
    };
}

macro_rules! every_redis {
    ($($name:ident: $bed:ident),+ $(,)?) => {
        $(suite!($name, $bed, plain_cases:
            plain_commands_run_with_the_commit,
            of_commits_handed_over_together_each_is_judged_by_itself,
            several_new_keys_of_a_slot_are_begun_or_none,
            a_missing_value_is_told,
            an_expired_value_is_missing,
            a_foreign_type_is_told,
            a_value_where_none_is_expected_is_foreign,
            without_commands_any_value_is_right,
            an_overflow_undoes_all,
            a_text_under_an_increment_undoes_all,
            increments_of_every_size_are_undone,
            undoing_keeps_the_time_to_live,
            failing_fields_and_scores_are_undone,
            a_malformed_command_is_refused_before_anything_happens,
            companions_bear_the_documented_names,
        );)+
    };
}

macro_rules! machine_on_every_store {
    ($($name:ident: $bed:ident),+ $(,)?) => {
        $(suite!($name, $bed, machine_cases:
            two_hubs_become_plain_values,
            what_plain_clients_read_is_what_the_companions_say,
            a_new_machine_goes_on_where_the_last_one_was,
            two_daemons_share_a_store,
            a_value_that_was_lost_is_written_whole,
        );)+
    };
}

macro_rules! jobs_on_every_redis {
    ($($name:ident: $bed:ident),+ $(,)?) => {
        $(suite!($name, $bed, job_cases:
            jobs_that_come_again_change_nothing,
            each_hub_has_a_number_of_its_own,
            a_job_that_does_not_fit_is_told_and_the_next_ones_run,
        );)+
    };
}

macro_rules! passing_on_every_redis {
    ($($name:ident: $bed:ident),+ $(,)?) => {
        $(suite!($name, $bed, passing_cases:
            every_command_that_is_passed_through_runs,
            errors_are_those_of_redis,
            replies_of_every_shape_come_back,
            a_slow_command_is_given_up_and_the_next_one_runs,
        );)+
    };
}

macro_rules! channels_on_every_redis {
    ($($name:ident: $bed:ident),+ $(,)?) => {
        $(suite!($name, $bed, channel_cases:
            what_is_published_is_heard_from_then_on,
            headwaters_own_channels_and_endless_messages_are_passed_over,
            a_connection_that_breaks_is_made_anew_and_that_is_told,
            what_nobody_takes_out_is_bounded,
        );)+
    };
}

macro_rules! ordered_on_every_store {
    ($($name:ident: $bed:ident),+ $(,)?) => {
        $(suite!($name, $bed, ordered_cases:
            of_edges_that_set_a_key_if_it_is_absent_one_does,
            what_the_edge_wrote_comes_first_and_the_plain_value_follows,
            each_member_is_popped_once_and_locks_exclude,
            tokens_grow_across_machines,
            two_daemons_share_one_order,
        );)+
    };
}

macro_rules! ordered_on_every_redis {
    ($($name:ident: $bed:ident),+ $(,)?) => {
        $(suite!($name, $bed, ordered_cases:
            plain_clients_are_in_the_same_order,
            members_that_a_plain_client_takes_are_not_popped,
            every_key_is_on_some_page,
        );)+
    };
}

macro_rules! two_way_on_every_redis {
    ($($name:ident: $bed:ident),+ $(,)?) => {
        $(suite!($name, $bed, two_way_cases:
            the_server_tells_of_plain_writes,
            plain_writes_of_every_type_are_adopted,
            what_only_plain_clients_wrote_is_there_when_a_hub_asks,
            both_sides_write_at_once,
        );)+
    };
}

jobs_on_every_redis!(
    jobs_on_redis: Functions,
    jobs_on_redis_without_functions: Scripts,
    jobs_on_redis_by_tls: Secured,
    jobs_on_redis_cluster: Clustered,
    jobs_on_redis_under_sentinels: UnderSentinels,
    jobs_on_valkey: OnValkey,
    jobs_on_valkey_by_tls: SecuredValkey,
    jobs_on_valkey_cluster: ValkeyClustered,
    jobs_on_valkey_under_sentinels: ValkeyUnderSentinels,
);
passing_on_every_redis!(
    passing_on_redis: Functions,
    passing_on_redis_without_functions: Scripts,
    passing_on_redis_by_tls: Secured,
    passing_on_redis_cluster: Clustered,
    passing_on_redis_under_sentinels: UnderSentinels,
    passing_on_valkey: OnValkey,
    passing_on_valkey_by_tls: SecuredValkey,
    passing_on_valkey_cluster: ValkeyClustered,
    passing_on_valkey_under_sentinels: ValkeyUnderSentinels,
);
channels_on_every_redis!(
    channels_of_redis: Functions,
    channels_of_redis_by_tls: Secured,
    channels_of_redis_cluster: Clustered,
    channels_of_redis_under_sentinels: UnderSentinels,
    channels_of_valkey: OnValkey,
    channels_of_valkey_by_tls: SecuredValkey,
    channels_of_valkey_cluster: ValkeyClustered,
    channels_of_valkey_under_sentinels: ValkeyUnderSentinels,
);
ordered_on_every_store!(
    ordered_in_redis: Functions,
    ordered_in_redis_without_functions: Scripts,
    ordered_in_redis_by_tls: Secured,
    ordered_in_redis_cluster: Clustered,
    ordered_in_redis_under_sentinels: UnderSentinels,
    ordered_in_valkey: OnValkey,
    ordered_in_valkey_by_tls: SecuredValkey,
    ordered_in_valkey_cluster: ValkeyClustered,
    ordered_in_valkey_under_sentinels: ValkeyUnderSentinels,
    ordered_in_embedded: Embedded,
);
ordered_on_every_redis!(
    ordered_with_redis: Functions,
    ordered_with_redis_without_functions: Scripts,
    ordered_with_redis_by_tls: Secured,
    ordered_with_redis_cluster: Clustered,
    ordered_with_redis_under_sentinels: UnderSentinels,
    ordered_with_valkey: OnValkey,
    ordered_with_valkey_by_tls: SecuredValkey,
    ordered_with_valkey_cluster: ValkeyClustered,
    ordered_with_valkey_under_sentinels: ValkeyUnderSentinels,
);
two_way_on_every_redis!(
    two_way_on_redis: Functions,
    two_way_on_redis_without_functions: Scripts,
    two_way_on_redis_by_tls: Secured,
    two_way_on_redis_cluster: Clustered,
    two_way_on_redis_under_sentinels: UnderSentinels,
    two_way_on_valkey: OnValkey,
    two_way_on_valkey_by_tls: SecuredValkey,
    two_way_on_valkey_cluster: ValkeyClustered,
    two_way_on_valkey_under_sentinels: ValkeyUnderSentinels,
);
every_store!(
    redis: Functions,
    redis_without_functions: Scripts,
    redis_by_tls: Secured,
    redis_cluster: Clustered,
    redis_under_sentinels: UnderSentinels,
    valkey: OnValkey,
    valkey_by_tls: SecuredValkey,
    valkey_cluster: ValkeyClustered,
    valkey_under_sentinels: ValkeyUnderSentinels,
    logged_valkey: LoggedValkey,
    embedded: Embedded,
);
machine_on_every_store!(
    machine_on_redis: Functions,
    machine_on_redis_without_functions: Scripts,
    machine_on_redis_by_tls: Secured,
    machine_on_redis_cluster: Clustered,
    machine_on_redis_under_sentinels: UnderSentinels,
    machine_on_valkey: OnValkey,
    machine_on_valkey_by_tls: SecuredValkey,
    machine_on_valkey_cluster: ValkeyClustered,
    machine_on_valkey_under_sentinels: ValkeyUnderSentinels,
    machine_on_logged_valkey: LoggedValkey,
    machine_on_embedded: Embedded,
);
every_redis!(
    plain_redis: Functions,
    plain_redis_without_functions: Scripts,
    plain_redis_by_tls: Secured,
    plain_redis_cluster: Clustered,
    plain_redis_under_sentinels: UnderSentinels,
    plain_valkey: OnValkey,
    plain_valkey_by_tls: SecuredValkey,
    plain_valkey_cluster: ValkeyClustered,
    plain_valkey_under_sentinels: ValkeyUnderSentinels,
    plain_logged_valkey: LoggedValkey,
);

/// It has companions and no plain keys, and passes nothing through.
#[tokio::test]
async fn an_embedded_store_says_that_it_has_no_names_to_tell() {
    let bed = Embedded::make().await;
    let error = bed.store().scan(&KeyScan::default()).await.unwrap_err().to_string();
    assert!(error.contains("the origin has no Redis"), "{error}");
    assert!(bed.store().random_key().await.is_err());
}

/// Loads the library once, leaves it alone when it is there, and replaces another text of it.
#[tokio::test]
async fn the_function_is_loaded_once_and_replaced_when_it_differs() {
    let bed = Functions::make().await;
    let plain = bed.plain().unwrap();
    let calls = async || {
        let stats: String = plain.ask(&["INFO", "commandstats"]).await;
        let line = stats.lines().find(|line| line.starts_with("cmdstat_function|load:")).unwrap().to_owned();
        line.split(['=', ',']).nth(1).unwrap().parse::<u32>().unwrap()
    };
    assert_eq!(calls().await, 1);
    let bed = bed.reopened().await;
    assert_eq!(calls().await, 1);
    let other = "#!lua name=headwater\nredis.register_function('headwater_commits', function() return { 'other' } end)";
    plain.ask::<String>(&["FUNCTION", "LOAD", "REPLACE", other]).await;
    let bed = bed.reopened().await;
    assert_eq!(calls().await, 3);
    cases::a_first_commit_is_read_back(bed).await;
}

/// A server that forgot its scripts is told again.
#[tokio::test]
async fn a_forgotten_script_is_loaded_again() {
    let bed = Scripts::make().await;
    bed.plain().unwrap().ask::<()>(&["SCRIPT", "FLUSH"]).await;
    cases::a_first_commit_is_read_back(bed).await;
}

/// Such a user may load the library, so only the first call of it tells.
#[tokio::test]
async fn who_may_not_call_functions_commits_by_script() {
    let bed = Functions::make().await;
    bed.plain().unwrap().ask::<()>(&["ACL", "SETUSER", "default", "-fcall"]).await;
    cases::a_first_commit_is_read_back(bed.reopened().await).await;
}

/// Also in a cluster, where a message reaches the subscribers of every node. What a daemon says itself is no news to it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn daemons_hear_of_each_others_commits_only() {
    let (single, cluster) = (Functions::make().await, Clustered::make().await);
    let other = single.connect().await.unwrap();
    hear_of_each_other(single.store(), &other).await;
    let other = RedisStore::connect(&Clustered::config(cluster.cluster())).await.unwrap();
    hear_of_each_other(cluster.store(), &other).await;
}

async fn hear_of_each_other(one: &RedisStore, two: &RedisStore) {
    for (speaker, listener, name) in [(one, two, "a"), (two, one, "b")] {
        let slot = key(name).slot();
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut seq = 0;
        // Said again, since a subscription may not have begun.
        let heard = loop {
            committed(speaker, commit(slot, seq, Vec::new())).await;
            seq += 1;
            if let Ok(heard) = timeout(Duration::from_millis(50), listener.news()).await {
                break heard;
            }
            assert!(Instant::now() < deadline, "nothing is heard");
        };
        assert_eq!(heard.0, slot);
        assert!((1..=seq).contains(&heard.1), "{heard:?}");
    }
}

/// Such a server refuses even to queue the reads of a transaction. A load that failed would end the connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_load_waits_while_redis_has_no_memory() {
    let bed = Functions::make().await;
    let plain = bed.plain().unwrap();
    plain.ask::<()>(&["CONFIG", "SET", "maxmemory", "1"]).await;
    let key = key("k");
    let load = load_all(bed.store(), &key);
    tokio::pin!(load);
    assert!(timeout(Duration::from_millis(100), &mut load).await.is_err());
    plain.ask::<()>(&["CONFIG", "SET", "maxmemory", "0"]).await;
    assert_eq!(load.await.marker, None);
}

/// A commit must not end half-way because a user may not run one of its commands.
#[tokio::test]
async fn a_user_who_may_not_run_all_of_a_commit_is_refused_at_once() {
    let bed = Functions::make().await;
    let plain = bed.plain().unwrap();
    for denied in ["-restore", "-zrem", "-pexpireat", "-publish"] {
        let allow = denied.replacen('-', "+", 1);
        plain.ask::<()>(&["ACL", "SETUSER", "default", denied]).await;
        let error = bed.connect().await.unwrap_err().to_string();
        assert!(error.to_lowercase().contains(&denied[1..]), "{error}");
        plain.ask::<()>(&["ACL", "SETUSER", "default", &allow]).await;
    }
    bed.connect().await.unwrap();
    assert_eq!(plain.ask::<u32>(&["DBSIZE"]).await, 0);
}

/// Else the next hub that turns up would be the first to find out. One that is known is served also without memory.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn identities_are_read_without_memory_and_not_without_the_right_to_note_more() {
    let bed = Functions::make().await;
    let plain = bed.plain().unwrap();
    assert_eq!(bed.store().claim("known", "a").await.unwrap(), "a");
    plain.ask::<()>(&["CONFIG", "SET", "maxmemory", "1"]).await;
    assert_eq!(bed.store().owners().await.unwrap().len(), 1);
    assert_eq!(bed.store().claim("known", "b").await.unwrap(), "a");
    assert!(bed.store().claim("new", "b").await.unwrap_err().to_string().contains("OOM"));
    plain.ask::<()>(&["CONFIG", "SET", "maxmemory", "0"]).await;
    plain.ask::<()>(&["ACL", "SETUSER", "default", "-hsetnx"]).await;
    let error = bed.store().owners().await.unwrap_err().to_string();
    assert!(error.to_lowercase().contains("hsetnx"), "{error}");
}

/// A job must not be lost because a user may not run it; once the right is given, it runs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_waits_while_redis_has_no_memory_or_denies_it() {
    let bed = Functions::make().await;
    let plain = bed.plain().unwrap();
    for (no, deny, allow) in [
        (1, &["CONFIG", "SET", "maxmemory", "1"][..], &["CONFIG", "SET", "maxmemory", "0"][..]),
        (2, &["ACL", "SETUSER", "default", "-rpush"], &["ACL", "SETUSER", "default", "+rpush"]),
    ] {
        plain.ask::<()>(deny).await;
        let jobs = vec![(No(no), ["rpush", "k", "a"].map(bytes).to_vec())];
        let run = bed.store().jobs(Jobs { hub: ReplicaId::from_bits(1), slot: key("k").slot(), jobs });
        tokio::pin!(run);
        assert!(timeout(Duration::from_millis(100), &mut run).await.is_err());
        plain.ask::<()>(allow).await;
        assert_eq!(run.await.unwrap().through, No(no));
        assert_eq!(plain.ask::<u64>(&["LLEN", "k"]).await, no);
    }
}

#[tokio::test]
async fn a_changed_password_is_used_by_the_next_connection() {
    let bed = Secured::make().await;
    bed.rotate("first", "second").await;
    // What is connected stays so.
    bed.store().ping().await.unwrap();
    let bed = bed.reopened().await;
    cases::a_first_commit_is_read_back(bed).await;
}

#[tokio::test]
async fn a_wrong_password_is_refused() {
    let mut bed = Secured::make().await;
    let path = bed.config.credentials.password_file.clone().unwrap();
    std::fs::write(&path, "guessed").unwrap();
    let error = bed.connect().await.unwrap_err().to_string();
    assert!(error.to_lowercase().contains("authentication"), "{error}");
    bed.config.credentials.password_file = Some(path.with_file_name("absent"));
    assert!(bed.connect().await.unwrap_err().to_string().starts_with("cannot read "));
}

#[tokio::test]
async fn a_server_that_our_authority_does_not_know_is_refused() {
    let mut bed = Secured::make().await;
    bed.config.tls.ca_file = Some(Certificates::of_this_process().path("other.crt"));
    let error = bed.connect().await.unwrap_err().to_string();
    assert!(error.contains("certificate"), "{error}");
}

#[tokio::test]
async fn without_our_certificate_the_server_refuses() {
    let mut bed = Secured::make().await;
    bed.config.tls.client = None;
    assert!(bed.connect().await.is_err());
}

/// Each of the rights in the documented line is needed: without it a commit is refused when the store is opened, or a case
/// above fails.
#[tokio::test]
async fn the_documented_user_may_do_nothing_else() {
    let bed = Secured::make().await;
    let plain = bed.plain().unwrap();
    for denied in [
        &["FLUSHALL"][..],
        &["KEYS", "*"],
        &["CONFIG", "GET", "dir"],
        &["EVAL", "return 1", "0"],
        &["BLPOP", "k", "0"],
        &["SORT", "k"],
    ] {
        let answer: String = plain.ask(&[&["ACL", "DRYRUN", "headwater"], denied].concat()).await;
        assert!(answer.contains("has no permissions"), "{denied:?}: {answer}");
    }
}

#[tokio::test]
async fn a_replica_is_no_store() {
    let master = Functions::make().await;
    let replica = Functions::make().await;
    let port = master.server().port().to_string();
    replica.plain().unwrap().ask::<()>(&["REPLICAOF", "127.0.0.1", &port]).await;
    assert!(replica.store().ping().await.unwrap_err().to_string().contains("no master"));
    assert!(replica.connect().await.is_err());
}
