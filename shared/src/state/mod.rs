//! The join-semilattices of which every key is made. Each state here satisfies the lattice laws (see [`laws`] below).
//!
//! A key is a small [`Header`] and [`Element`]s; its delta carries the touched elements only. The one merge is
//! [`KeyState::join`]; storage, wire and views are elsewhere.

mod board;
mod causal;
mod collection;
mod crdts;
mod ctx;
mod deadline;
mod effect;
mod element;
mod key;
mod key_state;
mod num;
mod pack;
mod packed;
mod rights;
mod space;
mod split;
mod view;

pub use board::Board;
pub use causal::Causal;
pub use ctx::{Ctx, Intervals};
pub use deadline::Deadline;
pub use effect::{DeadlineChange, Effect, NewBase, Operation};
pub use element::{Base, Element, ElementId, Increment, Kind, NotAnInteger, SeenCuts, Sum, is_score, parse_integer};
pub use key::{Claims, Header, KeyDelta, Mint, Touched};
pub use key_state::KeyState;
pub use num::{Amount, Cut, Entry, Num, Part, SeenCut};
pub use rights::{Rights, RightsError};
pub use view::KeyView;

pub(crate) use packed::{Open, PackedKey};
pub(crate) use space::Space;

#[cfg(test)]
mod laws;
#[cfg(all(test, not(target_arch = "wasm32")))]
mod oracle;
