//! A buffer item: parts of 128 bytes of a structure, as they are to be.
//!
//! Promises: a structure that is newer on the disk than the log stays as it is.

use super::super::super::Error;
use super::super::super::bytes::Fields;
use super::super::volume::{SECTOR, Volume};
use super::transaction::Item;

const CHUNK_BYTES: usize = 128;
/// Of a buffer of inodes only the list of unlinked ones is from the buffer item; the inodes have items of their own.
const FLAG_INODES: u16 = 1 << 0;
const FLAG_CANCEL: u16 = 1 << 1;
const FLAGS_QUOTA: u16 = 1 << 2 | 1 << 3 | 1 << 4;
/// `XFS_MAX_BLOCKSIZE`, in sectors.
const SECTORS_MAX: u32 = 128;
const MAP_AT: usize = 20;
/// `XFS_BLF_DATAMAP_SIZE`.
const MAP_WORDS_MAX: usize = 17;

/// Where structures of version 5 say which log record they are from, and of which file system they are: magic number
/// in 4 bytes, offset of the LSN, offset of the UUID (`xlog_recover_get_buf_lsn`).
const STAMPS: [(&[u8; 4], usize, usize); 15] = [
    (b"AB3B", 24, 32),
    (b"AB3C", 24, 32),
    (b"RMB3", 24, 32),
    (b"R3FC", 24, 32),
    (b"FIB3", 24, 32),
    (b"IAB3", 24, 32),
    (b"BMA3", 32, 40),
    (b"XAGF", 208, 64),
    (b"XAFL", 24, 8),
    (b"XAGI", 320, 296),
    (b"XSLM", 48, 16),
    (b"XDB3", 16, 24),
    (b"XDD3", 16, 24),
    (b"XDF3", 16, 24),
    (b"XFSB", 240, 32),
];
const META_UUID_OF_SUPERBLOCK_AT: usize = 248;
/// The same for blocks of hash trees, which have their magic number at byte 8.
const TREE_MAGICS: [u16; 4] = [0x3df1, 0x3dff, 0x3bee, 0x3ebe];

/// What a buffer item is about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target {
    flags: u16,
    sector: u64,
    sectors: u32,
}

impl Target {
    /// Takes the first region of an item apart (`struct xfs_buf_log_format`).
    pub(super) fn of(item: &Item) -> Result<Self, Error> {
        let fields = format_of(item);
        let target = Self { flags: fields.le16(4)?, sector: fields.le64(8)?, sectors: u32::from(fields.le16(6)?) };
        if !(1..=SECTORS_MAX).contains(&target.sectors) || target.sector > u64::MAX / SECTOR / 2 {
            let (count, sector) = (target.sectors, target.sector);
            return Err(Error::Damaged(format!("the log has a buffer of {count} sectors at sector {sector}")));
        }
        Ok(target)
    }

    /// Returns what it is known by: place and length, in sectors.
    pub(super) fn key(&self) -> (u64, u32) {
        (self.sector, self.sectors)
    }

    /// Tells whether the buffer was freed.
    pub(super) fn is_cancelled(&self) -> bool {
        self.flags & FLAG_CANCEL != 0
    }

    /// Tells whether nothing of it is ever read here.
    pub(super) fn has_no_bytes_for_readers(&self) -> bool {
        self.flags & (FLAG_INODES | FLAGS_QUOTA) != 0
    }

    /// Puts the logged parts in place.
    pub(super) fn apply(&self, item: &Item, lsn: u64, volume: &mut Volume) -> Result<(), Error> {
        let at = self.sector * SECTOR;
        let before = volume.read(at, u64::from(self.sectors) * SECTOR)?.bytes;
        if is_newer(&before, lsn, volume) {
            return Ok(());
        }
        let mut after = before.clone();
        put_regions(item, &mut after)?;
        volume.replace(at, &before, &after)
    }
}

fn format_of(item: &Item) -> Fields<'_> {
    Fields { bytes: item.regions.first().map_or(&[] as &[u8], Vec::as_slice), what: "buffer item in the log" }
}

/// Copies the regions to where the bitmap says (`xlog_recover_do_reg_buffer`). A run of bits may have several regions.
fn put_regions(item: &Item, buffer: &mut [u8]) -> Result<(), Error> {
    let format = format_of(item);
    let words = (format.le32(16)? as usize).min(MAP_WORDS_MAX);
    let map = (0..words).map(|word| format.le32(MAP_AT + word * 4)).collect::<Result<Vec<u32>, Error>>()?;
    let is_set = |bit: usize| map.get(bit / 32).is_some_and(|word| word >> (bit % 32) & 1 == 1);
    let damaged = || Error::Damaged("the log has a buffer whose parts do not fit".to_owned());
    let mut bit = 0;
    for region in &item.regions[1..] {
        bit = (bit..words * 32).find(|bit| is_set(*bit)).ok_or_else(damaged)?;
        let run = (bit..words * 32).take_while(|bit| is_set(*bit)).count();
        let chunks = run.min(region.len() / CHUNK_BYTES);
        let (start, length) = (bit * CHUNK_BYTES, chunks * CHUNK_BYTES);
        if length == 0 || length != region.len() {
            return Err(damaged());
        }
        buffer.get_mut(start..start + length).ok_or_else(damaged)?.copy_from_slice(&region[..length]);
        bit += chunks;
    }
    if (bit..words * 32).any(is_set) { Err(damaged()) } else { Ok(()) }
}

/// Tells whether what is in place is of this file system and at least as new as the log record at `lsn`. What carries no
/// LSN is never newer.
fn is_newer(bytes: &[u8], lsn: u64, volume: &Volume) -> bool {
    let superblock = volume.superblock();
    if !superblock.v5 {
        return false;
    }
    let Some((lsn_at, uuid_at)) = stamp_of(bytes) else {
        return false;
    };
    let mut uuid_at = uuid_at;
    if bytes.starts_with(b"XFSB") && superblock.has_meta_uuid() {
        uuid_at = META_UUID_OF_SUPERBLOCK_AT;
    }
    let fields = Fields { bytes, what: "" };
    let is_ours = fields.slice(uuid_at, 16).is_ok_and(|uuid| uuid == superblock.meta_uuid);
    let in_place = fields.be64(lsn_at).unwrap_or(0);
    is_ours && in_place != 0 && in_place != u64::MAX && in_place >= lsn
}

fn stamp_of(bytes: &[u8]) -> Option<(usize, usize)> {
    let of_block = STAMPS.iter().find(|stamp| bytes.starts_with(stamp.0)).map(|stamp| (stamp.1, stamp.2));
    let tree_magic = Fields { bytes, what: "" }.be16(8).unwrap_or(0);
    of_block.or_else(|| TREE_MAGICS.contains(&tree_magic).then_some((24, 32)))
}
