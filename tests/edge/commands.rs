//! Every command over HTTP, with the replies and errors that Redis gives.

use serde_json::{Value, json};
use std::time::{Duration, Instant};

use super::http::Http;
use super::region::Region;

/// Runs each line and compares its reply.
async fn expect(http: &Http, table: &[(&str, Value)]) {
    for (line, expected) in table {
        assert_eq!(http.run(line).await.as_ref(), Ok(expected), "{line}");
    }
}

#[tokio::test]
async fn strings_and_counters() {
    let region = Region::start().await;
    expect(
        &region.http(),
        &[
            ("SET k v", json!("OK")),
            ("GET k", json!("v")),
            ("set k w", json!("OK")),
            ("GET k", json!("w")),
            ("INCR n", json!(1)),
            ("INCRBY n 41", json!(42)),
            ("DECR n", json!(41)),
            ("DECRBY n 50", json!(-9)),
            ("GET n", json!("-9")),
            ("SET n 5", json!("OK")),
            ("INCR n", json!(6)),
            ("PING", json!("PONG")),
            ("ECHO hello", json!("hello")),
        ],
    )
    .await;
}

#[tokio::test]
async fn keys_and_their_deadlines() {
    let region = Region::start().await;
    let http = region.http();
    expect(
        &http,
        &[
            ("SET k v", json!("OK")),
            ("EXISTS k k", json!(2)),
            ("TYPE k", json!("string")),
            ("TTL k", json!(-1)),
            ("EXPIRE k 100", json!(1)),
            ("EXPIRE k 50 GT", json!(0)),
            ("PERSIST k", json!(1)),
            ("PTTL k", json!(-1)),
            ("PEXPIRE k 100000", json!(1)),
            ("DEL k k", json!(1)),
            // Its own removal is known here, so the key is known to be absent.
            ("GET k", Value::Null),
            ("EXISTS k", json!(0)),
            ("TTL k", json!(-2)),
            ("TYPE k", json!("none")),
            ("SET short v PX 1", json!("OK")),
        ],
    )
    .await;
    let deadline = Instant::now() + Duration::from_secs(60);
    while http.run("GET short").await != Ok(Value::Null) {
        assert!(Instant::now() < deadline, "a millisecond never ends");
    }
    assert_eq!(http.run("PTTL short").await, Ok(json!(-2)));
    // Whole seconds, of which some may have passed.
    expect(&http, &[("SET k v EX 100", json!("OK"))]).await;
    let ttl_s = http.run("TTL k").await.unwrap().as_i64().unwrap();
    assert!((40..=100).contains(&ttl_s), "{ttl_s}");
}

#[tokio::test]
async fn sets() {
    let region = Region::start().await;
    expect(
        &region.http(),
        &[
            ("SADD s b a a", json!(2)),
            ("SADD s a c", json!(1)),
            ("SCARD s", json!(3)),
            ("SISMEMBER s a", json!(1)),
            ("SREM s a x", json!(1)),
            ("SISMEMBER s a", json!(0)),
            ("SMEMBERS s", json!(["b", "c"])),
            ("TYPE s", json!("set")),
        ],
    )
    .await;
}

#[tokio::test]
async fn hashes() {
    let region = Region::start().await;
    expect(
        &region.http(),
        &[
            ("HSET h a 1 b 2", json!(2)),
            ("HSET h a 3 c 4", json!(1)),
            ("HGET h a", json!("3")),
            ("HGET h x", Value::Null),
            ("HINCRBY h a 4", json!(7)),
            ("HLEN h", json!(3)),
            ("HDEL h b x", json!(1)),
            ("HGETALL h", json!(["a", "7", "c", "4"])),
            ("TYPE h", json!("hash")),
        ],
    )
    .await;
}

#[tokio::test]
async fn boards() {
    let region = Region::start().await;
    expect(
        &region.http(),
        &[
            ("ZADD z 1 a 2.5 b 3 c", json!(3)),
            ("ZADD z CH 4 a 9 d", json!(2)),
            ("ZADD z NX 100 a", json!(0)),
            ("ZADD z GT 3 a", json!(0)),
            ("ZINCRBY z 0.5 b", json!("3")),
            ("ZADD z INCR 1 b", json!("4")),
            ("ZSCORE z b", json!("4")),
            ("ZSCORE z x", Value::Null),
            ("ZCARD z", json!(4)),
            ("ZRANK z c", json!(0)),
            ("ZREVRANK z d", json!(0)),
            ("ZRANK z c WITHSCORE", json!([0, "3"])),
            ("ZRANGE z 0 -1 WITHSCORES", json!(["c", "3", "a", "4", "b", "4", "d", "9"])),
            ("ZRANGE z 0 1 REV", json!(["d", "b"])),
            ("ZRANGE z (3 +inf BYSCORE LIMIT 1 1", json!(["b"])),
            ("ZREM z a x", json!(1)),
            ("ZCARD z", json!(3)),
            ("TYPE z", json!("zset")),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_failed_command_says_what_redis_says_and_changes_nothing() {
    let region = Region::start().await;
    let http = region.http();
    let wrong_type = "WRONGTYPE Operation against a key holding the wrong kind of value";
    let not_an_integer = "ERR value is not an integer or out of range";
    expect(
        &http,
        &[
            ("SET word abc", json!("OK")),
            ("SET most 9223372036854775807", json!("OK")),
            ("SADD set m", json!(1)),
            ("HSET hash word abc most 9223372036854775807", json!(2)),
            ("ZADD board inf m", json!(1)),
        ],
    )
    .await;
    let look = || {
        http.pipeline(json!([
            ["GET", "word"],
            ["GET", "most"],
            ["SMEMBERS", "set"],
            ["HGETALL", "hash"],
            ["ZRANGE", "board", 0, -1, "WITHSCORES"],
            ["TTL", "word"],
            ["TYPE", "word"],
        ]))
    };
    let before = look().await;
    for (line, error) in [
        ("SADD word m", wrong_type),
        ("HSET word f v", wrong_type),
        ("ZADD word 1 m", wrong_type),
        ("GET set", wrong_type),
        ("INCR hash", wrong_type),
        ("LLEN word", "ERR Headwater: the origin is away, and this command runs only there; nothing was done"),
        ("BLPOP word 0", "ERR unknown command 'BLPOP', with args beginning with: 'word' '0' "),
        ("GET", "ERR wrong number of arguments for 'get' command"),
        ("HSET hash f", "ERR wrong number of arguments for 'hset' command"),
        ("INCR word", not_an_integer),
        ("INCRBY most x", not_an_integer),
        ("INCRBY most 1.5", not_an_integer),
        ("INCR most", "ERR increment or decrement would overflow"),
        ("DECRBY most -9223372036854775808", "ERR decrement would overflow"),
        ("HINCRBY hash word 1", "ERR hash value is not an integer"),
        ("HINCRBY hash most 1", "ERR increment or decrement would overflow"),
        ("ZADD board x m", "ERR value is not a valid float"),
        ("ZINCRBY board -inf m", "ERR resulting score is not a number (NaN)"),
        ("ZADD board NX XX 1 m", "ERR XX and NX options at the same time are not compatible"),
        ("SET word v EX 0", "ERR invalid expire time in 'set' command"),
        ("SET word v FOO", "ERR syntax error"),
        ("EXPIRE word x", not_an_integer),
    ] {
        assert_eq!(http.run(line).await.unwrap_err(), error, "{line}");
    }
    assert_eq!(look().await, before);
}

#[tokio::test]
async fn what_is_too_long_is_refused_and_changes_nothing() {
    let region = Region::start().await;
    let http = region.http();
    assert_eq!(http.run("SET k before").await, Ok(json!("OK")));
    let (key, value) = ("x".repeat(1025), "x".repeat(1024 * 1024 + 1));
    let key_error = "ERR key is longer than the limit of 1024 bytes";
    for (command, error) in [
        (json!(["SET", key, "v"]), key_error),
        (json!(["GET", key]), key_error),
        (json!(["SET", "k", value]), "ERR value is longer than the limit of 1048576 bytes"),
        (json!(["SADD", "k", value]), "ERR member is longer than the limit of 1048576 bytes"),
        (json!(["HSET", "k", value, "v"]), "ERR field is longer than the limit of 1048576 bytes"),
    ] {
        assert_eq!(http.command(command).await.reply().unwrap_err(), error);
    }
    let many: Vec<&str> = std::iter::once("SADD").chain(std::iter::repeat_n("k", 16 * 1024)).collect();
    let error = "ERR number of arguments is larger than the limit of 16384";
    assert_eq!(http.command(json!(many)).await.reply().unwrap_err(), error);
    assert_eq!(http.run("GET k").await, Ok(json!("before")));
}

#[tokio::test]
async fn the_longest_keys_names_and_values_are_kept() {
    let mut region = Region::start().await;
    let (key, value) = ("k".repeat(1024), "v".repeat(1024 * 1024));
    // They differ in their last byte only.
    let names = ["x", "y"].map(|last| "v".repeat(1024 * 1024 - 1) + last);
    let http = region.http();
    assert_eq!(http.command(json!(["SET", key, value])).await.reply(), Ok(json!("OK")));
    assert_eq!(http.command(json!(["HSET", "h", names[0], value, names[1], 2])).await.reply(), Ok(json!(2)));
    region.kill_and_restart().await;
    assert_eq!(http.command(json!(["GET", key])).await.reply(), Ok(json!(value)));
    assert_eq!(http.command(json!(["HGET", "h", names[0]])).await.reply(), Ok(json!(value)));
    assert_eq!(http.command(json!(["HDEL", "h", names[0]])).await.reply(), Ok(json!(1)));
    region.kill_and_restart().await;
    assert_eq!(http.command(json!(["HGETALL", "h"])).await.reply(), Ok(json!([names[1], "2"])));
}

#[tokio::test]
async fn an_unknown_key_is_an_error_and_never_empty_while_the_origin_is_away() {
    let region = Region::start().await;
    let http = region.http();
    for line in [
        "GET k",
        "EXISTS k",
        "TTL k",
        "PTTL k",
        "TYPE k",
        "DEL k",
        "EXPIRE k 1",
        "PERSIST k",
        "SISMEMBER k m",
        "SMEMBERS k",
        "SCARD k",
        "SREM k m",
        "HGET k f",
        "HGETALL k",
        "HLEN k",
        "HDEL k f",
        "ZSCORE k m",
        "ZRANK k m",
        "ZREVRANK k m",
        "ZRANGE k 0 -1",
        "ZCARD k",
        "ZREM k m",
        "ZADD k NX 1 m",
    ] {
        let error = http.run(line).await.unwrap_err();
        assert_eq!(error, "ERR Headwater: the origin is away and this edge does not hold the key", "{line}");
    }
    let away = "ERR Headwater: the origin is away, and this command runs only there; nothing was done";
    for line in ["SET k v NX", "GETDEL k", "DBSIZE"] {
        assert_eq!(http.run(line).await.unwrap_err(), away, "{line}");
    }
}

#[tokio::test]
async fn replies_from_own_writes_alone_are_marked_provisional() {
    let region = Region::start().await;
    let http = region.http();
    assert!(http.command(json!(["INCR", "n"])).await.is_provisional());
    assert!(http.command(json!(["GET", "n"])).await.is_provisional());
    assert!(http.post("/pipeline", r#"[["PING"],["GET","n"]]"#).await.is_provisional());
    assert!(!http.command(json!(["PING"])).await.is_provisional());
}

#[tokio::test]
async fn arguments_and_replies_are_encoded_as_upstash_does() {
    let region = Region::start().await;
    let http = region.http();
    let replies = http.pipeline(json!([
        ["SET", "k", true],
        ["GET", "k"],
        ["SET", 1, 2.5],
        ["GET", "1"],
        ["SET", "ü", "\"\u{1f30a}\n"],
        ["GET", "ü"],
        ["GET"],
    ]));
    let arity = Err("ERR wrong number of arguments for 'get' command".to_owned());
    let ok = || Ok(json!("OK"));
    let expected = [ok(), Ok(json!("true")), ok(), Ok(json!("2.5")), ok(), Ok(json!("\"\u{1f30a}\n")), arity];
    assert_eq!(replies.await, expected);

    let base64 = http.with("upstash-encoding", "base64");
    assert_eq!(base64.run("SET k héé").await, Ok(json!("OK")));
    assert_eq!(base64.run("GET k").await, Ok(json!("aMOpw6k=")));
    assert_eq!(base64.run("SADD s a b").await, Ok(json!(2)));
    assert_eq!(base64.run("SMEMBERS s").await, Ok(json!(["YQ==", "Yg=="])));
    assert_eq!(base64.run("TYPE s").await, Ok(json!("c2V0")));
    assert_eq!(base64.run("NONSENSE").await.unwrap_err(), "ERR unknown command 'NONSENSE', with args beginning with: ");
}
