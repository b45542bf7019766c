//! Replicas by small numbers, so that a dot in memory costs a few bytes.
//!
//! Numbers are given in the order of first sight. Rows of the same store may use them, if they store the table too; order and
//! bytes that others see go by the identity.

use crate::{id::ReplicaId, ordered::OrderedMap};

/// The replicas seen so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Replicas {
    ids: Vec<ReplicaId>,
    numbers: OrderedMap<ReplicaId, u32>,
}

impl Replicas {
    /// Few replicas are found sooner by looking at each.
    const LINEAR_MAX: usize = 8;

    /// The replica's number; its first sight gives it one.
    pub(crate) fn intern(&mut self, id: ReplicaId) -> u32 {
        if let Some(number) = self.number(id) {
            return number;
        }
        let number = u32::try_from(self.ids.len()).expect("fewer than 2^32 replicas fit into memory");
        self.ids.push(id);
        self.numbers.insert(id, number);
        number
    }

    /// The replica that has this number.
    pub(crate) fn id(&self, number: u32) -> Option<ReplicaId> {
        self.ids.get(number as usize).copied()
    }

    /// How many replicas have a number; the next one gets this.
    pub(crate) fn len(&self) -> u32 {
        u32::try_from(self.ids.len()).unwrap_or(u32::MAX)
    }

    /// The bytes that the table has allocated, a tree's node taken as twice its entries.
    pub(crate) fn memory_bytes(&self) -> usize {
        let tree = self.numbers.len().saturating_mul(size_of::<[(ReplicaId, u32); 2]>());
        self.ids.capacity().saturating_mul(size_of::<ReplicaId>()).saturating_add(tree)
    }

    /// The number of a replica that was seen before.
    pub(crate) fn number(&self, id: ReplicaId) -> Option<u32> {
        if self.ids.len() <= Self::LINEAR_MAX {
            return self.ids.iter().position(|own| *own == id).and_then(|at| u32::try_from(at).ok());
        }
        self.numbers.get(&id).copied()
    }
}
