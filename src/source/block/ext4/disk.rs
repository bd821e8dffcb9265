//! The blocks of a file system with its log laid over them, and where the inode tables are.
//!
//! Promises: what the log holds of a block is what is read of it; a block number from the disk is checked before use.

use super::checksum::{crc16, crc32c};
use super::record::Record;
use super::superblock::{self, Superblock};
use crate::source::block::bytes::{self, Fields};
use crate::source::block::{Device, Error};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

/// What every block of the log begins with; a data block that does has it blanked out there.
pub(super) const JOURNAL_MAGIC: u32 = 0xC03B_3998;
/// How many bytes of group descriptors are read at once.
const DESCRIPTORS_AT_ONCE: u64 = 1 << 20;

const INODE_UNINIT: u16 = 1;

/// Where in the log the newest version of a block is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Logged {
    /// Where on the volume, in bytes.
    pub(super) at: u64,
    /// Whether its first four bytes were blanked because they are [`JOURNAL_MAGIC`].
    pub(super) escaped: bool,
}

/// The blocks that replay would write, by number. Their bytes stay in the log: a log may be larger than memory.
pub(super) type Log = BTreeMap<u64, Logged>;

/// One block group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Group {
    /// First block of its inode table.
    pub(super) table: u64,
    /// Block of its inode bitmap.
    pub(super) bitmap: u64,
    /// How many inodes from the start of the table on were ever used.
    pub(super) used: u32,
    /// Whether the descriptor contradicts the file system, or its checksum where records have none: then nothing is read of the group.
    pub(super) is_damaged: bool,
    /// Whether it contradicts its checksum: then each record has to vouch for itself.
    pub(super) is_doubtful: bool,
    /// What the checksum of the inode bitmap is; with descriptors of 32 bytes its low half.
    bitmap_checksum: u32,
}

/// The blocks of a file system.
pub(super) struct Disk {
    device: Arc<dyn Device>,
    pub(super) superblock: Superblock,
    log: Log,
    groups: Vec<Group>,
}

impl Disk {
    /// Reads superblock and group descriptors as `log` has them.
    pub(super) fn open(device: Arc<dyn Device>, block_bytes: u64, log: Log) -> Result<Self, Error> {
        let bytes = read_over(&*device, block_bytes, &log, superblock::AT, superblock::LENGTH)?;
        let superblock = Superblock::parse(&bytes, device.size_bytes())?;
        if !log.is_empty() && superblock.block_bytes != block_bytes {
            return Err(Error::Damaged("superblock: the log changes the block size".to_owned()));
        }
        let mut disk = Self { device, superblock, log, groups: Vec::new() };
        disk.groups = disk.read_groups()?;
        Ok(disk)
    }

    /// Returns the device alone.
    pub(super) fn into_device(self) -> Arc<dyn Device> {
        self.device
    }

    /// Returns how many blocks are in the log.
    pub(super) fn logged(&self) -> u64 {
        self.log.len() as u64
    }

    /// Returns where the blocks are that are in the log, in order.
    pub(super) fn logged_blocks(&self) -> impl Iterator<Item = u64> {
        self.log.keys().map(|number| number * self.superblock.block_bytes)
    }

    /// Reads `length` bytes at `at`.
    pub(super) fn read(&self, at: u64, length: u64) -> Result<Vec<u8>, Error> {
        read_over(&*self.device, self.superblock.block_bytes, &self.log, at, length)
    }

    /// Reads one block that `what` points to.
    pub(super) fn block(&self, number: u64, what: &str) -> Result<Vec<u8>, Error> {
        let at = self.block_at(number, 1, what)?;
        self.read(at, self.superblock.block_bytes)
    }

    /// Returns where in bytes the run of `count` blocks begins that `what` points to.
    pub(super) fn block_at(&self, number: u64, count: u64, what: &str) -> Result<u64, Error> {
        let sound = count > 0
            && self.superblock.has_block(number)
            && number.checked_add(count).is_some_and(|end| end <= self.superblock.blocks);
        if !sound {
            let blocks = self.superblock.blocks;
            return Err(Error::Damaged(format!("{what} points to {count} blocks at {number}, and there are {blocks}")));
        }
        Ok(number * self.superblock.block_bytes)
    }

    /// Tells whether the log has any of `length` bytes from `at` on.
    pub(super) fn is_logged(&self, at: u64, length: u64) -> bool {
        !self.log.is_empty() && length > 0 && {
            let first = at / self.superblock.block_bytes;
            let last = at.saturating_add(length - 1) / self.superblock.block_bytes;
            self.log.range(first..=last).next().is_some()
        }
    }

    /// Returns the groups in order.
    pub(super) fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// Returns what the places and the meaning of inode records depend on.
    pub(super) fn layout(&self) -> String {
        let groups = self.groups.iter().map(|group| (group.table, group.is_damaged, group.is_doubtful));
        let groups: Vec<(u64, bool, bool)> = groups.collect();
        format!("{:?} {groups:?}", self.superblock.without_state())
    }

    /// Calls `each` for runs of inode numbers whose records lie in `length` bytes from `at` on, or partly.
    pub(super) fn numbers_in(&self, at: u64, length: u64, each: &mut dyn FnMut(RangeInclusive<u64>)) {
        let (inodes, inode_bytes) = (u64::from(self.superblock.inodes_per_group), self.superblock.inode_bytes as u64);
        for (number, group) in self.groups.iter().enumerate().filter(|(_, group)| !group.is_damaged) {
            let table = group.table * self.superblock.block_bytes;
            let (from, until) = (at.max(table), at.saturating_add(length).min(table + inodes * inode_bytes));
            if from < until {
                let first = number as u64 * inodes + 1;
                each(first + (from - table) / inode_bytes..=first + (until - 1 - table) / inode_bytes);
            }
        }
    }

    /// Returns where the record of inode `number` lies.
    pub(super) fn record_at(&self, number: u32) -> Result<u64, Error> {
        let inodes = self.superblock.inodes;
        if number == 0 || number > inodes {
            return Err(Error::Damaged(format!("there is no inode {number}: there are {inodes}")));
        }
        let (group, index) =
            ((number - 1) / self.superblock.inodes_per_group, (number - 1) % self.superblock.inodes_per_group);
        let Some(group) = self.groups.get(group as usize).filter(|group| !group.is_damaged) else {
            return Err(Error::Damaged(format!("inode {number}: the descriptor of group {group} is damaged")));
        };
        Ok(group.table * self.superblock.block_bytes + u64::from(index) * self.superblock.inode_bytes as u64)
    }

    /// Reads the record of inode `number`.
    pub(super) fn record(&self, number: u32) -> Result<Record, Error> {
        let bytes = self.read(self.record_at(number)?, self.superblock.inode_bytes as u64)?;
        Record::parse(&self.superblock, number, &bytes)
    }

    /// Tells whether the inode bitmap of `group` says that the inode at `index` is free; `false` if it is not to be trusted.
    pub(super) fn is_free(&self, group: usize, index: u32) -> bool {
        let Some(group) = self.groups.get(group) else { return false };
        let Ok(bitmap) = self.block(group.bitmap, "an inode bitmap") else { return false };
        let length = (self.superblock.inodes_per_group / 8) as usize;
        let Some(bits) = bitmap.get(..length) else { return false };
        if self.superblock.features.metadata_csum() {
            let wide = self.superblock.descriptor_bytes >= 64;
            let mask = if wide { !0 } else { 0xFFFF };
            if crc32c(self.superblock.seed, bits) & mask != group.bitmap_checksum {
                return false;
            }
        }
        bits.get(index as usize / 8).is_some_and(|byte| byte >> (index % 8) & 1 == 0)
    }

    fn read_groups(&self) -> Result<Vec<Group>, Error> {
        let sb = &self.superblock;
        let per_block = sb.block_bytes / sb.descriptor_bytes as u64;
        let mut groups = Vec::new();
        let mut next_block = 0;
        while (groups.len() as u64) < sb.groups {
            let blocks = self.descriptor_run(next_block, sb.groups.div_ceil(per_block));
            let at = self.block_at(sb.descriptor_block(next_block), blocks, "the superblock")?;
            let bytes = self.read(at, blocks * sb.block_bytes)?;
            for descriptor in bytes.chunks_exact(sb.descriptor_bytes).take((sb.groups - groups.len() as u64) as usize) {
                groups.push(parse_group(sb, groups.len() as u32, descriptor)?);
            }
            next_block += blocks;
        }
        Ok(groups)
    }

    /// Returns how many blocks of descriptors from the `first`th on lie one after the other, up to what is read at once.
    fn descriptor_run(&self, first: u64, end: u64) -> u64 {
        let start = self.superblock.descriptor_block(first);
        let most = (DESCRIPTORS_AT_ONCE / self.superblock.block_bytes).min(end - first);
        (1..most).find(|n| self.superblock.descriptor_block(first + n) != start + n).unwrap_or(most)
    }
}

/// Reads a range of `device` with the blocks of `log` laid over.
fn read_over(device: &dyn Device, block_bytes: u64, log: &Log, at: u64, length: u64) -> Result<Vec<u8>, Error> {
    let mut bytes = bytes::read(device, at, length)?;
    if log.is_empty() || length == 0 {
        return Ok(bytes);
    }
    for (number, logged) in log.range(at / block_bytes..=(at + length - 1) / block_bytes) {
        let mut block = bytes::read(device, logged.at, block_bytes)?;
        if logged.escaped {
            block[..4].copy_from_slice(&JOURNAL_MAGIC.to_be_bytes());
        }
        let start = number * block_bytes;
        let (from, until) = (start.max(at), (start + block_bytes).min(at + length));
        bytes[(from - at) as usize..(until - at) as usize]
            .copy_from_slice(&block[(from - start) as usize..(until - start) as usize]);
    }
    Ok(bytes)
}

/// Reads a group descriptor (`struct ext4_group_desc`); one that is damaged is marked, so that others can be read.
fn parse_group(sb: &Superblock, number: u32, bytes: &[u8]) -> Result<Group, Error> {
    let fields = Fields { bytes, what: "group descriptor" };
    let wide = sb.descriptor_bytes >= 64;
    let high = |at: usize| if wide { fields.le32(at).map(u64::from) } else { Ok(0) };
    let high16 = |at: usize| if wide { fields.le16(at).map(u32::from) } else { Ok(0) };
    let table = high(0x28)? << 32 | u64::from(fields.le32(0x8)?);
    let bitmap = high(0x24)? << 32 | u64::from(fields.le32(0x4)?);
    let unused = high16(0x32)? << 16 | u32::from(fields.le16(0x1C)?);
    let table_blocks = u64::from(sb.inodes_per_group).div_ceil(sb.inodes_per_block());
    let fits = sb.has_block(table) && table.checked_add(table_blocks).is_some_and(|end| end <= sb.blocks);
    // Only a file system with descriptor checksums may leave tables as they were before it was made.
    let checked = sb.features.metadata_csum() || sb.features.gdt_csum();
    let is_sound = (unused <= sb.inodes_per_group || !checked) && has_sound_checksum(sb, number, fields)?;
    let used = match checked && is_sound {
        true if fields.le16(0x12)? & INODE_UNINIT != 0 => 0,
        true => sb.inodes_per_group.saturating_sub(unused),
        false => sb.inodes_per_group,
    };
    Ok(Group {
        table,
        bitmap,
        used,
        is_damaged: !fits || !is_sound && !sb.features.metadata_csum(),
        is_doubtful: !is_sound,
        bitmap_checksum: high16(0x3A)? << 16 | u32::from(fields.le16(0x1A)?),
    })
}

/// Verifies the checksum of a group descriptor (`ext4_group_desc_csum` in `fs/ext4/super.c`).
fn has_sound_checksum(sb: &Superblock, number: u32, fields: Fields<'_>) -> Result<bool, Error> {
    let (before, after) = (fields.slice(0, 0x1E)?, fields.bytes.get(0x20..).unwrap_or_default());
    let stored = fields.le16(0x1E)?;
    let number = number.to_le_bytes();
    if sb.features.metadata_csum() {
        let start = crc32c(crc32c(crc32c(sb.seed, &number), before), &[0, 0]);
        return Ok(crc32c(start, after) as u16 == stored);
    }
    if sb.features.gdt_csum() {
        let start = crc16(crc16(crc16(!0, &sb.uuid), &number), before);
        return Ok(crc16(start, after) == stored);
    }
    Ok(true)
}
