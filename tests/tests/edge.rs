//! The edge Worker from outside: HTTP and WebSockets against workerd, which is killed where that is the question.
//!
//! Where no daemon takes part, the origin is away: an edge then answers reads of keys that it wrote itself, marked
//! provisional, and no others.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../edge/channels.rs"]
mod channels;
#[path = "../edge/clients.rs"]
mod clients;
#[path = "../edge/commands.rs"]
mod commands;
#[path = "../edge/durability.rs"]
mod durability;
#[path = "../edge/entry.rs"]
mod entry;
#[path = "../edge/hostile.rs"]
mod hostile;
#[path = "../edge/http.rs"]
mod http;
#[path = "../edge/isolate.rs"]
mod isolate;
#[path = "../edge/leaves.rs"]
mod leaves;
#[path = "../edge/levels.rs"]
mod levels;
#[path = "../edge/library.rs"]
mod library;
#[path = "../edge/limit.rs"]
mod limit;
#[path = "../edge/memory.rs"]
mod memory;
#[path = "../edge/namespaces.rs"]
mod namespaces;
#[path = "../edge/ordered.rs"]
mod ordered;
#[path = "../edge/origin.rs"]
mod origin;
#[path = "../edge/passing.rs"]
mod passing;
#[path = "../edge/rates.rs"]
mod rates;
#[path = "../edge/region.rs"]
mod region;
#[path = "../edge/requests.rs"]
mod requests;
#[path = "../edge/roaming.rs"]
mod roaming;
#[path = "../edge/scenarios.rs"]
mod scenarios;
#[path = "../edge/setup.rs"]
mod setup;
#[path = "../edge/socket.rs"]
mod socket;
#[path = "../edge/storage.rs"]
mod storage;
#[path = "../edge/strict.rs"]
mod strict;
#[path = "../edge/sync_tokens.rs"]
mod sync_tokens;
#[path = "../edge/throughput.rs"]
mod throughput;
#[path = "../edge/tokens.rs"]
mod tokens;
