//! Signed tokens with grants, over HTTP and under leaves' sockets. The signatures are made by this test itself.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ed25519_compact::{KeyPair, Seed};
use headwater::command::CommandError;
use headwater::id::{ClientId, Seq};
use headwater::message::{HubToLeaf, LeafToHub, Lifetime, RefusalCause};
use serde_json::{Value, json};
use tokio::time::{Duration, Instant, sleep, timeout};

use super::http::Http;
use super::region::Region;
use super::socket::{Leaf, Socket, batch, increment, key, now};

const KEY: &str = "NOPERM this user has no permissions to access one of the keys used as arguments";

const AWAY: &str = "ERR Headwater: the origin is away and this edge does not hold the key";

fn pair(kid: &str) -> KeyPair {
    KeyPair::from_seed(Seed::new([kid.as_bytes()[0]; 32]))
}

/// The keys in force in every region of these tests.
pub(crate) fn public_keys() -> BTreeMap<String, String> {
    ["old", "new"].map(|kid| (kid.to_owned(), URL_SAFE_NO_PAD.encode(*pair(kid).pk))).into()
}

pub(crate) fn signed(kid: &str, secret: &str, claims: &Value) -> String {
    let part = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
    let text = format!("{}.{}", part(&json!({"alg": "EdDSA", "typ": "JWT", "kid": kid})), part(claims));
    let signature = pair(secret).sk.sign(&text, None);
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(*signature))
}

/// Claims that hold for so many seconds.
fn claims(holds_s: i64) -> Value {
    let grants = json!([
        {"verbs": ["read", "write"], "keys": ["user:1:*"]},
        {"verbs": ["read"], "keys": ["news"]},
        {"verbs": ["hw.limit"], "keys": ["limit:*"]},
    ]);
    json!({"exp": now().0 / 1000 + holds_s, "sub": "ada", "grants": grants})
}

/// A client whose token grants this for a while.
pub(crate) fn bearer_of(region: &Region, grants: &Value) -> Http {
    let claims = json!({"exp": now().0 / 1000 + 600, "sub": "test", "grants": grants});
    bearer(region, &signed("new", "new", &claims))
}

/// A token that grants these verbs on these keys, for so many seconds.
pub(crate) fn minted(verbs: &[&str], keys: &[&str], holds_s: i64) -> String {
    let grants = json!([{"verbs": verbs, "keys": keys}]);
    signed("old", "old", &json!({"exp": now().0 / 1000 + holds_s, "grants": grants}))
}

fn bearer(region: &Region, token: &str) -> Http {
    region.stranger().with("authorization", &format!("Bearer {token}"))
}

#[tokio::test]
async fn a_token_of_either_key_in_force_does_what_it_grants() {
    let region = Region::start().await;
    for kid in ["old", "new"] {
        let token = signed(kid, kid, &claims(600));
        let http = bearer(&region, &token);
        assert_eq!(http.run("SET user:1:name Ada").await, Ok(json!("OK")));
        assert_eq!(http.run("GET user:1:name").await, Ok(json!("Ada")));
        assert_eq!(http.run("PING").await, Ok(json!("PONG")));
        let by_query = region.stranger().get(&format!("/get/user:1:name?_token={token}")).await;
        assert_eq!(by_query.reply(), Ok(json!("Ada")));
    }
}

#[tokio::test]
async fn a_token_that_does_not_hold_is_401_and_changes_nothing() {
    let region = Region::start().await;
    let mut foreign = claims(600);
    foreign["ns"] = json!("acme");
    for (token, why) in [
        (signed("old", "old", &claims(0)), "the token has expired"),
        (signed("old", "new", &claims(600)), "the token's signature is wrong"),
        (signed("gone", "old", &claims(600)), "no key in force has the token's kid"),
        (signed("old", "old", &foreign), "\"acme\" is none of this deployment's namespaces"),
    ] {
        for (path, body) in [
            ("/", json!(["SET", "user:1:name", "x"])),
            ("/pipeline", json!([["SET", "user:1:name", "x"]])),
            ("/v1/limit", json!({"key": "user:1:name", "algorithm": "fixed", "limit": 1, "window_ms": 1000})),
        ] {
            let error = bearer(&region, &token).post(path, body.to_string()).await.refusal(401);
            assert!(error.starts_with("ERR Headwater: unauthorized: ") && error.contains(why), "{error}");
            assert!(!error.contains(&token), "{error}");
        }
        assert_eq!(Socket::open(&region, &format!("/v1/leaf?token={token}"), &[]).await.err(), Some(401), "{why}");
    }
    // Nothing is known of the key, so nothing was written.
    assert_eq!(region.http().run("GET user:1:name").await.unwrap_err(), AWAY);
}

#[tokio::test]
async fn what_is_not_granted_is_403_and_nothing_of_the_request_is_executed() {
    let region = Region::start().await;
    let http = bearer(&region, &signed("old", "old", &claims(600)));
    for line in ["GET user:2:name", "SET user:2:name x", "SET news x", "COPY user:1:name user:2:name", "DEL user:1:a b"]
    {
        let command = Value::from_iter(line.split(' '));
        assert_eq!(http.command(command).await.refusal(403), KEY, "{line}");
    }
    let pipeline = json!([["SET", "user:1:name", "x"], ["GET", "user:2:name"]]).to_string();
    for path in ["/pipeline", "/multi-exec"] {
        assert_eq!(http.post(path, pipeline.clone()).await.refusal(403), KEY);
    }
    let flush = "NOPERM this user has no permissions to run the 'flushall' command";
    assert_eq!(http.command(json!(["FLUSHALL"])).await.refusal(403), flush);
    let check =
        |key: &str| json!({"key": key, "algorithm": "fixed", "limit": 1, "window_ms": 1000, "on_error": "open"});
    assert_eq!(http.post("/v1/limit", json!([check("limit:a"), check("news")]).to_string()).await.refusal(403), KEY);
    assert_eq!(http.post("/v1/limit", check("limit:a").to_string()).await.status.as_u16(), 200);
    assert_eq!(region.http().run("GET user:1:name").await.unwrap_err(), AWAY);
}

/// Opens a leaf's socket under a token.
async fn leaf(region: &Region, token: &str) -> Leaf {
    let socket = Socket::open(region, &format!("/v1/leaf?token={token}"), &[]).await.unwrap();
    introduced(socket).await.expect("the token holds")
}

/// Says hello; nothing where the socket is closed upon it.
async fn introduced(mut socket: Socket) -> Option<Leaf> {
    let (client, lifetime) = (ClientId(7), Lifetime::Tab);
    socket.send(&LeafToHub::Hello { client, lifetime, resume: None, capabilities: Default::default() }).await;
    match socket.receive_or_closed().await.ok()? {
        HubToLeaf::Welcome { session, watermark, .. } => Some(Leaf { socket, session, watermark }),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_operation_of_a_leaf_that_is_not_granted_is_refused_by_its_verdict() {
    let region = Region::start().await;
    let token = signed("old", "old", &claims(600));
    let mut leaf = leaf(&region, &token).await;
    let operations = vec![increment("user:1:n"), increment("user:2:n"), increment("news")];
    let verdicts = leaf.operate(leaf.session, 1, operations).await;
    assert_eq!(verdicts.through, Seq(3));
    assert_eq!(verdicts.accepted.iter().map(|(seq, ..)| *seq).collect::<Vec<_>>(), [Seq(1)]);
    let denied = CommandError::KeyNotPermitted;
    assert_eq!(verdicts.refused, [(Seq(2), denied.clone()), (Seq(3), denied)]);
    assert_eq!(region.http().run("GET user:1:n").await, Ok(json!("1")));
    assert_eq!(region.http().run("GET user:2:n").await.unwrap_err(), AWAY);
}

#[tokio::test]
async fn a_leaf_that_follows_what_it_may_not_read_is_told_so_and_closed() {
    let region = Region::start().await;
    let mut leaf = leaf(&region, &signed("old", "old", &claims(600))).await;
    leaf.socket.send(&LeafToHub::Subscribe(vec![key("news")])).await;
    leaf.socket.receive_some(|message| matches!(message, HubToLeaf::State { .. }).then_some(())).await;
    leaf.socket.send(&LeafToHub::Subscribe(vec![key("user:1:n"), key("limit:a")])).await;
    let refusal = leaf.socket.receive_some(|message| match message {
        HubToLeaf::Refused(refusal) => Some(refusal),
        _ => None,
    });
    let refusal = refusal.await;
    assert_eq!(
        (refusal.cause, refusal.detail.as_str()),
        (RefusalCause::NotPermitted, "the token does not grant the key limit:a")
    );
    assert_eq!(leaf.socket.closed().await, Some((1008, "the token does not grant the key limit:a".into())));
}

#[tokio::test]
async fn a_socket_ends_with_its_token() {
    let region = Region::start().await;
    let deadline = Instant::now() + Duration::from_secs(90);
    // On a slow machine a token may have expired before its socket is open.
    let mut leaf = loop {
        assert!(Instant::now() < deadline, "no socket opens in time");
        let token = signed("new", "new", &claims(3));
        match Socket::open(&region, &format!("/v1/leaf?token={token}"), &[]).await {
            Ok(socket) => match introduced(socket).await {
                Some(leaf) => break leaf,
                None => continue,
            },
            Err(status) => assert_eq!(status, 401),
        }
    };
    let mut executed = 0;
    loop {
        assert!(Instant::now() < deadline, "the socket outlives its token");
        leaf.socket.send(&batch(leaf.session, executed + 1, vec![increment("user:1:n")])).await;
        match leaf.socket.receive_or_closed::<HubToLeaf>().await {
            Ok(_verdicts) => executed += 1,
            Err(closed) => {
                assert_eq!(closed, Some((1008, "the token has expired".into())));
                break;
            }
        }
        sleep(Duration::from_millis(20)).await;
    }
    let expected = if executed == 0 { Err(AWAY.to_owned()) } else { Ok(json!(executed.to_string())) };
    assert_eq!(region.http().run("GET user:1:n").await, expected);
}

#[tokio::test]
async fn a_leaf_stays_bound_to_its_token_through_hibernation() {
    let region = Region::start().await;
    let mut leaf = leaf(&region, &signed("old", "old", &claims(600))).await;
    // An object that nobody asks anything for ten seconds sleeps; it wakes with a request, and asks its sockets to begin again.
    let mut is_asked = false;
    for _ in 0..8 {
        sleep(Duration::from_secs(13)).await;
        assert_eq!(region.http().run("PING").await, Ok(json!("PONG")));
        if let Ok(message) = timeout(Duration::from_secs(5), leaf.socket.receive::<HubToLeaf>()).await {
            assert_eq!(message, HubToLeaf::Again);
            is_asked = true;
            break;
        }
    }
    assert!(is_asked, "the object does not sleep");
    let mut leaf = introduced(leaf.socket).await.expect("the token holds");
    let verdicts = leaf.operate(leaf.session, 1, vec![increment("user:2:n"), increment("user:1:n")]).await;
    assert_eq!(verdicts.refused, [(Seq(1), CommandError::KeyNotPermitted)]);
}

#[tokio::test]
async fn a_token_with_more_grants_than_a_socket_keeps_is_refused_for_sockets_alone() {
    let region = Region::start().await;
    let mut claims = claims(600);
    claims["grants"][0]["keys"] = (0..200).map(|at| json!(format!("user:{at}:*"))).collect();
    let token = signed("old", "old", &claims);
    assert_eq!(bearer(&region, &token).run("SET user:199:n 1").await, Ok(json!("OK")));
    assert_eq!(Socket::open(&region, &format!("/v1/leaf?token={token}"), &[]).await.err(), Some(403));
}
