//! How far a slot's operations are acknowledged, where the hub stands in the origin's history, and what may be forgotten.

use super::{Hub, HubEffect, RowId, downlink::KEYS_CHUNK, leaves::LeafSocket};
use crate::{
    id::{Key, No, TimestampMs},
    limits::{EXPIRY_GRACE_MS, IDEMPOTENCY_MS},
    message::{Cursor, HubToLeaf, HubToOrigin},
    slot::Slot,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// A slot as the hub knows it. Only what is serialised outlives the machine; the rest is rebuilt.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct SlotState {
    /// All of the hub's operations up to here are in Redis.
    pub(super) committed: No,
    /// All up to here survive the loss that Redis may suffer.
    pub(super) stable: No,
    /// Where the hub stands in the origin's history of the slot.
    pub(super) cursor: Cursor,
    /// The last number that the hub used in the slot.
    #[serde(skip)]
    pub(super) latest: No,
    /// All up to here is on its way; never less than `committed`.
    #[serde(skip)]
    pub(super) sent: No,
    /// Nobody else can have seen a number after this; unlike `sent` it never goes back. All that was stored counts as seen.
    #[serde(skip)]
    pub(super) offered: No,
    /// The keys with changes that are not known stable.
    #[serde(skip)]
    pub(super) unstable: BTreeSet<Key>,
    /// How many keys of the slot are held.
    #[serde(skip)]
    pub(super) held: usize,
}

impl SlotState {
    /// Whether the origin lost what was stable: whole keys are sent then. It follows from what is stored, so that a hub
    /// which restarts before it made good the loss still does.
    pub(super) fn is_lost(&self) -> bool {
        self.committed < self.stable
    }
}

impl Hub {
    pub(super) fn committed(&mut self, slots: Vec<(Slot, No)>) {
        for (slot, no) in slots {
            self.note_told(slot, no);
            let Some(state) = self.slots.get_mut(&slot) else { continue };
            if no > state.committed {
                state.committed = no;
                state.sent = state.sent.max(no);
                self.dirty.insert(RowId::Slot(slot));
                if fault!(DeadDotsForgottenAtCommit) {
                    self.forget_settled(slot, no);
                }
            }
        }
    }

    pub(super) fn stable(&mut self, slots: Vec<(Slot, No)>) {
        for (slot, no) in slots {
            self.note_told(slot, no);
            let Some(state) = self.slots.get_mut(&slot) else { continue };
            if no > state.stable {
                // What is stable is committed, also where that message is still on its way.
                state.committed = state.committed.max(no);
                state.sent = state.sent.max(no);
                state.stable = no;
                self.dirty.insert(RowId::Slot(slot));
                self.forget_settled(slot, no);
            }
        }
    }

    /// The origin's marker stands at `no`, whatever it was said to be before: resend from there.
    pub(super) fn resume(&mut self, slots: Vec<(Slot, No)>) {
        for (slot, no) in slots {
            let Some(state) = self.slots.get_mut(&slot) else { continue };
            if no < state.committed && fault!(MarkerNotRewound) {
                continue;
            }
            if no < state.committed {
                for key in &state.unstable {
                    if let Some(entry) = self.keys.get_mut(key) {
                        entry.doubt_origin_end();
                    }
                }
            }
            state.committed = no;
            state.sent = no;
            self.dirty.insert(RowId::Slot(slot));
        }
    }

    /// Once all that is on its way is in Redis, the origin goes by the deadlines in it.
    fn note_told(&mut self, slot: Slot, no: No) {
        let Some(state) = self.slots.get(&slot).filter(|state| state.committed < state.sent && state.sent <= no) else {
            return;
        };
        for key in &state.unstable {
            if let Some(entry) = self.keys.get_mut(key) {
                entry.note_told();
            }
        }
    }

    /// Notes what leaves and daemons come to see by this input's effects.
    pub(super) fn note_offered(&mut self) {
        for effect in &self.effects {
            match effect {
                HubEffect::ToLeaf(_, HubToLeaf::State { key, .. }) => {
                    if let Some(state) = self.slots.get_mut(&key.slot()) {
                        state.offered = state.latest;
                    }
                }
                HubEffect::ToOrigin(_, HubToOrigin::Delta(parts)) => {
                    for part in parts {
                        if let Some(state) = self.slots.get_mut(&part.slot) {
                            state.offered = state.latest;
                        }
                    }
                }
                _ => {}
            }
        }
    }

    fn forget_settled(&mut self, slot: Slot, stable: No) {
        let Some(state) = self.slots.get_mut(&slot) else { return };
        let settled: Vec<Key> = state.unstable.iter().cloned().collect();
        for key in settled {
            let Some(entry) = self.keys.get_mut(&key) else { continue };
            for id in entry.settle(stable) {
                self.dirty.insert(RowId::Element(key.clone(), id));
            }
            if entry.changes.is_empty() && entry.header_no <= stable {
                state.unstable.remove(&key);
            }
        }
    }

    /// Forgets expired keys, keys that nobody has, ended sessions and old answers.
    pub(super) fn sweep(&mut self, now: TimestampMs) {
        let followed = self.followed();
        let is_waited_for = |key: &Key| self.waiting.iter().any(|waiting| waiting.keys().any(|other| other == key));
        let gone: Vec<Key> = self
            .keys
            .iter()
            .filter(|(key, entry)| {
                let is_expired = forget_at(entry).is_some_and(|at| at <= now);
                let is_idle =
                    entry.is_held && entry.state.is_empty() && !followed.contains(*key) && !is_waited_for(key);
                (is_expired || is_idle) && !self.is_unstable(key)
            })
            .map(|(key, _)| key.clone())
            .collect();
        for key in &gone {
            self.forget_key(key);
        }
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

    /// Whether the key has changes of this hub that are not known stable.
    pub(super) fn is_unstable(&self, key: &Key) -> bool {
        self.slots.get(&key.slot()).is_some_and(|slot| slot.unstable.contains(key))
    }

    /// Forgets a key whole, as if it had never been held.
    pub(super) fn forget_key(&mut self, key: &Key) {
        let Some(entry) = self.keys.remove(key) else { return };
        if let (true, Some(slot)) = (entry.is_held, self.slots.get_mut(&key.slot())) {
            slot.held = slot.held.saturating_sub(1);
        }
        let ids = element_ids(&entry);
        self.dirty.extend(ids.into_iter().map(|id| RowId::Element(key.clone(), id)));
        self.dirty.insert(RowId::Key(key.clone()));
    }

    /// When there is next something to sweep, rounded up to whole minutes so that sweeps come in batches.
    pub(super) fn next_sweep(&self, now: TimestampMs) -> Option<TimestampMs> {
        const MINUTE_MS: i64 = 60_000;
        if self.keys.is_empty() && self.sessions.is_empty() && self.answers.is_empty() {
            return None;
        }
        Some(TimestampMs(now.0.div_euclid(MINUTE_MS).saturating_add(1).saturating_mul(MINUTE_MS)))
    }
}

/// A hub keeps an expired key a little longer than the origin does, so that a blind write afterwards meets the same
/// nothing at both.
fn forget_at(entry: &super::Entry) -> Option<TimestampMs> {
    entry.state.deadline().at().map(|at| at.plus_ms(EXPIRY_GRACE_MS.saturating_mul(2)))
}

fn element_ids(entry: &super::Entry) -> Vec<crate::state::ElementId> {
    entry.state.elements().into_iter().map(|(id, _)| id).collect()
}
