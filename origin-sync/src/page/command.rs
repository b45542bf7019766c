//! `POST /command`: a read command, executed on what the store holds now, in the REST dialect of the edge.

use crate::{
    clock,
    edge::EdgeUrlError,
    erasure::EraseError,
    report::Report,
    store::{Store, StoreError},
};
use axum::http::StatusCode;
use bytes::Bytes;
use headwater::{
    command::{self, CommandError, Reply},
    exec::{self, Vantage, View},
    id::{BadKey, Key},
    origin,
    state::KeyState,
    store::Load,
    wire::WireError,
};
use std::{
    collections::BTreeMap,
    hash::{BuildHasher, Hasher, RandomState},
};

/// Why a command was not executed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    #[error("ERR Headwater: the body is no JSON array of a command and its arguments")]
    Json(#[source] serde_json::Error),
    #[error("ERR Headwater: an argument is neither a string nor a number")]
    Argument,
    #[error(transparent)]
    Command(#[from] CommandError),
    #[error("ERR Headwater: the daemon only reads; send writes to an edge")]
    Write,
    #[error("ERR Headwater: no key is so long")]
    Key(#[from] BadKey),
    #[error("ERR Headwater: nothing foreign stands at the key, or Headwater has nothing to put there")]
    NotForeign,
    #[error(transparent)]
    Erase(#[from] EraseError),
    #[error("ERR Headwater: the body is no JSON object of the texts from and to")]
    Move(#[source] serde_json::Error),
    #[error("ERR Headwater: {text:?} is no URL of an edge: {cause}")]
    Edge { text: String, cause: EdgeUrlError },
    #[error("ERR Headwater: not all is erased yet; it goes on, and may be asked for again")]
    NotErasedYet,
    #[error("ERR Headwater: the store is not connected")]
    Away,
    #[error("ERR Headwater: the store failed: {0}")]
    Store(#[from] StoreError),
    #[error("ERR Headwater: the companion of a key does not decode: {0}")]
    Companion(#[from] WireError),
}

impl ReadError {
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::Json(_) | Self::Argument | Self::Command(_) | Self::Write | Self::Key(_) => StatusCode::BAD_REQUEST,
            Self::Move(_) | Self::Edge { .. } => StatusCode::BAD_REQUEST,
            Self::Erase(EraseError::Subject(_)) => StatusCode::BAD_REQUEST,
            Self::Erase(EraseError::NoPattern) => StatusCode::CONFLICT,
            Self::Erase(EraseError::Away | EraseError::Store(_)) => StatusCode::SERVICE_UNAVAILABLE,
            Self::NotErasedYet => StatusCode::SERVICE_UNAVAILABLE,
            Self::NotForeign => StatusCode::CONFLICT,
            Self::Away | Self::Store(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Companion(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

pub(super) async fn execute(report: &Report, body: &[u8]) -> Result<serde_json::Value, ReadError> {
    let command = command::parse(&arguments(body)?)?;
    if command.is_write() {
        return Err(ReadError::Write);
    }
    let live = report.live().ok_or(ReadError::Away)?;
    let mut states: BTreeMap<Key, KeyState> = BTreeMap::new();
    for key in command.keys() {
        let load = Load { slot: key.slot(), keys: vec![key.clone()], changed_after: None, plain: Vec::new() };
        let loaded = live.store.load(load).await?;
        for (key, companion) in loaded.keys {
            if let Some(companion) = companion {
                states.insert(key, origin::key_state(&companion)?);
            }
        }
    }
    let view =
        |key: &Key| View { state: states.get(key).map(KeyState::view), is_held: true, vantage: Vantage::NOWHERE };
    Ok(json(exec::prepare(&command, view, clock::now(), entropy())?.reply))
}

/// The standard library's own source of random bits, which it takes from the system.
fn entropy() -> u64 {
    RandomState::new().build_hasher().finish()
}

fn arguments(body: &[u8]) -> Result<Vec<Bytes>, ReadError> {
    let words: Vec<serde_json::Value> = serde_json::from_slice(body).map_err(ReadError::Json)?;
    words
        .into_iter()
        .map(|word| match word {
            serde_json::Value::String(text) => Ok(Bytes::from(text)),
            serde_json::Value::Number(number) => Ok(Bytes::from(number.to_string())),
            _ => Err(ReadError::Argument),
        })
        .collect()
}

/// Bytes that are no UTF-8 are replaced, as at the edge.
fn json(reply: Reply) -> serde_json::Value {
    match reply {
        Reply::Nil => serde_json::Value::Null,
        Reply::Ok => "OK".into(),
        Reply::Simple(text) => text.into(),
        Reply::Int(number) => number.into(),
        Reply::Bulk(bytes) => String::from_utf8_lossy(&bytes).into(),
        Reply::Array(items) => items.into_iter().map(json).collect(),
    }
}
