//! From one state of a key to the next in plain Redis commands, so that any Redis client reads ordinary values.

use crate::{
    id::{Key, TimestampMs},
    state::{Element, ElementId, KeyState, Kind},
    store::{Expected, Plain},
};
use bytes::Bytes;
use std::collections::BTreeMap;

/// Arguments of one command; Redis takes many more, the reply of none is read.
const ARGUMENTS: usize = 512;

/// What a reader of the plain key sees before a commit, of the elements that the commit may touch.
#[derive(Clone, Debug)]
pub(super) struct Before {
    shown: Option<Kind>,
    stored: Option<Kind>,
    deadline: Option<TimestampMs>,
    elements: BTreeMap<ElementId, Seen>,
    fields_at: TimestampMs,
}

/// An element as a reader sees it.
#[derive(Clone, PartialEq, Debug)]
enum Seen {
    Absent,
    Member,
    Bytes(Bytes),
    Score(f64),
}

impl Before {
    /// As the last commit left the plain key, which was without the fields that had ended by `fields_at`.
    pub(super) fn of(state: &KeyState, now: TimestampMs, fields_at: TimestampMs) -> Self {
        let is_past = state.deadline().is_past(now);
        Self {
            fields_at,
            shown: state.view().stored_kind_at(fields_at).filter(|_| !is_past),
            stored: state.stored_kind(),
            deadline: state.deadline().at(),
            elements: BTreeMap::new(),
        }
    }

    /// Notes an element before it changes; the first note of each counts.
    pub(super) fn note(&mut self, state: &KeyState, id: &ElementId) {
        if !self.elements.contains_key(id) {
            self.elements.insert(id.clone(), seen(state, id, self.fields_at));
        }
    }

    /// The commands that take the plain key from there to `after`. With `anew` the value is written whole.
    pub(super) fn commands(&self, key: &Key, after: &KeyState, anew: bool, now: TimestampMs) -> Plain {
        let key = Bytes::copy_from_slice(key.as_bytes());
        let shown = after.shown(now);
        let absent_or = |kind: Option<Kind>| kind.map_or(Expected::Absent, Expected::AbsentOr);
        let (before, shown) = match (self.shown, shown) {
            (None, None) => return Plain { expected: Expected::Absent, commands: Vec::new() },
            (Some(before), None) => {
                let commands = vec![vec![Bytes::from_static(b"UNLINK"), key]];
                return Plain { expected: Expected::AbsentOr(before), commands };
            }
            (None, Some(shown)) => {
                return Plain { expected: absent_or(self.stored), commands: whole(&key, after, shown, now) };
            }
            (Some(before), Some(shown)) => (before, shown),
        };
        if anew || before != shown {
            return Plain { expected: Expected::AbsentOr(before), commands: whole(&key, after, shown, now) };
        }
        let mut commands = self.changes(&key, after, shown, now);
        let deadline = after.deadline().at();
        if deadline != self.deadline {
            commands.push(expiry(&key, deadline));
        }
        Plain { expected: Expected::Present(shown), commands }
    }

    fn changes(&self, key: &Bytes, after: &KeyState, kind: Kind, at: TimestampMs) -> Vec<Vec<Bytes>> {
        let mut set = Vec::new();
        let mut removed = Vec::new();
        for (id, before) in self.elements.iter().filter(|(id, _)| id.kind() == kind) {
            let now = seen(after, id, at);
            match (before, &now) {
                (before, now) if before == now => {}
                (_, Seen::Absent) => removed.push(id.name()),
                (Seen::Bytes(before), Seen::Bytes(now)) if kind == Kind::String => {
                    return vec![string_change(key, before, now)];
                }
                (_, now) => set.extend(arguments(id, now)),
            }
        }
        // Additions first, so that the value never vanishes in between and with it its deadline.
        let mut commands = batches(add_name(kind), key, &set, arguments_per_element(kind));
        commands.extend(batches(remove_name(kind), key, &removed, 1));
        commands
    }
}

fn seen(state: &KeyState, id: &ElementId, at: TimestampMs) -> Seen {
    state.element(id).map_or(Seen::Absent, |element| seen_of(id, &element, at))
}

fn seen_of(id: &ElementId, element: &Element, at: TimestampMs) -> Seen {
    if !element.is_present_at(at) {
        return Seen::Absent;
    }
    match id {
        ElementId::Member(_) => Seen::Member,
        ElementId::String | ElementId::Field(_) => element.value().map_or(Seen::Absent, Seen::Bytes),
        ElementId::Ranked(_) => element.score().map_or(Seen::Absent, Seen::Score),
    }
}

/// The commands that write a value from nothing.
fn whole(key: &Bytes, state: &KeyState, kind: Kind, at: TimestampMs) -> Vec<Vec<Bytes>> {
    let mut commands = vec![vec![Bytes::from_static(b"UNLINK"), key.clone()]];
    if kind == Kind::String {
        let value = state.element(&ElementId::String).as_ref().and_then(Element::value).unwrap_or_default();
        commands.push(vec![Bytes::from_static(b"SET"), key.clone(), value]);
    } else {
        let elements = state.elements_of(kind).into_iter();
        let all: Vec<Bytes> = elements.flat_map(|(id, element)| arguments(&id, &seen_of(&id, &element, at))).collect();
        commands.extend(batches(add_name(kind), key, &all, arguments_per_element(kind)));
    }
    if let Some(at) = state.deadline().at() {
        commands.push(expiry(key, Some(at)));
    }
    commands
}

/// Between integers by INCRBY, so that what a plain client adds at the same time is not overwritten.
fn string_change(key: &Bytes, before: &Bytes, now: &Bytes) -> Vec<Bytes> {
    let difference = crate::state::parse_integer(before)
        .zip(crate::state::parse_integer(now))
        .and_then(|(before, now)| now.checked_sub(before));
    match difference {
        Some(by) => vec![Bytes::from_static(b"INCRBY"), key.clone(), by.to_string().into()],
        None => vec![Bytes::from_static(b"SET"), key.clone(), now.clone(), Bytes::from_static(b"KEEPTTL")],
    }
}

fn expiry(key: &Bytes, at: Option<TimestampMs>) -> Vec<Bytes> {
    match at {
        Some(at) => vec![Bytes::from_static(b"PEXPIREAT"), key.clone(), at.0.to_string().into()],
        None => vec![Bytes::from_static(b"PERSIST"), key.clone()],
    }
}

fn add_name(kind: Kind) -> &'static [u8] {
    match kind {
        Kind::String => b"SET",
        Kind::Set => b"SADD",
        Kind::Hash => b"HSET",
        Kind::Board => b"ZADD",
    }
}

fn remove_name(kind: Kind) -> &'static [u8] {
    match kind {
        Kind::String => b"UNLINK",
        Kind::Set => b"SREM",
        Kind::Hash => b"HDEL",
        Kind::Board => b"ZREM",
    }
}

fn arguments_per_element(kind: Kind) -> usize {
    if kind == Kind::Set { 1 } else { 2 }
}

fn arguments(id: &ElementId, seen: &Seen) -> Vec<Bytes> {
    match seen {
        Seen::Absent => Vec::new(),
        Seen::Member => vec![id.name()],
        Seen::Bytes(value) => vec![id.name(), value.clone()],
        Seen::Score(score) => vec![crate::command::format_score(*score), id.name()],
    }
}

/// `name key arguments…`, split between elements.
fn batches(name: &'static [u8], key: &Bytes, arguments: &[Bytes], per_element: usize) -> Vec<Vec<Bytes>> {
    let batch = |chunk: &[Bytes]| [&[Bytes::from_static(name), key.clone()], chunk].concat();
    arguments.chunks(ARGUMENTS.saturating_mul(per_element)).map(batch).collect()
}
