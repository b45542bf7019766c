//! The commands of sorted sets that take several keys, or a range.

use super::{
    Arguments, integer, is,
    keyed::{limit, random, scan},
    ranges::{self, Form, RangeBy},
};
use crate::{
    command::{
        Aggregate, BoardAction, Combination, CommandError, CommandName, Limit, Part, Selection, Weighted, parse_score,
    },
    id::Key,
};

/// The action of a command whose keys are taken here too.
pub(super) fn board(args: &mut Arguments<'_>) -> Result<(Vec<Key>, BoardAction), CommandError> {
    let of_one = |key, action| Ok((vec![key], action));
    match args.name {
        CommandName::ZRangeByScore => range(args, RangeBy::Score, false),
        CommandName::ZRevRangeByScore => range(args, RangeBy::Score, true),
        CommandName::ZRangeByLex => range(args, RangeBy::Name, false),
        CommandName::ZRevRangeByLex => range(args, RangeBy::Name, true),
        CommandName::ZRevRange => range(args, RangeBy::Rank, true),
        CommandName::ZRangeStore => {
            let keys = vec![args.key()?, args.key()?];
            let (selection, reverse, _) = ranges::range(args, Form::STORED)?;
            Ok((keys, BoardAction::RangeInto { selection, reverse }))
        }
        CommandName::ZCount => {
            of_one(args.key()?, BoardAction::Count(ranges::scores(args.required()?, args.required()?)?))
        }
        CommandName::ZLexCount => {
            of_one(args.key()?, BoardAction::CountLex(ranges::names(args.required()?, args.required()?)?))
        }
        CommandName::ZRemRangeByRank => {
            of_one(args.key()?, BoardAction::RemoveRange(ranges::ranks(args.required()?, args.required()?)?))
        }
        CommandName::ZRemRangeByScore => {
            let key = args.key()?;
            let scores = ranges::scores(args.required()?, args.required()?)?;
            of_one(key, BoardAction::RemoveRange(Selection::Scores { scores, limit: Limit::default() }))
        }
        CommandName::ZRemRangeByLex => {
            let key = args.key()?;
            let names = ranges::names(args.required()?, args.required()?)?;
            of_one(key, BoardAction::RemoveRange(Selection::Names { names, limit: Limit::default() }))
        }
        CommandName::ZMScore => of_one(args.key()?, BoardAction::Scores(args.remaining(Part::Member)?)),
        CommandName::ZInter => combined(args, Combination::Intersection),
        CommandName::ZUnion => combined(args, Combination::Union),
        CommandName::ZDiff => combined(args, Combination::Difference),
        CommandName::ZInterStore => stored(args, Combination::Intersection),
        CommandName::ZUnionStore => stored(args, Combination::Union),
        CommandName::ZDiffStore => stored(args, Combination::Difference),
        CommandName::ZInterCard => {
            let keys = counted_keys(args)?;
            let limit = limit(args)?;
            Ok((keys, BoardAction::CountCommon { limit }))
        }
        CommandName::ZRandMember => {
            let key = args.key()?;
            let (count, with_scores) = random(args, "withscores")?;
            of_one(key, BoardAction::Random { count, with_scores })
        }
        _ => of_one(args.key()?, BoardAction::Scan(scan(args)?)),
    }
}

fn range(args: &mut Arguments<'_>, by: RangeBy, reverse: bool) -> Result<(Vec<Key>, BoardAction), CommandError> {
    let keys = vec![args.key()?];
    let (selection, reverse, with_scores) = ranges::range(args, Form::older(by, reverse))?;
    Ok((keys, BoardAction::Range { selection, reverse, with_scores }))
}

fn combined(args: &mut Arguments<'_>, combination: Combination) -> Result<(Vec<Key>, BoardAction), CommandError> {
    let keys = counted_keys(args)?;
    let (weighted, with_scores) = weighted(args, combination, keys.len(), true)?;
    Ok((keys, BoardAction::Combine { weighted, with_scores }))
}

fn stored(args: &mut Arguments<'_>, combination: Combination) -> Result<(Vec<Key>, BoardAction), CommandError> {
    let mut keys = vec![args.key()?];
    let sources = counted_keys(args)?;
    let (weighted, _) = weighted(args, combination, sources.len(), false)?;
    keys.extend(sources);
    Ok((keys, BoardAction::CombineInto(weighted)))
}

/// A number of keys, then as many.
fn counted_keys(args: &mut Arguments<'_>) -> Result<Vec<Key>, CommandError> {
    let count = args.integer()?;
    let Some(count) = usize::try_from(count).ok().filter(|count| *count > 0) else {
        return Err(CommandError::NoInputKeys(args.name));
    };
    args.keys_counted(count).unwrap_or(Err(CommandError::Syntax))
}

fn weighted(
    args: &mut Arguments<'_>,
    combination: Combination,
    keys: usize,
    may_want_scores: bool,
) -> Result<(Weighted, bool), CommandError> {
    let takes_weights = combination != Combination::Difference;
    let (mut weights, mut aggregate, mut with_scores) = (Vec::new(), Aggregate::Sum, false);
    while let Some(option) = args.next() {
        if takes_weights
            && is(option, "weights")
            && let Some((sent, rest)) = args.rest.split_at_checked(keys)
        {
            let weight = |text: &bytes::Bytes| parse_score(text).ok_or(CommandError::WeightNotAFloat);
            weights = sent.iter().map(weight).collect::<Result<_, _>>()?;
            args.rest = rest;
        } else if takes_weights && is(option, "aggregate") {
            aggregate = match args.next() {
                Some(option) if is(option, "sum") => Aggregate::Sum,
                Some(option) if is(option, "min") => Aggregate::Min,
                Some(option) if is(option, "max") => Aggregate::Max,
                _ => return Err(CommandError::Syntax),
            };
        } else if may_want_scores && is(option, "withscores") {
            with_scores = true;
        } else {
            return Err(CommandError::Syntax);
        }
    }
    Ok((Weighted { combination, weights, aggregate }, with_scores))
}

/// SINTERCARD's keys, which fail in words of their own.
pub(super) fn set_keys(args: &mut Arguments<'_>) -> Result<(Vec<Key>, u64), CommandError> {
    let count = integer(args.required()?).ok().and_then(|count| usize::try_from(count).ok());
    let count = count.filter(|count| *count > 0).ok_or(CommandError::NumKeysNotPositive)?;
    let keys = args.keys_counted(count).unwrap_or(Err(CommandError::NumKeysTooMany))?;
    let limit = limit(args)?;
    Ok((keys, limit))
}
