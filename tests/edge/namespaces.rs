//! Namespaces through workerd and the daemon to Redis: two of them and the default one, each of which tries to see, write, list,
//! delete, lock, limit and follow what is another's.

use std::collections::BTreeSet;

use headwater::command::CommandError;
use headwater::id::{ClientId, Seq};
use headwater::message::{HubToLeaf, LeafToHub, Lifetime, RefusalCause};
use headwater_tests::harness::{Daemon, Redis, Store};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{Duration, Instant, sleep};

use super::http::Http;
use super::region::{Region, TOKEN};
use super::setup::{Plain, origin_of, redis_in};
use super::socket::{Leaf, Socket, increment, key, now};
use super::tokens::signed;

/// How long what an edge acknowledged may take to be in Redis.
const DEADLINE: Duration = Duration::from_secs(60);

/// An edge with the namespaces `shop` and `blog`, whose origin keeps its state in a Redis.
struct Setup {
    region: Region,
    plain: Plain,
    _daemon: Daemon,
    _redis: Redis,
    _dir: TempDir,
}

impl Setup {
    async fn new() -> Self {
        let (region, dir) = (Region::with("HEADWATER_NAMESPACES", "shop, blog").await, tempfile::tempdir().unwrap());
        let (redis, _) = redis_in(dir.path(), false).await;
        let daemon = origin_of(&[&region], Store::Redis(redis.url()), dir.path()).await;
        let plain = Plain::of(&redis).await;
        let setup = Self { region, plain, _daemon: daemon, _redis: redis, _dir: dir };
        for http in [setup.default(), setup.of("shop"), setup.of("blog")] {
            let deadline = Instant::now() + DEADLINE;
            while http.get("/v1/status").await.json()["origin_connected"] != json!(true) {
                assert!(Instant::now() < deadline, "a hub stays without its origin");
                sleep(Duration::from_millis(5)).await;
            }
            while let Err(error) = http.run("GET nothing").await {
                assert!(Instant::now() < deadline, "{error}");
            }
        }
        setup
    }

    /// A client of the default namespace, by the deployment's own token.
    fn default(&self) -> Http {
        self.region.http()
    }

    /// A client of a namespace, who may do everything in it.
    fn of(&self, namespace: &str) -> Http {
        self.region.stranger().with("authorization", &format!("Bearer {}", token(namespace)))
    }

    /// The names in Redis that are not Headwater's own.
    async fn names(&self) -> BTreeSet<String> {
        let names: Vec<String> = self.plain.run("KEYS *").await;
        names.into_iter().filter(|name| !name.starts_with("hw:")).collect()
    }

    /// Waits until Redis has these keys and no others.
    async fn until_names(&self, expected: &[&str]) {
        let expected: BTreeSet<String> = expected.iter().map(|name| (*name).to_owned()).collect();
        let deadline = Instant::now() + DEADLINE;
        loop {
            let names = self.names().await;
            if names == expected {
                return;
            }
            assert!(Instant::now() < deadline, "Redis has {names:?}, not {expected:?}");
            sleep(Duration::from_millis(5)).await;
        }
    }
}

fn token(namespace: &str) -> String {
    let grants = json!([{"verbs": ["admin", "flushdb", "eval", "evalsha", "fcall"], "keys": ["*"]}]);
    signed("old", "old", &json!({"exp": now().0 / 1000 + 600, "ns": namespace, "grants": grants}))
}

fn sorted(names: Result<Value, String>) -> BTreeSet<String> {
    let names = names.unwrap();
    names.as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[tokio::test]
async fn each_namespace_has_keys_of_its_own_by_its_clients_names() {
    let setup = Setup::new().await;
    let (default, shop, blog) = (setup.default(), setup.of("shop"), setup.of("blog"));
    for (http, value) in [(&default, "of the default"), (&shop, "of the shop"), (&blog, "of the blog")] {
        assert_eq!(http.command(json!(["SET", "k", value])).await.reply(), Ok(json!("OK")));
    }
    setup.until_names(&["k", "shop:k", "blog:k"]).await;
    assert_eq!(setup.plain.run::<String>("GET shop:k").await, "of the shop");
    for (http, value) in [(&default, "of the default"), (&shop, "of the shop"), (&blog, "of the blog")] {
        assert_eq!(http.run("GET k").await, Ok(json!(value)));
        assert_eq!(sorted(http.run("KEYS *").await), set(&["k"]));
        assert_eq!(http.run("RANDOMKEY").await, Ok(json!("k")));
        assert_eq!(http.run("DBSIZE").await, Ok(json!(1)));
    }
    // What a client of one calls by another's name is a key of its own.
    assert_eq!(shop.run("GET blog:k").await, Ok(Value::Null));
    assert_eq!(shop.run("SET blog:k mine").await, Ok(json!("OK")));
    assert_eq!(shop.run("DEL blog:k k").await, Ok(json!(2)));
    setup.until_names(&["k", "blog:k"]).await;
    assert_eq!(blog.run("GET k").await, Ok(json!("of the blog")));
    // What a plain client writes shows under the client's name.
    setup.plain.run::<()>("SET shop:plain text").await;
    assert_eq!(shop.run("GET plain").await, Ok(json!("text")));
    assert_eq!(blog.run("GET plain").await, Ok(Value::Null));
}

#[tokio::test]
async fn the_default_namespace_reaches_nothing_of_anothers() {
    let setup = Setup::new().await;
    let (default, shop) = (setup.default(), setup.of("shop"));
    assert_eq!(shop.run("SET k v").await, Ok(json!("OK")));
    setup.until_names(&["shop:k"]).await;
    let other = "NOPERM Headwater: the key shop:k is another namespace's";
    for line in [
        "GET shop:k",
        "SET shop:k x",
        "DEL a shop:k",
        "COPY shop:k a",
        "EXPIRE shop:k 1",
        "SET shop:k x XX",
        "GETDEL shop:k",
        "RENAMENX shop:k a",
        "HW.LOCK shop:k me 1000",
        "HW.LIMIT shop:k FIXED 1 1000",
        "HW.LIMIT shop:k FIXED 1 1000 STRICT",
        "GETBIT shop:k 1",
        "RPUSH shop:k x",
        "XREAD STREAMS a shop:k 0 0",
        "PUBLISH shop:k x",
        "EVALSHA b2efc02798c8e9b471a10f9b1d5745db89923ff3 1 shop:k 5 1000 1",
    ] {
        assert_eq!(default.command(Value::from_iter(line.split(' '))).await.refusal(403), other, "{line}");
    }
    let commands = json!([["SET", "a", "1"], ["GET", "shop:k"]]).to_string();
    for path in ["/pipeline", "/multi-exec"] {
        assert_eq!(default.post(path, commands.clone()).await.refusal(403), other);
    }
    assert_eq!(default.get("/get/shop:k").await.refusal(403), other);
    let check = json!({"key": "shop:k", "algorithm": "fixed", "limit": 1, "window_ms": 1000});
    assert_eq!(default.post("/v1/limit", check.to_string()).await.refusal(403), other);
    let leaf = default.with("headwater-durability", "leaf").with("headwater-consistency", "local");
    assert_eq!(leaf.command(json!(["INCR", "shop:k"])).await.refusal(403), other);
    let script =
        "NOPERM Headwater: a script that runs at the origin may touch any key, so none runs where there are namespaces";
    for http in [&default, &shop] {
        for line in ["EVAL text 0", "EVALSHA 0123 1 k", "FCALL mine 0"] {
            assert_eq!(http.command(Value::from_iter(line.split(' '))).await.refusal(403), script, "{line}");
        }
    }
    // Nor do lists of names show any of it, nor is it deleted with all others.
    assert_eq!(default.run("SET own 1").await, Ok(json!("OK")));
    setup.until_names(&["own", "shop:k"]).await;
    assert_eq!(sorted(default.run("KEYS *").await), set(&["own"]));
    assert_eq!(sorted(default.run("KEYS shop:*").await), set(&[]));
    assert_eq!(default.run("SCAN 0 MATCH shop:* COUNT 1000").await, Ok(json!(["0", []])));
    assert_eq!(default.run("DBSIZE").await, Ok(json!(1)));
    assert_eq!(default.run("RANDOMKEY").await, Ok(json!("own")));
    assert_eq!(default.run("FLUSHDB").await, Ok(json!("OK")));
    setup.until_names(&["shop:k"]).await;
    assert_eq!(shop.run("GET k").await, Ok(json!("v")));
}

#[tokio::test]
async fn what_the_origin_executes_stays_within() {
    let setup = Setup::new().await;
    let (default, shop, blog) = (setup.default(), setup.of("shop"), setup.of("blog"));
    for http in [&default, &shop, &blog] {
        assert_eq!(http.run("SET once mine NX").await, Ok(json!("OK")));
        assert_eq!(http.run("SET once mine NX").await, Ok(Value::Null));
        assert!(http.run("HW.LOCK lock me 60000").await.unwrap().is_i64());
        assert_eq!(http.run("RPUSH list a b").await, Ok(json!(2)));
        assert_eq!(http.run("XADD stream 1-1 f v").await, Ok(json!("1-1")));
    }
    // One who knows the owner's name of another's lock does not hold it.
    assert_eq!(shop.run("DEL lock").await, Ok(json!(1)));
    assert!(blog.run("HW.EXTEND lock me 60000").await.unwrap().is_i64());
    assert_eq!(shop.run("HW.EXTEND lock me 60000").await, Ok(Value::Null));
    // Replies name keys as the client does.
    assert_eq!(shop.run("LMPOP 2 other list LEFT").await, Ok(json!(["list", ["a"]])));
    assert_eq!(shop.run("XREAD STREAMS stream 0").await, Ok(json!([["stream", [["1-1", ["f", "v"]]]]])));
    let group = shop.run("XREADGROUP GROUP g c STREAMS stream >").await.unwrap_err();
    assert!(group.starts_with("NOGROUP No such key 'stream' or consumer group 'g'"), "{group}");
    assert_eq!(blog.run("LLEN list").await, Ok(json!(2)));
    assert_eq!(sorted(shop.run("KEYS *").await), set(&["once", "list", "stream"]));
    assert_eq!(sorted(shop.run("KEYS [ls]*").await), set(&["list", "stream"]));
    let page = shop.run("SCAN 0 MATCH l* COUNT 1000").await.unwrap();
    assert_eq!(page, json!(["0", ["list"]]));
    assert_eq!(shop.run("FLUSHDB").await, Ok(json!("OK")));
    setup.until_names(&["once", "lock", "list", "stream", "blog:once", "blog:lock", "blog:list", "blog:stream"]).await;
    assert_eq!(shop.run("DBSIZE").await, Ok(json!(0)));
    assert_eq!(blog.run("DBSIZE").await, Ok(json!(4)));
}

#[tokio::test]
async fn idempotency_keys_sync_tokens_limits_and_status_are_each_namespaces_own() {
    let setup = Setup::new().await;
    let (default, shop, blog) = (setup.default(), setup.of("shop"), setup.of("blog"));
    for http in [&default, &shop, &blog] {
        let once = http.with("idempotency-key", "the same");
        assert_eq!(once.run("INCR n").await, Ok(json!(1)));
        assert_eq!(once.run("INCR n").await, Ok(json!(1)));
        let check = json!({"key": "limit", "algorithm": "fixed", "limit": 1, "window_ms": 86_400_000}).to_string();
        assert_eq!(http.post("/v1/limit", check.clone()).await.status.as_u16(), 200);
        assert_eq!(http.post("/v1/limit", check).await.status.as_u16(), 429);
        // One that the isolate counts may reach the hub after the next one, which the hub then answers.
        for _ in 0..3 {
            http.with("headwater-durability", "leaf").run("INCR hits").await.unwrap();
        }
        let deadline = Instant::now() + DEADLINE;
        while http.run("GET hits").await != Ok(json!("3")) {
            assert!(Instant::now() < deadline, "what isolates count comes to three");
            sleep(Duration::from_millis(5)).await;
        }
    }
    let seen = shop.with("upstash-sync-token", "").command(json!(["INCR", "n"])).await;
    let seen = seen.header("upstash-sync-token").unwrap().to_owned();
    assert!(seen.starts_with("hw1.shop."), "{seen}");
    for (http, status) in [(&default, 400), (&blog, 400), (&shop, 200)] {
        let answer = http.with("upstash-sync-token", &seen).command(json!(["GET", "n"])).await;
        assert_eq!(answer.status.as_u16(), status, "{answer:?}");
    }
    assert_eq!(shop.run("SET another 1").await, Ok(json!("OK")));
    let keys = async |http: &Http| http.get("/v1/status").await.json()["keys"].as_u64().unwrap();
    assert_eq!(keys(&shop).await, keys(&blog).await + 1);
    assert_eq!(keys(&default).await, keys(&setup.region.stranger()).await);
}

/// Opens a leaf's socket in the namespace of the token and says hello.
async fn leaf(region: &Region, token: &str) -> Leaf {
    let token = token.replace(' ', "%20");
    let mut socket = Socket::open(region, &format!("/v1/leaf?token={token}"), &[]).await.unwrap();
    let (client, lifetime) = (ClientId(7), Lifetime::Tab);
    socket.send(&LeafToHub::Hello { client, lifetime, resume: None, capabilities: Default::default() }).await;
    match socket.receive().await {
        HubToLeaf::Welcome { session, watermark, .. } => Leaf { socket, session, watermark },
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_leaf_follows_and_changes_what_is_its_own_namespaces() {
    let setup = Setup::new().await;
    let mut shop = leaf(&setup.region, &token("shop")).await;
    let mut default = leaf(&setup.region, TOKEN).await;
    shop.socket.send(&LeafToHub::Subscribe(vec![key("n")])).await;
    let verdicts = shop.operate(shop.session, 1, vec![increment("n"), increment("blog:n")]).await;
    assert_eq!((verdicts.through, verdicts.refused), (Seq(2), vec![]));
    setup.until_names(&["shop:n", "shop:blog:n"]).await;
    assert_eq!(setup.of("shop").run("INCRBY n 5").await, Ok(json!(6)));
    assert_eq!(setup.default().run("INCR n").await, Ok(json!(1)));
    // Another's change of a key of that name is not shown; the leaf's own comes next.
    setup.of("shop").run("INCR n").await.unwrap();
    let shown = shop.socket.receive_some(|message| match message {
        HubToLeaf::State { key, .. } => Some(key.to_string()),
        _ => None,
    });
    assert_eq!(shown.await, "n");
    let verdicts = default.operate(default.session, 1, vec![increment("shop:n")]).await;
    assert_eq!(verdicts.refused, [(Seq(1), CommandError::OtherNamespace { name: "shop:n".into() })]);
    default.socket.send(&LeafToHub::Subscribe(vec![key("shop:n")])).await;
    let refusal = default.socket.receive_some(|message| match message {
        HubToLeaf::Refused(refusal) => Some(refusal),
        _ => None,
    });
    let refusal = refusal.await;
    assert_eq!(refusal.cause, RefusalCause::NotPermitted);
    assert_eq!(refusal.detail, "NOPERM Headwater: the key shop:n is another namespace's");
    assert_eq!(default.socket.closed().await.map(|(code, _)| code), Some(1008));
    setup.plain.until("GET shop:n", &7).await;
}

#[tokio::test]
async fn a_token_of_a_namespace_that_there_is_not_is_401() {
    let setup = Setup::new().await;
    for namespace in ["shops", "hw-rates", "", "shop:x"] {
        let error = setup.of(namespace).command(json!(["SET", "k", "v"])).await.refusal(401);
        assert!(error.contains(&format!("{namespace:?} is none of this deployment's namespaces")), "{error}");
    }
    setup.until_names(&[]).await;
}
