//! How often rate limiters decide wrongly, and by how much more than the limit they let pass.
//!
//! Ten regions share limits whose keys are asked for as Zipf has it, on a virtual clock ([`trace`]). Ours are the machines
//! that ship, hubs around an origin over links with a delay ([`world`]); beside them stand other ways to limit
//! ([`peers`]). What each lets pass goes into an exact log of its own ([`oracle`]). A decision is **wrong** where that log,
//! with all that was let pass anywhere until that instant, would have decided otherwise; the **overshoot** is what the log
//! ever held beyond the limit. An answer's error bar is **broken** where the log held more beyond the limit than the answer
//! said that it may.
//!
//! All follows from the seed. Nothing is timed.

pub mod oracle;
pub mod peers;
pub mod trace;
pub mod world;

use headwater::{
    command::{CommandError, Reply},
    limit::{Limit, LimitError, silence_ms},
};
use oracle::Judge;
use trace::{Asked, REGIONS};
use world::{Trouble, World};

/// How the tables call strict limits.
pub const STRICT: &str = "headwater, strict";

/// Into how many refills a bucket's window is divided.
const REFILLS: u64 = 10;

/// What a limit means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rule {
    /// At most so many in each window.
    Fixed,
    /// At most so many in any span of the window's length.
    Sliding,
    /// So many at once, and a tenth of them back after each tenth of the window.
    Bucket,
}

impl Rule {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Sliding, Self::Fixed, Self::Bucket];

    /// How the tables call it.
    #[must_use]
    pub fn described(self) -> &'static str {
        match self {
            Self::Fixed => "fixed window",
            Self::Sliding => "sliding window",
            Self::Bucket => "token bucket",
        }
    }
}

/// One cell of the table.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Cell {
    /// What the limit means.
    pub rule: Rule,
    /// The limit, at least [`REFILLS`].
    pub limit: u64,
    /// Its window, in milliseconds.
    pub window_ms: i64,
    /// How many times the limit is asked for of the most popular key while it is asked for at all.
    pub load: f64,
    /// What a message takes between a region and the origin, one way, in milliseconds.
    pub link_ms: i64,
    /// How many windows the trace lasts.
    pub windows: u32,
    /// How many keys there are.
    pub keys: usize,
}

/// What came of a cell's trace.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Score {
    /// How many requests were decided.
    pub decisions: u64,
    /// How many of them wrongly.
    pub wrong: u64,
    /// How many were refused though there was room.
    pub refused: u64,
    /// The most that was ever let pass beyond the limit, of any key.
    pub over_max: u64,
    /// How many answers bounded the over-admission.
    pub bounded: u64,
    /// How many of these were wrong about it.
    pub broken: u64,
}

impl Score {
    /// Wrong decisions of a hundred.
    #[must_use]
    pub fn wrong_percent(&self) -> f64 {
        percent(self.wrong, self.decisions)
    }

    /// Requests of a hundred that were refused though there was room.
    #[must_use]
    pub fn refused_percent(&self) -> f64 {
        percent(self.refused, self.decisions)
    }

    /// The worst overshoot in hundredths of the limit.
    #[must_use]
    pub fn over_percent(&self, limit: u64) -> f64 {
        percent(self.over_max, limit)
    }

    /// Broken error bars of a hundred answers.
    #[must_use]
    pub fn broken_percent(&self) -> f64 {
        percent(self.broken, self.decisions)
    }
}

fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 }
}

/// What one contender came to.
pub type Scored = (&'static str, Score);

impl Cell {
    /// Runs the trace of this seed through all contenders, ours first.
    ///
    /// # Panics
    /// When a command fails: a bench would measure errors.
    #[must_use]
    pub fn run(&self, seed: u64) -> Vec<Scored> {
        let asked = trace::zipf(self, seed);
        let mut scores = vec![("headwater", self.ours(&asked, &[])), (STRICT, self.strictly(&asked, &[]))];
        if self.rule == Rule::Sliding {
            scores.push(("@upstash/ratelimit, one store", peers::upstash(self, &asked)));
        }
        scores.push(("each region alone", peers::alone(self, &asked)));
        scores
    }

    /// Runs requests through hubs, origin and links that meet with these troubles.
    ///
    /// # Panics
    /// When a command fails for another reason than that the origin is away.
    #[must_use]
    pub fn ours(&self, asked: &[Asked], troubles: &[Trouble]) -> Score {
        self.scored(asked, troubles, false)
    }

    /// The same by strict limits, at an origin that has lived for long enough to grant.
    ///
    /// # Panics
    /// When a command fails for another reason than that there are no rights.
    #[must_use]
    pub fn strictly(&self, asked: &[Asked], troubles: &[Trouble]) -> Score {
        self.scored(asked, troubles, true)
    }

    fn scored(&self, asked: &[Asked], troubles: &[Trouble], is_strict: bool) -> Score {
        let limit = self.core().expect("a cell's limit makes sense");
        let silent_ms = if is_strict { i64::try_from(silence_ms(&limit)).unwrap_or(0) } else { 0 };
        let mut world = World::new(REGIONS, self.link_ms, troubles, silent_ms, is_strict);
        for (number, one) in asked.iter().enumerate() {
            world.ask(one, number, &limit);
        }
        let mut judge = Judge::new(self);
        while let Some((at, number, reply)) = world.next_answer() {
            match reply {
                Ok(Reply::Array(numbers)) => {
                    let number_at =
                        |at: usize| if let Some(Reply::Int(number)) = numbers.get(at) { *number } else { -1 };
                    let bound = u64::try_from(number_at(5)).ok();
                    judge.judge(asked[number].key, at, number_at(0) == 1, bound);
                }
                // Nothing was decided.
                Err(CommandError::NotHeld | CommandError::NoRights) => {}
                other => panic!("HW.LIMIT was answered {other:?}"),
            }
        }
        judge.score()
    }

    /// The limit as the core has it.
    fn core(&self) -> Result<Limit, LimitError> {
        let window_ms = self.window_ms.unsigned_abs();
        match self.rule {
            Rule::Fixed => Limit::fixed_window(self.limit, window_ms),
            Rule::Sliding => Limit::sliding_window(self.limit, window_ms),
            Rule::Bucket => Limit::token_bucket(self.limit / REFILLS, window_ms / REFILLS, self.limit),
        }
    }
}

#[cfg(test)]
mod tests;
