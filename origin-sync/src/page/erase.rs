//! `POST /erase`: a person's keys, removed for good, whichever namespace they are of.

use super::command::ReadError;
use crate::{erasure, report::Report};
use headwater::id::Key;
use serde::Serialize;
use std::collections::BTreeSet;

/// What became of it.
#[derive(Debug, Serialize)]
pub(super) struct Erased {
    /// The keys that were there, in order.
    erased: Vec<String>,
    /// Those at which a value of another type stands, which is not Headwater's to remove.
    left: Vec<String>,
}

pub(super) async fn erase(report: &Report, patterns: &[String], subject: &[u8]) -> Result<Erased, ReadError> {
    let all = erasure::erase(report.live(), patterns, subject, |_| true).await?;
    if !all.pending.is_empty() {
        return Err(ReadError::NotErasedYet);
    }
    let names =
        |keys: BTreeSet<Key>| keys.iter().map(|key| String::from_utf8_lossy(key.as_bytes()).into_owned()).collect();
    Ok(Erased { erased: names(all.erased), left: names(all.left) })
}
