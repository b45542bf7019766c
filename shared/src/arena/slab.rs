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

/// Things by number.
#[derive(Clone, Debug)]
pub(crate) struct Slab<T> {
    places: Vec<Option<T>>,
    free: Vec<Place>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { places: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slab<T> {
    /// Puts a thing somewhere. Constant time.
    pub(crate) fn insert(&mut self, thing: T) -> Place {
        if let Some(place) = self.free.pop() {
            self.put(place, thing);
            return place;
        }
        // By quarters: doubling a large table would take half of what a host gives at once.
        if self.places.len() == self.places.capacity() {
            self.places.reserve_exact((self.places.len() / 4).max(4));
        }
        self.places.push(Some(thing));
        let number = u32::try_from(self.places.len()).ok().and_then(NonZeroU32::new);
        Place(number.expect("fewer than 2^32 things fit into memory"))
    }

    /// The thing at `place`.
    pub(crate) fn at(&self, place: Place) -> Option<&T> {
        self.places.get(place.index())?.as_ref()
    }

    /// The thing at `place`, to change.
    pub(crate) fn at_mut(&mut self, place: Place) -> Option<&mut T> {
        self.places.get_mut(place.index())?.as_mut()
    }

    /// Takes the thing at `place` out, and keeps the place for it.
    pub(crate) fn lift(&mut self, place: Place) -> Option<T> {
        self.places.get_mut(place.index())?.take()
    }

    /// Puts a lifted thing back.
    pub(crate) fn put(&mut self, place: Place, thing: T) {
        if let Some(slot) = self.places.get_mut(place.index()) {
            *slot = Some(thing);
        }
    }

    /// Takes the thing at `place` out, and gives the place away; with the last one all memory.
    pub(crate) fn remove(&mut self, place: Place) -> Option<T> {
        let thing = self.lift(place)?;
        self.free.push(place);
        if self.free.len() == self.places.len() {
            *self = Self::default();
        }
        Some(thing)
    }

    /// The place at which a walk from place number `at` on first finds what `is_wanted`, among at most `steps` places.
    pub(crate) fn search(&self, at: u32, steps: usize, is_wanted: impl Fn(&T) -> bool) -> Option<Place> {
        let (before, after) = self.places.split_at_checked(at as usize)?;
        let numbered = (at.saturating_add(1)..).zip(after).chain((1_u32..).zip(before));
        let mut found = numbered.take(steps).filter(|(_, thing)| thing.as_ref().is_some_and(&is_wanted));
        found.next().and_then(|(number, _)| NonZeroU32::new(number)).map(Place)
    }

    /// The places that are taken, in order, with their things.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Place, &T)> + '_ {
        self.places.iter().zip(1_u32..).filter_map(|(thing, number)| {
            let place = Place(NonZeroU32::new(number)?);
            Some((place, thing.as_ref()?))
        })
    }

    /// How many places there are, taken or not: the range to draw a random one from.
    pub(crate) fn places(&self) -> u32 {
        u32::try_from(self.places.len()).unwrap_or(u32::MAX)
    }

    /// The bytes that the tables have allocated, without what the things have.
    pub(crate) fn memory_bytes(&self) -> usize {
        let places = self.places.capacity().saturating_mul(size_of::<Option<T>>());
        places.saturating_add(self.free.capacity().saturating_mul(size_of::<Place>()))
    }

    /// Of what the tables have allocated, the bytes that later things may take.
    pub(crate) fn free_bytes(&self) -> usize {
        let unused = self.places.capacity().saturating_sub(self.places.len());
        unused.saturating_add(self.free.len()).saturating_mul(size_of::<Option<T>>())
    }
}
