//! The wheel against an ordered map, under clocks that crawl, leap and go back.

use super::{TimerId, Wheel, slots::LEVEL_BITS};
use crate::id::TimestampMs;
use proptest::{collection::vec, prelude::*, sample::Index};
use std::collections::BTreeMap;

const DAY_MS: i64 = 24 * 3_600_000;

#[derive(Clone, Debug)]
enum Step {
    Insert(i64),
    Cancel(Index),
    Reschedule(Index, i64),
    /// Moves the clock and takes what is due, or so much of it.
    Advance(i64, Option<usize>),
}

/// Distances at every resolution, and near the ends of the levels.
fn distance() -> impl Strategy<Value = i64> {
    prop_oneof![
        4 => -5..5i64,
        4 => -100..200i64,
        4 => (0..11u32, -2..=2i64).prop_map(|(level, off)| (1i64 << (level * LEVEL_BITS).min(62)).saturating_add(off)),
        4 => -DAY_MS..40 * DAY_MS,
        1 => any::<i64>(),
        1 => prop_oneof![Just(i64::MAX), Just(i64::MIN)],
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => distance().prop_map(Step::Insert),
        2 => any::<Index>().prop_map(Step::Cancel),
        2 => (any::<Index>(), distance()).prop_map(|(at, by)| Step::Reschedule(at, by)),
        4 => (distance(), proptest::option::weighted(0.2, 0..3usize)).prop_map(|(by, most)| Step::Advance(by, most)),
        2 => (-300..300i64).prop_map(|by| Step::Advance(by, None)),
    ]
}

/// The wheel beside what it should hold: handle to timer and deadline.
struct World {
    wheel: Wheel,
    entries: BTreeMap<u32, (TimerId, TimestampMs)>,
    now: i64,
    /// The time of the last advance.
    advanced: i64,
    last_id: u32,
}

impl World {
    fn at(now: i64) -> Self {
        Self { wheel: Wheel::new(), entries: BTreeMap::new(), now, advanced: i64::MIN, last_id: 0 }
    }

    fn entry(&self, at: &Index) -> Option<(u32, TimerId)> {
        let at = at.index(self.entries.len().max(1));
        self.entries.iter().nth(at).map(|(id, (timer, _))| (*id, *timer))
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Insert(by) => {
                let deadline = TimestampMs(self.now.saturating_add(*by));
                self.last_id += 1;
                let timer = self.wheel.insert(deadline, self.last_id);
                self.entries.insert(self.last_id, (timer, deadline));
            }
            Step::Cancel(at) => {
                if let Some((id, timer)) = self.entry(at) {
                    assert_eq!(self.wheel.cancel(timer), Some(id));
                    assert_eq!(self.wheel.cancel(timer), None, "it is gone");
                    assert!(!self.wheel.reschedule(timer, TimestampMs(0)), "it is gone");
                    self.entries.remove(&id);
                }
            }
            Step::Reschedule(at, by) => {
                if let Some((id, timer)) = self.entry(at) {
                    let deadline = TimestampMs(self.now.saturating_add(*by));
                    assert!(self.wheel.reschedule(timer, deadline));
                    self.entries.insert(id, (timer, deadline));
                }
            }
            Step::Advance(by, most) => {
                self.now = self.now.saturating_add(*by);
                self.advanced = self.now;
                let now = TimestampMs(self.now);
                let most = most.unwrap_or(usize::MAX);
                let due: Vec<_> = self.wheel.advance(now).take(most).collect();
                for (deadline, id) in &due {
                    assert_eq!(self.entries.remove(id).map(|(_, at)| at), Some(*deadline), "it was there, once");
                    assert!(*deadline <= now, "nothing fires early");
                }
                if due.len() < most {
                    assert!(self.entries.values().all(|(_, deadline)| *deadline > now), "all that is due fires");
                    assert!(self.wheel.next().is_none_or(|next| next > now), "the next alarm makes progress");
                }
            }
        }
        assert_eq!(self.wheel.len() as usize, self.entries.len());
        assert_eq!(self.wheel.is_empty(), self.wheel.memory_bytes() == 0, "memory is allocated for entries alone");
        let first = self.entries.values().map(|(_, deadline)| *deadline).min();
        assert!(self.wheel.next() <= first, "nothing is due before the next alarm");
        assert_eq!(self.wheel.next().is_some(), first.is_some());
        if let (Some(next), Some(first)) = (self.wheel.next(), first) {
            let is_due = first.0 <= self.advanced;
            let early = i128::from(first.0) - i128::from(next.0);
            assert!(is_due || early < slot_width_ms(self.advanced, first.0), "the alarm is early by {early} ms");
        }
    }
}

/// The width of the slot for `deadline` in a wheel at `now`: they share what is coarser than its level.
fn slot_width_ms(now: i64, deadline: i64) -> i128 {
    let from_start = |time: i64| i128::from(time) - i128::from(i64::MIN);
    let coarser = |width: &i128| from_start(now) / (width * 64) == from_start(deadline) / (width * 64);
    (0..).map(|level| 64i128.pow(level)).find(coarser).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn what_fires_is_what_is_due_under_any_clock(start in distance(), steps in vec(step(), 0..120)) {
        let mut world = World::at(start);
        steps.iter().for_each(|step| world.step(step));
        // From the beginning of time to its end are two steps of this size, and one more millisecond.
        (0..3).for_each(|_| world.step(&Step::Advance(i64::MAX, None)));
        prop_assert!(world.wheel.is_empty(), "nothing is lost");
    }

    #[test]
    fn an_alarm_is_exact_where_nothing_was_cancelled(start in 0..DAY_MS, distances in vec(1..40 * DAY_MS, 1..60)) {
        let mut wheel = Wheel::new();
        prop_assert_eq!(wheel.advance(TimestampMs(start)).count(), 0);
        let mut deadlines: Vec<_> = distances.iter().map(|by| TimestampMs(start + by)).collect();
        for (id, deadline) in deadlines.iter().enumerate() {
            wheel.insert(*deadline, id as u32);
        }
        deadlines.sort();
        deadlines.dedup();
        for deadline in deadlines {
            prop_assert_eq!(wheel.next(), Some(deadline));
            prop_assert_ne!(wheel.advance(deadline).count(), 0);
        }
        prop_assert_eq!(wheel.next(), None);
    }
}

#[test]
fn a_cancelled_entry_wakes_the_host_at_most_once_a_level() {
    let mut wheel = Wheel::new();
    assert_eq!(wheel.advance(TimestampMs(1_000)).count(), 0);
    let last = TimestampMs(31 * DAY_MS);
    wheel.insert(last, 1);
    for at in 30 * DAY_MS..30 * DAY_MS + 1_000 {
        let timer = wheel.insert(TimestampMs(at), 2);
        assert_eq!(wheel.cancel(timer), Some(2));
    }
    let mut wakes = 0;
    while let Some(next) = wheel.next() {
        wakes += 1;
        assert_eq!(wheel.advance(next).count(), usize::from(next == last));
    }
    assert!((2..=6).contains(&wakes), "{wakes} wakes");
}

#[test]
fn memory_is_twenty_bytes_an_entry_and_goes_with_the_last() {
    let mut wheel = Wheel::new();
    let timers: Vec<_> = (0..10_000).map(|id| wheel.insert(TimestampMs(i64::from(id)), id)).collect();
    assert!(wheel.memory_bytes() <= 10_000 * 25 + 11 * 784, "{} bytes", wheel.memory_bytes());
    let before = wheel.memory_bytes();
    for (id, timer) in timers.iter().enumerate().skip(1) {
        assert_eq!(wheel.cancel(*timer), Some(id as u32));
    }
    for id in 1..10_000 {
        wheel.insert(TimestampMs(5), id);
    }
    assert_eq!(wheel.memory_bytes(), before, "free entries are used again");
    assert_eq!(wheel.advance(TimestampMs(10_000)).count(), 10_000);
    assert_eq!(wheel.memory_bytes(), 0);
}
