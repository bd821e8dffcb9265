//! What a directory was when it was named, so that it is known whether that one is read.
//!
//! Promises: two directories have one identity by chance only, and one that changed has another state.

use crate::sys::walk::Stat;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

/// What a directory was when it was named, folded into one number: its identity and its times.
///
/// Kept for every directory that waits to be read, so it is small.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// Which directory it is; 0: the root of another mount.
    pub(super) identity: u64,
    /// How it was.
    pub(super) state: u64,
}

impl Mark {
    /// A directory that is the root of another mount; nothing is read there.
    pub(super) const BOUNDARY: Self = Self { identity: 0, state: 0 };

    pub(super) fn of(stat: &Stat) -> Self {
        let hasher = BuildHasherDefault::<DefaultHasher>::default();
        Self {
            // A directory that was made since may have the inode number of one that was removed.
            identity: hasher.hash_one((stat.device, stat.inode, stat.born)) | 1,
            state: hasher.hash_one((stat.mtime, stat.ctime)),
        }
    }
}
