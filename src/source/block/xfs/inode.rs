//! One inode: its attributes, and its forks.
//!
//! Promises: a record is believed only if it says that it is the inode that was asked for.

use super::super::Error;
use super::super::bytes::Fields;
use super::bmap::{Fork, Format};
use super::volume::{Seal, Volume};
use crate::model::{Kind, Timestamp};

/// Offset of the checksum of an inode.
pub(super) const CRC_AT: usize = 100;
/// Offset of the number of the log record that an inode of version 3 is from.
pub(super) const LSN_AT: usize = 112;
const SEAL: Seal = Seal { crc: CRC_AT, uuid: 160, address: None, owner: Some(152) };
const FLAG2_BIGTIME: u64 = 1 << 3;
const FLAG2_NREXT64: u64 = 1 << 4;
const NANOS: u64 = 1_000_000_000;
/// Big times count from the oldest of the old times: 1901-12-13T20:45:52Z (`XFS_BIGTIME_EPOCH_OFFSET`).
const BIGTIME_EPOCH: i64 = 1 << 31;

/// Returns where the forks begin in an inode of a version of the file system (`XFS_DINODE_SIZE`).
pub(super) fn literal_at(v5: bool) -> usize {
    if v5 { 176 } else { 100 }
}

/// An inode as it lies on the disk.
pub(super) struct Record<'a> {
    pub(super) volume: &'a Volume,
    /// Its number.
    pub(super) number: u64,
    bytes: &'a [u8],
    pub(super) what: String,
    pub(super) mode: u32,
    flags2: u64,
}

impl<'a> Record<'a> {
    /// Takes the bytes of inode `number`.
    pub(super) fn new(volume: &'a Volume, number: u64, bytes: &'a [u8], replayed: bool) -> Result<Self, Error> {
        let what = format!("inode {number}");
        let fields = Fields { bytes, what: &what };
        let v5 = volume.superblock().v5;
        let version = fields.byte(4)?;
        if fields.slice(0, 2)? != b"IN" || (version == 3) != v5 || !(1..=3).contains(&version) {
            return Err(Error::Damaged(format!("{what} has another magic number or version")));
        }
        if v5 {
            volume.check_bytes(bytes, replayed, volume.superblock().inode_at(number)?, &SEAL, number, &what)?;
        }
        let mode = u32::from(fields.be16(2)?);
        let flags2 = if v5 { fields.be64(120)? } else { 0 };
        Ok(Self { volume, number, bytes, what, mode, flags2 })
    }

    pub(super) fn fields(&self) -> Fields<'_> {
        Fields { bytes: self.bytes, what: &self.what }
    }

    /// Returns its type.
    pub(super) fn kind(&self) -> Result<Kind, Error> {
        let unknown = || Error::Damaged(format!("{} has the mode {:#o}", self.what, self.mode));
        Kind::from_mode(self.mode).ok_or_else(unknown)
    }

    /// Returns its length.
    pub(super) fn size_bytes(&self) -> Result<u64, Error> {
        let size = self.fields().be64(56)?;
        if size > i64::MAX as u64 {
            return Err(Error::Damaged(format!("{} has a negative size", self.what)));
        }
        Ok(size)
    }

    /// Returns where the bytes of its data fork lie on the volume, those inside the inode too.
    pub(super) fn data_fork_at(&self) -> Result<u64, Error> {
        let superblock = self.volume.superblock();
        Ok(superblock.inode_at(self.number)? + literal_at(superblock.v5) as u64)
    }

    /// Returns its data fork.
    pub(super) fn data_fork(&self) -> Result<Fork<'_>, Error> {
        let fields = self.fields();
        let (literal, size) = (self.literal()?, self.attribute_fork_offset()?);
        let room = if size == 0 { literal.len() } else { size };
        let extents = if self.flags2 & FLAG2_NREXT64 != 0 { fields.be64(24)? } else { u64::from(fields.be32(76)?) };
        self.fork(literal.get(..room), fields.byte(5)?, extents)
    }

    /// Returns the fork of its extended attributes, if it has one.
    pub(super) fn attribute_fork(&self) -> Result<Option<Fork<'_>>, Error> {
        let fields = self.fields();
        let (literal, from) = (self.literal()?, self.attribute_fork_offset()?);
        if from == 0 {
            return Ok(None);
        }
        let extents =
            if self.flags2 & FLAG2_NREXT64 != 0 { u64::from(fields.be32(76)?) } else { u64::from(fields.be16(80)?) };
        self.fork(literal.get(from..), fields.byte(83)?, extents).map(Some)
    }

    fn literal(&self) -> Result<&[u8], Error> {
        let from = literal_at(self.volume.superblock().v5);
        self.fields().slice(from, self.bytes.len().saturating_sub(from))
    }

    fn attribute_fork_offset(&self) -> Result<usize, Error> {
        Ok(usize::from(self.fields().byte(82)?) * 8)
    }

    fn fork<'b>(&'b self, bytes: Option<&'b [u8]>, format: u8, extents: u64) -> Result<Fork<'b>, Error> {
        let format = match format {
            0 => Some(Format::Device),
            1 => Some(Format::Local),
            2 => Some(Format::Extents),
            3 => Some(Format::Btree),
            _ => None,
        };
        match (bytes, format) {
            (Some(bytes), Some(format)) => Ok(Fork { fields: Fields { bytes, what: &self.what }, format, extents }),
            _ => Err(Error::Damaged(format!("{} has a fork outside of itself or of an unknown form", self.what))),
        }
    }

    /// Returns the volume that it lies on.
    pub(super) fn volume(&self) -> &'a Volume {
        self.volume
    }

    /// Returns its name for messages.
    pub(super) fn what(&self) -> &str {
        &self.what
    }

    pub(super) fn time(&self, at: usize) -> Result<Timestamp, Error> {
        let raw = self.fields().be64(at)?;
        Ok(if self.flags2 & FLAG2_BIGTIME != 0 { big_time(raw) } else { old_time(raw) })
    }

    /// Returns the device number as `stat(2)` gives it; XFS keeps that of System V: 14 bits major, 18 bits minor.
    pub(super) fn device(&self, kind: Kind) -> Result<u64, Error> {
        if !matches!(kind, Kind::CharDevice | Kind::BlockDevice) {
            return Ok(0);
        }
        let raw = self.data_fork()?.fields.be32(0)?;
        Ok(device_number(u64::from(raw >> 18), u64::from(raw & 0x3_ffff)))
    }
}

/// Returns a time of version 5 with `bigtime`: nanoseconds since 1901.
pub(super) fn big_time(raw: u64) -> Timestamp {
    Timestamp { seconds: (raw / NANOS) as i64 - BIGTIME_EPOCH, nanos: (raw % NANOS) as u32 }
}

/// Returns a time of two 32-bit halves: seconds, signed, and nanoseconds.
pub(super) fn old_time(raw: u64) -> Timestamp {
    let nanos = raw as u32;
    Timestamp { seconds: i64::from((raw >> 32) as i32), nanos: nanos.min(NANOS as u32 - 1) }
}

/// Returns the number of a device in the form of `makedev(3)`.
pub(super) fn device_number(major: u64, minor: u64) -> u64 {
    (major & 0xfff) << 8 | (major & !0xfff) << 32 | minor & 0xff | (minor & !0xff) << 12
}
