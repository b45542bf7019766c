//! The core of Headwater: CRDT states, the element-granular keyspace, and the three state machines.
//!
//! Sans-IO: no clock, socket, thread, random source or environment. Time, entropy and identity come in as arguments,
//! effects go out as values, so that the same code runs in a Worker, a browser tab, a daemon and a simulation.
//!
//! - [`id`], [`hlc`], [`slot`], [`limits`]: identities and bounds.
//! - [`state`]: the join-semilattices of which every key is made, and their one merge.
//! - [`command`]: the Redis commands as values, and their replies.
//! - [`exec`]: a command against a key's state becomes a reply and prepared effects; effects change the state.
//! - [`grant`]: what the bearer of a token may do.
//! - [`namespace`]: which keys are whose, where applications share a deployment.
//! - [`eviction`]: which keys to evict when memory runs short.
//! - [`wire`], [`message`]: the frame and what travels in it.
//! - [`topic`]: what can be listened to at the origin's Redis.
//! - [`digest`]: where two replicas differ.
//! - [`lease`]: until when a node may use rights that it was handed.
//! - [`limit`]: rate limits as functions of window counters and time.
//! - [`standings`]: a board's head and single places, for who does not hold the board.
//! - [`leaf`], [`hub`], [`origin`]: the machines, `handle(input, now) -> effects`.
#![deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::panic)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::panic))]

#[macro_use]
pub mod fault;

mod arena;
mod checksum;
pub mod command;
pub mod digest;
pub mod eviction;
pub mod exec;
mod few;
pub mod grant;
pub mod hlc;
pub mod hub;
pub mod id;
pub mod leaf;
pub mod lease;
pub mod limit;
pub mod limits;
pub mod message;
pub mod namespace;
mod ordered;
pub mod origin;
mod random;
pub mod rank_tree;
pub mod slot;
pub mod standings;
pub mod state;
pub mod store;
pub mod topic;
pub mod wheel;
pub mod wire;
