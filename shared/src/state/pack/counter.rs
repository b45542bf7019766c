//! An increment of a plain counter, written into its packed bytes without unpacking them.
//!
//! What an increment changes are three spots: the claim, the replica's own share, and the end of its own interval in the
//! context; where they keep their length, they are overwritten. Only the common form is read: a string that is a sum alone, in which the replica
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
        let (own, (start, end, interval)) = (self.share.0, self.interval);
        let scratch = arena.take_scratch();
        let mut writer = Writer::new(arena, scratch);
        writer.stamp(self.claim.0.max(Stamp { hlc: mint.hlc, dot: mint.dot }));
        let claim_end = writer.len();
        writer.entry(Entry { n: mint.dot.no, o: own.o, acc: own.acc.saturating_add(by) }, Writer::integer);
        let share_end = writer.len();
        writer.number(start);
        writer.number(mint.dot.no.0.max(end).saturating_sub(start));
        let spots = writer.finish();
        let spots_of = |range: Range<usize>| spots.get(range).unwrap_or_default();
        let changes = [
            (self.claim.1, spots_of(0..claim_end)),
            (self.share.1, spots_of(claim_end..share_end)),
            (interval, spots_of(share_end..spots.len())),
        ];
        let block = splice(arena, block, changes);
        arena.put_scratch(spots);
        block
    }
}

/// Puts bytes in place of others, which stand in order: where they are, if all are as long as before.
fn splice(arena: &mut Arena, block: Block, changes: [(Range<usize>, &[u8]); 3]) -> Block {
    if changes.iter().all(|(old, new)| old.len() == new.len()) {
        let bytes = arena.heap.read_mut(block);
        for (old, new) in changes {
            if let Some(old) = bytes.get_mut(old) {
                old.copy_from_slice(new);
            }
        }
        return block;
    }
    let old = arena.heap.read(block);
    let mut bytes = Vec::with_capacity(old.len().saturating_add(64));
    let mut from = 0;
    for (range, new) in changes {
        bytes.extend_from_slice(old.get(from..range.start).unwrap_or_default());
        bytes.extend_from_slice(new);
        from = range.end;
    }
    bytes.extend_from_slice(old.get(from..).unwrap_or_default());
    arena.heap.replace(block, &bytes)
}
