//! The sockets of a hub, under which its object may hibernate.
//!
//! What a socket is, and its number, lie in its attachment, which the runtime keeps while the object sleeps; so the set here
//! is rebuilt from the runtime's whenever the object starts.

use super::call::Bounds;
use headwater::{
    hub::{Connection, HubInput},
    id::TimestampMs,
    wire::{self, Terms},
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use worker::{
    Response, Result, State, WebSocket, WebSocketPair, console_error, worker_sys::WebSocketRequestResponsePair,
};

/// The close code of a peer that breaks the protocol (RFC 6455, 7.4.1).
pub(crate) const CLOSE_PROTOCOL: u16 = 1002;
/// The close code of a peer that sends text.
pub(crate) const CLOSE_UNSUPPORTED: u16 = 1003;
/// The close code of a leaf that asks for what it is not granted, or whose token has expired.
pub(crate) const CLOSE_POLICY: u16 = 1008;
/// The close code when this end cannot go on.
pub(crate) const CLOSE_INTERNAL: u16 = 1011;

/// The text by which a browser, whose sockets cannot ping, asks whether the other end is there, and the answer.
const PING: (&str, &str) = ("ping", "pong");

/// Lets the runtime answer to pings while the object sleeps.
pub(crate) fn answer_pings(state: &State) {
    match WebSocketRequestResponsePair::new(PING.0, PING.1) {
        Ok(pair) => state.set_websocket_auto_response(&pair),
        Err(error) => console_error!("pings will not be answered: {error:?}"),
    }
}

/// Who is at the other end.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum Peer {
    /// A tab or another process.
    Leaf,
    /// A daemon.
    Origin,
}

impl Peer {
    fn tag(self) -> &'static str {
        match self {
            Self::Leaf => "leaf",
            Self::Origin => "origin",
        }
    }
}

/// What the runtime keeps of a socket.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Attachment {
    /// Who is at the other end.
    pub(crate) peer: Peer,
    /// The connection's number.
    pub(crate) connection: u64,
    /// What the other end accepts, as its greeting said.
    #[serde(default)]
    pub(crate) terms: Terms,
    /// What a leaf is bound to, as JSON, which takes less room here than objects.
    #[serde(default)]
    bounds: Option<String>,
}

impl Attachment {
    /// What is attached to this socket; all that the hub accepts have one.
    pub(crate) fn of(socket: &WebSocket) -> Option<Self> {
        socket.deserialize_attachment().ok().flatten()
    }

    /// What the leaf is bound to.
    fn bounds(&self) -> Option<Bounds> {
        self.bounds.as_deref().map(Bounds::read)
    }
}

/// The open sockets by their connections' numbers.
#[derive(Default)]
pub(crate) struct Sockets {
    open: BTreeMap<u64, (Attachment, WebSocket)>,
    /// When those of leaves end that are bound to a time, in seconds since 1970.
    until_s: BTreeMap<u64, i64>,
}

impl Sockets {
    /// Those that the runtime has kept open.
    pub(crate) fn kept(state: &State) -> Self {
        let attached = |socket: WebSocket| Attachment::of(&socket).map(|a| (a.connection, (a, socket)));
        let open: BTreeMap<u64, (Attachment, WebSocket)> =
            state.get_websockets().into_iter().filter_map(attached).collect();
        let until_s = open.iter().filter_map(|(at, (attached, _))| Some((*at, attached.bounds()?.until_s))).collect();
        Self { open, until_s }
    }

    /// What the machine is to be told of a leaf that may not do everything.
    pub(crate) fn granted(&self, connection: Connection) -> Option<HubInput> {
        let (attached, _) = self.open.get(&connection.0)?;
        Some(HubInput::Granted(connection, attached.bounds()?.grants))
    }

    /// Whether the token has expired under which this connection was opened.
    pub(crate) fn has_expired(&self, connection: Connection, now: TimestampMs) -> bool {
        self.until_s.get(&connection.0).is_some_and(|until_s| until_s.saturating_mul(1000) <= now.0)
    }

    /// The connections to such peers.
    pub(crate) fn to(&self, peer: Peer) -> Vec<Connection> {
        let of_peer = self.open.iter().filter(|(_, (attached, _))| attached.peer == peer);
        of_peer.map(|(connection, _)| Connection(*connection)).collect()
    }

    /// The greatest number in use.
    pub(crate) fn last(&self) -> u64 {
        self.open.last_key_value().map_or(0, |(connection, _)| *connection)
    }

    /// Takes a new socket in under this number, and answers the upgrade with its other end.
    pub(crate) fn accept(
        &mut self,
        state: &State,
        peer: Peer,
        connection: u64,
        bounds: Option<String>,
    ) -> Result<Response> {
        let pair = WebSocketPair::new()?;
        state.accept_websocket_with_tags(&pair.server, &[peer.tag()]);
        let attachment = Attachment { peer, connection, terms: Terms::default(), bounds };
        pair.server.serialize_attachment(&attachment)?;
        self.until_s.extend(attachment.bounds().map(|bounds| (connection, bounds.until_s)));
        self.open.insert(connection, (attachment, pair.server));
        Response::from_websocket(pair.client)
    }

    /// Whether this connection is open.
    pub(crate) fn contains(&self, connection: Connection) -> bool {
        self.open.contains_key(&connection.0)
    }

    /// Takes note of what the other end said that it accepts, also for when the object has slept.
    pub(crate) fn agree(&mut self, connection: Connection, terms: Terms) {
        let Some((attachment, socket)) = self.open.get_mut(&connection.0) else { return };
        attachment.terms = terms;
        // Without it the object sends after its sleep what every build accepts.
        let _best_effort = socket.serialize_attachment(&*attachment);
    }

    /// Sends a message, if its connection is still open. A failure shows as the close of the socket.
    pub(crate) fn send<M: wire::Message>(&self, connection: Connection, message: &M) {
        let Some((attachment, socket)) = self.open.get(&connection.0) else { return };
        match attachment.terms.encode(message) {
            Ok(frame) => {
                let _closing = socket.send_with_bytes(frame);
            }
            Err(error) => {
                console_error!("a message to {connection:?} cannot be sent: {error}");
                let _closing = socket.close(Some(CLOSE_INTERNAL), Some("message too long"));
            }
        }
    }

    /// Forgets a connection and closes its socket, which may be closed already.
    pub(crate) fn close(&mut self, connection: Connection, code: u16, reason: &str) -> bool {
        let Some((_, socket)) = self.open.remove(&connection.0) else { return false };
        self.until_s.remove(&connection.0);
        let _closed = socket.close(Some(code), Some(reason));
        true
    }
}
