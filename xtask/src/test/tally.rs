//! Counts tests by what the test runners print.

use std::fmt;

/// Tests that passed, failed, and were passed over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) passed: u64,
    pub(super) failed: u64,
    /// For want of what they need, or since they are asked for by name only.
    pub(super) skipped: u64,
}

impl Tally {
    pub(super) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }

    /// Counts what a summary line says, be it cargo's, the simulation's or Node's; of any other line, nothing.
    pub(super) fn read(&mut self, line: &str) {
        let counts = match line.split_once("test result: ") {
            Some((_, counts)) => counts.split_once(". ").map_or(counts, |(_, counts)| counts),
            None => line,
        };
        for count in counts.split([';', ',']) {
            let count = count.trim();
            let number = |word: &str| count.strip_suffix(word).or(count.strip_prefix(word))?.trim().parse::<u64>().ok();
            self.passed += number("passed").or(number("ℹ pass")).unwrap_or(0);
            self.failed += number("failed").or(number("ℹ fail")).unwrap_or(0);
            self.skipped += number("ignored").or(number("ℹ skipped")).unwrap_or(0);
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)?;
        if self.skipped > 0 { write!(f, ", {} skipped", self.skipped) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summaries_are_counted_and_nothing_else() {
        let mut tally = Tally::default();
        tally.read("test result: FAILED. 12 passed; 2 failed; 1 ignored; 0 measured; 3 filtered out; finished in 0.1s");
        tally.read("test a_case_that_passed ... ok");
        tally.read("ℹ pass 5");
        tally.read("ℹ fail 1");
        tally.read("ℹ skipped 3");
        tally.read("600 passed, 1 failed");
        tally.read("a case, 3 of which passed, failed");
        assert_eq!(tally, Tally { passed: 617, failed: 4, skipped: 4 });
        assert_eq!(tally.to_string(), "617 passed, 4 failed, 4 skipped");
    }
}
