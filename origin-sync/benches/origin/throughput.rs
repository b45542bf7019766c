//! How much is reconciled in a second, and what it costs Redis.

use crate::{print, print_ours, stand::Stand, support::say::bytes};
use bytes::Bytes;
use std::{
    process::Command,
    time::{Duration, Instant},
};

/// Commands that reach the hub together.
const PIPELINE: usize = 100;

const HOT_KEYS: usize = 10;

/// A field's value.
const PAYLOAD: &str = "a value of twenty by";

/// Hubs that execute at once, one to a core.
const HUBS: usize = 2;

/// INCR on few keys: executed in the hubs, and in Redis when the clock stops.
pub async fn hot(run: Duration) {
    const NAME: &str = "hot keys: INCR";
    let stand = Stand::new(HUBS).await;
    let pipeline = |at: usize| (0..PIPELINE).map(move |n| incr((at + n) % HOT_KEYS)).collect();
    let pipelines: Vec<Vec<Vec<Bytes>>> = (0..HOT_KEYS).map(pipeline).collect();
    let before = stand.calls().await;
    let began = Instant::now();
    // Each on a thread of its own, as an object is: the sockets of this process go on beside them.
    let hubs = stand.edges.iter().map(|edge| {
        let (hub, pipelines) = (edge.handle(), pipelines.clone());
        tokio::task::spawn_blocking(move || {
            let mut sent = 0_usize;
            while began.elapsed() < run {
                hub.run(pipelines[sent / PIPELINE % HOT_KEYS].clone());
                sent += PIPELINE;
            }
            sent
        })
    });
    let mut sent = 0;
    for hub in hubs.collect::<Vec<_>>() {
        sent += hub.await.unwrap();
    }
    stand.settled().await;
    let took = began.elapsed();
    let after = stand.calls().await;
    let mut counted = 0;
    for key in 0..HOT_KEYS {
        counted += stand.plain.ask::<usize>(&["GET", &format!("hot{key}")]).await;
    }
    assert_eq!(counted, sent, "Redis holds what the hub executed");
    let extent = (HOT_KEYS as u64, "keys");
    print_ours(NAME, extent, sent as f64 / took.as_secs_f64(), "ops/s");
    print(NAME, extent, "redis-benchmark -P 16 incr", redis_benchmark(stand.redis.port(), run), "ops/s");
    let each = |count: u64| count as f64 * 1_000.0 / sent as f64;
    print_ours("hot keys: calls of Redis for 1,000 operations", extent, each(after.calls - before.calls), "calls");
    let commands = each(after.commands - before.commands);
    print_ours("hot keys: total_commands_processed for 1,000 operations", extent, commands, "calls");
    if let Some(bytes) = stand.daemon_bytes().await {
        print_ours("hot keys: memory of the daemon", extent, bytes, "bytes");
    }
}

/// One field each of many hashes, beside plain HSETs of the same in pipelines: the medians of some rounds, each on a stand of
/// its own, since what else runs on a machine tells on either.
pub async fn distinct(keys: usize, rounds: usize) {
    const NAME: &str = "distinct keys: HSET";
    let (mut ours, mut raw, mut calls) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let round = distinct_once(keys).await;
        ours.push(round.0);
        raw.push(round.1);
        calls.push(round.2);
    }
    let extent = (keys as u64, "keys");
    print_ours(NAME, extent, median(ours), "ops/s");
    print(NAME, extent, "HSET in pipelines of 100", median(raw), "ops/s");
    print_ours("distinct keys: calls of Redis for 1,000 operations", extent, median(calls), "calls");
}

/// Operations a second of ours and of plain HSETs, and calls of Redis for 1,000 of ours.
async fn distinct_once(keys: usize) -> (f64, f64, f64) {
    let stand = Stand::new(1).await;
    let hset = |at: usize| ["HSET", &format!("ours:{at}"), "field", PAYLOAD].map(bytes).to_vec();
    let before = stand.calls().await;
    let hub = stand.edges[0].handle();
    // One thread reads commands and executes them, as in an object, so that the memory which they leave is the hub's to use.
    let executing = tokio::task::spawn_blocking(move || {
        let pipelines: Vec<Vec<Vec<Bytes>>> =
            (0..keys).step_by(PIPELINE).map(|from| (from..keys.min(from + PIPELINE)).map(hset).collect()).collect();
        let began = Instant::now();
        pipelines.into_iter().for_each(|pipeline| hub.run(pipeline));
        began
    });
    let began = executing.await.unwrap();
    stand.settled().await;
    let took = began.elapsed();
    let after = stand.calls().await;
    let last: Option<String> = stand.plain.ask(&["HGET", &format!("ours:{}", keys - 1), "field"]).await;
    assert_eq!(last.as_deref(), Some(PAYLOAD));
    let client = redis::Client::open(stand.redis.url()).unwrap();
    let mut plain = client.get_multiplexed_async_connection().await.unwrap();
    let began = Instant::now();
    for from in (0..keys).step_by(PIPELINE) {
        let mut pipeline = redis::pipe();
        for at in from..keys.min(from + PIPELINE) {
            pipeline.cmd("HSET").arg(format!("raw:{at}")).arg("field").arg(PAYLOAD).ignore();
        }
        pipeline.query_async::<()>(&mut plain).await.unwrap();
    }
    let raw = began.elapsed();
    let each = |took: Duration| keys as f64 / took.as_secs_f64();
    (each(took), each(raw), (after.calls - before.calls) as f64 * 1_000.0 / keys as f64)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn incr(key: usize) -> Vec<Bytes> {
    vec![bytes("INCR"), bytes(format!("hot{key}"))]
}

/// INCRs in a second of the same server, as its own benchmark counts them.
fn redis_benchmark(port: u16, run: Duration) -> f64 {
    let requests = (run.as_millis() * 400).to_string();
    let mut benchmark = Command::new("redis-benchmark");
    benchmark.args(["-h", "127.0.0.1", "-p", &port.to_string(), "-P", "16", "-t", "incr", "--csv", "-n", &requests]);
    let printed = String::from_utf8(benchmark.output().unwrap().stdout).unwrap();
    let line = printed.lines().last().unwrap_or_default();
    let rate = line.split("\",\"").nth(1).and_then(|figure| figure.parse().ok());
    rate.unwrap_or_else(|| panic!("redis-benchmark printed {printed}"))
}
