//! What requests leave behind in the memory of the isolate that answers them: nothing. Its memory never shrinks, so it tells of
//! what was ever not given back.

use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::http::Http;
use super::region::Region;

/// Requests under way at once.
const CLIENTS: usize = 8;

/// Rounds of one request of each kind, until tables and pools have the size that they need, and those that are judged.
const WARM_ROUNDS: usize = 200;
const ROUNDS: usize = 600;

/// What may come to be needed after all: a table that doubles, a queue that was never so long. It is far less than a timer or a
/// promise that is kept for each request, which is some 200 bytes.
const GROWTH_BYTES_MAX: u64 = 512 * 1024;

#[tokio::test]
async fn requests_leave_nothing_behind_in_the_isolate() {
    let region = Region::start().await;
    let kinds = kinds();
    // With the origin away a hub decides on what it wrote itself.
    for line in ["SET l v", "DEL l"] {
        region.http().run(line).await.unwrap();
    }
    send(&region, &kinds, WARM_ROUNDS).await;
    let before = isolate_bytes(&region).await;
    send(&region, &kinds, ROUNDS).await;
    let after = isolate_bytes(&region).await;
    let requests = ROUNDS * kinds.len();
    assert!(before > 0);
    let left = after.saturating_sub(before);
    assert!(left <= GROWTH_BYTES_MAX, "{requests} requests left {left} bytes behind");
}

/// Requests of each kind that an edge answers while its origin is away: where, what, and whether an isolate may answer.
fn kinds() -> Vec<(&'static str, String, bool)> {
    let limit = json!({"key": "l", "algorithm": "sliding", "limit": 1_000_000, "window_ms": 60_000});
    let pipeline = json!([["SET", "p", "v"], ["HSET", "h", "f", "v"], ["ZADD", "z", 1, "m"], ["SADD", "s", "m"]]);
    let kind = |path, body: &Value, is_at_leaf| (path, body.to_string(), is_at_leaf);
    vec![
        kind("/", &json!(["SET", "t", "v"]), false),
        kind("/", &json!(["GET", "t"]), false),
        kind("/", &json!(["INCR", "n"]), true),
        kind("/pipeline", &pipeline, false),
        kind("/v1/limit", &limit, false),
        kind("/v1/limit", &limit, true),
        kind("/v1/metrics/add", &json!({"metric": "hits", "bucket_ms": 2_678_400_000_u64}), false),
        kind("/v1/presence/join", &json!({"room": "lobby", "member": "m", "ttl_ms": 60_000}), false),
        kind("/v1/cache/put", &json!({"key": "page", "value": "v", "fresh_ms": 60_000}), false),
        kind("/v1/cache/get", &json!({"key": "page", "wait_ms": 0}), false),
    ]
}

async fn send(region: &Region, kinds: &[(&'static str, String, bool)], rounds: usize) {
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let (hub, leaf, kinds) = (region.http(), at_leaf(region), kinds.to_vec());
        clients.spawn(async move {
            for (path, body, is_at_leaf) in kinds.iter().cycle().take(kinds.len() * rounds / CLIENTS) {
                let answer = if *is_at_leaf { &leaf } else { &hub }.post(path, body.clone()).await;
                assert!(answer.status.is_success(), "{path} {body}: {answer:?}");
            }
        });
    }
    while let Some(client) = clients.join_next().await {
        client.unwrap();
    }
}

fn at_leaf(region: &Region) -> Http {
    region.http().with("headwater-durability", "leaf")
}

async fn isolate_bytes(region: &Region) -> u64 {
    region.status().await["isolate_bytes"].as_u64().unwrap()
}
