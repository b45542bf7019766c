//! A cluster of three masters, and a master with a replica under three sentinels, of Redis or of Valkey, all on loopback.
//!
//! They take a second or two to find each other, so the cases of one process share them, one after the other.

use super::{
    daemon::eventually,
    server::{DOWN_AFTER_MS, Program, RedisServer, free_port},
};
use headwater::slot::Slot;
use redis::{FromRedisValue, RedisResult, aio::MultiplexedConnection};
use std::{
    ops::RangeInclusive,
    time::{Duration, Instant},
};
use tokio::sync::{Mutex, MutexGuard};

pub struct RedisCluster {
    pub nodes: Vec<RedisServer>,
}

impl RedisCluster {
    /// Three masters with a third of the slots each, and as many replicas of the first as asked for.
    pub async fn start(program: Program, replicas: usize) -> Self {
        let mut nodes = Vec::new();
        for _ in 0..3 + replicas {
            nodes.push(RedisServer::start_program(program, cluster_flags).await);
        }
        let cluster = Self { nodes };
        for (index, node) in cluster.nodes.iter().enumerate() {
            ask::<()>(node, &["CLUSTER", "SET-CONFIG-EPOCH", &(index + 1).to_string()]).await;
            if let Some((first, last)) = [(0, 5460), (5461, 10922), (10923, 16383)].get(index) {
                ask::<()>(node, &["CLUSTER", "ADDSLOTSRANGE", &first.to_string(), &last.to_string()]).await;
            }
            if index > 0 {
                let (port, bus) = (cluster.nodes[0].port().to_string(), bus_port(&cluster.nodes[0]).await);
                ask::<()>(node, &["CLUSTER", "MEET", "127.0.0.1", &port, &bus]).await;
            }
        }
        let all = cluster.nodes.len();
        for node in &cluster.nodes {
            eventually("the nodes of the cluster know each other", async || {
                let known: String = ask(node, &["CLUSTER", "INFO"]).await;
                let is_whole = known.contains("cluster_state:ok") && known.contains("cluster_slots_ok:16384");
                (is_whole && known.contains(&format!("cluster_known_nodes:{all}"))).then_some(())
            })
            .await;
        }
        let master = id(&cluster.nodes[0]).await;
        for replica in cluster.nodes.iter().skip(3) {
            ask::<()>(replica, &["CLUSTER", "REPLICATE", &master]).await;
        }
        cluster
    }

    /// The one of that program which cases share, emptied.
    pub async fn shared(program: Program) -> MutexGuard<'static, Option<Self>> {
        static SHARED: [Mutex<Option<RedisCluster>>; Program::COUNT] =
            [const { Mutex::const_new(None) }; Program::COUNT];
        let mut shared = SHARED[program as usize].lock().await;
        match &*shared {
            Some(cluster) => cluster.flush().await,
            None => *shared = Some(Self::start(program, 0).await),
        }
        shared
    }

    pub fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(RedisServer::url).collect()
    }

    async fn flush(&self) {
        for node in &self.nodes {
            ask::<()>(node, &["FLUSHALL"]).await;
        }
    }

    /// Whose the slot is, as the index of a node.
    pub async fn owner(&self, slot: Slot) -> usize {
        for (index, node) in self.nodes.iter().enumerate() {
            let told: String = ask(node, &["CLUSTER", "NODES"]).await;
            if served(&told, "myself").any(|range| range.contains(&slot.get())) {
                return index;
            }
        }
        panic!("nobody serves {slot}");
    }

    /// Has a replica take its master's place in an orderly way.
    pub async fn promote(&self, replica: usize) {
        // Nodes that are held up give such an attempt up after five seconds, and nobody begins another.
        let mut begun: Option<Instant> = None;
        eventually("the replica is promoted", async || {
            let told: String = ask(&self.nodes[replica], &["INFO", "replication"]).await;
            if told.contains("role:master") {
                return Some(());
            }
            if begun.is_none_or(|begun| begun.elapsed() > Duration::from_secs(8)) {
                ask::<()>(&self.nodes[replica], &["CLUSTER", "FAILOVER"]).await;
                begun = Some(Instant::now());
            }
            None
        })
        .await;
    }

    /// Begins to move a slot: from now on its source lets keys go and asks others for what it lacks.
    pub async fn begin_move(&self, slot: Slot, to: usize) {
        let from = self.owner(slot).await;
        let (source, target) = (&self.nodes[from], &self.nodes[to]);
        let number = slot.get().to_string();
        ask::<()>(target, &["CLUSTER", "SETSLOT", &number, "IMPORTING", &id(source).await]).await;
        ask::<()>(source, &["CLUSTER", "SETSLOT", &number, "MIGRATING", &id(target).await]).await;
    }

    /// Takes the keys along and ends what was begun.
    pub async fn end_move(&self, slot: Slot, to: usize) {
        let from = self.owner(slot).await;
        let (source, target) = (&self.nodes[from], &self.nodes[to]);
        let number = slot.get().to_string();
        let port = target.port().to_string();
        loop {
            let keys: Vec<Vec<u8>> = ask(source, &["CLUSTER", "GETKEYSINSLOT", &number, "100"]).await;
            if keys.is_empty() {
                break;
            }
            let mut migrate = redis::cmd("MIGRATE");
            migrate.arg("127.0.0.1").arg(&port).arg("").arg(0).arg(5000).arg("KEYS").arg(keys);
            migrate.exec_async(&mut connection(source).await).await.unwrap();
        }
        let owner = id(target).await;
        for node in [target, source] {
            ask::<()>(node, &["CLUSTER", "SETSLOT", &number, "NODE", &owner]).await;
        }
        for node in &self.nodes {
            eventually("all know whose the slot is", async || {
                let told: String = ask(node, &["CLUSTER", "NODES"]).await;
                served(&told, &owner).any(|range| range.contains(&slot.get())).then_some(())
            })
            .await;
        }
    }
}

/// The slots of the node whose line of `CLUSTER NODES` has these words; those on their way are in brackets.
fn served(nodes: &str, words: &str) -> impl Iterator<Item = RangeInclusive<u16>> {
    let line = nodes.lines().find(|line| line.contains(words)).unwrap();
    line.split(' ').skip(8).filter_map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Some(first.parse().ok()?..=last.parse().ok()?)
    })
}

/// A master with one replica, and three sentinels who call it `mine`.
pub struct Watched {
    pub servers: [RedisServer; 2],
    pub sentinels: Vec<RedisServer>,
}

impl Watched {
    pub async fn start(program: Program) -> Self {
        let master = RedisServer::start_program(program, |_| Vec::new()).await;
        let port = master.port().to_string();
        let replica = RedisServer::start_program(program, |_| {
            ["--replicaof", "127.0.0.1", &port, "--repl-diskless-sync-delay", "0"].map(str::to_owned).into()
        })
        .await;
        let mut sentinels = Vec::new();
        for _ in 0..3 {
            sentinels.push(RedisServer::start_sentinel(program, master.port(), 0).await);
        }
        for sentinel in &sentinels {
            eventually("the sentinels know each other and the replica", async || {
                let told: Vec<String> = ask(sentinel, &["SENTINEL", "MASTER", "mine"]).await;
                let says = |name: &str, value: &str| told.chunks(2).any(|pair| pair == [name, value]);
                (says("num-other-sentinels", "2") && says("num-slaves", "1") && says("flags", "master")).then_some(())
            })
            .await;
        }
        let watched = Self { servers: [master, replica], sentinels };
        eventually("the replica has caught up", async || {
            let told: String = ask(&watched.servers[1], &["INFO", "replication"]).await;
            told.contains("master_link_status:up").then_some(())
        })
        .await;
        watched
    }

    /// The one of that program which cases share, emptied.
    pub async fn shared(program: Program) -> MutexGuard<'static, Option<Self>> {
        static SHARED: [Mutex<Option<Watched>>; Program::COUNT] = [const { Mutex::const_new(None) }; Program::COUNT];
        let mut shared = SHARED[program as usize].lock().await;
        match &*shared {
            Some(watched) => ask::<()>(&watched.servers[watched.master().await], &["FLUSHALL"]).await,
            None => *shared = Some(Self::start(program).await),
        }
        shared
    }

    pub fn urls(&self) -> Vec<String> {
        self.sentinels.iter().map(RedisServer::url).collect()
    }

    /// Which of the servers is the master, as the first sentinel says.
    pub async fn master(&self) -> usize {
        let words = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "mine"];
        let (_, port): (String, u16) = ask(&self.sentinels[0], &words).await;
        self.servers.iter().position(|server| server.port() == port).unwrap()
    }

    /// Has the other server promoted, in an orderly way.
    pub async fn fail_over(&self) {
        let before = self.master().await;
        // Refused as long as the sentinel has not heard from the replica lately.
        eventually("the failover begins", async || {
            try_ask::<()>(&self.sentinels[0], &["SENTINEL", "FAILOVER", "mine"]).await.ok()
        })
        .await;
        eventually("another server is the master", async || (self.master().await != before).then_some(())).await;
    }
}

pub async fn ask<T: FromRedisValue>(server: &RedisServer, words: &[&str]) -> T {
    try_ask(server, words).await.unwrap()
}

/// What it answers, or why not.
async fn try_ask<T: FromRedisValue>(server: &RedisServer, words: &[&str]) -> RedisResult<T> {
    let mut command = redis::Cmd::new();
    command.arg(words);
    command.query_async(&mut connection(server).await).await
}

async fn connection(server: &RedisServer) -> MultiplexedConnection {
    redis::Client::open(server.url()).unwrap().get_multiplexed_async_connection().await.unwrap()
}

async fn id(node: &RedisServer) -> String {
    ask(node, &["CLUSTER", "MYID"]).await
}

async fn bus_port(node: &RedisServer) -> String {
    let told: (String, String) = ask(node, &["CONFIG", "GET", "cluster-port"]).await;
    told.1
}

/// The bus has a port of its own, since the usual one, 10000 further, may not exist.
fn cluster_flags(_directory: &std::path::Path) -> Vec<String> {
    let (bus, down_after) = (free_port().to_string(), DOWN_AFTER_MS.to_string());
    ["--cluster-enabled", "yes", "--cluster-node-timeout", &down_after, "--cluster-port", &bus]
        .map(str::to_owned)
        .into()
}
