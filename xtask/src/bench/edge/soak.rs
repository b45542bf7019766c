//! Many requests of all kinds on few keys: what the Worker takes in memory after them, beside what it took after the first quarter,
//! when isolates, rows and pools had the size that they need. A daemon takes what they write to Redis.
//!
//! Two figures, since either hides what the other shows: what is resident of the process, of which most is what workerd and its
//! garbage collector let grow for any Worker, and the program's own memory in the isolate.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use headwater_tests::harness::{Daemon, DaemonConfig, Store, free_port};
use serde::Deserialize;
use sysinfo::{Pid, ProcessesToUpdate, System};
use tokio::time::sleep;

use super::load::{Call, get, send_all};
use super::{CONNECTIONS, ORIGIN_TOKEN, Stage};
use crate::bench::row::{Bar, Row, Unit};
use crate::workspace::Workspace;

const REQUESTS: u64 = 200_000;
const REQUESTS_QUICK: u64 = 20_000;

/// How long the daemon may take to reach the edge.
const CONNECTED_WITHIN: Duration = Duration::from_secs(30);

/// Keys of each kind.
const KEYS: usize = 64;

/// A process that grows by less has no leak that shows in so many requests: one of 64 bytes a request would take 10 MB, and what
/// is resident here is some 100 MB.
const RATIO_LEAST: f64 = 0.9;

/// The isolate's memory is some MB, and a burst that is larger than any before makes it a little larger for good. A leak of 64 bytes
/// a request would treble it.
const ISOLATE_RATIO_LEAST: f64 = 0.6;

pub(super) async fn rows(stage: &Stage, workspace: &Workspace, name: &str, is_quick: bool) -> Result<Vec<Row>> {
    let _daemon = daemon(stage, workspace).await?;
    let requests = if is_quick { REQUESTS_QUICK } else { REQUESTS };
    let calls = calls(stage);
    let before = taken(stage).await?;
    send_all(&calls, CONNECTIONS, requests / 4).await?;
    let quarter = taken(stage).await?;
    send_all(&calls, CONNECTIONS, requests - requests / 4).await?;
    let after = taken(stage).await?;
    println!("soak: {before:?} before, {quarter:?} after {} requests, {after:?} after {requests}", requests / 4);
    let row = |name: &str, quarter: u64, after: u64, least: f64| {
        let row = Row::against(name, after as f64, "after the first quarter", quarter as f64, Unit::Bytes);
        row.at(requests, "requests").judged(Some(Bar::Ratio(least)))
    };
    Ok(vec![
        row(name, quarter.resident, after.resident, RATIO_LEAST),
        row("soak: the program's memory in the isolate", quarter.isolate, after.isolate, ISOLATE_RATIO_LEAST),
    ])
}

/// What the edge takes in memory, in bytes.
#[derive(Clone, Copy, Debug)]
struct Taken {
    /// Of the whole process.
    resident: u64,
    /// The program's own in the isolate, which never shrinks.
    isolate: u64,
}

async fn taken(stage: &Stage) -> Result<Taken> {
    #[derive(Deserialize)]
    struct Status {
        isolate_bytes: u64,
    }
    let address = stage.edge.address();
    let status = get(&address, "/v1/status").await?;
    let Status { isolate_bytes } = serde_json::from_slice(&status).context("the edge's status")?;
    Ok(Taken { resident: resident(stage)?, isolate: isolate_bytes })
}

/// What the hub asks for keys that it does not hold. Returns once the hub has such an answer.
async fn daemon(stage: &Stage, workspace: &Workspace) -> Result<Daemon> {
    let config = DaemonConfig {
        edges: vec![stage.edge.url()],
        origin_token: ORIGIN_TOKEN.to_owned(),
        store: Store::Redis(stage.redis.url()),
        listen_port: free_port()?,
        loss_window_ms: 1_000,
        erase_patterns: Vec::new(),
        log: workspace.scratch("bench-edge").join("daemon.log"),
    };
    let daemon = Daemon::start(&workspace.layout, config).await?;
    let (read, began) = (stage.edge_commands("/", r#"["GET","absent"]"#.to_owned(), false), Instant::now());
    while let Err(error) = read.send().await {
        ensure!(began.elapsed() < CONNECTED_WITHIN, "the daemon does not reach the edge: {error}");
        sleep(Duration::from_millis(50)).await;
    }
    Ok(daemon)
}

/// One of each kind for each key.
fn calls(stage: &Stage) -> Vec<Call> {
    let of_key = |key: usize| {
        let command = |line: &str| format!("[\"{}\"]", line.replace(' ', "\",\""));
        let at_hub = |path: &'static str, body: String| stage.edge_commands(path, body, false);
        let put = format!(r#"{{"key":"page:{key}","value":"{}","fresh_ms":60000}}"#, "v".repeat(512));
        let check = format!(r#"{{"key":"limit:{key}","algorithm":"sliding","limit":1000000000,"window_ms":60000}}"#);
        let pipeline = ["SET p v", "HSET h f v", "ZADD z 1 m", "SADD s m", "INCR n"].map(|line| {
            let (verb, rest) = line.split_once(' ').unwrap_or_default();
            command(&format!("{verb} {key}{rest}"))
        });
        [
            at_hub("/", command(&format!("SET text:{key} v"))),
            at_hub("/", command(&format!("GET text:{key}"))),
            at_hub("/", command(&format!("INCR count:{key}"))),
            stage.edge_commands("/", command(&format!("INCR leaf:{key}")), true),
            at_hub("/pipeline", format!("[{}]", pipeline.join(","))),
            at_hub("/v1/limit", check.clone()),
            stage.edge_commands("/v1/limit", check, true),
            at_hub("/v1/metrics/add", format!(r#"{{"metric":"hits:{key}","bucket_ms":2678400000}}"#)),
            at_hub("/v1/presence/join", format!(r#"{{"room":"lobby","member":"{key}","ttl_ms":60000}}"#)),
            at_hub("/v1/cache/put", put),
            at_hub("/v1/cache/get", format!(r#"{{"key":"page:{key}","wait_ms":0}}"#)),
        ]
    };
    (0..KEYS).flat_map(of_key).collect()
}

/// What the edge's process has in memory, in bytes.
fn resident(stage: &Stage) -> Result<u64> {
    let pid = Pid::from_u32(stage.edge.pid().context("the edge runs")?);
    let mut system = System::new()?;
    system.refresh_processes(ProcessesToUpdate::Some(&[pid]), true);
    Ok(system.process(pid).context("the edge's process is there")?.memory())
}
