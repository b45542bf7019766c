//! The stores under test, each fresh and alone.

use super::{
    cluster::{RedisCluster, Watched},
    server::{Program, RedisServer, free_port},
    tls::Certificates,
};
use origin_sync::store::{
    ClientFiles, Credentials, EmbeddedStore, RedisConfig, RedisStore, RedisStoreError, RedisUrl, StableConfig,
    StableMeans, Store, TlsFiles, Topology,
};
use redis::{FromRedisValue, aio::MultiplexedConnection, cluster_async::ClusterConnection};
use std::{
    marker::PhantomData,
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tokio::sync::MutexGuard;

/// Whose servers they are that make up a store of many.
pub trait Made: Sized {
    const PROGRAM: Program;
}

pub struct OfRedis;

impl Made for OfRedis {
    const PROGRAM: Program = Program::Redis;
}

pub struct OfValkey;

impl Made for OfValkey {
    const PROGRAM: Program = Program::Valkey;
}

/// A store, and a plain client of it where there are plain values.
pub trait Bed: Sized {
    type Store: Store;

    async fn make() -> Self;
    fn store(&self) -> &Self::Store;
    /// Another connection to the same data.
    async fn reopened(self) -> Self;
    fn plain(&self) -> Option<Plain>;
}

/// How a server by itself is begun, and what the store is told of it.
pub trait Kind: Sized {
    async fn begin() -> RedisServer;

    fn config(server: &RedisServer) -> RedisConfig {
        config(server)
    }
}

/// A server by itself.
pub struct Single<K> {
    server: RedisServer,
    store: RedisStore,
    plain: Plain,
    kind: PhantomData<K>,
}

/// A Redis whose users may load functions.
pub type Functions = Single<WithFunctions>;
pub struct WithFunctions;

impl Kind for WithFunctions {
    async fn begin() -> RedisServer {
        RedisServer::start().await
    }
}

/// A Redis whose users may not.
pub type Scripts = Single<WithoutFunctions>;
pub struct WithoutFunctions;

impl Kind for WithoutFunctions {
    async fn begin() -> RedisServer {
        let server = RedisServer::start().await;
        Plain::connect(&server).await.ask::<()>(&["ACL", "SETUSER", "default", "-function", "-fcall"]).await;
        server
    }
}

/// A Valkey, which keeps nothing.
pub type OnValkey = Single<Valkey>;
pub struct Valkey;

impl Kind for Valkey {
    async fn begin() -> RedisServer {
        RedisServer::start_valkey(&[]).await
    }
}

/// A Valkey that keeps a log, by which commits are stable.
pub type LoggedValkey = Single<ValkeyWithLog>;
pub struct ValkeyWithLog;

impl Kind for ValkeyWithLog {
    async fn begin() -> RedisServer {
        RedisServer::start_valkey(&["--appendonly", "yes"]).await
    }

    fn config(server: &RedisServer) -> RedisConfig {
        RedisConfig { stable: StableConfig { means: StableMeans::WaitAof, replicas: None }, ..config(server) }
    }
}

impl<K: Kind> Single<K> {
    pub fn server(&self) -> &RedisServer {
        &self.server
    }

    pub async fn connect(&self) -> Result<RedisStore, RedisStoreError> {
        RedisStore::connect(&K::config(&self.server)).await
    }
}

impl<K: Kind> Bed for Single<K> {
    type Store = RedisStore;

    async fn make() -> Self {
        let server = K::begin().await;
        let store = RedisStore::connect(&K::config(&server)).await.unwrap();
        let plain = Plain::connect(&server).await;
        Self { server, store, plain, kind: PhantomData }
    }

    fn store(&self) -> &RedisStore {
        &self.store
    }

    async fn reopened(self) -> Self {
        let store = self.connect().await.unwrap();
        Self { store, ..self }
    }

    fn plain(&self) -> Option<Plain> {
        Some(self.plain.clone())
    }
}

/// The line of the access control list that an operator is told to use.
const USER: &str = include_str!("../../../docs/redis-user.acl");

/// A Redis by TLS, which asks for a certificate of ours, and whose user may do no more than it must.
pub type Secured = SecuredBy<OfRedis>;
pub type SecuredValkey = SecuredBy<OfValkey>;

/// It, by whichever servers.
pub struct SecuredBy<M> {
    server: RedisServer,
    pub config: RedisConfig,
    store: RedisStore,
    plain: Plain,
    made: PhantomData<M>,
}

impl<M: Made> SecuredBy<M> {
    pub async fn connect(&self) -> Result<RedisStore, RedisStoreError> {
        RedisStore::connect(&self.config).await
    }

    /// Changes the password at the server and in the file.
    pub async fn rotate(&self, from: &str, to: &str) {
        self.plain.ask::<()>(&["ACL", "SETUSER", "headwater", &format!(">{to}"), &format!("<{from}")]).await;
        std::fs::write(self.server.directory().join("password"), format!("{to}\n")).unwrap();
    }
}

impl<M: Made> Bed for SecuredBy<M> {
    type Store = RedisStore;

    async fn make() -> Self {
        // The daemon's binary does this for itself; of several tests in one process the first does.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let files = Certificates::of_this_process();
        let path = |name: &str| files.path(name).to_str().unwrap().to_owned();
        let server = RedisServer::start_program(M::PROGRAM, |_directory| {
            let [ca, certificate, key] = ["ca.crt", "server.crt", "server.key"].map(path);
            let flags = [
                ("--tls-port", free_port().to_string()),
                ("--tls-ca-cert-file", ca),
                ("--tls-cert-file", certificate),
                ("--tls-key-file", key),
                ("--tls-auth-clients", "yes".to_owned()),
            ];
            flags.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]).collect()
        })
        .await;
        let plain = Plain::connect(&server).await;
        let words: Vec<&str> = USER.split_whitespace().skip(1).chain([">first"]).collect();
        plain.ask::<()>(&[&["ACL", "SETUSER"], &words[..]].concat()).await;
        let ports: Vec<String> = plain.ask(&["CONFIG", "GET", "tls-port"]).await;
        let tls_port: u16 = ports[1].parse().unwrap();
        let password = server.directory().join("password");
        std::fs::write(&password, "first\n").unwrap();
        let config = RedisConfig {
            urls: vec![RedisUrl::new(format!("rediss://127.0.0.1:{tls_port}"))],
            topology: Topology::Single,
            credentials: Credentials { username: Some("headwater".to_owned()), password_file: Some(password) },
            tls: TlsFiles {
                ca_file: Some(files.path("ca.crt")),
                client: Some(ClientFiles { certificate: files.path("client.crt"), key: files.path("client.key") }),
            },
            stable: StableConfig::default(),
        };
        let store = RedisStore::connect(&config).await.unwrap();
        Self { server, config, store, plain, made: PhantomData }
    }

    fn store(&self) -> &RedisStore {
        &self.store
    }

    async fn reopened(self) -> Self {
        let store = self.connect().await.unwrap();
        Self { store, ..self }
    }

    fn plain(&self) -> Option<Plain> {
        Some(self.plain.clone())
    }
}

/// The cluster that the cases share.
pub type Clustered = ClusterOf<OfRedis>;
pub type ValkeyClustered = ClusterOf<OfValkey>;

/// It, by whichever servers.
pub struct ClusterOf<M> {
    cluster: MutexGuard<'static, Option<RedisCluster>>,
    store: RedisStore,
    plain: Plain,
    made: PhantomData<M>,
}

impl<M: Made> ClusterOf<M> {
    pub fn cluster(&self) -> &RedisCluster {
        self.cluster.as_ref().unwrap()
    }

    pub async fn plain_of(cluster: &RedisCluster) -> Plain {
        let client = redis::cluster::ClusterClient::new(cluster.urls()).unwrap();
        Plain::Cluster(client.get_async_connection().await.unwrap())
    }

    pub fn config(cluster: &RedisCluster) -> RedisConfig {
        of_many(&cluster.urls(), Topology::Cluster)
    }
}

impl<M: Made> Bed for ClusterOf<M> {
    type Store = RedisStore;

    async fn make() -> Self {
        let cluster = RedisCluster::shared(M::PROGRAM).await;
        let store = RedisStore::connect(&Self::config(cluster.as_ref().unwrap())).await.unwrap();
        let plain = Self::plain_of(cluster.as_ref().unwrap()).await;
        Self { cluster, store, plain, made: PhantomData }
    }

    fn store(&self) -> &RedisStore {
        &self.store
    }

    async fn reopened(self) -> Self {
        let store = RedisStore::connect(&Self::config(self.cluster())).await.unwrap();
        Self { store, ..self }
    }

    fn plain(&self) -> Option<Plain> {
        Some(self.plain.clone())
    }
}

/// The master under sentinels that the cases share.
pub type UnderSentinels = SentinelsOf<OfRedis>;
pub type ValkeyUnderSentinels = SentinelsOf<OfValkey>;

/// It, by whichever servers.
pub struct SentinelsOf<M> {
    watched: MutexGuard<'static, Option<Watched>>,
    store: RedisStore,
    plain: Plain,
    made: PhantomData<M>,
}

impl<M: Made> SentinelsOf<M> {
    pub fn watched(&self) -> &Watched {
        self.watched.as_ref().unwrap()
    }

    pub fn config(watched: &Watched) -> RedisConfig {
        under_sentinels(&watched.urls())
    }
}

/// The master that these sentinels call `mine`.
pub fn under_sentinels(urls: &[String]) -> RedisConfig {
    let credentials = Credentials::default();
    of_many(urls, Topology::Sentinel { master: "mine".to_owned(), credentials })
}

impl<M: Made> Bed for SentinelsOf<M> {
    type Store = RedisStore;

    async fn make() -> Self {
        let watched = Watched::shared(M::PROGRAM).await;
        let all = watched.as_ref().unwrap();
        let store = RedisStore::connect(&Self::config(all)).await.unwrap();
        let plain = Plain::connect(&all.servers[all.master().await]).await;
        Self { watched, store, plain, made: PhantomData }
    }

    fn store(&self) -> &RedisStore {
        &self.store
    }

    async fn reopened(self) -> Self {
        let store = RedisStore::connect(&Self::config(self.watched())).await.unwrap();
        Self { store, ..self }
    }

    fn plain(&self) -> Option<Plain> {
        Some(self.plain.clone())
    }
}

fn of_many(urls: &[String], topology: Topology) -> RedisConfig {
    RedisConfig { urls: urls.iter().map(RedisUrl::new).collect(), topology, ..RedisConfig::single(RedisUrl::new("")) }
}

pub struct Embedded {
    directory: TempDir,
    store: EmbeddedStore,
}

impl Bed for Embedded {
    type Store = EmbeddedStore;

    async fn make() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = EmbeddedStore::open(directory.path().join("origin.redb")).await.unwrap();
        Self { directory, store }
    }

    fn store(&self) -> &EmbeddedStore {
        &self.store
    }

    /// The file has one owner, so the first lets go of it.
    async fn reopened(self) -> Self {
        let Self { directory, store } = self;
        drop(store);
        let store = opened(&directory.path().join("origin.redb")).await;
        Self { directory, store }
    }

    fn plain(&self) -> Option<Plain> {
        None
    }
}

/// The writer's thread lets go of the file a moment after the store is dropped.
async fn opened(path: &std::path::Path) -> EmbeddedStore {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        match EmbeddedStore::open(path.to_owned()).await {
            Ok(store) => return store,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A plain client, of one server or of a cluster.
#[derive(Clone)]
pub enum Plain {
    Single(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Plain {
    pub async fn connect(server: &RedisServer) -> Self {
        let client = redis::Client::open(server.url()).unwrap();
        Self::Single(client.get_multiplexed_async_connection().await.unwrap())
    }

    pub async fn ask<T: FromRedisValue>(&self, words: &[&str]) -> T {
        self.ask_bytes(&words.iter().map(|word| word.as_bytes()).collect::<Vec<_>>()).await
    }

    pub async fn ask_bytes<T: FromRedisValue>(&self, words: &[&[u8]]) -> T {
        let mut command = redis::Cmd::new();
        for word in words {
            command.arg(*word);
        }
        match self.clone() {
            Self::Single(mut connection) => command.query_async(&mut connection).await.unwrap(),
            Self::Cluster(mut connection) => command.query_async(&mut connection).await.unwrap(),
        }
    }
}

fn config(server: &RedisServer) -> RedisConfig {
    RedisConfig::single(RedisUrl::new(server.url()))
}
