//! Where things are in this checkout.

use std::path::{Path, PathBuf};

use headwater_tests::harness::Layout;

/// What rustc calls the target of the edge Worker and the browser package.
pub(crate) const WASM_TARGET: &str = "wasm32-unknown-unknown";

/// The same processor with a host that has files and a clock, which Rust's own test runner needs.
pub(crate) const WASI_TARGET: &str = "wasm32-wasip1";

/// The checkout that xtask was compiled in.
pub(crate) struct Workspace {
    /// The repository.
    pub(crate) root: PathBuf,
    /// Cargo's output.
    pub(crate) target: PathBuf,
    /// What the harness starts.
    pub(crate) layout: Layout,
}

impl Workspace {
    pub(crate) fn of_this_checkout() -> Self {
        let layout = Layout::of_workspace();
        let root = layout.root.clone();
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |dir| root.join(dir));
        Self { root, target, layout }
    }

    /// The root of what `setup` installs with cargo.
    pub(crate) fn tools(&self) -> PathBuf {
        self.target.join("tools")
    }

    /// A program that `setup` installed with cargo.
    pub(crate) fn tool(&self, name: &str) -> PathBuf {
        self.tools().join("bin").join(name)
    }

    /// A program of an npm package.
    pub(crate) fn npm_tool(&self, name: &str) -> PathBuf {
        self.root.join("node_modules/.bin").join(name)
    }

    /// xtask's own notes and scratch files.
    pub(crate) fn scratch(&self, name: impl AsRef<Path>) -> PathBuf {
        self.target.join("xtask").join(name)
    }

    /// The npm package as it is published.
    pub(crate) fn npm_package(&self) -> PathBuf {
        self.target.join("npm/headwater")
    }

    /// What benches measured.
    pub(crate) fn bench(&self, name: impl AsRef<Path>) -> PathBuf {
        self.target.join("bench").join(name)
    }

    /// The module that cargo made of a crate of this workspace, before wasm-bindgen.
    pub(crate) fn wasm_module(&self, package: &str, profile_directory: &str) -> PathBuf {
        let file = format!("{}.wasm", package.replace('-', "_"));
        self.target.join(WASM_TARGET).join(profile_directory).join(file)
    }
}
