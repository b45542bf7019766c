//! What a leaf sends: its operations in batches, each in the session in which it was first sent, and how far it knows what became
//! of them.

use super::{Leaf, LeafEffect, VERDICT_MS_MAX, pending::Pending};
use crate::{
    id::{Key, Seq, SessionId, TimestampMs},
    limits::FRAME_BYTES_TARGET,
    message::LeafToHub,
    ordered::OrderedSet,
    state::Operation,
};

/// How long a settled operation of another session may stay unseen before the leaf asks whether its hub still knows of it, in
/// milliseconds: a hub that lost its storage has lost the operation too, and nobody would ever show it.
const UNSEEN_MS_MAX: i64 = 30_000;

impl Leaf {
    /// Sends what is not under way: first what belongs to older sessions, then new operations whose keys are not waiting.
    pub(super) fn send_pending(&mut self, now: TimestampMs) {
        if !self.is_connected {
            return;
        }
        let Some((current, mut next)) = self.session else { return };
        if !self.elsewhere.is_empty() {
            self.elsewhere = self.keys_elsewhere();
        }
        let mut batches: Vec<(SessionId, Seq, Vec<Operation>, usize)> = Vec::new();
        for no in self.pending.take_waiting() {
            let Some(pending) = self.pending.get(no).filter(|pending| pending.is_idle()) else { continue };
            let (session, seq) = match pending.sent {
                Some((_, seq)) if fault!(RoamerSettlesHere) => (current, seq),
                Some(sent) => sent,
                None if self.elsewhere.contains(pending.key()) => {
                    self.pending.wait(no);
                    continue;
                }
                None => {
                    let sent = (current, next);
                    next = next.next();
                    sent
                }
            };
            let operation = pending.for_hub();
            let size = operation.approximate_bytes();
            match batches.last_mut() {
                Some((open, first, operations, bytes))
                    if *open == session
                        && first.0.saturating_add(operations.len() as u64) == seq.0
                        && operations.len() < self.batch_max.max(1)
                        && *bytes < FRAME_BYTES_TARGET =>
                {
                    operations.push(operation);
                    *bytes = bytes.saturating_add(size);
                }
                _ => batches.push((session, seq, vec![operation], size)),
            }
            self.pending.change(no, &mut |pending| {
                pending.in_flight_since = Some(now);
                if pending.sent.is_none() {
                    pending.sent = Some((session, seq));
                    pending.is_dirty = true;
                }
            });
        }
        self.session = Some((current, next));
        self.ask_after_unseen(current, now);
        let verdict = (!batches.is_empty()).then(|| now.plus_ms(VERDICT_MS_MAX));
        if let Some(at) = verdict.into_iter().chain(self.ask_at).min() {
            self.effects.push(LeafEffect::WakeAt(at));
        }
        for (session, first, operations, _) in batches {
            let settled = if fault!(SettledNeverTold) { Seq::default() } else { self.forgettable(session) };
            self.send(if session == current && self.is_brief {
                self.own(session, settled, first, operations)
            } else {
                LeafToHub::Operations { session, settled, first, operations }
            });
        }
    }

    /// The keys with operations that were sent in other sessions. Linear in the queue.
    pub(super) fn keys_elsewhere(&self) -> OrderedSet<Key> {
        let current = self.session.map(|(id, _)| id);
        // Also once it is settled, until the base shows it: only then can a later operation tell what it saw.
        let is_elsewhere = |pending: &&Pending| pending.sent.is_some_and(|(session, _)| Some(session) != current);
        let elsewhere = self.pending.iter().filter(is_elsewhere).filter(|_| !fault!(DependentSentAhead));
        elsewhere.map(|pending| pending.key().clone()).collect()
    }

    /// Operations of the session of this connection, in little.
    fn own(&self, session: SessionId, settled: Seq, first: Seq, mut operations: Vec<Operation>) -> LeafToHub {
        let opened = self.lifetime.opened(self.session_until);
        operations.iter_mut().for_each(|operation| operation.at = TimestampMs(operation.at.since_ms(opened)));
        LeafToHub::Own { session: session.no, settled, first, operations }
    }

    /// Asks the hubs of other sessions about operations that they settled and that no base shows yet: by a batch of none.
    fn ask_after_unseen(&mut self, current: SessionId, now: TimestampMs) {
        let unseen = self.pending.settled().filter_map(|pending| pending.sent);
        let sessions: OrderedSet<SessionId> = unseen.map(|(session, _)| session).filter(|id| *id != current).collect();
        self.asked.retain(|session| sessions.contains(session));
        if sessions.is_empty() || fault!(UnseenAwaitedForever) {
            self.ask_at = None;
            return;
        }
        let due = *self.ask_at.get_or_insert(now.plus_ms(UNSEEN_MS_MAX));
        if due <= now {
            self.ask_at = Some(now.plus_ms(UNSEEN_MS_MAX));
            for session in sessions {
                let settled = self.forgettable(session);
                self.send(LeafToHub::Operations { session, settled, first: settled.next(), operations: Vec::new() });
                self.asked.insert(session);
            }
        }
    }

    /// The present session, and up to where the base shows what it did.
    pub(super) fn known(&self) -> Option<(SessionId, Seq)> {
        self.session.map(|(id, _)| (id, self.shown(id)))
    }

    /// Up to where the base shows what a session did. What is settled and not shown yet is still seen under provisional dots.
    pub(super) fn shown(&self, session: SessionId) -> Seq {
        let settled = self.settled.get(&session).copied().unwrap_or_default();
        let hidden = self.pending.settled().filter_map(|pending| pending.sent);
        let before = hidden.filter(|(id, _)| *id == session).map(|(_, seq)| Seq(seq.0.saturating_sub(1)));
        before.fold(settled, Seq::min)
    }

    /// Up to where the hub need not remember what a session did: settled, and known so to every operation still to settle.
    fn forgettable(&self, session: SessionId) -> Seq {
        let settled = self.settled.get(&session).copied().unwrap_or_default();
        // What was sent in another session settles there, whatever this one remembers. Of the others the first was prepared
        // when least was known.
        let is_open =
            |pending: &&Pending| !pending.is_settled() && pending.sent.is_none_or(|(other, _)| other == session);
        let first = self.pending.iter().find(is_open).map(|pending| pending.known);
        let known = |known: Option<(SessionId, Seq)>| known.filter(|(id, _)| *id == session).map(|(_, seq)| seq);
        first.map_or(settled, |first| known(first).unwrap_or_default().min(settled))
    }
}
