//! The windows of a limit: which to read, what their counters are called, how long they must live.
//!
//! Invariant: names are stable. A counter's field is a letter for what it counts, the window's width and its start, both
//! in milliseconds and decimal: `w60000:1700000040000`. The width is part of the name, so that a limit which is given
//! another window does not read counts of the old one. Fixed windows and the slots of sliding ones both count spends: a key is for
//! one limit.

use super::{Algorithm, Limit, WINDOW_MS_MAX, bucket, counting};
use crate::{id::TimestampMs, limits::CLOCK_BOUND_MS};
use bytes::Bytes;

/// What a window's counter counts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Counts {
    /// What was spent within the window; `w` in its name.
    Spends,
    /// How much of the refills of this window is booked, by spends in it or earlier; `b` in its name.
    Bookings,
}

/// One window of a limit.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Window {
    /// What its counter counts.
    pub counts: Counts,
    /// Its length in milliseconds.
    pub width_ms: i64,
    /// Its first millisecond; a multiple of its width.
    pub start: TimestampMs,
}

impl Window {
    /// The window of this width in which `at` lies.
    pub(super) fn at(counts: Counts, width_ms: i64, at: TimestampMs) -> Self {
        let into_ms = at.0.checked_rem_euclid(width_ms).unwrap_or(0);
        Self { counts, width_ms, start: at.plus_ms(into_ms.saturating_neg()) }
    }

    /// The window this many places later, or earlier where `places` is negative.
    pub(super) fn shifted(self, places: i64) -> Self {
        Self { start: self.start.plus_ms(self.width_ms.saturating_mul(places)), ..self }
    }

    /// The first millisecond after it.
    pub fn end(self) -> TimestampMs {
        self.start.plus_ms(self.width_ms)
    }

    /// The name of its counter's field.
    pub fn field(self) -> Bytes {
        let mut name = Name::default();
        name.put_number_before(self.start.0);
        name.put_before(b':');
        name.put_number_before(self.width_ms);
        name.put_before(match self.counts {
            Counts::Spends => b'w',
            Counts::Bookings => b'b',
        });
        Bytes::copy_from_slice(name.bytes())
    }

    /// The window whose counter has this name, if it is one that [`Window::field`] makes.
    pub fn from_field(field: &[u8]) -> Option<Self> {
        let (letter, rest) = field.split_first()?;
        let counts = match letter {
            b'w' => Counts::Spends,
            b'b' => Counts::Bookings,
            _ => return None,
        };
        let colon = rest.iter().position(|byte| *byte == b':')?;
        let (width_ms, start) = (rest.get(..colon)?, rest.get(colon.saturating_add(1)..)?);
        let width_ms = number(width_ms).filter(|width_ms| *width_ms >= 1)?;
        let window = Self { counts, width_ms, start: TimestampMs(number(start)?) };
        // No start inside a window.
        (Self::at(counts, width_ms, window.start) == window).then_some(window)
    }
}

/// A name that is written from its end. Most decisions write one or two, which by a formatter would take a seventh of their time.
struct Name {
    text: [u8; Self::BYTES_MAX],
    from: usize,
}

impl Default for Name {
    fn default() -> Self {
        Self { text: [0; Self::BYTES_MAX], from: Self::BYTES_MAX }
    }
}

impl Name {
    /// Two numbers of 64 bits with their signs, a letter and a colon.
    const BYTES_MAX: usize = 42;

    fn put_before(&mut self, byte: u8) {
        self.from = self.from.saturating_sub(1);
        if let Some(place) = self.text.get_mut(self.from) {
            *place = byte;
        }
    }

    fn put_number_before(&mut self, number: i64) {
        let mut left = number.unsigned_abs();
        loop {
            self.put_before(b'0' | (left % 10) as u8);
            left /= 10;
            if left == 0 {
                break;
            }
        }
        if number < 0 {
            self.put_before(b'-');
        }
    }

    fn bytes(&self) -> &[u8] {
        self.text.get(self.from..).unwrap_or_default()
    }
}

/// A decimal number in the one way in which it is written: without a plus sign, or zeros before it.
fn number(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    if digits.first().is_none_or(|first| *first == b'0') && text != b"0" {
        return None;
    }
    let number = digits.iter().try_fold(0_i64, |number, byte| {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit <= 9)?;
        number.checked_mul(10)?.checked_add(digit.into())
    })?;
    Some(if digits.len() < text.len() { number.saturating_neg() } else { number })
}

impl Limit {
    /// The windows whose counters a decision at `now` reads, earliest first: one, up to 65 of a sliding window, or up to 49 of a
    /// bucket.
    pub fn windows(&self, now: TimestampMs) -> impl Iterator<Item = Window> + use<> {
        let (current, (before, after)) = (self.window_at(now), self.reach(now));
        (before.saturating_neg()..=after).map(move |places| current.shifted(places))
    }

    /// How many windows a decision at `now` reads.
    pub(crate) fn windows_read(&self, now: TimestampMs) -> usize {
        let (before, after) = self.reach(now);
        usize::try_from(before.saturating_add(after).saturating_add(1)).unwrap_or(usize::MAX)
    }

    /// How many windows before the one in which `now` lies a decision reads, and how many after it.
    fn reach(&self, now: TimestampMs) -> (i64, i64) {
        match self.algorithm {
            Algorithm::FixedWindow | Algorithm::SlidingWindow => {
                let current = self.window_at(now);
                let first = self.window_at(now.plus_ms(counting::lingers_ms(self).saturating_neg()));
                (current.start.since_ms(first.start).checked_div(current.width_ms).unwrap_or(0), 0)
            }
            Algorithm::TokenBucket => bucket::Shape::of(self).reach(),
        }
    }

    /// Until when the counter of `window` must live: no decision made at this time or later reads it, by the clock of
    /// any node within the clock bound.
    pub fn expires_at(&self, window: Window) -> TimestampMs {
        let last = match self.algorithm {
            Algorithm::FixedWindow | Algorithm::SlidingWindow => window.end().plus_ms(counting::lingers_ms(self)),
            Algorithm::TokenBucket => window.shifted(bucket::Shape::of(self).reach().0).end(),
        };
        last.plus_ms(CLOCK_BOUND_MS)
    }

    /// The window in which `now` lies.
    pub(super) fn window_at(&self, now: TimestampMs) -> Window {
        match self.algorithm {
            Algorithm::FixedWindow | Algorithm::SlidingWindow => {
                Window::at(Counts::Spends, counting::slot_ms(self), now)
            }
            Algorithm::TokenBucket => Window::at(Counts::Bookings, bucket::Shape::of(self).slot_ms, now),
        }
    }

    /// The length of a window, or of a bucket's interval, as a difference of times.
    pub(super) fn width_ms(&self) -> i64 {
        i64::try_from(self.window_ms.get()).unwrap_or(i64::MAX)
    }
}

// A window's length is a difference of times, and so is the reach of a bucket's slots.
const _: () = assert!(WINDOW_MS_MAX < (i64::MAX / 1000) as u64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_these_bytes() {
        let limit = Limit::fixed_window(5, 60_000).unwrap();
        let names: Vec<_> = limit.windows(TimestampMs(1_700_000_000_000)).map(Window::field).collect();
        assert_eq!(names, ["w60000:1699999980000"]);
        let limit = Limit::token_bucket(10, 1_000, 20).unwrap();
        let names: Vec<_> = limit.windows(TimestampMs(3_500)).map(Window::field).collect();
        let starts = ["-1000", "0", "1000", "2000", "3000", "4000", "5000"];
        assert_eq!(names, starts.map(|start| format!("b1000:{start}")));
    }

    #[test]
    fn a_name_reads_back_as_its_window() {
        for (counts, width_ms, at) in [
            (Counts::Spends, 1, 0),
            (Counts::Bookings, 60_000, 99_999),
            (Counts::Spends, 7, -5),
            (Counts::Spends, i64::MAX, -1),
            (Counts::Bookings, 1, i64::MIN + 1),
        ] {
            let window = Window::at(counts, width_ms, TimestampMs(at));
            assert_eq!(Window::from_field(&window.field()), Some(window));
        }
    }

    #[test]
    fn other_fields_are_no_windows() {
        for field in [
            "", "w", "w1", "w:0", "x1:0", "w0:0", "w-1:0", "w+1:0", "w01:0", "w10:5", "w10:+0", "w10:-0", "w10:00",
            "w10:10 ",
        ] {
            assert_eq!(Window::from_field(field.as_bytes()), None, "{field}");
        }
    }

    #[test]
    fn a_sliding_window_reads_every_slot_that_it_touches() {
        let starts = |window_ms, now| -> Vec<i64> {
            let limit = Limit::sliding_window(5, window_ms).unwrap();
            limit.windows(TimestampMs(now)).map(|window| window.start.0).collect()
        };
        // Slots of a second: the window of 64 s up to 99,999 begins with a slot.
        assert_eq!(starts(64_000, 99_999), (36..=99).map(|slot| slot * 1_000).collect::<Vec<_>>());
        assert_eq!(starts(64_000, 99_998), (35..=99).map(|slot| slot * 1_000).collect::<Vec<_>>());
        // A second has four slots.
        assert_eq!(starts(1_000, 10_250), [9_250, 9_500, 9_750, 10_000, 10_250]);
        // Slots of a millisecond: exactly the log.
        assert_eq!(starts(3, 10), [8, 9, 10]);
    }

    #[test]
    fn sixteen_slots_hold_the_largest_burst() {
        let limit = Limit::token_bucket(1, 1_000, 1_000_000).unwrap();
        assert_eq!(limit.windows(TimestampMs(0)).count(), 49);
    }
}
