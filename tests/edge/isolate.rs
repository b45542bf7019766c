//! What an isolate answers from its own memory, and what becomes of it at the hub.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use hyper::Method;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::http::{Answer, Http};
use super::region::Region;
use super::storage::lock;

/// How long a condition may take to come about.
const DEADLINE: Duration = Duration::from_secs(60);

const DURABILITY: &str = "headwater-durability";
const CONSISTENCY: &str = "headwater-consistency";

fn leaf(region: &Region) -> Http {
    region.http().with(DURABILITY, "leaf").with(CONSISTENCY, "local")
}

fn is_at_leaf(answer: &Answer) -> bool {
    let is_at_leaf = answer.header(DURABILITY) == Some("leaf");
    assert_eq!(is_at_leaf, answer.header("headwater-staleness").is_some(), "{answer:?}");
    is_at_leaf
}

async fn run(http: &Http, line: &str) -> Answer {
    http.command(Value::from_iter(line.split(' '))).await
}

/// Asks until `is_so` of the answer.
async fn until(http: &Http, line: &str, is_so: impl Fn(&Answer) -> bool) -> Answer {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let answer = run(http, line).await;
        if is_so(&answer) {
            return answer;
        }
        assert!(Instant::now() < deadline, "{line}: {answer:?}");
        sleep(Duration::from_millis(2)).await;
    }
}

/// A region whose isolate follows the counter `n`, which is 0.
async fn following_n(region: &Region) -> Http {
    region.http().run("SET n 0").await.unwrap();
    let http = leaf(region);
    until(&http, "GET n", is_at_leaf).await;
    http
}

async fn until_n_is(region: &Region, n: u64) {
    let is_n = |answer: &Answer| answer.reply() == Ok(json!(n.to_string()));
    until_hub(region, "n", "GET n", is_n).await;
}

/// Asks the hub until `is_so` of the answer. What an isolate counted may wait for its next request, if it could not tell its hub
/// for ten seconds; so it gets some, on a key that it follows.
async fn until_hub(region: &Region, followed: &str, line: &str, is_so: impl Fn(&Answer) -> bool) -> Answer {
    let deadline = Instant::now() + DEADLINE;
    loop {
        run(&leaf(region), &format!("EXISTS {followed}")).await;
        let answer = run(&region.http(), line).await;
        if is_so(&answer) {
            return answer;
        }
        assert!(Instant::now() < deadline, "{line}: {answer:?}");
        sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn a_counter_that_the_isolate_follows_needs_no_hub() {
    let region = Region::start().await;
    let http = following_n(&region).await;
    let locked = lock(&region).await;
    assert_eq!(region.http().command(json!(["INCR", "n"])).await.status.as_u16(), 503);
    // Once the isolate knows that its hub is away, it answers whatever the age of what it knows.
    for n in 1..=20 {
        let answer = until(&http, "INCR n", is_at_leaf).await;
        assert_eq!(answer.reply(), Ok(json!(n)));
    }
    drop(locked);
    until_n_is(&region, 20).await;
}

#[tokio::test]
async fn what_many_clients_count_at_once_comes_to_the_same_at_the_hub() {
    const CLIENTS: u64 = 16;
    const EACH: u64 = 100;
    let region = Region::start().await;
    let http = following_n(&region).await;
    let clients = (0..CLIENTS).map(|_| {
        let http = http.clone();
        tokio::spawn(async move {
            let mut at_leaf = 0;
            for _ in 0..EACH {
                let answer = run(&http, "INCR n").await;
                answer.reply().unwrap();
                at_leaf += u64::from(is_at_leaf(&answer));
            }
            at_leaf
        })
    });
    let mut at_leaf = 0;
    for client in clients.collect::<Vec<_>>() {
        at_leaf += client.await.unwrap();
    }
    assert!(at_leaf > 0);
    until_n_is(&region, CLIENTS * EACH).await;
}

/// The hub loses its memory with each lock: in the middle of exchanges, whose answers are lost with it.
#[tokio::test]
async fn what_was_counted_counts_once_however_often_the_hub_begins_again() {
    let region = Region::start().await;
    let http = following_n(&region).await;
    let stop = Arc::new(AtomicBool::new(false));
    let [at_leaf, answered, unknown] = [(); 3].map(|()| Arc::new(AtomicU64::new(0)));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let http = http.clone();
            let (stop, at_leaf) = (Arc::clone(&stop), Arc::clone(&at_leaf));
            let (answered, unknown) = (Arc::clone(&answered), Arc::clone(&unknown));
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let answer = run(&http, "INCR n").await;
                    at_leaf.fetch_add(is_at_leaf(&answer).into(), Ordering::Relaxed);
                    let count = if answer.status.is_success() { &answered } else { &unknown };
                    count.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for _ in 0..5 {
        let locked = lock(&region).await;
        more(&at_leaf, 20).await;
        drop(locked);
        more(&at_leaf, 20).await;
        until(&http, "GET n", |answer| staleness_ms(answer).is_some_and(|age_ms| age_ms <= 1_000)).await;
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
    let [answered, unknown] = [answered, unknown].map(|count| count.load(Ordering::Relaxed));
    // What the hub was asked for while it could not write, it did not do, but it need not say so.
    let number = |answer: &Answer| answer.reply().ok()?.as_str()?.parse::<u64>().ok();
    let is_all = |answer: &Answer| number(answer).is_some_and(|n| n >= answered);
    let n = number(&until_hub(&region, "n", "GET n", is_all).await).unwrap();
    assert!((answered..=answered + unknown).contains(&n), "{n} of {answered} and {unknown}");
    // Nothing is left that could be counted again.
    for _ in 0..20 {
        run(&http, "GET n").await;
    }
    assert_eq!(number(&run(&region.http(), "GET n").await), Some(n));
}

#[tokio::test]
async fn beyond_what_an_isolate_may_lose_it_refuses() {
    let region = Region::with("HEADWATER_LEAF_OPERATIONS_MAX", "10").await;
    let http = following_n(&region).await;
    let refused = || json!({"error": "ERR Headwater: too many writes wait to be acknowledged"});
    let deadline = Instant::now() + DEADLINE;
    let mut n = 0;
    loop {
        until_n_is(&region, n).await;
        until(&http, "GET n", is_at_leaf).await;
        let answer = http.post("/pipeline", json!(vec![["INCR", "n"]; 15]).to_string()).await;
        if is_at_leaf(&answer) {
            let accepted = (n + 1..=n + 10).map(|n| json!({ "result": n }));
            let expected: Vec<Value> = accepted.chain((0..5).map(|_| refused())).collect();
            assert_eq!(answer.json(), json!(expected));
            break;
        }
        // A machine that stood still for a second: the hub answered, and takes as many as come.
        n += 15;
        assert!(Instant::now() < deadline, "{answer:?}");
    }
    until_n_is(&region, n + 10).await;
    let answer = until(&http, "INCR n", |answer| answer.status.is_success()).await;
    assert_eq!(answer.reply(), Ok(json!(n + 11)));
    until_n_is(&region, n + 11).await;
}

#[tokio::test]
async fn levels_that_are_none_or_not_served_are_refused_and_nothing_is_done() {
    let region = Region::start().await;
    let http = region.http();
    for (name, value, problem) in [
        (DURABILITY, "none", r#"headwater-durability is "none"; it must be leaf, hub or origin"#),
        (DURABILITY, "", r#"headwater-durability is ""; it must be leaf, hub or origin"#),
        (DURABILITY, "Leaf", r#"headwater-durability is "Leaf"; it must be leaf, hub or origin"#),
        (CONSISTENCY, "strong", r#"headwater-consistency is "strong"; it must be local, session or origin"#),
    ] {
        let http = http.with(name, value);
        let check = json!({"key": "l", "algorithm": "fixed", "limit": 3, "window_ms": 86_400_000}).to_string();
        for (method, path, body) in [
            (Method::POST, "/", r#"["INCR","n"]"#.to_owned()),
            (Method::POST, "/pipeline", r#"[["INCR","n"]]"#.to_owned()),
            (Method::GET, "/incr/n", String::new()),
            (Method::POST, "/v1/limit", check),
        ] {
            let answer = http.send(method, path, body.into()).await.unwrap();
            assert_eq!(answer.refusal(400), format!("ERR Headwater: {problem}"), "{path}");
        }
    }
    let check = json!({"key": "l", "algorithm": "fixed", "limit": 3, "window_ms": 86_400_000}).to_string();
    let answer = http.with(CONSISTENCY, "session").send(Method::POST, "/v1/limit", check.into()).await.unwrap();
    assert_eq!(answer.refusal(400), "ERR Headwater: headwater-consistency session is not served for /v1/limit");
    assert_eq!(region.status().await["keys"], json!(0));
}

#[tokio::test]
async fn what_asks_for_more_than_the_isolate_gives_goes_to_the_hub() {
    let region = Region::start().await;
    let http = following_n(&region).await;
    for (client, line) in [
        (region.http(), "INCR n"),
        (region.http().with(DURABILITY, "hub"), "INCR n"),
        (region.http().with(DURABILITY, "leaf").with("idempotency-key", "once"), "INCR n"),
        (region.http().with(DURABILITY, "leaf"), "GET n"),
        (region.http().with(CONSISTENCY, "local"), "INCR n"),
        (http.clone(), "SET n 5"),
        (http.clone(), "DEL n"),
    ] {
        let answer = run(&client, line).await;
        assert!(answer.status.is_success() && !is_at_leaf(&answer), "{line}: {answer:?}");
    }
    assert_eq!(run(&http, "INCR").await.refusal(400), "ERR wrong number of arguments for 'incr' command");
}

#[tokio::test]
async fn what_is_too_large_to_follow_is_answered_by_the_hub() {
    let region = Region::start().await;
    let fields = (0..4000).flat_map(|at| [json!(format!("a field with the number {at}")), json!("a value")]);
    let hash: Vec<Value> = [json!("HSET"), json!("large")].into_iter().chain(fields).collect();
    region.http().command(json!(hash)).await.reply().unwrap();
    let http = following_n(&region).await;
    for _ in 0..10 {
        let answer = run(&http, "HLEN large").await;
        assert!(!is_at_leaf(&answer), "{answer:?}");
        assert_eq!(answer.reply(), Ok(json!(4000)));
        until(&http, "GET n", is_at_leaf).await;
    }
}

fn check(key: &str, limit: u64, peek: bool) -> Value {
    let cost = u64::from(!peek);
    json!({"key": key, "algorithm": "fixed", "limit": limit, "window_ms": 86_400_000, "cost": cost, "peek": peek})
}

/// A client whose isolate follows a limit of which nothing is spent.
async fn following_limit(region: &Region, key: &str) -> Http {
    for line in [format!("SET {key} v"), format!("DEL {key}")] {
        region.http().run(&line).await.unwrap();
    }
    let http = leaf(region);
    let deadline = Instant::now() + DEADLINE;
    while !is_at_leaf(&ask(&http, &check(key, 10, true)).await) {
        assert!(Instant::now() < deadline, "the isolate does not follow the limit");
        sleep(Duration::from_millis(2)).await;
    }
    http
}

async fn ask(http: &Http, check: &Value) -> Answer {
    http.post("/v1/limit", check.to_string()).await
}

#[tokio::test]
async fn a_limit_is_kept_in_the_isolate_and_told_to_the_hub() {
    let region = Region::start().await;
    let deadline = Instant::now() + DEADLINE;
    for key in (0..).map(|number| format!("l{number}")) {
        let http = following_limit(&region, &key).await;
        let answer = ask(&http, &json!(vec![check(&key, 10, false); 15])).await;
        let verdicts = answer.json();
        let verdicts = verdicts.as_array().unwrap();
        let is_allowed = |verdict: &&Value| verdict["allowed"] == json!(true);
        assert_eq!((answer.status.as_u16(), verdicts.iter().filter(is_allowed).count()), (429, 10));
        let is_spent = |answer: &Answer| answer.reply().is_ok_and(|reply| reply[0] == json!(0) && reply[1] == json!(0));
        until_hub(&region, &key, &format!("HW.LIMIT {key} FIXED 10 86400000 PEEK"), is_spent).await;
        if is_at_leaf(&answer) {
            for verdict in verdicts {
                assert_eq!(verdict["over_admit_max"], json!("unbounded"));
                assert!(verdict["staleness"].as_u64().is_some(), "{verdict}");
            }
            assert_eq!(ask(&http, &check(&key, 10, false)).await.status.as_u16(), 429);
            return;
        }
        // A machine that stood still for a second.
        assert!(Instant::now() < deadline, "{answer:?}");
    }
}

/// The error bar: whatever was spent elsewhere longer ago than the staleness says, has been counted.
#[tokio::test]
async fn a_limit_has_counted_all_that_was_spent_before_its_staleness() {
    const LIMIT: u64 = 1_000;
    // The runtime's clock and this one are the same; both are read in whole milliseconds.
    const CLOCK_MS: u64 = 2;
    let region = Region::start().await;
    let http = following_limit(&region, "l").await;
    for spent in 1..=20 {
        run(&region.http(), &format!("HW.LIMIT l FIXED {LIMIT} 86400000")).await.reply().unwrap();
        let spent_at_ms = now_ms();
        let deadline = Instant::now() + DEADLINE;
        loop {
            let asked_at_ms = now_ms();
            let answer = ask(&http, &check("l", LIMIT, true)).await;
            let verdict = answer.json();
            let left = verdict["remaining"].as_u64().unwrap();
            let staleness_ms = verdict["staleness"].as_u64();
            let is_later = |staleness_ms| asked_at_ms > spent_at_ms + staleness_ms + CLOCK_MS;
            if is_at_leaf(&answer) && staleness_ms.is_some_and(is_later) {
                assert_eq!(left, LIMIT - spent, "{verdict}");
                break;
            }
            assert!(left >= LIMIT - spent && Instant::now() < deadline, "{verdict}");
            sleep(Duration::from_millis(1)).await;
        }
    }
}

fn staleness_ms(answer: &Answer) -> Option<u64> {
    answer.header("headwater-staleness").map(|age_ms| age_ms.parse().unwrap())
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis().try_into().unwrap()
}

/// Waits until so many more have been counted.
async fn more(count: &AtomicU64, by: u64) {
    let (until, deadline) = (count.load(Ordering::Relaxed) + by, Instant::now() + DEADLINE);
    while count.load(Ordering::Relaxed) < until {
        assert!(Instant::now() < deadline, "nothing is counted any more");
        sleep(Duration::from_millis(1)).await;
    }
}
