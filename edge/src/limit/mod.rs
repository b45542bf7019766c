//! `POST /v1/limit`: decisions on limits as JSON, one or many in a call. Pure.
//!
//! A check becomes one HW.LIMIT at the hub of its key, and that hub's list of numbers an object with names. What the call
//! means as HTTP is in [`answer`]: its status, `Retry-After`, and the headers that an application hands on to its own client.

mod answer;
mod check;
mod verdict;

pub(crate) use answer::{Answer, headers};
pub(crate) use check::{BadCheck, Call};
pub use check::{BadName, Check};
pub(crate) use verdict::Outcome;
pub use verdict::{Decision, Verdict};
