//! One key as a command meets it, and how what a command does to it becomes effects.

use super::{Prepared, View};
use crate::{
    command::{CommandError, Reply},
    id::{Key, TimestampMs},
    state::{Deadline, DeadlineChange, Effect, Element, ElementId, KeyState, KeyView, Kind, NewBase, Operation},
};
use std::sync::OnceLock;

/// One key as a command meets it.
pub(super) struct Subject<'a> {
    pub(super) key: &'a Key,
    pub(super) state: KeyView<'a>,
    pub(super) is_held: bool,
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
        Self { key, state, is_held: view.is_held, now, shown, deadline, string }
    }

    /// Refuses a key that shows another type.
    pub(super) fn expect(&self, kind: Kind) -> Result<(), CommandError> {
        if self.shown.is_none_or(|shown| shown == kind) { Ok(()) } else { Err(CommandError::WrongType) }
    }

    /// An element that a reader sees.
    pub(super) fn element_present(&self, id: &ElementId) -> Result<Option<Element>, CommandError> {
        self.expect(id.kind())?;
        Ok(self.shown.and_then(|_| self.element(id)).filter(Element::is_present))
    }

    pub(super) fn element(&self, id: &ElementId) -> Option<Element> {
        match id {
            ElementId::String => Some(self.string.clone()).filter(|string| !string.is_empty()),
            _ => self.state.element(id),
        }
    }

    pub(super) fn count(&self, kind: Kind) -> Result<Prepared, CommandError> {
        self.expect(kind)?;
        Ok(Reply::count(self.shown.map_or(0, |_| self.state.count(kind))).into())
    }

    /// SREM, HDEL, ZREM: takes away what was seen of each name.
    pub(super) fn remove(self, kind: Kind, names: &[bytes::Bytes]) -> Result<Prepared, CommandError> {
        self.expect(kind)?;
        let mut ids: Vec<ElementId> = names.iter().map(|name| ElementId::of(kind, name.clone())).collect();
        ids.sort();
        ids.dedup();
        ids.retain(|id| self.shown.is_some() && self.state.element(id).is_some_and(|element| element.is_present()));
        let reply = Reply::count(ids.len());
        let effects = ids.into_iter().map(|id| self.write(id, None)).collect();
        Ok(self.done(reply, effects))
    }

    /// A write of one element that resets all that is seen of it.
    pub(super) fn write(&self, element: ElementId, base: Option<NewBase>) -> Effect {
        // What an expired key held is wiped whole before.
        let (seen, cuts) = if self.is_expired() {
            (Vec::new(), Element::empty(element.kind()).sum.seen())
        } else {
            self.state.seen(&element)
        };
        Effect::Write { element, base, seen, cuts }
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

    /// A write that may create the key.
    pub(super) fn created(self, reply: Reply, effects: Vec<Effect>) -> Prepared {
        let mut all = if effects.is_empty() { Vec::new() } else { self.afresh() };
        all.extend(effects);
        self.done(reply, all)
    }

    pub(super) fn done(self, reply: Reply, effects: Vec<Effect>) -> Prepared {
        let operation = Operation { key: self.key.clone(), at: self.now, effects };
        Prepared { reply, operations: if operation.effects.is_empty() { Vec::new() } else { vec![operation] } }
    }
}
