//! An operation that its hub has not settled, or that the base does not show yet.

use super::TabId;
use crate::{
    id::{Dot, Key, No, ReplicaId, Seq, SessionId, Stamp, TimestampMs},
    state::{Amount, Effect, Element, ElementId, Increment, KeyState, Operation, SeenCut, SeenCuts},
    wire::{
        WireError,
        operation::{read_operation, write_operation},
        stored::{from_stored, to_stored},
    },
};
use bytes::Bytes;

/// From here on a mirror numbers what its leader has not adopted; no leader counts so far.
pub(super) const MIRROR_FIRST: No = No(1 << 63);

/// One operation of the queue.
#[derive(Debug)]
pub(super) struct Pending {
    /// As the view applies it; it may have seen provisional dots.
    pub(super) view: Operation,
    /// As it was prepared, where the view tells more of what it saw by now.
    prepared: Option<Operation>,
    /// The epoch of the key's deadline as the hub had shown it when the operation was prepared.
    epoch: Option<Stamp>,
    /// The number of its first provisional dot; each effect takes one.
    pub(super) first_local: No,
    /// Up to where the session was settled when it was prepared.
    pub(super) known: Option<(SessionId, Seq)>,
    /// Where it was first sent, and as which number.
    pub(super) sent: Option<(SessionId, Seq)>,
    /// Since when it is on its way on the present socket.
    pub(super) in_flight_since: Option<TimestampMs>,
    /// By which hub it was settled, and the numbers `(after, through]` that it took.
    pub(super) settled: Option<(ReplicaId, No, No)>,
    /// The tab that handed it over, and its number among that tab's.
    pub(super) from: Option<(TabId, u64)>,
    /// Whether its row is to be written before the next input is done with.
    pub(super) is_dirty: bool,
}

impl Pending {
    /// Whether sums show all that it added, up to the number that its last effect took: a comparison with the origin brings
    /// sums without the numbers in between.
    pub(super) fn is_counted_in(&self, base: &KeyState, last: Dot) -> bool {
        let is_counted = |effect: &Effect| match effect {
            Effect::Add { element, .. } => {
                base.element(element).and_then(|element| element.sum.counted(last.replica)) >= Some(last.no)
            }
            _ => false,
        };
        self.view.effects.iter().all(is_counted)
    }

    pub(super) fn new(
        operation: Operation,
        epoch: Option<Stamp>,
        first_local: No,
        known: Option<(SessionId, Seq)>,
    ) -> Self {
        Self {
            epoch,
            prepared: None,
            view: operation,
            first_local,
            known,
            sent: None,
            in_flight_since: None,
            settled: None,
            from: None,
            is_dirty: true,
        }
    }

    /// Its row, which is also how a mirror hands it over.
    pub(super) fn to_row(&self) -> Bytes {
        let Self { view, prepared, epoch, first_local, known, sent, settled, from, .. } = self;
        let body = to_stored(|w| {
            w.plain(&(epoch, first_local, known, sent, settled, from, prepared.is_some()));
            // No name in a message, but here the one that is there most.
            w.introduce(ReplicaId::LEAF);
            prepared.iter().for_each(|prepared| write_operation(w, prepared));
            write_operation(w, view);
        });
        body.into()
    }

    /// What [`Self::to_row`] wrote.
    pub(super) fn from_row(row: &[u8]) -> Result<Self, WireError> {
        from_stored(row, |r| {
            let (epoch, first_local, known, sent, settled, from, is_changed) = r.plain()?;
            r.introduce(ReplicaId::LEAF);
            let prepared = if is_changed { Some(read_operation(r)?) } else { None };
            let view = read_operation(r)?;
            let (in_flight_since, is_dirty) = (None, false);
            Ok(Self { view, prepared, epoch, first_local, known, sent, in_flight_since, settled, from, is_dirty })
        })
    }

    /// Puts other effects in the place of some, of an operation that saw nothing.
    pub(super) fn raise(&mut self, at: TimestampMs, effects: impl IntoIterator<Item = (usize, Effect)>) {
        for (place, effect) in effects {
            if let Some(place) = self.view.effects.get_mut(place) {
                *place = effect;
            }
        }
        self.view.at = self.view.at.max(at);
    }

    pub(super) fn key(&self) -> &Key {
        &self.view.key
    }

    pub(super) fn is_settled(&self) -> bool {
        self.settled.is_some()
    }

    /// Whether it is to be sent, or handed over.
    pub(super) fn is_idle(&self) -> bool {
        self.settled.is_none() && self.in_flight_since.is_none()
    }

    pub(super) fn settle(&mut self, hub: ReplicaId, after: No, through: No) {
        self.settled = Some((hub, after, through));
        self.is_dirty = true;
    }

    /// The operation without its provisional dots: what the session did before counts as observed at the hub.
    pub(super) fn for_hub(&self) -> Operation {
        let prepared = self.prepared.as_ref().unwrap_or(&self.view);
        let effects = prepared.effects.iter().cloned().map(|effect| match effect {
            Effect::Write { element, base, mut seen, cuts } => {
                seen.retain(|dot| dot.replica != ReplicaId::LEAF);
                Effect::Write { element, base, seen, cuts: cuts.without(ReplicaId::LEAF) }
            }
            Effect::Wipe { mut seen, cuts } => {
                seen.remove(ReplicaId::LEAF);
                let cuts = cuts.into_iter().map(|(id, cuts)| (id, cuts.without(ReplicaId::LEAF)));
                Effect::Wipe { seen, cuts: cuts.filter(|(_, cuts)| !cuts.is_empty()).collect() }
            }
            Effect::Deadline { change, seen } => {
                Effect::Deadline { change, seen: if seen.is_some_and(is_provisional) { self.epoch } else { seen } }
            }
            Effect::Touch { element, change, epoch, mut seen } => {
                // Of a field's epochs only the session's own can be provisional, and the hub knows those.
                seen.retain(|dot| dot.replica != ReplicaId::LEAF);
                let epoch = epoch.filter(|epoch| !is_provisional(*epoch));
                Effect::Touch { element, change, epoch, seen }
            }
            effect @ (Effect::Add { .. } | Effect::Spend { .. }) => effect,
        });
        Operation { key: prepared.key.clone(), at: prepared.at, effects: effects.collect() }
    }

    /// Where this operation saw `earlier` under provisional dots, it sees now what the hub made of it, as the base shows it.
    /// One that is not sent yet tells its hub so, which may be another than settled `earlier`.
    pub(super) fn observe(&mut self, earlier: &Self, base: &KeyState, (hub, after, through): (ReplicaId, No, No)) {
        if !self.view.effects.iter().any(|effect| earlier.may_be_seen_by(effect)) {
            return;
        }
        let seen = Observed { earlier, base, hub, after, through };
        self.is_dirty = true;
        let prepared = self.prepared.get_or_insert_with(|| self.view.clone());
        if self.sent.is_none() {
            seen.extend(&mut prepared.effects, true);
        }
        seen.extend(&mut self.view.effects, false);
    }

    /// Whether a mirror prepared it that has not seen it adopted.
    pub(super) fn is_of_mirror(&self) -> bool {
        self.first_local >= MIRROR_FIRST
    }

    /// Whether it says nothing of what was seen.
    pub(super) fn is_blind(&self) -> bool {
        self.view.effects.iter().all(|effect| matches!(effect, Effect::Add { .. } | Effect::Spend { .. }))
    }

    /// The leader adopts it, under numbers of its own.
    pub(super) fn adopt(&mut self, from: (TabId, u64), first_local: No, known: Option<(SessionId, Seq)>) {
        self.from = Some(from);
        self.first_local = first_local;
        self.known = known;
        self.in_flight_since = None;
        self.is_dirty = true;
    }

    /// Where this operation saw `earlier` under a mirror's numbers, it sees it now under the leader's, which begin with
    /// `first`.
    pub(super) fn renumber(&mut self, earlier: &Self, first: No) {
        let moved = |dot: Dot| {
            let offset = dot.no.0.saturating_sub(earlier.first_local.0);
            if earlier.is_local(&dot) { Dot { no: No(first.0.saturating_add(offset)), ..dot } } else { dot }
        };
        let move_cuts = |cuts: &mut SeenCuts| match cuts {
            SeenCuts::Int(cuts) => cuts.iter_mut().for_each(|seen| move_cut(seen, moved)),
            SeenCuts::Float(cuts) => cuts.iter_mut().for_each(|seen| move_cut(seen, moved)),
        };
        for effect in
            self.view.effects.iter_mut().chain(self.prepared.iter_mut().flat_map(|prepared| &mut prepared.effects))
        {
            match effect {
                Effect::Write { seen, cuts, .. } => {
                    seen.iter_mut().for_each(|dot| *dot = moved(*dot));
                    move_cuts(cuts);
                }
                Effect::Wipe { seen, cuts } => {
                    for no in earlier.first_local.0..earlier.end_local() {
                        let dot = Dot { replica: ReplicaId::LEAF, no: No(no) };
                        if seen.contains(dot) {
                            seen.insert(moved(dot));
                        }
                    }
                    cuts.iter_mut().for_each(|(_, cuts)| move_cuts(cuts));
                }
                Effect::Deadline { seen, .. } => seen.iter_mut().for_each(|epoch| epoch.dot = moved(epoch.dot)),
                Effect::Touch { epoch, seen, .. } => {
                    epoch.iter_mut().for_each(|epoch| epoch.dot = moved(epoch.dot));
                    seen.iter_mut().for_each(|dot| *dot = moved(*dot));
                }
                Effect::Add { .. } | Effect::Spend { .. } => {}
            }
        }
    }

    /// Whether a later effect on the key can tell anything of this operation: one that tells what it saw of an element tells of
    /// those that changed it.
    fn may_be_seen_by(&self, effect: &Effect) -> bool {
        match effect {
            Effect::Add { .. } | Effect::Spend { .. } => false,
            Effect::Wipe { .. } | Effect::Deadline { .. } => true,
            Effect::Write { element, .. } | Effect::Touch { element, .. } => {
                self.view.effects.iter().any(|own| match own {
                    Effect::Write { element: other, .. }
                    | Effect::Add { element: other, .. }
                    | Effect::Spend { element: other, .. }
                    | Effect::Touch { element: other, .. } => element == other,
                    Effect::Wipe { .. } | Effect::Deadline { .. } => true,
                })
            }
        }
    }

    fn end_local(&self) -> u64 {
        self.first_local.0.saturating_add(self.view.effects.len() as u64)
    }

    fn is_local(&self, dot: &Dot) -> bool {
        dot.replica == ReplicaId::LEAF && dot.no >= self.first_local && dot.no.0 < self.end_local()
    }

    fn increments<'a>(&'a self, id: &'a ElementId) -> impl Iterator<Item = Increment> + 'a {
        self.view.effects.iter().filter_map(move |effect| match effect {
            Effect::Add { element, by } if element == id => Some(*by),
            _ => None,
        })
    }
}

/// A settled operation as the base shows it.
struct Observed<'a> {
    earlier: &'a Pending,
    base: &'a KeyState,
    hub: ReplicaId,
    after: No,
    through: No,
}

impl Observed<'_> {
    /// Extends what later effects saw. With `exactly` a sum is cut further only where nothing but the settled operation
    /// lies between: what is not cut survives, what is cut too far would be lost.
    fn extend(&self, effects: &mut [Effect], exactly: bool) {
        for effect in effects {
            match effect {
                Effect::Write { element, seen, cuts, .. } => {
                    if seen.iter().any(|dot| self.earlier.is_local(dot)) {
                        let element = self.base.element(element);
                        let dots = element.iter().flat_map(|element| element.base.dots());
                        seen.extend(dots.filter(|dot| self.is_its(dot)));
                    }
                    self.extend_cuts(element, cuts, exactly);
                }
                Effect::Wipe { seen, cuts } => {
                    let mut local = self.earlier.first_local.0..self.earlier.end_local();
                    if local.any(|no| seen.contains(Dot { replica: ReplicaId::LEAF, no: No(no) })) {
                        seen.insert_interval(self.hub, self.after, self.through);
                        cuts.iter_mut().for_each(|(id, cuts)| self.extend_cuts(id, cuts, exactly));
                    }
                }
                Effect::Deadline { seen, .. } => {
                    if seen.is_some_and(|epoch| self.earlier.is_local(&epoch.dot)) {
                        // Where another epoch stands by now, it is later than the one that was opened.
                        let shown = self.base.deadline().epoch();
                        *seen = shown.filter(|epoch| self.is_its(&epoch.dot));
                    }
                }
                Effect::Touch { element, epoch, seen, .. } => {
                    let element = self.base.element(element);
                    let its = || element.iter().flat_map(Element::deadlines).filter(|(dot, _)| self.is_its(dot));
                    if epoch.is_some_and(|epoch| self.earlier.is_local(&epoch.dot)) {
                        *epoch = its().filter_map(|(_, deadline)| deadline.epoch()).max();
                    }
                    if seen.iter().any(|dot| self.earlier.is_local(dot)) {
                        seen.extend(its().map(|(dot, _)| dot));
                    }
                }
                Effect::Add { .. } | Effect::Spend { .. } => {}
            }
        }
    }

    /// Whether the hub numbered the settled operation so.
    fn is_its(&self, dot: &Dot) -> bool {
        dot.replica == self.hub && self.after < dot.no && dot.no <= self.through
    }

    fn extend_cuts(&self, id: &ElementId, cuts: &mut SeenCuts, exactly: bool) {
        let Some(element) = self.base.element(id) else { return };
        match (cuts, element.sum.seen()) {
            (SeenCuts::Int(cuts), SeenCuts::Int(seen)) => {
                let added = self.earlier.increments(id).filter_map(|by| match by {
                    Increment::Int(by) => Some(by),
                    Increment::Float(_) => None,
                });
                extend_cut(cuts, &seen, self.hub, added, exactly);
            }
            (SeenCuts::Float(cuts), SeenCuts::Float(seen)) => {
                let added = self.earlier.increments(id).filter_map(|by| match by {
                    Increment::Float(by) => Some(by),
                    Increment::Int(_) => None,
                });
                extend_cut(cuts, &seen, self.hub, added, exactly);
            }
            (SeenCuts::Int(_), SeenCuts::Float(_)) | (SeenCuts::Float(_), SeenCuts::Int(_)) => {}
        }
    }
}

fn move_cut<A: Amount>(seen: &mut SeenCut<A>, moved: impl Fn(Dot) -> Dot) {
    seen.cut.m = moved(Dot { replica: seen.replica, no: seen.cut.m }).no;
}

fn extend_cut<A: Amount>(
    cuts: &mut Vec<SeenCut<A>>,
    seen: &[SeenCut<A>],
    hub: ReplicaId,
    added: impl Iterator<Item = A>,
    exactly: bool,
) {
    let mut added = added.peekable();
    if added.peek().is_none() {
        return;
    }
    let Some(now) = seen.iter().find(|seen| seen.replica == hub) else { return };
    let before = cuts.iter().find(|seen| seen.replica == hub).map_or(A::ZERO, |seen| seen.cut.acc);
    let is_exact = now.cut.acc.minus(before) == added.fold(A::ZERO, A::plus);
    if is_exact || !exactly {
        cuts.retain(|seen| seen.replica != hub);
        cuts.push(*now);
    }
}

/// Whether the leaf's own operation opened the epoch, under a stamp that its hub does not know.
fn is_provisional(epoch: Stamp) -> bool {
    epoch.dot.replica == ReplicaId::LEAF
}
