//! Boards that a leaf watches without holding them.

use crate::common::{MINUTE, SECOND, START, World, key};
use headwater::{
    grant::{Grant, Grants, Verb},
    hub::{Connection, Hub, HubEffect, HubInput},
    id::ClientId,
    limits::{STANDINGS_BOARDS_MAX, STANDINGS_MS},
    message::{HubToLeaf, LeafToHub, Lifetime, RefusalCause},
    standings::StandingsQuery,
};

const A: usize = 0;
const B: usize = 1;

/// Two hubs that hold a board of a hundred, `m00` the highest, and a leaf at the first that watches the three highest and `m50`.
fn watched() -> (World, usize) {
    let mut world = World::new(2);
    world.hold(&["board"]);
    let entries: Vec<String> = (0..100).map(|n| format!("{} m{n:02}", 1000 - 10 * n)).collect();
    world.run(A, &format!("ZADD board {}", entries.join(" ")));
    world.advance(10 * SECOND);
    let leaf = world.leaf_at(A, &[]);
    world.watch(leaf, "board", 3, &["m50", "nobody"]);
    (world, leaf)
}

fn shown(world: &World, leaf: usize) -> (String, String) {
    world.ranking(leaf, "board").expect("the board is shown")
}

fn pair(top: &str, members: &str) -> (String, String) {
    (top.to_owned(), members.to_owned())
}

#[test]
fn the_head_and_the_members_asked_for_are_shown_with_exact_ranks() {
    let (world, leaf) = watched();
    assert_eq!(shown(&world, leaf), pair("0 m00 1000, 1 m01 990, 2 m02 980", "50 m50 500"));
    let ranking = world.leaf(leaf).ranking(&key("board")).unwrap();
    assert_eq!((ranking.size, ranking.is_held), (100, true));
    assert!(world.leaf(leaf).key(&key("board")).is_none(), "nothing of the board is held");
}

#[test]
fn what_others_do_is_shown_no_more_often_than_eyes_follow() {
    let (mut world, leaf) = watched();
    world.advance(SECOND);
    world.run(A, "ZINCRBY board 95 m10");
    world.settle();
    assert_eq!(shown(&world, leaf).0, "0 m00 1000, 1 m10 995, 2 m01 990", "the first at once");
    world.run(A, "ZINCRBY board 100 m10");
    world.settle();
    assert_eq!(shown(&world, leaf).0, "0 m00 1000, 1 m10 995, 2 m01 990");
    world.advance(STANDINGS_MS);
    assert_eq!(shown(&world, leaf).0, "0 m10 1095, 1 m00 1000, 2 m01 990");
    world.run(B, "ZADD board 2000 new");
    world.advance(5 * SECOND);
    assert_eq!(shown(&world, leaf), pair("0 new 2000, 1 m10 1095, 2 m00 1000", "51 m50 500"));
}

#[test]
fn own_operations_show_at_once_and_never_twice() {
    let (mut world, leaf) = watched();
    assert_eq!(world.run_leaf(leaf, "ZINCRBY board 5 m01"), "$5");
    assert_eq!(shown(&world, leaf).0, "0 m00 1000, 1 m01 995, 2 m02 980");
    world.settle();
    assert_eq!(shown(&world, leaf).0, "0 m00 1000, 1 m01 995, 2 m02 980");
    assert_eq!(world.leaf(leaf).status().pending, 0);
    // Offline what it did is on top of what was shown, and says how sure it is.
    world.disconnect(leaf);
    world.run_leaf(leaf, "ZINCRBY board 10 m50");
    assert_eq!(shown(&world, leaf), pair("0 m00 1000, 1 m01 995, 2 m02 980", "~50 m50 510"));
    world.run_leaf(leaf, "ZINCRBY board 600 m50");
    assert_eq!(shown(&world, leaf), pair("0 m50 1110, 1 m00 1000, 2 m01 995, 3 m02 980", "0 m50 1110"));
    world.run(A, "ZADD board 1200 m00");
    world.connect(leaf, A);
    world.settle();
    assert_eq!(shown(&world, leaf), pair("0 m00 1200, 1 m50 1110, 2 m01 995", "1 m50 1110"));
    world.advance(10 * SECOND);
    assert_eq!(world.agreed("ZSCORE board m50"), "$1110");
}

#[test]
fn what_is_refused_is_taken_off_again() {
    let (mut world, leaf) = watched();
    world.disconnect(leaf);
    world.run_leaf(leaf, "ZINCRBY board 600 m50");
    world.run(A, "DEL board");
    world.run(A, "SET board text");
    world.connect(leaf, A);
    world.settle();
    assert_eq!(world.refused(leaf).len(), 1);
    assert_eq!(shown(&world, leaf), pair("", ""));
}

#[test]
fn a_board_that_ends_by_itself_is_shown_empty() {
    let (mut world, leaf) = watched();
    world.run(A, "PEXPIRE board 5000");
    world.advance(4 * SECOND);
    assert_eq!(shown(&world, leaf).1, "50 m50 500");
    world.advance(2 * SECOND);
    assert_eq!(shown(&world, leaf), pair("", ""));
    world.advance(10 * MINUTE);
    world.run(B, "ZADD board 1 again");
    world.advance(MINUTE);
    assert_eq!(shown(&world, leaf).0, "0 again 1");
}

#[test]
fn a_leaf_that_asks_for_other_members_is_shown_those() {
    let (mut world, leaf) = watched();
    world.watch(leaf, "board", 1, &["m99"]);
    assert_eq!(shown(&world, leaf), pair("0 m00 1000", "99 m99 10"));
}

#[test]
fn a_hub_without_the_board_is_sure_of_nothing() {
    let mut world = World::new(1);
    world.part(A);
    world.run(A, "ZINCRBY board 5 own");
    let leaf = world.leaf_at(A, &[]);
    world.watch(leaf, "board", 3, &[]);
    assert_eq!(shown(&world, leaf).0, "~0 own 5");
    world.join(A);
    world.advance(SECOND);
    assert_eq!(shown(&world, leaf).0, "0 own 5");
}

#[test]
fn a_hub_that_was_restarted_shows_it_again() {
    let (mut world, leaf) = watched();
    world.restart_hub(A);
    world.advance(SECOND);
    world.run(A, "ZADD board 2000 m07");
    world.advance(SECOND);
    assert_eq!(shown(&world, leaf).0, "0 m07 2000, 1 m00 1000, 2 m01 990");
}

#[test]
fn only_so_many_are_watched_and_only_where_reading_is_granted() {
    let (mut hub, _) = Hub::create("eu/0".to_owned(), 1 << 32, START);
    let grants = Grants::from(vec![Grant { verbs: vec![Verb::Read], keys: vec!["a*".into()], rate: None }]);
    let leaf = Connection(1);
    hub.handle(HubInput::Granted(leaf, grants), START);
    let (client, lifetime) = (ClientId(1), Lifetime::Tab);
    let hello = LeafToHub::Hello { client, lifetime, resume: None, capabilities: Default::default() };
    hub.handle(HubInput::Leaf(leaf, hello), START);
    let mut watch = |name: &str| {
        let message = LeafToHub::Watch(key(name), StandingsQuery { top: 1, members: Vec::new() });
        let effects = hub.handle(HubInput::Leaf(leaf, message), START);
        effects.into_iter().find_map(|effect| match effect {
            HubEffect::ToLeaf(_, HubToLeaf::Refused(refusal)) => Some(refusal.cause),
            _ => None,
        })
    };
    assert_eq!(watch("b"), Some(RefusalCause::NotPermitted));
    for at in 0..STANDINGS_BOARDS_MAX {
        assert_eq!(watch(&format!("a{at}")), None);
    }
    assert_eq!(watch("a0"), None, "again");
    assert_eq!(watch("a more"), Some(RefusalCause::Limit));
}
