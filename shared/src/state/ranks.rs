//! A board's members in score order, ties by member bytes, as Redis orders a sorted set.
//!
//! Derived from the elements and never stored or sent.

use bytes::Bytes;
use std::{cmp::Ordering, collections::BTreeSet};

/// A score with the total order of its numbers; never NaN.
#[derive(Clone, Copy, Debug)]
struct Score(f64);

impl PartialEq for Score {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Score {}

impl PartialOrd for Score {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Score {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

/// The order of a board's members.
#[derive(Clone, Debug, Default)]
pub struct Ranks(BTreeSet<(Score, Bytes)>);

impl Ranks {
    /// Adds a member. Logarithmic.
    pub(super) fn insert(&mut self, score: f64, member: Bytes) {
        self.0.insert((Score(score), member));
    }

    /// Takes a member out. Logarithmic.
    pub(super) fn remove(&mut self, score: f64, member: &Bytes) {
        self.0.remove(&(Score(score), member.clone()));
    }

    /// How many members there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many members come before this one. Linear in the answer.
    pub fn rank(&self, score: f64, member: &Bytes) -> usize {
        self.0.range(..(Score(score), member.clone())).count()
    }

    /// The members from the lowest score up.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&Bytes, f64)> + ExactSizeIterator + '_ {
        self.0.iter().map(|(score, member)| (member, score.0))
    }

    /// The members with scores from `low` on, lowest first.
    pub fn from_score(&self, low: f64) -> impl DoubleEndedIterator<Item = (&Bytes, f64)> + '_ {
        self.0.range((Score(low), Bytes::new())..).map(|(score, member)| (member, score.0))
    }
}
