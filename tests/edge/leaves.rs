//! Leaves over WebSockets: sessions, verdicts, pushes, and what is no message.

use std::time::Duration;

use bytes::Bytes;
use headwater::command::CommandError;
use headwater::id::{ClientId, Seq, SessionId};
use headwater::message::{HubToLeaf, LeafToHub, OriginToHub};
use headwater::state::{Effect, ElementId, Increment, NewBase, Operation, SeenCuts};
use headwater::wire;
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use super::region::{Region, TOKEN};
use super::socket::{Leaf, Socket, batch, increment, key, now};

#[tokio::test]
async fn operations_get_verdicts_and_count() {
    let region = Region::start().await;
    let mut leaf = Leaf::hello(&region, 1, None).await;
    let verdicts = leaf.increment("n", 1, 3).await;
    assert_eq!(verdicts.through, Seq(3));
    assert_eq!(verdicts.accepted.iter().map(|(seq, ..)| seq.0).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(verdicts.refused, []);
    assert_eq!(region.http().run("GET n").await, Ok(json!("3")));
    assert_eq!(region.status().await["leaves"], json!(1));
    leaf.socket.close().await;
    region.until("leaves", 0).await;
}

#[tokio::test]
async fn a_repeated_batch_is_acknowledged_again_and_changes_nothing() {
    let mut region = Region::start().await;
    let mut leaf = Leaf::hello(&region, 1, None).await;
    let first = leaf.increment("n", 1, 3).await;
    assert_eq!(leaf.increment("n", 1, 3).await, first);
    // Part of it known, part of it new.
    assert_eq!(leaf.increment("n", 2, 3).await.through, Seq(4));

    // The hub dies with the leaf's socket; the leaf does not know what became of its last batch.
    region.kill_and_restart().await;
    let mut leaf = Leaf::hello(&region, 1, Some(leaf.session)).await;
    assert_eq!(leaf.watermark, Seq(4));
    let again = leaf.increment("n", 1, 4).await;
    assert_eq!(again.through, Seq(4));
    assert_eq!(again.accepted[..3], first.accepted);
    assert_eq!(region.http().run("GET n").await, Ok(json!("4")));
}

#[tokio::test]
async fn a_refused_operation_says_why_and_the_others_count() {
    let region = Region::start().await;
    let mut leaf = Leaf::hello(&region, 1, None).await;
    let name = "n";
    let add = |by| Operation {
        effects: vec![Effect::Add { element: ElementId::String, by: Increment::Int(by) }],
        ..increment(name)
    };
    let session = leaf.session;
    let verdicts = leaf.operate(session, 1, vec![add(1), add(i128::from(i64::MAX)), add(2)]).await;
    assert_eq!(verdicts.refused, [(Seq(2), CommandError::Overflow)]);
    assert_eq!(verdicts.accepted.iter().map(|(seq, ..)| seq.0).collect::<Vec<_>>(), [1, 3]);
    assert_eq!(region.http().run("GET n").await, Ok(json!("3")));
}

#[tokio::test]
async fn a_lost_batch_is_not_skipped_over() {
    let region = Region::start().await;
    let mut leaf = Leaf::hello(&region, 1, None).await;
    assert_eq!(leaf.increment("n", 2, 1).await.through, Seq(0));
    assert_eq!(leaf.increment("n", 1, 2).await.through, Seq(2));
    assert_eq!(region.http().run("GET n").await, Ok(json!("2")));
}

#[tokio::test]
async fn a_session_of_another_client_is_not_resumed() {
    let region = Region::start().await;
    let one = Leaf::hello(&region, 1, None).await;
    let mut socket = Socket::leaf(&region).await;
    let lifetime = headwater::message::Lifetime::Tab;
    socket
        .send(&LeafToHub::Hello {
            client: ClientId(2),
            lifetime,
            resume: Some(one.session),
            capabilities: Default::default(),
        })
        .await;
    assert_eq!(socket.receive::<HubToLeaf>().await, HubToLeaf::Expired(one.session));
    assert!(matches!(socket.receive().await, HubToLeaf::Welcome { session, .. } if session != one.session));
}

#[tokio::test]
async fn an_unknown_session_is_expired_and_counts_nothing() {
    let region = Region::start().await;
    let mut leaf = Leaf::hello(&region, 1, None).await;
    let unknown = SessionId { no: leaf.session.no + 1, ..leaf.session };
    leaf.socket.send(&batch(unknown, 1, vec![increment("n")])).await;
    assert_eq!(leaf.socket.receive::<HubToLeaf>().await, HubToLeaf::Expired(unknown));
    assert!(region.http().run("GET n").await.is_err());
}

#[tokio::test]
async fn a_write_over_http_is_pushed_to_the_leaves_that_follow_the_key() {
    let region = Region::start().await;
    let http = region.http();
    http.run("SET k one").await.unwrap();
    let mut leaf = Leaf::hello(&region, 1, None).await;
    leaf.socket.send(&LeafToHub::Subscribe(vec![key("k")])).await;
    let state = |message| match message {
        HubToLeaf::State { push, key, delta, held, .. } => {
            let element = delta.elements.iter().find(|(id, _)| *id == ElementId::String);
            Some((push, key, element.and_then(|(_, element)| element.value()), held))
        }
        _ => None,
    };
    let shown = leaf.socket.receive_some(state).await;
    assert_eq!(shown, (1, key("k"), Some(Bytes::from("one")), false));
    http.run("SET other x").await.unwrap();
    http.run("SET k two").await.unwrap();
    assert_eq!(leaf.socket.receive_some(state).await, (2, key("k"), Some(Bytes::from("two")), false));
    leaf.socket.send(&LeafToHub::Unsubscribe(vec![key("k")])).await;
    // The verdict comes after the unsubscription, so nothing was pushed for the write that followed it.
    leaf.increment("n", 1, 1).await;
    http.run("SET k three").await.unwrap();
    assert_eq!(leaf.increment("n", 2, 1).await.through, Seq(2));
}

#[tokio::test]
async fn a_leaf_sees_the_write_of_another() {
    let region = Region::start().await;
    let (mut one, mut two) = (Leaf::hello(&region, 1, None).await, Leaf::hello(&region, 2, None).await);
    one.increment("n", 1, 1).await;
    two.socket.send(&LeafToHub::Subscribe(vec![key("n")])).await;
    let operation = Operation {
        effects: vec![Effect::Write {
            element: ElementId::Member(Bytes::from("m")),
            base: Some(NewBase::Member),
            seen: vec![],
            cuts: SeenCuts::Int(vec![]),
        }],
        key: key("s"),
        at: now(),
    };
    two.socket.send(&LeafToHub::Subscribe(vec![key("s")])).await;
    let session = one.session;
    assert_eq!(one.operate(session, 2, vec![operation]).await.refused, []);
    let seen = |message| match message {
        HubToLeaf::State { key, delta, .. } if key == self::key("s") && !delta.elements.is_empty() => Some(delta),
        _ => None,
    };
    let delta = two.socket.receive_some(seen).await;
    assert!(delta.elements.iter().all(|(id, element)| *id == ElementId::Member("m".into()) && element.is_present()));
}

#[tokio::test]
async fn what_is_no_frame_is_refused_and_the_socket_closed() {
    let region = Region::start().await;
    let mut damaged = wire::encode(&LeafToHub::Subscribe(vec![key("k")])).unwrap();
    *damaged.last_mut().unwrap() ^= 1;
    let daemons = wire::encode(&OriginToHub::Credit(1)).unwrap();
    for (message, reason, code) in [
        (Message::binary(b"nonsense".to_vec()), "the frame is cut short", 1002),
        (Message::binary(damaged), "checksum", 1002),
        (Message::binary(daemons), "kind 4", 1002),
        (Message::text("hello"), "binary", 1003),
    ] {
        let mut leaf = Leaf::hello(&region, 1, None).await;
        leaf.socket.send_raw(message).await;
        match leaf.socket.receive().await {
            HubToLeaf::Refused(said) => assert!(said.detail.contains(reason), "{said}"),
            other => panic!("{other:?}"),
        }
        assert_eq!(leaf.socket.closed().await.map(|(code, _)| code), Some(code));
    }
    region.until("leaves", 0).await;
}

#[tokio::test]
async fn a_browser_passes_its_token_among_the_subprotocols() {
    let region = Region::start().await;
    // A subprotocol is a token of RFC 9110, so this region's own, which has spaces, cannot be passed that way.
    let offered = ("sec-websocket-protocol", "headwater, bearer.wrong");
    assert_eq!(Socket::open(&region, "/v1/leaf", &[offered]).await.err(), Some(401));
    let path = format!("/v1/leaf?token={}", TOKEN.replace(' ', "%20"));
    let socket = Socket::open(&region, &path, &[("sec-websocket-protocol", "headwater")]).await.ok().unwrap();
    assert_eq!(socket.protocol.as_deref(), Some("headwater"));
}

/// workerd puts an object to sleep that has been idle for ten seconds, and nothing tells when it has; hence the one wait of
/// these tests that is for time and not for a condition. The hub's sweep at the full minute keeps it awake once.
#[tokio::test]
async fn after_hibernation_the_open_sockets_are_asked_to_begin_again() {
    let region = Region::start().await;
    let mut leaf = Leaf::hello(&region, 1, None).await;
    let first = leaf.increment("n", 1, 1).await;
    let mut asked = None;
    for _ in 0..8 {
        tokio::time::sleep(Duration::from_secs(13)).await;
        assert_eq!(region.http().run("GET n").await, Ok(json!("1")));
        let answer = tokio::time::timeout(Duration::from_secs(5), leaf.socket.receive::<HubToLeaf>()).await;
        if let Ok(message) = answer {
            asked = Some(message);
            break;
        }
    }
    assert_eq!(asked, Some(HubToLeaf::Again));
    let lifetime = headwater::message::Lifetime::Tab;
    leaf.socket
        .send(&LeafToHub::Hello {
            client: ClientId(1),
            lifetime,
            resume: Some(leaf.session),
            capabilities: Default::default(),
        })
        .await;
    assert!(matches!(leaf.socket.receive().await, HubToLeaf::Welcome { watermark: Seq(1), .. }));
    assert_eq!(leaf.increment("n", 1, 1).await, first);
    assert_eq!(region.http().run("GET n").await, Ok(json!("1")));
}
