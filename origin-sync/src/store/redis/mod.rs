//! The store in a Redis, with the plain values beside the companions.

mod access;
mod answer;
mod batch;
mod channels;
mod cluster;
mod jobs;
mod keyspace;
mod ledger;
mod names;
mod news;
mod owners;
mod passage;
mod plain;
mod plain_read;
mod read;
mod refusal;
mod request;
mod script;
mod sentinel;
mod server;
mod survival;
mod tracking;
mod words;

pub use self::{
    access::{ClientFiles, Credentials, RedisConfig, RedisUrl, TlsFiles, Topology},
    channels::Heard,
    jobs::{Jobs, JobsRun},
    news::News,
    plain::PlainError,
    survival::{StableConfig, StableMeans},
    tracking::Touches,
};

use super::{KeyPage, KeyScan, RunError, Store, StoreError};
use access::Access;
use bytes::Bytes;
use channels::Channels;
use cluster::Cluster;
use futures_util::future::try_join_all;
use headwater::{
    command::{Passed, Reply},
    id::{BadKey, Key},
    origin::StableBy,
    slot::Slot,
    store::{Commit, LedgerOutcome, LedgerSwap, Load, Loaded, Outcome},
    topic::Topic,
};
use news::Listener;
use redis::RedisError;
use refusal::{Patience, Refusal};
use sentinel::{Sentinels, Watched};
use server::{Mode, Server};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::PathBuf,
    sync::Arc,
};
use tokio::sync::{Mutex, mpsc};
use tracking::Owner;

/// A connected Redis.
#[derive(Debug)]
pub struct RedisStore {
    connected: Connected,
    listener: Listener,
    channels: Channels,
    touches: Mutex<mpsc::Receiver<Touches>>,
    stable: StableConfig,
}

#[derive(Debug)]
enum Connected {
    Single(Arc<Server>),
    Watched(Box<Watched>),
    Cluster(Box<Cluster>),
}

/// Why Redis did not answer as it should.
#[derive(Debug, thiserror::Error)]
pub enum RedisStoreError {
    /// The connection, or an error answer.
    #[error("redis: {0}")]
    Server(#[from] RedisError),
    /// An answer of another shape, or what stands in Headwater's keys was not written by it.
    #[error("redis holds or answers what was not expected: {0}")]
    Answer(&'static str),
    /// A name in the change feed is no key.
    #[error("redis holds a malformed change feed")]
    FeedKey(#[source] BadKey),
    /// A key of the request lies in another slot.
    #[error("the key {key} does not lie in the slot of its request")]
    Slot {
        /// The key.
        key: Key,
    },
    /// The server does not let this user run a command that commits need.
    #[error("redis refuses {command}, which commits need: {error}")]
    Refused {
        /// The command.
        command: String,
        /// What Redis says.
        error: String,
    },
    /// A server that copies another one; nothing can be committed to it.
    #[error("the server is no master, but a replica of another one")]
    NotMaster,
    /// A server that runs as something else than the settings say.
    #[error("the server does not run as the settings say: {0}")]
    Mode(&'static str),
    /// The sentinels named another server.
    #[error("the sentinels name another master, {named}")]
    Moved {
        /// Its address.
        named: String,
    },
    /// A connection that was given up while a commit was on its way.
    #[error("the connection was given up while a commit was on its way")]
    GivenUp,
    /// The sentinels know no master of that name.
    #[error("the sentinels know no master {0:?}")]
    UnknownMaster(String),
    /// The server has not what is to tell that a commit is stable.
    #[error("what is committed cannot be called stable as the settings say: {0}")]
    NotStable(&'static str),
    /// A connection that did not come about in time.
    #[error("the server cannot be connected in time")]
    Timeout(#[source] tokio::time::error::Elapsed),
    /// No URL at all.
    #[error("no server is named")]
    NoAddress,
    /// A URL that asks for TLS without looking whose certificate it is.
    #[error("a URL may not end in #insecure: name the authority of the server's certificate instead")]
    Insecure,
    /// A file of a password or a certificate.
    #[error("cannot read {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A plain command that is not run.
    #[error(transparent)]
    Plain(#[from] PlainError),
}

impl RedisStore {
    /// Connects with what stands in the files of passwords and certificates now.
    ///
    /// # Errors
    /// When a server cannot be reached, is no master, or does not let this user run all that commits need.
    pub async fn connect(config: &RedisConfig) -> Result<Self, RedisStoreError> {
        let (addresses, access) = Access::read(config).await?;
        let url = config.urls.first().ok_or(RedisStoreError::NoAddress)?;
        let writer = fastrand::u64(..);
        let (owner, touches) = Owner::new(writer);
        let (connected, address) = match &config.topology {
            Topology::Single => {
                let address = addresses.first().ok_or(RedisStoreError::NoAddress)?;
                let server = Server::connect(&access, address, Mode::Standalone, Slot::of(b""), &owner).await?;
                (Connected::Single(Arc::new(server)), address.clone())
            }
            Topology::Sentinel { master, credentials } => {
                let to_sentinels = access.to_sentinels(url, credentials).await?;
                let sentinels = Sentinels::new(to_sentinels, addresses, master.clone());
                let watched = Watched::open(access.clone(), sentinels, &owner).await?;
                let address = watched.address();
                (Connected::Watched(Box::new(watched)), address)
            }
            Topology::Cluster => {
                let cluster = Cluster::open(access.clone(), &addresses, owner.clone()).await?;
                let address = cluster.address()?;
                (Connected::Cluster(Box::new(cluster)), address)
            }
        };
        let listener = Listener::start(access.clone(), address.clone(), writer);
        let channels = Channels::start(access, address);
        Ok(Self { connected, listener, channels, touches: Mutex::new(touches), stable: config.stable })
    }

    /// Also a load may be put off: without memory Redis queues no transaction.
    async fn read(&self, loads: &[Load]) -> Result<Vec<Loaded>, RedisStoreError> {
        let server = match &self.connected {
            // In its own box, as the way that most do not go.
            Connected::Cluster(cluster) => {
                return try_join_all(loads.iter().map(|load| Box::pin(cluster.load(load)))).await;
            }
            Connected::Single(server) => server,
            Connected::Watched(watched) => watched.server(),
        };
        let mut patience = Patience::default();
        loop {
            let error = match server.load(loads).await {
                Ok(loaded) => return Ok(loaded),
                Err(error) => error,
            };
            match Refusal::of(&error) {
                Some(refusal @ Refusal::NotNow(_)) => patience.wait(&refusal).await,
                Some(Refusal::Moved(_)) | None => return Err(error),
            }
        }
    }

    /// What Redis puts off is made again, until it is done.
    async fn write(&self, commits: Vec<Commit>) -> Result<Vec<Outcome>, RedisStoreError> {
        let server = match &self.connected {
            // In its own box, as the way that most do not go.
            Connected::Cluster(cluster) => {
                return try_join_all(commits.into_iter().map(|commit| Box::pin(cluster.commit(commit)))).await;
            }
            Connected::Single(server) => server,
            Connected::Watched(watched) => watched.server(),
        };
        let mut patience = Patience::default();
        let mut outcomes: Vec<Option<Outcome>> = vec![None; commits.len()];
        loop {
            let open = || commits.iter().zip(&outcomes).filter(|(_, outcome)| outcome.is_none());
            let mut answers = server.commit(open().map(|(commit, _)| commit)).await?.into_iter();
            let mut put_off = None;
            for outcome in outcomes.iter_mut().filter(|outcome| outcome.is_none()) {
                match answers.next().unwrap_or(Err(RedisStoreError::Answer("a commit has no answer"))) {
                    Ok(answer) => *outcome = Some(answer),
                    Err(error) => match Refusal::of(&error) {
                        Some(refusal @ Refusal::NotNow(_)) => put_off = Some(refusal),
                        Some(Refusal::Moved(_)) | None => return Err(error),
                    },
                }
            }
            match put_off {
                None => return Ok(outcomes.into_iter().flatten().collect()),
                Some(refusal) => patience.wait(&refusal).await,
            }
        }
    }
}

impl RedisStore {
    async fn run_jobs(&self, jobs: &Jobs) -> Result<JobsRun, RedisStoreError> {
        let server = match &self.connected {
            Connected::Cluster(cluster) => return cluster.jobs(jobs).await,
            Connected::Single(server) => server,
            Connected::Watched(watched) => watched.server(),
        };
        let mut patience = Patience::default();
        let mut replies = Vec::new();
        loop {
            let refusal = match server.jobs(jobs).await {
                Ok(mut answered) => {
                    replies.append(&mut answered.run.replies);
                    match answered.put_off {
                        None => return Ok(JobsRun { replies, ..answered.run }),
                        Some(why) => Refusal::put_off(&why),
                    }
                }
                Err(error) => match Refusal::of(&error) {
                    Some(refusal @ Refusal::NotNow(_)) => refusal,
                    Some(Refusal::Moved(_)) | None => return Err(error),
                },
            };
            patience.wait(&refusal).await;
        }
    }

    async fn swap_ledger(&self, swap: &LedgerSwap) -> Result<LedgerOutcome, RedisStoreError> {
        let server = match &self.connected {
            Connected::Cluster(cluster) => return cluster.swap(swap).await,
            Connected::Single(server) => server,
            Connected::Watched(watched) => watched.server(),
        };
        let mut patience = Patience::default();
        loop {
            let error = match server.swap(swap).await {
                Ok(outcome) => return Ok(outcome),
                Err(error) => error,
            };
            match Refusal::of(&error) {
                Some(refusal @ Refusal::NotNow(_)) => patience.wait(&refusal).await,
                Some(Refusal::Moved(_)) | None => return Err(error),
            }
        }
    }

    /// The server that holds the slot, as far as is known.
    fn server_of(&self, slot: Slot) -> Result<Arc<Server>, RedisStoreError> {
        match &self.connected {
            Connected::Single(server) => Ok(Arc::clone(server)),
            Connected::Watched(watched) => Ok(Arc::clone(watched.server())),
            Connected::Cluster(cluster) => cluster.server_of(slot),
        }
    }
}

impl RedisStore {
    async fn survivors_of(&self, slots: &[Slot]) -> Result<Vec<Slot>, RedisStoreError> {
        match &self.connected {
            Connected::Single(server) => Ok(server.survival(slots).await?.survivors),
            Connected::Watched(watched) => Ok(watched.server().survival(slots).await?.survivors),
            Connected::Cluster(cluster) => cluster.survivors(slots).await,
        }
    }
}

impl Store for RedisStore {
    fn stable_by(&self) -> StableBy {
        self.stable.stable_by()
    }

    async fn stable_means(&self) -> String {
        let told = match &self.connected {
            Connected::Single(server) => server.stable_means(),
            Connected::Watched(watched) => watched.server().stable_means(),
            Connected::Cluster(cluster) => cluster.stable_means().await,
        };
        match self.stable.means {
            StableMeans::Auto => format!("{told}; in any case by the window"),
            StableMeans::WaitAof | StableMeans::Wait | StableMeans::Window => told,
        }
    }

    async fn survivors(&self, slots: Vec<Slot>) -> Result<Vec<Slot>, StoreError> {
        Ok(self.survivors_of(&slots).await?)
    }

    async fn load_all(&self, loads: Vec<Load>) -> Result<Vec<Loaded>, StoreError> {
        Ok(self.read(&loads).await?)
    }

    async fn commit_all(&self, commits: Vec<Commit>) -> Result<Vec<Outcome>, StoreError> {
        Ok(self.write(commits).await?)
    }

    /// Nodes of a cluster take one slot in each call.
    fn together_max(&self) -> usize {
        match &self.connected {
            Connected::Single(_) | Connected::Watched(_) => batch::SHARING_MAX,
            Connected::Cluster(_) => 1,
        }
    }

    fn run_id(&self) -> Bytes {
        match &self.connected {
            Connected::Single(server) => server.run_id().clone(),
            Connected::Watched(watched) => watched.server().run_id().clone(),
            Connected::Cluster(cluster) => cluster.run_id(),
        }
    }

    async fn jobs(&self, jobs: Jobs) -> Result<JobsRun, StoreError> {
        Ok(self.run_jobs(&jobs).await?)
    }

    async fn swap(&self, swap: LedgerSwap) -> Result<LedgerOutcome, StoreError> {
        Ok(self.swap_ledger(&swap).await?)
    }

    async fn run(&self, command: &Passed) -> Result<Reply, RunError> {
        passage::reply(match &self.connected {
            Connected::Single(server) => server.run(&command.argv).await?,
            Connected::Watched(watched) => watched.server().run(&command.argv).await?,
            Connected::Cluster(cluster) => cluster.run(command).await?,
        })
    }

    async fn scan(&self, scan: &KeyScan) -> Result<KeyPage, RunError> {
        match &self.connected {
            Connected::Single(server) => keyspace::scan(server, scan).await,
            Connected::Watched(watched) => keyspace::scan(watched.server(), scan).await,
            Connected::Cluster(cluster) => cluster.scan(scan).await,
        }
    }

    async fn random_key(&self) -> Result<Option<Bytes>, RunError> {
        keyspace::random(&*self.server_of(Slot::of(&fastrand::u64(..).to_le_bytes()))?).await
    }

    async fn plain_type(&self, key: &Key) -> Result<Option<String>, StoreError> {
        Ok(Some(self.server_of(key.slot())?.plain_type(key).await?))
    }

    async fn find(&self, pattern: &[u8]) -> Result<BTreeSet<Key>, StoreError> {
        Ok(match &self.connected {
            Connected::Single(server) => server.find(pattern).await?,
            Connected::Watched(watched) => watched.server().find(pattern).await?,
            Connected::Cluster(cluster) => cluster.find(pattern).await?,
        })
    }

    async fn discard_plain(&self, key: &Key) -> Result<bool, StoreError> {
        Ok(self.server_of(key.slot())?.discard_plain(key).await?)
    }

    fn listen(&self, topic: &Topic) -> Result<(), RunError> {
        self.channels.listen(topic.clone());
        Ok(())
    }

    fn unlisten(&self, topic: &Topic) {
        self.channels.unlisten(topic.clone());
    }

    async fn heard(&self) -> Heard {
        self.channels.next().await
    }

    async fn news(&self) -> News {
        self.listener.next().await
    }

    async fn touches(&self) -> Touches {
        match self.touches.lock().await.recv().await {
            Some(touches) => touches,
            // No server is connected any more, which others notice.
            None => std::future::pending().await,
        }
    }

    async fn beat(&self, me: &str, gone: &[String]) -> Result<Option<BTreeMap<String, i64>>, StoreError> {
        let beats = match &self.connected {
            Connected::Single(server) => server.beat(me, gone).await?,
            Connected::Watched(watched) => watched.server().beat(me, gone).await?,
            Connected::Cluster(cluster) => cluster.beat(me, gone).await?,
        };
        Ok(Some(beats))
    }

    async fn leave(&self, me: &str) -> Result<(), StoreError> {
        Ok(self.server_of(names::crew_slot())?.leave(me).await?)
    }

    async fn owners(&self) -> Result<BTreeMap<String, String>, StoreError> {
        Ok(self.server_of(names::crew_slot())?.owners().await?)
    }

    async fn claim(&self, hub: &str, owner: &str) -> Result<String, StoreError> {
        Ok(self.server_of(names::crew_slot())?.claim(hub, owner).await?)
    }

    async fn assign(&self, owners: &BTreeMap<String, String>) -> Result<(), StoreError> {
        Ok(self.server_of(names::crew_slot())?.assign(owners).await?)
    }

    async fn ping(&self) -> Result<(), StoreError> {
        match &self.connected {
            Connected::Single(server) => server.check_role().await?,
            Connected::Watched(watched) => watched.check().await?,
            Connected::Cluster(cluster) => cluster.ping().await?,
        }
        Ok(())
    }
}
