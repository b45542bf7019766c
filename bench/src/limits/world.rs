//! Hubs around an origin on a virtual clock: the machines that ship, with a delay on each link, and links that part and
//! hubs that are killed where that is asked for.
//!
//! Nodes' clocks agree. The daemon's store takes a millisecond for each answer. Messages on a link keep their order; those on
//! a link that parts are lost.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, VecDeque},
};

use bytes::Bytes;
use headwater::{
    command::{CommandError, Reply},
    hub::{Connection, Hub, HubEffect, HubInput, Request, RowId},
    id::{HashSeed, TimestampMs},
    limit::{Algorithm, Limit},
    message::{HubToOrigin, OriginToHub},
    origin::{Link, Origin, OriginConfig, OriginEffect, OriginInput, StableBy},
};

use super::trace::{Asked, REGIONS};
use crate::store::Store;

/// When a trace begins, in milliseconds since the Unix epoch: the start of an hour, so that windows begin there too.
const START_MS: i64 = 1_699_999_200_000;

/// For how long the store may lose what was committed, in milliseconds.
const LOSS_WINDOW_MS: i64 = 60_000;

/// What the store takes to answer, in milliseconds.
const STORE_MS: i64 = 1;

/// How long after the last request its answer may come, in milliseconds.
const PATIENCE_MS: i64 = 30_000;

/// What goes wrong. Times are milliseconds since the trace began.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trouble {
    /// Nothing passes between a region and the origin.
    Partition {
        /// The region.
        region: usize,
        /// From then,
        from_ms: i64,
        /// until then.
        until_ms: i64,
    },
    /// A region's hub loses its memory and begins again from its rows.
    Kill {
        /// The region.
        region: usize,
        /// When.
        at_ms: i64,
    },
}

/// What was answered: when, to which request, and what.
pub type Answered = (i64, usize, Result<Reply, CommandError>);

/// All nodes.
#[derive(Debug)]
pub struct World {
    now: TimestampMs,
    link_ms: i64,
    hubs: Vec<Node>,
    origin: Origin,
    origin_wake_at: Option<TimestampMs>,
    store: Store,
    queue: BinaryHeap<Reverse<Scheduled>>,
    scheduled: u64,
    links: u64,
    answered: VecDeque<Answered>,
    ends_at: TimestampMs,
    is_strict: bool,
}

#[derive(Debug)]
struct Node {
    hub: Hub,
    rows: BTreeMap<Vec<u8>, Vec<u8>>,
    wake_at: Option<TimestampMs>,
    /// The link over which it speaks with the origin, if any.
    link: Option<u64>,
}

/// An event, in order of its time and then of when it was scheduled.
#[derive(Debug)]
struct Scheduled(TimestampMs, u64, Event);

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        (self.0, self.1) == (other.0, other.1)
    }
}

impl Eq for Scheduled {}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.0, self.1).cmp(&(other.0, other.1))
    }
}

#[allow(clippy::large_enum_variant, reason = "most are messages")]
#[derive(Debug)]
enum Event {
    Ask(usize, Request, Vec<Bytes>),
    ToHub(usize, u64, OriginToHub),
    ToOrigin(usize, u64, HubToOrigin),
    Store(OriginInput),
    HubWakes(usize),
    OriginWakes,
    Part(usize),
    Join(usize),
    Kill(usize),
}

impl World {
    /// So many regions that were connected to the origin shortly before, or as long before as it is silent and its loss window
    /// lasts.
    #[must_use]
    pub fn new(regions: usize, link_ms: i64, troubles: &[Trouble], silent_ms: i64, is_strict: bool) -> Self {
        let before_ms = if silent_ms > 0 { silent_ms + 2 * LOSS_WINDOW_MS } else { 0 };
        let now = TimestampMs(START_MS - before_ms);
        let mut world = Self {
            now,
            link_ms,
            hubs: Vec::new(),
            origin: origin(),
            origin_wake_at: None,
            store: Store::default(),
            queue: BinaryHeap::new(),
            scheduled: 0,
            links: 0,
            answered: VecDeque::new(),
            ends_at: TimestampMs(START_MS).plus_ms(PATIENCE_MS),
            is_strict,
        };
        for region in 0..regions {
            let (hub, effects) = Hub::create(name(region), (region as u64 + 1) << 32, now);
            world.hubs.push(Node { hub, rows: BTreeMap::new(), wake_at: None, link: None });
            world.perform_hub(region, effects);
            world.join(region);
        }
        let now = TimestampMs(START_MS);
        for trouble in troubles {
            match *trouble {
                Trouble::Partition { region, from_ms, until_ms } => {
                    world.at(now.plus_ms(from_ms), Event::Part(region));
                    world.at(now.plus_ms(until_ms), Event::Join(region));
                }
                Trouble::Kill { region, at_ms } => world.at(now.plus_ms(at_ms), Event::Kill(region)),
            }
        }
        world
    }

    /// Plans a request under a number of its own.
    pub fn ask(&mut self, asked: &Asked, number: usize, limit: &Limit) {
        let at = TimestampMs(START_MS).plus_ms(asked.at_ms);
        self.ends_at = self.ends_at.max(at.plus_ms(PATIENCE_MS));
        self.at(at, Event::Ask(asked.region, Request(number as u64), command(asked.key, limit, self.is_strict)));
    }

    /// Goes on until something is answered; none once all is.
    pub fn next_answer(&mut self) -> Option<Answered> {
        while self.answered.is_empty() {
            let Reverse(Scheduled(at, _, event)) = self.queue.pop()?;
            if at > self.ends_at {
                return None;
            }
            self.now = at;
            self.happen(event);
        }
        self.answered.pop_front()
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Ask(region, request, words) => {
                self.hub_input(region, HubInput::Commands { request, commands: vec![words], idempotency: None });
            }
            Event::ToHub(region, link, message) if self.hubs[region].link == Some(link) => {
                self.hub_input(region, HubInput::Origin(Connection(link), message));
            }
            Event::ToOrigin(region, link, message) if self.hubs[region].link == Some(link) => {
                self.origin_input(OriginInput::Hub(Link(link), message));
            }
            // It was on its way when the link parted.
            Event::ToHub(..) | Event::ToOrigin(..) => {}
            Event::Store(input) => self.origin_input(input),
            Event::HubWakes(region) => {
                if self.hubs[region].wake_at == Some(self.now) {
                    self.hubs[region].wake_at = None;
                    self.hub_input(region, HubInput::Tick);
                }
            }
            Event::OriginWakes => {
                if self.origin_wake_at == Some(self.now) {
                    self.origin_wake_at = None;
                    self.origin_input(OriginInput::Tick);
                }
            }
            Event::Part(region) => self.part(region),
            Event::Join(region) => self.join(region),
            Event::Kill(region) => {
                let is_joined = self.hubs[region].link.is_some();
                self.part(region);
                let rows = self.hubs[region].rows.iter();
                let rows = rows.map(|(id, body)| (RowId::from_bytes(id).expect("a row's id parses"), body.clone()));
                let rows: Vec<_> = rows.collect();
                self.hubs[region].hub = Hub::restore(name(region), rows).expect("a hub's own rows restore it");
                if is_joined {
                    self.join(region);
                }
            }
        }
    }

    fn part(&mut self, region: usize) {
        if let Some(link) = self.hubs[region].link.take() {
            self.origin_input(OriginInput::Closed(Link(link)));
            self.hub_input(region, HubInput::OriginClosed(Connection(link)));
        }
    }

    fn join(&mut self, region: usize) {
        if self.hubs[region].link.is_none() {
            self.links += 1;
            self.hubs[region].link = Some(self.links);
            self.origin_input(OriginInput::Opened(Link(self.links)));
        }
    }

    fn hub_input(&mut self, region: usize, input: HubInput) {
        let effects = self.hubs[region].hub.handle(input, self.now);
        self.perform_hub(region, effects);
    }

    fn perform_hub(&mut self, region: usize, effects: Vec<HubEffect>) {
        for effect in effects {
            match effect {
                HubEffect::Persist(rows) => {
                    let stored = &mut self.hubs[region].rows;
                    for row in rows {
                        match row.body {
                            Some(body) => stored.insert(row.id.to_bytes(), body.to_vec()),
                            None => stored.remove(&row.id.to_bytes()),
                        };
                    }
                }
                HubEffect::Reply { request, mut replies, .. } => {
                    let reply = replies.pop().expect("each request is one command");
                    self.answered.push_back((self.now.0 - START_MS, request.0 as usize, reply));
                }
                HubEffect::ToOrigin(Connection(link), message) => {
                    self.at(self.now.plus_ms(self.link_ms), Event::ToOrigin(region, link, message));
                }
                HubEffect::WakeAt(at) => {
                    let at = at.max(self.now);
                    self.hubs[region].wake_at = Some(at);
                    self.at(at, Event::HubWakes(region));
                }
                // There are no leaves, and nobody listens.
                HubEffect::ToLeaf(..)
                | HubEffect::Forward { .. }
                | HubEffect::Relayed(..)
                | HubEffect::Committed(..)
                | HubEffect::ToListeners(..) => {}
            }
        }
    }

    fn origin_input(&mut self, input: OriginInput) {
        for effect in self.origin.handle(input, self.now) {
            match effect {
                OriginEffect::ToHub(Link(link), message) => {
                    let Some(region) = self.hubs.iter().position(|node| node.link == Some(link)) else { continue };
                    self.at(self.now.plus_ms(self.link_ms), Event::ToHub(region, link, message));
                }
                OriginEffect::Load(load) => {
                    let loaded = self.store.load(&load, self.now);
                    self.at(self.now.plus_ms(STORE_MS), Event::Store(OriginInput::Loaded(loaded)));
                }
                OriginEffect::Commit(commit) => {
                    let outcome = self.store.commit(&commit, self.now);
                    self.at(self.now.plus_ms(STORE_MS), Event::Store(OriginInput::Committed(commit.slot, outcome)));
                }
                OriginEffect::Swap(swap) => {
                    let outcome = self.store.swap(&swap);
                    let swapped = OriginInput::Swapped(swap.key, outcome);
                    self.at(self.now.plus_ms(STORE_MS), Event::Store(swapped));
                }
                OriginEffect::WakeAt(at) => {
                    let at = at.max(self.now);
                    self.origin_wake_at = Some(at);
                    self.at(at, Event::OriginWakes);
                }
                OriginEffect::Close(_, reason) => panic!("the origin refused a hub: {reason}"),
                // Nobody sends commands of other types, or jobs.
                OriginEffect::Run { .. } | OriginEffect::Jobs { .. } => {}
                OriginEffect::Foreign(_) | OriginEffect::Adopted(_) | OriginEffect::Confirm(_) => {}
                OriginEffect::Erased(_) | OriginEffect::Listen(_) | OriginEffect::Unlisten(_) => {}
            }
        }
    }

    fn at(&mut self, at: TimestampMs, event: Event) {
        self.scheduled += 1;
        self.queue.push(Reverse(Scheduled(at, self.scheduled, event)));
    }
}

fn name(region: usize) -> String {
    format!("region{region}/0")
}

/// HW.LIMIT of a key by its rank.
fn command(key: usize, limit: &Limit, is_strict: bool) -> Vec<Bytes> {
    let algorithm = match limit.algorithm() {
        Algorithm::FixedWindow => "FIXED",
        Algorithm::SlidingWindow => "SLIDING",
        Algorithm::TokenBucket => "BUCKET",
    };
    let mut words = vec!["HW.LIMIT".to_owned(), format!("limit:{key}"), algorithm.to_owned()];
    words.extend([limit.per_window(), limit.window_ms()].map(|number| number.to_string()));
    if limit.algorithm() == Algorithm::TokenBucket {
        words.extend(["BURST".to_owned(), limit.capacity().to_string()]);
    }
    if is_strict {
        words.push("STRICT".to_owned());
    } else {
        words.extend(["NODES".to_owned(), REGIONS.to_string()]);
    }
    words.into_iter().map(Bytes::from).collect()
}

/// An origin as the daemon's settings make it by default.
fn origin() -> Origin {
    Origin::new(OriginConfig {
        run_id: Bytes::from_static(b"bench"),
        entropy: 1 << 40,
        seed: HashSeed(1, 2),
        stable_by: StableBy::Window,
        loss_window_ms: LOSS_WINDOW_MS,
        window_ms: 5,
        window_ms_max: 50,
        audit_ms: 600_000,
    })
}
