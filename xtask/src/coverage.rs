//! `cargo xtask coverage`: which lines of the core its own tests run, and the files that have the most that they do not.
//!
//! Runs cargo-llvm-cov over the package `headwater` alone. What other suites run of the core does not count here.

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::process::{cargo, output};
use crate::setup::{self, Part};
use crate::workspace::Workspace;

/// How many files to name.
const FILES_NAMED: usize = 12;

pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    setup::ensure(workspace, [Part::LlvmTools, Part::LlvmCov])?;
    let mut coverage = cargo(workspace);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let tools = std::iter::once(workspace.tools().join("bin")).chain(std::env::split_paths(&path));
    coverage.env("PATH", std::env::join_paths(tools)?);
    coverage.args(["llvm-cov", "--package", "headwater", "--json", "--summary-only"]);
    let report = output(&mut coverage)?;
    // The tests print before the report, which is one line.
    let json = report.lines().rfind(|line| line.starts_with('{')).context("cargo-llvm-cov printed no report")?;
    let report: Report = serde_json::from_str(json).context("cargo-llvm-cov's report is of another form")?;
    let data = report.data.into_iter().next().context("cargo-llvm-cov's report is empty")?;
    print!("{}", table(workspace, data));
    Ok(())
}

#[derive(Deserialize)]
struct Report {
    data: Vec<Data>,
}

#[derive(Deserialize)]
struct Data {
    files: Vec<File>,
    totals: Summary,
}

#[derive(Deserialize)]
struct File {
    filename: String,
    summary: Summary,
}

#[derive(Deserialize)]
struct Summary {
    lines: Lines,
}

#[derive(Deserialize)]
struct Lines {
    count: u64,
    covered: u64,
    percent: f64,
}

fn table(workspace: &Workspace, data: Data) -> String {
    let missed = |file: &File| file.summary.lines.count - file.summary.lines.covered;
    let mut files = data.files;
    files.sort_by_key(|file| std::cmp::Reverse(missed(file)));
    let root = workspace.root.display().to_string();
    let mut text = format!(
        "Lines of the core that its tests run: {:.1} % ({} of {}).\n\n| file | not run | of | run |\n|---|---|---|---|\n",
        data.totals.lines.percent, data.totals.lines.covered, data.totals.lines.count
    );
    for file in files.iter().filter(|file| missed(file) > 0).take(FILES_NAMED) {
        let name = file.filename.strip_prefix(&root).unwrap_or(&file.filename).trim_start_matches('/');
        let lines = &file.summary.lines;
        text += &format!("| {name} | {} | {} | {:.1} % |\n", missed(file), lines.count, lines.percent);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_with_the_most_lines_not_run_come_first() {
        let file = |name: &str, count, covered| File {
            filename: format!("/root/{name}"),
            summary: Summary { lines: Lines { count, covered, percent: 50.0 } },
        };
        let totals = Summary { lines: Lines { count: 30, covered: 20, percent: 66.7 } };
        let data = Data { files: vec![file("a.rs", 10, 9), file("b.rs", 10, 10), file("c.rs", 10, 1)], totals };
        let text = table(&Workspace::of_this_checkout(), data);
        let rows: Vec<&str> = text.lines().skip(4).map(|row| row.split(' ').nth(1).unwrap_or_default()).collect();
        assert_eq!(rows, ["/root/c.rs", "/root/a.rs"].map(|name| name.trim_start_matches('/')));
    }
}
