//! When a hub is asked for its next batch.
//!
//! Once after each of its frames: as soon as few enough of its slots are not committed, and not before its window has passed.

use super::{Link, LinkState, Origin, OriginEffect};
use crate::{id::TimestampMs, message::OriginToHub, slot::Slot};

/// A frame of so many keys, or with which so many slots are not committed, is one of much: its hub is asked for the next batch
/// while as many slots as the frame has are not committed, so that it is gathered, and on its way, while the store goes on with
/// these.
const MANY_KEYS: usize = 512;
const MANY_SLOTS: usize = 128;

impl LinkState {
    /// A frame of so many slots and keys came, and these count as not committed.
    pub(super) fn frame_arrived(&mut self, slots: usize, keys: usize, now: TimestampMs) {
        let is_much = keys >= MANY_KEYS || self.outstanding.len() >= MANY_SLOTS;
        self.left_over_max = if is_much { slots } else { self.left_over_max / 2 };
        self.credit_at = None;
        self.is_credited = false;
        self.earn_credit(now);
    }

    /// Has the hub asked for its next batch, once, if few enough slots are not committed.
    fn earn_credit(&mut self, now: TimestampMs) {
        let is_earned = self.outstanding.len() <= self.left_over_max;
        if is_earned && !std::mem::replace(&mut self.is_credited, true) && !fault!(CreditKept) {
            self.credit_at = Some(self.window_end.unwrap_or(now).max(now));
        }
    }
}

impl Origin {
    /// The origin's acknowledgement of a slot reaches the link.
    pub(super) fn settle_link(&mut self, link: Link, slot: Slot, now: TimestampMs) {
        let Some(state) = self.links.get_mut(&link) else { return };
        if state.outstanding.remove(&slot) {
            state.earn_credit(now);
        }
    }

    /// Asks those hubs whose time has come.
    pub(super) fn give_credit(&mut self, now: TimestampMs) {
        for (link, state) in &mut self.links {
            let is_due = state.credit_at.is_some_and(|at| at <= now);
            if is_due && state.hub.is_some() && state.resuming.is_empty() {
                state.credit_at = None;
                self.effects.push(OriginEffect::ToHub(*link, OriginToHub::Credit(1)));
            }
        }
    }
}
