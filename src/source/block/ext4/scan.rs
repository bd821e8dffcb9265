//! The inode tables in the order of the disk.
//!
//! Promises: as [`FileSystem::scan_inodes`](crate::source::block::FileSystem::scan_inodes). Reads up to 1 MiB at once; what is
//! wrong with one record or one group does not keep the others from being told.

use super::disk::{Disk, Group};
use super::inode;
use super::record::Record;
use super::xattr::Cache;
use crate::model::chain;
use crate::source::block::{Error, Inode, Touched};
use std::ops::{ControlFlow, Range};

const READ_BYTES: u64 = 1 << 20;

/// What is called for every record.
pub(super) type Each<'a> = dyn FnMut(Result<Inode, (u64, Error)>) -> ControlFlow<()> + 'a;

/// Calls `each` for every inode in use whose record may have changed.
///
/// # Errors
/// [`Error::Damaged`] names the records that could not be read together, after all others were told.
pub(super) fn scan(disk: &Disk, cache: &Cache, touched: &Touched<'_>, each: &mut Each<'_>) -> Result<(), Error> {
    let mut missed = Vec::new();
    for (number, group) in disk.groups().iter().enumerate() {
        let scan = GroupScan { disk, cache, number, group };
        if scan.run(touched, each, &mut missed).is_break() {
            break;
        }
    }
    if missed.is_empty() { Ok(()) } else { Err(Error::Damaged(missed.join("; "))) }
}

struct GroupScan<'a> {
    disk: &'a Disk,
    cache: &'a Cache,
    number: usize,
    group: &'a Group,
}

impl GroupScan<'_> {
    fn run(&self, touched: &Touched<'_>, each: &mut Each<'_>, missed: &mut Vec<String>) -> ControlFlow<()> {
        let sb = &self.disk.superblock;
        if self.group.is_damaged {
            let last = self.inode_number(sb.inodes_per_group - 1);
            let first = self.inode_number(0);
            missed.push(format!("inodes {first} to {last}: the descriptor of their group is damaged"));
            return ControlFlow::Continue(());
        }
        let is_told = |at: u64, length: u64| touched(at, length) || self.disk.is_logged(at, length);
        let wanted =
            |first: u64, count: u64| is_told((self.group.table + first) * sb.block_bytes, count * sb.block_bytes);
        let end = u64::from(self.group.used).div_ceil(sb.inodes_per_block());
        if end == 0 || !wanted(0, end) {
            return ControlFlow::Continue(());
        }
        let mut block = 0;
        while block < end {
            let most = (block + READ_BYTES / sb.block_bytes).min(end);
            let until = (block..most).find(|block| !wanted(*block, 1)).unwrap_or(most);
            if until > block {
                self.blocks(block..until, &is_told, each, missed)?;
            }
            block = until.max(block + 1);
        }
        ControlFlow::Continue(())
    }

    /// Tells the inodes of a run of blocks of the table.
    fn blocks(
        &self,
        blocks: Range<u64>,
        is_told: &Touched<'_>,
        each: &mut Each<'_>,
        missed: &mut Vec<String>,
    ) -> ControlFlow<()> {
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
            if is_told(at + (index * sb.inode_bytes) as u64, sb.inode_bytes as u64)
                && let Some(told) = self.record(first + index as u32, bytes)
            {
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
