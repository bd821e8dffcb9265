//! Inode records: their checksum, their attributes, and what they say of content.
//!
//! Source: `struct ext4_inode` and `__ext4_iget` in `fs/ext4/inode.c` of Linux 6.12.

use super::checksum::crc32c;
use super::disk::Disk;
use super::map;
use super::superblock::Superblock;
use super::xattr::{self, Cache};
use crate::model::{Attrs, FileMap, Kind, Timestamp, XattrSet, chain};
use crate::source::block::bytes::Fields;
use crate::source::block::{Content, Error, Inode};

/// The length of a record before extra fields were invented.
const OLD_BYTES: usize = 128;
/// Where the map, the inline data or the target of a symbolic link begins.
const MAP_AT: usize = 0x28;
/// How long that is.
pub(super) const MAP_BYTES: usize = 60;
const CHECKSUM_LOW_AT: usize = 0x7C;
const CHECKSUM_HIGH_AT: usize = 0x82;

const ENCRYPTED: u32 = 0x800;
const HUGE_FILE: u32 = 0x4_0000;
const EXTENTS: u32 = 0x8_0000;
const EA_INODE: u32 = 0x20_0000;
const INLINE_DATA: u32 = 0x1000_0000;

/// The longest content that comes as bytes.
const BYTES_MAX: u64 = 64 << 20;

/// An inode as it lies in its table, with the checksum verified.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) number: u32,
    pub(super) mode: u32,
    pub(super) links: u16,
    pub(super) size_bytes: u64,
    pub(super) generation: u32,
    /// Where checksums of its extent tree and its directory blocks start from.
    pub(super) seed: u32,
    flags: u32,
    /// Whether its content lies in it.
    pub(super) has_inline_data: bool,
    /// How many bytes of fields there are past the first 128.
    extra: usize,
    bytes: Vec<u8>,
}

impl Record {
    /// Reads the record of inode `number`.
    ///
    /// # Errors
    /// [`Error::Damaged`] if its checksum does not hold or its own fields do not fit into it.
    pub(super) fn parse(sb: &Superblock, number: u32, bytes: &[u8]) -> Result<Self, Error> {
        let fields = Fields { bytes, what: "inode" };
        let generation = fields.le32(0x64)?;
        let seed = crc32c(crc32c(sb.seed, &number.to_le_bytes()), &generation.to_le_bytes());
        let extra = if bytes.len() > OLD_BYTES { usize::from(fields.le16(0x80)?) } else { 0 };
        if extra % 4 != 0 || OLD_BYTES + extra > bytes.len() {
            return Err(damaged(number, format_args!("{extra} bytes of extra fields in {} bytes", bytes.len())));
        }
        if sb.features.metadata_csum() && sb.by_linux && !has_sound_checksum(fields, seed, extra)? {
            return Err(damaged(number, format_args!("its checksum does not hold")));
        }
        let mode = u32::from(fields.le16(0)?);
        let is_file = Kind::from_mode(mode) == Some(Kind::File);
        let high = if is_file || sb.features.large_dir() { u64::from(fields.le32(0x6C)?) } else { 0 };
        let mut record = Self {
            number,
            mode,
            links: fields.le16(0x1A)?,
            size_bytes: high << 32 | u64::from(fields.le32(0x4)?),
            generation,
            seed,
            flags: fields.le32(0x20)?,
            has_inline_data: false,
            extra,
            bytes: bytes.to_vec(),
        };
        // Without the attribute that goes with it, the flag means nothing to the kernel (`ext4_has_inline_data`), and `mke2fs -d`
        // makes such files of what is all zeros.
        record.has_inline_data = record.flags & INLINE_DATA != 0 && xattr::inline_rest(&record)?.is_some();
        Ok(record)
    }

    /// Tells whether a name may point to it: it is neither free nor waiting for its last user to close it.
    pub(super) fn is_in_use(&self) -> bool {
        self.links > 0 && self.mode != 0
    }

    pub(super) fn is_encrypted(&self) -> bool {
        self.flags & ENCRYPTED != 0
    }

    pub(super) fn has_extents(&self) -> bool {
        self.flags & EXTENTS != 0
    }

    /// Tells whether it holds the value of an extended attribute.
    pub(super) fn is_xattr_value(&self) -> bool {
        self.flags & EA_INODE != 0
    }

    /// Returns the 60 bytes that hold the map, inline data or a short target.
    pub(super) fn map_bytes(&self) -> Result<&[u8], Error> {
        self.fields().slice(MAP_AT, MAP_BYTES)
    }

    /// Returns what lies behind the fields: the extended attributes inside the inode.
    pub(super) fn tail(&self) -> &[u8] {
        if self.bytes.len() > OLD_BYTES { self.bytes.get(OLD_BYTES + self.extra..).unwrap_or_default() } else { &[] }
    }

    /// Returns the checksum that the inode of a value of an extended attribute keeps in place of its access time.
    pub(super) fn value_hash(&self) -> Result<u32, Error> {
        self.fields().le32(0x8)
    }

    /// Returns the block of its extended attributes, 0 if it has none.
    pub(super) fn xattr_block(&self, sb: &Superblock) -> Result<u64, Error> {
        let high = if sb.features.bit64() { u64::from(self.fields().le16(0x76)?) } else { 0 };
        Ok(high << 32 | u64::from(self.fields().le32(0x68)?))
    }

    fn fields(&self) -> Fields<'_> {
        Fields { bytes: &self.bytes, what: "inode" }
    }

    /// Returns the time whose low 32 bits are at `at`, and whose nanoseconds and bits 32 and 33 are at `extra_at`.
    ///
    /// Each inode has the latter only if its own `i_extra_isize` says so. The low bits are signed: 1901 to 2446.
    fn time(&self, at: usize, extra_at: usize) -> Result<Timestamp, Error> {
        let low = i64::from(self.fields().le32(at)? as i32);
        if self.bytes.len() == OLD_BYTES || extra_at + 4 > OLD_BYTES + self.extra {
            return Ok(Timestamp { seconds: low, nanos: 0 });
        }
        let extra = self.fields().le32(extra_at)?;
        // 30 bits can say more than a second has. No kernel writes that; a time is no reason to lose the file.
        Ok(Timestamp { seconds: low + (i64::from(extra & 3) << 32), nanos: (extra >> 2).min(999_999_999) })
    }

    /// Returns how many bytes are allocated to it.
    fn allocated_bytes(&self, sb: &Superblock) -> Result<u64, Error> {
        let low = u64::from(self.fields().le32(0x1C)?);
        if !sb.features.huge_file() {
            return Ok(low * 512);
        }
        let blocks = u64::from(self.fields().le16(0x74)?) << 32 | low;
        Ok(blocks * if self.flags & HUGE_FILE != 0 { sb.block_bytes } else { 512 })
    }

    /// Returns `st_rdev` of a device: 16 bits in the first word of the map, or 32 in the second.
    fn device_number(&self) -> Result<u64, Error> {
        let (old, new) = (u64::from(self.fields().le32(MAP_AT)?), u64::from(self.fields().le32(MAP_AT + 4)?));
        let (major, minor) = match old {
            0 => ((new & 0xF_FF00) >> 8, new & 0xFF | new >> 12 & 0xF_FF00),
            _ => (old >> 8 & 0xFF, old & 0xFF),
        };
        // `gnu_dev_makedev` of glibc; majors have 12 bits here.
        Ok(major << 8 | (minor & !0xFF) << 12 | minor & 0xFF)
    }

    /// Tells whether the target of a symbolic link lies in the map (`ext4_inode_is_fast_symlink`).
    fn has_short_target(&self, sb: &Superblock) -> Result<bool, Error> {
        if self.has_inline_data {
            return Ok(false);
        }
        if sb.features.ea_inode() {
            return Ok(self.size_bytes < MAP_BYTES as u64);
        }
        let for_xattrs = if self.xattr_block(sb)? != 0 { sb.cluster_bytes } else { 0 };
        Ok(self.allocated_bytes(sb)? == for_xattrs)
    }
}

/// Verifies the checksum over a whole record (`ext4_inode_csum`); its two halves count as zeros.
fn has_sound_checksum(fields: Fields<'_>, seed: u32, extra: usize) -> Result<bool, Error> {
    let bytes = fields.bytes;
    let low = u32::from(fields.le16(CHECKSUM_LOW_AT)?);
    let mut sum = crc32c(crc32c(seed, fields.slice(0, CHECKSUM_LOW_AT)?), &[0, 0]);
    sum = crc32c(sum, fields.slice(CHECKSUM_LOW_AT + 2, OLD_BYTES - CHECKSUM_LOW_AT - 2)?);
    let has_high = bytes.len() > OLD_BYTES && extra >= 4;
    if !has_high {
        sum = crc32c(sum, bytes.get(OLD_BYTES..).unwrap_or_default());
        return Ok(sum & 0xFFFF == low);
    }
    sum = crc32c(sum, fields.slice(OLD_BYTES, CHECKSUM_HIGH_AT - OLD_BYTES)?);
    sum = crc32c(crc32c(sum, &[0, 0]), bytes.get(CHECKSUM_HIGH_AT + 2..).unwrap_or_default());
    Ok(sum == (u32::from(fields.le16(CHECKSUM_HIGH_AT)?) << 16 | low))
}

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

/// Returns the two places of inline data: where the map would be, and a hidden extended attribute.
pub(super) fn inline_parts(record: &Record) -> Result<(&[u8], &[u8]), Error> {
    match xattr::inline_rest(record)? {
        Some(rest) if record.has_inline_data => Ok((record.map_bytes()?, rest)),
        _ => Err(damaged(record.number, format_args!("it has no inline data"))),
    }
}

/// Returns the error that `what` is wrong with inode `number`.
pub(super) fn damaged(number: u32, what: std::fmt::Arguments<'_>) -> Error {
    Error::Damaged(format!("inode {number}: {what}"))
}
