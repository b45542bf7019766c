//! Searching within a node: how many of its sorted entries lie before a probe.
//!
//! A node that is not in the cache costs one wait for memory per dependent load, so a binary search of a cold leaf waits
//! several times. Here the last entry of every block is compared first; these loads do not depend on each other, so they
//! wait together, and the block that they find is then mostly at hand. Comparisons are added up and not branched on.

use std::cmp::Ordering;

/// Entries of a block. Eight scores are one cache line.
const BLOCK: usize = 8;

/// How many leading entries satisfy `is_before`, which must hold for a prefix of `entries`. O(n / 8 + 8).
#[inline]
pub(super) fn count_before<T: Copy>(entries: &[T], is_before: impl Fn(T) -> bool) -> usize {
    let (blocks, rest) = entries.as_chunks::<BLOCK>();
    let whole = blocks.iter().filter(|[.., last]| is_before(*last)).count();
    let within = match blocks.get(whole) {
        Some(block) => block.iter().filter(|entry| is_before(**entry)).count(),
        None => rest.iter().filter(|entry| is_before(**entry)).count(),
    };
    whole * BLOCK + within
}

/// The first position in `from..to` whose stored member does not lie before the probe; `ties` tells how the member at a
/// position compares to it. O(log n) calls of `ties`, each of which is likely to wait for memory.
#[inline]
pub(super) fn partition_ties(from: usize, to: usize, ties: impl Fn(usize) -> Ordering) -> usize {
    let (mut low, mut high) = (from, to);
    while low < high {
        let middle = low.midpoint(high);
        match ties(middle) {
            Ordering::Less => low = middle + 1,
            // Members differ, so nothing before it is equal as well.
            Ordering::Equal => return middle,
            Ordering::Greater => high = middle,
        }
    }
    low
}
