//! The seeded simulation of leaves, hubs, origin and store, with checkers, and with mutants that the checkers must catch.
//!
//! `sim --seeds 200` runs seeds in every scenario; `sim --scenario failover --seed 7 --log 200` replays one and prints its
//! last inputs and effects; `sim --mutants` switches on one deliberate fault after the other and demands that each is
//! caught. A run that fails is shortened, and the command printed that replays the short one.
#![allow(clippy::print_stdout, reason = "a command's output")]

mod compare;
mod kept;
mod ledger;
mod mutants;
mod plan;
mod reads;
mod run;
mod scenario;
mod selection;
mod shrink;
mod store;
mod workload;
mod world;

use anyhow::{Context, Result};
use clap::Parser;
use headwater::fault::Fault;
use run::{Case, Look, Outcome};
use scenario::{SCENARIOS, Scenario, UNFINISHED};
use selection::Selection;
use std::{
    ops::ControlFlow,
    process::ExitCode,
    time::{Duration, Instant},
};

#[derive(Parser)]
#[command(about = "Runs the seeded simulation of the machines")]
struct Args {
    /// How many seeds to run in each scenario.
    #[arg(long, default_value_t = 50)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Runs this seed alone.
    #[arg(long)]
    seed: Option<u64>,
    /// Runs this scenario alone.
    #[arg(long)]
    scenario: Option<String>,
    /// Demands that every deliberate fault is caught, or the one that is named.
    #[arg(long, num_args = 0..=1, default_missing_value = "all")]
    mutants: Option<String>,
    /// Runs with this deliberate fault.
    #[arg(long)]
    mutant: Option<String>,
    /// Prints the last inputs and effects of a run that fails, and does not shorten it.
    #[arg(long, default_value_t = 0)]
    log: usize,
    /// Runs every seed twice and demands the same trace; without this, one in sixteen.
    #[arg(long)]
    check_trace: bool,
    /// Runs these actions of the plan only, such as 3,17,40-44.
    #[arg(long)]
    only: Option<String>,
    /// Prints the actions of the plan.
    #[arg(long)]
    plan: bool,
    /// Leaves that there are, instead of the scenario's.
    #[arg(long)]
    leaves: Option<usize>,
    /// Hubs that there are.
    #[arg(long)]
    hubs: Option<usize>,
    /// Daemons that there are.
    #[arg(long)]
    daemons: Option<usize>,
    /// Sockets do nothing but what the plan says.
    #[arg(long)]
    quiet: bool,
    /// How long a run that fails is shortened, in seconds.
    #[arg(long, default_value_t = 20)]
    shorten: u64,
}

/// Failures after which a scenario is given up.
const FAILURES_MAX: usize = 3;

/// How many actions of a shortened run are printed.
const ACTIONS_SHOWN: usize = 60;

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    // What a node's assertion says is reported as a violation.
    std::panic::set_hook(Box::new(|_| {}));
    if let Some(which) = &args.mutants {
        return Ok(mutants::run(which));
    }
    let only = args.only.as_deref().map(selection::parse_ranges).transpose()?;
    let is_quiet = args.quiet;
    let selection = Selection { only, leaves: args.leaves, hubs: args.hubs, daemons: args.daemons, is_quiet };
    let mutant = args.mutant.as_deref().map(|name| named(name).context("no such mutant")).transpose()?;
    let chosen = |scenario: &&Scenario| match args.scenario.as_deref() {
        Some(only) => only == scenario.name,
        None => UNFINISHED.iter().all(|unfinished| unfinished.name != scenario.name),
    };
    let (mut passed, mut failed) = (0, 0);
    for scenario in SCENARIOS.iter().chain(&UNFINISHED).filter(chosen) {
        let seeds = args.seed.map_or(args.from..args.from + args.seeds, |seed| seed..seed + 1);
        let case = |seed| Case { scenario: *scenario, seed, selection: selection.clone(), mutant };
        if args.plan {
            seeds.clone().for_each(|seed| print_plan(&case(seed)));
        }
        let (right, wrong) = scenario_seeds(&args, scenario, seeds, &case);
        passed += right;
        failed += wrong;
    }
    println!("{passed} passed, {failed} failed");
    Ok(if failed == 0 && passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn named(name: &str) -> Option<Fault> {
    Fault::ALL.into_iter().find(|fault| format!("{fault:?}") == name)
}

fn print_plan(case: &Case) {
    for action in case.plan().selected(&case.selection) {
        println!("{action}");
    }
}

/// Runs a scenario's seeds; gives how many passed and failed.
fn scenario_seeds(
    args: &Args,
    scenario: &Scenario,
    seeds: std::ops::Range<u64>,
    case: &(impl Fn(u64) -> Case + Sync),
) -> (usize, usize) {
    let begun = Instant::now();
    let (mut passed, mut operations) = (0, 0);
    let mut failures: Vec<(u64, Outcome)> = Vec::new();
    let job = |index: usize| {
        let seed = seeds.start + index as u64;
        // The same seed is the same trace: spot checks are enough, they double the time.
        case(seed).run(Look { is_repeated: args.check_trace || seed.is_multiple_of(16), log: args.log })
    };
    run::spread(usize::try_from(seeds.end - seeds.start).unwrap_or(usize::MAX), job, |index, outcome| {
        operations += outcome.operations;
        if outcome.violations.is_empty() {
            passed += 1;
        } else {
            failures.push((seeds.start + index as u64, outcome));
        }
        if failures.len() < FAILURES_MAX { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    let took = begun.elapsed().as_secs_f64();
    println!("{:<12} {passed} seeds, {operations} operations booked, {took:.1} s", scenario.name);
    for (seed, outcome) in &failures {
        report(args, &case(*seed), outcome);
    }
    (passed, failures.len())
}

fn report(args: &Args, case: &Case, outcome: &Outcome) {
    println!("{}, seed {}:", case.scenario.name, case.seed);
    for violation in outcome.violations.iter().take(8) {
        let text: String = violation.text.chars().take(1_500).collect();
        println!("  {:?}: {text}", violation.checker);
    }
    outcome.log.iter().for_each(|line| println!("    {line}"));
    println!("  replay: cargo xtask sim {} --log 100", case.arguments());
    let Some(first) = outcome.violations.first().filter(|_| args.log == 0) else { return };
    let (short, actions, runs) = shrink::shorten(case, first, Duration::from_secs(args.shorten));
    if short.selection == case.selection {
        println!("  it could not be shortened in {runs} runs");
        return;
    }
    let violations = short.run(Look::default()).violations;
    println!("  shortened to {} actions in {runs} runs:", actions.len());
    actions.iter().take(ACTIONS_SHOWN).for_each(|action| println!("  {action}"));
    if actions.len() > ACTIONS_SHOWN {
        println!("      ... and {} more", actions.len() - ACTIONS_SHOWN);
    }
    for violation in violations.iter().take(3) {
        let text: String = violation.text.chars().take(1_500).collect();
        println!("  {:?}: {text}", violation.checker);
    }
    println!("  replay: cargo xtask sim {} --log 100", short.arguments());
}
