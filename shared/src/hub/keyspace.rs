//! A key in a hub: its state, and per element when this hub last changed it.

use crate::{
    id::{Dot, No, TimestampMs},
    limits::EXPIRY_GRACE_MS,
    state::{Deadline, ElementId, KeyState, Touched},
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What an element's row bears beside its state, as long as the hub's changes to it are not stable.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Change {
    /// The hub's number that last changed the element.
    pub(super) no: No,
    /// The dots that the hub's operations declared dead here; kept until stable, so that an origin which was rolled back
    /// learns of them again.
    pub(super) dead: Vec<Dot>,
}

/// A key.
#[derive(Debug, Default)]
pub(super) struct Entry {
    pub(super) state: KeyState,
    /// The hub's number that last changed the header; zero if it never did.
    pub(super) header_no: No,
    /// The elements with changes of this hub that are not known stable.
    pub(super) changes: BTreeMap<ElementId, Change>,
    /// Whether the origin keeps this hub up to date on the key.
    pub(super) is_held: bool,
    /// The deadline by which the origin goes, as far as this hub knows: some time after it the origin has forgotten the key,
    /// however long it was kept alive here meanwhile.
    origin_end: Option<TimestampMs>,
    /// The deadline in what is on its way.
    told_end: Option<TimestampMs>,
}

impl Entry {
    /// The origin showed the key with this deadline.
    pub(super) fn note_origin_end(&mut self, end: Option<TimestampMs>) {
        self.origin_end = end;
    }

    /// The key goes to the origin as it is.
    pub(super) fn note_sent(&mut self) {
        self.told_end = self.state.deadline().at();
    }

    /// What was on its way has arrived.
    pub(super) fn note_told(&mut self) {
        self.origin_end = self.told_end;
    }

    /// The origin went back, or this hub forgot what it told: by which deadline the origin goes is not known.
    pub(super) fn doubt_origin_end(&mut self) {
        self.origin_end = self.state.deadline().at().map(|_| TimestampMs(0));
    }

    /// Whether the origin may have forgotten what it had of the key, so that changes alone would not restore it. Early
    /// enough that what is sent before arrives in time.
    pub(super) fn may_be_forgotten(&self, now: TimestampMs) -> bool {
        self.origin_end.is_some_and(|end| end.plus_ms(EXPIRY_GRACE_MS / 2) <= now)
    }

    /// Whether the key here is the rest of one that the origin has forgotten: long expired, under a deadline that the
    /// origin does not know any more.
    pub(super) fn is_left_over(&self, at_origin: Deadline, now: TimestampMs) -> bool {
        let own = self.state.deadline();
        own.at().is_some_and(|at| at.plus_ms(EXPIRY_GRACE_MS) <= now) && at_origin < own
    }

    /// Takes note of what an own operation touched.
    pub(super) fn note(&mut self, no: No, touched: &Touched) {
        self.header_no = no;
        for (id, dead) in &touched.elements {
            let change = self.changes.entry(id.clone()).or_default();
            change.no = no;
            for dot in dead {
                if !change.dead.contains(dot) {
                    change.dead.push(*dot);
                }
            }
        }
    }

    /// After a whole-key removal the header's wipe speaks for all that is gone; returns the elements that need no row any
    /// more.
    pub(super) fn forget_wiped(&mut self) -> Vec<ElementId> {
        let (state, wipe) = (&self.state, &self.state.header().wipe);
        let mut gone = Vec::new();
        self.changes.retain(|id, change| {
            let is_needed = state.element(id).is_some() || !change.dead.iter().all(|dot| wipe.contains(*dot));
            if !is_needed {
                gone.push(id.clone());
            }
            is_needed
        });
        gone
    }

    /// How many of the key's rows this hub changed after `no`.
    pub(super) fn rows_changed_after(&self, no: No) -> usize {
        let elements = self.changes.values().filter(|change| change.no > no).count();
        elements.saturating_add(usize::from(self.header_no > no))
    }

    /// The latest of this hub's changes.
    pub(super) fn latest(&self) -> No {
        self.header_no
    }

    /// Forgets what is known stable; returns the elements that need no row any more.
    pub(super) fn settle(&mut self, stable: No) -> Vec<ElementId> {
        let mut gone = Vec::new();
        self.changes.retain(|id, change| {
            let is_open = change.no > stable;
            if !is_open && self.state.element(id).is_none() {
                gone.push(id.clone());
            }
            is_open
        });
        gone
    }
}
