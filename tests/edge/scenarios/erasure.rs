//! Erasure: a person's keys of one namespace are gone at every edge and in Redis, for whoever may.

use super::*;
use crate::setup::{Plain, origin_config, redis_in};
use headwater_tests::harness::{Daemon, DaemonConfig, Layout, Store};
use std::path::Path;

/// The daemon of a region, whose operator says which keys are a person's.
async fn daemon_of(region: &Region, url: String, dir: &Path) -> Daemon {
    let config = origin_config(&[region], Store::Redis(url), dir);
    let patterns = "user:{subject}:*,session:{{subject}},shop:user:{subject}:*".split(',').map(str::to_owned).collect();
    let daemon =
        Daemon::start(&Layout::of_workspace(), DaemonConfig { erase_patterns: patterns, ..config }).await.unwrap();
    region.until("origin_connected", true).await;
    daemon
}

#[tokio::test]
async fn a_persons_keys_are_erased_for_whoever_may_in_that_namespace_alone() {
    let region = Region::with("HEADWATER_NAMESPACES", "shop").await;
    let dir = tempfile::tempdir().unwrap();
    let (redis, _) = redis_in(dir.path(), false).await;
    let mut daemon = daemon_of(&region, redis.url(), dir.path()).await;
    let (http, plain) = (region.http(), Plain::of(&redis).await);
    for line in ["SET user:ada:name Ada", "SADD user:ada:tags a b", "SET user:adam:name Adam", "INCR {ada}n"] {
        http.run(line).await.unwrap();
    }
    plain.run::<()>("RPUSH user:ada:list a").await;
    plain.run::<()>("SET user:ada:plain x").await;
    plain.run::<()>("SET shop:user:ada:name Ada").await;
    let grants = json!([{"verbs": ["admin"], "keys": ["*"]}]);
    let stranger = tokens::bearer_of(&region, &grants);
    let ada = json!({"subject": "ada"});
    assert_eq!(ask(&stranger, "erase", ada.clone()).await.status.as_u16(), 403);
    let grants = json!([{"verbs": ["hw.erase"], "keys": ["*"]}]);
    let officer = tokens::bearer_of(&region, &grants);
    let erased = ok(&officer, "erase", ada.clone()).await;
    assert_eq!(erased, json!({"erased": 3, "left": 1, "pending": 0}));
    assert_eq!(http.run("EXISTS user:ada:name user:ada:tags user:ada:plain").await, Ok(json!(0)));
    assert_eq!(http.run("GET user:adam:name").await, Ok(json!("Adam")));
    // What the edge acknowledged of the others may still be on its way to Redis.
    for key in ["user:adam:name", "{ada}n"] {
        plain.until(&format!("EXISTS {key}"), &true).await;
    }
    let mut kept: Vec<String> = plain.run("KEYS *ada*").await;
    kept.retain(|name| !name.starts_with("hw:"));
    kept.sort();
    assert_eq!(kept, ["shop:user:ada:name", "user:ada:list", "user:adam:name", "{ada}n"]);
    // What the subject holds stands for itself alone.
    assert_eq!(ok(&officer, "erase", json!({"subject": "ad*"})).await["erased"], json!(0));
    let shop = json!({"exp": now().0 / 1000 + 600, "ns": "shop", "grants": grants});
    let bearer = format!("Bearer {}", tokens::signed("new", "new", &shop));
    let shop = region.stranger().with("authorization", &bearer);
    assert_eq!(ok(&shop, "erase", ada.clone()).await, json!({"erased": 1, "left": 0, "pending": 0}));
    for (body, error) in [
        (json!({}), "subject is missing"),
        (json!({"subject": ""}), "subject must have 1 to 1024 bytes"),
        (json!({"subject": "a", "keys": "*"}), "keys is not known; whom to erase has subject"),
    ] {
        assert_eq!(ask(&officer, "erase", body).await.refusal(400), format!("ERR Headwater: {error}"));
    }
    daemon.kill();
    region.until("origin_connected", false).await;
    let refused = ask(&officer, "erase", ada).await.refusal(503);
    assert!(refused.ends_with("nothing was done"), "{refused}");
}

#[tokio::test]
async fn where_the_operator_names_no_keys_nothing_is_erased_and_it_says_so() {
    let setup = TwoRegions::new().await;
    let refused = ask(&setup.regions[0].http(), "erase", json!({"subject": "ada"})).await.refusal(409);
    assert_eq!(refused, "ERR Headwater: erase-pattern is not set, so nobody knows which keys are a person's");
}
