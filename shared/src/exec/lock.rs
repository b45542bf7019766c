//! Locks with fencing tokens: HW.LOCK, HW.EXTEND and HW.UNLOCK.
//!
//! A lock is a hash: `owner`, `until` (when it ends, in milliseconds since 1970) and `token`, so any Redis client can read
//! who holds it. It is free where it has no owner or `until` has come. Whoever takes it gets a token that is greater than
//! all before: one more than the last, or what the clock says where that is more. The hash outlives the lock by
//! [`REMEMBERED_MS`], so that the next token follows the last also where another daemon's clock is behind; after that, and where
//! a server has lost the hash, the clock alone sees to it. Only the origin executes these commands, in one order.

use super::{Prepared, Subject};
use crate::{
    command::{CommandError, CommandName, LockAction, Reply},
    id::TimestampMs,
    state::{DeadlineChange, Effect, Element, ElementId, Kind, NewBase},
};
use bytes::Bytes;

/// How long the last token of a lock is remembered after the lock ended, in milliseconds: far more than clocks differ.
pub(crate) const REMEMBERED_MS: i64 = 3_600_000;

/// Tokens of one millisecond. With it a token stays below 2^53, which JSON numbers hold exactly, until the year 2109.
const TOKENS_PER_MS: i64 = 2_048;

/// A lock as it stands.
struct Lock {
    owner: Option<Bytes>,
    until: i64,
    token: i64,
}

pub(super) fn act(key: Subject<'_>, action: &LockAction) -> Result<Prepared, CommandError> {
    key.expect(Kind::Hash)?;
    let lock = Lock::of(&key)?;
    match action {
        LockAction::Take { owner, ttl_ms } => {
            let until = end(&key, *ttl_ms, CommandName::Lock)?;
            match lock.holder(key.now) {
                Some(holder) if holder == owner => Ok(prolonged(key, lock.token, until)),
                Some(_) => Ok(Reply::Nil.into()),
                None => taken(key, &lock, owner, until),
            }
        }
        LockAction::Extend { owner, ttl_ms } => {
            let until = end(&key, *ttl_ms, CommandName::Extend)?;
            let is_held = lock.holder(key.now) == Some(owner);
            Ok(if is_held { prolonged(key, lock.token, until) } else { Reply::Nil.into() })
        }
        LockAction::Release { owner } => {
            if lock.holder(key.now) != Some(owner) {
                return Ok(Reply::from(false).into());
            }
            let names = [Bytes::from_static(b"owner"), Bytes::from_static(b"until")];
            Ok(Prepared { reply: Reply::from(true), ..key.remove(Kind::Hash, &names)? })
        }
    }
}

impl Lock {
    fn of(key: &Subject<'_>) -> Result<Self, CommandError> {
        let field = |name: &'static [u8]| -> Result<Option<Bytes>, CommandError> {
            let element = key.element_present(&ElementId::Field(Bytes::from_static(name)))?;
            Ok(element.as_ref().and_then(Element::value))
        };
        let number = |value: Option<Bytes>| value.and_then(|value| crate::state::parse_integer(&value)).unwrap_or(0);
        Ok(Self { owner: field(b"owner")?, until: number(field(b"until")?), token: number(field(b"token")?) })
    }

    fn holder(&self, now: TimestampMs) -> Option<&Bytes> {
        self.owner.as_ref().filter(|_| now.0 < self.until)
    }
}

fn taken(key: Subject<'_>, lock: &Lock, owner: &Bytes, until: TimestampMs) -> Result<Prepared, CommandError> {
    let after = lock.token.checked_add(1).ok_or(CommandError::Overflow)?;
    let token = after.max(key.now.0.saturating_mul(TOKENS_PER_MS));
    let mut effects = remembered(&key, until);
    for (name, value) in [("owner", owner.clone()), ("until", text(until.0)), ("token", text(token))] {
        effects.push(written(&key, name, value));
    }
    Ok(key.done(Reply::Int(token), effects))
}

fn prolonged(key: Subject<'_>, token: i64, until: TimestampMs) -> Prepared {
    let mut effects = remembered(&key, until);
    effects.push(written(&key, "until", text(until.0)));
    key.done(Reply::Int(token), effects)
}

fn written(key: &Subject<'_>, name: &'static str, value: Bytes) -> Effect {
    key.write(ElementId::Field(Bytes::from_static(name.as_bytes())), Some(NewBase::Bytes(value)))
}

/// Keeps the hash for as long as its token is remembered. One that somebody made persistent stays so.
fn remembered(key: &Subject<'_>, until: TimestampMs) -> Vec<Effect> {
    let end = until.plus_ms(REMEMBERED_MS);
    match key.deadline.at() {
        _ if key.shown.is_none() => key.begun_until(end),
        Some(at) if at < end => vec![key.moves(DeadlineChange::Raise(end))],
        _ => Vec::new(),
    }
}

fn end(key: &Subject<'_>, ttl_ms: i64, name: CommandName) -> Result<TimestampMs, CommandError> {
    crate::command::deadline_after(key.now, ttl_ms, name)
}

fn text(number: i64) -> Bytes {
    number.to_string().into()
}
