//! How far a slot's operations are acknowledged, where the hub stands in the origin's history, and what may be forgotten.

use super::{Hub, HubEffect, RowId, downlink::KEYS_CHUNK, keyspace::KeyNo, leaves::LeafSocket};
use crate::{
    id::{Key, No, TimestampMs},
    limits::{EXPIRY_GRACE_MS, IDEMPOTENCY_MS},
    message::{HubToLeaf, HubToOrigin},
    slot::Slot,
};
use std::collections::BTreeSet;

impl Hub {
    pub(super) fn committed(&mut self, slots: Vec<(Slot, No)>) {
        for (slot, no) in slots {
            self.note_told(slot, no);
            let Some(state) = self.slots.at_mut(slot) else { continue };
            if no > state.committed {
                state.committed = no;
                state.sent = state.sent.max(no);
                self.slots.dirty(slot);
                if fault!(DeadDotsForgottenAtCommit) {
                    self.forget_settled(slot, no);
                }
                self.slots.list(slot);
            }
        }
    }

    pub(super) fn stable(&mut self, slots: Vec<(Slot, No)>) {
        for (slot, no) in slots {
            self.note_told(slot, no);
            let Some(state) = self.slots.at_mut(slot) else { continue };
            if no > state.stable {
                // What is stable is committed, also where that message is still on its way.
                state.committed = state.committed.max(no);
                state.sent = state.sent.max(no);
                state.stable = no;
                self.slots.dirty(slot);
                self.forget_settled(slot, no);
                self.slots.list(slot);
            }
        }
    }

    /// The origin's marker stands at `no`, whatever it was said to be before: resend from there.
    pub(super) fn resume(&mut self, slots: Vec<(Slot, No)>) {
        for (slot, no) in slots {
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
            state.committed = no;
            state.sent = no;
            self.slots.dirty(slot);
            self.slots.list(slot);
        }
    }

    /// Once all that is on its way is in Redis, the origin goes by the deadlines in it.
    fn note_told(&mut self, slot: Slot, no: No) {
        let Some(state) = self.slots.at(slot).filter(|state| state.committed < state.sent && state.sent <= no) else {
            return;
        };
        for key in &state.unstable {
            self.keys.notes_of(*key).note_told();
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
                _ => {}
            }
        }
    }

    fn forget_settled(&mut self, slot: Slot, stable: No) {
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
                self.keys.entry_mut(no).is_unstable = false;
            }
        }
        if let Some(state) = self.slots.at_mut(slot) {
            state.unstable = open;
        }
    }

    /// Forgets expired keys, keys that nobody has, ended sessions and old answers.
    pub(super) fn sweep(&mut self, now: TimestampMs) {
        let followed = self.followed();
        let waited_for: BTreeSet<&Key> = self.waiting.iter().flat_map(|waiting| waiting.keys()).collect();
        let mut gone: Vec<(Key, KeyNo)> = Vec::new();
        for (no, entry) in self.keys.iter().filter(|(_, entry)| !entry.is_unstable) {
            let view = self.keys.view(no);
            if view.deadline().at().is_some_and(|at| forget_at(at) <= now) {
                gone.push((self.keys.key(no), no));
            } else if entry.is_held && view.is_empty() {
                let key = self.keys.key(no);
                if !followed.contains(&key) && !waited_for.contains(&key) {
                    gone.push((key, no));
                }
            }
        }
        gone.sort_unstable();
        for (_, no) in &gone {
            self.forget_key(*no);
        }
        let gone: Vec<Key> = gone.into_iter().map(|(key, _)| key).collect();
        if let Some(origin) = &self.origin {
            for chunk in gone.chunks(KEYS_CHUNK) {
                let message = HubToOrigin::Unsubscribe(chunk.to_vec());
                self.effects.push(HubEffect::ToOrigin(origin.connection, message));
            }
        }
        // Who follows a key wants to see what comes after.
        let again: Vec<Key> = gone.into_iter().filter(|key| followed.contains(key)).collect();
        self.want(&again);
        let ended: Vec<_> =
            self.sessions.iter().filter(|(_, session)| session.until <= now).map(|(id, _)| *id).collect();
        for id in ended {
            self.sessions.remove(&id);
            self.dirty.insert(RowId::Session(id));
        }
        let old: Vec<_> = self
            .answers
            .iter()
            .filter(|(_, answer)| now.since_ms(answer.at) >= IDEMPOTENCY_MS)
            .map(|(key, _)| key.clone())
            .collect();
        for key in old {
            self.answers.remove(&key);
            self.dirty.insert(RowId::Answer(key));
        }
    }

    /// The keys that leaves follow.
    fn followed(&self) -> BTreeSet<Key> {
        self.leaves.values().flat_map(LeafSocket::subscriptions).cloned().collect()
    }

    /// Forgets a key whole, as if it had never been held. Nothing of it is unstable.
    pub(super) fn forget_key(&mut self, no: KeyNo) {
        let (key, entry) = (self.keys.key(no), *self.keys.entry(no));
        if let (true, Some(slot)) = (entry.is_held, self.slots.at_mut(key.slot())) {
            slot.held = slot.held.saturating_sub(1);
        }
        let ids = self.keys.view(no).elements().into_iter().map(|(id, _)| id);
        self.dirty.extend(ids.map(|id| RowId::Element(key.clone(), id)));
        self.dirty.insert(RowId::Key(key));
        self.dirty_elements.retain(|(other, _)| *other != no);
        if entry.is_dirty {
            self.dirty_keys.retain(|other| *other != no);
        }
        self.shown.remove(&no);
        self.keys.remove(no);
    }

    /// When there is next something to sweep, rounded up to whole minutes so that sweeps come in batches.
    pub(super) fn next_sweep(&self, now: TimestampMs) -> Option<TimestampMs> {
        const MINUTE_MS: i64 = 60_000;
        if self.keys.len() == 0 && self.sessions.is_empty() && self.answers.is_empty() {
            return None;
        }
        Some(TimestampMs(now.0.div_euclid(MINUTE_MS).saturating_add(1).saturating_mul(MINUTE_MS)))
    }
}

/// A hub keeps an expired key a little longer than the origin does, so that a blind write afterwards meets the same
/// nothing at both.
fn forget_at(deadline: TimestampMs) -> TimestampMs {
    deadline.plus_ms(EXPIRY_GRACE_MS.saturating_mul(2))
}
