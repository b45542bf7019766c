//! HW.LIMIT, which Redis does not have.

use super::{Arguments, integer, is};
use crate::{
    command::{Command, CommandError},
    limit::Limit,
};
use std::num::NonZeroU64;

/// `key FIXED | SLIDING | BUCKET limit window_ms [BURST n] [COST n] [NODES n | STRICT] [PEEK]`
pub(super) fn limit(args: &mut Arguments<'_>) -> Result<Command, CommandError> {
    let key = args.key()?;
    let algorithm = args.required()?;
    let per_window = amount(args)?;
    let window_ms = amount(args)?;
    let (mut burst, mut cost, mut nodes, mut peek, mut strict) = (None, 1, None, false, false);
    while let Some(option) = args.next() {
        if is(option, "burst") && burst.is_none() {
            burst = Some(amount(args)?);
        } else if is(option, "cost") {
            cost = amount(args)?;
        } else if is(option, "nodes") {
            nodes = Some(NonZeroU64::new(amount(args)?).ok_or(CommandError::NotAnInteger)?);
        } else if is(option, "peek") {
            peek = true;
        } else if is(option, "strict") {
            strict = true;
        } else {
            return Err(CommandError::Syntax);
        }
    }
    // How many nodes there are says nothing about a limit that all of them keep, and the empty key's name is taken at the origin.
    if strict && (nodes.is_some() || key.as_bytes().is_empty()) {
        return Err(CommandError::Syntax);
    }
    let limit = if is(algorithm, "bucket") {
        Limit::token_bucket(per_window, window_ms, burst.unwrap_or(per_window))
    } else if is(algorithm, "fixed") && burst.is_none() {
        Limit::fixed_window(per_window, window_ms)
    } else if is(algorithm, "sliding") && burst.is_none() {
        Limit::sliding_window(per_window, window_ms)
    } else {
        return Err(CommandError::Syntax);
    };
    Ok(Command::Limit { key, limit: limit?, cost, nodes, peek, strict })
}

fn amount(args: &mut Arguments<'_>) -> Result<u64, CommandError> {
    let number = integer(args.next().ok_or(CommandError::Syntax)?)?;
    u64::try_from(number).or(Err(CommandError::NotAnInteger))
}
