//! The clients that applications use, unmodified, against an edge with an origin.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;

use headwater_tests::harness::{Daemon, Store, free_port};
use tokio::process::Command;

use super::region::{Region, TOKEN};
use super::setup::{origin_of, redis_in};

/// An edge whose keys an origin holds in a file, so that a key that nobody wrote is known to be absent.
async fn with_origin() -> (Region, Daemon, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::Embedded(dir.path().join("store"));
    let (region, daemon) = with_store(store, dir.path()).await;
    (region, daemon, dir)
}

async fn with_store(store: Store, dir: &Path) -> (Region, Daemon) {
    let region = Region::start().await;
    let daemon = origin_of(&[&region], store, dir).await;
    (region, daemon)
}

/// Runs the Node tests of one file and demands that they pass.
pub(crate) async fn pass(file: &str, region: &Region, environment: &[(&str, String)]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("edge/clients");
    let output = Command::new("node")
        .args(["--test", "--test-reporter=spec", "--test-timeout=300000", file])
        .current_dir(folder)
        .env("HEADWATER_TEST_EDGE_URL", region.edge.url())
        .env("HEADWATER_TEST_TOKEN", TOKEN)
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .env("UPSTASH_DISABLE_TELEMETRY", "1")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    println!("{said}");
    let ran = said.lines().find_map(|line| line.split_once("pass ")?.1.trim().parse::<u32>().ok());
    assert!(output.status.success() && ran.is_some_and(|ran| ran > 0), "{said}");
}

#[tokio::test]
async fn the_client_of_upstash_works_unmodified() {
    let dir = tempfile::tempdir().unwrap();
    let (redis, _) = redis_in(dir.path(), false).await;
    let (region, _daemon) = with_store(Store::Redis(redis.url()), dir.path()).await;
    pass("upstash.test.mjs", &region, &[]).await;
}

#[tokio::test]
async fn a_session_reads_its_writes_in_each_of_two_regions() {
    let eu = Region::start().await;
    let us = Region::named("us", free_port().unwrap(), BTreeMap::new()).await;
    let dir = tempfile::tempdir().unwrap();
    let (redis, _) = redis_in(dir.path(), false).await;
    let _daemon = origin_of(&[&eu, &us], Store::Redis(redis.url()), dir.path()).await;
    pass("session.test.mjs", &eu, &[("HEADWATER_TEST_OTHER_EDGE_URL", us.edge.url())]).await;
}

#[tokio::test]
async fn the_client_through_an_edge_gets_what_redis_answers() {
    pass_beside_redis("differential.test.mjs").await;
}

#[tokio::test]
async fn the_rate_limiter_of_upstash_gets_what_redis_answers() {
    pass_beside_redis("ratelimit.test.mjs").await;
}

/// Runs the tests of one file, which also ask a redis-server.
async fn pass_beside_redis(file: &str) {
    let (region, _daemon, dir) = with_origin().await;
    let (_redis, port) = redis_in(dir.path(), false).await;
    pass(file, &region, &[("HEADWATER_TEST_REDIS_PORT", port.to_string())]).await;
}
