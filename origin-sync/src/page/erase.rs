//! `POST /erase`: a person's keys, removed for good.
//!
//! The keys are those that the store has under the operator's patterns now. Each is removed by the machine as its own
//! operation and ends at once, so that hubs and companions forget it with all names in it. What an edge took in and has not
//! sent yet is not among them: the operator asks again.

use super::command::ReadError;
use crate::{actor::Input, erasure::Subject, report::Report, store::Store as _};
use headwater::id::Key;
use serde::Serialize;
use std::{collections::BTreeSet, time::Duration};
use tokio::{sync::oneshot, time::timeout};

/// How long the machine may take. What it has not removed by then it removes later.
const ERASE_TIMEOUT: Duration = Duration::from_secs(10);

/// What became of it.
#[derive(Debug, Serialize)]
pub(super) struct Erased {
    /// The keys that were there, in order.
    erased: Vec<String>,
    /// Those at which a value of another type stands, which is not Headwater's to remove.
    left: Vec<String>,
}

pub(super) async fn erase(report: &Report, patterns: &[String], subject: &[u8]) -> Result<Erased, ReadError> {
    let subject = Subject::new(subject)?;
    if patterns.is_empty() {
        return Err(ReadError::NoErasePattern);
    }
    let live = report.live().ok_or(ReadError::Away)?;
    let mut keys: BTreeSet<Key> = BTreeSet::new();
    for pattern in patterns {
        keys.extend(live.store.find(&subject.within(pattern)).await?);
    }
    if !keys.is_empty() {
        let (answer, answered) = oneshot::channel();
        let ask = async {
            live.inputs.send(Input::Erase(keys.clone(), answer)).await.ok()?;
            answered.await.ok()
        };
        timeout(ERASE_TIMEOUT, ask).await.ok().flatten().ok_or(ReadError::NotErasedYet)?;
    }
    let (mut erased, mut left) = (Vec::new(), Vec::new());
    for key in keys {
        let name = String::from_utf8_lossy(key.as_bytes()).into_owned();
        match live.store.plain_type(&key).await?.as_deref() {
            None | Some("none") => erased.push(name),
            Some(_) => left.push(name),
        }
    }
    tracing::warn!(keys = erased.len(), left = left.len(), "a person's keys were erased as the operator asked");
    Ok(Erased { erased, left })
}
