//! Which columns differ between two versions, by name.
//!
//! Promises: a word is that of `asof show` and of SQL. Says what differs and never whether that counts: that is the rule of the source
//! (`notes`).

use crate::catalog::parts;
use crate::catalog::rows::{ChangeOps, NodeRow, Place};
use rusqlite::Connection;
use std::ops::{BitOr, BitOrAssign};

/// A set of columns of a version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fields(u16);

impl Fields {
    /// The bytes, though size and mtime are as they were.
    pub const BYTES: Self = Self(1);
    /// The size.
    pub const SIZE: Self = Self(2);
    /// The mtime.
    pub const MTIME: Self = Self(4);
    /// The ctime, where files keep their own.
    pub const CTIME: Self = Self(8);
    /// The type or the mode.
    pub const MODE: Self = Self(16);
    /// The owner.
    pub const OWNER: Self = Self(32);
    /// The group.
    pub const GROUP: Self = Self(64);
    /// Extended attributes, ACLs among them.
    pub const XATTRS: Self = Self(128);
    /// The number of links.
    pub const LINKS: Self = Self(256);
    /// The target of a symbolic link, or the number of a device.
    pub const TARGET: Self = Self(512);
    /// Whether it could be read.
    pub const READABLE: Self = Self(1024);

    const WORDS: [(Self, &'static str); 11] = [
        (Self::BYTES, "bytes"),
        (Self::SIZE, "size"),
        (Self::MTIME, "mtime"),
        (Self::CTIME, "ctime"),
        (Self::MODE, "mode"),
        (Self::OWNER, "owner"),
        (Self::GROUP, "group"),
        (Self::XATTRS, "xattrs"),
        (Self::LINKS, "links"),
        (Self::TARGET, "target"),
        (Self::READABLE, "readable"),
    ];

    /// Returns the words for what is in it.
    pub fn words(self) -> Vec<&'static str> {
        Self::WORDS.into_iter().filter(|(field, _)| field.is_in(self)).map(|(_, word)| word).collect()
    }

    /// Tells whether all of it is in `other`.
    pub fn is_in(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }

    /// Tells whether it is empty.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    fn when(self, differs: bool) -> Self {
        if differs { self } else { Self::default() }
    }
}

impl BitOr for Fields {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for Fields {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

/// Returns what differs between two versions, of which the rule of their source says `ops`; `has_ctime`: the ctime is the file's.
pub(super) fn fields(
    c: &Connection,
    old: &NodeRow,
    new: &NodeRow,
    ops: ChangeOps,
    has_ctime: bool,
) -> rusqlite::Result<Fields> {
    let mut found = Fields::SIZE.when(old.size_bytes != new.size_bytes)
        | Fields::MTIME.when(old.mtime != new.mtime)
        | Fields::CTIME.when(has_ctime && old.ctime != new.ctime)
        | Fields::LINKS.when(old.nlink != new.nlink)
        | Fields::READABLE.when((old.place == Place::Lost) != (new.place == Place::Lost));
    if old.perm != new.perm {
        let (one, other) = (parts::perm(c, old.perm)?, parts::perm(c, new.perm)?);
        found |= Fields::MODE.when(one.mode != other.mode)
            | Fields::OWNER.when(one.uid != other.uid)
            | Fields::GROUP.when(one.gid != other.gid)
            | Fields::XATTRS.when(one.xattr != other.xattr);
    }
    if ops.has(ChangeOps::CONTENT) {
        let is_kept_inside = matches!(
            (old.place, new.place),
            (Place::Inline(_), Place::Inline(_)) | (Place::Device(_), Place::Device(_))
        );
        let same_stamp = old.size_bytes == new.size_bytes && old.mtime == new.mtime;
        found |= Fields::TARGET.when(is_kept_inside) | Fields::BYTES.when(!is_kept_inside && same_stamp);
    }
    Ok(found)
}
