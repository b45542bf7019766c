//! What clients did, and what must therefore be there in the end: the oracle, which knows no CRDT.
//!
//! Increments bear distinct powers of two, set members and field values are unique: so the final value itself tells which
//! operations survived. Each must, unless an operation that observed it took it away. An operation that was promised less
//! than what happened to it (its hub lost its storage before the origin had it) is in doubt: it may be there or not.

use bytes::Bytes;
use headwater::{
    command::Reply,
    id::{Key, TimestampMs},
    state::{ElementId, KeyView, Kind},
};
use std::collections::{BTreeMap, BTreeSet};

/// What one client command means for the ledger, known when it is planned.
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
    /// A member added.
    Add(Key, Bytes),
    /// A member added to a key that would end soon, and its end moved out.
    Kept(Key, Bytes),
    /// A member is removed where it is seen.
    Remove(Key, Bytes),
    /// A whole set removed.
    Empty(Key),
    /// A field's number grows.
    Field(Key, Bytes, i64),
    /// A field is overwritten; the reply before it tells what it saw.
    Write(Key, Bytes, Bytes),
    /// A deadline is moved out, at least to this many milliseconds after it was asked for.
    Deadline(Key, i64),
    /// A key is revoked, for longer than the run.
    Revoke(Key),
    /// A write to a key that may be revoked: it counts for nothing.
    Vain(Key),
    /// Nothing to account for.
    Nothing,
}

impl Entry {
    /// The key that it is about.
    pub(crate) fn key(&self) -> Option<&Key> {
        match self {
            Self::Sum(key, _)
            | Self::Bit(key, _)
            | Self::Reset(key)
            | Self::Score(key, ..)
            | Self::Unscore(key, _)
            | Self::Clear(key)
            | Self::Raise(key, ..)
            | Self::Add(key, _)
            | Self::Kept(key, _)
            | Self::Remove(key, _)
            | Self::Empty(key)
            | Self::Field(key, ..)
            | Self::Write(key, ..)
            | Self::Deadline(key, _)
            | Self::Revoke(key)
            | Self::Vain(key) => Some(key),
            Self::Nothing => None,
        }
    }

    /// The key that it takes something away from.
    pub(crate) fn removes(&self) -> Option<&Key> {
        let is_removal =
            matches!(self, Self::Reset(_) | Self::Unscore(..) | Self::Clear(_) | Self::Empty(_) | Self::Remove(..));
        self.key().filter(|_| is_removal)
    }
}

/// An operation in the accounts.
#[derive(Debug)]
struct Booked {
    entry: Entry,
    seen: Option<Reply>,
    at_ms: i64,
    in_doubt: bool,
}

/// The accounts.
#[derive(Default, Debug)]
pub(crate) struct Ledger {
    booked: Vec<Booked>,
    /// Keys that a leaf reset while increments of its own were open, see [`Ledger::soften`].
    soft: BTreeSet<Key>,
    /// Names whose addition lost its verdict with its session, see [`Ledger::orphan`].
    orphans: BTreeSet<(Key, Bytes)>,
    deadlines: BTreeMap<Key, TimestampMs>,
    /// Removals that nobody knows the outcome of, and until when they may have happened.
    lost_removals: BTreeMap<Key, i64>,
    /// How far the deadline of kept keys reached when it was last moved out.
    kept_until_ms: i64,
    /// How far it reached when the key may last have ended.
    kept_lapsed_ms: i64,
}

/// What must be there and what may, of bits.
#[derive(Clone, Copy, Default)]
struct Bits {
    all: u64,
    doubtful: u64,
    wiped: u64,
    perhaps_wiped: u64,
}

/// What must be there and what may, of unique names.
#[derive(Default)]
struct Names {
    all: BTreeSet<Bytes>,
    doubtful: BTreeSet<Bytes>,
    gone: BTreeSet<Bytes>,
    perhaps_gone: BTreeSet<Bytes>,
}

/// The accounts added up.
#[derive(Default)]
struct Totals {
    /// The least and the greatest that a sum may be.
    sums: BTreeMap<(Key, ElementId), (i64, i64)>,
    bits: BTreeMap<(Key, ElementId), Bits>,
    /// Scores that count, and scores in doubt.
    raises: BTreeMap<(Key, Bytes), (Vec<i64>, Vec<i64>)>,
    members: BTreeMap<Key, Names>,
    values: BTreeMap<(Key, Bytes), Names>,
    deadlines: BTreeMap<Key, i64>,
    revoked: BTreeSet<Key>,
}

impl Ledger {
    /// How many operations are booked; also the number that the next one will have.
    pub(crate) fn len(&self) -> usize {
        self.booked.len()
    }

    /// Books a command that was asked for at one time and acknowledged at another, in milliseconds, with what was read just
    /// before it in the same breath.
    pub(crate) fn book(&mut self, entry: Entry, seen: Option<&Reply>, asked_ms: i64, now_ms: i64) -> usize {
        let mut is_lapsed = false;
        if matches!(entry, Entry::Kept(..)) {
            if now_ms > self.kept_until_ms {
                // The key may have ended in between, and with it all that it held.
                self.doubt_kept();
                self.kept_lapsed_ms = self.kept_until_ms;
            }
            // It may have happened long before it was acknowledged, and ended with the others.
            let until_ms = asked_ms + crate::workload::KEPT_MS - 2_000;
            is_lapsed = until_ms <= self.kept_lapsed_ms;
            self.kept_until_ms = self.kept_until_ms.max(until_ms);
        }
        let may_be_undone =
            entry.key().and_then(|key| self.lost_removals.get(key)).is_some_and(|until| asked_ms <= *until);
        let in_doubt = is_lapsed || may_be_undone;
        self.booked.push(Booked { entry, seen: seen.cloned(), at_ms: asked_ms, in_doubt });
        self.booked.len() - 1
    }

    /// Books a command of which nobody knows whether it happened. So it keeps nothing alive either.
    pub(crate) fn book_doubtful(&mut self, entry: Entry, asked_ms: i64) {
        self.booked.push(Booked { entry, seen: None, at_ms: asked_ms, in_doubt: true });
    }

    /// From now on it is not known whether this operation counts.
    pub(crate) fn doubt(&mut self, number: usize) {
        if let Some(booked) = self.booked.get_mut(number) {
            booked.in_doubt = true;
        }
    }

    /// An operation lost its verdict with its session. Whether it counts is not known, and neither is whether a removal that
    /// saw it only as the leaf's own took it away: what the leaf was never shown has no dot that it could name.
    pub(crate) fn orphan(&mut self, number: usize) {
        self.doubt(number);
        if let Some(Entry::Add(key, name) | Entry::Write(key, _, name)) = self.booked.get(number).map(|it| &it.entry) {
            self.orphans.insert((key.clone(), name.clone()));
        }
    }

    /// Of what was booked of these since then it is not known whether it counts.
    pub(crate) fn doubt_since(&mut self, numbers: &[usize], since_ms: i64, key: Option<&Key>) {
        for number in numbers {
            if let Some(booked) = self.booked.get_mut(*number)
                && booked.at_ms >= since_ms
                && key.is_none_or(|key| booked.entry.key() == Some(key))
            {
                booked.in_doubt = true;
            }
        }
    }

    /// What was kept alive may have ended.
    pub(crate) fn doubt_kept(&mut self) {
        let kept = self.booked.iter_mut().filter(|booked| matches!(booked.entry, Entry::Kept(..)));
        kept.for_each(|booked| booked.in_doubt = true);
    }

    /// Whether a removal happened will never be known, nor what it saw: it may have been all that was asked for until now.
    pub(crate) fn may_have_removed(&mut self, entry: &Entry, now_ms: i64) {
        let Some(key) = entry.removes() else { return };
        let booked = self.booked.iter_mut().filter(|booked| booked.entry.key() == Some(key));
        booked.for_each(|booked| booked.in_doubt = true);
        self.lost_removals.insert(key.clone(), now_ms);
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

    /// The accounts as they stand, to compare nodes with.
    pub(crate) fn auditor(&self) -> Auditor<'_> {
        let mut totals = Totals::default();
        self.booked.iter().for_each(|booked| totals.add(booked, &self.orphans));
        Auditor { ledger: self, totals }
    }
}

/// Compares nodes with the accounts.
pub(crate) struct Auditor<'a> {
    ledger: &'a Ledger,
    totals: Totals,
}

impl Auditor<'_> {
    /// Gives each difference of a node's states from the accounts in words. What a hub showed before it was lost lingers in
    /// a leaf, which nobody tells that it is gone: with `may_linger` more than there is counts for nothing, less still does.
    pub(crate) fn audit<'a>(&self, state: impl Fn(&Key) -> Option<KeyView<'a>>, may_linger: bool) -> Vec<String> {
        let mut wrong = Vec::new();
        let element = |key: &Key, id: &ElementId| {
            state(key).and_then(|state| state.element(id)).filter(|element| element.is_present())
        };
        let integer = |key: &Key, id: &ElementId| element(key, id).map_or(0, |e| e.integer().unwrap_or(i64::MIN));
        let number = |key: &Key, id: &ElementId| match id {
            ElementId::Ranked(_) => element(key, id).and_then(|e| e.score()).unwrap_or(0.0) as i64,
            _ => integer(key, id),
        };
        for ((key, id), (least, most)) in &self.totals.sums {
            let found = integer(key, id);
            if found < *least || *most < found && !may_linger {
                wrong.push(format!("{key} {id:?}: expected {least} to {most}, found {found}"));
            }
        }
        for ((key, id), bits) in &self.totals.bits {
            let must = bits.all & !bits.wiped & !bits.perhaps_wiped;
            let may = if may_linger { u64::MAX } else { (bits.all | bits.doubtful) & !bits.wiped };
            let found = u64::try_from(number(key, id)).unwrap_or(u64::MAX);
            let found = if self.ledger.soft.contains(key) { found & !bits.wiped } else { found };
            if must & !found != 0 || found & !may != 0 {
                wrong.push(format!("{key} {id:?}: expected {must:b} to {may:b}, found {found:b}"));
            }
        }
        for ((key, member), (sure, doubtful)) in &self.totals.raises {
            let id = ElementId::Ranked(member.clone());
            let found = element(key, &id).map(|_| number(key, &id));
            let most = sure.iter().chain(doubtful).max();
            // Where one in doubt was higher it may have been seen, and nothing written.
            let least = sure.iter().filter(|score| doubtful.iter().all(|other| other < *score)).max();
            if found.as_ref() < least || found.as_ref() > most {
                wrong.push(format!("{key} {member:?}: expected {least:?} to {most:?}, found {found:?}"));
            }
        }
        for (key, names) in &self.totals.members {
            let members = state(key).map(|state| state.elements_of(Kind::Set)).into_iter().flatten();
            let present = members.filter(|(_, element)| element.is_present()).map(|(id, _)| id.name());
            let found: BTreeSet<Bytes> = present.filter(|name| !name.starts_with(b"touch")).collect();
            let lost: Vec<_> = names.must().filter(|name| !found.contains(*name)).collect();
            let back: Vec<_> = found.iter().filter(|name| !names.may(name) && !may_linger).collect();
            if !(lost.is_empty() && back.is_empty()) {
                wrong.push(format!("{key}: lost {lost:?}, back {back:?}"));
            }
        }
        for ((key, field), names) in &self.totals.values {
            let found = element(key, &ElementId::Field(field.clone())).and_then(|element| element.value());
            let is_right = match &found {
                Some(value) => names.may(value) || may_linger,
                None => names.all.is_empty(),
            };
            if !is_right {
                wrong.push(format!("{key} {field:?}: {found:?} is none of those written last"));
            }
        }
        let end = |key: &Key| state(key).and_then(|state| state.deadline().at());
        for (key, at) in &self.totals.deadlines {
            if end(key).is_none_or(|end| end.0 < *at) {
                wrong.push(format!("{key} ends too early: expected {at} or later, found {:?}", end(key)));
            }
        }
        for key in &self.totals.revoked {
            let found = state(key);
            let is_revoked = found.is_some_and(|state| state.deadline().revoked().is_some());
            let shown = found.and_then(|state| state.shown(TimestampMs(i64::MIN)));
            if !is_revoked || shown.is_some() {
                wrong.push(format!("{key} was revoked and shows {shown:?}: {:?}", found.map(|state| state.deadline())));
            }
        }
        for (key, at) in &self.ledger.deadlines {
            if end(key) != Some(*at) {
                wrong.push(format!("{key} ends at {:?}, expected {at:?}", end(key)));
            }
        }
        wrong
    }
}

impl Totals {
    fn add(&mut self, booked: &Booked, orphans: &BTreeSet<(Key, Bytes)>) {
        let Booked { entry, seen, at_ms, in_doubt } = booked;
        let is_orphan = |key: &Key, name: &Bytes| orphans.contains(&(key.clone(), name.clone()));
        match entry {
            Entry::Sum(key, by) => self.sum(key, ElementId::String, *by, *in_doubt),
            Entry::Field(key, field, by) => self.sum(key, ElementId::Field(field.clone()), *by, *in_doubt),
            Entry::Bit(key, bit) => self.bits(key, ElementId::String).add(1 << bit, *in_doubt),
            Entry::Score(key, member, bit) => {
                self.bits(key, ElementId::Ranked(member.clone())).add(1 << bit, *in_doubt);
            }
            Entry::Reset(key) => self.bits(key, ElementId::String).wipe(bits_of(seen.as_ref()), *in_doubt),
            Entry::Unscore(key, member) => {
                self.bits(key, ElementId::Ranked(member.clone())).wipe(bits_of(seen.as_ref()), *in_doubt);
            }
            Entry::Clear(key) => {
                let Some(Reply::Array(pairs)) = seen else { return };
                for pair in pairs.chunks(2) {
                    if let [Reply::Bulk(member), score] = pair {
                        self.bits(key, ElementId::Ranked(member.clone())).wipe(bits_of(Some(score)), *in_doubt);
                    }
                }
            }
            Entry::Raise(key, member, score) => {
                let (sure, doubtful) = self.raises.entry((key.clone(), member.clone())).or_default();
                (if *in_doubt { doubtful } else { sure }).push(*score);
            }
            Entry::Add(key, member) | Entry::Kept(key, member) => self.members(key).add(member, *in_doubt),
            Entry::Remove(key, member) => {
                if *seen == Some(Reply::Int(1)) {
                    self.members(key).remove(member, *in_doubt || is_orphan(key, member));
                }
            }
            Entry::Empty(key) => {
                let Some(Reply::Array(members)) = seen else { return };
                for member in members {
                    if let Reply::Bulk(member) = member {
                        self.members(key).remove(member, *in_doubt || is_orphan(key, member));
                    }
                }
            }
            Entry::Write(key, field, value) => {
                let names = self.values.entry((key.clone(), field.clone())).or_default();
                names.add(value, *in_doubt);
                if let Some(Reply::Bulk(seen)) = seen {
                    names.remove(seen, *in_doubt || is_orphan(key, seen));
                }
            }
            Entry::Deadline(key, after_ms) => {
                if !in_doubt {
                    let latest = self.deadlines.entry(key.clone()).or_default();
                    *latest = (*latest).max(at_ms + after_ms);
                }
            }
            Entry::Revoke(key) => {
                if !in_doubt {
                    self.revoked.insert(key.clone());
                }
            }
            Entry::Vain(_) | Entry::Nothing => {}
        }
    }

    fn sum(&mut self, key: &Key, id: ElementId, by: i64, in_doubt: bool) {
        let (least, most) = self.sums.entry((key.clone(), id)).or_default();
        *most += by;
        if !in_doubt {
            *least += by;
        }
    }

    fn bits(&mut self, key: &Key, id: ElementId) -> &mut Bits {
        self.bits.entry((key.clone(), id)).or_default()
    }

    fn members(&mut self, key: &Key) -> &mut Names {
        self.members.entry(key.clone()).or_default()
    }
}

impl Bits {
    fn add(&mut self, bits: u64, in_doubt: bool) {
        *(if in_doubt { &mut self.doubtful } else { &mut self.all }) |= bits;
    }

    fn wipe(&mut self, bits: u64, in_doubt: bool) {
        *(if in_doubt { &mut self.perhaps_wiped } else { &mut self.wiped }) |= bits;
    }
}

impl Names {
    fn add(&mut self, name: &Bytes, in_doubt: bool) {
        (if in_doubt { &mut self.doubtful } else { &mut self.all }).insert(name.clone());
    }

    fn remove(&mut self, name: &Bytes, in_doubt: bool) {
        (if in_doubt { &mut self.perhaps_gone } else { &mut self.gone }).insert(name.clone());
    }

    fn must(&self) -> impl Iterator<Item = &Bytes> {
        self.all.iter().filter(|name| !self.gone.contains(*name) && !self.perhaps_gone.contains(*name))
    }

    fn may(&self, name: &Bytes) -> bool {
        (self.all.contains(name) || self.doubtful.contains(name)) && !self.gone.contains(name)
    }
}

/// The bits of a value that was read.
pub(crate) fn bits_of(seen: Option<&Reply>) -> u64 {
    let Some(Reply::Bulk(text)) = seen else { return 0 };
    let text = std::str::from_utf8(text).unwrap_or_default();
    // A score in exponent form, or an integer.
    text.parse::<u64>().or_else(|_| text.parse::<f64>().map(|value| value as u64)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::{KEPT_MS, key};

    #[test]
    fn a_request_that_was_given_up_keeps_nothing_alive() {
        let entry = |member: &'static str| Entry::Kept(key("kept"), Bytes::from_static(member.as_bytes()));
        let mut ledger = Ledger::default();
        ledger.book(entry("first"), None, 0, 0);
        ledger.book_doubtful(entry("given up"), KEPT_MS - 3_000);
        ledger.book(entry("last"), None, KEPT_MS - 3_000, KEPT_MS + 1_000);
        let wrong = ledger.auditor().audit(|_| None, false);
        let lost_first = wrong.iter().any(|text| text.contains("first"));
        assert!(!lost_first && wrong.iter().any(|text| text.contains("last")), "{wrong:?}");
    }

    #[test]
    fn what_was_acknowledged_long_after_it_was_asked_may_have_ended_before() {
        let entry = |member: &'static str| Entry::Kept(key("kept"), Bytes::from_static(member.as_bytes()));
        let mut ledger = Ledger::default();
        ledger.book(entry("first"), None, 4_000, 4_000);
        ledger.book(entry("next"), None, 4_000 + KEPT_MS, 4_000 + KEPT_MS);
        ledger.book(entry("late"), None, 0, 5_000 + KEPT_MS);
        let wrong = ledger.auditor().audit(|_| None, false);
        assert!(!wrong.iter().any(|text| text.contains("late")), "{wrong:?}");
        assert!(wrong.iter().any(|text| text.contains("next")), "{wrong:?}");
    }

    #[test]
    fn a_removal_is_held_to_what_it_saw_but_for_what_lost_its_verdict() {
        let key = key("set");
        let add = |name: &'static str| Entry::Add(key.clone(), Bytes::from_static(name.as_bytes()));
        let seen =
            Reply::Array(["kept", "orphan"].map(|name| Reply::Bulk(Bytes::from_static(name.as_bytes()))).to_vec());
        let mut ledger = Ledger::default();
        ledger.book(add("kept"), None, 0, 0);
        let orphan = ledger.book(add("orphan"), None, 0, 0);
        ledger.book(Entry::Empty(key.clone()), Some(&seen), 1, 1);
        ledger.orphan(orphan);
        let mut state = headwater::state::KeyState::default();
        for (no, name) in (1..).zip(["kept", "orphan"]) {
            let element = ElementId::Member(Bytes::from_static(name.as_bytes()));
            let (seen, cuts) = state.seen(&element);
            let base = Some(headwater::state::NewBase::Member);
            let write = headwater::state::Effect::Write { element, base, seen, cuts };
            let dot = headwater::id::Dot { replica: headwater::id::ReplicaId::from_bits(1), no: headwater::id::No(no) };
            let _ = state.apply(&write, headwater::state::Mint { dot, hlc: headwater::hlc::Hlc::from_bits(no) });
        }
        let wrong = ledger.auditor().audit(|other| (*other == key).then_some(state.view()), false);
        assert_eq!(wrong.len(), 1, "{wrong:?}");
        assert!(wrong[0].contains("back [b\"kept\"]"), "{wrong:?}");
    }
}
