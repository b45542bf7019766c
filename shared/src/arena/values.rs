//! Values too large to be copied whenever the block beside them changes.
//!
//! A block names such a value by its place here. A reply shares the bytes and copies nothing.

use super::slab::{Place, Slab};
use bytes::Bytes;

/// The large values by place.
#[derive(Clone, Debug, Default)]
pub(crate) struct Values {
    values: Slab<Bytes>,
    bytes: usize,
}

impl Values {
    /// Stores a value.
    pub(crate) fn insert(&mut self, value: Bytes) -> Place {
        self.bytes = self.bytes.saturating_add(value.len());
        self.values.insert(value)
    }

    /// The value at `place`.
    pub(crate) fn at(&self, place: Place) -> Bytes {
        self.values.at(place).cloned().unwrap_or_default()
    }

    /// Drops the value at `place`.
    pub(crate) fn remove(&mut self, place: Place) {
        if let Some(value) = self.values.remove(place) {
            self.bytes = self.bytes.saturating_sub(value.len());
        }
    }

    /// The bytes of the values and of the table.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.bytes.saturating_add(self.values.memory_bytes())
    }

    /// Of what the table has allocated, the bytes that later values may take.
    pub(crate) fn free_bytes(&self) -> usize {
        self.values.free_bytes()
    }
}
