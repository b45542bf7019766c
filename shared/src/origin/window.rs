//! For how long a hub's operations are gathered before its next batch is asked for.
//!
//! What is gathered shares commits, and these share calls of the store, so a longer window costs the store less and the reader
//! more. It is worth its while only where there is something to share: while batches bring many operations the windows double,
//! up to the longest, and while they bring few they are halved, down to the least. They are halved too while a batch fills
//! several calls with keys that have one operation each: these cost the same whenever they come, and a batch that is smaller
//! holds up others for less long. What a hub says after a rest never waits for a window, since it was asked before.

use crate::id::No;

/// From so many operations on a batch is that of a busy hub.
const MANY: u64 = 8;

/// Up to so few a batch is that of a hub at rest. Less than half of many, so that windows do not swing.
const FEW: u64 = 3;

/// A batch of so many keys fills several calls of a store, and one of half as many still does.
const MANY_KEYS: u64 = 256;

/// From so many operations on each key on, keys share what they cost.
const SHARED: u64 = 2;

/// The windows of one hub.
#[derive(Debug, Default)]
pub(super) struct Window {
    ms: i64,
    /// The hub's highest number so far.
    no: No,
}

impl Window {
    /// A batch of so many keys is here, up to this number of the hub. Gives the time from now after which the next may be asked
    /// for, in milliseconds.
    pub(super) fn arrived(&mut self, no: No, keys: usize, least_ms: i64, longest_ms: i64) -> i64 {
        // What a hub sends first may be from long ago, or again.
        let operations = if self.no == No::ZERO { 0 } else { no.0.saturating_sub(self.no.0) };
        self.no = self.no.max(no);
        let keys = u64::try_from(keys).unwrap_or(u64::MAX);
        let is_shared = operations >= keys.saturating_mul(SHARED);
        if operations <= FEW || keys >= MANY_KEYS && !is_shared {
            self.ms /= 2;
        } else if operations >= MANY && (keys <= MANY_KEYS / 2 || is_shared) {
            self.ms = self.ms.saturating_mul(2).max(1);
        }
        // Settings may contradict each other; then the least counts.
        self.ms = self.ms.min(longest_ms).max(least_ms);
        self.ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The windows that follow from batches of so many operations on so many keys.
    fn windows(batches: &[(u64, usize)]) -> Vec<i64> {
        let mut window = Window::default();
        let mut no = 0;
        let arrive = |(operations, keys): &(u64, usize)| {
            no += operations;
            window.arrived(No(no), *keys, 5, 50)
        };
        batches.iter().map(arrive).collect()
    }

    #[test]
    fn the_more_a_hub_says_the_less_often_it_is_asked() {
        assert_eq!(windows(&[1000, 8, 100, 9, 8, 8].map(|operations| (operations, 1))), [5, 10, 20, 40, 50, 50]);
    }

    #[test]
    fn a_hub_at_rest_is_asked_often() {
        let batches = [1, 8, 8, 8, 5, 3, 1, 0, 1].map(|operations| (operations, 1));
        assert_eq!(windows(&batches), [5, 10, 20, 40, 40, 20, 10, 5, 5]);
    }

    #[test]
    fn many_keys_with_an_operation_each_share_nothing_in_a_longer_window() {
        let ascent = [(8, 8), (10, 10), (20, 20), (40, 40), (60, 60)];
        assert_eq!(windows(&[&ascent[..], &[(1000, 1000), (500, 500), (250, 250)]].concat())[4..], [50, 25, 12, 12]);
        // Half as many in half the time: it stays as it is.
        assert_eq!(windows(&[(1, 1), (128, 128), (129, 129), (200, 200)]), [5, 10, 10, 10]);
    }

    #[test]
    fn many_keys_with_several_operations_each_do() {
        assert_eq!(windows(&[(1, 1), (2000, 1000), (1999, 1000), (8000, 4000)]), [5, 10, 5, 10]);
    }

    #[test]
    fn without_a_longest_window_all_are_the_least() {
        let mut window = Window::default();
        for no in [1, 100, 1000] {
            assert_eq!(window.arrived(No(no), 1, 0, 0), 0);
        }
    }
}
