//! Operations of a connection's own session, which name it by its number alone and count times from its opening.

use bytes::Bytes;
use headwater::{
    command::Reply,
    hub::{Connection, Hub, HubEffect, HubInput, Request},
    id::{ClientId, Key, Seq, SessionId, TimestampMs},
    leaf::{Leaf, LeafEffect, LeafInput},
    message::{HubToLeaf, LeafToHub, Lifetime},
    state::{Effect, ElementId, Increment, NewBase, Operation, SeenCuts},
    wire::{Capabilities, Features, Terms, decode},
};

const NOW: TimestampMs = TimestampMs(1_700_000_000_000);
const LEAF: Connection = Connection(1);

fn key() -> Key {
    Key::new(Bytes::from_static(b"k")).unwrap()
}

fn hub() -> Hub {
    Hub::create("eu/0".to_owned(), 1 << 32, NOW).0
}

fn told(effects: Vec<HubEffect>) -> Vec<HubToLeaf> {
    let told = effects.into_iter().filter_map(|effect| match effect {
        HubEffect::ToLeaf(LEAF, message) => Some(message),
        _ => None,
    });
    told.collect()
}

/// A hello on the connection; the session that the hub answers.
fn greet(hub: &mut Hub, resume: Option<SessionId>, now: TimestampMs) -> SessionId {
    let (client, lifetime) = (ClientId(7), Lifetime::Tab);
    let hello = LeafToHub::Hello { client, lifetime, resume, capabilities: Capabilities::CURRENT };
    let welcomed = told(hub.handle(HubInput::Leaf(LEAF, hello), now));
    let session = welcomed.into_iter().find_map(|message| match message {
        HubToLeaf::Welcome { session, .. } => Some(session),
        _ => None,
    });
    session.expect("a leaf is welcomed")
}

/// `INCR k`, as the first operation of the session of this number, so long after that was opened.
fn own(session: u64, after_ms: i64, effect: Effect) -> LeafToHub {
    let operations = vec![Operation { key: key(), at: TimestampMs(after_ms), effects: vec![effect] }];
    LeafToHub::Own { session, settled: Seq(0), first: Seq(1), operations }
}

fn increment() -> Effect {
    Effect::Add { element: ElementId::String, by: Increment::Int(1) }
}

fn set(value: &'static str) -> Effect {
    let (element, base) = (ElementId::String, Some(NewBase::Bytes(value.into())));
    Effect::Write { element, base, seen: vec![], cuts: SeenCuts::Int(vec![]) }
}

fn value(hub: &mut Hub, now: TimestampMs) -> Reply {
    let commands = vec![vec![Bytes::from_static(b"GET"), Bytes::from_static(b"k")]];
    let effects = hub.handle(HubInput::Commands { request: Request(1), commands, idempotency: None }, now);
    let replies = effects.into_iter().find_map(|effect| match effect {
        HubEffect::Reply { replies, .. } => Some(replies),
        _ => None,
    });
    replies.expect("what the hub wrote itself it knows").remove(0).expect("a string")
}

#[test]
fn what_was_sent_before_a_greeting_counts_in_the_session_in_which_it_was_sent() {
    let mut hub = hub();
    let first = greet(&mut hub, None, NOW);
    // The leaf said hello twice, as it does when it is told so twice, and had no session to resume.
    let second = greet(&mut hub, None, NOW);
    assert_ne!(first, second);
    let answer = told(hub.handle(HubInput::Leaf(LEAF, own(first.no, 0, increment())), NOW));
    assert!(matches!(answer[..], [HubToLeaf::Verdicts { session, through: Seq(1), .. }] if session == first));
    // It has heard of the second by now, and sends what it has no verdict for again.
    let operations = vec![Operation { key: key(), at: NOW, effects: vec![increment()] }];
    let again = LeafToHub::Operations { session: first, settled: Seq(0), first: Seq(1), operations };
    hub.handle(HubInput::Leaf(LEAF, again), NOW);
    assert_eq!(value(&mut hub, NOW), Reply::Bulk("1".into()));
}

#[test]
fn a_session_that_the_hub_does_not_know_has_expired_and_another_clients_is_none() {
    let mut hub = hub();
    let session = greet(&mut hub, None, NOW);
    let other = LeafToHub::Hello {
        client: ClientId(8),
        lifetime: Lifetime::Tab,
        resume: None,
        capabilities: Capabilities::CURRENT,
    };
    hub.handle(HubInput::Leaf(Connection(2), other), NOW);
    for no in [session.no + 1, u64::MAX] {
        let answer = told(hub.handle(HubInput::Leaf(LEAF, own(no, 0, increment())), NOW));
        assert_eq!(answer, [HubToLeaf::Expired(SessionId { no, ..session })]);
    }
    assert_eq!(hub.status().last_no, 0);
}

#[test]
fn before_a_greeting_the_leaf_is_asked_for_one() {
    let mut hub = hub();
    assert_eq!(told(hub.handle(HubInput::Leaf(LEAF, own(1, 0, increment())), NOW)), [HubToLeaf::Again]);
    assert_eq!(hub.status().last_no, 0);
}

#[test]
fn times_count_from_the_opening_of_the_session_however_late_it_is_resumed() {
    let mut hub = hub();
    let session = greet(&mut hub, None, NOW);
    let later = NOW.plus_ms(3_600_000);
    assert_eq!(greet(&mut hub, Some(session), later), session);
    // Another leaf's write was made in between: the earlier one must not win.
    let other = LeafToHub::Hello {
        client: ClientId(8),
        lifetime: Lifetime::Tab,
        resume: None,
        capabilities: Capabilities::CURRENT,
    };
    let at = NOW.plus_ms(1_800_000);
    hub.handle(HubInput::Leaf(Connection(2), other), at);
    let theirs = own(session.no + 1, 0, set("theirs"));
    hub.handle(HubInput::Leaf(Connection(2), theirs), later);
    hub.handle(HubInput::Leaf(LEAF, own(session.no, 1_799_999, set("ours"))), later);
    assert_eq!(value(&mut hub, later), Reply::Bulk("theirs".into()));
    for hostile in [i64::MIN, i64::MAX] {
        let operations = vec![Operation { key: key(), at: TimestampMs(hostile), effects: vec![increment()] }];
        let message = LeafToHub::Own { session: session.no, settled: Seq(0), first: Seq(2), operations };
        hub.handle(HubInput::Leaf(LEAF, message), later);
    }
}

/// What a leaf sends of `HSET k v 1549` to a hub of these features, as it travels.
fn sent(features: Features) -> Vec<u8> {
    let mut hub = hub();
    let mut leaf = Leaf::new(ClientId(7), Lifetime::Tab);
    let capabilities = Capabilities { features, ..Capabilities::CURRENT };
    let mut messages = leaf.handle(LeafInput::Opened, NOW);
    while let Some(LeafEffect::Send(message)) = messages.pop() {
        for mut message in told(hub.handle(HubInput::Leaf(LEAF, message), NOW)) {
            if let HubToLeaf::Welcome { capabilities: theirs, .. } = &mut message {
                *theirs = capabilities;
            }
            leaf.handle(LeafInput::Hub(message), NOW);
        }
    }
    let command = ["HSET", "k", "v", "1549"].map(|word| Bytes::from_static(word.as_bytes()));
    let (reply, effects) = leaf.command(&command, NOW.plus_ms(50));
    reply.unwrap();
    let message = effects.into_iter().find_map(|effect| match effect {
        LeafEffect::Send(message) => Some(message),
        _ => None,
    });
    let message = message.expect("a connected leaf sends at once");
    let frame = Terms::between(&Capabilities::CURRENT, &capabilities).unwrap().encode(&message).unwrap();
    assert_eq!(decode(&frame), Ok(message));
    // Either way the hub understands the same.
    hub.handle(HubInput::Leaf(LEAF, decode(&frame).unwrap()), NOW.plus_ms(60));
    let element = hub.key(&key()).unwrap().element(&ElementId::Field("v".into())).expect("the field is set");
    let headwater::state::Base::Bytes { hlc, value: bytes } = element.base.iter().next().expect("one write").1 else {
        panic!("a field has bytes")
    };
    assert_eq!((hlc.to_bits() >> 16, bytes.as_ref()), (NOW.plus_ms(50).0 as u64, &b"1549"[..]));
    frame
}

#[test]
fn a_number_set_in_a_map_travels_in_19_bytes_to_a_hub_that_reads_them_and_in_full_to_another() {
    let frame = sent(Features::BRIEF);
    // first byte and length, checksum; variant, session, first; key, time, effect, name, value
    assert_eq!(frame.len(), 2 + 4 + 3 + 2 + 1 + 1 + 2 + 2, "{frame:02x?}");
    assert_eq!(&frame[6..], b"\x06\x01\x02\x01k\x64\x21\x01v\xb5\x30");
    let whole = sent(Features::NONE);
    assert_eq!(&whole[..2], b"HW");
    assert!(matches!(decode(&whole), Ok(LeafToHub::Operations { .. })));
}

#[test]
fn integers_travel_as_such_and_what_only_looks_like_one_as_its_bytes() {
    let long = "12345678901234567890";
    let values = ["0", "-1", "31", "32", "2305843009213693951", "2305843009213693952", "-2305843009213693952"];
    for value in values.into_iter().chain(["", "-0", "007", "+7", " 7", "7.0", long, "9223372036854775807"]) {
        let message = own(1, 0, set(value));
        let frame = headwater::wire::encode(&message).unwrap();
        assert_eq!(decode(&frame), Ok(message), "{value}");
    }
}
