//! Which members of a board ZRANGE and its like name: one reading for all of them, as in Redis.

use super::{Arguments, integer, is};
use crate::command::{CommandError, LexBound, LexRange, Limit, RankRange, ScoreRange, Selection, parse_score_bound};
use bytes::Bytes;

/// What a command of this family has said with its name.
#[derive(Clone, Copy)]
pub(super) struct Form {
    by: Option<RangeBy>,
    reverse: Option<bool>,
    is_stored: bool,
}

impl Form {
    /// ZRANGE: options say all.
    pub(super) const ANY: Self = Self { by: None, reverse: None, is_stored: false };
    /// ZRANGESTORE, which has no use for WITHSCORES.
    pub(super) const STORED: Self = Self { is_stored: true, ..Self::ANY };

    /// One of the older commands, whose names say all but the limit.
    pub(super) const fn older(by: RangeBy, reverse: bool) -> Self {
        Self { by: Some(by), reverse: Some(reverse), is_stored: false }
    }
}

/// In which order a range is named.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum RangeBy {
    Rank,
    Score,
    Name,
}

/// The selection, whether it is reversed, and whether scores are wanted.
pub(super) fn range(args: &mut Arguments<'_>, form: Form) -> Result<(Selection, bool, bool), CommandError> {
    // What Redis takes for "no LIMIT" is a count of -1, so that `LIMIT 5 -1` passes over ranks, and is ignored there.
    const NO_LIMIT: i64 = -1;
    let (first, second) = (args.required()?, args.required()?);
    let (mut by, mut reverse, mut with_scores) = (form.by, form.reverse, false);
    let (mut offset, mut count) = (0, NO_LIMIT);
    while let Some(option) = args.next() {
        if is(option, "withscores") && !form.is_stored {
            with_scores = true;
        } else if is(option, "limit") {
            let [sent_offset, sent_count, rest @ ..] = args.rest else { return Err(CommandError::Syntax) };
            (offset, count) = (integer(sent_offset)?, integer(sent_count)?);
            args.rest = rest;
        } else if is(option, "rev") && reverse.is_none() {
            reverse = Some(true);
        } else if is(option, "bylex") && by.is_none() {
            by = Some(RangeBy::Name);
        } else if is(option, "byscore") && by.is_none() {
            by = Some(RangeBy::Score);
        } else {
            return Err(CommandError::Syntax);
        }
    }
    let reverse = reverse.unwrap_or(false);
    // Under REV the greater bound comes first.
    let (min, max) = if reverse { (second, first) } else { (first, second) };
    let limit = Limit::from_sent(offset, count);
    let selection = match by.unwrap_or(RangeBy::Rank) {
        RangeBy::Rank if count != NO_LIMIT => return Err(CommandError::LimitOverRanks),
        RangeBy::Rank => ranks(first, second)?,
        RangeBy::Name if with_scores => return Err(CommandError::ByLexWithScores),
        RangeBy::Name => Selection::Names { names: names(min, max)?, limit },
        RangeBy::Score => Selection::Scores { scores: scores(min, max)?, limit },
    };
    Ok((selection, reverse, with_scores))
}

pub(super) fn ranks(start: &[u8], stop: &[u8]) -> Result<Selection, CommandError> {
    Ok(Selection::Ranks(RankRange { start: integer(start)?, stop: integer(stop)? }))
}

pub(super) fn scores(min: &[u8], max: &[u8]) -> Result<ScoreRange, CommandError> {
    let bound = |text| parse_score_bound(text).ok_or(CommandError::RangeNotAFloat);
    Ok(ScoreRange { min: bound(min)?, max: bound(max)? })
}

pub(super) fn names(min: &Bytes, max: &Bytes) -> Result<LexRange, CommandError> {
    let bound = |text| LexBound::parse(text).ok_or(CommandError::LexRange);
    Ok(LexRange { min: bound(min)?, max: bound(max)? })
}
