//! The leaves that have greeted, and who of them wants which key.
//!
//! Invariant: the index has exactly the keys that the leaves follow or watch. So a change costs what the leaves take that it
//! concerns, however many others there are.

use super::{Connection, boards::Watch, leaves::Session};
use crate::{
    id::{Key, Seq, SessionId},
    message::HubToLeaf,
    state::KeyDelta,
};
use std::collections::{BTreeMap, BTreeSet};

/// A leaf's socket.
#[derive(Debug)]
pub(super) struct LeafSocket {
    pub(super) session: SessionId,
    subscriptions: BTreeSet<Key>,
    /// Boards of which it is shown a part.
    boards: BTreeMap<Key, Watch>,
    pushes: u64,
}

impl LeafSocket {
    /// A leaf that has just greeted: it wants nothing yet.
    pub(super) fn new(session: SessionId) -> Self {
        Self { session, subscriptions: BTreeSet::new(), boards: BTreeMap::new(), pushes: 0 }
    }

    /// The keys that the leaf follows or watches.
    pub(super) fn wanted(&self) -> impl Iterator<Item = &Key> + '_ {
        self.subscriptions.iter().chain(self.boards.keys())
    }

    /// Whether the leaf follows a key.
    pub(super) fn follows(&self, key: &Key) -> bool {
        self.subscriptions.contains(key)
    }

    /// The boards that the leaf watches.
    pub(super) fn boards(&self) -> &BTreeMap<Key, Watch> {
        &self.boards
    }

    /// As [`LeafSocket::boards`], to note what becomes of each.
    pub(super) fn boards_mut(&mut self) -> impl Iterator<Item = (&Key, &mut Watch)> + '_ {
        self.boards.iter_mut()
    }

    /// One of these.
    pub(super) fn board_mut(&mut self, key: &Key) -> Option<&mut Watch> {
        self.boards.get_mut(key)
    }

    /// Its session, and up to where that is settled.
    pub(super) fn progress(&self, sessions: &BTreeMap<SessionId, Session>) -> (SessionId, Seq) {
        (self.session, sessions.get(&self.session).map(Session::watermark).unwrap_or_default())
    }

    /// The next push to this leaf.
    pub(super) fn push(
        &mut self,
        key: &Key,
        (delta, more): (KeyDelta, bool),
        held: bool,
        sessions: &BTreeMap<SessionId, Session>,
    ) -> HubToLeaf {
        self.pushes = self.pushes.saturating_add(1);
        let (session, watermark) = self.progress(sessions);
        HubToLeaf::State { push: self.pushes, key: key.clone(), delta, held, more, session, watermark }
    }
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Leaves {
    open: BTreeMap<Connection, LeafSocket>,
    wanted: BTreeMap<Key, BTreeSet<Connection>>,
}

impl Leaves {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Their connections, in order.
    pub(super) fn connections(&self) -> impl Iterator<Item = Connection> + '_ {
        self.open.keys().copied()
    }

    /// All of them, in the order of their connections.
    pub(super) fn iter(&self) -> impl Iterator<Item = &LeafSocket> + '_ {
        self.open.values()
    }

    /// As [`Leaves::iter`], with the connections.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (Connection, &mut LeafSocket)> + '_ {
        self.open.iter_mut().map(|(connection, socket)| (*connection, socket))
    }

    /// The leaf on this connection.
    pub(super) fn get(&self, connection: Connection) -> Option<&LeafSocket> {
        self.open.get(&connection)
    }

    /// As [`Leaves::get`].
    pub(super) fn get_mut(&mut self, connection: Connection) -> Option<&mut LeafSocket> {
        self.open.get_mut(&connection)
    }

    /// Puts a leaf that has greeted in the place of what was on its connection.
    pub(super) fn insert(&mut self, connection: Connection, socket: LeafSocket) -> Option<LeafSocket> {
        let before = self.remove(connection);
        self.open.insert(connection, socket);
        before
    }

    /// Forgets a leaf.
    pub(super) fn remove(&mut self, connection: Connection) -> Option<LeafSocket> {
        let gone = self.open.remove(&connection)?;
        gone.wanted().for_each(|key| self.unindex(connection, key));
        Some(gone)
    }

    /// The leaf follows a key from now on, if it has greeted.
    pub(super) fn follow(&mut self, connection: Connection, key: &Key) {
        let Some(socket) = self.open.get_mut(&connection) else { return };
        socket.subscriptions.insert(key.clone());
        self.wanted.entry(key.clone()).or_default().insert(connection);
    }

    /// The leaf follows a key no more.
    pub(super) fn unfollow(&mut self, connection: Connection, key: &Key) {
        let Some(socket) = self.open.get_mut(&connection) else { return };
        socket.subscriptions.remove(key);
        if !socket.boards.contains_key(key) {
            self.unindex(connection, key);
        }
    }

    /// The leaf watches a board from now on, if it has greeted.
    pub(super) fn watch(&mut self, connection: Connection, key: &Key, watch: Watch) {
        let Some(socket) = self.open.get_mut(&connection) else { return };
        socket.boards.insert(key.clone(), watch);
        self.wanted.entry(key.clone()).or_default().insert(connection);
    }

    /// The leaf watches a board no more.
    pub(super) fn unwatch(&mut self, connection: Connection, key: &Key) {
        let Some(socket) = self.open.get_mut(&connection) else { return };
        socket.boards.remove(key);
        if !socket.follows(key) {
            self.unindex(connection, key);
        }
    }

    /// Whether any leaf follows or watches a key.
    pub(super) fn want(&self, key: &Key) -> bool {
        self.wanted.contains_key(key)
    }

    /// The connections whose leaves follow or watch a key, in order.
    pub(super) fn wanting(&self, key: &Key) -> impl Iterator<Item = Connection> + '_ {
        self.wanted.get(key).into_iter().flatten().copied()
    }

    fn unindex(&mut self, connection: Connection, key: &Key) {
        if let Some(connections) = self.wanted.get_mut(key) {
            connections.remove(&connection);
            if connections.is_empty() {
                self.wanted.remove(key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        id::{ClientId, ReplicaId, TimestampMs},
        standings::StandingsQuery,
    };
    use bytes::Bytes;

    fn key(name: &'static str) -> Key {
        Key::new(Bytes::from_static(name.as_bytes())).unwrap()
    }

    fn greeted(connections: u64) -> Leaves {
        let mut leaves = Leaves::default();
        for at in 0..connections {
            let session = SessionId { hub: ReplicaId::from_bits(1 << 20), client: ClientId(at.into()), no: at };
            assert!(leaves.insert(Connection(at), LeafSocket::new(session)).is_none());
        }
        leaves
    }

    fn watch() -> Watch {
        Watch::new(StandingsQuery { top: 1, members: vec![] }, TimestampMs(0))
    }

    fn wanting(leaves: &Leaves, name: &'static str) -> Vec<u64> {
        leaves.wanting(&key(name)).map(|connection| connection.0).collect()
    }

    #[test]
    fn the_index_names_who_follows_or_watches_and_nobody_else() {
        let mut leaves = greeted(3);
        for at in [2, 0] {
            leaves.follow(Connection(at), &key("a"));
        }
        leaves.watch(Connection(2), &key("a"), watch());
        leaves.watch(Connection(1), &key("b"), watch());
        leaves.follow(Connection(9), &key("a"));
        assert_eq!((wanting(&leaves, "a"), wanting(&leaves, "b")), (vec![0, 2], vec![1]));
        // One that does both goes on to want it while it does either.
        leaves.unfollow(Connection(2), &key("a"));
        assert_eq!(wanting(&leaves, "a"), [0, 2]);
        leaves.unwatch(Connection(2), &key("a"));
        leaves.unwatch(Connection(0), &key("a"));
        assert_eq!(wanting(&leaves, "a"), [0]);
        assert!(leaves.want(&key("b")) && !leaves.want(&key("c")));
    }

    #[test]
    fn a_leaf_that_left_or_greets_anew_wants_nothing() {
        let mut leaves = greeted(2);
        for at in 0..2 {
            leaves.follow(Connection(at), &key("a"));
            leaves.watch(Connection(at), &key("b"), watch());
        }
        let gone = leaves.remove(Connection(0)).expect("it was there");
        assert_eq!(gone.wanted().count(), 2);
        let session = gone.session;
        assert!(leaves.insert(Connection(1), LeafSocket::new(session)).is_some());
        assert!(!leaves.want(&key("a")) && !leaves.want(&key("b")) && leaves.wanted.is_empty());
        assert_eq!(leaves.len(), 1);
    }
}
