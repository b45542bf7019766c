//! What it costs, in bytes on the wire, to give a store back what it lost without being told: a hub and the origin compare
//! digests and ship what differs.
//!
//! Both ends are the machines that ship, and each message of a comparison is counted as the frame in which it travels.

use std::collections::VecDeque;

use bytes::Bytes;
use headwater::{
    hub::{Connection, Hub, HubEffect, HubInput, Request},
    id::{HashSeed, Key, TimestampMs},
    message::{HubToOrigin, OriginToHub},
    origin::{Link, Origin, OriginConfig, OriginEffect, OriginInput, StableBy},
    wire,
};

use crate::{site::NOW, store::Store};

/// Keys in one message, so that it fits a frame.
const KEYS: usize = 1_000;

/// Names in one command.
const NAMES: usize = 1_000;

/// Longer than anything waits here, in milliseconds.
const LONG_MS: i64 = 120_000;

/// What is lost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lost {
    /// Members of one set.
    Elements,
    /// Strings, each of a key.
    Keys,
}

impl Lost {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Elements, Self::Keys];

    /// How the tables call it.
    #[must_use]
    pub fn described(self) -> &'static str {
        match self {
            Self::Elements => "healing 1% of 100k elements",
            Self::Keys => "healing 1% of 100k keys",
        }
    }
}

/// The bytes that pass until the store has its last hundredth back, and those of the whole state.
#[must_use]
pub fn bytes(lost: Lost, size: usize) -> (usize, usize) {
    let names: Vec<String> = (0..size as u64).map(name).collect();
    let mut pair = Pair::new();
    let keys: Vec<Key> = match lost {
        Lost::Elements => vec![key("set")],
        Lost::Keys => names.iter().map(|name| key(&format!("session:{name}"))).collect(),
    };
    for keys in keys.chunks(NAMES) {
        pair.run(keys.iter().map(|key| vec![Bytes::from_static(b"EXISTS"), Bytes::copy_from_slice(key.as_bytes())]));
    }
    let kept = size - size / 100;
    let write = |pair: &mut Pair, names: &[String]| {
        for names in names.chunks(NAMES) {
            match lost {
                Lost::Elements => {
                    let members = names.iter().map(|name| Bytes::from(name.clone()));
                    pair.run([[Bytes::from_static(b"SADD"), Bytes::from_static(b"set")]
                        .into_iter()
                        .chain(members)
                        .collect()]);
                }
                Lost::Keys => pair.run(names.iter().map(|name| {
                    let key = Bytes::from(format!("session:{name}"));
                    vec![Bytes::from_static(b"SET"), key, Bytes::from(name.clone())]
                })),
            }
        }
        pair.pass(LONG_MS);
    };
    write(&mut pair, &names[..kept]);
    pair.reconnect(1);
    let before = pair.store.clone();
    write(&mut pair, &names[kept..]);
    let after = pair.store.companions.len();
    pair.store = before;
    let from = pair.bytes;
    pair.reconnect(2);
    let healed = pair.bytes - from;
    assert_eq!(pair.store.companions.len(), after, "each key is there again");
    (healed, pair.whole(&keys))
}

/// A name as entropy gives it, the same in each run.
fn name(n: u64) -> String {
    format!("{:016x}", (n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29))
}

fn key(name: &str) -> Key {
    Key::new(name.to_owned()).expect("benches name short keys")
}

/// A hub and the origin around a store.
struct Pair {
    hub: Hub,
    origin: Origin,
    store: Store,
    link: u64,
    requests: u64,
    now: TimestampMs,
    bytes: usize,
}

#[allow(clippy::large_enum_variant, reason = "a few live at once")]
enum Mail {
    Hub(HubInput),
    Origin(OriginInput),
}

impl Pair {
    fn new() -> Self {
        let (hub, _) = Hub::create("bench".to_owned(), 1 << 32, NOW);
        let mut pair =
            Self { hub, origin: origin(0), store: Store::default(), link: 0, requests: 0, now: NOW, bytes: 0 };
        pair.reconnect(0);
        pair
    }

    /// A new daemon, on a server that tells nobody what it lost.
    fn reconnect(&mut self, run: u64) {
        self.origin = origin(run);
        let closed = Mail::Hub(HubInput::OriginClosed(Connection(self.link)));
        self.link += 1;
        self.deliver([closed, Mail::Origin(OriginInput::Opened(Link(self.link)))]);
        self.pass(LONG_MS);
    }

    fn run(&mut self, commands: impl IntoIterator<Item = Vec<Bytes>>) {
        self.requests += 1;
        let commands = commands.into_iter().collect();
        self.deliver([Mail::Hub(HubInput::Commands { request: Request(self.requests), commands, idempotency: None })]);
    }

    /// Lets time pass, of which the daemon takes note each second.
    fn pass(&mut self, ms: i64) {
        for _ in 0..ms / 1_000 {
            self.now = self.now.plus_ms(1_000);
            self.deliver([Mail::Origin(OriginInput::Tick)]);
        }
    }

    /// The bytes of these keys whole.
    fn whole(&self, keys: &[Key]) -> usize {
        let frame = |keys: &[Key]| {
            let state = |key: &Key| self.hub.key(key).expect("the hub holds it").to_complete_delta();
            let keys = keys.iter().map(|key| (key.clone(), state(key))).collect();
            wire::encode(&HubToOrigin::Exchanged { round: 0, last: true, cursors: Vec::new(), keys })
                .map(|frame| frame.len())
        };
        keys.chunks(KEYS).map(|keys| frame(keys).expect("so many keys fit a frame")).sum()
    }

    fn deliver(&mut self, mail: impl IntoIterator<Item = Mail>) {
        let mut queue: VecDeque<Mail> = mail.into_iter().collect();
        while let Some(mail) = queue.pop_front() {
            match mail {
                Mail::Hub(input) => {
                    for effect in self.hub.handle(input, self.now) {
                        if let HubEffect::ToOrigin(Connection(link), message) = effect {
                            use HubToOrigin::{Digests, Exchanged, Lost};
                            if matches!(message, Lost(_) | Digests { .. } | Exchanged { .. }) {
                                self.bytes += wire::encode(&message).expect("a hub's message fits a frame").len();
                            }
                            queue.push_back(Mail::Origin(OriginInput::Hub(Link(link), message)));
                        }
                    }
                }
                Mail::Origin(input) => {
                    for effect in self.origin.handle(input, self.now) {
                        match effect {
                            OriginEffect::ToHub(Link(link), message) => {
                                use OriginToHub::{Compare, Compared, Exchange};
                                if matches!(message, Compare { .. } | Exchange { .. } | Compared(_)) {
                                    self.bytes += wire::encode(&message).expect("the origin's fits a frame").len();
                                }
                                queue.push_back(Mail::Hub(HubInput::Origin(Connection(link), message)));
                            }
                            OriginEffect::Load(load) => {
                                queue.push_back(Mail::Origin(OriginInput::Loaded(self.store.load(&load, self.now))));
                            }
                            OriginEffect::Commit(commit) => {
                                let outcome = self.store.commit(&commit, self.now);
                                queue.push_back(Mail::Origin(OriginInput::Committed(commit.slot, outcome)));
                            }
                            OriginEffect::Close(..)
                            | OriginEffect::Run { .. }
                            | OriginEffect::Jobs { .. }
                            | OriginEffect::Swap(_)
                            | OriginEffect::Foreign(_)
                            | OriginEffect::Adopted(_)
                            | OriginEffect::Erased(_)
                            | OriginEffect::Listen(_)
                            | OriginEffect::Unlisten(_)
                            | OriginEffect::Confirm(_)
                            | OriginEffect::WakeAt(_) => {}
                        }
                    }
                }
            }
        }
    }
}

fn origin(run: u64) -> Origin {
    Origin::new(OriginConfig {
        run_id: Bytes::from(run.to_string()),
        entropy: (run + 1) << 40,
        seed: HashSeed(run, 1),
        stable_by: StableBy::Window,
        loss_window_ms: 1_000,
        window_ms: 0,
        window_ms_max: 0,
        audit_ms: i64::MAX / 4,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_lost_heals_for_less_than_the_whole() {
        for lost in Lost::ALL {
            let (healed, whole) = bytes(lost, 2_000);
            assert!(healed * 8 < whole, "{lost:?}: {healed} of {whole}");
        }
    }
}
