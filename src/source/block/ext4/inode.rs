//! Inode records: their checksum, their attributes, and what they say of content.
//!
//! Source: `struct ext4_inode` and `__ext4_iget` in `fs/ext4/inode.c` of Linux 6.12.

use super::disk::Disk;
use super::map;
use super::record::{Record, damaged, inline_parts};
use super::xattr::{self, Cache};
use crate::model::{Attrs, FileMap, Kind, XattrSet, chain};
use crate::source::block::{Content, Error, Inode};

/// The longest content that comes as bytes.
const BYTES_MAX: u64 = 64 << 20;

/// Returns what `record` says, with its extended attributes and the map of its content.
///
/// # Errors
/// If it has no type or an impossible size; what else is wrong is told in the [`Inode`].
pub(super) fn tell(disk: &Disk, cache: &Cache, record: &Record) -> Result<Inode, Error> {
    let Some(kind) = Kind::from_mode(record.mode) else {
        return Err(damaged(record.number, format_args!("mode {:#o} is of no type", record.mode)));
    };
    if record.size_bytes.div_ceil(disk.superblock.block_bytes) > 1 << 32 {
        return Err(damaged(record.number, format_args!("a size of {} bytes", record.size_bytes)));
    }
    let mut trouble = Vec::new();
    let xattrs = xattr::read(disk, cache, record).unwrap_or_else(|error| {
        trouble.push(chain(&error));
        Vec::new()
    });
    let target = match kind {
        Kind::Symlink => target(disk, record).unwrap_or_else(|error| {
            trouble.push(chain(&error));
            Vec::new()
        }),
        _ => Vec::new(),
    };
    let mut content = content(disk, record, kind);
    if let Content::Mapped(map) = &mut content {
        // Within one tick of its clock the guest can set an attribute again, and the record stays as it was.
        let (block, bytes) = (record.xattr_block(&disk.superblock)?, disk.superblock.block_bytes);
        map.rests_on.extend((block != 0).then_some((block * bytes, bytes)));
    }
    Ok(Inode {
        number: record.number.into(),
        generation: record.generation,
        attrs: attrs(disk, record, kind, XattrSet::new(xattrs), target)?,
        content,
        unreadable: (!trouble.is_empty()).then(|| trouble.join("; ")),
    })
}

fn attrs(disk: &Disk, record: &Record, kind: Kind, xattrs: XattrSet, target: Vec<u8>) -> Result<Attrs, Error> {
    let fields = record.fields();
    let has_size = matches!(kind, Kind::File | Kind::Directory | Kind::Symlink);
    let allocated = record.allocated_bytes(&disk.superblock)?;
    // Inline data takes no blocks; the kernel reports some for it, so that it is not taken for a hole (`ext4_getattr`).
    let may_have_holes = kind == Kind::File && !record.has_inline_data;
    let is_device = matches!(kind, Kind::CharDevice | Kind::BlockDevice);
    Ok(Attrs {
        mode: record.mode,
        uid: u32::from(fields.le16(0x78)?) << 16 | u32::from(fields.le16(0x2)?),
        gid: u32::from(fields.le16(0x7A)?) << 16 | u32::from(fields.le16(0x18)?),
        size_bytes: if has_size { record.size_bytes } else { 0 },
        allocated_bytes: (may_have_holes && allocated < record.size_bytes).then_some(allocated),
        mtime: record.time(0x10, 0x88)?,
        ctime: record.time(0xC, 0x84)?,
        nlink: record.links.into(),
        rdev: if is_device { record.device_number()? } else { 0 },
        xattrs,
        target,
    })
}

fn target(disk: &Disk, record: &Record) -> Result<Vec<u8>, Error> {
    if record.is_encrypted() {
        return Err(Error::Unsupported("its target is encrypted".to_owned()));
    }
    let length = record.size_bytes;
    let target = if record.has_inline_data {
        inline_data(record)?
    } else if record.has_short_target(&disk.superblock)? {
        record.map_bytes()?.to_vec()
    } else if length < disk.superblock.block_bytes {
        map::read_start(disk, &map::of(disk, record)?, length)?
    } else {
        Vec::new()
    };
    // A target ends before its block does, with a zero byte that the size does not count.
    target
        .get(..length as usize)
        .filter(|target| !target.is_empty() && !target.contains(&0))
        .map(<[u8]>::to_vec)
        .ok_or_else(|| damaged(record.number, format_args!("a symbolic link with a target of {length} bytes")))
}

fn content(disk: &Disk, record: &Record, kind: Kind) -> Content {
    let content = match kind {
        Kind::File if record.is_encrypted() => return Content::Unreadable("it is encrypted".to_owned()),
        Kind::File if record.has_inline_data => inline_data(record).map(Content::Bytes),
        Kind::Directory if record.has_inline_data => Ok(Content::None),
        Kind::File => map::of(disk, record).and_then(|map| with_logged(disk, record, map)),
        Kind::Directory => map::of(disk, record).map(Content::Mapped),
        _ => Ok(Content::None),
    };
    content.unwrap_or_else(|error| Content::Unreadable(chain(&error)))
}

/// Returns the content of a file with data in the log as bytes: what lies in its place on the volume is older.
fn with_logged(disk: &Disk, record: &Record, map: FileMap) -> Result<Content, Error> {
    let in_log = map.extents.iter().any(|e| !e.unwritten && disk.is_logged(e.at, e.length));
    if !in_log {
        return Ok(Content::Mapped(map));
    }
    if record.size_bytes > BYTES_MAX {
        return Ok(Content::Unreadable(format!(
            "parts of its {} bytes are in the journal only, and files up to {BYTES_MAX} bytes are taken from there",
            record.size_bytes
        )));
    }
    map::read_start(disk, &map, record.size_bytes).map(Content::Bytes)
}

/// Returns the content that lies in the inode. What its size counts beyond that is zeros, as for the kernel
/// (`ext4_readpage_inline`): `mke2fs -d` leaves files of zeros so.
fn inline_data(record: &Record) -> Result<Vec<u8>, Error> {
    if record.size_bytes > BYTES_MAX {
        return Err(damaged(record.number, format_args!("{} bytes of inline data", record.size_bytes)));
    }
    let (first, rest) = inline_parts(record)?;
    let mut bytes = [first, rest].concat();
    bytes.resize(record.size_bytes as usize, 0);
    Ok(bytes)
}
