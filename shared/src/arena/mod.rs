//! The memory in which keys live packed: blocks of bytes, interned replicas, large values, and the hash of clients' names.
//!
//! A key is a few small blocks in place of maps and vectors, addressed by 32 bits; `state::pack` knows what is in them.
//! Every allocation is counted, so that a keyspace knows its size exactly. Nothing here knows a CRDT rule.

mod heap;
mod replicas;
mod slab;
mod values;

pub(crate) use heap::Block;
pub(crate) use slab::{LargeSlab, Place, Slab};

use crate::id::HashSeed;
use heap::Heap;
use replicas::Replicas;
use std::hash::{BuildHasher, Hasher};
use values::Values;

/// What the keys of one keyspace share.
#[derive(Clone, Debug, Default)]
pub(crate) struct Arena {
    pub(crate) heap: Heap,
    pub(crate) replicas: Replicas,
    pub(crate) values: Values,
    seed: HashSeed,
    scratch: Vec<u8>,
}

impl Arena {
    /// An empty arena. The seed is the host's secret: without it nobody can choose names whose hashes collide.
    pub(crate) fn new(seed: HashSeed) -> Self {
        Self { seed, ..Self::default() }
    }

    /// The seed of its hashes.
    pub(crate) fn seed(&self) -> HashSeed {
        self.seed
    }

    /// The hash of a name.
    pub(crate) fn hash(&self, name: &[u8]) -> u64 {
        let mut hasher = self.seed.build_hasher();
        hasher.write(name);
        hasher.finish()
    }

    /// An empty buffer for packing; give it back with [`Arena::put_scratch`], so that packing allocates nothing.
    pub(crate) fn take_scratch(&mut self) -> Vec<u8> {
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        scratch
    }

    /// Takes the buffer back.
    pub(crate) fn put_scratch(&mut self, scratch: Vec<u8>) {
        self.scratch = scratch;
    }

    /// The bytes that all of this has allocated.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.heap
            .memory_bytes()
            .saturating_add(self.replicas.memory_bytes())
            .saturating_add(self.values.memory_bytes())
            .saturating_add(self.scratch.capacity())
    }

    /// Of what is allocated, the bytes that later keys may take.
    pub(crate) fn free_bytes(&self) -> usize {
        self.heap.free_bytes().saturating_add(self.values.free_bytes())
    }
}
