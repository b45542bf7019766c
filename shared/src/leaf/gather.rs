//! Operations of a leaf that sends only when its shell says so: until then, those on one key that only add are summed up.
//!
//! An isolate answers thousands of requests between two exchanges with its hub, mostly on few counters. What waits then is
//! one operation a key and not one a request, so that neither its memory nor its hub's work grows with the requests. Only
//! operations that say nothing of what they saw can be summed up: of the others each has an order among its key's
//! operations, and ends the sum before it.
//!
//! Invariant: a key's gathered operation is later than all of its operations in the queue. What the view shows of it bears
//! numbers of its own, so before anything is prepared that tells what it saw, the view is made anew under the queue's.

use super::{Leaf, pending::Pending};
use crate::{
    few::Few,
    id::{Key, Seq, SessionId, TimestampMs},
    limits::TICKET_ISOLATE_MS,
    ordered::OrderedMap,
    state::{Effect, Increment, Operation},
};
#[cfg(feature = "hub")]
use crate::{id::ClientId, message::Lifetime};

impl Leaf {
    /// A leaf that sends operations only at a [`LeafInput::Flush`](super::LeafInput::Flush), and does not say what its own
    /// commands change. Only isolates gather; a module for browsers is spared the code.
    #[cfg(feature = "hub")]
    pub fn gathering(client: ClientId, lifetime: Lifetime) -> Self {
        Self { gathered: Some(OrderedMap::new()), ..Self::new(client, lifetime) }
    }

    /// The sums of a gathering leaf.
    fn gathered(&self) -> Option<&OrderedMap<Key, Pending>> {
        self.gathered.as_ref().filter(|_| cfg!(feature = "hub"))
    }

    fn gathered_mut(&mut self) -> Option<&mut OrderedMap<Key, Pending>> {
        self.gathered.as_mut().filter(|_| cfg!(feature = "hub"))
    }

    /// Takes an operation into the sum of its key, if it can be. Logarithmic in the keys of which anything is gathered.
    pub(super) fn gather(&mut self, operation: &Operation) -> bool {
        let Some(gathered) = self.gathered_mut().filter(|_| is_blind(operation)) else { return false };
        let is_summed = gathered.get_mut(&operation.key).is_some_and(|open| open.add(operation));
        let first_local = self.take_local(operation.effects.len());
        if !is_summed {
            self.end_sum(&operation.key);
            if let Some(gathered) = self.gathered_mut() {
                gathered.insert(operation.key.clone(), Pending::new(operation.clone(), None, first_local, None));
            }
        }
        self.show_operation(operation, first_local);
        true
    }

    /// What is gathered on a key.
    pub(super) fn sum(&self, key: &Key) -> Option<&Pending> {
        self.gathered()?.get(key)
    }

    /// On how many keys anything is gathered.
    pub(super) fn sums(&self) -> usize {
        self.gathered().map_or(0, OrderedMap::len)
    }

    /// Ends the sums before operations that tell what they saw. Returns whether these are to be prepared again, since the
    /// view shows the same under other numbers now.
    pub(super) fn end_sums_before(&mut self, operations: &[Operation]) -> bool {
        if self.gathered().is_none() {
            return false;
        }
        let mut is_anew = false;
        for operation in operations.iter().filter(|operation| !is_blind(operation)) {
            self.end_sum(&operation.key);
            if self.pending.view(&operation.key).is_some() {
                self.rebuild(&operation.key);
                is_anew = true;
            }
        }
        is_anew
    }

    /// Queues all that was gathered.
    pub(super) fn end_all_sums(&mut self) {
        let known = self.known();
        let Some(gathered) = self.gathered_mut() else { return };
        std::mem::take(gathered).into_values().for_each(|sum| self.queue_sum(sum, known));
    }

    /// Asks for a new session while the old one still settles what it must, if that is nothing: a ticket that ends under way
    /// takes with it all that one exchange carries. A shell dials again before half of a ticket is left.
    pub(super) fn end_session_early(&mut self, now: TimestampMs) {
        let left_ms = self.session_until.since_ms(now.plus_ms(self.offset_ms));
        let is_open = |pending: &Pending| pending.sent.is_some() && !pending.is_settled();
        if self.gathered().is_some() && left_ms <= TICKET_ISOLATE_MS / 2 && !self.pending.iter().any(is_open) {
            self.session = None;
        }
    }

    fn end_sum(&mut self, key: &Key) {
        let known = self.known();
        let sum = self.gathered_mut().and_then(|gathered| gathered.remove(key));
        sum.into_iter().for_each(|sum| self.queue_sum(sum, known));
    }

    fn queue_sum(&mut self, mut sum: Pending, known: Option<(SessionId, Seq)>) {
        sum.known = known;
        // The queue stands in the order of these.
        sum.first_local = self.take_local(sum.view.effects.len());
        self.pending.push(Box::new(sum));
    }
}

impl Pending {
    /// Adds what another operation on the same key adds, if this one adds to all of the same.
    fn add(&mut self, operation: &Operation) -> bool {
        let mut sums: Few<(usize, Effect), 2> = Few::new();
        for effect in &operation.effects {
            let own = self.view.effects.iter().enumerate();
            let Some(sum) = own.into_iter().find_map(|(at, own)| Some((at, added(own, effect)?))) else { return false };
            if sums.iter().any(|(at, _)| *at == sum.0) {
                return false;
            }
            sums.push(sum);
        }
        self.raise(operation.at, sums);
        true
    }
}

/// Whether it says nothing of what was seen.
fn is_blind(operation: &Operation) -> bool {
    operation.effects.iter().all(|effect| matches!(effect, Effect::Add { .. } | Effect::Spend { .. }))
}

/// What adds as much as both, if they add to the same. Floats are not summed up: their order shows in the last bit.
fn added(one: &Effect, other: &Effect) -> Option<Effect> {
    match (one, other) {
        (
            Effect::Add { element, by: Increment::Int(one) },
            Effect::Add { element: same, by: Increment::Int(other) },
        ) if element == same => {
            let by = Increment::Int(one.checked_add(*other)?);
            Some(Effect::Add { element: element.clone(), by })
        }
        (
            Effect::Spend { element, amount: one, until },
            Effect::Spend { element: same, amount: other, until: later },
        ) if element == same => {
            let amount = one.checked_add(*other)?;
            Some(Effect::Spend { element: element.clone(), amount, until: *until.max(later) })
        }
        _ => None,
    }
}
