//! Things by number: a number is used again once its thing is gone.

use std::{marker::PhantomData, num::NonZeroU32};

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

/// Things by number.
#[derive(Clone, Debug)]
pub(crate) struct Slab<T, P = Vec<Option<T>>> {
    places: P,
    free: Vec<Place>,
    things: PhantomData<T>,
}

/// A slab of things that may be very many.
pub(crate) type LargeSlab<T> = Slab<T, Pieces<T>>;

/// Where the things of a slab lie.
pub(crate) trait Places<T>: Default {
    fn count(&self) -> usize;
    fn capacity(&self) -> usize;
    fn memory_bytes(&self) -> usize;
    fn at(&self, index: usize) -> Option<&Option<T>>;
    fn at_mut(&mut self, index: usize) -> Option<&mut Option<T>>;
    fn append(&mut self, thing: T);
}

impl<T> Places<T> for Vec<Option<T>> {
    fn count(&self) -> usize {
        self.len()
    }

    fn capacity(&self) -> usize {
        self.capacity()
    }

    fn memory_bytes(&self) -> usize {
        self.capacity().saturating_mul(size_of::<Option<T>>())
    }

    fn at(&self, index: usize) -> Option<&Option<T>> {
        self.get(index)
    }

    fn at_mut(&mut self, index: usize) -> Option<&mut Option<T>> {
        self.get_mut(index)
    }

    fn append(&mut self, thing: T) {
        // By quarters: doubling a large table would take half of what a host gives at once.
        if self.len() == self.capacity() {
            self.reserve_exact((self.len() / 4).max(4));
        }
        self.push(Some(thing));
    }
}

/// Places in pieces of a fixed size, all but the last of which are full. A piece stays where it is, so that a large table
/// neither copies all that it has to grow, nor needs room for it twice.
#[derive(Clone, Debug)]
pub(crate) struct Pieces<T>(Vec<Vec<Option<T>>>);

/// How many things are in a piece, as a power of two.
const PIECE_BITS: u32 = 10;
const PIECE: usize = 1 << PIECE_BITS;

impl<T> Pieces<T> {
    fn full(&self) -> usize {
        self.0.len().saturating_sub(1).saturating_mul(PIECE)
    }
}

impl<T> Default for Pieces<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Places<T> for Pieces<T> {
    fn count(&self) -> usize {
        self.full().saturating_add(self.0.last().map_or(0, Vec::len))
    }

    fn capacity(&self) -> usize {
        self.full().saturating_add(self.0.last().map_or(0, Vec::capacity))
    }

    fn memory_bytes(&self) -> usize {
        let pieces = self.0.capacity().saturating_mul(size_of::<Vec<Option<T>>>());
        pieces.saturating_add(self.capacity().saturating_mul(size_of::<Option<T>>()))
    }

    fn at(&self, index: usize) -> Option<&Option<T>> {
        self.0.get(index >> PIECE_BITS)?.get(index & (PIECE - 1))
    }

    fn at_mut(&mut self, index: usize) -> Option<&mut Option<T>> {
        self.0.get_mut(index >> PIECE_BITS)?.get_mut(index & (PIECE - 1))
    }

    /// A piece grows by doubling, so that few things take little.
    fn append(&mut self, thing: T) {
        if self.0.last().is_none_or(|last| last.len() == PIECE) {
            self.0.push(Vec::new());
        }
        if let Some(piece) = self.0.last_mut() {
            if piece.len() == piece.capacity() {
                piece.reserve_exact(piece.len().max(4).min(PIECE.saturating_sub(piece.len())));
            }
            piece.push(Some(thing));
        }
    }
}

impl<T, P: Places<T>> Default for Slab<T, P> {
    fn default() -> Self {
        Self { places: P::default(), free: Vec::new(), things: PhantomData }
    }
}

impl<T, P: Places<T>> Slab<T, P> {
    /// Puts a thing somewhere. Constant time.
    pub(crate) fn insert(&mut self, thing: T) -> Place {
        if let Some(place) = self.free.pop() {
            self.put(place, thing);
            return place;
        }
        self.places.append(thing);
        let number = u32::try_from(self.places.count()).ok().and_then(NonZeroU32::new);
        Place(number.expect("fewer than 2^32 things fit into memory"))
    }

    /// The thing at `place`.
    pub(crate) fn at(&self, place: Place) -> Option<&T> {
        self.places.at(place.index())?.as_ref()
    }

    /// The thing at `place`, to change.
    pub(crate) fn at_mut(&mut self, place: Place) -> Option<&mut T> {
        self.places.at_mut(place.index())?.as_mut()
    }

    /// Takes the thing at `place` out, and keeps the place for it.
    pub(crate) fn lift(&mut self, place: Place) -> Option<T> {
        self.places.at_mut(place.index())?.take()
    }

    /// Puts a lifted thing back.
    pub(crate) fn put(&mut self, place: Place, thing: T) {
        if let Some(slot) = self.places.at_mut(place.index()) {
            *slot = Some(thing);
        }
    }

    /// Takes the thing at `place` out, and gives the place away; with the last one all memory.
    pub(crate) fn remove(&mut self, place: Place) -> Option<T> {
        let thing = self.lift(place)?;
        self.free.push(place);
        if self.free.len() == self.places.count() {
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
        (0..self.places()).filter_map(|number| {
            let place = Place(NonZeroU32::new(number.saturating_add(1))?);
            Some((place, self.at(place)?))
        })
    }

    /// How many places there are, taken or not: the range to draw a random one from.
    pub(crate) fn places(&self) -> u32 {
        u32::try_from(self.places.count()).unwrap_or(u32::MAX)
    }

    /// The bytes that the tables have allocated, without what the things have.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.places.memory_bytes().saturating_add(self.free.capacity().saturating_mul(size_of::<Place>()))
    }

    /// Of what the tables have allocated, the bytes that later things may take.
    pub(crate) fn free_bytes(&self) -> usize {
        let unused = self.places.capacity().saturating_sub(self.places.count());
        unused.saturating_add(self.free.len()).saturating_mul(size_of::<Option<T>>())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn things_keep_their_places_over_many_pieces() {
        let mut slab = LargeSlab::default();
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
        let mut slab = LargeSlab::default();
        let places: Vec<Place> = (0..2 * PIECE).map(|thing| slab.insert(thing)).collect();
        let end = slab.places() - 1;
        assert_eq!(slab.search(u32::try_from(PIECE).unwrap() - 1, 2, |thing| *thing == PIECE), Some(places[PIECE]));
        assert_eq!(slab.search(end, 2, |thing| *thing == 0), Some(places[0]));
        assert_eq!(slab.search(end, 1, |thing| *thing == 0), None);
    }

    #[test]
    fn what_is_allocated_is_what_is_taken_and_what_is_free() {
        let mut slab = LargeSlab::default();
        for thing in 0..2 * PIECE + 1 {
            slab.insert(thing);
            let pieces = slab.places.0.capacity() * size_of::<Vec<Option<usize>>>();
            let taken = slab.memory_bytes() - slab.free_bytes() - pieces;
            assert_eq!(taken, (thing + 1) * size_of::<Option<usize>>());
            assert!(slab.free_bytes() <= PIECE * size_of::<Option<usize>>());
        }
    }
}
