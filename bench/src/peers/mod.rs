//! The other side: what else one might use for the same work. Natively only; Node's peers are in `node/`.
//!
//! Each does the work as its documentation has it, in its leanest way: one document or map for all entries, one
//! transaction for a batch, and out of it the bytes that another replica needs. None of them answers, stamps or persists
//! as a hub does, so all of that is our burden alone.

mod hash_map;

#[cfg(feature = "peers")]
mod automerge;
#[cfg(feature = "peers")]
mod crdts;
#[cfg(feature = "peers")]
mod loro;
#[cfg(feature = "peers")]
mod text;
#[cfg(feature = "peers")]
mod trees;
#[cfg(feature = "peers")]
mod yrs;

use crate::Contender;

/// A peer with its name.
pub type Peer = (&'static str, Box<dyn Contender>);

/// The peers of a bench of [`crate::ours`]; none where it stands alone.
#[must_use]
pub fn of(bench: &str, size: usize) -> Vec<Peer> {
    match bench {
        "INCR, pipelines of 64" | "INCR, pipelines of 1024" => hash_map::all(size),
        _ => heavy(bench, size),
    }
}

#[cfg(not(feature = "peers"))]
fn heavy(_: &str, _: usize) -> Vec<Peer> {
    Vec::new()
}

#[cfg(feature = "peers")]
fn heavy(bench: &str, size: usize) -> Vec<Peer> {
    use crate::ours::{JOIN, order::Question, work::Work};

    let documents = |work| -> Vec<Peer> {
        let mut peers: Vec<Peer> = vec![
            ("yrs", yrs::boxed(work, size)),
            ("loro", loro::boxed(work, size)),
            ("automerge", automerge::boxed(work, size)),
        ];
        peers.extend(crdts::operations(work, size));
        peers
    };
    match bench {
        "INCR with delta" => documents(Work::Counters),
        "SADD with delta" => documents(Work::Sets),
        "SADD to one set with delta" => documents(Work::OneSet),
        "HSET with delta" => documents(Work::Hashes),
        JOIN => crdts::joins(size),
        "rank tree: insert" => trees::all(Question::Insert, size),
        "rank tree: remove" => trees::all(Question::Remove, size),
        "rank tree: rank" => trees::all(Question::Rank, size),
        "rank tree: nth" => trees::all(Question::Nth, size),
        "rank tree: top 100" => trees::all(Question::Top, size),
        _ => Vec::new(),
    }
}
