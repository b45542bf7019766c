//! Which members of a board ZRANGE selects, apart from how the board is stored.

use bytes::Bytes;
use std::ops::Range;

/// A selection from a board in the order that the command names.
#[derive(Clone, PartialEq, Debug)]
pub enum Selection {
    /// By place in the order.
    Ranks(RankRange),
    /// By score; `limit` then cuts what was found, in the order of the reply.
    Scores {
        /// The scores selected.
        scores: ScoreRange,
        /// The part of these that is wanted.
        limit: Limit,
    },
    /// By name, which is an order only where all scores are the same; `limit` as for scores.
    Names {
        /// The names selected.
        names: LexRange,
        /// The part of these that is wanted.
        limit: Limit,
    },
}

/// Places from `start` to `stop`, both included, as sent: negative ones count from the end, −1 is the last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RankRange {
    /// The first place.
    pub start: i64,
    /// The last place.
    pub stop: i64,
}

impl RankRange {
    /// The places within a board of `len` members: an end is past the last place, and the range may be empty.
    pub fn within(self, len: u64) -> Range<u64> {
        let from_end = |place: i64| match u64::try_from(place) {
            Ok(place) => Some(place),
            Err(_) => len.checked_sub(place.unsigned_abs()),
        };
        let start = from_end(self.start).unwrap_or(0).min(len);
        let end = from_end(self.stop).map_or(0, |stop| stop.saturating_add(1)).min(len);
        start..end.max(start)
    }
}

/// Scores between two bounds. It holds nothing if `min` lies above `max`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct ScoreRange {
    /// The lower bound.
    pub min: ScoreBound,
    /// The upper bound.
    pub max: ScoreBound,
}

impl ScoreRange {
    /// Whether `score` lies within.
    pub fn contains(&self, score: f64) -> bool {
        self.min.admits_above(score) && self.max.admits_below(score)
    }
}

/// One end of a [`ScoreRange`]; never NaN, perhaps infinite.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum ScoreBound {
    /// The score itself belongs to the range.
    Inclusive(f64),
    /// Sent with a `(`: the score itself does not belong to the range.
    Exclusive(f64),
}

impl ScoreBound {
    /// Whether `score` satisfies this as a lower bound.
    pub fn admits_above(self, score: f64) -> bool {
        match self {
            Self::Inclusive(bound) => score >= bound,
            Self::Exclusive(bound) => score > bound,
        }
    }

    /// Whether `score` satisfies this as an upper bound.
    pub fn admits_below(self, score: f64) -> bool {
        match self {
            Self::Inclusive(bound) => score <= bound,
            Self::Exclusive(bound) => score < bound,
        }
    }
}

/// Names between two bounds. It holds nothing if `min` lies above `max`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LexRange {
    /// The lower bound.
    pub min: LexBound,
    /// The upper bound.
    pub max: LexBound,
}

impl LexRange {
    /// Whether `name` lies within.
    pub fn contains(&self, name: &[u8]) -> bool {
        let is_above = match &self.min {
            LexBound::Lowest => true,
            LexBound::Highest => false,
            LexBound::Inclusive(bound) => name >= &bound[..],
            LexBound::Exclusive(bound) => name > &bound[..],
        };
        is_above
            && match &self.max {
                LexBound::Lowest => false,
                LexBound::Highest => true,
                LexBound::Inclusive(bound) => name <= &bound[..],
                LexBound::Exclusive(bound) => name < &bound[..],
            }
    }
}

/// One end of a [`LexRange`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LexBound {
    /// `-`: below every name.
    Lowest,
    /// `+`: above every name.
    Highest,
    /// Sent with a `[`: the name itself belongs to the range.
    Inclusive(Bytes),
    /// Sent with a `(`: the name itself does not belong to the range.
    Exclusive(Bytes),
}

impl LexBound {
    /// A bound as sent.
    pub fn parse(text: &Bytes) -> Option<Self> {
        match &text[..] {
            b"-" => Some(Self::Lowest),
            b"+" => Some(Self::Highest),
            [b'[', ..] => Some(Self::Inclusive(text.slice(1..))),
            [b'(', ..] => Some(Self::Exclusive(text.slice(1..))),
            _ => None,
        }
    }
}

/// LIMIT: skip `offset`, then take `count`, or all that follow.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Limit {
    /// How many are skipped.
    pub offset: u64,
    /// How many are taken; all if none is given.
    pub count: Option<u64>,
}

impl Limit {
    /// Redis's reading of the two numbers: a negative offset selects nothing, a negative count everything.
    pub fn from_sent(offset: i64, count: i64) -> Self {
        match u64::try_from(offset) {
            Ok(offset) => Self { offset, count: u64::try_from(count).ok() },
            Err(_) => Self { offset: 0, count: Some(0) },
        }
    }

    /// The wanted part of what these ranks hold, which are counted from the end if `reverse`.
    pub fn of_ranks(self, ranks: Range<u32>, reverse: bool) -> Range<u32> {
        let places = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
        let (skipped, taken) = (places(self.offset), self.count.map_or(u32::MAX, places));
        if reverse {
            let end = ranks.end.saturating_sub(skipped).max(ranks.start);
            end.saturating_sub(taken).max(ranks.start)..end
        } else {
            let start = ranks.start.saturating_add(skipped).min(ranks.end);
            start..start.saturating_add(taken).min(ranks.end)
        }
    }

    /// The wanted part of `found`.
    pub fn apply<I: Iterator>(self, found: I) -> impl Iterator<Item = I::Item> {
        let places = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
        found.skip(places(self.offset)).take(self.count.map_or(usize::MAX, places))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_of_ranks_takes_what_it_takes_of_their_items() {
        for (offset, count) in
            [(0, None), (0, Some(2)), (1, Some(2)), (3, Some(9)), (4, None), (9, Some(1)), (0, Some(0))]
        {
            let limit = Limit { offset, count };
            let forth: Vec<u32> = limit.apply(5..9).collect();
            assert_eq!(limit.of_ranks(5..9, false).collect::<Vec<_>>(), forth, "{limit:?}");
            let back: Vec<u32> = limit.apply((5..9).rev()).collect();
            assert_eq!(limit.of_ranks(5..9, true).rev().collect::<Vec<_>>(), back, "{limit:?}");
        }
    }

    #[test]
    fn ranks_resolve_as_in_redis() {
        let table = [
            ((0, -1), 4, 0..4),
            ((1, 2), 4, 1..3),
            ((-2, -1), 4, 2..4),
            ((-100, 100), 4, 0..4),
            ((-100, -100), 4, 0..0),
            ((2, 1), 4, 2..2),
            ((5, 10), 4, 4..4),
            ((3, 3), 4, 3..4),
            ((0, -1), 0, 0..0),
            ((i64::MIN, i64::MAX), 4, 0..4),
            ((i64::MAX, i64::MIN), 4, 4..4),
        ];
        for ((start, stop), len, expected) in table {
            assert_eq!(RankRange { start, stop }.within(len), expected, "{start} {stop} of {len}");
        }
    }

    #[test]
    fn bounds_admit_their_own_score_only_when_inclusive() {
        let range = |min, max| ScoreRange { min, max };
        let (one, two) = (ScoreBound::Inclusive(1.0), ScoreBound::Inclusive(2.0));
        assert!(range(one, two).contains(1.0) && range(one, two).contains(2.0));
        assert!(!range(ScoreBound::Exclusive(1.0), two).contains(1.0));
        assert!(!range(one, ScoreBound::Exclusive(2.0)).contains(2.0));
        assert!(!range(two, one).contains(1.5));
        let infinite = ScoreBound::Inclusive(f64::INFINITY);
        assert!(range(one, infinite).contains(f64::INFINITY));
    }

    #[test]
    fn limits_cut_as_in_redis() {
        let cut = |offset, count| Limit::from_sent(offset, count).apply(0..4).collect::<Vec<_>>();
        assert_eq!(cut(1, 2), [1, 2]);
        assert_eq!(cut(1, -5), [1, 2, 3]);
        assert_eq!(cut(-1, 2), []);
        assert_eq!(cut(1, 0), []);
        assert_eq!(cut(9, 1), []);
        assert_eq!(Limit::default().apply(0..4).count(), 4);
    }
}
