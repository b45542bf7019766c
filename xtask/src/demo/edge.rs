//! A client of one edge: pipelines that are retried under one idempotency key until they are answered, and the edge's own status.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hyper::body::Bytes;
use serde_json::Value;

use super::http::{Http, HttpError};
use super::plan::Command;

/// For how long a request is retried before the demo gives up on the edge.
const RETRY_DEADLINE: Duration = Duration::from_secs(60);
/// The longest pause before the second attempt; it doubles from there.
const PAUSE_FIRST: Duration = Duration::from_millis(50);
/// The longest pause before any attempt.
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// An edge as its clients see it. Cheap to clone; clones share the count of retries.
#[derive(Clone, Debug)]
pub(crate) struct EdgeClient {
    /// The region's name.
    pub(crate) region: String,
    http: Http,
    retries: Arc<AtomicU64>,
}

/// What an edge says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct EdgeStatus {
    /// Keys it holds.
    pub(crate) keys: u64,
    /// Operations that are not yet in the origin's store.
    pub(crate) pending: u64,
    /// Operations that the store could still lose.
    pub(crate) unstable: u64,
    /// Whether the daemon is connected to it.
    pub(crate) origin_connected: bool,
}

/// What an edge answers to one command.
pub(crate) type Reply = Result<Value, String>;

/// A request that an edge did not take.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EdgeError {
    /// Asked again and again, to no avail.
    #[error("edge {region} gave no answer to {what} in {} s and {attempts} attempts", RETRY_DEADLINE.as_secs())]
    Unavailable {
        /// Which edge.
        region: String,
        /// What was asked.
        what: String,
        /// How often.
        attempts: u32,
        /// What the last attempt came to.
        #[source]
        source: HttpError,
    },
    /// Asking again would not help.
    #[error("edge {region} refused {what}")]
    Refused {
        /// Which edge.
        region: String,
        /// What was asked.
        what: String,
        /// How it refused.
        #[source]
        source: HttpError,
    },
    /// The answer is JSON, but not the agreed one.
    #[error("edge {region} answered {what} with {answer}")]
    Answer {
        /// Which edge.
        region: String,
        /// What was asked.
        what: String,
        /// Its answer.
        answer: Value,
    },
}

impl EdgeClient {
    /// A client of the edge at `base`.
    pub(crate) fn new(region: &str, base: &str, token: &str) -> Self {
        Self { region: region.to_owned(), http: Http::new(base, token), retries: Arc::default() }
    }

    /// How many attempts had to be repeated so far.
    pub(crate) fn retries(&self) -> u64 {
        self.retries.load(Ordering::Relaxed)
    }

    /// Sends commands until they are answered; each has a reply of its own, in order.
    pub(crate) async fn pipeline(&self, idempotency_key: &str, commands: &[Command]) -> Result<Vec<Reply>, EdgeError> {
        let body =
            Bytes::from(Value::from_iter(commands.iter().map(|command| Value::from(command.as_slice()))).to_string());
        let what = || format!("the pipeline {idempotency_key}");
        let started = Instant::now();
        let mut pause = PAUSE_FIRST;
        let mut attempts = 0;
        let answer = loop {
            attempts += 1;
            let region = || self.region.clone();
            match self.http.post("/pipeline", Some(idempotency_key), body.clone()).await {
                Ok(answer) => break answer,
                Err(source) if !source.is_passing() => {
                    return Err(EdgeError::Refused { region: region(), what: what(), source });
                }
                Err(source) if started.elapsed() + pause > RETRY_DEADLINE => {
                    return Err(EdgeError::Unavailable { region: region(), what: what(), attempts, source });
                }
                Err(_passing) => {
                    self.retries.fetch_add(1, Ordering::Relaxed);
                    // Full jitter: the waiting connections must not come back all at once.
                    tokio::time::sleep(pause.mul_f64(fastrand::f64())).await;
                    pause = PAUSE_MAX.min(pause * 2);
                }
            }
        };
        let replies = answer.as_array().and_then(|all| all.iter().map(reply).collect::<Option<Vec<_>>>());
        match replies {
            Some(replies) if replies.len() == commands.len() => Ok(replies),
            _ => Err(EdgeError::Answer { region: self.region.clone(), what: what(), answer }),
        }
    }

    /// What the edge says about itself, asked once.
    pub(crate) async fn status(&self) -> Result<EdgeStatus, EdgeError> {
        let (region, what) = (self.region.clone(), "the question for its status".to_owned());
        let answer = match self.http.get("/v1/status").await {
            Ok(answer) => answer,
            Err(source) => return Err(EdgeError::Refused { region, what, source }),
        };
        // A number that is missing must not read as "nothing pending".
        EdgeStatus::read(&answer).ok_or(EdgeError::Answer { region, what, answer })
    }
}

impl EdgeStatus {
    fn read(answer: &Value) -> Option<Self> {
        let number = |name: &str| answer.get(name)?.as_u64();
        Some(Self {
            keys: number("keys")?,
            pending: number("pending")?,
            unstable: number("unstable")?,
            origin_connected: answer.get("origin_connected")?.as_bool()?,
        })
    }
}

/// `{"result":…}` or `{"error":"…"}`.
fn reply(answer: &Value) -> Option<Reply> {
    match (answer.get("result"), answer.get("error")) {
        (Some(result), None) => Some(Ok(result.clone())),
        (None, Some(error)) => Some(Err(error.as_str().map_or_else(|| error.to_string(), str::to_owned))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_status_without_its_numbers_is_no_status() {
        let whole = json!({ "region": "eu", "keys": 1, "pending": 2, "unstable": 3, "origin_connected": false });
        let expected = EdgeStatus { keys: 1, pending: 2, unstable: 3, origin_connected: false };
        assert_eq!(EdgeStatus::read(&whole), Some(expected));
        assert_eq!(EdgeStatus::read(&json!({ "region": "eu" })), None);
    }

    #[test]
    fn a_reply_is_a_result_or_an_error() {
        assert_eq!(reply(&json!({ "result": null })), Some(Ok(Value::Null)));
        assert_eq!(reply(&json!({ "error": "ERR no" })), Some(Err("ERR no".to_owned())));
        assert_eq!(reply(&json!({})), None);
    }
}
