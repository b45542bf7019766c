//! Keys: contexts, headers and deltas.

use super::{
    Invalid,
    element::{self, Previous},
    reader::Reader,
    writer::Writer,
};
use crate::{
    id::{Key, ReplicaId, Stamp},
    limits::{DELTA_ELEMENTS_MAX, KEY_BYTES_MAX},
    state::{Claims, Ctx, Deadline, Header, Intervals, KeyDelta, Kind},
};

const COMPLETE: u8 = 1;
const WIPE: u8 = 1 << 1;
const DEADLINE: u8 = 1 << 2;
const EPOCH: u8 = 1 << 3;
/// Within what the deadline has: when it ends, and until when it is revoked.
const DEADLINE_ENDS: u8 = 1;
const DEADLINE_REVOKED: u8 = 1 << 1;
/// The claim of the first type; those of the others follow.
const CLAIM: u8 = 1 << 4;

/// A replica's reference and one interval.
const CTX_REPLICA_BYTES_MIN: usize = 3;
/// The head, and a count of bases or a name.
const ELEMENT_BYTES_MIN: usize = 1;

pub(crate) fn write_key(w: &mut Writer, key: &Key) {
    w.bytes(key.as_bytes());
}

pub(crate) fn read_key(r: &mut Reader<'_>) -> Result<Key, Invalid> {
    Ok(Key::new(r.bytes("key", KEY_BYTES_MAX)?)?)
}

pub(crate) fn write_stamp(w: &mut Writer, stamp: Stamp) {
    w.hlc(stamp.hlc);
    w.dot(stamp.dot);
}

pub(crate) fn read_stamp(r: &mut Reader<'_>) -> Result<Stamp, Invalid> {
    Ok(Stamp { hlc: r.hlc()?, dot: r.dot()? })
}

/// Each replica with its intervals: where the first begins relative to the one that stood last of the replica, then for
/// each its length and whether one more follows, and before each further one the gap.
pub(crate) fn write_ctx(w: &mut Writer, ctx: &Ctx) {
    w.count(ctx.iter().count());
    for (replica, intervals) in ctx.iter() {
        let index = w.replica(replica);
        let mut intervals = intervals.iter().peekable();
        let mut before: Option<u64> = None;
        while let Some((start, end)) = intervals.next() {
            match before {
                None => {
                    w.difference(w.memory.start(index), start);
                    w.memory.note_start(index, start);
                }
                // Never adjacent, so a gap is at least one.
                Some(before) => w.varint(start.wrapping_sub(before).wrapping_sub(1)),
            }
            let further = u128::from(end.wrapping_sub(start).wrapping_sub(1));
            w.wide_varint(further << 1 | u128::from(intervals.peek().is_some()));
            before = Some(end);
        }
        w.memory.note_number(index, before.unwrap_or_default());
    }
}

pub(crate) fn read_ctx(r: &mut Reader<'_>) -> Result<Ctx, Invalid> {
    let mut last: Option<ReplicaId> = None;
    let replicas = r.list("replicas", usize::MAX, CTX_REPLICA_BYTES_MIN, |r| {
        let (index, replica) = r.replica()?;
        if last.replace(replica).is_some_and(|last| last >= replica) {
            return Err(Invalid::Order("replicas"));
        }
        Ok((replica, read_intervals(r, index)?))
    })?;
    Ctx::from_sorted(replicas).ok_or(Invalid::Context)
}

fn read_intervals(r: &mut Reader<'_>, index: usize) -> Result<Intervals, Invalid> {
    let mut start = r.difference(r.memory.start(index))?;
    r.memory.note_start(index, start);
    let mut intervals = Vec::new();
    loop {
        let packed = r.wide_varint()?;
        let length = u64::try_from(packed >> 1).ok().and_then(|further| further.checked_add(1));
        let end = length.and_then(|length| start.checked_add(length)).ok_or(Invalid::Number)?;
        r.spend(size_of::<(u64, u64)>())?;
        intervals.push((start, end));
        if packed & 1 == 0 {
            r.memory.note_number(index, end);
            return Intervals::from_sorted(intervals).ok_or(Invalid::Context);
        }
        let gap = r.varint()?.checked_add(1).ok_or(Invalid::Number)?;
        start = end.checked_add(gap).ok_or(Invalid::Number)?;
    }
}

pub(crate) fn write_header(w: &mut Writer, header: &Header, complete: bool) {
    let (epoch, at, revoked) = (header.deadline.epoch(), header.deadline.moved_to(), header.deadline.revoked());
    let when = |flag, is_set| if is_set { flag } else { 0 };
    let claims = Kind::ALL.into_iter().filter(|kind| header.claims.of(*kind).is_some());
    let claims = claims.fold(0, |flags, kind| flags | claim(kind));
    w.u8(when(COMPLETE, complete)
        | when(WIPE, !header.wipe.is_empty())
        | when(DEADLINE, at.or(revoked).is_some())
        | when(EPOCH, epoch.is_some())
        | claims);
    write_ctx(w, &header.ctx);
    if !header.wipe.is_empty() {
        write_ctx(w, &header.wipe);
    }
    for (_, stamp) in header.claims.iter() {
        write_stamp(w, stamp);
    }
    if let Some(epoch) = epoch {
        write_stamp(w, epoch);
    }
    if at.or(revoked).is_some() {
        w.u8(when(DEADLINE_ENDS, at.is_some()) | when(DEADLINE_REVOKED, revoked.is_some()));
    }
    for time in at.into_iter().chain(revoked) {
        w.time(time);
    }
}

/// The header, and whether the delta is complete.
pub(crate) fn read_header(r: &mut Reader<'_>) -> Result<(Header, bool), Invalid> {
    let flags = r.u8()?;
    let ctx = read_ctx(r)?;
    let wipe = if flags & WIPE == 0 { Ctx::new() } else { read_ctx(r)? };
    if wipe.is_empty() != (flags & WIPE == 0) {
        return Err(Invalid::Tag("wipe"));
    }
    if !ctx.covers(&wipe) {
        return Err(Invalid::UnknownWipe);
    }
    let mut claims = Vec::new();
    for kind in Kind::ALL.into_iter().filter(|kind| flags & claim(*kind) != 0) {
        claims.push((kind, read_stamp(r)?));
    }
    let epoch = if flags & EPOCH == 0 { None } else { Some(read_stamp(r)?) };
    let deadline = if flags & DEADLINE == 0 { Deadline::of(epoch, None) } else { read_deadline(r, epoch)? };
    Ok((Header { ctx, wipe, claims: Claims::from_iter(claims), deadline }, flags & COMPLETE != 0))
}

/// What the deadline has beside its epoch, which is something.
fn read_deadline(r: &mut Reader<'_>, epoch: Option<Stamp>) -> Result<Deadline, Invalid> {
    let has = r.u8()?;
    if has == 0 || has & !(DEADLINE_ENDS | DEADLINE_REVOKED) != 0 {
        return Err(Invalid::Tag("deadline"));
    }
    let at = if has & DEADLINE_ENDS == 0 { None } else { Some(r.time()?) };
    let deadline = Deadline::of(epoch, at);
    if has & DEADLINE_REVOKED == 0 {
        return Ok(deadline);
    }
    deadline.with_revocation(r.time()?).ok_or(Invalid::Tag("revocation"))
}

pub(crate) fn write_delta(w: &mut Writer, delta: &KeyDelta) {
    write_header(w, &delta.header, delta.complete);
    if delta.elements.len() > DELTA_ELEMENTS_MAX {
        w.refuse(Invalid::TooMany("elements"));
    }
    w.count(delta.elements.len());
    let mut previous = Previous::default();
    for (id, element) in &delta.elements {
        element::write_named(w, &mut previous, id, element);
    }
}

pub(crate) fn read_delta(r: &mut Reader<'_>) -> Result<KeyDelta, Invalid> {
    let (header, complete) = read_header(r)?;
    let mut previous = Previous::default();
    let elements = r.list("elements", DELTA_ELEMENTS_MAX, ELEMENT_BYTES_MIN, |r| {
        let (id, element) = element::read_named(r, &mut previous)?;
        if element.base.dots().any(|dot| !header.ctx.contains(dot)) {
            return Err(Invalid::UnknownDot);
        }
        Ok((id, element))
    })?;
    if !elements.windows(2).all(|pair| matches!(pair, [(a, _), (b, _)] if a < b)) {
        return Err(Invalid::Order("elements"));
    }
    Ok(KeyDelta { header, complete, elements })
}

fn claim(kind: Kind) -> u8 {
    CLAIM.wrapping_shl(kind as u32)
}
