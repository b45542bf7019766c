//! What a leaf's shell keeps of what it read, as the browser package does: until the leaf says that the key has changed, and
//! nothing of a key that ends by itself.

use bytes::Bytes;
use headwater::{
    id::{Key, TimestampMs},
    leaf::{Leaf, LeafEffect},
    state::{ElementId, Kind},
};
use std::collections::BTreeMap;

/// All that a key reads: whether it is known, its type, and each element that is there with its value or score.
type Reading = (bool, Option<Kind>, Vec<(ElementId, Option<Bytes>, Option<u64>)>);

/// Readings by key.
#[derive(Default)]
pub(crate) struct Kept(BTreeMap<Key, Reading>);

impl Kept {
    /// Drops what the effects say has changed, then reads all of these keys again. Gives those that read otherwise than what is
    /// kept of them.
    pub(crate) fn follow(&mut self, leaf: &Leaf, effects: &[LeafEffect], keys: &[Key], now: TimestampMs) -> Vec<Key> {
        for effect in effects {
            if let LeafEffect::Changed(keys) = effect {
                keys.iter().for_each(|key| drop(self.0.remove(key)));
            }
        }
        let mut stale = Vec::new();
        for key in keys {
            let reading = read(leaf, key, now);
            match self.0.get(key) {
                Some(kept) if *kept != reading => stale.push(key.clone()),
                None if leaf.lasts(key) => drop(self.0.insert(key.clone(), reading)),
                _ => {}
            }
        }
        stale
    }
}

fn read(leaf: &Leaf, key: &Key, now: TimestampMs) -> Reading {
    let state = leaf.key(key);
    let shown = state.and_then(|state| state.shown(now));
    let elements = state.zip(shown).map(|(state, kind)| state.elements_of(kind)).unwrap_or_default();
    let present = elements.into_iter().filter(|(_, element)| element.is_present_at(now));
    let values = present.map(|(id, element)| (id, element.value(), element.score().map(f64::to_bits)));
    (state.is_some(), shown, values.collect())
}
