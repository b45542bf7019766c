//! Names and random orders. Everything follows from a seed, so that contenders meet the same input in the same order.

use bytes::Bytes;

/// A command's words, as a shell hands them to the hub.
pub type Argv = Vec<Bytes>;

/// The seed of every random order.
const SEED: u64 = 0x6865_6164_7761_7465;

/// The source of a contender's random orders.
#[must_use]
pub fn random() -> fastrand::Rng {
    fastrand::Rng::with_seed(SEED)
}

/// So many names in ascending order, `prefix` with six digits or more behind it.
#[must_use]
pub fn names(prefix: &str, count: usize) -> Vec<Bytes> {
    (0..count).map(|at| name(prefix, at)).collect()
}

/// The name with this number.
#[must_use]
pub fn name(prefix: &str, at: usize) -> Bytes {
    Bytes::from(format!("{prefix}:{at:06}"))
}

/// A command of these words.
#[must_use]
pub fn argv<const N: usize>(words: [&Bytes; N]) -> Argv {
    words.into_iter().cloned().collect()
}

/// A round's worth of picks out of `names`.
pub fn picks<'a>(random: &mut fastrand::Rng, names: &'a [Bytes], count: usize) -> Vec<&'a Bytes> {
    (0..count).filter_map(|_| names.get(random.usize(..names.len().max(1)))).collect()
}
