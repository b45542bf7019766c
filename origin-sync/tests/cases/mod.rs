//! What every store does.

use crate::support::{
    bed::Bed,
    say::{ORIGIN, PartExt, bytes, commit, committed, key, load, load_all, marker, now, part},
};
use headwater::{
    id::{No, ReplicaId},
    slot::Slot,
    store::{
        Companion, Expected, KeyCommit, LedgerOutcome, LedgerSwap, Load, Marker, MarkerChange, Outcome, StoredLedger,
    },
};
use origin_sync::store::Store;
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

pub async fn nothing_is_loaded_from_an_empty_store(bed: impl Bed) {
    let key = key("k");
    let loaded = load_all(bed.store(), &key).await;
    assert_eq!((loaded.marker, loaded.keys, loaded.changed), (None, vec![(key, None)], Vec::new()));
    assert!(!bed.store().run_id().is_empty());
    bed.store().ping().await.unwrap();
}

pub async fn a_first_commit_is_read_back(bed: impl Bed) {
    let key = key("k");
    let hub = ReplicaId::from_bits(u64::MAX - 1);
    let before = ReplicaId::from_bits(7);
    let mut first = commit(key.slot(), 0, vec![part(&key, None, 1).put("header", "h").put("+1", [0, 255])]);
    first.marker = MarkerChange {
        open: Some((ORIGIN, bytes("run"), Some((before, u64::MAX)))),
        seq: 1,
        no: No(u64::MAX),
        hubs: vec![(hub, No(u64::MAX - 2))],
    };
    committed(bed.store(), first).await;

    let loaded = load_all(bed.store(), &key).await;
    let marker = Marker {
        incarnation: ORIGIN,
        run_id: bytes("run"),
        seq: 1,
        no: No(u64::MAX),
        previous: Some((before, u64::MAX)),
        hubs: BTreeMap::from([(hub, No(u64::MAX - 2))]),
    };
    assert_eq!(loaded.marker, Some(marker));
    let fields = BTreeMap::from([(bytes("header"), bytes("h")), (bytes("+1"), bytes([0, 255]))]);
    assert_eq!(loaded.keys, [(key.clone(), Some(Companion { version: 1, fields }))]);
    assert_eq!(loaded.changed, [(key, 1)]);
}

pub async fn a_moved_companion_is_a_conflict_and_nothing_happens(bed: impl Bed) {
    let (here, there, new) = (key("{s}here"), key("{s}there"), key("{s}new"));
    let slot = here.slot();
    let first = vec![part(&here, None, 1).put("f", "1"), part(&there, None, 1).put("f", "1")];
    committed(bed.store(), commit(slot, 0, first)).await;
    let before = load(bed.store(), slot, &[&here, &there, &new], Some(0)).await;

    let parts = vec![
        part(&here, Some(1), 2).put("f", "2"),
        part(&there, Some(9), 2).put("f", "2"),
        part(&new, Some(1), 2).put("f", "2"),
    ];
    let outcome = bed.store().commit(commit(slot, 1, parts)).await.unwrap();
    assert_eq!(outcome, Outcome::Conflict(vec![there.clone(), new.clone()]));
    let outcome = bed.store().commit(commit(slot, 1, vec![part(&here, None, 2)])).await.unwrap();
    assert_eq!(outcome, Outcome::Conflict(vec![here.clone()]));
    assert_eq!(load(bed.store(), slot, &[&here, &there, &new], Some(0)).await, before);
}

pub async fn another_incarnation_is_stale(bed: impl Bed) {
    let key = key("k");
    committed(bed.store(), commit(key.slot(), 0, vec![part(&key, None, 1)])).await;
    let before = load_all(bed.store(), &key).await;
    // Differs in the last bit only.
    for fence in [Some(ReplicaId::from_bits(u64::MAX - 1)), None] {
        let mut other = commit(key.slot(), 1, vec![part(&key, Some(1), 2)]);
        other.fence = fence;
        assert_eq!(bed.store().commit(other).await.unwrap(), Outcome::Stale);
    }
    assert_eq!(load_all(bed.store(), &key).await, before);
}

pub async fn another_sequence_is_stale(bed: impl Bed) {
    let key = key("k");
    let big = 1 << 62;
    committed(bed.store(), commit(key.slot(), 0, vec![part(&key, None, 1)])).await;
    let mut jump = commit(key.slot(), 1, vec![part(&key, Some(1), 2)]);
    jump.marker.seq = big + 1;
    committed(bed.store(), jump).await;
    let before = load_all(bed.store(), &key).await;
    for seq in [0, 1, big, big + 2] {
        let mut other = commit(key.slot(), 1, vec![part(&key, Some(2), 3)]);
        other.expected_seq = seq;
        assert_eq!(bed.store().commit(other).await.unwrap(), Outcome::Stale, "{seq}");
    }
    assert_eq!(load_all(bed.store(), &key).await, before);
}

pub async fn a_marker_where_none_is_expected_is_stale(bed: impl Bed) {
    let slot = key("k").slot();
    let mut other = commit(slot, 1, Vec::new());
    assert_eq!(bed.store().commit(other.clone()).await.unwrap(), Outcome::Stale);
    other.expected_seq = 0;
    assert_eq!(bed.store().commit(other).await.unwrap(), Outcome::Stale);
    assert_eq!(marker(bed.store(), slot).await, None);
    committed(bed.store(), commit(slot, 0, Vec::new())).await;
    assert_eq!(bed.store().commit(commit(slot, 0, Vec::new())).await.unwrap(), Outcome::Stale);
}

pub async fn a_new_incarnation_keeps_the_hubs_numbers(bed: impl Bed) {
    let slot = key("k").slot();
    let (one, two) = (ReplicaId::from_bits(1), ReplicaId::from_bits(2));
    let mut first = commit(slot, 0, Vec::new());
    first.marker.hubs = vec![(one, No(10)), (two, No(20))];
    committed(bed.store(), first).await;

    let next = ORIGIN.next_incarnation();
    let mut second = commit(slot, 1, Vec::new());
    second.marker.open = Some((next, bytes("run 2"), Some((ORIGIN, 1))));
    second.marker.hubs = vec![(two, No(21))];
    committed(bed.store(), second).await;
    let expected = Marker {
        incarnation: next,
        run_id: bytes("run 2"),
        seq: 2,
        no: No(2),
        previous: Some((ORIGIN, 1)),
        hubs: BTreeMap::from([(one, No(10)), (two, No(21))]),
    };
    assert_eq!(marker(bed.store(), slot).await, Some(expected));

    let mut third = commit(slot, 2, Vec::new());
    third.fence = Some(next);
    third.marker.open = Some((ORIGIN, bytes("run 3"), None));
    committed(bed.store(), third).await;
    assert_eq!(marker(bed.store(), slot).await.unwrap().previous, None);
}

pub async fn fields_are_put_and_deleted(bed: impl Bed) {
    let key = key("k");
    committed(bed.store(), commit(key.slot(), 0, vec![part(&key, None, 1).put("a", "1").put("b", "1")])).await;
    let change = part(&key, Some(1), 2).delete("a").delete("absent").put("b", "2").put("c", "");
    committed(bed.store(), commit(key.slot(), 1, vec![change])).await;
    let fields = BTreeMap::from([(bytes("b"), bytes("2")), (bytes("c"), bytes(""))]);
    let expected = Companion { version: 2, fields };
    assert_eq!(load_all(bed.store(), &key).await.keys, [(key.clone(), Some(expected))]);

    committed(bed.store(), commit(key.slot(), 2, vec![part(&key, Some(2), 3).delete("b").delete("c")])).await;
    let empty = Companion { version: 3, fields: BTreeMap::new() };
    assert_eq!(load_all(bed.store(), &key).await.keys, [(key.clone(), Some(empty))]);
}

pub async fn keys_may_hold_any_bytes(bed: impl Bed) {
    let every_byte: Vec<u8> = (0..=255).collect();
    for raw in [&b""[..], b"{}", b"a{b}c", b"}{", b"\0", b"\0\r\n{\xff\xfe}\0", &every_byte] {
        let key = key(raw);
        let seq = marker(bed.store(), key.slot()).await.map_or(0, |marker| marker.seq);
        let change = part(&key, None, seq + 1).put(&every_byte, &every_byte).put("", "");
        committed(bed.store(), commit(key.slot(), seq, vec![change])).await;
        let fields = BTreeMap::from([(bytes(""), bytes("")), (bytes(&every_byte), bytes(&every_byte))]);
        let loaded = load(bed.store(), key.slot(), &[&key], Some(seq)).await;
        assert_eq!(loaded.keys, [(key.clone(), Some(Companion { version: seq + 1, fields }))]);
        assert_eq!(loaded.changed, [(key, seq + 1)]);
    }
}

pub async fn keys_that_begin_alike_stay_apart(bed: impl Bed) {
    let keys = [key("{s}"), key("{s}\0"), key("{s}\0\0"), key("{s}a")];
    let slot = keys[0].slot();
    let parts = keys.iter().map(|key| part(key, None, 1).put(key.as_bytes(), "1").put("\0a", "2")).collect();
    committed(bed.store(), commit(slot, 0, parts)).await;
    let forgotten = KeyCommit { forget: true, ..part(&keys[1], Some(1), 2) };
    committed(bed.store(), commit(slot, 1, vec![forgotten])).await;
    let loaded = load(bed.store(), slot, &keys.each_ref(), None).await;
    for (at, (key, companion)) in loaded.keys.into_iter().enumerate() {
        let fields = BTreeMap::from([(bytes(key.as_bytes()), bytes("1")), (bytes("\0a"), bytes("2"))]);
        assert_eq!(companion, (at != 1).then_some(Companion { version: 1, fields }));
    }
}

pub async fn the_feed_is_in_order_and_forgets(bed: impl Bed) {
    let names = ["{s}z", "{s}a", "{s}m"].map(key);
    let slot = names[0].slot();
    for (seq, key) in (0..).zip(&names) {
        committed(bed.store(), commit(slot, seq, vec![part(key, None, seq + 1)])).await;
    }
    committed(bed.store(), commit(slot, 3, vec![part(&names[0], Some(1), 4)])).await;
    let [z, a, m] = names.clone();
    let changed = async |after| load(bed.store(), slot, &[], Some(after)).await.changed;
    assert_eq!(changed(0).await, [(a.clone(), 2), (m.clone(), 3), (z.clone(), 4)]);
    assert_eq!(changed(2).await, [(m.clone(), 3), (z.clone(), 4)]);
    assert_eq!(changed(4).await, []);
    assert_eq!(changed(u64::MAX).await, []);
    assert_eq!(load(bed.store(), slot, &[], None).await.changed, []);
    assert_eq!(load(bed.store(), key("elsewhere").slot(), &[], Some(0)).await.changed, []);

    let forgotten = KeyCommit { forget: true, ..part(&m, Some(3), 5) };
    committed(bed.store(), commit(slot, 4, vec![forgotten])).await;
    let loaded = load(bed.store(), slot, &[&m], Some(0)).await;
    assert_eq!((loaded.keys, loaded.changed), (vec![(m, None)], vec![(a, 2), (z, 4)]));
}

pub async fn companions_expire(bed: impl Bed) {
    let (short, long) = (key("{s}short"), key("{s}long"));
    let slot = short.slot();
    let mut soon = part(&short, None, 1).put("f", "1");
    soon.expire_at = Some(now().plus_ms(300));
    let mut late = part(&long, None, 1).put("f", "1");
    late.expire_at = Some(now().plus_ms(3_600_000));
    committed(bed.store(), commit(slot, 0, vec![soon, late])).await;

    let deadline = Instant::now() + Duration::from_secs(60);
    while load(bed.store(), slot, &[&short], None).await.keys[0].1.is_some() {
        assert!(Instant::now() < deadline, "the companion never expires");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(load(bed.store(), slot, &[&long], None).await.keys[0].1.is_some());
    // What has expired is not there, and none of it comes back.
    let stale = commit(slot, 1, vec![part(&short, Some(1), 2)]);
    assert_eq!(bed.store().commit(stale).await.unwrap(), Outcome::Conflict(vec![short.clone()]));
    committed(bed.store(), commit(slot, 1, vec![part(&short, None, 2).put("g", "2")])).await;
    let fresh = Companion { version: 2, fields: BTreeMap::from([(bytes("g"), bytes("2"))]) };
    assert_eq!(load(bed.store(), slot, &[&short], None).await.keys, [(short, Some(fresh))]);
}

pub async fn an_expiry_can_be_taken_back(bed: impl Bed) {
    let (short, long) = (key("{s}short"), key("{s}long"));
    let slot = short.slot();
    // Both commits below are made before.
    let at = now().plus_ms(3_000);
    let expiring = |key, version| {
        let mut part = part(key, None, version).put("f", "1");
        part.expire_at = Some(at);
        part
    };
    committed(bed.store(), commit(slot, 0, vec![expiring(&short, 1), expiring(&long, 1)])).await;
    committed(bed.store(), commit(slot, 1, vec![part(&long, Some(1), 2)])).await;
    let deadline = Instant::now() + Duration::from_secs(60);
    while load(bed.store(), slot, &[&short], None).await.keys[0].1.is_some() {
        assert!(Instant::now() < deadline, "the companion never expires");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // A commit is where the embedded store sweeps.
    committed(bed.store(), commit(slot, 2, Vec::new())).await;
    let kept = Companion { version: 2, fields: BTreeMap::from([(bytes("f"), bytes("1"))]) };
    assert_eq!(load(bed.store(), slot, &[&long], None).await.keys, [(long, Some(kept))]);
}

pub async fn a_big_commit_is_read_back(bed: impl Bed) {
    let key = key("big");
    let names: Vec<String> = (0..20_000).map(|at| format!("field {at}")).collect();
    let mut big = part(&key, None, 1);
    big.put = names.iter().map(|name| (bytes(name), bytes(name))).collect();
    let mut command = vec![bytes("HSET"), key.clone().into()];
    command.extend(names.iter().flat_map(|name| [bytes(name), bytes(name)]));
    big.plain.commands.push(command);
    committed(bed.store(), commit(key.slot(), 0, vec![big])).await;
    let loaded = load_all(bed.store(), &key).await;
    assert_eq!(loaded.keys[0].1.as_ref().unwrap().fields.len(), 20_000);
    if let Some(plain) = bed.plain() {
        assert_eq!(plain.ask::<usize>(&["HLEN", "big"]).await, 20_000);
    }

    let mut small = part(&key, Some(1), 2).expecting(Expected::Present(headwater::state::Kind::Hash));
    small.delete = names[1..].iter().map(bytes).collect();
    let mut command = vec![bytes("HDEL"), key.clone().into()];
    command.extend(names[1..].iter().map(bytes));
    small.plain.commands.push(command);
    committed(bed.store(), commit(key.slot(), 1, vec![small])).await;
    let loaded = load_all(bed.store(), &key).await;
    assert_eq!(loaded.keys[0].1.as_ref().unwrap().fields, BTreeMap::from([(bytes("field 0"), bytes("field 0"))]));
    if let Some(plain) = bed.plain() {
        assert_eq!(plain.ask::<Vec<String>>(&["HGETALL", "big"]).await, ["field 0", "field 0"]);
    }
}

pub async fn slots_commit_side_by_side(bed: impl Bed) {
    const SLOTS: usize = 200;
    let store = bed.store();
    let keys: Vec<_> = (0..SLOTS * 2).map(|at| key(format!("k{at}"))).collect();
    let mut by_slot: BTreeMap<Slot, _> = BTreeMap::new();
    for key in &keys {
        by_slot.entry(key.slot()).or_insert(key);
    }
    let each = by_slot.into_iter().take(SLOTS).map(async |(slot, key)| {
        for seq in 0..5 {
            let expected = (seq > 0).then_some(seq);
            committed(store, commit(slot, seq, vec![part(key, expected, seq + 1).put("f", seq.to_string())])).await;
        }
        let fields = BTreeMap::from([(bytes("f"), bytes("4"))]);
        assert_eq!(load_all(store, key).await.keys, [(key.clone(), Some(Companion { version: 5, fields }))]);
    });
    futures_util::future::join_all(each).await;
}

pub async fn of_many_commits_at_once_one_wins(bed: impl Bed) {
    let key = key("k");
    let store = bed.store();
    for seq in 0..20 {
        let expected = (seq > 0).then_some(seq);
        let rivals = (0..8).map(async |rival| {
            let change = part(&key, expected, seq + 1).put("winner", rival.to_string());
            (rival, store.commit(commit(key.slot(), seq, vec![change])).await.unwrap())
        });
        let outcomes = futures_util::future::join_all(rivals).await;
        let winners: Vec<_> = outcomes.iter().filter(|(_, outcome)| *outcome == Outcome::Committed).collect();
        let [(winner, _)] = winners[..] else { panic!("{outcomes:?}") };
        assert!(outcomes.iter().all(|(rival, outcome)| rival == winner || *outcome == Outcome::Stale));
        let fields = BTreeMap::from([(bytes("winner"), bytes(winner.to_string()))]);
        assert_eq!(load_all(store, &key).await.keys[0].1, Some(Companion { version: seq + 1, fields }));
    }
}

pub async fn commits_outlive_the_connection(bed: impl Bed) {
    let key = key("k");
    committed(bed.store(), commit(key.slot(), 0, vec![part(&key, None, 1).put("f", "1")])).await;
    let (before, run_id) = (load_all(bed.store(), &key).await, bed.store().run_id());
    let bed = bed.reopened().await;
    assert_eq!(load_all(bed.store(), &key).await, before);
    assert_eq!(bed.store().run_id(), run_id);
}

pub async fn a_key_of_another_slot_is_an_error(bed: impl Bed) {
    let (here, elsewhere) = (key("here"), key("elsewhere"));
    assert_ne!(here.slot(), elsewhere.slot());
    let misplaced = commit(here.slot(), 0, vec![part(&here, None, 1), part(&elsewhere, None, 1)]);
    assert!(bed.store().commit(misplaced).await.is_err());
    let misplaced = Load { slot: here.slot(), keys: vec![elsewhere], changed_after: None, plain: Vec::new() };
    assert!(bed.store().load(misplaced).await.is_err());
    assert_eq!(load_all(bed.store(), &here).await.keys, [(here, None)]);
}

pub async fn an_account_is_swapped_where_its_version_stands(bed: impl Bed) {
    let key = key("{l}k");
    let expire_at = now().plus_ms(60_000);
    let swap = |expected, value: Option<(u64, &[u8])>| LedgerSwap {
        key: key.clone(),
        expected,
        value: value.map(|(version, body)| (version, bytes(body))),
        expire_at,
    };
    let found = |version, body: &[u8]| {
        LedgerOutcome::Found(Some(StoredLedger { version, is_current: true, bytes: bytes(body) }))
    };
    let store = bed.store();
    assert_eq!(store.swap(swap(None, None)).await.unwrap(), LedgerOutcome::Found(None));
    assert_eq!(store.swap(swap(Some(3), Some((4, b"x")))).await.unwrap(), LedgerOutcome::Found(None));
    assert_eq!(store.swap(swap(None, Some((u64::MAX, b"\0\xff")))).await.unwrap(), LedgerOutcome::Swapped);
    assert_eq!(store.swap(swap(None, Some((1, b"y")))).await.unwrap(), found(u64::MAX, b"\0\xff"));
    // Differs in the last bit only.
    let near = swap(Some(u64::MAX - 1), Some((1, b"y")));
    assert_eq!(store.swap(near).await.unwrap(), found(u64::MAX, b"\0\xff"));
    assert_eq!(store.swap(swap(Some(u64::MAX), Some((0, b"z")))).await.unwrap(), LedgerOutcome::Swapped);
    assert_eq!(store.swap(swap(Some(u64::MAX), None)).await.unwrap(), found(0, b"z"));
    assert_eq!(load_all(store, &key).await.keys, [(key.clone(), None)], "it is no companion");
}

/// Also to whoever opens the store anew.
pub async fn an_identity_is_whose_it_was_first_until_it_is_assigned(bed: impl Bed) {
    let owned = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs.iter().map(|(hub, owner)| ((*hub).to_owned(), (*owner).to_owned())).collect()
    };
    assert_eq!(bed.store().owners().await.unwrap(), owned(&[]));
    for (hub, claimant, owner) in [("1", "a 0", "a 0"), ("1", "b 0", "a 0"), ("2", "b 0", "b 0"), ("2", "b 0", "b 0")] {
        assert_eq!(bed.store().claim(hub, claimant).await.unwrap(), owner);
    }
    bed.store().assign(&owned(&[])).await.unwrap();
    bed.store().assign(&owned(&[("1", "c 0"), ("3", "c 1")])).await.unwrap();
    let bed = bed.reopened().await;
    assert_eq!(bed.store().owners().await.unwrap(), owned(&[("1", "c 0"), ("2", "b 0"), ("3", "c 1")]));
    assert_eq!(bed.store().claim("1", "a 0").await.unwrap(), "c 0");
}
