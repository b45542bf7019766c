//! How many commits a store takes: `store_rates redis://127.0.0.1:6379` or `store_rates FILE`.
//!
//! Each commit adds to one counter of a slot of its own, as the machine does for a busy key, so the rate is that of the
//! store and its connection. Given `--keys N`, each commit changes N counters of its slot.
#![allow(clippy::unwrap_used, reason = "a measurement fails by panicking")]

use bytes::Bytes;
use futures_util::future::join_all;
use headwater::{
    id::{Key, No, ReplicaId},
    slot::Slot,
    state::Kind,
    store::{Commit, Expected, KeyCommit, MarkerChange, Outcome, Plain},
};
use origin_sync::store::{RedisConfig, RedisUrl, Store, StoreLocation};
use std::time::{Duration, Instant};

const ORIGIN: ReplicaId = ReplicaId::LEAF;
const RUN: Duration = Duration::from_secs(3);

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let location = arguments.next().expect("where the store is");
    let keys = arguments.nth(1).map_or(1, |keys| keys.parse().unwrap());
    let location = match location.parse::<RedisUrl>() {
        Ok(url) => StoreLocation::Redis(RedisConfig::single(url)),
        Err(_) => StoreLocation::Embedded(location.into()),
    };
    let store = location.open().await.unwrap();
    let mut slots = Slot::all();
    println!("{} store, {keys} key(s) a commit", location.name());
    println!("{:>10} {:>12} {:>12} {:>12}", "in flight", "commits/s", "p50 µs", "p99 µs");
    for in_flight in [1, 8, 64, 512] {
        let end = Instant::now() + RUN;
        let runs = join_all(slots.by_ref().take(in_flight).map(|slot| run(&store, slot, keys, end))).await;
        let mut took = runs.concat();
        took.sort();
        let at = |share: usize| took[(took.len() - 1) * share / 100].as_micros();
        let rate = took.len() as f64 / RUN.as_secs_f64();
        println!("{in_flight:>10} {rate:>12.0} {:>12} {:>12}", at(50), at(99));
    }
}

/// Commits to one slot, one after the other.
async fn run(store: &impl Store, slot: Slot, keys: u64, end: Instant) -> Vec<Duration> {
    let mut took = Vec::new();
    for seq in 0.. {
        let began = Instant::now();
        if began > end {
            break;
        }
        let outcome = store.commit(commit(slot, keys, seq)).await.unwrap();
        assert_eq!(outcome, Outcome::Committed, "the store must be empty at the start");
        took.push(began.elapsed());
    }
    took
}

fn commit(slot: Slot, keys: u64, seq: u64) -> Commit {
    Commit {
        slot,
        fence: (seq > 0).then_some(ORIGIN),
        expected_seq: seq,
        marker: MarkerChange {
            open: (seq == 0).then(|| (ORIGIN, Bytes::from_static(b"run"), None)),
            seq: seq + 1,
            no: No(seq),
            hubs: vec![(ReplicaId::from_bits(65_536), No(seq + 1))],
        },
        keys: (0..keys).map(|at| part(slot, at, seq)).collect(),
    }
}

fn part(slot: Slot, at: u64, seq: u64) -> KeyCommit {
    let key = Key::new(format!("{{{}}}{at}", slot.tag())).unwrap();
    let words = [&b"INCRBY"[..], key.as_bytes(), b"3"].map(Bytes::copy_from_slice);
    KeyCommit {
        expected_version: (seq > 0).then_some(seq),
        version: seq + 1,
        forget: false,
        put: vec![
            (Bytes::from_static(b"h"), Bytes::from(vec![0; 60])),
            (Bytes::from_static(b"e0"), Bytes::from(vec![0; 40])),
        ],
        delete: Vec::new(),
        expire_at: None,
        plain: Plain { expected: Expected::AbsentOr(Kind::String), guards: Vec::new(), commands: vec![words.to_vec()] },
        key,
    }
}
