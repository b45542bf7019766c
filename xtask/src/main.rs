//! `cargo xtask`: the one door to everything that is done with this repository.
//!
//! Continuous integration and people run the same commands. Each subcommand brings about what it needs: `test` and
//! `demo` set up and build first, and redo nothing that is up to date.

mod bench;
mod build;
mod coverage;
mod demo;
mod fuzz;
mod lint;
mod process;
mod setup;
mod test;
mod token;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use build::{Artefact, Profile};
use setup::Part;
use test::Suite;
use workspace::Workspace;

#[derive(Parser)]
#[command(bin_name = "cargo xtask", about = "Builds, checks, tests and shows Headwater.")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Install what is missing of the tools: into target/tools, node_modules and, where permitted, the system.
    Setup,
    /// Build the edge Worker, the browser package and the daemon.
    Build {
        /// Quick to build, slow to run.
        #[arg(long)]
        dev: bool,
    },
    /// Check format, lints, the direction of dependencies, and that the core needs nothing of its host.
    Lint,
    /// Run the test suites; without names, all of them.
    Test {
        /// The suites to run.
        suites: Vec<Suite>,
    },
    /// Show Headwater at work on this machine.
    Demo(demo::Args),
    /// Measure against peers, and show what was measured.
    Bench(bench::Args),
    /// Look for inputs that crash a decoder or a machine.
    Fuzz(fuzz::Args),
    /// Print which lines of the core its own tests run.
    Coverage,
    /// Make keys for signed tokens, and sign them.
    Token(token::Args),
    /// Run the seeded simulation; the arguments are its own.
    Sim {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let workspace = Workspace::of_this_checkout();
    match Cli::parse().task {
        Task::Setup => setup::run(&workspace),
        Task::Build { dev } => {
            setup::ensure(&workspace, build::parts(&Artefact::ALL))?;
            build::run(&workspace, &Artefact::ALL, if dev { Profile::Dev } else { Profile::Release })
        }
        Task::Lint => lint::run(&workspace),
        Task::Test { suites } => test::run(&workspace, &suites),
        Task::Demo(arguments) => {
            setup::ensure(&workspace, build::parts(&Artefact::ALL))?;
            // Without Redis the demo has the embedded store; `setup` says how to get Redis.
            if let Err(error) = setup::ensure(&workspace, [Part::Redis]) {
                eprintln!("{error:#}");
            }
            build::run(&workspace, &Artefact::ALL, Profile::Release)?;
            demo::run(arguments)
        }
        Task::Bench(arguments) => bench::run(&workspace, arguments),
        Task::Coverage => coverage::run(&workspace),
        Task::Fuzz(arguments) => fuzz::run(&workspace, &arguments),
        Task::Token(arguments) => token::run(&arguments),
        Task::Sim { arguments } => process::run(test::simulation(&workspace).args(arguments)),
    }
}
