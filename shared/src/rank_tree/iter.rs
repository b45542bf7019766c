//! A stretch of the order, read from either end.
//!
//! Each end has the rest of a leaf at hand. The next leaf is mostly a neighbour under the same branch; at the branch's end
//! it is looked up by rank from the root, which spares leaves the links to each other.

use super::{RankTree, Score, branch::Branch, leaf::Item};
use std::{iter::FusedIterator, ops::Range, slice};

/// Iterator over the items of a range of ranks, lowest first. See [`RankTree::range`].
#[derive(Clone, Debug)]
pub struct Iter<'a> {
    tree: &'a RankTree,
    front: slice::Iter<'a, Item>,
    front_spot: Option<Spot<'a>>,
    /// The ranks whose leaves neither end has looked up yet.
    between: Range<u32>,
    back: slice::Iter<'a, Item>,
    back_spot: Option<Spot<'a>>,
}

/// A position in a leaf, and where that leaf is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spot<'a> {
    /// The branch above, and the leaf's position there; none above a lone leaf.
    pub(super) parent: Option<(&'a Branch, usize)>,
    pub(super) items: &'a [Item],
    pub(super) at: usize,
}

impl<'a> Spot<'a> {
    /// The first item of the next leaf of the branch.
    fn following(self) -> Option<Self> {
        let (branch, child) = self.parent?;
        let items = branch.leaf(child + 1)?.items();
        Some(Self { parent: Some((branch, child + 1)), items, at: 0 })
    }

    /// The last item of the previous leaf of the branch.
    fn preceding(self) -> Option<Self> {
        let (branch, child) = self.parent?;
        let child = child.checked_sub(1)?;
        let items = branch.leaf(child)?.items();
        Some(Self { parent: Some((branch, child)), items, at: items.len().checked_sub(1)? })
    }
}

impl<'a> Iter<'a> {
    /// `ranks` lies within the tree.
    pub(super) fn new(tree: &'a RankTree, ranks: Range<u32>) -> Self {
        Self { tree, front: [].iter(), front_spot: None, between: ranks, back: [].iter(), back_spot: None }
    }

    fn refill_front(&mut self) {
        let spot = self.front_spot.and_then(Spot::following);
        let spot = spot.unwrap_or_else(|| self.tree.spot(self.between.start));
        let items = spot.items.get(spot.at..).unwrap_or_default();
        self.front = items.get(..self.between.len()).unwrap_or(items).iter();
        self.between.start += self.front.len() as u32;
        self.front_spot = Some(spot);
    }

    fn refill_back(&mut self) {
        let spot = self.back_spot.and_then(Spot::preceding);
        let spot = spot.unwrap_or_else(|| self.tree.spot(self.between.end - 1));
        let items = spot.items.get(..=spot.at).unwrap_or_default();
        let spare = items.len().saturating_sub(self.between.len());
        self.back = items.get(spare..).unwrap_or_default().iter();
        self.between.end -= self.back.len() as u32;
        self.back_spot = Some(spot);
    }
}

fn pair(item: &Item) -> (Score, u32) {
    (item.score(), item.id())
}

impl Iterator for Iter<'_> {
    type Item = (Score, u32);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.front.as_slice().is_empty() {
            if self.between.is_empty() {
                return self.back.next().map(pair);
            }
            self.refill_front();
        }
        self.front.next().map(pair)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let len = self.front.len() + self.between.len() + self.back.len();
        (len, Some(len))
    }

    fn fold<B, F: FnMut(B, Self::Item) -> B>(mut self, start: B, mut f: F) -> B {
        let mut total = start;
        loop {
            total = self.front.as_slice().iter().map(pair).fold(total, &mut f);
            if self.between.is_empty() {
                return self.back.map(pair).fold(total, f);
            }
            self.refill_front();
        }
    }
}

impl DoubleEndedIterator for Iter<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        if self.back.as_slice().is_empty() {
            if self.between.is_empty() {
                return self.front.next_back().map(pair);
            }
            self.refill_back();
        }
        self.back.next_back().map(pair)
    }

    fn rfold<B, F: FnMut(B, Self::Item) -> B>(mut self, start: B, mut f: F) -> B {
        let mut total = start;
        loop {
            total = self.back.as_slice().iter().map(pair).rfold(total, &mut f);
            if self.between.is_empty() {
                return self.front.map(pair).rfold(total, f);
            }
            self.refill_back();
        }
    }
}

impl ExactSizeIterator for Iter<'_> {}

impl FusedIterator for Iter<'_> {}
