//! The brief frame, in which small messages travel between ends that have greeted and both read it.
//!
//! ```text
//! 1 | format version (4 bits) | kind (3 bits), length u8, crc32 u32 le of both and the body, body
//! ```
//! Most of what a leaf says is some twenty bytes, beside which the 13 of the whole header are many. A brief frame says its
//! length like any other, so frames can stand one after the other, and its first byte tells it from one, so a receiver
//! need not know what was agreed.

use super::{Formats, WireError, checksum};

/// The bytes before the body.
pub(super) const BRIEF_HEADER_BYTES: usize = 6;

const BRIEF: u8 = 1 << 7;
const VERSION_SHIFT: u32 = 3;
const VERSION_MAX: u8 = 0b1111;
const KIND_MAX: u8 = 0b111;

/// Whether a frame that begins so is a brief one.
pub(super) fn is_brief(frame: &[u8]) -> bool {
    frame.first().is_some_and(|first| first & BRIEF != 0)
}

/// What stands before this body, if such a message may travel so.
pub(super) fn header(version: u8, kind: u8, body: &[u8]) -> Option<[u8; BRIEF_HEADER_BYTES]> {
    let length = u8::try_from(body.len()).ok().filter(|_| version <= VERSION_MAX && kind <= KIND_MAX)?;
    let first = BRIEF | version << VERSION_SHIFT | kind;
    let [c0, c1, c2, c3] = checksum(&[first, length], body).to_le_bytes();
    Some([first, length, c0, c1, c2, c3])
}

/// The frame that these bytes begin with, and what follows it.
///
/// # Errors
/// [`WireError::Short`] where they end within it.
pub(super) fn split_first(bytes: &[u8]) -> Result<(&[u8], &[u8]), WireError> {
    let short = |need| WireError::Short { have: bytes.len(), need };
    let [_, length, ..] = *bytes.first_chunk::<BRIEF_HEADER_BYTES>().ok_or(short(BRIEF_HEADER_BYTES))?;
    let length = BRIEF_HEADER_BYTES.saturating_add(length.into());
    bytes.split_at_checked(length).ok_or(short(length))
}

/// The body of a brief frame of this kind.
///
/// # Errors
/// The first rule that the frame breaks.
pub(super) fn unframed(frame: &[u8], kind: u8) -> Result<&[u8], WireError> {
    let short = WireError::Short { have: frame.len(), need: BRIEF_HEADER_BYTES };
    let ([first, length, sum @ ..], body) = frame.split_first_chunk::<BRIEF_HEADER_BYTES>().ok_or(short)?;
    let version = (*first & !BRIEF) >> VERSION_SHIFT;
    if !Formats::CURRENT.contains(version) {
        return Err(WireError::Version(version));
    }
    if *first & KIND_MAX != kind {
        return Err(WireError::Kind(*first & KIND_MAX));
    }
    if body.len() > usize::from(*length) {
        return Err(WireError::Length(body.len()));
    }
    split_first(frame)?;
    if checksum(&[*first, *length], body) != u32::from_le_bytes(*sum) { Err(WireError::Checksum) } else { Ok(body) }
}
