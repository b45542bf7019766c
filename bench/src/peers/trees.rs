//! Ordered sets that know ranks. They order items by themselves, so an item is its score and its member's bytes.

use bytes::Bytes;
use headwater::rank_tree::Score;
use indexset::BTreeSet;
use wabi_tree::OSBTreeSet;

use super::Peer;
use crate::ours::order::{Asked, Order, Question, TOP};

type Item = (Score, Bytes);

/// Both of them.
pub(super) fn all(question: Question, size: usize) -> Vec<Peer> {
    vec![
        ("indexset", Box::new(Asked::<Indexset>::new(question, size))),
        ("wabi_tree", Box::new(Asked::<Wabi>::new(question, size))),
    ]
}

fn item(members: &[Bytes], score: f64, id: u32) -> Item {
    (Score::new(score), members.get(id as usize).cloned().unwrap_or_default())
}

struct Indexset {
    set: BTreeSet<Item>,
    members: Vec<Bytes>,
}

impl Order for Indexset {
    fn over(members: &[Bytes]) -> Self {
        Self { set: BTreeSet::new(), members: members.to_vec() }
    }

    fn insert(&mut self, score: f64, id: u32) {
        self.set.insert(item(&self.members, score, id));
    }

    fn remove(&mut self, score: f64, id: u32) {
        self.set.remove(&item(&self.members, score, id));
    }

    fn rank(&self, score: f64, id: u32) -> usize {
        self.set.rank(&item(&self.members, score, id))
    }

    fn nth(&self, rank: usize) -> Option<f64> {
        self.set.get_index(rank).map(|(score, _)| score.value())
    }

    fn top(&self) -> f64 {
        self.set.iter().rev().take(TOP as usize).map(|(score, _)| score.value()).sum()
    }
}

struct Wabi {
    set: OSBTreeSet<Item>,
    members: Vec<Bytes>,
}

impl Order for Wabi {
    fn over(members: &[Bytes]) -> Self {
        Self { set: OSBTreeSet::new(), members: members.to_vec() }
    }

    fn insert(&mut self, score: f64, id: u32) {
        self.set.insert(item(&self.members, score, id));
    }

    fn remove(&mut self, score: f64, id: u32) {
        self.set.remove(&item(&self.members, score, id));
    }

    fn rank(&self, score: f64, id: u32) -> usize {
        self.set.rank_of(&item(&self.members, score, id)).unwrap_or(usize::MAX)
    }

    fn nth(&self, rank: usize) -> Option<f64> {
        self.set.get_by_rank(rank).map(|(score, _)| score.value())
    }

    fn top(&self) -> f64 {
        self.set.iter().rev().take(TOP as usize).map(|(score, _)| score.value()).sum()
    }
}
