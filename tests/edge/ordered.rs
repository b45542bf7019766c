//! Commands that need one agreed order, through workerd and the daemon to Redis: at two regions of one origin, beside a plain
//! client, and with the origin away.

use serde_json::{Value, json};
use std::collections::BTreeSet;
use tokio::join;

use super::setup::TwoRegions;

const AWAY: &str = "ERR Headwater: the origin is away, and this command runs only there; nothing was done";

#[tokio::test]
async fn two_regions_and_a_plain_client_share_one_order() {
    let mut setup = TwoRegions::new().await;
    let [one, two] = [0, 1].map(|region: usize| setup.regions[region].http());
    for round in 0..30 {
        let (nx, key) = (|value: &str| format!("SET k{round} {value} NX"), format!("k{round}"));
        let plain = format!("SETNX {key} plain");
        let (first, second) = (nx("one"), nx("two"));
        let (first, second, third) = join!(one.run(&first), two.run(&second), setup.plain::<bool>(&plain));
        let set = [(first == Ok(json!("OK")), "one"), (second == Ok(json!("OK")), "two"), (third, "plain")];
        let winners: Vec<&str> = set.iter().filter(|(is_set, _)| *is_set).map(|(_, value)| *value).collect();
        assert_eq!(winners.len(), 1, "round {round}: {first:?} {second:?} {third}");
        assert_eq!(setup.plain::<String>(&format!("GET {key}")).await, winners[0]);
        // Whoever asked has the value with its answer.
        for http in [&one, &two] {
            assert_eq!(http.run(&format!("GET {key}")).await, Ok(json!(winners[0])));
        }
    }
    // What an edge acknowledged comes before, and what it asks next shows it.
    assert_eq!(one.run("SET once token").await, Ok(json!("OK")));
    assert_eq!(one.run("GETDEL once").await, Ok(json!("token")));
    assert_eq!(one.run("GET once").await, Ok(Value::Null));
    // Of two who ask at once, either may be the one who gets it.
    assert_eq!(one.run("SET once token").await, Ok(json!("OK")));
    let (first, second) = join!(one.run("GETDEL once"), two.run("GETDEL once"));
    let got = [&first, &second].map(|reply| *reply == Ok(json!("token")));
    let missed = [&first, &second].map(|reply| *reply == Ok(Value::Null));
    assert!(got[0] != got[1] && missed[0] != missed[1], "{first:?} {second:?}");
    let replies = one.pipeline(json!([
        ["SADD", "set", "a", "b"],
        ["SPOP", "set", 5],
        ["EXISTS", "set"],
        ["SETNX", "n", 5],
        ["INCR", "n"],
        ["LLEN", "list"]
    ]));
    let replies = replies.await;
    assert_eq!(replies[2..], [Ok(json!(0)), Ok(json!(1)), Ok(json!(6)), Ok(json!(0))], "{replies:?}");
    let refused = one.post("/multi-exec", r#"[["INCR","n"],["GETDEL","n"]]"#).await.refusal(400);
    assert!(refused.starts_with("EXECABORT ") && refused.contains("part of a transaction"), "{refused}");
    setup.daemon.kill();
    setup.regions[0].until("origin_connected", false).await;
    assert_eq!(one.run("SET k v NX").await, Err(AWAY.to_owned()));
    assert_eq!(one.run("SCAN 0").await, Err(AWAY.to_owned()));
    assert_eq!(one.run("GET n").await, Ok(json!("6")));
}

#[tokio::test]
async fn all_keys_are_listed_without_headwaters_own_and_deleted() {
    let setup = TwoRegions::new().await;
    let http = setup.regions[0].http();
    let mut expected = BTreeSet::new();
    for at in 0..40 {
        http.run(&format!("SET key:{at} v")).await.unwrap();
        expected.insert(format!("key:{at}"));
    }
    setup.plain::<()>("SADD plain m").await;
    setup.plain::<()>("RPUSH list x").await;
    expected.extend(["plain".to_owned(), "list".to_owned()]);
    // The writes before are in Redis by then.
    assert_eq!(http.run("DBSIZE").await, Ok(json!(42)));
    let names = |reply: &Value| {
        let names = reply.as_array().unwrap().iter();
        names.map(|name| name.as_str().unwrap().to_owned()).collect::<BTreeSet<String>>()
    };
    assert_eq!(names(&http.run("KEYS *").await.unwrap()), expected);
    assert_eq!(names(&http.run("KEYS key:1?").await.unwrap()).len(), 10);
    let (mut found, mut cursor) = (BTreeSet::new(), "0".to_owned());
    loop {
        let page = http.run(&format!("SCAN {cursor} MATCH key:* COUNT 5 TYPE string")).await.unwrap();
        found.extend(names(&page[1]));
        cursor = page[0].as_str().unwrap().to_owned();
        if cursor == "0" {
            break;
        }
    }
    assert_eq!(found.len(), 40);
    assert!(expected.contains(http.run("RANDOMKEY").await.unwrap().as_str().unwrap()));
    assert_eq!(http.run("FLUSHDB").await, Ok(json!("OK")));
    assert_eq!(http.run("DBSIZE").await, Ok(json!(0)));
    assert_eq!(http.run("GET key:1").await, Ok(Value::Null));
    assert_eq!(http.run("RANDOMKEY").await, Ok(Value::Null));
}

#[tokio::test]
async fn of_two_regions_that_contend_for_a_lock_one_holds_it_and_tokens_grow() {
    let setup = TwoRegions::new().await;
    let [one, two] = [0, 1].map(|region: usize| setup.regions[region].http());
    let mut last = 0;
    for round in 0..20 {
        let (first, second) = join!(one.run("HW.LOCK lock one 30000"), two.run("HW.LOCK lock two 30000"));
        let held: Vec<(&str, i64)> = [("one", first), ("two", second)]
            .into_iter()
            .filter_map(|(owner, token)| Some((owner, token.unwrap().as_i64()?)))
            .collect();
        let [(owner, token)] = held[..] else { panic!("round {round}: {held:?}") };
        assert!(token > last, "{token} after {last}");
        last = token;
        assert_eq!(setup.plain::<String>("HGET lock owner").await, owner);
        // Another edge gives it back as well.
        let other = if owner == "one" { &two } else { &one };
        assert_eq!(other.run("HW.UNLOCK lock other").await, Ok(json!(0)));
        assert_eq!(other.run(&format!("HW.EXTEND lock {owner} 60000")).await, Ok(json!(token)));
        assert_eq!(other.run(&format!("HW.UNLOCK lock {owner}")).await, Ok(json!(1)));
    }
}
