//! What the tree answers, apart from attributes and errors.
//! Values only; each says how long it holds or what it counts.

use super::Ino;
use super::stat::Stat;
use crate::model::StoreId;
use std::sync::Arc;

/// How long an answer holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ttl {
    /// For ever: it is about a generation.
    Forever,
    /// About a second: it is about what is published.
    Short,
    /// It does not: it is asked again each time.
    None,
}

/// The answer to a look-up.
#[derive(Clone, Copy, Debug)]
pub enum Looked {
    /// The name is there.
    Found(Stat, Ttl),
    /// It is not, for as long as this says.
    Missing(Ttl),
}

/// Where the bytes of a file come from.
#[derive(Clone, Debug)]
pub enum Content {
    /// From memory.
    Bytes(Arc<[u8]>),
    /// From a store: open the file, which may take as long as the store likes.
    Stored {
        /// The store of the first copy that is tried.
        store: StoreId,
        /// How many they are.
        size_bytes: u64,
    },
}

/// The small files after one in its directory, in name order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Neighbours {
    /// The files.
    pub files: Vec<Ino>,
    /// Names that were looked at, of other kinds and sizes too; fewer than were asked for: the directory ends there.
    pub names: usize,
    /// Whether the one that was asked about is the first small file of its directory.
    pub is_first: bool,
}

/// What a publication made stale in the caches of a kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refreshed {
    /// Attributes, listing or content changed.
    pub inodes: Vec<Ino>,
    /// This name in this directory means something else now.
    pub names: Vec<(Ino, Vec<u8>)>,
}

/// The size of the newest generations together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of regular files.
    pub bytes: u64,
    /// Names.
    pub entries: u64,
}
