//! The whole of Headwater, running for tests that are no Rust programs and are told by environment variables where it is.

use std::fs;
use std::time::Duration;

use anyhow::Result;
use headwater_tests::harness::{Edge, Redis};
use tokio::runtime::Runtime;

use crate::demo::cluster::{Cluster, ClusterConfig, REGIONS};
use crate::workspace::Workspace;

/// Short, so that a test need not wait long for an operation to count as stable.
const LOSS_WINDOW: Duration = Duration::from_secs(1);

/// Dies when dropped, all of it.
pub(super) struct Stack {
    cluster: Cluster,
    _runtime: Runtime,
}

impl Stack {
    /// Starts it empty. The logs are under target/xtask/stack until the next one starts.
    pub(super) fn start(workspace: &Workspace) -> Result<Self> {
        let dir = workspace.scratch("stack");
        if dir.exists() {
            fs::remove_dir_all(&dir)?;
        }
        let runtime = Runtime::new()?;
        let redis = Redis::available();
        let config = ClusterConfig { dir: &dir, port: 0, redis, append_only: false, loss_window: LOSS_WINDOW };
        let cluster = runtime.block_on(Cluster::start(config))?;
        Ok(Self { cluster, _runtime: runtime })
    }

    /// What www/tests is told.
    pub(super) fn environment(&self) -> [(&'static str, String); 3] {
        let urls = REGIONS.iter().zip(self.cluster.edges.iter().map(Edge::url));
        let urls: Vec<String> = urls.map(|(region, url)| format!("{region}={url}")).collect();
        [
            ("HEADWATER_TEST_EDGE_URLS", urls.join(",")),
            ("HEADWATER_TEST_TOKEN", self.cluster.token.clone()),
            ("HEADWATER_TEST_LINKS", self.cluster.links.control().unwrap_or_default().to_owned()),
        ]
    }
}
