//! The manifest of a generation: what it did to the tree, so that a catalog can be made again without reading a copy.
//!
//! A manifest is a [`Header`], a stream of [`Edit`]s against the generation before it (its base; a first generation is told
//! whole), and an [`End`]. Edits are by value: whoever applies them asks no copy and no other catalog. Node numbers mean the same
//! in all manifests of one source. A forgotten generation keeps its manifest and gets a [`Tombstone`] beside it.
//!
//! Promises: what [`Writer`] writes, [`Reader`] reads back equal; what is damaged, cut or hostile is an error that says where,
//! never a guess, a panic, or more than a few 100 MiB of memory. Whoever reads to the end knows that it was whole. Opens no file.
//!
//! # Format 2
//!
//! One zstd stream (window up to 8 MiB, with its own checksum); unpacked:
//!
//! ```text
//! "asof manifest 2\n"
//! length, header as JSON
//! blocks:  1, number of edits, length of each of the 13 columns, the columns
//! end:     0, length, end as JSON
//! ```
//!
//! Numbers are varints (LEB128), signed ones zigzag. A block holds up to 16,384 edits; what they say lies in columns, so that like
//! lies beside like: that packs a third better than edit after edit. What each column holds is in `columns`.
//! The end has the number of edits and the BLAKE3 of all unpacked bytes before its `0`.
//!
//! # Format 1
//!
//! JSON lines in a zstd stream, of volumes and disks that programs of catalog format 4 took; read only. It has no sequence, no
//! findings, no counts, no volumes of a disk and no extents of a layer: see `lines`.

mod blocks;
mod columns;
mod edits;
mod lines;
mod reader;
mod record;
mod stream;
mod writer;

pub use reader::Reader;
pub use writer::Writer;

use super::{
    Counts, DiskRow, FindingKind, Kind, Level, NodeId, Rule, Scan, SeenCopy, SourceKind, Time, Timestamp, VolumeRow,
    XattrSet,
};
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

/// The format that is written.
pub const FORMAT: u32 = 2;

/// A source as a manifest names it: the same one in every catalog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFacts {
    /// 16 random bytes; none in format 1.
    pub uuid: Option<[u8; 16]>,
    /// Its name when the generation was made.
    pub name: String,
    /// How it is backed up.
    pub kind: SourceKind,
    /// JSON that its kind understands.
    pub settings: String,
    /// JSON that no kind reads.
    pub policy: String,
    /// When two of its versions are the same.
    pub rule: Rule,
    /// Its top directory.
    pub root: NodeId,
    /// When it was added; in format 1 the instant of the generation.
    pub added_at: Time,
}

/// The first that a manifest says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// 1 or 2.
    pub format: u32,
    /// The source.
    pub source: SourceFacts,
    /// The instant.
    pub taken_at: Time,
    /// How much of the source it holds by itself.
    pub level: Level,
    /// 1, 2, 3 in the order in which generations of the source were first published; 0 in format 1.
    pub number: u64,
    /// The number of this manifest: later ones of the source are higher, and none is given twice; 0 in format 1.
    pub sequence: u64,
    /// The newest manifest of the source before this one whose generation was published; 0: none. If it cannot be found, one is
    /// missing.
    pub after: u64,
    /// The generation that the edits count from; none: they tell everything.
    pub base: Option<Base>,
    /// The manifest of the same instant whose place this one takes, where the copy was indexed again.
    pub replaces: Option<u64>,
    /// When it was indexed.
    pub indexed_at: Time,
    /// Where its bytes lay then; none in format 1.
    pub copy: Option<CopyAt>,
}

/// A generation that edits count from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Base {
    /// Its instant.
    pub at: Time,
    /// Its manifest; 0 in format 1.
    pub sequence: u64,
    /// When that was indexed. A catalog that was put back from a backup may give a sequence out again: this tells the two apart.
    pub indexed_at: Option<Time>,
    /// Its state hash when the edits were written: another one than it was published with, if what was indexed between older ones since
    /// changed what it keeps.
    pub state_hash: Option<[u8; 32]>,
}

/// Where a copy lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyAt {
    /// The store, an absolute path.
    pub store: Vec<u8>,
    /// The copy below it; empty: the store itself.
    pub path: Vec<u8>,
}

/// One thing that a generation did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edit<'a> {
    /// A name that was free points to a node.
    Link {
        /// The directory.
        dir: NodeId,
        /// The name, one that a directory can hold.
        name: &'a [u8],
        /// The node.
        node: NodeId,
        /// Its type.
        kind: Kind,
    },
    /// A name points to nothing any more.
    Unlink {
        /// The directory.
        dir: NodeId,
        /// The name.
        name: &'a [u8],
    },
    /// A node has these attributes and bytes.
    Put(Put<'a>),
    /// A node that was put has these instead.
    Amend(Put<'a>),
    /// Of the names of a node, which has several, this is the first in the order of the walk.
    Define {
        /// The directory.
        dir: NodeId,
        /// The name.
        name: &'a [u8],
        /// The type.
        kind: Kind,
        /// The node.
        node: NodeId,
    },
    /// A node is the one that the source knows by this identity.
    Identify {
        /// The node.
        node: NodeId,
        /// An inode number, or the first half of another identity.
        inode: u64,
        /// A birth time, or the second half.
        born_ns: i64,
    },
    /// It is not known what is in a directory: what the generation before has there and nobody saw is kept. What that is is not told:
    /// it follows from the generation before as that is when the manifest is applied.
    Doubt {
        /// The directory.
        node: NodeId,
        /// Whether that goes for all that lies below.
        subtree: bool,
        /// Why.
        reason: &'a str,
    },
    /// A name in a directory in doubt was seen, and is as it was.
    Saw {
        /// The directory.
        dir: NodeId,
        /// The name.
        name: &'a [u8],
    },
    /// Something was found amiss.
    Report {
        /// What it is.
        kind: FindingKind,
        /// Where in the source.
        path: &'a [u8],
        /// What was seen.
        detail: &'a str,
    },
    /// The generation holds this layer of a disk. [`Reader`] gives the row without extents; they follow, in pieces.
    Hold {
        /// Which disk of a guest.
        disk: u32,
        /// The layer.
        row: &'a DiskRow,
    },
    /// The next piece of the stored form of the extents of the layer that was held last ([`super::Layer::encode_extents`]).
    Extents(&'a [u8]),
    /// What is on a disk.
    Volume {
        /// Which disk of a guest.
        disk: u32,
        /// A partition, logical volume or file system.
        row: &'a VolumeRow,
    },
    /// What a walk saw of the copy.
    Walked(SeenCopy),
    /// The ctimes of this generation are those of a copy, though the source's files have their own.
    LeaveCtimes,
    /// Where the next generation goes on.
    Resume {
        /// How it was found out what changed.
        scan: Scan,
        /// What only the kind of source understands.
        state: &'a str,
    },
}

/// The attributes and bytes of a node as of a generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Put<'a> {
    /// The node.
    pub node: NodeId,
    /// Type, owner, extended attributes.
    pub permissions: Permissions<'a>,
    /// Bytes.
    pub size_bytes: u64,
    /// Bytes allocated where less than `size_bytes`.
    pub allocated_bytes: Option<u64>,
    /// Last change of the content.
    pub mtime: Timestamp,
    /// Last change of the attributes.
    pub ctime: Timestamp,
    /// Names inside the generation; of a directory as its file system said.
    pub nlink: u32,
    /// The sequence of the manifest that brought the bytes; 0: there are none, or it is not known.
    pub bytes: u64,
    /// What the source knows of the bytes.
    pub written: Written,
    /// Where they are.
    pub at: BytesAt<'a>,
}

/// Type, owner and extended attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permissions<'a> {
    /// `st_mode`.
    pub mode: u32,
    /// Numeric owner.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
    /// Extended attributes; none: they could not be read.
    pub xattrs: Option<&'a XattrSet>,
}

/// What a source knows of the bytes of a file when a version of it is put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// Size and time of change decide.
    Unknown,
    /// They are those of the version before.
    No,
    /// They were written, or may have been.
    Yes,
    /// This is the BLAKE3 of all of them.
    Digest([u8; 32]),
}

/// Where the bytes of a version are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BytesAt<'a> {
    /// It has none: a directory, fifo, socket.
    Nowhere,
    /// At the entry's own path in the copies of every generation that shows the version.
    OwnPath,
    /// In the copy of this generation.
    ThisCopy,
    /// In the copy of another generation.
    CopyOf {
        /// Which.
        held: Held,
        /// Below its root; empty: at the node's path as of that generation.
        path: &'a [u8],
    },
    /// In runs of the disk: the stored form of a [`super::FileMap`]; empty: it is a hole from end to end.
    Map(&'a [u8]),
    /// In one run of the disk, from this byte on and as long as the file.
    Run(u64),
    /// The disk itself.
    WholeDisk,
    /// Here: the target of a symbolic link, the content of a small file.
    Inline(&'a [u8]),
    /// None, but a device number.
    Device(u64),
    /// It could not be read.
    Lost,
}

/// Which generation holds bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// The one with this manifest.
    Sequence(u64),
    /// The one that was made last for this instant: in format 1, and where its manifest is not known any more.
    At(Time),
}

/// The last that a manifest says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// What was counted; none in format 1.
    pub counts: Option<Counts>,
    /// The state hash of the generation, if it was counted.
    pub state_hash: Option<[u8; 32]>,
    /// The number of edits; set by [`Writer`].
    pub edits: u64,
    /// The BLAKE3 of what comes before the end; set by [`Writer`]. Zeros in format 1.
    pub checksum: [u8; 32],
}

impl End {
    /// Returns what a writer is to say in the end.
    pub fn new(counts: Counts, state_hash: Option<[u8; 32]>) -> Self {
        Self { counts: Some(counts), state_hash, edits: 0, checksum: [0; 32] }
    }
}

/// Says that a generation was forgotten; its manifest stays for those that count from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tombstone {
    /// The source.
    pub source: [u8; 16],
    /// The instant of the forgotten generation.
    pub at: Time,
    /// Its manifest.
    pub sequence: u64,
    /// When that was indexed, as in [`Base`].
    pub indexed_at: Option<Time>,
    /// The highest sequence that the source had given out when it was forgotten: later manifests do not know it.
    pub after: u64,
    /// When it was forgotten.
    pub forgotten_at: Time,
}

/// What takes edits: a manifest that is written, or whoever applies them.
pub trait EditSink {
    /// Takes one edit.
    ///
    /// # Errors
    /// What ends the generation; nothing may be given after that.
    fn edit(&mut self, edit: &Edit<'_>) -> io::Result<()>;
}

/// A manifest that is being written: edits, then the end. Dropped without an end, nothing of it stays.
pub trait Recording: EditSink {
    /// Makes it whole and durable.
    ///
    /// # Errors
    /// That of writing; then there is no manifest.
    fn finish(&mut self, end: &End) -> io::Result<()>;

    /// Removes what was finished: the generation was not published.
    fn withdraw(&mut self);

    /// Hears that the generation was published.
    fn published(&mut self) {}
}

/// What keeps the manifests of a catalog.
pub trait Recorder {
    /// Begins the manifest of a generation.
    ///
    /// # Errors
    /// That of writing; then the generation is not begun.
    fn begin(&mut self, header: &Header) -> io::Result<Box<dyn Recording>>;

    /// Records that the generation with this header is to be forgotten, when `after` is the highest sequence of its source; returns where.
    /// Nobody obeys that before [`Recorder::forgot`].
    ///
    /// # Errors
    /// That of writing; then the generation is not forgotten.
    fn forget(&mut self, header: &Header, after: u64) -> io::Result<PathBuf>;

    /// Hears that the generation is forgotten for good: what [`Recorder::forget`] wrote at `path` counts from now on.
    fn forgot(&mut self, header: &Header, path: &Path);

    /// Removes what [`Recorder::forget`] wrote: the generation was not forgotten.
    fn take_back(&mut self, path: &Path);

    /// Removes what a killed run left: the manifest with the sequence `last`, if its generation is not one of `published` and nothing says
    /// that it was forgotten; and tombstones of `published` ones, which were not forgotten in the end. Returns the highest sequence that
    /// is taken: more than `last` where there are manifests that the catalog does not know, since it was put back from a backup.
    ///
    /// # Errors
    /// That of reading, and of removing a tombstone; a manifest that cannot be removed is told from others when a catalog is made again.
    fn tidy(&mut self, source: &SourceFacts, last: u64, published: &BTreeSet<u64>) -> io::Result<u64>;

    /// Copies to second places what they lack.
    fn catch_up(&mut self, source: &SourceFacts);
}

/// Why a manifest cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file.
    #[error("cannot read it")]
    Io(#[source] io::Error),
    /// Something else.
    #[error("it is no manifest of asof")]
    NotOne,
    /// Made by a newer program.
    #[error("it has format {found}, and this asof reads formats up to {FORMAT}")]
    TooNew {
        /// Its format.
        found: u32,
    },
    /// Cut, or still being written.
    #[error("it ends after {edits} edits, without its end mark")]
    EndsEarly {
        /// The edits before that.
        edits: u64,
    },
    /// Other bytes than were written.
    #[error("it is damaged after {edits} edits: {what}")]
    Damaged {
        /// The edits before that.
        edits: u64,
        /// What is wrong.
        what: &'static str,
    },
}

#[cfg(test)]
mod tests;
