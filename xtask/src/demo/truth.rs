//! What the log says, computed from its entries alone: plain maps and additions, nothing of Headwater, nothing of the replay.

use std::collections::{BTreeMap, BTreeSet};

use super::keys;
use super::log::Entry;

/// The state that the origin must show after a replay.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Truth {
    /// Counter key → value.
    pub(crate) counters: BTreeMap<String, u64>,
    /// Board key → member → score. All scores are whole numbers.
    pub(crate) boards: BTreeMap<&'static str, BTreeMap<String, u64>>,
    /// Set key → members.
    pub(crate) sets: BTreeMap<String, BTreeSet<String>>,
    /// Session key → session.
    pub(crate) sessions: BTreeMap<String, Session>,
}

/// One address's visit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Session {
    /// The path of its last line in the file.
    pub(crate) path: String,
    /// Its lines.
    pub(crate) hits: u64,
    /// The sum of its responses' sizes.
    pub(crate) bytes: u64,
}

impl Truth {
    /// Adds up all entries, which must be in file order.
    pub(crate) fn of(entries: &[Entry]) -> Self {
        let mut truth = Self::default();
        for entry in entries {
            truth.add(entry);
        }
        truth
    }

    /// How many keys there are.
    pub(crate) fn keys(&self) -> BTreeSet<&str> {
        let counters = self.counters.keys().map(String::as_str);
        let sets = self.sets.keys().map(String::as_str);
        let sessions = self.sessions.keys().map(String::as_str);
        counters.chain(self.boards.keys().copied()).chain(sets).chain(sessions).collect()
    }

    fn add(&mut self, entry: &Entry) {
        for key in [keys::HITS_TOTAL.to_owned(), keys::hits_status(entry.status), keys::hits_minute(entry.time)] {
            *self.counters.entry(key).or_default() += 1;
        }
        *self.score(keys::BOARD_PATHS, &entry.path) += 1;
        *self.score(keys::BOARD_BYTES, &entry.path) += entry.bytes;
        let largest = self.score(keys::BOARD_LARGEST, &entry.path);
        *largest = entry.bytes.max(*largest);
        self.sets.entry(keys::visitors(entry.time)).or_default().insert(entry.address.clone());

        let session = self.sessions.entry(keys::session(&entry.address)).or_default();
        session.path.clone_from(&entry.path);
        session.hits += 1;
        session.bytes += entry.bytes;
    }

    fn score(&mut self, board: &'static str, path: &str) -> &mut u64 {
        self.boards.entry(board).or_default().entry(path.to_owned()).or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::super::log::parse;
    use super::*;

    #[test]
    fn three_lines_add_up_by_hand() {
        let line = |number, address: &str, minute, path: &str, status, bytes: &str| {
            let text = format!(
                r#"{address} - - [17/May/2015:10:{minute}:03 +0000] "GET {path} HTTP/1.1" {status} {bytes} "-" "-""#
            );
            parse(number, text.as_bytes()).unwrap()
        };
        let truth = Truth::of(&[
            line(1, "a", "05", "/x", 200, "10"),
            line(2, "b", "05", "/y", 404, "-"),
            line(3, "a", "06", "/x", 200, "7"),
        ]);
        let counters = [
            ("hits:minute:2015-05-17T10:05", 2),
            ("hits:minute:2015-05-17T10:06", 1),
            ("hits:status:200", 2),
            ("hits:status:404", 1),
            ("hits:total", 3),
        ];
        assert_eq!(truth.counters, counters.map(|(key, value)| (key.to_owned(), value)).into());
        let board = |x, y| BTreeMap::from([("/x".to_owned(), x), ("/y".to_owned(), y)]);
        let boards = [("board:paths", board(2, 1)), ("board:bytes", board(17, 0)), ("board:largest", board(10, 0))];
        assert_eq!(truth.boards, boards.into());
        assert_eq!(truth.sets["visitors:2015-05-17"], ["a".to_owned(), "b".to_owned()].into());
        assert_eq!(truth.sessions["session:a"], Session { path: "/x".to_owned(), hits: 2, bytes: 17 });
        assert_eq!(truth.keys().len(), 5 + 3 + 1 + 2);
    }
}
