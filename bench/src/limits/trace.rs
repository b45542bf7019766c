//! Who asks, when, for what, and where.
//!
//! The key of rank r is asked for at the rate of the most popular one divided by r. Each key is asked for in sessions with
//! pauses between them, both of random length, so that bursts begin anywhere within a window. Within a session requests
//! come as a Poisson process, each at a region drawn evenly: the worst case for whoever has to share a limit.

use super::Cell;

/// How many regions there are.
pub const REGIONS: usize = 10;

/// How long a session lasts on average, and the pause after it, in windows.
const SESSION_WINDOWS: f64 = 2.0;
const PAUSE_WINDOWS: f64 = 1.0;

/// One request.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Asked {
    /// When, in milliseconds since the trace began.
    pub at_ms: i64,
    /// The key, by its rank from 0.
    pub key: usize,
    /// Where.
    pub region: usize,
}

/// The requests of a cell, in order.
#[must_use]
pub fn zipf(cell: &Cell, seed: u64) -> Vec<Asked> {
    let mut random = fastrand::Rng::with_seed(seed);
    let window_ms = cell.window_ms as f64;
    let end_ms = window_ms * f64::from(cell.windows);
    let mut asked = Vec::new();
    for key in 0..cell.keys {
        let between_ms = window_ms / (cell.load * cell.limit as f64) * (key + 1) as f64;
        let mut begun_ms = random.f64() * PAUSE_WINDOWS * window_ms;
        while begun_ms < end_ms {
            let ends_ms = begun_ms + waited(&mut random, SESSION_WINDOWS * window_ms);
            let mut at_ms = begun_ms + waited(&mut random, between_ms);
            while at_ms < ends_ms.min(end_ms) {
                asked.push(Asked { at_ms: at_ms as i64, key, region: random.usize(..REGIONS) });
                at_ms += waited(&mut random, between_ms);
            }
            begun_ms = ends_ms + waited(&mut random, PAUSE_WINDOWS * window_ms);
        }
    }
    asked.sort_unstable();
    asked
}

/// The time to the next event of a Poisson process.
fn waited(random: &mut fastrand::Rng, mean: f64) -> f64 {
    -(1.0 - random.f64()).ln() * mean
}
