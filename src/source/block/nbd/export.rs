//! What a server says of an export, and of a run of its disk.
//! All of it was checked against what was asked.

use std::collections::BTreeMap;

/// The context that tells what of a disk is allocated; see [`Status::flags`].
pub const BASE_ALLOCATION: &str = "base:allocation";

/// In [`Status::flags`] of [`BASE_ALLOCATION`]: nothing is stored for it.
pub const STATE_HOLE: u32 = 1;

/// In [`Status::flags`] of [`BASE_ALLOCATION`]: it reads as zeros.
pub const STATE_ZERO: u32 = 2;

/// In [`Status::flags`] of a context `qemu:dirty-bitmap:NAME`: it was written to.
pub const STATE_DIRTY: u32 = 1;

/// What a context says of a run of the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// Where it begins, in bytes.
    pub offset: u64,
    /// How long it is, in bytes.
    pub length: u64,
    /// Bits whose meaning the context gives.
    pub flags: u32,
}

/// A run of the disk that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chunk<'a> {
    /// These bytes.
    Data(&'a [u8]),
    /// So many zeros, which the server did not send.
    Hole(u64),
}

/// What the server said of the export.
#[derive(Debug)]
pub(super) struct Export {
    pub(super) name: String,
    pub(super) size_bytes: u64,
    pub(super) flags: u16,
    /// What requests must be multiples of.
    pub(super) block_bytes_min: u32,
    /// The most that one reading request may ask for.
    pub(super) read_bytes_max: u32,
    pub(super) structured: bool,
    /// Numbers of the contexts, by name.
    pub(super) contexts: BTreeMap<String, u32>,
}

/// In the flags of an export: it cannot be written to.
pub(super) const FLAG_READ_ONLY: u16 = 2;
