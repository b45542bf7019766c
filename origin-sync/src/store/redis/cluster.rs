//! Redis Cluster: one connection to each master, and which slot is whose.
//!
//! The `redis` crate has a client for clusters, and this is why it is not used: it reconnects to a node behind one's back
//! and sends again what may have run, so nobody could say under which run id a command ran. Here each node is a [`Server`]
//! whose connection never comes back, and a redirect is followed only where it says that nothing ran.
//!
//! **Run ids.** A marker holds the run id of the node on which its incarnation was opened. The machine knows one run id, so
//! it is given one name for all: a marker that was opened on the node that holds its slot now bears that name, and one that
//! was opened elsewhere, or in an earlier life of that node, bears what is stored. So after a failover of a node its slots
//! begin fresh incarnations and the others go on; and so does a slot that was moved to another node, since that node may
//! later be the one that loses something.
//!
//! **Moves.** A commit to a node that has given the slot away answers `Stale`: it did not run, and the machine reads the slot
//! again where it is now. A load follows. While the slot is on its way, requests wait; they do not follow ASK, since a
//! commit also names what does not exist yet, which neither node would then vouch for.

use super::{
    RedisStoreError,
    access::{Access, Node},
    answer,
    jobs::{Jobs, JobsRun},
    keyspace,
    keyspace::Layout,
    names, passage,
    refusal::{Patience, Refusal},
    server::{Mode, Server},
    tracking::Owner,
};
use crate::store::{KeyPage, KeyScan, RunError};
use bytes::Bytes;
use futures_util::future::try_join_all;
use headwater::{
    command::Passed,
    id::Key,
    slot::Slot,
    store::{Commit, LedgerOutcome, LedgerSwap, Load, Loaded, Outcome},
};
use redis::{ConnectionAddr, Value};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, PoisonError, RwLock},
};

/// The name for the run id of whatever node holds a slot.
const RUN_ID: Bytes = Bytes::from_static(b"cluster");

/// A connected cluster.
#[derive(Debug)]
pub(super) struct Cluster {
    access: Access,
    owner: Owner,
    /// By slot.
    owners: RwLock<Vec<Arc<Member>>>,
    /// Held while a node that turned up is connected, so that it is once.
    members: tokio::sync::Mutex<BTreeMap<Node, Arc<Member>>>,
}

#[derive(Debug)]
struct Member {
    node: Node,
    server: Arc<Server>,
}

impl Cluster {
    /// Connects to every master that the first seed to answer names.
    pub(super) async fn open(access: Access, seeds: &[ConnectionAddr], owner: Owner) -> Result<Self, RedisStoreError> {
        let mut told = Err(RedisStoreError::NoAddress);
        for seed in seeds {
            told = topology(&access, seed).await;
            if told.is_ok() {
                break;
            }
        }
        let ranges = told?;
        let mut first_slots: BTreeMap<Node, Slot> = BTreeMap::new();
        for range in &ranges {
            first_slots.entry(range.node.clone()).or_insert(range.first);
        }
        let members = first_slots.into_iter().map(|(node, slot)| Member::connect(&access, node, slot, &owner));
        let members = try_join_all(members).await?;
        // A slot that nobody serves is asked of anybody, who then says so.
        let anybody = members.first().ok_or(RedisStoreError::Answer("a cluster without slots"))?;
        let mut owners = vec![Arc::clone(anybody); usize::from(Slot::COUNT)];
        let members: BTreeMap<Node, Arc<Member>> =
            members.into_iter().map(|member| (member.node.clone(), member)).collect();
        for range in ranges {
            let Some(member) = members.get(&range.node) else { continue };
            let (first, last) = (usize::from(range.first.get()), usize::from(range.last.get()));
            if let Some(part) = owners.get_mut(first..=last) {
                part.fill(Arc::clone(member));
            }
        }
        Ok(Self { access, owner, owners: RwLock::new(owners), members: tokio::sync::Mutex::new(members) })
    }

    /// Where one of the masters is.
    pub(super) fn address(&self) -> Result<ConnectionAddr, RedisStoreError> {
        Ok(self.access.address(&self.owner(Slot::of(b""))?.node))
    }

    pub(super) fn server_of(&self, slot: Slot) -> Result<Arc<Server>, RedisStoreError> {
        Ok(Arc::clone(&self.owner(slot)?.server))
    }

    pub(super) fn run_id(&self) -> Bytes {
        RUN_ID
    }

    pub(super) async fn load(&self, load: &Load) -> Result<Loaded, RedisStoreError> {
        let mut patience = Patience::default();
        loop {
            let owner = self.owner(load.slot)?;
            let error = match owner.server.load(std::slice::from_ref(load)).await {
                Ok(mut loaded) => {
                    let mut loaded = loaded.pop().ok_or(RedisStoreError::Answer("a load has no answer"))?;
                    if let Some(marker) = &mut loaded.marker
                        && marker.run_id == owner.server.run_id()
                    {
                        marker.run_id = RUN_ID;
                    }
                    return Ok(loaded);
                }
                Err(error) => error,
            };
            let Some(refusal) = Refusal::of(&error) else { return Err(error) };
            patience.wait(&refusal).await;
            if let Refusal::Moved(to) = refusal {
                self.moved(load.slot, &owner, to).await?;
            }
        }
    }

    pub(super) async fn commit(&self, mut commit: Commit) -> Result<Outcome, RedisStoreError> {
        let owner = self.owner(commit.slot)?;
        if let Some((_, run_id, _)) = &mut commit.marker.open
            && *run_id == RUN_ID
        {
            *run_id = owner.server.run_id().clone();
        }
        let mut patience = Patience::default();
        loop {
            let mut answers = owner.server.commit(std::iter::once(&commit)).await?;
            let error = match answers.pop() {
                Some(Ok(outcome)) => return Ok(outcome),
                Some(Err(error)) => error,
                None => return Err(RedisStoreError::Answer("a commit has no answer")),
            };
            match Refusal::of(&error) {
                None => return Err(error),
                Some(Refusal::Moved(to)) => {
                    self.moved(commit.slot, &owner, to).await?;
                    return Ok(Outcome::Stale);
                }
                Some(refusal) => patience.wait(&refusal).await,
            }
        }
    }

    /// A heartbeat. Where its slot has moved, the next one goes there.
    pub(super) async fn beat(&self, me: &str, gone: &[String]) -> Result<BTreeMap<String, i64>, RedisStoreError> {
        let slot = names::crew_slot();
        let owner = self.owner(slot)?;
        let beaten = owner.server.beat(me, gone).await;
        if let Some(Refusal::Moved(to)) = beaten.as_ref().err().and_then(Refusal::of) {
            self.moved(slot, &owner, to).await?;
        }
        beaten
    }

    /// Runs jobs, each once.
    pub(super) async fn jobs(&self, jobs: &Jobs) -> Result<JobsRun, RedisStoreError> {
        let mut patience = Patience::default();
        let mut replies = Vec::new();
        loop {
            let owner = self.owner(jobs.slot)?;
            let refusal = match owner.server.jobs(jobs).await {
                Ok(mut answered) => {
                    replies.append(&mut answered.run.replies);
                    match answered.put_off {
                        None => return Ok(JobsRun { replies, ..answered.run }),
                        Some(why) => Refusal::put_off(&why),
                    }
                }
                Err(error) => match Refusal::of(&error) {
                    Some(refusal) => refusal,
                    None => return Err(error),
                },
            };
            patience.wait(&refusal).await;
            if let Refusal::Moved(to) = refusal {
                self.moved(jobs.slot, &owner, to).await?;
            }
        }
    }

    /// Swaps or reads the account of a strict limit, at the node that holds its slot.
    pub(super) async fn swap(&self, swap: &LedgerSwap) -> Result<LedgerOutcome, RedisStoreError> {
        if swap.key.as_bytes().is_empty() {
            // How long one node has lived says nothing of the others, so nobody vouches for a cluster.
            let is_read = swap.value.is_none();
            return Ok(if is_read { LedgerOutcome::Found(None) } else { LedgerOutcome::Swapped });
        }
        let mut patience = Patience::default();
        loop {
            let owner = self.owner(swap.key.slot())?;
            let refusal = match owner.server.swap(swap).await {
                Ok(outcome) => return Ok(outcome),
                Err(error) => Refusal::of(&error).ok_or(error)?,
            };
            patience.wait(&refusal).await;
            if let Refusal::Moved(to) = refusal {
                self.moved(swap.key.slot(), &owner, to).await?;
            }
        }
    }

    /// Runs a command of an edge once, at the node of its first key; again where that node says that it did not run it since
    /// the slot is another's.
    pub(super) async fn run(&self, command: &Passed) -> Result<Value, RunError> {
        let slot = command.keys.first().map_or(Slot::of(b""), Key::slot);
        let owner = self.owner(slot)?;
        let value = owner.server.run(&command.argv).await?;
        let Some(Refusal::Moved(to)) = passage::moved(&value) else { return Ok(value) };
        self.moved(slot, &owner, to).await?;
        self.owner(slot)?.server.run(&command.argv).await
    }

    /// One page of the names of keys, of the node that the cursor names.
    pub(super) async fn scan(&self, scan: &KeyScan) -> Result<KeyPage, RunError> {
        let anybody = self.owner(Slot::of(b""))?;
        let slots = anybody.server.run(&[Bytes::from_static(b"CLUSTER"), Bytes::from_static(b"SLOTS")]).await?;
        if let Value::ServerError(error) = &slots {
            return Err(RunError::Redis(passage::text(error)));
        }
        let ranges = answer::ranges(slots, &anybody.node.host)?;
        let nodes: BTreeMap<Slot, Node> = ranges.iter().map(|range| (range.first, range.node.clone())).collect();
        let layout = Layout::of(ranges);
        let (at, own) = layout.place(scan.cursor)?;
        let slot = *layout.nodes.get(at).ok_or(RunError::OtherLayout)?;
        let mut owner = self.owner(slot)?;
        if let Some(node) = nodes.get(&slot).filter(|node| **node != owner.node) {
            self.moved(slot, &owner, node.clone()).await?;
            owner = self.owner(slot)?;
        }
        let page = keyspace::scan(&owner.server, &KeyScan { cursor: own, ..scan.clone() }).await?;
        Ok(KeyPage { cursor: layout.cursor(at, page.cursor)?, ..page })
    }

    /// Those of the slots in which all survives that was committed before, each as its node says.
    pub(super) async fn survivors(&self, slots: &[Slot]) -> Result<Vec<Slot>, RedisStoreError> {
        let mut by_node: BTreeMap<Node, (Arc<Member>, Vec<Slot>)> = BTreeMap::new();
        for slot in slots {
            let owner = self.owner(*slot)?;
            by_node.entry(owner.node.clone()).or_insert_with(|| (owner, Vec::new())).1.push(*slot);
        }
        let asked = by_node.values().map(|(member, slots)| member.server.survival(slots));
        let mut survivors = Vec::new();
        for ((member, _), told) in by_node.values().zip(try_join_all(asked).await?) {
            survivors.extend(told.survivors);
            for (slot, to) in told.moved {
                self.moved(slot, member, to).await?;
            }
        }
        Ok(survivors)
    }

    /// The keys under the pattern, on all nodes.
    pub(super) async fn find(&self, pattern: &[u8]) -> Result<BTreeSet<Key>, RedisStoreError> {
        let members: Vec<_> = self.members.lock().await.values().cloned().collect();
        let found = try_join_all(members.iter().map(|member| member.server.find(pattern))).await?;
        Ok(found.into_iter().flatten().collect())
    }

    /// By what commits are stable, on all nodes.
    pub(super) async fn stable_means(&self) -> String {
        let members = self.members.lock().await;
        let means: BTreeSet<String> = members.values().map(|member| member.server.stable_means()).collect();
        means.into_iter().collect::<Vec<_>>().join(", ")
    }

    /// Whether every node still answers. One that was demoted has no slots any more, and says so when it is asked for one.
    pub(super) async fn ping(&self) -> Result<(), RedisStoreError> {
        let members: Vec<_> = self.members.lock().await.values().cloned().collect();
        try_join_all(members.iter().map(|member| member.server.is_master())).await?;
        Ok(())
    }

    fn owner(&self, slot: Slot) -> Result<Arc<Member>, RedisStoreError> {
        let owners = self.owners.read().unwrap_or_else(PoisonError::into_inner);
        owners.get(usize::from(slot.get())).cloned().ok_or(RedisStoreError::Answer("a slot beyond the last"))
    }

    /// Notes whose the slot is now, and connects to that node if it is new.
    async fn moved(&self, slot: Slot, from: &Member, to: Node) -> Result<(), RedisStoreError> {
        let host = if to.host.is_empty() { from.node.host.clone() } else { to.host };
        let node = Node { host, port: to.port };
        let mut members = self.members.lock().await;
        let member = match members.get(&node) {
            Some(member) => Arc::clone(member),
            None => {
                let member = Member::connect(&self.access, node.clone(), slot, &self.owner).await?;
                members.insert(node, Arc::clone(&member));
                member
            }
        };
        drop(members);
        tracing::debug!(%slot, from = %from.node, to = %member.node, "a slot has another master");
        let mut owners = self.owners.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(owner) = owners.get_mut(usize::from(slot.get())) {
            *owner = member;
        }
        Ok(())
    }
}

impl Member {
    async fn connect(access: &Access, node: Node, slot: Slot, owner: &Owner) -> Result<Arc<Self>, RedisStoreError> {
        let server = Server::connect(access, &access.address(&node), Mode::Cluster, slot, owner).await?;
        Ok(Arc::new(Self { node, server: Arc::new(server) }))
    }
}

/// Slots in a row of one master.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) first: Slot,
    pub(super) last: Slot,
    pub(super) node: Node,
}

/// `CLUSTER SLOTS` is older than `CLUSTER SHARDS` and tells the port by which one is connected, be it by TLS or not.
async fn topology(access: &Access, seed: &ConnectionAddr) -> Result<Vec<Range>, RedisStoreError> {
    let mut connection = access.connect(seed).await?;
    let answer: Value = redis::cmd("CLUSTER").arg("SLOTS").query_async(&mut connection).await?;
    let host = match seed {
        ConnectionAddr::Tcp(host, _) | ConnectionAddr::TcpTls { host, .. } => host.as_str(),
        _ => "",
    };
    answer::ranges(answer, host)
}
