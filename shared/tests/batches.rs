//! What a hub sends with one credit, and what it sends of a key again.

use bytes::Bytes;
use headwater::{
    hub::{Connection, Hub, HubEffect, HubInput, Request},
    id::{Key, No, TimestampMs},
    message::{HubToOrigin, OriginToHub, SlotDelta},
    slot::Slot,
};
use std::collections::{BTreeMap, BTreeSet};

const NOW: TimestampMs = TimestampMs(1_700_000_000_000);
const DAEMON: Connection = Connection(1);

/// What a value takes of which a batch holds some four.
const LARGE: usize = 1_000_000;

fn hub() -> Hub {
    let (mut hub, _) = Hub::create("eu/0".to_owned(), 1 << 32, NOW);
    said(&mut hub, OriginToHub::Welcome { now: NOW, capabilities: Default::default() });
    hub
}

/// What the hub tells when it hears this.
fn said(hub: &mut Hub, message: OriginToHub) -> Vec<SlotDelta> {
    let effects = hub.handle(HubInput::Origin(DAEMON, message), NOW).into_iter();
    let deltas = effects.filter_map(|effect| match effect {
        HubEffect::ToOrigin(_, HubToOrigin::Delta(parts)) => Some(parts),
        _ => None,
    });
    deltas.flatten().collect()
}

fn set(hub: &mut Hub, key: &str, value: &[u8]) -> Vec<HubEffect> {
    let argv = [&b"SET"[..], key.as_bytes(), value].map(Bytes::copy_from_slice).to_vec();
    hub.handle(HubInput::Commands { request: Request(1), commands: vec![argv], idempotency: None }, NOW)
}

/// Which keys a batch tells of, and the numbers that acknowledge it.
fn told(parts: &[SlotDelta]) -> (Vec<Key>, Vec<(Slot, No)>) {
    let keys = parts.iter().flat_map(|part| part.keys.iter().map(|(key, _)| key.clone())).collect();
    let numbers: BTreeMap<Slot, No> = parts.iter().map(|part| (part.slot, part.to)).collect();
    (keys, numbers.into_iter().collect())
}

/// The names of four keys in each of so many slots.
fn in_fours(slots: usize) -> Vec<String> {
    (0..slots).flat_map(|slot| (0..4).map(move |at| format!("{{full{slot}}}{at}"))).collect()
}

/// Those of the names that are not among the keys.
fn left_of<'a>(names: &'a [String], keys: &[Key]) -> Vec<&'a str> {
    let sent: BTreeSet<&[u8]> = keys.iter().map(Key::as_bytes).collect();
    names.iter().map(String::as_str).filter(|name| !sent.contains(name.as_bytes())).collect()
}

#[test]
fn slots_that_are_written_to_all_the_time_do_not_keep_others_from_being_sent() {
    let mut hub = hub();
    let names: Vec<String> = (0..40).map(|at| format!("k{at}")).collect();
    names.iter().for_each(|name| drop(set(&mut hub, name, &[b'v'; LARGE])));
    let mut sent = BTreeSet::new();
    let mut batches = 0;
    while sent.len() < names.len() {
        batches += 1;
        let (keys, numbers) = told(&said(&mut hub, OriginToHub::Credit(1)));
        said(&mut hub, OriginToHub::Committed(numbers));
        // Whatever goes out is written to again at once.
        for key in &keys {
            set(&mut hub, std::str::from_utf8(key.as_bytes()).unwrap(), &[b'w'; LARGE]);
        }
        sent.extend(keys);
        assert!(batches <= names.len() / 4 + 1, "after {batches} batches only {} of all were sent", sent.len());
    }
}

#[test]
fn where_not_all_fits_slots_of_many_changes_go_first() {
    let mut hub = hub();
    let full = in_fours(200);
    (0..6000).for_each(|at| drop(set(&mut hub, &format!("lone{at}"), b"v")));
    full.iter().for_each(|name| drop(set(&mut hub, name, b"v")));
    let (keys, _) = told(&said(&mut hub, OriginToHub::Credit(1)));
    assert_eq!(left_of(&full, &keys), [""; 0]);
    assert!(keys.len() < 6000, "a batch of {} keys leaves few of the others", keys.len());
}

#[test]
fn slots_in_which_much_changed_while_they_were_sent_go_first_too() {
    let mut hub = hub();
    let full = in_fours(200);
    full.iter().for_each(|name| drop(set(&mut hub, name, b"v")));
    let (_, numbers) = told(&said(&mut hub, OriginToHub::Credit(1)));
    full.iter().for_each(|name| drop(set(&mut hub, name, b"w")));
    (0..6000).for_each(|at| drop(set(&mut hub, &format!("lone{at}"), b"v")));
    said(&mut hub, OriginToHub::Committed(numbers));
    let (keys, _) = told(&said(&mut hub, OriginToHub::Credit(1)));
    assert_eq!(left_of(&full, &keys), [""; 0]);
}

#[test]
fn slots_of_many_changes_do_not_keep_others_from_being_sent() {
    let mut hub = hub();
    let full = in_fours(1200);
    full.iter().for_each(|name| drop(set(&mut hub, name, b"v")));
    let mut lone: BTreeSet<String> = (0..100).map(|at| format!("lone{at}")).collect();
    lone.iter().for_each(|name| drop(set(&mut hub, name, b"v")));
    // A batch has 4096 keys, of a thousand slots: a round of all takes some five.
    for _ in 0..8 {
        let (keys, numbers) = told(&said(&mut hub, OriginToHub::Credit(1)));
        said(&mut hub, OriginToHub::Committed(numbers));
        for key in &keys {
            let name = std::str::from_utf8(key.as_bytes()).unwrap();
            if !lone.remove(name) && name.starts_with('{') {
                set(&mut hub, name, b"w");
            }
        }
    }
    assert!(lone.is_empty(), "{} of all were not sent", lone.len());
}

#[test]
fn only_what_changed_since_is_sent_again_until_it_is_stable() {
    let mut hub = hub();
    for at in 0..10 {
        set(&mut hub, &format!("{{k}}{at}"), b"v");
    }
    let (keys, numbers) = told(&said(&mut hub, OriginToHub::Credit(1)));
    assert_eq!(keys.len(), 10);
    said(&mut hub, OriginToHub::Committed(numbers.clone()));
    set(&mut hub, "{k}3", b"w");
    set(&mut hub, "{k}3", b"x");
    set(&mut hub, "{k}new", b"v");
    let (keys, again) = told(&said(&mut hub, OriginToHub::Credit(1)));
    assert_eq!(keys, ["{k}3", "{k}new"].map(|name| Key::new(name).unwrap()));
    // What the store lost since is sent again, all of it.
    let resume = numbers.iter().map(|(slot, _)| (*slot, No::ZERO)).collect();
    said(&mut hub, OriginToHub::Resume(resume));
    let (keys, _) = told(&said(&mut hub, OriginToHub::Credit(1)));
    assert_eq!(keys.len(), 11);
    // What is written while that is on its way goes out next.
    set(&mut hub, "{k}5", b"w");
    said(&mut hub, OriginToHub::Committed(again));
    let (keys, numbers) = told(&said(&mut hub, OriginToHub::Credit(1)));
    assert_eq!(keys, [Key::new("{k}5").unwrap()]);
    said(&mut hub, OriginToHub::Committed(numbers.clone()));
    said(&mut hub, OriginToHub::Stable(numbers));
    assert!(hub.is_settled());
    set(&mut hub, "{k}5", b"y");
    assert_eq!(told(&said(&mut hub, OriginToHub::Credit(1))).0, [Key::new("{k}5").unwrap()]);
}

#[test]
fn a_key_that_ends_while_it_is_sent_again_after_a_loss_is_forgotten_all_the_same() {
    let mut hub = hub();
    let ending = [&b"SET"[..], b"{k}ending", b"v", b"PX", b"1000"].map(Bytes::copy_from_slice).to_vec();
    hub.handle(HubInput::Commands { request: Request(1), commands: vec![ending], idempotency: None }, NOW);
    set(&mut hub, "{k}lasting", b"v");
    let (_, numbers) = told(&said(&mut hub, OriginToHub::Credit(1)));
    said(&mut hub, OriginToHub::Committed(numbers.clone()));
    said(&mut hub, OriginToHub::Stable(numbers.clone()));
    let slots: Vec<Slot> = numbers.iter().map(|(slot, _)| *slot).collect();
    said(&mut hub, OriginToHub::Resume(slots.iter().map(|slot| (*slot, No::ZERO)).collect()));
    said(&mut hub, OriginToHub::Compared(slots));
    set(&mut hub, "{k}lasting", b"w");
    let (keys, numbers) = told(&said(&mut hub, OriginToHub::Credit(1)));
    assert_eq!(keys.len(), 2, "what the store lost is sent whole");
    hub.handle(HubInput::Tick, NOW.plus_ms(600_000));
    assert!(hub.key(&Key::new("{k}ending").unwrap()).is_none(), "it ended long ago");
    said(&mut hub, OriginToHub::Committed(numbers.clone()));
    said(&mut hub, OriginToHub::Stable(numbers));
    assert_eq!(hub.keys(), [Key::new("{k}lasting").unwrap()]);
}

#[test]
fn a_batch_of_many_small_keys_ends_after_some_thousands_of_them() {
    const KEYS: usize = 10_000;
    let mut hub = hub();
    for at in 0..KEYS {
        set(&mut hub, &format!("k{at}"), b"v");
    }
    let mut sent = BTreeSet::new();
    let sizes: Vec<usize> = std::iter::from_fn(|| {
        // Nothing of it is acknowledged: a slot that is under way is not sent again.
        let (keys, _) = told(&said(&mut hub, OriginToHub::Credit(1)));
        let count = keys.len();
        sent.extend(keys);
        (count > 0).then_some(count)
    })
    .collect();
    assert_eq!((sent.len(), sizes.iter().sum::<usize>()), (KEYS, KEYS));
    // The last slot brings what it has.
    let [full @ .., _] = &*sizes else { panic!("nothing was sent") };
    assert!(full.len() == 2 && full.iter().all(|size| (4_096..4_200).contains(size)), "{sizes:?}");
}

#[test]
fn credit_for_more_than_the_next_batches_is_not_kept() {
    let mut hub = hub();
    for _ in 0..5 {
        said(&mut hub, OriginToHub::Credit(1));
    }
    let is_delta = |effect: &HubEffect| matches!(effect, HubEffect::ToOrigin(_, HubToOrigin::Delta(_)));
    let is_sent = |key| set(&mut hub, key, b"v").iter().any(is_delta);
    assert_eq!(["a", "b", "c"].map(is_sent), [true, true, false]);
}
