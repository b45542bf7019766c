//! A command against a node's view of its keys becomes a reply and prepared operations.
//!
//! Nothing changes here: whoever prepares (a leaf, or a hub for an HTTP command) hands the operations on to be numbered and
//! applied. Redis' own meaning holds inside one node; what concurrent operations come to is the states' business.

mod algebra;
mod board;
mod draw;
mod field_deadline;
mod hash;
mod keys;
mod limit;
#[cfg(feature = "hub")]
mod lock;
#[cfg(feature = "hub")]
mod script;
mod set;
mod string;
mod subject;

use crate::{
    command::{
        ALL_COMMANDS, Action, Command, CommandError, CommandName, KeyAction, Keyed, Reply, Script, StringAction,
    },
    id::{Key, ReplicaId, TimestampMs},
    random::Random,
    state::{ElementId, KeyView, Kind, Operation},
};
pub(crate) use keys::{admit, bound_revocation};
use subject::Subject;

/// A node's view of a key.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// What is known; `None` for nothing.
    pub state: Option<KeyView<'a>>,
    /// Whether the node holds the key as the origin has it, or knows only its own writes.
    pub is_held: bool,
    /// From where it is seen.
    pub vantage: Vantage,
}

/// Where a view stands among the replicas, for commands that tell how sure their answer is.
#[derive(Clone, Copy, Debug)]
pub struct Vantage {
    /// Under which name the node's own spends stand.
    pub replica: ReplicaId,
    /// When it last heard from beyond itself, by its own clock: a hub from the origin, a leaf from its hub.
    pub heard_at: Option<TimestampMs>,
}

impl Vantage {
    /// Of a node that counts nothing itself and has heard of nobody.
    pub const NOWHERE: Self = Self { replica: ReplicaId::LEAF, heard_at: None };
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
        | Command::Echo { .. }
        | Command::Limit { strict: true, .. }
        | Command::Passed(_) => false,
        Command::ZAdd { condition, .. } => {
            !matches!(condition, Condition::Always | Condition::Greater | Condition::Less)
        }
        Command::ZAddIncr { condition, .. } => *condition != Condition::Always,
        // What the origin executes rests on the value there, and not on what is held here.
        Command::Keyed(Keyed { action, .. }) => !action.is_blind() && !command.needs_origin(),
        _ => true,
    }
}

/// Whether a command that needs its keys is answered by what the node has of them, and marked provisional, where they cannot be
/// fetched: a limit is decided by what was counted here rather than not at all.
pub fn takes_unheld(command: &Command) -> bool {
    command.script().is_some_and(Script::is_limit)
}

/// Executes `command` on what `view` shows at `now`. The commands that draw at random follow `entropy`, 64 bits that are the
/// host's or follow from what it gave.
///
/// # Errors
/// Redis' own where the command does not fit the value; then there is no operation.
pub fn prepare<'a>(
    command: &Command,
    view: impl Fn(&Key) -> View<'a>,
    now: TimestampMs,
    entropy: u64,
) -> Result<Prepared, CommandError> {
    let prepared = prepare_on(command, &view, now, entropy)?;
    for operation in &prepared.operations {
        if let Some(state) = view(&operation.key).state {
            keys::admit(operation, state.deadline(), now)?;
        }
    }
    Ok(prepared)
}

fn prepare_on<'a>(
    command: &Command,
    view: impl Fn(&Key) -> View<'a>,
    now: TimestampMs,
    entropy: u64,
) -> Result<Prepared, CommandError> {
    match command {
        Command::Keyed(keyed) if ALL_COMMANDS => prepare_keyed(keyed, view, now, Random::new(entropy)),
        Command::Keyed(keyed) => Err(CommandError::NotBuiltIn(keyed.name)),
        Command::Passed(_) => Err(CommandError::NeedsOrigin),
        Command::Ping { message } => Ok(message.clone().map_or(Reply::simple("PONG"), Reply::Bulk).into()),
        Command::Echo { message } => Ok(Reply::Bulk(message.clone()).into()),
        Command::Del { keys } => Ok(keys::del(keys, view, now)),
        Command::Exists { keys } => Ok(keys::existing(keys, view, now)),
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
        Command::HExpire { command, expiry, condition, fields, .. } if ALL_COMMANDS => {
            field_deadline::expire(key, *command, *expiry, *condition, fields)
        }
        Command::HTtl { command, fields, .. } if ALL_COMMANDS => {
            let unit = match command {
                CommandName::HTtl | CommandName::HExpireTime => keys::Unit::Seconds,
                _ => keys::Unit::Milliseconds,
            };
            let from_epoch = matches!(command, CommandName::HExpireTime | CommandName::HPExpireTime);
            field_deadline::time_left(&key, fields, unit, from_epoch)
        }
        Command::HPersist { fields, .. } if ALL_COMMANDS => field_deadline::persist(key, fields),
        // Rights are a hub's, which decides by them before it comes here.
        Command::Limit { strict: true, .. } => Err(CommandError::StrictElsewhere),
        Command::Limit { limit, cost, nodes, peek, .. } => limit::decide(key, limit, *cost, *nodes, *peek),
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
        Command::HExpire { .. } | Command::HTtl { .. } | Command::HPersist { .. } => {
            Err(CommandError::NotBuiltIn(command.name()))
        }
        // Answered by `prepare`.
        Command::Ping { .. }
        | Command::Echo { .. }
        | Command::Del { .. }
        | Command::Exists { .. }
        | Command::Passed(_)
        | Command::Keyed(_) => Err(CommandError::Empty),
    }
}

fn prepare_keyed<'a>(
    Keyed { name, keys, action }: &Keyed,
    view: impl Fn(&Key) -> View<'a>,
    now: TimestampMs,
    random: Random,
) -> Result<Prepared, CommandError> {
    let subject = |key| Subject::new(key, view(key), now);
    match action {
        Action::Time => Ok(time(now).into()),
        // No node's view has all keys.
        Action::Keyspace(_) => Err(CommandError::NeedsOrigin),
        #[cfg(feature = "hub")]
        Action::Script(script) => script::answer(script, keys, *name, view, now),
        #[cfg(not(feature = "hub"))]
        Action::Script(_) => Err(CommandError::NeedsOrigin),
        Action::String(StringAction::SetEach(values)) => string::set_each(keys, values, view, now),
        Action::String(StringAction::SetEachAbsent(values)) => string::set_each_absent(keys, values, view, now),
        Action::String(StringAction::Values) => Ok(string::values(keys, view, now)),
        Action::Key(KeyAction::Touch) => Ok(keys::existing(keys, view, now)),
        Action::Key(KeyAction::Unlink) => Ok(keys::del(keys, view, now)),
        Action::Set(action) => set::act(keys.iter().map(subject).collect(), action, random),
        Action::Board(action) => board::act(keys.iter().map(subject).collect(), action, random),
        Action::String(_) | Action::Key(_) | Action::Hash(_) | Action::Lock(_) => {
            let Some(key) = keys.first().map(subject) else { return Err(CommandError::Empty) };
            match action {
                Action::String(action) => string::act(key, action, *name),
                Action::Hash(action) => hash::act(key, action, random),
                #[cfg(feature = "hub")]
                Action::Lock(action) => lock::act(key, action),
                #[cfg(not(feature = "hub"))]
                Action::Lock(_) => Err(CommandError::NeedsOrigin),
                Action::Key(action) => keys::act(key, keys.get(1).map(subject), action),
                Action::Set(_) | Action::Board(_) | Action::Script(_) | Action::Keyspace(_) | Action::Time => {
                    Err(CommandError::Empty)
                }
            }
        }
    }
}

/// TIME: seconds and microseconds; the clock knows milliseconds.
fn time(now: TimestampMs) -> Reply {
    let microseconds = now.0.rem_euclid(1000).saturating_mul(1000);
    let parts = [now.0.div_euclid(1000), microseconds];
    parts.into_iter().map(|part| Reply::Bulk(part.to_string().into())).collect()
}

impl From<Reply> for Prepared {
    /// A command that changes nothing.
    fn from(reply: Reply) -> Self {
        Self { reply, operations: Vec::new() }
    }
}

#[cfg(test)]
mod tests;
