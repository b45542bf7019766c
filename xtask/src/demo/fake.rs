//! Tests of the whole demo but for the real edges and the daemon: fakes that keep nothing themselves and hand every command to a
//! Redis at once. What they do keep is each idempotency key's first answer; and they lose answers on purpose.

use std::collections::HashMap;
use std::future::ready;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use axum::{Json, Router};
use headwater_tests::harness::{Redis, RedisConfig, free_port};
use redis::aio::MultiplexedConnection;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::cluster::REGIONS;
use super::edge::EdgeClient;
use super::live::Live;
use super::log::Log;
use super::settle::Until;
use super::stage::{Manner, Performance, Stage};
use super::store::Store;
use super::{generate, keys};

const TOKEN: &str = "token";
const LINES: u64 = 1_500;

#[derive(Clone)]
struct Fake {
    redis: MultiplexedConnection,
    answers: Arc<Mutex<HashMap<String, Value>>>,
    /// Of a hundred requests, how many are refused before, and how many lose their answer after, they took effect.
    faults_percent: u8,
    /// Whether a repeated idempotency key is executed again: the mistake that the check must find.
    forgetful: bool,
}

impl Fake {
    async fn execute(&self, command: &Value) -> Value {
        let words = command.as_array().expect("a command is an array").iter();
        let words: Vec<String> =
            words.map(|word| word.as_str().map_or_else(|| word.to_string(), str::to_owned)).collect();
        let (name, arguments) = words.split_first().expect("a command has a name");
        match redis::cmd(name).arg(arguments).query_async(&mut self.redis.clone()).await {
            Ok(value) => json!({ "result": to_json(value) }),
            Err(error) => json!({ "error": error.to_string() }),
        }
    }
}

async fn pipeline(
    State(fake): State<Fake>,
    headers: HeaderMap,
    Json(commands): Json<Vec<Value>>,
) -> Result<Json<Value>, StatusCode> {
    if headers.get("authorization").is_none_or(|it| it != format!("Bearer {TOKEN}").as_str()) {
        return Err(StatusCode::UNAUTHORIZED);
    }
    let key = headers.get("idempotency-key").and_then(|key| key.to_str().ok()).unwrap_or_default().to_owned();
    let die = fastrand::u8(0..100);
    if die < fake.faults_percent {
        return Err(StatusCode::SERVICE_UNAVAILABLE);
    }
    // One lock around it all: a repetition must not overtake the first.
    let mut answers = fake.answers.lock().await;
    let answer = match answers.get(&key).filter(|_| !fake.forgetful) {
        Some(answer) => answer.clone(),
        None => {
            let mut replies = Vec::new();
            for command in &commands {
                replies.push(fake.execute(command).await);
            }
            answers.insert(key, Value::from(replies.clone()));
            replies.into()
        }
    };
    if die < fake.faults_percent * 2 { Err(StatusCode::INTERNAL_SERVER_ERROR) } else { Ok(Json(answer)) }
}

async fn status() -> Json<Value> {
    Json(json!({ "region": "eu", "replica": "r", "keys": 1, "pending": 0, "unstable": 0, "origin_connected": true }))
}

async fn command(State(fake): State<Fake>, Json(command): Json<Value>) -> Json<Value> {
    Json(fake.execute(&command).await)
}

fn to_json(value: redis::Value) -> Value {
    match value {
        redis::Value::Int(number) => number.into(),
        redis::Value::BulkString(bytes) => String::from_utf8_lossy(&bytes).into(),
        redis::Value::SimpleString(text) => text.into(),
        redis::Value::Okay => "OK".into(),
        redis::Value::Array(all) => all.into_iter().map(to_json).collect(),
        _ => Value::Null,
    }
}

/// A Redis and fakes before it.
struct World {
    redis: Redis,
    urls: Vec<String>,
    dir: PathBuf,
}

impl World {
    /// Nothing where this machine has no Redis.
    async fn start(name: &str, faults_percent: u8, forgetful: bool) -> Option<Self> {
        if !Redis::available() {
            eprintln!("skipped: no redis-server on the PATH");
            return None;
        }
        let dir = std::env::temp_dir().join(format!("headwater-demo-{}-{name}", std::process::id()));
        let config = RedisConfig { dir: dir.clone(), port: free_port().unwrap(), append_only: false };
        let redis = Redis::start(config).await.unwrap();
        let connection = redis::Client::open(redis.url()).unwrap().get_multiplexed_async_connection().await.unwrap();
        let mut urls = Vec::new();
        for _ in REGIONS {
            let fake = Fake { redis: connection.clone(), answers: Arc::default(), faults_percent, forgetful };
            let routes = Router::new()
                .route("/pipeline", post(pipeline))
                .route("/v1/status", get(status))
                .route("/command", post(command))
                .with_state(fake);
            let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
            urls.push(format!("http://{}", listener.local_addr().unwrap()));
            tokio::spawn(axum::serve(listener, routes).into_future());
        }
        Some(Self { redis, urls, dir })
    }

    async fn perform(&self, store: Store) -> (Stage, Performance) {
        self.perform_disturbed(store, &[]).await
    }

    /// `disturbance` is a command executed behind the edges' backs.
    async fn perform_disturbed(&self, store: Store, disturbance: &[&str]) -> (Stage, Performance) {
        let path = self.dir.join("access.log");
        generate::write(LINES, 3, std::fs::File::create(&path).unwrap()).unwrap();
        let log = Log::read(&path).unwrap();
        let clients = REGIONS.iter().zip(&self.urls).map(|(region, url)| EdgeClient::new(region, url, TOKEN));
        let stage = Stage::new(clients.collect(), store, log.entries.len(), Live::new(REGIONS.len()));
        let manner = Manner { connections: 16, until: Until::Stable, loss_window: Duration::ZERO };
        if let Some((name, arguments)) = disturbance.split_first() {
            let mut redis =
                redis::Client::open(self.redis.url()).unwrap().get_multiplexed_async_connection().await.unwrap();
            let _: redis::Value = redis::cmd(name).arg(arguments).query_async(&mut redis).await.unwrap();
        }
        let performance = stage.perform(&path, &log.entries, manner, ready(Ok(()))).await.unwrap();
        (stage, performance)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.redis.kill();
        // A directory left behind in /tmp fails no test.
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn differing(performance: &Performance) -> Vec<&str> {
    performance.check.differences.iter().map(|pair| pair.what.as_str()).collect()
}

#[tokio::test]
async fn a_replay_at_sound_edges_is_equal() {
    let Some(world) = World::start("sound", 0, false).await else { return };
    let (stage, performance) = world.perform(Store::redis(&world.redis.url()).unwrap()).await;
    assert_eq!(differing(&performance), [""; 0]);
    assert_eq!(performance.replayed.operations, LINES * 14);
    assert_eq!(performance.replayed.refused, 0);
    assert_eq!(performance.check.omissions, [""; 0]);
    assert!(stage.probes.lags_of_all().count() > 0);
    let cost = performance.cost.unwrap();
    // The fakes send each command as it is; the probes' increments come on top.
    assert!(cost.commands() >= LINES * 14, "{cost:?}");
    assert!(cost.commands() < LINES * 14 + 2_000, "{cost:?}");
}

#[tokio::test]
async fn lost_answers_are_retried_and_counted_once() {
    let Some(world) = World::start("retried", 8, false).await else { return };
    let (_, performance) = world.perform(Store::redis(&world.redis.url()).unwrap()).await;
    assert_eq!(differing(&performance), [""; 0]);
    assert!(performance.replayed.retries > 50);
}

#[tokio::test]
async fn an_edge_that_forgets_idempotency_keys_is_found_out() {
    let Some(world) = World::start("forgetful", 5, true).await else { return };
    let (_, performance) = world.perform(Store::redis(&world.redis.url()).unwrap()).await;
    assert!(differing(&performance).contains(&keys::HITS_TOTAL));
}

#[tokio::test]
async fn a_key_too_many_is_found_out() {
    let Some(world) = World::start("foreign", 0, false).await else { return };
    let store = Store::redis(&world.redis.url()).unwrap();
    let (_, performance) = world.perform_disturbed(store, &["SET", "foreign", "1"]).await;
    assert_eq!(differing(&performance), ["foreign", "keys in all"]);
}

#[tokio::test]
async fn a_member_too_many_is_found_out() {
    let Some(world) = World::start("member", 0, false).await else { return };
    let store = Store::redis(&world.redis.url()).unwrap();
    let (_, performance) = world.perform_disturbed(store, &["ZADD", keys::BOARD_PATHS, "1", "/never"]).await;
    assert_eq!(differing(&performance), ["board:paths /never"]);
}

#[tokio::test]
async fn the_embedded_store_is_read_through_the_daemon() {
    let Some(world) = World::start("embedded", 0, false).await else { return };
    let daemon = world.urls.first().unwrap();
    let (_, performance) = world.perform(Store::embedded(daemon, TOKEN)).await;
    assert_eq!(differing(&performance), [""; 0]);
    assert_eq!(performance.cost, None);
}
