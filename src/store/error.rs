//! What can be wrong with a file of a copy.
//! Every text names the full path and what was found; errors of the system come as the cause.

use super::place::Identity;
use crate::model::{FilesystemId, Hinted, Kind, SeenRoot, Timestamp, escape_bytes};
use crate::sys::read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Why bytes cannot be had from one copy; each names the full path.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The directory of the copy is not there: not mounted, moved, deleted.
    #[error("cannot open copy \"{}\"", shown(root))]
    NoCopy {
        /// The directory of the copy.
        root: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Another directory has the name of the copy: names rotated, or it was made again.
    #[error(
        "copy \"{}\" is another directory than the one that was indexed: found {}, expected {}",
        shown(root),
        root_words(found, expected),
        root_words(expected, found)
    )]
    OtherDirectory {
        /// The directory of the copy.
        root: PathBuf,
        /// What it is now.
        found: SeenRoot,
        /// What was recorded.
        expected: SeenRoot,
    },
    /// The directory of the copy is a link, or below one; links below a store are not followed.
    #[error("copy \"{}\" is a symbolic link or below one, and is not followed", shown(root))]
    LinkedCopy {
        /// The directory of the copy.
        root: PathBuf,
    },
    /// Another file system, or another part of one, is mounted over a part of the copy.
    #[error("\"{}\" is below a mount that covers a part of the copy", shown(path))]
    Covered {
        /// The file.
        path: PathBuf,
    },
    /// A copy that is being written here cannot be: a full disk, a store that is read-only or gone.
    #[error("cannot write \"{}\"", shown(path))]
    CannotWrite {
        /// What was being written.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The copy is there, the file is not.
    #[error("file \"{}\" is missing", shown(path))]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// The file is there, and the system does not give its bytes.
    #[error("cannot read \"{}\"", shown(path))]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Another kind of thing has taken the file's name.
    #[error("\"{}\" is {}, a regular file was indexed", shown(path), kind_words(*found))]
    NotAFile {
        /// The file.
        path: PathBuf,
        /// What it is now, if that has a name.
        found: Option<Kind>,
    },
    /// The file was changed since it was indexed.
    #[error(
        "\"{}\" changed after it was indexed: found {}, expected {}",
        shown(path),
        words(found, expected),
        words(expected, found)
    )]
    Changed {
        /// The file.
        path: PathBuf,
        /// What it is now.
        found: Identity,
        /// What was recorded.
        expected: Identity,
    },
    /// A compressed cluster of an image does not unpack.
    #[error("cannot unpack the cluster at byte {at} of \"{}\": {why}", shown(path))]
    Packed {
        /// The image.
        path: PathBuf,
        /// Where in it.
        at: u64,
        /// Why.
        why: String,
    },
    /// The layers of a disk name more files than can be told apart.
    #[error("the layers of the disk lie in more than 65536 files ({files})")]
    TooManyFiles {
        /// How many were counted.
        files: usize,
    },
    /// The file was cut while it was open.
    #[error("\"{}\" ends at byte {found_bytes}, expected {expected_bytes} bytes", shown(path))]
    Short {
        /// The file.
        path: PathBuf,
        /// Where it ends now.
        found_bytes: u64,
        /// The recorded size.
        expected_bytes: u64,
    },
}

impl Hinted for Error {}

impl Error {
    /// Tells whether it is about the whole copy, which is not, or not only, where it was when it was indexed.
    pub fn is_moved_copy(&self) -> bool {
        match self {
            Self::OtherDirectory { .. } | Self::LinkedCopy { .. } => true,
            Self::NoCopy { .. }
            | Self::Covered { .. }
            | Self::CannotWrite { .. }
            | Self::Missing { .. }
            | Self::Unreadable { .. }
            | Self::NotAFile { .. }
            | Self::Changed { .. }
            | Self::Packed { .. }
            | Self::TooManyFiles { .. }
            | Self::Short { .. } => false,
        }
    }
}

impl Error {
    /// Tells whether it is only that this process has no descriptor left.
    pub fn lacks_descriptors(&self) -> bool {
        match self {
            Self::NoCopy { source, .. } | Self::Unreadable { source, .. } => read::lacks_descriptors(source),
            _ => false,
        }
    }

    /// Tells whether the copy may have another name by now.
    pub(super) fn may_be_renamed(&self) -> bool {
        match self {
            Self::OtherDirectory { .. } => true,
            Self::NoCopy { source, .. } => source.kind() == std::io::ErrorKind::NotFound,
            _ => false,
        }
    }
}

fn shown(path: &Path) -> String {
    escape_bytes(path.as_os_str().as_bytes()).into_owned()
}

/// Returns what an identity is, without the owner where that is not what differs.
fn words(one: &Identity, other: &Identity) -> Identity {
    let owner = one.owner.filter(|_| one.owner != other.owner);
    Identity { owner, ..*one }
}

/// Returns what a root is, with its file system where that is what differs.
fn root_words(root: &SeenRoot, other: &SeenRoot) -> String {
    let mut words = match root.born_ns {
        0 => format!("inode {}", root.inode),
        ns => format!("inode {} of {}", root.inode, Timestamp::default().plus_ns(ns)),
    };
    if let Some(FilesystemId(id)) = root.filesystem.filter(|_| root.is_on_another_filesystem_than(other)) {
        words.push_str(&format!(" on file system {id:016x}"));
    }
    words
}

fn kind_words(kind: Option<Kind>) -> &'static str {
    match kind {
        Some(Kind::File) => "a regular file",
        Some(Kind::Directory) => "a directory",
        Some(Kind::Symlink) => "a symbolic link or below one",
        Some(Kind::Fifo) => "a named pipe",
        Some(Kind::Socket) => "a socket",
        Some(Kind::CharDevice) => "a character device",
        Some(Kind::BlockDevice) => "a block device",
        None => "of no known kind",
    }
}
