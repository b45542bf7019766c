//! One leaf in several tabs: one leads, the others mirror it.
//!
//! The leader is a leaf that is stored and speaks with the hub. A mirror has what the leader has stored, taken up from the
//! leader's own row writes, and on top of it what it did itself. It prepares operations as any leaf does and hands them to
//! the leader, which adopts each once, as the next of its own: by the number that the tab gave it, and in the transaction
//! that stores it. So the operations of all tabs have one order, that of one session, and a mirror that becomes the leader
//! goes on from what is stored and adopts what is not.
//!
//! A mirror tells what it saw of the leader's open operations under their provisional numbers. Those are dropped once the
//! base shows what the hub made of them; so the leader adopts only what was prepared since the last operation on that key
//! was dropped, and asks for the rest again. By then the mirror has taken the drop up, and says what the hub made of it.

use super::{
    Leaf, LeafEffect, LeafRestoreError, LeafRowId, LeafRowWrite, TabId,
    pending::{MIRROR_FIRST, Pending},
    queue::Queue,
    rows::{Dirty, Settled, Stored, restore_base},
};
use crate::{
    id::{ClientId, Key, No, TimestampMs},
    message::Lifetime,
    ordered::OrderedSet,
    state::Element,
    wire::{WireError, from_body},
};
use bytes::Bytes;

/// Of how many versions the leader remembers in which of them operations were done with. A mirror further behind is asked
/// again.
const VERSIONS_REMEMBERED: u64 = 256;

/// What only a mirror has.
#[derive(Debug)]
pub(super) struct Mirror {
    tab: TabId,
    /// The number of its last provisional dot.
    pub(super) last_local: No,
    /// The leader's version that it has taken up; none before the first.
    version: Option<u64>,
    /// The number of the operation that was last handed over.
    handed_over: u64,
}

impl Leaf {
    /// A tab's leaf that is to mirror another's.
    pub fn mirror(tab: TabId) -> Self {
        // Tabs differ in the upper half, so that no number that the leader comes to see means two operations.
        let last_local = No(MIRROR_FIRST.0 | (tab.0 >> 33) << 32);
        let mirror = Mirror { tab, last_local, version: None, handed_over: 0 };
        Self { mirror: Some(mirror), ..Self::new(ClientId(tab.0.into()), Lifetime::Tab) }
    }

    /// All rows of the leader as they are stored in this version. What this mirror did and the leader has not adopted stays
    /// in its view, and is handed over again. Linear in the rows.
    ///
    /// # Errors
    /// When a row does not decode; then nothing has changed.
    pub fn take_whole(
        &mut self,
        version: u64,
        rows: impl IntoIterator<Item = (LeafRowId, Bytes)>,
        now: TimestampMs,
    ) -> Result<Vec<LeafEffect>, LeafRestoreError> {
        let stored = Stored::read(rows)?;
        let meta = stored.meta.ok_or(LeafRestoreError::NoMeta)?;
        let mut changed: OrderedSet<Key> = self.base.keys().chain(stored.bases.keys()).cloned().collect();
        self.take_meta(meta);
        self.base = stored.bases;
        for adopted in stored.pending.iter().map(|(_, adopted)| adopted) {
            self.see_adopted(adopted);
        }
        self.drop_adopted(&mut changed);
        changed.extend(self.pending.keys().cloned());
        let own = self.pending.numbers(&Pending::is_of_mirror).into_iter().filter_map(|no| self.pending.remove(no));
        let own: Vec<Box<Pending>> = own.collect();
        self.pending = Queue::default();
        stored.pending.into_values().map(Box::new).chain(own).for_each(|pending| self.pending.push(pending));
        self.number_again();
        if let Some(mirror) = &mut self.mirror {
            mirror.version = Some(version);
        }
        changed.extend(self.pending.keys().cloned());
        Ok(self.shown_anew(changed, now))
    }

    /// What the leader stored to come to this version, which follows the last one.
    ///
    /// # Errors
    /// When a row does not decode. Then the mirror is to take all rows up again.
    pub fn take_up(
        &mut self,
        version: u64,
        writes: impl IntoIterator<Item = LeafRowWrite>,
        now: TimestampMs,
    ) -> Result<Vec<LeafEffect>, LeafRestoreError> {
        let mut changed = OrderedSet::new();
        let mut done = Vec::new();
        for write in writes {
            match write {
                LeafRowWrite::Put(row, body) => {
                    self.take_row(&row, &body, &mut changed).map_err(|source| LeafRestoreError::Row { row, source })?;
                }
                LeafRowWrite::Done(no, body) => {
                    let settled: Settled = from_body(&body)
                        .map_err(|source| LeafRestoreError::Row { row: LeafRowId::Pending(no), source })?;
                    done.push((no, settled));
                }
                LeafRowWrite::Drop(LeafRowId::Element(key, id)) => {
                    if let Some(base) = self.base.get_mut(&key) {
                        base.state.restore_element(&id, Element::empty(id.kind()));
                    }
                    changed.insert(key);
                }
                LeafRowWrite::DropKey(key) | LeafRowWrite::Drop(LeafRowId::Key(key)) => {
                    self.base.remove(&key);
                    changed.insert(key);
                }
                LeafRowWrite::Drop(LeafRowId::Meta | LeafRowId::Pending(_)) => {}
            }
        }
        // Last, since what is done with is to be seen as the base shows it.
        for (no, settled) in done {
            self.see_done(no, settled, &mut changed);
        }
        if let Some(mirror) = &mut self.mirror {
            mirror.version = Some(version);
        }
        Ok(self.shown_anew(changed, now))
    }

    /// Adopts an operation that a mirror handed over, once; asks for it again if another is due, or if it was prepared
    /// before what the mirror must know of its key.
    ///
    /// # Errors
    /// When the operation does not decode.
    pub fn adopt(
        &mut self,
        tab: TabId,
        no: u64,
        version: u64,
        operation: &Bytes,
        now: TimestampMs,
    ) -> Result<Vec<LeafEffect>, WireError> {
        let adopted = self.adopted.get(&tab).copied().unwrap_or_default();
        if no > adopted {
            let pending = Pending::from_row(operation)?;
            let is_late = version.saturating_add(VERSIONS_REMEMBERED) < self.version
                || self.done_in.get(pending.key()).is_some_and(|done| *done > version);
            if is_late || no != adopted.saturating_add(1) {
                self.effects.push(LeafEffect::Again(tab));
            } else {
                let operation = pending.view.clone();
                let first = self.adopt_one(Box::new(pending), (tab, no));
                self.show_operation(&operation, first);
            }
        }
        Ok(self.conclude(now))
    }

    /// Makes the mirror the leader: it goes on from what is stored, or as a new `client` where nothing is, and adopts what
    /// the leader before it did not.
    ///
    /// # Errors
    /// When a row is missing or does not decode; then nothing has changed.
    pub fn lead(
        &mut self,
        client: ClientId,
        rows: Vec<(LeafRowId, Bytes)>,
        now: TimestampMs,
    ) -> Result<Vec<LeafEffect>, LeafRestoreError> {
        let is_new = rows.is_empty();
        let rows = if is_new {
            let body = Self::stored(client, Lifetime::Tab).meta_body();
            vec![(LeafRowId::Meta, body.into())]
        } else {
            rows
        };
        let mut effects = self.take_whole(0, rows, now)?;
        effects.retain(|effect| !matches!(effect, LeafEffect::Forward { .. }));
        let Some(Mirror { tab, .. }) = self.mirror.take() else { return Ok(effects) };
        let stored = if is_new { Vec::new() } else { self.meta_body() };
        self.dirty = Some(Dirty::of(stored));
        let mut changed = OrderedSet::new();
        for own in self.pending.numbers(&Pending::is_of_mirror) {
            let Some(pending) = self.pending.remove(own) else { continue };
            let no = self.adopted.get(&tab).copied().unwrap_or_default().saturating_add(1);
            changed.insert(pending.key().clone());
            let first = self.last_local.next();
            self.pending.change_later(&pending, &mut |later| later.renumber(&pending, first));
            self.adopt_one(pending, (tab, no));
        }
        effects.extend(self.shown_anew(changed, now));
        Ok(effects)
    }

    /// The leader last heard from the hub then.
    pub fn heard(&mut self, at: TimestampMs) {
        self.heard_at = Some(at);
    }

    /// Queues what a mirror handed over; returns its first provisional number here.
    fn adopt_one(&mut self, mut pending: Box<Pending>, from: (TabId, u64)) -> No {
        let first = self.take_local(pending.view.effects.len());
        let known = self.session.map(|(id, _)| (id, self.shown(id)));
        pending.adopt(from, first, known);
        self.adopted.insert(from.0, from.1);
        self.pending.push(pending);
        first
    }

    /// Hands over what is not under way, in order. What says what it saw waits for what this mirror did before on its key,
    /// until the leader has numbered that.
    pub(super) fn hand_over(&mut self, now: TimestampMs) {
        let Some(Mirror { tab, version: Some(version), mut handed_over, .. }) = self.mirror else { return };
        for no in self.pending.take_waiting() {
            // What waits is looked at again when what it waits for leaves the queue.
            if !self.pending.get(no).is_some_and(|own| own.is_of_mirror() && own.is_idle() && !self.must_wait(own)) {
                continue;
            }
            self.pending.change(no, &mut |own| {
                own.in_flight_since = Some(now);
                let (_, no) = *own.from.get_or_insert_with(|| {
                    handed_over = handed_over.saturating_add(1);
                    (tab, handed_over)
                });
                let operation = own.to_row();
                self.effects.push(LeafEffect::Forward { no, version, operation });
            });
        }
        self.mirror.iter_mut().for_each(|mirror| mirror.handed_over = handed_over);
    }

    /// Whether an operation of a mirror waits for the one that the mirror did before on the same key.
    fn must_wait(&self, own: &Pending) -> bool {
        let before = self.pending.before(own).filter(|before| before.is_of_mirror());
        before.is_some_and(|before| before.is_idle() || !own.is_blind())
    }

    pub(super) fn hand_over_again(&mut self) {
        self.pending.change_all(&mut |pending| {
            pending.in_flight_since = pending.in_flight_since.filter(|_| !pending.is_of_mirror());
        });
    }

    /// Drops what mirrors are taken to know by now.
    pub(super) fn forget_done(&mut self) {
        let oldest = self.version.saturating_sub(VERSIONS_REMEMBERED);
        if self.version.is_multiple_of(VERSIONS_REMEMBERED) {
            self.done_in.retain(|_, version| *version >= oldest);
        }
    }

    fn take_row(&mut self, row: &LeafRowId, body: &Bytes, changed: &mut OrderedSet<Key>) -> Result<(), WireError> {
        match row {
            LeafRowId::Meta => {
                let meta = from_body(body)?;
                self.take_meta(meta);
                self.drop_adopted(changed);
            }
            LeafRowId::Pending(_) => {
                let pending = Pending::from_row(body)?;
                self.see_adopted(&pending);
                changed.insert(pending.key().clone());
                self.pending.remove(pending.first_local);
                self.pending.push(Box::new(pending));
            }
            LeafRowId::Key(key) | LeafRowId::Element(key, _) => {
                restore_base(&mut self.base, row, body)?;
                changed.insert(key.clone());
            }
        }
        Ok(())
    }

    /// The leader has adopted an operation; if it was this mirror's, what it did after it saw that one.
    fn see_adopted(&mut self, adopted: &Pending) {
        let is_own = self.mirror.as_ref().is_some_and(|mirror| adopted.from.is_some_and(|(tab, _)| tab == mirror.tab));
        let is_it = |own: &&Pending| own.is_of_mirror() && own.from == adopted.from;
        if !is_own {
            return;
        }
        let Some(no) = self.pending.iter().find(is_it).map(|own| own.first_local) else { return };
        let Some(own) = self.pending.remove(no) else { return };
        self.pending.change_later(&own, &mut |later| later.renumber(&own, adopted.first_local));
    }

    /// What was adopted, and is done with already, is this mirror's no more.
    fn drop_adopted(&mut self, changed: &mut OrderedSet<Key>) {
        let Some(mirror) = &self.mirror else { return };
        let adopted = self.adopted.get(&mirror.tab).copied().unwrap_or_default();
        let is_adopted = |own: &Pending| own.is_of_mirror() && own.from.is_some_and(|(_, no)| no <= adopted);
        for no in self.pending.numbers(&is_adopted) {
            changed.extend(self.pending.remove(no).map(|own| own.key().clone()));
        }
    }

    /// The leader has dropped an operation; what this mirror did after it saw what the hub made of it.
    fn see_done(&mut self, no: No, settled: Settled, changed: &mut OrderedSet<Key>) {
        let Some(done) = self.pending.remove(no) else { return };
        changed.insert(done.key().clone());
        let (Some(settled), Some(base)) = (settled, self.base.get(done.key())) else { return };
        self.pending.change_later(&done, &mut |later| {
            if later.is_of_mirror() {
                later.observe(&done, &base.state, settled);
            }
        });
    }

    /// Numbers what is not adopted from where the leader goes on, in the order in which it was done.
    fn number_again(&mut self) {
        let Some(mirror) = &mut self.mirror else { return };
        mirror.handed_over = self.adopted.get(&mirror.tab).copied().unwrap_or_default();
        self.pending.change_all(&mut |pending| {
            if pending.is_of_mirror() {
                (pending.in_flight_since, pending.from) = (None, None);
            }
        });
    }

    fn shown_anew(&mut self, changed: OrderedSet<Key>, now: TimestampMs) -> Vec<LeafEffect> {
        self.show_anew(changed);
        self.conclude(now)
    }
}
