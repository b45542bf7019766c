//! What is published at the origin's Redis, heard at edges: by the client that applications use, and event by event.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use headwater_tests::harness::{Daemon, DaemonConfig, Layout, Redis, Store, free_port};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::clients::pass;
use super::region::{Region, TOKEN};
use super::setup::{origin_config, origin_of, redis_in};
use super::tokens::minted;

#[tokio::test]
async fn the_client_of_upstash_hears_what_is_published() {
    let eu = Region::start().await;
    let us = Region::named("us", free_port().unwrap(), BTreeMap::new()).await;
    let dir = tempfile::tempdir().unwrap();
    let (redis, port) = redis_in(dir.path(), false).await;
    let _daemon = origin_of(&[&eu, &us], Store::Redis(redis.url()), dir.path()).await;
    let environment =
        [("HEADWATER_TEST_OTHER_EDGE_URL", us.edge.url()), ("HEADWATER_TEST_REDIS_PORT", port.to_string())];
    pass("channels.test.mjs", &eu, &environment).await;
}

/// An edge whose origin keeps its state in a Redis.
struct Setup {
    region: Region,
    daemon: Daemon,
    redis: Redis,
    port: u16,
    config: DaemonConfig,
    _dir: TempDir,
}

impl Setup {
    async fn new() -> Self {
        let (region, dir) = (Region::start().await, tempfile::tempdir().unwrap());
        let (redis, port) = redis_in(dir.path(), false).await;
        let config = origin_config(&[&region], Store::Redis(redis.url()), dir.path());
        let daemon = Daemon::start(&Layout::of_workspace(), config.clone()).await.unwrap();
        region.until("origin_connected", true).await;
        Self { region, daemon, redis, port, config, _dir: dir }
    }

    async fn listen(&self, path: &str) -> Events {
        self.listen_as(path, TOKEN).await
    }

    async fn listen_as(&self, path: &str, token: &str) -> Events {
        Events::open(&self.region.edge.address(), path, token).await
    }

    async fn publish(&self, channel: &str, payload: &str) -> u32 {
        let mut server = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        let command = ["PUBLISH", channel, payload].map(|word| format!("${}\r\n{word}\r\n", word.len()));
        server.write_all(format!("*3\r\n{}", command.concat()).as_bytes()).await.unwrap();
        let mut answer = [0; 32];
        let length = server.read(&mut answer).await.unwrap();
        let answer = std::str::from_utf8(&answer[..length]).unwrap();
        answer.trim().strip_prefix(':').unwrap_or_else(|| panic!("{answer}")).parse().unwrap()
    }
}

/// A stream, read as it comes.
struct Events {
    stream: TcpStream,
    status: u16,
    received: String,
}

impl Events {
    async fn open(address: &str, path: &str, token: &str) -> Self {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = format!("GET {path} HTTP/1.1\r\nHost: edge\r\nAuthorization: Bearer {token}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut events = Self { stream, status: 0, received: String::new() };
        let head = events.until("\r\n\r\n").await;
        events.status = head.split(' ').nth(1).unwrap().parse().unwrap();
        if events.status == 200 {
            assert!(head.to_lowercase().contains("content-type: text/event-stream"), "{head}");
        }
        events
    }

    /// What comes up to this text.
    async fn until(&mut self, end: &str) -> String {
        loop {
            if let Some(at) = self.received.find(end) {
                let rest = self.received.split_off(at + end.len());
                return std::mem::replace(&mut self.received, rest);
            }
            assert!(self.more().await, "the stream ends before {end:?}: {}", self.received);
        }
    }

    /// Whether something more came before the end.
    async fn more(&mut self) -> bool {
        let mut chunk = vec![0; 64 * 1024];
        let read = timeout(Duration::from_secs(60), self.stream.read(&mut chunk)).await;
        let length = read.expect("something comes in time").unwrap_or(0);
        self.received.push_str(&String::from_utf8_lossy(&chunk[..length]));
        length > 0
    }

    /// The next line that is no comment: chunks of HTTP and empty lines are passed over.
    async fn line(&mut self) -> String {
        loop {
            let line = self.until("\n").await;
            let line = line.trim_end();
            if line.starts_with("data: ") || line.starts_with("event: ") || line.starts_with('{') {
                return line.to_owned();
            }
        }
    }

    /// What is read to the end.
    async fn rest(mut self) -> String {
        // The last chunk of a body has no bytes.
        while !self.received.ends_with("\r\n0\r\n\r\n") && self.more().await {}
        self.received
    }
}

#[tokio::test]
async fn a_stream_is_told_of_a_gap_and_goes_on() {
    let mut setup = Setup::new().await;
    let mut events = setup.listen("/subscribe/news").await;
    assert_eq!(events.line().await, "data: subscribe,news,1");
    assert_eq!(setup.publish("news", "one").await, 1);
    assert_eq!(events.line().await, "data: message,news,one");

    setup.daemon.kill();
    assert_eq!(events.line().await, "event: error");
    assert!(events.line().await.starts_with("data: error,news,ERR Headwater: the origin is away"));
    setup.region.until("origin_connected", false).await;
    let away = setup.listen("/subscribe/other").await;
    assert_eq!(away.status, 503);
    assert_eq!(setup.publish("news", "lost").await, 0);

    setup.daemon = Daemon::start(&Layout::of_workspace(), setup.config.clone()).await.unwrap();
    assert_eq!(events.line().await, "data: subscribe,news,1");
    assert_eq!(setup.publish("news", "two").await, 1);
    assert_eq!(events.line().await, "data: message,news,two");

    setup.redis.restart().await.unwrap();
    assert_eq!(events.line().await, "event: error");
    // The daemon finds out by one connection after the other, each of which may be a gap of its own.
    loop {
        match events.line().await.as_str() {
            "data: subscribe,news,1" => drop(setup.publish("news", "three").await),
            "data: message,news,three" => break,
            told => assert!(told == "event: error" || told.starts_with("data: error,news,"), "{told}"),
        }
    }
}

#[tokio::test]
async fn a_token_listens_to_what_it_is_granted_until_it_expires() {
    let setup = Setup::new().await;
    let token = minted(&["subscribe"], &["room:1:*"], 600);
    for (path, status) in [("/subscribe/room:2:a", 403), ("/psubscribe/*", 403), ("/psubscribe/room:*", 403)] {
        assert_eq!(setup.listen_as(path, &token).await.status, status, "{path}");
    }
    let publisher = minted(&["publish", "read"], &["*"], 60);
    assert_eq!(setup.listen_as("/subscribe/room:1:a", &publisher).await.status, 403);
    assert_eq!(setup.listen_as("/subscribe/room:1:a", "another").await.status, 401);
    let mut events = setup.listen_as("/psubscribe/room:1:*", &token).await;
    assert_eq!(events.line().await, "data: psubscribe,room:1:*,1");
    assert_eq!(setup.publish("room:1:a", "x").await, 1);
    assert_eq!(events.line().await, "data: pmessage,room:1:*,room:1:a,x");
    // On a slow machine a token may have expired before its stream is open.
    let deadline = Instant::now() + Duration::from_secs(60);
    let short = loop {
        let events = setup.listen_as("/psubscribe/room:1:*", &minted(&["subscribe"], &["room:1:*"], 3)).await;
        if events.status == 200 {
            break events;
        }
        assert!(events.status == 401 && Instant::now() < deadline, "{}", events.status);
    };
    let rest = short.rest().await;
    assert!(rest.contains("data: error,room:1:*,ERR Headwater: the token has expired"), "{rest}");
}

#[tokio::test]
async fn who_reads_too_slowly_is_told_so_and_the_edge_goes_on() {
    let setup = Setup::new().await;
    let mut slow = setup.listen("/subscribe/news").await;
    assert_eq!(slow.line().await, "data: subscribe,news,1");
    let large = "x".repeat(512 * 1024);
    // No faster than the daemon and the hub take it in: what was published before this is heard has come through both.
    let mut pace = setup.listen("/subscribe/pace").await;
    assert_eq!(pace.line().await, "data: subscribe,pace,1");
    // Once the sockets between are full, what waits in the hub is bounded; then the hub listens no more.
    let mut published = 0;
    while setup.publish("news", &large).await > 0 {
        published += 1;
        assert!(published < 400, "the stream of a client that reads nothing never ends");
        assert_eq!(setup.publish("pace", "on").await, 1);
        assert_eq!(pace.line().await, "data: message,pace,on");
    }
    assert_eq!(setup.region.http().run("INCR n").await, Ok(serde_json::json!(1)));
    let mut fast = setup.listen("/subscribe/news").await;
    assert_eq!(fast.line().await, "data: subscribe,news,1");
    setup.publish("news", "short").await;
    assert_eq!(fast.line().await, "data: message,news,short");
    let rest = slow.rest().await;
    assert!(rest.contains("event: error") && rest.contains("subscribe again"), "{} bytes", rest.len());
}

#[tokio::test]
async fn a_stream_is_of_one_channel_that_is_not_headwaters_own() {
    let setup = Setup::new().await;
    for path in
        ["/subscribe", "/subscribe/", "/subscribe/a/b", "/psubscribe/h?llo", "/subscribe/hw:changed", "/monitor"]
    {
        assert_eq!(setup.listen(path).await.status, 400, "{path}");
    }
    let long = format!("/subscribe/{}", "x".repeat(2000));
    assert_eq!(setup.listen(&long).await.status, 400);
    let mut all = setup.listen("/psubscribe/*").await;
    assert_eq!(all.line().await, "data: psubscribe,*,1");
    // The daemon's own messages are on a channel that matches.
    assert_eq!(setup.region.http().run("INCR n").await, Ok(serde_json::json!(1)));
    setup.publish("a%b", "x").await;
    assert_eq!(all.line().await, "data: pmessage,*,a%b,x");
}
