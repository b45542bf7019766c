//! The daemon as a whole: the pages, and one life after the other of store connection, machine and sockets.

use crate::{
    actor::{Actor, ActorError, INPUTS_MAX},
    backoff::Backoff,
    crew,
    dial::{Dialler, LinkNumbers},
    edge::{EdgeUrl, OriginToken},
    history::SAMPLE_INTERVAL,
    identity::{Identities, Known},
    measure,
    page::{self, Pages},
    report::{Live, Report},
    store::{AnyStore, Store, StoreLocation},
};
use headwater::command::Family;
use metrics_exporter_prometheus::PrometheusHandle;
use std::{
    collections::BTreeSet,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, atomic::Ordering},
    time::Duration,
};
use tokio::{
    net::TcpListener,
    sync::{Notify, mpsc, watch},
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, sleep, timeout},
};

/// How long sockets may take to send what waits and close.
const CLOSE_DEADLINE: Duration = Duration::from_secs(2);

/// A life that was shorter counts as a failure to open the store.
const LASTING: Duration = Duration::from_secs(5);

/// The exporter folds what was recorded into its summaries that often.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// What the command line says.
#[derive(Clone, Debug)]
pub struct DaemonConfig {
    /// The edges to dial.
    pub edges: Vec<EdgeUrl>,
    /// What proves to them that this is the origin.
    pub token: OriginToken,
    /// Where the reconciled state is kept.
    pub store: StoreLocation,
    /// Where the daemon's own pages are.
    pub listen: SocketAddr,
    /// What it is called among the daemons that share the store.
    pub name: String,
    /// How long after a commit it is taken to be stable, in milliseconds.
    pub loss_window_ms: i64,
    /// The time between two batches of a hub that is at rest, in milliseconds.
    pub window_ms: i64,
    /// What the operations of a busy hub may wait for each other, in milliseconds.
    pub lag_target_ms: i64,
    /// The commands that edges may have passed through to Redis.
    pub pass_through: BTreeSet<Family>,
    /// The patterns of the keys that are a person's.
    pub erase_patterns: Vec<String>,
}

/// Why the daemon could not run.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The address of the pages is taken or not ours.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

/// Runs until `stop` resolves and what was received is committed.
///
/// # Errors
/// When the pages cannot be served. A store or an edge that is away is waited for.
pub async fn run(
    config: DaemonConfig,
    metrics: PrometheusHandle,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), DaemonError> {
    let address = config.listen;
    let listener = TcpListener::bind(address).await.map_err(|source| DaemonError::Listen { address, source })?;
    let report = Arc::new(Report::new(config.store.name()));
    let drain = Arc::new(Notify::new());
    let pages = Pages {
        report: Arc::clone(&report),
        token: config.token.clone(),
        metrics: metrics.clone(),
        erase_patterns: config.erase_patterns.clone().into(),
        drain: Arc::clone(&drain),
    };
    let mut background = JoinSet::new();
    background.spawn(async move {
        if let Err(error) = axum::serve(listener, page::router(pages)).await {
            tracing::error!(%error, "the pages ended");
        }
    });
    background.spawn(async move {
        let mut upkeep = interval(UPKEEP_INTERVAL);
        loop {
            upkeep.tick().await;
            metrics.run_upkeep();
            measure::resident_memory();
        }
    });
    let sampled = Arc::clone(&report);
    background.spawn(async move {
        let mut sample = interval(SAMPLE_INTERVAL);
        sample.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            sample.tick().await;
            sampled.sample();
        }
    });
    let (stopper, stopped) = watch::channel(false);
    background.spawn(async move {
        tokio::select! {
            () = stop => {}
            () = drain.notified() => tracing::info!("asked to drain"),
        }
        stopper.send_replace(true);
        // Held until the end, since a dropped sender would read as a stop as well.
        std::future::pending::<()>().await;
    });
    tracing::info!(%address, store = config.store.name(), "started");
    lives(&config, &report, stopped).await;
    tracing::info!("stopped");
    Ok(())
}

/// One life after the other, until the end.
async fn lives(config: &DaemonConfig, report: &Arc<Report>, stopped: watch::Receiver<bool>) {
    let (numbers, known) = (LinkNumbers::default(), Arc::new(Mutex::new(Known::default())));
    let mut backoff = Backoff::new();
    loop {
        let opened = tokio::select! {
            opened = config.store.open() => opened,
            () = stop(stopped.clone()) => return,
        };
        match opened {
            Ok(store) => {
                let began = Instant::now();
                let ended = life(config, report, Arc::new(store), (&numbers, &known), stop(stopped.clone())).await;
                // A store that opens and then refuses what it is asked is not tried ever faster.
                if began.elapsed() >= LASTING {
                    backoff.reset();
                }
                match ended {
                    Ok(()) => return,
                    Err(error) => tracing::error!(%error, "the store failed; all connections are closed and made anew"),
                }
            }
            Err(error) => tracing::warn!(%error, "the store cannot be opened"),
        }
        tokio::select! {
            () = sleep(backoff.next()) => {}
            () = stop(stopped.clone()) => return,
        }
    }
}

/// One connection to the store with a machine and sockets of its own.
async fn life(
    config: &DaemonConfig,
    report: &Arc<Report>,
    store: Arc<AnyStore>,
    (numbers, known): (&LinkNumbers, &Arc<Mutex<Known>>),
    stop: impl Future<Output = ()>,
) -> Result<(), ActorError> {
    tracing::info!(store = report.store, run_id = %String::from_utf8_lossy(&store.run_id()), "the store is open");
    let identities = Identities::open(Arc::clone(&store), Arc::clone(known)).await?;
    measure::store_up(true);
    let (inputs, receiver) = mpsc::channel(INPUTS_MAX);
    let me = crew::member(&config.name, &config.edges);
    let (telling, crew) = watch::channel(None);
    let mut diallers = JoinSet::new();
    diallers.spawn(crew::keep(Arc::clone(&store), me.clone(), telling));
    for edge in &config.edges {
        let dialler = Dialler {
            edge: edge.clone(),
            token: config.token.clone(),
            report: Arc::clone(report),
            inputs: inputs.clone(),
            numbers: Arc::clone(numbers),
            crew: crew.clone(),
            identities: identities.clone(),
        };
        diallers.spawn(dialler.run());
    }
    report.set_live(Some(Live { store: Arc::clone(&store), inputs, crew }));
    let actor = Actor::new(Arc::clone(&store), Arc::clone(report), config);
    let ended = actor.run(receiver, stop).await;
    report.set_live(None);
    report.pending.store(0, Ordering::Relaxed);
    measure::store_up(false);
    measure::hubs_connected(0);
    // With the actor gone the sockets send what waits and close.
    if timeout(CLOSE_DEADLINE, diallers.join_all()).await.is_err() {
        tracing::debug!("some sockets did not close in time");
    }
    // The others need not wait for the silence. Where the store has failed they do.
    if ended.is_ok() && !matches!(timeout(CLOSE_DEADLINE, store.leave(&me)).await, Ok(Ok(()))) {
        tracing::debug!("the other daemons notice by its silence that this one is gone");
    }
    ended
}

/// Resolves once the daemon is to end.
async fn stop(mut stopped: watch::Receiver<bool>) {
    let _ = stopped.wait_for(|is_stopped| *is_stopped).await;
}
