//! Things by number: a number is used again once its thing is gone.

use std::num::NonZeroU32;

/// A thing's number in a [`Slab`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Place(NonZeroU32);

impl Place {
    /// The place as a number.
    pub(crate) fn to_bits(self) -> u32 {
        self.0.get()
    }

    /// The place that had this number; a number that none had is as good as an empty place.
    pub(crate) fn from_bits(bits: u32) -> Self {
        Self(NonZeroU32::new(bits).unwrap_or(NonZeroU32::MAX))
    }

    fn index(self) -> usize {
        self.0.get().wrapping_sub(1) as usize
    }
}

/// How many things lie together, as a power of two. Such a piece stays where it is, so that a large table neither copies all
/// that it has to grow, nor needs room for it twice.
const PIECE_BITS: u32 = 10;
const PIECE: usize = 1 << PIECE_BITS;

/// Things by number, in pieces of a fixed size.
#[derive(Clone, Debug)]
pub(crate) struct Slab<T> {
    /// All but the last are full.
    pieces: Vec<Vec<Option<T>>>,
    free: Vec<Place>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { pieces: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slab<T> {
    /// Puts a thing somewhere. Constant time.
    pub(crate) fn insert(&mut self, thing: T) -> Place {
        if let Some(place) = self.free.pop() {
            self.put(place, thing);
            return place;
        }
        let number = u32::try_from(self.len().saturating_add(1)).ok().and_then(NonZeroU32::new);
        self.push(thing);
        Place(number.expect("fewer than 2^32 things fit into memory"))
    }

    /// The first piece grows by quarters, so that few things take little; every other has its size from the beginning.
    fn push(&mut self, thing: T) {
        match self.pieces.last_mut() {
            Some(last) if last.len() < PIECE => {
                if last.len() == last.capacity() {
                    let more = (last.len() / 4).max(4);
                    last.reserve_exact(more.min(PIECE.saturating_sub(last.len())));
                }
                last.push(Some(thing));
            }
            last => {
                let mut piece = Vec::with_capacity(if last.is_some() { PIECE } else { 4 });
                piece.push(Some(thing));
                self.pieces.push(piece);
            }
        }
    }

    /// How many places there are, taken or not.
    fn len(&self) -> usize {
        let full = self.pieces.len().saturating_sub(1).saturating_mul(PIECE);
        full.saturating_add(self.pieces.last().map_or(0, Vec::len))
    }

    #[inline]
    fn entry(&self, place: Place) -> Option<&Option<T>> {
        let index = place.index();
        self.pieces.get(index >> PIECE_BITS)?.get(index & (PIECE - 1))
    }

    #[inline]
    fn entry_mut(&mut self, place: Place) -> Option<&mut Option<T>> {
        let index = place.index();
        self.pieces.get_mut(index >> PIECE_BITS)?.get_mut(index & (PIECE - 1))
    }

    /// The thing at `place`.
    #[inline]
    pub(crate) fn at(&self, place: Place) -> Option<&T> {
        self.entry(place)?.as_ref()
    }

    /// The thing at `place`, to change.
    #[inline]
    pub(crate) fn at_mut(&mut self, place: Place) -> Option<&mut T> {
        self.entry_mut(place)?.as_mut()
    }

    /// Takes the thing at `place` out, and keeps the place for it.
    pub(crate) fn lift(&mut self, place: Place) -> Option<T> {
        self.entry_mut(place)?.take()
    }

    /// Puts a lifted thing back.
    pub(crate) fn put(&mut self, place: Place, thing: T) {
        if let Some(slot) = self.entry_mut(place) {
            *slot = Some(thing);
        }
    }

    /// Takes the thing at `place` out, and gives the place away; with the last one all memory.
    pub(crate) fn remove(&mut self, place: Place) -> Option<T> {
        let thing = self.lift(place)?;
        self.free.push(place);
        if self.free.len() == self.len() {
            *self = Self::default();
        }
        Some(thing)
    }

    /// The place at which a walk from place number `at` on first finds what `is_wanted`, among at most `steps` places.
    pub(crate) fn search(&self, at: u32, steps: usize, is_wanted: impl Fn(&T) -> bool) -> Option<Place> {
        let count = self.places();
        let numbers = (at..count).chain(0..at.min(count)).take(steps);
        let mut places = numbers.filter_map(|number| NonZeroU32::new(number.saturating_add(1)).map(Place));
        places.find(|place| self.at(*place).is_some_and(&is_wanted))
    }

    /// The places that are taken, in order, with their things.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Place, &T)> + '_ {
        self.pieces.iter().flatten().zip(1_u32..).filter_map(|(thing, number)| {
            let place = Place(NonZeroU32::new(number)?);
            Some((place, thing.as_ref()?))
        })
    }

    /// How many places there are, taken or not: the range to draw a random one from.
    pub(crate) fn places(&self) -> u32 {
        u32::try_from(self.len()).unwrap_or(u32::MAX)
    }

    fn capacity(&self) -> usize {
        let full = self.pieces.len().saturating_sub(1).saturating_mul(PIECE);
        full.saturating_add(self.pieces.last().map_or(0, Vec::capacity))
    }

    /// The bytes that the tables have allocated, without what the things have.
    pub(crate) fn memory_bytes(&self) -> usize {
        let places = self.capacity().saturating_mul(size_of::<Option<T>>());
        let pieces = self.pieces.capacity().saturating_mul(size_of::<Vec<Option<T>>>());
        let free = self.free.capacity().saturating_mul(size_of::<Place>());
        places.saturating_add(pieces).saturating_add(free)
    }

    /// Of what the tables have allocated, the bytes that later things may take.
    pub(crate) fn free_bytes(&self) -> usize {
        let unused = self.capacity().saturating_sub(self.len());
        unused.saturating_add(self.free.len()).saturating_mul(size_of::<Option<T>>())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn things_keep_their_places_over_many_pieces() {
        let mut slab = Slab::default();
        let places: Vec<Place> = (0..3 * PIECE).map(|thing| slab.insert(thing)).collect();
        assert_eq!(slab.places() as usize, 3 * PIECE);
        assert!(places.iter().enumerate().all(|(thing, place)| slab.at(*place) == Some(&thing)));
        assert!(slab.iter().eq(places.iter().copied().zip(&(0..3 * PIECE).collect::<Vec<_>>())));
        assert_eq!(slab.remove(places[PIECE]), Some(PIECE));
        assert_eq!(slab.at(places[PIECE]), None);
        assert_eq!(slab.insert(7), places[PIECE], "a place is used again");
        assert_eq!(slab.at_mut(places[PIECE]), Some(&mut 7));
        assert!(places.iter().all(|place| slab.remove(*place).is_some()));
        assert_eq!((slab.places(), slab.memory_bytes()), (0, 0), "with the last thing all memory goes");
    }

    #[test]
    fn a_walk_goes_from_a_piece_to_the_next_and_around() {
        let mut slab = Slab::default();
        let places: Vec<Place> = (0..2 * PIECE).map(|thing| slab.insert(thing)).collect();
        let end = slab.places() - 1;
        assert_eq!(slab.search(u32::try_from(PIECE).unwrap() - 1, 2, |thing| *thing == PIECE), Some(places[PIECE]));
        assert_eq!(slab.search(end, 2, |thing| *thing == 0), Some(places[0]));
        assert_eq!(slab.search(end, 1, |thing| *thing == 0), None);
    }

    #[test]
    fn what_is_allocated_is_what_is_taken_and_what_is_free() {
        let mut slab = Slab::default();
        for thing in 0..2 * PIECE + 1 {
            slab.insert(thing);
            let taken =
                slab.memory_bytes() - slab.free_bytes() - slab.pieces.capacity() * size_of::<Vec<Option<usize>>>();
            assert_eq!(taken, (thing + 1) * size_of::<Option<usize>>());
            assert!(slab.free_bytes() <= PIECE * size_of::<Option<usize>>());
        }
    }
}
