//! The superblock: sizes, features, and how numbers of blocks and inodes become places on the volume.
//!
//! Promises: a superblock that is given out has sizes that fit together and fit on the device.

use super::super::bytes::{self, Fields};
use super::super::{Device, Error};
use super::checksum::crc_holds;
use crate::model::escape_bytes;
use std::ops::RangeInclusive;

/// `XFS_SB_MAGIC`.
pub(super) const MAGIC: &[u8] = b"XFSB";

const INCOMPAT: [(u32, &str, bool); 11] = [
    (1 << 0, "ftype", true),
    (1 << 1, "sparse", true),
    (1 << 2, "metauuid", true),
    (1 << 3, "bigtime", true),
    (1 << 4, "needsrepair", false),
    (1 << 5, "nrext64", true),
    (1 << 6, "exchange", true),
    (1 << 7, "parent", true),
    (1 << 8, "metadir", false),
    (1 << 9, "zoned", false),
    (1 << 10, "zone_gaps", false),
];
/// Of these nothing changes what a reader sees (`XFS_SB_FEAT_RO_COMPAT_*`), the unknown ones included.
const RO_COMPAT: [(u32, &str); 4] =
    [(1 << 0, "finobt"), (1 << 1, "rmapbt"), (1 << 2, "reflink"), (1 << 3, "inobtcount")];
const LOG_INCOMPAT_XATTRS: u32 = 1 << 0;
const VERSION_LOG2: u16 = 0x0400;
const VERSION_DIR2: u16 = 0x2000;
const VERSION_MORE: u16 = 0x8000;
const FEATURES2: [(u32, &str); 4] = [(0x02, "lazy-count"), (0x08, "attr2"), (0x80, "projid32bit"), (0x200, "ftype")];
const FEATURE2_FTYPE: u32 = 0x200;
const INCOMPAT_FTYPE: u32 = 1 << 0;
const INCOMPAT_SPARSE: u32 = 1 << 1;
const INCOMPAT_META_UUID: u32 = 1 << 2;
const CRC_AT: usize = 224;
const LOG_START_AT: usize = 48;
/// A log has room for a record of 32 KiB and its header at least.
const LOG_MIN_BYTES: u64 = 64 << 10;

/// What the superblock says.
#[derive(Clone, Debug)]
pub(super) struct Superblock {
    /// Version 5: everything carries a checksum, a UUID, its address and its owner.
    pub(super) v5: bool,
    pub(super) block_bytes: u64,
    pub(super) sector_bytes: u64,
    pub(super) inode_bytes: u64,
    pub(super) directory_block_bytes: u64,
    /// Allocation groups.
    pub(super) groups: u32,
    pub(super) group_blocks: u64,
    pub(super) blocks: u64,
    pub(super) root: u64,
    pub(super) uuid: [u8; 16],
    /// The UUID that structures carry.
    pub(super) meta_uuid: [u8; 16],
    pub(super) label: String,
    /// Directory entries carry a type.
    pub(super) ftype: bool,
    pub(super) sparse: bool,
    pub(super) log_v2: bool,
    /// Where the log lies.
    pub(super) log_at: u64,
    pub(super) log_blocks: u64,
    /// Bitmap, summary and quota inodes.
    own: [u64; 5],
    group_block_bits: u32,
    inodes_per_block_bits: u32,
    features2: u32,
    ro_compat: u32,
    incompat: u32,
}

impl Superblock {
    /// Reads the superblock as it lies on the device.
    pub(super) fn load(device: &dyn Device) -> Result<Self, Error> {
        let start = bytes::read(device, 0, 512)?;
        let sector = Fields { bytes: &start, what: "superblock" }.be16(102)?;
        if !sector.is_power_of_two() || !(512..=32768).contains(&sector) {
            return Err(damaged(&format!("a sector has {sector} bytes")));
        }
        let bytes = bytes::read(device, 0, u64::from(sector))?;
        Self::parse(&bytes, false, device.size_bytes())
    }

    /// Takes a superblock apart; the checksum of one that was `replayed` means nothing.
    pub(super) fn parse(bytes: &[u8], replayed: bool, device_bytes: u64) -> Result<Self, Error> {
        let fields = Fields { bytes, what: "superblock" };
        if fields.slice(0, 4)? != MAGIC {
            return Err(damaged("it has another magic number"));
        }
        let version = fields.be16(100)?;
        let v5 = version & 0xf == 5;
        if v5 && !replayed && !crc_holds(bytes, CRC_AT) {
            return Err(damaged("its checksum does not hold"));
        }
        let mut superblock = Self::from_fields(fields, version, v5)?;
        superblock.check_features(fields, version)?;
        superblock.check_sizes(fields, device_bytes)?;
        superblock.log_at = superblock.find_log(fields.be64(LOG_START_AT)?)?;
        Ok(superblock)
    }

    fn from_fields(fields: Fields<'_>, version: u16, v5: bool) -> Result<Self, Error> {
        let features2 = if v5 || version & VERSION_MORE != 0 { fields.be32(200)? } else { 0 };
        let of_v5 = |at| if v5 { fields.be32(at) } else { Ok(0) };
        let (ro_compat, incompat) = (of_v5(212)?, of_v5(216)?);
        let uuid = uuid_at(fields, 32)?;
        let name = fields.slice(108, 12)?;
        let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
        let block_bytes = u64::from(fields.be32(4)?);
        let project_quota = if v5 { fields.be64(232)? } else { u64::MAX };
        Ok(Self {
            v5,
            block_bytes,
            sector_bytes: u64::from(fields.be16(102)?),
            inode_bytes: u64::from(fields.be16(104)?),
            directory_block_bytes: block_bytes << fields.byte(192)?.min(16),
            groups: fields.be32(88)?,
            group_blocks: u64::from(fields.be32(84)?),
            blocks: fields.be64(8)?,
            root: fields.be64(56)?,
            uuid,
            meta_uuid: if incompat & INCOMPAT_META_UUID == 0 { uuid } else { uuid_at(fields, 248)? },
            label: escape_bytes(name).into_owned(),
            ftype: incompat & INCOMPAT_FTYPE != 0 || features2 & FEATURE2_FTYPE != 0,
            sparse: incompat & INCOMPAT_SPARSE != 0,
            log_v2: v5 || version & VERSION_LOG2 != 0,
            log_at: 0,
            log_blocks: u64::from(fields.be32(96)?),
            own: [fields.be64(64)?, fields.be64(72)?, fields.be64(160)?, fields.be64(168)?, project_quota],
            group_block_bits: u32::from(fields.byte(124)?),
            inodes_per_block_bits: u32::from(fields.byte(123)?),
            features2,
            ro_compat,
            incompat,
        })
    }

    fn check_features(&self, fields: Fields<'_>, version: u16) -> Result<(), Error> {
        let unsupported = |what: String| Err(Error::Unsupported(format!("xfs with {what} is not read")));
        if !(4..=5).contains(&(version & 0xf)) {
            return unsupported(format!("a superblock of version {}", version & 0xf));
        }
        if !self.v5 && version & VERSION_DIR2 == 0 {
            return unsupported("directories of version 1".to_owned());
        }
        for bit in (0..32).map(|bit| 1u32 << bit).filter(|bit| self.incompat & bit != 0) {
            match INCOMPAT.iter().find(|feature| feature.0 == bit) {
                Some((_, _, true)) => {}
                Some((_, name, false)) => return unsupported(format!("the feature {name}")),
                None => return unsupported(format!("the unknown incompatible feature {bit:#x}")),
            }
        }
        let log_incompat = if self.v5 { fields.be32(220)? } else { 0 };
        if log_incompat & !LOG_INCOMPAT_XATTRS != 0 {
            return unsupported(format!("the unknown log features {log_incompat:#x}"));
        }
        if fields.be64(LOG_START_AT)? == 0 {
            return unsupported("its log on another device".to_owned());
        }
        if fields.byte(126)? != 0 {
            return unsupported("an unfinished mkfs or growfs".to_owned());
        }
        Ok(())
    }

    fn check_sizes(&self, fields: Fields<'_>, device_bytes: u64) -> Result<(), Error> {
        let is_power = |bytes: u64, bits: u8, low: u64, high: u64| {
            (low..=high).contains(&bytes) && u32::from(bits) < 64 && bytes == 1 << bits
        };
        let fits = is_power(self.block_bytes, fields.byte(120)?, 512, 65536)
            && is_power(self.sector_bytes, fields.byte(121)?, 512, 32768)
            && is_power(self.inode_bytes, fields.byte(122)?, 256, 2048)
            && self.inode_bytes <= self.block_bytes
            && self.sector_bytes <= self.block_bytes
            && self.block_bytes / self.inode_bytes == 1 << self.inodes_per_block_bits.min(63)
            && self.directory_block_bytes <= 65536
            && fields.byte(192)? <= 7;
        if !fits {
            return Err(damaged("the sizes of block, sector, inode and directory block do not fit together"));
        }
        let whole_groups = u64::from(self.groups).saturating_sub(1).saturating_mul(self.group_blocks);
        let fits = self.groups > 0
            && self.group_blocks > 0
            && self.group_block_bits <= 31
            && self.group_blocks <= 1 << self.group_block_bits
            && whole_groups < self.blocks
            && self.blocks - whole_groups <= self.group_blocks;
        if !fits {
            return Err(damaged("the allocation groups do not add up to the file system"));
        }
        if self.blocks.checked_mul(self.block_bytes).is_none_or(|bytes| bytes > device_bytes) {
            let (blocks, size) = (self.blocks, self.block_bytes);
            return Err(damaged(&format!("{blocks} blocks of {size} bytes do not fit on {device_bytes} bytes")));
        }
        Ok(())
    }

    fn find_log(&self, start: u64) -> Result<u64, Error> {
        if self.log_blocks.saturating_mul(self.block_bytes) < LOG_MIN_BYTES {
            return Err(damaged("the log has no room for a record"));
        }
        self.block_at(start, self.log_blocks).map_err(|_| damaged("the log lies outside of the file system"))
    }

    /// Returns the byte where `count` blocks from `number` on lie: no extent leaves its allocation group.
    pub(super) fn block_at(&self, number: u64, count: u64) -> Result<u64, Error> {
        let group = number >> self.group_block_bits;
        let block = number & ((1 << self.group_block_bits) - 1);
        let outside = || Error::Damaged(format!("{count} blocks from block {number:#x} on do not lie in one group"));
        let end = block.checked_add(count).filter(|end| *end <= self.group_blocks).ok_or_else(outside)?;
        if group >= u64::from(self.groups) || group * self.group_blocks + end > self.blocks {
            return Err(outside());
        }
        Ok((group * self.group_blocks + block) * self.block_bytes)
    }

    /// Returns the byte where block `block` of `group` lies.
    pub(super) fn group_block_at(&self, group: u32, block: u32) -> Result<u64, Error> {
        if u64::from(block) >= self.group_blocks {
            return Err(Error::Damaged(format!("block {block} does not lie in group {group}")));
        }
        self.block_at(u64::from(group) << self.group_block_bits | u64::from(block), 1)
    }

    /// Returns the byte where inode `number` lies.
    pub(super) fn inode_at(&self, number: u64) -> Result<u64, Error> {
        let outside = |_| Error::Damaged(format!("inode {number} does not lie in the file system"));
        let block = self.block_at(number >> self.inodes_per_block_bits, 1).map_err(outside)?;
        Ok(block + (number & ((1 << self.inodes_per_block_bits) - 1)) * self.inode_bytes)
    }

    /// Returns the number of the inode that is number `inode` in `group`.
    pub(super) fn inode_number(&self, group: u32, inode: u32) -> u64 {
        u64::from(group) << (self.group_block_bits + self.inodes_per_block_bits) | u64::from(inode)
    }

    /// Returns it without its label.
    pub(super) fn without_label(&self) -> Self {
        Self { label: String::new(), ..self.clone() }
    }

    /// Calls `each` for runs of inode numbers whose records lie in `length` bytes of the volume from `at` on, or partly, if any do.
    pub(super) fn numbers_in(&self, at: u64, length: u64, each: &mut dyn FnMut(RangeInclusive<u64>)) {
        let last = (at.saturating_add(length.max(1)) - 1) / self.block_bytes;
        let (mut block, last) = (at / self.block_bytes, last.min(self.blocks - 1));
        while block <= last {
            let (group, in_group) = (block / self.group_blocks, block % self.group_blocks);
            let until = last.min((group + 1) * self.group_blocks - 1);
            let first = group << (self.group_block_bits + self.inodes_per_block_bits);
            let number = |in_group: u64| first | in_group << self.inodes_per_block_bits;
            each(number(in_group)..=number(in_group + (until - block)) | ((1 << self.inodes_per_block_bits) - 1));
            block = until + 1;
        }
    }

    /// Tells whether structures carry another UUID than `uuid`.
    pub(super) fn has_meta_uuid(&self) -> bool {
        self.incompat & INCOMPAT_META_UUID != 0
    }

    /// Tells whether an inode is the file system's own.
    pub(super) fn is_own(&self, number: u64) -> bool {
        self.own.contains(&number)
    }

    /// Returns the UUID as `blkid` writes it.
    pub(super) fn uuid_text(&self) -> String {
        let mut text = String::with_capacity(36);
        for (at, byte) in self.uuid.iter().enumerate() {
            if matches!(at, 4 | 6 | 8 | 10) {
                text.push('-');
            }
            text.push_str(&format!("{byte:02x}"));
        }
        text
    }

    /// Returns the names that `xfs_info` gives to the features that are in use.
    pub(super) fn feature_names(&self) -> Vec<String> {
        let of_v5 = INCOMPAT.iter().map(|feature| (self.incompat & feature.0, feature.1));
        let names = (RO_COMPAT.iter().map(|feature| (self.ro_compat & feature.0, feature.1)))
            .chain(of_v5)
            .chain(FEATURES2.iter().map(|feature| (self.features2 & feature.0, feature.1)))
            .filter(|feature| feature.0 != 0)
            .map(|feature| feature.1.to_owned());
        (if self.v5 { Some("crc".to_owned()) } else { None }).into_iter().chain(names).collect()
    }
}

fn uuid_at(fields: Fields<'_>, at: usize) -> Result<[u8; 16], Error> {
    Ok(fields.slice(at, 16)?.try_into().expect("16 bytes"))
}

fn damaged(what: &str) -> Error {
    Error::Damaged(format!("superblock: {what}"))
}
