//! The inode tables in the order of the disk.
//!
//! Promises: as [`FileSystem::scan_inodes`](crate::source::block::FileSystem::scan_inodes). Reads up to 1 MiB at once; what is
//! wrong with one record or one group does not keep the others from being told.

use super::disk::{Disk, Group};
use super::inode;
use super::record::Record;
use super::xattr::Cache;
use crate::model::chain;
use crate::source::block::{Error, Inode};
use std::ops::{ControlFlow, Range};

const READ_BYTES: u64 = 1 << 20;

/// What is called for every record.
pub(super) type Each<'a> = dyn FnMut(Result<Inode, (u64, Error)>) -> ControlFlow<()> + 'a;

/// Calls `each` for every inode in use.
///
/// # Errors
/// [`Error::Damaged`] names the records that could not be read together, after all others were told.
pub(super) fn scan(disk: &Disk, cache: &Cache, each: &mut Each<'_>) -> Result<(), Error> {
    let mut missed = Vec::new();
    for scan in scans(disk, cache) {
        missed.extend(scan.damage());
        if scan.run(each, &mut missed).is_break() {
            break;
        }
    }
    if missed.is_empty() { Ok(()) } else { Err(Error::Damaged(missed.join("; "))) }
}

/// Checks the descriptors of all groups.
///
/// # Errors
/// [`Error::Damaged`] names the inodes of those that are damaged.
pub(super) fn check(disk: &Disk) -> Result<(), Error> {
    let missed: Vec<String> = scans(disk, &Cache::default()).filter_map(|scan| scan.damage()).collect();
    if missed.is_empty() { Ok(()) } else { Err(Error::Damaged(missed.join("; "))) }
}

fn scans<'a>(disk: &'a Disk, cache: &'a Cache) -> impl Iterator<Item = GroupScan<'a>> {
    disk.groups().iter().enumerate().map(move |(number, group)| GroupScan { disk, cache, number, group })
}

struct GroupScan<'a> {
    disk: &'a Disk,
    cache: &'a Cache,
    number: usize,
    group: &'a Group,
}

impl GroupScan<'_> {
    /// Returns what is wrong with the descriptor of the group.
    fn damage(&self) -> Option<String> {
        let (first, last) = (self.inode_number(0), self.inode_number(self.disk.superblock.inodes_per_group - 1));
        (self.group.is_damaged || self.group.is_doubtful)
            .then(|| format!("inodes {first} to {last}: the descriptor of their group is damaged"))
    }

    fn run(&self, each: &mut Each<'_>, missed: &mut Vec<String>) -> ControlFlow<()> {
        let sb = &self.disk.superblock;
        if self.group.is_damaged {
            return ControlFlow::Continue(());
        }
        let end = u64::from(self.group.used).div_ceil(sb.inodes_per_block());
        let most = (READ_BYTES / sb.block_bytes) as usize;
        for block in (0..end).step_by(most) {
            self.blocks(block..end.min(block + most as u64), each, missed)?;
        }
        ControlFlow::Continue(())
    }

    /// Tells the inodes of a run of blocks of the table.
    fn blocks(&self, blocks: Range<u64>, each: &mut Each<'_>, missed: &mut Vec<String>) -> ControlFlow<()> {
        let sb = &self.disk.superblock;
        let first = (blocks.start * sb.inodes_per_block()) as u32;
        let at = (self.group.table + blocks.start) * sb.block_bytes;
        let bytes = match self.disk.read(at, (blocks.end - blocks.start) * sb.block_bytes) {
            Ok(bytes) => bytes,
            Err(error) => {
                let count = (blocks.end - blocks.start) * sb.inodes_per_block();
                missed.push(format!("{count} inodes from {} on: {}", self.inode_number(first), chain(&error)));
                return ControlFlow::Continue(());
            }
        };
        let unused_from = self.group.used.saturating_sub(first) as usize;
        for (index, bytes) in bytes.chunks_exact(sb.inode_bytes).take(unused_from).enumerate() {
            if let Some(told) = self.record(first + index as u32, bytes) {
                each(told)?;
            }
        }
        ControlFlow::Continue(())
    }

    /// Returns what to tell of the record at `index` of the table, if anything.
    fn record(&self, index: u32, bytes: &[u8]) -> Option<Result<Inode, (u64, Error)>> {
        let number = self.inode_number(index);
        if !self.disk.superblock.is_ordinary(number) || bytes.iter().all(|byte| *byte == 0) {
            return None;
        }
        let record = match Record::parse(&self.disk.superblock, number, bytes) {
            Ok(record) => record,
            // What is free need not be sound, and nobody misses it.
            Err(_) if self.disk.is_free(self.number, index) => return None,
            Err(error) => return Some(Err((number.into(), error))),
        };
        if !record.is_in_use() || record.is_xattr_value() {
            return None;
        }
        Some(inode::tell(self.disk, self.cache, &record).map_err(|error| (number.into(), error)))
    }

    fn inode_number(&self, index: u32) -> u32 {
        // Groups times inodes of a group are the inodes of the file system, whose numbers have 32 bits.
        self.number as u32 * self.disk.superblock.inodes_per_group + index + 1
    }
}
