//! Under which condition a score or deadline is set, and when a key expires: options as values, and their pure meaning.

use super::{CommandError, CommandName};
use crate::id::TimestampMs;

/// What must hold of the present value for ZADD or EXPIRE to replace it.
///
/// Redis's compatible combinations of NX, XX, GT and LT, and no other.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Condition {
    /// No option.
    #[default]
    Always,
    /// NX: there is none yet.
    Absent,
    /// XX: there is one.
    Present,
    /// GT: the new one is greater.
    Greater,
    /// LT: the new one is less.
    Less,
    /// XX GT: there is one, and the new one is greater.
    PresentAndGreater,
    /// XX LT: there is one, and the new one is less.
    PresentAndLess,
}

impl Condition {
    /// Whether ZADD sets a member's score from `present` to `new`. A member that is not there passes GT and LT.
    pub fn admits_score(self, present: Option<f64>, new: f64) -> bool {
        match self {
            Self::Always => true,
            Self::Absent => present.is_none(),
            Self::Present => present.is_some(),
            Self::Greater => present.is_none_or(|present| new > present),
            Self::Less => present.is_none_or(|present| new < present),
            Self::PresentAndGreater => present.is_some_and(|present| new > present),
            Self::PresentAndLess => present.is_some_and(|present| new < present),
        }
    }

    /// Whether EXPIRE sets a key's deadline from `present` to `new`. No deadline counts as one in the infinite future.
    pub fn admits_deadline(self, present: Option<TimestampMs>, new: TimestampMs) -> bool {
        match self {
            Self::Always => true,
            Self::Absent => present.is_none(),
            Self::Present => present.is_some(),
            Self::Greater | Self::PresentAndGreater => present.is_some_and(|present| new > present),
            Self::Less => present.is_none_or(|present| new < present),
            Self::PresentAndLess => present.is_some_and(|present| new < present),
        }
    }
}

/// What SET does with the key's deadline.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Expiry {
    /// EX, PX: the key expires so many milliseconds from now; positive.
    In(i64),
    /// EXAT, PXAT: the key expires at this time, which lies after the epoch but perhaps before now.
    At(TimestampMs),
    /// KEEPTTL: whatever deadline the key has stays.
    Keep,
    /// No option: the key no longer expires.
    #[default]
    None,
}

impl Expiry {
    /// The instant at which the key expires, if this names one.
    ///
    /// # Errors
    /// [`CommandError::InvalidExpireTime`] if it lies beyond what i64 milliseconds can say.
    pub fn deadline(self, now: TimestampMs) -> Result<Option<TimestampMs>, CommandError> {
        match self {
            Self::In(ms) => deadline_after(now, ms, CommandName::Set).map(Some),
            Self::At(time) => Ok(Some(time)),
            Self::Keep | Self::None => Ok(None),
        }
    }
}

/// When HEXPIRE and the like let a field end, in milliseconds that are not negative.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FieldExpiry {
    /// HEXPIRE, HPEXPIRE: so many milliseconds from now.
    In(i64),
    /// HEXPIREAT, HPEXPIREAT: at this time, which may have passed.
    At(TimestampMs),
}

/// The instant `after_ms` from now, as EXPIRE and SET compute it; in the past if that is negative.
///
/// # Errors
/// [`CommandError::InvalidExpireTime`] of `command` if it lies beyond what i64 milliseconds can say.
pub fn deadline_after(now: TimestampMs, after_ms: i64, command: CommandName) -> Result<TimestampMs, CommandError> {
    now.0.checked_add(after_ms).map(TimestampMs).ok_or(CommandError::InvalidExpireTime(command))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Condition; 7] = [
        Condition::Always,
        Condition::Absent,
        Condition::Present,
        Condition::Greater,
        Condition::Less,
        Condition::PresentAndGreater,
        Condition::PresentAndLess,
    ];

    #[test]
    fn scores_are_admitted_as_by_zadd() {
        // In the order of ALL.
        let table = [
            (None, [true, true, false, true, true, false, false]),
            (Some(1.0), [true, false, true, true, false, true, false]),
            (Some(2.0), [true, false, true, false, false, false, false]),
            (Some(3.0), [true, false, true, false, true, false, true]),
        ];
        for (present, admitted) in table {
            assert_eq!(ALL.map(|condition| condition.admits_score(present, 2.0)), admitted, "{present:?}");
        }
    }

    #[test]
    fn deadlines_are_admitted_as_by_expire() {
        // In the order of ALL.
        let table = [
            (None, [true, true, false, false, true, false, false]),
            (Some(1), [true, false, true, true, false, true, false]),
            (Some(2), [true, false, true, false, false, false, false]),
            (Some(3), [true, false, true, false, true, false, true]),
        ];
        for (present, admitted) in table {
            let admits = |condition: Condition| condition.admits_deadline(present.map(TimestampMs), TimestampMs(2));
            assert_eq!(ALL.map(admits), admitted, "{present:?}");
        }
    }

    #[test]
    fn deadlines_beyond_the_range_are_refused() {
        let now = TimestampMs(1_000);
        assert_eq!(Expiry::In(5).deadline(now), Ok(Some(TimestampMs(1_005))));
        assert_eq!(Expiry::In(i64::MAX).deadline(now), Err(CommandError::InvalidExpireTime(CommandName::Set)));
        assert_eq!(Expiry::At(TimestampMs(i64::MAX)).deadline(now), Ok(Some(TimestampMs(i64::MAX))));
        assert_eq!(Expiry::Keep.deadline(now), Ok(None));
        assert_eq!(deadline_after(now, i64::MIN, CommandName::PExpire), Ok(TimestampMs(i64::MIN + 1_000)));
    }
}
