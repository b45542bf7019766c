//! The commands that are a name, keys and an action.

use super::{Arguments, MS_PER_SECOND, TimeUnit, boards, bounded, deadline, integer, is};
use crate::{
    command::{
        Action, Combination, CommandError, CommandName, Expiry, HashAction, KeyAction, Keyed, LongDouble, Part, Scan,
        SetAction, StringAction,
    },
    id::{Key, TimestampMs},
    limits::{RANDOM_ELEMENTS_MAX, VALUE_BYTES_MAX},
};
use bytes::Bytes;

/// Elements that SCAN and its like look at where COUNT does not say.
const SCAN_COUNT: u64 = 10;

pub(super) fn keyed(args: &mut Arguments<'_>) -> Result<Keyed, CommandError> {
    let name = args.name;
    let (keys, action) = match name {
        CommandName::Time => (Vec::new(), Action::Time),
        CommandName::IncrByFloat
        | CommandName::Append
        | CommandName::StrLen
        | CommandName::GetRange
        | CommandName::SubStr
        | CommandName::SetRange
        | CommandName::MSet
        | CommandName::MGet
        | CommandName::GetSet
        | CommandName::SetEx
        | CommandName::PSetEx
        | CommandName::GetEx => {
            let (keys, action) = string(args)?;
            (keys, Action::String(action))
        }
        CommandName::Copy
        | CommandName::Revoke
        | CommandName::Revoked
        | CommandName::Rename
        | CommandName::Touch
        | CommandName::Unlink
        | CommandName::ExpireAt
        | CommandName::PExpireAt
        | CommandName::ExpireTime
        | CommandName::PExpireTime => {
            let (keys, action) = key(args)?;
            (keys, Action::Key(action))
        }
        CommandName::SMIsMember
        | CommandName::SMove
        | CommandName::SInter
        | CommandName::SInterStore
        | CommandName::SInterCard
        | CommandName::SUnion
        | CommandName::SUnionStore
        | CommandName::SDiff
        | CommandName::SDiffStore
        | CommandName::SRandMember
        | CommandName::SScan => {
            let (keys, action) = set(args)?;
            (keys, Action::Set(action))
        }
        CommandName::HMGet
        | CommandName::HMSet
        | CommandName::HExists
        | CommandName::HSetNx
        | CommandName::HIncrByFloat
        | CommandName::HKeys
        | CommandName::HVals
        | CommandName::HStrLen
        | CommandName::HRandField
        | CommandName::HScan => (vec![args.key()?], Action::Hash(hash(args)?)),
        _ => {
            let (keys, action) = boards::board(args)?;
            (keys, Action::Board(action))
        }
    };
    Ok(Keyed { name, keys, action })
}

fn string(args: &mut Arguments<'_>) -> Result<(Vec<Key>, StringAction), CommandError> {
    match args.name {
        CommandName::MSet => {
            let (keys, values) = args.key_values()?;
            return Ok((keys, StringAction::SetEach(values)));
        }
        CommandName::MGet => return Ok((args.keys()?, StringAction::Values)),
        _ => {}
    }
    let key = args.key()?;
    let action = match args.name {
        CommandName::IncrByFloat => StringAction::IncrementFloat(args.long_double()?),
        CommandName::Append => StringAction::Append(args.bytes(Part::Value)?),
        CommandName::StrLen => StringAction::Length,
        CommandName::GetRange | CommandName::SubStr => {
            StringAction::Range { start: args.integer()?, stop: args.integer()? }
        }
        CommandName::SetRange => {
            let offset = u64::try_from(args.integer()?).ok().ok_or(CommandError::OffsetOutOfRange)?;
            let value = args.bytes(Part::Value)?;
            let end = offset.saturating_add(value.len() as u64);
            if !value.is_empty() && end > VALUE_BYTES_MAX as u64 {
                return Err(CommandError::too_long(Part::Value));
            }
            StringAction::Overwrite { offset, value }
        }
        CommandName::SetEx | CommandName::PSetEx => {
            let ms_each = if args.name == CommandName::SetEx { MS_PER_SECOND } else { 1 };
            let after_ms = args.integer()?.checked_mul(ms_each).filter(|ms| *ms > 0);
            let after_ms = after_ms.ok_or(CommandError::InvalidExpireTime(args.name))?;
            StringAction::SetFor { after_ms, value: args.bytes(Part::Value)? }
        }
        CommandName::GetEx => StringAction::ValueAndExpiry(value_and_expiry(args)?),
        _ => StringAction::Replace(args.bytes(Part::Value)?),
    };
    Ok((vec![key], action))
}

/// The options of GETEX, of which one may be named.
fn value_and_expiry(args: &mut Arguments<'_>) -> Result<Expiry, CommandError> {
    let (mut persist, mut timed): (bool, Option<(TimeUnit, &Bytes)>) = (false, None);
    while let Some(option) = args.next() {
        if is(option, "persist") && timed.is_none() {
            persist = true;
        } else if let Some(unit) = TimeUnit::find(option)
            && !persist
            && timed.is_none_or(|(other, _)| other == unit)
        {
            timed = Some((unit, args.next().ok_or(CommandError::Syntax)?));
        } else {
            return Err(CommandError::Syntax);
        }
    }
    match timed {
        Some((unit, number)) => unit.expiry(number, CommandName::GetEx),
        None if persist => Ok(Expiry::None),
        None => Ok(Expiry::Keep),
    }
}

fn key(args: &mut Arguments<'_>) -> Result<(Vec<Key>, KeyAction), CommandError> {
    Ok(match args.name {
        CommandName::Copy => {
            let keys = vec![args.key()?, args.key()?];
            let mut replace = false;
            while let Some(option) = args.next() {
                if is(option, "replace") {
                    replace = true;
                } else if is(option, "db")
                    && let Some(database) = args.next()
                {
                    if integer(database)? != 0 {
                        return Err(CommandError::NoSuchDatabase);
                    }
                } else {
                    return Err(CommandError::Syntax);
                }
            }
            if let [from, to] = &keys[..]
                && from == to
            {
                return Err(CommandError::SameObject);
            }
            (keys, KeyAction::Copy { replace })
        }
        CommandName::Rename => (vec![args.key()?, args.key()?], KeyAction::Rename),
        CommandName::Touch => (args.keys()?, KeyAction::Touch),
        CommandName::Unlink => (args.keys()?, KeyAction::Unlink),
        CommandName::ExpireAt | CommandName::PExpireAt => {
            let ms_each = if args.name == CommandName::ExpireAt { MS_PER_SECOND } else { 1 };
            let (key, at, condition) = deadline(args, ms_each)?;
            (vec![key], KeyAction::ExpireAt { at: TimestampMs(at), condition })
        }
        CommandName::Revoke => {
            let (key, unit, number) = (args.key()?, args.required()?, args.required()?);
            let unit = TimeUnit::find(unit).ok_or(CommandError::Syntax)?;
            (vec![key], KeyAction::Revoke(unit.expiry(number, args.name)?))
        }
        CommandName::Revoked => (vec![args.key()?], KeyAction::Revoked),
        CommandName::ExpireTime => (vec![args.key()?], KeyAction::ExpireTime),
        _ => (vec![args.key()?], KeyAction::PExpireTime),
    })
}

fn set(args: &mut Arguments<'_>) -> Result<(Vec<Key>, SetAction), CommandError> {
    Ok(match args.name {
        CommandName::SMIsMember => (vec![args.key()?], SetAction::AreMembers(args.remaining(Part::Member)?)),
        CommandName::SMove => (vec![args.key()?, args.key()?], SetAction::Move(args.bytes(Part::Member)?)),
        CommandName::SInter => (args.keys()?, SetAction::Combine(Combination::Intersection)),
        CommandName::SUnion => (args.keys()?, SetAction::Combine(Combination::Union)),
        CommandName::SDiff => (args.keys()?, SetAction::Combine(Combination::Difference)),
        CommandName::SInterStore => (args.keys()?, SetAction::CombineInto(Combination::Intersection)),
        CommandName::SUnionStore => (args.keys()?, SetAction::CombineInto(Combination::Union)),
        CommandName::SDiffStore => (args.keys()?, SetAction::CombineInto(Combination::Difference)),
        CommandName::SInterCard => {
            let (keys, limit) = boards::set_keys(args)?;
            (keys, SetAction::CountCommon { limit })
        }
        CommandName::SRandMember => {
            let key = args.key()?;
            let count = args.next().map(|count| random_count(count)).transpose()?;
            if args.next().is_some() {
                return Err(CommandError::Syntax);
            }
            (vec![key], SetAction::Random(count))
        }
        _ => (vec![args.key()?], SetAction::Scan(scan(args)?)),
    })
}

fn hash(args: &mut Arguments<'_>) -> Result<HashAction, CommandError> {
    Ok(match args.name {
        CommandName::HMGet => HashAction::Values(args.remaining(Part::Field)?),
        CommandName::HMSet => HashAction::Set(args.field_values()?),
        CommandName::HExists => HashAction::Exists(args.bytes(Part::Field)?),
        CommandName::HSetNx => {
            HashAction::SetAbsent { field: args.bytes(Part::Field)?, value: args.bytes(Part::Value)? }
        }
        CommandName::HIncrByFloat => {
            let (field, by) = (args.bytes(Part::Field)?, args.long_double()?);
            if !by.is_finite() {
                return Err(CommandError::IncrementNotFinite);
            }
            HashAction::IncrementFloat { field, by }
        }
        CommandName::HKeys => HashAction::Fields,
        CommandName::HVals => HashAction::AllValues,
        CommandName::HStrLen => HashAction::Length(args.bytes(Part::Field)?),
        CommandName::HRandField => {
            let (count, with_values) = random(args, "withvalues")?;
            HashAction::Random { count, with_values }
        }
        _ => HashAction::Scan(scan(args)?),
    })
}

/// `[count [option]]` of HRANDFIELD and ZRANDMEMBER.
pub(super) fn random(args: &mut Arguments<'_>, option: &str) -> Result<(Option<i64>, bool), CommandError> {
    let Some(count) = args.next() else { return Ok((None, false)) };
    let count = random_count(count)?;
    match args.rest {
        [] => Ok((Some(count), false)),
        [sent] if is(sent, option) => Ok((Some(count), true)),
        _ => Err(CommandError::Syntax),
    }
}

/// A count of random elements. A negative one asks for as many draws whatever there is, so it is bounded.
fn random_count(text: &[u8]) -> Result<i64, CommandError> {
    let count = integer(text)?;
    let is_bounded = count >= 0 || count.unsigned_abs() <= RANDOM_ELEMENTS_MAX;
    if is_bounded { Ok(count) } else { Err(CommandError::CountOutOfRange) }
}

/// `cursor [MATCH pattern] [COUNT count]`
pub(super) fn scan(args: &mut Arguments<'_>) -> Result<Scan, CommandError> {
    match scan_of_keys(args)? {
        (scan, None) => Ok(scan),
        (_, Some(_)) => Err(CommandError::Syntax),
    }
}

/// `cursor [MATCH pattern] [COUNT count] [TYPE type]`
pub(super) fn scan_of_keys(args: &mut Arguments<'_>) -> Result<(Scan, Option<Bytes>), CommandError> {
    let mut kind = None;
    let cursor = std::str::from_utf8(args.required()?).ok().and_then(|text| text.parse().ok());
    let mut scan = Scan { cursor: cursor.ok_or(CommandError::InvalidCursor)?, pattern: None, count: SCAN_COUNT };
    while let Some(option) = args.next() {
        let Some(value) = args.next() else { return Err(CommandError::Syntax) };
        if is(option, "match") {
            scan.pattern = Some(bounded(value, Part::Member)?);
        } else if is(option, "count") {
            scan.count = u64::try_from(integer(value)?).unwrap_or(0);
            if scan.count == 0 {
                return Err(CommandError::Syntax);
            }
        } else if is(option, "type") {
            kind = Some(bounded(value, Part::Key)?);
        } else {
            return Err(CommandError::Syntax);
        }
    }
    Ok((scan, kind))
}

/// `[LIMIT limit]` at the end of SINTERCARD and ZINTERCARD; zero for none.
pub(super) fn limit(args: &mut Arguments<'_>) -> Result<u64, CommandError> {
    let mut limit = 0;
    while let Some(option) = args.next() {
        if !is(option, "limit") {
            return Err(CommandError::Syntax);
        }
        let sent = integer(args.next().ok_or(CommandError::Syntax)?);
        limit = sent.ok().and_then(|limit| u64::try_from(limit).ok()).ok_or(CommandError::LimitNegative)?;
    }
    Ok(limit)
}

impl Arguments<'_> {
    fn long_double(&mut self) -> Result<LongDouble, CommandError> {
        LongDouble::parse(self.required()?).ok_or(CommandError::NotAFloat)
    }

    /// Keys, each with its value.
    pub(super) fn key_values(&mut self) -> Result<(Vec<Key>, Vec<Bytes>), CommandError> {
        let (pairs, odd) = std::mem::take(&mut self.rest).as_chunks::<2>();
        if !odd.is_empty() {
            return Err(CommandError::WrongArity(self.name));
        }
        let mut parsed = (Vec::with_capacity(pairs.len()), Vec::with_capacity(pairs.len()));
        for [key, value] in pairs {
            parsed.0.push(Key::new(key.clone())?);
            parsed.1.push(bounded(value, Part::Value)?);
        }
        Ok(parsed)
    }

    /// The next `count` arguments as keys, if there are so many.
    pub(super) fn keys_counted(&mut self, count: usize) -> Option<Result<Vec<Key>, CommandError>> {
        let (keys, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(keys.iter().map(|key| Ok(Key::new(key.clone())?)).collect())
    }
}
