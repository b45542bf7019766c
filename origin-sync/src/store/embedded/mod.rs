//! The store in a file of our own, for origins without Redis.
//!
//! A commit is on the disk when it is answered. The file allows one writer at a time and each durable write waits for the
//! disk, so one thread takes all commits that wait and writes them as one transaction: each is compared and applied as if
//! it were alone, and all are answered after the one sync. There are no plain values: commands are ignored and what a
//! commit expects of them is not checked.

mod tables;
mod writer;

use super::{Heard, Jobs, JobsRun, KeyPage, KeyScan, News, RunError, Store, StoreError, Touches};
use crate::clock;
use bytes::Bytes;
use headwater::{
    command::{Passed, Reply},
    id::{BadKey, Key, No},
    origin::StableBy,
    slot::Slot,
    store::{Commit, LedgerOutcome, LedgerSwap, Load, Loaded, Outcome},
    topic::Topic,
    wire::WireError,
};
use redb::{Database, Durability, ReadableDatabase};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
};
use tokio::sync::oneshot;

/// The file's name where the command line gives a directory.
const FILE_NAME: &str = "headwater.redb";

/// An open file.
#[derive(Debug)]
pub struct EmbeddedStore {
    database: Arc<Database>,
    writer: mpsc::Sender<writer::Waiting>,
    run_id: Bytes,
}

/// Why the file did not serve.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// The database.
    #[error("the embedded store: {0}")]
    Database(#[source] Box<redb::Error>),
    /// Its directory.
    #[error("the embedded store's directory cannot be made")]
    Directory(#[source] std::io::Error),
    /// A row that does not decode.
    #[error("a row of the embedded store is malformed")]
    Row(#[from] WireError),
    /// A row names a key that is none.
    #[error("a row of the embedded store names no key")]
    Key(#[from] BadKey),
    /// A key of the request lies in another slot.
    #[error("the key {key} does not lie in the slot of its request")]
    Slot {
        /// The key.
        key: Key,
    },
    /// A commit of the same transaction failed, or the writer ended.
    #[error("the embedded store's writer failed")]
    Writer,
    /// A read was cut off by the end of the process.
    #[error("the embedded store's reader ended")]
    Reader(#[source] tokio::task::JoinError),
}

/// `redb` has one error type per kind of call, which all fit into one.
macro_rules! from_redb {
    ($($error:ty),+) => {
        $(impl From<$error> for EmbeddedError {
            fn from(error: $error) -> Self {
                Self::Database(Box::new(error.into()))
            }
        })+
    };
}

from_redb!(
    redb::DatabaseError,
    redb::TransactionError,
    redb::TableError,
    redb::StorageError,
    redb::CommitError,
    redb::SetDurabilityError
);

impl EmbeddedStore {
    /// Opens the file, or makes it under a new run id.
    pub async fn open(path: PathBuf) -> Result<Self, EmbeddedError> {
        off_the_runtime(move || Self::open_blocking(&path)).await
    }

    fn open_blocking(path: &Path) -> Result<Self, EmbeddedError> {
        let file = if path.is_dir() { path.join(FILE_NAME) } else { path.to_owned() };
        if let Some(directory) = file.parent() {
            std::fs::create_dir_all(directory).map_err(EmbeddedError::Directory)?;
        }
        let database = Arc::new(Database::create(&file)?);
        let mut transaction = database.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        let run_id = tables::Tables::open(&transaction)?.run_id(fresh_run_id)?;
        transaction.commit()?;
        let writer = writer::start(Arc::clone(&database)).map_err(EmbeddedError::Directory)?;
        Ok(Self { database, writer, run_id })
    }

    async fn read(&self, loads: Vec<Load>) -> Result<Vec<Loaded>, EmbeddedError> {
        let database = Arc::clone(&self.database);
        off_the_runtime(move || {
            let (snapshot, now) = (database.begin_read()?, clock::now());
            loads.into_iter().map(|load| tables::read(&snapshot, load, now)).collect()
        })
        .await
    }

    /// In a transaction of its own, which waits for the writer's and then for the disk.
    async fn change<T: Send + 'static>(
        &self,
        change: impl FnOnce(&mut tables::Tables<'_>) -> Result<T, EmbeddedError> + Send + 'static,
    ) -> Result<T, EmbeddedError> {
        let database = Arc::clone(&self.database);
        off_the_runtime(move || {
            let mut transaction = database.begin_write()?;
            transaction.set_durability(Durability::Immediate)?;
            let changed = change(&mut tables::Tables::open(&transaction)?)?;
            transaction.commit()?;
            Ok(changed)
        })
        .await
    }

    async fn write(&self, commits: Vec<Commit>) -> Result<Vec<Outcome>, EmbeddedError> {
        let mut answers = Vec::with_capacity(commits.len());
        for commit in commits {
            let (answer, answered) = oneshot::channel();
            self.writer.send(writer::Waiting { commit, answer }).map_err(|_gone| EmbeddedError::Writer)?;
            answers.push(answered);
        }
        let mut outcomes = Vec::with_capacity(answers.len());
        for answered in answers {
            outcomes.push(answered.await.unwrap_or(Err(EmbeddedError::Writer))?);
        }
        Ok(outcomes)
    }
}

impl Store for EmbeddedStore {
    async fn load_all(&self, loads: Vec<Load>) -> Result<Vec<Loaded>, StoreError> {
        Ok(self.read(loads).await?)
    }

    async fn commit_all(&self, commits: Vec<Commit>) -> Result<Vec<Outcome>, StoreError> {
        Ok(self.write(commits).await?)
    }

    fn together_max(&self) -> usize {
        writer::TOGETHER_MAX
    }

    fn run_id(&self) -> Bytes {
        self.run_id.clone()
    }

    /// What is on the disk may still be lost with it, and come back from a copy.
    fn stable_by(&self) -> StableBy {
        StableBy::Window
    }

    async fn stable_means(&self) -> String {
        "the window".to_owned()
    }

    async fn find(&self, pattern: &[u8]) -> Result<BTreeSet<Key>, StoreError> {
        let (database, pattern) = (Arc::clone(&self.database), pattern.to_vec());
        let find = move || tables::keys(&database.begin_read()?, &pattern, clock::now());
        Ok(off_the_runtime(find).await?)
    }

    async fn survivors(&self, _slots: Vec<Slot>) -> Result<Vec<Slot>, StoreError> {
        Ok(Vec::new())
    }

    /// There are no lists and streams, and so nothing to run.
    async fn jobs(&self, Jobs { jobs, .. }: Jobs) -> Result<JobsRun, StoreError> {
        let through = jobs.last().map_or(No::ZERO, |(no, _)| *no);
        let refused = || Err(RunError::NoRedis.to_string().into());
        Ok(JobsRun { through, replies: jobs.into_iter().map(|(no, _)| (no, refused())).collect() })
    }

    async fn swap(&self, swap: LedgerSwap) -> Result<LedgerOutcome, StoreError> {
        Ok(self.change(move |tables| tables.swap(&swap, clock::now())).await?)
    }

    async fn owners(&self) -> Result<BTreeMap<String, String>, StoreError> {
        Ok(self.change(|tables| tables.owners()).await?)
    }

    async fn claim(&self, hub: &str, owner: &str) -> Result<String, StoreError> {
        let (hub, owner) = (hub.to_owned(), owner.to_owned());
        Ok(self.change(move |tables| tables.claim(&hub, &owner)).await?)
    }

    async fn assign(&self, owners: &BTreeMap<String, String>) -> Result<(), StoreError> {
        let owners = owners.clone();
        Ok(self.change(move |tables| tables.assign(&owners)).await?)
    }

    async fn run(&self, _command: &Passed) -> Result<Reply, RunError> {
        Err(RunError::NoRedis)
    }

    async fn scan(&self, _scan: &KeyScan) -> Result<KeyPage, RunError> {
        Err(RunError::NoRedis)
    }

    async fn random_key(&self) -> Result<Option<Bytes>, RunError> {
        Err(RunError::NoRedis)
    }

    async fn plain_type(&self, _key: &Key) -> Result<Option<String>, StoreError> {
        Ok(None)
    }

    async fn discard_plain(&self, _key: &Key) -> Result<bool, StoreError> {
        Ok(false)
    }

    /// The file has one owner, so there is no other to hear of.
    fn listen(&self, _topic: &Topic) -> Result<(), RunError> {
        Err(RunError::NoRedis)
    }

    fn unlisten(&self, _topic: &Topic) {}

    async fn heard(&self) -> Heard {
        std::future::pending().await
    }

    async fn news(&self) -> News {
        std::future::pending().await
    }

    /// There are no plain values.
    async fn touches(&self) -> Touches {
        std::future::pending().await
    }

    async fn beat(&self, _me: &str, _gone: &[String]) -> Result<Option<BTreeMap<String, i64>>, StoreError> {
        Ok(None)
    }

    async fn leave(&self, _me: &str) -> Result<(), StoreError> {
        Ok(())
    }

    async fn ping(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

async fn off_the_runtime<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, EmbeddedError> + Send + 'static,
) -> Result<T, EmbeddedError> {
    tokio::task::spawn_blocking(work).await.map_err(EmbeddedError::Reader)?
}

fn fresh_run_id() -> String {
    format!("{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..))
}
