//! Writes a body: numbers as varints, what repeats as a difference to what came before.
//!
//! A body names each replica once, where it first occurs; later references are indexes relative to the one before. The
//! writer remembers per replica the number and the interval that it wrote last, and the last time, since the next ones are
//! mostly near. [`Reader`](super::reader::Reader) keeps exactly the same memory.

use super::{Invalid, memory::Memory};
use crate::id::{Dot, No, ReplicaId, Seq, TimestampMs};
use crate::{hlc::Hlc, ordered::OrderedMap, slot::Slot};

/// A body being written.
#[derive(Default)]
pub struct Writer {
    bytes: Vec<u8>,
    indexes: OrderedMap<ReplicaId, usize>,
    pub(super) memory: Memory,
    refused: Option<Invalid>,
}

impl Writer {
    /// Writes after these bytes.
    pub(crate) fn after(bytes: Vec<u8>) -> Self {
        Self { bytes, ..Self::default() }
    }

    /// All that was written, unless something has no encoding.
    pub(crate) fn finish(self) -> Result<Vec<u8>, Invalid> {
        match self.refused {
            Some(invalid) => Err(invalid),
            None => Ok(self.bytes),
        }
    }

    /// Notes that a value has no encoding, since it breaks a rule.
    pub(super) fn refuse(&mut self, invalid: Invalid) {
        self.refused.get_or_insert(invalid);
    }

    pub(crate) fn u8(&mut self, byte: u8) {
        self.bytes.push(byte);
    }

    pub(super) fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// A number in groups of seven bits, the least significant first.
    pub(crate) fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes.push(low_byte(value.into()) | 0x80);
            value >>= 7;
        }
        self.bytes.push(low_byte(value.into()));
    }

    /// As [`Writer::varint`], for 128 bits.
    pub(super) fn wide_varint(&mut self, mut value: u128) {
        while value >= 0x80 {
            self.bytes.push(low_byte(value) | 0x80);
            value >>= 7;
        }
        self.bytes.push(low_byte(value));
    }

    /// A signed number whose magnitude decides its length.
    pub(super) fn zigzag(&mut self, value: i64) {
        self.varint(((value << 1) ^ (value >> 63)).cast_unsigned());
    }

    /// As [`Writer::zigzag`], for 128 bits.
    pub(super) fn wide_zigzag(&mut self, value: i128) {
        self.wide_varint(((value << 1) ^ (value >> 127)).cast_unsigned());
    }

    /// A number by its difference to the one before, modulo 2^64.
    pub(super) fn difference(&mut self, from: u64, to: u64) {
        self.zigzag(to.wrapping_sub(from).cast_signed());
    }

    pub(crate) fn count(&mut self, count: usize) {
        self.varint(count as u64);
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.count(bytes.len());
        self.raw(bytes);
    }

    /// A plain value in postcard's format.
    pub(crate) fn plain<T: serde::Serialize>(&mut self, value: &T) {
        match postcard::to_extend(value, std::mem::take(&mut self.bytes)) {
            Ok(bytes) => self.bytes = bytes,
            Err(_) => self.refuse(Invalid::Value),
        }
    }

    /// A float as the count of its significant bytes and these, the most significant first: short for short binary
    /// fractions and integers, which scores mostly are.
    pub(super) fn float(&mut self, value: f64) {
        let bytes = value.to_bits().to_be_bytes();
        let significant = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last.saturating_add(1));
        self.count(significant);
        self.raw(bytes.get(..significant).unwrap_or_default());
    }

    /// A replica: 0 and its name where it is new, else its index relative to the one after the last.
    pub(crate) fn replica(&mut self, replica: ReplicaId) -> usize {
        if let Some(index) = self.indexes.get(&replica).copied() {
            let ahead = (index as i64).wrapping_sub(self.memory.expected as i64);
            self.varint(((ahead << 1) ^ (ahead >> 63)).cast_unsigned().saturating_add(1));
            self.memory.refer(index);
            return index;
        }
        let [incarnation @ .., _, _, _, _, _, _] = replica.to_bits().to_le_bytes();
        let [_, _, site @ ..] = replica.to_bits().to_le_bytes();
        self.u8(0);
        self.raw(&site);
        self.varint(u16::from_le_bytes(incarnation).into());
        self.introduce(replica)
    }

    /// Takes a replica for named: its index.
    pub(crate) fn introduce(&mut self, replica: ReplicaId) -> usize {
        let index = self.memory.introduce(replica);
        self.indexes.insert(replica, index);
        index
    }

    /// A replica's number, relative to the one that was written last of it.
    pub(super) fn number(&mut self, index: usize, no: No) {
        self.difference(self.memory.number(index), no.0);
        self.memory.note_number(index, no.0);
    }

    pub(crate) fn dot(&mut self, dot: Dot) {
        let index = self.replica(dot.replica);
        self.number(index, dot.no);
    }

    /// Milliseconds relative to the stamp before, and the counter where there is one.
    pub(super) fn hlc(&mut self, hlc: Hlc) {
        let (ms, counter) = (hlc.to_bits() >> 16, hlc.to_bits() & 0xffff);
        let ahead = ms.wrapping_sub(self.memory.hlc_ms).cast_signed();
        let zigzag = ((ahead << 1) ^ (ahead >> 63)).cast_unsigned();
        self.varint(zigzag << 1 | u64::from(counter > 0));
        if counter > 0 {
            self.varint(counter);
        }
        self.memory.note_hlc(ms);
    }

    pub(crate) fn time(&mut self, time: TimestampMs) {
        self.difference(self.memory.ms.cast_unsigned(), time.0.cast_unsigned());
        self.memory.ms = time.0;
    }

    pub(super) fn slot(&mut self, slot: Slot) {
        self.difference(self.memory.slot, u64::from(slot.get()));
        self.memory.slot = slot.get().into();
    }

    /// A number outside any dot.
    pub(super) fn no(&mut self, no: No) {
        self.difference(self.memory.no, no.0);
        self.memory.no = no.0;
    }

    pub(super) fn seq(&mut self, seq: Seq) {
        self.difference(self.memory.seq, seq.0);
        self.memory.seq = seq.0;
    }
}

fn low_byte(value: u128) -> u8 {
    let [low, ..] = value.to_le_bytes();
    low & 0x7f
}
