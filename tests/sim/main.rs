//! The seeded simulation of leaves, hubs, origin and store, with checkers, and with mutants that the checkers must catch.
//!
//! `sim --seeds 200` runs seeds in every climate; `sim --seed 7 --scenario failover --log 200` replays one and prints its
//! last events; `sim --mutants` switches on one deliberate fault after the other and demands that each is caught.
#![allow(clippy::print_stdout, reason = "a command's output")]

mod compare;
mod ledger;
mod store;
mod workload;
mod world;

use clap::Parser;
use headwater::fault::{self, Fault};
use std::{panic::AssertUnwindSafe, process::ExitCode, time::Instant};
use world::{Climate, World};

#[derive(Parser)]
#[command(about = "Runs the seeded simulation of the machines")]
struct Args {
    /// How many seeds to run in each scenario.
    #[arg(long, default_value_t = 50)]
    seeds: u64,
    /// Runs this seed alone.
    #[arg(long)]
    seed: Option<u64>,
    /// Runs this scenario alone: calm, rough, failover or deep.
    #[arg(long)]
    scenario: Option<String>,
    /// Demands that every deliberate fault is caught, or the one that is named.
    #[arg(long, num_args = 0..=1, default_missing_value = "all")]
    mutants: Option<String>,
    /// Prints the last events of a run that fails.
    #[arg(long, default_value_t = 0)]
    log: usize,
}

const SCENARIOS: [(&str, Climate); 4] = [
    ("calm", Climate { hubs: 2, leaves: 2, work_ms: 30_000, faults: false, loss_ms: 0 }),
    ("rough", Climate { hubs: 3, leaves: 4, work_ms: 60_000, faults: true, loss_ms: 0 }),
    // Loses the last second, within the loss window.
    ("failover", Climate { hubs: 3, leaves: 3, work_ms: 60_000, faults: true, loss_ms: 1_000 }),
    // Loses more than the daemon was told could be lost.
    ("deep", Climate { hubs: 3, leaves: 3, work_ms: 60_000, faults: true, loss_ms: 15_000 }),
];

/// Seeds after which a mutant counts as missed.
const MUTANT_SEEDS: u64 = 150;

fn main() -> ExitCode {
    let args = Args::parse();
    if let Some(which) = &args.mutants {
        return mutants(which);
    }
    let seeds = args.seed.map_or(0..args.seeds, |seed| seed..seed + 1);
    let scenarios = SCENARIOS.iter().filter(|(name, _)| args.scenario.as_deref().is_none_or(|only| only == *name));
    let mut failed = 0_u32;
    let mut passed = 0_u32;
    for (name, climate) in scenarios {
        let begun = Instant::now();
        let mut operations = 0;
        for seed in seeds.clone() {
            let (violations, trace, booked) = run(seed, *climate, args.log);
            operations += booked;
            // The same seed is the same trace: spot checks are enough, they double the time.
            let is_repeatable = seed % 16 != 0 || run(seed, *climate, 0).1 == trace;
            if violations.is_empty() && is_repeatable {
                passed += 1;
                continue;
            }
            failed += 1;
            println!("{name}, seed {seed}:");
            if !is_repeatable {
                println!("  two runs of the seed differ");
            }
            for violation in violations.iter().take(8) {
                println!("  {}", violation.chars().take(1_500).collect::<String>());
            }
            println!("  replay: cargo xtask sim --scenario {name} --seed {seed} --log 100");
            if failed >= 5 {
                break;
            }
        }
        println!("{name}: {operations} operations booked, {:.1} s", begun.elapsed().as_secs_f64());
    }
    println!("{passed} passed, {failed} failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run(seed: u64, climate: Climate, log: usize) -> (Vec<String>, u64, u64) {
    let mut world = World::new(seed, climate);
    if log > 0 {
        world.log = Some(Default::default());
    }
    world.run();
    if let Some(events) = world.log.take().filter(|_| !world.violations.is_empty()) {
        for event in events.iter().skip(events.len().saturating_sub(log)) {
            println!("    {event}");
        }
    }
    let trace = world.trace();
    (std::mem::take(&mut world.violations), trace, world.ledger.operations)
}

fn mutants(which: &str) -> ExitCode {
    std::panic::set_hook(Box::new(|_| {}));
    let (mut passed, mut failed) = (0, 0);
    for mutant in Fault::ALL.into_iter().filter(|fault| which == "all" || format!("{fault:?}") == which) {
        let mut caught = None;
        'seeds: for seed in 0..MUTANT_SEEDS {
            for (name, climate) in SCENARIOS.iter().rev() {
                fault::activate(Some(mutant));
                let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| run(seed, *climate, 0).0));
                fault::activate(None);
                let how = match outcome {
                    Ok(violations) => violations.into_iter().next(),
                    Err(_) => Some("an assertion".to_owned()),
                };
                if let Some(how) = how {
                    caught = Some((*name, seed, how));
                    break 'seeds;
                }
            }
        }
        match caught {
            Some((name, seed, how)) => {
                passed += 1;
                println!("{mutant:?} caught in {name}, seed {seed}: {}", how.chars().take(160).collect::<String>());
            }
            None => {
                failed += 1;
                println!("{mutant:?} NOT CAUGHT in {MUTANT_SEEDS} seeds of each scenario");
            }
        }
    }
    println!("{passed} passed, {failed} failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
