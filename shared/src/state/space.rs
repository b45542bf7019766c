//! Where packed keys live: an arena, and beside it the collections of those keys that have any.

use super::collection::Collection;
use crate::{
    arena::{Arena, Slab},
    id::HashSeed,
};

/// A key's collections, one a type.
pub(super) type Collections = Box<[Option<Collection>; 3]>;

/// What the keys of one keyspace share.
#[derive(Clone, Debug, Default)]
pub(crate) struct Space {
    pub(super) arena: Arena,
    pub(super) collections: Slab<Collections>,
    /// What the collections have allocated.
    pub(super) collections_bytes: usize,
}

impl Space {
    /// An empty space, whose names are hashed under the host's secret seed.
    pub(crate) fn new(seed: HashSeed) -> Self {
        Self { arena: Arena::new(seed), ..Self::default() }
    }

    /// The hash of a name.
    pub(crate) fn hash(&self, name: &[u8]) -> u64 {
        self.arena.hash(name)
    }

    /// The bytes that all of this has allocated. Constant time.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.arena.memory_bytes().saturating_add(self.collections.memory_bytes()).saturating_add(self.collections_bytes)
    }
}
