//! The elements of one type of one key: packed blocks, found by the hash of their names.
//!
//! Invariants: an element with nothing recorded is not stored; the count and the ranks agree with the elements.

use super::{Element, ElementId, Kind, pack};
use crate::{
    arena::{Arena, Block},
    rank_tree::{RankTree, Score},
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
}

impl Collection {
    pub(super) fn new(kind: Kind) -> Self {
        Self { kind, blocks: HashTable::new(), present: 0, ranks: RankTree::new() }
    }

    /// How many elements a reader sees.
    pub(super) fn present(&self) -> usize {
        self.present as usize
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
        self.blocks.find(arena.hash(name), |block| pack::name(arena, *block) == name).copied()
    }

    /// Every element by name. Linearithmic.
    pub(super) fn sorted(&self, arena: &Arena) -> Vec<(ElementId, Element)> {
        let mut named: Vec<(&[u8], Block)> =
            self.blocks.iter().map(|block| (pack::name(arena, *block), *block)).collect();
        named.sort_unstable();
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
        let ties = |id: u32| pack::name(arena, Block::from_bits(id)).cmp(name);
        if let (Some(before), Some(after), true) = (before, after, old == new) {
            if before != after {
                self.ranks.update(Score::new(before), Score::new(after), ties);
            }
            return;
        }
        if let Some(before) = before {
            self.ranks.remove(Score::new(before), ties);
        }
        if let (Some(new), Some(after)) = (new, after) {
            self.ranks.insert(Score::new(after), new.to_bits(), ties);
        }
    }

    /// Frees every element.
    pub(super) fn drop_all(&mut self, arena: &mut Arena) {
        for block in self.blocks.drain() {
            pack::drop_element(arena, block);
        }
        *self = Self::new(self.kind);
    }

    /// The bytes that the table and the order have allocated; the elements are the arena's.
    pub(super) fn memory_bytes(&self) -> usize {
        self.blocks.allocation_size().saturating_add(usize::try_from(self.ranks.memory_bytes()).unwrap_or(usize::MAX))
    }

    fn standing(&self, element: &Element) -> Standing {
        let score = if self.kind == Kind::Board { element.score() } else { None };
        Standing { is_present: element.is_present(), score }
    }
}

/// How an element counts.
struct Standing {
    is_present: bool,
    score: Option<f64>,
}
