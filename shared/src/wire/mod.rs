//! The frame around every message, and the one way into and out of bytes.
//!
//! ```text
//! "HW" | version u8 | kind u8 | flags u8 | length u32 le | crc32 u32 le of all before and after | body
//! ```
//! Small messages between ends that have greeted travel in a brief frame (`brief.rs`), where both read it.
//!
//! Decoding is total: it checks magic, version, kind, flags, length and checksum before it reads the body, allocates no more
//! than a budget (also what a compressed body unpacks to), accepts no trailing bytes, and hands out only values that keep their invariants. Bodies are written by
//! hand rather than derived, so that a replica is named once, numbers and times are differences, and every list is bounded
//! before it is allocated. Version 0 is not yet frozen.

mod brief;
mod capabilities;
mod compress;
mod digest;
pub(crate) mod element;
mod error;
mod leaf;
mod memory;
pub(crate) mod operation;
mod origin;
pub(crate) mod reader;
pub(crate) mod rights;
pub(crate) mod run;
mod state;
pub(crate) mod stored;
mod topic;
pub(crate) mod writer;

pub use capabilities::{Capabilities, Features, Formats, Terms};
pub use error::{Invalid, WireError};
pub use stored::{STORED_VERSION, decode_element, decode_header, encode_element, encode_header};

use crate::{checksum::CRC32, limits::FRAME_BYTES_MAX};
use reader::Reader;
use serde::{Serialize, de::DeserializeOwned};
use std::borrow::Cow;
use writer::Writer;

/// The format that this build speaks.
pub const VERSION: u8 = 0;

/// The bytes before the body; of a brief frame they are fewer.
pub const HEADER_BYTES: usize = 13;

const MAGIC: [u8; 2] = *b"HW";

/// The format of greetings and refusals, for ever.
const FORMAT_LASTING: u8 = 0;

/// The flag of a body that is compressed.
const COMPRESSED: u8 = 1;

/// A message that travels in a frame of its own kind.
pub trait Message: Sized {
    /// The frame kind.
    const KIND: u8;

    /// What a greeting says of its sender.
    fn capabilities(&self) -> Option<&Capabilities>;

    /// Whether this is a greeting or a refusal, which every version of the format can read.
    fn is_lasting(&self) -> bool;

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
        let format = if message.is_lasting() { FORMAT_LASTING } else { self.format };
        let mut w = Writer::after(vec![0; HEADER_BYTES]);
        message.write(&mut w);
        let mut frame = w.finish()?;
        let body = frame.get(HEADER_BYTES..).unwrap_or_default();
        if body.len() > self.frame_bytes_max as usize {
            return Err(WireError::Length(body.len()));
        }
        if self.features.contains(Features::BRIEF)
            && !message.is_lasting()
            && let Some(header) = brief::header(format, M::KIND, body)
        {
            return Ok([&header, body].concat());
        }
        let is_allowed = cfg!(feature = "hub") && self.features.contains(Features::LZ4) && !message.is_lasting();
        let compressed = if is_allowed { compress::compressed(body) } else { None };
        let flags = if compressed.is_some() { COMPRESSED } else { 0 };
        if let Some(compressed) = compressed {
            frame.truncate(HEADER_BYTES);
            frame.extend(compressed);
        }
        let Some((header, body)) = frame.split_first_chunk_mut::<HEADER_BYTES>() else {
            return Err(WireError::Length(frame.len()));
        };
        let [m0, m1] = MAGIC;
        let [l0, l1, l2, l3] = u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes();
        let head = [m0, m1, format, M::KIND, flags, l0, l1, l2, l3];
        let [c0, c1, c2, c3] = checksum(&head, body).to_le_bytes();
        *header = [m0, m1, format, M::KIND, flags, l0, l1, l2, l3, c0, c1, c2, c3];
        Ok(frame)
    }

    /// The terms that follow from what the other end says of itself, if this message says anything.
    ///
    /// # Errors
    /// As [`Terms::between`]; the message is then to be refused, and the connection with it.
    pub fn said_by<M: Message>(message: &M) -> Result<Option<Self>, WireError> {
        message.capabilities().map(|theirs| Self::between(&Capabilities::CURRENT, theirs)).transpose()
    }

    /// As [`Terms::said_by`], and takes these terms from now on.
    ///
    /// # Errors
    /// As [`Terms::between`].
    pub fn learn<M: Message>(&mut self, message: &M) -> Result<(), WireError> {
        if let Some(terms) = Self::said_by(message)? {
            *self = terms;
        }
        Ok(())
    }
}

/// The message that one whole frame holds.
///
/// # Errors
/// The first rule that the frame breaks.
pub fn decode<M: Message>(frame: &[u8]) -> Result<M, WireError> {
    let body = if brief::is_brief(frame) { brief::unframed(frame, M::KIND)?.into() } else { unframed(frame, M::KIND)? };
    let mut r = Reader::new(&body);
    let message = M::read(&mut r)?;
    r.finish()?;
    Ok(message)
}

/// The body of a frame of this kind, unpacked.
fn unframed(frame: &[u8], expected: u8) -> Result<Cow<'_, [u8]>, WireError> {
    let short = WireError::Short { have: frame.len(), need: HEADER_BYTES };
    let (header, body) = frame.split_first_chunk::<HEADER_BYTES>().ok_or(short)?;
    let [m0, m1, version, kind, flags, l0, l1, l2, l3, c0, c1, c2, c3] = *header;
    if [m0, m1] != MAGIC {
        return Err(WireError::Magic);
    }
    if !Formats::CURRENT.contains(version) {
        return Err(WireError::Version(version));
    }
    if kind != expected {
        return Err(WireError::Kind(kind));
    }
    if flags & !COMPRESSED != 0 {
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
    let head = [m0, m1, version, kind, flags, l0, l1, l2, l3];
    if checksum(&head, body) != u32::from_le_bytes([c0, c1, c2, c3]) {
        return Err(WireError::Checksum);
    }
    Ok(if flags & COMPRESSED == 0 { body.into() } else { compress::unpacked(body)? })
}

/// The frames that stand one after the other in these bytes, none of which is read yet.
///
/// # Errors
/// [`WireError::Short`] where the bytes end within a frame.
pub fn frames(mut bytes: &[u8]) -> Result<Vec<&[u8]>, WireError> {
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        if brief::is_brief(bytes) {
            let (frame, rest) = brief::split_first(bytes)?;
            frames.push(frame);
            bytes = rest;
            continue;
        }
        let short = |need| WireError::Short { have: bytes.len(), need };
        let header = bytes.first_chunk::<HEADER_BYTES>().ok_or(short(HEADER_BYTES))?;
        let [.., l0, l1, l2, l3, _, _, _, _] = *header;
        let length = HEADER_BYTES.saturating_add(u32::from_le_bytes([l0, l1, l2, l3]) as usize);
        let (frame, rest) = bytes.split_at_checked(length).ok_or(short(length))?;
        frames.push(frame);
        bytes = rest;
    }
    Ok(frames)
}

/// Over all that travels, so that a damaged flag shows too.
fn checksum(head: &[u8], body: &[u8]) -> u32 {
    let mut digest = CRC32.digest();
    digest.update(head);
    digest.update(body);
    digest.finalize()
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
