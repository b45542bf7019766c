//! Prepared operations: an effect together with the dots and cuts that it observed.
//!
//! Whoever reads (a leaf, or a hub for an HTTP command) prepares; the hub mints the dot and stamp and applies. Preparing
//! again elsewhere would observe something else, so an effect is never re-evaluated.

use super::{Ctx, ElementId, Increment, SeenCuts};
use crate::id::{Dot, Key, Stamp, TimestampMs};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// What a base write writes; the hub adds the time.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum NewBase {
    /// SADD.
    Member,
    /// SET, HSET.
    Bytes(Bytes),
    /// ZADD.
    Abs(f64),
    /// ZADD GT.
    Max(f64),
    /// ZADD LT.
    Min(f64),
}

/// A change of a key's deadline.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub enum DeadlineChange {
    /// Not before this time, within the epoch that was seen.
    Raise(TimestampMs),
    /// Exactly this, or none, in an epoch of its own.
    Open(Option<TimestampMs>),
    /// Revoked until then, whatever the deadline is. Of keys only.
    Revoke(TimestampMs),
}

/// One effect on one key. Each takes one number of the hub's sequence.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum Effect {
    /// Replaces what was seen of an element by `base`, or by nothing.
    Write {
        /// Which element.
        element: ElementId,
        /// What it becomes; `None` removes it.
        base: Option<NewBase>,
        /// The base dots that were seen there.
        seen: Vec<Dot>,
        /// The sums that were seen there.
        cuts: SeenCuts,
    },
    /// Adds to an element's sum.
    Add {
        /// Which element.
        element: ElementId,
        /// How much.
        by: Increment,
    },
    /// Spends of a limit within a window, which is a hash field; what the replica spent there before is added.
    Spend {
        /// Which field.
        element: ElementId,
        /// How much.
        amount: u64,
        /// When it no longer matters.
        until: TimestampMs,
    },
    /// Moves a hash field's deadline; neither its value nor the type that shows changes.
    Touch {
        /// Which field.
        element: ElementId,
        /// How.
        change: DeadlineChange,
        /// The epoch that was seen there.
        epoch: Option<Stamp>,
        /// The deadlines that were seen there, which this one replaces.
        seen: Vec<Dot>,
    },
    /// Removes all that was seen of the key.
    Wipe {
        /// Everything known of the key.
        seen: Ctx,
        /// The sums that were seen, per element that has any.
        cuts: Vec<(ElementId, SeenCuts)>,
    },
    /// Moves the deadline.
    Deadline {
        /// How.
        change: DeadlineChange,
        /// The epoch that was seen. What opened a later one meanwhile is not undone by a raise.
        seen: Option<Stamp>,
    },
}

/// The effects of one command on one key: all of them or none.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Operation {
    /// The key.
    pub key: Key,
    /// When the operation was prepared, by the leaf's clock corrected with its hub's.
    pub at: TimestampMs,
    /// What it does, in order.
    pub effects: Vec<Effect>,
}

/// A dot with its replica and number, or a sum's part, at most.
const DOT_BYTES: usize = 40;

impl Operation {
    /// Whether it only takes away, as may be done to a key that is revoked.
    pub fn only_removes(&self) -> bool {
        let removes = |effect: &Effect| {
            matches!(effect, Effect::Wipe { .. } | Effect::Deadline { change: DeadlineChange::Revoke(_), .. })
        };
        self.effects.iter().all(removes)
    }

    /// Some bytes more than the operation takes in a frame. Linear in it.
    pub fn approximate_bytes(&self) -> usize {
        let effects = self.effects.iter().map(Effect::approximate_bytes);
        effects.fold(self.key.as_bytes().len().saturating_add(DOT_BYTES), usize::saturating_add)
    }
}

impl Effect {
    fn approximate_bytes(&self) -> usize {
        let named = |element: &ElementId, parts: usize| {
            element.name_bytes().len().saturating_add(parts.saturating_add(1).saturating_mul(DOT_BYTES))
        };
        match self {
            Self::Write { element, base, seen, cuts } => {
                let value = if let Some(NewBase::Bytes(value)) = base { value.len() } else { 9 };
                named(element, seen.len().saturating_add(cuts.len())).saturating_add(value)
            }
            Self::Add { element, .. } | Self::Spend { element, .. } => named(element, 0),
            Self::Touch { element, seen, .. } => named(element, seen.len().saturating_add(1)),
            Self::Wipe { seen, cuts } => {
                let cuts = cuts.iter().map(|(element, cuts)| named(element, cuts.len()));
                let seen = seen.interval_count().saturating_add(1).saturating_mul(DOT_BYTES);
                cuts.fold(seen, usize::saturating_add)
            }
            Self::Deadline { .. } => DOT_BYTES.saturating_mul(2),
        }
    }
}
