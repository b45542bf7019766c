//! The tables, and how a load reads and a commit changes them.
//!
//! A row's first byte is its version, so that rows can migrate one by one.

use super::EmbeddedError;
use bytes::Bytes;
use headwater::{
    command::matches,
    id::{Key, No, ReplicaId, TimestampMs},
    slot::Slot,
    store::{Commit, Companion, KeyCommit, LedgerOutcome, LedgerSwap, Load, Loaded, Marker, Outcome, StoredLedger},
    wire::{self, WireError},
};
use redb::{AccessGuard, ReadTransaction, ReadableTable, Table, TableDefinition, WriteTransaction};
use std::collections::{BTreeMap, BTreeSet};

/// A slot and a key's bytes.
type SlotKey = (u16, &'static [u8]);

/// A slot, a key's bytes, and a field's name.
type SlotKeyField = (u16, &'static [u8], &'static [u8]);

/// What the file knows of itself.
const META: TableDefinition<'_, &str, &str> = TableDefinition::new("meta");
/// A slot's marker.
const MARKERS: TableDefinition<'_, u16, &[u8]> = TableDefinition::new("markers");
/// A companion's version, and when it vanishes.
const COMPANIONS: TableDefinition<'_, SlotKey, (u64, Option<i64>)> = TableDefinition::new("companions");
/// A companion's fields.
const FIELDS: TableDefinition<'_, SlotKeyField, &[u8]> = TableDefinition::new("fields");
/// The change feed by key.
const FEED: TableDefinition<'_, SlotKey, u64> = TableDefinition::new("feed");
/// The change feed in order.
const FEED_ORDER: TableDefinition<'_, (u16, u64, &[u8]), ()> = TableDefinition::new("feed_order");
/// Companions in the order in which they vanish.
const EXPIRIES: TableDefinition<'_, (i64, u16, &[u8]), ()> = TableDefinition::new("expiries");

/// The accounts of strict limits: when each may vanish, its version, and the bytes.
const LEDGERS: TableDefinition<'_, &[u8], (i64, u64, &[u8])> = TableDefinition::new("ledgers");
/// The same in the order in which they may vanish.
const LEDGER_ENDS: TableDefinition<'_, (i64, &[u8]), ()> = TableDefinition::new("ledger_ends");

/// Whose the identities of hubs are.
const OWNERS: TableDefinition<'_, &str, &str> = TableDefinition::new("owners");

/// Accounts that one swap drops which may vanish: more than it adds.
const LEDGERS_SWEPT: usize = 4;

const RUN_ID: &str = "run_id";
const ROW_VERSION: u8 = 0;

/// A marker's row: incarnation, run id, sequence, number, previous, hubs.
type MarkerRow = (ReplicaId, Bytes, u64, No, Option<(ReplicaId, u64)>, BTreeMap<ReplicaId, No>);

/// All tables, open for writing.
pub(super) struct Tables<'a> {
    meta: Table<'a, &'static str, &'static str>,
    markers: Table<'a, u16, &'static [u8]>,
    companions: Table<'a, SlotKey, (u64, Option<i64>)>,
    fields: Table<'a, SlotKeyField, &'static [u8]>,
    feed: Table<'a, SlotKey, u64>,
    feed_order: Table<'a, (u16, u64, &'static [u8]), ()>,
    expiries: Table<'a, (i64, u16, &'static [u8]), ()>,
    ledgers: Table<'a, &'static [u8], (i64, u64, &'static [u8])>,
    ledger_ends: Table<'a, (i64, &'static [u8]), ()>,
    owners: Table<'a, &'static str, &'static str>,
}

impl<'a> Tables<'a> {
    /// Opens them, and makes those that are not there.
    pub(super) fn open(transaction: &'a WriteTransaction) -> Result<Self, EmbeddedError> {
        Ok(Self {
            meta: transaction.open_table(META)?,
            markers: transaction.open_table(MARKERS)?,
            companions: transaction.open_table(COMPANIONS)?,
            fields: transaction.open_table(FIELDS)?,
            feed: transaction.open_table(FEED)?,
            feed_order: transaction.open_table(FEED_ORDER)?,
            expiries: transaction.open_table(EXPIRIES)?,
            ledgers: transaction.open_table(LEDGERS)?,
            ledger_ends: transaction.open_table(LEDGER_ENDS)?,
            owners: transaction.open_table(OWNERS)?,
        })
    }

    /// The file's run id; a new file gets a fresh one.
    pub(super) fn run_id(&mut self, fresh: impl FnOnce() -> String) -> Result<Bytes, EmbeddedError> {
        let known = self.meta.get(RUN_ID)?.map(|row| row.value().to_owned());
        if let Some(known) = known {
            return Ok(Bytes::from(known));
        }
        let fresh = fresh();
        self.meta.insert(RUN_ID, fresh.as_str())?;
        Ok(Bytes::from(fresh))
    }

    /// Compares, then changes; without an error either all of it or nothing.
    pub(super) fn apply(&mut self, commit: &Commit, now: TimestampMs) -> Result<Outcome, EmbeddedError> {
        let slot = commit.slot.get();
        if let Some(part) = commit.keys.iter().find(|part| part.key.slot() != commit.slot) {
            return Err(EmbeddedError::Slot { key: part.key.clone() });
        }
        let marker = self.markers.get(slot)?.map(|row| decode_marker(row.value())).transpose()?;
        let fence = marker.as_ref().map(|marker| marker.incarnation);
        if fence != commit.fence || marker.as_ref().map_or(0, |marker| marker.seq) != commit.expected_seq {
            return Ok(Outcome::Stale);
        }
        let mut moved = Vec::new();
        for part in &commit.keys {
            let row = self.companions.get((slot, part.key.as_bytes()))?.map(|row| row.value());
            let version = row.filter(|(_, expiry)| !is_expired(*expiry, now)).map(|(version, _)| version);
            if version != part.expected_version {
                moved.push(part.key.clone());
            }
        }
        if !moved.is_empty() {
            return Ok(Outcome::Conflict(moved));
        }
        for part in &commit.keys {
            self.apply_key(slot, part, now)?;
        }
        let marker = changed_marker(marker, commit);
        self.markers.insert(slot, encode_marker(&marker).as_slice())?;
        Ok(Outcome::Committed)
    }

    /// Compares and swaps an account, or reads it. All that the file holds was written in its one life.
    pub(super) fn swap(&mut self, swap: &LedgerSwap, now: TimestampMs) -> Result<LedgerOutcome, EmbeddedError> {
        let ended = self.ledger_ends.range(..(now.0, &[][..]))?.take(LEDGERS_SWEPT);
        let ended = ended.map(|row| row.map(|(end, _)| (end.value().0, end.value().1.to_vec())));
        for (at, key) in ended.collect::<Result<Vec<_>, _>>()? {
            self.ledger_ends.remove((at, key.as_slice()))?;
            self.ledgers.remove(key.as_slice())?;
        }
        let key = swap.key.as_bytes();
        let (end, standing) = match self.ledgers.get(key)? {
            Some(row) => {
                let (end, version, bytes) = row.value();
                let bytes = Bytes::copy_from_slice(bytes);
                (Some(end), Some(StoredLedger { version, is_current: true, bytes }))
            }
            None => (None, None),
        };
        let outcome = swap.judged(standing.as_ref());
        if let (LedgerOutcome::Swapped, Some((version, bytes))) = (&outcome, &swap.value) {
            if let Some(end) = end {
                self.ledger_ends.remove((end, key))?;
            }
            self.ledgers.insert(key, (swap.expire_at.0, *version, bytes.as_ref()))?;
            self.ledger_ends.insert((swap.expire_at.0, key), ())?;
        }
        Ok(outcome)
    }

    /// Whose the identities of hubs are.
    pub(super) fn owners(&self) -> Result<BTreeMap<String, String>, EmbeddedError> {
        let owned = |(hub, owner): (AccessGuard<'_, &str>, AccessGuard<'_, &str>)| {
            (hub.value().to_owned(), owner.value().to_owned())
        };
        Ok(self.owners.iter()?.map(|row| row.map(owned)).collect::<Result<_, _>>()?)
    }

    /// Notes whose an identity is, unless that is noted, and gives whose it is.
    pub(super) fn claim(&mut self, hub: &str, owner: &str) -> Result<String, EmbeddedError> {
        let known = self.owners.get(hub)?.map(|row| row.value().to_owned());
        if let Some(known) = known {
            return Ok(known);
        }
        self.owners.insert(hub, owner)?;
        Ok(owner.to_owned())
    }

    /// Notes whose identities are.
    pub(super) fn assign(&mut self, owners: &BTreeMap<String, String>) -> Result<(), EmbeddedError> {
        for (hub, owner) in owners {
            self.owners.insert(hub.as_str(), owner.as_str())?;
        }
        Ok(())
    }

    /// Drops companions that have expired, up to `count_max` of them. Their place in the change feed stays, as in Redis.
    pub(super) fn sweep(&mut self, now: TimestampMs, count_max: usize) -> Result<(), EmbeddedError> {
        let mut expired = Vec::new();
        for row in self.expiries.iter()?.take(count_max) {
            let row = row?.0;
            let (at, slot, key) = row.value();
            if !is_expired(Some(at), now) {
                break;
            }
            expired.push((slot, key.to_vec()));
        }
        expired.into_iter().try_for_each(|(slot, key)| self.drop_companion(slot, &key))
    }

    fn apply_key(&mut self, slot: u16, part: &KeyCommit, now: TimestampMs) -> Result<(), EmbeddedError> {
        let key = part.key.as_bytes();
        let row = self.companions.get((slot, key))?.map(|row| row.value());
        if part.forget || row.is_some_and(|(_, expiry)| is_expired(expiry, now)) {
            self.drop_companion(slot, key)?;
        } else if let Some((_, Some(at))) = row {
            self.expiries.remove((at, slot, key))?;
        }
        if let Some(seq) = self.feed.remove((slot, key))?.map(|row| row.value()) {
            self.feed_order.remove((slot, seq, key))?;
        }
        if part.forget {
            return Ok(());
        }
        for field in &part.delete {
            self.fields.remove((slot, key, field.as_ref()))?;
        }
        for (field, body) in &part.put {
            self.fields.insert((slot, key, field.as_ref()), body.as_ref())?;
        }
        let expiry = part.expire_at.map(|at| at.0);
        self.companions.insert((slot, key), (part.version, expiry))?;
        if let Some(at) = expiry {
            self.expiries.insert((at, slot, key), ())?;
        }
        self.feed.insert((slot, key), part.version)?;
        self.feed_order.insert((slot, part.version, key), ())?;
        Ok(())
    }

    fn drop_companion(&mut self, slot: u16, key: &[u8]) -> Result<(), EmbeddedError> {
        let row = self.companions.remove((slot, key))?.map(|row| row.value());
        if let Some((_, Some(at))) = row {
            self.expiries.remove((at, slot, key))?;
        }
        let next = successor(key);
        let range = (slot, key, &[][..])..(slot, next.as_slice(), &[][..]);
        self.fields.retain_in(range, |_, _| false)?;
        Ok(())
    }
}

/// The keys under the pattern that have a companion.
pub(super) fn keys(
    snapshot: &ReadTransaction,
    pattern: &[u8],
    now: TimestampMs,
) -> Result<BTreeSet<Key>, EmbeddedError> {
    let mut found = BTreeSet::new();
    for row in snapshot.open_table(COMPANIONS)?.iter()? {
        let (key, row) = row?;
        let ((_, key), (_, expiry)) = (key.value(), row.value());
        if !is_expired(expiry, now) && matches(pattern, key) {
            found.insert(Key::new(key.to_vec())?);
        }
    }
    Ok(found)
}

/// Reads what is asked for from one snapshot.
pub(super) fn read(snapshot: &ReadTransaction, load: Load, now: TimestampMs) -> Result<Loaded, EmbeddedError> {
    let slot = load.slot.get();
    let row = snapshot.open_table(MARKERS)?.get(slot)?;
    let marker = row.map(|row| decode_marker(row.value())).transpose()?;
    let (companions, fields) = (snapshot.open_table(COMPANIONS)?, snapshot.open_table(FIELDS)?);
    let mut keys = Vec::with_capacity(load.keys.len());
    for key in load.keys {
        if key.slot() != load.slot {
            return Err(EmbeddedError::Slot { key });
        }
        let row = companions.get((slot, key.as_bytes()))?.map(|row| row.value());
        let companion = match row {
            Some((version, expiry)) if !is_expired(expiry, now) => {
                Some(Companion { version, fields: fields_of(&fields, slot, &key)? })
            }
            _ => None,
        };
        keys.push((key, companion));
    }
    let changed = match load.changed_after {
        Some(after) => changed_after(snapshot, load.slot, after)?,
        None => Vec::new(),
    };
    Ok(Loaded { slot: load.slot, marker, keys, changed, plain: Vec::new(), evictions: 0 })
}

fn fields_of(
    fields: &impl ReadableTable<SlotKeyField, &'static [u8]>,
    slot: u16,
    key: &Key,
) -> Result<BTreeMap<Bytes, Bytes>, EmbeddedError> {
    let next = successor(key.as_bytes());
    fields
        .range((slot, key.as_bytes(), &[][..])..(slot, next.as_slice(), &[][..]))?
        .map(|row| {
            let (name, body) = row?;
            Ok((Bytes::copy_from_slice(name.value().2), Bytes::copy_from_slice(body.value())))
        })
        .collect()
}

fn changed_after(snapshot: &ReadTransaction, slot: Slot, after: u64) -> Result<Vec<(Key, u64)>, EmbeddedError> {
    let Some(first) = after.checked_add(1) else { return Ok(Vec::new()) };
    let order = snapshot.open_table(FEED_ORDER)?;
    let from = (slot.get(), first, &[][..]);
    let to = (slot.get().saturating_add(1), 0, &[][..]);
    order
        .range(from..to)?
        .map(|row| {
            let name = row?.0;
            let (_, seq, key) = name.value();
            Ok((Key::new(key.to_vec())?, seq))
        })
        .collect()
}

fn changed_marker(before: Option<Marker>, commit: &Commit) -> Marker {
    let change = &commit.marker;
    let mut marker = before.unwrap_or_else(|| Marker {
        incarnation: ReplicaId::from_bits(0),
        run_id: Bytes::new(),
        seq: 0,
        no: No::ZERO,
        previous: None,
        hubs: BTreeMap::new(),
    });
    if let Some((incarnation, run_id, previous)) = &change.open {
        marker.incarnation = *incarnation;
        marker.run_id = run_id.clone();
        marker.previous = *previous;
    }
    marker.seq = change.seq;
    marker.no = change.no;
    marker.hubs.extend(change.hubs.iter().copied());
    marker
}

fn encode_marker(marker: &Marker) -> Vec<u8> {
    let Marker { incarnation, run_id, seq, no, previous, hubs } = marker;
    let mut row = vec![ROW_VERSION];
    row.extend(wire::to_body(&(incarnation, run_id, seq, no, previous, hubs)));
    row
}

fn decode_marker(row: &[u8]) -> Result<Marker, WireError> {
    let (&version, body) = row.split_first().ok_or(WireError::Short { have: 0, need: 1 })?;
    if version != ROW_VERSION {
        return Err(WireError::Version(version));
    }
    let (incarnation, run_id, seq, no, previous, hubs): MarkerRow = wire::from_body(body)?;
    Ok(Marker { incarnation, run_id, seq, no, previous, hubs })
}

fn is_expired(expiry: Option<i64>, now: TimestampMs) -> bool {
    expiry.is_some_and(|at| at <= now.0)
}

/// The least string of bytes above this one.
fn successor(key: &[u8]) -> Vec<u8> {
    [key, &[0]].concat()
}
