//! What both ends of an encoding remember of what went before, so that the next value is a small difference.

use crate::id::ReplicaId;

/// A replica that the body has named.
#[derive(Clone, Copy)]
pub(super) struct Named {
    pub(super) id: ReplicaId,
    /// Its number that stood last.
    number: u64,
    /// Where its interval began that stood last.
    start: u64,
}

/// The memory: all zero before the first value.
#[derive(Default)]
pub(super) struct Memory {
    replicas: Vec<Named>,
    /// The index after the one referred to last: contexts and sums list replicas in one order.
    pub(super) expected: usize,
    /// Milliseconds of the last stamp.
    pub(super) hlc_ms: u64,
    /// The last instant, of a stamp or a timestamp.
    pub(super) ms: i64,
    /// The last slot.
    pub(super) slot: u64,
    /// The last number outside a dot.
    pub(super) no: u64,
    /// The last number of an operation in a session.
    pub(super) seq: u64,
}

impl Memory {
    /// Names a replica; gives its index.
    pub(super) fn introduce(&mut self, id: ReplicaId) -> usize {
        let index = self.replicas.len();
        self.replicas.push(Named { id, number: 0, start: 0 });
        self.refer(index);
        index
    }

    /// Notes that this index stood last.
    pub(super) fn refer(&mut self, index: usize) {
        self.expected = index.saturating_add(1);
    }

    /// The replica of this index.
    pub(super) fn replica(&self, index: usize) -> Option<ReplicaId> {
        self.replicas.get(index).map(|named| named.id)
    }

    /// The number that stood last of a replica.
    pub(super) fn number(&self, index: usize) -> u64 {
        self.replicas.get(index).map_or(0, |named| named.number)
    }

    pub(super) fn note_number(&mut self, index: usize, number: u64) {
        if let Some(named) = self.replicas.get_mut(index) {
            named.number = number;
        }
    }

    /// Where the interval began that stood last of a replica.
    pub(super) fn start(&self, index: usize) -> u64 {
        self.replicas.get(index).map_or(0, |named| named.start)
    }

    pub(super) fn note_start(&mut self, index: usize, start: u64) {
        if let Some(named) = self.replicas.get_mut(index) {
            named.start = start;
        }
    }

    /// Notes the milliseconds of a stamp.
    pub(super) fn note_hlc(&mut self, ms: u64) {
        self.hlc_ms = ms;
        self.ms = ms.cast_signed();
    }
}
