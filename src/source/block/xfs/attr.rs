//! Extended attributes: short ones inside the inode, others in leaf blocks, long values in blocks of their own.
//!
//! Promises: names have the prefixes that `listxattr(2)` gives them, POSIX ACLs the form that `getxattr(2)` gives them. What
//! the kernel does not show (half-made attributes, parent pointers, the stored form of ACLs) is left out.

use super::super::Error;
use super::super::bytes::Fields;
use super::bmap::{self, Format};
use super::inode::Record;
use super::volume::{Seal, Volume};
use crate::model::FileMap;
use std::collections::HashSet;

const FLAG_LOCAL: u8 = 1 << 0;
const FLAG_ROOT: u8 = 1 << 1;
const FLAG_SECURE: u8 = 1 << 2;
const FLAG_PARENT: u8 = 1 << 3;
const FLAG_INCOMPLETE: u8 = 1 << 7;
const BLOCK_SEAL: Seal = Seal { crc: 12, uuid: 32, address: Some(16), owner: Some(48) };
const VALUE_SEAL: Seal = Seal { crc: 12, uuid: 16, address: Some(40), owner: Some(32) };
const VALUE_HEADER: usize = 56;
/// `XFS_XATTR_SIZE_MAX`.
const VALUE_MAX_BYTES: usize = 65536;
/// All values of one inode: far more than any inode has, and little enough to hold.
const VALUES_MAX_BYTES: usize = 64 << 20;
/// `XFS_DA_NODE_MAXDEPTH`.
const LEVELS_MAX: usize = 5;
/// `ACL_USER` and `ACL_GROUP`; entries of other kinds have no id.
const ACL_TAGS_WITH_ID: [u32; 2] = [0x02, 0x08];

type Xattrs = Vec<(Vec<u8>, Vec<u8>)>;

/// Returns the extended attributes of an inode, in no order.
pub(super) fn load(record: &Record<'_>) -> Result<Xattrs, Error> {
    let Some(fork) = record.attribute_fork()? else {
        return Ok(Vec::new());
    };
    let mut found = Found { xattrs: Vec::new(), bytes: 0, what: record.what() };
    match fork.format {
        Format::Local => load_short(fork.fields, &mut found)?,
        Format::Extents if fork.extents == 0 => {}
        Format::Extents | Format::Btree => {
            let map = bmap::load(record.volume(), fork)?;
            let what = format!("attribute block of {}", record.what());
            Blocks { volume: record.volume(), number: record.number, map, what: &what }.load(&mut found)?;
        }
        Format::Device => {
            return Err(Error::Damaged(format!("{} has an attribute fork of the wrong form", record.what())));
        }
    }
    Ok(found.xattrs)
}

/// Returns the runs of the volume that extended attributes outside of the inode lie in; none if that cannot be read, which [`load`] says.
pub(super) fn blocks(record: &Record<'_>) -> Vec<(u64, u64)> {
    let fork = record.attribute_fork().ok().flatten();
    let fork = fork.filter(|fork| matches!(fork.format, Format::Extents | Format::Btree) && fork.extents > 0);
    let map = fork.and_then(|fork| bmap::load(record.volume(), fork).ok()).unwrap_or_default();
    map.extents.into_iter().map(|run| (run.at, run.length)).chain(map.rests_on).collect()
}

struct Found<'a> {
    xattrs: Xattrs,
    bytes: usize,
    what: &'a str,
}

impl Found<'_> {
    fn add(&mut self, name: &[u8], value: Vec<u8>, flags: u8) -> Result<(), Error> {
        self.bytes = self.bytes.saturating_add(value.len());
        if self.bytes > VALUES_MAX_BYTES {
            let most = VALUES_MAX_BYTES >> 20;
            return Err(Error::Damaged(format!("{} has more than {most} MiB of extended attributes", self.what)));
        }
        let acl = match name {
            b"SGI_ACL_FILE" if flags & FLAG_ROOT != 0 => Some("system.posix_acl_access"),
            b"SGI_ACL_DEFAULT" if flags & FLAG_ROOT != 0 => Some("system.posix_acl_default"),
            _ => None,
        };
        if let Some(name) = acl {
            // Root is told of both forms, this one and the one that is stored (`xfs_xattr_put_listent`).
            self.xattrs.push((name.into(), acl_value(Fields { bytes: &value, what: self.what })?));
        }
        let prefix: &[u8] = match (flags & FLAG_ROOT != 0, flags & FLAG_SECURE != 0) {
            (true, _) => b"trusted.",
            (_, true) => b"security.",
            _ => b"user.",
        };
        self.xattrs.push(([prefix, name].concat(), value));
        Ok(())
    }
}

/// Tells whether the kernel shows an attribute.
fn is_shown(flags: u8) -> bool {
    flags & (FLAG_INCOMPLETE | FLAG_PARENT) == 0
}

/// Returns an ACL as `getxattr(2)` gives it, version 2 (`posix_acl_xattr.h`), from what XFS keeps (`struct xfs_acl`).
fn acl_value(stored: Fields<'_>) -> Result<Vec<u8>, Error> {
    let count = stored.be32(0)? as usize;
    if count.checked_mul(12).and_then(|bytes| bytes.checked_add(4)) != Some(stored.bytes.len()) {
        return Err(Error::Damaged(format!(
            "{} has an ACL of {count} entries in {} bytes",
            stored.what,
            stored.bytes.len()
        )));
    }
    let mut value = 2u32.to_le_bytes().to_vec();
    for entry in 0..count {
        let at = 4 + entry * 12;
        let (tag, id, permissions) = (stored.be32(at)?, stored.be32(at + 4)?, stored.be16(at + 8)?);
        value.extend_from_slice(&(tag as u16).to_le_bytes());
        value.extend_from_slice(&permissions.to_le_bytes());
        value.extend_from_slice(&(if ACL_TAGS_WITH_ID.contains(&tag) { id } else { u32::MAX }).to_le_bytes());
    }
    Ok(value)
}

/// Attributes inside the inode (`xfs_attr_sf_hdr`).
fn load_short(fields: Fields<'_>, found: &mut Found<'_>) -> Result<(), Error> {
    let count = fields.byte(2)?;
    let mut at = 4;
    for _ in 0..count {
        let (name_bytes, value_bytes) = (usize::from(fields.byte(at)?), usize::from(fields.byte(at + 1)?));
        let flags = fields.byte(at + 2)?;
        let name = fields.slice(at + 3, name_bytes)?;
        let value = fields.slice(at + 3 + name_bytes, value_bytes)?;
        if is_shown(flags) {
            found.add(name, value.to_vec(), flags)?;
        }
        at += 3 + name_bytes + value_bytes;
    }
    if at != usize::from(fields.be16(0)?) {
        return Err(Error::Damaged(format!("{} has attributes that end at byte {at}", fields.what)));
    }
    Ok(())
}

/// Attributes in blocks of their own.
struct Blocks<'a> {
    volume: &'a Volume,
    number: u64,
    map: FileMap,
    what: &'a str,
}

/// What a block is (`xfs_da_blkinfo.magic`).
enum Role {
    Node,
    Leaf,
}

impl Blocks<'_> {
    /// Takes the leaves from the first to the last; each names the next.
    fn load(&self, found: &mut Found<'_>) -> Result<(), Error> {
        let mut seen = HashSet::new();
        let mut next = self.first_leaf()?;
        loop {
            if !seen.insert(next) {
                return Err(Error::Damaged(format!("{} {next} comes twice", self.what)));
            }
            let bytes = self.block(next)?;
            let fields = Fields { bytes: &bytes, what: self.what };
            if !matches!(self.role(fields)?, Role::Leaf) {
                return Err(Error::Damaged(format!("{} {next} is no leaf", self.what)));
            }
            self.load_leaf(fields, found)?;
            next = fields.be32(0)?;
            if next == 0 {
                return Ok(());
            }
        }
    }

    fn first_leaf(&self) -> Result<u32, Error> {
        let mut block = 0;
        for _ in 0..=LEVELS_MAX {
            let bytes = self.block(block)?;
            let fields = Fields { bytes: &bytes, what: self.what };
            if matches!(self.role(fields)?, Role::Leaf) {
                return Ok(block);
            }
            let first_entry = if self.volume.superblock().v5 { 64 } else { 16 };
            block = fields.be32(first_entry + 4)?;
        }
        Err(Error::Damaged(format!("{}: the tree is deeper than {LEVELS_MAX} levels", self.what)))
    }

    fn role(&self, fields: Fields<'_>) -> Result<Role, Error> {
        match (self.volume.superblock().v5, fields.be16(8)?) {
            (true, 0x3ebe) | (false, 0xfebe) => Ok(Role::Node),
            (true, 0x3bee) | (false, 0xfbee) => Ok(Role::Leaf),
            (_, magic) => Err(Error::Damaged(format!("{} has the magic number {magic:#x}", self.what))),
        }
    }

    /// Reads a block of the tree.
    fn block(&self, block: u32) -> Result<Vec<u8>, Error> {
        let size = self.volume.superblock().block_bytes;
        self.volume.structure(self.place(u64::from(block) * size)?, size, &BLOCK_SEAL, self.number, self.what)
    }

    /// Returns where the block at an offset of the fork lies.
    fn place(&self, offset: u64) -> Result<u64, Error> {
        let next = self.map.extents.partition_point(|extent| extent.offset + extent.length <= offset);
        let extent = self.map.extents.get(next).filter(|extent| extent.offset <= offset);
        let extent = extent.ok_or_else(|| Error::Damaged(format!("{} at offset {offset} is a hole", self.what)))?;
        Ok(extent.at + (offset - extent.offset))
    }

    fn load_leaf(&self, fields: Fields<'_>, found: &mut Found<'_>) -> Result<(), Error> {
        let (count_at, entries_at) = if self.volume.superblock().v5 { (56, 80) } else { (12, 32) };
        for index in 0..usize::from(fields.be16(count_at)?) {
            let entry = entries_at + index * 8;
            let (at, flags) = (usize::from(fields.be16(entry + 4)?), fields.byte(entry + 6)?);
            if !is_shown(flags) {
                continue;
            }
            if flags & FLAG_LOCAL != 0 {
                let (value_bytes, name_bytes) = (usize::from(fields.be16(at)?), usize::from(fields.byte(at + 2)?));
                let value = fields.slice(at + 3 + name_bytes, value_bytes)?.to_vec();
                found.add(fields.slice(at + 3, name_bytes)?, value, flags)?;
            } else {
                let name_bytes = usize::from(fields.byte(at + 8)?);
                let value = self.load_value(fields.be32(at)?, fields.be32(at + 4)? as usize)?;
                found.add(fields.slice(at + 9, name_bytes)?, value, flags)?;
            }
        }
        Ok(())
    }

    /// Reads a value out of blocks of its own: on version 5 each has a header (`xfs_attr3_rmt_hdr`).
    fn load_value(&self, first: u32, length: usize) -> Result<Vec<u8>, Error> {
        if length > VALUE_MAX_BYTES {
            return Err(Error::Damaged(format!("{}: a value has {length} bytes", self.what)));
        }
        let size = self.volume.superblock().block_bytes;
        let header = if self.volume.superblock().v5 { VALUE_HEADER } else { 0 };
        let mut value = Vec::with_capacity(length);
        let mut block = u64::from(first);
        while value.len() < length {
            let at = self.place(block * size)?;
            let bytes = self.volume.structure(at, size, &VALUE_SEAL, self.number, self.what)?;
            let fields = Fields { bytes: &bytes, what: self.what };
            let count = (length - value.len()).min(size as usize - header);
            if header > 0 {
                let (offset, bytes) = (fields.be32(4)? as usize, fields.be32(8)? as usize);
                if fields.slice(0, 4)? != b"XARM" || (offset, bytes) != (value.len(), count) {
                    return Err(Error::Damaged(format!("{} at byte {at} is another part of a value", self.what)));
                }
            }
            value.extend_from_slice(fields.slice(header, count)?);
            block += 1;
        }
        Ok(value)
    }
}
