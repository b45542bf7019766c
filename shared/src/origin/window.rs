//! For how long a hub's operations are gathered before its next batch is asked for.
//!
//! What is gathered shares commits, so a longer window costs the store less and the reader more. It is worth its while only
//! where there is something to share: while batches bring many operations the windows double, up to the longest, and while
//! they bring few they are halved, down to the least. What a hub says after a rest never waits for a window, since it was
//! asked before.

use crate::id::No;

/// From so many operations on a batch is that of a busy hub.
const MANY: u64 = 8;

/// Up to so few a batch is that of a hub at rest. Less than half of many, so that windows do not swing.
const FEW: u64 = 3;

/// The windows of one hub.
#[derive(Debug, Default)]
pub(super) struct Window {
    ms: i64,
    /// The hub's highest number so far.
    no: No,
}

impl Window {
    /// A batch is here, up to this number of the hub. Gives the time from now after which the next may be asked for, in
    /// milliseconds.
    pub(super) fn arrived(&mut self, no: No, least_ms: i64, longest_ms: i64) -> i64 {
        // What a hub sends first may be from long ago, or again.
        let operations = if self.no == No::ZERO { 0 } else { no.0.saturating_sub(self.no.0) };
        self.no = self.no.max(no);
        if operations >= MANY {
            self.ms = self.ms.saturating_mul(2).max(1);
        } else if operations <= FEW {
            self.ms /= 2;
        }
        // Settings may contradict each other; then the least counts.
        self.ms = self.ms.min(longest_ms).max(least_ms);
        self.ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The windows that follow from batches of so many operations each.
    fn windows(batches: &[u64]) -> Vec<i64> {
        let mut window = Window::default();
        let mut no = 0;
        let arrive = |operations: &u64| {
            no += operations;
            window.arrived(No(no), 5, 50)
        };
        batches.iter().map(arrive).collect()
    }

    #[test]
    fn the_more_a_hub_says_the_less_often_it_is_asked() {
        assert_eq!(windows(&[1000, 8, 100, 9, 8, 8]), [5, 10, 20, 40, 50, 50]);
    }

    #[test]
    fn a_hub_at_rest_is_asked_often() {
        assert_eq!(windows(&[1, 8, 8, 8, 5, 3, 1, 0, 1]), [5, 10, 20, 40, 40, 20, 10, 5, 5]);
    }

    #[test]
    fn without_a_longest_window_all_are_the_least() {
        let mut window = Window::default();
        for no in [1, 100, 1000] {
            assert_eq!(window.arrived(No(no), 0, 0), 0);
        }
    }
}
