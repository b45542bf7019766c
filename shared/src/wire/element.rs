//! Elements: their names, bases and sums.
//!
//! ```text
//! head u8: kind (2 bits) | bases 0, 1 or more (2 bits) | has a sum | its name begins as the one before | has more than values
//! ```
//! What the kind decides is not written: a set's base is `Member`, a string's or field's is `Bytes`, a board's sum is float.
//! Where a field has deadlines or spends, a byte before each base says which it is.

use super::{
    Invalid,
    reader::Reader,
    state::{read_stamp, write_stamp},
    writer::Writer,
};
use crate::{
    id::{Dot, No, ReplicaId},
    limits::VALUE_BYTES_MAX,
    state::{Amount, Base, Causal, Cut, Deadline, Element, ElementId, Entry, Kind, Num, Part, Sum, is_score},
};
use bytes::Bytes;

const KINDS: u8 = 0b11;
const ONE_BASE: u8 = 1 << 2;
const BASES: u8 = 1 << 3;
const SUM: u8 = 1 << 4;
const PREFIXED: u8 = 1 << 5;
const TAGGED: u8 = 1 << 6;
const HEAD: u8 = KINDS | ONE_BASE | BASES | SUM | PREFIXED | TAGGED;

const VALUE: u8 = 0;
const UNTIL: u8 = 1;
const SPENT: u8 = 2;

const DEADLINE_HAS_EPOCH: u8 = 1;
const DEADLINE_HAS_END: u8 = 1 << 1;

const ENTRY: u8 = 1;
const CUT: u8 = 1 << 1;
const RESTARTED: u8 = 1 << 2;

/// A dot's reference and number.
pub(super) const DOT_BYTES_MIN: usize = 2;
/// A part's reference, flags, number and amount.
const PART_BYTES_MIN: usize = 4;

/// The name of the element before, of which the next one's is likely to share the beginning.
#[derive(Default)]
pub(super) struct Previous(Bytes);

/// An element with its name, in a list.
pub(super) fn write_named(w: &mut Writer, previous: &mut Previous, id: &ElementId, element: &Element) {
    let name = id.name();
    let shared = previous.0.iter().zip(&name).take_while(|(a, b)| a == b).count();
    // The count takes a byte itself.
    let shared = if shared > 1 { shared } else { 0 };
    w.u8(head(id.kind(), element) | if shared > 0 { PREFIXED } else { 0 });
    if shared > 0 {
        w.count(shared);
    }
    if id.kind() != Kind::String {
        w.bytes(name.get(shared..).unwrap_or_default());
    }
    previous.0 = name;
    write_content(w, id.kind(), element);
}

pub(super) fn read_named(r: &mut Reader<'_>, previous: &mut Previous) -> Result<(ElementId, Element), Invalid> {
    let head = r.u8()?;
    let kind = kind_of(head)?;
    let shared = if head & PREFIXED == 0 { 0 } else { r.count("shared bytes", VALUE_BYTES_MAX, 0)? };
    let prefix = previous.0.get(..shared).ok_or(Invalid::Truncated)?;
    let name = match kind {
        Kind::String if shared == 0 => Bytes::new(),
        Kind::String => return Err(Invalid::Tag("element")),
        Kind::Set | Kind::Hash | Kind::Board => {
            let rest = r.bytes("name", VALUE_BYTES_MAX.saturating_sub(shared))?;
            r.spend(shared)?;
            if shared == 0 { rest } else { [prefix, &rest].concat().into() }
        }
    };
    previous.0 = name.clone();
    Ok((ElementId::of(kind, name), read_content(r, kind, head)?))
}

/// An element alone; its kind is known.
pub(crate) fn write_element(w: &mut Writer, kind: Kind, element: &Element) {
    w.u8(head(kind, element));
    write_content(w, kind, element);
}

pub(crate) fn read_element(r: &mut Reader<'_>) -> Result<(Kind, Element), Invalid> {
    let head = r.u8()?;
    let kind = kind_of(head)?;
    if head & PREFIXED != 0 {
        return Err(Invalid::Tag("element"));
    }
    Ok((kind, read_content(r, kind, head)?))
}

pub(crate) fn write_id(w: &mut Writer, id: &ElementId) {
    w.u8(id.kind() as u8);
    write_name(w, id);
}

pub(crate) fn read_id(r: &mut Reader<'_>) -> Result<ElementId, Invalid> {
    let kind = r.u8()?;
    read_name(r, Kind::from_tag(kind).ok_or(Invalid::Tag("kind"))?)
}

/// The name of an element whose kind stands elsewhere.
pub(super) fn write_name(w: &mut Writer, id: &ElementId) {
    if id.kind() != Kind::String {
        w.bytes(&id.name());
    }
}

pub(super) fn read_name(r: &mut Reader<'_>, kind: Kind) -> Result<ElementId, Invalid> {
    let name = if kind == Kind::String { Bytes::new() } else { r.bytes("name", VALUE_BYTES_MAX)? };
    Ok(ElementId::of(kind, name))
}

/// What a counter adds up, as bytes.
pub(super) trait WireAmount: Amount {
    fn write(self, w: &mut Writer);
    fn read(r: &mut Reader<'_>) -> Result<Self, Invalid>;
}

impl WireAmount for i128 {
    fn write(self, w: &mut Writer) {
        w.wide_zigzag(self);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Invalid> {
        r.wide_zigzag()
    }
}

impl WireAmount for f64 {
    fn write(self, w: &mut Writer) {
        w.float(self);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Invalid> {
        r.float().and_then(|amount| if amount.is_finite() { Ok(amount) } else { Err(Invalid::Score) })
    }
}

fn head(kind: Kind, element: &Element) -> u8 {
    let bases = match element.base.len() {
        0 => 0,
        1 => ONE_BASE,
        _ => BASES,
    };
    let tagged = if is_tagged(element) { TAGGED } else { 0 };
    kind as u8 | bases | tagged | if element.sum.is_empty() { 0 } else { SUM }
}

fn kind_of(head: u8) -> Result<Kind, Invalid> {
    if head & !HEAD != 0 || head & (ONE_BASE | BASES) == ONE_BASE | BASES {
        return Err(Invalid::Tag("element"));
    }
    let kind = Kind::from_tag(head & KINDS).ok_or(Invalid::Tag("kind"))?;
    if head & TAGGED != 0 && (kind != Kind::Hash || head & (ONE_BASE | BASES) == 0) {
        return Err(Invalid::Tag("element"));
    }
    Ok(kind)
}

fn write_content(w: &mut Writer, kind: Kind, element: &Element) {
    if let Some(more) = element.base.len().checked_sub(2) {
        w.count(more);
    }
    let is_tagged = is_tagged(element);
    for (dot, base) in element.base.iter() {
        w.dot(dot);
        match base {
            Base::Until(deadline) if kind == Kind::Hash => {
                w.u8(UNTIL);
                write_deadline(w, deadline);
            }
            Base::Spent { amount, until } if kind == Kind::Hash => {
                w.u8(SPENT);
                w.varint(*amount);
                w.time(*until);
            }
            base => {
                if is_tagged {
                    w.u8(VALUE);
                }
                write_base(w, kind, base);
            }
        }
    }
    match (&element.sum, kind) {
        (Sum::Int(sum), Kind::String | Kind::Set | Kind::Hash) if sum.is_empty() => {}
        (Sum::Float(sum), Kind::Board) if sum.is_empty() => {}
        (Sum::Int(sum), Kind::String | Kind::Hash) => write_num(w, sum),
        (Sum::Float(sum), Kind::Board) => write_num(w, sum),
        (Sum::Int(_) | Sum::Float(_), _) => w.refuse(Invalid::Type),
    }
}

fn read_content(r: &mut Reader<'_>, kind: Kind, head: u8) -> Result<Element, Invalid> {
    let bases = match head & (ONE_BASE | BASES) {
        0 => 0,
        ONE_BASE => 1,
        _ => r.count("bases", usize::MAX >> 1, DOT_BYTES_MIN)?.saturating_add(2),
    };
    let mut element = Element::empty(kind);
    element.base = read_bases(r, kind, bases, head & TAGGED != 0)?;
    if is_tagged(&element) != (head & TAGGED != 0) {
        return Err(Invalid::Tag("element"));
    }
    element.sum = match (head & SUM != 0, kind) {
        (false, _) => element.sum,
        (true, Kind::String | Kind::Hash) => Sum::Int(read_num(r)?),
        (true, Kind::Board) => Sum::Float(read_num(r)?),
        (true, Kind::Set) => return Err(Invalid::Type),
    };
    Ok(element)
}

fn read_bases(r: &mut Reader<'_>, kind: Kind, count: usize, is_tagged: bool) -> Result<Causal<Base>, Invalid> {
    let mut bases = Causal::default();
    let mut last: Option<Dot> = None;
    for _ in 0..count {
        let dot = r.dot()?;
        if last.replace(dot).is_some_and(|last| last >= dot) {
            return Err(Invalid::Order("bases"));
        }
        r.spend(size_of::<(Dot, Base)>())?;
        let base = match if is_tagged { r.u8()? } else { VALUE } {
            VALUE => read_base(r, kind)?,
            UNTIL => read_deadline(r)?,
            SPENT => Base::Spent { amount: r.varint()?, until: r.time()? },
            _ => return Err(Invalid::Tag("base")),
        };
        bases.insert(dot, base);
    }
    Ok(bases)
}

fn write_base(w: &mut Writer, kind: Kind, base: &Base) {
    match (kind, base) {
        (Kind::Set, Base::Member) => {}
        (Kind::String | Kind::Hash, Base::Bytes { hlc, value }) => {
            w.hlc(*hlc);
            w.bytes(value);
        }
        (Kind::Board, Base::Abs { hlc, score }) => {
            w.u8(0);
            w.hlc(*hlc);
            w.float(*score);
        }
        (Kind::Board, Base::Max(score)) => {
            w.u8(1);
            w.float(*score);
        }
        (Kind::Board, Base::Min(score)) => {
            w.u8(2);
            w.float(*score);
        }
        (
            _,
            Base::Member
            | Base::Bytes { .. }
            | Base::Abs { .. }
            | Base::Max(_)
            | Base::Min(_)
            | Base::Until(_)
            | Base::Spent { .. },
        ) => {
            w.refuse(Invalid::Type);
        }
    }
}

/// Whether a field has more than values, so that a tag stands before each base.
fn is_tagged(element: &Element) -> bool {
    element.base.iter().any(|(_, base)| matches!(base, Base::Until(_) | Base::Spent { .. }))
}

fn write_deadline(w: &mut Writer, deadline: &Deadline) {
    let (epoch, at) = (deadline.epoch(), deadline.at());
    let has_epoch = if epoch.is_some() { DEADLINE_HAS_EPOCH } else { 0 };
    w.u8(has_epoch | if at.is_some() { DEADLINE_HAS_END } else { 0 });
    if let Some(epoch) = epoch {
        write_stamp(w, epoch);
    }
    if let Some(at) = at {
        w.time(at);
    }
}

fn read_deadline(r: &mut Reader<'_>) -> Result<Base, Invalid> {
    let flags = r.u8()?;
    if flags == 0 || flags & !(DEADLINE_HAS_EPOCH | DEADLINE_HAS_END) != 0 {
        return Err(Invalid::Tag("deadline"));
    }
    let epoch = if flags & DEADLINE_HAS_EPOCH == 0 { None } else { Some(read_stamp(r)?) };
    let at = if flags & DEADLINE_HAS_END == 0 { None } else { Some(r.time()?) };
    r.spend(size_of::<Deadline>())?;
    Ok(Base::Until(Box::new(Deadline::of(epoch, at))))
}

fn read_base(r: &mut Reader<'_>, kind: Kind) -> Result<Base, Invalid> {
    Ok(match kind {
        Kind::Set => Base::Member,
        Kind::String | Kind::Hash => Base::Bytes { hlc: r.hlc()?, value: r.bytes("value", VALUE_BYTES_MAX)? },
        Kind::Board => match r.u8()? {
            0 => Base::Abs { hlc: r.hlc()?, score: read_score(r)? },
            1 => Base::Max(read_score(r)?),
            2 => Base::Min(read_score(r)?),
            _ => return Err(Invalid::Tag("base")),
        },
    })
}

fn read_score(r: &mut Reader<'_>) -> Result<f64, Invalid> {
    r.float().and_then(|score| if is_score(score) { Ok(score) } else { Err(Invalid::Score) })
}

fn write_num<A: WireAmount>(w: &mut Writer, num: &Num<A>) {
    w.count(num.parts().count());
    for (replica, part) in num.parts() {
        let index = w.replica(replica);
        let is_restarted = part.ent.is_some_and(|ent| ent.o != No::ZERO);
        w.u8(if part.ent.is_some() { ENTRY } else { 0 }
            | if part.cut.is_some() { CUT } else { 0 }
            | if is_restarted { RESTARTED } else { 0 });
        if let Some(Entry { n, o, acc }) = part.ent {
            w.number(index, n);
            if is_restarted {
                w.difference(n.0, o.0);
            }
            acc.write(w);
        }
        if let Some(cut) = part.cut {
            write_cut(w, index, cut);
        }
    }
}

fn read_num<A: WireAmount>(r: &mut Reader<'_>) -> Result<Num<A>, Invalid> {
    let mut last: Option<ReplicaId> = None;
    let parts = r.list("parts of a sum", usize::MAX, PART_BYTES_MIN, |r| {
        let (index, replica) = r.replica()?;
        if last.replace(replica).is_some_and(|last| last >= replica) {
            return Err(Invalid::Order("parts"));
        }
        let flags = r.u8()?;
        if flags & !(ENTRY | CUT | RESTARTED) != 0 || flags & (ENTRY | RESTARTED) == RESTARTED {
            return Err(Invalid::Tag("part"));
        }
        let ent = if flags & ENTRY == 0 { None } else { Some(read_entry(r, index, flags & RESTARTED != 0)?) };
        let cut = if flags & CUT == 0 { None } else { Some(read_cut(r, index)?) };
        Ok((replica, Part { ent, cut }))
    })?;
    if parts.is_empty() {
        return Err(Invalid::Sum);
    }
    Num::from_parts(parts).ok_or(Invalid::Sum)
}

fn read_entry<A: WireAmount>(r: &mut Reader<'_>, index: usize, is_restarted: bool) -> Result<Entry<A>, Invalid> {
    let n = r.number(index)?;
    let o = if is_restarted { No(r.difference(n.0)?) } else { No::ZERO };
    if is_restarted && o == No::ZERO {
        return Err(Invalid::Tag("part"));
    }
    Ok(Entry { n, o, acc: A::read(r)? })
}

pub(super) fn write_cut<A: WireAmount>(w: &mut Writer, index: usize, cut: Cut<A>) {
    w.number(index, cut.m);
    cut.acc.write(w);
}

pub(super) fn read_cut<A: WireAmount>(r: &mut Reader<'_>, index: usize) -> Result<Cut<A>, Invalid> {
    Ok(Cut { m: r.number(index)?, acc: A::read(r)? })
}
