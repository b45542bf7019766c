//! What ends by itself, and when the hub is to be woken for it.
//!
//! A timing wheel has an entry for each stable key that ends or that holds nothing; a key with changes that are not stable
//! cannot be forgotten, and gets its entry when they are. An entry that comes too early, because the key was touched
//! meanwhile, is made anew. Invariant: at the end of an input each stable key that time alone lets go has an entry no later
//! than that time. A hub with nothing that ends asks for no wake-up.

use super::{Hub, RowId, keyspace::KeyNo};
use crate::{
    id::{Key, SessionId, TimestampMs},
    limits::{EXPIRY_GRACE_MS, IDEMPOTENCY_MS},
};
use bytes::Bytes;
use std::collections::BTreeSet;

const MINUTE_MS: i64 = 60_000;

/// When sessions and remembered answers end, in that order.
#[derive(Debug, Default)]
pub(super) struct Ends {
    sessions: BTreeSet<(TimestampMs, SessionId)>,
    answers: BTreeSet<(TimestampMs, Bytes)>,
}

impl Ends {
    pub(super) fn add_session(&mut self, until: TimestampMs, id: SessionId) {
        self.sessions.insert((until, id));
    }

    pub(super) fn add_answer(&mut self, at: TimestampMs, key: Bytes) {
        self.answers.insert((at.plus_ms(IDEMPOTENCY_MS), key));
    }

    fn next(&self) -> Option<TimestampMs> {
        let session = self.sessions.first().map(|(end, _)| *end);
        session.into_iter().chain(self.answers.first().map(|(end, _)| *end)).min()
    }
}

impl Hub {
    /// Sees to it that a key is looked at when time lets it go. Constant time.
    pub(super) fn schedule(&mut self, no: KeyNo, now: TimestampMs) {
        let entry = self.keys.entry(no);
        if entry.is_unstable() {
            return;
        }
        let (timer, is_spent) = (entry.timer, self.keys.is_spent(no));
        let end = match self.keys.view(no).deadline().at() {
            Some(deadline) => Some(forget_at(deadline)),
            None => is_spent.then(|| now.plus_ms(MINUTE_MS)),
        };
        self.keys.entry_mut(no).timer = match (timer, end) {
            (Some(timer), Some(end)) if self.wheel.reschedule(timer, end) => Some(timer),
            (None, Some(end)) => Some(self.wheel.insert(end, no.to_bits())),
            (Some(timer), _) => {
                self.wheel.cancel(timer);
                None
            }
            (None, None) => None,
        };
    }

    /// Looks again at keys that leaves do not follow any more.
    pub(super) fn unfollowed<'a>(&mut self, keys: impl IntoIterator<Item = &'a Key>, now: TimestampMs) {
        for key in keys {
            if let Some(no) = self.keys.find(key) {
                self.schedule(no, now);
            }
        }
    }

    /// Forgets expired keys, keys with nothing in them that nobody wants, ended sessions and old answers.
    pub(super) fn sweep(&mut self, now: TimestampMs) {
        let due: Vec<KeyNo> = self.wheel.advance(now).map(|(_, no)| KeyNo::from_bits(no)).collect();
        let mut gone: Vec<(Key, KeyNo)> = Vec::new();
        for no in due {
            self.keys.entry_mut(no).timer = None;
            if self.keys.entry(no).is_unstable() {
                continue;
            }
            let (key, deadline) = (self.keys.key(no), self.keys.view(no).deadline().at());
            if deadline.is_some_and(|at| forget_at(at) <= now) {
                gone.push((key, no));
            } else if deadline.is_some() || !self.keys.is_spent(no) {
                self.schedule(no, now);
            } else if self.is_unneeded(no, &key) {
                gone.push((key, no));
            } else if !self.is_followed(&key) {
                self.schedule(no, now);
            }
        }
        // In order, so that the same history says the same.
        gone.sort_unstable();
        for (_, no) in &gone {
            self.forget_key(*no);
        }
        let gone: Vec<Key> = gone.into_iter().map(|(key, _)| key).collect();
        self.unsubscribe(&gone);
        // Who follows a key wants to see what comes after.
        let again: Vec<Key> = gone.into_iter().filter(|key| self.is_followed(key)).collect();
        self.want(&again);
        self.drop_ended(now);
    }

    fn drop_ended(&mut self, now: TimestampMs) {
        while let Some(id) = pop_ended(&mut self.ends.sessions, now) {
            let bytes = self.sessions.remove(&id).map_or(0, |session| session.memory_bytes());
            self.memory.count_beside(bytes, 0);
            self.dirty.insert(RowId::Session(id));
        }
        while let Some(key) = pop_ended(&mut self.ends.answers, now) {
            let bytes = self.answers.remove(&key).map_or(0, |answer| answer.memory_bytes(&key));
            self.memory.count_beside(bytes, 0);
            self.dirty.insert(RowId::Answer(key));
        }
    }

    /// Forgets a key whole, as if it had never been held. Nothing of it is unstable.
    pub(super) fn forget_key(&mut self, no: KeyNo) {
        let (key, entry) = (self.keys.key(no), *self.keys.entry(no));
        if entry.is_held {
            self.keys.entry_mut(no).is_held = false;
            self.slots.release(entry.slot(), |no| self.keys.is_held_in(no, entry.slot()));
        }
        if let Some(timer) = entry.timer {
            self.wheel.cancel(timer);
        }
        let ids = self.keys.view(no).elements().into_iter().map(|(id, _)| id);
        self.dirty.extend(ids.map(|id| RowId::Element(key.clone(), id)));
        self.dirty.insert(RowId::Key(key));
        // Of others no element's row is to be written either.
        if entry.is_dirty {
            self.dirty_keys.retain(|other| *other != no);
            self.dirty_elements.retain(|(other, _)| *other != no);
        }
        self.shown.remove(&no);
        self.keys.remove(no);
    }

    /// Asks for a wake-up when something is next to be done; not again where one that is no later was asked for.
    pub(super) fn ask_to_wake(&mut self, now: TimestampMs) {
        let remote = self.remotes.values().map(|remote| remote.until);
        let behind = self.seen.behind.values().map(|behind| behind.until);
        let committing = self.committing.iter().map(|waiting| waiting.until);
        let waiting = self.waiting.iter().map(|waiting| waiting.until).chain(remote).chain(behind).chain(committing);
        let ends = self.wheel.next().into_iter().chain(self.ends.next()).min().map(whole_minute);
        let rights = self.strict.next_due();
        let behind = self.memory.is_behind.then_some(now);
        let Some(earliest) =
            waiting.chain(ends).chain(behind).chain(self.ask_again_at).chain(rights).chain(self.boards_at).min()
        else {
            return;
        };
        let at = earliest.max(now.plus_ms(1));
        if self.wake_at.is_none_or(|asked| at < asked) {
            self.wake_at = Some(at);
            self.effects.push(super::HubEffect::WakeAt(at));
        }
    }
}

/// A hub keeps an expired key a little longer than the origin does, so that a blind write afterwards meets the same
/// nothing at both.
fn forget_at(deadline: TimestampMs) -> TimestampMs {
    deadline.plus_ms(EXPIRY_GRACE_MS.saturating_mul(2))
}

fn pop_ended<T: Ord>(ends: &mut BTreeSet<(TimestampMs, T)>, now: TimestampMs) -> Option<T> {
    let has_ended = ends.first().is_some_and(|(end, _)| *end <= now);
    if has_ended { ends.pop_first().map(|(_, what)| what) } else { None }
}

/// Rounded up, so that what ends comes in batches.
fn whole_minute(at: TimestampMs) -> TimestampMs {
    let minutes = at.0.div_euclid(MINUTE_MS).saturating_add((at.0.rem_euclid(MINUTE_MS) > 0).into());
    TimestampMs(minutes.saturating_mul(MINUTE_MS))
}
