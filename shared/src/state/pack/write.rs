//! Packing. [`super::read`] undoes each of these.

use super::{EPOCH_MS, INLINE_BYTES_MAX, REVOKED, varint};
use crate::{
    arena::Arena,
    hlc::Hlc,
    id::{Dot, ReplicaId, Stamp, TimestampMs},
    state::{Amount, Base, Ctx, Deadline, Element, Entry, Header, Kind, Num, Sum},
};

/// Appends packed values to a buffer.
pub(in crate::state) struct Writer<'a> {
    arena: &'a mut Arena,
    bytes: Vec<u8>,
    /// From which length on values stand outside the bytes.
    inline_max: usize,
}

impl<'a> Writer<'a> {
    pub(super) fn new(arena: &'a mut Arena, bytes: Vec<u8>) -> Self {
        Self { arena, bytes, inline_max: INLINE_BYTES_MAX }
    }

    /// Every value stands within the bytes, so that they can be stored outside memory.
    pub(super) fn whole(mut self) -> Self {
        self.inline_max = usize::MAX;
        self
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.bytes
    }

    pub(super) fn name(&mut self, name: &[u8]) {
        self.number(name.len() as u64);
        self.bytes.extend_from_slice(name);
    }

    /// What is read on the way to a value: the deadline and the claims, and whether the string names values outside.
    pub(super) fn front(&mut self, header: &Header, string: &Element) {
        let deadline = &header.deadline;
        let mut flags = 0_u8;
        flags |= u8::from(deadline.epoch().is_some());
        flags |= u8::from(deadline.moved_to().is_some()) << 1;
        flags |= if deadline.revoked().is_some() { REVOKED } else { 0 };
        flags |= u8::from(string.base.iter().any(|(_, base)| self.is_large(base))) << 2;
        for (kind, _) in header.claims.iter() {
            flags |= 8 << kind as u8;
        }
        self.bytes.push(flags);
        if let Some(stamp) = deadline.epoch() {
            self.stamp(stamp);
        }
        for at in deadline.moved_to().into_iter().chain(deadline.revoked()) {
            self.timestamp(at);
        }
        for (_, stamp) in header.claims.iter() {
            self.stamp(stamp);
        }
    }

    /// A field's deadline, behind a byte of what it has.
    fn deadline(&mut self, deadline: &Deadline) {
        self.bytes.push(u8::from(deadline.epoch().is_some()) | u8::from(deadline.at().is_some()) << 1);
        if let Some(stamp) = deadline.epoch() {
            self.time(stamp.hlc);
            self.dot(stamp.dot, 0);
        }
        if let Some(at) = deadline.at() {
            self.timestamp(at);
        }
    }

    pub(super) fn contexts(&mut self, header: &Header) {
        self.context(&header.ctx);
        if !header.wipe.is_empty() {
            self.context(&header.wipe);
        }
    }

    /// An element: one byte of counts and marks, then bases, then shares.
    pub(super) fn element(&mut self, element: &Element) {
        let bases = element.base.len();
        let (shares, is_float) = match &element.sum {
            Sum::Int(num) => (num.len(), false),
            Sum::Float(num) => (num.len(), true),
        };
        let has_large = element.base.iter().any(|(_, base)| self.is_large(base));
        let mark = (bases.min(3) | shares.min(7) << 2 | usize::from(has_large) << 5 | usize::from(is_float) << 6)
            .to_le_bytes()[0];
        self.bytes.push(mark);
        if bases >= 3 {
            self.number(bases as u64);
        }
        if shares >= 7 {
            self.number(shares as u64);
        }
        for (dot, base) in element.base.iter() {
            self.base(dot, base);
        }
        match &element.sum {
            Sum::Int(num) => self.shares(num, |writer, amount| writer.integer(amount)),
            Sum::Float(num) => self.shares(num, |writer, amount| writer.float(amount)),
        }
    }

    fn is_large(&self, base: &Base) -> bool {
        matches!(base, Base::Bytes { value, .. } if value.len() > self.inline_max)
    }

    pub(super) fn base(&mut self, dot: Dot, base: &Base) {
        match base {
            Base::Member => self.dot(dot, 0),
            Base::Bytes { hlc, value } => {
                self.dot(dot, 1);
                self.time(*hlc);
                if self.is_large(base) {
                    let place = self.arena.values.insert(value.clone());
                    self.number(u64::from(place.to_bits()) << 1 | 1);
                } else {
                    self.number((value.len() as u64) << 1);
                    self.bytes.extend_from_slice(value);
                }
            }
            Base::Abs { hlc, score } => {
                self.dot(dot, 2);
                self.time(*hlc);
                self.float(*score);
            }
            Base::Max(score) => {
                self.dot(dot, 3);
                self.float(*score);
            }
            Base::Min(score) => {
                self.dot(dot, 4);
                self.float(*score);
            }
            Base::Spent { amount, until } => {
                self.dot(dot, 6);
                self.number(*amount);
                self.timestamp(*until);
            }
            Base::Until(deadline) => {
                self.dot(dot, 5);
                self.deadline(deadline);
            }
        }
    }

    fn shares<A: Amount>(&mut self, num: &Num<A>, amount: impl Fn(&mut Self, A)) {
        for (replica, part) in num.parts() {
            let marks = u64::from(part.ent.is_some()) | u64::from(part.cut.is_some()) << 1;
            self.replica(replica, marks, 2);
            if let Some(ent) = part.ent {
                self.entry(ent, &amount);
            }
            if let Some(cut) = part.cut {
                self.number(cut.m.0);
                amount(self, cut.acc);
            }
        }
    }

    /// A replica's running sum.
    fn entry<A>(&mut self, entry: Entry<A>, amount: impl Fn(&mut Self, A)) {
        self.number(entry.n.0);
        self.number(entry.o.0);
        amount(self, entry.acc);
    }

    fn context(&mut self, ctx: &Ctx) {
        self.number(ctx.replicas().count() as u64);
        for (replica, intervals) in ctx.iter() {
            let count = intervals.iter().count();
            self.replica(replica, u64::from(count != 1), 1);
            if count != 1 {
                self.number(count as u64);
            }
            let mut before = 0;
            for (start, end) in intervals.iter() {
                self.number(start.saturating_sub(before));
                self.number(end.saturating_sub(start));
                before = end;
            }
        }
    }

    fn stamp(&mut self, stamp: Stamp) {
        self.time(stamp.hlc);
        self.dot(stamp.dot, 0);
    }

    /// A dot with a tag of three bits.
    fn dot(&mut self, dot: Dot, tag: u64) {
        self.replica(dot.replica, tag, 3);
        self.number(dot.no.0);
    }

    fn replica(&mut self, replica: ReplicaId, mark: u64, bits: u32) {
        let number = u64::from(self.arena.replicas.intern(replica));
        self.number(number << bits | mark);
    }

    /// A time as its distance in milliseconds from [`EPOCH_MS`], and its counter where there is one.
    fn time(&mut self, hlc: Hlc) {
        let (ms, counter) = time_words(hlc);
        self.number(ms);
        if let Some(counter) = counter {
            self.number(counter);
        }
    }

    fn timestamp(&mut self, at: TimestampMs) {
        self.number(zigzag(at.0.wrapping_sub(EPOCH_MS)));
    }

    fn integer(&mut self, amount: i128) {
        let mut rest = (amount << 1 ^ amount >> 127).cast_unsigned();
        while rest >= 0x80 {
            self.bytes.push(0x80 | rest.to_le_bytes()[0]);
            rest >>= 7;
        }
        self.bytes.push(rest.to_le_bytes()[0]);
    }

    fn float(&mut self, amount: f64) {
        self.bytes.extend_from_slice(&amount.to_bits().to_le_bytes());
    }

    #[inline]
    fn number(&mut self, number: u64) {
        varint::write(&mut self.bytes, number);
    }
}

/// A time as numbers: its milliseconds with a mark, and its counter where there is one.
#[inline]
pub(super) fn time_words(hlc: Hlc) -> (u64, Option<u64>) {
    let ms = zigzag(hlc.time().0.saturating_sub(EPOCH_MS));
    let counter = hlc.to_bits() & 0xffff;
    (ms << 1 | u64::from(counter != 0), (counter != 0).then_some(counter))
}

pub(super) fn zigzag(number: i64) -> u64 {
    (number << 1 ^ number >> 63).cast_unsigned()
}

// The marks of an element leave bit 7 free, and a header's flags have room for four types.
const _: () = assert!(Kind::ALL.len() <= 5);
