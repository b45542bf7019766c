//! The commands that only the origin executes, since they need one agreed order of all writes or know all keys.

use super::{Arguments, integer, is, keyed};
use crate::command::{
    Action, BoardAction, CommandError, CommandName, KeyAction, Keyed, KeyspaceAction, LockAction, Part, SetAction,
    StringAction,
};
use bytes::Bytes;

pub(super) fn ordered(args: &mut Arguments<'_>) -> Result<Keyed, CommandError> {
    let name = args.name;
    if let Some(action) = keyspace(args)? {
        return Ok(Keyed { name, keys: Vec::new(), action: Action::Keyspace(action) });
    }
    if name == CommandName::MSetNx {
        let (keys, values) = args.key_values()?;
        return Ok(Keyed { name, keys, action: Action::String(StringAction::SetEachAbsent(values)) });
    }
    let mut keys = vec![args.key()?];
    let action = match name {
        CommandName::SetNx => Action::String(StringAction::SetAbsent(args.bytes(Part::Value)?)),
        CommandName::GetDel => Action::String(StringAction::Take),
        CommandName::RenameNx => {
            keys.push(args.key()?);
            Action::Key(KeyAction::RenameAbsent)
        }
        CommandName::Refresh => Action::Key(KeyAction::Refresh),
        CommandName::SPop => Action::Set(SetAction::Pop(count(args)?)),
        CommandName::ZPopMin | CommandName::ZPopMax => {
            let highest = name == CommandName::ZPopMax;
            Action::Board(BoardAction::Pop { count: count(args)?.unwrap_or(1), highest })
        }
        CommandName::Unlock => Action::Lock(LockAction::Release { owner: args.bytes(Part::Value)? }),
        CommandName::Extend => {
            let (owner, ttl_ms) = holding(args)?;
            Action::Lock(LockAction::Extend { owner, ttl_ms })
        }
        _ => {
            let (owner, ttl_ms) = holding(args)?;
            Action::Lock(LockAction::Take { owner, ttl_ms })
        }
    };
    Ok(Keyed { name, keys, action })
}

/// What is asked of all keys; none for a command that names keys.
fn keyspace(args: &mut Arguments<'_>) -> Result<Option<KeyspaceAction>, CommandError> {
    Ok(Some(match args.name {
        CommandName::Scan => {
            let (scan, kind) = keyed::scan_of_keys(args)?;
            KeyspaceAction::Scan { scan, kind }
        }
        CommandName::Keys => KeyspaceAction::Keys(args.bytes(Part::Key)?),
        CommandName::DbSize => KeyspaceAction::Count,
        CommandName::RandomKey => KeyspaceAction::Random,
        CommandName::Erase => KeyspaceAction::Erase(args.bytes(Part::Key)?),
        CommandName::FlushDb | CommandName::FlushAll => {
            match args.rest {
                [] => {}
                [option] if is(option, "sync") || is(option, "async") => {}
                _ => return Err(CommandError::Syntax),
            }
            KeyspaceAction::Flush
        }
        _ => return Ok(None),
    }))
}

/// `[count]` of SPOP and ZPOPMIN.
fn count(args: &mut Arguments<'_>) -> Result<Option<u64>, CommandError> {
    match args.rest {
        [] => Ok(None),
        // Redis says this also of what is no number.
        [count] => match integer(count).ok().and_then(|count| u64::try_from(count).ok()) {
            Some(count) => Ok(Some(count)),
            None => Err(CommandError::CountNegative),
        },
        _ => Err(CommandError::Syntax),
    }
}

/// `owner ttl_ms`
fn holding(args: &mut Arguments<'_>) -> Result<(Bytes, i64), CommandError> {
    let (owner, ttl_ms) = (args.bytes(Part::Value)?, args.integer()?);
    if ttl_ms <= 0 { Err(CommandError::InvalidExpireTime(args.name)) } else { Ok((owner, ttl_ms)) }
}
