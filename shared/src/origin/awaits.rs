//! Hubs that wait to be told all that leads up to a client's marks.
//!
//! A mark has arrived at a hub once the slot's marker, as it was read since the hub asked, has the numbers and the sequence,
//! and nothing of the slot is still to be sent to that hub: what is sent precedes the answer on its connection. Another
//! daemon may move the marker without a hint, so it is read again until then.

use super::{Link, Origin, OriginEffect, slot::Busy};
use crate::{
    id::TimestampMs,
    message::{Mark, OriginToHub},
    slot::Slot,
    store::Marker,
};

/// How often a marker is read again for those that wait, in milliseconds.
const LOOK_MS: i64 = 250;

/// How long a hub's call is kept, in milliseconds: longer than the hub waits for the answer.
const AWAIT_MS_MAX: i64 = 10_000;

/// A hub's call, with the marks that have not arrived.
#[derive(Debug)]
pub(super) struct Await {
    link: Link,
    call: u64,
    marks: Vec<Mark>,
    look_at: TimestampMs,
    until: TimestampMs,
}

impl Origin {
    pub(super) fn await_marks(&mut self, link: Link, call: u64, marks: Vec<Mark>, now: TimestampMs) {
        self.look_at_markers(&marks);
        let (look_at, until) = (now.plus_ms(LOOK_MS), now.plus_ms(AWAIT_MS_MAX));
        self.awaits.push(Await { link, call, marks, look_at, until });
    }

    /// Has the markers read again of which more is awaited, and forgets who waited too long.
    pub(super) fn look_for_awaited(&mut self, now: TimestampMs) {
        let mut awaits = std::mem::take(&mut self.awaits);
        awaits.retain(|waits| now < waits.until);
        for waits in awaits.iter_mut().filter(|waits| waits.look_at <= now) {
            waits.look_at = now.plus_ms(LOOK_MS);
            self.look_at_markers(&waits.marks);
        }
        self.awaits = awaits;
    }

    /// Answers the calls of which all marks have arrived.
    pub(super) fn answer_awaits(&mut self) {
        let mut awaits = std::mem::take(&mut self.awaits);
        awaits.retain_mut(|waits| {
            waits.marks.retain(|mark| !self.has_arrived(waits.link, mark));
            let is_open = !waits.marks.is_empty();
            if !is_open {
                self.effects.push(OriginEffect::ToHub(waits.link, OriginToHub::Arrived(waits.call)));
            }
            is_open
        });
        self.awaits = awaits;
    }

    /// When a marker is next to be read again.
    pub(super) fn next_look(&self) -> Option<TimestampMs> {
        self.awaits.iter().map(|waits| waits.look_at).min()
    }

    pub(super) fn forget_awaits(&mut self, link: Link) {
        self.awaits.retain(|waits| waits.link != link);
    }

    fn look_at_markers(&mut self, marks: &[Mark]) {
        for Mark { slot, .. } in marks {
            self.slots.entry(*slot).or_default().is_doubted = true;
            self.ready.insert(*slot);
        }
    }

    fn has_arrived(&self, link: Link, mark: &Mark) -> bool {
        let Some(work) = self.slots.get(&mark.slot) else { return false };
        let is_read = work.is_known && !work.is_doubted && work.busy != Busy::Loading && !work.is_attaching(link);
        is_read
            && work.number_of(mark.hub) >= mark.no
            && work.marker.as_ref().is_some_and(|marker| reaches(marker, mark))
            && !self.owes(link, mark.slot)
    }

    fn owes(&self, link: Link, slot: Slot) -> bool {
        let held = self.links.get(&link).and_then(|state| state.held.get(&slot));
        held.is_some_and(|held| !held.owed.is_empty())
    }
}

/// Whether the slot's history has come as far. One in which the mark's is no more has lost what it may not have kept; hubs
/// send that again under their numbers.
fn reaches(marker: &Marker, mark: &Mark) -> bool {
    mark.cursor.incarnation != Some(marker.incarnation) || marker.seq >= mark.cursor.seq
}
