//! What the origin sends: acknowledgements, whole keys, and deltas from the hub's cursor on.

use super::{Connection, Hub, HubEffect, OriginSocket, RowId, keyspace::Entry, rows::slot_of};
use crate::{
    id::{Key, No, TimestampMs},
    message::{Cursor, HubToOrigin, OriginToHub},
    slot::Slot,
    state::KeyDelta,
};
use std::collections::BTreeMap;

/// Keys in one message of held keys.
const HELD_CHUNK: usize = 4096;

impl Hub {
    pub(super) fn origin_message(&mut self, connection: Connection, message: OriginToHub, now: TimestampMs) {
        if let OriginToHub::Welcome { .. } = message {
            self.greet_origin(connection, now);
            return;
        }
        // Of several daemons the one that greeted last speaks for the origin.
        if self.origin.as_ref().is_none_or(|origin| origin.connection != connection) {
            return;
        }
        match message {
            OriginToHub::Welcome { .. } => {}
            OriginToHub::Resume(slots) => self.resume(slots),
            OriginToHub::Credit(batches) => {
                if let Some(origin) = &mut self.origin {
                    origin.credit = origin.credit.saturating_add(batches);
                }
            }
            OriginToHub::Committed(slots) => self.committed(slots),
            OriginToHub::Stable(slots) => self.stable(slots),
            OriginToHub::Down { slot, from, to, keys } => self.down(connection, slot, from, to, &keys, now),
            OriginToHub::Whole { slot, at, keys } => self.whole(connection, slot, at, &keys, now),
            OriginToHub::Refused(_) => self.origin = None,
        }
    }

    /// Begins with a daemon: who this is, what is not stable, what is held and wanted.
    pub(super) fn greet_origin(&mut self, connection: Connection, now: TimestampMs) {
        self.origin = Some(OriginSocket { connection, credit: 0 });
        for state in self.slots.values_mut() {
            state.sent = state.committed;
        }
        let unstable =
            self.slots.iter().filter(|(_, state)| state.latest.max(state.committed) > state.stable || state.is_lost);
        let hello = HubToOrigin::Hello {
            hub: self.id,
            name: self.name.clone(),
            now,
            unstable: unstable.map(|(slot, _)| *slot).collect(),
        };
        self.effects.push(HubEffect::ToOrigin(connection, hello));
        let mut held: BTreeMap<Slot, Vec<Key>> = BTreeMap::new();
        let mut wanted = Vec::new();
        for (key, entry) in &self.keys {
            if entry.is_held {
                held.entry(key.slot()).or_default().push(key.clone());
            } else {
                wanted.push(key.clone());
            }
        }
        let mut chunk = Vec::new();
        let mut in_chunk = 0_usize;
        for (slot, keys) in held {
            in_chunk = in_chunk.saturating_add(keys.len());
            chunk.push((slot, self.slots.get(&slot).map(|state| state.cursor).unwrap_or_default(), keys));
            if in_chunk >= HELD_CHUNK {
                in_chunk = 0;
                let message = HubToOrigin::Held(std::mem::take(&mut chunk));
                self.effects.push(HubEffect::ToOrigin(connection, message));
            }
        }
        if !chunk.is_empty() {
            self.effects.push(HubEffect::ToOrigin(connection, HubToOrigin::Held(chunk)));
        }
        self.ask_for(connection, &wanted);
    }

    /// Sees to it that these keys are held: asks the origin for those that are not.
    pub(super) fn want(&mut self, keys: &[Key]) {
        let mut wanted = Vec::new();
        for key in keys {
            if !self.keys.contains_key(key) {
                self.keys.insert(key.clone(), Entry::default());
                self.dirty.insert(RowId::Key(key.clone()));
                wanted.push(key.clone());
            }
        }
        // A key with an entry was asked for when the entry was made or when the daemon was greeted.
        if let Some(origin) = &self.origin {
            self.ask_for(origin.connection, &wanted);
        }
    }

    fn ask_for(&mut self, connection: Connection, keys: &[Key]) {
        for chunk in keys.chunks(HELD_CHUNK) {
            self.effects.push(HubEffect::ToOrigin(connection, HubToOrigin::Subscribe(chunk.to_vec())));
        }
    }

    /// A delta of the keys held in a slot. It lists what changed since `from` and speaks of the origin's whole context, so
    /// it may only be joined where the hub stands at `from` or further.
    fn down(
        &mut self,
        connection: Connection,
        slot: Slot,
        from: Cursor,
        to: Cursor,
        keys: &[(Key, KeyDelta)],
        now: TimestampMs,
    ) {
        let cursor = self.slots.get(&slot).map(|state| state.cursor).unwrap_or_default();
        let joins_up = from == cursor || (from.incarnation == cursor.incarnation && from.seq <= cursor.seq);
        if !joins_up && !fault!(CursorJumpsGap) {
            self.effects.push(HubEffect::ToOrigin(connection, HubToOrigin::Gap(slot, cursor)));
            return;
        }
        if !self.admit(connection, keys, now) {
            return;
        }
        for (key, delta) in keys {
            // A key that was forgotten meanwhile has no state that the delta could join.
            if self.keys.get(key).is_some_and(|entry| entry.is_held) {
                self.join(key, delta);
            }
        }
        let state = self.slots.entry(slot).or_default();
        if to.incarnation != cursor.incarnation || to.seq > cursor.seq {
            state.cursor = to;
            self.dirty.insert(RowId::Slot(slot));
        }
    }

    /// Keys that the hub asked for, whole.
    fn whole(&mut self, connection: Connection, slot: Slot, at: Cursor, keys: &[(Key, KeyDelta)], now: TimestampMs) {
        let state = self.slots.entry(slot).or_default();
        if state.cursor.incarnation.is_none() || state.held == 0 {
            state.cursor = at;
            self.dirty.insert(RowId::Slot(slot));
        } else if state.cursor.incarnation != at.incarnation || at.seq < state.cursor.seq {
            // Read before what this hub has already seen of the slot: deltas in between were not for these keys.
            let keys: Vec<Key> = keys.iter().map(|(key, _)| key.clone()).collect();
            self.ask_for(connection, &keys);
            return;
        }
        if !self.admit(connection, keys, now) {
            return;
        }
        for (key, delta) in keys {
            self.join(key, delta);
            if let Some(entry) = self.keys.get_mut(key) {
                if let (false, Some(state)) = (entry.is_held, self.slots.get_mut(&slot)) {
                    state.held = state.held.saturating_add(1);
                }
                entry.is_held = true;
                self.dirty.insert(RowId::Key(key.clone()));
                self.push_whole_to_all(key);
            }
        }
    }

    /// Takes note of the stamps; a frame with one beyond the bound is refused whole.
    fn admit(&mut self, connection: Connection, keys: &[(Key, KeyDelta)], now: TimestampMs) -> bool {
        for latest in keys.iter().filter_map(|(_, delta)| delta.latest_hlc()) {
            if self.clock.observe(latest, now).is_err() {
                // The daemon refuses such stamps itself; one that does not is no origin to listen to.
                self.origin = self.origin.take().filter(|origin| origin.connection != connection);
                return false;
            }
        }
        true
    }

    fn join(&mut self, key: &Key, delta: &KeyDelta) {
        let entry = self.keys.entry(key.clone()).or_default();
        let touched = entry.state.join(delta);
        if !touched.is_empty() {
            // The clock's latest time is in the meta row.
            self.dirty.insert(RowId::Meta);
            self.show(key, touched);
        }
    }

    pub(super) fn origin_closed(&mut self, connection: Connection, now: TimestampMs) {
        self.origin = self.origin.take().filter(|origin| origin.connection != connection);
        if self.origin.is_none() {
            self.answer_all(now);
        }
    }

    /// The hub's own numbers of a slot, for a restore.
    pub(super) fn note_latest(&mut self, key: &Key, no: No) {
        let state = slot_of(&mut self.slots, key);
        state.latest = state.latest.max(no);
        state.offered = state.latest;
        if no > state.stable {
            state.unstable.insert(key.clone());
        }
    }
}
