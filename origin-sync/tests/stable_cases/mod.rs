//! What a server says of its replicas and its log, so that commits can be called stable. Debian's Redis 7.0 knows no WAITAOF,
//! Valkey does.

use crate::support::{
    bed::{Clustered, UnderSentinels},
    cluster::{RedisCluster, Watched, ask},
    daemon::eventually,
    say::{commit, committed, key, marker},
    server::{Program, RedisServer},
};
use headwater::{origin::StableBy, slot::Slot};
use origin_sync::store::{RedisConfig, RedisStore, RedisStoreError, RedisUrl, StableConfig, StableMeans, Store};

fn config(server: &RedisServer, means: StableMeans, replicas: Option<u32>) -> RedisConfig {
    RedisConfig { stable: StableConfig { means, replicas }, ..RedisConfig::single(RedisUrl::new(server.url())) }
}

async fn open(server: &RedisServer, means: StableMeans, replicas: Option<u32>) -> Result<RedisStore, RedisStoreError> {
    RedisStore::connect(&config(server, means, replicas)).await
}

async fn replica_of(master: &RedisServer) -> RedisServer {
    let port = master.port().to_string();
    let replica = RedisServer::start_with(|_| ["--replicaof", "127.0.0.1", &port].map(str::to_owned).into()).await;
    is_online(master, &replica).await;
    replica
}

/// The master knows it a second later than the replica does.
async fn is_online(master: &RedisServer, replica: &RedisServer) {
    eventually("the master has the replica", async || {
        let told: String = ask(master, &["INFO", "replication"]).await;
        told.contains(&format!("port={},state=online", replica.port())).then_some(())
    })
    .await;
}

fn signal(name: &str, server: &RedisServer) {
    let pid = server.pid().unwrap().to_string();
    assert!(std::process::Command::new("kill").args([name, &pid]).status().unwrap().success());
}

fn slot() -> Slot {
    key("k").slot()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_is_stable_once_the_replica_has_it() {
    let master = RedisServer::start().await;
    let replica = replica_of(&master).await;
    let store = open(&master, StableMeans::Wait, None).await.unwrap();
    assert_eq!(store.stable_by(), StableBy::Store);
    assert_eq!(store.stable_means().await, "WAIT (1 replicas)");
    committed(&store, commit(slot(), 0, Vec::new())).await;
    eventually("the replica has it", async || (store.survivors(vec![slot()]).await.unwrap() == [slot()]).then_some(()))
        .await;
    let marker = format!("hw:m:{{{}}}", slot().tag());
    assert_eq!(ask::<String>(&replica, &["HGET", &marker, "s"]).await, "1");

    // A replica that hangs is connected still, and commits go on meanwhile.
    signal("-STOP", &replica);
    committed(&store, commit(slot(), 1, Vec::new())).await;
    let (survivors, ()) = tokio::join!(store.survivors(vec![slot()]), committed(&store, commit(slot(), 2, Vec::new())));
    assert_eq!(survivors.unwrap(), []);
    signal("-CONT", &replica);
    eventually("the replica has it", async || (store.survivors(vec![slot()]).await.unwrap() == [slot()]).then_some(()))
        .await;
}

/// One that was there and is gone may be promoted yet.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_is_gone_is_waited_for() {
    let master = RedisServer::start().await;
    let mut replicas = [replica_of(&master).await, replica_of(&master).await];
    let store = open(&master, StableMeans::Auto, None).await.unwrap();
    assert_eq!(store.stable_means().await, "WAIT (2 replicas); in any case by the window");
    committed(&store, commit(slot(), 0, Vec::new())).await;
    eventually("the replicas have it", async || {
        (store.survivors(vec![slot()]).await.unwrap() == [slot()]).then_some(())
    })
    .await;
    replicas[0].kill();
    assert_eq!(store.survivors(vec![slot()]).await.unwrap(), []);
    let one = open(&master, StableMeans::Auto, Some(1)).await.unwrap();
    eventually("one replica has it", async || (one.survivors(vec![slot()]).await.unwrap() == [slot()]).then_some(()))
        .await;
}

/// One that comes later is asked from then on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_replicas_and_log_the_window_counts() {
    let master = RedisServer::start().await;
    let store = open(&master, StableMeans::Auto, None).await.unwrap();
    assert_eq!(store.stable_by(), StableBy::Either);
    committed(&store, commit(slot(), 0, Vec::new())).await;
    assert_eq!(store.survivors(vec![slot()]).await.unwrap(), []);
    assert_eq!(ask::<u32>(&master, &["DBSIZE"]).await, 1, "nothing is written to ask nobody");
    let _replica = replica_of(&master).await;
    eventually("the replica is noticed and has it", async || {
        (store.survivors(vec![slot()]).await.unwrap() == [slot()]).then_some(())
    })
    .await;
    let window = open(&master, StableMeans::Window, None).await.unwrap();
    assert_eq!(window.stable_by(), StableBy::Window);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_server_has_not_is_told_when_it_is_opened() {
    let server = RedisServer::start().await;
    let error = async |means, replicas| open(&server, means, replicas).await.unwrap_err().to_string();
    let store = open(&server, StableMeans::Wait, None).await.unwrap();
    assert_eq!(store.stable_means().await, "WAIT (1 replicas, of which not all are connected)");
    committed(&store, commit(slot(), 0, Vec::new())).await;
    assert_eq!(store.survivors(vec![slot()]).await.unwrap(), []);
    assert!(error(StableMeans::Wait, Some(0)).await.contains("at least 1"));
    open(&server, StableMeans::Wait, Some(1)).await.unwrap();
    ask::<()>(&server, &["ACL", "SETUSER", "default", "-wait"]).await;
    assert!(error(StableMeans::Wait, Some(1)).await.contains("a user who may use WAIT"));
    open(&server, StableMeans::Auto, None).await.unwrap();
    ask::<()>(&server, &["ACL", "SETUSER", "default", "+wait"]).await;

    // One that knows WAITAOF is tried below.
    assert!(error(StableMeans::WaitAof, None).await.contains("Redis 7.2"));
}

const LOGGED: [&str; 2] = ["--appendonly", "yes"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Valkey"]
async fn valkey_without_a_log_is_told_of_when_it_is_opened() {
    let server = RedisServer::start_valkey(&[]).await;
    let error = open(&server, StableMeans::WaitAof, None).await.unwrap_err().to_string();
    assert!(error.contains("appendonly yes"), "{error}");
    let store = open(&server, StableMeans::Auto, None).await.unwrap();
    assert!(store.stable_means().await.contains("the window, for want of log and replicas"));
    ask::<()>(&server, &["CONFIG", "SET", "appendonly", "yes"]).await;
    ask::<()>(&server, &["ACL", "SETUSER", "default", "-waitaof"]).await;
    let error = open(&server, StableMeans::WaitAof, None).await.unwrap_err().to_string();
    assert!(error.contains("a user who may use it"), "{error}");
}

/// Commits go on in many slots while the log is asked, and the server is killed at any moment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Valkey"]
async fn what_is_stable_by_the_log_of_valkey_outlives_kill_9() {
    for (means, by, words) in [
        (StableMeans::WaitAof, StableBy::Store, "WAITAOF"),
        (StableMeans::Auto, StableBy::Either, "WAITAOF; in any case by the window"),
    ] {
        let mut server = RedisServer::start_valkey(&LOGGED).await;
        let store = open(&server, means, None).await.unwrap();
        assert_eq!((store.stable_by(), store.stable_means().await.as_str()), (by, words));
        let slots: Vec<Slot> = ('a'..='h').map(|name| key(name.to_string()).slot()).collect();
        let (mut committed_seqs, mut stable_seqs) = (vec![0; slots.len()], vec![0; slots.len()]);
        // Until the log has been asked some times over.
        let mut confirmed = 0;
        while confirmed < 3 {
            let asked = committed_seqs.clone();
            let is_answered = std::cell::Cell::new(false);
            let asking = async {
                let survivors = store.survivors(slots.clone()).await.unwrap();
                is_answered.set(true);
                survivors
            };
            let committing = async {
                let mut at = 0;
                while !is_answered.get() || at < slots.len() {
                    let (slot, seq) = (slots[at % slots.len()], &mut committed_seqs[at % slots.len()]);
                    committed(&store, commit(slot, *seq, Vec::new())).await;
                    *seq += 1;
                    at += 1;
                }
            };
            let (survivors, ()) = tokio::join!(asking, committing);
            confirmed += usize::from(!survivors.is_empty());
            for (at, slot) in slots.iter().enumerate().filter(|(_, slot)| survivors.contains(slot)) {
                assert!(asked[at] >= stable_seqs[at], "{slot}");
                stable_seqs[at] = asked[at];
            }
        }
        assert!(stable_seqs.iter().all(|seq| *seq > 0), "{stable_seqs:?}");
        server.restart().await;
        let store = open(&server, means, None).await.unwrap();
        for (slot, stable) in slots.iter().zip(stable_seqs) {
            let kept = marker(&store, *slot).await.map_or(0, |marker| marker.seq);
            assert!(kept >= stable, "slot {slot}: {kept} commits are left, and {stable} were called stable");
        }
    }
}

/// The log of such a server is written to the disk when the system pleases, so that nothing is known to be there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Valkey"]
async fn nothing_is_stable_by_a_log_that_valkey_never_syncs() {
    let server = RedisServer::start_valkey(&[&LOGGED[..], &["--appendfsync", "no"]].concat()).await;
    let store = open(&server, StableMeans::WaitAof, None).await.unwrap();
    committed(&store, commit(slot(), 0, Vec::new())).await;
    assert_eq!(store.survivors(vec![slot()]).await.unwrap(), []);
    ask::<()>(&server, &["CONFIG", "SET", "appendfsync", "everysec"]).await;
    eventually("the log has it", async || (store.survivors(vec![slot()]).await.unwrap() == [slot()]).then_some(()))
        .await;
}

/// The connection ends, and the next one finds out what the server has now.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Valkey"]
async fn a_log_of_valkey_that_is_switched_off_is_noticed() {
    let server = RedisServer::start_valkey(&LOGGED).await;
    let store = open(&server, StableMeans::Auto, None).await.unwrap();
    committed(&store, commit(slot(), 0, Vec::new())).await;
    ask::<()>(&server, &["CONFIG", "SET", "appendonly", "no"]).await;
    let error = store.survivors(vec![slot()]).await.unwrap_err().to_string();
    assert!(error.contains("WAITAOF"), "{error}");
    let store = open(&server, StableMeans::Auto, None).await.unwrap();
    assert!(store.stable_means().await.contains("the window, for want of log and replicas"));
    assert!(open(&server, StableMeans::WaitAof, None).await.is_err());
}

/// Both must have it: the log for a restart, the replica for a failover.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Valkey"]
async fn valkey_is_asked_for_its_log_and_for_its_replica() {
    let master = RedisServer::start_valkey(&LOGGED).await;
    let port = master.port().to_string();
    let replica = RedisServer::start_valkey(&["--replicaof", "127.0.0.1", &port]).await;
    is_online(&master, &replica).await;
    let store = open(&master, StableMeans::WaitAof, None).await.unwrap();
    assert_eq!(store.stable_means().await, "WAITAOF and WAIT (1 replicas)");
    committed(&store, commit(slot(), 0, Vec::new())).await;
    eventually("both have it", async || (store.survivors(vec![slot()]).await.unwrap() == [slot()]).then_some(())).await;
    signal("-STOP", &replica);
    committed(&store, commit(slot(), 1, Vec::new())).await;
    assert_eq!(store.survivors(vec![slot()]).await.unwrap(), []);
    signal("-CONT", &replica);
    eventually("both have it", async || (store.survivors(vec![slot()]).await.unwrap() == [slot()]).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_master_under_sentinels_is_asked() {
    let watched = Watched::start(Program::Redis).await;
    let stable = StableConfig { means: StableMeans::Wait, replicas: None };
    let store = RedisStore::connect(&RedisConfig { stable, ..UnderSentinels::config(&watched) }).await.unwrap();
    committed(&store, commit(slot(), 0, Vec::new())).await;
    eventually("the replica has it", async || (store.survivors(vec![slot()]).await.unwrap() == [slot()]).then_some(()))
        .await;
    let marker = format!("hw:m:{{{}}}", slot().tag());
    assert_eq!(ask::<String>(&watched.servers[1], &["HGET", &marker, "s"]).await, "1");
}

/// Each node answers for its own slots, and no node for one that has moved away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_node_of_a_cluster_answers_for_its_slots() {
    let cluster = RedisCluster::start(Program::Redis, 1).await;
    eventually("the replica has caught up", async || {
        let told: String = ask(&cluster.nodes[3], &["INFO", "replication"]).await;
        told.contains("master_link_status:up").then_some(())
    })
    .await;
    let store = RedisStore::connect(&Clustered::config(&cluster)).await.unwrap();
    let mut slots = [Slot::of(b""); 3];
    for (no, owner) in [(0, 0), (1, 0), (2, 1)] {
        let mut names = (0..).map(|name: u32| Slot::of(name.to_string().as_bytes()));
        slots[no] = loop {
            let slot = names.next().unwrap();
            if !slots[..no].contains(&slot) && cluster.owner(slot).await == owner {
                break slot;
            }
        };
        committed(&store, commit(slots[no], 0, Vec::new())).await;
    }
    let mut backed = vec![slots[0], slots[1]];
    backed.sort_unstable();
    eventually("the slots with a replica survive", async || {
        let mut survivors = store.survivors(slots.to_vec()).await.unwrap();
        survivors.sort_unstable();
        (survivors == backed).then_some(())
    })
    .await;
    cluster.begin_move(slots[0], 1).await;
    cluster.end_move(slots[0], 1).await;
    eventually("the other slot survives", async || {
        let survivors = store.survivors(slots.to_vec()).await.unwrap();
        assert!(!survivors.contains(&slots[0]), "{survivors:?}");
        (survivors == [slots[1]]).then_some(())
    })
    .await;
}
