//! A key packed into an arena, and the one algebra on it: own effects, and the join with others' deltas.
//!
//! Invariants: every dot that an element's base mentions is in the context; the wipe is part of the context; an element
//! with nothing recorded is not stored. To change a key it is opened: its header and string unpacked, and packed again
//! when it is closed; elements of collections are unpacked one at a time.

use super::{
    Base, Ctx, Deadline, DeadlineChange, Effect, Element, ElementId, Header, Increment, KeyDelta, Kind, Mint, NewBase,
    NotAnInteger, Touched,
    collection::Collection,
    pack::{self, Counter, Scalar, Trace},
    space::{Collections, Space},
};
use crate::{
    arena::{Block, Place},
    few::Few,
    hlc::Hlc,
    id::{Dot, No, ReplicaId, Stamp},
};

/// A key's place in a space: its block, and its collections if it has any.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PackedKey {
    pub(super) block: Option<Block>,
    pub(super) collections: Option<Place>,
}

impl PackedKey {
    /// A key with nothing recorded, whose block begins with its name.
    pub(crate) fn named(space: &mut Space, name: &[u8]) -> Self {
        Self { block: Some(pack::named(&mut space.arena, name)), collections: None }
    }

    /// The name that the key was given.
    pub(crate) fn name<'a>(&self, space: &'a Space) -> &'a [u8] {
        self.block.map_or(&[], |block| pack::name(&space.arena, block))
    }

    /// Both ends of the key's own block, read so that it is near.
    pub(crate) fn skim(&self, space: &Space) -> u64 {
        let block = self.block.map_or(&[][..], |block| space.arena.heap.read(block));
        let byte = |byte: Option<&u8>| u64::from(byte.copied().unwrap_or(0));
        byte(block.first()) ^ byte(block.last())
    }

    /// Appends the header and the string to `row`, for a store that keeps the space's replicas too.
    pub(crate) fn append_row(&self, space: &mut Space, row: Vec<u8>) -> Vec<u8> {
        Scalar::append_row(&mut space.arena, self.block, row)
    }

    /// Appends an element to `row`, for a store that keeps the space's replicas too; says whether anything is recorded of
    /// the element. `hash` is that of its name.
    pub(crate) fn append_element_row(
        &self,
        space: &mut Space,
        id: &ElementId,
        hash: u64,
        row: Vec<u8>,
    ) -> (bool, Vec<u8>) {
        let collection = self.collection(space, id.kind());
        let block = collection.and_then(|collection| collection.find(&space.arena, id.name_bytes(), hash));
        (block.is_some(), pack::append_element_row(&mut space.arena, block, id.kind(), row))
    }

    /// Adds to the string of a key that is nothing but a counter of the common form: its new value. `None` for any other
    /// key, or where a sum would leave the range of integers; then nothing is minted.
    pub(crate) fn add_to_counter(
        &mut self,
        space: &mut Space,
        own: ReplicaId,
        by: i64,
        mint: impl FnOnce() -> Mint,
    ) -> Option<(i64, No)> {
        let block = self.block.filter(|_| self.collections.is_none())?;
        let counter = Counter::read(&space.arena, block, own)?;
        let total = i64::try_from(counter.total).ok()?.checked_add(by)?;
        let sum = counter.own_sum().checked_add(by)?;
        let mint = mint();
        self.block = Some(counter.put(&mut space.arena, block, sum, mint));
        Some((total, mint.dot.no))
    }

    /// Adds to a member of a key that is nothing but a board without a deadline: its new score, and what was minted. `None`
    /// where that takes unpacking; then nothing is minted. `hash` is that of the member's name.
    pub(crate) fn add_to_member(
        &mut self,
        space: &mut Space,
        own: ReplicaId,
        member: (&[u8], u64),
        by: f64,
        mint: impl FnOnce() -> Mint,
    ) -> Option<(f64, Mint)> {
        let block = self.block?;
        let Some([None, None, Some(board)]) = space.collections.at_mut(self.collections?).map(|all| &mut **all) else {
            return None;
        };
        let trace = Trace::read(&space.arena, block, own, Kind::Board)?;
        let before = board.memory_bytes();
        let (score, mint) = board.increment(&mut space.arena, member, own, by, mint)?;
        let after = board.memory_bytes();
        space.collections_bytes = space.collections_bytes.saturating_add(after).saturating_sub(before);
        self.block = Some(trace.put(&mut space.arena, block, mint));
        Some((score, mint))
    }

    /// Unpacks the key for a change.
    pub(crate) fn open<'a>(&'a mut self, space: &'a mut Space) -> Open<'a> {
        let scalar = Scalar::load(&space.arena, self.block);
        Open { space, scalar, key: self }
    }

    /// Gives back all that the key has in the space. Linear in its elements.
    pub(crate) fn drop_from(self, space: &mut Space) {
        let collections = self.collections.and_then(|place| space.collections.remove(place));
        for mut collection in collections.into_iter().flat_map(|all| *all).flatten() {
            space.collections_bytes = space.collections_bytes.saturating_sub(collection.memory_bytes());
            collection.drop_all(&mut space.arena);
        }
        if self.collections.is_some() {
            space.collections_bytes = space.collections_bytes.saturating_sub(COLLECTIONS_BYTES);
        }
        if let Some(block) = self.block {
            pack::drop_scalar(&mut space.arena, block);
        }
    }

    pub(super) fn collection<'a>(&self, space: &'a Space, kind: Kind) -> Option<&'a Collection> {
        space.collections.at(self.collections?)?.get(place(kind)?)?.as_ref()
    }
}

/// What a key's collections take beside what each has allocated.
const COLLECTIONS_BYTES: usize = size_of::<[Option<Collection>; 3]>();

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
    space: &'a mut Space,
    scalar: Scalar,
    key: &'a mut PackedKey,
}

impl Open<'_> {
    /// Packs the header and the string again.
    pub(crate) fn close(self) {
        self.key.block = Some(self.scalar.store(&mut self.space.arena, self.key.block));
    }

    /// The integer that INCR continues from, of a key that has no deadline and no collections; `None` of any other.
    pub(crate) fn counter(&self) -> Option<Result<i64, NotAnInteger>> {
        let is_plain = self.scalar.header.deadline.at().is_none() && self.key.collections.is_none();
        is_plain.then(|| self.scalar.string.integer())
    }

    /// Adds to a member of a key that has no deadline and is a board or nothing: its new score, and what was minted. `None`
    /// of any other key, or where the sum would leave the range of finite floats; then nothing is minted.
    pub(crate) fn add_to_member(
        &mut self,
        member: &ElementId,
        by: f64,
        mint: impl FnOnce() -> Mint,
    ) -> Option<(f64, Mint)> {
        let is_other = |kind| self.key.collection(self.space, kind).is_some();
        let is_plain = self.scalar.header.deadline.at().is_none() && !self.scalar.string.is_present();
        if !is_plain || is_other(Kind::Set) || is_other(Kind::Hash) || !by.is_finite() {
            return None;
        }
        let (score, mint) = self.change(member, |element| {
            let present = element.score().unwrap_or(0.0);
            let score = present + by;
            if !present.is_finite() || !score.is_finite() || !element.sum.stays_finite(by) {
                return None;
            }
            let mint = mint();
            element.sum.add(mint.dot.replica, mint.dot.no, Increment::Float(by));
            Some((score, mint))
        })?;
        self.learn_own(mint.dot);
        self.scalar.header.claims.raise(Kind::Board, Stamp { hlc: mint.hlc, dot: mint.dot });
        Some((score, mint))
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
                // Only at hubs do so many meet; browsers load less code without it.
                let is_one_more = cfg!(feature = "hub") && seen.is_empty() && cuts.is_empty();
                let adds = fresh.as_ref().filter(|_| is_one_more);
                if !adds.is_some_and(|base| self.append(element, mint.dot, base)) {
                    self.change(element, |state| {
                        state.base.remove_if(|dot| seen.contains(&dot));
                        state.sum.cut(cuts);
                        if let Some(base) = fresh {
                            state.base.insert(mint.dot, base);
                        }
                    });
                }
                if is_write {
                    self.scalar.header.claims.raise(element.kind(), stamp);
                }
                touched.elements.push((element.clone(), Few::from(seen.as_slice())));
            }
            Effect::Add { element, by } => {
                self.change(element, |state| state.sum.add(mint.dot.replica, mint.dot.no, *by));
                self.scalar.header.claims.raise(element.kind(), stamp);
                touched.note(element);
            }
            Effect::Spend { element, amount, until } => {
                self.change(element, |state| state.spend(mint.dot, *amount, *until));
                self.scalar.header.claims.raise(element.kind(), stamp);
                touched.note(element);
            }
            Effect::Touch { element, change, epoch, seen } => {
                for dot in seen {
                    self.scalar.header.ctx.insert(*dot);
                }
                let mut deadline = Deadline::default();
                match change {
                    DeadlineChange::Raise(at) => deadline.raise(*epoch, *at),
                    DeadlineChange::Open(at) => deadline.open(stamp, *at),
                    DeadlineChange::Revoke(until) => deadline.revoke(*until),
                }
                self.change(element, |state| {
                    state.base.remove_if(|dot| seen.contains(&dot));
                    state.base.insert(mint.dot, Base::Until(Box::new(deadline)));
                });
                touched.elements.push((element.clone(), Few::from(seen.as_slice())));
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
            Effect::Deadline { change: DeadlineChange::Raise(at), seen } => {
                self.scalar.header.deadline.raise(*seen, *at);
            }
            Effect::Deadline { change: DeadlineChange::Open(at), .. } => {
                self.scalar.header.deadline.open(stamp, *at);
            }
            Effect::Deadline { change: DeadlineChange::Revoke(until), .. } => {
                self.scalar.header.deadline.revoke(*until);
            }
        }
        touched
    }

    /// Joins a delta: the one merge of all tiers. Linear in the delta; in the key where the delta brings a wipe that is new
    /// here, or is complete and speaks of what is known here.
    pub(crate) fn join(&mut self, delta: &KeyDelta) -> Touched {
        let mut touched = Touched::default();
        let own_ctx = std::mem::take(&mut self.scalar.header.ctx);
        for (id, theirs) in &delta.elements {
            if self.change(id, |own| own.join(theirs, &own_ctx, &delta.header.ctx)) {
                touched.note(id);
            }
        }
        // A delta that speaks of nothing that was known, as a piece of a key that is new here, removes nothing.
        let may_remove = delta.complete && own_ctx.meets(&delta.header.ctx);
        self.scalar.header.ctx = own_ctx;
        if !self.scalar.header.wipe.covers(&delta.header.wipe) {
            self.scalar.header.wipe.union(&delta.header.wipe);
            touched.header = true;
            if !fault!(WipeForgetsDots) {
                touched.extend(self.bury(&delta.header.wipe, false));
            }
        }
        if may_remove {
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
        self.scalar.header.ctx.extend_last(replica, through).unwrap_or(false)
    }

    /// Puts a stored header and string back, as they were persisted.
    pub(crate) fn restore(&mut self, header: Header, string: Element) {
        self.scalar.header = header;
        self.scalar.string = string;
    }

    /// Puts a stored element back, as it was persisted.
    pub(crate) fn restore_element(&mut self, id: &ElementId, element: Element) {
        self.change(id, |own| *own = element);
    }

    /// Adds a base behind all others of a field, where that needs no unpacking; returns whether it was done.
    fn append(&mut self, id: &ElementId, dot: Dot, base: &Base) -> bool {
        let ElementId::Field(name) = id else { return false };
        let Some(collections) = self.key.collections.and_then(|place| self.space.collections.at_mut(place)) else {
            return false;
        };
        let of_kind = place(id.kind()).and_then(|place| collections.get_mut(place)?.as_mut());
        of_kind.is_some_and(|collection| collection.append(&mut self.space.arena, name, dot, base))
    }

    /// The only door to an element, but for one more base of many.
    fn change<R>(&mut self, id: &ElementId, change: impl FnOnce(&mut Element) -> R) -> R {
        match id {
            ElementId::String => change(&mut self.scalar.string),
            ElementId::Member(name) | ElementId::Field(name) | ElementId::Ranked(name) => {
                let kind = id.kind();
                let mut collections = self.lift_collections();
                let of_kind = place(kind).and_then(|place| collections.get_mut(place));
                let of_kind = of_kind.expect("every type but the string has a place among the collections");
                let collection = of_kind.get_or_insert_with(|| Collection::new(kind));
                let before = collection.memory_bytes();
                let result = collection.change(&mut self.space.arena, name, change);
                let after = if collection.is_empty() {
                    *of_kind = None;
                    0
                } else {
                    collection.memory_bytes()
                };
                self.space.collections_bytes =
                    self.space.collections_bytes.saturating_add(after).saturating_sub(before);
                self.put_collections(collections);
                result
            }
        }
    }

    fn lift_collections(&mut self) -> Collections {
        let found = self.key.collections.and_then(|place| self.space.collections.lift(place));
        found.unwrap_or_else(|| {
            self.space.collections_bytes = self.space.collections_bytes.saturating_add(COLLECTIONS_BYTES);
            Collections::default()
        })
    }

    fn put_collections(&mut self, collections: Collections) {
        match (self.key.collections, collections.iter().all(Option::is_none)) {
            (Some(place), false) => self.space.collections.put(place, collections),
            (None, false) => self.key.collections = Some(self.space.collections.insert(collections)),
            (place, true) => {
                self.space.collections_bytes = self.space.collections_bytes.saturating_sub(COLLECTIONS_BYTES);
                if let Some(place) = place {
                    self.space.collections.put(place, collections);
                    self.space.collections.remove(place);
                }
                self.key.collections = None;
            }
        }
    }

    /// All own numbers are known here, so the context's own interval stays one.
    fn learn_own(&mut self, dot: Dot) {
        let ctx = &mut self.scalar.header.ctx;
        if ctx.extend_last(dot.replica, dot.no) != Some(true) {
            ctx.insert(dot);
        }
    }

    /// Drops every base dot that `dead` covers. Says which were dropped when asked to `declare` them.
    fn bury(&mut self, dead: &Ctx, declare: bool) -> Touched {
        let hit: Vec<(ElementId, Few<Dot, 1>)> = self
            .elements()
            .into_iter()
            .filter_map(|(id, element)| {
                let dots: Few<Dot, 1> = element.base.dots().filter(|dot| dead.contains(*dot)).collect();
                (!dots.is_empty()).then_some((id, dots))
            })
            .collect();
        let mut touched = Touched::default();
        for (id, dots) in hit {
            self.change(&id, |element| element.base.remove_if(|dot| dots.contains(&dot)));
            touched.elements.push((id, if declare { dots } else { Few::new() }));
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
        for kind in [Kind::Set, Kind::Hash, Kind::Board] {
            if let Some(collection) = self.key.collection(self.space, kind) {
                elements.extend(collection.sorted(&self.space.arena));
            }
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
