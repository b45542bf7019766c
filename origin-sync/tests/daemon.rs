//! The built daemon between a real Redis (or a file) and an edge in this process.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(missing_docs, unreachable_pub, reason = "nothing here is for others")]

mod support;

use headwater::command::Reply;
use std::{
    path::PathBuf,
    time::{Duration, Instant},
};
use support::{
    bed::Plain,
    daemon::{Daemon, eventually},
    edge::{Edge, TOKEN},
    server::RedisServer,
};
use tempfile::TempDir;

struct Setup {
    redis: RedisServer,
    edge: Edge,
    daemon: Daemon,
    directory: TempDir,
}

impl Setup {
    async fn new() -> Self {
        let (redis, edge) = (RedisServer::start().await, Edge::start().await);
        let directory = tempfile::tempdir().unwrap();
        let daemon = Daemon::start(&edge.url(), ["--store", &redis.url()], &directory.path().join("log"));
        eventually("the daemon is ready", async || ready(&daemon).await).await;
        Self { redis, edge, daemon, directory }
    }

    fn log(&self) -> PathBuf {
        self.directory.path().join("log")
    }

    async fn plain_reads(&self, key: &str, value: &str) {
        let plain = Plain::connect(&self.redis).await;
        let what = format!("{key} is {value} in Redis");
        eventually(&what, async || {
            let read: Option<String> = plain.ask(&["GET", key]).await;
            (read.as_deref() == Some(value)).then_some(())
        })
        .await;
    }
}

async fn ready(daemon: &Daemon) -> Option<()> {
    let (status, _) = daemon.get("/readyz").await?;
    (status == 200).then_some(())
}

/// The status, once it shows the hub: not where the daemon is busy for two seconds.
async fn served(daemon: &Daemon) -> serde_json::Value {
    eventually("the status shows the hub", async || {
        daemon.status().await.filter(|status| status["hubs"][0]["connected"] == true)
    })
    .await
}

async fn settled(edge: &Edge) {
    eventually("all is committed", async || (edge.status().pending == 0).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_hub_writes_stands_in_redis_and_on_the_pages() {
    let setup = Setup::new().await;
    let (edge, daemon) = (&setup.edge, &setup.daemon);
    edge.execute(&["INCRBY", "visits", "41"]).unwrap();
    edge.execute(&["INCRBY", "visits", "1"]).unwrap();
    edge.execute(&["HSET", "cart", "apple", "5"]).unwrap();
    setup.plain_reads("visits", "42").await;
    settled(edge).await;

    assert_eq!(daemon.get("/healthz").await.unwrap().0, 200);
    let status = served(daemon).await;
    let hub = &status["hubs"][0];
    assert_eq!((&hub["name"], &hub["connected"]), (&"test/0".into(), &true.into()), "{status}");
    assert_eq!(hub["hub"], edge.status().hub.to_string());
    assert!(hub["batches"].as_u64().unwrap() >= 1, "{status}");
    // One clock, and the hello's way to the daemon.
    assert!(hub["clock_offset_ms"].as_i64().unwrap().abs() < 30_000, "{status}");
    assert_eq!(status["store"], "redis");
    assert!(status["commits"].as_u64().unwrap() >= 2, "{status}");
    assert!(status["loads"].as_u64().unwrap() >= 2, "{status}");

    let command = async |body| daemon.post("/command", TOKEN, body).await.unwrap();
    assert_eq!(command(r#"["GET","visits"]"#).await, (200, r#"{"result":"42"}"#.to_owned()));
    assert_eq!(command(r#"["HGETALL","cart"]"#).await, (200, r#"{"result":["apple","5"]}"#.to_owned()));
    assert_eq!(command(r#"["exists","cart","visits","nothing"]"#).await, (200, r#"{"result":2}"#.to_owned()));
    assert_eq!(command(r#"["GET","nothing"]"#).await, (200, r#"{"result":null}"#.to_owned()));
    for (body, status, word) in [
        (r#"["INCR","visits"]"#, 400, "only reads"),
        (r#"["GET","cart"]"#, 400, "WRONGTYPE"),
        (r#"["NONSENSE"]"#, 400, "unknown command"),
        ("{}", 400, "no JSON array"),
    ] {
        let answer = command(body).await;
        assert!(answer.0 == status && answer.1.contains(word), "{body}: {answer:?}");
    }
    assert_eq!(daemon.post("/command", "another", r#"["GET","visits"]"#).await.unwrap().0, 401);

    for name in [
        "headwater_store_up 1",
        "headwater_hubs_connected 1",
        "headwater_store_plain_commands_total",
        "headwater_commit_keys_bucket",
        r#"headwater_store_seconds_bucket{request="commit""#,
        "headwater_pending 0",
        r#"hub="test/0",quantile="0.99"} 0"#,
        "headwater_hub_clock_offset_ms{",
        "headwater_resident_bytes",
    ] {
        // Some are set when the store is next asked for a sign of life.
        let shows = async || daemon.get("/metrics").await.filter(|(_, metrics)| metrics.contains(name));
        eventually(name, shows).await;
    }
}

/// The fence of incarnations end to end: Redis comes back empty under another run id, and the hub sends it all again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_lost_everything_is_filled_again() {
    let mut setup = Setup::new().await;
    setup.edge.execute(&["INCRBY", "visits", "41"]).unwrap();
    settled(&setup.edge).await;
    setup.redis.restart().await;
    setup.edge.execute(&["INCRBY", "visits", "1"]).unwrap();
    setup.plain_reads("visits", "42").await;
    settled(&setup.edge).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_away_is_waited_for() {
    let mut setup = Setup::new().await;
    setup.redis.kill();
    eventually("the daemon is not ready", async || {
        let (status, _) = setup.daemon.get("/readyz").await?;
        (status == 503).then_some(())
    })
    .await;
    eventually("its hubs are let go", async || {
        (setup.daemon.status().await?["hubs"][0]["connected"] == false).then_some(())
    })
    .await;
    assert_eq!(setup.daemon.post("/command", TOKEN, r#"["GET","k"]"#).await.unwrap().0, 503);
    setup.edge.execute(&["SET", "k", "v"]).unwrap();
    setup.redis.restart().await;
    setup.plain_reads("k", "v").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_that_does_not_decode_costs_its_connection_only() {
    let setup = Setup::new().await;
    setup.edge.execute(&["INCR", "visits"]).unwrap();
    settled(&setup.edge).await;
    let before = setup.edge.accepted();
    setup.edge.send_garbage();
    eventually("the hub is dialled again", async || (setup.edge.accepted() > before).then_some(())).await;
    let (_, metrics) = setup.daemon.get("/metrics").await.unwrap();
    assert!(metrics.contains(r#"headwater_hub_frames_refused_total{reason="short"} 1"#), "{metrics}");
    eventually("the log says so", async || {
        std::fs::read_to_string(setup.log()).unwrap().contains("a frame from a hub was refused").then_some(())
    })
    .await;
    setup.edge.execute(&["INCR", "visits"]).unwrap();
    setup.plain_reads("visits", "2").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hub_that_falls_silent_is_noticed() {
    let setup = Setup::new().await;
    eventually("the hub is connected", async || (setup.edge.accepted() > 0).then_some(())).await;
    let before = setup.edge.accepted();
    setup.edge.go_deaf();
    let since = Instant::now();
    eventually("the hub is dialled again", async || (setup.edge.accepted() > before).then_some(())).await;
    // After ten seconds, and what a loaded machine adds.
    assert!(since.elapsed() < Duration::from_secs(60), "{:?}", since.elapsed());
}

/// What stands under a counter is a list: it is left to the operator, and the rest of the slot goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_that_does_not_fit_holds_nothing_else_up() {
    let setup = Setup::new().await;
    setup.edge.execute(&["INCR", "visits"]).unwrap();
    setup.plain_reads("visits", "1").await;
    settled(&setup.edge).await;
    replace_by_a_list(&setup, "visits").await;
    setup.edge.execute(&["INCR", "visits"]).unwrap();
    setup.edge.execute(&["INCR", "other:{visits}"]).unwrap();
    setup.plain_reads("other:{visits}", "1").await;
    settled(&setup.edge).await;
    assert_eq!(Plain::connect(&setup.redis).await.ask::<String>(&["TYPE", "visits"]).await, "list");
    let (_, metrics) = setup.daemon.get("/metrics").await.unwrap();
    assert!(metrics.contains("headwater_foreign_keys_total 1"), "{metrics}");
}

/// At once, so that nobody sees the key without a value.
async fn replace_by_a_list(setup: &Setup, key: &str) {
    let plain = Plain::connect(&setup.redis).await;
    plain.ask::<()>(&["RPUSH", "theirs", "one"]).await;
    plain.ask::<()>(&["RENAME", "theirs", key]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_plain_clients_write_reaches_the_edge() {
    let setup = Setup::new().await;
    setup.edge.execute(&["INCRBY", "visits", "40"]).unwrap();
    setup.plain_reads("visits", "40").await;
    settled(&setup.edge).await;
    Plain::connect(&setup.redis).await.ask::<()>(&["INCRBY", "visits", "2"]).await;
    eventually("the edge reads it", async || {
        (setup.edge.execute(&["GET", "visits"]) == Ok(Reply::Bulk("42".into()))).then_some(())
    })
    .await;
    let shows = async || {
        let (_, metrics) = setup.daemon.get("/metrics").await?;
        metrics.contains("headwater_adopted_writes_total 1").then_some(())
    };
    eventually("the adopted write is counted", shows).await;
}

/// The hub's name is what another says: it must not become markup.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_see_the_hubs_and_what_goes_on_and_nothing_comes_from_elsewhere() {
    let (redis, edge) = (RedisServer::start().await, Edge::with_hub("eu/<b>0</b>").await);
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(&edge.url(), ["--store", &redis.url()], &directory.path().join("log"));
    eventually("the daemon is ready", async || ready(&daemon).await).await;
    for (path, kind) in [
        ("/", "text/html"),
        ("/status/live", "text/html"),
        ("/status.css", "text/css"),
        ("/status.js", "text/javascript"),
    ] {
        let (head, body) = daemon.get_whole(path).await.unwrap();
        assert!(head.starts_with("http/1.0 200") && head.contains(&format!("content-type: {kind}")), "{path}: {head}");
        assert!(head.contains("content-security-policy: default-src 'none'; script-src 'self';"), "{path}: {head}");
        assert!(!head.contains("unsafe") && head.contains("x-content-type-options: nosniff"), "{path}: {head}");
        assert!(
            !body.contains("src=\"http") && !body.contains("href=\"http") && !body.contains(TOKEN),
            "{path}: {body}"
        );
    }
    let has_all = async || {
        edge.execute(&["INCR", "hits"]).unwrap();
        let (_, live) = daemon.get("/status/live").await?;
        let row = "<th scope=\"row\">eu/&lt;b&gt;0&lt;/b&gt;</th>";
        let plots = ["lag", "throughput", "pending", "conflicts", "store"];
        let are_drawn = plots.iter().all(|id| live.contains(&format!("<title id=\"{id}-title\">")));
        let is_measured = live.contains("<polyline") && !live.contains("p99: nothing measured");
        let lagged = live.contains("<td>yes</td>") && live.contains(" ms</td><td>");
        (live.contains(row) && are_drawn && is_measured && lagged && !live.contains("<b>0</b>")).then_some(())
    };
    eventually("the page shows the hub and its operations", has_all).await;
    let status = served(&daemon).await;
    let hub = &status["hubs"][0];
    assert!(hub["lag_p99_ms"].as_f64().unwrap() >= hub["lag_p50_ms"].as_f64().unwrap(), "{status}");
    assert!(hub["last_seen_ms"].as_i64().unwrap() < 60_000, "{status}");
}

/// What was is shown, and that the store is away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_goes_on_without_the_store() {
    let mut setup = Setup::new().await;
    setup.edge.execute(&["INCR", "hits"]).unwrap();
    setup.plain_reads("hits", "1").await;
    setup.redis.kill();
    eventually("the page says that the store is away", async || {
        let (status, page) = setup.daemon.get("/").await?;
        (status == 200 && page.contains("<dd>away</dd>") && page.contains("<th scope=\"row\">test/0</th>"))
            .then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_commits_what_was_received_and_ends_well() {
    let mut setup = Setup::new().await;
    for _ in 0..100 {
        setup.edge.execute(&["INCR", "visits"]).unwrap();
    }
    setup.plain_reads("visits", "100").await;
    assert!(setup.daemon.terminate().await.success());
    assert!(!std::fs::read_to_string(setup.log()).unwrap().contains("did not finish in time"));
    eventually("the hub hears of it", async || (!setup.edge.status().is_origin_connected).then_some(())).await;
    assert!(std::fs::read_to_string(setup.log()).unwrap().contains("stopped"));
}

/// What is on its way to Redis when the signal comes is committed, though Redis takes its time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_waits_for_what_redis_has_not_taken_yet() {
    let mut setup = Setup::new().await;
    let plain = Plain::connect(&setup.redis).await;
    // A first write, so that the slot is known and the next one is one commit.
    setup.edge.execute(&["INCR", "visits"]).unwrap();
    setup.plain_reads("visits", "1").await;
    settled(&setup.edge).await;
    plain.ask::<()>(&["CLIENT", "PAUSE", "1500", "WRITE"]).await;
    setup.edge.execute(&["INCR", "visits"]).unwrap();
    eventually("the daemon has received it", async || {
        let status = setup.daemon.status().await?;
        (status["hubs"][0]["batches"].as_u64()? >= 2).then_some(())
    })
    .await;
    assert!(setup.daemon.terminate().await.success());
    assert_eq!(plain.ask::<String>(&["GET", "visits"]).await, "2");
    eventually("the hub hears of the commit", async || (setup.edge.status().pending == 0).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_looks_at_a_key_settles_it_and_drains() {
    let mut setup = Setup::new().await;
    let daemon = &setup.daemon;
    setup.edge.execute(&["INCR", "visits"]).unwrap();
    setup.plain_reads("visits", "1").await;
    settled(&setup.edge).await;
    let status = daemon.run(&["status"]).await.unwrap();
    assert!(status.contains("store            redis") && status.contains("test/0"), "{status}");
    let json: serde_json::Value = serde_json::from_str(&daemon.run(&["status", "--json"]).await.unwrap()).unwrap();
    assert_eq!(json["pending"], 0);
    let inspected = daemon.run(&["inspect", "visits"]).await.unwrap();
    assert!(
        inspected.contains("plain_type       string") && inspected.contains("is_foreign       false"),
        "{inspected}"
    );
    assert!(daemon.run(&["resolve", "visits"]).await.unwrap_err().contains("nothing foreign"));

    replace_by_a_list(&setup, "visits").await;
    assert!(daemon.run(&["inspect", "visits"]).await.unwrap().contains("is_foreign       true"));
    assert!(daemon.run(&["resolve", "visits"]).await.unwrap().contains("list"));
    setup.edge.execute(&["INCR", "visits"]).unwrap();
    setup.plain_reads("visits", "2").await;

    daemon.run(&["drain"]).await.unwrap();
    assert!(setup.daemon.ended().await.success());
}

/// With the companions, and what a plain client wrote, and what edges have; and nobody else's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_erases_a_person() {
    let (redis, edge) = (RedisServer::start().await, Edge::start().await);
    let directory = tempfile::tempdir().unwrap();
    let arguments = ["--store", &redis.url(), "--erase-pattern", "user:{subject}:*,session:{subject}"];
    let daemon = Daemon::start(&edge.url(), arguments, &directory.path().join("log"));
    eventually("the daemon is ready", async || ready(&daemon).await).await;
    let plain = Plain::connect(&redis).await;
    edge.execute(&["SADD", "user:4?:tags", "secret"]).unwrap();
    edge.execute(&["SET", "session:4?", "secret"]).unwrap();
    edge.execute(&["SET", "user:42:name", "somebody else"]).unwrap();
    settled(&edge).await;
    plain.ask::<()>(&["HSET", "user:4?:plain", "name", "secret"]).await;
    plain.ask::<()>(&["RPUSH", "user:4?:jobs", "theirs"]).await;

    let told = daemon.run(&["erase", "4?"]).await.unwrap();
    let lines: Vec<&str> = told.lines().collect();
    let expected = [
        "erased: session:4?",
        "erased: user:4?:plain",
        "erased: user:4?:tags",
        "left, for it holds another type: user:4?:jobs",
        "3 keys erased",
    ];
    assert_eq!(lines, expected);
    for key in ["session:4?", "user:4?:plain", "user:4?:tags"] {
        assert_eq!(plain.ask::<u32>(&["EXISTS", key]).await, 0, "{key}");
    }
    for (read, key) in [("GET", "session:4?"), ("SCARD", "user:4?:tags")] {
        eventually("the edge has it no more", async || {
            matches!(edge.execute(&[read, key]), Ok(Reply::Nil | Reply::Int(0))).then_some(())
        })
        .await;
    }
    assert_eq!(plain.ask::<String>(&["GET", "user:42:name"]).await, "somebody else");
    // Companions end a minute after their keys.
    for key in ["session:4?", "user:4?:tags"] {
        let names: Vec<String> = plain.ask(&["KEYS", &format!("hw:c:*{}", key.replace('?', "\\?"))]).await;
        let ttl_ms: i64 = plain.ask(&["PTTL", &names[0]]).await;
        assert!((0..=60_000).contains(&ttl_ms), "{ttl_ms}");
    }
    assert!(daemon.run(&["erase", "nobody"]).await.unwrap().starts_with("0 keys erased"));
    assert!(daemon.run(&["erase", ""]).await.unwrap_err().contains("the subject is empty"));
    assert_eq!(daemon.post("/erase", "another", "4?").await.unwrap().0, 401);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_erases_a_person_from_the_embedded_store() {
    let edge = Edge::start().await;
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let arguments = ["--data", data.to_str().unwrap(), "--erase-pattern", "user:{subject}:*"];
    let daemon = Daemon::start(&edge.url(), arguments, &directory.path().join("log"));
    edge.execute(&["SET", "user:42:name", "secret"]).unwrap();
    edge.execute(&["SET", "user:43:name", "somebody else"]).unwrap();
    settled(&edge).await;
    assert_eq!(
        daemon.run(&["erase", "42"]).await.unwrap().lines().collect::<Vec<_>>(),
        ["erased: user:42:name", "1 keys erased"]
    );
    let read = async |body: &str| daemon.post("/command", TOKEN, body).await.unwrap().1;
    assert_eq!(read(r#"["GET","user:42:name"]"#).await, r#"{"result":null}"#);
    assert_eq!(read(r#"["GET","user:43:name"]"#).await, r#"{"result":"somebody else"}"#);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_are_checked_against_the_store_and_the_edges() {
    let setup = Setup::new().await;
    let (edge, store) = (setup.edge.url(), setup.redis.url());
    let lines = setup.daemon.run(&["check", "--edge", &edge, "--store", &store]).await.unwrap();
    assert!(lines.contains("store redis: run id ") && lines.contains("1 hubs"), "{lines}");
    let error = setup.daemon.run(&["check", "--edge", &store, "--store", &store]).await.unwrap_err();
    assert!(error.contains("edge is not valid"), "{error}");
    let away = setup.daemon.run(&["check", "--edge", "http://127.0.0.1:1", "--store", &store]).await.unwrap_err();
    assert!(away.contains("the edge http://127.0.0.1:1"), "{away}");
    let away = setup.daemon.run(&["check", "--edge", &edge, "--store", "redis://127.0.0.1:1"]).await.unwrap_err();
    assert!(away.contains("the store cannot be used"), "{away}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_line_of_the_log_may_be_an_object() {
    let (redis, edge) = (RedisServer::start().await, Edge::start().await);
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("log");
    let arguments = ["--store", &redis.url(), "--log-format", "json", "--log", "info"];
    let mut daemon = Daemon::start(&edge.url(), arguments, &log);
    eventually("the daemon is ready", async || ready(&daemon).await).await;
    assert!(daemon.terminate().await.success());
    let text = std::fs::read_to_string(log).unwrap();
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.iter().any(|line| line["fields"]["message"] == "draining"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_embedded_store_outlives_a_killed_daemon() {
    let edge = Edge::start().await;
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let store = ["--data", data.to_str().unwrap()];
    let log = directory.path().join("log");
    let mut daemon = Daemon::start(&edge.url(), store, &log);
    edge.execute(&["ZINCRBY", "board", "1.5", "ann"]).unwrap();
    settled(&edge).await;
    daemon.kill();
    edge.execute(&["ZINCRBY", "board", "2", "ann"]).unwrap();
    let daemon = Daemon::start(&edge.url(), store, &log);
    settled(&edge).await;
    let answer = daemon.post("/command", TOKEN, r#"["ZSCORE","board","ann"]"#).await.unwrap();
    assert_eq!(answer, (200, r#"{"result":"3.5"}"#.to_owned()));
    assert_eq!(daemon.status().await.unwrap()["store"], "embedded");
}
