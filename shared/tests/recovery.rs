//! What must come through though something was forgotten, lost, damaged or ended meanwhile.

use crate::common::{DAY, MINUTE, SECOND, START, World, key, text::argv};
use bytes::Bytes;
use headwater::{
    command::CommandError,
    digest::Node,
    hub::{Connection, Hub, HubEffect, HubInput, Request, RowId},
    id::{ClientId, Dot, HashSeed, No, ReplicaId, Seq},
    message::{Cursor, Digest, HubToLeaf, HubToOrigin, LeafToHub, Lifetime, OriginToHub, SlotDelta},
    state::{Ctx, Cut, Effect, ElementId, KeyDelta, NewBase, Operation, SeenCut, SeenCuts},
    wire::Capabilities,
};

const A: usize = 0;
const B: usize = 1;
const C: usize = 2;

fn world(key: &str, before: &[&str]) -> World {
    let mut world = World::new(2);
    world.hold(&[key]);
    for line in before {
        world.run(A, line);
    }
    world.advance(2 * SECOND);
    world
}

mod expiry {
    use super::*;

    #[test]
    fn a_key_kept_alive_by_touches_outlives_the_origins_copy() {
        let mut world = world("k", &["HSET k user u", "PEXPIRE k 60000"]);
        world.part(A);
        world.advance(30 * SECOND);
        world.run(A, "PEXPIRE k 600000");
        // The origin's companion is long gone when it hears of the touch.
        world.advance(5 * MINUTE);
        world.run(A, "HINCRBY k visits 1");
        world.join(A);
        assert_eq!(world.agreed("HGET k user"), "$u");
        assert_eq!(world.agreed("HGET k visits"), "$1");
    }

    #[test]
    fn so_it_does_after_the_hub_restarted() {
        let mut world = world("k", &["HSET k user u", "PEXPIRE k 60000"]);
        world.part(A);
        world.advance(30 * SECOND);
        world.run(A, "PEXPIRE k 600000");
        world.advance(5 * MINUTE);
        world.restart_hub(A);
        world.join(A);
        assert_eq!(world.agreed("HGET k user"), "$u");
    }

    #[test]
    fn a_key_that_the_origin_shows_as_unknown_is_sent_to_it_whole() {
        let delta = world("k", &["HSET k user u", "PEXPIRE k 60000"]).state(A, "k").to_complete_delta();
        let (mut hub, _) = Hub::create("hub".to_owned(), 9 << 32, START);
        let daemon = Connection(1);
        let tell = |hub: &mut Hub, message| hub.handle(HubInput::Origin(daemon, message), START);
        let (slot, at) = (key("k").slot(), |seq| Cursor { incarnation: Some(ReplicaId::from_bits(7 << 16)), seq });
        tell(&mut hub, OriginToHub::Welcome { now: START, capabilities: Default::default() });
        let ask = |words: &[&'static str]| HubInput::Commands {
            request: Request(1),
            commands: vec![words.iter().map(|word| Bytes::from_static(word.as_bytes())).collect()],
            idempotency: None,
        };
        hub.handle(ask(&["EXISTS", "k"]), START);
        tell(&mut hub, OriginToHub::Whole { slot, at: at(1), more: false, keys: vec![(key("k"), delta)] });
        hub.handle(ask(&["PEXPIRE", "k", "600000"]), START);
        let nothing = KeyDelta { complete: true, ..KeyDelta::default() };
        tell(&mut hub, OriginToHub::Down { slot, from: at(1), to: at(2), keys: vec![(key("k"), nothing)] });
        let sent = tell(&mut hub, OriginToHub::Credit(1)).into_iter().find_map(|effect| match effect {
            HubEffect::ToOrigin(_, HubToOrigin::Delta(mut slots)) => slots.pop()?.keys.pop(),
            _ => None,
        });
        let (_, delta) = sent.expect("the touch is sent");
        assert!(delta.complete && !delta.elements.is_empty(), "{delta:?}");
    }

    #[test]
    fn a_first_key_that_changes_have_overtaken_is_asked_for_again() {
        let (mut hub, _) = Hub::create("hub".to_owned(), 9 << 32, START);
        let daemon = Connection(1);
        let tell = |hub: &mut Hub, message| hub.handle(HubInput::Origin(daemon, message), START);
        let (slot, at) = (key("k").slot(), |seq| Cursor { incarnation: Some(ReplicaId::from_bits(7 << 16)), seq });
        tell(&mut hub, OriginToHub::Welcome { now: START, capabilities: Default::default() });
        let commands = vec![["EXISTS", "k"].map(|word| Bytes::from_static(word.as_bytes())).to_vec()];
        hub.handle(HubInput::Commands { request: Request(1), commands, idempotency: None }, START);
        // The change is for a key that is not held yet, and moves the cursor all the same.
        let from = Cursor::default();
        tell(&mut hub, OriginToHub::Down { slot, from, to: at(5), keys: vec![(key("k"), KeyDelta::default())] });
        let whole = |seq| OriginToHub::Whole {
            slot,
            at: at(seq),
            more: false,
            keys: vec![(key("k"), KeyDelta { complete: true, ..KeyDelta::default() })],
        };
        let asks = |effects: &[HubEffect]| {
            let again = HubEffect::ToOrigin(daemon, HubToOrigin::Subscribe(vec![key("k")]));
            effects.contains(&again)
        };
        assert!(asks(&tell(&mut hub, whole(4))), "it lacks what the change told");
        assert!(!asks(&tell(&mut hub, whole(5))));
    }

    #[test]
    fn a_further_key_does_not_hide_that_the_first_changes_of_those_held_were_lost() {
        let (mut hub, _) = Hub::create("hub".to_owned(), 9 << 32, START);
        let daemon = Connection(1);
        let tell = |hub: &mut Hub, message| hub.handle(HubInput::Origin(daemon, message), START);
        let slot = key("{a}k").slot();
        let at = |seq| Cursor { incarnation: Some(ReplicaId::from_bits(7 << 16)), seq };
        tell(&mut hub, OriginToHub::Welcome { now: START, capabilities: Default::default() });
        for name in ["{a}k", "{a}j"] {
            let words = ["EXISTS", name].map(|word| Bytes::copy_from_slice(word.as_bytes()));
            let (request, commands) = (Request(1), vec![words.to_vec()]);
            hub.handle(HubInput::Commands { request, commands, idempotency: None }, START);
        }
        let nothing = |name: &str| vec![(key(name), KeyDelta { complete: true, ..KeyDelta::default() })];
        // Held as nothing in a slot to which nothing was ever committed.
        let at_first = Cursor::default();
        tell(&mut hub, OriginToHub::Whole { slot, at: at_first, more: false, keys: nothing("{a}k") });
        // What was committed since, to the key that is held too, is lost on the way; the next key was read after it.
        let told = tell(&mut hub, OriginToHub::Whole { slot, at: at(5), more: false, keys: nothing("{a}j") });
        let gap = HubEffect::ToOrigin(daemon, HubToOrigin::Gap(slot, at_first));
        let again = HubEffect::ToOrigin(daemon, HubToOrigin::Subscribe(vec![key("{a}j")]));
        assert!(told.contains(&gap) && told.contains(&again), "{told:?}");
        // What follows does not join up with what is known.
        let told = tell(&mut hub, OriginToHub::Down { slot, from: at(5), to: at(6), keys: Vec::new() });
        assert!(told.contains(&gap), "{told:?}");
    }

    #[test]
    fn a_write_in_a_lengthened_life_wipes_nothing() {
        let mut world = world("k", &["HSET k user u", "PEXPIRE k 60000"]);
        world.part(A);
        world.advance(30 * SECOND);
        world.run(A, "PEXPIRE k 600000");
        world.advance(40 * SECOND);
        world.run(A, "HSET k late 1");
        world.join(A);
        assert_eq!(world.agreed("HGET k user"), "$u");
        assert_eq!(world.agreed("HGET k late"), "$1");
    }

    #[test]
    fn a_leaf_sees_what_comes_back_under_an_expired_key() {
        let mut world = world("k", &["SADD k x", "PEXPIRE k 60000"]);
        let leaf = world.leaf_at(A, &["k"]);
        world.advance(5 * MINUTE);
        world.run(B, "SADD k y");
        world.settle();
        assert_eq!(world.run_leaf(leaf, "SMEMBERS k"), "[$y]");
        assert_eq!(world.agreed("SMEMBERS k"), "[$y]");
    }

    #[test]
    fn what_another_began_after_the_origin_forgot_is_not_taken_for_expired() {
        let mut world = World::new(3);
        for hub in [A, B] {
            world.run(hub, "EXISTS k");
        }
        world.run(A, "INCRBY k 5");
        world.run(A, "PEXPIRE k 1000");
        let leaf = world.leaf_at(B, &["k"]);
        // The origin has forgotten the key, the hubs have not.
        world.advance(80 * SECOND);
        assert!(world.hub(A).key(&key("k")).is_some());
        world.run(C, "INCR k");
        world.settle();
        assert_eq!(world.run_leaf(leaf, "GET k"), "$1");
        assert_eq!(world.run(A, "INCR k"), ":2");
        assert_eq!(world.agreed("GET k"), "$2");
    }
}

mod losses {
    use super::*;

    #[test]
    fn a_hub_that_restarts_before_it_made_good_a_loss_still_does() {
        let mut world = world("{k}", &[]);
        let before = world.store.clone();
        world.run(A, "SET {k} v");
        world.advance(10 * SECOND);
        // More is lost than was promised, and the hub goes down between the news and its answer.
        world.store = before;
        let slot = key("{k}").slot();
        world.tell(A, &OriginToHub::Resume(vec![(slot, No::ZERO)]));
        world.part(A);
        world.restart_hub(A);
        world.restart_origin(2);
        world.join(A);
        world.advance(10 * SECOND);
        assert_eq!(world.agreed("GET {k}"), "$v");
    }

    #[test]
    fn an_acknowledgement_from_before_a_loss_does_not_end_it() {
        fn tell(hub: &mut Hub, message: OriginToHub) -> Vec<HubEffect> {
            hub.handle(HubInput::Origin(Connection(0), message), START)
        }
        let slot = key("k").slot();
        let (mut hub, _) = Hub::create("hub".to_owned(), 1 << 32, START);
        tell(&mut hub, OriginToHub::Welcome { now: START, capabilities: Capabilities::CURRENT });
        for no in 1..=2 {
            let commands = vec![argv("INCR k")];
            hub.handle(HubInput::Commands { request: Request(no), commands, idempotency: None }, START);
            tell(&mut hub, OriginToHub::Credit(1));
            tell(&mut hub, OriginToHub::Committed(vec![(slot, No(no))]));
            if no == 1 {
                tell(&mut hub, OriginToHub::Stable(vec![(slot, No(no))]));
            }
        }
        tell(&mut hub, OriginToHub::Resume(vec![(slot, No::ZERO)]));
        // They were on their way when the slot was lost.
        tell(&mut hub, OriginToHub::Committed(vec![(slot, No(2))]));
        tell(&mut hub, OriginToHub::Stable(vec![(slot, No(2))]));
        tell(&mut hub, OriginToHub::Compared(vec![slot]));
        let effects = tell(&mut hub, OriginToHub::Credit(1));
        let sent = effects.iter().find_map(|effect| match effect {
            HubEffect::ToOrigin(_, HubToOrigin::Delta(parts)) => parts.first(),
            _ => None,
        });
        let part = sent.expect("all is sent again");
        assert_eq!((part.from, part.to), (No::ZERO, No(2)));
    }

    #[test]
    fn a_slot_that_lost_its_marker_comes_to_rest() {
        let mut world = world("{k}", &["SET {k} v"]);
        world.store = Default::default();
        world.restart_origin(2);
        world.settle();
        assert_eq!(world.run(B, "GET {k}other"), "nil");
        assert_eq!(world.run(A, "SET {k} w"), "+OK");
        assert_eq!(world.agreed("GET {k}"), "$w");
    }
}

mod origin {
    use super::*;

    #[test]
    fn a_hub_that_held_keys_of_a_slot_before_it_began_can_join_what_comes_later() {
        let mut world = World::new(2);
        world.hold(&["{t}1"]);
        world.run(A, "INCR {t}1");
        world.run(A, "EXISTS {t}2");
        world.run(B, "INCR {t}2");
        world.run(B, "INCR {t}1");
        world.advance(SECOND);
        assert_eq!(world.agreed("GET {t}1"), "$2");
        assert_eq!(world.gaps, 0);
    }

    #[test]
    fn a_damaged_companion_holds_up_only_its_slot() {
        let mut world = world("k", &["SET k 1"]);
        world.store.damage(&key("k"));
        world.restart_origin(1);
        world.settle();
        world.run(A, "INCR k");
        world.run(A, "INCR other");
        world.advance(10 * SECOND);
        assert_eq!(world.run(B, "GET other"), "$1");
        world.run(A, "INCR other");
        world.advance(10 * SECOND);
        assert_eq!(world.run(B, "GET other"), "$2");
        assert_ne!(world.hub(A).status().pending, 0);
        assert_eq!(world.foreign(), [key("k")]);
    }

    #[test]
    fn a_value_of_another_type_is_left_to_the_operator_and_the_slot_goes_on() {
        let mut world = world("{k}", &["SET {k} 5"]);
        world.plain("UNLINK {k}");
        world.plain("SADD {k} theirs");
        world.run(A, "INCR {k}");
        world.run(A, "INCR {k}other");
        world.advance(2 * SECOND);
        assert_eq!(world.foreign(), [key("{k}")]);
        assert_eq!(world.run(B, "GET {k}"), "$6");
        assert_eq!(world.agreed("GET {k}other"), "$1");
        assert_eq!(world.hub(A).status().unstable, 0);
        // The operator makes room.
        world.plain("UNLINK {k}");
        world.advance(20 * SECOND);
        world.run(A, "INCR {k}");
        assert_eq!(world.agreed("GET {k}"), "$7");
    }

    // Its hundreds of megabytes pass on WASI too, but node 20 then crashes when it takes such a memory down.
    #[cfg(not(target_family = "wasm"))]
    #[test]
    fn many_large_keys_asked_for_at_once_come_in_several_frames() {
        let mut world = World::new(2);
        let names: Vec<String> = (0..26).map(|n| format!("{{k}}{n}")).collect();
        let value = "x".repeat(1 << 20);
        for name in &names {
            world.run(A, &format!("SET {name} {value}"));
        }
        world.advance(2 * SECOND);
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let leaf = world.leaf_at(B, &names);
        for name in names {
            assert_eq!(world.run_leaf(leaf, &format!("GET {name}")).len(), value.len() + 1);
        }
    }
}

mod daemons {
    use super::*;
    use headwater::{
        origin::{Link, Origin, OriginConfig, OriginEffect, OriginInput, REQUESTS_MAX, StableBy},
        slot::Slot,
        store::{Loaded, Marker, Outcome},
    };
    use std::collections::{BTreeMap, VecDeque};

    const LINK: Link = Link(1);

    fn hub() -> ReplicaId {
        ReplicaId::from_bits(7 << 16)
    }

    fn origin() -> Origin {
        let config = OriginConfig {
            run_id: "run".into(),
            entropy: 1,
            seed: HashSeed(1, 2),
            stable_by: StableBy::Window,
            loss_window_ms: 1_000,
            window_ms: 50,
            window_ms_max: 50,
            audit_ms: 600_000,
        };
        let mut origin = Origin::new(config);
        origin.handle(OriginInput::Opened(LINK), START);
        origin
    }

    /// The hub greets, with operations in these slots that it does not know stable.
    fn greet(origin: &mut Origin, unstable: Vec<Slot>) {
        let (hub, name, capabilities) = (hub(), "hub".to_owned(), Default::default());
        say(origin, HubToOrigin::Hello { hub, name, now: START, unstable, capabilities });
    }

    fn say(origin: &mut Origin, message: HubToOrigin) -> Vec<OriginEffect> {
        origin.handle(OriginInput::Hub(LINK, message), START)
    }

    fn loaded(slot: headwater::slot::Slot, seq: u64, no: No) -> OriginInput {
        let marker = Marker {
            incarnation: ReplicaId::from_bits(9 << 16),
            run_id: "run".into(),
            seq,
            no: No::ZERO,
            previous: None,
            hubs: BTreeMap::from([(hub(), no)]),
        };
        OriginInput::Loaded(Loaded {
            slot,
            marker: Some(marker),
            keys: Vec::new(),
            changed: Vec::new(),
            plain: Vec::new(),
            evictions: 0,
        })
    }

    #[test]
    fn of_many_slots_a_bounded_number_is_read_at_once_and_each_has_its_turn() {
        let slots: Vec<Slot> = Slot::all().take(3 * REQUESTS_MAX + 7).collect();
        let loads = |effects: Vec<OriginEffect>| {
            effects.into_iter().filter_map(|effect| match effect {
                OriginEffect::Load(load) => Some(load.slot),
                _ => None,
            })
        };
        let mut origin = origin();
        let (hub, name, capabilities) = (hub(), "hub".to_owned(), Default::default());
        let hello = HubToOrigin::Hello { hub, name, now: START, unstable: slots.clone(), capabilities };
        let mut under_way: VecDeque<Slot> = loads(say(&mut origin, hello)).collect();
        let mut read = Vec::new();
        while let Some(slot) = under_way.pop_front() {
            assert!(under_way.len() < REQUESTS_MAX, "{} are read at once", under_way.len() + 1);
            read.push(slot);
            under_way.extend(loads(origin.handle(loaded(slot, 1, No::ZERO), START)));
        }
        assert_eq!(read, slots);
    }

    #[test]
    fn what_another_daemon_committed_is_called_stable_by_the_one_that_is_told_of_it_again() {
        let slot = key("k").slot();
        let mut origin = origin();
        greet(&mut origin, vec![slot]);
        origin.handle(loaded(slot, 1, No(2)), START);
        let delta = SlotDelta { slot, history: None, from: No(2), to: No(6), keys: Vec::new() };
        say(&mut origin, HubToOrigin::Delta(vec![delta]));
        // Another daemon was first.
        origin.handle(OriginInput::Committed(slot, Outcome::Stale), START);
        let effects = origin.handle(loaded(slot, 2, No(6)), START);
        assert!(
            effects.contains(&OriginEffect::ToHub(LINK, OriginToHub::Committed(vec![(slot, No(6))]))),
            "{effects:?}"
        );
        let later = (1..20).map(|tick| origin.handle(OriginInput::Tick, START.plus_ms(tick * 100)));
        let later: Vec<_> = later.collect();
        let stable = OriginEffect::ToHub(LINK, OriginToHub::Stable(vec![(slot, No(6))]));
        assert!(later.concat().contains(&stable), "{later:?}");
    }

    #[test]
    fn what_a_hub_of_another_history_is_told_of_its_numbers_becomes_stable() {
        let slot = key("k").slot();
        let mut origin = origin();
        greet(&mut origin, Vec::new());
        let cursor = Cursor { incarnation: Some(ReplicaId::from_bits(8 << 16)), seq: 3 };
        say(&mut origin, HubToOrigin::Held { slots: vec![(slot, cursor, vec![key("k")])], more: false });
        origin.handle(loaded(slot, 1, No(6)), START);
        origin.handle(loaded(slot, 1, No(6)), START);
        let OriginInput::Loaded(mut whole) = loaded(slot, 1, No(6)) else { unreachable!() };
        whole.keys.push((key("k"), None));
        let effects = origin.handle(OriginInput::Loaded(whole), START);
        let resume = OriginEffect::ToHub(LINK, OriginToHub::Resume(vec![(slot, No(6))]));
        assert!(effects.contains(&resume), "{effects:?}");
        let later: Vec<_> = (1..20).map(|tick| origin.handle(OriginInput::Tick, START.plus_ms(tick * 100))).collect();
        let stable = OriginEffect::ToHub(LINK, OriginToHub::Stable(vec![(slot, No(6))]));
        assert!(later.concat().contains(&stable), "{later:?}");
    }

    #[test]
    fn what_a_hub_sent_before_it_heard_of_another_history_does_not_count() {
        let slot = key("k").slot();
        let mut origin = origin();
        greet(&mut origin, Vec::new());
        say(&mut origin, HubToOrigin::Subscribe(vec![key("k")]));
        let OriginInput::Loaded(mut whole) = loaded(slot, 1, No(6)) else { unreachable!() };
        whole.keys.push((key("k"), None));
        origin.handle(OriginInput::Loaded(whole), START);
        // The plain value, of which this store has none.
        origin.handle(loaded(slot, 1, No(6)), START);
        let is_commit = |effect: &OriginEffect| matches!(effect, OriginEffect::Commit(_));
        let resumes = |effect: &OriginEffect| matches!(effect, OriginEffect::ToHub(_, OriginToHub::Resume(_)));
        let mut deliver = |history: u64| {
            let history = Some(ReplicaId::from_bits(history << 16));
            let part = SlotDelta { slot, history, from: No(6), to: No(9), keys: Vec::new() };
            say(&mut origin, HubToOrigin::Delta(vec![part]))
        };
        let former = deliver(8);
        assert!(former.iter().any(resumes) && !former.iter().any(is_commit), "{former:?}");
        let present = deliver(9);
        assert!(present.iter().any(is_commit), "{present:?}");
    }

    #[test]
    fn what_follows_numbers_that_the_store_lacks_is_asked_for_again_from_there() {
        let slot = key("k").slot();
        let mut origin = origin();
        greet(&mut origin, vec![slot]);
        origin.handle(loaded(slot, 1, No(6)), START);
        let is_commit = |effect: &OriginEffect| matches!(effect, OriginEffect::Commit(_));
        let resume = OriginEffect::ToHub(LINK, OriginToHub::Resume(vec![(slot, No(6))]));
        let mut deliver = |from: u64, to: u64| {
            let part = SlotDelta { slot, history: None, from: No(from), to: No(to), keys: Vec::new() };
            say(&mut origin, HubToOrigin::Delta(vec![part]))
        };
        let beyond = deliver(8, 9);
        assert!(beyond.contains(&resume) && !beyond.iter().any(is_commit), "{beyond:?}");
        let following = deliver(6, 9);
        assert!(following.iter().any(is_commit) && !following.contains(&resume), "{following:?}");
    }

    #[test]
    fn a_clock_set_forward_makes_nothing_stable() {
        let slot = key("k").slot();
        let mut origin = origin();
        greet(&mut origin, vec![slot]);
        origin.handle(loaded(slot, 1, No(2)), START);
        let effects = origin.handle(OriginInput::Tick, START.plus_ms(90_000));
        let is_stable = |effect: &OriginEffect| matches!(effect, OriginEffect::ToHub(_, OriginToHub::Stable(_)));
        assert!(!effects.iter().any(is_stable), "{effects:?}");
    }

    #[test]
    fn what_another_daemon_committed_reaches_the_hubs_of_this_one_without_a_hint() {
        let slot = key("k").slot();
        let mut origin = origin();
        greet(&mut origin, Vec::new());
        say(&mut origin, HubToOrigin::Subscribe(vec![key("k")]));
        origin.handle(loaded(slot, 1, No::ZERO), START);
        let read = |effects: &[OriginEffect]| effects.iter().any(|effect| matches!(effect, OriginEffect::Load(_)));
        let OriginInput::Loaded(mut whole) = loaded(slot, 1, No::ZERO) else { unreachable!() };
        whole.keys.push((key("k"), None));
        origin.handle(OriginInput::Loaded(whole), START);
        assert!(read(&origin.handle(OriginInput::Tick, START.plus_ms(2_000))));
        let effects = origin.handle(loaded(slot, 2, No::ZERO), START.plus_ms(2_000));
        assert!(read(&effects), "the change feed is to be read: {effects:?}");
    }

    #[test]
    fn a_key_that_ended_unseen_leaves_the_change_feed_when_a_hub_forgets_it() {
        let slot = key("k").slot();
        let mut origin = origin();
        greet(&mut origin, Vec::new());
        say(&mut origin, HubToOrigin::Unsubscribe(vec![key("k")]));
        let effects = origin.handle(loaded(slot, 4, No::ZERO), START);
        let forgets = |effect: &OriginEffect| {
            matches!(effect, OriginEffect::Commit(commit)
                if commit.keys.iter().any(|part| part.key == key("k") && part.forget && part.expected_version.is_none()))
        };
        assert!(effects.iter().any(forgets), "{effects:?}");
    }

    #[test]
    fn a_key_that_one_hub_forgets_while_it_is_read_for_another_is_not_forgotten_by_the_origin() {
        let world = world("k", &["INCR k"]);
        let slot = key("k").slot();
        let companion = world.store.companion(&key("k"), START).cloned();
        assert!(companion.is_some());
        let mut origin = origin();
        greet(&mut origin, Vec::new());
        say(&mut origin, HubToOrigin::Subscribe(vec![key("k")]));
        origin.handle(loaded(slot, 1, No::ZERO), START);
        // The companion is on its way, and not known yet.
        say(&mut origin, HubToOrigin::Unsubscribe(vec![key("k")]));
        let OriginInput::Loaded(mut whole) = loaded(slot, 1, No::ZERO) else { unreachable!() };
        whole.keys.push((key("k"), companion));
        let effects = origin.handle(OriginInput::Loaded(whole), START);
        let is_commit = |effect: &OriginEffect| matches!(effect, OriginEffect::Commit(_));
        assert!(!effects.iter().any(is_commit), "{effects:?}");
    }

    #[test]
    fn what_a_commit_under_way_changes_is_not_exchanged() {
        let world = world("k", &["SADD k x"]);
        let slot = key("k").slot();
        let stored = |seq| {
            let OriginInput::Loaded(mut whole) = loaded(slot, seq, No(6)) else { unreachable!() };
            whole.keys.push((key("k"), world.store.companion(&key("k"), START).cloned()));
            OriginInput::Loaded(whole)
        };
        let mut origin = origin();
        greet(&mut origin, Vec::new());
        say(&mut origin, HubToOrigin::Subscribe(vec![key("k")]));
        origin.handle(stored(1), START);
        origin.handle(stored(1), START);
        say(&mut origin, HubToOrigin::Lost(vec![slot]));
        let mut effects = origin.handle(stored(1), START);
        let mut state = headwater::state::KeyState::default();
        let element = ElementId::Member("y".into());
        let (seen, cuts) = state.seen(&element);
        let write = Effect::Write { element: element.clone(), base: Some(NewBase::Member), seen, cuts };
        let mint =
            headwater::state::Mint { dot: Dot { replica: hub(), no: No(7) }, hlc: headwater::hlc::Hlc::at(START) };
        let touched = state.apply(&write, mint);
        assert!(!touched.is_empty());
        let keys = vec![(key("k"), state.to_delta(state.ctx(), &[element]))];
        let part = SlotDelta { slot, history: None, from: No(6), to: No(7), keys };
        let mut sent = say(&mut origin, HubToOrigin::Delta(vec![part]));
        sent.extend(origin.handle(OriginInput::Tick, START.plus_ms(100)));
        let is_commit = |effect: &OriginEffect| matches!(effect, OriginEffect::Commit(_));
        assert!(sent.iter().any(is_commit), "{sent:?}");
        let exchanged = loop {
            let asked = effects.iter().find_map(|effect| match effect {
                OriginEffect::ToHub(_, OriginToHub::Compare { round, asks, .. }) => Some((*round, asks.clone())),
                _ => None,
            });
            let Some((round, asks)) = asked else { break effects };
            let parts =
                |split: u8| if split == 0 { Digest::Whole(77) } else { Digest::Parts(vec![0; (1 << split) - 1]) };
            let digests = asks.iter().map(|ask| parts(ask.split)).collect();
            effects = say(&mut origin, HubToOrigin::Digests { round, digests, contexts: Vec::new() });
        };
        let keys = exchanged.iter().find_map(|effect| match effect {
            OriginEffect::ToHub(_, OriginToHub::Exchange { keys, .. }) => Some(keys),
            _ => None,
        });
        // The store may refuse the commit, and other operations take the numbers in it.
        assert_eq!(keys, Some(&Vec::new()), "{exchanged:?}");
    }
}

mod hub {
    use super::*;

    #[test]
    fn rows_of_removed_elements_go_when_a_removal_of_all_follows() {
        let mut world = world("k", &[]);
        world.part(A);
        for line in ["SADD k a b", "SREM k a", "DEL k"] {
            world.run(A, line);
        }
        world.join(A);
        world.advance(10 * SECOND);
        assert_eq!(world.hub(A).status().unstable, 0);
        let rows = world.rows(A).keys().filter_map(|id| RowId::from_bytes(id));
        let left: Vec<RowId> = rows.filter(|row| matches!(row, RowId::Element(..))).collect();
        assert_eq!(left, []);
    }

    #[test]
    fn a_key_that_nobody_has_and_nobody_follows_is_forgotten() {
        let mut world = World::new(1);
        assert_eq!(world.run(A, "GET nothing"), "nil");
        world.leaf_at(A, &["followed"]);
        world.advance(3 * MINUTE);
        assert_eq!(world.hub(A).keys(), [key("followed")]);
        assert_eq!(world.run(A, "GET nothing"), "nil");
    }

    #[test]
    fn a_frame_refused_for_its_stamps_is_asked_for_until_the_clock_is_right() {
        let (mut hub, _) = Hub::create("hub".to_owned(), 9 << 32, START);
        let daemon = Connection(1);
        hub.handle(
            HubInput::Origin(daemon, OriginToHub::Welcome { now: START, capabilities: Default::default() }),
            START,
        );
        let slot = key("k").slot();
        let mut world = World::new(1);
        world.run(A, "SET k v");
        let delta = world.state(A, "k").to_complete_delta();
        let to = Cursor { incarnation: Some(ReplicaId::from_bits(9 << 16)), seq: 1 };
        let down = OriginToHub::Down { slot, from: Cursor::default(), to, keys: vec![(key("k"), delta)] };
        // The hub's clock is an hour behind.
        let behind = START.plus_ms(-60 * MINUTE);
        hub.handle(HubInput::Origin(daemon, down), behind);
        let asks = |effects: Vec<HubEffect>| {
            let gap = HubEffect::ToOrigin(daemon, HubToOrigin::Gap(slot, Cursor::default()));
            effects.contains(&gap)
        };
        assert!(!asks(hub.handle(HubInput::Tick, behind.plus_ms(1_000))));
        assert!(asks(hub.handle(HubInput::Tick, behind.plus_ms(10_000))));
        assert!(!asks(hub.handle(HubInput::Tick, behind.plus_ms(20_000))));
    }

    #[test]
    fn what_was_refused_for_the_origins_absence_is_tried_again() {
        let mut world = World::new(1);
        world.part(A);
        let refused = world.pipeline(A, &["SREM k m"], Some("once"));
        assert_eq!(refused.replies, [Err(CommandError::NotHeld)]);
        world.join(A);
        world.settle();
        assert!(world.pipeline(A, &["SREM k m"], Some("once")).replies[0].is_ok());
    }

    #[test]
    fn of_two_daemons_the_one_that_is_left_speaks_for_the_origin() {
        let (mut hub, _) = Hub::create("hub".to_owned(), 1 << 32, START);
        for daemon in [1, 2] {
            hub.handle(
                HubInput::Origin(
                    Connection(daemon),
                    OriginToHub::Welcome { now: START, capabilities: Default::default() },
                ),
                START,
            );
        }
        let effects = hub.handle(HubInput::OriginClosed(Connection(2)), START);
        assert!(
            effects
                .iter()
                .any(|effect| matches!(effect, HubEffect::ToOrigin(Connection(1), HubToOrigin::Hello { .. }))),
            "{effects:?}"
        );
        assert!(hub.status().is_origin_connected);
        hub.handle(HubInput::OriginClosed(Connection(1)), START);
        assert!(!hub.status().is_origin_connected);
    }

    #[test]
    fn a_member_that_a_comparison_showed_may_be_removed_elsewhere_and_is_added_anew() {
        let (mut hub, _) = Hub::create("hub".to_owned(), 1 << 32, START);
        let (daemon, slot) = (Connection(1), key("k").slot());
        let hear = |hub: &mut Hub, message| hub.handle(HubInput::Origin(daemon, message), START);
        hear(&mut hub, OriginToHub::Welcome { now: START, capabilities: Default::default() });
        let add = |hub: &mut Hub| {
            let commands = vec!["SADD k m".split(' ').map(|word| Bytes::from(word.to_owned())).collect()];
            hub.handle(HubInput::Commands { request: Request(1), commands, idempotency: None }, START);
            hub.status().last_no
        };
        let first = add(&mut hub);
        assert_eq!(add(&mut hub), first, "nobody can have seen it");
        let at = Cursor { incarnation: Some(ReplicaId::from_bits(7 << 32)), seq: 1 };
        let none = KeyDelta { complete: true, ..KeyDelta::default() };
        hear(&mut hub, OriginToHub::Whole { slot, at, more: false, keys: vec![(key("k"), none)] });
        let nodes = vec![Node::block(slot, 14)];
        let told = hear(&mut hub, OriginToHub::Exchange { round: 1, seed: HashSeed(1, 2), nodes, keys: vec![] });
        let shown = told.iter().map(|effect| match effect {
            HubEffect::ToOrigin(_, HubToOrigin::Exchanged { keys, .. }) => keys.len(),
            _ => 0,
        });
        assert_eq!(shown.sum::<usize>(), 1, "{told:?}");
        assert_eq!(add(&mut hub), first + 1);
        assert_eq!(add(&mut hub), first + 1, "nobody can have seen the later one");
    }

    #[test]
    fn a_leaf_cannot_have_seen_what_the_hub_has_yet_to_do() {
        let (mut hub, _) = Hub::create("hub".to_owned(), 1 << 32, START);
        let own = hub.id();
        let ahead = Dot { replica: own, no: No(1000) };
        let none = || SeenCuts::Int(Vec::new());
        let cuts = || SeenCuts::Int(vec![SeenCut { replica: own, cut: Cut { m: ahead.no, acc: 1 } }]);
        let write = |seen, cuts| {
            let base = Some(NewBase::Bytes("v".into()));
            Effect::Write { element: ElementId::String, base, seen, cuts }
        };
        let wipe = |seen, cuts| Effect::Wipe { seen, cuts };
        let effects = [
            write(vec![ahead], none()),
            write(vec![], cuts()),
            wipe(Ctx::from_iter([ahead]), vec![]),
            wipe(Ctx::new(), vec![(ElementId::String, cuts())]),
        ];
        let leaf = Connection(1);
        let hello = LeafToHub::Hello {
            client: ClientId(1),
            lifetime: Lifetime::Tab,
            resume: None,
            capabilities: Default::default(),
        };
        let welcome = hub.handle(HubInput::Leaf(leaf, hello), START);
        let session = welcome.iter().find_map(|effect| match effect {
            HubEffect::ToLeaf(_, HubToLeaf::Welcome { session, .. }) => Some(*session),
            _ => None,
        });
        let session = session.expect("a leaf is welcomed");
        for (at, effect) in effects.into_iter().enumerate() {
            let first = Seq(at as u64 + 1);
            let operations = vec![Operation { key: key("k"), at: START, effects: vec![effect] }];
            let message = LeafToHub::Operations { session, settled: Seq(at as u64), first, operations };
            let effects = hub.handle(HubInput::Leaf(leaf, message), START);
            let is_refusal = |effect: &HubEffect| {
                matches!(effect, HubEffect::ToLeaf(_, HubToLeaf::Verdicts { refused, .. })
                    if refused.as_slice() == [(first, CommandError::SeenAhead)])
            };
            assert!(effects.iter().any(is_refusal), "{effects:?}");
        }
        assert_eq!(hub.status().last_no, 0);
        assert_ne!(own, ReplicaId::LEAF);
    }
}

mod leaves {
    use super::*;

    #[test]
    fn what_died_before_the_new_hub_heard_of_it_dies_in_a_leaf_that_roamed() {
        let mut world = world("k", &["SADD k x"]);
        let leaf = world.leaf_at(A, &["k"]);
        world.part(A);
        world.run(A, "SADD k brief");
        world.settle();
        world.connect(leaf, B);
        world.settle();
        assert_eq!(world.run_leaf(leaf, "SISMEMBER k brief"), ":1");
        // The other hub never has it.
        world.run(A, "SREM k brief");
        world.join(A);
        world.advance(2 * SECOND);
        assert_eq!(world.run(B, "SISMEMBER k brief"), ":0");
        assert_eq!(world.run_leaf(leaf, "SISMEMBER k brief"), ":0");
    }

    #[test]
    fn a_removal_of_a_whole_key_speaks_of_no_numbers_of_other_keys() {
        let mut world = world("k", &[]);
        world.hold(&["other"]);
        let leaf = world.leaf_at(A, &["k", "other"]);
        for line in ["INCR other", "INCR other", "SADD k x", "DEL k"] {
            world.run_leaf(leaf, line);
        }
        world.settle();
        let replica = world.hub(A).id();
        let wipe = world.state(A, "k").header().wipe;
        assert!(wipe.contains(Dot { replica, no: No(3) }), "{wipe:?}");
        assert!(!wipe.contains(Dot { replica, no: No(1) }), "{wipe:?}");
    }

    #[test]
    fn a_leaf_whose_ticket_ends_on_an_open_socket_goes_on_in_a_new_session() {
        let mut world = world("k", &["SADD k x"]);
        let leaf = world.leaf_at(A, &["k"]);
        world.skip(31 * DAY);
        world.run_leaf(leaf, "SADD k lost");
        world.settle();
        assert_eq!(world.refused(leaf).len(), 1);
        world.run_leaf(leaf, "SADD k y");
        world.settle();
        assert_eq!(world.refused(leaf), [""; 0]);
        assert_eq!(world.run(A, "SISMEMBER k y"), ":1");
        assert_eq!(world.run_leaf(leaf, "SISMEMBER k lost"), ":0");
        assert_eq!(world.leaf(leaf).status().pending, 0);
    }
    #[test]
    fn what_a_hub_settled_and_lost_with_its_storage_does_not_hold_up_a_leaf_that_roamed() {
        let mut world = world("k", &["SADD k x"]);
        let leaf = world.leaf_at(A, &["k"]);
        // Settled through another hub by one that the origin cannot hear.
        world.part(A);
        world.run_leaf(leaf, "SADD k lost");
        world.connect(leaf, B);
        world.settle();
        assert_eq!(world.leaf(leaf).status().pending, 0);
        world.replace_hub(A);
        world.run_leaf(leaf, "SADD k y");
        world.advance(2 * MINUTE);
        assert_eq!(world.leaf(leaf).status().pending, 0);
        assert_eq!(world.run(B, "SISMEMBER k y"), ":1");
        assert_eq!(world.run_leaf(leaf, "SISMEMBER k lost"), ":0");
    }

    #[test]
    fn what_a_lost_hub_settled_without_telling_outlives_a_removal_that_knew_it_only_as_the_leafs_own() {
        let mut world = world("k", &["SADD k x"]);
        let leaf = world.leaf_at(A, &["k"]);
        world.run_leaf(leaf, "SADD k own");
        // The hub settles it and the origin commits it; the verdict never arrives.
        world.disconnect(leaf);
        world.advance(10 * SECOND);
        world.replace_hub(A);
        assert_eq!(world.run_leaf(leaf, "DEL k"), ":1");
        world.connect(leaf, B);
        world.advance(MINUTE);
        // What became of the addition is not guessed at: it is refused, and the removal names no dot that it was not shown.
        assert_eq!(world.refused(leaf).len(), 1);
        assert_eq!(world.agreed("SMEMBERS k"), "[$own]");
        assert_eq!(world.run_leaf(leaf, "SMEMBERS k"), "[$own]");
    }
}
