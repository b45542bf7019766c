//! Newtypes for every identity and quantity, validated once where they enter.
//!
//! None of these is ever altered after it is minted; equality of a [`Dot`] is identity of an operation.

use crate::{hlc::Hlc, limits::KEY_BYTES_MAX, slot::Slot};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::{
    cmp::Ordering,
    fmt,
    hash::{Hash, Hasher},
};

/// A CRDT replica: one life of a hub's or the origin's state.
///
/// The upper 48 bits name the site, the lower 16 its incarnation; a site whose state was lost or restored comes back under
/// the next incarnation and so never reuses a number. [`ReplicaId::LEAF`] is reserved for a leaf's provisional dots, which
/// never leave the leaf.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ReplicaId(u64);

/// The bit that marks the origin.
const ORIGIN: u64 = 0x8000;

impl ReplicaId {
    /// Stands in a leaf's overlay for "my own session"; sorts last.
    pub const LEAF: Self = Self(u64::MAX);

    /// The first incarnation of a new site, named by 64 random bits.
    pub fn from_entropy(entropy: u64) -> Self {
        // The incarnation starts at zero, so neither all ones (LEAF) can arise.
        Self(entropy & !0xffff)
    }

    /// An incarnation of the origin's dataset, with the site taken from 48 random bits. It is told from a hub by its highest
    /// bit of 16, to which a hub would have to lose its state as often.
    pub fn of_origin(entropy: u64) -> Self {
        Self(entropy & !0xffff | ORIGIN)
    }

    /// Whether this is an incarnation of the origin's dataset.
    pub fn is_of_origin(self) -> bool {
        self.0 & ORIGIN != 0 && self != Self::LEAF
    }

    /// The same site after it lost or restored its state.
    pub fn next_incarnation(self) -> Self {
        Self(self.0.wrapping_add(1))
    }

    /// Whether both are incarnations of one site.
    pub fn is_of_site(self, other: Self) -> bool {
        self.0 >> 16 == other.0 >> 16
    }

    /// The raw 64 bits, for storage keys and logs.
    pub fn to_bits(self) -> u64 {
        self.0
    }

    /// The identity with these raw bits.
    pub fn from_bits(bits: u64) -> Self {
        Self(bits)
    }
}

impl fmt::Debug for ReplicaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for ReplicaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:012x}.{}", self.0 >> 16, self.0 & 0xffff)
    }
}

/// A number in a replica's sequence. Each own operation takes the next one; none is ever reused. Zero precedes the first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, Debug)]
pub struct No(pub u64);

impl No {
    /// Before the first operation.
    pub const ZERO: Self = Self(0);

    /// The number after this one.
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// The identity of one operation: its replica and number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Debug)]
pub struct Dot {
    /// Who made the operation.
    pub replica: ReplicaId,
    /// Its number there.
    pub no: No,
}

/// When an operation happened, in a total order: hybrid logical time, then replica, then number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Debug)]
pub struct Stamp {
    /// Hybrid logical time of the operation.
    pub hlc: Hlc,
    /// The operation; breaks ties.
    pub dot: Dot,
}

/// Milliseconds since the Unix epoch.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, Debug)]
pub struct TimestampMs(pub i64);

impl TimestampMs {
    /// This instant moved by `ms`, saturating.
    pub fn plus_ms(self, ms: i64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to this, negative if this lies before it.
    pub fn since_ms(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// What Headwater itself keeps at the origin, beside the plain values of clients' keys, is named so.
pub const RESERVED: &[u8] = b"hw:";

/// A key as clients name it: up to [`KEY_BYTES_MAX`] arbitrary bytes that do not begin with [`RESERVED`]. Every key that comes
/// from outside, in a command, a message or a row, comes through [`Key::new`] or [`Key::copied`], so that nobody names what
/// is Headwater's own.
#[derive(Clone, Deserialize)]
#[serde(try_from = "Bytes")]
pub struct Key(Name);

/// Most names are short, and stand in the key itself: to share one costs more than to copy it, and keeps the whole message
/// that brought it.
#[derive(Clone)]
enum Name {
    Short { length: u8, bytes: [u8; SHORT_BYTES_MAX] },
    Long(Bytes),
}

/// What a name takes that is no larger than one that is shared.
const SHORT_BYTES_MAX: usize = size_of::<Bytes>() + 6;
const _: () = assert!(SHORT_BYTES_MAX <= KEY_BYTES_MAX && SHORT_BYTES_MAX <= u8::MAX as usize);

/// Bytes that cannot be a key.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadKey {
    /// There are more than [`KEY_BYTES_MAX`].
    #[error("the key has {bytes} bytes; at most {KEY_BYTES_MAX} are allowed")]
    TooLong {
        /// How many there are.
        bytes: usize,
    },
    /// They begin with [`RESERVED`].
    #[error("the key {} is reserved: what begins with hw: is Headwater's own", String::from_utf8_lossy(name))]
    Reserved {
        /// All of them.
        name: Box<[u8]>,
    },
}

impl Key {
    /// A key of these bytes.
    ///
    /// # Errors
    /// Where they are too many, or are reserved.
    pub fn new(bytes: impl Into<Bytes>) -> Result<Self, BadKey> {
        let bytes = bytes.into();
        if bytes.len() > KEY_BYTES_MAX {
            return Err(BadKey::TooLong { bytes: bytes.len() });
        }
        if bytes.starts_with(RESERVED) {
            return Err(BadKey::Reserved { name: bytes.as_ref().into() });
        }
        Ok(Self::short(&bytes).unwrap_or(Self(Name::Long(bytes))))
    }

    /// A key of a copy of these bytes.
    ///
    /// # Errors
    /// As of [`Key::new`].
    pub fn copied(bytes: &[u8]) -> Result<Self, BadKey> {
        let is_free = !bytes.starts_with(RESERVED);
        let short = is_free.then(|| Self::short(bytes)).flatten();
        short.map_or_else(|| Self::new(Bytes::copy_from_slice(bytes)), Ok)
    }

    #[inline]
    fn short(name: &[u8]) -> Option<Self> {
        let mut bytes = [0; SHORT_BYTES_MAX];
        bytes.get_mut(..name.len())?.copy_from_slice(name);
        let length = u8::try_from(name.len()).ok()?;
        Some(Self(Name::Short { length, bytes }))
    }

    /// The key's bytes.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Name::Short { length, bytes } => bytes.get(..usize::from(*length)).unwrap_or(bytes),
            Name::Long(bytes) => bytes,
        }
    }

    /// The key's slot, as Redis Cluster computes it.
    pub fn slot(&self) -> Slot {
        Slot::of(self.as_bytes())
    }

    /// A row's name: a tag, and the key behind its length, so that all that follows it belongs to this key alone.
    pub(crate) fn sized(&self, tag: u8) -> Vec<u8> {
        // A key has at most 1024 bytes.
        let name = self.as_bytes();
        let length = u16::try_from(name.len()).unwrap_or(u16::MAX);
        [&[tag], &length.to_be_bytes()[..], name].concat()
    }

    /// What [`Key::sized`] wrote behind the tag, and what follows it.
    pub(crate) fn split_sized(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (length, rest) = bytes.split_first_chunk::<2>()?;
        let (key, rest) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
        Some((Self::copied(key).ok()?, rest))
    }
}

impl TryFrom<Bytes> for Key {
    type Error = BadKey;

    fn try_from(bytes: Bytes) -> Result<Self, BadKey> {
        Self::new(bytes)
    }
}

impl From<Key> for Bytes {
    fn from(key: Key) -> Self {
        match key.0 {
            Name::Short { .. } => Self::copy_from_slice(key.as_bytes()),
            Name::Long(bytes) => bytes,
        }
    }
}

impl Serialize for Key {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.as_bytes())
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Key {}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b\"{}\"", self.as_bytes().escape_ascii())
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(self.as_bytes()))
    }
}

/// The secret under which clients' names are hashed, so that nobody can choose names whose hashes collide. Drawn by the
/// host from its random source; never sent.
#[derive(Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct HashSeed(pub u64, pub u64);

impl std::hash::BuildHasher for HashSeed {
    type Hasher = siphasher::sip::SipHasher13;

    /// SipHash-1-3 (Aumasson and Bernstein 2012).
    fn build_hasher(&self) -> Self::Hasher {
        siphasher::sip::SipHasher13::new_with_keys(self.0, self.1)
    }
}

impl fmt::Debug for HashSeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HashSeed(secret)")
    }
}

/// A leaf process or tab, 128 random bits that it keeps for life.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Debug)]
pub struct ClientId(pub u128);

/// A leaf's session with one hub, numbered by that hub.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Debug)]
pub struct SessionId {
    /// The hub that opened it and alone settles it.
    pub hub: ReplicaId,
    /// The client it was opened for.
    pub client: ClientId,
    /// Which of the client's sessions at this hub.
    pub no: u64,
}

/// An operation's number within a session, from 1 without gaps.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, Debug)]
pub struct Seq(pub u64);

impl Seq {
    /// The number after this one.
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_over_the_limit_is_refused() {
        assert!(Key::new(vec![0; KEY_BYTES_MAX]).is_ok());
        assert_eq!(Key::new(vec![0; KEY_BYTES_MAX + 1]), Err(BadKey::TooLong { bytes: KEY_BYTES_MAX + 1 }));
    }

    #[test]
    fn what_begins_with_headwaters_own_prefix_is_no_key() {
        for name in ["hw:", "hw:m:{0}", "hw:c:{0}k"] {
            let reserved = Err(BadKey::Reserved { name: name.as_bytes().into() });
            assert_eq!(Key::new(name), reserved);
            assert_eq!(Key::copied(name.as_bytes()), reserved);
            assert!(postcard::from_bytes::<Key>(&postcard::to_allocvec(&Bytes::from(name)).unwrap()).is_err());
        }
        assert!(Key::new([b"hw:".to_vec(), vec![b'k'; 100]].concat()).is_err());
        for name in ["hw", "hw;", "HW:k", "ahw:k", ""] {
            assert!(Key::new(name).is_ok() && Key::copied(name.as_bytes()).is_ok(), "{name}");
        }
        let error = Key::new("hw:m:{0}").unwrap_err().to_string();
        assert_eq!(error, "the key hw:m:{0} is reserved: what begins with hw: is Headwater's own");
    }

    #[test]
    fn keys_are_alike_whether_they_are_short_or_long() {
        let names: Vec<Vec<u8>> = (0..=2 * SHORT_BYTES_MAX).map(|length| vec![b'k'; length]).collect();
        for name in &names {
            let (new, copied) = (Key::new(name.clone()).unwrap(), Key::copied(name).unwrap());
            assert_eq!(new, copied);
            assert_eq!((new.as_bytes(), Bytes::from(copied.clone())), (&name[..], Bytes::from(name.clone())));
            assert_eq!(format!("{new:?}"), format!("{:?}", Bytes::from(name.clone())));
            let stored = postcard::to_allocvec(&new).unwrap();
            assert_eq!(stored, postcard::to_allocvec(&Bytes::from(name.clone())).unwrap());
            assert_eq!(postcard::from_bytes::<Key>(&stored).unwrap(), new);
        }
        let keys: Vec<Key> = names.iter().map(|name| Key::copied(name).unwrap()).collect();
        assert!(keys.is_sorted_by(|a, b| a < b));
        assert!(Key::new("a").unwrap() < Key::new(vec![b'b'; 100]).unwrap());
        assert!(Key::new(vec![b'a'; 100]).unwrap() < Key::new("b").unwrap());
    }

    #[test]
    fn stamps_order_by_time_then_replica_then_number() {
        let stamp = |hlc, replica, no| Stamp {
            hlc: Hlc::from_bits(hlc),
            dot: Dot { replica: ReplicaId::from_bits(replica), no: No(no) },
        };
        assert!(stamp(1, 9, 9) < stamp(2, 1, 1));
        assert!(stamp(1, 1, 9) < stamp(1, 2, 1));
        assert!(stamp(1, 1, 1) < stamp(1, 1, 2));
    }
}
