//! Where a file of a copy lies, and how it is known to be the one that was indexed.
//! Values only: nothing here asks a disk.

use crate::model::{RelPath, SeenRoot, StoreId, Timestamp};
use crate::sys::walk;
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// Where one file lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The store, for telling apart who may wait for whom.
    pub store: StoreId,
    /// Absolute directory of the store; no link below it is followed.
    pub folder: PathBuf,
    /// Absolute directory of the copy, in it.
    pub root: PathBuf,
    /// What that was when the copy was indexed; none: nobody has looked at it, and it can be any.
    pub seen: Option<SeenRoot>,
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
    /// Whose it is and what they may do; none where the copy need not keep that.
    pub owner: Option<Owner>,
}

/// Type and permissions, owner and group of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// `st_mode`.
    pub mode: u32,
    /// Numeric owner.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
}

impl Identity {
    /// Returns what `stat` tells, as far as it is to be compared with `self`.
    pub(super) fn of(&self, stat: &walk::Stat) -> Self {
        let owner = Owner { mode: stat.mode, uid: stat.uid, gid: stat.gid };
        Self { size_bytes: stat.size_bytes, mtime: stat.mtime, owner: self.owner.map(|_| owner) }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes of {}", self.size_bytes, self.mtime)?;
        match self.owner {
            Some(Owner { mode, uid, gid }) => write!(f, ", mode {:04o} of {uid}:{gid}", mode & 0o7777),
            None => Ok(()),
        }
    }
}
