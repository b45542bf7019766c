//! How a Redis is reached: its addresses, who the daemon is to it, and what proves to the daemon that it is the right one.
//!
//! Secrets and certificates stand in files, which are read anew for every connection that is opened. So a password or a
//! certificate is changed by writing the file and changing the server: what is connected stays so, what connects later uses
//! the new one, and the daemon need not be restarted.

use super::RedisStoreError;
use redis::{
    AsyncConnectionConfig, Client, ClientTlsConfig, ConnectionAddr, IntoConnectionInfo, RedisConnectionInfo,
    TlsCertificates, aio::MultiplexedConnection, io::tcp::TcpSettings,
};
use std::{
    fmt, io,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

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
    /// The server.
    pub url: RedisUrl,
    /// The user and password, in place of those of the URL.
    pub credentials: Credentials,
    /// The certificates of a connection by TLS, which a URL that begins with `rediss:` asks for.
    pub tls: TlsFiles,
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
        Self { url, credentials: Credentials::default(), tls: TlsFiles::default() }
    }
}

impl RedisUrl {
    /// As the `redis` crate reads it: `redis://[user:password@]host[:port][/db]`, or `rediss://…` for TLS.
    pub fn new(url: impl Into<String>) -> Self {
        Self(url.into())
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
}

impl Access {
    /// Reads the files.
    pub(super) async fn read(
        url: &RedisUrl,
        credentials: &Credentials,
        tls: &TlsFiles,
    ) -> Result<(ConnectionAddr, Self), RedisStoreError> {
        let info = url.0.as_str().into_connection_info()?;
        let mut user = info.redis_settings().clone();
        if let Some(name) = &credentials.username {
            user = user.set_username(name);
        }
        if let Some(path) = &credentials.password_file {
            user = user.set_password(String::from_utf8_lossy(&read(path).await?).trim());
        }
        let root_cert = match &tls.ca_file {
            Some(path) => Some(read(path).await?),
            None => None,
        };
        let client_tls = match &tls.client {
            Some(ClientFiles { certificate, key }) => {
                Some(ClientTlsConfig { client_cert: read(certificate).await?, client_key: read(key).await? })
            }
            None => None,
        };
        Ok((info.addr().clone(), Self { user, certificates: TlsCertificates { client_tls, root_cert } }))
    }

    /// Connects to one server. The connection never reconnects by itself.
    pub(super) async fn connect(&self, address: &ConnectionAddr) -> Result<MultiplexedConnection, RedisStoreError> {
        let tcp = TcpSettings::default().set_nodelay(true);
        let info = address.clone().into_connection_info()?;
        let info = info.set_tcp_settings(tcp).set_redis_settings(self.user.clone());
        let client = match address {
            ConnectionAddr::TcpTls { .. } => Client::build_with_tls(info, self.certificates.clone())?,
            _ => Client::open(info)?,
        };
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(RESPONSE_TIMEOUT));
        Ok(client.get_multiplexed_async_connection_with_config(&config).await?)
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Access(…)")
    }
}

async fn read(path: &Path) -> Result<Vec<u8>, RedisStoreError> {
    tokio::fs::read(path).await.map_err(|source: io::Error| RedisStoreError::File { path: path.to_owned(), source })
}
