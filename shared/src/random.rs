//! A stream of numbers that look random and follow from one seed, so that the same inputs draw the same.
//!
//! SplitMix64 (Steele, Lea and Flood 2014). The seed is the host's; nothing here is secret enough for keys or tokens.

/// The state of a stream.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// The stream that follows from `seed`.
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub(crate) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// The next 32 bits.
    pub(crate) fn short_bits(&mut self) -> u32 {
        (self.bits() >> 32) as u32
    }

    /// A number below `bound`; zero if that is zero. Some are likelier than others by less than one in 2^32 / `bound`.
    pub(crate) fn below(&mut self, bound: u32) -> u32 {
        let wide = u64::from(self.short_bits()).saturating_mul(bound.into());
        (wide >> 32) as u32
    }
}
