//! The order of a board alone: score, then member.

use std::hint::black_box;

use bytes::Bytes;
use headwater::rank_tree::{Known, RankTree, Score, Ties};

use super::boards::member;
use crate::{Contender, input::random};

/// Items in one round.
const ITEMS: usize = 4_096;

/// Reads of the hundred best in one round.
const TOPS: usize = 256;

/// How many the best are.
pub const TOP: u32 = 100;

/// A structure that keeps members in order of score and name.
pub trait Order {
    /// An empty order over these members; items name them by position.
    fn over(members: &[Bytes]) -> Self;
    /// Adds a member that is not in it.
    fn insert(&mut self, score: f64, id: u32);
    /// Takes a member out.
    fn remove(&mut self, score: f64, id: u32);
    /// How many come before this member, which is in it.
    fn rank(&self, score: f64, id: u32) -> usize;
    /// The score of the item at this rank.
    fn nth(&self, rank: usize) -> Option<f64>;
    /// The sum of the hundred best scores, best first.
    fn top(&self) -> f64;
}

/// What is asked of an order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Question {
    /// Insertion of new members at random scores.
    Insert,
    /// Removal of members.
    Remove,
    /// The ranks of members picked at random.
    Rank,
    /// The items at ranks picked at random.
    Nth,
    /// The hundred best.
    Top,
}

/// The questions to one kind of order. Beyond its size there are as many members more as a round inserts.
#[derive(Debug)]
pub struct Asked<O> {
    order: O,
    question: Question,
    scores: Vec<f64>,
    size: usize,
    random: fastrand::Rng,
    /// Members or ranks.
    input: Vec<u32>,
    is_fresh: bool,
}

impl<O: Order> Asked<O> {
    /// An order of `size` members.
    #[must_use]
    pub fn new(question: Question, size: usize) -> Self {
        let count = size + ITEMS;
        let members: Vec<Bytes> = (0..count).map(member).collect();
        let mut random = random();
        // Some scores are shared, as on a real board.
        let scores: Vec<f64> = (0..count).map(|_| f64::from(random.u32(..1_000_000))).collect();
        let mut order = O::over(&members);
        let mut ids: Vec<u32> = (0..).take(size).collect();
        random.shuffle(&mut ids);
        for id in ids {
            order.insert(score(&scores, id), id);
        }
        assert!(order.nth(size.saturating_sub(1)).is_some() && order.nth(size).is_none(), "as large as it says");
        Self { order, question, scores, size, random, input: Vec::new(), is_fresh: true }
    }

    /// The members beyond the size, in random order.
    fn extra(&mut self) -> Vec<u32> {
        let mut ids: Vec<u32> = (0..).take(self.size + ITEMS).skip(self.size).collect();
        self.random.shuffle(&mut ids);
        ids
    }
}

fn score(scores: &[f64], id: u32) -> f64 {
    scores.get(id as usize).copied().unwrap_or_default()
}

impl<O: Order> Contender for Asked<O> {
    fn prepare(&mut self) {
        match self.question {
            Question::Insert | Question::Remove => {
                self.input = self.extra();
                // The round before left them in, or took them out.
                if !self.is_fresh || self.question == Question::Remove {
                    for id in &self.input {
                        let score = score(&self.scores, *id);
                        match self.question {
                            Question::Insert => self.order.remove(score, *id),
                            _ => self.order.insert(score, *id),
                        }
                    }
                }
                self.is_fresh = false;
            }
            Question::Rank | Question::Nth => {
                let size = u32::try_from(self.size).unwrap_or(u32::MAX);
                self.input = (0..ITEMS).map(|_| self.random.u32(..size)).collect();
            }
            Question::Top => self.input = vec![0; TOPS],
        }
    }

    fn run(&mut self) -> u64 {
        for input in &self.input {
            let score = score(&self.scores, *input);
            match self.question {
                Question::Insert => self.order.insert(score, *input),
                Question::Remove => self.order.remove(score, *input),
                Question::Rank => {
                    black_box(self.order.rank(score, *input));
                }
                Question::Nth => {
                    black_box(self.order.nth(*input as usize));
                }
                Question::Top => {
                    black_box(self.order.top());
                }
            }
        }
        self.input.len() as u64
    }
}

/// The core's tree, with the members in a table beside it as in a key.
#[derive(Debug)]
struct Ranked {
    tree: RankTree,
    members: Vec<Bytes>,
}

pub(super) fn boxed(question: Question, size: usize) -> Box<dyn Contender> {
    Box::new(Asked::<Ranked>::new(question, size))
}

impl Ranked {
    fn ties(members: &[Bytes], id: u32) -> impl Ties {
        let compare = move |other| match id == other {
            true => std::cmp::Ordering::Equal,
            false => members.get(other as usize).cmp(&members.get(id as usize)),
        };
        Known { compare, own: move || Some(id) }
    }
}

impl Order for Ranked {
    fn over(members: &[Bytes]) -> Self {
        Self { tree: RankTree::new(), members: members.to_vec() }
    }

    fn insert(&mut self, score: f64, id: u32) {
        self.tree.insert(Score::new(score), id, &Self::ties(&self.members, id));
    }

    fn remove(&mut self, score: f64, id: u32) {
        black_box(self.tree.remove(Score::new(score), &Self::ties(&self.members, id)));
    }

    fn rank(&self, score: f64, id: u32) -> usize {
        self.tree.rank(Score::new(score), &Self::ties(&self.members, id)) as usize
    }

    fn nth(&self, rank: usize) -> Option<f64> {
        self.tree.nth(u32::try_from(rank).ok()?).map(|(score, _)| score.value())
    }

    fn top(&self) -> f64 {
        let first = self.tree.len().saturating_sub(TOP);
        self.tree.range(first..).rev().map(|(score, _)| score.value()).sum()
    }
}
