//! A Redis on one core, hubs, and the daemon between them.

use crate::support::{
    bed::Plain,
    daemon::{Daemon, eventually},
    edge::Edge,
    server::RedisServer,
};
use std::process::Command;
use tempfile::TempDir;

pub struct Stand {
    pub redis: RedisServer,
    pub edges: Vec<Edge>,
    pub plain: Plain,
    daemon: Daemon,
    _directory: TempDir,
}

/// What Redis counted so far.
pub struct Calls {
    /// Commits, and transactions that load.
    pub calls: u64,
    /// Every command, those within a call and a transaction too.
    pub commands: u64,
}

impl Stand {
    /// With so many edges of one hub each.
    pub async fn new(hubs: usize) -> Self {
        let mut edges = Vec::new();
        for hub in 0..hubs {
            edges.push(Edge::with_hub(&format!("test/{hub}")).await);
        }
        let urls: Vec<String> = edges.iter().map(Edge::url).collect();
        Self::of(edges, &urls).await
    }

    /// The daemon reaches the edges at these addresses.
    pub async fn of(edges: Vec<Edge>, urls: &[String]) -> Self {
        let redis = RedisServer::start().await;
        let pid = redis.pid().unwrap().to_string();
        let pinned = Command::new("taskset").args(["-acp", "0", &pid]).output().unwrap();
        assert!(pinned.status.success(), "taskset: {}", String::from_utf8_lossy(&pinned.stderr));
        let directory = tempfile::tempdir().unwrap();
        let [first, others @ ..] = urls else { panic!("a stand has an edge") };
        let store = redis.url();
        let others = others.iter().flat_map(|url| ["--edge", url]);
        let daemon = Daemon::start(first, others.chain(["--store", &store]), &directory.path().join("log"));
        eventually("the daemon is ready", async || daemon.get("/readyz").await.filter(|(status, _)| *status == 200))
            .await;
        let plain = Plain::connect(&redis).await;
        Self { redis, edges, plain, daemon, _directory: directory }
    }

    pub async fn calls(&self) -> Calls {
        let of = |text: &str, name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("0");
            line.split(',').next().unwrap().trim().parse::<u64>().unwrap()
        };
        let by_command: String = self.plain.ask(&["INFO", "commandstats"]).await;
        let all: String = self.plain.ask(&["INFO", "stats"]).await;
        let calls = ["fcall", "multi"].map(|name| of(&by_command, &format!("cmdstat_{name}:calls=")));
        Calls { calls: calls.into_iter().sum(), commands: of(&all, "total_commands_processed:") }
    }

    /// Until Redis has all that the hubs executed.
    pub async fn settled(&self) {
        let is_settled = || self.edges.iter().all(|edge| edge.handle().is_settled());
        eventually("all is committed", async || is_settled().then_some(())).await;
    }

    /// The daemon's memory, in bytes, where the system tells.
    pub async fn daemon_bytes(&self) -> Option<f64> {
        let (_, metrics) = self.daemon.get("/metrics").await?;
        metrics.lines().find_map(|line| line.strip_prefix("headwater_resident_bytes ")?.parse().ok())
    }
}
