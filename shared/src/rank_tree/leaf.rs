//! A leaf: up to 128 items in order, in one vector that follows their number.
//!
//! Invariant: items are ordered by score, then by member bytes. All positions that come in are within the leaf.

use super::{
    Score, Ties,
    search::{count_before, partition_ties},
};
use std::cmp::Ordering;

/// A score and its member's handle in twelve bytes: without `packed`, padding would make it sixteen. Score and handle
/// lie together so that an operation waits for one place in memory instead of two.
#[derive(Clone, Copy, Debug)]
#[repr(Rust, packed(4))]
pub(super) struct Item {
    score: Score,
    id: u32,
}

impl Item {
    pub(super) fn new(score: Score, id: u32) -> Self {
        Self { score, id }
    }

    pub(super) fn score(self) -> Score {
        self.score
    }

    pub(super) fn id(self) -> u32 {
        self.id
    }
}

/// The items of one stretch of the order.
#[derive(Clone, Debug, Default)]
pub(super) struct Leaf(Vec<Item>);

/// Where a probe belongs, and whether it is there.
pub(super) struct Place {
    pub(super) at: usize,
    pub(super) is_found: bool,
}

impl Leaf {
    /// A leaf without items, which allocates nothing.
    pub(super) const EMPTY: Self = Self(Vec::new());

    /// Items at most. Of wide leaves more must be fetched for a search, of narrow ones there are more inner nodes. Measured
    /// with a million items, 64 and 128 rank alike, and 128 inserts, iterates and finds a position faster in less memory.
    /// Tests of this module have small nodes, so that few items make a tall tree; those in `shared/tests` have real ones.
    pub(super) const CAPACITY: usize = if cfg!(test) { 20 } else { 128 };

    /// With fewer items than this a leaf is joined with a neighbour, or takes items from it.
    pub(super) const ITEMS_MIN: usize = Self::CAPACITY / 4;

    /// A leaf of these items, with no room for more.
    pub(super) fn from_items(items: Vec<Item>) -> Self {
        Self(items)
    }

    pub(super) fn items(&self) -> &[Item] {
        &self.0
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.0.capacity() * size_of::<Item>()
    }

    /// Where the probe with this score belongs; `ties` compares stored members of equal score to it. A compare waits for
    /// memory, mostly more than once, so the probe's own handle is looked for first.
    #[inline]
    pub(super) fn place(&self, score: Score, ties: &impl Ties) -> Place {
        let items = self.0.as_slice();
        let low = count_before(items, |item| item.score() < score);
        let is_tie = |at: usize| items.get(at).is_some_and(|item| item.score() == score);
        if !is_tie(low) {
            return Place { at: low, is_found: false };
        }
        let has_more = is_tie(low + 1);
        if let Some(own) = has_more.then(|| ties.own()).flatten() {
            let mut tied = items.iter().skip(low).take_while(|item| item.score() == score);
            if let Some(behind) = tied.position(|item| item.id() == own) {
                return Place { at: low + behind, is_found: true };
            }
        }
        let high = if has_more { count_before(items, |item| item.score() <= score) } else { low + 1 };
        let compare = |at: usize| items.get(at).map_or(Ordering::Greater, |item| ties.compare(item.id()));
        let (at, is_found) = partition_ties(low, high, compare);
        Place { at, is_found }
    }

    /// Puts an item in at this position. O(n) moves within the leaf.
    #[inline]
    pub(super) fn insert(&mut self, at: usize, item: Item) {
        if self.0.len() == self.0.capacity() {
            self.0.reserve_exact(self.room());
        }
        self.0.insert(at, item);
    }

    /// Takes the item at this position out. O(n) moves within the leaf.
    #[inline]
    pub(super) fn remove(&mut self, at: usize) -> Item {
        let item = self.0.remove(at);
        self.trim();
        item
    }

    /// Moves the item at `from` to where the probe of `place` would go, under its new score.
    pub(super) fn shift(&mut self, from: usize, to: usize, item: Item) {
        // Taking the item out moves what follows it one place down.
        if to > from {
            self.0[from..to].rotate_left(1);
            self.0[to - 1] = item;
        } else {
            self.0[to..=from].rotate_right(1);
            self.0[to] = item;
        }
    }

    /// Cuts off the items from `at` on.
    pub(super) fn split_off(&mut self, at: usize) -> Self {
        let upper = self.0.split_off(at);
        self.trim();
        Self(upper)
    }

    /// Appends the items of the leaf that follows.
    pub(super) fn append(&mut self, mut next: Self) {
        self.0.reserve_exact(next.len());
        self.0.append(&mut next.0);
    }

    /// How far ahead of its items a leaf allocates: a quarter, so that growing stays rare and an eighth lies idle.
    fn room(&self) -> usize {
        (self.0.len() / 4).max(4)
    }

    /// Gives memory back when much lies idle; twice the room, so that it does not come and go with one item.
    fn trim(&mut self) {
        let room = self.room();
        if self.0.is_empty() {
            self.0 = Vec::new();
        } else if self.0.capacity() - self.0.len() > 2 * room {
            self.0.shrink_to(self.0.len() + room);
        }
    }
}
