//! Whether the keys that hubs speak of are likely to be new to the store, and slots.
//!
//! A commit of a new key needs no load before it: it demands that there be no companion, and is refused if there is one. So a
//! key costs one call in place of two where most are new, and three where one is not; the last few keys that were looked up
//! tell which to expect. The same holds of the marker of a slot in which nothing was ever committed.

/// How far the last keys weigh.
const WEIGHT_MAX: i8 = 8;

/// What a key that was there weighs against those that were not: a refused commit costs more than a load in vain.
const THERE: i8 = 4;

/// What the last keys that were looked up were like.
#[derive(Debug, Default)]
pub(super) struct Novelty {
    weight: i8,
}

impl Novelty {
    /// As after many that were new.
    pub(super) fn expected() -> Self {
        Self { weight: WEIGHT_MAX }
    }

    /// A key was looked up.
    pub(super) fn note(&mut self, is_new: bool) {
        let by = if is_new { 1 } else { -THERE };
        self.weight = self.weight.saturating_add(by).clamp(-WEIGHT_MAX, WEIGHT_MAX);
    }

    /// Whether the next one is likely to be new.
    pub(super) fn is_likely(&self) -> bool {
        self.weight > THERE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(keys: &[bool]) -> bool {
        let mut novelty = Novelty::default();
        keys.iter().for_each(|is_new| novelty.note(*is_new));
        novelty.is_likely()
    }

    #[test]
    fn many_new_keys_let_another_be_expected() {
        assert!(!after(&[]));
        assert!(!after(&[true; 3]));
        assert!(after(&[true; 20]));
    }

    #[test]
    fn a_known_key_among_new_ones_lets_none_be_expected_until_there_were_more() {
        let mut keys = vec![true; 20];
        keys.push(false);
        assert!(!after(&keys));
        keys.extend([true; 4]);
        assert!(after(&keys));
    }
}
