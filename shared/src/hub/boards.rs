//! Boards that leaves watch without holding them: shown when they change, though not more often than eyes follow.
//!
//! What a leaf's own operations do to a board that it watches is shown to it at once, so that it can take them off its view;
//! what others do is gathered for [`STANDINGS_MS`]. Standings that are what the leaf was shown last are not sent again.

use super::{Connection, Hub, HubEffect};
use crate::{
    id::{Key, TimestampMs},
    limits::{STANDINGS_BOARDS_MAX, STANDINGS_MS},
    message::{HubToLeaf, Refusal, RefusalCause},
    standings::{Standings, StandingsQuery},
    state::Operation,
};

/// A board that a leaf watches.
#[derive(Debug)]
pub(super) struct Watch {
    query: StandingsQuery,
    /// What the leaf was shown last, and whether the board was held then.
    shown: Option<(Standings, bool)>,
    shown_at: TimestampMs,
    /// When to look at the board again.
    due: Option<TimestampMs>,
    /// Whether the leaf is to hear of it whatever has changed.
    is_owed: bool,
}

impl Watch {
    /// A board that the leaf has not been shown yet.
    pub(super) fn new(query: StandingsQuery, now: TimestampMs) -> Self {
        Self { query: query.bounded(), shown: None, shown_at: now, due: Some(now), is_owed: true }
    }

    /// Notes that others changed the board; says when to look.
    fn changed(&mut self, now: TimestampMs) -> TimestampMs {
        // A clock that was set back must not put it off.
        let at = self.shown_at.plus_ms(STANDINGS_MS).min(now.plus_ms(STANDINGS_MS)).max(now);
        let due = self.due.map_or(at, |due| due.min(at));
        self.due = Some(due);
        due
    }
}

impl Hub {
    /// Begins to show a board to a leaf, or goes on with another question.
    pub(super) fn watch(&mut self, connection: Connection, key: &Key, query: StandingsQuery, now: TimestampMs) {
        let Some(socket) = self.leaves.get(connection) else {
            self.effects.push(HubEffect::ToLeaf(connection, HubToLeaf::Again));
            return;
        };
        if !socket.boards().contains_key(key) && socket.boards().len() >= STANDINGS_BOARDS_MAX {
            let detail = format!("a leaf watches at most {STANDINGS_BOARDS_MAX} boards: end another first");
            let refusal = HubToLeaf::Refused(Refusal::new(RefusalCause::Limit, detail));
            self.effects.push(HubEffect::ToLeaf(connection, refusal));
            return;
        }
        self.leaves.watch(connection, key, Watch::new(query, now));
        self.boards_at = Some(now);
        self.want(std::slice::from_ref(key));
        let (no, _) = self.keys.resolve(key);
        self.keys.note_use(no);
    }

    /// Shows these boards no more.
    pub(super) fn unwatch(&mut self, connection: Connection, keys: &[Key], now: TimestampMs) {
        keys.iter().for_each(|key| self.leaves.unwatch(connection, key));
        self.unfollowed(keys, now);
    }

    /// A leaf's own operations have been settled: where it watches their board, it is to see what became of them.
    pub(super) fn owe_boards(&mut self, connection: Connection, operations: &[Operation], now: TimestampMs) {
        let Some(socket) = self.leaves.get_mut(connection).filter(|socket| !socket.boards().is_empty()) else { return };
        for operation in operations {
            let key = self.namespace.key(&operation.key).ok();
            if let Some(watch) = key.and_then(|key| socket.board_mut(&key)) {
                watch.is_owed = true;
                watch.due = Some(now);
                self.boards_at = Some(now);
            }
        }
    }

    /// Notes for all leaves that watch it that a board has changed.
    pub(super) fn board_changed(&mut self, key: &Key, now: TimestampMs) {
        if fault!(StandingsNotRefreshed) {
            return;
        }
        let wanting: Vec<Connection> = self.leaves.wanting(key).collect();
        for connection in wanting {
            let watch = self.leaves.get_mut(connection).and_then(|socket| socket.board_mut(key));
            let due = watch.map(|watch| watch.changed(now));
            self.boards_at = due.into_iter().chain(self.boards_at).min();
        }
    }

    /// Shows the boards at which it is time to look.
    pub(super) fn show_boards(&mut self, now: TimestampMs) {
        if self.boards_at.is_none_or(|at| at > now) {
            return;
        }
        for (connection, socket) in self.leaves.iter_mut() {
            let (session, watermark) = socket.progress(&self.sessions);
            for (key, watch) in socket.boards_mut() {
                if watch.due.is_none_or(|due| due > now) {
                    continue;
                }
                let found = self.keys.find(key);
                let standings = match found {
                    Some(no) => Standings::of(&self.keys.view(no), &watch.query, now),
                    None => Standings::default(),
                };
                let held = found.is_some_and(|no| self.keys.entry(no).is_held);
                // A board that ends by itself reads differently then.
                let ends_at = found.and_then(|no| self.keys.view(no).deadline().at()).filter(|at| *at > now);
                watch.due = ends_at;
                let is_same =
                    watch.shown.as_ref().is_some_and(|(shown, was_held)| *shown == standings && *was_held == held);
                if is_same && !watch.is_owed {
                    continue;
                }
                watch.is_owed = false;
                watch.shown_at = now;
                watch.shown = Some((standings.clone(), held));
                let key = self.namespace.own(key);
                let shown = HubToLeaf::Standings { key, standings, held, session, watermark };
                self.effects.push(HubEffect::ToLeaf(connection, shown));
            }
        }
        let watches = self.leaves.iter().flat_map(|socket| socket.boards().values());
        self.boards_at = watches.filter_map(|watch| watch.due).min();
    }
}
