//! A board's members in score order, ties by member bytes, as Redis orders a sorted set.

use super::{Kind, collection::Collection, pack};
use crate::{
    arena::{Arena, Block},
    rank_tree::{Known, RankTree, Score},
};
use bytes::Bytes;
use std::ops::Range;

/// What most members' names take.
const NAME_BYTES_EXPECTED: usize = 24;

/// The order of a board's members, for a reader.
#[derive(Clone, Copy)]
pub struct Board<'a> {
    arena: &'a Arena,
    members: Option<&'a Collection>,
}

impl<'a> Board<'a> {
    pub(super) fn new(arena: &'a Arena, members: Option<&'a Collection>) -> Self {
        Self { arena, members }
    }

    fn ranks(&self) -> Option<&'a RankTree> {
        self.members.map(Collection::ranks)
    }

    /// How many members there are.
    pub fn len(&self) -> u32 {
        self.ranks().map_or(0, RankTree::len)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many members come before this one. Logarithmic.
    pub fn rank(&self, score: f64, member: &[u8]) -> u32 {
        let Some(members) = self.members else { return 0 };
        let compare = |id| pack::name(self.arena, Block::from_bits(id)).cmp(member);
        let own = || members.block(self.arena, member).map(Block::to_bits);
        members.ranks().rank(Score::new(score), &Known { compare, own })
    }

    /// A member's score, if it is there. Constant time.
    pub fn score(&self, member: &[u8]) -> Option<f64> {
        pack::load_element(self.arena, self.members?.block(self.arena, member)?, Kind::Board).score()
    }

    /// How many members have a score below this. Logarithmic.
    pub fn below(&self, score: f64) -> u32 {
        self.ranks().map_or(0, |ranks| ranks.lower_bound(Score::new(score)))
    }

    /// How many members have this score or one below. Logarithmic.
    pub fn up_to(&self, score: f64) -> u32 {
        self.ranks().map_or(0, |ranks| ranks.upper_bound(Score::new(score)))
    }

    /// The members at these ranks, the highest first if `reverse`. Their names are parts of one buffer. Logarithmic, and linear
    /// in what is taken.
    pub fn listed(&self, ranks: Range<u32>, reverse: bool) -> Vec<(Bytes, f64)> {
        let Some(tree) = self.ranks() else { return Vec::new() };
        let items = tree.range(ranks);
        let count = items.size_hint().0;
        let (mut names, mut ends) = (Vec::with_capacity(count.saturating_mul(NAME_BYTES_EXPECTED)), Vec::new());
        ends.reserve_exact(count);
        let take = |(score, id): (Score, u32)| {
            names.extend_from_slice(pack::name(self.arena, Block::from_bits(id)));
            ends.push((names.len(), score.value()));
        };
        if reverse {
            items.rev().for_each(take);
        } else {
            items.for_each(take);
        }
        let names = Bytes::from(names);
        let mut start = 0;
        let part = |(end, score)| (names.slice(std::mem::replace(&mut start, end)..end), score);
        ends.into_iter().map(part).collect()
    }

    /// The members from the rank `from` up to, not including, `until`, the lowest score first. Logarithmic, and linear in
    /// what is taken.
    pub fn range(&self, from: u32, until: u32) -> impl DoubleEndedIterator<Item = (Bytes, f64)> + 'a {
        let arena = self.arena;
        let members = self.ranks().into_iter().flat_map(move |ranks| ranks.range(from..until));
        members.map(move |(score, id)| (Bytes::copy_from_slice(pack::name(arena, Block::from_bits(id))), score.value()))
    }
}
