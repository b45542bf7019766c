//! What the hub sends to the origin: per slot all that it changed since the committed number.

use super::{
    Hub, HubEffect, OriginSocket,
    keyspace::{GROUP, KeyNo, Standing},
    notes::Notes,
};
use crate::{
    id::{Key, No, ReplicaId, TimestampMs},
    limits::FRAME_BYTES_TARGET,
    message::{HubToOrigin, SlotDelta},
    slot::Slot,
    state::{Ctx, Element, ElementId, KeyDelta, KeyView},
};

impl Hub {
    /// Spends credit on what is pending. A slot goes out whole, and not again before it is acknowledged; large ones in
    /// several frames, of which only the last moves the slot's number.
    pub(super) fn send_pending(&mut self, now: TimestampMs) {
        let Some(OriginSocket { connection, credit }) = &mut self.origin else { return };
        if *credit == 0 {
            return;
        }
        let connection = *connection;
        let mut frames = Frames::default();
        for taken in 0_usize.. {
            if frames.is_full() {
                break;
            }
            if taken.is_multiple_of(GROUP) {
                self.keys.warm_known(self.slots.upcoming(), |_| 0);
            }
            let Some(slot) = self.slots.take_pending() else { break };
            let Some(state) = self.slots.at_mut(slot).filter(|state| state.has_pending()) else { continue };
            let (from, latest, is_lost) = (state.committed, state.latest, state.is_lost());
            let history = state.cursor.incarnation.filter(|_| state.holds_any());
            if state.awaits_comparison() {
                // It is listed again once the origin has compared what is held.
                continue;
            }
            state.sent = state.latest.max(state.stable);
            state.utter(state.sent);
            let sent = state.sent;
            let mut changed = state.take_changed();
            for no in &changed {
                self.keys.entry_mut(*no).standing = Standing::Unstable;
            }
            if is_lost {
                changed = self.keys.iter().filter(|(_, entry)| entry.slot() == slot).map(|(no, _)| no).collect();
            }
            let mut named: Vec<(Key, KeyNo)> = changed.into_iter().map(|no| (self.keys.key(no), no)).collect();
            named.sort_unstable();
            named.dedup();
            frames.begin(slot, history, from, named.len());
            for (key, no) in &named {
                let is_changed = self.keys.notes(*no).is_some_and(|notes| notes.latest() > from);
                let is_unheard = is_lost && !self.keys.entry(*no).is_held;
                if is_unheard || (is_changed && self.keys.may_be_forgotten(*no, now)) {
                    for piece in self.keys.view(*no).to_complete_delta().split(FRAME_BYTES_TARGET) {
                        frames.push(key, piece);
                    }
                } else if let Some(notes) = self.keys.notes(*no).filter(|_| is_changed) {
                    for delta in deltas_since(self.keys.view(*no), notes, self.id, from, latest) {
                        frames.push(key, delta);
                    }
                }
                self.keys.entry_mut(*no).is_asked |= is_unheard || is_changed;
                let deadline = self.keys.view(*no).deadline().at();
                if let Some(notes) = self.keys.notes_mut(*no) {
                    notes.note_sent(deadline);
                }
            }
            frames.end(sent);
            // Of the others, which go along with them where the store lost all, each may be forgotten before these arrive.
            let unstable = named.into_iter().map(|(_, no)| no).filter(|no| self.keys.entry(*no).is_unstable());
            let unstable = unstable.collect();
            if let Some(state) = self.slots.at_mut(slot) {
                state.note_sent(unstable);
            }
        }
        let frames = frames.into_messages();
        if frames.is_empty() {
            return;
        }
        *credit = credit.saturating_sub(1);
        self.effects.extend(frames.into_iter().map(|slots| HubEffect::ToOrigin(connection, HubToOrigin::Delta(slots))));
    }
}

/// A key's changes after `from`. Each part but the last speaks only of the dots that it lists; the last also of all of the
/// hub's numbers in `(from, to]`, since by then every own dot among these has been listed.
fn deltas_since(view: KeyView<'_>, notes: &Notes, own: ReplicaId, from: No, to: No) -> Vec<KeyDelta> {
    let (mut header, mut string) = view.header_and_string();
    header.ctx = Ctx::new();
    // Mostly one part of one element: exact sizes, for these are made for every key that is sent.
    let mut parts = Vec::with_capacity(1);
    let mut part = KeyDelta { header: header.clone(), ..KeyDelta::default() };
    let mut bytes = 0_usize;
    let changed = notes.changed_after(from);
    part.elements.reserve_exact(changed.len());
    for (id, change) in changed {
        let element = if *id == ElementId::String { string.take() } else { view.element(id) };
        let element = element.unwrap_or_else(|| Element::empty(id.kind()));
        if bytes > FRAME_BYTES_TARGET {
            parts.push(std::mem::replace(&mut part, KeyDelta { header: header.clone(), ..KeyDelta::default() }));
            bytes = 0;
        }
        bytes = bytes.saturating_add(element.approximate_bytes(id));
        for dot in element.base.dots().chain(change.dead()) {
            part.header.ctx.insert(dot);
        }
        part.elements.push((id.clone(), element));
    }
    part.header.ctx.insert_interval(own, from, to);
    parts.push(part);
    for part in &mut parts {
        part.header.ctx.union(&header.wipe);
    }
    parts
}

/// Fills messages up to the target size.
#[derive(Default)]
struct Frames {
    messages: Vec<Vec<SlotDelta>>,
    bytes: usize,
    total: usize,
    keys: usize,
    open: Option<SlotDelta>,
}

impl Frames {
    const FRAMES_MAX: usize = 4;

    /// Small ones fit into one frame then. The sooner a batch is on its way, the less the origin waits for it, and slots that are
    /// left gather more until their turn comes.
    const KEYS_MAX: usize = 4096;

    fn is_full(&self) -> bool {
        self.keys >= Self::KEYS_MAX || self.total > FRAME_BYTES_TARGET.saturating_mul(Self::FRAMES_MAX)
    }

    /// Begins with a slot of so many keys, most of which are mostly sent.
    fn begin(&mut self, slot: Slot, history: Option<ReplicaId>, from: No, keys: usize) {
        self.keys = self.keys.saturating_add(keys);
        self.open = Some(SlotDelta { slot, history, from, to: from, keys: Vec::with_capacity(keys) });
    }

    fn push(&mut self, key: &Key, delta: KeyDelta) {
        let size = key.as_bytes().len().saturating_add(delta.approximate_bytes());
        self.total = self.total.saturating_add(size);
        if self.bytes > 0 && self.bytes.saturating_add(size) > FRAME_BYTES_TARGET {
            // The slot's keys so far go ahead without moving its number.
            if let Some(open) = &mut self.open {
                let part = SlotDelta { keys: std::mem::take(&mut open.keys), ..open.clone() };
                if !part.keys.is_empty() {
                    self.file(part);
                }
            }
            self.messages.push(Vec::new());
            self.bytes = 0;
        }
        self.bytes = self.bytes.saturating_add(size);
        if let Some(open) = &mut self.open {
            open.keys.push((key.clone(), delta));
        }
    }

    fn end(&mut self, to: No) {
        if let Some(open) = self.open.take() {
            self.file(SlotDelta { to, ..open });
        }
    }

    fn file(&mut self, part: SlotDelta) {
        if self.messages.is_empty() {
            self.messages.push(Vec::new());
        }
        if let Some(message) = self.messages.last_mut() {
            message.push(part);
        }
    }

    fn into_messages(self) -> Vec<Vec<SlotDelta>> {
        self.messages.into_iter().filter(|message| !message.is_empty()).collect()
    }
}
