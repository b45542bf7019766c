//! What the tests stand on: a Redis of our own, the stores, an edge, the daemon, and short ways to say a commit.
#![allow(dead_code, reason = "each test binary uses a part")]

pub mod bed;
pub mod cluster;
pub mod daemon;
pub mod edge;
pub mod proxy;
pub mod say;
pub mod server;
pub mod tls;
pub mod world;
