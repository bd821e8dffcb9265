//! Whether the catalog is still the file that was opened, and its log and shared memory are.
//!
//! Promises: three `stat(2)` of local files, nothing is opened. SQLite reads on from a file that has lost its name and says nothing; and
//! what another catalog numbers alike may be something else. A file that is overwritten in place is not noticed.

use crate::catalog::beside;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What SQLite has open of a catalog.
#[derive(Debug)]
pub(super) struct CatalogFiles {
    files: [(PathBuf, Option<Identity>); 3],
}

/// Device and inode number.
type Identity = (u64, u64);

impl CatalogFiles {
    /// Returns the files of the catalog at `path`, before it is opened.
    pub(super) fn before_opening(path: &Path) -> Self {
        let [log, memory] = ["-wal", "-shm"].map(|ending| (beside(path, ending), None));
        Self { files: [(path.to_owned(), identity(path)), log, memory] }
    }

    /// Takes up what is made beside it when it is first read.
    pub(super) fn read(&mut self) {
        for (path, known) in &mut self.files[1..] {
            *known = identity(path);
        }
    }

    /// Tells whether one of them is another file now, or gone.
    pub(super) fn are_replaced(&self) -> bool {
        self.files.iter().any(|(path, known)| known.is_some() && identity(path) != *known)
    }
}

fn identity(path: &Path) -> Option<Identity> {
    fs::metadata(path).ok().map(|file| (file.dev(), file.ino()))
}
