//! The store in a Redis, with the plain values beside the companions.

mod access;
mod answer;
mod names;
mod plain;
mod request;
mod script;
mod server;

pub use self::{
    access::{ClientFiles, Credentials, RedisConfig, RedisUrl, TlsFiles},
    plain::PlainError,
};

use super::{Store, StoreError};
use access::Access;
use bytes::Bytes;
use headwater::{
    id::{Key, KeyTooLong},
    slot::Slot,
    store::{Commit, Load, Loaded, Outcome},
};
use redis::RedisError;
use server::Server;
use std::{io, path::PathBuf};

/// A connected Redis.
#[derive(Debug)]
pub struct RedisStore {
    server: Server,
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
    FeedKey(#[source] KeyTooLong),
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
    /// When the server cannot be reached, is no master, or does not let this user run all that commits need.
    pub async fn connect(config: &RedisConfig) -> Result<Self, RedisStoreError> {
        let (address, access) = Access::read(&config.url, &config.credentials, &config.tls).await?;
        let any = Slot::of(b"");
        Ok(Self { server: Server::connect(&access, &address, any).await? })
    }
}

impl Store for RedisStore {
    async fn load(&self, load: Load) -> Result<Loaded, StoreError> {
        Ok(self.server.load(&load).await?)
    }

    async fn commit(&self, commit: Commit) -> Result<Outcome, StoreError> {
        Ok(self.server.commit(&commit).await?)
    }

    fn run_id(&self) -> Bytes {
        self.server.run_id().clone()
    }

    async fn ping(&self) -> Result<(), StoreError> {
        Ok(self.server.check_role().await?)
    }
}
