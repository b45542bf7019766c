//! The origin's inputs and effects: the contract between the machine and the daemon around it.

use crate::{
    id::{HashSeed, Key, No, ReplicaId, TimestampMs},
    message::{HubToOrigin, Job, OriginToHub, Published, RunReply},
    namespace::Namespace,
    slot::Slot,
    store::{Commit, LedgerOutcome, LedgerSwap, Load, Loaded, Outcome},
    topic::Topic,
};
use bytes::Bytes;

/// A connection to a hub, numbered by the shell; never reused while the shell lives.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Link(pub u64);

/// How the origin behaves.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OriginConfig {
    /// The server's run id. A daemon that loses its store connection makes a new machine with the new run id.
    pub run_id: Bytes,
    /// Random bits, from which a fresh incarnation takes its name.
    pub entropy: u64,
    /// More random bits, which nobody outside learns: digests are hashed under seeds drawn from them.
    pub seed: HashSeed,
    /// By what a commit is taken to be stable.
    pub stable_by: StableBy,
    /// How long after a commit it is taken to be stable where that goes by time, in milliseconds.
    pub loss_window_ms: i64,
    /// The time between two batches of a hub that is at rest, in milliseconds.
    pub window_ms: i64,
    /// The time between two batches of a hub that is busy, in milliseconds: for how long its operations may be gathered.
    pub window_ms_max: i64,
    /// The time between two looks at a hub for what was lost unnoticed, in milliseconds; each compares some thousand keys,
    /// and wakes a hub that sleeps.
    pub audit_ms: i64,
}

/// By what a commit is taken to survive what the store may lose.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StableBy {
    /// The loss window has passed.
    Window,
    /// The store says so.
    Store,
    /// Either of the two.
    Either,
}

/// Every cause of change in the origin.
#[derive(Clone, PartialEq, Debug)]
pub enum OriginInput {
    /// The daemon dialled a hub, or greets it again.
    Opened(Link),
    /// A hub's message.
    Hub(Link, HubToOrigin),
    /// A hub's socket is gone.
    Closed(Link),
    /// The store answered a [`OriginEffect::Load`].
    Loaded(Loaded),
    /// The store answered a [`OriginEffect::Commit`]. A store that failed gives no answer: the machine is made anew.
    Committed(Slot, Outcome),
    /// What became of a [`OriginEffect::Run`]: one reply a command, in order.
    Ran(Link, u64, Vec<RunReply>),
    /// The store answered a [`OriginEffect::Jobs`]. A store that failed gives no answer, as with a commit.
    JobsDone(Link, JobsDone),
    /// The store answered a [`OriginEffect::Swap`] of this key's account. A store that failed gives no answer, as with a commit.
    Swapped(Key, LedgerOutcome),
    /// Answers a [`OriginEffect::Confirm`]: of these slots all survives that was committed before it was asked for. In those
    /// that are missing it may not.
    Survives(Vec<Slot>),
    /// Remove these keys whole, with what plain clients wrote there, and have every node forget them. [`OriginEffect::Erased`]
    /// tells of each.
    Erase(Vec<Key>),
    /// A daemon, perhaps this one, says that it brought the slot to this sequence. A hint: none need come.
    Changed(Slot, u64),
    /// The server says that plain values were changed, perhaps by this daemon's own commits. A hint: none need come.
    Touched(Vec<Key>),
    /// The operator has the value removed that stands at this key, of a type that is not overwritten. To be said before that
    /// is done: nothing else tells it from a plain client's DEL where the value was not read meanwhile.
    Discarding(Key),
    /// Until now the server told nothing of plain values, or not all.
    Untracked,
    /// What became of an [`OriginEffect::Listen`]. Said again where the daemon had to begin anew, and may have missed something;
    /// after an error it listens no more.
    Listening(Topic, Result<(), Box<str>>),
    /// Something was published that is listened to.
    Published(Published),
    /// What was published is more than this hub takes in, and some was not sent to it.
    Overrun(Link),
    /// The time asked for by [`OriginEffect::WakeAt`] has come.
    Tick,
}

/// What became of some jobs.
#[derive(Clone, PartialEq, Debug)]
pub struct JobsDone {
    /// Whose they are.
    pub hub: ReplicaId,
    /// The slot of their keys.
    pub slot: Slot,
    /// The number that stands there now: all jobs up to it have run.
    pub through: No,
    /// What Redis answered to those that ran now.
    pub replies: Vec<(No, RunReply)>,
}

/// What the daemon is to do. Loads and commits of one slot come one at a time; those of different slots may overlap.
#[derive(Clone, PartialEq, Debug)]
pub enum OriginEffect {
    /// Send to a hub.
    ToHub(Link, OriginToHub),
    /// Close a hub's connection, for this reason.
    Close(Link, String),
    /// Read from the store.
    Load(Load),
    /// Write to the store.
    Commit(Commit),
    /// Run these commands in Redis once, one after the other, and tell what came of it by [`OriginInput::Ran`], also where
    /// that is not known. It is the daemon that knows which commands it may run.
    Run {
        /// Who asks.
        link: Link,
        /// The hub's number of the call.
        call: u64,
        /// Each with its arguments.
        commands: Vec<Vec<Bytes>>,
        /// Which keys count of what asks of all keys.
        within: Namespace,
    },
    /// Run these jobs, and with them, all or nothing, note the number of the last as the hub's in the slot. Those at or below
    /// the number that stands there have run.
    Jobs {
        /// Who sends them.
        link: Link,
        /// Whose they are.
        hub: ReplicaId,
        /// The slot of their keys.
        slot: Slot,
        /// In ascending order.
        jobs: Vec<Job>,
    },
    /// Swap the account of a strict limit in the store, or read it. One of a key at a time.
    Swap(LedgerSwap),
    /// Find out in which of these slots all that was committed until now survives what the store may lose, and tell by
    /// [`OriginInput::Survives`], also where that is none. Until then nothing more is asked.
    Confirm(Vec<Slot>),
    /// This key is erased, or there was nothing; a value of a foreign type stays.
    Erased(Key),
    /// A value of a foreign type stands at this key: held for the operator.
    Foreign(Key),
    /// So many keys are as plain clients wrote them, in the state too. Nothing is to be done.
    Adopted(usize),
    /// Listen to a topic, and tell by [`OriginInput::Listening`] once that is so, or why it cannot be. It is the daemon that knows
    /// what may be listened to.
    Listen(Topic),
    /// Nobody listens to the topic any more.
    Unlisten(Topic),
    /// Give a [`OriginInput::Tick`] then, in place of any time asked for before.
    WakeAt(TimestampMs),
}

/// What an operator sees of a connected hub.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LinkStatus {
    /// The hub's identity, once it said hello.
    pub hub: Option<ReplicaId>,
    /// Its name in the directory.
    pub name: String,
    /// Keys that it holds.
    pub held: usize,
    /// Batches received from it.
    pub batches: u64,
    /// The hub's clock minus the origin's when it said hello, in milliseconds.
    pub clock_offset_ms: i64,
}
