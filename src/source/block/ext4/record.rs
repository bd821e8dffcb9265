//! The record of an inode, as it stands in its table.
//!
//! Promises: pure; a record whose checksum does not hold is refused.

use super::checksum::crc32c;
use super::entries::{SYSTEM, Value, entries, inside};
use super::superblock::Superblock;
use crate::model::{Kind, Timestamp, chain};
use crate::source::block::Error;
use crate::source::block::bytes::Fields;

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
        record.has_inline_data = record.flags & INLINE_DATA != 0 && inline_rest(&record)?.is_some();
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

    pub(super) fn fields(&self) -> Fields<'_> {
        Fields { bytes: &self.bytes, what: "inode" }
    }

    /// Returns the time whose low 32 bits are at `at`, and whose nanoseconds and bits 32 and 33 are at `extra_at`.
    ///
    /// Each inode has the latter only if its own `i_extra_isize` says so. The low bits are signed: 1901 to 2446.
    pub(super) fn time(&self, at: usize, extra_at: usize) -> Result<Timestamp, Error> {
        let low = i64::from(self.fields().le32(at)? as i32);
        if self.bytes.len() == OLD_BYTES || extra_at + 4 > OLD_BYTES + self.extra {
            return Ok(Timestamp { seconds: low, nanos: 0 });
        }
        let extra = self.fields().le32(extra_at)?;
        // 30 bits can say more than a second has. No kernel writes that; a time is no reason to lose the file.
        Ok(Timestamp { seconds: low + (i64::from(extra & 3) << 32), nanos: (extra >> 2).min(999_999_999) })
    }

    /// Returns how many bytes are allocated to it.
    pub(super) fn allocated_bytes(&self, sb: &Superblock) -> Result<u64, Error> {
        let low = u64::from(self.fields().le32(0x1C)?);
        if !sb.features.huge_file() {
            return Ok(low * 512);
        }
        let blocks = u64::from(self.fields().le16(0x74)?) << 32 | low;
        Ok(blocks * if self.flags & HUGE_FILE != 0 { sb.block_bytes } else { 512 })
    }

    /// Returns `st_rdev` of a device: 16 bits in the first word of the map, or 32 in the second.
    pub(super) fn device_number(&self) -> Result<u64, Error> {
        let (old, new) = (u64::from(self.fields().le32(MAP_AT)?), u64::from(self.fields().le32(MAP_AT + 4)?));
        let (major, minor) = match old {
            0 => ((new & 0xF_FF00) >> 8, new & 0xFF | new >> 12 & 0xF_FF00),
            _ => (old >> 8 & 0xFF, old & 0xFF),
        };
        // `gnu_dev_makedev` of glibc; majors have 12 bits here.
        Ok(major << 8 | (minor & !0xFF) << 12 | minor & 0xFF)
    }

    /// Tells whether the target of a symbolic link lies in the map (`ext4_inode_is_fast_symlink`).
    pub(super) fn has_short_target(&self, sb: &Superblock) -> Result<bool, Error> {
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

/// Returns the two places of inline data: where the map would be, and a hidden extended attribute.
pub(super) fn inline_parts(record: &Record) -> Result<(&[u8], &[u8]), Error> {
    match inline_rest(record)? {
        Some(rest) if record.has_inline_data => Ok((record.map_bytes()?, rest)),
        _ => Err(damaged(record.number, format_args!("it has no inline data"))),
    }
}

/// Returns the error that `what` is wrong with inode `number`.
pub(super) fn damaged(number: u32, what: std::fmt::Arguments<'_>) -> Error {
    Error::Damaged(format!("inode {number}: {what}"))
}

/// Returns what of inline data does not fit where the map would be, or none if there is no inline data.
pub(super) fn inline_rest(record: &Record) -> Result<Option<&[u8]>, Error> {
    let Some(bytes) = inside(record.tail()) else { return Ok(None) };
    let entries = entries(Fields { bytes, what: "extended attributes" }, 0).map_err(|error| about(record, &error))?;
    let rest = entries.into_iter().find(|entry| entry.index == SYSTEM && entry.name == b"data");
    match rest.map(|entry| entry.value) {
        Some(Value::Here(bytes)) => Ok(Some(bytes)),
        Some(Value::Inode { .. }) => Err(damaged(record.number, format_args!("its inline data is in another inode"))),
        None => Ok(None),
    }
}

pub(super) fn about(record: &Record, error: &Error) -> Error {
    damaged(record.number, format_args!("{}", chain(error)))
}
