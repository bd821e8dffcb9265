//! What is known of one backup: its kind, level, status, and what was found amiss while indexing.
//!
//! Promises: the words are those of the catalog and the command line. Never decides what a status
//! allows; the catalog does.

use super::{RelPath, Time};

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant),+ }

        impl $name {
            /// Returns the word for it in the catalog and on the command line.
            pub fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }

            /// Returns what `word` names, if it names one.
            pub fn from_word(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)+ _ => None }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.word())
            }
        }
    };
}

words!(
    /// How a source is backed up.
    SourceKind {
        /// A share: one full tree of files per generation.
        Nfs = "nfs",
        /// A GlusterFS volume: a full copy, then what its changelogs name.
        Gluster = "gluster",
        /// A disk: images of it, full ones and what changed.
        Block = "block",
    }
);

impl SourceKind {
    /// Returns the kind of the source of a manifest of format 1, which does not name it: only disks and volumes had any.
    pub(super) fn of_first_format(has_disk: bool) -> Self {
        if has_disk { Self::Block } else { Self::Gluster }
    }
}

words!(
    /// How much of the source a generation holds by itself.
    Level {
        /// Everything.
        Full = "full",
        /// What changed since another generation.
        Incremental = "incremental",
    }
);

words!(
    /// How much the data was at rest when a generation was taken.
    Consistency {
        /// The programs had written all, and waited.
        App = "app",
        /// The file systems were frozen.
        Frozen = "frozen",
        /// As after a power failure.
        Crash = "crash",
        /// Nothing is promised.
        None = "none",
    }
);

words!(
    /// How it was found out what a generation changed.
    Scan {
        /// Everything was looked at.
        Walk = "walk",
        /// What the source's own log names.
        Changelog = "changelog",
        /// What another tool names.
        List = "list",
    }
);

words!(
    /// Where a generation is in its life; only `published` ones are in views.
    Status {
        /// An index run works on it, or was killed while it did.
        Creating = "creating",
        /// Complete in the catalog.
        Published = "published",
        /// Its rows are being removed.
        Deleting = "deleting",
    }
);

words!(
    /// What an index run can find amiss with one path.
    FindingKind {
        /// Listing, attributes or target could not be read; the view answers EIO.
        Unreadable = "unreadable",
        /// Something changed while the copy was walked; what was recorded may mix two states.
        Changed = "changed",
        /// Another file system is mounted here; it was not entered, and what lies below is not in the backup.
        Boundary = "boundary",
        /// A part of the source did not answer; what lies there is told as it was in the generation before.
        Missing = "missing",
        /// A part of the source did not answer, and another one that holds the same did.
        Absent = "absent",
        /// Copies of one thing differ inside the source, and it has yet to heal them; those that it believes itself were taken.
        Unhealed = "unhealed",
        /// The source did not record what changed in some span of time; the detail says whether all was looked at instead.
        Gap = "gap",
        /// The clocks of two machines differ.
        Skew = "skew",
        /// A part of a disk is of a kind, or uses a feature, that is not read; it is in the disk as it was.
        Unsupported = "unsupported",
        /// A line of a list that could not be matched with what was copied.
        Anomaly = "anomaly",
    }
);

words!(
    /// What was last seen of a copy, where its store could be reached.
    CopyState {
        /// It is there as it was indexed.
        Present = "present",
        /// It is there and was made again, overwritten or altered since it was indexed.
        Changed = "changed",
        /// It is there, and a verification found damage.
        Damaged = "damaged",
        /// It is not there.
        Gone = "gone",
    }
);

words!(
    /// Whether a store could be looked at.
    Reach {
        /// It answers, and it is the one that was known.
        Reachable = "reachable",
        /// It is not there, does not answer, or another directory is in its place: nothing is known of the copies in it.
        Unreachable = "unreachable",
    }
);

impl FindingKind {
    /// Tells whether the generation is incomplete because of it.
    pub fn is_loss(self) -> bool {
        matches!(self, Self::Unreadable | Self::Boundary | Self::Missing)
    }
}

/// One thing found amiss while a generation was indexed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it is.
    pub kind: FindingKind,
    /// Where in the source.
    pub path: RelPath,
    /// What was seen, as a person reads it: `Permission denied (os error 13)`.
    pub detail: String,
}

impl Finding {
    /// What the detail of one ends with that stands for others: [`Finding::more`].
    pub const MORE_ENDING: &str = " more findings of this kind were counted and are not listed";

    /// Returns the one that stands for `count` of a kind that are not kept, each for itself.
    pub fn more(kind: FindingKind, count: u64) -> Self {
        Self { kind, path: RelPath::root(), detail: format!("{count}{}", Self::MORE_ENDING) }
    }

    /// Returns for how many it stands, if it is such a one.
    pub fn more_count(&self) -> Option<u64> {
        let count = self.detail.strip_suffix(Self::MORE_ENDING).filter(|_| self.path.is_root())?;
        count.parse().ok()
    }
}

/// What an index run counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Names, without the root.
    pub entries: u64,
    /// Bytes of regular files, hard links counted once.
    pub size_bytes: u64,
    /// Findings that make the generation partial.
    pub losses: u64,
    /// Other findings.
    pub notices: u64,
    /// Those of them that are gaps.
    pub gaps: u64,
    /// How long it took, in milliseconds.
    pub index_ms: u64,
}

/// What the root of a copy is known by, and when its attributes last changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SeenRoot {
    /// Its inode number.
    pub inode: u64,
    /// Its birth time in ns since the epoch; 0 where its file system tells none.
    pub born_ns: i64,
    /// Its ctime in ns since the epoch.
    pub ctime_ns: i64,
    /// Its file system; none: not known, as over a network.
    pub filesystem: Option<FilesystemId>,
}

/// What a file system is known by, wherever and however often it is mounted: its UUID, folded to 64 bits (`uuid_to_fsid` of Linux).
///
/// The top directories of two file systems that were made in one second have the same inode number and birth time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FilesystemId(pub u64);

impl SeenRoot {
    /// Tells whether both are of one directory, whatever changed in it.
    pub fn is_directory(&self, other: &Self) -> bool {
        (self.inode, self.born_ns) == (other.inode, other.born_ns) && !self.is_on_another_filesystem_than(other)
    }

    /// Tells whether both lie on two file systems. What is not known of one is not compared: older programs did not write it down.
    pub fn is_on_another_filesystem_than(&self, other: &Self) -> bool {
        self.filesystem.zip(other.filesystem).is_some_and(|(one, other)| one != other)
    }
}

/// What a walk of a whole copy has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeenCopy {
    /// Its root.
    pub root: SeenRoot,
    /// The newest ctime of its directories and of its files with one link, in ns since the epoch.
    pub newest_ctime_ns: i64,
    /// Whether it stands still; else it is walked once more.
    pub settled: bool,
    /// When the walk was over.
    pub at: Time,
}
