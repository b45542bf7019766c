//! What two ends agree on when they greet, and what they then send.

use crate::common::{self, START, corpus, key};
use headwater::{
    id::{ClientId, ReplicaId, Seq, SessionId},
    leaf::{Leaf, LeafEffect, LeafInput},
    limits::{BATCH_OPERATIONS_MAX, COMPRESS_BYTES_MIN, FRAME_BYTES_MAX, FRAME_BYTES_MAX_LEAST},
    message::{HubToLeaf, LeafToHub, Lifetime, OriginToHub, Refusal, RefusalCause},
    wire::{Capabilities, Features, Formats, HEADER_BYTES, Message, Terms, WireError, decode, encode},
};

const OWN: Capabilities = Capabilities::CURRENT;

fn formats(oldest: u8, newest: u8) -> Formats {
    Formats { oldest, newest }
}

fn compressing() -> Terms {
    Terms { features: Features::LZ4, ..Terms::default() }
}

/// A message that compresses well.
fn many_keys() -> LeafToHub {
    LeafToHub::Subscribe((0..1000).map(|n| key(&format!("user:{n}:session"))).collect())
}

#[test]
fn the_newest_version_that_both_read_is_spoken() {
    for (own, theirs, common) in [
        (formats(0, 0), formats(0, 0), Some(0)),
        (formats(1, 3), formats(2, 5), Some(3)),
        (formats(2, 5), formats(0, 2), Some(2)),
        (formats(0, 1), formats(2, 3), None),
        (formats(4, 4), formats(0, 3), None),
    ] {
        assert_eq!(own.common(theirs), common, "{own} and {theirs}");
        let terms = Terms::between(&Capabilities { formats: own, ..OWN }, &Capabilities { formats: theirs, ..OWN });
        assert_eq!(terms.ok().map(|terms| terms.format), common, "{own} and {theirs}");
    }
}

#[test]
fn without_a_common_version_the_refusal_names_both_ranges_and_what_to_do() {
    let theirs = Capabilities { formats: formats(7, 9), ..OWN };
    let error = Terms::said_by(&OriginToHub::Welcome { now: START, capabilities: theirs }).unwrap_err();
    assert_eq!(error, WireError::Incompatible { own: OWN.formats, theirs: theirs.formats });
    let refusal = Refusal::from(&error);
    assert_eq!(refusal.cause, RefusalCause::Format);
    assert_eq!(refusal.detail, "the peer reads format version 7 to 9, this build 0: upgrade whichever is older");
}

#[test]
fn the_lesser_limits_and_the_common_features_hold() {
    let theirs = Capabilities {
        features: Features::from_bits(u64::MAX),
        frame_bytes_max: FRAME_BYTES_MAX_LEAST as u32,
        batch_operations_max: 7,
        ..OWN
    };
    let terms = Terms::between(&OWN, &theirs).unwrap();
    assert_eq!(terms.features, OWN.features);
    assert_eq!((terms.frame_bytes_max, terms.batch_operations_max), (FRAME_BYTES_MAX_LEAST as u32, 7));
    let larger = Capabilities { frame_bytes_max: u32::MAX, batch_operations_max: u32::MAX, ..OWN };
    let terms = Terms::between(&OWN, &larger).unwrap();
    assert_eq!(terms.frame_bytes_max as usize, FRAME_BYTES_MAX);
    assert_eq!(terms.batch_operations_max as usize, BATCH_OPERATIONS_MAX);
}

#[test]
fn an_end_that_accepts_less_than_can_be_sent_is_refused() {
    let small = Capabilities { frame_bytes_max: FRAME_BYTES_MAX_LEAST as u32 - 1, ..OWN };
    let none = Capabilities { batch_operations_max: 0, ..OWN };
    for theirs in [small, none] {
        let error = Terms::between(&OWN, &theirs).unwrap_err();
        assert!(matches!(error, WireError::PeerLimit { .. }), "{error:?}");
        assert_eq!(Refusal::from(&error).cause, RefusalCause::Limit);
    }
}

#[test]
fn a_message_beyond_the_other_ends_limit_is_not_sent() {
    let terms = Terms { frame_bytes_max: 100, ..Terms::default() };
    assert_eq!(
        terms.encode(&LeafToHub::Subscribe(vec![key("k"); 49])).map(|frame| frame.len()),
        Ok(100 + HEADER_BYTES)
    );
    assert_eq!(terms.encode(&LeafToHub::Subscribe(vec![key("k"); 50])), Err(WireError::Length(102)));
}

#[test]
fn only_an_end_that_said_so_is_sent_compressed_frames() {
    let message = many_keys();
    let plain = encode(&message).unwrap();
    let packed = compressing().encode(&message).unwrap();
    assert_eq!((plain[4], packed[4]), (0, 1));
    assert!(packed.len() < plain.len() / 2, "{} of {}", packed.len(), plain.len());
    assert_eq!(decode::<LeafToHub>(&plain), Ok(message.clone()));
    assert_eq!(decode::<LeafToHub>(&packed), Ok(message));
}

#[test]
fn a_compressed_frame_with_any_bit_flipped_is_refused() {
    let packed = compressing().encode(&many_keys()).unwrap();
    for bit in 0..packed.len() * 8 {
        let mut flipped = packed.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(decode::<LeafToHub>(&flipped).is_err(), "bit {bit}");
    }
}

#[test]
fn every_message_of_the_corpus_travels_compressed_as_it_does_plain() {
    fn check<M: Message + PartialEq + std::fmt::Debug>(messages: Vec<(&'static str, M)>) {
        for (name, message) in messages {
            let frame = compressing().encode(&message).unwrap();
            if frame.len() < COMPRESS_BYTES_MIN {
                assert_eq!(frame, encode(&message).unwrap(), "{name}");
            }
            assert_eq!(decode::<M>(&frame), Ok(message), "{name}");
        }
    }
    check(corpus::leaf_to_hub());
    check(corpus::hub_to_leaf());
    check(corpus::hub_to_origin());
    check(corpus::origin_to_hub());
}

#[test]
fn greetings_and_refusals_are_written_in_version_0_and_plain_whatever_was_agreed() {
    let terms = Terms { format: 9, ..compressing() };
    let refusal = Refusal::new(RefusalCause::Internal, "x".repeat(COMPRESS_BYTES_MIN));
    let refused = terms.encode(&HubToLeaf::Refused(refusal)).unwrap();
    let greeting = terms.encode(&OriginToHub::Welcome { now: START, capabilities: OWN }).unwrap();
    let other = terms.encode(&OriginToHub::Credit(1)).unwrap();
    assert_eq!([refused[2], greeting[2], other[2]], [0, 0, 9]);
    assert_eq!(refused[4], 0);
}

#[test]
fn what_a_later_version_adds_to_its_capabilities_is_passed_over() {
    let mut frame = encode(&OriginToHub::Welcome { now: START, capabilities: OWN }).unwrap();
    // The block is the end of the body, and its length stands before it: two versions, a bit, and two limits.
    let block = frame.len() - 1 - (1 + 1 + 1 + 4 + 2);
    let length = frame.len() - block - 1;
    assert_eq!(usize::from(frame[block]), length, "{frame:?}");
    frame[block] += 3;
    frame.extend([1, 2, 3]);
    let body = frame.split_off(HEADER_BYTES);
    frame[5..9].copy_from_slice(&(body.len() as u32).to_le_bytes());
    let crc = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC).checksum(&[&frame[..9], &body].concat());
    frame[9..13].copy_from_slice(&crc.to_le_bytes());
    frame.extend(body);
    assert_eq!(decode(&frame), Ok(OriginToHub::Welcome { now: START, capabilities: OWN }));
}

#[test]
fn an_unknown_cause_of_a_refusal_is_kept() {
    for tag in 0..=u8::MAX {
        assert_eq!(RefusalCause::from_tag(tag).tag(), tag);
    }
    let refusal = Refusal { cause: RefusalCause::Other(200), detail: "later".to_owned() };
    let frame = encode(&HubToLeaf::Refused(refusal.clone())).unwrap();
    assert_eq!(decode(&frame), Ok(HubToLeaf::Refused(refusal)));
}

#[test]
fn a_leaf_sends_no_more_operations_at_once_than_its_hub_accepts() {
    let mut leaf = Leaf::new(ClientId(1), Lifetime::Tab);
    leaf.handle(LeafInput::Opened, START);
    for n in 0..10 {
        let argv = common::text::argv(&format!("SADD s {n}"));
        leaf.command(&argv, START).0.unwrap();
    }
    let hub = ReplicaId::from_bits(1 << 20);
    let welcome = HubToLeaf::Welcome {
        hub,
        now: START,
        session: SessionId { hub, client: ClientId(1), no: 1 },
        until: START.plus_ms(1000),
        watermark: Seq(0),
        capabilities: Capabilities { batch_operations_max: 4, ..OWN },
    };
    let effects = leaf.handle(LeafInput::Hub(welcome), START);
    let batches: Vec<usize> = effects
        .iter()
        .filter_map(|effect| match effect {
            LeafEffect::Send(LeafToHub::Own { operations, .. }) => Some(operations.len()),
            _ => None,
        })
        .collect();
    assert_eq!(batches, [4, 4, 2]);
}
