//! What plain clients did to a value, told from what the state shows and what stands there, and made the origin's own.
//!
//! A commit leaves the plain value as the state shows it, and writes both together. So whatever differs later was written by
//! plain clients: between integers the difference is what they added; other bytes, scores, members and fields they wrote or
//! removed; a deadline they moved. Each becomes an operation of the origin that has seen the state, as if a client of a hub
//! had done it. What they do after the value was read differs the next time.
//!
//! What they write to a key that is revoked goes again. A value that vanished is a client's DEL only where the caller knows that the server did not lose it. A value of another
//! type is never touched, and neither is one whose companion was lost: it holds what hubs counted.

use super::plain::{EXACT_MAX, Seen, seen};
use crate::{
    id::TimestampMs,
    limits::{CLOCK_BOUND_MS, VALUE_BYTES_MAX},
    state::{DeadlineChange, Effect, ElementId, Increment, KeyState, Kind, Mint, NewBase, SeenCuts, Touched},
    store::{PlainRead, PlainValue},
};
use bytes::Bytes;
use std::collections::BTreeSet;

/// What came of a comparison.
#[derive(Debug)]
pub(super) enum Finding {
    /// Plain clients read what the state shows.
    Same,
    /// The state shows what plain clients read, from now on.
    Adopted(Touched),
    /// As before, but for what the server lost of the value: it is written anew.
    Restored(Touched),
    /// But for the deadline, which was lowered no further than clocks differ: it is written again.
    Lowered,
    /// The server lost the value.
    Lost,
    /// The value is at its end, of which not all clocks know yet.
    Ending,
    /// Plain clients wrote a value of this type while the key is revoked: it is to go.
    Revoked(Kind),
    /// The value is not Headwater's.
    Foreign,
}

/// What is known of the key beside its state.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    /// Whether the store has a companion.
    pub(super) has_companion: bool,
    /// Whether a value that is gone was removed by a client.
    pub(super) is_removal: bool,
    /// Whether the value is the one that the last commit left, as clients changed it. Otherwise the server may have lost that
    /// one, and clients began another.
    pub(super) is_same: bool,
}

/// Brings the state to what plain clients read. Each operation takes what `mint` gives. Linear in the value.
pub(super) fn adopt(
    state: &mut KeyState,
    read: &PlainRead,
    known: Known,
    now: TimestampMs,
    mint: &mut impl FnMut(&mut KeyState) -> Mint,
) -> Finding {
    let mut apply = |state: &mut KeyState, effect: &Effect| {
        let minted = mint(state);
        state.apply(effect, minted)
    };
    let deadline = state.deadline();
    let shown = state.shown(now);
    let Some(value) = &read.value else {
        let ends_soon = deadline.at().is_some_and(|at| at.since_ms(now) <= CLOCK_BOUND_MS);
        return match shown {
            // Of two clocks one shows the end before the other.
            None => Finding::Same,
            Some(_) if ends_soon => Finding::Ending,
            Some(_) if known.is_removal => {
                let wipe = state.seen_whole();
                Finding::Adopted(apply(state, &wipe))
            }
            Some(_) => Finding::Lost,
        };
    };
    let Some(kind) = value.kind().filter(|kind| shown.is_none_or(|shown| shown == *kind)) else {
        return Finding::Foreign;
    };
    if !known.has_companion && read.is_listed || !fits(value) {
        return Finding::Foreign;
    }
    if deadline.is_revoked(now) && !fault!(RevokedAdopted) {
        return Finding::Revoked(kind);
    }
    let mut touched = Touched::default();
    if deadline.is_past(now) {
        if read.expire_at.is_some_and(|at| at <= now || deadline.at() == Some(at)) {
            return Finding::Same;
        }
        // It was written after the end: it starts afresh.
        let wipe = state.seen_whole();
        touched.extend(apply(state, &wipe));
        let opened = Effect::Deadline { change: DeadlineChange::Open(read.expire_at), seen: deadline.epoch() };
        touched.extend(apply(state, &opened));
    }
    let mut is_lost = false;
    for (id, there) in elements_of(state, kind, value) {
        let own = seen(state, &id, now);
        if own == there || has_ended(state, &id, &there) {
            continue;
        }
        let rest = if known.is_same { Some(there.clone()) } else { beside(&own, &there) };
        is_lost |= rest.as_ref() != Some(&there);
        if let Some(rest) = rest {
            touched.extend(adopt_element(state, &id, (&own, &rest), now, &mut apply));
        }
    }
    if let Some(effect) = moved_deadline(state, read) {
        touched.extend(apply(state, &effect));
    }
    if is_lost {
        Finding::Restored(touched)
    } else if !touched.is_empty() {
        Finding::Adopted(touched)
    } else if read.tells_expiry && read.expire_at != state.deadline().at() {
        Finding::Lowered
    } else {
        Finding::Same
    }
}

/// Whether plain clients read anything else than the state shows. Linear in the value.
pub(super) fn differs(state: &KeyState, read: &PlainRead, now: TimestampMs) -> bool {
    let shown = state.shown(now);
    let Some(value) = &read.value else { return shown.is_some() };
    let Some(kind) = value.kind().filter(|kind| shown == Some(*kind)) else { return true };
    let is_other = |(id, there): &(ElementId, Seen)| seen(state, id, now) != *there && !has_ended(state, id, there);
    read.tells_expiry && read.expire_at != state.deadline().at() || elements_of(state, kind, value).iter().any(is_other)
}

/// Whether nothing in the value is larger than an edge could have written it.
fn fits(value: &PlainValue) -> bool {
    let is_short = |bytes: &Bytes| bytes.len() <= VALUE_BYTES_MAX;
    match value {
        PlainValue::String(bytes) => is_short(bytes),
        PlainValue::Set(members) => members.iter().all(is_short),
        PlainValue::Hash(fields) => fields.iter().all(|(name, bytes)| is_short(name) && is_short(bytes)),
        PlainValue::Board(members) => members.keys().all(is_short),
        PlainValue::Other => false,
    }
}

/// Every element that the state or the value has, as plain clients read it.
fn elements_of(state: &KeyState, kind: Kind, value: &PlainValue) -> Vec<(ElementId, Seen)> {
    let listed: Vec<(ElementId, Seen)> = match value {
        PlainValue::String(bytes) => vec![(ElementId::String, Seen::Bytes(bytes.clone()))],
        PlainValue::Set(members) => {
            members.iter().map(|name| (ElementId::Member(name.clone()), Seen::Member)).collect()
        }
        PlainValue::Hash(fields) => {
            fields.iter().map(|(name, bytes)| (ElementId::Field(name.clone()), Seen::Bytes(bytes.clone()))).collect()
        }
        PlainValue::Board(members) => {
            members.iter().map(|(name, score)| (ElementId::Ranked(name.clone()), Seen::Score(*score))).collect()
        }
        PlainValue::Other => Vec::new(),
    };
    let there: BTreeSet<Bytes> = listed.iter().map(|(id, _)| id.name()).collect();
    let gone = state.view().names_of(kind).filter(|name| !there.contains(*name));
    let gone: Vec<(ElementId, Seen)> =
        gone.map(|name| (ElementId::of(kind, Bytes::copy_from_slice(name)), Seen::Absent)).collect();
    [listed, gone].concat()
}

/// Whether this is a field that has ended and that the daemon has not taken out of the plain value yet.
fn has_ended(state: &KeyState, id: &ElementId, there: &Seen) -> bool {
    matches!(id, ElementId::Field(_)) && seen(state, id, TimestampMs(i64::MIN)) == *there
}

/// What an element comes to where the server may have lost the value, and clients began another: what is not there is not
/// removed, and a smaller integer was counted anew.
fn beside(own: &Seen, there: &Seen) -> Option<Seen> {
    match (own, there) {
        (_, Seen::Absent) => None,
        (Seen::Bytes(own), Seen::Bytes(bytes)) => {
            let integer = |bytes: &Bytes| crate::state::parse_integer(bytes);
            match (integer(own), integer(bytes)) {
                (Some(own), Some(count)) if count < own => {
                    Some(Seen::Bytes(own.checked_add(count)?.to_string().into()))
                }
                _ => Some(there.clone()),
            }
        }
        (Seen::Score(own), Seen::Score(score)) if score < own && own.fract() == 0.0 && score.fract() == 0.0 => {
            Some(Seen::Score(own + score))
        }
        _ => Some(there.clone()),
    }
}

fn adopt_element(
    state: &mut KeyState,
    id: &ElementId,
    (own, there): (&Seen, &Seen),
    now: TimestampMs,
    apply: &mut impl FnMut(&mut KeyState, &Effect) -> Touched,
) -> Touched {
    let mut touched = Touched::default();
    if let Some(by) = added(own, there) {
        touched.extend(apply(state, &Effect::Add { element: id.clone(), by }));
        if seen(state, id, now) == *there {
            return touched;
        }
    }
    let base = match there {
        Seen::Absent => None,
        Seen::Member => Some(NewBase::Member),
        Seen::Bytes(bytes) => Some(NewBase::Bytes(bytes.clone())),
        Seen::Score(score) => Some(NewBase::Abs(*score + 0.0)),
    };
    let (dots, cuts): (_, SeenCuts) = state.seen(id);
    touched.extend(apply(state, &Effect::Write { element: id.clone(), base, seen: dots, cuts }));
    touched
}

/// The difference between integers. What was absent was written outright, which takes nothing from what hubs add meanwhile.
fn added(own: &Seen, there: &Seen) -> Option<Increment> {
    match (own, there) {
        (Seen::Bytes(own), Seen::Bytes(there)) => {
            let integer = |bytes| crate::state::parse_integer(bytes).map(i128::from);
            Some(Increment::Int(integer(there)?.checked_sub(integer(own)?)?))
        }
        (Seen::Score(own), Seen::Score(there)) => {
            let is_integer = |score: &f64| score.fract() == 0.0 && score.abs() <= EXACT_MAX;
            (is_integer(own) && is_integer(there)).then(|| Increment::Float(there - own))
        }
        _ => None,
    }
}

/// How the deadline was moved. One that was lowered no further than clocks differ stays, and is written again.
fn moved_deadline(state: &KeyState, read: &PlainRead) -> Option<Effect> {
    let deadline = state.deadline();
    if !read.tells_expiry || read.expire_at == deadline.at() {
        return None;
    }
    let change = match read.expire_at {
        None => DeadlineChange::Open(None),
        Some(at) if deadline.is_shortened_by(at) => DeadlineChange::Open(Some(at)),
        Some(at) if deadline.at().is_some_and(|own| at < own) => return None,
        Some(at) => DeadlineChange::Raise(at),
    };
    Some(Effect::Deadline { change, seen: deadline.epoch() })
}
