//! HSET, HGET, HGETALL and HINCRBY; HDEL is the removal that all types share.

use super::{Prepared, Subject};
use crate::{
    command::{CommandError, Reply},
    state::{Effect, Element, ElementId, Increment, Kind, NewBase},
};
use bytes::Bytes;
use std::collections::BTreeMap;

pub(super) fn set(key: Subject<'_>, fields: &[(Bytes, Bytes)]) -> Result<Prepared, CommandError> {
    key.expect(Kind::Hash)?;
    // Of a field named twice the last counts.
    let fields: BTreeMap<&Bytes, &Bytes> = fields.iter().map(|(field, value)| (field, value)).collect();
    let mut added = 0_usize;
    let mut effects = Vec::with_capacity(fields.len());
    for (field, value) in fields {
        let id = ElementId::Field(field.clone());
        added = added.saturating_add(usize::from(key.element_present(&id)?.is_none()));
        effects.push(key.write(id, Some(NewBase::Bytes(value.clone()))));
    }
    Ok(key.created(Reply::count(added), effects))
}

pub(super) fn value(key: &Subject<'_>, field: &Bytes) -> Result<Prepared, CommandError> {
    let element = key.element_present(&ElementId::Field(field.clone()))?;
    Ok(Reply::from(element.as_ref().and_then(Element::value)).into())
}

pub(super) fn all(key: &Subject<'_>) -> Result<Prepared, CommandError> {
    key.expect(Kind::Hash)?;
    let present = key.state.elements_of(Kind::Hash).into_iter().filter(|_| key.shown.is_some());
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
    let effect = Effect::Add { element: id, by: Increment::Int(by.into()) };
    Ok(key.created(Reply::Int(total), vec![effect]))
}
