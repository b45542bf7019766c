//! Many clients each set a number in one map, all at once: B3.1 of crdt-benchmarks, with leaves as the clients.
//!
//! There each of 20·√6000 = 1,549 documents sets the same key of one map, and one document applies all updates. Here each
//! client is a leaf that writes one field of one hash, and a hub settles all operations.
//!
//! What the clients send is counted as whole frames, with header, checksum, session and time: all that a socket is given
//! after the greeting. The peers' updates are counted bare, without what a provider puts around each to send it (three bytes
//! with y-websocket). The greeting itself, once a connection at either, is not counted.

use std::hint::black_box;

use bytes::Bytes;
use headwater::{
    hub::{Connection, Hub, HubEffect, HubInput},
    id::{ClientId, Key},
    leaf::{Leaf, LeafEffect, LeafInput},
    message::{Cursor, HubToLeaf, LeafToHub, Lifetime, OriginToHub},
    state::Kind,
    wire::{self, Capabilities, Terms},
};

use crate::{
    Contender,
    input::argv,
    site::{NOW, Site},
};

/// How many clients the published benchmark has.
pub const CLIENTS: usize = 1_549;

fn key() -> Bytes {
    Bytes::from_static(b"map")
}

/// What so many clients send.
#[must_use]
pub fn frames(clients: usize) -> Vec<Vec<u8>> {
    Meeting::new(clients).frames.into_iter().map(|(_, frame)| frame).collect()
}

/// The bytes of the whole map after all clients have written, as a hub sends it to somebody new.
#[must_use]
pub fn whole_bytes(clients: usize) -> usize {
    let mut meeting = Meeting::new(clients);
    meeting.settle();
    let key = Key::new(key()).expect("the key is short");
    let view = meeting.site.hub().key(&key).expect("the map is there");
    let keys = vec![(key.clone(), view.to_complete_delta())];
    let message = OriginToHub::Whole { slot: key.slot(), at: Cursor::default(), more: false, keys };
    wire::encode(&message).expect("the map fits a frame").len()
}

/// A hub to which clients are connected, and what each is about to send.
struct Meeting {
    site: Site,
    frames: Vec<(Connection, Vec<u8>)>,
}

impl Meeting {
    fn new(clients: usize) -> Self {
        let mut site = Site::new(1);
        site.hold(&[key()]);
        let frames = (1..=clients).map(|number| {
            let connection = Connection(number as u64);
            (connection, operations(&mut site, connection, number))
        });
        let frames = frames.collect();
        Self { site, frames }
    }

    /// Decodes and settles everything; returns how many operations were accepted.
    fn settle(&mut self) -> usize {
        let mut accepted = 0;
        for (connection, frame) in &self.frames {
            let message = wire::decode(black_box(frame)).expect("a leaf's frame decodes");
            let effects = self.site.give(HubInput::Leaf(*connection, message));
            for effect in &effects {
                if let HubEffect::ToLeaf(_, HubToLeaf::Verdicts { refused, .. }) = effect {
                    accepted += usize::from(refused.is_empty());
                }
            }
            drop(black_box(effects));
        }
        accepted
    }
}

/// A new leaf says hello, has the map, and sets the number: the frame in which it tells the hub.
fn operations(site: &mut Site, connection: Connection, number: usize) -> Vec<u8> {
    // Client ids are random.
    let client = ClientId(u128::from_le_bytes(std::array::from_fn(|at| (number * 7919 + at * 104_729) as u8)));
    let mut leaf = Leaf::new(client, Lifetime::Tab);
    let map = Key::new(key()).expect("the key is short");
    let mut sent = leaf.handle(LeafInput::Subscribe(vec![map]), NOW);
    sent.extend(leaf.handle(LeafInput::Opened, NOW));
    while !sent.is_empty() {
        for effect in std::mem::take(&mut sent) {
            let LeafEffect::Send(message) = effect else { continue };
            for effect in site.give(HubInput::Leaf(connection, message)) {
                if let HubEffect::ToLeaf(to, message) = effect
                    && to == connection
                {
                    sent.extend(leaf.handle(LeafInput::Hub(message), NOW));
                }
            }
        }
    }
    let value = Bytes::from(number.to_string());
    let command = argv([&Bytes::from_static(b"HSET"), &key(), &Bytes::from_static(b"v"), &value]);
    let (reply, effects) = leaf.command(&command, NOW);
    reply.expect("the map is held");
    let message = effects.into_iter().find_map(|effect| match effect {
        LeafEffect::Send(message @ LeafToHub::Own { .. }) => Some(message),
        _ => None,
    });
    // Nobody follows the map any more: the peers do not push either.
    drop(site.give(HubInput::Leaf(connection, LeafToHub::Unsubscribe(vec![Key::new(key()).expect("short")]))));
    let terms = Terms::between(&Capabilities::CURRENT, &Capabilities::CURRENT).expect("one build has all in common");
    terms.encode(&message.expect("a connected leaf sends at once")).expect("it fits a frame")
}

struct Settling {
    clients: usize,
    meeting: Option<Meeting>,
}

pub(super) fn boxed(clients: usize) -> Box<dyn Contender> {
    let mut meeting = Meeting::new(clients);
    assert_eq!(meeting.settle(), clients, "every client's operation is accepted");
    let hub: &Hub = meeting.site.hub();
    let key = Key::new(key()).expect("the key is short");
    assert_eq!(hub.key(&key).map(|view| view.count(Kind::Hash)), Some(1), "the map has one field");
    Box::new(Settling { clients, meeting: None })
}

impl Contender for Settling {
    fn prepare(&mut self) {
        self.meeting = Some(Meeting::new(self.clients));
    }

    /// All clients together are one operation, as in the published figures.
    fn run(&mut self) -> u64 {
        if let Some(meeting) = &mut self.meeting {
            black_box(meeting.settle());
        }
        1
    }
}
