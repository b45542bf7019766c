//! An operation that its hub has not settled, or that the base does not show yet.

use crate::{
    id::{Dot, Key, No, ReplicaId, Seq, SessionId, TimestampMs},
    state::{Effect, KeyState, Operation, SeenCuts},
};

/// One operation of the queue.
#[derive(Debug)]
pub(super) struct Pending {
    /// As the view applies it; it may have seen provisional dots.
    pub(super) view: Operation,
    /// As it was prepared.
    prepared: Operation,
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
}

impl Pending {
    pub(super) fn new(operation: Operation, first_local: No, known: Option<(SessionId, Seq)>) -> Self {
        Self {
            prepared: operation.clone(),
            view: operation,
            first_local,
            known,
            sent: None,
            in_flight_since: None,
            settled: None,
        }
    }

    pub(super) fn key(&self) -> &Key {
        &self.view.key
    }

    pub(super) fn is_settled(&self) -> bool {
        self.settled.is_some()
    }

    pub(super) fn settle(&mut self, hub: ReplicaId, after: No, through: No) {
        self.settled = Some((hub, after, through));
    }

    /// The operation without its provisional dots: what the session did before counts as observed at the hub.
    pub(super) fn for_hub(&self) -> Operation {
        let effects = self.prepared.effects.iter().cloned().map(|effect| match effect {
            Effect::Write { element, base, mut seen, cuts } => {
                seen.retain(|dot| dot.replica != ReplicaId::LEAF);
                Effect::Write { element, base, seen, cuts: cuts.without(ReplicaId::LEAF) }
            }
            Effect::Wipe { mut seen, cuts } => {
                seen.remove(ReplicaId::LEAF);
                let cuts = cuts.into_iter().map(|(id, cuts)| (id, cuts.without(ReplicaId::LEAF)));
                Effect::Wipe { seen, cuts: cuts.filter(|(_, cuts)| !cuts.is_empty()).collect() }
            }
            effect @ (Effect::Add { .. } | Effect::Deadline(_)) => effect,
        });
        Operation { effects: effects.collect(), ..self.prepared.clone() }
    }

    /// Where the view of this operation saw `earlier` under provisional dots, it sees now what the hub made of it.
    pub(super) fn observe(&mut self, earlier: &Self, base: &KeyState, hub: ReplicaId, after: No, through: No) {
        let local = |no: No| no >= earlier.first_local && no.0 < earlier.end_local();
        let is_local = |dot: &Dot| dot.replica == ReplicaId::LEAF && local(dot.no);
        let adds = |id: &crate::state::ElementId| {
            earlier.view.effects.iter().any(|effect| matches!(effect, Effect::Add { element, .. } if element == id))
        };
        for effect in &mut self.view.effects {
            match effect {
                Effect::Write { element, seen, cuts, .. } => {
                    if seen.iter().any(is_local) {
                        let dots = base.element(element).into_iter().flat_map(|element| element.base.dots());
                        seen.extend(dots.filter(|dot| dot.replica == hub && after < dot.no && dot.no <= through));
                    }
                    if adds(element) {
                        see_sum(cuts, base, element, hub);
                    }
                }
                Effect::Wipe { seen, cuts } => {
                    if (earlier.first_local.0..earlier.end_local()).any(|no| {
                        seen.contains(Dot { replica: ReplicaId::LEAF, no: No(no) })
                    }) {
                        seen.insert_interval(hub, after, through);
                        for (id, cuts) in cuts.iter_mut().filter(|(id, _)| adds(id)) {
                            see_sum(cuts, base, id, hub);
                        }
                    }
                }
                Effect::Add { .. } | Effect::Deadline(_) => {}
            }
        }
    }

    fn end_local(&self) -> u64 {
        self.first_local.0.saturating_add(self.view.effects.len() as u64)
    }
}

/// The view resets the hub's sum as far as the base shows it.
fn see_sum(cuts: &mut SeenCuts, base: &KeyState, id: &crate::state::ElementId, hub: ReplicaId) {
    let Some(element) = base.element(id) else { return };
    match (cuts, element.sum.seen()) {
        (SeenCuts::Int(cuts), SeenCuts::Int(seen)) => {
            cuts.retain(|cut| cut.replica != hub);
            cuts.extend(seen.into_iter().filter(|seen| seen.replica == hub));
        }
        (SeenCuts::Float(cuts), SeenCuts::Float(seen)) => {
            cuts.retain(|cut| cut.replica != hub);
            cuts.extend(seen.into_iter().filter(|seen| seen.replica == hub));
        }
        (SeenCuts::Int(_), SeenCuts::Float(_)) | (SeenCuts::Float(_), SeenCuts::Int(_)) => {}
    }
}
