//! Prepared operations.
//!
//! ```text
//! effect: tag (4 bits) | kind of its element (2 bits) | says what it saw | another effect follows
//! ```
//! Most operations are one effect that saw nothing, and most values are integers or short, so these take no bytes to say so.

use super::{
    Invalid,
    element::{DOT_BYTES_MIN, WireAmount, read_cut, read_id, read_name, write_cut, write_id, write_name},
    reader::Reader,
    state::{read_ctx, read_key, read_stamp, write_ctx, write_key, write_stamp},
    writer::Writer,
};
use crate::{
    id::{Dot, Stamp},
    limits::{EFFECTS_MAX, VALUE_BYTES_MAX},
    state::{DeadlineChange, Effect, ElementId, Increment, Kind, NewBase, Operation, SeenCut, SeenCuts, parse_integer},
};
use bytes::Bytes;

const TAGS: u8 = 0b1111;
const KIND_SHIFT: u32 = 4;
const KINDS: u8 = 0b11;
/// What a write or touch saw stands behind it.
const SEEN: u8 = 1 << 6;
/// Another effect follows.
const MORE: u8 = 1 << 7;
/// An integer is written as one where it and the bit that says so fit a varint.
const INTEGER_MAX: u64 = 1 << 61;
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

/// A key's length, a time, and the shortest effect.
pub(super) const OPERATION_BYTES_MIN: usize = 3;
/// A reference, a number and an amount.
const CUT_BYTES_MIN: usize = 3;
/// A kind and a count.
const ELEMENT_CUTS_BYTES_MIN: usize = 2;

pub(crate) fn write_operation(w: &mut Writer, operation: &Operation) {
    write_key(w, &operation.key);
    w.time(operation.at);
    if operation.effects.len() > EFFECTS_MAX {
        w.refuse(Invalid::TooMany("effects"));
    }
    let Some((last, others)) = operation.effects.split_last() else { return w.refuse(Invalid::NoEffect) };
    others.iter().for_each(|effect| write_effect(w, effect, MORE));
    write_effect(w, last, 0);
}

pub(crate) fn read_operation(r: &mut Reader<'_>) -> Result<Operation, Invalid> {
    Ok(Operation { key: read_key(r)?, at: r.time()?, effects: r.chain("effects", EFFECTS_MAX, read_effect)? })
}

/// Writes an effect under flags that say whether another follows.
fn write_effect(w: &mut Writer, effect: &Effect, flags: u8) {
    match effect {
        Effect::Write { element, base, seen, cuts } => {
            let flags = if seen.is_empty() && cuts.is_empty() { flags } else { flags | SEEN };
            w.u8(tagged(if base.is_some() { WRITE } else { REMOVE }, element.kind()) | flags);
            write_name(w, element);
            if let Some(base) = base {
                write_base(w, element.kind(), base);
            }
            if flags & SEEN != 0 {
                write_dots(w, seen);
                write_cuts(w, element.kind(), cuts);
            } else if !cuts.fits(element.kind()) {
                w.refuse(Invalid::Type);
            }
        }
        Effect::Add { element, by } => {
            w.u8(tagged(ADD, element.kind()) | flags);
            write_name(w, element);
            match (element.kind(), by) {
                (Kind::String | Kind::Hash, Increment::Int(by)) => by.write(w),
                (Kind::Board, Increment::Float(by)) => by.write(w),
                (_, Increment::Int(_) | Increment::Float(_)) => w.refuse(Invalid::Type),
            }
        }
        Effect::Wipe { seen, cuts } => {
            w.u8(WIPE | flags);
            write_ctx(w, seen);
            w.count(cuts.len());
            for (id, cuts) in cuts {
                write_id(w, id);
                write_cuts(w, id.kind(), cuts);
            }
        }
        Effect::Spend { element, amount, until } => {
            w.u8(tagged(SPEND, element.kind()) | flags);
            write_name(w, element);
            if element.kind() != Kind::Hash {
                w.refuse(Invalid::Type);
            }
            w.varint(*amount);
            w.time(*until);
        }
        Effect::Touch { element, change, epoch, seen } => {
            let flags = if seen.is_empty() { flags } else { flags | SEEN };
            w.u8(tagged(TOUCH, element.kind()) | flags);
            write_name(w, element);
            if element.kind() != Kind::Hash {
                w.refuse(Invalid::Type);
            }
            if matches!(change, DeadlineChange::Revoke(_)) {
                w.refuse(Invalid::Tag("effect"));
            }
            write_change(w, change, *epoch, 0);
            if flags & SEEN != 0 {
                write_dots(w, seen);
            }
        }
        Effect::Deadline { change, seen } => write_change(w, change, *seen, flags),
    }
}

/// Reads an effect, and whether another follows.
fn read_effect(r: &mut Reader<'_>) -> Result<(Effect, bool), Invalid> {
    let head = r.u8()?;
    let kind = Kind::from_tag(head >> KIND_SHIFT & KINDS).ok_or(Invalid::Tag("effect"))?;
    let (tag, has_seen) = (head & TAGS, head & SEEN != 0);
    if !matches!(tag, REMOVE | WRITE | ADD | TOUCH | SPEND) && kind != Kind::String {
        return Err(Invalid::Tag("effect"));
    }
    if has_seen && !matches!(tag, REMOVE | WRITE | TOUCH) {
        return Err(Invalid::Tag("effect"));
    }
    let effect = match tag {
        REMOVE | WRITE => {
            let element = read_name(r, kind)?;
            let base = if tag == REMOVE { None } else { Some(read_base(r, kind)?) };
            let (seen, cuts) =
                if has_seen { (read_dots(r)?, read_cuts(r, kind)?) } else { (Vec::new(), SeenCuts::none(kind)) };
            if has_seen && seen.is_empty() && cuts.is_empty() {
                return Err(Invalid::Count);
            }
            Effect::Write { element, base, seen, cuts }
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
            let seen = if has_seen { read_dots(r)? } else { Vec::new() };
            if has_seen && seen.is_empty() {
                return Err(Invalid::Count);
            }
            Effect::Touch { element, change, epoch, seen }
        }
        tag => {
            let (change, seen) = read_change(r, tag)?;
            Effect::Deadline { change, seen }
        }
    };
    Ok((effect, head & MORE != 0))
}

fn write_dots(w: &mut Writer, dots: &[Dot]) {
    w.count(dots.len());
    dots.iter().for_each(|dot| w.dot(*dot));
}

fn read_dots(r: &mut Reader<'_>) -> Result<Vec<Dot>, Invalid> {
    r.list("dots", usize::MAX, DOT_BYTES_MIN, Reader::dot)
}

/// A tag of how, when, and in which epoch.
fn write_change(w: &mut Writer, change: &DeadlineChange, epoch: Option<Stamp>, flags: u8) {
    let (tag, at) = match change {
        DeadlineChange::Raise(at) => (RAISE, Some(at)),
        DeadlineChange::Open(Some(at)) => (OPEN, Some(at)),
        DeadlineChange::Open(None) => (PERSIST, None),
        DeadlineChange::Revoke(until) => (REVOKE, Some(until)),
    };
    w.u8(tag | flags);
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
        (Kind::String | Kind::Hash, NewBase::Bytes(value)) => write_value(w, value),
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
        Kind::String | Kind::Hash => NewBase::Bytes(read_value(r)?),
        Kind::Board => match r.u8()? {
            0 => NewBase::Abs(score(r)?),
            1 => NewBase::Max(score(r)?),
            2 => NewBase::Min(score(r)?),
            _ => return Err(Invalid::Tag("base")),
        },
    })
}

/// Twice the length and the bytes, or where they are an integer as Redis writes it twice its zigzag and one.
fn write_value(w: &mut Writer, value: &[u8]) {
    let integer = parse_integer(value).filter(|integer| integer.unsigned_abs() < INTEGER_MAX);
    match integer {
        Some(integer) => w.varint(((integer << 1) ^ (integer >> 63)).cast_unsigned() << 1 | 1),
        None => {
            w.varint((value.len() as u64) << 1);
            w.raw(value);
        }
    }
}

fn read_value(r: &mut Reader<'_>) -> Result<Bytes, Invalid> {
    let packed = r.varint()?;
    if packed & 1 == 0 {
        let length = usize::try_from(packed >> 1).or(Err(Invalid::Truncated))?;
        return r.slice("value", length, VALUE_BYTES_MAX).map(Bytes::copy_from_slice);
    }
    let integer = (packed >> 2).cast_signed() ^ (packed >> 1 & 1).cast_signed().wrapping_neg();
    if integer.unsigned_abs() >= INTEGER_MAX {
        return Err(Invalid::Number);
    }
    let text = integer.to_string();
    r.spend(text.len())?;
    Ok(text.into())
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
