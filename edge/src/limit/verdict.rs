//! What is known about a check: what was decided, or why nothing was.

use super::Check;
use headwater::{
    command::{CommandError, Reply},
    id::TimestampMs,
};
use serde::Deserialize;

/// What a hub answered to one check's command.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Outcome {
    /// The seven numbers of HW.LIMIT.
    Result([i64; NUMBERS]),
    /// Why there is no decision.
    Error(String),
}

/// How many numbers HW.LIMIT answers.
const NUMBERS: usize = 7;

/// A decision on a limit, with how sure it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Decision {
    /// Whether the request is within the limit, and was counted.
    pub is_allowed: bool,
    /// What is left after it.
    pub remaining: u64,
    /// When the window ends, the earliest spend of a sliding window ends to count, or the bucket is next refilled.
    pub reset: TimestampMs,
    /// In how many milliseconds the same request would fit if nothing else were admitted; 0 if it is allowed, none if it never
    /// fits.
    pub retry_after_ms: Option<u64>,
    /// How many milliseconds ago the node that decided last heard from beyond itself: an isolate from its region's object, that
    /// object from the origin; none where it has not yet.
    pub staleness_ms: Option<u64>,
    /// How far all that was let pass anywhere until now goes beyond the limit at most; none where nothing bounds it.
    pub over_admission_max: Option<u64>,
    /// How far all nodes together are to be expected beyond the limit, if the others went on at the rate seen here.
    pub over_admission_expected: u64,
}

/// What becomes of a request under one check.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verdict {
    is_allowed: bool,
    decided: Result<Decision, String>,
}

impl Outcome {
    /// What a leaf answered.
    pub(crate) fn of(reply: Result<Reply, CommandError>) -> Self {
        let numbers = match reply {
            Ok(Reply::Array(replies)) => numbers(&replies),
            Ok(_) => None,
            Err(error) => return Self::Error(error.to_string()),
        };
        numbers.map_or_else(|| Self::Error("ERR Headwater: the reply is none of a limit".to_owned()), Self::Result)
    }
}

fn numbers(replies: &[Reply]) -> Option<[i64; NUMBERS]> {
    let replies: &[Reply; NUMBERS] = replies.try_into().ok()?;
    let mut numbers = [0; NUMBERS];
    for (number, reply) in numbers.iter_mut().zip(replies) {
        let Reply::Int(answered) = reply else { return None };
        *number = *answered;
    }
    Some(numbers)
}

impl Decision {
    fn of([allowed, remaining, reset, retry_after, staleness, over_max, over_expected]: [i64; NUMBERS]) -> Self {
        // −1 is what HW.LIMIT answers for what is not known.
        let known = |number: i64| u64::try_from(number).ok();
        Self {
            is_allowed: allowed == 1,
            remaining: known(remaining).unwrap_or(0),
            reset: TimestampMs(reset),
            retry_after_ms: known(retry_after),
            staleness_ms: known(staleness),
            over_admission_max: known(over_max),
            over_admission_expected: known(over_expected).unwrap_or(0),
        }
    }
}

impl Verdict {
    pub(crate) fn of(check: &Check, outcome: Outcome) -> Self {
        match outcome {
            Outcome::Result(numbers) => {
                let decision = Decision::of(numbers);
                Self { is_allowed: decision.is_allowed, decided: Ok(decision) }
            }
            Outcome::Error(error) => Self { is_allowed: check.is_open_on_error, decided: Err(error) },
        }
    }

    /// Whether the request passes: as was decided, or as the check says where nothing could be.
    pub fn is_allowed(&self) -> bool {
        self.is_allowed
    }

    /// What was decided.
    ///
    /// # Errors
    /// Why nothing was: the region's object cannot be reached, or what it says.
    pub fn decision(&self) -> Result<&Decision, &str> {
        self.decided.as_ref().map_err(String::as_str)
    }
}
