//! The lattice laws on histories that depend on a seed alone; `state::laws` has them on histories that shrink.

use crate::common::history::{assert_lattice_laws, three_replicas};

#[test]
fn keys_are_a_lattice_over_random_histories() {
    for seed in 0..300 {
        assert_lattice_laws(&three_replicas(seed, 40));
    }
}
