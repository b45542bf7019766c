//! A client of one edge over HTTP, which keeps its connections as real ones do.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use tokio::time::timeout;

/// More than the edge itself takes to give up.
const ANSWER_DEADLINE: Duration = Duration::from_secs(90);

/// How long a connection is kept that nothing is asked by: less than the five seconds after which workerd closes it, or a
/// request might be on its way just then.
const IDLE_MAX: Duration = Duration::from_secs(2);

/// A client that sends these headers with every request.
#[derive(Clone)]
pub(crate) struct Http {
    base: String,
    headers: HeaderMap,
    client: Client<HttpConnector, Full<Bytes>>,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Http {
    pub(crate) fn new(base: &str) -> Self {
        let client = Client::builder(TokioExecutor::new()).pool_idle_timeout(IDLE_MAX).build_http();
        Self { base: base.to_owned(), headers: HeaderMap::new(), client }
    }

    /// The same client with one more header.
    pub(crate) fn with(&self, name: &'static str, value: &str) -> Self {
        let mut with = self.clone();
        with.headers.insert(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        with
    }

    /// One command, `POST /`.
    pub(crate) async fn command(&self, command: Value) -> Answer {
        self.post("/", command.to_string()).await
    }

    /// The reply to one command, written as a line with single spaces between the arguments.
    pub(crate) async fn run(&self, line: &str) -> Result<Value, String> {
        self.command(Value::from_iter(line.split(' '))).await.reply()
    }

    /// The replies to a pipeline.
    pub(crate) async fn pipeline(&self, commands: Value) -> Vec<Result<Value, String>> {
        let answer = self.post("/pipeline", commands.to_string()).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        answer.json().as_array().unwrap().iter().map(reply).collect()
    }

    pub(crate) async fn post(&self, path: &str, body: impl Into<Bytes>) -> Answer {
        self.send(Method::POST, path, body.into()).await.unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, Bytes::new()).await.unwrap()
    }

    /// One request, or why there was no answer to it.
    pub(crate) async fn send(&self, method: Method, path: &str, body: Bytes) -> Result<Answer, String> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        request.headers_mut().unwrap().extend(self.headers.clone());
        let exchange = async {
            let response =
                self.client.request(request.body(Full::new(body)).unwrap()).await.map_err(|e| e.to_string())?;
            let (head, body) = response.into_parts();
            let body = body.collect().await.map_err(|e| e.to_string())?.to_bytes();
            Ok(Answer { status: head.status, headers: head.headers, body })
        };
        timeout(ANSWER_DEADLINE, exchange).await.map_err(|elapsed| elapsed.to_string())?
    }
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// `{"result": …}` or `{"error": "…"}`, whose status must fit.
    pub(crate) fn reply(&self) -> Result<Value, String> {
        let reply = reply(&self.json());
        assert_eq!(reply.is_ok(), self.status == StatusCode::OK, "{self:?}");
        reply
    }

    /// The error of a request that was refused with this status.
    pub(crate) fn refusal(&self, status: u16) -> String {
        assert_eq!(self.status.as_u16(), status, "{self:?}");
        reply(&self.json()).unwrap_err()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(crate) fn is_provisional(&self) -> bool {
        self.header("headwater-provisional") == Some("true")
    }
}

fn reply(answer: &Value) -> Result<Value, String> {
    let object = answer.as_object().unwrap();
    assert_eq!(object.len(), 1, "{answer}");
    match (object.get("result"), object.get("error")) {
        (Some(result), None) => Ok(result.clone()),
        (None, Some(error)) => Err(error.as_str().unwrap().to_owned()),
        _ => panic!("{answer}"),
    }
}
