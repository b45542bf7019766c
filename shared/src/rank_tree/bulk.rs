//! Building a tree from items in order, without a search per item.

use super::{
    RankTree, Score,
    branch::{Branch, CHILDREN_MAX, Node},
    leaf::{Item, Leaf},
};

/// How full nodes are built, in entries: three quarters, so that the inserts that follow do not split every one of them.
const ITEMS: usize = Leaf::CAPACITY * 3 / 4;
const CHILDREN: usize = CHILDREN_MAX * 3 / 4;

impl RankTree {
    /// A tree of these items, which come in order of score and member. O(n).
    ///
    /// ```
    /// use headwater::rank_tree::{RankTree, Score};
    ///
    /// let board = RankTree::from_sorted((0..1000).map(|id| (Score::new(f64::from(id)), id)));
    /// assert_eq!(board.nth(700), Some((Score::new(700.0), 700)));
    /// ```
    pub fn from_sorted(items: impl ExactSizeIterator<Item = (Score, u32)>) -> Self {
        let mut tree = Self::new();
        let len = items.len();
        let mut items = items.map(|(score, id)| Item::new(score, id));
        let mut level = Vec::new();
        for size in shares(len, Leaf::CAPACITY, ITEMS) {
            let mut leaf = Vec::with_capacity(size);
            leaf.extend(items.by_ref().take(size));
            tree.len += leaf.len() as u32;
            level.push(Node::Leaf(Leaf::from_items(leaf)));
        }
        while level.len() > 1 {
            tree.memory_bytes += level.iter().map(Node::memory_bytes).sum::<usize>();
            let sizes = shares(level.len(), CHILDREN_MAX, CHILDREN);
            let mut nodes = level.into_iter();
            level =
                sizes.map(|size| Node::Branch(Box::new(Branch::over(nodes.by_ref().take(size).collect())))).collect();
        }
        if let Some(root) = level.pop() {
            tree.memory_bytes += root.memory_bytes();
            tree.root = root;
        }
        tree
    }
}

/// The sizes of as few nodes of about `target` entries as hold `len`, even to one entry; one node where `most` suffice.
fn shares(len: usize, most: usize, target: usize) -> impl Iterator<Item = usize> {
    let nodes = if len <= most { len.min(1) } else { len.div_ceil(target) };
    (0..nodes).map(move |at| len / nodes + usize::from(at < len % nodes))
}
