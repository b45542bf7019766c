//! Other ways to limit, on the same requests.

use headwater::command::Place;

use super::{
    Cell, Score,
    oracle::{Judge, Log},
    trace::{Asked, REGIONS},
};

/// The sliding window of `@upstash/ratelimit` in one store that all regions ask, by its published script. Links of equal
/// length keep the order of requests, so they cost an answer's time and no accuracy.
#[must_use]
pub fn upstash(cell: &Cell, asked: &[Asked]) -> Score {
    let mut counts = vec![Counts::default(); cell.keys];
    let mut judge = Judge::new(cell);
    for one in asked {
        let is_allowed = counts[one.key].takes(one.at_ms, cell);
        judge.judge(one.key, one.at_ms, is_allowed, None);
    }
    judge.score()
}

/// The script's two counters of one key.
#[derive(Clone, Copy, Default)]
struct Counts {
    window: i64,
    current: i64,
    previous: i64,
}

impl Counts {
    fn takes(&mut self, now_ms: i64, cell: &Cell) -> bool {
        let window = now_ms.div_euclid(cell.window_ms);
        if window != self.window {
            self.previous = if window == self.window + 1 { self.current } else { 0 };
            (self.window, self.current) = (window, 0);
        }
        let previous = Place { now_ms, window_ms: cell.window_ms }.weighted(self.previous);
        let is_allowed = previous + self.current < cell.limit as i64;
        self.current += i64::from(is_allowed);
        is_allowed
    }
}

/// Each region by itself with the whole limit, exactly.
#[must_use]
pub fn alone(cell: &Cell, asked: &[Asked]) -> Score {
    let mut logs = vec![Log::new(cell); cell.keys * REGIONS];
    let mut judge = Judge::new(cell);
    for one in asked {
        let log = &mut logs[one.key * REGIONS + one.region];
        let is_allowed = log.used(one.at_ms) < cell.limit;
        if is_allowed {
            log.pass(one.at_ms);
        }
        judge.judge(one.key, one.at_ms, is_allowed, None);
    }
    judge.score()
}
