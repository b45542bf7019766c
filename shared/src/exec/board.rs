//! Sorted sets: ZADD with its conditions, ZINCRBY, scores, ranks and ranges; ZREM is the removal that all types share.

use super::{Prepared, Subject, algebra, draw, subject::bound_changes};
use crate::{
    command::{
        BoardAction, CommandError, Condition, LexBound, LexRange, Limit, RankRange, Reply, ScoreBound, ScoreRange,
        Selection,
    },
    ordered::OrderedMap,
    random::Random,
    state::{Board, Effect, Element, ElementId, Increment, Kind, NewBase},
};
use bytes::Bytes;
use std::ops::Range;

/// What is done to the sorted sets at `keys`.
pub(super) fn act(mut keys: Vec<Subject<'_>>, action: &BoardAction, random: Random) -> Result<Prepared, CommandError> {
    if let BoardAction::Combine { .. } | BoardAction::CombineInto(_) | BoardAction::CountCommon { .. } = action {
        return algebra::act(keys, action);
    }
    // The parser gives each action the keys that it takes.
    let Some(key) = keys.pop() else { return Err(CommandError::Empty) };
    match action {
        BoardAction::Range { selection, reverse, with_scores } => range(&key, selection, *reverse, *with_scores),
        BoardAction::RangeInto { selection, reverse } => {
            let Some(target) = keys.pop() else { return Err(CommandError::Empty) };
            stored(target, select(&key, selection, *reverse)?)
        }
        BoardAction::Count(scores) => {
            let selection = Selection::Scores { scores: *scores, limit: Limit::default() };
            Ok(Reply::count(count(&key, &selection)?).into())
        }
        BoardAction::CountLex(names) => {
            let selection = Selection::Names { names: names.clone(), limit: Limit::default() };
            Ok(Reply::count(count(&key, &selection)?).into())
        }
        BoardAction::RemoveRange(selection) => remove_range(key, selection),
        BoardAction::Scores(members) => {
            let scores = members.iter().map(|member| Ok(present_score(&key, member)?.map_or(Reply::Nil, Reply::score)));
            Ok(scores.collect::<Result<Reply, CommandError>>()?.into())
        }
        BoardAction::Random { count, with_scores } => random_members(&key, *count, *with_scores, random),
        BoardAction::Pop { count, highest } => pop(key, *count, *highest),
        BoardAction::Scan(scan) => {
            let pair = |member: Bytes, element: &Element| match element.score() {
                Some(score) => vec![Reply::Bulk(member), Reply::score(score)],
                None => Vec::new(),
            };
            Ok(draw::scan(&key, Kind::Board, scan, pair)?.into())
        }
        BoardAction::Combine { .. } | BoardAction::CombineInto(_) | BoardAction::CountCommon { .. } => {
            Err(CommandError::Empty)
        }
    }
}

/// What a command stores at a key of its own, and how many that are.
pub(super) fn stored(target: Subject<'_>, members: Vec<(Bytes, f64)>) -> Result<Prepared, CommandError> {
    let reply = Reply::count(members.len());
    let elements = members.into_iter().map(|(member, score)| (ElementId::Ranked(member), NewBase::Abs(score)));
    target.replaced(reply, elements.collect(), None)
}

pub(super) fn add(
    key: Subject<'_>,
    condition: Condition,
    count_changed: bool,
    entries: &[(f64, Bytes)],
) -> Result<Prepared, CommandError> {
    key.expect(Kind::Board)?;
    // A member named twice meets its own first score, and is written once.
    let mut written: OrderedMap<&Bytes, f64> = OrderedMap::new();
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
    Ok(listed(select(key, selection, reverse)?, with_scores).into())
}

/// Members, perhaps each with its score.
pub(super) fn listed(members: impl IntoIterator<Item = (Bytes, f64)>, with_scores: bool) -> Reply {
    let members = members.into_iter();
    if !with_scores {
        return members.map(|(member, _)| Reply::Bulk(member)).collect();
    }
    let mut replies = Vec::with_capacity(members.size_hint().0.saturating_mul(2));
    for (member, score) in members {
        replies.push(Reply::Bulk(member));
        replies.push(Reply::score(score));
    }
    Reply::Array(replies)
}

/// The members of a board that a command names, in the order that it asks for.
fn select(key: &Subject<'_>, selection: &Selection, reverse: bool) -> Result<Vec<(Bytes, f64)>, CommandError> {
    key.expect(Kind::Board)?;
    if key.shown.is_none() {
        return Ok(Vec::new());
    }
    let board = key.state.board();
    let len = board.len();
    let limit = match selection {
        Selection::Ranks(_) => Limit::default(),
        Selection::Scores { limit, .. } | Selection::Names { limit, .. } => *limit,
    };
    let ranks = match selection {
        // Ranks count in the direction of the reply.
        Selection::Ranks(range) if reverse => {
            let ranks = within(*range, len);
            len.saturating_sub(ranks.end)..len.saturating_sub(ranks.start)
        }
        selection => match ranks(key, selection) {
            Some(ranks) => ranks,
            None => {
                let named = names_in(key, selection);
                let named = if reverse {
                    limit.apply(named.into_iter().rev()).collect()
                } else {
                    limit.apply(named.into_iter()).collect()
                };
                return Ok(named);
            }
        },
    };
    Ok(board.listed(limit.of_ranks(ranks, reverse), reverse))
}

/// The places that a selection covers, from the lowest score and without its limit. Logarithmic. `None` for names on a board
/// of several scores, which are in no order.
fn ranks(key: &Subject<'_>, selection: &Selection) -> Option<Range<u32>> {
    let board = key.state.board();
    match selection {
        Selection::Ranks(range) => Some(within(*range, board.len())),
        Selection::Scores { scores, .. } => Some(score_ranks(&board, scores)),
        Selection::Names { names, .. } => {
            let Some((_, lowest)) = board.range(0, 1).next() else { return Some(0..0) };
            (board.up_to(lowest) == board.len()).then(|| name_ranks(key, names, lowest))
        }
    }
}

fn within(range: RankRange, len: u32) -> Range<u32> {
    let range = range.within(len.into());
    let at = |rank: u64| u32::try_from(rank).unwrap_or(u32::MAX);
    at(range.start)..at(range.end)
}

fn score_ranks(board: &Board<'_>, scores: &ScoreRange) -> Range<u32> {
    let start = match scores.min {
        ScoreBound::Inclusive(score) => board.below(score),
        ScoreBound::Exclusive(score) => board.up_to(score),
    };
    let end = match scores.max {
        ScoreBound::Inclusive(score) => board.up_to(score),
        ScoreBound::Exclusive(score) => board.below(score),
    };
    start..end.max(start)
}

/// The places of these names on a board where all have this one score.
fn name_ranks(key: &Subject<'_>, names: &LexRange, score: f64) -> Range<u32> {
    let board = key.state.board();
    let before = |name: &Bytes| board.rank(score, name);
    let is_there =
        |name: &Bytes| board.range(before(name), before(name).saturating_add(1)).any(|(found, _)| found == name);
    let through = |name: &Bytes| before(name).saturating_add(is_there(name).into());
    let start = match &names.min {
        LexBound::Lowest => 0,
        LexBound::Highest => board.len(),
        LexBound::Inclusive(name) => before(name),
        LexBound::Exclusive(name) => through(name),
    };
    let end = match &names.max {
        LexBound::Lowest => 0,
        LexBound::Highest => board.len(),
        LexBound::Inclusive(name) => through(name),
        LexBound::Exclusive(name) => before(name),
    };
    start..end.max(start)
}

/// The members with these names, in the order of the board. Linear.
fn names_in(key: &Subject<'_>, selection: &Selection) -> Vec<(Bytes, f64)> {
    let Selection::Names { names, .. } = selection else { return Vec::new() };
    let board = key.state.board();
    board.range(0, board.len()).filter(|(member, _)| names.contains(member)).collect()
}

/// How many members a selection covers, whatever its limit. Logarithmic, but for names on a board of several scores.
fn count(key: &Subject<'_>, selection: &Selection) -> Result<usize, CommandError> {
    key.expect(Kind::Board)?;
    if key.shown.is_none() {
        return Ok(0);
    }
    Ok(ranks(key, selection).map_or_else(|| names_in(key, selection).len(), |ranks| ranks.len()))
}

fn remove_range(key: Subject<'_>, selection: &Selection) -> Result<Prepared, CommandError> {
    bound_changes(count(&key, selection)?)?;
    let members: Vec<Bytes> = select(&key, selection, false)?.into_iter().map(|(member, _)| member).collect();
    key.remove(Kind::Board, &members)
}

/// ZPOPMIN and ZPOPMAX.
fn pop(key: Subject<'_>, count: u64, highest: bool) -> Result<Prepared, CommandError> {
    let Some(last) = count.checked_sub(1) else {
        key.expect(Kind::Board)?;
        return Ok(Reply::Array(Vec::new()).into());
    };
    let ranks = RankRange { start: 0, stop: i64::try_from(last).unwrap_or(i64::MAX) };
    let popped = select(&key, &Selection::Ranks(ranks), highest)?;
    let members: Vec<Bytes> = popped.iter().map(|(member, _)| member.clone()).collect();
    let is_all = key.shown.is_some() && members.len() == key.state.board().len() as usize;
    key.taken(Kind::Board, listed(popped, true), &members, is_all)
}

fn random_members(
    key: &Subject<'_>,
    count: Option<i64>,
    with_scores: bool,
    mut random: Random,
) -> Result<Prepared, CommandError> {
    key.expect(Kind::Board)?;
    let board = key.state.board();
    let len = if key.shown.is_some() { board.len() } else { 0 };
    let chosen = draw::places(len as usize, count, &mut random).into_iter().flat_map(|place| {
        let place = u32::try_from(place).unwrap_or(u32::MAX);
        board.range(place, place.saturating_add(1))
    });
    let mut chosen = chosen.collect::<Vec<_>>().into_iter();
    Ok(match count {
        None => chosen.next().map_or(Reply::Nil, |(member, _)| Reply::Bulk(member)),
        Some(_) => listed(chosen, with_scores),
    }
    .into())
}

fn present_score(key: &Subject<'_>, member: &Bytes) -> Result<Option<f64>, CommandError> {
    key.expect(Kind::Board)?;
    Ok(key.shown.and_then(|_| key.state.board().score(member)))
}

fn base(condition: Condition, score: f64) -> NewBase {
    match condition {
        Condition::Greater | Condition::PresentAndGreater => NewBase::Max(score),
        Condition::Less | Condition::PresentAndLess => NewBase::Min(score),
        Condition::Always | Condition::Absent | Condition::Present => NewBase::Abs(score),
    }
}
