//! The built daemon and a small OpenTelemetry collector in this process: the spans of what it did arrive there.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(
    missing_docs,
    unreachable_pub,
    dead_code,
    reason = "nothing here is for others, and some of it for other tests"
)]

mod support;

use axum::{Router, body::Bytes, extract::State, http::HeaderMap, http::StatusCode, routing::post};
use std::{
    collections::BTreeMap,
    path::Path,
    process::{Command, Stdio},
    sync::{Arc, Mutex},
};
use support::{
    daemon::{Daemon, eventually},
    edge::{Edge, TOKEN},
    server::free_port,
};
use tokio::{net::TcpListener, task::JoinSet};

/// What arrived: bodies, and the content type and a header of the last.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Arrived>>);

#[derive(Default)]
struct Arrived {
    bodies: Vec<Bytes>,
    content_type: String,
    key: String,
}

impl Collector {
    /// Takes spans at `/v1/traces` of the URL that it gives.
    async fn start() -> (Self, String, JoinSet<()>) {
        let collector = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().route("/v1/traces", post(take)).with_state(collector.clone());
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { axum::serve(listener, router).await.unwrap() });
        (collector, url, tasks)
    }

    /// The spans so far by name, how many of each.
    fn spans(&self) -> BTreeMap<String, usize> {
        let mut spans = BTreeMap::new();
        for body in &self.0.lock().unwrap().bodies {
            // ExportTraceServiceRequest: resource_spans = 1; of these scope_spans = 2; of these spans = 2; of these name = 5.
            for span in within(&[body], 1).iter().flat_map(|part| within(&within(&[part], 2), 2)) {
                let name = within(&[span], 5).first().map(|name| String::from_utf8_lossy(name).into_owned());
                *spans.entry(name.unwrap()).or_default() += 1;
            }
        }
        spans
    }

    /// Whether the text stands anywhere in what arrived.
    fn has(&self, text: &str) -> bool {
        let arrived = self.0.lock().unwrap();
        arrived.bodies.iter().any(|body| body.windows(text.len()).any(|part| part == text.as_bytes()))
    }
}

async fn take(State(collector): State<Collector>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let mut arrived = collector.0.lock().unwrap();
    (arrived.content_type, arrived.key) = (header("content-type"), header("api-key"));
    arrived.bodies.push(body);
    StatusCode::OK
}

/// The length-delimited fields of this number in messages of Protocol Buffers.
fn within<'a>(messages: &[&'a [u8]], wanted: u64) -> Vec<&'a [u8]> {
    fn varint(bytes: &mut &[u8]) -> u64 {
        let (mut value, mut shift) = (0, 0);
        loop {
            let (first, rest) = bytes.split_first().expect("a whole number");
            *bytes = rest;
            value |= u64::from(first & 0x7f) << shift;
            shift += 7;
            if first & 0x80 == 0 {
                return value;
            }
        }
    }
    let mut fields = Vec::new();
    for message in messages {
        let mut rest = *message;
        while !rest.is_empty() {
            let tag = varint(&mut rest);
            let length = match tag & 7 {
                0 => {
                    varint(&mut rest);
                    continue;
                }
                1 => 8,
                5 => 4,
                2 => usize::try_from(varint(&mut rest)).unwrap(),
                kind => panic!("no kind of field: {kind}"),
            };
            let (field, after) = rest.split_at(length);
            if tag >> 3 == wanted {
                fields.push(field);
            }
            rest = after;
        }
    }
    fields
}

fn arguments(directory: &Path, more: &[&str]) -> Vec<String> {
    let data = directory.join("data").display().to_string();
    ["--data", &data].iter().chain(more).map(|word| (*word).to_owned()).collect()
}

async fn settled(edge: &Edge) {
    eventually("all is committed", async || {
        let status = edge.status();
        (status.is_origin_connected && status.pending == 0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spans_of_a_commit_arrive_also_those_of_the_last_moment() {
    let (collector, url, _serving) = Collector::start().await;
    let (edge, directory) = (Edge::start().await, tempfile::tempdir().unwrap());
    let arguments = arguments(directory.path(), &["--otlp-endpoint", &format!("{url}/")]);
    let mut daemon = Daemon::start(&edge.url(), arguments.iter().map(String::as_str), &directory.path().join("log"));
    edge.execute(&["INCR", "a key that nobody is told of"]).unwrap();
    settled(&edge).await;
    // Without waiting for the exporter's next round: what is left is sent at the end.
    assert!(daemon.terminate().await.success());
    let spans = collector.spans();
    for name in ["hub.dial", "hub.connection", "hub.batch", "store.load", "store.commit"] {
        assert!(spans.contains_key(name), "no {name} among {spans:?}");
    }
    assert!(collector.has("origin-sync") && collector.has("test/0") && collector.has("committed"));
    assert!(!collector.has("nobody is told"), "a span bears a key");
    assert_eq!(collector.0.lock().unwrap().content_type, "application/x-protobuf");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_variables_of_opentelemetry_count() {
    let (collector, url, _serving) = Collector::start().await;
    let (edge, directory) = (Edge::start().await, tempfile::tempdir().unwrap());
    let start = |endpoint: &str, disabled: &str| {
        let port = free_port();
        Command::new(env!("CARGO_BIN_EXE_origin-sync"))
            .args(["run", "--edge", &edge.url(), "--listen", &format!("127.0.0.1:{port}")])
            .args(arguments(directory.path(), &[]))
            .env("HEADWATER_ORIGIN_TOKEN", TOKEN)
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
            .env("OTEL_SERVICE_NAME", "beside-redis")
            .env("OTEL_EXPORTER_OTLP_HEADERS", "api-key=secret")
            .env("OTEL_SDK_DISABLED", disabled)
            .env("OTEL_BSP_SCHEDULE_DELAY", "50")
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    };
    let mut disabled = start(&url, "true");
    edge.execute(&["INCR", "visits"]).unwrap();
    settled(&edge).await;
    disabled.kill().unwrap();
    disabled.wait().unwrap();
    assert!(collector.spans().is_empty());

    let mut daemon = start(&url, "false");
    eventually("a span arrives while the daemon runs", async || {
        edge.execute(&["INCR", "visits"]).unwrap();
        collector.spans().contains_key("store.commit").then_some(())
    })
    .await;
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    assert!(collector.has("beside-redis"));
    assert_eq!(collector.0.lock().unwrap().key, "secret");
}

/// Commits do not wait for a collector that is away, and the end of the daemon not for long.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_is_away_holds_nothing_up() {
    let (edge, directory) = (Edge::start().await, tempfile::tempdir().unwrap());
    let arguments = arguments(directory.path(), &["--otlp-endpoint", "http://127.0.0.1:1"]);
    let log = directory.path().join("log");
    let mut daemon = Daemon::start(&edge.url(), arguments.iter().map(String::as_str), &log);
    for _ in 0..100 {
        edge.execute(&["INCR", "visits"]).unwrap();
    }
    settled(&edge).await;
    assert!(daemon.terminate().await.success());
}
