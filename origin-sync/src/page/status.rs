//! `/status`: every hub that the directories name, and what the store was asked for.

use crate::{
    actor::{ActorStatus, Input},
    crew::Crew,
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
    hubs: Vec<HubStatus>,
    store: &'static str,
    store_connected: bool,
    /// By what commits are stable; absent while the store is away.
    stable_by: Option<String>,
    /// How many daemons share the hubs; 0 until that is known.
    daemons: usize,
    commits: u64,
    loads: u64,
    conflicts: u64,
    /// Parts of hubs' batches that are received and not committed.
    pending: usize,
}

#[derive(Debug, Default, Serialize)]
struct HubStatus {
    edge: String,
    name: String,
    /// Whether this daemon serves the hub, or another one.
    served: bool,
    connected: bool,
    hub: Option<String>,
    held: usize,
    batches: u64,
    clock_offset_ms: i64,
}

pub(crate) async fn status(report: &Report) -> Status {
    let actor = ask(report).await;
    let mut by_address: BTreeMap<HubAddress, HubStatus> =
        report.hubs().into_iter().map(|address| (address, HubStatus::default())).collect();
    for Connected { address, status } in actor.iter().flat_map(|actor| &actor.connected) {
        let shown = HubStatus {
            connected: true,
            hub: status.hub.map(|hub| hub.to_string()),
            held: status.held,
            batches: status.batches,
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
    let named = |(address, shown): (HubAddress, HubStatus)| {
        let served = crew.as_ref().is_some_and(|crew| crew.serves(&address.name));
        HubStatus { edge: address.edge, name: address.name, served, ..shown }
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
