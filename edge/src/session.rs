//! The session token: what a client has seen, carried by the client itself from one request to the next. Pure.
//!
//! `@upstash/redis` hands back the `Upstash-Sync-Token` of the last answer with each request. It lists marks, newest last: a
//! slot, the hub at which the client was, and how far that hub had come there. What it says is not secret and not signed: one
//! that is made up only makes its bearer wait.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use headwater::{
    id::TimestampMs,
    limits::MARKS_MAX,
    message::{Cursor, Mark},
};
use serde::{Deserialize, Serialize};

/// How long a mark counts, in milliseconds. What a client did is everywhere long before, or its hub has lost it; then the
/// client is not to be refused for ever.
const MARK_MS_MAX: i64 = 600_000;

/// What tokens of this form begin with.
const PREFIX: &str = "hw0.";

/// A token is none of Headwater's.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("ERR Headwater: the Upstash-Sync-Token cannot be read; send back the last one, or none to begin a new session")]
pub(crate) struct BadSession;

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
    /// Where it is none.
    pub(crate) fn read(token: &str, namespace: &str, now: TimestampMs) -> Result<Self, BadSession> {
        if token.is_empty() {
            return Ok(Self::default());
        }
        let encoded = token.strip_prefix(&beginning(namespace)).ok_or(BadSession)?;
        let bytes = URL_SAFE_NO_PAD.decode(encoded).or(Err(BadSession))?;
        let mut marks: Vec<Dated> = postcard::from_bytes(&bytes).or(Err(BadSession))?;
        if marks.len() > MARKS_MAX {
            return Err(BadSession);
        }
        marks.retain(|dated| now.0.saturating_sub(dated.at_s.saturating_mul(1000)) < MARK_MS_MAX);
        Ok(Self(marks))
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
    pub(crate) fn write(&self, namespace: &str) -> String {
        // A list of numbers in memory has no way to fail.
        let bytes = postcard::to_allocvec(&self.0).unwrap_or_default();
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

    fn mark(name: &str, hub: u64, no: u64, seq: u64) -> Mark {
        let cursor = Cursor { incarnation: Some(ReplicaId::from_bits(u64::MAX)), seq };
        Mark { slot: Slot::of(name.as_bytes()), hub: ReplicaId::from_bits(hub << 16), no: No(no), cursor }
    }

    #[test]
    fn a_token_is_read_as_it_was_written() {
        let mut session = Session::read("", "", NOW).unwrap();
        session.note(vec![mark("a", 1, 7, 3), mark("b", 2, 9, 0)], NOW);
        assert_eq!(Session::read(&session.write(""), "", NOW), Ok(session.clone()));
        assert_eq!(session.marks(), [mark("a", 1, 7, 3), mark("b", 2, 9, 0)]);
    }

    #[test]
    fn a_token_is_of_one_namespace() {
        let mut session = Session::default();
        session.note(vec![mark("a", 1, 7, 3)], NOW);
        for (written, read) in [("", "shop"), ("shop", ""), ("shop", "shop2"), ("shop2", "shop")] {
            assert_eq!(Session::read(&session.write(written), read, NOW), Err(BadSession), "{written} as {read}");
        }
        assert_eq!(Session::read(&session.write("shop"), "shop", NOW), Ok(session));
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
        let token = session.write("");
        assert!(token.len() <= crate::limits::SYNC_TOKEN_BYTES_MAX, "{} bytes", token.len());
        assert_eq!(Session::read(&token, "", TimestampMs(NOW.0 + MARK_MS_MAX)), Ok(Session::default()));
    }

    #[test]
    fn what_is_no_token_is_refused() {
        for token in ["seen:1", "hw0.", "hw0.!", "hw0.AAAB", "hw1.AA"] {
            let read = Session::read(token, "", NOW);
            assert!(read == Err(BadSession) || read == Ok(Session::default()), "{token}: {read:?}");
        }
        assert_eq!(Session::read("seen:1", "", NOW), Err(BadSession));
        let many = vec![Dated { at_s: 0, mark: mark("a", 1, 1, 1) }; MARKS_MAX + 1];
        let token = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(postcard::to_allocvec(&many).unwrap()));
        assert_eq!(Session::read(&token, "", NOW), Err(BadSession));
    }
}
