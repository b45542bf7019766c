//! The origin's store in memory, with the plain values that a Redis client would read.

use super::text::{PlainKind, PlainView, argv};
use bytes::Bytes;
use headwater::{
    command::{format_score, parse_score},
    id::{Key, TimestampMs},
    slot::Slot,
    state::Kind,
    store::{
        Commit, Companion, Expected, KeyCommit, LedgerOutcome, LedgerSwap, Load, Loaded, Marker, Otherwise, Outcome,
        PlainRead, StoredLedger,
    },
};
use std::collections::{BTreeMap, VecDeque};

#[derive(Clone, Default)]
pub struct Store {
    slots: BTreeMap<Slot, SlotStore>,
    plain: BTreeMap<Key, PlainValue>,
    /// The accounts of strict limits.
    pub ledgers: BTreeMap<Key, StoredLedger>,
    /// How many keys were evicted.
    evictions: u64,
    /// How many commits happened.
    pub commits: usize,
    /// What plain clients write after the reads that a commit rests on and before it, one line a commit.
    pub meddling: VecDeque<&'static str>,
}

#[derive(Clone, Default)]
struct SlotStore {
    marker: Option<Marker>,
    feed: BTreeMap<Key, u64>,
    companions: BTreeMap<Key, (Companion, Option<TimestampMs>)>,
}

#[derive(Clone)]
struct PlainValue {
    kind: Kind,
    elements: BTreeMap<Bytes, Bytes>,
    deadline: Option<TimestampMs>,
}

impl Store {
    pub fn load(&self, load: &Load, now: TimestampMs) -> Loaded {
        let empty = SlotStore::default();
        let slot = self.slots.get(&load.slot).unwrap_or(&empty);
        let changed = load.changed_after.map_or(Vec::new(), |after| {
            let mut changed: Vec<(Key, u64)> =
                slot.feed.iter().filter(|(_, seq)| **seq > after).map(|(key, seq)| (key.clone(), *seq)).collect();
            changed.sort_by_key(|(_, seq)| *seq);
            changed
        });
        Loaded {
            slot: load.slot,
            marker: slot.marker.clone(),
            keys: load.keys.iter().map(|key| (key.clone(), slot.companion(key, now).cloned())).collect(),
            changed,
            plain: load.plain.iter().map(|plain| (plain.key.clone(), self.plain_read(&plain.key, now))).collect(),
            evictions: self.evictions,
        }
    }

    pub fn swap(&mut self, swap: &LedgerSwap) -> LedgerOutcome {
        let outcome = swap.judged(self.ledgers.get(&swap.key));
        if outcome == LedgerOutcome::Swapped {
            self.ledgers.extend(swap.stored().map(|stored| (swap.key.clone(), stored)));
        }
        outcome
    }

    pub fn commit(&mut self, commit: &Commit, now: TimestampMs) -> Outcome {
        if let Some(line) = self.meddling.pop_front() {
            self.run(&argv(line));
        }
        let slot = self.slots.entry(commit.slot).or_default();
        let seq = slot.marker.as_ref().map_or(0, |marker| marker.seq);
        if slot.marker.as_ref().map(|marker| marker.incarnation) != commit.fence || seq != commit.expected_seq {
            return Outcome::Stale;
        }
        let version = |key: &KeyCommit| slot.companion(&key.key, now).map(|companion| companion.version);
        let names = |keys: Vec<&KeyCommit>| keys.into_iter().map(|key| key.key.clone()).collect::<Vec<Key>>();
        let conflicting = names(commit.keys.iter().filter(|key| version(key) != key.expected_version).collect());
        if !conflicting.is_empty() {
            return Outcome::Conflict(conflicting);
        }
        self.plain.retain(|_, value| value.deadline.is_none_or(|at| at > now));
        let mut foreign = Vec::new();
        let mut missing = Vec::new();
        for key in commit.keys.iter().filter(|key| !key.plain.commands.is_empty()) {
            match (key.plain.expected, self.plain.get(&key.key).map(|value| value.kind)) {
                (Expected::Absent | Expected::AbsentOr(_), None) => {}
                (Expected::Present(expected) | Expected::AbsentOr(expected), Some(kind)) if kind == expected => {}
                (Expected::Present(_), None) => missing.push(key.key.clone()),
                (_, Some(_)) => foreign.push(key.key.clone()),
            }
        }
        foreign.extend(self.not_integers(commit));
        if !foreign.is_empty() {
            return Outcome::Foreign(foreign);
        }
        if !missing.is_empty() {
            return Outcome::Missing(missing);
        }
        let (mut moved, mut drifted) = (Vec::new(), Vec::new());
        for key in &commit.keys {
            match key.plain.judged(|read| self.answer(read)) {
                Some(Otherwise::Refuse) => moved.push(key.key.clone()),
                Some(_) => drifted.push(key.key.clone()),
                None => {}
            }
        }
        if !moved.is_empty() {
            return Outcome::Moved(moved);
        }
        self.slots.entry(commit.slot).or_default().apply(commit, now);
        for command in commit.keys.iter().flat_map(|key| &key.plain.commands) {
            self.execute(command);
        }
        self.commits += 1;
        if drifted.is_empty() { Outcome::Committed } else { Outcome::Drifted(drifted) }
    }

    pub fn companion(&self, key: &Key, now: TimestampMs) -> Option<&Companion> {
        self.slots.get(&key.slot()).and_then(|slot| slot.companion(key, now))
    }

    /// Keys that are incremented though no integer stands there.
    fn not_integers(&self, commit: &Commit) -> Vec<Key> {
        let is_incremented = |key: &&KeyCommit| key.plain.commands.iter().any(|words| words[0] == "INCRBY");
        let text = |key: &Key| self.plain.get(key).and_then(|value| value.elements.get(&Bytes::new()));
        let is_text = |key: &Key| text(key).is_some_and(|text| headwater::command::parse_integer(text).is_none());
        commit.keys.iter().filter(is_incremented).map(|key| key.key.clone()).filter(is_text).collect()
    }

    /// The server drops a key and its companion for want of memory.
    pub fn evict(&mut self, key: &Key) {
        self.plain.remove(key);
        self.evictions += 1;
        self.evict_companion(key);
    }

    /// The server drops a companion for want of memory.
    pub fn evict_companion(&mut self, key: &Key) {
        if let Some(slot) = self.slots.get_mut(&key.slot()) {
            slot.companions.remove(key);
        }
    }

    /// The server drops a plain value for want of memory.
    pub fn evict_plain(&mut self, key: &Key) {
        self.plain.remove(key);
        self.evictions += 1;
    }

    /// A plain client's write.
    pub fn run(&mut self, words: &[Bytes]) {
        if matches!(words, [name, key, _value] if name == "SET" && self.plain_kind(key) != Some(Kind::String)) {
            self.execute(&["UNLINK".into(), words[1].clone()]);
        }
        self.execute(words);
    }

    fn plain_kind(&self, key: &Bytes) -> Option<Kind> {
        self.plain.get(&Key::new(key.clone()).expect("tests name short keys")).map(|value| value.kind)
    }

    fn plain_read(&self, key: &Key, now: TimestampMs) -> PlainRead {
        let value = self.plain.get(key).filter(|value| value.deadline.is_none_or(|at| at > now));
        let is_listed = self.slots.get(&key.slot()).is_some_and(|slot| slot.feed.contains_key(key));
        let expire_at = value.and_then(|value| value.deadline);
        PlainRead { value: value.map(PlainValue::read), expire_at, tells_expiry: true, is_listed }
    }

    /// What a guard reads.
    fn answer(&self, read: &[Bytes]) -> Option<Bytes> {
        let value = self.plain.get(&Key::new(read[1].clone()).expect("the origin names short keys"))?;
        if read[0] == "SISMEMBER" {
            return Some(if value.elements.contains_key(&read[2]) { "1" } else { "0" }.into());
        }
        value.elements.get(read.get(2).unwrap_or(&Bytes::new())).cloned()
    }

    /// The keys that a plain client's SCAN finds.
    pub fn names(&self) -> impl Iterator<Item = &Key> {
        self.plain.keys()
    }

    /// A plain client's GET.
    pub fn get(&self, key: &Key) -> Option<&Bytes> {
        self.plain.get(key).and_then(|value| value.elements.get(&Bytes::new()))
    }

    /// Damages every field of a key's companion.
    pub fn damage(&mut self, key: &Key) {
        let slot = self.slots.get_mut(&key.slot()).expect("the slot has a commit");
        let (companion, _) = slot.companions.get_mut(key).expect("the key has a companion");
        companion.fields.values_mut().for_each(|body| *body = Bytes::from_static(b"damage"));
    }

    pub fn marker(&self, key: &Key) -> Option<&Marker> {
        self.slots.get(&key.slot()).and_then(|slot| slot.marker.as_ref())
    }

    /// What a plain client reads.
    pub fn plain_view(&self, key: &Key, now: TimestampMs) -> Option<PlainView> {
        let value = self.plain.get(key).filter(|value| value.deadline.is_none_or(|at| at > now))?;
        Some(PlainView { kind: PlainKind(value.kind), deadline: value.deadline, elements: value.elements.clone() })
    }

    /// The subset of Redis in which the origin writes plain values.
    fn execute(&mut self, command: &[Bytes]) {
        let [name, key, arguments @ ..] = command else { panic!("{command:?} names no key") };
        let key = Key::new(key.clone()).expect("the origin names short keys");
        let kind = match name.as_ref() {
            b"SET" | b"INCRBY" => Kind::String,
            b"SADD" | b"SREM" => Kind::Set,
            b"HSET" | b"HDEL" | b"HINCRBY" => Kind::Hash,
            b"ZADD" | b"ZREM" | b"ZINCRBY" => Kind::Board,
            b"UNLINK" => {
                self.plain.remove(&key);
                return;
            }
            b"PEXPIREAT" | b"PERSIST" => {
                let value = self.plain.get_mut(&key).expect("a deadline is set on a value");
                value.deadline = arguments.first().map(|at| TimestampMs(integer(at)));
                return;
            }
            other => panic!("the origin does not say {other:?}"),
        };
        let empty = PlainValue { kind, elements: BTreeMap::new(), deadline: None };
        let value = self.plain.entry(key.clone()).or_insert(empty);
        assert_eq!(value.kind, kind, "{command:?} meets another type");
        match (name.as_ref(), arguments) {
            (b"SET", [new, options @ ..]) => {
                value.elements.insert(Bytes::new(), new.clone());
                if options.is_empty() {
                    value.deadline = None;
                }
            }
            (b"INCRBY", [by]) => {
                let before = value.elements.get(&Bytes::new()).map_or(0, integer);
                value.elements.insert(Bytes::new(), (before + integer(by)).to_string().into());
            }
            (b"HINCRBY", [field, by]) => {
                let before = value.elements.get(field).map_or(0, integer);
                value.elements.insert(field.clone(), (before + integer(by)).to_string().into());
            }
            (b"ZINCRBY", [by, member]) => {
                let score = |text: &Bytes| parse_score(text).expect("the origin writes scores");
                let before = value.elements.get(member).map_or(0.0, score);
                value.elements.insert(member.clone(), format_score(before + score(by)));
            }
            (b"SADD", members) => value.elements.extend(members.iter().map(|member| (member.clone(), Bytes::new()))),
            (b"HSET", pairs) => value.elements.extend(pairs.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone()))),
            (b"ZADD", pairs) => value.elements.extend(pairs.chunks(2).map(|pair| {
                let score = parse_score(&pair[0]).expect("the origin writes scores");
                (pair[1].clone(), format_score(score))
            })),
            (_, removed) => removed.iter().for_each(|name| {
                value.elements.remove(name);
            }),
        }
        if value.elements.is_empty() {
            self.plain.remove(&key);
        }
    }
}

impl PlainValue {
    fn read(&self) -> headwater::store::PlainValue {
        use headwater::store::PlainValue as Read;
        let elements = &self.elements;
        match self.kind {
            Kind::String => Read::String(elements[&Bytes::new()].clone()),
            Kind::Set => Read::Set(elements.keys().cloned().collect()),
            Kind::Hash => Read::Hash(elements.clone()),
            Kind::Board => {
                let score = |text: &Bytes| parse_score(text).expect("scores are written as such");
                Read::Board(elements.iter().map(|(member, text)| (member.clone(), score(text))).collect())
            }
        }
    }
}

impl SlotStore {
    fn companion(&self, key: &Key, now: TimestampMs) -> Option<&Companion> {
        let (companion, expire_at) = self.companions.get(key)?;
        expire_at.is_none_or(|at| at > now).then_some(companion)
    }

    fn apply(&mut self, commit: &Commit, now: TimestampMs) {
        let change = &commit.marker;
        if let Some((incarnation, run_id, previous)) = &change.open {
            let hubs = self.marker.take().map(|marker| marker.hubs).unwrap_or_default();
            let (incarnation, run_id, previous) = (*incarnation, run_id.clone(), *previous);
            self.marker = Some(Marker { incarnation, run_id, seq: 0, no: change.no, previous, hubs });
        }
        let marker = self.marker.as_mut().expect("the first commit of a slot opens its marker");
        marker.seq = change.seq;
        marker.no = change.no;
        marker.hubs.extend(change.hubs.iter().copied());
        for key in &commit.keys {
            if self.companion(&key.key, now).is_none() {
                self.companions.remove(&key.key);
            }
            if key.forget {
                self.companions.remove(&key.key);
                self.feed.remove(&key.key);
                continue;
            }
            let (companion, expire_at) = self.companions.entry(key.key.clone()).or_default();
            companion.version = key.version;
            for name in &key.delete {
                companion.fields.remove(name);
            }
            companion.fields.extend(key.put.iter().cloned());
            *expire_at = key.expire_at;
            self.feed.insert(key.key.clone(), key.version);
        }
    }
}

fn integer(text: &Bytes) -> i64 {
    headwater::command::parse_integer(text).expect("the origin writes integers")
}
