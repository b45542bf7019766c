//! The hub's rows: what is persisted, and the machine rebuilt from it.

use super::{
    Hub, HubConfig, RowId, RowWrite,
    commands::Answer,
    keyspace::{KeyNo, Standing},
    leaves::Session,
    notes::{Change, Notes},
};
use crate::{
    hlc::{Clock, Hlc},
    id::{Key, No, ReplicaId},
    limits::DELTA_ELEMENTS_MAX,
    slot::Slot,
    state::ElementId,
    wire::{
        Invalid, STORED_VERSION, WireError, from_body, reader::Reader, stored::from_stored, to_body, writer::Writer,
    },
};
use bytes::Bytes;
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

impl Hub {
    /// The hub that wrote these rows.
    ///
    /// # Errors
    /// When a row is missing or does not decode, or a key's rows do not belong together: a hub that guessed would reuse
    /// numbers, or take what it never heard of for removed.
    pub fn restore(
        config: impl Into<HubConfig>,
        rows: impl IntoIterator<Item = (RowId, Vec<u8>)>,
    ) -> Result<Self, RestoreError> {
        let mut hub = Self::empty(config.into(), ReplicaId::from_bits(0));
        let mut meta = None;
        for (row, body) in rows {
            let result = match &row {
                RowId::Meta => from_body::<Meta>(&body).map(|stored| meta = Some(stored)),
                RowId::Slot(slot) => from_stored(&body, |r| hub.slots.of(*slot).restore(r)),
                RowId::Replica(number) => hub.restore_replica(*number, &body),
                RowId::Key(key) => hub.restore_key(key, &body),
                RowId::Element(key, id) => hub.restore_element(key, id, &body),
                RowId::Session(id) => from_body::<Session>(&body).map(|stored| {
                    hub.add_session(*id, stored);
                }),
                RowId::Answer(key) => from_body::<Answer>(&body).map(|stored| {
                    hub.add_answer(key.clone(), stored);
                }),
                RowId::Job(no) => hub.restore_job(*no, &body),
                RowId::Rights(key) => hub.restore_rights(key, &body),
            };
            result.map_err(|source| RestoreError::Row { row, source })?;
        }
        let meta = meta.ok_or(RestoreError::NoMeta)?;
        hub.id = meta.id;
        hub.keys.own = meta.id;
        hub.last_no = meta.last_no;
        hub.clock = Clock::resumed(meta.latest);
        hub.next_session = meta.next_session;
        hub.index_changes()?;
        Ok(hub)
    }

    fn restore_replica(&mut self, number: u32, body: &[u8]) -> Result<(), WireError> {
        let bits = u64::from_be_bytes(body.try_into().map_err(|_not_eight_bytes| Invalid::Truncated)?);
        let replica = ReplicaId::from_bits(bits);
        if replica == ReplicaId::LEAF {
            return Err(Invalid::Leaf.into());
        }
        if self.keys.intern(replica) != number {
            return Err(Invalid::Tag("replica number").into());
        }
        self.stored_replicas = self.keys.replicas();
        Ok(())
    }

    fn restore_key(&mut self, key: &Key, body: &[u8]) -> Result<(), WireError> {
        let (is_held, latest, change, packed) = read_stored(body, |r| {
            let is_held = match r.u8()? {
                0 => false,
                1 => true,
                _ => return Err(Invalid::Tag("held")),
            };
            let (latest, change) = (No(r.varint()?), read_change(r)?);
            Ok((is_held, latest, change, r.rest()))
        })?;
        let (header, string) = self.keys.scalar_from_row(packed).ok_or(Invalid::Truncated)?;
        let (no, _) = self.keys.resolve(key);
        self.keys.restore(no, header, string);
        self.keys.entry_mut(no).is_held = is_held;
        let state = self.slots.of(key.slot());
        state.latest = state.latest.max(latest);
        let stable = state.stable;
        if let Some(change) = change.filter(|change| change.no > stable) {
            self.keys.restore_change(no, &ElementId::String, change);
        }
        if latest > stable {
            self.keys.notes_of(no).restore_latest(latest);
        }
        Ok(())
    }

    fn restore_element(&mut self, key: &Key, id: &ElementId, body: &[u8]) -> Result<(), WireError> {
        let (change, packed) = read_stored(body, |r| Ok((read_change(r)?, r.rest())))?;
        let element = self.keys.element_from_row(id.kind(), packed).ok_or(Invalid::Truncated)?;
        let (no, _) = self.keys.resolve(key);
        self.keys.restore_element(no, id, element);
        let stable = self.slots.of(key.slot()).stable;
        if let Some(change) = change.filter(|change| change.no > stable) {
            self.keys.restore_change(no, id, change);
        }
        Ok(())
    }

    /// Finds again which keys have changes that are not stable; drops the notes of those that are, which are none where the rows
    /// of slots came before those of keys.
    ///
    /// # Errors
    /// At a key whose context lacks what its elements or its wipe mention: a row of it is damaged or was lost.
    fn index_changes(&mut self) -> Result<(), RestoreError> {
        let all: Vec<KeyNo> = self.keys.iter().map(|(no, _)| no).collect();
        // Keys count as used when the machine last ran; which was used before which is not stored.
        let last_run = self.clock.latest().time();
        self.keys.uses.set_now(last_run);
        for no in all {
            if !self.keys.view(no).is_covered() {
                let row = RowId::Key(self.keys.key(no));
                return Err(RestoreError::Row { row, source: Invalid::UnknownDot.into() });
            }
            self.keys.restored(no);
            let slot = self.keys.slot(no);
            if self.keys.entry(no).is_held {
                self.slots.hold(slot, no);
            }
            let state = self.slots.of(slot);
            let latest = self.keys.notes(no).map_or(No::ZERO, Notes::latest);
            state.latest = state.latest.max(latest);
            state.offered = state.latest;
            state.utter(state.latest);
            let (_, is_open) = self.keys.settle(no, state.stable);
            if !is_open {
                self.schedule(no, last_run);
                continue;
            }
            let deadline = self.keys.view(no).deadline().at();
            if latest > state.committed {
                self.keys.notes_of(no).doubt_origin_end(deadline);
            } else {
                self.keys.notes_of(no).note_origin_end(deadline);
            }
            state.unstable.push(no);
            self.keys.entry_mut(no).standing = Standing::Unstable;
        }
        Ok(())
    }

    /// The rows that changed since the last time, as they are now.
    pub(super) fn take_rows(&mut self) -> Vec<RowWrite> {
        let mut rows: Vec<RowWrite> = Vec::with_capacity(self.dirty_keys.len().saturating_add(2));
        if std::mem::take(&mut self.is_meta_dirty) {
            rows.push(RowWrite { id: RowId::Meta, body: Some(self.meta_body().into()) });
        }
        // A row that was dropped and is written again comes later.
        for id in std::mem::take(&mut self.dirty) {
            rows.push(RowWrite { body: self.row_body(&id), id });
        }
        self.take_common_rows(&mut rows);
        for number in self.stored_replicas..self.keys.replicas() {
            let replica = self.keys.replica(number).unwrap_or(ReplicaId::LEAF);
            let body = Bytes::copy_from_slice(&replica.to_bits().to_be_bytes());
            rows.push(RowWrite { id: RowId::Replica(number), body: Some(body) });
        }
        self.stored_replicas = self.keys.replicas();
        rows
    }

    /// The rows of slots, keys and elements. Their bodies are slices of one buffer: each alone would be an allocation.
    fn take_common_rows(&mut self, rows: &mut Vec<RowWrite>) {
        let slots = self.slots.take_dirty();
        let keys = std::mem::take(&mut self.dirty_keys);
        let elements = std::mem::take(&mut self.dirty_elements);
        let changed = slots.len().saturating_add(keys.len()).saturating_add(elements.len());
        let first = rows.len();
        rows.reserve(changed);
        let mut bytes = Vec::with_capacity(changed.saturating_mul(ROW_BYTES_EXPECTED));
        // Where each body ends, and whether there is one.
        let mut ends = Vec::with_capacity(changed);
        for slot in slots {
            bytes = self.slot_body(slot, bytes);
            ends.push((bytes.len(), true));
            rows.push(RowWrite { id: RowId::Slot(slot), body: None });
        }
        for no in keys {
            self.keys.entry_mut(no).is_dirty = false;
            bytes = self.key_body(no, bytes);
            ends.push((bytes.len(), true));
            rows.push(RowWrite { id: RowId::Key(self.keys.key(no)), body: None });
        }
        let mut last: Option<(KeyNo, Key)> = None;
        for (no, id) in elements {
            let is_there;
            (is_there, bytes) = self.element_body(no, &id, bytes);
            ends.push((bytes.len(), is_there));
            // Rows of one key follow each other mostly, and share its name.
            let key = match last.take().filter(|(of, _)| *of == no) {
                Some((_, key)) => key,
                None => self.keys.key(no),
            };
            rows.push(RowWrite { id: RowId::Element(key.clone(), id), body: None });
            last = Some((no, key));
        }
        let bytes = Bytes::from(bytes);
        let mut start = 0;
        for (row, (end, is_there)) in rows.iter_mut().skip(first).zip(ends) {
            row.body = is_there.then(|| bytes.slice(start..end));
            start = end;
        }
    }

    fn row_body(&mut self, id: &RowId) -> Option<Bytes> {
        let body = match id {
            RowId::Meta => self.meta_body(),
            RowId::Replica(number) => self.keys.replica(*number)?.to_bits().to_be_bytes().to_vec(),
            RowId::Slot(slot) => self.slots.at(*slot).map(|_| self.slot_body(*slot, Vec::new()))?,
            RowId::Key(key) => self.key_body(self.keys.find(key)?, Vec::new()),
            RowId::Element(key, id) => {
                let (is_there, body) = self.element_body(self.keys.find(key)?, id, Vec::new());
                is_there.then_some(body)?
            }
            RowId::Session(id) => to_body(self.sessions.get(id)?),
            RowId::Answer(key) => to_body(self.answers.get(key)?),
            RowId::Job(no) => self.job_body(*no)?,
            RowId::Rights(key) => return self.rights_body(key),
        };
        Some(body.into())
    }

    fn meta_body(&self) -> Vec<u8> {
        let (latest, next_session) = (self.clock.latest(), self.next_session);
        to_body(&Meta { id: self.id, last_no: self.last_no, latest, next_session })
    }

    /// Appends a slot's row.
    fn slot_body(&self, slot: Slot, bytes: Vec<u8>) -> Vec<u8> {
        let mut w = row_writer(bytes);
        if let Some(state) = self.slots.at(slot) {
            state.write(&mut w);
        }
        row_front(w)
    }

    /// Appends a key's row: whether it is held, the hub's number that last changed it, the change of its string, and then
    /// its header and string as they are packed in memory.
    fn key_body(&mut self, no: KeyNo, bytes: Vec<u8>) -> Vec<u8> {
        let (is_held, notes) = (self.keys.entry(no).is_held, self.keys.notes(no));
        let (latest, change) = (notes.map_or(No::ZERO, Notes::latest), notes.and_then(Notes::string));
        let mut w = row_writer(bytes);
        w.u8(is_held.into());
        w.varint(latest.0);
        write_change(&mut w, change);
        self.keys.append_row(no, row_front(w))
    }

    /// Appends an element's row: the hub's change of it, and the element as it is packed in memory. The first part says
    /// whether there is anything to store.
    fn element_body(&mut self, no: KeyNo, id: &ElementId, bytes: Vec<u8>) -> (bool, Vec<u8>) {
        let hash = self.keys.hash(id);
        let change = self.keys.notes_mut(no).and_then(|notes| notes.cleaned(id, hash));
        let is_changed = change.is_some();
        let mut w = row_writer(bytes);
        write_change(&mut w, change);
        let (is_there, bytes) = self.keys.append_element_row(no, id, hash, row_front(w));
        (is_there || is_changed, bytes)
    }
}

/// What most rows of keys and elements take.
const ROW_BYTES_EXPECTED: usize = 96;

/// Writes a row of the present format after `bytes`.
fn row_writer(mut bytes: Vec<u8>) -> Writer {
    bytes.push(STORED_VERSION);
    Writer::after(bytes)
}

fn row_front(w: Writer) -> Vec<u8> {
    w.finish().expect("numbers and dots have an encoding")
}

/// Reads the front of a row; the packed part is checked by who unpacks it.
fn read_stored<'a, T>(
    body: &'a [u8],
    read: impl FnOnce(&mut Reader<'a>) -> Result<T, Invalid>,
) -> Result<T, WireError> {
    let (version, body) = body.split_first().ok_or(Invalid::Truncated)?;
    if *version != STORED_VERSION {
        return Err(WireError::Version(*version));
    }
    Ok(read(&mut Reader::new(body))?)
}

/// A dot takes two bytes at least.
const DOT_BYTES_MIN: usize = 2;

/// The hub's change of an element: its number, zero for none, and the dots that it declared dead.
fn write_change(w: &mut Writer, change: Option<&Change>) {
    let Some(change) = change else { return w.varint(0) };
    w.varint(change.no.0);
    let dead = change.dead();
    w.count(dead.len());
    dead.for_each(|dot| w.dot(dot));
}

fn read_change(r: &mut Reader<'_>) -> Result<Option<Change>, Invalid> {
    let no = No(r.varint()?);
    if no == No::ZERO {
        return Ok(None);
    }
    let dead = r.list("dead dots", DELTA_ELEMENTS_MAX, DOT_BYTES_MIN, Reader::dot)?;
    Ok(Some(Change::stored(no, &dead)))
}
