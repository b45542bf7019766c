//! A commit as the arguments of the compare-and-set, and its answer as an outcome. `commit.lua` reads this order.

use super::{
    RedisStoreError, names,
    plain::{Ordered, check_guard},
    script::Request,
};
use bytes::Bytes;
use headwater::{
    id::{Key, ReplicaId},
    store::{Commit, Expected, KeyCommit, MarkerChange, Otherwise, Outcome, Plain},
};
use redis::Value;

/// The part of a call that is a commit.
pub(super) fn encode(commit: &Commit) -> Result<Request, RedisStoreError> {
    let slot = commit.slot;
    let mut request = Request::default();
    request.keys.push(names::marker(slot).into_bytes());
    request.keys.push(names::feed(slot).into_bytes());
    let mut ordered = Vec::with_capacity(commit.keys.len());
    for part in &commit.keys {
        if part.key.slot() != slot {
            return Err(RedisStoreError::Slot { key: part.key.clone() });
        }
        request.keys.push(names::companion(slot, &part.key));
        request.keys.push(part.key.as_bytes().to_vec());
        part.plain.guards.iter().try_for_each(|guard| check_guard(&part.key, &guard.read))?;
        ordered.push(Ordered::new(&part.key, &part.plain.commands)?);
    }

    let words = &mut request.arguments;
    words.push(commit.fence.map_or(Bytes::new(), replica));
    words.push(number(commit.expected_seq));
    words.push(Bytes::from(slot.to_string()));
    words.push(number(commit.marker.seq));
    for part in &commit.keys {
        words.push(part.expected_version.map_or(Bytes::new(), number));
        words.push(expectation(&part.plain));
    }
    for part in &commit.keys {
        push_guards(words, &part.plain);
    }
    for part in &ordered {
        push_commands(words, &part.may_fail);
    }
    for (part, ordered) in commit.keys.iter().zip(&ordered) {
        push_commands(words, &ordered.cannot_fail);
        push_companion(words, part);
    }
    push_marker(words, &commit.marker);
    Ok(request)
}

/// What the call answered.
pub(super) fn decode(commit: &Commit, answer: Value) -> Result<Outcome, RedisStoreError> {
    let Value::Array(items) = answer else { return Err(RedisStoreError::Answer("a commit's outcome is no array")) };
    let mut items = items.into_iter();
    let Some(Value::BulkString(outcome)) = items.next() else {
        return Err(RedisStoreError::Answer("a commit's outcome has no name"));
    };
    let keys = items.map(|item| key_at(commit, &item)).collect::<Result<Vec<Key>, _>>()?;
    match outcome.as_slice() {
        b"committed" if keys.is_empty() => Ok(Outcome::Committed),
        b"committed" => Ok(Outcome::Drifted(keys)),
        b"moved" => Ok(Outcome::Moved(keys)),
        b"stale" => Ok(Outcome::Stale),
        b"conflict" => Ok(Outcome::Conflict(keys)),
        b"missing" => Ok(Outcome::Missing(keys)),
        b"foreign" => Ok(Outcome::Foreign(keys)),
        _ => Err(RedisStoreError::Answer("a commit's outcome has an unknown name")),
    }
}

/// Lua counts from 1.
fn key_at(commit: &Commit, item: &Value) -> Result<Key, RedisStoreError> {
    let index = if let Value::Int(index) = item { usize::try_from(*index).ok() } else { None };
    index
        .and_then(|index| commit.keys.get(index.checked_sub(1)?))
        .map(|part| part.key.clone())
        .ok_or(RedisStoreError::Answer("a commit's outcome names no key of the commit"))
}

/// Where no command follows, whatever stands there is right.
fn expectation(plain: &Plain) -> Bytes {
    match plain.expected {
        _ if plain.commands.is_empty() => Bytes::new(),
        Expected::Absent => word("none"),
        Expected::Present(kind) => word(kind.redis_name()),
        Expected::AbsentOr(kind) => Bytes::from(format!("?{}", kind.redis_name())),
    }
}

/// A command or read without its second word, which is the key.
fn push_words(words: &mut Vec<Bytes>, command: &[Bytes]) {
    words.push(count(command.len().saturating_sub(1)));
    words.extend(command.iter().take(1).chain(command.iter().skip(2)).cloned());
}

fn push_commands(words: &mut Vec<Bytes>, commands: &[Vec<Bytes>]) {
    words.push(count(commands.len()));
    commands.iter().for_each(|command| push_words(words, command));
}

/// Without commands nothing can be overwritten.
fn push_guards(words: &mut Vec<Bytes>, plain: &Plain) {
    let guards = if plain.commands.is_empty() { &[][..] } else { &plain.guards };
    words.push(count(guards.len()));
    for guard in guards {
        push_words(words, &guard.read);
        words.push(guard.answer.as_ref().map_or(Bytes::new(), |answer| [b"=", &answer[..]].concat().into()));
        words.push(word(match guard.otherwise {
            Otherwise::Refuse => "refuse",
            Otherwise::RefuseLess => "less",
            Otherwise::Tell => "tell",
        }));
    }
}

fn push_companion(words: &mut Vec<Bytes>, part: &KeyCommit) {
    if part.forget {
        words.push(Bytes::new());
        return;
    }
    words.push(number(part.version));
    words.push(part.expire_at.map_or(Bytes::new(), |at| Bytes::from(at.0.to_string())));
    push_list(words, part.delete.clone());
    push_list(words, part.put.iter().cloned().flat_map(|(field, body)| [field, body]).collect());
}

fn push_marker(words: &mut Vec<Bytes>, change: &MarkerChange) {
    let mut put = vec![word("n"), number(change.no.0)];
    let mut delete = Vec::new();
    if let Some((incarnation, run_id, previous)) = &change.open {
        put.extend([word("i"), replica(*incarnation), word("r"), run_id.clone()]);
        match previous {
            Some((before, seq)) => put.extend([word("p"), Bytes::from(format!("{}:{seq}", before.to_bits()))]),
            None => delete.push(word("p")),
        }
    }
    for (hub, no) in &change.hubs {
        put.extend([Bytes::from(format!("h{}", hub.to_bits())), number(no.0)]);
    }
    push_list(words, put);
    push_list(words, delete);
}

fn push_list(words: &mut Vec<Bytes>, list: Vec<Bytes>) {
    words.push(count(list.len()));
    words.extend(list);
}

fn word(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

fn number(number: u64) -> Bytes {
    Bytes::from(number.to_string())
}

fn count(count: usize) -> Bytes {
    Bytes::from(count.to_string())
}

fn replica(replica: ReplicaId) -> Bytes {
    number(replica.to_bits())
}
