//! Requests that wait until the origin has what was written: they are answered by its commits and by nothing less.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use bytes::Bytes;
use headwater::{
    hub::{Connection, Hub, HubEffect, HubInput, Request},
    id::{Key, No, TimestampMs},
    message::OriginToHub,
    slot::Slot,
};

const START: TimestampMs = TimestampMs(1_700_000_000_000);
const DAEMON: Connection = Connection(1);
const WAITS: Request = Request(9);

fn words(line: &str) -> Vec<Bytes> {
    line.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect()
}

fn slot(key: &str) -> Slot {
    Slot::of(key.as_bytes())
}

struct Node {
    hub: Hub,
    now: TimestampMs,
}

impl Node {
    fn connected() -> Self {
        let (hub, _) = Hub::create("eu/0".to_owned(), 1 << 32, START);
        let mut node = Self { hub, now: START };
        node.origin(OriginToHub::Welcome { now: START, capabilities: Default::default() });
        node
    }

    /// What became of the request that waits, if it was answered now.
    fn give(&mut self, input: HubInput) -> Option<bool> {
        let effects = self.hub.handle(input, self.now);
        effects.into_iter().find_map(|effect| match effect {
            HubEffect::Committed(WAITS, is_committed) => Some(is_committed),
            _ => None,
        })
    }

    fn origin(&mut self, message: OriginToHub) -> Option<bool> {
        self.give(HubInput::Origin(DAEMON, message))
    }

    /// Runs a command, which the hub may send at once, and gives the last number that the hub used for it.
    fn run(&mut self, line: &str) -> u64 {
        self.origin(OriginToHub::Credit(1));
        self.give(HubInput::Commands { request: Request(1), commands: vec![words(line)], idempotency: None });
        self.hub.status().last_no
    }

    fn await_commit(&mut self, keys: &[&str]) -> Option<bool> {
        let keys = keys.iter().map(|key| Key::new((*key).to_owned()).unwrap()).collect();
        self.give(HubInput::AwaitCommit { request: WAITS, keys })
    }

    fn commit(&mut self, key: &str, no: u64) -> Option<bool> {
        self.origin(OriginToHub::Committed(vec![(slot(key), No(no))]))
    }
}

#[test]
fn every_slot_is_to_be_committed_as_far_as_it_was_written() {
    let mut node = Node::connected();
    let (first, other, second) = (node.run("SET a v"), node.run("SET b v"), node.run("SET a w"));
    assert_eq!(node.await_commit(&["a", "b"]), None);
    assert_eq!(node.commit("b", other), None);
    assert_eq!(node.commit("a", first), None, "the later write is not committed");
    // What is written from now on is not waited for.
    let third = node.run("SET a x");
    assert_eq!(node.commit("a", second), Some(true));
    assert_eq!(node.commit("a", third), None, "answered once");
    assert_eq!(node.await_commit(&["a", "b", "never"]), Some(true), "nothing is open");
}

#[test]
fn a_job_is_to_have_run() {
    let mut node = Node::connected();
    let (state, job) = (node.run("SET {list}state v"), node.run("RPUSH list a"));
    assert_eq!(node.await_commit(&["list"]), None);
    assert_eq!(node.commit("list", state), None, "a commit of the state says nothing of jobs");
    let done = OriginToHub::JobsDone { slot: slot("list"), through: No(job), replies: vec![] };
    assert_eq!(node.origin(done), Some(true));
}

#[test]
fn a_hub_that_finds_its_storage_to_be_an_old_copy_does_not_take_it_for_committed() {
    let mut node = Node::connected();
    node.run("SET a v");
    let last = node.run("RPUSH list a");
    assert_eq!(node.await_commit(&["a", "list"]), None);
    // The origin has heard of more than this hub knows to have done: it begins anew, and what it wrote is not there.
    assert_eq!(node.commit("a", last + 5), Some(false));
}

#[test]
fn where_the_origin_goes_or_time_is_up_it_is_told_that_it_is_not_committed() {
    let mut node = Node::connected();
    node.run("SET a v");
    assert_eq!(node.await_commit(&["a"]), None);
    node.now = START.plus_ms(9_999);
    assert_eq!(node.give(HubInput::Tick), None);
    node.now = START.plus_ms(10_000);
    assert_eq!(node.give(HubInput::Tick), Some(false));
    assert_eq!(node.await_commit(&["a"]), None, "asked again");
    assert_eq!(node.give(HubInput::OriginClosed(DAEMON)), Some(false));
    assert_eq!(node.await_commit(&["a"]), Some(false), "there is nobody to wait for");
}
