//! A leaf's writes in many orders: those of one turn come to the same as one after the other, and the view that they left is what
//! the rows give.

use crate::common::{World, text::argv};
use headwater::{
    command::{self, CommandError, Reply},
    id::{ClientId, Key, No, ReplicaId, Seq, SessionId, TimestampMs},
    leaf::{Extent, Leaf, LeafEffect, LeafInput, LeafRowId, LeafRowWrite},
    message::{HubToLeaf, LeafToHub, Lifetime},
    wire::Capabilities,
};
use proptest::prelude::*;
use std::collections::BTreeMap;

const NOW: TimestampMs = TimestampMs(1_750_000_000_000);
const KEYS: [&str; 4] = ["a", "b", "c", "d"];

fn session() -> SessionId {
    SessionId { hub: ReplicaId::from_bits(7 << 16), client: ClientId(5), no: 1 }
}

/// A leaf, what it stored, and how many operations it sent and has verdicts of.
struct Tab {
    leaf: Leaf,
    rows: BTreeMap<LeafRowId, bytes::Bytes>,
    sent: usize,
    settled: usize,
}

impl Tab {
    fn new(is_connected: bool) -> Self {
        let mut tab =
            Self { leaf: Leaf::stored(ClientId(5), Lifetime::Tab), rows: BTreeMap::new(), sent: 0, settled: 0 };
        if is_connected {
            tab.give(LeafInput::Opened, NOW);
            tab.give(
                LeafInput::Hub(HubToLeaf::Welcome {
                    hub: session().hub,
                    now: NOW,
                    session: session(),
                    until: NOW.plus_ms(1_000_000),
                    watermark: Seq::default(),
                    capabilities: Capabilities::CURRENT,
                }),
                NOW,
            );
        }
        tab
    }

    fn give(&mut self, input: LeafInput, now: TimestampMs) {
        let effects = self.leaf.handle(input, now);
        self.perform(effects);
    }

    /// The hub accepts all that was sent, but every third of it. Its numbers are some.
    fn settle(&mut self, now: TimestampMs) {
        let (mut accepted, mut refused) = (Vec::new(), Vec::new());
        for at in self.settled + 1..=self.sent {
            let seq = at as u64;
            match at % 3 {
                0 => refused.push((Seq(seq), CommandError::WrongType)),
                _ => accepted.push((Seq(seq), No(100 * seq), No(100 * seq + 9))),
            }
        }
        self.settled = self.sent;
        let through = Seq(self.sent as u64);
        self.give(LeafInput::Hub(HubToLeaf::Verdicts { session: session(), through, accepted, refused }), now);
    }

    fn perform(&mut self, effects: Vec<LeafEffect>) {
        for effect in effects {
            match effect {
                LeafEffect::Persist(writes) => writes.into_iter().for_each(|write| {
                    drop(match write {
                        LeafRowWrite::Put(row, body) => self.rows.insert(row, body),
                        LeafRowWrite::Done(no, _) => self.rows.remove(&LeafRowId::Pending(no)),
                        other => panic!("no key is shown, and so none dropped: {other:?}"),
                    });
                }),
                LeafEffect::Send(LeafToHub::Operations { operations, .. } | LeafToHub::Own { operations, .. }) => {
                    self.sent += operations.len();
                }
                _ => {}
            }
        }
    }
}

/// A command, and how long after the one before.
fn step() -> impl Strategy<Value = (String, i64)> {
    let key = prop::sample::select(&KEYS[..]);
    let line = prop_oneof![
        6 => (key.clone(), -9..9_i64).prop_map(|(key, by)| format!("INCRBY {key} {by}")),
        1 => key.clone().prop_map(|key| format!("DECR {key}")),
        1 => key.clone().prop_map(|key| format!("INCRBY {key} 9223372036854775807")),
        1 => (key.clone(), 0..99_i64).prop_map(|(key, value)| format!("SET {key} {value}")),
        1 => key.clone().prop_map(|key| format!("SET {key} word")),
        1 => key.clone().prop_map(|key| format!("SET {key} 5 PX 3")),
        1 => key.clone().prop_map(|key| format!("HSET {key} field value field other")),
        1 => key.prop_map(|key| format!("SADD {key} member")),
    ];
    (line, 0..3_i64)
}

proptest! {
    #[test]
    fn writes_of_one_turn_come_to_the_same_as_one_after_the_other(
        steps in prop::collection::vec((step(), any::<bool>(), prop::bool::weighted(0.1)), 1..60),
        is_connected: bool,
    ) {
        let (mut one, mut other) = (Tab::new(is_connected), Tab::new(is_connected));
        let mut now = NOW;
        for ((line, later), ends_turn, settles) in steps {
            now = now.plus_ms(later);
            // It counts nothing on from what the last increment gave.
            let (reply, effects) = match command::parse(&argv(&line)) {
                Ok(command) => one.leaf.run(&command, now),
                Err(error) => (Err(error), Vec::new()),
            };
            one.perform(effects);
            let acted = other.leaf.act(&argv(&line), now);
            prop_assert_eq!(&reply, &acted.map(|(reply, _)| reply), "{}", &line);
            if ends_turn {
                other.give(LeafInput::Flush, now);
                prop_assert_eq!(&one.rows, &other.rows);
            }
            if settles && is_connected {
                other.give(LeafInput::Flush, now);
                [&mut one, &mut other].into_iter().for_each(|tab| tab.settle(now));
            }
        }
        other.give(LeafInput::Flush, now);
        prop_assert_eq!(&one.rows, &other.rows);
        prop_assert_eq!(one.sent, other.sent);
        prop_assert_eq!(one.leaf.status(), other.leaf.status());
        // The view that was changed write by write is the one that is made anew.
        let restored = Leaf::restore(other.rows).expect("the leaf's own rows");
        for key in KEYS.map(|key| Key::new(key).expect("short")) {
            prop_assert_eq!(one.leaf.key(&key), other.leaf.key(&key));
            prop_assert_eq!(one.leaf.key(&key), restored.key(&key));
        }
    }
}

#[test]
fn an_increment_counts_on_from_what_the_key_reads() {
    let mut leaf = Leaf::stored(ClientId(5), Lifetime::Tab);
    let mut run = |line: &str, later: i64| leaf.act(&argv(line), NOW.plus_ms(later)).expect(line);
    assert_eq!(run("INCRBY a 2", 0), (Reply::Int(2), Extent::Named));
    assert_eq!(run("INCRBY a 3", 0), (Reply::Int(5), Extent::Named));
    run("SET a 40", 0);
    assert_eq!(run("INCR a", 0).0, Reply::Int(41));
    assert_eq!(run("DECRBY a 2", 0).0, Reply::Int(39));
    // A key that ends counts afresh, though nobody changed it.
    run("SET a 7 PX 10", 0);
    assert_eq!(run("INCR a", 5).0, Reply::Int(8));
    assert_eq!(run("INCR a", 6).0, Reply::Int(9));
    assert_eq!(run("INCR a", 20).0, Reply::Int(1));
}

#[test]
fn an_increment_counts_on_from_what_the_hub_showed_since() {
    let mut world = World::new(1);
    world.hold(&["k"]);
    let leaf = world.leaf_at(0, &["k"]);
    assert_eq!(["INCR k", "INCR k"].map(|line| world.run_leaf(leaf, line)), [":1", ":2"]);
    world.run(0, "INCRBY k 10");
    world.settle();
    assert_eq!(["INCR k", "INCR k"].map(|line| world.run_leaf(leaf, line)), [":13", ":14"]);
    world.settle();
    world.run(0, "DEL k");
    world.settle();
    assert_eq!(world.run_leaf(leaf, "INCR k"), ":1");
}

#[test]
fn a_command_says_which_keys_it_changed() {
    let mut leaf = Leaf::stored(ClientId(5), Lifetime::Tab);
    let mut extent = |line: &str| leaf.act(&argv(line), NOW).expect(line).1;
    assert_eq!(extent("SADD set member"), Extent::Named);
    assert_eq!(extent("SREM set other"), Extent::Nothing);
    assert_eq!(extent("SCARD set"), Extent::Nothing);
    assert_eq!(extent("PING"), Extent::Nothing);
    assert_eq!(extent("MSET one 1"), Extent::Named);
    assert_eq!(extent("MSET one 1 two 2"), Extent::More);
    // The one that is changed is not the first that is named.
    assert_eq!(["SET gone 1", "DEL gone"].map(&mut extent), [Extent::Named; 2]);
    assert_eq!(extent("DEL gone two"), Extent::More);
    assert_eq!(extent("COPY one gone REPLACE"), Extent::More);
    // The first argument is no key.
    assert_eq!(extent("ECHO one"), Extent::Nothing);
    assert_eq!(extent("ZADD board 1 member"), Extent::Named);
    assert_eq!(extent("ZUNION 1 board"), Extent::Nothing);
    assert_eq!(extent("SINTERCARD 1 set"), Extent::Nothing);
}
