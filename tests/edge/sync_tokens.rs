//! Session tokens are signed: one that is made up is refused at once, and the secrets can be changed.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::json;
use std::time::{Duration, Instant};
use tokio::join;

use super::http::Http;
use super::region::Region;

const SYNC_TOKEN: &str = "upstash-sync-token";
const OLD: &str = "the secret of before";
const NEW: &str = "the secret of today";

/// A token of a client that has written something.
async fn token_of(region: &Region) -> String {
    let answer = region.http().with(SYNC_TOKEN, "").command(json!(["SET", "k", "v"])).await;
    answer.header(SYNC_TOKEN).unwrap().to_owned()
}

/// With which status the bearer of a token is answered on a key of which it has seen nothing.
async fn status(http: &Http, token: &str) -> u16 {
    http.with(SYNC_TOKEN, token).command(json!(["SET", "other", "v"])).await.status.as_u16()
}

#[tokio::test]
async fn what_was_changed_or_made_up_is_refused_before_it_waits_for_anything() {
    let region = Region::start().await;
    let token = token_of(&region).await;
    assert_eq!(status(&region.http(), &token).await, 200);
    let bytes = URL_SAFE_NO_PAD.decode(token.strip_prefix("hw1.").unwrap()).unwrap();
    let mut changed = bytes.clone();
    // The date comes first; what is said of the hub follows.
    changed[8] ^= 1;
    let encoded = |bytes: &[u8]| format!("hw1.{}", URL_SAFE_NO_PAD.encode(bytes));
    // Refused at once: what waits for the origin takes seconds each time, and a machine that stood still does so once.
    let mut soonest = Duration::MAX;
    for forged in [encoded(&changed), encoded(&bytes[..bytes.len() - 16]), token.replace("hw1.", "hw0."), "x".into()] {
        let begun = Instant::now();
        let http = region.http().with(SYNC_TOKEN, &forged);
        let refused = http.command(json!(["SET", "k", "w"])).await.refusal(400);
        assert!(refused.contains("Upstash-Sync-Token cannot be read, or no secret in force signed it"), "{refused}");
        let refused = http.post("/v1/metrics/add", r#"{"metric":"hits"}"#).await.refusal(400);
        assert!(refused.contains("Upstash-Sync-Token"), "{refused}");
        soonest = soonest.min(begun.elapsed());
    }
    assert!(soonest < Duration::from_secs(4), "{soonest:?}");
    assert_eq!(region.http().run("GET k").await, Ok(json!("v")));
}

#[tokio::test]
async fn tokens_of_two_secrets_are_accepted_until_one_is_taken_out() {
    let (before, between, after) = (OLD.to_owned(), format!("{NEW},{OLD}"), NEW.to_owned());
    let start = |secrets: String| async move { Region::with("HEADWATER_SYNC_SECRETS", &secrets).await };
    let (before, between, after) = join!(start(before), start(between), start(after));
    let (by_old, by_new) = (token_of(&before).await, token_of(&between).await);
    let statuses = async |token: &str| {
        [status(&before.http(), token).await, status(&between.http(), token).await, status(&after.http(), token).await]
    };
    assert_eq!(statuses(&by_old).await, [200, 200, 400]);
    assert_eq!(statuses(&by_new).await, [400, 200, 200]);
}

#[tokio::test]
async fn secrets_that_are_none_are_told_and_not_shown() {
    let region = Region::with("HEADWATER_SYNC_SECRETS", "short").await;
    let refused = region.http().with(SYNC_TOKEN, "").command(json!(["SET", "k", "v"])).await.refusal(503);
    assert!(refused.contains("HEADWATER_SYNC_SECRETS is wrong") && !refused.contains("short\""), "{refused}");
}
