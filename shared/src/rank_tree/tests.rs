//! The tree against a sorted vector, with its invariants checked after every step.

use super::{
    Known, RankTree, Score, Ties,
    branch::{CHILDREN_MAX, CHILDREN_MIN, Node},
    leaf::{Item, Leaf},
};
use proptest::{collection::vec, prelude::*, sample::Index};
use std::cmp::Ordering;

/// A board as its user keeps it: members in an arena, the tree over their handles, and a sorted vector as the oracle.
#[derive(Default)]
struct Board {
    tree: RankTree,
    /// A member that was removed is `None`, so that comparing it fails.
    arena: Vec<Option<Vec<u8>>>,
    sorted: Vec<(f64, Vec<u8>, u32)>,
}

fn order(a: &(f64, Vec<u8>, u32), score: f64, member: &[u8]) -> Ordering {
    a.0.partial_cmp(&score).unwrap().then_with(|| a.1.as_slice().cmp(member))
}

fn ties<'a>(arena: &'a [Option<Vec<u8>>], member: &'a [u8]) -> impl Fn(u32) -> Ordering + 'a {
    move |id| arena[id as usize].as_deref().expect("only members in the tree are compared").cmp(member)
}

/// The same of a member whose handle is known every other time.
fn known<'a>(arena: &'a [Option<Vec<u8>>], member: &'a [u8], id: u32) -> impl Ties + 'a {
    Known { compare: ties(arena, member), own: move || id.is_multiple_of(2).then_some(id) }
}

impl Board {
    fn of(items: Vec<(f64, Vec<u8>)>) -> Self {
        let mut board = Self::default();
        for (score, member) in items {
            if !board.sorted.iter().any(|item| item.1 == member) {
                let id = board.arena.len() as u32;
                board.arena.push(Some(member.clone()));
                board.sorted.push((score, member, id));
            }
        }
        board.sorted.sort_by(|a, b| order(a, b.0, &b.1));
        board.tree = RankTree::from_sorted(board.sorted.iter().map(|item| (Score::new(item.0), item.2)));
        board
    }

    fn position(&self, score: f64, member: &[u8]) -> Result<usize, usize> {
        self.sorted.binary_search_by(|item| order(item, score, member))
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Insert(score, member) => {
                if self.sorted.iter().any(|item| &item.1 == member) {
                    return;
                }
                let id = self.arena.len() as u32;
                self.arena.push(Some(member.clone()));
                self.tree.insert(Score::new(*score), id, &ties(&self.arena, member));
                let at = self.position(*score, member).unwrap_err();
                self.sorted.insert(at, (*score, member.clone(), id));
            }
            Step::Remove(at, _) if self.sorted.is_empty() => assert_eq!(at.index(1), 0),
            Step::Remove(at, many) => {
                let at = at.index(self.sorted.len());
                for _ in 0..(*many).min(self.sorted.len() - at) {
                    let (score, member, id) = self.sorted.remove(at);
                    assert_eq!(self.tree.remove(Score::new(score), &known(&self.arena, &member, id)), Some(id));
                    self.arena[id as usize] = None;
                    self.check();
                }
            }
            Step::RemoveAbsent(score, member) => {
                if self.position(*score, member).is_err() {
                    let absent = || Known { compare: ties(&self.arena, member), own: || Some(u32::MAX) };
                    assert_eq!(self.tree.remove(Score::new(*score), &absent()), None);
                    assert_eq!(self.tree.update(Score::new(*score), Score::new(1.0), &absent()), None);
                }
            }
            Step::Update(_, _) if self.sorted.is_empty() => {}
            Step::Update(at, new) => {
                let (old, member, id) = self.sorted.remove(at.index(self.sorted.len()));
                let new = new.score(old);
                let updated = self.tree.update(Score::new(old), Score::new(new), &known(&self.arena, &member, id));
                assert_eq!(updated, Some(id));
                let at = self.position(new, &member).unwrap_err();
                self.sorted.insert(at, (new, member, id));
            }
            Step::Replace(_, _) if self.sorted.is_empty() => {}
            Step::Replace(at, new) => {
                let (old, member, id) = self.sorted.remove(at.index(self.sorted.len()));
                let (new, new_id) = (new.score(old), self.arena.len() as u32);
                self.arena.push(Some(member.clone()));
                let ties = known(&self.arena, &member, id);
                assert_eq!(self.tree.replace(Score::new(old), Score::new(new), new_id, &ties), Some(id));
                drop(ties);
                self.arena[id as usize] = None;
                let at = self.position(new, &member).unwrap_err();
                self.sorted.insert(at, (new, member, new_id));
            }
            Step::Clear => {
                self.tree.clear();
                self.sorted.clear();
            }
        }
    }

    fn check(&self) {
        let mut items = Vec::new();
        let mut bytes = 0;
        depth_checked(&self.tree.root, true, &mut items, &mut bytes);
        assert_eq!(self.tree.len() as usize, items.len(), "the length is the number of items");
        assert_eq!(self.tree.memory_bytes(), bytes as u64, "the memory is what the nodes have allocated");
        let expected: Vec<_> = self.sorted.iter().map(|item| (Score::new(item.0), item.2)).collect();
        let found: Vec<_> = items.iter().map(|item| (item.score(), item.id())).collect();
        assert_eq!(found, expected, "the items are those of the oracle, in its order");
    }
}

/// Collects the items below and checks what must hold of every node; returns how deep the leaves are.
fn depth_checked(node: &Node, is_root: bool, items: &mut Vec<Item>, bytes: &mut usize) -> usize {
    *bytes += node.memory_bytes();
    match node {
        Node::Leaf(leaf) => {
            assert!(leaf.len() <= Leaf::CAPACITY, "a leaf holds at most its capacity");
            assert!(is_root || leaf.len() >= Leaf::ITEMS_MIN, "a leaf beside others is a quarter full");
            let room = leaf.memory_bytes() / size_of::<Item>() - leaf.len();
            assert!(room <= Leaf::CAPACITY / 2 + 8, "a leaf keeps little idle memory, not room for {room}");
            items.extend(leaf.items());
            0
        }
        Node::Branch(branch) => {
            let len = branch.children.len();
            assert!(len <= CHILDREN_MAX, "a branch has at most its children");
            assert!(len >= if is_root { 2 } else { CHILDREN_MIN }, "a branch beside others is a quarter full");
            assert_eq!((branch.scores.len(), branch.ends.len()), (len, len), "the vectors are equally long");
            let (mut depths, begin) = (Vec::new(), items.len());
            for (at, child) in branch.children.iter().enumerate() {
                let start = items.len();
                depths.push(depth_checked(&child.node, false, items, bytes));
                assert_eq!(branch.ends[at] as usize, items.len() - begin, "an end is the number of items up to it");
                let first = items[start];
                assert_eq!((first.score(), first.id()), (branch.scores[at], child.first_id), "a first item is exact");
            }
            assert!(depths.windows(2).all(|pair| pair[0] == pair[1]), "all leaves are equally deep");
            depths[0] + 1
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Insert(f64, Vec<u8>),
    Remove(Index, usize),
    RemoveAbsent(f64, Vec<u8>),
    Update(Index, Change),
    Replace(Index, Change),
    Clear,
}

#[derive(Clone, Debug)]
enum Change {
    To(f64),
    By(f64),
}

impl Change {
    fn score(&self, old: f64) -> f64 {
        match self {
            Self::To(new) => *new,
            Self::By(by) => old + by,
        }
    }
}

/// Few values, so that many items tie, or many.
fn score() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => (-2..3i8).prop_map(f64::from),
        4 => (-1000..1000i32).prop_map(|tenths| f64::from(tenths) / 10.0),
        1 => prop_oneof![Just(-0.0), Just(f64::INFINITY), Just(f64::NEG_INFINITY), Just(f64::MIN_POSITIVE)],
    ]
}

fn member() -> impl Strategy<Value = Vec<u8>> {
    vec(prop_oneof![0..3u8, 250..=255u8], 0..6)
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        40 => (score(), member()).prop_map(|(score, member)| Step::Insert(score, member)),
        20 => (any::<Index>(), 1..3usize).prop_map(|(at, many)| Step::Remove(at, many)),
        4 => (any::<Index>(), 20..200usize).prop_map(|(at, many)| Step::Remove(at, many)),
        4 => (score(), member()).prop_map(|(score, member)| Step::RemoveAbsent(score, member)),
        20 => (any::<Index>(), score()).prop_map(|(at, new)| Step::Update(at, Change::To(new))),
        20 => (any::<Index>(), -0.5..0.5f64).prop_map(|(at, by)| Step::Update(at, Change::By(by))),
        10 => (any::<Index>(), score()).prop_map(|(at, new)| Step::Replace(at, Change::To(new))),
        10 => (any::<Index>(), -0.5..0.5f64).prop_map(|(at, by)| Step::Replace(at, Change::By(by))),
        1 => Just(Step::Clear),
    ]
}

fn items(most: usize) -> impl Strategy<Value = Vec<(f64, Vec<u8>)>> {
    vec((score(), member()), 0..most)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_step_keeps_the_order_and_the_invariants(start in items(1500), steps in vec(step(), 0..80)) {
        let mut board = Board::of(start);
        board.check();
        for step in &steps {
            board.step(step);
            board.check();
        }
    }

    #[test]
    fn inserting_one_by_one_comes_to_what_building_in_bulk_does(items in items(600)) {
        let bulk = Board::of(items.clone());
        let mut single = Board::default();
        for (score, member) in items {
            single.step(&Step::Insert(score, member));
        }
        single.check();
        let members = |board: &Board| board.sorted.iter().map(|item| item.1.clone()).collect::<Vec<_>>();
        prop_assert_eq!(members(&bulk), members(&single));
    }

    #[test]
    fn ranks_are_positions_also_of_probes_that_are_absent(
        items in items(600), steps in vec(step(), 0..20), probes in vec((score(), member()), 1..40),
    ) {
        let mut board = Board::of(items);
        steps.iter().for_each(|step| board.step(step));
        for (at, item) in board.sorted.iter().enumerate() {
            let score = Score::new(item.0);
            prop_assert_eq!(board.tree.rank(score, &known(&board.arena, &item.1, item.2)), at as u32);
            prop_assert_eq!(board.tree.nth(at as u32), Some((score, item.2)));
        }
        prop_assert_eq!(board.tree.nth(board.tree.len()), None);
        for (score, member) in probes {
            let at = board.position(score, &member).unwrap_or_else(|at| at);
            prop_assert_eq!(board.tree.rank(Score::new(score), &ties(&board.arena, &member)), at as u32);
        }
    }

    #[test]
    fn bounds_count_the_scores_below_and_up_to_a_score(items in items(600), probes in vec(score(), 1..40)) {
        let board = Board::of(items);
        for probe in probes {
            let below = board.sorted.iter().filter(|item| item.0 < probe).count();
            let up_to = board.sorted.iter().filter(|item| item.0 <= probe).count();
            prop_assert_eq!(board.tree.lower_bound(Score::new(probe)), below as u32);
            prop_assert_eq!(board.tree.upper_bound(Score::new(probe)), up_to as u32);
        }
    }

    #[test]
    fn a_range_is_read_from_both_ends_in_any_turn(
        items in items(600), start in 0..700u32, end in 0..700u32, turns in vec(any::<bool>(), 0..700),
    ) {
        let board = Board::of(items);
        let len = board.sorted.len();
        let (from, to) = ((start as usize).min(len), (end as usize).min(len));
        let expected: Vec<_> =
            board.sorted.get(from..to).unwrap_or_default().iter().map(|item| (Score::new(item.0), item.2)).collect();
        prop_assert!(board.tree.range(start..end).eq(expected.iter().copied()));
        prop_assert!(board.tree.range(start..end).rev().eq(expected.iter().rev().copied()));
        let mut folded = board.tree.range(start..end);
        let ends = (folded.next(), folded.next_back());
        let mut all: Vec<_> = ends.0.into_iter().collect();
        folded.clone().for_each(|item| all.push(item));
        all.extend(ends.1);
        prop_assert_eq!(&all, &expected);
        let reversed = folded.rfold(ends.1.into_iter().collect::<Vec<_>>(), |mut items, item| { items.push(item); items });
        prop_assert!(reversed.iter().chain(&ends.0).rev().eq(&expected));
        let mut range = board.tree.range(start..end);
        let mut rest = expected.as_slice();
        for is_front in turns {
            prop_assert_eq!(range.len(), rest.len());
            let (found, wanted) = if is_front {
                let split = rest.split_first();
                (range.next(), split.map(|(first, others)| { rest = others; *first }))
            } else {
                let split = rest.split_last();
                (range.next_back(), split.map(|(last, others)| { rest = others; *last }))
            };
            prop_assert_eq!(found, wanted);
        }
    }

    #[test]
    fn scores_order_like_their_numbers_and_come_back(a in score(), b in score(), c in any::<f64>()) {
        prop_assert_eq!(Score::new(a).cmp(&Score::new(b)), a.partial_cmp(&b).unwrap());
        prop_assert_eq!(Score::new(a).value(), a);
        prop_assume!(!c.is_nan());
        prop_assert_eq!(Score::new(c).value(), c);
        prop_assert_eq!(Score::new(a).cmp(&Score::new(c)), a.partial_cmp(&c).unwrap());
    }
}

#[test]
fn every_form_of_range_is_understood() {
    let tree = RankTree::from_sorted((0..50).map(|id| (Score::new(f64::from(id)), id)));
    let ids = |range: super::Iter<'_>| range.map(|(_, id)| id).collect::<Vec<_>>();
    assert_eq!(ids(tree.range(45..)), [45, 46, 47, 48, 49]);
    assert_eq!(ids(tree.range(..=1)), [0, 1]);
    assert_eq!(ids(tree.range((std::ops::Bound::Excluded(46), std::ops::Bound::Included(u32::MAX)))), [47, 48, 49]);
    assert_eq!(ids(tree.range(60..)), []);
    assert_eq!(tree.iter().len(), 50);
}

#[test]
fn an_empty_tree_allocates_nothing_and_three_items_little() {
    let mut tree = RankTree::new();
    assert_eq!(tree.memory_bytes(), 0);
    for id in 0..3 {
        tree.insert(Score::new(0.0), id, &|other: u32| other.cmp(&id));
    }
    assert_eq!(tree.memory_bytes(), 48, "room for four items");
    for id in 0..3 {
        assert_eq!(tree.remove(Score::new(0.0), &|other: u32| other.cmp(&id)), Some(id));
    }
    assert_eq!(tree.memory_bytes(), 0);
}

#[test]
fn a_member_whose_handle_is_known_is_found_among_equals_without_a_compare() {
    let mut tree = RankTree::new();
    (0..Leaf::CAPACITY as u32).for_each(|id| tree.insert(Score::new(1.0), id, &|other: u32| other.cmp(&id)));
    for id in 0..Leaf::CAPACITY as u32 {
        let compare = |other| panic!("{other} was compared");
        assert_eq!(tree.rank(Score::new(1.0), &Known { compare, own: || Some(id) }), id);
    }
}
