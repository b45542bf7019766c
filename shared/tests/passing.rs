//! Commands that pass through: what a hub asks of the origin, and what it answers when that answers, is away, or is lost.

use bytes::Bytes;
use headwater::{
    command::{CommandError, Reply},
    hub::{Connection, Hub, HubEffect, HubInput, Request, RowId},
    id::{Key, No, TimestampMs},
    limits::{RUN_BYTES_MAX, RUNS_MAX, VALUE_BYTES_MAX},
    message::{HubToOrigin, OriginToHub, RunReply},
    slot::Slot,
};
use std::collections::BTreeMap;

const NOW: TimestampMs = TimestampMs(1_700_000_000_000);
const DAEMON: Connection = Connection(1);

/// A hub with its storage, and what it last answered and asked.
struct Node {
    hub: Hub,
    rows: BTreeMap<Vec<u8>, Vec<u8>>,
    now: TimestampMs,
    asked: Vec<(u64, Vec<Vec<Bytes>>)>,
    /// Of what needs one agreed order, the hub's numbers that come before.
    after: Vec<Vec<(Slot, No)>>,
    answered: BTreeMap<u64, Vec<Result<Reply, CommandError>>>,
    requests: u64,
}

fn argv(line: &str) -> Vec<Bytes> {
    line.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect()
}

impl Node {
    fn away() -> Self {
        let (hub, effects) = Hub::create("eu/0".to_owned(), 1 << 32, NOW);
        let (rows, asked, after, answered) = Default::default();
        let mut node = Self { hub, rows, now: NOW, asked, after, answered, requests: 0 };
        node.perform(effects);
        node
    }

    fn connected() -> Self {
        let mut node = Self::away();
        node.origin(DAEMON, OriginToHub::Welcome { now: NOW, capabilities: Default::default() });
        node
    }

    fn give(&mut self, input: HubInput) {
        let effects = self.hub.handle(input, self.now);
        self.perform(effects);
    }

    fn origin(&mut self, daemon: Connection, message: OriginToHub) {
        self.give(HubInput::Origin(daemon, message));
    }

    fn ask_all(&mut self, commands: Vec<Vec<Bytes>>, idempotency: Option<&'static str>) -> u64 {
        self.requests += 1;
        let request = Request(self.requests);
        self.give(HubInput::Commands { request, commands, idempotency: idempotency.map(Bytes::from) });
        self.requests
    }

    fn ask(&mut self, line: &str) -> u64 {
        self.ask_all(vec![argv(line)], None)
    }

    fn answer(&mut self, replies: Vec<RunReply>) {
        let (call, commands) = self.asked.pop().expect("a call");
        assert_eq!(commands.len(), replies.len());
        self.origin(DAEMON, OriginToHub::Ran { call, replies });
    }

    fn perform(&mut self, effects: Vec<HubEffect>) {
        for effect in effects {
            match effect {
                HubEffect::Persist(writes) => {
                    for write in writes {
                        match write.body {
                            Some(body) => drop(self.rows.insert(write.id.to_bytes(), body.to_vec())),
                            None => drop(self.rows.remove(&write.id.to_bytes())),
                        }
                    }
                }
                HubEffect::ToOrigin(DAEMON, HubToOrigin::Run { call, commands }) => self.asked.push((call, commands)),
                HubEffect::ToOrigin(DAEMON, HubToOrigin::Order { call, after, commands, .. }) => {
                    self.after.push(after);
                    self.asked.push((call, commands));
                }
                HubEffect::Reply { request, replies, .. } => {
                    assert!(self.answered.insert(request.0, replies).is_none(), "a request is answered twice");
                }
                _ => {}
            }
        }
    }

    /// The machine made anew from its rows.
    fn restarted(self) -> Self {
        let row = |(id, body): (&Vec<u8>, &Vec<u8>)| (RowId::from_bytes(id).unwrap(), body.clone());
        let mut rows: Vec<_> = self.rows.iter().map(row).collect();
        rows.sort_by_key(|(id, _)| !matches!(id, RowId::Replica(_)));
        let hub = Hub::restore("eu/0".to_owned(), rows).unwrap();
        Self { hub, asked: Vec::new(), answered: BTreeMap::new(), ..self }
    }

    fn of(&self, request: u64) -> Option<&[Result<Reply, CommandError>]> {
        self.answered.get(&request).map(Vec::as_slice)
    }
}

#[test]
fn what_the_origin_answers_is_the_answer() {
    let mut node = Node::connected();
    let request = node.ask("RPUSHX jobs a b");
    assert_eq!(node.asked.last().unwrap().1, [argv("RPUSHX jobs a b")]);
    assert_eq!(node.of(request), None);
    node.answer(vec![Ok(Reply::Int(2))]);
    assert_eq!(node.of(request), Some(&[Ok(Reply::Int(2))][..]));
}

#[test]
fn an_error_of_redis_comes_back_as_it_is() {
    let mut node = Node::connected();
    let request = node.ask("LSET jobs 9 a");
    node.answer(vec![Err("ERR index out of range".into())]);
    let [Err(error)] = node.of(request).unwrap() else { panic!("{:?}", node.answered) };
    assert_eq!(error.to_string(), "ERR index out of range");
}

#[test]
fn with_the_origin_away_it_fails_at_once_and_nothing_is_asked_later() {
    let mut node = Node::away();
    let request = node.ask("LRANGE jobs 0 -1");
    assert_eq!(node.of(request), Some(&[Err(CommandError::OriginAway)][..]));
    node.origin(DAEMON, OriginToHub::Welcome { now: NOW, capabilities: Default::default() });
    assert!(node.asked.is_empty());
}

#[test]
fn an_answer_that_does_not_come_leaves_the_outcome_unknown() {
    let unknown = &[Err(CommandError::OutcomeUnknown)][..];
    let mut node = Node::connected();
    let cut_off = node.ask("RPOP jobs");
    node.give(HubInput::OriginClosed(DAEMON));
    assert_eq!(node.of(cut_off), Some(unknown));

    let mut node = Node::connected();
    let replaced = node.ask("RPOP jobs");
    node.origin(Connection(2), OriginToHub::Welcome { now: NOW, capabilities: Default::default() });
    assert_eq!(node.of(replaced), Some(unknown));

    let mut node = Node::connected();
    let late = node.ask("RPOP jobs");
    node.now = NOW.plus_ms(60_000);
    node.give(HubInput::Tick);
    assert_eq!(node.of(late), Some(unknown));
    // It is never asked for again, and what comes after all answers nobody.
    assert_eq!(node.asked.len(), 1);
    node.answer(vec![Ok(Reply::Nil)]);
}

#[test]
fn a_hub_that_waits_asks_to_be_woken() {
    let mut node = Node::connected();
    node.requests += 1;
    let commands = vec![argv("RPOP jobs")];
    let effects = node.hub.handle(HubInput::Commands { request: Request(1), commands, idempotency: None }, NOW);
    assert!(effects.iter().any(|effect| matches!(effect, HubEffect::WakeAt(_))), "{effects:?}");
}

#[test]
fn commands_of_both_kinds_are_answered_in_their_places() {
    let mut node = Node::connected();
    let lines = ["INCR n", "RPUSHX jobs a", "GET", "LLEN jobs", "PING"];
    let request = node.ask_all(lines.map(argv).to_vec(), None);
    assert_eq!(node.asked.last().unwrap().1, [argv("RPUSHX jobs a"), argv("LLEN jobs")]);
    node.answer(vec![Ok(Reply::Int(7)), Err("ERR no".into())]);
    let [Ok(Reply::Int(1)), Ok(Reply::Int(7)), Err(arity), Err(no), Ok(pong)] = node.of(request).unwrap() else {
        panic!("{:?}", node.answered)
    };
    assert_eq!((arity.to_string().starts_with("ERR wrong number"), no.to_string().as_str()), (true, "ERR no"));
    assert_eq!(*pong, Reply::simple("PONG"));
}

#[test]
fn no_key_of_it_becomes_a_key_of_the_hub() {
    let mut node = Node::connected();
    node.ask("RPUSHX jobs a");
    assert_eq!(node.hub.status().keys, 0);
}

#[test]
fn under_an_idempotency_key_it_runs_once() {
    let mut node = Node::connected();
    let commands = || vec![argv("RPUSHX jobs a")];
    let first = node.ask_all(commands(), Some("once"));
    // Before the first one is answered, a retry cannot be.
    let unknown = &[Err(CommandError::OutcomeUnknown)][..];
    let hasty = node.ask_all(commands(), Some("once"));
    assert_eq!(node.of(hasty), Some(unknown));
    assert_eq!(node.asked.len(), 1);
    node.answer(vec![Ok(Reply::Int(1))]);
    let again = node.ask_all(commands(), Some("once"));
    assert_eq!(node.of(first), Some(&[Ok(Reply::Int(1))][..]));
    assert_eq!(node.of(again), node.of(first));
    assert!(node.asked.is_empty());
}

#[test]
fn a_hub_that_restarts_while_it_runs_does_not_run_it_again_under_the_same_key() {
    let mut node = Node::connected();
    node.ask_all(vec![argv("RPUSHX jobs a")], Some("once"));
    let mut node = node.restarted();
    node.origin(DAEMON, OriginToHub::Welcome { now: NOW, capabilities: Default::default() });
    let again = node.ask_all(vec![argv("RPUSHX jobs a")], Some("once"));
    assert_eq!(node.of(again), Some(&[Err(CommandError::OutcomeUnknown)][..]));
    assert!(node.asked.is_empty());
}

#[test]
fn what_was_not_asked_is_not_remembered() {
    let mut node = Node::away();
    node.ask_all(vec![argv("RPUSHX jobs a")], Some("once"));
    node.origin(DAEMON, OriginToHub::Welcome { now: NOW, capabilities: Default::default() });
    node.ask_all(vec![argv("RPUSHX jobs a")], Some("once"));
    assert_eq!(node.asked.len(), 1);
}

#[test]
fn calls_under_way_and_their_bytes_are_bounded() {
    let mut node = Node::connected();
    for _ in 0..RUNS_MAX {
        node.ask("LLEN jobs");
    }
    let beyond = node.ask("LLEN jobs");
    assert_eq!(node.of(beyond), Some(&[Err(CommandError::TooManyAtOrigin)][..]));
    node.answer(vec![Ok(Reply::Int(0))]);

    let value = Bytes::from(vec![b'x'; VALUE_BYTES_MAX]);
    let push = vec![Bytes::from_static(b"RPUSHX"), Bytes::from_static(b"jobs"), value];
    let count = RUN_BYTES_MAX / VALUE_BYTES_MAX + 1;
    node.ask_all(vec![push; count], None);
    let (_, commands) = node.asked.last().unwrap();
    let bytes: usize = commands.iter().flatten().map(Bytes::len).sum();
    assert!(commands.len() < count && bytes <= RUN_BYTES_MAX, "{} commands of {bytes} bytes", commands.len());
}

fn slot(key: &'static str) -> Slot {
    Key::new(key).unwrap().slot()
}

#[test]
fn what_needs_one_order_names_what_the_hub_wrote_in_its_slots_until_that_is_stable() {
    let mut node = Node::connected();
    node.ask_all(["INCR a", "INCR b", "INCR a"].map(argv).to_vec(), None);
    node.ask("GETDEL a");
    assert_eq!(node.after.pop(), Some(vec![(slot("a"), No(3))]));
    node.ask("DBSIZE");
    let mut all = vec![(slot("a"), No(3)), (slot("b"), No(2))];
    all.sort();
    assert_eq!(node.after.pop(), Some(all));
    node.origin(DAEMON, OriginToHub::Credit(1));
    // The store may lose what is committed before this hub hears of it.
    node.origin(DAEMON, OriginToHub::Committed(vec![(slot("a"), No(3))]));
    node.ask("GETDEL a");
    assert_eq!(node.after.pop(), Some(vec![(slot("a"), No(3))]));
    node.origin(DAEMON, OriginToHub::Stable(vec![(slot("a"), No(3))]));
    node.ask("GETDEL a");
    assert_eq!(node.after.pop(), Some(vec![]));
}

#[test]
fn what_follows_a_command_in_one_order_waits_for_it() {
    let mut node = Node::connected();
    let lines = ["INCR n", "LLEN jobs", "SET k v NX", "SETNX k w", "INCR n", "GETDEL k", "INCR n"];
    let request = node.ask_all(lines.map(argv).to_vec(), None);
    assert_eq!(node.asked.last().unwrap().1, [argv("LLEN jobs")]);
    node.answer(vec![Ok(Reply::Int(7))]);
    assert_eq!(node.asked.last().unwrap().1, [argv("SET k v NX"), argv("SETNX k w")]);
    node.answer(vec![Ok(Reply::Ok), Ok(Reply::Int(0))]);
    assert_eq!(node.asked.last().unwrap().1, [argv("GETDEL k")]);
    assert_eq!(node.of(request), None);
    // The second INCR is before it, the third behind.
    assert_eq!(node.after.last().unwrap(), &vec![]);
    node.answer(vec![Err("ERR no".into())]);
    let [Ok(Reply::Int(1)), Ok(Reply::Int(7)), Ok(Reply::Ok), Ok(Reply::Int(0)), Ok(two), Err(no), Ok(three)] =
        node.of(request).unwrap()
    else {
        panic!("{:?}", node.answered)
    };
    assert_eq!((two, no.to_string().as_str(), three), (&Reply::Int(2), "ERR no", &Reply::Int(3)));
}

#[test]
fn another_daemon_is_greeted_before_it_is_asked_for_what_is_left() {
    let mut node = Node::connected();
    let request = node.ask_all(["GETDEL k", "INCR n", "GETDEL j"].map(argv).to_vec(), None);
    let effects = node.hub.handle(
        HubInput::Origin(Connection(2), OriginToHub::Welcome { now: NOW, capabilities: Default::default() }),
        NOW,
    );
    let at = |is: fn(&HubToOrigin) -> bool| {
        let sent = |effect: &HubEffect| matches!(effect, HubEffect::ToOrigin(Connection(2), message) if is(message));
        effects.iter().position(sent).unwrap()
    };
    let hello = at(|message| matches!(message, HubToOrigin::Hello { .. }));
    let order = at(|message| matches!(message, HubToOrigin::Order { .. }));
    assert!(hello < order);
    assert_eq!(node.of(request), None);
}

#[test]
fn a_retry_does_not_write_beside_a_request_that_is_not_done() {
    let mut node = Node::connected();
    let commands = || vec![argv("DBSIZE"), argv("INCR n")];
    let first = node.ask_all(commands(), Some("once"));
    let hasty = node.ask_all(commands(), Some("once"));
    let unknown = [Err(CommandError::OutcomeUnknown), Err(CommandError::OutcomeUnknown)];
    assert_eq!(node.of(hasty), Some(&unknown[..]));
    node.answer(vec![Ok(Reply::Int(5))]);
    assert_eq!(node.of(first), Some(&[Ok(Reply::Int(5)), Ok(Reply::Int(1))][..]));
    let again = node.ask_all(commands(), Some("once"));
    assert_eq!(node.of(again), node.of(first));
}
