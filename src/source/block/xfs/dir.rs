//! Directories: short ones inside the inode, all others as blocks of entries. Hash and free-space blocks are not needed.
//!
//! Promises: every entry that the directory has is told or an error is; a name that cannot be one is an error at the end.

use super::super::bytes::Fields;
use super::super::{Entry, Error};
use super::bmap::{self, Format};
use super::inode::Record;
use super::volume::{Read, Seal, Volume};
use crate::model::{EntryName, Extent, FileMap, Kind, escape_bytes};

/// `XFS_DIR2_LEAF_OFFSET`: from here on a directory keeps hashes and free space, not entries.
const LEAF_OFFSET: u64 = 1 << 35;
const SEAL: Seal = Seal { crc: 4, uuid: 24, address: Some(8), owner: Some(40) };
const FREE_TAG: u16 = 0xffff;
/// Entries begin and end at multiples of this (`XFS_DIR2_DATA_ALIGN`).
const ALIGN: usize = 8;

/// Returns where the entries of a directory lie.
pub(super) fn map(record: &Record<'_>) -> Result<FileMap, Error> {
    let fork = record.data_fork()?;
    if fork.format == Format::Local {
        let length = record.size_bytes()?.min(fork.fields.bytes.len() as u64);
        let inside = Extent { offset: 0, at: record.data_fork_at()?, length, unwritten: false };
        return Ok(FileMap { extents: vec![inside], rests_on: Vec::new() });
    }
    let mut map = bmap::load(record.volume(), fork)?;
    map.extents.retain(|extent| extent.offset < LEAF_OFFSET);
    check_apart(&map.extents, record.what())?;
    Ok(map)
}

/// Blocks of directories are never shared: that they lie apart bounds what reading one takes by the size of the volume.
fn check_apart(extents: &[Extent], what: &str) -> Result<(), Error> {
    let mut places: Vec<(u64, u64)> = extents.iter().map(|extent| (extent.at, extent.length)).collect();
    places.sort_unstable();
    if let Some(pair) = places.windows(2).find(|pair| pair[0].0 + pair[0].1 > pair[1].0) {
        return Err(Error::Damaged(format!("{what} has the block at byte {} twice", pair[1].0)));
    }
    Ok(())
}

/// Calls `each` for every entry of a directory.
pub(super) fn list(volume: &Volume, record: &Record<'_>, each: &mut dyn FnMut(Entry)) -> Result<(), Error> {
    if record.kind()? != Kind::Directory {
        return Err(Error::Damaged(format!("{} is no directory", record.what())));
    }
    let mut names = Names { volume, what: record.what(), seen_dot: false, seen_dots: false, odd: None, each };
    let fork = record.data_fork()?;
    if fork.format == Format::Local {
        let room = fork.fields.slice(0, record.size_bytes()?.try_into().unwrap_or(usize::MAX))?;
        list_short(Fields { bytes: room, ..fork.fields }, volume.superblock().ftype, &mut names)?;
    } else {
        list_blocks(volume, record, &mut names)?;
    }
    names.odd.map_or(Ok(()), Err)
}

/// Tells names, and remembers the first that is none.
struct Names<'a> {
    volume: &'a Volume,
    what: &'a str,
    seen_dot: bool,
    seen_dots: bool,
    odd: Option<Error>,
    each: &'a mut dyn FnMut(Entry),
}

impl Names<'_> {
    fn tell(&mut self, name: &[u8], inode: u64) -> Result<(), Error> {
        let in_range = self.volume.superblock().inode_at(inode);
        let escaped = || escape_bytes(name);
        in_range.map_err(|error| Error::Damaged(format!("{}: entry \"{}\": {error}", self.what, escaped())))?;
        match EntryName::new(name) {
            Ok(name) => (self.each)(Entry { name, inode }),
            Err(error) => {
                let error = Error::Damaged(format!("{}: {error}", self.what));
                self.odd.get_or_insert(error);
            }
        }
        Ok(())
    }

    /// Tells a name of a block, where the directory itself and the one above have an entry too.
    fn tell_or_skip_dots(&mut self, name: &[u8], inode: u64) -> Result<(), Error> {
        match name {
            b"." if !self.seen_dot => self.seen_dot = true,
            b".." if !self.seen_dots => self.seen_dots = true,
            _ => return self.tell(name, inode),
        }
        Ok(())
    }
}

/// A directory inside its inode (`xfs_dir2_sf_hdr`): numbers have 8 bytes as soon as one needs them.
fn list_short(fields: Fields<'_>, ftype: bool, names: &mut Names<'_>) -> Result<(), Error> {
    let (count, wide) = (usize::from(fields.byte(0)?), fields.byte(1)?);
    let number_bytes = if wide > 0 { 8 } else { 4 };
    let mut at = 2 + number_bytes;
    for _ in 0..count {
        let length = usize::from(fields.byte(at)?);
        let name = fields.slice(at + 3, length)?;
        let number_at = at + 3 + length + usize::from(ftype);
        let number = if wide > 0 { fields.be64(number_at)? } else { u64::from(fields.be32(number_at)?) };
        names.tell(name, number)?;
        at = number_at + number_bytes;
    }
    if at != fields.bytes.len() {
        return Err(Error::Damaged(format!("{} ends at byte {at} of {}", fields.what, fields.bytes.len())));
    }
    Ok(())
}

fn list_blocks(volume: &Volume, record: &Record<'_>, names: &mut Names<'_>) -> Result<(), Error> {
    let size = volume.superblock().directory_block_bytes;
    let extents = map(record)?.extents;
    let mut offset = 0;
    let mut next = 0;
    while let Some(extent) = extents.get(next) {
        offset = extent.offset.max(offset) / size * size;
        let end = extent.offset + extent.length;
        while offset < end {
            let block = read_block(volume, &extents[next..], offset, record);
            match block.and_then(|block| list_block(&block, volume, record, names)) {
                // Each block says whose it is.
                Err(e) if volume.superblock().v5 => drop(names.odd.get_or_insert(e)),
                told => told?,
            }
            offset += size;
        }
        next += extents[next..].iter().take_while(|extent| extent.offset + extent.length <= offset).count();
    }
    if offset < record.size_bytes()? {
        let size = record.size_bytes()?;
        return Err(Error::Damaged(format!("{} has {size} bytes and blocks for {offset}", record.what())));
    }
    Ok(())
}

/// Reads one block of a directory, which may have several blocks of the file system, wherever they are.
fn read_block(volume: &Volume, extents: &[Extent], offset: u64, record: &Record<'_>) -> Result<Read, Error> {
    let size = volume.superblock().directory_block_bytes;
    let mut block = Read { bytes: Vec::with_capacity(size as usize), replayed: false };
    let mut first_at = None;
    for extent in extents {
        let from = offset + block.bytes.len() as u64;
        if extent.offset > from || from == offset + size {
            break;
        }
        let skip = from - extent.offset;
        let length = extent.length.saturating_sub(skip).min(offset + size - from);
        let part = volume.read(extent.at + skip, length)?;
        first_at.get_or_insert(extent.at + skip);
        block.bytes.extend_from_slice(&part.bytes);
        block.replayed |= part.replayed;
    }
    let what = format!("directory block {} of {}", offset / size, record.what());
    if block.bytes.len() as u64 != size {
        return Err(Error::Damaged(format!("{what} has a hole")));
    }
    volume.check(&block, first_at.unwrap_or_default(), &SEAL, record.number, &what)?;
    Ok(block)
}

fn list_block(block: &Read, volume: &Volume, record: &Record<'_>, names: &mut Names<'_>) -> Result<(), Error> {
    let fields = Fields { bytes: &block.bytes, what: record.what() };
    let (mut at, end) = entries_of_block(fields, volume.superblock().v5)?;
    let ftype = usize::from(volume.superblock().ftype);
    while at < end {
        let length = if fields.be16(at)? == FREE_TAG {
            usize::from(fields.be16(at + 2)?)
        } else {
            let length = usize::from(fields.byte(at + 8)?);
            names.tell_or_skip_dots(fields.slice(at + 9, length)?, fields.be64(at)?)?;
            (9 + length + ftype + 2).next_multiple_of(ALIGN)
        };
        let is_whole = length > 0 && length.is_multiple_of(ALIGN) && at + length <= end;
        if !is_whole || usize::from(fields.be16(at + length - 2)?) != at {
            return Err(Error::Damaged(format!("{}: the entry at byte {at} of a block is broken", record.what())));
        }
        at += length;
    }
    Ok(())
}

/// Returns where in a block its entries are: a directory of one block has its hashes behind them.
fn entries_of_block(fields: Fields<'_>, v5: bool) -> Result<(usize, usize), Error> {
    let size = fields.bytes.len();
    let start = if v5 { 64 } else { 16 };
    let is_single = match fields.slice(0, 4)? {
        b"XDB3" if v5 => true,
        b"XDD3" if v5 => false,
        b"XD2B" if !v5 => true,
        b"XD2D" if !v5 => false,
        _ => return Err(Error::Damaged(format!("{} has a block with another magic number", fields.what))),
    };
    if !is_single {
        return Ok((start, size));
    }
    let hashes = fields.be32(size - 8)? as usize;
    let end = hashes.checked_mul(8).and_then(|hashes| (size - 8).checked_sub(hashes)).filter(|end| *end >= start);
    let end = end.ok_or_else(|| Error::Damaged(format!("{} has a block with {hashes} hashes", fields.what)))?;
    Ok((start, end))
}
