//! The leaves that speak by requests: isolates, which can keep no socket from one request to the next.
//!
//! To the machine a link is a connection like a socket's. What it sends there waits here until the isolate's next request
//! takes it. All of it is in memory alone: an isolate whose link is gone is told to begin again, as after any other loss, and
//! its session goes on.
//!
//! Invariant: what waits is bounded over all links together; a link that cannot keep within it ends.

use crate::limits::{LINK_IDLE_MS, LINKS_BYTES_MAX, LINKS_MAX};
use headwater::{
    hub::Connection,
    id::TimestampMs,
    message::HubToLeaf,
    wire::{Terms, WireError},
};
use std::collections::BTreeMap;
use worker::console_error;

/// The links by the names that their isolates drew.
#[derive(Default)]
pub(super) struct Links {
    open: BTreeMap<u128, Link>,
    named: BTreeMap<u64, u128>,
    waiting_bytes: usize,
}

struct Link {
    connection: Connection,
    /// What the isolate accepts, as its greeting said.
    terms: Terms,
    /// Frames to take, in order.
    waiting: Vec<Vec<u8>>,
    used_at: TimestampMs,
}

impl Links {
    /// The connection of this link, which is in use now.
    pub(super) fn used(&mut self, name: u128, now: TimestampMs) -> Option<Connection> {
        let link = self.open.get_mut(&name)?;
        link.used_at = now;
        Some(link.connection)
    }

    /// Begins a link.
    pub(super) fn open(&mut self, name: u128, connection: Connection, now: TimestampMs) {
        let link = Link { connection, terms: Terms::default(), waiting: Vec::new(), used_at: now };
        self.open.insert(name, link);
        self.named.insert(connection.0, name);
    }

    /// Takes note of what the isolate said that it accepts.
    pub(super) fn agree(&mut self, name: u128, terms: Terms) {
        self.open.iter_mut().filter(|(other, _)| **other == name).for_each(|(_, link)| link.terms = terms);
    }

    /// Whether this connection is a link's.
    pub(super) fn contains(&self, connection: Connection) -> bool {
        self.named.contains_key(&connection.0)
    }

    /// Keeps a message for the isolate.
    pub(super) fn send(&mut self, connection: Connection, message: &HubToLeaf) {
        let Some(link) = self.named.get(&connection.0).and_then(|name| self.open.get_mut(name)) else { return };
        match link.terms.encode(message) {
            Ok(frame) => {
                self.waiting_bytes += frame.len();
                link.waiting.push(frame);
            }
            Err(error) => console_error!("a message to {connection:?} cannot be sent: {error}"),
        }
    }

    /// What waits for the isolate.
    pub(super) fn take(&mut self, name: u128) -> Option<Vec<Vec<u8>>> {
        let waiting = std::mem::take(&mut self.open.get_mut(&name)?.waiting);
        self.waiting_bytes -= bytes(&waiting);
        Some(waiting)
    }

    /// Ends a link; what waited for it is gone.
    pub(super) fn close(&mut self, connection: Connection) -> bool {
        let Some(name) = self.named.remove(&connection.0) else { return false };
        if let Some(link) = self.open.remove(&name) {
            self.waiting_bytes -= bytes(&link.waiting);
        }
        true
    }

    /// The connections that are to end: of isolates that have been silent for long, which nobody tells when they die, and
    /// more where there are too many, or too much waits for them. Linear in the links.
    pub(super) fn to_end(&self, now: TimestampMs) -> Vec<Connection> {
        let is_idle = |link: &&Link| now.since_ms(link.used_at) > LINK_IDLE_MS;
        let (idle, mut used): (Vec<&Link>, Vec<&Link>) = self.open.values().partition(is_idle);
        let mut waiting_bytes = used.iter().map(|link| bytes(&link.waiting)).sum::<usize>();
        let mut ending: Vec<Connection> = idle.iter().map(|link| link.connection).collect();
        used.sort_by_key(|link| (link.used_at, link.connection));
        ending.extend(used.drain(..used.len().saturating_sub(LINKS_MAX)).map(|link| link.connection));
        used.sort_by_key(|link| bytes(&link.waiting));
        while waiting_bytes > LINKS_BYTES_MAX {
            let Some(largest) = used.pop() else { break };
            waiting_bytes -= bytes(&largest.waiting);
            ending.push(largest.connection);
        }
        ending
    }

    /// Whether a look at what is to end is due before its time.
    pub(super) fn are_full(&self) -> bool {
        self.waiting_bytes > LINKS_BYTES_MAX || self.open.len() > LINKS_MAX
    }
}

/// A message that every isolate reads, of a hub that does not know its link.
pub(super) fn again() -> Result<Vec<u8>, WireError> {
    headwater::wire::encode(&HubToLeaf::Again)
}

fn bytes(frames: &[Vec<u8>]) -> usize {
    frames.iter().map(Vec::len).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use headwater::{
        limits::REFUSAL_BYTES_MAX,
        message::{Refusal, RefusalCause},
    };

    const NOW: TimestampMs = TimestampMs(1_700_000_000_000);

    fn links(count: u64) -> Links {
        let mut links = Links::default();
        (0..count).for_each(|at| links.open(at.into(), Connection(at), NOW));
        links
    }

    #[test]
    fn what_is_sent_waits_for_its_isolate() {
        let mut links = links(2);
        links.send(Connection(1), &HubToLeaf::Again);
        assert_eq!(links.take(0), Some(vec![]));
        assert_eq!(links.take(1), Some(vec![again().expect("a frame")]));
        assert_eq!((links.take(1), links.take(2)), (Some(vec![]), None));
        assert_eq!(links.waiting_bytes, 0);
    }

    #[test]
    fn a_silent_link_ends_and_others_do_not() {
        let mut links = links(2);
        let later = NOW.plus_ms(LINK_IDLE_MS + 1);
        assert_eq!(links.used(1, later), Some(Connection(1)));
        assert_eq!(links.to_end(later), [Connection(0)]);
        assert!(links.close(Connection(0)) && !links.close(Connection(0)));
        assert_eq!(links.used(0, later), None);
    }

    #[test]
    fn too_many_links_or_bytes_end_the_ones_least_used_or_fullest() {
        let mut links = links(LINKS_MAX as u64 + 1);
        for at in 1..=LINKS_MAX as u64 {
            links.used(at.into(), NOW.plus_ms(1));
        }
        assert!(links.are_full());
        assert_eq!(links.to_end(NOW.plus_ms(1)), [Connection(0)]);
        links.close(Connection(0));
        let long = HubToLeaf::Refused(Refusal::new(RefusalCause::Limit, "x".repeat(REFUSAL_BYTES_MAX)));
        for _ in 0..=LINKS_BYTES_MAX / REFUSAL_BYTES_MAX {
            links.send(Connection(7), &long);
        }
        assert!(links.are_full());
        assert_eq!(links.to_end(NOW.plus_ms(1)), [Connection(7)]);
        links.close(Connection(7));
        assert!(!links.are_full());
    }
}
