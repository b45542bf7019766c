//! The area `browser`: the npm package in a page of Chromium beside other CRDTs and a plain map.

use std::process::Command;

use anyhow::Result;

use crate::build::{self, Artefact, Profile};
use crate::process::run_quietly;
use crate::setup::{self, Part};
use crate::workspace::Workspace;

use super::Options;
use super::measured::{Measured, compared, measurements, with};
use super::row::{Bar, Row};

pub(super) fn rows(workspace: &Workspace, options: &Options) -> Result<Vec<Row>> {
    let mut parts = build::parts(&[Artefact::Www]);
    parts.push(Part::Chromium);
    setup::ensure(workspace, parts)?;
    build::run(workspace, &[Artefact::Www], Profile::Release)?;
    let bench = workspace.root.join("bench");
    let mut npm = Command::new("npm");
    npm.current_dir(&bench).args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]);
    run_quietly("installing the peers", &workspace.scratch("bench-npm.log"), &mut npm)?;
    let mut node = Command::new("node");
    node.current_dir(&bench)
        .arg("browser/run.mjs")
        .arg(workspace.npm_package())
        .arg(workspace.scratch("bench-browser"));
    if let Some(chromium) = setup::chromium() {
        node.env("CHROMIUM", chromium);
    }
    compared(&measurements(&mut with(node, options))?, "", bar)
}

/// What a comparison is to reach.
fn bar(ours: &Measured, peer: Option<&Measured>) -> Option<Bar> {
    let name = ours.name.as_str();
    match (name, peer.map(|peer| peer.contender.as_str())) {
        // A third of the time of the fastest that is wasm too.
        ("instantiation of the package", Some("loro-crdt" | "@automerge/automerge")) => Some(Bar::Ratio(3.0)),
        ("read of a map's field", Some("Map.get")) => Some(Bar::Ratio(1.0 / 3.0)),
        ("increment of a counter" | "write of a map's field", Some(_)) => Some(Bar::Ratio(5.0)),
        (_, Some("Yjs")) if name.starts_with("B3.1") => Some(Bar::Above(1.0)),
        // Sixty frames a second, to the clock's resolution.
        (_, None) if name.ends_with(": frame, 95th percentile") => Some(Bar::AtMost(17_000_000.0)),
        _ => None,
    }
}
