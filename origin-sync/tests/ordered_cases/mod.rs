//! Commands that need one agreed order through the origin's machine into each store, beside a plain client where there is one.

use crate::{
    machine_cases::same,
    support::{
        bed::{Bed, Plain},
        say::bytes,
        world::World,
    },
};
use bytes::Bytes;
use origin_sync::store::{KeyScan, Store};
use std::collections::{BTreeMap, BTreeSet};

fn plain(bed: &impl Bed) -> Plain {
    bed.plain().expect("a store with plain values")
}

pub async fn of_edges_that_set_a_key_if_it_is_absent_one_does(bed: impl Bed) {
    let mut world = World::new(bed.store(), 3);
    world.settle().await;
    for round in 0..20 {
        let key = format!("k{round}");
        let values = ["a", "b", "c"].map(|value| ["SET", &key, value, "NX"]);
        let asked: Vec<(usize, &[&str])> = values.iter().enumerate().map(|(hub, words)| (hub, &words[..])).collect();
        let answers = world.ask_all(&asked).await;
        let set: Vec<usize> = (0..3).filter(|hub| answers[*hub] == ["OK"]).collect();
        assert_eq!(set.len(), 1, "{answers:?}");
        // The edge that asked has it at once.
        assert_eq!(world.ask(set[0], &["GET", &key]).await, [values[set[0]][2]]);
    }
    world.settle().await;
    same(&world, bed.plain().as_ref(), &["GET", "k0"], None).await;
}

pub async fn what_the_edge_wrote_comes_first_and_the_plain_value_follows(bed: impl Bed) {
    let mut world = World::new(bed.store(), 2);
    world.settle().await;
    world.execute(0, &["SET", "once", "token"]).unwrap();
    assert_eq!(world.ask(0, &["GETDEL", "once"]).await, ["token"]);
    assert_eq!(world.ask(0, &["GETDEL", "once"]).await, [""; 0]);
    world.execute(1, &["SADD", "set", "a", "b", "c"]).unwrap();
    assert_eq!(world.ask(1, &["SPOP", "set", "2"]).await.len(), 2);
    world.execute(1, &["ZADD", "board", "1", "low", "2", "mid", "3", "high"]).unwrap();
    assert_eq!(world.ask(1, &["ZPOPMIN", "board"]).await, ["low", "1"]);
    assert_eq!(world.ask(0, &["ZPOPMAX", "board"]).await, ["high", "3"]);
    assert_eq!(world.ask(0, &["MSETNX", "{m}a", "1", "{m}b", "2"]).await, ["1"]);
    assert_eq!(world.ask(1, &["RENAMENX", "{m}a", "{m}b"]).await, ["0"]);
    assert_eq!(world.ask(1, &["RENAMENX", "{m}a", "{m}c"]).await, ["1"]);
    assert_eq!(world.ask(0, &["SET", "{m}c", "3", "XX", "GET", "PX", "100000000"]).await, ["1"]);
    world.settle().await;
    let set = world.ask(0, &["SMEMBERS", "set"]).await;
    let set: Vec<&str> = set.iter().map(String::as_str).collect();
    for (words, expected) in [
        (&["GET", "once"][..], &[][..]),
        (&["SMEMBERS", "set"], &set[..]),
        (&["ZRANGE", "board", "0", "-1"], &["mid"]),
        (&["GET", "{m}a"], &[]),
        (&["GET", "{m}b"], &["2"]),
        (&["GET", "{m}c"], &["3"]),
    ] {
        same(&world, bed.plain().as_ref(), words, Some(expected)).await;
    }
}

pub async fn each_member_is_popped_once_and_locks_exclude(bed: impl Bed) {
    let mut world = World::new(bed.store(), 2);
    world.settle().await;
    let members: Vec<String> = (0..40).map(|member| format!("m{member}")).collect();
    let mut words = vec!["SADD", "set"];
    words.extend(members.iter().map(String::as_str));
    world.execute(0, &words).unwrap();
    world.settle().await;
    let pop: &[&str] = &["SPOP", "set"];
    let mut popped = BTreeMap::<String, usize>::new();
    for _ in 0..20 {
        for answer in world.ask_all(&[(0, pop), (1, pop)]).await {
            *popped.entry(answer[0].clone()).or_default() += 1;
        }
    }
    assert_eq!(popped.len(), 40);
    assert!(popped.values().all(|times| *times == 1), "{popped:?}");
    let mut last = 0;
    for round in 0..20 {
        let asked: [(usize, &[&str]); 2] =
            [(0, &["HW.LOCK", "lock", "one", "10000"]), (1, &["HW.LOCK", "lock", "two", "10000"])];
        let answers = world.ask_all(&asked).await;
        let held: Vec<usize> = (0..2).filter(|hub| !answers[*hub].is_empty()).collect();
        assert_eq!(held.len(), 1, "round {round}: {answers:?}");
        let token: i64 = answers[held[0]][0].parse().unwrap();
        assert!(token > last);
        last = token;
        assert_eq!(world.ask(held[0], &["HW.UNLOCK", "lock", ["one", "two"][held[0]]]).await, ["1"]);
    }
    world.settle().await;
    same(&world, bed.plain().as_ref(), &["HGETALL", "lock"], Some(&["token", &last.to_string()])).await;
}

/// Each with a hub of its own; what orders them is the store.
pub async fn two_daemons_share_one_order(bed: impl Bed) {
    let mut worlds = [World::of_daemon(1, bed.store(), 1), World::of_daemon(2, bed.store(), 1)];
    for world in &mut worlds {
        world.settle().await;
    }
    let [one, two] = &mut worlds;
    for round in 0..20 {
        let key = format!("k{round}");
        let (first, second) = (["SET", &key, "one", "NX"], ["SET", &key, "two", "NX"]);
        let answers = tokio::join!(one.ask(0, &first), two.ask(0, &second));
        let is_set = [answers.0 == ["OK"], answers.1 == ["OK"]];
        assert!(is_set[0] != is_set[1], "{key}: {answers:?}");
        let value = if is_set[0] { "one" } else { "two" };
        assert_eq!(one.ask(0, &["SET", &key, "x", "XX", "GET"]).await, [value]);
        assert_eq!(two.ask(0, &["GETDEL", &key]).await, ["x"]);
    }
}

/// A new machine, as after a failover: it knows nothing but what the store has, and the lock's next token is greater.
pub async fn tokens_grow_across_machines(bed: impl Bed) {
    let mut world = World::new(bed.store(), 2);
    world.settle().await;
    let mut last = 0;
    for hub in [0, 1, 0] {
        let token: i64 = world.ask(hub, &["HW.LOCK", "lock", "me", "10000"]).await[0].parse().unwrap();
        assert!(token > last);
        last = token;
        world.ask(hub, &["HW.UNLOCK", "lock", "me"]).await;
        world.begin_anew(bed.store());
        world.settle().await;
    }
}

/// Plain clients write what no hub holds and the daemon has not read, between any two commands.
pub async fn plain_clients_are_in_the_same_order(bed: impl Bed) {
    let mut world = World::new(bed.store(), 1);
    world.settle().await;
    plain(&bed).ask::<()>(&["SET", "k", "plain"]).await;
    assert_eq!(world.ask(0, &["SET", "k", "v", "NX"]).await, [""; 0]);
    assert_eq!(world.ask(0, &["GET", "k"]).await, ["plain"]);
    plain(&bed).ask::<()>(&["DEL", "k"]).await;
    assert_eq!(world.ask(0, &["SET", "k", "v", "NX"]).await, ["OK"]);
    assert!(!plain(&bed).ask::<bool>(&["SETNX", "k", "plain"]).await);
    plain(&bed).ask::<()>(&["SET", "k", "later"]).await;
    assert_eq!(world.ask(0, &["GETDEL", "k"]).await, ["later"]);
    assert_eq!(plain(&bed).ask::<Option<String>>(&["GET", "k"]).await, None);
    plain(&bed).ask::<()>(&["SADD", "set", "a", "b"]).await;
    plain(&bed).ask::<()>(&["ZADD", "board", "5", "e", "6", "f"]).await;
    assert_eq!(world.ask(0, &["ZPOPMIN", "board"]).await, ["e", "5"]);
    plain(&bed).ask::<()>(&["ZADD", "board", "-1", "first"]).await;
    assert_eq!(world.ask(0, &["ZPOPMIN", "board"]).await, ["first", "-1"]);
    let mut popped = world.ask(0, &["SPOP", "set", "9"]).await;
    popped.sort();
    assert_eq!(popped, ["a", "b"]);
    assert!(!plain(&bed).ask::<bool>(&["EXISTS", "set"]).await);
    plain(&bed).ask::<()>(&["RPUSH", "list", "x"]).await;
    let error = world.refusal(0, &["SET", "list", "v", "NX"]).await;
    assert!(error.contains("WRONGTYPE"), "{error}");
    assert_eq!(plain(&bed).ask::<String>(&["TYPE", "list"]).await, "list");
}

/// Both take members of one set at the same time; nobody gets one that the other has.
pub async fn members_that_a_plain_client_takes_are_not_popped(bed: impl Bed) {
    let client = plain(&bed);
    let names: Vec<String> = (0..200).map(|member| format!("m{member}")).collect();
    let mut words = vec!["SADD", "set"];
    words.extend(names.iter().map(String::as_str));
    client.ask::<()>(&words).await;
    let hammer = tokio::spawn(async move {
        let mut taken = Vec::new();
        while let Some(member) = client.ask::<Option<String>>(&["SPOP", "set"]).await {
            taken.push(member);
            tokio::task::yield_now().await;
        }
        taken
    });
    let mut world = World::new(bed.store(), 1);
    world.settle().await;
    let mut ours = Vec::new();
    loop {
        let answer = world.ask(0, &["SPOP", "set"]).await;
        if answer.is_empty() {
            break;
        }
        ours.extend(answer);
    }
    let theirs = hammer.await.unwrap();
    let all: BTreeSet<&String> = ours.iter().chain(&theirs).collect();
    assert_eq!((all.len(), ours.len() + theirs.len()), (200, 200), "ours: {}, theirs: {}", ours.len(), theirs.len());
}

/// Page by page, on every node of a cluster.
pub async fn every_key_is_on_some_page(bed: impl Bed) {
    let mut expected = BTreeSet::new();
    for at in 0..300 {
        let name = format!("key:{at}");
        plain(&bed).ask::<()>(&["SET", &name, "v"]).await;
        expected.insert(bytes(&name));
    }
    plain(&bed).ask::<()>(&["SADD", "other", "m"]).await;
    let all = async |pattern: Option<&str>, kind: Option<&str>| {
        let (pattern, kind) = (pattern.map(bytes), kind.map(bytes));
        let mut scan = KeyScan { cursor: 0, count: 20, pattern, kind };
        let (mut names, mut pages) = (BTreeSet::<Bytes>::new(), 0);
        loop {
            let page = bed.store().scan(&scan).await.unwrap();
            names.extend(page.keys.into_iter().filter(|name| !name.starts_with(b"hw:")));
            pages += 1;
            scan.cursor = page.cursor;
            if scan.cursor == 0 {
                return (names, pages);
            }
        }
    };
    assert_eq!(all(Some("key:*"), None).await.0, expected);
    assert_eq!(all(None, Some("set")).await.0, BTreeSet::from([bytes("other")]));
    let (names, pages) = all(None, None).await;
    assert_eq!(names.len(), 301);
    assert!(pages > 5, "{pages} pages");
    let random = bed.store().random_key().await.unwrap();
    assert!(random.is_none_or(|name| names.contains(&name) || name.starts_with(b"hw:")));
}
