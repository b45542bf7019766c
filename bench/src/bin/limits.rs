//! `bench-limits`: runs every cell of the limiters' table and prints what came of it, one JSON object per line.

use clap::Parser;
use headwater_bench::limits::{Cell, Rule, STRICT};
use serde_json::json;

/// The seed of all traces.
const SEED: u64 = 1;

const LIMITS: [u64; 3] = [10, 100, 1_000];
const LOADS: [f64; 4] = [0.5, 1.0, 2.0, 10.0];
const LINKS_MS: [i64; 3] = [10, 50, 150];

/// Windows, in milliseconds. All links and limits are tried with the first; the others with 50 ms and a limit of a hundred.
const WINDOWS_MS: [i64; 3] = [60_000, 10_000, 3_600_000];

#[derive(Parser)]
#[command(about = "Puts rate limiters beside an exact log; `cargo xtask bench limits` judges and shows it.")]
struct Arguments {
    /// A few small cells over short traces: shows that the bench runs, not what it measures.
    #[arg(long)]
    quick: bool,
    /// Only the cells whose name contains this.
    #[arg(long, default_value = "")]
    only: String,
}

fn main() {
    let Arguments { quick, only } = Arguments::parse();
    for cell in cells(quick).filter(|cell| name(cell).contains(&only)) {
        for (contender, score) in cell.run(SEED) {
            print(&cell, "wrong decisions", contender, score.wrong_percent());
            print(&cell, "worst overshoot", contender, score.over_percent(cell.limit));
            if contender == STRICT {
                print(&cell, "refused though there was room", contender, score.refused_percent());
            }
            if contender == "headwater" {
                print(&cell, "error bars broken", contender, score.broken_percent());
            }
            eprintln!("{}, {}: {contender} {score:?}", name(&cell), cell.limit);
        }
    }
}

/// All cells, or a few.
fn cells(quick: bool) -> impl Iterator<Item = Cell> {
    let (windows, keys) = if quick { (2, 10) } else { (8, 100) };
    let mut cells = Vec::new();
    for rule in Rule::ALL {
        for window_ms in WINDOWS_MS {
            for link_ms in LINKS_MS {
                for load in LOADS {
                    for limit in LIMITS {
                        let is_shown = window_ms == WINDOWS_MS[0] || (link_ms == 50 && limit == 100);
                        let is_small = limit <= 100 && link_ms == 50 && load == 2.0 && window_ms == WINDOWS_MS[0];
                        if is_shown && (!quick || is_small) {
                            cells.push(Cell { rule, limit, window_ms, load, link_ms, windows, keys });
                        }
                    }
                }
            }
        }
    }
    cells.into_iter()
}

/// What a cell is called.
fn name(cell: &Cell) -> String {
    let Cell { rule, window_ms, load, link_ms, .. } = cell;
    format!("{} of {} s, {load}x, {link_ms} ms links", rule.described(), window_ms / 1_000)
}

fn print(cell: &Cell, what: &str, contender: &str, percent: f64) {
    let name = format!("{}: {what}", name(cell));
    println!(
        "{}",
        json!({ "name": name, "size": cell.limit, "of": "limit", "contender": contender, "value": percent, "unit": "%" })
    );
}
