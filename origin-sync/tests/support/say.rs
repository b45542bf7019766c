//! Short ways to say a commit.

use bytes::Bytes;
use headwater::{
    command::Reply,
    id::{Key, No, ReplicaId, TimestampMs},
    slot::Slot,
    state::Kind,
    store::{Commit, Expected, KeyCommit, Load, Loaded, Marker, MarkerChange, Outcome, Plain},
};
use origin_sync::store::Store;
use std::time::{SystemTime, UNIX_EPOCH};

/// All 64 bits, so that a store that rounds is found out.
pub const ORIGIN: ReplicaId = ReplicaId::LEAF;

pub fn key(raw: impl AsRef<[u8]>) -> Key {
    Key::new(raw.as_ref().to_vec()).unwrap()
}

pub fn bytes(raw: impl AsRef<[u8]>) -> Bytes {
    Bytes::copy_from_slice(raw.as_ref())
}

pub fn now() -> TimestampMs {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    TimestampMs(i64::try_from(since.as_millis()).unwrap())
}

/// A key's part that only changes the companion and expects nothing at the plain key.
pub fn part(key: &Key, expected_version: Option<u64>, version: u64) -> KeyCommit {
    KeyCommit {
        key: key.clone(),
        expected_version,
        version,
        forget: false,
        put: Vec::new(),
        delete: Vec::new(),
        expire_at: None,
        plain: Plain::untouched(),
    }
}

pub trait PartExt: Sized {
    fn put(self, field: impl AsRef<[u8]>, body: impl AsRef<[u8]>) -> Self;
    fn delete(self, field: impl AsRef<[u8]>) -> Self;
    fn expecting(self, expected: Expected) -> Self;
    fn run(self, words: &[&str]) -> Self;
}

impl PartExt for KeyCommit {
    fn put(mut self, field: impl AsRef<[u8]>, body: impl AsRef<[u8]>) -> Self {
        self.put.push((bytes(field), bytes(body)));
        self
    }

    fn delete(mut self, field: impl AsRef<[u8]>) -> Self {
        self.delete.push(bytes(field));
        self
    }

    fn expecting(mut self, expected: Expected) -> Self {
        self.plain.expected = expected;
        self
    }

    /// The key goes between the first word and the rest.
    fn run(mut self, words: &[&str]) -> Self {
        let mut command: Vec<Bytes> = words.iter().map(bytes).collect();
        command.insert(1, self.key.clone().into());
        self.plain.commands.push(command);
        self
    }
}

/// The commit that brings a slot from this sequence to the next; the first opens the incarnation.
pub fn commit(slot: Slot, seq: u64, keys: Vec<KeyCommit>) -> Commit {
    Commit {
        slot,
        fence: (seq > 0).then_some(ORIGIN),
        expected_seq: seq,
        marker: MarkerChange {
            open: (seq == 0).then(|| (ORIGIN, bytes("run"), None)),
            seq: seq + 1,
            no: No(seq + 1),
            hubs: Vec::new(),
        },
        keys,
    }
}

pub async fn load(store: &impl Store, slot: Slot, keys: &[&Key], changed_after: Option<u64>) -> Loaded {
    let keys = keys.iter().map(|key| (*key).clone()).collect();
    store.load(Load { slot, keys, changed_after, plain: Vec::new() }).await.unwrap()
}

pub async fn load_all(store: &impl Store, key: &Key) -> Loaded {
    load(store, key.slot(), &[key], Some(0)).await
}

pub async fn marker(store: &impl Store, slot: Slot) -> Option<Marker> {
    load(store, slot, &[], None).await.marker
}

/// Commits and demands that it happens.
pub async fn committed(store: &impl Store, commit: Commit) {
    assert_eq!(store.commit(commit).await.unwrap(), Outcome::Committed);
}

/// A string counter's part: text in the companion and the same in the plain value.
pub fn integer(key: &Key, expected_version: Option<u64>, version: u64, by: &str) -> KeyCommit {
    let expected = if expected_version.is_some() { Expected::Present(Kind::String) } else { Expected::Absent };
    part(key, expected_version, version).put("+", by).expecting(expected).run(&["INCRBY", by])
}

/// A reply's texts in order.
pub fn flat(reply: Reply) -> Vec<String> {
    match reply {
        Reply::Nil => Vec::new(),
        Reply::Ok => vec!["OK".to_owned()],
        Reply::Int(number) => vec![number.to_string()],
        Reply::Bulk(bytes) => vec![String::from_utf8(bytes.to_vec()).unwrap()],
        Reply::Array(items) => items.into_iter().flat_map(flat).collect(),
        other => panic!("{other:?}"),
    }
}
