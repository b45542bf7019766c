//! What a key is made of beside its elements, the delta between two of its states, and what a change touches.

use super::{Ctx, Deadline, Element, ElementId, Kind};
use crate::{
    few::Few,
    hlc::Hlc,
    id::{Dot, Stamp},
    ordered::sort,
};
use serde::{Deserialize, Serialize};

/// Per type the latest stamp of a write. Sorted by type, each once.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Claims(Few<(Kind, Stamp), 1>);

impl Claims {
    pub(super) fn raise(&mut self, kind: Kind, stamp: Stamp) -> bool {
        match self.0.binary_search_by_key(&kind, |(kind, _)| *kind) {
            Ok(at) => {
                let Some((_, own)) = self.0.get_mut(at) else { return false };
                let is_later = *own < stamp;
                *own = (*own).max(stamp);
                is_later
            }
            Err(at) => {
                self.0.insert(at, (kind, stamp));
                true
            }
        }
    }

    pub(super) fn join(&mut self, other: &Self) -> bool {
        other.0.iter().fold(false, |changed, (kind, stamp)| self.raise(*kind, *stamp) | changed)
    }

    /// The latest write of `kind`.
    pub fn of(&self, kind: Kind) -> Option<Stamp> {
        self.0.iter().find(|(own, _)| *own == kind).map(|(_, stamp)| *stamp)
    }

    /// Adds the claim of a type that sorts after all others here; an unpacker builds claims so.
    pub(super) fn push(&mut self, kind: Kind, stamp: Stamp) {
        self.0.push((kind, stamp));
    }

    /// Every claim.
    pub fn iter(&self) -> impl Iterator<Item = (Kind, Stamp)> + '_ {
        self.0.iter().map(|(kind, stamp)| (*kind, *stamp))
    }
}

impl FromIterator<(Kind, Stamp)> for Claims {
    fn from_iter<I: IntoIterator<Item = (Kind, Stamp)>>(claims: I) -> Self {
        let mut all = Self::default();
        for (kind, stamp) in claims {
            all.raise(kind, stamp);
        }
        all
    }
}

/// The part of a key that is not per element.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Header {
    /// What is known of the key. In a [`KeyDelta`]: what the delta speaks of.
    pub ctx: Ctx,
    /// What whole-key removals saw.
    pub wipe: Ctx,
    /// Which type shows.
    pub claims: Claims,
    /// When the key ends.
    pub deadline: Deadline,
}

/// A part of a key's state on its way to another replica.
///
/// The sender claims, for each dot of `header.ctx`: it lives in one of `elements`; or it is dead; or (unless `complete`) it
/// lives in an element not listed, which the receiver has as it is. How the receiver can be sure of the last is the
/// protocol's business: see [`crate::hub`] and [`crate::origin`].
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct KeyDelta {
    /// The header; its context is the claim.
    pub header: Header,
    /// Whether an element that is not listed has nothing alive under the context.
    pub complete: bool,
    /// The elements, ascending by id. An empty one lists a removal.
    pub elements: Vec<(ElementId, Element)>,
}

impl KeyDelta {
    /// The latest time that any stamp in the delta bears.
    pub fn latest_hlc(&self) -> Option<Hlc> {
        let claims = self.header.claims.iter().map(|(_, stamp)| stamp.hlc);
        let epoch = self.header.deadline.epoch().map(|stamp| stamp.hlc);
        let elements = self.elements.iter().filter_map(|(_, element)| element.latest_hlc());
        claims.chain(epoch).chain(elements).max()
    }

    /// Whether everything in it keeps its invariants; a decoder asks.
    pub fn is_canonical(&self) -> bool {
        let header = &self.header;
        header.ctx.is_canonical()
            && header.wipe.is_canonical()
            && header.ctx.covers(&header.wipe)
            && self.elements.windows(2).all(|pair| matches!(pair, [(a, _), (b, _)] if a < b))
            && self.elements.iter().all(|(id, element)| {
                element.is_canonical(id.kind()) && element.base.dots().all(|dot| header.ctx.contains(dot))
            })
    }
}

/// A fresh number and time for one own effect.
#[derive(Clone, Copy, Debug)]
pub struct Mint {
    /// The operation.
    pub dot: Dot,
    /// When it happened.
    pub hlc: Hlc,
}

/// What a change touched, so that it can be stored, sent and shown.
#[must_use]
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Touched {
    /// Whether the header changed.
    pub header: bool,
    /// Each touched element with the base dots that were declared dead there. An element may stand here twice.
    pub elements: Few<(ElementId, Few<Dot, 1>), 1>,
}

impl Touched {
    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        !self.header && self.elements.is_empty()
    }

    /// Adds what another change touched.
    pub fn extend(&mut self, other: Self) {
        self.header |= other.header;
        self.elements.extend(other.elements);
    }

    /// The touched elements, ascending, each once. Linearithmic.
    pub fn ids(&self) -> Vec<&ElementId> {
        let mut ids: Vec<&ElementId> = self.elements.iter().map(|(id, _)| id).collect();
        sort(&mut ids);
        ids.dedup();
        ids
    }

    pub(super) fn note(&mut self, id: &ElementId) {
        self.elements.push((id.clone(), Few::new()));
    }
}
