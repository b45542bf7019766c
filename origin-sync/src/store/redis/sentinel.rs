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
use futures_util::future::select_ok;
use headwater::slot::Slot;
use redis::ConnectionAddr;
use std::sync::Arc;

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

    /// The master by the sentinel that answers first. It need not be one: a sentinel that was cut off knows only the last.
    async fn master(&self) -> Result<Node, RedisStoreError> {
        let asked = self.addresses.iter().map(|address| Box::pin(self.ask(address)));
        Ok(select_ok(asked).await?.0)
    }

    async fn ask(&self, address: &ConnectionAddr) -> Result<Node, RedisStoreError> {
        let mut connection = self.access.connect(address).await?;
        let mut ask = redis::cmd("SENTINEL");
        ask.arg("GET-MASTER-ADDR-BY-NAME").arg(&self.master);
        let named: Option<(String, u16)> = ask.query_async(&mut connection).await?;
        let (host, port) = named.ok_or_else(|| RedisStoreError::UnknownMaster(self.master.clone()))?;
        Ok(Node { host, port })
    }
}
