//! Which keys to evict when memory runs short: Redis' approximations of LRU and LFU.
//!
//! Every key bears an [`Access`] of four bytes, brought up to date when the key is used. To evict, the caller draws a few
//! keys at random (its own [`SAMPLES`] or more) and offers them to a [`Pool`], which remembers the best 16 candidates
//! over time and names the one to evict. Random numbers and the time are arguments: the core has neither.
//!
//! The source is Redis: the names and meanings of `maxmemory-policy`, the pool of "Random notes on improving the Redis LRU
//! algorithm" (antirez.com/news/109), and the counter of Morris ("Counting large numbers of events in small registers",
//! 1978) with decay that Redis calls `lfu-log-factor` and `lfu-decay-time`. One thing differs: before the pool names a key
//! it asks for the key's present access, so that a key which was used since it was sampled is kept.
//!
//! Eviction is local and never a delete: what is evicted must be stable elsewhere, and is fetched again when asked for.

mod access;
mod pool;

#[cfg(test)]
mod tests;

pub use access::{Access, SinceMs};
pub use pool::{Candidate, POOL_LEN, Pool, SAMPLES};

use crate::id::TimestampMs;
use std::{fmt, str::FromStr};

/// What to evict first, by Redis' names.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Policy {
    /// Nothing; writes that need memory fail.
    #[default]
    NoEviction,
    /// The key that was not used for the longest time.
    AllKeysLru,
    /// The key that is used least frequently.
    AllKeysLfu,
    /// Of the keys with a deadline, the one that ends first.
    VolatileTtl,
}

impl Policy {
    /// All policies.
    pub const ALL: [Self; 4] = [Self::NoEviction, Self::AllKeysLru, Self::AllKeysLfu, Self::VolatileTtl];

    /// Its name in Redis' configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::NoEviction => "noeviction",
            Self::AllKeysLru => "allkeys-lru",
            Self::AllKeysLfu => "allkeys-lfu",
            Self::VolatileTtl => "volatile-ttl",
        }
    }

    /// How willingly a key is evicted at `now`: the greatest goes first. None if this policy never evicts it.
    pub(super) fn pressure(self, access: Access, deadline: Option<TimestampMs>, now: SinceMs) -> Option<u64> {
        match self {
            Self::NoEviction => None,
            Self::AllKeysLru => Some(access.idle_s(now).into()),
            Self::AllKeysLfu => Some(u8::MAX.saturating_sub(access.frequency(now)).into()),
            // The sign bit flipped orders signed times as unsigned numbers; the complement puts the earliest first.
            Self::VolatileTtl => deadline.map(|deadline| !(deadline.0.cast_unsigned() ^ (1 << 63))),
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// No policy has this name.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("unknown eviction policy {0:?}; known are noeviction, allkeys-lru, allkeys-lfu and volatile-ttl")]
pub struct UnknownPolicy(pub String);

impl FromStr for Policy {
    type Err = UnknownPolicy;

    fn from_str(name: &str) -> Result<Self, UnknownPolicy> {
        let named = Self::ALL.into_iter().find(|policy| policy.name().eq_ignore_ascii_case(name));
        named.ok_or_else(|| UnknownPolicy(name.to_owned()))
    }
}
