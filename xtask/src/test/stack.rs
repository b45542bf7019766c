//! The whole of Headwater, running for tests that are no Rust programs and are told by environment variables where it is.

use std::fs;
use std::time::Duration;

use anyhow::Result;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ed25519_compact::{KeyPair, Seed};
use headwater_tests::harness::{Edge, Redis};
use tokio::runtime::Runtime;

use crate::demo::cluster::{Cluster, ClusterConfig, REGIONS};
use crate::workspace::Workspace;

/// Short, so that a test need not wait long for an operation to count as stable.
const LOSS_WINDOW: Duration = Duration::from_secs(1);

/// The name of the key with which tests sign tokens.
const KID: &str = "test";

/// Dies when dropped, all of it.
pub(super) struct Stack {
    cluster: Cluster,
    /// Of the key with which tests sign tokens.
    signing_seed: String,
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
        let signing_seed = Seed::generate();
        let public_key = URL_SAFE_NO_PAD.encode(*KeyPair::from_seed(signing_seed).pk);
        let config = ClusterConfig {
            dir: &dir,
            port: 0,
            redis,
            append_only: false,
            loss_window: LOSS_WINDOW,
            token_key: Some((KID, &public_key)),
        };
        let cluster = runtime.block_on(Cluster::start(config))?;
        Ok(Self { cluster, signing_seed: URL_SAFE_NO_PAD.encode(*signing_seed), _runtime: runtime })
    }

    /// What www/tests is told.
    pub(super) fn environment(&self) -> [(&'static str, String); 6] {
        let urls = REGIONS.iter().zip(self.cluster.edges.iter().map(Edge::url));
        let urls: Vec<String> = urls.map(|(region, url)| format!("{region}={url}")).collect();
        [
            ("HEADWATER_TEST_EDGE_URLS", urls.join(",")),
            ("HEADWATER_TEST_TOKEN", self.cluster.token.clone()),
            ("HEADWATER_TEST_SIGNING_SEED", self.signing_seed.clone()),
            ("HEADWATER_TEST_REDIS", self.cluster.redis.as_ref().map(Redis::url).unwrap_or_default()),
            ("HEADWATER_TEST_DAEMON", self.cluster.daemon.url()),
            ("HEADWATER_TEST_LINKS", self.cluster.links.control().unwrap_or_default().to_owned()),
        ]
    }
}
