//! A leaf that gathers: what it did between two exchanges goes as one operation a key, and counts once, whatever is lost.
#![allow(missing_docs, reason = "a test")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use bytes::Bytes;
use headwater::{
    command::{CommandError, Reply},
    hub::{Connection, Hub, HubConfig, HubEffect, HubInput, Request},
    id::{ClientId, Key, TimestampMs},
    leaf::{Leaf, LeafEffect, LeafInput},
    message::{HubToLeaf, LeafToHub, Lifetime},
};
use proptest::prelude::*;

const KEYS: [&str; 3] = ["a", "b", "c"];

/// A leaf and its hub, who speak by requests of the leaf.
struct World {
    leaf: Leaf,
    hub: Hub,
    rows: std::collections::BTreeMap<headwater::hub::RowId, Bytes>,
    now: TimestampMs,
    connection: u64,
    is_open: bool,
    sent: Vec<LeafToHub>,
    /// What waits at the hub for the leaf's next request.
    waiting: Vec<HubToLeaf>,
}

/// What becomes of an exchange.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Fate {
    Arrives,
    RequestLost,
    AnswerLost,
    /// The hub begins again from its rows, and does not know the connection.
    HubRestarted,
}

impl World {
    fn new() -> Self {
        let now = TimestampMs(1_700_000_000_000);
        let (hub, effects) = Hub::create("eu/0".to_owned(), 1, now);
        let mut world = Self {
            leaf: Leaf::gathering(ClientId(1), Lifetime::Isolate),
            hub,
            rows: Default::default(),
            now,
            connection: 1,
            is_open: false,
            sent: Vec::new(),
            waiting: Vec::new(),
        };
        world.perform(effects);
        world
    }

    fn following(keys: &[&str]) -> Self {
        let mut world = Self::new();
        for key in keys {
            // Without an origin a hub knows what was written there.
            world.at_hub(&format!("SET {key} 0")).unwrap();
            world.at_hub(&format!("DEL {key}")).unwrap();
        }
        world.follow(keys);
        world
    }

    fn follow(&mut self, keys: &[&str]) {
        let effects = self.leaf.handle(LeafInput::Subscribe(keys.iter().map(|name| key(name)).collect()), self.now);
        self.take(effects);
        (0..3).for_each(|_| self.exchange(Fate::Arrives));
    }

    /// Executes at the leaf.
    fn run(&mut self, line: &str) -> Result<Reply, CommandError> {
        let command = headwater::command::parse(&words(line)).unwrap();
        let (reply, effects) = self.leaf.run(&command, self.now);
        self.take(effects);
        reply
    }

    /// Executes at the hub.
    fn at_hub(&mut self, line: &str) -> Result<Reply, CommandError> {
        let input = HubInput::Commands { request: Request(1), commands: vec![words(line)], idempotency: None };
        let effects = self.hub.handle(input, self.now);
        let replies = effects.iter().find_map(|effect| match effect {
            HubEffect::Reply { replies, .. } => Some(replies.clone()),
            _ => None,
        });
        self.perform(effects);
        replies.unwrap().remove(0)
    }

    fn exchange(&mut self, fate: Fate) {
        self.now = self.now.plus_ms(7);
        let asked_at = self.now;
        if !self.is_open {
            self.is_open = true;
            self.connection += 1;
            self.waiting.clear();
            let effects = self.leaf.handle(LeafInput::Opened, self.now);
            self.take(effects);
        }
        let effects = self.leaf.handle(LeafInput::Flush, self.now);
        self.take(effects);
        let sent = std::mem::take(&mut self.sent);
        if fate == Fate::HubRestarted {
            let config = HubConfig::from("eu/0".to_owned());
            let rows = self.rows.iter().map(|(id, body)| (id.clone(), body.to_vec()));
            self.hub = Hub::restore(config, rows).unwrap();
            self.waiting = vec![HubToLeaf::Again];
        } else if fate != Fate::RequestLost {
            for message in sent {
                let effects = self.hub.handle(HubInput::Leaf(Connection(self.connection), message), self.now);
                self.perform(effects);
            }
        }
        self.now = self.now.plus_ms(3);
        if matches!(fate, Fate::RequestLost | Fate::AnswerLost) {
            let effects = self.leaf.handle(LeafInput::Closed, self.now);
            self.take(effects);
            self.sent.clear();
            self.is_open = false;
            return;
        }
        let messages = std::mem::take(&mut self.waiting);
        let effects = self.leaf.handle(LeafInput::Answered { messages, asked_at }, self.now);
        self.take(effects);
    }

    fn settle(&mut self) {
        for _ in 0..5 {
            self.exchange(Fate::Arrives);
        }
        assert_eq!(self.leaf.status().pending, 0);
    }

    fn take(&mut self, effects: Vec<LeafEffect>) {
        for effect in effects {
            match effect {
                LeafEffect::Send(message) => self.sent.push(message),
                LeafEffect::Redial => {
                    self.is_open = false;
                    self.sent.clear();
                }
                LeafEffect::Refused(key, cause) => panic!("{key}: {cause}"),
                _ => {}
            }
        }
    }

    fn perform(&mut self, effects: Vec<HubEffect>) {
        for effect in effects {
            match effect {
                HubEffect::Persist(writes) => {
                    for write in writes {
                        match write.body {
                            Some(body) => drop(self.rows.insert(write.id, body)),
                            None => drop(self.rows.remove(&write.id)),
                        }
                    }
                }
                HubEffect::ToLeaf(connection, message) if connection.0 == self.connection => self.waiting.push(message),
                _ => {}
            }
        }
    }
}

fn key(name: &str) -> Key {
    Key::new(Bytes::copy_from_slice(name.as_bytes())).unwrap()
}

fn words(line: &str) -> Vec<Bytes> {
    line.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect()
}

/// The operations that are under way.
fn operations(sent: &[LeafToHub]) -> usize {
    let count = |message: &LeafToHub| match message {
        LeafToHub::Operations { operations, .. } | LeafToHub::Own { operations, .. } => operations.len(),
        _ => 0,
    };
    sent.iter().map(count).sum()
}

#[test]
fn a_thousand_increments_between_two_exchanges_are_one_operation() {
    let mut world = World::following(&["a"]);
    for n in 1..=1_000 {
        assert_eq!(world.run("INCR a"), Ok(Reply::Int(n)));
    }
    assert_eq!((world.leaf.status().pending, operations(&world.sent)), (1, 0));
    let effects = world.leaf.handle(LeafInput::Flush, world.now);
    world.take(effects);
    assert_eq!(operations(&world.sent), 1);
    world.settle();
    assert_eq!(world.at_hub("GET a"), Ok(Reply::Bulk(Bytes::from_static(b"1000"))));
}

#[test]
fn spends_of_one_window_are_summed_up_and_the_limit_holds() {
    let mut world = World::following(&["a"]);
    let line = "HW.LIMIT a FIXED 100 86400000";
    let is_allowed = |reply: Result<Reply, CommandError>| match reply {
        Ok(Reply::Array(numbers)) => numbers.first() == Some(&Reply::Int(1)),
        other => panic!("{other:?}"),
    };
    let allowed = (0..150).filter(|_| is_allowed(world.run(line))).count();
    assert_eq!(allowed, 100);
    // The first gives the key its deadline, so it says what it saw.
    assert_eq!(world.leaf.status().pending, 2);
    world.settle();
    assert!(!is_allowed(world.at_hub(line)));
    assert!(!is_allowed(world.run(line)));
}

#[test]
fn what_is_said_of_a_sum_ends_it() {
    let mut world = World::following(&["a"]);
    world.run("INCRBY a 5").unwrap();
    world.run("SET a 10").unwrap();
    assert_eq!(world.run("INCR a"), Ok(Reply::Int(11)));
    world.run("DEL a").unwrap();
    assert_eq!(world.run("INCRBY a 3"), Ok(Reply::Int(3)));
    assert_eq!(world.leaf.status().pending, 5);
    world.settle();
    assert_eq!(world.at_hub("GET a"), Ok(Reply::Bulk(Bytes::from_static(b"3"))));
}

#[test]
fn nothing_is_sent_between_flushes_and_sums_grow_while_the_hub_is_away() {
    let mut world = World::following(&["a"]);
    for _ in 0..10 {
        for _ in 0..10 {
            world.run("INCR a").unwrap();
        }
        world.exchange(Fate::RequestLost);
    }
    // What was under way when the hub went, and one sum of all that came after.
    assert_eq!(world.leaf.status().pending, 2);
    world.settle();
    assert_eq!(world.at_hub("GET a"), Ok(Reply::Bulk(Bytes::from_static(b"100"))));
}

#[test]
fn an_answer_speaks_of_the_time_at_which_it_was_asked() {
    let mut world = World::following(&["a"]);
    world.run("INCR a").unwrap();
    let before = world.now;
    world.exchange(Fate::Arrives);
    assert_eq!(world.leaf.status().heard_at, Some(before.plus_ms(7)));
    // One that does not arrive says nothing, nor does a welcome, which comes before the keys.
    world.exchange(Fate::AnswerLost);
    world.exchange(Fate::Arrives);
    assert_eq!(world.leaf.status().heard_at, Some(before.plus_ms(7)));
    let before = world.now;
    world.exchange(Fate::Arrives);
    assert_eq!(world.leaf.status().heard_at, Some(before.plus_ms(7)));
}

#[test]
fn a_leaf_that_dials_again_in_time_outlives_its_tickets() {
    let mut world = World::following(&["a"]);
    for minute in 1..=180 {
        world.now = world.now.plus_ms(60_000);
        if minute % 31 == 0 {
            let effects = world.leaf.handle(LeafInput::Closed, world.now);
            world.take(effects);
            world.is_open = false;
        }
        world.run("INCR a").unwrap();
        (0..3).for_each(|_| world.exchange(Fate::Arrives));
    }
    world.settle();
    assert_eq!(world.at_hub("GET a"), Ok(Reply::Bulk(Bytes::from_static(b"180"))));
}

#[derive(Clone, Debug)]
enum Step {
    Run(usize, &'static str),
    AtHub(usize, &'static str),
    Exchange(Fate),
}

fn step() -> impl Strategy<Value = Step> {
    let command = prop_oneof![
        6 => Just("INCR @"),
        2 => Just("INCRBY @ 7"),
        1 => Just("DECR @"),
        1 => Just("SET @ 5"),
        1 => Just("DEL @"),
        1 => Just("EXPIRE @ 1000"),
    ];
    let fate = prop_oneof![
        4 => Just(Fate::Arrives),
        1 => Just(Fate::RequestLost),
        1 => Just(Fate::AnswerLost),
        1 => Just(Fate::HubRestarted),
    ];
    prop_oneof![
        6 => (0..KEYS.len(), command.clone()).prop_map(|(key, line)| Step::Run(key, line)),
        1 => (0..KEYS.len(), command).prop_map(|(key, line)| Step::AtHub(key, line)),
        3 => fate.prop_map(Step::Exchange),
    ]
}

proptest! {
    /// A leaf alone reads what one Redis would say, and so does its hub in the end.
    #[test]
    fn a_leaf_alone_is_one_redis(steps in prop::collection::vec(step(), 1..60)) {
        let mut world = World::following(&KEYS);
        // A hub without a leaf, to which the same is done in the same order.
        let mut one = World::following(&KEYS);
        for step in steps {
            match step {
                Step::Run(key, line) => {
                    let line = line.replace('@', KEYS[key]);
                    prop_assert_eq!(world.run(&line), one.at_hub(&line), "{}", line);
                }
                Step::AtHub(..) => {}
                Step::Exchange(fate) => world.exchange(fate),
            }
        }
        world.settle();
        for key in KEYS {
            let line = format!("GET {key}");
            let expected = one.at_hub(&line);
            prop_assert_eq!(&world.at_hub(&line), &expected);
            prop_assert_eq!(&world.run(&line), &expected);
        }
    }

    /// With writers at the hub too, the leaf reads what its hub does once all is settled, and no increment counts twice or not
    /// at all.
    #[test]
    fn a_leaf_beside_others_comes_to_read_what_its_hub_does(steps in prop::collection::vec(step(), 1..60)) {
        let mut world = World::following(&KEYS);
        let mut sum = 0_i64;
        let mut is_counter = true;
        for step in steps {
            let line = match step {
                Step::Run(key, line) => {
                    world.run(&line.replace('@', KEYS[key])).unwrap();
                    line
                }
                Step::AtHub(key, line) => {
                    world.at_hub(&line.replace('@', KEYS[key])).unwrap();
                    line
                }
                Step::Exchange(fate) => {
                    world.exchange(fate);
                    continue;
                }
            };
            match line {
                "INCR @" => sum += 1,
                "INCRBY @ 7" => sum += 7,
                "DECR @" => sum -= 1,
                "EXPIRE @ 1000" => {}
                _ => is_counter = false,
            }
        }
        world.settle();
        let mut total = 0;
        for key in KEYS {
            let line = format!("GET {key}");
            let at_hub = world.at_hub(&line);
            prop_assert_eq!(&world.run(&line), &at_hub);
            if let Ok(Reply::Bulk(number)) = at_hub {
                total += std::str::from_utf8(&number).unwrap().parse::<i64>().unwrap();
            }
        }
        if is_counter {
            prop_assert_eq!(total, sum);
        }
    }
}
