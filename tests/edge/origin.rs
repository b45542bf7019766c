//! The daemon's side of a hub's socket, played by hand.

use bytes::Bytes;
use headwater::hlc::Hlc;
use headwater::id::{Dot, No, ReplicaId};
use headwater::message::{Cursor, HubToOrigin, OriginToHub, SlotDelta};
use headwater::state::{Effect, ElementId, KeyDelta, KeyState, Mint, NewBase, SeenCuts};
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use super::region::Region;
use super::socket::{Socket, key, now};

/// Dials the hub and greets it; returns its identity.
async fn greeted(region: &Region) -> (Socket, ReplicaId) {
    let mut socket = Socket::origin(region, "eu/0").await;
    socket.send(&OriginToHub::Welcome { now: now(), capabilities: Default::default() }).await;
    match socket.receive().await {
        HubToOrigin::Hello { hub, name, .. } => {
            assert_eq!(name, "eu/0");
            (socket, hub)
        }
        other => panic!("{other:?}"),
    }
}

fn deltas(message: HubToOrigin) -> Option<Vec<SlotDelta>> {
    match message {
        HubToOrigin::Delta(slots) => Some(slots),
        _ => None,
    }
}

#[tokio::test]
async fn the_directory_lists_a_hub_before_anyone_has_used_it() {
    let mut region = Region::start().await;
    assert_eq!(region.origin().get("/v1/hubs").await.json(), json!([{"name": "eu/0"}]));
    region.kill_and_restart().await;
    assert_eq!(region.origin().get("/v1/hubs").await.json(), json!([{"name": "eu/0"}]));
}

#[tokio::test]
async fn a_hub_is_found_by_its_identity() {
    let region = Region::start().await;
    region.origin().get("/v1/hubs").await;
    let (_socket, hub) = greeted(&region).await;
    let found = region.origin().get(&format!("/v1/hubs?replica={}", hub.to_bits())).await;
    assert_eq!(found.json(), json!([{"name": "eu/0"}]));
    assert_eq!(region.origin().get("/v1/hubs?replica=1").await.json(), json!([]));
}

#[tokio::test]
async fn with_credit_a_hub_sends_what_is_pending_until_it_is_acknowledged() {
    let region = Region::start().await;
    region.http().run("INCRBY n 5").await.unwrap();
    let (mut daemon, hub) = greeted(&region).await;
    assert_eq!(region.status().await["origin_connected"], json!(true));
    daemon.send(&OriginToHub::Resume(vec![])).await;
    daemon.send(&OriginToHub::Credit(1)).await;
    let sent = daemon.receive_some(deltas).await;
    let [SlotDelta { slot, to, keys, .. }] = sent.as_slice() else { panic!("{sent:?}") };
    assert_eq!(*slot, key("n").slot());
    let [(name, delta)] = keys.as_slice() else { panic!("{keys:?}") };
    assert_eq!(*name, key("n"));
    assert!(delta.header.ctx.contains(Dot { replica: hub, no: *to }), "{delta:?}");

    daemon.send(&OriginToHub::Committed(vec![(*slot, *to)])).await;
    region.until("pending", 0).await;
    assert_ne!(region.status().await["unstable"], json!(0));
    daemon.send(&OriginToHub::Stable(vec![(*slot, *to)])).await;
    region.until("unstable", 0).await;
}

#[tokio::test]
async fn what_was_not_committed_is_sent_again_after_a_kill() {
    let mut region = Region::start().await;
    region.http().run("INCR n").await.unwrap();
    let (mut daemon, hub) = greeted(&region).await;
    daemon.send(&OriginToHub::Credit(1)).await;
    let before = daemon.receive_some(deltas).await;
    region.kill_and_restart().await;
    let (mut daemon, same) = greeted(&region).await;
    assert_eq!(same, hub);
    daemon.send(&OriginToHub::Credit(1)).await;
    assert_eq!(daemon.receive_some(deltas).await, before);
}

#[tokio::test]
async fn a_request_waits_for_an_unknown_key_and_gets_what_the_origin_says() {
    let region = Region::start().await;
    let (mut daemon, _) = greeted(&region).await;
    let asked = tokio::spawn({
        let http = region.http();
        async move { http.command(json!(["GET", "absent"])).await }
    });
    let wanted = |message| match message {
        HubToOrigin::Subscribe(keys) => Some(keys),
        _ => None,
    };
    assert_eq!(daemon.receive_some(wanted).await, [key("absent")]);
    let at = Cursor { incarnation: Some(ReplicaId::from_entropy(1 << 20)), seq: 1 };
    let nothing = KeyDelta { complete: true, ..KeyDelta::default() };
    daemon
        .send(&OriginToHub::Whole { slot: key("absent").slot(), at, more: false, keys: vec![(key("absent"), nothing)] })
        .await;
    let answer = asked.await.unwrap();
    assert_eq!(answer.reply(), Ok(json!(null)));
    assert!(!answer.is_provisional(), "{answer:?}");

    // Held from now on, also after the daemon has gone.
    assert!(!region.http().command(json!(["SET", "absent", "v"])).await.is_provisional());
    daemon.close().await;
    region.until("origin_connected", false).await;
    assert_eq!(region.http().run("GET absent").await, Ok(json!("v")));
}

#[tokio::test]
async fn a_waiting_request_is_refused_when_the_daemon_goes() {
    let region = Region::start().await;
    let (mut daemon, _) = greeted(&region).await;
    let asked = tokio::spawn({
        let http = region.http();
        async move { http.run("GET k").await }
    });
    daemon.receive_some(|message| matches!(message, HubToOrigin::Subscribe(_)).then_some(())).await;
    daemon.close().await;
    let error = asked.await.unwrap().unwrap_err();
    assert_eq!(error, "ERR Headwater: the origin is away and this edge does not hold the key");
}

/// The alarm wakes the hub: nothing else happens here but time.
#[tokio::test]
async fn a_waiting_request_is_refused_when_the_origin_says_nothing() {
    let region = Region::start().await;
    let (_daemon, _) = greeted(&region).await;
    let error = region.http().run("GET k").await.unwrap_err();
    assert_eq!(error, "ERR Headwater: the origin is away and this edge does not hold the key");
}

#[tokio::test]
async fn a_daemon_that_sends_no_frames_is_closed() {
    let region = Region::start().await;
    for (message, code) in [(Message::text("hello"), 1003), (Message::binary(Bytes::from("nonsense")), 1002)] {
        let (mut daemon, _) = greeted(&region).await;
        daemon.send_raw(message).await;
        assert_eq!(daemon.closed().await.map(|(code, _)| code), Some(code));
        region.until("origin_connected", false).await;
    }
}

#[tokio::test]
async fn a_stamp_from_the_far_future_is_not_taken() {
    let region = Region::start().await;
    let (mut daemon, _) = greeted(&region).await;
    let asked = tokio::spawn({
        let http = region.http();
        async move { http.run("GET k").await }
    });
    daemon.receive_some(|message| matches!(message, HubToOrigin::Subscribe(_)).then_some(())).await;
    let origin = ReplicaId::from_entropy(1 << 20);
    let far = Hlc::from_bits(u64::MAX >> 1);
    let dot = Dot { replica: origin, no: No(1) };
    let mut ahead = KeyState::default();
    let base = Some(NewBase::Bytes("far".into()));
    let write = Effect::Write { element: ElementId::String, base, seen: vec![], cuts: SeenCuts::Int(vec![]) };
    let _touched = ahead.apply(&write, Mint { dot, hlc: far });
    let at = Cursor { incarnation: Some(origin), seq: 1 };
    let keys = vec![(key("k"), ahead.to_complete_delta())];
    daemon.send(&OriginToHub::Whole { slot: key("k").slot(), at, more: false, keys }).await;
    let error = asked.await.unwrap().unwrap_err();
    assert_eq!(error, "ERR Headwater: the origin is away and this edge does not hold the key");
}
