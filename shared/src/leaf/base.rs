//! What a hub showed a leaf of a key: the base that it reads, and the pushes that bring it up to date.

use crate::{
    id::{Dot, Seq, SessionId, TimestampMs},
    limits::EXPIRY_GRACE_MS,
    ordered::{OrderedMap, sort_by},
    state::{ElementId, KeyDelta, KeyState, Touched},
};

/// A key as the hub showed it.
#[derive(Debug, Default)]
pub(super) struct Base {
    pub(super) state: KeyState,
    pub(super) is_held: bool,
    /// Dots from another hub, of which the present one had not heard when it showed the key whole. It lists their elements
    /// when it hears of them alive; when it hears of them dead it has nothing to list.
    pub(super) ahead: OrderedMap<ElementId, Vec<Dot>>,
}

impl Base {
    /// Joins what the hub showed.
    pub(super) fn join(&mut self, mut delta: KeyDelta) -> Touched {
        let ctx = &delta.header.ctx;
        if delta.complete {
            self.ahead.clear();
            for (id, element) in self.state.elements() {
                let unheard: Vec<Dot> = element.base.dots().filter(|dot| !ctx.contains(*dot)).collect();
                if !unheard.is_empty() {
                    self.ahead.insert(id, unheard);
                }
            }
        } else if !fault!(UnheardKept) {
            let mut dead = Vec::new();
            for (id, dots) in self.ahead.iter_mut() {
                let (heard, unheard): (Vec<Dot>, Vec<Dot>) = dots.iter().partition(|dot| ctx.contains(**dot));
                *dots = unheard;
                let is_listed = delta.elements.iter().any(|(other, _)| other == id);
                if let Some(mut element) = self.state.element(id).filter(|_| !heard.is_empty() && !is_listed) {
                    element.base.remove_if(|dot| heard.contains(&dot));
                    dead.push((id.clone(), element));
                }
            }
            self.ahead.retain(|_, dots| !dots.is_empty());
            delta.elements.extend(dead);
            sort_by(&mut delta.elements, |(a, _), (b, _)| a.cmp(b));
        }
        self.state.join(&delta)
    }
}

/// What a hub showed of a key.
#[derive(Debug)]
pub(super) struct Push {
    pub(super) delta: KeyDelta,
    pub(super) is_held: bool,
    /// Whether it is a piece of a key, of which the rest is still to come.
    pub(super) more: bool,
    pub(super) session: SessionId,
    pub(super) watermark: Seq,
}

impl Push {
    /// Takes up the push that follows on the same session, so that what waits does not outgrow the key.
    pub(super) fn follow(&mut self, next: Self) {
        if self.more {
            self.delta.append(next.delta);
            *self = Self { delta: std::mem::take(&mut self.delta), ..next };
            return;
        }
        let mut elements: OrderedMap<_, _> = if next.delta.complete {
            OrderedMap::new()
        } else {
            std::mem::take(&mut self.delta.elements).into_iter().collect()
        };
        elements.extend(next.delta.elements);
        let complete = self.delta.complete || next.delta.complete;
        *self = Self { delta: KeyDelta { complete, elements: elements.into_iter().collect(), ..next.delta }, ..next };
    }
}

/// Whether the key is the rest of one that the hub has forgotten: long expired, under a deadline that the hub does not know
/// any more.
pub(super) fn is_left_over(state: &KeyState, delta: &KeyDelta, now: TimestampMs) -> bool {
    let own = state.deadline();
    own.at().is_some_and(|at| at.plus_ms(EXPIRY_GRACE_MS) <= now) && !delta.header.deadline.covers(&own)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        hlc::Hlc,
        id::{ClientId, No, ReplicaId},
        state::{Effect, Mint, NewBase},
    };
    use bytes::Bytes;

    fn write(state: &mut KeyState, no: u64, member: &'static str, is_there: bool) -> KeyDelta {
        let element = ElementId::Member(Bytes::from_static(member.as_bytes()));
        let (seen, cuts) = state.seen(&element);
        let base = is_there.then_some(NewBase::Member);
        let effect = Effect::Write { element: element.clone(), base, seen, cuts };
        let dot = Dot { replica: ReplicaId::from_bits(1 << 16), no: No(no) };
        let _ = state.apply(&effect, Mint { dot, hlc: Hlc::from_bits(no) });
        state.to_delta(state.ctx(), [&element])
    }

    #[test]
    fn pushes_that_wait_come_to_one_that_says_the_same() {
        let mut hub = KeyState::default();
        write(&mut hub, 1, "old", true);
        let first = hub.to_complete_delta();
        let changes = [write(&mut hub, 2, "a", true), write(&mut hub, 3, "b", true), write(&mut hub, 4, "a", false)];
        let session = SessionId { hub: ReplicaId::from_bits(1 << 16), client: ClientId(1), no: 1 };
        let push = |delta| Push { delta, is_held: true, more: false, session, watermark: Seq(1) };
        let mut waiting = push(changes[0].clone());
        changes[1..].iter().for_each(|delta| waiting.follow(push(delta.clone())));
        assert_eq!(waiting.delta.elements.len(), 2);
        let mut leaf = KeyState::default();
        let _ = leaf.join(&first);
        let _ = leaf.join(&waiting.delta);
        assert_eq!(leaf, hub);
        // So do the pieces of a whole key.
        let pieces = hub.to_complete_delta().split(1);
        let count = pieces.len();
        assert!(count > 1);
        for (at, piece) in (1..).zip(pieces) {
            waiting.follow(Push { more: at < count, ..push(piece) });
        }
        assert_eq!((waiting.more, &waiting.delta), (false, &hub.to_complete_delta()));
        // A whole key says all there is to say of what came before it.
        waiting.follow(push(hub.to_complete_delta()));
        assert_eq!(waiting.delta, hub.to_complete_delta());
    }
}
