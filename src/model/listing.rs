//! What a source says of one directory of a full tree.
//!
//! A walk is a stream of [`Listing`]s, breadth first: the root comes first, and every directory comes
//! after the listing that named it, in the order in which they were named. So the catalog can give
//! out node numbers in the order of the walk and only ever append to its tables.
//!
//! Promises: entries are sorted by name (bytewise) and names do not repeat; what a complete listing
//! does not name is not there. Never holds more than one directory.

use super::{Attrs, EntryName, Finding, RelPath};

/// The identity of a file inside one copy: device and inode number.
///
/// Good for finding hard links inside one walk, and, where copies are snapshots that keep inode
/// numbers, with `born_ns` for finding a node again in the next one. `device` is never stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileKey {
    /// `st_dev`, meaningful within one walk only.
    pub device: u64,
    /// `st_ino`.
    pub inode: u64,
    /// Birth time in ns since the epoch, 0 where the file system does not tell it.
    pub born_ns: i64,
}

/// One name in a listing.
#[derive(Clone, Debug)]
pub struct ListedEntry {
    /// The name.
    pub name: EntryName,
    /// Who it is inside this copy.
    pub key: FileKey,
    /// Its attributes; `nlink` is what the file system says and may count names outside the copy.
    pub attrs: Attrs,
    /// Whether its attributes, target or extended attributes could not be read in full.
    pub unreadable: bool,
}

/// All that one directory of a copy holds.
#[derive(Clone, Debug)]
pub struct Listing {
    /// The place of this directory in the walk: 0 for the root, then 1, 2, 3 in the order in which
    /// the entries of kind directory were named by earlier listings.
    pub number: u64,
    /// Its path, for messages.
    pub path: RelPath,
    /// For the root only: its own identity and attributes (all others were an entry before).
    pub root: Option<(FileKey, Attrs)>,
    /// What it holds, in name order.
    pub entries: Vec<ListedEntry>,
    /// Whether `entries` is all. An unreadable directory is listed with `complete` false.
    pub complete: bool,
    /// What was found amiss in it.
    pub findings: Vec<Finding>,
}
