//! What an operator asks of a running daemon, over its own pages.

use crate::{clock, settings::RemoteConfig};
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, StatusCode, body::Bytes, header::AUTHORIZATION};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::Value;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// A daemon that is busier does not help its operator.
const ANSWER_DEADLINE: Duration = Duration::from_secs(15);

/// Longer than a daemon drains.
const DRAIN_DEADLINE_MS: i64 = 30_000;

/// A running daemon.
#[derive(Debug)]
pub struct Remote {
    config: RemoteConfig,
    client: Client<HttpConnector, Full<Bytes>>,
}

/// Why the daemon did not do it.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// Nobody answers at its address.
    #[error("no daemon answers: {0}")]
    Connect(#[from] hyper_util::client::legacy::Error),
    /// The request.
    #[error("the request is malformed: {0}")]
    Request(#[from] hyper::http::Error),
    /// The answer broke off.
    #[error("the daemon's answer broke off: {0}")]
    Body(#[from] hyper::Error),
    /// The answer is none of a daemon.
    #[error("the answer is none of this program: {0}")]
    Json(#[from] serde_json::Error),
    /// The daemon refuses.
    #[error("{1} ({0})")]
    Refused(StatusCode, String),
    /// It did not come in time.
    #[error("the daemon does not answer in time")]
    Timeout(#[from] tokio::time::error::Elapsed),
    /// It did not end.
    #[error("the daemon still runs")]
    StillThere,
}

impl Remote {
    /// Asks nothing yet.
    pub fn new(config: RemoteConfig) -> Self {
        Self { config, client: Client::builder(TokioExecutor::new()).build_http() }
    }

    /// The page of its status.
    ///
    /// # Errors
    /// As all of these: when the daemon is not there, or refuses.
    pub async fn status(&self) -> Result<Value, RemoteError> {
        self.ask(Method::GET, "/status", Bytes::new()).await
    }

    /// What its store has of a key.
    pub async fn inspect(&self, key: String) -> Result<Value, RemoteError> {
        self.ask(Method::POST, "/inspect", key.into()).await
    }

    /// Removes a foreign value.
    pub async fn resolve(&self, key: String) -> Result<Value, RemoteError> {
        self.ask(Method::POST, "/resolve", key.into()).await
    }

    /// Removes a person's keys.
    pub async fn erase(&self, subject: String) -> Result<Value, RemoteError> {
        self.ask(Method::POST, "/erase", subject.into()).await
    }

    /// Says that an edge has moved.
    pub async fn move_edge(&self, from: &str, to: &str) -> Result<Value, RemoteError> {
        let body = serde_json::json!({ "from": from, "to": to });
        self.ask(Method::POST, "/move-edge", body.to_string().into()).await
    }

    /// Has it end, and waits until nobody answers any more.
    pub async fn drain(&self) -> Result<(), RemoteError> {
        self.ask(Method::POST, "/drain", Bytes::new()).await?;
        let began = clock::now();
        while self.status().await.is_ok() {
            if clock::now().since_ms(began) > DRAIN_DEADLINE_MS {
                return Err(RemoteError::StillThere);
            }
            sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    async fn ask(&self, method: Method, path: &str, body: Bytes) -> Result<Value, RemoteError> {
        let request = Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.config.listen))
            .header(AUTHORIZATION, self.config.token.header())
            .body(Full::new(body))?;
        timeout(ANSWER_DEADLINE, async {
            let response = self.client.request(request).await?;
            let status = response.status();
            let body = response.into_body().collect().await?.to_bytes();
            let answer: Value = serde_json::from_slice(&body)?;
            if status == StatusCode::OK {
                return Ok(answer);
            }
            let error = answer.get("error").and_then(Value::as_str).unwrap_or("the daemon refuses");
            Err(RemoteError::Refused(status, error.to_owned()))
        })
        .await?
    }
}
