//! Commands on whole keys: DEL, EXPIRE, TTL, PERSIST, COPY, RENAME, HW.REVOKE.

use super::{Prepared, Subject, View, subject::bound_changes};
use crate::{
    command::{CommandError, CommandName, Condition, Expiry, KeyAction, Reply, deadline_after},
    id::{Key, TimestampMs},
    limits::{REVOCATION_DAYS_MAX, REVOCATION_MS_MAX},
    ordered::sort,
    state::{Deadline, DeadlineChange, Effect, Element, ElementId, Kind, NewBase, Operation},
};

/// What is done to a key whatever its type; `other` is the second key of commands that name two.
pub(super) fn act(key: Subject<'_>, other: Option<Subject<'_>>, action: &KeyAction) -> Result<Prepared, CommandError> {
    match (action, other) {
        (KeyAction::Copy { replace }, Some(to)) => copy(&key, to, *replace),
        (KeyAction::Rename, Some(to)) => rename(key, to),
        (KeyAction::RenameAbsent, Some(to)) => rename_absent(key, to),
        (KeyAction::ExpireAt { at, condition }, _) => Ok(expire_at(key, *at, *condition)),
        (KeyAction::Revoke(expiry), _) => revoke(key, *expiry),
        (KeyAction::Revoked, _) => Ok(revoked(&key)),
        // Executed in the origin's order, it has the hub that asks hear of the key.
        (KeyAction::Refresh, _) => Ok(Reply::from(key.shown.is_some()).into()),
        (KeyAction::ExpireTime, _) => Ok(expire_time(&key, Unit::Seconds)),
        (KeyAction::PExpireTime, _) => Ok(expire_time(&key, Unit::Milliseconds)),
        // The parser gives each action the keys that it takes, and those of several keys are not asked here.
        (
            KeyAction::Copy { .. } | KeyAction::Rename | KeyAction::RenameAbsent | KeyAction::Touch | KeyAction::Unlink,
            _,
        ) => Err(CommandError::Empty),
    }
}

/// EXISTS and TOUCH: how many of the keys there are; one that is named twice counts twice.
pub(super) fn existing<'a>(keys: &[Key], view: impl Fn(&Key) -> View<'a>, now: TimestampMs) -> Prepared {
    let existing = keys.iter().filter(|key| Subject::new(key, view(key), now).shown.is_some());
    Reply::count(existing.count()).into()
}

pub(super) fn del<'a>(keys: &[Key], view: impl Fn(&Key) -> View<'a>, now: TimestampMs) -> Prepared {
    let mut distinct: Vec<&Key> = keys.iter().collect();
    sort(&mut distinct);
    distinct.dedup();
    let mut operations = Vec::new();
    for key in distinct {
        let subject = Subject::new(key, view(key), now);
        if subject.shown.is_some() {
            let wipe = subject.state.seen_whole();
            operations.extend(subject.done(Reply::Ok, vec![wipe]).operations);
        }
    }
    Prepared { reply: Reply::count(operations.len()), operations }
}

/// EXPIRE and PEXPIRE.
pub(super) fn expire(
    key: Subject<'_>,
    after_ms: i64,
    condition: Condition,
    command: CommandName,
) -> Result<Prepared, CommandError> {
    let at = deadline_after(key.now, after_ms, command)?;
    Ok(expire_at(key, at, condition))
}

pub(super) fn expire_at(key: Subject<'_>, at: TimestampMs, condition: Condition) -> Prepared {
    let deadline = key.deadline;
    if key.shown.is_none() || !condition.admits_deadline(deadline.at(), at) {
        return Reply::from(false).into();
    }
    let effect = if at <= key.now { key.state.seen_whole() } else { key.ends_at(at) };
    key.done(Reply::from(true), vec![effect])
}

/// HW.REVOKE: takes away what is seen, and hides what is not until then. Answers whether there was anything. A time that has
/// passed leaves nothing to hide.
fn revoke(key: Subject<'_>, expiry: Expiry) -> Result<Prepared, CommandError> {
    let until = expiry.deadline(key.now).ok().flatten().ok_or(CommandError::InvalidExpireTime(CommandName::Revoke))?;
    bound_revocation(until, key.now)?;
    let reply = Reply::from(key.shown.is_some());
    let mut effects = Vec::new();
    if key.state.has_content() {
        effects.push(key.state.seen_whole());
    }
    if until > key.now && key.deadline.revoked().is_none_or(|own| own < until) {
        effects.push(Effect::Deadline { change: DeadlineChange::Revoke(until), seen: None });
    }
    Ok(key.done(reply, effects))
}

/// HW.REVOKED: for how many milliseconds the key is revoked yet; -2 where it is not.
fn revoked(key: &Subject<'_>) -> Prepared {
    let left = key.deadline.revoked().map(|until| until.since_ms(key.now)).filter(|left| *left > 0);
    Reply::Int(left.unwrap_or(-2)).into()
}

/// Refuses a revocation that every node would have to keep for longer than it may.
pub(crate) fn bound_revocation(until: TimestampMs, now: TimestampMs) -> Result<(), CommandError> {
    let is_bounded = until.since_ms(now) <= REVOCATION_MS_MAX;
    if is_bounded { Ok(()) } else { Err(CommandError::RevokedTooLong { days: REVOCATION_DAYS_MAX }) }
}

/// Refuses an operation on a key that is revoked, unless it takes away only.
pub(crate) fn admit(operation: &Operation, deadline: Deadline, now: TimestampMs) -> Result<(), CommandError> {
    match deadline.revoked() {
        Some(until) if now < until && !operation.only_removes() => Err(CommandError::Revoked { until_ms: until.0 }),
        _ => Ok(()),
    }
}

pub(super) fn persist(key: Subject<'_>) -> Prepared {
    if key.shown.is_none() || key.deadline.at().is_none() {
        return Reply::from(false).into();
    }
    let effect = key.moves(DeadlineChange::Open(None));
    key.done(Reply::from(true), vec![effect])
}

/// In which unit TTL and PTTL answer.
#[derive(Clone, Copy)]
pub(super) enum Unit {
    Seconds,
    Milliseconds,
}

impl Unit {
    fn reply(self, ms: i64) -> Reply {
        Reply::Int(match self {
            Self::Milliseconds => ms,
            // Redis rounds to the nearest second.
            Self::Seconds => ms.saturating_add(500).div_euclid(1000),
        })
    }
}

pub(super) fn time_to_live(key: &Subject<'_>, unit: Unit) -> Prepared {
    deadline(key, |at| unit.reply(at.since_ms(key.now)))
}

/// EXPIRETIME and PEXPIRETIME.
fn expire_time(key: &Subject<'_>, unit: Unit) -> Prepared {
    deadline(key, |at| unit.reply(at.0))
}

fn deadline(key: &Subject<'_>, reply: impl FnOnce(TimestampMs) -> Reply) -> Prepared {
    match (key.shown, key.deadline.at()) {
        (None, _) => Reply::Int(-2),
        (Some(_), None) => Reply::Int(-1),
        (Some(_), Some(at)) => reply(at),
    }
    .into()
}

/// COPY: an observed rewrite of the target, with the deadline of the source.
fn copy(from: &Subject<'_>, to: Subject<'_>, replace: bool) -> Result<Prepared, CommandError> {
    if from.shown.is_none() || (to.shown.is_some() && !replace) {
        return Ok(Reply::from(false).into());
    }
    let elements = written_anew(from)?;
    to.replaced(Reply::from(true), elements, from.deadline.at())
}

/// RENAME: an observed DEL, and the same added again.
fn rename(from: Subject<'_>, to: Subject<'_>) -> Result<Prepared, CommandError> {
    if from.shown.is_none() {
        return Err(CommandError::NoSuchKey);
    }
    if from.key == to.key {
        return Ok(Reply::Ok.into());
    }
    let elements = written_anew(&from)?;
    let added = to.replaced(Reply::Ok, elements, from.deadline.at())?;
    let wipe = from.state.seen_whole();
    let mut prepared = from.done(Reply::Ok, vec![wipe]);
    prepared.operations.extend(added.operations);
    Ok(prepared)
}

/// RENAMENX.
fn rename_absent(from: Subject<'_>, to: Subject<'_>) -> Result<Prepared, CommandError> {
    if from.shown.is_some() && to.shown.is_some() {
        return Ok(Reply::from(false).into());
    }
    Ok(Prepared { reply: Reply::from(true), ..rename(from, to)? })
}

/// The writes that give another key what a reader sees of this one.
fn written_anew(key: &Subject<'_>) -> Result<Vec<(ElementId, NewBase)>, CommandError> {
    let Some(kind) = key.shown else { return Ok(Vec::new()) };
    bound_changes(key.state.count(kind))?;
    let base = |(id, element): (ElementId, Element)| {
        let base = match kind {
            Kind::Set => NewBase::Member,
            Kind::String | Kind::Hash => NewBase::Bytes(element.value()?),
            Kind::Board => NewBase::Abs(element.score()?),
        };
        Some((id, base))
    };
    Ok(key.elements(kind)?.into_iter().filter_map(base).collect())
}
