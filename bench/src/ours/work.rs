//! The work that the core shares with other CRDTs: which keys there are, what is in them, and what is done to them.

use bytes::Bytes;

use crate::input::{Argv, argv, name, names};

/// Operations in one batch, after which each contender hands out what another replica needs.
pub const BATCH: usize = 64;

/// Batches in one round.
pub const BATCHES: usize = 16;

/// What is done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Work {
    /// INCR of counters picked at random.
    Counters,
    /// SADD of a new member to sets picked at random.
    Sets,
    /// SADD of a new member to one large set.
    OneSet,
    /// HSET of one field of hashes picked at random.
    Hashes,
}

/// One operation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Operation {
    /// Which key.
    pub key: Bytes,
    /// The new member, or the field's new value; a counter ignores it.
    pub item: Bytes,
}

/// An endless course of operations, the same for all contenders.
#[derive(Clone, Debug)]
pub struct Course {
    work: Work,
    keys: Vec<Bytes>,
    random: fastrand::Rng,
    items: usize,
}

impl Course {
    /// Over `size` keys, or over one key of `size` members.
    #[must_use]
    pub fn new(work: Work, size: usize) -> Self {
        let keys = if work == Work::OneSet { vec![Bytes::from_static(b"set")] } else { names("key", size) };
        Self { work, keys, random: crate::input::random(), items: size }
    }

    /// All keys.
    #[must_use]
    pub fn keys(&self) -> &[Bytes] {
        &self.keys
    }

    /// The operations that bring about what is there before the first round.
    pub fn initial(&self) -> impl Iterator<Item = Operation> + '_ {
        let size = self.items;
        (0..size).filter_map(|at| {
            let key = self.keys.get(at % self.keys.len().max(1))?.clone();
            Some(Operation { key, item: name("item", at) })
        })
    }

    /// The next batch.
    pub fn batch(&mut self) -> Vec<Operation> {
        let keys = crate::input::picks(&mut self.random, &self.keys, BATCH);
        let first = self.items;
        self.items += BATCH;
        keys.into_iter()
            .enumerate()
            .map(|(at, key)| Operation { key: key.clone(), item: name("item", first + at) })
            .collect()
    }

    /// A round's batches.
    pub fn round(&mut self) -> Vec<Vec<Operation>> {
        (0..BATCHES).map(|_| self.batch()).collect()
    }

    /// An operation as a command.
    #[must_use]
    pub fn command(&self, Operation { key, item }: &Operation) -> Argv {
        match self.work {
            Work::Counters => argv([&Bytes::from_static(b"INCR"), key]),
            Work::Sets | Work::OneSet => argv([&Bytes::from_static(b"SADD"), key, item]),
            Work::Hashes => argv([&Bytes::from_static(b"HSET"), key, &Bytes::from_static(b"field"), item]),
        }
    }
}
