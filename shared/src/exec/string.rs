//! SET, GET, INCR and the like. What changes a part of a value is a SET of the result.

use super::{Prepared, Subject, View, keys, subject::fresh};
use crate::{
    command::{CommandError, CommandName, Condition, Expiry, LongDouble, Part, Reply, StringAction, deadline_after},
    id::{Key, TimestampMs},
    limits::VALUE_BYTES_MAX,
    ordered::OrderedMap,
    state::{Effect, Element, ElementId, Increment, Kind, NewBase},
};
use bytes::{Bytes, BytesMut};

/// What is done to the strings of one key.
pub(super) fn act(key: Subject<'_>, action: &StringAction, name: CommandName) -> Result<Prepared, CommandError> {
    match action {
        StringAction::IncrementFloat(by) => increment_float(key, *by),
        StringAction::Append(tail) => append(key, tail),
        StringAction::Length => {
            key.expect(Kind::String)?;
            Ok(Reply::count(bytes_of(&key)?.len()).into())
        }
        StringAction::Range { start, stop } => Ok(Reply::Bulk(range(&bytes_of(&key)?, *start, *stop)).into()),
        StringAction::Overwrite { offset, value } => overwrite(key, *offset, value),
        StringAction::Replace(value) => {
            let before = self::value(&key)?.reply;
            Ok(Prepared { reply: before, ..set(key, value, Expiry::None)? })
        }
        StringAction::SetFor { value, after_ms } => {
            let at = deadline_after(key.now, *after_ms, name)?;
            set(key, value, Expiry::At(at))
        }
        StringAction::ValueAndExpiry(expiry) => value_and_expiry(key, *expiry),
        StringAction::SetIf { value, expiry, condition, get } => set_if(key, value, *expiry, *condition, *get),
        StringAction::SetAbsent(value) => {
            let is_absent = key.shown.is_none();
            let prepared = set_if(key, value, Expiry::None, Condition::Absent, false)?;
            Ok(Prepared { reply: Reply::from(is_absent), ..prepared })
        }
        StringAction::Take => {
            let reply = self::value(&key)?.reply;
            let effects = if key.shown.is_some() { vec![key.state.seen_whole()] } else { Vec::new() };
            Ok(key.done(reply, effects))
        }
        // Of several keys.
        StringAction::SetEach(_) | StringAction::SetEachAbsent(_) | StringAction::Values => Err(CommandError::Empty),
    }
}

/// MSET; of a key named twice the last value counts.
pub(super) fn set_each<'a>(
    keys: &[Key],
    values: &[Bytes],
    view: impl Fn(&Key) -> View<'a>,
    now: TimestampMs,
) -> Result<Prepared, CommandError> {
    let last: OrderedMap<&Key, &Bytes> = keys.iter().zip(values).collect();
    let mut operations = Vec::with_capacity(last.len());
    for (key, value) in last {
        operations.extend(set(Subject::new(key, view(key), now), value, Expiry::None)?.operations);
    }
    Ok(Prepared { reply: Reply::Ok, operations })
}

/// MSETNX: all or none.
pub(super) fn set_each_absent<'a>(
    keys: &[Key],
    values: &[Bytes],
    view: impl Fn(&Key) -> View<'a>,
    now: TimestampMs,
) -> Result<Prepared, CommandError> {
    if keys.iter().any(|key| Subject::new(key, view(key), now).shown.is_some()) {
        return Ok(Reply::from(false).into());
    }
    Ok(Prepared { reply: Reply::from(true), ..set_each(keys, values, view, now)? })
}

/// SET with NX, XX or GET.
fn set_if(
    key: Subject<'_>,
    new: &Bytes,
    expiry: Expiry,
    condition: Condition,
    get: bool,
) -> Result<Prepared, CommandError> {
    // A time that is out of range is an error whether the condition holds or not.
    expiry.deadline(key.now)?;
    let before = if get { Some(value(&key)?.reply) } else { None };
    let holds = match condition {
        Condition::Absent => key.shown.is_none(),
        Condition::Present => key.shown.is_some(),
        _ => true,
    };
    if !holds {
        return Ok(before.unwrap_or(Reply::Nil).into());
    }
    let prepared = set(key, new, expiry)?;
    Ok(Prepared { reply: before.unwrap_or(prepared.reply), ..prepared })
}

/// MGET: nil also for a key of another type.
pub(super) fn values<'a>(keys: &[Key], view: impl Fn(&Key) -> View<'a>, now: TimestampMs) -> Prepared {
    let of = |key: &Key| value(&Subject::new(key, view(key), now)).map_or(Reply::Nil, |prepared| prepared.reply);
    keys.iter().map(of).collect::<Reply>().into()
}

pub(super) fn set(key: Subject<'_>, value: &Bytes, expiry: Expiry) -> Result<Prepared, CommandError> {
    let at = expiry.deadline(key.now)?;
    if at.is_some_and(|at| at <= key.now) {
        // Redis deletes the key at once; what was not seen of it survives, as under DEL.
        let wipe = key.state.seen_whole();
        return Ok(key.done(Reply::Ok, vec![wipe]));
    }
    let mut effects = Vec::new();
    let holds_other_type = [Kind::Set, Kind::Hash, Kind::Board].into_iter().any(|kind| key.state.count(kind) > 0);
    let base = NewBase::Bytes(value.clone());
    if key.is_expired() || holds_other_type {
        effects.push(key.state.seen_whole());
        effects.push(fresh(ElementId::String, base));
    } else {
        effects.push(key.write(ElementId::String, Some(base)));
    }
    let keeps = matches!(expiry, Expiry::Keep) && !key.is_expired() && key.shown.is_some();
    if !keeps {
        effects.extend(key.deadline_to(at));
    }
    Ok(key.done(Reply::Ok, effects))
}

pub(super) fn value(key: &Subject<'_>) -> Result<Prepared, CommandError> {
    let element = key.element_present(&ElementId::String)?;
    Ok(Reply::from(element.as_ref().and_then(Element::value)).into())
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

fn increment_float(key: Subject<'_>, by: LongDouble) -> Result<Prepared, CommandError> {
    let before = match key.element_present(&ElementId::String)?.as_ref().and_then(Element::value) {
        Some(value) => LongDouble::parse(&value).ok_or(CommandError::NotAFloat)?,
        None => LongDouble::ZERO,
    };
    let sum = before.plus(by).ok_or(CommandError::SumNotFinite)?.to_text();
    written(key, Reply::Bulk(sum.clone()), sum)
}

fn append(key: Subject<'_>, tail: &Bytes) -> Result<Prepared, CommandError> {
    let mut value = BytesMut::from(&bytes_of(&key)?[..]);
    value.extend_from_slice(tail);
    written(key, Reply::count(value.len()), value.freeze())
}

fn overwrite(key: Subject<'_>, offset: u64, patch: &Bytes) -> Result<Prepared, CommandError> {
    let before = bytes_of(&key)?;
    if patch.is_empty() {
        return Ok(Reply::count(before.len()).into());
    }
    let offset = usize::try_from(offset).unwrap_or(usize::MAX);
    let end = offset.saturating_add(patch.len());
    if end > VALUE_BYTES_MAX {
        return Err(CommandError::too_long(Part::Value));
    }
    let mut value = BytesMut::from(&before[..]);
    value.resize(end.max(before.len()), 0);
    if let Some(place) = value.get_mut(offset..end) {
        place.copy_from_slice(patch);
    }
    written(key, Reply::count(value.len()), value.freeze())
}

/// GETEX: the value, and what becomes of its deadline.
fn value_and_expiry(key: Subject<'_>, expiry: Expiry) -> Result<Prepared, CommandError> {
    let reply = value(&key)?.reply;
    let at = expiry.deadline(key.now).map_err(|_of_set| CommandError::InvalidExpireTime(CommandName::GetEx))?;
    let prepared = match (expiry, at) {
        _ if key.shown.is_none() => return Ok(reply.into()),
        (Expiry::Keep, _) => return Ok(reply.into()),
        (_, Some(at)) => keys::expire_at(key, at, Condition::Always),
        (_, None) => keys::persist(key),
    };
    Ok(Prepared { reply, ..prepared })
}

/// The bytes from `start` to `stop`, both included; negative ones count from the end.
fn range(value: &Bytes, start: i64, stop: i64) -> Bytes {
    let len = i64::try_from(value.len()).unwrap_or(i64::MAX);
    if start < 0 && stop < 0 && start > stop {
        return Bytes::new();
    }
    let place = |sent: i64| if sent < 0 { sent.saturating_add(len).max(0) } else { sent };
    let (start, end) = (place(start), place(stop).saturating_add(1).min(len));
    let at = |place: i64| usize::try_from(place).unwrap_or(usize::MAX);
    if start < end { value.slice(at(start)..at(end)) } else { Bytes::new() }
}

/// A string's bytes; none where there is no key.
fn bytes_of(key: &Subject<'_>) -> Result<Bytes, CommandError> {
    let element = key.element_present(&ElementId::String)?;
    Ok(element.as_ref().and_then(Element::value).unwrap_or_default())
}

/// The result as a SET that keeps the deadline.
fn written(key: Subject<'_>, reply: Reply, value: Bytes) -> Result<Prepared, CommandError> {
    if value.len() > VALUE_BYTES_MAX {
        return Err(CommandError::too_long(Part::Value));
    }
    let write = key.write(ElementId::String, Some(NewBase::Bytes(value)));
    Ok(key.created(reply, vec![write]))
}
