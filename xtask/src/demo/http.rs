//! JSON over plain HTTP on loopback: what the demo needs to talk to edges and the daemon. No TLS, no redirects, no cookies.

use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

/// How long one attempt may take.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);

/// One attempt that gave no answer to use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpError {
    /// The URL or a header is malformed: a mistake of the demo's own.
    #[error("cannot form the request")]
    Form(#[from] hyper::http::Error),
    /// No connection, or it broke.
    #[error("no connection")]
    Connect(#[from] hyper_util::client::legacy::Error),
    /// The answer broke off.
    #[error("the answer broke off")]
    Body(#[from] hyper::Error),
    /// Nothing within the time that one attempt may take.
    #[error("no answer within {} s", ATTEMPT_TIMEOUT.as_secs())]
    Timeout,
    /// The server answered with another status than 200.
    #[error("HTTP {status}: {body}")]
    Status {
        /// Its status.
        status: StatusCode,
        /// What it says about it.
        body: String,
    },
    /// The answer is not the JSON it should be.
    #[error("the answer is not JSON")]
    Json(#[from] serde_json::Error),
}

impl HttpError {
    /// Whether the same request may succeed later. The others will not.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::Form(_) => false,
            Self::Connect(_) | Self::Body(_) | Self::Timeout | Self::Json(_) => true,
            Self::Status { status, .. } => {
                let waits = [
                    StatusCode::REQUEST_TIMEOUT,
                    StatusCode::CONFLICT,
                    StatusCode::TOO_EARLY,
                    StatusCode::TOO_MANY_REQUESTS,
                ];
                status.is_server_error() || waits.contains(status)
            }
        }
    }
}

/// A connection pool to one server with its bearer token. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Http {
    base: String,
    authorization: String,
    client: Client<HttpConnector, Full<Bytes>>,
}

impl Http {
    /// `base` as in `http://127.0.0.1:8080`.
    pub(crate) fn new(base: &str, token: &str) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(ATTEMPT_TIMEOUT));
        Self {
            base: base.trim_end_matches('/').to_owned(),
            authorization: format!("Bearer {token}"),
            client: Client::builder(TokioExecutor::new()).build(connector),
        }
    }

    /// GETs JSON.
    pub(crate) async fn get(&self, path: &str) -> Result<Value, HttpError> {
        self.send(Method::GET, path, None, Bytes::new()).await
    }

    /// POSTs a JSON body once, under an idempotency key where the answer must not depend on how often it is sent.
    pub(crate) async fn post(
        &self,
        path: &str,
        idempotency_key: Option<&str>,
        body: Bytes,
    ) -> Result<Value, HttpError> {
        self.send(Method::POST, path, idempotency_key, body).await
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        idempotency_key: Option<&str>,
        body: Bytes,
    ) -> Result<Value, HttpError> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header("authorization", &self.authorization)
            .header("content-type", "application/json");
        if let Some(key) = idempotency_key {
            request = request.header("idempotency-key", key);
        }
        let request = request.body(Full::new(body))?;
        let exchange = async {
            let response = self.client.request(request).await?;
            let status = response.status();
            let bytes = response.into_body().collect().await?.to_bytes();
            if status != StatusCode::OK {
                return Err(HttpError::Status {
                    status,
                    body: String::from_utf8_lossy(&bytes).chars().take(300).collect(),
                });
            }
            Ok(serde_json::from_slice(&bytes)?)
        };
        match tokio::time::timeout(ATTEMPT_TIMEOUT, exchange).await {
            Ok(answer) => answer,
            Err(_elapsed) => Err(HttpError::Timeout),
        }
    }
}
