//! What a hub notes of its own changes to a key, as long as they are not known stable.

use crate::{
    id::{Dot, HashSeed, No, TimestampMs},
    limits::EXPIRY_GRACE_MS,
    state::{Ctx, ElementId, Touched},
};
use smallvec::SmallVec;

/// The hub's latest change of an element.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct Change {
    /// The hub's number that last changed the element.
    pub(super) no: No,
    /// The dots that the hub's operations declared dead here; kept until stable, so that an origin which was rolled back
    /// learns of them again.
    pub(super) dead: SmallVec<[Dot; 1]>,
    /// Whether the element's row is to be written before the present input is done with.
    is_dirty: bool,
}

impl Change {
    /// A change as it was stored.
    pub(super) fn stored(no: No, dead: SmallVec<[Dot; 1]>) -> Self {
        Self { no, dead, is_dirty: false }
    }

    fn note(&mut self, no: No, dead: &[Dot]) {
        self.no = no;
        for dot in dead {
            if !self.dead.contains(dot) {
                self.dead.push(*dot);
            }
        }
    }
}

/// The changes of a collection's elements.
type Changes = hashbrown::HashMap<ElementId, Change, HashSeed>;

/// A key's notes.
#[derive(Clone, Debug)]
pub(super) struct Notes {
    /// The hub's number that last changed the key; zero if it never did.
    latest: No,
    /// The string's change; its number is zero if there is none.
    string: Change,
    /// The changed elements of collections.
    elements: Changes,
    /// What the elements' names take.
    names_bytes: usize,
    /// The deadline by which the origin goes, as far as this hub knows: some time after it the origin has forgotten the key,
    /// however long it was kept alive here meanwhile.
    origin_end: Option<TimestampMs>,
    /// The deadline in what is on its way.
    told_end: Option<TimestampMs>,
}

impl Notes {
    /// Nothing changed yet; the origin goes by this deadline.
    pub(super) fn new(seed: HashSeed, origin_end: Option<TimestampMs>) -> Self {
        Self {
            latest: No::ZERO,
            string: Change::default(),
            elements: Changes::with_hasher(seed),
            names_bytes: 0,
            origin_end,
            told_end: None,
        }
    }

    /// Takes note of what an own operation touched.
    pub(super) fn note(&mut self, no: No, touched: &Touched) {
        self.latest = no;
        for (id, dead) in &touched.elements {
            self.change_mut(id).note(no, dead);
        }
    }

    /// Puts a stored change back.
    pub(super) fn restore(&mut self, id: &ElementId, change: Change) {
        *self.change_mut(id) = change;
    }

    /// Puts the stored number of the latest change back.
    pub(super) fn restore_latest(&mut self, no: No) {
        self.latest = no;
    }

    /// The hub's number that last changed the key.
    pub(super) fn latest(&self) -> No {
        self.latest
    }

    /// The hub's change of an element, if it is not known stable.
    pub(super) fn change(&self, id: &ElementId) -> Option<&Change> {
        match id {
            ElementId::String => Some(&self.string).filter(|change| change.no > No::ZERO),
            _ => self.elements.get(id),
        }
    }

    /// The elements that the hub changed after `no`, ascending. Linearithmic.
    pub(super) fn changed_after(&self, no: No) -> Vec<(&ElementId, &Change)> {
        let string = (&ElementId::String, &self.string);
        let all = std::iter::once(string).chain(&self.elements);
        let mut changed: Vec<_> = all.filter(|(_, change)| change.no > no).collect();
        changed.sort_unstable_by_key(|(id, _)| *id);
        changed
    }

    /// How many of the key's rows this hub changed after `no`. Linear.
    pub(super) fn rows_changed_after(&self, no: No) -> usize {
        let elements = self.elements.values().filter(|change| change.no > no).count();
        elements.saturating_add(usize::from(self.latest > no))
    }

    /// Notes that an element's row is to be written, if the hub changed the element; returns whether it was noted already.
    pub(super) fn dirty(&mut self, id: &ElementId) -> bool {
        self.elements.get_mut(id).is_some_and(|change| std::mem::replace(&mut change.is_dirty, true))
    }

    /// The element's row is written.
    pub(super) fn clean(&mut self, id: &ElementId) {
        if let Some(change) = self.elements.get_mut(id) {
            change.is_dirty = false;
        }
    }

    /// Whether anything is not known stable.
    pub(super) fn is_open(&self, stable: No) -> bool {
        self.latest > stable || self.string.no > No::ZERO || !self.elements.is_empty()
    }

    /// Forgets what is known stable; returns the elements that need no row any more.
    pub(super) fn settle(&mut self, stable: No, is_there: impl Fn(&ElementId) -> bool) -> Vec<ElementId> {
        if self.string.no <= stable {
            self.string = Change::default();
        }
        self.retain(|id, change| (change.no > stable, !is_there(id)))
    }

    /// Forgets the dead dots that the wipe speaks for; returns the elements that need no row any more.
    pub(super) fn forget_wiped(&mut self, wipe: &Ctx, is_there: impl Fn(&ElementId) -> bool) -> Vec<ElementId> {
        self.retain(|id, change| {
            let is_needed = is_there(id) || !change.dead.iter().all(|dot| wipe.contains(*dot));
            (is_needed, true)
        })
    }

    /// The origin showed the key with this deadline.
    pub(super) fn note_origin_end(&mut self, end: Option<TimestampMs>) {
        self.origin_end = end;
    }

    /// The key goes to the origin with this deadline.
    pub(super) fn note_sent(&mut self, deadline: Option<TimestampMs>) {
        self.told_end = deadline;
    }

    /// What was on its way has arrived.
    pub(super) fn note_told(&mut self) {
        self.origin_end = self.told_end;
    }

    /// The origin went back, or this hub forgot what it told: by which deadline the origin goes is not known.
    pub(super) fn doubt_origin_end(&mut self, deadline: Option<TimestampMs>) {
        self.origin_end = deadline.map(|_| TimestampMs(0));
    }

    /// Whether the origin may have forgotten what it had of the key, so that changes alone would not restore it. Early
    /// enough that what is sent before arrives in time.
    pub(super) fn may_be_forgotten(&self, now: TimestampMs) -> bool {
        self.origin_end.is_some_and(|end| end.plus_ms(EXPIRY_GRACE_MS / 2) <= now)
    }

    /// The bytes that the notes have allocated. Constant time.
    pub(super) fn memory_bytes(&self) -> usize {
        self.elements.allocation_size().saturating_add(self.names_bytes)
    }

    fn change_mut(&mut self, id: &ElementId) -> &mut Change {
        if *id == ElementId::String {
            return &mut self.string;
        }
        let names_bytes = &mut self.names_bytes;
        self.elements.entry_ref(id).or_insert_with(|| {
            *names_bytes = names_bytes.saturating_add(id.name_bytes().len());
            Change::default()
        })
    }

    /// Keeps what `judge` says is needed; returns of the rest those that it says to return.
    fn retain(&mut self, judge: impl Fn(&ElementId, &Change) -> (bool, bool)) -> Vec<ElementId> {
        let mut gone = Vec::new();
        let names_bytes = &mut self.names_bytes;
        self.elements.retain(|id, change| {
            let (is_needed, is_gone) = judge(id, change);
            if !is_needed {
                *names_bytes = names_bytes.saturating_sub(id.name_bytes().len());
                if is_gone {
                    gone.push(id.clone());
                }
            }
            is_needed
        });
        if self.elements.len() < self.elements.capacity() / 4 {
            self.elements.shrink_to_fit();
        }
        gone.sort_unstable();
        gone
    }
}
