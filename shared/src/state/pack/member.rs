//! An increment of a board's member, written into its packed bytes without unpacking them: the replica's own share is
//! overwritten where it keeps its length, and else put in. A share of which something was reset is left to the general way,
//! which gives the same bytes.

use super::{
    Reader,
    counter::SHARES_MAX,
    patch::{Own, Scan},
    trace::is_later,
    varint,
};
use crate::{
    arena::{Arena, Block},
    id::{No, ReplicaId},
    state::element::ScoreTerms,
};
use std::ops::Range;

/// The bits of a member's mark: how many bases and shares there are, and that the latter are floats.
const BASES: u8 = 0b11;
const FLOAT: u8 = 0x40;
const MARKS: u8 = BASES | 7 << 2 | FLOAT;

/// A member, with the spots that an increment by one replica changes.
pub(in crate::state) struct Member {
    /// The score before; `None` if the member is not there.
    pub(in crate::state) before: Option<f64>,
    /// The score after, as it is read then.
    pub(in crate::state) after: f64,
    /// The replica's number, and its own sum after.
    own: u64,
    sum: f64,
    mark: (usize, u8),
    share: Own<Share>,
}

/// Where the number of the replica's last operation stands, and the amount.
struct Share {
    number: Range<usize>,
    amount: usize,
}

impl Member {
    /// Reads the member in `block` before it is incremented; `None` unless it is of the common form and all stays finite.
    pub(in crate::state) fn read(arena: &Arena, block: Block, replica: ReplicaId, by: f64) -> Option<Self> {
        let own = u64::from(arena.replicas.number(replica)?);
        let mut scan = Scan::new(arena.heap.read(block));
        scan.name()?;
        let mark_at = scan.at();
        let mark = scan.byte()?;
        let (bases, shares) = (mark & BASES, mark >> 2 & 7);
        if mark & !MARKS != 0 || mark & FLOAT == 0 || bases == BASES || shares > SHARES_MAX {
            return None;
        }
        let mut before = ScoreTerms::default();
        let mut reader = Reader::new(arena, scan.rest);
        reader.score_bases(bases.into(), &mut before);
        scan.rest = reader.rest();
        let mut after = before.clone();
        let (mut share, mut behind) = (None, None);
        for _ in 0..shares {
            let from = scan.at();
            let word = scan.number()?;
            if word >> 2 == own {
                if word & 3 != 1 {
                    return None;
                }
                let number = scan.spot(1)?;
                scan.skip(1)?;
                let amount = scan.at();
                let sum = scan.float()?;
                before.amount(sum);
                after.amount(sum + by);
                share = Some((Share { number, amount }, sum + by));
                continue;
            }
            if share.is_none() && behind.is_none() && is_later(arena, word >> 2, replica) {
                behind = Some(from);
                after.amount(by);
            }
            let mut reader = Reader::new(arena, scan.rest);
            let part = reader.part(word, Reader::float);
            scan.rest = reader.rest();
            if part.ent.is_some_and(|ent| !(ent.acc + by).is_finite()) {
                return None;
            }
            before.share(&part);
            after.share(&part);
        }
        let (share, sum) = match share {
            Some((share, sum)) => (Own::There(share), sum),
            None => {
                let at = behind.unwrap_or_else(|| {
                    after.amount(by);
                    scan.at()
                });
                (Own::Behind(at), by)
            }
        };
        let can_grow = shares < SHARES_MAX || matches!(share, Own::There(_));
        let (before, after) = (before.total(), after.total()?);
        let is_finite = before.is_none_or(f64::is_finite) && after.is_finite() && sum.is_finite();
        (can_grow && is_finite).then_some(Self { before, after, own, sum, mark: (mark_at, mark), share })
    }

    /// Writes the increment down as the replica's operation `no`. If the member moves, the block left behind still bears
    /// its name, and is the caller's to remove.
    pub(in crate::state) fn put(self, arena: &mut Arena, block: Block, no: No) -> Block {
        let sum = self.sum.to_bits().to_le_bytes();
        if let (Own::There(share), Some(number)) = (&self.share, varint::short(no.0))
            && number.length == share.number.len()
        {
            let bytes = arena.heap.read_mut(block);
            number.overwrite(bytes, share.number.start);
            if let Some(place) = bytes.get_mut(share.amount..).and_then(|rest| rest.first_chunk_mut()) {
                *place = sum;
            }
            return block;
        }
        let mut bytes = arena.take_scratch();
        let old = arena.heap.read(block);
        let (mark_at, mark) = self.mark;
        let part = |range: Range<usize>| old.get(range).unwrap_or_default();
        let rest = match self.share {
            Own::There(share) => {
                bytes.extend_from_slice(part(0..share.number.start));
                varint::write(&mut bytes, no.0);
                bytes.extend_from_slice(part(share.number.end..share.amount));
                share.amount.saturating_add(sum.len())
            }
            Own::Behind(at) => {
                bytes.extend_from_slice(part(0..mark_at));
                bytes.push(mark.wrapping_add(1 << 2));
                bytes.extend_from_slice(part(mark_at.saturating_add(1)..at));
                [self.own << 2 | 1, no.0, 0].into_iter().for_each(|number| varint::write(&mut bytes, number));
                at
            }
        };
        bytes.extend_from_slice(&sum);
        bytes.extend_from_slice(part(rest..old.len()));
        let block = if arena.heap.rewrite(block, &bytes) { block } else { arena.heap.insert(&bytes) };
        arena.put_scratch(bytes);
        block
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        hlc::Hlc,
        id::{Dot, No, ReplicaId, TimestampMs},
        state::{Effect, ElementId, KeyView, Mint, NewBase, PackedKey, Space},
    };
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn an_increment_in_place_leaves_the_bytes_of_the_general_way(
            steps in proptest::collection::vec((0_u64..8, 0_u8..6, -40_i32..40, 1_u64..100, 0_i64..3), 1..30),
        ) {
            let mut space = Space::default();
            let mut key = PackedKey::named(&mut space, b"board");
            let member = ElementId::Ranked("member".into());
            let (mut no, mut now, mut in_place) = (0, TimestampMs(1_700_000_000_000), 0);
            for (replica, action, by, numbers, later_ms) in steps {
                no += numbers;
                now = now.plus_ms(later_ms);
                let replica = ReplicaId::from_bits(replica << 20 | 1);
                let mint = Mint { dot: Dot { replica, no: No(no) }, hlc: Hlc::at(now) };
                let by = f64::from(by) / 8.0;
                let (mut general_space, mut general) = (space.clone(), key);
                let mut open = general.open(&mut general_space);
                if action == 0 {
                    let (seen, cuts) = KeyView::new(&space, key).seen(&member);
                    let base = Some(NewBase::Abs(by));
                    let _ = open.apply(&Effect::Write { element: member.clone(), base, seen, cuts }, mint);
                    open.close();
                } else {
                    let expected = open.add_to_member(&member, by, || mint).map(|(score, _)| score);
                    open.close();
                    let hash = space.hash(member.name_bytes());
                    let name = (member.name_bytes(), hash);
                    if let Some((score, _)) = key.add_to_member(&mut space, replica, name, by, || mint) {
                        in_place += 1;
                        prop_assert_eq!(Some(score), expected);
                        let row = |key: PackedKey, space: &mut Space| {
                            let row = key.append_row(space, Vec::new());
                            key.append_element_row(space, &member, hash, row)
                        };
                        prop_assert_eq!(row(key, &mut space), row(general, &mut general_space));
                        let ranked = |key, space| KeyView::new(space, key).board().listed(0..2, false);
                        prop_assert_eq!(ranked(key, &space), ranked(general, &general_space));
                        continue;
                    }
                }
                (space, key) = (general_space, general);
            }
            prop_assume!(in_place > 0);
        }
    }
}
