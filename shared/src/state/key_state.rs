//! A key that stands alone, with a space of its own: in a leaf, in the origin's cache, in tests.

use super::{
    Board, Ctx, Deadline, Effect, Element, ElementId, Header, KeyDelta, KeyView, Kind, Mint, SeenCuts, Touched,
    packed::PackedKey, space::Space,
};
use crate::id::{Dot, HashSeed, No, ReplicaId, TimestampMs};

/// A key's state.
#[derive(Clone, Debug, Default)]
pub struct KeyState {
    space: Space,
    key: PackedKey,
}

impl PartialEq for KeyState {
    fn eq(&self, other: &Self) -> bool {
        self.view() == other.view()
    }
}

impl From<KeyView<'_>> for KeyState {
    /// A copy that stands alone. Linear in the key.
    fn from(view: KeyView<'_>) -> Self {
        let mut state = Self::default();
        // All of it is new here.
        let _ = state.join(&view.to_complete_delta());
        state
    }
}

impl KeyState {
    /// Nothing recorded; element names are hashed under the host's secret seed.
    pub fn seeded(seed: HashSeed) -> Self {
        Self { space: Space::new(seed), key: PackedKey::default() }
    }

    /// The key as a reader meets it.
    pub fn view(&self) -> KeyView<'_> {
        KeyView::new(&self.space, self.key)
    }

    /// See [`KeyView::header`].
    pub fn header(&self) -> Header {
        self.view().header()
    }

    /// See [`KeyView::deadline`].
    pub fn deadline(&self) -> Deadline {
        self.view().deadline()
    }

    /// See [`KeyView::ctx`].
    pub fn ctx(&self) -> Ctx {
        self.view().ctx()
    }

    /// See [`KeyView::element`].
    pub fn element(&self, id: &ElementId) -> Option<Element> {
        self.view().element(id)
    }

    /// See [`KeyView::elements_of`].
    pub fn elements_of(&self, kind: Kind) -> Vec<(ElementId, Element)> {
        self.view().elements_of(kind)
    }

    /// See [`KeyView::elements`].
    pub fn elements(&self) -> Vec<(ElementId, Element)> {
        self.view().elements()
    }

    /// See [`KeyView::count`].
    pub fn count(&self, kind: Kind) -> usize {
        self.view().count(kind)
    }

    /// See [`KeyView::count_at`].
    pub fn count_at(&self, kind: Kind, now: TimestampMs) -> usize {
        self.view().count_at(kind, now)
    }

    /// See [`KeyView::board`].
    pub fn board(&self) -> Board<'_> {
        self.view().board()
    }

    /// See [`KeyView::shown`].
    pub fn shown(&self, now: TimestampMs) -> Option<Kind> {
        self.view().shown(now)
    }

    /// See [`KeyView::stored_kind`].
    pub fn stored_kind(&self) -> Option<Kind> {
        self.view().stored_kind()
    }

    /// See [`KeyView::has_content`].
    pub fn has_content(&self) -> bool {
        self.view().has_content()
    }

    /// See [`KeyView::is_empty`].
    pub fn is_empty(&self) -> bool {
        self.view().is_empty()
    }

    /// See [`KeyView::to_complete_delta`].
    pub fn to_complete_delta(&self) -> KeyDelta {
        self.view().to_complete_delta()
    }

    /// See [`KeyView::to_delta`].
    pub fn to_delta<'a>(&self, ctx: Ctx, ids: impl IntoIterator<Item = &'a ElementId>) -> KeyDelta {
        self.view().to_delta(ctx, ids)
    }

    /// See [`KeyView::seen_whole`].
    pub fn seen_whole(&self) -> Effect {
        self.view().seen_whole()
    }

    /// See [`KeyView::seen`].
    pub fn seen(&self, id: &ElementId) -> (Vec<Dot>, SeenCuts) {
        self.view().seen(id)
    }

    /// Applies one own effect under a fresh dot. Linear in what it touches; a wipe in the key.
    pub fn apply(&mut self, effect: &Effect, mint: Mint) -> Touched {
        let mut open = self.key.open(&mut self.space);
        let touched = open.apply(effect, mint);
        open.close();
        touched
    }

    /// Joins a delta: the one merge of all tiers. Linear in the delta; in the key where the delta is complete or brings a
    /// wipe that is new here.
    pub fn join(&mut self, delta: &KeyDelta) -> Touched {
        let mut open = self.key.open(&mut self.space);
        let touched = open.join(delta);
        open.close();
        touched
    }

    /// Learns that `(last known, through]` of a replica concerns this key no further than what is recorded.
    pub fn bridge(&mut self, replica: ReplicaId, through: No) -> bool {
        let mut open = self.key.open(&mut self.space);
        let is_new = open.bridge(replica, through);
        open.close();
        is_new
    }

    /// Puts a stored element back, as it was persisted.
    pub fn restore_element(&mut self, id: &ElementId, element: Element) {
        let mut open = self.key.open(&mut self.space);
        open.restore_element(id, element);
        open.close();
    }

    /// Puts a stored header back, as it was persisted.
    pub fn restore_header(&mut self, header: Header) {
        let string = self.element(&ElementId::String).unwrap_or_else(|| Element::empty(Kind::String));
        let mut open = self.key.open(&mut self.space);
        open.restore(header, string);
        open.close();
    }

    /// The bytes that the key has allocated.
    pub fn memory_bytes(&self) -> usize {
        self.space.memory_bytes()
    }
}
