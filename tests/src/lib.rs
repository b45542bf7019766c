//! What proves Headwater from outside its core.
//!
//! [`harness`] starts the real servers (Redis, the edge Worker in workerd, the daemon) for end-to-end tests and for
//! `cargo xtask demo`. It links none of them: it knows binaries, ports and log files only.

pub mod harness;
