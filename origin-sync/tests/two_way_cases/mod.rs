//! Plain clients write under keys that hubs hold: both sides agree in the end, integers to the last unit.

use crate::{
    machine_cases::same,
    support::{
        bed::{Bed, Plain},
        say::key,
        world::World,
    },
};
use origin_sync::store::{Store, Touches};
use std::time::{Duration, Instant};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(60);

fn plain(bed: &impl Bed) -> Plain {
    bed.plain().unwrap()
}

/// Also in a cluster, where each node tells of its own keys.
pub async fn the_server_tells_of_plain_writes(bed: impl Bed) {
    for name in ["a", "b", "c"] {
        let deadline = Instant::now() + PATIENCE;
        // Written again, since the tracking may not have begun.
        loop {
            plain(&bed).ask::<()>(&["INCR", name]).await;
            let heard = timeout(Duration::from_millis(50), bed.store().touches()).await;
            if heard.is_ok_and(|touches| matches!(touches, Touches::Keys(keys) if keys.contains(&key(name)))) {
                break;
            }
            assert!(Instant::now() < deadline, "nothing is told of {name}");
        }
    }
}

pub async fn plain_writes_of_every_type_are_adopted(bed: impl Bed) {
    let mut world = World::new(bed.store(), 2);
    world.execute(0, &["INCRBY", "count", "40"]).unwrap();
    world.execute(0, &["SET", "name", "ours"]).unwrap();
    world.execute(0, &["SET", "gone", "ours"]).unwrap();
    world.execute(0, &["SADD", "set", "a", "b"]).unwrap();
    world.execute(0, &["HSET", "hash", "n", "5", "t", "ours", "gone", "1"]).unwrap();
    world.execute(0, &["ZADD", "board", "1", "ann", "2", "bob"]).unwrap();
    world.settle().await;
    for words in [
        &["INCRBY", "count", "2"][..],
        &["SET", "name", "theirs", "PX", "100000000"],
        &["DEL", "gone"],
        &["SADD", "set", "c"],
        &["SREM", "set", "a"],
        &["HINCRBY", "hash", "n", "-7"],
        &["HSET", "hash", "t", "theirs", "u", "new"],
        &["HDEL", "hash", "gone"],
        &["ZINCRBY", "board", "10", "ann"],
        &["ZADD", "board", "0.5", "cid"],
        &["ZREM", "board", "bob"],
    ] {
        plain(&bed).ask::<()>(words).await;
    }
    world.look(&["count", "name", "gone", "set", "hash", "board"]).await;
    let plain = bed.plain();
    for (words, expected) in [
        (&["GET", "count"][..], &["42"][..]),
        (&["GET", "name"], &["theirs"]),
        (&["GET", "gone"], &[]),
        (&["SMEMBERS", "set"], &["b", "c"]),
        (&["HGETALL", "hash"], &["n", "-2", "t", "theirs", "u", "new"]),
        (&["ZRANGE", "board", "0", "-1", "WITHSCORES"], &["cid", "0.5", "ann", "11"]),
    ] {
        same(&world, plain.as_ref(), words, Some(expected)).await;
    }
    let ends: i64 = plain.unwrap().ask(&["PEXPIRETIME", "name"]).await;
    assert_eq!(world.read(&["PEXPIRETIME", "name"]).await, headwater::command::Reply::Int(ends));
}

pub async fn what_only_plain_clients_wrote_is_there_when_a_hub_asks(bed: impl Bed) {
    plain(&bed).ask::<()>(&["INCRBY", "count", "41"]).await;
    plain(&bed).ask::<()>(&["RPUSH", "list", "x"]).await;
    let mut world = World::new(bed.store(), 1);
    world.settle().await;
    assert_eq!(world.ask(0, &["GET", "count"]).await, ["41"]);
    assert_eq!(world.ask(0, &["GET", "list"]).await, [""; 0]);
    world.execute(0, &["INCR", "count"]).unwrap();
    world.settle().await;
    assert_eq!(plain(&bed).ask::<String>(&["GET", "count"]).await, "42");
    assert_eq!(plain(&bed).ask::<String>(&["TYPE", "list"]).await, "list");
}

/// A plain client and two hubs write the same keys as fast as they can.
pub async fn both_sides_write_at_once(bed: impl Bed) {
    const ROUNDS: i64 = 150;
    let mut world = World::new(bed.store(), 2);
    world.settle().await;
    for hub in 0..2 {
        for name in ["count", "board", "hash", "set"] {
            assert_eq!(world.ask(hub, &["EXISTS", name]).await, ["0"]);
        }
    }
    let client = plain(&bed);
    let clients = tokio::spawn(async move {
        for round in 0..ROUNDS {
            let [member, field] = ["m", "f"].map(|kind| format!("{kind}{}", round % 10));
            let value = format!("theirs{round}");
            client.ask::<()>(&["INCRBY", "count", "7"]).await;
            client.ask::<()>(&["ZINCRBY", "board", "7", "ann"]).await;
            client.ask::<()>(&["HINCRBY", "hash", "n", "7"]).await;
            client.ask::<()>(&[if round % 3 == 0 { "SREM" } else { "SADD" }, "set", &member]).await;
            client.ask::<()>(&["HSET", "hash", &field, &value]).await;
        }
    });
    let mut rounds = 0;
    while rounds < ROUNDS || !clients.is_finished() {
        let hub = usize::try_from(rounds % 2).unwrap();
        let [member, field] = ["m", "f"].map(|kind| format!("{kind}{}", rounds % 7));
        if rounds < ROUNDS {
            world.execute(hub, &["INCRBY", "count", "3"]).unwrap();
            world.execute(hub, &["ZINCRBY", "board", "3", "ann"]).unwrap();
            world.execute(hub, &["HINCRBY", "hash", "n", "3"]).unwrap();
            world.execute(hub, &[if rounds % 4 == 0 { "SREM" } else { "SADD" }, "set", &member]).unwrap();
            world.execute(hub, &["HSET", "hash", &field, &format!("ours{rounds}")]).unwrap();
        }
        rounds += 1;
        world.look(&["count", "board", "hash", "set"]).await;
    }
    clients.await.unwrap();
    world.look(&["count", "board", "hash", "set"]).await;
    let plain = bed.plain();
    let sum = (ROUNDS * 10).to_string();
    same(&world, plain.as_ref(), &["GET", "count"], Some(&[&sum])).await;
    same(&world, plain.as_ref(), &["ZSCORE", "board", "ann"], Some(&[&sum])).await;
    same(&world, plain.as_ref(), &["HGET", "hash", "n"], Some(&[&sum])).await;
    for words in [&["HGETALL", "hash"][..], &["SMEMBERS", "set"]] {
        same(&world, plain.as_ref(), words, None).await;
    }
    for hub in 0..2 {
        assert_eq!(world.ask(hub, &["GET", "count"]).await, std::slice::from_ref(&sum));
        assert_eq!(world.ask(hub, &["HGET", "hash", "n"]).await, std::slice::from_ref(&sum));
        assert_eq!(world.ask(hub, &["ZSCORE", "board", "ann"]).await, std::slice::from_ref(&sum));
    }
}
