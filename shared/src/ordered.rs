//! Ordered maps and sets, and sorting, in little code.
//!
//! A B-tree and a sort of the standard library are some five kilobytes of wasm for each type they are used with, which was a
//! quarter of what a browser loads. A map here is a list of sorted runs, a few hundred bytes of code each: logarithmic to
//! look up, and to insert or remove a move of at most a run and of the list of runs. The sort is the standard library's, once,
//! over the places of the items.
//!
//! Invariant: no run is empty, and all entries ascend strictly, within runs and from run to run.

use std::{borrow::Borrow, cmp::Ordering, fmt, iter::FusedIterator, slice, vec};

/// Entries of one run at most: to move half of them takes about as long as to find the place.
const RUN_MAX: usize = 256;

/// A map in the order of its keys.
#[derive(Clone)]
pub(crate) struct OrderedMap<K, V> {
    runs: Vec<Vec<(K, V)>>,
    len: usize,
}

/// Where a key is, or where it belongs: the run and the place in it.
type Place = (usize, Result<usize, usize>);

impl<K: Ord, V> OrderedMap<K, V> {
    /// A map of nothing.
    pub(crate) const fn new() -> Self {
        Self { runs: Vec::new(), len: 0 }
    }

    /// How many entries there are.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The value of a key. Logarithmic.
    pub(crate) fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let (run, place) = self.place(key);
        self.runs.get(run)?.get(place.ok()?).map(|(_, value)| value)
    }

    /// As [`Self::get`], to be changed.
    pub(crate) fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        let (run, place) = self.place(key);
        self.runs.get_mut(run)?.get_mut(place.ok()?).map(|(_, value)| value)
    }

    pub(crate) fn contains_key<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.place(key).1.is_ok()
    }

    /// Puts a value in the place of what the key had, which is returned.
    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        let (run, place) = self.place(&key);
        match place {
            Ok(place) => {
                let slot = self.runs.get_mut(run).and_then(|run| run.get_mut(place));
                slot.map(|(_, own)| std::mem::replace(own, value))
            }
            Err(place) => {
                self.put(run, place, (key, value));
                None
            }
        }
    }

    /// The value of a key, which gets `make`'s where it has none.
    pub(crate) fn get_or_insert_with(&mut self, key: K, make: impl FnOnce() -> V) -> &mut V {
        let (run, place) = self.place(&key);
        let (run, place) = match place {
            Ok(place) => (run, place),
            Err(place) => self.put(run, place, (key, make())),
        };
        let entry = self.runs.get_mut(run).and_then(|run| run.get_mut(place));
        &mut entry.expect("it is where it was found or put").1
    }

    /// Takes an entry out.
    pub(crate) fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let (at, place) = self.place(key);
        let run = self.runs.get_mut(at)?;
        let (_, value) = run.remove(place.ok()?);
        if run.is_empty() {
            self.runs.remove(at);
        }
        self.len = self.len.saturating_sub(1);
        Some(value)
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::new();
    }

    /// Keeps what `keep` says. Linear.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&K, &mut V) -> bool) {
        for run in &mut self.runs {
            run.retain_mut(|(key, value)| keep(key, value));
        }
        self.runs.retain(|run| !run.is_empty());
        self.len = self.runs.iter().map(Vec::len).sum();
    }

    /// The entries in order.
    pub(crate) fn iter(&self) -> Iter<'_, K, V> {
        Iter { runs: self.runs.iter(), run: [].iter() }
    }

    /// The first entry whose key is `from` or comes after it. Logarithmic.
    pub(crate) fn at_or_after(&self, from: &K) -> Option<(&K, &V)> {
        let (run, place) = self.place(from);
        let (Ok(place) | Err(place)) = place;
        let after = || self.runs.get(run.checked_add(1)?)?.first();
        self.runs.get(run)?.get(place).or_else(after).map(|(key, value)| (key, value))
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &K> + Clone {
        self.iter().map(|(key, _)| key)
    }

    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.iter_mut().map(|(_, value)| value)
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (&K, &mut V)> {
        self.runs.iter_mut().flatten().map(|(key, value)| (&*key, value))
    }

    pub(crate) fn into_keys(self) -> impl Iterator<Item = K> {
        self.into_iter().map(|(key, _)| key)
    }

    pub(crate) fn into_values(self) -> impl Iterator<Item = V> {
        self.into_iter().map(|(_, value)| value)
    }

    /// The first run that does not end before the key, or the last one.
    fn place<Q: Ord + ?Sized>(&self, key: &Q) -> Place
    where
        K: Borrow<Q>,
    {
        let ends_before = |run: &Vec<(K, V)>| run.last().is_some_and(|(last, _)| last.borrow() < key);
        let at = self.runs.partition_point(ends_before).min(self.runs.len().saturating_sub(1));
        let run = self.runs.get(at).map(Vec::as_slice).unwrap_or_default();
        (at, run.binary_search_by(|(own, _)| own.borrow().cmp(key)))
    }

    /// Puts an entry where [`Self::place`] says, and returns where it is then.
    fn put(&mut self, at: usize, place: usize, entry: (K, V)) -> (usize, usize) {
        self.len = self.len.saturating_add(1);
        let Some(run) = self.runs.get_mut(at) else {
            self.runs.push(vec![entry]);
            return (at, place);
        };
        if run.len() < RUN_MAX {
            run.insert(place, entry);
            return (at, place);
        }
        let next = at.saturating_add(1);
        // What comes in order fills its runs.
        let half = if place == run.len() { place } else { run.len().div_ceil(2) };
        let mut rest = run.split_off(half);
        match place.checked_sub(half) {
            Some(place) => {
                rest.insert(place, entry);
                self.runs.insert(next, rest);
                (next, place)
            }
            None => {
                run.insert(place, entry);
                self.runs.insert(next, rest);
                (at, place)
            }
        }
    }
}

impl<K: Ord, V: Default> OrderedMap<K, V> {
    /// The value of a key, which gets the default where it has none.
    pub(crate) fn or_default(&mut self, key: K) -> &mut V {
        self.get_or_insert_with(key, V::default)
    }
}

impl<K, V> Default for OrderedMap<K, V> {
    fn default() -> Self {
        Self { runs: Vec::new(), len: 0 }
    }
}

impl<K: Ord + fmt::Debug, V: fmt::Debug> fmt::Debug for OrderedMap<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<K: Ord, V: PartialEq> PartialEq for OrderedMap<K, V> {
    /// The same entries, however they lie in runs.
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl<K: Ord, V> Extend<(K, V)> for OrderedMap<K, V> {
    /// As so many calls of [`OrderedMap::insert`].
    fn extend<I: IntoIterator<Item = (K, V)>>(&mut self, entries: I) {
        entries.into_iter().for_each(|(key, value)| {
            self.insert(key, value);
        });
    }
}

impl<K: Ord, V> FromIterator<(K, V)> for OrderedMap<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let mut map = Self::new();
        map.extend(entries);
        map
    }
}

impl<K, V> IntoIterator for OrderedMap<K, V> {
    type Item = (K, V);
    type IntoIter = std::iter::Flatten<vec::IntoIter<Vec<(K, V)>>>;

    fn into_iter(self) -> Self::IntoIter {
        self.runs.into_iter().flatten()
    }
}

impl<'a, K: Ord, V> IntoIterator for &'a OrderedMap<K, V> {
    type Item = (&'a K, &'a V);
    type IntoIter = Iter<'a, K, V>;

    fn into_iter(self) -> Iter<'a, K, V> {
        self.iter()
    }
}

/// The entries of a map in order.
pub(crate) struct Iter<'a, K, V> {
    runs: slice::Iter<'a, Vec<(K, V)>>,
    run: slice::Iter<'a, (K, V)>,
}

impl<K, V> Clone for Iter<'_, K, V> {
    fn clone(&self) -> Self {
        Self { runs: self.runs.clone(), run: self.run.clone() }
    }
}

impl<'a, K, V> Iterator for Iter<'a, K, V> {
    type Item = (&'a K, &'a V);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some((key, value)) = self.run.next() {
                return Some((key, value));
            }
            self.run = self.runs.next()?.iter();
        }
    }
}

impl<K, V> FusedIterator for Iter<'_, K, V> {}

/// A set in order.
#[derive(Clone)]
pub(crate) struct OrderedSet<K>(OrderedMap<K, ()>);

impl<K: Ord> OrderedSet<K> {
    /// A set of nothing.
    pub(crate) const fn new() -> Self {
        Self(OrderedMap::new())
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn contains(&self, key: &K) -> bool {
        self.0.contains_key(key)
    }

    /// Returns whether it is new.
    pub(crate) fn insert(&mut self, key: K) -> bool {
        self.0.insert(key, ()).is_none()
    }

    /// Returns whether it was there.
    pub(crate) fn remove(&mut self, key: &K) -> bool {
        self.0.remove(key).is_some()
    }

    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&K) -> bool) {
        self.0.retain(|key, ()| keep(key));
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &K> + Clone {
        self.0.keys()
    }

    /// The first that is `from` or comes after it. Logarithmic.
    pub(crate) fn at_or_after(&self, from: &K) -> Option<&K> {
        self.0.at_or_after(from).map(|(key, ())| key)
    }
}

impl<K> Default for OrderedSet<K> {
    fn default() -> Self {
        Self(OrderedMap::default())
    }
}

impl<K: Ord + fmt::Debug> fmt::Debug for OrderedSet<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl<K: Ord> Extend<K> for OrderedSet<K> {
    fn extend<I: IntoIterator<Item = K>>(&mut self, keys: I) {
        self.0.extend(keys.into_iter().map(|key| (key, ())));
    }
}

impl<K: Ord> FromIterator<K> for OrderedSet<K> {
    fn from_iter<I: IntoIterator<Item = K>>(keys: I) -> Self {
        let mut set = Self::new();
        set.extend(keys);
        set
    }
}

impl<'a, K: Ord> IntoIterator for &'a OrderedSet<K> {
    type Item = &'a K;
    type IntoIter = std::iter::Map<Iter<'a, K, ()>, fn((&'a K, &'a ())) -> &'a K>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter().map(|(key, ())| key)
    }
}

impl<K> IntoIterator for OrderedSet<K> {
    type Item = K;
    type IntoIter = std::iter::Map<<OrderedMap<K, ()> as IntoIterator>::IntoIter, fn((K, ())) -> K>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter().map(|(key, ())| key)
    }
}

/// Sorts stably.
pub(crate) fn sort_by<T>(items: &mut [T], mut order: impl FnMut(&T, &T) -> Ordering) {
    let mut places = sorted_places(items.len(), &mut |a, b| match (items.get(a), items.get(b)) {
        (Some(a), Some(b)) => order(a, b),
        _ => Ordering::Equal,
    });
    // Each cycle of the permutation is walked once, and what is walked says so by naming itself.
    for start in 0..items.len() {
        let mut at = start;
        while let Some(from) = places.get_mut(at).map(|from| std::mem::replace(from, at)) {
            if from == start || from == at {
                break;
            }
            items.swap(at, from);
            at = from;
        }
    }
}

/// As [`sort_by`], in the items' own order.
pub(crate) fn sort<T: Ord>(items: &mut [T]) {
    sort_by(items, T::cmp);
}

/// From which place each item comes in order. The one sort that all types share.
fn sorted_places(len: usize, order: &mut dyn FnMut(usize, usize) -> Ordering) -> Vec<usize> {
    let mut places: Vec<usize> = (0..len).collect();
    places.sort_by(|a, b| order(*a, *b));
    places
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};

    /// Enough for several runs.
    const MANY: u32 = 3 * RUN_MAX as u32;

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u32, u32),
        Remove(u32),
        OrDefault(u32),
        Retain(u32),
    }

    fn step() -> impl Strategy<Value = Step> {
        let key = 0..2 * MANY;
        prop_oneof![
            20 => (key.clone(), any::<u32>()).prop_map(|(key, value)| Step::Insert(key, value)),
            5 => key.clone().prop_map(Step::Remove),
            3 => key.prop_map(Step::OrDefault),
            1 => (7..40u32).prop_map(Step::Retain),
        ]
    }

    fn is_well_made(map: &OrderedMap<u32, u32>) -> bool {
        map.runs.iter().all(|run| !run.is_empty() && run.len() <= RUN_MAX)
            && map.keys().zip(map.keys().skip(1)).all(|(a, b)| a < b)
            && map.iter().count() == map.len()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_map_is_what_a_b_tree_is(begun in 0..2 * MANY, steps in proptest::collection::vec(step(), 0..400)) {
            let mut map: OrderedMap<u32, u32> = (0..begun).map(|key| (key, key)).collect();
            let mut model: BTreeMap<u32, u32> = (0..begun).map(|key| (key, key)).collect();
            for step in steps {
                match step {
                    Step::Insert(key, value) => prop_assert_eq!(map.insert(key, value), model.insert(key, value)),
                    Step::Remove(key) => prop_assert_eq!(map.remove(&key), model.remove(&key)),
                    Step::OrDefault(key) => prop_assert_eq!(map.or_default(key), model.entry(key).or_default()),
                    Step::Retain(by) => {
                        map.retain(|key, _| key % by != 0);
                        model.retain(|key, _| key % by != 0);
                    }
                }
                prop_assert!(is_well_made(&map));
            }
            prop_assert!(map.iter().eq(model.iter()));
            for key in (0..2 * MANY + 2).step_by(3) {
                prop_assert_eq!(map.get(&key), model.get(&key));
                prop_assert_eq!(map.at_or_after(&key), model.range(key..).next());
            }
            prop_assert!(map.into_iter().eq(model));
        }

        #[test]
        fn a_sort_is_the_standard_librarys(items in proptest::collection::vec((0..20u8, any::<u16>()), 0..200)) {
            let (mut ours, mut theirs) = (items.clone(), items);
            sort_by(&mut ours, |(a, _), (b, _)| a.cmp(b));
            theirs.sort_by_key(|(key, _)| *key);
            prop_assert_eq!(&ours, &theirs);
            sort(&mut ours);
            theirs.sort();
            prop_assert_eq!(ours, theirs);
        }
    }

    #[test]
    fn a_set_is_what_a_b_tree_is() {
        let keys = [5, 1, 4, 1, 9];
        let mut set: OrderedSet<u32> = keys.into_iter().collect();
        let model: BTreeSet<u32> = keys.into_iter().collect();
        assert!(set.iter().eq(&model));
        assert_eq!((set.len(), set.contains(&4), set.at_or_after(&6)), (4, true, Some(&9)));
        assert!(set.remove(&4) && !set.remove(&4) && set.insert(4) && !set.insert(4));
        assert!(set.into_iter().eq(model));
    }
}
