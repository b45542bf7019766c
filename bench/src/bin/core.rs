//! `bench-core`: runs the benches natively and prints what it measured, one JSON object per line.

use std::time::Instant;

use clap::Parser;
use headwater_bench::{
    measure,
    ours::{
        self, Bench,
        healing::{self, Lost},
    },
    peers,
};
use serde_json::json;

/// How many elements or keys there are of which a hundredth is healed.
const HEALED: usize = 100_000;

/// Sizes beyond this are left out of a quick run.
const QUICK_SIZE_MAX: usize = 1_000;

#[derive(Parser)]
#[command(about = "Measures the core against its peers; `cargo xtask bench core` judges and shows it.")]
struct Arguments {
    /// Small sizes and few rounds: shows that the benches run, not what they measure.
    #[arg(long)]
    quick: bool,
    /// Only the benches whose name contains this.
    #[arg(long, default_value = "")]
    only: String,
    /// Only this size, also in a quick run: for a profiler, under which the others would take too long.
    #[arg(long)]
    size: Option<usize>,
}

fn main() {
    let Arguments { quick, only, size: asked } = Arguments::parse();
    for bench in ours::BENCHES.iter().filter(|bench| bench.name.contains(&only)) {
        // The smallest size runs in any case: a bench of one size has no smaller one.
        for (at, size) in bench.sizes.iter().enumerate() {
            let is_asked = asked.map_or(!quick || at == 0 || *size <= QUICK_SIZE_MAX, |asked| *size == asked);
            if is_asked {
                time(bench, *size, if quick { 1 } else { measure::ROUNDS });
            }
        }
    }
    let healed = Lost::ALL.into_iter().filter(|lost| asked.is_none() && lost.described().contains(&only));
    for lost in healed {
        heal(lost, if quick { QUICK_SIZE_MAX } else { HEALED });
    }
}

/// Prints what healing costs beside the bytes of the whole state.
fn heal(lost: Lost, size: usize) {
    let (healed, whole) = healing::bytes(lost, size);
    for (contender, bytes) in [("headwater", healed), ("full state", whole)] {
        let name = lost.described();
        let line = json!({
            "name": name, "size": size, "of": "", "contender": contender, "value": bytes, "unit": "bytes"
        });
        println!("{line}");
    }
}

fn time(bench: &Bench, size: usize, rounds: usize) {
    let started = Instant::now();
    let peers = peers::of(bench.name, size);
    let (names, peers): (Vec<_>, Vec<_>) = peers.into_iter().unzip();
    let mut contenders = vec![(bench.make)(size)];
    contenders.extend(peers);
    eprintln!("{} of {size} {}: set up in {:.1} s", bench.name, bench.of, started.elapsed().as_secs_f64());
    let medians = measure::nanoseconds(&mut contenders, rounds);
    for (contender, median) in ["headwater"].into_iter().chain(names).zip(medians) {
        let of = bench.of;
        println!(
            "{}",
            json!({ "name": bench.name, "size": size, "of": of, "contender": contender, "value": median, "unit": "ns" })
        );
    }
}
