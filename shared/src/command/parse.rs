//! From a request's arguments to a [`Command`].
//!
//! Checks come in Redis's own order (name, number of arguments, syntax, values), since the first failure is the one reported.
//! The limits of this store are checked where an argument is taken. Total: no input panics, and nothing is allocated beyond
//! what the arguments themselves hold.

mod boards;
mod field_deadline;
mod keyed;
mod limit;
#[cfg(feature = "hub")]
mod ordered;
mod ranges;
#[cfg(feature = "hub")]
mod script;

use super::{
    ALL_COMMANDS, Action, Command, CommandError, CommandName, Condition, Expiry, Keyed, Part, Passed, StringAction,
    parse_integer, parse_score,
};
use crate::{
    id::{Key, TimestampMs},
    limits::ARGUMENTS_MAX,
};
use bytes::Bytes;

/// Parses a command with its arguments, as Redis 7.0 would (`WITHSCORE` of ZRANK as 7.2, HEXPIRE and its family as 7.4).
///
/// # Errors
/// What Redis would answer, or that a limit of this store is passed.
///
/// ```
/// use bytes::Bytes;
/// use headwater::command::{Command, parse};
///
/// let argv = ["incrby", "visits", "5"].map(Bytes::from);
/// assert!(matches!(parse(&argv), Ok(Command::IncrBy { by: 5, .. })));
/// ```
pub fn parse(argv: &[Bytes]) -> Result<Command, CommandError> {
    let (sent_name, rest) = argv.split_first().ok_or(CommandError::Empty)?;
    let name = CommandName::find(sent_name).ok_or_else(|| CommandError::unknown(sent_name, rest))?;
    if !name.arguments().contains(&argv.len()) {
        return Err(CommandError::WrongArity(name));
    }
    if argv.len() > ARGUMENTS_MAX {
        return Err(CommandError::too_many_arguments());
    }
    let args = &mut Arguments { name, rest };
    match name {
        CommandName::Set => set(args),
        CommandName::Get => Ok(Command::Get { key: args.key()? }),
        CommandName::Del => Ok(Command::Del { keys: args.keys()? }),
        CommandName::Exists => Ok(Command::Exists { keys: args.keys()? }),
        CommandName::Expire => {
            let (key, after_ms, condition) = deadline(args, MS_PER_SECOND)?;
            Ok(Command::Expire { key, after_ms, condition })
        }
        CommandName::PExpire => {
            let (key, after_ms, condition) = deadline(args, 1)?;
            Ok(Command::PExpire { key, after_ms, condition })
        }
        CommandName::Ttl => Ok(Command::Ttl { key: args.key()? }),
        CommandName::PTtl => Ok(Command::PTtl { key: args.key()? }),
        CommandName::Persist => Ok(Command::Persist { key: args.key()? }),
        CommandName::Type => Ok(Command::Type { key: args.key()? }),
        CommandName::Incr => Ok(Command::Incr { key: args.key()?, by: 1 }),
        CommandName::IncrBy => Ok(Command::IncrBy { key: args.key()?, by: args.integer()? }),
        CommandName::Decr => Ok(Command::Decr { key: args.key()?, by: -1 }),
        CommandName::DecrBy => {
            let key = args.key()?;
            let by = args.integer()?.checked_neg().ok_or(CommandError::DecrementOverflow)?;
            Ok(Command::DecrBy { key, by })
        }
        CommandName::SAdd => Ok(Command::SAdd { key: args.key()?, members: args.remaining(Part::Member)? }),
        CommandName::SRem => Ok(Command::SRem { key: args.key()?, members: args.remaining(Part::Member)? }),
        CommandName::SIsMember => Ok(Command::SIsMember { key: args.key()?, member: args.bytes(Part::Member)? }),
        CommandName::SMembers => Ok(Command::SMembers { key: args.key()? }),
        CommandName::SCard => Ok(Command::SCard { key: args.key()? }),
        CommandName::HSet => Ok(Command::HSet { key: args.key()?, fields: args.field_values()? }),
        CommandName::HGet => Ok(Command::HGet { key: args.key()?, field: args.bytes(Part::Field)? }),
        CommandName::HGetAll => Ok(Command::HGetAll { key: args.key()? }),
        CommandName::HDel => Ok(Command::HDel { key: args.key()?, fields: args.remaining(Part::Field)? }),
        CommandName::HIncrBy => {
            Ok(Command::HIncrBy { key: args.key()?, field: args.bytes(Part::Field)?, by: args.integer()? })
        }
        CommandName::HLen => Ok(Command::HLen { key: args.key()? }),
        CommandName::ZAdd | CommandName::ZIncrBy => zadd(args),
        CommandName::ZScore => Ok(Command::ZScore { key: args.key()?, member: args.bytes(Part::Member)? }),
        CommandName::ZRank => {
            Ok(Command::ZRank { key: args.key()?, member: args.bytes(Part::Member)?, with_score: args.with_score()? })
        }
        CommandName::ZRevRank => Ok(Command::ZRevRank {
            key: args.key()?,
            member: args.bytes(Part::Member)?,
            with_score: args.with_score()?,
        }),
        CommandName::ZRange => {
            let key = args.key()?;
            let (selection, reverse, with_scores) = ranges::range(args, ranges::Form::ANY)?;
            Ok(Command::ZRange { key, selection, reverse, with_scores })
        }
        CommandName::ZCard => Ok(Command::ZCard { key: args.key()? }),
        CommandName::ZRem => Ok(Command::ZRem { key: args.key()?, members: args.remaining(Part::Member)? }),
        CommandName::HExpire | CommandName::HPExpire | CommandName::HExpireAt | CommandName::HPExpireAt
            if ALL_COMMANDS =>
        {
            field_deadline::expire(args)
        }
        CommandName::HTtl | CommandName::HPTtl | CommandName::HExpireTime | CommandName::HPExpireTime
            if ALL_COMMANDS =>
        {
            let (command, key, fields) = field_deadline::of_fields(args)?;
            Ok(Command::HTtl { command, key, fields })
        }
        CommandName::HPersist if ALL_COMMANDS => {
            let (_, key, fields) = field_deadline::of_fields(args)?;
            Ok(Command::HPersist { key, fields })
        }
        CommandName::Limit => limit::limit(args),
        #[cfg(feature = "hub")]
        CommandName::Eval | CommandName::EvalSha => match script::script(args)? {
            Some(known) => Ok(Command::Keyed(known)),
            None => passed(name, argv),
        },
        #[cfg(not(feature = "hub"))]
        CommandName::Eval | CommandName::EvalSha => passed(name, argv),
        CommandName::Ping => Ok(Command::Ping { message: args.optional(Part::Value)? }),
        CommandName::Echo => Ok(Command::Echo { message: args.bytes(Part::Value)? }),
        #[cfg(feature = "hub")]
        name if name.needs_origin() => ordered::ordered(args).map(Command::Keyed),
        #[cfg(not(feature = "hub"))]
        name if name.needs_origin() => Err(CommandError::NeedsOrigin),
        name if name.passes().is_some() => passed(name, argv),
        _ if ALL_COMMANDS => keyed::keyed(args).map(Command::Keyed),
        _ => Err(CommandError::NotBuiltIn(name)),
    }
}

/// A command that is passed through. A leaf has nobody to pass it to.
fn passed(name: CommandName, argv: &[Bytes]) -> Result<Command, CommandError> {
    if cfg!(feature = "hub") { Passed::read(name, argv).map(Command::Passed) } else { Err(CommandError::NeedsOrigin) }
}

const MS_PER_SECOND: i64 = 1000;

/// The arguments not yet taken.
struct Arguments<'a> {
    name: CommandName,
    rest: &'a [Bytes],
}

impl<'a> Arguments<'a> {
    fn next(&mut self) -> Option<&'a Bytes> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(first)
    }

    /// The next argument, which the command's arity promises.
    fn required(&mut self) -> Result<&'a Bytes, CommandError> {
        self.next().ok_or(CommandError::WrongArity(self.name))
    }

    fn key(&mut self) -> Result<Key, CommandError> {
        Ok(Key::new(self.required()?.clone())?)
    }

    fn keys(&mut self) -> Result<Vec<Key>, CommandError> {
        std::mem::take(&mut self.rest).iter().map(|key| Ok(Key::new(key.clone())?)).collect()
    }

    fn bytes(&mut self, what: Part) -> Result<Bytes, CommandError> {
        bounded(self.required()?, what)
    }

    fn optional(&mut self, what: Part) -> Result<Option<Bytes>, CommandError> {
        self.next().map(|bytes| bounded(bytes, what)).transpose()
    }

    fn remaining(&mut self, what: Part) -> Result<Vec<Bytes>, CommandError> {
        std::mem::take(&mut self.rest).iter().map(|bytes| bounded(bytes, what)).collect()
    }

    fn field_values(&mut self) -> Result<Vec<(Bytes, Bytes)>, CommandError> {
        let (pairs, odd) = std::mem::take(&mut self.rest).as_chunks::<2>();
        if !odd.is_empty() {
            return Err(CommandError::WrongArity(self.name));
        }
        pairs.iter().map(|[field, value]| Ok((bounded(field, Part::Field)?, bounded(value, Part::Value)?))).collect()
    }

    fn integer(&mut self) -> Result<i64, CommandError> {
        integer(self.required()?)
    }

    fn with_score(&mut self) -> Result<bool, CommandError> {
        match self.next() {
            None => Ok(false),
            Some(option) if is(option, "withscore") => Ok(true),
            Some(_) => Err(CommandError::Syntax),
        }
    }
}

pub(super) fn bounded(bytes: &Bytes, what: Part) -> Result<Bytes, CommandError> {
    if bytes.len() > what.bytes_max() {
        return Err(CommandError::too_long(what));
    }
    Ok(bytes.clone())
}

fn integer(text: &[u8]) -> Result<i64, CommandError> {
    parse_integer(text).ok_or(CommandError::NotAnInteger)
}

fn is(option: &[u8], name: &str) -> bool {
    option.eq_ignore_ascii_case(name.as_bytes())
}

#[derive(Clone, Copy, PartialEq)]
enum TimeUnit {
    Ex,
    Px,
    ExAt,
    PxAt,
}

impl TimeUnit {
    fn find(option: &[u8]) -> Option<Self> {
        [("ex", Self::Ex), ("px", Self::Px), ("exat", Self::ExAt), ("pxat", Self::PxAt)]
            .into_iter()
            .find_map(|(name, unit)| is(option, name).then_some(unit))
    }

    fn expiry(self, number: &[u8], command: CommandName) -> Result<Expiry, CommandError> {
        let ms_each = match self {
            Self::Ex | Self::ExAt => MS_PER_SECOND,
            Self::Px | Self::PxAt => 1,
        };
        let ms = integer(number)?
            .checked_mul(ms_each)
            .filter(|&ms| ms > 0)
            .ok_or(CommandError::InvalidExpireTime(command))?;
        Ok(match self {
            Self::Ex | Self::Px => Expiry::In(ms),
            Self::ExAt | Self::PxAt => Expiry::At(TimestampMs(ms)),
        })
    }
}

fn set(args: &mut Arguments<'_>) -> Result<Command, CommandError> {
    let (key, value) = (args.key()?, args.bytes(Part::Value)?);
    let (mut nx, mut xx, mut get, mut keep) = (false, false, false, false);
    // As in Redis, the same unit may come twice, and the last one counts.
    let mut timed: Option<(TimeUnit, &Bytes)> = None;
    while let Some(option) = args.next() {
        if is(option, "nx") && !xx {
            nx = true;
        } else if is(option, "xx") && !nx {
            xx = true;
        } else if is(option, "get") {
            get = true;
        } else if is(option, "keepttl") && timed.is_none() {
            keep = true;
        } else if let Some(unit) = TimeUnit::find(option)
            && !keep
            && timed.is_none_or(|(other, _)| other == unit)
        {
            timed = Some((unit, args.next().ok_or(CommandError::Syntax)?));
        } else {
            return Err(CommandError::Syntax);
        }
    }
    let expiry = match timed {
        Some((unit, number)) => unit.expiry(number, CommandName::Set)?,
        None if keep => Expiry::Keep,
        None => Expiry::None,
    };
    if !ALL_COMMANDS && (nx || xx || get) {
        return Err(CommandError::NeedsOrigin);
    }
    if nx || xx || get {
        let condition = Flags { nx, xx, ..Flags::default() }.condition();
        let action = Action::String(StringAction::SetIf { value, expiry, condition, get });
        return Ok(Command::Keyed(Keyed { name: CommandName::Set, keys: vec![key], action }));
    }
    Ok(Command::Set { key, value, expiry })
}

/// What EXPIRE and its like name: the key, the time in milliseconds, the condition.
fn deadline(args: &mut Arguments<'_>, ms_each: i64) -> Result<(Key, i64, Condition), CommandError> {
    let (key, time) = (args.key()?, args.required()?);
    let mut flags = Flags::default();
    while let Some(option) = args.next() {
        if !flags.note(option) {
            return Err(CommandError::unsupported_option(option));
        }
    }
    let condition = match flags {
        Flags { nx: true, .. } if flags.xx || flags.gt || flags.lt => return Err(CommandError::ExpireNxWithOthers),
        Flags { gt: true, lt: true, .. } => return Err(CommandError::ExpireGtWithLt),
        compatible => compatible.condition(),
    };
    let ms = integer(time)?.checked_mul(ms_each).ok_or(CommandError::InvalidExpireTime(args.name))?;
    Ok((key, ms, condition))
}

/// ZADD, and ZINCRBY, which Redis reads as a ZADD INCR that may even name options (in vain: its arity leaves them no room).
fn zadd(args: &mut Arguments<'_>) -> Result<Command, CommandError> {
    let key = args.key()?;
    let (mut flags, mut incr, mut count_changed) = (Flags::default(), args.name == CommandName::ZIncrBy, false);
    while let Some((option, rest)) = args.rest.split_first() {
        if is(option, "incr") {
            incr = true;
        } else if is(option, "ch") {
            count_changed = true;
        } else if !flags.note(option) {
            break;
        }
        args.rest = rest;
    }
    let (pairs, odd) = args.rest.as_chunks::<2>();
    if pairs.is_empty() || !odd.is_empty() {
        return Err(CommandError::Syntax);
    }
    let condition = match flags {
        Flags { nx: true, xx: true, .. } => return Err(CommandError::ZAddXxWithNx),
        Flags { gt: true, lt: true, .. } => return Err(CommandError::ZAddGtLtNx),
        Flags { nx: true, .. } if flags.gt || flags.lt => return Err(CommandError::ZAddGtLtNx),
        compatible => compatible.condition(),
    };
    let entry = |[score, member]: &[Bytes; 2]| {
        let score = parse_score(score).ok_or(CommandError::NotAFloat)?;
        Ok((score, bounded(member, Part::Member)?))
    };
    match pairs {
        [pair] if incr => {
            let (increment, member) = entry(pair)?;
            Ok(match args.name {
                CommandName::ZIncrBy => Command::ZIncrBy { key, increment, member },
                _ => Command::ZAddIncr { key, condition, increment, member },
            })
        }
        _ if incr => Err(CommandError::ZAddIncrPairs),
        pairs => {
            let entries = pairs.iter().map(entry).collect::<Result<_, CommandError>>()?;
            Ok(Command::ZAdd { key, condition, count_changed, entries })
        }
    }
}

/// The conditions named so far, perhaps incompatible.
#[derive(Clone, Copy, Default)]
struct Flags {
    nx: bool,
    xx: bool,
    gt: bool,
    lt: bool,
}

impl Flags {
    /// Takes note of `option`, or says that it is none of these.
    fn note(&mut self, option: &[u8]) -> bool {
        for (name, flag) in [("nx", &mut self.nx), ("xx", &mut self.xx), ("gt", &mut self.gt), ("lt", &mut self.lt)] {
            if is(option, name) {
                *flag = true;
                return true;
            }
        }
        false
    }

    /// The condition that these compatible flags express.
    fn condition(self) -> Condition {
        match self {
            Self { nx: true, .. } => Condition::Absent,
            Self { xx: true, gt: true, .. } => Condition::PresentAndGreater,
            Self { xx: true, lt: true, .. } => Condition::PresentAndLess,
            Self { xx: true, .. } => Condition::Present,
            Self { gt: true, .. } => Condition::Greater,
            Self { lt: true, .. } => Condition::Less,
            _ => Condition::Always,
        }
    }
}

#[cfg(test)]
mod tests;
