//! Attributes as `stat(2)` shows them.
//!
//! Promises: what was recorded, unchanged. Never makes up a time or an owner for a node of a backup.

use super::Ino;
use crate::catalog::{NodeRow, Perm, Place};
use crate::model::{Kind, Timestamp, Visibility};

/// The attributes of anything in the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Its number.
    pub ino: Ino,
    /// Its type.
    pub kind: Kind,
    /// Permission bits, set-id and sticky bits included.
    pub perm: u32,
    /// Numeric owner.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
    /// Bytes.
    pub size_bytes: u64,
    /// Allocated, in units of 512 bytes.
    pub blocks: u64,
    /// Last change of the content.
    pub mtime: Timestamp,
    /// Last change of the attributes.
    pub ctime: Timestamp,
    /// Names.
    pub nlink: u32,
    /// Device number of a device node.
    pub rdev: u64,
    /// Which extended attributes.
    pub xattrs: Xattrs,
}

/// Which extended attributes a node has: none, a set, or some that could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Xattrs(pub(super) i64);

impl Xattrs {
    /// For whatever has none.
    pub const NONE: Self = Self(0);
}

impl Stat {
    /// Returns the attributes of a version.
    pub(super) fn of_row(ino: Ino, kind: Kind, row: &NodeRow, perm: &Perm) -> Self {
        // What is not sparse fills whole pages; a symlink as long as it fits into an inode fills none.
        let full = if kind == Kind::File || kind == Kind::Directory { row.size_bytes.div_ceil(4096) * 8 } else { 0 };
        Self {
            ino,
            kind,
            perm: perm.mode & 0o7777,
            uid: perm.uid,
            gid: perm.gid,
            size_bytes: row.size_bytes,
            blocks: row.allocated_bytes.map_or(full, |bytes| bytes / 512),
            mtime: row.mtime,
            ctime: row.ctime,
            nlink: row.nlink,
            rdev: if let Place::Device(number) = row.place { number } else { 0 },
            xattrs: Xattrs(perm.xattr),
        }
    }

    /// Returns it, closed to those whom `visible_to` does not let in.
    pub(super) fn closed(self, visible_to: &Visibility) -> Self {
        let (perm, gid) = match visible_to {
            Visibility::Modes => return self,
            Visibility::Root => (0o700, 0),
            Visibility::Group { gid, .. } => (0o750, *gid),
        };
        Self { perm, uid: 0, gid, xattrs: Xattrs::NONE, ..self }
    }

    /// Returns the attributes of a directory that the mount makes up.
    pub(super) fn of_made_directory(ino: Ino, changed: Timestamp) -> Self {
        Self { kind: Kind::Directory, perm: 0o755, nlink: 2, ..Self::of_made_file(ino, 0, changed) }
    }

    /// Returns the attributes of a file that the mount makes up.
    pub(super) fn of_made_file(ino: Ino, size_bytes: u64, changed: Timestamp) -> Self {
        Self {
            ino,
            kind: Kind::File,
            perm: 0o444,
            uid: 0,
            gid: 0,
            size_bytes,
            blocks: size_bytes.div_ceil(512),
            mtime: changed,
            ctime: changed,
            nlink: 1,
            rdev: 0,
            xattrs: Xattrs::NONE,
        }
    }
}
