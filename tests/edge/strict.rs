//! Strict limits over real parts: two edges, one daemon, one Redis, and kills while all are asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use headwater_tests::harness::{Daemon, Redis, Store};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

use super::http::Http;
use super::region::Region;
use super::setup::{origin_of, redis_in};

const LIMIT: usize = 60;
const WINDOW: Duration = Duration::from_secs(4);

/// How long clients ask at least.
const WORK: Duration = Duration::from_secs(24);

/// How long it may take until half of what may pass in that time has passed.
const WORK_DEADLINE: Duration = Duration::from_secs(180);

/// How long a daemon may take until it grants: a lease of five seconds and the window, and what workers take to start.
const SILENCE_DEADLINE: Duration = Duration::from_secs(120);

struct Setup {
    regions: Vec<Region>,
    daemon: Daemon,
    redis: Redis,
    _dir: TempDir,
}

impl Setup {
    async fn new(edges: usize) -> Self {
        let mut regions = Vec::new();
        for _ in 0..edges {
            regions.push(Region::start().await);
        }
        let dir = tempfile::tempdir().unwrap();
        let (redis, _) = redis_in(dir.path(), true).await;
        let all: Vec<&Region> = regions.iter().collect();
        let daemon = origin_of(&all, Store::Redis(redis.url()), dir.path()).await;
        Self { regions, daemon, redis, _dir: dir }
    }
}

fn check(key: &str) -> Value {
    let window_ms = u64::try_from(WINDOW.as_millis()).unwrap();
    json!({"key": key, "algorithm": "sliding", "limit": LIMIT, "window_ms": window_ms, "mode": "strict"})
}

/// Waits until the origin grants at all.
async fn granting(http: &Http) {
    passed(http, &check("probe")).await;
}

/// Asks until it passes.
async fn passed(http: &Http, check: &Value) {
    let deadline = Instant::now() + SILENCE_DEADLINE;
    loop {
        let answer = http.post("/v1/limit", check.to_string()).await;
        if answer.status.as_u16() == 200 {
            return;
        }
        assert!(Instant::now() < deadline, "nothing is granted: {answer:?}");
        sleep(Duration::from_millis(100)).await;
    }
}

/// When a request that passed was sent, and when its answer was there: it passed in between.
type Passed = (Instant, Instant);

/// Asks again and again until it is to stop, also while an edge is down.
async fn keep_asking(http: Http, stop: Arc<AtomicBool>, passed: Arc<Mutex<Vec<Passed>>>, asked: Arc<Mutex<usize>>) {
    while !stop.load(Ordering::Relaxed) {
        let begun = Instant::now();
        let body = check("k").to_string();
        let answer = http.send(hyper::Method::POST, "/v1/limit", body.into()).await;
        *asked.lock().await += 1;
        match answer {
            Ok(answer) if answer.status.as_u16() == 200 => {
                assert_eq!(answer.json()["over_admit_max"], json!(0), "{answer:?}");
                passed.lock().await.push((begun, Instant::now()));
            }
            _ => sleep(Duration::from_millis(20)).await,
        }
    }
}

#[tokio::test]
async fn edges_together_keep_a_strict_limit_while_they_and_the_daemon_are_killed() {
    let mut setup = Setup::new(2).await;
    granting(&setup.regions[0].http()).await;
    let (passed, asked) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(0)));
    let (begun, stop) = (Instant::now(), Arc::new(AtomicBool::new(false)));
    let clients: Vec<_> = (0..4)
        .map(|at| setup.regions[at % 2].http())
        .map(|http| tokio::spawn(keep_asking(http, Arc::clone(&stop), Arc::clone(&passed), Arc::clone(&asked))))
        .collect();
    sleep(Duration::from_secs(5)).await;
    setup.regions[0].kill_and_restart().await;
    sleep(Duration::from_secs(4)).await;
    setup.daemon.kill();
    sleep(Duration::from_secs(1)).await;
    setup.daemon.restart().await.unwrap();
    // A slow machine takes longer for as much.
    let may_in = |time: Duration| LIMIT * usize::try_from(time.as_millis() / WINDOW.as_millis()).unwrap();
    while begun.elapsed() < WORK || passed.lock().await.len() * 2 < may_in(WORK) {
        let so_far = passed.lock().await.len();
        assert!(begun.elapsed() < WORK_DEADLINE, "{so_far} passed where {} may in {WORK:?}", may_in(WORK));
        sleep(Duration::from_millis(50)).await;
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
    let may = may_in(begun.elapsed());
    let mut passed = passed.lock().await.clone();
    passed.sort_unstable_by_key(|(_, answered)| *answered);
    // What was sent after `begin` and answered before its window ended lies within it for certain.
    let most = passed.iter().map(|(begin, _)| {
        passed.iter().filter(|(sent, answered)| sent >= begin && *answered < *begin + WINDOW).count()
    });
    let most = most.max().unwrap_or(0);
    println!("{} of {} passed, at most {most} in a window, where {may} may", passed.len(), *asked.lock().await);
    assert!(most <= LIMIT, "{most} passed within {WINDOW:?}");
    assert!(passed.len() <= may + LIMIT, "{} passed where {may} may", passed.len());
}

#[tokio::test]
async fn without_an_origin_a_strict_check_is_open_or_closed_as_it_says() {
    let region = Region::start().await;
    let error = "ERR Headwater: this edge has no rights left under the strict limit, and the origin is away or grants \
                 none yet";
    let mut check = check("k");
    let closed = region.http().post("/v1/limit", check.to_string()).await;
    assert_eq!((closed.status.as_u16(), &closed.json()["error"]), (503, &json!(error)));
    check["on_error"] = json!("open");
    let open = region.http().post("/v1/limit", check.to_string()).await;
    assert_eq!((open.status.as_u16(), &open.json()["allowed"]), (200, &json!(true)));
    assert_eq!(region.status().await["undecided"], json!(2));
    // An isolate has no rights, and asks the hub.
    let leaf = region.http().with("headwater-durability", "leaf");
    assert_eq!(leaf.run("HW.LIMIT k SLIDING 60 4000 STRICT").await, Err(error.to_owned()));
}

#[tokio::test]
async fn a_redis_that_restarts_grants_nothing_until_all_has_ended() {
    let mut setup = Setup::new(1).await;
    let http = setup.regions[0].http();
    granting(&http).await;
    let mut costly = check("k");
    costly["cost"] = json!(LIMIT);
    // The origin may take longer to grant as much than one request waits, which then spends nothing.
    passed(&http, &costly).await;
    let spent = Instant::now();
    setup.redis.kill();
    setup.redis.restart().await.unwrap();
    passed(&http, &costly).await;
    // A lease, and the window.
    assert!(spent.elapsed() >= Duration::from_secs(5) + WINDOW, "{:?}", spent.elapsed());
}
