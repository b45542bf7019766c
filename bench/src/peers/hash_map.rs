//! The least that counting can cost: a hash map's get-and-add, without replicas, rows or replies.

use std::hint::black_box;

use hashbrown::HashMap;

use bytes::Bytes;

use crate::{
    Contender,
    input::{picks, random},
    ours::counters,
};

/// Counters in a bare map, under the hasher of the core's keyspace.
struct HashMapCounters {
    counters: HashMap<Vec<u8>, i64>,
    keys: Vec<Bytes>,
    random: fastrand::Rng,
    /// The keys alone, so that the map does not even look into commands.
    input: Vec<Bytes>,
}

pub(super) fn boxed(size: usize) -> Box<dyn Contender> {
    let keys = counters::keys(size);
    let counters = keys.iter().map(|key| (key.to_vec(), 1)).collect();
    Box::new(HashMapCounters { counters, keys, random: random(), input: Vec::new() })
}

impl Contender for HashMapCounters {
    fn prepare(&mut self) {
        self.input = picks(&mut self.random, &self.keys, counters::COMMANDS).into_iter().cloned().collect();
    }

    fn run(&mut self) -> u64 {
        let input = std::mem::take(&mut self.input);
        for key in &input {
            if let Some(count) = self.counters.get_mut(black_box(&key[..])) {
                *count += 1;
                black_box(*count);
            }
        }
        input.len() as u64
    }
}
