//! Values under dots, joined with the causal contexts of both sides (Almeida, Shoker, Baquero: delta-state CRDTs, 2018).
//!
//! Absence means removed only where the context covers it. Losers of concurrent writes are kept until an operation that
//! observed them removes them; dropping them in the join would not be associative.

use super::Ctx;
use crate::{few::Few, id::Dot};
use serde::{Deserialize, Serialize};

/// A map from dots to payloads, sorted by dot; nearly always of length one.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(bound(serialize = "P: Serialize", deserialize = "P: Deserialize<'de>"))]
pub struct Causal<P>(Few<(Dot, P), 1>);

impl<P> Default for Causal<P> {
    fn default() -> Self {
        Self(Few::new())
    }
}

impl<P: Clone + PartialEq> Causal<P> {
    /// Adds a payload under a fresh dot.
    pub fn insert(&mut self, dot: Dot, payload: P) {
        match self.0.binary_search_by_key(&dot, |(d, _)| *d) {
            // A dot names one operation, so its payload is the same.
            Ok(_) => {}
            Err(at) => self.0.insert(at, (dot, payload)),
        }
    }

    /// Adds a payload whose dot sorts after all others here; an unpacker builds maps so.
    pub(super) fn push(&mut self, dot: Dot, payload: P) {
        self.0.push((dot, payload));
    }

    /// Makes room for so many more.
    pub(super) fn reserve(&mut self, more: usize) {
        self.0.reserve(more);
    }

    /// Drops the payloads whose dots `dead` names; returns whether any went.
    pub fn remove_if(&mut self, dead: impl Fn(Dot) -> bool) -> bool {
        let before = self.0.len();
        self.0.retain(|(dot, _)| !dead(*dot));
        self.0.len() != before
    }

    /// Joins `other`, known under `other_ctx`, into this, known under `own_ctx`: a payload stays if both have it, or if
    /// one has it and the other's context does not cover it. Linear in the two maps.
    pub fn join(&mut self, other: &Self, own_ctx: &Ctx, other_ctx: &Ctx) -> bool {
        let mut changed = false;
        if !fault!(CausalKeepsRemoved) {
            changed |= self.remove_if(|dot| other_ctx.contains(dot) && !other.contains(dot));
        }
        for (dot, payload) in &other.0 {
            if !self.contains(*dot) && !own_ctx.contains(*dot) {
                self.insert(*dot, payload.clone());
                changed = true;
            }
        }
        if fault!(CausalDropsUnseen) && self.0.len() > 1 {
            self.0.truncate(1);
        }
        changed
    }

    /// Whether `dot` is present.
    pub fn contains(&self, dot: Dot) -> bool {
        self.0.binary_search_by_key(&dot, |(d, _)| *d).is_ok()
    }

    /// The dots and payloads in dot order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (Dot, &P)> + '_ {
        self.0.iter().map(|(dot, payload)| (*dot, payload))
    }

    /// The dots in order.
    pub fn dots(&self) -> impl Iterator<Item = Dot> + '_ {
        self.0.iter().map(|(dot, _)| *dot)
    }

    /// Whether nothing is present.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many payloads are present.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the dots ascend strictly; a decoder asks.
    pub fn is_canonical(&self) -> bool {
        self.0.windows(2).all(|pair| matches!(pair, [(a, _), (b, _)] if a < b))
    }
}
