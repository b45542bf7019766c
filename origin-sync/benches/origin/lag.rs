//! How long after an edge wrote Redis shows it, under load.

use crate::{
    delay::slow_way,
    print_ours,
    stand::Stand,
    support::{edge::Edge, say::bytes},
};
use bytes::Bytes;
use std::time::{Duration, Instant};

/// How often the load's operations are brought up to its rate.
const STEP: Duration = Duration::from_millis(5);

/// Operations that reach the hub together.
const PIPELINE: u64 = 100;

/// A load: operations in a second, and on which keys.
#[derive(Clone, Copy)]
struct Load {
    rate: u64,
    keys: Keys,
}

#[derive(Clone, Copy)]
enum Keys {
    /// So many, in turn.
    Known(u64),
    /// One of its own for each operation.
    New,
}

impl Load {
    fn name(self) -> String {
        match self.keys {
            Keys::Known(keys) => format!("{keys} keys"),
            Keys::New => "new keys".to_owned(),
        }
    }

    fn operation(self, number: u64) -> Vec<Bytes> {
        let key = match self.keys {
            Keys::Known(keys) => number % keys,
            Keys::New => number,
        };
        vec![bytes("INCR"), bytes(format!("k{key}"))]
    }
}

/// At several rates, with the daemon beside the hub. The last two load it by about half of what it can do: with one hub's operations
/// on few keys, and with keys that are new.
pub async fn at_rates(run: Duration) {
    for (rate, keys) in [
        (20, Keys::Known(10)),
        (200, Keys::Known(10)),
        (2_000, Keys::Known(10)),
        (2_000, Keys::Known(500)),
        (20_000, Keys::Known(10)),
        (750_000, Keys::Known(10)),
        (20_000, Keys::New),
    ] {
        let stand = Stand::new(1).await;
        measure(&stand, "lag on loopback", Load { rate, keys }, run).await;
    }
}

/// With a hub that is 150 ms away.
pub async fn over_a_slow_way(run: Duration) {
    let edge = Edge::start().await;
    let to = edge.url().trim_start_matches("http://").to_owned();
    let (port, _way) = slow_way(to, Duration::from_millis(150)).await;
    let stand = Stand::of(vec![edge], &[format!("http://127.0.0.1:{port}")]).await;
    measure(&stand, "lag with 150 ms of delay each way", Load { rate: 2_000, keys: Keys::Known(10) }, run).await;
}

/// Beside the load one counter is incremented and read back from Redis again and again: how long that takes is the lag.
async fn measure(stand: &Stand, name: &str, load: Load, run: Duration) {
    let mut lags = Vec::new();
    let (mut sent, mut probed) = (0, 0);
    let mut probe: Option<(Instant, u64)> = None;
    let before = stand.calls().await;
    let began = Instant::now();
    while began.elapsed() < run {
        let due = load.rate * u64::try_from(began.elapsed().as_millis()).unwrap() / 1000;
        while sent < due {
            let until = due.min(sent + PIPELINE);
            stand.edges[0].handle().run((sent..until).map(|number| load.operation(number)).collect());
            sent = until;
        }
        // One probe at a time, and at most as many as the load has operations.
        if probe.is_none() && probed < sent {
            probed += 1;
            stand.edges[0].execute(&["INCR", "probe"]).unwrap();
            probe = Some((Instant::now(), probed));
        }
        let until = Instant::now() + STEP;
        while let Some((since, number)) = probe
            && Instant::now() < until
        {
            if stand.plain.ask::<Option<u64>>(&["GET", "probe"]).await >= Some(number) {
                lags.push(since.elapsed());
                probe = None;
            }
            tokio::time::sleep(Duration::from_micros(500)).await;
        }
        tokio::time::sleep_until(until.into()).await;
    }
    assert!(sent >= load.rate * run.as_secs() * 9 / 10, "{sent} operations are less than the load");
    stand.settled().await;
    if let Some((since, _)) = probe {
        // A lag as long as the run counts too.
        lags.push(since.elapsed());
    }
    let calls = stand.calls().await.calls - before.calls;
    lags.sort();
    let Some(last) = lags.len().checked_sub(1) else { return };
    let name = format!("{name}, {}", load.name());
    let extent = (load.rate, "ops/s");
    for share in [50, 99] {
        print_ours(&format!("{name}: p{share}"), extent, lags[last * share / 100].as_nanos() as f64, "ns");
    }
    let each = calls as f64 * 1_000.0 / (sent + probed) as f64;
    print_ours(&format!("{name}: calls of Redis for 1,000 operations"), extent, each, "calls");
}
