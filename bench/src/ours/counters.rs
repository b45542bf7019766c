//! INCR on keys that are known, through the hub's one door: parsed, executed, stamped, its rows and reply made.

use std::hint::black_box;

use bytes::Bytes;

use crate::{
    Contender,
    input::{Argv, argv, names, picks, random},
    site::{Site, assert_answers, settled},
};

/// Commands in one round.
pub const COMMANDS: usize = 16_384;

/// The names of the counters.
#[must_use]
pub fn keys(size: usize) -> Vec<Bytes> {
    names("counter", size)
}

/// A round's commands: INCR of keys picked at random.
pub fn commands(random: &mut fastrand::Rng, keys: &[Bytes]) -> Vec<Argv> {
    let incr = Bytes::from_static(b"INCR");
    picks(random, keys, COMMANDS).into_iter().map(|key| argv([&incr, key])).collect()
}

/// A hub that holds the counters, and runs INCR in pipelines.
struct Increments {
    site: Site,
    keys: Vec<Bytes>,
    pipeline: usize,
    random: fastrand::Rng,
    input: Vec<Vec<Argv>>,
}

pub(super) fn boxed(size: usize, pipeline: usize) -> Box<dyn Contender> {
    let keys = keys(size);
    let incr = Bytes::from_static(b"INCR");
    let mut site = settled(&keys, keys.iter().map(|key| argv([&incr, key])));
    assert_answers(&site.run(keys.iter().take(pipeline).map(|key| argv([&incr, key])).collect()));
    Box::new(Increments { site, keys, pipeline, random: random(), input: Vec::new() })
}

impl Contender for Increments {
    fn prepare(&mut self) {
        let commands = commands(&mut self.random, &self.keys);
        self.input = commands.chunks(self.pipeline).map(<[Argv]>::to_vec).collect();
    }

    fn run(&mut self) -> u64 {
        for pipeline in std::mem::take(&mut self.input) {
            drop(black_box(self.site.run(black_box(pipeline))));
        }
        COMMANDS as u64
    }
}
