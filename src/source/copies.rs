//! Copies that another tool made, whatever the kind of source: how they are found and walked.
//! A source reads and never writes.

use super::error::Error;
use crate::model::{FileKey, ListedEntry, RelPath, SeenRoot, Time, Timestamp, Walked};
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

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
    #[error("it cannot be read: {0}")]
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

/// The top directory of a copy, as it was when the copy was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TopDirectory {
    /// What it is known by.
    pub seen: SeenRoot,
    /// Its mtime.
    pub mtime: Timestamp,
}

/// The file whose bytes are asked for: those of another one, or of another moment, are not its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileStamp {
    /// Which file it is inside its copy; none: not known.
    pub key: Option<FileKey>,
    /// Its size.
    pub size_bytes: u64,
    /// Its mtime.
    pub mtime: Timestamp,
    /// Its ctime; none: not known, or it has several names, and the ctime moves with each new one.
    pub ctime: Option<Timestamp>,
}

impl FileStamp {
    /// Returns what a file was when it was listed.
    pub fn of(entry: &ListedEntry) -> Self {
        let attrs = &entry.attrs;
        Self {
            key: Some(entry.key),
            size_bytes: attrs.size_bytes,
            mtime: attrs.mtime,
            ctime: (attrs.nlink == 1).then_some(attrs.ctime),
        }
    }
}

/// Why there is no digest of a file.
#[derive(Debug, thiserror::Error)]
pub enum NoDigest {
    /// Another file has its name by now, or it was written meanwhile.
    #[error("it changed while the copy was walked")]
    Changed,
    /// It cannot be opened or read.
    #[error(transparent)]
    Io(#[from] io::Error),
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

    /// Opens the copy `found`.
    ///
    /// # Errors
    /// [`Error::Copy`] if it cannot be opened as a directory.
    fn open(&self, found: &Found) -> Result<Box<dyn OpenCopy + '_>, Error>;

    /// Returns the instant that the directory tells that was looked at under the name `path` and had this `mtime`; nothing is looked at
    /// again, since it may have another name by now. None where it tells none.
    fn instant_of_root(&self, _path: &Path, _mtime: Timestamp) -> Option<Time> {
        None
    }

    /// Tells whether the copy at `path` has its date from its name, so that one of another date has another name. Else its name may rotate.
    fn is_dated_by_name(&self, _path: &Path) -> bool {
        true
    }

    /// Returns the instant that the directory `path` tells of itself, when the admin gave none.
    ///
    /// # Errors
    /// [`Error::NoInstant`] with all that was tried; always so for a kind whose copies tell none.
    fn instant_of(&self, path: &Path) -> Result<Time, Error> {
        Err(Error::NoInstant { path: path.to_owned(), why: "copies of this kind have no date".to_owned() })
    }
}

/// A copy that is open: all that is read of it is read beneath the directory that was opened, whatever has its name by then.
pub trait OpenCopy {
    /// Returns its top directory as it was when it was opened.
    fn top(&self) -> TopDirectory;

    /// Tells every directory of it once, breadth first (see [`crate::model::Listing`]).
    ///
    /// `each` runs on the calling thread while other threads read ahead. Ends early, without error and with
    /// what was handed over so far, when `each` returns `ControlFlow::Break`.
    ///
    /// # Errors
    /// [`Error::Thread`] if nothing can be read ahead.
    fn scan(&self, each: &mut dyn FnMut(Walked) -> ControlFlow<()>) -> Result<ScanStats, Error>;

    /// Returns the digest of the regular file `path`, if that is `file`: the same for the same bytes, whatever lies in holes. Reads
    /// all that is not a hole.
    ///
    /// # Errors
    /// [`NoDigest`].
    fn digest(&self, path: &RelPath, file: &FileStamp) -> Result<[u8; 32], NoDigest>;
}
