//! The best candidates seen so far, from which the next key to evict is taken.
//!
//! A few random keys alone give a rough order; remembering the best of earlier draws gives one that is close to exact, as
//! the tests measure. Invariant: at most [`POOL_LEN`] candidates, ordered by pressure, each identity once.

use super::{Access, Policy, SinceMs};
use crate::id::TimestampMs;

/// How many candidates a pool remembers, as Redis does.
pub const POOL_LEN: usize = 16;

/// How many random keys to offer before each eviction, as Redis does (`maxmemory-samples`).
pub const SAMPLES: usize = 5;

/// A key that may be evicted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Candidate<Id> {
    /// Whatever the caller finds its key by.
    pub id: Id,
    /// Its last access.
    pub access: Access,
    /// When it ends by itself.
    pub deadline: Option<TimestampMs>,
}

/// The candidates for eviction. It may name keys that are long gone and is never state: losing it costs a little accuracy.
#[derive(Clone, Debug)]
pub struct Pool<Id> {
    policy: Policy,
    /// By pressure, the greatest last.
    candidates: Vec<(u64, Id)>,
}

impl<Id: PartialEq> Pool<Id> {
    /// A pool that knows no candidates.
    pub fn new(policy: Policy) -> Self {
        Self { policy, candidates: Vec::with_capacity(POOL_LEN) }
    }

    /// The policy by which it chooses.
    pub fn policy(&self) -> Policy {
        self.policy
    }

    /// Takes note of a random key. Constant: at most 16 comparisons.
    pub fn offer(&mut self, candidate: Candidate<Id>, now: SinceMs) {
        let Candidate { id, access, deadline } = candidate;
        self.candidates.retain(|(_, known)| *known != id);
        if let Some(pressure) = self.policy.pressure(access, deadline, now) {
            self.insert(pressure, id);
        }
    }

    /// Takes out the key to evict now, if any is known. `present` says how a key stands at this moment, or none if it is
    /// gone. Constant: asks for each of at most 16 keys once.
    pub fn evict(
        &mut self,
        now: SinceMs,
        mut present: impl FnMut(&Id) -> Option<(Access, Option<TimestampMs>)>,
    ) -> Option<Id> {
        for (_, id) in std::mem::take(&mut self.candidates) {
            let pressure = present(&id).and_then(|(access, deadline)| self.policy.pressure(access, deadline, now));
            if let Some(pressure) = pressure {
                self.insert(pressure, id);
            }
        }
        self.candidates.pop().map(|(_, id)| id)
    }

    fn insert(&mut self, pressure: u64, id: Id) {
        let at = self.candidates.partition_point(|(known, _)| *known < pressure);
        self.candidates.insert(at, (pressure, id));
        if self.candidates.len() > POOL_LEN {
            self.candidates.remove(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(id: u32, used_s: u64, deadline: Option<i64>) -> Candidate<u32> {
        let access = Access::new(Policy::AllKeysLru, SinceMs(used_s * 1_000));
        Candidate { id, access, deadline: deadline.map(TimestampMs) }
    }

    fn evict_all(policy: Policy, offered: &[Candidate<u32>], present: &[Candidate<u32>]) -> Vec<u32> {
        let (mut pool, now) = (Pool::new(policy), SinceMs(100_000));
        offered.iter().for_each(|candidate| pool.offer(*candidate, now));
        let find = |id: &u32| present.iter().find(|c| c.id == *id).map(|c| (c.access, c.deadline));
        std::iter::from_fn(|| pool.evict(now, find)).collect()
    }

    #[test]
    fn the_longest_idle_goes_first() {
        let keys = [candidate(1, 50, None), candidate(2, 10, None), candidate(3, 90, None)];
        assert_eq!(evict_all(Policy::AllKeysLru, &keys, &keys), [2, 1, 3]);
    }

    #[test]
    fn the_earliest_deadline_goes_first_and_no_key_without_one() {
        let keys =
            [candidate(1, 0, Some(9)), candidate(2, 0, None), candidate(3, 0, Some(-9)), candidate(4, 0, Some(0))];
        assert_eq!(evict_all(Policy::VolatileTtl, &keys, &keys), [3, 4, 1]);
    }

    #[test]
    fn nothing_is_evicted_without_a_policy() {
        let keys = [candidate(1, 50, Some(1))];
        assert_eq!(evict_all(Policy::NoEviction, &keys, &keys), [0_u32; 0]);
    }

    #[test]
    fn a_key_used_since_it_was_offered_goes_last_and_one_that_is_gone_never() {
        let offered = [candidate(1, 10, None), candidate(2, 20, None), candidate(3, 30, None)];
        let present = [candidate(2, 99, None), candidate(3, 30, None)];
        assert_eq!(evict_all(Policy::AllKeysLru, &offered, &present), [3, 2]);
    }

    #[test]
    fn a_full_pool_forgets_the_least_evictable() {
        let keys: Vec<_> = (0..40_u32).map(|id| candidate(id, u64::from(id * 7 % 40), None)).collect();
        let evicted = evict_all(Policy::AllKeysLru, &keys, &keys);
        let used_s: Vec<_> = evicted.iter().map(|id| id * 7 % 40).collect();
        assert_eq!(used_s, (0..16).collect::<Vec<_>>());
    }

    #[test]
    fn a_key_offered_twice_is_evicted_once() {
        let keys = [candidate(1, 50, None), candidate(2, 10, None), candidate(1, 50, None)];
        assert_eq!(evict_all(Policy::AllKeysLru, &keys, &keys), [2, 1]);
    }
}
