//! The messages between a hub and the daemon.

use super::digest::{
    read_asks, read_digests, read_nodes, read_seed, write_asks, write_digests, write_nodes, write_seed,
};
use super::{
    Capabilities, Invalid, Message,
    leaf::{read_keys, read_option, read_refusal, write_keys, write_option, write_refusal},
    reader::Reader,
    rights::{read_rights_answer, read_rights_request, write_rights_answer, write_rights_request},
    run::{
        read_commands, read_job_replies, read_jobs, read_namespace, read_replies, write_commands, write_job_replies,
        write_jobs, write_namespace, write_replies,
    },
    state::{read_ctx, read_delta, read_key, write_ctx, write_delta, write_key},
    topic::{
        read_heard, read_published, read_topic, read_topics, write_heard, write_published, write_topic, write_topics,
    },
    writer::Writer,
};
use crate::{
    id::{Key, No, ReplicaId},
    limits::{HUB_NAME_BYTES_MAX, KEYS_LISTED_MAX, MARKS_MAX},
    message::{Cursor, HubToOrigin, Mark, OriginToHub, SlotDelta},
    slot::Slot,
    state::KeyDelta,
};

/// Parts of one batch in one frame: a slot that is split has several in a batch, but one in a frame, as a rule.
const PARTS_MAX: usize = 4 * Slot::COUNT as usize;
/// A slot, no incarnation, two numbers and a count.
const PART_BYTES_MIN: usize = 5;
/// A slot, no incarnation and a sequence.
const CURSOR_BYTES_MIN: usize = 3;
/// A slot, a cursor and a count.
const HELD_BYTES_MIN: usize = 4;
/// A slot, a replica, a number and a cursor of nothing.
const MARK_BYTES_MIN: usize = 5;
/// A key's length, a header's flags and two counts.
const KEY_DELTA_BYTES_MIN: usize = 4;

impl Message for HubToOrigin {
    const KIND: u8 = 3;

    fn capabilities(&self) -> Option<&Capabilities> {
        match self {
            Self::Hello { capabilities, .. } => Some(capabilities),
            Self::Held { .. }
            | Self::Delta(_)
            | Self::Subscribe(_)
            | Self::Unsubscribe(_)
            | Self::Gap(..)
            | Self::Lost(_)
            | Self::Digests { .. }
            | Self::Exchanged { .. }
            | Self::Run { .. }
            | Self::Order { .. }
            | Self::Await { .. }
            | Self::Jobs { .. }
            | Self::Listen(_)
            | Self::Unlisten(_)
            | Self::Rights(_) => None,
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
                write_slots(w, unstable);
                capabilities.write(w);
            }
            Self::Held { slots, more } => {
                w.u8(1);
                write_places(w, slots);
                w.u8((*more).into());
            }
            Self::Delta(parts) => {
                w.u8(2);
                w.count(parts.len());
                for SlotDelta { slot, history, from, to, keys } in parts {
                    w.slot(*slot);
                    write_incarnation(w, *history);
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
            Self::Lost(slots) => {
                w.u8(6);
                write_slots(w, slots);
            }
            Self::Digests { round, digests, contexts } => {
                w.u8(7);
                w.varint(*round);
                write_digests(w, digests);
                w.count(contexts.len());
                for (key, ctx) in contexts {
                    write_key(w, key);
                    write_ctx(w, ctx);
                }
            }
            Self::Exchanged { round, last, cursors, keys } => {
                w.u8(8);
                w.varint(*round);
                w.u8((*last).into());
                w.count(cursors.len());
                for (slot, cursor) in cursors {
                    w.slot(*slot);
                    write_cursor(w, *cursor);
                }
                write_key_deltas(w, keys);
            }
            Self::Run { call, commands } => {
                w.u8(9);
                w.varint(*call);
                write_commands(w, commands);
            }
            Self::Jobs { slot, jobs } => {
                w.u8(10);
                write_jobs(w, *slot, jobs);
            }
            Self::Order { call, after, within, commands } => {
                w.u8(11);
                w.varint(*call);
                write_numbers(w, after);
                write_namespace(w, within);
                write_commands(w, commands);
            }
            Self::Await { call, marks } => {
                w.u8(12);
                w.varint(*call);
                write_marks(w, marks);
            }
            Self::Rights(request) => {
                w.u8(13);
                write_rights_request(w, request);
            }
            Self::Listen(topics) => {
                w.u8(14);
                write_topics(w, topics);
            }
            Self::Unlisten(topics) => {
                w.u8(15);
                write_topics(w, topics);
            }
        }
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Invalid> {
        Ok(match r.u8()? {
            0 => Self::Hello {
                hub: r.replica()?.1,
                name: r.string("name", HUB_NAME_BYTES_MAX)?,
                now: r.time()?,
                unstable: read_slots(r)?,
                capabilities: Capabilities::read(r)?,
            },
            1 => Self::Held { slots: read_places(r)?, more: r.bool()? },
            2 => Self::Delta(r.list("parts", PARTS_MAX, PART_BYTES_MIN, |r| {
                let (slot, history, from, to) = (r.slot()?, read_incarnation(r)?, r.no()?, r.no()?);
                if from > to {
                    return Err(Invalid::Range);
                }
                Ok(SlotDelta { slot, history, from, to, keys: read_key_deltas(r, Some(slot))? })
            })?),
            3 => Self::Subscribe(read_keys(r)?),
            4 => Self::Unsubscribe(read_keys(r)?),
            5 => Self::Gap(r.slot()?, read_cursor(r)?),
            6 => Self::Lost(read_slots(r)?),
            7 => Self::Digests {
                round: r.varint()?,
                digests: read_digests(r)?,
                contexts: r.list("keys", KEYS_LISTED_MAX, 2, |r| Ok((read_key(r)?, read_ctx(r)?)))?,
            },
            8 => Self::Exchanged {
                round: r.varint()?,
                last: r.bool()?,
                cursors: r.list("slots", Slot::COUNT.into(), CURSOR_BYTES_MIN, |r| Ok((r.slot()?, read_cursor(r)?)))?,
                keys: read_key_deltas(r, None)?,
            },
            9 => Self::Run { call: r.varint()?, commands: read_commands(r)? },
            10 => {
                let (slot, jobs) = read_jobs(r)?;
                Self::Jobs { slot, jobs }
            }
            11 => Self::Order {
                call: r.varint()?,
                after: read_numbers(r)?,
                within: read_namespace(r)?,
                commands: read_commands(r)?,
            },
            12 => Self::Await { call: r.varint()?, marks: read_marks(r)? },
            13 => Self::Rights(read_rights_request(r)?),
            14 => Self::Listen(read_topics(r)?),
            15 => Self::Unlisten(read_topics(r)?),
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
            | Self::Begun(_)
            | Self::Refused(_)
            | Self::Compare { .. }
            | Self::Exchange { .. }
            | Self::Compared(_)
            | Self::Ran { .. }
            | Self::JobsDone { .. }
            | Self::Arrived(_)
            | Self::JobsStable(_)
            | Self::Listening(..)
            | Self::Published(_)
            | Self::Rights(_) => None,
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
            Self::Whole { slot, at, more, keys } => {
                w.u8(6);
                w.slot(*slot);
                write_cursor(w, *at);
                w.u8((*more).into());
                write_key_deltas(w, keys);
            }
            Self::Refused(refusal) => {
                w.u8(7);
                write_refusal(w, refusal);
            }
            Self::Compare { round, seed, asks, keys } => {
                w.u8(8);
                w.varint(*round);
                write_seed(w, *seed);
                write_asks(w, asks);
                write_keys(w, keys);
            }
            Self::Exchange { round, seed, nodes, keys } => {
                w.u8(9);
                w.varint(*round);
                write_seed(w, *seed);
                write_nodes(w, nodes);
                write_key_deltas(w, keys);
            }
            Self::Compared(slots) => {
                w.u8(10);
                write_slots(w, slots);
            }
            Self::Ran { call, replies } => {
                w.u8(11);
                w.varint(*call);
                write_replies(w, replies);
            }
            Self::JobsDone { slot, through, replies } => {
                w.u8(12);
                w.slot(*slot);
                w.no(*through);
                write_job_replies(w, replies);
            }
            Self::JobsStable(slots) => {
                w.u8(13);
                write_numbers(w, slots);
            }
            Self::Arrived(call) => {
                w.u8(14);
                w.varint(*call);
            }
            Self::Rights(answer) => {
                w.u8(15);
                write_rights_answer(w, answer);
            }
            Self::Listening(topic, heard) => {
                w.u8(16);
                write_topic(w, topic);
                write_heard(w, heard);
            }
            Self::Published(published) => {
                w.u8(17);
                write_published(w, published);
            }
            Self::Begun(slots) => {
                w.u8(18);
                write_places(w, slots);
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
                Self::Down { slot, from, to, keys: read_key_deltas(r, Some(slot))? }
            }
            6 => {
                let (slot, at, more) = (r.slot()?, read_cursor(r)?, r.bool()?);
                Self::Whole { slot, at, more, keys: read_key_deltas(r, Some(slot))? }
            }
            7 => Self::Refused(read_refusal(r)?),
            8 => Self::Compare { round: r.varint()?, seed: read_seed(r)?, asks: read_asks(r)?, keys: read_keys(r)? },
            9 => Self::Exchange {
                round: r.varint()?,
                seed: read_seed(r)?,
                nodes: read_nodes(r)?,
                keys: read_key_deltas(r, None)?,
            },
            10 => Self::Compared(read_slots(r)?),
            11 => Self::Ran { call: r.varint()?, replies: read_replies(r)? },
            12 => Self::JobsDone { slot: r.slot()?, through: r.no()?, replies: read_job_replies(r)? },
            13 => Self::JobsStable(read_numbers(r)?),
            14 => Self::Arrived(r.varint()?),
            15 => Self::Rights(read_rights_answer(r)?),
            16 => Self::Listening(read_topic(r)?, read_heard(r)?),
            17 => Self::Published(read_published(r)?),
            18 => Self::Begun(read_places(r)?),
            _ => return Err(Invalid::Tag("message")),
        })
    }
}

/// Keys by slot, each slot with a cursor.
fn write_places(w: &mut Writer, slots: &[(Slot, Cursor, Vec<Key>)]) {
    w.count(slots.len());
    for (slot, cursor, keys) in slots {
        w.slot(*slot);
        write_cursor(w, *cursor);
        write_keys(w, keys);
    }
}

fn read_places(r: &mut Reader<'_>) -> Result<Vec<(Slot, Cursor, Vec<Key>)>, Invalid> {
    r.list("slots", Slot::COUNT.into(), HELD_BYTES_MIN, |r| {
        let (slot, cursor, keys) = (r.slot()?, read_cursor(r)?, read_keys(r)?);
        if keys.iter().all(|key| key.slot() == slot) { Ok((slot, cursor, keys)) } else { Err(Invalid::Slot) }
    })
}

fn write_cursor(w: &mut Writer, cursor: Cursor) {
    write_incarnation(w, cursor.incarnation);
    w.varint(cursor.seq);
}

fn read_cursor(r: &mut Reader<'_>) -> Result<Cursor, Invalid> {
    Ok(Cursor { incarnation: read_incarnation(r)?, seq: r.varint()? })
}

fn write_incarnation(w: &mut Writer, incarnation: Option<ReplicaId>) {
    write_option(w, incarnation.as_ref(), |w, incarnation| {
        w.replica(*incarnation);
    });
}

fn read_incarnation(r: &mut Reader<'_>) -> Result<Option<ReplicaId>, Invalid> {
    read_option(r, |r| Ok(r.replica()?.1))
}

fn write_marks(w: &mut Writer, marks: &[Mark]) {
    if marks.len() > MARKS_MAX {
        w.refuse(Invalid::TooMany("marks"));
    }
    w.count(marks.len());
    for Mark { slot, hub, no, cursor } in marks {
        w.slot(*slot);
        w.replica(*hub);
        w.no(*no);
        write_cursor(w, *cursor);
    }
}

fn read_marks(r: &mut Reader<'_>) -> Result<Vec<Mark>, Invalid> {
    r.list("marks", MARKS_MAX, MARK_BYTES_MIN, |r| {
        Ok(Mark { slot: r.slot()?, hub: r.replica()?.1, no: r.no()?, cursor: read_cursor(r)? })
    })
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

fn write_slots(w: &mut Writer, slots: &[Slot]) {
    w.count(slots.len());
    slots.iter().for_each(|slot| w.slot(*slot));
}

fn read_slots(r: &mut Reader<'_>) -> Result<Vec<Slot>, Invalid> {
    r.list("slots", Slot::COUNT.into(), 1, Reader::slot)
}

/// All of the keys must be of the slot, where they are to be of one.
fn read_key_deltas(r: &mut Reader<'_>, slot: Option<Slot>) -> Result<Vec<(Key, KeyDelta)>, Invalid> {
    r.list("keys", KEYS_LISTED_MAX, KEY_DELTA_BYTES_MIN, |r| {
        let key = read_key(r)?;
        if slot.is_some_and(|slot| key.slot() != slot) {
            return Err(Invalid::Slot);
        }
        Ok((key, read_delta(r)?))
    })
}
