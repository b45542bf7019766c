//! Measures the lag: how long after an edge's acknowledgement an operation shows at the origin.
//!
//! At each edge a counter of its own is incremented at a fixed pace, however slow the earlier ones come through, so that a stall is
//! sampled as often as it deserves. One poller reads all counters until each acknowledged value is seen; its period is the
//! resolution.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::time::MissedTickBehavior;

use super::edge::{EdgeClient, EdgeError};
use super::keys;
use super::store::{Found, Store};

/// Between two increments at one edge.
const PACE: Duration = Duration::from_millis(100);
/// Between two looks at the origin.
const POLL_PERIOD: Duration = Duration::from_millis(2);
/// After a look that failed: the origin is being restarted.
const POLL_PAUSE: Duration = Duration::from_millis(100);

/// The lag of each edge: what was measured, and what is still on its way.
#[derive(Debug)]
pub(crate) struct Probes {
    edges: Vec<Mutex<EdgeProbe>>,
    stopped: AtomicBool,
    operations: AtomicU64,
}

#[derive(Debug, Default)]
struct EdgeProbe {
    /// Acknowledged and not yet seen: the counter's value, and when it was acknowledged.
    outstanding: VecDeque<(i64, Instant)>,
    lags: Vec<Duration>,
}

/// Lags in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lags(Vec<Duration>);

impl Lags {
    /// The value that so many per cent of all lags do not exceed.
    pub(crate) fn percentile(&self, percent: usize) -> Option<Duration> {
        let rank = (self.0.len() * percent).div_ceil(100).max(1);
        self.0.get(rank - 1).copied()
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }
}

impl Probes {
    /// No probe yet at any edge.
    pub(crate) fn new(edges: usize) -> Self {
        Self {
            edges: (0..edges).map(|_| Mutex::default()).collect(),
            stopped: AtomicBool::new(false),
            operations: AtomicU64::new(0),
        }
    }

    /// Sends no more; what is on its way is still awaited.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// Increments sent so far.
    pub(crate) fn operations(&self) -> u64 {
        self.operations.load(Ordering::Relaxed)
    }

    /// Probes that one edge has acknowledged and the origin does not show.
    pub(crate) fn outstanding(&self, edge: usize) -> usize {
        self.edge(edge).map_or(0, |probe| probe.outstanding.len())
    }

    /// The lag of one edge now: the last one measured, or the age of what is still on its way where that is more.
    pub(crate) fn current(&self, edge: usize) -> Option<Duration> {
        let probe = self.edge(edge)?;
        let waiting = probe.outstanding.front().map(|(_, acknowledged)| acknowledged.elapsed());
        waiting.max(probe.lags.last().copied())
    }

    /// All lags measured at one edge.
    pub(crate) fn lags(&self, edge: usize) -> Lags {
        let mut lags = self.edge(edge).map(|probe| probe.lags.clone()).unwrap_or_default();
        lags.sort_unstable();
        Lags(lags)
    }

    /// All lags measured at all edges.
    pub(crate) fn lags_of_all(&self) -> Lags {
        let mut lags: Vec<Duration> = (0..self.edges.len()).flat_map(|edge| self.lags(edge).0).collect();
        lags.sort_unstable();
        Lags(lags)
    }

    /// Increments the counter at one edge until stopped.
    pub(crate) async fn send(&self, edge: usize, client: &EdgeClient) -> Result<(), EdgeError> {
        let key = keys::probe(&client.region);
        let mut ticks = tokio::time::interval(PACE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // Nobody else writes this counter, so its value is the number of increments acknowledged; a reply may be provisional.
        let mut value = 0;
        for number in 1_u64.. {
            ticks.tick().await;
            if self.stopped.load(Ordering::Relaxed) {
                break;
            }
            let command = vec!["INCR".to_owned(), key.clone()];
            let replies = client.pipeline(&format!("{key}-{number}"), &[command]).await?;
            let acknowledged = Instant::now();
            if replies.iter().all(Result::is_ok) {
                value += 1;
                self.operations.fetch_add(1, Ordering::Relaxed);
                if let Some(mut probe) = self.edge(edge) {
                    probe.outstanding.push_back((value, acknowledged));
                }
            }
        }
        Ok(())
    }

    /// Looks at the origin until stopped from outside. Errors are waited out: `--chaos` restarts what is asked here.
    pub(crate) async fn poll(&self, regions: &[String], store: &Store) {
        let probes: Vec<String> = regions.iter().map(|region| keys::probe(region)).collect();
        let commands: Vec<Vec<&str>> = probes.iter().map(|key| vec!["GET", key.as_str()]).collect();
        let mut ticks = tokio::time::interval(POLL_PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if (0..self.edges.len()).all(|edge| self.outstanding(edge) == 0) {
                continue;
            }
            match store.read(&commands).await {
                Ok(values) => self.note(&values),
                Err(_restarting) => tokio::time::sleep(POLL_PAUSE).await,
            }
        }
    }

    fn note(&self, values: &[Found]) {
        let seen = Instant::now();
        for (edge, value) in values.iter().enumerate() {
            let (Some(value), Some(mut probe)) = (value.integer(), self.edge(edge)) else { continue };
            while let Some((_, acknowledged)) =
                probe.outstanding.front().copied().filter(|(probed, _)| *probed <= value)
            {
                probe.outstanding.pop_front();
                probe.lags.push(seen.saturating_duration_since(acknowledged));
            }
        }
    }

    fn edge(&self, edge: usize) -> Option<std::sync::MutexGuard<'_, EdgeProbe>> {
        self.edges.get(edge).map(|probe| probe.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let lags = Lags((1..=200).map(Duration::from_millis).collect());
        assert_eq!(lags.percentile(50), Some(Duration::from_millis(100)));
        assert_eq!(lags.percentile(99), Some(Duration::from_millis(198)));
        assert_eq!(lags.percentile(100), Some(Duration::from_millis(200)));
        assert_eq!(Lags::default().percentile(50), None);
    }

    #[test]
    fn a_value_seen_settles_all_probes_up_to_it() {
        let probes = Probes::new(2);
        let at = Instant::now();
        probes.edge(0).unwrap().outstanding.extend([(1, at), (2, at), (3, at)]);
        probes.edge(1).unwrap().outstanding.extend([(1, at)]);
        probes.note(&[Found::Text("2".to_owned()), Found::Nil]);
        assert_eq!((probes.outstanding(0), probes.outstanding(1)), (1, 1));
        assert_eq!((probes.lags(0).count(), probes.lags_of_all().count()), (2, 2));
    }
}
