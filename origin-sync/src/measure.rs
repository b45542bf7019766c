//! What the daemon counts for Prometheus.

use crate::{clocks::Wrong, report::HubAddress};
use headwater::{
    message::RefusalCause,
    store::{Commit, Outcome},
};
use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use std::time::Duration;

/// From a commit to an empty local Redis to one that takes as long as the connection allows.
const SECONDS: [f64; 12] = [0.000_25, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 2.0, 10.0];

/// From a single key to a batch of a busy slot.
const KEYS: [f64; 8] = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 1000.0];

/// Installs the recorder of this process.
///
/// # Errors
/// When there is one already.
pub fn install() -> Result<PrometheusHandle, BuildError> {
    // What has no buckets is shown by quantiles, over the last minute or so.
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Full("headwater_store_seconds".to_owned()), &SECONDS)?
        .set_buckets_for_metric(Matcher::Full("headwater_commit_keys".to_owned()), &KEYS)?
        .set_quantiles(&[0.5, 0.9, 0.99])?
        .install_recorder()?;
    describe_counter!("headwater_store_loads_total", "Loads that the store answered.");
    describe_counter!("headwater_store_commits_total", "Commits that the store answered, by outcome.");
    describe_counter!("headwater_store_commit_keys_total", "Keys in the commits that happened.");
    describe_counter!("headwater_store_plain_commands_total", "Plain Redis commands in the commits that happened.");
    describe_counter!("headwater_store_lost_total", "Connections to the store that failed.");
    describe_gauge!("headwater_store_up", "Whether the store is connected.");
    describe_histogram!("headwater_store_seconds", "How long the store took to answer, by request.");
    describe_counter!(
        "headwater_store_refused_total",
        "Requests that Redis put off, by its reason; they are repeated."
    );
    describe_histogram!("headwater_commit_keys", "Keys in each commit that happened.");
    describe_counter!(
        "headwater_incarnations_total",
        "Slots whose history began anew since the store may have lost some."
    );
    describe_counter!(
        "headwater_stable_slots_total",
        "Slots of which Redis was asked whether what was committed survives, by its answer."
    );
    describe_counter!("headwater_passed_commands_total", "Commands of edges that were passed through, by result.");
    describe_counter!(
        "headwater_published_messages_total",
        "Messages heard on channels that edges listen to; those too large are passed over."
    );
    describe_counter!("headwater_channels_overrun_total", "Times that a hub took in less than was published to it.");
    describe_counter!("headwater_jobs_total", "Jobs of edges that ran, by result; those with an error are dropped.");
    describe_gauge!("headwater_pending", "Parts of batches that are received and not committed.");
    describe_histogram!("headwater_hub_lag_seconds", "From the arrival of a hub's batch to the commit of all of it.");
    describe_counter!("headwater_hub_resumes_total", "Slots that a hub was told to send again.");
    describe_gauge!("headwater_hub_clock_offset_ms", "A hub's clock minus the daemon's when it said hello.");
    describe_counter!(
        "headwater_hub_clocks_total",
        "Times that a hub's clock was off by more than healthy clocks are, or too far ahead to be served."
    );
    describe_counter!("headwater_clock_steps_total", "Times that the clock of this machine was set.");
    describe_counter!("headwater_hub_refusals_total", "Hubs' messages that the origin refused, by cause.");
    describe_counter!("headwater_page_refusals_total", "Requests to these pages that were refused, by cause.");
    describe_gauge!("headwater_resident_bytes", "Memory of this process that is in use.");
    describe_gauge!("headwater_daemons", "Daemons that share the hubs, this one among them.");
    describe_gauge!("headwater_hubs_connected", "Hubs to which a socket is open.");
    describe_counter!("headwater_hub_dials_total", "Sockets dialled, by whether they opened.");
    describe_counter!("headwater_hub_messages_total", "Messages from hubs.");
    describe_counter!("headwater_hub_frames_refused_total", "Frames from hubs that did not decode, by reason.");
    describe_counter!("headwater_hub_links_closed_total", "Hubs' connections that the origin closed.");
    describe_counter!("headwater_foreign_keys_total", "Times that a value of a foreign type held a key up.");
    describe_counter!(
        "headwater_adopted_writes_total",
        "Times that what plain clients wrote at a key was taken into its state."
    );
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
    /// Whether it follows on another history of the slot.
    is_anew: bool,
}

impl CommitSize {
    pub(crate) fn of(commit: &Commit) -> Self {
        let commands: usize = commit.keys.iter().map(|part| part.plain.commands.len()).sum();
        let is_anew = matches!(commit.marker.open, Some((_, _, Some(_previous))));
        Self { keys: commit.keys.len() as u64, commands: commands as u64, is_anew }
    }
}

/// What a commit came to, in one word.
pub(crate) fn name_of(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Committed | Outcome::Drifted(_) => "committed",
        Outcome::Moved(_) => "moved",
        Outcome::Stale => "stale",
        Outcome::Conflict(_) => "conflict",
        Outcome::Missing(_) => "missing",
        Outcome::Foreign(_) => "foreign",
    }
}

pub(crate) fn committed(outcome: &Outcome, size: CommitSize, took: Duration) {
    counter!("headwater_store_commits_total", "outcome" => name_of(outcome)).increment(1);
    histogram!("headwater_store_seconds", "request" => "commit").record(took);
    if matches!(outcome, Outcome::Committed | Outcome::Drifted(_)) {
        counter!("headwater_store_commit_keys_total").increment(size.keys);
        histogram!("headwater_commit_keys").record(small(size.keys));
        if size.is_anew {
            counter!("headwater_incarnations_total").increment(1);
        }
        counter!("headwater_store_plain_commands_total").increment(size.commands);
    }
}

pub(crate) fn confirmed(asked: usize, surviving: usize) {
    let missed = asked.saturating_sub(surviving);
    for (result, slots) in [("survives", surviving), ("not_yet", missed)] {
        counter!("headwater_stable_slots_total", "result" => result).increment(slots as u64);
    }
}

pub(crate) fn store_up(is_up: bool) {
    gauge!("headwater_store_up").set(if is_up { 1.0 } else { 0.0 });
    if !is_up {
        counter!("headwater_store_lost_total").increment(1);
    }
}

pub(crate) fn daemons(count: usize) {
    gauge!("headwater_daemons").set(small(count as u64));
}

pub(crate) fn hubs_connected(count: usize) {
    gauge!("headwater_hubs_connected").set(small(count as u64));
}

pub(crate) fn store_refused(reason: &str) {
    counter!("headwater_store_refused_total", "reason" => reason.to_owned()).increment(1);
}

pub(crate) fn run(is_answered: bool) {
    counter!("headwater_passed_commands_total", "result" => if is_answered { "reply" } else { "error" }).increment(1);
}

pub(crate) fn published(is_passed_on: bool) {
    let result = if is_passed_on { "passed_on" } else { "too_large" };
    counter!("headwater_published_messages_total", "result" => result).increment(1);
}

pub(crate) fn overrun() {
    counter!("headwater_channels_overrun_total").increment(1);
}

pub(crate) fn job_run(is_answered: bool) {
    counter!("headwater_jobs_total", "result" => if is_answered { "reply" } else { "error" }).increment(1);
}

pub(crate) fn pending(count: usize) {
    gauge!("headwater_pending").set(small(count as u64));
}

pub(crate) fn lag(hub: &HubAddress, took: Duration) {
    histogram!("headwater_hub_lag_seconds", "edge" => hub.edge.clone(), "hub" => hub.name.clone()).record(took);
}

pub(crate) fn clock_offset(hub: &HubAddress, offset_ms: i64) {
    let shown =
        i32::try_from(offset_ms).map_or(f64::INFINITY.copysign(if offset_ms < 0 { -1.0 } else { 1.0 }), f64::from);
    gauge!("headwater_hub_clock_offset_ms", "edge" => hub.edge.clone(), "hub" => hub.name.clone()).set(shown);
}

pub(crate) fn clock_wrong(hub: &HubAddress, wrong: Wrong) {
    let (edge, name) = (hub.edge.clone(), hub.name.clone());
    counter!("headwater_hub_clocks_total", "edge" => edge, "hub" => name, "is" => wrong.name()).increment(1);
}

pub(crate) fn clock_stepped() {
    counter!("headwater_clock_steps_total").increment(1);
}

pub(crate) fn resumed(slots: usize) {
    counter!("headwater_hub_resumes_total").increment(slots as u64);
}

pub(crate) fn refused(cause: RefusalCause) {
    let name = match cause {
        RefusalCause::Malformed => "malformed",
        RefusalCause::Format => "format",
        RefusalCause::NotPermitted => "not_permitted",
        RefusalCause::Unexpected => "unexpected",
        RefusalCause::Clock => "clock",
        RefusalCause::Limit => "limit",
        RefusalCause::Internal | RefusalCause::Other(_) => "internal",
    };
    counter!("headwater_hub_refusals_total", "cause" => name).increment(1);
}

/// A hub that claims to be another one.
pub(crate) fn impostor() {
    counter!("headwater_hub_refusals_total", "cause" => "identity").increment(1);
}

/// Somebody asked the daemon's own pages without its token.
pub(crate) fn unauthorized() {
    counter!("headwater_page_refusals_total", "cause" => "token").increment(1);
}

/// Where the system tells it.
pub(crate) fn resident_memory() {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kib =
        status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse::<u32>().ok());
    if let Some(kib) = kib {
        gauge!("headwater_resident_bytes").set(f64::from(kib) * 1024.0);
    }
}

/// A count as a gauge takes it.
fn small(count: u64) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
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

pub(crate) fn adopted(keys: usize) {
    counter!("headwater_adopted_writes_total").increment(keys as u64);
}

pub(crate) fn directory_polled(is_read: bool) {
    counter!("headwater_directory_polls_total", "result" => if is_read { "read" } else { "failed" }).increment(1);
}
