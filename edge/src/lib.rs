//! The edge Worker: Redis commands over HTTP, answered by a Durable Object that is a CRDT replica.
//!
//! Two thin shells around the core. The stateless Worker ([`answer`]) authenticates, decodes and picks the shard; the [`Hub`]
//! object feeds the core's machine and performs its effects against SQLite and sockets. The [`Directory`] object knows which
//! hubs there are. No rule about data lives here: what a command or a message means is the core's business.
//!
//! Invariant: everything that an object holds can be rebuilt from its SQLite, and nothing leaves it before what it rests on
//! is written there.

mod auth;
mod clock;
mod config;
mod cors;
mod decide;
#[allow(missing_docs, reason = "the macro for Durable Objects documents nothing of what it generates")]
mod directory;
mod fields;
mod host;
#[allow(missing_docs, reason = "the macro for Durable Objects documents nothing of what it generates")]
mod hub;
mod incoming;
mod isolate;
mod level;
mod limit;
mod limiter;
mod limits;
mod path;
mod peers;
mod rate;
mod refusal;
mod respond;
mod rest;
mod router;
mod scenario;
mod session;
mod shard;
mod timeout;
mod token;

pub use directory::Directory;
pub use headwater::limit::Limit;
pub use hub::Hub;
pub use limit::{BadName, Check, Decision, Verdict};
pub use limiter::Limiter;

use futures_util::FutureExt;
use incoming::{Incoming, Sent};
use isolate::Scene;
use wasm_bindgen::{JsValue, prelude::wasm_bindgen};
use worker::{Context, Env, console_error, js_sys::futures::future_to_promise, web_sys, worker_sys};

/// Answers every request to the Worker: with a response where that takes no waiting, else with a promise of one. Where the
/// runtime itself fails, the client gets a plain 500.
///
/// Called by `entry.js`, which reads the headers and most bodies.
#[wasm_bindgen]
#[allow(
    clippy::too_many_arguments,
    reason = "each crosses the border of the module by itself; an object would cross again"
)]
#[must_use]
pub fn answer(
    request: web_sys::Request,
    env: Env,
    context: worker_sys::Context,
    method: String,
    url: String,
    body: Option<Vec<u8>>,
    authorization: Option<String>,
    idempotency_key: Option<String>,
    encoding: Option<String>,
    sync_token: Option<String>,
    durability: Option<String>,
    consistency: Option<String>,
) -> JsValue {
    let sent = Sent { authorization, idempotency_key, encoding, sync_token, durability, consistency };
    let incoming = Incoming::new(request, method, url, body, sent);
    let context = Context::new(context);
    let mut answer = Box::pin(async move {
        let answered = router::route(incoming, Scene { env: &env, context: &context }).await;
        Ok(JsValue::from(answered.unwrap_or_else(|error| {
            console_error!("{error}");
            respond::plain(500, "INTERNAL SERVER ERROR")
        })))
    });
    match answer.as_mut().now_or_never() {
        Some(answered) => answered.unwrap_or_else(|never: JsValue| never),
        None => future_to_promise(answer).into(),
    }
}
