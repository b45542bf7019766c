//! Rounds in alternation, and the median of each contender.

use std::time::Instant;

use crate::Contender;

/// Rounds that count, of each contender.
pub const ROUNDS: usize = 9;

/// Nanoseconds per operation, each contender's median over `rounds`. Each is warmed up by one round that does not
/// count; then they take turns, so that a disturbance of the machine falls on all of them.
pub fn nanoseconds(contenders: &mut [Box<dyn Contender>], rounds: usize) -> Vec<f64> {
    let mut samples = vec![Vec::with_capacity(rounds); contenders.len()];
    for round in 0..=rounds {
        for (contender, samples) in contenders.iter_mut().zip(&mut samples) {
            contender.prepare();
            let started = Instant::now();
            let operations = contender.run();
            let took = started.elapsed();
            if round > 0 {
                samples.push(took.as_secs_f64() * 1e9 / operations.max(1) as f64);
            }
        }
    }
    samples.into_iter().map(median).collect()
}

/// The middle value; NaN of none.
fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples.get(samples.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Counting(u64);

    impl Contender for Counting {
        fn prepare(&mut self) {
            self.0 += 1;
        }

        fn run(&mut self) -> u64 {
            self.0
        }
    }

    #[test]
    fn one_round_more_is_run_than_counts() {
        let mut contenders: Vec<Box<dyn Contender>> = vec![Box::new(Counting(0)), Box::new(Counting(0))];
        assert_eq!(nanoseconds(&mut contenders, 3).len(), 2);
        assert_eq!(contenders.iter_mut().map(|contender| contender.run()).collect::<Vec<_>>(), [4, 4]);
    }

    #[test]
    fn the_median_is_not_moved_by_an_outlier() {
        assert_eq!(median(vec![3.0, 1000.0, 1.0, 2.0, 4.0]), 3.0);
    }
}
