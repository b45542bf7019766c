//! One hub: dials its WebSocket, carries frames both ways, and dials again when it breaks.

use super::Dialler;
use crate::{
    actor::Input,
    backoff::Backoff,
    identity::{Imposture, NotAdmitted},
    measure,
    outbox::{self, Waiting},
    report::HubAddress,
    trace,
};
use futures_util::{
    SinkExt, StreamExt,
    stream::{SplitSink, SplitStream},
};
use headwater::{
    limits::FRAME_BYTES_MAX,
    message::{HubToOrigin, OriginToHub, Refusal, RefusalCause},
    origin::Link,
    wire::{self, HEADER_BYTES, Terms, WireError},
};
use hyper::header::AUTHORIZATION;
use std::{
    sync::{Mutex, OnceLock, PoisonError, atomic::Ordering},
    time::Duration,
};
use tokio::{
    net::TcpStream,
    sync::{mpsc, oneshot},
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async_with_config,
    tungstenite::{self, Message, client::IntoClientRequest, protocol::WebSocketConfig},
};
use tracing::Instrument;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const PING_INTERVAL: Duration = Duration::from_secs(3);

/// A peer from which nothing comes for so long, not even a pong, is gone.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// A frame that takes longer to leave is stuck: at the largest, some 6 Mbit/s.
const SEND_TIMEOUT: Duration = Duration::from_secs(30);

/// How many messages at most share a write.
const TOGETHER_MAX: usize = 256;

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
enum LinkError {
    #[error(transparent)]
    Socket(Box<tungstenite::Error>),
    #[error("the hub could not be connected in time")]
    ConnectTimeout,
    #[error("nothing came from the hub for {} s", SILENCE_MAX.as_secs())]
    Silent,
    #[error("the hub took nothing for {} s", SEND_TIMEOUT.as_secs())]
    Stuck,
    #[error("the hub closed the connection")]
    Closed,
    #[error("the hub sent a text message")]
    Text,
    #[error("a frame from the hub was refused: {0}")]
    Refused(#[source] WireError),
    #[error("the hub is not who it says: {0}")]
    Impostor(#[source] Imposture),
    #[error(transparent)]
    Unknown(NotAdmitted),
    #[error("a message to the hub does not fit a frame: {0}")]
    Unsendable(#[source] WireError),
    #[error("the origin closed the connection")]
    ClosedHere,
    #[error("the origin refused the hub, and told it why")]
    RefusedHere(RefusalCause),
    #[error("another daemon serves the hub, or the directory no longer names it")]
    Removed,
}

impl LinkError {
    /// Whether somebody must mend something first, so that a connection that comes soon ends alike.
    fn lasts(&self) -> bool {
        let cause = match self {
            Self::Refused(error) => Refusal::from(error).cause,
            Self::RefusedHere(cause) => *cause,
            _ => return false,
        };
        matches!(cause, RefusalCause::Malformed | RefusalCause::Format | RefusalCause::Clock)
    }
}

impl From<NotAdmitted> for LinkError {
    fn from(error: NotAdmitted) -> Self {
        match error {
            NotAdmitted::Imposture(imposture) => Self::Impostor(imposture),
            NotAdmitted::Store(_) => Self::Unknown(error),
        }
    }
}

impl From<tungstenite::Error> for LinkError {
    fn from(error: tungstenite::Error) -> Self {
        Self::Socket(Box::new(error))
    }
}

/// Keeps a connection to the hub until it is removed from those to serve, or the actor ends.
pub(super) async fn run(dialler: Dialler, address: HubAddress, mut removed: oneshot::Receiver<()>) {
    let mut backoff = Backoff::new();
    loop {
        let error = tokio::select! {
            error = connection(&dialler, &address, &mut backoff) => error,
            _ = &mut removed => LinkError::Removed,
        };
        if matches!(error, LinkError::Removed) {
            tracing::info!(
                hub = address.name,
                edge = address.edge,
                "let go: another daemon serves the hub, or the directory no longer names it"
            );
            return;
        }
        if dialler.inputs.is_closed() {
            return;
        }
        if error.lasts() {
            backoff.lengthen();
        }
        let wait = backoff.next();
        tracing::info!(hub = address.name, edge = address.edge, %error, wait_ms = wait.as_millis(), "not connected");
        tokio::select! {
            () = sleep(wait) => {}
            () = dialler.inputs.closed() => return,
        }
    }
}

/// One connection from the dial to its end, which has a reason.
async fn connection(dialler: &Dialler, address: &HubAddress, backoff: &mut Backoff) -> LinkError {
    let dialling = async {
        let dialled = timeout(CONNECT_TIMEOUT, dial(dialler, address)).await;
        let dialled = dialled.unwrap_or_else(|_elapsed| Err(LinkError::ConnectTimeout));
        dialled.inspect_err(|error| trace::failed(error))
    };
    let dialled = tokio::select! {
        dialled = dialling.instrument(trace::dial(address)) => dialled,
        () = dialler.inputs.closed() => return LinkError::ClosedHere,
    };
    measure::dialled(dialled.is_ok());
    let socket = match dialled {
        Ok(socket) => socket,
        Err(error) => return error,
    };
    let link = Link(dialler.numbers.fetch_add(1, Ordering::Relaxed));
    let span = trace::connection(address, link);
    served(dialler, address, (socket, link), backoff).instrument(span).await
}

/// The connection from when it is open to its end.
async fn served(
    dialler: &Dialler,
    address: &HubAddress,
    (socket, link): (Socket, Link),
    backoff: &mut Backoff,
) -> LinkError {
    tracing::info!(hub = address.name, edge = address.edge, link = link.0, "connected");
    let (outbox, messages) = outbox::channel();
    let _closing = Closing { link, inputs: dialler.inputs.clone() };
    if dialler.inputs.send(Input::Opened(link, address.clone(), outbox)).await.is_err() {
        return LinkError::ClosedHere;
    }
    let (mut sink, stream) = socket.split();
    let said = Said::default();
    let error = tokio::select! {
        error = read(stream, (dialler, address, link), backoff, &said) => error,
        error = write(&mut sink, messages, &said) => error,
    };
    // Whichever end closed it then.
    let error = said.refused().map_or(error, LinkError::RefusedHere);
    trace::failed(&error);
    match &error {
        LinkError::Refused(cause) => tell(&mut sink, Refusal::from(cause)).await,
        LinkError::Impostor(imposture) => {
            tracing::warn!(hub = address.name, edge = address.edge, %imposture, "a hub is not who it says; it is refused");
            measure::impostor();
            tell(&mut sink, Refusal::new(RefusalCause::NotPermitted, imposture.to_string())).await;
        }
        _ => {}
    }
    error
}

/// What was said on a connection that both of its halves must know: the terms of the hub's hello, and why the origin refused
/// the hub, if it did.
#[derive(Default)]
struct Said {
    terms: Mutex<Terms>,
    refused: OnceLock<RefusalCause>,
}

impl Said {
    fn terms(&self) -> Terms {
        *self.terms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn learn(&self, message: &HubToOrigin) -> Result<(), WireError> {
        self.terms.lock().unwrap_or_else(PoisonError::into_inner).learn(message)
    }

    fn refuse(&self, cause: RefusalCause) {
        // The first refusal ends the connection.
        let _ = self.refused.set(cause);
    }

    fn refused(&self) -> Option<RefusalCause> {
        self.refused.get().copied()
    }
}

/// Says why the connection ends. Whether that arrives does not matter to this end.
async fn tell(sink: &mut SplitSink<Socket, Message>, refusal: Refusal) {
    if let Ok(frame) = wire::encode(&OriginToHub::Refused(refusal)) {
        let _ = timeout(SEND_TIMEOUT, sink.send(Message::Binary(frame.into()))).await;
        let _ = timeout(SEND_TIMEOUT, sink.close()).await;
    }
}

/// Tells the actor that the connection is gone, also when its task is dropped.
struct Closing {
    link: Link,
    inputs: mpsc::Sender<Input>,
}

impl Drop for Closing {
    fn drop(&mut self) {
        let (link, inputs) = (self.link, self.inputs.clone());
        // Without a runtime, or when the actor has ended, there is nobody to tell.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { inputs.send(Input::Closed(link)).await });
        }
    }
}

async fn dial(dialler: &Dialler, address: &HubAddress) -> Result<Socket, LinkError> {
    let mut request = dialler.edge.hub(&address.name).into_client_request()?;
    request.headers_mut().insert(AUTHORIZATION, dialler.token.header());
    let bytes_max = Some(FRAME_BYTES_MAX + HEADER_BYTES);
    let config = WebSocketConfig::default().max_message_size(bytes_max).max_frame_size(bytes_max);
    // The last argument switches Nagle's algorithm off.
    Ok(connect_async_with_config(request, Some(config), true).await?.0)
}

/// A hub's hello is looked at before the machine hears it, and what comes after it waits: one that claims what is another's is
/// let go, and the other goes on.
async fn read(
    mut stream: SplitStream<Socket>,
    (dialler, address, link): (&Dialler, &HubAddress, Link),
    backoff: &mut Backoff,
    said: &Said,
) -> LinkError {
    loop {
        // Only waiting for the socket counts as silence, not waiting for the actor.
        let message = match timeout(SILENCE_MAX, stream.next()).await {
            Err(_elapsed) => return LinkError::Silent,
            Ok(None) => return LinkError::Closed,
            Ok(Some(Err(error))) => {
                if let tungstenite::Error::Capacity(_) = &error {
                    refused(link, "size", &error);
                }
                return error.into();
            }
            Ok(Some(Ok(message))) => message,
        };
        let frame = match message {
            Message::Binary(frame) => frame,
            Message::Text(_) => {
                refused(link, "text", &LinkError::Text);
                return LinkError::Text;
            }
            Message::Close(_) => return LinkError::Closed,
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => continue,
        };
        let decoded = wire::decode(&frame).and_then(|message| said.learn(&message).map(|()| message));
        match decoded {
            Ok(message) => {
                if let HubToOrigin::Hello { hub, name, .. } = &message
                    && let Err(error) = dialler.identities.admit(*hub, name, address).await
                {
                    return error.into();
                }
                backoff.reset();
                if dialler.inputs.send(Input::Hub(link, message)).await.is_err() {
                    // The actor has ended, and with it the outbox: what waits there is still sent before the close.
                    std::future::pending::<()>().await;
                }
            }
            Err(error) => {
                refused(link, reason(&error), &error);
                return LinkError::Refused(error);
            }
        }
    }
}

async fn write(sink: &mut SplitSink<Socket, Message>, mut messages: Waiting, said: &Said) -> LinkError {
    let mut ping = interval(PING_INTERVAL);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let first = tokio::select! {
            message = messages.next() => message,
            _ = ping.tick() => {
                if let Err(error) = sent(sink.send(Message::Ping(tungstenite::Bytes::new()))).await {
                    return error;
                }
                continue;
            }
        };
        let Some(first) = first else {
            // What was sent before has left; the peer need not answer.
            let _ = timeout(SEND_TIMEOUT, sink.close()).await;
            return LinkError::ClosedHere;
        };
        if let Err(error) = write_together(sink, first, &mut messages, said).await {
            return error;
        }
    }
}

/// Writes a message and those that wait behind it, so that small ones share what a write costs both ends.
async fn write_together(
    sink: &mut SplitSink<Socket, Message>,
    first: OriginToHub,
    messages: &mut Waiting,
    said: &Said,
) -> Result<(), LinkError> {
    let (mut next, mut written) = (Some(first), 0);
    while let Some(message) = next {
        let frame = said.terms().encode(&message).map_err(LinkError::Unsendable)?;
        if let OriginToHub::Refused(refusal) = message {
            said.refuse(refusal.cause);
        }
        sent(sink.feed(Message::Binary(frame.into()))).await?;
        written += 1;
        next = if written < TOGETHER_MAX { messages.next_now() } else { None };
    }
    sent(sink.flush()).await
}

/// Waits until what is on its way to the socket has left.
async fn sent(sending: impl Future<Output = Result<(), tungstenite::Error>>) -> Result<(), LinkError> {
    match timeout(SEND_TIMEOUT, sending).await {
        Ok(sent) => Ok(sent?),
        Err(_elapsed) => Err(LinkError::Stuck),
    }
}

/// Notes that what a hub sent was not taken.
fn refused(link: Link, reason: &'static str, error: &dyn std::fmt::Display) {
    measure::frame_refused(reason);
    tracing::warn!(link = link.0, reason, %error, "a frame from a hub was refused");
}

fn reason(error: &WireError) -> &'static str {
    match error {
        WireError::Short { .. } => "short",
        WireError::Magic => "magic",
        WireError::Version(_) => "version",
        WireError::Kind(_) => "kind",
        WireError::Flags(_) => "flags",
        WireError::Incompatible { .. } => "incompatible",
        WireError::PeerLimit { .. } => "limit",
        WireError::Length(_) => "length",
        WireError::Checksum => "checksum",
        WireError::Body(_) => "body",
        WireError::Invalid(_) => "invalid",
    }
}
