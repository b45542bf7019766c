//! The keys that a hub has anything of: packed states, found by a keyed hash of their names, and what the hub notes of its
//! own changes to them.
//!
//! A key that is settled costs its packed state, an [`Entry`] of 32 bytes and its place in the index. Keys are named by
//! [`KeyNo`] inside the hub; a number is used again once its key is forgotten, so nothing keeps one past that.

use super::{
    memory::Uses,
    notes::{Change, Notes},
};
use crate::{
    arena::{LargeSlab, Place},
    command::CommandError,
    eviction::{Access, Policy},
    id::{HashSeed, Key, No, ReplicaId, TimestampMs},
    limits::EXPIRY_GRACE_MS,
    slot::Slot,
    state::{
        Deadline, Effect, Element, ElementId, Header, Increment, KeyDelta, KeyView, Kind, Mint, NotAnInteger,
        PackedKey, Space, Sum, Touched,
    },
    wheel::TimerId,
};
use hashbrown::HashTable;
use smallvec::SmallVec;

/// From so many keys on they lie where waiting for them counts, and how many are waited for together: about as many reads as
/// a processor has under way.
const COLD: usize = 4_096;
pub(super) const GROUP: usize = 16;

/// A key's number within its hub.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct KeyNo(Place);

impl KeyNo {
    /// As a number, for a timer.
    pub(super) fn to_bits(self) -> u32 {
        self.0.to_bits()
    }

    /// The key that had this number.
    pub(super) fn from_bits(bits: u32) -> Self {
        Self(Place::from_bits(bits))
    }
}

/// A key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    /// Half of the hash of the key's name, so that an index that grows need not read the names.
    hash: u32,
    packed: PackedKey,
    /// What the hub notes of its own changes, as long as they are not stable.
    notes: Option<Place>,
    slot: Slot,
    /// Whether the origin keeps this hub up to date on the key.
    pub(super) is_held: bool,
    /// Whether the origin was asked for the key, or has heard that this hub has it by what it changed there.
    pub(super) is_asked: bool,
    /// Whether the key stands among the unstable ones of its slot, and those to send.
    pub(super) standing: Standing,
    /// Whether the key's row is to be written before the present input is done with.
    pub(super) is_dirty: bool,
    /// Whether this hub's own share of a counter stands, or stood, in the key.
    has_share: bool,
    /// When the key was last used.
    pub(super) access: Access,
    /// The entry that it has in the wheel.
    pub(super) timer: Option<TimerId>,
}

const _: () = assert!(size_of::<Option<Entry>>() <= 32);

/// Whether what the hub did to a key is stable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Standing {
    /// All is.
    Stable,
    /// Not all is, but nothing changed since it was sent.
    Unstable,
    /// It changed since then.
    Changed,
}

impl Entry {
    /// Where in the index the key stands.
    fn index_hash(&self) -> u64 {
        spread(self.hash)
    }

    /// The key's slot.
    pub(super) fn slot(&self) -> Slot {
        self.slot
    }

    /// Whether something that the hub did to the key is not known stable.
    pub(super) fn is_unstable(&self) -> bool {
        self.standing != Standing::Stable
    }

    /// Whether the key is not held, and will not be by what the origin has heard.
    pub(super) fn is_unasked(&self) -> bool {
        !self.is_held && !self.is_asked
    }

    /// Whether the origin can give the key back as it is here, so far as the key alone tells.
    pub(super) fn is_evictable(&self) -> bool {
        self.is_held && !self.is_unstable() && !self.is_dirty && !self.has_share
    }
}

/// The keys.
#[derive(Debug)]
pub(super) struct Keyspace {
    /// The hub whose keys these are.
    pub(super) own: ReplicaId,
    pub(super) uses: Uses,
    space: Space,
    index: HashTable<KeyNo>,
    entries: LargeSlab<Entry>,
    notes: LargeSlab<Notes>,
    notes_bytes: usize,
}

impl Keyspace {
    /// No keys; names are hashed under the host's secret seed.
    pub(super) fn new(seed: HashSeed, policy: Policy) -> Self {
        let space = Space::new(seed);
        // Hashed, so that who sees the draws learns nothing of the seed.
        let uses = Uses::new(policy, space.hash(b"draws"));
        Self {
            own: ReplicaId::LEAF,
            uses,
            space,
            index: HashTable::new(),
            entries: LargeSlab::default(),
            notes: LargeSlab::default(),
            notes_bytes: 0,
        }
    }

    /// The seed under which names are hashed.
    pub(super) fn seed(&self) -> HashSeed {
        self.space.seed()
    }

    /// How many keys there are.
    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    /// The bytes that the keys take, without what is allocated and free for later keys. Constant time.
    pub(super) fn memory_bytes(&self) -> usize {
        let tables = self.index.allocation_size().saturating_add(self.entries.memory_bytes());
        let notes = self.notes.memory_bytes().saturating_add(self.notes_bytes);
        let allocated = self.space.memory_bytes().saturating_add(tables).saturating_add(notes);
        let free = self.entries.free_bytes().saturating_add(self.notes.free_bytes());
        allocated.saturating_sub(self.space.free_bytes().saturating_add(free))
    }

    /// 64 bits for what a command draws at random.
    pub(super) fn entropy(&mut self) -> u64 {
        self.uses.entropy()
    }

    /// Notes that a key was used.
    pub(super) fn note_use(&mut self, no: KeyNo) {
        let Some(entry) = self.entries.at_mut(no.0) else { return };
        entry.access = self.uses.used(entry.access);
    }

    /// A random key that may be evicted as far as its entry tells. Looks at 64 places at most, so that it finds one where
    /// one of some dozens is such, and favours those behind gaps a little.
    pub(super) fn draw_evictable(&mut self) -> Option<KeyNo> {
        const STEPS: usize = 64;
        let at = self.uses.below(self.entries.places());
        self.entries.search(at, STEPS, Entry::is_evictable).map(KeyNo)
    }

    /// Whether a key that the origin can give back has nothing recorded in it. One that was deleted still has its wipe.
    pub(super) fn is_spent(&self, no: KeyNo) -> bool {
        let entry = self.entry(no);
        entry.is_held && !entry.is_unstable() && !entry.has_share && self.view(no).is_empty()
    }

    /// The number of a key. Constant time.
    pub(super) fn find(&self, key: &Key) -> Option<KeyNo> {
        let name = key.as_bytes();
        self.index.find(spread(self.key_hash(name)), |no| self.name(*no) == name).copied()
    }

    /// Reads what commands on these keys will read, one kind of place after the other for a group of keys, so that the waits
    /// for memory overlap: alone, each key's waits follow one another, from the index to its entry to its block. It is the
    /// group prefetching of Chen, Ailamaki, Gibbons and Mowry ("Improving Hash Join Performance through Prefetching",
    /// ICDE 2004), by plain reads. `read_slot` is handed each key's slot.
    pub(super) fn warm<'a>(&self, mut keys: impl Iterator<Item = &'a Key>, read_slot: impl Fn(Slot) -> u64) {
        if self.index.len() < COLD {
            return;
        }
        loop {
            let hashes: SmallVec<[u64; GROUP]> =
                keys.by_ref().take(GROUP).map(|key| spread(self.key_hash(key.as_bytes()))).collect();
            if hashes.is_empty() {
                return;
            }
            // Whichever has a like hash: that it is another is so rare that nobody needs to know.
            let found = hashes.iter().filter_map(|hash| self.index.find(*hash, |_| true).copied());
            self.warm_known(found.collect::<SmallVec<[KeyNo; GROUP]>>(), &read_slot);
        }
    }

    /// See [`Keyspace::warm`]; numbers that are no key's any more do not matter.
    pub(super) fn warm_known(&self, nos: impl IntoIterator<Item = KeyNo>, read_slot: impl Fn(Slot) -> u64) {
        if self.index.len() < COLD {
            return;
        }
        let mut nos = nos.into_iter();
        loop {
            let group: SmallVec<[KeyNo; GROUP]> = nos.by_ref().take(GROUP).collect();
            if group.is_empty() {
                return;
            }
            let entries: SmallVec<[&Entry; GROUP]> = group.iter().filter_map(|no| self.entries.at(no.0)).collect();
            let places = entries.iter().map(|entry| (entry.packed, entry.notes, entry.slot));
            let read = places.fold(0, |read, (packed, notes, slot)| {
                let noted = notes.and_then(|place| self.notes.at(place)).map_or(0, Notes::skim);
                read ^ packed.skim(&self.space) ^ noted ^ read_slot(slot)
            });
            std::hint::black_box(read);
        }
    }

    /// The number of a key, which it is given if it has none. The second part says whether it is new.
    pub(super) fn resolve(&mut self, key: &Key) -> (KeyNo, bool) {
        let name = key.as_bytes();
        let hash = self.key_hash(name);
        if let Some(no) = self.index.find(spread(hash), |no| self.name(*no) == name) {
            return (*no, false);
        }
        let packed = PackedKey::named(&mut self.space, name);
        let entry = Entry {
            hash,
            packed,
            notes: None,
            slot: key.slot(),
            is_held: false,
            is_asked: false,
            standing: Standing::Stable,
            is_dirty: false,
            has_share: false,
            access: self.uses.new_key(),
            timer: None,
        };
        let no = KeyNo(self.entries.insert(entry));
        let entries = &self.entries;
        self.index.insert_unique(spread(hash), no, |no| entries.at(no.0).map_or(0, Entry::index_hash));
        (no, true)
    }

    fn key_hash(&self, name: &[u8]) -> u32 {
        (self.space.hash(name) >> 32) as u32
    }

    /// A key by its number.
    pub(super) fn entry(&self, no: KeyNo) -> &Entry {
        self.entries.at(no.0).expect("a key's number is not kept past the key")
    }

    /// A key by a number that may be none any more.
    pub(super) fn find_entry(&self, no: KeyNo) -> Option<&Entry> {
        self.entries.at(no.0)
    }

    /// Whether this number is that of a key of the slot which is held.
    pub(super) fn is_held_in(&self, no: KeyNo, slot: Slot) -> bool {
        self.find_entry(no).is_some_and(|entry| entry.is_held && entry.slot == slot)
    }

    /// A key by its number, to change.
    pub(super) fn entry_mut(&mut self, no: KeyNo) -> &mut Entry {
        self.entries.at_mut(no.0).expect("a key's number is not kept past the key")
    }

    /// A key's name.
    pub(super) fn key(&self, no: KeyNo) -> Key {
        Key::copied(self.name(no)).expect("the name was a key's before")
    }

    /// A key's state.
    pub(super) fn view(&self, no: KeyNo) -> KeyView<'_> {
        KeyView::new(&self.space, self.entry(no).packed)
    }

    /// A key's slot.
    pub(super) fn slot(&self, no: KeyNo) -> Slot {
        self.entry(no).slot
    }

    /// All keys, in no order that means anything.
    pub(super) fn iter(&self) -> impl Iterator<Item = (KeyNo, &Entry)> + '_ {
        self.entries.iter().map(|(place, entry)| (KeyNo(place), entry))
    }

    /// Applies an own effect, and notes what it touched. Of what it declared dead the origin need not be told what it cannot have
    /// heard of: the hub's own numbers after `uttered`.
    pub(super) fn apply(&mut self, no: KeyNo, effect: &Effect, mint: Mint, uttered: No) -> Touched {
        // What the origin goes by is noted before the first change.
        let origin_end = self.entry(no).notes.is_none().then(|| self.view(no).deadline().at()).flatten();
        self.entry_mut(no).has_share |= matches!(effect, Effect::Add { .. } | Effect::Spend { .. });
        let mut touched = self.open(no, |open| open.apply(effect, mint));
        let own = self.own;
        for (_, dead) in &mut touched.elements {
            dead.retain(|dot| dot.replica != own || (dot.no <= uttered && !fault!(OwnDeadNotNamed)));
        }
        self.note(no, origin_end, mint.dot.no, &touched);
        touched
    }

    /// Adds to the string of a key that is nothing but a counter without a deadline: its new value. `None` for any other
    /// key; then nothing is minted.
    pub(super) fn increment(
        &mut self,
        no: KeyNo,
        by: i64,
        mut mint: impl FnMut() -> Mint,
    ) -> Option<Result<i64, CommandError>> {
        let own = self.own;
        let entry = self.entries.at_mut(no.0)?;
        if let Some((total, at)) = entry.packed.add_to_counter(&mut self.space, own, by, &mut mint) {
            entry.has_share = true;
            self.note_with(no, None, |notes, _| notes.note_string(at));
            return Some(Ok(total));
        }
        let mut open = entry.packed.open(&mut self.space);
        let total = match open.counter()?.map(|present| present.checked_add(by)) {
            Ok(Some(total)) => total,
            Ok(None) => return Some(Err(CommandError::Overflow)),
            Err(NotAnInteger) => return Some(Err(CommandError::NotAnInteger)),
        };
        let mint = mint();
        let effect = Effect::Add { element: ElementId::String, by: Increment::Int(by.into()) };
        // The header and the string, as the caller knows.
        let _ = open.apply(&effect, mint);
        open.close();
        entry.has_share = true;
        self.note_with(no, None, |notes, _| notes.note_string(mint.dot.no));
        Some(Ok(total))
    }

    /// Adds to a member of a key that is nothing but a board without a deadline: its new score, and whether the member's
    /// row was to be written already. `None` for any other key, or where the sum would leave the range of finite floats;
    /// then nothing is minted.
    pub(super) fn increment_member(
        &mut self,
        no: KeyNo,
        member: &ElementId,
        by: f64,
        mut mint: impl FnMut() -> Mint,
    ) -> Option<(f64, bool)> {
        let own = self.own;
        let hash = self.hash(member);
        let entry = self.entries.at_mut(no.0)?;
        let added = entry.packed.add_to_member(&mut self.space, own, (member.name_bytes(), hash), by, &mut mint);
        let (score, mint) = match added {
            Some(added) => added,
            None => {
                let mut open = entry.packed.open(&mut self.space);
                let added = open.add_to_member(member, by, mint)?;
                open.close();
                added
            }
        };
        entry.has_share = true;
        let mut was_dirty = false;
        self.note_with(no, None, |notes, seed| was_dirty = notes.note_element(mint.dot.no, member, hash, seed));
        Some((score, was_dirty))
    }

    /// Notes what an own operation touched. `origin_end` is the deadline before it, where notes begin with it.
    fn note(&mut self, no: KeyNo, origin_end: Option<TimestampMs>, at: No, touched: &Touched) {
        self.note_with(no, origin_end, |notes, seed| notes.note(at, touched, seed));
    }

    /// Notes something of a key, whose notes begin with it if there are none. See [`Self::note`].
    #[inline]
    fn note_with(&mut self, no: KeyNo, origin_end: Option<TimestampMs>, note: impl FnOnce(&mut Notes, HashSeed)) {
        let Some(entry) = self.entries.at_mut(no.0) else { return };
        let place = match entry.notes {
            Some(place) => place,
            None => *entry.notes.insert(self.notes.insert(Notes::new(origin_end))),
        };
        let Some(notes) = self.notes.at_mut(place) else { return };
        let before = notes.memory_bytes();
        note(notes, self.space.seed());
        let after = notes.memory_bytes();
        self.notes_bytes = self.notes_bytes.saturating_add(after).saturating_sub(before);
    }

    /// Joins a delta of the origin's.
    pub(super) fn join(&mut self, no: KeyNo, delta: &KeyDelta) -> Touched {
        let (is_unknown, own_end) = (delta.complete && delta.header.ctx.is_empty(), self.view(no).deadline().at());
        if let Some(notes) = self.notes_mut(no) {
            // An origin that has nothing of the key has forgotten it, or lost it: changes alone would not restore it.
            if is_unknown {
                notes.doubt_origin_end(own_end);
            } else {
                notes.note_origin_end(delta.header.deadline.at());
            }
        }
        let own = self.own;
        self.entry_mut(no).has_share |= delta.elements.iter().any(|(_, element)| has_share(element, own));
        self.open(no, |open| open.join(delta))
    }

    /// The number of a replica in rows, which it is given if it has none.
    pub(super) fn intern(&mut self, replica: ReplicaId) -> u32 {
        self.space.intern(replica)
    }

    /// How many replicas have a number in rows.
    pub(super) fn replicas(&self) -> u32 {
        self.space.replicas()
    }

    /// The replica that has this number in rows.
    pub(super) fn replica(&self, number: u32) -> Option<ReplicaId> {
        self.space.replica(number)
    }

    /// Appends a key's header and string to its row.
    pub(super) fn append_row(&mut self, no: KeyNo, row: Vec<u8>) -> Vec<u8> {
        let packed = self.entry(no).packed;
        packed.append_row(&mut self.space, row)
    }

    /// Appends an element to its row; `hash` is that of its name.
    pub(super) fn append_element_row(&mut self, no: KeyNo, id: &ElementId, hash: u64, row: Vec<u8>) -> (bool, Vec<u8>) {
        let packed = self.entry(no).packed;
        packed.append_element_row(&mut self.space, id, hash, row)
    }

    /// The hash of an element's name.
    pub(super) fn hash(&self, id: &ElementId) -> u64 {
        self.space.hash(id.name_bytes())
    }

    /// The header and string of a key's row; `None` if it is damaged.
    pub(super) fn scalar_from_row(&self, row: &[u8]) -> Option<(Header, Element)> {
        self.space.scalar_from_row(row)
    }

    /// The element of its row; `None` if it is damaged.
    pub(super) fn element_from_row(&self, kind: Kind, row: &[u8]) -> Option<Element> {
        self.space.element_from_row(kind, row)
    }

    /// Puts a key's stored header and string back.
    pub(super) fn restore(&mut self, no: KeyNo, header: Header, string: Element) {
        self.entry_mut(no).has_share |= !string.sum.is_empty();
        self.open(no, |open| open.restore(header, string));
    }

    /// Puts a stored element back.
    pub(super) fn restore_element(&mut self, no: KeyNo, id: &ElementId, element: Element) {
        self.entry_mut(no).has_share |= !element.sum.is_empty() || element.spent().next().is_some();
        self.open(no, |open| open.restore_element(id, element));
    }

    /// Ends the restoring of a key, once it is known whose keys these are. Linear in a key with counters.
    pub(super) fn restored(&mut self, no: KeyNo) {
        let has_sum = self.entry(no).has_share;
        let has_share = has_sum && self.view(no).elements().iter().any(|(_, element)| has_share(element, self.own));
        let access = self.uses.new_key();
        let entry = self.entry_mut(no);
        (entry.has_share, entry.access) = (has_share, access);
    }

    /// What the hub notes of its own changes to the key, if they are not all stable.
    pub(super) fn notes(&self, no: KeyNo) -> Option<&Notes> {
        self.notes.at(self.entry(no).notes?)
    }

    /// See [`Keyspace::notes`].
    pub(super) fn notes_mut(&mut self, no: KeyNo) -> Option<&mut Notes> {
        let place = self.entry(no).notes?;
        self.notes.at_mut(place)
    }

    /// The key's notes, begun if there are none: then the origin goes by the deadline that is here.
    pub(super) fn notes_of(&mut self, no: KeyNo) -> &mut Notes {
        let place = match self.entry(no).notes {
            Some(place) => place,
            None => {
                let place = self.notes.insert(Notes::new(self.view(no).deadline().at()));
                self.entry_mut(no).notes = Some(place);
                place
            }
        };
        self.notes.at_mut(place).expect("a key's notes are there until they are dropped")
    }

    /// Forgets what is known stable; returns the elements that need no row any more, and whether anything is left to note.
    pub(super) fn settle(&mut self, no: KeyNo, stable: No) -> (Vec<ElementId>, bool) {
        let Some(place) = self.entry(no).notes else { return (Vec::new(), false) };
        let Some(mut notes) = self.notes.lift(place) else { return (Vec::new(), false) };
        let before = notes.memory_bytes();
        let view = self.view(no);
        let gone = notes.settle(stable, |id| view.element(id).is_some());
        let is_open = notes.is_open(stable);
        let after = notes.memory_bytes();
        self.notes.put(place, notes);
        self.notes_bytes = self.notes_bytes.saturating_add(after).saturating_sub(before);
        if !is_open {
            self.drop_notes(no);
        }
        (gone, is_open)
    }

    /// After a whole-key removal the header's wipe speaks for all that is gone; returns the elements that need no row any
    /// more.
    pub(super) fn forget_wiped(&mut self, no: KeyNo) -> Vec<ElementId> {
        let Some(place) = self.entry(no).notes else { return Vec::new() };
        let Some(mut notes) = self.notes.lift(place) else { return Vec::new() };
        let before = notes.memory_bytes();
        let view = self.view(no);
        let gone = notes.forget_wiped(&view.header().wipe, |id| view.element(id).is_some());
        let after = notes.memory_bytes();
        self.notes.put(place, notes);
        self.notes_bytes = self.notes_bytes.saturating_add(after).saturating_sub(before);
        gone
    }

    /// Notes as they were stored.
    pub(super) fn restore_change(&mut self, no: KeyNo, id: &ElementId, change: Change) {
        let seed = self.space.seed();
        let notes = self.notes_of(no);
        let before = notes.memory_bytes();
        notes.restore(id, change, seed);
        let after = notes.memory_bytes();
        self.notes_bytes = self.notes_bytes.saturating_add(after).saturating_sub(before);
    }

    /// Whether the origin may have forgotten what it had of the key, so that changes alone would not restore it.
    pub(super) fn may_be_forgotten(&self, no: KeyNo, now: TimestampMs) -> bool {
        self.notes(no).is_some_and(|notes| notes.may_be_forgotten(now))
    }

    /// Whether the key here is the rest of one that the origin has forgotten: long expired, under a deadline that the
    /// origin does not know any more.
    pub(super) fn is_left_over(&self, no: KeyNo, at_origin: Deadline, now: TimestampMs) -> bool {
        let own = self.view(no).deadline();
        own.at().is_some_and(|at| at.plus_ms(EXPIRY_GRACE_MS) <= now) && !at_origin.covers(&own)
    }

    /// Forgets a key whole. Linear in its elements.
    pub(super) fn remove(&mut self, no: KeyNo) {
        self.drop_notes(no);
        if let Ok(found) = self.index.find_entry(self.entry(no).index_hash(), |other| *other == no) {
            found.remove();
        }
        self.shrink_index();
        if let Some(entry) = self.entries.remove(no.0) {
            entry.packed.drop_from(&mut self.space);
        }
    }

    /// Gives back most of an index of which little is used, so seldom that it costs a removal constant time.
    fn shrink_index(&mut self) {
        let wanted = self.index.len().saturating_mul(2);
        if self.index.capacity() / 4 > wanted || self.index.is_empty() {
            let entries = &self.entries;
            self.index.shrink_to(wanted, |no| entries.at(no.0).map_or(0, Entry::index_hash));
        }
    }

    fn drop_notes(&mut self, no: KeyNo) {
        let notes = self.entry_mut(no).notes.take().and_then(|place| self.notes.remove(place));
        let bytes = notes.map_or(0, |notes| notes.memory_bytes());
        self.notes_bytes = self.notes_bytes.saturating_sub(bytes);
    }

    /// A key's name, as bytes.
    pub(super) fn name(&self, no: KeyNo) -> &[u8] {
        self.entries.at(no.0).map_or(&[], |entry| entry.packed.name(&self.space))
    }

    fn open<R>(&mut self, no: KeyNo, change: impl FnOnce(&mut crate::state::Open<'_>) -> R) -> R {
        let entry = self.entries.at_mut(no.0).expect("a key's number is not kept past the key");
        let mut open = entry.packed.open(&mut self.space);
        let result = change(&mut open);
        open.close();
        result
    }
}

/// A hash of 64 bits, of which the index uses the lowest and the highest.
fn spread(hash: u32) -> u64 {
    u64::from(hash) << 32 | u64::from(hash)
}

fn has_share(element: &Element, own: ReplicaId) -> bool {
    let is_counted = match &element.sum {
        Sum::Int(num) => num.part(own).is_some(),
        Sum::Float(num) => num.part(own).is_some(),
    };
    is_counted || element.spent().any(|(replica, _)| replica == own)
}
