//! A hub whose storage was set back to an old copy must not go on with numbers that others have heard of.

use crate::common::{AUDIT_MS, MINUTE, SECOND, World};

const A: usize = 0;
const B: usize = 1;

fn world() -> World {
    let mut world = World::new(2);
    world.hold(&["k", "n"]);
    world.run(A, "SADD k early");
    world.run(A, "INCRBY n 2");
    world.advance(10 * SECOND);
    world
}

/// What happened after the copy was made, all of it in the store.
fn go_on(world: &mut World) {
    world.run(A, "SADD k late");
    world.run(A, "INCRBY n 3");
    world.run(A, "SREM k early");
    world.advance(10 * SECOND);
}

#[test]
fn it_takes_another_identity_and_holds_what_the_origin_has() {
    let mut world = world();
    let (before, copy) = (world.hub(A).id(), world.rows(A).clone());
    go_on(&mut world);
    world.restore_hub(A, copy);
    world.join(A);
    world.advance(10 * SECOND);
    assert_eq!(world.hub(A).id(), before.next_incarnation());
    assert_eq!(world.agreed("SMEMBERS k"), "[$late]");
    assert_eq!(world.agreed("GET n"), "$5");
    world.restart_hub(A);
    world.run(A, "SADD k after");
    world.run(A, "INCR n");
    assert_eq!(world.agreed("SMEMBERS k"), "[$after $late]");
    assert_eq!(world.agreed("GET n"), "$6");
}

#[test]
fn what_it_wrote_under_numbers_of_other_operations_is_lost_and_mars_nothing() {
    let mut world = world();
    let copy = world.rows(A).clone();
    go_on(&mut world);
    world.restore_hub(A, copy);
    for line in ["SADD k meanwhile", "INCRBY n 100", "SADD k more", "SADD k and more", "INCRBY n 1000"] {
        world.run(A, line);
    }
    world.join(A);
    world.advance(10 * SECOND);
    assert_eq!(world.agreed("SMEMBERS k"), "[$late]");
    assert_eq!(world.agreed("GET n"), "$5");
    world.advance(2 * AUDIT_MS);
    assert_eq!(world.agreed("GET n"), "$5");
}

#[test]
fn leaves_forget_what_it_showed_before_it_knew() {
    let mut world = world();
    let leaf = world.leaf_at(A, &["k", "n"]);
    let copy = world.rows(A).clone();
    go_on(&mut world);
    world.restore_hub(A, copy);
    world.connect(leaf, A);
    world.settle();
    world.run(A, "SADD k meanwhile");
    world.run_leaf(leaf, "SADD k from-leaf");
    world.settle();
    world.join(A);
    world.advance(10 * SECOND);
    world.assert_agreement("k");
    world.run_leaf(leaf, "SADD k after");
    world.settle();
    assert_eq!(world.agreed("SMEMBERS k"), "[$after $late]");
    assert_eq!(world.run_leaf(leaf, "GET n"), "$5");
}

#[test]
fn a_leaf_that_knows_more_of_its_session_than_the_copy_goes_on_in_another() {
    let mut world = world();
    let leaf = world.leaf_at(A, &["k"]);
    world.run_leaf(leaf, "SADD k first");
    world.advance(10 * SECOND);
    let copy = world.rows(A).clone();
    // The origin hears of nothing, so the hub cannot notice.
    world.part(A);
    for member in ["a", "b", "c"] {
        world.run_leaf(leaf, &format!("SADD k {member}"));
        world.settle();
    }
    world.restore_hub(A, copy);
    world.connect(leaf, A);
    world.settle();
    world.run_leaf(leaf, "SADD k last");
    world.advance(MINUTE);
    assert_eq!(world.leaf(leaf).status().pending, 0);
    world.join(A);
    world.advance(10 * SECOND);
    assert!(world.agreed("SMEMBERS k").contains("$last"));
}

#[test]
fn a_copy_that_lacks_nothing_the_origin_knows_keeps_its_identity() {
    let mut world = world();
    let (before, copy) = (world.hub(A).id(), world.rows(A).clone());
    world.part(A);
    world.run(A, "SADD k unheard");
    world.restore_hub(A, copy);
    world.run(A, "SADD k again");
    world.join(A);
    world.advance(10 * SECOND);
    assert_eq!(world.hub(A).id(), before);
    assert_eq!(world.agreed("SMEMBERS k"), "[$again $early]");
}

#[test]
fn a_restart_at_any_moment_keeps_the_identity() {
    let mut world = world();
    let before = world.hub(A).id();
    for round in 0..20 {
        world.run(A, &format!("SADD k m{round}"));
        world.run(B, &format!("SREM k m{}", round / 2));
        world.restart_hub(A);
        world.advance(round * 200);
        if round % 5 == 0 {
            world.restart_origin(1 + round as u64 / 10);
        }
    }
    world.advance(2 * AUDIT_MS);
    world.restart_hub(A);
    world.advance(10 * SECOND);
    assert_eq!(world.hub(A).id(), before);
    world.agreed("SMEMBERS k");
}
