//! Extended attributes: inside the inode, in a block that inodes may share, and values in inodes of their own.
//!
//! Promises: names and values come as `getxattr(2)` gives them to root. What the kernel does not list (the encryption
//! context, inline data) is not told. ACLs come in the form of user space, not in that of the disk.
//!
//! Source: `fs/ext4/xattr.h`, `fs/ext4/xattr.c` and `fs/ext4/acl.c` of Linux 6.12.

use super::checksum::crc32c;
use super::disk::Disk;
use super::entries::{Entry, MAGIC, Value, entries, inside};
use super::map;
use super::record::{Record, about, damaged};
use crate::source::block::Error;
use crate::source::block::bytes::Fields;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

const BLOCK_HEADER_BYTES: usize = 32;
const CHECKSUM_AT: usize = 16;
/// The most that all attributes of one inode may take.
const VALUES_MAX: usize = 16 << 20;
/// How many shared blocks are remembered.
const CACHED_BLOCKS_MAX: usize = 1024;

const ACL_USER: u16 = 2;
const ACL_GROUP: u16 = 8;

/// Name and value.
type Pair = (Vec<u8>, Vec<u8>);

/// What the blocks hold that were read last, by their number: thousands of inodes may share one.
#[derive(Default)]
pub(super) struct Cache(Mutex<HashMap<u64, Arc<Vec<Pair>>>>);

/// Returns the extended attributes of an inode, in no order.
///
/// # Errors
/// If one of them is damaged; then none is told.
pub(super) fn read(disk: &Disk, cache: &Cache, record: &Record) -> Result<Vec<Pair>, Error> {
    let mut pairs = Vec::new();
    if let Some(bytes) = inside(record.tail()) {
        let entries =
            entries(Fields { bytes, what: "extended attributes" }, 0).map_err(|error| about(record, &error))?;
        for entry in entries {
            tell(disk, &entry, &mut pairs).map_err(|error| about(record, &error))?;
        }
    }
    let block = record.xattr_block(&disk.superblock)?;
    if block != 0 {
        let shared = block_pairs(disk, cache, block).map_err(|error| about(record, &error))?;
        pairs.extend(shared.iter().cloned());
    }
    Ok(pairs)
}

fn block_pairs(disk: &Disk, cache: &Cache, number: u64) -> Result<Arc<Vec<Pair>>, Error> {
    if let Some(known) = cache.0.lock().unwrap_or_else(PoisonError::into_inner).get(&number) {
        return Ok(Arc::clone(known));
    }
    let bytes = disk.block(number, "the inode")?;
    let fields = Fields { bytes: &bytes, what: "extended attributes" };
    check_block(disk, fields, number)?;
    let mut pairs = Vec::new();
    for entry in entries(fields, BLOCK_HEADER_BYTES)? {
        tell(disk, &entry, &mut pairs)?;
    }
    let pairs = Arc::new(pairs);
    let mut known = cache.0.lock().unwrap_or_else(PoisonError::into_inner);
    if known.len() == CACHED_BLOCKS_MAX {
        known.clear();
    }
    known.insert(number, Arc::clone(&pairs));
    Ok(pairs)
}

fn check_block(disk: &Disk, fields: Fields<'_>, number: u64) -> Result<(), Error> {
    let (magic, blocks) = (fields.le32(0)?, fields.le32(8)?);
    if magic != MAGIC || blocks != 1 {
        return Err(Error::Damaged(format!("block {number} is not one of extended attributes: magic {magic:#x}")));
    }
    if !disk.superblock.features.metadata_csum() {
        return Ok(());
    }
    let start = crc32c(crc32c(disk.superblock.seed, &number.to_le_bytes()), fields.slice(0, CHECKSUM_AT)?);
    let rest = fields.bytes.get(CHECKSUM_AT + 4..).unwrap_or_default();
    if crc32c(crc32c(start, &[0; 4]), rest) != fields.le32(CHECKSUM_AT)? {
        return Err(Error::Damaged(format!("the checksum of extended attribute block {number} does not hold")));
    }
    Ok(())
}

/// Appends an attribute as the kernel would tell it, if it would.
fn tell(disk: &Disk, entry: &Entry<'_>, pairs: &mut Vec<Pair>) -> Result<(), Error> {
    let Some((prefix, is_acl)) = prefix(entry.index) else { return Ok(()) };
    let value = match entry.value {
        Value::Here(bytes) => bytes.to_vec(),
        Value::Inode { number, length } => inode_value(disk, number, length)?,
    };
    let value = if is_acl { acl(&value)? } else { value };
    let taken: usize = pairs.iter().map(|(name, value)| name.len() + value.len()).sum();
    if taken + value.len() > VALUES_MAX {
        return Err(Error::Unsupported(format!("extended attributes of more than {VALUES_MAX} bytes")));
    }
    pairs.push(([prefix.as_bytes(), entry.name].concat(), value));
    Ok(())
}

/// Returns what goes before the stored name, and whether the value is an ACL. Encryption contexts (9), the rest of
/// `system.` (7) and numbers that mean nothing are hidden, as by the kernel.
fn prefix(index: u8) -> Option<(&'static str, bool)> {
    match index {
        1 => Some(("user.", false)),
        2 => Some(("system.posix_acl_access", true)),
        3 => Some(("system.posix_acl_default", true)),
        4 => Some(("trusted.", false)),
        6 => Some(("security.", false)),
        // No mainline kernel lists it, yet it is the access list of kernels that were patched for it (and of Lustre).
        8 => Some(("system.richacl", false)),
        10 => Some(("gnu.", false)),
        _ => None,
    }
}

/// Reads a value that lies in an inode of its own, and verifies the hash that the inode keeps of it.
fn inode_value(disk: &Disk, number: u32, length: u32) -> Result<Vec<u8>, Error> {
    let record = disk.record(number)?;
    if !record.is_xattr_value() || record.size_bytes != u64::from(length) {
        return Err(damaged(number, format_args!("it is not the value of {length} bytes that an attribute has")));
    }
    let value = map::read_start(disk, &map::of(disk, &record)?, length.into())?;
    if crc32c(disk.superblock.seed, &value) != record.value_hash()? {
        return Err(damaged(number, format_args!("the hash of the attribute's value in it does not hold")));
    }
    Ok(value)
}

/// Turns an ACL of the disk (version 1; ids only where the tag has one) into that of user space (version 2, always with id).
fn acl(stored: &[u8]) -> Result<Vec<u8>, Error> {
    let fields = Fields { bytes: stored, what: "ACL" };
    let version = fields.le32(0)?;
    if version != 1 {
        return Err(Error::Damaged(format!("an ACL of version {version}, and 1 is expected")));
    }
    let mut told = 2u32.to_le_bytes().to_vec();
    let mut at = 4;
    while at < stored.len() {
        told.extend_from_slice(fields.slice(at, 4)?);
        let has_id = matches!(fields.le16(at)?, ACL_USER | ACL_GROUP);
        told.extend_from_slice(if has_id { fields.slice(at + 4, 4)? } else { &[0xFF; 4] });
        at += if has_id { 8 } else { 4 };
    }
    Ok(told)
}
