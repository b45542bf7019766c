//! A key in a hub: its state, and per element when this hub last changed it.

use crate::{
    id::{Dot, No},
    state::{ElementId, KeyState, Touched},
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
}

impl Entry {
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

    /// After a whole-key removal the header's wipe speaks for all that is gone, so its elements need no rows.
    pub(super) fn forget_wiped(&mut self) {
        let (state, wipe) = (&self.state, &self.state.header().wipe);
        self.changes
            .retain(|id, change| state.element(id).is_some() || !change.dead.iter().all(|dot| wipe.contains(*dot)));
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
