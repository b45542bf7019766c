//! Sessions by token: a client that comes from another hub waits until this one has seen what the client has.
//!
//! A [`Mark`] names a slot, how far a hub had come there with its own operations, and where that hub stood in the origin's
//! history. A hub has seen a mark where its own numbers and its own cursor reach as far; else it asks the origin, which
//! answers once its store has the numbers and it has told this hub all of the slot's changes up to there. What the client
//! asked for is executed then. Nothing of this is stored: a hub that begins again asks again.

use super::{Hub, HubEffect, commands::Waiting};
use crate::{
    command::CommandError,
    id::{Key, No, ReplicaId, TimestampMs},
    limits::RUNS_MAX,
    message::{Cursor, HubToOrigin, Mark},
    slot::Slot,
};
use std::collections::{BTreeMap, BTreeSet};

/// How long a request waits for what its client has seen, in milliseconds: as long as for keys.
const SEEN_MS_MAX: i64 = 5_000;

/// Marks that are remembered as seen. Beyond that all are forgotten, and asked for again.
const SEEN_MAX: usize = 4_096;

/// What this hub was told that it has seen, and the requests that wait for more.
#[derive(Debug, Default)]
pub(super) struct Seen {
    marks: BTreeMap<(Slot, ReplicaId), Mark>,
    pub(super) behind: BTreeMap<u64, Behind>,
}

/// A request whose client has seen more than this hub.
#[derive(Debug)]
pub(super) struct Behind {
    marks: Vec<Mark>,
    waiting: Waiting,
    pub(super) until: TimestampMs,
}

impl Hub {
    /// How far this hub has come in the slots of these keys: what a client that was answered on them has seen. The numbers
    /// are the hub's last in each slot, so they also cover what others did there. Linear in the keys.
    pub fn marks<'a>(&self, keys: impl Iterator<Item = &'a Key>) -> Vec<Mark> {
        let slots: BTreeSet<Slot> = keys.map(Key::slot).collect();
        let mark = |slot: Slot| {
            let state = self.slots.at(slot)?;
            let no = state.latest.max(state.committed).max(state.stable);
            let mark = Mark { slot, hub: self.id, no, cursor: state.cursor };
            (no > No::ZERO || state.cursor.incarnation.is_some()).then_some(mark)
        };
        slots.into_iter().filter_map(mark).collect()
    }

    /// Has a request wait for what its client has seen in the slots of its keys. Gives it back where there is nothing to wait
    /// for, or after the answer that there will not be.
    pub(super) fn await_seen(&mut self, mut waiting: Waiting, marks: Vec<Mark>, now: TimestampMs) -> Option<Waiting> {
        let slots: BTreeSet<Slot> = waiting.keys().map(Key::slot).collect();
        let marks: Vec<Mark> = marks.into_iter().filter(|mark| slots.contains(&mark.slot)).collect();
        waiting.roamed = marks.iter().filter(|mark| mark.hub != self.id).map(|mark| mark.slot).collect();
        let marks: Vec<Mark> = marks.into_iter().filter(|mark| !self.has_seen(mark)).collect();
        if marks.is_empty() {
            return Some(waiting);
        }
        let Some(connection) = self.origin.as_ref().map(|origin| origin.connection) else {
            self.refuse_all(waiting, &CommandError::Behind);
            return None;
        };
        if self.seen.behind.len() >= RUNS_MAX {
            self.refuse_all(waiting, &CommandError::TooManyAtOrigin);
            return None;
        }
        // Random, as with other calls: an answer to a former life is none to this one.
        let call = self.keys.entropy();
        self.effects.push(HubEffect::ToOrigin(connection, HubToOrigin::Await { call, marks: marks.clone() }));
        self.seen.behind.insert(call, Behind { marks, waiting, until: now.plus_ms(SEEN_MS_MAX) });
        None
    }

    /// The origin has told this hub all that the call asked for.
    pub(super) fn arrived(&mut self, call: u64, now: TimestampMs) {
        let Some(Behind { marks, waiting, .. }) = self.seen.behind.remove(&call) else { return };
        if self.seen.marks.len().saturating_add(marks.len()) > SEEN_MAX {
            self.seen.marks.clear();
        }
        self.seen.marks.extend(marks.into_iter().map(|mark| ((mark.slot, mark.hub), mark)));
        self.take_up(waiting, now);
    }

    /// Refuses what has waited too long.
    pub(super) fn end_behind(&mut self, now: TimestampMs) {
        let late: Vec<Behind> =
            self.seen.behind.extract_if(.., |_, behind| behind.until <= now).map(|(_, behind)| behind).collect();
        late.into_iter().for_each(|behind| self.refuse_all(behind.waiting, &CommandError::Behind));
    }

    /// Nobody will tell whether this hub has seen enough.
    pub(super) fn give_up_behind(&mut self) {
        // Another daemon, or another store, may know less.
        let Seen { behind, .. } = std::mem::take(&mut self.seen);
        behind.into_values().for_each(|behind| self.refuse_all(behind.waiting, &CommandError::Behind));
    }

    fn has_seen(&self, mark: &Mark) -> bool {
        let known = self.seen.marks.get(&(mark.slot, mark.hub));
        let cursor = self.slots.at(mark.slot).map(|state| state.cursor);
        let numbers = if mark.hub == self.id { Some(self.last_no) } else { known.map(|known| known.no) };
        let cursors = [cursor, known.map(|known| known.cursor)];
        let reaches = |own: Cursor| own.incarnation == mark.cursor.incarnation && own.seq >= mark.cursor.seq;
        let is_told = mark.cursor.incarnation.is_none() || cursors.into_iter().flatten().any(reaches);
        is_told && (mark.no == No::ZERO || numbers.is_some_and(|no| no >= mark.no))
    }
}
