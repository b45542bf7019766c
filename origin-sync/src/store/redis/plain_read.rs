//! What plain clients read at a key, asked for in the transaction that reads the companion.
//!
//! A transaction cannot branch, so a value is read as the type that is expected there. Where another one stands the
//! transaction is made again, and the value read in each of the ways in which it may be read: all but one fail at once, on
//! its type.

use super::{RedisStoreError, answer, names};
use bytes::Bytes;
use headwater::{
    id::{Key, TimestampMs},
    slot::Slot,
    state::Kind,
    store::{PlainRead, PlainValue},
};
use redis::{Arg, Pipeline, ServerErrorKind, Value, aio::MultiplexedConnection};
use std::collections::BTreeSet;

/// The types that are replicated.
const KINDS: [Kind; 4] = [Kind::String, Kind::Set, Kind::Hash, Kind::Board];

/// As what a value is read.
#[derive(Clone, Copy, Debug)]
pub(super) enum As {
    /// Only this type; with none the value is expected to be absent.
    Expected(Option<Kind>),
    /// Whatever it is.
    Any,
}

impl As {
    fn kinds(self) -> impl Iterator<Item = Kind> {
        KINDS.into_iter().filter(move |kind| match self {
            Self::Expected(expected) => expected == Some(*kind),
            Self::Any => true,
        })
    }
}

/// Adds a key's reads, of which [`take`] takes the answers.
pub(super) fn ask(pipe: &mut Pipeline, slot: Slot, key: &Key, read_as: As, tells_expiry: bool) {
    pipe.cmd("ZSCORE").arg(names::feed(slot)).arg(key.as_bytes());
    if tells_expiry {
        pipe.cmd("PEXPIRETIME").arg(key.as_bytes());
    }
    ask_value(pipe, key.as_bytes(), read_as);
}

/// Finds out on a key of no use whether this user may read, and whether the server tells when values end, which those before
/// Redis 7 do not.
pub(super) async fn check(connection: &mut MultiplexedConnection, slot: Slot) -> Result<bool, RedisStoreError> {
    let key = names::probe(slot);
    let mut pipe = redis::pipe();
    pipe.cmd("PEXPIRETIME").arg(&key);
    pipe.cmd("ZSCORE").arg(&key).arg(&key);
    ask_value(&mut pipe, key.as_bytes(), As::Any);
    let answers: Vec<Value> = pipe.ignore_errors().query_async(connection).await?;
    let mut tells_expiry = true;
    for (command, answer) in pipe.cmd_iter().zip(answers) {
        let Value::ServerError(error) = answer else { continue };
        let name = if let Some(Arg::Simple(name)) = command.args_iter().next() { name } else { b"" };
        let command = String::from_utf8_lossy(name).into_owned();
        if error.kind() == Some(ServerErrorKind::NoPerm) || command != "PEXPIRETIME" {
            return Err(RedisStoreError::Refused { command, error: error.to_string() });
        }
        tells_expiry = false;
    }
    Ok(tells_expiry)
}

fn ask_value(pipe: &mut Pipeline, key: &[u8], read_as: As) {
    pipe.cmd("TYPE").arg(key);
    for kind in read_as.kinds() {
        match kind {
            Kind::String => pipe.cmd("GET").arg(key),
            Kind::Set => pipe.cmd("SMEMBERS").arg(key),
            Kind::Hash => pipe.cmd("HGETALL").arg(key),
            Kind::Board => pipe.cmd("ZRANGE").arg(key).arg(0).arg(-1).arg("WITHSCORES"),
        };
    }
}

/// What was read of one key; nothing where it is of a type that was not expected.
pub(super) fn take(
    next: &mut impl FnMut() -> Result<Value, RedisStoreError>,
    read_as: As,
    tells_expiry: bool,
) -> Result<Option<PlainRead>, RedisStoreError> {
    let is_listed = answer::answered(next()?)? != Value::Nil;
    let ends = if tells_expiry { answer::answered(next()?)? } else { Value::Int(-1) };
    let name = text(next()?)?;
    let mut stands = None;
    for kind in read_as.kinds() {
        let read = next()?;
        if kind.redis_name() == name {
            stands = Some(value(kind, answer::answered(read)?)?);
        }
    }
    let is_replicated = KINDS.iter().any(|kind| kind.redis_name() == name);
    if is_replicated && stands.is_none() {
        return Ok(None);
    }
    let expire_at = match ends {
        // No such value, or it does not end.
        Value::Int(-2 | -1) => None,
        Value::Int(at) => Some(TimestampMs(at)),
        _ => return Err(RedisStoreError::Answer("PEXPIRETIME answers no number")),
    };
    let value = stands.or((name != "none").then_some(PlainValue::Other));
    Ok(Some(PlainRead { value, expire_at, tells_expiry, is_listed }))
}

fn value(kind: Kind, read: Value) -> Result<PlainValue, RedisStoreError> {
    Ok(match kind {
        Kind::String => PlainValue::String(answer::bytes(read)?),
        Kind::Set => PlainValue::Set(members(read)?),
        Kind::Hash => PlainValue::Hash(answer::pairs(read)?.into_iter().collect()),
        Kind::Board => {
            let scores = answer::pairs(read)?.into_iter().map(|(member, text)| Ok((member, score(&text)?)));
            PlainValue::Board(scores.collect::<Result<_, RedisStoreError>>()?)
        }
    })
}

fn members(value: Value) -> Result<BTreeSet<Bytes>, RedisStoreError> {
    match value {
        Value::Array(items) | Value::Set(items) => items.into_iter().map(answer::bytes).collect(),
        _ => Err(RedisStoreError::Answer("members are no array")),
    }
}

fn score(text: &Bytes) -> Result<f64, RedisStoreError> {
    let score = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    score.ok_or(RedisStoreError::Answer("a score is no number"))
}

fn text(value: Value) -> Result<String, RedisStoreError> {
    match answer::answered(value)? {
        Value::SimpleString(text) => Ok(text),
        _ => Err(RedisStoreError::Answer("TYPE answers no name")),
    }
}
