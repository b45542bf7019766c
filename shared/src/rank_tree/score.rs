//! A score as an integer that orders like the number.

use std::fmt;

/// A board member's score: a float, mapped so that comparing integers compares the numbers.
///
/// ```
/// use headwater::rank_tree::Score;
///
/// assert!(Score::new(-1.5) < Score::new(2.0));
/// assert_eq!(Score::new(-0.0), Score::new(0.0));
/// assert_eq!(Score::new(2.5).value(), 2.5);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Score(u64);

impl Score {
    const SIGN: u64 = 1 << 63;

    /// The score of this value. Negative zero becomes zero; NaN never is a score, and sorts beyond the infinities.
    #[inline]
    pub fn new(value: f64) -> Self {
        let bits = (value + 0.0).to_bits();
        // Positive floats order like their bits; negative ones the other way round, and below.
        Self(if bits & Self::SIGN == 0 { bits | Self::SIGN } else { !bits })
    }

    /// The number.
    #[inline]
    pub fn value(self) -> f64 {
        f64::from_bits(if self.0 & Self::SIGN == 0 { !self.0 } else { self.0 & !Self::SIGN })
    }
}

impl fmt::Debug for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.value(), f)
    }
}
