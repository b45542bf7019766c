//! A model of the origin's Redis: compare-and-set commits, plain values, expiry, and a failover that loses the last second.

use crate::scenario::LOSS_WINDOW_MS;
use bytes::Bytes;
use headwater::{
    fault::{self, Fault},
    id::{Key, No, ReplicaId, TimestampMs},
    slot::Slot,
    state::Kind,
    store::{
        Commit, Companion, Expected, KeyCommit, LedgerOutcome, LedgerSwap, Load, Loaded, Marker, Otherwise, Outcome,
        PlainRead, PlainValue, StoredLedger,
    },
};
use std::collections::{BTreeMap, BTreeSet};

/// A plain Redis value.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Value {
    String(Bytes),
    Set(BTreeSet<Bytes>),
    Hash(BTreeMap<Bytes, Bytes>),
    Board(BTreeMap<Bytes, f64>),
}

impl Value {
    fn kind(&self) -> Kind {
        match self {
            Self::String(_) => Kind::String,
            Self::Set(_) => Kind::Set,
            Self::Hash(_) => Kind::Hash,
            Self::Board(_) => Kind::Board,
        }
    }

    fn is_empty(&self) -> bool {
        match self {
            Self::String(_) => false,
            Self::Set(members) => members.is_empty(),
            Self::Hash(fields) => fields.is_empty(),
            Self::Board(members) => members.is_empty(),
        }
    }
}

#[derive(Clone, Default)]
struct Data {
    markers: BTreeMap<Slot, Marker>,
    companions: BTreeMap<Key, (Companion, Option<TimestampMs>)>,
    plain: BTreeMap<Key, (Value, Option<TimestampMs>)>,
    feed: BTreeMap<Slot, BTreeMap<Key, u64>>,
    /// The accounts of strict limits, with the run id under which each was written.
    ledgers: BTreeMap<Key, (u64, StoredLedger)>,
}

/// The store, with snapshots of its recent past for a failover to fall back to.
pub(crate) struct Store {
    data: Data,
    /// The most that was ever committed of each hub in a slot, whatever was lost of it since.
    reached: BTreeMap<(Slot, ReplicaId), No>,
    snapshots: Vec<(TimestampMs, Data)>,
    pub(crate) run_id: u64,
    reach_ms: i64,
    /// A failover loses nothing that was there by then, where replicas hold what they say.
    replicated_at: Option<TimestampMs>,
    evictions: u64,
}

impl Store {
    /// A store of which a failover may lose so many milliseconds.
    pub(crate) fn new(reach_ms: i64) -> Self {
        Self {
            data: Data::default(),
            reached: BTreeMap::new(),
            snapshots: Vec::new(),
            run_id: 1,
            reach_ms,
            replicated_at: None,
            evictions: 0,
        }
    }

    /// Keeps the state as of now for a later failover.
    pub(crate) fn snapshot(&mut self, now: TimestampMs) {
        self.snapshots.push((now, self.data.clone()));
        self.snapshots.retain(|(at, _)| now.since_ms(*at) <= self.reach_ms);
    }

    /// Every replica has all that is there now.
    pub(crate) fn replicate(&mut self, now: TimestampMs) {
        self.snapshot(now);
        self.replicated_at = Some(now);
    }

    /// Another server takes over with what it had at that time, or with the oldest that is kept.
    ///
    /// Gives the time as of which its data is.
    pub(crate) fn fail_over(&mut self, to: TimestampMs) -> Option<TimestampMs> {
        self.run_id += 1;
        self.evictions = 0;
        // More than the window is lost where replicas told more than they kept, too.
        let replicated_at = self.replicated_at.take().filter(|_| self.reach_ms <= LOSS_WINDOW_MS);
        let to = replicated_at.map_or(to, |at| to.max(at));
        let kept = self.snapshots.iter().rev().find(|(at, _)| *at <= to).or(self.snapshots.first());
        let kept_at = kept.map(|(at, data)| {
            self.data = data.clone();
            *at
        });
        self.snapshots.clear();
        kept_at
    }

    /// A plain client's INCRBY or ZADD GT.
    pub(crate) fn write_plainly(&mut self, key: &Key, command: &[Bytes], now: TimestampMs) {
        let [name, _, gt, score, member] = command else { return self.run(key, command, now) };
        assert_eq!((name.as_ref(), gt.as_ref()), (&b"ZADD"[..], &b"GT"[..]), "another command has other words");
        let number = |text: &Bytes| -> f64 { std::str::from_utf8(text).unwrap().parse().unwrap() };
        let is_raised = match self.plain(key, now).map(|(value, _)| value) {
            Some(Value::Board(members)) => members.get(member).is_none_or(|known| *known < number(score)),
            _ => true,
        };
        if is_raised {
            self.run(key, &[name.clone(), key.clone().into(), score.clone(), member.clone()], now);
        }
    }

    /// All is lost; with a restart under a new run id.
    pub(crate) fn flush(&mut self, is_restart: bool) {
        self.data = Data::default();
        self.snapshots.clear();
        self.replicated_at = None;
        self.run_id += u64::from(is_restart);
    }

    /// The server drops a plain value for want of memory.
    pub(crate) fn evict(&mut self, key: &Key) {
        self.evictions += 1;
        self.data.plain.remove(key);
    }

    /// The server drops a companion and its plain value for want of memory.
    pub(crate) fn lose(&mut self, key: &Key) {
        self.evictions += 1;
        self.data.companions.remove(key);
        self.data.plain.remove(key);
    }

    /// The most that was ever committed of a hub in a slot.
    pub(crate) fn reached(&self, slot: Slot, hub: ReplicaId) -> No {
        self.reached.get(&(slot, hub)).copied().unwrap_or_default()
    }

    /// The keys with companions that have not vanished.
    pub(crate) fn companions(&self, now: TimestampMs) -> impl Iterator<Item = (&Key, &Companion)> {
        let alive = self.data.companions.iter().filter(move |(_, (_, ends))| ends.is_none_or(|at| now < at));
        alive.map(|(key, (companion, _))| (key, companion))
    }

    /// The keys that have a plain value.
    pub(crate) fn plain_keys(&self, now: TimestampMs) -> impl Iterator<Item = &Key> {
        let alive = self.data.plain.iter().filter(move |(_, (_, ends))| ends.is_none_or(|at| now < at));
        alive.map(|(key, _)| key)
    }

    /// The keys in the change feeds.
    pub(crate) fn feed(&self) -> impl Iterator<Item = &Key> {
        self.data.feed.values().flat_map(BTreeMap::keys)
    }

    pub(crate) fn marker(&self, slot: Slot) -> Option<&Marker> {
        self.data.markers.get(&slot)
    }

    pub(crate) fn companion(&self, key: &Key, now: TimestampMs) -> Option<&Companion> {
        let (companion, ends) = self.data.companions.get(key)?;
        ends.is_none_or(|at| now < at).then_some(companion)
    }

    pub(crate) fn plain(&self, key: &Key, now: TimestampMs) -> Option<(&Value, Option<TimestampMs>)> {
        let (value, ends) = self.data.plain.get(key)?;
        ends.is_none_or(|at| now < at).then_some((value, *ends))
    }

    pub(crate) fn load(&self, load: &Load, now: TimestampMs) -> Loaded {
        let changed = load.changed_after.map_or_else(Vec::new, |after| {
            let feed = self.data.feed.get(&load.slot).into_iter().flatten();
            feed.filter(|(_, seq)| **seq > after).map(|(key, seq)| (key.clone(), *seq)).collect()
        });
        Loaded {
            slot: load.slot,
            marker: self.marker(load.slot).cloned(),
            keys: load.keys.iter().map(|key| (key.clone(), self.companion(key, now).cloned())).collect(),
            changed,
            plain: load.plain.iter().map(|plain| (plain.key.clone(), self.read(&plain.key, now))).collect(),
            evictions: self.evictions,
        }
    }

    pub(crate) fn swap(&mut self, swap: &LedgerSwap) -> LedgerOutcome {
        let standing = self.data.ledgers.get(&swap.key);
        let standing =
            standing.map(|(run_id, stored)| StoredLedger { is_current: *run_id == self.run_id, ..stored.clone() });
        let outcome = swap.judged(standing.as_ref());
        if outcome == LedgerOutcome::Swapped
            && let Some(stored) = swap.stored()
        {
            self.data.ledgers.insert(swap.key.clone(), (self.run_id, stored));
        }
        outcome
    }

    fn read(&self, key: &Key, now: TimestampMs) -> PlainRead {
        let found = self.plain(key, now);
        let value = found.map(|(value, _)| match value.clone() {
            Value::String(bytes) => PlainValue::String(bytes),
            Value::Set(members) => PlainValue::Set(members),
            Value::Hash(fields) => PlainValue::Hash(fields),
            Value::Board(members) => PlainValue::Board(members),
        });
        let is_listed = self.data.feed.get(&key.slot()).is_some_and(|feed| feed.contains_key(key));
        PlainRead { value, expire_at: found.and_then(|(_, ends)| ends), tells_expiry: true, is_listed }
    }

    /// What a guard's read answers.
    fn answer(&self, key: &Key, read: &[Bytes], now: TimestampMs) -> Option<Bytes> {
        match (self.plain(key, now).map(|(value, _)| value), read.get(2)) {
            (Some(Value::String(text)), None) => Some(text.clone()),
            (Some(Value::Hash(fields)), Some(field)) => fields.get(field).cloned(),
            (Some(Value::Board(members)), Some(member)) => {
                members.get(member).map(|score| headwater::command::format_score(*score))
            }
            (Some(Value::Set(members)), Some(member)) => {
                Some(Bytes::from_static(if members.contains(member) { b"1" } else { b"0" }))
            }
            _ => None,
        }
    }

    pub(crate) fn commit(&mut self, commit: &Commit, now: TimestampMs) -> Outcome {
        // Redis runs this as a script; here act the mistakes that such a script could make.
        let unfenced = fault::is_active(Fault::CommitWithoutFence);
        let marker = self.marker(commit.slot);
        let is_fenced = marker.map(|marker| marker.incarnation) == commit.fence;
        let is_next = marker.map_or(0, |marker| marker.seq) == commit.expected_seq;
        let is_next = is_next || fault::is_active(Fault::SequenceNotCompared);
        if !(is_fenced && is_next || unfenced) {
            return Outcome::Stale;
        }
        let stale = |key: &&KeyCommit| {
            self.companion(&key.key, now).map(|companion| companion.version) != key.expected_version && !unfenced
        };
        let conflicts: Vec<Key> = commit.keys.iter().filter(stale).map(|key| key.key.clone()).collect();
        if !conflicts.is_empty() {
            return Outcome::Conflict(conflicts);
        }
        let (mut missing, mut foreign) = (Vec::new(), Vec::new());
        for key in commit.keys.iter().filter(|key| !key.plain.commands.is_empty()) {
            let found = self.plain(&key.key, now).map(|(value, _)| value.kind());
            match (key.plain.expected, found) {
                (Expected::Present(_), None) => missing.push(key.key.clone()),
                (Expected::Absent | Expected::AbsentOr(_), None) => {}
                (Expected::Present(kind) | Expected::AbsentOr(kind), Some(found)) if kind == found => {}
                _ => foreign.push(key.key.clone()),
            }
        }
        if !missing.is_empty() {
            return Outcome::Missing(missing);
        }
        if !foreign.is_empty() {
            return Outcome::Foreign(foreign);
        }
        let (mut moved, mut drifted) = (Vec::new(), Vec::new());
        for key in &commit.keys {
            match key.plain.judged(|read| self.answer(&key.key, read, now)) {
                Some(Otherwise::Refuse) => moved.push(key.key.clone()),
                Some(_) => drifted.push(key.key.clone()),
                None => {}
            }
        }
        if !moved.is_empty() {
            return Outcome::Moved(moved);
        }
        for key in &commit.keys {
            self.write(commit.slot, key, now);
        }
        let change = &commit.marker;
        if let Some((incarnation, run_id, previous)) = &change.open {
            let hubs = self.marker(commit.slot).map(|marker| marker.hubs.clone()).unwrap_or_default();
            let marker = Marker {
                incarnation: *incarnation,
                run_id: run_id.clone(),
                seq: change.seq,
                no: change.no,
                previous: *previous,
                hubs,
            };
            self.data.markers.insert(commit.slot, marker);
        }
        if let Some(marker) = self.data.markers.get_mut(&commit.slot) {
            marker.seq = change.seq;
            marker.no = change.no;
            marker.hubs.extend(change.hubs.iter().copied());
        }
        for (hub, no) in &change.hubs {
            let reached = self.reached.entry((commit.slot, *hub)).or_default();
            *reached = (*reached).max(*no);
        }
        if drifted.is_empty() { Outcome::Committed } else { Outcome::Drifted(drifted) }
    }

    fn write(&mut self, slot: Slot, key: &KeyCommit, now: TimestampMs) {
        let feed = self.data.feed.entry(slot).or_default();
        if key.forget {
            if !fault::is_active(Fault::FeedNotTrimmed) {
                feed.remove(&key.key);
            }
            self.data.companions.remove(&key.key);
        } else {
            feed.insert(key.key.clone(), key.version);
            let alive = self.data.companions.remove(&key.key).filter(|(_, ends)| ends.is_none_or(|at| now < at));
            let mut companion = alive.map(|(companion, _)| companion).unwrap_or_default();
            companion.version = key.version;
            companion.fields.extend(key.put.iter().cloned());
            companion.fields.retain(|name, _| !key.delete.contains(name));
            self.data.companions.insert(key.key.clone(), (companion, key.expire_at));
        }
        for command in &key.plain.commands {
            self.run(&key.key, command, now);
        }
    }

    /// The few commands that the origin sends.
    fn run(&mut self, key: &Key, command: &[Bytes], now: TimestampMs) {
        let name = std::str::from_utf8(&command[0]).expect("command names are text");
        let number = |at: usize| -> i64 { std::str::from_utf8(&command[at]).unwrap().parse().unwrap() };
        let mut entry = self.data.plain.remove(key).filter(|(_, ends)| ends.is_none_or(|at| now < at));
        let arguments = &command[2..];
        match name {
            "UNLINK" => entry = None,
            "PEXPIREAT" => entry = entry.map(|(value, _)| (value, Some(TimestampMs(number(2))))),
            "PERSIST" => entry = entry.map(|(value, _)| (value, None)),
            "SET" => {
                let ends = entry.as_ref().and_then(|(_, ends)| *ends);
                assert!(ends.is_none() || command.len() > 3, "SET of a key with a deadline must keep it");
                entry = Some((Value::String(command[2].clone()), ends));
            }
            "INCRBY" => {
                let (value, _) = entry.get_or_insert_with(|| (Value::String(Bytes::from_static(b"0")), None));
                let Value::String(value) = value else { panic!("INCRBY of no string") };
                let sum: i64 = std::str::from_utf8(value).unwrap().parse::<i64>().unwrap() + number(2);
                *value = sum.to_string().into();
            }
            _ => {
                let (mut value, ends) = entry.unwrap_or_else(|| match name {
                    "SADD" => (Value::Set(BTreeSet::new()), None),
                    "HSET" | "HINCRBY" => (Value::Hash(BTreeMap::new()), None),
                    "ZADD" | "ZINCRBY" => (Value::Board(BTreeMap::new()), None),
                    "SREM" => (Value::Set(BTreeSet::new()), None),
                    "HDEL" => (Value::Hash(BTreeMap::new()), None),
                    "ZREM" => (Value::Board(BTreeMap::new()), None),
                    other => panic!("{other} of a missing key"),
                });
                change(name, &mut value, arguments);
                entry = (!value.is_empty()).then_some((value, ends));
            }
        }
        if let Some(entry) = entry {
            self.data.plain.insert(key.clone(), entry);
        }
    }
}

fn change(name: &str, value: &mut Value, arguments: &[Bytes]) {
    match (name, value) {
        ("SADD", Value::Set(members)) => members.extend(arguments.iter().cloned()),
        ("SREM", Value::Set(members)) => arguments.iter().for_each(|member| {
            members.remove(member);
        }),
        ("HSET", Value::Hash(fields)) => {
            fields.extend(arguments.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())));
        }
        ("HINCRBY", Value::Hash(fields)) => {
            let integer = |text: &Bytes| std::str::from_utf8(text).unwrap().parse::<i64>().unwrap();
            let sum = fields.get(&arguments[0]).map_or(0, integer) + integer(&arguments[1]);
            fields.insert(arguments[0].clone(), sum.to_string().into());
        }
        ("ZINCRBY", Value::Board(members)) => {
            let by: f64 = std::str::from_utf8(&arguments[0]).unwrap().parse().unwrap();
            *members.entry(arguments[1].clone()).or_default() += by;
        }
        ("HDEL", Value::Hash(fields)) => arguments.iter().for_each(|field| {
            fields.remove(field);
        }),
        ("ZADD", Value::Board(members)) => {
            let score = |text: &Bytes| std::str::from_utf8(text).unwrap().parse().unwrap();
            members.extend(arguments.chunks(2).map(|pair| (pair[1].clone(), score(&pair[0]))));
        }
        ("ZREM", Value::Board(members)) => arguments.iter().for_each(|member| {
            members.remove(member);
        }),
        (name, value) => panic!("{name} of {value:?}"),
    }
}
