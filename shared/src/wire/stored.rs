//! What is stored: a version byte, then a body. Each is read alone, so it names its replicas itself.

use super::{Invalid, WireError, element, reader::Reader, state, writer::Writer};
use crate::state::{Element, Header, Kind};

/// The format of stored bodies that this build writes, and the only one so far that it reads.
pub const STORED_VERSION: u8 = 0;

/// A stored body: what `write` writes, after a version byte.
pub(crate) fn to_stored(write: impl FnOnce(&mut Writer)) -> Vec<u8> {
    // Room for most, so that writing seldom allocates again.
    let mut bytes = Vec::with_capacity(64);
    bytes.push(STORED_VERSION);
    let mut w = Writer::after(bytes);
    write(&mut w);
    // Only a state that breaks its invariants has no encoding; its empty row is refused when read back.
    w.finish().unwrap_or_default()
}

/// Reads a stored body, the whole of it.
///
/// # Errors
/// [`WireError::Version`] for a body of another format; [`WireError::Invalid`] for one that is damaged.
pub(crate) fn from_stored<T>(
    body: &[u8],
    read: impl FnOnce(&mut Reader<'_>) -> Result<T, Invalid>,
) -> Result<T, WireError> {
    let (version, body) = body.split_first().ok_or(Invalid::Truncated)?;
    if *version != STORED_VERSION {
        return Err(WireError::Version(*version));
    }
    let mut r = Reader::new(body);
    let value = read(&mut r)?;
    r.finish()?;
    Ok(value)
}

/// Writes a header within a stored body.
pub(crate) fn write_header(w: &mut Writer, header: &Header) {
    state::write_header(w, header, false);
}

/// Reads what [`write_header`] wrote.
pub(crate) fn read_header(r: &mut Reader<'_>) -> Result<Header, Invalid> {
    match state::read_header(r)? {
        (header, false) => Ok(header),
        (_, true) => Err(Invalid::Tag("header")),
    }
}

/// Writes an element, or that there is none, within a stored body.
pub(crate) fn write_element(w: &mut Writer, kind: Kind, element: Option<&Element>) {
    let absent = Element::empty(kind);
    element::write_element(w, kind, element.unwrap_or(&absent));
}

/// Reads what [`write_element`] wrote of this kind; an element in which nothing is recorded is none.
pub(crate) fn read_element(r: &mut Reader<'_>, kind: Kind) -> Result<Option<Element>, Invalid> {
    match element::read_element(r)? {
        (own, element) if own == kind => Ok(Some(element).filter(|element| !element.is_empty())),
        _ => Err(Invalid::Type),
    }
}

/// A header's stored form.
pub fn encode_header(header: &Header) -> Vec<u8> {
    to_stored(|w| write_header(w, header))
}

/// The header that [`encode_header`] wrote.
///
/// # Errors
/// [`WireError::Version`] for a body of another format; [`WireError::Invalid`] for one that is damaged.
pub fn decode_header(body: &[u8]) -> Result<Header, WireError> {
    from_stored(body, read_header)
}

/// An element's stored form.
pub fn encode_element(kind: Kind, element: &Element) -> Vec<u8> {
    to_stored(|w| write_element(w, kind, Some(element)))
}

/// The element that [`encode_element`] wrote; one in which nothing is recorded is the empty one.
///
/// # Errors
/// As [`decode_header`], and when it is of another kind.
pub fn decode_element(kind: Kind, body: &[u8]) -> Result<Element, WireError> {
    let element = from_stored(body, |r| read_element(r, kind))?;
    Ok(element.unwrap_or_else(|| Element::empty(kind)))
}
