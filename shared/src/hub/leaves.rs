//! Leaves: their sockets, their sessions, and operations settled exactly once.
//!
//! A session's watermark is stored in the same transaction as the state that it changed. A repeated batch changes nothing
//! and gets the same verdicts; only the hub that opened a session settles it.

use super::{
    Connection, Hub, HubEffect, Request, RowId, keyspace::KeyNo, memory, mint::MintedAdd, sockets::LeafSocket,
};
use crate::{
    command::CommandError,
    few::Few,
    grant::Verb,
    id::{ClientId, Key, No, Seq, SessionId, TimestampMs},
    limits::{CHANGES_BYTES_MAX, FRAME_BYTES_TARGET},
    message::{HubToLeaf, LeafToHub, Lifetime, Refusal, RefusalCause},
    state::{ElementId, Operation, Touched},
    wire::Capabilities,
};
use serde::{Deserialize, Serialize};

/// A leaf's session with this hub.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct Session {
    lifetime: Lifetime,
    /// When the ticket ends.
    pub(super) until: TimestampMs,
    /// All up to here are settled.
    watermark: Seq,
    /// The verdicts that the leaf may not have.
    verdicts: Vec<Verdict>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct Verdict {
    seq: Seq,
    outcome: Result<Accepted, CommandError>,
}

/// The numbers that an operation took, `(after, through]`, and what it added.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct Accepted {
    after: No,
    through: No,
    adds: Vec<MintedAdd>,
}

impl Session {
    /// Up to where all are settled.
    pub(super) fn watermark(&self) -> Seq {
        self.watermark
    }

    /// What it takes with its verdicts, in bytes. Linear in the increments that the leaf may not have seen settled.
    pub(super) fn memory_bytes(&self) -> usize {
        let entries = size_of::<[(SessionId, Self); 2]>().saturating_add(size_of::<[(TimestampMs, SessionId); 2]>());
        let verdicts = self.verdicts.capacity().saturating_mul(size_of::<Verdict>());
        let adds = self.accepted().map(|accepted| {
            let room = accepted.adds.capacity().saturating_mul(size_of::<MintedAdd>());
            let names = accepted.adds.iter().flat_map(|add| [add.key.as_bytes().len(), add.element.name_bytes().len()]);
            names.fold(room, usize::saturating_add)
        });
        adds.fold(entries.saturating_add(verdicts), usize::saturating_add)
    }

    fn accepted(&self) -> impl Iterator<Item = &Accepted> + '_ {
        self.verdicts.iter().filter_map(|verdict| verdict.outcome.as_ref().ok())
    }

    /// Whether the session made the hub's operation `no`, as far as the leaf may not know.
    pub(super) fn minted(&self, no: No) -> bool {
        self.accepted().any(|accepted| accepted.after < no && no <= accepted.through)
    }

    /// Whether the session made any of the hub's operations, as far as the leaf may not know.
    pub(super) fn has_minted(&self) -> bool {
        self.accepted().next().is_some()
    }

    /// The hub's numbers that the session took, as intervals `(after, through]`.
    pub(super) fn minted_intervals(&self) -> impl Iterator<Item = (No, No)> + '_ {
        self.accepted().map(|accepted| (accepted.after, accepted.through))
    }

    /// The session's increments of one element.
    pub(super) fn adds_of<'a>(
        &'a self,
        key: &Key,
        element: &ElementId,
    ) -> impl Iterator<Item = &'a MintedAdd> + use<'a> {
        let (key, element) = (key.clone(), element.clone());
        self.accepted().flat_map(|accepted| &accepted.adds).filter(move |add| add.key == key && add.element == element)
    }

    /// The elements of `key` that the session incremented.
    pub(super) fn elements_added<'a>(&'a self, key: &'a Key) -> impl Iterator<Item = ElementId> + 'a {
        let adds = self.accepted().flat_map(|accepted| &accepted.adds);
        adds.filter(move |add| add.key == *key).map(|add| add.element.clone())
    }

    fn answer(&self, session: SessionId) -> HubToLeaf {
        let accepted = self.verdicts.iter().filter_map(|verdict| match &verdict.outcome {
            Ok(accepted) => Some((verdict.seq, accepted.after, accepted.through)),
            Err(_) => None,
        });
        let refused = self.verdicts.iter().filter_map(|verdict| match &verdict.outcome {
            Ok(_) => None,
            Err(cause) => Some((verdict.seq, cause.clone())),
        });
        HubToLeaf::Verdicts {
            session,
            through: self.watermark,
            accepted: accepted.collect(),
            refused: refused.collect(),
        }
    }
}

impl Hub {
    pub(super) fn leaf_message(&mut self, connection: Connection, message: LeafToHub, now: TimestampMs) {
        let Some(message) = self.in_full(connection, message) else {
            self.effects.push(HubEffect::ToLeaf(connection, HubToLeaf::Again));
            return;
        };
        let denied = self.key_denied(connection, &message).map(|key| format!("the token does not grant the key {key}"));
        let placed = denied.map_or(Ok(()), Err).and_then(|()| self.placed(message).map_err(|error| error.to_string()));
        let message = match placed {
            Ok(message) => message,
            Err(reason) => {
                let refusal = Refusal::new(RefusalCause::NotPermitted, reason);
                self.effects.push(HubEffect::ToLeaf(connection, HubToLeaf::Refused(refusal)));
                return;
            }
        };
        match message {
            LeafToHub::Hello { client, lifetime, resume, .. } => {
                self.welcome(connection, client, lifetime, resume, now);
            }
            LeafToHub::Operations { session, .. } if session.hub != self.id => {
                self.effects.push(HubEffect::Forward { connection, hub: session.hub, message });
            }
            LeafToHub::Operations { session, settled, first, operations } => {
                // What became of the operations comes before the pushes that show them.
                let answer = self.settle(Some(connection), session, settled, first, &operations, now);
                self.effects.push(HubEffect::ToLeaf(connection, answer));
                self.owe_boards(connection, &operations, now);
            }
            // It was put in full above.
            LeafToHub::Own { .. } => {}
            LeafToHub::Watch(key, query) => self.watch(connection, &key, query, now),
            LeafToHub::Unwatch(keys) => self.unwatch(connection, &keys, now),
            LeafToHub::Subscribe(keys) => self.subscribe(connection, keys),
            LeafToHub::Unsubscribe(keys) => {
                keys.iter().for_each(|key| self.leaves.unfollow(connection, key));
                self.unfollowed(&keys, now);
            }
        }
    }

    /// A message that names its session and its times in full. None where that rests on a greeting which this hub does not
    /// remember.
    fn in_full(&self, connection: Connection, message: LeafToHub) -> Option<LeafToHub> {
        let LeafToHub::Own { session, settled, first, mut operations } = message else { return Some(message) };
        let own = self.leaves.get(connection)?.session;
        let session = if fault!(SessionPresumed) { own } else { SessionId { no: session, ..own } };
        if let Some(known) = self.sessions.get(&session) {
            let opened = known.lifetime.opened(known.until);
            operations.iter_mut().for_each(|operation| operation.at = opened.plus_ms(operation.at.0));
        }
        Some(LeafToHub::Operations { session, settled, first, operations })
    }

    /// A key for which the whole message is refused. Only the hub of an operation's session settles it, so what is handed on
    /// must be granted here; an operation of this hub's own is refused by its verdict.
    fn key_denied(&self, connection: Connection, message: &LeafToHub) -> Option<Key> {
        let grants = self.grants.get(&connection)?;
        match message {
            LeafToHub::Subscribe(keys) => keys.iter().find(|key| !grants.permits(Verb::Read, key)).cloned(),
            LeafToHub::Watch(key, _) => Some(key).filter(|key| !grants.permits(Verb::Read, key)).cloned(),
            LeafToHub::Operations { session, operations, .. } if session.hub != self.id => {
                let mut keys = operations.iter().map(|operation| &operation.key);
                keys.find(|key| !grants.permits(Verb::Write, key)).cloned()
            }
            LeafToHub::Hello { .. }
            | LeafToHub::Operations { .. }
            | LeafToHub::Own { .. }
            | LeafToHub::Unsubscribe(_)
            | LeafToHub::Unwatch(_) => None,
        }
    }

    /// A leaf's message with Redis' keys, but for operations that are this hub's own to settle: of these one that names what it
    /// must not is refused by its verdict.
    fn placed(&self, message: LeafToHub) -> Result<LeafToHub, CommandError> {
        Ok(match message {
            LeafToHub::Subscribe(keys) => {
                LeafToHub::Subscribe(keys.iter().map(|key| self.namespace.key(key)).collect::<Result<_, _>>()?)
            }
            LeafToHub::Unsubscribe(keys) => {
                LeafToHub::Unsubscribe(keys.iter().filter_map(|key| self.namespace.key(key).ok()).collect())
            }
            LeafToHub::Watch(key, query) => LeafToHub::Watch(self.namespace.key(&key)?, query),
            LeafToHub::Unwatch(keys) => {
                LeafToHub::Unwatch(keys.iter().filter_map(|key| self.namespace.key(key).ok()).collect())
            }
            LeafToHub::Operations { session, settled, first, mut operations } if session.hub != self.id => {
                for operation in &mut operations {
                    operation.key = self.namespace.key(&operation.key)?;
                }
                LeafToHub::Operations { session, settled, first, operations }
            }
            other => other,
        })
    }

    /// Settles operations that a leaf sent to another hub after it roamed there.
    pub(super) fn relay(&mut self, request: Request, message: LeafToHub, now: TimestampMs) {
        let answer = match message {
            LeafToHub::Operations { session, settled, first, operations } if session.hub == self.id => {
                self.settle(None, session, settled, first, &operations, now)
            }
            LeafToHub::Operations { session, .. } => HubToLeaf::Expired(session),
            _ => HubToLeaf::Refused(Refusal::new(RefusalCause::Unexpected, "only operations can be relayed")),
        };
        self.effects.push(HubEffect::Relayed(request, answer));
    }

    fn welcome(
        &mut self,
        connection: Connection,
        client: ClientId,
        lifetime: Lifetime,
        resume: Option<SessionId>,
        now: TimestampMs,
    ) {
        let resumed = resume.filter(|id| {
            let is_open = self.sessions.get(id).is_some_and(|session| now < session.until);
            is_open && id.hub == self.id && id.client == client
        });
        if let (Some(ended), None) = (resume.filter(|id| id.hub == self.id), resumed) {
            self.effects.push(HubEffect::ToLeaf(connection, HubToLeaf::Expired(ended)));
        }
        let id = resumed.unwrap_or_else(|| self.open_session(client, lifetime, now));
        let before = self.leaves.insert(connection, LeafSocket::new(id));
        self.unfollowed(before.iter().flat_map(LeafSocket::wanted), now);
        let Some(session) = self.sessions.get(&id) else { return };
        let welcome = HubToLeaf::Welcome {
            hub: self.id,
            now,
            session: id,
            until: session.until,
            watermark: session.watermark,
            capabilities: Capabilities::CURRENT,
        };
        self.effects.push(HubEffect::ToLeaf(connection, welcome));
    }

    fn open_session(&mut self, client: ClientId, lifetime: Lifetime, now: TimestampMs) -> SessionId {
        let id = SessionId { hub: self.id, client, no: self.next_session };
        // Never reused, so that a session which was swept is unknown for good.
        self.next_session = self.next_session.saturating_add(1);
        let session = Session {
            lifetime,
            until: now.plus_ms(lifetime.ticket_ms()),
            watermark: Seq::default(),
            verdicts: Vec::new(),
        };
        self.add_session(id, session);
        self.is_meta_dirty = true;
        self.dirty.insert(RowId::Session(id));
        id
    }

    /// Remembers a session until its ticket ends.
    pub(super) fn add_session(&mut self, id: SessionId, session: Session) {
        self.memory.count_beside(0, session.memory_bytes());
        self.ends.add_session(session.until, id);
        self.sessions.insert(id, session);
    }

    /// Settles operations, as far as the leaf on `connection` may make them, whose names they have; another hub has asked this of
    /// its own leaf and has put Redis' names there.
    fn settle(
        &mut self,
        connection: Option<Connection>,
        id: SessionId,
        settled: Seq,
        first: Seq,
        operations: &[Operation],
        now: TimestampMs,
    ) -> HubToLeaf {
        // A leaf that knows of more than was settled here has it from a time that this storage does not know.
        let is_known = |session: &Session| now < session.until && settled <= session.watermark;
        if !self.sessions.get(&id).is_some_and(is_known) {
            return HubToLeaf::Expired(id);
        }
        let Some(mut session) = self.sessions.remove(&id) else { return HubToLeaf::Expired(id) };
        let bytes_before = session.memory_bytes();
        session.verdicts.retain(|verdict| verdict.seq > settled);
        let mut seq = first;
        for operation in operations {
            if seq == session.watermark.next() {
                let after = self.last_no;
                let grants = connection.and_then(|connection| self.grants.get(&connection));
                let key = match connection {
                    _ if grants.is_some_and(|grants| !grants.permits(Verb::Write, &operation.key)) => {
                        Err(CommandError::KeyNotPermitted)
                    }
                    Some(_) => self.namespace.key(&operation.key),
                    None if self.namespace.holds(operation.key.as_bytes()) => Ok(operation.key.clone()),
                    None => Err(CommandError::other_namespace(&operation.key)),
                };
                let outcome = key.and_then(|key| {
                    if memory::may_grow(operation) && self.refuses_growth() {
                        return Err(CommandError::OutOfMemory);
                    }
                    if self.origin.is_some() {
                        self.want_written(&key);
                    }
                    let placed = Some(&key).filter(|key| **key != operation.key);
                    let placed = placed.map(|key| Operation { key: key.clone(), ..operation.clone() });
                    self.apply_from_leaf(placed.as_ref().unwrap_or(operation), &session, now)
                });
                let outcome = outcome.map(|(through, adds)| Accepted { after, through, adds });
                session.verdicts.push(Verdict { seq, outcome });
                session.watermark = seq;
            } else if seq > session.watermark {
                // A batch before this one was lost; the leaf sends again from the watermark.
                break;
            }
            seq = seq.next();
        }
        let answer = session.answer(id);
        self.memory.count_beside(bytes_before, session.memory_bytes());
        self.sessions.insert(id, session);
        if !fault!(WatermarkNotStored) {
            self.dirty.insert(RowId::Session(id));
        }
        answer
    }

    fn subscribe(&mut self, connection: Connection, keys: Vec<Key>) {
        if self.leaves.get(connection).is_none() {
            self.effects.push(HubEffect::ToLeaf(connection, HubToLeaf::Again));
            return;
        }
        keys.iter().for_each(|key| self.leaves.follow(connection, key));
        self.want(&keys);
        for key in keys {
            let (no, _) = self.keys.resolve(&key);
            self.keys.note_use(no);
            self.push_whole(connection, &key, no);
        }
    }

    /// Shows a key whole to one leaf, a large one in pieces.
    fn push_whole(&mut self, connection: Connection, key: &Key, no: KeyNo) {
        let Some(socket) = self.leaves.get_mut(connection) else { return };
        let key = &self.namespace.own(key);
        let (view, is_held) = (self.keys.view(no), self.keys.entry(no).is_held);
        let mut pieces = view.to_complete_delta().split(FRAME_BYTES_TARGET).into_iter().peekable();
        while let Some(piece) = pieces.next() {
            let push = socket.push(key, (piece, pieces.peek().is_some()), is_held, &self.sessions);
            self.effects.push(HubEffect::ToLeaf(connection, push));
        }
    }

    /// Shows a key whole to all of its leaves.
    pub(super) fn push_whole_to_all(&mut self, key: &Key, no: KeyNo) {
        let subscribed: Vec<Connection> = self.following(key).collect();
        for connection in subscribed {
            self.push_whole(connection, key, no);
        }
        self.shown.remove(&no);
    }

    /// The connections of the leaves that follow a key. Linear in those that want it.
    fn following(&self, key: &Key) -> impl Iterator<Item = Connection> {
        let follows = |connection: &Connection| self.leaves.get(*connection).is_some_and(|socket| socket.follows(key));
        self.leaves.wanting(key).filter(follows)
    }

    /// Notes a change for storage and for the leaves that follow the key.
    pub(super) fn show(&mut self, no: KeyNo, touched: Touched) {
        // The string's row is the key's. Elements' rows are written beside the key's alone: so a key that is forgotten need be looked
        // for among them only where its own is to be written.
        if !touched.is_empty() {
            self.dirty_key(no);
        }
        for (id, _) in touched.elements.iter().filter(|(id, _)| *id != ElementId::String) {
            let seed = self.keys.seed();
            if !self.keys.notes_mut(no).is_some_and(|notes| notes.dirty(id, seed)) {
                self.dirty_elements.push((no, id.clone()));
            }
        }
        if !self.leaves.is_empty() {
            self.shown.entry(no).or_default().extend(touched);
        }
    }

    /// As [`Hub::show`], of a change of the string alone.
    pub(super) fn show_string(&mut self, no: KeyNo) {
        self.dirty_key(no);
        if !self.leaves.is_empty() {
            let elements = [(ElementId::String, Few::new())].into_iter().collect();
            self.shown.entry(no).or_default().extend(Touched { header: true, elements });
        }
    }

    /// As [`Hub::show`], of a change of the header and one element of a collection; `was_dirty` says whether the element's
    /// row was to be written already.
    pub(super) fn show_element(&mut self, no: KeyNo, id: ElementId, was_dirty: bool) {
        self.dirty_key(no);
        if !self.leaves.is_empty() {
            let elements = [(id.clone(), Few::new())].into_iter().collect();
            self.shown.entry(no).or_default().extend(Touched { header: true, elements });
        }
        if !was_dirty {
            self.dirty_elements.push((no, id));
        }
    }

    /// Notes that a key's row is to be written.
    pub(super) fn dirty_key(&mut self, no: KeyNo) {
        if !std::mem::replace(&mut self.keys.entry_mut(no).is_dirty, true) {
            self.dirty_keys.push(no);
        }
    }

    /// Sends what changed to the leaves that follow it. The delta speaks of the hub's whole context: on one socket pushes
    /// follow each other without a gap, which the leaf checks. Where it is too large for a frame, the whole key goes in pieces.
    pub(super) fn show_changes(&mut self, now: TimestampMs) {
        for (no, touched) in std::mem::take(&mut self.shown) {
            let key = self.keys.key(no);
            self.board_changed(&key, now);
            let (view, is_held) = (self.keys.view(no), self.keys.entry(no).is_held);
            let following: Vec<Connection> = self.following(&key).collect();
            if following.is_empty() {
                continue;
            }
            let delta = view.to_delta(view.ctx(), touched.ids());
            if delta.approximate_bytes() > CHANGES_BYTES_MAX {
                self.push_whole_to_all(&key, no);
                continue;
            }
            let own = self.namespace.own(&key);
            for connection in following {
                let Some(socket) = self.leaves.get_mut(connection) else { continue };
                let push = socket.push(&own, (delta.clone(), false), is_held, &self.sessions);
                self.effects.push(HubEffect::ToLeaf(connection, push));
            }
        }
    }

    /// After the machine was rebuilt, with sockets still open: their ends begin again.
    pub(super) fn woken(&mut self, leaves: &[Connection], origins: &[Connection], now: TimestampMs) {
        for connection in leaves {
            self.effects.push(HubEffect::ToLeaf(*connection, HubToLeaf::Again));
        }
        if let Some((last, others)) = origins.split_last() {
            self.spare_origins = others.to_vec();
            self.greet_origin(*last, now);
        }
    }
}
