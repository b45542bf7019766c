//! How a Redis is reached: its addresses, who the daemon is to it, and what proves to the daemon that it is the right one.
//!
//! Secrets and certificates stand in files, which are read anew for every connection that is opened. So a password or a
//! certificate is changed by writing the file and changing the server: what is connected stays so, what connects later uses
//! the new one, and the daemon need not be restarted.

use super::{RedisStoreError, survival::StableConfig};
use futures_util::Stream;
use redis::{
    AsyncConnectionConfig, Client, ClientTlsConfig, ConnectionAddr, IntoConnectionInfo, Msg, ProtocolVersion, PushInfo,
    RedisConnectionInfo, TlsCertificates,
    aio::{MultiplexedConnection, PubSubSink, PubSubStream},
    io::tcp::TcpSettings,
};
use std::{
    fmt, io,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};
use tokio::{sync::mpsc::UnboundedSender, time::timeout};

/// A server beyond this is as good as gone.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The largest commits take some hundred milliseconds; a server that is silent for longer is torn down and asked anew.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(10);

/// The URL of a Redis, which may hold a password and so is never printed.
#[derive(Clone)]
pub struct RedisUrl(String);

/// A Redis deployment, as the operator describes it.
#[derive(Clone, Debug)]
pub struct RedisConfig {
    /// The server; or sentinels, or nodes of a cluster, any one of which tells of the others.
    pub urls: Vec<RedisUrl>,
    /// What the URLs name.
    pub topology: Topology,
    /// The user and password, in place of those of the URL.
    pub credentials: Credentials,
    /// The certificates of a connection by TLS, which a URL that begins with `rediss:` asks for.
    pub tls: TlsFiles,
    /// By what a commit counts as stable.
    pub stable: StableConfig,
}

/// How the servers belong together.
#[derive(Clone, Debug)]
pub enum Topology {
    /// One server.
    Single,
    /// A master with replicas, of which sentinels know which one is the master. The URLs are the sentinels'; a user in them
    /// is one of theirs, a database number that of the master.
    Sentinel {
        /// What they call the master.
        master: String,
        /// The user and password to the sentinels, in place of those of the URL.
        credentials: Credentials,
    },
    /// Redis Cluster.
    Cluster,
}

/// A user and the file with its password.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    /// A user of the server's access control list; without one it is `default`.
    pub username: Option<String>,
    /// Holds the password; white space around it does not count.
    pub password_file: Option<PathBuf>,
}

/// Files in PEM form.
#[derive(Clone, Debug, Default)]
pub struct TlsFiles {
    /// The authorities that may vouch for the server, in place of the public ones.
    pub ca_file: Option<PathBuf>,
    /// The certificate by which the daemon shows who it is, with its key.
    pub client: Option<ClientFiles>,
}

/// A client certificate and its key.
#[derive(Clone, Debug)]
pub struct ClientFiles {
    /// The certificate, and those that lead from it to the authority.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

impl RedisConfig {
    /// One server by its URL alone.
    pub fn single(url: RedisUrl) -> Self {
        let (credentials, tls) = (Credentials::default(), TlsFiles::default());
        Self { urls: vec![url], topology: Topology::Single, credentials, tls, stable: StableConfig::default() }
    }
}

impl RedisUrl {
    /// As the `redis` crate reads it: `redis://[user:password@]host[:port][/db]`, or `rediss://…` for TLS.
    pub fn new(url: impl Into<String>) -> Self {
        Self(url.into())
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl FromStr for RedisUrl {
    type Err = RedisStoreError;

    fn from_str(url: &str) -> Result<Self, RedisStoreError> {
        let info = url.into_connection_info()?;
        if let ConnectionAddr::TcpTls { insecure: true, .. } = info.addr() {
            return Err(RedisStoreError::Insecure);
        }
        Ok(Self(url.to_owned()))
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("redis://…")
    }
}

/// What every connection of one opening of the store has in common; the files were read once for it.
#[derive(Clone)]
pub(super) struct Access {
    user: RedisConnectionInfo,
    certificates: TlsCertificates,
    is_tls: bool,
    stable: StableConfig,
}

/// Where a server is: host and port, as servers tell it of each other.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Node {
    pub(super) host: String,
    pub(super) port: u16,
}

impl Access {
    /// Reads the files. Gives the addresses of the URLs, and the access to the servers of the data.
    pub(super) async fn read(config: &RedisConfig) -> Result<(Vec<ConnectionAddr>, Self), RedisStoreError> {
        let mut infos = Vec::with_capacity(config.urls.len());
        for url in &config.urls {
            infos.push(url.0.as_str().into_connection_info()?);
        }
        let first = infos.first().ok_or(RedisStoreError::NoAddress)?;
        let user = match config.topology {
            Topology::Sentinel { .. } => RedisConnectionInfo::default().set_db(first.redis_settings().db()),
            Topology::Single | Topology::Cluster => first.redis_settings().clone(),
        };
        let root_cert = match &config.tls.ca_file {
            Some(path) => Some(read(path).await?),
            None => None,
        };
        let client_tls = match &config.tls.client {
            Some(ClientFiles { certificate, key }) => {
                Some(ClientTlsConfig { client_cert: read(certificate).await?, client_key: read(key).await? })
            }
            None => None,
        };
        let access = Self {
            user: identified(user, &config.credentials).await?,
            certificates: TlsCertificates { client_tls, root_cert },
            is_tls: matches!(first.addr(), ConnectionAddr::TcpTls { .. }),
            stable: config.stable,
        };
        Ok((infos.iter().map(|info| info.addr().clone()).collect(), access))
    }

    /// The access to the sentinels, where this one is that to the servers that they watch.
    pub(super) async fn to_sentinels(
        &self,
        url: &RedisUrl,
        credentials: &Credentials,
    ) -> Result<Self, RedisStoreError> {
        let info = url.0.as_str().into_connection_info()?;
        let user = info.redis_settings().clone().set_db(0);
        Ok(Self { user: identified(user, credentials).await?, ..self.clone() })
    }

    /// By what a commit counts as stable.
    pub(super) fn stable(&self) -> StableConfig {
        self.stable
    }

    /// The address of a server that others told of, reached as they are.
    pub(super) fn address(&self, node: &Node) -> ConnectionAddr {
        let Node { host, port } = node.clone();
        if self.is_tls {
            ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None }
        } else {
            ConnectionAddr::Tcp(host, port)
        }
    }

    /// A subscription to a channel, over a connection of its own.
    pub(super) async fn subscribe(
        &self,
        address: &ConnectionAddr,
        channel: &str,
    ) -> Result<impl Stream<Item = Msg> + Unpin + use<>, RedisStoreError> {
        let connected = timeout(CONNECT_TIMEOUT, self.client(address)?.get_async_pubsub()).await;
        let mut subscription = connected.map_err(RedisStoreError::Timeout)??;
        subscription.subscribe(channel).await?;
        Ok(subscription.into_on_message())
    }

    /// A connection of its own to listen by: what subscribes on it, and what it hears.
    pub(super) async fn listen(&self, address: &ConnectionAddr) -> Result<(PubSubSink, PubSubStream), RedisStoreError> {
        let connected = timeout(CONNECT_TIMEOUT, self.client(address)?.get_async_pubsub()).await;
        Ok(connected.map_err(RedisStoreError::Timeout)??.split())
    }

    /// Connects to one server. The connection never reconnects by itself.
    pub(super) async fn connect(&self, address: &ConnectionAddr) -> Result<MultiplexedConnection, RedisStoreError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(RESPONSE_TIMEOUT));
        Ok(self.client(address)?.get_multiplexed_async_connection_with_config(&config).await?)
    }

    /// Connects to one server for what it says by itself.
    pub(super) async fn connect_for_pushes(
        &self,
        address: &ConnectionAddr,
        pushes: UnboundedSender<PushInfo>,
    ) -> Result<MultiplexedConnection, RedisStoreError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(RESPONSE_TIMEOUT))
            .set_push_sender(pushes);
        let user = self.user.clone().set_protocol(ProtocolVersion::RESP3);
        let client = Self { user, ..self.clone() }.client(address)?;
        Ok(client.get_multiplexed_async_connection_with_config(&config).await?)
    }

    fn client(&self, address: &ConnectionAddr) -> Result<Client, RedisStoreError> {
        let tcp = TcpSettings::default().set_nodelay(true);
        let info = address.clone().into_connection_info()?;
        let info = info.set_tcp_settings(tcp).set_redis_settings(self.user.clone());
        Ok(match address {
            ConnectionAddr::TcpTls { .. } => Client::build_with_tls(info, self.certificates.clone())?,
            _ => Client::open(info)?,
        })
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Access(…)")
    }
}

async fn identified(
    mut user: RedisConnectionInfo,
    credentials: &Credentials,
) -> Result<RedisConnectionInfo, RedisStoreError> {
    if let Some(name) = &credentials.username {
        user = user.set_username(name);
    }
    if let Some(path) = &credentials.password_file {
        user = user.set_password(String::from_utf8_lossy(&read(path).await?).trim());
    }
    Ok(user)
}

async fn read(path: &Path) -> Result<Vec<u8>, RedisStoreError> {
    tokio::fs::read(path).await.map_err(|source: io::Error| RedisStoreError::File { path: path.to_owned(), source })
}
