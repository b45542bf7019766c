//! Reads a body that a [`Writer`](super::writer::Writer) wrote, or refuses it.
//!
//! Every count is checked against the bytes that are left, and every allocation is taken from a budget, before it is made:
//! bytes from a hostile peer cost no more memory than [`DECODED_BYTES_MAX`], and time linear in their length.

use super::{Invalid, memory::Memory, memory::Named};
use crate::{
    hlc::Hlc,
    id::{Dot, No, ReplicaId, Seq, TimestampMs},
    limits::DECODED_BYTES_MAX,
    slot::Slot,
};
use bytes::Bytes;

/// A body being read.
pub struct Reader<'a> {
    rest: &'a [u8],
    budget: usize,
    pub(super) memory: Memory,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(body: &'a [u8]) -> Self {
        Self { rest: body, budget: DECODED_BYTES_MAX, memory: Memory::default() }
    }

    /// The end: nothing may follow.
    pub(crate) fn finish(self) -> Result<(), Invalid> {
        if self.rest.is_empty() { Ok(()) } else { Err(Invalid::Trailing(self.rest.len())) }
    }

    /// What is left to read, for a reader of another form.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Invalid> {
        let (byte, rest) = self.rest.split_first().ok_or(Invalid::Truncated)?;
        self.rest = rest;
        Ok(*byte)
    }

    pub(super) fn raw(&mut self, count: usize) -> Result<&'a [u8], Invalid> {
        let (bytes, rest) = self.rest.split_at_checked(count).ok_or(Invalid::Truncated)?;
        self.rest = rest;
        Ok(bytes)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Invalid> {
        let (bytes, rest) = self.rest.split_first_chunk::<N>().ok_or(Invalid::Truncated)?;
        self.rest = rest;
        Ok(*bytes)
    }

    pub(crate) fn varint(&mut self) -> Result<u64, Invalid> {
        u64::try_from(self.varint_of(64)?).or(Err(Invalid::Number))
    }

    pub(super) fn wide_varint(&mut self) -> Result<u128, Invalid> {
        self.varint_of(128)
    }

    pub(super) fn zigzag(&mut self) -> Result<i64, Invalid> {
        self.varint().map(unzigzag)
    }

    pub(super) fn wide_zigzag(&mut self) -> Result<i128, Invalid> {
        let value = self.wide_varint()?;
        Ok((value >> 1).cast_signed() ^ (value & 1).cast_signed().wrapping_neg())
    }

    pub(super) fn difference(&mut self, from: u64) -> Result<u64, Invalid> {
        Ok(from.wrapping_add(self.zigzag()?.cast_unsigned()))
    }

    /// How many follow: at most `max`, and each takes at least `bytes_min` of the bytes that are left.
    pub(crate) fn count(&mut self, what: &'static str, max: usize, bytes_min: usize) -> Result<usize, Invalid> {
        let count = usize::try_from(self.varint()?).or(Err(Invalid::Count))?;
        if count.saturating_mul(bytes_min) > self.rest.len() {
            return Err(Invalid::Count);
        }
        if count > max { Err(Invalid::TooMany(what)) } else { Ok(count) }
    }

    /// A list of at most `max`, each of at least `bytes_min` bytes.
    pub(crate) fn list<T>(
        &mut self,
        what: &'static str,
        max: usize,
        bytes_min: usize,
        mut item: impl FnMut(&mut Self) -> Result<T, Invalid>,
    ) -> Result<Vec<T>, Invalid> {
        let count = self.count(what, max, bytes_min)?;
        self.spend(count.saturating_mul(size_of::<T>()))?;
        let mut list = Vec::with_capacity(count);
        for _ in 0..count {
            list.push(item(self)?);
        }
        Ok(list)
    }

    /// A list of at most `max` whose items say each whether another one follows.
    pub(super) fn chain<T>(
        &mut self,
        what: &'static str,
        max: usize,
        mut item: impl FnMut(&mut Self) -> Result<(T, bool), Invalid>,
    ) -> Result<Vec<T>, Invalid> {
        let mut chain = Vec::new();
        loop {
            if chain.len() >= max {
                return Err(Invalid::TooMany(what));
            }
            if chain.len() == chain.capacity() {
                // Room is made for as many again, and at first for one: mostly there is no more.
                let more = chain.len().max(1);
                self.spend(more.saturating_mul(size_of::<T>()))?;
                chain.reserve_exact(more);
            }
            let (next, is_followed) = item(self)?;
            chain.push(next);
            if !is_followed {
                return Ok(chain);
            }
        }
    }

    /// Takes memory from the budget, before it is allocated.
    pub(super) fn spend(&mut self, bytes: usize) -> Result<(), Invalid> {
        self.budget = self.budget.checked_sub(bytes).ok_or(Invalid::Memory)?;
        Ok(())
    }

    pub(crate) fn bytes(&mut self, what: &'static str, max: usize) -> Result<Bytes, Invalid> {
        let length = self.length()?;
        self.slice(what, length, max).map(Bytes::copy_from_slice)
    }

    pub(super) fn string(&mut self, what: &'static str, max: usize) -> Result<String, Invalid> {
        let length = self.length()?;
        let text = self.slice(what, length, max)?;
        std::str::from_utf8(text).map(str::to_owned).or(Err(Invalid::Utf8))
    }

    /// A plain value in postcard's format, of no more memory than its bytes.
    pub(crate) fn plain<T: serde::de::DeserializeOwned>(&mut self) -> Result<T, Invalid> {
        let (value, rest) = postcard::take_from_bytes(self.rest).or(Err(Invalid::Value))?;
        let taken = self.rest.len().saturating_sub(rest.len());
        self.rest = rest;
        self.spend(taken)?;
        Ok(value)
    }

    pub(super) fn bool(&mut self) -> Result<bool, Invalid> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Invalid::Tag("bool")),
        }
    }

    pub(super) fn float(&mut self) -> Result<f64, Invalid> {
        let significant = self.count("bytes of a float", 8, 1)?;
        let given = self.raw(significant)?;
        if given.last() == Some(&0) {
            return Err(Invalid::Number);
        }
        let mut bytes = [0; 8];
        for (to, from) in bytes.iter_mut().zip(given) {
            *to = *from;
        }
        Ok(f64::from_bits(u64::from_be_bytes(bytes)))
    }

    /// Takes a replica for named, as the writer did.
    pub(crate) fn introduce(&mut self, replica: ReplicaId) {
        self.memory.introduce(replica);
    }

    /// A replica with its index. A leaf's name for itself never leaves the leaf.
    pub(crate) fn replica(&mut self) -> Result<(usize, ReplicaId), Invalid> {
        let Some(reference) = self.varint()?.checked_sub(1) else {
            let [b2, b3, b4, b5, b6, b7] = self.array()?;
            let incarnation = u16::try_from(self.varint()?).or(Err(Invalid::Number))?;
            let [b0, b1] = incarnation.to_le_bytes();
            let replica = ReplicaId::from_bits(u64::from_le_bytes([b0, b1, b2, b3, b4, b5, b6, b7]));
            if replica == ReplicaId::LEAF {
                return Err(Invalid::Leaf);
            }
            self.spend(size_of::<Named>())?;
            return Ok((self.memory.introduce(replica), replica));
        };
        let index = (self.memory.expected as u64).wrapping_add(unzigzag(reference).cast_unsigned());
        let index = usize::try_from(index).or(Err(Invalid::Replica))?;
        let replica = self.memory.replica(index).ok_or(Invalid::Replica)?;
        self.memory.refer(index);
        Ok((index, replica))
    }

    pub(super) fn number(&mut self, index: usize) -> Result<No, Invalid> {
        let no = self.difference(self.memory.number(index))?;
        self.memory.note_number(index, no);
        Ok(No(no))
    }

    pub(crate) fn dot(&mut self) -> Result<Dot, Invalid> {
        let (index, replica) = self.replica()?;
        Ok(Dot { replica, no: self.number(index)? })
    }

    pub(super) fn hlc(&mut self) -> Result<Hlc, Invalid> {
        let packed = self.varint()?;
        let ms = self.memory.hlc_ms.wrapping_add(unzigzag(packed >> 1).cast_unsigned());
        let counter = if packed & 1 == 1 { self.varint()? } else { 0 };
        if ms > u64::MAX >> 16 || counter > 0xffff || (packed & 1 == 1) != (counter > 0) {
            return Err(Invalid::Number);
        }
        self.memory.note_hlc(ms);
        Ok(Hlc::from_bits(ms << 16 | counter))
    }

    pub(crate) fn time(&mut self) -> Result<TimestampMs, Invalid> {
        self.memory.ms = self.difference(self.memory.ms.cast_unsigned())?.cast_signed();
        Ok(TimestampMs(self.memory.ms))
    }

    pub(super) fn slot(&mut self) -> Result<Slot, Invalid> {
        let number = self.difference(self.memory.slot)?;
        let slot = u16::try_from(number).ok().and_then(|number| Slot::try_from(number).ok()).ok_or(Invalid::Number)?;
        self.memory.slot = number;
        Ok(slot)
    }

    pub(super) fn no(&mut self) -> Result<No, Invalid> {
        self.memory.no = self.difference(self.memory.no)?;
        Ok(No(self.memory.no))
    }

    pub(super) fn seq(&mut self) -> Result<Seq, Invalid> {
        self.memory.seq = self.difference(self.memory.seq)?;
        Ok(Seq(self.memory.seq))
    }

    fn length(&mut self) -> Result<usize, Invalid> {
        usize::try_from(self.varint()?).or(Err(Invalid::Truncated))
    }

    /// So many bytes, of which copies are made.
    pub(super) fn slice(&mut self, what: &'static str, length: usize, max: usize) -> Result<&'a [u8], Invalid> {
        if length > max {
            return Err(Invalid::TooLong(what));
        }
        let bytes = self.raw(length)?;
        self.spend(length)?;
        Ok(bytes)
    }

    fn varint_of(&mut self, bits: u32) -> Result<u128, Invalid> {
        let mut value = 0_u128;
        for shift in (0..bits).step_by(7) {
            let byte = self.u8()?;
            let group = u128::from(byte & 0x7f);
            value |= group.checked_shl(shift).filter(|v| v.checked_shr(shift) == Some(group)).ok_or(Invalid::Number)?;
            if byte & 0x80 == 0 {
                return if byte == 0 && shift > 0 { Err(Invalid::Number) } else { Ok(value) };
            }
        }
        Err(Invalid::Number)
    }
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ (value & 1).cast_signed().wrapping_neg()
}
