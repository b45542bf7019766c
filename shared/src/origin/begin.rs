//! Commits of keys that begin, straight from the deltas.
//!
//! Most keys are new to the store when a hub first tells of them, and most of these are never written to again. Where all that
//! waits in a slot is of such keys, what the commit writes is what the deltas say: no state is made of it, and none is kept. The
//! commit demands that nothing stands there. Where it is refused, and wherever there is more to do, the deltas go the way of all
//! others (`commit.rs`), with the same outcome.

use super::{
    Link, Origin, OriginEffect,
    commit::Committing,
    companion::{element_field, header_field},
    plain,
    slot::{Busy, SlotWork},
};
use crate::{
    id::{Key, ReplicaId, TimestampMs},
    message::SlotDelta,
    slot::Slot,
    state::{Ctx, KeyDelta},
    store::{Commit, Expected, KeyCommit, MarkerChange, Plain},
};
use std::collections::BTreeMap;

impl Origin {
    /// Commits what has arrived, if all of it begins keys and nothing else is to be done in the slot. Says whether it is so.
    pub(super) fn begin(&mut self, slot: Slot, now: TimestampMs) -> bool {
        let Some(work) = self.slots.get(&slot) else { return false };
        let seq = work.seq().saturating_add(1);
        let own = work.marker.as_ref().map(|marker| marker.incarnation);
        let mut links = BTreeMap::new();
        let mut hubs = Vec::new();
        let mut keys = Vec::new();
        for (link, part) in &work.arrived {
            let Some(hub) = self.links.get(link).and_then(|state| state.hub) else { return false };
            // A second part of a hub is of a slot that is sent in pieces, or of an earlier greeting.
            if hubs.iter().any(|(other, _)| *other == hub) || !joins_up(work, part, hub, own) {
                return false;
            }
            for (key, delta) in &part.keys {
                let Some(begun) = begun(key, delta, hub, seq, now) else { return false };
                if work.is_known_key(key) || self.is_held_by_any(slot, key) {
                    return false;
                }
                keys.push(begun);
            }
            links.insert(*link, hub);
            hubs.push((hub, part.to));
        }
        let is_ascending = |keys: &[KeyCommit]| matches!(keys, [a, b] if a.key < b.key);
        if !keys.windows(2).all(is_ascending) {
            // As those of several hubs mostly are not.
            keys.sort_unstable_by(|a, b| a.key.cmp(&b.key));
            if !keys.windows(2).all(is_ascending) {
                return false;
            }
        }
        hubs.sort_unstable();
        let open = work.marker.is_none().then(|| (self.fresh_incarnation(), self.config.run_id.clone(), None));
        let Some(work) = self.slots.get_mut(&slot) else { return false };
        let no = work.marker.as_ref().map(|marker| marker.no).unwrap_or_default();
        let change = MarkerChange { open, seq, no, hubs };
        keys.iter().for_each(|part| self.watch.written(&part.key, now));
        let shown = keys.iter().map(|part| part.key.clone()).collect();
        let commit = Commit { slot, fence: own, expected_seq: work.seq(), marker: change.clone(), keys };
        let taken = std::mem::take(&mut work.arrived);
        work.plain.fresh.clear();
        work.busy = Busy::Committing;
        work.committing = Some(Box::new(Committing::beginning(change, links, taken, shown, now)));
        self.requests = self.requests.saturating_add(1);
        self.effects.push(OriginEffect::Commit(commit));
        true
    }

    /// The commit has happened: the hubs hold from now on what they began, and are told so, unless they meanwhile want it no
    /// more.
    pub(super) fn hold_begun(&mut self, slot: Slot, taken: Vec<(Link, SlotDelta)>, unwanted: &[(Link, Option<Key>)]) {
        for (link, part) in taken {
            let is_unwanted = |key: &Key| {
                let is_it = |other: &Option<Key>| other.as_ref().is_none_or(|other| other == key);
                unwanted.iter().any(|(other, of)| *other == link && is_it(of))
            };
            let keys = part.keys.into_iter().map(|(key, _)| key).filter(|key| !is_unwanted(key));
            let keys: Vec<Key> = keys.filter(|_| !fault!(UnheldNotSent)).collect();
            let Some(work) = self.slots.get_mut(&slot).filter(|_| !keys.is_empty()) else { continue };
            if work.is_attaching(link) {
                // It is told of them after what it is to hear first.
                keys.iter().for_each(|key| work.want(link, key, self.is_plainless));
                continue;
            }
            let at = work.cursor();
            self.show_cursor(link, slot);
            let Some(held) = self.links.get_mut(&link).map(|state| state.held_from(slot, at)) else { continue };
            held.keys.extend(keys.iter().cloned());
            self.begun.entry(link).or_default().push((slot, at, keys));
        }
    }

    fn is_held_by_any(&self, slot: Slot, key: &Key) -> bool {
        self.links.values().filter_map(|state| state.held.get(&slot)).any(|held| held.keys.contains(key))
    }
}

/// Whether all of a part is new, and nothing before it is missing.
fn joins_up(work: &SlotWork, part: &SlotDelta, hub: ReplicaId, own: Option<ReplicaId>) -> bool {
    let known = work.number_of(hub);
    part.from <= known && known < part.to && part.history.is_none_or(|history| Some(history) == own)
}

/// What the commit at `seq` writes of a key that begins with this delta, if the delta is no more than the first writes of one
/// hub to a key that does not end, all of which show.
fn begun(key: &Key, delta: &KeyDelta, hub: ReplicaId, seq: u64, now: TimestampMs) -> Option<KeyCommit> {
    let KeyDelta { header, complete: false, elements } = delta else { return None };
    let mut claims = header.claims.iter();
    let (Some((kind, _)), None) = (claims.next(), claims.next()) else { return None };
    let is_of_hub = header.ctx.replicas().all(|replica| replica == hub);
    if !is_of_hub || header.wipe != Ctx::default() || header.deadline.at().is_some() {
        return None;
    }
    let commands = plain::begin(key, kind, elements, now)?;
    let mut put: Vec<_> = elements.iter().map(|(id, element)| element_field(id, Some(element), seq)).collect();
    put.push(header_field(header, 0, []));
    let expected = if fault!(AbsenceNotCompared) { Expected::AbsentOr(kind) } else { Expected::Absent };
    Some(KeyCommit {
        key: key.clone(),
        expected_version: None,
        version: seq,
        forget: false,
        put,
        delete: Vec::new(),
        expire_at: None,
        plain: Plain { expected, guards: Vec::new(), commands },
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use crate::{
        hub::{Connection, Hub, HubEffect, HubInput, Request},
        id::{HashSeed, No},
        message::{HubToOrigin, OriginToHub},
        origin::{OriginConfig, OriginInput, StableBy},
        store::{Loaded, Marker, Outcome},
        wire::Capabilities,
    };
    use bytes::Bytes;

    const NOW: TimestampMs = TimestampMs(1_700_000_000_000);
    const LINK: Link = Link(1);

    /// What a hub says of these commands on one key, its hello first.
    fn said(lines: &[&str]) -> Vec<HubToOrigin> {
        let (mut hub, _) = Hub::create("hub".to_owned(), 7, NOW);
        let words = |line: &&str| line.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
        let commands = lines.iter().map(words).collect();
        let greeting = [
            HubInput::Origin(Connection(1), OriginToHub::Welcome { now: NOW, capabilities: Capabilities::CURRENT }),
            HubInput::Commands { request: Request(0), commands, idempotency: None },
            HubInput::Origin(Connection(1), OriginToHub::Credit(1)),
        ];
        let effects = greeting.into_iter().flat_map(|input| hub.handle(input, NOW)).collect::<Vec<_>>();
        let said = effects.into_iter().filter_map(|effect| match effect {
            HubEffect::ToOrigin(_, message @ (HubToOrigin::Hello { .. } | HubToOrigin::Delta(_))) => Some(message),
            _ => None,
        });
        said.collect()
    }

    fn origin(expects_new: bool) -> Origin {
        let config = OriginConfig {
            run_id: Bytes::from_static(b"run"),
            entropy: 1,
            stable_by: StableBy::Window,
            loss_window_ms: 1,
            window_ms: 0,
            window_ms_max: 0,
            seed: HashSeed(1, 2),
            audit_ms: 1_000_000,
        };
        let origin = Origin::new(config);
        if expects_new { origin.expecting_new_keys() } else { origin }
    }

    fn inputs(said: &[HubToOrigin]) -> Vec<OriginInput> {
        let messages = said.iter().map(|message| OriginInput::Hub(LINK, message.clone()));
        [OriginInput::Opened(LINK)].into_iter().chain(messages).collect()
    }

    /// What the store has of each slot.
    #[derive(Default)]
    struct Held {
        marker: Option<Marker>,
        evictions: u64,
    }

    /// The commit that an origin makes of it, and how many keys each load before it read.
    fn committed(origin: &mut Origin, mut inputs: Vec<OriginInput>, held: &Held) -> (Commit, Vec<usize>) {
        let mut loads = Vec::new();
        loop {
            let effects = origin.handle_all(inputs, NOW);
            inputs = Vec::new();
            for effect in effects {
                match effect {
                    OriginEffect::Load(load) => {
                        loads.push(load.keys.len());
                        let keys = load.keys.into_iter().map(|key| (key, None)).collect();
                        let (marker, evictions) = (held.marker.clone(), held.evictions);
                        let (slot, changed, plain) = (load.slot, Vec::new(), Vec::new());
                        inputs.push(OriginInput::Loaded(Loaded { slot, marker, keys, changed, plain, evictions }));
                    }
                    OriginEffect::Commit(commit) => return (commit, loads),
                    _ => {}
                }
            }
            assert!(!inputs.is_empty(), "nothing is committed");
        }
    }

    #[test]
    fn a_key_begins_as_the_way_of_all_deltas_would_have_it() {
        for lines in [
            &["SET k v"][..],
            &["INCRBY k 5", "DECR k"],
            &["SET k 5", "INCR k"],
            &["HSET k f v g w", "HINCRBY k n 3", "HSET k f x"],
            &["SADD k a b c"],
            &["ZADD k 1.5 a -2 b", "ZINCRBY k 3 a", "ZADD k GT 9 c"],
            &["ZINCRBY k 3 a"],
            &["HSET {k}1 f v", "HSET {k}2 f v", "SADD {k}0 m", "INCR {k}3"],
        ] {
            let said = said(lines);
            assert_eq!(said.len(), 2, "{lines:?}");
            let (begun, loads) = committed(&mut origin(true), inputs(&said), &Held::default());
            assert_eq!(loads, [], "{lines:?} begin without a look");
            let (joined, loads) = committed(&mut origin(false), inputs(&said), &Held::default());
            assert!(loads.iter().sum::<usize>() > 0, "{lines:?} are looked up where nothing is expected");
            assert_eq!(begun, joined, "{lines:?}");
        }
    }

    /// What the hub of [`said`] says next, of one new key each time.
    fn says_next(key: &str, no: u64) -> OriginInput {
        let [_, HubToOrigin::Delta(parts)] = &*said(&[&format!("SADD {key} m")]) else {
            panic!("a hub says what it did")
        };
        let part = parts.iter().cloned().map(|part| SlotDelta { from: No(no), to: No(no + 1), ..part });
        OriginInput::Hub(LINK, HubToOrigin::Delta(part.collect()))
    }

    #[test]
    fn a_slot_that_was_begun_without_a_look_is_known_from_then_on() {
        let mut origin = origin(true);
        let (first, _) = committed(&mut origin, inputs(&said(&["SADD {k}1 m"])), &Held::default());
        let next = vec![OriginInput::Committed(first.slot, Outcome::Committed), says_next("{k}2", 1)];
        let (second, loads) = committed(&mut origin, next, &Held::default());
        assert_eq!((second.slot, second.expected_seq, loads), (first.slot, 1, vec![]));
        assert!(second.fence.is_some() && second.fence == first.marker.open.map(|(incarnation, ..)| incarnation));
    }

    #[test]
    fn a_slot_that_was_taken_for_new_is_read_once_the_store_says_that_it_is_not() {
        let mut origin = origin(true);
        let (first, loads) = committed(&mut origin, inputs(&said(&["SADD k m"])), &Held::default());
        assert_eq!((first.fence, first.expected_seq, loads), (None, 0, vec![]));
        let marker = Marker {
            incarnation: ReplicaId::from_bits(9),
            run_id: Bytes::from_static(b"run"),
            seq: 5,
            no: No::ZERO,
            previous: None,
            hubs: BTreeMap::new(),
        };
        let stale = vec![OriginInput::Committed(first.slot, Outcome::Stale)];
        let held = Held { marker: Some(marker.clone()), evictions: 0 };
        let (commit, loads) = committed(&mut origin, stale, &held);
        assert_ne!(loads, []);
        assert_eq!((commit.fence, commit.expected_seq), (Some(marker.incarnation), marker.seq));
        assert_eq!(commit.keys.len(), 1);
        // The next slot is not taken for new.
        let (_, loads) = committed(&mut origin, vec![says_next("other", 0)], &Held::default());
        assert_ne!(loads, []);
    }

    #[test]
    fn no_slot_is_taken_for_new_where_values_are_evicted() {
        let mut origin = origin(true);
        let (first, _) = committed(&mut origin, inputs(&said(&["SADD k m"])), &Held::default());
        let stale = vec![OriginInput::Committed(first.slot, Outcome::Stale)];
        committed(&mut origin, stale, &Held { marker: None, evictions: 1 });
        for key in ["a", "b", "c", "d", "e", "f"] {
            let (_, loads) = committed(&mut origin, vec![says_next(key, 0)], &Held { marker: None, evictions: 1 });
            assert_ne!(loads, [], "{key}");
        }
    }

    #[test]
    fn a_hub_is_asked_ahead_after_a_frame_of_much_and_once_for_each() {
        let credits = |effects: &[OriginEffect]| {
            effects.iter().filter(|effect| matches!(effect, OriginEffect::ToHub(_, OriginToHub::Credit(_)))).count()
        };
        let mut origin = origin(true);
        let lines: Vec<String> = (0..1_000).map(|at| format!("SADD k{at} m")).collect();
        let said = said(&lines.iter().map(String::as_str).collect::<Vec<_>>());
        let effects = origin.handle_all(inputs(&said[..1]), NOW);
        assert_eq!(credits(&effects), 1, "it may send at once");
        let effects = origin.handle(OriginInput::Hub(LINK, said[1].clone()), NOW);
        assert_eq!(credits(&effects), 1, "nothing of it is committed, and the next is asked for");
        let commits = effects.into_iter().filter_map(|effect| match effect {
            OriginEffect::Commit(commit) => Some(OriginInput::Committed(commit.slot, Outcome::Committed)),
            _ => None,
        });
        let commits: Vec<_> = commits.collect();
        assert!(commits.len() > 100);
        assert_eq!(credits(&origin.handle_all(commits, NOW)), 0);
        let effects = origin.handle(says_next("little", 1_000), NOW);
        assert_eq!(credits(&effects), 0, "more is not committed than may be left over");
    }

    #[test]
    fn what_is_more_than_a_beginning_goes_the_way_of_all_deltas() {
        for lines in
            [&["SET k v EX 100"][..], &["SET {k}1 v", "SET {k}2 v PX 100"], &["SADD {k}1 m", "SETEX {k}2 100 v"]]
        {
            let said = said(lines);
            assert_eq!(said.len(), 2, "{lines:?}");
            let [begun, joined] =
                [true, false].map(|expects_new| committed(&mut origin(expects_new), inputs(&said), &Held::default()).0);
            assert_eq!(begun, joined, "{lines:?}");
        }
    }
}
