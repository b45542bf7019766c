//! A hundred requests that nobody should send: each is refused with a status of its own fault and a text, and changes nothing.

use hyper::Method;
use serde_json::{Value, json};

use super::http::Http;
use super::region::Region;
use super::socket::now;
use super::tokens::signed;

/// One request and the status that it deserves.
struct Hostile {
    method: Method,
    path: String,
    header: Option<(&'static str, String)>,
    body: Vec<u8>,
    status: u16,
}

fn post(path: &str, body: impl Into<Vec<u8>>) -> Hostile {
    Hostile { method: Method::POST, path: path.into(), header: None, body: body.into(), status: 400 }
}

fn get(path: &str, status: u16) -> Hostile {
    Hostile { method: Method::GET, path: path.into(), header: None, body: vec![], status }
}

/// Bodies that are no command, or none that can be executed.
fn commands() -> Vec<Hostile> {
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    let long = |bytes: usize| "x".repeat(bytes);
    let bodies: Vec<Vec<u8>> = vec![
        b"".into(),
        b" ".into(),
        b"null".into(),
        b"true".into(),
        b"0".into(),
        b"-".into(),
        b"\"SET\"".into(),
        b"{}".into(),
        b"{\"SET\":\"n\"}".into(),
        b"[".into(),
        b"]".into(),
        b"[]".into(),
        b"[\"\"]".into(),
        b"[\"SET\",\"n\"".into(),
        b"[\"SET\",\"n\",\"v\"]]".into(),
        b"[\"SET\",\"n\",\"v\"][\"SET\",\"n\",\"v\"]".into(),
        b"[\"SET\",\"n\",null]".into(),
        b"[\"SET\",\"n\",{}]".into(),
        b"[\"SET\",\"n\",[\"v\"]]".into(),
        b"[\"SET\",\"n\",\"\\ud800\"]".into(),
        b"[\"SET\",\"n\",\"\\x\"]".into(),
        b"[\"SET\",\"n\",1e999]".into(),
        b"[\"SET\",\"n\",NaN]".into(),
        b"[\"SET\",\"n\",\"\xff\"]".into(),
        b"[\"SET\",\"n\",\"\x00\"]".into(),
        b"['SET','n','v']".into(),
        b"SET n v".into(),
        b"*3\r\n$3\r\nSET\r\n$1\r\nn\r\n$1\r\nv\r\n".into(),
        b"<xml/>".into(),
        b"\xef\xbb\xbf[\"SET\",\"n\",\"v\"]".into(),
        nested(1_000).into(),
        nested(100_000).into(),
        json!(["SET", long(1_025), "v"]).to_string().into(),
        json!(["SET", "n", long(1024 * 1024 + 1)]).to_string().into(),
        json!(vec!["SADD"; 16 * 1024 + 1]).to_string().into(),
    ];
    let lines = [
        "SET n",
        "SET n v EX 0",
        "SET n v EX -1",
        "SET n v EX x",
        "SET n v EX 1 PX 1",
        "SET n v MAYBE",
        "SET n v EX 9223372036854775807",
        "INCR",
        "INCR n m",
        "INCRBY n 1.5",
        "INCRBY n 9223372036854775808",
        "INCRBY n",
        "DECRBY n x",
        "HSET n",
        "HSET n f",
        "HINCRBY n f x",
        "SADD n",
        "ZADD n",
        "ZADD n nan m",
        "ZADD n x m",
        "ZADD n 1",
        "ZADD n GT LT 1 m",
        "ZINCRBY n nan m",
        "EXPIRE n x",
        "EXPIRE n 9223372036854775807",
        "MSET n",
        "MSET n v m",
        "HW.LIMIT n",
        "HW.LIMIT n LEAKY 1 1",
        "HW.LIMIT n FIXED 0 1",
        "HW.LIMIT n FIXED 1 0",
        "HW.LIMIT n FIXED 1 1 COST -1",
        "EVAL return x",
        "FLUSHALL",
        "CONFIG SET save x",
        "SHUTDOWN",
        "DEBUG SLEEP 1",
        "NONSENSE n",
        "SCRIPT FLUSH",
    ];
    let lines = lines.map(|line| Value::from_iter(line.split(' ')).to_string().into_bytes());
    bodies.into_iter().chain(lines).map(|body| post("/", body)).collect()
}

fn others() -> Vec<Hostile> {
    let check = |field: &str, value: Value| {
        let mut check = json!({"key": "n", "algorithm": "fixed", "limit": 1, "window_ms": 1000});
        check[field] = value;
        post("/v1/limit", check.to_string())
    };
    let with = |name, value: &str| Hostile { header: Some((name, value.into())), ..post("/", r#"["INCR","n"]"#) };
    let as_method = |method, path: &str, status| Hostile { method, path: path.into(), status, ..post("", "") };
    vec![
        post("/pipeline", "[[]"),
        post("/pipeline", r#"["INCR","n"]"#),
        post("/pipeline", json!(vec![["INCR", "n"]; 1025]).to_string()),
        post("/pipeline", r#"[[["INCR","n"]]]"#),
        post("/multi-exec", r#"[["INCR","n"],["INCR"]]"#),
        post("/multi-exec", r#"[["INCR","n"],["NONSENSE"]]"#),
        post("/v1/limit", ""),
        post("/v1/limit", "[]"),
        post("/v1/limit", "[[]]"),
        check("limit", json!(-1)),
        check("limit", json!(1e300)),
        check("window_ms", json!("1000")),
        check("algorithm", json!("__proto__")),
        check("key", json!("")),
        check("cost", json!(-1)),
        check("unknown", json!(1)),
        with("idempotency-key", ""),
        with("idempotency-key", &"x".repeat(256)),
        with("headwater-durability", "LEAF"),
        with("headwater-consistency", "strict"),
        Hostile { status: 401, ..with("authorization", "Bearer") },
        Hostile { status: 401, ..with("authorization", "Bearer a.b.c") },
        Hostile { status: 401, ..with("authorization", &format!("Bearer {}", "x".repeat(9_000))) },
        get("/incr", 400),
        get("/set/n", 400),
        get("/incr/n/m", 400),
        get("/subscribe", 400),
        get("/subscribe/n/m", 400),
        get("/subscribe/hw:changed", 400),
        get("/ssubscribe/n", 400),
        get("/v1/", 404),
        get("/v1/../incr/n/x", 404),
        get("/v1/leaf", 426),
        get("/v1/origin?hub=eu/0", 401),
        get("/v1/hubs", 401),
        as_method(Method::POST, "/v1/status", 405),
        as_method(Method::DELETE, "/incr/n", 405),
        as_method(Method::PATCH, "/", 405),
        Hostile { status: 401, ..post("/v1/relay?hub=eu/0", "x") },
    ]
}

/// Calls of scenarios that are none, and levels and session tokens that nobody gave.
fn scenarios() -> Vec<Hostile> {
    let call = |verb: &str, body: Value| post(&format!("/v1/{verb}"), body.to_string());
    let nested = "{\"a\":".repeat(100_000) + "1" + &"}".repeat(100_000);
    let with = |name, value: &str, status| Hostile {
        header: Some((name, value.into())),
        status,
        ..call("metrics/add", json!({"metric": "hits"}))
    };
    let expired = signed("old", "old", &json!({"exp": 1, "grants": [{"verbs": ["admin"], "keys": ["*"]}]}));
    vec![
        post("/v1/sessions/create", "{"),
        post("/v1/sessions/create", "null"),
        post("/v1/metrics/add", nested),
        post("/v1/metrics/add", &b"{\"metric\":\"\xff\"}"[..]),
        call("sessions/create", json!({"subject": "a{b}", "ttl_ms": 1})),
        call("sessions/create", json!({"subject": "ada", "ttl_ms": -1})),
        call("sessions/rotate", json!({"session": "..."})),
        call("sessions/revoke", json!({"session": {"$ne": null}})),
        call("tokens/deny", json!({"jti": "a", "exp": i64::MAX})),
        call("tokens/check", json!({"jtis": vec!["a"; 257]})),
        call("cache/put", json!({"key": "hw:m:{0}", "value": "v", "fresh_ms": 1})),
        call("cache/put", json!({"key": "n", "value": "v".repeat(1024 * 1024 + 1), "fresh_ms": 1})),
        call("cache/get", json!({"key": "n".repeat(1025)})),
        call("presence/join", json!({"room": "", "member": "ada", "ttl_ms": 1})),
        call("presence/join", json!({"room": "r".repeat(1_020), "member": "ada", "ttl_ms": 1})),
        call("metrics/add", json!({"metric": "n", "by": 1e40})),
        call("metrics/add", json!({"metric": "n", "bucket_ms": 0})),
        call("locks/acquire", json!({"lock": "\u{0}", "ttl_ms": i64::MIN})),
        call("locks/acquire", json!({"lock": "a", "ttl_ms": 1, "owner": 7})),
        call("locks/release", json!({"lock": "a", "owner": "o".repeat(257)})),
        call("locks/extend", json!([])),
        call("jobs/add", json!({"list": "hw:q:{0}", "jobs": ["a"]})),
        call("jobs/add", json!({"list": "l", "jobs": vec!["a"; 1_001]})),
        call("jobs/add", json!({"list": "l", "jobs": ["j".repeat(1024 * 1024 + 1)]})),
        call("jobs/add", json!({"list": "l", "jobs": vec!["j".repeat(1024 * 1024); 3]})),
        call("jobs/add", json!({"stream": "s", "fields": {"f": null}})),
        call("jobs/add", json!({"stream": "s", "fields": {"f": "v"}, "length_max": -1})),
        call("jobs/state", json!({"list": "a", "stream": "b"})),
        call("erase", json!({"subject": ""})),
        call("erase", json!({"subject": "*".repeat(1_025)})),
        call("erase", json!({"subject": "ada", "pattern": "*"})),
        Hostile { status: 403, ..call("cache/put", json!({"key": "shop:n", "value": "v", "fresh_ms": 1})) },
        Hostile { status: 403, ..call("jobs/add", json!({"list": "shop:l", "jobs": ["a"]})) },
        Hostile { status: 405, ..call("erase/all", json!({"subject": "ada"})) },
        with("authorization", &format!("Bearer {expired}"), 401),
        with("idempotency-key", &"x".repeat(256), 400),
        with("headwater-durability", "Origin", 400),
        with("headwater-consistency", "origin, local", 400),
        with("upstash-sync-token", "hw1.AAAA", 400),
        with("upstash-sync-token", &format!("hw1.{}", "A".repeat(6_000)), 400),
    ]
}

/// Requests for what is Headwater's own or another namespace's; of the default namespace, and of `shop`.
fn elsewhere() -> Vec<Hostile> {
    let forbidden = |hostile: Hostile| Hostile { status: 403, ..hostile };
    let command = |line: &str| post("/", Value::from_iter(line.split(' ')).to_string());
    let check = |key: &str| {
        post("/v1/limit", json!({"key": key, "algorithm": "fixed", "limit": 1, "window_ms": 1000}).to_string())
    };
    let of = |namespace: &str, verb: &str, hostile: Hostile| {
        let grants = json!([{"verbs": [verb], "keys": ["*"]}]);
        let token = signed("old", "old", &json!({"exp": now().0 / 1000 + 600, "ns": namespace, "grants": grants}));
        Hostile { header: Some(("authorization", format!("Bearer {token}"))), ..hostile }
    };
    let lines =
        ["INCR shop:n", "DEL n shop:n", "SETNX shop:n 1", "HW.LOCK shop:n me 1000", "RPUSH shop:n a", "EVAL x 0"];
    let own = ["INCR hw:m:{0}", "MSET n 1 hw:c:{0}n 2", "SETNX hw:n 1", "RPUSH hw:q:{0} a"];
    let mut all: Vec<Hostile> = lines.iter().map(|line| forbidden(command(line))).collect();
    all.extend(own.iter().map(|line| command(line)));
    all.extend([
        forbidden(check("shop:n")),
        check("hw:l:{0}n"),
        forbidden(command("HW.LIMIT hw-rates:n FIXED 1 1000")),
        forbidden(get("/incr/shop:n", 403)),
        forbidden(post("/pipeline", r#"[["INCR","n"],["INCR","shop:n"]]"#)),
        forbidden(post("/multi-exec", r#"[["INCR","n"],["INCR","shop:n"]]"#)),
        Hostile { status: 401, ..of("blog", "admin", command("INCR n")) },
        Hostile { status: 401, ..of("shop:", "admin", command("INCR n")) },
        Hostile { status: 401, ..of("hw-rates", "admin", command("INCR n")) },
        forbidden(of("shop", "read", command("INCR n"))),
        forbidden(of("shop", "eval", command("EVAL x 0"))),
        of("shop", "admin", command("INCR hw:n")),
        of("shop", "admin", check("hw:n")),
        of("shop", "admin", command(&format!("INCR {}", "n".repeat(1_020)))),
    ]);
    all
}

/// How a request was answered otherwise than it should be.
async fn wrong(http: &Http, hostile: Hostile) -> Option<String> {
    let Hostile { method, path, header, body, status } = hostile;
    let http = header.map_or_else(|| http.clone(), |(name, value)| http.with(name, &value));
    let shown = format!("{method} {path} {}", String::from_utf8_lossy(&body[..body.len().min(80)]));
    let answer = match http.send(method, &path, body.into()).await {
        Ok(answer) => answer,
        Err(error) => return Some(format!("{shown}: {error}")),
    };
    let told: Option<Value> = serde_json::from_slice(&answer.body).ok();
    let is_told = told.and_then(|told| Some((1..1_000).contains(&told["error"].as_str()?.len())));
    let is_right = answer.status.as_u16() == status && is_told == Some(true);
    (!is_right).then(|| format!("{shown}: {} {}", answer.status, String::from_utf8_lossy(&answer.body)))
}

#[tokio::test]
async fn a_hundred_hostile_requests_are_refused_and_change_nothing() {
    let region = Region::with("HEADWATER_NAMESPACES", "shop").await;
    let http = region.http();
    let hostile: Vec<Hostile> = commands().into_iter().chain(others()).chain(scenarios()).chain(elsewhere()).collect();
    assert!(hostile.len() >= 100, "{}", hostile.len());
    let mut answered_wrong = Vec::new();
    for request in hostile {
        answered_wrong.extend(wrong(&http, request).await);
    }
    assert!(answered_wrong.is_empty(), "{}", answered_wrong.join("\n"));
    let grants = json!([{"verbs": ["read"], "keys": ["*"]}]);
    let token = signed("old", "old", &json!({"exp": now().0 / 1000 + 600, "ns": "shop", "grants": grants}));
    let shop = region.stranger().with("authorization", &format!("Bearer {token}"));
    for status in [region.status().await, shop.get("/v1/status").await.json()] {
        let nothing = ["keys", "pending", "jobs"].map(|count| &status[count]);
        assert_eq!(nothing, [&json!(0); 3], "{status}");
    }
    assert_eq!(http.run("INCR n").await, Ok(json!(1)));
}
