//! `cargo xtask fuzz [TARGET] [--seconds N]`: looks for inputs that make a decoder or a machine panic, hang or swell.
//!
//! Runs libFuzzer by cargo-fuzz, which `cargo install cargo-fuzz --locked` installs. What it finds goes to `fuzz/crashers`,
//! where the test `fuzz` of the core replays it for ever; inputs that reach new code stay in `target/fuzz`.

use std::fs;

use anyhow::{Context, Result, bail, ensure};
use clap::Args as Arguments;

use crate::process::{cargo, described, succeeds};
use crate::workspace::Workspace;

/// An input of the fuzzer is a frame's body; the largest that the corpus has are some 4 KiB.
const INPUT_BYTES_MAX: u32 = 16 * 1024;

/// An input that takes longer hangs.
const HANG_SECONDS: u32 = 20;

/// Far beyond what the targets' bounds allow.
const MEMORY_MB_MAX: u32 = 1024;

#[derive(Arguments)]
pub(crate) struct Args {
    /// The target; without it, all in turn.
    target: Option<String>,
    /// How long to run each.
    #[arg(long, default_value_t = 60)]
    seconds: u32,
}

pub(crate) fn run(workspace: &Workspace, arguments: &Args) -> Result<()> {
    let installed = succeeds(cargo(workspace).args(["fuzz", "--version"]));
    ensure!(installed, "cargo-fuzz is missing: `cargo install cargo-fuzz --locked`");
    let targets = match &arguments.target {
        Some(target) => vec![target.clone()],
        None => targets(workspace)?,
    };
    let mut failed = Vec::new();
    for target in targets {
        if !is_clean(workspace, &target, arguments.seconds)? {
            failed.push(target);
        }
    }
    if !failed.is_empty() {
        bail!("{}: see fuzz/crashers, then `cargo test -p headwater --test suite fuzz`", failed.join(", "));
    }
    Ok(())
}

/// The programs in `fuzz/fuzz_targets`.
fn targets(workspace: &Workspace) -> Result<Vec<String>> {
    let directory = workspace.root.join("fuzz/fuzz_targets");
    let mut targets = Vec::new();
    for entry in fs::read_dir(&directory).with_context(|| format!("{} cannot be read", directory.display()))? {
        if let Some(name) = entry?.path().file_stem() {
            targets.push(name.to_string_lossy().into_owned());
        }
    }
    targets.sort();
    Ok(targets)
}

/// Runs one target; says whether nothing was found.
fn is_clean(workspace: &Workspace, target: &str, seconds: u32) -> Result<bool> {
    let found = workspace.target.join("fuzz").join(target);
    let crashers = workspace.root.join("fuzz/crashers").join(target);
    for directory in [&found, &crashers] {
        fs::create_dir_all(directory).with_context(|| format!("{} cannot be made", directory.display()))?;
    }
    let mut command = cargo(workspace);
    command
        // The coverage flags are unstable ones; the pinned compiler has them.
        .env("RUSTC_BOOTSTRAP", "1")
        // The core has no unsafe code; what a sanitizer would find is in its dependencies, and it halves the speed.
        .args(["fuzz", "run", "--sanitizer", "none", target])
        // New inputs go to the first directory; the corpus is only read.
        .arg(&found)
        .arg(workspace.root.join("fuzz/corpus").join(target))
        .arg("--")
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-max_len={INPUT_BYTES_MAX}"))
        .arg(format!("-timeout={HANG_SECONDS}"))
        .arg(format!("-rss_limit_mb={MEMORY_MB_MAX}"))
        .arg(format!("-artifact_prefix={}/", crashers.display()));
    println!("{}", described(&command));
    let status = command.status().with_context(|| format!("{} cannot be run", described(&command)))?;
    // An empty directory is not kept by git and would only be in the way.
    let _still_needed = fs::remove_dir(&crashers);
    Ok(status.success())
}
