//! The join-semilattices of which every key is made. Each state here satisfies the lattice laws (see [`laws`] below).
//!
//! A key is a small [`Header`] and [`Element`]s; its delta carries the touched elements only. The one merge is
//! [`KeyState::join`]; storage, wire and views are elsewhere.

mod causal;
mod crdts;
mod ctx;
mod deadline;
mod effect;
mod element;
mod key;
mod num;
mod ranks;
mod revocation;

pub use causal::Causal;
pub use ctx::{Ctx, Intervals};
pub use deadline::Deadline;
pub use effect::{DeadlineChange, Effect, NewBase, Operation};
pub use element::{Base, Element, ElementId, Increment, Kind, NotAnInteger, SeenCuts, Sum, is_score, parse_integer};
pub use key::{Claims, Header, KeyDelta, KeyState, Mint, Touched};
pub use num::{Amount, Cut, Entry, Num, Part, SeenCut};
pub use ranks::Ranks;
pub use revocation::{Revocation, Revocations};

#[cfg(test)]
mod laws;
#[cfg(all(test, not(target_arch = "wasm32")))]
mod oracle;
