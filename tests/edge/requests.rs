//! What the Worker itself answers: who may ask, and what is no request.

use headwater::limits::PIPELINE_MAX;
use hyper::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::region::{ORIGIN_TOKEN, Region, TOKEN};
use super::socket::Socket;

#[tokio::test]
async fn without_the_right_token_nothing_is_answered() {
    let region = Region::start().await;
    let stranger = region.stranger();
    for client in [
        stranger.clone(),
        stranger.with("authorization", "Bearer wrong"),
        stranger.with("authorization", TOKEN),
        stranger.with("authorization", &format!("Basic {TOKEN}")),
        region.origin(),
    ] {
        for (path, body) in [("/", r#"["PING"]"#), ("/pipeline", r#"[["PING"]]"#)] {
            assert_eq!(client.post(path, body).await.refusal(401), "ERR Headwater: unauthorized");
        }
    }
    for client in [stranger, region.http()] {
        for path in ["/v1/hubs", "/v1/origin?hub=eu/0"] {
            assert_eq!(client.get(path).await.refusal(401), "ERR Headwater: unauthorized");
        }
        assert_eq!(client.post("/v1/relay?hub=eu/0", "").await.refusal(401), "ERR Headwater: unauthorized");
    }
    assert_eq!(region.http().run("PING").await, Ok(json!("PONG")));
}

#[tokio::test]
async fn sockets_open_only_with_their_token() {
    let region = Region::start().await;
    let (bearer, origin) = (format!("Bearer {TOKEN}"), format!("Bearer {ORIGIN_TOKEN}"));
    for (path, headers) in [
        ("/v1/leaf", vec![]),
        ("/v1/leaf?token=wrong", vec![]),
        ("/v1/leaf", vec![("authorization", origin.as_str())]),
        ("/v1/origin?hub=eu/0", vec![]),
        ("/v1/origin?hub=eu/0", vec![("authorization", bearer.as_str())]),
    ] {
        assert_eq!(Socket::open(&region, path, &headers).await.err(), Some(401), "{path}");
    }
    let by_query = format!("/v1/leaf?token={}", TOKEN.replace(' ', "%20"));
    assert!(Socket::open(&region, &by_query, &[]).await.is_ok());
    assert!(Socket::open(&region, "/v1/leaf", &[("authorization", &bearer)]).await.is_ok());
    assert!(Socket::open(&region, "/v1/origin?hub=eu/0", &[("authorization", &origin)]).await.is_ok());
    assert_eq!(Socket::open(&region, "/v1/leaf?token=a&shard=1", &[]).await.err(), Some(401));
    assert_eq!(Socket::open(&region, &format!("{by_query}&shard=1"), &[]).await.err(), Some(400));
    assert_eq!(Socket::open(&region, "/v1/origin?hub=mars/0", &[("authorization", &origin)]).await.err(), Some(404));
    assert_eq!(Socket::open(&region, "/v1/origin", &[("authorization", &origin)]).await.err(), Some(400));
    assert_eq!(region.http().get(&by_query).await.status.as_u16(), 426);
}

#[tokio::test]
async fn a_body_that_is_no_command_is_refused() {
    let region = Region::start().await;
    let http = region.http();
    for body in
        ["", "nonsense", "{}", r#"["GET","k""#, r#"["GET",null]"#, r#"["GET",["k"]]"#, r#"["GET","k"]]"#, "\"\u{0}"]
    {
        let error = http.post("/", body).await.refusal(400);
        assert!(error.starts_with("ERR Headwater: the body is no JSON array of a command: "), "{error}");
    }
    for body in ["", "nonsense", "{}", r#"["GET","k"]"#, r#"[["GET","k"],{}]"#] {
        let error = http.post("/pipeline", body).await.refusal(400);
        assert!(error.starts_with("ERR Headwater: the body is no JSON array of commands: "), "{error}");
    }
    assert_eq!(http.post("/", b"[\"GET\",\"\xff\"]".to_vec()).await.status.as_u16(), 400);
    assert_eq!(http.command(json!([])).await.refusal(400), "ERR empty command");
    assert_eq!(http.pipeline(json!([])).await, []);
}

#[tokio::test]
async fn pipelines_and_bodies_are_bounded() {
    let region = Region::start().await;
    let http = region.http();
    let pipeline = |commands| json!(vec![["INCR", "n"]; commands]);
    let replies = http.pipeline(pipeline(PIPELINE_MAX)).await;
    assert_eq!(replies.last(), Some(&Ok(json!(PIPELINE_MAX))));
    let error = http.post("/pipeline", pipeline(PIPELINE_MAX + 1).to_string()).await.refusal(400);
    assert!(error.contains("a pipeline has at most 1024 commands"), "{error}");
    let too_large = announce(&region, 8 * 1024 * 1024 + 1).await;
    assert!(too_large.starts_with("HTTP/1.1 413 "), "{too_large}");
    assert!(too_large.ends_with(r#"{"error":"ERR Headwater: the body has more than 8388608 bytes"}"#), "{too_large}");
    assert_eq!(http.run("GET n").await, Ok(json!(PIPELINE_MAX.to_string())));
}

#[tokio::test]
async fn an_idempotency_key_has_a_length() {
    let region = Region::start().await;
    for (key, status) in [("x".repeat(255), 200), ("x".repeat(256), 400), (String::new(), 400)] {
        let answer = region.http().with("idempotency-key", &key).command(json!(["INCR", "n"])).await;
        assert_eq!(answer.status.as_u16(), status, "{answer:?}");
    }
    assert_eq!(region.http().run("GET n").await, Ok(json!("1")));
}

#[tokio::test]
async fn browsers_of_any_site_may_call() {
    let region = Region::start().await;
    let browser = region.stranger().with("origin", "https://example.com");
    let preflight = browser
        .with("access-control-request-method", "POST")
        .with("access-control-request-headers", "authorization,idempotency-key")
        .send(Method::OPTIONS, "/pipeline", "".into())
        .await
        .unwrap();
    assert_eq!(preflight.status.as_u16(), 204);
    assert_eq!(preflight.header("access-control-allow-origin"), Some("*"));
    assert!(preflight.header("access-control-allow-headers").unwrap().contains("Authorization"));
    assert!(preflight.header("access-control-allow-methods").unwrap().contains("POST"));

    let with_token = browser.with("authorization", &format!("Bearer {TOKEN}"));
    for answer in [with_token.command(json!(["INCR", "n"])).await, browser.command(json!(["INCR", "n"])).await] {
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"), "{answer:?}");
        assert_eq!(
            answer.header("access-control-expose-headers"),
            Some(
                "Headwater-Durability, Headwater-Provisional, Headwater-Staleness, RateLimit, RateLimit-Policy, \
                 Retry-After, Upstash-Sync-Token"
            ),
            "{answer:?}"
        );
    }
}

#[tokio::test]
async fn other_addresses_and_methods_are_refused() {
    let region = Region::start().await;
    let http = region.http();
    assert_eq!(http.get("/v1/nonsense").await.refusal(404), "ERR Headwater: there is nothing at this address");
    assert_eq!(http.post("/v1/nonsense", "[]").await.refusal(405), "ERR Headwater: the address does not take POST");
    let put = http.send(Method::PUT, "/", "[]".into()).await.unwrap();
    assert_eq!(put.refusal(405), "ERR Headwater: the address does not take PUT");
}

#[tokio::test]
async fn the_status_counts_what_the_origin_does_not_have() {
    let region = Region::start().await;
    let status = region.status().await;
    for (name, value) in [("region", json!("eu")), ("keys", json!(0)), ("pending", json!(0)), ("unstable", json!(0))] {
        assert_eq!(status[name], value, "{status}");
    }
    assert_eq!((&status["origin_connected"], &status["leaves"]), (&json!(false), &json!(0)));
    assert!(status["replica"].as_str().unwrap().ends_with(".0"), "{status}");
    region.http().run("INCR n").await.unwrap();
    let after = region.status().await;
    assert_eq!((&after["keys"], &after["replica"]), (&json!(1), &status["replica"]));
    assert!(after["pending"].as_u64() > Some(0) && after["pending"] == after["unstable"], "{after}");
}

/// The answer to a command of so many bytes before any of them is sent; a client that sends them may miss it.
async fn announce(region: &Region, bytes: usize) -> String {
    let address = region.edge.url().replace("http://", "");
    let mut stream = TcpStream::connect(&address).await.unwrap();
    let head = format!(
        "POST / HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: {bytes}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    while !answer.ends_with('}') {
        let mut more = [0; 1024];
        let read = stream.read(&mut more).await.unwrap();
        assert_ne!(read, 0, "{answer}");
        answer.push_str(std::str::from_utf8(&more[..read]).unwrap());
    }
    answer
}
