//! What happens when a slot gets another server: it is moved in a cluster, or another server is promoted.

use crate::support::{
    bed::{Bed, Clustered, Plain, UnderSentinels, under_sentinels},
    cluster::{RedisCluster, ask},
    daemon::eventually,
    say::{key, marker},
    server::{Program, RedisServer},
    world::World,
};
use headwater::slot::Slot;
use origin_sync::store::Store;

async fn reads(plain: &Plain, key: &str, value: &str) {
    assert_eq!(plain.ask::<Option<String>>(&["GET", key]).await.as_deref(), Some(value));
}

/// The machine goes on, in a fresh incarnation, since the new node may later lose what the old one had.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_that_moved_begins_a_fresh_incarnation_on_its_new_node() {
    let bed = Clustered::make().await;
    let slot = key("moved").slot();
    let mut world = World::new(bed.store(), 2);
    world.execute(0, &["INCRBY", "moved", "40"]).unwrap();
    world.settle().await;
    let before = marker(bed.store(), slot).await.unwrap();
    let to = (bed.cluster().owner(slot).await + 1) % 3;
    bed.cluster().begin_move(slot, to).await;
    bed.cluster().end_move(slot, to).await;
    world.execute(1, &["INCRBY", "moved", "2"]).unwrap();
    world.settle().await;
    let after = marker(bed.store(), slot).await.unwrap();
    assert_eq!(after.previous, Some((before.incarnation, before.seq)));
    assert_eq!(after.run_id, bed.store().run_id());
    reads(&bed.plain().unwrap(), "moved", "42").await;
}

/// Neither node may run a commit with new names then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_on_its_way_is_waited_for() {
    let bed = Clustered::make().await;
    let slot = key("{s}old").slot();
    let mut world = World::new(bed.store(), 1);
    world.execute(0, &["INCR", "{s}old"]).unwrap();
    world.settle().await;
    let to = (bed.cluster().owner(slot).await + 1) % 3;
    bed.cluster().begin_move(slot, to).await;
    world.execute(0, &["INCR", "{s}new"]).unwrap();
    world.execute(0, &["INCR", "{s}old"]).unwrap();
    let ((), ()) = tokio::join!(world.settle(), bed.cluster().end_move(slot, to));
    reads(&bed.plain().unwrap(), "{s}new", "1").await;
    reads(&bed.plain().unwrap(), "{s}old", "2").await;
}

/// A marker tells the run id of the node itself: another cluster, or a node that came back, is another history.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_marker_holds_the_run_id_of_its_node() {
    let bed = Clustered::make().await;
    let mut world = World::new(bed.store(), 1);
    world.execute(0, &["INCR", "k"]).unwrap();
    world.settle().await;
    let slot = key("k").slot();
    let node = &bed.cluster().nodes[bed.cluster().owner(slot).await];
    let info: String = ask(node, &["INFO", "server"]).await;
    let stored: String = bed.plain().unwrap().ask(&["HGET", &format!("hw:m:{{{}}}", slot.tag()), "r"]).await;
    assert!(info.contains(&format!("run_id:{stored}\r\n")), "{stored}");
}

/// A replica of a node is promoted under the connection: the node says whose its slots are, and only these begin anew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_promoted_replica_begins_fresh_incarnations_of_its_slots_only() {
    let cluster = RedisCluster::start(Program::Redis, 1).await;
    let config = Clustered::config(&cluster);
    let store = origin_sync::store::RedisStore::connect(&config).await.unwrap();
    let on = |node| (0..).map(|n| format!("k{n}")).find(|name| Slot::of(name.as_bytes()).get() / 5461 == node).unwrap();
    let [failing, steady] = [on(0), on(1)];
    let mut world = World::new(&store, 1);
    for key in [&failing, &steady] {
        world.execute(0, &["INCR", key]).unwrap();
    }
    world.settle().await;
    eventually("the replica has caught up", async || {
        let told: String = ask(&cluster.nodes[3], &["INFO", "replication"]).await;
        told.contains("master_link_status:up").then_some(())
    })
    .await;
    cluster.promote(3).await;
    for key in [&failing, &steady] {
        world.execute(0, &["INCR", key]).unwrap();
    }
    world.settle().await;
    assert!(marker(&store, Slot::of(failing.as_bytes())).await.unwrap().previous.is_some());
    assert!(marker(&store, Slot::of(steady.as_bytes())).await.unwrap().previous.is_none());
    assert_eq!(ask::<String>(&cluster.nodes[3], &["GET", &failing]).await, "2");
}

/// The connection fails once the sentinels name another master, and the next one is to that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_by_sentinels_is_followed() {
    let bed = UnderSentinels::make().await;
    let mut world = World::new(bed.store(), 2);
    world.execute(0, &["INCRBY", "visits", "40"]).unwrap();
    world.settle().await;
    bed.watched().fail_over().await;
    eventually("the connection fails", async || bed.store().ping().await.err()).await;
    let config = UnderSentinels::config(bed.watched());
    let reopen = async || origin_sync::store::RedisStore::connect(&config).await.ok();
    let store = eventually("the new master is opened", reopen).await;
    assert_ne!(store.run_id(), bed.store().run_id());
    world.execute(1, &["INCRBY", "visits", "2"]).unwrap();
    world.begin_anew(&store);
    world.settle().await;
    assert!(marker(&store, key("visits").slot()).await.unwrap().previous.is_some());
    let plain = Plain::connect(&bed.watched().servers[bed.watched().master().await]).await;
    reads(&plain, "visits", "42").await;
    // The cases that follow need the other one as a replica.
    eventually("the old master is a replica", async || {
        let told: Vec<String> = ask(&bed.watched().sentinels[0], &["SENTINEL", "MASTER", "mine"]).await;
        told.chunks(2).any(|pair| pair == ["num-slaves", "1"]).then_some(())
    })
    .await;
}

/// A sentinel that was cut off names the last master, and may well answer first. The two do not know each other here, since
/// sentinels meet at the server that they watch.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sentinel_that_saw_the_latest_failover_counts() {
    let servers = [RedisServer::start().await, RedisServer::start().await];
    let latest = RedisServer::start_sentinel(Program::Redis, servers[1].port(), 7).await;
    let stale = RedisServer::start_sentinel(Program::Redis, servers[0].port(), 6).await;
    let run_id: String = ask(&servers[1], &["INFO", "server"]).await;
    for sentinels in [[&stale, &latest], [&latest, &stale]] {
        let config = under_sentinels(&sentinels.map(RedisServer::url));
        let store = origin_sync::store::RedisStore::connect(&config).await.unwrap();
        let opened = String::from_utf8(store.run_id().to_vec()).unwrap();
        assert!(run_id.contains(&format!("run_id:{opened}\r\n")), "{opened}");
        store.ping().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployment_of_another_kind_is_told() {
    let bed = Clustered::make().await;
    let mut config = Clustered::config(bed.cluster());
    config.topology = origin_sync::store::Topology::Single;
    let error = origin_sync::store::RedisStore::connect(&config).await.unwrap_err().to_string();
    assert!(error.contains("store-cluster"), "{error}");
}
