//! What a hub may hold: the uses of keys, what is forgotten to make room, and what is refused where nothing may go.
//!
//! Eviction is local and never a delete. A key may go when the origin can give it back as it is: it is held, nothing of it
//! is unacknowledged, no leaf follows it, no request waits for it, and no loss of the origin's is being made good in its
//! slot. Nor may a key go in which this hub counted: its share of a counter is a running sum that it alone writes, and an
//! increment on a key whose share was forgotten would begin a second sum, of which one would be lost.
//!
//! Random draws come from a stream that follows from the host's seed, so that the same inputs evict the same keys.

use super::{Hub, HubEffect, MemoryLimit, downlink::KEYS_CHUNK, keyspace::KeyNo, slots::SlotState};
use crate::{
    eviction::{Access, Candidate, Policy, Pool, SAMPLES, SinceMs},
    id::{Key, TimestampMs},
    message::HubToOrigin,
    random::Random,
    state::{Effect, Operation},
};

/// How many keys one input may evict: a few milliseconds' work.
const EVICTIONS_MAX: usize = 4096;

/// How many draws may come to nothing before the hub takes it that nothing can go.
const MISSES_MAX: usize = 16;

/// What a hub knows of its bound.
#[derive(Debug)]
pub(super) struct Memory {
    limit: Option<MemoryLimit>,
    pool: Pool<KeyNo>,
    /// Whether the last input ended above the bound, so that what may grow is refused.
    pub(super) is_full: bool,
    /// Whether the last input ended above the bound though more could have gone.
    pub(super) is_behind: bool,
    /// Keys evicted since the machine was made.
    pub(super) evicted: u64,
    /// Commands and operations refused since the machine was made.
    pub(super) refused: u64,
    /// What sessions with their verdicts and remembered answers take.
    pub(super) beside_bytes: usize,
}

impl Memory {
    pub(super) fn new(limit: Option<MemoryLimit>) -> Self {
        let policy = limit.map(|limit| limit.policy).unwrap_or_default();
        Self {
            limit,
            pool: Pool::new(policy),
            is_full: false,
            is_behind: false,
            evicted: 0,
            refused: 0,
            beside_bytes: 0,
        }
    }

    /// What the hub may hold.
    pub(super) fn limit(&self) -> Option<MemoryLimit> {
        self.limit
    }

    /// Counts what is held beside keys: something that took `before` bytes takes `after`.
    pub(super) fn count_beside(&mut self, before: usize, after: usize) {
        self.beside_bytes = self.beside_bytes.saturating_add(after).saturating_sub(before);
    }
}

/// The clock by which uses are stamped, and the random numbers that LFU and the draws need.
#[derive(Debug)]
pub(super) struct Uses {
    policy: Policy,
    now: SinceMs,
    /// The stamp of a key that is new at this moment.
    new: Access,
    random: Random,
}

impl Uses {
    pub(super) fn new(policy: Policy, seed: u64) -> Self {
        let now = SinceMs(0);
        Self { policy, now, new: Access::new(policy, now), random: Random::new(seed) }
    }

    /// Sets the clock. Constant, as is all here.
    pub(super) fn set_now(&mut self, now: TimestampMs) {
        self.now = SinceMs(u64::try_from(now.0).unwrap_or(0));
        self.new = Access::new(self.policy, self.now);
    }

    /// The stamp of a key that is new.
    pub(super) fn new_key(&self) -> Access {
        self.new
    }

    /// The stamp of a key after one more use.
    pub(super) fn used(&mut self, access: Access) -> Access {
        match self.policy {
            Policy::AllKeysLfu => {
                let random = self.random.short_bits();
                access.used(self.policy, self.now, random)
            }
            Policy::NoEviction | Policy::AllKeysLru | Policy::VolatileTtl => self.new,
        }
    }

    /// A random number below `bound`; zero if that is zero.
    pub(super) fn below(&mut self, bound: u32) -> u32 {
        self.random.below(bound)
    }

    /// 64 random bits.
    pub(super) fn entropy(&mut self) -> u64 {
        self.random.bits()
    }
}

impl Hub {
    /// Forgets keys until the hub is within its bound, as far as keys may go.
    pub(super) fn make_room(&mut self) {
        let Some(limit) = self.memory.limit else { return };
        (self.memory.is_full, self.memory.is_behind) = (false, false);
        if self.memory_bytes() <= limit.bytes_max {
            return;
        }
        let mut gone: Vec<Key> = Vec::new();
        let mut misses = if limit.policy == Policy::NoEviction { MISSES_MAX } else { 0 };
        while self.memory_bytes() > limit.bytes_max && misses < MISSES_MAX && gone.len() < EVICTIONS_MAX {
            match self.draw_victim() {
                Some(no) => {
                    gone.push(self.keys.key(no));
                    self.forget_key(no);
                    self.memory.evicted = self.memory.evicted.saturating_add(1);
                    misses = 0;
                }
                None => misses = misses.saturating_add(1),
            }
        }
        self.memory.is_full = self.memory_bytes() > limit.bytes_max;
        self.memory.is_behind = self.memory.is_full && misses < MISSES_MAX;
        self.unsubscribe(&gone);
    }

    /// Whether what may take more memory is to be refused; counts that it was.
    pub(super) fn refuses_growth(&mut self) -> bool {
        if self.memory.is_full {
            self.memory.refused = self.memory.refused.saturating_add(1);
        }
        self.memory.is_full
    }

    /// Tells the daemon that these keys are not held any more.
    pub(super) fn unsubscribe(&mut self, gone: &[Key]) {
        let Some(origin) = &self.origin else { return };
        for chunk in gone.chunks(KEYS_CHUNK) {
            self.effects.push(HubEffect::ToOrigin(origin.connection, HubToOrigin::Unsubscribe(chunk.to_vec())));
        }
    }

    /// Whether a leaf follows or watches a key.
    pub(super) fn is_followed(&self, key: &Key) -> bool {
        self.leaves.want(key)
    }

    /// Whether nothing but what its entry tells keeps a key here. Linear in the requests that wait, also for the origin's answer.
    pub(super) fn is_unneeded(&self, no: KeyNo, key: &Key) -> bool {
        let is_lost = self.slots.at(self.keys.slot(no)).is_some_and(SlotState::is_lost);
        let is_awaited = || self.waiting.iter().any(|waiting| waiting.keys().any(|wanted| wanted == key));
        let is_met_later = || self.remotes.values().any(|remote| remote.progress().keys().any(|wanted| wanted == key));
        !is_lost && !self.is_followed(key) && !is_awaited() && !is_met_later()
    }

    /// Draws a few keys, and names the best of these and earlier ones if it may go.
    fn draw_victim(&mut self) -> Option<KeyNo> {
        let now = self.keys.uses.now;
        for _ in 0..SAMPLES {
            let Some(no) = self.keys.draw_evictable() else { break };
            let (access, deadline) = (self.keys.entry(no).access, self.keys.view(no).deadline().at());
            self.memory.pool.offer(Candidate { id: no, access, deadline }, now);
        }
        let keys = &self.keys;
        let no = self.memory.pool.evict(now, |no| {
            let entry = keys.find_entry(*no).filter(|entry| entry.is_evictable())?;
            Some((entry.access, keys.view(*no).deadline().at()))
        })?;
        self.is_unneeded(no, &self.keys.key(no)).then_some(no)
    }
}

/// Whether an operation may take more memory than before.
pub(super) fn may_grow(operation: &Operation) -> bool {
    operation.effects.iter().any(|effect| match effect {
        Effect::Write { base, .. } => base.is_some(),
        Effect::Add { .. } | Effect::Spend { .. } => true,
        Effect::Wipe { .. } | Effect::Deadline { .. } | Effect::Touch { .. } => false,
    })
}
