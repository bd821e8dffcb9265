//! The columns of a block, the words of format 2 that writer and reader share, and what both remember of the edit before.
//!
//! | column | holds |
//! |---|---|
//! | 0 edits | a byte an edit: what it is, and what it shares with the one before |
//! | 1 nodes | nodes and directories, each minus the one before |
//! | 2 words | a byte: a type, where bytes are, what was found |
//! | 3 names | what a name has after the part that it shares with the one before |
//! | 4 lengths | of that part, of names, and of all in column 12 |
//! | 5 permissions | 0 and a new entry of the dictionary, or the number of one that is there |
//! | 6 sizes | bytes |
//! | 7 shapes | a byte a put: which of the following it has |
//! | 8 mtimes | seconds minus those of the put before |
//! | 9 nanoseconds | the lower three bytes |
//! | 10 nanoseconds | the upper byte, of which six bits are used |
//! | 11 more | ctimes, link counts, allocated bytes, numbers of bytes, places, identities |
//! | 12 bytes | targets, maps, paths, values of attributes, digests, text |
//!
//! The dictionary holds the permissions that were met, and sets of extended attributes apart from them; it is emptied by writer
//! and reader alike when the next entry would be one too many.

use crate::model::{Kind, NodeId, Timestamp};

/// What a manifest of format 2 begins with, unpacked.
pub(super) const MAGIC: &[u8] = b"asof manifest 2\n";
/// A block follows.
pub(super) const BLOCK: u8 = 1;
/// The end follows.
pub(super) const END: u8 = 0;
/// Edits in a block.
pub(super) const BLOCK_EDITS: u64 = 16_384;
/// A block is ended when it has this many bytes.
pub(super) const BLOCK_BYTES: usize = 1 << 20;
/// What a block may hold at most: one edit may be large.
pub(super) const BLOCK_BYTES_MAX: usize = 64 << 20;
/// A header, or an end.
pub(super) const JSON_BYTES_MAX: usize = 1 << 20;
/// Of a layer's extents in one edit.
pub(super) const PIECE_BYTES: usize = 1 << 20;
/// Entries of the dictionary of permissions.
pub(super) const PERMISSIONS_MAX: usize = 65_536;
/// Bytes of sets of attributes in the dictionary, after which it is emptied.
pub(super) const XATTR_BYTES_MAX: usize = 8 << 20;
/// What one set of attributes may take in memory.
pub(super) const SET_BYTES_MAX: usize = 64 << 20;
/// The window of the zstd stream, as a power of two.
pub(super) const WINDOW_LOG_MAX: u32 = 23;

pub(super) const EDITS: usize = 0;
pub(super) const NODES: usize = 1;
pub(super) const WORDS: usize = 2;
pub(super) const NAMES: usize = 3;
pub(super) const LENGTHS: usize = 4;
pub(super) const PERMISSIONS: usize = 5;
pub(super) const SIZES: usize = 6;
pub(super) const SHAPES: usize = 7;
pub(super) const MTIMES: usize = 8;
pub(super) const NANOS_LOW: usize = 9;
pub(super) const NANOS_HIGH: usize = 10;
pub(super) const MORE: usize = 11;
pub(super) const BYTES: usize = 12;
pub(super) const COLUMNS: usize = 13;

/// What an edit is: the lower four bits of its byte.
pub(super) const LINK: u8 = 0;
pub(super) const UNLINK: u8 = 1;
pub(super) const PUT: u8 = 2;
pub(super) const AMEND: u8 = 3;
pub(super) const DEFINE: u8 = 4;
pub(super) const IDENTIFY: u8 = 5;
pub(super) const DOUBT: u8 = 6;
pub(super) const REPORT: u8 = 7;
pub(super) const HOLD: u8 = 8;
pub(super) const EXTENTS: u8 = 9;
pub(super) const VOLUME: u8 = 10;
pub(super) const RESUME: u8 = 11;
pub(super) const LEAVE_CTIMES: u8 = 12;
pub(super) const WALKED: u8 = 13;
/// Of [`WALKED`]: the file system is known.
pub(super) const ON_FILESYSTEM: u8 = 0x10;
pub(super) const SAW: u8 = 14;
pub(super) const WHAT: u8 = 0x0f;
/// The node is that of the edit before.
pub(super) const SAME_NODE: u8 = 0x10;
/// The node is the one after that of the edit before.
pub(super) const NEXT_NODE: u8 = 0x20;
/// The directory is that of the name before.
pub(super) const SAME_DIR: u8 = 0x40;
/// The permissions are those of the put before.
pub(super) const SAME_PERMISSIONS: u8 = 0x80;

/// The mtime is that of the put before.
pub(super) const SAME_MTIME: u8 = 0x01;
/// The mtime has no nanoseconds.
pub(super) const WHOLE_SECONDS: u8 = 0x02;
/// What the ctime is.
pub(super) const CTIME: u8 = 0x0c;
/// The mtime.
pub(super) const CTIME_IS_MTIME: u8 = 0x00;
/// That of the put before.
pub(super) const CTIME_IS_SAME: u8 = 0x04;
/// So many nanoseconds after that of the put before.
pub(super) const CTIME_AFTER: u8 = 0x08;
/// So many seconds after the mtime, and nanoseconds.
pub(super) const CTIME_ITSELF: u8 = 0x0c;
/// The link count is not 1.
pub(super) const LINKS: u8 = 0x10;
/// Fewer bytes are allocated than the file is long.
pub(super) const ALLOCATED: u8 = 0x20;
/// The bytes were not brought by this manifest (or there are bytes where none are expected, or the reverse).
pub(super) const OTHER_BYTES: u8 = 0x40;

/// Where bytes are: the lower four bits of a word.
pub(super) const NOWHERE: u8 = 0;
pub(super) const OWN_PATH: u8 = 1;
pub(super) const THIS_COPY: u8 = 2;
pub(super) const COPY_OF: u8 = 3;
pub(super) const MAP: u8 = 4;
pub(super) const RUN: u8 = 5;
pub(super) const WHOLE_DISK: u8 = 6;
pub(super) const INLINE: u8 = 7;
pub(super) const DEVICE: u8 = 8;
pub(super) const LOST: u8 = 9;

/// What the source knows of the bytes: the upper bits of the same word.
pub(super) const WRITTEN_UNKNOWN: u8 = 0x00;
pub(super) const WRITTEN_NO: u8 = 0x10;
pub(super) const WRITTEN_YES: u8 = 0x20;
pub(super) const WRITTEN_DIGEST: u8 = 0x30;

/// Kinds by their numbers.
pub(super) const KINDS: [Kind; 7] =
    [Kind::File, Kind::Directory, Kind::Symlink, Kind::Fifo, Kind::Socket, Kind::CharDevice, Kind::BlockDevice];

/// In a new entry of the dictionary: no attributes, attributes that could not be read, a new set; others count from there.
pub(super) const XATTRS_NONE: u64 = 0;
pub(super) const XATTRS_LOST: u64 = 1;
pub(super) const XATTRS_NEW: u64 = 2;
pub(super) const XATTRS_KNOWN: u64 = 3;

/// What writer and reader remember of the edits before.
#[derive(Debug, Default)]
pub(super) struct Last {
    pub(super) dir: i64,
    pub(super) node: i64,
    pub(super) name: Vec<u8>,
    pub(super) mtime: Timestamp,
    pub(super) ctime: Timestamp,
}

/// Tells whether a version there is expected to have bytes that this manifest brought.
pub(super) fn has_bytes(word: u8) -> bool {
    !matches!(word, NOWHERE | DEVICE)
}

/// Returns what an attribute takes in memory, about.
pub(super) fn item_bytes(name: usize, value: usize) -> usize {
    name + value + 64
}

/// Node numbers are below this.
pub(super) const NODE_MAX: NodeId = NodeId(1 << 40);

/// Small numbers of either sign as small numbers.
pub(super) fn zigzag(number: i64) -> u64 {
    (number << 1 ^ number >> 63) as u64
}

pub(super) fn unzigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

/// Appends a number: seven bits a byte, the lowest first, the top bit set on all bytes but the last.
pub(super) fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number > 0x7f {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}
