//! What a record of a changelog tells: as it is written, never judged.
//! Names are raw bytes, and can be names.

use crate::source::gluster::Gfid;

/// Something that happened to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'b> {
    /// The node.
    pub gfid: Gfid,
    /// What happened.
    pub what: What<'b>,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What<'b> {
    /// Bytes were written or cut off. At most one such record per node and slice.
    Data,
    /// Attributes or extended attributes changed. At most one such record of each per node and slice.
    Metadata {
        /// The operation of the request, 1 to 58 (`glusterfs_fop_t`): mostly 38 or 39 (`setattr`), 17 or 36
        /// (`setxattr`), 19 or 45 (`removexattr`), 33 or 34 (`xattrop`).
        fop: u32,
    },
    /// A file, special file or directory was made.
    Create {
        /// By which operation.
        kind: CreateKind,
        /// `st_mode` as it was asked for, before umask and inheritance: not what the node has.
        mode: u32,
        /// Who asked, not the owner.
        uid: u32,
        /// The group that asked.
        gid: u32,
        /// Its name.
        at: Spot<'b>,
    },
    /// A node got one more name.
    Link {
        /// The new name.
        at: Spot<'b>,
    },
    /// A symbolic link was made; its target is not told.
    Symlink {
        /// Its name.
        at: Spot<'b>,
    },
    /// A name moved. What had the new name before lost it, and no record tells of that.
    Rename {
        /// The name before.
        from: Spot<'b>,
        /// The name after.
        to: Spot<'b>,
    },
    /// A name of a node that is no directory was removed; it may have others.
    Unlink {
        /// The name.
        at: Spot<'b>,
        /// The path below the volume's root, where `changelog.capture-del-path` is on.
        path: Option<&'b [u8]>,
    },
    /// A directory was removed.
    Rmdir {
        /// Its name.
        at: Spot<'b>,
        /// The path below the volume's root, where `changelog.capture-del-path` is on.
        path: Option<&'b [u8]>,
    },
}

/// How a node was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CreateKind {
    /// `open` with `O_CREAT`.
    Create,
    /// `mknod`; self-heal makes ordinary files so too.
    Mknod,
    /// `mkdir`.
    Mkdir,
}

/// A name in a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Spot<'b> {
    /// The directory.
    pub parent: Gfid,
    /// The name: any bytes that [`crate::model::EntryName`] permits.
    pub name: &'b [u8],
}
