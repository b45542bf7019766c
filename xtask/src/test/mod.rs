//! The test suites: what each needs, runs, and must not lack.
//!
//! Each suite sets up and builds what it needs, so any can be run alone on a fresh checkout. A suite whose tests do not
//! exist, or that ran none, has failed: nothing passes by absence.

mod stack;
mod tally;

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use clap::ValueEnum;
use serde_json::Value;

use crate::build::{self, Artefact, Profile};
use crate::process::{cargo, described, output, run as run_command, watch};
use crate::setup::{self, Part};
use crate::workspace::{WASI_TARGET, WASM_TARGET, Workspace};

use stack::Stack;
use tally::Tally;

/// The tests that need servers, each the job of one suite. All other tests of the workspace are unit tests.
const SERVER_TESTS: &[(Suite, &str, &str)] = &[
    (Suite::Redis, "headwater", "differential"),
    (Suite::Redis, "headwater-tests", "harness"),
    (Suite::Redis, "origin-sync", "redis"),
    (Suite::Redis, "origin-sync", "daemon"),
    (Suite::Redis, "origin-sync", "hostile"),
    (Suite::Redis, "origin-sync", "telemetry"),
    (Suite::Faults, "origin-sync", "faults"),
    (Suite::Edge, "headwater-tests", "edge"),
];

/// The core's test for wasm32-unknown-unknown itself.
const WASM_TEST: &str = "wasm";

/// How many seeds `test sim` runs in each scenario; the same each time, so that it fails for a change and not by luck.
const SIMULATION_SEEDS: u32 = 100;

/// What one command of a suite may take, several times of what any takes on a slow machine. A test that hangs fails its suite.
const COMMAND_LIMIT: Duration = Duration::from_secs(20 * 60);

/// How Node runs tests: one that hangs, or a file of them, fails after ten minutes. One file after the other, since those that
/// count hits compare with what was there before.
const NODE_TESTS: [&str; 4] = ["--test", "--test-reporter=spec", "--test-timeout=600000", "--test-concurrency=1"];

/// In the order in which they run: what fails fastest comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Suite {
    /// All that needs no server.
    Unit,
    /// All tests of the core again, compiled to wasm, in Node.
    Wasm,
    /// The seeded simulation.
    Sim,
    /// The daemon against real Redis servers: one, by TLS, under sentinels, a cluster, Valkey; and without.
    Redis,
    /// The daemon while servers and itself are killed, stopped and misused, with what was acknowledged counted.
    Faults,
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
            Self::Wasm => &[Part::Target(WASI_TARGET), Part::Target(WASM_TARGET), Part::Node, Part::WasmBindgen],
            // And Valkey where it is offered.
            Self::Redis | Self::Faults => &[Part::Redis],
            Self::Edge => &[Part::Redis, Part::Wrangler],
            Self::Browser => &[Part::Chromium],
        });
        parts
    }

    fn artefacts(self) -> &'static [Artefact] {
        match self {
            Self::Unit | Self::Wasm | Self::Sim | Self::Redis | Self::Faults => &[],
            Self::Edge => &[Artefact::Edge, Artefact::Www, Artefact::Daemon, Artefact::Example],
            Self::Browser => &Artefact::ALL,
        }
    }

    fn commands(self, workspace: &Workspace) -> Result<Vec<Command>> {
        match self {
            Self::Unit => unit(workspace),
            Self::Wasm => wasm(workspace),
            Self::Sim => {
                Targets::of(workspace)?.require("bin", "headwater-tests", "sim")?;
                let mut seeds = simulation(workspace);
                seeds.args(["--seeds", &SIMULATION_SEEDS.to_string()]);
                let mut mutants = simulation(workspace);
                mutants.arg("--mutants");
                Ok(vec![seeds, mutants])
            }
            Self::Redis => {
                let mut commands = self.server_tests(workspace)?;
                with_valkey(workspace, &mut commands, &[]);
                Ok(commands)
            }
            Self::Edge => {
                let mut commands = self.server_tests(workspace)?;
                commands.push(deployment(workspace));
                Ok(commands)
            }
            Self::Faults => {
                let mut commands = self.server_tests(workspace)?;
                // What each case counted is printed, and one at a time, since each wants the machine for itself.
                with_valkey(workspace, &mut commands, &["--nocapture", "--test-threads=1"]);
                Ok(commands)
            }
            Self::Browser => Ok(vec![browser(workspace)?]),
        }
    }

    fn server_tests(self, workspace: &Workspace) -> Result<Vec<Command>> {
        let targets = Targets::of(workspace)?;
        let mine = SERVER_TESTS.iter().filter(|(suite, ..)| *suite == self);
        mine.map(|(_, package, test)| {
            targets.require("test", package, test)?;
            let mut command = targets.cargo_test(workspace);
            command.args(["--test", test]).args(targets.features_of(package, test));
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
    command.args([
        "run",
        "--profile",
        "sim",
        "--package",
        "headwater-tests",
        "--features",
        "simulation",
        "--bin",
        "sim",
        "--",
    ]);
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
    for artefact in suite.artefacts() {
        match artefact {
            // What workerd and browsers load is tested as it ships.
            Artefact::Edge | Artefact::Www | Artefact::Example => {
                build::run(workspace, &[*artefact], Profile::Release)?;
            }
            Artefact::Daemon => run_command(&mut Targets::of(workspace)?.daemon(workspace))?,
        }
    }
    let commands = suite.commands(workspace)?;
    let stack = if suite == Suite::Browser { Some(Stack::start(workspace)?) } else { None };
    let mut failed = Vec::new();
    for mut command in commands {
        command.envs(stack.iter().flat_map(Stack::environment));
        let before = *tally;
        let succeeded = watch(&mut command, COMMAND_LIMIT, |line| tally.read(line))?;
        if !succeeded {
            failed.push(described(&command));
        } else if (tally.passed, tally.failed) == (before.passed, before.failed) && suite != Suite::Unit {
            failed.push(format!("{} ran no tests", described(&command)));
        }
    }
    if !failed.is_empty() {
        bail!("failed: {}", failed.join("; "));
    }
    Ok(())
}

fn unit(workspace: &Workspace) -> Result<Vec<Command>> {
    let targets = Targets::of(workspace)?;
    let mut own = targets.cargo_test(workspace);
    // What a manifest excludes from tests is excluded here.
    own.args(["--lib", "--bins"]);
    let mut tests = targets.cargo_test(workspace);
    for (package, test) in targets.integration_tests()? {
        if !SERVER_TESTS.iter().any(|(_, owner, name)| (*owner, *name) == (package, test)) {
            tests.args(["--test", test]);
        }
    }
    let mut examples = targets.cargo_test(workspace);
    examples.arg("--doc");
    Ok(vec![own, tests, examples])
}

/// Rust's test runner needs a host with files, so all tests of the core run on WASI; those that were written for the
/// target that ships run there too.
fn wasm(workspace: &Workspace) -> Result<Vec<Command>> {
    let on = |target: &str, runner: &[&Path]| {
        let mut command = cargo_test(workspace);
        // An array, so that a path may hold spaces.
        let config = format!("target.{target}.runner = {runner:?}");
        command.args(["--package", "headwater", "--target", target, "--config", &config]);
        command
    };
    // Node's fast calls of WASI from compiled code write past what they should (nodejs/node issue 53087): under load, every
    // other program ended in a segmentation fault after its last test.
    let node = ["node", "--no-warnings", "--no-turbo-fast-api-calls"].map(Path::new);
    let mut wasi = on(WASI_TARGET, &[node[0], node[1], node[2], &workspace.root.join("xtask/wasi.mjs")]);
    wasi.arg("--tests");

    Targets::of(workspace)?.require("test", "headwater", WASM_TEST)?;
    let mut shipped = on(WASM_TARGET, &[&workspace.tool("wasm-bindgen-test-runner")]);
    shipped.args(["--test", WASM_TEST]);
    Ok(vec![wasi, shipped])
}

/// What the Worker would be uploaded as, and how large that is.
fn deployment(workspace: &Workspace) -> Command {
    let mut command = Command::new("node");
    command.current_dir(&workspace.root);
    command.args(NODE_TESTS).arg("tests/edge/deploy/deploy.test.mjs");
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
    command.current_dir(&workspace.root).args(NODE_TESTS).args(files);
    command.env("HEADWATER_TEST_PACKAGE", workspace.npm_package());
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

/// Appends what the tests' runner is told: also to run those that need Valkey, where it is offered. Where it is not they are
/// counted as skipped.
fn with_valkey(workspace: &Workspace, commands: &mut [Command], arguments: &[&str]) {
    let valkey = setup::offered(workspace, Part::Valkey).then_some("--include-ignored");
    for command in commands {
        command.arg("--").args(arguments).args(valkey);
    }
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

    /// Cargo's tests, of which what follows says which. Always of the same packages: cargo gives a dependency the features that
    /// all of those ask for, and would compile most of it anew for others.
    fn cargo_test(&self, workspace: &Workspace) -> Command {
        let mut command = cargo_test(workspace);
        command.args(self.of_the_tested());
        command
    }

    /// Builds the daemon as its own tests are given it. To optimise it takes minutes, and changes nothing that tests look at.
    fn daemon(&self, workspace: &Workspace) -> Command {
        let mut command = self.cargo_test(workspace);
        command.args(["--no-run", "--test", "daemon"]);
        command
    }

    /// As arguments, the packages with a library or program that has tests.
    fn of_the_tested(&self) -> impl Iterator<Item = &str> {
        let own = self.each().filter(|(_, target)| target["test"] == true && target["kind"][0] != "test");
        let packages: BTreeSet<&str> = own.map(|(package, _)| package).collect();
        packages.into_iter().flat_map(|package| ["--package", package])
    }

    fn require(&self, kind: &str, package: &str, name: &str) -> Result<()> {
        let wanted =
            |(owner, target): (&str, &Value)| owner == package && target["kind"][0] == kind && target["name"] == name;
        ensure!(self.each().any(wanted), "{package} has no {kind} target {name}, which this suite must run");
        Ok(())
    }

    /// As arguments, the features without which a test target is not compiled.
    fn features_of(&self, package: &str, test: &str) -> Vec<String> {
        let is = |(owner, target): &(&str, &Value)| {
            *owner == package && target["kind"][0] == "test" && target["name"] == test
        };
        let required = self.each().find(is).map(|(_, target)| target["required-features"].clone()).unwrap_or_default();
        let names = required.as_array().into_iter().flatten().filter_map(Value::as_str);
        names.flat_map(|name| ["--features".to_owned(), format!("{package}/{name}")]).collect()
    }

    /// Each test target with its package. No two have one name, since cargo is asked for them by name alone.
    fn integration_tests(&self) -> Result<Vec<(&str, &str)>> {
        let tests = self.each().filter(|(_, target)| target["kind"][0] == "test");
        let tests: Vec<_> =
            tests.map(|(package, target)| (package, target["name"].as_str().unwrap_or_default())).collect();
        let mut names = BTreeSet::new();
        for (package, test) in &tests {
            ensure!(names.insert(test), "{package} has a test target {test}, as another package has: rename one");
        }
        Ok(tests)
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
