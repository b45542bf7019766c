//! SADD, SMEMBERS and the algebra of sets; SREM is the removal that all types share.

use super::{Prepared, Subject, draw};
use crate::{
    command::{Combination, CommandError, Reply, SetAction},
    ordered::{OrderedSet, sort},
    random::Random,
    state::{Element, ElementId, Kind, NewBase},
};
use bytes::Bytes;

/// What is done to the sets at `keys`.
pub(super) fn act(mut keys: Vec<Subject<'_>>, action: &SetAction, random: Random) -> Result<Prepared, CommandError> {
    let stores = matches!(action, SetAction::Move(_) | SetAction::CombineInto(_));
    let target = if stores && !keys.is_empty() { Some(keys.remove(0)) } else { None };
    match (action, target, &keys[..]) {
        (SetAction::AreMembers(members), _, [key]) => Ok(are_members(key, members)?.into()),
        (SetAction::Move(member), Some(from), _) => match keys.pop() {
            Some(to) => move_member(from, to, member),
            None => Err(CommandError::Empty),
        },
        (SetAction::Combine(combination), _, keys) => {
            Ok(combined(keys, *combination)?.into_iter().map(Reply::Bulk).collect::<Reply>().into())
        }
        (SetAction::CombineInto(combination), Some(target), keys) => {
            let members = combined(keys, *combination)?;
            let reply = Reply::count(members.len());
            let elements = members.into_iter().map(|member| (ElementId::Member(member), NewBase::Member));
            target.replaced(reply, elements.collect(), None)
        }
        (SetAction::CountCommon { limit }, _, keys) => {
            let common = combined(keys, Combination::Intersection)?.len();
            Ok(Reply::count(limited(common, *limit)).into())
        }
        (SetAction::Random(count), _, [key]) => {
            let mut random = random;
            let mut members = draw::names(key, Kind::Set, *count, &mut random)?.into_iter().map(Reply::Bulk);
            Ok(match count {
                None => members.next().unwrap_or(Reply::Nil),
                Some(_) => members.collect(),
            }
            .into())
        }
        (SetAction::Pop(count), _, [_]) => match keys.pop() {
            Some(key) => pop(key, *count, random),
            None => Err(CommandError::Empty),
        },
        (SetAction::Scan(scan), _, [key]) => {
            Ok(draw::scan(key, Kind::Set, scan, |member, _| vec![Reply::Bulk(member)])?.into())
        }
        // The parser gives each action the keys that it takes.
        _ => Err(CommandError::Empty),
    }
}

pub(super) fn add(key: Subject<'_>, members: &[Bytes]) -> Result<Prepared, CommandError> {
    key.expect(Kind::Set)?;
    let mut ids: Vec<ElementId> = members.iter().cloned().map(ElementId::Member).collect();
    sort(&mut ids);
    ids.dedup();
    let mut added = 0_usize;
    // A member that is there is added again, so that it survives a concurrent removal of what was there.
    let write = |id: ElementId| {
        let found = key.state.element(&id);
        let is_present = key.shown.is_some() && found.as_ref().is_some_and(Element::is_present);
        added = added.saturating_add((!is_present).into());
        key.write_over(id, found.as_ref(), Some(NewBase::Member))
    };
    let effects = ids.into_iter().map(write).collect();
    Ok(key.created(Reply::count(added), effects))
}

/// SPOP: random members, which are removed.
fn pop(key: Subject<'_>, count: Option<u64>, mut random: Random) -> Result<Prepared, CommandError> {
    let wanted = count.map(|count| i64::try_from(count).unwrap_or(i64::MAX));
    let members = draw::names(&key, Kind::Set, wanted, &mut random)?;
    let is_all = members.len() == key.names(Kind::Set)?.len();
    let reply = match count {
        None => members.first().cloned().map_or(Reply::Nil, Reply::Bulk),
        Some(_) => members.iter().cloned().map(Reply::Bulk).collect(),
    };
    key.taken(Kind::Set, reply, &members, is_all)
}

pub(super) fn are_members(key: &Subject<'_>, members: &[Bytes]) -> Result<Reply, CommandError> {
    members.iter().map(|member| is_present(key, member).map(Reply::from)).collect()
}

pub(super) fn members(key: &Subject<'_>) -> Result<Prepared, CommandError> {
    let present = key.elements(Kind::Set)?;
    Ok(present.into_iter().map(|(id, _)| Reply::Bulk(id.name())).collect::<Reply>().into())
}

/// At most `limit`, if that is not zero.
pub(super) fn limited(count: usize, limit: u64) -> usize {
    match usize::try_from(limit) {
        Ok(0) | Err(_) => count,
        Ok(limit) => count.min(limit),
    }
}

fn is_present(key: &Subject<'_>, member: &Bytes) -> Result<bool, CommandError> {
    Ok(key.element_present(&ElementId::Member(member.clone()))?.is_some())
}

/// SMOVE: a removal here and an addition there.
fn move_member(from: Subject<'_>, to: Subject<'_>, member: &Bytes) -> Result<Prepared, CommandError> {
    if from.shown.is_none() {
        return Ok(Reply::from(false).into());
    }
    from.expect(Kind::Set)?;
    to.expect(Kind::Set)?;
    let is_member = is_present(&from, member)?;
    if !is_member || from.key == to.key {
        return Ok(Reply::from(is_member).into());
    }
    let mut prepared = from.remove(Kind::Set, std::slice::from_ref(member))?;
    prepared.operations.extend(add(to, std::slice::from_ref(member))?.operations);
    Ok(Prepared { reply: Reply::from(true), ..prepared })
}

/// The members of an intersection, union or difference, by name. An intersection is linear in the smallest set.
fn combined(keys: &[Subject<'_>], combination: Combination) -> Result<OrderedSet<Bytes>, CommandError> {
    keys.iter().try_for_each(|key| key.expect(Kind::Set))?;
    let members = |key: &Subject<'_>| -> Result<OrderedSet<Bytes>, CommandError> {
        Ok(key.names(Kind::Set)?.into_iter().map(Bytes::copy_from_slice).collect())
    };
    let is_in = |key: &Subject<'_>, member: &Bytes| is_present(key, member).unwrap_or(false);
    match combination {
        Combination::Union => {
            let mut all = OrderedSet::new();
            for key in keys {
                all.extend(members(key)?);
            }
            Ok(all)
        }
        Combination::Intersection => {
            let size = |key: &&Subject<'_>| key.shown.map_or(0, |kind| key.state.count(kind));
            let Some(smallest) = keys.iter().min_by_key(size) else { return Ok(OrderedSet::new()) };
            let mut common = members(smallest)?;
            common.retain(|member| keys.iter().all(|key| is_in(key, member)));
            Ok(common)
        }
        Combination::Difference => {
            let Some((first, others)) = keys.split_first() else { return Ok(OrderedSet::new()) };
            let mut left = members(first)?;
            left.retain(|member| !others.iter().any(|key| is_in(key, member)));
            Ok(left)
        }
    }
}
