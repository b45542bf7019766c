//! Headers and elements as packed bytes in an arena.
//!
//! Replicas are the arena's small numbers, and large values stand beside. A hub's rows are the same bytes with all values
//! within; what is sent, and what the origin stores, has a form of its own. Packing what was unpacked gives the same bytes, so states compare by what they unpack to.

mod counter;
mod member;
mod patch;
mod read;
mod trace;
mod varint;
mod write;

pub(super) use counter::Counter;
pub(super) use member::Member;
pub(super) use read::{Reader, skip_values};
pub(super) use trace::Trace;
pub(super) use write::Writer;

use super::{Base, Element, Header, Kind};
use crate::{
    arena::{Arena, Block},
    id::Dot,
};
use read::BASES_COPIED_MAX;

/// Values longer than this stand beside the block that names them.
const INLINE_BYTES_MAX: usize = 256;

/// The flag of a header with a revocation. The others are an epoch, an end, a string outside the bytes, and a claim of each
/// type.
const REVOKED: u8 = 1 << 7;

/// Times are counted from here, so that present ones take six bytes: the middle of November 2023.
const EPOCH_MS: i64 = 1_700_000_000_000;

/// The part of a key that is one block: its header, and its string.
#[derive(Clone, Debug)]
pub(super) struct Scalar {
    pub(super) header: Header,
    pub(super) string: Element,
    /// Whether the block that this was loaded from names values outside it.
    has_large: bool,
}

impl Default for Scalar {
    fn default() -> Self {
        Self { header: Header::default(), string: Element::empty(Kind::String), has_large: false }
    }
}

impl Scalar {
    /// Unpacks what [`Scalar::store`] packed.
    pub(super) fn load(arena: &Arena, block: Option<Block>) -> Self {
        let Some(block) = block else { return Self::default() };
        let mut reader = Reader::new(arena, arena.heap.read(block));
        reader.name();
        Self::read(&mut reader)
    }

    fn read(reader: &mut Reader<'_>) -> Self {
        let (deadline, claims) = reader.front();
        let string = reader.element(Kind::String);
        let (ctx, wipe) = reader.contexts();
        Self { header: Header { ctx, wipe, claims, deadline }, string, has_large: reader.has_large() }
    }

    /// Packs this in place of what `block` holds, behind the same name.
    pub(super) fn store(&self, arena: &mut Arena, block: Option<Block>) -> Block {
        let mut bytes = arena.take_scratch();
        match block {
            Some(block) => {
                let old = arena.heap.read(block);
                let mut reader = Reader::new(arena, old);
                reader.name();
                let name_length = old.len().saturating_sub(reader.rest().len());
                bytes.extend_from_slice(old.get(..name_length).unwrap_or_default());
                if self.has_large {
                    release_scalar(arena, block);
                }
            }
            None => bytes.push(0),
        }
        let mut writer = Writer::new(arena, bytes);
        self.write(&mut writer);
        let bytes = writer.finish();
        let block = match block {
            Some(block) => arena.heap.replace(block, &bytes),
            None => arena.heap.insert(&bytes),
        };
        arena.put_scratch(bytes);
        block
    }

    fn write(&self, writer: &mut Writer<'_>) {
        writer.front(&self.header, &self.string);
        writer.element(&self.string);
        writer.contexts(&self.header);
    }

    /// Appends the packed form to `row`, for a store that keeps the arena's replicas too.
    pub(super) fn append_row(arena: &mut Arena, block: Option<Block>, row: Vec<u8>) -> Vec<u8> {
        let Some(block) = block else { return row };
        let mut reader = Reader::new(arena, arena.heap.read(block));
        reader.name();
        let packed = reader.rest();
        if !reader.string_is_large() {
            let mut row = row;
            row.extend_from_slice(packed);
            return row;
        }
        let scalar = Self::load(arena, Some(block));
        let mut writer = Writer::new(arena, row).whole();
        scalar.write(&mut writer);
        writer.finish()
    }

    /// What [`Scalar::append_row`] appended; `None` if the bytes are damaged.
    pub(super) fn from_row(arena: &Arena, row: &[u8]) -> Option<(Header, Element)> {
        let mut reader = Reader::new(arena, row);
        let Self { header, string, has_large } = Self::read(&mut reader);
        let is_sound = reader.is_sound() && !has_large;
        let is_canonical = header.ctx.is_canonical() && header.wipe.is_canonical() && string.is_canonical(Kind::String);
        (is_sound && is_canonical).then_some((header, string))
    }
}

/// A block for a key of this name with nothing recorded.
pub(super) fn named(arena: &mut Arena, name: &[u8]) -> Block {
    let mut writer = Writer::new(arena, Vec::new());
    writer.name(name);
    let empty = Scalar::default();
    writer.front(&empty.header, &empty.string);
    writer.element(&empty.string);
    writer.contexts(&empty.header);
    let bytes = writer.finish();
    arena.heap.insert(&bytes)
}

/// The name before a packed header or element.
pub(super) fn name(arena: &Arena, block: Block) -> &[u8] {
    let named = varint::read(arena.heap.read(block));
    let name = named.and_then(|(length, rest)| rest.get(..usize::try_from(length).ok()?));
    name.unwrap_or_default()
}

/// Unpacks an element of a collection.
pub(super) fn load_element(arena: &Arena, block: Block, kind: Kind) -> Element {
    let mut reader = Reader::new(arena, arena.heap.read(block));
    reader.name();
    reader.element(kind)
}

/// Packs an element of a collection, in place of what `block` holds. If it moves, the block left behind still bears the
/// name, and is the caller's to remove.
pub(super) fn store_element(arena: &mut Arena, block: Option<Block>, name: &[u8], element: &Element) -> Block {
    if let Some(block) = block {
        release_element(arena, block);
    }
    let bytes = arena.take_scratch();
    let mut writer = Writer::new(arena, bytes);
    writer.name(name);
    writer.element(element);
    let bytes = writer.finish();
    let block = match block {
        Some(block) if arena.heap.rewrite(block, &bytes) => block,
        _ => arena.heap.insert(&bytes),
    };
    arena.put_scratch(bytes);
    block
}

/// Adds a base of bytes behind all others of an element that has many, and nothing else, without unpacking these: one that
/// many wrote without having seen each other. `None`, and nothing done, of any other. If it moves, the block left behind
/// still bears the name, and is the caller's to remove.
pub(super) fn append_base(arena: &mut Arena, block: Block, dot: Dot, base: &Base) -> Option<Block> {
    let is_inline = matches!(base, Base::Bytes { value, .. } if value.len() <= INLINE_BYTES_MAX);
    let mut bytes = arena.take_scratch();
    let old = arena.heap.read(block);
    let mut reader = Reader::new(arena, old);
    reader.name();
    let named = old.len().saturating_sub(reader.rest().len());
    let (bases, _, mark) = reader.element_counts();
    let packed = reader.rest();
    // That there are three bases or more, and neither shares nor values outside the block.
    let is_many = is_inline && mark == 3 && bases > BASES_COPIED_MAX;
    if !is_many || reader.skip_bytes(bases).is_none_or(|last| last >= dot) || !reader.rest().is_empty() {
        arena.put_scratch(bytes);
        return None;
    }
    bytes.extend_from_slice(old.get(..named).unwrap_or_default());
    bytes.push(mark);
    varint::write(&mut bytes, (bases as u64).saturating_add(1));
    bytes.extend_from_slice(packed);
    let mut writer = Writer::new(arena, bytes);
    writer.base(dot, base);
    let bytes = writer.finish();
    let block = if arena.heap.rewrite(block, &bytes) { block } else { arena.heap.insert(&bytes) };
    arena.put_scratch(bytes);
    Some(block)
}

/// Appends an element's packed form to `row`, for a store that keeps the arena's replicas too; without a block, that of
/// an element in which nothing is recorded.
pub(super) fn append_element_row(arena: &mut Arena, block: Option<Block>, kind: Kind, mut row: Vec<u8>) -> Vec<u8> {
    let Some(block) = block else {
        let mut writer = Writer::new(arena, row);
        writer.element(&Element::empty(kind));
        return writer.finish();
    };
    let mut reader = Reader::new(arena, arena.heap.read(block));
    reader.name();
    if !reader.element_is_large() {
        row.extend_from_slice(reader.rest());
        return row;
    }
    let element = reader.element(kind);
    let mut writer = Writer::new(arena, row).whole();
    writer.element(&element);
    writer.finish()
}

/// What [`append_element_row`] appended; `None` if the bytes are damaged.
pub(super) fn element_from_row(arena: &Arena, kind: Kind, row: &[u8]) -> Option<Element> {
    let mut reader = Reader::new(arena, row);
    let element = reader.element(kind);
    (reader.is_sound() && !reader.has_large() && element.is_canonical(kind)).then_some(element)
}

/// Frees an element's block and the values beside it.
pub(super) fn drop_element(arena: &mut Arena, block: Block) {
    release_element(arena, block);
    arena.heap.remove(block);
}

/// Frees a key's block and the values beside it.
pub(super) fn drop_scalar(arena: &mut Arena, block: Block) {
    release_scalar(arena, block);
    arena.heap.remove(block);
}

fn release_element(arena: &mut Arena, block: Block) {
    let mut reader = Reader::new(arena, arena.heap.read(block));
    reader.name();
    let places = skip_values(reader, Kind::Hash);
    places.into_iter().for_each(|place| arena.values.remove(place));
}

fn release_scalar(arena: &mut Arena, block: Block) {
    let mut reader = Reader::new(arena, arena.heap.read(block));
    reader.name();
    reader.front();
    let places = skip_values(reader, Kind::String);
    places.into_iter().for_each(|place| arena.values.remove(place));
}
