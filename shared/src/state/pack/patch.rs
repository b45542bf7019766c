//! Spots of a block that are found without unpacking it, and fresh bytes in their place.

use super::varint;
use crate::arena::{Arena, Block};
use std::ops::Range;

/// Something of a replica's own, or where it is to stand.
pub(super) enum Own<T> {
    There(T),
    Behind(usize),
}

/// Bytes of a block, and which of the fresh ones come in their place; nothing in place of nothing where nothing changes.
#[derive(Default)]
pub(super) struct Change(pub(super) Range<usize>, pub(super) Range<usize>);

/// Puts fresh bytes in place of others, which stand in order.
pub(super) fn splice(arena: &mut Arena, block: Block, changes: &[Change], fresh: &Fresh) -> Block {
    let mut bytes = arena.take_scratch();
    let old = arena.heap.read(block);
    let mut from = 0;
    for Change(range, new) in changes.iter().filter(|Change(_, new)| !new.is_empty()) {
        bytes.extend_from_slice(old.get(from..range.start).unwrap_or_default());
        bytes.extend_from_slice(fresh.part(new));
        from = range.end;
    }
    bytes.extend_from_slice(old.get(from..).unwrap_or_default());
    let block = arena.heap.replace(block, &bytes);
    arena.put_scratch(bytes);
    block
}

/// Fresh numbers one after the other. An increment has thirteen at most, some seventy bytes in all; the array has room for the
/// eight bytes at a time that are written.
pub(super) struct Fresh {
    bytes: [u8; 128],
    length: usize,
}

impl Fresh {
    pub(super) fn new() -> Self {
        Self { bytes: [0; 128], length: 0 }
    }

    /// Appends numbers; returns where they stand.
    #[inline]
    pub(super) fn numbers(&mut self, numbers: impl IntoIterator<Item = u64>) -> Range<usize> {
        let from = self.length;
        for number in numbers {
            self.length = varint::put(&mut self.bytes, self.length, number);
        }
        from..self.length
    }

    fn part(&self, at: &Range<usize>) -> &[u8] {
        self.bytes.get(at.clone()).unwrap_or_default()
    }
}

/// Reads a block and knows where it stands.
pub(super) struct Scan<'a> {
    length: usize,
    pub(super) rest: &'a [u8],
}

impl<'a> Scan<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { length: bytes.len(), rest: bytes }
    }

    #[inline]
    pub(super) fn at(&self) -> usize {
        self.length.wrapping_sub(self.rest.len())
    }

    pub(super) fn name(&mut self) -> Option<()> {
        let length = usize::try_from(self.number()?).ok()?;
        self.rest = self.rest.get(length..)?;
        Some(())
    }

    #[inline]
    pub(super) fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*byte)
    }

    #[inline]
    pub(super) fn number(&mut self) -> Option<u64> {
        let (number, rest) = varint::read(self.rest)?;
        self.rest = rest;
        Some(number)
    }

    /// An amount that takes no more than 56 bits; larger ones are left to the general way.
    #[inline]
    pub(super) fn integer(&mut self) -> Option<i64> {
        let (word, rest) = varint::read(self.rest)?;
        let is_short = self.rest.len().wrapping_sub(rest.len()) <= 8;
        self.rest = rest;
        is_short.then_some((word >> 1).cast_signed() ^ (word & 1).cast_signed().wrapping_neg())
    }

    pub(super) fn float(&mut self) -> Option<f64> {
        let (bytes, rest) = self.rest.split_first_chunk::<8>()?;
        self.rest = rest;
        Some(f64::from_bits(u64::from_le_bytes(*bytes)))
    }

    #[inline]
    pub(super) fn skip(&mut self, numbers: u64) -> Option<()> {
        for _ in 0..numbers {
            self.rest = varint::skip(self.rest)?;
        }
        Some(())
    }

    /// Where the next numbers stand, which are passed by.
    #[inline]
    pub(super) fn spot(&mut self, numbers: u64) -> Option<Range<usize>> {
        let from = self.at();
        self.skip(numbers)?;
        Some(from..self.at())
    }
}
