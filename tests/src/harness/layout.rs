//! Where `cargo xtask build` and `cargo xtask setup` leave what the harness starts.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The built parts of one checkout.
#[derive(Clone, Debug)]
pub struct Layout {
    /// The repository.
    pub root: PathBuf,
    /// What worker-build made of the edge Worker: `index.js` and the module that it imports.
    pub edge_build: PathBuf,
    /// The same of the Worker that uses it as a library.
    pub example_build: PathBuf,
    /// The daemon's binary.
    pub origin_sync: PathBuf,
    /// The site and the browser package.
    pub www_dist: PathBuf,
    /// The Workers runtime.
    pub workerd: PathBuf,
}

impl Layout {
    /// The layout of the checkout that cargo runs this in, else of the one that this crate was compiled in: checkouts may
    /// share a target directory. Nothing is checked for existence: what is missing is reported by the part that starts it.
    #[must_use]
    pub fn of_workspace() -> Self {
        let member = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
        let member = Path::new(&member);
        let root = member.parent().unwrap_or(member).to_path_buf();
        Self {
            edge_build: root.join("edge/build"),
            example_build: root.join("edge/example/build"),
            origin_sync: built_last(&root, "origin-sync"),
            www_dist: root.join("www/dist"),
            workerd: root.join("node_modules/@cloudflare").join(workerd_package()).join("bin/workerd"),
            root,
        }
    }
}

/// The release or the debug binary, whichever was linked later: `build` and `build --dev` share this layout.
fn built_last(root: &Path, name: &str) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |dir| root.join(dir));
    let linked = |path: &PathBuf| path.metadata().and_then(|file| file.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
    let [release, debug] = ["release", "debug"].map(|profile| target.join(profile).join(name));
    if linked(&debug) > linked(&release) { debug } else { release }
}

/// The npm package that carries workerd for this machine; setup installs it on Linux only.
fn workerd_package() -> &'static str {
    if cfg!(target_arch = "aarch64") { "workerd-linux-arm64" } else { "workerd-linux-64" }
}
