//! `origin-sync`: the daemon around one Redis, or around an embedded file in its place.
//!
//! It dials the hubs, feeds what they say to [`headwater`]'s origin, and performs what that decides. As a library it lets
//! tests reach the stores.
#![deny(clippy::unwrap_used)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod actor;
mod backoff;
pub mod check;
pub mod cli;
mod clock;
mod clocks;
mod crew;
pub mod daemon;
pub mod dial;
pub mod edge;
pub mod erasure;
mod history;
mod identity;
mod keyspace;
pub mod measure;
mod outbox;
mod page;
pub mod remote;
mod report;
mod run;
pub mod settings;
pub mod store;
pub mod telemetry;
mod trace;
