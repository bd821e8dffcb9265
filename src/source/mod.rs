//! What is backed up, and how its copies are found and walked: one trait, one type per kind of source.
//!
//! Promises: a source reads and never writes; it finds the copies of its generations and tells one of them
//! as a stream of [`crate::model::Listing`]s, breadth first, whatever the kind. After that nobody asks what kind it was.
//! Trouble with one path is a finding inside its listing and does not stop the walk. Never sees the
//! catalog: what is new or known is for the indexer.

pub mod block;
pub mod gluster;
mod instant;
pub mod nfs;

use crate::model::{Hinted, RelPath, SourceKind, Time, Walked};
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// Why a source cannot be used or a copy cannot be walked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The stored settings are not what this version writes.
    #[error("cannot read the settings of the source")]
    Settings(#[source] serde_json::Error),
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
    /// A pattern for names of copies tells no date.
    #[error("name pattern {pattern:?} tells no date: {why}")]
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
    #[error("{path:?} does not tell when it was taken: {why}")]
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
            Self::Settings(_)
            | Self::NotAbsolute(_)
            | Self::NotADirectory(_)
            | Self::Copies { .. }
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

/// One copy of a generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The instant of the generation.
    pub taken_at: Time,
    /// The directory that holds the copy, absolute and canonical.
    pub path: PathBuf,
}

/// What a look for copies gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Discovered {
    /// Copies, oldest first, those of the same second in the order of their paths.
    pub found: Vec<Found>,
    /// Directories and links that are no copies, in the order of their paths.
    pub left_aside: Vec<LeftAside>,
}

/// Something among the copies that is none.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LeftAside {
    /// Where it is.
    pub path: PathBuf,
    /// Why it is no copy.
    pub why: NoCopy,
}

/// Why something among the copies is none. The text is a sentence about it, to be said after its path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum NoCopy {
    /// Nothing that the settings ask tells its date.
    #[error("{0}")]
    NoDate(String),
    /// Its name has the form of a date and tells none; then nothing else is asked, for that would be a guess against
    /// what the name says.
    #[error("{0}")]
    BadDate(String),
    /// It is a symbolic link that may stand for a copy: its name tells a date, or it leads elsewhere.
    #[error(
        "it is a symbolic link to {target:?}; links are not followed: put the directory itself there (mv, mount --bind)"
    )]
    Link {
        /// Where it leads, as it is written there.
        target: PathBuf,
    },
    /// It is a symbolic link to something beside it, and its name tells no date: `latest`.
    #[error("it is a symbolic link to {target:?} beside it; links are not followed")]
    Alias {
        /// Where it leads, as it is written there.
        target: PathBuf,
    },
    /// What it is cannot be found out.
    #[error("it cannot be looked at: {0}")]
    Unreadable(String),
    /// What file systems and machines keep at the top of a disk: `lost+found`.
    #[error("it belongs to the file system, not to the copies")]
    Housekeeping,
}

/// What a walk has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScanStats {
    /// Listings handed over; the root counts.
    pub directories: u64,
    /// Entries in them; the root does not count.
    pub entries: u64,
    /// Findings in them.
    pub findings: u64,
    /// Whether the copy changed while it was walked, so that the walk may mix two states.
    pub changed: bool,
}

/// A thing that is backed up, with copies that can be found and walked.
pub trait Source: Send {
    /// Looks for copies.
    ///
    /// Shape: oldest first, with what was left aside and why. Cost: one listing of one directory.
    ///
    /// # Errors
    /// [`Error::Copies`] if they cannot be listed.
    fn generations(&self) -> Result<Discovered, Error>;

    /// Tells every directory of `found` once, breadth first (see [`crate::model::Listing`]).
    ///
    /// `each` runs on the calling thread while other threads read ahead. Ends early, without error and with
    /// what was handed over so far, when `each` returns `ControlFlow::Break`.
    ///
    /// # Errors
    /// [`Error::Copy`] if the root cannot be opened as a directory.
    fn scan(&self, found: &Found, each: &mut dyn FnMut(Walked) -> ControlFlow<()>) -> Result<ScanStats, Error>;

    /// Returns the digest of the regular file `path` in a copy: the same for the same bytes, whatever lies in holes. Reads all
    /// that is not a hole.
    ///
    /// # Errors
    /// That of opening or reading it.
    fn digest(&self, copy: &Path, path: &RelPath) -> io::Result<[u8; 32]>;

    /// Returns the instant that the directory `path` tells of itself, when the admin gave none.
    ///
    /// # Errors
    /// [`Error::NoInstant`] with all that was tried; always so for a kind whose copies tell none.
    fn instant_of(&self, path: &Path) -> Result<Time, Error> {
        Err(Error::NoInstant { path: path.to_owned(), why: "copies of this kind tell no date".to_owned() })
    }
}

/// Returns the source of this kind with `settings` as the catalog keeps them (JSON); `zone` is the
/// machine's, for sources that name none.
///
/// Pure: no disk is touched before the first call.
///
/// # Errors
/// [`Error::Settings`], [`Error::Zone`] or [`Error::Pattern`] if the settings do not hold.
pub fn open(kind: SourceKind, settings: &str, zone: &jiff::tz::TimeZone) -> Result<Box<dyn Source>, Error> {
    match kind {
        SourceKind::Gluster | SourceKind::Block => Err(Error::NoCopies(kind)),
        SourceKind::Nfs => Ok(Box::new(nfs::Nfs::new(nfs::Settings::from_json(settings)?, zone)?)),
    }
}
