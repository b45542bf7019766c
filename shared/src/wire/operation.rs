//! Prepared operations.
//!
//! ```text
//! effect: tag (4 bits) | kind of its element (2 bits)
//! ```

use super::{
    Invalid,
    element::{DOT_BYTES_MIN, WireAmount, read_cut, read_id, read_name, write_cut, write_id, write_name},
    reader::Reader,
    state::{read_ctx, read_key, read_stamp, write_ctx, write_key, write_stamp},
    writer::Writer,
};
use crate::{
    id::Stamp,
    limits::{EFFECTS_MAX, VALUE_BYTES_MAX},
    state::{DeadlineChange, Effect, ElementId, Increment, Kind, NewBase, Operation, SeenCut, SeenCuts},
};

const TAGS: u8 = 0b1111;
const KIND_SHIFT: u32 = 4;
const REMOVE: u8 = 0;
const WRITE: u8 = 1;
const ADD: u8 = 2;
const WIPE: u8 = 3;
const RAISE: u8 = 4;
const OPEN: u8 = 5;
const PERSIST: u8 = 6;
const TOUCH: u8 = 7;
const SPEND: u8 = 8;
const REVOKE: u8 = 9;

/// A key's length, a time, a count, and the shortest effect.
pub(super) const OPERATION_BYTES_MIN: usize = 4;
/// A reference, a number and an amount.
const CUT_BYTES_MIN: usize = 3;
/// A kind and a count.
const ELEMENT_CUTS_BYTES_MIN: usize = 2;

pub(super) fn write_operation(w: &mut Writer, operation: &Operation) {
    write_key(w, &operation.key);
    w.time(operation.at);
    if operation.effects.len() > EFFECTS_MAX {
        w.refuse(Invalid::TooMany("effects"));
    }
    w.count(operation.effects.len());
    for effect in &operation.effects {
        write_effect(w, effect);
    }
}

pub(super) fn read_operation(r: &mut Reader<'_>) -> Result<Operation, Invalid> {
    let operation =
        Operation { key: read_key(r)?, at: r.time()?, effects: r.list("effects", EFFECTS_MAX, 1, read_effect)? };
    if operation.effects.is_empty() { Err(Invalid::NoEffect) } else { Ok(operation) }
}

fn write_effect(w: &mut Writer, effect: &Effect) {
    match effect {
        Effect::Write { element, base, seen, cuts } => {
            w.u8(tagged(if base.is_some() { WRITE } else { REMOVE }, element.kind()));
            write_name(w, element);
            if let Some(base) = base {
                write_base(w, element.kind(), base);
            }
            w.count(seen.len());
            for dot in seen {
                w.dot(*dot);
            }
            write_cuts(w, element.kind(), cuts);
        }
        Effect::Add { element, by } => {
            w.u8(tagged(ADD, element.kind()));
            write_name(w, element);
            match (element.kind(), by) {
                (Kind::String | Kind::Hash, Increment::Int(by)) => by.write(w),
                (Kind::Board, Increment::Float(by)) => by.write(w),
                (_, Increment::Int(_) | Increment::Float(_)) => w.refuse(Invalid::Type),
            }
        }
        Effect::Wipe { seen, cuts } => {
            w.u8(WIPE);
            write_ctx(w, seen);
            w.count(cuts.len());
            for (id, cuts) in cuts {
                write_id(w, id);
                write_cuts(w, id.kind(), cuts);
            }
        }
        Effect::Spend { element, amount, until } => {
            w.u8(tagged(SPEND, element.kind()));
            write_name(w, element);
            if element.kind() != Kind::Hash {
                w.refuse(Invalid::Type);
            }
            w.varint(*amount);
            w.time(*until);
        }
        Effect::Touch { element, change, epoch, seen } => {
            w.u8(tagged(TOUCH, element.kind()));
            write_name(w, element);
            if element.kind() != Kind::Hash {
                w.refuse(Invalid::Type);
            }
            if matches!(change, DeadlineChange::Revoke(_)) {
                w.refuse(Invalid::Tag("effect"));
            }
            write_change(w, change, *epoch);
            w.count(seen.len());
            for dot in seen {
                w.dot(*dot);
            }
        }
        Effect::Deadline { change, seen } => write_change(w, change, *seen),
    }
}

fn read_effect(r: &mut Reader<'_>) -> Result<Effect, Invalid> {
    let head = r.u8()?;
    let kind = Kind::from_tag(head >> KIND_SHIFT).ok_or(Invalid::Tag("effect"))?;
    let tag = head & TAGS;
    if !matches!(tag, REMOVE | WRITE | ADD | TOUCH | SPEND) && kind != Kind::String {
        return Err(Invalid::Tag("effect"));
    }
    Ok(match tag {
        REMOVE | WRITE => {
            let element = read_name(r, kind)?;
            let base = if tag == REMOVE { None } else { Some(read_base(r, kind)?) };
            let seen = r.list("dots", usize::MAX, DOT_BYTES_MIN, Reader::dot)?;
            Effect::Write { element, base, seen, cuts: read_cuts(r, kind)? }
        }
        ADD => {
            let element = read_name(r, kind)?;
            let by = match kind {
                Kind::String | Kind::Hash => Increment::Int(WireAmount::read(r)?),
                Kind::Board => Increment::Float(WireAmount::read(r)?),
                Kind::Set => return Err(Invalid::Type),
            };
            Effect::Add { element, by }
        }
        WIPE => {
            let seen = read_ctx(r)?;
            let cuts = r.list("cuts", usize::MAX, ELEMENT_CUTS_BYTES_MIN, |r| {
                let id: ElementId = read_id(r)?;
                let cuts = read_cuts(r, id.kind())?;
                Ok((id, cuts))
            })?;
            Effect::Wipe { seen, cuts }
        }
        SPEND if kind == Kind::Hash => {
            Effect::Spend { element: read_name(r, kind)?, amount: r.varint()?, until: r.time()? }
        }
        TOUCH if kind == Kind::Hash => {
            let element = read_name(r, kind)?;
            let tag = r.u8()?;
            let (change, epoch) = read_change(r, tag)?;
            if matches!(change, DeadlineChange::Revoke(_)) {
                return Err(Invalid::Tag("effect"));
            }
            Effect::Touch { element, change, epoch, seen: r.list("dots", usize::MAX, DOT_BYTES_MIN, Reader::dot)? }
        }
        tag => {
            let (change, seen) = read_change(r, tag)?;
            Effect::Deadline { change, seen }
        }
    })
}

/// A tag of how, when, and in which epoch.
fn write_change(w: &mut Writer, change: &DeadlineChange, epoch: Option<Stamp>) {
    let (tag, at) = match change {
        DeadlineChange::Raise(at) => (RAISE, Some(at)),
        DeadlineChange::Open(Some(at)) => (OPEN, Some(at)),
        DeadlineChange::Open(None) => (PERSIST, None),
        DeadlineChange::Revoke(until) => (REVOKE, Some(until)),
    };
    w.u8(tag);
    if let Some(at) = at {
        w.time(*at);
    }
    w.u8(epoch.is_some().into());
    if let Some(epoch) = epoch {
        write_stamp(w, epoch);
    }
}

fn read_change(r: &mut Reader<'_>, tag: u8) -> Result<(DeadlineChange, Option<Stamp>), Invalid> {
    let change = match tag {
        RAISE => DeadlineChange::Raise(r.time()?),
        OPEN => DeadlineChange::Open(Some(r.time()?)),
        PERSIST => DeadlineChange::Open(None),
        REVOKE => DeadlineChange::Revoke(r.time()?),
        _ => return Err(Invalid::Tag("effect")),
    };
    Ok((change, if r.bool()? { Some(read_stamp(r)?) } else { None }))
}

fn write_base(w: &mut Writer, kind: Kind, base: &NewBase) {
    match (kind, base) {
        (Kind::Set, NewBase::Member) => {}
        (Kind::String | Kind::Hash, NewBase::Bytes(value)) => w.bytes(value),
        (Kind::Board, NewBase::Abs(score)) => {
            w.u8(0);
            w.float(*score);
        }
        (Kind::Board, NewBase::Max(score)) => {
            w.u8(1);
            w.float(*score);
        }
        (Kind::Board, NewBase::Min(score)) => {
            w.u8(2);
            w.float(*score);
        }
        (_, NewBase::Member | NewBase::Bytes(_) | NewBase::Abs(_) | NewBase::Max(_) | NewBase::Min(_)) => {
            w.refuse(Invalid::Type);
        }
    }
}

fn read_base(r: &mut Reader<'_>, kind: Kind) -> Result<NewBase, Invalid> {
    let score =
        |r: &mut Reader<'_>| r.float().and_then(|score| if score.is_nan() { Err(Invalid::Score) } else { Ok(score) });
    Ok(match kind {
        Kind::Set => NewBase::Member,
        Kind::String | Kind::Hash => NewBase::Bytes(r.bytes("value", VALUE_BYTES_MAX)?),
        Kind::Board => match r.u8()? {
            0 => NewBase::Abs(score(r)?),
            1 => NewBase::Max(score(r)?),
            2 => NewBase::Min(score(r)?),
            _ => return Err(Invalid::Tag("base")),
        },
    })
}

fn write_cuts(w: &mut Writer, kind: Kind, cuts: &SeenCuts) {
    match (kind, cuts) {
        (Kind::String | Kind::Set | Kind::Hash, SeenCuts::Int(cuts)) => write_seen(w, cuts),
        (Kind::Board, SeenCuts::Float(cuts)) => write_seen(w, cuts),
        (_, SeenCuts::Int(_) | SeenCuts::Float(_)) => w.refuse(Invalid::Type),
    }
}

fn read_cuts(r: &mut Reader<'_>, kind: Kind) -> Result<SeenCuts, Invalid> {
    Ok(match kind {
        Kind::String | Kind::Set | Kind::Hash => SeenCuts::Int(read_seen(r)?),
        Kind::Board => SeenCuts::Float(read_seen(r)?),
    })
}

fn write_seen<A: WireAmount>(w: &mut Writer, cuts: &[SeenCut<A>]) {
    w.count(cuts.len());
    for SeenCut { replica, cut } in cuts {
        let index = w.replica(*replica);
        write_cut(w, index, *cut);
    }
}

fn read_seen<A: WireAmount>(r: &mut Reader<'_>) -> Result<Vec<SeenCut<A>>, Invalid> {
    r.list("cuts", usize::MAX, CUT_BYTES_MIN, |r| {
        let (index, replica) = r.replica()?;
        Ok(SeenCut { replica, cut: read_cut(r, index)? })
    })
}

fn tagged(tag: u8, kind: Kind) -> u8 {
    tag | (kind as u8).wrapping_shl(KIND_SHIFT)
}
