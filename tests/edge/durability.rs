//! What an edge acknowledged survives SIGKILL, and what is retried under one key happens once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use hyper::Method;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::http::Http;
use super::region::Region;

const WRITERS: u64 = 8;
const KILLS: usize = 3;

/// How long so many writes may take, an edge that starts included.
const DEADLINE: Duration = Duration::from_secs(120);

#[tokio::test]
async fn state_survives_a_kill_between_requests() {
    let mut region = Region::start().await;
    let replica = region.status().await["replica"].clone();
    let writes = json!([
        ["SET", "k", "v"],
        ["INCRBY", "n", 5],
        ["SADD", "s", "a", "b"],
        ["SREM", "s", "a"],
        ["HSET", "h", "f", "v"],
        ["ZADD", "z", 1.5, "m"],
        ["EXPIRE", "k", 1000],
        ["SET", "gone", "v"],
        ["DEL", "gone"],
    ]);
    for reply in region.http().pipeline(writes).await {
        reply.unwrap();
    }
    let reads = || {
        json!([
            ["GET", "k"],
            ["GET", "n"],
            ["SMEMBERS", "s"],
            ["HGETALL", "h"],
            ["ZRANGE", "z", 0, -1, "WITHSCORES"],
            ["GET", "gone"],
        ])
    };
    let before = region.http().pipeline(reads()).await;
    assert!(before.iter().all(Result::is_ok), "{before:?}");
    let pending = region.status().await["pending"].clone();
    region.kill_and_restart().await;
    assert_eq!(region.http().pipeline(reads()).await, before);
    let ttl = region.http().run("TTL k").await.unwrap().as_i64().unwrap();
    assert!((900..=1000).contains(&ttl), "{ttl}");
    let status = region.status().await;
    assert_eq!((&status["replica"], &status["pending"]), (&replica, &pending));
    assert_eq!(region.http().run("INCR n").await, Ok(json!(6)));
}

#[tokio::test]
async fn a_repeated_idempotency_key_changes_nothing_and_answers_the_same() {
    let mut region = Region::start().await;
    let once = |region: &Region| region.http().with("idempotency-key", "one");
    let pipeline = || json!([["INCR", "n"], ["ZINCRBY", "z", 1, "m"], ["INCR", "z"]]);
    let first = once(&region).pipeline(pipeline()).await;
    assert_eq!(first[0], Ok(json!(1)));
    assert_eq!(once(&region).pipeline(pipeline()).await, first);
    region.kill_and_restart().await;
    assert_eq!(once(&region).pipeline(pipeline()).await, first);
    assert_eq!(region.http().run("GET n").await, Ok(json!("1")));
    assert_eq!(region.http().run("ZSCORE z m").await, Ok(json!("1")));
    let other = region.http().with("idempotency-key", "two").pipeline(pipeline()).await;
    assert_eq!(other[0], Ok(json!(2)));
}

/// Writers who retry each write under its own key until it is answered, while the edge is killed again and again.
#[tokio::test]
async fn each_retried_write_happens_once_however_often_the_edge_is_killed() {
    let mut region = Region::start().await;
    let http = region.http();
    let (stop, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let (http, stop, written) = (http.clone(), Arc::clone(&stop), Arc::clone(&written));
            tokio::spawn(async move {
                for number in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        return number;
                    }
                    until_answered(&http.with("idempotency-key", &format!("{writer}-{number}"))).await;
                    written.fetch_add(1, Ordering::Relaxed);
                }
                unreachable!("u64 does not run out")
            })
        })
        .collect();
    for _ in 0..KILLS {
        more(&written, 100).await;
        region.kill_and_restart().await;
    }
    more(&written, 100).await;
    stop.store(true, Ordering::Relaxed);
    let mut total = 0;
    for writer in writers {
        total += writer.await.unwrap();
    }
    assert_eq!(http.run("GET n").await, Ok(json!(total.to_string())));
}

/// Writers who never retry: what was answered counts, what was not may.
#[tokio::test]
async fn each_acknowledged_write_survives_a_kill_in_the_middle() {
    let mut region = Region::start().await;
    let http = region.http();
    let (acknowledged, unknown) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let writers: Vec<_> = (0..WRITERS)
        .map(|_| {
            let (http, acknowledged, unknown) = (http.clone(), Arc::clone(&acknowledged), Arc::clone(&unknown));
            tokio::spawn(async move {
                while incremented(&http).await {
                    acknowledged.fetch_add(1, Ordering::Relaxed);
                }
                unknown.fetch_add(1, Ordering::Relaxed);
            })
        })
        .collect();
    more(&acknowledged, 300).await;
    region.edge.kill();
    for writer in writers {
        writer.await.unwrap();
    }
    region.edge.restart().await.unwrap();
    let n = http.run("GET n").await.unwrap().as_str().unwrap().parse::<u64>().unwrap();
    let (acknowledged, unknown) = (acknowledged.load(Ordering::Relaxed), unknown.load(Ordering::Relaxed));
    assert!(
        (acknowledged..=acknowledged + unknown).contains(&n),
        "{n} of {acknowledged} to {}",
        acknowledged + unknown
    );
}

/// Requests are handled in company; one that is cancelled must not take the others with it.
#[tokio::test]
async fn clients_that_hang_up_do_not_hold_up_the_others() {
    let region = Region::start().await;
    let http = region.http();
    for round in 0..20 {
        let impatient: Vec<_> = (0..WRITERS)
            .map(|_| {
                let http = http.clone();
                tokio::spawn(async move { incremented(&http).await })
            })
            .collect();
        for _ in 0..round {
            tokio::task::yield_now().await;
        }
        for client in impatient {
            client.abort();
        }
        assert_eq!(http.run("PING").await, Ok(json!("PONG")));
    }
    assert!(http.run("INCR n").await.unwrap().as_u64() <= Some(20 * WRITERS + 1));
}

/// Waits until so many more have been counted.
async fn more(count: &AtomicU64, by: u64) {
    let (until, deadline) = (count.load(Ordering::Relaxed) + by, Instant::now() + DEADLINE);
    while count.load(Ordering::Relaxed) < until {
        assert!(Instant::now() < deadline, "nothing is counted any more");
        sleep(Duration::from_millis(1)).await;
    }
}

async fn incremented(http: &Http) -> bool {
    let body = json!(["INCR", "n"]).to_string();
    match http.send(Method::POST, "/", body.into()).await {
        Ok(answer) if answer.status.is_success() => answer.json().get("result").is_some_and(Value::is_number),
        _ => false,
    }
}

async fn until_answered(http: &Http) {
    while !incremented(http).await {
        sleep(Duration::from_millis(5)).await;
    }
}
