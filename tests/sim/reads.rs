//! What one reader has seen of a key, so that a later read which shows less is noticed.
//!
//! A leaf reads what it wrote, and never less than it read before; so does a client that asks one hub. What somebody took
//! away meanwhile is no loss, so removals are noted before their effects can show.

use crate::{ledger::Entry, ledger::bits_of, workload::Workload};
use bytes::Bytes;
use headwater::{
    command::Reply,
    id::{Key, TimestampMs},
    state::{ElementId, KeyView, Kind},
};
use std::collections::{BTreeMap, BTreeSet};

/// What is known to have been taken away, by anyone.
#[derive(Default)]
pub(crate) struct Removals {
    bits: BTreeMap<(Key, ElementId), u64>,
    members: BTreeSet<Bytes>,
    /// Removals that were asked for over HTTP and not answered: what they saw is not known yet.
    open: BTreeMap<Key, usize>,
}

/// What a reader saw last.
#[derive(Default)]
pub(crate) struct Reader {
    sums: BTreeMap<(Key, ElementId), i64>,
    bits: BTreeMap<(Key, ElementId), u64>,
    members: BTreeMap<Key, BTreeSet<Bytes>>,
    /// Keys that it knows to be revoked, for longer than the run.
    revoked: BTreeSet<Key>,
}

impl Removals {
    /// A removal is on its way.
    pub(crate) fn begin(&mut self, entry: &Entry) {
        if let Some(key) = entry.removes() {
            *self.open.entry(key.clone()).or_default() += 1;
        }
    }

    /// A removal that was on its way has been answered.
    pub(crate) fn end(&mut self, entry: &Entry) {
        if let Some(open) = entry.removes().and_then(|key| self.open.get_mut(key)) {
            *open = open.saturating_sub(1);
        }
    }

    /// Notes what a removal saw.
    pub(crate) fn note(&mut self, entry: &Entry, seen: Option<&Reply>) {
        match (entry, seen) {
            (Entry::Reset(key), _) => *self.bits(key, ElementId::String) |= bits_of(seen),
            (Entry::Unscore(key, member), _) => *self.bits(key, ElementId::Ranked(member.clone())) |= bits_of(seen),
            (Entry::Clear(key), Some(Reply::Array(pairs))) => {
                for pair in pairs.chunks(2) {
                    if let [Reply::Bulk(member), score] = pair {
                        *self.bits(key, ElementId::Ranked(member.clone())) |= bits_of(Some(score));
                    }
                }
            }
            (Entry::Remove(_, member), _) => {
                self.members.insert(member.clone());
            }
            (Entry::Empty(_), Some(Reply::Array(members))) => {
                self.members.extend(members.iter().filter_map(|member| match member {
                    Reply::Bulk(member) => Some(member.clone()),
                    _ => None,
                }));
            }
            _ => {}
        }
    }

    fn bits(&mut self, key: &Key, id: ElementId) -> &mut u64 {
        self.bits.entry((key.clone(), id)).or_default()
    }

    fn wiped(&self, at: &(Key, ElementId)) -> u64 {
        self.bits.get(at).copied().unwrap_or(0)
    }

    fn is_open(&self, key: &Key) -> bool {
        self.open.get(key).is_some_and(|open| *open > 0)
    }
}

impl Reader {
    /// Takes note of a key as it reads now; says what went back.
    pub(crate) fn read(&mut self, key: &Key, state: KeyView<'_>, removals: &Removals) -> Option<String> {
        if Workload::may_be_revoked(key) {
            if state.deadline().revoked().is_some() {
                self.revoked.insert(key.clone());
            }
            let shown = state.shown(TimestampMs(i64::MIN)).filter(|_| self.revoked.contains(key));
            return shown.map(|kind| format!("{key} as a {} again, which was revoked", kind.redis_name()));
        }
        if Workload::may_end(key) {
            return None;
        }
        let mut back = None;
        for (id, element) in state.elements() {
            let at = (key.clone(), id.clone());
            let value = match id {
                ElementId::Ranked(_) => element.score().map_or(0, |score| score as i64),
                _ => element.integer().unwrap_or(0),
            };
            match (key.as_bytes().split(|byte| *byte == b':').next(), id) {
                (Some(b"sum" | b"raised"), _) => back = back.or(self.grown(at, value)),
                (Some(b"hash"), ElementId::Field(name)) if name.as_ref() == b"n" => {
                    back = back.or(self.grown(at, value))
                }
                _ => {}
            }
        }
        let own: Vec<_> = self.bits.keys().filter(|(other, _)| other == key).map(|(_, id)| id.clone()).collect();
        if key.as_bytes().starts_with(b"bits") || key.as_bytes().starts_with(b"board") {
            let ids: BTreeSet<_> = state.elements().into_iter().map(|(id, _)| id).chain(own).collect();
            for id in ids {
                let element = state.element(&id);
                let bits = match &id {
                    ElementId::Ranked(_) => {
                        element.as_ref().and_then(|element| element.score()).map_or(0, |score| score as u64)
                    }
                    _ => element.as_ref().map_or(0, |element| element.integer().map_or(0, |value| value as u64)),
                };
                back = back.or(self.bits((key.clone(), id), bits, removals));
            }
        }
        let members = state.elements_of(Kind::Set).into_iter().filter(|(_, element)| element.is_present());
        let members: BTreeSet<Bytes> = members.map(|(id, _)| id.name()).collect();
        back.or(self.members(key, members, removals))
    }

    /// The same of the reply to a read over HTTP.
    pub(crate) fn reply(&mut self, command: &[Bytes], reply: &Reply, removals: &Removals) -> Option<String> {
        let key = Key::new(command.get(1)?.clone()).ok()?;
        match reply {
            Reply::Int(found) => {
                let is_back = *found > 0 && self.revoked.contains(&key);
                is_back.then(|| format!("{key} as there again, which was revoked"))
            }
            Reply::Array(members) => {
                let name = |member: &Reply| if let Reply::Bulk(name) = member { Some(name.clone()) } else { None };
                self.members(&key, members.iter().filter_map(name).collect(), removals)
            }
            Reply::Bulk(_) if key.as_bytes().starts_with(b"bits") => {
                self.bits((key, ElementId::String), bits_of(Some(reply)), removals)
            }
            Reply::Bulk(text) => {
                let value = std::str::from_utf8(text).ok()?.parse().ok()?;
                self.grown((key, ElementId::String), value)
            }
            _ => None,
        }
    }

    /// The reader was told that the key is revoked.
    pub(crate) fn note_revoked(&mut self, key: &Key) {
        self.revoked.insert(key.clone());
    }

    /// The key begins anew for this reader: its own operations on it were refused.
    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }

    fn grown(&mut self, at: (Key, ElementId), value: i64) -> Option<String> {
        let before = self.sums.insert(at.clone(), value).unwrap_or(0);
        (value < before).then(|| format!("{} {:?} from {before} to {value}", at.0, at.1))
    }

    fn bits(&mut self, at: (Key, ElementId), bits: u64, removals: &Removals) -> Option<String> {
        let before = self.bits.insert(at.clone(), bits).unwrap_or(0);
        let lost = before & !bits & !removals.wiped(&at);
        (lost != 0 && !removals.is_open(&at.0)).then(|| format!("{} {:?}: bits {lost:b} are gone", at.0, at.1))
    }

    fn members(&mut self, key: &Key, members: BTreeSet<Bytes>, removals: &Removals) -> Option<String> {
        let before = self.members.insert(key.clone(), members.clone()).unwrap_or_default();
        if removals.is_open(key) {
            return None;
        }
        let lost: Vec<_> = before.difference(&members).filter(|member| !removals.members.contains(*member)).collect();
        (!lost.is_empty()).then(|| format!("{key}: members {lost:?} are gone"))
    }
}
