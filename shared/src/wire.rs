//! The frame around every message, and the one way into and out of bytes.
//!
//! ```text
//! "HW" | version u8 | kind u8 | length u32 le | crc32 u32 le | postcard body
//! ```
//! Decoding is total: it checks magic, version, kind, length and checksum before it reads the body, allocates no more than
//! the body holds, accepts no trailing bytes, and hands out only values that keep their invariants. Version 0 is not yet
//! frozen.

use crate::limits::FRAME_BYTES_MAX;
use serde::{Serialize, de::DeserializeOwned};

/// The format that this build speaks.
pub const VERSION: u8 = 0;

/// The bytes before the body.
pub const HEADER_BYTES: usize = 12;

const MAGIC: [u8; 2] = *b"HW";

/// A message that travels in a frame of its own kind.
pub trait Message: Serialize + DeserializeOwned {
    /// The frame kind.
    const KIND: u8;

    /// Whether every value in the message keeps its invariants and limits.
    fn is_valid(&self) -> bool;
}

/// Why bytes are no message.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum WireError {
    /// Fewer bytes than a frame's header, or than its length says.
    #[error("the frame is cut short: {have} of {need} bytes")]
    Short {
        /// What there was.
        have: usize,
        /// What the frame needs.
        need: usize,
    },
    /// Not a Headwater frame.
    #[error("the frame does not begin with the Headwater magic")]
    Magic,
    /// Another format.
    #[error("the frame has format version {0}; this build reads {VERSION}")]
    Version(u8),
    /// Another message than this end of the connection may receive.
    #[error("the frame has kind {0}, which is not expected here")]
    Kind(u8),
    /// Longer than the limit, or bytes after the end.
    #[error("the frame has {0} bytes; at most {FRAME_BYTES_MAX} are accepted, and none after its end")]
    Length(usize),
    /// Damaged on the way.
    #[error("the frame's checksum does not match its body")]
    Checksum,
    /// The body is not a message.
    #[error("the frame's body is malformed")]
    Body(#[source] postcard::Error),
    /// The body decodes, but a value in it breaks an invariant or limit.
    #[error("a value in the frame breaks an invariant or a limit")]
    Invalid,
}

/// The message as one frame.
///
/// # Errors
/// [`WireError::Length`] when the body would be longer than a receiver accepts.
pub fn encode<M: Message>(message: &M) -> Result<Vec<u8>, WireError> {
    let frame = vec![MAGIC[0], MAGIC[1], VERSION, M::KIND, 0, 0, 0, 0, 0, 0, 0, 0];
    let mut frame = postcard::to_extend(message, frame).map_err(WireError::Body)?;
    let length = frame.len().saturating_sub(HEADER_BYTES);
    if length > FRAME_BYTES_MAX {
        return Err(WireError::Length(length));
    }
    let body_crc = crc32fast::hash(frame.get(HEADER_BYTES..).unwrap_or_default());
    let length = u32::try_from(length).unwrap_or(u32::MAX);
    for (at, byte) in length.to_le_bytes().into_iter().chain(body_crc.to_le_bytes()).enumerate() {
        if let Some(slot) = frame.get_mut(at.saturating_add(4)) {
            *slot = byte;
        }
    }
    Ok(frame)
}

/// The message that one whole frame holds.
pub fn decode<M: Message>(frame: &[u8]) -> Result<M, WireError> {
    let short = WireError::Short { have: frame.len(), need: HEADER_BYTES };
    let (header, body) = frame.split_first_chunk::<HEADER_BYTES>().ok_or(short)?;
    let [m0, m1, version, kind, l0, l1, l2, l3, c0, c1, c2, c3] = *header;
    if [m0, m1] != MAGIC {
        return Err(WireError::Magic);
    }
    if version != VERSION {
        return Err(WireError::Version(version));
    }
    if kind != M::KIND {
        return Err(WireError::Kind(kind));
    }
    let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
    if length > FRAME_BYTES_MAX || body.len() > length {
        return Err(WireError::Length(length.max(body.len())));
    }
    if body.len() < length {
        let need = HEADER_BYTES.saturating_add(length);
        return Err(WireError::Short { have: frame.len(), need });
    }
    if crc32fast::hash(body) != u32::from_le_bytes([c0, c1, c2, c3]) {
        return Err(WireError::Checksum);
    }
    let message: M = from_body(body)?;
    if message.is_valid() { Ok(message) } else { Err(WireError::Invalid) }
}

/// A value's stored form: a row, a field of a companion. Bare postcard, since the storage frames and checks it.
pub fn to_body<T: Serialize>(value: &T) -> Vec<u8> {
    // Serialising plain data into memory cannot fail; an empty row is refused when read back.
    postcard::to_allocvec(value).unwrap_or_default()
}

/// Reads a value's stored form, the whole of it.
pub fn from_body<T: DeserializeOwned>(body: &[u8]) -> Result<T, WireError> {
    match postcard::take_from_bytes(body) {
        Ok((value, [])) => Ok(value),
        Ok((_, rest)) => Err(WireError::Length(rest.len())),
        Err(error) => Err(WireError::Body(error)),
    }
}

#[cfg(test)]
mod tests {
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

        fn is_valid(&self) -> bool {
            self.is_valid
        }
    }

    fn note(bytes: usize) -> Note {
        Note { is_valid: true, text: vec![7; bytes] }
    }

    #[test]
    fn a_frame_is_the_documented_bytes() {
        let frame = encode(&note(2)).unwrap();
        assert_eq!(frame[..8], [b'H', b'W', VERSION, 200, 4, 0, 0, 0]);
        assert_eq!(frame[8..12], crc32fast::hash(&frame[12..]).to_le_bytes());
        assert_eq!(frame[12..], [1, 2, 7, 7]);
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
        let body = to_body(&note(FRAME_BYTES_MAX - 4));
        let length = u32::try_from(body.len()).unwrap().to_le_bytes();
        let frame = [b"HW", &[VERSION, 200], &length[..], &crc32fast::hash(&body).to_le_bytes()[..], &body].concat();
        assert_eq!(decode::<Note>(&frame), Err(WireError::Length(FRAME_BYTES_MAX + 1)));
    }

    #[test]
    fn a_value_that_breaks_an_invariant_is_refused() {
        let frame = encode(&Note { is_valid: false, text: vec![] }).unwrap();
        assert_eq!(decode::<Note>(&frame), Err(WireError::Invalid));
    }

    #[test]
    fn the_version_is_asked_before_the_kind_and_the_kind_before_the_length() {
        let mut frame = encode(&note(0)).unwrap();
        frame[4..8].fill(0xff);
        assert_eq!(decode::<Note>(&frame), Err(WireError::Length(u32::MAX as usize)));
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
        assert_eq!(from_body::<Note>(&[&body[..], &[0, 0]].concat()), Err(WireError::Length(2)));
        for end in 0..body.len() {
            assert!(matches!(from_body::<Note>(&body[..end]), Err(WireError::Body(_))), "cut to {end}");
        }
    }
}
