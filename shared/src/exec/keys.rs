//! Commands on whole keys: DEL, EXPIRE, TTL, PERSIST.

use super::{Prepared, Subject, View};
use crate::{
    command::{CommandError, CommandName, Condition, Reply, deadline_after},
    id::{Key, TimestampMs},
    state::DeadlineChange,
};

pub(super) fn del<'a>(keys: &[Key], view: impl Fn(&Key) -> View<'a>, now: TimestampMs) -> Prepared {
    let mut distinct: Vec<&Key> = keys.iter().collect();
    distinct.sort();
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

pub(super) fn expire(
    key: Subject<'_>,
    after_ms: i64,
    condition: Condition,
    command: CommandName,
) -> Result<Prepared, CommandError> {
    let at = deadline_after(key.now, after_ms, command)?;
    let deadline = key.deadline;
    if key.shown.is_none() || !condition.admits_deadline(deadline.at(), at) {
        return Ok(Reply::from(false).into());
    }
    let effect = if at <= key.now {
        key.state.seen_whole()
    } else if deadline.is_shortened_by(at) {
        key.moves(DeadlineChange::Open(Some(at)))
    } else {
        // A lowering within the clock bound is a touch by a node whose clock runs behind.
        key.moves(DeadlineChange::Raise(at))
    };
    Ok(key.done(Reply::from(true), vec![effect]))
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

pub(super) fn time_to_live(key: &Subject<'_>, unit: Unit) -> Prepared {
    let left_ms = match (key.shown, key.deadline.at()) {
        (None, _) => return Reply::Int(-2).into(),
        (Some(_), None) => return Reply::Int(-1).into(),
        (Some(_), Some(at)) => at.since_ms(key.now),
    };
    let left = match unit {
        Unit::Milliseconds => left_ms,
        // Redis rounds to the nearest second.
        Unit::Seconds => left_ms.saturating_add(500).div_euclid(1000),
    };
    Reply::Int(left).into()
}
