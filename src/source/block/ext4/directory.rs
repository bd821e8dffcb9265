//! The names in a directory.
//!
//! Promises: all blocks are read in order, the leaves of a hash tree among them, so that a damaged tree hides no names. Where
//! there are metadata checksums, every block's is verified before its names are told, and damage to one hides no names in others.
//!
//! Source: `fs/ext4/dir.c`, `fs/ext4/namei.c` and `fs/ext4/inline.c` of Linux 6.12.

use super::checksum::crc32c;
use super::disk::Disk;
use super::record::{damaged, inline_parts};
use crate::model::{EntryName, FileMap, escape_bytes};
use crate::source::block::bytes::Fields;
use crate::source::block::{Content, Entry, Error, Inode};

/// How much of a directory is read at once.
const READ_BYTES: u64 = 1 << 20;
/// Number, length of the entry, length of the name, type.
const HEADER_BYTES: usize = 8;
/// The shortest entry; the checksum of a block is dressed up as one.
const ENTRY_BYTES_MIN: usize = 12;
/// The type that says that an entry is a checksum.
const TAIL_TYPE: u8 = 0xDE;
/// Where a hash tree's limit and count are: in its root behind `.`, `..` and `dx_root_info`, in a node behind an empty entry.
const ROOT_COUNT_AT: usize = 32;
const NODE_COUNT_AT: usize = 8;
const INDEX_ENTRY_BYTES: usize = 8;
/// Inline directories begin with the number of the directory above, in place of `.` and `..`.
const INLINE_PARENT_BYTES: usize = 4;

/// Calls `each` for every entry, as [`FileSystem::list`](crate::source::block::FileSystem::list) promises.
pub(super) fn list(disk: &Disk, directory: &Inode, each: &mut dyn FnMut(Entry)) -> Result<(), Error> {
    let Ok(number) = u32::try_from(directory.number) else {
        return Err(Error::Damaged(format!("there is no inode {}", directory.number)));
    };
    let inode_seed = crc32c(crc32c(disk.superblock.seed, &number.to_le_bytes()), &directory.generation.to_le_bytes());
    let mut listing = Listing { disk, number, inode_seed, each, trouble: None, bad_names: 0, first_bad: String::new() };
    match &directory.content {
        Content::Mapped(map) => listing.mapped(map, directory.attrs.size_bytes)?,
        Content::None => listing.inline()?,
        Content::Unreadable(why) => return Err(Error::Damaged(why.clone())),
        Content::Bytes(_) => return Err(damaged(number, format_args!("it is not a directory"))),
    }
    listing.finish()
}

struct Listing<'a> {
    disk: &'a Disk,
    number: u32,
    inode_seed: u32,
    each: &'a mut dyn FnMut(Entry),
    /// What is wrong with the first block that is damaged.
    trouble: Option<Error>,
    bad_names: u64,
    first_bad: String,
}

impl Listing<'_> {
    fn mapped(&mut self, map: &FileMap, size: u64) -> Result<(), Error> {
        let block_bytes = self.disk.superblock.block_bytes;
        if size == 0 || !size.is_multiple_of(block_bytes) {
            return Err(self.damaged(format_args!("a directory of {size} bytes in blocks of {block_bytes}")));
        }
        let mut done = 0;
        for extent in map.extents.iter().filter(|extent| extent.offset < size && !extent.unwritten) {
            if extent.offset != done {
                self.hole(size, done)?;
            }
            let end = (extent.offset + extent.length).min(size);
            for offset in (extent.offset..end).step_by(READ_BYTES as usize) {
                self.run(extent.at + (offset - extent.offset), READ_BYTES.min(end - offset), offset == 0)?;
            }
            done = end;
        }
        if done < size { self.hole(size, done) } else { Ok(()) }
    }

    fn hole(&mut self, size: u64, at: u64) -> Result<(), Error> {
        self.note(self.damaged(format_args!("a directory of {size} bytes has a hole at byte {at}")))
    }

    /// Tells the names of a run of blocks; those of which one cannot be read one by one.
    fn run(&mut self, at: u64, length: u64, is_first: bool) -> Result<(), Error> {
        let block_bytes = self.disk.superblock.block_bytes;
        match self.disk.read(at, length) {
            Ok(bytes) => {
                for (index, block) in bytes.chunks_exact(block_bytes as usize).enumerate() {
                    if let Err(e) = self.block(block, is_first && index == 0) {
                        self.note(e)?;
                    }
                }
                Ok(())
            }
            Err(e) if length <= block_bytes => self.note(e),
            Err(_) => (at..at + length)
                .step_by(block_bytes as usize)
                .try_for_each(|block| self.run(block, block_bytes, is_first && block == at)),
        }
    }

    /// Takes note of what is wrong with one block. Without checksums nothing says that the others are this directory's: it ends there.
    fn note(&mut self, trouble: Error) -> Result<(), Error> {
        if !self.disk.superblock.features.metadata_csum() {
            return Err(trouble);
        }
        self.trouble.get_or_insert(trouble);
        Ok(())
    }

    fn inline(&mut self) -> Result<(), Error> {
        let record = self.disk.record(self.number)?;
        let (first, rest) = inline_parts(&record)?;
        self.entries(Fields { bytes: first, what: "inline directory" }, INLINE_PARENT_BYTES, first.len(), false)?;
        self.entries(Fields { bytes: rest, what: "inline directory" }, 0, rest.len(), false)
    }

    fn block(&mut self, block: &[u8], is_first: bool) -> Result<(), Error> {
        let fields = Fields { bytes: block, what: "directory block" };
        if !self.disk.superblock.features.metadata_csum() {
            return self.entries(fields, 0, block.len(), is_first);
        }
        if let Some(count_at) = index_count_at(fields, is_first)? {
            self.check_index(fields, count_at)?;
            return self.entries(fields, 0, block.len(), is_first);
        }
        let end = block.len() - ENTRY_BYTES_MIN;
        self.check_leaf(fields, end)?;
        self.entries(fields, 0, end, is_first)
    }

    /// Verifies the checksum in the last entry of a block of names (`ext4_dirblock_csum_verify`).
    fn check_leaf(&self, fields: Fields<'_>, tail: usize) -> Result<(), Error> {
        let is_tail = fields.le32(tail)? == 0
            && usize::from(fields.le16(tail + 4)?) == ENTRY_BYTES_MIN
            && fields.le16(tail + 6)?.to_le_bytes() == [0, TAIL_TYPE];
        if !is_tail || crc32c(self.inode_seed, fields.slice(0, tail)?) != fields.le32(tail + 8)? {
            return Err(self.damaged(format_args!("the checksum of a directory block does not hold")));
        }
        Ok(())
    }

    /// Verifies the checksum behind the room for entries of a block of the hash tree (`ext4_dx_csum_verify`).
    fn check_index(&self, fields: Fields<'_>, count_at: usize) -> Result<(), Error> {
        let (limit, count) = (usize::from(fields.le16(count_at)?), usize::from(fields.le16(count_at + 2)?));
        let tail = count_at + limit * INDEX_ENTRY_BYTES;
        let used = fields.slice(0, count_at + count.min(limit) * INDEX_ENTRY_BYTES)?;
        let sum = crc32c(crc32c(crc32c(self.inode_seed, used), fields.slice(tail, 4)?), &[0; 4]);
        if count > limit || sum != fields.le32(tail + 4)? {
            return Err(
                self.damaged(format_args!("the checksum of a block of the directory's hash tree does not hold"))
            );
        }
        Ok(())
    }

    /// Tells the entries from byte `at` up to `end`, which they must fill.
    fn entries(&mut self, fields: Fields<'_>, mut at: usize, end: usize, has_dots: bool) -> Result<(), Error> {
        let mut index = 0;
        while at < end {
            let inode = fields.le32(at)?;
            let length = entry_bytes(fields, at)?;
            let name_bytes = usize::from(fields.byte(at + 6)?);
            let rest = end.saturating_sub(at + length);
            let sound = length >= (HEADER_BYTES + name_bytes.max(1)).next_multiple_of(4)
                && length.is_multiple_of(4)
                && at + length <= end
                && (rest == 0 || rest >= ENTRY_BYTES_MIN);
            if !sound || inode > self.disk.superblock.inodes {
                return Err(self.damaged(format_args!(
                    "a directory entry of {length} bytes, {name_bytes} of them name, for inode {inode}, with {} bytes left",
                    end - at
                )));
            }
            if inode != 0 {
                let name = fields.slice(at + HEADER_BYTES, name_bytes)?;
                self.entry(name, inode, if has_dots { index } else { 2 })?;
            }
            at += length;
            index += 1;
        }
        Ok(())
    }

    /// Tells an entry; only the first two of a directory may be `.` and `..`.
    fn entry(&mut self, name: &[u8], inode: u32, index: usize) -> Result<(), Error> {
        match (index, name) {
            (0, b".") if inode != self.number => {
                return Err(self.damaged(format_args!("its directory blocks are those of inode {inode}")));
            }
            (0, b".") | (1, b"..") => return Ok(()),
            _ => {}
        }
        match EntryName::new(name) {
            Ok(name) => (self.each)(Entry { name, inode: inode.into() }),
            Err(_) => {
                if self.bad_names == 0 {
                    self.first_bad = escape_bytes(name).into_owned();
                }
                self.bad_names += 1;
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<(), Error> {
        if let Some(trouble) = self.trouble {
            return Err(trouble);
        }
        if self.bad_names == 0 {
            return Ok(());
        }
        let (number, count, first) = (self.number, self.bad_names, &self.first_bad);
        // Encryption turns names into any bytes, and some of those cannot be told at all.
        if self.disk.record(number)?.is_encrypted() {
            return Err(Error::Unsupported(format!(
                "inode {number}: {count} of its encrypted names cannot be names as they are stored, the first is \"{first}\""
            )));
        }
        Err(self.damaged(format_args!("{count} of its entries have no possible name, the first is \"{first}\"")))
    }

    fn damaged(&self, what: std::fmt::Arguments<'_>) -> Error {
        damaged(self.number, what)
    }
}

/// Returns the length of the entry at `at`. In blocks of 64 KiB the two lowest bits are the highest
/// (`ext4_rec_len_from_disk`).
fn entry_bytes(fields: Fields<'_>, at: usize) -> Result<usize, Error> {
    let stored = usize::from(fields.le16(at + 4)?);
    Ok(match stored {
        _ if fields.bytes.len() < 65536 => stored,
        0 | 65535 => 65536,
        _ => stored & !3 | (stored & 3) << 16,
    })
}

/// Returns where limit and count are in a block of a hash tree, or none if it is a block of names.
fn index_count_at(fields: Fields<'_>, is_first: bool) -> Result<Option<usize>, Error> {
    let block_bytes = fields.bytes.len();
    let first = entry_bytes(fields, 0)?;
    if fields.le32(0)? == 0 && first == block_bytes {
        return Ok(Some(NODE_COUNT_AT));
    }
    let is_root = is_first
        && first == ENTRY_BYTES_MIN
        && entry_bytes(fields, ENTRY_BYTES_MIN)? == block_bytes - ENTRY_BYTES_MIN
        && fields.le32(24)? == 0
        && fields.byte(29)? == 8;
    Ok(is_root.then_some(ROOT_COUNT_AT))
}
