//! The scenarios' API, through workerd and the daemon to Redis: at two regions of one origin, beside a plain client, and with the
//! origin away.

#[path = "scenarios/cache.rs"]
mod cache;
#[path = "scenarios/erasure.rs"]
mod erasure;
#[path = "scenarios/flags.rs"]
mod flags;
#[path = "scenarios/jobs.rs"]
mod jobs;
#[path = "scenarios/locks.rs"]
mod locks;
#[path = "scenarios/metrics.rs"]
mod metrics;
#[path = "scenarios/once.rs"]
mod once;
#[path = "scenarios/presence.rs"]
mod presence;
#[path = "scenarios/sessions.rs"]
mod sessions;
#[path = "scenarios/tokens_denied.rs"]
mod tokens_denied;

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::join;
use tokio::time::{Instant, sleep};

use super::http::{Answer, Http};
use super::region::Region;
use super::setup::TwoRegions;
use super::socket::now;
use super::tokens;

const AWAY: &str = "ERR Headwater: the origin is away and this edge does not hold the key";
const DEADLINE: Duration = Duration::from_secs(60);

impl TwoRegions {
    fn http(&self) -> [Http; 2] {
        [0, 1].map(|region: usize| self.regions[region].http())
    }

    /// The daemon goes, and both edges notice.
    async fn part(&mut self) {
        self.daemon.kill();
        for region in &self.regions {
            region.until("origin_connected", false).await;
        }
    }

    /// The daemon comes back.
    async fn meet(&mut self) {
        self.daemon.restart().await.unwrap();
        for region in &self.regions {
            region.until("origin_connected", true).await;
        }
    }
}

async fn ask(http: &Http, verb: &str, body: Value) -> Answer {
    http.post(&format!("/v1/{verb}"), body.to_string()).await
}

/// What a call answers that must succeed.
async fn ok(http: &Http, verb: &str, body: Value) -> Value {
    let answer = ask(http, verb, body).await;
    assert!(answer.status.is_success(), "{verb}: {answer:?}");
    answer.json()
}

/// Asks until the answer is as it should be.
async fn until(http: &Http, verb: &str, body: Value, is_right: impl Fn(&Answer) -> bool) -> Answer {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let answer = ask(http, verb, body.clone()).await;
        if is_right(&answer) {
            return answer;
        }
        assert!(Instant::now() < deadline, "{verb} {body}: {answer:?}");
        sleep(Duration::from_millis(10)).await;
    }
}

async fn created(http: &Http, subject: &str) -> Value {
    let body = json!({"subject": subject, "ttl_ms": 600_000, "data": {"role": "admin"}});
    let answer = ask(http, "sessions/create", body).await;
    assert_eq!(answer.status.as_u16(), 201, "{answer:?}");
    let body = answer.json();
    assert_eq!(body["subject"], json!(subject));
    body["session"].clone()
}

fn assert_inactive(answer: &Answer, reason: &str) {
    assert_eq!((answer.status.as_u16(), answer.json()), (404, json!({"active": false, "reason": reason})));
}

/// An edge without its origin, which knows that ada has never revoked anything.
async fn alone() -> Region {
    let region = Region::start().await;
    know(&region.http(), "session:{ada}").await;
    region
}

/// Makes an edge without its origin know that a key is absent.
async fn know(http: &Http, key: &str) {
    for line in [format!("SET {key} v"), format!("DEL {key}")] {
        http.run(&line).await.unwrap();
    }
}
