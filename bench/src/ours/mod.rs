//! The core's side of every bench.

pub mod counters;

use crate::Contender;

/// One bench of the core.
#[derive(Clone, Copy, Debug)]
pub struct Bench {
    /// What is measured, as the tables call it.
    pub name: &'static str,
    /// What the size counts.
    pub of: &'static str,
    /// The sizes over which it is measured natively.
    pub sizes: &'static [usize],
    /// Makes the contender; setting it up may take seconds.
    pub make: fn(usize) -> Box<dyn Contender>,
}

/// Sizes of a bench whose growth is of interest.
const GROWTH: &[usize] = &[1_000, 10_000, 100_000, 1_000_000];

/// All benches of the core that take time.
pub const BENCHES: &[Bench] = &[
    Bench { name: "INCR, pipelines of 64", of: "keys", sizes: GROWTH, make: |size| counters::boxed(size, 64) },
    Bench { name: "INCR, pipelines of 1024", of: "keys", sizes: GROWTH, make: |size| counters::boxed(size, 1024) },
];

/// The bench of this name.
#[must_use]
pub fn named(name: &str) -> Option<&'static Bench> {
    BENCHES.iter().find(|bench| bench.name == name)
}
