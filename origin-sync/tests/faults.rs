//! Faults under load: parts are killed, stopped and misused while a hub takes operations, and in the end Redis holds each
//! operation that was acknowledged, once.
//!
//! The hub and its edge are in this process, the daemon and the servers are real. Each case prints what it counted and how
//! long it took from the end of the fault until Redis held everything.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(missing_docs, unreachable_pub, reason = "nothing here is for others")]

mod support;

use headwater::{command::Reply, slot::Slot};
use std::{
    cell::Cell,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};
use support::{
    bed::{Clustered, Plain},
    cluster::{RedisCluster, Watched, ask},
    daemon::{Daemon, eventually},
    edge::{Edge, TOKEN},
    proxy::Proxy,
    say::bytes,
    server::{Program, RedisServer},
};
use tempfile::TempDir;

/// Each in a slot of its own.
const COUNTERS: usize = 10;

/// How long the load runs before the fault.
const BEFORE: Duration = Duration::from_millis(300);

/// What the hub acknowledged.
#[derive(Default)]
struct Ledger {
    counts: [u64; COUNTERS],
    members: u64,
    /// Jobs for each of two lists and a stream.
    jobs: u64,
    healed: Duration,
}

impl Ledger {
    fn operations(&self) -> u64 {
        self.counts.iter().sum::<u64>() + self.members
    }
}

struct Setup {
    edge: Edge,
    daemon: Daemon,
    directory: TempDir,
    arguments: Vec<String>,
}

impl Setup {
    async fn new(arguments: &[&str]) -> Self {
        let edge = Edge::start().await;
        let directory = tempfile::tempdir().unwrap();
        let arguments = [arguments, &["--daemon-name", "the only one"]].concat();
        let daemon = Daemon::start(&edge.url(), arguments.iter().copied(), &directory.path().join("log"));
        eventually("the daemon is ready", async || {
            daemon.get("/readyz").await.filter(|(status, _)| *status == 200).map(drop)
        })
        .await;
        Self { edge, daemon, directory, arguments: arguments.iter().map(|&word| word.to_owned()).collect() }
    }

    async fn single(redis: &RedisServer) -> Self {
        Self::new(&["--store", &redis.url()]).await
    }

    /// The store's connection was never lost. A failure shows what the daemon logged.
    async fn kept_its_connection(&self) {
        let (_, metrics) = self.daemon.get("/metrics").await.unwrap();
        let log = std::fs::read_to_string(self.directory.path().join("log")).unwrap();
        assert!(!metrics.contains("headwater_store_lost_total"), "{log}");
    }

    fn restart_daemon(&mut self) {
        let arguments = self.arguments.iter().map(String::as_str);
        self.daemon = Daemon::start(&self.edge.url(), arguments, &self.directory.path().join("log"));
    }

    /// Lets the hub take operations until the fault has come and gone, and some more in each slot: what is lost in a slot
    /// may be found out by the next operation there alone.
    async fn under_load(&mut self, fault: impl AsyncFnOnce(&mut Self)) -> Ledger {
        let edge = self.edge.handle();
        let is_over = Cell::new(false);
        let rounds = Cell::new(0);
        let load = async {
            let mut ledger = Ledger::default();
            while !is_over.get() {
                for (index, count) in ledger.counts.iter_mut().enumerate() {
                    edge.execute(&["INCR", &format!("c{index}")]).unwrap();
                    *count += 1;
                }
                edge.execute(&["SADD", "members", &format!("m{}", ledger.members)]).unwrap();
                ledger.members += 1;
                let job = ledger.jobs.to_string();
                edge.run(vec![["RPUSH", "jobs", &job].map(bytes).to_vec()]);
                edge.run(vec![["LPUSH", "backwards", &job].map(bytes).to_vec()]);
                edge.run(vec![["XADD", "stream", "*", "job", &job].map(bytes).to_vec()]);
                ledger.jobs += 1;
                rounds.set(rounds.get() + 1);
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            ledger
        };
        let fault = async {
            tokio::time::sleep(BEFORE).await;
            fault(self).await;
            let (ended, round) = (Instant::now(), rounds.get());
            eventually("a whole round of load follows", async || (rounds.get() > round + 1).then_some(())).await;
            is_over.set(true);
            ended
        };
        let (mut ledger, ended) = tokio::join!(load, fault);
        let is_done = || edge.status().pending == 0 && edge.status().jobs == 0;
        eventually("all is committed", async || is_done().then_some(())).await;
        ledger.healed = ended.elapsed();
        ledger
    }
}

/// Redis holds what was acknowledged: all of it, and nothing twice.
async fn holds(name: &str, plain: &Plain, ledger: &Ledger) {
    let mut counted = Vec::new();
    for index in 0..COUNTERS {
        counted.push(plain.ask::<Option<u64>>(&["GET", &format!("c{index}")]).await.unwrap_or(0));
    }
    let members: u64 = plain.ask(&["SCARD", "members"]).await;
    println!(
        "{name:<44} {:>6} operations acknowledged, {:>6} in Redis, healed in {:>5} ms",
        ledger.operations(),
        counted.iter().sum::<u64>() + members,
        ledger.healed.as_millis()
    );
    assert_eq!((counted.as_slice(), members), (ledger.counts.as_slice(), ledger.members));
}

/// Redis has each job once, in the order in which the hub took them in.
async fn has_jobs_in_order(plain: &Plain, ledger: &Ledger) {
    let expected: Vec<String> = (0..ledger.jobs).map(|job| job.to_string()).collect();
    assert_eq!(plain.ask::<Vec<String>>(&["LRANGE", "jobs", "0", "-1"]).await, expected);
    let mut backwards: Vec<String> = plain.ask(&["LRANGE", "backwards", "0", "-1"]).await;
    backwards.reverse();
    assert_eq!(backwards, expected);
    let entries: Vec<(String, Vec<String>)> = plain.ask(&["XRANGE", "stream", "-", "+"]).await;
    let streamed: Vec<String> = entries.into_iter().map(|(_, fields)| fields[1].clone()).collect();
    assert_eq!(streamed, expected);
}

fn signal(name: &str, pid: u32) {
    assert!(Command::new("kill").args([name, &pid.to_string()]).status().unwrap().success());
}

async fn a_while() {
    tokio::time::sleep(Duration::from_secs(1)).await;
}

/// Longer than anybody waits for an answer.
async fn a_long_while() {
    tokio::time::sleep(Duration::from_secs(20)).await;
}

/// How far a clock is off, in milliseconds.
const CLOCK_OFF_MS: i64 = 600_000;

fn append_only(_directory: &Path) -> Vec<String> {
    ["--appendonly", "yes", "--appendfsync", "always"].map(str::to_owned).into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_daemon_is_killed() {
    let redis = RedisServer::start().await;
    let mut setup = Setup::single(&redis).await;
    let kill = async |setup: &mut Setup| {
        for _ in 0..3 {
            setup.daemon.kill();
            setup.restart_daemon();
            a_while().await;
        }
    };
    let ledger = setup.under_load(kill).await;
    holds("the daemon is killed three times", &Plain::connect(&redis).await, &ledger).await;
    has_jobs_in_order(&Plain::connect(&redis).await, &ledger).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_daemon_is_stopped() {
    let redis = RedisServer::start().await;
    let mut setup = Setup::single(&redis).await;
    let stop = async |setup: &mut Setup| {
        signal("-STOP", setup.daemon.pid());
        a_while().await;
        signal("-CONT", setup.daemon.pid());
    };
    let ledger = setup.under_load(stop).await;
    holds("the daemon is stopped", &Plain::connect(&redis).await, &ledger).await;
    has_jobs_in_order(&Plain::connect(&redis).await, &ledger).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_is_killed_and_loses_all() {
    let mut redis = RedisServer::start().await;
    let mut setup = Setup::single(&redis).await;
    let ledger = setup.under_load(async |_| redis.restart().await).await;
    holds("Redis is killed, and comes back empty", &Plain::connect(&redis).await, &ledger).await;
    has_jobs_in_order(&Plain::connect(&redis).await, &ledger).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_is_killed_and_keeps_all() {
    let mut redis = RedisServer::start_with(append_only).await;
    let mut setup = Setup::single(&redis).await;
    let ledger = setup.under_load(async |_| redis.restart().await).await;
    holds("Redis is killed, and comes back with all", &Plain::connect(&redis).await, &ledger).await;
    has_jobs_in_order(&Plain::connect(&redis).await, &ledger).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_is_stopped() {
    let redis = RedisServer::start().await;
    let mut setup = Setup::single(&redis).await;
    let stop = async |_: &mut Setup| {
        signal("-STOP", redis.pid().unwrap());
        a_while().await;
        signal("-CONT", redis.pid().unwrap());
    };
    let ledger = setup.under_load(stop).await;
    holds("Redis is stopped", &Plain::connect(&redis).await, &ledger).await;
    has_jobs_in_order(&Plain::connect(&redis).await, &ledger).await;
}

/// Sockets and requests are given up meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_daemon_is_stopped_for_long() {
    let redis = RedisServer::start().await;
    let mut setup = Setup::single(&redis).await;
    let stop = async |setup: &mut Setup| {
        signal("-STOP", setup.daemon.pid());
        a_long_while().await;
        signal("-CONT", setup.daemon.pid());
    };
    let ledger = setup.under_load(stop).await;
    holds("the daemon is stopped for 20 s", &Plain::connect(&redis).await, &ledger).await;
    has_jobs_in_order(&Plain::connect(&redis).await, &ledger).await;
}

/// What it had been sent before runs late, though its senders have given up and sent again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_is_stopped_for_long() {
    let redis = RedisServer::start().await;
    let mut setup = Setup::single(&redis).await;
    let stop = async |_: &mut Setup| {
        signal("-STOP", redis.pid().unwrap());
        a_long_while().await;
        signal("-CONT", redis.pid().unwrap());
    };
    let ledger = setup.under_load(stop).await;
    holds("Redis is stopped for 20 s", &Plain::connect(&redis).await, &ledger).await;
    has_jobs_in_order(&Plain::connect(&redis).await, &ledger).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_network_to_redis_breaks_again_and_again() {
    let redis = RedisServer::start().await;
    let proxy = Proxy::to(redis.port()).await;
    let mut setup = Setup::new(&["--store", &proxy.url()]).await;
    let cut = async |_: &mut Setup| {
        for _ in 0..3 {
            proxy.refuse();
            a_while().await;
            proxy.mend();
            a_while().await;
        }
    };
    let ledger = setup.under_load(cut).await;
    holds("the network to Redis breaks three times", &Plain::connect(&redis).await, &ledger).await;
    has_jobs_in_order(&Plain::connect(&redis).await, &ledger).await;
}

/// Nobody is told; what is on its way arrives when it comes through again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_network_to_redis_hangs() {
    let redis = RedisServer::start().await;
    let proxy = Proxy::to(redis.port()).await;
    let mut setup = Setup::new(&["--store", &proxy.url()]).await;
    let hang = async |setup: &mut Setup| {
        proxy.hang();
        a_long_while().await;
        eventually("the daemon has given up the connection", async || {
            setup.daemon.get("/readyz").await.filter(|(status, _)| *status == 503).map(drop)
        })
        .await;
        proxy.mend();
    };
    let ledger = setup.under_load(hang).await;
    holds("the network to Redis hangs for 20 s", &Plain::connect(&redis).await, &ledger).await;
    has_jobs_in_order(&Plain::connect(&redis).await, &ledger).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hubs_clock_is_ten_minutes_behind() {
    let redis = RedisServer::start().await;
    let mut setup = Setup::single(&redis).await;
    let set_back = async |setup: &mut Setup| {
        setup.edge.set_clock_off(-CLOCK_OFF_MS);
        a_while().await;
        setup.edge.set_clock_off(0);
        a_while().await;
    };
    let ledger = setup.under_load(set_back).await;
    holds("a hub's clock is 10 min behind", &Plain::connect(&redis).await, &ledger).await;
    has_jobs_in_order(&Plain::connect(&redis).await, &ledger).await;
}

/// What it stamps is refused, told and counted, and kept by it; the other hub and its keys go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hubs_clock_is_ten_minutes_ahead() {
    let redis = RedisServer::start().await;
    let (wrong, right) = (Edge::with_hub("test/wrong").await, Edge::with_hub("test/right").await);
    let directory = tempfile::tempdir().unwrap();
    let urls = [wrong.url(), right.url()].join(",");
    let daemon = Daemon::start(&urls, ["--store", &redis.url()], &directory.path().join("log"));
    let plain = Plain::connect(&redis).await;
    let reads = async |value: &str| {
        eventually(value, async || {
            (plain.ask::<Option<String>>(&["GET", "hits"]).await.as_deref() == Some(value)).then_some(())
        })
        .await;
    };
    wrong.execute(&["INCRBY", "hits", "1"]).unwrap();
    right.execute(&["INCRBY", "hits", "10"]).unwrap();
    reads("11").await;
    wrong.set_clock_off(CLOCK_OFF_MS);
    wrong.execute(&["INCRBY", "hits", "100"]).unwrap();
    eventually("the hub is refused", async || {
        let (_, metrics) = daemon.get("/metrics").await?;
        metrics.contains(r#"headwater_hub_refusals_total{cause="clock"}"#).then_some(())
    })
    .await;
    right.execute(&["INCRBY", "hits", "10"]).unwrap();
    reads("21").await;
    assert_eq!(wrong.status().pending, 1, "the hub keeps what was refused");
    assert!(std::fs::read_to_string(directory.path().join("log")).unwrap().contains("ahead"));
}

/// The run id stays, so only the vanished markers tell.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_is_flushed() {
    let redis = RedisServer::start().await;
    let mut setup = Setup::single(&redis).await;
    let ledger = setup.under_load(async |_| ask::<()>(&redis, &["FLUSHALL"]).await).await;
    holds("FLUSHALL", &Plain::connect(&redis).await, &ledger).await;
}

/// What the hub was told is safe is sent again too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_is_flushed_long_after_the_loss_window() {
    let redis = RedisServer::start().await;
    let mut setup = Setup::new(&["--store", &redis.url(), "--loss-window-ms", "0"]).await;
    // A key that the load leaves alone, since under load there is always an operation that is not stable yet.
    setup.edge.handle().execute(&["INCR", "quiet"]).unwrap();
    eventually("the quiet key is stable", async || (setup.edge.status().unstable == 0).then_some(())).await;
    let ledger = setup.under_load(async |_| ask::<()>(&redis, &["FLUSHALL"]).await).await;
    let plain = Plain::connect(&redis).await;
    holds("FLUSHALL after the loss window", &plain, &ledger).await;
    eventually("the quiet key is sent again", async || {
        (plain.ask::<Option<u64>>(&["GET", "quiet"]).await == Some(1)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_has_no_memory_left() {
    let redis = RedisServer::start().await;
    let mut setup = Setup::single(&redis).await;
    let fill = async |setup: &mut Setup| {
        ask::<()>(&redis, &["CONFIG", "SET", "maxmemory", "1mb"]).await;
        eventually("commits are refused", async || {
            let (_, metrics) = setup.daemon.get("/metrics").await?;
            metrics.contains(r#"headwater_store_refused_total{reason="OOM"}"#).then_some(())
        })
        .await;
        a_while().await;
        ask::<()>(&redis, &["CONFIG", "SET", "maxmemory", "0"]).await;
    };
    let ledger = setup.under_load(fill).await;
    holds("Redis has no memory left", &Plain::connect(&redis).await, &ledger).await;
    has_jobs_in_order(&Plain::connect(&redis).await, &ledger).await;
    setup.kept_its_connection().await;
}

/// It becomes a replica of a server that there is not, and so keeps its data.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_is_made_a_replica() {
    let redis = RedisServer::start().await;
    let mut setup = Setup::single(&redis).await;
    let demote = async |_: &mut Setup| {
        ask::<()>(&redis, &["REPLICAOF", "127.0.0.1", "1"]).await;
        a_while().await;
        ask::<()>(&redis, &["REPLICAOF", "NO", "ONE"]).await;
    };
    let ledger = setup.under_load(demote).await;
    holds("Redis is a replica for a while", &Plain::connect(&redis).await, &ledger).await;
    has_jobs_in_order(&Plain::connect(&redis).await, &ledger).await;
}

/// The other keys go on; this one is written whole once the value is out of the way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_leaves_a_list_under_a_counter() {
    let redis = RedisServer::start().await;
    let mut setup = Setup::single(&redis).await;
    let plain = Plain::connect(&redis).await;
    let misuse = async |setup: &mut Setup| {
        // At once, or the counter could be written again in between, and would refuse the list.
        let replace = "redis.call('DEL', KEYS[1]) return redis.call('RPUSH', KEYS[1], 'theirs')";
        plain.ask::<()>(&["EVAL", replace, "1", "c0"]).await;
        let before =
            eventually("another counter is there", async || plain.ask::<Option<u64>>(&["GET", "c1"]).await).await;
        eventually("the other counters go on", async || {
            let now: u64 = plain.ask(&["GET", "c1"]).await;
            (now > before + 20).then_some(())
        })
        .await;
        assert_eq!(plain.ask::<Vec<String>>(&["LRANGE", "c0", "0", "-1"]).await, ["theirs"]);
        let (status, _) = setup.daemon.post("/resolve", TOKEN, "c0").await.unwrap();
        assert_eq!(status, 200);
        eventually("the counter is there again", async || plain.ask::<Option<u64>>(&["GET", "c0"]).await).await;
    };
    let ledger = setup.under_load(misuse).await;
    holds("a list stands under a counter", &plain, &ledger).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_under_sentinels_is_killed() {
    let mut watched = Watched::start(Program::Redis).await;
    let urls = watched.urls().join(",");
    let mut setup = Setup::new(&["--store", &urls, "--store-sentinel-master", "mine"]).await;
    let kill = async |_: &mut Setup| {
        watched.servers[0].kill();
        eventually("the replica is promoted", async || (watched.master().await == 1).then_some(())).await;
    };
    let ledger = setup.under_load(kill).await;
    holds("the master under sentinels is killed", &Plain::connect(&watched.servers[1]).await, &ledger).await;
}

/// What the hub was told is stable it has forgotten, so it could not send it again. The window would end long after.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_is_killed_whose_replica_has_what_is_stable() {
    let mut watched = Watched::start(Program::Redis).await;
    let urls = watched.urls().join(",");
    let stable = ["--stable", "wait", "--loss-window-ms", "3600000"];
    let mut setup = Setup::new(&[&["--store", &urls, "--store-sentinel-master", "mine"], &stable[..]].concat()).await;
    setup.edge.execute(&["SADD", "quiet", "here"]).unwrap();
    setup.edge.execute(&["INCR", "quiet-count"]).unwrap();
    eventually("the replica has it", async || (setup.edge.status().unstable == 0).then_some(())).await;
    assert!(setup.daemon.status().await.unwrap()["stable_by"].as_str().unwrap().contains("WAIT (1 replicas)"));
    let kill = async |_: &mut Setup| {
        watched.servers[0].kill();
        eventually("the replica is promoted", async || (watched.master().await == 1).then_some(())).await;
    };
    let ledger = setup.under_load(kill).await;
    let plain = Plain::connect(&watched.servers[1]).await;
    holds("a master is killed, stable by WAIT", &plain, &ledger).await;
    assert_eq!(plain.ask::<u32>(&["SISMEMBER", "quiet", "here"]).await, 1);
    assert_eq!(plain.ask::<u32>(&["GET", "quiet-count"]).await, 1);
    assert!(setup.edge.status().unstable > 0, "no replica is left to have it");
}

/// The hub has forgotten what the log was said to have, and the window would end long after.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Valkey"]
async fn valkey_is_killed_whose_log_has_what_is_stable() {
    let mut server = RedisServer::start_valkey(&["--appendonly", "yes"]).await;
    for (name, means) in [("waitaof", "WAITAOF"), ("auto", "WAITAOF; in any case by the window")] {
        ask::<()>(&server, &["FLUSHALL"]).await;
        let stable = ["--stable", name, "--loss-window-ms", "3600000"];
        let mut setup = Setup::new(&[&["--store", &server.url()], &stable[..]].concat()).await;
        setup.edge.execute(&["SADD", "quiet", "here"]).unwrap();
        setup.edge.execute(&["INCR", "quiet-count"]).unwrap();
        eventually("the log has it", async || (setup.edge.status().unstable == 0).then_some(())).await;
        assert_eq!(setup.daemon.status().await.unwrap()["stable_by"], means);
        let kill = async |_: &mut Setup| {
            for _ in 0..3 {
                server.restart().await;
                a_while().await;
            }
        };
        let ledger = setup.under_load(kill).await;
        let plain = Plain::connect(&server).await;
        holds(&format!("Valkey is killed three times, stable by {name}"), &plain, &ledger).await;
        has_jobs_in_order(&plain, &ledger).await;
        assert_eq!(plain.ask::<u32>(&["SISMEMBER", "quiet", "here"]).await, 1);
        assert_eq!(plain.ask::<u32>(&["GET", "quiet-count"]).await, 1);
        eventually("the log has all", async || (setup.edge.status().unstable == 0).then_some(())).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_of_a_cluster_is_killed() {
    let mut cluster = RedisCluster::start(Program::Redis, 1).await;
    let urls = cluster.urls().join(",");
    eventually("the replica has caught up", async || {
        let told: String = ask(&cluster.nodes[3], &["INFO", "replication"]).await;
        told.contains("master_link_status:up").then_some(())
    })
    .await;
    let mut setup = Setup::new(&["--store", &urls, "--store-cluster"]).await;
    let kill = async |_: &mut Setup| {
        cluster.nodes[0].kill();
        eventually("the replica is promoted", async || {
            let told: String = ask(&cluster.nodes[3], &["CLUSTER", "INFO"]).await;
            let role: String = ask(&cluster.nodes[3], &["INFO", "replication"]).await;
            (role.contains("role:master") && told.contains("cluster_state:ok")).then_some(())
        })
        .await;
    };
    let ledger = setup.under_load(kill).await;
    cluster.nodes.remove(0);
    holds("a node of a cluster is killed", &Clustered::plain_of(&cluster).await, &ledger).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slots_move_between_nodes() {
    let cluster = RedisCluster::start(Program::Redis, 0).await;
    let urls = cluster.urls().join(",");
    let mut setup = Setup::new(&["--store", &urls, "--store-cluster"]).await;
    let resettle = async |_: &mut Setup| {
        for name in ["c0", "c1", "c2", "members"] {
            let slot = Slot::of(name.as_bytes());
            let to = (cluster.owner(slot).await + 1) % 3;
            cluster.begin_move(slot, to).await;
            cluster.end_move(slot, to).await;
        }
    };
    let ledger = setup.under_load(resettle).await;
    holds("four slots move to other nodes", &Clustered::plain_of(&cluster).await, &ledger).await;
    setup.kept_its_connection().await;
}

/// Several hubs, each of an edge of its own, and the daemons that share them.
struct Fleet {
    edges: Vec<Edge>,
    daemons: Vec<Daemon>,
    redis: RedisServer,
    directory: TempDir,
}

impl Fleet {
    const HUBS: usize = 8;

    async fn start() -> Self {
        let mut edges = Vec::new();
        for no in 0..Self::HUBS {
            edges.push(Edge::with_hub(&format!("test/{no}")).await);
        }
        let directory = tempfile::tempdir().unwrap();
        Self { edges, daemons: Vec::new(), redis: RedisServer::start().await, directory }
    }

    fn add_daemon(&mut self) {
        let urls: Vec<String> = self.edges.iter().map(Edge::url).collect();
        let name = format!("daemon-{}", self.daemons.len());
        let (store, log) = (self.redis.url(), self.directory.path().join(&name));
        self.daemons.push(Daemon::start(&urls.join(","), ["--store", &store, "--daemon-name", &name], &log));
    }

    /// Waits until each hub is served by one daemon, and each daemon knows of the others; gives how many each serves.
    async fn shared(&self) -> Vec<usize> {
        eventually("each hub is served by one daemon", async || {
            let mut shares = Vec::new();
            let mut served = Vec::new();
            for daemon in &self.daemons {
                let status = daemon.status().await?;
                if status["daemons"] != self.daemons.len() {
                    return None;
                }
                let hubs = status["hubs"].as_array()?;
                let mine: Vec<_> =
                    hubs.iter().filter(|hub| hub["connected"] == true).map(|hub| hub["name"].clone()).collect();
                if hubs.iter().any(|hub| hub["connected"] != hub["served"]) {
                    return None;
                }
                shares.push(mine.len());
                served.extend(mine.into_iter().map(|name| name.to_string()));
            }
            served.sort();
            served.dedup();
            (served.len() == Self::HUBS && shares.iter().sum::<usize>() == Self::HUBS).then_some(shares)
        })
        .await
    }
}

/// Daemons are added while the hubs are written to, and one is killed: the others serve its hubs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn daemons_come_and_one_is_killed() {
    let mut fleet = Fleet::start().await;
    let hubs: Vec<_> = fleet.edges.iter().map(Edge::handle).collect();
    let is_over = Cell::new(false);
    let load = async {
        let mut count = 0;
        while !is_over.get() {
            for hub in &hubs {
                hub.execute(&["INCR", "hits"]).unwrap();
                hub.execute(&["ZINCRBY", "board", "1", "ada"]).unwrap();
                count += 1;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        count
    };
    let faults = async {
        for count in [2, 4] {
            while fleet.daemons.len() < count {
                fleet.add_daemon();
            }
            let shares = fleet.shared().await;
            println!("{count} daemons serve {shares:?} hubs");
            a_while().await;
        }
        let mut killed = fleet.daemons.remove(1);
        killed.kill();
        let since = Instant::now();
        let shares = fleet.shared().await;
        println!("one is killed, and after {} ms the others serve {shares:?} hubs", since.elapsed().as_millis());
        is_over.set(true);
    };
    let (count, ()): (u64, ()) = tokio::join!(load, faults);
    for hub in &hubs {
        eventually("all is committed", async || (hub.status().pending == 0).then_some(())).await;
    }
    let plain = Plain::connect(&fleet.redis).await;
    assert_eq!(plain.ask::<u64>(&["GET", "hits"]).await, count);
    assert_eq!(plain.ask::<f64>(&["ZSCORE", "board", "ada"]).await, count as f64);
    for hub in &hubs {
        eventually("each hub shows all", async || {
            let hits = hub.execute(&["GET", "hits"]).ok()?;
            (hits == Reply::Bulk(count.to_string().into())).then_some(())
        })
        .await;
    }
}
