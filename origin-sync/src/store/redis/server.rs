//! One Redis server over one connection.
//!
//! The connection never reconnects by itself: the run id that it read first is then the run id under which each of its
//! commands ran, and on that the fence of incarnations rests.

use super::{
    RedisStoreError,
    access::Access,
    answer,
    batch::{Batches, Extent},
    jobs,
    jobs::{Answered, Jobs},
    ledger, names, owners,
    passage::Passage,
    plain_read,
    read::{self, Asked, Read, Reads},
    request,
    script::{Call, CommitScript, Commits},
    survival::{Survival, Witness},
    tracking::{Owner, Tracker},
};
use crate::store::RunError;
use bytes::Bytes;
use headwater::{
    id::{Key, RESERVED},
    slot::Slot,
    store::{Commit, LedgerOutcome, LedgerSwap, Load, Loaded, Outcome},
};
use redis::{ConnectionAddr, RedisError, Value, aio::MultiplexedConnection};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, atomic::AtomicU64},
};

/// How many names Redis looks at in one step of a scan; it serves nobody else meanwhile.
const SCAN_COUNT: usize = 1_000;

/// What one call may hold: of commits in bytes, of loads in reads. The server serves nobody else meanwhile.
const COMMIT_BYTES_MAX: usize = 64 * 1024;
const LOAD_MAX: usize = 1_000;

/// A connected server.
#[derive(Debug)]
pub(super) struct Server {
    connection: MultiplexedConnection,
    passage: Passage,
    script: CommitScript,
    commits: Batches<Commits, Vec<Result<Value, RedisError>>>,
    loads: Batches<Vec<Asked>, Vec<Read>>,
    run_id: Bytes,
    _tracker: Tracker,
    witness: Option<Witness>,
}

impl Server {
    /// Connects, reads the run id before anything else, and installs the compare-and-set. It is tried on a key of `slot`,
    /// which must be the server's where it is part of a cluster. The `owner` hears of what
    /// plain clients change there.
    pub(super) async fn connect(
        access: &Access,
        address: &ConnectionAddr,
        mode: Mode,
        slot: Slot,
        owner: &Owner,
    ) -> Result<Self, RedisStoreError> {
        let mut connection = access.connect(address).await?;
        let info = info(&mut connection).await?;
        let run_id = answer::run_id(&info)?;
        if !mode.is_of(&info) {
            return Err(RedisStoreError::Mode(mode.advice()));
        }
        let script = CommitScript::install(&mut connection, slot).await?;
        let tells_expiry = plain_read::check(&mut connection, slot).await?;
        let stats: Value = redis::cmd("INFO").arg("stats").query_async(&mut connection).await?;
        let evictions = Arc::new(AtomicU64::new(answer::evictions(&stats)?));
        let tracker = Tracker::start(access.clone(), address.clone(), owner);
        let writer = owner.writer;
        let is_shared = mode == Mode::Standalone;
        let (to, running) = (connection.clone(), script.clone());
        let commits = Batches::start(
            Extent {
                is_shared,
                count: |commits: &Commits| commits.count,
                weight: Commits::bytes,
                weight_max: COMMIT_BYTES_MAX,
            },
            move |requests| {
                let (to, running) = (to.clone(), running.clone());
                async move { running.commits(to, requests, writer).await }
            },
        );
        let reads = Reads { connection: connection.clone(), tells_expiry, evictions };
        let loads = Batches::start(
            Extent { is_shared, count: Vec::len, weight: read::weight, weight_max: LOAD_MAX },
            move |loads| reads.clone().run(loads),
        );
        let passage = Passage::new(access.clone(), address.clone());
        let mut server = Self { connection, passage, script, commits, loads, run_id, _tracker: tracker, witness: None };
        server.check_role().await?;
        server.witness = Witness::start(access, address, mode).await?;
        Ok(server)
    }

    /// The run id of whatever server is at that address.
    pub(super) async fn run_id_at(access: &Access, address: &ConnectionAddr) -> Result<Bytes, RedisStoreError> {
        answer::run_id(&info(&mut access.connect(address).await?).await?)
    }

    /// The identity of the server's present life.
    pub(super) fn run_id(&self) -> &Bytes {
        &self.run_id
    }

    /// What each asks for, as of one moment.
    pub(super) async fn load(&self, loads: &[Load]) -> Result<Vec<Loaded>, RedisStoreError> {
        for load in loads {
            let mut keys = load.keys.iter().chain(load.plain.iter().map(|plain| &plain.key));
            if let Some(key) = keys.find(|key| key.slot() != load.slot) {
                return Err(RedisStoreError::Slot { key: key.clone() });
            }
        }
        let mut all: Vec<Option<Loaded>> = vec![None; loads.len()];
        for of_any_type in [false, true] {
            let open = loads.iter().zip(&all).filter(|(_, loaded)| loaded.is_none());
            let asked: Vec<Asked> = open.map(|(load, _)| Asked { load: load.clone(), of_any_type }).collect();
            if asked.is_empty() {
                break;
            }
            let read = self.loads.call(asked).await.ok_or(RedisStoreError::GivenUp)?;
            for (loaded, read) in all.iter_mut().filter(|loaded| loaded.is_none()).zip(read) {
                *loaded = read?;
            }
        }
        let missing = RedisStoreError::Answer("a value that is read in all ways is of none of the types");
        all.into_iter().collect::<Option<_>>().ok_or(missing)
    }

    /// The compare-and-set of each, in their order. It fails as a whole where nothing was sent, or the connection is given up.
    pub(super) async fn commit<'a>(
        &self,
        commits: impl Iterator<Item = &'a Commit> + Clone,
    ) -> Result<Vec<Result<Outcome, RedisStoreError>>, RedisStoreError> {
        let request = request::encode(commits.clone())?;
        let answers = self.commits.call(request).await.ok_or(RedisStoreError::GivenUp)?;
        let of = |(commit, answer): (_, Result<Value, RedisError>)| request::decode(commit, answer?);
        Ok(commits.zip(answers).map(of).collect())
    }

    /// In which of the slots all survives that was committed before, as far as the server can say.
    pub(super) async fn survival(&self, slots: &[Slot]) -> Result<Survival, RedisStoreError> {
        match &self.witness {
            Some(witness) => witness.survival(slots).await,
            None => Ok(Survival::default()),
        }
    }

    /// By what commits are stable.
    pub(super) fn stable_means(&self) -> String {
        self.witness.as_ref().map_or_else(|| "the window".to_owned(), Witness::to_string)
    }

    /// Runs jobs, each once.
    pub(super) async fn jobs(&self, jobs: &Jobs) -> Result<Answered, RedisStoreError> {
        let request = jobs::encode(jobs)?;
        jobs::decode(self.script.call(&mut self.connection.clone(), Call::Jobs, &request).await?)
    }

    /// Swaps or reads the account of a strict limit.
    pub(super) async fn swap(&self, swap: &LedgerSwap) -> Result<LedgerOutcome, RedisStoreError> {
        let request = ledger::encode(swap, &self.run_id);
        let answer = self.script.call(&mut self.connection.clone(), Call::Swap, &request).await?;
        ledger::decode(answer, &self.run_id)
    }

    /// Runs a command of an edge once.
    pub(super) async fn run(&self, argv: &[Bytes]) -> Result<Value, RunError> {
        self.passage.run(argv).await
    }

    /// What `TYPE` says of the plain key.
    pub(super) async fn plain_type(&self, key: &Key) -> Result<String, RedisStoreError> {
        let mut ask = redis::cmd("TYPE");
        Ok(ask.arg(key.as_bytes()).query_async(&mut self.connection.clone()).await?)
    }

    /// The keys under the pattern that have a companion or a plain value here.
    pub(super) async fn find(&self, pattern: &[u8]) -> Result<BTreeSet<Key>, RedisStoreError> {
        let mut found = BTreeSet::new();
        for (matched, is_companion) in [(pattern.to_vec(), false), (names::companions(pattern), true)] {
            let mut cursor = "0".to_owned();
            loop {
                let mut scan = redis::cmd("SCAN");
                scan.arg(&cursor).arg("MATCH").arg(matched.as_slice()).arg("COUNT").arg(SCAN_COUNT);
                let (next, names): (String, Vec<Vec<u8>>) = scan.query_async(&mut self.connection.clone()).await?;
                let keys = names.iter().filter_map(|name| match is_companion {
                    true => names::of_companion(name),
                    false => Some(&name[..]).filter(|name| !name.starts_with(RESERVED)),
                });
                found.extend(keys.filter_map(|key| Key::new(key.to_vec()).ok()));
                cursor = next;
                if cursor == "0" {
                    break;
                }
            }
        }
        Ok(found)
    }

    /// Removes the plain key; says whether it was there.
    pub(super) async fn discard_plain(&self, key: &Key) -> Result<bool, RedisStoreError> {
        let mut unlink = redis::cmd("UNLINK");
        let removed: u64 = unlink.arg(key.as_bytes()).query_async(&mut self.connection.clone()).await?;
        Ok(removed > 0)
    }

    /// Counts a daemon's heartbeat, forgets others', and reads all.
    pub(super) async fn beat(&self, me: &str, gone: &[String]) -> Result<BTreeMap<String, i64>, RedisStoreError> {
        let mut pipe = redis::pipe();
        pipe.cmd("HINCRBY").arg(names::CREW).arg(me).arg(1).ignore();
        if !gone.is_empty() {
            pipe.cmd("HDEL").arg(names::CREW).arg(gone).ignore();
        }
        pipe.cmd("HGETALL").arg(names::CREW);
        let (beats,) = pipe.query_async(&mut self.connection.clone()).await?;
        Ok(beats)
    }

    /// Forgets a daemon's heartbeat.
    pub(super) async fn leave(&self, me: &str) -> Result<(), RedisStoreError> {
        let mut forget = redis::cmd("HDEL");
        Ok(forget.arg(names::CREW).arg(me).exec_async(&mut self.connection.clone()).await?)
    }

    /// Whose the identities of hubs are.
    pub(super) async fn owners(&self) -> Result<BTreeMap<String, String>, RedisStoreError> {
        owners::read(self.connection.clone()).await
    }

    /// Notes whose an identity is, unless that is noted.
    pub(super) async fn claim(&self, hub: &str, owner: &str) -> Result<String, RedisStoreError> {
        owners::claim(self.connection.clone(), hub, owner).await
    }

    /// Notes whose identities are.
    pub(super) async fn assign(&self, owners: &BTreeMap<String, String>) -> Result<(), RedisStoreError> {
        owners::assign(self.connection.clone(), owners).await
    }

    /// Whether the server answers, and still is a master: one that was demoted answers reads from what it copies.
    pub(super) async fn check_role(&self) -> Result<(), RedisStoreError> {
        if self.is_master().await? { Ok(()) } else { Err(RedisStoreError::NotMaster) }
    }

    /// Asks the server what it is.
    pub(super) async fn is_master(&self) -> Result<bool, RedisStoreError> {
        let role: Value = redis::cmd("ROLE").query_async(&mut self.connection.clone()).await?;
        Ok(answer::is_master(&role))
    }
}

/// As what a server must run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Mode {
    /// By itself, or with replicas.
    Standalone,
    /// As a node of a cluster.
    Cluster,
}

impl Mode {
    fn is_of(self, info: &str) -> bool {
        // Valkey has another word for it.
        let is = |mode: &str| {
            let told = info.lines().filter_map(|line| line.trim_end().split_once(':'));
            told.filter(|(word, _)| matches!(*word, "redis_mode" | "server_mode")).any(|(_, told)| told == mode)
        };
        match self {
            // What is like Redis need not say it.
            Self::Standalone => !is("cluster") && !is("sentinel"),
            Self::Cluster => is("cluster"),
        }
    }

    fn advice(self) -> &'static str {
        match self {
            Self::Standalone => "it is a sentinel or a node of a cluster; set store-sentinel-master or store-cluster",
            Self::Cluster => "it is no node of a cluster; do not set store-cluster",
        }
    }
}

async fn info(connection: &mut MultiplexedConnection) -> Result<String, RedisStoreError> {
    Ok(redis::cmd("INFO").arg("server").query_async(connection).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redis_and_valkey_say_as_what_they_run() {
        for word in ["redis_mode", "server_mode"] {
            let info = |mode: &str| format!("# Server\r\nos:Linux\r\n{word}:{mode}\r\nrun_id:1\r\n");
            for (mode, is_single, is_node) in
                [("standalone", true, false), ("cluster", false, true), ("sentinel", false, false)]
            {
                assert_eq!(Mode::Standalone.is_of(&info(mode)), is_single, "{word} {mode}");
                assert_eq!(Mode::Cluster.is_of(&info(mode)), is_node, "{word} {mode}");
            }
        }
        assert!(Mode::Standalone.is_of("run_id:1\r\n"), "what says nothing of it");
    }
}
