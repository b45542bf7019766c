//! What goes down to the hubs: whole keys that they ask for, and what others changed in those that they hold.

use super::{Link, Origin, OriginEffect, slot::SlotWork};
use crate::{
    id::{Key, ReplicaId},
    limits::{CHANGES_BYTES_MAX, FRAME_BYTES_TARGET, KEYS_CHUNK},
    message::{Cursor, OriginToHub},
    slot::Slot,
    state::{ElementId, KeyDelta, KeyState},
    store::Marker,
};
use std::collections::BTreeSet;

/// How far a hub at `cursor` knows the present history of a slot: its sequence, or where its incarnation ended.
pub(super) fn known_seq(marker: Option<&Marker>, cursor: Cursor) -> u64 {
    let (Some(marker), Some(incarnation)) = (marker, cursor.incarnation) else { return 0 };
    if fault!(CursorSurvivesIncarnation) {
        return cursor.seq;
    }
    if incarnation == marker.incarnation {
        return cursor.seq.min(marker.seq);
    }
    match marker.previous {
        Some((previous, ended)) if previous == incarnation => cursor.seq.min(ended),
        _ => 0,
    }
}

impl SlotWork {
    pub(super) fn cursor(&self) -> Cursor {
        Cursor { incarnation: self.marker.as_ref().map(|marker| marker.incarnation), seq: self.seq() }
    }

    /// A key's changes after `seq`, for a hub that has all before; whole where removals before may be forgotten, or where the
    /// changes are too large for a frame. In pieces where the key is.
    fn deltas_after(&self, key: &Key, seq: u64, relisted: BTreeSet<ElementId>) -> Vec<KeyDelta> {
        let Some(cached) = self.cache.get(key) else { return vec![KeyState::default().to_complete_delta()] };
        let state = &cached.key.state;
        if seq >= cached.key.pruned_to && seq > 0 {
            let mut changed: BTreeSet<ElementId> = cached.key.changed_after(seq);
            changed.extend(relisted);
            let delta = state.to_delta(state.ctx(), &changed);
            if delta.approximate_bytes() <= CHANGES_BYTES_MAX {
                return vec![delta];
            }
        }
        state.to_complete_delta().split(FRAME_BYTES_TARGET)
    }

    /// Whether the key is nothing but what that hub did to it.
    fn is_all_of(&self, key: &Key, hub: Option<ReplicaId>) -> bool {
        let cached = self.cache.get(key).filter(|cached| cached.is_begun);
        cached.is_some_and(|cached| cached.sole == hub || fault!(OthersBeginningsLeftOut))
    }
}

impl Origin {
    /// Sends what the hub is owed of a slot. With `always` also when that is nothing, so that its cursor moves.
    pub(super) fn push_down(&mut self, link: Link, slot: Slot, always: bool) {
        let Some(work) = self.slots.get(&slot) else { return };
        let Some(held) = self.links.get_mut(&link).and_then(|state| state.held.get_mut(&slot)) else { return };
        let (owed, mut relisted) = (std::mem::take(&mut held.owed), std::mem::take(&mut held.relisted));
        let to = work.cursor();
        if (owed.is_empty() && !always) || to.incarnation.is_none() {
            return;
        }
        let from = held.cursor;
        held.cursor = to;
        let known = known_seq(work.marker.as_ref(), from);
        let mut keys = Vec::new();
        let mut bytes = 0_usize;
        // A hub takes the cursor of the last message only; those before it repeat where it stands.
        let send = |keys: Vec<(Key, KeyDelta)>, to: Cursor| {
            OriginEffect::ToHub(link, OriginToHub::Down { slot, from, to, keys })
        };
        for key in owed {
            let relisted = relisted.remove(&key).unwrap_or_default();
            for delta in work.deltas_after(&key, known, relisted) {
                bytes = bytes.saturating_add(key.as_bytes().len()).saturating_add(delta.approximate_bytes());
                keys.push((key.clone(), delta));
                if bytes > FRAME_BYTES_TARGET {
                    bytes = 0;
                    self.effects.push(send(std::mem::take(&mut keys), from));
                }
            }
        }
        self.effects.push(send(keys, to));
    }

    /// Sends whole the keys that hubs asked for; from now on they hold them.
    pub(super) fn answer_wants(&mut self, slot: Slot) {
        let Some(work) = self.slots.get_mut(&slot) else { return };
        // What is not in the cache the next commit begins, if nothing stands there.
        let (waiting, wants) = std::mem::take(&mut work.wants)
            .into_iter()
            .partition(|(_, key)| work.plain.is_unread(key) || !work.cache.contains_key(key));
        let wants: BTreeSet<(Link, Key)> = wants;
        work.wants = waiting;
        let at = work.cursor();
        let mut by_link: std::collections::BTreeMap<Link, Vec<Key>> = std::collections::BTreeMap::new();
        for (link, key) in wants {
            by_link.entry(link).or_default().push(key);
        }
        for (link, keys) in by_link {
            self.show_cursor(link, slot);
            let Some(work) = self.slots.get(&slot) else { return };
            let Some(state) = self.links.get_mut(&link) else { continue };
            let hub = state.hub;
            let held = state.held_from(slot, at);
            let send = |more, keys| OriginEffect::ToHub(link, OriginToHub::Whole { slot, at, more, keys });
            let (mut whole, mut begun) = (Vec::new(), Vec::new());
            let mut bytes = 0_usize;
            for key in keys {
                held.keys.insert(key.clone());
                if hub.is_some() && work.is_all_of(&key, hub) {
                    begun.push(key);
                    continue;
                }
                let mut pieces = work.deltas_after(&key, 0, BTreeSet::new());
                let last = pieces.pop().unwrap_or_default();
                for piece in pieces {
                    self.effects.push(send(true, vec![(key.clone(), piece)]));
                }
                bytes = bytes.saturating_add(key.as_bytes().len()).saturating_add(last.approximate_bytes());
                whole.push((key, last));
                if bytes > FRAME_BYTES_TARGET {
                    bytes = 0;
                    self.effects.push(send(false, std::mem::take(&mut whole)));
                }
            }
            if !whole.is_empty() {
                self.effects.push(send(false, whole));
            }
            if !begun.is_empty() {
                self.begun.entry(link).or_default().push((slot, at, begun));
            }
        }
    }

    /// Brings a hub that holds keys of a slot to where the slot stands before it holds more of them: nothing that it holds changed
    /// since, but with a further key it has seen the slot as of now, and says so to others.
    pub(super) fn show_cursor(&mut self, link: Link, slot: Slot) {
        let Some(work) = self.slots.get(&slot) else { return };
        let held = self.links.get(&link).and_then(|state| state.held.get(&slot));
        let is_behind = held.is_some_and(|held| !held.keys.is_empty() && held.cursor != work.cursor());
        if is_behind && !work.is_attaching(link) {
            self.push_down(link, slot, true);
        }
    }

    /// Tells hubs of the keys that they began, in as few messages as fit.
    pub(super) fn tell_begun(&mut self) {
        for (link, slots) in std::mem::take(&mut self.begun) {
            let (mut message, mut room) = (Vec::new(), KEYS_CHUNK);
            for (slot, at, keys) in slots {
                for keys in keys.chunks(KEYS_CHUNK) {
                    if keys.len() > room {
                        let full = std::mem::take(&mut message);
                        self.effects.push(OriginEffect::ToHub(link, OriginToHub::Begun(full)));
                        room = KEYS_CHUNK;
                    }
                    room = room.saturating_sub(keys.len());
                    message.push((slot, at, keys.to_vec()));
                }
            }
            self.effects.push(OriginEffect::ToHub(link, OriginToHub::Begun(message)));
        }
    }
}
