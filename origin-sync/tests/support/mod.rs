//! What the tests of the stores stand on: a Redis of our own, a temporary file, and short ways to say a commit.

pub mod bed;
pub mod say;
pub mod server;
pub mod world;
