//! A leaf that stores its rows: opened again it goes on where it was, and damaged rows are refused.

use bytes::Bytes;
use headwater::{
    command::Reply,
    id::{ClientId, Key, No, ReplicaId, Seq, SessionId, TimestampMs},
    leaf::{Leaf, LeafEffect, LeafInput, LeafRestoreError, LeafRowId, LeafRowWrite, LeafStatus},
    message::{HubToLeaf, LeafToHub, Lifetime},
    state::{Effect, ElementId, Increment, KeyState, Mint, NewBase},
    wire::Capabilities,
};
use std::collections::BTreeMap;

const NOW: TimestampMs = TimestampMs(1_750_000_000_000);

type Rows = BTreeMap<LeafRowId, Bytes>;

fn hub() -> ReplicaId {
    ReplicaId::from_bits(7 << 16)
}

fn key(name: &str) -> Key {
    Key::new(name.to_owned()).expect("tests name short keys")
}

fn session() -> SessionId {
    SessionId { hub: hub(), client: ClientId(5), no: 1 }
}

/// Performs what is to be stored, and gives the rest.
fn store(rows: &mut Rows, effects: Vec<LeafEffect>) -> Vec<LeafEffect> {
    let mut rest = Vec::new();
    for (at, effect) in effects.into_iter().enumerate() {
        let LeafEffect::Persist(writes) = effect else {
            rest.push(effect);
            continue;
        };
        assert_eq!(at, 0, "storing comes first");
        for write in writes {
            match write {
                LeafRowWrite::Put(row, body) => {
                    rows.insert(row, body);
                }
                LeafRowWrite::Drop(row) => {
                    rows.remove(&row);
                }
                LeafRowWrite::Done(no, _) => {
                    rows.remove(&LeafRowId::Pending(no));
                }
                LeafRowWrite::DropKey(key) => {
                    let prefix = LeafRowId::Key(key).to_bytes();
                    rows.retain(|row, _| !row.to_bytes().starts_with(&prefix));
                }
            }
        }
    }
    rest
}

fn run(leaf: &mut Leaf, rows: &mut Rows, line: &str) -> Reply {
    let words: Vec<Bytes> = line.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
    let (reply, effects) = leaf.command(&words, NOW);
    store(rows, effects);
    reply.unwrap_or_else(|error| panic!("{line}: {error}"))
}

/// A set, over a counter of a hash that it hides, as a hub has them.
fn at_hub() -> KeyState {
    let mut state = KeyState::default();
    let mut no = No::ZERO;
    let mut apply = |effect: Effect| {
        no = no.next();
        let mint = Mint { dot: headwater::id::Dot { replica: hub(), no }, hlc: headwater::hlc::Hlc::at(NOW) };
        let _ = state.apply(&effect, mint);
    };
    apply(Effect::Add { element: ElementId::Field(Bytes::from_static(b"n")), by: Increment::Int(4) });
    for member in ["a", "b"] {
        let element = ElementId::Member(Bytes::from_static(member.as_bytes()));
        let cuts = KeyState::default().seen(&element).1;
        apply(Effect::Write { element, base: Some(NewBase::Member), seen: Vec::new(), cuts });
    }
    state
}

/// A leaf that follows two keys, has sent one operation and not another.
fn leaf_at_work(rows: &mut Rows) -> Leaf {
    let mut leaf = Leaf::stored(ClientId(5), Lifetime::Tab);
    let keys = vec![key("set"), key("counter")];
    store(rows, leaf.handle(LeafInput::Subscribe(keys), NOW));
    store(rows, leaf.handle(LeafInput::Opened, NOW));
    let welcome = HubToLeaf::Welcome {
        hub: hub(),
        now: NOW.plus_ms(250),
        session: session(),
        until: NOW.plus_ms(1 << 30),
        watermark: Seq::default(),
        capabilities: Capabilities::CURRENT,
    };
    store(rows, leaf.handle(LeafInput::Hub(welcome), NOW));
    let states = [(key("set"), at_hub()), (key("counter"), KeyState::default())];
    for ((key, state), push) in states.into_iter().zip(1..) {
        let delta = state.to_complete_delta();
        let shown = HubToLeaf::State {
            push,
            key,
            delta,
            held: true,
            more: false,
            session: session(),
            watermark: Seq::default(),
        };
        store(rows, leaf.handle(LeafInput::Hub(shown), NOW));
    }
    run(&mut leaf, rows, "INCRBY counter 5");
    store(rows, leaf.handle(LeafInput::Closed, NOW));
    run(&mut leaf, rows, "SADD set c");
    run(&mut leaf, rows, "SREM set a");
    leaf
}

fn restored(rows: &Rows) -> Result<Leaf, LeafRestoreError> {
    let through_bytes = |(row, body): (&LeafRowId, &Bytes)| {
        (LeafRowId::from_bytes(&row.to_bytes()).expect("a row's name reads back"), body.clone())
    };
    Leaf::restore(rows.iter().map(through_bytes))
}

/// What it sends once a hub has welcomed it again.
fn sent(leaf: &mut Leaf) -> Vec<LeafToHub> {
    let mut effects = leaf.handle(LeafInput::Opened, NOW);
    let welcome = HubToLeaf::Welcome {
        hub: hub(),
        now: NOW,
        session: session(),
        until: NOW.plus_ms(1 << 30),
        watermark: Seq(1),
        capabilities: Capabilities::CURRENT,
    };
    effects.extend(leaf.handle(LeafInput::Hub(welcome), NOW));
    let message = |effect| match effect {
        LeafEffect::Send(message) => Some(message),
        _ => None,
    };
    effects.into_iter().filter_map(message).collect()
}

#[test]
fn a_leaf_that_is_opened_again_reads_and_sends_as_the_one_that_was_closed() {
    let mut rows = Rows::new();
    let mut leaf = leaf_at_work(&mut rows);
    let mut again = restored(&rows).expect("its own rows");
    for key in [key("set"), key("counter")] {
        assert_eq!(again.key(&key), leaf.key(&key));
    }
    // It has not heard of the hub itself.
    assert_eq!(again.status(), LeafStatus { heard_at: None, ..leaf.status() });
    assert_eq!(run(&mut again, &mut rows, "GET counter"), Reply::Bulk(Bytes::from_static(b"5")));
    let _ = again.handle(LeafInput::Subscribe(vec![key("set"), key("counter")]), NOW);
    assert_eq!(sent(&mut again), sent(&mut leaf));
}

#[test]
fn what_is_settled_and_shown_leaves_no_row() {
    let mut rows = Rows::new();
    let mut leaf = leaf_at_work(&mut rows);
    assert!(rows.keys().any(|row| matches!(row, LeafRowId::Pending(_))));
    store(&mut rows, leaf.handle(LeafInput::Unsubscribe(vec![key("set"), key("counter")]), NOW));
    let _ = sent(&mut leaf);
    let accepted = vec![(Seq(1), No(3), No(4)), (Seq(2), No(4), No(5)), (Seq(3), No(5), No(6))];
    let verdicts = HubToLeaf::Verdicts { session: session(), through: Seq(3), accepted, refused: Vec::new() };
    store(&mut rows, leaf.handle(LeafInput::Hub(verdicts), NOW));
    assert_eq!(rows.keys().collect::<Vec<_>>(), [&LeafRowId::Meta]);
}

#[test]
fn what_reads_differently_because_it_is_let_go_is_told() {
    let mut rows = Rows::new();
    let mut leaf = leaf_at_work(&mut rows);
    let effects = store(&mut rows, leaf.handle(LeafInput::Unsubscribe(vec![key("set"), key("counter")]), NOW));
    assert_eq!(effects, [LeafEffect::Changed(vec![key("counter"), key("set")])]);
    // Its own operations are all that it knows, until they are settled.
    assert_eq!(run(&mut leaf, &mut rows, "GET counter"), Reply::Bulk(Bytes::from_static(b"5")));
    let _ = sent(&mut leaf);
    let verdicts = HubToLeaf::Verdicts {
        session: session(),
        through: Seq(1),
        accepted: vec![(Seq(1), No(3), No(4))],
        refused: Vec::new(),
    };
    let effects = store(&mut rows, leaf.handle(LeafInput::Hub(verdicts), NOW));
    assert!(leaf.key(&key("counter")).is_none());
    assert_eq!(effects, [LeafEffect::Changed(vec![key("counter")])]);
}

#[test]
fn what_ends_by_itself_does_not_last() {
    let mut rows = Rows::new();
    let mut leaf = leaf_at_work(&mut rows);
    assert!(leaf.lasts(&key("counter")) && leaf.lasts(&key("set")) && leaf.lasts(&key("unknown")));
    run(&mut leaf, &mut rows, "EXPIRE counter 10");
    assert!(!leaf.lasts(&key("counter")));
    run(&mut leaf, &mut rows, "PERSIST counter");
    assert!(leaf.lasts(&key("counter")));
    run(&mut leaf, &mut rows, "HSET hash f 1");
    run(&mut leaf, &mut rows, "HEXPIRE hash 10 FIELDS 1 f");
    assert!(!leaf.lasts(&key("hash")));
}

#[test]
fn a_row_that_is_cut_short_is_refused() {
    let mut rows = Rows::new();
    leaf_at_work(&mut rows);
    for (row, body) in rows.clone() {
        for length in 0..body.len() {
            let mut damaged = rows.clone();
            damaged.insert(row.clone(), body.slice(..length));
            let error = restored(&damaged).err().unwrap_or_else(|| panic!("{row:?} of {length} bytes was taken"));
            assert!(matches!(error, LeafRestoreError::Row { row: named, .. } if named == row));
        }
    }
}

#[test]
fn flipped_bits_never_panic() {
    let mut rows = Rows::new();
    leaf_at_work(&mut rows);
    for (row, body) in rows.clone() {
        for bit in 0..body.len() * 8 {
            let mut bytes = body.to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let mut damaged = rows.clone();
            damaged.insert(row.clone(), bytes.into());
            if let Ok(mut leaf) = restored(&damaged) {
                let _ = sent(&mut leaf);
            }
        }
    }
}

#[test]
fn rows_without_the_leaf_itself_are_refused() {
    let mut rows = Rows::new();
    leaf_at_work(&mut rows);
    rows.remove(&LeafRowId::Meta);
    assert!(matches!(restored(&rows), Err(LeafRestoreError::NoMeta)));
}
