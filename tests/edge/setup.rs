//! What tests stand on that need an origin: its daemon, its Redis, and a plain client of that.

use headwater_tests::harness::{Daemon, DaemonConfig, Layout, Redis, RedisConfig, Store, free_port};
use redis::{FromRedisValue, aio::MultiplexedConnection};
use std::fmt::Debug;
use std::path::Path;
use tempfile::TempDir;
use tokio::join;
use tokio::time::{Duration, Instant, sleep};

use super::region::{ORIGIN_TOKEN, Region};

/// How long what an edge acknowledged may take to be in Redis.
const DEADLINE: Duration = Duration::from_secs(60);

/// How the origin of these edges is run.
pub(crate) fn origin_config(regions: &[&Region], store: Store, dir: &Path) -> DaemonConfig {
    DaemonConfig {
        edges: regions.iter().map(|region| region.edge.url()).collect(),
        origin_token: ORIGIN_TOKEN.into(),
        store,
        listen_port: free_port().unwrap(),
        loss_window_ms: 100,
        erase_patterns: vec![],
        log: dir.join("daemon.log"),
    }
}

/// The origin of these edges, once it has met them and answered each. A part that has just begun takes its time where the
/// machine does much else, and an edge refuses what the origin does not answer within five seconds.
pub(crate) async fn origin_of(regions: &[&Region], store: Store, dir: &Path) -> Daemon {
    let daemon = Daemon::start(&Layout::of_workspace(), origin_config(regions, store, dir)).await.unwrap();
    for region in regions {
        region.until("origin_connected", true).await;
        let deadline = Instant::now() + DEADLINE;
        while let Err(error) = region.http().run("GET nothing").await {
            assert!(Instant::now() < deadline, "{error}");
        }
    }
    daemon
}

/// A Redis and its port. One that is killed keeps what it acknowledged if it `is_kept`.
pub(crate) async fn redis_in(dir: &Path, is_kept: bool) -> (Redis, u16) {
    let port = free_port().unwrap();
    let config = RedisConfig { dir: dir.join("redis"), port, append_only: is_kept };
    (Redis::start(config).await.unwrap(), port)
}

/// A plain client of a Redis.
pub(crate) struct Plain(MultiplexedConnection);

impl Plain {
    pub(crate) async fn of(redis: &Redis) -> Self {
        let client = redis::Client::open(redis.url()).unwrap();
        Self(client.get_multiplexed_async_connection().await.unwrap())
    }

    /// Runs a command whose arguments have no spaces.
    pub(crate) async fn run<T: FromRedisValue>(&self, line: &str) -> T {
        let mut words = line.split(' ');
        let mut command = redis::cmd(words.next().unwrap());
        for word in words {
            command.arg(word);
        }
        command.query_async(&mut self.0.clone()).await.unwrap()
    }
}

impl Plain {
    /// Waits until a command is answered so, since what an edge acknowledged is in Redis a little later.
    pub(crate) async fn until<T: FromRedisValue + PartialEq + Debug>(&self, line: &str, expected: &T) {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let answer: T = self.run(line).await;
            if answer == *expected {
                return;
            }
            assert!(Instant::now() < deadline, "{line}: {answer:?}, not {expected:?}");
            sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Two regions whose origin keeps its state in a Redis.
pub(crate) struct TwoRegions {
    pub(crate) regions: [Region; 2],
    pub(crate) daemon: Daemon,
    plain: Plain,
    _redis: Redis,
    _dir: TempDir,
}

impl TwoRegions {
    pub(crate) async fn new() -> Self {
        let (one, two) = join!(Region::start(), Region::start());
        let dir = tempfile::tempdir().unwrap();
        let (redis, _) = redis_in(dir.path(), false).await;
        let daemon = origin_of(&[&one, &two], Store::Redis(redis.url()), dir.path()).await;
        let plain = Plain::of(&redis).await;
        Self { regions: [one, two], daemon, plain, _redis: redis, _dir: dir }
    }

    /// Waits until a plain client is answered so.
    pub(crate) async fn until_plain<T: FromRedisValue + PartialEq + Debug>(&self, line: &str, expected: &T) {
        self.plain.until(line, expected).await;
    }

    /// What a plain client is answered.
    pub(crate) async fn plain<T: FromRedisValue>(&self, line: &str) -> T {
        self.plain.run(line).await
    }
}
