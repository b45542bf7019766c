//! A hub with a stand-in for the daemon at its side: it lets keys be held, hands deltas from one hub to others, and
//! acknowledges.
//!
//! The stand-in stores nothing. It only says what a daemon would say, at once and always in favour.

use std::collections::BTreeMap;

use bytes::Bytes;
use headwater::{
    command::{CommandError, Reply},
    hub::{Connection, Hub, HubEffect, HubInput, Request},
    id::{Key, ReplicaId, TimestampMs},
    limits::PIPELINE_MAX,
    message::{Cursor, HubToOrigin, OriginToHub, SlotDelta},
    slot::Slot,
    state::KeyDelta,
    wire::{self, Capabilities},
};

use crate::input::Argv;

/// When everything happens. The clock stands still, so that no stamp lies ahead of any node.
pub const NOW: TimestampMs = TimestampMs(1_700_000_000_000);

const DAEMON: Connection = Connection(0);

/// States in one message, so that it fits a frame.
const STATES: usize = 1_024;

/// A hub and the daemon's end of its socket.
#[derive(Debug)]
pub struct Site {
    hub: Hub,
    requests: u64,
    /// The origin's sequence in each slot.
    sequences: BTreeMap<Slot, u64>,
}

impl Site {
    /// A new hub; `entropy` tells it from other hubs. It has no credit, so it sends no deltas yet.
    #[must_use]
    pub fn new(entropy: u64) -> Self {
        let (hub, _) = Hub::create(format!("bench-{entropy}"), entropy << 32, NOW);
        let mut site = Self { hub, requests: 0, sequences: BTreeMap::new() };
        drop(site.hear(OriginToHub::Welcome { now: NOW, capabilities: Capabilities::CURRENT }));
        site
    }

    /// The hub.
    #[must_use]
    pub fn hub(&self) -> &Hub {
        &self.hub
    }

    /// Runs one pipeline, and returns all that the shell would have to do.
    pub fn run(&mut self, commands: Vec<Argv>) -> Vec<HubEffect> {
        self.requests += 1;
        self.give(HubInput::Commands { request: Request(self.requests), commands, idempotency: None })
    }

    /// Gives the hub any input.
    pub fn give(&mut self, input: HubInput) -> Vec<HubEffect> {
        self.hub.handle(input, NOW)
    }

    /// Gives the hub a message of the daemon.
    pub fn hear(&mut self, message: OriginToHub) -> Vec<HubEffect> {
        self.give(HubInput::Origin(DAEMON, message))
    }

    /// From now on the hub sends its deltas, as long as each batch is acknowledged.
    pub fn grant_credit(&mut self) -> Vec<HubEffect> {
        self.hear(OriginToHub::Credit(1))
    }

    /// Lets the hub hold these keys, empty as the origin has them.
    pub fn hold(&mut self, keys: &[Bytes]) {
        let mut slots: BTreeMap<Slot, Vec<Key>> = BTreeMap::new();
        for key in keys {
            let key = Key::new(key.clone()).expect("benches name short keys");
            slots.entry(key.slot()).or_default().push(key);
        }
        for (slot, keys) in slots {
            // One slot after the other, so that few requests wait at a time.
            for chunk in keys.chunks(PIPELINE_MAX) {
                let exists = |key: &Key| vec![Bytes::from_static(b"EXISTS"), Bytes::from(key.clone())];
                drop(self.run(chunk.iter().map(exists).collect()));
            }
            for chunk in keys.chunks(STATES) {
                let keys = chunk.iter().map(|key| (key.clone(), KeyDelta::default())).collect();
                let message = OriginToHub::Whole { slot, at: self.cursor(slot), more: false, keys };
                drop(self.hear(carried(&message)));
            }
        }
    }

    /// Gives the hub what another one wrote, for keys that it holds.
    pub fn join(&mut self, slot: Slot, keys: Vec<(Key, KeyDelta)>) {
        let from = self.cursor(slot);
        *self.sequences.entry(slot).or_insert(1) += 1;
        let message = OriginToHub::Down { slot, from, to: self.cursor(slot), keys };
        drop(self.hear(carried(&message)));
    }

    /// Tells the hub that all it sent among these effects is in Redis and stays there. Returns what it sent, and what
    /// the acknowledgement set free.
    pub fn acknowledge(&mut self, effects: Vec<HubEffect>) -> Vec<SlotDelta> {
        let mut sent = Vec::new();
        let mut effects = effects;
        loop {
            let parts = deltas(effects);
            if parts.is_empty() {
                return sent;
            }
            effects = self.settle(&parts);
            sent.extend(parts);
        }
    }

    /// Both acknowledgements of a batch that was sent, and the credit for the next one.
    pub fn settle<'a>(&mut self, sent: impl IntoIterator<Item = &'a SlotDelta>) -> Vec<HubEffect> {
        let slots: Vec<_> = sent.into_iter().map(|part| (part.slot, part.to)).collect();
        let mut effects = self.hear(OriginToHub::Committed(slots.clone()));
        effects.extend(self.hear(OriginToHub::Stable(slots)));
        effects.extend(self.grant_credit());
        effects
    }

    fn cursor(&self, slot: Slot) -> Cursor {
        let incarnation = Some(ReplicaId::from_entropy(u64::MAX / 3));
        Cursor { incarnation, seq: self.sequences.get(&slot).copied().unwrap_or(1) }
    }
}

/// What a fresh hub sends to the origin when it runs these commands on `keys`, which it holds empty.
#[must_use]
pub fn written(entropy: u64, keys: &[Bytes], commands: impl IntoIterator<Item = Argv>) -> Vec<SlotDelta> {
    let mut site = Site::new(entropy);
    site.hold(keys);
    let mut commands = commands.into_iter();
    loop {
        let pipeline: Vec<_> = commands.by_ref().take(PIPELINE_MAX).collect();
        if pipeline.is_empty() {
            break;
        }
        assert_answers(&site.run(pipeline));
    }
    // It goes out batch after batch, each key's delta in one piece where it fits a frame.
    let effects = site.grant_credit();
    site.acknowledge(effects)
}

/// A hub that holds `keys` with what these commands wrote elsewhere, and has no change of its own.
#[must_use]
pub fn settled(keys: &[Bytes], commands: impl IntoIterator<Item = Argv>) -> Site {
    let mut site = Site::new(1);
    site.hold(keys);
    for part in written(2, keys, commands) {
        site.join(part.slot, part.keys);
    }
    site
}

/// The deltas for the origin among these effects.
#[must_use]
pub fn deltas(effects: Vec<HubEffect>) -> Vec<SlotDelta> {
    let parts = effects.into_iter().filter_map(|effect| match effect {
        HubEffect::ToOrigin(_, HubToOrigin::Delta(parts)) => Some(parts),
        _ => None,
    });
    parts.flatten().collect()
}

/// The replies to a pipeline, if it was answered and rests on held keys.
#[must_use]
pub fn replies(effects: &[HubEffect]) -> Option<&[Result<Reply, CommandError>]> {
    effects.iter().find_map(|effect| match effect {
        HubEffect::Reply { replies, provisional: false, .. } => Some(replies.as_slice()),
        _ => None,
    })
}

/// What follows a pipeline of writes is rows to persist, and a reply without errors that rests on held keys.
///
/// # Panics
/// When it is anything else: a bench would measure how fast errors are made.
pub fn assert_answers(effects: &[HubEffect]) {
    assert!(matches!(effects.first(), Some(HubEffect::Persist(_))), "a write persists first");
    for reply in replies(effects).expect("a pipeline on held keys is answered at once") {
        reply.as_ref().expect("no command fails");
    }
}

/// The message as the other end decodes it, so that no memory is shared between hubs.
fn carried(message: &OriginToHub) -> OriginToHub {
    let frame = wire::encode(message).expect("a daemon's message fits a frame");
    wire::decode(&frame).expect("a daemon's message is valid")
}
