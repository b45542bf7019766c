//! What the hub sends to the origin: per slot all that it changed since the committed number.

use super::{Hub, HubEffect, OriginSocket, keyspace::Entry};
use crate::{
    id::{Key, No, ReplicaId, TimestampMs},
    limits::FRAME_BYTES_TARGET,
    message::{HubToOrigin, SlotDelta},
    slot::Slot,
    state::{Ctx, ElementId, KeyDelta},
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
        for (slot, state) in &mut self.slots {
            if state.sent > state.committed || state.latest.max(state.stable) <= state.committed {
                continue;
            }
            if frames.is_full() {
                break;
            }
            let from = state.committed;
            frames.begin(*slot, from);
            let keys: Vec<Key> = if state.is_lost() {
                self.keys.keys().filter(|key| key.slot() == *slot).cloned().collect()
            } else {
                state.unstable.iter().cloned().collect()
            };
            for key in &keys {
                let Some(entry) = self.keys.get_mut(key) else { continue };
                let is_changed = entry.latest() > from || entry.rows_changed_after(from) > 0;
                if state.is_lost() || (is_changed && entry.may_be_forgotten(now)) {
                    frames.push(key, entry.state.to_complete_delta());
                } else if is_changed {
                    for delta in deltas_since(entry, self.id, from, state.latest) {
                        frames.push(key, delta);
                    }
                }
                entry.note_sent();
            }
            state.sent = state.latest.max(state.stable);
            frames.end(state.sent);
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
fn deltas_since(entry: &Entry, own: ReplicaId, from: No, to: No) -> Vec<KeyDelta> {
    let mut parts: Vec<Vec<&ElementId>> = vec![Vec::new()];
    let mut bytes = 0_usize;
    for (id, _) in entry.changes.iter().filter(|(_, change)| change.no > from) {
        if bytes > FRAME_BYTES_TARGET {
            parts.push(Vec::new());
            bytes = 0;
        }
        bytes = bytes.saturating_add(element_bytes(entry, id));
        if let Some(part) = parts.last_mut() {
            part.push(id);
        }
    }
    let last = parts.len().saturating_sub(1);
    parts
        .into_iter()
        .enumerate()
        .map(|(at, ids)| {
            let mut ctx = Ctx::new();
            for id in &ids {
                let element = entry.state.element(id);
                let alive = element.iter().flat_map(|element| element.base.dots());
                let dead = entry.changes.get(*id).into_iter().flat_map(|change| change.dead.iter().copied());
                for dot in alive.chain(dead) {
                    ctx.insert(dot);
                }
            }
            ctx.union(&entry.state.header().wipe);
            if at == last {
                ctx.insert_interval(own, from, to);
            }
            entry.state.to_delta(ctx, ids)
        })
        .collect()
}

fn element_bytes(entry: &Entry, id: &ElementId) -> usize {
    let value = entry.state.element(id).map_or(0, |element| element.latest_bytes().map_or(0, bytes::Bytes::len));
    // A dot with its replica, number and time takes some 30 bytes, a sum's part some 40.
    id.name().len().saturating_add(value).saturating_add(80)
}

/// Fills messages up to the target size.
#[derive(Default)]
struct Frames {
    messages: Vec<Vec<SlotDelta>>,
    bytes: usize,
    total: usize,
    open: Option<SlotDelta>,
}

impl Frames {
    const FRAMES_MAX: usize = 8;

    fn is_full(&self) -> bool {
        self.total > FRAME_BYTES_TARGET.saturating_mul(Self::FRAMES_MAX)
    }

    fn begin(&mut self, slot: Slot, from: No) {
        self.open = Some(SlotDelta { slot, from, to: from, keys: Vec::new() });
    }

    fn push(&mut self, key: &Key, delta: KeyDelta) {
        let size = key.as_bytes().len().saturating_add(100).saturating_add(
            delta
                .elements
                .iter()
                .map(|(id, element)| {
                    let value = element.latest_bytes().map_or(0, bytes::Bytes::len);
                    id.name().len().saturating_add(value).saturating_add(80)
                })
                .sum(),
        );
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
