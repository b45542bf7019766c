//! SET, GET, INCR and the like.

use super::{Prepared, Subject};
use crate::{
    command::{CommandError, Expiry, Reply},
    state::{DeadlineChange, Effect, ElementId, Increment, Kind, NewBase},
};
use bytes::Bytes;

pub(super) fn set(key: Subject<'_>, value: &Bytes, expiry: Expiry) -> Result<Prepared, CommandError> {
    let at = expiry.deadline(key.now)?;
    if at.is_some_and(|at| at <= key.now) {
        // Redis deletes the key at once; what was not seen of it survives, as under DEL.
        let wipe = key.state.seen_whole();
        return Ok(key.done(Reply::Ok, vec![wipe]));
    }
    let mut effects = Vec::new();
    let holds_other_type = [Kind::Set, Kind::Hash, Kind::Board].into_iter().any(|kind| key.state.count(kind) > 0);
    let is_afresh = key.is_expired() || holds_other_type;
    if is_afresh {
        effects.push(key.state.seen_whole());
    }
    effects.push(if is_afresh {
        let cuts = crate::state::Element::empty(Kind::String).sum.seen();
        Effect::Write { element: ElementId::String, base: Some(NewBase::Bytes(value.clone())), seen: Vec::new(), cuts }
    } else {
        key.write(ElementId::String, Some(NewBase::Bytes(value.clone())))
    });
    let deadline = key.deadline.at();
    let keeps = matches!(expiry, Expiry::Keep) && !key.is_expired() && key.shown.is_some();
    if !keeps {
        // A deadline that this node cannot know of, or a later one that it does, gives way only to a new epoch.
        match at {
            Some(at) if key.is_held && deadline.is_none_or(|own| own <= at) && !key.is_expired() => {
                effects.push(key.moves(DeadlineChange::Raise(at)));
            }
            None if key.is_held && deadline.is_none() => {}
            at => effects.push(key.moves(DeadlineChange::Open(at))),
        }
    }
    Ok(key.done(Reply::Ok, effects))
}

pub(super) fn value(key: &Subject<'_>) -> Result<Prepared, CommandError> {
    let element = key.element_present(&ElementId::String)?;
    Ok(Reply::from(element.as_ref().and_then(crate::state::Element::value)).into())
}

pub(super) fn increment(key: Subject<'_>, by: i64) -> Result<Prepared, CommandError> {
    let present = match key.element_present(&ElementId::String)? {
        Some(element) => element.integer().map_err(|_not_an_integer| CommandError::NotAnInteger)?,
        None => 0,
    };
    let total = present.checked_add(by).ok_or(CommandError::Overflow)?;
    let effect = Effect::Add { element: ElementId::String, by: Increment::Int(by.into()) };
    Ok(key.created(Reply::Int(total), vec![effect]))
}
