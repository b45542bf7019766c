//! A hub whose storage fails: another process holds the write lock of its database, so the hub drops what it has in memory
//! and begins again from its rows, while the Worker's isolate lives on.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use tokio::time::{Instant, sleep};

use super::region::Region;

/// How long the hub may be at a write of its own.
const DEADLINE: Duration = Duration::from_secs(60);

/// Where SQLite locks the index of a write-ahead log for its one writer (https://sqlite.org/walformat.html#wal_locks).
const WRITE_LOCK_BYTE: i64 = 120;

/// The write locks of a region's hubs, until it is dropped.
pub(crate) struct Locked(Vec<File>);

/// Keeps the hubs of a region from writing.
pub(crate) async fn lock(region: &Region) -> Locked {
    let mut locked = Vec::new();
    for path in databases(&region.objects().join("headwater-hub")) {
        let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let deadline = Instant::now() + DEADLINE;
        loop {
            match fcntl(&file, FcntlArg::F_SETLK(&write_lock(libc::F_WRLCK))) {
                Ok(_) => break,
                Err(Errno::EACCES | Errno::EAGAIN) => assert!(Instant::now() < deadline, "{path:?} stays locked"),
                Err(error) => panic!("{path:?}: {error}"),
            }
            sleep(Duration::from_millis(1)).await;
        }
        locked.push(file);
    }
    assert!(!locked.is_empty(), "the region has no hub");
    Locked(locked)
}

impl Drop for Locked {
    fn drop(&mut self) {
        for file in &self.0 {
            // Closing the file would do the same.
            let _ = fcntl(file, FcntlArg::F_SETLK(&write_lock(libc::F_UNLCK)));
        }
    }
}

/// The log indexes of the objects' databases.
fn databases(folder: &Path) -> Vec<PathBuf> {
    let files = folder.read_dir().unwrap().map(|entry| entry.unwrap().path());
    let is_index = |path: &PathBuf| path.to_string_lossy().ends_with(".sqlite-shm");
    files.filter(is_index).filter(|path| !path.ends_with("metadata.sqlite-shm")).collect()
}

fn write_lock(kind: i32) -> libc::flock {
    libc::flock {
        l_type: kind.try_into().unwrap(),
        l_whence: libc::SEEK_SET.try_into().unwrap(),
        l_start: WRITE_LOCK_BYTE,
        l_len: 1,
        l_pid: 0,
    }
}
