//! All tests of the core that need no server, in one program: as many programs as there are files take three times as long to
//! build, and run one after the other.

mod common;

mod batches;
mod commands;
mod commits;
mod damage;
mod digests;
mod docs;
mod erase;
mod fast_paths;
mod fuzz;
mod golden;
mod grants;
mod large;
mod laws;
mod leaf_gather;
mod leaf_rows;
mod leaf_tabs;
mod leaf_writes;
mod limits;
mod listening;
mod many_writers;
mod memory;
mod namespaces;
mod negotiation;
mod new_keys;
mod ordered;
mod outbox;
mod own;
mod passing;
mod rank_tree;
mod recovery;
mod redis;
mod reserved;
mod restored;
mod scripts;
mod semantics;
mod session;
mod sizes;
mod standings;
mod strict;
mod two_way;

/// A file that nobody names is no test.
#[test]
#[cfg(not(target_arch = "wasm32"))]
fn every_file_is_named_here() {
    const ELSEWHERE: [&str; 3] = ["differential", "suite", "wasm"];
    let here = include_str!("suite.rs");
    for entry in std::fs::read_dir(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        let is_program = path.extension().is_some_and(|extension| extension == "rs") && !ELSEWHERE.contains(&name);
        assert!(!is_program || here.contains(&format!("\nmod {name};\n")), "tests/suite.rs does not name {name}");
    }
}
