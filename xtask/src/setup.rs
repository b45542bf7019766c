//! Installs the tools that are missing, and nothing else.
//!
//! What can stay inside the checkout does: programs of crates in `target/tools`, npm packages in `node_modules`. Only
//! Redis, Chromium and OpenSSL's headers come from the system's packages. Versions are pinned here and in the npm lock
//! file. The system's own Redis service, where its package starts one, is never used: everything of ours has its own
//! port.
//!
//! Valkey is optional, since not every system offers it: tests that need it are then counted as skipped.

mod valkey;

use std::fs;
use std::io::{IsTerminal, stdin};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process::{cargo, output, run_quietly, succeeds};
use crate::workspace::{WASI_TARGET, WASM_TARGET, Workspace};

const WORKER_BUILD: &str = "0.8.7";
/// The same as the library's in Cargo.toml: the two speak a private format with each other.
const WASM_BINDGEN: &str = "0.2.130";
const LLVM_COV: &str = "0.9.1";
const NODE_MAJOR_MIN: u32 = 20;

/// One thing that may be missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    /// A compilation target of Rust's.
    Target(&'static str),
    Node,
    NpmPackages,
    WasmBindgen,
    WorkerBuild,
    Redis,
    /// Optional.
    Valkey,
    Chromium,
    /// What deploys the Worker. Apart from the other npm packages, since it brings a workerd of its own.
    Wrangler,
    /// For `coverage` alone, so `setup` leaves it out.
    LlvmTools,
    /// See [`Part::LlvmTools`].
    LlvmCov,
}

impl Part {
    /// All, each after what it needs.
    const ALL: [Self; 10] = [
        Self::Target(WASM_TARGET),
        Self::Target(WASI_TARGET),
        Self::Node,
        Self::NpmPackages,
        Self::WasmBindgen,
        Self::WorkerBuild,
        Self::Redis,
        Self::Valkey,
        Self::Chromium,
        Self::Wrangler,
    ];

    fn is_optional(self) -> bool {
        self == Self::Valkey
    }

    fn name(self) -> String {
        match self {
            Self::Target(target) => format!("Rust target {target}"),
            Self::Node => format!("Node {NODE_MAJOR_MIN} or later"),
            Self::NpmPackages => "npm packages".into(),
            Self::WasmBindgen => format!("wasm-bindgen {WASM_BINDGEN}"),
            Self::WorkerBuild => format!("worker-build {WORKER_BUILD}"),
            Self::Redis => "Redis".into(),
            Self::Valkey => "Valkey".into(),
            Self::Chromium => "Chromium".into(),
            Self::Wrangler => "Wrangler".into(),
            Self::LlvmTools => "LLVM's tools".into(),
            Self::LlvmCov => format!("cargo-llvm-cov {LLVM_COV}"),
        }
    }

    fn present(self, workspace: &Workspace) -> bool {
        match self {
            Self::Target(target) => standard_library(workspace, target).is_some_and(|library| library.is_dir()),
            Self::Node => node_major().is_some_and(|major| major >= NODE_MAJOR_MIN),
            Self::NpmPackages => is_npm_installed(&workspace.root),
            Self::Wrangler => is_npm_installed(&workspace.root.join(DEPLOY)),
            Self::WasmBindgen => installed_with_cargo(workspace, "wasm-bindgen-cli", WASM_BINDGEN),
            Self::WorkerBuild => installed_with_cargo(workspace, "worker-build", WORKER_BUILD),
            Self::Redis => on_path("redis-server") && on_path("redis-cli"),
            Self::Valkey => valkey::is_present(workspace),
            Self::Chromium => chromium().is_some() && on_path("chromedriver"),
            Self::LlvmTools => host_library(workspace)
                .is_some_and(|library| library.with_file_name("bin").join("llvm-profdata").is_file()),
            Self::LlvmCov => installed_with_cargo(workspace, "cargo-llvm-cov", LLVM_COV),
        }
    }

    fn install(self, workspace: &Workspace) -> Result<()> {
        match self {
            Self::Target(target) => self.install_with_rustup(workspace, ["target", "add", target]),
            Self::LlvmTools => self.install_with_rustup(workspace, ["component", "add", "llvm-tools"]),
            Self::Node => match node_major() {
                Some(major) => {
                    bail!("Node {major} is too old; {NODE_MAJOR_MIN} or later is needed (https://nodejs.org)")
                }
                None => bail!("Node is not installed; {NODE_MAJOR_MIN} or later is needed (https://nodejs.org)"),
            },
            Self::NpmPackages => install_npm_packages(workspace, self, &workspace.root),
            Self::Wrangler => install_npm_packages(workspace, self, &workspace.root.join(DEPLOY)),
            // Not `--locked`: its lock file names a release that the registry no longer has.
            Self::WasmBindgen => self.install_with_cargo(workspace, "wasm-bindgen-cli", WASM_BINDGEN, false),
            Self::WorkerBuild => {
                if !succeeds(Command::new("pkg-config").args(["--exists", "openssl"])) {
                    install_packages(workspace, &["pkg-config", "libssl-dev"])?;
                }
                self.install_with_cargo(workspace, "worker-build", WORKER_BUILD, true)
            }
            Self::Redis => install_packages(workspace, &["redis-server", "redis-tools"]),
            Self::Valkey => valkey::unpack(workspace),
            Self::Chromium => install_packages(workspace, &["chromium", "chromium-driver"]),
            Self::LlvmCov => self.install_with_cargo(workspace, "cargo-llvm-cov", LLVM_COV, true),
        }
    }

    fn install_with_rustup(self, workspace: &Workspace, arguments: [&str; 3]) -> Result<()> {
        let mut rustup = Command::new("rustup");
        rustup.current_dir(&workspace.root).args(arguments);
        quietly(workspace, self, &mut rustup).context("is Rust installed with rustup (https://rustup.rs)?")
    }

    fn install_with_cargo(self, workspace: &Workspace, package: &str, version: &str, locked: bool) -> Result<()> {
        let mut install = cargo(workspace);
        install.args(["install", package, "--version", version, "--root"]).arg(workspace.tools());
        if locked {
            install.arg("--locked");
        }
        // These tools run for seconds; it takes minutes to optimise them.
        install.envs([("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0"), ("CARGO_PROFILE_RELEASE_LTO", "off")]);
        install.env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16");
        quietly(workspace, self, &mut install)
    }
}

/// `cargo xtask setup`: every part; goes on past what cannot be installed, and says so at the end.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let mut missing = Vec::new();
    for part in Part::ALL {
        if part.present(workspace) {
            eprintln!("{}: present", part.name());
        } else if part.is_optional() {
            offered(workspace, part);
        } else if let Err(error) = install(workspace, part) {
            eprintln!("{error:#}");
            missing.push(part.name());
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    bail!("still missing: {}. What does not need it works.", missing.join(", "))
}

/// Installs what is missing of `parts`; says nothing about what is there.
///
/// # Errors
/// At the first part that cannot be installed.
pub(crate) fn ensure(workspace: &Workspace, parts: impl IntoIterator<Item = Part>) -> Result<()> {
    let mut parts: Vec<Part> = parts.into_iter().collect();
    parts.sort_unstable();
    parts.dedup();
    parts.into_iter().filter(|part| !part.present(workspace)).try_for_each(|part| install(workspace, part))
}

/// Whether an optional part is there, or can be installed. Says why where it can not.
pub(crate) fn offered(workspace: &Workspace, part: Part) -> bool {
    if part.present(workspace) {
        return true;
    }
    let installed = install(workspace, part);
    if let Err(error) = &installed {
        eprintln!("{error:#}\n{}: none here; tests that need it are skipped", part.name());
    }
    installed.is_ok()
}

/// The browser's program.
pub(crate) fn chromium() -> Option<PathBuf> {
    ["chromium", "chromium-browser", "google-chrome"].into_iter().find_map(find_on_path)
}

fn install(workspace: &Workspace, part: Part) -> Result<()> {
    part.install(workspace).with_context(|| format!("{} is missing and could not be installed", part.name()))?;
    if !part.present(workspace) {
        bail!("{} was installed, yet is not found", part.name());
    }
    Ok(())
}

fn quietly(workspace: &Workspace, part: Part, command: &mut Command) -> Result<()> {
    let log = workspace.scratch(format!("setup-{}.log", part.name().replace(' ', "-")));
    run_quietly(&format!("installing {}", part.name()), &log, command)
}

/// Debian's packages, by apt-get, as root or through sudo.
fn install_packages(workspace: &Workspace, packages: &[&str]) -> Result<()> {
    let by_hand = format!("sudo apt-get update && sudo apt-get install --yes {}", packages.join(" "));
    let what = packages.join(" and ");
    if !on_path("apt-get") {
        bail!("{what}: this system has no apt-get; install them its own way (on Debian: {by_hand})");
    }
    let Some(privileged) = privilege() else { bail!("{what} need root; run this yourself: {by_hand}") };
    let apt = |arguments: &[&str], log: &str| {
        let mut words = privileged.iter().copied().chain(["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]);
        let mut command = Command::new(words.next().unwrap_or("env"));
        command.args(words).args(arguments);
        run_quietly(&format!("apt-get {}", arguments.join(" ")), &workspace.scratch(log), &mut command)
    };
    // A stale list can still be good enough.
    if let Err(error) = apt(&["update"], "setup-apt-update.log") {
        eprintln!("{error:#}");
    }
    let mut arguments = vec!["install", "--yes", "--no-install-recommends"];
    arguments.extend(packages);
    apt(&arguments, "setup-apt-install.log").with_context(|| format!("by hand: {by_hand}"))
}

/// What to put before a command that needs root; nothing where we may not have it.
fn privilege() -> Option<&'static [&'static str]> {
    let root = output(Command::new("id").arg("-u")).is_ok_and(|user| user.trim() == "0");
    if root {
        return Some(&[]);
    }
    let asks_nothing = succeeds(Command::new("sudo").args(["--non-interactive", "true"]));
    let may_ask = on_path("sudo")
        && stdin().is_terminal()
        && Command::new("sudo").arg("--validate").status().is_ok_and(|status| status.success());
    (asks_nothing || may_ask).then_some(&["sudo"])
}

fn standard_library(workspace: &Workspace, target: &str) -> Option<PathBuf> {
    let mut rustc = Command::new("rustc");
    rustc.current_dir(&workspace.root).args(["--print", "target-libdir", "--target", target]);
    output(&mut rustc).ok().map(|path| PathBuf::from(path.trim()))
}

/// Where the standard library of this machine's own target is.
fn host_library(workspace: &Workspace) -> Option<PathBuf> {
    let mut rustc = Command::new("rustc");
    rustc.current_dir(&workspace.root).args(["--print", "target-libdir"]);
    output(&mut rustc).ok().map(|path| PathBuf::from(path.trim()))
}

fn node_major() -> Option<u32> {
    let version = output(Command::new("node").arg("--version")).ok()?;
    version.trim().strip_prefix('v')?.split('.').next()?.parse().ok()
}

const NPM_LOCKED: &str = "package-lock.json";
/// A copy of the lock file that was installed from.
const NPM_INSTALLED: &str = "node_modules/.installed-lock.json";

/// Where the tools for deploying are installed.
const DEPLOY: &str = "tests/edge/deploy";

fn is_npm_installed(folder: &Path) -> bool {
    let [locked, installed] = [NPM_LOCKED, NPM_INSTALLED].map(|name| fs::read_to_string(folder.join(name)).ok());
    installed.is_some() && installed == locked
}

fn install_npm_packages(workspace: &Workspace, part: Part, folder: &Path) -> Result<()> {
    let mut npm = Command::new("npm");
    // No package's own script runs here: each of ours works without.
    npm.current_dir(folder).args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]);
    quietly(workspace, part, &mut npm)?;
    fs::copy(folder.join(NPM_LOCKED), folder.join(NPM_INSTALLED))?;
    Ok(())
}

fn installed_with_cargo(workspace: &Workspace, package: &str, version: &str) -> bool {
    fs::read_to_string(workspace.tools().join(".crates.toml"))
        .is_ok_and(|installed| installed.contains(&format!("\"{package} {version} ")))
}

fn on_path(program: &str) -> bool {
    find_on_path(program).is_some()
}

fn find_on_path(program: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?).map(|folder| folder.join(program)).find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wasm_bindgen_is_of_one_version_as_a_tool_and_as_a_library() {
        let manifest = include_str!("../../Cargo.toml");
        assert!(manifest.contains(&format!("\nwasm-bindgen = \"={WASM_BINDGEN}\"\n")));
    }
}
