//! Starts the real parts on loopback ports, waits until they answer, and takes them down again.
//!
//! Invariant: no server outlives its handle, nor the process that started it, however that process ends (see
//! [`process`]). Nothing here listens beyond 127.0.0.1, and no port is fixed. The parts are reached over sockets only;
//! what they mean is not known here.

mod daemon;
mod edge;
mod example;
mod layout;
mod port;
mod process;
mod redis;
mod workerd;

pub use daemon::{Daemon, DaemonConfig, Store};
pub use edge::{Edge, EdgeConfig};
pub use example::{Example, ExampleConfig};
pub use layout::Layout;
pub use port::free_port;
pub use redis::{Redis, RedisConfig};
pub use workerd::{Workerd, WorkerdConfig, text_literal};

/// Everything here serves tests and tools, so one error type that carries its story is enough.
pub type Result<T> = anyhow::Result<T>;
