//! The benches for a JavaScript host, which holds the clock and drives the rounds.

use wasm_bindgen::prelude::wasm_bindgen;

use crate::{Contender, ours};

/// One bench at one size.
#[wasm_bindgen]
pub struct Round(Box<dyn Contender>);

#[wasm_bindgen]
impl Round {
    /// Sets the bench of this name up; nothing where there is none.
    pub fn of(name: &str, size: usize) -> Option<Round> {
        ours::named(name).map(|bench| Self((bench.make)(size)))
    }

    /// Makes the next round's input.
    pub fn prepare(&mut self) {
        self.0.prepare();
    }

    /// Works through it; returns how many operations that were.
    pub fn run(&mut self) -> f64 {
        self.0.run() as f64
    }
}

/// The names of all benches.
#[wasm_bindgen]
pub fn benches() -> Vec<String> {
    ours::BENCHES.iter().map(|bench| bench.name.to_owned()).collect()
}

/// The sizes over which a bench is measured natively.
#[wasm_bindgen]
pub fn sizes(name: &str) -> Vec<usize> {
    ours::named(name).map_or_else(Vec::new, |bench| bench.sizes.to_vec())
}

/// What the size of a bench counts.
#[wasm_bindgen]
pub fn counted(name: &str) -> Option<String> {
    ours::named(name).map(|bench| bench.of.to_owned())
}

/// The bytes of all frames that so many clients send, each of which set one field of a map.
#[wasm_bindgen]
pub fn client_bytes(clients: usize) -> usize {
    ours::clients::frames(clients).iter().map(Vec::len).sum()
}

/// The bytes of that map afterwards.
#[wasm_bindgen]
pub fn whole_bytes(clients: usize) -> usize {
    ours::clients::whole_bytes(clients)
}
