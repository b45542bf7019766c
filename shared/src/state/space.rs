//! Where packed keys live: an arena, and beside it the collections of those keys that have any.

use super::{
    Element, Header, Kind,
    collection::Collection,
    pack::{self, Scalar},
};
use crate::{
    arena::{Arena, Slab},
    id::{HashSeed, ReplicaId},
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

    /// The seed of its hashes.
    pub(crate) fn seed(&self) -> HashSeed {
        self.arena.seed()
    }

    /// The hash of a name.
    pub(crate) fn hash(&self, name: &[u8]) -> u64 {
        self.arena.hash(name)
    }

    /// The replica that has this number.
    pub(crate) fn replica(&self, number: u32) -> Option<ReplicaId> {
        self.arena.replicas.id(number)
    }

    /// How many replicas have a number.
    pub(crate) fn replicas(&self) -> u32 {
        self.arena.replicas.len()
    }

    /// The number of a replica, which it is given if it has none.
    pub(crate) fn intern(&mut self, replica: ReplicaId) -> u32 {
        self.arena.replicas.intern(replica)
    }

    /// The element of a stored row; `None` if it is damaged.
    pub(crate) fn element_from_row(&self, kind: Kind, row: &[u8]) -> Option<Element> {
        pack::element_from_row(&self.arena, kind, row)
    }

    /// The header and string of a stored row; `None` if it is damaged.
    pub(crate) fn scalar_from_row(&self, row: &[u8]) -> Option<(Header, Element)> {
        Scalar::from_row(&self.arena, row)
    }

    /// The bytes that all of this has allocated. Constant time.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.arena.memory_bytes().saturating_add(self.collections.memory_bytes()).saturating_add(self.collections_bytes)
    }

    /// Of what is allocated, the bytes that later keys may take. Constant time.
    pub(crate) fn free_bytes(&self) -> usize {
        self.arena.free_bytes().saturating_add(self.collections.free_bytes())
    }
}
