//! The other side: what else one might use for the same work. Natively only; Node's peers are in `node/`.

mod hash_map;

use crate::Contender;

/// A peer with its name.
pub type Peer = (&'static str, Box<dyn Contender>);

/// The peers of a bench of [`crate::ours`]; none where it stands alone.
#[must_use]
pub fn of(bench: &str, size: usize) -> Vec<Peer> {
    match bench {
        "INCR, pipelines of 64" | "INCR, pipelines of 1024" => vec![("hashbrown", hash_map::boxed(size))],
        _ => Vec::new(),
    }
}
