//! The elements of one type of one key: packed blocks, found by the hash of their names.
//!
//! Invariants: an element with nothing recorded is not stored; the count, the ranks and the ends agree with the elements.

use super::{Base, Element, ElementId, Kind, Mint, pack};
use crate::id::{Dot, ReplicaId, TimestampMs};
use crate::{
    arena::{Arena, Block},
    ordered::{OrderedSet, sort},
    rank_tree::{Known, RankTree, Score},
};
use bytes::Bytes;
use hashbrown::HashTable;

/// The elements of one type.
#[derive(Clone, Debug)]
pub(super) struct Collection {
    kind: Kind,
    blocks: HashTable<Block>,
    present: u32,
    ranks: RankTree,
    /// Of hashes: when each present field with a deadline ends. Most hashes have none.
    ends: Option<Box<Ends>>,
}

/// The ends of some fields in order.
#[derive(Clone, Debug, Default)]
struct Ends {
    by_time: OrderedSet<(TimestampMs, Bytes)>,
    name_bytes: usize,
}

impl Collection {
    pub(super) fn new(kind: Kind) -> Self {
        Self { kind, blocks: HashTable::new(), present: 0, ranks: RankTree::new(), ends: None }
    }

    /// How many elements a reader sees.
    pub(super) fn present(&self) -> usize {
        self.present as usize
    }

    /// The names of the fields that have ended by `now`, the first to end first. Linear in these.
    pub(super) fn ended(&self, now: TimestampMs) -> impl Iterator<Item = &Bytes> {
        let ends = self.ends.iter().flat_map(|ends| &ends.by_time);
        ends.take_while(move |(at, _)| *at <= now).map(|(_, name)| name)
    }

    /// When the first field ends of those that end after `after`. Logarithmic.
    pub(super) fn end_after(&self, after: TimestampMs) -> Option<TimestampMs> {
        let from = (after.plus_ms(1), Bytes::new());
        self.ends.as_ref()?.by_time.at_or_after(&from).map(|(at, _)| *at)
    }

    /// A board's order.
    pub(super) fn ranks(&self) -> &RankTree {
        &self.ranks
    }

    pub(super) fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// One element, if anything is recorded of it. Constant time.
    pub(super) fn element(&self, arena: &Arena, name: &[u8]) -> Option<Element> {
        Some(pack::load_element(arena, self.block(arena, name)?, self.kind))
    }

    /// Where an element is. Constant time.
    pub(super) fn block(&self, arena: &Arena, name: &[u8]) -> Option<Block> {
        self.find(arena, name, arena.hash(name))
    }

    /// As [`Self::block`], of a name of which this is the hash.
    pub(super) fn find(&self, arena: &Arena, name: &[u8], hash: u64) -> Option<Block> {
        self.blocks.find(hash, |block| pack::name(arena, *block) == name).copied()
    }

    /// Every element by name. Linearithmic.
    pub(super) fn sorted(&self, arena: &Arena) -> Vec<(ElementId, Element)> {
        let mut named: Vec<(&[u8], Block)> =
            self.blocks.iter().map(|block| (pack::name(arena, *block), *block)).collect();
        sort(&mut named);
        let unpack = |(name, block)| {
            let id = ElementId::of(self.kind, Bytes::copy_from_slice(name));
            (id, pack::load_element(arena, block, self.kind))
        };
        named.into_iter().map(unpack).collect()
    }

    /// The name of every element, in no order. Linear.
    pub(super) fn names<'a>(&'a self, arena: &'a Arena) -> impl Iterator<Item = &'a [u8]> {
        self.blocks.iter().map(|block| pack::name(arena, *block))
    }

    /// Whether `holds` of every element. Linear.
    pub(super) fn all(&self, arena: &Arena, holds: impl Fn(&Element) -> bool) -> bool {
        self.blocks.iter().all(|block| holds(&pack::load_element(arena, *block, self.kind)))
    }

    /// The only door to change an element. Constant time, on a board logarithmic.
    pub(super) fn change<R>(&mut self, arena: &mut Arena, name: &Bytes, change: impl FnOnce(&mut Element) -> R) -> R {
        let hash = arena.hash(name);
        let found = self.blocks.find(hash, |block| pack::name(arena, *block) == &name[..]).copied();
        let mut element = match found {
            Some(block) => pack::load_element(arena, block, self.kind),
            None => Element::empty(self.kind),
        };
        let before = self.standing(&element);
        let result = change(&mut element);
        let after = self.standing(&element);
        let stored = (!element.is_empty()).then(|| pack::store_element(arena, found, name, &element));
        self.present = self.present.saturating_add(after.is_present.into()).saturating_sub(before.is_present.into());
        self.rank(arena, name, (found, before.score), (stored, after.score));
        self.move_end(name, before.end, after.end);
        match (found, stored) {
            (Some(old), Some(new)) if old != new => {
                if let Some(place) = self.blocks.find_mut(hash, |other| *other == old) {
                    *place = new;
                }
                arena.heap.remove(old);
            }
            (Some(old), None) => {
                if let Ok(entry) = self.blocks.find_entry(hash, |other| *other == old) {
                    entry.remove();
                }
                pack::drop_element(arena, old);
            }
            (None, Some(new)) => {
                self.blocks.insert_unique(hash, new, |block| arena.hash(pack::name(arena, *block)));
            }
            (Some(_), Some(_)) | (None, None) => {}
        }
        result
    }

    /// Adds to a member's score; returns it, and what was minted. `None`, and nothing done, of a member of which nothing is
    /// recorded or that is not of the common form, and where a sum would leave the range of finite floats. `hash` is that of the name.
    /// Logarithmic.
    pub(super) fn increment(
        &mut self,
        arena: &mut Arena,
        (name, hash): (&[u8], u64),
        replica: ReplicaId,
        by: f64,
        mint: impl FnOnce() -> Mint,
    ) -> Option<(f64, Mint)> {
        let place = self.blocks.find_mut(hash, |block| pack::name(arena, *block) == name)?;
        let old = *place;
        let member = pack::Member::read(arena, old, replica, by)?;
        let (before, after) = (member.before, member.after);
        let score = Some(before.unwrap_or(0.0) + by).filter(|score| score.is_finite())?;
        let mint = mint();
        let new = member.put(arena, old, mint.dot.no);
        *place = new;
        self.present = self.present.saturating_add(before.is_none().into());
        self.rank(arena, name, (Some(old), before), (Some(new), Some(after)));
        if old != new {
            arena.heap.remove(old);
        }
        Some((score, mint))
    }

    /// Adds a base behind all others of a field that has many, of bytes alone; false, and nothing done, of any other. The field
    /// is present before and after, and does not end. Linear in the bases, but much less than to unpack them.
    pub(super) fn append(&mut self, arena: &mut Arena, name: &Bytes, dot: Dot, base: &Base) -> bool {
        let hash = arena.hash(name);
        let found = self.blocks.find_mut(hash, |block| pack::name(arena, *block) == &name[..]);
        let Some(place) = found.filter(|_| self.kind == Kind::Hash) else { return false };
        let Some(new) = pack::append_base(arena, *place, dot, base) else { return false };
        let old = std::mem::replace(place, new);
        if old != new {
            arena.heap.remove(old);
        }
        true
    }

    /// Moves a member in a board's order; both its blocks still bear its name.
    fn rank(
        &mut self,
        arena: &Arena,
        name: &[u8],
        (old, before): (Option<Block>, Option<f64>),
        (new, after): (Option<Block>, Option<f64>),
    ) {
        if before.is_none() && after.is_none() {
            return;
        }
        let compare = |id: u32| pack::name(arena, Block::from_bits(id)).cmp(name);
        let ties = Known { compare, own: || old.map(Block::to_bits) };
        if let (Some(before), Some((new, after))) = (before, new.zip(after)) {
            if old != Some(new) || before != after {
                self.ranks.replace(Score::new(before), Score::new(after), new.to_bits(), &ties);
            }
            return;
        }
        if let Some(before) = before {
            self.ranks.remove(Score::new(before), &ties);
        }
        if let (Some(new), Some(after)) = (new, after) {
            self.ranks.insert(Score::new(after), new.to_bits(), &ties);
        }
    }

    /// Moves a field in the order of ends.
    fn move_end(&mut self, name: &Bytes, before: Option<TimestampMs>, after: Option<TimestampMs>) {
        if before == after {
            return;
        }
        let ends = self.ends.get_or_insert_default();
        if let Some(at) = before {
            ends.by_time.remove(&(at, name.clone()));
            ends.name_bytes = ends.name_bytes.saturating_sub(name.len());
        }
        if let Some(at) = after {
            // Not a slice of the message that named it, which would keep all of that.
            ends.by_time.insert((at, Bytes::copy_from_slice(name)));
            ends.name_bytes = ends.name_bytes.saturating_add(name.len());
        }
        if ends.by_time.is_empty() {
            self.ends = None;
        }
    }

    /// Frees every element.
    pub(super) fn drop_all(&mut self, arena: &mut Arena) {
        for block in self.blocks.drain() {
            pack::drop_element(arena, block);
        }
        *self = Self::new(self.kind);
    }

    /// The bytes that the table and the orders have allocated, that of ends by estimate; the elements are the arena's.
    pub(super) fn memory_bytes(&self) -> usize {
        let ranks = usize::try_from(self.ranks.memory_bytes()).unwrap_or(usize::MAX);
        // A list has room for twice what it holds at most; beside the entries are their places.
        let ends = self.ends.as_ref().map_or(0, |ends| {
            let entries = ends.by_time.len().saturating_mul(size_of::<[(TimestampMs, Bytes, usize); 2]>());
            entries.saturating_add(ends.name_bytes).saturating_add(size_of::<Ends>())
        });
        self.blocks.allocation_size().saturating_add(ranks).saturating_add(ends)
    }

    fn standing(&self, element: &Element) -> Standing {
        let score = if self.kind == Kind::Board { element.score() } else { None };
        let is_present = element.is_present();
        let end = if self.kind == Kind::Hash && is_present { element.deadline().at() } else { None };
        Standing { is_present, score, end }
    }
}

/// How an element counts.
struct Standing {
    is_present: bool,
    score: Option<f64>,
    end: Option<TimestampMs>,
}
