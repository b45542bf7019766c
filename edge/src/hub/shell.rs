//! The machine in its object: loads it, feeds it, performs its effects.
//!
//! All of it is synchronous but for [`Shell::turn`], which comes first: an event runs the machine and performs every effect before the next one begins, and the one
//! borrow ends with it. [`Live`] can be dropped at any time; the next event makes it anew from SQLite and from the sockets
//! that the runtime kept. That is also what happens when a write fails: nothing that rests on it has left, and what the
//! machine holds in memory is forgotten.

use super::{
    call::{self, Bounds, Exchanged},
    links::{self, Links, Taken},
    rows::{Rows, RowsError},
    sockets::{self, CLOSE_POLICY, Peer, Sockets},
    streams::{Events, Streams},
    turn::Turn,
};
use crate::{
    clock::{entropy, now},
    config::{self, ConfigError},
    limits::CLOSE_REASON_BYTES_MAX,
    peers,
    session::Secrets,
    shard,
};
use futures_channel::oneshot;
use headwater::{
    command::{CommandError, Reply},
    hub::{
        Connection, Hub, HubConfig, HubEffect, HubInput, HubStatus, ListenError, Listener, OutboxStatus, Request,
        RestoreError,
    },
    id::{HashSeed, Key, ReplicaId, TimestampMs},
    message::{HubToLeaf, LeafToHub, Mark, Refusal},
    namespace::Namespace,
    topic::Topic,
    wire::{Terms, WireError},
};
use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
};
use worker::{Env, Response, State, console_error, js_sys};

/// Why a socket is closed whose token has expired.
const EXPIRED: &str = "the token has expired";

/// The hub cannot run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ShellError {
    /// Its storage failed; the machine has been dropped.
    #[error(transparent)]
    Rows(#[from] RowsError),
    /// Its rows are no hub.
    #[error("the hub cannot be restored: {0}")]
    Restore(#[from] RestoreError),
    /// The object was not addressed by name.
    #[error("the object has no name")]
    Nameless,
    /// The operator asks for what cannot be.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A message of its own has no encoding.
    #[error("a message cannot be sent: {0}")]
    Wire(#[from] WireError),
    /// The runtime failed.
    #[error("the runtime failed: {0}")]
    Runtime(#[from] worker::Error),
}

/// What a waiting request gets.
#[allow(clippy::large_enum_variant, reason = "each lives for one request")]
pub(crate) enum Answer {
    /// The results of its commands.
    Replies(Vec<Result<Reply, CommandError>>, bool),
    /// What the leaf is to be told.
    Relayed(HubToLeaf),
    /// Whether the origin has committed it.
    Committed(bool),
}

/// One object's machine and what surrounds it.
pub(crate) struct Shell {
    state: State,
    env: Env,
    live: RefCell<Option<Live>>,
    /// The last number given to a request or a connection. Outlives [`Live`], so that none is given twice.
    last: Cell<u64>,
    turn: Turn,
}

struct Live {
    hub: Hub,
    namespace: Namespace,
    rows: Rows,
    sockets: Sockets,
    links: Links,
    streams: Streams,
    waiting: BTreeMap<u64, oneshot::Sender<Answer>>,
    alarm: Alarm,
    /// The identity under which the directory knows the hub.
    registered: Option<ReplicaId>,
}

impl Live {
    /// Whether the directory knows the hub as who it is now: one that finds its storage to be an old copy becomes another.
    fn is_registered(&self) -> bool {
        self.registered == Some(self.hub.id())
    }
}

/// When the object is woken. An alarm that comes too early costs less than moving it with every write.
#[derive(Default)]
struct Alarm {
    armed: Option<TimestampMs>,
    wanted: Option<TimestampMs>,
}

/// Somebody who begins to listen: holds on to that, has what comes, and is told whether it is heard.
type Begun = (Heeding, Events, oneshot::Receiver<Result<(), ListenError>>);

impl Shell {
    /// Nothing is loaded before the first event.
    pub(crate) fn new(state: State, env: Env) -> Self {
        sockets::answer_pings(&state);
        Self { state, env, live: RefCell::new(None), last: Cell::new(0), turn: Turn::default() }
    }

    /// Returns when it is this event's turn. All events of one turn share a commit.
    pub(crate) async fn turn(&self) {
        self.turn.comes(&self.state).await;
    }

    /// Gives the machine an input and performs its effects.
    pub(crate) fn handle(self: &Rc<Self>, input: HubInput) -> Result<(), ShellError> {
        self.with(|live, now| ((), live.hub.handle(input, now)))
    }

    /// Gives the machine the input of a new request, for whose answer the caller then waits.
    pub(crate) fn ask(
        self: &Rc<Self>,
        input: impl FnOnce(Request) -> HubInput,
    ) -> Result<(u64, oneshot::Receiver<Answer>), ShellError> {
        self.with(|live, now| {
            let (sender, receiver) = oneshot::channel();
            let request = self.next();
            live.waiting.insert(request, sender);
            ((request, receiver), live.hub.handle(input(Request(request)), now))
        })
    }

    /// Begins to listen to a topic. What comes is in the events; as long as somebody holds the first of the three, it is listened
    /// to.
    pub(crate) fn listen(self: &Rc<Self>, topic: Topic) -> Result<Begun, ShellError> {
        self.with(|live, now| {
            let listener = Listener(self.next());
            let (events, opened) = live.streams.open(listener, topic.clone());
            let effects = live.hub.handle(HubInput::Listen(listener, topic), now);
            ((Heeding { shell: Rc::clone(self), listener }, events, opened), effects)
        })
    }

    /// How far the hub has come in the slots of these keys.
    pub(crate) fn marks(&self, keys: &[Key]) -> Vec<Mark> {
        self.live.borrow().as_ref().map(|live| live.hub.marks(keys.iter())).unwrap_or_default()
    }

    /// Under what session tokens are signed.
    pub(crate) fn sync_secrets(&self) -> Result<Secrets, ShellError> {
        Ok(config::sync_secrets(&self.env)?)
    }

    /// Whose hub it is.
    pub(crate) fn namespace(self: &Rc<Self>) -> Result<Namespace, ShellError> {
        self.with(|live, _| (live.namespace.clone(), vec![]))
    }

    /// Nobody waits for this request any more.
    pub(crate) fn give_up(&self, request: u64) {
        if let Some(live) = self.live.borrow_mut().as_mut() {
            live.waiting.remove(&request);
        }
    }

    /// Takes in a socket. Its first message introduces it to the machine.
    pub(crate) fn accept(self: &Rc<Self>, peer: Peer, bounds: Option<String>) -> Result<Response, ShellError> {
        let response = self.with(|live, now| {
            let connection = self.next();
            let response = live.sockets.accept(&self.state, peer, connection, bounds);
            let granted = live.sockets.granted(Connection(connection));
            (response, granted.map(|input| live.hub.handle(input, now)).unwrap_or_default())
        })?;
        Ok(response?)
    }

    /// A socket's peer broke the protocol: tells it why, and closes.
    pub(crate) fn refuse(
        self: &Rc<Self>,
        peer: Peer,
        connection: Connection,
        code: u16,
        refusal: Refusal,
    ) -> Result<(), ShellError> {
        self.with(|live, now| {
            let reason = reason(&refusal).to_owned();
            if peer == Peer::Leaf {
                live.sockets.send(connection, &HubToLeaf::Refused(refusal));
            }
            ((), live.close(peer, connection, code, &reason, now))
        })
    }

    /// A socket is gone.
    pub(crate) fn closed(self: &Rc<Self>, peer: Peer, connection: Connection) -> Result<(), ShellError> {
        self.with(|live, now| ((), live.close(peer, connection, 1000, "", now)))
    }

    /// Takes note of what the other end of a socket accepts.
    pub(crate) fn agree(self: &Rc<Self>, connection: Connection, terms: Terms) -> Result<(), ShellError> {
        self.with(|live, _| {
            live.sockets.agree(connection, terms);
            ((), vec![])
        })
    }

    /// Gives the machine a socket's message, unless the socket has been refused meanwhile.
    pub(crate) fn receive(self: &Rc<Self>, connection: Connection, input: HubInput) -> Result<(), ShellError> {
        self.with(|live, now| {
            let effects = if live.sockets.has_expired(connection, now) {
                live.close(Peer::Leaf, connection, CLOSE_POLICY, EXPIRED, now)
            } else if live.sockets.contains(connection) {
                live.hub.handle(input, now)
            } else {
                vec![]
            };
            ((), effects)
        })
    }

    /// Gives the machine what an isolate says, and answers with all that there is to tell it.
    pub(crate) fn exchange(
        self: &Rc<Self>,
        link: u128,
        messages: Vec<(LeafToHub, Option<Terms>)>,
    ) -> Result<Exchanged, ShellError> {
        if !self.say(link, None, messages)? {
            return Ok(Exchanged::Frames(vec![links::again()?.into()]));
        }
        let taken = self.with(|live, _| (live.links.take(link), vec![]))?;
        Ok(taken.map_or(Exchanged::TooMuch, |Taken { frames, .. }| {
            Exchanged::Frames(frames.into_iter().map(Into::into).collect())
        }))
    }

    /// Gives the machine what a leaf without a socket says. Answers with what there is to tell it; where that is nothing and
    /// it says nothing itself, with a receiver of what comes next, which the machine's end cancels.
    pub(crate) fn poll(
        self: &Rc<Self>,
        link: u128,
        bounds: Option<Bounds>,
        messages: Vec<(LeafToHub, Option<Terms>)>,
    ) -> Result<Result<Taken, oneshot::Receiver<Taken>>, ShellError> {
        let waits = messages.is_empty();
        let again = Taken { number: 0, frames: vec![links::again()?] };
        if !self.say(link, bounds, messages)? {
            return Ok(Ok(again));
        }
        self.with(|live, _| {
            let polled = match live.links.take(link) {
                Some(taken) if taken.frames.is_empty() && waits => live.links.ask(link).map_or(Ok(taken), Err),
                Some(taken) => Ok(taken),
                None => Ok(again),
            };
            (polled, vec![])
        })
    }

    /// Gives the machine what a leaf says over a link. One that is not known begins with a greeting; returns whether it is
    /// known then.
    fn say(
        self: &Rc<Self>,
        link: u128,
        bounds: Option<Bounds>,
        messages: Vec<(LeafToHub, Option<Terms>)>,
    ) -> Result<bool, ShellError> {
        let is_known = self.with(|live, now| {
            let mut effects = Vec::new();
            let mut known = live.links.used(link, now);
            if let Some(connection) = known.filter(|_| live.links.bounds(link) != bounds.as_ref()) {
                // A connection does not outlive what it was granted.
                effects.extend(live.close(Peer::Leaf, connection, CLOSE_POLICY, EXPIRED, now));
                known = None;
            }
            let is_greeting = matches!(messages.first(), Some((LeafToHub::Hello { .. }, _)));
            if known.is_none() && !is_greeting {
                return (false, effects);
            }
            let connection = known.unwrap_or_else(|| {
                let connection = Connection(self.next());
                live.links.open(link, connection, bounds.clone(), now);
                let granted = bounds.map(|bounds| HubInput::Granted(connection, bounds.grants));
                effects.extend(granted.into_iter().flat_map(|input| live.hub.handle(input, now)));
                connection
            });
            for (message, terms) in messages {
                terms.into_iter().for_each(|terms| live.links.agree(link, terms));
                effects.extend(live.hub.handle(HubInput::Leaf(connection, message), now));
            }
            (true, effects)
        })?;
        self.end_links()?;
        Ok(is_known)
    }

    /// Ends the links that are to end.
    fn end_links(self: &Rc<Self>) -> Result<(), ShellError> {
        self.with(|live, now| {
            let ending = if live.links.are_full() { live.links.due(now) } else { vec![] };
            let closed = |connection| live.close(Peer::Leaf, connection, 1000, "", now);
            ((), ending.into_iter().flat_map(closed).collect())
        })
    }

    /// The alarm has rung.
    pub(crate) fn ring(self: &Rc<Self>) -> Result<(), ShellError> {
        self.with(|live, now| {
            live.alarm.armed = None;
            match live.alarm.wanted.filter(|wanted| *wanted > now) {
                Some(wanted) => ((), vec![HubEffect::WakeAt(wanted)]),
                None => {
                    live.alarm.wanted = None;
                    ((), live.hub.handle(HubInput::Tick, now))
                }
            }
        })
    }

    /// What the outbox has for a client's key.
    pub(crate) fn jobs(self: &Rc<Self>, key: &Key) -> Result<call::Jobs, ShellError> {
        self.with(|live, _| {
            let OutboxStatus { stored, unstable } = live.hub.jobs_of(key);
            let jobs = call::Jobs { stored, unstable, origin_connected: live.hub.is_origin_connected() };
            (jobs, vec![])
        })
    }

    /// Whether a daemon is connected.
    pub(crate) fn is_origin_connected(self: &Rc<Self>) -> Result<bool, ShellError> {
        self.with(|live, _| (live.hub.is_origin_connected(), vec![]))
    }

    /// How the hub is.
    pub(crate) fn status(self: &Rc<Self>) -> Result<HubStatus, ShellError> {
        self.with(|live, _| (live.hub.status(), vec![]))
    }

    /// Tells the directory of this hub, unless it knows.
    pub(crate) async fn register(self: &Rc<Self>) -> Result<(), ShellError> {
        let (is_registered, hub) = self.with(|live, _| ((live.is_registered(), live.hub.id()), vec![]))?;
        if is_registered {
            return Ok(());
        }
        let name = self.with(|live, _| (live.rows.name(), vec![]))??.ok_or(ShellError::Nameless)?;
        peers::register(&self.env, &name, hub).await?;
        self.with(|live, _| {
            live.registered = Some(hub);
            (live.rows.set_registered(hub), vec![])
        })??;
        Ok(())
    }

    /// Tells the directory of this hub, unless it knows, while the object goes on with other events. Where that fails, the
    /// next request tries again.
    pub(crate) fn register_soon(self: &Rc<Self>) {
        if self.live.borrow().as_ref().is_none_or(Live::is_registered) {
            return;
        }
        let shell = Rc::clone(self);
        self.state.wait_until(async move {
            if let Err(error) = shell.register().await {
                console_error!("the directory does not know this hub yet: {error}");
            }
        });
    }

    /// Runs `event` on the machine, which is loaded first where it is not, and performs the effects.
    fn with<R>(
        self: &Rc<Self>,
        event: impl FnOnce(&mut Live, TimestampMs) -> (R, Vec<HubEffect>),
    ) -> Result<R, ShellError> {
        let now = now();
        let mut slot = self.live.borrow_mut();
        let mut live = match slot.take() {
            Some(live) => live,
            None => self.load(now)?,
        };
        // From here to the end the slot is empty, so an error drops the machine.
        let (result, effects) = event(&mut live, now);
        self.perform(&mut live, effects)?;
        live.links.deliver();
        *slot = Some(live);
        Ok(result)
    }

    fn load(self: &Rc<Self>, now: TimestampMs) -> Result<Live, ShellError> {
        let rows = Rows::open(&self.state)?;
        let sockets = Sockets::kept(&self.state);
        self.last.set(self.last.get().max(sockets.last()));
        let name = rows.name()?.or_else(|| self.state.id().name()).ok_or(ShellError::Nameless)?;
        let seed = HashSeed(entropy()?, entropy()?);
        let memory = Some(config::memory(&self.env)?);
        let namespace = shard::namespace_of(&name, &config::namespaces(&self.env)?);
        let config = HubConfig { name: name.clone(), seed, memory, namespace: namespace.clone() };
        let (hub, effects, registered) = if rows.is_empty()? {
            rows.set_name(&name)?;
            let (hub, effects) = Hub::create(config, entropy()?, now);
            (hub, effects, None)
        } else {
            let mut failure = None;
            let restored = Hub::restore(config, rows.load(&mut failure)?);
            if let Some(error) = failure {
                return Err(error.into());
            }
            let mut hub = restored?;
            let granted = sockets.to(Peer::Leaf).into_iter().filter_map(|leaf| sockets.granted(leaf));
            let woken = HubInput::Woken { leaves: sockets.to(Peer::Leaf), origins: sockets.to(Peer::Origin) };
            let effects = granted.chain([woken]).flat_map(|input| hub.handle(input, now)).collect();
            (hub, effects, rows.registered()?)
        };
        let mut live = Live {
            hub,
            namespace,
            rows,
            sockets,
            links: Links::default(),
            streams: Streams::default(),
            waiting: BTreeMap::new(),
            alarm: Alarm::default(),
            registered,
        };
        self.perform(&mut live, effects)?;
        Ok(live)
    }

    fn perform(self: &Rc<Self>, live: &mut Live, effects: Vec<HubEffect>) -> Result<(), ShellError> {
        for effect in effects {
            match effect {
                HubEffect::Persist(writes) => live.rows.write(writes)?,
                HubEffect::Reply { request, replies, provisional } => {
                    live.answer(request, Answer::Replies(replies, provisional));
                }
                HubEffect::Relayed(request, message) => live.answer(request, Answer::Relayed(message)),
                HubEffect::Committed(request, is_committed) => live.answer(request, Answer::Committed(is_committed)),
                HubEffect::ToLeaf(connection, _) if live.sockets.has_expired(connection, now()) => {
                    let effects = live.close(Peer::Leaf, connection, CLOSE_POLICY, EXPIRED, now());
                    self.perform(live, effects)?;
                }
                HubEffect::ToLeaf(connection, message) => {
                    live.send(connection, &message);
                    if let HubToLeaf::Refused(refusal) = message {
                        let effects = live.close(Peer::Leaf, connection, CLOSE_POLICY, reason(&refusal), now());
                        self.perform(live, effects)?;
                    }
                }
                HubEffect::ToOrigin(connection, message) => live.sockets.send(connection, &message),
                HubEffect::Forward { connection, hub, message } => self.forward(connection, hub, message),
                HubEffect::ToListeners(listeners, heard) => {
                    for slow in live.streams.tell(&listeners, &heard) {
                        let effects = live.hub.handle(HubInput::Unlisten(slow), now());
                        self.perform(live, effects)?;
                    }
                }
                HubEffect::WakeAt(at) => self.wake_at(&mut live.alarm, at)?,
            }
        }
        Ok(())
    }

    /// Hands a leaf's message to another hub; where that cannot be reached, nothing: the leaf sends it again.
    fn forward(self: &Rc<Self>, connection: Connection, hub: ReplicaId, message: LeafToHub) {
        let shell = Rc::clone(self);
        self.state.wait_until(async move {
            let handled = match peers::relay(&shell.env, hub, &message).await {
                Ok(answer) => shell.handle(HubInput::Forwarded(connection, answer)).map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            };
            if let Err(error) = handled {
                console_error!("what belongs to hub {hub} cannot be handed on: {error}");
            }
        });
    }

    fn wake_at(&self, alarm: &mut Alarm, at: TimestampMs) -> Result<(), ShellError> {
        alarm.wanted = Some(at);
        if alarm.armed.is_some_and(|armed| armed <= at) {
            return Ok(());
        }
        alarm.armed = Some(at);
        // `State::storage().set_alarm` would begin only when first polled, beyond the transaction of this event.
        #[allow(clippy::cast_precision_loss, reason = "milliseconds since the epoch are below 2^53 for 285000 years")]
        let date = js_sys::Date::new(&js_sys::Number::from(at.0 as f64));
        let armed =
            self.state.storage().as_raw().set_alarm(date, js_sys::Object::new()).map_err(worker::Error::from)?;
        self.state.wait_until(async move {
            if let Err(error) = js_sys::futures::JsFuture::from(armed).await {
                console_error!("the alarm cannot be set: {error:?}");
            }
        });
        Ok(())
    }

    fn next(&self) -> u64 {
        let next = self.last.get() + 1;
        self.last.set(next);
        next
    }
}

/// As long as this is there, somebody reads a stream.
pub(crate) struct Heeding {
    shell: Rc<Shell>,
    listener: Listener,
}

impl Drop for Heeding {
    fn drop(&mut self) {
        let (shell, listener) = (Rc::clone(&self.shell), self.listener);
        // In an event of its own, since this may be dropped within one.
        self.shell.state.wait_until(async move {
            let closed = shell.with(|live, now| {
                live.streams.close(listener);
                ((), live.hub.handle(HubInput::Unlisten(listener), now))
            });
            if let Err(error) = closed {
                console_error!("a stream's end is not noted: {error}");
            }
        });
    }
}

impl Live {
    fn answer(&mut self, request: Request, answer: Answer) {
        if let Some(waiting) = self.waiting.remove(&request.0) {
            // Whoever waited may have been disconnected.
            let _gone = waiting.send(answer);
        }
    }

    /// Sends to a leaf, by its socket or its link.
    fn send(&mut self, connection: Connection, message: &HubToLeaf) {
        if self.links.contains(connection) {
            self.links.send(connection, message);
        } else {
            self.sockets.send(connection, message);
        }
    }

    /// Closes a socket or link, and tells the machine unless it knows.
    fn close(
        &mut self,
        peer: Peer,
        connection: Connection,
        code: u16,
        reason: &str,
        now: TimestampMs,
    ) -> Vec<HubEffect> {
        if !self.links.close(connection) && !self.sockets.close(connection, code, reason) {
            return vec![];
        }
        let input = match peer {
            Peer::Leaf => HubInput::LeafClosed(connection),
            Peer::Origin => HubInput::OriginClosed(connection),
        };
        self.hub.handle(input, now)
    }
}

/// What of a refusal the reason of a close holds: 123 bytes (RFC 6455, 5.5).
fn reason(refusal: &Refusal) -> &str {
    &refusal.detail[..refusal.detail.floor_char_boundary(CLOSE_REASON_BYTES_MAX)]
}
