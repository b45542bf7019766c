//! `POST /inspect` and `POST /resolve`: what the store has of one key, and the operator's answer to a foreign value.

use super::command::ReadError;
use crate::{actor::Input, clock, report::Report, store::Store};
use bytes::Bytes;
use headwater::{id::Key, origin, store::Load};
use serde::Serialize;
use tokio::sync::oneshot;

/// A key as the store has it.
#[derive(Debug, Serialize)]
pub(super) struct Inspected {
    key: String,
    slot: u16,
    /// How often the slot was committed, in which history of the store.
    seq: u64,
    incarnation: Option<String>,
    run_id: Option<String>,
    /// The slot's sequence at the key's last commit; none where Headwater has nothing of the key.
    version: Option<u64>,
    /// What edges read: the type as Redis calls it, and how many fields the companion has.
    headwater_type: Option<&'static str>,
    fields: usize,
    bytes: usize,
    expires_at_ms: Option<i64>,
    /// What plain clients read: the type as Redis calls it, or "none". Absent in a store without plain values.
    plain_type: Option<String>,
    /// Whether something stands at the plain key that Headwater does not overwrite.
    is_foreign: bool,
}

/// What the operator did.
#[derive(Debug, Serialize)]
pub(super) struct Resolved {
    /// The type of the value that was there.
    discarded: String,
}

pub(super) async fn inspect(report: &Report, name: &Bytes) -> Result<Inspected, ReadError> {
    let key = Key::new(name.clone())?;
    let live = report.live().ok_or(ReadError::Away)?;
    let load = Load { slot: key.slot(), keys: vec![key.clone()], changed_after: None, plain: Vec::new() };
    let loaded = live.store.load(load).await?;
    let companion = loaded.keys.into_iter().find_map(|(_, companion)| companion);
    let state = companion.as_ref().map(origin::key_state).transpose()?;
    let shown = state.as_ref().and_then(|state| state.shown(clock::now())).map(|kind| kind.redis_name());
    let plain_type = live.store.plain_type(&key).await?;
    let is_foreign = plain_type.as_deref().is_some_and(|there| there != "none" && Some(there) != shown);
    let fields = companion.iter().flat_map(|companion| &companion.fields);
    Ok(Inspected {
        key: String::from_utf8_lossy(key.as_bytes()).into_owned(),
        slot: key.slot().get(),
        seq: loaded.marker.as_ref().map_or(0, |marker| marker.seq),
        incarnation: loaded.marker.as_ref().map(|marker| marker.incarnation.to_string()),
        run_id: loaded.marker.as_ref().map(|marker| String::from_utf8_lossy(&marker.run_id).into_owned()),
        version: companion.as_ref().map(|companion| companion.version),
        headwater_type: shown,
        fields: fields.clone().count(),
        bytes: fields.map(|(name, body)| name.len() + body.len()).sum(),
        expires_at_ms: state.as_ref().and_then(|state| state.deadline().at()).map(|at| at.0),
        plain_type,
        is_foreign,
    })
}

/// Removes a value that Headwater does not overwrite by itself; the key's next change writes the whole of its own.
pub(super) async fn resolve(report: &Report, name: &Bytes) -> Result<Resolved, ReadError> {
    let inspected = inspect(report, name).await?;
    let (true, Some(_), Some(discarded)) = (inspected.is_foreign, inspected.version, inspected.plain_type) else {
        return Err(ReadError::NotForeign);
    };
    let (live, key) = (report.live().ok_or(ReadError::Away)?, Key::new(name.clone())?);
    // The machine must know before: where it has not read the foreign value, it would take this for a plain client's DEL of its
    // own, and all that hubs wrote would go with it.
    let (answer, answered) = oneshot::channel();
    live.inputs.send(Input::Discarding(key.clone(), answer)).await.map_err(|_gone| ReadError::Away)?;
    answered.await.map_err(|_gone| ReadError::Away)?;
    live.store.discard_plain(&key).await?;
    tracing::warn!(key = inspected.key, discarded, "a foreign value was removed as the operator asked");
    Ok(Resolved { discarded })
}
