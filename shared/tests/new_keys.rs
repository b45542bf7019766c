//! Keys that are new to the store: a commit finds out by itself that nothing stands there, and what does stand there is not
//! lost by that.

use crate::common::{MINUTE, SECOND, World, key};
use bytes::Bytes;
use headwater::{
    hub::{Connection, Hub, HubEffect, HubInput, Request},
    id::TimestampMs,
    message::{HubToOrigin, OriginToHub},
};

const A: usize = 0;
const B: usize = 1;

/// Two hubs, one of which has written so many new keys that the origin expects more of them.
fn world() -> World {
    let mut world = World::new(2);
    for at in 0..20 {
        world.run(A, &format!("HSET before{at} f v"));
        world.settle();
    }
    world.advance(2 * SECOND);
    world
}

#[test]
fn new_keys_are_committed_without_a_look_at_what_is_not_there() {
    let mut world = world();
    let before = world.reads;
    for at in 0..20 {
        world.run(A, &format!("HSET new{at} f v"));
        world.run(A, &format!("INCRBY count{at} 3"));
    }
    world.settle();
    assert_eq!(world.reads, before, "nothing was read");
    assert_eq!(world.agreed("HGET new7 f"), "$v");
    assert_eq!(world.agreed("GET count7"), "$3");
}

#[test]
fn whoever_began_a_key_holds_it() {
    let mut world = world();
    world.run(A, "HSET new f v");
    world.settle();
    world.run(B, "HSET new g w");
    world.settle();
    world.plain("HSET new h x");
    world.advance(2 * SECOND);
    let before = world.reads;
    assert_eq!(world.run(A, "HMGET new f g h"), world.run(B, "HMGET new f g h"));
    assert_eq!(world.reads, before, "neither had to ask");
    assert_eq!(world.agreed("HLEN new"), ":3");
}

#[test]
fn what_plain_clients_began_is_not_overwritten() {
    let mut world = world();
    for (plain, line, ask, answer) in [
        ("HSET {k}a other x", "HSET {k}a f v", "HLEN {k}a", ":2"),
        ("INCRBY {k}b 41", "INCR {k}b", "GET {k}b", "$42"),
        ("SADD {k}c x", "SADD {k}c y", "SCARD {k}c", ":2"),
    ] {
        world.plain_unheard(plain);
        world.run(A, line);
        world.settle();
        assert_eq!(world.agreed(ask), answer, "{plain}");
    }
}

#[test]
fn a_key_that_ended_before_its_commit_is_looked_at() {
    let mut world = world();
    world.plain_unheard("SADD l x");
    world.begin(A, &["SET k v PX 5"]);
    world.begin(A, &["SET l v PX 5"]);
    world.skip(50);
    let before = world.reads;
    world.settle();
    // Nothing is written, so the commits do not look whether anything stands there.
    assert!(world.reads > before);
    assert_eq!(world.run(A, "EXISTS k"), ":0");
    assert_eq!(world.run(B, "SCARD l"), ":1");
}

#[test]
fn what_plain_clients_write_beside_the_first_commit_is_found() {
    let mut world = world();
    world.run(A, "HSET k f v");
    // The server's word of it may come before the commit's answer.
    world.plain("HSET k other x");
    world.advance(2 * SECOND);
    assert_eq!(world.agreed("HLEN k"), ":2");
}

#[test]
fn a_key_with_a_companion_is_read_after_the_refusal() {
    let mut world = world();
    world.run(A, "HSET k f v");
    world.advance(MINUTE);
    // A machine that knows nothing learns that keys are new, and meets one that is not.
    world.restart_origin(1);
    world.settle();
    for at in 0..20 {
        world.run(A, &format!("HSET anew{at} f v"));
        world.settle();
    }
    world.run(B, "HSET k g w");
    world.settle();
    assert_eq!(world.agreed("HLEN k"), ":2");
    assert_eq!(world.state(B, "k").elements().len(), 2);
}

#[test]
fn both_that_begin_a_key_at_once_see_each_other() {
    let mut world = world();
    let lines = [(A, "HSET k f v"), (B, "HSET k g w")];
    for (hub, line) in lines {
        world.begin(hub, &[line]);
    }
    world.advance(SECOND);
    assert_eq!(world.agreed("HLEN k"), ":2");
}

#[test]
fn a_key_that_is_written_to_again_is_read_once() {
    let mut world = world();
    world.run(A, "HSET k f 1");
    world.settle();
    world.advance(MINUTE);
    let before = world.reads;
    for value in 2..20 {
        world.run(A, &format!("HSET k f {value}"));
        world.settle();
    }
    assert!(world.reads <= before + 2, "it was read {} times", world.reads - before);
    assert_eq!(world.agreed("HGETALL k"), "[$f $19]");
}

#[test]
fn what_others_do_to_a_begun_key_reaches_whoever_began_it() {
    let mut world = world();
    for at in 0..20 {
        world.run(A, &format!("HSET k{at} f v"));
        world.settle();
        // At once, and again much later.
        world.run(B, &format!("HSET k{at} g w"));
        world.settle();
        world.run(B, &format!("HDEL k{at} f"));
        world.settle();
        world.plain(&format!("HSET k{at} h x"));
        world.advance(2 * SECOND);
        assert_eq!(world.agreed(&format!("HLEN k{at}")), ":2");
        assert_eq!(world.state(A, &format!("k{at}")), world.state(B, &format!("k{at}")));
    }
}

#[test]
fn what_two_began_together_is_told_to_both() {
    // In one commit, for what the first tells waits for a look at the slot; and one after the other where none is taken.
    for (keys, is_one_commit) in [(1, true), (20, false)] {
        let mut world = world();
        for at in 0..keys {
            let name = format!("k{at}");
            world.begin(A, &[&format!("HSET {name} f v")]);
            world.begin(B, &[&format!("HSET {name} g w")]);
            world.settle();
            assert_eq!(world.agreed(&format!("HGETALL {name}")), "[$f $v $g $w]");
            if is_one_commit {
                assert_eq!(world.state(A, &name), world.state(B, &name));
            }
        }
    }
}

mod asking {
    use super::*;

    const NOW: TimestampMs = TimestampMs(1_700_000_000_000);
    const DAEMON: Connection = Connection(1);

    /// A hub whose daemon has given no credit yet.
    fn hub() -> Hub {
        let (mut hub, _) = Hub::create("eu/0".to_owned(), 1 << 32, NOW);
        said(&mut hub, HubInput::Origin(DAEMON, OriginToHub::Welcome { now: NOW, capabilities: Default::default() }));
        hub
    }

    /// How many keys the hub asks for, and how many it tells of.
    fn said(hub: &mut Hub, input: HubInput) -> (usize, usize) {
        let (mut asked, mut told) = (0, 0);
        for effect in hub.handle(input, NOW) {
            match effect {
                HubEffect::ToOrigin(_, HubToOrigin::Subscribe(keys)) => asked += keys.len(),
                HubEffect::ToOrigin(_, HubToOrigin::Delta(parts)) => {
                    told += parts.iter().map(|part| part.keys.len()).sum::<usize>();
                }
                _ => {}
            }
        }
        (asked, told)
    }

    fn run(hub: &mut Hub, lines: &[&str]) -> (usize, usize) {
        let words = |line: &&str| line.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
        let commands = lines.iter().map(words).collect();
        said(hub, HubInput::Commands { request: Request(1), commands, idempotency: None })
    }

    fn credit(hub: &mut Hub) -> (usize, usize) {
        said(hub, HubInput::Origin(DAEMON, OriginToHub::Credit(1)))
    }

    #[test]
    fn a_key_that_was_written_is_asked_for_by_what_was_written() {
        let mut hub = hub();
        assert_eq!(run(&mut hub, &["HSET k f v"]), (0, 0));
        assert_eq!(run(&mut hub, &["HSET k g v"]), (0, 0));
        assert_eq!(credit(&mut hub), (0, 1));
        assert_eq!(run(&mut hub, &["HGETALL k"]), (0, 0), "the origin has heard of it");
    }

    #[test]
    fn a_read_does_not_wait_until_the_change_is_sent() {
        let mut hub = hub();
        assert_eq!(run(&mut hub, &["HSET k f v"]), (0, 0));
        assert_eq!(run(&mut hub, &["HGETALL k"]), (1, 0));
        assert_eq!(run(&mut hub, &["HGETALL k"]), (0, 0), "once");
        assert_eq!(credit(&mut hub), (0, 1));
    }

    #[test]
    fn a_daemon_that_takes_over_is_asked_for_all() {
        let mut hub = hub();
        run(&mut hub, &["HSET k f v"]);
        let welcome = OriginToHub::Welcome { now: NOW, capabilities: Default::default() };
        assert_eq!(said(&mut hub, HubInput::Origin(Connection(2), welcome)), (1, 0));
    }

    #[test]
    fn the_origin_sends_whole_what_it_first_hears_of_by_a_change() {
        let mut world = World::new(1);
        world.run(A, "HSET k f v");
        world.settle();
        assert!(!world.pipeline(A, &["HGETALL k"], None).provisional);
        assert!(world.hub(A).key(&key("k")).is_some());
    }
}
