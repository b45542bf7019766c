//! SADD and SMEMBERS; SREM is the removal that all types share.

use super::{Prepared, Subject};
use crate::{
    command::{CommandError, Reply},
    state::{ElementId, Kind, NewBase},
};
use bytes::Bytes;

pub(super) fn add(key: Subject<'_>, members: &[Bytes]) -> Result<Prepared, CommandError> {
    key.expect(Kind::Set)?;
    let mut ids: Vec<ElementId> = members.iter().cloned().map(ElementId::Member).collect();
    ids.sort();
    ids.dedup();
    let is_present =
        |id: &ElementId| key.shown.is_some() && key.state.element(id).is_some_and(|element| element.is_present());
    let added = ids.iter().filter(|id| !is_present(id)).count();
    // A member that is there is added again, so that it survives a concurrent removal of what was there.
    let effects = ids.into_iter().map(|id| key.write(id, Some(NewBase::Member))).collect();
    Ok(key.created(Reply::count(added), effects))
}

pub(super) fn members(key: &Subject<'_>) -> Result<Prepared, CommandError> {
    key.expect(Kind::Set)?;
    let present =
        key.state.elements_of(Kind::Set).into_iter().filter(|(_, element)| key.shown.is_some() && element.is_present());
    Ok(present.map(|(id, _)| Reply::Bulk(id.name())).collect::<Reply>().into())
}
