//! Blocks of bytes in pages, by size class, addressed by 32 bits.
//!
//! A block is a multiple of eight bytes and begins with its payload's length. Freed blocks are chained through their own
//! first bytes, one chain a class, and used again for the same class; a block larger than a page's eighth has a page of its
//! own, which goes back to the host. Invariant: every block is either handed out or in exactly one chain.
//!
//! Where all keys grow out of a class, its blocks are wanted no more. Pages in which nothing is handed out any more go back
//! once half of all that is free lies in such, before another page is added; so looking through the chains for their blocks
//! costs each freed block constant time.
//!
//! Deliberately not here: moving blocks. Their addresses are kept in tables and trees.

use std::num::NonZeroU32;

const UNIT: usize = 8;
const PAGE_UNITS: usize = 8192;
const PAGE_BYTES: usize = PAGE_UNITS * UNIT;
const PAGE_BITS: u32 = PAGE_UNITS.trailing_zeros();
/// The smallest page; the first one grows from here, so that a single key costs little.
const PAGE_BYTES_MIN: usize = 256;
/// Up to here every multiple of a unit is a class of its own; beyond, classes grow by an eighth.
const EXACT_UNITS: usize = 64;
/// Blocks above have a page of their own.
const SHARED_UNITS_MAX: usize = PAGE_UNITS / 8;
const END: u32 = 0;

/// A block's address: one more than its page and its first unit there, so that none is zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Block(NonZeroU32);

impl Block {
    /// The address as a number.
    pub(crate) fn to_bits(self) -> u32 {
        self.0.get()
    }

    /// The address that had this number.
    pub(crate) fn from_bits(bits: u32) -> Self {
        Self(NonZeroU32::new(bits).expect("the number of an address is not zero"))
    }

    fn at(self) -> u32 {
        self.0.get().wrapping_sub(1)
    }

    fn page(self) -> usize {
        (self.at() >> PAGE_BITS) as usize
    }

    fn offset(self) -> usize {
        (self.at() as usize & (PAGE_UNITS - 1)).saturating_mul(UNIT)
    }
}

/// A page, and how many of its units are handed out; a block's own page counts as one.
#[derive(Clone, Debug, Default)]
struct Page {
    bytes: Vec<u8>,
    taken_units: u32,
}

/// The pages and the chains of free blocks.
#[derive(Clone, Debug, Default)]
pub(crate) struct Heap {
    pages: Vec<Page>,
    /// The page that is being filled.
    open: Option<usize>,
    /// Per class the first free block.
    free: Vec<u32>,
    /// Places in `pages` whose page went back.
    free_pages: Vec<u32>,
    /// Pages but for the open one in which nothing is handed out.
    idle_pages: usize,
    pages_bytes: usize,
    /// What the blocks that are handed out take.
    taken_bytes: usize,
}

impl Heap {
    /// Stores `payload`. Constant time, but for the copy.
    pub(crate) fn insert(&mut self, payload: &[u8]) -> Block {
        let (prefix, prefix_length) = length_prefix(payload.len());
        let bytes = payload.len().saturating_add(prefix_length);
        let units = class_units(bytes);
        let block = if units > SHARED_UNITS_MAX { self.own_page(bytes) } else { self.shared(units) };
        self.taken_bytes = self.taken_bytes.saturating_add(units.saturating_mul(UNIT));
        self.fill(block, prefix.get(..prefix_length).unwrap_or_default(), payload);
        block
    }

    /// Stores `payload` in place of what `block` holds; the address changes if the class does.
    pub(crate) fn replace(&mut self, block: Block, payload: &[u8]) -> Block {
        if self.rewrite(block, payload) {
            return block;
        }
        self.remove(block);
        self.insert(payload)
    }

    /// Stores `payload` in place of what `block` holds, if it is of the same class; returns whether it is.
    pub(crate) fn rewrite(&mut self, block: Block, payload: &[u8]) -> bool {
        let (prefix, prefix_length) = length_prefix(payload.len());
        let units = class_units(payload.len().saturating_add(prefix_length));
        let fits = units <= SHARED_UNITS_MAX && units == self.units_of(block);
        if fits {
            self.fill(block, prefix.get(..prefix_length).unwrap_or_default(), payload);
        }
        fits
    }

    /// What `block` holds.
    #[inline]
    pub(crate) fn read(&self, block: Block) -> &[u8] {
        match self.page(block).get(block.offset()..).unwrap_or_default() {
            [short, rest @ ..] if *short < 0x80 => rest.get(..usize::from(*short)).unwrap_or_default(),
            _ => self.read_long(block),
        }
    }

    fn read_long(&self, block: Block) -> &[u8] {
        let (length, prefix_length) = self.length_of(block);
        let from = block.offset().saturating_add(prefix_length);
        self.page(block).get(from..from.saturating_add(length)).unwrap_or_default()
    }

    /// What `block` holds, to be overwritten.
    pub(crate) fn read_mut(&mut self, block: Block) -> &mut [u8] {
        let (length, prefix_length) = self.length_of(block);
        let from = block.offset().saturating_add(prefix_length);
        let page = self.pages.get_mut(block.page()).map(|page| page.bytes.as_mut_slice()).unwrap_or_default();
        page.get_mut(from..from.saturating_add(length)).unwrap_or_default()
    }

    /// Frees `block`; with the last one all memory.
    pub(crate) fn remove(&mut self, block: Block) {
        let units = self.units_of(block);
        self.taken_bytes = self.taken_bytes.saturating_sub(units.saturating_mul(UNIT));
        if self.taken_bytes == 0 {
            *self = Self::default();
            return;
        }
        if units > SHARED_UNITS_MAX {
            self.give_back(block.page());
            return;
        }
        self.chain(block, units);
        let is_open = self.open == Some(block.page());
        let Some(page) = self.pages.get_mut(block.page()) else { return };
        page.taken_units = page.taken_units.saturating_sub(counted(units));
        if page.taken_units == 0 && !is_open {
            self.idle_pages = self.idle_pages.saturating_add(1);
        }
    }

    /// Gives a page back to the host.
    fn give_back(&mut self, at: usize) {
        let Some(page) = self.pages.get_mut(at) else { return };
        self.pages_bytes = self.pages_bytes.saturating_sub(page.bytes.capacity());
        *page = Page::default();
        self.free_pages.extend(u32::try_from(at));
    }

    /// Gives all pages back in which nothing is handed out. Linear in the pages and in the free blocks.
    fn give_idle_back(&mut self) {
        for class in 0..self.free.len() {
            let mut next = self.free.get(class).copied().unwrap_or(END);
            let (mut first, mut last) = (END, None);
            while next != END {
                let block = Block::from_bits(next);
                let following = self.following(block);
                if !self.is_idle(block.page()) {
                    match last {
                        Some(last) => self.follow(last, next),
                        None => first = next,
                    }
                    last = Some(block);
                }
                next = following;
            }
            if let Some(last) = last {
                self.follow(last, END);
            }
            if let Some(head) = self.free.get_mut(class) {
                *head = first;
            }
        }
        for at in 0..self.pages.len() {
            if self.is_idle(at) {
                self.give_back(at);
            }
        }
        self.idle_pages = 0;
    }

    fn is_idle(&self, at: usize) -> bool {
        self.open != Some(at) && self.pages.get(at).is_some_and(|page| page.taken_units == 0 && !page.bytes.is_empty())
    }

    /// The free block that follows one in its chain.
    fn following(&self, block: Block) -> u32 {
        let next = self.page(block).get(block.offset()..).and_then(|bytes| bytes.first_chunk::<4>()).copied();
        next.map_or(END, u32::from_le_bytes)
    }

    /// Says which free block follows.
    fn follow(&mut self, block: Block, next: u32) {
        let page = self.pages.get_mut(block.page());
        if let Some(first) = page.and_then(|page| page.bytes.get_mut(block.offset()..)?.first_chunk_mut::<4>()) {
            *first = next.to_le_bytes();
        }
    }

    fn page(&self, block: Block) -> &[u8] {
        self.pages.get(block.page()).map(|page| page.bytes.as_slice()).unwrap_or_default()
    }

    /// Gives the place of a block back to its class.
    fn chain(&mut self, block: Block, units: usize) {
        let class = class_of(units);
        if self.free.len() <= class {
            self.free.resize(class.saturating_add(1), END);
        }
        let Some(head) = self.free.get_mut(class) else { return };
        let next = std::mem::replace(head, block.to_bits());
        self.follow(block, next);
    }

    /// The bytes that pages and chains have allocated.
    pub(crate) fn memory_bytes(&self) -> usize {
        let tables = self.pages.capacity().saturating_mul(size_of::<Page>());
        let chains = self.free.capacity().saturating_add(self.free_pages.capacity()).saturating_mul(size_of::<u32>());
        self.pages_bytes.saturating_add(tables).saturating_add(chains)
    }

    /// Of what is allocated, the bytes that later blocks may take.
    pub(crate) fn free_bytes(&self) -> usize {
        self.pages_bytes.saturating_sub(self.taken_bytes)
    }

    fn shared(&mut self, units: usize) -> Block {
        let class = class_of(units);
        if let Some(head) = self.free.get_mut(class).filter(|head| **head != END) {
            let block = Block::from_bits(*head);
            let next = self.following(block);
            if let Some(head) = self.free.get_mut(class) {
                *head = next;
            }
            if self.is_idle(block.page()) {
                self.idle_pages = self.idle_pages.saturating_sub(1);
            }
            if let Some(page) = self.pages.get_mut(block.page()) {
                page.taken_units = page.taken_units.saturating_add(counted(units));
            }
            return block;
        }
        let bytes = units.saturating_mul(UNIT);
        let at = match self.open.filter(|at| self.page_length(*at).saturating_add(bytes) <= PAGE_BYTES) {
            Some(at) => at,
            None => self.add_page(),
        };
        self.open = Some(at);
        let Page { bytes: page, taken_units } = self.pages.get_mut(at).expect("the open page is one of the pages");
        *taken_units = taken_units.saturating_add(counted(units));
        let from = page.len();
        let end = from.saturating_add(bytes);
        let before = page.capacity();
        if end > before {
            let wanted = before.saturating_mul(2).clamp(PAGE_BYTES_MIN, PAGE_BYTES).max(end);
            page.reserve_exact(wanted.saturating_sub(from));
            self.pages_bytes = self.pages_bytes.saturating_add(page.capacity()).saturating_sub(before);
        }
        page.resize(end, 0);
        address(at, from)
    }

    /// A new page to fill. The rest of the one before is given to its classes.
    fn add_page(&mut self) -> usize {
        if let Some(open) = self.open.take() {
            self.give_rest(open);
            self.idle_pages = self.idle_pages.saturating_add(self.is_idle(open).into());
        }
        let idle_bytes = self.idle_pages.saturating_mul(PAGE_BYTES);
        if self.idle_pages > 0 && idle_bytes.saturating_mul(2) >= self.free_bytes() {
            self.give_idle_back();
        }
        let is_first = self.pages.is_empty();
        let page = if is_first { Vec::new() } else { Vec::with_capacity(PAGE_BYTES) };
        self.file(page)
    }

    fn give_rest(&mut self, at: usize) {
        let Some(Page { bytes: page, .. }) = self.pages.get_mut(at) else { return };
        let from = page.len();
        let mut rest = PAGE_BYTES.saturating_sub(from).checked_div(UNIT).unwrap_or(0);
        page.resize(PAGE_BYTES, 0);
        let mut unit = from.checked_div(UNIT).unwrap_or(0);
        while rest > 0 {
            // Every number of units up to the exact bound is a class.
            let units = rest.min(EXACT_UNITS);
            let bytes = units.saturating_mul(UNIT);
            let block = address(at, unit.saturating_mul(UNIT));
            let (prefix, prefix_length) = length_prefix(bytes.saturating_sub(2));
            self.fill(block, prefix.get(..prefix_length).unwrap_or_default(), &[]);
            self.chain(block, units);
            unit = unit.saturating_add(units);
            rest = rest.saturating_sub(units);
        }
    }

    fn own_page(&mut self, bytes: usize) -> Block {
        let at = self.file(vec![0; bytes]);
        if let Some(page) = self.pages.get_mut(at) {
            page.taken_units = 1;
        }
        address(at, 0)
    }

    fn file(&mut self, bytes: Vec<u8>) -> usize {
        self.pages_bytes = self.pages_bytes.saturating_add(bytes.capacity());
        let page = Page { bytes, taken_units: 0 };
        if let Some(at) = self.free_pages.pop() {
            let at = at as usize;
            if let Some(place) = self.pages.get_mut(at) {
                *place = page;
            }
            return at;
        }
        self.pages.push(page);
        self.pages.len().saturating_sub(1)
    }

    fn page_length(&self, at: usize) -> usize {
        self.pages.get(at).map_or(PAGE_BYTES, |page| page.bytes.len())
    }

    fn fill(&mut self, block: Block, prefix: &[u8], payload: &[u8]) {
        let Some(Page { bytes: page, .. }) = self.pages.get_mut(block.page()) else { return };
        let from = block.offset();
        let middle = from.saturating_add(prefix.len());
        if let Some(bytes) = page.get_mut(from..middle) {
            bytes.copy_from_slice(prefix);
        }
        if let Some(bytes) = page.get_mut(middle..middle.saturating_add(payload.len())) {
            bytes.copy_from_slice(payload);
        }
    }

    /// The payload's length, and how many bytes say so.
    fn length_of(&self, block: Block) -> (usize, usize) {
        match self.page(block).get(block.offset()..).unwrap_or_default() {
            [short, ..] if *short < 0x80 => ((*short).into(), 1),
            [high, low, ..] if *high < 0xc0 => (usize::from(*high & 0x3f) << 8 | usize::from(*low), 2),
            [_, a, b, c, d, ..] => (u32::from_be_bytes([*a, *b, *c, *d]) as usize, 5),
            _ => (0, 0),
        }
    }

    fn units_of(&self, block: Block) -> usize {
        let (length, prefix_length) = self.length_of(block);
        class_units(length.saturating_add(prefix_length))
    }
}

fn address(page: usize, offset: usize) -> Block {
    let unit = offset.checked_div(UNIT).unwrap_or(0);
    let bits = (page << PAGE_BITS) | (unit & (PAGE_UNITS - 1));
    let bits = u32::try_from(bits).ok().and_then(|bits| NonZeroU32::new(bits.wrapping_add(1)));
    Block(bits.expect("a heap has fewer than 2^19 pages: 32 GiB, more than any host gives"))
}

/// The length in one byte, two, or a mark and four.
fn length_prefix(length: usize) -> ([u8; 5], usize) {
    if length < 0x80 {
        return ([length.to_le_bytes()[0], 0, 0, 0, 0], 1);
    }
    let wide = u32::try_from(length).unwrap_or(u32::MAX);
    let [a, b, c, d] = wide.to_be_bytes();
    if length < 0x4000 { ([0x80 | c, d, 0, 0, 0], 2) } else { ([0xc0, a, b, c, d], 5) }
}

/// The units of a block that shares its page.
fn counted(units: usize) -> u32 {
    u32::try_from(units).unwrap_or(u32::MAX)
}

/// The units of the class that holds so many bytes.
fn class_units(bytes: usize) -> usize {
    let units = bytes.div_ceil(UNIT).max(1);
    if units <= EXACT_UNITS || units > SHARED_UNITS_MAX {
        return units;
    }
    let step = step_of(units);
    units.div_ceil(step).saturating_mul(step)
}

/// The distance between classes near `units`: an eighth of the power of two below.
fn step_of(units: usize) -> usize {
    1 << units.saturating_sub(1).ilog2().saturating_sub(3)
}

/// The number of a class by its units, which [`class_units`] rounded.
fn class_of(units: usize) -> usize {
    if units <= EXACT_UNITS {
        return units.saturating_sub(1);
    }
    let power = units.saturating_sub(1).ilog2();
    let within = units.saturating_sub(1 << power).div_ceil(step_of(units)).saturating_sub(1);
    let octave = power.saturating_sub(EXACT_UNITS.ilog2()) as usize;
    EXACT_UNITS.saturating_add(octave.saturating_mul(8)).saturating_add(within)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn classes_are_distinct_and_hold_what_they_promise() {
        let mut seen = std::collections::BTreeMap::new();
        for bytes in 1..=SHARED_UNITS_MAX * UNIT {
            let units = class_units(bytes);
            assert!(units * UNIT >= bytes && class_units(units * UNIT) == units, "{bytes}");
            assert!(units <= EXACT_UNITS || units * UNIT <= bytes + bytes / 8 + UNIT, "{bytes} wastes too much");
            assert_eq!(*seen.entry(class_of(units)).or_insert(units), units, "{bytes}");
        }
    }

    proptest! {
        #[test]
        fn blocks_hold_what_was_put_there(
            steps in proptest::collection::vec((0_usize..12, prop_oneof![0_usize..90, 100_usize..20_000], any::<u8>()), 1..200),
        ) {
            let mut heap = Heap::default();
            let mut model: Vec<Option<(Block, Vec<u8>)>> = vec![None; 12];
            for (place, length, byte) in steps {
                let payload = vec![byte; length];
                model[place] = match model[place].take() {
                    Some((block, _)) if byte % 3 == 0 => {
                        heap.remove(block);
                        None
                    }
                    Some((block, _)) => Some((heap.replace(block, &payload), payload)),
                    None => Some((heap.insert(&payload), payload)),
                };
                for (block, payload) in model.iter().flatten() {
                    prop_assert_eq!(heap.read(*block), &payload[..]);
                }
            }
        }
    }

    #[test]
    fn freed_blocks_are_used_again() {
        let mut heap = Heap::default();
        let fill = |heap: &mut Heap| (0..10_000).map(|i| heap.insert(&vec![1; i % 200])).collect::<Vec<_>>();
        let blocks = fill(&mut heap);
        let full = heap.memory_bytes();
        for block in blocks {
            heap.remove(block);
        }
        fill(&mut heap);
        assert!(heap.memory_bytes() <= full + full / 100, "{} after {full}", heap.memory_bytes());
    }

    #[test]
    fn blocks_that_all_grow_leave_no_memory_behind() {
        let mut heap = Heap::default();
        let mut blocks: Vec<Block> = (0..20_000).map(|_| heap.insert(&[1; 20])).collect();
        for length in [30, 45, 60, 75] {
            for block in &mut blocks {
                *block = heap.replace(*block, &vec![length; usize::from(length)]);
            }
        }
        assert!(blocks.iter().all(|block| heap.read(*block) == [75; 75]));
        let needed = blocks.len() * 80;
        assert!(heap.memory_bytes() < needed + needed / 8, "{} for {needed}", heap.memory_bytes());
        assert_eq!(heap.free_bytes(), heap.pages_bytes - needed);
    }

    #[test]
    fn pages_that_go_back_leave_all_other_blocks_as_they_are() {
        let mut heap = Heap::default();
        let payload = |at: usize, round: usize| {
            let length = 8 + (at * 7 + round * 13) % 90 + 10 * round;
            vec![(at + round) as u8; length]
        };
        let mut blocks: Vec<(Block, usize)> = (0..6_000).map(|at| (heap.insert(&payload(at, 0)), 0)).collect();
        for round in 1..8 {
            // Every hundredth stays, and keeps its page.
            for (at, (block, last)) in blocks.iter_mut().enumerate().filter(|(at, _)| at % 100 != round) {
                *block = heap.replace(*block, &payload(at, round));
                *last = round;
            }
            for (at, (block, last)) in blocks.iter().enumerate() {
                assert_eq!(heap.read(*block), payload(at, *last), "block {at} in round {round}");
            }
            let idle = (0..heap.pages.len()).filter(|at| heap.is_idle(*at)).count();
            assert_eq!(heap.idle_pages, idle);
        }
    }

    #[test]
    fn a_large_block_goes_back_to_the_host() {
        let mut heap = Heap::default();
        let small = heap.insert(&[1]);
        let before = heap.memory_bytes();
        let large = heap.insert(&vec![7; 1 << 20]);
        assert!(heap.memory_bytes() > 1 << 20);
        heap.remove(large);
        assert!(heap.memory_bytes() < before + 200);
        assert_eq!(heap.read(small), [1]);
    }
}
