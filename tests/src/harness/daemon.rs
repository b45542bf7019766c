//! The daemon, `origin-sync`.

use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use super::port::http_status;
use super::process::{Launch, Server};
use super::{Layout, Result};

/// How long a daemon may take to drain before its end counts as a failure.
const DRAIN_DEADLINE: Duration = Duration::from_secs(60);

/// Where the daemon keeps the reconciled state.
#[derive(Clone, Debug)]
pub enum Store {
    /// A Redis, by URL.
    Redis(String),
    /// The embedded store, by directory.
    Embedded(PathBuf),
}

/// How a [`Daemon`] is started.
#[derive(Clone, Debug)]
pub struct DaemonConfig {
    /// The base URLs of the edges that it dials.
    pub edges: Vec<String>,
    /// What proves to the edges that it is the origin.
    pub origin_token: String,
    /// Where it keeps the reconciled state.
    pub store: Store,
    /// The port on 127.0.0.1 of its health, metrics and status pages.
    pub listen_port: u16,
    /// How long after a commit that commit counts as stable where the store says nothing better, in milliseconds.
    pub loss_window_ms: u64,
    /// Which keys are a person's; none unless there is a pattern.
    pub erase_patterns: Vec<String>,
    /// The file that takes its output.
    pub log: PathBuf,
}

/// A running daemon; killed when dropped.
pub struct Daemon {
    port: u16,
    server: Server,
}

impl Daemon {
    /// Starts the daemon and returns when `GET /healthz` says 200.
    ///
    /// # Errors
    /// When it is not built, ends, or does not answer in time; with the end of its log.
    pub async fn start(layout: &Layout, config: DaemonConfig) -> Result<Self> {
        let mut arguments = vec!["run".to_owned()];
        let mut flag = |name: &str, value: String| arguments.extend([name.to_owned(), value]);
        for edge in config.edges {
            flag("--edge", edge);
        }
        flag("--origin-token", config.origin_token);
        match config.store {
            Store::Redis(url) => flag("--store", url),
            Store::Embedded(path) => flag("--data", path.display().to_string()),
        }
        flag("--listen", format!("127.0.0.1:{}", config.listen_port));
        flag("--loss-window-ms", config.loss_window_ms.to_string());
        for pattern in config.erase_patterns {
            flag("--erase-pattern", pattern);
        }
        let launch = Launch { name: "origin-sync", program: layout.origin_sync.clone(), arguments, log: config.log };
        let mut daemon = Self { port: config.listen_port, server: Server::spawn(launch)? };
        daemon.ready().await?;
        Ok(daemon)
    }

    /// Its own pages: `http://127.0.0.1:PORT`, without a trailing slash.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// SIGKILL: what it had not committed is lost to it.
    pub fn kill(&mut self) {
        self.server.kill();
    }

    /// SIGTERM, and waits until it has drained.
    ///
    /// # Errors
    /// When it is not running, or does not end in time; then it is killed.
    pub async fn terminate(&mut self) -> Result<ExitStatus> {
        self.server.terminate(DRAIN_DEADLINE).await
    }

    /// Kills it if it runs, and starts it again with the same arguments.
    ///
    /// # Errors
    /// As for [`Daemon::start`].
    pub async fn restart(&mut self) -> Result<()> {
        self.server.respawn()?;
        self.ready().await
    }

    async fn ready(&mut self) -> Result<()> {
        let port = self.port;
        self.server.ready(async || http_status(port, "/healthz").await == Some(200)).await
    }
}
