//! What the Worker asks of a hub object: the calls and requests between the two, which nobody else can send.

use crate::{
    level::Levels,
    rest::{Encoding, Shape},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use headwater::{grant::Grants, id::BadKey, topic::Topic};
use serde::{Deserialize, Serialize};
use wasm_bindgen::JsValue;
use worker::{Headers, Method, Request, RequestInit, Result, js_sys::Uint8Array};

/// A call: runs the [`Commands`] in the body.
pub(crate) const COMMANDS: &str = "commands";
/// Hands on the leaf's frame in the body.
pub(crate) const RELAY: &str = "/relay";
/// A call: takes an isolate's [`Exchange`] and answers [`Exchanged`].
pub(crate) const EXCHANGE: &str = "exchange";
/// Takes a [`Poll`] of a leaf that is no isolate, and answers as [`Taken`](super::links::Taken) is written for it.
pub(crate) const POLL: &str = "/poll";
/// Answers with a stream of what is published to what [`Listen`] names.
pub(crate) const LISTEN: &str = "/listen";
/// Says what the outbox has for the client's key in the body, as [`Jobs`].
pub(crate) const JOBS: &str = "/jobs";
/// Says how the hub is, as [`Status`].
pub(crate) const STATUS: &str = "/status";
/// Makes sure that the hub exists and that the directory knows it.
pub(crate) const WAKE: &str = "/wake";
/// Takes in a leaf's socket.
pub(crate) const LEAF: &str = "/leaf";
/// Takes in a daemon's socket.
pub(crate) const ORIGIN: &str = "/origin";

/// The header with a leaf's bounds, in base64: JSON may have what a header may not.
const BOUNDS: &str = "headwater-bounds";

/// A request's commands, decoded.
#[derive(Serialize, Deserialize)]
pub(crate) struct Commands {
    /// How they came, and so how the answer goes.
    pub(crate) shape: Shape,
    /// How its strings are written.
    pub(crate) encoding: Encoding,
    /// The client's `Upstash-Sync-Token`.
    pub(crate) sync_token: Option<String>,
    /// The client's `Idempotency-Key`.
    pub(crate) idempotency: Option<Bytes>,
    /// What the call asks of durability and consistency.
    pub(crate) levels: Levels,
    /// Each with its arguments.
    pub(crate) commands: Vec<Vec<Bytes>>,
}

/// What an isolate tells a hub in one request.
#[derive(Serialize, Deserialize)]
pub(crate) struct Exchange {
    /// The isolate's connection: a random number, drawn anew when it begins again.
    pub(crate) link: u128,
    /// Messages of a leaf, each a frame.
    pub(crate) frames: Vec<Bytes>,
}

/// What the hub answers.
#[derive(Serialize, Deserialize)]
pub(crate) enum Exchanged {
    /// Messages to a leaf, each a frame.
    Frames(Vec<Bytes>),
    /// More waits for the isolate than the hub keeps, and the link has ended: follow less.
    TooMuch,
}

/// What a leaf to which sockets are blocked tells a hub in one request.
#[derive(Serialize, Deserialize)]
pub(crate) struct Poll {
    /// The leaf's connection: a random number, drawn anew when it begins again.
    pub(crate) link: u128,
    /// What the leaf is bound to, as JSON.
    pub(crate) bounds: Option<String>,
    /// How long to wait for something to answer, in milliseconds.
    pub(crate) wait_ms: u32,
    /// Messages of a leaf: frames one after the other.
    pub(crate) frames: Bytes,
}

/// What a client listens to.
#[derive(Serialize, Deserialize)]
pub(crate) struct Listen {
    /// Whether the name is a pattern.
    pub(crate) is_pattern: bool,
    /// The channel, or the pattern.
    pub(crate) name: Bytes,
    /// When the client's token ends, in milliseconds since 1970.
    pub(crate) until_ms: Option<i64>,
}

impl Listen {
    /// The topic.
    pub(crate) fn topic(&self) -> Result<Topic, BadKey> {
        let name = self.name.clone();
        if self.is_pattern { Topic::pattern(name) } else { Topic::channel(name) }
    }
}

/// What a leaf's socket is bound to.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Bounds {
    /// What the leaf may do.
    pub(crate) grants: Grants,
    /// Until when, in seconds since 1970.
    pub(crate) until_s: i64,
}

impl Bounds {
    /// Reads bounds as JSON. What cannot be read grants nothing.
    pub(crate) fn read(json: &str) -> Self {
        serde_json::from_str(json).unwrap_or_else(|_| Self { grants: Grants::default(), until_s: 0 })
    }
}

/// What the outbox of a hub has for a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Jobs {
    /// On their way to the origin.
    pub(crate) stored: usize,
    /// Delivered, and kept in case that the origin's store loses them.
    pub(crate) unstable: usize,
    /// Whether there is an origin that they can go to now.
    pub(crate) origin_connected: bool,
}

/// How a hub is. The hubs of a region add up.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Status {
    pub(crate) replica: String,
    pub(crate) keys: usize,
    pub(crate) pending: usize,
    pub(crate) unstable: usize,
    pub(crate) origin_connected: bool,
    pub(crate) leaves: usize,
    pub(crate) jobs: usize,
    pub(crate) memory_bytes: usize,
    pub(crate) evicted: u64,
    pub(crate) refused: u64,
    pub(crate) undecided: u64,
    /// What the program takes in the isolate of the object, of which it gives nothing back.
    pub(crate) isolate_bytes: usize,
}

/// A GET of `path`.
pub(crate) fn get(path: &str) -> Result<Request> {
    Request::new(&url(path), Method::Get)
}

/// A POST of `body` to `path`.
pub(crate) fn post(path: &str, body: &[u8]) -> Result<Request> {
    Request::new_with_init(&url(path), &post_init(body, Headers::new()))
}

/// The upgrade of a socket at `path`.
pub(crate) fn upgrade(path: &str) -> Result<Request> {
    let headers = Headers::new();
    headers.set("upgrade", "websocket")?;
    let mut init = RequestInit::new();
    init.with_headers(headers);
    Request::new_with_init(&url(path), &init)
}

/// The upgrade of a leaf's socket, bound to [`Bounds`] as JSON if it is to any.
pub(crate) fn upgrade_leaf(bounds: Option<&str>) -> Result<Request> {
    let request = upgrade(LEAF)?;
    let Some(bounds) = bounds else { return Ok(request) };
    let headers = Headers::from_iter(request.headers().entries());
    headers.set(BOUNDS, &STANDARD.encode(bounds))?;
    let mut init = RequestInit::new();
    init.with_headers(headers);
    Request::new_with_init(&url(LEAF), &init)
}

/// What [`upgrade_leaf`] said, as JSON.
pub(crate) fn bounds(request: &Request) -> Result<Option<String>> {
    let Some(encoded) = request.headers().get(BOUNDS)? else { return Ok(None) };
    let bounds = STANDARD.decode(encoded).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    bounds.map(Some).ok_or_else(|| worker::Error::RustError("a leaf's bounds cannot be read".into()))
}

/// A POST of bytes.
pub(crate) fn post_init(body: &[u8], headers: Headers) -> RequestInit {
    let mut init = RequestInit::new();
    init.with_method(Method::Post).with_headers(headers).with_body(Some(JsValue::from(Uint8Array::from(body))));
    init
}

fn url(path: &str) -> String {
    format!("http://object{path}")
}
