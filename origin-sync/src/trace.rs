//! The spans of the daemon's main paths, under a target of their own.
//!
//! They are of the level TRACE, so that the log shows them only where it is asked to, and a span that nobody takes costs a look at a
//! flag. What takes them is `telemetry.rs`, where that is built in and set. None bears a key or a value.

use crate::report::HubAddress;
use headwater::{origin::Link, slot::Slot};
use std::fmt::Display;
use tracing::{Span, field, trace_span};

/// The target of all spans here.
pub(crate) const TARGET: &str = "origin_sync::trace";

/// A hub is dialled.
pub(crate) fn dial(address: &HubAddress) -> Span {
    trace_span!(target: TARGET, "hub.dial", edge = address.edge, hub = address.name, error = field::Empty)
}

/// A connection to a hub, from its beginning to its end.
pub(crate) fn connection(address: &HubAddress, link: Link) -> Span {
    let Link(link) = link;
    trace_span!(target: TARGET, "hub.connection", edge = address.edge, hub = address.name, link, error = field::Empty)
}

/// A hub's batch, from its arrival until all of it is committed.
pub(crate) fn batch(address: &HubAddress, slots: usize) -> Span {
    trace_span!(target: TARGET, "hub.batch", edge = address.edge, hub = address.name, slots)
}

/// Loads that share a request.
pub(crate) fn loads(loads: usize, keys: usize, plain: usize) -> Span {
    trace_span!(target: TARGET, "store.load", loads, keys, plain, error = field::Empty)
}

/// Commits that share a request.
pub(crate) fn commits(commits: usize, keys: usize) -> Span {
    trace_span!(target: TARGET, "store.commit", commits, keys, outcome = field::Empty, error = field::Empty)
}

/// Commands that pass through.
pub(crate) fn run(commands: usize) -> Span {
    trace_span!(target: TARGET, "store.run", commands)
}

/// Jobs of a hub.
pub(crate) fn jobs(slot: Slot, jobs: usize) -> Span {
    trace_span!(target: TARGET, "store.jobs", slot = slot.get(), jobs, error = field::Empty)
}

/// What plain clients wrote was taken over. It has happened.
pub(crate) fn adopted(keys: usize) {
    let _moment = trace_span!(target: TARGET, "origin.adopt", keys).entered();
}

/// What the store or a hub lost is shipped both ways. It begins, and takes a load or commit and an answer.
pub(crate) fn repair(address: Option<&HubAddress>, round: u64, nodes: usize, keys: usize) {
    let hub = address.map(|address| address.name.as_str());
    let _moment = trace_span!(target: TARGET, "origin.repair", hub, round, nodes, keys).entered();
}

/// A hub is told from where to send again.
pub(crate) fn resume(address: Option<&HubAddress>, slots: usize) {
    let hub = address.map(|address| address.name.as_str());
    let _moment = trace_span!(target: TARGET, "origin.resume", hub, slots).entered();
}

/// Notes in the present span why it failed.
pub(crate) fn failed(error: &dyn Display) {
    Span::current().record("error", field::display(error));
}

/// Notes in the present span what came of its commits: of those that were refused one, if any was.
pub(crate) fn came_to(outcome: &'static str) {
    Span::current().record("outcome", outcome);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_that_nobody_takes_is_none() {
        assert!(commits(1, 1).is_disabled());
    }
}
