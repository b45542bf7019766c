//! Feature flags: pushed from the origin, and there with it away.

use super::*;

#[tokio::test]
async fn a_flag_that_a_plain_client_sets_arrives_at_every_edge_and_stays_with_the_origin_away() {
    let mut setup = TwoRegions::new().await;
    let [one, two] = setup.http();
    let defaults = json!({"defaults": {"checkout": "off", "rows": 20}});
    for http in [&one, &two] {
        let read = ok(http, "flags/read", defaults.clone()).await;
        assert_eq!(read, json!({"flags": {"checkout": "off", "rows": 20}, "known": true}));
    }
    setup.plain::<()>("HSET flags checkout on search beta").await;
    let right = json!({"flags": {"checkout": "on", "rows": 20, "search": "beta"}, "known": true});
    for http in [&one, &two] {
        until(http, "flags/read", defaults.clone(), |answer| answer.json() == right).await;
    }
    setup.part().await;
    for http in [&one, &two] {
        assert_eq!(ok(http, "flags/read", defaults.clone()).await, right);
        let unknown = ok(http, "flags/read", json!({"key": "flags:beta", "defaults": {"a": true}})).await;
        assert_eq!(unknown, json!({"flags": {"a": true}, "known": false}));
    }
    let refused = ask(&one, "flags/read", json!({"defaults": ["a"]})).await.refusal(400);
    assert_eq!(refused, "ERR Headwater: defaults must be an object");
}
