//! Where the bytes of a file are: extent trees, and the maps of direct and indirect blocks of ext2 and ext3.
//!
//! Promises: the extents that come out are sorted, do not overlap and lie on the file system. No block of a tree is read
//! twice for one file, so that a tree that bites its tail ends.
//!
//! Source: `fs/ext4/ext4_extents.h`, `fs/ext4/extents.c` and `fs/ext4/indirect.c` of Linux 6.12.

use super::checksum::crc32c;
use super::disk::Disk;
use super::record::{Record, damaged};
use crate::model::{Extent, FileMap};
use crate::source::block::Error;
use crate::source::block::bytes::Fields;
use std::collections::HashSet;

const EXTENT_MAGIC: u16 = 0xF30A;
/// Header, extent and index entry of a tree are all this long.
const ENTRY_BYTES: usize = 12;
/// `EXT4_MAX_EXTENT_DEPTH`
const DEPTH_MAX: u16 = 5;
/// A longer extent is one of this much less that was never written.
const LENGTH_MAX: u16 = 32768;
/// 128 MiB of memory for one file.
const EXTENTS_MAX: usize = 4 << 20;
/// Logical blocks are numbered in 32 bits.
const BLOCKS_MAX: u64 = 1 << 32;
const DIRECT_BLOCKS: usize = 12;

/// Returns where the content of an inode is that has its own blocks.
///
/// # Errors
/// [`Error::Damaged`] if its map contradicts itself or the file system; [`Error::Unsupported`] if it has too many pieces.
pub(super) fn of(disk: &Disk, record: &Record) -> Result<FileMap, Error> {
    let mut walk = Walk { disk, record, map: FileMap::default(), next: 0, seen: HashSet::new() };
    let root = record.map_bytes()?;
    if record.has_extents() {
        walk.extent_node(root, None, BLOCKS_MAX)?;
    } else {
        walk.block_map(root)?;
    }
    Ok(walk.map)
}

/// Reads the first `length` bytes of a file; holes and what was never written are zeros.
pub(super) fn read_start(disk: &Disk, map: &FileMap, length: u64) -> Result<Vec<u8>, Error> {
    let mut bytes = vec![0; length as usize];
    for extent in map.extents.iter().filter(|e| !e.unwritten && e.offset < length) {
        let taken = extent.length.min(length - extent.offset);
        let from = extent.offset as usize;
        bytes[from..from + taken as usize].copy_from_slice(&disk.read(extent.at, taken)?);
    }
    Ok(bytes)
}

struct Walk<'a> {
    disk: &'a Disk,
    record: &'a Record,
    map: FileMap,
    /// The first logical block that no extent has covered or passed yet.
    next: u64,
    /// The blocks of the tree that were read.
    seen: HashSet<u64>,
}

impl Walk<'_> {
    /// Takes the extents of a node of the tree, all of them before logical block `until`.
    fn extent_node(&mut self, node: &[u8], depth: Option<u16>, until: u64) -> Result<(), Error> {
        let fields = Fields { bytes: node, what: "extent tree" };
        let (magic, entries, own_depth) = (fields.le16(0)?, usize::from(fields.le16(2)?), fields.le16(6)?);
        let depth = depth.unwrap_or(own_depth);
        if magic != EXTENT_MAGIC || own_depth != depth || depth > DEPTH_MAX {
            return Err(self.damaged(format_args!("an extent tree node with magic {magic:#x} and depth {own_depth}")));
        }
        if entries > usize::from(fields.le16(4)?)
            || (entries + 1) * ENTRY_BYTES > node.len()
            || entries == 0 && depth > 0
        {
            return Err(
                self.damaged(format_args!("an extent tree node of {} bytes with {entries} entries", node.len()))
            );
        }
        for entry in 1..=entries {
            let at = entry * ENTRY_BYTES;
            if depth == 0 {
                self.extent(fields, at, until)?;
            } else {
                let end = if entry < entries { u64::from(fields.le32(at + ENTRY_BYTES)?).min(until) } else { until };
                self.extent_child(fields, at, depth - 1, end)?;
            }
        }
        Ok(())
    }

    fn extent(&mut self, fields: Fields<'_>, at: usize, until: u64) -> Result<(), Error> {
        let (logical, length) = (u64::from(fields.le32(at)?), fields.le16(at + 4)?);
        let physical = u64::from(fields.le16(at + 6)?) << 32 | u64::from(fields.le32(at + 8)?);
        let unwritten = length > LENGTH_MAX;
        let length = u64::from(if unwritten { length - LENGTH_MAX } else { length });
        if logical + length > until {
            return Err(self.damaged(format_args!("its extent of {length} blocks at {logical} overlaps the next")));
        }
        self.push(logical, physical, length, unwritten)
    }

    fn extent_child(&mut self, fields: Fields<'_>, at: usize, depth: u16, until: u64) -> Result<(), Error> {
        let logical = u64::from(fields.le32(at)?);
        if logical < self.next || logical >= until {
            return Err(self.damaged(format_args!("its extent tree is out of order at block {logical}")));
        }
        self.next = logical;
        let block = u64::from(fields.le16(at + 8)?) << 32 | u64::from(fields.le32(at + 4)?);
        let node = self.tree_block(block)?;
        self.check_node(&node)?;
        self.extent_node(&node, Some(depth), until)
    }

    /// Verifies the checksum that lies behind the last entry that a node could have.
    fn check_node(&self, node: &[u8]) -> Result<(), Error> {
        if !self.disk.superblock.features.metadata_csum() {
            return Ok(());
        }
        let fields = Fields { bytes: node, what: "extent tree" };
        let tail = ENTRY_BYTES * (1 + usize::from(fields.le16(4)?));
        if crc32c(self.record.seed, fields.slice(0, tail)?) != fields.le32(tail)? {
            return Err(self.damaged(format_args!("the checksum of a block of its extent tree does not hold")));
        }
        Ok(())
    }

    fn block_map(&mut self, root: &[u8]) -> Result<(), Error> {
        let fields = Fields { bytes: root, what: "block map" };
        for index in 0..DIRECT_BLOCKS {
            self.mapped_block(index as u64, fields.le32(index * 4)?)?;
        }
        let per_block = self.disk.superblock.block_bytes / 4;
        let mut logical = DIRECT_BLOCKS as u64;
        for level in 1..=3 {
            self.indirect(fields.le32((DIRECT_BLOCKS + level as usize - 1) * 4)?, level, logical)?;
            logical += per_block.pow(level);
        }
        Ok(())
    }

    /// Takes what an indirect block maps from logical block `logical` on. At level 1 it points to data.
    fn indirect(&mut self, block: u32, level: u32, logical: u64) -> Result<(), Error> {
        if block == 0 {
            return Ok(());
        }
        let node = self.tree_block(block.into())?;
        let span = (self.disk.superblock.block_bytes / 4).pow(level - 1);
        for (index, pointer) in node.as_chunks::<4>().0.iter().enumerate() {
            let (pointer, logical) = (u32::from_le_bytes(*pointer), logical + index as u64 * span);
            if level == 1 {
                self.mapped_block(logical, pointer)?;
            } else {
                self.indirect(pointer, level - 1, logical)?;
            }
        }
        Ok(())
    }

    fn mapped_block(&mut self, logical: u64, pointer: u32) -> Result<(), Error> {
        if pointer == 0 { Ok(()) } else { self.push(logical, pointer.into(), 1, false) }
    }

    /// Reads a block of the tree and notes that the map rests on it.
    fn tree_block(&mut self, number: u64) -> Result<Vec<u8>, Error> {
        if !self.seen.insert(number) {
            return Err(self.damaged(format_args!("block {number} is twice in its map")));
        }
        let node = self.disk.block(number, "its map").map_err(|error| about(self.record.number, error))?;
        let bytes = self.disk.superblock.block_bytes;
        self.map.rests_on.push((number * bytes, bytes));
        Ok(node)
    }

    fn push(&mut self, logical: u64, physical: u64, length: u64, unwritten: bool) -> Result<(), Error> {
        if length == 0 || logical < self.next {
            return Err(
                self.damaged(format_args!("its extent of {length} blocks at {logical} overlaps the one before"))
            );
        }
        let at = self.disk.block_at(physical, length, "its map").map_err(|error| about(self.record.number, error))?;
        let bytes = self.disk.superblock.block_bytes;
        self.next = logical + length;
        let new = Extent { offset: logical * bytes, at, length: length * bytes, unwritten };
        if let Some(last) = self.map.extents.last_mut().filter(|last| follows(last, &new)) {
            last.length += new.length;
            return Ok(());
        }
        if self.map.extents.len() == EXTENTS_MAX {
            return Err(Error::Unsupported(format!("it lies in more than {EXTENTS_MAX} pieces")));
        }
        self.map.extents.push(new);
        Ok(())
    }

    fn damaged(&self, what: std::fmt::Arguments<'_>) -> Error {
        damaged(self.record.number, what)
    }
}

fn follows(last: &Extent, new: &Extent) -> bool {
    last.offset + last.length == new.offset && last.at + last.length == new.at && last.unwritten == new.unwritten
}

fn about(number: u32, error: Error) -> Error {
    match error {
        Error::Damaged(what) => damaged(number, format_args!("{what}")),
        other => other,
    }
}
