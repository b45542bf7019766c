//! Reading a packed key.

use super::{
    Board, Claims, Ctx, Deadline, Effect, Element, ElementId, Header, KeyDelta, Kind, SeenCuts,
    collection::Collection,
    pack::{Reader, Scalar},
    packed::PackedKey,
    space::Space,
};
use crate::id::{Dot, TimestampMs};

/// A key as a reader meets it. Elements are unpacked one at a time, so what it answers is the caller's own.
#[derive(Clone, Copy)]
pub struct KeyView<'a> {
    space: &'a Space,
    key: PackedKey,
}

impl<'a> KeyView<'a> {
    pub(crate) fn new(space: &'a Space, key: PackedKey) -> Self {
        Self { space, key }
    }

    /// The header.
    pub fn header(&self) -> Header {
        Scalar::load(&self.space.arena, self.key.block).header
    }

    /// The header, and the string if anything is recorded of it.
    pub(crate) fn header_and_string(&self) -> (Header, Option<Element>) {
        let Scalar { header, string, .. } = Scalar::load(&self.space.arena, self.key.block);
        (header, Some(string).filter(|string| !string.is_empty()))
    }

    /// When the key ends.
    pub fn deadline(&self) -> Deadline {
        self.reader().map(|mut reader| reader.deadline().1).unwrap_or_default()
    }

    /// What is known of the key.
    pub fn ctx(&self) -> Ctx {
        self.header().ctx
    }

    /// One element, if anything is recorded of it. Constant time.
    pub fn element(&self, id: &ElementId) -> Option<Element> {
        match self.key.collection(self.space, id.kind()) {
            Some(collection) => collection.element(&self.space.arena, id.name_bytes()),
            None if id.kind() == Kind::String => Some(self.string()).filter(|string| !string.is_empty()),
            None => None,
        }
    }

    /// Every element of one type, in name order, present or not. Linearithmic.
    pub fn elements_of(&self, kind: Kind) -> Vec<(ElementId, Element)> {
        match self.key.collection(self.space, kind) {
            Some(collection) => collection.sorted(&self.space.arena),
            None => self
                .element(&ElementId::String)
                .filter(|_| kind == Kind::String)
                .map_or_else(Vec::new, |string| vec![(ElementId::String, string)]),
        }
    }

    /// The names of all elements of one type, present or not, in no order; none of a string. Linear.
    pub fn names_of(&self, kind: Kind) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let arena = &self.space.arena;
        self.key.collection(self.space, kind).into_iter().flat_map(|collection| collection.names(arena))
    }

    /// Every element. Linearithmic.
    pub fn elements(&self) -> Vec<(ElementId, Element)> {
        Kind::ALL.into_iter().flat_map(|kind| self.elements_of(kind)).collect()
    }

    /// How many elements of `kind` a reader sees, were that the type shown.
    pub fn count(&self, kind: Kind) -> usize {
        match kind {
            Kind::String => self.string().is_present().into(),
            _ => self.key.collection(self.space, kind).map_or(0, Collection::present),
        }
    }

    /// How many elements of `kind` a reader sees at `now`, were that the type shown. Linear in the fields that have ended and
    /// are not removed yet.
    pub fn count_at(&self, kind: Kind, now: TimestampMs) -> usize {
        let ended = self.key.collection(self.space, kind).map_or(0, |collection| collection.ended(now).count());
        self.count(kind).saturating_sub(ended)
    }

    /// Whether the key, or a field of it, ends by itself or has: whether what a reader sees of it follows from the time too.
    /// Logarithmic.
    pub fn ends(&self) -> bool {
        self.deadline().at().is_some() || self.field_end_after(TimestampMs(i64::MIN)).is_some()
    }

    /// When the first hash field ends of those that end after `after`. Logarithmic.
    pub fn field_end_after(&self, after: TimestampMs) -> Option<TimestampMs> {
        self.key.collection(self.space, Kind::Hash)?.end_after(after)
    }

    /// The hash fields that have ended by `now`, the first to end first. Linear in these.
    pub fn ended_fields(&self, now: TimestampMs) -> Vec<ElementId> {
        let hash = self.key.collection(self.space, Kind::Hash);
        hash.into_iter().flat_map(|hash| hash.ended(now)).map(|name| ElementId::Field(name.clone())).collect()
    }

    /// The members of a board in order.
    pub fn board(&self) -> Board<'a> {
        Board::new(&self.space.arena, self.key.collection(self.space, Kind::Board))
    }

    /// What every command needs first, unpacked once: the deadline, the type that shows at `now`, and the string.
    pub(crate) fn front(&self, now: TimestampMs) -> (Deadline, Option<Kind>, Element) {
        let (deadline, claims, string) = self.front_and_string();
        let shown = if deadline.hides(now) { None } else { self.kind_of(&claims, &string, now) };
        (deadline, shown, string)
    }

    /// The type that the key shows at `now`: of the types with anything in them, the one with the latest claim. `None`
    /// when the key does not exist for a reader.
    pub fn shown(&self, now: TimestampMs) -> Option<Kind> {
        self.front(now).1
    }

    /// The type that would show if no deadline had passed.
    pub fn stored_kind(&self) -> Option<Kind> {
        self.stored_kind_at(TimestampMs(i64::MIN))
    }

    /// The type that would show if the key's own deadline had not passed, with the fields that live at `now`.
    pub(crate) fn stored_kind_at(&self, now: TimestampMs) -> Option<Kind> {
        let (_, claims, string) = self.front_and_string();
        self.kind_of(&claims, &string, now)
    }

    /// Whether any type has anything in it, shown or not.
    pub fn has_content(&self) -> bool {
        Kind::ALL.into_iter().any(|kind| self.count(kind) > 0)
    }

    /// Whether nothing at all is recorded.
    pub fn is_empty(&self) -> bool {
        self.key.collections.is_none() && self.string().is_empty() && self.header() == Header::default()
    }

    /// The whole state as a delta. Linear in the key.
    pub fn to_complete_delta(&self) -> KeyDelta {
        KeyDelta { header: self.header(), complete: true, elements: self.elements() }
    }

    /// A delta of the listed elements (ascending) that speaks of `ctx`.
    pub fn to_delta<'b>(&self, ctx: Ctx, ids: impl IntoIterator<Item = &'b ElementId>) -> KeyDelta {
        let listed = |id: &ElementId| {
            let element = self.element(id).unwrap_or_else(|| Element::empty(id.kind()));
            (id.clone(), element)
        };
        let elements = ids.into_iter().map(listed).collect();
        KeyDelta { header: Header { ctx, ..self.header() }, complete: false, elements }
    }

    /// What an operation that removes the whole key sees.
    pub fn seen_whole(&self) -> Effect {
        let cuts = self.elements().into_iter().filter(|(_, element)| element.sum.is_visible());
        Effect::Wipe { seen: self.ctx(), cuts: cuts.map(|(id, element)| (id, element.sum.seen())).collect() }
    }

    /// The dots and sums that an operation on one element sees.
    pub fn seen(&self, id: &ElementId) -> (Vec<Dot>, SeenCuts) {
        match self.element(id) {
            Some(element) => (element.base.dots().collect(), element.sum.seen()),
            None => (Vec::new(), Element::empty(id.kind()).sum.seen()),
        }
    }

    /// Whether the context covers the wipe and every base: what rows that do not belong together break. Linear.
    pub(crate) fn is_covered(&self) -> bool {
        let (header, string) = self.header_and_string();
        let is_known = |element: &Element| element.base.dots().all(|dot| header.ctx.contains(dot));
        let mut collections = Kind::ALL.into_iter().filter_map(|kind| self.key.collection(self.space, kind));
        header.ctx.covers(&header.wipe)
            && string.is_none_or(|string| is_known(&string))
            && collections.all(|collection| collection.all(&self.space.arena, is_known))
    }

    fn kind_of(&self, claims: &Claims, string: &Element, now: TimestampMs) -> Option<Kind> {
        let has_any = |kind: &Kind| match kind {
            Kind::String => string.is_present(),
            _ => self.count_at(*kind, now) > 0,
        };
        Kind::ALL.into_iter().filter(has_any).max_by_key(|kind| claims.of(*kind))
    }

    fn reader(&self) -> Option<Reader<'a>> {
        let mut reader = Reader::new(&self.space.arena, self.space.arena.heap.read(self.key.block?));
        reader.name();
        Some(reader)
    }

    fn front_and_string(&self) -> (Deadline, Claims, Element) {
        let Some(mut reader) = self.reader() else {
            return (Deadline::default(), Claims::default(), Element::empty(Kind::String));
        };
        let (deadline, claims) = reader.front();
        (deadline, claims, reader.element(Kind::String))
    }

    fn string(&self) -> Element {
        self.front_and_string().2
    }
}

impl PartialEq for KeyView<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.to_complete_delta() == other.to_complete_delta()
    }
}

impl std::fmt::Debug for KeyView<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.to_complete_delta().fmt(f)
    }
}
