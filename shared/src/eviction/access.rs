//! When and how often a key was used, in four bytes.
//!
//! ```text
//! LRU   8 bits unused, 24 bits  second of the last use, around every 194 days
//! LFU   8 bits unused, 16 bits  minute of the last use, around every 45 days, 8 bits  logarithmic counter
//! ```
//! Both count from a beginning that the caller fixes. A stamp that seems to lie ahead by less than half a turn was made
//! before the host's clock was set back, and counts as just made; so does one of a key that nobody used for longer than
//! half a turn, which is then evicted later than it should be, and nothing worse. Other policies keep LRU's stamp.

use super::Policy;

const SECONDS_MASK: u32 = (1 << 24) - 1;
const MINUTES_MASK: u32 = (1 << 16) - 1;

/// The counter of a new key. It is above zero so that a new key is not the first to go, before it was used again.
const COUNTER_NEW: u8 = 5;

/// How much harder each step of the counter is than the one before (Redis' `lfu-log-factor`). With 10, some hundred uses
/// lift it to 10, a hundred thousand to 142, and a million fill it.
const LOG_FACTOR: u32 = 10;

/// How many milliseconds take one off the counter (Redis' `lfu-decay-time`, one minute).
const DECAY_MS: u64 = 60_000;

/// Milliseconds since any beginning that stays the same while stamps made with it are in use; the Unix epoch will do.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct SinceMs(pub u64);

impl SinceMs {
    fn seconds(self) -> u32 {
        (self.0 / 1_000) as u32 & SECONDS_MASK
    }

    fn minutes(self) -> u32 {
        (self.0 / DECAY_MS) as u32 & MINUTES_MASK
    }
}

/// A key's last use or frequency of use, whichever the policy asks for. Stamps of one policy mean nothing to another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Access(u32);

impl Access {
    /// The stamp of a key that is new here.
    pub fn new(policy: Policy, now: SinceMs) -> Self {
        match policy {
            Policy::AllKeysLfu => Self::pack(now, COUNTER_NEW),
            Policy::NoEviction | Policy::AllKeysLru | Policy::VolatileTtl => Self(now.seconds()),
        }
    }

    /// The stamp after one more use. `random` is uniform over all its values; LFU alone looks at it.
    #[must_use]
    pub fn used(self, policy: Policy, now: SinceMs, random: u32) -> Self {
        match policy {
            Policy::AllKeysLfu => Self::pack(now, incremented(self.frequency(now), random)),
            Policy::NoEviction | Policy::AllKeysLru | Policy::VolatileTtl => Self(now.seconds()),
        }
    }

    /// Seconds since the last use, below 97 days; of a stamp made under LRU.
    pub fn idle_s(self, now: SinceMs) -> u32 {
        passed(self.0, now.seconds(), SECONDS_MASK)
    }

    /// The logarithmic counter of uses, one less for each minute without any; of a stamp made under LFU.
    pub fn frequency(self, now: SinceMs) -> u8 {
        let [_, minutes_high, minutes_low, counter] = self.0.to_be_bytes();
        let then = u32::from(u16::from_be_bytes([minutes_high, minutes_low]));
        let minutes = passed(then, now.minutes(), MINUTES_MASK);
        counter.saturating_sub(u8::try_from(minutes).unwrap_or(u8::MAX))
    }

    fn pack(now: SinceMs, counter: u8) -> Self {
        Self((now.minutes() << 8) | u32::from(counter))
    }
}

/// From `then` to `now` on a clock that turns after `mask`; nothing if `then` lies ahead by less than half a turn.
fn passed(then: u32, now: u32, mask: u32) -> u32 {
    let passed = now.wrapping_sub(then) & mask;
    if passed <= mask / 2 { passed } else { 0 }
}

/// The counter, one higher with a probability of 1 in `1 + 10 * (counter - 5)`.
fn incremented(counter: u8, random: u32) -> u8 {
    let steps = u32::from(counter.saturating_sub(COUNTER_NEW));
    let one_in = steps.saturating_mul(LOG_FACTOR).saturating_add(1);
    // Equal shares of all random numbers, the first of which counts.
    let counts = random <= u32::MAX.checked_div(one_in).unwrap_or(u32::MAX);
    counter.saturating_add(u8::from(counts))
}

const _: () = assert!(size_of::<Access>() == 4);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eviction::tests::Random;
    use proptest::prelude::*;

    #[test]
    fn idle_seconds_are_right_across_a_turn_of_the_clock() {
        let turn_ms = (u64::from(SECONDS_MASK) + 1) * 1_000;
        let access = Access::new(Policy::AllKeysLru, SinceMs(turn_ms - 5_000));
        assert_eq!(access.idle_s(SinceMs(turn_ms + 2_999)), 7);
    }

    #[test]
    fn a_counter_falls_by_one_a_minute_across_a_turn_of_the_clock() {
        let turn_ms = (u64::from(MINUTES_MASK) + 1) * DECAY_MS;
        let access = Access::new(Policy::AllKeysLfu, SinceMs(turn_ms - DECAY_MS));
        assert_eq!(access.frequency(SinceMs(turn_ms + DECAY_MS)), COUNTER_NEW - 2);
        assert_eq!(access.frequency(SinceMs(turn_ms + 10 * DECAY_MS)), 0);
    }

    #[test]
    fn a_clock_set_back_makes_no_key_idle() {
        let (then, now) = (SinceMs(3_600_000), SinceMs(0));
        assert_eq!(Access::new(Policy::AllKeysLru, then).idle_s(now), 0);
        assert_eq!(Access::new(Policy::AllKeysLfu, then).frequency(now), COUNTER_NEW);
    }

    #[test]
    fn the_counter_grows_with_the_logarithm_of_uses() {
        // The mean after n uses solves 5k^2 + k = n above the start, since each step k takes 1 + 10k uses.
        for (uses, expected) in [(100, 9.4), (1_000, 19.0), (100_000, 146.3)] {
            let mut random = Random(7);
            let counter_mean = (0..40).map(|_| counter_after(uses, &mut random)).sum::<f64>() / 40.0;
            assert!((counter_mean - expected).abs() < expected * 0.05, "{uses} uses: {counter_mean}, not {expected}");
        }
    }

    fn counter_after(uses: u32, random: &mut Random) -> f64 {
        let new = Access::new(Policy::AllKeysLfu, SinceMs(0));
        let used = (0..uses).fold(new, |access, _| access.used(Policy::AllKeysLfu, SinceMs(0), random.next()));
        f64::from(used.frequency(SinceMs(0)))
    }

    proptest! {
        #[test]
        fn a_use_never_makes_a_key_more_evictable(
            then in any::<u64>(), pause in any::<u32>(), random in any::<u32>(), policy in 0_usize..4,
        ) {
            let policy = Policy::ALL[policy];
            let now = SinceMs(then.saturating_add(pause.into()));
            let before = Access::new(policy, SinceMs(then));
            let after = before.used(policy, now, random);
            prop_assert!(policy.pressure(after, None, now) <= policy.pressure(before, None, now));
        }
    }
}
