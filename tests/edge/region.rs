//! A region of its own for each test: a fresh directory, a free port, workerd.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use headwater_tests::harness::{Edge, EdgeConfig, Layout, free_port};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::http::Http;

pub(crate) const TOKEN: &str = "a client's token";
pub(crate) const ORIGIN_TOKEN: &str = "the origin's token";

/// How long a condition may take to come about.
const DEADLINE: Duration = Duration::from_secs(60);

/// A running edge. Its directory goes with it, unless the test fails.
pub(crate) struct Region {
    pub(crate) edge: Edge,
    dir: PathBuf,
}

impl Region {
    /// The region `eu`, alone.
    pub(crate) async fn start() -> Self {
        Self::named("eu", free_port().unwrap(), BTreeMap::new()).await
    }

    /// The region `eu`, alone, with what the operator sets beside.
    pub(crate) async fn with(name: &str, value: &str) -> Self {
        let variables = BTreeMap::from([(name.to_owned(), value.to_owned())]);
        Self::configured("eu", free_port().unwrap(), BTreeMap::new(), variables).await
    }

    /// A region with peers.
    pub(crate) async fn named(region: &str, port: u16, peers: BTreeMap<String, String>) -> Self {
        Self::configured(region, port, peers, BTreeMap::new()).await
    }

    async fn configured(
        region: &str,
        port: u16,
        peers: BTreeMap<String, String>,
        variables: BTreeMap<String, String>,
    ) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("headwater-edge-{}-{count}", std::process::id()));
        if dir.exists() {
            fs::remove_dir_all(&dir).unwrap();
        }
        let config = EdgeConfig {
            region: region.into(),
            dir: dir.clone(),
            port,
            token: TOKEN.into(),
            token_keys: super::tokens::public_keys(),
            origin_token: ORIGIN_TOKEN.into(),
            peers,
            variables,
        };
        let edge = Edge::start(&Layout::of_workspace(), config).await.unwrap();
        Self { edge, dir }
    }

    /// A client with the clients' token.
    pub(crate) fn http(&self) -> Http {
        self.stranger().with("authorization", &format!("Bearer {TOKEN}"))
    }

    /// A client with the origin's token.
    pub(crate) fn origin(&self) -> Http {
        self.stranger().with("authorization", &format!("Bearer {ORIGIN_TOKEN}"))
    }

    /// A client without a token.
    pub(crate) fn stranger(&self) -> Http {
        Http::new(&self.edge.url())
    }

    /// Where its objects are stored.
    pub(crate) fn objects(&self) -> PathBuf {
        self.dir.join("objects")
    }

    /// SIGKILL, and a new start over the same files.
    pub(crate) async fn kill_and_restart(&mut self) {
        self.edge.kill();
        self.edge.restart().await.unwrap();
    }

    /// What `GET /v1/status` says.
    pub(crate) async fn status(&self) -> Value {
        self.stranger().get("/v1/status").await.json()
    }

    /// Waits until the status has this value under `name`.
    pub(crate) async fn until(&self, name: &str, value: impl Into<Value>) {
        let value = value.into();
        let deadline = Instant::now() + DEADLINE;
        loop {
            let status = self.status().await;
            if status[name] == value {
                return;
            }
            assert!(Instant::now() < deadline, "{name} does not become {value}: {status}");
            sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        self.edge.kill();
        if !std::thread::panicking() {
            // Fails where it is gone already.
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}
