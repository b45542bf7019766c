//! Values too large to be copied whenever the block beside them changes.
//!
//! A block names such a value by its place here. A reply shares the bytes and copies nothing.

use bytes::Bytes;

/// The large values by place.
#[derive(Clone, Debug, Default)]
pub(crate) struct Values {
    places: Vec<Option<Bytes>>,
    free: Vec<u32>,
    bytes: usize,
}

impl Values {
    /// Stores a value.
    pub(crate) fn insert(&mut self, value: Bytes) -> u32 {
        self.bytes = self.bytes.saturating_add(value.len());
        if let Some(place) = self.free.pop() {
            if let Some(slot) = self.places.get_mut(place as usize) {
                *slot = Some(value);
            }
            return place;
        }
        self.places.push(Some(value));
        u32::try_from(self.places.len().saturating_sub(1)).expect("fewer than 2^32 large values fit into memory")
    }

    /// The value at `place`.
    pub(crate) fn at(&self, place: u32) -> Bytes {
        self.places.get(place as usize).cloned().flatten().unwrap_or_default()
    }

    /// Drops the value at `place`.
    pub(crate) fn remove(&mut self, place: u32) {
        if let Some(value) = self.places.get_mut(place as usize).and_then(Option::take) {
            self.bytes = self.bytes.saturating_sub(value.len());
            self.free.push(place);
        }
    }

    /// The bytes of the values and of the table.
    pub(crate) fn memory_bytes(&self) -> usize {
        let table = self.places.capacity().saturating_mul(size_of::<Option<Bytes>>());
        let free = self.free.capacity().saturating_mul(size_of::<u32>());
        self.bytes.saturating_add(table).saturating_add(free)
    }
}
