//! Dependencies point inward: which crate of the workspace may use which.

use anyhow::{Result, bail};
use serde_json::Value;

use super::Outcome;
use crate::process::{cargo, output};
use crate::workspace::Workspace;

/// Each crate of the workspace, and what it may use of the others. Whoever adds a crate decides here.
const MAY_USE: &[(&str, &[&str])] = &[
    ("headwater", &[]),
    ("headwater-edge", &["headwater"]),
    // As others use it.
    ("headwater-edge-example", &["headwater-edge"]),
    ("headwater-www", &["headwater"]),
    ("origin-sync", &["headwater"]),
    // The simulation drives the core; the end-to-end tests reach the rest over sockets.
    ("headwater-tests", &["headwater"]),
    // Runs the core beside its peers; xtask runs it as a program.
    ("headwater-bench", &["headwater"]),
    // A peer of the edge, which must not share a line with it.
    ("headwater-bench-worker", &[]),
    ("xtask", &["headwater", "headwater-tests"]),
];

pub(super) fn check(workspace: &Workspace) -> Result<Outcome> {
    let metadata = output(cargo(workspace).args(["metadata", "--format-version", "1", "--no-deps"]))?;
    let violations = violations(&serde_json::from_str(&metadata)?);
    if !violations.is_empty() {
        bail!("{}", violations.join("\n"));
    }
    Ok(Outcome::Holds)
}

/// Development and build dependencies count like any other.
fn violations(metadata: &Value) -> Vec<String> {
    let packages: Vec<&Value> = metadata["packages"].as_array().into_iter().flatten().collect();
    let names: Vec<&str> = packages.iter().filter_map(|package| package["name"].as_str()).collect();
    let mut found = Vec::new();
    for package in packages {
        let name = package["name"].as_str().unwrap_or_default();
        let Some((_, may_use)) = MAY_USE.iter().find(|(known, _)| *known == name) else {
            found.push(format!("{name} is new: say in xtask/src/lint/dependencies.rs what it may use"));
            continue;
        };
        let used = package["dependencies"].as_array().into_iter().flatten().filter_map(|used| used["name"].as_str());
        for used in used.filter(|used| names.contains(used) && !may_use.contains(used)) {
            found.push(format!("{name} must not use {used}"));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn package(name: &str, uses: &[&str]) -> Value {
        json!({ "name": name, "dependencies": uses.iter().map(|used| json!({ "name": used })).collect::<Vec<_>>() })
    }

    #[test]
    fn inward_and_foreign_dependencies_are_allowed() {
        let metadata =
            json!({ "packages": [package("headwater", &["serde"]), package("origin-sync", &["headwater"])] });
        assert_eq!(violations(&metadata), Vec::<String>::new());
    }

    #[test]
    fn an_outward_dependency_is_named() {
        let metadata = json!({ "packages": [package("headwater", &["origin-sync"]), package("origin-sync", &[])] });
        assert_eq!(violations(&metadata), ["headwater must not use origin-sync"]);
    }

    #[test]
    fn a_crate_that_nobody_placed_is_named() {
        assert_eq!(violations(&json!({ "packages": [package("extra", &[])] })).len(), 1);
    }
}
