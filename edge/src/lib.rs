//! The edge Worker: Redis commands over HTTP, answered by a Durable Object that is a CRDT replica.
//!
//! Two thin shells around the core. The stateless Worker ([`fetch`]) authenticates, decodes and picks the shard; the [`Hub`]
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
#[allow(missing_docs, reason = "the macro for Durable Objects documents nothing of what it generates")]
mod hub;
mod isolate;
mod level;
mod limit;
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
pub use hub::Hub;

use isolate::Scene;
use worker::{Context, Env, Request, Response, event};

/// Every request to the Worker.
///
/// # Errors
/// Where the runtime itself fails; the client then gets a plain 500.
#[event(fetch)]
pub async fn fetch(request: Request, env: Env, context: Context) -> worker::Result<Response> {
    router::route(request, Scene { env: &env, context: &context }).await
}
