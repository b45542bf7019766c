//! The least that counting can cost: a hash map's get-and-add, without replicas, rows or replies.

use std::{
    hash::{BuildHasher, RandomState},
    hint::black_box,
};

use bytes::Bytes;
use hashbrown::{DefaultHashBuilder, HashMap};

use super::Peer;
use crate::{
    Contender,
    input::{picks, random},
    ours::counters,
};

/// Counters in a bare map.
struct HashMapCounters<S> {
    counters: HashMap<Vec<u8>, i64, S>,
    keys: Vec<Bytes>,
    random: fastrand::Rng,
    /// The keys alone, so that the map does not even look into commands.
    input: Vec<Bytes>,
}

/// The map under the hasher of the core's keyspace, which is the standard library's SipHash-1-3 under a secret seed, and
/// under the map's own, which does not withstand chosen keys.
pub(super) fn all(size: usize) -> Vec<Peer> {
    vec![
        ("hashbrown, SipHash-1-3", boxed::<RandomState>(size)),
        ("hashbrown, foldhash", boxed::<DefaultHashBuilder>(size)),
    ]
}

fn boxed<S: BuildHasher + Default + 'static>(size: usize) -> Box<dyn Contender> {
    let keys = counters::keys(size);
    let counters = keys.iter().map(|key| (key.to_vec(), 1)).collect::<HashMap<_, _, S>>();
    Box::new(HashMapCounters { counters, keys, random: random(), input: Vec::new() })
}

impl<S: BuildHasher> Contender for HashMapCounters<S> {
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
