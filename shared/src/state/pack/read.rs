//! Unpacking what [`super::write`] packed. In memory the bytes are our own and whole; of bytes that were stored outside the
//! caller asks afterwards whether they were. A reader at the end of its bytes reads zeros.

use super::{EPOCH_MS, REVOKED, varint};
use crate::{
    arena::{Arena, Place},
    few::Few,
    hlc::Hlc,
    id::{Dot, No, ReplicaId, Stamp, TimestampMs},
    state::{
        Amount, Base, Claims, Ctx, Cut, Deadline, Element, Entry, Intervals, Kind, Num, Part, Sum, element::ScoreTerms,
    },
};
use bytes::Bytes;

/// Reads packed values one after the other.
pub(in crate::state) struct Reader<'a> {
    arena: &'a Arena,
    bytes: &'a [u8],
    /// Whether the bytes ended too early or named what the arena does not have.
    is_damaged: bool,
    has_large: bool,
    /// A copy of what was left to read at some point, of which strings are parts.
    shared: Option<Bytes>,
}

/// An element with more bases than that is copied once, and not each of its strings by itself.
pub(super) const BASES_COPIED_MAX: usize = 8;

impl<'a> Reader<'a> {
    pub(in crate::state) fn new(arena: &'a Arena, bytes: &'a [u8]) -> Self {
        Self { arena, bytes, is_damaged: false, has_large: false, shared: None }
    }

    /// The name at the front.
    pub(in crate::state) fn name(&mut self) -> &'a [u8] {
        let length = self.count();
        self.take(length)
    }

    /// What is left to read.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.bytes
    }

    /// Whether a value that was read stands outside the bytes.
    pub(super) fn has_large(&self) -> bool {
        self.has_large
    }

    /// Whether all was read, and was what the arena's writer writes. Asked of bytes that were stored outside memory.
    pub(in crate::state) fn is_sound(&self) -> bool {
        self.bytes.is_empty() && !self.is_damaged
    }

    /// The deadline at the front, before the claims; the flags say which these are.
    pub(in crate::state) fn deadline(&mut self) -> (u8, Deadline) {
        let flags = self.byte();
        self.has_large |= flags & 4 != 0;
        let epoch = (flags & 1 != 0).then(|| self.stamp());
        let at = (flags & 2 != 0).then(|| self.timestamp());
        let mut deadline = Deadline::of(epoch, at);
        if flags & REVOKED != 0 {
            match deadline.with_revocation(self.timestamp()) {
                Some(revoked) => deadline = revoked,
                None => self.is_damaged = true,
            }
        }
        (flags, deadline)
    }

    /// The deadline and the claims.
    pub(in crate::state) fn front(&mut self) -> (Deadline, Claims) {
        let (flags, deadline) = self.deadline();
        let mut claims = Claims::default();
        for kind in Kind::ALL {
            if flags & 8 << kind as u8 != 0 {
                claims.push(kind, self.stamp());
            }
        }
        (deadline, claims)
    }

    /// The context and, unless the bytes end before it, the wipe.
    pub(super) fn contexts(&mut self) -> (Ctx, Ctx) {
        let ctx = self.context();
        let wipe = if self.bytes.is_empty() { Ctx::new() } else { self.context() };
        (ctx, wipe)
    }

    /// Whether the string names values outside the bytes; the reader stands before the front.
    pub(super) fn string_is_large(&self) -> bool {
        self.bytes.first().is_some_and(|flags| flags & 4 != 0)
    }

    /// Whether the element names values outside the bytes; the reader stands before it.
    pub(super) fn element_is_large(&self) -> bool {
        self.bytes.first().is_some_and(|mark| mark & 0x20 != 0)
    }

    /// An element of a key of this type.
    pub(in crate::state) fn element(&mut self, kind: Kind) -> Element {
        let (bases, shares, mark) = self.element_counts();
        self.has_large |= mark & 0x20 != 0;
        let mut element = Element::empty(kind);
        // Each takes some bytes, so that damage cannot ask for more than there is.
        element.base.reserve(bases.min(self.bytes.len()));
        self.shared = (bases > BASES_COPIED_MAX).then(|| Bytes::copy_from_slice(self.bytes));
        for _ in 0..bases {
            if self.is_damaged {
                break;
            }
            let (dot, base) = self.base();
            element.base.push(dot, base);
        }
        element.sum = if mark & 0x40 == 0 {
            Sum::Int(self.shares(shares, Self::integer))
        } else {
            Sum::Float(self.shares(shares, Self::float))
        };
        element
    }

    /// So many bases of a member, taken into its score. Most have one, of which only the number matters.
    pub(super) fn score_bases(&mut self, bases: usize, score: &mut ScoreTerms) {
        if bases == 1
            && let Some(only) = self.only_score()
        {
            return score.only_base(only);
        }
        for _ in 0..bases {
            let (dot, base) = self.base();
            score.base(dot, &base);
        }
    }

    /// The number of the base that stands here, if it is a score; else nothing is read.
    fn only_score(&mut self) -> Option<f64> {
        let from = self.bytes;
        let tag = self.number() & 7;
        self.number();
        if tag == 2 && self.number() & 1 != 0 {
            self.number();
        }
        let is_score = (2..=4).contains(&tag);
        let score = is_score.then(|| self.float());
        if !is_score {
            self.bytes = from;
        }
        score
    }

    pub(super) fn element_counts(&mut self) -> (usize, usize, u8) {
        let mark = self.byte();
        self.is_damaged |= mark & 0x80 != 0;
        let bases = match usize::from(mark & 3) {
            3 => self.count(),
            few => few,
        };
        let shares = match usize::from(mark >> 2 & 7) {
            7 => self.count(),
            few => few,
        };
        (bases, shares, mark)
    }

    /// Passes over so many bases, none of which is read but for the dot of the last. `None` where one is not of bytes.
    pub(super) fn skip_bytes(&mut self, bases: usize) -> Option<Dot> {
        let mut last = None;
        for _ in 0..bases {
            let (word, no) = (self.number(), self.number());
            let time = self.number();
            if time & 1 != 0 {
                self.number();
            }
            let length = self.number();
            if word & 7 != 1 || length & 1 != 0 {
                return None;
            }
            self.take(usize::try_from(length >> 1).unwrap_or(usize::MAX));
            last = Some((word, no));
        }
        let (word, no) = last?;
        let replica = self.arena.replicas.id(u32::try_from(word >> 3).ok()?)?;
        (!self.is_damaged).then_some(Dot { replica, no: No(no) })
    }

    fn base(&mut self) -> (Dot, Base) {
        let (dot, tag) = self.dot();
        let base = match tag {
            0 => Base::Member,
            1 => {
                let hlc = self.time();
                let word = self.number();
                let value = if word & 1 == 0 {
                    self.string(usize::try_from(word >> 1).unwrap_or(usize::MAX))
                } else {
                    self.arena.values.at(large_place(word))
                };
                Base::Bytes { hlc, value }
            }
            2 => Base::Abs { hlc: self.time(), score: self.float() },
            3 => Base::Max(self.float()),
            4 => Base::Min(self.float()),
            5 => Base::Until(Box::new(self.field_deadline())),
            _ => Base::Spent { amount: self.number(), until: self.timestamp() },
        };
        self.is_damaged |= tag > 6;
        (dot, base)
    }

    fn string(&mut self, length: usize) -> Bytes {
        let taken = self.take(length);
        match &self.shared {
            // What is left was the end of what was copied.
            Some(shared) => {
                let end = shared.len().saturating_sub(self.bytes.len());
                shared.slice(end.saturating_sub(taken.len())..end)
            }
            None => Bytes::copy_from_slice(taken),
        }
    }

    fn field_deadline(&mut self) -> Deadline {
        let flags = self.byte();
        self.is_damaged |= flags > 3;
        let epoch = (flags & 1 != 0).then(|| self.stamp());
        let at = (flags & 2 != 0).then(|| self.timestamp());
        Deadline::of(epoch, at)
    }

    fn shares<A: Amount>(&mut self, count: usize, amount: impl Fn(&mut Self) -> A) -> Num<A> {
        let mut num = Num::default();
        for _ in 0..count {
            if self.is_damaged {
                break;
            }
            let word = self.number();
            let replica = self.replica(word >> 2);
            // So a share takes three bytes at least, and damage cannot make many of few.
            self.is_damaged |= word & 3 == 0;
            let part = self.part(word, &amount);
            num.push(replica, part);
        }
        num
    }

    /// A share, of which `word` says what there is.
    pub(super) fn part<A>(&mut self, word: u64, amount: impl Fn(&mut Self) -> A) -> Part<A> {
        let ent = (word & 1 != 0).then(|| Entry { n: No(self.number()), o: No(self.number()), acc: amount(self) });
        let cut = (word & 2 != 0).then(|| Cut { m: No(self.number()), acc: amount(self) });
        Part { ent, cut }
    }

    fn context(&mut self) -> Ctx {
        let mut ctx = Ctx::new();
        for _ in 0..self.number() {
            if self.is_damaged {
                break;
            }
            let word = self.number();
            let replica = self.replica(word >> 1);
            let count = if word & 1 == 0 { 1 } else { self.number() };
            let mut intervals = Intervals::default();
            let mut before = 0_u64;
            for _ in 0..count {
                if self.is_damaged {
                    break;
                }
                let start = before.saturating_add(self.number());
                before = start.saturating_add(self.number());
                intervals.push(start, before);
            }
            ctx.push(replica, intervals);
        }
        ctx
    }

    pub(super) fn stamp(&mut self) -> Stamp {
        let hlc = self.time();
        Stamp { hlc, dot: self.dot().0 }
    }

    fn dot(&mut self) -> (Dot, u64) {
        let word = self.number();
        let replica = self.replica(word >> 3);
        (Dot { replica, no: No(self.number()) }, word & 7)
    }

    fn replica(&mut self, number: u64) -> ReplicaId {
        let id = u32::try_from(number).ok().and_then(|number| self.arena.replicas.id(number));
        self.is_damaged |= id.is_none();
        id.unwrap_or(ReplicaId::LEAF)
    }

    pub(super) fn time(&mut self) -> Hlc {
        let word = self.number();
        let ms = unzigzag(word >> 1).saturating_add(EPOCH_MS);
        let counter = if word & 1 == 0 { 0 } else { self.number() };
        self.is_damaged |= ms.cast_unsigned() >> 48 != 0 || counter >> 16 != 0;
        Hlc::from_bits(ms.cast_unsigned() << 16 | counter)
    }

    fn timestamp(&mut self) -> TimestampMs {
        TimestampMs(unzigzag(self.number()).wrapping_add(EPOCH_MS))
    }

    pub(super) fn integer(&mut self) -> i128 {
        let mut word = 0_u128;
        let mut shift = 0_u32;
        loop {
            let byte = self.byte();
            word |= u128::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            if byte < 0x80 {
                break;
            }
            shift = shift.saturating_add(7);
        }
        (word >> 1).cast_signed() ^ (word & 1).cast_signed().wrapping_neg()
    }

    pub(super) fn float(&mut self) -> f64 {
        let Some((chunk, rest)) = self.bytes.split_first_chunk::<8>() else {
            self.is_damaged = true;
            return 0.0;
        };
        self.bytes = rest;
        f64::from_bits(u64::from_le_bytes(*chunk))
    }

    fn count(&mut self) -> usize {
        usize::try_from(self.number()).unwrap_or(usize::MAX)
    }

    #[inline]
    pub(super) fn number(&mut self) -> u64 {
        let Some((number, rest)) = varint::read(self.bytes) else {
            self.is_damaged = true;
            self.bytes = &[];
            return 0;
        };
        self.bytes = rest;
        number
    }

    pub(super) fn byte(&mut self) -> u8 {
        let Some((byte, rest)) = self.bytes.split_first() else {
            self.is_damaged = true;
            return 0;
        };
        self.bytes = rest;
        *byte
    }

    fn take(&mut self, length: usize) -> &'a [u8] {
        let Some((taken, rest)) = self.bytes.split_at_checked(length) else {
            self.is_damaged = true;
            return std::mem::take(&mut self.bytes);
        };
        self.bytes = rest;
        taken
    }
}

/// The places of the large values that an element names; the reader stands before the element.
pub(in crate::state) fn skip_values(mut reader: Reader<'_>, kind: Kind) -> Few<Place, 2> {
    let mut places = Few::new();
    if !matches!(kind, Kind::String | Kind::Hash) {
        return places;
    }
    let (bases, _, mark) = reader.element_counts();
    if mark & 0x20 == 0 {
        return places;
    }
    for _ in 0..bases {
        let (_, tag) = reader.dot();
        match tag {
            1 => {}
            5 => {
                reader.field_deadline();
                continue;
            }
            6 => {
                reader.number();
                reader.timestamp();
                continue;
            }
            // A base of another type is never large, and its element holds none that is.
            _ => break,
        }
        reader.time();
        let word = reader.number();
        if word & 1 == 0 {
            reader.take(usize::try_from(word >> 1).unwrap_or(usize::MAX));
        } else {
            places.push(large_place(word));
        }
    }
    places
}

fn large_place(word: u64) -> Place {
    Place::from_bits(u32::try_from(word >> 1).unwrap_or(0))
}

fn unzigzag(word: u64) -> i64 {
    (word >> 1).cast_signed() ^ (word & 1).cast_signed().wrapping_neg()
}
