//! Whether the inputs of a step are those of its last run.
//!
//! Compares contents, since a build or a checkout touches files without changing them. The hash is the standard
//! library's; another toolchain may hash otherwise, which costs one needless run.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Over all inputs of one step.
#[derive(Default)]
pub(super) struct Fingerprint(DefaultHasher);

impl Fingerprint {
    /// A version, a flag.
    pub(super) fn text(mut self, text: &str) -> Self {
        text.hash(&mut self.0);
        self
    }

    /// A file's contents.
    pub(super) fn file(mut self, path: &Path) -> Result<Self> {
        fs::read(path).with_context(|| path.display().to_string())?.hash(&mut self.0);
        Ok(self)
    }

    /// The names and contents of all files below a folder, which may be absent.
    pub(super) fn folder(self, folder: &Path) -> Result<Self> {
        files_below(folder)?.iter().try_fold(self, |print, path| print.text(&path.to_string_lossy()).file(path))
    }

    /// Whether `record` was last called with this value on this file.
    pub(super) fn is_recorded(&self, stamp: &Path) -> bool {
        fs::read_to_string(stamp).is_ok_and(|recorded| recorded == self.digits())
    }

    /// To be called when the step has succeeded.
    pub(super) fn record(&self, stamp: &Path) -> Result<()> {
        Ok(fs::write(stamp, self.digits())?)
    }

    fn digits(&self) -> String {
        format!("{:016x}", self.0.finish())
    }
}

/// All files below a folder, in the order of their names; none where it does not exist.
pub(super) fn files_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop().filter(|folder| folder.is_dir()) {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_name_or_content_changes_the_fingerprint() {
        let folder = std::env::temp_dir().join(format!("xtask-fingerprint-{}", std::process::id()));
        let below = folder.join("below");
        fs::create_dir_all(&below).expect("a folder");
        let stamp = folder.with_extension("stamp");
        let print = || Fingerprint::default().folder(&folder).expect("reads");

        fs::write(below.join("a"), "1").expect("writes");
        assert!(!print().is_recorded(&stamp));
        print().record(&stamp).expect("writes");
        assert!(print().is_recorded(&stamp));
        fs::write(below.join("a"), "2").expect("writes");
        assert!(!print().is_recorded(&stamp));
        print().record(&stamp).expect("writes");
        fs::rename(below.join("a"), below.join("b")).expect("renames");
        assert!(!print().is_recorded(&stamp));

        fs::remove_dir_all(folder).expect("removes");
        fs::remove_file(stamp).expect("removes");
    }
}
