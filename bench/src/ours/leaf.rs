//! What a write to a leaf costs with so many operations pending: each is prepared, shown and stored, and sent where a hub is there
//! that does not answer.
//!
//! The cost is to be the write's own, however many wait.

use std::hint::black_box;

use bytes::Bytes;
use headwater::{
    id::{ClientId, ReplicaId, Seq, SessionId, TimestampMs},
    leaf::{Leaf, LeafInput},
    message::{HubToLeaf, Lifetime},
    wire::Capabilities,
};

use crate::{
    Contender,
    input::{Argv, argv, name},
    site::NOW,
};

/// Writes in one round, by which the queue grows.
const WRITES: usize = 64;

/// What is written.
#[derive(Clone, Copy, Debug)]
pub(super) enum Target {
    /// One counter.
    Counter,
    /// A thousand fields of one map in turn.
    Map,
    /// A thousand counters in turn.
    Counters,
}

impl Target {
    fn command(self, number: usize) -> Argv {
        let (at, one) = (number % 1_000, Bytes::from_static(b"1"));
        match self {
            Self::Counter => argv([&Bytes::from_static(b"INCRBY"), &Bytes::from_static(b"counter"), &one]),
            Self::Map => {
                let value = Bytes::from(number.to_string());
                argv([&Bytes::from_static(b"HSET"), &Bytes::from_static(b"map"), &name("field", at), &value])
            }
            Self::Counters => argv([&Bytes::from_static(b"INCRBY"), &name("counter", at), &one]),
        }
    }
}

struct Writes {
    target: Target,
    is_connected: bool,
    pending: usize,
    leaf: Leaf,
    input: Vec<Argv>,
}

pub(super) fn boxed(target: Target, is_connected: bool, pending: usize) -> Box<dyn Contender> {
    Box::new(Writes { target, is_connected, pending, leaf: leaf(is_connected), input: Vec::new() })
}

impl Contender for Writes {
    fn prepare(&mut self) {
        self.leaf = leaf(self.is_connected);
        for number in 0..self.pending {
            let (reply, _) = self.leaf.command(&self.target.command(number), NOW);
            reply.expect("a blind write is taken");
        }
        assert_eq!(self.leaf.status().pending, self.pending);
        self.input = (self.pending..self.pending + WRITES).map(|number| self.target.command(number)).collect();
    }

    fn run(&mut self) -> u64 {
        for command in std::mem::take(&mut self.input) {
            drop(black_box(self.leaf.command(black_box(&command), NOW)));
        }
        assert_eq!(self.leaf.status().pending, self.pending + WRITES);
        WRITES as u64
    }
}

/// A leaf that is stored, greeted by a hub or not.
fn leaf(is_connected: bool) -> Leaf {
    let mut leaf = Leaf::stored(ClientId(1), Lifetime::Tab);
    if is_connected {
        let hub = ReplicaId::from_bits(1 << 16);
        leaf.handle(LeafInput::Opened, NOW);
        let welcome = HubToLeaf::Welcome {
            hub,
            now: NOW,
            session: SessionId { hub, client: ClientId(1), no: 1 },
            until: TimestampMs(NOW.0 + 1_000_000),
            watermark: Seq::default(),
            capabilities: Capabilities::CURRENT,
        };
        leaf.handle(LeafInput::Hub(welcome), NOW);
        assert!(leaf.is_connected());
    }
    leaf
}
