//! What can be wrong with the directories of changelogs.
//! What is not there is a gap and no error.

use std::io;
use std::path::PathBuf;

/// Why the changelogs of a brick cannot be listed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A directory of them.
    #[error("cannot list the changelogs in {path:?}")]
    List {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The open slice or the list of slices.
    #[error("cannot read {path:?}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The note which HTIME file is current.
    #[error("cannot read trusted.glusterfs.current_htime of {path:?}")]
    Current {
        /// The directory of the HTIME files.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}
