//! The core's side of every bench.

pub mod boards;
pub mod clients;
pub mod counters;
pub mod deltas;
pub mod healing;
pub mod join;
pub mod leaf;
pub mod limits;
pub mod memory;
pub mod order;
pub mod work;

use crate::Contender;
use work::Work;

/// One bench of the core.
#[derive(Clone, Copy, Debug)]
pub struct Bench {
    /// What is measured, as the tables call it.
    pub name: &'static str,
    /// What the size counts.
    pub of: &'static str,
    /// The sizes over which it is measured.
    pub sizes: &'static [usize],
    /// Makes the contender; setting it up may take seconds.
    pub make: fn(usize) -> Box<dyn Contender>,
}

/// Sizes of a bench whose growth is of interest.
const GROWTH: &[usize] = &[1_000, 10_000, 100_000, 1_000_000];

/// The same, where a peer takes too long for the greatest.
const SMALLER: &[usize] = &[1_000, 10_000, 100_000];

/// How many operations wait at a leaf.
const PENDING: &[usize] = &[10, 1_000, 10_000];

/// The bench that joins one element.
pub const JOIN: &str = "join one element into a set";

/// The bench after crdt-benchmarks.
pub const CLIENTS: &str = "B3.1: settle what each client set in one map";

/// All benches of the core that take time.
pub const BENCHES: &[Bench] = &[
    Bench { name: "INCR, pipelines of 64", of: "keys", sizes: GROWTH, make: |size| counters::boxed(size, 64) },
    Bench { name: "INCR, pipelines of 1024", of: "keys", sizes: GROWTH, make: |size| counters::boxed(size, 1024) },
    Bench { name: "INCR with delta", of: "counters", sizes: SMALLER, make: |size| deltas::boxed(Work::Counters, size) },
    Bench { name: "SADD with delta", of: "sets", sizes: SMALLER, make: |size| deltas::boxed(Work::Sets, size) },
    Bench {
        name: "SADD to one set with delta",
        of: "members",
        sizes: SMALLER,
        make: |size| deltas::boxed(Work::OneSet, size),
    },
    Bench { name: "HSET with delta", of: "hashes", sizes: SMALLER, make: |size| deltas::boxed(Work::Hashes, size) },
    Bench { name: JOIN, of: "members", sizes: GROWTH, make: join::boxed },
    Bench {
        name: "HW.LIMIT, fixed window",
        of: "limits",
        sizes: SMALLER,
        make: |size| limits::boxed(size, limits::Algorithm::Fixed),
    },
    Bench {
        name: "HW.LIMIT, sliding window",
        of: "limits",
        sizes: SMALLER,
        make: |size| limits::boxed(size, limits::Algorithm::Sliding),
    },
    Bench {
        name: "ZINCRBY",
        of: "members",
        sizes: GROWTH,
        make: |size| boards::boxed(boards::Question::Increment, size),
    },
    Bench { name: "ZREVRANK", of: "members", sizes: GROWTH, make: |size| boards::boxed(boards::Question::Rank, size) },
    Bench {
        name: "ZRANGE 0 99 REV",
        of: "members",
        sizes: GROWTH,
        make: |size| boards::boxed(boards::Question::Top, size),
    },
    Bench {
        name: "rank tree: insert",
        of: "items",
        sizes: GROWTH,
        make: |size| order::boxed(order::Question::Insert, size),
    },
    Bench {
        name: "rank tree: remove",
        of: "items",
        sizes: GROWTH,
        make: |size| order::boxed(order::Question::Remove, size),
    },
    Bench {
        name: "rank tree: rank",
        of: "items",
        sizes: GROWTH,
        make: |size| order::boxed(order::Question::Rank, size),
    },
    Bench { name: "rank tree: nth", of: "items", sizes: GROWTH, make: |size| order::boxed(order::Question::Nth, size) },
    Bench {
        name: "rank tree: top 100",
        of: "items",
        sizes: GROWTH,
        make: |size| order::boxed(order::Question::Top, size),
    },
    Bench {
        name: "increment of a leaf's counter, offline",
        of: "pending",
        sizes: PENDING,
        make: |size| leaf::boxed(leaf::Target::Counter, false, size),
    },
    Bench {
        name: "write of a leaf's map, offline",
        of: "pending",
        sizes: PENDING,
        make: |size| leaf::boxed(leaf::Target::Map, false, size),
    },
    Bench {
        name: "increment of a leaf's counters, sent",
        of: "pending",
        sizes: PENDING,
        make: |size| leaf::boxed(leaf::Target::Counters, true, size),
    },
    Bench { name: CLIENTS, of: "clients", sizes: &[clients::CLIENTS], make: clients::boxed },
];

/// The bench of this name.
#[must_use]
pub fn named(name: &str) -> Option<&'static Bench> {
    BENCHES.iter().find(|bench| bench.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each contender asserts by itself that it does what its name says.
    #[test]
    fn each_bench_works_through_two_rounds() {
        for bench in BENCHES {
            let mut contender = (bench.make)(10);
            for _ in 0..2 {
                contender.prepare();
                assert!(contender.run() > 0, "{}", bench.name);
            }
        }
    }
}
