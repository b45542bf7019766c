//! `cargo xtask bench AREA`: measures one area, prints a table and leaves it in target/bench/AREA.json;
//! `cargo xtask bench report` makes one page of all areas that were measured.
//!
//! An area is a function from [`Options`] to [`Row`]s. Bars are printed beside what was measured and never asserted: a
//! measurement says what is, and a machine under load must not fail a build.

mod browser;
mod core;
mod edge;
mod limits;
mod machine;
mod measured;
mod origin;
mod page;
mod plot;
mod redis;
mod row;
mod table;
mod wasm;

use std::fs;

use anyhow::{Context, Result, ensure};
use clap::{Args as Arguments, Subcommand};

use crate::workspace::Workspace;

use machine::Machine;
use row::{Area, Row};

#[derive(Arguments)]
pub(crate) struct Args {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// The core, natively and in wasm, against other CRDTs, bare maps, trees and Redis.
    Core(Options),
    /// The daemon beside its Redis: operations reconciled, commands, lag.
    Origin(Options),
    /// The Worker in workerd: its isolate and its object beside bare ones, and beside a bridge to Redis.
    Edge(Options),
    /// The npm package in a page of Chromium, beside other CRDTs and a plain map.
    Browser(Options),
    /// The rate limiters beside an exact log: wrong decisions and overshoot, on a virtual clock.
    Limits(Options),
    /// One page of all areas measured so far: target/bench/report.html.
    Report,
}

/// How an area is measured.
#[derive(Arguments)]
struct Options {
    /// Small sizes and few rounds: shows that the benches run; the figures mean nothing.
    #[arg(long)]
    quick: bool,
    /// Only the benches whose name contains this.
    #[arg(long, default_value = "")]
    only: String,
}

pub(crate) fn run(workspace: &Workspace, arguments: Args) -> Result<()> {
    match arguments.task {
        Task::Core(options) => keep(workspace, "core", &options, core::rows(workspace, &options)?, table::markdown),
        Task::Origin(options) => {
            keep(workspace, "origin", &options, origin::rows(workspace, &options)?, table::markdown)
        }
        Task::Edge(options) => keep(workspace, "edge", &options, edge::rows(workspace, &options)?, table::markdown),
        Task::Browser(options) => {
            keep(workspace, "browser", &options, browser::rows(workspace, &options)?, table::markdown)
        }
        Task::Limits(options) => {
            keep(workspace, "limits", &options, limits::rows(workspace, &options)?, limits::markdown)
        }
        Task::Report => report(workspace),
    }
}

/// Prints an area's rows as a table and keeps them for the report.
fn keep(
    workspace: &Workspace,
    name: &str,
    options: &Options,
    rows: Vec<Row>,
    markdown: fn(&Area) -> String,
) -> Result<()> {
    let machine = Machine::of_this_host(workspace);
    let area = Area { area: name.to_owned(), quick: options.quick, machine, rows };
    println!("{}", markdown(&area));
    let file = workspace.bench(format!("{name}.json"));
    fs::create_dir_all(workspace.bench(""))?;
    fs::write(&file, serde_json::to_string_pretty(&area)? + "\n")?;
    eprintln!("{}", file.display());
    Ok(())
}

fn report(workspace: &Workspace) -> Result<()> {
    let folder = workspace.bench("");
    let mut areas = Vec::new();
    for entry in folder.read_dir().with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            let text = fs::read_to_string(&path)?;
            let area: Area = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
            areas.push(area);
        }
    }
    ensure!(!areas.is_empty(), "{} holds no measurements; `cargo xtask bench core` makes some", folder.display());
    areas.sort_by(|a, b| a.area.cmp(&b.area));
    let file = workspace.bench("report.html");
    fs::write(&file, page::html(&areas)?)?;
    println!("{}", file.display());
    Ok(())
}
