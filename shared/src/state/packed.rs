//! A key packed into an arena, and the one algebra on it: own effects, and the join with others' deltas.
//!
//! Invariants: every dot that an element's base mentions is in the context; the wipe is part of the context; an element
//! with nothing recorded is not stored. To change a key it is opened: its header and string unpacked, and packed again
//! when it is closed; elements of collections are unpacked one at a time.

use super::{
    Base, Ctx, DeadlineChange, Effect, Element, ElementId, Intervals, KeyDelta, Kind, Mint, NewBase, Touched,
    collection::Collection,
    pack::{self, Scalar},
};
use crate::{
    arena::{Arena, Block},
    hlc::Hlc,
    id::{Dot, No, ReplicaId, Stamp},
};
use smallvec::SmallVec;

/// A key's place in an arena: its block, and its collections if it has any.
#[derive(Clone, Debug, Default)]
pub(crate) struct PackedKey {
    pub(super) block: Option<Block>,
    pub(super) collections: Option<Box<[Option<Collection>; 3]>>,
}

impl PackedKey {
    /// A key with nothing recorded, whose block begins with its name.
    pub(crate) fn named(arena: &mut Arena, name: &[u8]) -> Self {
        Self { block: Some(pack::named(arena, name)), collections: None }
    }

    /// The name that the key was given.
    pub(crate) fn name<'a>(&self, arena: &'a Arena) -> &'a [u8] {
        self.block.map_or(&[], |block| pack::name(arena, block))
    }

    /// Unpacks the key for a change.
    pub(crate) fn open<'a>(&'a mut self, arena: &'a mut Arena) -> Open<'a> {
        let scalar = Scalar::load(arena, self.block);
        Open { arena, scalar, collections: &mut self.collections, block: &mut self.block }
    }

    /// Gives back all that the key has in the arena. Linear in its elements.
    pub(crate) fn drop_from(mut self, arena: &mut Arena) {
        for collection in self.collections.iter_mut().flat_map(|all| all.iter_mut()).flatten() {
            collection.drop_all(arena);
        }
        if let Some(block) = self.block {
            pack::drop_scalar(arena, block);
        }
    }

    pub(super) fn collection(&self, kind: Kind) -> Option<&Collection> {
        self.collections.as_ref()?.get(place(kind)?)?.as_ref()
    }

    /// The bytes that the key has allocated outside its arena.
    pub(crate) fn memory_bytes(&self) -> usize {
        let Some(all) = &self.collections else { return 0 };
        let inner: usize = all.iter().flatten().map(Collection::memory_bytes).sum();
        inner.saturating_add(size_of_val(&**all))
    }
}

/// Where a type's elements are; a string stands beside the header.
fn place(kind: Kind) -> Option<usize> {
    match kind {
        Kind::String => None,
        Kind::Set => Some(0),
        Kind::Hash => Some(1),
        Kind::Board => Some(2),
    }
}

/// A key unpacked for a change. Nothing of the header or the string is kept unless it is closed.
pub(crate) struct Open<'a> {
    arena: &'a mut Arena,
    pub(super) scalar: Scalar,
    collections: &'a mut Option<Box<[Option<Collection>; 3]>>,
    block: &'a mut Option<Block>,
}

impl Open<'_> {
    /// Packs the header and the string again.
    pub(crate) fn close(self) {
        *self.block = Some(self.scalar.store(self.arena, *self.block));
    }

    /// Applies one own effect under a fresh dot. Linear in what it touches; a wipe in the key.
    pub(crate) fn apply(&mut self, effect: &Effect, mint: Mint) -> Touched {
        let stamp = Stamp { hlc: mint.hlc, dot: mint.dot };
        let mut touched = Touched { header: true, ..Touched::default() };
        self.learn_own(mint.dot);
        match effect {
            Effect::Write { element, base, seen, cuts } => {
                for dot in seen {
                    self.scalar.header.ctx.insert(*dot);
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
                    self.scalar.header.claims.raise(element.kind(), stamp);
                }
                touched.elements.push((element.clone(), SmallVec::from_slice(seen)));
            }
            Effect::Add { element, by } => {
                self.change(element, |state| state.sum.add(mint.dot.replica, mint.dot.no, *by));
                self.scalar.header.claims.raise(element.kind(), stamp);
                touched.note(element);
            }
            Effect::Wipe { seen, cuts } => {
                self.scalar.header.ctx.union(seen);
                self.scalar.header.wipe.union(seen);
                touched.extend(self.bury(seen, true));
                for (id, cuts) in cuts {
                    if !fault!(WipeWithoutCuts) && self.change(id, |state| state.sum.cut(cuts)) {
                        touched.note(id);
                    }
                }
            }
            Effect::Deadline(DeadlineChange::Raise(at)) => self.scalar.header.deadline.raise(*at),
            Effect::Deadline(DeadlineChange::Open(at)) => self.scalar.header.deadline.open(stamp, *at),
        }
        touched
    }

    /// Joins a delta: the one merge of all tiers. Linear in the delta; in the key where the delta is complete or brings a
    /// wipe that is new here.
    pub(crate) fn join(&mut self, delta: &KeyDelta) -> Touched {
        let mut touched = Touched::default();
        let own_ctx = std::mem::take(&mut self.scalar.header.ctx);
        for (id, theirs) in &delta.elements {
            if self.change(id, |own| own.join(theirs, &own_ctx, &delta.header.ctx)) {
                touched.note(id);
            }
        }
        self.scalar.header.ctx = own_ctx;
        if !self.scalar.header.wipe.covers(&delta.header.wipe) {
            self.scalar.header.wipe.union(&delta.header.wipe);
            touched.header = true;
            if !fault!(WipeForgetsDots) {
                touched.extend(self.bury(&delta.header.wipe, false));
            }
        }
        if delta.complete {
            let listed = |id: &ElementId| delta.elements.binary_search_by(|(other, _)| other.cmp(id)).is_ok();
            let absent: Vec<ElementId> = self.ids().into_iter().filter(|id| !listed(id)).collect();
            for id in absent {
                if self.change(&id, |own| own.base.remove_if(|dot| delta.header.ctx.contains(dot))) {
                    touched.note(&id);
                }
            }
        }
        let header = &mut self.scalar.header;
        touched.header |= header.ctx.union(&delta.header.ctx);
        touched.header |= header.claims.join(&delta.header.claims);
        touched.header |= header.deadline.join(&delta.header.deadline);
        touched
    }

    /// Learns that `(last known, through]` of a replica concerns this key no further than what is recorded.
    pub(crate) fn bridge(&mut self, replica: ReplicaId, through: No) -> bool {
        let ctx = &mut self.scalar.header.ctx;
        let Some(last) = ctx.of(replica).and_then(Intervals::last) else { return false };
        ctx.insert_interval(replica, last, through)
    }

    /// The only door to an element.
    pub(super) fn change<R>(&mut self, id: &ElementId, change: impl FnOnce(&mut Element) -> R) -> R {
        match id {
            ElementId::String => change(&mut self.scalar.string),
            ElementId::Member(name) | ElementId::Field(name) | ElementId::Ranked(name) => {
                let kind = id.kind();
                let all = self.collections.get_or_insert_with(Default::default);
                let place = place(kind).and_then(|place| all.get_mut(place));
                let place = place.expect("every type but the string has a place among the collections");
                let collection = place.get_or_insert_with(|| Collection::new(kind));
                let result = collection.change(self.arena, name, change);
                if collection.is_empty() {
                    *place = None;
                    if all.iter().all(Option::is_none) {
                        *self.collections = None;
                    }
                }
                result
            }
        }
    }

    /// All own numbers are known here, so the context's own interval stays one.
    fn learn_own(&mut self, dot: Dot) {
        if !self.bridge(dot.replica, dot.no) {
            self.scalar.header.ctx.insert(dot);
        }
    }

    /// Drops every base dot that `dead` covers. Says which were dropped when asked to `declare` them.
    fn bury(&mut self, dead: &Ctx, declare: bool) -> Touched {
        let hit: Vec<(ElementId, SmallVec<[Dot; 1]>)> = self
            .elements()
            .into_iter()
            .filter_map(|(id, element)| {
                let dots: SmallVec<[Dot; 1]> = element.base.dots().filter(|dot| dead.contains(*dot)).collect();
                (!dots.is_empty()).then_some((id, dots))
            })
            .collect();
        let mut touched = Touched::default();
        for (id, dots) in hit {
            self.change(&id, |element| element.base.remove_if(|dot| dots.contains(&dot)));
            touched.elements.push((id, if declare { dots } else { SmallVec::new() }));
        }
        touched
    }

    fn ids(&self) -> Vec<ElementId> {
        self.elements().into_iter().map(|(id, _)| id).collect()
    }

    fn elements(&self) -> Vec<(ElementId, Element)> {
        let mut elements = Vec::new();
        if !self.scalar.string.is_empty() {
            elements.push((ElementId::String, self.scalar.string.clone()));
        }
        for collection in self.collections.iter().flat_map(|all| all.iter()).flatten() {
            elements.extend(collection.sorted(self.arena));
        }
        elements
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
