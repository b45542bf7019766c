//! What the origin asks of its store, as values: loads, and commits by compare-and-set.
//!
//! A store (Redis, or an embedded file) keeps for each slot a **marker** and a **change feed**, and for each key a
//! **companion**: fields with the CRDT state beside the plain value. It knows no CRDT rule: it compares versions and
//! writes what it is told, all of a [`Commit`] or nothing.

use crate::{
    id::{Key, No, ReplicaId, TimestampMs},
    slot::Slot,
    state::Kind,
};
use bytes::Bytes;
use std::collections::BTreeMap;

/// An incarnation that has ended, and the sequence at which it did.
pub type Ended = (ReplicaId, u64);

/// A slot's marker: where the origin's history of that slot stands.
///
/// It is written in each commit together with the data, so a failover that loses the last second rolls it back with them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Marker {
    /// The incarnation of the dataset; the origin's own operations bear it as replica.
    pub incarnation: ReplicaId,
    /// The server's run id under which the incarnation was opened.
    pub run_id: Bytes,
    /// Counts the commits of the slot.
    pub seq: u64,
    /// The last number that the origin itself used in the slot.
    pub no: No,
    /// The incarnation before, and the sequence at which it ended.
    pub previous: Option<Ended>,
    /// Per hub the highest number up to which all of its operations in the slot are committed.
    pub hubs: BTreeMap<ReplicaId, No>,
}

/// A key's companion as stored.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Companion {
    /// The slot's sequence at the key's last commit.
    pub version: u64,
    /// The fields: one for the header, one per element. The origin encodes and decodes names and bodies.
    pub fields: BTreeMap<Bytes, Bytes>,
}

/// What to read of one slot.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Load {
    /// The slot.
    pub slot: Slot,
    /// These keys' companions.
    pub keys: Vec<Key>,
    /// Also the names of keys whose last commit lies after this sequence, by the change feed.
    pub changed_after: Option<u64>,
}

/// What was read: the marker always, and what the [`Load`] asked for. One snapshot, or older than the marker says at
/// worst: the compare-and-set finds out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Loaded {
    /// The slot.
    pub slot: Slot,
    /// The marker; `None` for a slot never committed to.
    pub marker: Option<Marker>,
    /// The companions asked for; `None` where there is none.
    pub keys: Vec<(Key, Option<Companion>)>,
    /// Keys by the change feed with the sequence of their last commit, ascending by sequence.
    pub changed: Vec<(Key, u64)>,
}

/// How a commit changes the marker.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MarkerChange {
    /// Opens an incarnation: its identity, the server's run id, and the one before with its last sequence.
    pub open: Option<(ReplicaId, Bytes, Option<Ended>)>,
    /// The sequence after the commit.
    pub seq: u64,
    /// The origin's own last number after the commit.
    pub no: No,
    /// The hubs' numbers that move.
    pub hubs: Vec<(ReplicaId, No)>,
}

/// What stands at the plain key before the commit, as the origin believes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expected {
    /// Nothing.
    Absent,
    /// A value of this type.
    Present(Kind),
    /// Nothing, or a value of this type: it is written anew in any case.
    AbsentOr(Kind),
}

/// The plain Redis commands of one key. A store without plain keys ignores them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plain {
    /// What must stand there, else nothing of the commit happens. Not asked where there are no commands.
    pub expected: Expected,
    /// Commands with their arguments; the key is the second word of each.
    pub commands: Vec<Vec<Bytes>>,
}

/// One key's part of a commit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyCommit {
    /// The key.
    pub key: Key,
    /// The companion's version as the origin read it; `None` if there was none. Else nothing of the commit happens.
    pub expected_version: Option<u64>,
    /// Its version after the commit.
    pub version: u64,
    /// Whether the companion goes altogether, and the key leaves the change feed.
    pub forget: bool,
    /// Fields to write.
    pub put: Vec<(Bytes, Bytes)>,
    /// Fields to drop.
    pub delete: Vec<Bytes>,
    /// When the companion may vanish by itself; `None` never.
    pub expire_at: Option<TimestampMs>,
    /// The plain value's change.
    pub plain: Plain,
}

/// All or nothing: one slot's keys and its marker.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Commit {
    /// The slot.
    pub slot: Slot,
    /// The marker's incarnation as the origin knows it; `None` if there was no marker. Else nothing happens.
    pub fence: Option<ReplicaId>,
    /// The marker's sequence as the origin knows it (0 without marker); else nothing happens. It orders commits of
    /// several daemons, so that a hub's number and a key's version never go back.
    pub expected_seq: u64,
    /// The marker's change.
    pub marker: MarkerChange,
    /// The keys.
    pub keys: Vec<KeyCommit>,
}

/// What became of a commit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// All of it happened.
    Committed,
    /// The marker has moved on: read the slot again.
    Stale,
    /// These companions have moved on: read them again.
    Conflict(Vec<Key>),
    /// These plain values are not there though they should be: write them whole.
    Missing(Vec<Key>),
    /// Values stand at these keys that the commands do not fit: of another type, or no number under an increment.
    Foreign(Vec<Key>),
}
