//! Whether the daemon's memory stays what it is under a load that goes on.

use crate::{print, print_ours, stand::Stand, support::say::bytes};
use bytes::Bytes;
use std::time::{Duration, Instant};

/// How often operations are made, and how long what vanishes by itself lives.
const STEP: Duration = Duration::from_millis(50);
const SESSION_MS: &str = "2000";

/// A mixed load on keys of every type: most are written to again and again, and some are new, and end.
///
/// `growth` is how long what is kept at all is gathered, the minute in which expired keys may be revived among it; what the
/// daemon has then, it is to have at the end of the `run`.
pub async fn memory(growth: Duration, run: Duration) {
    const NAME: &str = "soak: memory of the daemon";
    let stand = Stand::new(1).await;
    let hub = stand.edges[0].handle();
    let (began, mut step, mut sent) = (Instant::now(), 0_usize, 0_usize);
    let mut grown = None;
    while began.elapsed() < run {
        let operations = operations(step);
        sent += operations.len();
        hub.run(operations);
        if grown.is_none() && began.elapsed() >= growth {
            grown = stand.daemon_bytes().await;
        }
        step += 1;
        let next = STEP * u32::try_from(step).unwrap();
        tokio::time::sleep_until((began + next).into()).await;
    }
    stand.settled().await;
    let (Some(grown), Some(bytes)) = (grown, stand.daemon_bytes().await) else { return };
    let extent = (run.as_secs(), "s");
    print_ours(NAME, extent, bytes, "bytes");
    print(NAME, extent, &format!("itself after {} s", growth.as_secs()), grown, "bytes");
    print_ours("soak: operations", extent, sent as f64 / run.as_secs_f64(), "ops/s");
}

/// What is done in one step.
fn operations(step: usize) -> Vec<Vec<Bytes>> {
    let at = |n: usize, of: usize| ((step * 37 + n * 11) % of).to_string();
    let mut operations = Vec::new();
    for n in 0..80 {
        operations.push(["INCR", &format!("counter:{}", at(n, 1_000))].map(bytes).to_vec());
    }
    for n in 0..10 {
        let (key, member) = (at(n, 50), at(n, 200));
        let member = member.as_str();
        operations.push(["ZINCRBY", &format!("board:{key}"), "1", member].map(bytes).to_vec());
        operations.push([if n % 2 == 0 { "SADD" } else { "SREM" }, &format!("set:{key}"), member].map(bytes).to_vec());
        operations.push(["HSET", &format!("hash:{key}"), member, &step.to_string()].map(bytes).to_vec());
        let session = format!("session:{step}:{n}");
        operations.push(["SET", &session, "what a session holds", "PX", SESSION_MS].map(bytes).to_vec());
    }
    operations
}
