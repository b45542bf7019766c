//! Redis Cluster's hash slots, and the fixed table with one hash tag for each.
//!
//! Which shard and which companion key a key belongs to follows from these functions alone, so neither may ever change: the
//! tests pin Redis's own values and a checksum over the whole table.

use crc::{CRC_16_XMODEM, Crc, Digest};
use serde::{Deserialize, Serialize};
use std::{fmt, sync::OnceLock};

const CRC16: Crc<u16> = Crc::<u16>::new(&CRC_16_XMODEM);

/// One of the 16384 hash slots into which Redis Cluster divides the keys.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct Slot(u16);

impl Slot {
    /// How many slots there are.
    pub const COUNT: u16 = 16384;

    /// The slot of a key: CRC16/XMODEM of its hash tag, or of the whole key if it has none, modulo [`Slot::COUNT`].
    ///
    /// The hash tag is what stands between the first `{` and the next `}` after it, unless that is empty
    /// (<https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/#hash-tags>).
    ///
    /// ```
    /// use headwater::slot::Slot;
    ///
    /// assert_eq!(Slot::of(b"foo").get(), 12182);
    /// assert_eq!(Slot::of(b"{user1000}.following"), Slot::of(b"{user1000}.followers"));
    /// ```
    pub fn of(key: &[u8]) -> Self {
        Self::of_whole(hash_tag(key).unwrap_or(key))
    }

    /// The slot's number, below [`Slot::COUNT`].
    pub fn get(self) -> u16 {
        self.0
    }

    /// Every slot, in order.
    pub fn all() -> impl ExactSizeIterator<Item = Self> + DoubleEndedIterator {
        (0..Self::COUNT).map(Self)
    }

    /// The hash tag that stands for this slot in the names of companion keys: `Slot::of(slot.tag().as_bytes()) == slot`.
    ///
    /// It is the shortest string over `0-9a-z` in this slot and, among these, the first in byte order. The table of all tags
    /// is computed on the first call.
    pub fn tag(self) -> &'static str {
        static TAGS: OnceLock<Box<[Tag]>> = OnceLock::new();
        TAGS.get_or_init(tags).get(usize::from(self.0)).map_or("", Tag::as_str)
    }

    fn of_whole(bytes: &[u8]) -> Self {
        Self::from_crc(CRC16.checksum(bytes))
    }

    fn from_crc(crc: u16) -> Self {
        Self(crc % Self::COUNT)
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<Slot> for u16 {
    fn from(slot: Slot) -> Self {
        slot.0
    }
}

/// A number that names no slot, since it is not below [`Slot::COUNT`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0} is no slot; slots are numbered below {count}", count = Slot::COUNT)]
pub struct NoSuchSlot(pub u16);

impl TryFrom<u16> for Slot {
    type Error = NoSuchSlot;

    fn try_from(number: u16) -> Result<Self, NoSuchSlot> {
        if number < Self::COUNT { Ok(Self(number)) } else { Err(NoSuchSlot(number)) }
    }
}

fn hash_tag(key: &[u8]) -> Option<&[u8]> {
    let mut parts = key.splitn(2, |&byte| byte == b'{');
    let (_before, after) = (parts.next()?, parts.next()?);
    let close = after.iter().position(|&byte| byte == b'}')?;
    after.get(..close).filter(|tag| !tag.is_empty())
}

const TAG_BYTES_MAX: usize = 4;

#[derive(Clone, Copy, Default)]
struct Tag {
    bytes: [u8; TAG_BYTES_MAX],
    len: usize,
}

impl Tag {
    fn as_str(&self) -> &str {
        self.bytes.get(..self.len).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or("")
    }

    /// This tag with one more byte, unless it is full.
    fn followed_by(mut self, byte: u8) -> Option<Self> {
        *self.bytes.get_mut(self.len)? = byte;
        self.len = self.len.saturating_add(1);
        Some(self)
    }
}

/// Tries the strings by length, then in byte order, and keeps the first in each slot.
fn tags() -> Box<[Tag]> {
    let mut tags = vec![Tag::default(); usize::from(Slot::COUNT)].into_boxed_slice();
    let mut missing = tags.len();
    for len in 1..=TAG_BYTES_MAX {
        fill(&mut tags, &mut missing, len, Tag::default(), &CRC16.digest());
    }
    tags
}

fn fill(tags: &mut [Tag], missing: &mut usize, len: usize, prefix: Tag, prefix_digest: &Digest<'_, u16>) {
    for byte in (b'0'..=b'9').chain(b'a'..=b'z') {
        let Some(tag) = prefix.followed_by(byte) else { return };
        if *missing == 0 {
            return;
        }
        let mut digest = prefix_digest.clone();
        digest.update(&[byte]);
        if tag.len < len {
            fill(tags, missing, len, tag, &digest);
            continue;
        }
        let slot = Slot::from_crc(digest.finalize());
        if let Some(free) = tags.get_mut(usize::from(slot.0)).filter(|kept| kept.len == 0) {
            *free = tag;
            *missing = missing.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_redis_cluster() {
        // CLUSTER KEYSLOT of redis-server 7.0.15.
        let table: &[(&str, u16)] = &[
            ("123456789", 12739),
            ("foo", 12182),
            ("", 0),
            ("{}", 15257),
            ("{user1000}.following", 3443),
            ("{user1000}.followers", 3443),
            ("user1000", 3443),
            ("foo{}{bar}", 8363),
            ("foo{{bar}}zap", 4015),
            ("{bar", 4015),
            ("foo{bar}{zap}", 5061),
            ("bar", 5061),
            ("foo{bar", 15278),
            ("foo}bar{", 11073),
            ("a}b{c}", 7365),
        ];
        for &(key, slot) in table {
            assert_eq!(Slot::of(key.as_bytes()).get(), slot, "{key}");
        }
    }

    #[test]
    fn every_tag_lies_in_its_slot_also_within_a_companion_name() {
        for slot in Slot::all() {
            let tag = slot.tag();
            assert!(!tag.is_empty());
            assert_eq!(Slot::of(tag.as_bytes()), slot);
            assert_eq!(Slot::of(format!("hw:c:{{{tag}}}a{{b}}c").as_bytes()), slot);
        }
    }

    #[test]
    fn tags_are_the_first_of_the_shortest() {
        // An independent search: the whole table, counted up as numbers in base 36.
        let alphabet = b"0123456789abcdefghijklmnopqrstuvwxyz";
        let mut first = vec![None; usize::from(Slot::COUNT)];
        for len in 1..=4u32 {
            for number in 0..36usize.pow(len) {
                let tag: Vec<u8> = (0..len).rev().map(|place| alphabet[number / 36usize.pow(place) % 36]).collect();
                first[usize::from(Slot::of(&tag).get())].get_or_insert(tag);
            }
        }
        for slot in Slot::all() {
            assert_eq!(first[usize::from(slot.get())].as_deref(), Some(slot.tag().as_bytes()));
        }
    }

    #[test]
    fn tags_never_change() {
        let table: &[(u16, &str)] =
            &[(0, "1bz"), (1, "emj"), (2, "7lw"), (8191, "7ho"), (12182, "foo"), (16382, "4oi"), (16383, "hia")];
        for &(slot, tag) in table {
            assert_eq!(Slot(slot).tag(), tag, "{slot}");
        }
        let joined: Vec<&str> = Slot::all().map(Slot::tag).collect();
        assert_eq!(crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC).checksum(joined.join(",").as_bytes()), 4_031_837_986);
    }

    #[test]
    fn numbers_beyond_the_last_slot_are_refused() {
        assert_eq!(Slot::try_from(16383).map(Slot::get), Ok(16383));
        assert_eq!(Slot::try_from(16384), Err(NoSuchSlot(16384)));
        assert!(postcard::from_bytes::<Slot>(&postcard::to_allocvec(&16384u16).unwrap()).is_err());
    }
}
