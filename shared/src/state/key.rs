//! A key's state: its header and elements, the delta between two of its states, and the one merge.
//!
//! Invariants: every dot that an element's base mentions is in the context; the wipe is part of the context; an element
//! with nothing recorded is not stored; counts and ranks agree with the elements.

use super::{Base, Ctx, Deadline, DeadlineChange, Effect, Element, ElementId, Kind, NewBase, Ranks, SeenCuts};
use crate::{
    hlc::Hlc,
    id::{Dot, No, ReplicaId, Stamp, TimestampMs},
};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, ops::Bound};

/// Per type the latest stamp of a write.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Claims(BTreeMap<Kind, Stamp>);

impl Claims {
    fn raise(&mut self, kind: Kind, stamp: Stamp) -> bool {
        if self.0.get(&kind).is_some_and(|own| *own >= stamp) {
            return false;
        }
        self.0.insert(kind, stamp);
        true
    }

    fn join(&mut self, other: &Self) -> bool {
        other.0.iter().fold(false, |changed, (kind, stamp)| self.raise(*kind, *stamp) | changed)
    }

    /// The latest write of `kind`.
    pub fn of(&self, kind: Kind) -> Option<Stamp> {
        self.0.get(&kind).copied()
    }

    /// Every claim.
    pub fn iter(&self) -> impl Iterator<Item = (Kind, Stamp)> + '_ {
        self.0.iter().map(|(kind, stamp)| (*kind, *stamp))
    }
}

impl FromIterator<(Kind, Stamp)> for Claims {
    fn from_iter<I: IntoIterator<Item = (Kind, Stamp)>>(claims: I) -> Self {
        Self(claims.into_iter().collect())
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
    /// Each touched element with the base dots that were declared dead there.
    pub elements: BTreeMap<ElementId, Vec<Dot>>,
}

impl Touched {
    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        !self.header && self.elements.is_empty()
    }

    /// Adds what another change touched.
    pub fn extend(&mut self, other: Self) {
        self.header |= other.header;
        for (id, dead) in other.elements {
            self.elements.entry(id).or_default().extend(dead);
        }
    }
}

/// A key's state.
#[derive(Clone, Debug, Default)]
pub struct KeyState {
    header: Header,
    elements: BTreeMap<ElementId, Element>,
    present: [usize; 4],
    ranks: Ranks,
}

impl PartialEq for KeyState {
    fn eq(&self, other: &Self) -> bool {
        self.header == other.header && self.elements == other.elements
    }
}

impl KeyState {
    /// The header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// One element, if anything is recorded of it.
    pub fn element(&self, id: &ElementId) -> Option<&Element> {
        self.elements.get(id)
    }

    /// Every element of one type, in name order, present or not.
    pub fn elements_of(&self, kind: Kind) -> impl Iterator<Item = (&ElementId, &Element)> + '_ {
        let first = ElementId::of(kind, Bytes::new());
        self.elements.range((Bound::Included(first), Bound::Unbounded)).take_while(move |(id, _)| id.kind() == kind)
    }

    /// Every element.
    pub fn elements(&self) -> impl Iterator<Item = (&ElementId, &Element)> + '_ {
        self.elements.iter()
    }

    /// How many elements of `kind` a reader sees, were that the type shown.
    pub fn count(&self, kind: Kind) -> usize {
        self.present.get(kind as usize).copied().unwrap_or_default()
    }

    /// The board's order.
    pub fn ranks(&self) -> &Ranks {
        &self.ranks
    }

    /// The type that the key shows at `now`: of the types with anything in them, the one with the latest claim. `None`
    /// when the key does not exist for a reader.
    pub fn shown(&self, now: TimestampMs) -> Option<Kind> {
        if self.header.deadline.is_past(now) {
            return None;
        }
        self.stored_kind()
    }

    /// The type that would show if the deadline had not passed.
    pub fn stored_kind(&self) -> Option<Kind> {
        Kind::ALL.into_iter().filter(|kind| self.count(*kind) > 0).max_by_key(|kind| self.header.claims.of(*kind))
    }

    /// Whether any type has anything in it, shown or not.
    pub fn has_content(&self) -> bool {
        self.present.iter().any(|count| *count > 0)
    }

    /// Whether nothing at all is recorded.
    pub fn is_empty(&self) -> bool {
        self.elements.is_empty() && self.header == Header::default()
    }

    /// The whole state as a delta. Linear in the key.
    pub fn to_complete_delta(&self) -> KeyDelta {
        KeyDelta {
            header: self.header.clone(),
            complete: true,
            elements: self.elements.iter().map(|(id, element)| (id.clone(), element.clone())).collect(),
        }
    }

    /// A delta of the listed elements (ascending) that speaks of `ctx`.
    pub fn to_delta<'a>(&self, ctx: Ctx, ids: impl IntoIterator<Item = &'a ElementId>) -> KeyDelta {
        let elements = ids
            .into_iter()
            .map(|id| {
                let element = self.elements.get(id).cloned().unwrap_or_else(|| Element::empty(id.kind()));
                (id.clone(), element)
            })
            .collect();
        KeyDelta { header: Header { ctx, ..self.header.clone() }, complete: false, elements }
    }

    /// Applies one own effect under a fresh dot. Linear in what it touches; a wipe in the key.
    pub fn apply(&mut self, effect: &Effect, mint: Mint) -> Touched {
        let stamp = Stamp { hlc: mint.hlc, dot: mint.dot };
        let mut touched = Touched { header: true, ..Touched::default() };
        self.learn_own(mint.dot);
        match effect {
            Effect::Write { element, base, seen, cuts } => {
                for dot in seen {
                    self.header.ctx.insert(*dot);
                }
                let fresh = base.as_ref().map(|base| stamped(base, mint.hlc));
                let is_write = fresh.is_some();
                self.change(element, |state| {
                    state.base.remove_if(|dot| seen.contains(&dot));
                    state.sum.cut(cuts);
                    if let Some(base) = fresh {
                        state.base.insert(mint.dot, base);
                    }
                });
                if is_write {
                    self.header.claims.raise(element.kind(), stamp);
                }
                touched.elements.insert(element.clone(), seen.clone());
            }
            Effect::Add { element, by } => {
                self.change(element, |state| state.sum.add(mint.dot.replica, mint.dot.no, *by));
                self.header.claims.raise(element.kind(), stamp);
                touched.elements.insert(element.clone(), Vec::new());
            }
            Effect::Wipe { seen, cuts } => {
                self.header.ctx.union(seen);
                self.header.wipe.union(seen);
                touched.extend(self.bury(seen, true));
                for (id, cuts) in cuts {
                    if !fault!(WipeWithoutCuts) && self.change(id, |state| state.sum.cut(cuts)) {
                        touched.elements.entry(id.clone()).or_default();
                    }
                }
            }
            Effect::Deadline(DeadlineChange::Raise(at)) => self.header.deadline.raise(*at),
            Effect::Deadline(DeadlineChange::Open(at)) => self.header.deadline.open(stamp, *at),
        }
        touched
    }

    /// Joins a delta: the one merge of all tiers. Linear in the delta; in the key where the delta is complete or brings a
    /// wipe that is new here.
    pub fn join(&mut self, delta: &KeyDelta) -> Touched {
        let mut touched = Touched::default();
        let own_ctx = self.header.ctx.clone();
        for (id, theirs) in &delta.elements {
            if self.change(id, |own| own.join(theirs, &own_ctx, &delta.header.ctx)) {
                touched.elements.entry(id.clone()).or_default();
            }
        }
        if !self.header.wipe.covers(&delta.header.wipe) {
            self.header.wipe.union(&delta.header.wipe);
            touched.header = true;
            if !fault!(WipeForgetsDots) {
                touched.extend(self.bury(&delta.header.wipe, false));
            }
        }
        if delta.complete {
            let listed = |id: &ElementId| delta.elements.binary_search_by(|(other, _)| other.cmp(id)).is_ok();
            let absent: Vec<ElementId> = self.elements.keys().filter(|id| !listed(id)).cloned().collect();
            for id in absent {
                if self.change(&id, |own| own.base.remove_if(|dot| delta.header.ctx.contains(dot))) {
                    touched.elements.entry(id).or_default();
                }
            }
        }
        touched.header |= self.header.ctx.union(&delta.header.ctx);
        touched.header |= self.header.claims.join(&delta.header.claims);
        touched.header |= self.header.deadline.join(&delta.header.deadline);
        touched
    }

    /// Learns that `(last known, through]` of a replica concerns this key no further than what is recorded.
    pub fn bridge(&mut self, replica: ReplicaId, through: No) -> bool {
        let Some(last) = self.header.ctx.of(replica).and_then(super::Intervals::last) else { return false };
        self.header.ctx.insert_interval(replica, last, through)
    }

    /// Puts a stored element back, as it was persisted.
    pub fn restore_element(&mut self, id: &ElementId, element: Element) {
        self.change(id, |own| *own = element);
    }

    /// Puts a stored header back, as it was persisted.
    pub fn restore_header(&mut self, header: Header) {
        self.header = header;
    }

    /// What an operation that removes the whole key sees.
    pub fn seen_whole(&self) -> Effect {
        let cuts = self
            .elements
            .iter()
            .filter(|(_, element)| element.sum.is_visible())
            .map(|(id, element)| (id.clone(), element.sum.seen()))
            .collect();
        Effect::Wipe { seen: self.header.ctx.clone(), cuts }
    }

    /// The dots and sums that an operation on one element sees.
    pub fn seen(&self, id: &ElementId) -> (Vec<Dot>, SeenCuts) {
        match self.elements.get(id) {
            Some(element) => (element.base.dots().collect(), element.sum.seen()),
            None => (Vec::new(), Element::empty(id.kind()).sum.seen()),
        }
    }

    /// All own numbers are known here, so the context's own interval stays one.
    fn learn_own(&mut self, dot: Dot) {
        if !self.bridge(dot.replica, dot.no) {
            self.header.ctx.insert(dot);
        }
    }

    /// Drops every base dot that `dead` covers. Says which were dropped when asked to `declare` them.
    fn bury(&mut self, dead: &Ctx, declare: bool) -> Touched {
        let hit: Vec<(ElementId, Vec<Dot>)> = self
            .elements
            .iter()
            .filter_map(|(id, element)| {
                let dots: Vec<Dot> = element.base.dots().filter(|dot| dead.contains(*dot)).collect();
                (!dots.is_empty()).then(|| (id.clone(), dots))
            })
            .collect();
        let mut touched = Touched::default();
        for (id, dots) in hit {
            self.change(&id, |element| element.base.remove_if(|dot| dots.contains(&dot)));
            touched.elements.insert(id, if declare { dots } else { Vec::new() });
        }
        touched
    }

    /// The only door to an element: keeps the counts and ranks in step, and stores nothing that is empty.
    fn change<R>(&mut self, id: &ElementId, change: impl FnOnce(&mut Element) -> R) -> R {
        let mut element = self.elements.remove(id).unwrap_or_else(|| Element::empty(id.kind()));
        let before = (element.is_present(), element.score());
        let result = change(&mut element);
        let after = (element.is_present(), element.score());
        if let Some(count) = self.present.get_mut(id.kind() as usize) {
            *count = count.saturating_add(usize::from(after.0)).saturating_sub(usize::from(before.0));
        }
        if let ElementId::Ranked(member) = id
            && before != after
        {
            if let (true, Some(score)) = before {
                self.ranks.remove(score, member);
            }
            if let (true, Some(score)) = after {
                self.ranks.insert(score, member.clone());
            }
        }
        if !element.is_empty() {
            self.elements.insert(id.clone(), element);
        }
        result
    }
}

fn stamped(base: &NewBase, hlc: Hlc) -> Base {
    match base {
        NewBase::Member => Base::Member,
        NewBase::Bytes(value) => Base::Bytes { hlc, value: value.clone() },
        NewBase::Abs(score) => Base::Abs { hlc, score: score + 0.0 },
        NewBase::Max(score) => Base::Max(score + 0.0),
        NewBase::Min(score) => Base::Min(score + 0.0),
    }
}
