//! What the fuzzer runs, and the test that replays what it found: each target takes any bytes and must neither panic nor
//! hang nor take more memory than its input allows.
//!
//! The fuzzer's own crate includes this file, so it names nothing of the tests around it.

use bytes::Bytes;
use headwater::{
    command,
    hub::{Connection, Hub, HubEffect, HubInput, Request, RowId},
    id::{ClientId, HashSeed, Key, No, ReplicaId, TimestampMs},
    leaf::{Leaf, LeafInput},
    message::{HubToLeaf, HubToOrigin, LeafToHub, Lifetime, OriginToHub},
    origin::{JobsDone, Link, Origin, OriginConfig, OriginEffect, OriginInput, StableBy, key_state},
    slot::Slot,
    state::Kind,
    store::{Commit, Companion, LedgerOutcome, Loaded, Marker, Outcome},
    wire::{self, Message},
};
use std::{collections::BTreeMap, fmt::Debug};

/// A target's name and what it does with bytes.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: [Target; 6] =
    [("frames", frames), ("stored", stored), ("commands", commands), ("leaf", leaf), ("hub", hub), ("origin", origin)];

const NOW: TimestampMs = TimestampMs(1_700_000_000_000);

/// Steps of one script for a machine: what hangs shows within these.
const STEPS_MAX: usize = 64;

/// A frame of any kind: its first byte is the kind, its second the flags. What decodes encodes to what decodes to the same.
pub fn frames(data: &[u8]) {
    fn check<M: Message + PartialEq + Debug>(frame: &[u8]) {
        if let Ok(message) = wire::decode::<M>(frame) {
            let again = wire::encode(&message).expect("what was decoded has an encoding");
            assert_eq!(wire::decode::<M>(&again), Ok(message));
        }
    }
    let [kind, flags, body @ ..] = data else { return };
    let _ = wire::decode::<LeafToHub>(data);
    let frame = framed(*kind, *flags, body);
    match *kind {
        LeafToHub::KIND => check::<LeafToHub>(&frame),
        HubToLeaf::KIND => check::<HubToLeaf>(&frame),
        HubToOrigin::KIND => check::<HubToOrigin>(&frame),
        OriginToHub::KIND => check::<OriginToHub>(&frame),
        _ => {}
    }
}

/// A stored body: its first byte says of what.
pub fn stored(data: &[u8]) {
    let Some((what, body)) = data.split_first() else { return };
    match what % 4 {
        0 => {
            if let Ok(header) = wire::decode_header(body) {
                assert_eq!(wire::decode_header(&wire::encode_header(&header)), Ok(header));
            }
        }
        1 => {
            for kind in Kind::ALL {
                if let Ok(element) = wire::decode_element(kind, body) {
                    let again = wire::encode_element(kind, &element);
                    assert_eq!(wire::decode_element(kind, &again), Ok(element));
                }
            }
        }
        2 => {
            if let Some(row) = RowId::from_bytes(body) {
                assert_eq!(row.to_bytes(), body);
            }
        }
        _ => {
            let fields = chunks(body).map(|(tag, value)| {
                let name = if tag & 1 == 0 { vec![b'h'] } else { vec![b'e', tag >> 1 & 3, tag] };
                (Bytes::from(name), Bytes::copy_from_slice(value))
            });
            let _ = key_state(&Companion { version: 1, fields: fields.collect() });
        }
    }
}

/// Commands of words that end with a zero byte, executed in a hub, and read as numbers.
pub fn commands(data: &[u8]) {
    let (mut hub, _) = Hub::create("hub".to_owned(), 1 << 32, NOW);
    for (at, line) in data.split(|byte| *byte == b'\n').take(STEPS_MAX).enumerate() {
        let argv: Vec<Bytes> = line.split(|byte| *byte == 0).map(Bytes::copy_from_slice).collect();
        for word in &argv {
            let _ = (command::parse_integer(word), command::parse_score(word), command::parse_score_bound(word));
            if let Ok(key) = Key::new(word.clone()) {
                assert_eq!(Slot::of(key.slot().tag().as_bytes()), key.slot());
            }
        }
        let _ = command::parse(&argv);
        let commands = HubInput::Commands { request: Request(at as u64), commands: vec![argv], idempotency: None };
        let _ = hub.handle(commands, NOW.plus_ms(at as i64));
    }
}

/// A leaf whose hub says anything.
pub fn leaf(data: &[u8]) {
    let mut leaf = Leaf::new(ClientId(1), Lifetime::Tab);
    let mut now = NOW;
    for (tag, body) in chunks(data).take(STEPS_MAX) {
        now = now.plus_ms(i64::from(tag >> 4) * 997);
        let input = match tag & 7 {
            0 => LeafInput::Opened,
            1 => LeafInput::Closed,
            2 => LeafInput::Tick,
            3 => LeafInput::Subscribe(keys(body)),
            4 => LeafInput::Unsubscribe(keys(body)),
            5 => {
                let argv: Vec<Bytes> = body.split(|byte| *byte == 0).map(Bytes::copy_from_slice).collect();
                let _ = leaf.command(&argv, now);
                continue;
            }
            _ => match wire::decode(&framed(HubToLeaf::KIND, 0, body)) {
                Ok(message) => LeafInput::Hub(message),
                Err(_) => continue,
            },
        };
        let _ = leaf.handle(input, now);
        let _ = leaf.status();
    }
}

/// A hub to which leaves, origins and other hubs say anything. What it stores restores.
pub fn hub(data: &[u8]) {
    let (mut hub, effects) = Hub::create("hub".to_owned(), 1 << 32, NOW);
    let mut rows = BTreeMap::new();
    persist(&mut rows, effects);
    let mut now = NOW;
    for (tag, body) in chunks(data).take(STEPS_MAX) {
        now = now.plus_ms(i64::from(tag >> 5) * 997);
        let connection = Connection(u64::from(tag >> 4 & 1));
        let origin = Connection(connection.0 + 2);
        let input = match tag & 15 {
            0..5 => match wire::decode(&framed(LeafToHub::KIND, 0, body)) {
                Ok(message) => HubInput::Leaf(connection, message),
                Err(_) => continue,
            },
            5..10 => match wire::decode(&framed(OriginToHub::KIND, 0, body)) {
                Ok(message) => HubInput::Origin(origin, message),
                Err(_) => continue,
            },
            10 => match wire::decode(&framed(LeafToHub::KIND, 0, body)) {
                Ok(message) => HubInput::Relay(Request(7), message),
                Err(_) => continue,
            },
            11 => match wire::decode(&framed(HubToLeaf::KIND, 0, body)) {
                Ok(message) => HubInput::Forwarded(connection, message),
                Err(_) => continue,
            },
            12 => HubInput::LeafClosed(connection),
            13 => HubInput::OriginClosed(origin),
            14 => HubInput::Tick,
            _ => {
                let argv = body.split(|byte| *byte == 0).map(Bytes::copy_from_slice).collect();
                HubInput::Commands { request: Request(9), commands: vec![argv], idempotency: None }
            }
        };
        persist(&mut rows, hub.handle(input, now));
    }
    Hub::restore("hub".to_owned(), rows).expect("a hub restores from what it persisted");
}

/// An origin to which hubs say anything. Its store keeps what it commits.
pub fn origin(data: &[u8]) {
    let run_id = Bytes::from_static(b"run");
    let mut origin = Origin::new(OriginConfig {
        run_id,
        entropy: 1 << 40,
        seed: HashSeed(1, 2),
        stable_by: StableBy::Either,
        loss_window_ms: 1000,
        window_ms: 20,
        window_ms_max: 20,
        audit_ms: 1000,
    });
    let mut store = BTreeMap::new();
    let mut ledgers = BTreeMap::new();
    let mut now = NOW;
    for (tag, body) in chunks(data).take(STEPS_MAX) {
        now = now.plus_ms(i64::from(tag >> 4) * 997);
        let link = Link(u64::from(tag >> 3 & 1));
        let input = match tag & 7 {
            0 => OriginInput::Opened(link),
            1 => OriginInput::Closed(link),
            2 => OriginInput::Tick,
            _ => match wire::decode(&framed(HubToOrigin::KIND, 0, body)) {
                Ok(message) => OriginInput::Hub(link, message),
                Err(_) => continue,
            },
        };
        let mut inputs = vec![input];
        // Each answer may lead to another question; a machine that asks for ever hangs.
        for round in 0.. {
            assert!(round < 10_000, "the origin comes to rest");
            let Some(input) = inputs.pop() else { break };
            for effect in origin.handle(input, now) {
                match effect {
                    OriginEffect::Load(load) => {
                        let (marker, companions) = store.entry(load.slot).or_insert_with(SlotRows::default);
                        inputs.push(OriginInput::Loaded(Loaded {
                            slot: load.slot,
                            marker: marker.clone(),
                            keys: load.keys.iter().map(|key| (key.clone(), companions.get(key).cloned())).collect(),
                            changed: vec![],
                            plain: vec![],
                            evictions: 0,
                        }));
                    }
                    OriginEffect::Commit(commit) => {
                        let slot = commit.slot;
                        apply(store.entry(slot).or_default(), commit);
                        inputs.push(OriginInput::Committed(slot, Outcome::Committed));
                    }
                    OriginEffect::Run { link, call, commands, .. } => {
                        let replies = vec![Err("ERR there is no server".into()); commands.len()];
                        inputs.push(OriginInput::Ran(link, call, replies));
                    }
                    OriginEffect::Jobs { link, hub, slot, jobs } => {
                        let through = jobs.last().map_or(No::ZERO, |(no, _)| *no);
                        let done = JobsDone { hub, slot, through, replies: Vec::new() };
                        inputs.push(OriginInput::JobsDone(link, done));
                    }
                    OriginEffect::Swap(swap) => {
                        let outcome = swap.judged(ledgers.get(&swap.key));
                        if outcome == LedgerOutcome::Swapped {
                            ledgers.extend(swap.stored().map(|stored| (swap.key.clone(), stored)));
                        }
                        inputs.push(OriginInput::Swapped(swap.key, outcome));
                    }
                    OriginEffect::Confirm(slots) => inputs.push(OriginInput::Survives(slots)),
                    OriginEffect::Listen(topic) => inputs.push(OriginInput::Listening(topic, Ok(()))),
                    OriginEffect::ToHub(..)
                    | OriginEffect::Unlisten(_)
                    | OriginEffect::Close(..)
                    | OriginEffect::Foreign(_)
                    | OriginEffect::Adopted(_)
                    | OriginEffect::Erased(_)
                    | OriginEffect::WakeAt(_) => {}
                }
            }
        }
    }
}

/// Parts of a script: a byte, a length of two bytes, and so many more, or what is left.
fn chunks(mut data: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        let [tag, low, high, rest @ ..] = data else { return None };
        let length = usize::from(u16::from_le_bytes([*low, *high])).min(rest.len());
        let (body, rest) = rest.split_at(length);
        data = rest;
        Some((*tag, body))
    })
}

/// A part of a script.
pub fn chunk(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).expect("a script's part is short").to_le_bytes();
    [&[tag], &length[..], body].concat()
}

fn keys(body: &[u8]) -> Vec<Key> {
    body.split(|byte| *byte == 0).filter_map(|name| Key::new(Bytes::copy_from_slice(name)).ok()).collect()
}

fn persist(rows: &mut BTreeMap<RowId, Vec<u8>>, effects: Vec<HubEffect>) {
    for effect in effects {
        let HubEffect::Persist(writes) = effect else { continue };
        for write in writes {
            match write.body {
                Some(body) => rows.insert(write.id, body.to_vec()),
                None => rows.remove(&write.id),
            };
        }
    }
}

type SlotRows = (Option<Marker>, BTreeMap<Key, Companion>);

fn apply((marker, companions): &mut SlotRows, commit: Commit) {
    let change = commit.marker;
    let mut next = marker.take().unwrap_or(Marker {
        incarnation: ReplicaId::from_bits(0),
        run_id: Bytes::new(),
        seq: 0,
        no: change.no,
        previous: None,
        hubs: BTreeMap::new(),
    });
    if let Some((incarnation, run_id, previous)) = change.open {
        (next.incarnation, next.run_id, next.previous) = (incarnation, run_id, previous);
    }
    (next.seq, next.no) = (change.seq, change.no);
    next.hubs.extend(change.hubs);
    *marker = Some(next);
    for key in commit.keys {
        if key.forget {
            companions.remove(&key.key);
            continue;
        }
        let companion = companions.entry(key.key).or_default();
        companion.version = key.version;
        key.delete.iter().for_each(|name| drop(companion.fields.remove(name)));
        companion.fields.extend(key.put);
    }
}

/// A frame with a right length and checksum around any body.
fn framed(kind: u8, flags: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).expect("a fuzzer's input is short").to_le_bytes();
    let head = [&b"HW"[..], &[wire::VERSION, kind, flags], &length].concat();
    let crc = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC).checksum(&[&head[..], body].concat()).to_le_bytes();
    [&head[..], &crc, body].concat()
}
