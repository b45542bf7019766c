//! Making an operation the hub's own: each effect takes a number and a stamp, once, and is applied.

use super::{
    Hub, RowId,
    keyspace::{KeyNo, Standing},
    leaves::Session,
};
use crate::{
    command::CommandError,
    exec,
    hlc::Hlc,
    id::{Dot, Key, No, Stamp, TimestampMs},
    limits::{OPERATION_AGE_MS_MAX, STAMP_AHEAD_MS_MAX},
    state::{
        Amount, Cut, DeadlineChange, Effect, Element, ElementId, Increment, KeyState, KeyView, Kind, Mint, Num,
        Operation, Part, SeenCut, SeenCuts, Sum, Touched,
    },
};

use std::collections::BTreeMap;

/// An increment that a session made and its leaf may not have seen settled.
#[derive(Clone, PartialEq, Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct MintedAdd {
    pub(super) key: Key,
    pub(super) element: ElementId,
    pub(super) by: Increment,
    pub(super) no: No,
}

impl Hub {
    /// Applies an operation that this hub itself prepared at `now`.
    pub(super) fn apply_prepared(&mut self, operation: &Operation, now: TimestampMs) {
        let hlc = self.clock.tick(now);
        let (no, _) = self.keys.resolve(&operation.key);
        for effect in &operation.effects {
            self.apply_effect(no, effect, hlc);
        }
    }

    /// Applies a leaf's operation, or refuses all of it. Returns the last number that it took and its increments.
    ///
    /// What the session did before counts as observed. Preconditions are not evaluated again; type and overflow are checked.
    pub(super) fn apply_from_leaf(
        &mut self,
        operation: &Operation,
        session: &Session,
        now: TimestampMs,
    ) -> Result<(No, Vec<MintedAdd>), CommandError> {
        if operation.effects.iter().any(|effect| sees_ahead(effect, self.id, self.last_no, now)) {
            return Err(CommandError::SeenAhead);
        }
        let empty = KeyState::default();
        let found = self.keys.find(&operation.key);
        check(operation, found.map_or_else(|| empty.view(), |no| self.keys.view(no)), now)?;
        let (no, _) = self.keys.resolve(&operation.key);
        self.keys.note_use(no);
        let mut adds = Vec::new();
        let oldest = now.plus_ms(OPERATION_AGE_MS_MAX.saturating_neg());
        let at = Hlc::at(operation.at.max(oldest).min(now));
        for effect in &operation.effects {
            let state = self.keys.view(no);
            let (effect, unseen) = observe_session(effect, state, &operation.key, session, self.id);
            // Later than all that it replaces, whatever the leaf's clock said.
            let hlc = latest_seen(&effect, state).map_or(at, |seen| at.max(seen.next()));
            // What this hub does next is later still. The bound was kept when what it replaces came here.
            let _ = self.clock.observe(hlc, now);
            self.apply_effect(no, &effect, hlc);
            if let Effect::Add { element, by } = &effect {
                adds.push(MintedAdd {
                    key: operation.key.clone(),
                    element: element.clone(),
                    by: *by,
                    no: self.last_no,
                });
            }
            for add in unseen {
                self.apply_effect(no, &add, hlc);
            }
        }
        Ok((self.last_no, adds))
    }

    pub(super) fn apply_effect(&mut self, no: KeyNo, effect: &Effect, hlc: Hlc) {
        let slot = self.slots.of(self.keys.slot(no));
        // What nobody has seen is not stable, and so noted.
        let is_noted = |id: &ElementId| self.keys.notes(no).is_some_and(|notes| notes.change(id).is_some());
        if is_own_and_unseen(effect, self.keys.view(no), self.id, slot.offered, is_noted) {
            return;
        }
        self.last_no = self.last_no.next();
        let dot = Dot { replica: self.id, no: self.last_no };
        let touched = self.keys.apply(no, effect, Mint { dot, hlc }, slot.uttered);
        if let Effect::Wipe { .. } = effect {
            let key = self.keys.key(no);
            self.dirty.extend(self.keys.forget_wiped(no).into_iter().map(|id| RowId::Element(key.clone(), id)));
        }
        self.note_own(no, touched);
    }

    /// Notes that the hub's last number changed a key.
    pub(super) fn note_own(&mut self, no: KeyNo, touched: Touched) {
        self.note_latest(no);
        self.show(no, touched);
    }

    /// Notes that the hub's last number changed the string of a key, and nothing else of it.
    pub(super) fn note_own_string(&mut self, no: KeyNo) {
        self.note_latest(no);
        self.show_string(no);
    }

    /// Notes that the hub's last number changed an element of a collection, of which the notes know. See
    /// [`Hub::show_element`].
    pub(super) fn note_own_element(&mut self, no: KeyNo, id: ElementId, was_dirty: bool) {
        self.note_latest(no);
        self.show_element(no, id, was_dirty);
    }

    fn note_latest(&mut self, no: KeyNo) {
        let entry = self.keys.entry_mut(no);
        let (slot, before) = (entry.slot(), std::mem::replace(&mut entry.standing, Standing::Changed));
        self.slots.note_latest(slot, self.last_no, no, before);
        self.is_meta_dirty = true;
    }
}

/// SADD of a member whose only dot is this hub's, and which nobody else can have seen and so removed, changes nothing.
fn is_own_and_unseen(
    effect: &Effect,
    state: KeyView<'_>,
    own: crate::id::ReplicaId,
    offered: No,
    is_noted: impl Fn(&ElementId) -> bool,
) -> bool {
    let Effect::Write { element: id @ ElementId::Member(_), base: Some(_), .. } = effect else { return false };
    let Some(element) = Some(id).filter(|id| is_noted(id)).and_then(|id| state.element(id)) else { return false };
    let mut dots = element.base.dots();
    let only = dots.next().filter(|_| dots.next().is_none());
    only.is_some_and(|dot| dot.replica == own && dot.no > offered)
}

/// Whether the effect claims to have seen numbers that this hub has not used: whoever comes to use them would find them
/// removed already. Likewise an epoch that no healthy clock has reached: nobody could open a later one.
fn sees_ahead(effect: &Effect, own: crate::id::ReplicaId, last: No, now: TimestampMs) -> bool {
    let cuts_ahead = |cuts: &SeenCuts| match cuts {
        SeenCuts::Int(cuts) => cuts.iter().any(|seen| seen.replica == own && seen.cut.m > last),
        SeenCuts::Float(cuts) => cuts.iter().any(|seen| seen.replica == own && seen.cut.m > last),
    };
    let epoch_ahead = |epoch: Stamp| {
        let is_ahead = epoch.hlc.time().since_ms(now) > STAMP_AHEAD_MS_MAX;
        is_ahead || epoch.dot.replica == own && epoch.dot.no > last
    };
    match effect {
        Effect::Write { seen, cuts, .. } => {
            seen.iter().any(|dot| dot.replica == own && dot.no > last) || cuts_ahead(cuts)
        }
        Effect::Wipe { seen, cuts } => {
            let latest = seen.of(own).and_then(crate::state::Intervals::last);
            latest.is_some_and(|no| no > last) || cuts.iter().any(|(_, cuts)| cuts_ahead(cuts))
        }
        Effect::Touch { seen, epoch, .. } => {
            seen.iter().any(|dot| dot.replica == own && dot.no > last) || epoch.is_some_and(epoch_ahead)
        }
        Effect::Deadline { seen, .. } => seen.is_some_and(epoch_ahead),
        Effect::Add { .. } | Effect::Spend { .. } => false,
    }
}

/// Whether the operation fits what the hub shows, judged for all effects before any is applied.
fn check(operation: &Operation, state: KeyView<'_>, now: TimestampMs) -> Result<(), CommandError> {
    exec::admit(operation, state.deadline(), now)?;
    let mut shown = state.shown(now);
    let mut totals: BTreeMap<&ElementId, i128> = BTreeMap::new();
    let mut is_wiped = false;
    for effect in &operation.effects {
        match effect {
            Effect::Wipe { .. } => {
                shown = None;
                is_wiped = true;
                totals.clear();
            }
            Effect::Deadline { change: DeadlineChange::Revoke(until), .. } => exec::bound_revocation(*until, now)?,
            Effect::Deadline { .. } => {}
            Effect::Write { element, .. }
            | Effect::Add { element, .. }
            | Effect::Spend { element, .. }
            | Effect::Touch { element, .. } => {
                if shown.is_some_and(|shown| shown != element.kind()) {
                    return Err(CommandError::WrongType);
                }
            }
        }
        if let Effect::Write { element, base: None, .. } = effect {
            totals.insert(element, 0);
        }
        if let Effect::Add { element, by: Increment::Int(by) } = effect {
            let error = match element.kind() {
                Kind::Hash => CommandError::HashNotAnInteger,
                _ => CommandError::NotAnInteger,
            };
            let before = match (totals.get(element), state.element(element)) {
                (Some(total), _) => *total,
                (None, Some(present)) if !is_wiped => present.integer().map_err(|_not_an_integer| error)?.into(),
                (None, _) => 0,
            };
            let total = before.checked_add(*by).ok_or(CommandError::Overflow)?;
            i64::try_from(total).map_err(|_out_of_range| CommandError::Overflow)?;
            totals.insert(element, total);
        }
    }
    Ok(())
}

/// The latest time of what the effect replaces.
fn latest_seen(effect: &Effect, state: KeyView<'_>) -> Option<Hlc> {
    let of = |id: &ElementId, is_seen: &dyn Fn(Dot) -> bool| {
        let element = state.element(id)?;
        element.base.iter().filter(|(dot, _)| is_seen(*dot)).filter_map(|(_, base)| base.hlc()).max()
    };
    match effect {
        Effect::Write { seen, .. } if seen.is_empty() => None,
        Effect::Write { element, seen, .. } => of(element, &|dot| seen.contains(&dot)),
        Effect::Deadline { seen: epoch, .. } | Effect::Touch { epoch, .. } => epoch.map(|epoch| epoch.hlc),
        Effect::Wipe { .. } | Effect::Add { .. } | Effect::Spend { .. } => None,
    }
}

/// Extends what a leaf's effect observed by what its session did before, as this hub numbered it. The second part are
/// increments to make anew: others' that stand in the hub's own sum between what the leaf saw.
fn observe_session(
    effect: &Effect,
    state: KeyView<'_>,
    key: &Key,
    session: &Session,
    own: crate::id::ReplicaId,
) -> (Effect, Vec<Effect>) {
    if fault!(OwnPendingNotObserved) {
        return (effect.clone(), Vec::new());
    }
    let mut anew = Vec::new();
    let mut extend_cuts = |id: &ElementId, cuts: SeenCuts| -> SeenCuts {
        let mut added = session.adds_of(key, id).peekable();
        if added.peek().is_none() {
            return cuts;
        }
        match (cuts, state.element(id).map(|element| element.sum)) {
            (SeenCuts::Int(cuts), Some(Sum::Int(num))) => {
                let amounts = added.filter_map(|add| match add.by {
                    Increment::Int(by) => Some((add.no, by)),
                    Increment::Float(_) => None,
                });
                let (cuts, unseen) = extend_cut(cuts, &num, own, amounts);
                anew.extend(unseen.map(|by| Effect::Add { element: id.clone(), by: Increment::Int(by) }));
                SeenCuts::Int(cuts)
            }
            (SeenCuts::Float(cuts), Some(Sum::Float(num))) => {
                let amounts = added.filter_map(|add| match add.by {
                    Increment::Float(by) => Some((add.no, by)),
                    Increment::Int(_) => None,
                });
                let (cuts, unseen) = extend_cut(cuts, &num, own, amounts);
                anew.extend(unseen.map(|by| Effect::Add { element: id.clone(), by: Increment::Float(by) }));
                SeenCuts::Float(cuts)
            }
            (cuts, _) => cuts,
        }
    };
    // Most sessions have nothing under way, and an element may be large.
    let of_session = |element: &ElementId| session.has_minted().then(|| state.element(element)).flatten();
    let observed = match effect {
        Effect::Write { element, base, seen, cuts } => {
            let mut seen = seen.clone();
            let present = of_session(element);
            let dots = present.iter().flat_map(|element| element.base.dots());
            seen.extend(dots.filter(|dot| dot.replica == own && session.minted(dot.no)));
            seen.sort();
            seen.dedup();
            let cuts = extend_cuts(element, cuts.clone());
            Effect::Write { element: element.clone(), base: base.clone(), seen, cuts }
        }
        Effect::Wipe { seen, cuts } => {
            let mut seen = seen.clone();
            // Only what it did to this key: numbers of other keys would lie in this one's context for good.
            let known = state.ctx();
            let of_key = |through: No| known.contains(Dot { replica: own, no: through });
            for (after, through) in session.minted_intervals().filter(|(_, through)| of_key(*through)) {
                seen.insert_interval(own, after, through);
            }
            let mut ids: Vec<ElementId> = cuts.iter().map(|(id, _)| id.clone()).collect();
            ids.extend(session.elements_added(key));
            ids.sort();
            ids.dedup();
            let all = ids.into_iter().map(|id| {
                let none = || Element::empty(id.kind()).sum.seen();
                let listed = cuts.iter().find(|(other, _)| *other == id).map_or_else(none, |(_, cuts)| cuts.clone());
                let cuts = extend_cuts(&id, listed);
                (id, cuts)
            });
            let cuts = all.collect();
            Effect::Wipe { seen, cuts }
        }
        Effect::Touch { element, change, epoch, seen } => {
            let mut seen = seen.clone();
            let mut epoch = *epoch;
            let present = of_session(element);
            for (dot, deadline) in present.iter().flat_map(Element::deadlines) {
                if dot.replica == own && session.minted(dot.no) {
                    seen.push(dot);
                    epoch = epoch.max(deadline.epoch());
                }
            }
            seen.sort();
            seen.dedup();
            Effect::Touch { element: element.clone(), change: *change, epoch, seen }
        }
        Effect::Deadline { change, seen } => {
            let present = state.deadline().epoch();
            let is_its = |epoch: &Stamp| epoch.dot.replica == own && session.minted(epoch.dot.no);
            Effect::Deadline { change: *change, seen: present.filter(is_its).max(*seen) }
        }
        Effect::Add { .. } | Effect::Spend { .. } => effect.clone(),
    };
    (observed, anew)
}

/// Extends the cut of the hub's own sum by the session's increments behind it. A cut is a prefix; where others' increments
/// lie between, the whole sum is cut and theirs are made anew, so that nothing unseen is lost.
fn extend_cut<A: Amount>(
    mut cuts: Vec<SeenCut<A>>,
    num: &Num<A>,
    own: crate::id::ReplicaId,
    added: impl Iterator<Item = (No, A)>,
) -> (Vec<SeenCut<A>>, Option<A>) {
    let seen_to = cuts.iter().find(|seen| seen.replica == own).map_or(No::ZERO, |seen| seen.cut.m);
    let Some(Part { ent: Some(ent), cut }) = num.part(own) else { return (cuts, None) };
    let cut_at = cut.map_or(ent.o, |cut| cut.m.max(ent.o)).max(seen_to);
    let mut is_any = false;
    let mut sum = A::ZERO;
    for (_, by) in added.filter(|(no, _)| *no > cut_at) {
        is_any = true;
        sum = sum.plus(by);
    }
    if !is_any {
        return (cuts, None);
    }
    let mut prefix = num.clone();
    for seen in &cuts {
        prefix.cut(*seen);
    }
    let unseen = prefix.visible_of(own).minus(sum);
    cuts.retain(|seen| seen.replica != own);
    cuts.push(SeenCut { replica: own, cut: Cut { m: ent.n, acc: ent.acc } });
    (cuts, (unseen != A::ZERO).then_some(unseen))
}
