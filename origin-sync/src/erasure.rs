//! A person's keys, removed for good: those that the store has now under patterns that name the person's place, as
//! `user:{subject}:*`.
//!
//! A subject is put into a pattern as it is and stands for itself alone, whatever signs are in it. Each key is removed by the
//! machine as its own operation and ends at once, so that hubs and companions forget it with all names in it. What an edge took
//! in and has not sent yet is not among them: whoever asked asks again.

use crate::{
    actor::Input,
    report::Live,
    store::{Store as _, StoreError},
};
use headwater::id::Key;
use std::{collections::BTreeSet, time::Duration};
use tokio::{sync::oneshot, time::timeout};

/// How long the machine may take. What it has not removed by then it removes later.
const ERASE_TIMEOUT: Duration = Duration::from_secs(10);

/// The place of the person in a pattern.
pub const PLACE: &str = "{subject}";

/// The longest subject, in bytes; keys are no longer.
const SUBJECT_BYTES_MAX: usize = 1024;

/// Whom to forget.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Subject(Vec<u8>);

/// Why nobody is named.
#[derive(Debug, thiserror::Error)]
pub enum SubjectError {
    /// Nothing: the patterns would name everybody.
    #[error("ERR Headwater: the subject is empty")]
    Empty,
    /// Too long for any key.
    #[error("ERR Headwater: no key is so long as the subject")]
    TooLong,
}

/// A pattern that does not name the place.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} does not hold {PLACE}, and so would erase the same keys for everybody")]
pub struct ErasePatternError(String);

impl Subject {
    /// Whoever is named so.
    ///
    /// # Errors
    /// When nobody is, or no key has room for the name.
    pub fn new(name: &[u8]) -> Result<Self, SubjectError> {
        match name.len() {
            0 => Err(SubjectError::Empty),
            length if length > SUBJECT_BYTES_MAX => Err(SubjectError::TooLong),
            _ => Ok(Self(name.to_vec())),
        }
    }

    /// The pattern for this person, as Redis' SCAN takes it.
    pub fn within(&self, pattern: &str) -> Vec<u8> {
        let mut literal = Vec::with_capacity(self.0.len());
        for byte in &self.0 {
            if b"*?[]^-\\".contains(byte) {
                literal.push(b'\\');
            }
            literal.push(*byte);
        }
        let parts: Vec<&[u8]> = pattern.split(PLACE).map(str::as_bytes).collect();
        parts.join(&literal[..])
    }
}

/// What became of the keys.
#[derive(Debug, Default)]
pub(crate) struct Erased {
    /// Those that were there.
    pub(crate) erased: BTreeSet<Key>,
    /// Those at which a value of another type stands, which is not Headwater's to remove.
    pub(crate) left: BTreeSet<Key>,
    /// Those that the machine has yet to remove.
    pub(crate) pending: BTreeSet<Key>,
}

/// Why nothing is erased.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EraseError {
    #[error("ERR Headwater: erase-pattern is not set, so nobody knows which keys are a person's")]
    NoPattern,
    #[error(transparent)]
    Subject(#[from] SubjectError),
    #[error("ERR Headwater: the store is not connected")]
    Away,
    #[error("ERR Headwater: the store failed: {0}")]
    Store(#[from] StoreError),
}

/// Removes the keys of a person that are the asker's own.
pub(crate) async fn erase(
    live: Option<Live>,
    patterns: &[String],
    subject: &[u8],
    is_own: impl Fn(&Key) -> bool,
) -> Result<Erased, EraseError> {
    let subject = Subject::new(subject)?;
    if patterns.is_empty() {
        return Err(EraseError::NoPattern);
    }
    let live = live.ok_or(EraseError::Away)?;
    let mut keys: BTreeSet<Key> = BTreeSet::new();
    for pattern in patterns {
        keys.extend(live.store.find(&subject.within(pattern)).await?.into_iter().filter(&is_own));
    }
    if !keys.is_empty() {
        let (answer, answered) = oneshot::channel();
        let ask = async {
            live.inputs.send(Input::Erase(keys.clone(), answer)).await.ok()?;
            answered.await.ok()
        };
        if timeout(ERASE_TIMEOUT, ask).await.ok().flatten().is_none() {
            return Ok(Erased { pending: keys, ..Erased::default() });
        }
    }
    let mut all = Erased::default();
    for key in keys {
        let is_gone = live.store.plain_type(&key).await?.is_none_or(|kind| kind == "none");
        let kept = if is_gone { &mut all.erased } else { &mut all.left };
        kept.insert(key);
    }
    tracing::warn!(
        keys = all.erased.len(),
        left = all.left.len(),
        "a person's keys were erased, as somebody asked who may"
    );
    Ok(all)
}

/// Checks what the operator wrote.
///
/// # Errors
/// When it names nobody's place.
pub fn checked(pattern: &str) -> Result<String, ErasePatternError> {
    if pattern.contains(PLACE) { Ok(pattern.to_owned()) } else { Err(ErasePatternError(pattern.to_owned())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_stands_for_itself_alone() {
        let within = |subject: &[u8]| Subject::new(subject).unwrap().within("user:{subject}:*");
        assert_eq!(within(b"42"), b"user:42:*");
        assert_eq!(within(b"*"), b"user:\\*:*");
        assert_eq!(within(b"a[b]?\\"), b"user:a\\[b\\]\\?\\\\:*");
        assert!(Subject::new(b"").is_err() && Subject::new(&[b'x'; 1025]).is_err());
    }

    #[test]
    fn a_pattern_without_a_place_is_refused() {
        assert!(checked("user:*").unwrap_err().to_string().contains("{subject}"));
        assert_eq!(checked("session:{subject}").unwrap(), "session:{subject}");
    }
}
