//! What Redis does of the same: its throughput as redis-benchmark has it, and its own count of its memory.
//!
//! Redis stands in a process of its own behind a loopback socket, as its users have it, and redis-benchmark works on
//! another core. Server and benchmark are the system's packages.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use headwater_tests::harness::{Redis, RedisConfig, free_port};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, cmd};

use crate::process::output;
use crate::workspace::Workspace;

use super::Options;
use super::measured::Measured;

/// Members in one command when something is filled.
const CHUNK: usize = 1_000;

/// Of so many runs of redis-benchmark the median counts.
const RUNS: usize = 3;

/// What the board is asked, under the name of the bench of ours.
const QUESTIONS: [(&str, &[&str], u32); 3] = [
    ("ZINCRBY", &["ZINCRBY", "board", "1", "member:__rand_int__"], 1_000_000),
    ("ZREVRANK", &["ZREVRANK", "board", "member:__rand_int__"], 1_000_000),
    ("ZRANGE 0 99 REV", &["ZRANGE", "board", "0", "99", "REV"], 100_000),
];

/// What takes memory, under the name of the bench of ours; a name has twenty bytes there too.
const HELD: [&str; 4] = [
    "memory of a counter",
    "memory of a set member",
    "memory of a board member",
    "memory of a board member, incremented by all",
];

/// All that is measured of Redis.
pub(super) fn measured(workspace: &Workspace, options: &Options) -> Result<Vec<Measured>> {
    let runtime = tokio::runtime::Runtime::new()?;
    let dir = workspace.scratch("bench-redis");
    if dir.exists() {
        fs::remove_dir_all(&dir)?;
    }
    let mut measured = Vec::new();
    runtime.block_on(async {
        let port = free_port()?;
        let server = Redis::start(RedisConfig { dir, port, append_only: false }).await?;
        let client = redis::Client::open(server.url())?;
        // What is asked here takes longer than a client waits by itself: a FLUSHALL of a board of a million.
        let patient = AsyncConnectionConfig::new().set_response_timeout(None);
        let mut redis = client.get_multiplexed_async_connection_with_config(&patient).await?;
        measured.extend(throughput(&mut redis, port, options).await?);
        cmd("FLUSHALL").query_async::<()>(&mut redis).await?;
        measured.extend(memory(&mut redis, options).await?);
        anyhow::Ok(())
    })?;
    Ok(measured)
}

/// Nanoseconds per command on a board of a million.
async fn throughput(redis: &mut MultiplexedConnection, port: u16, options: &Options) -> Result<Vec<Measured>> {
    let asked: Vec<_> = QUESTIONS.iter().filter(|(name, ..)| name.contains(&options.only)).collect();
    if asked.is_empty() {
        return Ok(Vec::new());
    }
    let size: usize = if options.quick { 1_000 } else { 1_000_000 };
    fill(redis, "ZADD", "board", size, |at, command| {
        command.arg((at * 7_919) % 1_000_000).arg(format!("member:{at:012}"));
    })
    .await?;
    let mut measured = Vec::new();
    for (name, words, requests) in asked {
        let requests = if options.quick { 1_000 } else { *requests };
        let mut rates = Vec::new();
        for _ in 0..RUNS {
            rates.push(rate(port, size, requests, words)?);
        }
        rates.sort_by(f64::total_cmp);
        measured.push(Measured {
            name: (*name).to_owned(),
            size: size as u64,
            of: "members".to_owned(),
            contender: "redis-benchmark -P 64".to_owned(),
            value: 1e9 / rates.get(RUNS / 2).copied().unwrap_or(f64::NAN),
            unit: "ns".to_owned(),
        });
    }
    Ok(measured)
}

/// Commands in a second, as redis-benchmark counts them.
fn rate(port: u16, size: usize, requests: u32, words: &[&str]) -> Result<f64> {
    let mut benchmark = Command::new("redis-benchmark");
    benchmark.args(["-h", "127.0.0.1", "-p", &port.to_string(), "-P", "64", "--csv"]);
    benchmark.args(["-n", &requests.to_string(), "-r", &size.to_string()]).args(words);
    let printed = output(&mut benchmark)?;
    // A line of names, then one of figures, each in quotes; the second figure is the rate.
    let line = printed.lines().last().unwrap_or_default();
    let rate = line.split("\",\"").nth(1).and_then(|figure| figure.parse().ok());
    rate.with_context(|| format!("redis-benchmark printed {printed}"))
}

/// Bytes for each counter or member, as MEMORY USAGE counts them.
async fn memory(redis: &mut MultiplexedConnection, options: &Options) -> Result<Vec<Measured>> {
    let size: usize = if options.quick { 1_000 } else { 100_000 };
    let name = |at: usize| format!("name:{at:015}");
    let mut measured = Vec::new();
    for held in HELD.into_iter().filter(|held| held.contains(&options.only)) {
        let bytes = match held {
            "memory of a counter" => {
                // Each counter takes the same, whatever else there is.
                cmd("INCRBY").arg(name(7)).arg(3).query_async::<()>(redis).await?;
                usage(redis, &name(7)).await?
            }
            "memory of a set member" => {
                fill(redis, "SADD", "set", size, |at, command| {
                    command.arg(name(at));
                })
                .await?;
                usage(redis, "set").await? / size as f64
            }
            _ => {
                cmd("DEL").arg("board").query_async::<()>(redis).await?;
                fill(redis, "ZADD", "board", size, |at, command| {
                    command.arg((at * 7_919) % 1_000_000).arg(name(at));
                })
                .await?;
                usage(redis, "board").await? / size as f64
            }
        };
        measured.push(Measured {
            name: held.to_owned(),
            size: size as u64,
            of: "each".to_owned(),
            contender: "Redis MEMORY USAGE".to_owned(),
            value: bytes,
            unit: "bytes".to_owned(),
        });
    }
    Ok(measured)
}

async fn fill(
    redis: &mut MultiplexedConnection,
    command: &str,
    key: &str,
    size: usize,
    item: impl Fn(usize, &mut Cmd),
) -> Result<()> {
    for first in (0..size).step_by(CHUNK) {
        let mut filling = cmd(command);
        filling.arg(key);
        (first..size.min(first + CHUNK)).for_each(|at| item(at, &mut filling));
        filling.query_async::<()>(redis).await?;
    }
    let count = if command == "SADD" { "SCARD" } else { "ZCARD" };
    let held: usize = cmd(count).arg(key).query_async(redis).await?;
    ensure!(held == size, "Redis holds {held} of {size} members");
    Ok(())
}

async fn usage(redis: &mut MultiplexedConnection, key: &str) -> Result<f64> {
    // All members, not a sample.
    let bytes: u64 = cmd("MEMORY").arg("USAGE").arg(key).arg("SAMPLES").arg(0).query_async(redis).await?;
    Ok(bytes as f64)
}
