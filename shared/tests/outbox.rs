//! Jobs of a hub reach the origin exactly once and in order, whatever is lost between: messages and answers, connections,
//! the hub's memory, the daemon, and what Redis may lose within its loss window.

use bytes::Bytes;
use headwater::{
    command::{CommandError, Reply},
    hub::{Connection, Hub, HubEffect, HubInput, Request, RowId},
    id::{HashSeed, No, ReplicaId, TimestampMs},
    limits::VALUE_BYTES_MAX,
    message::{HubToOrigin, Job, OriginToHub},
    origin::{JobsDone, Link, Origin, OriginConfig, OriginEffect, OriginInput, StableBy},
    slot::Slot,
};
use proptest::prelude::*;
use std::collections::{BTreeMap, VecDeque};

const START: TimestampMs = TimestampMs(1_700_000_000_000);
const LOSS_WINDOW_MS: i64 = 1_000;
const STEP_MS: i64 = 100;

/// Two of one slot, and one of another.
const KEYS: [&str; 3] = ["{a}one", "{a}two", "b"];

/// What Redis has.
#[derive(Clone, Default)]
struct Server {
    lists: BTreeMap<Bytes, Vec<Bytes>>,
    numbers: BTreeMap<(ReplicaId, Slot), No>,
}

impl Server {
    /// What `commit.lua` does.
    fn run(&mut self, hub: ReplicaId, slot: Slot, jobs: Vec<Job>) -> JobsDone {
        let through = self.numbers.entry((hub, slot)).or_default();
        let mut replies = Vec::new();
        for (no, argv) in jobs.into_iter().filter(|(no, _)| *no > *through).collect::<Vec<_>>() {
            *through = no;
            let list = self.lists.entry(argv[1].clone()).or_default();
            list.extend_from_slice(&argv[2..]);
            replies.push((no, Ok(Reply::count(list.len()))));
        }
        JobsDone { hub, slot, through: *through, replies }
    }
}

/// A hub with its storage, a daemon, and what is on its way between them.
struct World {
    hub: Hub,
    rows: BTreeMap<Vec<u8>, Vec<u8>>,
    origin: Origin,
    server: Server,
    past: VecDeque<(TimestampMs, Server)>,
    now: TimestampMs,
    link: u64,
    up: VecDeque<HubToOrigin>,
    down: VecDeque<OriginToHub>,
    answered: BTreeMap<u64, (Result<Reply, CommandError>, bool)>,
    requests: u64,
    expected: BTreeMap<Bytes, Vec<Bytes>>,
}

fn origin(entropy: u64) -> Origin {
    Origin::new(OriginConfig {
        run_id: Bytes::from_static(b"run"),
        entropy: entropy << 32,
        seed: HashSeed(1, 2),
        stable_by: StableBy::Window,
        loss_window_ms: LOSS_WINDOW_MS,
        window_ms: 0,
        window_ms_max: 0,
        audit_ms: 86_400_000,
    })
}

impl World {
    fn away() -> Self {
        let (hub, effects) = Hub::create("eu/0".to_owned(), 1 << 32, START);
        let (server, answered, expected) = Default::default();
        let (origin, now, requests, link) = (origin(7), START, 0, 1);
        let (rows, past, up, down) = Default::default();
        let mut world = Self { hub, rows, origin, server, past, now, link, up, down, answered, requests, expected };
        world.perform_hub(effects);
        world
    }

    fn connected() -> Self {
        let mut world = Self::away();
        world.origin_input(OriginInput::Opened(Link(1)));
        world.pump();
        world
    }

    fn hub_input(&mut self, input: HubInput) {
        let effects = self.hub.handle(input, self.now);
        self.perform_hub(effects);
    }

    fn perform_hub(&mut self, effects: Vec<HubEffect>) {
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
                HubEffect::ToOrigin(Connection(link), message) if link == self.link => self.up.push_back(message),
                HubEffect::Reply { request, mut replies, provisional } => {
                    let reply = replies.pop().expect("a reply");
                    assert!(self.answered.insert(request.0, (reply, provisional)).is_none(), "answered twice");
                }
                _ => {}
            }
        }
    }

    fn origin_input(&mut self, input: OriginInput) {
        for effect in self.origin.handle(input, self.now) {
            match effect {
                OriginEffect::ToHub(Link(link), message) if link == self.link => self.down.push_back(message),
                OriginEffect::Jobs { link, hub, slot, jobs } => {
                    let done = self.server.run(hub, slot, jobs);
                    self.origin_input(OriginInput::JobsDone(link, done));
                }
                _ => {}
            }
        }
    }

    fn run(&mut self, argv: Vec<Bytes>, idempotency: Option<&'static str>) -> u64 {
        self.requests += 1;
        let request = Request(self.requests);
        let idempotency = idempotency.map(Bytes::from);
        self.hub_input(HubInput::Commands { request, commands: vec![argv], idempotency });
        self.requests
    }

    fn push(&mut self, key: &'static str, idempotency: Option<&'static str>) -> u64 {
        let value = Bytes::from((self.requests + 1).to_string());
        self.expected.entry(key.into()).or_default().push(value.clone());
        self.run(vec!["RPUSH".into(), key.into(), value], idempotency)
    }

    fn deliver_up(&mut self) {
        if let Some(message) = self.up.pop_front() {
            self.origin_input(OriginInput::Hub(Link(self.link), message));
        }
    }

    fn deliver_down(&mut self) {
        if let Some(message) = self.down.pop_front() {
            self.hub_input(HubInput::Origin(Connection(self.link), message));
        }
    }

    fn pump(&mut self) {
        for _ in 0..10_000 {
            if self.up.is_empty() && self.down.is_empty() {
                return;
            }
            self.deliver_up();
            self.deliver_down();
        }
        panic!("the machines do not come to rest");
    }

    /// All that is on its way is lost, and the daemon dials again.
    fn cut(&mut self) {
        self.up.clear();
        self.down.clear();
        self.origin_input(OriginInput::Closed(Link(self.link)));
        self.hub_input(HubInput::OriginClosed(Connection(self.link)));
        self.link += 1;
        self.origin_input(OriginInput::Opened(Link(self.link)));
    }

    fn restart_hub(&mut self) {
        let row = |(id, body): (&Vec<u8>, &Vec<u8>)| (RowId::from_bytes(id).unwrap(), body.clone());
        let rows: Vec<_> = self.rows.iter().map(row).collect();
        self.hub = Hub::restore("eu/0".to_owned(), rows).unwrap();
        self.hub_input(HubInput::Woken { leaves: vec![], origins: vec![Connection(self.link)] });
    }

    /// Redis loses what it may, and the daemon begins anew with it.
    fn roll_back(&mut self) {
        if let Some((_, before)) = self.past.front() {
            self.server = before.clone();
            self.past.clear();
        }
        self.origin = origin(self.link + 100);
        self.cut();
    }

    /// In steps, since a single one counts for a part of the loss window only.
    fn pass(&mut self, ms: i64) {
        (0..ms.div_euclid(STEP_MS)).for_each(|_| self.pass_step(STEP_MS));
        self.pass_step(ms.rem_euclid(STEP_MS));
    }

    /// Long enough for all that has run to be stable.
    fn outlast_the_loss_window(&mut self) {
        for _ in 0..4 {
            self.pass(LOSS_WINDOW_MS);
            self.pump();
        }
    }

    fn pass_step(&mut self, ms: i64) {
        self.now = self.now.plus_ms(ms);
        while self.past.front().is_some_and(|(at, _)| self.now.since_ms(*at) >= LOSS_WINDOW_MS) {
            self.past.pop_front();
        }
        self.past.push_back((self.now, self.server.clone()));
        self.hub_input(HubInput::Tick);
        self.origin_input(OriginInput::Tick);
    }

    fn jobs_stored(&self) -> usize {
        self.rows.keys().filter(|id| matches!(RowId::from_bytes(id), Some(RowId::Job(_)))).count()
    }
}

#[test]
fn with_the_origin_there_the_reply_is_that_of_redis() {
    let mut world = World::connected();
    let request = world.push("b", None);
    assert!(!world.answered.contains_key(&request), "answered before it ran");
    world.pump();
    assert_eq!(world.answered[&request], (Ok(Reply::Int(1)), false));
}

#[test]
fn with_the_origin_away_a_job_is_stored_answered_provisionally_and_delivered_later() {
    let mut world = World::away();
    let request = world.push("b", None);
    assert_eq!(world.answered[&request], (Ok(Reply::Nil), true));
    assert_eq!((world.jobs_stored(), world.hub.status().jobs), (1, 1));
    world.restart_hub();
    world.origin_input(OriginInput::Opened(Link(1)));
    world.pump();
    assert_eq!(world.server.lists, world.expected);
    assert_eq!(world.hub.status().jobs, 0);
}

#[test]
fn a_job_whose_answer_is_lost_runs_once() {
    let mut world = World::connected();
    let request = world.push("b", None);
    world.deliver_up();
    world.cut();
    assert_eq!(world.answered[&request], (Ok(Reply::Nil), true));
    world.pump();
    assert_eq!(world.server.lists, world.expected);
}

#[test]
fn a_job_is_kept_until_it_is_stable() {
    let mut world = World::connected();
    world.push("b", None);
    world.pump();
    assert_eq!((world.jobs_stored(), world.hub.status().jobs), (1, 0));
    world.outlast_the_loss_window();
    assert_eq!(world.jobs_stored(), 0);
}

#[test]
fn under_an_idempotency_key_a_job_is_taken_in_once() {
    let mut world = World::away();
    let first = world.push("b", Some("once"));
    let again = world.run(vec!["RPUSH".into(), "b".into(), "2".into()], Some("once"));
    assert_eq!(world.answered[&again], world.answered[&first]);
    assert_eq!(world.jobs_stored(), 1);
}

#[test]
fn an_error_of_redis_is_the_answer_and_the_job_is_done() {
    let mut world = World::connected();
    let request = world.push("b", None);
    let Some(HubToOrigin::Jobs { slot, jobs }) = world.up.pop_back() else { panic!("no jobs are sent") };
    let through = jobs[0].0;
    let replies = vec![(through, Err("WRONGTYPE no list".into()))];
    world.down.push_back(OriginToHub::JobsDone { slot, through, replies });
    world.pump();
    assert_eq!(world.answered[&request].0, Err(CommandError::AtOrigin("WRONGTYPE no list".into())));
    assert_eq!(world.hub.status().jobs, 0);
}

#[test]
fn a_full_outbox_takes_no_more_and_what_it_has_is_delivered() {
    let mut world = World::away();
    let value = Bytes::from(vec![b'x'; VALUE_BYTES_MAX]);
    let mut taken = 0;
    loop {
        let request = world.run(vec!["LPUSH".into(), "b".into(), value.clone()], None);
        match &world.answered[&request].0 {
            Ok(_) => taken += 1,
            Err(error) => {
                assert_eq!(*error, CommandError::OutboxFull);
                break;
            }
        }
    }
    assert!(taken > 3, "{taken}");
    world.origin_input(OriginInput::Opened(Link(1)));
    world.pump();
    assert_eq!(world.server.lists[&b"b"[..]].len(), taken);
}

/// The origin knows of a job that this hub has not numbered: the hub begins anew, under a name of which it knows nothing.
#[test]
fn a_hub_whose_storage_is_an_old_copy_gives_no_number_twice() {
    let mut world = World::connected();
    let copy = world.rows.clone();
    for _ in 0..5 {
        world.push("b", None);
    }
    world.pump();
    let before = world.hub.id();
    world.rows = copy;
    world.restart_hub();
    world.pump();
    world.push("b", None);
    world.pump();
    assert_ne!(world.hub.id(), before);
    world.push("b", None);
    world.pump();
    assert_eq!(world.server.lists[&b"b"[..]].last(), world.expected[&b"b"[..]].last());
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Push(usize),
    Up,
    Down,
    Cut,
    RestartHub,
    RollBack,
    Pass(i64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..KEYS.len()).prop_map(Step::Push),
        6 => Just(Step::Up),
        6 => Just(Step::Down),
        1 => Just(Step::Cut),
        1 => Just(Step::RestartHub),
        1 => Just(Step::RollBack),
        2 => (1..2 * LOSS_WINDOW_MS).prop_map(Step::Pass),
    ]
}

proptest! {
    #[test]
    fn each_job_arrives_once_and_in_order_whatever_is_lost(steps in prop::collection::vec(step(), 0..150)) {
        let mut world = World::connected();
        for step in steps {
            match step {
                Step::Push(key) => drop(world.push(KEYS[key], None)),
                Step::Up => world.deliver_up(),
                Step::Down => world.deliver_down(),
                Step::Cut => world.cut(),
                Step::RestartHub => world.restart_hub(),
                Step::RollBack => world.roll_back(),
                Step::Pass(ms) => world.pass(ms),
            }
        }
        world.cut();
        world.pump();
        prop_assert_eq!(&world.server.lists, &world.expected);
        world.outlast_the_loss_window();
        prop_assert_eq!(world.jobs_stored(), 0);
        prop_assert_eq!(&world.server.lists, &world.expected);
    }
}
