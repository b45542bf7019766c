//! The area `core`: what the benches of `bench/` measured, put beside each other and judged.

use std::process::Command;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::process::{cargo, output, run};
use crate::workspace::Workspace;

use super::Options;
use super::row::{Bar, Row, Unit};

/// The name of our own contender.
const OURS: &str = "headwater";

/// One line that a bench printed.
#[derive(Clone, PartialEq, Debug, Deserialize)]
struct Measured {
    name: String,
    size: u64,
    of: String,
    contender: String,
    value: f64,
    unit: String,
}

pub(super) fn rows(workspace: &Workspace, options: &Options) -> Result<Vec<Row>> {
    let native = native(workspace, options)?;
    let mut rows = compared(&native)?;
    rows.extend(absent());
    Ok(rows)
}

/// What is to be measured here and is not built yet.
fn absent() -> [Row; 1] {
    let healing = "bytes to heal 1 % of 100,000 elements after lost acknowledgements, against the full state";
    let note = "not built: there are no digests by slot range yet";
    // At most 3 % of the full state.
    [Row::absent(healing, note, Unit::Bytes).judged(Some(Bar::Ratio(100.0 / 3.0)))]
}

/// Builds the native benches with all peers and runs them.
fn native(workspace: &Workspace, options: &Options) -> Result<Vec<Measured>> {
    let mut build = cargo(workspace);
    build.args(["build", "--release", "--package", "headwater-bench", "--features", "peers", "--bin", "bench-core"]);
    run(&mut build)?;
    measurements(&mut with(Command::new(workspace.target.join("release/bench-core")), options))
}

fn with(mut command: Command, options: &Options) -> Command {
    if options.quick {
        command.arg("--quick");
    }
    command.args(["--only", &options.only]);
    command
}

fn measurements(command: &mut Command) -> Result<Vec<Measured>> {
    let printed = output(command)?;
    let parse = |line: &str| serde_json::from_str(line).with_context(|| line.to_owned());
    printed.lines().map(parse).collect()
}

/// A row for each peer; one without a peer where ours stands alone.
fn compared(measured: &[Measured]) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for ours in measured.iter().filter(|one| one.contender == OURS) {
        let unit = Unit::named(&ours.unit).with_context(|| format!("no unit is called {}", ours.unit))?;
        let is_peer =
            |other: &&Measured| (&other.name, other.size) == (&ours.name, ours.size) && other.contender != OURS;
        let mut peers = measured.iter().filter(is_peer).peekable();
        if peers.peek().is_none() {
            rows.push(Row::alone(&ours.name, ours.value, unit).at(ours.size, &ours.of));
        }
        for peer in peers {
            let row = Row::against(&ours.name, ours.value, &peer.contender, peer.value, unit);
            rows.push(row.at(ours.size, &ours.of).judged(bar(&ours.name, ours.size, &peer.contender)));
        }
    }
    Ok(rows)
}

/// What a comparison is to reach; only some sizes have a bar, the others show growth.
fn bar(name: &str, size: u64, peer: &str) -> Option<Bar> {
    match (name, size, peer) {
        // At most four times the time of a bare map's get-and-add.
        ("INCR, pipelines of 64" | "INCR, pipelines of 1024", 100_000, "hashbrown") => Some(Bar::Ratio(0.25)),
        _ => None,
    }
}
