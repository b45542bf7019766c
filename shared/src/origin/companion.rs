//! A key's companion: its state as fields, so that a commit writes only what it touched.

use super::changes::Changes;
use crate::{
    id::ReplicaId,
    state::{Element, ElementId, Header, KeyState},
    store::Companion,
    wire::{
        WireError,
        stored::{from_stored, read_element, read_header, to_stored, write_element, write_header},
    },
};
use bytes::Bytes;
use std::collections::BTreeSet;

const HEADER: &[u8] = b"h";
const ELEMENT: u8 = b'e';

/// A key as the origin knows it: the state, and at which sequence of its slot each element changed last.
#[derive(Clone, Debug, Default)]
pub(super) struct StoredKey {
    pub(super) state: KeyState,
    changes: Changes,
    /// Removed elements that still have a field.
    tombstones: BTreeSet<ElementId>,
    /// Removals up to this sequence may have lost their fields: a hub that stands before needs the key whole.
    pub(super) pruned_to: u64,
    /// Replicas of which this key's context knows by others alone: what lies between their numbers in it may have been lost
    /// with an earlier companion, so the marker does not vouch for it until they have sent a delta of their own.
    pub(super) unheard: BTreeSet<ReplicaId>,
}

/// The state that a companion's fields hold.
///
/// # Errors
/// When a field does not decode: the companion was written by another format, or damaged.
pub fn key_state(companion: &Companion) -> Result<KeyState, WireError> {
    StoredKey::decode(companion).map(|stored| stored.state)
}

impl StoredKey {
    pub(super) fn decode(companion: &Companion) -> Result<Self, WireError> {
        let mut stored = Self::default();
        for (name, body) in &companion.fields {
            if name.as_ref() == HEADER {
                let (header, pruned_to, unheard) = from_stored(body, |r| {
                    let (header, pruned_to) = (read_header(r)?, r.varint()?);
                    let unheard = r.list("replicas", usize::MAX, 1, |r| Ok(r.replica()?.1))?;
                    Ok((header, pruned_to, unheard))
                })?;
                stored.unheard = unheard.into_iter().collect();
                stored.state.restore_header(header);
                stored.pruned_to = pruned_to;
            } else if let Some(id) = element_id(name) {
                let (element, changed) = from_stored(body, |r| Ok((read_element(r, id.kind())?, r.varint()?)))?;
                match element {
                    Some(element) => stored.state.restore_element(&id, element),
                    None => {
                        stored.tombstones.insert(id.clone());
                    }
                }
                stored.changes.note(&id, changed);
            }
        }
        Ok(stored)
    }

    /// The header as a field.
    pub(super) fn header_field(&self) -> (Bytes, Bytes) {
        header_field(&self.state.header(), self.pruned_to, self.unheard.iter().copied())
    }

    /// Notes that an element changed at `seq`, and gives its field.
    pub(super) fn touch(&mut self, id: &ElementId, seq: u64) -> (Bytes, Bytes) {
        let element = self.state.element(id);
        self.tombstones.remove(id);
        if element.is_none() {
            self.tombstones.insert(id.clone());
        }
        self.changes.note(id, seq);
        element_field(id, element.as_ref(), seq)
    }

    /// Drops the fields of removed elements once they outnumber what lives; gives the fields' names.
    pub(super) fn prune(&mut self, seq: u64) -> Vec<Bytes> {
        const TOMBSTONES_MIN: usize = 64;
        let live = self.changes.len().saturating_sub(self.tombstones.len());
        let enough = if fault!(TombstoneDroppedAtOnce) { 0 } else { live.max(TOMBSTONES_MIN) };
        if self.tombstones.len() <= enough {
            return Vec::new();
        }
        if !fault!(TombstoneDroppedAtOnce) {
            self.pruned_to = seq;
        }
        let gone = std::mem::take(&mut self.tombstones);
        gone.iter().for_each(|id| self.changes.forget(id));
        gone.iter().map(element_name).collect()
    }

    /// The elements that changed after `seq`, ascending by id.
    pub(super) fn changed_after(&self, seq: u64) -> BTreeSet<ElementId> {
        self.changes.after(seq)
    }
}

/// A header as a field: of a key whose removals up to a sequence may have lost their fields, and of replicas of which it knows
/// by others alone.
pub(super) fn header_field(
    header: &Header,
    pruned_to: u64,
    unheard: impl IntoIterator<Item = ReplicaId, IntoIter: ExactSizeIterator>,
) -> (Bytes, Bytes) {
    let unheard = unheard.into_iter();
    let body = to_stored(|w| {
        write_header(w, header);
        w.varint(pruned_to);
        w.count(unheard.len());
        unheard.for_each(|replica| {
            w.replica(replica);
        });
    });
    (Bytes::from_static(HEADER), body.into())
}

/// An element that changed at `seq`, or that was removed then, as a field.
pub(super) fn element_field(id: &ElementId, element: Option<&Element>, seq: u64) -> (Bytes, Bytes) {
    let body = to_stored(|w| {
        write_element(w, id.kind(), element);
        w.varint(seq);
    });
    (element_name(id), body.into())
}

fn element_name(id: &ElementId) -> Bytes {
    [&[ELEMENT, id.kind() as u8], &id.name()[..]].concat().into()
}

fn element_id(name: &Bytes) -> Option<ElementId> {
    let (tag, rest) = name.split_first()?;
    let (kind, element) = rest.split_first()?;
    ElementId::from_parts(*kind, name.slice_ref(element)).filter(|_| *tag == ELEMENT)
}
