//! A command against a node's view of its keys becomes a reply and prepared operations.
//!
//! Nothing changes here: whoever prepares (a leaf, or a hub for an HTTP command) hands the operations on to be numbered and
//! applied. Redis' own meaning holds inside one node; what concurrent operations come to is the states' business.

mod board;
mod hash;
mod keys;
mod set;
mod string;

use crate::{
    command::{Command, CommandError, Reply},
    id::{Key, TimestampMs},
    state::{DeadlineChange, Effect, Element, ElementId, KeyState, Kind, NewBase, Operation},
};
use std::sync::OnceLock;

/// A node's view of a key.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// What is known; `None` for nothing.
    pub state: Option<&'a KeyState>,
    /// Whether the node holds the key as the origin has it, or knows only its own writes.
    pub is_held: bool,
}

/// What a command comes to.
#[derive(Clone, PartialEq, Debug)]
pub struct Prepared {
    /// What it answers.
    pub reply: Reply,
    /// What it does, at most one operation a key.
    pub operations: Vec<Operation>,
}

/// Whether a command's meaning rests on the key's present value, so that a node which does not hold the key must fetch it.
/// The other writes are blind: they can be made anywhere, and only their reply may be provisional.
pub fn needs_key(command: &Command) -> bool {
    use crate::command::Condition;
    match command {
        Command::Set { .. }
        | Command::Incr { .. }
        | Command::IncrBy { .. }
        | Command::Decr { .. }
        | Command::DecrBy { .. }
        | Command::SAdd { .. }
        | Command::HSet { .. }
        | Command::HIncrBy { .. }
        | Command::ZIncrBy { .. }
        | Command::Ping { .. }
        | Command::Echo { .. } => false,
        Command::ZAdd { condition, .. } => {
            !matches!(condition, Condition::Always | Condition::Greater | Condition::Less)
        }
        Command::ZAddIncr { condition, .. } => *condition != Condition::Always,
        _ => true,
    }
}

/// Executes `command` on what `view` shows at `now`.
///
/// # Errors
/// Redis' own where the command does not fit the value; then there is no operation.
pub fn prepare<'a>(
    command: &Command,
    view: impl Fn(&Key) -> View<'a>,
    now: TimestampMs,
) -> Result<Prepared, CommandError> {
    match command {
        Command::Ping { message } => Ok(message.clone().map_or(Reply::simple("PONG"), Reply::Bulk).into()),
        Command::Echo { message } => Ok(Reply::Bulk(message.clone()).into()),
        Command::Del { keys } => Ok(keys::del(keys, view, now)),
        Command::Exists { keys } => {
            let existing = keys.iter().filter(|key| Subject::new(key, view(key), now).shown.is_some());
            Ok(Reply::count(existing.count()).into())
        }
        _ => {
            let Some(key) = command.keys().next() else { return Err(CommandError::Empty) };
            prepare_one(command, Subject::new(key, view(key), now))
        }
    }
}

fn prepare_one(command: &Command, key: Subject<'_>) -> Result<Prepared, CommandError> {
    match command {
        Command::Set { value, expiry, .. } => string::set(key, value, *expiry),
        Command::Get { .. } => string::value(&key),
        Command::Incr { by, .. }
        | Command::IncrBy { by, .. }
        | Command::Decr { by, .. }
        | Command::DecrBy { by, .. } => string::increment(key, *by),
        Command::Expire { after_ms, condition, .. } | Command::PExpire { after_ms, condition, .. } => {
            keys::expire(key, *after_ms, *condition, command.name())
        }
        Command::Ttl { .. } => Ok(keys::time_to_live(&key, keys::Unit::Seconds)),
        Command::PTtl { .. } => Ok(keys::time_to_live(&key, keys::Unit::Milliseconds)),
        Command::Persist { .. } => Ok(keys::persist(key)),
        Command::Type { .. } => Ok(Reply::simple(key.shown.map_or("none", Kind::redis_name)).into()),
        Command::SAdd { members, .. } => set::add(key, members),
        Command::SRem { members, .. } => key.remove(Kind::Set, members),
        Command::SIsMember { member, .. } => {
            Ok(Reply::from(key.element_present(ElementId::Member(member.clone()))?.is_some()).into())
        }
        Command::SMembers { .. } => set::members(&key),
        Command::SCard { .. } => key.count(Kind::Set),
        Command::HSet { fields, .. } => hash::set(key, fields),
        Command::HGet { field, .. } => hash::value(&key, field),
        Command::HGetAll { .. } => hash::all(&key),
        Command::HDel { fields, .. } => key.remove(Kind::Hash, fields),
        Command::HIncrBy { field, by, .. } => hash::increment(key, field, *by),
        Command::HLen { .. } => key.count(Kind::Hash),
        Command::ZAdd { condition, count_changed, entries, .. } => {
            board::add(key, *condition, *count_changed, entries)
        }
        Command::ZAddIncr { condition, increment, member, .. } => {
            board::increment(key, *condition, *increment, member)
        }
        Command::ZIncrBy { increment, member, .. } => {
            board::increment(key, crate::command::Condition::Always, *increment, member)
        }
        Command::ZScore { member, .. } => board::score(&key, member),
        Command::ZRank { member, with_score, .. } => board::rank(&key, member, false, *with_score),
        Command::ZRevRank { member, with_score, .. } => board::rank(&key, member, true, *with_score),
        Command::ZRange { selection, reverse, with_scores, .. } => {
            board::range(&key, selection, *reverse, *with_scores)
        }
        Command::ZCard { .. } => key.count(Kind::Board),
        Command::ZRem { members, .. } => key.remove(Kind::Board, members),
        // Answered by `prepare`.
        Command::Ping { .. } | Command::Echo { .. } | Command::Del { .. } | Command::Exists { .. } => {
            Err(CommandError::Empty)
        }
    }
}

/// One key as a command meets it.
struct Subject<'a> {
    key: &'a Key,
    state: &'a KeyState,
    is_held: bool,
    now: TimestampMs,
    shown: Option<Kind>,
}

impl<'a> Subject<'a> {
    fn new(key: &'a Key, view: View<'a>, now: TimestampMs) -> Self {
        static NOTHING: OnceLock<KeyState> = OnceLock::new();
        let state = view.state.unwrap_or_else(|| NOTHING.get_or_init(KeyState::default));
        Self { key, state, is_held: view.is_held, now, shown: state.shown(now) }
    }

    /// Refuses a key that shows another type.
    fn expect(&self, kind: Kind) -> Result<(), CommandError> {
        if self.shown.is_none_or(|shown| shown == kind) { Ok(()) } else { Err(CommandError::WrongType) }
    }

    /// An element that a reader sees.
    fn element_present(&self, id: ElementId) -> Result<Option<&'a Element>, CommandError> {
        self.expect(id.kind())?;
        Ok(self.shown.and_then(|_| self.state.element(&id)).filter(|element| element.is_present()))
    }

    fn count(&self, kind: Kind) -> Result<Prepared, CommandError> {
        self.expect(kind)?;
        Ok(Reply::count(self.shown.map_or(0, |_| self.state.count(kind))).into())
    }

    /// SREM, HDEL, ZREM: takes away what was seen of each name.
    fn remove(self, kind: Kind, names: &[bytes::Bytes]) -> Result<Prepared, CommandError> {
        self.expect(kind)?;
        let mut ids: Vec<ElementId> = names.iter().map(|name| ElementId::of(kind, name.clone())).collect();
        ids.sort();
        ids.dedup();
        ids.retain(|id| self.shown.is_some() && self.state.element(id).is_some_and(Element::is_present));
        let reply = Reply::count(ids.len());
        let effects = ids.into_iter().map(|id| self.write(id, None)).collect();
        Ok(self.done(reply, effects))
    }

    /// A write of one element that resets all that is seen of it.
    fn write(&self, element: ElementId, base: Option<NewBase>) -> Effect {
        // What an expired key held is wiped whole before.
        let (seen, cuts) = if self.is_expired() {
            (Vec::new(), Element::empty(element.kind()).sum.seen())
        } else {
            self.state.seen(&element)
        };
        Effect::Write { element, base, seen, cuts }
    }

    fn is_expired(&self) -> bool {
        self.state.header().deadline.is_past(self.now)
    }

    /// What goes before a write so that it starts afresh: a write at or after the deadline is an observed wipe of what the
    /// node holds and opens a new epoch; so does one to a key that vanished otherwise and still bears a deadline.
    fn afresh(&self) -> Vec<Effect> {
        let mut effects = Vec::new();
        if self.is_expired() {
            effects.push(self.state.seen_whole());
        }
        if self.shown.is_none() && self.state.header().deadline.at().is_some() {
            effects.push(Effect::Deadline(DeadlineChange::Open(None)));
        }
        effects
    }

    /// A write that may create the key.
    fn created(self, reply: Reply, effects: Vec<Effect>) -> Prepared {
        let mut all = if effects.is_empty() { Vec::new() } else { self.afresh() };
        all.extend(effects);
        self.done(reply, all)
    }

    fn done(self, reply: Reply, effects: Vec<Effect>) -> Prepared {
        let operation = Operation { key: self.key.clone(), at: self.now, effects };
        Prepared { reply, operations: if operation.effects.is_empty() { Vec::new() } else { vec![operation] } }
    }
}

impl From<Reply> for Prepared {
    /// A command that changes nothing.
    fn from(reply: Reply) -> Self {
        Self { reply, operations: Vec::new() }
    }
}
