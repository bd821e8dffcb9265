//! What a source says of one directory of a full tree.
//!
//! A walk is a stream of [`Listing`]s, breadth first: the root comes first, and every directory comes
//! after the listing that named it, in the order in which they were named. So the catalog can give
//! out node numbers in the order of the walk and only ever append to its tables.
//!
//! Promises: entries are sorted by name (bytewise) and names do not repeat; what a complete listing
//! does not name is not there. Never holds more than one directory.

use super::{Attrs, EntryName, Finding, NodeId, RelPath};

/// The identity of a file inside one copy: device and inode number, or the two halves of another identity that the
/// source gives its files for life (the gfid of a Gluster volume; `device` is 0 then).
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

impl FileKey {
    /// Stands in `device` for "`inode` is a node of the catalog". No file system has this number: the kernel's
    /// device numbers have 32 bits (`include/linux/kdev_t.h`).
    const KNOWN: u64 = u64::MAX;
    /// Stands in `device` for "new, and without an identity of its own".
    const NAMELESS: u64 = u64::MAX - 1;

    /// Returns the key of a node that the catalog has, for a source that finds its files again by their paths.
    pub fn of_node(node: NodeId) -> Self {
        Self { device: Self::KNOWN, inode: node.0 as u64, born_ns: 0 }
    }

    /// Returns the key of a new node that a source without identities made the `number`th of in one run.
    pub fn of_new(number: u64) -> Self {
        Self { device: Self::NAMELESS, inode: number, born_ns: 0 }
    }

    /// Returns the node that [`FileKey::of_node`] made this key of.
    pub fn as_node(self) -> Option<NodeId> {
        (self.device == Self::KNOWN).then_some(NodeId(self.inode as i64))
    }

    /// Tells whether it says who a file is also in the next generation.
    pub fn is_lasting(self) -> bool {
        !matches!(self.device, Self::KNOWN | Self::NAMELESS)
    }
}

/// The origin of a node that the source has, and of which no part of the source can prove how it is: what the generation before has
/// of it goes on.
pub const UNPROVEN_ORIGIN: u32 = u32::MAX - 1;

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
    /// Which part of the source has it, where the source has parts (the number of a brick), or [`UNPROVEN_ORIGIN`]; else 0.
    pub origin: u32,
}

/// What is now known of one node of a source that says what changed: with all its names, and no more than itself.
#[derive(Clone, Debug)]
pub struct NodeState {
    /// Who it is.
    pub key: FileKey,
    /// Its attributes.
    pub attrs: Attrs,
    /// Whether its attributes, target or extended attributes could not be read in full.
    pub unreadable: bool,
    /// Which part of the source has it, or [`UNPROVEN_ORIGIN`].
    pub origin: u32,
    /// All its names: directory and name, in any order. Empty for the root.
    pub names: Vec<(FileKey, EntryName)>,
    /// Whether the source says that its bytes changed, whatever size and times are.
    pub data: bool,
    /// Whether the source says that it was made since the generation before: then what is in it is told too.
    pub made: bool,
}

/// What a source says that changed.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// Nodes as they are now, each once.
    pub nodes: Vec<NodeState>,
    /// Nodes that have other names than before, and are else as they were: all their names, at least one.
    pub moved: Vec<(FileKey, Vec<(FileKey, EntryName)>)>,
    /// Nodes that have no name any more.
    pub gone: Vec<FileKey>,
    /// What names point to now, none: nothing.
    pub names: Vec<(FileKey, EntryName, Option<FileKey>)>,
    /// Directories of which no part of the source can prove what is in them, and why: what the generation before has in them, and is not
    /// told here, is unknown.
    pub doubts: Vec<(FileKey, String)>,
    /// What was found amiss on the way.
    pub findings: Vec<Finding>,
}

/// What a walk hands over.
#[derive(Clone, Debug)]
pub enum Walked {
    /// The next directory.
    Listing(Box<Listing>),
    /// Nothing now: it waits for the disk. Whoever holds something that others wait for lets it go.
    Waiting,
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
