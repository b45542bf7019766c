//! Rates that signed tokens bear: a request beyond its token's is 429 and changes nothing.

use headwater::command::CommandError;
use headwater::id::{ClientId, Seq};
use headwater::message::{HubToLeaf, LeafToHub, Lifetime};
use serde_json::{Value, json};

use super::http::Http;
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

#[tokio::test]
async fn a_request_beyond_its_tokens_rate_is_429_and_changes_nothing() {
    let region = Region::start().await;
    let ada = of(&region, &token("ada"));
    assert_eq!(ada.run("INCR a").await, Ok(json!(1)));
    let pipeline = json!([["INCR", "a"], ["INCR", "free"], ["INCR", "a"], ["PING"]]);
    assert_eq!(ada.pipeline(pipeline.clone()).await[2], Ok(json!(3)));
    assert_eq!(ada.run("INCR a").await, Ok(json!(4)));
    // What has room for one has none for two.
    let refused = ada.post("/pipeline", pipeline.to_string()).await;
    let error = refused.refusal(429);
    assert!(error.starts_with("ERR Headwater: the rate of the token is used up"), "{error}");
    assert_eq!(refused.header("ratelimit-policy"), Some("\"grant-1\";q=5;w=3600"));
    assert!(refused.header("ratelimit").unwrap().starts_with("\"grant-1\";r=1;t="), "{refused:?}");
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=3_700).contains(&wait), "{wait}");
    assert_eq!(ada.run("INCR a").await, Ok(json!(5)));
    for line in ["INCR a", "GET a", "SET ab x NX"] {
        let command = Value::from_iter(line.split(' '));
        assert_eq!(ada.command(command).await.status.as_u16(), 429, "{line}");
    }
    assert_eq!(ada.get("/incr/a").await.status.as_u16(), 429);
    assert_eq!(region.http().run("INCR a").await, Ok(json!(6)));
    // A grant without a rate goes on, and what is refused for another cause costs nothing.
    assert_eq!(ada.run("INCR free").await, Ok(json!(2)));
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
    assert_eq!(again.command(json!(["INCR", "a"])).await.status.as_u16(), 429);
    assert_eq!(other.run("INCR a").await, Ok(json!(6)));
    let check = json!({"key": "limit", "algorithm": "fixed", "limit": 9, "window_ms": 3_600_000, "on_error": "open"})
        .to_string();
    assert_eq!(other.post("/v1/limit", check.clone()).await.status.as_u16(), 200);
    assert_eq!(
        other.post("/v1/limit", check).await.refusal(429).split(',').next(),
        Some("ERR Headwater: the rate of the token is used up")
    );
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
