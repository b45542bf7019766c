//! What states cost on the wire and in a store, in bytes: the bounds that the format was made for.

use crate::common::{START, key};
use bytes::Bytes;
use headwater::{
    hlc::Hlc,
    id::{Dot, No, ReplicaId, TimestampMs},
    message::{HubToOrigin, OriginToHub, SlotDelta},
    state::{Effect, ElementId, Increment, KeyState, Kind, Mint, NewBase, SeenCuts},
    wire::{decode, encode, encode_element},
};

/// Yjs's state for 1549 clients that each set a number in one map (crdt-benchmarks B3.1).
const YJS_B3_1_BYTES: usize = 49_169;
const CLIENTS: u64 = 1549;

/// Names as entropy gives them, the same in each run.
fn site(n: u64) -> ReplicaId {
    ReplicaId::from_entropy((n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29))
}

fn set(element: ElementId, base: NewBase) -> Effect {
    Effect::Write { element, base: Some(base), seen: Vec::new(), cuts: SeenCuts::Int(Vec::new()) }
}

fn mint(replica: ReplicaId, no: u64, at: TimestampMs) -> Mint {
    Mint { dot: Dot { replica, no: No(no) }, hlc: Hlc::at(at) }
}

/// Every client sets a number within the same two minutes, none having seen another's.
fn clients_set(field: impl Fn(u64) -> Bytes) -> KeyState {
    let mut state = KeyState::default();
    for n in 0..CLIENTS {
        let at = START.plus_ms((n * 7919 % 120_000) as i64);
        let effect = set(ElementId::Field(field(n)), NewBase::Bytes(n.to_string().into()));
        let _ = state.apply(&effect, mint(site(n), 1, at));
    }
    state
}

fn whole(state: &KeyState) -> Vec<u8> {
    let keys = vec![(key("k"), state.to_complete_delta())];
    encode(&OriginToHub::Whole { slot: key("k").slot(), at: Default::default(), more: false, keys }).unwrap()
}

fn joined(frame: &[u8]) -> KeyState {
    let OriginToHub::Whole { keys, .. } = decode(frame).unwrap() else { panic!("the frame is a whole key") };
    let mut state = KeyState::default();
    for (_, delta) in keys {
        let _ = state.join(&delta);
    }
    state
}

#[test]
fn a_field_that_1549_replicas_set_is_smaller_than_in_yjs() {
    let state = clients_set(|_| "v".into());
    let frame = whole(&state);
    assert!(frame.len() < 35_000, "{} bytes", frame.len());
    const { assert!(35_000 < YJS_B3_1_BYTES) };
    assert_eq!(joined(&frame), state);
}

#[test]
fn a_hash_in_which_1549_replicas_set_a_field_each_is_smaller_than_in_yjs() {
    let state = clients_set(|n| format!("{n}").into());
    let frame = whole(&state);
    assert!(frame.len() < 42_000, "{} bytes", frame.len());
    assert_eq!(joined(&frame), state);
}

#[test]
fn a_hash_of_replicas_with_a_past_is_still_smaller_than_in_yjs() {
    // Numbers of six digits, as hubs have that do something else too, and times across a day.
    let mut state = KeyState::default();
    for n in 0..CLIENTS {
        let at = START.plus_ms((n * 7_919_333 % 86_400_000) as i64);
        let effect = set(ElementId::Field(format!("{n}").into()), NewBase::Bytes(n.to_string().into()));
        let _ = state.apply(&effect, mint(site(n), 100_000 + n * 77, at));
    }
    let frame = whole(&state);
    assert!(frame.len() < YJS_B3_1_BYTES, "{} bytes", frame.len());
    assert_eq!(joined(&frame), state);
}

#[test]
fn an_increment_travels_in_a_frame_of_60_bytes() {
    let mut state = KeyState::default();
    let add = Effect::Add { element: ElementId::String, by: Increment::Int(1) };
    let _ = state.apply(&add, mint(site(1), 1_000_000, START));
    let delta = state.to_delta(state.header().ctx, &[ElementId::String]);
    let keys = vec![(key("hits"), delta)];
    let part = SlotDelta { slot: key("hits").slot(), history: None, from: No(999_999), to: No(1_000_000), keys };
    let frame = encode(&HubToOrigin::Delta(vec![part])).unwrap();
    assert!(frame.len() <= 60, "{} bytes", frame.len());
}

#[test]
fn a_changed_field_travels_in_a_frame_of_70_bytes() {
    let field = ElementId::Field("name".into());
    let mut state = KeyState::default();
    let _ = state.apply(&set(field.clone(), NewBase::Bytes("value".into())), mint(site(1), 1_000_000, START));
    let delta = state.to_delta(state.header().ctx, &[field]);
    let keys = vec![(key("user:1"), delta)];
    let part = SlotDelta { slot: key("user:1").slot(), history: None, from: No(999_999), to: No(1_000_000), keys };
    let frame = encode(&HubToOrigin::Delta(vec![part])).unwrap();
    assert!(frame.len() <= 70, "{} bytes", frame.len());
}

#[test]
fn a_member_of_a_set_that_three_replicas_wrote_takes_ten_bytes() {
    let mut state = KeyState::default();
    for n in 0..1000 {
        let member = ElementId::Member(format!("member:{n:04}").into());
        let _ = state.apply(&set(member, NewBase::Member), mint(site(n % 3), 1 + n / 3, START.plus_ms(n as i64)));
    }
    let frame = whole(&state);
    assert!(frame.len() <= 10_000, "{} bytes", frame.len());
    assert_eq!(joined(&frame), state);
}

#[test]
fn a_stored_member_takes_13_bytes() {
    let mut state = KeyState::default();
    let member = ElementId::Member("m".into());
    let _ = state.apply(&set(member.clone(), NewBase::Member), mint(site(1), 100_000, START));
    let body = encode_element(Kind::Set, &state.element(&member).expect("the member was added"));
    assert!(body.len() <= 13, "{} bytes", body.len());
}
