//! What the scripts of `@upstash/ratelimit` ask for, as values.
//!
//! No script is run here. Those that the package publishes are recognised (`parse/script.rs`) and answered by
//! `exec/script.rs` with what Redis would answer, over states that merge. Times and lengths of windows are the client's.

use bytes::Bytes;

/// Where in its window a request lies, by its client's clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// When it was made, in milliseconds since 1970.
    pub now_ms: i64,
    /// The length of a window in milliseconds; positive.
    pub window_ms: i64,
}

impl Place {
    /// The share of the window before that still counts, rounded down as the scripts round it: in floats.
    pub fn weighted(&self, previous: i64) -> i64 {
        (self.left() * previous as f64).floor() as i64
    }

    /// The part of the window before that lies within one window's length, from 1 to 0.
    pub fn left(&self) -> f64 {
        1.0 - self.now_ms.rem_euclid(self.window_ms.max(1)) as f64 / self.window_ms.max(1) as f64
    }
}

/// A script with its arguments. A dynamic limit is a last key of its own, whose value goes before the argument.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Script {
    /// Counts in the window's key, and says how much that comes to and what the limit is.
    FixedWindow {
        /// The limit, unless a key sets another one.
        limit: i64,
        /// How long the key lives from its first count, in milliseconds; positive.
        window_ms: i64,
        /// What is counted; below zero it is given back.
        by: i64,
    },
    /// Says what is left in the window's key, and the limit.
    FixedWindowLeft {
        /// The limit, unless a key sets another one.
        limit: i64,
    },
    /// Counts in the key of the current window, unless it and the one before come to the limit.
    SlidingWindow {
        /// The limit, unless a key sets another one.
        limit: i64,
        /// When.
        place: Place,
        /// What is counted; below zero it is given back.
        by: i64,
    },
    /// Says what is left of both windows, and the limit.
    SlidingWindowLeft {
        /// The limit, unless a key sets another one.
        limit: i64,
        /// When.
        place: Place,
    },
    /// Takes tokens from a bucket, which is a hash.
    TokenBucket {
        /// What the bucket holds, unless a key says otherwise.
        capacity: i64,
        /// The time between refills in milliseconds; positive.
        interval_ms: i64,
        /// What each brings; positive.
        refill: i64,
        /// The time by the client's clock, in milliseconds since 1970.
        now_ms: i64,
        /// What is taken; below zero it is given back.
        by: i64,
    },
    /// Says what a bucket held when it was last asked.
    TokenBucketLeft {
        /// What the bucket holds, unless a key says otherwise.
        capacity: i64,
    },
    /// Counts in the window's key, and says how much that comes to.
    CachedFixedWindow {
        /// How long the key lives from its first count, in milliseconds; positive.
        window_ms: i64,
        /// What is counted.
        by: i64,
    },
    /// Says what was counted in the window's key.
    CachedFixedWindowUsed,
    /// Of several regions that the client asks itself: notes the request in the window's hash, and lists that.
    RegionsFixedWindow {
        /// The request's name.
        request: Bytes,
        /// How long the key lives from its first request, in milliseconds; positive.
        window_ms: i64,
        /// What the request costs.
        by: i64,
    },
    /// Lists the window's hash.
    RegionsFixedWindowUsed,
    /// Notes the request in the hash of the current window, unless it and the one before come to more than the limit.
    RegionsSlidingWindow {
        /// The limit.
        limit: i64,
        /// When.
        place: Place,
        /// The request's name.
        request: Bytes,
        /// What the request costs.
        by: i64,
    },
    /// Says what both windows' hashes come to.
    RegionsSlidingWindowUsed {
        /// When.
        place: Place,
    },
    /// Says which of these are in a deny list, and how long a list of addresses still holds.
    DenyList {
        /// What may be denied.
        members: Vec<Bytes>,
    },
    /// Deletes every key that matches.
    Reset {
        /// A glob pattern, which need not have a star.
        pattern: Bytes,
    },
}

impl Script {
    /// Whether it may change a key.
    pub fn is_write(&self) -> bool {
        self.may_grow() || matches!(self, Self::Reset { .. })
    }

    /// Whether it may take more memory than before.
    pub fn may_grow(&self) -> bool {
        match self {
            Self::FixedWindow { .. }
            | Self::SlidingWindow { .. }
            | Self::TokenBucket { .. }
            | Self::CachedFixedWindow { .. }
            | Self::RegionsFixedWindow { .. }
            | Self::RegionsSlidingWindow { .. }
            | Self::DenyList { .. } => true,
            Self::FixedWindowLeft { .. }
            | Self::SlidingWindowLeft { .. }
            | Self::TokenBucketLeft { .. }
            | Self::CachedFixedWindowUsed
            | Self::RegionsFixedWindowUsed
            | Self::RegionsSlidingWindowUsed { .. }
            | Self::Reset { .. } => false,
        }
    }

    /// Whether it asks about a limit, which is answered by what the node counted itself where the origin is away. The
    /// others would take what is not known for absent.
    pub fn is_limit(&self) -> bool {
        !matches!(self, Self::DenyList { .. } | Self::Reset { .. })
    }

    /// The pattern of the keys that it means, where these are not among its arguments.
    pub fn pattern(&self) -> Option<&Bytes> {
        match self {
            Self::Reset { pattern } => Some(pattern),
            _ => None,
        }
    }
}
