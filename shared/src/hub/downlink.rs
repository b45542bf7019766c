//! What the origin sends: acknowledgements, whole keys, and deltas from the hub's cursor on.

use super::{Connection, Hub, HubEffect, OriginSocket, keyspace::KeyNo};
use crate::{
    id::{Key, TimestampMs},
    message::{Cursor, HubToOrigin, OriginToHub},
    slot::Slot,
    state::{Intervals, KeyDelta},
    wire::Capabilities,
};
use std::collections::BTreeMap;

/// Keys in one message that names keys.
pub(super) const KEYS_CHUNK: usize = 4096;

/// How long after a refused frame the hub asks for it again, in milliseconds.
const ASK_AGAIN_MS: i64 = 5_000;

/// How much credit is kept: enough to be asked ahead. Each frame of a batch may earn some, and the batch uses up one.
const CREDIT_MAX: u32 = 2;

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
                    origin.credit = origin.credit.saturating_add(batches).min(CREDIT_MAX);
                }
            }
            OriginToHub::Committed(slots) => self.committed(&slots, now),
            OriginToHub::Stable(slots) => self.stable(&slots, now),
            OriginToHub::Down { slot, from, to, keys } => self.down(connection, slot, from, to, &keys, now),
            OriginToHub::Whole { slot, at, more, keys } => self.whole(connection, (slot, at, more), &keys, now),
            OriginToHub::Begun(slots) => {
                self.warm(slots.iter().flat_map(|(_, _, keys)| keys));
                slots.iter().for_each(|(slot, at, keys)| self.begun(connection, *slot, *at, keys, now));
            }
            OriginToHub::Refused(_) => {
                self.origin = None;
                self.strict.begin();
                self.silence_listeners();
                self.give_up_behind();
                self.give_up_remotes(now);
            }
            OriginToHub::Compare { round, seed, asks, keys } => {
                self.compare(connection, (round, seed), &asks, &keys, now);
            }
            OriginToHub::Exchange { round, seed, nodes, keys } => {
                self.exchange(connection, (round, seed), nodes, keys, now);
            }
            OriginToHub::Compared(slots) => self.compared(&slots),
            OriginToHub::Ran { call, replies } => self.ran(call, replies, now),
            OriginToHub::Arrived(call) => self.arrived(call, now),
            OriginToHub::JobsDone { slot, through, replies } => self.jobs_done(slot, through, replies, now),
            OriginToHub::JobsStable(slots) => self.jobs_stable(slots),
            OriginToHub::Rights(answer) => self.rights_granted(answer, now),
            OriginToHub::Listening(topic, heard) => self.topic_heard(&topic, heard),
            OriginToHub::Published(published) => self.published(published),
        }
    }

    /// Begins with a daemon: who this is, what is not stable, what is held and wanted.
    pub(super) fn greet_origin(&mut self, connection: Connection, now: TimestampMs) {
        self.spare_origins.retain(|spare| *spare != connection);
        let before = self.origin.replace(OriginSocket { connection, credit: 0 });
        // Nobody listens to the other one any more.
        let is_other = before.as_ref().is_none_or(|before| before.connection != connection);
        if is_other {
            self.outbox.forget_waiters();
        }
        self.spare_origins.extend(before.map(|origin| origin.connection).filter(|before| *before != connection));
        self.outbox.begin();
        self.strict.begin();
        self.doubted.clear();
        for (_, state) in self.slots.iter_mut() {
            state.send_again_from(state.committed);
        }
        let unstable =
            self.slots.iter().filter(|(_, state)| state.latest.max(state.committed) > state.stable || state.is_lost());
        let unstable: Vec<Slot> = unstable.map(|(slot, _)| slot).collect();
        unstable.iter().for_each(|slot| self.slots.list(*slot));
        let hello = HubToOrigin::Hello {
            hub: self.id,
            name: self.name.clone(),
            now,
            unstable,
            capabilities: Capabilities::CURRENT,
        };
        self.effects.push(HubEffect::ToOrigin(connection, hello));
        let mut held: BTreeMap<Slot, Vec<Key>> = BTreeMap::new();
        let mut wanted = Vec::new();
        for (no, entry) in self.keys.iter() {
            let key = self.keys.key(no);
            if entry.is_held {
                held.entry(key.slot()).or_default().push(key);
            } else {
                wanted.push(key);
            }
        }
        // In order, so that the same history says the same.
        held.values_mut().for_each(|keys| keys.sort_unstable());
        wanted.sort_unstable();
        self.tell_held(connection, held);
        let doubted: Vec<Slot> =
            self.slots.iter().filter(|(_, state)| state.is_doubted).map(|(slot, _)| slot).collect();
        if !doubted.is_empty() {
            // Its clock may still be wrong; then these are refused again.
            self.effects.push(HubEffect::ToOrigin(connection, HubToOrigin::Lost(doubted)));
        }
        self.ask_for(connection, &wanted);
        self.ask_for_topics(connection);
        if is_other {
            self.give_up_behind();
            // What is left of their requests may be asked of this daemon, which has heard the hello.
            self.give_up_remotes(now);
        }
    }

    /// Tells the origin which keys are held. A slot of many goes in several messages.
    fn tell_held(&mut self, connection: Connection, held: BTreeMap<Slot, Vec<Key>>) {
        let mut slots = Vec::new();
        let mut room = KEYS_CHUNK;
        for (slot, mut keys) in held {
            let cursor = self.slots.at(slot).map(|state| state.cursor).unwrap_or_default();
            while keys.len() > room {
                let rest = keys.split_off(room);
                slots.push((slot, cursor, std::mem::replace(&mut keys, rest)));
                let message = HubToOrigin::Held { slots: std::mem::take(&mut slots), more: true };
                self.effects.push(HubEffect::ToOrigin(connection, message));
                room = KEYS_CHUNK;
            }
            room = room.saturating_sub(keys.len());
            slots.push((slot, cursor, keys));
            if room == 0 {
                room = KEYS_CHUNK;
                let message = HubToOrigin::Held { slots: std::mem::take(&mut slots), more: false };
                self.effects.push(HubEffect::ToOrigin(connection, message));
            }
        }
        if !slots.is_empty() {
            self.effects.push(HubEffect::ToOrigin(connection, HubToOrigin::Held { slots, more: false }));
        }
    }

    /// Sees to it that these keys are held: asks the origin at once for those that are not and that it was not asked for.
    pub(super) fn want(&mut self, keys: &[Key]) {
        let mut wanted = Vec::new();
        for key in keys {
            let (no, is_new) = self.keys.resolve(key);
            if is_new {
                self.dirty_key(no);
            }
            if self.keys.entry(no).is_unasked() {
                wanted.push(key.clone());
            }
        }
        self.ask_origin(&wanted);
    }

    /// Sees to it that a key is held that is about to be written to: what is new is asked for when the input is done with,
    /// unless the origin hears of it then by the change itself.
    pub(super) fn want_written(&mut self, key: &Key) -> KeyNo {
        let (no, is_new) = self.keys.resolve(key);
        if is_new {
            self.dirty_key(no);
            self.new_keys.push(no);
        }
        no
    }

    /// Asks for the keys that got an entry in this input, but for those that this hub changed: the origin sends them whole
    /// once it has heard of the change, and as most are new to it too, it then need not look for them.
    pub(super) fn ask_for_new(&mut self) {
        let new = std::mem::take(&mut self.new_keys);
        let is_due =
            |no: &KeyNo| self.keys.find_entry(*no).is_some_and(|entry| !entry.is_unstable() && entry.is_unasked());
        let wanted: Vec<Key> = new.into_iter().filter(is_due).map(|no| self.keys.key(no)).collect();
        self.ask_origin(&wanted);
    }

    /// Asks the origin for keys that it was not asked for.
    pub(super) fn ask_origin(&mut self, wanted: &[Key]) {
        if let Some(origin) = &self.origin {
            self.ask_for(origin.connection, wanted);
        }
    }

    fn ask_for(&mut self, connection: Connection, keys: &[Key]) {
        for key in keys {
            if let Some(no) = self.keys.find(key) {
                self.keys.entry_mut(no).is_asked = true;
            }
        }
        for chunk in keys.chunks(KEYS_CHUNK) {
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
        let cursor = self.slots.at(slot).map(|state| state.cursor).unwrap_or_default();
        let joins_up = from == cursor || (from.incarnation == cursor.incarnation && from.seq <= cursor.seq);
        if !joins_up && !fault!(CursorJumpsGap) {
            self.effects.push(HubEffect::ToOrigin(connection, HubToOrigin::Gap(slot, cursor)));
            return;
        }
        if !self.admit(slot, keys, now) {
            return;
        }
        let is_news = to.incarnation != cursor.incarnation || to.seq > cursor.seq;
        let mut left_over = Vec::new();
        for (key, delta) in keys {
            let Some(no) = self.keys.find(key) else { continue };
            let entry = self.keys.entry(no);
            if is_news && !entry.is_unstable() && self.keys.is_left_over(no, delta.header.deadline, now) {
                left_over.push((key.clone(), no));
            } else if entry.is_held {
                // A key that was forgotten meanwhile has no state that the delta could join.
                self.join(no, delta);
            }
        }
        // What the origin has under these names now began after it had forgotten the key that expired.
        for (_, no) in &left_over {
            self.forget_key(*no);
        }
        let left_over: Vec<Key> = left_over.into_iter().map(|(key, _)| key).collect();
        self.want(&left_over);
        if !is_news {
            return;
        }
        let state = self.slots.of(slot);
        state.cursor = to;
        let is_anew = cursor.incarnation.is_some() && to.incarnation != cursor.incarnation;
        if is_anew && state.holds_any() && !fault!(NewHistoryNotCompared) {
            // What this hub saw of the former history may be more than the store kept. The origin compares it now; should
            // either go down before it has, nothing else would tell.
            state.is_doubted = true;
        }
        self.slots.dirty(slot);
    }

    /// Keys that the hub asked for, whole, or pieces of them. A key is held once its last piece has come; should that never
    /// come, it is asked for again, and what came is known to be no more than a part.
    fn whole(
        &mut self,
        connection: Connection,
        (slot, at, more): (Slot, Cursor, bool),
        keys: &[(Key, KeyDelta)],
        now: TimestampMs,
    ) {
        if !self.admit(slot, keys, now) {
            return;
        }
        if !self.may_hold(connection, slot, at, || keys.iter().map(|(key, _)| key.clone()).collect()) {
            return;
        }
        for (key, delta) in keys {
            let Some(mut no) = self.keys.find(key) else { continue };
            if !self.keys.entry(no).is_unstable() && self.keys.is_left_over(no, delta.header.deadline, now) {
                self.forget_key(no);
                (no, _) = self.keys.resolve(key);
            }
            self.join(no, delta);
            if !more {
                self.hold(slot, key, no, now);
            }
        }
    }

    /// Keys of which the origin has what this hub told it and nothing else.
    fn begun(&mut self, connection: Connection, slot: Slot, at: Cursor, keys: &[Key], now: TimestampMs) {
        if !self.may_hold(connection, slot, at, || keys.to_vec()) {
            return;
        }
        for key in keys {
            if let Some(no) = self.keys.find(key) {
                self.hold(slot, key, no, now);
            }
        }
    }

    /// Takes the cursor at which keys of a slot were read, if no key of it is held; asks for the keys again if they were read
    /// before what this hub has seen of the slot. Says whether it was not so.
    fn may_hold(&mut self, connection: Connection, slot: Slot, at: Cursor, keys: impl FnOnce() -> Vec<Key>) -> bool {
        let state = self.slots.of(slot);
        let is_same = state.cursor.incarnation == at.incarnation;
        let is_older = is_same && at.seq < state.cursor.seq;
        if !is_older && !state.holds_any() {
            state.cursor = at;
            self.slots.dirty(slot);
        } else if !is_same || is_older {
            let cursor = state.cursor;
            if cursor.incarnation.is_none() {
                // The first changes of what is held were lost, and nothing says that more will come.
                self.effects.push(HubEffect::ToOrigin(connection, HubToOrigin::Gap(slot, cursor)));
            }
            // Read before what this hub has already seen of the slot: deltas in between were not for these keys.
            self.ask_for(connection, &keys());
            return false;
        }
        true
    }

    /// The key is held from now on.
    fn hold(&mut self, slot: Slot, key: &Key, no: KeyNo, now: TimestampMs) {
        let was_held = std::mem::replace(&mut self.keys.entry_mut(no).is_held, true);
        if !was_held {
            self.slots.hold(slot, no);
        }
        self.dirty_key(no);
        self.push_whole_to_all(key, no);
        self.board_changed(key, now);
    }

    /// Takes note of the stamps; a frame with one beyond the bound is refused whole. The cursor stays, and the hub asks again
    /// from there after a while, when this clock may have been set right.
    fn admit(&mut self, slot: Slot, keys: &[(Key, KeyDelta)], now: TimestampMs) -> bool {
        for (_, delta) in keys {
            let own = delta.header.ctx.of(self.id).and_then(Intervals::last);
            self.heed_seen(slot, own.unwrap_or_default());
        }
        let mut stamps = keys.iter().filter_map(|(_, delta)| delta.latest_hlc());
        let is_admitted = stamps.all(|latest| self.clock.observe(latest, now).is_ok());
        if !is_admitted {
            self.refuse(slot, now);
        }
        is_admitted
    }

    /// Something of a slot was refused, and is asked for again after a while.
    pub(super) fn refuse(&mut self, slot: Slot, now: TimestampMs) {
        self.refused.insert(slot);
        self.ask_again_at.get_or_insert(now.plus_ms(ASK_AGAIN_MS));
    }

    /// Asks for what was refused: from the cursor on, and whole what is not held yet; and has compared what could not be.
    pub(super) fn ask_again(&mut self, now: TimestampMs) {
        let Some(at) = self.ask_again_at else { return };
        // A clock that was set back must not put it off.
        if now < at && at.since_ms(now) <= ASK_AGAIN_MS {
            return;
        }
        self.ask_again_at = None;
        let slots = std::mem::take(&mut self.refused);
        let doubted = std::mem::take(&mut self.doubted);
        let Some(connection) = self.origin.as_ref().map(|origin| origin.connection) else { return };
        for slot in &slots {
            let cursor = self.slots.at(*slot).map(|state| state.cursor).unwrap_or_default();
            self.effects.push(HubEffect::ToOrigin(connection, HubToOrigin::Gap(*slot, cursor)));
        }
        let missing = self.keys.iter().filter(|(_, entry)| !entry.is_held).map(|(no, _)| self.keys.key(no));
        let mut missing: Vec<Key> = missing.filter(|key| slots.contains(&key.slot())).collect();
        missing.sort_unstable();
        self.ask_for(connection, &missing);
        if !doubted.is_empty() {
            // Its clock may still be wrong; then these are refused again.
            self.effects.push(HubEffect::ToOrigin(connection, HubToOrigin::Lost(doubted.into_iter().collect())));
        }
    }

    pub(super) fn join(&mut self, no: KeyNo, delta: &KeyDelta) {
        let touched = self.keys.join(no, delta);
        if !touched.is_empty() {
            // The clock's latest time is in the meta row.
            self.is_meta_dirty = true;
            self.show(no, touched);
        }
    }

    pub(super) fn origin_closed(&mut self, connection: Connection, now: TimestampMs) {
        self.spare_origins.retain(|spare| *spare != connection);
        self.origin = self.origin.take().filter(|origin| origin.connection != connection);
        if self.origin.is_some() {
            return;
        }
        self.give_up_behind();
        self.give_up_remotes(now);
        match self.spare_origins.pop() {
            Some(spare) => self.greet_origin(spare, now),
            None => {
                self.strict.begin();
                self.silence_listeners();
                self.answer_all(now);
            }
        }
    }
}
