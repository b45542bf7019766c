//! The bytes of format version 0, pinned: every message, variant, row key and stored body.
//!
//! `HEADWATER_BLESS=1 cargo test -p headwater --test suite golden` writes the files anew; the diff then shows what changed for
//! peers and stored data of other versions.

use crate::common::{self, corpus};
use headwater::{
    hub::RowId,
    limits::FRAME_BYTES_MAX,
    message::{HubToLeaf, HubToOrigin, LeafToHub, OriginToHub},
    wire::{self, HEADER_BYTES, Invalid, Message, VERSION, WireError, decode, encode},
};
use proptest::prelude::*;
use std::{collections::BTreeSet, fmt::Debug, fs, path::PathBuf};

#[test]
fn bytes_are_those_of_the_golden_files() {
    for (file, lines) in corpus::files() {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{file}.hex"));
        let text = common::text::golden(&lines);
        if std::env::var_os("HEADWATER_BLESS").is_some() {
            fs::write(&path, &text).expect("the golden file can be written");
        }
        let golden = fs::read_to_string(&path).unwrap_or_default();
        for (expected, actual) in golden.lines().zip(text.lines()) {
            assert_eq!(expected, actual, "{file}: the format changed");
        }
        assert_eq!(golden.lines().count(), text.lines().count(), "{file}: lines");
    }
}

#[test]
fn every_variant_is_in_the_corpus() {
    fn variants<M>(messages: &[(&'static str, M)], of: fn(&M) -> &'static str) -> usize {
        for (name, message) in messages {
            assert!(name.starts_with(of(message)), "{name} is a {}", of(message));
        }
        messages.iter().map(|(_, message)| of(message)).collect::<BTreeSet<_>>().len()
    }
    // A variant more in the enum does not compile in `variant_of…`; then this number grows with the corpus.
    assert_eq!(variants(&corpus::leaf_to_hub(), corpus::variant_of_leaf_to_hub), 7);
    assert_eq!(variants(&corpus::hub_to_leaf(), corpus::variant_of_hub_to_leaf), 7);
    assert_eq!(variants(&corpus::hub_to_origin(), corpus::variant_of_hub_to_origin), 16);
    assert_eq!(variants(&corpus::origin_to_hub(), corpus::variant_of_origin_to_hub), 19);
}

#[test]
fn messages_decode_to_what_was_encoded() {
    fn check<M: Message + PartialEq + Debug>(messages: Vec<(&'static str, M)>) {
        for (name, message) in messages {
            assert_eq!(decode::<M>(&encode(&message).unwrap()), Ok(message), "{name}");
        }
    }
    check(corpus::leaf_to_hub());
    check(corpus::hub_to_leaf());
    check(corpus::hub_to_origin());
    check(corpus::origin_to_hub());
}

#[test]
fn row_keys_decode_to_what_was_encoded() {
    for (name, row) in corpus::rows() {
        assert_eq!(RowId::from_bytes(&row.to_bytes()), Some(row), "{name}");
    }
}

#[test]
fn row_keys_with_bytes_missing_or_to_spare_are_none() {
    for (name, row) in corpus::rows() {
        let bytes = row.to_bytes();
        for end in 0..bytes.len() {
            // A shorter name within the element or answer is another row; nothing shorter is the same.
            assert_ne!(RowId::from_bytes(&bytes[..end]), Some(row.clone()), "{name} cut to {end}");
        }
    }
    for bytes in [
        &b""[..],
        b"x",
        b"mm",
        b"s\x40\0",
        b"s\0",
        b"k\0\x02a",
        b"k\0\x01ab",
        b"e\0\x01k",
        b"e\0\x01k\x04m",
        b"e\0\x01k\0m",
        b"l",
    ] {
        assert_eq!(RowId::from_bytes(bytes), None, "{bytes:?}");
    }
}

#[test]
fn the_elements_of_a_key_are_one_range_of_rows() {
    let mut rows: Vec<Vec<u8>> = Vec::new();
    for key in ["", "a", "a\0", "ab", "b"] {
        let key = common::key(key);
        rows.push(RowId::Element(key.clone(), headwater::state::ElementId::Member("\u{ff}".into())).to_bytes());
        rows.push(RowId::Element(key, headwater::state::ElementId::String).to_bytes());
    }
    rows.sort();
    let mut keys: Vec<_> = rows
        .iter()
        .map(|row| match RowId::from_bytes(row) {
            Some(RowId::Element(key, _)) => key,
            other => panic!("{other:?} is no element"),
        })
        .collect();
    keys.dedup();
    assert_eq!(keys.len(), 5);
}

#[test]
fn frames_cut_short_are_refused_as_short() {
    for frame in frames() {
        for end in 0..frame.len() {
            let need = if end < HEADER_BYTES { HEADER_BYTES } else { frame.len() };
            assert_eq!(decode_as_sent(&frame[..end], &frame), Err(WireError::Short { have: end, need }));
        }
    }
}

#[test]
fn frames_with_any_bit_flipped_are_refused() {
    for frame in frames() {
        for bit in 0..frame.len() * 8 {
            let mut flipped = frame.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let error = decode_as_sent(&flipped, &frame).expect_err("a damaged frame is refused");
            let expected = match bit / 8 {
                // A first byte with the highest bit begins a brief frame, here of a version that nobody has.
                0 if bit == 7 => matches!(error, WireError::Version(_)),
                0 | 1 => matches!(error, WireError::Magic),
                2 => matches!(error, WireError::Version(_)),
                3 => matches!(error, WireError::Kind(_)),
                4 => matches!(error, WireError::Flags(_) | WireError::Checksum),
                5..9 => matches!(error, WireError::Length(_) | WireError::Short { .. }),
                _ => error == WireError::Checksum,
            };
            assert!(expected, "bit {bit}: {error:?}");
        }
    }
}

#[test]
fn bytes_after_the_frame_are_refused() {
    for frame in frames() {
        let longer = [&frame[..], b"\0"].concat();
        assert_eq!(decode_as_sent(&longer, &frame), Err(WireError::Length(longer.len() - HEADER_BYTES)));
    }
}

#[test]
fn bytes_after_the_body_are_refused() {
    for frame in frames() {
        let body = [&frame[HEADER_BYTES..], b"\0"].concat();
        // Operations of the connection's session go on to the end: there the byte is the beginning of another.
        let is_own = frame[3] == LeafToHub::KIND && body[0] == 6;
        let expected = if is_own { Invalid::Truncated } else { Invalid::Trailing(1) };
        assert_eq!(decode_as_sent(&framed(frame[3], &body), &frame), Err(expected.into()));
    }
}

#[test]
fn a_length_beyond_the_limit_is_refused_before_the_body_is_read() {
    for frame in frames() {
        for length in [FRAME_BYTES_MAX as u32 + 1, u32::MAX] {
            let mut frame = frame.clone();
            frame[5..9].copy_from_slice(&length.to_le_bytes());
            assert_eq!(decode_as_sent(&frame.clone(), &frame), Err(WireError::Length(length as usize)));
        }
        let mut longest = frame.clone();
        longest[5..9].copy_from_slice(&(FRAME_BYTES_MAX as u32).to_le_bytes());
        let need = HEADER_BYTES + FRAME_BYTES_MAX;
        assert_eq!(decode_as_sent(&longest, &frame), Err(WireError::Short { have: frame.len(), need }));
    }
}

#[test]
fn a_message_of_the_other_direction_is_refused_by_its_kind() {
    for frame in frames() {
        let kind = frame[3];
        let results = [
            (LeafToHub::KIND, decode::<LeafToHub>(&frame).err()),
            (HubToLeaf::KIND, decode::<HubToLeaf>(&frame).err()),
            (HubToOrigin::KIND, decode::<HubToOrigin>(&frame).err()),
            (OriginToHub::KIND, decode::<OriginToHub>(&frame).err()),
        ];
        for (expected, error) in results {
            assert_eq!(error, (kind != expected).then_some(WireError::Kind(kind)));
        }
    }
}

#[test]
fn lengths_within_a_body_that_it_does_not_hold_are_refused_without_allocating_them() {
    // A count of 2^60, then nothing: as operations, as keys, as slots.
    let huge = [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x10];
    for (kind, variant) in [(1, 2), (1, 3), (2, 5), (3, 1), (3, 2), (3, 3), (4, 1), (4, 3), (4, 7)] {
        let frame = framed(kind, &[&[variant], &huge[..]].concat());
        let error = decode_as_sent(&frame, &frame).expect_err("nothing is listed");
        let is_refused = matches!(
            error,
            WireError::Invalid(Invalid::Count | Invalid::TooLong(_) | Invalid::Truncated | Invalid::Number)
        );
        assert!(is_refused, "{kind} {variant}: {error:?}");
    }
}

#[test]
fn values_that_break_an_invariant_are_refused_as_invalid() {
    use headwater::{
        id::{ReplicaId, Seq},
        state::{Effect, ElementId, Increment, NewBase, SeenCuts},
    };
    let operation = |effects| {
        let (_, operations) = corpus::leaf_to_hub().swap_remove(2);
        let LeafToHub::Operations { session, operations, .. } = operations else {
            panic!("the corpus lists operations")
        };
        let operation = headwater::state::Operation { effects, ..operations[0].clone() };
        LeafToHub::Operations { session, settled: Seq(0), first: Seq(1), operations: vec![operation] }
    };
    let write = |element, base, cuts| Effect::Write { element, base: Some(base), seen: vec![], cuts };
    let (int, float) = (|| SeenCuts::Int(vec![]), || SeenCuts::Float(vec![]));
    let member = || ElementId::Member("m".into());
    let ranked = || ElementId::Ranked("m".into());
    let leaf_dot = headwater::id::Dot { replica: ReplicaId::LEAF, no: headwater::id::No(1) };
    let seen_leaf = Effect::Write { element: member(), base: None, seen: vec![leaf_dot], cuts: int() };
    let wiped_leaf = Effect::Wipe { seen: [leaf_dot].into_iter().collect(), cuts: vec![] };
    let add = |element, by| Effect::Add { element, by };
    let table = vec![
        ("no effect", vec![], Invalid::NoEffect),
        ("bytes of a member", vec![write(member(), NewBase::Bytes("v".into()), int())], Invalid::Type),
        ("a score of a string", vec![write(ElementId::String, NewBase::Abs(1.0), int())], Invalid::Type),
        ("a member of a board", vec![write(ranked(), NewBase::Member, float())], Invalid::Type),
        ("NaN", vec![write(ranked(), NewBase::Max(f64::NAN), float())], Invalid::Score),
        ("integer cuts of a board", vec![write(ranked(), NewBase::Abs(1.0), int())], Invalid::Type),
        ("float cuts of a string", vec![write(ElementId::String, NewBase::Bytes("v".into()), float())], Invalid::Type),
        ("a float added to a string", vec![add(ElementId::String, Increment::Float(1.0))], Invalid::Type),
        ("an integer added to a board", vec![add(ranked(), Increment::Int(1))], Invalid::Type),
        ("an integer added to a set", vec![add(member(), Increment::Int(1))], Invalid::Type),
        ("infinity added", vec![add(ranked(), Increment::Float(f64::INFINITY))], Invalid::Score),
        ("a provisional dot", vec![seen_leaf], Invalid::Leaf),
        ("a provisional dot in a wipe", vec![wiped_leaf], Invalid::Leaf),
        (
            "the second effect",
            vec![add(ElementId::String, Increment::Int(1)), write(ranked(), NewBase::Abs(f64::NAN), float())],
            Invalid::Score,
        ),
    ];
    for (name, effects, broken) in table {
        let refused = encode(&operation(effects)).and_then(|frame| decode::<LeafToHub>(&frame));
        assert_eq!(refused, Err(broken.into()), "{name}");
    }
}

#[test]
fn deltas_that_break_an_invariant_are_refused_as_invalid() {
    let slot = common::key("k").slot();
    let sent =
        |delta| OriginToHub::Whole { slot, at: Default::default(), more: false, keys: vec![(common::key("k"), delta)] };
    let valid = corpus::change();
    assert!(decode::<OriginToHub>(&encode(&sent(valid.clone())).unwrap()).is_ok());

    let mut descending = valid.clone();
    descending.elements.reverse();
    let mut doubled = valid.clone();
    doubled.elements.push(doubled.elements[doubled.elements.len() - 1].clone());
    let mut unknown_dots = valid.clone();
    unknown_dots.header.ctx = Default::default();
    unknown_dots.header.wipe = Default::default();
    let mut wipe_unknown = valid.clone();
    wipe_unknown.header.wipe.insert(headwater::id::Dot { replica: corpus::replica(77), no: headwater::id::No(1) });
    let mut other_kind = valid.clone();
    other_kind.elements[0].1 = headwater::state::Element::empty(headwater::state::Kind::Board);
    let mut provisional = valid.clone();
    provisional
        .header
        .ctx
        .insert(headwater::id::Dot { replica: headwater::id::ReplicaId::LEAF, no: headwater::id::No(1) });
    for (name, delta, broken) in [
        ("descending elements", descending, Invalid::Order("elements")),
        ("an element twice", doubled, Invalid::Order("elements")),
        ("dots beyond the context", unknown_dots, Invalid::UnknownDot),
        ("a wipe beyond the context", wipe_unknown, Invalid::UnknownWipe),
        ("a sum of another type", other_kind, Invalid::Type),
        ("a provisional dot", provisional, Invalid::Leaf),
    ] {
        let refused = encode(&sent(delta)).and_then(|frame| decode::<OriginToHub>(&frame));
        assert_eq!(refused, Err(broken.into()), "{name}");
    }

    let elsewhere = OriginToHub::Whole {
        slot: headwater::slot::Slot::of(b"elsewhere"),
        at: Default::default(),
        more: false,
        keys: vec![(common::key("k"), valid)],
    };
    let frame = encode(&elsewhere).unwrap();
    assert_eq!(decode::<OriginToHub>(&frame), Err(Invalid::Slot.into()), "a key of another slot");
}

#[test]
fn more_keys_than_the_limit_are_refused_before_they_are_allocated() {
    use headwater::limits::KEYS_LISTED_MAX;
    let listed = |count: u32| {
        let mut body =
            vec![2, 0x80 | (count & 0x7f) as u8, 0x80 | (count >> 7 & 0x7f) as u8, 0x80 | (count >> 14) as u8];
        body.push((count >> 21) as u8);
        body.extend(vec![0; count as usize]);
        framed(LeafToHub::KIND, &body)
    };
    let too_many = listed(FRAME_BYTES_MAX as u32 - 5);
    assert_eq!(decode::<LeafToHub>(&too_many), Err(Invalid::TooMany("keys").into()));
    let keys = vec![common::key(""); KEYS_LISTED_MAX];
    assert!(decode::<LeafToHub>(&encode(&LeafToHub::Subscribe(keys.clone())).unwrap()).is_ok());
    let one_more = LeafToHub::Subscribe([keys, vec![common::key("")]].concat());
    assert_eq!(encode(&one_more), Err(Invalid::TooMany("keys").into()));
}

#[test]
fn names_that_share_their_beginning_take_no_more_memory_than_a_frame_may() {
    use headwater::state::{Element, ElementId, KeyDelta, Kind};
    let slot = common::key("k").slot();
    let whole = |names: u32| {
        let name = |n: u32| [&vec![b'x'; (1 << 20) - 4][..], &n.to_be_bytes()].concat();
        let names = (0..names).map(|n| ElementId::Member(name(n).into()));
        let elements = names.map(|id| (id, Element::empty(Kind::Set))).collect();
        let delta = KeyDelta { elements, ..KeyDelta::default() };
        encode(&OriginToHub::Whole { slot, at: Default::default(), more: false, keys: vec![(common::key("k"), delta)] })
            .unwrap()
    };
    let frame = whole(70);
    assert!(frame.len() < 2 << 20, "each name but the first is a few bytes");
    assert_eq!(decode::<OriginToHub>(&frame), Err(Invalid::Memory.into()));
    assert!(decode::<OriginToHub>(&whole(50)).is_ok());
}

proptest! {
    #[test]
    fn no_bytes_panic(kind in 0_u8..6, body in prop::collection::vec(any::<u8>(), 0..300)) {
        let frame = framed(kind, &body);
        let _ = (decode::<LeafToHub>(&frame), decode::<HubToLeaf>(&frame));
        let _ = (decode::<HubToOrigin>(&frame), decode::<OriginToHub>(&frame));
        let _ = (decode::<LeafToHub>(&body), RowId::from_bytes(&body));
    }

    #[test]
    fn no_damaged_body_under_a_right_checksum_panics(
        at in any::<prop::sample::Index>(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let frames = frames();
        let frame = at.get(&frames);
        let mut body = frame[HEADER_BYTES..].to_vec();
        for (at, byte) in damage {
            if !body.is_empty() {
                let at = at.index(body.len());
                body[at] = byte;
            }
        }
        // What still decodes is a message that keeps the invariants, and encodes to one that decodes to the same.
        fn check<M: Message + PartialEq + Debug>(frame: &[u8]) {
            if let Ok(message) = decode::<M>(frame) {
                let again = encode(&message).expect("what was decoded fits a frame");
                assert_eq!(decode::<M>(&again), Ok(message));
            }
        }
        let damaged = framed(frame[3], &body);
        check::<LeafToHub>(&damaged);
        check::<HubToLeaf>(&damaged);
        check::<HubToOrigin>(&damaged);
        check::<OriginToHub>(&damaged);
    }

    #[test]
    fn row_keys_that_decode_are_those_of_their_row(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
        if let Some(row) = RowId::from_bytes(&bytes) {
            prop_assert_eq!(row.to_bytes(), bytes);
        }
    }
}

fn frames() -> Vec<Vec<u8>> {
    let files = corpus::files().into_iter().filter(|(file, _)| file.contains("_to_"));
    files.flat_map(|(_, lines)| lines).map(|(_, frame)| frame).collect()
}

/// A whole frame around any body.
fn framed(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = (body.len() as u32).to_le_bytes();
    let head = [&b"HW"[..], &[VERSION, kind, 0], &length].concat();
    let crc = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC).checksum(&[&head[..], body].concat()).to_le_bytes();
    [&head[..], &crc, body].concat()
}

/// Decodes as the message that `sent` was; the message itself does not matter.
fn decode_as_sent(frame: &[u8], sent: &[u8]) -> Result<(), WireError> {
    match sent[3] {
        LeafToHub::KIND => decode::<LeafToHub>(frame).map(drop),
        HubToLeaf::KIND => decode::<HubToLeaf>(frame).map(drop),
        HubToOrigin::KIND => decode::<HubToOrigin>(frame).map(drop),
        OriginToHub::KIND => decode::<OriginToHub>(frame).map(drop),
        kind => Err(wire::WireError::Kind(kind)),
    }
}
