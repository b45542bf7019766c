//! On what something was measured: a figure without its machine means nothing.

use std::fs;
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::process::output;
use crate::workspace::Workspace;

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Machine {
    pub(super) cpu: String,
    pub(super) cores: usize,
    pub(super) memory_bytes: u64,
    pub(super) kernel: String,
    /// The commit that was measured, with a plus where the checkout had changes.
    pub(super) commit: String,
}

impl Machine {
    /// What cannot be found out is "unknown" or 0: it must not keep anybody from measuring.
    pub(super) fn of_this_host(workspace: &Workspace) -> Self {
        let git = |arguments: &[&str]| output(Command::new("git").current_dir(&workspace.root).args(arguments));
        let commit = git(&["rev-parse", "--short=12", "HEAD"]).unwrap_or_else(|_| "unknown".to_owned());
        let is_changed = git(&["status", "--porcelain", "--untracked-files=no"]).is_ok_and(|list| !list.is_empty());
        Self {
            cpu: field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown".to_owned()),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            memory_bytes: field("/proc/meminfo", "MemTotal").and_then(|text| kibibytes(&text)).unwrap_or_default(),
            kernel: output(Command::new("uname").arg("-sr"))
                .map_or_else(|_| "unknown".to_owned(), |text| text.trim().to_owned()),
            commit: commit.trim().to_owned() + if is_changed { "+" } else { "" },
        }
    }

    /// In one line.
    pub(super) fn described(&self) -> String {
        let Self { cpu, cores, memory_bytes, kernel, commit } = self;
        let gibibytes = *memory_bytes as f64 / f64::from(1 << 30);
        format!("{cpu}, {cores} cores, {gibibytes:.1} GiB, {kernel}; commit {commit}")
    }
}

/// The first `name: value` of a file.
fn field(file: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// The bytes in a text such as "24 kB".
fn kibibytes(text: &str) -> Option<u64> {
    text.strip_suffix("kB")?.trim().parse::<u64>().ok().map(|number| number * 1024)
}
