//! The levels above the hub: answers that wait for the origin's commit, and reads that ask it first; and with the origin cut.

use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::{Instant, sleep};

use super::http::{Answer, Http};
use super::region::Region;
use super::setup::{Plain, TwoRegions, origin_of, redis_in};
use super::socket::now;
use super::tokens;
use headwater_tests::harness::Store;

const DURABILITY: &str = "headwater-durability";
const CONSISTENCY: &str = "headwater-consistency";
const DEADLINE: Duration = Duration::from_secs(60);

fn durable(http: &Http) -> Http {
    http.with(DURABILITY, "origin")
}

fn fresh(http: &Http) -> Http {
    http.with(CONSISTENCY, "origin")
}

fn assert_at_origin(answer: &Answer) {
    assert_eq!((answer.status.as_u16(), answer.header(DURABILITY)), (200, Some("origin")), "{answer:?}");
}

#[tokio::test]
async fn what_is_durable_at_the_origin_is_in_redis_when_it_is_answered() {
    let setup = TwoRegions::new().await;
    let http = durable(&setup.regions[0].http());
    for number in 1..=20 {
        let pipeline = json!([["INCR", "n"], ["SET", format!("k{number}"), "v"], ["HSET", "h", "f", number]]);
        assert_at_origin(&http.post("/pipeline", pipeline.to_string()).await);
        assert_eq!(setup.plain::<i64>("GET n").await, number);
        assert_eq!(setup.plain::<String>(&format!("GET k{number}")).await, "v");
        assert_eq!(setup.plain::<i64>("HGET h f").await, number);
    }
    // Also what goes by the outbox, and what a scenario writes.
    assert_at_origin(&http.command(json!(["RPUSH", "jobs", "a"])).await);
    assert_eq!(setup.plain::<Vec<String>>("LRANGE jobs 0 -1").await, ["a"]);
    let joined = http.post("/v1/presence/join", r#"{"room":"lobby","member":"ada","ttl_ms":60000}"#).await;
    assert_eq!(joined.status.as_u16(), 200);
    assert!(setup.plain::<bool>("HEXISTS presence:lobby ada").await);
    // What wrote nothing waits for nothing.
    assert_eq!(http.command(json!(["GET", "n"])).await.header(DURABILITY), Some("origin"));
    assert_eq!(http.run("INCR h").await.unwrap_err().split(' ').next(), Some("WRONGTYPE"));
}

#[tokio::test]
async fn with_the_origin_cut_nothing_that_needs_it_is_executed() {
    let region = Region::start().await;
    let http = region.http();
    http.run("SET n 5").await.unwrap();
    let refused = durable(&http).command(json!(["INCR", "n"])).await.refusal(503);
    let needs = |header: &str| {
        format!("ERR Headwater: the origin is away, and {header} origin needs it; nothing of this request was executed")
    };
    assert_eq!(refused, needs(DURABILITY));
    for command in [json!(["GET", "n"]), json!(["INCR", "n"])] {
        // At once: what waits for the origin takes five seconds each time, and a machine that stood still does so once.
        let mut soonest = Duration::MAX;
        for _ in 0..3 {
            let begun = Instant::now();
            assert_eq!(fresh(&http).command(command.clone()).await.refusal(503), needs(CONSISTENCY));
            soonest = soonest.min(begun.elapsed());
        }
        assert!(soonest < Duration::from_secs(4), "{command}: {soonest:?}");
    }
    let refused = durable(&http).post("/v1/metrics/add", r#"{"metric":"hits"}"#).await.refusal(503);
    assert_eq!(refused, needs(DURABILITY));
    assert_eq!(http.run("GET n").await, Ok(json!("5")));
    // What names no key, or writes nothing, needs nobody.
    assert_eq!(fresh(&http).run("PING").await, Ok(json!("PONG")));
    assert_eq!(durable(&http).run("GET n").await, Ok(json!("5")));
    for (header, level) in [(DURABILITY, "origin"), (CONSISTENCY, "origin")] {
        let check = r#"{"key":"k","algorithm":"fixed","limit":1,"window_ms":1000}"#;
        let refused = http.with(header, level).post("/v1/limit", check).await.refusal(400);
        assert_eq!(refused, format!("ERR Headwater: {header} {level} is not served for /v1/limit"));
    }
}

#[tokio::test]
async fn what_is_not_committed_in_time_stays_and_arrives_and_a_retry_counts_it_once() {
    let setup = TwoRegions::new().await;
    let http = durable(&setup.regions[0].http()).with("idempotency-key", "k");
    assert_at_origin(&durable(&setup.regions[0].http()).command(json!(["INCR", "n"])).await);
    // Twice as long as the edge waits, so that also one that is asked late waits in vain.
    setup.plain::<()>("CLIENT PAUSE 20000 ALL").await;
    let late = http.command(json!(["INCR", "n"])).await.refusal(504);
    assert!(late.starts_with("ERR Headwater: the origin has not committed it in time. It was executed"), "{late}");
    assert_eq!(setup.regions[0].http().run("GET n").await, Ok(json!("2")), "it stays");
    let deadline = Instant::now() + DEADLINE;
    while http.command(json!(["INCR", "n"])).await.status.as_u16() != 200 {
        assert!(Instant::now() < deadline, "the origin is there again");
        sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(setup.plain::<i64>("GET n").await, 2);
}

#[tokio::test]
async fn a_read_that_asks_the_origin_sees_what_a_plain_client_wrote_before() {
    let setup = TwoRegions::new().await;
    let [one, two] = [0, 1].map(|region: usize| setup.regions[region].http());
    for number in 0..30 {
        setup.plain::<()>(&format!("SET k {number}")).await;
        assert_eq!(fresh(&one).run("GET k").await, Ok(json!(number.to_string())), "held or not");
        setup.plain::<()>(&format!("HSET h f {number}")).await;
        let read = fresh(&one).pipeline(json!([["HGETALL", "h"], ["MGET", "k", "absent"], ["EXISTS", "k", "h"]])).await;
        assert_eq!(read, [Ok(json!(["f", number.to_string()])), Ok(json!([number.to_string(), null])), Ok(json!(2))]);
        // What another region has committed is there too.
        durable(&two).run("INCR n").await.unwrap();
        assert_eq!(fresh(&one).run("GET n").await, Ok(json!((number + 1).to_string())));
    }
    // An increment goes on from there, and a scenario reads what it is asked for.
    setup.plain::<()>("SET n 1000").await;
    assert_eq!(fresh(&one).run("INCR n").await, Ok(json!(1001)));
    setup.plain::<()>("HSET flags checkout on").await;
    let flags = fresh(&one).post("/v1/flags/read", "{}").await;
    assert_eq!(flags.json()["flags"], json!({"checkout": "on"}));
    setup.plain::<()>("RPUSH list a").await;
    assert_eq!(fresh(&one).run("GET k").await, Ok(json!("29")));
    assert!(fresh(&one).run("HW.REFRESH list").await.unwrap_err().starts_with("WRONGTYPE"));
    assert_eq!([fresh(&one).run("HW.REFRESH k").await, one.run("HW.REFRESH no").await], [Ok(json!(1)), Ok(json!(0))]);
    let many = Value::from_iter(["MGET".to_owned()].into_iter().chain((0..1025).map(|number| format!("k{number}"))));
    let refused = fresh(&one).command(many).await.refusal(400);
    assert!(refused.contains("at most 1024 keys"), "{refused}");
}

#[tokio::test]
async fn levels_at_the_origin_hold_in_a_namespace() {
    let region = Region::with("HEADWATER_NAMESPACES", "shop").await;
    let dir = tempfile::tempdir().unwrap();
    let (redis, _) = redis_in(dir.path(), false).await;
    let _daemon = origin_of(&[&region], Store::Redis(redis.url()), dir.path()).await;
    let plain = Plain::of(&redis).await;
    let grants = json!([{"verbs": ["read", "write"], "keys": ["*"]}]);
    let token = tokens::signed("new", "new", &json!({"exp": now().0 / 1000 + 600, "ns": "shop", "grants": grants}));
    let shop = region.stranger().with("authorization", &format!("Bearer {token}"));
    let deadline = Instant::now() + DEADLINE;
    // The hub of a namespace comes into being by the first request, and the origin finds it then.
    while durable(&shop).command(json!(["SET", "k", "v"])).await.status.as_u16() != 200 {
        assert!(Instant::now() < deadline, "the origin finds the namespace's hub");
        sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(plain.run::<String>("GET shop:k").await, "v");
    plain.run::<()>("SET shop:k w").await;
    assert_eq!(fresh(&shop).run("MGET k shop:k").await, Ok(json!(["w", null])));
}
