//! HEXPIRE and its family, as Redis 7.4 reads them.

use super::{Arguments, bounded, integer, is};
use crate::{
    command::{Command, CommandError, CommandName, Condition, FieldExpiry, Part},
    id::TimestampMs,
};
use bytes::Bytes;

/// The latest time of a field's deadline, in milliseconds since the Unix epoch: Redis keeps 46 bits of it.
const FIELD_TIME_MS_MAX: i64 = (1 << 46) - 1;

/// `key time [NX | XX | GT | LT] FIELDS count field...`
pub(super) fn expire(args: &mut Arguments<'_>) -> Result<Command, CommandError> {
    let command = args.name;
    let key = args.key()?;
    let time = integer(args.required()?)?;
    if time < 0 {
        return Err(CommandError::NegativeExpireTime);
    }
    let ms_each = match command {
        CommandName::HExpire | CommandName::HExpireAt => 1000,
        _ => 1,
    };
    let too_late = CommandError::InvalidExpireTime(command);
    let ms = time.checked_mul(ms_each).filter(|ms| *ms <= FIELD_TIME_MS_MAX).ok_or(too_late)?;
    let expiry = match command {
        CommandName::HExpireAt | CommandName::HPExpireAt => FieldExpiry::At(TimestampMs(ms)),
        _ => FieldExpiry::In(ms),
    };
    let condition = condition(args);
    let fields = fields(args, CommandError::FieldCountNotPositive)?;
    Ok(Command::HExpire { command, key, expiry, condition, fields })
}

/// `key FIELDS count field...`
pub(super) fn of_fields(args: &mut Arguments<'_>) -> Result<(CommandName, crate::id::Key, Vec<Bytes>), CommandError> {
    let key = args.key()?;
    Ok((args.name, key, fields(args, CommandError::NoFields)?))
}

impl FieldExpiry {
    /// When the field is to end.
    ///
    /// # Errors
    /// [`CommandError::InvalidExpireTime`] of `command` where that is later than Redis can say.
    pub fn deadline(self, now: TimestampMs, command: CommandName) -> Result<TimestampMs, CommandError> {
        match self {
            Self::At(at) => Ok(at),
            Self::In(ms) => {
                let at = now.0.checked_add(ms).filter(|at| *at <= FIELD_TIME_MS_MAX);
                at.map(TimestampMs).ok_or(CommandError::InvalidExpireTime(command))
            }
        }
    }
}

/// At most one, as the first option.
fn condition(args: &mut Arguments<'_>) -> Condition {
    let named =
        [("nx", Condition::Absent), ("xx", Condition::Present), ("gt", Condition::Greater), ("lt", Condition::Less)];
    let Some((option, rest)) = args.rest.split_first() else { return Condition::Always };
    let found = named.into_iter().find(|(name, _)| is(option, name));
    found.map_or(Condition::Always, |(_, condition)| {
        args.rest = rest;
        condition
    })
}

fn fields(args: &mut Arguments<'_>, no_count: CommandError) -> Result<Vec<Bytes>, CommandError> {
    let Some([keyword, count, fields @ ..]) = Some(args.rest).filter(|rest| rest.len() >= 2) else {
        return Err(CommandError::FieldsMissing);
    };
    if !is(keyword, "fields") {
        return Err(CommandError::FieldsMissing);
    }
    let count = integer(count).ok().and_then(|count| usize::try_from(count).ok());
    let count = count.filter(|count| *count > 0).ok_or(no_count)?;
    if count != fields.len() {
        return Err(CommandError::FieldCountMismatch);
    }
    args.rest = &[];
    fields.iter().map(|field| bounded(field, Part::Field)).collect()
}
