//! An increment of a plain counter, written into its packed bytes without unpacking them.
//!
//! What an increment changes are a few spots: the claim, the replica's own share, and the end of its own interval in the
//! context; where they keep their length, they are overwritten. A replica that counts for the first time puts a share and an
//! interval in. Only the common form is read: a string that is a sum alone, and a share of the replica's own of which nothing
//! was reset. Any other form is left to the general way, which gives the same bytes.

use super::{
    Reader, varint,
    write::{time_words, zigzag},
};
use crate::{
    arena::{Arena, Block},
    hlc::Hlc,
    id::{Dot, ReplicaId, Stamp},
    state::{Kind, Mint},
};
use std::ops::Range;

/// The flags of a header that has a claim to the string and nothing else.
const FLAGS: u8 = 8 << Kind::String as u8;

/// The bits of an element's mark that count shares; a sum of integers without bases has no other.
const SHARES: u8 = 0b0001_1100;

/// More shares than that, and more replicas in a context than that, are counted in more bytes than one.
const SHARES_MAX: u8 = 6;
const REPLICAS_MAX: u64 = 0x7f;

/// A plain counter, with the spots that an increment by one replica changes.
pub(in crate::state) struct Counter {
    /// The sum over all replicas of what resets have not seen.
    pub(in crate::state) total: i128,
    /// The replica's number.
    own: u64,
    claimed: Hlc,
    claim: Range<usize>,
    /// Where the shares are counted, and how many there are.
    shares: (usize, u8),
    share: Own<Share>,
    /// Where the context's replicas are counted, and how many there are.
    replicas: (usize, u64),
    interval: Own<Interval>,
}

/// Something of the replica's own, or where it is to stand.
enum Own<T> {
    There(T),
    Behind(usize),
}

/// The replica's running sum: the number of its last operation, and the amount.
struct Share {
    number: Range<usize>,
    sum: i64,
    amount: Range<usize>,
}

/// The replica's only interval in the context.
struct Interval {
    start: u64,
    end: u64,
    length: Range<usize>,
}

impl Counter {
    /// Reads the key in `block`; `None` unless it is of the common form.
    pub(in crate::state) fn read(arena: &Arena, block: Block, replica: ReplicaId) -> Option<Self> {
        let own = u64::from(arena.replicas.number(replica)?);
        let is_later = |number: u64| {
            let other = u32::try_from(number).ok().and_then(|number| arena.replicas.id(number));
            other.is_some_and(|other| other > replica)
        };
        let mut scan = Scan::new(arena.heap.read(block));
        scan.name()?;
        if scan.byte()? != FLAGS {
            return None;
        }
        let from = scan.at();
        let mut reader = Reader::new(arena, scan.rest);
        let claimed = reader.time();
        scan.rest = reader.rest();
        scan.skip(2)?;
        let claim = from..scan.at();
        let shares_at = scan.at();
        let mark = scan.byte()?;
        let shares = mark >> 2;
        if mark & !SHARES != 0 || shares > SHARES_MAX {
            return None;
        }
        let mut total = 0_i128;
        let mut share = None;
        let mut behind = None;
        for _ in 0..shares {
            let from = scan.at();
            let word = scan.number()?;
            if word & 3 == 1 {
                let number = scan.spot(1)?;
                scan.skip(1)?;
                let amount_at = scan.at();
                let amount = scan.integer()?;
                total = total.saturating_add(amount.into());
                if word >> 2 == own {
                    share = Some(Share { number, sum: amount, amount: amount_at..scan.at() });
                    continue;
                }
            } else {
                let mut reader = Reader::new(arena, scan.rest);
                total = total.saturating_add(reader.part(word, Reader::integer).visible());
                scan.rest = reader.rest();
            }
            if word >> 2 == own {
                return None;
            }
            behind = behind.or_else(|| is_later(word >> 2).then_some(from));
        }
        let share = share.map_or_else(|| Own::Behind(behind.unwrap_or_else(|| scan.at())), Own::There);
        let replicas_at = scan.at();
        let replicas = scan.number()?;
        let mut interval = None;
        let mut behind = None;
        for _ in 0..replicas {
            let from = scan.at();
            let word = scan.number()?;
            let count = if word & 1 == 0 { 1 } else { scan.number()? };
            if word >> 1 != own {
                scan.skip(count.checked_mul(2)?)?;
                behind = behind.or_else(|| is_later(word >> 1).then_some(from));
                continue;
            }
            if count != 1 {
                return None;
            }
            let start = scan.number()?;
            let length_at = scan.at();
            let end = start.checked_add(scan.number()?)?;
            interval = Some(Interval { start, end, length: length_at..scan.at() });
        }
        let interval = interval.map_or_else(|| Own::Behind(behind.unwrap_or_else(|| scan.at())), Own::There);
        let can_grow = shares < SHARES_MAX && replicas.saturating_add(1) < REPLICAS_MAX;
        let is_whole = matches!((&share, &interval), (Own::There(_), Own::There(_)));
        (is_whole || can_grow).then_some(Self {
            total,
            own,
            claimed,
            claim,
            shares: (shares_at, shares),
            share,
            replicas: (replicas_at, replicas),
            interval,
        })
    }

    /// The replica's own sum.
    pub(in crate::state) fn own_sum(&self) -> i64 {
        if let Own::There(share) = &self.share { share.sum } else { 0 }
    }

    /// Makes the replica's own sum `sum`; returns where the key is then.
    pub(in crate::state) fn put(self, arena: &mut Arena, block: Block, sum: i64, mint: Mint) -> Block {
        if self.overwrite(arena, block, sum, mint) {
            return block;
        }
        let Mint { dot: Dot { no, .. }, hlc } = mint;
        let mut fresh = Fresh::new();
        let mut changes: [Change; 6] = Default::default();
        let [claim, shares, number, amount, replicas, interval] = &mut changes;
        if self.claimed < hlc || self.is_claimed_before(arena, block, mint) {
            let (ms, counter) = time_words(hlc);
            let words = [ms, counter.unwrap_or_default(), self.own << 3, no.0];
            let words = words.into_iter().enumerate().filter(|(at, _)| *at != 1 || counter.is_some());
            *claim = Change(self.claim, fresh.numbers(words.map(|(_, word)| word)));
        }
        let wide = zigzag(sum);
        match self.share {
            Own::There(share) => {
                *number = Change(share.number, fresh.numbers([no.0]));
                *amount = Change(share.amount, fresh.numbers([wide]));
            }
            Own::Behind(at) => {
                let (shares_at, count) = self.shares;
                let mark = u64::from(count.saturating_add(1) << 2);
                *shares = Change(shares_at..shares_at.saturating_add(1), fresh.numbers([mark]));
                *amount = Change(at..at, fresh.numbers([self.own << 2 | 1, no.0, 0, wide]));
            }
        }
        match self.interval {
            Own::There(own) => {
                *interval = Change(own.length, fresh.numbers([no.0.max(own.end).saturating_sub(own.start)]));
            }
            Own::Behind(at) => {
                let (replicas_at, count) = self.replicas;
                *replicas =
                    Change(replicas_at..replicas_at.saturating_add(1), fresh.numbers([count.saturating_add(1)]));
                *interval = Change(at..at, fresh.numbers([self.own << 1, no.0.saturating_sub(1), 1]));
            }
        }
        splice(arena, block, &changes, &fresh)
    }

    /// Does it in place, where all that changes is there and stays as long as it was; returns whether it did.
    fn overwrite(&self, arena: &mut Arena, block: Block, sum: i64, mint: Mint) -> bool {
        let (Own::There(share), Own::There(interval)) = (&self.share, &self.interval) else { return false };
        let no = mint.dot.no.0;
        let (ms, counter) = time_words(mint.hlc);
        let length = no.max(interval.end).saturating_sub(interval.start);
        let short = |number| varint::short(number);
        let (Some(ms), Some(counter), Some(replica), Some(no), Some(amount), Some(length)) = (
            short(ms),
            counter.map_or(Some(varint::Short::NOTHING), short),
            short(self.own << 3),
            short(no),
            short(zigzag(sum)),
            short(length),
        ) else {
            return false;
        };
        let claim = [ms, counter, replica, no];
        let claim_length = claim.iter().fold(0, |sum: usize, part| sum.wrapping_add(part.length));
        let is_as_long = claim_length == self.claim.len()
            && no.length == share.number.len()
            && amount.length == share.amount.len()
            && length.length == interval.length.len();
        if !is_as_long || self.claimed >= mint.hlc {
            return false;
        }
        let bytes = arena.heap.read_mut(block);
        let mut at = self.claim.start;
        for part in claim {
            part.overwrite(bytes, at);
            at = at.wrapping_add(part.length);
        }
        no.overwrite(bytes, share.number.start);
        amount.overwrite(bytes, share.amount.start);
        length.overwrite(bytes, interval.length.start);
        true
    }

    /// Whether a claim of the same time comes before `mint`.
    fn is_claimed_before(&self, arena: &Arena, block: Block, mint: Mint) -> bool {
        let claim = arena.heap.read(block).get(self.claim.clone()).unwrap_or_default();
        Reader::new(arena, claim).stamp() < Stamp { hlc: mint.hlc, dot: mint.dot }
    }
}

/// Bytes of a block, and which of the fresh ones come in their place; nothing in place of nothing where nothing changes.
#[derive(Default)]
struct Change(Range<usize>, Range<usize>);

/// Puts fresh bytes in place of others, which stand in order.
fn splice(arena: &mut Arena, block: Block, changes: &[Change], fresh: &Fresh) -> Block {
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

/// Fresh numbers one after the other. An increment has twelve at most, of ten bytes at most each; the array has room for the
/// eight bytes at a time that are written.
struct Fresh {
    bytes: [u8; 128],
    length: usize,
}

impl Fresh {
    fn new() -> Self {
        Self { bytes: [0; 128], length: 0 }
    }

    /// Appends numbers; returns where they stand.
    #[inline]
    fn numbers(&mut self, numbers: impl IntoIterator<Item = u64>) -> Range<usize> {
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
struct Scan<'a> {
    length: usize,
    rest: &'a [u8],
}

impl<'a> Scan<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { length: bytes.len(), rest: bytes }
    }

    #[inline]
    fn at(&self) -> usize {
        self.length.wrapping_sub(self.rest.len())
    }

    fn name(&mut self) -> Option<()> {
        let length = usize::try_from(self.number()?).ok()?;
        self.rest = self.rest.get(length..)?;
        Some(())
    }

    #[inline]
    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*byte)
    }

    #[inline]
    fn number(&mut self) -> Option<u64> {
        let (number, rest) = varint::read(self.rest)?;
        self.rest = rest;
        Some(number)
    }

    /// An amount that takes no more than 56 bits; larger ones are left to the general way.
    #[inline]
    fn integer(&mut self) -> Option<i64> {
        let (word, rest) = varint::read(self.rest)?;
        let is_short = self.rest.len().wrapping_sub(rest.len()) <= 8;
        self.rest = rest;
        is_short.then_some((word >> 1).cast_signed() ^ (word & 1).cast_signed().wrapping_neg())
    }

    #[inline]
    fn skip(&mut self, numbers: u64) -> Option<()> {
        for _ in 0..numbers {
            self.rest = varint::skip(self.rest)?;
        }
        Some(())
    }

    /// Where the next numbers stand, which are passed by.
    #[inline]
    fn spot(&mut self, numbers: u64) -> Option<Range<usize>> {
        let from = self.at();
        self.skip(numbers)?;
        Some(from..self.at())
    }
}
