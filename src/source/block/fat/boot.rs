//! The boot sector: the shape of the file system.
//!
//! Promises: pure; a [`Shape`] that exists is sound: sizes are powers of two within the format's bounds, and every cluster has an entry
//! in the table. So later arithmetic on them cannot overflow. Whether all of it lies on the device is asked where it is read: the kernel
//! mounts one that does not.
//!
//! Source: `struct fat_boot_sector` of Linux 6.12, and `fat_read_bpb` and `fat_fill_super` in `fs/fat/inode.c`.

use crate::source::block::Error;
use crate::source::block::bytes::Fields;

/// How much is read of it.
pub(super) const LENGTH: u64 = 512;
/// Clusters are numbered from here on.
pub(super) const FIRST_CLUSTER: u32 = 2;
const SLOT_BYTES: u64 = 32;
const DIRTY: u8 = 1;
/// The bits of the 32-bit form that say that one table alone is kept, and which.
const ONE_TABLE: u16 = 0x80;

/// How many bits an entry of the table has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Width {
    Twelve,
    Sixteen,
    ThirtyTwo,
}

/// Where the entries of the top directory are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Root {
    /// Between the tables and the clusters.
    Fixed { at: u64, length: u64 },
    /// In clusters, from this one on.
    Chain(u32),
}

/// What the boot sector says, checked.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    pub(super) width: Width,
    pub(super) cluster_bytes: u64,
    /// Where the first table begins.
    pub(super) table_at: u64,
    /// How long each is.
    pub(super) table_bytes: u64,
    /// Whether a second table is kept beside it, with the same entries.
    pub(super) is_mirrored: bool,
    pub(super) root: Root,
    /// Where the first cluster begins.
    pub(super) data_at: u64,
    /// The first number that no cluster has.
    pub(super) end: u32,
    pub(super) serial: u32,
    /// Whether it was being written to.
    pub(super) is_dirty: bool,
}

/// Tells whether a sector is the first of such a file system. It has no magic number: its fields must make sense together.
pub fn is(sector: &[u8]) -> bool {
    let fields = Fields { bytes: sector, what: "boot sector" };
    let plausible = || {
        let (jump, signature) = (fields.byte(0)?, fields.le16(510)?);
        let (sector_bytes, cluster_sectors) = (fields.le16(11)?, fields.byte(13)?);
        let (reserved, copies, media) = (fields.le16(14)?, fields.byte(16)?, fields.byte(21)?);
        let (short_length, long_length) = (fields.le16(22)?, fields.le32(36)?);
        Ok::<_, Error>(
            (jump == 0xeb || jump == 0xe9)
                && signature == 0xaa55
                && [512, 1024, 2048, 4096].contains(&sector_bytes)
                && cluster_sectors.is_power_of_two()
                && reserved > 0
                && (1..=2).contains(&copies)
                && (media == 0xf0 || media >= 0xf8)
                && (short_length > 0 || long_length > 0),
        )
    };
    plausible().unwrap_or(false)
}

impl Shape {
    /// Reads the shape out of the boot sector, which [`is`] one.
    ///
    /// # Errors
    /// [`Error::Damaged`] where it contradicts itself.
    pub(super) fn parse(sector: &[u8]) -> Result<Self, Error> {
        let fields = Fields { bytes: sector, what: "boot sector" };
        if !is(sector) {
            return Err(damaged("it is none of a FAT file system".to_owned()));
        }
        let sector_bytes = u64::from(fields.le16(11)?);
        let (short_length, copies) = (u64::from(fields.le16(22)?), u64::from(fields.byte(16)?));
        let is_wide = short_length == 0;
        let table_sectors = if is_wide { u64::from(fields.le32(36)?) } else { short_length };
        let root_bytes = u64::from(fields.le16(17)?) * SLOT_BYTES;
        if !root_bytes.is_multiple_of(sector_bytes) {
            return Err(damaged(format!("{} entries in the top directory", root_bytes / SLOT_BYTES)));
        }
        let table_at = u64::from(fields.le16(14)?) * sector_bytes;
        let root_at = table_at + copies * table_sectors * sector_bytes;
        let data_at = root_at + root_bytes;
        let sectors = match fields.le16(19)? {
            0 => u64::from(fields.le32(32)?),
            sectors => u64::from(sectors),
        };
        let cluster_bytes = u64::from(fields.byte(13)?) * sector_bytes;
        let Some(data_bytes) = (sectors * sector_bytes).checked_sub(data_at) else {
            return Err(damaged(format!("{sectors} sectors, and clusters begin at byte {data_at}")));
        };
        let clusters = data_bytes / cluster_bytes;
        let width = match is_wide {
            true => Width::ThirtyTwo,
            // `MAX_FAT12`
            false if clusters > 0xff4 => Width::Sixteen,
            false => Width::Twelve,
        };
        let entries = table_sectors * sector_bytes * 8 / width.bits();
        let clusters = clusters.min(entries.saturating_sub(FIRST_CLUSTER.into()));
        if clusters > width.clusters_max() {
            return Err(damaged(format!("{clusters} clusters, and numbers of {} bits", width.bits())));
        }
        let root =
            if is_wide { Root::Chain(fields.le32(44)?) } else { Root::Fixed { at: root_at, length: root_bytes } };
        let (state_at, serial_at) = if is_wide { (65, 67) } else { (37, 39) };
        Ok(Self {
            width,
            cluster_bytes,
            table_at,
            table_bytes: table_sectors * sector_bytes,
            is_mirrored: copies > 1 && !(is_wide && fields.le16(40)? & ONE_TABLE != 0),
            root,
            data_at,
            end: FIRST_CLUSTER + clusters as u32,
            serial: fields.le32(serial_at)?,
            is_dirty: fields.byte(state_at)? & DIRTY != 0,
        })
    }

    /// Returns where a cluster lies.
    pub(super) fn cluster_at(&self, cluster: u32) -> u64 {
        self.data_at + u64::from(cluster - FIRST_CLUSTER) * self.cluster_bytes
    }

    /// Tells whether there is a cluster of this number.
    pub(super) fn has(&self, cluster: u32) -> bool {
        (FIRST_CLUSTER..self.end).contains(&cluster)
    }

    /// Returns the serial number, as `blkid` writes it; nothing where there is none.
    pub(super) fn serial_text(&self) -> String {
        match self.serial {
            0 => String::new(),
            serial => format!("{:04X}-{:04X}", serial >> 16, serial & 0xffff),
        }
    }
}

impl Width {
    pub(super) fn bits(self) -> u64 {
        match self {
            Self::Twelve => 12,
            Self::Sixteen => 16,
            Self::ThirtyTwo => 32,
        }
    }

    /// `MAX_FAT12`, `MAX_FAT16`, `MAX_FAT32`.
    fn clusters_max(self) -> u64 {
        match self {
            Self::Twelve => 0xff4,
            Self::Sixteen => 0xfff4,
            Self::ThirtyTwo => 0x0fff_fff6,
        }
    }

    /// Returns its name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Twelve => "FAT12",
            Self::Sixteen => "FAT16",
            Self::ThirtyTwo => "FAT32",
        }
    }
}

fn damaged(what: String) -> Error {
    Error::Damaged(format!("boot sector: {what}"))
}
