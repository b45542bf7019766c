//! The leaves that speak by requests: isolates, which can keep no socket from one request to the next, and tabs to which
//! sockets are blocked.
//!
//! To the machine a link is a connection like a socket's. What it sends there waits here until the leaf's next request
//! takes it, or goes at once into the answer of one that waits for it. All of it is in memory alone: a leaf whose link is gone
//! is told to begin again, as after any other loss, and its session goes on.
//!
//! Invariants: what waits is bounded over all links together; a link that cannot keep within it ends. A refusal is the last
//! that a link says, and it is said even though the link has ended.

use super::call::Bounds;
use crate::limits::{LINK_IDLE_MS, LINKS_BYTES_MAX, LINKS_MAX};
use futures_channel::oneshot;
use headwater::{
    hub::Connection,
    id::TimestampMs,
    message::HubToLeaf,
    wire::{Terms, WireError},
};
use std::collections::BTreeMap;
use worker::console_error;

/// The links by the names that their leaves drew.
#[derive(Default)]
pub(super) struct Links {
    open: BTreeMap<u128, Link>,
    named: BTreeMap<u64, u128>,
    waiting_bytes: usize,
    /// Those with a request that waits and something to answer it with.
    ready: Vec<u128>,
}

struct Link {
    connection: Connection,
    /// What the leaf is bound to; another binding is another leaf's, or a new token's.
    bounds: Option<Bounds>,
    /// What the leaf accepts, as its greeting said.
    terms: Terms,
    /// Frames to take, in order.
    waiting: Vec<Vec<u8>>,
    /// The request that waits for frames.
    asking: Option<oneshot::Sender<Taken>>,
    /// Answers with frames so far.
    answers: u32,
    /// Whether the hub has refused it, so that it says no more than what waits.
    is_refused: bool,
    used_at: TimestampMs,
}

/// What a request takes from a link.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Taken {
    /// The how manieth answer with frames this is, from 1 on: the requests of a tab may overtake each other.
    pub(super) number: u32,
    /// The frames, in order.
    pub(super) frames: Vec<Vec<u8>>,
}

impl Taken {
    /// Of a request that waited for nothing.
    pub(super) fn nothing() -> Self {
        Self { number: 0, frames: Vec::new() }
    }

    /// As a tab is answered: nothing, or the number and the frames one after the other.
    pub(super) fn to_body(&self) -> Vec<u8> {
        match self.frames.as_slice() {
            [] => Vec::new(),
            frames => self.number.to_le_bytes().into_iter().chain(frames.iter().flatten().copied()).collect(),
        }
    }
}

impl Links {
    /// The connection of this link, which is in use now.
    pub(super) fn used(&mut self, name: u128, now: TimestampMs) -> Option<Connection> {
        let link = self.open.get_mut(&name).filter(|link| !link.is_refused)?;
        link.used_at = now;
        Some(link.connection)
    }

    /// What a leaf is bound to that speaks by this link.
    pub(super) fn bounds(&self, name: u128) -> Option<&Bounds> {
        self.open.get(&name)?.bounds.as_ref()
    }

    /// Begins a link.
    pub(super) fn open(&mut self, name: u128, connection: Connection, bounds: Option<Bounds>, now: TimestampMs) {
        let link = Link {
            connection,
            bounds,
            terms: Terms::default(),
            waiting: Vec::new(),
            asking: None,
            answers: 0,
            is_refused: false,
            used_at: now,
        };
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

    /// Keeps a message for the leaf.
    pub(super) fn send(&mut self, connection: Connection, message: &HubToLeaf) {
        let Some(name) = self.named.get(&connection.0) else { return };
        let Some(link) = self.open.get_mut(name) else { return };
        match link.terms.encode(message) {
            Ok(frame) => {
                self.waiting_bytes += frame.len();
                link.waiting.push(frame);
                link.is_refused = matches!(message, HubToLeaf::Refused(_));
                if link.asking.is_some() {
                    self.ready.push(*name);
                }
            }
            Err(error) => console_error!("a message to {connection:?} cannot be sent: {error}"),
        }
    }

    /// What waits for the leaf.
    pub(super) fn take(&mut self, name: u128) -> Option<Taken> {
        let link = self.open.get_mut(&name)?;
        let frames = std::mem::take(&mut link.waiting);
        if !frames.is_empty() {
            link.answers = link.answers.saturating_add(1);
        }
        let number = link.answers;
        if link.is_refused {
            self.open.remove(&name);
        }
        self.waiting_bytes -= bytes(&frames);
        Some(Taken { number, frames })
    }

    /// Brings what is sent next. A request that waited before is answered with nothing.
    pub(super) fn ask(&mut self, name: u128) -> Option<oneshot::Receiver<Taken>> {
        let link = self.open.get_mut(&name)?;
        let (sender, receiver) = oneshot::channel();
        if let Some(former) = link.asking.replace(sender) {
            let _gone = former.send(Taken { number: link.answers, frames: Vec::new() });
        }
        Some(receiver)
    }

    /// Answers the requests that wait and for which something has been sent.
    pub(super) fn deliver(&mut self) {
        for name in std::mem::take(&mut self.ready) {
            let Some(asking) = self.open.get_mut(&name).and_then(|link| link.asking.take()) else { continue };
            let Some(taken) = self.take(name) else { continue };
            let Err(unheard) = asking.send(taken) else { continue };
            // Nobody waits any more; the next request takes it.
            if let Some(link) = self.open.get_mut(&name) {
                self.waiting_bytes += bytes(&unheard.frames);
                link.answers -= 1;
                link.waiting = unheard.frames;
            }
        }
    }

    /// Ends a link; what waited for it is gone but a refusal.
    pub(super) fn close(&mut self, connection: Connection) -> bool {
        let Some(name) = self.named.remove(&connection.0) else { return false };
        let Some(link) = self.open.get_mut(&name) else { return true };
        self.waiting_bytes -= bytes(&link.waiting);
        if let Some(refusal) = link.waiting.pop().filter(|_| link.is_refused) {
            self.waiting_bytes += refusal.len();
            link.waiting = vec![refusal];
        } else {
            self.open.remove(&name);
        }
        true
    }

    /// Forgets the links that were refused and whose leaves did not come to hear it.
    fn forget_refused(&mut self) {
        self.open.retain(|_, link| !link.is_refused || self.named.contains_key(&link.connection.0));
        self.waiting_bytes = self.open.values().map(|link| bytes(&link.waiting)).sum();
    }

    /// The connections that are to end: of leaves that have been silent for long, which nobody tells when they die, and
    /// more where there are too many, or too much waits for them. Linear in the links.
    pub(super) fn due(&mut self, now: TimestampMs) -> Vec<Connection> {
        self.forget_refused();
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

/// A message that every leaf reads, of a hub that does not know its link.
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
        (0..count).for_each(|at| links.open(at.into(), Connection(at), None, NOW));
        links
    }

    fn taken(number: u32, frames: usize) -> Taken {
        Taken { number, frames: vec![again().expect("a frame"); frames] }
    }

    #[test]
    fn what_is_sent_waits_for_its_isolate() {
        let mut links = links(2);
        links.send(Connection(1), &HubToLeaf::Again);
        assert_eq!(links.take(0), Some(taken(0, 0)));
        assert_eq!(links.take(1), Some(taken(1, 1)));
        assert_eq!((links.take(1), links.take(2)), (Some(taken(1, 0)), None));
        assert_eq!(links.waiting_bytes, 0);
    }

    #[test]
    fn a_request_that_waits_is_answered_when_something_is_sent_and_another_takes_its_place() {
        let mut links = links(1);
        let mut first = links.ask(0).expect("a link");
        let mut second = links.ask(0).expect("a link");
        assert_eq!(first.try_recv(), Ok(Some(taken(0, 0))));
        links.send(Connection(0), &HubToLeaf::Again);
        links.send(Connection(0), &HubToLeaf::Again);
        links.deliver();
        assert_eq!(second.try_recv(), Ok(Some(taken(1, 2))));
        // One that went away loses nothing.
        drop(links.ask(0));
        links.send(Connection(0), &HubToLeaf::Again);
        links.deliver();
        assert_eq!(links.take(0), Some(taken(2, 1)));
        assert_eq!(links.waiting_bytes, 0);
    }

    #[test]
    fn a_refusal_is_heard_after_the_link_has_ended_and_is_the_last() {
        let mut links = links(1);
        links.send(Connection(0), &HubToLeaf::Refused(Refusal::new(RefusalCause::Limit, "enough")));
        assert!(links.close(Connection(0)));
        assert_eq!(links.used(0, NOW), None);
        assert_eq!(links.take(0).map(|taken| taken.frames.len()), Some(1));
        assert_eq!((links.take(0), links.waiting_bytes), (None, 0));
    }

    #[test]
    fn a_silent_link_ends_and_others_do_not() {
        let mut links = links(2);
        let later = NOW.plus_ms(LINK_IDLE_MS + 1);
        assert_eq!(links.used(1, later), Some(Connection(1)));
        assert_eq!(links.due(later), [Connection(0)]);
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
        assert_eq!(links.due(NOW.plus_ms(1)), [Connection(0)]);
        links.close(Connection(0));
        let long = HubToLeaf::Refused(Refusal::new(RefusalCause::Limit, "x".repeat(REFUSAL_BYTES_MAX)));
        for _ in 0..=LINKS_BYTES_MAX / REFUSAL_BYTES_MAX {
            links.send(Connection(7), &long);
        }
        assert!(links.are_full());
        assert_eq!(links.due(NOW.plus_ms(1)), [Connection(7)]);
        links.close(Connection(7));
        assert!(!links.are_full());
    }
}
