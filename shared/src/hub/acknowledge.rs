//! How far a slot's operations are acknowledged, and where the hub stands in the origin's history.

use super::{
    Hub, HubEffect, RowId,
    keyspace::{GROUP, KeyNo, Standing},
    slots::SlotState,
};
use crate::{
    id::{No, TimestampMs},
    message::{HubToLeaf, HubToOrigin},
    slot::Slot,
};

impl Hub {
    pub(super) fn committed(&mut self, slots: &[(Slot, No)], now: TimestampMs) {
        for (at, (slot, no)) in slots.iter().copied().enumerate() {
            self.warm_group(slots, at, SlotState::under_way);
            self.heed_acknowledged(slot, no);
            self.note_told(slot, no);
            let Some(state) = self.slots.at_mut(slot) else { continue };
            if no > state.committed && !state.awaits_comparison() {
                state.committed = no;
                state.sent = state.sent.max(no);
                self.slots.dirty(slot);
                if fault!(DeadDotsForgottenAtCommit) {
                    self.forget_settled(slot, no, now);
                }
                self.slots.list(slot);
            }
        }
    }

    pub(super) fn stable(&mut self, slots: &[(Slot, No)], now: TimestampMs) {
        for (at, (slot, no)) in slots.iter().copied().enumerate() {
            self.warm_group(slots, at, |state| &state.unstable);
            self.heed_acknowledged(slot, no);
            self.note_told(slot, no);
            let Some(state) = self.slots.at_mut(slot) else { continue };
            if no > state.stable && !state.awaits_comparison() {
                // What is stable is committed, also where that message is still on its way.
                state.committed = state.committed.max(no);
                state.sent = state.sent.max(no);
                state.stable = no;
                self.slots.dirty(slot);
                self.forget_settled(slot, no, now);
                self.slots.list(slot);
            }
        }
    }

    /// Where a group of slots begins at `at`, reads some of the `keys` of each that are dealt with next.
    fn warm_group(&self, slots: &[(Slot, No)], at: usize, keys: impl Fn(&SlotState) -> &[KeyNo]) {
        if at.is_multiple_of(GROUP) {
            let group = slots.iter().skip(at).take(GROUP).filter_map(|(slot, _)| self.slots.at(*slot));
            self.keys.warm_known(group.flat_map(|state| keys(state).iter().take(GROUP)).copied(), |_| 0);
        }
    }

    /// The origin's marker stands at `no`, whatever it was said to be before: resend from there.
    pub(super) fn resume(&mut self, slots: Vec<(Slot, No)>) {
        let mut lost = Vec::new();
        for (slot, no) in slots {
            self.heed_acknowledged(slot, no);
            let Some(state) = self.slots.at_mut(slot) else { continue };
            if no < state.committed && fault!(MarkerNotRewound) {
                continue;
            }
            if no < state.committed {
                for key in &state.unstable {
                    let deadline = self.keys.view(*key).deadline().at();
                    self.keys.notes_of(*key).doubt_origin_end(deadline);
                }
            }
            state.send_again_from(no);
            if state.is_lost() {
                lost.push(slot);
            }
            self.slots.dirty(slot);
            self.slots.list(slot);
        }
        if let Some(origin) = self.origin.as_ref().filter(|_| !lost.is_empty()) {
            self.effects.push(HubEffect::ToOrigin(origin.connection, HubToOrigin::Lost(lost)));
        }
    }

    /// Once all that is on its way is in Redis, the origin goes by the deadlines in it.
    fn note_told(&mut self, slot: Slot, no: No) {
        let Some(state) = self.slots.at_mut(slot) else { return };
        for key in state.take_arrived(no) {
            if let Some(notes) = self.keys.notes_mut(key) {
                notes.note_told();
            }
        }
    }

    /// Notes what leaves and daemons come to see by this input's effects.
    pub(super) fn note_offered(&mut self) {
        for effect in &self.effects {
            match effect {
                HubEffect::ToLeaf(_, HubToLeaf::State { key, .. }) => {
                    if let Some(state) = self.slots.at_mut(key.slot()) {
                        state.offered = state.latest;
                    }
                }
                HubEffect::ToOrigin(_, HubToOrigin::Delta(parts)) => {
                    for part in parts {
                        if let Some(state) = self.slots.at_mut(part.slot) {
                            state.offered = state.latest;
                        }
                    }
                }
                HubEffect::ToOrigin(_, HubToOrigin::Exchanged { keys, .. }) => {
                    for (key, _) in keys {
                        if let Some(state) = self.slots.at_mut(key.slot()) {
                            state.offered = state.latest;
                        }
                    }
                }
                _ => {}
            }
        }
    }

    fn forget_settled(&mut self, slot: Slot, stable: No, now: TimestampMs) {
        let Some(state) = self.slots.at_mut(slot) else { return };
        let unstable = std::mem::take(&mut state.unstable);
        let mut open = Vec::new();
        for no in unstable {
            let (gone, is_open) = self.keys.settle(no, stable);
            for id in gone {
                self.dirty.insert(RowId::Element(self.keys.key(no), id));
            }
            if is_open {
                open.push(no);
            } else {
                self.keys.entry_mut(no).standing = Standing::Stable;
                self.schedule(no, now);
            }
        }
        if let Some(state) = self.slots.at_mut(slot) {
            state.unstable = open;
            state.retain_unstable(|no| self.keys.entry(no).is_unstable());
        }
    }
}
