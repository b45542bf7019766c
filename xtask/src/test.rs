//! The test suites: what each needs, runs, and must not lack.
//!
//! Each suite sets up and builds what it needs, so any can be run alone on a fresh checkout. A suite whose tests do not
//! exist, or that ran none, has failed: nothing passes by absence.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use clap::ValueEnum;
use serde_json::Value;

use crate::build::{self, Artefact, Profile};
use crate::process::{cargo, output, watch};
use crate::setup::{self, Part};
use crate::workspace::{WASM_TARGET, Workspace};

/// The tests that need servers, each the job of one suite. All other tests of the workspace are unit tests.
const SERVER_TESTS: &[(Suite, &str, &str)] = &[
    (Suite::Redis, "headwater-tests", "harness"),
    (Suite::Redis, "origin-sync", "redis"),
    (Suite::Edge, "headwater-tests", "edge"),
];

/// How many seeds `test sim` runs; the same each time, so that it fails for a change and not by luck.
const SIMULATION_SEEDS: u32 = 200;

/// In the order in which they run: what fails fastest comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Suite {
    /// All that needs no server.
    Unit,
    /// The core's tests on wasm, in Node.
    Wasm,
    /// The seeded simulation.
    Sim,
    /// The daemon against a real Redis.
    Redis,
    /// The Worker in workerd, with the daemon.
    Edge,
    /// The browser package in Chromium.
    Browser,
}

impl Suite {
    fn parts(self) -> Vec<Part> {
        let mut parts = build::parts(self.artefacts());
        parts.extend_from_slice(match self {
            Self::Unit | Self::Sim => &[],
            Self::Wasm => &[Part::WasmTarget, Part::Node, Part::WasmBindgen],
            Self::Redis | Self::Edge => &[Part::Redis],
            Self::Browser => &[Part::Chromium],
        });
        parts
    }

    fn artefacts(self) -> &'static [Artefact] {
        match self {
            Self::Unit | Self::Wasm | Self::Sim | Self::Redis => &[],
            Self::Edge => &[Artefact::Edge, Artefact::Www, Artefact::Daemon],
            Self::Browser => &[Artefact::Edge, Artefact::Www],
        }
    }

    fn commands(self, workspace: &Workspace) -> Result<Vec<Command>> {
        match self {
            Self::Unit => unit(workspace),
            Self::Wasm => Ok(vec![wasm(workspace)]),
            Self::Sim => {
                Targets::of(workspace)?.require("bin", "headwater-tests", "sim")?;
                let mut command = simulation(workspace);
                command.args(["--seeds", &SIMULATION_SEEDS.to_string()]);
                Ok(vec![command])
            }
            Self::Redis | Self::Edge => self.server_tests(workspace),
            Self::Browser => Ok(vec![browser(workspace)?]),
        }
    }

    fn server_tests(self, workspace: &Workspace) -> Result<Vec<Command>> {
        let targets = Targets::of(workspace)?;
        let mine = SERVER_TESTS.iter().filter(|(suite, ..)| *suite == self);
        mine.map(|(_, package, test)| {
            targets.require("test", package, test)?;
            let mut command = cargo_test(workspace);
            command.args(["--package", package, "--test", test]);
            Ok(command)
        })
        .collect()
    }
}

/// `cargo xtask test`: the named suites, or all. Every suite runs, whatever became of the one before.
pub(crate) fn run(workspace: &Workspace, suites: &[Suite]) -> Result<()> {
    let chosen = |suite: &&Suite| suites.is_empty() || suites.contains(suite);
    let mut lines = Vec::new();
    let mut sum = Tally::default();
    for suite in Suite::value_variants().iter().filter(chosen) {
        let started = Instant::now();
        let tally = run_suite(workspace, *suite);
        let line = Line { suite: *suite, tally, took: started.elapsed() };
        eprintln!("{line}");
        sum.add(tally);
        lines.push(line);
    }

    println!();
    for line in &lines {
        println!("{line}");
    }
    println!("{sum}");
    ensure!(sum.failed == 0, "tests failed");
    Ok(())
}

/// The simulation, without arguments.
pub(crate) fn simulation(workspace: &Workspace) -> Command {
    let mut command = cargo(workspace);
    command.args(["run", "--release", "--package", "headwater-tests", "--bin", "sim", "--"]);
    command
}

/// What becomes of a suite that cannot run is a failure of that suite, told at once.
fn run_suite(workspace: &Workspace, suite: Suite) -> Tally {
    let mut tally = Tally::default();
    if let Err(error) = try_suite(workspace, suite, &mut tally) {
        eprintln!("{}: {error:#}", suite.name());
        tally.failed = tally.failed.max(1);
    }
    tally
}

fn try_suite(workspace: &Workspace, suite: Suite, tally: &mut Tally) -> Result<()> {
    setup::ensure(workspace, suite.parts())?;
    build::run(workspace, suite.artefacts(), Profile::Release)?;
    let mut failed = Vec::new();
    for mut command in suite.commands(workspace)? {
        let before = *tally;
        let succeeded = watch(&mut command, |line| tally.read(line))?;
        if suite == Suite::Sim && succeeded {
            tally.passed += 1;
        }
        if !succeeded {
            failed.push(format!("{command:?}"));
        } else if *tally == before && suite != Suite::Unit {
            failed.push(format!("{command:?} ran no tests"));
        }
    }
    if !failed.is_empty() {
        bail!("failed: {}", failed.join("; "));
    }
    Ok(())
}

fn unit(workspace: &Workspace) -> Result<Vec<Command>> {
    let targets = Targets::of(workspace)?;
    let mut tests = cargo_test(workspace);
    tests.args(["--lib", "--bins"]);
    // Named one by one: `--lib` would compile also what its manifest excludes from tests.
    tests.args(targets.packages("test").into_iter().flat_map(|package| ["--package", package]));
    for (package, test) in targets.integration_tests() {
        if !SERVER_TESTS.iter().any(|(_, owner, name)| (*owner, *name) == (package, test)) {
            tests.args(["--test", test]);
        }
    }
    let mut examples = cargo_test(workspace);
    examples.arg("--doc").args(targets.packages("doctest").into_iter().flat_map(|package| ["--package", package]));
    Ok(vec![tests, examples])
}

fn wasm(workspace: &Workspace) -> Command {
    let mut command = cargo_test(workspace);
    command.args(["--package", "headwater", "--tests", "--target", WASM_TARGET]);
    let runner = format!("CARGO_TARGET_{}_RUNNER", WASM_TARGET.to_uppercase().replace('-', "_"));
    command.env(runner, workspace.tool("wasm-bindgen-test-runner"));
    command
}

fn browser(workspace: &Workspace) -> Result<Command> {
    let folder = workspace.root.join("www/tests");
    let is_test = |path: &PathBuf| path.to_string_lossy().ends_with(".test.mjs");
    let mut files: Vec<PathBuf> = match folder.read_dir() {
        Ok(entries) => entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).filter(is_test).collect(),
        Err(error) => bail!("{}: {error}", folder.display()),
    };
    files.sort();
    ensure!(!files.is_empty(), "{} holds no *.test.mjs", folder.display());
    let mut command = Command::new("node");
    // Named one by one: what a folder means here has changed between Node's releases.
    command.current_dir(&workspace.root).args(["--test", "--test-reporter=spec"]).args(files);
    if let Some(chromium) = setup::chromium() {
        command.env("CHROMIUM", chromium);
    }
    Ok(command)
}

fn cargo_test(workspace: &Workspace) -> Command {
    let mut command = cargo(workspace);
    command.args(["test", "--no-fail-fast"]);
    command
}

/// What the manifests of the workspace declare.
struct Targets(Value);

impl Targets {
    fn of(workspace: &Workspace) -> Result<Self> {
        let metadata = output(cargo(workspace).args(["metadata", "--format-version", "1", "--no-deps"]))?;
        Ok(Self(serde_json::from_str(&metadata)?))
    }

    /// The name of its package, then the target itself.
    fn each(&self) -> impl Iterator<Item = (&str, &Value)> {
        let packages = self.0["packages"].as_array().into_iter().flatten();
        packages.flat_map(|package| {
            let name = package["name"].as_str().unwrap_or_default();
            package["targets"].as_array().into_iter().flatten().map(move |target| (name, target))
        })
    }

    fn require(&self, kind: &str, package: &str, name: &str) -> Result<()> {
        let wanted =
            |(owner, target): (&str, &Value)| owner == package && target["kind"][0] == kind && target["name"] == name;
        ensure!(self.each().any(wanted), "{package} has no {kind} target {name}, which this suite must run");
        Ok(())
    }

    /// The packages with a library or program for which `switch`, `test` or `doctest`, is on.
    fn packages(&self, switch: &str) -> BTreeSet<&str> {
        let own = self.each().filter(|(_, target)| target[switch] == true && target["kind"][0] != "test");
        own.map(|(package, _)| package).collect()
    }

    /// Package and name of each test target.
    fn integration_tests(&self) -> impl Iterator<Item = (&str, &str)> {
        let tests = self.each().filter(|(_, target)| target["kind"][0] == "test");
        tests.filter_map(|(package, target)| Some((package, target["name"].as_str()?)))
    }
}

/// Tests that passed and failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tally {
    passed: u64,
    failed: u64,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }

    /// Counts what a summary line of cargo's or Node's test runner says; of any other line, nothing.
    fn read(&mut self, line: &str) {
        if let Some((_, counts)) = line.split_once("test result: ") {
            for count in counts.split(['.', ';']) {
                match count.trim().split_once(' ') {
                    Some((number, "passed")) => self.passed += number.parse().unwrap_or(0),
                    Some((number, "failed")) => self.failed += number.parse().unwrap_or(0),
                    _ => {}
                }
            }
        } else if let Some(number) = line.strip_prefix("ℹ pass ") {
            self.passed += number.parse().unwrap_or(0);
        } else if let Some(number) = line.strip_prefix("ℹ fail ") {
            self.failed += number.parse().unwrap_or(0);
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)
    }
}

/// What is printed of one suite.
struct Line {
    suite: Suite,
    tally: Tally,
    took: Duration,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<8} {:<28} {:>7.1} s", self.suite.name(), self.tally.to_string(), self.took.as_secs_f64())
    }
}

impl Suite {
    fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summaries_of_both_runners_are_counted() {
        let mut tally = Tally::default();
        tally.read("test result: FAILED. 12 passed; 2 failed; 1 ignored; 0 measured; 3 filtered out; finished in 0.1s");
        tally.read("test a_case_that_passed ... ok");
        tally.read("ℹ pass 5");
        tally.read("ℹ fail 1");
        assert_eq!(tally, Tally { passed: 17, failed: 3 });
    }
}
