//! What one performance needs, whoever provides it: clients of the edges, a reader of the store, and those who look on. The real
//! parts stand behind it in the demo, fakes in its tests.

use std::convert::Infallible;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use futures_util::future::{join, try_join_all};

use super::check::{self, Check};
use super::edge::EdgeClient;
use super::keys;
use super::live::Live;
use super::log::{Entry, Log};
use super::meter::{Cost, Meter};
use super::probe::Probes;
use super::replay::{self, Progress, Replayed};
use super::settle::{self, Until};
use super::store::Store;
use super::truth::Truth;

/// When a session of the first requests may be gone before it is checked, so that the log is no longer the truth.
const SESSION_AGE_MAX: Duration = Duration::from_secs(keys::SESSION_TTL_S - 60);

/// Everything that a replay and its check touch.
#[derive(Debug)]
pub(crate) struct Stage {
    /// The edges, in the order by which the plan numbers them.
    pub(crate) edges: Vec<EdgeClient>,
    /// Where it all must arrive.
    pub(crate) store: Store,
    /// Redis's statistics, where the store is Redis.
    pub(crate) meter: Option<Meter>,
    /// The lag.
    pub(crate) probes: Probes,
    /// How far the replay is.
    pub(crate) progress: Progress,
    /// The terminal.
    pub(crate) live: Live,
}

/// How to perform.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manner {
    /// Requests under way at once.
    pub(crate) connections: usize,
    /// What must hold before the check.
    pub(crate) until: Until,
    /// For how long a commit counts as unstable.
    pub(crate) loss_window: Duration,
}

/// What a performance came to.
#[derive(Debug)]
pub(crate) struct Performance {
    /// The replay.
    pub(crate) replayed: Replayed,
    /// From the last acknowledgement until all had arrived.
    pub(crate) settled_after: Duration,
    /// What it cost Redis, where there is one.
    pub(crate) cost: Option<Cost>,
    /// Truth and store, value by value.
    pub(crate) check: Check,
}

impl Stage {
    /// A stage for so many lines.
    pub(crate) fn new(edges: Vec<EdgeClient>, store: Store, lines: usize, live: Live) -> Self {
        let meter = match &store {
            Store::Redis(reader) => Some(Meter::new(reader.clone())),
            Store::Embedded(_) => None,
        };
        let probes = Probes::new(edges.len());
        let progress = Progress::new(lines as u64, edges.len());
        Self { edges, store, meter, probes, progress, live }
    }

    /// Replays, waits, and compares with what the file at `path` says, read anew. `disturbance` happens beside the replay.
    pub(crate) async fn perform(
        &self,
        path: &Path,
        entries: &[Entry],
        manner: Manner,
        disturbance: impl Future<Output = anyhow::Result<()>>,
    ) -> anyhow::Result<Performance> {
        let regions: Vec<String> = self.edges.iter().map(|edge| edge.region.clone()).collect();
        let onlookers = async {
            join(self.probes.poll(&regions, &self.store), self.live.watch(&self.edges, &self.progress, &self.probes))
                .await;
            // Neither ends by itself.
            std::future::pending::<Infallible>().await
        };
        let arrival = async {
            self.sample().await?;
            let replay = async {
                let replayed = replay::run(&self.edges, entries, manner.connections, &self.progress).await;
                self.probes.stop();
                Ok(replayed?)
            };
            let probes = async {
                let senders = self.edges.iter().enumerate().map(|(edge, client)| self.probes.send(edge, client));
                Ok(try_join_all(senders).await?)
            };
            let (replayed, _, ()) = tokio::try_join!(replay, probes, disturbance)?;
            self.live.settling();
            let settled_after = settle::wait(&self.edges, &self.probes, manner.until, manner.loss_window).await?;
            anyhow::Ok((replayed, settled_after, self.sample().await?))
        };
        let (replayed, settled_after, cost) = tokio::select! {
            arrived = arrival => arrived?,
            never = onlookers => match never {},
        };
        self.live.close();

        let age = replayed.took + settled_after;
        if age >= SESSION_AGE_MAX {
            bail!(
                "{} s have passed since the first request, and sessions have begun to expire; replay fewer lines",
                age.as_secs()
            );
        }
        let truth = Truth::of(&Log::read(path)?.entries);
        let check =
            check::run(&self.store, &truth, &replayed.touches).await.context("the check could not be finished")?;
        Ok(Performance { replayed, settled_after, cost, check })
    }

    /// Reads Redis's statistics, where the store is Redis.
    pub(crate) async fn sample(&self) -> anyhow::Result<Option<Cost>> {
        match &self.meter {
            Some(meter) => Ok(Some(meter.sample().await?)),
            None => Ok(None),
        }
    }
}
