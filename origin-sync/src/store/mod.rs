//! Where the daemon keeps the reconciled state: a Redis, or an embedded file.
//!
//! A store knows no CRDT rule. It answers a [`Load`] from one snapshot and applies a [`Commit`] whole or not at all,
//! after it compared what the commit expects. Requests of different slots may overlap; those of one slot come one at a
//! time. A store that failed once is not used again: the daemon opens it anew, with a new machine.

pub mod embedded;
pub mod redis;

use bytes::Bytes;
use headwater::{
    command::{Passed, Reply},
    id::Key,
    origin::StableBy,
    slot::Slot,
    store::{Commit, LedgerOutcome, LedgerSwap, Load, Loaded, Outcome},
    topic::Topic,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    path::PathBuf,
};

pub use self::{
    embedded::{EmbeddedError, EmbeddedStore},
    redis::{
        ClientFiles, Credentials, Heard, Jobs, JobsRun, News, RedisConfig, RedisStore, RedisStoreError, RedisUrl,
        StableConfig, StableMeans, TlsFiles, Topology, Touches,
    },
};

/// One connection to a store.
pub trait Store: Send + Sync + 'static {
    /// Reads of one slot each what is asked for, as of one moment, in requests that they share where the store has such; in
    /// their order.
    fn load_all(&self, loads: Vec<Load>) -> impl Future<Output = Result<Vec<Loaded>, StoreError>> + Send;

    /// As [`Self::load_all`], of one slot.
    fn load(&self, load: Load) -> impl Future<Output = Result<Loaded, StoreError>> + Send {
        async {
            let loaded = self.load_all(vec![load]).await?;
            loaded.into_iter().next().ok_or(RedisStoreError::Answer("a load has no answer").into())
        }
    }

    /// Compares and writes, each commit for itself, in a request that they share where the store has such; gives what became of
    /// each, in their order. After an error it is unknown which of them happened: what was loaded before is void.
    fn commit_all(&self, commits: Vec<Commit>) -> impl Future<Output = Result<Vec<Outcome>, StoreError>> + Send;

    /// How many loads or commits are best handed over together.
    fn together_max(&self) -> usize;

    /// As [`Self::commit_all`], of one.
    fn commit(&self, commit: Commit) -> impl Future<Output = Result<Outcome, StoreError>> + Send {
        async {
            let outcomes = self.commit_all(vec![commit]).await?;
            outcomes.into_iter().next().ok_or(RedisStoreError::Answer("a commit has no answer").into())
        }
    }

    /// The identity of the store's present life, read when the connection was made and before anything else was. Where
    /// slots lie on several servers it is one name for all: a marker bears it as long as the life in which it was written
    /// lasts, and on the server that holds its slot.
    fn run_id(&self) -> Bytes;

    /// By what a commit to this store is taken to be stable.
    fn stable_by(&self) -> StableBy;

    /// The same in words, with what the servers have for it.
    fn stable_means(&self) -> impl Future<Output = String> + Send;

    /// Those of the slots in which all survives that was committed before, as far as the store can say; it may take a second
    /// or two to say that of none.
    fn survivors(&self, slots: Vec<Slot>) -> impl Future<Output = Result<Vec<Slot>, StoreError>> + Send;

    /// The type of what plain clients read at the key, as Redis calls it; `None` in a store without plain values.
    fn plain_type(&self, key: &Key) -> impl Future<Output = Result<Option<String>, StoreError>> + Send;

    /// Removes what plain clients read at the key, and says whether there was something. The next change writes it whole.
    fn discard_plain(&self, key: &Key) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// The keys under a pattern as Redis' SCAN takes it: of companions, and of what plain clients read. Reads all names.
    fn find(&self, pattern: &[u8]) -> impl Future<Output = Result<BTreeSet<Key>, StoreError>> + Send;

    /// Waits for the next commit of another daemon: its slot and sequence. A hint; some may be missed.
    fn news(&self) -> impl Future<Output = News> + Send;

    /// Waits for what the server tells of plain values that were changed, also by this daemon. A hint; some may be missed.
    fn touches(&self) -> impl Future<Output = Touches> + Send;

    /// Counts the heartbeat of the daemon `me` up by one, forgets those that are `gone`, and reads all: each daemon's name and
    /// count. `None` in a store that only one daemon can open.
    fn beat(
        &self,
        me: &str,
        gone: &[String],
    ) -> impl Future<Output = Result<Option<BTreeMap<String, i64>>, StoreError>> + Send;

    /// Forgets the heartbeat of the daemon `me`, which ends.
    fn leave(&self, me: &str) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Whose the identities of hubs are: each identity with the address at which it was first met.
    fn owners(&self) -> impl Future<Output = Result<BTreeMap<String, String>, StoreError>> + Send;

    /// Notes whose an identity is, unless that is noted already, and gives whose it is.
    fn claim(&self, hub: &str, owner: &str) -> impl Future<Output = Result<String, StoreError>> + Send;

    /// Notes whose identities are, whatever was noted before.
    fn assign(&self, owners: &BTreeMap<String, String>) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Runs a hub's jobs and notes the number of the last, as one step; those up to the number that stands there have run. What
    /// Redis puts off is waited for. After an error it is unknown which of them ran.
    fn jobs(&self, jobs: Jobs) -> impl Future<Output = Result<JobsRun, StoreError>> + Send;

    /// Swaps the account of a strict limit for the next, or reads it. After an error it is unknown which of both stands there.
    fn swap(&self, swap: LedgerSwap) -> impl Future<Output = Result<LedgerOutcome, StoreError>> + Send;

    /// Runs a command of an edge once, as a plain client would. A failure concerns this command alone.
    fn run(&self, command: &Passed) -> impl Future<Output = Result<Reply, RunError>> + Send;

    /// One page of the names of all plain keys, Headwater's own among them. A key that is there all the while is on some page,
    /// perhaps on several.
    fn scan(&self, scan: &KeyScan) -> impl Future<Output = Result<KeyPage, RunError>> + Send;

    /// Any plain key, perhaps one of Headwater's own; none where there is none.
    fn random_key(&self) -> impl Future<Output = Result<Option<Bytes>, RunError>> + Send;

    /// Begins to listen to a topic, of which [`Self::heard`] then tells.
    ///
    /// # Errors
    /// In a store to which nothing is published.
    fn listen(&self, topic: &Topic) -> Result<(), RunError>;

    /// Listens to a topic no more.
    fn unlisten(&self, topic: &Topic);

    /// Waits for what is published, and for what becomes of subscriptions.
    fn heard(&self) -> impl Future<Output = Heard> + Send;

    /// Whether the connection still answers, so that a broken one is noticed also while nothing is to be done.
    fn ping(&self) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// Which page of the names of keys.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct KeyScan {
    /// Where it begins; zero is the first.
    pub cursor: u64,
    /// About how many keys are looked at.
    pub count: u64,
    /// Only names that match.
    pub pattern: Option<Bytes>,
    /// Only keys of this type, as Redis calls it.
    pub kind: Option<Bytes>,
}

/// Some names of keys.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct KeyPage {
    /// Where the next page begins; zero where there is none.
    pub cursor: u64,
    /// The names.
    pub keys: Vec<Bytes>,
}

/// Why a store did not answer. All of it ends the connection.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Redis.
    #[error(transparent)]
    Redis(#[from] RedisStoreError),
    /// The embedded file.
    #[error(transparent)]
    Embedded(#[from] EmbeddedError),
}

/// Why a command that was passed through has no reply.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Redis' own error, as it words it.
    #[error("{0}")]
    Redis(Box<str>),
    /// The store is no Redis.
    #[error("ERR Headwater: the origin has no Redis, and this command runs only there; nothing was done")]
    NoRedis,
    /// The server cannot be reached.
    #[error("ERR Headwater: the origin cannot reach its Redis, and nothing was done: {0}")]
    Unsent(#[from] RedisStoreError),
    /// The server cannot be reached in time.
    #[error("ERR Headwater: the origin cannot reach its Redis in time, and nothing was done")]
    Unreachable,
    /// The connection broke after the command was sent.
    #[error("ERR Headwater: the origin lost its Redis, and whether the command was executed is unknown: {0}")]
    Lost(#[source] ::redis::RedisError),
    /// No answer.
    #[error("ERR Headwater: Redis took too long, and whether the command was executed is unknown")]
    TimedOut,
    /// An answer without a value.
    #[error("ERR Headwater: Redis answered nothing, and whether the command was executed is unknown")]
    Nothing,
    /// A cursor of a cluster whose slots are others' by now.
    #[error(
        "ERR Headwater: the cluster's slots have moved since the scan began, or it never gave this cursor; begin at 0"
    )]
    OtherLayout,
    /// A cluster whose cursors cannot be told in 64 bits.
    #[error("ERR Headwater: the cluster is too large to be scanned")]
    TooManyNodes,
    /// A reply that is nested more deeply than any of Redis' own commands makes it.
    #[error("ERR Headwater: the command was executed, and its reply is nested too deeply")]
    TooDeep,
}

/// Which store, and where.
#[allow(clippy::large_enum_variant, reason = "a daemon has one")]
#[derive(Clone, Debug)]
pub enum StoreLocation {
    /// A Redis.
    Redis(RedisConfig),
    /// A file, or a directory that is to hold it.
    Embedded(PathBuf),
}

impl StoreLocation {
    /// Connects.
    ///
    /// # Errors
    /// When the store cannot be reached, or is not fit to be used.
    pub async fn open(&self) -> Result<AnyStore, StoreError> {
        match self {
            Self::Redis(config) => Ok(AnyStore::Redis(RedisStore::connect(config).await?)),
            Self::Embedded(path) => Ok(AnyStore::Embedded(EmbeddedStore::open(path.clone()).await?)),
        }
    }

    /// What the status page calls it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Redis(_) => "redis",
            Self::Embedded(_) => "embedded",
        }
    }
}

/// Either store, so that only the command line decides.
#[derive(Debug)]
pub enum AnyStore {
    /// Redis.
    Redis(RedisStore),
    /// The embedded file.
    Embedded(EmbeddedStore),
}

impl Store for AnyStore {
    async fn load_all(&self, loads: Vec<Load>) -> Result<Vec<Loaded>, StoreError> {
        match self {
            Self::Redis(store) => store.load_all(loads).await,
            Self::Embedded(store) => store.load_all(loads).await,
        }
    }

    async fn commit_all(&self, commits: Vec<Commit>) -> Result<Vec<Outcome>, StoreError> {
        match self {
            Self::Redis(store) => store.commit_all(commits).await,
            Self::Embedded(store) => store.commit_all(commits).await,
        }
    }

    fn together_max(&self) -> usize {
        match self {
            Self::Redis(store) => store.together_max(),
            Self::Embedded(store) => store.together_max(),
        }
    }

    fn run_id(&self) -> Bytes {
        match self {
            Self::Redis(store) => store.run_id(),
            Self::Embedded(store) => store.run_id(),
        }
    }

    fn stable_by(&self) -> StableBy {
        match self {
            Self::Redis(store) => store.stable_by(),
            Self::Embedded(store) => store.stable_by(),
        }
    }

    async fn stable_means(&self) -> String {
        match self {
            Self::Redis(store) => store.stable_means().await,
            Self::Embedded(store) => store.stable_means().await,
        }
    }

    async fn survivors(&self, slots: Vec<Slot>) -> Result<Vec<Slot>, StoreError> {
        match self {
            Self::Redis(store) => store.survivors(slots).await,
            Self::Embedded(store) => store.survivors(slots).await,
        }
    }

    async fn beat(&self, me: &str, gone: &[String]) -> Result<Option<BTreeMap<String, i64>>, StoreError> {
        match self {
            Self::Redis(store) => store.beat(me, gone).await,
            Self::Embedded(store) => store.beat(me, gone).await,
        }
    }

    async fn leave(&self, me: &str) -> Result<(), StoreError> {
        match self {
            Self::Redis(store) => store.leave(me).await,
            Self::Embedded(store) => store.leave(me).await,
        }
    }

    async fn owners(&self) -> Result<BTreeMap<String, String>, StoreError> {
        match self {
            Self::Redis(store) => store.owners().await,
            Self::Embedded(store) => store.owners().await,
        }
    }

    async fn claim(&self, hub: &str, owner: &str) -> Result<String, StoreError> {
        match self {
            Self::Redis(store) => store.claim(hub, owner).await,
            Self::Embedded(store) => store.claim(hub, owner).await,
        }
    }

    async fn assign(&self, owners: &BTreeMap<String, String>) -> Result<(), StoreError> {
        match self {
            Self::Redis(store) => store.assign(owners).await,
            Self::Embedded(store) => store.assign(owners).await,
        }
    }

    async fn ping(&self) -> Result<(), StoreError> {
        match self {
            Self::Redis(store) => store.ping().await,
            Self::Embedded(store) => store.ping().await,
        }
    }

    async fn jobs(&self, jobs: Jobs) -> Result<JobsRun, StoreError> {
        match self {
            Self::Redis(store) => store.jobs(jobs).await,
            Self::Embedded(store) => store.jobs(jobs).await,
        }
    }

    async fn swap(&self, swap: LedgerSwap) -> Result<LedgerOutcome, StoreError> {
        match self {
            Self::Redis(store) => store.swap(swap).await,
            Self::Embedded(store) => store.swap(swap).await,
        }
    }

    async fn run(&self, command: &Passed) -> Result<Reply, RunError> {
        match self {
            Self::Redis(store) => store.run(command).await,
            Self::Embedded(store) => store.run(command).await,
        }
    }

    async fn scan(&self, scan: &KeyScan) -> Result<KeyPage, RunError> {
        match self {
            Self::Redis(store) => store.scan(scan).await,
            Self::Embedded(store) => store.scan(scan).await,
        }
    }

    async fn random_key(&self) -> Result<Option<Bytes>, RunError> {
        match self {
            Self::Redis(store) => store.random_key().await,
            Self::Embedded(store) => store.random_key().await,
        }
    }

    async fn plain_type(&self, key: &Key) -> Result<Option<String>, StoreError> {
        match self {
            Self::Redis(store) => store.plain_type(key).await,
            Self::Embedded(store) => store.plain_type(key).await,
        }
    }

    async fn find(&self, pattern: &[u8]) -> Result<BTreeSet<Key>, StoreError> {
        match self {
            Self::Redis(store) => store.find(pattern).await,
            Self::Embedded(store) => store.find(pattern).await,
        }
    }

    async fn discard_plain(&self, key: &Key) -> Result<bool, StoreError> {
        match self {
            Self::Redis(store) => store.discard_plain(key).await,
            Self::Embedded(store) => store.discard_plain(key).await,
        }
    }

    async fn touches(&self) -> Touches {
        match self {
            Self::Redis(store) => store.touches().await,
            Self::Embedded(store) => store.touches().await,
        }
    }

    fn listen(&self, topic: &Topic) -> Result<(), RunError> {
        match self {
            Self::Redis(store) => store.listen(topic),
            Self::Embedded(store) => store.listen(topic),
        }
    }

    fn unlisten(&self, topic: &Topic) {
        match self {
            Self::Redis(store) => store.unlisten(topic),
            Self::Embedded(store) => store.unlisten(topic),
        }
    }

    async fn heard(&self) -> Heard {
        match self {
            Self::Redis(store) => store.heard().await,
            Self::Embedded(store) => store.heard().await,
        }
    }

    async fn news(&self) -> News {
        match self {
            Self::Redis(store) => store.news().await,
            Self::Embedded(store) => store.news().await,
        }
    }
}
