//! Maps and sets in order, and sorting, in little code.
//!
//! The standard library's B-tree and sort are compiled anew for each type that they hold, and browsers load all of it. Here
//! what is compiled for a type is a list of entries as they came, and beside it the order in which they stand, as runs of
//! their places: one code for all types. A run splits when it is full. An insertion into a large map moves at most a run of
//! places and the list of runs, a removal fills its gap with the last entry. Hub and origin keep B-trees where those serve
//! better.
//!
//! Invariants: every place stands in the order once; no run is empty; keys ascend in it.

use std::{borrow::Borrow, cmp::Ordering, fmt, iter::FusedIterator, slice, vec};

/// The most places in a run.
const RUN_MAX: usize = 256;

/// A map in the order of its keys.
#[derive(Clone)]
pub(crate) struct OrderedMap<K, V> {
    entries: Vec<(K, V)>,
    order: Order,
}

impl<K: Ord, V> OrderedMap<K, V> {
    /// A map of nothing.
    pub(crate) const fn new() -> Self {
        Self { entries: Vec::new(), order: Order { runs: Vec::new() } }
    }

    /// How many entries there are.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The value of a key. Logarithmic.
    pub(crate) fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let place = self.order.place(self.find(key).ok()?)?;
        self.entries.get(place).map(|(_, value)| value)
    }

    /// As [`Self::get`], to be changed.
    pub(crate) fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        let place = self.order.place(self.find(key).ok()?)?;
        self.entries.get_mut(place).map(|(_, value)| value)
    }

    pub(crate) fn contains_key<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.find(key).is_ok()
    }

    /// Puts a value in the place of what the key had, which is returned.
    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        match self.find(&key) {
            Ok(spot) => {
                let (_, own) = self.entries.get_mut(self.order.place(spot)?)?;
                Some(std::mem::replace(own, value))
            }
            Err(spot) => {
                self.put(spot, (key, value));
                None
            }
        }
    }

    /// The value of a key, which gets `make`'s where it has none.
    pub(crate) fn get_or_insert_with(&mut self, key: K, make: impl FnOnce() -> V) -> &mut V {
        let place = match self.find(&key) {
            Ok(spot) => self.order.place(spot).unwrap_or_default(),
            Err(spot) => self.put(spot, (key, make())),
        };
        &mut self.entries.get_mut(place).expect("it is where it was found or put").1
    }

    /// Takes an entry out.
    pub(crate) fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let spot = self.find(key).ok()?;
        let last = self.find(self.entries.last()?.0.borrow()).ok()?;
        let place = self.order.place(spot)?;
        self.order.replace(last, place);
        self.order.remove(spot);
        Some(self.entries.swap_remove(place).1)
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::new();
    }

    /// Keeps what `keep` says. Linear.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&K, &mut V) -> bool) {
        self.arrange();
        self.entries.retain_mut(|(key, value)| keep(key, value));
        self.order = Order::of(self.entries.len());
    }

    /// The entries in order.
    pub(crate) fn iter(&self) -> Iter<'_, K, V> {
        Iter { entries: &self.entries, places: self.order.places() }
    }

    /// The first entry whose key is `from` or comes after it. Logarithmic.
    pub(crate) fn at_or_after(&self, from: &K) -> Option<(&K, &V)> {
        let (Ok(spot) | Err(spot)) = self.find(from);
        let place = self.order.place(spot).or_else(|| self.order.place((spot.0.checked_add(1)?, 0)))?;
        self.entries.get(place).map(|(key, value)| (key, value))
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &K> + Clone {
        self.iter().map(|(key, _)| key)
    }

    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.iter_mut().map(|(_, value)| value)
    }

    /// As [`Self::iter`], to be changed. Linear at once.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (&K, &mut V)> {
        self.arrange();
        self.entries.iter_mut().map(|(key, value)| (&*key, value))
    }

    pub(crate) fn into_keys(self) -> impl Iterator<Item = K> {
        self.into_iter().map(|(key, _)| key)
    }

    pub(crate) fn into_values(self) -> impl Iterator<Item = V> {
        self.into_iter().map(|(_, value)| value)
    }

    /// Where the key is, or where it belongs.
    fn find<Q: Ord + ?Sized>(&self, key: &Q) -> Result<Spot, Spot>
    where
        K: Borrow<Q>,
    {
        self.order.find(&|place| self.entries.get(place).map_or(Ordering::Equal, |(own, _)| own.borrow().cmp(key)))
    }

    /// Puts an entry where [`Self::find`] says that it belongs, and returns its place.
    fn put(&mut self, spot: Spot, entry: (K, V)) -> usize {
        let place = self.entries.len();
        self.order.insert(spot, place);
        self.entries.push(entry);
        place
    }
}

impl<K, V> OrderedMap<K, V> {
    /// Moves the entries to where they stand in the order.
    fn arrange(&mut self) {
        let order = std::mem::replace(&mut self.order, Order::of(self.entries.len()));
        permute(&mut self.entries, order.places().collect());
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
        Self { entries: Vec::new(), order: Order::of(0) }
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
    type IntoIter = vec::IntoIter<(K, V)>;

    fn into_iter(mut self) -> Self::IntoIter {
        self.arrange();
        self.entries.into_iter()
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
    entries: &'a [(K, V)],
    places: Places<'a>,
}

impl<K, V> Clone for Iter<'_, K, V> {
    fn clone(&self) -> Self {
        Self { entries: self.entries, places: self.places.clone() }
    }
}

impl<'a, K, V> Iterator for Iter<'a, K, V> {
    type Item = (&'a K, &'a V);

    fn next(&mut self) -> Option<Self::Item> {
        self.entries.get(self.places.next()?).map(|(key, value)| (key, value))
    }
}

impl<K, V> FusedIterator for Iter<'_, K, V> {}

/// In which order things stand that lie at places 0, 1, 2 and so on; it does not know what they are.
#[derive(Clone)]
struct Order {
    runs: Vec<Vec<usize>>,
}

/// Where something stands in an order: the run, and where in it.
type Spot = (usize, usize);

impl Order {
    /// So many as they lie.
    fn of(len: usize) -> Self {
        let run = |start: usize| (start..start.saturating_add(RUN_MAX).min(len)).collect();
        Self { runs: (0..len).step_by(RUN_MAX).map(run).collect() }
    }

    /// The place of what stands there.
    fn place(&self, (run, at): Spot) -> Option<usize> {
        self.runs.get(run)?.get(at).copied()
    }

    /// Where that is which `compare` says is equal to what is sought, or where that belongs. `compare` is told a place.
    fn find(&self, compare: &dyn Fn(usize) -> Ordering) -> Result<Spot, Spot> {
        let ends_before = |run: &Vec<usize>| run.last().is_some_and(|last| compare(*last).is_lt());
        // The first run that does not end before it, or the last one.
        let at = self.runs.partition_point(ends_before).min(self.runs.len().saturating_sub(1));
        let run = self.runs.get(at).map(Vec::as_slice).unwrap_or_default();
        run.binary_search_by(|place| compare(*place)).map(|found| (at, found)).map_err(|free| (at, free))
    }

    /// Puts a place where [`Self::find`] says.
    fn insert(&mut self, (at, spot): Spot, place: usize) {
        let Some(run) = self.runs.get_mut(at) else { return self.runs.push(vec![place]) };
        if run.len() < RUN_MAX {
            return run.insert(spot, place);
        }
        // What comes in order fills its runs.
        let half = if spot == run.len() { spot } else { run.len().div_ceil(2) };
        let mut rest = run.split_off(half);
        match spot.checked_sub(half) {
            Some(spot) => rest.insert(spot, place),
            None => run.insert(spot, place),
        }
        self.runs.insert(at.saturating_add(1), rest);
    }

    /// Says that what stands there lies elsewhere now.
    fn replace(&mut self, (run, at): Spot, place: usize) {
        if let Some(own) = self.runs.get_mut(run).and_then(|run| run.get_mut(at)) {
            *own = place;
        }
    }

    fn remove(&mut self, (at, spot): Spot) {
        let Some(run) = self.runs.get_mut(at).filter(|run| spot < run.len()) else { return };
        run.remove(spot);
        if run.is_empty() {
            self.runs.remove(at);
        }
    }

    /// The places in order.
    fn places(&self) -> Places<'_> {
        Places { runs: self.runs.iter(), run: [].iter() }
    }
}

/// The places in an order.
#[derive(Clone)]
struct Places<'a> {
    runs: slice::Iter<'a, Vec<usize>>,
    run: slice::Iter<'a, usize>,
}

impl Iterator for Places<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        loop {
            if let Some(place) = self.run.next() {
                return Some(*place);
            }
            self.run = self.runs.next()?.iter();
        }
    }
}

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
    type IntoIter = std::iter::Map<vec::IntoIter<(K, ())>, fn((K, ())) -> K>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter().map(|(key, ())| key)
    }
}

/// Sorts stably.
pub(crate) fn sort_by<T>(items: &mut [T], mut order: impl FnMut(&T, &T) -> Ordering) {
    let places = sorted_places(items.len(), &mut |a, b| match (items.get(a), items.get(b)) {
        (Some(a), Some(b)) => order(a, b),
        _ => Ordering::Equal,
    });
    permute(items, places);
}

/// As [`sort_by`], in the items' own order.
pub(crate) fn sort<T: Ord>(items: &mut [T]) {
    sort_by(items, T::cmp);
}

/// Moves to each place what lies at the one that is named there; `places` names each once.
fn permute<T>(items: &mut [T], mut places: Vec<usize>) {
    // Each cycle is walked once, and what is walked says so by naming itself.
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

/// From which place each item comes in order: runs of one, two, four and so on are merged. The one sort that all types share;
/// what is in order costs a comparison an item.
fn sorted_places(len: usize, order: &mut dyn FnMut(usize, usize) -> Ordering) -> Vec<usize> {
    let mut places: Vec<usize> = (0..len).collect();
    let mut merged = Vec::with_capacity(len);
    let mut run = 1_usize;
    while run < len {
        let pair = run.saturating_mul(2);
        for both in places.chunks(pair) {
            let (mut left, mut right) = both.split_at(run.min(both.len()));
            if left.last().zip(right.first()).is_some_and(|(a, b)| order(*a, *b).is_gt()) {
                while let (Some((a, after_a)), Some((b, after_b))) = (left.split_first(), right.split_first()) {
                    if order(*b, *a).is_lt() {
                        merged.push(*b);
                        right = after_b;
                    } else {
                        merged.push(*a);
                        left = after_a;
                    }
                }
            }
            merged.extend_from_slice(left);
            merged.extend_from_slice(right);
        }
        std::mem::swap(&mut places, &mut merged);
        merged.clear();
        run = pair;
    }
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
        let mut places: Vec<usize> = map.order.places().collect();
        places.sort_unstable();
        map.order.runs.iter().all(|run| !run.is_empty() && run.len() <= RUN_MAX)
            && places.into_iter().eq(0..map.entries.len())
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
