//! The browser package and the site, in www/dist: the wasm modules with their bindings, the bundled TypeScript, and
//! www/public as it is, and the documentation as pages. From the same modules, the npm package.
//!
//! There are two modules: the one that every page loads has the commands that the package's views are made of, the other one
//! all that a tab can answer. Their bindings are the same, so one file of them serves both.
//!
//! Each www/src/*.ts is an entry of its own. It imports the bindings as `./headwater.js`, which stays an import.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::fingerprint::{Fingerprint, files_below};
use super::short_names::{self, ShortNames};
use super::{Profile, bindings, built_module, docs, package, say_size, wasm_library};
use crate::process::{output, run};
use crate::workspace::Workspace;

const PACKAGE: &str = "headwater-www";
pub(super) const BINDINGS: &str = "headwater";
/// The module with all commands.
pub(super) const ALL_COMMANDS_MODULE: &str = "headwater_all_bg.wasm";

/// What rustc assumes of every host, and no more: a browser may lack what wasm-opt knows besides.
pub(crate) const WASM_FEATURES: [&str; 6] =
    ["mutable-globals", "sign-ext", "nontrapping-float-to-int", "bulk-memory", "multivalue", "reference-types"];

/// What the npm package is made of besides www/src.
const PACKAGE_FILES: [&str; 4] = ["README.md", "package.json", "tsconfig.json", "tsconfig.package.json"];

/// Builds the module that every page loads, as cargo leaves it.
pub(super) fn module(workspace: &Workspace, profile: Profile) -> Result<PathBuf> {
    run(&mut wasm_library(workspace, PACKAGE, profile))?;
    built_module(workspace, PACKAGE, profile)
}

/// Builds the module with all commands, which cargo leaves where the other one will be.
fn module_with_all_commands(workspace: &Workspace, profile: Profile) -> Result<PathBuf> {
    run(wasm_library(workspace, PACKAGE, profile).args(["--features", "all-commands"]))?;
    let kept = workspace.scratch(ALL_COMMANDS_MODULE);
    fs::copy(built_module(workspace, PACKAGE, profile)?, &kept)?;
    Ok(kept)
}

pub(super) fn build(workspace: &Workspace, profile: Profile) -> Result<()> {
    let complete = module_with_all_commands(workspace, profile)?;
    let module = module(workspace, profile)?;
    let www = workspace.root.join("www");
    let mut inputs = Fingerprint::default()
        .text(profile.directory())
        .text("short names, own loading, gufa")
        .file(&module)?
        .file(&complete)?
        .file(&workspace.root.join("package-lock.json"))?
        .file(&workspace.tools().join(".crates.toml"))?
        .folder(&www.join("src"))?
        .folder(&www.join("public"))?;
    for file in PACKAGE_FILES {
        inputs = inputs.file(&www.join(file))?;
    }
    let inputs = docs::inputs(workspace, inputs)?;
    let stamp = workspace.scratch("www.stamp");
    let dist = &workspace.layout.www_dist;
    if inputs.is_recorded(&stamp) && dist.is_dir() && workspace.npm_package().is_dir() {
        return Ok(());
    }

    let stage = workspace.scratch("www");
    if stage.exists() {
        fs::remove_dir_all(&stage)?;
    }
    mirror(&www.join("public"), &stage)?;
    bind(workspace, &module, &stage, profile)?;
    bind_complete(workspace, &complete, &stage, profile)?;
    bundle(workspace, &entries(&www.join("src"))?, &stage, profile)?;
    docs::build(workspace, &stage.join("docs"))?;
    mirror(&stage, dist)?;
    package::build(workspace, &stage)?;
    say_size(workspace, &dist.join(format!("{BINDINGS}_bg.wasm")))?;
    say_size(workspace, &dist.join(ALL_COMMANDS_MODULE))?;
    inputs.record(&stamp)
}

fn bind(workspace: &Workspace, module: &Path, stage: &Path, profile: Profile) -> Result<()> {
    let mut bindgen = Command::new(workspace.tool("wasm-bindgen"));
    // What knows the classes' private fields knows `encodeInto`.
    bindgen.args(["--target", "web", "--encode-into", "always"]);
    bindgen.args(["--out-name", BINDINGS, "--out-dir"]).arg(stage).arg(module);
    run(&mut bindgen)?;
    bindings::without_loading(stage, BINDINGS)?;
    if profile == Profile::Dev {
        return Ok(());
    }
    let bound = stage.join(format!("{BINDINGS}_bg.wasm"));
    let mut optimise = Command::new(workspace.npm_tool("wasm-opt"));
    // What the second round finds is what the first one made flat, and what values never are (gufa). The first kilobyte of
    // memory is the far end of the stack.
    // Instances of one generic function are alike and bear like names: side by side, gzip sees it.
    optimise.args([
        "--low-memory-unused",
        "--flatten",
        "--rereloop",
        "-Oz",
        "--gufa-optimizing",
        "-Oz",
        "--reorder-functions-by-name",
        short_names::PASS,
        "--strip-producers",
        "--strip-target-features",
        "--output",
    ]);
    optimise.arg(&bound).arg(&bound);
    optimise.args(WASM_FEATURES.map(|feature| format!("--enable-{feature}")));
    ShortNames::parse(&output(&mut optimise)?)?.apply(stage, BINDINGS)
}

/// Puts the module with all commands beside the other one, whose bindings it shares.
fn bind_complete(workspace: &Workspace, module: &Path, stage: &Path, profile: Profile) -> Result<()> {
    let bound = workspace.scratch("www-complete");
    bind(workspace, module, &bound, profile)?;
    let bindings = format!("{BINDINGS}.js");
    let [ours, theirs] = [stage, &bound].map(|folder| fs::read(folder.join(&bindings)));
    ensure!(ours? == theirs?, "the modules with few and with all commands have different bindings");
    fs::copy(bound.join(format!("{BINDINGS}_bg.wasm")), stage.join(ALL_COMMANDS_MODULE))?;
    Ok(())
}

fn entries(source: &Path) -> Result<Vec<PathBuf>> {
    let is_entry = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        path.parent() == Some(source)
            && name.ends_with(".ts")
            && !name.ends_with(".d.ts")
            && !name.ends_with(".test.ts")
    };
    Ok(files_below(source)?.into_iter().filter(is_entry).collect())
}

fn bundle(workspace: &Workspace, entries: &[PathBuf], stage: &Path, profile: Profile) -> Result<()> {
    if entries.is_empty() {
        return Ok(());
    }
    let mut esbuild = Command::new(workspace.npm_tool("esbuild"));
    esbuild
        .args(["--bundle", "--splitting", "--format=esm", "--target=es2022", "--sourcemap", "--log-level=warning"])
        .arg(format!("--external:./{BINDINGS}.js"))
        .arg(format!("--outdir={}", stage.display()))
        .args(entries);
    if profile != Profile::Dev {
        esbuild.arg("--minify");
    }
    run(&mut esbuild)
}

/// Makes `to` hold what `from` holds and nothing else, without a moment in which a file that stays is absent. Nothing
/// where `from` does not exist.
pub(super) fn mirror(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    let wanted: Vec<PathBuf> =
        files_below(from)?.iter().filter_map(|path| path.strip_prefix(from).ok().map(Path::to_path_buf)).collect();
    for file in &wanted {
        let target = to.join(file);
        fs::create_dir_all(target.parent().unwrap_or(to))?;
        fs::copy(from.join(file), &target).with_context(|| target.display().to_string())?;
    }
    for file in files_below(to)? {
        if file.strip_prefix(to).is_ok_and(|file| !wanted.iter().any(|wanted| wanted == file)) {
            fs::remove_file(file)?;
        }
    }
    Ok(())
}
