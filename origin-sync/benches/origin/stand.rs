//! A Redis on one core, a hub, and the daemon between them.

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
    pub edge: Edge,
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
    pub async fn new() -> Self {
        let edge = Edge::start().await;
        let url = edge.url();
        Self::of(edge, &url).await
    }

    /// The daemon reaches the edge at this address.
    pub async fn of(edge: Edge, url: &str) -> Self {
        let redis = RedisServer::start().await;
        let pid = redis.pid().unwrap().to_string();
        let pinned = Command::new("taskset").args(["-acp", "0", &pid]).output().unwrap();
        assert!(pinned.status.success(), "taskset: {}", String::from_utf8_lossy(&pinned.stderr));
        let directory = tempfile::tempdir().unwrap();
        let daemon = Daemon::start(url, ["--store", redis.url().as_str()], &directory.path().join("log"));
        eventually("the daemon is ready", async || daemon.get("/readyz").await.filter(|(status, _)| *status == 200))
            .await;
        let plain = Plain::connect(&redis).await;
        Self { redis, edge, plain, daemon, _directory: directory }
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

    /// Until Redis has all that the hub executed.
    pub async fn settled(&self) {
        eventually("all is committed", async || (self.edge.status().pending == 0).then_some(())).await;
    }

    /// The daemon's memory, in bytes, where the system tells.
    pub async fn daemon_bytes(&self) -> Option<f64> {
        let (_, metrics) = self.daemon.get("/metrics").await?;
        metrics.lines().find_map(|line| line.strip_prefix("headwater_resident_bytes ")?.parse().ok())
    }
}
