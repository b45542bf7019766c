//! Clocks that are off: those of hubs, and this machine's own.
//!
//! A hub's clock stamps what its clients write. One that is off by more than the bound of healthy clocks makes its writes win
//! or lose too often; one that is further ahead than a stamp may lie is not served at all, since the core refuses its batches
//! whole. The core never alters a stamp that it receives, so all that is left to do is to tell the operator: each time is
//! counted, by hub, and once in a while it is logged.

use crate::{measure, report::HubAddress};
use headwater::{id::TimestampMs, limits::CLOCK_BOUND_MS};
use std::{collections::BTreeMap, time::Duration};
use tokio::time::Instant;

/// The time between two lines in the log about one hub.
const TOLD_INTERVAL: Duration = Duration::from_secs(600);

/// Of so many hubs it is remembered when something was last told; hubs come and go.
const TOLD_MAX: usize = 10_000;

/// What is wrong.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Wrong {
    /// It is off by more than healthy clocks are.
    Off,
    /// A stamp of it lay so far ahead that the batch was refused.
    Refused,
}

impl Wrong {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Refused => "refused",
        }
    }
}

/// What was told of which clocks.
#[derive(Debug, Default)]
pub(crate) struct Clocks {
    told: BTreeMap<(HubAddress, Wrong), Told>,
    /// When this machine's clock was last looked at, and what it showed.
    own: Option<(Instant, TimestampMs)>,
}

#[derive(Debug)]
struct Told {
    at: Instant,
    /// How often it was wrong since.
    since: u64,
}

impl Clocks {
    /// A hub said hello by a clock that differs by so much from this machine's as it is now, after it was `waited` for.
    pub(crate) fn said_hello(&mut self, hub: &HubAddress, offset_ms: i64, waited: Duration) {
        if !is_off(offset_ms, waited) {
            return;
        }
        measure::clock_wrong(hub, Wrong::Off);
        if let Some(times) = self.tells(hub, Wrong::Off, Instant::now()) {
            tracing::warn!(
                hub = hub.name,
                edge = hub.edge,
                offset_ms,
                times,
                "the clock of a hub, or of this machine, is off; its writes count as made then. Check both by NTP"
            );
        }
    }

    /// A batch of a hub was refused, since it is stamped too far ahead.
    pub(crate) fn refused(&mut self, hub: &HubAddress, reason: &str) {
        measure::clock_wrong(hub, Wrong::Refused);
        if let Some(times) = self.tells(hub, Wrong::Refused, Instant::now()) {
            tracing::warn!(
                hub = hub.name,
                edge = hub.edge,
                reason,
                times,
                "the clock of a hub is too far ahead, and nothing of it is taken until it is set right"
            );
        }
    }

    /// This machine's clock shows `now`. The operator hears of each step of it, since all hubs then look wrong at once.
    pub(crate) fn look(&mut self, at: Instant, now: TimestampMs) {
        let Some(step_ms) = self.step_ms(at, now) else { return };
        measure::clock_stepped();
        tracing::warn!(step_ms, "the clock of this machine was set");
    }

    /// By how much it was set since the last look, where that is more than clocks drift.
    fn step_ms(&mut self, at: Instant, now: TimestampMs) -> Option<i64> {
        let (before, showed) = self.own.replace((at, now))?;
        let passed_ms = i64::try_from(at.duration_since(before).as_millis()).unwrap_or(i64::MAX);
        let step_ms = now.since_ms(showed).saturating_sub(passed_ms);
        (step_ms.saturating_abs() > CLOCK_BOUND_MS).then_some(step_ms)
    }

    /// Whether it is time to tell of it again, and then how often it was wrong since the last time, this one with it.
    fn tells(&mut self, hub: &HubAddress, wrong: Wrong, now: Instant) -> Option<u64> {
        if let Some(told) = self.told.get_mut(&(hub.clone(), wrong)) {
            told.since = told.since.saturating_add(1);
            if now.duration_since(told.at) < TOLD_INTERVAL {
                return None;
            }
            told.at = now;
            return Some(std::mem::take(&mut told.since));
        }
        if self.told.len() >= TOLD_MAX {
            self.told.clear();
        }
        self.told.insert((hub.clone(), wrong), Told { at: now, since: 0 });
        Some(1)
    }
}

/// Whether a clock is off that showed a time so far from now at some moment within the last `waited`. Not where the hello may
/// only have been long on its way.
fn is_off(offset_ms: i64, waited: Duration) -> bool {
    let waited_ms = i64::try_from(waited.as_millis()).unwrap_or(i64::MAX);
    offset_ms > CLOCK_BOUND_MS || offset_ms.saturating_add(waited_ms) < -CLOCK_BOUND_MS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hello_that_was_long_on_its_way_is_not_taken_for_a_clock_that_is_behind() {
        let after = Duration::from_millis;
        for (offset_ms, waited, is) in [
            (CLOCK_BOUND_MS, after(0), false),
            (CLOCK_BOUND_MS + 1, after(0), true),
            (-CLOCK_BOUND_MS, after(0), false),
            (-CLOCK_BOUND_MS - 1, after(0), true),
            // Stamped at once and three seconds under way.
            (-3_000, after(3_000), false),
            (-3_000 - CLOCK_BOUND_MS - 1, after(3_000), true),
            // However long it was under way, it was not stamped later than now.
            (CLOCK_BOUND_MS + 1, after(3_000), true),
            (i64::MIN, Duration::MAX, false),
        ] {
            assert_eq!(is_off(offset_ms, waited), is, "{offset_ms} ms after {waited:?}");
        }
    }

    fn hub(name: &str) -> HubAddress {
        HubAddress { edge: "https://edge.example".to_owned(), name: name.to_owned() }
    }

    #[test]
    fn each_hub_is_told_of_once_in_a_while() {
        let (mut clocks, begin) = (Clocks::default(), Instant::now());
        assert_eq!(clocks.tells(&hub("a"), Wrong::Off, begin), Some(1));
        assert_eq!(clocks.tells(&hub("a"), Wrong::Off, begin), None);
        assert_eq!(clocks.tells(&hub("a"), Wrong::Refused, begin), Some(1), "another matter");
        assert_eq!(clocks.tells(&hub("b"), Wrong::Off, begin), Some(1), "another hub");
        assert_eq!(clocks.tells(&hub("a"), Wrong::Off, begin + TOLD_INTERVAL - Duration::from_millis(1)), None);
        assert_eq!(clocks.tells(&hub("a"), Wrong::Off, begin + TOLD_INTERVAL), Some(3));
        assert_eq!(clocks.tells(&hub("a"), Wrong::Off, begin + TOLD_INTERVAL), None);
    }

    #[test]
    fn hubs_without_end_take_no_memory_without_end() {
        let (mut clocks, begin) = (Clocks::default(), Instant::now());
        for no in 0..3 * TOLD_MAX {
            assert_eq!(clocks.tells(&hub(&no.to_string()), Wrong::Off, begin), Some(1));
        }
        assert!(clocks.told.len() <= TOLD_MAX);
    }

    #[test]
    fn a_clock_that_is_set_is_noticed_and_one_that_drifts_is_not() {
        let (mut clocks, begin) = (Clocks::default(), Instant::now());
        let at = |ms: u64| begin + Duration::from_millis(ms);
        assert_eq!(clocks.step_ms(at(0), TimestampMs(1_000_000)), None);
        assert_eq!(clocks.step_ms(at(2_000), TimestampMs(1_002_400)), None);
        assert_eq!(clocks.step_ms(at(4_000), TimestampMs(1_604_400)), Some(600_000));
        assert_eq!(clocks.step_ms(at(6_000), TimestampMs(1_606_400)), None);
        assert_eq!(clocks.step_ms(at(8_000), TimestampMs(1_000_000)), Some(-608_400));
    }
}
