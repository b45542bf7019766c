//! Intersections, unions and differences of sorted sets, with weights. A set takes part with a score of one for each member.

use super::{Prepared, Subject, board, set};
use crate::{
    command::{Aggregate, BoardAction, Combination, CommandError, Reply, Weighted},
    ordered::{OrderedMap, sort_by},
    state::{Element, ElementId, Kind},
};
use bytes::Bytes;

pub(super) fn act(mut keys: Vec<Subject<'_>>, action: &BoardAction) -> Result<Prepared, CommandError> {
    match action {
        BoardAction::Combine { weighted, with_scores } => {
            Ok(board::listed(combined(&keys, weighted)?, *with_scores).into())
        }
        BoardAction::CombineInto(weighted) if !keys.is_empty() => {
            let target = keys.remove(0);
            board::stored(target, combined(&keys, weighted)?)
        }
        BoardAction::CountCommon { limit } => {
            let weighted =
                Weighted { combination: Combination::Intersection, weights: Vec::new(), aggregate: Aggregate::Sum };
            Ok(Reply::count(set::limited(combined(&keys, &weighted)?.len(), *limit)).into())
        }
        _ => Err(CommandError::Empty),
    }
}

/// One of the keys that are combined.
struct Source<'a, 'b> {
    key: &'a Subject<'b>,
    kind: Kind,
    weight: f64,
}

impl<'a, 'b> Source<'a, 'b> {
    fn new(key: &'a Subject<'b>, weight: f64) -> Result<Self, CommandError> {
        let kind = key.shown.unwrap_or(Kind::Board);
        if !matches!(kind, Kind::Set | Kind::Board) {
            return Err(CommandError::WrongType);
        }
        Ok(Self { key, kind, weight })
    }

    fn len(&self) -> usize {
        self.key.shown.map_or(0, |kind| self.key.state.count(kind))
    }

    /// Its members with their weighted scores, by name.
    fn members(&self) -> Result<Vec<(Bytes, f64)>, CommandError> {
        let elements = self.key.elements(self.kind)?.into_iter();
        Ok(elements.filter_map(|(id, element)| Some((id.name(), self.weigh(&element)?))).collect())
    }

    /// The weighted score of a member. Constant time.
    fn score(&self, member: &Bytes) -> Result<Option<f64>, CommandError> {
        let element = self.key.element_present(&ElementId::of(self.kind, member.clone()))?;
        Ok(element.and_then(|element| self.weigh(&element)))
    }

    fn weigh(&self, element: &Element) -> Option<f64> {
        let score = if self.kind == Kind::Board { element.score()? } else { 1.0 };
        Some(number(score * self.weight))
    }
}

/// What the keys come to, by score and then by name. As in Redis the smallest key is taken first, which decides how sums round.
fn combined(keys: &[Subject<'_>], weighted: &Weighted) -> Result<Vec<(Bytes, f64)>, CommandError> {
    let weights = weighted.weights.iter().copied().chain(std::iter::repeat(1.0));
    let mut sources =
        keys.iter().zip(weights).map(|(key, weight)| Source::new(key, weight)).collect::<Result<Vec<_>, _>>()?;
    if weighted.combination != Combination::Difference {
        sort_by(&mut sources, |one, other| one.len().cmp(&other.len()));
    }
    let Some((first, others)) = sources.split_first() else { return Ok(Vec::new()) };
    let mut scores: OrderedMap<Bytes, f64> = first.members()?.into_iter().collect();
    for other in others {
        match weighted.combination {
            Combination::Union => {
                for (member, score) in other.members()? {
                    match scores.get_mut(&member) {
                        Some(sum) => *sum = aggregated(weighted.aggregate, *sum, score),
                        None => {
                            scores.insert(member, score);
                        }
                    }
                }
            }
            Combination::Intersection => {
                let mut common = OrderedMap::new();
                for (member, sum) in scores {
                    if let Some(score) = other.score(&member)? {
                        common.insert(member, aggregated(weighted.aggregate, sum, score));
                    }
                }
                scores = common;
            }
            Combination::Difference => {
                let mut left = OrderedMap::new();
                for (member, score) in scores {
                    if other.score(&member)?.is_none() {
                        left.insert(member, score);
                    }
                }
                scores = left;
            }
        }
    }
    let mut ranked: Vec<(Bytes, f64)> = scores.into_iter().collect();
    // Stable, so that equal scores stay in the order of their names.
    sort_by(&mut ranked, |(_, a), (_, b)| a.total_cmp(b));
    Ok(ranked)
}

fn aggregated(aggregate: Aggregate, a: f64, b: f64) -> f64 {
    match aggregate {
        Aggregate::Sum => number(a + b),
        Aggregate::Min => a.min(b),
        Aggregate::Max => a.max(b),
    }
}

/// Zero for what is no number, and for negative zero.
fn number(score: f64) -> f64 {
    if score.is_nan() { 0.0 } else { score + 0.0 }
}
