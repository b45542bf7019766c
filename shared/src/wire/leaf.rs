//! The messages between a leaf and its hub.

use super::{
    Capabilities, Invalid, Message,
    operation::{OPERATION_BYTES_MIN, read_operation, write_operation},
    reader::Reader,
    state::{read_delta, read_key, write_delta, write_key},
    writer::Writer,
};
use crate::{
    command::CommandError,
    id::{ClientId, Key, Seq, SessionId},
    limits::{
        BATCH_OPERATIONS_MAX, KEYS_LISTED_MAX, PENDING_OPERATIONS_MAX, REFUSAL_BYTES_MAX, STANDINGS_MEMBERS_MAX,
        STANDINGS_TOP_MAX, VALUE_BYTES_MAX,
    },
    message::{HubToLeaf, LeafToHub, Lifetime, Refusal, RefusalCause},
    standings::{Place, Standings, StandingsQuery},
};
use bytes::Bytes;

/// Three numbers.
const ACCEPTED_BYTES_MIN: usize = 3;
/// A number and an error.
const REFUSED_BYTES_MIN: usize = 2;
/// The verdicts of one message. A leaf acknowledges them batch by batch, so there are seldom more than a batch's.
const VERDICTS_MAX: usize = 1 << 20;

impl Message for LeafToHub {
    const KIND: u8 = 1;

    fn capabilities(&self) -> Option<&Capabilities> {
        match self {
            Self::Hello { capabilities, .. } => Some(capabilities),
            Self::Operations { .. }
            | Self::Own { .. }
            | Self::Subscribe(_)
            | Self::Unsubscribe(_)
            | Self::Watch(..)
            | Self::Unwatch(_) => None,
        }
    }

    fn is_lasting(&self) -> bool {
        matches!(self, Self::Hello { .. })
    }

    fn write(&self, w: &mut Writer) {
        match self {
            Self::Hello { client, lifetime, resume, capabilities } => {
                w.u8(0);
                w.raw(&client.0.to_be_bytes());
                w.u8(match lifetime {
                    Lifetime::Tab => 0,
                    Lifetime::Isolate => 1,
                });
                write_option(w, resume.as_ref(), |w, resume| write_session(w, *resume));
                capabilities.write(w);
            }
            Self::Operations { session, settled, first, operations } => {
                w.u8(1);
                write_session(w, *session);
                w.seq(*settled);
                w.seq(*first);
                if operations.len() > BATCH_OPERATIONS_MAX {
                    w.refuse(Invalid::TooMany("operations"));
                }
                w.count(operations.len());
                operations.iter().for_each(|operation| write_operation(w, operation));
            }
            Self::Subscribe(keys) => {
                w.u8(2);
                write_keys(w, keys);
            }
            Self::Unsubscribe(keys) => {
                w.u8(3);
                write_keys(w, keys);
            }
            Self::Watch(key, query) => {
                w.u8(4);
                write_key(w, key);
                write_query(w, query);
            }
            Self::Unwatch(keys) => {
                w.u8(5);
                write_keys(w, keys);
            }
            Self::Own { session, settled, first, operations } => {
                w.u8(6);
                w.varint(*session);
                write_first(w, *first, *settled);
                if operations.len() > BATCH_OPERATIONS_MAX {
                    w.refuse(Invalid::TooMany("operations"));
                }
                operations.iter().for_each(|operation| write_operation(w, operation));
            }
        }
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Invalid> {
        Ok(match r.u8()? {
            0 => Self::Hello {
                client: ClientId(u128::from_be_bytes(r.array()?)),
                lifetime: match r.u8()? {
                    0 => Lifetime::Tab,
                    1 => Lifetime::Isolate,
                    _ => return Err(Invalid::Tag("lifetime")),
                },
                resume: read_option(r, read_session)?,
                capabilities: Capabilities::read(r)?,
            },
            1 => Self::Operations {
                session: read_session(r)?,
                settled: r.seq()?,
                first: r.seq()?,
                operations: r.list("operations", BATCH_OPERATIONS_MAX, OPERATION_BYTES_MIN, read_operation)?,
            },
            2 => Self::Subscribe(read_keys(r)?),
            3 => Self::Unsubscribe(read_keys(r)?),
            4 => Self::Watch(read_key(r)?, read_query(r)?),
            5 => Self::Unwatch(read_keys(r)?),
            6 => {
                let session = r.varint()?;
                let (first, settled) = read_first(r)?;
                let is_last = |r: &Reader<'_>| r.rest().is_empty();
                let operations = if is_last(r) {
                    Vec::new()
                } else {
                    r.chain("operations", BATCH_OPERATIONS_MAX, |r| Ok((read_operation(r)?, !is_last(r))))?
                };
                Self::Own { session, settled, first, operations }
            }
            _ => return Err(Invalid::Tag("message")),
        })
    }
}

/// The number of the first operation, and up to where all are settled: mostly all before it, which takes one bit.
fn write_first(w: &mut Writer, first: Seq, settled: Seq) {
    let is_apart = settled.next() != first;
    if first.0 > u64::MAX >> 1 {
        w.refuse(Invalid::Number);
    }
    w.varint(first.0 << 1 | u64::from(is_apart));
    if is_apart {
        w.difference(first.0, settled.0);
    }
}

fn read_first(r: &mut Reader<'_>) -> Result<(Seq, Seq), Invalid> {
    let packed = r.varint()?;
    let first = packed >> 1;
    let settled = if packed & 1 == 0 { first.saturating_sub(1) } else { r.difference(first)? };
    Ok((Seq(first), Seq(settled)))
}

/// Flags of a state: the hub holds the key; another piece follows.
const HELD: u8 = 1;
const MORE: u8 = 1 << 1;

impl Message for HubToLeaf {
    const KIND: u8 = 2;

    fn capabilities(&self) -> Option<&Capabilities> {
        match self {
            Self::Welcome { capabilities, .. } => Some(capabilities),
            Self::Verdicts { .. }
            | Self::Expired(_)
            | Self::State { .. }
            | Self::Standings { .. }
            | Self::Again
            | Self::Refused(_) => None,
        }
    }

    fn is_lasting(&self) -> bool {
        matches!(self, Self::Welcome { .. } | Self::Refused(_))
    }

    fn write(&self, w: &mut Writer) {
        match self {
            Self::Welcome { hub, now, session, until, watermark, capabilities } => {
                w.u8(0);
                w.replica(*hub);
                w.time(*now);
                write_session(w, *session);
                w.time(*until);
                w.seq(*watermark);
                capabilities.write(w);
            }
            Self::Verdicts { session, through, accepted, refused } => {
                w.u8(1);
                write_session(w, *session);
                w.seq(*through);
                w.count(accepted.len());
                for (seq, after, through) in accepted {
                    w.seq(*seq);
                    w.no(*after);
                    w.no(*through);
                }
                w.count(refused.len());
                for (seq, error) in refused {
                    w.seq(*seq);
                    w.plain(error);
                }
            }
            Self::Expired(session) => {
                w.u8(2);
                write_session(w, *session);
            }
            Self::State { push, key, delta, held, more, session, watermark } => {
                w.u8(3);
                w.varint(*push);
                write_key(w, key);
                w.u8(if *held { HELD } else { 0 } | if *more { MORE } else { 0 });
                write_session(w, *session);
                w.seq(*watermark);
                write_delta(w, delta);
            }
            Self::Again => w.u8(4),
            Self::Refused(refusal) => {
                w.u8(5);
                write_refusal(w, refusal);
            }
            Self::Standings { key, standings, held, session, watermark } => {
                w.u8(6);
                write_key(w, key);
                w.u8((*held).into());
                write_session(w, *session);
                w.seq(*watermark);
                write_standings(w, standings);
            }
        }
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Invalid> {
        Ok(match r.u8()? {
            0 => Self::Welcome {
                hub: r.replica()?.1,
                now: r.time()?,
                session: read_session(r)?,
                until: r.time()?,
                watermark: r.seq()?,
                capabilities: Capabilities::read(r)?,
            },
            1 => Self::Verdicts {
                session: read_session(r)?,
                through: r.seq()?,
                accepted: r.list("verdicts", VERDICTS_MAX, ACCEPTED_BYTES_MIN, |r| Ok((r.seq()?, r.no()?, r.no()?)))?,
                refused: r.list("verdicts", VERDICTS_MAX, REFUSED_BYTES_MIN, |r| {
                    Ok((r.seq()?, r.plain::<CommandError>()?))
                })?,
            },
            2 => Self::Expired(read_session(r)?),
            3 => {
                let (push, key, flags) = (r.varint()?, read_key(r)?, r.u8()?);
                if flags & !(HELD | MORE) != 0 {
                    return Err(Invalid::Tag("state"));
                }
                let (held, more) = (flags & HELD != 0, flags & MORE != 0);
                let (session, watermark) = (read_session(r)?, r.seq()?);
                Self::State { push, key, delta: read_delta(r)?, held, more, session, watermark }
            }
            4 => Self::Again,
            5 => Self::Refused(read_refusal(r)?),
            6 => {
                let (key, held) = (read_key(r)?, r.bool()?);
                let (session, watermark) = (read_session(r)?, r.seq()?);
                Self::Standings { key, standings: read_standings(r)?, held, session, watermark }
            }
            _ => return Err(Invalid::Tag("message")),
        })
    }
}

pub(super) fn write_refusal(w: &mut Writer, refusal: &Refusal) {
    w.u8(refusal.cause.tag());
    w.bytes(refusal.detail.as_bytes());
}

pub(super) fn read_refusal(r: &mut Reader<'_>) -> Result<Refusal, Invalid> {
    Ok(Refusal { cause: RefusalCause::from_tag(r.u8()?), detail: r.string("refusal", REFUSAL_BYTES_MAX)? })
}

fn write_query(w: &mut Writer, query: &StandingsQuery) {
    if query.top > STANDINGS_TOP_MAX || query.members.len() > STANDINGS_MEMBERS_MAX {
        w.refuse(Invalid::TooMany("standings"));
    }
    w.varint(query.top.into());
    w.count(query.members.len());
    query.members.iter().for_each(|member| w.bytes(member));
}

fn read_query(r: &mut Reader<'_>) -> Result<StandingsQuery, Invalid> {
    let top = u32::try_from(r.varint()?).ok().filter(|top| *top <= STANDINGS_TOP_MAX);
    let top = top.ok_or(Invalid::TooMany("standings"))?;
    Ok(StandingsQuery { top, members: r.list("standings", STANDINGS_MEMBERS_MAX, 1, read_member)? })
}

fn write_standings(w: &mut Writer, standings: &Standings) {
    w.varint(standings.size);
    w.count(standings.top.len());
    for (member, score) in &standings.top {
        w.bytes(member);
        w.float(*score);
    }
    w.count(standings.members.len());
    for (member, place) in &standings.members {
        w.bytes(member);
        write_option(w, place.as_ref(), |w, place| {
            w.varint(place.rank);
            w.float(place.score);
        });
    }
}

fn read_standings(r: &mut Reader<'_>) -> Result<Standings, Invalid> {
    let place = |r: &mut Reader<'_>| Ok(Place { rank: r.varint()?, score: read_score(r)? });
    Ok(Standings {
        size: r.varint()?,
        top: r.list("standings", STANDINGS_TOP_MAX as usize, 2, |r| Ok((read_member(r)?, read_score(r)?)))?,
        members: r.list("standings", STANDINGS_MEMBERS_MAX, 2, |r| Ok((read_member(r)?, read_option(r, place)?)))?,
    })
}

fn read_member(r: &mut Reader<'_>) -> Result<Bytes, Invalid> {
    r.bytes("member", VALUE_BYTES_MAX)
}

fn read_score(r: &mut Reader<'_>) -> Result<f64, Invalid> {
    r.float().and_then(|score| if score.is_nan() { Err(Invalid::Score) } else { Ok(score) })
}

pub(super) fn write_keys(w: &mut Writer, keys: &[Key]) {
    if keys.len() > KEYS_LISTED_MAX {
        w.refuse(Invalid::TooMany("keys"));
    }
    w.count(keys.len());
    keys.iter().for_each(|key| write_key(w, key));
}

pub(super) fn read_keys(r: &mut Reader<'_>) -> Result<Vec<Key>, Invalid> {
    r.list("keys", KEYS_LISTED_MAX, 1, read_key)
}

pub(super) fn write_option<T>(w: &mut Writer, option: Option<&T>, write: impl FnOnce(&mut Writer, &T)) {
    w.u8(option.is_some().into());
    if let Some(value) = option {
        write(w, value);
    }
}

pub(super) fn read_option<T>(
    r: &mut Reader<'_>,
    read: impl FnOnce(&mut Reader<'_>) -> Result<T, Invalid>,
) -> Result<Option<T>, Invalid> {
    if r.bool()? { read(r).map(Some) } else { Ok(None) }
}

fn write_session(w: &mut Writer, session: SessionId) {
    w.replica(session.hub);
    w.raw(&session.client.0.to_be_bytes());
    w.varint(session.no);
}

fn read_session(r: &mut Reader<'_>) -> Result<SessionId, Invalid> {
    Ok(SessionId { hub: r.replica()?.1, client: ClientId(u128::from_be_bytes(r.array()?)), no: r.varint()? })
}

const _: () = assert!(BATCH_OPERATIONS_MAX <= VERDICTS_MAX && PENDING_OPERATIONS_MAX <= VERDICTS_MAX);
