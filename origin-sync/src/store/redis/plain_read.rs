//! What plain clients read at a key, asked for in the transaction that reads the companion.
//!
//! A transaction cannot branch, so a value is read in each of the ways in which it may be read: all but one fail at once, on
//! its type.

use super::{RedisStoreError, answer, names};
use bytes::Bytes;
use headwater::{
    id::{Key, TimestampMs},
    slot::Slot,
    store::{PlainRead, PlainValue},
};
use redis::{Arg, Pipeline, ServerErrorKind, Value, aio::MultiplexedConnection};
use std::collections::{BTreeMap, BTreeSet};

/// Adds a key's reads, of which [`take`] takes the answers.
pub(super) fn ask(pipe: &mut Pipeline, slot: Slot, key: &Key, tells_expiry: bool) -> Result<(), RedisStoreError> {
    if key.slot() != slot {
        return Err(RedisStoreError::Slot { key: key.clone() });
    }
    pipe.cmd("ZSCORE").arg(names::feed(slot)).arg(key.as_bytes());
    if tells_expiry {
        pipe.cmd("PEXPIRETIME").arg(key.as_bytes());
    }
    ask_value(pipe, key.as_bytes());
    Ok(())
}

/// Finds out on a key of no use whether this user may read, and whether the server tells when values end, which those before
/// Redis 7 do not.
pub(super) async fn check(connection: &mut MultiplexedConnection, slot: Slot) -> Result<bool, RedisStoreError> {
    let key = names::probe(slot);
    let mut pipe = redis::pipe();
    pipe.cmd("PEXPIRETIME").arg(&key);
    pipe.cmd("ZSCORE").arg(&key).arg(&key);
    ask_value(&mut pipe, key.as_bytes());
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

fn ask_value(pipe: &mut Pipeline, key: &[u8]) {
    pipe.cmd("TYPE").arg(key);
    pipe.cmd("GET").arg(key).cmd("SMEMBERS").arg(key).cmd("HGETALL").arg(key);
    pipe.cmd("ZRANGE").arg(key).arg(0).arg(-1).arg("WITHSCORES");
}

/// What was read of one key.
pub(super) fn take(
    next: &mut impl FnMut() -> Result<Value, RedisStoreError>,
    tells_expiry: bool,
) -> Result<PlainRead, RedisStoreError> {
    let is_listed = answered(next()?)? != Value::Nil;
    let ends = if tells_expiry { answered(next()?)? } else { Value::Int(-1) };
    let kind = text(next()?)?;
    let [string, set, hash, board] = [next()?, next()?, next()?, next()?];
    let expire_at = match ends {
        // No such value, or it does not end.
        Value::Int(-2 | -1) => None,
        Value::Int(at) => Some(TimestampMs(at)),
        _ => return Err(RedisStoreError::Answer("PEXPIRETIME answers no number")),
    };
    let value = match kind.as_str() {
        "none" => None,
        "string" => Some(PlainValue::String(answer::bytes(answered(string)?)?)),
        "set" => Some(PlainValue::Set(list(answered(set)?)?.into_iter().collect::<BTreeSet<Bytes>>())),
        "hash" => Some(PlainValue::Hash(answer::pairs(answered(hash)?)?.into_iter().collect())),
        "zset" => Some(PlainValue::Board(scores(answer::pairs(answered(board)?)?)?)),
        _ => Some(PlainValue::Other),
    };
    Ok(PlainRead { value, expire_at, tells_expiry, is_listed })
}

/// The value, unless the server refused to tell it.
fn answered(value: Value) -> Result<Value, RedisStoreError> {
    Ok(value.extract_error()?)
}

fn list(value: Value) -> Result<Vec<Bytes>, RedisStoreError> {
    match value {
        Value::Array(items) | Value::Set(items) => items.into_iter().map(answer::bytes).collect(),
        _ => Err(RedisStoreError::Answer("members are no array")),
    }
}

fn scores(pairs: Vec<(Bytes, Bytes)>) -> Result<BTreeMap<Bytes, f64>, RedisStoreError> {
    const MALFORMED: RedisStoreError = RedisStoreError::Answer("a score is no number");
    let score = |text: &Bytes| std::str::from_utf8(text).ok()?.parse().ok();
    pairs.into_iter().map(|(member, text)| Ok((member, score(&text).ok_or(MALFORMED)?))).collect()
}

fn text(value: Value) -> Result<String, RedisStoreError> {
    match answered(value)? {
        Value::SimpleString(text) => Ok(text),
        _ => Err(RedisStoreError::Answer("TYPE answers no name")),
    }
}
