//! Verbs under an `Idempotency-Key`: a call that is repeated is answered as the first time and changes nothing.

use super::*;

fn keyed(http: &Http, key: &str) -> Http {
    http.with("idempotency-key", key)
}

/// Asks twice under one key, and gives the answer, which must be the same.
async fn twice(http: &Http, key: &str, verb: &str, body: Value) -> Value {
    let http = keyed(http, key);
    let (first, second) = (ask(&http, verb, body.clone()).await, ask(&http, verb, body).await);
    assert!(first.status.is_success(), "{verb}: {first:?}");
    assert_eq!((first.status, first.json()), (second.status, second.json()), "{verb}");
    first.json()
}

#[tokio::test]
async fn every_verb_that_writes_is_done_once_and_answered_alike() {
    let region = alone().await;
    let http = region.http();
    let body = json!({"subject": "ada", "ttl_ms": 600_000, "data": {"role": "admin"}});
    let session = twice(&http, "create", "sessions/create", body).await["session"].clone();
    let update = json!({"session": session, "set": {"cart": "7"}, "unset": ["role"]});
    twice(&http, "update", "sessions/update", update).await;
    // The second call finds the secret of the first one gone, and is told the new one all the same.
    let next = twice(&http, "rotate", "sessions/rotate", json!({"session": session})).await["session"].clone();
    let read = ok(&http, "sessions/read", json!({"session": next})).await;
    assert_eq!(read["data"], json!({"cart": "7"}));
    let all = twice(&http, "all", "sessions/revoke-all", json!({"subject": "ada"})).await;
    assert_eq!(all["generation"], json!(1));
    let revoked = twice(&http, "revoke", "sessions/revoke", json!({"session": next})).await;
    assert_eq!(revoked["was_active"], json!(true));

    let exp = now().0 / 1000 + 600;
    twice(&http, "deny", "tokens/deny", json!({"jti": "a", "exp": exp})).await;
    assert_eq!(ok(&http, "tokens/check", json!({"jti": "a"})).await, json!({"denied": true}));

    let look = json!({"key": "page", "lease_ms": 60_000, "wait_ms": 0});
    let fill = twice(&http, "get", "cache/get", look.clone()).await["fill"].clone();
    assert!(fill.is_string(), "{fill}");
    assert_eq!(ok(&http, "cache/get", look).await["state"], json!("filling"), "for all others");
    let put = json!({"key": "page", "value": "v", "fresh_ms": 60_000, "fill": fill});
    assert_eq!(twice(&http, "put", "cache/put", put).await, json!({"stored": true}));
    assert_eq!(twice(&http, "forget", "cache/forget", json!({"key": "page"})).await, json!({"forgotten": true}));

    let there = json!({"room": "lobby", "member": "ada", "ttl_ms": 60_000});
    twice(&http, "join", "presence/join", there.clone()).await;
    twice(&http, "beat", "presence/beat", there).await;
    let left = twice(&http, "leave", "presence/leave", json!({"room": "lobby", "member": "ada"})).await;
    assert_eq!(left["was_present"], json!(true));

    let add = json!({"metric": "hits", "by": 5, "bucket_ms": 86_400_000});
    assert_eq!(twice(&http, "add", "metrics/add", add.clone()).await["value"], json!(5));
    assert_eq!(twice(&http, "add again", "metrics/add", add).await["value"], json!(10));
}

#[tokio::test]
async fn the_same_key_on_another_call_is_refused_and_changes_nothing() {
    const OTHER: &str = "ERR Headwater: another call bore this Idempotency-Key, and nothing was executed; draw a key for each \
                         call, and repeat a call as it was";
    let region = alone().await;
    let http = keyed(&region.http(), "k");
    ok(&http, "metrics/add", json!({"metric": "hits"})).await;
    for (verb, body) in [
        ("metrics/add", json!({"metric": "hits", "by": 2})),
        ("metrics/add", json!({"metric": "other"})),
        ("presence/join", json!({"room": "lobby", "member": "ada", "ttl_ms": 60_000})),
        ("cache/put", json!({"key": "page", "value": "v", "fresh_ms": 60_000})),
    ] {
        assert_eq!(ask(&http, verb, body.clone()).await.refusal(422), OTHER, "{verb} {body}");
    }
    assert_eq!(ok(&region.http(), "metrics/read", json!({"metric": "hits"})).await["total"], json!(1));
    assert_eq!(region.http().run("EXISTS presence:lobby").await.map_err(|error| error == AWAY), Err(true));
    // A pipeline's keys are others, so that it is told no verb's secrets.
    let answer = http.post("/pipeline", r#"[["INCR","n"]]"#).await;
    assert_eq!(answer.json(), json!([{"result": 1}]));
    for key in ["", &"x".repeat(256)] {
        let refused = ask(&region.http().with("idempotency-key", key), "metrics/add", json!({"metric": "hits"})).await;
        assert_eq!(refused.refusal(400), "ERR Headwater: an Idempotency-Key has 1 to 255 bytes");
    }
}

#[tokio::test]
async fn what_wrote_nothing_is_tried_again_and_bad_calls_use_no_key_up() {
    let region = alone().await;
    let http = keyed(&region.http(), "k");
    assert_eq!(ask(&http, "metrics/add", json!({"metric": "hits", "by": "x"})).await.status.as_u16(), 400);
    let session = created(&region.http(), "ada").await;
    ok(&region.http(), "sessions/revoke", json!({"session": session, "for_ms": 60_000})).await;
    let rotate = json!({"session": session});
    for _ in 0..2 {
        assert_inactive(&ask(&http, "sessions/rotate", rotate.clone()).await, "revoked");
    }
    assert_eq!(ok(&http, "metrics/add", json!({"metric": "hits"})).await["value"], json!(1));
}

#[tokio::test]
async fn a_lost_answer_is_given_again_after_the_edge_was_killed_and_to_nobody_without_the_grant() {
    let mut region = alone().await;
    let session = created(&region.http(), "ada").await;
    let (body, grants) =
        (json!({"session": session}), json!([{"verbs": ["read", "write"], "keys": ["session:{bob}*"]}]));
    let rotated = ok(&keyed(&region.http(), "k"), "sessions/rotate", body.clone()).await;
    region.kill_and_restart().await;
    let bob = keyed(&tokens::bearer_of(&region, &grants), "k");
    assert_eq!(ask(&bob, "sessions/rotate", body.clone()).await.status.as_u16(), 403);
    assert_eq!(ok(&keyed(&region.http(), "k"), "sessions/rotate", body).await, rotated);
    ok(&region.http(), "sessions/read", json!({"session": rotated["session"]})).await;
}
