//! An increment of a plain counter, written into its packed bytes without unpacking them.
//!
//! What an increment changes are a few spots: its [`Trace`] in the header, and the replica's own share; where they keep
//! their length, they are overwritten. A replica that counts for the first time puts a share and an interval in. Only the
//! common form is read: a string that is a sum alone, and a share of the replica's own of which nothing was reset. Any
//! other form is left to the general way, which gives the same bytes.

use super::{
    Reader,
    patch::{Change, Fresh, Own, Scan, splice},
    trace::{Claim, Known, Trace, is_later},
    varint,
    write::zigzag,
};
use crate::{
    arena::{Arena, Block},
    id::ReplicaId,
    state::{Kind, Mint},
};
use std::ops::Range;

/// The bits of an element's mark that count shares; a sum of integers without bases has no other.
const SHARES: u8 = 0b0001_1100;

/// More shares than that are counted in more bytes than one.
pub(super) const SHARES_MAX: u8 = 6;

/// A plain counter, with the spots that an increment by one replica changes.
pub(in crate::state) struct Counter {
    /// The sum over all replicas of what resets have not seen.
    pub(in crate::state) total: i128,
    /// The replica's number.
    own: u64,
    /// Where the shares are counted, and how many there are.
    shares: (usize, u8),
    share: Own<Share>,
    trace: Trace,
}

/// The replica's running sum: the number of its last operation, and the amount.
struct Share {
    number: Range<usize>,
    sum: i64,
    amount: Range<usize>,
}

impl Counter {
    /// Reads the key in `block`; `None` unless it is of the common form.
    pub(in crate::state) fn read(arena: &Arena, block: Block, replica: ReplicaId) -> Option<Self> {
        let own = u64::from(arena.replicas.number(replica)?);
        let mut scan = Scan::new(arena.heap.read(block));
        scan.name()?;
        let claim = Claim::read(arena, &mut scan, Kind::String)?;
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
            behind = behind.or_else(|| is_later(arena, word >> 2, replica).then_some(from));
        }
        let share = share.map_or_else(|| Own::Behind(behind.unwrap_or_else(|| scan.at())), Own::There);
        let known = Known::read(arena, &mut scan, own, replica)?;
        let can_grow = shares < SHARES_MAX || matches!(share, Own::There(_));
        let trace = Trace::new(own, claim, known);
        can_grow.then_some(Self { total, own, shares: (shares_at, shares), share, trace })
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
        let no = mint.dot.no;
        let mut fresh = Fresh::new();
        let wide = zigzag(sum);
        let [shares, number, amount] = match self.share {
            Own::There(share) => {
                let number = Change(share.number, fresh.numbers([no.0]));
                [Change::default(), number, Change(share.amount, fresh.numbers([wide]))]
            }
            Own::Behind(at) => {
                let (shares_at, count) = self.shares;
                let mark = fresh.numbers([u64::from(count.saturating_add(1) << 2)]);
                let share = fresh.numbers([self.own << 2 | 1, no.0, 0, wide]);
                [Change(shares_at..shares_at.saturating_add(1), mark), Change::default(), Change(at..at, share)]
            }
        };
        let [claim, replicas, interval] = self.trace.changes(arena, block, mint, &mut fresh);
        splice(arena, block, &[claim, shares, number, amount, replicas, interval], &fresh)
    }

    /// Does it in place, where all that changes is there and stays as long as it was; returns whether it did.
    fn overwrite(&self, arena: &mut Arena, block: Block, sum: i64, mint: Mint) -> bool {
        let Own::There(share) = &self.share else { return false };
        let (Some(no), Some(amount)) = (varint::short(mint.dot.no.0), varint::short(zigzag(sum))) else {
            return false;
        };
        let is_as_long = no.length == share.number.len() && amount.length == share.amount.len();
        let Some(overwriting) = self.trace.overwriting(mint).filter(|_| is_as_long) else { return false };
        let bytes = arena.heap.read_mut(block);
        overwriting.overwrite(bytes);
        no.overwrite(bytes, share.number.start);
        amount.overwrite(bytes, share.amount.start);
        true
    }
}
