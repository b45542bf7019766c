//! `POST /move-edge`: the operator says that an edge is at another address from now on.

use super::command::ReadError;
use crate::{
    edge::{EdgeUrl, EdgeUrlError},
    identity,
    report::Report,
};
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Move {
    from: String,
    to: String,
}

/// What became of it.
#[derive(Debug, Serialize)]
pub(super) struct Moved {
    from: String,
    to: String,
    /// How many identities of hubs are the new address' now.
    moved: usize,
}

pub(super) async fn move_edge(report: &Report, body: &[u8]) -> Result<Moved, ReadError> {
    let Move { from, to } = serde_json::from_slice(body).map_err(ReadError::Move)?;
    let url = |text: String| text.parse().map_err(|cause: EdgeUrlError| ReadError::Edge { text, cause });
    let (from, to): (EdgeUrl, EdgeUrl) = (url(from)?, url(to)?);
    let live = report.live().ok_or(ReadError::Away)?;
    let moved = identity::move_edge(&live.store, &from, &to).await?;
    tracing::warn!(%from, %to, moved, "an edge was moved to another address as the operator asked");
    Ok(Moved { from: from.to_string(), to: to.to_string(), moved })
}
