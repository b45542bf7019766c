//! Commands that pass through an edge to the Redis of its origin, and what becomes of them when that is away.

use headwater_tests::harness::{Daemon, Redis, Store};
use serde_json::json;
use tempfile::TempDir;

use super::region::Region;
use super::setup::{origin_of, redis_in};

const AWAY: &str = "ERR Headwater: the origin is away, and this command runs only there; nothing was done";

/// An edge whose origin keeps its state in a Redis.
struct Setup {
    region: Region,
    daemon: Daemon,
    _redis: Redis,
    _dir: TempDir,
}

impl Setup {
    async fn new() -> Self {
        let (region, dir) = (Region::start().await, tempfile::tempdir().unwrap());
        let (redis, _) = redis_in(dir.path(), false).await;
        let daemon = origin_of(&[&region], Store::Redis(redis.url()), dir.path()).await;
        Self { region, daemon, _redis: redis, _dir: dir }
    }
}

#[tokio::test]
async fn what_edges_do_not_replicate_runs_in_redis() {
    let mut setup = Setup::new().await;
    let http = setup.region.http();
    assert_eq!(http.run("SETBIT bits 7 1").await, Ok(json!(0)));
    assert_eq!(http.run("BITCOUNT bits").await, Ok(json!(1)));
    assert_eq!(http.run("PUBLISH news text").await, Ok(json!(0)));
    assert_eq!(http.run("SET text x").await, Ok(json!("OK")));
    let replies =
        http.pipeline(json!([["LLEN", "jobs"], ["INCR", "n"], ["GEOPOS", "places", "absent"], ["LSET", "jobs", 0, 1]]));
    let no_key = Err("ERR no such key".to_owned());
    assert_eq!(replies.await, [Ok(json!(0)), Ok(json!(1)), Ok(json!([null])), no_key]);
    let refused = http.post("/multi-exec", r#"[["INCR","n"],["LLEN","jobs"]]"#).await.refusal(400);
    assert!(refused.starts_with("EXECABORT ") && refused.contains("part of a transaction"), "{refused}");
    assert_eq!(http.run("GET n").await, Ok(json!("1")));
    let scripts = "ERR Headwater: no scripts are run here; those of @upstash/ratelimit are known by their text";
    assert_eq!(http.run("EVAL text 0").await, Err(scripts.to_owned()));
    setup.daemon.kill();
    setup.region.until("origin_connected", false).await;
    assert_eq!(http.run("LLEN jobs").await, Err(AWAY.to_owned()));
}
