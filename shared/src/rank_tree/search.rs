//! Searching within a node: how many of its sorted entries lie before a probe.
//!
//! A binary search waits for each step before it knows the next: in a leaf of a large board, which no cache holds, for
//! memory. Here the last entry of every block is compared first; these loads do not depend on each other, so they wait
//! together, and all of the block that they find is then counted, which takes no branch that could be guessed wrong. With a
//! million items this takes a third off a rank.

use std::cmp::Ordering;

/// Entries of a block. Eight scores are one cache line.
const BLOCK: usize = 8;

/// How many leading entries satisfy `is_before`, which must hold for a prefix of `entries`. O(n / 8 + 8).
#[inline]
pub(super) fn count_before<T: Copy>(entries: &[T], is_before: impl Fn(T) -> bool) -> usize {
    let (blocks, _) = entries.as_chunks::<BLOCK>();
    let whole = blocks.iter().filter(|[.., last]| is_before(*last)).count() * BLOCK;
    let window = entries.get(whole..entries.len().min(whole + BLOCK)).unwrap_or_default();
    whole + window.iter().filter(|entry| is_before(**entry)).count()
}

/// The first position in `from..to` whose stored member does not lie before the probe, and whether it is the probe's own;
/// `ties` tells how the member at a position compares to it. O(log n) calls of `ties`, each of which is likely to wait for
/// memory.
#[inline]
pub(super) fn partition_ties(from: usize, to: usize, ties: impl Fn(usize) -> Ordering) -> (usize, bool) {
    let (mut low, mut high) = (from, to);
    while low < high {
        let middle = low.midpoint(high);
        match ties(middle) {
            Ordering::Less => low = middle + 1,
            // Members differ, so nothing before it is equal as well.
            Ordering::Equal => return (middle, true),
            Ordering::Greater => high = middle,
        }
    }
    (low, false)
}
