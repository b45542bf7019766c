//! The npm package `headwater`, in target/npm/headwater, as `npm pack` and `npm publish` take it: the modules with their
//! bindings, the bundled entries, and their declarations. It has the version of the workspace.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};

use super::www::{ALL_COMMANDS_MODULE, BINDINGS, mirror};
use crate::process::run;
use crate::workspace::Workspace;

/// The entries, as package.json exports them.
const ENTRIES: [&str; 2] = ["index.ts", "react/index.ts"];

/// Builds the package from `bound`, a folder with the modules and their bindings, which the site's dist must have already.
pub(super) fn build(workspace: &Workspace, bound: &Path) -> Result<()> {
    let www = workspace.root.join("www");
    let stage = workspace.scratch("npm");
    if stage.exists() {
        fs::remove_dir_all(&stage)?;
    }
    fs::create_dir_all(&stage)?;
    for file in [".js", "_bg.wasm", "_bg.wasm.d.ts"].map(|ending| format!("{BINDINGS}{ending}")) {
        fs::copy(bound.join(&file), stage.join(&file))?;
    }
    fs::copy(bound.join(ALL_COMMANDS_MODULE), stage.join(ALL_COMMANDS_MODULE))?;
    let declared = format!("{BINDINGS}.d.ts");
    fs::write(stage.join(&declared), without_disposal(&fs::read_to_string(bound.join(&declared))?))?;
    fs::copy(www.join("README.md"), stage.join("README.md"))?;
    fs::write(stage.join("package.json"), manifest(&fs::read_to_string(www.join("package.json"))?)?)?;

    let mut esbuild = Command::new(workspace.npm_tool("esbuild"));
    esbuild
        .args(["--bundle", "--format=esm", "--target=es2022", "--sourcemap", "--log-level=warning"])
        .args([&format!("--external:./{BINDINGS}.js"), "--external:react"])
        .arg(format!("--outdir={}", stage.display()))
        .args(ENTRIES.map(|entry| www.join("src").join(entry)));
    run(&mut esbuild)?;
    let mut declarations = Command::new(workspace.npm_tool("tsc"));
    declarations.arg("--project").arg(www.join("tsconfig.package.json")).arg("--outDir").arg(&stage);
    run(&mut declarations)?;
    mirror(&stage, &workspace.npm_package())
}

/// The bindings' declarations for projects whose `lib` does not know `Symbol.dispose` yet; nobody disposes of a leaf so.
fn without_disposal(declarations: &str) -> String {
    declarations.lines().filter(|line| !line.contains("[Symbol.dispose]")).flat_map(|line| [line, "\n"]).collect()
}

/// The manifest with the version of the workspace.
fn manifest(template: &str) -> Result<String> {
    const PLACE: &str = "\"version\": \"0.0.0\"";
    ensure!(template.contains(PLACE), "www/package.json has no {PLACE}");
    Ok(template.replace(PLACE, &format!("\"version\": \"{}\"", env!("CARGO_PKG_VERSION"))))
}
