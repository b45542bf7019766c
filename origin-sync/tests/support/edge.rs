//! An edge with one hub, in this process: a directory, and a WebSocket behind which the real hub's machine sits.

use super::say::{bytes, now};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use headwater::{
    command::{CommandError, Reply},
    hub::{Connection, Hub, HubEffect, HubInput, HubStatus, Request},
    message::HubToOrigin,
    wire,
};
use parking_lot::{Mutex, MutexGuard};
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinSet,
};
use tokio_tungstenite::tungstenite::{
    Message,
    handshake::server::{ErrorResponse, Request as Handshake, Response},
};

pub const TOKEN: &str = "the origin's token";
/// What its hub is called, unless a test has more edges than one.
const HUB_NAME: &str = "test/0";

pub struct Edge {
    port: u16,
    hub: HubHandle,
    _tasks: JoinSet<()>,
}

/// The hub, for whoever writes to it.
#[derive(Clone)]
pub struct HubHandle(Arc<Shared>);

#[derive(Default)]
struct Sockets {
    last: u64,
    /// All that are open: two daemons may dial the hub at once, and the hub says which of them it hears.
    open: BTreeMap<Connection, mpsc::UnboundedSender<Message>>,
}

struct Shared {
    name: String,
    hub: Mutex<Hub>,
    sockets: Mutex<Sockets>,
    /// Sockets are accepted, and then nothing is read or answered.
    is_deaf: AtomicBool,
    /// The hub says nothing to daemons any more.
    is_mute: AtomicBool,
    /// Nobody's token is known here.
    is_closed: AtomicBool,
    accepted: AtomicU64,
    /// By how much the hub's clock is wrong, in milliseconds.
    clock_off_ms: AtomicI64,
}

impl Edge {
    pub async fn start() -> Self {
        Self::with_hub(HUB_NAME).await
    }

    /// With a hub of that name.
    pub async fn with_hub(name: &str) -> Self {
        Self::with_identity(name, fastrand::u64(..)).await
    }

    /// With a hub of that name whose identity follows from these bits.
    pub async fn with_identity(name: &str, entropy: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (hub, _persisted) = Hub::create(name.to_owned(), entropy, now());
        let shared = Arc::new(Shared {
            name: name.to_owned(),
            hub: Mutex::new(hub),
            sockets: Mutex::default(),
            is_deaf: AtomicBool::new(false),
            is_mute: AtomicBool::new(false),
            is_closed: AtomicBool::new(false),
            accepted: AtomicU64::new(0),
            clock_off_ms: AtomicI64::new(0),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, Arc::clone(&shared)));
        tasks.spawn(tick(Arc::clone(&shared)));
        Self { port, hub: HubHandle(shared), _tasks: tasks }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn handle(&self) -> HubHandle {
        self.hub.clone()
    }

    pub fn execute(&self, words: &[&str]) -> Result<Reply, CommandError> {
        self.hub.execute(words)
    }

    pub fn status(&self) -> HubStatus {
        self.hub.status()
    }

    /// Sends the daemon what is no frame of ours.
    pub fn send_garbage(&self) {
        self.send([Message::Binary(bytes("garbage"))]);
    }

    /// Sends the daemon what the hub did not say: all of it by one socket, whatever the daemon makes of the first.
    pub fn say(&self, messages: &[HubToOrigin]) {
        self.send(messages.iter().map(|message| Message::Binary(wire::encode(message).unwrap().into())));
    }

    /// Sends the daemon anything.
    pub fn send(&self, messages: impl IntoIterator<Item = Message>) {
        // No socket is taken away while this is held.
        let sockets = self.hub.0.sockets.lock();
        let (_, socket) = sockets.open.last_key_value().expect("a connected daemon");
        messages.into_iter().for_each(|message| socket.send(message).unwrap());
    }

    /// From now on sockets are accepted and then ignored.
    pub fn go_deaf(&self) {
        self.hub.0.is_deaf.store(true, Ordering::SeqCst);
    }

    /// From now on only what a test sends is sent.
    pub fn go_mute(&self) {
        self.hub.0.is_mute.store(true, Ordering::SeqCst);
    }

    /// From now on the directory knows nobody's token.
    pub fn refuse_tokens(&self) {
        self.hub.0.is_closed.store(true, Ordering::SeqCst);
    }

    /// Returns once a daemon's socket is open.
    pub async fn when_open(&self) {
        super::daemon::eventually("a daemon is connected", async || {
            (!self.hub.0.sockets.lock().open.is_empty()).then_some(())
        })
        .await;
    }

    /// From now on the hub's clock is wrong by so much.
    pub fn set_clock_off(&self, ms: i64) {
        self.hub.0.clock_off_ms.store(ms, Ordering::SeqCst);
    }

    /// Sockets accepted so far.
    pub fn accepted(&self) -> u64 {
        self.hub.0.accepted.load(Ordering::SeqCst)
    }
}

impl HubHandle {
    pub fn execute(&self, words: &[&str]) -> Result<Reply, CommandError> {
        let commands = vec![words.iter().map(bytes).collect()];
        let effects = self.0.handle(HubInput::Commands { request: Request(0), commands, idempotency: None });
        let reply = effects.into_iter().find_map(|effect| match effect {
            HubEffect::Reply { replies, .. } => replies.into_iter().next(),
            _ => None,
        });
        reply.expect("a command that any hub answers at once")
    }

    /// Executes commands that came together; what they answer is not looked at.
    pub fn run(&self, commands: Vec<Vec<Bytes>>) {
        let _ = self.0.handle(HubInput::Commands { request: Request(0), commands, idempotency: None });
    }

    /// Whether all that the hub executed is in the store.
    pub fn is_settled(&self) -> bool {
        self.0.hub.lock().is_settled()
    }

    pub fn status(&self) -> HubStatus {
        self.0.hub.lock().status()
    }
}

impl Shared {
    /// Performs what goes to the origin, and hands back everything. The hub is held until all is on its way, so that it
    /// leaves in the order in which it was said.
    fn handle(&self, input: HubInput) -> Vec<HubEffect> {
        let clock = now().plus_ms(self.clock_off_ms.load(Ordering::SeqCst));
        let mut hub = self.hub.lock();
        let effects = hub.handle(input, clock);
        let sockets = self.sockets.lock();
        for effect in &effects {
            if let HubEffect::ToOrigin(to, message) = effect
                && let Some(socket) = sockets.open.get(to)
                && !self.is_mute.load(Ordering::SeqCst)
            {
                let _ = socket.send(Message::Binary(wire::encode(message).unwrap().into()));
            }
        }
        drop(sockets);
        // To whoever has waited longest, as an object takes what comes: one that writes all the time would shut out the daemon.
        MutexGuard::unlock_fair(hub);
        effects
    }
}

async fn tick(shared: Arc<Shared>) {
    loop {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let _ = shared.handle(HubInput::Tick);
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        connections.spawn(serve(stream, Arc::clone(&shared)));
    }
}

async fn serve(mut stream: TcpStream, shared: Arc<Shared>) {
    let mut head = [0; 4096];
    let length = stream.peek(&mut head).await.unwrap_or(0);
    let head = String::from_utf8_lossy(&head[..length]).into_owned();
    if head.starts_with("GET /v1/hubs ") {
        let _ = stream.read(&mut [0; 4096]).await;
        let is_open = !shared.is_closed.load(Ordering::SeqCst);
        let is_authorized = is_open && head.contains(&format!("Bearer {TOKEN}"));
        let (status, body) = if is_authorized {
            ("200 OK", format!(r#"[{{"name":"{}"}}]"#, shared.name))
        } else {
            ("401 No", String::new())
        };
        let length = body.len();
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
        let _ = stream.write_all(answer.as_bytes()).await;
    } else {
        websocket(stream, &shared).await;
    }
}

async fn websocket(stream: TcpStream, shared: &Shared) {
    #[expect(clippy::result_large_err, reason = "tungstenite's callback is so")]
    let check = |request: &Handshake, response: Response| -> Result<Response, ErrorResponse> {
        let token = request.headers().get("authorization").and_then(|value| value.to_str().ok());
        assert_eq!(token, Some(format!("Bearer {TOKEN}").as_str()));
        let escapes = [('/', "%2F"), ('<', "%3C"), ('>', "%3E")];
        let name = escapes.iter().fold(shared.name.clone(), |name, (raw, escape)| name.replace(*raw, escape));
        assert_eq!(request.uri().to_string(), format!("/v1/origin?hub={name}"));
        Ok(response)
    };
    let Ok(socket) = tokio_tungstenite::accept_hdr_async(stream, check).await else { return };
    if shared.is_deaf.load(Ordering::SeqCst) {
        shared.accepted.fetch_add(1, Ordering::SeqCst);
        std::future::pending::<()>().await;
    }
    let (mut sink, mut stream) = socket.split();
    let (sender, mut waiting) = mpsc::unbounded_channel();
    let connection = {
        let mut sockets = shared.sockets.lock();
        sockets.last += 1;
        let connection = Connection(sockets.last);
        sockets.open.insert(connection, sender);
        connection
    };
    // Only now: whoever has seen it counted may send by it.
    shared.accepted.fetch_add(1, Ordering::SeqCst);
    loop {
        tokio::select! {
            Some(message) = waiting.recv() => drop(sink.send(message).await),
            message = stream.next() => match message {
                Some(Ok(Message::Binary(frame))) => {
                    let message = wire::decode(&frame).unwrap();
                    let _ = shared.handle(HubInput::Origin(connection, message));
                }
                Some(Ok(Message::Close(_)) | Err(_)) | None => break,
                Some(Ok(_)) => {}
            },
        }
        if shared.is_deaf.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
    }
    // In this order, so that a hub that says it is connected has a socket.
    let _ = shared.handle(HubInput::OriginClosed(connection));
    shared.sockets.lock().open.remove(&connection);
}
