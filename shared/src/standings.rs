//! A board's head and the places of a few of its members: what a leaf is shown of a board that it follows without holding.
//!
//! [`Standings`] are values to read, as a hub had them; they are never merged. A leaf shows them with its own open operations
//! on top, as a [`Ranking`], and says of each rank whether it is exact. It is where everybody who may stand above is
//! known: down to the last of the head, and of a listed member as long as only known members pass it.

use crate::{
    id::TimestampMs,
    limits::{FRAME_BYTES_TARGET, STANDINGS_MEMBERS_MAX, STANDINGS_TOP_MAX},
    ordered::{OrderedMap, sort_by},
    state::{Effect, ElementId, Increment, KeyView, Kind, NewBase},
};
use bytes::Bytes;
use std::cmp::Ordering;

/// What a leaf asks to be shown of a board.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct StandingsQuery {
    /// How many of the highest, at most [`STANDINGS_TOP_MAX`].
    pub top: u32,
    /// Of which members the places too, at most [`STANDINGS_MEMBERS_MAX`].
    pub members: Vec<Bytes>,
}

/// Where a member stands.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Place {
    /// How many are above it.
    pub rank: u64,
    /// Its score.
    pub score: f64,
}

/// A board's head, the highest first, and the places of the members that were asked for, as a hub had them.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Standings {
    /// How many members the board has.
    pub size: u64,
    /// The highest with their scores, as many as were asked for if there are so many, and if they fit a frame.
    pub top: Vec<(Bytes, f64)>,
    /// Each member that was asked for; nothing if it is not on the board.
    pub members: Vec<(Bytes, Option<Place>)>,
}

/// A member as a leaf shows it.
#[derive(Clone, PartialEq, Debug)]
pub struct RankedMember {
    /// Its name.
    pub member: Bytes,
    /// Its score, with the leaf's own operations.
    pub score: f64,
    /// How many are above it, or are taken to be.
    pub rank: u64,
    /// Whether the rank is what it would be with all of the board at hand, as the hub had it and with the leaf's own
    /// operations on top; otherwise it is estimated.
    pub is_exact: bool,
}

/// Standings as a leaf shows them.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Ranking {
    /// Whether the hub holds the board as the origin has it; otherwise it knows only what came to it, and no rank is exact.
    pub is_held: bool,
    /// How many members the board has, as far as is known.
    pub size: u64,
    /// The highest.
    pub top: Vec<RankedMember>,
    /// Those of the members asked for that are on the board, in the order in which they were asked for.
    pub members: Vec<RankedMember>,
}

impl StandingsQuery {
    /// The query with no more than may be asked for.
    #[must_use]
    pub fn bounded(mut self) -> Self {
        self.top = self.top.min(STANDINGS_TOP_MAX);
        self.members.truncate(STANDINGS_MEMBERS_MAX);
        self
    }
}

impl Standings {
    /// What a board shows now; nothing of a key that is none. Logarithmic in the board for each member, and linear in the head.
    #[must_use]
    pub fn of(view: &KeyView<'_>, query: &StandingsQuery, now: TimestampMs) -> Self {
        let absent = |member: &Bytes| (member.clone(), None);
        if view.shown(now) != Some(Kind::Board) {
            return Self { members: query.members.iter().map(absent).collect(), ..Self::default() };
        }
        let board = view.board();
        let size = board.len();
        let mut bytes = 0_usize;
        let mut top = board.listed(size.saturating_sub(query.top)..size, true);
        let fits = top.iter().take_while(|(member, _)| {
            bytes = bytes.saturating_add(member.len());
            bytes <= FRAME_BYTES_TARGET
        });
        let fitting = fits.count();
        top.truncate(fitting);
        let place = |member: &Bytes| {
            let element = view.element(&ElementId::Ranked(member.clone()))?;
            let score = element.score().filter(|_| element.is_present_at(now))?;
            let above = size.saturating_sub(board.rank(score, member)).saturating_sub(1);
            Some(Place { rank: above.into(), score })
        };
        let members = query.members.iter().map(|member| (member.clone(), place(member))).collect();
        Self { size: size.into(), top, members }
    }

    /// The standings with a leaf's own operations on top, in order, which the hub did not know. Linearithmic in what is listed.
    #[must_use]
    pub fn with<'a>(&self, is_held: bool, own: impl IntoIterator<Item = &'a Effect>) -> Ranking {
        let mut scores: OrderedMap<Bytes, Listed> = OrderedMap::new();
        for (rank, (member, score)) in (0..).zip(&self.top) {
            scores.insert(member.clone(), Listed::at(Place { rank, score: *score }));
        }
        for (member, place) in &self.members {
            scores.get_or_insert_with(member.clone(), || place.map_or(Listed::ABSENT, Listed::at));
        }
        let mut known = Known { scores, is_whole: self.top.len() as u64 >= self.size };
        own.into_iter().for_each(|effect| known.apply(effect));
        known.ranked(self, is_held)
    }
}

/// What is known of a member.
#[derive(Clone, Copy, Debug)]
struct Listed {
    before: Option<Place>,
    score: Option<f64>,
    /// Whether the hub said whether it was on the board.
    is_listed: bool,
    /// Whether the score is sure, and not just what was added to one that nobody told.
    is_sure: bool,
}

impl Listed {
    const ABSENT: Self = Self { before: None, score: None, is_listed: true, is_sure: true };
    const UNKNOWN: Self = Self { before: None, score: None, is_listed: false, is_sure: false };

    fn at(place: Place) -> Self {
        Self { before: Some(place), score: Some(place.score), is_listed: true, is_sure: true }
    }
}

struct Known {
    scores: OrderedMap<Bytes, Listed>,
    /// Whether nobody else is on the board.
    is_whole: bool,
}

impl Known {
    fn of(&mut self, element: &ElementId) -> Option<&mut Listed> {
        let ElementId::Ranked(member) = element else { return None };
        let unknown = if self.is_whole { Listed::ABSENT } else { Listed::UNKNOWN };
        Some(self.scores.get_or_insert_with(member.clone(), || unknown))
    }

    fn apply(&mut self, effect: &Effect) {
        match effect {
            Effect::Add { element, by: Increment::Float(by) } => {
                if let Some(listed) = self.of(element) {
                    listed.score = Some(listed.score.unwrap_or_default() + by);
                }
            }
            Effect::Write { element, base, .. } => {
                if let Some(listed) = self.of(element) {
                    listed.is_sure |= matches!(base, None | Some(NewBase::Abs(_)));
                    listed.score = match base {
                        Some(NewBase::Abs(score)) => Some(*score),
                        Some(NewBase::Max(score)) => Some(listed.score.map_or(*score, |known| known.max(*score))),
                        Some(NewBase::Min(score)) => Some(listed.score.map_or(*score, |known| known.min(*score))),
                        Some(NewBase::Member | NewBase::Bytes(_)) | None => None,
                    };
                }
            }
            Effect::Wipe { .. } => {
                self.scores.values_mut().for_each(|listed| (listed.score, listed.is_sure) = (None, true));
                self.is_whole = true;
            }
            Effect::Add { .. } | Effect::Spend { .. } | Effect::Touch { .. } | Effect::Deadline { .. } => {}
        }
    }

    fn ranked(&self, standings: &Standings, is_held: bool) -> Ranking {
        // Whoever is not known stands below the last of the head.
        let last = standings.top.last().filter(|_| !self.is_whole);
        let is_above_all_others = |member: &Bytes, score: f64| {
            self.is_whole || last.is_some_and(|(other, least)| above((member, score), (other, *least)).is_le())
        };
        let mut present: Vec<(&Bytes, f64, &Listed)> =
            self.scores.iter().filter_map(|(member, listed)| Some((member, listed.score?, listed))).collect();
        sort_by(&mut present, |(a, a_score, _), (b, b_score, _)| above((a, *a_score), (b, *b_score)));
        let is_head_sure = is_held && self.scores.iter().all(|(_, listed)| listed.is_sure);
        // Who was nowhere listed may have stood above any member below the head.
        let is_rest_sure = is_head_sure && self.scores.iter().all(|(_, listed)| listed.is_listed);
        let ranked = |at: usize| {
            let (member, score, listed) = present.get(at)?;
            let row =
                |rank: u64, is_exact: bool| RankedMember { member: (*member).clone(), score: *score, rank, is_exact };
            if is_above_all_others(member, *score) {
                return Some(row(at as u64, is_head_sure));
            }
            let Some(before) = listed.before else {
                // Below the head, and nobody said where: as far up as it may be.
                return Some(row((at as u64).max(standings.top.len() as u64), false));
            };
            let passed = self.passed((member, *score), before);
            let rank = before.rank.saturating_add_signed(passed).max(at as u64);
            Some(row(rank, is_rest_sure && before.score == *score))
        };
        let rows: Vec<RankedMember> = (0..present.len()).filter_map(ranked).collect();
        let head = rows.iter().take_while(|row| is_above_all_others(&row.member, row.score));
        let of = |(member, _): &(Bytes, Option<Place>)| rows.iter().find(|row| row.member == *member).cloned();
        let change = self
            .scores
            .iter()
            .filter(|(_, listed)| listed.is_listed)
            .map(|(_, listed)| i64::from(listed.score.is_some()).saturating_sub(listed.before.is_some().into()));
        let change: i64 = change.fold(0, i64::saturating_add);
        let size = if self.is_whole { present.len() as u64 } else { standings.size.saturating_add_signed(change) };
        Ranking {
            is_held,
            size,
            top: head.cloned().collect(),
            members: standings.members.iter().filter_map(of).collect(),
        }
    }

    /// How many known members more than before stand above one.
    fn passed(&self, (member, score): (&Bytes, f64), before: Place) -> i64 {
        let others = self.scores.iter().filter(|(other, _)| *other != member);
        let changes = others.map(|(other, listed)| {
            let is_above = |theirs: Option<f64>, own: f64| {
                theirs.is_some_and(|theirs| above((other, theirs), (member, own)).is_lt())
            };
            let now = is_above(listed.score, score);
            let then = is_above(listed.before.map(|place| place.score), before.score);
            i64::from(now).saturating_sub(then.into())
        });
        changes.fold(0, i64::saturating_add)
    }
}

/// The order of a board from its highest member on: that of ZRANGE REV.
fn above((a, a_score): (&Bytes, f64), (b, b_score): (&Bytes, f64)) -> Ordering {
    b_score.partial_cmp(&a_score).unwrap_or(Ordering::Equal).then_with(|| b.cmp(a))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Element;
    use proptest::prelude::*;

    const MEMBERS: u8 = 12;

    fn name(member: u8) -> Bytes {
        Bytes::from(format!("m{member:02}"))
    }

    fn ordered(scores: &[Option<f64>]) -> Vec<(Bytes, f64)> {
        let mut all: Vec<(Bytes, f64)> =
            (0..).zip(scores).filter_map(|(member, score)| Some((name(member), (*score)?))).collect();
        all.sort_by(|(a, a_score), (b, b_score)| above((a, *a_score), (b, *b_score)));
        all
    }

    fn standings(scores: &[Option<f64>], query: &StandingsQuery) -> Standings {
        let all = ordered(scores);
        let place = |member: &Bytes| {
            let rank = all.iter().position(|(other, _)| other == member)?;
            Some(Place { rank: rank as u64, score: all[rank].1 })
        };
        Standings {
            size: all.len() as u64,
            top: all.iter().take(query.top as usize).cloned().collect(),
            members: query.members.iter().map(|member| (member.clone(), place(member))).collect(),
        }
    }

    #[derive(Clone, Debug)]
    enum Own {
        Add(u8, i8),
        Set(u8, i8),
        Raise(u8, i8),
        Remove(u8),
        Clear,
    }

    fn own() -> impl Strategy<Value = Own> {
        let (member, score) = (0..MEMBERS, -9_i8..9);
        prop_oneof![
            4 => (member.clone(), score.clone()).prop_map(|(member, by)| Own::Add(member, by)),
            2 => (member.clone(), score.clone()).prop_map(|(member, score)| Own::Set(member, score)),
            1 => (member.clone(), score).prop_map(|(member, score)| Own::Raise(member, score)),
            2 => member.prop_map(Own::Remove),
            1 => Just(Own::Clear),
        ]
    }

    fn effect(own: &Own) -> Effect {
        let write = |member: u8, base| Effect::Write {
            element: ElementId::Ranked(name(member)),
            base,
            seen: Vec::new(),
            cuts: Element::empty(Kind::Board).sum.seen(),
        };
        match own {
            Own::Add(member, by) => {
                Effect::Add { element: ElementId::Ranked(name(*member)), by: Increment::Float(f64::from(*by)) }
            }
            Own::Set(member, score) => write(*member, Some(NewBase::Abs(f64::from(*score)))),
            Own::Raise(member, score) => write(*member, Some(NewBase::Max(f64::from(*score)))),
            Own::Remove(member) => write(*member, None),
            Own::Clear => Effect::Wipe { seen: crate::state::Ctx::default(), cuts: Vec::new() },
        }
    }

    fn act(scores: &mut [Option<f64>], own: &Own) {
        match *own {
            Own::Add(member, by) => {
                let score = &mut scores[usize::from(member)];
                *score = Some(score.unwrap_or(0.0) + f64::from(by));
            }
            Own::Set(member, score) => scores[usize::from(member)] = Some(score.into()),
            Own::Raise(member, score) => {
                let known = &mut scores[usize::from(member)];
                *known = Some(known.map_or(score.into(), |known| known.max(score.into())));
            }
            Own::Remove(member) => scores[usize::from(member)] = None,
            Own::Clear => scores.fill(None),
        }
    }

    proptest! {
        #[test]
        fn a_rank_that_is_called_exact_is_that_of_the_whole_board(
            scores in prop::collection::vec(prop::option::weighted(0.8, (-9_i8..9).prop_map(f64::from)), MEMBERS as usize),
            top in 0_u32..6,
            members in prop::collection::vec((0..MEMBERS).prop_map(name), 0..4),
            owns in prop::collection::vec(own(), 0..5),
        ) {
            let shown = standings(&scores, &StandingsQuery { top, members });
            let mut after = scores;
            owns.iter().for_each(|own| act(&mut after, own));
            let effects: Vec<Effect> = owns.iter().map(effect).collect();
            let ranking = shown.with(true, &effects);
            let truth = ordered(&after);
            for row in ranking.top.iter().chain(&ranking.members).filter(|row| row.is_exact) {
                let there = truth.get(row.rank as usize).map(|(member, score)| (member, *score));
                prop_assert_eq!(there, Some((&row.member, row.score)), "{:?}", ranking);
            }
            // Without own operations all is exact, and all is there.
            if owns.is_empty() {
                prop_assert!(ranking.top.iter().chain(&ranking.members).all(|row| row.is_exact));
                prop_assert_eq!(ranking.top.len(), shown.top.len());
            }
            prop_assert!(!shown.with(false, &effects).top.iter().any(|row| row.is_exact));
        }
    }

    #[test]
    fn a_member_that_rises_into_the_head_is_ranked_exactly_and_below_it_not() {
        let scores: Vec<Option<f64>> =
            (0..MEMBERS).map(|member| Some(f64::from(100 - 10 * i32::from(member)))).collect();
        let shown = standings(&scores, &StandingsQuery { top: 3, members: vec![name(9)] });
        let rise = |by: f64| Effect::Add { element: ElementId::Ranked(name(9)), by: Increment::Float(by) };
        let place = |by: f64| {
            let ranking = shown.with(true, &[rise(by)]);
            (ranking.members[0].rank, ranking.members[0].score, ranking.members[0].is_exact, ranking.top.len())
        };
        assert_eq!(place(0.0), (9, 10.0, true, 3));
        assert_eq!(place(40.0), (9, 50.0, false, 3));
        assert_eq!(place(85.0), (1, 95.0, true, 4));
    }
}
