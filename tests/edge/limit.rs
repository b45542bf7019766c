//! `POST /v1/limit` over HTTP.

use serde_json::{Value, json};

use super::http::{Answer, Http};
use super::region::Region;

const AWAY: &str = "ERR Headwater: the origin is away and this edge does not hold the key";

async fn ask(http: &Http, body: &Value) -> Answer {
    http.post("/v1/limit", body.to_string()).await
}

fn check(key: &str) -> Value {
    json!({"key": key, "name": "mine", "algorithm": "fixed", "limit": 3, "window_ms": 86_400_000})
}

/// Makes an edge without its origin know that a key is absent.
async fn know(http: &Http, key: &str) {
    for line in [format!("SET {key} v"), format!("DEL {key}")] {
        http.run(&line).await.unwrap();
    }
}

#[tokio::test]
async fn a_request_passes_until_the_limit_and_is_then_429() {
    let region = Region::start().await;
    let http = region.http();
    know(&http, "k").await;
    for remaining in [2, 1, 0] {
        let answer = ask(&http, &check("k")).await;
        assert_eq!(answer.status.as_u16(), 200, "{answer:?}");
        let verdict = answer.json();
        assert_eq!((&verdict["allowed"], &verdict["remaining"]), (&json!(true), &json!(remaining)));
        assert_eq!((&verdict["over_admit_max"], &verdict["retry_after"]), (&json!("unbounded"), &json!(0)));
        assert_eq!(answer.header("ratelimit-policy"), Some(r#""mine";q=3;w=86400"#));
        let header = answer.header("ratelimit").unwrap();
        assert!(header.starts_with(&format!("\"mine\";r={remaining};t=")), "{header}");
        assert_eq!(answer.header("retry-after"), None);
    }
    let refused = ask(&http, &check("k")).await;
    assert_eq!((refused.status.as_u16(), &refused.json()["allowed"]), (429, &json!(false)));
    let wait_s: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=86_400).contains(&wait_s), "{refused:?}");
    let exposed = refused.header("access-control-expose-headers").unwrap();
    assert!(["RateLimit", "RateLimit-Policy", "Retry-After"].iter().all(|name| exposed.contains(name)), "{exposed}");
    // It counts where the command counts.
    let line = "HW.LIMIT k FIXED 3 86400000 PEEK COST 0";
    assert_eq!(http.run(line).await.unwrap()[1], json!(0));
}

#[tokio::test]
async fn many_checks_are_each_decided_and_counted_by_themselves() {
    let region = Region::start().await;
    let http = region.http();
    know(&http, "a").await;
    know(&http, "b").await;
    let costly = json!({"key": "b", "algorithm": "bucket", "limit": 1, "window_ms": 1000, "burst": 5, "cost": 6});
    let answer = ask(&http, &json!([check("a"), costly])).await;
    assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (429, None));
    assert_eq!(answer.header("ratelimit-policy"), Some(r#""mine";q=3;w=86400, "2";q=1;w=1;burst=5"#));
    let verdicts = answer.json();
    assert_eq!((&verdicts[0]["allowed"], &verdicts[0]["remaining"]), (&json!(true), &json!(2)));
    assert_eq!((&verdicts[1]["allowed"], &verdicts[1]["remaining"]), (&json!(false), &json!(5)));
    assert_eq!(verdicts[1]["retry_after"], Value::Null);
}

#[tokio::test]
async fn without_a_decision_a_check_is_open_or_closed_as_it_says() {
    let region = Region::start().await;
    let http = region.http();
    let mut unknown = check("nobody knows");
    let closed = ask(&http, &unknown).await;
    assert_eq!(closed.status.as_u16(), 503);
    assert_eq!(closed.json(), json!({"name": "mine", "allowed": false, "limit": 3, "error": AWAY}));
    unknown["on_error"] = json!("open");
    let open = ask(&http, &unknown).await;
    assert_eq!(open.status.as_u16(), 200);
    assert_eq!(open.json(), json!({"name": "mine", "allowed": true, "limit": 3, "error": AWAY}));
}

#[tokio::test]
async fn what_is_no_check_is_refused_with_the_field_and_counts_nothing() {
    let region = Region::start().await;
    let http = region.http();
    know(&http, "k").await;
    let mut wrong = check("k");
    wrong["window_ms"] = json!("a day");
    let error = ask(&http, &json!([check("k"), wrong])).await.refusal(400);
    assert_eq!(error, "ERR Headwater: [1].window_ms must be an integer, 0 or more");
    assert!(http.post("/v1/limit", "{").await.refusal(400).starts_with("ERR Headwater: the body is no JSON"));
    assert_eq!(http.run("EXISTS k").await, Ok(json!(0)));
    let stranger = region.stranger().post("/v1/limit", check("k").to_string()).await;
    assert_eq!(stranger.refusal(401), "ERR Headwater: unauthorized");
}

#[tokio::test]
async fn the_same_call_again_counts_once() {
    let region = Region::start().await;
    let http = region.http();
    know(&http, "k").await;
    let once = http.with("idempotency-key", "a call");
    for _ in 0..3 {
        assert_eq!(ask(&once, &check("k")).await.json()["remaining"], json!(2));
    }
    assert_eq!(ask(&http, &check("k")).await.json()["remaining"], json!(1));
}
