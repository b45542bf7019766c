//! The frame itself.

use super::*;
use serde::Deserialize;

/// A message that is valid unless it says so.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct Note {
    is_valid: bool,
    text: Vec<u8>,
}

impl Message for Note {
    const KIND: u8 = 6;

    fn capabilities(&self) -> Option<&Capabilities> {
        None
    }

    fn is_lasting(&self) -> bool {
        false
    }

    fn write(&self, w: &mut Writer) {
        w.u8(self.is_valid.into());
        w.bytes(&self.text);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Invalid> {
        let note = Self { is_valid: r.bool()?, text: r.bytes("text", usize::MAX)?.to_vec() };
        if note.is_valid { Ok(note) } else { Err(Invalid::Tag("note")) }
    }
}

fn note(bytes: usize) -> Note {
    Note { is_valid: true, text: vec![7; bytes] }
}

fn body_of(note: &Note) -> Vec<u8> {
    let mut w = Writer::default();
    note.write(&mut w);
    w.finish().unwrap()
}

#[test]
fn a_frame_is_the_documented_bytes() {
    let frame = encode(&note(2)).unwrap();
    assert_eq!(frame[..9], [b'H', b'W', VERSION, 6, 0, 4, 0, 0, 0]);
    assert_eq!(frame[9..13], checksum(&frame[..9], &frame[13..]).to_le_bytes());
    assert_eq!(frame[13..], [1, 2, 7, 7]);
    assert_eq!(decode(&frame), Ok(note(2)));
}

#[test]
fn a_body_up_to_the_limit_travels_and_a_longer_one_is_not_sent() {
    // A bool and the length of the text take 5 bytes.
    let longest = note(FRAME_BYTES_MAX - 5);
    assert_eq!(decode(&encode(&longest).unwrap()), Ok(longest));
    assert_eq!(encode(&note(FRAME_BYTES_MAX - 4)), Err(WireError::Length(FRAME_BYTES_MAX + 1)));
}

#[test]
fn a_frame_beyond_the_limit_is_refused_though_it_is_whole() {
    let body = body_of(&note(FRAME_BYTES_MAX - 4));
    let head = [&b"HW"[..], &[VERSION, 6, 0], &u32::try_from(body.len()).unwrap().to_le_bytes()].concat();
    let frame = [&head[..], &checksum(&head, &body).to_le_bytes(), &body].concat();
    assert_eq!(decode::<Note>(&frame), Err(WireError::Length(FRAME_BYTES_MAX + 1)));
}

#[test]
fn a_value_that_breaks_an_invariant_is_refused() {
    let frame = encode(&Note { is_valid: false, text: vec![] }).unwrap();
    assert_eq!(decode::<Note>(&frame), Err(Invalid::Tag("note").into()));
}

#[test]
fn the_version_is_asked_before_the_kind_the_kind_before_the_flags_and_these_before_the_length() {
    let mut frame = encode(&note(0)).unwrap();
    frame[5..9].fill(0xff);
    assert_eq!(decode::<Note>(&frame), Err(WireError::Length(u32::MAX as usize)));
    frame[4] = 0x80;
    assert_eq!(decode::<Note>(&frame), Err(WireError::Flags(0x80)));
    frame[3] = 7;
    assert_eq!(decode::<Note>(&frame), Err(WireError::Kind(7)));
    frame[2] = VERSION + 1;
    assert_eq!(decode::<Note>(&frame), Err(WireError::Version(VERSION + 1)));
    frame[1] = b'w';
    assert_eq!(decode::<Note>(&frame), Err(WireError::Magic));
}

#[test]
fn a_stored_body_is_read_whole_or_not_at_all() {
    let body = to_body(&note(3));
    assert_eq!(from_body(&body), Ok(note(3)));
    assert_eq!(from_body::<Note>(&[&body[..], &[0, 0]].concat()), Err(Invalid::Trailing(2).into()));
    for end in 0..body.len() {
        assert!(matches!(from_body::<Note>(&body[..end]), Err(WireError::Body(_))), "cut to {end}");
    }
}

#[test]
fn frames_one_after_the_other_are_told_apart_and_a_part_of_one_is_refused() {
    let [one, other] = [3, 500].map(|bytes| encode(&note(bytes)).unwrap());
    let both = [&one[..], &other[..]].concat();
    assert_eq!(frames(&both).unwrap(), [&one[..], &other[..]]);
    assert!(frames(&[]).unwrap().is_empty());
    for end in (1..both.len()).filter(|end| *end != one.len()) {
        assert!(matches!(frames(&both[..end]), Err(WireError::Short { .. })), "{end}");
    }
}

/// What both ends send that read brief frames.
fn brief() -> Terms {
    Terms { features: Features::BRIEF, ..Terms::default() }
}

#[test]
fn a_brief_frame_is_the_documented_bytes() {
    let frame = brief().encode(&note(2)).unwrap();
    assert_eq!(frame[..2], [0x80 | VERSION << 3 | 6, 4]);
    assert_eq!(frame[2..6], checksum(&frame[..2], &frame[6..]).to_le_bytes());
    assert_eq!(frame[6..], [1, 2, 7, 7]);
    assert_eq!(decode(&frame), Ok(note(2)));
}

#[test]
fn a_body_beyond_a_brief_frame_travels_in_a_whole_one() {
    // A bool and the length of the text take 3 bytes.
    for (bytes, header) in [(252, brief::BRIEF_HEADER_BYTES), (253, HEADER_BYTES)] {
        let frame = brief().encode(&note(bytes)).unwrap();
        assert_eq!(frame.len(), bytes + 3 + header);
        assert_eq!(decode(&frame), Ok(note(bytes)));
    }
}

#[test]
fn a_brief_frame_with_any_bit_flipped_cut_short_or_followed_by_anything_is_refused() {
    let frame = brief().encode(&note(20)).unwrap();
    for bit in 0..frame.len() * 8 {
        let mut flipped = frame.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let error = decode::<Note>(&flipped).expect_err("a damaged frame is refused");
        let expected = match bit {
            0..3 => matches!(error, WireError::Kind(_)),
            3..7 => matches!(error, WireError::Version(_)),
            7 => matches!(error, WireError::Magic),
            8..16 => matches!(error, WireError::Length(_) | WireError::Short { .. }),
            _ => error == WireError::Checksum,
        };
        assert!(expected, "bit {bit}: {error:?}");
    }
    for end in 1..frame.len() {
        assert!(matches!(decode::<Note>(&frame[..end]), Err(WireError::Short { .. })), "{end}");
    }
    assert_eq!(decode::<Note>(&[&frame[..], &[0]].concat()), Err(WireError::Length(23)));
}

#[test]
fn brief_frames_and_whole_ones_stand_one_after_the_other() {
    let parts = [3, 500, 0].map(|bytes| brief().encode(&note(bytes)).unwrap());
    let all = parts.concat();
    assert_eq!(frames(&all).unwrap(), parts);
    let ends = [0, parts[0].len(), parts[0].len() + parts[1].len(), all.len()];
    for end in (0..all.len()).filter(|end| !ends.contains(end)) {
        assert!(matches!(frames(&all[..end]), Err(WireError::Short { .. })), "{end}");
    }
}
