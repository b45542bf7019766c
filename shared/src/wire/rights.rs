//! Requests for rights under strict limits, and the answers.

use super::{
    Invalid,
    reader::Reader,
    state::{read_key, write_key},
    writer::Writer,
};
use crate::{
    limit::{Algorithm, Limit, Wanted},
    limits::RIGHTS_REPORTED_MAX,
    message::{RightsAnswer, RightsRequest},
};

const FIXED: u8 = 0;
const SLIDING: u8 = 1;
const BUCKET: u8 = 2;

pub(crate) fn write_limit(w: &mut Writer, limit: &Limit) {
    w.u8(match limit.algorithm() {
        Algorithm::FixedWindow => FIXED,
        Algorithm::SlidingWindow => SLIDING,
        Algorithm::TokenBucket => BUCKET,
    });
    w.varint(limit.per_window());
    w.varint(limit.window_ms());
    if limit.algorithm() == Algorithm::TokenBucket {
        w.varint(limit.capacity());
    }
}

pub(crate) fn read_limit(r: &mut Reader<'_>) -> Result<Limit, Invalid> {
    let (algorithm, per_window, window_ms) = (r.u8()?, r.varint()?, r.varint()?);
    let limit = match algorithm {
        FIXED => Limit::fixed_window(per_window, window_ms),
        SLIDING => Limit::sliding_window(per_window, window_ms),
        BUCKET => Limit::token_bucket(per_window, window_ms, r.varint()?),
        _ => return Err(Invalid::Tag("limit")),
    };
    limit.map_err(|_no_limit| Invalid::Number)
}

/// Requests with how much of each was used.
pub(crate) fn write_used(w: &mut Writer, used: &[(u64, u64)]) {
    if used.len() > RIGHTS_REPORTED_MAX {
        w.refuse(Invalid::TooMany("requests"));
    }
    w.count(used.len());
    for (request, used) in used {
        w.varint(*request);
        w.varint(*used);
    }
}

pub(crate) fn read_used(r: &mut Reader<'_>) -> Result<Vec<(u64, u64)>, Invalid> {
    r.list("requests", RIGHTS_REPORTED_MAX, 2, |r| Ok((r.varint()?, r.varint()?)))
}

pub(super) fn write_rights_request(w: &mut Writer, asked: &RightsRequest) {
    let RightsRequest { key, request, limit, wanted, used } = asked;
    write_key(w, key);
    w.varint(*request);
    write_limit(w, limit);
    w.varint(wanted.least);
    w.varint(wanted.needed);
    w.varint(wanted.ahead);
    write_used(w, used);
}

/// What waits is at least the least, and no more than what is asked for with it.
pub(super) fn read_rights_request(r: &mut Reader<'_>) -> Result<RightsRequest, Invalid> {
    let (key, request, limit) = (read_key(r)?, r.varint()?, read_limit(r)?);
    let wanted = Wanted { least: r.varint()?, needed: r.varint()?, ahead: r.varint()? };
    if wanted.least > wanted.ahead || wanted.needed > wanted.ahead {
        return Err(Invalid::Range);
    }
    Ok(RightsRequest { key, request, limit, wanted, used: read_used(r)? })
}

pub(super) fn write_rights_answer(w: &mut Writer, answer: &RightsAnswer) {
    let RightsAnswer { key, request, granted, lease_ms, room, retry_ms, is_silent } = answer;
    write_key(w, key);
    w.varint(*request);
    w.varint(*granted);
    w.varint(*lease_ms);
    w.varint(*room);
    w.varint(*retry_ms);
    w.u8((*is_silent).into());
}

pub(super) fn read_rights_answer(r: &mut Reader<'_>) -> Result<RightsAnswer, Invalid> {
    Ok(RightsAnswer {
        key: read_key(r)?,
        request: r.varint()?,
        granted: r.varint()?,
        lease_ms: r.varint()?,
        room: r.varint()?,
        retry_ms: r.varint()?,
        is_silent: r.bool()?,
    })
}
