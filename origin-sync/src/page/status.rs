//! `/status`: every hub that the directories name, and what the store was asked for.

use crate::{
    actor::{ActorStatus, Input},
    clock,
    crew::Crew,
    history::HubLately,
    report::{Connected, HubAddress, Report},
    store::Store as _,
};
use serde::Serialize;
use std::{collections::BTreeMap, sync::atomic::Ordering, time::Duration};
use tokio::{sync::oneshot, time::timeout};

/// An actor that is busier than this shows its hubs as not connected.
const ASK_TIMEOUT: Duration = Duration::from_secs(2);

/// The page.
#[derive(Debug, Serialize)]
pub(crate) struct Status {
    pub(super) hubs: Vec<HubStatus>,
    pub(super) store: &'static str,
    pub(super) store_connected: bool,
    /// By what commits are stable; absent while the store is away.
    pub(super) stable_by: Option<String>,
    /// How many daemons share the hubs; 0 until that is known.
    pub(super) daemons: usize,
    pub(super) commits: u64,
    loads: u64,
    pub(super) conflicts: u64,
    /// Parts of hubs' batches that are received and not committed.
    pub(super) pending: usize,
}

#[derive(Debug, Default, Serialize)]
pub(super) struct HubStatus {
    pub(super) edge: String,
    pub(super) name: String,
    /// Whether this daemon serves the hub, or another one.
    pub(super) served: bool,
    pub(super) connected: bool,
    hub: Option<String>,
    held: usize,
    batches: u64,
    /// Parts of its batch that are received and not committed.
    pub(super) pending: usize,
    /// Of its latest batches, from the arrival to the commit.
    pub(super) lag_p50_ms: Option<f64>,
    pub(super) lag_p99_ms: Option<f64>,
    pub(super) clock_offset_ms: i64,
    /// How long ago this daemon heard something of it.
    pub(super) last_seen_ms: Option<i64>,
}

pub(crate) async fn status(report: &Report) -> Status {
    let actor = ask(report).await;
    let mut by_address: BTreeMap<HubAddress, HubStatus> =
        report.hubs().into_iter().map(|address| (address, HubStatus::default())).collect();
    for Connected { address, status, pending } in actor.iter().flat_map(|actor| &actor.connected) {
        let shown = HubStatus {
            connected: true,
            hub: status.hub.map(|hub| hub.to_string()),
            held: status.held,
            batches: status.batches,
            pending: *pending,
            clock_offset_ms: status.clock_offset_ms,
            ..HubStatus::default()
        };
        by_address.insert(address.clone(), shown);
    }
    let stable_by = match report.live() {
        Some(live) => Some(live.store.stable_means().await),
        None => None,
    };
    let crew = report.live().and_then(|live| live.crew.borrow().clone());
    let now = clock::now();
    let named = |(address, shown): (HubAddress, HubStatus)| {
        let served = crew.as_ref().is_some_and(|crew| crew.serves(&address.name));
        let lately = report.history.hub(&address);
        let lag = lately.and_then(|lately| lately.lag);
        let last_seen_ms = lately.map(|HubLately { seen_at, .. }| now.since_ms(seen_at).max(0));
        HubStatus {
            edge: address.edge,
            name: address.name,
            served,
            lag_p50_ms: lag.map(|lag| lag.p50_ms),
            lag_p99_ms: lag.map(|lag| lag.p99_ms),
            last_seen_ms,
            ..shown
        }
    };
    Status {
        hubs: by_address.into_iter().map(named).collect(),
        store: report.store,
        store_connected: actor.is_some(),
        stable_by,
        daemons: crew.as_ref().map_or(0, Crew::size),
        pending: actor.map_or(0, |actor| actor.pending),
        commits: report.commits.load(Ordering::Relaxed),
        loads: report.loads.load(Ordering::Relaxed),
        conflicts: report.conflicts.load(Ordering::Relaxed),
    }
}

/// What the machine says of itself; `None` without a store.
async fn ask(report: &Report) -> Option<ActorStatus> {
    let live = report.live()?;
    let (answer, answered) = oneshot::channel();
    let ask = async {
        live.inputs.send(Input::Status(answer)).await.ok()?;
        answered.await.ok()
    };
    timeout(ASK_TIMEOUT, ask).await.ok()?
}
