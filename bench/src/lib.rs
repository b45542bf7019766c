//! The core measured against its peers: what `cargo xtask bench core` runs, natively and in wasm.
//!
//! A bench is a list of [`Contender`]s that work through the same input in alternation, in one process; what is quoted
//! is the ratio between medians, since figures of two machines or two runs do not compare. [`ours`] is the core's side
//! and compiles for both targets, so that native and wasm measure the same code; [`peers`] are the other side, natively
//! and behind the feature `peers`. The peers in Node are in `node/`, beside the script that drives the wasm module.
//!
//! [`limits`] measures no time: it puts the decisions of rate limiters beside those of an exact log, on a virtual clock.
//!
//! This crate measures and does not judge: it prints one JSON object per line, and xtask, which knows the bars, makes
//! tables and plots of them. A bench asserts that it measures what its name says (replies are no errors, deltas hold
//! what was written), never how fast.

pub mod contender;
pub mod input;
pub mod ours;
pub mod site;
pub mod store;

#[cfg(not(target_arch = "wasm32"))]
pub mod limits;
#[cfg(not(target_arch = "wasm32"))]
pub mod measure;
#[cfg(not(target_arch = "wasm32"))]
pub mod peers;
#[cfg(target_arch = "wasm32")]
pub mod wasm;

pub use contender::Contender;
