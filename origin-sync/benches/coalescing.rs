//! What the window between a hub's batches costs Redis and the reader: `cargo bench -p origin-sync --bench coalescing [-- WINDOW_MS LAG_TARGET_MS]`.
//!
//! The built daemon stands between a Redis and one hub in this process, which increments counters at several rates. Beside
//! that load one counter is incremented and read back from Redis again and again: how long that takes is the lag.
#![allow(clippy::unwrap_used, reason = "a measurement fails by panicking")]
#![allow(missing_docs, unreachable_pub, reason = "nothing here is for others")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::time::{Duration, Instant};
use support::{
    bed::Plain,
    daemon::{Daemon, eventually},
    edge::Edge,
    server::RedisServer,
};

const RUN: Duration = Duration::from_secs(5);
const STEP: Duration = Duration::from_millis(5);

#[tokio::main]
async fn main() {
    // Cargo adds `--bench`.
    let windows: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let flags: Vec<&str> = match windows.as_slice() {
        [window, longest] => vec!["--window-ms", window, "--lag-target-ms", longest],
        _ => Vec::new(),
    };
    println!("{}", if flags.is_empty() { "default windows".to_owned() } else { flags.join(" ") });
    println!("{:>8} {:>8} {:>8} {:>18} {:>10} {:>10}", "ops/s", "keys", "ops", "calls / 1000 ops", "p50 ms", "p99 ms");
    for (rate, keys) in [(20, 10), (200, 10), (2_000, 10), (2_000, 500)] {
        run(rate, keys, &flags).await;
    }
}

async fn run(rate: u64, keys: u64, flags: &[&str]) {
    let (redis, edge) = (RedisServer::start().await, Edge::start().await);
    let directory = tempfile::tempdir().unwrap();
    let url = redis.url();
    let arguments = [&["--store", &url], flags].concat();
    let daemon = Daemon::start(&edge.url(), arguments, &directory.path().join("log"));
    eventually("the daemon is ready", async || daemon.get("/readyz").await.filter(|(status, _)| *status == 200)).await;
    let plain = Plain::connect(&redis).await;
    let mut lags = Vec::new();
    let mut sent = 0;
    let began = Instant::now();
    let before = calls(&plain).await;
    let mut probe: Option<(Instant, u64)> = None;
    let mut probed = 0;
    while began.elapsed() < RUN {
        while sent < rate * u64::try_from(began.elapsed().as_millis()).unwrap() / 1000 {
            edge.execute(&["INCR", &format!("k{}", sent % keys)]).unwrap();
            sent += 1;
        }
        // One probe at a time, and at most as many as the load has operations.
        if probe.is_none() && probed < sent {
            probed += 1;
            edge.execute(&["INCR", "probe"]).unwrap();
            probe = Some((Instant::now(), probed));
        }
        let until = Instant::now() + STEP;
        while let Some((since, number)) = probe
            && Instant::now() < until
        {
            if plain.ask::<Option<u64>>(&["GET", "probe"]).await >= Some(number) {
                lags.push(since.elapsed());
                probe = None;
            }
            tokio::time::sleep(Duration::from_micros(500)).await;
        }
        tokio::time::sleep_until(until.into()).await;
    }
    eventually("all is committed", async || (edge.status().pending == 0).then_some(())).await;
    let calls = calls(&plain).await - before;
    lags.sort();
    let at = |share: usize| lags[(lags.len() - 1) * share / 100].as_secs_f64() * 1000.0;
    let operations = sent + probed;
    let each = calls as f64 * 1000.0 / operations as f64;
    println!("{rate:>8} {keys:>8} {operations:>8} {each:>18.1} {:>10.1} {:>10.1}", at(50), at(99));
}

/// What the daemon called so far: commits, and transactions that load.
async fn calls(plain: &Plain) -> u64 {
    let stats: String = plain.ask(&["INFO", "commandstats"]).await;
    let of = |name: &str| {
        let line = stats.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{name}:calls=")))?;
        line.split(',').next()?.parse::<u64>().ok()
    };
    ["fcall", "multi"].into_iter().filter_map(of).sum()
}
