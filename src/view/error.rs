//! Why a question to the tree has no answer, and what that means to the one who asked.
//! Every text names the inode, or the path and its date.

use crate::model::{Hinted, Time, ViewId};
use crate::{catalog, store};
use std::path::PathBuf;

/// What an error means to the one who asked, whatever the reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorClass {
    /// There is no such thing.
    NotFound,
    /// It was there once.
    Stale,
    /// A directory is needed.
    NotADirectory,
    /// A directory cannot be read as a file.
    IsADirectory,
    /// The call does not fit this type.
    Invalid,
    /// It is there and cannot be had.
    Io,
}

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The view is gone, or never was.
    #[error("inode {ino:#x} belongs to view {view}, which is not there any more")]
    NoSuchView {
        /// The number asked for.
        ino: u64,
        /// Its view.
        view: ViewId,
    },
    /// The node is not in the view.
    #[error("inode {ino:#x} is not there as of {at}")]
    NoSuchNode {
        /// The number asked for.
        ino: u64,
        /// The instant.
        at: Time,
    },
    /// A number that was never given out.
    #[error("inode {0:#x} belongs to no view")]
    Nothing(u64),
    /// A directory is needed.
    #[error("{0} is not a directory")]
    NotADirectory(String),
    /// A symbolic link is needed.
    #[error("{0} is not a symbolic link")]
    NotASymlink(String),
    /// A regular file is needed.
    #[error("{0} is not a regular file")]
    NotAFile(String),
    /// It has an ACL, and is asked for in a mount that cannot let that decide.
    #[error("{0} has an ACL, which the mount cannot enforce that was there before the first one was published")]
    Unguarded(String),
    /// The directory could not be listed when it was indexed.
    #[error("{0} cannot be listed: it could not be read when it was indexed")]
    Unlisted(String),
    /// The symbolic link or attributes could not be read when they were indexed.
    #[error("{0} has no {1}: they could not be read when it was indexed")]
    Unread(String, &'static str),
    /// No copy has the bytes.
    #[error("{what} has no bytes: {tried}")]
    NoBytes {
        /// The file and its date.
        what: String,
        /// What was tried, each with what was found.
        tried: String,
    },
    /// Each copy that has the bytes is not where it was; that was said once of each.
    #[error("{what} has no bytes: {tried}")]
    Moved {
        /// The file and its date.
        what: String,
        /// What was tried, each with what was found.
        tried: String,
        /// The name of its source.
        name: String,
    },
    /// Another file is at the path of the catalog.
    #[error(
        "the catalog {path:?} is not the one that was opened: it was put back from a copy, moved, or its log was removed"
    )]
    Replaced {
        /// The catalog.
        path: PathBuf,
    },
    /// The catalog.
    #[error(transparent)]
    Catalog(#[from] catalog::Error),
    /// A store.
    #[error(transparent)]
    Store(#[from] store::Error),
}

impl Hinted for Error {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Catalog(e) => e.hint(),
            Self::Store(e) => e.hint(),
            Self::Replaced { .. } => {
                Some("mount again: what is at its path now may number other things alike".to_owned())
            }
            Self::Moved { name, .. } => Some(format!("asof index {name} finds where its copies are now")),
            Self::NoSuchView { .. }
            | Self::NoSuchNode { .. }
            | Self::Nothing(_)
            | Self::NotADirectory(_)
            | Self::NotASymlink(_)
            | Self::NotAFile(_)
            | Self::Unguarded(_)
            | Self::Unlisted(_)
            | Self::Unread(..)
            | Self::NoBytes { .. } => None,
        }
    }
}

impl Error {
    /// Tells whether the log has it already.
    pub fn is_in_the_log(&self) -> bool {
        matches!(self, Self::Moved { .. })
    }

    /// Returns what the error means to the one who asked.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::NoSuchView { .. } | Self::NoSuchNode { .. } | Self::Replaced { .. } | Self::Unguarded(_) => {
                ErrorClass::Stale
            }
            Self::Nothing(_) => ErrorClass::NotFound,
            Self::NotADirectory(_) => ErrorClass::NotADirectory,
            Self::NotASymlink(_) => ErrorClass::Invalid,
            Self::NotAFile(_) => ErrorClass::IsADirectory,
            Self::Unlisted(_)
            | Self::Unread(..)
            | Self::NoBytes { .. }
            | Self::Moved { .. }
            | Self::Catalog(_)
            | Self::Store(_) => ErrorClass::Io,
        }
    }
}
