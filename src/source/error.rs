//! Why a source cannot be used or a copy cannot be walked.
//! Each text names the source's setting or the path.

use super::{block, gluster};
use crate::model::{Hinted, SourceKind};
use std::io;
use std::path::PathBuf;

/// Why a source cannot be used or a copy cannot be walked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The stored settings are not what this version writes.
    #[error("cannot read the settings of the source")]
    Settings(#[source] serde_json::Error),
    /// A source of a later program.
    #[error("source {name:?} is of kind {kind:?}, which this asof does not know")]
    UnknownKind {
        /// The source.
        name: String,
        /// The word of its kind.
        kind: String,
    },
    /// The place of the copies is relative.
    #[error("the folder of copies {0:?} is not an absolute path")]
    NotAbsolute(PathBuf),
    /// The place of the copies is a file or something else.
    #[error("the folder of copies {0:?} is not a directory")]
    NotADirectory(PathBuf),
    /// The place of the copies cannot be listed.
    #[error("cannot list the copies in {path:?}")]
    Copies {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A folder of images cannot be listed.
    #[error("cannot list the images in {path:?}")]
    Images {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A pattern for names of copies tells no date.
    #[error("name pattern {pattern:?} cannot give a date: {why}")]
    Pattern {
        /// The pattern as it was written.
        pattern: String,
        /// What it lacks.
        why: String,
    },
    /// A time zone that the machine does not know.
    #[error("no time zone is named {0:?}")]
    Zone(String),
    /// A directory that does not tell its instant.
    #[error("{path:?} has no date: {why}")]
    NoInstant {
        /// The directory.
        path: PathBuf,
        /// Every way that was tried, and why it gave nothing.
        why: String,
    },
    /// A kind of source whose generations are taken, not found.
    #[error("a source of kind {0} has no copies that another tool made")]
    NoCopies(SourceKind),
    /// The bricks of a volume.
    #[error(transparent)]
    Gluster(#[from] Box<gluster::collect::Error>),
    /// An image of a disk.
    #[error(transparent)]
    Image(#[from] Box<block::image::Error>),
    /// A setting of a volume that means nothing.
    #[error("{what} {found:?} cannot be: {why}")]
    Setting {
        /// Which setting.
        what: &'static str,
        /// What it is.
        found: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Something is said of a guest, and no guest is named.
    #[error("{0} are for guests of libvirt")]
    NoDomain(&'static str),
    /// The root of a copy cannot be listed.
    #[error("cannot open the copy {path:?}")]
    Copy {
        /// The root of the copy.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The machine gave no thread for the walk.
    #[error("cannot start a thread to walk the copy {path:?}")]
    Thread {
        /// The root of the copy.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl Hinted for Error {
    fn hint(&self) -> Option<String> {
        match self {
            Self::NoInstant { .. } => Some("asof index NAME PATH --at DATE gives it one".to_owned()),
            Self::NoDomain(_) => Some("--domain NAME names the guest".to_owned()),
            Self::UnknownKind { .. }
            | Self::Settings(_)
            | Self::NotAbsolute(_)
            | Self::NotADirectory(_)
            | Self::Copies { .. }
            | Self::Images { .. }
            | Self::Pattern { .. }
            | Self::Zone(_)
            | Self::NoCopies(_)
            | Self::Gluster(_)
            | Self::Image(_)
            | Self::Setting { .. }
            | Self::Copy { .. }
            | Self::Thread { .. } => None,
        }
    }
}
