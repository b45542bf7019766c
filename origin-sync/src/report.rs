//! What the daemon tells of itself over HTTP, kept where every task reaches it.
//!
//! It outlives the connection to the store: while that is away the page says so, and the counts go on.

use crate::{
    actor::Input,
    clock,
    crew::Crew,
    history::{History, Totals},
    store::AnyStore,
};
use headwater::origin::LinkStatus;
use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
};
use tokio::sync::{mpsc, watch};

/// A hub as the directories name it: the edge's base URL and the hub's name there.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct HubAddress {
    pub(crate) edge: String,
    pub(crate) name: String,
}

/// A connected hub, as the machine sees it.
#[derive(Clone, Debug)]
pub(crate) struct Connected {
    pub(crate) address: HubAddress,
    pub(crate) status: LinkStatus,
    /// Parts of its batch that are not committed.
    pub(crate) pending: usize,
}

/// The present connection to the store and the task that owns the machine.
#[derive(Clone, Debug)]
pub(crate) struct Live {
    pub(crate) store: Arc<AnyStore>,
    pub(crate) inputs: mpsc::Sender<Input>,
    /// The daemons that share the hubs, once they are known.
    pub(crate) crew: watch::Receiver<Option<Crew>>,
}

/// The daemon's account of itself.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) store: &'static str,
    pub(crate) loads: AtomicU64,
    pub(crate) commits: AtomicU64,
    pub(crate) conflicts: AtomicU64,
    /// Parts of batches that are received and not committed, when the actor last looked.
    pub(crate) pending: AtomicUsize,
    pub(crate) history: History,
    directory_reached: AtomicBool,
    hubs: Mutex<BTreeSet<HubAddress>>,
    live: watch::Sender<Option<Live>>,
}

impl Report {
    pub(crate) fn new(store: &'static str) -> Self {
        Self {
            store,
            loads: AtomicU64::new(0),
            commits: AtomicU64::new(0),
            conflicts: AtomicU64::new(0),
            pending: AtomicUsize::new(0),
            history: History::default(),
            directory_reached: AtomicBool::new(false),
            hubs: Mutex::default(),
            live: watch::Sender::new(None),
        }
    }

    /// The connection to the store, while there is one.
    pub(crate) fn live(&self) -> Option<Live> {
        self.live.borrow().clone()
    }

    /// The connection is there, or is gone.
    pub(crate) fn set_live(&self, live: Option<Live>) {
        self.live.send_replace(live);
    }

    /// Whether the daemon does its work.
    pub(crate) fn is_ready(&self) -> bool {
        self.live.borrow().is_some() && self.directory_reached.load(Ordering::Relaxed)
    }

    /// An edge's directory was read.
    pub(crate) fn note_directory(&self, edge: &str, names: &BTreeSet<String>) {
        self.directory_reached.store(true, Ordering::Relaxed);
        let mut hubs = self.hubs.lock().unwrap_or_else(PoisonError::into_inner);
        hubs.retain(|hub| hub.edge != edge);
        hubs.extend(names.iter().map(|name| HubAddress { edge: edge.to_owned(), name: name.clone() }));
    }

    /// Takes a sample for the status page.
    pub(crate) fn sample(&self) {
        let totals =
            Totals { commits: self.commits.load(Ordering::Relaxed), conflicts: self.conflicts.load(Ordering::Relaxed) };
        self.history.sample(clock::now(), totals, self.pending.load(Ordering::Relaxed), &self.hubs());
    }

    /// The hubs that the directories name.
    pub(crate) fn hubs(&self) -> BTreeSet<HubAddress> {
        self.hubs.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
