//! A leaf's rows: what a tab stores so that closing it loses nothing, and the leaf rebuilt from it.
//!
//! Only a leaf that was made to be stored keeps track. Rows are the effects' first, so a shell that stores before it sends
//! never gives one number of a session to two operations. Pushes that still wait for a verdict are not stored: the hub shows
//! their keys whole again after the next greeting.

use super::{Leaf, Pending, TabId, base::Base};
use crate::{
    id::{ClientId, Dot, Key, No, ReplicaId, Seq, SessionId},
    limits::DELTA_ELEMENTS_MAX,
    message::Lifetime,
    ordered::{OrderedMap, OrderedSet},
    state::{ElementId, Touched},
    wire::{
        Invalid, WireError,
        element::{read_id, write_id},
        from_body,
        reader::Reader,
        stored::{decode_element, encode_element, from_stored, read_header, to_stored, write_header},
        to_body,
        writer::Writer,
    },
};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::fmt;

const META: u8 = b'm';
const PENDING: u8 = b'p';
const KEY: u8 = b'k';

/// A row of a leaf's storage.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum LeafRowId {
    /// The leaf itself.
    Meta,
    /// An operation, by the number of its first provisional dot.
    Pending(No),
    /// A key as the hub showed it: its header.
    Key(Key),
    /// An element of such a key.
    Element(Key, ElementId),
}

/// A change of a leaf's storage. All that one effect lists belongs in one transaction, in this order.
#[derive(Clone, PartialEq, Debug)]
pub enum LeafRowWrite {
    /// Writes a row.
    Put(LeafRowId, Bytes),
    /// Drops a row.
    Drop(LeafRowId),
    /// Drops the row of an operation that is done with; the bytes tell a mirror how.
    Done(No, Bytes),
    /// Drops a key's row and those of its elements: all that begin with [`LeafRowId::to_bytes`] of the key's.
    DropKey(Key),
}

impl LeafRowId {
    /// The row's primary key; a key's elements follow it and no other row comes between.
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Meta => vec![META],
            Self::Pending(no) => [&[PENDING], &no.0.to_be_bytes()[..]].concat(),
            Self::Key(key) => key.sized(KEY),
            Self::Element(key, id) => [&key.sized(KEY)[..], &[id.kind() as u8], id.name_bytes()].concat(),
        }
    }

    /// The row that has this primary key.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (tag, rest) = bytes.split_first()?;
        match *tag {
            META if rest.is_empty() => Some(Self::Meta),
            PENDING => Some(Self::Pending(No(u64::from_be_bytes(rest.try_into().ok()?)))),
            KEY => {
                let (key, rest) = Key::split_sized(rest)?;
                let Some((kind, name)) = rest.split_first() else { return Some(Self::Key(key)) };
                Some(Self::Element(key, ElementId::from_parts(*kind, Bytes::copy_from_slice(name))?))
            }
            _ => None,
        }
    }
}

impl fmt::Display for LeafRowId {
    /// What the row is of.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Meta => f.write_str("the leaf itself"),
            Self::Pending(no) => write!(f, "operation {}", no.0),
            Self::Key(key) => write!(f, "key {key}"),
            Self::Element(key, id) => write!(f, "{} of key {key}", String::from_utf8_lossy(id.name_bytes())),
        }
    }
}

/// Why stored rows make no leaf.
#[derive(Debug, thiserror::Error)]
pub enum LeafRestoreError {
    /// There are rows, but not the one with the client's name.
    #[error("the stored rows do not say whose they are; delete them all")]
    NoMeta,
    /// A row does not decode.
    #[error("the stored row of {row} does not decode; delete all rows, with what was not synchronised")]
    Row {
        /// Which row.
        row: LeafRowId,
        /// Why.
        #[source]
        source: WireError,
    },
}

/// The meta row's body. Its lists are in order.
#[derive(Serialize, Deserialize)]
pub(super) struct Meta {
    pub(super) client: ClientId,
    pub(super) lifetime: Lifetime,
    pub(super) session: Option<(SessionId, Seq)>,
    pub(super) settled: Vec<(SessionId, Seq)>,
    pub(super) offset_ms: i64,
    pub(super) last_local: No,
    pub(super) adopted: Vec<(TabId, u64)>,
}

/// By which hub an operation was settled, and as which numbers; none if it was refused.
pub(super) type Settled = Option<(ReplicaId, No, No)>;

/// What is to be stored before the next input is done with.
#[derive(Debug, Default)]
pub(super) struct Dirty {
    /// The meta row as it is stored.
    meta: Vec<u8>,
    keys: OrderedMap<Key, Change>,
    /// Operations that are done with, and how.
    gone: Vec<(No, Key, Settled)>,
}

/// How a key's rows are out of date.
#[derive(Debug, Default)]
struct Change {
    /// The rows that are there are another key's.
    is_new: bool,
    elements: OrderedSet<ElementId>,
}

impl Dirty {
    /// Nothing to store yet, over a meta row that is stored so.
    pub(super) fn of(meta: Vec<u8>) -> Self {
        Self { meta, ..Self::default() }
    }

    /// The base took something up.
    pub(super) fn joined(&mut self, key: &Key, touched: &Touched) {
        let change = self.keys.or_default(key.clone());
        change.elements.extend(touched.elements.iter().map(|(id, _)| id.clone()));
    }

    /// The base of a key was dropped; another may follow.
    pub(super) fn dropped(&mut self, key: &Key) {
        self.keys.insert(key.clone(), Change { is_new: true, elements: OrderedSet::new() });
    }

    /// An operation is done with.
    pub(super) fn done(&mut self, pending: &Pending) {
        self.gone.push((pending.first_local, pending.key().clone(), pending.settled));
    }
}

impl Leaf {
    /// A leaf that knows nothing yet and says what to store.
    pub fn stored(client: ClientId, lifetime: Lifetime) -> Self {
        Self { dirty: Some(Dirty::default()), ..Self::new(client, lifetime) }
    }

    /// The leaf that stored these rows, without a connection and without subscriptions.
    ///
    /// # Errors
    /// When a row is missing or does not decode: a leaf that guessed could give one number to two operations.
    pub fn restore(rows: impl IntoIterator<Item = (LeafRowId, Bytes)>) -> Result<Self, LeafRestoreError> {
        let Stored { meta, bases, pending } = Stored::read(rows)?;
        let meta = meta.ok_or(LeafRestoreError::NoMeta)?;
        let mut leaf = Self::stored(meta.client, meta.lifetime);
        leaf.take_meta(meta);
        leaf.base = bases;
        let keys: OrderedSet<Key> = pending.iter().map(|(_, pending)| pending.key().clone()).collect();
        pending.into_values().for_each(|pending| leaf.pending.push(Box::new(pending)));
        for key in &keys {
            leaf.rebuild(key);
        }
        let body = leaf.meta_body();
        leaf.dirty.get_or_insert_default().meta = body;
        Ok(leaf)
    }

    /// The rows that changed since they were last taken, in the order in which to write them.
    pub(super) fn take_rows(&mut self) -> Vec<LeafRowWrite> {
        let operations = self.pending.take_dirty();
        let Some(dirty) = self.dirty.as_mut() else { return Vec::new() };
        let (keys, gone) = (std::mem::take(&mut dirty.keys), std::mem::take(&mut dirty.gone));
        let version = self.version.saturating_add(1);
        let done_in = &mut self.done_in;
        let done = gone.into_iter().map(|(no, key, settled)| {
            done_in.insert(key, version);
            LeafRowWrite::Done(no, to_body(&settled).into())
        });
        let mut rows: Vec<LeafRowWrite> = done.collect();
        for (key, change) in keys {
            if change.is_new {
                rows.push(LeafRowWrite::DropKey(key.clone()));
            }
            let Some(base) = self.base.get(&key) else { continue };
            for id in change.elements {
                let row = LeafRowId::Element(key.clone(), id.clone());
                rows.push(match base.state.element(&id) {
                    Some(element) => LeafRowWrite::Put(row, encode_element(id.kind(), &element).into()),
                    None => LeafRowWrite::Drop(row),
                });
            }
            let body = to_stored(|w| write_base(w, base));
            rows.push(LeafRowWrite::Put(LeafRowId::Key(key), body.into()));
        }
        for no in operations {
            self.pending.change(no, &mut |pending| {
                pending.is_dirty = false;
                rows.push(LeafRowWrite::Put(LeafRowId::Pending(no), pending.to_row()));
            });
        }
        let body = self.meta_body();
        if let Some(dirty) = self.dirty.as_mut().filter(|dirty| dirty.meta != body) {
            rows.push(LeafRowWrite::Put(LeafRowId::Meta, Bytes::copy_from_slice(&body)));
            dirty.meta = body;
        }
        if !rows.is_empty() {
            self.version = version;
            self.forget_done();
        }
        rows
    }

    /// All that there is to store, as a mirror takes it up. Linear in what the leaf holds.
    pub fn rows(&self) -> Vec<(LeafRowId, Bytes)> {
        let mut rows = vec![(LeafRowId::Meta, self.meta_body().into())];
        for pending in self.pending.iter() {
            rows.push((LeafRowId::Pending(pending.first_local), pending.to_row()));
        }
        for (key, base) in &self.base {
            rows.push((LeafRowId::Key(key.clone()), to_stored(|w| write_base(w, base)).into()));
            for (id, element) in base.state.elements() {
                let body = encode_element(id.kind(), &element).into();
                rows.push((LeafRowId::Element(key.clone(), id), body));
            }
        }
        rows
    }

    /// Goes on as the leaf that stored this.
    pub(super) fn take_meta(&mut self, meta: Meta) {
        let Meta { client, lifetime, session, settled, offset_ms, last_local, adopted } = meta;
        (self.client, self.lifetime, self.session) = (client, lifetime, session);
        (self.offset_ms, self.last_local) = (offset_ms, last_local);
        self.settled = settled.into_iter().collect();
        self.adopted = adopted.into_iter().collect();
    }

    pub(super) fn meta_body(&self) -> Vec<u8> {
        to_body(&Meta {
            client: self.client,
            lifetime: self.lifetime,
            session: self.session,
            settled: self.settled.iter().map(|(id, seq)| (*id, *seq)).collect(),
            offset_ms: self.offset_ms,
            last_local: self.last_local,
            adopted: self.adopted.iter().map(|(tab, count)| (*tab, *count)).collect(),
        })
    }
}

/// What rows say, decoded.
#[derive(Default)]
pub(super) struct Stored {
    pub(super) meta: Option<Meta>,
    pub(super) bases: OrderedMap<Key, Base>,
    pub(super) pending: OrderedMap<No, Pending>,
}

impl Stored {
    pub(super) fn read(rows: impl IntoIterator<Item = (LeafRowId, Bytes)>) -> Result<Self, LeafRestoreError> {
        let mut stored = Self::default();
        for (row, body) in rows {
            let Self { meta, bases, pending } = &mut stored;
            match &row {
                LeafRowId::Meta => from_body::<Meta>(&body).map(|read| *meta = Some(read)),
                LeafRowId::Pending(no) => Pending::from_row(&body).map(|read| {
                    pending.insert(*no, read);
                }),
                _ => restore_base(bases, &row, &body),
            }
            .map_err(|source| LeafRestoreError::Row { row, source })?;
        }
        Ok(stored)
    }
}

/// Puts a row of a key back.
pub(super) fn restore_base(bases: &mut OrderedMap<Key, Base>, row: &LeafRowId, body: &Bytes) -> Result<(), WireError> {
    match row {
        LeafRowId::Key(key) => from_stored(body, |r| read_base(r, bases.or_default(key.clone()))),
        LeafRowId::Element(key, id) => decode_element(id.kind(), body)
            .map(|element| bases.or_default(key.clone()).state.restore_element(id, element)),
        LeafRowId::Meta | LeafRowId::Pending(_) => Ok(()),
    }
}

fn write_base(w: &mut Writer, base: &Base) {
    write_header(w, &base.state.header());
    w.u8(base.is_held.into());
    w.count(base.ahead.len());
    for (id, dots) in &base.ahead {
        write_id(w, id);
        w.count(dots.len());
        dots.iter().for_each(|dot| w.dot(*dot));
    }
}

fn read_base(r: &mut Reader<'_>, base: &mut Base) -> Result<(), Invalid> {
    base.state.restore_header(read_header(r)?);
    base.is_held = match r.u8()? {
        0 => false,
        1 => true,
        _ => return Err(Invalid::Tag("held")),
    };
    // A kind and a count; a dot takes a reference and a number.
    let ahead = r.list("elements", DELTA_ELEMENTS_MAX, 2, |r| {
        let id = read_id(r)?;
        let dots: Vec<Dot> = r.list("dots", DELTA_ELEMENTS_MAX, 2, Reader::dot)?;
        Ok((id, dots))
    })?;
    base.ahead = ahead.into_iter().collect();
    Ok(())
}
