//! HEXPIRE and its family: when single fields of a hash end.
//!
//! A field ends for a reader as a whole key does, by state and time alone. What HSET or HDEL takes away of a field includes
//! the deadlines that it saw there; HINCRBY leaves them.

use super::{Prepared, Subject, keys::Unit};
use crate::{
    command::{CommandError, CommandName, Condition, FieldExpiry, Reply},
    id::TimestampMs,
    ordered::OrderedMap,
    state::{DeadlineChange, Effect, Element, ElementId, Kind},
};
use bytes::Bytes;

/// What Redis answers of each field.
const NO_SUCH_FIELD: i64 = -2;
const NO_DEADLINE: i64 = -1;
const CONDITION_FAILED: i64 = 0;
const DONE: i64 = 1;
const DELETED: i64 = 2;

pub(super) fn expire(
    key: Subject<'_>,
    command: CommandName,
    expiry: FieldExpiry,
    condition: Condition,
    fields: &[Bytes],
) -> Result<Prepared, CommandError> {
    key.expect(Kind::Hash)?;
    let at = expiry.deadline(key.now, command)?;
    // Of a field named twice the second meets what the first left: its deadline, or nothing.
    let mut left: OrderedMap<&Bytes, Option<Option<TimestampMs>>> = OrderedMap::new();
    let mut effects = Vec::new();
    let mut replies = Vec::with_capacity(fields.len());
    for field in fields {
        let id = ElementId::Field(field.clone());
        let Some(element) = key.element_present(&id)? else {
            replies.push(NO_SUCH_FIELD);
            continue;
        };
        let present = match left.get(field) {
            None => element.deadline().at(),
            Some(Some(at)) => *at,
            Some(None) => {
                replies.push(NO_SUCH_FIELD);
                continue;
            }
        };
        let is_first = !left.contains_key(field);
        if !condition.admits_deadline(present, at) {
            replies.push(CONDITION_FAILED);
        } else if at <= key.now {
            left.insert(field, None);
            effects.push(key.write(id, None));
            replies.push(DELETED);
        } else {
            left.insert(field, Some(Some(at)));
            if is_first {
                effects.push(touch(id, &element, at));
            }
            replies.push(DONE);
        }
    }
    Ok(key.done(replies.into_iter().map(Reply::Int).collect(), effects))
}

pub(super) fn persist(key: Subject<'_>, fields: &[Bytes]) -> Result<Prepared, CommandError> {
    key.expect(Kind::Hash)?;
    let mut effects: OrderedMap<&Bytes, Effect> = OrderedMap::new();
    let mut replies = Vec::with_capacity(fields.len());
    for field in fields {
        let id = ElementId::Field(field.clone());
        let Some(element) = key.element_present(&id)? else {
            replies.push(NO_SUCH_FIELD);
            continue;
        };
        if element.deadline().at().is_none() || effects.contains_key(field) {
            replies.push(NO_DEADLINE);
            continue;
        }
        effects.insert(field, change(id, &element, DeadlineChange::Open(None)));
        replies.push(DONE);
    }
    Ok(key.done(replies.into_iter().map(Reply::Int).collect(), effects.into_values().collect()))
}

/// HTTL and the like; with `from_epoch` HEXPIRETIME and the like.
pub(super) fn time_left(
    key: &Subject<'_>,
    fields: &[Bytes],
    unit: Unit,
    from_epoch: bool,
) -> Result<Prepared, CommandError> {
    key.expect(Kind::Hash)?;
    let since = if from_epoch { TimestampMs(0) } else { key.now };
    let mut replies = Vec::with_capacity(fields.len());
    for field in fields {
        let element = key.element_present(&ElementId::Field(field.clone()))?;
        let reply = match element.map(|element| element.deadline().at()) {
            None => NO_SUCH_FIELD,
            Some(None) => NO_DEADLINE,
            Some(Some(at)) => match unit {
                Unit::Milliseconds => at.since_ms(since),
                // Of fields Redis rounds up.
                Unit::Seconds => at.since_ms(since).saturating_add(999).div_euclid(1000),
            },
        };
        replies.push(Reply::Int(reply));
    }
    Ok(replies.into_iter().collect::<Reply>().into())
}

fn touch(id: ElementId, element: &Element, at: TimestampMs) -> Effect {
    let is_shortened = element.deadline().is_shortened_by(at);
    change(id, element, if is_shortened { DeadlineChange::Open(Some(at)) } else { DeadlineChange::Raise(at) })
}

fn change(element: ElementId, state: &Element, change: DeadlineChange) -> Effect {
    let seen = state.deadlines().map(|(dot, _)| dot).collect();
    Effect::Touch { element, change, epoch: state.deadline().epoch(), seen }
}
