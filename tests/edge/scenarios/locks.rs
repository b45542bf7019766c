//! Locks with fencing: one holder among all edges, and nothing without the origin.

use super::*;

const ORIGIN_AWAY: &str = "ERR Headwater: the origin is away, and this command runs only there; nothing was done";

fn lock(name: &str) -> Value {
    json!({"lock": name, "ttl_ms": 60_000})
}

#[tokio::test]
async fn of_two_edges_one_holds_a_lock_and_the_next_one_has_a_greater_token() {
    let mut setup = TwoRegions::new().await;
    let [one, two] = setup.http();
    let held = ok(&one, "locks/acquire", lock("report")).await;
    let (owner, fence) = (held["owner"].clone(), held["fence"].as_u64().unwrap());
    assert!(held["until"].as_i64().unwrap() > now().0 + 30_000, "{held}");
    // Another finds it held, and is told for how long.
    let refused = ask(&two, "locks/acquire", lock("report")).await;
    assert_eq!((refused.status.as_u16(), &refused.json()["held"]), (409, &json!(false)));
    assert!((1..=60_000).contains(&refused.json()["retry_after_ms"].as_i64().unwrap()), "{refused:?}");
    let of = |owner: &Value| json!({"lock": "report", "owner": owner, "ttl_ms": 120_000});
    assert_eq!(ask(&two, "locks/extend", of(&json!("nobody"))).await.status.as_u16(), 409);
    // Its owner may come by any edge.
    let extended = ok(&two, "locks/extend", of(&owner)).await;
    assert_eq!(extended["fence"].as_u64(), Some(fence));
    assert!(extended["until"].as_i64() > held["until"].as_i64(), "{extended}");
    assert_eq!(setup.plain::<u64>("HGET lock:report token").await, fence);
    let release = json!({"lock": "report", "owner": owner});
    assert_eq!(ok(&two, "locks/release", release.clone()).await, json!({"released": true}));
    let again = ask(&one, "locks/release", release).await;
    assert_eq!((again.status.as_u16(), again.json()), (409, json!({"released": false})));
    let next = ok(&two, "locks/acquire", lock("report")).await;
    assert!(next["fence"].as_u64() > Some(fence), "{next}");

    setup.part().await;
    for verb in ["acquire", "extend", "release"] {
        let mut body = json!({"lock": "report", "owner": next["owner"]});
        if verb != "release" {
            body["ttl_ms"] = json!(1_000);
        }
        assert_eq!(ask(&one, &format!("locks/{verb}"), body).await.refusal(503), ORIGIN_AWAY, "{verb}");
    }
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_again_under_its_key() {
    let setup = TwoRegions::new().await;
    let http = setup.regions[0].http().with("idempotency-key", "k");
    let [first, second] = [ok(&http, "locks/acquire", lock("a")).await, ok(&http, "locks/acquire", lock("a")).await];
    assert_eq!((&first["owner"], &first["fence"]), (&second["owner"], &second["fence"]));
    let release = json!({"lock": "a", "owner": first["owner"]});
    for _ in 0..2 {
        assert_eq!(ok(&http, "locks/release", release.clone()).await, json!({"released": true}));
    }
}

#[tokio::test]
async fn bad_calls_name_the_field_and_a_grant_is_asked_for_its_lock() {
    let region = Region::start().await;
    for (verb, body, error) in [
        ("acquire", json!({"ttl_ms": 5}), "lock is missing"),
        ("acquire", json!({"lock": "a"}), "ttl_ms is missing"),
        ("acquire", json!({"lock": "a", "ttl_ms": 0}), "ttl_ms must be an integer between 1 and 86400000"),
        ("acquire", json!({"lock": "a", "ttl_ms": 5, "owner": ""}), "owner must have 1 to 256 bytes"),
        ("extend", json!({"lock": "a", "ttl_ms": 5}), "owner is missing"),
        (
            "release",
            json!({"lock": "a", "owner": "me", "fence": 5}),
            "fence is not known; a lock to release has lock, owner",
        ),
    ] {
        let refused = ask(&region.http(), &format!("locks/{verb}"), body).await.refusal(400);
        assert_eq!(refused, format!("ERR Headwater: {error}"), "{verb}");
    }
    let grants = json!([{"verbs": ["read", "write"], "keys": ["lock:b"]}]);
    let other = tokens::bearer_of(&region, &grants);
    assert_eq!(ask(&other, "locks/acquire", lock("a")).await.status.as_u16(), 403);
    assert_eq!(ask(&other, "locks/acquire", lock("b")).await.refusal(503), ORIGIN_AWAY);
}
