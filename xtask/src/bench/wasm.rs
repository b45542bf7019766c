//! The benches in wasm: built as the browser package is, bound for Node, run there beside Node's peers.

use std::process::Command;

use anyhow::{Context, Result};

use crate::build::WASM_FEATURES;
use crate::process::{cargo, run, run_quietly};
use crate::setup::{self, Part};
use crate::workspace::{WASM_TARGET, Workspace};

use super::Options;
use super::measured::{Measured, measurements, with};

const PACKAGE: &str = "headwater-bench";

/// Builds and runs them.
pub(super) fn measured(workspace: &Workspace, options: &Options) -> Result<Vec<Measured>> {
    setup::ensure(workspace, [Part::Target(WASM_TARGET), Part::Node, Part::NpmPackages, Part::WasmBindgen])?;
    let bindings = build(workspace).context("the benches in wasm")?;
    let bench = workspace.root.join("bench");
    let mut npm = Command::new("npm");
    npm.current_dir(&bench).args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]);
    run_quietly("installing the peers in Node", &workspace.scratch("bench-npm.log"), &mut npm)?;
    let mut node = Command::new("node");
    node.current_dir(&bench).arg("node/core.mjs").arg(bindings);
    measurements(&mut with(node, options))
}

/// The bindings for Node, beside which lies the module, optimised as the browser's is.
fn build(workspace: &Workspace) -> Result<std::path::PathBuf> {
    let mut build = cargo(workspace);
    build.args(["build", "--release", "--package", PACKAGE, "--lib", "--target", WASM_TARGET]);
    run(&mut build)?;
    let folder = workspace.scratch("bench-wasm");
    let mut bindgen = Command::new(workspace.tool("wasm-bindgen"));
    bindgen.args(["--target", "nodejs", "--out-name", "bench", "--out-dir"]).arg(&folder);
    run(bindgen.arg(workspace.wasm_module(PACKAGE, "release")))?;
    let module = folder.join("bench_bg.wasm");
    let mut optimise = Command::new(workspace.npm_tool("wasm-opt"));
    optimise.args(["-O", "--output"]).arg(&module).arg(&module);
    optimise.args(WASM_FEATURES.map(|feature| format!("--enable-{feature}")));
    run(&mut optimise)?;
    // Node takes a `.js` file for a script where no package.json says otherwise.
    Ok(folder.join("bench.js"))
}
