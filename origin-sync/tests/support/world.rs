//! Hubs and the origin's machine around a store, without sockets: messages are handed over until nobody has any.

use headwater::{
    command::{CommandError, Reply},
    exec::{self, Vantage, View},
    hub::{Connection, Hub, HubEffect, HubInput, Request},
    id::{HashSeed, Key, TimestampMs},
    origin::{self, Link, Origin, OriginConfig, OriginEffect, OriginInput, StableBy},
    store::Load,
};
use origin_sync::store::Store;
use std::collections::{BTreeMap, VecDeque};

use super::say::{bytes, flat, now};

/// Longer than any test lasts.
const AUDIT_MS: i64 = 86_400_000;

/// Longer than small values that are written to all the time wait for their next read, in milliseconds.
const PACE_MS: i64 = 50;

/// Batches that a slot may take to settle. Beyond it something goes in circles.
const STEPS_MAX: usize = 100_000;

pub struct World<'a, S> {
    store: &'a S,
    origin: Origin,
    hubs: Vec<Hub>,
    /// Ahead of the real time by as much as the machines asked to wait.
    now: TimestampMs,
    mail: VecDeque<Mail>,
    wakes: BTreeMap<Option<usize>, TimestampMs>,
    /// What hubs answered, by the requests.
    answers: BTreeMap<Request, Result<Reply, CommandError>>,
    requests: u64,
}

/// An input for a hub by its index, or for the origin.
#[allow(clippy::large_enum_variant, reason = "a test's queue holds few of them")]
enum Mail {
    Hub(usize, HubInput),
    Origin(OriginInput),
}

impl<'a, S: Store> World<'a, S> {
    pub fn new(store: &'a S, hubs: usize) -> Self {
        Self::of_daemon(0, store, hubs)
    }

    /// One of several daemons around the same store, each with hubs of its own.
    pub fn of_daemon(daemon: u64, store: &'a S, hubs: usize) -> Self {
        let now = now();
        let entropy = |index: u64| (daemon * 1000 + index + 1) << 32;
        let create = |index: usize| Hub::create(format!("test/{index}"), entropy(index as u64 + 1), now).0;
        let hubs: Vec<Hub> = (0..hubs).map(create).collect();
        let mail = (0..hubs.len()).map(|index| Mail::Origin(OriginInput::Opened(link(index)))).collect();
        Self {
            store,
            origin: Origin::new(config(store.run_id(), entropy(0))),
            hubs,
            now,
            mail,
            wakes: BTreeMap::new(),
            answers: BTreeMap::new(),
            requests: 0,
        }
    }

    /// The daemon lost its store: a new machine, new connections, the same hubs.
    pub fn begin_anew(&mut self, store: &'a S) {
        self.store = store;
        let entropy = self.now.0.unsigned_abs() << 20;
        self.origin = Origin::new(config(store.run_id(), entropy));
        self.mail.clear();
        self.wakes.remove(&None);
        for index in 0..self.hubs.len() {
            self.mail.push_back(Mail::Hub(index, HubInput::OriginClosed(Connection(0))));
            self.mail.push_back(Mail::Origin(OriginInput::Opened(link(index))));
        }
    }

    /// Executes at a hub, which need not be connected.
    pub fn execute(&mut self, hub: usize, words: &[&str]) -> Result<Reply, CommandError> {
        let commands = vec![words.iter().map(bytes).collect()];
        let input = HubInput::Commands { request: Request(0), commands, idempotency: None };
        let effects = self.hubs[hub].handle(input, self.now);
        let mut answer = None;
        for effect in &effects {
            if let HubEffect::Reply { replies, .. } = effect {
                answer = replies.first().cloned();
            }
        }
        self.perform_hub(hub, effects);
        answer.expect("a command that any hub answers at once")
    }

    /// Hands messages over until every hub's operations are in the store.
    pub async fn settle(&mut self) {
        for _ in 0..STEPS_MAX {
            if let Some(mail) = self.mail.pop_front() {
                self.deliver(mail).await;
            } else if self.hubs.iter().all(|hub| hub.status().pending == 0) {
                return;
            } else {
                self.wake();
            }
        }
        panic!("does not settle: {:?}", self.hubs.iter().map(Hub::status).collect::<Vec<_>>());
    }

    /// Says of keys that plain clients wrote there, and goes on until the daemon has looked and hubs have heard.
    pub async fn look(&mut self, names: &[&str]) {
        self.settle().await;
        self.mail.push_back(Mail::Origin(OriginInput::Touched(names.iter().map(super::say::key).collect())));
        // Until then every key's pace allows a read.
        let end = self.now.plus_ms(PACE_MS);
        self.settle().await;
        while self.now < end {
            self.wake();
            self.settle().await;
        }
    }

    /// What a hub answers, which may first ask the daemon for the key.
    pub async fn ask(&mut self, hub: usize, words: &[&str]) -> Vec<String> {
        self.ask_all(&[(hub, words)]).await.remove(0)
    }

    /// Why a hub refuses a command.
    pub async fn refusal(&mut self, hub: usize, words: &[&str]) -> String {
        let answers = self.answers_of(&[(hub, words)]).await;
        answers.into_iter().next().expect("an answer").expect_err("a refusal").to_string()
    }

    /// What hubs answer that are all asked before any message is handed over.
    pub async fn ask_all(&mut self, asked: &[(usize, &[&str])]) -> Vec<Vec<String>> {
        let answers = self.answers_of(asked).await.into_iter();
        answers.map(|answer| flat(answer.unwrap_or_else(|error| panic!("{asked:?}: {error}")))).collect()
    }

    async fn answers_of(&mut self, asked: &[(usize, &[&str])]) -> Vec<Result<Reply, CommandError>> {
        let mut requests = Vec::new();
        for (hub, words) in asked {
            self.requests += 1;
            let request = Request(self.requests);
            requests.push(request);
            let commands = vec![words.iter().map(bytes).collect()];
            let input = HubInput::Commands { request, commands, idempotency: None };
            let effects = self.hubs[*hub].handle(input, self.now);
            self.perform_hub(*hub, effects);
        }
        for _ in 0..STEPS_MAX {
            if requests.iter().all(|request| self.answers.contains_key(request)) {
                return requests.iter().filter_map(|request| self.answers.remove(request)).collect();
            }
            match self.mail.pop_front() {
                Some(mail) => self.deliver(mail).await,
                None => self.wake(),
            }
        }
        panic!("{asked:?} is not answered");
    }

    /// What a read command shows of the companion in the store.
    pub async fn read(&self, words: &[&str]) -> Reply {
        let command = headwater::command::parse(&words.iter().map(bytes).collect::<Vec<_>>()).unwrap();
        let key: Key = command.keys().next().unwrap().clone();
        let load = Load { slot: key.slot(), keys: vec![key], changed_after: None, plain: Vec::new() };
        let loaded = self.store.load(load).await.unwrap();
        let state = loaded.keys[0].1.as_ref().map(|companion| origin::key_state(companion).unwrap());
        let view = |_: &Key| View {
            state: state.as_ref().map(|state| state.view()),
            is_held: true,
            vantage: Vantage::NOWHERE,
        };
        exec::prepare(&command, view, self.now, 0).unwrap().reply
    }

    async fn deliver(&mut self, mail: Mail) {
        match mail {
            Mail::Hub(hub, input) => {
                let effects = self.hubs[hub].handle(input, self.now);
                self.perform_hub(hub, effects);
            }
            Mail::Origin(input) => {
                let effects = self.origin.handle(input, self.now);
                self.perform_origin(effects).await;
            }
        }
    }

    fn perform_hub(&mut self, hub: usize, effects: Vec<HubEffect>) {
        for effect in effects {
            match effect {
                HubEffect::ToOrigin(_, message) => {
                    self.mail.push_back(Mail::Origin(OriginInput::Hub(link(hub), message)));
                }
                HubEffect::Reply { request, replies, .. } => {
                    self.answers.extend(replies.into_iter().next().map(|reply| (request, reply)));
                }
                HubEffect::WakeAt(at) => drop(self.wakes.insert(Some(hub), at)),
                // Nothing restarts here, and there are no leaves.
                _ => {}
            }
        }
    }

    async fn perform_origin(&mut self, effects: Vec<OriginEffect>) {
        for effect in effects {
            match effect {
                OriginEffect::ToHub(Link(hub), message) => {
                    let hub = usize::try_from(hub).unwrap();
                    self.mail.push_back(Mail::Hub(hub, HubInput::Origin(Connection(0), message)));
                }
                OriginEffect::Load(load) => {
                    let loaded = self.store.load(load).await.unwrap();
                    self.mail.push_back(Mail::Origin(OriginInput::Loaded(loaded)));
                }
                OriginEffect::Commit(commit) => {
                    let slot = commit.slot;
                    let outcome = self.store.commit(commit).await.unwrap();
                    self.mail.push_back(Mail::Origin(OriginInput::Committed(slot, outcome)));
                }
                OriginEffect::Swap(swap) => {
                    let key = swap.key.clone();
                    let outcome = self.store.swap(swap).await.unwrap();
                    self.mail.push_back(Mail::Origin(OriginInput::Swapped(key, outcome)));
                }
                OriginEffect::WakeAt(at) => drop(self.wakes.insert(None, at)),
                OriginEffect::Close(_, reason) => panic!("the origin closes: {reason}"),
                OriginEffect::Run { .. } | OriginEffect::Jobs { .. } => panic!("nothing is passed through here"),
                OriginEffect::Listen(_) | OriginEffect::Unlisten(_) => panic!("nobody listens here"),
                OriginEffect::Foreign(key) => panic!("foreign: {key}"),
                OriginEffect::Adopted(_) | OriginEffect::Erased(_) => {}
                OriginEffect::Confirm(_) => panic!("what is stable goes by time here"),
            }
        }
    }

    /// Goes on to the earliest time that a machine asked for.
    fn wake(&mut self) {
        let earliest = self.wakes.iter().min_by_key(|(_, at)| **at).map(|(who, at)| (*who, *at));
        let (who, at) = earliest.expect("work is left, and nobody asks to be woken");
        self.wakes.remove(&who);
        self.now = self.now.max(at);
        self.mail.push_back(match who {
            Some(hub) => Mail::Hub(hub, HubInput::Tick),
            None => Mail::Origin(OriginInput::Tick),
        });
    }
}

fn link(hub: usize) -> Link {
    Link(hub as u64)
}

fn config(run_id: bytes::Bytes, entropy: u64) -> OriginConfig {
    OriginConfig {
        run_id,
        entropy,
        seed: HashSeed(1, 2),
        stable_by: StableBy::Window,
        loss_window_ms: 0,
        window_ms: 0,
        window_ms_max: 0,
        audit_ms: AUDIT_MS,
    }
}
