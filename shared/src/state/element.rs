//! One element of a key: a string, a set member, a hash field or a board member. One join serves all four.
//!
//! An element is a causal base (what SET, SADD, HSET and ZADD write) and a sum (what INCR, HINCRBY and ZINCRBY add). Which
//! parts mean anything follows from the [`Kind`]; the join does not ask.

use super::{Amount, Causal, Ctx, Deadline, NewBase, Num, Part, SeenCut};
use crate::{
    few::Few,
    hlc::Hlc,
    id::{Dot, No, ReplicaId, Stamp, TimestampMs},
};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// A key's type.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Kind {
    /// Bytes, or an integer with increments.
    String,
    /// A set of members.
    Set,
    /// Fields with values.
    Hash,
    /// Members with scores, a sorted set.
    Board,
}

impl Kind {
    /// All types.
    pub const ALL: [Self; 4] = [Self::String, Self::Set, Self::Hash, Self::Board];

    /// The type of this number, as in `kind as u8`.
    pub fn from_tag(tag: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == tag)
    }

    /// What Redis' TYPE answers.
    pub fn redis_name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Set => "set",
            Self::Hash => "hash",
            Self::Board => "zset",
        }
    }
}

/// Names an element within its key.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum ElementId {
    /// The key's string.
    String,
    /// A set member.
    Member(Bytes),
    /// A hash field.
    Field(Bytes),
    /// A board member.
    Ranked(Bytes),
}

impl ElementId {
    /// The type that the element belongs to.
    pub fn kind(&self) -> Kind {
        match self {
            Self::String => Kind::String,
            Self::Member(_) => Kind::Set,
            Self::Field(_) => Kind::Hash,
            Self::Ranked(_) => Kind::Board,
        }
    }

    /// The element's own name; empty for the string.
    pub fn name(&self) -> Bytes {
        match self {
            Self::String => Bytes::new(),
            Self::Member(name) | Self::Field(name) | Self::Ranked(name) => name.clone(),
        }
    }

    /// The bytes of the element's own name; empty for the string.
    pub fn name_bytes(&self) -> &[u8] {
        match self {
            Self::String => &[],
            Self::Member(name) | Self::Field(name) | Self::Ranked(name) => name,
        }
    }

    /// The element of the kind with this number and of this name. A string has none, so that each element has one form.
    pub fn from_parts(tag: u8, name: Bytes) -> Option<Self> {
        let kind = Kind::from_tag(tag).filter(|kind| *kind != Kind::String || name.is_empty())?;
        Some(Self::of(kind, name))
    }

    /// The element of `kind` with this name; a string ignores it.
    pub fn of(kind: Kind, name: Bytes) -> Self {
        match kind {
            Kind::String => Self::String,
            Kind::Set => Self::Member(name),
            Kind::Hash => Self::Field(name),
            Kind::Board => Self::Ranked(name),
        }
    }
}

/// What one base operation wrote. Its stamp is its `hlc` with the dot it stands under.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum Base {
    /// The member is in the set.
    Member,
    /// A string's or field's bytes.
    Bytes {
        /// When.
        hlc: Hlc,
        /// What.
        value: Bytes,
    },
    /// A score set outright; the latest wins.
    Abs {
        /// When.
        hlc: Hlc,
        /// The score.
        score: f64,
    },
    /// A score raised by ZADD GT; the greatest wins.
    Max(f64),
    /// A score lowered by ZADD LT; the least wins.
    Min(f64),
    /// When a hash field ends; the greatest counts. It stands under a dot of its own, so that what removes or replaces the
    /// field takes away the deadlines that it saw, and no others.
    Until(Box<Deadline>),
    /// All that one replica spent of a limit within a window, which is a hash field. Of a replica's the latest counts, those
    /// of several add up, and with the last of them the field ends.
    Spent {
        /// How much.
        amount: u64,
        /// When it no longer matters.
        until: TimestampMs,
    },
}

impl Base {
    /// When the write happened, where that decides.
    pub fn hlc(&self) -> Option<Hlc> {
        match self {
            Self::Bytes { hlc, .. } | Self::Abs { hlc, .. } => Some(*hlc),
            Self::Until(deadline) => deadline.epoch().map(|epoch| epoch.hlc),
            Self::Member | Self::Max(_) | Self::Min(_) | Self::Spent { .. } => None,
        }
    }

    fn fits(&self, kind: Kind) -> bool {
        match self {
            Self::Member => kind == Kind::Set,
            Self::Bytes { .. } => matches!(kind, Kind::String | Kind::Hash),
            Self::Until(deadline) => {
                kind == Kind::Hash && **deadline != Deadline::default() && deadline.revoked().is_none()
            }
            Self::Spent { .. } => kind == Kind::Hash,
            Self::Abs { score, .. } | Self::Max(score) | Self::Min(score) => kind == Kind::Board && is_score(*score),
        }
    }
}

/// Whether a float may be a score: a number, and no negative zero.
pub fn is_score(score: f64) -> bool {
    !(score.is_nan() || score == 0.0 && score.is_sign_negative())
}

/// An element's increments: exact for integers, floats for scores.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum Sum {
    /// Strings and hash fields.
    Int(Num<i128>),
    /// Board members.
    Float(Num<f64>),
}

/// One increment.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub enum Increment {
    /// Of a string or hash field.
    Int(i128),
    /// Of a score; finite.
    Float(f64),
}

/// The cuts that an operation makes in an element's sum: what it saw of each replica.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum SeenCuts {
    /// Of integers.
    Int(Vec<SeenCut<i128>>),
    /// Of floats.
    Float(Vec<SeenCut<f64>>),
}

impl SeenCuts {
    /// Whether nothing was seen.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Int(cuts) => cuts.is_empty(),
            Self::Float(cuts) => cuts.is_empty(),
        }
    }

    /// Nothing, of an element of this type.
    pub fn none(kind: Kind) -> Self {
        match kind {
            Kind::String | Kind::Set | Kind::Hash => Self::Int(Vec::new()),
            Kind::Board => Self::Float(Vec::new()),
        }
    }

    /// Whether they may be of an element of this type.
    pub fn fits(&self, kind: Kind) -> bool {
        matches!(self, Self::Float(_)) == (kind == Kind::Board)
    }

    /// Of how many replicas something was seen.
    pub fn len(&self) -> usize {
        match self {
            Self::Int(cuts) => cuts.len(),
            Self::Float(cuts) => cuts.len(),
        }
    }

    /// Drops what was seen of `replica`.
    pub fn without(self, replica: ReplicaId) -> Self {
        match self {
            Self::Int(cuts) => Self::Int(cuts.into_iter().filter(|seen| seen.replica != replica).collect()),
            Self::Float(cuts) => Self::Float(cuts.into_iter().filter(|seen| seen.replica != replica).collect()),
        }
    }
}

impl Sum {
    fn empty(kind: Kind) -> Self {
        match kind {
            Kind::Board => Self::Float(Num::default()),
            Kind::String | Kind::Set | Kind::Hash => Self::Int(Num::default()),
        }
    }

    fn join(&mut self, other: &Self) -> bool {
        match (self, other) {
            (Self::Int(own), Self::Int(theirs)) => own.join(theirs),
            (Self::Float(own), Self::Float(theirs)) => own.join(theirs),
            // Decoders check that the sum fits the element's type.
            (Self::Int(_), Self::Float(_)) | (Self::Float(_), Self::Int(_)) => false,
        }
    }

    /// Whether any increment goes beyond its cut.
    pub fn is_visible(&self) -> bool {
        match self {
            Self::Int(num) => num.is_visible(),
            Self::Float(num) => num.is_visible(),
        }
    }

    /// Whether nothing is recorded.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Int(num) => num.is_empty(),
            Self::Float(num) => num.is_empty(),
        }
    }

    /// Up to which of its numbers a replica's increments are in it.
    pub(crate) fn counted(&self, replica: ReplicaId) -> Option<No> {
        match self {
            Self::Int(num) => num.part(replica)?.ent.map(|ent| ent.n),
            Self::Float(num) => num.part(replica)?.ent.map(|ent| ent.n),
        }
    }

    /// What an operation sees that resets all of it.
    pub fn seen(&self) -> SeenCuts {
        match self {
            Self::Int(num) => SeenCuts::Int(num.seen()),
            Self::Float(num) => SeenCuts::Float(num.seen()),
        }
    }

    /// Applies cuts; returns whether anything changed.
    pub fn cut(&mut self, cuts: &SeenCuts) -> bool {
        let mut changed = false;
        match (self, cuts) {
            (Self::Int(num), SeenCuts::Int(cuts)) => cuts.iter().for_each(|cut| changed |= num.cut(*cut)),
            (Self::Float(num), SeenCuts::Float(cuts)) => cuts.iter().for_each(|cut| changed |= num.cut(*cut)),
            (Self::Int(_), SeenCuts::Float(_)) | (Self::Float(_), SeenCuts::Int(_)) => {}
        }
        changed
    }

    /// Adds to the caller's own share.
    pub fn add(&mut self, replica: ReplicaId, no: No, by: Increment) {
        match (self, by) {
            (Self::Int(num), Increment::Int(by)) => num.add(replica, no, by),
            (Self::Float(num), Increment::Float(by)) => num.add(replica, no, by),
            (Self::Int(_), Increment::Float(_)) | (Self::Float(_), Increment::Int(_)) => {}
        }
    }

    /// Whether no replica's sum leaves the range of floats by this increment.
    pub fn stays_finite(&self, by: f64) -> bool {
        match self {
            Self::Float(num) => num.parts().all(|(_, part)| part.ent.is_none_or(|ent| (ent.acc + by).is_finite())),
            Self::Int(_) => true,
        }
    }

    /// The last number that each replica's share records, as dots.
    pub fn dots(&self) -> Vec<Dot> {
        fn of<A>(parts: &Num<A>) -> Vec<Dot>
        where
            A: super::Amount,
        {
            parts
                .parts()
                .filter_map(|(replica, part)| part.ent.as_ref().map(|ent| Dot { replica, no: ent.n }))
                .collect()
        }
        match self {
            Self::Int(num) => of(num),
            Self::Float(num) => of(num),
        }
    }

    fn is_canonical(&self, kind: Kind) -> bool {
        let finite = |part: &super::Part<f64>| {
            part.ent.is_none_or(|ent| ent.acc.is_finite()) && part.cut.is_none_or(|cut| cut.acc.is_finite())
        };
        match self {
            Self::Int(num) => kind != Kind::Board && num.is_canonical() && (kind != Kind::Set || num.is_empty()),
            Self::Float(num) => kind == Kind::Board && num.is_canonical() && num.parts().all(|(_, part)| finite(part)),
        }
    }
}

/// An element's state.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Element {
    /// What was written outright.
    pub base: Causal<Base>,
    /// What was added.
    pub sum: Sum,
}

impl Element {
    /// An absent element of `kind`.
    pub fn empty(kind: Kind) -> Self {
        Self { base: Causal::default(), sum: Sum::empty(kind) }
    }

    /// Joins `other`, known under `other_ctx`, into this, known under `own_ctx`.
    pub fn join(&mut self, other: &Self, own_ctx: &Ctx, other_ctx: &Ctx) -> bool {
        let changed = self.base.join(&other.base, own_ctx, other_ctx) | self.sum.join(&other.sum);
        self.drop_superseded();
        changed
    }

    /// Whether a reader sees the element, unless it has ended.
    pub fn is_present(&self) -> bool {
        self.base.iter().any(|(_, base)| !matches!(base, Base::Until(_))) || self.sum.is_visible()
    }

    /// Whether a reader sees the element at `now`.
    pub fn is_present_at(&self, now: TimestampMs) -> bool {
        self.is_present() && !self.deadline().is_past(now)
    }

    /// When a hash field ends; other elements have no deadline of their own.
    pub fn deadline(&self) -> Deadline {
        let spent = self.base.iter().filter_map(|(_, base)| match base {
            Base::Spent { until, .. } => Some(Deadline::of(None, Some(*until))),
            _ => None,
        });
        self.deadlines().map(|(_, deadline)| *deadline).chain(spent).max_by_key(Deadline::moved).unwrap_or_default()
    }

    /// What each replica spent here, ascending by replica.
    pub fn spent(&self) -> impl Iterator<Item = (ReplicaId, u64)> + '_ {
        self.base.iter().filter_map(|(dot, base)| match base {
            Base::Spent { amount, .. } => Some((dot.replica, *amount)),
            _ => None,
        })
    }

    /// Adds to what the dot's replica spent, which then stands under this dot alone.
    pub fn spend(&mut self, dot: Dot, amount: u64, until: TimestampMs) {
        let own = self.base.iter().rev().find_map(|(other, base)| match base {
            Base::Spent { amount, until } if other.replica == dot.replica => Some((*amount, *until)),
            _ => None,
        });
        let (before, lives) = own.unwrap_or((0, until));
        self.base.insert(dot, Base::Spent { amount: before.saturating_add(amount), until: until.max(lives) });
        self.drop_superseded();
    }

    /// Keeps of each replica's spends the latest. What is dropped is no loser that a removal could miss: who has seen the
    /// later has seen the earlier.
    fn drop_superseded(&mut self) {
        let mut last: Option<ReplicaId> = None;
        let mut superseded: Few<Dot, 1> = Few::new();
        for (dot, base) in self.base.iter().rev() {
            if !matches!(base, Base::Spent { .. }) {
                continue;
            }
            let later = last.replace(dot.replica);
            if later == Some(dot.replica) || later.is_some() && fault!(SpendsOfOthersDropped) {
                superseded.push(dot);
            }
        }
        if !superseded.is_empty() {
            self.base.remove_if(|dot| superseded.contains(&dot));
        }
    }

    /// The deadlines that stand, of which the greatest counts, with their dots.
    pub fn deadlines(&self) -> impl Iterator<Item = (Dot, &Deadline)> + '_ {
        self.base.iter().filter_map(|(dot, base)| match base {
            Base::Until(deadline) => Some((dot, &**deadline)),
            _ => None,
        })
    }

    /// Whether nothing at all is recorded, so that it need not be stored.
    pub fn is_empty(&self) -> bool {
        self.base.is_empty() && self.sum.is_empty()
    }

    /// What was written outright last, of strings, fields and scores that were set.
    pub(crate) fn latest_written(&self) -> Option<NewBase> {
        let written = self.base.iter().filter_map(|(dot, base)| match base {
            Base::Bytes { hlc, value } => Some((Stamp { hlc: *hlc, dot }, NewBase::Bytes(value.clone()))),
            Base::Abs { hlc, score } => Some((Stamp { hlc: *hlc, dot }, NewBase::Abs(*score))),
            _ => None,
        });
        written.max_by_key(|(stamp, _)| *stamp).map(|(_, base)| base)
    }

    /// The latest bytes written, without increments.
    pub fn latest_bytes(&self) -> Option<&Bytes> {
        self.base
            .iter()
            .filter_map(|(dot, base)| match base {
                Base::Bytes { hlc, value } => Some((Stamp { hlc: *hlc, dot }, value)),
                _ => None,
            })
            .max_by_key(|(stamp, _)| *stamp)
            .map(|(_, value)| value)
    }

    /// The bytes that GET or HGET answers: the latest base, plus increments and spends where it is an integer. A base that is no
    /// integer shows alone. `None` when absent.
    pub fn value(&self) -> Option<Bytes> {
        if !self.is_present() {
            return None;
        }
        match self.integer() {
            Ok(total) if self.sum.is_visible() || self.spent().next().is_some() => Some(Bytes::from(total.to_string())),
            _ => self.latest_bytes().cloned(),
        }
    }

    /// The integer that INCR continues from, 0 when absent; a merged view beyond i64 is clamped.
    pub fn integer(&self) -> Result<i64, NotAnInteger> {
        let base = match self.latest_bytes() {
            Some(bytes) => parse_integer(bytes).ok_or(NotAnInteger)?,
            None => 0,
        };
        let Sum::Int(sum) = &self.sum else { return Err(NotAnInteger) };
        let spent = self.spent().fold(0_i128, |total, (_, amount)| total.saturating_add(amount.into()));
        let total = i128::from(base).saturating_add(sum.value()).saturating_add(spent);
        Ok(i64::try_from(total).unwrap_or(if total < 0 { i64::MIN } else { i64::MAX }))
    }

    /// The score of a board member: `min(max(latest Abs, every Max), every Min)`, absent terms skipped, plus the
    /// increments in replica order. `None` when absent.
    pub fn score(&self) -> Option<f64> {
        let mut score = ScoreTerms::default();
        self.base.iter().for_each(|(dot, base)| score.base(dot, base));
        if let Sum::Float(sum) = &self.sum {
            sum.parts().for_each(|(_, part)| score.share(part));
        }
        score.total()
    }

    /// Every dot that the element's state mentions.
    pub fn dots(&self) -> impl Iterator<Item = Dot> + '_ {
        self.base.dots().chain(self.sum.dots())
    }

    /// The latest time written here.
    pub fn latest_hlc(&self) -> Option<Hlc> {
        self.base.iter().filter_map(|(_, base)| base.hlc()).max()
    }

    /// Whether the representation keeps its invariants and fits the type; a decoder asks.
    pub fn is_canonical(&self, kind: Kind) -> bool {
        self.base.is_canonical() && self.base.iter().all(|(_, base)| base.fits(kind)) && self.sum.is_canonical(kind)
    }
}

/// What a member's score is made of, taken one by one; see [`Element::score`].
#[derive(Clone, Default)]
pub(super) struct ScoreTerms {
    is_present: bool,
    latest: Option<(Stamp, f64)>,
    max: Option<f64>,
    min: Option<f64>,
    sum: f64,
}

impl ScoreTerms {
    /// Takes in what was written under this dot.
    pub(super) fn base(&mut self, dot: Dot, base: &Base) {
        self.is_present |= !matches!(base, Base::Until(_));
        match base {
            Base::Abs { hlc, score } => {
                let stamp = Stamp { hlc: *hlc, dot };
                if self.latest.is_none_or(|(other, _)| other < stamp) {
                    self.latest = Some((stamp, *score));
                }
            }
            Base::Max(score) => self.max = Some(self.max.map_or(*score, |max| max.max(*score))),
            Base::Min(score) => self.min = Some(self.min.map_or(*score, |min| min.min(*score))),
            Base::Member | Base::Bytes { .. } | Base::Until(_) | Base::Spent { .. } => {}
        }
    }

    /// Takes in what was written, where that is one score alone: however it was, it is the base.
    pub(super) fn only_base(&mut self, score: f64) {
        self.is_present = true;
        self.max = Some(score);
    }

    /// Takes in a replica's increments; those of the replica that sorts next come next.
    pub(super) fn share(&mut self, part: &Part<f64>) {
        self.is_present |= part.is_visible();
        self.sum = self.sum.plus(part.visible());
    }

    /// As [`Self::share`], of an amount of which nothing was reset.
    pub(super) fn amount(&mut self, amount: f64) {
        self.is_present = true;
        self.sum = self.sum.plus(amount);
    }

    /// The score, if the member is there.
    pub(super) fn total(&self) -> Option<f64> {
        let abs = self.latest.map(|(_, score)| score);
        let raised = match (abs, self.max) {
            (Some(abs), Some(max)) => Some(abs.max(max)),
            (abs, max) => abs.or(max),
        };
        let base = match (raised, self.min) {
            (Some(raised), Some(min)) => raised.min(min),
            (raised, min) => raised.or(min).unwrap_or(0.0),
        };
        let sum = if base.is_finite() { self.sum } else { 0.0 };
        // Adding positive zero turns a negative one into it.
        self.is_present.then_some((base + sum).clamp(f64::NEG_INFINITY, f64::INFINITY) + 0.0)
    }
}

/// An increment met a value that is no integer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the value is not an integer or out of range")]
pub struct NotAnInteger;

/// Parses an integer as Redis does: an optional minus, no plus, no leading zeros, within i64.
pub fn parse_integer(bytes: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(bytes).ok()?;
    let digits = text.strip_prefix('-').unwrap_or(text);
    let plain = digits.bytes().all(|b| b.is_ascii_digit()) && (digits == "0" || !digits.starts_with('0'));
    if !plain || text == "-0" {
        return None;
    }
    text.parse().ok()
}
