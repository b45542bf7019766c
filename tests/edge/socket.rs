//! One end of a hub's WebSocket: frames of the core's messages, each awaited with a deadline.

use std::fmt::Debug;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use headwater::command::CommandError;
use headwater::id::{ClientId, Key, No, Seq, SessionId, TimestampMs};
use headwater::message::{HubToLeaf, LeafToHub, Lifetime};
use headwater::state::{Effect, ElementId, Increment, Operation};
use headwater::wire::{self, Message as Wire};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::region::{ORIGIN_TOKEN, Region, TOKEN};

const DEADLINE: Duration = Duration::from_secs(60);

/// An open socket.
pub(crate) struct Socket {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// The subprotocol that the server selected.
    pub(crate) protocol: Option<String>,
}

impl Socket {
    /// A leaf's socket, with the token in the query.
    pub(crate) async fn leaf(region: &Region) -> Self {
        let token = TOKEN.replace(' ', "%20");
        Self::open(region, &format!("/v1/leaf?token={token}"), &[]).await.unwrap()
    }

    /// A daemon's socket to the hub of this name.
    pub(crate) async fn origin(region: &Region, hub: &str) -> Self {
        let bearer = format!("Bearer {ORIGIN_TOKEN}");
        Self::open(region, &format!("/v1/origin?hub={hub}"), &[("authorization", &bearer)]).await.unwrap()
    }

    /// A socket, or the status with which the upgrade was refused.
    pub(crate) async fn open(region: &Region, path: &str, headers: &[(&'static str, &str)]) -> Result<Self, u16> {
        let url = format!("{}{path}", region.edge.url().replace("http:", "ws:"));
        let mut request = url.into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        match connect_async(request).await {
            Ok((stream, response)) => {
                let protocol = response.headers().get("sec-websocket-protocol");
                Ok(Self { stream, protocol: protocol.map(|name| name.to_str().unwrap().to_owned()) })
            }
            Err(Error::Http(response)) => Err(response.status().as_u16()),
            Err(error) => panic!("{error}"),
        }
    }

    pub(crate) async fn send<M: Wire>(&mut self, message: &M) {
        self.send_raw(Message::binary(wire::encode(message).unwrap())).await;
    }

    pub(crate) async fn send_raw(&mut self, message: Message) {
        self.stream.send(message).await.unwrap();
    }

    /// The next message.
    pub(crate) async fn receive<M: Wire>(&mut self) -> M {
        match self.next().await {
            Message::Binary(frame) => wire::decode(&frame).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    /// The next message that `pick` takes; those before it are dropped.
    pub(crate) async fn receive_some<M: Wire + Debug, R>(&mut self, mut pick: impl FnMut(M) -> Option<R>) -> R {
        loop {
            if let Some(picked) = pick(self.receive().await) {
                return picked;
            }
        }
    }

    /// The next message, or the code and reason with which the hub closes.
    pub(crate) async fn receive_or_closed<M: Wire>(&mut self) -> Result<M, Option<(u16, String)>> {
        match self.next().await {
            Message::Binary(frame) => Ok(wire::decode(&frame).unwrap()),
            Message::Close(frame) => Err(frame.map(|CloseFrame { code, reason }| (code.into(), reason.to_string()))),
            other => panic!("{other:?}"),
        }
    }

    /// The code and reason with which the hub closes; messages before it are dropped.
    pub(crate) async fn closed(&mut self) -> Option<(u16, String)> {
        loop {
            if let Message::Close(frame) = self.next().await {
                return frame.map(|CloseFrame { code, reason }| (code.into(), reason.to_string()));
            }
        }
    }

    /// Closes, and waits until the hub has closed too.
    pub(crate) async fn close(mut self) {
        self.stream.close(None).await.unwrap();
        while let Some(Ok(_)) = timeout(DEADLINE, self.stream.next()).await.unwrap() {}
    }

    async fn next(&mut self) -> Message {
        let message = timeout(DEADLINE, self.stream.next()).await.expect("the hub says nothing");
        message.expect("the socket is closed").unwrap()
    }
}

/// A leaf that has introduced itself.
pub(crate) struct Leaf {
    pub(crate) socket: Socket,
    pub(crate) session: SessionId,
    pub(crate) watermark: Seq,
}

impl Leaf {
    /// Says hello on a new socket, going on with `resume`.
    pub(crate) async fn hello(region: &Region, client: u128, resume: Option<SessionId>) -> Self {
        let mut socket = Socket::leaf(region).await;
        let hello = LeafToHub::Hello {
            client: ClientId(client),
            lifetime: Lifetime::Tab,
            resume,
            capabilities: Default::default(),
        };
        socket.send(&hello).await;
        match socket.receive().await {
            HubToLeaf::Welcome { session, watermark, .. } => Self { socket, session, watermark },
            other => panic!("{other:?}"),
        }
    }

    /// Sends increments of `key` by 1, numbered from `first`, and returns the verdicts.
    pub(crate) async fn increment(&mut self, key: &str, first: u64, count: usize) -> Verdicts {
        let session = self.session;
        self.operate(session, first, vec![increment(key); count]).await
    }

    /// Sends operations of a session, numbered from `first`, and returns the verdicts. States before it are dropped.
    pub(crate) async fn operate(&mut self, session: SessionId, first: u64, operations: Vec<Operation>) -> Verdicts {
        self.socket.send(&batch(session, first, operations)).await;
        self.socket.receive_some(|message| Verdicts::of(message, session)).await
    }
}

/// What a hub says of a session's operations.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Verdicts {
    pub(crate) through: Seq,
    /// Each with the hub's numbers that it took, `(after, through]`.
    pub(crate) accepted: Vec<(Seq, No, No)>,
    pub(crate) refused: Vec<(Seq, CommandError)>,
}

impl Verdicts {
    pub(crate) fn of(message: HubToLeaf, of: SessionId) -> Option<Self> {
        match message {
            HubToLeaf::Verdicts { session, through, accepted, refused } if session == of => {
                Some(Self { through, accepted, refused })
            }
            HubToLeaf::State { .. } => None,
            other => panic!("{other:?}"),
        }
    }
}

/// A batch of operations of which the leaf knows no verdict.
pub(crate) fn batch(session: SessionId, first: u64, operations: Vec<Operation>) -> LeafToHub {
    LeafToHub::Operations { session, settled: Seq(0), first: Seq(first), operations }
}

/// INCR, as a leaf prepares it.
pub(crate) fn increment(key: &str) -> Operation {
    Operation {
        key: self::key(key),
        at: now(),
        effects: vec![Effect::Add { element: ElementId::String, by: Increment::Int(1) }],
    }
}

pub(crate) fn key(name: &str) -> Key {
    Key::new(name.to_owned()).unwrap()
}

pub(crate) fn now() -> TimestampMs {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    TimestampMs(since_epoch.as_millis().try_into().unwrap())
}
