//! A world in memory for the tests: hubs, leaves and an origin over a store, driven by one synchronous pump.
//!
//! Nothing moves but by [`World::settle`] and [`World::advance`], so what runs between two of these is concurrent. Every
//! message passes through its wire form and every row through the hub's storage. No IO, so it runs on wasm too.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its own part")]

pub mod corpus;
pub mod history;
mod store;
pub mod targets;
pub mod text;

use bytes::Bytes;
use headwater::{
    command::{CommandError, Reply},
    hub::{Connection, Hub, HubConfig, HubEffect, HubInput, HubStatus, MemoryLimit, Request, RowId},
    id::{ClientId, HashSeed, Key, ReplicaId, TimestampMs},
    leaf::{Leaf, LeafEffect, LeafInput},
    message::{HubToOrigin, Lifetime, Mark, OriginToHub},
    origin::{JobsDone, Link, Origin, OriginConfig, OriginEffect, OriginInput, StableBy, key_state},
    standings::{RankedMember, StandingsQuery},
    state::KeyState,
    store::KeyCommit,
    wire,
};
use std::collections::{BTreeMap, VecDeque};
pub use store::Store;
use text::{argv, show};

/// When every world begins.
pub const START: TimestampMs = TimestampMs(1_700_000_000_000);

pub const SECOND: i64 = 1_000;
pub const MINUTE: i64 = 60 * SECOND;
pub const DAY: i64 = 24 * 60 * MINUTE;

/// How often a hub is looked at for what was lost unnoticed, in milliseconds.
pub const AUDIT_MS: i64 = 10 * MINUTE;

/// After a sleep: longer than the loss window and every grace, of which some follow another.
const SLEEP_LAST_MS: i64 = 5 * MINUTE;

/// How many deliveries one settlement may take: the machines must come to rest.
const DELIVERIES_MAX: usize = 100_000;

pub struct World {
    pub now: TimestampMs,
    pub store: Store,
    hubs: Vec<HubNode>,
    leaves: Vec<LeafNode>,
    origin: Origin,
    origin_wake_at: Option<TimestampMs>,
    queue: VecDeque<Event>,
    replies: BTreeMap<Request, Answered>,
    relays: BTreeMap<Request, (usize, Connection)>,
    foreign: Vec<Key>,
    /// How many keys' plain values were adopted.
    pub adopted: usize,
    /// The keys that the origin says are erased.
    pub erased: Vec<Key>,
    /// How many companions and plain values the origin read.
    pub reads: usize,
    /// How often a hub asked again because it could not join a delta.
    pub gaps: usize,
    /// The bytes that hubs and the daemon spent on finding and shipping what differs, both ways.
    pub compared_bytes: usize,
    next: u64,
    /// What each hub may hold.
    memory: Option<MemoryLimit>,
}

/// What a request was answered.
pub struct Answered {
    pub replies: Vec<Result<Reply, CommandError>>,
    pub provisional: bool,
}

struct HubNode {
    hub: Hub,
    rows: BTreeMap<Vec<u8>, Vec<u8>>,
    wake_at: Option<TimestampMs>,
    /// The present socket to the daemon.
    link: Option<u64>,
    /// Whether all that the daemon sends is lost.
    is_deaf: bool,
    /// Who it was before it lost its storage.
    former: Vec<ReplicaId>,
}

struct LeafNode {
    leaf: Leaf,
    /// The hub and the present socket there.
    socket: Option<(usize, Connection)>,
    refused: Vec<(Key, CommandError)>,
    wake_at: Option<TimestampMs>,
}

/// Whose timer it is.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Hub(usize),
    Leaf(usize),
    Origin,
}

enum Event {
    Hub(usize, HubInput),
    Leaf(usize, Connection, LeafInput),
    Origin(OriginInput),
}

impl World {
    /// So many hubs, each with the daemon at its side.
    pub fn new(hubs: usize) -> Self {
        Self::bounded(hubs, None)
    }

    /// So many hubs that may hold no more than this.
    pub fn bounded(hubs: usize, memory: Option<MemoryLimit>) -> Self {
        let mut world = Self {
            now: START,
            store: Store::default(),
            hubs: Vec::new(),
            leaves: Vec::new(),
            origin: Origin::new(origin_config(1)),
            origin_wake_at: None,
            queue: VecDeque::new(),
            replies: BTreeMap::new(),
            relays: BTreeMap::new(),
            foreign: Vec::new(),
            adopted: 0,
            erased: Vec::new(),
            reads: 0,
            gaps: 0,
            compared_bytes: 0,
            next: 0,
            memory,
        };
        for at in 0..hubs {
            // The first hub sorts first among replicas.
            let (hub, effects) = Hub::create(world.config(at), (at as u64 + 1) << 32, world.now);
            world.hubs.push(HubNode {
                hub,
                rows: BTreeMap::new(),
                wake_at: None,
                link: None,
                is_deaf: false,
                former: Vec::new(),
            });
            world.perform_hub(at, effects);
            world.join(at);
        }
        world.settle();
        world
    }

    /// Adds a leaf without a socket.
    pub fn add_leaf(&mut self) -> usize {
        let client = ClientId(self.leaves.len() as u128 + 1);
        self.leaves.push(LeafNode {
            leaf: Leaf::new(client, Lifetime::Tab),
            socket: None,
            refused: Vec::new(),
            wake_at: None,
        });
        self.leaves.len() - 1
    }

    /// Adds a leaf that follows `keys` at a hub, and waits until it has them.
    pub fn leaf_at(&mut self, hub: usize, keys: &[&str]) -> usize {
        let leaf = self.add_leaf();
        let keys = keys.iter().map(|key| self::key(key)).collect();
        let effects = self.leaves[leaf].leaf.handle(LeafInput::Subscribe(keys), self.now);
        self.perform_leaf(leaf, effects);
        self.connect(leaf, hub);
        self.settle();
        leaf
    }

    /// Shows a leaf so much of a board from now on.
    pub fn watch(&mut self, leaf: usize, name: &str, top: u32, members: &[&str]) {
        let members = members.iter().map(|member| Bytes::copy_from_slice(member.as_bytes())).collect();
        let input = LeafInput::Watch(key(name), StandingsQuery { top, members });
        let effects = self.leaves[leaf].leaf.handle(input, self.now);
        self.perform_leaf(leaf, effects);
        self.settle();
    }

    /// What a leaf shows of a board that it watches: the head, then the members asked for, as `rank member score`, with a `~`
    /// before a rank that is not exact.
    pub fn ranking(&self, leaf: usize, name: &str) -> Option<(String, String)> {
        let ranking = self.leaves[leaf].leaf.ranking(&key(name))?;
        let row = |row: &RankedMember| {
            let mark = if row.is_exact { "" } else { "~" };
            format!("{mark}{} {} {}", row.rank, String::from_utf8_lossy(&row.member), row.score)
        };
        let rows = |rows: &[RankedMember]| rows.iter().map(row).collect::<Vec<_>>().join(", ");
        Some((rows(&ranking.top), rows(&ranking.members)))
    }

    /// Opens a socket from a leaf to a hub.
    pub fn connect(&mut self, leaf: usize, hub: usize) {
        self.disconnect(leaf);
        let connection = Connection(self.fresh());
        self.leaves[leaf].socket = Some((hub, connection));
        self.queue.push_back(Event::Leaf(leaf, connection, LeafInput::Opened));
    }

    /// Ends a leaf's socket; what was on its way on it is lost.
    pub fn disconnect(&mut self, leaf: usize) {
        let Some((hub, connection)) = self.leaves[leaf].socket.take() else { return };
        self.queue.push_back(Event::Hub(hub, HubInput::LeafClosed(connection)));
        let effects = self.leaves[leaf].leaf.handle(LeafInput::Closed, self.now);
        self.perform_leaf(leaf, effects);
    }

    /// The daemon dials a hub.
    pub fn join(&mut self, hub: usize) {
        let link = self.fresh();
        self.hubs[hub].link = Some(link);
        self.hubs[hub].is_deaf = false;
        self.queue.push_back(Event::Origin(OriginInput::Opened(Link(link))));
    }

    /// Ends the socket between the daemon and a hub; what was on its way on it is lost.
    pub fn part(&mut self, hub: usize) {
        let Some(link) = self.hubs[hub].link.take() else { return };
        self.give_hub(hub, HubInput::OriginClosed(Connection(link)));
        self.give_origin(OriginInput::Closed(Link(link)));
    }

    /// From now on what the daemon sends to a hub is lost, until [`World::join`].
    pub fn deafen(&mut self, hub: usize) {
        self.hubs[hub].is_deaf = true;
    }

    /// Throws a hub's machine away and rebuilds it from its rows, its sockets still open.
    pub fn restart_hub(&mut self, hub: usize) {
        let config = self.config(hub);
        let node = &mut self.hubs[hub];
        let mut rows: Vec<(RowId, Vec<u8>)> = node.rows.iter().map(row).collect();
        // As a shell reads them that spares notes of what is stable.
        rows.sort_by_key(|(id, _)| match id {
            RowId::Replica(_) => 0,
            RowId::Slot(_) => 1,
            _ => 2,
        });
        let status = |hub: &Hub| (HubStatus { memory_bytes: 0, ..hub.status() }, hub.keys(), hub.is_settled());
        let other =
            Hub::restore(config.clone(), node.rows.iter().map(row)).expect("rows restore it in their order too");
        node.hub = Hub::restore(config, rows).expect("rows that a hub wrote restore it");
        assert_eq!(status(&node.hub), status(&other));
        node.wake_at = None;
        let leaves = self.leaves.iter().filter_map(|leaf| leaf.socket).filter(|(at, _)| *at == hub);
        let leaves = leaves.map(|(_, connection)| connection).collect();
        let origins = node.link.map(Connection).into_iter().collect();
        self.give_hub(hub, HubInput::Woken { leaves, origins });
    }

    /// A hub's storage is set back to an old copy of its rows, and its sockets are closed.
    pub fn restore_hub(&mut self, hub: usize, rows: BTreeMap<Vec<u8>, Vec<u8>>) {
        self.part(hub);
        for leaf in 0..self.leaves.len() {
            if self.leaves[leaf].socket.is_some_and(|(at, _)| at == hub) {
                self.disconnect(leaf);
            }
        }
        self.settle();
        self.hubs[hub].rows = rows;
        self.restart_hub(hub);
        self.settle();
    }

    /// A hub loses its storage and begins anew under another identity; the directory knows both.
    pub fn replace_hub(&mut self, hub: usize) {
        let entropy = (self.fresh() + 100) << 32;
        let (machine, effects) = Hub::create(self.config(hub), entropy, self.now);
        let node = &mut self.hubs[hub];
        node.former.push(node.hub.id());
        node.hub = machine;
        node.rows.clear();
        node.wake_at = None;
        self.perform_hub(hub, effects);
        self.join(hub);
    }

    /// Throws the daemon's machine away; the server has a new run id when `run` changes.
    pub fn restart_origin(&mut self, run: u64) {
        self.origin = Origin::new(origin_config(run));
        self.origin_wake_at = None;
        for hub in 0..self.hubs.len() {
            let Some(link) = self.hubs[hub].link.take() else { continue };
            self.give_hub(hub, HubInput::OriginClosed(Connection(link)));
            self.join(hub);
        }
    }

    /// Runs a command at a hub as over HTTP. Waits for the key if the hub has to; else nothing else moves.
    pub fn run(&mut self, hub: usize, line: &str) -> String {
        let answered = self.pipeline(hub, &[line], None);
        show(&answered.replies[0])
    }

    /// Runs several commands in one request.
    pub fn pipeline(&mut self, hub: usize, lines: &[&str], idempotency: Option<&str>) -> Answered {
        let request = self.begin_as(hub, lines, idempotency);
        if !self.replies.contains_key(&request) {
            self.settle();
        }
        self.replies.remove(&request).unwrap_or_else(|| panic!("{lines:?} was not answered"))
    }

    /// Gives a hub several commands in one request, and waits for nothing.
    pub fn begin(&mut self, hub: usize, lines: &[&str]) -> Request {
        self.begin_as(hub, lines, None)
    }

    /// Likewise under an idempotency key.
    pub fn begin_as(&mut self, hub: usize, lines: &[&str], idempotency: Option<&str>) -> Request {
        let request = Request(self.fresh());
        let commands = lines.iter().map(|line| argv(line)).collect();
        let idempotency = idempotency.map(|key| key.to_owned().into());
        self.give_hub(hub, HubInput::Commands { request, commands, idempotency });
        request
    }

    /// Gives a hub a command of a client that has seen so much, and waits for nothing.
    pub fn begin_after(&mut self, hub: usize, marks: &[Mark], line: &str) -> Request {
        self.begin_after_as(hub, marks, line, None)
    }

    /// Likewise under an idempotency key.
    pub fn begin_after_as(&mut self, hub: usize, marks: &[Mark], line: &str, idempotency: Option<&str>) -> Request {
        let request = Request(self.fresh());
        let (marks, commands) = (marks.to_vec(), vec![argv(line)]);
        let idempotency = idempotency.map(|key| key.to_owned().into());
        self.give_hub(hub, HubInput::SessionCommands { marks, request, commands, idempotency });
        request
    }

    /// Whether a request was answered and the answer not taken.
    pub fn is_answered(&self, request: Request) -> bool {
        self.replies.contains_key(&request)
    }

    /// What a request was answered.
    pub fn take(&mut self, request: Request) -> Vec<Result<Reply, CommandError>> {
        self.replies.remove(&request).expect("an answer").replies
    }

    /// Runs a command in a leaf.
    pub fn run_leaf(&mut self, leaf: usize, line: &str) -> String {
        show(&self.leaf_reply(leaf, line))
    }

    /// Runs a command in a leaf, and gives the reply itself.
    pub fn leaf_reply(&mut self, leaf: usize, line: &str) -> Result<Reply, CommandError> {
        let (reply, effects) = self.leaves[leaf].leaf.command(&argv(line), self.now);
        self.perform_leaf(leaf, effects);
        reply
    }

    /// A plain client's command at the store, of which the server tells the daemon.
    pub fn plain(&mut self, line: &str) {
        self.plain_unheard(line);
        let key = key(line.split(' ').nth(1).expect("the command names a key"));
        self.queue.push_back(Event::Origin(OriginInput::Touched(vec![key])));
    }

    /// The operator has what stands at a key removed, as the daemon does it.
    pub fn discard(&mut self, name: &str) {
        self.queue.push_back(Event::Origin(OriginInput::Discarding(key(name))));
        self.plain(&format!("UNLINK {name}"));
    }

    /// A plain client's command at the store, of which nobody hears.
    pub fn plain_unheard(&mut self, line: &str) {
        self.store.run(&argv(line));
    }

    /// Lets every hub hold these keys.
    pub fn hold(&mut self, keys: &[&str]) {
        for hub in 0..self.hubs.len() {
            for key in keys {
                self.run(hub, &format!("EXISTS {key}"));
            }
        }
        self.settle();
    }

    /// Delivers until nothing is under way.
    pub fn settle(&mut self) {
        for _ in 0..DELIVERIES_MAX {
            let Some(event) = self.queue.pop_front() else { return };
            match event {
                Event::Hub(hub, input) => self.give_hub(hub, input),
                Event::Origin(input) => self.give_origin(input),
                Event::Leaf(leaf, connection, input) => {
                    if self.leaves[leaf].socket.is_some_and(|(_, present)| present == connection) {
                        let effects = self.leaves[leaf].leaf.handle(input, self.now);
                        self.perform_leaf(leaf, effects);
                    }
                }
            }
        }
        panic!("the machines do not come to rest");
    }

    /// Lets time pass with all timers, delivering what they cause.
    pub fn advance(&mut self, ms: i64) {
        let end = self.now.plus_ms(ms);
        self.settle();
        loop {
            let hubs = self.hubs.iter().enumerate().filter_map(|(at, node)| Some((node.wake_at?, Timer::Hub(at))));
            let leaves = self.leaves.iter().enumerate().filter_map(|(at, node)| Some((node.wake_at?, Timer::Leaf(at))));
            let origin = self.origin_wake_at.map(|at| (at, Timer::Origin));
            let Some((at, who)) = hubs.chain(leaves).chain(origin).min().filter(|(at, _)| *at <= end) else { break };
            self.now = self.now.max(at);
            match who {
                Timer::Hub(hub) => {
                    self.hubs[hub].wake_at = None;
                    self.give_hub(hub, HubInput::Tick);
                }
                Timer::Leaf(leaf) => {
                    self.leaves[leaf].wake_at = None;
                    let effects = self.leaves[leaf].leaf.handle(LeafInput::Tick, self.now);
                    self.perform_leaf(leaf, effects);
                }
                Timer::Origin => {
                    self.origin_wake_at = None;
                    self.give_origin(OriginInput::Tick);
                }
            }
            self.settle();
        }
        self.now = end;
    }

    /// Lets a long time pass: the machines sleep through all but its last minutes, and meet the timers that fell due all
    /// late. What they do once a second is then not done for a day of seconds.
    pub fn sleep(&mut self, ms: i64) {
        self.advance(MINUTE.min(ms));
        let last = SLEEP_LAST_MS.min(ms - MINUTE.min(ms));
        self.skip(ms - MINUTE.min(ms) - last);
        self.advance(last);
    }

    /// Lets time pass without any timer: all that happens at one instant each is still ordered.
    pub fn skip(&mut self, ms: i64) {
        self.now = self.now.plus_ms(ms);
    }

    /// Settles, demands that all nodes agree on the command's key, and gives the reply that every hub has.
    pub fn agreed(&mut self, line: &str) -> String {
        self.settle();
        self.assert_agreement(line.split(' ').nth(1).expect("the command names a key"));
        let replies: Vec<String> = (0..self.hubs.len()).map(|hub| self.run(hub, line)).collect();
        assert!(replies.windows(2).all(|pair| pair[0] == pair[1]), "{line}: {replies:?}");
        replies[0].clone()
    }

    /// Demands that hubs, companion, plain value and the leaves with sockets show the same key.
    pub fn assert_agreement(&self, name: &str) {
        assert_eq!(self.foreign, [], "no foreign value stands anywhere");
        let key = key(name);
        let companion = self.store.companion(&key, self.now);
        let origin = companion.map(|c| key_state(c).expect("a companion that the origin wrote decodes"));
        let origin = origin.unwrap_or_default();
        let expected = text::view(origin.view(), self.now);
        for (at, node) in self.hubs.iter().enumerate().filter(|(_, node)| node.link.is_some()) {
            let Some(state) = node.hub.key(&key) else { continue };
            assert_eq!(text::view(state, self.now), expected, "{name} at hub {at} against the origin");
        }
        for (at, node) in self.leaves.iter().enumerate().filter(|(_, node)| node.socket.is_some()) {
            let Some(state) = node.leaf.key(&key) else { continue };
            assert_eq!(text::view(state.view(), self.now), expected, "{name} at leaf {at} against the origin");
        }
        assert_eq!(self.store.plain_view(&key, self.now), expected, "{name} as a plain client sees it");
    }

    /// A key's state at a hub.
    pub fn state(&self, hub: usize, name: &str) -> KeyState {
        self.hubs[hub].hub.key(&key(name)).map(KeyState::from).unwrap_or_default()
    }

    /// A hub's machine.
    pub fn hub(&self, hub: usize) -> &Hub {
        &self.hubs[hub].hub
    }

    /// When a hub asked to be woken.
    pub fn wake_at(&self, hub: usize) -> Option<TimestampMs> {
        self.hubs[hub].wake_at
    }

    /// A leaf's machine.
    pub fn leaf(&self, leaf: usize) -> &Leaf {
        &self.leaves[leaf].leaf
    }

    /// A hub's rows by their primary keys.
    pub fn rows(&self, hub: usize) -> &BTreeMap<Vec<u8>, Vec<u8>> {
        &self.hubs[hub].rows
    }

    /// What hubs refused a leaf, since the last time it was asked.
    pub fn refused(&mut self, leaf: usize) -> Vec<String> {
        let refused = std::mem::take(&mut self.leaves[leaf].refused);
        refused.iter().map(|(key, cause)| format!("{key}: {cause}")).collect()
    }

    /// At which keys the daemon found what it does not touch, since the last time it was asked.
    pub fn foreign(&mut self) -> Vec<Key> {
        std::mem::take(&mut self.foreign)
    }

    /// The operator has keys erased.
    pub fn erase(&mut self, keys: &[&str]) {
        let keys = keys.iter().map(|name| key(name)).collect();
        self.queue.push_back(Event::Origin(OriginInput::Erase(keys)));
        self.settle();
    }

    /// Gives a hub a message on its present socket to the daemon.
    pub fn tell(&mut self, hub: usize, message: &OriginToHub) {
        let link = self.hubs[hub].link.expect("the hub has a daemon");
        self.give_hub(hub, HubInput::Origin(Connection(link), carried(message)));
    }

    fn config(&self, hub: usize) -> HubConfig {
        HubConfig { memory: self.memory, ..HubConfig::from(format!("hub-{hub}")) }
    }

    fn fresh(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn give_hub(&mut self, hub: usize, input: HubInput) {
        let node = &mut self.hubs[hub];
        let before = node.hub.id();
        let effects = node.hub.handle(input, self.now);
        if node.hub.id() != before {
            node.former.push(before);
        }
        self.perform_hub(hub, effects);
    }

    fn give_origin(&mut self, input: OriginInput) {
        let effects = self.origin.handle(input, self.now);
        for effect in effects {
            match effect {
                OriginEffect::ToHub(Link(link), message) => {
                    let is_comparing = matches!(
                        message,
                        OriginToHub::Compare { .. } | OriginToHub::Exchange { .. } | OriginToHub::Compared(_)
                    );
                    self.compared_bytes += if is_comparing { framed(&message) } else { 0 };
                    if let Some(hub) = self.hub_of(link).filter(|hub| !self.hubs[*hub].is_deaf) {
                        let input = HubInput::Origin(Connection(link), carried(&message));
                        self.queue.push_back(Event::Hub(hub, input));
                    }
                }
                OriginEffect::Close(Link(link), _) => {
                    if let Some(hub) = self.hub_of(link) {
                        self.hubs[hub].link = None;
                        self.queue.push_back(Event::Hub(hub, HubInput::OriginClosed(Connection(link))));
                    }
                }
                OriginEffect::Load(load) => {
                    self.reads += load.keys.len() + load.plain.len();
                    let loaded = self.store.load(&load, self.now);
                    self.queue.push_back(Event::Origin(OriginInput::Loaded(loaded)));
                }
                OriginEffect::Commit(commit) => {
                    let outcome = self.store.commit(&commit, self.now);
                    let is_written = |key: &&KeyCommit| !key.plain.commands.is_empty();
                    let written = commit.keys.iter().filter(is_written).map(|key| key.key.clone()).collect();
                    self.queue.push_back(Event::Origin(OriginInput::Committed(commit.slot, outcome)));
                    // The server tells of own commits too, perhaps before it answers.
                    self.give_origin(OriginInput::Touched(written));
                }
                OriginEffect::Run { link, call, commands, .. } => {
                    let replies = commands.iter().map(|argv| self.run_at_server(argv)).collect();
                    self.queue.push_back(Event::Origin(OriginInput::Ran(link, call, replies)));
                }
                OriginEffect::Jobs { link, hub, slot, jobs } => {
                    let through = jobs.last().expect("some jobs").0;
                    let done = JobsDone { hub, slot, through, replies: Vec::new() };
                    self.queue.push_back(Event::Origin(OriginInput::JobsDone(link, done)));
                }
                OriginEffect::Swap(swap) => {
                    let outcome = self.store.swap(&swap);
                    self.queue.push_back(Event::Origin(OriginInput::Swapped(swap.key, outcome)));
                }
                OriginEffect::Foreign(key) => self.foreign.push(key),
                OriginEffect::Adopted(keys) => self.adopted += keys,
                OriginEffect::Erased(key) => self.erased.push(key),
                OriginEffect::Confirm(_) => panic!("what is stable goes by time here"),
                OriginEffect::Listen(_) | OriginEffect::Unlisten(_) => panic!("nobody listens here"),
                OriginEffect::WakeAt(at) => self.origin_wake_at = Some(at),
            }
        }
    }

    /// What the daemon answers to a command that is run beside the machine: only what FLUSHDB asks of it.
    fn run_at_server(&self, argv: &[Bytes]) -> Result<Reply, Box<str>> {
        match argv.first().map(Bytes::as_ref) {
            Some(b"FLUSHDB") => Ok(Reply::Ok),
            Some(b"SCAN") => {
                let names = self.store.names().map(|key| Reply::Bulk(Bytes::copy_from_slice(key.as_bytes())));
                Ok(Reply::Array(vec![Reply::Bulk("0".into()), names.collect()]))
            }
            _ => Err("ERR there is no server".into()),
        }
    }

    fn hub_of(&self, link: u64) -> Option<usize> {
        self.hubs.iter().position(|node| node.link == Some(link))
    }

    fn perform_hub(&mut self, hub: usize, effects: Vec<HubEffect>) {
        for (at, effect) in effects.into_iter().enumerate() {
            match effect {
                HubEffect::Persist(rows) => {
                    assert_eq!(at, 0, "persisting comes first");
                    for row in rows {
                        let id = row.id.to_bytes();
                        match row.body {
                            Some(body) => self.hubs[hub].rows.insert(id, body.to_vec()),
                            None => self.hubs[hub].rows.remove(&id),
                        };
                    }
                }
                HubEffect::Reply { request, replies, provisional } => {
                    self.replies.insert(request, Answered { replies, provisional });
                }
                HubEffect::ToLeaf(connection, message) => {
                    let leaf = self.leaves.iter().position(|leaf| leaf.socket == Some((hub, connection)));
                    if let Some(leaf) = leaf {
                        let input = LeafInput::Hub(carried(&message));
                        self.queue.push_back(Event::Leaf(leaf, connection, input));
                    }
                }
                HubEffect::ToOrigin(connection, message) => {
                    if self.hubs[hub].link == Some(connection.0) {
                        let is_comparing = matches!(
                            message,
                            HubToOrigin::Lost(_) | HubToOrigin::Digests { .. } | HubToOrigin::Exchanged { .. }
                        );
                        self.compared_bytes += if is_comparing { framed(&message) } else { 0 };
                        self.gaps += usize::from(matches!(message, HubToOrigin::Gap(..)));
                        let input = OriginInput::Hub(Link(connection.0), carried(&message));
                        self.queue.push_back(Event::Origin(input));
                    }
                }
                HubEffect::Forward { connection, hub: other, message } => {
                    let request = Request(self.fresh());
                    if let Some(other) =
                        self.hubs.iter().position(|node| node.hub.id() == other || node.former.contains(&other))
                    {
                        self.relays.insert(request, (hub, connection));
                        self.queue.push_back(Event::Hub(other, HubInput::Relay(request, carried(&message))));
                    }
                }
                HubEffect::Relayed(request, message) => {
                    if let Some((asking, connection)) = self.relays.remove(&request) {
                        let input = HubInput::Forwarded(connection, carried(&message));
                        self.queue.push_back(Event::Hub(asking, input));
                    }
                }
                HubEffect::ToListeners(..) => panic!("nobody listens here"),
                HubEffect::Committed(..) => panic!("nobody waits for commits here"),
                HubEffect::WakeAt(at) => self.hubs[hub].wake_at = Some(at),
            }
        }
    }

    fn perform_leaf(&mut self, leaf: usize, effects: Vec<LeafEffect>) {
        for effect in effects {
            match effect {
                LeafEffect::Send(message) => {
                    if let Some((hub, connection)) = self.leaves[leaf].socket {
                        self.queue.push_back(Event::Hub(hub, HubInput::Leaf(connection, carried(&message))));
                    }
                }
                LeafEffect::Refused(key, cause) => self.leaves[leaf].refused.push((key, cause)),
                LeafEffect::Redial => {
                    if let Some((hub, _)) = self.leaves[leaf].socket {
                        self.connect(leaf, hub);
                    }
                }
                LeafEffect::WakeAt(at) => self.leaves[leaf].wake_at = Some(at),
                LeafEffect::Changed(_) | LeafEffect::Persist(_) => {}
                LeafEffect::Forward { .. } | LeafEffect::Share(_) | LeafEffect::Again(_) => {
                    panic!("these leaves have no other tabs")
                }
            }
        }
    }
}

/// A key of this name.
pub fn key(name: &str) -> Key {
    Key::new(name.to_owned()).expect("tests name short keys")
}

fn origin_config(run: u64) -> OriginConfig {
    OriginConfig {
        run_id: format!("run-{run}").into(),
        entropy: run << 56 | 0xabc << 16,
        seed: HashSeed(run, 7),
        stable_by: StableBy::Window,
        loss_window_ms: 1_000,
        window_ms: 0,
        window_ms_max: 0,
        audit_ms: AUDIT_MS,
    }
}

fn row((id, body): (&Vec<u8>, &Vec<u8>)) -> (RowId, Vec<u8>) {
    let id = RowId::from_bytes(id).unwrap_or_else(|| panic!("{id:?} is the key of no row"));
    (id, body.clone())
}

/// The bytes of the message's frame.
fn framed<M: wire::Message>(message: &M) -> usize {
    wire::encode(message).expect("a machine's message fits a frame").len()
}

/// The message as the other end decodes it.
fn carried<M: wire::Message>(message: &M) -> M {
    let frame = wire::encode(message).expect("a machine's message fits a frame");
    wire::decode(&frame).expect("a machine's message is valid")
}
