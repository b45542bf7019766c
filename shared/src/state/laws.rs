//! The lattice laws, once for every type: joins commute, associate and are idempotent, on states that replicas can reach.

use super::*;
use crate::{
    hlc::Hlc,
    id::{Dot, No, ReplicaId, Stamp, TimestampMs},
};
use bytes::Bytes;
use proptest::prelude::*;

/// Demands the laws of `join` on three states.
fn assert_lattice_laws<T: Clone + PartialEq + std::fmt::Debug>(a: &T, b: &T, c: &T, join: impl Fn(&mut T, &T)) {
    let joined = |x: &T, y: &T| {
        let mut z = x.clone();
        join(&mut z, y);
        z
    };
    assert_eq!(joined(a, b), joined(b, a), "commutes");
    assert_eq!(joined(&joined(a, b), c), joined(a, &joined(b, c)), "associates");
    assert_eq!(joined(a, a), *a, "is idempotent");
    let ab = joined(a, b);
    assert_eq!(joined(&ab, a), ab, "absorbs");
}

/// One step of a history of three replicas of one key.
#[derive(Clone, Debug)]
enum Step {
    Set(u8, u8),
    Increment(u8, i8),
    Add(u8, u8),
    Remove(u8, u8),
    Field(u8, u8),
    FieldIncrement(u8, u8),
    Score(u8, u8, u8, i8),
    ScoreIncrement(u8, u8, i8),
    Drop(u8, u8, u8),
    Wipe(u8),
    Raise(u8, u8),
    Open(u8, Option<u8>),
    Revoke(u8, i8),
    Spend(u8, u8, u8, u8),
    FieldRaise(u8, u8, u8),
    FieldOpen(u8, u8, Option<u8>),
    Merge(u8, u8),
}

fn step() -> impl Strategy<Value = Step> {
    let r = 0_u8..3;
    let e = 0_u8..3;
    let f = 0_u8..3;
    prop_oneof![
        (r.clone(), any::<u8>()).prop_map(|(r, v)| Step::Set(r, v)),
        (r.clone(), any::<i8>()).prop_map(|(r, v)| Step::Increment(r, v)),
        (r.clone(), e.clone()).prop_map(|(r, e)| Step::Add(r, e)),
        (r.clone(), e.clone()).prop_map(|(r, e)| Step::Remove(r, e)),
        (r.clone(), e.clone()).prop_map(|(r, e)| Step::Field(r, e)),
        (r.clone(), e.clone()).prop_map(|(r, e)| Step::FieldIncrement(r, e)),
        (r.clone(), e.clone(), 0_u8..3, any::<i8>()).prop_map(|(r, e, k, v)| Step::Score(r, e, k, v)),
        (r.clone(), e.clone(), any::<i8>()).prop_map(|(r, e, v)| Step::ScoreIncrement(r, e, v)),
        (r.clone(), e, 1_u8..4).prop_map(|(r, e, k)| Step::Drop(r, e, k)),
        r.clone().prop_map(Step::Wipe),
        (r.clone(), any::<u8>()).prop_map(|(r, at)| Step::Raise(r, at)),
        (r.clone(), any::<Option<u8>>()).prop_map(|(r, at)| Step::Open(r, at)),
        (r.clone(), any::<i8>()).prop_map(|(r, until)| Step::Revoke(r, until)),
        (r.clone(), f.clone(), any::<u8>(), any::<u8>()).prop_map(|(r, e, n, at)| Step::Spend(r, e, n, at)),
        (r.clone(), f.clone(), any::<u8>()).prop_map(|(r, e, at)| Step::FieldRaise(r, e, at)),
        (r.clone(), f, any::<Option<u8>>()).prop_map(|(r, e, at)| Step::FieldOpen(r, e, at)),
        (r.clone(), r).prop_map(|(a, b)| Step::Merge(a, b)),
    ]
}

/// Three replicas that ran the steps; each merges whole states only.
fn run(steps: &[Step]) -> [KeyState; 3] {
    let mut states: [KeyState; 3] = Default::default();
    let mut numbers = [0_u64; 3];
    let mut apply = |states: &mut [KeyState; 3], r: u8, effect: Effect, time: usize| {
        let r = usize::from(r);
        numbers[r] += 1;
        let dot = Dot { replica: ReplicaId::from_bits(r as u64), no: No(numbers[r]) };
        let _ = states[r].apply(&effect, Mint { dot, hlc: Hlc::from_bits(time as u64) });
    };
    for (time, step) in steps.iter().enumerate() {
        let write = |states: &[KeyState; 3], r: u8, element: ElementId, base: Option<NewBase>| {
            let (seen, cuts) = states[usize::from(r)].seen(&element);
            Effect::Write { element, base, seen, cuts }
        };
        let (r, effect) = match step {
            Step::Merge(to, from) => {
                let delta = states[usize::from(*from)].to_complete_delta();
                let _ = states[usize::from(*to)].join(&delta);
                continue;
            }
            Step::Set(r, v) => {
                let value = if v % 4 == 0 { "text".to_owned() } else { v.to_string() };
                (*r, write(&states, *r, ElementId::String, Some(NewBase::Bytes(value.into()))))
            }
            Step::Increment(r, v) => (*r, Effect::Add { element: ElementId::String, by: Increment::Int((*v).into()) }),
            Step::Add(r, e) => (*r, write(&states, *r, ElementId::Member(name(e)), Some(NewBase::Member))),
            Step::Remove(r, e) => (*r, write(&states, *r, ElementId::Member(name(e)), None)),
            Step::Field(r, e) => {
                (*r, write(&states, *r, ElementId::Field(name(e)), Some(NewBase::Bytes(Bytes::from_static(b"7")))))
            }
            Step::FieldIncrement(r, e) => {
                (*r, Effect::Add { element: ElementId::Field(name(e)), by: Increment::Int(1) })
            }
            Step::Score(r, e, k, v) => {
                let score = f64::from(*v);
                let base = [NewBase::Abs(score), NewBase::Max(score), NewBase::Min(score)][usize::from(*k)].clone();
                (*r, write(&states, *r, ElementId::Ranked(name(e)), Some(base)))
            }
            Step::ScoreIncrement(r, e, v) => {
                (*r, Effect::Add { element: ElementId::Ranked(name(e)), by: Increment::Float(f64::from(*v) / 4.0) })
            }
            Step::Drop(r, e, k) => (*r, write(&states, *r, ElementId::of(Kind::ALL[usize::from(*k)], name(e)), None)),
            Step::Wipe(r) => (*r, states[usize::from(*r)].seen_whole()),
            Step::Spend(r, e, amount, at) => {
                let (element, until) = (ElementId::Field(name(e)), TimestampMs((*at).into()));
                (*r, Effect::Spend { element, amount: (*amount).into(), until })
            }
            Step::FieldRaise(r, e, at) => (*r, touch(&states, *r, e, DeadlineChange::Raise(TimestampMs((*at).into())))),
            Step::FieldOpen(r, e, at) => {
                (*r, touch(&states, *r, e, DeadlineChange::Open(at.map(|at| TimestampMs(at.into())))))
            }
            Step::Raise(r, at) => {
                let change = DeadlineChange::Raise(TimestampMs((*at).into()));
                (*r, Effect::Deadline { change, seen: states[usize::from(*r)].deadline().epoch() })
            }
            Step::Open(r, at) => {
                let change = DeadlineChange::Open(at.map(|at| TimestampMs(at.into())));
                (*r, Effect::Deadline { change, seen: states[usize::from(*r)].deadline().epoch() })
            }
            Step::Revoke(r, until) => {
                let change = DeadlineChange::Revoke(TimestampMs((*until).into()));
                (*r, Effect::Deadline { change, seen: None })
            }
        };
        apply(&mut states, r, effect, time);
    }
    states
}

fn name(e: &u8) -> Bytes {
    Bytes::copy_from_slice(&[b'a' + e])
}

fn touch(states: &[KeyState; 3], r: u8, e: &u8, change: DeadlineChange) -> Effect {
    let element = ElementId::Field(name(e));
    let field = states[usize::from(r)].element(&element).unwrap_or_else(|| Element::empty(Kind::Hash));
    let seen = field.deadlines().map(|(dot, _)| dot).collect();
    Effect::Touch { element, change, epoch: field.deadline().epoch(), seen }
}

fn assert_counts_agree(state: &KeyState) {
    for now in [0, 5, 60, 255].map(TimestampMs) {
        let fields = state.elements_of(Kind::Hash).into_iter();
        let (ended, present): (Vec<_>, Vec<_>) =
            fields.filter(|(_, field)| field.is_present()).partition(|(_, field)| !field.is_present_at(now));
        assert_eq!(state.count_at(Kind::Hash, now), present.len());
        let mut listed = state.view().ended_fields(now);
        listed.sort();
        assert_eq!(listed, ended.into_iter().map(|(id, _)| id).collect::<Vec<_>>());
        let next = present.iter().filter_map(|(_, field)| field.deadline().at()).min();
        assert_eq!(state.view().field_end_after(now), next);
    }
    for kind in Kind::ALL {
        assert_eq!(state.count(kind), state.elements_of(kind).iter().filter(|(_, e)| e.is_present()).count());
    }
    let mut ranked: Vec<_> =
        state.elements_of(Kind::Board).into_iter().filter_map(|(id, e)| Some((e.score()?, id.name()))).collect();
    ranked.sort_by(|a, b| a.0.total_cmp(&b.0).then_with(|| a.1.cmp(&b.1)));
    assert_eq!(state.board().len() as usize, ranked.len());
    assert_eq!(state.board().range(0, u32::MAX).map(|(m, s)| (s, m)).collect::<Vec<_>>(), ranked);
    for (rank, (score, member)) in ranked.iter().enumerate() {
        assert_eq!(state.board().rank(*score, member) as usize, rank);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn key_state_of_every_type_is_a_lattice(steps in proptest::collection::vec(step(), 0..40)) {
        let [a, b, c] = run(&steps);
        assert_lattice_laws(&a, &b, &c, |x, y| { let _ = x.join(&y.to_complete_delta()); });
        for state in [&a, &b, &c] {
            assert_counts_agree(state);
            prop_assert!(state.to_complete_delta().is_canonical());
        }
    }

    #[test]
    fn deadline_is_a_lattice(
        parts in proptest::collection::vec((0_i64..6, 0_u64..3, any::<Option<u8>>(), proptest::option::of(0_i64..6)), 3)
    ) {
        let deadline = |(opened_ms, replica, at, revoked): &(i64, u64, Option<u8>, Option<i64>)| {
            let at = at.map(|at| TimestampMs(at.into()));
            let mut deadline = Deadline::default();
            if *opened_ms > 0 {
                let dot = Dot { replica: ReplicaId::from_bits(*replica), no: No(1) };
                deadline.open(Stamp { hlc: Hlc::at(TimestampMs(*opened_ms)), dot }, at);
            } else if let Some(at) = at {
                deadline.raise(None, at);
            }
            if let Some(until) = revoked {
                deadline.revoke(TimestampMs(*until));
            }
            deadline
        };
        let [a, b, c] = [&parts[0], &parts[1], &parts[2]].map(deadline);
        assert_lattice_laws(&a, &b, &c, |x, y| { x.join(y); });
        for (one, other) in [(a, b), (b, c), (c, a)] {
            let mut joined = one;
            joined.join(&other);
            prop_assert!(joined.covers(&one) && joined.covers(&other));
            // What was revoked stays so, unless something began anew at that time or later.
            let begins_anew = |until| joined.epoch().is_some_and(|epoch| epoch.hlc.time() >= until);
            prop_assert!(one.revoked().is_none_or(|until| joined.revoked() >= Some(until) || begins_anew(until)));
        }
    }

    #[test]
    fn ctx_is_a_lattice(parts in proptest::collection::vec(proptest::collection::vec((0_u64..3, 0_u64..30, 1_u64..6), 0..6), 3)) {
        let ctx = |parts: &[(u64, u64, u64)]| {
            let mut ctx = Ctx::new();
            for (replica, start, length) in parts {
                ctx.insert_interval(ReplicaId::from_bits(*replica), No(*start), No(start + length));
            }
            ctx
        };
        assert_lattice_laws(&ctx(&parts[0]), &ctx(&parts[1]), &ctx(&parts[2]), |x, y| { x.union(y); });
    }

    #[test]
    fn rights_are_a_lattice(steps in proptest::collection::vec(super::rights::tests::step(), 0..60)) {
        let [a, b, c, _] = super::rights::tests::History::of(&steps).states;
        assert_lattice_laws(&a, &b, &c, |x, y| { x.join(y); });
    }
}
