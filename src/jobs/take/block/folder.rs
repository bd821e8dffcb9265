//! The folder that a run writes to. What is mounted there may go, or come, while the run is under way: then there is another folder at its path.
//!
//! Promises: knows whether the folder at its path is the one that it was. Whoever writes to it asks before.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A folder as it was when a run began.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    /// Device and inode number.
    key: (u64, u64),
}

impl Folder {
    /// Returns the folder that is at `path` now.
    ///
    /// # Errors
    /// Those of the system.
    pub(super) fn at(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), key: key_of(path)? })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Tells whether it is at its path still.
    pub(super) fn is_there(&self) -> bool {
        key_of(&self.path).is_ok_and(|key| key == self.key)
    }
}

fn key_of(path: &Path) -> io::Result<(u64, u64)> {
    fs::metadata(path).map(|found| (found.dev(), found.ino()))
}
