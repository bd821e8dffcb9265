//! The superblock: the shape of the file system.
//!
//! Promises: a [`Superblock`] that exists is sound: sizes are powers of two within the format's bounds, groups and inodes
//! agree with each other, and all its blocks lie on the device. So later arithmetic on them cannot overflow.
//!
//! Source: `struct ext4_super_block` of Linux 6.12, and the checks of `__ext4_fill_super` in `fs/ext4/super.c`.

use super::checksum::crc32c;
use super::features::Features;
use crate::source::block::bytes::Fields;
use crate::source::block::{Device, Error};

/// Where it lies, in bytes, whatever the block size.
pub(super) const AT: u64 = 1024;
/// How long it is.
pub(super) const LENGTH: u64 = 1024;
const MAGIC: u16 = 0xEF53;
const CHECKSUM_AT: usize = 0x3FC;
/// The inode of the top directory.
pub(super) const ROOT_INODE: u32 = 2;
/// The inode that keeps room for the group descriptors to grow.
const RESIZE_INODE: u32 = 7;
/// `s_creator_os` of Linux; the kernel checks inode checksums for no other.
const OS_LINUX: u32 = 0;
/// 2 million groups are 256 TiB of 4 KiB blocks; their descriptors are held in memory.
const GROUPS_MAX: u64 = 1 << 21;

/// What the superblock says, checked.
#[derive(Clone, Debug)]
pub(super) struct Superblock {
    pub(super) features: Features,
    pub(super) block_bytes: u64,
    pub(super) cluster_bytes: u64,
    pub(super) blocks: u64,
    pub(super) first_data_block: u64,
    pub(super) blocks_per_group: u64,
    pub(super) groups: u64,
    pub(super) inodes: u32,
    pub(super) inodes_per_group: u32,
    pub(super) inode_bytes: usize,
    pub(super) first_inode: u32,
    pub(super) descriptor_bytes: usize,
    pub(super) first_meta_group: u64,
    /// The groups that hold a backup with the feature `sparse_super2`.
    pub(super) backup_groups: [u64; 2],
    pub(super) journal_inode: u32,
    /// Whether inode checksums count.
    pub(super) by_linux: bool,
    /// Where every metadata checksum starts from.
    pub(super) seed: u32,
    pub(super) uuid: [u8; 16],
    pub(super) label: Vec<u8>,
    /// The file system's own inodes that may have any number.
    own_inodes: [u32; 6],
}

/// Tells whether there is the magic number of a superblock on `device`.
pub(super) fn is(device: &dyn Device) -> bool {
    let mut magic = [0; 2];
    device.size_bytes() >= AT + LENGTH
        && device.read_at(&mut magic, AT + 0x38).is_ok()
        && u16::from_le_bytes(magic) == MAGIC
}

impl Superblock {
    /// Reads the superblock out of its bytes, for a device of `device_bytes`.
    ///
    /// # Errors
    /// [`Error::Damaged`] if it contradicts itself or the device; [`Error::Unsupported`] for features that are not read.
    pub(super) fn parse(bytes: &[u8], device_bytes: u64) -> Result<Self, Error> {
        let fields = Fields { bytes, what: "superblock" };
        if fields.le16(0x38)? != MAGIC {
            return Err(damaged(format!("magic is {:#06x}, and {MAGIC:#06x} is expected", fields.le16(0x38)?)));
        }
        let is_dynamic = fields.le32(0x4C)? > 0;
        let features = features(fields, is_dynamic)?;
        check_checksum(fields, features)?;
        features.check_readable()?;
        let superblock = Self::parse_shape(fields, features, is_dynamic)?;
        superblock.check(device_bytes, fields.le32(0x24)?)?;
        Ok(superblock)
    }

    fn parse_shape(fields: Fields<'_>, features: Features, is_dynamic: bool) -> Result<Self, Error> {
        let block_bytes = size(fields.le32(0x18)?, "block")?;
        let cluster_bytes = if features.bigalloc() { size(fields.le32(0x1C)?, "cluster")? } else { block_bytes };
        let high = if features.bit64() { u64::from(fields.le32(0x150)?) } else { 0 };
        let blocks = high << 32 | u64::from(fields.le32(0x4)?);
        let first_data_block = u64::from(fields.le32(0x14)?);
        let blocks_per_group = u64::from(fields.le32(0x20)?);
        if first_data_block >= blocks || blocks_per_group == 0 {
            return Err(damaged(format!(
                "{blocks} blocks, the first of them {first_data_block}, in groups of {blocks_per_group}"
            )));
        }
        let uuid = <[u8; 16]>::try_from(fields.slice(0x68, 16)?).expect("16 bytes");
        let label = fields.slice(0x78, 16)?;
        Ok(Self {
            features,
            block_bytes,
            cluster_bytes,
            blocks,
            first_data_block,
            blocks_per_group,
            groups: (blocks - first_data_block).div_ceil(blocks_per_group),
            inodes: fields.le32(0x0)?,
            inodes_per_group: fields.le32(0x28)?,
            inode_bytes: if is_dynamic { usize::from(fields.le16(0x58)?) } else { 128 },
            first_inode: if is_dynamic { fields.le32(0x54)? } else { 11 },
            descriptor_bytes: if features.bit64() { usize::from(fields.le16(0xFE)?) } else { 32 },
            first_meta_group: u64::from(fields.le32(0x104)?),
            backup_groups: [u64::from(fields.le32(0x24C)?), u64::from(fields.le32(0x250)?)],
            journal_inode: fields.le32(0xE0)?,
            by_linux: fields.le32(0x48)? == OS_LINUX,
            seed: if features.csum_seed() { fields.le32(0x270)? } else { crc32c(!0, &uuid) },
            uuid,
            label: label.split(|byte| *byte == 0).next().unwrap_or_default().to_vec(),
            own_inodes: [
                fields.le32(0xE0)?,
                fields.le32(0x240)?,
                fields.le32(0x244)?,
                fields.le32(0x26C)?,
                fields.le32(0x280)?,
                RESIZE_INODE,
            ],
        })
    }

    fn check(&self, device_bytes: u64, clusters_per_group: u32) -> Result<(), Error> {
        let bits_per_block = self.block_bytes * 8;
        if self.cluster_bytes < self.block_bytes {
            return Err(damaged("clusters are smaller than blocks".to_owned()));
        }
        let ratio = self.cluster_bytes / self.block_bytes;
        let in_clusters =
            if self.features.bigalloc() { u64::from(clusters_per_group) * ratio } else { self.blocks_per_group };
        if self.blocks_per_group != in_clusters || self.blocks_per_group > bits_per_block * ratio {
            return Err(damaged(format!(
                "groups have {} blocks, and one bitmap block tells of them",
                self.blocks_per_group
            )));
        }
        let per_group = u64::from(self.inodes_per_group);
        if per_group == 0
            || per_group > bits_per_block
            || per_group.checked_mul(self.groups) != Some(self.inodes.into())
        {
            return Err(damaged(format!("{} inodes in {} groups of {per_group}", self.inodes, self.groups)));
        }
        let inode_bytes = self.inode_bytes as u64;
        if !inode_bytes.is_power_of_two() || inode_bytes < 128 || inode_bytes > self.block_bytes {
            return Err(damaged(format!("inodes of {inode_bytes} bytes in blocks of {}", self.block_bytes)));
        }
        let smallest = if self.features.bit64() { 64 } else { 32 };
        if !self.descriptor_bytes.is_power_of_two() || !(smallest..=1024).contains(&self.descriptor_bytes) {
            return Err(damaged(format!("group descriptors of {} bytes", self.descriptor_bytes)));
        }
        if self.first_inode <= ROOT_INODE || self.first_inode > self.inodes {
            return Err(damaged(format!("the first inode is {} of {}", self.first_inode, self.inodes)));
        }
        if self.blocks.checked_mul(self.block_bytes).is_none_or(|bytes| bytes > device_bytes) {
            return Err(damaged(format!(
                "{} blocks of {} bytes do not lie on the {device_bytes} bytes that there are",
                self.blocks, self.block_bytes
            )));
        }
        if self.groups > GROUPS_MAX {
            return Err(Error::Unsupported(format!(
                "the file system has {} groups, more than {GROUPS_MAX}",
                self.groups
            )));
        }
        Ok(())
    }

    /// Returns it without what the use of the file system alters, and without its label.
    pub(super) fn without_state(&self) -> Self {
        Self { features: self.features.without_state(), label: Vec::new(), ..self.clone() }
    }

    /// Returns the UUID as text.
    pub(super) fn uuid_text(&self) -> String {
        let hex: String = self.uuid.iter().map(|byte| format!("{byte:02x}")).collect();
        [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
    }

    /// Returns how many inodes lie in a block.
    pub(super) fn inodes_per_block(&self) -> u64 {
        self.block_bytes / self.inode_bytes as u64
    }

    /// Tells whether inode `number` is one that a name can point to.
    pub(super) fn is_ordinary(&self, number: u32) -> bool {
        number == ROOT_INODE || (self.first_inode..=self.inodes).contains(&number) && !self.own_inodes.contains(&number)
    }

    /// Tells whether `number` is a block of the file system that data or metadata may lie in.
    pub(super) fn has_block(&self, number: u64) -> bool {
        number > 0 && (self.first_data_block..self.blocks).contains(&number)
    }

    /// Returns the first block of a group.
    pub(super) fn group_start(&self, group: u64) -> u64 {
        self.first_data_block + group * self.blocks_per_group
    }

    /// Returns the block that holds the `number`th block of group descriptors (`descriptor_loc` in `fs/ext4/super.c`).
    pub(super) fn descriptor_block(&self, number: u64) -> u64 {
        let own_block = AT / self.block_bytes;
        if !self.features.meta_bg() || number < self.first_meta_group {
            return own_block + 1 + number;
        }
        let group = number * (self.block_bytes / self.descriptor_bytes as u64);
        // With blocks of 1 KiB that count from 0 (bigalloc), the superblock is block 1 and its group begins at block 0.
        let shift = u64::from(self.block_bytes == 1024 && number == 0 && self.first_data_block == 0);
        self.group_start(group) + u64::from(self.has_backup(group)) + shift
    }

    /// Tells whether a group begins with a copy of the superblock (`ext4_bg_has_super`).
    fn has_backup(&self, group: u64) -> bool {
        if group == 0 {
            return true;
        }
        if self.features.sparse_super2() {
            return self.backup_groups.contains(&group);
        }
        group == 1
            || !self.features.sparse_super()
            || group % 2 == 1 && [3, 5, 7].iter().any(|base| is_power(group, *base))
    }
}

fn is_power(number: u64, base: u64) -> bool {
    let mut power = base;
    while power < number {
        power *= base;
    }
    power == number
}

fn features(fields: Fields<'_>, is_dynamic: bool) -> Result<Features, Error> {
    if !is_dynamic {
        return Ok(Features::default());
    }
    Ok(Features { compat: fields.le32(0x5C)?, incompat: fields.le32(0x60)?, ro_compat: fields.le32(0x64)? })
}

fn check_checksum(fields: Fields<'_>, features: Features) -> Result<(), Error> {
    if !features.metadata_csum() {
        return Ok(());
    }
    let kind = fields.byte(0x175)?;
    if kind != 1 {
        return Err(Error::Unsupported(format!(
            "the file system uses checksums of type {kind}, and 1 (crc32c) is read"
        )));
    }
    if crc32c(!0, fields.slice(0, CHECKSUM_AT)?) != fields.le32(CHECKSUM_AT)? {
        return Err(damaged("its checksum does not hold".to_owned()));
    }
    Ok(())
}

/// Returns the size that is 1 KiB shifted by `shift`; 64 KiB blocks are the largest, and clusters end at 512 MiB.
fn size(shift: u32, what: &str) -> Result<u64, Error> {
    let most = if what == "block" { 6 } else { 19 };
    if shift > most {
        return Err(damaged(format!("the {what} size is 2^{shift} KiB")));
    }
    Ok(1024 << shift)
}

fn damaged(what: String) -> Error {
    Error::Damaged(format!("superblock: {what}"))
}
