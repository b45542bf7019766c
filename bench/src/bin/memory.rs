//! `bench-memory`: what a settled hub takes in memory for each counter or member, one JSON object per line.
//!
//! Every allocation of this process is counted, as requested and as rounded up to the size classes of jemalloc, which is
//! what Redis counts of itself. A program apart from the other benches, whose times the counting would spoil.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

use clap::Parser;
use headwater_bench::ours::memory::Held;
use serde_json::json;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

static REQUESTED: AtomicUsize = AtomicUsize::new(0);
static ROUNDED: AtomicUsize = AtomicUsize::new(0);

#[derive(Parser)]
#[command(about = "Measures a settled hub's memory; `cargo xtask bench core` puts it beside Redis' own.")]
struct Arguments {
    /// A small size: shows that the benches run, not what they measure.
    #[arg(long)]
    quick: bool,
    /// Only the benches whose name contains this.
    #[arg(long, default_value = "")]
    only: String,
}

fn main() {
    let Arguments { quick, only } = Arguments::parse();
    let size = if quick { 1_000 } else { 100_000 };
    for held in Held::ALL.into_iter().filter(|held| held.described().contains(&only)) {
        // What a hub takes whatever it holds, for slots above all, is in both and so in neither figure.
        let (from, to) = match held {
            Held::Counters => (size, 2 * size),
            Held::Set | Held::Board | Held::SummedBoard => (0, size),
        };
        let (less, more) = (taken(held, from), taken(held, to));
        let each = |of: fn(&Taken) -> usize| (of(&more) as f64 - of(&less) as f64) / size as f64;
        print(held, size, "headwater", each(|taken| taken.rounded));
        print(held, size, "headwater, as requested", each(|taken| taken.requested));
    }
}

fn print(held: Held, size: usize, contender: &str, bytes: f64) {
    let name = held.described();
    let line = json!({
        "name": name, "size": size, "of": "each", "contender": contender, "value": bytes, "unit": "bytes"
    });
    println!("{line}");
}

/// Bytes that are allocated.
struct Taken {
    requested: usize,
    rounded: usize,
}

/// What a hub alone takes, after all that was needed to fill it is gone.
fn taken(held: Held, size: usize) -> Taken {
    let before = (REQUESTED.load(Relaxed), ROUNDED.load(Relaxed));
    let site = held.hub(size);
    let after = (REQUESTED.load(Relaxed), ROUNDED.load(Relaxed));
    drop(site);
    Taken { requested: after.0.saturating_sub(before.0), rounded: after.1.saturating_sub(before.1) }
}

/// The system's allocator, counted.
struct Counting;

impl Counting {
    fn add(bytes: usize) {
        REQUESTED.fetch_add(bytes, Relaxed);
        ROUNDED.fetch_add(size_class(bytes), Relaxed);
    }

    fn take(bytes: usize) {
        REQUESTED.fetch_sub(bytes, Relaxed);
        ROUNDED.fetch_sub(size_class(bytes), Relaxed);
    }
}

#[expect(
    unsafe_code,
    reason = "an allocator can be written in no other way; each call goes to the system's as it came"
)]
// SAFETY: every call is handed on unchanged, and counting touches no memory that is allocated here.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::add(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        Self::take(layout.size());
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        Self::take(layout.size());
        Self::add(size);
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// The size that jemalloc gives for a request: multiples of 16 up to 128 bytes, then four classes to each doubling.
fn size_class(bytes: usize) -> usize {
    match bytes {
        0 => 0,
        1..=8 => 8,
        9..=128 => bytes.next_multiple_of(16),
        _ => bytes.next_multiple_of(1 << (bytes - 1).ilog2().saturating_sub(2)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn size_classes_are_those_of_jemalloc() {
        let classes =
            [(1, 8), (9, 16), (17, 32), (33, 48), (128, 128), (129, 160), (161, 192), (257, 320), (4097, 5120)];
        for (bytes, class) in classes {
            assert_eq!(size_class(bytes), class, "{bytes}");
        }
    }

    #[test]
    fn what_a_dropped_hub_took_is_free_again() {
        let before = REQUESTED.load(Relaxed);
        let taken = taken(Held::Set, 10_000).requested;
        let after = REQUESTED.load(Relaxed);
        assert!(taken > 10_000 * 20, "the names alone take as much");
        assert!(after.abs_diff(before) < taken / 4, "{before} bytes before, {after} after");
    }
}
