//! From one state of a key to the next in plain Redis commands, so that any Redis client reads ordinary values.
//!
//! Plain clients write meanwhile. Between integers the commands add, so that nothing of theirs is overwritten; what else
//! replaces a value is guarded by what is expected there, and the commit refused if it is something else. Members are added
//! and removed one by one.

use crate::{
    id::{Key, TimestampMs},
    state::{Deadline, Element, ElementId, KeyState, Kind},
    store::{Expected, Guard, Otherwise, Plain},
};
use bytes::Bytes;
use std::collections::BTreeMap;

/// Arguments of one command; Redis takes many more, the reply of none is read.
const ARGUMENTS: usize = 512;

/// Integers up to here are exact as floats, so that their differences are too.
pub(super) const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// What a reader of the plain key sees before a commit, of the elements that the commit may touch.
#[derive(Clone, Debug)]
pub(super) struct Before {
    shown: Option<Kind>,
    stored: Option<Kind>,
    /// When the plain value ends.
    pub(super) deadline: Option<TimestampMs>,
    elements: BTreeMap<ElementId, Seen>,
    fields_at: TimestampMs,
    /// Whether the commit rests on each member that it removes: it was given away.
    guards_members: bool,
}

/// An element as a reader sees it.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Seen {
    /// It is not there.
    Absent,
    /// A member.
    Member,
    /// The bytes of a string or a field.
    Bytes(Bytes),
    /// A score.
    Score(f64),
}

/// Commands and what guards them.
#[derive(Debug, Default)]
struct Changes {
    guards: Vec<Guard>,
    /// Those that add to what is there; they may fail on what plain clients left there, so they come first.
    added: Vec<Vec<Bytes>>,
    set: Vec<Bytes>,
    removed: Vec<Bytes>,
}

impl Before {
    /// As the last commit left the plain key, which was without the fields that had ended by `fields_at`.
    pub(super) fn of(state: &KeyState, now: TimestampMs, fields_at: TimestampMs) -> Self {
        let is_hidden = state.deadline().hides(now);
        Self {
            fields_at,
            shown: state.view().stored_kind_at(fields_at).filter(|_| !is_hidden),
            stored: state.stored_kind(),
            deadline: state.deadline().at(),
            elements: BTreeMap::new(),
            guards_members: false,
        }
    }

    /// Notes that plain clients wrote a value of this type where the state shows nothing.
    pub(super) fn show(&mut self, kind: Kind) {
        self.shown = Some(kind);
    }

    /// Has the commit refused where a member that it removes is gone.
    pub(super) fn guard_members(&mut self) {
        self.guards_members = true;
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
            (None, None) => return Plain::untouched(),
            (Some(before), None) if after.deadline().hides(now) || after.stored_kind() == Some(before) => {
                return unguarded(Expected::AbsentOr(before), vec![vec![word(b"UNLINK"), key]]);
            }
            (Some(before), None) => {
                let (guards, commands) = self.changes(&key, after, before, now);
                if anew || commands.is_empty() {
                    return unguarded(Expected::AbsentOr(before), vec![vec![word(b"UNLINK"), key]]);
                }
                return Plain { expected: Expected::AbsentOr(before), guards, commands };
            }
            (None, Some(shown)) => {
                // Where nothing is expected the commit looks whether nothing is there.
                let replaces = anew || self.stored.is_some();
                return unguarded(absent_or(self.stored), whole(&key, after, shown, now, replaces));
            }
            (Some(before), Some(shown)) => (before, shown),
        };
        if anew || before != shown {
            return unguarded(Expected::AbsentOr(before), whole(&key, after, shown, now, true));
        }
        let (guards, mut commands) = self.changes(&key, after, shown, now);
        let deadline = after.deadline().at();
        if deadline != self.deadline {
            commands.push(expiry(&key, deadline));
        }
        Plain { expected: Expected::Present(shown), guards, commands }
    }

    fn changes(&self, key: &Bytes, after: &KeyState, kind: Kind, at: TimestampMs) -> (Vec<Guard>, Vec<Vec<Bytes>>) {
        let mut changes = Changes::default();
        for (id, before) in self.elements.iter().filter(|(id, _)| id.kind() == kind) {
            let now = seen(after, id, at);
            if *before != now {
                changes.element(key, id, before, &now);
                if self.guards_members && *before == Seen::Member {
                    changes.guards.push(is_member(key, id));
                }
            }
        }
        let Changes { guards, added, set, removed } = changes;
        let mut commands = added;
        if kind == Kind::String {
            let [set, removed] = [set.first(), removed.first()];
            let set = set.map(|value| vec![word(b"SET"), key.clone(), value.clone(), word(b"KEEPTTL")]);
            commands.extend(set.or_else(|| removed.map(|_| vec![word(b"UNLINK"), key.clone()])));
        } else {
            // Additions first, so that the value never vanishes in between and with it its deadline.
            commands.extend(batches(add_name(kind), key, &set, arguments_per_element(kind)));
            commands.extend(batches(remove_name(kind), key, &removed, 1));
        }
        (guards, commands)
    }
}

impl Changes {
    fn element(&mut self, key: &Bytes, id: &ElementId, before: &Seen, now: &Seen) {
        let by = difference(before, now);
        let otherwise = if by.is_none() { Otherwise::Refuse } else { Otherwise::RefuseLess };
        self.guards.extend(guard(key, id, before, otherwise));
        match (id, by, now) {
            (ElementId::String, Some(by), _) => self.added.push(vec![word(b"INCRBY"), key.clone(), by]),
            (ElementId::Field(name), Some(by), _) => {
                self.added.push(vec![word(b"HINCRBY"), key.clone(), name.clone(), by]);
            }
            (ElementId::Ranked(name), Some(by), _) => {
                self.added.push(vec![word(b"ZINCRBY"), key.clone(), by, name.clone()]);
            }
            (_, _, Seen::Absent) => self.removed.push(id.name()),
            (ElementId::String, None, Seen::Bytes(value)) => self.set.push(value.clone()),
            (_, _, now) => self.set.extend(arguments(id, now)),
        }
    }
}

/// What adds the difference between two integers.
fn difference(before: &Seen, now: &Seen) -> Option<Bytes> {
    match (before, now) {
        (Seen::Bytes(before), Seen::Bytes(now)) => {
            let integer = |bytes| crate::state::parse_integer(bytes);
            Some(integer(now)?.checked_sub(integer(before)?)?.to_string().into())
        }
        (Seen::Score(before), Seen::Score(now)) => {
            let is_integer = |score: &f64| score.fract() == 0.0 && score.abs() <= EXACT_MAX;
            (is_integer(before) && is_integer(now)).then(|| crate::command::format_score(now - before))
        }
        _ => None,
    }
}

/// What tells whether an element is what it was. A member needs none: adding or removing it again changes nothing.
fn guard(key: &Bytes, id: &ElementId, before: &Seen, otherwise: Otherwise) -> Option<Guard> {
    let read = match id {
        ElementId::String => vec![word(b"GET"), key.clone()],
        ElementId::Member(_) => return None,
        ElementId::Field(name) => vec![word(b"HGET"), key.clone(), name.clone()],
        ElementId::Ranked(name) => vec![word(b"ZSCORE"), key.clone(), name.clone()],
    };
    let answer = match before {
        Seen::Absent | Seen::Member => None,
        Seen::Bytes(bytes) => Some(bytes.clone()),
        Seen::Score(score) => Some(crate::command::format_score(*score)),
    };
    Some(Guard { read, answer, otherwise })
}

/// What tells whether a member is still there.
fn is_member(key: &Bytes, id: &ElementId) -> Guard {
    let read = vec![word(b"SISMEMBER"), key.clone(), id.name()];
    Guard { read, answer: Some(word(b"1")), otherwise: Otherwise::Refuse }
}

fn unguarded(expected: Expected, commands: Vec<Vec<Bytes>>) -> Plain {
    Plain { expected, guards: Vec::new(), commands }
}

fn word(text: &'static [u8]) -> Bytes {
    Bytes::from_static(text)
}

/// An element as plain clients read it at that time.
pub(super) fn seen(state: &KeyState, id: &ElementId, at: TimestampMs) -> Seen {
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

/// The commands that write a value whole, which replaces what may be there.
fn whole(key: &Bytes, state: &KeyState, kind: Kind, at: TimestampMs, replaces: bool) -> Vec<Vec<Bytes>> {
    let mut commands = Vec::new();
    if replaces {
        commands.push(vec![word(b"UNLINK"), key.clone()]);
    }
    if kind == Kind::String {
        let value = state.element(&ElementId::String).as_ref().and_then(Element::value).unwrap_or_default();
        commands.push(vec![word(b"SET"), key.clone(), value]);
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

/// The commands that write a value where none stands, if all of these elements show and none ends by itself.
pub(super) fn begin(
    key: &Key,
    kind: Kind,
    elements: &[(ElementId, Element)],
    now: TimestampMs,
) -> Option<Vec<Vec<Bytes>>> {
    let key = Bytes::copy_from_slice(key.as_bytes());
    let mut all = Vec::with_capacity(elements.len().saturating_mul(arguments_per_element(kind)));
    for (id, element) in elements {
        let seen = seen_of(id, element, now);
        if id.kind() != kind || seen == Seen::Absent || element.deadline() != Deadline::default() {
            return None;
        }
        all.extend(arguments(id, &seen));
    }
    match (kind, &*all) {
        (_, []) => None,
        (Kind::String, [.., value]) => Some(vec![vec![word(b"SET"), key, value.clone()]]),
        _ => Some(batches(add_name(kind), &key, &all, arguments_per_element(kind))),
    }
}

fn expiry(key: &Bytes, at: Option<TimestampMs>) -> Vec<Bytes> {
    match at {
        Some(at) => vec![word(b"PEXPIREAT"), key.clone(), at.0.to_string().into()],
        None => vec![word(b"PERSIST"), key.clone()],
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
