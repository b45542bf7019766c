//! Strict limits from hubs over the origin to its store and back: what is admitted anywhere stays within the limit.

use crate::common::{SECOND, START, World, key, text::argv};
use headwater::{
    command::{CommandError, Reply},
    hub::{Connection, Hub, HubEffect, HubInput, Request},
    limit::GRANT_LEASE_MS,
    message::{HubToOrigin, OriginToHub, RightsAnswer, RightsRequest},
    store::StoredLedger,
};

const AWAY: &str =
    "-ERR Headwater: this edge has no rights left under the strict limit, and the origin is away or grants none yet";

/// How long an origin is silent that knows no account: the loss window, a lease and the window, and some more for clocks.
fn silence_ms(window_ms: i64) -> i64 {
    70 * SECOND + GRANT_LEASE_MS as i64 + window_ms + window_ms / 50
}

/// Hubs whose origin has lived for long enough to grant.
fn world(hubs: usize, window_ms: i64) -> World {
    let mut world = World::new(hubs);
    world.settle();
    world.advance(silence_ms(window_ms));
    world
}

fn ask(world: &mut World, hub: usize, line: &str) -> bool {
    let answer = world.run(hub, line);
    match answer.split(' ').next() {
        Some("[:1") => true,
        Some("[:0") => false,
        _ => panic!("{line}: {answer}"),
    }
}

#[test]
fn hubs_together_admit_the_limit_and_no_more() {
    let mut world = world(3, 60 * SECOND);
    let mut admitted = 0;
    for round in 0..60 {
        for hub in 0..3 {
            admitted += usize::from(ask(&mut world, hub, "HW.LIMIT k SLIDING 100 60000 STRICT"));
        }
        world.advance(100 + round);
    }
    assert!((97..=100).contains(&admitted), "{admitted}");
}

#[test]
fn the_answer_has_no_error_bar() {
    let mut world = world(1, SECOND);
    let answer = world.run(0, "HW.LIMIT k FIXED 10 1000 STRICT COST 4");
    let now = world.now.0;
    assert_eq!(answer, format!("[:1 :6 :{} :0 :0 :0 :0]", now + 1_000));
    assert_eq!(world.run(0, "HW.LIMIT k FIXED 10 1000 STRICT COST 11").split(' ').nth(3), Some(":-1"));
    assert_eq!(world.run(0, "HW.LIMIT k FIXED 10 1000 STRICT PEEK").split(' ').nth(1), Some(":6"));
    // No key is made of it.
    assert_eq!(world.run(0, "EXISTS k"), ":0");
    assert_eq!(world.run(0, "HW.LIMIT k FIXED 10 1000 STRICT NODES 3"), "-ERR syntax error");
}

#[test]
fn a_pipeline_waits_for_what_it_needs_together() {
    let mut world = world(1, SECOND);
    let line = "HW.LIMIT k SLIDING 5 1000 STRICT COST 2";
    let answered = world.pipeline(0, &[line, "PING", line, line], None);
    let allowed: Vec<bool> =
        answered.replies.iter().map(|reply| format!("{reply:?}").contains("Array([Int(1)")).collect();
    assert_eq!(allowed, [true, false, true, false], "{:?}", answered.replies);
    assert!(!answered.provisional);
}

#[test]
fn with_the_origin_away_only_rights_are_spent() {
    let mut world = world(2, 60 * SECOND);
    for _ in 0..20 {
        assert!(ask(&mut world, 0, "HW.LIMIT k SLIDING 100 60000 STRICT"));
        world.advance(50);
    }
    world.part(0);
    let mut spent = 0;
    while world.run(0, "HW.LIMIT k SLIDING 100 60000 STRICT") != AWAY {
        spent += 1;
        assert!(spent <= 80);
    }
    assert!(spent > 0, "rights are asked for ahead");
    assert_eq!(world.hub(0).status().undecided, 1);
    // What the parted hub had counts as used until its window is over.
    let mut admitted = 20 + spent;
    for _ in 0..200 {
        admitted += usize::from(ask(&mut world, 1, "HW.LIMIT k SLIDING 100 60000 STRICT"));
        world.advance(20);
    }
    assert!((90..=100).contains(&admitted), "{admitted}");
}

#[test]
fn a_hub_that_restarts_tells_what_it_used() {
    let mut world = world(2, 60 * SECOND);
    for _ in 0..10 {
        assert!(ask(&mut world, 0, "HW.LIMIT k SLIDING 50 60000 STRICT"));
        world.advance(20);
        world.restart_hub(0);
        world.settle();
    }
    let mut admitted = 10;
    for _ in 0..60 {
        admitted += usize::from(ask(&mut world, 1, "HW.LIMIT k SLIDING 50 60000 STRICT"));
        world.advance(600);
    }
    assert_eq!(admitted, 50, "what was given back can be had again");
}

#[test]
fn rights_lapse_with_their_lease() {
    let mut world = world(1, 600 * SECOND);
    for _ in 0..20 {
        assert!(ask(&mut world, 0, "HW.LIMIT k SLIDING 1000 600000 STRICT"));
        world.advance(20);
    }
    world.part(0);
    assert_ne!(world.run(0, "HW.LIMIT k SLIDING 1000 600000 STRICT"), AWAY);
    world.advance(GRANT_LEASE_MS as i64);
    assert_eq!(world.run(0, "HW.LIMIT k SLIDING 1000 600000 STRICT"), AWAY);
}

#[test]
fn a_clock_that_goes_back_ends_all_leases() {
    let mut world = world(1, 600 * SECOND);
    for _ in 0..20 {
        assert!(ask(&mut world, 0, "HW.LIMIT k SLIDING 1000 600000 STRICT"));
        world.advance(20);
    }
    world.part(0);
    world.now = world.now.plus_ms(-1);
    assert_eq!(world.run(0, "HW.LIMIT k SLIDING 1000 600000 STRICT"), AWAY);
}

#[test]
fn a_clock_that_goes_back_ends_what_was_to_last_until_then() {
    let mut world = world(1, 10 * SECOND);
    assert!(ask(&mut world, 0, "HW.LIMIT k SLIDING 5 10000 STRICT COST 5"));
    world.advance(SECOND);
    assert!(!ask(&mut world, 0, "HW.LIMIT k SLIDING 5 10000 STRICT"));
    world.advance(12 * SECOND);
    world.now = world.now.plus_ms(-3_600 * SECOND);
    assert!(ask(&mut world, 0, "HW.LIMIT k SLIDING 5 10000 STRICT"), "the origin is asked again");
}

#[test]
fn a_change_of_the_amount_takes_one_round_trip() {
    let mut world = world(1, 60 * SECOND);
    assert!(ask(&mut world, 0, "HW.LIMIT k SLIDING 100 60000 STRICT COST 90"));
    assert!(ask(&mut world, 0, "HW.LIMIT k SLIDING 200 60000 STRICT COST 20"), "more may be had at once");
    assert!(!ask(&mut world, 0, "HW.LIMIT k SLIDING 100 60000 STRICT"), "what was used under the other counts");
    world.advance(SECOND);
    assert!(ask(&mut world, 0, "HW.LIMIT k SLIDING 200 60000 STRICT COST 90"));
    assert!(!ask(&mut world, 0, "HW.LIMIT k SLIDING 200 60000 STRICT"));
}

#[test]
fn an_origin_that_may_have_lost_its_accounts_is_silent_until_all_has_ended() {
    let mut world = world(1, 10 * SECOND);
    assert!(ask(&mut world, 0, "HW.LIMIT k SLIDING 5 10000 STRICT COST 5"));
    // Another server, which has what was written some time before.
    world.store.ledgers.clear();
    world.restart_origin(2);
    world.settle();
    let answer = world.run(0, "HW.LIMIT k SLIDING 5 10000 STRICT");
    assert_eq!(answer, AWAY);
    world.advance(12 * SECOND);
    assert_eq!(world.run(0, "HW.LIMIT k SLIDING 5 10000 STRICT"), AWAY);
    world.advance(silence_ms(10 * SECOND));
    assert!(ask(&mut world, 0, "HW.LIMIT k SLIDING 5 10000 STRICT COST 5"));
    // An account of the present run is trusted by a daemon that only just began.
    world.advance(2 * SECOND);
    world.restart_origin(2);
    world.settle();
    assert!(!ask(&mut world, 0, "HW.LIMIT k SLIDING 5 10000 STRICT COST 5"));
    world.advance(11 * SECOND);
    assert!(ask(&mut world, 0, "HW.LIMIT k SLIDING 5 10000 STRICT COST 5"));
}

#[test]
fn an_account_of_a_former_run_is_not_enough() {
    let mut world = world(1, 10 * SECOND);
    assert!(ask(&mut world, 0, "HW.LIMIT k SLIDING 5 10000 STRICT"));
    for stored in world.store.ledgers.values_mut() {
        stored.is_current = false;
    }
    world.restart_origin(2);
    world.settle();
    assert_eq!(world.run(0, "HW.LIMIT k SLIDING 5 10000 STRICT"), AWAY);
    assert!(!world.store.ledgers[&key("k")].is_current, "it must not seem to be of this run");
}

#[test]
fn a_doubt_about_one_of_the_windows_silences_all_who_ask_together() {
    let mut world = World::new(2);
    world.settle();
    world.advance(silence_ms(SECOND));
    let short = world.begin(0, &["HW.LIMIT k SLIDING 5 1000 STRICT"]);
    let long = world.begin(1, &["HW.LIMIT k SLIDING 5 600000 STRICT"]);
    world.settle();
    assert!(!world.store.ledgers.contains_key(&key("k")));
    assert_eq!(world.take(short), [Err(CommandError::NoRights)], "nothing was committed");
    assert_eq!(world.take(long), [Err(CommandError::NoRights)]);
}

#[test]
fn what_a_daemon_before_saw_of_the_servers_life_counts() {
    let mut world = world(1, 10 * SECOND);
    assert!(ask(&mut world, 0, "HW.LIMIT k SLIDING 5 10000 STRICT"));
    world.advance(silence_ms(10 * SECOND));
    world.restart_origin(1);
    world.settle();
    assert!(ask(&mut world, 0, "HW.LIMIT new SLIDING 5 10000 STRICT"), "nothing of another life can be open");
}

#[test]
fn a_lease_counts_from_when_the_hub_asked() {
    let (mut now, link) = (START, Connection(1));
    let (mut hub, _) = Hub::create("eu/0".to_owned(), 1 << 32, now);
    let welcome = OriginToHub::Welcome { now, capabilities: Default::default() };
    hub.handle(HubInput::Origin(link, welcome), now);
    let commands = vec![argv("HW.LIMIT k SLIDING 1000 600000 STRICT")];
    let ask = HubInput::Commands { request: Request(1), commands, idempotency: None };
    let asked = hub.handle(ask.clone(), now).into_iter().find_map(|effect| match effect {
        HubEffect::ToOrigin(_, HubToOrigin::Rights(request)) => Some(request),
        _ => None,
    });
    let RightsRequest { key, request, .. } = asked.expect("the hub asks for rights");
    // The answer takes its time.
    now = now.plus_ms(1_500);
    let answer = |request| RightsAnswer {
        key: key.clone(),
        request,
        granted: 100,
        lease_ms: GRANT_LEASE_MS,
        room: 0,
        retry_ms: 0,
        is_silent: false,
    };
    // One to another request is none.
    let replies = |effects: Vec<HubEffect>| {
        let reply = |effect| if let HubEffect::Reply { mut replies, .. } = effect { replies.pop() } else { None };
        effects.into_iter().filter_map(reply).collect::<Vec<_>>()
    };
    assert!(replies(hub.handle(HubInput::Origin(link, OriginToHub::Rights(answer(request ^ 1))), now)).is_empty());
    assert!(replies(hub.handle(HubInput::Origin(link, OriginToHub::Rights(answer(request))), now))[0].is_ok());
    hub.handle(HubInput::OriginClosed(link), now);
    now = START.plus_ms(GRANT_LEASE_MS as i64 - 1);
    assert!(replies(hub.handle(ask.clone(), now))[0].is_ok());
    assert_eq!(replies(hub.handle(ask, now.plus_ms(1))), [Err(CommandError::NoRights)]);
}

#[test]
fn a_damaged_account_grants_nothing() {
    let mut world = world(1, SECOND);
    let damaged = StoredLedger { version: 1, is_current: true, bytes: bytes::Bytes::from_static(b"\x09") };
    world.store.ledgers.insert(key("k"), damaged.clone());
    assert_eq!(world.run(0, "HW.LIMIT k SLIDING 5 1000 STRICT"), AWAY);
    assert_eq!(world.store.ledgers[&key("k")], damaged);
}

#[test]
fn a_tab_has_no_rights() {
    let mut world = world(1, SECOND);
    let leaf = world.leaf_at(0, &["k"]);
    let answer = world.run_leaf(leaf, "HW.LIMIT k FIXED 10 1000 STRICT");
    assert_eq!(answer, "-ERR Headwater: a strict limit is decided at an edge: ask one over HTTP");
}

#[test]
fn what_is_left_of_a_request_asks_for_rights_that_others_used_meanwhile() {
    let (mut hub, _) = Hub::create("eu/0".to_owned(), 1 << 32, START);
    let daemon = Connection(1);
    let welcome = OriginToHub::Welcome { now: START, capabilities: Default::default() };
    hub.handle(HubInput::Origin(daemon, welcome), START);
    let strict = "HW.LIMIT k SLIDING 100 60000 STRICT COST 10";
    let run = |hub: &mut Hub, request: u64, lines: &[&str]| {
        let (request, commands) = (Request(request), lines.iter().map(|line| argv(line)).collect());
        hub.handle(HubInput::Commands { request, commands, idempotency: None }, START)
    };
    let asked = |effects: &[HubEffect]| {
        effects.iter().find_map(|effect| match effect {
            HubEffect::ToOrigin(_, HubToOrigin::Rights(request)) if request.wanted.needed > 0 => Some(request.request),
            _ => None,
        })
    };
    let grant = |hub: &mut Hub, request: u64| {
        let answer = RightsAnswer {
            key: key("k"),
            request,
            granted: 10,
            lease_ms: GRANT_LEASE_MS,
            room: 80,
            retry_ms: 0,
            is_silent: false,
        };
        hub.handle(HubInput::Origin(daemon, OriginToHub::Rights(answer)), START)
    };
    let replies = |effects: &[HubEffect]| {
        effects.iter().find_map(|effect| match effect {
            HubEffect::Reply { replies, .. } => Some(format!("{replies:?}")),
            _ => None,
        })
    };
    let effects = run(&mut hub, 1, &["SET lock me NX", strict]);
    let effects = grant(&mut hub, asked(&effects).expect("the request asks for its rights first"));
    let call = effects.iter().find_map(|effect| match effect {
        HubEffect::ToOrigin(_, HubToOrigin::Order { call, .. }) => Some(*call),
        _ => None,
    });
    // While the origin executes the first command, another request uses the rights.
    let other = run(&mut hub, 2, &[strict]);
    assert!(replies(&other).is_some_and(|replies| replies.contains("Int(1)")), "{other:?}");
    let mut effects = hub.handle(
        HubInput::Origin(daemon, OriginToHub::Ran { call: call.expect("an order"), replies: vec![Ok(Reply::Ok)] }),
        START,
    );
    // It may have asked for more already, for what is expected.
    assert_eq!(replies(&effects), None, "it waits for rights of its own");
    effects.extend(other);
    let request = effects.iter().find_map(|effect| match effect {
        HubEffect::ToOrigin(_, HubToOrigin::Rights(request)) => Some(request.request),
        _ => None,
    });
    let effects = grant(&mut hub, request.expect("it asks for rights"));
    let answered = replies(&effects).expect("an answer");
    assert!(answered.starts_with("[Ok(Ok), Ok(Array([Int(1)"), "{answered}");
}
