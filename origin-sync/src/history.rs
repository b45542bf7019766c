//! The last ten minutes, for the status page: a sample every two seconds, and of each hub what it was like lately.
//!
//! Memory is bounded by the number of samples and of hubs that the directories name. Of what is measured more often than fits
//! between two samples a part is kept in which each measurement is as likely as another (reservoir sampling, Vitter 1985).

use crate::report::HubAddress;
use headwater::{
    id::{No, TimestampMs},
    message::HubToOrigin,
};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// The time between two samples.
pub(crate) const SAMPLE_INTERVAL: Duration = Duration::from_secs(2);

/// How far back the samples go.
pub(crate) const HISTORY: Duration = Duration::from_secs(600);

const SAMPLES_MAX: usize = 300;

/// Measurements kept between two samples.
const MEASURED_MAX: usize = 2_048;

/// Of a hub the lags of so many batches count.
const HUB_LAGS_MAX: usize = 128;

/// What happened between a sample and the one before it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Sample {
    pub(crate) at: TimestampMs,
    /// From the arrival of batches to their commit.
    pub(crate) lag: Option<Quantiles>,
    /// How long the store took for loads and commits.
    pub(crate) store: Option<Quantiles>,
    pub(crate) operations_per_s: f64,
    pub(crate) commits_per_s: f64,
    pub(crate) conflicts_per_s: f64,
    /// At the moment of the sample.
    pub(crate) pending: usize,
}

/// In milliseconds.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Quantiles {
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
}

/// Counts that only grow.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Totals {
    pub(crate) commits: u64,
    pub(crate) conflicts: u64,
}

/// What a hub was like lately.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct HubLately {
    pub(crate) seen_at: TimestampMs,
    pub(crate) lag: Option<Quantiles>,
}

/// The samples, and what the next one is made of.
#[derive(Debug, Default)]
pub(crate) struct History(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    samples: VecDeque<Sample>,
    lags: Measured,
    store: Measured,
    operations: u64,
    last: Option<(TimestampMs, Totals)>,
    hubs: BTreeMap<HubAddress, HubHistory>,
}

#[derive(Debug, Default)]
struct HubHistory {
    seen_at: TimestampMs,
    /// The highest number that it sent on this connection.
    last_no: Option<No>,
    lags: VecDeque<Duration>,
}

impl History {
    /// A hub sent something.
    pub(crate) fn heard(&self, hub: &HubAddress, message: &HubToOrigin, now: TimestampMs) {
        let mut inner = self.lock();
        if !inner.hubs.contains_key(hub) {
            inner.hubs.insert(hub.clone(), HubHistory::default());
        }
        let Some(history) = inner.hubs.get_mut(hub) else { return };
        history.seen_at = now;
        let operations = match message {
            HubToOrigin::Hello { .. } => {
                history.last_no = None;
                0
            }
            HubToOrigin::Delta(parts) => {
                let sent = parts.iter().map(|part| part.to).max().unwrap_or_default();
                // What it sent before in other slots is not counted again; of the first batch the least that it may hold is.
                let before = history.last_no.or_else(|| parts.iter().map(|part| part.from).max()).unwrap_or_default();
                history.last_no = Some(before.max(sent));
                sent.0.saturating_sub(before.0)
            }
            _ => 0,
        };
        inner.operations = inner.operations.saturating_add(operations);
    }

    /// A batch of a hub was committed.
    pub(crate) fn lag(&self, hub: &HubAddress, took: Duration) {
        let mut inner = self.lock();
        inner.lags.note(took);
        if let Some(history) = inner.hubs.get_mut(hub) {
            if history.lags.len() >= HUB_LAGS_MAX {
                history.lags.pop_front();
            }
            history.lags.push_back(took);
        }
    }

    /// The store answered a load or a commit.
    pub(crate) fn store_answered(&self, took: Duration) {
        self.lock().store.note(took);
    }

    /// Takes the next sample. Hubs that no directory names are forgotten.
    pub(crate) fn sample(&self, now: TimestampMs, totals: Totals, pending: usize, named: &BTreeSet<HubAddress>) {
        let mut inner = self.lock();
        inner.hubs.retain(|hub, _| named.contains(hub));
        let (lag, store) = (inner.lags.take(), inner.store.take());
        let operations = std::mem::take(&mut inner.operations);
        let Some((before, last)) = inner.last.replace((now, totals)) else { return };
        let passed_ms = now.since_ms(before);
        // A clock that was set tells nothing of what was between.
        if passed_ms <= 0 {
            return;
        }
        let per_s = |count: u64| to_f64(count) * 1000.0 / to_f64(passed_ms.unsigned_abs());
        let sample = Sample {
            at: now,
            lag,
            store,
            operations_per_s: per_s(operations),
            commits_per_s: per_s(totals.commits.saturating_sub(last.commits)),
            conflicts_per_s: per_s(totals.conflicts.saturating_sub(last.conflicts)),
            pending,
        };
        if inner.samples.len() >= SAMPLES_MAX {
            inner.samples.pop_front();
        }
        inner.samples.push_back(sample);
    }

    /// The samples, the oldest first.
    pub(crate) fn samples(&self) -> Vec<Sample> {
        self.lock().samples.iter().copied().collect()
    }

    /// What is known of a hub, if it was heard of.
    pub(crate) fn hub(&self, hub: &HubAddress) -> Option<HubLately> {
        let inner = self.lock();
        let history = inner.hubs.get(hub)?;
        Some(HubLately { seen_at: history.seen_at, lag: quantiles(history.lags.iter().copied().collect()) })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Durations since the last sample.
#[derive(Debug, Default)]
struct Measured {
    kept: Vec<Duration>,
    count: u64,
}

impl Measured {
    fn note(&mut self, took: Duration) {
        self.count = self.count.saturating_add(1);
        if self.kept.len() < MEASURED_MAX {
            self.kept.push(took);
        } else if let Some(replaced) =
            usize::try_from(fastrand::u64(..self.count)).ok().and_then(|at| self.kept.get_mut(at))
        {
            *replaced = took;
        }
    }

    fn take(&mut self) -> Option<Quantiles> {
        self.count = 0;
        quantiles(std::mem::take(&mut self.kept))
    }
}

/// By the nearest rank.
fn quantiles(mut took: Vec<Duration>) -> Option<Quantiles> {
    took.sort_unstable();
    let last = took.len().checked_sub(1)?;
    let at = |percent: usize| took.get(last * percent / 100).map(|took| took.as_secs_f64() * 1000.0);
    Some(Quantiles { p50_ms: at(50)?, p99_ms: at(99)? })
}

/// Exact up to 2^32, and as good as that beyond.
fn to_f64(count: u64) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use headwater::{id::Key, message::SlotDelta};

    fn hub(name: &str) -> HubAddress {
        HubAddress { edge: "https://edge.example".to_owned(), name: name.to_owned() }
    }

    fn delta(parts: &[(u64, u64)]) -> HubToOrigin {
        let slot = Key::new("k").unwrap().slot();
        let part =
            |&(from, to): &(u64, u64)| SlotDelta { slot, history: None, from: No(from), to: No(to), keys: Vec::new() };
        HubToOrigin::Delta(parts.iter().map(part).collect())
    }

    fn named(names: &[&str]) -> BTreeSet<HubAddress> {
        names.iter().map(|name| hub(name)).collect()
    }

    #[test]
    fn a_sample_tells_of_what_was_since_the_one_before() {
        let history = History::default();
        let totals = |commits, conflicts| Totals { commits, conflicts };
        history.sample(TimestampMs(1_000), totals(10, 1), 0, &named(&["a"]));
        assert_eq!(history.samples(), []);
        history.heard(&hub("a"), &delta(&[(100, 120), (0, 150)]), TimestampMs(1_500));
        history.heard(&hub("a"), &delta(&[(0, 160)]), TimestampMs(2_000));
        for ms in 1..=100 {
            history.lag(&hub("a"), Duration::from_millis(ms));
        }
        history.sample(TimestampMs(3_000), totals(30, 2), 7, &named(&["a"]));
        history.sample(TimestampMs(5_000), totals(30, 2), 0, &named(&["a"]));
        let samples = history.samples();
        let first = Sample {
            at: TimestampMs(3_000),
            lag: Some(Quantiles { p50_ms: 50.0, p99_ms: 99.0 }),
            store: None,
            operations_per_s: 30.0,
            commits_per_s: 10.0,
            conflicts_per_s: 0.5,
            pending: 7,
        };
        assert_eq!(samples[0], first);
        assert_eq!((samples[1].lag, samples[1].operations_per_s, samples[1].commits_per_s), (None, 0.0, 0.0));
        let lately = history.hub(&hub("a")).unwrap();
        assert_eq!((lately.seen_at, lately.lag), (TimestampMs(2_000), first.lag));
    }

    #[test]
    fn nothing_grows_without_end() {
        let history = History::default();
        for no in 0..5_000 {
            history.heard(&hub("a"), &delta(&[]), TimestampMs(no));
            history.heard(&hub(&no.to_string()), &delta(&[]), TimestampMs(no));
            history.lag(&hub("a"), Duration::from_millis(1));
            history.store_answered(Duration::from_millis(1));
        }
        {
            let inner = history.lock();
            assert_eq!((inner.lags.kept.len(), inner.store.kept.len()), (MEASURED_MAX, MEASURED_MAX));
            assert_eq!(inner.hubs[&hub("a")].lags.len(), HUB_LAGS_MAX);
        }
        for second in 0..1_000 {
            history.sample(TimestampMs(second * 2_000), Totals::default(), 0, &named(&["a"]));
        }
        assert_eq!(history.samples().len(), SAMPLES_MAX);
        assert_eq!(history.lock().hubs.keys().collect::<Vec<_>>(), [&hub("a")]);
    }

    #[test]
    fn a_clock_that_is_set_back_makes_no_sample() {
        let history = History::default();
        for ms in [10_000, 12_000, 5_000, 7_000] {
            history.sample(TimestampMs(ms), Totals::default(), 0, &named(&[]));
        }
        let at: Vec<i64> = history.samples().iter().map(|sample| sample.at.0).collect();
        assert_eq!(at, [12_000, 7_000]);
    }

    #[test]
    fn the_samples_cover_the_ten_minutes() {
        assert_eq!(SAMPLE_INTERVAL * u32::try_from(SAMPLES_MAX).unwrap(), HISTORY);
    }
}
