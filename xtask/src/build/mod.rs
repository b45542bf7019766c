//! Builds what ships: the edge Worker, the browser package with the site, the daemon.
//!
//! Cargo decides what to compile. What comes after it (wasm-bindgen, wasm-opt, bundling) is done again only when its
//! inputs have changed, which a fingerprint over their contents tells.

mod bindings;
mod docs;
mod edge;
mod fingerprint;
mod package;
mod short_names;
mod www;

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use flate2::{Compression, write::GzEncoder};

pub(crate) use edge::{FAST, worker};
pub(crate) use www::WASM_FEATURES;

use crate::process::{cargo, run as run_command};
use crate::setup::Part;
use crate::workspace::{WASM_TARGET, Workspace};

/// One thing that is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Artefact {
    /// The Worker and its Durable Objects, in edge/build.
    Edge,
    /// The site, in www/dist, and the npm package, in target/npm/headwater.
    Www,
    /// origin-sync, in cargo's target directory.
    Daemon,
    /// The Worker that uses the edge's as a library, in edge/example/build. Not among what ships.
    Example,
}

impl Artefact {
    pub(crate) const ALL: [Self; 3] = [Self::Edge, Self::Www, Self::Daemon];
}

/// How much work the compiler puts in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    Dev,
    Release,
    /// As [`Profile::Release`], for size before speed.
    Small,
}

impl Profile {
    fn cargo_arguments(self) -> &'static [&'static str] {
        match self {
            Self::Dev => &[],
            Self::Release => &["--release"],
            Self::Small => &["--profile", "small"],
        }
    }

    /// What a browser loads is small if it is to be good.
    fn for_browsers(self) -> Self {
        match self {
            Self::Dev => Self::Dev,
            Self::Release | Self::Small => Self::Small,
        }
    }

    /// What cargo calls its output directory.
    fn directory(self) -> &'static str {
        match self {
            Self::Dev => "debug",
            Self::Release => "release",
            Self::Small => "small",
        }
    }
}

/// The tools that building takes.
pub(crate) fn parts(artefacts: &[Artefact]) -> Vec<Part> {
    let of_one = |artefact: &Artefact| match artefact {
        Artefact::Edge | Artefact::Example => {
            vec![Part::Target(WASM_TARGET), Part::Node, Part::NpmPackages, Part::WasmBindgen, Part::WorkerBuild]
        }
        Artefact::Www => vec![Part::Target(WASM_TARGET), Part::Node, Part::NpmPackages, Part::WasmBindgen],
        Artefact::Daemon => vec![],
    };
    artefacts.iter().flat_map(of_one).collect()
}

/// Builds what is not up to date. Two runs at once take turns.
pub(crate) fn run(workspace: &Workspace, artefacts: &[Artefact], profile: Profile) -> Result<()> {
    fs::create_dir_all(workspace.scratch(""))?;
    let turn = File::create(workspace.scratch("build.lock"))?;
    turn.lock()?;
    for artefact in artefacts {
        match artefact {
            Artefact::Edge => edge::build(workspace, profile).context("the edge Worker"),
            Artefact::Www => www::build(workspace, profile.for_browsers()).context("the browser package"),
            Artefact::Daemon => daemon(workspace, profile).context("the daemon"),
            Artefact::Example => example(workspace, profile, &edge::SMALL).context("the example"),
        }?;
    }
    Ok(())
}

/// Builds the browser package's wasm module as cargo leaves it, before wasm-bindgen.
pub(crate) fn www_module(workspace: &Workspace) -> Result<std::path::PathBuf> {
    www::module(workspace, Profile::Small)
}

/// Builds the Worker that uses the edge's as a library.
pub(crate) fn example(workspace: &Workspace, profile: Profile, settings: &edge::Settings) -> Result<()> {
    worker(workspace, "edge/example", "headwater-edge-example", profile, settings)
}

fn daemon(workspace: &Workspace, profile: Profile) -> Result<()> {
    let mut build = cargo(workspace);
    build.args(["build", "--package", "origin-sync"]).args(profile.cargo_arguments());
    run_command(&mut build)
}

/// A cargo build of one crate's library for wasm.
fn wasm_library(workspace: &Workspace, package: &str, profile: Profile) -> Command {
    let mut build = cargo(workspace);
    build.args(["build", "--package", package, "--lib", "--target", WASM_TARGET]).args(profile.cargo_arguments());
    build
}

/// The module that [`wasm_library`] left.
fn built_module(workspace: &Workspace, package: &str, profile: Profile) -> Result<std::path::PathBuf> {
    let module = workspace.wasm_module(package, profile.directory());
    if !module.is_file() {
        bail!("{package} makes no {}: its crate-type needs \"cdylib\"", module.display());
    }
    Ok(module)
}

fn say_size(workspace: &Workspace, module: &Path) -> Result<()> {
    let bytes = fs::read(module)?;
    let mut packed = GzEncoder::new(Vec::new(), Compression::best());
    packed.write_all(&bytes)?;
    let [raw, packed] = [bytes.len(), packed.finish()?.len()].map(|bytes| bytes.div_ceil(1000));
    let name = module.strip_prefix(&workspace.root).unwrap_or(module);
    eprintln!("{}: {raw} kB, {packed} kB with gzip", name.display());
    Ok(())
}
