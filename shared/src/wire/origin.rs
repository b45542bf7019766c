//! The messages between a hub and the daemon.

use super::{
    Capabilities, Invalid, Message,
    leaf::{read_keys, read_option, read_refusal, write_keys, write_option, write_refusal},
    reader::Reader,
    state::{read_delta, read_key, write_delta, write_key},
    writer::Writer,
};
use crate::{
    id::{Key, No},
    limits::{HUB_NAME_BYTES_MAX, KEYS_LISTED_MAX},
    message::{Cursor, HubToOrigin, OriginToHub, SlotDelta},
    slot::Slot,
    state::KeyDelta,
};

/// Parts of one batch in one frame: a slot that is split has several in a batch, but one in a frame, as a rule.
const PARTS_MAX: usize = 4 * Slot::COUNT as usize;
/// A slot, two numbers and a count.
const PART_BYTES_MIN: usize = 4;
/// A slot, a cursor and a count.
const HELD_BYTES_MIN: usize = 4;
/// A key's length, a header's flags and two counts.
const KEY_DELTA_BYTES_MIN: usize = 4;

impl Message for HubToOrigin {
    const KIND: u8 = 3;

    fn capabilities(&self) -> Option<&Capabilities> {
        match self {
            Self::Hello { capabilities, .. } => Some(capabilities),
            Self::Held(_) | Self::Delta(_) | Self::Subscribe(_) | Self::Unsubscribe(_) | Self::Gap(..) => None,
        }
    }

    fn is_lasting(&self) -> bool {
        matches!(self, Self::Hello { .. })
    }

    fn write(&self, w: &mut Writer) {
        match self {
            Self::Hello { hub, name, now, unstable, capabilities } => {
                w.u8(0);
                w.replica(*hub);
                w.bytes(name.as_bytes());
                w.time(*now);
                w.count(unstable.len());
                unstable.iter().for_each(|slot| w.slot(*slot));
                capabilities.write(w);
            }
            Self::Held(slots) => {
                w.u8(1);
                w.count(slots.len());
                for (slot, cursor, keys) in slots {
                    w.slot(*slot);
                    write_cursor(w, *cursor);
                    write_keys(w, keys);
                }
            }
            Self::Delta(parts) => {
                w.u8(2);
                w.count(parts.len());
                for SlotDelta { slot, from, to, keys } in parts {
                    w.slot(*slot);
                    w.no(*from);
                    w.no(*to);
                    write_key_deltas(w, keys);
                }
            }
            Self::Subscribe(keys) => {
                w.u8(3);
                write_keys(w, keys);
            }
            Self::Unsubscribe(keys) => {
                w.u8(4);
                write_keys(w, keys);
            }
            Self::Gap(slot, cursor) => {
                w.u8(5);
                w.slot(*slot);
                write_cursor(w, *cursor);
            }
        }
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Invalid> {
        Ok(match r.u8()? {
            0 => Self::Hello {
                hub: r.replica()?.1,
                name: r.string("name", HUB_NAME_BYTES_MAX)?,
                now: r.time()?,
                unstable: r.list("slots", Slot::COUNT.into(), 1, Reader::slot)?,
                capabilities: Capabilities::read(r)?,
            },
            1 => Self::Held(r.list("slots", Slot::COUNT.into(), HELD_BYTES_MIN, |r| {
                let (slot, cursor, keys) = (r.slot()?, read_cursor(r)?, read_keys(r)?);
                if keys.iter().all(|key| key.slot() == slot) { Ok((slot, cursor, keys)) } else { Err(Invalid::Slot) }
            })?),
            2 => Self::Delta(r.list("parts", PARTS_MAX, PART_BYTES_MIN, |r| {
                let (slot, from, to) = (r.slot()?, r.no()?, r.no()?);
                if from > to {
                    return Err(Invalid::Range);
                }
                Ok(SlotDelta { slot, from, to, keys: read_key_deltas(r, slot)? })
            })?),
            3 => Self::Subscribe(read_keys(r)?),
            4 => Self::Unsubscribe(read_keys(r)?),
            5 => Self::Gap(r.slot()?, read_cursor(r)?),
            _ => return Err(Invalid::Tag("message")),
        })
    }
}

impl Message for OriginToHub {
    const KIND: u8 = 4;

    fn capabilities(&self) -> Option<&Capabilities> {
        match self {
            Self::Welcome { capabilities, .. } => Some(capabilities),
            Self::Resume(_)
            | Self::Credit(_)
            | Self::Committed(_)
            | Self::Stable(_)
            | Self::Down { .. }
            | Self::Whole { .. }
            | Self::Refused(_) => None,
        }
    }

    fn is_lasting(&self) -> bool {
        matches!(self, Self::Welcome { .. } | Self::Refused(_))
    }

    fn write(&self, w: &mut Writer) {
        match self {
            Self::Welcome { now, capabilities } => {
                w.u8(0);
                w.time(*now);
                capabilities.write(w);
            }
            Self::Resume(slots) => {
                w.u8(1);
                write_numbers(w, slots);
            }
            Self::Credit(batches) => {
                w.u8(2);
                w.varint((*batches).into());
            }
            Self::Committed(slots) => {
                w.u8(3);
                write_numbers(w, slots);
            }
            Self::Stable(slots) => {
                w.u8(4);
                write_numbers(w, slots);
            }
            Self::Down { slot, from, to, keys } => {
                w.u8(5);
                w.slot(*slot);
                write_cursor(w, *from);
                write_cursor(w, *to);
                write_key_deltas(w, keys);
            }
            Self::Whole { slot, at, keys } => {
                w.u8(6);
                w.slot(*slot);
                write_cursor(w, *at);
                write_key_deltas(w, keys);
            }
            Self::Refused(refusal) => {
                w.u8(7);
                write_refusal(w, refusal);
            }
        }
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Invalid> {
        Ok(match r.u8()? {
            0 => Self::Welcome { now: r.time()?, capabilities: Capabilities::read(r)? },
            1 => Self::Resume(read_numbers(r)?),
            2 => Self::Credit(u32::try_from(r.varint()?).or(Err(Invalid::Number))?),
            3 => Self::Committed(read_numbers(r)?),
            4 => Self::Stable(read_numbers(r)?),
            5 => {
                let (slot, from, to) = (r.slot()?, read_cursor(r)?, read_cursor(r)?);
                Self::Down { slot, from, to, keys: read_key_deltas(r, slot)? }
            }
            6 => {
                let (slot, at) = (r.slot()?, read_cursor(r)?);
                Self::Whole { slot, at, keys: read_key_deltas(r, slot)? }
            }
            7 => Self::Refused(read_refusal(r)?),
            _ => return Err(Invalid::Tag("message")),
        })
    }
}

fn write_cursor(w: &mut Writer, cursor: Cursor) {
    write_option(w, cursor.incarnation.as_ref(), |w, incarnation| {
        w.replica(*incarnation);
    });
    w.varint(cursor.seq);
}

fn read_cursor(r: &mut Reader<'_>) -> Result<Cursor, Invalid> {
    let incarnation = read_option(r, |r| Ok(r.replica()?.1))?;
    Ok(Cursor { incarnation, seq: r.varint()? })
}

fn write_numbers(w: &mut Writer, slots: &[(Slot, No)]) {
    w.count(slots.len());
    for (slot, no) in slots {
        w.slot(*slot);
        w.no(*no);
    }
}

fn read_numbers(r: &mut Reader<'_>) -> Result<Vec<(Slot, No)>, Invalid> {
    r.list("slots", Slot::COUNT.into(), 2, |r| Ok((r.slot()?, r.no()?)))
}

fn write_key_deltas(w: &mut Writer, keys: &[(Key, KeyDelta)]) {
    if keys.len() > KEYS_LISTED_MAX {
        w.refuse(Invalid::TooMany("keys"));
    }
    w.count(keys.len());
    for (key, delta) in keys {
        write_key(w, key);
        write_delta(w, delta);
    }
}

/// All of the keys must be of the slot.
fn read_key_deltas(r: &mut Reader<'_>, slot: Slot) -> Result<Vec<(Key, KeyDelta)>, Invalid> {
    r.list("keys", KEYS_LISTED_MAX, KEY_DELTA_BYTES_MIN, |r| {
        let key = read_key(r)?;
        if key.slot() != slot {
            return Err(Invalid::Slot);
        }
        Ok((key, read_delta(r)?))
    })
}
