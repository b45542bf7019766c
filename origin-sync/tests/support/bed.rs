//! The stores under test, each fresh and alone.

use super::server::RedisServer;
use origin_sync::store::{EmbeddedStore, RedisStore, RedisStoreError, RedisUrl, Store};
use redis::{FromRedisValue, aio::MultiplexedConnection};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A store, and a plain client of it where there are plain values.
pub trait Bed: Sized {
    type Store: Store;

    async fn make() -> Self;
    fn store(&self) -> &Self::Store;
    /// Another connection to the same data.
    async fn reopened(self) -> Self;
    fn plain(&self) -> Option<Plain>;
}

pub struct Functions {
    server: RedisServer,
    store: RedisStore,
    plain: Plain,
}

impl Functions {
    pub async fn connect(&self) -> Result<RedisStore, RedisStoreError> {
        RedisStore::connect(&RedisUrl::new(self.server.url())).await
    }
}

impl Bed for Functions {
    type Store = RedisStore;

    async fn make() -> Self {
        let server = RedisServer::start().await;
        let store = RedisStore::connect(&RedisUrl::new(server.url())).await.unwrap();
        let plain = Plain::connect(&server).await;
        Self { server, store, plain }
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

/// A Redis whose users may not load functions.
pub struct Scripts(Functions);

impl Bed for Scripts {
    type Store = RedisStore;

    async fn make() -> Self {
        let server = RedisServer::start().await;
        let plain = Plain::connect(&server).await;
        plain.ask::<()>(&["ACL", "SETUSER", "default", "-function", "-fcall"]).await;
        let store = RedisStore::connect(&RedisUrl::new(server.url())).await.unwrap();
        Self(Functions { server, store, plain })
    }

    fn store(&self) -> &RedisStore {
        &self.0.store
    }

    async fn reopened(self) -> Self {
        Self(self.0.reopened().await)
    }

    fn plain(&self) -> Option<Plain> {
        self.0.plain()
    }
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
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        match EmbeddedStore::open(path.to_owned()).await {
            Ok(store) => return store,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A plain client.
#[derive(Clone)]
pub struct Plain(MultiplexedConnection);

impl Plain {
    pub async fn connect(server: &RedisServer) -> Self {
        let client = redis::Client::open(server.url()).unwrap();
        Self(client.get_multiplexed_async_connection().await.unwrap())
    }

    pub async fn ask<T: FromRedisValue>(&self, words: &[&str]) -> T {
        self.ask_bytes(&words.iter().map(|word| word.as_bytes()).collect::<Vec<_>>()).await
    }

    pub async fn ask_bytes<T: FromRedisValue>(&self, words: &[&[u8]]) -> T {
        let mut command = redis::Cmd::new();
        for word in words {
            command.arg(*word);
        }
        command.query_async(&mut self.0.clone()).await.unwrap()
    }
}
