//! Where the blocks of a fork are: the extent list inside an inode, or the btree that it grew into.
//!
//! Promises: extents come in order, without overlap, on the volume, and as many as the inode says.

use super::super::Error;
use super::super::bytes::Fields;
use super::volume::{Seal, Volume};
use crate::model::{Extent, FileMap};

/// `XFS_BM_MAXLEVELS` never gets this high.
const LEVELS_MAX: u16 = 16;
const RECORD_BYTES: usize = 16;
/// A key and a pointer of an inner block.
const PAIR_BYTES: usize = 16;
/// The root inside an inode: level and count.
const ROOT_HEADER: usize = 4;

/// Exchanging the blocks of two files (`XFS_ILOG_DOWNER`) changes the owners of blocks after the fact, and the kernel does
/// not look at them when it reads: neither does this.
const BLOCK_SEAL: Seal = Seal { crc: 64, uuid: 40, address: Some(24), owner: None };

/// How a fork is kept (`di_format`, `di_aformat`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// A device number, or nothing.
    Device,
    /// Its bytes themselves.
    Local,
    /// Extents.
    Extents,
    /// The root of a btree of extents.
    Btree,
}

/// One fork of an inode.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fork<'a> {
    /// All the room that it has in the inode.
    pub(super) fields: Fields<'a>,
    pub(super) format: Format,
    /// How many extents it has.
    pub(super) extents: u64,
}

/// Returns where the blocks of a fork are.
pub(super) fn load(volume: &Volume, fork: Fork<'_>) -> Result<FileMap, Error> {
    let mut walk = Walk { volume, extents: fork.extents, map: FileMap::default() };
    match fork.format {
        Format::Extents => walk.add_records(fork.fields, 0, fork.extents)?,
        Format::Btree => walk.load_root(fork.fields)?,
        Format::Device | Format::Local => {
            return Err(Error::Damaged(format!("{} has no extents where it should", fork.fields.what)));
        }
    }
    let found = walk.map.extents.len() as u64;
    if found != fork.extents {
        return Err(Error::Damaged(format!("{} has {found} extents instead of {}", fork.fields.what, fork.extents)));
    }
    Ok(walk.map)
}

struct Walk<'a> {
    volume: &'a Volume,
    extents: u64,
    map: FileMap,
}

impl Walk<'_> {
    fn load_root(&mut self, fields: Fields<'_>) -> Result<(), Error> {
        let (level, pointers) = (fields.be16(0)?, usize::from(fields.be16(2)?));
        let fit = fields.bytes.len().saturating_sub(ROOT_HEADER) / PAIR_BYTES;
        if !(1..=LEVELS_MAX).contains(&level) || !(1..=fit).contains(&pointers) {
            let what = fields.what;
            return Err(Error::Damaged(format!("{what} has an extent tree of level {level} with {pointers} branches")));
        }
        for index in 0..pointers {
            self.load_block(fields.be64(ROOT_HEADER + fit * 8 + index * 8)?, level - 1, fields.what)?;
        }
        Ok(())
    }

    /// Takes the extents below a block. The levels go down, every leaf has extents, and they go up: so no leaf is taken twice.
    fn load_block(&mut self, block: u64, level: u16, owner: &str) -> Result<(), Error> {
        let superblock = self.volume.superblock();
        let at = superblock.block_at(block, 1)?;
        let what = format!("extent tree block of {owner}");
        let bytes = self.volume.structure(at, superblock.block_bytes, &BLOCK_SEAL, 0, &what)?;
        let fields = Fields { bytes: &bytes, what: &what };
        let (magic, header) = if superblock.v5 { (b"BMA3", 72) } else { (b"BMAP", 24) };
        let records = usize::from(fields.be16(6)?);
        if fields.slice(0, 4)? != magic || fields.be16(4)? != level || records == 0 {
            return Err(Error::Damaged(format!("{what} at byte {at} is not one of level {level}")));
        }
        self.map.rests_on.push((at, superblock.block_bytes));
        if level == 0 {
            return self.add_records(fields, header, records as u64);
        }
        let fit = (superblock.block_bytes as usize - header) / PAIR_BYTES;
        if records > fit {
            return Err(Error::Damaged(format!("{what} at byte {at} has {records} branches, and {fit} fit")));
        }
        for index in 0..records {
            self.load_block(fields.be64(header + fit * 8 + index * 8)?, level - 1, owner)?;
        }
        Ok(())
    }

    fn add_records(&mut self, fields: Fields<'_>, from: usize, count: u64) -> Result<(), Error> {
        let room = (fields.bytes.len().saturating_sub(from) / RECORD_BYTES) as u64;
        if count > room || self.map.extents.len() as u64 + count > self.extents {
            return Err(Error::Damaged(format!("{} has more extents than it can have", fields.what)));
        }
        for index in 0..count as usize {
            let at = from + index * RECORD_BYTES;
            let extent = self.extent(fields.be64(at)?, fields.be64(at + 8)?, fields.what)?;
            let end = self.map.extents.last().map_or(0, |last| last.offset + last.length);
            if extent.offset < end {
                return Err(Error::Damaged(format!("{} has extents that overlap at byte {end}", fields.what)));
            }
            self.map.extents.push(extent);
        }
        Ok(())
    }

    /// Takes the 128 bits of an extent apart (`xfs_bmbt_rec`): flag 1, offset 54, block 52, count 21.
    fn extent(&self, high: u64, low: u64, what: &str) -> Result<Extent, Error> {
        let superblock = self.volume.superblock();
        let offset = high >> 9 & ((1 << 54) - 1);
        let block = (high & 0x1ff) << 43 | low >> 21;
        let count = low & ((1 << 21) - 1);
        let place = superblock.block_at(block, count);
        let end = (offset + count).checked_mul(superblock.block_bytes);
        match (place, end) {
            (Ok(at), Some(end)) if count > 0 => {
                let length = count * superblock.block_bytes;
                Ok(Extent { offset: end - length, at, length, unwritten: high >> 63 == 1 })
            }
            _ => Err(Error::Damaged(format!("{what} has an extent of {count} blocks at block {block:#x}"))),
        }
    }
}
