//! The types of the `crdts` crate as oracle: the same random histories, the same values after every step.

use super::{Effect, ElementId, Increment, KeyState, Kind, Mint, NewBase};
use crate::{
    hlc::Hlc,
    id::{Dot, No, ReplicaId},
};
use ::crdts::{CmRDT, CvRDT, Orswot, PNCounter};
use bytes::Bytes;
use proptest::prelude::*;
use std::collections::BTreeSet;

const REPLICAS: usize = 4;

#[derive(Clone, Debug)]
enum SetStep {
    Add(usize, u8),
    Remove(usize, u8),
    /// Whole-key DEL, in the oracle the removal of every member seen.
    Wipe(usize),
    Merge(usize, usize),
}

fn set_step() -> impl Strategy<Value = SetStep> {
    let replica = || 0..REPLICAS;
    prop_oneof![
        4 => (replica(), 0_u8..5).prop_map(|(r, m)| SetStep::Add(r, m)),
        3 => (replica(), 0_u8..5).prop_map(|(r, m)| SetStep::Remove(r, m)),
        1 => replica().prop_map(SetStep::Wipe),
        4 => (replica(), replica()).prop_map(|(to, from)| SetStep::Merge(to, from)),
    ]
}

/// One of our replicas of a key.
struct Ours {
    state: KeyState,
    replica: ReplicaId,
    no: u64,
}

impl Ours {
    fn new(replica: usize) -> Self {
        Self { state: KeyState::default(), replica: ReplicaId::from_bits(replica as u64), no: 0 }
    }

    fn apply(&mut self, effect: &Effect) {
        self.no += 1;
        let dot = Dot { replica: self.replica, no: No(self.no) };
        let _ = self.state.apply(effect, Mint { dot, hlc: Hlc::from_bits(self.no) });
    }

    fn write(&mut self, member: u8, base: Option<NewBase>) {
        let element = ElementId::Member(Bytes::copy_from_slice(&[member]));
        let (seen, cuts) = self.state.seen(&element);
        self.apply(&Effect::Write { element, base, seen, cuts });
    }

    fn members(&self) -> BTreeSet<u8> {
        let present = self.state.elements_of(Kind::Set).into_iter().filter(|(_, element)| element.is_present());
        present.map(|(id, _)| id.name()[0]).collect()
    }

    fn counter(&self) -> i128 {
        let value = self.state.element(&ElementId::String).map_or(Ok(0), |element| element.integer());
        value.expect("a key that was only incremented is an integer").into()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn sets_hold_what_an_orswot_holds(steps in prop::collection::vec(set_step(), 0..60)) {
        let mut ours: Vec<Ours> = (0..REPLICAS).map(Ours::new).collect();
        let mut oracles: Vec<Orswot<u8, usize>> = vec![Orswot::new(); REPLICAS];
        for step in steps {
            let at = match step {
                SetStep::Add(at, member) => {
                    ours[at].write(member, Some(NewBase::Member));
                    // An add that has seen earlier dots of the member stands for them too.
                    let context = oracles[at].read_ctx().derive_add_ctx(at);
                    let add = oracles[at].add(member, context);
                    oracles[at].apply(add);
                    at
                }
                SetStep::Remove(at, member) => {
                    ours[at].write(member, None);
                    let context = oracles[at].contains(&member).derive_rm_ctx();
                    let remove = oracles[at].rm(member, context);
                    oracles[at].apply(remove);
                    at
                }
                SetStep::Wipe(at) => {
                    let wipe = ours[at].state.seen_whole();
                    ours[at].apply(&wipe);
                    let members: Vec<u8> = oracles[at].read().val.into_iter().collect();
                    let context = oracles[at].read().derive_rm_ctx();
                    let remove = oracles[at].rm_all(members, context);
                    oracles[at].apply(remove);
                    at
                }
                SetStep::Merge(to, from) => {
                    let theirs = ours[from].state.clone();
                    prop_assert_eq!(ours[to].state.validate_merge(&theirs), Ok(()));
                    ours[to].state.merge(theirs);
                    let theirs = oracles[from].clone();
                    oracles[to].merge(theirs);
                    to
                }
            };
            let expected: BTreeSet<u8> = oracles[at].read().val.into_iter().collect();
            prop_assert_eq!(ours[at].members(), expected);
        }
    }

    #[test]
    fn counters_count_what_a_pn_counter_counts(
        steps in prop::collection::vec((0..REPLICAS, prop_oneof![
            any::<i32>().prop_map(Ok),
            (0..REPLICAS).prop_map(Err),
        ]), 0..60),
    ) {
        let mut ours: Vec<Ours> = (0..REPLICAS).map(Ours::new).collect();
        let mut oracles: Vec<PNCounter<usize>> = vec![PNCounter::new(); REPLICAS];
        for (at, step) in steps {
            match step {
                Ok(by) => {
                    ours[at].apply(&Effect::Add { element: ElementId::String, by: Increment::Int(by.into()) });
                    let steps = by.unsigned_abs().into();
                    let add = if by < 0 { oracles[at].dec_many(at, steps) } else { oracles[at].inc_many(at, steps) };
                    oracles[at].apply(add);
                }
                Err(from) => {
                    let theirs = ours[from].state.clone();
                    ours[at].state.merge(theirs);
                    let theirs = oracles[from].clone();
                    oracles[at].merge(theirs);
                }
            }
            prop_assert_eq!(ours[at].counter().to_string(), oracles[at].read().to_string());
        }
    }
}
