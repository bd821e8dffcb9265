//! Where inodes are: the inode btree of an allocation group, chunk by chunk of 64.
//!
//! Promises: chunks come in the order of the disk, each once; the tree is walked at most once.

use super::super::Error;
use super::super::bytes::Fields;
use super::volume::{Seal, Volume};

/// `XFS_INODES_PER_CHUNK`.
pub(super) const INODES_PER_CHUNK: u64 = 64;
/// A bit of the hole mask stands for so many inodes (`XFS_INODES_PER_HOLEMASK_BIT`).
const INODES_PER_HOLE_BIT: u64 = 4;
/// `XFS_BTREE_MAXLEVELS`.
const LEVELS_MAX: u32 = 9;
const RECORD_BYTES: usize = 16;
/// A key and a pointer of an inner block.
const PAIR_BYTES: usize = 8;

const AGI_SEAL: Seal = Seal { crc: 312, uuid: 296, address: None, owner: None };
/// The owner of a block of this tree is the number of the group, in 4 bytes: checked here, not by the seal.
const BLOCK_SEAL: Seal = Seal { crc: 52, uuid: 32, address: Some(16), owner: None };

/// 64 inodes in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chunk {
    /// The number of the first.
    pub(super) first: u64,
    /// Where it lies.
    pub(super) at: u64,
    holes: u16,
    free: u64,
}

impl Chunk {
    /// Tells whether the disk has no room for the inode: others use it.
    pub(super) fn is_hole(&self, index: u64) -> bool {
        self.holes >> (index / INODES_PER_HOLE_BIT) & 1 == 1
    }

    /// Tells whether the inode is in use.
    pub(super) fn is_used(&self, index: u64) -> bool {
        !self.is_hole(index) && self.free >> index & 1 == 0
    }
}

/// Returns the chunks of a group.
pub(super) fn load(volume: &Volume, group: u32) -> Result<Vec<Chunk>, Error> {
    let superblock = volume.superblock();
    let at = superblock.group_block_at(group, 0)? + 2 * superblock.sector_bytes;
    let what = format!("inode header of group {group}");
    let bytes = volume.structure(at, superblock.sector_bytes, &AGI_SEAL, 0, &what)?;
    let fields = Fields { bytes: &bytes, what: &what };
    if fields.slice(0, 4)? != b"XAGI" || fields.be32(8)? != group {
        return Err(Error::Damaged(format!("{what} has another magic number or group")));
    }
    let (root, levels) = (fields.be32(20)?, fields.be32(24)?);
    if !(1..=LEVELS_MAX).contains(&levels) {
        return Err(Error::Damaged(format!("{what} has a tree of {levels} levels")));
    }
    let mut tree = Tree { volume, group, chunks: Vec::new() };
    tree.load_block(root, levels - 1, true)?;
    Ok(tree.chunks)
}

struct Tree<'a> {
    volume: &'a Volume,
    group: u32,
    chunks: Vec<Chunk>,
}

impl Tree<'_> {
    /// Takes the records below a block. The levels go down, every block but the root has records, and records go up: so no
    /// block is read twice.
    fn load_block(&mut self, block: u32, level: u32, is_root: bool) -> Result<(), Error> {
        let superblock = self.volume.superblock();
        let at = superblock.group_block_at(self.group, block)?;
        let what = format!("inode btree block {block} of group {}", self.group);
        let bytes = self.volume.structure(at, superblock.block_bytes, &BLOCK_SEAL, 0, &what)?;
        let fields = Fields { bytes: &bytes, what: &what };
        let (magic, header) = if superblock.v5 { (b"IAB3", 56) } else { (b"IABT", 16) };
        let records = usize::from(fields.be16(6)?);
        let is_whole = fields.slice(0, 4)? == magic
            && u32::from(fields.be16(4)?) == level
            && (records > 0 || is_root && level == 0)
            && (!superblock.v5 || fields.be32(48)? == self.group);
        if !is_whole {
            return Err(Error::Damaged(format!("{what} is not a block of level {level} of this tree")));
        }
        if level == 0 {
            return (0..records).try_for_each(|index| self.add(fields, header + index * RECORD_BYTES));
        }
        let fit = (superblock.block_bytes as usize - header) / PAIR_BYTES;
        if records > fit {
            return Err(Error::Damaged(format!("{what} has {records} entries, and {fit} fit")));
        }
        for index in 0..records {
            let below = self.chunks.len();
            self.load_block(fields.be32(header + fit * 4 + index * 4)?, level - 1, false)?;
            if self.chunks.len() == below {
                return Err(Error::Damaged(format!("{what} leads to no records")));
            }
        }
        Ok(())
    }

    fn add(&mut self, fields: Fields<'_>, at: usize) -> Result<(), Error> {
        let superblock = self.volume.superblock();
        let holes = if superblock.sparse { fields.be16(at + 4)? } else { 0 };
        let first = superblock.inode_number(self.group, fields.be32(at)?);
        let chunk = Chunk { first, at: superblock.inode_at(first)?, holes, free: fields.be64(at + 8)? };
        let end = superblock.inode_at(first.saturating_add(INODES_PER_CHUNK - 1))?;
        if end - chunk.at.min(end) != (INODES_PER_CHUNK - 1) * superblock.inode_bytes {
            return Err(Error::Damaged(format!("{}: the inodes from {first} on do not lie in one group", fields.what)));
        }
        if self.chunks.last().is_some_and(|last| last.first + INODES_PER_CHUNK > first) {
            return Err(Error::Damaged(format!("{}: the inodes from {first} on are not in order", fields.what)));
        }
        self.chunks.push(chunk);
        Ok(())
    }
}
