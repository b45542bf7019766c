//! The edge Worker: worker-build's bundle in edge/build.

use std::process::Command;

use anyhow::Result;

use super::fingerprint::Fingerprint;
use super::{Profile, built_module, say_size, wasm_library};
use crate::process::run;
use crate::workspace::Workspace;

const PACKAGE: &str = "headwater-edge";

pub(super) fn build(workspace: &Workspace, profile: Profile) -> Result<()> {
    // As worker-build will build it, so that it finds everything fresh.
    let mut cargo = wasm_library(workspace, PACKAGE, profile);
    run(cargo.env("WASM_BINDGEN_USE_JS_SYS", "1"))?;

    let module = built_module(workspace, PACKAGE, profile)?;
    let inputs = Fingerprint::default()
        .text(profile.directory())
        .file(&module)?
        .file(&workspace.root.join("package-lock.json"))?
        .file(&workspace.tools().join(".crates.toml"))?;
    let stamp = workspace.scratch("edge.stamp");
    let bundled = workspace.layout.edge_build.join("index_bg.wasm");
    if inputs.is_recorded(&stamp) && bundled.is_file() {
        return Ok(());
    }
    run(&mut worker_build(workspace, profile))?;
    say_size(workspace, &bundled)?;
    inputs.record(&stamp)
}

fn worker_build(workspace: &Workspace, profile: Profile) -> Command {
    let mut build = Command::new(workspace.tool("worker-build"));
    build.current_dir(workspace.root.join("edge"));
    match profile {
        Profile::Dev => build.args(["--dev", "--no-opt"]),
        Profile::Release | Profile::Small => build.arg("--release"),
    };
    // What it is not given it would download.
    build
        .env("WASM_BINDGEN_BIN", workspace.tool("wasm-bindgen"))
        .env("WASM_OPT_BIN", workspace.npm_tool("wasm-opt"))
        .env("ESBUILD_BIN", workspace.npm_tool("esbuild"));
    build
}
