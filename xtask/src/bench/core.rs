//! The area `core`: what the benches of `bench/`, Redis and Node measured, put beside each other and judged.

use std::process::Command;

use anyhow::Result;

use crate::process::{cargo, run};
use crate::setup::{self, Part};
use crate::workspace::Workspace;

use super::measured::{Measured, OURS, compared, measurements, with};
use super::row::{Bar, Row, Unit};
use super::{Options, redis, wasm};

/// The bench whose cost must not grow with the size.
const JOIN: &str = "join one element into a set";

pub(super) fn rows(workspace: &Workspace, options: &Options) -> Result<Vec<Row>> {
    setup::ensure(workspace, [Part::Redis])?;
    let mut native = programs(workspace, options)?;
    native.extend(redis::measured(workspace, options)?);
    let wasm = wasm::measured(workspace, options)?;
    let mut rows = compared(&native, "", bar)?;
    rows.extend(flatness(&native));
    rows.extend(compared(&wasm, " (wasm)", bar)?);
    rows.extend(against_native(&wasm, &native));
    Ok(rows)
}

/// Builds the native benches with all peers and runs them.
fn programs(workspace: &Workspace, options: &Options) -> Result<Vec<Measured>> {
    let mut build = cargo(workspace);
    build.args(["build", "--release", "--package", "headwater-bench", "--features", "peers", "--bins"]);
    run(&mut build)?;
    let mut measured = Vec::new();
    for program in ["bench-core", "bench-memory"] {
        let program = Command::new(workspace.target.join("release").join(program));
        measured.extend(measurements(&mut with(program, options))?);
    }
    Ok(measured)
}

/// What a comparison is to reach. Where growth is shown, only the size that was asked for has a bar.
fn bar(ours: &Measured, peer: Option<&Measured>) -> Option<Bar> {
    let name = ours.name.as_str();
    match (name, ours.size, peer?.contender.as_str()) {
        // At most four times the time of a bare map's get-and-add, under the keyspace's own hash.
        ("INCR, pipelines of 64" | "INCR, pipelines of 1024", 100_000, "hashbrown, SipHash-1-3") => {
            Some(Bar::Ratio(0.25))
        }
        (_, 100_000, "yrs" | "loro" | "automerge" | "Orswot::merge") => Some(Bar::Ratio(10.0)),
        (_, 100_000, "crdts GCounter" | "crdts PNCounter" | "crdts Orswot" | "crdts Map" | "Orswot::apply") => {
            Some(Bar::Above(1.0))
        }
        (_, 1_000_000, "redis-benchmark -P 64") => Some(Bar::Ratio(3.0)),
        (_, _, "indexset" | "wabi_tree" | "Yjs" | "Yjs, format 2")
            if name.starts_with("rank tree") || name.starts_with("B3.1") =>
        {
            Some(Bar::Above(1.0))
        }
        // At most three hundredths of the bytes.
        (_, 100_000, "full state") => Some(Bar::Ratio(100.0 / 3.0)),
        (_, _, "Redis MEMORY USAGE") => Some(Bar::Ratio(1.0)),
        _ => None,
    }
}

/// A join of one element takes the same time in the smallest and the greatest set, and at most two microseconds.
fn flatness(native: &[Measured]) -> Vec<Row> {
    let mut joins: Vec<_> = native.iter().filter(|one| one.name == JOIN && one.contender == OURS).collect();
    joins.sort_by_key(|one| one.size);
    let mut rows = Vec::new();
    if let [smallest, .., greatest] = joins.as_slice() {
        let name = format!("{JOIN}: growth from {} to {}", smallest.size, greatest.size);
        let row = Row::against(&name, greatest.value, "itself, smallest", smallest.value, Unit::Nanoseconds);
        rows.push(row.at(greatest.size, &greatest.of).judged(Some(Bar::Ratio(0.5))));
    }
    if let Some(greatest) = joins.last() {
        let row = Row::alone(&format!("{JOIN}: time"), greatest.value, Unit::Nanoseconds);
        rows.push(row.at(greatest.size, &greatest.of).judged(Some(Bar::AtMost(2_000.0))));
    }
    rows
}

/// Each bench of ours in wasm beside itself natively: at most two and a half times the time.
fn against_native(wasm: &[Measured], native: &[Measured]) -> Vec<Row> {
    let pairs = wasm.iter().filter(|one| one.contender == OURS && one.unit == "ns").filter_map(|inside| {
        let same =
            |one: &&Measured| (&one.name, one.size, &one.contender) == (&inside.name, inside.size, &inside.contender);
        native.iter().find(same).map(|outside| (inside, outside))
    });
    let row = |(inside, outside): (&Measured, &Measured)| {
        let name = format!("{} in wasm", inside.name);
        let row = Row::against(&name, inside.value, "native", outside.value, Unit::Nanoseconds);
        row.at(inside.size, &inside.of).judged(Some(Bar::Ratio(0.4)))
    };
    pairs.map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::super::measured::tests::measured;
    use super::*;

    #[test]
    fn a_join_that_grows_more_than_twofold_is_not_flat() {
        let grown = |last| flatness(&[measured(JOIN, 10, OURS, 100.0), measured(JOIN, 1000, OURS, last)]);
        assert_eq!(grown(190.0).iter().map(|row| row.met).collect::<Vec<_>>(), [Some(true), Some(true)]);
        assert_eq!(grown(210.0).iter().map(|row| row.met).collect::<Vec<_>>(), [Some(false), Some(true)]);
        assert_eq!(grown(2_100.0).iter().map(|row| row.met).collect::<Vec<_>>(), [Some(false), Some(false)]);
    }

    #[test]
    fn wasm_is_put_beside_the_same_bench_natively() {
        let rows = against_native(&[measured("x", 10, OURS, 25.0)], &[measured("x", 10, OURS, 10.0)]);
        assert_eq!(rows.iter().map(|row| row.met).collect::<Vec<_>>(), [Some(true)]);
    }
}
