//! How long to wait before the next try: doubling, with jitter, so that many daemons and hubs do not come back in step.

use std::time::Duration;

const FIRST_MS: u64 = 100;
const LONGEST_MS: u64 = 5_000;

/// The waits between tries of one thing.
#[derive(Debug)]
pub(crate) struct Backoff {
    next_ms: u64,
}

impl Backoff {
    pub(crate) fn new() -> Self {
        Self { next_ms: FIRST_MS }
    }

    /// The next wait: between half of the step and all of it.
    pub(crate) fn next(&mut self) -> Duration {
        let step = self.next_ms;
        self.next_ms = (step * 2).min(LONGEST_MS);
        Duration::from_millis(fastrand::u64(step / 2..=step))
    }

    /// Trying soon again is of no use: the next wait is of the longest.
    pub(crate) fn lengthen(&mut self) {
        self.next_ms = LONGEST_MS;
    }

    /// It worked: the next failure is a first one.
    pub(crate) fn reset(&mut self) {
        self.next_ms = FIRST_MS;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_longest_and_begin_again() {
        let mut backoff = Backoff::new();
        let waits: Vec<_> = (0..10).map(|_| backoff.next().as_millis()).collect();
        assert!((50..=100).contains(&waits[0]), "{waits:?}");
        assert!((200..=400).contains(&waits[2]), "{waits:?}");
        assert!((2_500..=5_000).contains(&waits[9]), "{waits:?}");
        backoff.reset();
        assert!(backoff.next().as_millis() <= 100);
    }
}
