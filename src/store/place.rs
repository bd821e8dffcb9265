//! Where a file of a copy lies, and how it is known to be the one that was indexed.
//! Values only: nothing here asks a disk.

use crate::model::{RelPath, StoreId, Timestamp};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// Where one file lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The store, for telling apart who may wait for whom.
    pub store: StoreId,
    /// Absolute directory of the copy.
    pub root: PathBuf,
    /// The file in it.
    pub path: RelPath,
}

impl Place {
    /// Returns the absolute path of the file.
    pub fn full_path(&self) -> PathBuf {
        self.root.join(OsStr::from_bytes(self.path.as_bytes()))
    }
}

/// What a file must look like to be the one that was indexed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Length in bytes.
    pub size_bytes: u64,
    /// Last change of the content.
    pub mtime: Timestamp,
}
