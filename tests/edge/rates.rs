//! Rates that signed tokens bear: a request beyond its token's is 429 and changes nothing.

use bytes::Bytes;
use headwater::command::CommandError;
use headwater::id::{ClientId, Seq};
use headwater::message::{HubToLeaf, LeafToHub, Lifetime};
use hyper::Method;
use serde_json::{Value, json};
use tokio::time::{Duration, Instant};

use super::http::{Answer, Http};
use super::region::Region;
use super::socket::{Leaf, Socket, increment, now};
use super::tokens::signed;

/// The token of a subject that may read and write what begins with `a` five times in an hour, and count `free` as it likes.
fn token(subject: &str) -> String {
    let grants = json!([
        {"verbs": ["read", "write"], "keys": ["a*"], "rate": {"limit": 5, "window_ms": 3_600_000}},
        {"verbs": ["incr"], "keys": ["free"]},
        {"verbs": ["hw.limit"], "keys": ["limit"], "rate": {"limit": 1, "window_ms": 3_600_000}},
    ]);
    signed("old", "old", &json!({"exp": now().0 / 1000 + 600, "sub": subject, "grants": grants}))
}

fn of(region: &Region, token: &str) -> Http {
    region.stranger().with("authorization", &format!("Bearer {token}"))
}

/// Asks until the rate refuses, and tells how often it passed before. Isolates count, and one that has not heard from its hub for
/// a second lets the hub decide, which may not know yet what the isolate counted last: on a slow machine some more pass.
async fn refused(http: &Http, method: Method, path: &str, body: &Value) -> (Answer, u64) {
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut passed = 0;
    loop {
        let bytes = if body.is_null() { Bytes::new() } else { body.to_string().into() };
        let answer = http.send(method.clone(), path, bytes).await.unwrap();
        if answer.status.as_u16() == 429 {
            return (answer, passed);
        }
        assert!(Instant::now() < deadline, "the rate never refuses: {answer:?}");
        passed += 1;
    }
}

#[tokio::test]
async fn a_request_beyond_its_tokens_rate_is_429_and_changes_nothing() {
    let region = Region::start().await;
    let ada = of(&region, &token("ada"));
    assert_eq!(ada.run("INCR a").await, Ok(json!(1)));
    let pipeline = json!([["INCR", "a"], ["INCR", "free"], ["INCR", "a"], ["PING"]]);
    assert_eq!(ada.pipeline(pipeline.clone()).await[2], Ok(json!(3)));
    assert_eq!(ada.run("INCR a").await, Ok(json!(4)));
    // What has room for one has none for two.
    let (answer, pipelines) = refused(&ada, Method::POST, "/pipeline", &pipeline).await;
    let error = answer.refusal(429);
    assert!(error.starts_with("ERR Headwater: the rate of the token is used up"), "{error}");
    assert_eq!(answer.header("ratelimit-policy"), Some("\"grant-1\";q=5;w=3600"));
    let left = if pipelines == 0 { "\"grant-1\";r=1;t=" } else { "\"grant-1\";r=" };
    assert!(answer.header("ratelimit").unwrap().starts_with(left), "{answer:?}");
    let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=3_700).contains(&wait), "{wait}");
    let (_, singles) = refused(&ada, Method::POST, "/", &json!(["INCR", "a"])).await;
    assert!(singles > 0 || pipelines > 0, "there was room for one");
    for command in [json!(["GET", "a"]), json!(["SET", "ab", "x", "NX"])] {
        refused(&ada, Method::POST, "/", &command).await;
    }
    let (_, paths) = refused(&ada, Method::GET, "/incr/a", &Value::Null).await;
    // What was refused changed nothing.
    let passed = 4 + 2 * pipelines + singles + paths;
    assert_eq!(region.http().run("INCR a").await, Ok(json!(passed + 1)));
    // A grant without a rate goes on, and what is refused for another cause costs nothing.
    assert_eq!(ada.run("INCR free").await, Ok(json!(2 + pipelines)));
    assert_eq!(ada.run("PING").await, Ok(json!("PONG")));
}

#[tokio::test]
async fn a_rate_is_the_subjects_whichever_token_it_bears() {
    let region = Region::start().await;
    let (one, other) = (of(&region, &token("ada")), of(&region, &token("bob")));
    for count in 1..=5 {
        assert_eq!(one.run("INCR a").await, Ok(json!(count)));
    }
    // Signed anew, it is another token of the same subject.
    let again = of(
        &region,
        &signed(
            "new",
            "new",
            &json!({
                "exp": now().0 / 1000 + 700,
                "sub": "ada",
                "grants": [{"verbs": ["write"], "keys": ["a*"], "rate": {"limit": 5, "window_ms": 3_600_000}}],
            }),
        ),
    );
    let (_, passed) = refused(&again, Method::POST, "/", &json!(["INCR", "a"])).await;
    assert_eq!(other.run("INCR a").await, Ok(json!(6 + passed)));
    let check = json!({"key": "limit", "algorithm": "fixed", "limit": 9, "window_ms": 3_600_000, "on_error": "open"});
    assert_eq!(other.post("/v1/limit", check.to_string()).await.status.as_u16(), 200);
    let (answer, _) = refused(&other, Method::POST, "/v1/limit", &check).await;
    assert_eq!(answer.refusal(429).split(',').next(), Some("ERR Headwater: the rate of the token is used up"));
    // No client reaches what is counted.
    let key = "hw-rates::0:sub:ada";
    let error = region.http().command(json!(["DEL", key])).await.json()["error"].to_string();
    assert!(error.contains("another namespace's"), "{error}");
    let nameless = json!({"exp": now().0 / 1000 + 600, "grants": [
        {"verbs": ["read"], "keys": ["*"], "rate": {"limit": 5, "window_ms": 1000}}]});
    let error = of(&region, &signed("old", "old", &nameless)).command(json!(["GET", "a"])).await.refusal(401);
    assert!(error.contains("it must have sub or jti"), "{error}");
}

#[tokio::test]
async fn a_socket_may_do_what_is_granted_without_a_rate() {
    let region = Region::start().await;
    let mut socket = Socket::open(&region, &format!("/v1/leaf?token={}", token("ada")), &[]).await.unwrap();
    let hello = LeafToHub::Hello {
        client: ClientId(7),
        lifetime: Lifetime::Tab,
        resume: None,
        capabilities: Default::default(),
    };
    socket.send(&hello).await;
    let HubToLeaf::Welcome { session, watermark, .. } = socket.receive().await else { panic!("no welcome") };
    let mut leaf = Leaf { socket, session, watermark };
    let verdicts = leaf.operate(session, 1, vec![increment("a")]).await;
    assert_eq!(verdicts.refused, [(Seq(1), CommandError::KeyNotPermitted)]);
}
