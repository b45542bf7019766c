//! The core takes time, randomness and identity as arguments: nothing in its source or below it may fetch them.
//!
//! `std::time::Instant` compiles for wasm and panics there, a `HashMap` draws a random seed on a native host and none on
//! wasm: neither shows as an import, so the source and the dependency tree are read as well.

use std::fs;
use std::path::Path;

use anyhow::{Result, bail};

use super::Outcome;
use crate::process::{cargo, output};
use crate::workspace::{WASM_TARGET, Workspace};

/// What the core's source must not name, and why.
const FORBIDDEN_PATHS: &[(&str, &str)] = &[
    ("Instant", "time is an argument"),
    ("SystemTime", "time is an argument"),
    ("std::thread", "the core has no threads"),
    ("std::net", "the core has no sockets"),
    ("std::fs", "the core has no files"),
    ("std::io", "the core does no input or output"),
    ("std::env", "configuration is an argument"),
    ("std::process", "the core starts and ends nothing"),
    ("RandomState", "entropy is an argument"),
    ("HashMap", "its order is random; use BTreeMap"),
    ("HashSet", "its order is random; use BTreeSet"),
    ("println!", "the core does no input or output"),
];

/// Without its default features it has no hasher of its own, so who uses it names where the seed comes from.
const SEEDED_MAP: &str = "hashbrown::HashMap";

/// Crates that bring a clock, entropy, a host or a scheduler.
const FORBIDDEN_CRATES: &[&str] = &[
    "async-std",
    "chrono",
    "fastrand",
    "getrandom",
    "instant",
    "js-sys",
    "mio",
    "rand",
    "rand_core",
    "smol",
    "socket2",
    "time",
    "tokio",
    "uuid",
    "wasm-bindgen",
    "wasm-bindgen-futures",
    "wasmtimer",
    "web-sys",
    "web-time",
    "worker",
];

pub(super) fn check(workspace: &Workspace) -> Result<Outcome> {
    let mut found = Vec::new();
    scan_folder(&workspace.root.join("shared/src"), &mut found)?;

    let mut tree = cargo(workspace);
    tree.args(["tree", "--package", "headwater", "--edges", "normal", "--target", WASM_TARGET]);
    found.extend(forbidden_crates(&output(tree.args(["--prefix", "none", "--format", "{p}"]))?));
    if !found.is_empty() {
        bail!("{}", found.join("\n"));
    }
    Ok(Outcome::Holds)
}

fn scan_folder(folder: &Path, found: &mut Vec<String>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        // A module's tests may use what they like.
        if path.is_dir() {
            scan_folder(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("tests.rs") {
            let source = fs::read_to_string(&path)?;
            found.extend(forbidden_paths(&source).into_iter().map(|problem| format!("{}:{problem}", path.display())));
        }
    }
    Ok(())
}

/// Up to the tests at a file's end, comments left out.
fn forbidden_paths(source: &str) -> Vec<String> {
    let code = source.lines().take_while(|line| line.trim() != "#[cfg(test)]");
    let mut found = Vec::new();
    for (number, line) in (1..).zip(code) {
        let line = line.split("//").next().unwrap_or_default();
        let line = &line.replace(SEEDED_MAP, "");
        for (path, reason) in FORBIDDEN_PATHS.iter().filter(|(path, _)| names(line, path)) {
            found.push(format!("{number}: {path}: {reason}"));
        }
    }
    found
}

/// Whether `path` stands in the line as whole words.
fn names(line: &str, path: &str) -> bool {
    let in_word = |character: char| character.is_alphanumeric() || character == '_';
    line.match_indices(path).any(|(at, _)| {
        let before = line.get(..at).and_then(|before| before.chars().next_back());
        let after = line.get(at + path.len()..).and_then(|after| after.chars().next());
        !before.is_some_and(in_word) && !after.is_some_and(in_word)
    })
}

fn forbidden_crates(tree: &str) -> Vec<String> {
    let mut crates: Vec<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    crates.sort_unstable();
    crates.dedup();
    let forbidden = crates.into_iter().filter(|name| FORBIDDEN_CRATES.contains(name));
    forbidden.map(|name| format!("headwater must not depend on {name}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_in_the_code_is_found_with_its_line() {
        let source = "//! No Instant here.\nuse std::time::Duration;\nlet now = std::time::Instant::now(); // now\n";
        assert_eq!(forbidden_paths(source), ["3: Instant: time is an argument"]);
    }

    #[test]
    fn longer_names_comments_and_tests_are_left_alone() {
        let source = "struct InstantLike; // a HashMap\n#[cfg(test)]\nmod tests { use std::fs; }\n";
        assert_eq!(forbidden_paths(source), Vec::<String>::new());
    }

    #[test]
    fn a_map_whose_seed_is_given_is_no_random_one() {
        let source = "type Seeded = hashbrown::HashMap<u8, u8, Seed>;\nuse std::collections::HashMap;\n";
        assert_eq!(forbidden_paths(source), ["2: HashMap: its order is random; use BTreeMap"]);
    }

    #[test]
    fn a_source_of_entropy_below_the_core_is_found_once() {
        let tree = "headwater v0.0.0 (/x)\ngetrandom v0.4.3\nserde v1.0.0\ngetrandom v0.4.3 (*)\n";
        assert_eq!(forbidden_crates(tree), ["headwater must not depend on getrandom"]);
    }
}
