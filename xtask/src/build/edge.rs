//! Workers as worker-build bundles them: the edge's in edge/build, and what benches need beside it.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::fingerprint::Fingerprint;
use super::www::WASM_FEATURES;
use super::{Profile, built_module, say_size, wasm_library};
use crate::process::run;
use crate::workspace::Workspace;

/// The Worker that ships.
pub(super) fn build(workspace: &Workspace, profile: Profile) -> Result<()> {
    worker(workspace, "edge", "headwater-edge", profile, &SMALL)?;
    let edge = workspace.root.join("edge");
    fs::copy(edge.join("src/entry.js"), edge.join("build/entry.js")).context("edge/src/entry.js")?;
    Ok(())
}

/// Small rather than fast: what is uploaded has a limit, and a request waits for storage longer than for code.
pub(crate) const SMALL: Settings = [("CARGO_PROFILE_RELEASE_OPT_LEVEL", "s")];

/// As Workers are built that say nothing of it.
pub(crate) const FAST: Settings = [("CARGO_PROFILE_RELEASE_OPT_LEVEL", "3")];

/// Variables of cargo's environment.
pub(crate) type Settings = [(&'static str, &'static str); 1];

/// Builds the Worker of one crate into its folder's `build`, under these settings of cargo beside its profile's.
pub(crate) fn worker(
    workspace: &Workspace,
    folder: &str,
    package: &str,
    profile: Profile,
    settings: &Settings,
) -> Result<()> {
    // As worker-build will build it, so that it finds everything fresh.
    let mut cargo = wasm_library(workspace, package, profile);
    run(cargo.env("WASM_BINDGEN_USE_JS_SYS", "1").envs(*settings))?;

    let module = built_module(workspace, package, profile)?;
    let folder = workspace.root.join(folder);
    let inputs = Fingerprint::default()
        .text(profile.directory())
        .file(&module)?
        .text("fast, without names")
        .text(settings[0].1)
        .file(&workspace.root.join("package-lock.json"))?
        .file(&workspace.tools().join(".crates.toml"))?;
    let stamp = workspace.scratch(format!("{}.stamp", package.trim_start_matches("headwater-")));
    let bundled = folder.join("build/index_bg.wasm");
    if inputs.is_recorded(&stamp) && bundled.is_file() {
        return Ok(());
    }
    run(worker_build(workspace, &folder, profile).envs(*settings))?;
    if profile != Profile::Dev {
        run(&mut without_names(workspace, &bundled))?;
    }
    say_size(workspace, &bundled)?;
    inputs.record(&stamp)
}

/// Without the names of all functions, which are a sixteenth of what is uploaded, and optimised for speed, which adds less than a
/// hundredth.
fn without_names(workspace: &Workspace, module: &Path) -> Command {
    let mut optimise = Command::new(workspace.npm_tool("wasm-opt"));
    optimise.args(["-O3", "--strip-debug", "--enable-exception-handling", "--output"]).arg(module).arg(module);
    optimise.args(WASM_FEATURES.map(|feature| format!("--enable-{feature}")));
    optimise
}

fn worker_build(workspace: &Workspace, folder: &Path, profile: Profile) -> Command {
    let mut build = Command::new(workspace.tool("worker-build"));
    build.current_dir(folder);
    match profile {
        Profile::Dev => build.args(["--dev", "--no-opt"]),
        // Optimised once, when its names go, and not twice.
        Profile::Release | Profile::Small => build.args(["--release", "--no-opt"]),
    };
    // What it is not given it would download.
    build
        .env("WASM_BINDGEN_BIN", workspace.tool("wasm-bindgen"))
        .env("WASM_OPT_BIN", workspace.npm_tool("wasm-opt"))
        .env("ESBUILD_BIN", workspace.npm_tool("esbuild"));
    build
}
