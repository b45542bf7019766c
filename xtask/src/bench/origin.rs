//! The area `origin`: what the daemon does beside its Redis.

use anyhow::Result;

use crate::process::cargo;
use crate::setup::{self, Part};
use crate::workspace::Workspace;

use super::Options;
use super::measured::{Measured, compared, measurements, with};
use super::row::{Bar, Row};

pub(super) fn rows(workspace: &Workspace, options: &Options) -> Result<Vec<Row>> {
    setup::ensure(workspace, [Part::Redis])?;
    let mut bench = cargo(workspace);
    bench.args(["bench", "--quiet", "--package", "origin-sync", "--bench", "origin", "--"]);
    compared(&measurements(&mut with(bench, options))?, "", bar)
}

/// What a figure is to reach.
fn bar(ours: &Measured, peer: Option<&Measured>) -> Option<Bar> {
    match (ours.name.as_str(), peer) {
        ("hot keys: INCR", Some(_)) => Some(Bar::Ratio(3.0)),
        ("hot keys: calls of Redis for 1,000 operations", _) => Some(Bar::AtMost(10.0)),
        ("distinct keys: HSET", Some(_)) => Some(Bar::Ratio(1.0 / 3.0)),
        // At most a tenth more than after all was gathered that is kept at all.
        ("soak: memory of the daemon", Some(_)) => Some(Bar::Ratio(1.0 / 1.1)),
        (name, _) if name.starts_with("lag on loopback") && name.ends_with("p99") => Some(Bar::AtMost(100e6)),
        (name, _) if name.starts_with("lag with 150 ms") && name.ends_with("p99") => Some(Bar::AtMost(1e9)),
        _ => None,
    }
}
