//! The rank tree with nodes of their real size, against a sorted vector. Its invariants are tested in the module, with
//! small nodes.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "a test")]

use headwater::rank_tree::{RankTree, Score};
use proptest::{prelude::*, test_runner::TestRng};
use std::cmp::Ordering;

/// A board whose members are the numbers of their handles, ordered as texts.
#[derive(Default)]
struct Board {
    tree: RankTree,
    scores: Vec<Option<f64>>,
}

fn member_order(a: u32, b: u32) -> Ordering {
    a.to_string().cmp(&b.to_string())
}

impl Board {
    fn set(&mut self, id: u32, score: f64) {
        let at = id as usize;
        self.scores.resize(self.scores.len().max(at + 1), None);
        match self.scores[at].replace(score) {
            None => self.tree.insert(Score::new(score), id, &|other: u32| member_order(other, id)),
            Some(old) => {
                let found = self.tree.update(Score::new(old), Score::new(score), &|other: u32| member_order(other, id));
                assert_eq!(found, Some(id));
            }
        }
    }

    fn remove(&mut self, id: u32) {
        let score = self.scores.get_mut(id as usize).and_then(Option::take);
        let score_or_none = Score::new(score.unwrap_or(0.0));
        let found = self.tree.remove(score_or_none, &|other: u32| member_order(other, id));
        assert_eq!(found, score.map(|_| id));
    }

    fn sorted(&self) -> Vec<(Score, u32)> {
        let mut items: Vec<_> =
            (0..).zip(&self.scores).filter_map(|(id, score)| Some((Score::new((*score)?), id))).collect();
        items.sort_by(|a, b| a.0.cmp(&b.0).then_with(|| member_order(a.1, b.1)));
        items
    }

    fn check(&self) {
        let sorted = self.sorted();
        assert!(self.tree.iter().eq(sorted.iter().copied()), "the order upwards");
        assert!(self.tree.iter().rev().eq(sorted.iter().rev().copied()), "the order downwards");
        for (rank, (score, id)) in (0..).zip(&sorted) {
            assert_eq!(self.tree.rank(*score, &|other: u32| member_order(other, *id)), rank);
            assert_eq!(self.tree.nth(rank), Some((*score, *id)));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4))]

    #[test]
    fn a_board_of_thousands_keeps_its_order(spread in prop_oneof![Just(3), Just(500), Just(1 << 30)], seed in any::<[u8; 32]>()) {
        let mut random = TestRng::from_seed(prop::test_runner::RngAlgorithm::ChaCha, &seed);
        let mut board = Board::default();
        for step in 0..24_000u32 {
            let (id, score) = (random.next_u32() % 9_000, f64::from(random.next_u32() % spread));
            if random.next_u32().is_multiple_of(4) { board.remove(id) } else { board.set(id, score) }
            if step % 12_000 == 11_999 {
                board.check();
            }
        }
        for id in 0..8_500 {
            board.remove(id);
        }
        board.check();
    }
}

#[test]
fn a_random_item_takes_at_most_seventeen_bytes() {
    let mut board = RankTree::new();
    for id in 0..200_000u32 {
        // A multiplication by an odd number permutes the integers.
        let score = Score::new(f64::from(id.wrapping_mul(0x9E37_79B1)));
        board.insert(score, id, &|other: u32| other.cmp(&id));
    }
    let per_item = board.memory_bytes() as f64 / f64::from(board.len());
    assert!(per_item <= 17.0, "{per_item} bytes");
}

#[test]
fn memory_follows_a_mass_removal() {
    let mut board = RankTree::from_sorted((0..200_000).map(|id| (Score::new(f64::from(id)), id)));
    for id in (0..200_000u32).filter(|id| id % 100 != 0) {
        assert_eq!(board.remove(Score::new(f64::from(id)), &|other: u32| other.cmp(&id)), Some(id));
    }
    let per_item = board.memory_bytes() as f64 / f64::from(board.len());
    assert!(per_item <= 24.0, "{per_item} bytes");
    board.clear();
    assert_eq!(board.memory_bytes(), 0);
}
