//! An inode item: an inode as it is to be, in the byte order of the machine that logged it.
//!
//! Promises: an inode that is newer on the disk than the log stays as it is.

use super::super::super::Error;
use super::super::super::bytes::Fields;
use super::super::inode::{CRC_AT, LSN_AT, literal_at};
use super::super::volume::{SECTOR, Volume};
use super::transaction::Item;

const DATA_LOCAL: u32 = 0x002;
const DATA_EXTENTS: u32 = 0x004;
const DATA_ROOT: u32 = 0x008;
const DEVICE: u32 = 0x010;
const ATTR_LOCAL: u32 = 0x040;
const ATTR_EXTENTS: u32 = 0x080;
const ATTR_ROOT: u32 = 0x100;
const DATA_FORK: u32 = DATA_LOCAL | DATA_EXTENTS | DATA_ROOT;
const ATTR_FORK: u32 = ATTR_LOCAL | ATTR_EXTENTS | ATTR_ROOT;
/// `struct xfs_inode_log_format`, and the one that 32-bit machines log.
const FORMAT_BYTES: usize = 56;
const FORMAT_32_BYTES: usize = 52;
const FLUSHITER_AT: usize = 30;
/// `DI_MAX_FLUSH`: behind it the count begins anew.
const FLUSHITER_MAX: u16 = 0xffff;
const FORK_OFFSET_AT: usize = 82;
const FLAGS2_AT: usize = 120;
const FLAG2_BIGTIME: u64 = 1 << 3;
const FLAG2_NREXT64: u64 = 1 << 4;
/// Numbers of `struct xfs_log_dinode` that stand at the same place in `struct xfs_dinode`, as offset and width. What is
/// missing is treated by itself (times, counts of extents) or does not come from the log (checksum, LSN, unlinked list).
const NUMBERS: [(usize, usize); 18] = [
    (0, 2),
    (2, 2),
    (4, 1),
    (5, 1),
    (8, 4),
    (12, 4),
    (16, 4),
    (20, 2),
    (22, 2),
    (56, 8),
    (64, 8),
    (72, 4),
    (82, 1),
    (83, 1),
    (84, 4),
    (88, 2),
    (90, 2),
    (92, 4),
];
/// The same, of version 3.
const NUMBERS_V3: [(usize, usize); 4] = [(104, 8), (120, 8), (128, 4), (152, 8)];
const TIMES: [usize; 3] = [32, 40, 48];
const BIRTH_AT: usize = 144;
const UUID_AT: usize = 160;

/// What an inode item is about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target {
    number: u64,
    fields: u32,
    device: u32,
    /// The buffer that the inode lies in, as buffer items name it.
    pub(super) buffer: (u64, u32),
    offset: u64,
}

impl Target {
    /// Takes the first region of an item apart.
    pub(super) fn of(item: &Item) -> Result<Self, Error> {
        let format = region(item, 0)?;
        let from = match format.bytes.len() {
            FORMAT_BYTES => 16,
            FORMAT_32_BYTES => 12,
            other => return Err(Error::Damaged(format!("the log has an inode item of {other} bytes"))),
        };
        Ok(Self {
            number: format.le64(from)?,
            fields: format.le32(4)?,
            device: format.le32(from + 8)?,
            buffer: (format.le64(from + 24)?, format.le32(from + 32)?),
            offset: u64::from(format.le32(from + 36)?),
        })
    }

    /// Puts the inode in place.
    pub(super) fn apply(&self, item: &Item, lsn: u64, volume: &mut Volume) -> Result<(), Error> {
        let superblock = volume.superblock();
        let at = superblock.inode_at(self.number)?;
        let said = self.buffer.0.checked_mul(SECTOR).and_then(|start| start.checked_add(self.offset));
        if said != Some(at) {
            return Err(self.damaged("another place than its number says"));
        }
        let (size, v5) = (superblock.inode_bytes as usize, superblock.v5);
        // Inodes of 256 bytes share a sector.
        let start = at / SECTOR * SECTOR;
        let before = volume.read(start, (at - start + size as u64).next_multiple_of(SECTOR))?.bytes;
        let mut after = before.clone();
        let inode = &mut after[(at - start) as usize..(at - start) as usize + size];
        let core = region(item, 1)?;
        if inode.get(..2) != Some(b"IN".as_slice()) || core.le16(0)?.to_be_bytes() != *b"IN" {
            return Err(self.damaged("no inode there or none in the log"));
        }
        if self.is_newer(inode, core, lsn, v5)? {
            return Ok(());
        }
        let (old_lsn, old_crc) = (stamp::<8>(inode, LSN_AT), stamp::<4>(inode, CRC_AT));
        put_core(core, inode, v5)?;
        self.put_forks(item, inode, v5)?;
        if v5 {
            // With the stamps that it had, an inode that is in place already is the same, and its checksum still counts.
            inode[CRC_AT..CRC_AT + 4].copy_from_slice(&old_crc);
            inode[LSN_AT..LSN_AT + 8].copy_from_slice(&old_lsn);
            let is_in_place = before == after;
            let inode = &mut after[(at - start) as usize..];
            if !is_in_place {
                inode[LSN_AT..LSN_AT + 8].copy_from_slice(&lsn.to_be_bytes());
            }
        }
        let from = (at - start) as usize;
        volume.note_damage(at, &before[from..from + size], CRC_AT);
        volume.replace(start, &before, &after)
    }

    /// Tells whether the inode in place is newer: by its LSN, on version 4 by how often it was written.
    fn is_newer(&self, inode: &[u8], core: Fields<'_>, lsn: u64, v5: bool) -> Result<bool, Error> {
        let in_place = Fields { bytes: inode, what: "inode" };
        if v5 {
            let old = in_place.be64(LSN_AT)?;
            return Ok(old != 0 && old != u64::MAX && old > lsn);
        }
        let (old, new) = (in_place.be16(FLUSHITER_AT)?, core.le16(FLUSHITER_AT)?);
        let began_anew = old == FLUSHITER_MAX && new < FLUSHITER_MAX >> 1;
        Ok(new < old && !began_anew)
    }

    /// Puts what was logged of the forks: the data fork first, if it was, then the attribute fork.
    fn put_forks(&self, item: &Item, inode: &mut [u8], v5: bool) -> Result<(), Error> {
        let literal = literal_at(v5);
        let attr_at = match usize::from(inode[FORK_OFFSET_AT]) * 8 {
            0 => inode.len(),
            offset => literal + offset,
        };
        if attr_at > inode.len() {
            return Err(self.damaged("an attribute fork outside of itself"));
        }
        if self.fields & DEVICE != 0 {
            inode[literal..literal + 4].copy_from_slice(&self.device.to_be_bytes());
        }
        let mut next = 2;
        let forks = [(DATA_FORK, DATA_ROOT, literal, attr_at), (ATTR_FORK, ATTR_ROOT, attr_at, inode.len())];
        for (any, root, from, until) in forks {
            let logged = self.fields & any;
            if logged == 0 {
                continue;
            }
            let source = region(item, next)?.bytes;
            let fork = &mut inode[from..until];
            let fits = if logged == root { put_root(source, fork, v5) } else { put_bytes(source, fork) };
            if !fits || logged.count_ones() != 1 {
                return Err(self.damaged("a fork that does not fit"));
            }
            next += 1;
        }
        Ok(())
    }

    fn damaged(&self, what: &str) -> Error {
        Error::Damaged(format!("the log has inode {} with {what}", self.number))
    }
}

fn region(item: &Item, index: usize) -> Result<Fields<'_>, Error> {
    let missing = || Error::Damaged("the log has an inode item with too few regions".to_owned());
    Ok(Fields { bytes: item.regions.get(index).ok_or_else(missing)?, what: "inode item in the log" })
}

fn stamp<const N: usize>(inode: &[u8], at: usize) -> [u8; N] {
    inode[at..at + N].try_into().expect("an inode has room for it")
}

/// Turns the core of an inode round (`xfs_log_dinode_to_disk`).
fn put_core(core: Fields<'_>, inode: &mut [u8], v5: bool) -> Result<(), Error> {
    inode[6..8].fill(0);
    for (at, width) in NUMBERS {
        put_number(core, at, width, inode)?;
    }
    let flags2 = if v5 { core.le64(FLAGS2_AT)? } else { 0 };
    let time_width = if flags2 & FLAG2_BIGTIME != 0 { 8 } else { 4 };
    for at in TIMES.into_iter().chain(v5.then_some(BIRTH_AT)) {
        put_number(core, at, time_width, inode)?;
        put_number(core, at + 8 - time_width, time_width, inode)?;
    }
    inode[24..32].fill(0);
    if flags2 & FLAG2_NREXT64 != 0 {
        put_number(core, 24, 8, inode)?;
    }
    put_number(core, 76, 4, inode)?;
    put_number(core, 80, 2, inode)?;
    if v5 {
        for (at, width) in NUMBERS_V3 {
            put_number(core, at, width, inode)?;
        }
        inode[132..144].fill(0);
        inode[UUID_AT..UUID_AT + 16].copy_from_slice(core.slice(UUID_AT, 16)?);
    }
    Ok(())
}

/// Copies a little-endian number as a big-endian one.
fn put_number(core: Fields<'_>, at: usize, width: usize, inode: &mut [u8]) -> Result<(), Error> {
    let source = core.slice(at, width)?.iter().rev();
    inode[at..at + width].iter_mut().zip(source).for_each(|(to, from)| *to = *from);
    Ok(())
}

/// Copies what a fork is; regions are padded to 4 bytes, so the last ones may not fit and mean nothing.
fn put_bytes(source: &[u8], fork: &mut [u8]) -> bool {
    let length = source.len().min(fork.len());
    fork[..length].copy_from_slice(&source[..length]);
    source.len() < fork.len() + 4
}

/// Puts the root of an extent tree: in memory it has a long header, on the disk a short one (`xfs_bmbt_to_bmdr`).
fn put_root(source: &[u8], fork: &mut [u8], v5: bool) -> bool {
    let header = if v5 { 72 } else { 24 };
    let (Some(counts), Some(body), Some(room)) = (source.get(4..8), source.get(header..), fork.len().checked_sub(4))
    else {
        return false;
    };
    let records = usize::from(u16::from_be_bytes([counts[2], counts[3]]));
    let (from_fit, to_fit) = (body.len() / 16, room / 16);
    if records > from_fit || records > to_fit {
        return false;
    }
    fork[..4].copy_from_slice(counts);
    fork[4..4 + records * 8].copy_from_slice(&body[..records * 8]);
    fork[4 + to_fit * 8..4 + to_fit * 8 + records * 8].copy_from_slice(&body[from_fit * 8..from_fit * 8 + records * 8]);
    true
}
