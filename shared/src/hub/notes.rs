//! What a hub notes of its own changes to a key, as long as they are not known stable.

use crate::{
    id::{Dot, HashSeed, No, TimestampMs},
    limits::EXPIRY_GRACE_MS,
    state::{Ctx, ElementId, Touched},
};
use hashbrown::{HashTable, hash_table::Entry};
use smallvec::SmallVec;
use std::hash::{BuildHasher, Hasher};

/// The hub's latest change of an element.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct Change {
    /// The hub's number that last changed the element.
    pub(super) no: No,
    /// What the hub's operations declared dead here, in their order; each is kept until its operation is stable, so that an
    /// origin which was rolled back learns of it again.
    dead: SmallVec<[Dead; 1]>,
    /// Whether the element's row is to be written before the present input is done with.
    is_dirty: bool,
}

/// A dot that an operation of the hub declared dead.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Dead {
    dot: Dot,
    /// The operation's number.
    by: No,
}

impl Change {
    /// A change as it was stored: which operation declared what is not, and the last one is no less safe.
    pub(super) fn stored(no: No, dead: &[Dot]) -> Self {
        Self { no, dead: dead.iter().map(|dot| Dead { dot: *dot, by: no }).collect(), is_dirty: false }
    }

    /// The dots that the hub's operations declared dead here and that are not known stable.
    pub(super) fn dead(&self) -> impl ExactSizeIterator<Item = Dot> + '_ {
        self.dead.iter().map(|dead| dead.dot)
    }

    fn note(&mut self, no: No, dead: &[Dot]) {
        self.no = no;
        for dot in dead {
            if self.dead().all(|known| known != *dot) {
                self.dead.push(Dead { dot: *dot, by: no });
            }
        }
    }

    /// Forgets what stable operations declared dead, also where later ones follow without a pause.
    fn settle(&mut self, stable: No) {
        self.dead.retain(|dead| dead.by > stable);
        if self.dead.len() < self.dead.capacity() / 4 {
            self.dead.shrink_to_fit();
        }
    }

    /// What does not lie in the change itself.
    fn beside_bytes(&self) -> usize {
        if self.dead.spilled() { self.dead.capacity().saturating_mul(size_of::<Dead>()) } else { 0 }
    }
}

/// The changes of collections' elements. Most keys see few before these are stable, which are found by looking at each.
#[derive(Clone, Debug)]
enum Elements {
    Few(Vec<(ElementId, Change)>),
    Many(Box<Changes>),
}

/// Many changes, by a keyed hash of the elements' names.
#[derive(Clone, Debug)]
struct Changes {
    seed: HashSeed,
    table: HashTable<(ElementId, Change)>,
}

impl Changes {
    fn hash(&self, id: &ElementId) -> u64 {
        hash(self.seed, id)
    }

    fn insert(&mut self, id: ElementId, change: Change) {
        let seed = self.seed;
        self.table.insert_unique(self.hash(&id), (id, change), |(id, _)| hash(seed, id));
    }
}

fn hash(seed: HashSeed, id: &ElementId) -> u64 {
    let mut hasher = seed.build_hasher();
    hasher.write(id.name_bytes());
    hasher.finish()
}

/// How many changes are few.
const FEW: usize = 8;

/// A key's notes.
#[derive(Clone, Debug)]
pub(super) struct Notes {
    /// The hub's number that last changed the key; zero if it never did.
    latest: No,
    /// The string's change; its number is zero if there is none.
    string: Change,
    /// The changed elements of collections.
    elements: Elements,
    /// What the elements' names take, and what was declared dead.
    beside_bytes: usize,
    /// The deadline by which the origin goes, as far as this hub knows: some time after it the origin has forgotten the key,
    /// however long it was kept alive here meanwhile.
    origin_end: Option<TimestampMs>,
    /// The deadline in what is on its way.
    told_end: Option<TimestampMs>,
}

impl Elements {
    const NONE: Self = Self::Few(Vec::new());

    fn len(&self) -> usize {
        match self {
            Self::Few(all) => all.len(),
            Self::Many(all) => all.table.len(),
        }
    }

    fn at(&self, id: &ElementId) -> Option<&Change> {
        match self {
            Self::Few(all) => all.iter().find(|(other, _)| other == id).map(|(_, change)| change),
            Self::Many(all) => all.table.find(all.hash(id), |(other, _)| other == id).map(|(_, change)| change),
        }
    }

    fn at_mut(&mut self, id: &ElementId, hash_of: impl FnOnce() -> u64) -> Option<&mut Change> {
        match self {
            Self::Few(all) => all.iter_mut().find(|(other, _)| other == id).map(|(_, change)| change),
            Self::Many(all) => all.table.find_mut(hash_of(), |(other, _)| other == id).map(|(_, change)| change),
        }
    }

    /// The change of an element, which is begun if there is none, and whether it is.
    fn of(&mut self, id: &ElementId, seed: HashSeed, hash_of: impl FnOnce() -> u64) -> (&mut Change, bool) {
        if let Self::Few(all) = self
            && all.len() >= FEW
            && all.iter().all(|(other, _)| other != id)
        {
            let mut many = Changes { seed, table: HashTable::with_capacity(FEW.saturating_mul(2)) };
            for (id, change) in all.drain(..) {
                many.insert(id, change);
            }
            *self = Self::Many(Box::new(many));
        }
        match self {
            Self::Few(all) => {
                let found = all.iter().position(|(other, _)| other == id);
                let at = found.unwrap_or_else(|| {
                    if all.len() == all.capacity() {
                        all.reserve_exact(all.len().max(1));
                    }
                    all.push((id.clone(), Change::default()));
                    all.len().saturating_sub(1)
                });
                let (_, change) = all.get_mut(at).expect("it was found there or put there");
                (change, found.is_none())
            }
            Self::Many(all) => match all.table.entry(hash_of(), |(other, _)| other == id, |(id, _)| hash(seed, id)) {
                Entry::Occupied(entry) => (&mut entry.into_mut().1, false),
                Entry::Vacant(entry) => (&mut entry.insert((id.clone(), Change::default())).into_mut().1, true),
            },
        }
    }

    /// All of them, in no order that means anything.
    fn iter(&self) -> impl Iterator<Item = (&ElementId, &Change)> {
        let (few, many) = match self {
            Self::Few(all) => (Some(all), None),
            Self::Many(all) => (None, Some(all)),
        };
        let few = few.into_iter().flatten().map(|(id, change)| (id, change));
        few.chain(many.into_iter().flat_map(|all| all.table.iter().map(|(id, change)| (id, change))))
    }

    /// Keeps those that are `wanted`, and gives back memory of which little is used.
    fn retain(&mut self, mut wanted: impl FnMut(&ElementId, &mut Change) -> bool) {
        match self {
            Self::Few(all) => all.retain_mut(|(id, change)| wanted(id, change)),
            Self::Many(all) => {
                all.table.retain(|(id, change)| wanted(id, change));
                if all.table.len() < all.table.capacity() / 4 {
                    let seed = all.seed;
                    all.table.shrink_to_fit(|(id, _)| hash(seed, id));
                }
            }
        }
        if self.len() == 0 {
            *self = Self::NONE;
        }
    }

    fn memory_bytes(&self) -> usize {
        match self {
            Self::Few(all) => all.capacity().saturating_mul(size_of::<(ElementId, Change)>()),
            Self::Many(all) => all.table.allocation_size().saturating_add(size_of::<Changes>()),
        }
    }
}

impl Notes {
    /// Nothing changed yet; the origin goes by this deadline.
    pub(super) fn new(origin_end: Option<TimestampMs>) -> Self {
        Self {
            latest: No::ZERO,
            string: Change::default(),
            elements: Elements::NONE,
            beside_bytes: 0,
            origin_end,
            told_end: None,
        }
    }

    /// Takes note of what an own operation touched. Names are hashed under `seed`, here and below the same.
    pub(super) fn note(&mut self, no: No, touched: &Touched, seed: HashSeed) {
        self.latest = no;
        for (id, dead) in &touched.elements {
            self.alter(id, seed, |change| change.note(no, dead));
        }
    }

    /// Takes note of an own operation that touched the string alone, and declared nothing dead.
    pub(super) fn note_string(&mut self, no: No) {
        self.latest = no;
        self.string.no = no;
    }

    /// Takes note of an own operation that touched one element of a collection, and declared nothing dead; `hash` is that of
    /// the element's name. Its row is to be written; returns whether that was noted already.
    pub(super) fn note_element(&mut self, no: No, id: &ElementId, hash: u64, seed: HashSeed) -> bool {
        self.latest = no;
        let (change, is_new) = self.elements.of(id, seed, || hash);
        change.no = no;
        let was_dirty = std::mem::replace(&mut change.is_dirty, true);
        self.count_beside(0, if is_new { id.name_bytes().len() } else { 0 });
        was_dirty
    }

    /// Puts a stored change back.
    pub(super) fn restore(&mut self, id: &ElementId, change: Change, seed: HashSeed) {
        self.alter(id, seed, |present| *present = change);
    }

    /// Puts the stored number of the latest change back.
    pub(super) fn restore_latest(&mut self, no: No) {
        self.latest = no;
    }

    /// Something of each part, read so that all are near.
    pub(super) fn skim(&self) -> u64 {
        self.latest.0 ^ self.string.no.0 ^ self.memory_bytes() as u64 ^ u64::from(self.told_end.is_some())
    }

    /// The hub's number that last changed the key.
    pub(super) fn latest(&self) -> No {
        self.latest
    }

    /// The hub's change of an element, if it is not known stable.
    pub(super) fn change(&self, id: &ElementId) -> Option<&Change> {
        match id {
            ElementId::String => self.string(),
            _ => self.elements.at(id),
        }
    }

    /// The hub's change of the string, if it is not known stable.
    pub(super) fn string(&self) -> Option<&Change> {
        Some(&self.string).filter(|change| change.no > No::ZERO)
    }

    /// The elements that the hub changed after `no`, ascending. Linearithmic.
    pub(super) fn changed_after(&self, no: No) -> Vec<(&ElementId, &Change)> {
        let string = (&ElementId::String, &self.string);
        let all = std::iter::once(string).chain(self.elements.iter());
        let mut changed: Vec<_> = all.filter(|(_, change)| change.no > no).collect();
        changed.sort_unstable_by_key(|(id, _)| *id);
        changed
    }

    /// How many of the key's rows this hub changed after `no`. Linear.
    pub(super) fn rows_changed_after(&self, no: No) -> usize {
        let elements = self.elements.iter().filter(|(_, change)| change.no > no).count();
        elements.saturating_add(usize::from(self.latest > no))
    }

    /// Notes that an element's row is to be written, if the hub changed the element; returns whether it was noted already.
    pub(super) fn dirty(&mut self, id: &ElementId, seed: HashSeed) -> bool {
        let hash_of = || hash(seed, id);
        self.elements.at_mut(id, hash_of).is_some_and(|change| std::mem::replace(&mut change.is_dirty, true))
    }

    /// The hub's change of an element, if it is not known stable, whose row is being written. `hash` is that of its name.
    pub(super) fn cleaned(&mut self, id: &ElementId, hash: u64) -> Option<&Change> {
        let change = self.elements.at_mut(id, || hash)?;
        change.is_dirty = false;
        Some(change)
    }

    /// Whether anything is not known stable.
    pub(super) fn is_open(&self, stable: No) -> bool {
        self.latest > stable || self.string.no > No::ZERO || self.elements.len() > 0
    }

    /// Forgets what is known stable; returns the elements that need no row any more.
    pub(super) fn settle(&mut self, stable: No, is_there: impl Fn(&ElementId) -> bool) -> Vec<ElementId> {
        let before = self.string.beside_bytes();
        if self.string.no <= stable {
            self.string = Change::default();
        } else {
            self.string.settle(stable);
        }
        self.count_beside(before, self.string.beside_bytes());
        self.retain(|id, change| {
            change.settle(stable);
            (change.no > stable, !is_there(id))
        })
    }

    /// Forgets the dead dots that the wipe speaks for; returns the elements that need no row any more.
    pub(super) fn forget_wiped(&mut self, wipe: &Ctx, is_there: impl Fn(&ElementId) -> bool) -> Vec<ElementId> {
        self.retain(|id, change| {
            let is_needed = is_there(id) || !change.dead().all(|dot| wipe.contains(dot));
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
        self.elements.memory_bytes().saturating_add(self.beside_bytes)
    }

    /// Alters the change of an element, which is begun if there is none.
    fn alter(&mut self, id: &ElementId, seed: HashSeed, alter: impl FnOnce(&mut Change)) {
        let (change, name_bytes) = if *id == ElementId::String {
            (&mut self.string, 0)
        } else {
            let (change, is_new) = self.elements.of(id, seed, || hash(seed, id));
            (change, if is_new { id.name_bytes().len() } else { 0 })
        };
        let before = change.beside_bytes();
        alter(change);
        let after = change.beside_bytes().saturating_add(name_bytes);
        self.count_beside(before, after);
    }

    fn count_beside(&mut self, before: usize, after: usize) {
        self.beside_bytes = self.beside_bytes.saturating_add(after).saturating_sub(before);
    }

    /// Keeps what `judge` says is needed; returns of the rest those that it says to return.
    fn retain(&mut self, judge: impl Fn(&ElementId, &mut Change) -> (bool, bool)) -> Vec<ElementId> {
        let mut gone = Vec::new();
        let beside_bytes = &mut self.beside_bytes;
        self.elements.retain(|id, change| {
            let before = change.beside_bytes();
            let (is_needed, is_gone) = judge(id, change);
            if is_needed {
                *beside_bytes = beside_bytes.saturating_add(change.beside_bytes()).saturating_sub(before);
            } else {
                *beside_bytes = beside_bytes.saturating_sub(before.saturating_add(id.name_bytes().len()));
                if is_gone {
                    gone.push(id.clone());
                }
            }
            is_needed
        });
        gone.sort_unstable();
        gone
    }
}
