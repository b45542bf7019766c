//! The scripts of `@upstash/ratelimit`: their replies, to the unit, over states that merge.
//!
//! A window's key is a counter, so what two hubs counted that could not see each other both counts once they meet. A bucket is
//! the hash that the script writes, with one difference below: `tokens` is what the last refill wrote plus all that was
//! taken, where a refill resets nothing of what was taken. So two hubs that refill at once and know nothing of each other
//! come to one refill and both takings.
//!
//! Windows and buckets end by themselves. A bucket's deadline only ever moves on: one that outlives the time in which it
//! fills is full.

use super::{Prepared, Subject, View, hash, keys, set, string, subject::fresh};
use crate::{
    command::{CommandError, CommandName, Expiry, Place, Reply, Script, deadline_after},
    id::{Key, TimestampMs},
    state::{Effect, Element, ElementId, Increment, Kind, NewBase, Operation, parse_integer},
};
use bytes::Bytes;

const REFILLED_AT: Bytes = Bytes::from_static(b"refilledAt");
const TOKENS: Bytes = Bytes::from_static(b"tokens");

/// What the scripts return for a request that is refused, and for a bucket that is not there.
const NONE: i64 = -1;

/// How long a list of addresses that ended counts as being fetched, in milliseconds.
const PENDING_MS: i64 = 30_000;

/// What TTL answers for a key that is not there.
const NO_KEY: i64 = -2;

pub(super) fn answer<'a>(
    script: &Script,
    keys: &[Key],
    name: CommandName,
    view: impl Fn(&Key) -> View<'a>,
    now: TimestampMs,
) -> Result<Prepared, CommandError> {
    if let Script::Reset { .. } = script {
        return Ok(Prepared { reply: Reply::Nil, ..keys::del(keys, view, now) });
    }
    let mut subjects = keys.iter().map(|key| Subject::new(key, view(key), now));
    let Some(key) = subjects.next() else { return Err(CommandError::Empty) };
    let arity = CommandError::WrongArity(name);
    match script {
        Script::FixedWindow { limit, window_ms, by } => {
            let limit = effective(*limit, subjects.next())?;
            let (total, operations) = count(key, *by, *window_ms, name)?;
            Ok(Prepared { reply: integers([total, limit]), operations })
        }
        Script::FixedWindowLeft { limit } => {
            let limit = effective(*limit, subjects.next())?;
            Ok(integers([limit.saturating_sub(counted(&key)?), limit]).into())
        }
        Script::SlidingWindow { limit, place, by } => {
            let previous = place.weighted(counted(&subjects.next().ok_or(arity)?)?);
            let limit = effective(*limit, subjects.next())?;
            if *by > 0 && previous.saturating_add(counted(&key)?) >= limit {
                return Ok(integers([NONE, limit]).into());
            }
            let (total, operations) = count(key, *by, twice(place), name)?;
            Ok(Prepared { reply: integers([limit.saturating_sub(total.saturating_add(previous)), limit]), operations })
        }
        Script::SlidingWindowLeft { limit, place } => {
            let previous = place.weighted(counted(&subjects.next().ok_or(arity)?)?);
            let limit = effective(*limit, subjects.next())?;
            Ok(integers([limit.saturating_sub(previous.saturating_add(counted(&key)?)), limit]).into())
        }
        Script::TokenBucket { capacity, interval_ms, refill, now_ms, by } => {
            let capacity = effective(*capacity, subjects.next())?;
            let refill = Refill { capacity, interval_ms: *interval_ms, amount: *refill };
            take(key, refill, *now_ms, *by, name)
        }
        Script::TokenBucketLeft { capacity } => {
            let capacity = effective(*capacity, subjects.next())?;
            let bucket = Bucket::of(&key)?.unwrap_or(Bucket { refilled_at_ms: NONE, tokens: capacity });
            Ok(integers([bucket.tokens, bucket.refilled_at_ms, capacity]).into())
        }
        Script::CachedFixedWindow { window_ms, by } => {
            let (total, operations) = count(key, *by, *window_ms, name)?;
            Ok(Prepared { reply: Reply::Int(total), operations })
        }
        Script::CachedFixedWindowUsed => Ok(match string::value(&key)?.reply {
            Reply::Nil => Reply::Int(0),
            counted => counted,
        }
        .into()),
        Script::RegionsFixedWindow { request, window_ms, by } => {
            let first = requests(&key)?.iter().all(|(noted, _)| noted == request);
            let operations = note(&key, request, *by, first.then_some(*window_ms), name)?;
            let mut listed = requests(&key)?;
            listed.retain(|(noted, _)| noted != request);
            listed.push((request.clone(), by.to_string().into()));
            Ok(Prepared { reply: listing(&listed), operations })
        }
        Script::RegionsFixedWindowUsed => hash::all(&key),
        Script::RegionsSlidingWindow { limit, place, request, by } => {
            let (current, previous) = (requests(&key)?, requests(&subjects.next().ok_or(arity)?)?);
            let used = sum(&current)?;
            let all = sum(&previous)? as f64 * place.left() + used as f64 + *by as f64;
            let is_allowed = *by <= 0 || all <= *limit as f64;
            let begins = (used == 0).then_some(twice(place));
            let operations = if is_allowed { note(&key, request, *by, begins, name)? } else { Vec::new() };
            // Lua's true is 1 and its false is nil.
            let verdict = if is_allowed { Reply::Int(1) } else { Reply::Nil };
            Ok(Prepared { reply: Reply::Array(vec![listing(&current), listing(&previous), verdict]), operations })
        }
        Script::RegionsSlidingWindowUsed { place } => {
            let previous = place.weighted(sum(&requests(&subjects.next().ok_or(arity)?)?)?);
            Ok(Reply::Int(sum(&requests(&key)?)?.saturating_add(previous)).into())
        }
        Script::DenyList { members } => {
            let status = subjects.next().ok_or(arity)?;
            let denied = set::are_members(&key, members)?;
            let left = keys::time_to_live(&status, keys::Unit::Seconds).reply;
            let operations = if left == Reply::Int(NO_KEY) {
                let until = deadline_after(now, PENDING_MS, name)?;
                string::set(status, &Bytes::from_static(b"pending"), Expiry::At(until))?.operations
            } else {
                Vec::new()
            };
            Ok(Prepared { reply: Reply::Array(vec![denied, left]), operations })
        }
        Script::Reset { .. } => Err(CommandError::Empty),
    }
}

fn integers(numbers: impl IntoIterator<Item = i64>) -> Reply {
    numbers.into_iter().map(Reply::Int).collect()
}

/// The limit that a key sets, or else the argument's.
fn effective(limit: i64, dynamic: Option<Subject<'_>>) -> Result<i64, CommandError> {
    match dynamic.filter(|key| !key.key.as_bytes().is_empty()) {
        Some(key) => Ok(number(&key, &ElementId::String)?.unwrap_or(limit)),
        None => Ok(limit),
    }
}

fn number(key: &Subject<'_>, id: &ElementId) -> Result<Option<i64>, CommandError> {
    let element = key.element_present(id)?;
    element.map(|element| element.integer().map_err(|_not_an_integer| CommandError::NotAnInteger)).transpose()
}

/// What a window's key has come to.
fn counted(key: &Subject<'_>) -> Result<i64, CommandError> {
    Ok(number(key, &ElementId::String)?.unwrap_or(0))
}

/// How long the key of a sliding window lives: also through the window after it.
fn twice(place: &Place) -> i64 {
    place.window_ms.saturating_mul(2).saturating_add(1000)
}

/// INCRBY, and PEXPIRE where that is the first.
fn count(key: Subject<'_>, by: i64, lives_ms: i64, name: CommandName) -> Result<(i64, Vec<Operation>), CommandError> {
    let total = counted(&key)?.checked_add(by).ok_or(CommandError::Overflow)?;
    let end = deadline_after(key.now, lives_ms, name)?;
    let mut effects = key.begun_until(end);
    if key.shown.is_some() && total == by {
        effects.push(key.ends_at(end));
    }
    effects.push(Effect::Add { element: ElementId::String, by: Increment::Int(by.into()) });
    Ok((total, key.done(Reply::Nil, effects).operations))
}

/// The requests that a window's hash notes, with what each cost.
fn requests(key: &Subject<'_>) -> Result<Vec<(Bytes, Bytes)>, CommandError> {
    let elements = key.elements(Kind::Hash)?.into_iter();
    Ok(elements.filter_map(|(id, element)| Some((id.name(), element.value()?))).collect())
}

fn sum(requests: &[(Bytes, Bytes)]) -> Result<i64, CommandError> {
    requests.iter().try_fold(0_i64, |sum, (_, cost)| {
        sum.checked_add(parse_integer(cost).ok_or(CommandError::HashNotAnInteger)?).ok_or(CommandError::Overflow)
    })
}

fn listing(requests: &[(Bytes, Bytes)]) -> Reply {
    requests.iter().flat_map(|(noted, cost)| [noted.clone(), cost.clone()]).map(Reply::Bulk).collect()
}

/// HSET of a request, and PEXPIRE where it is the first.
fn note(
    key: &Subject<'_>,
    request: &Bytes,
    by: i64,
    begins: Option<i64>,
    name: CommandName,
) -> Result<Vec<Operation>, CommandError> {
    let end = begins.map(|lives_ms| deadline_after(key.now, lives_ms, name)).transpose()?;
    let mut effects = match end {
        Some(end) if key.shown.is_some() => vec![key.ends_at(end)],
        Some(end) => key.begun_until(end),
        None => key.afresh(),
    };
    effects.push(key.write(ElementId::Field(request.clone()), Some(NewBase::Bytes(by.to_string().into()))));
    Ok(vec![Operation { key: key.key.clone(), at: key.now, effects }])
}

/// How a bucket fills.
#[derive(Clone, Copy)]
struct Refill {
    capacity: i64,
    interval_ms: i64,
    amount: i64,
}

/// A bucket as its hash shows it.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Bucket {
    refilled_at_ms: i64,
    tokens: i64,
}

impl Bucket {
    fn of(key: &Subject<'_>) -> Result<Option<Self>, CommandError> {
        let refilled_at_ms = number(key, &ElementId::Field(REFILLED_AT))?;
        let tokens = number(key, &ElementId::Field(TOKENS))?;
        Ok(refilled_at_ms.zip(tokens).map(|(refilled_at_ms, tokens)| Self { refilled_at_ms, tokens }))
    }

    /// After all whole intervals that have passed.
    fn refilled(self, refill: Refill, now_ms: i64) -> Self {
        let passed = now_ms.saturating_sub(self.refilled_at_ms).checked_div(refill.interval_ms).unwrap_or(0);
        if passed <= 0 {
            return self;
        }
        let brought = passed.saturating_mul(refill.amount);
        Self {
            refilled_at_ms: self.refilled_at_ms.saturating_add(passed.saturating_mul(refill.interval_ms)),
            tokens: self.tokens.saturating_add(brought).min(refill.capacity),
        }
    }
}

/// Takes `by` tokens, unless there are fewer.
fn take(key: Subject<'_>, refill: Refill, now_ms: i64, by: i64, name: CommandName) -> Result<Prepared, CommandError> {
    let stored = Bucket::of(&key)?;
    let full = Bucket { refilled_at_ms: now_ms, tokens: refill.capacity };
    let bucket = stored.unwrap_or(full).refilled(refill, now_ms);
    let next_refill = bucket.refilled_at_ms.saturating_add(refill.interval_ms);
    if by > 0 && bucket.tokens < by {
        return Ok(integers([NONE, next_refill, refill.capacity]).into());
    }
    let left = bucket.tokens.checked_sub(by).ok_or(CommandError::Overflow)?;
    let missing = refill.capacity.saturating_sub(left).max(0).unsigned_abs();
    let intervals = missing.div_ceil(refill.amount.max(1).unsigned_abs());
    let fills_in_ms = i64::try_from(intervals).unwrap_or(i64::MAX).saturating_mul(refill.interval_ms);
    let mut effects = lives_on(&key, fills_in_ms, name)?;
    if stored != Some(bucket) {
        let at = NewBase::Bytes(bucket.refilled_at_ms.to_string().into());
        effects.push(key.write(ElementId::Field(REFILLED_AT), Some(at)));
        effects.push(refilled_to(&key, bucket.tokens));
    }
    if by != 0 {
        let by = Increment::Int(i128::from(by).saturating_neg());
        effects.push(Effect::Add { element: ElementId::Field(TOKENS), by });
    }
    Ok(key.done(integers([left, next_refill, refill.capacity]), effects))
}

/// A bucket lives until it is full.
fn lives_on(key: &Subject<'_>, fills_in_ms: i64, name: CommandName) -> Result<Vec<Effect>, CommandError> {
    if fills_in_ms == 0 {
        return Ok(key.afresh());
    }
    let end = deadline_after(key.now, fills_in_ms, name)?;
    let mut effects = key.begun_until(end);
    if key.shown.is_some() && key.deadline.at().is_none_or(|own| own < end) {
        effects.push(key.ends_at(end));
    }
    Ok(effects)
}

/// A write under which the sum of what was taken stands, and that comes to `tokens` with it.
fn refilled_to(key: &Subject<'_>, tokens: i64) -> Effect {
    let id = ElementId::Field(TOKENS);
    let element = key.element(&id).filter(|_| !key.is_expired());
    let written = element.as_ref().and_then(Element::latest_bytes).and_then(|bytes| parse_integer(bytes)).unwrap_or(0);
    let shown = element.as_ref().and_then(|element| element.integer().ok()).unwrap_or(0);
    let taken = shown.saturating_sub(written);
    let mut write = fresh(id.clone(), NewBase::Bytes(tokens.saturating_sub(taken).to_string().into()));
    if let Effect::Write { seen, .. } = &mut write
        && !key.is_expired()
    {
        *seen = key.state.seen(&id).0;
    }
    write
}
