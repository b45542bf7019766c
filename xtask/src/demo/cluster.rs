//! The real parts: three edges, Redis or none, the daemon, and the links between edges and daemon. All die with the [`Cluster`].

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use headwater_tests::harness::{self, Daemon, DaemonConfig, Edge, EdgeConfig, Layout, Redis, RedisConfig, free_port};

use super::edge::EdgeClient;
use super::links::Links;
use super::store::Store;

/// The three regions. The page is opened at the first.
pub(crate) const REGIONS: [&str; 3] = ["eu", "us", "ap"];

/// How long the daemon may take to reach all edges at the start.
const CONNECT_DEADLINE: Duration = Duration::from_secs(90);

/// How to start a [`Cluster`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClusterConfig<'a> {
    /// Where everything is kept.
    pub(crate) dir: &'a Path,
    /// The first edge's port; any where it is 0.
    pub(crate) port: u16,
    /// Whether there is a Redis; else the daemon's embedded store.
    pub(crate) redis: bool,
    /// Whether Redis must come back with its data.
    pub(crate) append_only: bool,
    /// For how long a commit counts as unstable.
    pub(crate) loss_window: Duration,
    /// The public key of signed tokens that the edges accept, with its name, if they do.
    pub(crate) token_key: Option<(&'a str, &'a str)>,
}

/// The running parts.
pub(crate) struct Cluster {
    /// In the order of [`REGIONS`].
    pub(crate) edges: Vec<Edge>,
    /// The daemon.
    pub(crate) daemon: Daemon,
    /// The server, where the store is Redis.
    pub(crate) redis: Option<Redis>,
    /// The daemon's ways to the edges.
    pub(crate) links: Links,
    /// What the edges ask of their clients.
    pub(crate) token: String,
    origin_token: String,
}

impl Cluster {
    /// Starts all parts and returns when the daemon has reached every edge.
    pub(crate) async fn start(config: ClusterConfig<'_>) -> anyhow::Result<Self> {
        let layout = Layout::of_workspace();
        let (token, origin_token) = (secret(), secret());
        let redis = if config.redis { Some(start_redis(config).await?) } else { None };
        let edges = start_edges(&layout, config, &token, &origin_token).await?;
        let mut links = Links::default();
        let mut near_ends = Vec::new();
        for (region, edge) in REGIONS.iter().zip(&edges) {
            near_ends.push(links.lay(region, edge.address()).await?);
        }
        let store = match &redis {
            Some(redis) => harness::Store::Redis(redis.url()),
            None => harness::Store::Embedded(config.dir.join("store")),
        };
        let daemon = DaemonConfig {
            edges: near_ends,
            origin_token: origin_token.clone(),
            store,
            listen_port: free_port()?,
            loss_window_ms: u64::try_from(config.loss_window.as_millis())?,
            erase_patterns: vec![],
            log: config.dir.join("daemon.log"),
        };
        let daemon = Daemon::start(&layout, daemon).await.context("the daemon does not start")?;
        let mut cluster = Self { edges, daemon, redis, links, token, origin_token };
        cluster.connected().await?;
        let store = cluster.store()?;
        cluster.links.serve(store, &cluster.token).await?;
        Ok(cluster)
    }

    /// A client of each edge.
    pub(crate) fn clients(&self) -> Vec<EdgeClient> {
        REGIONS
            .iter()
            .zip(&self.edges)
            .map(|(region, edge)| EdgeClient::new(region, &edge.url(), &self.token))
            .collect()
    }

    /// A reader of the store.
    pub(crate) fn store(&self) -> anyhow::Result<Store> {
        Ok(match &self.redis {
            Some(redis) => Store::redis(&redis.url())?,
            None => Store::embedded(&self.daemon.url(), &self.origin_token),
        })
    }

    /// Where a person looks at it, with every edge to choose from.
    pub(crate) fn page(&self) -> String {
        let url = self.edges.first().map(Edge::url).unwrap_or_default();
        let edges: Vec<String> =
            REGIONS.iter().zip(&self.edges).map(|(region, edge)| format!("{region}={}", edge.url())).collect();
        let links = self.links.control().map(|control| format!("&links={control}")).unwrap_or_default();
        format!("{url}/?edges={}&token={}{links}", edges.join(","), self.token)
    }

    /// How a person reads the store.
    pub(crate) fn read_commands(&self, session: &str, visitors: &str) -> String {
        let commands = [
            "ZRANGE board:paths 0 9 REV WITHSCORES".to_owned(),
            format!("HGETALL {session}"),
            format!("SCARD {visitors}"),
            format!("TTL {session}"),
        ];
        let line = |command: &String| match &self.redis {
            Some(redis) => format!("  redis-cli -p {} {command}\n", redis.url().rsplit(':').next().unwrap_or_default()),
            None => {
                let words = serde_json::Value::from_iter(command.split(' '));
                let (url, token) = (self.daemon.url(), &self.origin_token);
                format!("  curl -s {url}/command -H 'Authorization: Bearer {token}' -d '{words}'\n")
            }
        };
        commands.iter().map(line).collect()
    }

    async fn connected(&self) -> anyhow::Result<()> {
        let started = Instant::now();
        for client in self.clients() {
            loop {
                let status = client.status().await;
                if status.as_ref().is_ok_and(|status| status.origin_connected) {
                    break;
                }
                if started.elapsed() > CONNECT_DEADLINE {
                    let status = status
                        .map(|status| format!("{status:?}"))
                        .unwrap_or_else(|error| format!("{:#}", anyhow::Error::from(error)));
                    bail!(
                        "the daemon has not reached edge {} in {} s; the edge says: {status}",
                        client.region,
                        CONNECT_DEADLINE.as_secs()
                    );
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        Ok(())
    }
}

async fn start_redis(config: ClusterConfig<'_>) -> anyhow::Result<Redis> {
    let config = RedisConfig { dir: config.dir.join("redis"), port: free_port()?, append_only: config.append_only };
    Redis::start(config).await.context("Redis does not start")
}

async fn start_edges(
    layout: &Layout,
    config: ClusterConfig<'_>,
    token: &str,
    origin_token: &str,
) -> anyhow::Result<Vec<Edge>> {
    let mut ports = Vec::new();
    for index in 0..REGIONS.len() {
        ports.push(if index == 0 && config.port != 0 { config.port } else { free_port()? });
    }
    let addresses = || REGIONS.iter().zip(&ports);
    let mut edges = Vec::new();
    for (region, port) in addresses() {
        let others = addresses().filter(|(other, _)| *other != region);
        let peers: BTreeMap<String, String> =
            others.map(|(other, port)| ((*other).to_owned(), format!("http://127.0.0.1:{port}"))).collect();
        let edge = EdgeConfig {
            region: (*region).to_owned(),
            dir: config.dir.join(region),
            port: *port,
            token: token.to_owned(),
            token_keys: config.token_key.map(|(kid, key)| (kid.to_owned(), key.to_owned())).into_iter().collect(),
            origin_token: origin_token.to_owned(),
            peers,
            variables: BTreeMap::new(),
        };
        edges.push(Edge::start(layout, edge).await.with_context(|| format!("edge {region} does not start"))?);
    }
    Ok(edges)
}

/// Only processes of this machine can reach the parts; this keeps other pages in a browser of its out.
fn secret() -> String {
    format!("{:032x}", fastrand::u128(..))
}
