//! A stretch of the order, read from either end.
//!
//! Each end has the slice of a leaf at hand; when it is used up, the next leaf is looked up by rank from the root. That
//! costs a descent per leaf and spares leaves the links to their neighbours.

use super::{RankTree, Score, leaf::Item};
use std::{iter::FusedIterator, ops::Range, slice};

/// Iterator over the items of a range of ranks, lowest first. See [`RankTree::range`].
#[derive(Clone, Debug)]
pub struct Iter<'a> {
    tree: &'a RankTree,
    front: slice::Iter<'a, Item>,
    /// The ranks whose leaves neither end has looked up yet.
    between: Range<u32>,
    back: slice::Iter<'a, Item>,
}

impl<'a> Iter<'a> {
    /// `ranks` lies within the tree.
    pub(super) fn new(tree: &'a RankTree, ranks: Range<u32>) -> Self {
        Self { tree, front: [].iter(), between: ranks, back: [].iter() }
    }

    #[cold]
    fn refill_front(&mut self) {
        let (items, at) = self.tree.leaf_of(self.between.start);
        let wanted = self.between.len();
        let items = items.get(at..).unwrap_or_default();
        self.front = items.get(..wanted).unwrap_or(items).iter();
        self.between.start += self.front.len() as u32;
    }

    #[cold]
    fn refill_back(&mut self) {
        let (items, at) = self.tree.leaf_of(self.between.end - 1);
        let items = items.get(..=at).unwrap_or_default();
        let spare = items.len().saturating_sub(self.between.len());
        self.back = items.get(spare..).unwrap_or_default().iter();
        self.between.end -= self.back.len() as u32;
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
}

impl ExactSizeIterator for Iter<'_> {}

impl FusedIterator for Iter<'_> {}
