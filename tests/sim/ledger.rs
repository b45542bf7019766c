//! What clients did, and what must therefore be there in the end: the oracle, which knows no CRDT.
//!
//! Increments bear distinct powers of two, set members and field values are unique: so the final value itself tells which
//! operations survived. Each must, unless an operation that observed it took it away.

use bytes::Bytes;
use headwater::{
    command::Reply,
    id::{Key, TimestampMs},
    state::{ElementId, KeyView, Kind},
};
use std::collections::{BTreeMap, BTreeSet};

/// What one client command means for the ledger, known when it is issued.
#[derive(Clone, Debug)]
pub(crate) enum Entry {
    /// A sum that only grows.
    Sum(Key, i64),
    /// A bit added to a string.
    Bit(Key, u32),
    /// A reset of a string to zero or to nothing; the reply before it tells what it saw.
    Reset(Key),
    /// A bit added to a board member.
    Score(Key, Bytes, u32),
    /// A board member removed; the reply before it tells what it saw.
    Unscore(Key, Bytes),
    /// A whole board removed.
    Clear(Key),
    /// A score raised.
    Raise(Key, Bytes, i64),
    /// Members added.
    Add(Key, Vec<Bytes>),
    /// Members seen are removed.
    Remove(Key, Vec<Bytes>),
    /// A whole set removed.
    Empty(Key),
    /// A field's number grows.
    Field(Key, Bytes, i64),
    /// A field is overwritten; the reply before it tells what it saw.
    Write(Key, Bytes, Bytes),
    /// A deadline is moved out, at least to this time.
    Deadline(Key, TimestampMs),
    /// Nothing to account for.
    Nothing,
}

#[derive(Default, Debug)]
struct Bits {
    all: u64,
    wiped: u64,
}

/// The accounts.
#[derive(Default, Debug)]
pub(crate) struct Ledger {
    sums: BTreeMap<Key, i64>,
    bits: BTreeMap<(Key, Bytes), Bits>,
    /// Keys that a leaf reset while increments of its own were open, see [`Ledger::soften`].
    soft: BTreeSet<Key>,
    raises: BTreeMap<(Key, Bytes), i64>,
    added: BTreeMap<Key, BTreeSet<Bytes>>,
    removed: BTreeMap<Key, BTreeSet<Bytes>>,
    fields: BTreeMap<(Key, Bytes), i64>,
    written: BTreeMap<(Key, Bytes), BTreeSet<Bytes>>,
    overwritten: BTreeMap<(Key, Bytes), BTreeSet<Bytes>>,
    deadlines: BTreeMap<Key, TimestampMs>,
    least_deadlines: BTreeMap<Key, TimestampMs>,
    pub(crate) operations: u64,
}

impl Ledger {
    /// Books a command that was acknowledged, with what was read just before it in the same breath.
    pub(crate) fn book(&mut self, entry: Entry, seen: Option<&Reply>) {
        self.operations += 1;
        match entry {
            Entry::Sum(key, by) => *self.sums.entry(key).or_default() += by,
            Entry::Bit(key, bit) => self.bits.entry((key, Bytes::new())).or_default().all |= 1 << bit,
            Entry::Reset(key) => self.bits.entry((key, Bytes::new())).or_default().wiped |= bits_of(seen),
            Entry::Score(key, member, bit) => self.bits.entry((key, member)).or_default().all |= 1 << bit,
            Entry::Unscore(key, member) => self.bits.entry((key, member)).or_default().wiped |= bits_of(seen),
            Entry::Clear(key) => {
                if let Some(Reply::Array(pairs)) = seen {
                    for pair in pairs.chunks(2) {
                        if let [Reply::Bulk(member), score] = pair {
                            self.bits.entry((key.clone(), member.clone())).or_default().wiped |= bits_of(Some(score));
                        }
                    }
                }
            }
            Entry::Raise(key, member, score) => {
                let highest = self.raises.entry((key, member)).or_insert(score);
                *highest = (*highest).max(score);
            }
            Entry::Add(key, members) => self.added.entry(key).or_default().extend(members),
            Entry::Remove(key, members) => {
                if seen == Some(&Reply::Int(1)) {
                    self.removed.entry(key).or_default().extend(members);
                }
            }
            Entry::Empty(key) => {
                if let Some(Reply::Array(members)) = seen {
                    let members = members.iter().filter_map(|member| match member {
                        Reply::Bulk(member) => Some(member.clone()),
                        _ => None,
                    });
                    self.removed.entry(key).or_default().extend(members);
                }
            }
            Entry::Field(key, field, by) => *self.fields.entry((key, field)).or_default() += by,
            Entry::Write(key, field, value) => {
                let at = (key, field);
                if let Some(Reply::Bulk(seen)) = seen {
                    self.overwritten.entry(at.clone()).or_default().insert(seen.clone());
                }
                self.written.entry(at).or_default().insert(value);
            }
            Entry::Deadline(key, at) => {
                let latest = self.least_deadlines.entry(key).or_insert(at);
                *latest = (*latest).max(at);
            }
            Entry::Nothing => {}
        }
    }

    /// Compares a node's states with the accounts; gives each difference in words.
    pub(crate) fn audit<'a>(&self, state: impl Fn(&Key) -> Option<KeyView<'a>>) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut demand = |what: String, expected: String, found: String| {
            if expected != found {
                wrong.push(format!("{what}: expected {expected}, found {found}"));
            }
        };
        let element =
            |key: &Key, id: ElementId| state(key).and_then(|state| state.element(&id)).filter(|e| e.is_present());
        let integer = |key: &Key, id: ElementId| element(key, id).map_or(0, |e| e.integer().unwrap_or(i64::MIN));
        let score = |key: &Key, member: &Bytes| {
            element(key, ElementId::Ranked(member.clone())).and_then(|e| e.score()).unwrap_or(0.0)
        };
        for (key, sum) in &self.sums {
            demand(format!("{key}"), sum.to_string(), integer(key, ElementId::String).to_string());
        }
        for ((key, member), bits) in &self.bits {
            let expected = bits.all & !bits.wiped;
            let found = if member.is_empty() { integer(key, ElementId::String) } else { score(key, member) as i64 };
            let found = if self.soft.contains(key) && found > 0 { found & !(bits.wiped as i64) } else { found };
            demand(format!("{key} {member:?} in bits"), format!("{expected:b}"), format!("{found:b}"));
        }
        for ((key, member), highest) in &self.raises {
            demand(format!("{key} {member:?}"), highest.to_string(), score(key, member).to_string());
        }
        for (key, added) in &self.added {
            let removed = self.removed.get(key).cloned().unwrap_or_default();
            let expected: BTreeSet<Bytes> = added.difference(&removed).cloned().collect();
            let members = state(key).into_iter().flat_map(|state| state.elements_of(Kind::Set));
            let found: BTreeSet<Bytes> = members.filter(|(_, e)| e.is_present()).map(|(id, _)| id.name()).collect();
            let lost: Vec<_> = expected.difference(&found).collect();
            let back: Vec<_> = found.difference(&expected).collect();
            demand(format!("{key} lost and resurrected"), "[] []".to_owned(), format!("{lost:?} {back:?}"));
        }
        for ((key, field), sum) in &self.fields {
            demand(
                format!("{key} {field:?}"),
                sum.to_string(),
                integer(key, ElementId::Field(field.clone())).to_string(),
            );
        }
        for (at @ (key, field), written) in &self.written {
            let found = element(key, ElementId::Field(field.clone())).and_then(|e| e.value());
            let overwritten = self.overwritten.get(at);
            let is_alive =
                |value: &Bytes| written.contains(value) && overwritten.is_none_or(|old| !old.contains(value));
            if !found.as_ref().is_some_and(is_alive) {
                demand(format!("{key} {field:?}"), "one written last".to_owned(), format!("{found:?}"));
            }
        }
        for (key, at) in &self.least_deadlines {
            let found = state(key).and_then(|state| state.header().deadline.at());
            demand(
                format!("{key} ends too early"),
                "false".to_owned(),
                found.is_none_or(|found| found < *at).to_string(),
            );
        }
        for (key, at) in &self.deadlines {
            let found = state(key).and_then(|state| state.header().deadline.at());
            demand(format!("{key} deadline"), format!("{:?}", Some(*at)), format!("{found:?}"));
        }
        wrong
    }

    /// A leaf resets a counter while increments of its own are open. What it saw of its hub's sum is no prefix then, and
    /// where a third party resets at the same time, increments may survive a reset that saw them. They are never lost.
    pub(crate) fn soften(&mut self, key: &Key) {
        self.soft.insert(key.clone());
    }

    /// A later operation alone decides a deadline.
    pub(crate) fn settle_deadline(&mut self, key: Key, at: TimestampMs) {
        self.deadlines.insert(key, at);
    }
}

fn bits_of(seen: Option<&Reply>) -> u64 {
    match seen {
        Some(Reply::Bulk(text)) => {
            let text = std::str::from_utf8(text).unwrap_or_default();
            text.parse::<f64>()
                .map_or(0, |value| if text.contains('e') { value as u64 } else { text.parse().unwrap_or(value as u64) })
        }
        _ => 0,
    }
}
