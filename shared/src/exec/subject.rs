//! One key as a command meets it, and how what a command does to it becomes effects.

use super::{Prepared, Vantage, View};
use crate::{
    command::{CommandError, Reply},
    id::{Key, TimestampMs},
    limits::EFFECTS_MAX,
    ordered::sort,
    state::{Deadline, DeadlineChange, Effect, Element, ElementId, KeyState, KeyView, Kind, NewBase, Operation},
};
use bytes::Bytes;
use std::sync::OnceLock;

/// One key as a command meets it.
pub(super) struct Subject<'a> {
    pub(super) key: &'a Key,
    pub(super) state: KeyView<'a>,
    pub(super) is_held: bool,
    pub(super) vantage: Vantage,
    pub(super) now: TimestampMs,
    pub(super) shown: Option<Kind>,
    pub(super) deadline: Deadline,
    pub(super) string: Element,
}

impl<'a> Subject<'a> {
    pub(super) fn new(key: &'a Key, view: View<'a>, now: TimestampMs) -> Self {
        static NOTHING: OnceLock<KeyState> = OnceLock::new();
        let state = view.state.unwrap_or_else(|| NOTHING.get_or_init(KeyState::default).view());
        let (deadline, shown, string) = state.front(now);
        Self { key, state, is_held: view.is_held, vantage: view.vantage, now, shown, deadline, string }
    }

    /// Refuses a key that shows another type.
    pub(super) fn expect(&self, kind: Kind) -> Result<(), CommandError> {
        if self.shown.is_none_or(|shown| shown == kind) { Ok(()) } else { Err(CommandError::WrongType) }
    }

    /// An element that a reader sees.
    pub(super) fn element_present(&self, id: &ElementId) -> Result<Option<Element>, CommandError> {
        self.expect(id.kind())?;
        Ok(self.shown.and_then(|_| self.element(id)).filter(|element| element.is_present_at(self.now)))
    }

    pub(super) fn element(&self, id: &ElementId) -> Option<Element> {
        match id {
            ElementId::String => Some(self.string.clone()).filter(|string| !string.is_empty()),
            _ => self.state.element(id),
        }
    }

    pub(super) fn count(&self, kind: Kind) -> Result<Prepared, CommandError> {
        self.expect(kind)?;
        Ok(Reply::count(self.shown.map_or(0, |_| self.state.count_at(kind, self.now))).into())
    }

    /// SREM, HDEL, ZREM: takes away what was seen of each name.
    pub(super) fn remove(self, kind: Kind, names: &[Bytes]) -> Result<Prepared, CommandError> {
        self.expect(kind)?;
        let mut ids: Vec<ElementId> = names.iter().map(|name| ElementId::of(kind, name.clone())).collect();
        sort(&mut ids);
        ids.dedup();
        let is_there = |id: &ElementId| self.state.element(id).is_some_and(|element| element.is_present_at(self.now));
        ids.retain(|id| self.shown.is_some() && is_there(id));
        let reply = Reply::count(ids.len());
        let effects = ids.into_iter().map(|id| self.write(id, None)).collect();
        Ok(self.done(reply, effects))
    }

    /// SPOP, ZPOPMIN and ZPOPMAX: takes away these, which are there. Where they are all that there is, the key goes.
    pub(super) fn taken(
        self,
        kind: Kind,
        reply: Reply,
        names: &[Bytes],
        is_all: bool,
    ) -> Result<Prepared, CommandError> {
        if is_all && !names.is_empty() {
            let wipe = self.state.seen_whole();
            return Ok(self.done(reply, vec![wipe]));
        }
        bound_changes(names.len())?;
        Ok(Prepared { reply, ..self.remove(kind, names)? })
    }

    /// A write of one element that resets all that is seen of it.
    pub(super) fn write(&self, element: ElementId, base: Option<NewBase>) -> Effect {
        let found = self.state.element(&element);
        self.write_over(element, found.as_ref(), base)
    }

    /// As [`Subject::write`], of an element that was looked up already.
    pub(super) fn write_over(&self, id: ElementId, found: Option<&Element>, base: Option<NewBase>) -> Effect {
        // What an expired key held is wiped whole before.
        let (seen, cuts) = match found.filter(|_| !self.is_expired()) {
            Some(element) => (element.base.dots().collect(), element.sum.seen()),
            None => (Vec::new(), Element::empty(id.kind()).sum.seen()),
        };
        Effect::Write { element: id, base, seen, cuts }
    }

    /// Every element that a reader sees of a key that shows `kind`, by name. Linearithmic.
    pub(super) fn elements(&self, kind: Kind) -> Result<Vec<(ElementId, Element)>, CommandError> {
        self.expect(kind)?;
        let mut elements = if self.shown.is_some() { self.state.elements_of(kind) } else { Vec::new() };
        elements.retain(|(_, element)| element.is_present_at(self.now));
        Ok(elements)
    }

    /// The names of what a reader sees of a key that shows `kind`, in no order. Linear.
    pub(super) fn names(&self, kind: Kind) -> Result<Vec<&'a [u8]>, CommandError> {
        self.expect(kind)?;
        if self.shown.is_none() {
            return Ok(Vec::new());
        }
        let mut names: Vec<&[u8]> = self.state.names_of(kind).collect();
        if names.len() > self.state.count_at(kind, self.now) {
            let is_present = |name: &&[u8]| {
                let id = ElementId::of(kind, Bytes::copy_from_slice(name));
                self.state.element(&id).is_some_and(|element| element.is_present_at(self.now))
            };
            names.retain(is_present);
        }
        Ok(names)
    }

    /// A change of the deadline in, or over, the epoch that is seen.
    pub(super) fn moves(&self, change: DeadlineChange) -> Effect {
        Effect::Deadline { change, seen: self.deadline.epoch() }
    }

    pub(super) fn is_expired(&self) -> bool {
        self.deadline.is_past(self.now)
    }

    /// What goes before a write so that it starts afresh: a write at or after the deadline is an observed wipe of what the
    /// node holds and opens a new epoch; so does one to a key that vanished otherwise and still bears a deadline.
    pub(super) fn afresh(&self) -> Vec<Effect> {
        let mut effects = Vec::new();
        if self.is_expired() {
            effects.push(self.state.seen_whole());
        }
        if self.shown.is_none() && self.deadline.at().is_some() {
            effects.push(self.moves(DeadlineChange::Open(None)));
        }
        effects
    }

    /// What goes before a write so that the key, where it begins with that, ends then; see [`Self::afresh`].
    pub(super) fn begun_until(&self, end: TimestampMs) -> Vec<Effect> {
        let mut effects = Vec::new();
        if self.is_expired() {
            effects.push(self.state.seen_whole());
        }
        if self.shown.is_none() && self.deadline.at().is_some() {
            effects.push(self.moves(DeadlineChange::Open(Some(end))));
        } else if self.shown.is_none() {
            effects.push(self.moves(DeadlineChange::Raise(end)));
        }
        effects
    }

    /// What makes a key that shows end at `at`, which lies ahead.
    pub(super) fn ends_at(&self, at: TimestampMs) -> Effect {
        // A lowering within the clock bound is a touch by a node whose clock runs behind.
        let is_shortened = self.deadline.is_shortened_by(at);
        self.moves(if is_shortened { DeadlineChange::Open(Some(at)) } else { DeadlineChange::Raise(at) })
    }

    /// What gives a key that was just written outright this deadline, or none.
    pub(super) fn deadline_to(&self, at: Option<TimestampMs>) -> Option<Effect> {
        let deadline = self.deadline.at();
        match at {
            Some(at) if self.is_held && deadline.is_none_or(|own| own <= at) && !self.is_expired() => {
                Some(self.moves(DeadlineChange::Raise(at)))
            }
            None if self.is_held && deadline.is_none() => None,
            // A deadline that this node cannot know of, or a later one that it does, gives way only to a new epoch.
            at => Some(self.moves(DeadlineChange::Open(at))),
        }
    }

    /// All that is seen of the key gives way to these elements, as under COPY and the commands that store a result. Without
    /// any, the key goes.
    pub(super) fn replaced(
        self,
        reply: Reply,
        elements: Vec<(ElementId, NewBase)>,
        deadline: Option<TimestampMs>,
    ) -> Result<Prepared, CommandError> {
        bound_changes(elements.len())?;
        let mut effects = Vec::with_capacity(elements.len().saturating_add(2));
        if self.state.has_content() {
            effects.push(self.state.seen_whole());
        }
        if !elements.is_empty() {
            effects.extend(elements.into_iter().map(|(id, base)| fresh(id, base)));
            effects.extend(self.deadline_to(deadline));
        }
        Ok(self.done(reply, effects))
    }

    /// A write that may create the key.
    pub(super) fn created(self, reply: Reply, effects: Vec<Effect>) -> Prepared {
        let mut before = if effects.is_empty() { Vec::new() } else { self.afresh() };
        if before.is_empty() {
            return self.done(reply, effects);
        }
        before.extend(effects);
        self.done(reply, before)
    }

    pub(super) fn done(self, reply: Reply, effects: Vec<Effect>) -> Prepared {
        let operation = Operation { key: self.key.clone(), at: self.now, effects };
        Prepared { reply, operations: if operation.effects.is_empty() { Vec::new() } else { vec![operation] } }
    }
}

/// A write of an element of which nothing is there any more.
pub(super) fn fresh(element: ElementId, base: NewBase) -> Effect {
    let cuts = Element::empty(element.kind()).sum.seen();
    Effect::Write { element, base: Some(base), seen: Vec::new(), cuts }
}

/// Refuses what would be more effects than one operation may have, before any is made. A wipe and a deadline go beside.
pub(super) fn bound_changes(elements: usize) -> Result<(), CommandError> {
    if elements.saturating_add(2) > EFFECTS_MAX { Err(CommandError::too_many_changes()) } else { Ok(()) }
}
