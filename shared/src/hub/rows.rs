//! The hub's rows: what is persisted, and the machine rebuilt from it.

use super::{
    Hub, HubConfig, RowId, RowWrite,
    commands::Answer,
    keyspace::KeyNo,
    leaves::Session,
    notes::{Change, Notes},
    slots::SlotState,
};
use crate::{
    hlc::{Clock, Hlc},
    id::{Key, No, ReplicaId},
    limits::DELTA_ELEMENTS_MAX,
    slot::Slot,
    state::{Element, ElementId, Header, Kind},
    wire::{
        Invalid, WireError, from_body,
        reader::Reader,
        stored::{from_stored, read_element, read_header, to_stored, write_element, write_header},
        to_body,
        writer::Writer,
    },
};
use serde::{Deserialize, Serialize};

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

/// A key's row: whether it is held, the hub's number that last changed it, its header, its string, and the change of that.
struct KeyRow {
    is_held: bool,
    latest: No,
    header: Header,
    string: Option<Element>,
    change: Option<Change>,
}

impl KeyRow {
    fn read(r: &mut Reader<'_>) -> Result<Self, Invalid> {
        let is_held = match r.u8()? {
            0 => false,
            1 => true,
            _ => return Err(Invalid::Tag("held")),
        };
        Ok(Self {
            is_held,
            latest: No(r.varint()?),
            header: read_header(r)?,
            string: read_element(r, Kind::String)?,
            change: read_change(r)?,
        })
    }
}

/// A dot takes two bytes at least.
const DOT_BYTES_MIN: usize = 2;

impl Hub {
    /// The hub that wrote these rows.
    ///
    /// # Errors
    /// When a row is missing or does not decode: a hub that guessed would reuse numbers.
    pub fn restore(
        config: impl Into<HubConfig>,
        rows: impl IntoIterator<Item = (RowId, Vec<u8>)>,
    ) -> Result<Self, RestoreError> {
        let mut hub = Self::empty(config.into(), ReplicaId::from_bits(0));
        let mut meta = None;
        for (row, body) in rows {
            let result = match &row {
                RowId::Meta => from_body::<Meta>(&body).map(|stored| meta = Some(stored)),
                RowId::Slot(slot) => from_body::<SlotState>(&body).map(|stored| hub.restore_slot(*slot, &stored)),
                RowId::Key(key) => from_stored(&body, KeyRow::read).map(|stored| hub.restore_key(key, stored)),
                RowId::Element(key, id) => from_stored(&body, |r| Ok((read_element(r, id.kind())?, read_change(r)?)))
                    .map(|(element, change)| {
                        let (no, _) = hub.keys.resolve(key);
                        if let Some(element) = element {
                            hub.keys.restore_element(no, id, element);
                        }
                        if let Some(change) = change {
                            hub.keys.restore_change(no, id, change);
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
        let state = self.slots.of(slot);
        state.committed = stored.committed;
        state.stable = stored.stable;
        state.cursor = stored.cursor;
        state.sent = stored.committed;
    }

    fn restore_key(&mut self, key: &Key, stored: KeyRow) {
        let (no, _) = self.keys.resolve(key);
        self.keys.restore(no, stored.header, stored.string);
        self.keys.entry_mut(no).is_held = stored.is_held;
        if let Some(change) = stored.change {
            self.keys.restore_change(no, &ElementId::String, change);
        }
        if stored.latest > No::ZERO {
            self.keys.notes_of(no).restore_latest(stored.latest);
        }
    }

    /// Finds again which keys have changes that are not stable; drops the notes of those that are.
    fn index_changes(&mut self) {
        let mut all: Vec<(Key, KeyNo)> = self.keys.iter().map(|(no, _)| (self.keys.key(no), no)).collect();
        all.sort_unstable();
        for (_, no) in all {
            let state = self.slots.of(self.keys.slot(no));
            let latest = self.keys.notes(no).map_or(No::ZERO, Notes::latest);
            state.latest = state.latest.max(latest);
            state.offered = state.latest;
            state.held = state.held.saturating_add(self.keys.entry(no).is_held.into());
            let (_, is_open) = self.keys.settle(no, state.stable);
            if !is_open {
                continue;
            }
            let deadline = self.keys.view(no).deadline().at();
            if latest > state.committed {
                self.keys.notes_of(no).doubt_origin_end(deadline);
            } else {
                self.keys.notes_of(no).note_origin_end(deadline);
            }
            state.unstable.push(no);
            self.keys.entry_mut(no).is_unstable = true;
        }
    }

    /// The rows that changed since the last time, as they are now.
    pub(super) fn take_rows(&mut self) -> Vec<RowWrite> {
        let mut rows: Vec<RowWrite> = Vec::with_capacity(self.dirty_keys.len().saturating_add(2));
        if std::mem::take(&mut self.is_meta_dirty) {
            rows.push(RowWrite { body: self.row_body(&RowId::Meta), id: RowId::Meta });
        }
        // A row that was dropped and is written again comes later.
        for id in std::mem::take(&mut self.dirty) {
            rows.push(RowWrite { body: self.row_body(&id), id });
        }
        for no in std::mem::take(&mut self.dirty_keys) {
            self.keys.entry_mut(no).is_dirty = false;
            rows.push(RowWrite { id: RowId::Key(self.keys.key(no)), body: Some(self.key_body(no)) });
        }
        let mut elements = std::mem::take(&mut self.dirty_elements);
        elements.sort_unstable();
        elements.dedup();
        for (no, id) in elements {
            let body = self.element_body(no, &id);
            rows.push(RowWrite { id: RowId::Element(self.keys.key(no), id), body });
        }
        rows
    }

    fn row_body(&self, id: &RowId) -> Option<Vec<u8>> {
        match id {
            RowId::Meta => Some(to_body(&Meta {
                id: self.id,
                last_no: self.last_no,
                latest: self.clock.latest(),
                next_session: self.next_session,
            })),
            RowId::Slot(slot) => self.slots.at(*slot).map(to_body),
            RowId::Key(key) => self.keys.find(key).map(|no| self.key_body(no)),
            RowId::Element(key, id) => self.keys.find(key).and_then(|no| self.element_body(no, id)),
            RowId::Session(id) => self.sessions.get(id).map(to_body),
            RowId::Answer(key) => self.answers.get(key).map(to_body),
        }
    }

    /// A key's row: its header and its string.
    fn key_body(&self, no: KeyNo) -> Vec<u8> {
        let (view, notes) = (self.keys.view(no), self.keys.notes(no));
        let (header, string) = view.header_and_string();
        to_stored(|w| {
            w.u8(self.keys.entry(no).is_held.into());
            w.varint(notes.map_or(No::ZERO, Notes::latest).0);
            write_header(w, &header);
            write_element(w, Kind::String, string.as_ref());
            write_change(w, notes.and_then(|notes| notes.change(&ElementId::String)));
        })
    }

    fn element_body(&self, no: KeyNo, id: &ElementId) -> Option<Vec<u8>> {
        let element = self.keys.view(no).element(id);
        let change = self.keys.notes(no).and_then(|notes| notes.change(id));
        let write = |w: &mut Writer| {
            write_element(w, id.kind(), element.as_ref());
            write_change(w, change);
        };
        (element.is_some() || change.is_some()).then(|| to_stored(write))
    }
}

/// The hub's change of an element: its number, zero for none, and the dots that it declared dead.
fn write_change(w: &mut Writer, change: Option<&Change>) {
    let Some(change) = change else { return w.varint(0) };
    w.varint(change.no.0);
    w.count(change.dead.len());
    change.dead.iter().for_each(|dot| w.dot(*dot));
}

fn read_change(r: &mut Reader<'_>) -> Result<Option<Change>, Invalid> {
    let no = No(r.varint()?);
    if no == No::ZERO {
        return Ok(None);
    }
    let dead = r.list("dead dots", DELTA_ELEMENTS_MAX, DOT_BYTES_MIN, Reader::dot)?;
    Ok(Some(Change { no, dead: dead.into() }))
}
