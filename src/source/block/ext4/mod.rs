//! ext2, ext3 and ext4: their inodes, where their content is, and their names.
//!
//! Promises: what is told is what a mount would show, also after a crash: the journal is laid over the disk in memory, and
//! nothing is ever written. Checksums are verified wherever the file system has them; what does not hold is an error of the
//! one thing that it protects. Features that are not known, and journals that cannot be replayed for sure (external ones, fast
//! commits), are refused by name.
//!
//! Never tells the file system's own inodes, those without names that wait to be deleted, or values of extended attributes
//! that have inodes of their own. Content that is encrypted is not decrypted.
//!
//! Source: `Documentation/filesystems/ext4` and `fs/ext4`, `fs/jbd2` of Linux 6.12.

mod checksum;
mod directory;
mod disk;
mod entries;
mod features;
mod inode;
mod journal;
mod map;
mod record;
mod scan;
mod superblock;
#[cfg(test)]
mod tests;
mod xattr;

use super::{Device, Entry, Error, FileSystem, Info, Inode, Records, State};
use crate::model::escape_bytes;
use disk::{Disk, Log};
use std::ops::{ControlFlow, RangeInclusive};
use std::sync::Arc;
use superblock::ROOT_INODE;

/// A file system of the ext family.
pub struct Ext4 {
    info: Info,
    disk: Disk,
    xattr_blocks: xattr::Cache,
}

/// Tells whether `device` seems to hold one: the magic number is there.
pub fn is(device: &dyn Device) -> bool {
    superblock::is(device)
}

/// Opens the file system on `device`, with its journal replayed in memory if it was not unmounted.
///
/// Cost: reads the superblock, all group descriptors, and the used part of the journal twice.
///
/// # Errors
/// [`Error::Damaged`] where the kernel would not mount it; [`Error::Unsupported`] for features that are not read.
pub fn open(device: Arc<dyn Device>) -> Result<Ext4, Error> {
    let on_disk = Disk::open(device, 0, Log::new())?;
    if !on_disk.superblock.features.recover() {
        return Ok(Ext4::new(on_disk, State::Clean));
    }
    let log = journal::replay(&on_disk)?;
    let block_bytes = on_disk.superblock.block_bytes;
    let disk = Disk::open(on_disk.into_device(), block_bytes, log)?;
    let blocks = disk.logged();
    Ok(Ext4::new(disk, State::Replayed { blocks }))
}

impl Ext4 {
    fn new(disk: Disk, state: State) -> Self {
        let superblock = &disk.superblock;
        let info = Info {
            kind: superblock.features.kind(),
            uuid: superblock.uuid_text(),
            label: escape_bytes(&superblock.label).into_owned(),
            state,
            features: superblock.features.names(),
            odd: None,
        };
        Self { info, disk, xattr_blocks: xattr::Cache::default() }
    }
}

impl FileSystem for Ext4 {
    fn info(&self) -> &Info {
        &self.info
    }

    fn logged(&self, each: &mut dyn FnMut(u64, u64)) {
        self.disk.logged_blocks().for_each(|at| each(at, self.disk.superblock.block_bytes));
    }

    fn root(&self) -> u64 {
        ROOT_INODE.into()
    }

    fn records(&self) -> Option<&dyn Records> {
        Some(self)
    }

    fn scan_inodes(&self, each: &mut dyn FnMut(Result<Inode, (u64, Error)>) -> ControlFlow<()>) -> Result<(), Error> {
        scan::scan(&self.disk, &self.xattr_blocks, each)
    }

    fn inode(&self, number: u64) -> Result<Inode, Error> {
        let ordinary = u32::try_from(number).ok().filter(|number| self.disk.superblock.is_ordinary(*number));
        let Some(ordinary) = ordinary else {
            return Err(Error::Damaged(format!("inode {number} is none that a name can point to")));
        };
        let record = self.disk.record(ordinary)?;
        if !record.is_in_use() || record.is_xattr_value() {
            return Err(Error::NotInUse(number));
        }
        inode::tell(&self.disk, &self.xattr_blocks, &record)
    }

    fn list(&self, directory: &Inode, each: &mut dyn FnMut(Entry)) -> Result<(), Error> {
        directory::list(&self.disk, directory, each)
    }
}

impl Records for Ext4 {
    fn layout(&self) -> String {
        self.disk.layout()
    }

    fn record_of(&self, number: u64) -> Option<(u64, u64)> {
        let at = self.disk.record_at(u32::try_from(number).ok()?).ok()?;
        Some((at, self.disk.superblock.inode_bytes as u64))
    }

    fn numbers_in(&self, at: u64, length: u64, each: &mut dyn FnMut(RangeInclusive<u64>)) {
        self.disk.numbers_in(at, length, each);
    }

    fn check_tables(&self) -> Result<(), Error> {
        scan::check(&self.disk)
    }
}
