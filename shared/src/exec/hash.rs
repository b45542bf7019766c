//! HSET, HGET, HGETALL, HINCRBY and the like; HDEL is the removal that all types share.

use super::{Prepared, Subject, draw};
use crate::{
    command::{CommandError, HashAction, LongDouble, Reply},
    ordered::sort_by,
    random::Random,
    state::{Effect, Element, ElementId, Increment, Kind, NewBase},
};
use bytes::Bytes;

/// What is done to a hash.
pub(super) fn act(key: Subject<'_>, action: &HashAction, random: Random) -> Result<Prepared, CommandError> {
    match action {
        HashAction::Values(fields) => {
            Ok(fields.iter().map(|field| value_of(&key, field).map(Reply::from)).collect::<Result<Reply, _>>()?.into())
        }
        HashAction::Set(fields) => Ok(Prepared { reply: Reply::Ok, ..set(key, fields)? }),
        HashAction::Exists(field) => Ok(Reply::from(value_of(&key, field)?.is_some()).into()),
        HashAction::SetAbsent { field, value } => {
            if value_of(&key, field)?.is_some() {
                return Ok(Reply::from(false).into());
            }
            let prepared = set(key, &[(field.clone(), value.clone())])?;
            Ok(Prepared { reply: Reply::from(true), ..prepared })
        }
        HashAction::IncrementFloat { field, by } => increment_float(key, field, *by),
        HashAction::Fields => {
            Ok(key.elements(Kind::Hash)?.iter().map(|(id, _)| Reply::Bulk(id.name())).collect::<Reply>().into())
        }
        HashAction::AllValues => {
            let elements = key.elements(Kind::Hash)?;
            Ok(elements.iter().filter_map(|(_, element)| element.value()).map(Reply::Bulk).collect::<Reply>().into())
        }
        HashAction::Length(field) => Ok(Reply::count(value_of(&key, field)?.map_or(0, |value| value.len())).into()),
        HashAction::Random { count, with_values } => random_fields(&key, *count, *with_values, random),
        HashAction::Scan(scan) => {
            let pair = |field: Bytes, element: &Element| match element.value() {
                Some(value) => vec![Reply::Bulk(field), Reply::Bulk(value)],
                None => Vec::new(),
            };
            Ok(draw::scan(&key, Kind::Hash, scan, pair)?.into())
        }
    }
}

pub(super) fn set(key: Subject<'_>, fields: &[(Bytes, Bytes)]) -> Result<Prepared, CommandError> {
    key.expect(Kind::Hash)?;
    // Of a field named twice the last counts.
    let mut named: Vec<&(Bytes, Bytes)> = fields.iter().rev().collect();
    if named.len() > 1 {
        sort_by(&mut named, |(one, _), (other, _)| one.cmp(other));
        named.dedup_by(|(one, _), (other, _)| one == other);
    }
    let mut added = 0_usize;
    let mut effects = Vec::with_capacity(named.len());
    for (field, value) in named {
        let id = ElementId::Field(field.clone());
        let found = key.state.element(&id);
        let is_present = key.shown.is_some() && found.as_ref().is_some_and(|element| element.is_present_at(key.now));
        added = added.saturating_add((!is_present).into());
        effects.push(key.write_over(id, found.as_ref(), Some(NewBase::Bytes(value.clone()))));
    }
    Ok(key.created(Reply::count(added), effects))
}

pub(super) fn value(key: &Subject<'_>, field: &Bytes) -> Result<Prepared, CommandError> {
    Ok(Reply::from(value_of(key, field)?).into())
}

pub(super) fn all(key: &Subject<'_>) -> Result<Prepared, CommandError> {
    let present = key.elements(Kind::Hash)?.into_iter();
    let pairs = present.filter_map(|(id, element)| Some([Reply::Bulk(id.name()), Reply::Bulk(element.value()?)]));
    Ok(pairs.flatten().collect::<Reply>().into())
}

pub(super) fn increment(key: Subject<'_>, field: &Bytes, by: i64) -> Result<Prepared, CommandError> {
    let id = ElementId::Field(field.clone());
    let present = match key.element_present(&id)? {
        Some(element) => element.integer().map_err(|_not_an_integer| CommandError::HashNotAnInteger)?,
        None => 0,
    };
    let total = present.checked_add(by).ok_or(CommandError::Overflow)?;
    let mut effects = Vec::new();
    if let Some(ended) = key.element(&id).filter(|element| element.deadline().at().is_some())
        && !ended.is_present_at(key.now)
        && !key.is_expired()
    {
        // It starts afresh, without what is left of a field that ended, or that was removed beside a new deadline.
        effects.push(key.write(id.clone(), None));
    }
    effects.push(Effect::Add { element: id, by: Increment::Int(by.into()) });
    Ok(key.created(Reply::Int(total), effects))
}

/// HINCRBYFLOAT: a write of the result, which keeps the field's deadline.
fn increment_float(key: Subject<'_>, field: &Bytes, by: LongDouble) -> Result<Prepared, CommandError> {
    let before = match value_of(&key, field)? {
        Some(value) => LongDouble::parse(&value).ok_or(CommandError::HashNotAFloat)?,
        None => LongDouble::ZERO,
    };
    let sum = before.plus(by).ok_or(CommandError::SumNotFinite)?.to_text();
    let id = ElementId::Field(field.clone());
    let present = key.element_present(&id)?;
    let mut write = key.write(id, Some(NewBase::Bytes(sum.clone())));
    if let (Effect::Write { seen, .. }, Some(present)) = (&mut write, present) {
        // As an increment it keeps the field's deadline.
        seen.retain(|dot| present.deadlines().all(|(other, _)| other != *dot));
    }
    Ok(key.created(Reply::Bulk(sum), vec![write]))
}

fn random_fields(
    key: &Subject<'_>,
    count: Option<i64>,
    with_values: bool,
    mut random: Random,
) -> Result<Prepared, CommandError> {
    let fields = draw::names(key, Kind::Hash, count, &mut random)?;
    if count.is_none() {
        return Ok(fields.into_iter().next().map_or(Reply::Nil, Reply::Bulk).into());
    }
    let mut replies = Vec::with_capacity(fields.len());
    for field in fields {
        let value = if with_values { value_of(key, &field)? } else { None };
        replies.push(Reply::Bulk(field));
        replies.extend(value.map(Reply::Bulk));
    }
    Ok(Reply::Array(replies).into())
}

fn value_of(key: &Subject<'_>, field: &Bytes) -> Result<Option<Bytes>, CommandError> {
    let element = key.element_present(&ElementId::Field(field.clone()))?;
    Ok(element.as_ref().and_then(Element::value))
}
