//! What holds of the source, and is checked without running it.
//!
//! Every check runs even where an earlier one failed, so that one run shows all there is to mend.

mod dependencies;
mod imports;
mod purity;

use std::process::Command;
use std::time::Instant;

use anyhow::{Result, bail};

use crate::build;
use crate::process::{self, cargo, succeeds};
use crate::setup::{Part, ensure};
use crate::workspace::{WASM_TARGET, Workspace};

/// A check fails with an error.
type Check = fn(&Workspace) -> Result<Outcome>;

enum Outcome {
    Holds,
    /// What is checked does not exist, or what checks it; with the reason.
    Skipped(&'static str),
}

const CHECKS: &[(&str, Check)] = &[
    ("format", format),
    ("clippy", clippy),
    ("clippy for wasm", clippy_for_wasm),
    ("clippy of the browser's core", clippy_without_hub),
    ("dependencies point inward", dependencies::check),
    ("the core draws on nothing but its arguments", purity::check),
    ("the core imports nothing", imports::core),
    ("the browser module imports its bindings only", imports::www),
    ("types of the browser package", browser_types),
    ("cargo-deny", cargo_deny),
];

/// `cargo xtask lint`.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    ensure(workspace, [Part::Target(WASM_TARGET)])?;
    let mut failed = Vec::new();
    for (name, check) in CHECKS {
        let started = Instant::now();
        let word = match check(workspace) {
            Ok(Outcome::Holds) => "holds".to_owned(),
            Ok(Outcome::Skipped(reason)) => format!("skipped: {reason}"),
            Err(error) => {
                failed.push(*name);
                format!("FAILS: {error:#}")
            }
        };
        eprintln!("{name}: {word} ({:.1} s)", started.elapsed().as_secs_f64());
    }
    if !failed.is_empty() {
        bail!("{} of {} checks failed: {}", failed.len(), CHECKS.len(), failed.join("; "));
    }
    Ok(())
}

fn format(workspace: &Workspace) -> Result<Outcome> {
    holds(cargo(workspace).args(["fmt", "--all", "--check"]))
}

fn clippy(workspace: &Workspace) -> Result<Outcome> {
    holds(cargo(workspace).args([
        "clippy",
        "--workspace",
        "--all-targets",
        "--features",
        "origin-sync/otel",
        "--",
        "--deny",
        "warnings",
    ]))
}

/// What is under `cfg(target_arch = "wasm32")` is seen only here.
fn clippy_for_wasm(workspace: &Workspace) -> Result<Outcome> {
    let mut clippy = cargo(workspace);
    clippy.args(["clippy", "--lib", "--target", WASM_TARGET]);
    clippy.args(["--package", "headwater", "--package", "headwater-edge", "--package", "headwater-www"]);
    clippy.args(["--package", "headwater-bench", "--package", "headwater-bench-worker"]);
    clippy.args(["--package", "headwater-edge-example"]);
    holds(clippy.args(["--", "--deny", "warnings"]))
}

/// The core as the browser module has it, which others in the same build would add their features to.
fn clippy_without_hub(workspace: &Workspace) -> Result<Outcome> {
    let mut clippy = cargo(workspace);
    clippy.args(["clippy", "--lib", "--package", "headwater", "--no-default-features"]);
    holds(clippy.args(["--", "--deny", "warnings"]))
}

/// The TypeScript is checked against the bindings that wasm-bindgen wrote, so those are built first.
fn browser_types(workspace: &Workspace) -> Result<Outcome> {
    let project = workspace.root.join("www/tsconfig.json");
    if !project.is_file() {
        return Ok(Outcome::Skipped("there is no www/tsconfig.json"));
    }
    let artefacts = [build::Artefact::Www];
    ensure(workspace, build::parts(&artefacts))?;
    build::run(workspace, &artefacts, build::Profile::Release)?;
    holds(Command::new(workspace.npm_tool("tsc")).args(["--noEmit", "--project"]).arg(project))
}

/// An advisory check, run where somebody has installed the tool.
fn cargo_deny(workspace: &Workspace) -> Result<Outcome> {
    if !succeeds(cargo(workspace).args(["deny", "--version"])) {
        return Ok(Outcome::Skipped("cargo-deny is not installed, licences and advisories go unchecked"));
    }
    holds(cargo(workspace).args(["deny", "check"]))
}

fn holds(command: &mut Command) -> Result<Outcome> {
    process::run(command).map(|()| Outcome::Holds)
}
