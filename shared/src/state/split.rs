//! Whole keys that are too large for one frame: cut into pieces that are joined one after the other.
//!
//! The pieces divide the context, not the names: each lists the bases whose dots lie in one range, in the order of dots, and
//! speaks of the part of the context that lies there. So each is complete by itself (of the dots that it speaks of all that
//! live are listed), a receiver that got some of them knows a few intervals more and declares nothing dead that is still to
//! come, and pieces that are lost or come again do no harm. An element with bases in several ranges stands in several
//! pieces; its sum travels with the first.

use super::{Causal, Element, ElementId, Header, KeyDelta, Sum, element::Base};
use crate::{
    id::Dot,
    ordered::{OrderedMap, sort_by},
};

/// A dot with its replica, number and time, or a part of a sum, at most.
const DOT_BYTES: usize = 40;

/// A length, a tag and what else an element or a header takes beside what is counted.
const HEAD_BYTES: usize = 40;

impl KeyDelta {
    /// Some bytes more than the delta takes in a frame. Linear in it.
    pub fn approximate_bytes(&self) -> usize {
        let elements = self.elements.iter().map(|(id, element)| element.approximate_bytes(id));
        elements.fold(self.header.approximate_bytes(), usize::saturating_add)
    }

    /// Cuts a complete delta into pieces of some `bytes_target` bytes, each at most one base more; what they come to,
    /// joined in whatever order, is what the delta says. A delta that is not complete speaks of elements that it does not
    /// list, and stays as it is. Linearithmic.
    pub fn split(self, bytes_target: usize) -> Vec<Self> {
        if !self.complete || self.approximate_bytes() <= bytes_target {
            return vec![self];
        }
        let Self { header, elements, .. } = self;
        let mut cutter =
            Cutter { header, bytes_target, bytes: 0, after: None, open: OrderedMap::new(), pieces: Vec::new() };
        let mut bases: Vec<(Dot, usize, Base)> = Vec::new();
        let mut names = Vec::with_capacity(elements.len());
        for (at, (id, Element { base, sum })) in elements.into_iter().enumerate() {
            if !sum.is_empty() {
                cutter.make_room(None);
                cutter.add(&id, Element { base: Causal::default(), sum });
            }
            bases.extend(base.iter().map(|(dot, base)| (dot, at, base.clone())));
            names.push(id);
        }
        sort_by(&mut bases, |(dot, at, _), (other, to, _)| (dot, at).cmp(&(other, to)));
        let mut last = None;
        for (dot, at, base) in bases {
            let Some(id) = names.get(at) else { continue };
            // A dot stands in one range, in however many elements.
            if last != Some(dot) {
                cutter.make_room(last);
            }
            let mut element = Element::empty(id.kind());
            element.base.insert(dot, base);
            cutter.add(id, element);
            last = Some(dot);
        }
        cutter.finish()
    }

    /// Takes up the next piece of the same delta. Linearithmic in both.
    pub fn append(&mut self, next: Self) {
        self.header.ctx.union(&next.header.ctx);
        let mut elements: OrderedMap<ElementId, Element> = std::mem::take(&mut self.elements).into_iter().collect();
        for (id, element) in next.elements {
            match elements.get_mut(&id) {
                Some(own) => own.extend(element),
                None => {
                    elements.insert(id, element);
                }
            }
        }
        self.elements = elements.into_iter().collect();
    }
}

impl Header {
    fn approximate_bytes(&self) -> usize {
        let intervals = self.ctx.interval_count().saturating_add(self.wipe.interval_count());
        intervals.saturating_mul(DOT_BYTES).saturating_add(HEAD_BYTES)
    }
}

impl Element {
    /// Some bytes more than the element takes in a frame, under its name. Linear in its bases.
    pub fn approximate_bytes(&self, id: &ElementId) -> usize {
        let values = self.base.iter().map(|(_, base)| match base {
            Base::Bytes { value, .. } => value.len().saturating_add(DOT_BYTES),
            _ => DOT_BYTES,
        });
        let parts = match &self.sum {
            Sum::Int(num) => num.len(),
            Sum::Float(num) => num.len(),
        };
        let fixed = parts.saturating_mul(DOT_BYTES).saturating_add(id.name_bytes().len()).saturating_add(HEAD_BYTES);
        values.fold(fixed, usize::saturating_add)
    }

    /// Adds what another piece says of the element.
    fn extend(&mut self, other: Self) {
        for (dot, base) in other.base.iter() {
            self.base.insert(dot, base.clone());
        }
        if self.sum.is_empty() {
            self.sum = other.sum;
        }
    }
}

/// Fills one piece after the other.
struct Cutter {
    header: Header,
    bytes_target: usize,
    bytes: usize,
    /// The last dot of the pieces that are filled; none has ended before the first base.
    after: Option<Dot>,
    open: OrderedMap<ElementId, Element>,
    pieces: Vec<KeyDelta>,
}

impl Cutter {
    /// Ends the open piece if it is full. It speaks of the dots through `last`, or of none before the first.
    fn make_room(&mut self, last: Option<Dot>) {
        if self.bytes < self.bytes_target {
            return;
        }
        let ctx = match last {
            Some(last) => self.header.ctx.between(self.after, Some(last)),
            None => super::Ctx::new(),
        };
        self.end(ctx);
        self.after = last;
    }

    fn add(&mut self, id: &ElementId, element: Element) {
        self.bytes = self.bytes.saturating_add(element.approximate_bytes(id));
        match self.open.get_mut(id) {
            Some(open) => open.extend(element),
            None => {
                self.open.insert(id.clone(), element);
            }
        }
    }

    fn finish(mut self) -> Vec<KeyDelta> {
        let ctx = self.header.ctx.between(self.after, None);
        self.end(ctx);
        self.pieces
    }

    fn end(&mut self, mut ctx: super::Ctx) {
        ctx.union(&self.header.wipe);
        let header = Header { ctx, ..self.header.clone() };
        let elements = std::mem::take(&mut self.open).into_iter().collect();
        self.pieces.push(KeyDelta { header, complete: true, elements });
        self.bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        hlc::Hlc,
        id::{No, ReplicaId},
        state::{Increment, KeyState, Kind, Mint, NewBase, SeenCuts},
    };
    use proptest::prelude::*;

    const SMALL: usize = 300;

    /// One step of two replicas: who, of which element, and what it does.
    type Step = (bool, u8, u8);

    fn step(states: &mut [KeyState; 2], no: u64, (who, name, what): Step) {
        let (at, replica) = (usize::from(who), ReplicaId::from_bits(if who { 2 << 16 } else { 1 << 16 }));
        let mint = Mint { dot: Dot { replica, no: No(no) }, hlc: Hlc::from_bits(no << 16) };
        let member = ElementId::Member(vec![b'm', name].into());
        let field = ElementId::Field(vec![b'f', name].into());
        let state = &mut states[at];
        let write = |state: &KeyState, element: ElementId, base| {
            let (seen, cuts) = state.seen(&element);
            super::super::Effect::Write { element, base, seen, cuts }
        };
        let effect = match what {
            0..=3 => write(state, member, Some(NewBase::Member)),
            4 => write(state, member, None),
            5..=6 => write(state, field, Some(NewBase::Bytes(vec![name; 20].into()))),
            7..=8 => super::super::Effect::Add { element: field, by: Increment::Int(1) },
            9 => state.seen_whole(),
            _ => {
                let theirs = states[usize::from(!who)].to_complete_delta();
                let _ = states[at].join(&theirs);
                return;
            }
        };
        let _ = state.apply(&effect, mint);
    }

    fn two(steps: &[Step]) -> [KeyState; 2] {
        let mut states = [KeyState::default(), KeyState::default()];
        for (no, one) in (1..).zip(steps) {
            step(&mut states, no, *one);
        }
        states
    }

    fn set(members: u64) -> KeyState {
        let mut state = KeyState::default();
        for no in 1..=members {
            // In an order of names that is not that of the dots.
            let element = ElementId::Member(format!("{:08x}", no.wrapping_mul(0x9e37_79b9) & 0xffff_ffff).into());
            let effect = super::super::Effect::Write {
                element,
                base: Some(NewBase::Member),
                seen: Vec::new(),
                cuts: SeenCuts::Int(Vec::new()),
            };
            let dot = Dot { replica: ReplicaId::from_bits(1 << 16), no: No(no) };
            let _ = state.apply(&effect, Mint { dot, hlc: Hlc::from_bits(no) });
        }
        state
    }

    #[test]
    fn what_fits_stays_whole() {
        let delta = set(3).to_complete_delta();
        assert_eq!(delta.clone().split(SMALL), [delta]);
    }

    #[test]
    fn pieces_are_near_the_target() {
        let pieces = set(200).to_complete_delta().split(2_000);
        let all_but_last = &pieces[..pieces.len() - 1];
        assert!(all_but_last.iter().all(|piece| (2_000..2_400).contains(&piece.approximate_bytes())), "{pieces:?}");
    }

    #[test]
    fn a_receiver_of_some_pieces_has_one_interval_of_a_replica() {
        let mut receiver = KeyState::default();
        for piece in set(200).to_complete_delta().split(SMALL) {
            let _ = receiver.join(&piece);
            assert_eq!(receiver.ctx().interval_count(), 1);
        }
    }

    #[test]
    fn sums_are_divided_too() {
        let mut state = KeyState::default();
        for no in 1..=100_u64 {
            let element = ElementId::Ranked(format!("{no:04}").into());
            let effect = super::super::Effect::Add { element, by: Increment::Float(1.0) };
            let dot = Dot { replica: ReplicaId::from_bits(1 << 16), no: No(no) };
            let _ = state.apply(&effect, Mint { dot, hlc: Hlc::from_bits(no) });
        }
        let pieces = state.to_complete_delta().split(SMALL);
        assert!(pieces.len() > 20);
        let mut receiver = KeyState::default();
        pieces.iter().for_each(|piece| drop(receiver.join(piece)));
        assert_eq!(receiver, state);
        assert_eq!(receiver.view().count(Kind::Board), 100);
    }

    proptest! {
        #[test]
        fn pieces_come_to_what_the_delta_says(
            steps in proptest::collection::vec((any::<bool>(), 0_u8..12, 0_u8..11), 0..150), reverse in any::<bool>()
        ) {
            let [sender, receiver] = two(&steps);
            let delta = sender.to_complete_delta();
            let mut whole = receiver.clone();
            let _ = whole.join(&delta);
            let mut pieces = delta.clone().split(SMALL);
            prop_assert!(pieces.iter().all(KeyDelta::is_canonical));
            let mut assembled = pieces[0].clone();
            pieces[1..].iter().for_each(|piece| assembled.append(piece.clone()));
            prop_assert_eq!(&assembled, &delta);
            if reverse {
                pieces.reverse();
            }
            let mut by_pieces = receiver;
            for piece in &pieces {
                let _ = by_pieces.join(piece);
            }
            prop_assert_eq!(by_pieces, whole);
        }

        #[test]
        fn a_piece_declares_nothing_dead_that_another_brings(
            steps in proptest::collection::vec((any::<bool>(), 0_u8..12, 0_u8..11), 0..150), lost in any::<proptest::sample::Index>()
        ) {
            let [sender, receiver] = two(&steps);
            let delta = sender.to_complete_delta();
            let mut whole = receiver.clone();
            let _ = whole.join(&delta);
            let mut pieces = delta.clone().split(SMALL);
            pieces.remove(lost.index(pieces.len()));
            let mut by_pieces = receiver;
            for piece in &pieces {
                let _ = by_pieces.join(piece);
            }
            // All of it comes again.
            let _ = by_pieces.join(&delta);
            prop_assert_eq!(by_pieces, whole);
        }
    }
}
