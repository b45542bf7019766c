//! An inner node: for each child its first item, how many items end with it, and the child itself.
//!
//! Invariant: the three vectors are equally long; scores, first handles and ends are exactly those of the child, so a
//! handle that was removed from the tree is never asked to be compared. Children but for the root's are at least a
//! quarter full.

use super::{
    Score, Ties,
    leaf::{Item, Leaf},
    search::{count_before, partition_ties},
};

/// Children at most. At 64 a million items need three levels above the leaves, all of which stay in a core's cache.
pub(super) const CHILDREN_MAX: usize = if cfg!(test) { 12 } else { 64 };
pub(super) const CHILDREN_MIN: usize = CHILDREN_MAX / 4;

/// A subtree.
#[derive(Clone, Debug)]
pub(super) enum Node {
    Leaf(Leaf),
    Branch(Box<Branch>),
}

/// What stands in a branch for one child.
#[derive(Clone, Debug)]
pub(super) struct Child {
    pub(super) node: Node,
    /// The handle of the child's first item.
    pub(super) first_id: u32,
}

/// An inner node.
#[derive(Clone, Debug, Default)]
pub(super) struct Branch {
    /// The score of each child's first item.
    pub(super) scores: Vec<Score>,
    /// The items below each child and all before it: a rank is looked up, at the price of an addition for each later
    /// child on insert.
    pub(super) ends: Vec<u32>,
    pub(super) children: Vec<Child>,
}

impl Branch {
    /// A branch over these subtrees in order, none of which is empty.
    pub(super) fn over(nodes: Vec<Node>) -> Self {
        let mut branch = Self::default();
        branch.reserve(nodes.len());
        for (at, node) in nodes.into_iter().enumerate() {
            branch.insert_child(at, node);
        }
        branch
    }

    /// The child under which the probe belongs, and whether the probe lies before everything here.
    #[inline]
    pub(super) fn choose(&self, score: Score, ties: &impl Ties) -> (usize, bool) {
        let scores = self.scores.as_slice();
        let high = count_before(scores, |first| first <= score);
        let mut begun = high;
        if high > 0 && scores[high - 1] == score {
            let low = count_before(scores, |first| first < score);
            let (first, is_probe) = partition_ties(low, high, |at| ties.compare(self.children[at].first_id));
            // An equal first item is the probe itself, so its child has begun.
            begun = first + usize::from(is_probe);
        }
        (begun.saturating_sub(1), begun == 0)
    }

    /// Whether this score belongs under this child, whoever has it; if not, it may belong there all the same.
    #[inline]
    pub(super) fn is_within(&self, at: usize, score: Score) -> bool {
        self.scores[at] < score && self.scores.get(at + 1).is_none_or(|next| score < *next)
    }

    /// The first item below. No branch is without children.
    pub(super) fn first(&self) -> Option<Item> {
        let (score, child) = self.scores.first().zip(self.children.first())?;
        Some(Item::new(*score, child.first_id))
    }

    /// Says that the first item of a child is now this one.
    #[inline]
    pub(super) fn name_first(&mut self, at: usize, first: Item) {
        self.scores[at] = first.score();
        self.children[at].first_id = first.id();
    }

    /// How many items lie before this child. O(1).
    #[inline]
    pub(super) fn start(&self, at: usize) -> u32 {
        if at == 0 { 0 } else { self.ends[at - 1] }
    }

    /// A child, if it is there and a leaf.
    pub(super) fn leaf(&self, at: usize) -> Option<&Leaf> {
        match &self.children.get(at)?.node {
            Node::Leaf(leaf) => Some(leaf),
            Node::Branch(_) => None,
        }
    }

    /// The child with the item at `rank`, which must lie below, and the item's rank in it. `None` without children.
    #[inline]
    pub(super) fn find(&self, rank: u32) -> Option<(usize, u32)> {
        let last = self.ends.len().checked_sub(1)?;
        // Boards are read from their ends most, and there no search is needed.
        let at = if rank >= self.start(last) { last } else { self.ends.partition_point(|end| *end <= rank) };
        Some((at, rank - self.start(at)))
    }

    /// Counts an item that was put in below this child. O(n) additions.
    #[inline]
    pub(super) fn count_in(&mut self, at: usize) {
        for end in &mut self.ends[at..] {
            *end += 1;
        }
    }

    /// Counts an item that was taken out below this child. O(n) subtractions.
    #[inline]
    pub(super) fn count_out(&mut self, at: usize) {
        for end in &mut self.ends[at..] {
            *end -= 1;
        }
    }

    /// Cuts a full child in two, and tells what was allocated. O(n) in the two nodes.
    pub(super) fn split_child(&mut self, at: usize, memory_bytes: &mut usize) {
        let before = self.memory_bytes() + self.node_bytes(at);
        let child = &mut self.children[at].node;
        let upper = child.split_off(child.len() / 2);
        let after = child.memory_bytes() + upper.memory_bytes();
        self.ends[at] -= upper.count();
        self.insert_child(at + 1, upper);
        *memory_bytes = *memory_bytes - before + after + self.memory_bytes();
    }

    /// Joins an underfull child with a neighbour, or evens the two out, and tells what was freed. O(n) in the two nodes.
    pub(super) fn mend_child(&mut self, at: usize, memory_bytes: &mut usize) {
        let left = at.saturating_sub(1);
        let right = left + 1;
        if right >= self.children.len() {
            return;
        }
        let before = self.memory_bytes() + self.node_bytes(left) + self.node_bytes(right);
        self.scores.remove(right);
        self.ends.remove(left);
        let upper = self.children.remove(right).node;
        let lower = &mut self.children[left].node;
        lower.append(upper);
        let mut after = 0;
        // A node that stays whole has room, so that the next inserts do not split it again.
        if lower.len() > lower.capacity() * 3 / 4 {
            let upper = lower.split_off(lower.len() / 2);
            after += upper.memory_bytes();
            self.ends[left] -= upper.count();
            self.insert_child(right, upper);
        }
        self.trim();
        after += self.memory_bytes() + self.node_bytes(left);
        *memory_bytes = *memory_bytes - before + after;
    }

    /// What this node has allocated, without its children's own.
    pub(super) fn memory_bytes(&self) -> usize {
        size_of::<Self>()
            + self.scores.capacity() * size_of::<Score>()
            + self.ends.capacity() * size_of::<u32>()
            + self.children.capacity() * size_of::<Child>()
    }

    fn node_bytes(&self, at: usize) -> usize {
        self.children[at].node.memory_bytes()
    }

    /// Puts a node in whose items are counted in the ends of the children that follow, as a part of what was cut is.
    fn insert_child(&mut self, at: usize, node: Node) {
        let Some(first) = node.first() else { return };
        if self.children.len() == self.children.capacity() {
            self.reserve((self.children.len() / 4).max(2));
        }
        self.scores.insert(at, first.score());
        self.ends.insert(at, self.start(at) + node.count());
        self.children.insert(at, Child { node, first_id: first.id() });
    }

    fn reserve(&mut self, more: usize) {
        self.scores.reserve_exact(more);
        self.ends.reserve_exact(more);
        self.children.reserve_exact(more);
    }

    fn trim(&mut self) {
        let room = (self.children.len() / 4).max(2);
        if self.children.capacity() - self.children.len() > 2 * room {
            let capacity = self.children.len() + room;
            self.scores.shrink_to(capacity);
            self.ends.shrink_to(capacity);
            self.children.shrink_to(capacity);
        }
    }

    fn split_off(&mut self, at: usize) -> Self {
        let start = self.start(at);
        let mut ends = self.ends.split_off(at);
        ends.iter_mut().for_each(|end| *end -= start);
        let upper = Self { scores: self.scores.split_off(at), ends, children: self.children.split_off(at) };
        self.trim();
        upper
    }

    fn append(&mut self, mut next: Self) {
        let start = self.start(self.ends.len());
        self.reserve(next.children.len());
        self.scores.append(&mut next.scores);
        self.ends.extend(next.ends.iter().map(|end| start + end));
        self.children.append(&mut next.children);
    }
}

impl Node {
    /// Entries of this node: items of a leaf, children of a branch.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Leaf(leaf) => leaf.len(),
            Self::Branch(branch) => branch.children.len(),
        }
    }

    /// Whether the next entry needs a split first.
    #[inline]
    pub(super) fn is_full(&self) -> bool {
        self.len() >= self.capacity()
    }

    /// Whether the node has too few entries to stand beside others.
    #[inline]
    pub(super) fn is_underfull(&self) -> bool {
        match self {
            Self::Leaf(leaf) => leaf.len() < Leaf::ITEMS_MIN,
            Self::Branch(branch) => branch.children.len() < CHILDREN_MIN,
        }
    }

    /// What this node has allocated, without its children's own.
    pub(super) fn memory_bytes(&self) -> usize {
        match self {
            Self::Leaf(leaf) => leaf.memory_bytes(),
            Self::Branch(branch) => branch.memory_bytes(),
        }
    }

    /// Items below. O(1).
    pub(super) fn count(&self) -> u32 {
        match self {
            // A leaf holds at most its capacity.
            Self::Leaf(leaf) => leaf.len() as u32,
            Self::Branch(branch) => branch.start(branch.ends.len()),
        }
    }

    /// The first item below.
    pub(super) fn first(&self) -> Option<Item> {
        match self {
            Self::Leaf(leaf) => leaf.items().first().copied(),
            Self::Branch(branch) => branch.first(),
        }
    }

    fn capacity(&self) -> usize {
        match self {
            Self::Leaf(_) => Leaf::CAPACITY,
            Self::Branch(_) => CHILDREN_MAX,
        }
    }

    /// Cuts off the entries from `at` on.
    fn split_off(&mut self, at: usize) -> Self {
        match self {
            Self::Leaf(leaf) => Self::Leaf(leaf.split_off(at)),
            Self::Branch(branch) => Self::Branch(Box::new(branch.split_off(at))),
        }
    }

    /// Appends the node that follows on the same level.
    fn append(&mut self, next: Self) {
        match (self, next) {
            (Self::Leaf(leaf), Self::Leaf(next)) => leaf.append(next),
            (Self::Branch(branch), Self::Branch(next)) => branch.append(*next),
            // All leaves are equally deep.
            _ => {}
        }
    }
}
