//! Valkey from Debian's package, unpacked into the checkout.
//!
//! It is unpacked and not installed: so no service of it ever starts, and what the machine installs from stays as it is. apt
//! fetches it with lists of its own, on Debian 12 from its backports alone, elsewhere from the machine's ordinary sources; no
//! root is needed. The libraries that it is linked to are those of Debian's Redis, which is there before.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process::{output, run_quietly, succeeds};
use crate::workspace::Workspace;

use super::on_path;

/// The server is a link to a program of the tools.
const PACKAGES: [&str; 2] = ["valkey-server", "valkey-tools"];

const BACKPORTS: &str = "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian bookworm-backports main\n";

/// Whether a server is unpacked here, or the machine has one.
pub(super) fn is_present(workspace: &Workspace) -> bool {
    runs(&program(workspace)) || on_path("valkey-server")
}

/// Fetches the packages and unpacks them.
///
/// # Errors
/// When the machine's apt offers none, or what was unpacked does not run.
pub(super) fn unpack(workspace: &Workspace) -> Result<()> {
    if !on_path("apt-get") || !on_path("dpkg-deb") {
        bail!("this system has no apt; install valkey-server its own way");
    }
    let apt = Apt::in_scratch(workspace)?;
    apt.get(workspace, "update", &[])?;
    apt.get(workspace, "download", &PACKAGES)?;
    let root = root(workspace);
    fs::create_dir_all(&root)?;
    for package in packages(&apt.folder)? {
        let version =
            output(Command::new("dpkg-deb").args(["--show", "--showformat=${Package} ${Version}"]).arg(&package))?;
        eprintln!("unpacking {version} from {} into {}; nothing else changes", apt.source, root.display());
        let mut unpack = Command::new("dpkg-deb");
        unpack.arg("--extract").arg(&package).arg(&root);
        run_quietly("dpkg-deb", &workspace.scratch("setup-valkey-unpack.log"), &mut unpack)?;
    }
    if !runs(&program(workspace)) {
        bail!("{} does not run; it needs Debian's libjemalloc2 and liblzf1", program(workspace).display());
    }
    Ok(())
}

/// Where the packages are unpacked. The tests look there too.
fn root(workspace: &Workspace) -> PathBuf {
    workspace.tools().join("valkey")
}

fn program(workspace: &Workspace) -> PathBuf {
    root(workspace).join("usr/bin/valkey-server")
}

fn runs(program: &Path) -> bool {
    succeeds(Command::new(program).arg("--version"))
}

/// An apt with lists and a folder of its own.
struct Apt {
    folder: PathBuf,
    source: &'static str,
    options: Vec<String>,
}

impl Apt {
    fn in_scratch(workspace: &Workspace) -> Result<Self> {
        let folder = workspace.scratch("valkey");
        // What was fetched before may be of an older release.
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        let (lists, cache) = (folder.join("lists"), folder.join("cache"));
        fs::create_dir_all(lists.join("partial"))?;
        fs::create_dir_all(cache.join("archives/partial"))?;
        let mut options = vec![
            format!("Dir::State::Lists={}", lists.display()),
            format!("Dir::Cache={}", cache.display()),
            // The user that apt fetches as where it is root may not write in a checkout.
            format!("APT::Sandbox::User={}", output(Command::new("id").arg("-un"))?.trim()),
        ];
        let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
        let source = if is_debian_12(&release) {
            let list = folder.join("sources.list");
            fs::write(&list, BACKPORTS)?;
            options.push(format!("Dir::Etc::SourceList={}", list.display()));
            options.push("Dir::Etc::SourceParts=/dev/null".to_owned());
            "Debian's bookworm-backports"
        } else {
            "this machine's sources"
        };
        Ok(Self { folder, source, options })
    }

    fn get(&self, workspace: &Workspace, verb: &str, packages: &[&str]) -> Result<()> {
        let mut apt = Command::new("apt-get");
        apt.current_dir(&self.folder);
        apt.args(self.options.iter().flat_map(|option| ["-o", option])).arg(verb).args(packages);
        let log = workspace.scratch(format!("setup-valkey-{verb}.log"));
        run_quietly(&format!("apt-get {verb} {}", packages.join(" ")), &log, &mut apt)
            .with_context(|| format!("{} offers no {}", self.source, PACKAGES.join(" and no ")))
    }
}

/// The files of packages in a folder.
fn packages(folder: &Path) -> Result<Vec<PathBuf>> {
    let files = fs::read_dir(folder)?.map(|entry| Ok(entry?.path()));
    let mut files: Vec<PathBuf> = files.collect::<Result<_>>()?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "deb"));
    files.sort();
    Ok(files)
}

/// Its ordinary sources have no Valkey, those of later releases have.
fn is_debian_12(release: &str) -> bool {
    let says = |wanted: &str| release.lines().any(|line| line.replace('"', "") == wanted);
    says("ID=debian") && says("VERSION_ID=12")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_debian_12_needs_backports() {
        assert!(is_debian_12("NAME=\"Debian GNU/Linux\"\nVERSION_ID=\"12\"\nID=debian\n"));
        assert!(!is_debian_12("VERSION_ID=\"13\"\nID=debian\n"));
        assert!(!is_debian_12("VERSION_ID=\"12\"\nID=ubuntu\nID_LIKE=debian\n"));
        assert!(!is_debian_12(""));
    }
}
