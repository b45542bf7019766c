//! Decisions on rate limits through the hub's command path, each of a key picked at random, all of which fit.

use std::hint::black_box;

use bytes::Bytes;

use crate::{
    Contender,
    input::{Argv, names, picks, random},
    site::{Site, assert_answers, settled},
};

/// Commands in one round, and in a pipeline of it.
const COMMANDS: usize = 16_384;
const PIPELINE: usize = 64;

/// How spends count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Algorithm {
    /// In windows side by side.
    Fixed,
    /// In every span of a window's length.
    Sliding,
}

struct Decisions {
    site: Site,
    algorithm: Algorithm,
    keys: Vec<Bytes>,
    random: fastrand::Rng,
    input: Vec<Vec<Argv>>,
}

pub(super) fn boxed(size: usize, algorithm: Algorithm) -> Box<dyn Contender> {
    let keys = names("limit", size);
    let mut site = settled(&keys, keys.iter().map(|key| check(key, algorithm)));
    assert_answers(&site.run(keys.iter().take(PIPELINE).map(|key| check(key, algorithm)).collect()));
    Box::new(Decisions { site, algorithm, keys, random: random(), input: Vec::new() })
}

/// A check that fits however often it is made.
fn check(key: &Bytes, algorithm: Algorithm) -> Argv {
    let algorithm = match algorithm {
        Algorithm::Fixed => "FIXED",
        Algorithm::Sliding => "SLIDING",
    };
    let word = |word: &'static str| Bytes::from_static(word.as_bytes());
    vec![word("HW.LIMIT"), key.clone(), word(algorithm), word("1000000000"), word("60000")]
}

impl Contender for Decisions {
    fn prepare(&mut self) {
        let checks: Vec<Argv> =
            picks(&mut self.random, &self.keys, COMMANDS).into_iter().map(|key| check(key, self.algorithm)).collect();
        self.input = checks.chunks(PIPELINE).map(<[Argv]>::to_vec).collect();
    }

    fn run(&mut self) -> u64 {
        for pipeline in std::mem::take(&mut self.input) {
            drop(black_box(self.site.run(black_box(pipeline))));
        }
        COMMANDS as u64
    }
}
