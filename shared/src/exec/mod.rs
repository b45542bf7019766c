//! A command against a node's view of its keys becomes a reply and prepared operations.
//!
//! Nothing changes here: whoever prepares (a leaf, or a hub for an HTTP command) hands the operations on to be numbered and
//! applied. Redis' own meaning holds inside one node; what concurrent operations come to is the states' business.

mod board;
mod hash;
mod keys;
mod set;
mod string;
mod subject;

use crate::{
    command::{Command, CommandError, Reply},
    id::{Key, TimestampMs},
    state::{ElementId, KeyView, Kind, Operation},
};
use subject::Subject;

/// A node's view of a key.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// What is known; `None` for nothing.
    pub state: Option<KeyView<'a>>,
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
            Ok(Reply::from(key.element_present(&ElementId::Member(member.clone()))?.is_some()).into())
        }
        Command::SMembers { .. } => set::members(&key),
        Command::SCard { .. } => key.count(Kind::Set),
        Command::HSet { fields, .. } => hash::set(key, fields),
        Command::HGet { field, .. } => hash::value(&key, field),
        Command::HGetAll { .. } => hash::all(&key),
        Command::HDel { fields, .. } => key.remove(Kind::Hash, fields),
        Command::HIncrBy { field, by, .. } => hash::increment(key, field, *by),
        Command::HLen { .. } => key.count(Kind::Hash),
        Command::ZAdd { condition, count_changed, entries, .. } => board::add(key, *condition, *count_changed, entries),
        Command::ZAddIncr { condition, increment, member, .. } => board::increment(key, *condition, *increment, member),
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

impl From<Reply> for Prepared {
    /// A command that changes nothing.
    fn from(reply: Reply) -> Self {
        Self { reply, operations: Vec::new() }
    }
}

#[cfg(test)]
mod tests;
