//! A commit as the arguments of the compare-and-set, and its answer as an outcome. `commit.lua` reads this order.

use super::{
    RedisStoreError, names,
    plain::{Command, Ordered, WORDS_MAX, check_guard},
    script::Commits,
    words::Words,
};
use headwater::{
    id::{Key, ReplicaId},
    store::{Commit, Expected, KeyCommit, MarkerChange, Otherwise, Outcome, Plain},
};
use redis::Value;

/// Commits as parts of a call.
pub(super) fn encode<'a>(commits: impl IntoIterator<Item = &'a Commit>) -> Result<Commits, RedisStoreError> {
    let mut all = Commits::default();
    let mut words = Words::default();
    for commit in commits {
        let names_before = all.request.keys.len();
        words.clear();
        push_commit(&mut all.request.keys, &mut words, commit)?;
        all.request.arguments.push_count(all.request.keys.len() - names_before);
        all.request.arguments.push_count(words.len());
        all.request.arguments.append(&words);
        all.count += 1;
    }
    Ok(all)
}

fn push_commit(keys: &mut Words, words: &mut Words, commit: &Commit) -> Result<(), RedisStoreError> {
    let slot = commit.slot;
    keys.push(names::marker(slot));
    keys.push(names::feed(slot));
    let mut ordered = Vec::with_capacity(commit.keys.len());
    for part in &commit.keys {
        if part.key.slot() != slot {
            return Err(RedisStoreError::Slot { key: part.key.clone() });
        }
        keys.push(names::companion(slot, &part.key));
        keys.push(part.key.as_bytes());
        part.plain.guards.iter().try_for_each(|guard| check_guard(&part.key, &guard.read))?;
        ordered.push(Ordered::new(&part.key, &part.plain.commands)?);
    }

    words.push_optional(commit.fence.map(ReplicaId::to_bits));
    words.push_number(commit.expected_seq);
    words.push_number(slot.get().into());
    words.push_number(commit.marker.seq);
    if commit.keys.iter().zip(&ordered).all(|(part, ordered)| begins(commit, part, ordered)) {
        words.push("new");
        push_beginnings(words, commit, &ordered);
    } else {
        words.push("");
        push_in_general(words, commit, &ordered);
    }
    push_marker(words, &commit.marker, commit.fence.is_some());
    Ok(())
}

/// Whether there is nothing to the key but that it is new: one command that cannot fail, fields that one more takes, no end, and
/// the commit's version.
fn begins(commit: &Commit, part: &KeyCommit, ordered: &Ordered<'_>) -> bool {
    let KeyCommit { expected_version: None, forget: false, expire_at: None, delete, plain, .. } = part else {
        return false;
    };
    let is_one = ordered.may_fail.is_empty() && ordered.cannot_fail.len() == 1;
    is_one
        && 2 * part.put.len() <= WORDS_MAX
        && delete.is_empty()
        && plain.expected == Expected::Absent
        && plain.guards.is_empty()
        && part.version == commit.marker.seq
}

/// Keys that begin. What those that follow each other have alike is said once.
fn push_beginnings(words: &mut Words, commit: &Commit, ordered: &[Ordered<'_>]) {
    let parts = commit.keys.iter().zip(ordered);
    let all: Vec<_> =
        parts.flat_map(|(part, ordered)| ordered.cannot_fail.iter().map(move |command| (*command, part))).collect();
    let are_alike = |((verb, words), part): &(Command<'_>, &KeyCommit),
                     ((other, others), next): &(Command<'_>, &KeyCommit)| {
        verb == other && words.len() == others.len() && part.put.len() == next.put.len()
    };
    for alike in all.chunk_by(are_alike) {
        let Some(((verb, arguments), part)) = alike.first() else { continue };
        words.push_count(alike.len());
        words.push(verb);
        words.push_count(arguments.len());
        words.push_count(2 * part.put.len());
        for ((_, arguments), part) in alike {
            arguments.iter().for_each(|word| words.push(word));
            push_pairs(words, part);
        }
    }
}

/// The keys of any commit.
fn push_in_general(words: &mut Words, commit: &Commit, ordered: &[Ordered<'_>]) {
    for part in &commit.keys {
        words.push_optional(part.expected_version);
        push_expectation(words, &part.plain);
    }
    for part in &commit.keys {
        push_guards(words, &part.plain);
    }
    for part in ordered {
        push_commands(words, &part.may_fail);
    }
    for (part, ordered) in commit.keys.iter().zip(ordered) {
        push_commands(words, &ordered.cannot_fail);
        push_companion(words, part);
    }
}

/// What the call answered of a commit.
pub(super) fn decode(commit: &Commit, answer: Value) -> Result<Outcome, RedisStoreError> {
    if matches!(answer, Value::Int(0)) {
        return Ok(Outcome::Committed);
    }
    let Value::Array(items) = answer else { return Err(RedisStoreError::Answer("a commit's outcome is no array")) };
    let mut items = items.into_iter();
    let Some(Value::BulkString(outcome)) = items.next() else {
        return Err(RedisStoreError::Answer("a commit's outcome has no name"));
    };
    let keys = items.map(|item| key_at(commit, &item)).collect::<Result<Vec<Key>, _>>()?;
    match outcome.as_slice() {
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
fn push_expectation(words: &mut Words, plain: &Plain) {
    match plain.expected {
        _ if plain.commands.is_empty() => words.push(""),
        Expected::Absent => words.push("none"),
        Expected::Present(kind) => words.push(kind.redis_name()),
        Expected::AbsentOr(kind) => words.push_parts(&[b"?", kind.redis_name().as_bytes()]),
    }
}

/// A command or read without its second word, which is the key.
fn push_words(words: &mut Words, (verb, arguments): Command<'_>) {
    words.push_count(1 + arguments.len());
    words.push(verb);
    arguments.iter().for_each(|word| words.push(word));
}

fn push_commands(words: &mut Words, commands: &[Command<'_>]) {
    words.push_count(commands.len());
    commands.iter().for_each(|command| push_words(words, *command));
}

/// Without commands nothing can be overwritten.
fn push_guards(words: &mut Words, plain: &Plain) {
    let guards = if plain.commands.is_empty() { &[][..] } else { &plain.guards };
    words.push_count(guards.len());
    for guard in guards {
        if let [verb, _key, arguments @ ..] = &*guard.read {
            push_words(words, (verb, arguments));
        }
        match &guard.answer {
            Some(answer) => words.push_parts(&[b"=", answer]),
            None => words.push(""),
        }
        words.push(match guard.otherwise {
            Otherwise::Refuse => "refuse",
            Otherwise::RefuseLess => "less",
            Otherwise::Tell => "tell",
        });
    }
}

fn push_companion(words: &mut Words, part: &KeyCommit) {
    if part.forget {
        words.push("");
        return;
    }
    words.push_number(part.version);
    match part.expire_at {
        Some(at) => words.push(at.0.to_string()),
        None => words.push(""),
    }
    words.push_count(part.delete.len());
    part.delete.iter().for_each(|field| words.push(field));
    push_fields(words, part);
}

fn push_fields(words: &mut Words, part: &KeyCommit) {
    words.push_count(2 * part.put.len());
    push_pairs(words, part);
}

fn push_pairs(words: &mut Words, part: &KeyCommit) {
    for (field, body) in &part.put {
        words.push(field);
        words.push(body);
    }
}

/// Where no marker `stands`, nothing of an earlier history of the slot does either.
fn push_marker(words: &mut Words, change: &MarkerChange, stands: bool) {
    let opened = change.open.as_ref().map_or(0, |(.., previous)| if previous.is_some() { 3 } else { 2 });
    words.push_count(2 * (1 + opened + change.hubs.len()));
    words.push("n");
    words.push_number(change.no.0);
    let mut is_first = false;
    if let Some((incarnation, run_id, previous)) = &change.open {
        words.push("i");
        words.push_number(incarnation.to_bits());
        words.push("r");
        words.push(run_id);
        is_first = previous.is_none() && stands;
        if let Some((before, seq)) = previous {
            words.push("p");
            words.push(format!("{}:{seq}", before.to_bits()));
        }
    }
    for (hub, no) in &change.hubs {
        words.push(format!("h{}", hub.to_bits()));
        words.push_number(no.0);
    }
    words.push_count(usize::from(is_first));
    if is_first {
        words.push("p");
    }
}
