//! Whether two nodes agree: on every element and header in its bytes, and on the plain value.

use crate::store::Value;
use headwater::{
    id::{Key, TimestampMs},
    state::{KeyView, Kind},
};

/// Two replicas of a key that have seen the same must hold the same. Contexts may differ only in numbers that have nothing
/// to do with the key.
pub(crate) fn states(what: &str, a: KeyView<'_>, b: KeyView<'_>, now: TimestampMs, wrong: &mut Vec<String>) {
    if a.header().deadline.is_past(now) && b.header().deadline.is_past(now) {
        return;
    }
    if b.is_empty() && a.header().deadline.is_past(now) {
        // The origin forgets an expired key before the hubs do.
        return;
    }
    let bytes = |state: KeyView<'_>| headwater::wire::to_body(&state.to_complete_delta().elements);
    if bytes(a) != bytes(b) {
        let differing =
            a.elements().into_iter().filter(|(id, element)| b.element(id).as_ref() != Some(element)).map(|(id, _)| id);
        let others = b.elements().into_iter().filter(|(id, _)| a.element(id).is_none()).map(|(id, _)| id);
        let ids: Vec<_> = differing.chain(others).take(3).collect();
        let shown: Vec<_> = ids.iter().map(|id| (a.element(id), b.element(id))).collect();
        wrong.push(format!("{what}: elements {ids:?} differ from the origin's: {shown:?}"));
    }
    let (ha, hb) = (a.header(), b.header());
    if (&ha.wipe, &ha.claims, ha.deadline) != (&hb.wipe, &hb.claims, hb.deadline) {
        wrong.push(format!("{what}: header {ha:?} differs from the origin's {hb:?}"));
    }
}

/// A plain client reads what the state says.
pub(crate) fn plain(
    key: &Key,
    state: KeyView<'_>,
    plain: Option<(&Value, Option<TimestampMs>)>,
    now: TimestampMs,
    wrong: &mut Vec<String>,
) {
    let expected = state.shown(now).map(|kind| {
        let present = || state.elements_of(kind).into_iter().filter(|(_, element)| element.is_present_at(now));
        match kind {
            Kind::String => Value::String(present().next().and_then(|(_, e)| e.value()).unwrap_or_default()),
            Kind::Set => Value::Set(present().map(|(id, _)| id.name()).collect()),
            Kind::Hash => Value::Hash(present().filter_map(|(id, e)| Some((id.name(), e.value()?))).collect()),
            Kind::Board => Value::Board(present().filter_map(|(id, e)| Some((id.name(), e.score()?))).collect()),
        }
    });
    let deadline = state.shown(now).and(state.header().deadline.at());
    let found = plain.map(|(value, _)| value.clone());
    if expected != found {
        wrong.push(format!("plain {key}: the state says {expected:?}, Redis has {found:?}"));
    } else if plain.is_some_and(|(_, ends)| ends != deadline) {
        wrong.push(format!("plain {key}: the deadline is {deadline:?}, Redis has {:?}", plain.map(|(_, ends)| ends)));
    }
}
