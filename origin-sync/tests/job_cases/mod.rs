//! What every Redis does with jobs of edges: each runs once, in order, together with the number that says so.

use crate::support::{
    bed::{Bed, Plain},
    say::bytes,
};
use headwater::{
    command::Reply,
    id::{Key, No, ReplicaId},
};
use origin_sync::store::{Jobs, JobsRun, Store};

fn hub() -> ReplicaId {
    ReplicaId::from_bits(u64::MAX - 1)
}

fn jobs(hub: ReplicaId, lines: &[(u64, &str)]) -> Jobs {
    let jobs: Vec<_> =
        lines.iter().map(|(no, line)| (No(*no), line.split(' ').map(bytes).collect::<Vec<_>>())).collect();
    let slot = Key::new(jobs[0].1[1].clone()).unwrap().slot();
    Jobs { hub, slot, jobs }
}

async fn run(bed: &impl Bed, lines: &[(u64, &str)]) -> JobsRun {
    bed.store().jobs(jobs(hub(), lines)).await.unwrap()
}

fn plain(bed: &impl Bed) -> Plain {
    bed.plain().expect("a store with plain values")
}

async fn list(bed: &impl Bed, key: &str) -> Vec<String> {
    plain(bed).ask(&["LRANGE", key, "0", "-1"]).await
}

pub async fn jobs_that_come_again_change_nothing(bed: impl Bed) {
    let first = run(&bed, &[(3, "rpush {j}l a b"), (7, "xadd {j}s 5-1 f v"), (9, "lpush {j}l c")]).await;
    let replies = vec![(No(3), Ok(Reply::Int(2))), (No(7), Ok(Reply::Bulk(bytes("5-1")))), (No(9), Ok(Reply::Int(3)))];
    assert_eq!(first, JobsRun { through: No(9), replies });
    let again = run(&bed, &[(7, "xadd {j}s * f v"), (9, "lpush {j}l c"), (12, "rpush {j}l d")]).await;
    assert_eq!(again, JobsRun { through: No(12), replies: vec![(No(12), Ok(Reply::Int(4)))] });
    let bed = bed.reopened().await;
    assert_eq!(run(&bed, &[(12, "rpush {j}l d")]).await, JobsRun { through: No(12), replies: vec![] });
    assert_eq!(list(&bed, "{j}l").await, ["c", "a", "b", "d"]);
    assert_eq!(plain(&bed).ask::<u64>(&["XLEN", "{j}s"]).await, 1);
}

pub async fn each_hub_has_a_number_of_its_own(bed: impl Bed) {
    run(&bed, &[(5, "rpush hubs a")]).await;
    let other = bed.store().jobs(jobs(ReplicaId::from_bits(1), &[(1, "rpush hubs b")])).await.unwrap();
    assert_eq!(other.through, No(1));
    assert_eq!(list(&bed, "hubs").await, ["a", "b"]);
}

pub async fn a_job_that_does_not_fit_is_told_and_the_next_ones_run(bed: impl Bed) {
    plain(&bed).ask::<()>(&["SET", "{j}text", "x"]).await;
    let ran = run(&bed, &[(1, "rpush {j}text a"), (2, "xadd {j}t 0-0 f v"), (3, "rpush {j}fits b")]).await;
    let wrong = "WRONGTYPE Operation against a key holding the wrong kind of value";
    assert_eq!(ran.through, No(3));
    assert_eq!(ran.replies[0], (No(1), Err(wrong.into())));
    assert!(ran.replies[1].1.as_ref().unwrap_err().contains("must be greater than 0-0"), "{ran:?}");
    assert_eq!(ran.replies[2], (No(3), Ok(Reply::Int(1))));
}
