//! What a hub refuses a leaf that may not do everything.

use bytes::Bytes;
use headwater::{
    grant::{Grant, Grants, Verb},
    hub::{Connection, Hub, HubEffect, HubInput},
    id::{ClientId, Key, ReplicaId, Seq, SessionId, TimestampMs},
    message::{HubToLeaf, LeafToHub, Lifetime, RefusalCause},
    state::{Effect, ElementId, Increment, Operation},
};

const NOW: TimestampMs = TimestampMs(1_700_000_000_000);
const BOUND: Connection = Connection(1);
const FREE: Connection = Connection(2);

fn key(name: &str) -> Key {
    Key::new(Bytes::copy_from_slice(name.as_bytes())).unwrap()
}

/// A hub with a leaf that may write to what begins with `a`, and one that may do everything.
fn hub() -> Hub {
    let (mut hub, _) = Hub::create("eu/0".to_owned(), 1 << 32, NOW);
    let grants = Grants::from(vec![Grant { verbs: vec![Verb::Write], keys: vec!["a*".into()], rate: None }]);
    hub.handle(HubInput::Granted(BOUND, grants), NOW);
    for connection in [BOUND, FREE] {
        let (client, lifetime) = (ClientId(connection.0.into()), Lifetime::Tab);
        let hello = LeafToHub::Hello { client, lifetime, resume: None, capabilities: Default::default() };
        hub.handle(HubInput::Leaf(connection, hello), NOW);
    }
    hub
}

/// Increments of a session of another hub, which this one hands on.
fn roaming(name: &str) -> LeafToHub {
    let session = SessionId { hub: ReplicaId::from_entropy(2 << 32), client: ClientId(1), no: 1 };
    let effects = vec![Effect::Add { element: ElementId::String, by: Increment::Int(1) }];
    let operations = vec![Operation { key: key(name), at: NOW, effects }];
    LeafToHub::Operations { session, settled: Seq(0), first: Seq(1), operations }
}

fn is_handed_on(effects: &[HubEffect]) -> bool {
    effects.iter().any(|effect| matches!(effect, HubEffect::Forward { .. }))
}

fn is_refused(effects: &[HubEffect]) -> bool {
    effects.iter().any(|effect| match effect {
        HubEffect::ToLeaf(BOUND, HubToLeaf::Refused(refusal)) => refusal.cause == RefusalCause::NotPermitted,
        _ => false,
    })
}

#[test]
fn an_operation_for_another_hub_is_handed_on_only_where_it_is_granted() {
    let mut hub = hub();
    assert!(is_handed_on(&hub.handle(HubInput::Leaf(BOUND, roaming("a1")), NOW)));
    assert!(is_handed_on(&hub.handle(HubInput::Leaf(FREE, roaming("b1")), NOW)));
    let effects = hub.handle(HubInput::Leaf(BOUND, roaming("b1")), NOW);
    assert!(is_refused(&effects) && !is_handed_on(&effects), "{effects:?}");
}

#[test]
fn a_leaf_that_may_write_may_not_follow() {
    let mut hub = hub();
    let effects = hub.handle(HubInput::Leaf(BOUND, LeafToHub::Subscribe(vec![key("a1")])), NOW);
    assert!(is_refused(&effects), "{effects:?}");
    assert!(hub.key(&key("a1")).is_none());
    // Also after the refusal, should more be on its way.
    assert!(is_refused(&hub.handle(HubInput::Leaf(BOUND, LeafToHub::Subscribe(vec![key("a1")])), NOW)));
}

#[test]
fn a_connection_that_closed_binds_no_other() {
    let mut hub = hub();
    hub.handle(HubInput::LeafClosed(BOUND), NOW);
    assert!(is_handed_on(&hub.handle(HubInput::Leaf(BOUND, roaming("b1")), NOW)));
}
