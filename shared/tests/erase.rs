//! A key that an operator erases is gone everywhere, with every name in it.

use crate::common::{MINUTE, SECOND, World, key};

const A: usize = 0;
const B: usize = 1;

fn world(keys: &[&str], before: &[&str]) -> World {
    let mut world = World::new(2);
    world.hold(keys);
    for line in before {
        world.run(A, line);
    }
    world.advance(2 * SECOND);
    world
}

/// No row of any hub and no companion holds the text.
fn assert_forgotten(world: &World, name: &str, text: &[u8]) {
    let holds = |bytes: &[u8]| bytes.windows(text.len()).any(|window| window == text);
    for hub in [A, B] {
        assert!(world.hub(hub).key(&key(name)).is_none(), "hub {hub} has {name}");
        let rows = world.rows(hub);
        assert!(!rows.iter().any(|(id, body)| holds(id) || holds(body)), "a row of hub {hub} holds {text:?}");
    }
    assert!(world.store.companion(&key(name), world.now).is_none(), "{name} has a companion");
    assert!(world.store.plain_view(&key(name), world.now).is_none(), "{name} has a plain value");
}

#[test]
fn a_key_is_gone_for_readers_at_once_and_for_all_a_minute_later() {
    let mut world = world(&["user:42", "other"], &["SADD user:42 secret", "SET other v"]);
    world.erase(&["user:42"]);
    assert_eq!(world.erased, [key("user:42")]);
    assert_eq!(world.agreed("EXISTS user:42"), ":0");
    assert!(world.store.plain_view(&key("user:42"), world.now).is_none());
    world.advance(3 * MINUTE);
    assert_forgotten(&world, "user:42", b"secret");
    assert_eq!(world.agreed("GET other"), "$v");
}

#[test]
fn a_key_that_only_plain_clients_wrote_is_erased() {
    let mut world = world(&["other"], &["SET other v"]);
    world.plain_unheard("HSET user:42 name secret");
    world.erase(&["user:42"]);
    assert_eq!(world.erased, [key("user:42")]);
    world.advance(3 * MINUTE);
    assert_forgotten(&world, "user:42", b"secret");
}

#[test]
fn what_plain_clients_wrote_beside_edges_and_nobody_read_is_erased() {
    let mut world = world(&["user:42"], &["INCRBY user:42 5"]);
    world.plain_unheard("INCRBY user:42 3");
    world.erase(&["user:42"]);
    assert_eq!(world.agreed("EXISTS user:42"), ":0");
    world.advance(3 * MINUTE);
    assert_forgotten(&world, "user:42", b"secret");
}

#[test]
fn a_key_that_there_is_not_is_erased_without_a_trace() {
    let mut world = world(&["other"], &["SET other v"]);
    world.erase(&["user:42"]);
    assert_eq!(world.erased, [key("user:42")]);
    assert!(world.store.companion(&key("user:42"), world.now).is_none());
    assert!(world.store.marker(&key("user:42")).is_none());
}

#[test]
fn it_can_be_asked_for_again() {
    let mut world = world(&["user:42"], &["SADD user:42 secret"]);
    world.erase(&["user:42"]);
    world.erase(&["user:42"]);
    assert_eq!(world.erased, [key("user:42"), key("user:42")]);
    world.advance(3 * MINUTE);
    assert_forgotten(&world, "user:42", b"secret");
}

#[test]
fn what_is_written_later_begins_afresh() {
    let mut world = world(&["user:42"], &["SADD user:42 secret"]);
    world.erase(&["user:42"]);
    world.advance(SECOND);
    world.run(B, "SADD user:42 new");
    world.advance(5 * MINUTE);
    assert_eq!(world.agreed("SMEMBERS user:42"), "[$new]");
    assert_eq!(world.agreed("PTTL user:42"), ":-1");
}
