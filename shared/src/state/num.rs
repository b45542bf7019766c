//! Counters with observed reset: each replica's running sum, and where resets stand in it.
//!
//! ```text
//! Num<A> = Map<Replica, { ent: (n, o, acc), cut: (m, acc) }>
//! visible(r) = 0 if n <= m, else acc - (cut.acc if m > o else 0)
//! ```
//! A reset is a pointer into each replica's sum, never the removal of a dot that carries a cumulative value: a SET that saw
//! 5 of a sum that meanwhile became 7 leaves 2 (Baquero et al. 2016 describe the anomaly of the other encoding).
//!
//! Invariant: a cut with `m <= o` says nothing and is dropped, so equal states are equal bytes.

use crate::{
    few::Few,
    id::{No, ReplicaId},
};
use serde::{Deserialize, Serialize};

/// What a counter adds up: exact integers, or finite floats.
pub trait Amount: Copy + PartialEq {
    /// Nothing.
    const ZERO: Self;
    /// `self + other`, saturating where the type has an end.
    fn plus(self, other: Self) -> Self;
    /// `self - other`, saturating where the type has an end.
    fn minus(self, other: Self) -> Self;
}

impl Amount for i128 {
    const ZERO: Self = 0;

    fn plus(self, other: Self) -> Self {
        self.saturating_add(other)
    }

    fn minus(self, other: Self) -> Self {
        self.saturating_sub(other)
    }
}

impl Amount for f64 {
    const ZERO: Self = 0.0;

    fn plus(self, other: Self) -> Self {
        (self + other).clamp(Self::MIN, Self::MAX)
    }

    fn minus(self, other: Self) -> Self {
        (self - other).clamp(Self::MIN, Self::MAX)
    }
}

/// A replica's own running sum, written by that replica alone.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Entry<A> {
    /// Number of the replica's latest increment here.
    pub n: No,
    /// The reset after which `acc` started from zero.
    pub o: No,
    /// The amount accumulated since `o`.
    pub acc: A,
}

/// Where a reset stands in a replica's sum.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Cut<A> {
    /// The number of the last increment that the reset saw.
    pub m: No,
    /// The sum that it saw.
    pub acc: A,
}

/// One replica's share.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Part<A> {
    /// The running sum.
    pub ent: Option<Entry<A>>,
    /// The furthest reset in it.
    pub cut: Option<Cut<A>>,
}

impl<A: Amount> Part<A> {
    const EMPTY: Self = Self { ent: None, cut: None };

    /// What no reset has seen.
    pub(super) fn visible(&self) -> A {
        let Some(ent) = self.ent else { return A::ZERO };
        if fault!(CutIgnored) {
            return ent.acc;
        }
        match self.cut {
            Some(cut) if ent.n <= cut.m => A::ZERO,
            Some(_) if fault!(CutTakesWholeSum) => A::ZERO,
            Some(cut) if cut.m > ent.o => ent.acc.minus(cut.acc),
            _ => ent.acc,
        }
    }

    /// Whether anything goes beyond the reset.
    pub(super) fn is_visible(&self) -> bool {
        self.ent.is_some_and(|ent| self.cut.is_none_or(|cut| ent.n > cut.m))
    }

    fn normalise(&mut self) {
        if let (Some(ent), Some(cut)) = (self.ent, self.cut)
            && cut.m <= ent.o
        {
            self.cut = None;
        }
    }

    fn join(&mut self, other: &Self) -> bool {
        let before = *self;
        if let Some(theirs) = other.ent
            && self.ent.is_none_or(|own| own.n < theirs.n)
        {
            self.ent = Some(theirs);
        }
        if let Some(theirs) = other.cut
            && self.cut.is_none_or(|own| own.m < theirs.m)
        {
            self.cut = Some(theirs);
        }
        self.normalise();
        *self != before
    }
}

/// A counter: the sum over replicas of what resets have not seen. Sorted by replica, each once.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(bound(serialize = "A: Serialize", deserialize = "A: Deserialize<'de>"))]
pub struct Num<A>(Few<(ReplicaId, Part<A>), 1>);

impl<A> Default for Num<A> {
    fn default() -> Self {
        Self(Few::new())
    }
}

/// A cut of one replica's sum, as an operation observed it.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct SeenCut<A> {
    /// Whose sum.
    pub replica: ReplicaId,
    /// Up to where, and how much.
    pub cut: Cut<A>,
}

impl<A: Amount> Num<A> {
    /// Adds `by` to the sum of `replica`, the caller's own, as its operation `no`.
    pub fn add(&mut self, replica: ReplicaId, no: No, by: A) {
        let part = self.entry(replica);
        let cut_at = part.cut.map_or(No::ZERO, |cut| cut.m);
        let fresh = Entry { n: no, o: if fault!(EntryRestartsUnmarked) { No::ZERO } else { cut_at }, acc: by };
        part.ent = Some(match part.ent {
            // The whole sum is cut: start again behind the cut.
            Some(ent) if ent.n <= cut_at => fresh,
            Some(ent) => Entry { n: no, o: ent.o, acc: ent.acc.plus(by) },
            None => fresh,
        });
        part.normalise();
    }

    /// Moves the reset of one replica's sum up to `seen`; returns whether that changed anything.
    pub fn cut(&mut self, seen: SeenCut<A>) -> bool {
        self.entry(seen.replica).join(&Part { ent: None, cut: Some(seen.cut) })
    }

    /// The cuts that an operation makes which resets all that is visible here.
    pub fn seen(&self) -> Vec<SeenCut<A>> {
        self.0
            .iter()
            .filter(|(_, part)| part.is_visible())
            .filter_map(|(replica, part)| {
                part.ent.map(|ent| SeenCut { replica: *replica, cut: Cut { m: ent.n, acc: ent.acc } })
            })
            .collect()
    }

    /// Joins: per replica the latest entry and the furthest cut. Returns whether anything changed.
    pub fn join(&mut self, other: &Self) -> bool {
        let mut changed = false;
        for (replica, theirs) in &other.0 {
            changed |= self.entry(*replica).join(theirs);
        }
        changed
    }

    /// The sum of what is visible, taken in replica order so that all replicas agree to the bit.
    pub fn value(&self) -> A {
        self.0.iter().fold(A::ZERO, |sum, (_, part)| sum.plus(part.visible()))
    }

    /// Whether any replica's sum goes beyond its cut.
    pub fn is_visible(&self) -> bool {
        self.0.iter().any(|(_, part)| part.is_visible())
    }

    /// Whether nothing at all is recorded.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many replicas have a share.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The counter with these shares, ascending by replica. `None` when one breaks the invariant; a decoder asks.
    pub fn from_parts(parts: impl IntoIterator<Item = (ReplicaId, Part<A>)>) -> Option<Self> {
        let num = Self(parts.into_iter().collect());
        num.is_canonical().then_some(num)
    }

    /// One replica's share.
    pub fn part(&self, replica: ReplicaId) -> Option<&Part<A>> {
        self.position(replica).ok().and_then(|at| self.0.get(at)).map(|(_, part)| part)
    }

    /// Every replica's share, in replica order.
    pub fn parts(&self) -> impl Iterator<Item = (ReplicaId, &Part<A>)> + '_ {
        self.0.iter().map(|(replica, part)| (*replica, part))
    }

    /// Forgets one replica's share; used to drop a leaf's provisional sum.
    pub fn remove(&mut self, replica: ReplicaId) {
        if let Ok(at) = self.position(replica) {
            self.0.remove(at);
        }
    }

    /// What one replica contributes to [`Num::value`].
    pub fn visible_of(&self, replica: ReplicaId) -> A {
        self.part(replica).map_or(A::ZERO, Part::visible)
    }

    /// How much more is visible of one replica's share than if its entry were that of `before`.
    pub fn ahead_of(&self, before: &Self, replica: ReplicaId) -> A {
        let Some(part) = self.part(replica) else { return A::ZERO };
        let held = Part { ent: before.part(replica).and_then(|part| part.ent), cut: part.cut };
        part.visible().minus(held.visible())
    }

    /// Whether the representation keeps the invariant; a decoder asks.
    pub fn is_canonical(&self) -> bool {
        let is_normal = |part: &Part<A>| {
            let mut normal = *part;
            normal.normalise();
            normal == *part && (part.ent.is_some() || part.cut.is_some())
        };
        self.0.iter().all(|(_, part)| is_normal(part))
            && self.0.windows(2).all(|pair| matches!(pair, [(a, _), (b, _)] if a < b))
    }

    /// Adds the share of a replica that sorts after all others here; a decoder builds sums so.
    pub(super) fn push(&mut self, replica: ReplicaId, part: Part<A>) {
        self.0.push((replica, part));
    }

    fn position(&self, replica: ReplicaId) -> Result<usize, usize> {
        self.0.binary_search_by_key(&replica, |(own, _)| *own)
    }

    fn entry(&mut self, replica: ReplicaId) -> &mut Part<A> {
        let at = match self.position(replica) {
            Ok(at) => at,
            Err(at) => {
                self.0.insert(at, (replica, Part::EMPTY));
                at
            }
        };
        &mut self.0.get_mut(at).expect("the position was found or just filled").1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: ReplicaId = ReplicaId::LEAF;

    fn replica(bits: u64) -> ReplicaId {
        ReplicaId::from_bits(bits)
    }

    #[test]
    fn a_reset_that_saw_five_of_seven_leaves_two() {
        let mut at_counter = Num::<i128>::default();
        at_counter.add(replica(1), No(1), 5);
        let mut at_setter = at_counter.clone();
        for seen in at_setter.seen() {
            assert!(at_setter.cut(seen));
        }
        at_counter.add(replica(1), No(2), 2);
        at_setter.join(&at_counter);
        at_counter.join(&at_setter.clone());
        assert_eq!((at_setter.value(), at_counter.value()), (2, 2));
        assert_eq!(at_setter, at_counter);
    }

    #[test]
    fn an_entry_starts_again_behind_a_cut_of_its_whole_sum() {
        let mut num = Num::<i128>::default();
        num.add(A, No(1), 5);
        for seen in num.seen() {
            assert!(num.cut(seen));
        }
        assert_eq!(num.value(), 0);
        assert!(!num.is_visible());
        num.add(A, No(9), 3);
        assert_eq!(num.value(), 3);
        assert_eq!(num.part(A), Some(&Part { ent: Some(Entry { n: No(9), o: No(1), acc: 3 }), cut: None }));
    }
}
