//! Which server is the master, as sentinels say.
//!
//! They are asked when the store is opened, and again at each sign of life: an answer cannot be missed as a message on a
//! channel can. Once they name another server, this connection has failed. A server that they promoted has another run id,
//! so what follows is what follows after a restart: a fresh incarnation of every slot, and hubs that send again.

use super::{
    RedisStoreError,
    access::{Access, Node},
    server::{Mode, Server},
    tracking::Owner,
};
use futures_util::{StreamExt, stream::FuturesUnordered};
use headwater::slot::Slot;
use redis::{ConnectionAddr, RedisError, RedisResult, Value, from_redis_value};
use std::{collections::HashMap, sync::Arc, time::Duration};
use tokio::time::timeout;

/// How long the other sentinels are waited for once one has answered: one that hangs must not hide a failover.
const PATIENCE: Duration = Duration::from_millis(500);

/// The master that the sentinels named.
#[derive(Debug)]
pub(super) struct Watched {
    server: Arc<Server>,
    node: Node,
    servers: Access,
    sentinels: Sentinels,
}

impl Watched {
    /// Connects to whatever server the sentinels name.
    pub(super) async fn open(servers: Access, sentinels: Sentinels, owner: &Owner) -> Result<Self, RedisStoreError> {
        let node = sentinels.master().await?;
        let address = servers.address(&node);
        let server = Server::connect(&servers, &address, Mode::Standalone, Slot::of(b""), owner).await?;
        Ok(Self { server: Arc::new(server), node, servers, sentinels })
    }

    /// Where it is.
    pub(super) fn address(&self) -> ConnectionAddr {
        self.servers.address(&self.node)
    }

    /// The connection.
    pub(super) fn server(&self) -> &Arc<Server> {
        &self.server
    }

    /// Whether the server answers as a master, and the sentinels name no other one. Both are asked at once: a master that
    /// hangs must not keep the sentinels from being heard.
    pub(super) async fn check(&self) -> Result<(), RedisStoreError> {
        tokio::try_join!(self.server.check_role(), self.check_name())?;
        Ok(())
    }

    /// That no sentinel answers means nothing.
    async fn check_name(&self) -> Result<(), RedisStoreError> {
        let Ok(named) = self.sentinels.master().await else { return Ok(()) };
        if named == self.node {
            return Ok(());
        }
        // They may know one server by several names.
        match Server::run_id_at(&self.servers, &self.servers.address(&named)).await {
            Ok(run_id) if run_id == self.server.run_id() => Ok(()),
            _ => Err(RedisStoreError::Moved { named: named.to_string() }),
        }
    }
}

/// What one sentinel says.
struct Named {
    node: Node,
    /// Grows with each failover.
    epoch: u64,
}

/// The sentinels of one master.
#[derive(Debug)]
pub(super) struct Sentinels {
    access: Access,
    addresses: Vec<ConnectionAddr>,
    master: String,
}

impl Sentinels {
    /// Asks nobody yet.
    pub(super) fn new(access: Access, addresses: Vec<ConnectionAddr>, master: String) -> Self {
        Self { access, addresses, master }
    }

    /// The master by the sentinel that has seen the latest failover, of those that answer. They hear of one from another
    /// within seconds; until then, and for as long as one is cut off, it names the last master.
    async fn master(&self) -> Result<Node, RedisStoreError> {
        let mut asked: FuturesUnordered<_> = self.addresses.iter().map(|address| self.ask(address)).collect();
        let mut latest: Result<Named, RedisStoreError> = Err(RedisStoreError::NoAddress);
        loop {
            let next = match latest {
                Ok(_) => timeout(PATIENCE, asked.next()).await.unwrap_or(None),
                Err(_) => asked.next().await,
            };
            let Some(answer) = next else { return latest.map(|named| named.node) };
            latest = match (latest, answer) {
                (Ok(one), Ok(other)) => Ok(if other.epoch > one.epoch { other } else { one }),
                (Ok(named), Err(_)) | (Err(_), Ok(named)) => Ok(named),
                (Err(_), Err(error)) => Err(error),
            };
        }
    }

    async fn ask(&self, address: &ConnectionAddr) -> Result<Named, RedisStoreError> {
        let mut connection = self.access.connect(address).await?;
        let mut ask = redis::pipe();
        ask.cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(&self.master);
        // It is an error where the name is unknown, of which the other answer tells plainly.
        ask.cmd("SENTINEL").arg("MASTER").arg(&self.master);
        ask.ignore_errors();
        let answers: Vec<RedisResult<Value>> = ask.query_async(&mut connection).await?;
        let [named, told] =
            answers.try_into().or(Err(RedisStoreError::Answer("two questions have not two answers")))?;
        let named: Option<(String, u16)> = from_redis_value(named?).map_err(RedisError::from)?;
        let (host, port) = named.ok_or_else(|| RedisStoreError::UnknownMaster(self.master.clone()))?;
        let mut told: HashMap<String, String> = from_redis_value(told?).map_err(RedisError::from)?;
        let epoch = told.remove("config-epoch").and_then(|epoch| epoch.parse().ok());
        let epoch = epoch.ok_or(RedisStoreError::Answer("a sentinel tells no config-epoch"))?;
        Ok(Named { node: Node { host, port }, epoch })
    }
}
