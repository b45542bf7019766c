//! Hit rates on a Zipf trace, against exact LRU and LFU and against evicting at random.

use super::*;
use std::collections::{BTreeMap, BTreeSet};

/// SplitMix64, the upper half of each number.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 32) as u32
    }

    fn below(&mut self, bound: usize) -> usize {
        self.next() as usize % bound
    }
}

const KEYS: usize = 10_000;
const CAPACITY: usize = 1_000;
const REQUESTS: usize = 100_000;
/// A hundred requests a second, so that LRU's seconds have ties.
const PAUSE_MS: u64 = 10;

/// Requests of which the k-th most popular key gets a share of 1 / k^0.9. Halfway the popularities are dealt anew, where
/// `shifts`: old favourites have to be forgotten.
fn zipf(shifts: bool) -> Vec<usize> {
    let mut cumulative = Vec::with_capacity(KEYS);
    let mut sum = 0.0;
    for rank in 1..=KEYS {
        sum += 1.0 / (rank as f64).powf(0.9);
        cumulative.push(sum);
    }
    let mut random = Random(42);
    let mut key = |at: usize| {
        let point = f64::from(random.next()) / f64::from(u32::MAX) * sum;
        let rank = cumulative.partition_point(|&upto| upto < point).min(KEYS - 1);
        if shifts && at >= REQUESTS / 2 { (rank + KEYS / 2) % KEYS } else { rank }
    };
    (0..REQUESTS).map(&mut key).collect()
}

/// The share of requests for a key that is there.
fn hit_rate(trace: &[usize], mut request: impl FnMut(usize, SinceMs) -> bool) -> f64 {
    let hits = trace.iter().enumerate().filter(|(at, key)| request(**key, SinceMs(*at as u64 * PAUSE_MS))).count();
    hits as f64 / trace.len() as f64
}

/// A cache that evicts by the pool.
fn approximate(policy: Policy, trace: &[usize]) -> f64 {
    let (mut pool, mut random) = (Pool::new(policy), Random(1));
    let mut cache = Sampled::default();
    hit_rate(trace, |key, now| {
        if let Some(access) = cache.accesses.get_mut(&key) {
            *access = access.used(policy, now, random.next());
            return true;
        }
        if cache.keys.len() == CAPACITY {
            for _ in 0..SAMPLES {
                let id = cache.keys[random.below(CAPACITY)];
                pool.offer(Candidate { id, access: cache.accesses[&id], deadline: None }, now);
            }
            let evicted = pool.evict(now, |id| cache.accesses.get(id).map(|access| (*access, None)));
            cache.remove(evicted.expect("keys were offered"));
        }
        cache.insert(key, Access::new(policy, now));
        false
    })
}

/// Keys that can be drawn at random.
#[derive(Default)]
struct Sampled {
    keys: Vec<usize>,
    accesses: BTreeMap<usize, Access>,
}

impl Sampled {
    fn insert(&mut self, key: usize, access: Access) {
        self.keys.push(key);
        self.accesses.insert(key, access);
    }

    fn remove(&mut self, key: usize) {
        assert!(self.accesses.remove(&key).is_some());
        self.keys.retain(|known| *known != key);
    }
}

/// Evicts the key whose rank is least: the last use, or the number of uses since it came with ties by last use.
fn exact(trace: &[usize], rank: impl Fn(u64, usize) -> (u64, usize)) -> f64 {
    let (mut order, mut ranks, mut at) = (BTreeSet::new(), BTreeMap::<usize, (u64, usize)>::new(), 0);
    hit_rate(trace, |key, _| {
        at += 1;
        let known = ranks.get(&key).copied();
        if let Some(known) = known {
            order.remove(&(known, key));
        } else if ranks.len() == CAPACITY {
            let (_, evicted) = order.pop_first().expect("the cache is full");
            ranks.remove(&evicted);
        }
        let next = rank(known.map_or(0, |(uses, _)| uses), at);
        ranks.insert(key, next);
        order.insert((next, key));
        known.is_some()
    })
}

fn exact_lru(trace: &[usize]) -> f64 {
    exact(trace, |_, at| (0, at))
}

fn exact_lfu(trace: &[usize]) -> f64 {
    exact(trace, |uses, at| (uses + 1, at))
}

fn at_random(trace: &[usize]) -> f64 {
    let (mut cache, mut random) = (Sampled::default(), Random(2));
    hit_rate(trace, |key, now| {
        if cache.accesses.contains_key(&key) {
            return true;
        }
        if cache.keys.len() == CAPACITY {
            cache.remove(cache.keys[random.below(CAPACITY)]);
        }
        cache.insert(key, Access::new(Policy::NoEviction, now));
        false
    })
}

#[test]
fn sampled_lru_hits_nearly_as_often_as_exact_lru() {
    let trace = zipf(false);
    let (sampled, exact, random) = (approximate(Policy::AllKeysLru, &trace), exact_lru(&trace), at_random(&trace));
    println!("hit rates: sampled LRU {sampled:.4}, exact LRU {exact:.4}, random {random:.4}");
    assert!((sampled - exact).abs() < 0.01, "sampled {sampled}, exact {exact}");
    assert!(sampled > random + 0.02, "sampled {sampled}, random {random}");
}

#[test]
fn sampled_lfu_hits_nearly_as_often_as_exact_lfu() {
    let trace = zipf(false);
    let (sampled, exact, lru) = (approximate(Policy::AllKeysLfu, &trace), exact_lfu(&trace), exact_lru(&trace));
    println!("hit rates: sampled LFU {sampled:.4}, exact LFU {exact:.4}, exact LRU {lru:.4}");
    assert!((sampled - exact).abs() < 0.05, "sampled {sampled}, exact {exact}");
    assert!(sampled > lru + 0.01, "LFU pays on a steady trace: sampled {sampled}, LRU {lru}");
}

#[test]
fn sampled_lfu_forgets_old_favourites() {
    let (trace, steady) = (zipf(true), approximate(Policy::AllKeysLfu, &zipf(false)));
    let (sampled, exact) = (approximate(Policy::AllKeysLfu, &trace), exact_lfu(&trace));
    println!("hit rates when favourites change: sampled LFU {sampled:.4} (steady {steady:.4}), exact LFU {exact:.4}");
    assert!(sampled > steady - 0.05, "changed {sampled}, steady {steady}");
    assert!(sampled > exact + 0.1, "exact counts never forget: sampled {sampled}, exact {exact}");
}

#[test]
fn policies_are_parsed_by_redis_names_in_any_case() {
    for policy in Policy::ALL {
        assert_eq!(policy.name().parse(), Ok(policy));
        assert_eq!(policy.name().to_uppercase().parse(), Ok(policy));
    }
}

#[test]
fn an_unknown_policy_is_told_which_are_known() {
    let error = "volatile-lru".parse::<Policy>().unwrap_err().to_string();
    assert!(Policy::ALL.iter().all(|policy| error.contains(policy.name())), "{error}");
}
