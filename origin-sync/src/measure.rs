//! What the daemon counts for Prometheus.

use headwater::store::{Commit, Outcome};
use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};
use std::time::Duration;

/// From a commit to an empty local Redis to one that takes as long as the connection allows.
const SECONDS: [f64; 12] = [0.000_25, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 2.0, 10.0];

/// Installs the recorder of this process.
///
/// # Errors
/// When there is one already.
pub fn install() -> Result<PrometheusHandle, BuildError> {
    let handle = PrometheusBuilder::new().set_buckets(&SECONDS)?.install_recorder()?;
    describe_counter!("headwater_store_loads_total", "Loads that the store answered.");
    describe_counter!("headwater_store_commits_total", "Commits that the store answered, by outcome.");
    describe_counter!("headwater_store_commit_keys_total", "Keys in the commits that happened.");
    describe_counter!("headwater_store_plain_commands_total", "Plain Redis commands in the commits that happened.");
    describe_counter!("headwater_store_lost_total", "Connections to the store that failed.");
    describe_gauge!("headwater_store_up", "Whether the store is connected.");
    describe_histogram!("headwater_store_seconds", "How long the store took to answer, by request.");
    describe_gauge!("headwater_hubs_connected", "Hubs to which a socket is open.");
    describe_counter!("headwater_hub_dials_total", "Sockets dialled, by whether they opened.");
    describe_counter!("headwater_hub_messages_total", "Messages from hubs.");
    describe_counter!("headwater_hub_frames_refused_total", "Frames from hubs that did not decode, by reason.");
    describe_counter!("headwater_hub_links_closed_total", "Hubs' connections that the origin closed.");
    describe_counter!("headwater_foreign_keys_total", "Times that a value of a foreign type held a key up.");
    describe_counter!("headwater_directory_polls_total", "Readings of an edge's directory, by result.");
    Ok(handle)
}

pub(crate) fn loaded(took: Duration) {
    counter!("headwater_store_loads_total").increment(1);
    histogram!("headwater_store_seconds", "request" => "load").record(took);
}

/// The sizes of a commit, taken before it is handed over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CommitSize {
    keys: u64,
    commands: u64,
}

impl CommitSize {
    pub(crate) fn of(commit: &Commit) -> Self {
        let commands: usize = commit.keys.iter().map(|part| part.plain.commands.len()).sum();
        Self { keys: commit.keys.len() as u64, commands: commands as u64 }
    }
}

pub(crate) fn committed(outcome: &Outcome, size: CommitSize, took: Duration) {
    let name = match outcome {
        Outcome::Committed => "committed",
        Outcome::Stale => "stale",
        Outcome::Conflict(_) => "conflict",
        Outcome::Missing(_) => "missing",
        Outcome::Foreign(_) => "foreign",
    };
    counter!("headwater_store_commits_total", "outcome" => name).increment(1);
    histogram!("headwater_store_seconds", "request" => "commit").record(took);
    if *outcome == Outcome::Committed {
        counter!("headwater_store_commit_keys_total").increment(size.keys);
        counter!("headwater_store_plain_commands_total").increment(size.commands);
    }
}

pub(crate) fn store_up(is_up: bool) {
    gauge!("headwater_store_up").set(if is_up { 1.0 } else { 0.0 });
    if !is_up {
        counter!("headwater_store_lost_total").increment(1);
    }
}

pub(crate) fn hubs_connected(count: usize) {
    gauge!("headwater_hubs_connected").set(f64::from(u32::try_from(count).unwrap_or(u32::MAX)));
}

pub(crate) fn dialled(is_open: bool) {
    counter!("headwater_hub_dials_total", "result" => if is_open { "open" } else { "failed" }).increment(1);
}

pub(crate) fn message_received() {
    counter!("headwater_hub_messages_total").increment(1);
}

pub(crate) fn frame_refused(reason: &'static str) {
    counter!("headwater_hub_frames_refused_total", "reason" => reason).increment(1);
}

pub(crate) fn link_closed() {
    counter!("headwater_hub_links_closed_total").increment(1);
}

pub(crate) fn foreign_key() {
    counter!("headwater_foreign_keys_total").increment(1);
}

pub(crate) fn directory_polled(is_read: bool) {
    counter!("headwater_directory_polls_total", "result" => if is_read { "read" } else { "failed" }).increment(1);
}
