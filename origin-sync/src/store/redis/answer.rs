//! What Redis holds of a slot, read back into values. All of it is ours, so whatever does not parse is an error.

use super::{RedisStoreError, access::Node, cluster::Range};
use bytes::Bytes;
use headwater::{
    id::{Key, No, ReplicaId},
    slot::Slot,
    store::{Companion, Marker},
};
use redis::Value;
use std::collections::BTreeMap;

/// The answer, unless the server refused to give one.
pub(super) fn answered(value: Value) -> Result<Value, RedisStoreError> {
    Ok(value.extract_error()?)
}

/// A marker hash; none when it is empty.
pub(super) fn marker(answer: Value) -> Result<Option<Marker>, RedisStoreError> {
    let pairs = pairs(answer)?;
    if pairs.is_empty() {
        return Ok(None);
    }
    let (mut incarnation, mut run_id, mut seq, mut no, mut previous) = (None, None, None, None, None);
    let mut hubs = BTreeMap::new();
    for (field, value) in pairs {
        match field.as_ref() {
            b"i" => incarnation = Some(replica(&value)?),
            b"r" => run_id = Some(value),
            b"s" => seq = Some(number(&value)?),
            b"n" => no = Some(No(number(&value)?)),
            b"p" => previous = Some(opened_after(&value)?),
            [b'h', hub @ ..] => {
                hubs.insert(replica(hub)?, No(number(&value)?));
            }
            _ => return Err(RedisStoreError::Answer("a marker has an unknown field")),
        }
    }
    match (incarnation, run_id, seq, no) {
        (Some(incarnation), Some(run_id), Some(seq), Some(no)) => {
            Ok(Some(Marker { incarnation, run_id, seq, no, previous, hubs }))
        }
        _ => Err(RedisStoreError::Answer("a marker lacks a field")),
    }
}

/// A companion hash; none when it is empty.
pub(super) fn companion(answer: Value) -> Result<Option<Companion>, RedisStoreError> {
    let mut fields: BTreeMap<Bytes, Bytes> = pairs(answer)?.into_iter().collect();
    if fields.is_empty() {
        return Ok(None);
    }
    let version = fields.remove(&b"v"[..]).ok_or(RedisStoreError::Answer("a companion lacks its version"))?;
    Ok(Some(Companion { version: number(&version)?, fields }))
}

/// A range of the change feed with its scores.
pub(super) fn changed(answer: Value) -> Result<Vec<(Key, u64)>, RedisStoreError> {
    pairs(answer)?
        .into_iter()
        .map(|(name, score)| {
            let key = Key::new(name).map_err(RedisStoreError::FeedKey)?;
            Ok((key, number(&score)?))
        })
        .collect()
}

/// The run id that `INFO server` tells.
pub(super) fn run_id(info: &str) -> Result<Bytes, RedisStoreError> {
    info.lines()
        .find_map(|line| line.trim_end().strip_prefix("run_id:"))
        .filter(|id| !id.is_empty())
        .map(|id| Bytes::copy_from_slice(id.as_bytes()))
        .ok_or(RedisStoreError::Answer("INFO tells no run id"))
}

/// How many keys were evicted by what `INFO stats` tells.
pub(super) fn evictions(info: &Value) -> Result<u64, RedisStoreError> {
    const MALFORMED: RedisStoreError = RedisStoreError::Answer("INFO tells of no evictions");
    let text = match info {
        Value::BulkString(text) => std::str::from_utf8(text).ok(),
        Value::VerbatimString { text, .. } => Some(text.as_str()),
        _ => None,
    };
    let count = text.and_then(|text| text.lines().find_map(|line| line.trim_end().strip_prefix("evicted_keys:")));
    count.and_then(|count| count.parse().ok()).ok_or(MALFORMED)
}

/// Whether this answer of `ROLE` is a master's.
pub(super) fn is_master(role: &Value) -> bool {
    let Value::Array(items) = role else { return false };
    matches!(items.first(), Some(Value::BulkString(name)) if name == b"master")
}

/// How many replicas are connected, by a master's answer of `ROLE`.
pub(super) fn replicas(role: &Value) -> u32 {
    let Value::Array(items) = role else { return 0 };
    let Some(Value::Array(replicas)) = items.get(2).filter(|_| is_master(role)) else { return 0 };
    u32::try_from(replicas.len()).unwrap_or(u32::MAX)
}

/// The masters of a cluster by `CLUSTER SLOTS`, where a node without a name is `host`, the one that was asked.
pub(super) fn ranges(answer: Value, host: &str) -> Result<Vec<Range>, RedisStoreError> {
    const MALFORMED: RedisStoreError = RedisStoreError::Answer("CLUSTER SLOTS is malformed");
    let Value::Array(ranges) = answer else { return Err(MALFORMED) };
    let range = |range| {
        let Value::Array(items) = range else { return None };
        let [Value::Int(first), Value::Int(last), Value::Array(master), ..] = items.as_slice() else { return None };
        let host = match master.first()? {
            Value::BulkString(name) if !name.is_empty() => String::from_utf8(name.clone()).ok()?,
            Value::BulkString(_) | Value::Nil => host.to_owned(),
            _ => return None,
        };
        let Some(Value::Int(port)) = master.get(1) else { return None };
        let slot = |number: &i64| Slot::try_from(u16::try_from(*number).ok()?).ok();
        let node = Node { host, port: u16::try_from(*port).ok()? };
        Some(Range { first: slot(first)?, last: slot(last)?, node })
    };
    ranges.into_iter().map(|item| range(item).ok_or(MALFORMED)).collect()
}

pub(super) fn pairs(answer: Value) -> Result<Vec<(Bytes, Bytes)>, RedisStoreError> {
    match answer {
        Value::Array(items) => {
            let mut items = items.into_iter();
            let mut pairs = Vec::with_capacity(items.len() / 2);
            while let Some(first) = items.next() {
                let second = items.next().ok_or(RedisStoreError::Answer("pairs are odd"))?;
                pairs.push((bytes(first)?, bytes(second)?));
            }
            Ok(pairs)
        }
        Value::Map(items) => items.into_iter().map(|(first, second)| Ok((bytes(first)?, bytes(second)?))).collect(),
        _ => Err(RedisStoreError::Answer("pairs are no array")),
    }
}

pub(super) fn bytes(value: Value) -> Result<Bytes, RedisStoreError> {
    match value {
        Value::BulkString(bytes) => Ok(Bytes::from(bytes)),
        _ => Err(RedisStoreError::Answer("a value is no string")),
    }
}

fn opened_after(value: &[u8]) -> Result<(ReplicaId, u64), RedisStoreError> {
    let colon = value.iter().position(|&byte| byte == b':');
    let (before, seq) = colon
        .and_then(|at| Some((value.get(..at)?, value.get(at + 1..)?)))
        .ok_or(RedisStoreError::Answer("a marker's previous incarnation has no sequence"))?;
    Ok((replica(before)?, number(seq)?))
}

fn replica(text: &[u8]) -> Result<ReplicaId, RedisStoreError> {
    Ok(ReplicaId::from_bits(number(text)?))
}

fn number(text: &[u8]) -> Result<u64, RedisStoreError> {
    std::str::from_utf8(text)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or(RedisStoreError::Answer("a number is malformed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn array(words: &[&str]) -> Value {
        Value::Array(words.iter().map(|word| Value::BulkString(word.as_bytes().to_vec())).collect())
    }

    #[test]
    fn markers_keep_all_64_bits() {
        let max = u64::MAX.to_string();
        let hub = format!("h{max}");
        let previous = format!("{max}:{max}");
        let answer = array(&["i", &max, "r", "run", "s", &max, "n", &max, "p", &previous, &hub, &max]);
        let all = ReplicaId::from_bits(u64::MAX);
        let marker = marker(answer).unwrap().unwrap();
        assert_eq!((marker.incarnation, marker.seq, marker.no), (all, u64::MAX, No(u64::MAX)));
        assert_eq!(marker.previous, Some((all, u64::MAX)));
        assert_eq!(marker.hubs, BTreeMap::from([(all, No(u64::MAX))]));
    }

    #[test]
    fn what_is_not_ours_is_an_error() {
        assert!(marker(array(&["i", "1"])).is_err());
        assert!(marker(array(&["i", "x", "r", "run", "s", "1", "n", "1"])).is_err());
        assert!(companion(array(&["field", "body"])).is_err());
        assert!(companion(array(&["v", "1", "odd"])).is_err());
        assert!(run_id("# Server\r\n").is_err());
        assert_eq!(run_id("# Server\r\nrun_id:abc\r\n").unwrap(), "abc");
    }
}
