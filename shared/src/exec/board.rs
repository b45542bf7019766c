//! Sorted sets: ZADD with its conditions, ZINCRBY, scores, ranks and ranges; ZREM is the removal that all types share.

use super::{Prepared, Subject};
use crate::{
    command::{CommandError, Condition, Reply, ScoreBound, Selection},
    state::{Effect, Element, ElementId, Increment, Kind, NewBase},
};
use bytes::Bytes;
use std::collections::BTreeMap;

pub(super) fn add(
    key: Subject<'_>,
    condition: Condition,
    count_changed: bool,
    entries: &[(f64, Bytes)],
) -> Result<Prepared, CommandError> {
    key.expect(Kind::Board)?;
    // A member named twice meets its own first score, and is written once.
    let mut written: BTreeMap<&Bytes, f64> = BTreeMap::new();
    let (mut added, mut changed) = (0_usize, 0_usize);
    for (score, member) in entries {
        let before = present_score(&key, member)?;
        let present = written.get(member).copied().or(before);
        if !condition.admits_score(present, *score) {
            continue;
        }
        match present {
            None => added = added.saturating_add(1),
            Some(present) if present != *score => changed = changed.saturating_add(1),
            Some(_) => {}
        }
        written.insert(member, *score);
    }
    let effects = written
        .into_iter()
        .map(|(member, score)| key.write(ElementId::Ranked(member.clone()), Some(base(condition, score))))
        .collect();
    let reply = if count_changed { added.saturating_add(changed) } else { added };
    Ok(key.created(Reply::count(reply), effects))
}

/// ZADD INCR and ZINCRBY: the score, or nil if the condition failed.
pub(super) fn increment(
    key: Subject<'_>,
    condition: Condition,
    increment: f64,
    member: &Bytes,
) -> Result<Prepared, CommandError> {
    let element = ElementId::Ranked(member.clone());
    let found = key.element_present(&element)?;
    let present = found.as_ref().and_then(Element::score);
    let score = present.unwrap_or(0.0) + increment;
    if score.is_nan() {
        return Err(CommandError::NanScore);
    }
    if !condition.admits_score(present, score) {
        return Ok(Reply::Nil.into());
    }
    let stays_finite = found.is_none_or(|found| found.sum.stays_finite(increment));
    let is_within = increment.is_finite() && stays_finite;
    let effect = if is_within && (score.is_finite() || present.is_some_and(f64::is_infinite)) {
        Effect::Add { element, by: Increment::Float(increment) }
    } else {
        // Sums stay finite; what leaves the range is a score set outright.
        key.write(element, Some(NewBase::Abs(score)))
    };
    Ok(key.created(Reply::score(score), vec![effect]))
}

pub(super) fn score(key: &Subject<'_>, member: &Bytes) -> Result<Prepared, CommandError> {
    Ok(present_score(key, member)?.map_or(Reply::Nil, Reply::score).into())
}

pub(super) fn rank(
    key: &Subject<'_>,
    member: &Bytes,
    reverse: bool,
    with_score: bool,
) -> Result<Prepared, CommandError> {
    let Some(score) = present_score(key, member)? else { return Ok(Reply::Nil.into()) };
    let board = key.state.board();
    let from_low = board.rank(score, member);
    let rank = if reverse { board.len().saturating_sub(from_low).saturating_sub(1) } else { from_low };
    let rank = Reply::Int(rank.into());
    Ok(if with_score { Reply::Array(vec![rank, Reply::score(score)]) } else { rank }.into())
}

pub(super) fn range(
    key: &Subject<'_>,
    selection: &Selection,
    reverse: bool,
    with_scores: bool,
) -> Result<Prepared, CommandError> {
    key.expect(Kind::Board)?;
    if key.shown.is_none() {
        return Ok(Reply::Array(Vec::new()).into());
    }
    let board = key.state.board();
    let found: Vec<(Bytes, f64)> = match selection {
        Selection::Ranks(range) => {
            let range = range.within(board.len().into());
            let at = |rank: u64| u32::try_from(rank).unwrap_or(u32::MAX);
            let (start, end) = (at(range.start), at(range.end));
            if reverse {
                let from_high = |rank| board.len().saturating_sub(rank);
                board.range(from_high(end), from_high(start)).rev().collect()
            } else {
                board.range(start, end).collect()
            }
        }
        Selection::Scores { scores, limit } => {
            let start = match scores.min {
                ScoreBound::Inclusive(score) => board.below(score),
                ScoreBound::Exclusive(score) => board.up_to(score),
            };
            let end = match scores.max {
                ScoreBound::Inclusive(score) => board.up_to(score),
                ScoreBound::Exclusive(score) => board.below(score),
            };
            let within = board.range(start, end);
            if reverse { limit.apply(within.rev()).collect() } else { limit.apply(within).collect() }
        }
    };
    let replies = found.into_iter().flat_map(|(member, score)| {
        [Some(Reply::Bulk(member)), with_scores.then(|| Reply::score(score))].into_iter().flatten()
    });
    Ok(replies.collect::<Reply>().into())
}

fn present_score(key: &Subject<'_>, member: &Bytes) -> Result<Option<f64>, CommandError> {
    Ok(key.element_present(&ElementId::Ranked(member.clone()))?.as_ref().and_then(Element::score))
}

fn base(condition: Condition, score: f64) -> NewBase {
    match condition {
        Condition::Greater | Condition::PresentAndGreater => NewBase::Max(score),
        Condition::Less | Condition::PresentAndLess => NewBase::Min(score),
        Condition::Always | Condition::Absent | Condition::Present => NewBase::Abs(score),
    }
}
