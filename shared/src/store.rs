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
use std::collections::{BTreeMap, BTreeSet};

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
    /// Also what plain clients read at these keys.
    pub plain: Vec<PlainLoad>,
}

/// A plain value to read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PlainLoad {
    /// The key.
    pub key: Key,
    /// What most likely stands there; a store may read that in a cheaper way, and answers what stands there all the same.
    pub expected: Option<Kind>,
}

/// What was read: the marker always, and what the [`Load`] asked for. One snapshot, or older than the marker says at
/// worst: the compare-and-set finds out.
#[derive(Clone, PartialEq, Debug)]
pub struct Loaded {
    /// The slot.
    pub slot: Slot,
    /// The marker; `None` for a slot never committed to.
    pub marker: Option<Marker>,
    /// The companions asked for; `None` where there is none.
    pub keys: Vec<(Key, Option<Companion>)>,
    /// Keys by the change feed with the sequence of their last commit, ascending by sequence.
    pub changed: Vec<(Key, u64)>,
    /// What plain clients read at the keys asked for, from one snapshot with the marker. A store without plain values answers
    /// nothing.
    pub plain: Vec<(Key, PlainRead)>,
    /// How many keys the server has evicted in its present life, where plain values were asked for.
    pub evictions: u64,
}

/// What stands at a plain key.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct PlainRead {
    /// The value; `None` where there is none.
    pub value: Option<PlainValue>,
    /// When the value ends by itself, if it does.
    pub expire_at: Option<TimestampMs>,
    /// Whether the server tells when values end; otherwise nothing is known of it.
    pub tells_expiry: bool,
    /// Whether the change feed names the key: then it had a companion once.
    pub is_listed: bool,
}

impl PlainRead {
    /// Whether the value is a hash with that field.
    pub(crate) fn has_field(&self, name: &[u8]) -> bool {
        matches!(&self.value, Some(PlainValue::Hash(fields)) if fields.contains_key(name))
    }
}

/// A plain value.
#[derive(Clone, PartialEq, Debug)]
pub enum PlainValue {
    /// Bytes.
    String(Bytes),
    /// Members.
    Set(BTreeSet<Bytes>),
    /// Fields with their values.
    Hash(BTreeMap<Bytes, Bytes>),
    /// Members with their scores.
    Board(BTreeMap<Bytes, f64>),
    /// A value of a type that Headwater does not replicate.
    Other,
}

impl PlainValue {
    /// Its type, if Headwater has it.
    pub fn kind(&self) -> Option<Kind> {
        match self {
            Self::String(_) => Some(Kind::String),
            Self::Set(_) => Some(Kind::Set),
            Self::Hash(_) => Some(Kind::Hash),
            Self::Board(_) => Some(Kind::Board),
            Self::Other => None,
        }
    }

    /// How many elements it has.
    pub fn count(&self) -> usize {
        match self {
            Self::String(_) | Self::Other => 1,
            Self::Set(members) => members.len(),
            Self::Hash(fields) => fields.len(),
            Self::Board(members) => members.len(),
        }
    }
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
    /// What is read before the commands run, to see whether plain clients wrote since the origin looked. Not asked where
    /// there are no commands.
    pub guards: Vec<Guard>,
    /// Commands with their arguments; the key is the second word of each.
    pub commands: Vec<Vec<Bytes>>,
}

impl Plain {
    /// What a store in memory makes of the guards, by what each read answers: [`Otherwise::Refuse`], [`Otherwise::Tell`], or
    /// `None` where all is as expected or nothing is guarded.
    pub fn judged(&self, answer: impl Fn(&[Bytes]) -> Option<Bytes>) -> Option<Otherwise> {
        let guards = self.guards.iter().filter(|_| !self.commands.is_empty());
        let answers = guards.map(|guard| (guard, answer(&guard.read)));
        let differing: Vec<_> = answers.filter(|(guard, answer)| *answer != guard.answer).collect();
        let refuses = differing.iter().any(|(guard, answer)| guard.refuses(answer.as_deref()));
        (!differing.is_empty()).then_some(if refuses { Otherwise::Refuse } else { Otherwise::Tell })
    }

    /// Nothing to do, whatever stands there.
    pub fn untouched() -> Self {
        Self { expected: Expected::Absent, guards: Vec::new(), commands: Vec::new() }
    }
}

/// What a read of a plain key is expected to answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Guard {
    /// GET, HGET or ZSCORE with its arguments; the key is the second word.
    pub read: Vec<Bytes>,
    /// The answer as text, if there is one.
    pub answer: Option<Bytes>,
    /// What becomes of the commit at any other answer.
    pub otherwise: Otherwise,
}

/// What becomes of a commit when a read of a plain key answers something else than expected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Otherwise {
    /// Nothing of it happens: a command would overwrite what is there.
    Refuse,
    /// It adds to what is there and tells of the difference, unless there is less than expected, or nothing: then the server
    /// may have lost the value and plain clients begun another, and nothing of it happens.
    RefuseLess,
    /// It happens, and tells of the difference.
    Tell,
}

impl Guard {
    /// Whether `answer`, if it is not the one that is expected, refuses the commit.
    pub fn refuses(&self, answer: Option<&[u8]>) -> bool {
        let number = |text: &[u8]| std::str::from_utf8(text).ok()?.parse::<f64>().ok();
        match self.otherwise {
            Otherwise::Refuse => true,
            Otherwise::RefuseLess => answer.and_then(number) < self.answer.as_deref().and_then(number),
            Otherwise::Tell => false,
        }
    }
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
    /// All of it happened, and plain clients had written to these values before.
    Drifted(Vec<Key>),
    /// Nothing happened: plain clients wrote to these values, which would be overwritten.
    Moved(Vec<Key>),
    /// The marker has moved on: read the slot again.
    Stale,
    /// These companions have moved on: read them again.
    Conflict(Vec<Key>),
    /// These plain values are not there though they should be: write them whole.
    Missing(Vec<Key>),
    /// Values stand at these keys that the commands do not fit: of another type, or no number under an increment.
    Foreign(Vec<Key>),
}

/// What the account of a strict limit is to become, or, without a value, what it is. The store knows nothing of it: it
/// compares versions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LedgerSwap {
    /// Whose limit it is.
    pub key: Key,
    /// The version that must stand there; `None` where nothing must.
    pub expected: Option<u64>,
    /// The version and the bytes that stand there then.
    pub value: Option<(u64, Bytes)>,
    /// When it may vanish by itself.
    pub expire_at: TimestampMs,
}

/// What became of a [`LedgerSwap`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LedgerOutcome {
    /// It stands there.
    Swapped,
    /// Nothing happened, and this stands there.
    Found(Option<StoredLedger>),
}

/// An account as it stands in the store.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredLedger {
    /// Its version.
    pub version: u64,
    /// Whether it was written in the store's present life, by its run id. What was written in a former one may be older than what was
    /// written last.
    pub is_current: bool,
    /// The bytes.
    pub bytes: Bytes,
}

impl LedgerSwap {
    /// What a store in memory makes of it, where this stands there.
    pub fn judged(&self, standing: Option<&StoredLedger>) -> LedgerOutcome {
        if self.value.is_some() && standing.map(|standing| standing.version) == self.expected {
            LedgerOutcome::Swapped
        } else {
            LedgerOutcome::Found(standing.cloned())
        }
    }

    /// What stands there once it was swapped.
    pub fn stored(&self) -> Option<StoredLedger> {
        let (version, bytes) = self.value.clone()?;
        Some(StoredLedger { version, is_current: true, bytes })
    }
}
