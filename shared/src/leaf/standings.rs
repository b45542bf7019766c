//! Boards that the leaf watches without holding them: what the hub showed last, with the leaf's own operations on top.
//!
//! They are values and not stored: a leaf that begins again is shown them by its hub. An operation counts on top until the
//! standings come that are settled up to it; it stays in the queue for so long, so that nothing that was shown vanishes for a
//! moment.

use super::{Leaf, LeafEffect, pending::Pending};
use crate::{
    id::{Key, Seq, SessionId},
    limits::KEYS_CHUNK,
    message::{HubToLeaf, LeafToHub},
    ordered::OrderedMap,
    standings::{Ranking, Standings, StandingsQuery},
    state::Effect,
};

/// A board that the leaf watches.
#[derive(Debug)]
pub(super) struct Watched {
    query: StandingsQuery,
    shown: Option<Shown>,
}

/// What the hub showed.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) standings: Standings,
    pub(super) is_held: bool,
    /// The session whose operations are in it or refused, up to this one.
    pub(super) settled: (SessionId, Seq),
}

impl Shown {
    /// As the hub says it.
    fn message(&self, key: Key) -> HubToLeaf {
        let (session, watermark) = self.settled;
        HubToLeaf::Standings { key, standings: self.standings.clone(), held: self.is_held, session, watermark }
    }

    /// Whether an operation may be in it already.
    fn has(&self, pending: &Pending) -> bool {
        let (session, watermark) = self.settled;
        pending.sent.is_some_and(|(own, seq)| own == session && seq <= watermark)
    }
}

/// The boards that a leaf watches.
pub(super) type Boards = OrderedMap<Key, Watched>;

impl Leaf {
    /// A watched board as the hub showed it, with this leaf's own operations; none before the hub has shown it. Linear in what
    /// is listed and what waits on the key.
    pub fn ranking(&self, key: &Key) -> Option<Ranking> {
        let shown = self.boards.get(key)?.shown.as_ref()?;
        let queued = self.pending.of_key(key).filter(|pending| !shown.has(pending));
        let own = queued.chain(self.sum(key));
        let current = self.session.map(|(id, _)| id);
        // What another session did may have been settled in the meantime.
        let is_certain = own.clone().all(|own| own.sent.is_none_or(|(session, _)| Some(session) == current));
        let effects: Vec<&Effect> = own.flat_map(|pending| &pending.view.effects).collect();
        Some(shown.standings.with(shown.is_held && is_certain, effects))
    }

    pub(super) fn watch(&mut self, key: Key, query: StandingsQuery) {
        let query = query.bounded();
        if self.boards.get(&key).is_some_and(|watched| watched.query == query) {
            return;
        }
        // What was shown of another question goes on to be shown until there is an answer.
        let shown = self.boards.remove(&key).and_then(|watched| watched.shown);
        self.boards.insert(key.clone(), Watched { query: query.clone(), shown });
        if self.is_connected {
            self.send(LeafToHub::Watch(key, query));
        }
    }

    pub(super) fn unwatch(&mut self, keys: &[Key]) {
        for key in keys {
            self.boards.remove(key);
        }
        self.drop_shown([]);
        if self.is_connected {
            keys.chunks(KEYS_CHUNK).for_each(|keys| self.send(LeafToHub::Unwatch(keys.to_vec())));
        }
    }

    /// After a welcome.
    pub(super) fn watch_again(&mut self) {
        let watches: Vec<_> = self.boards.iter().map(|(key, watched)| (key.clone(), watched.query.clone())).collect();
        watches.into_iter().for_each(|(key, query)| self.send(LeafToHub::Watch(key, query)));
    }

    pub(super) fn standings(&mut self, key: Key, shown: Shown) {
        if !self.is_connected && self.mirror.is_none() {
            // From before the hello.
            return;
        }
        let Some(watched) = self.boards.get_mut(&key) else { return };
        let shared = self.dirty.is_some().then(|| shown.message(key.clone()));
        watched.shown = Some(shown);
        // Before the rows of what it settled, so that no tab misses that for a moment.
        self.effects.extend(shared.map(LeafEffect::Share));
        self.drop_shown([key]);
    }

    /// Tells mirrors all that was shown.
    pub(super) fn share_boards(&mut self) {
        let shown = self.boards.iter().filter_map(|(key, watched)| Some(watched.shown.as_ref()?.message(key.clone())));
        self.effects.extend(shown.map(LeafEffect::Share));
    }

    /// Whether a settled operation is still to be seen in what a hub shows of a board.
    pub(super) fn is_awaited_in_standings(&self, pending: &Pending) -> bool {
        let Some(watched) = self.boards.get(pending.key()) else { return false };
        let current = self.session.map(|(id, _)| id);
        // Only of the present session do standings say up to where they show it.
        let is_current = pending.sent.is_some_and(|(session, _)| Some(session) == current);
        is_current && watched.shown.as_ref().is_some_and(|shown| !shown.has(pending))
    }
}
