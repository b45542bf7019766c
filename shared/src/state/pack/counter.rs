//! An increment of a plain counter, written into its packed bytes without unpacking them.
//!
//! What an increment changes are three spots: the claim, the replica's own share, and the end of its own interval in the
//! context. Everything between is copied. Only the common form is read: a string that is a sum alone, in which the replica
//! counted before and nothing of its share was reset. Any other form is left to the general way, which gives the same bytes.

use super::{Reader, Writer};
use crate::{
    arena::{Arena, Block},
    id::{ReplicaId, Stamp},
    state::{Entry, Kind, Mint},
};
use std::ops::Range;

/// The flags of a header that has a claim to the string and nothing else.
const FLAGS: u8 = 8 << Kind::String as u8;

/// A plain counter, with the spots that an increment by one replica changes.
pub(in crate::state) struct Counter {
    /// The sum over all replicas of what resets have not seen.
    pub(in crate::state) total: i128,
    claim: (Stamp, Range<usize>),
    share: (Entry<i128>, Range<usize>),
    /// The start and the end of the replica's only interval in the context.
    interval: (u64, u64, Range<usize>),
}

impl Counter {
    /// Reads the key in `block`; `None` unless it is of the common form.
    pub(in crate::state) fn read(arena: &Arena, block: Block, own: ReplicaId) -> Option<Self> {
        let bytes = arena.heap.read(block);
        let own = u64::from(arena.replicas.number(own)?);
        let mut reader = Reader::new(arena, bytes);
        let at = |reader: &Reader<'_>| bytes.len().saturating_sub(reader.rest().len());
        reader.name();
        if reader.byte() != FLAGS {
            return None;
        }
        let from = at(&reader);
        let claim = (reader.stamp(), from..at(&reader));
        let (bases, shares, mark) = reader.element_counts();
        if bases != 0 || mark & 0x60 != 0 {
            return None;
        }
        let mut total = 0_i128;
        let mut share = None;
        for _ in 0..shares {
            let word = reader.number();
            let from = at(&reader);
            let part = reader.part(word, Reader::integer);
            if word >> 2 == own {
                share = Some((part.ent.filter(|_| part.cut.is_none())?, from..at(&reader)));
            }
            total = total.saturating_add(part.visible());
        }
        let share = share?;
        let mut interval = None;
        for _ in 0..reader.number() {
            let word = reader.number();
            let count = if word & 1 == 0 { 1 } else { reader.number() };
            let from = at(&reader);
            let mut before = 0_u64;
            for _ in 0..count {
                let start = before.saturating_add(reader.number());
                before = start.saturating_add(reader.number());
                if word >> 1 == own {
                    interval = (count == 1).then(|| (start, before, from..at(&reader)));
                }
            }
        }
        Some(Self { total, claim, share, interval: interval? })
    }

    /// Adds to the replica's own share; returns where the key is then.
    pub(in crate::state) fn add(self, arena: &mut Arena, block: Block, by: i128, mint: Mint) -> Block {
        let stamp = self.claim.0.max(Stamp { hlc: mint.hlc, dot: mint.dot });
        let (entry, (start, end, interval)) = (self.share.0, self.interval);
        let entry = Entry { n: mint.dot.no, o: entry.o, acc: entry.acc.saturating_add(by) };
        let scratch = arena.take_scratch();
        let mut writer = Writer::new(arena, scratch);
        writer.copy(block, 0..self.claim.1.start);
        writer.stamp(stamp);
        writer.copy(block, self.claim.1.end..self.share.1.start);
        writer.entry(entry, Writer::integer);
        writer.copy(block, self.share.1.end..interval.start);
        writer.number(start);
        writer.number(mint.dot.no.0.max(end).saturating_sub(start));
        writer.copy(block, interval.end..usize::MAX);
        let bytes = writer.finish();
        let block = arena.heap.replace(block, &bytes);
        arena.put_scratch(bytes);
        block
    }
}
