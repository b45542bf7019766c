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
    const KIND: u8 = 200;

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
    assert_eq!(frame[..9], [b'H', b'W', VERSION, 200, 0, 4, 0, 0, 0]);
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
    let head = [&b"HW"[..], &[VERSION, 200, 0], &u32::try_from(body.len()).unwrap().to_le_bytes()].concat();
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
    frame[3] = 201;
    assert_eq!(decode::<Note>(&frame), Err(WireError::Kind(201)));
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
