//! The dotted causal context: which operations are known, compact as intervals per replica.
//!
//! Invariant: the intervals of a replica are half-open `(start, end]`, sorted, disjoint and never adjacent, and no replica
//! stands with none, so equal contexts are equal bytes.

use crate::{
    few::Few,
    id::{Dot, No, ReplicaId},
};
use serde::{Deserialize, Serialize};

/// A set of one replica's numbers as sorted, disjoint, non-adjacent intervals `(start, end]`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Intervals(Few<(u64, u64), 1>);

impl Intervals {
    /// Whether `no` is in the set. Logarithmic in the number of intervals.
    pub fn contains(&self, no: No) -> bool {
        let after = self.0.partition_point(|&(start, _)| start < no.0);
        after.checked_sub(1).and_then(|i| self.0.get(i)).is_some_and(|&(_, end)| no.0 <= end)
    }

    /// Adds `(start, end]`; returns whether the set grew. Linear in the intervals that it touches.
    pub fn insert(&mut self, start: u64, end: u64) -> bool {
        if start >= end {
            return false;
        }
        // Numbers mostly come in order.
        if let Some((_, last)) = self.0.last_mut()
            && *last == start
        {
            *last = end;
            return true;
        }
        // All intervals that overlap or touch the new one form one contiguous run.
        let first = self.0.partition_point(|&(_, e)| e < start);
        let last = self.0.partition_point(|&(s, _)| s <= end);
        let run = self.0.get(first..last).unwrap_or_default();
        if let [(s, e)] = run
            && *s <= start
            && end <= *e
        {
            return false;
        }
        let merged_start = run.first().map_or(start, |&(s, _)| s.min(start));
        let merged_end = run.last().map_or(end, |&(_, e)| e.max(end));
        let merged = (merged_start, merged_end);
        if let Some(hit) = self.0.get_mut(first).filter(|_| first < last) {
            *hit = merged;
            self.0.drain(first.saturating_add(1)..last);
        } else {
            self.0.insert(first, merged);
        }
        true
    }

    /// The set of these intervals `(start, end]`, ascending. `None` when they break the invariant; a decoder asks.
    pub fn from_sorted(intervals: impl IntoIterator<Item = (u64, u64)>) -> Option<Self> {
        let intervals = Self(intervals.into_iter().collect());
        intervals.is_canonical().then_some(intervals)
    }

    /// The intervals `(start, end]` in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.0.iter().copied()
    }

    /// The greatest number in the set.
    pub fn last(&self) -> Option<No> {
        self.0.last().map(|&(_, end)| No(end))
    }

    /// Whether every number of `other` is in this set.
    pub fn covers(&self, other: &Self) -> bool {
        other.iter().all(|(start, end)| {
            let after = self.0.partition_point(|&(s, _)| s <= start);
            after.checked_sub(1).and_then(|i| self.0.get(i)).is_some_and(|&(_, e)| end <= e)
        })
    }

    /// Whether any number is in both. Linear in `other`, logarithmic in this.
    pub fn meets(&self, other: &Self) -> bool {
        other.iter().any(|(start, end)| {
            let before = self.0.partition_point(|&(s, _)| s < end);
            before.checked_sub(1).and_then(|i| self.0.get(i)).is_some_and(|&(_, e)| start < e)
        })
    }

    /// Whether the representation keeps the invariant; a decoder asks.
    pub fn is_canonical(&self) -> bool {
        self.iter().all(|(start, end)| start < end)
            && self.0.windows(2).all(|pair| matches!(pair, [(_, end), (start, _)] if end < start))
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds an interval behind all others; an unpacker builds sets so.
    pub(super) fn push(&mut self, start: u64, end: u64) {
        self.0.push((start, end));
    }
}

/// The causal context: a set of dots. Sorted by replica, each once.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Ctx(Few<(ReplicaId, Intervals), REPLICAS_INLINE>);

/// A key is rarely written by more hubs than these and the origin; more go to the heap.
const REPLICAS_INLINE: usize = 3;

impl Ctx {
    /// Knows nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// The context of these replicas, ascending. `None` when they break the invariant; a decoder asks.
    pub fn from_sorted(replicas: impl IntoIterator<Item = (ReplicaId, Intervals)>) -> Option<Self> {
        let ctx = Self(replicas.into_iter().collect());
        ctx.is_canonical().then_some(ctx)
    }

    /// Whether `dot` is known.
    pub fn contains(&self, dot: Dot) -> bool {
        self.of(dot.replica).is_some_and(|intervals| intervals.contains(dot.no))
    }

    /// Adds what lies between the last number known of a replica and `through`; `None` if nothing is known of it.
    pub(super) fn extend_last(&mut self, replica: ReplicaId, through: No) -> Option<bool> {
        let at = self.position(replica).ok()?;
        let (_, last) = self.0.get_mut(at)?.1.0.last_mut()?;
        let is_new = *last < through.0;
        *last = through.0.max(*last);
        Some(is_new)
    }

    /// Adds one dot; returns whether it was new.
    pub fn insert(&mut self, dot: Dot) -> bool {
        self.insert_interval(dot.replica, No(dot.no.0.saturating_sub(1)), dot.no)
    }

    /// Adds `(after, through]` of one replica; returns whether any of it was new.
    pub fn insert_interval(&mut self, replica: ReplicaId, after: No, through: No) -> bool {
        after < through && self.entry(replica).insert(after.0, through.0)
    }

    /// Joins by union; returns whether this context grew.
    pub fn union(&mut self, other: &Self) -> bool {
        let mut grew = false;
        for (replica, intervals) in &other.0 {
            if intervals.is_empty() {
                continue;
            }
            let own = self.entry(*replica);
            for (start, end) in intervals.iter() {
                grew |= own.insert(start, end);
            }
        }
        grew
    }

    /// Whether any dot is known to both. Linear in `other`, logarithmic in this.
    pub fn meets(&self, other: &Self) -> bool {
        other.0.iter().any(|(replica, theirs)| self.of(*replica).is_some_and(|own| own.meets(theirs)))
    }

    /// Whether every dot of `other` is known here.
    pub fn covers(&self, other: &Self) -> bool {
        other.0.iter().all(|(replica, theirs)| {
            theirs.is_empty() || self.of(*replica).is_some_and(|intervals| intervals.covers(theirs))
        })
    }

    /// What of it lies after one dot and not after another, in the order of dots. Linear.
    pub fn between(&self, after: Option<Dot>, through: Option<Dot>) -> Self {
        let mut part = Self::new();
        for (replica, intervals) in self.iter() {
            let first = match after {
                Some(after) if replica < after.replica => continue,
                Some(after) if replica == after.replica => after.no.0,
                _ => 0,
            };
            let last = match through {
                Some(through) if replica > through.replica => break,
                Some(through) if replica == through.replica => through.no.0,
                _ => u64::MAX,
            };
            let clipped = intervals.iter().map(|(start, end)| (start.max(first), end.min(last)));
            let clipped: Few<_, 1> = clipped.filter(|(start, end)| start < end).collect();
            if !clipped.is_empty() {
                part.push(replica, Intervals(clipped));
            }
        }
        part
    }

    /// What is known of one replica.
    pub fn of(&self, replica: ReplicaId) -> Option<&Intervals> {
        let at = self.position(replica).ok()?;
        self.0.get(at).map(|(_, intervals)| intervals)
    }

    /// What is known of each replica, in replica order.
    pub fn iter(&self) -> impl Iterator<Item = (ReplicaId, &Intervals)> + '_ {
        self.0.iter().map(|(replica, intervals)| (*replica, intervals))
    }

    /// The replicas of which anything is known.
    pub fn replicas(&self) -> impl Iterator<Item = ReplicaId> + '_ {
        self.0.iter().map(|(replica, _)| *replica)
    }

    /// Forgets one replica; used to drop a leaf's provisional dots.
    pub fn remove(&mut self, replica: ReplicaId) {
        if let Ok(at) = self.position(replica) {
            self.0.remove(at);
        }
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the representation keeps the invariant; a decoder asks.
    pub fn is_canonical(&self) -> bool {
        self.0.iter().all(|(_, intervals)| !intervals.is_empty() && intervals.is_canonical())
            && self.0.windows(2).all(|pair| matches!(pair, [(a, _), (b, _)] if a < b))
    }

    /// The numbers of intervals over all replicas: what the context costs.
    pub fn interval_count(&self) -> usize {
        self.0.iter().map(|(_, intervals)| intervals.0.len()).sum()
    }

    /// Adds what is known of a replica that sorts after all others here; a decoder builds contexts so.
    pub(super) fn push(&mut self, replica: ReplicaId, intervals: Intervals) {
        self.0.push((replica, intervals));
    }

    fn position(&self, replica: ReplicaId) -> Result<usize, usize> {
        self.0.binary_search_by_key(&replica, |(own, _)| *own)
    }

    fn entry(&mut self, replica: ReplicaId) -> &mut Intervals {
        let at = match self.position(replica) {
            Ok(at) => at,
            Err(at) => {
                self.0.insert(at, (replica, Intervals::default()));
                at
            }
        };
        &mut self.0.get_mut(at).expect("the position was found or just filled").1
    }
}

impl FromIterator<Dot> for Ctx {
    fn from_iter<I: IntoIterator<Item = Dot>>(dots: I) -> Self {
        let mut ctx = Self::new();
        for dot in dots {
            ctx.insert(dot);
        }
        ctx
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn intervals_equal_a_plain_set(inserts in proptest::collection::vec((0_u64..40, 0_u64..8), 0..30)) {
            let mut intervals = Intervals::default();
            let mut model = BTreeSet::new();
            for (start, length) in inserts {
                let before = model.len();
                model.extend(start + 1..=start + length);
                prop_assert_eq!(intervals.insert(start, start + length), model.len() > before);
                prop_assert!(intervals.is_canonical());
            }
            for no in 0..60 {
                prop_assert_eq!(intervals.contains(No(no)), model.contains(&no));
            }
            prop_assert_eq!(intervals.last().map(|no| no.0), model.last().copied());
        }

        #[test]
        fn covers_is_subset(a in proptest::collection::vec((0_u64..30, 0_u64..6), 0..8), b in proptest::collection::vec((0_u64..30, 0_u64..6), 0..4)) {
            let build = |parts: &[(u64, u64)]| {
                let mut ctx = Ctx::new();
                for (start, length) in parts {
                    ctx.insert_interval(ReplicaId::from_bits(1), No(*start), No(start + length));
                }
                ctx
            };
            let (a, b) = (build(&a), build(&b));
            let mut union = a.clone();
            let grew = union.union(&b);
            prop_assert_eq!(a.covers(&b), !grew);
            let is_shared = (1..40).any(|no| [&a, &b].iter().all(|ctx| ctx.contains(Dot { replica: ReplicaId::from_bits(1), no: No(no) })));
            prop_assert_eq!((a.meets(&b), b.meets(&a)), (is_shared, is_shared));
            prop_assert!(union.covers(&a) && union.covers(&b) && union.is_canonical());
        }
    }
}
