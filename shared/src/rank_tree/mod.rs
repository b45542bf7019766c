//! A leaderboard's order: a counted B+tree over (score, member) that knows every item's rank.
//!
//! An item is a [`Score`] and a handle into the caller's own store of members. Items are ordered by score, ties by the
//! members' bytes, as Redis orders a sorted set. Only the caller can compare bytes, so what may meet a tie takes [`Ties`],
//! mostly a closure, which tells how the *stored* member with that handle compares to the member in question. It is asked
//! about items of equal score alone; a caller that knows the member's own handle says so, and then nothing is compared
//! where the item is there.
//!
//! Inner nodes count the items below each child (the order statistics of Cormen et al., Introduction to Algorithms,
//! chapter 14, on the B+tree of Comer 1979), so a rank is a sum on the way down. Full nodes are split on the way down.
//! Nodes own their children. A leaf is a vector that grows and shrinks with its items, which keeps a board of three
//! items as tight as one of a million, and lets memory follow removals without a free list.
//!
//! Invariant: no two items have the same score and member, and the handles in the tree can be compared as long as they
//! are in it. Where a caller breaks this, or sorts a tie in two ways, answers are wrong, but nothing panics or is lost.
#![allow(clippy::indexing_slicing, reason = "positions come from searches of the same vector; the hot path is here")]
#![allow(clippy::arithmetic_side_effects, reason = "positions and counts stay within the number of items, a u32")]

mod branch;
mod bulk;
mod iter;
mod leaf;
mod score;
mod search;
#[cfg(test)]
mod tests;
mod ties;

pub use iter::Iter;
pub use score::Score;
pub use ties::{Known, Ties};

use branch::{Branch, Node};
use iter::Spot;
use leaf::{Item, Leaf};
use std::{
    cmp::Ordering,
    ops::{Bound, RangeBounds},
};

/// Items ordered by score and member. See the [module](self) for the order and for `ties`.
///
/// ```
/// use headwater::rank_tree::{RankTree, Score};
///
/// let names = ["ada", "bob", "cyd"];
/// let mut board = RankTree::new();
/// for (id, points) in [(0, 20.0), (1, 10.0), (2, 20.0)] {
///     board.insert(Score::new(points), id, &|other: u32| names[other as usize].cmp(names[id as usize]));
/// }
/// assert_eq!(board.rank(Score::new(20.0), &|other: u32| names[other as usize].cmp("cyd")), 2);
/// assert_eq!(board.iter().map(|(_, id)| id).collect::<Vec<_>>(), [1, 0, 2]);
/// ```
#[derive(Clone, Debug)]
pub struct RankTree {
    root: Node,
    len: u32,
    /// What all nodes have allocated.
    memory_bytes: usize,
}

impl RankTree {
    /// An empty tree, which allocates nothing.
    pub const fn new() -> Self {
        Self { root: Node::Leaf(Leaf::EMPTY), len: 0, memory_bytes: 0 }
    }

    /// How many items there are. O(1).
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The bytes that the tree has allocated, without its own `size_of`. Exact but for the allocator's own. O(1).
    pub fn memory_bytes(&self) -> u64 {
        self.memory_bytes as u64
    }

    /// Takes all items out and gives the memory back. O(n / 128).
    pub fn clear(&mut self) {
        *self = Self::new();
    }

    /// Adds an item that is not in the tree. O(log n).
    #[inline]
    pub fn insert(&mut self, score: Score, id: u32, ties: &impl Ties) {
        let item = Item::new(score, id);
        if self.root.is_full() {
            self.raise_root();
        }
        self.len += 1;
        let mut node = &mut self.root;
        loop {
            match node {
                Node::Leaf(leaf) => {
                    let before = leaf.memory_bytes();
                    leaf.insert(leaf.place(score, ties).at, item);
                    self.memory_bytes = self.memory_bytes - before + leaf.memory_bytes();
                    return;
                }
                Node::Branch(branch) => {
                    let (mut at, mut is_first) = branch.choose(score, ties);
                    if branch.children[at].node.is_full() {
                        branch.split_child(at, &mut self.memory_bytes);
                        (at, is_first) = branch.choose(score, ties);
                    }
                    if is_first {
                        branch.name_first(at, item);
                    }
                    branch.count_in(at);
                    node = &mut branch.children[at].node;
                }
            }
        }
    }

    /// Takes an item out and returns its handle, if it is there. O(log n).
    #[inline]
    pub fn remove(&mut self, score: Score, ties: &impl Ties) -> Option<u32> {
        let id = remove(&mut self.root, score, ties, &mut self.memory_bytes)?;
        self.len -= 1;
        while let Node::Branch(branch) = &mut self.root
            && branch.children.len() == 1
            && let Some(only) = branch.children.pop()
        {
            self.memory_bytes -= branch.memory_bytes();
            self.root = only.node;
        }
        Some(id)
    }

    /// Gives an item another score and returns its handle, if it is there under the `old` one. O(log n), and little more
    /// than one search where it stays in its leaf, as small steps on a large board mostly do.
    #[inline]
    pub fn update(&mut self, old: Score, new: Score, ties: &impl Ties) -> Option<u32> {
        self.alter(old, new, None, ties)
    }

    /// As [`RankTree::update`], and gives the item another handle, of which `ties` has to know too.
    #[inline]
    pub fn replace(&mut self, old: Score, new: Score, id: u32, ties: &impl Ties) -> Option<u32> {
        self.alter(old, new, Some(id), ties)
    }

    #[inline]
    fn alter(&mut self, old: Score, new: Score, new_id: Option<u32>, ties: &impl Ties) -> Option<u32> {
        let mut node = &mut self.root;
        let mut is_root = true;
        loop {
            match node {
                Node::Leaf(leaf) => {
                    let from = leaf.place(old, ties);
                    let id = leaf.items().get(from.at).filter(|_| from.is_found)?.id();
                    let to = if new == old { from.at } else { leaf.place(new, ties).at };
                    // A change of a leaf's first item would have to be told to the branches above.
                    if is_root || (from.at > 0 && to > 0) {
                        leaf.shift(from.at, to, Item::new(new, new_id.unwrap_or(id)));
                        return Some(id);
                    }
                    break;
                }
                Node::Branch(branch) => {
                    let (at, is_first) = branch.choose(old, ties);
                    if is_first {
                        return None;
                    }
                    if !branch.is_within(at, new) && branch.choose(new, ties) != (at, false) {
                        break;
                    }
                    is_root = false;
                    node = &mut branch.children[at].node;
                }
            }
        }
        let id = self.remove(old, ties)?;
        self.insert(new, new_id.unwrap_or(id), ties);
        Some(id)
    }

    /// How many items come before this one, whether it is in the tree or not. O(log n).
    #[inline]
    pub fn rank(&self, score: Score, ties: &impl Ties) -> u32 {
        let mut node = &self.root;
        let mut rank = 0;
        loop {
            match node {
                Node::Leaf(leaf) => return rank + leaf.place(score, ties).at as u32,
                Node::Branch(branch) => {
                    let (at, _) = branch.choose(score, ties);
                    rank += branch.start(at);
                    node = &branch.children[at].node;
                }
            }
        }
    }

    /// How many items have a lower score: the rank of the first item with this score or a higher one. O(log n).
    pub fn lower_bound(&self, score: Score) -> u32 {
        self.rank(score, &|_: u32| Ordering::Greater)
    }

    /// How many items have this score or a lower one: the rank of the first item with a higher score. O(log n).
    pub fn upper_bound(&self, score: Score) -> u32 {
        self.rank(score, &|_: u32| Ordering::Less)
    }

    /// The item that has `rank` items before it. O(log n).
    #[inline]
    pub fn nth(&self, rank: u32) -> Option<(Score, u32)> {
        if rank >= self.len {
            return None;
        }
        let (mut node, mut rank) = (&self.root, rank);
        loop {
            match node {
                Node::Leaf(leaf) => return leaf.items().get(rank as usize).map(|item| (item.score(), item.id())),
                Node::Branch(branch) => {
                    let (at, rest) = branch.find(rank)?;
                    (node, rank) = (&branch.children[at].node, rest);
                }
            }
        }
    }

    /// All items, lowest first; from either end. O(log n), then O(1) per item.
    pub fn iter(&self) -> Iter<'_> {
        self.range(..)
    }

    /// The items with ranks in this range, lowest first; from either end. What lies beyond the tree is left out.
    /// O(log n), then amortised O(1) per item.
    pub fn range(&self, ranks: impl RangeBounds<u32>) -> Iter<'_> {
        let start = match ranks.start_bound() {
            Bound::Included(rank) => *rank,
            Bound::Excluded(rank) => rank.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match ranks.end_bound() {
            Bound::Included(rank) => rank.saturating_add(1),
            Bound::Excluded(rank) => *rank,
            Bound::Unbounded => self.len,
        };
        let end = end.min(self.len);
        Iter::new(self, start.min(end)..end)
    }

    /// Where the item at `rank` is, which must be less than the length.
    fn spot(&self, rank: u32) -> Spot<'_> {
        let (mut node, mut rank, mut parent) = (&self.root, rank, None);
        loop {
            match node {
                Node::Leaf(leaf) => return Spot { parent, items: leaf.items(), at: rank as usize },
                Node::Branch(branch) => {
                    let Some((at, rest)) = branch.find(rank) else { return Spot { parent: None, items: &[], at: 0 } };
                    (node, rank, parent) = (&branch.children[at].node, rest, Some((&**branch, at)));
                }
            }
        }
    }

    /// Puts a branch above a full root, so that the root can be split like any child.
    fn raise_root(&mut self) {
        let root = std::mem::replace(&mut self.root, Node::Leaf(Leaf::EMPTY));
        let branch = Branch::over(vec![root]);
        self.memory_bytes += branch.memory_bytes();
        self.root = Node::Branch(Box::new(branch));
    }
}

impl Default for RankTree {
    fn default() -> Self {
        Self::new()
    }
}

fn remove(node: &mut Node, score: Score, ties: &impl Ties, memory_bytes: &mut usize) -> Option<u32> {
    match node {
        Node::Leaf(leaf) => {
            let place = leaf.place(score, ties);
            if !place.is_found {
                return None;
            }
            let before = leaf.memory_bytes();
            let id = leaf.remove(place.at).id();
            *memory_bytes = *memory_bytes - before + leaf.memory_bytes();
            Some(id)
        }
        Node::Branch(branch) => {
            let (at, is_first) = branch.choose(score, ties);
            if is_first {
                return None;
            }
            let id = remove(&mut branch.children[at].node, score, ties, memory_bytes)?;
            branch.count_out(at);
            if branch.children[at].first_id == id
                && let Some(first) = branch.children[at].node.first()
            {
                branch.name_first(at, first);
            }
            if branch.children[at].node.is_underfull() {
                branch.mend_child(at, memory_bytes);
            }
            Some(id)
        }
    }
}
