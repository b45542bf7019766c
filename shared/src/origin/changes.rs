//! At which sequence of its slot each element of a key changed last.
//!
//! Most keys have one element or a few: these stand in a list, for a node of a tree has room for eleven whatever is in it. A
//! key of many has them in both orders.

use crate::state::ElementId;
use std::collections::{BTreeMap, BTreeSet};

/// So many elements are looked through one by one.
const FEW: usize = 8;

/// Elements with the sequence of their last change, removed ones among them.
#[derive(Clone, Debug)]
pub(super) enum Changes {
    /// In no order.
    Few(Vec<(ElementId, u64)>),
    /// By element, and by sequence.
    Many(BTreeMap<ElementId, u64>, BTreeSet<(u64, ElementId)>),
}

impl Default for Changes {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

impl Changes {
    /// How many elements are noted.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Few(few) => few.len(),
            Self::Many(of, _) => of.len(),
        }
    }

    /// Notes that an element changed at `seq`. Logarithmic in the elements.
    pub(super) fn note(&mut self, id: &ElementId, seq: u64) {
        match self {
            Self::Few(few) => {
                if let Some((_, last)) = few.iter_mut().find(|(other, _)| other == id) {
                    *last = seq;
                } else if few.len() < FEW {
                    // Exactly one more: most have only one.
                    few.reserve_exact(1);
                    few.push((id.clone(), seq));
                } else {
                    let of: BTreeMap<ElementId, u64> = std::mem::take(few).into_iter().collect();
                    let by_change = of.iter().map(|(id, seq)| (*seq, id.clone())).collect();
                    *self = Self::Many(of, by_change);
                    self.note(id, seq);
                }
            }
            Self::Many(of, by_change) => {
                if let Some(before) = of.insert(id.clone(), seq) {
                    by_change.remove(&(before, id.clone()));
                }
                by_change.insert((seq, id.clone()));
            }
        }
    }

    /// Forgets an element.
    pub(super) fn forget(&mut self, id: &ElementId) {
        match self {
            Self::Few(few) => few.retain(|(other, _)| other != id),
            Self::Many(of, by_change) => {
                if let Some(seq) = of.remove(id) {
                    by_change.remove(&(seq, id.clone()));
                }
            }
        }
    }

    /// The elements that changed after `seq`, ascending by id.
    pub(super) fn after(&self, seq: u64) -> BTreeSet<ElementId> {
        match self {
            Self::Few(few) => few.iter().filter(|(_, at)| *at > seq).map(|(id, _)| id.clone()).collect(),
            Self::Many(_, by_change) => {
                let first = (seq.saturating_add(1), ElementId::String);
                by_change.range(first..).map(|(_, id)| id.clone()).collect()
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn member(n: u64) -> ElementId {
        ElementId::Member(n.to_string().into())
    }

    #[test]
    fn few_and_many_elements_are_told_alike() {
        for count in [1, 8, 9, 30] {
            let mut changes = Changes::default();
            (0..count).for_each(|n| changes.note(&member(n), n + 1));
            assert_eq!(changes.len() as u64, count);
            for seq in 0..=count {
                assert_eq!(changes.after(seq), (seq..count).map(member).collect(), "{count} elements after {seq}");
            }
            changes.note(&member(0), 100);
            assert_eq!(changes.after(99), BTreeSet::from([member(0)]), "the last change of {count} counts");
            assert_eq!(changes.len() as u64, count);
            changes.forget(&member(0));
            changes.forget(&member(1_000));
            assert_eq!(changes.after(99), BTreeSet::new(), "what is forgotten of {count} did not change");
            assert_eq!(changes.len() as u64, count - 1);
        }
    }
}
