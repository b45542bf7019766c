//! Sessions by token: what a client has seen at one hub it sees at every other, or is told that it cannot yet.

use crate::common::{MINUTE, SECOND, START, World, key, text::argv};
use headwater::{
    command::{CommandError, Reply},
    hub::{Connection, Hub, HubEffect, HubInput, Request},
    id::{No, ReplicaId},
    message::{Cursor, HubToOrigin, Mark, OriginToHub},
};

const A: usize = 0;
const B: usize = 1;
const DAEMON: Connection = Connection(1);

fn world() -> World {
    let mut world = World::new(2);
    world.hold(&["{s}k", "{s}other"]);
    world.run(A, "SET {s}k old");
    world.advance(10 * SECOND);
    world
}

fn marks(world: &World, hub: usize, name: &str) -> Vec<Mark> {
    world.hub(hub).marks([key(name)].iter())
}

fn text(world: &mut World, request: Request) -> Result<Reply, CommandError> {
    world.take(request).remove(0)
}

#[test]
fn a_write_at_one_hub_is_read_at_the_next() {
    let mut world = world();
    world.run(A, "SET {s}k new");
    let seen = marks(&world, A, "{s}k");
    let without = world.begin(B, &["GET {s}k"]);
    assert_eq!(text(&mut world, without), Ok(Reply::Bulk("old".into())), "it has not come yet");
    let read = world.begin_after(B, &seen, "GET {s}k");
    assert!(!world.is_answered(read));
    world.advance(SECOND);
    assert_eq!(text(&mut world, read), Ok(Reply::Bulk("new".into())));
}

#[test]
fn what_has_come_is_asked_for_once() {
    let mut world = world();
    world.run(A, "SET {s}k new");
    let seen = marks(&world, A, "{s}k");
    let first = world.begin_after(B, &seen, "GET {s}k");
    world.advance(SECOND);
    assert!(text(&mut world, first).is_ok());
    let again = world.begin_after(B, &seen, "GET {s}k");
    assert!(world.is_answered(again));
    // A hub has seen what it did itself.
    let own = marks(&world, B, "{s}k");
    let there = world.begin_after(B, &own, "GET {s}other");
    assert!(world.is_answered(there));
}

#[test]
fn what_does_not_come_in_time_is_an_error_and_nothing_is_executed() {
    let mut world = world();
    world.part(A);
    world.run(A, "SET {s}k unheard");
    let seen = marks(&world, A, "{s}k");
    let write = world.begin_after(B, &seen, "SET {s}other late");
    world.advance(MINUTE);
    assert_eq!(text(&mut world, write), Err(CommandError::Behind));
    world.join(A);
    world.advance(10 * SECOND);
    assert_eq!(world.agreed("GET {s}other"), "nil");
    let read = world.begin_after(B, &seen, "GET {s}k");
    world.advance(SECOND);
    assert_eq!(text(&mut world, read), Ok(Reply::Bulk("unheard".into())));
}

#[test]
fn without_the_origin_nobody_can_tell() {
    let mut world = world();
    world.run(A, "SET {s}k new");
    let seen = marks(&world, A, "{s}k");
    let waits = world.begin_after(B, &seen, "GET {s}k");
    world.part(B);
    assert_eq!(text(&mut world, waits), Err(CommandError::Behind));
    let refused = world.begin_after(B, &seen, "GET {s}k");
    assert_eq!(text(&mut world, refused), Err(CommandError::Behind));
}

#[test]
fn marks_of_other_slots_hold_nobody_up() {
    let mut world = world();
    world.part(A);
    world.run(A, "SET {s}k unheard");
    let seen = marks(&world, A, "{s}k");
    let other = world.begin_after(B, &seen, "SET elsewhere 1");
    assert!(world.is_answered(other));
}

#[test]
fn what_was_read_at_one_hub_is_not_older_at_the_next() {
    let mut world = World::new(3);
    world.hold(&["{s}k"]);
    world.run(2, "SET {s}k first");
    world.advance(10 * SECOND);
    world.deafen(B);
    world.run(2, "SET {s}k second");
    world.advance(SECOND);
    assert_eq!(world.run(A, "GET {s}k"), "$second");
    // The other hub has not heard of it, and neither hub wrote it.
    let seen = marks(&world, A, "{s}k");
    let read = world.begin_after(B, &seen, "GET {s}k");
    assert!(!world.is_answered(read));
    world.advance(MINUTE);
    assert_eq!(text(&mut world, read), Err(CommandError::Behind));
}

#[test]
fn a_key_that_the_next_hub_does_not_hold_is_fetched_once_it_has_come() {
    let mut world = World::new(2);
    world.run(A, "SADD {s}fresh x");
    let seen = marks(&world, A, "{s}fresh");
    let read = world.begin_after(B, &seen, "SCARD {s}fresh");
    world.advance(2 * SECOND);
    assert_eq!(text(&mut world, read), Ok(Reply::Int(1)));
}

#[test]
fn an_increment_that_follows_one_at_another_hub_counts_on_from_there() {
    let mut world = World::new(2);
    world.run(A, "INCRBY {s}n 5");
    let seen = marks(&world, A, "{s}n");
    let next = world.begin_after(B, &seen, "INCR {s}n");
    world.advance(2 * SECOND);
    assert_eq!(text(&mut world, next), Ok(Reply::Int(6)));
}

#[test]
fn what_another_daemon_has_still_to_hear_of_is_awaited() {
    let mut world = world();
    world.run(A, "SET {s}k new");
    let seen = marks(&world, A, "{s}k");
    world.restart_origin(1);
    let read = world.begin_after(B, &seen, "GET {s}k");
    // The daemon that began anew is greeted first; the client tries again.
    world.advance(MINUTE);
    let _ = text(&mut world, read);
    let again = world.begin_after(B, &seen, "GET {s}k");
    world.advance(SECOND);
    assert_eq!(text(&mut world, again), Ok(Reply::Bulk("new".into())));
}

#[test]
fn a_key_that_is_fetched_brings_the_slot_as_of_then() {
    let mut world = World::new(3);
    world.run(A, "EXISTS {s}held");
    world.run(B, "EXISTS {s}k");
    world.run(2, "SET {s}k first");
    world.advance(10 * SECOND);
    world.deafen(B);
    world.run(2, "SET {s}k second");
    world.advance(SECOND);
    // What this hub holds has not changed, so it was told nothing of the slot.
    assert_eq!(world.run(A, "GET {s}k"), "$second");
    let seen = marks(&world, A, "{s}k");
    let read = world.begin_after(B, &seen, "GET {s}k");
    assert!(!world.is_answered(read));
    world.advance(MINUTE);
    assert_eq!(text(&mut world, read), Err(CommandError::Behind));
}

#[test]
fn a_retry_gets_the_answer_of_what_was_executed_though_nobody_can_tell_what_was_seen() {
    let mut world = world();
    world.run(A, "INCRBY {s}n 5");
    let seen = marks(&world, A, "{s}n");
    let first = world.begin_after_as(B, &seen, "INCR {s}n", Some("once"));
    world.advance(SECOND);
    assert_eq!(text(&mut world, first), Ok(Reply::Int(6)));
    world.part(B);
    let again = world.begin_after_as(B, &seen, "INCR {s}n", Some("once"));
    assert_eq!(text(&mut world, again), Ok(Reply::Int(6)));
    // Also where it was executed while the retry waited.
    world.join(B);
    world.settle();
    world.run(A, "INCRBY {s}n 5");
    let more = marks(&world, A, "{s}n");
    let waits = world.begin_after_as(B, &more, "INCR {s}n", Some("twice"));
    let meanwhile = world.begin_as(B, &["INCR {s}n"], Some("twice"));
    assert_eq!(text(&mut world, meanwhile), Ok(Reply::Int(7)));
    world.part(B);
    assert_eq!(text(&mut world, waits), Ok(Reply::Int(7)));
}

/// A hub at which a client that was at another one asks for a set of which only this hub's own write is known. The other's
/// has arrived in the store, and the key has not come.
fn arrived_without_its_key() -> (Hub, Vec<HubEffect>) {
    let (mut hub, _) = Hub::create("eu/0".to_owned(), 1 << 32, START);
    hub.handle(HubInput::Origin(DAEMON, OriginToHub::Welcome { now: START, capabilities: Default::default() }), START);
    let commands = |line: &str| vec![argv(line)];
    let (request, idempotency) = (Request(1), None);
    hub.handle(HubInput::Commands { request, commands: commands("SADD {s}set own"), idempotency }, START);
    let mark = Mark {
        slot: key("{s}set").slot(),
        hub: ReplicaId::from_entropy(7 << 32),
        no: No(1),
        cursor: Cursor::default(),
    };
    let (marks, request, idempotency) = (vec![mark], Request(2), None);
    let input = HubInput::SessionCommands { marks, request, commands: commands("SMEMBERS {s}set"), idempotency };
    let effects = hub.handle(input, START);
    let awaited = effects.iter().find_map(|effect| match effect {
        HubEffect::ToOrigin(_, HubToOrigin::Await { call, .. }) => Some(*call),
        _ => None,
    });
    let call = awaited.expect("the hub asks for what the client saw");
    let effects = hub.handle(HubInput::Origin(DAEMON, OriginToHub::Arrived(call)), START);
    (hub, effects)
}

fn reply(effects: Vec<HubEffect>) -> Option<Vec<Result<Reply, CommandError>>> {
    effects.into_iter().find_map(|effect| match effect {
        HubEffect::Reply { request: Request(2), replies, .. } => Some(replies),
        _ => None,
    })
}

#[test]
fn what_arrived_is_not_answered_from_a_key_that_did_not_come() {
    let (mut hub, effects) = arrived_without_its_key();
    assert_eq!(reply(effects), None, "the key is fetched");
    let effects = hub.handle(HubInput::OriginClosed(DAEMON), START);
    assert_eq!(reply(effects), Some(vec![Err(CommandError::Behind)]));
    let (mut hub, _) = arrived_without_its_key();
    let effects = hub.handle(HubInput::Tick, START.plus_ms(MINUTE));
    assert_eq!(reply(effects), Some(vec![Err(CommandError::Behind)]));
}
