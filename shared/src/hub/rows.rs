//! The hub's rows: what is persisted, and the machine rebuilt from it.

use super::{Hub, RowId, RowWrite, acknowledge::SlotState, commands::Answer, keyspace::Change, leaves::Session};
use crate::{
    hlc::{Clock, Hlc},
    id::{Key, No, ReplicaId},
    slot::Slot,
    state::{Element, Header},
    wire::{WireError, from_body, to_body},
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Why stored rows make no hub.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// There are rows, but not the one with the identity.
    #[error("the hub's storage has rows but no identity; restore it from a backup or delete it whole")]
    NoMeta,
    /// A row does not decode.
    #[error("the row {row:?} of the hub's storage does not decode")]
    Row {
        /// Which row.
        row: RowId,
        /// Why.
        #[source]
        source: WireError,
    },
}

#[derive(Serialize, Deserialize)]
struct Meta {
    id: ReplicaId,
    last_no: No,
    latest: Hlc,
    next_session: u64,
}

#[derive(Serialize, Deserialize)]
struct KeyRow {
    header: Header,
    header_no: No,
    is_held: bool,
}

#[derive(Serialize, Deserialize)]
struct ElementRow {
    element: Option<Element>,
    change: Option<Change>,
}

impl Hub {
    /// The hub that wrote these rows.
    ///
    /// # Errors
    /// When a row is missing or does not decode: a hub that guessed would reuse numbers.
    pub fn restore(name: String, rows: impl IntoIterator<Item = (RowId, Vec<u8>)>) -> Result<Self, RestoreError> {
        let mut hub = Self::empty(name, ReplicaId::from_bits(0));
        let mut meta = None;
        for (row, body) in rows {
            let result = match &row {
                RowId::Meta => from_body::<Meta>(&body).map(|stored| meta = Some(stored)),
                RowId::Slot(slot) => from_body::<SlotState>(&body).map(|stored| hub.restore_slot(*slot, &stored)),
                RowId::Key(key) => from_body::<KeyRow>(&body).map(|stored| hub.restore_key(key, stored)),
                RowId::Element(key, id) => from_body::<ElementRow>(&body).map(|stored| {
                    let entry = hub.keys.entry(key.clone()).or_default();
                    if let Some(element) = stored.element {
                        entry.state.restore_element(id, element);
                    }
                    if let Some(change) = stored.change {
                        entry.changes.insert(id.clone(), change);
                    }
                }),
                RowId::Session(id) => from_body::<Session>(&body).map(|stored| {
                    hub.sessions.insert(*id, stored);
                }),
                RowId::Answer(key) => from_body::<Answer>(&body).map(|stored| {
                    hub.answers.insert(key.clone(), stored);
                }),
            };
            result.map_err(|source| RestoreError::Row { row, source })?;
        }
        let meta = meta.ok_or(RestoreError::NoMeta)?;
        hub.id = meta.id;
        hub.last_no = meta.last_no;
        hub.clock = Clock::resumed(meta.latest);
        hub.next_session = meta.next_session;
        hub.index_changes();
        Ok(hub)
    }

    fn restore_slot(&mut self, slot: Slot, stored: &SlotState) {
        let state = self.slots.entry(slot).or_default();
        state.committed = stored.committed;
        state.stable = stored.stable;
        state.cursor = stored.cursor;
        state.sent = stored.committed;
    }

    fn restore_key(&mut self, key: &Key, stored: KeyRow) {
        let entry = self.keys.entry(key.clone()).or_default();
        entry.state.restore_header(stored.header);
        entry.header_no = stored.header_no;
        entry.is_held = stored.is_held;
    }

    /// Finds again which keys have changes that are not stable; drops the notes of those that are.
    fn index_changes(&mut self) {
        let mut latest = Vec::new();
        for (key, entry) in &mut self.keys {
            let stable = self.slots.get(&key.slot()).map_or(No::ZERO, |slot| slot.stable);
            entry.settle(stable);
            let committed = self.slots.get(&key.slot()).map_or(No::ZERO, |slot| slot.committed);
            if entry.header_no > committed {
                entry.doubt_origin_end();
            } else {
                entry.note_origin_end(entry.state.deadline().at());
            }
            let changed = entry.changes.values().map(|change| change.no).max();
            if entry.is_held {
                let slot = self.slots.entry(key.slot()).or_default();
                slot.held = slot.held.saturating_add(1);
            }
            latest.push((key.clone(), changed.unwrap_or_default().max(entry.header_no)));
        }
        for (key, no) in latest {
            if no > No::ZERO {
                self.note_latest(&key, no);
            }
        }
    }

    /// The rows that changed since the last time, as they are now.
    pub(super) fn take_rows(&mut self) -> Vec<RowWrite> {
        let dirty = std::mem::take(&mut self.dirty);
        dirty.into_iter().map(|id| RowWrite { body: self.row_body(&id), id }).collect()
    }

    fn row_body(&self, id: &RowId) -> Option<Vec<u8>> {
        match id {
            RowId::Meta => Some(to_body(&Meta {
                id: self.id,
                last_no: self.last_no,
                latest: self.clock.latest(),
                next_session: self.next_session,
            })),
            RowId::Slot(slot) => self.slots.get(slot).map(to_body),
            RowId::Key(key) => self.keys.get(key).map(|entry| {
                let header = entry.state.header();
                to_body(&KeyRow { header, header_no: entry.header_no, is_held: entry.is_held })
            }),
            RowId::Element(key, id) => {
                let entry = self.keys.get(key)?;
                let element = entry.state.element(id);
                let change = entry.changes.get(id).cloned();
                (element.is_some() || change.is_some()).then(|| to_body(&ElementRow { element, change }))
            }
            RowId::Session(id) => self.sessions.get(id).map(to_body),
            RowId::Answer(key) => self.answers.get(key).map(to_body),
        }
    }
}

/// The slot of a key, from the map, so that other fields of the hub stay free to borrow.
pub(super) fn slot_of<'a>(slots: &'a mut BTreeMap<Slot, SlotState>, key: &Key) -> &'a mut SlotState {
    slots.entry(key.slot()).or_default()
}
