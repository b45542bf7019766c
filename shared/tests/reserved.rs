//! What begins with `hw:` is Headwater's own at the origin: refused wherever a key comes from outside.

use headwater::{
    command::{CommandError, parse},
    hub::{Hub, HubEffect, HubInput, Request, RowId},
    id::{BadKey, Key, No, Seq, SessionId, TimestampMs},
    leaf::Leaf,
    message::{HubToLeaf, HubToOrigin, LeafToHub, Lifetime, OriginToHub, Refusal, SlotDelta},
    slot::Slot,
    state::{Effect, ElementId, Increment, Operation},
    wire::{self, Invalid, Message, WireError},
};

const NOW: TimestampMs = TimestampMs(1_700_000_000_000);

fn argv(line: &str) -> Vec<bytes::Bytes> {
    line.split(' ').map(|word| bytes::Bytes::copy_from_slice(word.as_bytes())).collect()
}

fn reserved() -> CommandError {
    CommandError::Reserved { name: "hw:k".into() }
}

/// A key that a careless or hostile peer makes into `hw:k` on the way.
fn free() -> Key {
    Key::new("hX:k").unwrap()
}

/// The frame of a message in which each [`free`] key has become `hw:k`, as if it had been encoded so.
fn frame<M: Message>(message: &M) -> Vec<u8> {
    let frame = wire::encode(message).unwrap();
    let (head, body) = (&frame[..9], &frame[13..]);
    let mut body = body.to_vec();
    let mut at = 0;
    let mut is_found = false;
    while let Some(next) = body[at..].windows(4).position(|window| window == b"hX:k") {
        body[at + next + 1] = b'w';
        (at, is_found) = (at + next, true);
    }
    assert!(is_found, "the message names the key");
    let crc = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC).checksum(&[head, &body].concat()).to_le_bytes();
    [head, &crc, &body].concat()
}

fn refused<M: Message + std::fmt::Debug>(message: &M) {
    let error = wire::decode::<M>(&frame(message)).expect_err("a reserved key");
    let expected = BadKey::Reserved { name: b"hw:k"[..].into() };
    assert_eq!(error, WireError::Invalid(Invalid::Key(expected)), "{message:?}");
    let told = Refusal::from(&error).detail;
    assert!(told.contains("the key hw:k is reserved"), "{told}");
}

#[test]
fn no_command_names_a_reserved_key() {
    for line in [
        "get hw:k",
        "set hw:k v",
        "del a hw:k",
        "mget a hw:k b",
        "mset a 1 hw:k 2",
        "incr hw:k",
        "copy a hw:k",
        "rename hw:k a",
        "sinterstore hw:k a b",
        "zunionstore a 2 b hw:k",
        "hexpire hw:k 1 fields 1 f",
        "hw.limit hw:k fixed 1 1000",
        "hw.limit hw:k fixed 1 1000 strict",
        "set hw:k v nx",
        "msetnx a 1 hw:k 2",
        "getdel hw:k",
        "renamenx a hw:k",
        "hw.lock hw:k me 1000",
        "hw.unlock hw:k me",
        "rpush hw:k a",
        "xread streams a hw:k 0 0",
        "eval text 1 hw:k",
        "evalsha b2efc02798c8e9b471a10f9b1d5745db89923ff3 1 hw:k 5 1000 1",
        "evalsha 54bd274ddc59fb3be0f42deee2f64322a10e2b50 1 hw:k null",
        "publish hw:k text",
    ] {
        assert_eq!(parse(&argv(line)), Err(reserved()), "{line}");
    }
    let text = reserved().to_string();
    assert!(text.contains("hw:k is reserved") && text.contains("begin with hw:"), "{text}");
    // Patterns name no key; that nothing reserved matches is the daemon's part.
    for line in ["keys hw:*", "scan 0 match hw:*", "set a hw:k", "sadd a hw:k"] {
        assert!(parse(&argv(line)).is_ok(), "{line}");
    }
}

#[test]
fn a_hub_answers_it_with_the_error_and_keeps_nothing() {
    let (mut hub, _) = Hub::create("eu/0".to_owned(), 1 << 32, NOW);
    let commands = ["set hw:k v", "set hw:k v nx", "rpush hw:k v", "incr a"].map(argv).to_vec();
    let effects = hub.handle(HubInput::Commands { request: Request(1), commands, idempotency: None }, NOW);
    let replies = effects.iter().find_map(|effect| match effect {
        HubEffect::Reply { replies, .. } => Some(replies.clone()),
        _ => None,
    });
    let replies = replies.expect("an answer");
    assert_eq!(replies[..3], [Err(reserved()), Err(reserved()), Err(reserved())]);
    assert!(replies[3].is_ok());
    assert_eq!(hub.keys(), [Key::new("a").unwrap()]);
}

#[test]
fn a_leaf_refuses_it_before_anything_is_sent() {
    let mut leaf = Leaf::new(headwater::id::ClientId(1), Lifetime::Tab);
    let (reply, effects) = leaf.command(&argv("incr hw:k"), NOW);
    assert_eq!((reply, effects.len()), (Err(reserved()), 0));
}

#[test]
fn a_frame_that_names_it_is_refused_by_a_hub_with_the_reason() {
    let client = headwater::id::ClientId(1);
    let (hub, _) = Hub::create("eu/0".to_owned(), 1 << 32, NOW);
    let session = SessionId { hub: hub.id(), client, no: 1 };
    let effects = vec![Effect::Add { element: ElementId::String, by: Increment::Int(1) }];
    let operations = vec![Operation { key: free(), at: NOW, effects }];
    refused(&LeafToHub::Operations { session, settled: Seq(0), first: Seq(1), operations });
    refused(&LeafToHub::Subscribe(vec![Key::new("a").unwrap(), free()]));
    refused(&LeafToHub::Unsubscribe(vec![free()]));
    let keys = vec![(free(), Default::default())];
    refused(&OriginToHub::Down { slot: slot(), from: Default::default(), to: Default::default(), keys: keys.clone() });
    refused(&OriginToHub::Whole { slot: slot(), at: Default::default(), more: false, keys });
}

#[test]
fn a_frame_that_names_it_is_refused_by_the_origin_with_the_reason() {
    refused(&HubToOrigin::Subscribe(vec![free()]));
    refused(&HubToOrigin::Held { slots: vec![(slot(), Default::default(), vec![free()])], more: false });
    let keys = vec![(free(), Default::default())];
    let (from, to) = (No(0), No(1));
    refused(&HubToOrigin::Delta(vec![SlotDelta { slot: slot(), history: None, from, to, keys: keys.clone() }]));
    refused(&HubToOrigin::Exchanged { round: 1, last: true, cursors: vec![], keys });
    // What it is asked to run or to execute is read where that is done: as a command.
    assert_eq!(parse(&argv("rpush hw:k a")), Err(reserved()));
}

#[test]
fn a_frame_that_names_it_is_refused_by_a_leaf() {
    let (hub, _) = Hub::create("eu/0".to_owned(), 1 << 32, NOW);
    let session = SessionId { hub: hub.id(), client: headwater::id::ClientId(1), no: 1 };
    let (delta, watermark) = (Default::default(), Seq(0));
    refused(&HubToLeaf::State { push: 1, key: free(), delta, held: true, more: false, session, watermark });
}

#[test]
fn no_row_names_it() {
    for id in [RowId::Key(free()), RowId::Element(free(), ElementId::String), RowId::Rights(free())] {
        let mut bytes = id.to_bytes();
        assert!(RowId::from_bytes(&bytes).is_some());
        let at = bytes.windows(4).position(|window| window == b"hX:k").unwrap();
        bytes[at + 1] = b'w';
        assert_eq!(RowId::from_bytes(&bytes), None);
    }
}

/// The slot that a sender would have to name beside the key.
fn slot() -> Slot {
    free().slot()
}
