//! A leaf's writes in many orders: those of one turn come to the same as one after the other, and the view that they left is what
//! the rows give.

use crate::common::text::argv;
use headwater::{
    command::Reply,
    id::{ClientId, Key, ReplicaId, Seq, SessionId, TimestampMs},
    leaf::{Extent, Leaf, LeafEffect, LeafInput, LeafRowId, LeafRowWrite},
    message::{HubToLeaf, LeafToHub, Lifetime},
    wire::Capabilities,
};
use proptest::prelude::*;
use std::collections::BTreeMap;

const NOW: TimestampMs = TimestampMs(1_750_000_000_000);
const KEYS: [&str; 4] = ["a", "b", "c", "d"];

/// A leaf, what it stored, and how many operations it sent.
struct Tab {
    leaf: Leaf,
    rows: BTreeMap<LeafRowId, bytes::Bytes>,
    sent: usize,
}

impl Tab {
    fn new(is_connected: bool) -> Self {
        let mut tab = Self { leaf: Leaf::stored(ClientId(5), Lifetime::Tab), rows: BTreeMap::new(), sent: 0 };
        if is_connected {
            tab.give(LeafInput::Opened, NOW);
            let hub = ReplicaId::from_bits(7 << 16);
            tab.give(
                LeafInput::Hub(HubToLeaf::Welcome {
                    hub,
                    now: NOW,
                    session: SessionId { hub, client: ClientId(5), no: 1 },
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

    fn perform(&mut self, effects: Vec<LeafEffect>) {
        for effect in effects {
            match effect {
                LeafEffect::Persist(writes) => writes.into_iter().for_each(|write| {
                    let LeafRowWrite::Put(row, body) = write else { panic!("nothing is settled: {write:?}") };
                    self.rows.insert(row, body);
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
        steps in prop::collection::vec((step(), any::<bool>()), 1..60),
        is_connected: bool,
    ) {
        let (mut one, mut other) = (Tab::new(is_connected), Tab::new(is_connected));
        let mut now = NOW;
        for ((line, later), ends_turn) in steps {
            now = now.plus_ms(later);
            let (reply, effects) = one.leaf.command(&argv(&line), now);
            one.perform(effects);
            let acted = other.leaf.act(&argv(&line), now);
            prop_assert_eq!(&reply, &acted.map(|(reply, _)| reply), "{}", &line);
            if ends_turn {
                other.give(LeafInput::Flush, now);
                prop_assert_eq!(&one.rows, &other.rows);
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
fn a_command_says_which_keys_it_changed() {
    let mut leaf = Leaf::stored(ClientId(5), Lifetime::Tab);
    let mut extent = |line: &str| leaf.act(&argv(line), NOW).expect(line).1;
    assert_eq!(extent("SADD set member"), Extent::Named);
    assert_eq!(extent("SREM set other"), Extent::Nothing);
    assert_eq!(extent("SCARD set"), Extent::Nothing);
    assert_eq!(extent("PING"), Extent::Nothing);
    assert_eq!(extent("MSET one 1"), Extent::Named);
    assert_eq!(extent("MSET one 1 two 2"), Extent::More);
}
