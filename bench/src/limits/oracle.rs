//! The exact log: what counts against a limit by its definition, if everything that was let pass is known at once.

use std::collections::VecDeque;

use super::{Cell, REFILLS, Rule, Score};

/// All that was let pass of one key.
#[derive(Clone, Debug)]
pub struct Log {
    rule: Rule,
    limit: u64,
    window_ms: i64,
    /// When each request passed that still counts.
    passed: VecDeque<i64>,
    /// What of a bucket is not refilled, and after how many refills that was so.
    backlog: u64,
    refills: i64,
}

impl Log {
    /// An empty log for a cell's limit.
    #[must_use]
    pub fn new(cell: &Cell) -> Self {
        let Cell { rule, limit, window_ms, .. } = *cell;
        Self { rule, limit, window_ms, passed: VecDeque::new(), backlog: 0, refills: 0 }
    }

    /// What counts at `now`, which never goes back.
    pub fn used(&mut self, now: i64) -> u64 {
        let from = match self.rule {
            Rule::Sliding => now - self.window_ms + 1,
            Rule::Fixed => now - now.rem_euclid(self.window_ms),
            Rule::Bucket => {
                let refills = now.div_euclid(self.window_ms / REFILLS as i64);
                let refilled = (refills - self.refills).unsigned_abs() * (self.limit / REFILLS);
                self.backlog = self.backlog.saturating_sub(refilled);
                self.refills = refills;
                return self.backlog;
            }
        };
        while self.passed.front().is_some_and(|at| *at < from) {
            self.passed.pop_front();
        }
        self.passed.len() as u64
    }

    /// Notes a request that passed.
    pub fn pass(&mut self, now: i64) {
        match self.rule {
            Rule::Fixed | Rule::Sliding => self.passed.push_back(now),
            Rule::Bucket => self.backlog += 1,
        }
    }
}

/// Judges decisions by an exact log of each key.
#[derive(Debug)]
pub struct Judge {
    limit: u64,
    logs: Vec<Log>,
    score: Score,
}

impl Judge {
    /// Nothing has passed yet.
    #[must_use]
    pub fn new(cell: &Cell) -> Self {
        Self { limit: cell.limit, logs: vec![Log::new(cell); cell.keys], score: Score::default() }
    }

    /// Takes note of a decision on a request of one, with its bound on the over-admission if it had any.
    ///
    /// # Panics
    /// When there is no such key.
    pub fn judge(&mut self, key: usize, now: i64, is_allowed: bool, bound: Option<u64>) {
        let log = &mut self.logs[key];
        let mut used = log.used(now);
        let fits = used < self.limit;
        if is_allowed {
            log.pass(now);
            used += 1;
        }
        let over = used.saturating_sub(self.limit);
        self.score.decisions += 1;
        self.score.wrong += u64::from(fits != is_allowed);
        self.score.refused += u64::from(fits && !is_allowed);
        self.score.over_max = self.score.over_max.max(over);
        self.score.bounded += u64::from(bound.is_some());
        self.score.broken += u64::from(bound.is_some_and(|bound| over > bound));
    }

    /// What came of all decisions.
    #[must_use]
    pub fn score(&self) -> Score {
        self.score
    }
}
