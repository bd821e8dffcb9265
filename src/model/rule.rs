//! When two versions of a node are the same: one rule per source, fixed when it is added.
//!
//! Promises: a rule is a pure function of two versions and of what the source said of their bytes, so it does not depend on the order
//! in which generations are indexed. The comparison itself is the catalog's.

/// What makes two versions of equal columns the same bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// Nothing more: size and mtime decide.
    Stamp,
    /// The digest of the whole content.
    Digest,
    /// The number of the generation that last wrote one of its bytes, as the source says.
    Write,
}

/// When two versions of a source are the same; fixed when the source is added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// When they are the same bytes.
    pub key: Key,
    /// Whether files have an identity for life, and a ctime that is theirs and not their copy's.
    pub by_inode: bool,
}

impl Key {
    /// Returns the word for it in the catalog.
    pub fn word(self) -> &'static str {
        match self {
            Self::Stamp => "stamp",
            Self::Digest => "digest",
            Self::Write => "write",
        }
    }

    /// Returns what `word` names, if it names one.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Stamp, Self::Digest, Self::Write].into_iter().find(|key| key.word() == word)
    }
}

impl Rule {
    /// Copies of a share: the ctime is the copy's.
    pub const COPIES: Self = Self { key: Key::Stamp, by_inode: false };
    /// Snapshots of one file system.
    pub const SNAPSHOTS: Self = Self { key: Key::Stamp, by_inode: true };
    /// Volumes and disks, which say what was written.
    pub const WRITES: Self = Self { key: Key::Write, by_inode: true };
}
