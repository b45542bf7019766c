//! The hub object: decodes events, hands them to the [`Shell`], encodes what comes back.
//!
//! Each handler makes one input of its event. Only requests wait, and they hold nothing while they do.

pub(crate) mod call;
mod commands;
mod links;
mod rows;
mod shell;
mod sockets;
mod streams;
mod turn;

use crate::{
    limits::{LISTEN_TIMEOUT_MS, REPLY_TIMEOUT_MS},
    respond::{self, Json},
    timeout,
};
use call::{Bounds, Exchange, Listen, Poll, Status};
use futures_channel::oneshot;
use headwater::{
    hub::{Connection, HubInput, ListenError},
    id::Key,
    message::{LeafToHub, OriginToHub, Refusal, RefusalCause},
    wire::{self, Terms, WireError},
};
use links::Taken;
use shell::{Answer, Shell, ShellError};
use sockets::{Attachment, CLOSE_PROTOCOL, CLOSE_UNSUPPORTED, Peer};
use std::rc::Rc;
use wasm_bindgen::prelude::wasm_bindgen;
use worker::{
    DurableObject, Env, Request, Response, Result, State, WebSocket, WebSocketIncomingMessage, console_error,
    durable_object,
    js_sys::{Promise, futures::future_to_promise},
};

const TIMED_OUT: &str = "ERR Headwater: no reply in time, and whether the command was executed is unknown. \
                         It is safe to retry with the same Idempotency-Key.";
const INTERRUPTED: &str = "ERR Headwater: the hub was interrupted, and whether the command was executed is unknown. \
                           It is safe to retry with the same Idempotency-Key.";

const NOT_HEARD: &str = "ERR Headwater: the origin does not say that it listens; nothing is listened to";

/// One region's replica of a range of slots.
#[durable_object]
pub struct Hub {
    shell: Rc<Shell>,
}

impl DurableObject for Hub {
    fn new(state: State, env: Env) -> Self {
        Self { shell: Rc::new(Shell::new(state, env)) }
    }

    async fn fetch(&self, mut request: Request) -> Result<Response> {
        let answered = match request.path().as_str() {
            call::RELAY => {
                let body = request.bytes().await?;
                self.shell.turn().await;
                self.relay(&body).await
            }
            call::POLL => {
                let body = request.bytes().await?;
                self.shell.turn().await;
                self.poll(&body).await
            }
            call::LISTEN => {
                let body = request.bytes().await?;
                self.shell.turn().await;
                self.listen(&body).await
            }
            call::JOBS => {
                let key = request.bytes().await?;
                self.jobs(key)
            }
            call::STATUS => self.status(),
            call::WAKE => self.shell.register().await.and_then(|()| Ok(Response::empty()?)),
            call::LEAF => self.shell.accept(Peer::Leaf, call::bounds(&request)?),
            call::ORIGIN => self.shell.accept(Peer::Origin, None),
            path => Ok(respond::error(404, &format_args!("ERR Headwater: a hub has no {path}"))?),
        };
        self.shell.register_soon();
        match answered {
            Ok(response) => Ok(response),
            Err(error) => {
                console_error!("{error}");
                respond::error(503, &format_args!("{INTERRUPTED} ({error})"))
            }
        }
    }

    async fn alarm(&self) -> Result<Response> {
        self.shell.ring().map_err(thrown)?;
        Response::empty()
    }

    async fn websocket_message(&self, socket: WebSocket, message: WebSocketIncomingMessage) -> Result<()> {
        let Some(Attachment { peer, connection, .. }) = Attachment::of(&socket) else { return Ok(()) };
        let connection = Connection(connection);
        self.shell.turn().await;
        let handled = match message {
            WebSocketIncomingMessage::String(_) => {
                let refusal = Refusal::new(RefusalCause::Malformed, "messages are binary frames");
                self.shell.refuse(peer, connection, CLOSE_UNSUPPORTED, refusal)
            }
            WebSocketIncomingMessage::Binary(frame) => match input(peer, connection, &frame) {
                Ok((input, terms)) => terms
                    .map_or(Ok(()), |terms| self.shell.agree(connection, terms))
                    .and_then(|()| self.shell.receive(connection, input)),
                Err(error) => self.shell.refuse(peer, connection, CLOSE_PROTOCOL, Refusal::from(&error)),
            },
        };
        handled.map_err(thrown)
    }

    async fn websocket_close(&self, socket: WebSocket, _code: usize, _reason: String, _was_clean: bool) -> Result<()> {
        self.closed(&socket).await
    }

    async fn websocket_error(&self, socket: WebSocket, _error: worker::Error) -> Result<()> {
        self.closed(&socket).await
    }
}

#[wasm_bindgen]
impl Hub {
    /// Takes a call of the Worker's, [`call::COMMANDS`] or [`call::EXCHANGE`], with what it brings; a promise of the parts of the
    /// answer. `entry.js` lets the Worker call it.
    pub fn ask(&self, kind: String, body: Vec<u8>) -> Promise {
        let hub = Self { shell: Rc::clone(&self.shell) };
        future_to_promise(async move { Ok(hub.called(&kind, &body).await.into_parts().into()) })
    }
}

impl Hub {
    async fn called(&self, kind: &str, body: &[u8]) -> Json {
        self.shell.turn().await;
        let answered = match kind {
            call::COMMANDS => self.commands(body).await,
            call::EXCHANGE => self.exchange(body),
            kind => Ok(Json::error(404, &format_args!("ERR Headwater: a hub takes no {kind}"))),
        };
        self.shell.register_soon();
        answered.unwrap_or_else(|error| {
            console_error!("{error}");
            Json::error(503, &format_args!("{INTERRUPTED} ({error})"))
        })
    }

    async fn relay(&self, frame: &[u8]) -> Result<Response, ShellError> {
        let message = match wire::decode::<LeafToHub>(frame) {
            Ok(message) => message,
            Err(error) => return Ok(respond::error(400, &format_args!("ERR Headwater: {error}"))?),
        };
        let asked = self.shell.ask(|request| HubInput::Relay(request, message))?;
        match self.answer(asked).await {
            Ok(Answer::Relayed(message)) => match wire::encode(&message) {
                Ok(frame) => Ok(Response::from_bytes(frame)?),
                Err(error) => Ok(respond::error(500, &format_args!("ERR Headwater: {error}"))?),
            },
            // The machine answers a relay with a message only.
            Ok(_) => Ok(respond::error(500, &INTERRUPTED)?),
            Err((status, text)) => Ok(respond::error(status, &text)?),
        }
    }

    fn exchange(&self, body: &[u8]) -> Result<Json, ShellError> {
        let Ok(Exchange { link, frames }) = postcard::from_bytes(body) else {
            // Only a Worker of another version sends what this one cannot read.
            return Ok(Json::error(503, &INTERRUPTED));
        };
        match frames.iter().map(|frame| said(frame)).collect() {
            Ok(messages) => Ok(Json::new(200, wire::to_body(&self.shell.exchange(link, messages)?))),
            Err(error) => Ok(Json::error(400, &format_args!("ERR Headwater: {error}"))),
        }
    }

    /// As [`Self::exchange`] for a leaf to which sockets are blocked. A request that says nothing waits for what is new.
    async fn poll(&self, body: &[u8]) -> Result<Response, ShellError> {
        let Ok(Poll { link, bounds, wait_ms, frames }) = postcard::from_bytes(body) else {
            // Only a Worker of another version sends what this one cannot read.
            return Ok(respond::error(503, &INTERRUPTED)?);
        };
        let bounds = bounds.as_deref().map(Bounds::read);
        let messages =
            wire::frames(&frames).and_then(|frames| frames.into_iter().map(said).collect::<Result<Vec<_>, _>>());
        let messages = match messages {
            Ok(messages) => messages,
            Err(error) => return Ok(respond::error(400, &format_args!("ERR Headwater: {error}"))?),
        };
        let taken = match self.shell.poll(link, bounds, messages)? {
            Ok(taken) => taken,
            Err(next) => match timeout::within(wait_ms, next).await {
                Some(Ok(taken)) => taken,
                Some(Err(oneshot::Canceled)) => return Ok(respond::error(503, &INTERRUPTED)?),
                None => Taken::nothing(),
            },
        };
        Ok(Response::from_bytes(taken.to_body())?)
    }

    /// A stream of what is published, once the origin listens.
    async fn listen(&self, body: &[u8]) -> Result<Response, ShellError> {
        let Ok(listen) = postcard::from_bytes::<Listen>(body) else {
            // Only a Worker of another version sends what this one cannot read.
            return Ok(respond::error(503, &INTERRUPTED)?);
        };
        let topic = match listen.topic() {
            Ok(topic) => topic,
            Err(error) => return Ok(respond::error(400, &error)?),
        };
        let (heeding, events, opened) = self.shell.listen(topic.clone())?;
        let error = match timeout::within(LISTEN_TIMEOUT_MS, opened).await {
            Some(Ok(Ok(()))) => return Ok(respond::events(events.into_body(topic, listen.until_ms, heeding))?),
            Some(Ok(Err(error))) => respond::error(status_of(&error), &error),
            Some(Err(oneshot::Canceled)) => respond::error(503, &INTERRUPTED),
            None => respond::error(504, &NOT_HEARD),
        };
        Ok(error?)
    }

    fn jobs(&self, key: Vec<u8>) -> Result<Response, ShellError> {
        match Key::new(key) {
            Ok(key) => Ok(Response::from_json(&self.shell.jobs(&key)?)?),
            Err(error) => Ok(respond::error(400, &format_args!("ERR Headwater: {error}"))?),
        }
    }

    fn status(&self) -> Result<Response, ShellError> {
        let status = self.shell.status()?;
        Ok(Response::from_json(&Status {
            replica: status.hub.to_string(),
            keys: status.keys,
            pending: status.pending,
            unstable: status.unstable,
            origin_connected: status.is_origin_connected,
            leaves: status.leaves,
            jobs: status.jobs,
            memory_bytes: status.memory_bytes,
            evicted: status.evicted,
            refused: status.refused,
            undecided: status.undecided,
            isolate_bytes: isolate_bytes(),
        })?)
    }

    /// The answer, unless it takes too long or the machine is dropped first: then the status and text to answer with.
    async fn answer(
        &self,
        (request, mut receiver): (u64, oneshot::Receiver<Answer>),
    ) -> Result<Answer, (u16, &'static str)> {
        if let Ok(Some(answer)) = receiver.try_recv() {
            return Ok(answer);
        }
        match timeout::within(REPLY_TIMEOUT_MS, receiver).await {
            Some(Ok(answer)) => Ok(answer),
            Some(Err(oneshot::Canceled)) => Err((503, INTERRUPTED)),
            None => {
                self.shell.give_up(request);
                Err((504, TIMED_OUT))
            }
        }
    }

    async fn closed(&self, socket: &WebSocket) -> Result<()> {
        let Some(Attachment { peer, connection, .. }) = Attachment::of(socket) else { return Ok(()) };
        // Not before the messages that came before it.
        self.shell.turn().await;
        self.shell.closed(peer, Connection(connection)).map_err(thrown)
    }
}

/// The linear memory of this isolate, which all its objects share.
#[cfg(target_arch = "wasm32")]
fn isolate_bytes() -> usize {
    const PAGE_BYTES: usize = 64 * 1024;
    core::arch::wasm32::memory_size(0) * PAGE_BYTES
}

/// Elsewhere there is no isolate.
#[cfg(not(target_arch = "wasm32"))]
fn isolate_bytes() -> usize {
    0
}

/// With which status a stream that does not begin is answered.
fn status_of(error: &ListenError) -> u16 {
    match error {
        ListenError::OriginAway => 503,
        ListenError::TooMany => 429,
        ListenError::NotPermitted(_) => 403,
        ListenError::AtOrigin(_) => 400,
    }
}

/// What a leaf said in this frame, and what to send to it from now on where it said so.
fn said(frame: &[u8]) -> Result<(LeafToHub, Option<Terms>), WireError> {
    let message = wire::decode::<LeafToHub>(frame)?;
    let terms = Terms::said_by(&message)?;
    Ok((message, terms))
}

/// What the machine is to be told, and what to send to this peer from now on where it said so.
fn input(peer: Peer, connection: Connection, frame: &[u8]) -> Result<(HubInput, Option<Terms>), WireError> {
    Ok(match peer {
        Peer::Leaf => {
            let (message, terms) = said(frame)?;
            (HubInput::Leaf(connection, message), terms)
        }
        Peer::Origin => {
            let message = wire::decode::<OriginToHub>(frame)?;
            let terms = Terms::said_by(&message)?;
            (HubInput::Origin(connection, message), terms)
        }
    })
}

fn thrown(error: ShellError) -> worker::Error {
    match error {
        ShellError::Runtime(error) => error,
        other => worker::Error::RustError(other.to_string()),
    }
}
