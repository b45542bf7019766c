//! A field that many wrote without having seen each other keeps every value, and takes one more without being unpacked. What
//! it holds is what it would hold if each value were put among the others by itself.

use headwater::{
    hlc::Hlc,
    id::{Dot, No, ReplicaId, TimestampMs},
    state::{Base, Effect, Element, ElementId, KeyState, Kind, Mint, NewBase, SeenCuts},
};
use proptest::prelude::*;

const START: TimestampMs = TimestampMs(1_700_000_000_000);

#[derive(Clone, Debug)]
enum Step {
    /// A replica writes a value of so many bytes, and has seen none.
    Write(u64, usize),
    /// A value is removed, by its place.
    Remove(usize),
    /// A replica spends.
    Spend(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        // Mostly one replica, as at a hub; some values stand outside of the element's block.
        40 => (0_usize..20).prop_map(|bytes| Step::Write(2, bytes)),
        2 => (1_u64..4, 250_usize..260).prop_map(|(replica, bytes)| Step::Write(replica, bytes)),
        4 => (1_u64..4, 0_usize..20).prop_map(|(replica, bytes)| Step::Write(replica, bytes)),
        3 => any::<usize>().prop_map(Step::Remove),
        1 => (1_u64..4).prop_map(Step::Spend),
    ]
}

fn check(steps: &[Step]) {
    let id = ElementId::Field("f".into());
    let mut state = KeyState::default();
    let mut expected = Element::empty(Kind::Hash);
    for (at, step) in steps.iter().enumerate() {
        let mint = |replica: u64| Mint {
            dot: Dot { replica: ReplicaId::from_bits(replica << 20), no: No(at as u64 + 1) },
            // Every third has a counter beside its time.
            hlc: Hlc::from_bits((START.plus_ms(at as i64 * 7).0 as u64) << 16 | u64::from(at % 3 == 0)),
        };
        let write = |base, seen| Effect::Write { element: id.clone(), base, seen, cuts: SeenCuts::Int(vec![]) };
        match step {
            Step::Write(replica, bytes) => {
                let (mint, value) = (mint(*replica), bytes::Bytes::from(vec![b'x'; *bytes]));
                let _ = state.apply(&write(Some(NewBase::Bytes(value.clone())), vec![]), mint);
                expected.base.insert(mint.dot, Base::Bytes { hlc: mint.hlc, value });
            }
            Step::Remove(place) => {
                let dots: Vec<Dot> = expected.base.dots().collect();
                let Some(dot) = dots.get(place % dots.len().max(1)).copied() else { continue };
                let _ = state.apply(&write(None, vec![dot]), mint(2));
                expected.base.remove_if(|other| other == dot);
            }
            Step::Spend(replica) => {
                let (mint, until) = (mint(*replica), START.plus_ms(1_000));
                let _ = state.apply(&Effect::Spend { element: id.clone(), amount: 1, until }, mint);
                expected.spend(mint.dot, 1, until);
            }
        }
        assert_eq!(state.element(&id), (!expected.is_empty()).then(|| expected.clone()), "after step {at}");
        assert_eq!(state.view().count(Kind::Hash), usize::from(expected.is_present()), "after step {at}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_field_holds_what_was_put_into_it(steps in prop::collection::vec(step(), 0..60)) {
        check(&steps);
    }
}

#[test]
fn a_count_that_takes_another_byte_is_written_anew() {
    check(&vec![Step::Write(2, 3); 200]);
}

#[test]
fn a_field_that_thousands_wrote_grows_out_of_every_class_of_blocks() {
    let id = ElementId::Field("f".into());
    let mut state = KeyState::default();
    for no in 1..=2_000 {
        let mint = Mint { dot: Dot { replica: ReplicaId::from_bits(1 << 20), no: No(no) }, hlc: Hlc::at(START) };
        let base = Some(NewBase::Bytes(no.to_string().into()));
        let effect = Effect::Write { element: id.clone(), base, seen: vec![], cuts: SeenCuts::Int(vec![]) };
        let _ = state.apply(&effect, mint);
    }
    let element = state.element(&id).expect("it was written");
    let values: Vec<_> = element
        .base
        .iter()
        .map(|(dot, base)| match base {
            Base::Bytes { value, .. } => (dot.no.0, std::str::from_utf8(value).unwrap().parse::<u64>().unwrap()),
            _ => panic!("only bytes were written"),
        })
        .collect();
    assert_eq!(values, (1..=2_000).map(|no| (no, no)).collect::<Vec<_>>());
    assert_eq!(state.view().count(Kind::Hash), 1);
}
