//! The session token: what a client has seen, carried by the client itself from one request to the next. Pure.
//!
//! `@upstash/redis` hands back the `Upstash-Sync-Token` of the last answer with each request. It lists marks, newest last: a
//! slot, the hub at which the client was, and how far that hub had come there. What it says is not secret. It is signed, so that nobody
//! has requests wait for what no hub ever had: by HMAC with SHA-256 under the first of the operator's secrets, and accepted under
//! each of them. One all of whose marks are so old that they do not count says nothing, and needs no secret: a client that was
//! silent while they changed goes on.

use crate::limits::{SYNC_SECRET_BYTES_MIN, SYNC_SECRETS_MAX};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use headwater::{
    id::TimestampMs,
    limits::MARKS_MAX,
    message::{Cursor, Mark},
};
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

/// How long a mark counts, in milliseconds. What a client did is everywhere long before, or its hub has lost it; then the
/// client is not to be refused for ever.
const MARK_MS_MAX: i64 = 600_000;

/// What tokens of this form begin with.
const PREFIX: &str = "hw1.";

/// Of the code that authenticates a token so many bytes go along (RFC 2104, 5: half of it at the least).
const TAG_BYTES: usize = 16;

/// What else is signed under the same secrets some day begins otherwise.
const PURPOSE: &[u8] = b"headwater sync token\0";

/// A token is none of Headwater's.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "ERR Headwater: the Upstash-Sync-Token cannot be read, or no secret in force signed it; send back the last one, or none to \
     begin a new session"
)]
pub(crate) struct BadSession;

/// The secrets under which tokens are signed: the first one signs, and each is accepted.
#[derive(Clone)]
pub(crate) struct Secrets(Vec<Hmac<Sha256>>);

/// The binding with the secrets says what it cannot. It does not repeat them.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "it must be 1 to {SYNC_SECRETS_MAX} secrets of at least {SYNC_SECRET_BYTES_MIN} bytes each, with commas between them"
)]
pub(crate) struct BadSecrets;

impl Secrets {
    /// Reads secrets with commas between them.
    ///
    /// # Errors
    /// Where there are too many, or one is short.
    pub(crate) fn parse(text: &str) -> Result<Self, BadSecrets> {
        let secrets: Vec<&str> = text.split(',').map(str::trim).collect();
        let are_right =
            secrets.len() <= SYNC_SECRETS_MAX && secrets.iter().all(|one| one.len() >= SYNC_SECRET_BYTES_MIN);
        if are_right { Ok(Self(secrets.into_iter().filter_map(keyed).collect())) } else { Err(BadSecrets) }
    }

    /// A secret that serves for something else too, whatever is in it.
    pub(crate) fn of(secret: &str) -> Self {
        Self(keyed(secret).into_iter().collect())
    }

    /// The tag of what a token says.
    fn sign(&self, namespace: &str, said: &[u8]) -> Vec<u8> {
        let tag = self.0.first().map(|key| code(key, namespace, said).finalize().into_bytes());
        tag.iter().flatten().copied().take(TAG_BYTES).collect()
    }

    fn have_signed(&self, namespace: &str, said: &[u8], tag: &[u8]) -> bool {
        self.0.iter().any(|key| code(key, namespace, said).verify_truncated_left(tag).is_ok())
    }
}

/// HMAC takes keys of any length.
fn keyed(secret: &str) -> Option<Hmac<Sha256>> {
    Hmac::new_from_slice(secret.as_bytes()).ok()
}

/// The code of what is said in a namespace, whose name has no NUL.
fn code(key: &Hmac<Sha256>, namespace: &str, said: &[u8]) -> Hmac<Sha256> {
    key.clone().chain_update(PURPOSE).chain_update(namespace).chain_update(b"\0").chain_update(said)
}

/// What a client has seen, oldest first.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Session(Vec<Dated>);

/// A mark, and when it was made, in seconds since 1970.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Dated {
    at_s: i64,
    mark: Mark,
}

impl Session {
    /// Reads a token. An empty one begins a session.
    ///
    /// # Errors
    /// Where it is none, or none of the secrets signed it.
    pub(crate) fn read(token: &str, namespace: &str, secrets: &Secrets, now: TimestampMs) -> Result<Self, BadSession> {
        if token.is_empty() {
            return Ok(Self::default());
        }
        let encoded = token.strip_prefix(&beginning(namespace)).ok_or(BadSession)?;
        let bytes = URL_SAFE_NO_PAD.decode(encoded).or(Err(BadSession))?;
        let (said, tag) = bytes.split_last_chunk::<TAG_BYTES>().ok_or(BadSession)?;
        let mut marks: Vec<Dated> = postcard::from_bytes(said).or(Err(BadSession))?;
        if marks.len() > MARKS_MAX {
            return Err(BadSession);
        }
        let is_signed = secrets.have_signed(namespace, said, tag);
        marks.retain(|dated| now.0.saturating_sub(dated.at_s.saturating_mul(1000)) < MARK_MS_MAX);
        if is_signed || marks.is_empty() { Ok(Self(marks)) } else { Err(BadSession) }
    }

    /// The marks.
    pub(crate) fn marks(&self) -> Vec<Mark> {
        self.0.iter().map(|dated| dated.mark).collect()
    }

    /// The client has seen these too. Of more than a token holds the oldest are forgotten.
    pub(crate) fn note(&mut self, marks: Vec<Mark>, now: TimestampMs) {
        for mark in marks {
            let at = self.0.iter().position(|known| (known.mark.slot, known.mark.hub) == (mark.slot, mark.hub));
            let known = at.map(|at| self.0.remove(at).mark);
            let mark = known.map_or(mark, |known| joined(known, mark));
            self.0.push(Dated { at_s: now.0.div_euclid(1000), mark });
        }
        let over = self.0.len().saturating_sub(MARKS_MAX);
        self.0.drain(..over);
    }

    /// The token.
    pub(crate) fn write(&self, namespace: &str, secrets: &Secrets) -> String {
        // A list of numbers in memory has no way to fail.
        let mut bytes = postcard::to_allocvec(&self.0).unwrap_or_default();
        let tag = secrets.sign(namespace, &bytes);
        bytes.extend_from_slice(&tag);
        format!("{}{}", beginning(namespace), URL_SAFE_NO_PAD.encode(bytes))
    }
}

/// What tokens of a namespace begin with, so that none is taken for one of another.
fn beginning(namespace: &str) -> String {
    if namespace.is_empty() { PREFIX.to_owned() } else { format!("{PREFIX}{namespace}.") }
}

/// Of two marks of one hub in one slot what both say. Of two histories the later mark names the present one.
fn joined(known: Mark, mark: Mark) -> Mark {
    let is_same = known.cursor.incarnation == mark.cursor.incarnation;
    let seq = if is_same { known.cursor.seq.max(mark.cursor.seq) } else { mark.cursor.seq };
    Mark { no: known.no.max(mark.no), cursor: Cursor { seq, ..mark.cursor }, ..mark }
}

#[cfg(test)]
mod tests {
    use super::*;
    use headwater::{
        id::{No, ReplicaId},
        slot::Slot,
    };

    const NOW: TimestampMs = TimestampMs(1_700_000_000_000);

    const OLD: &str = "the secret of before";
    const NEW: &str = "the secret of today";

    fn secrets(text: &str) -> Secrets {
        Secrets::parse(text).expect("secrets")
    }

    fn mark(name: &str, hub: u64, no: u64, seq: u64) -> Mark {
        let cursor = Cursor { incarnation: Some(ReplicaId::from_bits(u64::MAX)), seq };
        Mark { slot: Slot::of(name.as_bytes()), hub: ReplicaId::from_bits(hub << 16), no: No(no), cursor }
    }

    #[test]
    fn a_token_is_read_as_it_was_written() {
        let mut session = Session::read("", "", &secrets(OLD), NOW).unwrap();
        session.note(vec![mark("a", 1, 7, 3), mark("b", 2, 9, 0)], NOW);
        assert_eq!(Session::read(&session.write("", &secrets(OLD)), "", &secrets(OLD), NOW), Ok(session.clone()));
        assert_eq!(session.marks(), [mark("a", 1, 7, 3), mark("b", 2, 9, 0)]);
    }

    #[test]
    fn a_token_is_of_one_namespace() {
        let mut session = Session::default();
        session.note(vec![mark("a", 1, 7, 3)], NOW);
        for (written, read) in [("", "shop"), ("shop", ""), ("shop", "shop2"), ("shop2", "shop")] {
            assert_eq!(
                Session::read(&session.write(written, &secrets(OLD)), read, &secrets(OLD), NOW),
                Err(BadSession),
                "{written} as {read}"
            );
        }
        assert_eq!(Session::read(&session.write("shop", &secrets(OLD)), "shop", &secrets(OLD), NOW), Ok(session));
    }

    #[test]
    fn of_a_hub_and_slot_the_most_that_was_seen_counts() {
        let mut session = Session::default();
        session.note(vec![mark("a", 1, 7, 3), mark("b", 1, 1, 1)], NOW);
        session.note(vec![mark("a", 1, 6, 5)], NOW);
        assert_eq!(session.marks(), [mark("b", 1, 1, 1), mark("a", 1, 7, 5)]);
    }

    #[test]
    fn what_is_old_or_too_much_is_forgotten() {
        let mut session = Session::default();
        for number in 0..2 * MARKS_MAX as u64 {
            session.note(vec![mark(&format!("k{number}"), u64::MAX >> 16, u64::MAX, u64::MAX)], NOW);
        }
        assert_eq!(session.marks().len(), MARKS_MAX);
        let token = session.write("", &secrets(OLD));
        assert!(token.len() <= crate::limits::SYNC_TOKEN_BYTES_MAX, "{} bytes", token.len());
        assert_eq!(Session::read(&token, "", &secrets(OLD), TimestampMs(NOW.0 + MARK_MS_MAX)), Ok(Session::default()));
    }

    #[test]
    fn two_secrets_are_in_force_at_once_and_one_that_is_not_is_refused() {
        let mut session = Session::default();
        session.note(vec![mark("a", 1, 7, 3)], NOW);
        let (old, new) = (secrets(OLD), secrets(NEW));
        let both = |first: &str, second: &str| secrets(&format!("{first}, {second}"));
        let [by_old, by_new] = [&old, &new].map(|secrets| session.write("", secrets));
        assert_ne!(by_old, by_new);
        for secrets in [both(OLD, NEW), both(NEW, OLD)] {
            for token in [&by_old, &by_new] {
                assert_eq!(Session::read(token, "", &secrets, NOW), Ok(session.clone()));
            }
        }
        assert_eq!(session.write("", &both(NEW, OLD)), by_new, "the first signs");
        assert_eq!(Session::read(&by_old, "", &new, NOW), Err(BadSession));
        // Once it says nothing any more it does no harm, and its bearer goes on.
        assert_eq!(Session::read(&by_old, "", &new, TimestampMs(NOW.0 + MARK_MS_MAX)), Ok(Session::default()));
    }

    #[test]
    fn a_token_that_was_changed_anywhere_is_refused() {
        let mut session = Session::default();
        session.note(vec![mark("a", 1, 7, 3)], NOW);
        let token = session.write("", &secrets(OLD));
        let bytes = URL_SAFE_NO_PAD.decode(&token[PREFIX.len()..]).unwrap();
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            let token = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(&changed));
            let read = Session::read(&token, "", &secrets(OLD), NOW);
            // What is dated long ago says nothing.
            assert!(read == Err(BadSession) || read == Ok(Session::default()), "{at}: {read:?}");
        }
    }

    #[test]
    fn secrets_are_few_and_long_and_not_told() {
        for text in ["", "short", &format!("{OLD},"), &format!("{OLD},{NEW},{OLD}")] {
            let error = Secrets::parse(text).err().expect("refused").to_string();
            assert_eq!(error, "it must be 1 to 2 secrets of at least 16 bytes each, with commas between them");
        }
    }

    #[test]
    fn what_is_no_token_is_refused() {
        for token in ["seen:1", "hw1.", "hw1.!", "hw1.AAAB", "hw0.AA", "hw2.AA"] {
            assert_eq!(Session::read(token, "", &secrets(OLD), NOW), Err(BadSession), "{token}");
        }
        let many = Session(vec![Dated { at_s: 0, mark: mark("a", 1, 1, 1) }; MARKS_MAX + 1]);
        assert_eq!(Session::read(&many.write("", &secrets(OLD)), "", &secrets(OLD), NOW), Err(BadSession));
    }
}
