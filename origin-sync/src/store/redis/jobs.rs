//! A hub's jobs as a call of the library, and what it answers. `commit.lua` reads this order.

use super::{RedisStoreError, names, passage, script::Request};
use crate::store::RunError;
use bytes::Bytes;
use headwater::{
    id::{Key, No, ReplicaId},
    limits::ERROR_BYTES_MAX,
    message::RunReply,
    slot::Slot,
};
use redis::Value;
use std::collections::BTreeSet;

/// The jobs of one hub on keys of one slot, ascending by number. One without a command only counts as run.
#[derive(Clone, Debug)]
pub struct Jobs {
    /// Whose they are.
    pub hub: ReplicaId,
    /// The slot of their keys.
    pub slot: Slot,
    /// The number of each, and the command with its arguments.
    pub jobs: Vec<(No, Vec<Bytes>)>,
}

/// What became of them.
#[derive(Clone, PartialEq, Debug)]
pub struct JobsRun {
    /// All of the hub's jobs in the slot up to here have run.
    pub through: No,
    /// What Redis answered to those that ran now.
    pub replies: Vec<(No, RunReply)>,
}

/// What one call came to.
pub(super) struct Answered {
    pub(super) run: JobsRun,
    /// Why the next job has to wait, if it has.
    pub(super) put_off: Option<String>,
}

/// The call.
pub(super) fn encode(Jobs { hub, slot, jobs }: &Jobs) -> Result<Request, RedisStoreError> {
    let mut keys: BTreeSet<&[u8]> = BTreeSet::new();
    let mut request = Request::default();
    request.arguments.push_number(hub.to_bits());
    request.arguments.push_count(jobs.len());
    for (no, argv) in jobs {
        if let Some(key) = argv.get(1) {
            if Slot::of(key) != *slot {
                return Err(RedisStoreError::Slot { key: Key::new(key.clone()).map_err(RedisStoreError::FeedKey)? });
            }
            keys.insert(key);
        }
        request.arguments.push_number(no.0);
        request.arguments.push_count(argv.len());
        argv.iter().for_each(|word| request.arguments.push(word));
    }
    request.keys.push(names::jobs(*slot));
    keys.into_iter().for_each(|key| request.keys.push(key));
    Ok(request)
}

/// What the call answered.
pub(super) fn decode(answer: Value) -> Result<Answered, RedisStoreError> {
    let malformed = || RedisStoreError::Answer("jobs are answered in another shape");
    let Value::Array(parts) = answer else { return Err(malformed()) };
    let mut parts = parts.into_iter();
    let (Some(through), Some(Value::Array(ran))) = (parts.next(), parts.next()) else { return Err(malformed()) };
    let replies = ran.into_iter().map(|job| match job {
        Value::Array(parts) => {
            let [no, kind, reply] = <[Value; 3]>::try_from(parts).map_err(|_parts| malformed())?;
            Ok((number(&no).ok_or_else(malformed)?, self::reply(&kind, reply)))
        }
        _ => Err(malformed()),
    });
    let replies = replies.collect::<Result<_, RedisStoreError>>()?;
    let through = number(&through).ok_or_else(malformed)?;
    let put_off = parts.next().map(|why| text(&why));
    Ok(Answered { run: JobsRun { through, replies }, put_off })
}

fn reply(kind: &Value, reply: Value) -> RunReply {
    if text(kind) == "e" {
        let mut error = text(&reply);
        error.truncate(error.floor_char_boundary(ERROR_BYTES_MAX));
        return Err(error.into());
    }
    passage::reply(reply).map_err(|error: RunError| error.to_string().into())
}

fn number(value: &Value) -> Option<No> {
    text(value).parse().ok().map(No)
}

fn text(value: &Value) -> String {
    match value {
        Value::BulkString(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Value::SimpleString(text) => text.clone(),
        Value::Int(number) => number.to_string(),
        _ => String::new(),
    }
}
