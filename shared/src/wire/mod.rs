//! The frame around every message, and the one way into and out of bytes.
//!
//! ```text
//! "HW" | version u8 | kind u8 | flags u8 | length u32 le | crc32 u32 le | body
//! ```
//! Decoding is total: it checks magic, version, kind, flags, length and checksum before it reads the body, allocates no more
//! than a budget, accepts no trailing bytes, and hands out only values that keep their invariants. Bodies are written by
//! hand rather than derived, so that a replica is named once, numbers and times are differences, and every list is bounded
//! before it is allocated. Version 0 is not yet frozen.

mod capabilities;
mod element;
mod error;
mod leaf;
mod memory;
mod operation;
mod origin;
pub(crate) mod reader;
mod state;
pub(crate) mod stored;
pub(crate) mod writer;

pub use capabilities::{Capabilities, Features, Formats, Terms};
pub use error::{Invalid, WireError};
pub use stored::{STORED_VERSION, decode_element, decode_header, encode_element, encode_header};

use crate::limits::FRAME_BYTES_MAX;
use reader::Reader;
use serde::{Serialize, de::DeserializeOwned};
use writer::Writer;

/// The format that this build speaks.
pub const VERSION: u8 = 0;

/// The bytes before the body.
pub const HEADER_BYTES: usize = 13;

const MAGIC: [u8; 2] = *b"HW";

/// A message that travels in a frame of its own kind.
pub trait Message: Sized {
    /// The frame kind.
    const KIND: u8;

    /// What a greeting says of its sender.
    fn capabilities(&self) -> Option<&Capabilities>;

    /// Writes the body.
    #[doc(hidden)]
    fn write(&self, w: &mut Writer);

    /// Reads the body.
    #[doc(hidden)]
    fn read(r: &mut Reader<'_>) -> Result<Self, Invalid>;
}

/// The message as one frame that every build reads.
///
/// # Errors
/// [`WireError::Length`] when the body would be longer than a receiver accepts; [`WireError::Invalid`] when the message
/// breaks a limit or has no encoding.
pub fn encode<M: Message>(message: &M) -> Result<Vec<u8>, WireError> {
    Terms::default().encode(message)
}

impl Terms {
    /// The message as one frame that the other end accepts.
    ///
    /// # Errors
    /// As [`encode`].
    pub fn encode<M: Message>(&self, message: &M) -> Result<Vec<u8>, WireError> {
        let mut w = Writer::after(vec![0; HEADER_BYTES]);
        message.write(&mut w);
        let mut frame = w.finish()?;
        let Some((header, body)) = frame.split_first_chunk_mut::<HEADER_BYTES>() else {
            return Err(WireError::Length(frame.len()));
        };
        if body.len() > self.frame_bytes_max as usize {
            return Err(WireError::Length(body.len()));
        }
        let [m0, m1] = MAGIC;
        let [l0, l1, l2, l3] = u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes();
        let [c0, c1, c2, c3] = crc32fast::hash(body).to_le_bytes();
        *header = [m0, m1, self.format, M::KIND, 0, l0, l1, l2, l3, c0, c1, c2, c3];
        Ok(frame)
    }

    /// Takes note of what the other end said of itself, if this message says anything.
    ///
    /// # Errors
    /// As [`Terms::between`]; the message is then to be refused, and the connection with it.
    pub fn learn<M: Message>(&mut self, message: &M) -> Result<(), WireError> {
        if let Some(theirs) = message.capabilities() {
            *self = Self::between(&Capabilities::CURRENT, theirs)?;
        }
        Ok(())
    }
}

/// The message that one whole frame holds.
///
/// # Errors
/// The first rule that the frame breaks.
pub fn decode<M: Message>(frame: &[u8]) -> Result<M, WireError> {
    let short = WireError::Short { have: frame.len(), need: HEADER_BYTES };
    let (header, body) = frame.split_first_chunk::<HEADER_BYTES>().ok_or(short)?;
    let [m0, m1, version, kind, flags, l0, l1, l2, l3, c0, c1, c2, c3] = *header;
    if [m0, m1] != MAGIC {
        return Err(WireError::Magic);
    }
    if !Formats::CURRENT.contains(version) {
        return Err(WireError::Version(version));
    }
    if kind != M::KIND {
        return Err(WireError::Kind(kind));
    }
    if flags != 0 {
        return Err(WireError::Flags(flags));
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
    let mut r = Reader::new(body);
    let message = M::read(&mut r)?;
    r.finish()?;
    Ok(message)
}

/// A plain value's stored form: bare postcard, since the storage frames and checks it.
pub fn to_body<T: Serialize>(value: &T) -> Vec<u8> {
    // Serialising plain data into memory cannot fail; an empty row is refused when read back.
    postcard::to_allocvec(value).unwrap_or_default()
}

/// Reads a plain value's stored form, the whole of it.
pub fn from_body<T: DeserializeOwned>(body: &[u8]) -> Result<T, WireError> {
    match postcard::take_from_bytes(body) {
        Ok((value, [])) => Ok(value),
        Ok((_, rest)) => Err(Invalid::Trailing(rest.len()).into()),
        Err(error) => Err(WireError::Body(error)),
    }
}

#[cfg(test)]
mod tests;
