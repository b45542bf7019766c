//! Hubs' operations through the origin's machine into each store, and what a plain client then reads.

use crate::support::{
    bed::{Bed, Plain},
    say::flat,
    world::World,
};
use origin_sync::store::Store;

pub async fn two_hubs_become_plain_values(bed: impl Bed) {
    let mut world = World::new(bed.store(), 2);
    world.execute(0, &["INCRBY", "visits", "40"]).unwrap();
    world.execute(1, &["INCRBY", "visits", "2"]).unwrap();
    world.execute(0, &["SET", "name", "first"]).unwrap();
    world.settle().await;
    world.execute(0, &["HSET", "cart", "apple", "1", "pear", "2"]).unwrap();
    world.execute(1, &["HINCRBY", "cart", "apple", "5"]).unwrap();
    world.execute(0, &["SADD", "tags", "a", "b"]).unwrap();
    world.execute(1, &["SADD", "tags", "b", "c"]).unwrap();
    world.execute(0, &["ZINCRBY", "board", "1.5", "ann"]).unwrap();
    world.execute(1, &["ZINCRBY", "board", "2", "ann"]).unwrap();
    world.execute(1, &["ZADD", "board", "-inf", "bob"]).unwrap();
    world.execute(1, &["INCR", "visits"]).unwrap();
    world.settle().await;
    let reads: [(&[&str], &[&str]); 5] = [
        (&["GET", "visits"], &["43"]),
        (&["GET", "name"], &["first"]),
        (&["HGETALL", "cart"], &["apple", "6", "pear", "2"]),
        (&["SMEMBERS", "tags"], &["a", "b", "c"]),
        (&["ZRANGE", "board", "0", "-1", "WITHSCORES"], &["bob", "-inf", "ann", "3.5"]),
    ];
    for (words, expected) in reads {
        same(&world, bed.plain().as_ref(), words, Some(expected)).await;
    }
}

/// Many commands in a fixed but arbitrary order at three hubs, settled now and then.
pub async fn what_plain_clients_read_is_what_the_companions_say(bed: impl Bed) {
    let mut random = fastrand::Rng::with_seed(7);
    let mut world = World::new(bed.store(), 3);
    for step in 0..600 {
        let key = random.u8(..4);
        let (member, amount) = (format!("m{}", random.u8(..8)), random.i32(-50..50).to_string());
        let [string, hash, set, board] = ["s", "h", "t", "z"].map(|kind| format!("{kind}{key}"));
        let words: Vec<&str> = match random.u8(..14) {
            0 => vec!["SET", &string, &amount],
            1..4 => vec!["INCRBY", &string, &amount],
            4 => vec!["HSET", &hash, &member, &amount],
            5 | 6 => vec!["HINCRBY", &hash, &member, &amount],
            7 | 8 => vec!["SADD", &set, &member],
            9 => vec!["ZADD", &board, &amount, &member],
            10 => vec!["ZADD", &board, "GT", &amount, &member],
            11 | 12 => vec!["ZINCRBY", &board, &amount, &member],
            _ => vec!["SET", &string, &amount, "PX", "3600000"],
        };
        // A field may hold what another hub's SET left; such an error is the hub's and changes nothing.
        let _ = world.execute(random.usize(..3), &words);
        if random.u8(..20) == 0 || step == 599 {
            world.settle().await;
        }
    }
    all_same(&world, &bed).await;
}

/// The daemon's machine is lost in the middle, and the store's connection with it.
pub async fn a_new_machine_goes_on_where_the_last_one_was(bed: impl Bed) {
    let mut world = World::new(bed.store(), 2);
    for round in 0..5 {
        for hub in 0..2 {
            for key in 0..4 {
                world.execute(hub, &["INCRBY", &format!("s{key}"), "3"]).unwrap();
                world.execute(hub, &["ZINCRBY", &format!("z{key}"), "0.5", "m0"]).unwrap();
            }
        }
        if round % 2 == 0 {
            world.settle().await;
        }
        world.begin_anew(bed.store());
    }
    world.settle().await;
    same(&world, bed.plain().as_ref(), &["GET", "s0"], Some(&["30"])).await;
    same(&world, bed.plain().as_ref(), &["ZSCORE", "z0", "m0"], Some(&["5"])).await;
    all_same(&world, &bed).await;
}

/// Two daemons commit to the same slots, neither knowing of the other but by compare-and-set.
pub async fn two_daemons_share_a_store(bed: impl Bed) {
    let mut worlds = [World::of_daemon(0, bed.store(), 1), World::of_daemon(1, bed.store(), 1)];
    for round in 0..6 {
        for (at, world) in worlds.iter_mut().enumerate() {
            for key in 0..4 {
                world.execute(0, &["INCRBY", &format!("s{key}"), if at == 0 { "3" } else { "4" }]).unwrap();
                world.execute(0, &["SADD", &format!("t{key}"), &format!("m{at}{round}")]).unwrap();
                world.execute(0, &["ZINCRBY", &format!("z{key}"), "0.5", "m0"]).unwrap();
            }
        }
        // Together and in turn.
        let [one, two] = &mut worlds;
        match round % 3 {
            0 => drop(tokio::join!(one.settle(), two.settle())),
            1 => one.settle().await,
            _ => two.settle().await,
        }
    }
    let [one, two] = &mut worlds;
    tokio::join!(one.settle(), two.settle());
    same(one, bed.plain().as_ref(), &["GET", "s0"], Some(&["42"])).await;
    same(two, bed.plain().as_ref(), &["ZSCORE", "z3", "m0"], Some(&["6"])).await;
    all_same(one, &bed).await;
}

/// A value went while no daemon looked: the next change writes it whole.
pub async fn a_value_that_was_lost_is_written_whole(bed: impl Bed) {
    let mut world = World::new(bed.store(), 1);
    world.execute(0, &["ZADD", "z0", "1", "ann", "2", "bob"]).unwrap();
    world.settle().await;
    if let Some(plain) = bed.plain() {
        plain.ask::<()>(&["DEL", "z0"]).await;
    }
    world.begin_anew(bed.store());
    world.settle().await;
    world.execute(0, &["ZINCRBY", "z0", "1", "ann"]).unwrap();
    world.settle().await;
    let all = ["ZRANGE", "z0", "0", "-1", "WITHSCORES"];
    same(&world, bed.plain().as_ref(), &all, Some(&["ann", "2", "bob", "2"])).await;
}

async fn all_same<S: Store>(world: &World<'_, S>, bed: &impl Bed) {
    let plain = bed.plain();
    for key in 0..4 {
        let [string, hash, set, board] = ["s", "h", "t", "z"].map(|kind| format!("{kind}{key}"));
        same(world, plain.as_ref(), &["GET", &string], None).await;
        same(world, plain.as_ref(), &["HGETALL", &hash], None).await;
        same(world, plain.as_ref(), &["SMEMBERS", &set], None).await;
        same(world, plain.as_ref(), &["ZRANGE", &board, "0", "-1", "WITHSCORES"], None).await;
    }
}

/// The companion says what the plain value says, and both say what is expected.
pub async fn same<S: Store>(world: &World<'_, S>, plain: Option<&Plain>, words: &[&str], expected: Option<&[&str]>) {
    let mut said = flat(world.read(words).await);
    sort(words, &mut said);
    if let Some(expected) = expected {
        assert_eq!(said, expected, "{words:?}");
    }
    if let Some(plain) = plain {
        let mut read: Vec<String> = match words[0] {
            "GET" | "ZSCORE" | "HGET" => plain.ask::<Option<String>>(words).await.into_iter().collect(),
            _ => plain.ask(words).await,
        };
        sort(words, &mut read);
        assert_eq!(said, read, "{words:?}");
    }
}

/// Sets and hashes have no order.
fn sort(words: &[&str], items: &mut Vec<String>) {
    match words[0] {
        "SMEMBERS" => items.sort(),
        "HGETALL" => {
            let mut pairs: Vec<_> = items.chunks(2).map(<[String]>::to_vec).collect();
            pairs.sort();
            *items = pairs.concat();
        }
        _ => {}
    }
}
