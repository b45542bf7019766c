//! The task that owns the machine: inputs in, effects out, for one connection to the store.
//!
//! Nothing here decides. Store requests run as tasks of their own and come back as inputs; sockets are elsewhere and are
//! reached through their outboxes. When the store fails in any way the task ends, and with it everything that was believed
//! of that store: the machine, and every hub's socket.

use crate::{
    clock,
    clocks::Clocks,
    daemon::DaemonConfig,
    measure::{self, CommitSize},
    outbox::{Outbox, Refused},
    report::{Connected, HubAddress, Report},
    run,
    store::{AnyStore, Heard, Jobs, JobsRun, Store, StoreError, Touches},
    trace,
};
use bytes::Bytes;
use headwater::{
    command::Family,
    id::{HashSeed, Key},
    message::{HubToOrigin, OriginToHub, RefusalCause},
    namespace::Namespace,
    origin::{JobsDone, Link, LinkStatus, Origin, OriginConfig, OriginEffect, OriginInput},
    slot::Slot,
    store::{Commit, LedgerSwap, Load, Loaded, Outcome},
    topic::Topic,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::{
    sync::{mpsc, oneshot},
    task::{JoinError, JoinSet},
    time::{Instant, MissedTickBehavior, interval, sleep, sleep_until},
};
use tracing::{Instrument, Span};

/// Inputs that wait. Sockets are not read while it is full.
pub(crate) const INPUTS_MAX: usize = 256;

/// The time between two looks at a hub for what the store lost unnoticed, in milliseconds. Each looks at some 4000 keys and
/// wakes a hub that sleeps, so that a hub of a million keys is gone through in two days and sleeps most of them.
const AUDIT_MS: i64 = 600_000;

/// The time between two questions to the store what is stable. Each is some commands, whatever was committed meanwhile.
const CONFIRM_INTERVAL: Duration = Duration::from_millis(250);

/// How often the store is asked for a sign of life.
const PING_INTERVAL: Duration = Duration::from_secs(2);

/// A slot whose commits are refused that often in a row is not merely contended: what stands there does not fit. From then
/// on each further try waits, twice as long as the one before, up to the longest.
const REFUSALS_FREE: u32 = 8;
const REFUSED_LONGEST: Duration = Duration::from_secs(1);

/// How many answers of the store the machine takes together, so that others have their turn.
const TOGETHER_MAX: usize = 256;

/// How long the end of the daemon waits for commits under way.
const DRAIN_DEADLINE: Duration = Duration::from_secs(10);

/// What the other tasks tell the actor.
#[derive(Debug)]
pub(crate) enum Input {
    /// A socket is open.
    Opened(Link, HubAddress, Outbox),
    /// A hub's message.
    Hub(Link, HubToOrigin),
    /// A socket is gone.
    Closed(Link),
    /// The operator, or an edge's client who may, has keys erased, and is told when they are.
    Erase(BTreeSet<Key>, oneshot::Sender<()>),
    /// The operator has a foreign value removed, once this is answered.
    Discarding(Key, oneshot::Sender<()>),
    /// The status page asks.
    Status(oneshot::Sender<ActorStatus>),
}

/// What the status page shows of the machine.
#[derive(Debug)]
pub(crate) struct ActorStatus {
    pub(crate) connected: Vec<Connected>,
    /// Parts of batches that are received and not committed.
    pub(crate) pending: usize,
}

/// A hub's batch that is not committed whole.
struct Batch {
    arrived: Instant,
    slots: BTreeSet<Slot>,
    _span: Span,
}

/// Why the actor ended other than by request.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ActorError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("a request to the store was cut off")]
    Request(#[source] JoinError),
}

/// What a request to the store came to.
enum Answer {
    Input(OriginInput),
    Loaded(Vec<Loaded>),
    Committed(Vec<(Slot, Outcome)>),
    Pong,
}

/// The state of the task.
pub(crate) struct Actor {
    origin: Origin,
    store: Arc<AnyStore>,
    report: Arc<Report>,
    links: BTreeMap<Link, (HubAddress, Outbox)>,
    /// When a hub was welcomed that has not said hello.
    welcomed: BTreeMap<Link, Instant>,
    /// Those of each hub, as they came: the next may come before the last is committed whole.
    batches: BTreeMap<Link, Vec<Batch>>,
    requests: JoinSet<Result<Answer, StoreError>>,
    /// What asks the store what is stable. The end of the daemon does not wait for it.
    confirmations: JoinSet<Result<Answer, StoreError>>,
    /// Per slot how many commits in a row were refused.
    refusals: BTreeMap<Slot, u32>,
    /// What is yet to be erased for whom.
    erasures: Vec<(BTreeSet<Key>, oneshot::Sender<()>)>,
    wake_at: Option<Instant>,
    is_pinging: bool,
    /// What edges may have passed through.
    pass_through: Arc<BTreeSet<Family>>,
    clocks: Clocks,
    erasing: run::Erasing,
}

impl Actor {
    /// A fresh machine on a fresh connection.
    pub(crate) fn new(store: Arc<AnyStore>, report: Arc<Report>, config: &DaemonConfig) -> Self {
        let pass_through = Arc::new(config.pass_through.clone());
        let erasing = run::Erasing { report: Arc::clone(&report), patterns: config.erase_patterns.clone().into() };
        let config = OriginConfig {
            run_id: store.run_id(),
            entropy: fastrand::u64(..),
            stable_by: store.stable_by(),
            loss_window_ms: config.loss_window_ms,
            window_ms: config.window_ms,
            window_ms_max: config.lag_target_ms,
            seed: HashSeed(fastrand::u64(..), fastrand::u64(..)),
            audit_ms: AUDIT_MS,
        };
        Self {
            origin: Origin::new(config),
            store,
            report,
            links: BTreeMap::new(),
            welcomed: BTreeMap::new(),
            batches: BTreeMap::new(),
            requests: JoinSet::new(),
            confirmations: JoinSet::new(),
            refusals: BTreeMap::new(),
            erasures: Vec::new(),
            wake_at: None,
            is_pinging: false,
            pass_through,
            clocks: Clocks::default(),
            erasing,
        }
    }

    /// Runs until the store fails, or until `stop` resolves and what was received is committed.
    pub(crate) async fn run(
        mut self,
        mut inputs: mpsc::Receiver<Input>,
        stop: impl Future<Output = ()>,
    ) -> Result<(), ActorError> {
        tokio::pin!(stop);
        let store = Arc::clone(&self.store);
        let mut ping = interval(PING_INTERVAL);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                Some(answer) = self.requests.join_next() => self.answered_together(answer)?,
                Some(answer) = self.confirmations.join_next() => self.answered(answer)?,
                Some(input) = inputs.recv() => self.input(input),
                () = wake(self.wake_at) => self.tick(),
                (slot, seq) = store.news() => self.handle(OriginInput::Changed(slot, seq)),
                heard = store.heard() => self.handle(match heard {
                    Heard::Listening(topic, heard) => OriginInput::Listening(topic, heard),
                    Heard::Published(published) => OriginInput::Published(published),
                }),
                touches = store.touches() => self.handle(match touches {
                    Touches::Keys(keys) => OriginInput::Touched(keys),
                    Touches::Lost => OriginInput::Untracked,
                }),
                _ = ping.tick() => self.ping(),
                () = &mut stop => break,
            }
        }
        self.drain().await
    }

    /// Takes nothing more from the hubs, and waits for what the store is doing and for what follows from it.
    async fn drain(mut self) -> Result<(), ActorError> {
        let deadline = Instant::now() + DRAIN_DEADLINE;
        tracing::info!(queued = self.origin.queued(), requests = self.requests.len(), "draining");
        loop {
            tokio::select! {
                answer = self.requests.join_next() => match answer {
                    Some(answer) => self.answered_together(answer)?,
                    None => return Ok(()),
                },
                () = sleep_until(deadline) => {
                    tracing::warn!(queued = self.origin.queued(), "the store did not finish in time; hubs send again");
                    return Ok(());
                }
            }
        }
    }

    fn input(&mut self, input: Input) {
        match input {
            Input::Opened(link, address, outbox) => {
                self.links.insert(link, (address, outbox));
                measure::hubs_connected(self.links.len());
                self.welcomed.insert(link, Instant::now());
                self.handle(OriginInput::Opened(link));
            }
            Input::Hub(link, message) => {
                measure::message_received();
                if let Some((address, _)) = self.links.get(&link) {
                    self.report.history.heard(address, &message, clock::now());
                    if let HubToOrigin::Hello { now, .. } = &message {
                        // What it sent before it sends anew.
                        self.batches.remove(&link);
                        // A hub that wakes up says hello by itself, and nobody knows when it did.
                        let waited = self.welcomed.remove(&link).map_or(Duration::ZERO, |at| at.elapsed());
                        self.clocks.said_hello(address, now.since_ms(clock::now()), waited);
                    }
                }
                if let HubToOrigin::Delta(parts) = &message {
                    let slots: BTreeSet<Slot> = parts.iter().map(|part| part.slot).collect();
                    let span = |(address, _): &(HubAddress, Outbox)| trace::batch(address, slots.len());
                    let _span = self.links.get(&link).map_or_else(Span::none, span);
                    self.batches.entry(link).or_default().push(Batch { arrived: Instant::now(), slots, _span });
                }
                self.handle(OriginInput::Hub(link, message));
            }
            Input::Closed(link) => {
                self.close(link);
                self.handle(OriginInput::Closed(link));
            }
            Input::Erase(keys, answer) => {
                let named = keys.iter().cloned().collect();
                self.erasures.push((keys, answer));
                self.handle(OriginInput::Erase(named));
            }
            Input::Discarding(key, answer) => {
                self.handle(OriginInput::Discarding(key));
                // Whoever asked may have gone.
                let _ = answer.send(());
            }
            // Whoever asked may have gone.
            Input::Status(answer) => {
                drop(answer.send(ActorStatus { connected: self.connected(), pending: self.origin.queued() }));
            }
        }
    }

    /// Measures what a message to a hub tells of the daemon's work.
    fn observe(&mut self, link: Link, message: &OriginToHub) {
        let address = self.links.get(&link).map(|(address, _)| address);
        let settled: Vec<Slot> = match message {
            OriginToHub::Exchange { round, nodes, keys, .. } => {
                return trace::repair(address, *round, nodes.len(), keys.len());
            }
            OriginToHub::Committed(slots) => slots.iter().map(|(slot, _)| *slot).collect(),
            OriginToHub::Resume(slots) => {
                measure::resumed(slots.len());
                trace::resume(address, slots.len());
                slots.iter().map(|(slot, _)| *slot).collect()
            }
            OriginToHub::Refused(refusal) => {
                if let (RefusalCause::Clock, Some(address)) = (refusal.cause, address) {
                    self.clocks.refused(address, &refusal.detail);
                }
                return measure::refused(refusal.cause);
            }
            _ => return,
        };
        let Some(batches) = self.batches.get_mut(&link) else { return };
        for batch in &mut *batches {
            for slot in &settled {
                batch.slots.remove(slot);
            }
        }
        for batch in batches.extract_if(.., |batch| batch.slots.is_empty()) {
            if let Some((address, _)) = self.links.get(&link) {
                let took = batch.arrived.elapsed();
                measure::lag(address, took);
                self.report.history.lag(address, took);
            }
        }
        if batches.is_empty() {
            self.batches.remove(&link);
        }
    }

    fn answered(&mut self, answer: Result<Result<Answer, StoreError>, JoinError>) -> Result<(), ActorError> {
        let mut inputs = Vec::new();
        self.take_answer(answer, &mut inputs)?;
        self.handle_all(inputs);
        Ok(())
    }

    /// Takes an answer and those that are there with it: the store answers many slots in a call.
    fn answered_together(&mut self, first: Result<Result<Answer, StoreError>, JoinError>) -> Result<(), ActorError> {
        let mut inputs = Vec::new();
        let mut next = Some(first);
        while let Some(answer) = next {
            self.take_answer(answer, &mut inputs)?;
            next = if inputs.len() < TOGETHER_MAX { self.requests.try_join_next() } else { None };
        }
        if !inputs.is_empty() {
            self.handle_all(inputs);
        }
        Ok(())
    }

    /// Adds what the machine is to hear of it.
    fn take_answer(
        &mut self,
        answer: Result<Result<Answer, StoreError>, JoinError>,
        inputs: &mut Vec<OriginInput>,
    ) -> Result<(), ActorError> {
        match answer.map_err(ActorError::Request)?? {
            Answer::Input(input) => inputs.push(input),
            Answer::Loaded(loaded) => inputs.extend(loaded.into_iter().map(OriginInput::Loaded)),
            Answer::Committed(outcomes) => {
                for (slot, outcome) in outcomes {
                    self.count_refusals(slot, &outcome);
                    inputs.push(OriginInput::Committed(slot, outcome));
                }
            }
            Answer::Pong => self.is_pinging = false,
        }
        Ok(())
    }

    fn count_refusals(&mut self, slot: Slot, outcome: &Outcome) {
        match outcome {
            Outcome::Committed | Outcome::Drifted(_) => drop(self.refusals.remove(&slot)),
            outcome => {
                let count = self.refusals.entry(slot).or_default();
                *count = count.saturating_add(1);
                if count.is_power_of_two() && *count > REFUSALS_FREE {
                    tracing::warn!(%slot, count, ?outcome, "commits of a slot are refused again and again");
                }
            }
        }
    }

    fn tick(&mut self) {
        self.wake_at = None;
        self.handle(OriginInput::Tick);
    }

    fn handle(&mut self, input: OriginInput) {
        self.handle_all([input]);
    }

    fn handle_all(&mut self, inputs: impl IntoIterator<Item = OriginInput>) {
        let (mut loads, mut commits) = (Vec::new(), Vec::new());
        for effect in self.origin.handle_all(inputs, clock::now()) {
            match effect {
                OriginEffect::ToHub(link, message) => {
                    self.observe(link, &message);
                    self.send(link, message);
                }
                OriginEffect::Close(link, reason) => {
                    let hub = self.links.get(&link).map(|(address, _)| address.name.as_str());
                    tracing::warn!(hub, reason, "the origin closes a hub's connection");
                    measure::link_closed();
                    self.close(link);
                }
                OriginEffect::Load(load) => loads.push(load),
                OriginEffect::Commit(commit) => commits.push(commit),
                OriginEffect::Run { link, call, commands, within } => self.run_passed(link, call, commands, within),
                OriginEffect::Jobs { link, hub, slot, jobs } => self.run_jobs(link, Jobs { hub, slot, jobs }),
                OriginEffect::Swap(swap) => self.swap(swap),
                OriginEffect::Listen(topic) => self.listen(topic),
                OriginEffect::Unlisten(topic) => self.store.unlisten(&topic),
                OriginEffect::Confirm(slots) => self.confirm(slots),
                OriginEffect::Erased(key) => self.erased(&key),
                OriginEffect::Foreign(key) => {
                    tracing::error!(%key, "the key holds a value of a foreign type; it is left for the operator");
                    measure::foreign_key();
                }
                OriginEffect::Adopted(keys) => {
                    measure::adopted(keys);
                    trace::adopted(keys);
                }
                OriginEffect::WakeAt(at) => {
                    let ms = u64::try_from(at.since_ms(clock::now())).unwrap_or(0);
                    self.wake_at = Some(Instant::now() + Duration::from_millis(ms));
                }
            }
        }
        // No effect rests on what is on its way.
        self.load(loads);
        self.commit(commits);
    }

    /// Tells those whose last key this was; they may have gone.
    fn erased(&mut self, key: &Key) {
        for (keys, _) in &mut self.erasures {
            keys.remove(key);
        }
        for (_, answer) in self.erasures.extract_if(.., |(keys, _)| keys.is_empty()) {
            let _ = answer.send(());
        }
    }

    /// Never waits: a hub that reads too slowly is cut off and starts again from its cursors.
    fn send(&mut self, link: Link, message: OriginToHub) {
        let Some((address, outbox)) = self.links.get(&link) else { return };
        match outbox.try_send(message) {
            Ok(()) | Err(Refused::Closed) => {}
            Err(Refused::Full) => {
                tracing::warn!(hub = address.name, "the hub reads too slowly; its connection is closed");
                // Its task then says that it is closed, and the machine hears of it.
                self.close(link);
            }
            Err(Refused::TooMuchPublished) => {
                tracing::warn!(hub = address.name, "more is published than the hub reads; it listens to nothing now");
                measure::overrun();
                self.handle(OriginInput::Overrun(link));
            }
        }
    }

    /// Listens at the store, where the operator allows it; the machine hears of it in any case.
    fn listen(&mut self, topic: Topic) {
        let listens =
            run::may_listen(&self.pass_through).and_then(|()| self.store.listen(&topic).map_err(run::Refused::Run));
        if let Err(refused) = listens {
            self.handle(OriginInput::Listening(topic, Err(refused.to_string().into())));
        }
    }

    fn close(&mut self, link: Link) {
        self.links.remove(&link);
        self.welcomed.remove(&link);
        self.batches.remove(&link);
        measure::hubs_connected(self.links.len());
    }

    fn load(&mut self, mut loads: Vec<Load>) {
        let together_max = self.store.together_max();
        while !loads.is_empty() {
            let rest = loads.split_off(together_max.min(loads.len()));
            self.load_together(std::mem::replace(&mut loads, rest));
        }
    }

    fn load_together(&mut self, loads: Vec<Load>) {
        let (store, report) = (Arc::clone(&self.store), Arc::clone(&self.report));
        let count_of = |of: fn(&Load) -> usize| loads.iter().map(of).sum();
        let span = trace::loads(loads.len(), count_of(|load| load.keys.len()), count_of(|load| load.plain.len()));
        let loading = async move {
            let began = Instant::now();
            let loaded = store.load_all(loads).await.inspect_err(|error| trace::failed(error))?;
            let took = began.elapsed();
            loaded.iter().for_each(|_| measure::loaded(took));
            report.history.store_answered(took);
            report.loads.fetch_add(loaded.len() as u64, Ordering::Relaxed);
            Ok(Answer::Loaded(loaded))
        };
        self.requests.spawn(loading.instrument(span));
    }

    /// Those of slots whose commits are refused again and again wait, each for itself; the others share requests.
    fn commit(&mut self, commits: Vec<Commit>) {
        let mut together = Vec::new();
        let together_max = self.store.together_max();
        for commit in commits {
            let pause = pause_after(self.refusals.get(&commit.slot).copied().unwrap_or(0));
            if pause.is_zero() {
                together.push(commit);
            } else {
                self.commit_after(pause, vec![commit]);
            }
            if together.len() >= together_max {
                self.commit_after(Duration::ZERO, std::mem::take(&mut together));
            }
        }
        if !together.is_empty() {
            self.commit_after(Duration::ZERO, together);
        }
    }

    fn commit_after(&mut self, pause: Duration, commits: Vec<Commit>) {
        let (store, report) = (Arc::clone(&self.store), Arc::clone(&self.report));
        let sizes: Vec<(Slot, CommitSize)> =
            commits.iter().map(|commit| (commit.slot, CommitSize::of(commit))).collect();
        let span = trace::commits(commits.len(), commits.iter().map(|commit| commit.keys.len()).sum());
        let committing = async move {
            if !pause.is_zero() {
                sleep(pause).await;
            }
            let began = Instant::now();
            let outcomes = store.commit_all(commits).await.inspect_err(|error| trace::failed(error))?;
            let took = began.elapsed();
            report.history.store_answered(took);
            let is_done = |outcome: &&Outcome| matches!(outcome, Outcome::Committed | Outcome::Drifted(_));
            let done = outcomes.iter().filter(is_done).count() as u64;
            report.commits.fetch_add(done, Ordering::Relaxed);
            report.conflicts.fetch_add(outcomes.len() as u64 - done, Ordering::Relaxed);
            let told = outcomes.iter().find(|outcome| !is_done(outcome)).or(outcomes.first());
            told.into_iter().for_each(|outcome| trace::came_to(measure::name_of(outcome)));
            let answered = |((slot, size), outcome): ((Slot, CommitSize), Outcome)| {
                measure::committed(&outcome, size, took);
                (slot, outcome)
            };
            Ok(Answer::Committed(sizes.into_iter().zip(outcomes).map(answered).collect()))
        };
        self.requests.spawn(committing.instrument(span));
    }

    fn confirm(&mut self, slots: Vec<Slot>) {
        let store = Arc::clone(&self.store);
        self.confirmations.spawn(async move {
            sleep(CONFIRM_INTERVAL).await;
            let asked = slots.len();
            let survivors = store.survivors(slots).await?;
            measure::confirmed(asked, survivors.len());
            Ok(Answer::Input(OriginInput::Survives(survivors)))
        });
    }

    /// The machine hears of it in any case, so that no hub waits for nothing.
    fn run_passed(&mut self, link: Link, call: u64, commands: Vec<Vec<Bytes>>, within: Namespace) {
        let (store, allowed) = (Arc::clone(&self.store), Arc::clone(&self.pass_through));
        let (erasing, span) = (self.erasing.clone(), trace::run(commands.len()));
        let running = async move {
            let replies = run::run(&*store, &allowed, &erasing, commands, &within).await;
            Ok(Answer::Input(OriginInput::Ran(link, call, replies)))
        };
        self.requests.spawn(running.instrument(span));
    }

    fn run_jobs(&mut self, link: Link, jobs: Jobs) {
        let (store, allowed) = (Arc::clone(&self.store), Arc::clone(&self.pass_through));
        let span = trace::jobs(jobs.slot, jobs.jobs.len());
        let running = async move {
            let (hub, slot) = (jobs.hub, jobs.slot);
            let ran = run::jobs(&*store, &allowed, jobs).await.inspect_err(|error| trace::failed(error));
            let JobsRun { through, replies } = ran?;
            Ok(Answer::Input(OriginInput::JobsDone(link, JobsDone { hub, slot, through, replies })))
        };
        self.requests.spawn(running.instrument(span));
    }

    fn swap(&mut self, swap: LedgerSwap) {
        let store = Arc::clone(&self.store);
        self.requests.spawn(async move {
            let key = swap.key.clone();
            let outcome = store.swap(swap).await?;
            Ok(Answer::Input(OriginInput::Swapped(key, outcome)))
        });
    }

    fn ping(&mut self) {
        self.clocks.look(Instant::now(), clock::now());
        let pending = self.origin.queued();
        measure::pending(pending);
        self.report.pending.store(pending, Ordering::Relaxed);
        for connected in self.connected() {
            measure::clock_offset(&connected.address, connected.status.clock_offset_ms);
        }
        if !std::mem::replace(&mut self.is_pinging, true) {
            let store = Arc::clone(&self.store);
            self.requests.spawn(async move {
                store.ping().await?;
                Ok(Answer::Pong)
            });
        }
    }

    fn connected(&self) -> Vec<Connected> {
        let statuses: BTreeMap<Link, LinkStatus> = self.origin.links().collect();
        let connected = |(link, (address, _)): (&Link, &(HubAddress, Outbox))| {
            let batches = self.batches.get(link).into_iter().flatten();
            let pending = batches.map(|batch| batch.slots.len()).sum();
            Some(Connected { address: address.clone(), status: statuses.get(link)?.clone(), pending })
        };
        self.links.iter().filter_map(connected).collect()
    }
}

/// How long a commit waits after so many refusals in a row.
fn pause_after(refusals: u32) -> Duration {
    match refusals.checked_sub(REFUSALS_FREE) {
        None => Duration::ZERO,
        Some(beyond) => Duration::from_millis(1 << beyond.min(10)).min(REFUSED_LONGEST),
    }
}

/// Resolves at that time; without one never.
async fn wake(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_commits_that_are_refused_again_and_again_wait() {
        let waits: Vec<u128> = [0, 7, 8, 9, 12, 18, u32::MAX].map(|count| pause_after(count).as_millis()).into();
        assert_eq!(waits, [0, 0, 1, 2, 16, 1000, 1000]);
    }
}
