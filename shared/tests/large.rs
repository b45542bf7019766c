//! Nothing is too large to travel: keys beyond a frame and beyond what one decoded frame may take.
#![cfg(not(target_arch = "wasm32"))]

use crate::common::{MINUTE, SECOND, World, key};
use headwater::{
    id::{Dot, No, ReplicaId},
    limits::{DECODED_BYTES_MAX, FRAME_BYTES_TARGET},
    message::OriginToHub,
    state::{Base, Element, ElementId, KeyDelta, KeyState, Kind},
    wire,
};

const A: usize = 0;
const B: usize = 1;

const FIELDS: usize = 40;
const VALUE_BYTES: usize = 700_000;

/// What a member takes decoded, beside its name.
const MEMBER_BYTES: usize = size_of::<(ElementId, Element)>();

/// Writes a hash of 28 MB, field by field.
fn fill(world: &mut World, hub: usize) {
    for field in 0..FIELDS {
        world.run(hub, &format!("HSET k f{field} {}", "v".repeat(VALUE_BYTES)));
    }
}

#[test]
fn a_key_larger_than_a_frame_reaches_a_hub_and_a_leaf_that_ask_for_it_late() {
    let mut world = World::new(2);
    fill(&mut world, A);
    world.advance(10 * SECOND);
    let leaf = world.leaf_at(B, &["k"]);
    assert_eq!(world.run(B, "HLEN k"), format!(":{FIELDS}"));
    assert_eq!(world.run_leaf(leaf, "HLEN k"), format!(":{FIELDS}"));
    assert_eq!(world.state(B, "k"), world.state(A, "k"));
    world.assert_agreement("k");
}

#[test]
fn a_key_larger_than_a_frame_that_the_origin_forgot_is_sent_to_it_again() {
    let mut world = World::new(2);
    world.hold(&["k"]);
    fill(&mut world, A);
    world.run(A, "PEXPIRE k 60000");
    world.advance(2 * SECOND);
    world.part(A);
    world.advance(30 * SECOND);
    world.run(A, "PEXPIRE k 600000");
    // The origin's companion is long gone when it hears of the touch.
    world.advance(5 * MINUTE);
    world.join(A);
    assert_eq!(world.agreed("HLEN k"), format!(":{FIELDS}"));
    world.run(A, "HDEL k f0");
    world.run(A, "HSET k late 1");
    assert_eq!(world.agreed("HLEN k"), format!(":{FIELDS}"));
    assert_eq!(world.agreed("HGET k late"), "$1");
}

#[test]
fn changes_larger_than_a_frame_reach_a_hub_that_was_away() {
    let mut world = World::new(2);
    world.hold(&["k"]);
    world.run(A, "HSET k gone 1");
    world.advance(10 * SECOND);
    let leaf = world.leaf_at(B, &["k"]);
    world.part(B);
    world.run(B, "HSET k own 1");
    fill(&mut world, A);
    world.run(A, "HDEL k gone");
    world.advance(10 * SECOND);
    world.join(B);
    assert_eq!(world.agreed("HLEN k"), format!(":{}", FIELDS + 1));
    assert_eq!(world.run_leaf(leaf, "HEXISTS k gone"), ":0");
}

#[test]
fn a_key_of_more_elements_than_one_decoded_frame_may_take_travels_in_pieces() {
    let (replica, members) = (ReplicaId::from_bits(1 << 16), (DECODED_BYTES_MAX / MEMBER_BYTES) as u64 + 1);
    let mut delta = KeyDelta { complete: true, ..KeyDelta::default() };
    delta.header.ctx.insert_interval(replica, No(0), No(members));
    for no in 1..=members {
        let mut member = Element::empty(Kind::Set);
        member.base.insert(Dot { replica, no: No(no) }, Base::Member);
        delta.elements.push((ElementId::Member(no.to_be_bytes().to_vec().into()), member));
    }
    let whole = |keys| OriginToHub::Whole { slot: key("k").slot(), at: Default::default(), more: false, keys };
    let frame = wire::encode(&whole(vec![(key("k"), delta.clone())])).expect("it fits a frame");
    assert!(wire::decode::<OriginToHub>(&frame).is_err(), "the test has a key above the bound");
    let mut received = KeyState::default();
    for piece in delta.clone().split(FRAME_BYTES_TARGET) {
        let frame = wire::encode(&whole(vec![(key("k"), piece)])).expect("a piece fits a frame");
        let Ok(OriginToHub::Whole { keys, .. }) = wire::decode(&frame) else { panic!("a piece is below the bound") };
        keys.iter().for_each(|(_, piece)| drop(received.join(piece)));
    }
    assert!(received.to_complete_delta() == delta);
}

#[test]
fn more_keys_of_one_slot_than_one_message_lists_are_held_and_kept_up_to_date() {
    let mut world = World::new(2);
    let names: Vec<String> = (0..5_000).map(|n| format!("{{t}}{n}")).collect();
    let all: Vec<&str> = names.iter().map(String::as_str).collect();
    for chunk in all.chunks(1_000) {
        world.run(A, &format!("EXISTS {}", chunk.join(" ")));
        world.run(B, &format!("EXISTS {}", chunk.join(" ")));
    }
    world.settle();
    world.part(B);
    for name in &names {
        world.run(A, &format!("INCR {name}"));
    }
    world.advance(10 * SECOND);
    // The marker is of another history: what the hub knows of it is void.
    world.restart_origin(2);
    world.join(B);
    world.advance(10 * SECOND);
    for name in &names {
        assert_eq!(world.run(B, &format!("GET {name}")), "$1", "{name}");
    }
}

#[test]
fn a_leaf_refuses_an_operation_that_no_frame_can_carry_when_it_is_made() {
    let mut world = World::new(1);
    let leaf = world.leaf_at(A, &["k"]);
    let fields = |count: usize| {
        let fields: Vec<String> = (0..count).map(|field| format!("f{field} {}", "v".repeat(VALUE_BYTES))).collect();
        format!("HSET k {}", fields.join(" "))
    };
    let refused = world.run_leaf(leaf, &fields(9));
    assert!(refused.contains("more than 6291456 bytes at once"), "{refused}");
    assert_eq!(world.run_leaf(leaf, &fields(8)), ":8");
    assert_eq!(world.agreed("HLEN k"), ":8");
}
