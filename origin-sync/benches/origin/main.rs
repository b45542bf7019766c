//! What the daemon does beside its Redis, one JSON object a line; `cargo xtask bench origin` judges and shows it.
//!
//! The built daemon stands between a Redis on one core and one hub in this process, which executes commands as the edge's
//! object does, without its SQLite.
#![allow(clippy::unwrap_used, reason = "a measurement fails by panicking")]
#![allow(missing_docs, unreachable_pub, reason = "nothing here is for others")]

#[path = "../../tests/support/mod.rs"]
mod support;

mod delay;
mod lag;
mod soak;
mod stand;
mod throughput;

use clap::Parser;
use std::time::Duration;

/// As the daemon does, so that both ends of the connection are alike.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
#[command(about = "Measures the daemon beside its Redis.")]
struct Arguments {
    /// Little work: shows that the benches run; the figures mean nothing.
    #[arg(long)]
    quick: bool,
    /// Only the benches whose name contains this.
    #[arg(long, default_value = "")]
    only: String,
    /// Cargo says so.
    #[arg(long, hide = true)]
    bench: bool,
}

impl Arguments {
    fn has(&self, name: &str) -> bool {
        name.contains(&self.only)
    }
}

#[tokio::main]
async fn main() {
    let arguments = Arguments::parse();
    let run = Duration::from_millis(if arguments.quick { 300 } else { 5_000 });
    if arguments.has("hot keys") {
        throughput::hot(run).await;
    }
    if arguments.has("distinct keys") {
        for (keys, rounds) in if arguments.quick { vec![(1_000, 1)] } else { vec![(100_000, 5), (1_000_000, 3)] } {
            throughput::distinct(keys, rounds).await;
        }
    }
    if arguments.has("lag") {
        lag::at_rates(run).await;
        lag::over_a_slow_way(run).await;
    }
    if arguments.has("soak") {
        let [growth, whole] = if arguments.quick { [1, 2] } else { [180, 600] }.map(Duration::from_secs);
        soak::memory(growth, whole).await;
    }
}

/// Prints one figure.
fn print(name: &str, (size, of): (u64, &str), contender: &str, value: f64, unit: &str) {
    let line = serde_json::json!({
        "name": name, "size": size, "of": of, "contender": contender, "value": value, "unit": unit
    });
    println!("{line}");
}

/// Our own figure.
fn print_ours(name: &str, extent: (u64, &str), value: f64, unit: &str) {
    print(name, extent, "headwater", value, unit);
}
