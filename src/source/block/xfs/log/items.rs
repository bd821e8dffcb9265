//! What a transaction changes: buffers, inodes, new inodes; and what it intends to do later.
//!
//! Promises: items take effect in the kernel's order, and none goes over something newer that is in place already.

use super::super::super::Error;
use super::super::super::bytes::Fields;
use super::super::inode::literal_at;
use super::super::volume::{SECTOR, Volume};
use super::transaction::{Item, Transaction};
use super::{buffer, dinode};
use std::collections::{BTreeMap, BTreeSet};

const EFI: u16 = 0x1236;
const INODE: u16 = 0x123b;
const BUFFER: u16 = 0x123c;
const DQUOT: u16 = 0x123d;
const QUOTAOFF: u16 = 0x123e;
const ICREATE: u16 = 0x123f;
const RUI: u16 = 0x1240;
const CUI: u16 = 0x1242;
const BUI: u16 = 0x1244;
const ATTRI: u16 = 0x1246;
const XMI: u16 = 0x1248;
const EFI_RT: u16 = 0x124a;
const RUI_RT: u16 = 0x124c;
const CUI_RT: u16 = 0x124e;
/// Intents: the item that says that one is done has the next number. Those that are left alone when unfinished give
/// blocks back or count who uses them (`xfs_extfree_item.c`, `xfs_rmap_item.c`, `xfs_refcount_item.c`): they change free
/// space, reverse mapping and reference counts. No file or directory is read by these; the transaction that logged the
/// intent took the blocks from the inode already. The others change forks, so without them a file would be wrong.
const INTENTS: [(u16, &str, bool); 9] = [
    (EFI, "EFI", true),
    (RUI, "RUI", true),
    (CUI, "CUI", true),
    (BUI, "BUI", false),
    (ATTRI, "ATTRI", false),
    (XMI, "XMI", false),
    (EFI_RT, "EFI_RT", true),
    (RUI_RT, "RUI_RT", true),
    (CUI_RT, "CUI_RT", true),
];
/// Chunks have 64 inodes, or a block full.
const ICREATE_INODES_MAX: u64 = 256;

/// Freed buffers and unfinished intents; some 200 MiB of memory.
const NOTES_MAX: usize = 4_000_000;

/// What is known of the whole log.
#[derive(Debug, Default)]
pub(super) struct Items {
    /// Buffers that were freed, by their place and length, and how often: until the last time, what the log has for them
    /// is not theirs any more.
    cancelled: BTreeMap<(u64, u32), u32>,
    /// Intents that are not done: kind and number.
    unfinished: BTreeSet<(u16, u64)>,
}

impl Items {
    /// Takes note of what must be known before anything is applied.
    pub(super) fn note(&mut self, transaction: &Transaction) -> Result<(), Error> {
        for item in &transaction.items {
            if !item.is_complete() {
                return Err(Error::Damaged("the log has an item without all its regions".to_owned()));
            }
            match kind(item)? {
                BUFFER => {
                    let buffer = buffer::Target::of(item)?;
                    if buffer.is_cancelled() {
                        *self.cancelled.entry(buffer.key()).or_default() += 1;
                    }
                }
                INODE | DQUOT | QUOTAOFF | ICREATE => {}
                other => self.note_intent(other, item)?,
            }
        }
        if self.cancelled.len() + self.unfinished.len() > NOTES_MAX {
            return Err(Error::Unsupported(format!("the log frees more than {NOTES_MAX} buffers; freeze the guest")));
        }
        Ok(())
    }

    fn note_intent(&mut self, kind: u16, item: &Item) -> Result<(), Error> {
        let id = first_region(item)?.le64(8)?;
        if is_intent(kind) {
            self.unfinished.insert((kind, id));
        } else if is_intent(kind.wrapping_sub(1)) {
            self.unfinished.remove(&(kind - 1, id));
        } else {
            return Err(Error::Unsupported(format!(
                "the log has an item of the unknown type {kind:#x}; freeze the guest"
            )));
        }
        Ok(())
    }

    /// Refuses a log that ends in something that only XFS can finish.
    pub(super) fn check_intents(&self) -> Result<(), Error> {
        let must_finish = |kind: u16| INTENTS.iter().find(|intent| intent.0 == kind && !intent.2);
        match self.unfinished.iter().find_map(|(kind, _)| must_finish(*kind)) {
            Some((_, name, _)) => {
                Err(Error::Unsupported(format!("unfinished intent {name} in the log; freeze the guest")))
            }
            None => Ok(()),
        }
    }

    /// Applies a transaction in the kernel's order (`xlog_recover_reorder_trans`): buffers and new inodes, then inodes,
    /// which lie in those; then the end of cancelled buffers.
    pub(super) fn apply(&mut self, transaction: &Transaction, volume: &mut Volume) -> Result<(), Error> {
        for item in &transaction.items {
            match kind(item)? {
                BUFFER => self.apply_buffer(item, transaction.lsn, volume)?,
                ICREATE => self.apply_icreate(item, volume)?,
                _ => {}
            }
        }
        for item in &transaction.items {
            if kind(item)? == INODE {
                self.apply_inode(item, transaction.lsn, volume)?;
            }
        }
        for item in &transaction.items {
            if kind(item)? == BUFFER {
                self.end_cancelled(&buffer::Target::of(item)?);
            }
        }
        Ok(())
    }

    fn apply_buffer(&self, item: &Item, lsn: u64, volume: &mut Volume) -> Result<(), Error> {
        let buffer = buffer::Target::of(item)?;
        if buffer.has_no_bytes_for_readers() || self.cancelled.contains_key(&buffer.key()) {
            return Ok(());
        }
        buffer.apply(item, lsn, volume)
    }

    fn apply_inode(&self, item: &Item, lsn: u64, volume: &mut Volume) -> Result<(), Error> {
        let inode = dinode::Target::of(item)?;
        if self.cancelled.contains_key(&inode.buffer) {
            return Ok(());
        }
        inode.apply(item, lsn, volume)
    }

    fn end_cancelled(&mut self, buffer: &buffer::Target) {
        if let (true, Some(times)) = (buffer.is_cancelled(), self.cancelled.get_mut(&buffer.key())) {
            *times -= 1;
            if *times == 0 {
                self.cancelled.remove(&buffer.key());
            }
        }
    }

    /// Makes a chunk of unused inodes (`xfs_icreate_item.c`); nothing if the chunk is freed later.
    fn apply_icreate(&self, item: &Item, volume: &mut Volume) -> Result<(), Error> {
        let fields = first_region(item)?;
        let (group, block) = (fields.be32(4)?, fields.be32(8)?);
        let (count, size, length) = (u64::from(fields.be32(12)?), u64::from(fields.be32(16)?), fields.be32(20)?);
        let generation = fields.be32(24)?;
        let superblock = volume.superblock();
        let at = superblock.group_block_at(group, block)?;
        let bytes = u64::from(length) * superblock.block_bytes;
        if count > ICREATE_INODES_MAX || size != superblock.inode_bytes || count * size != bytes {
            return Err(Error::Damaged(format!("the log makes {count} inodes of {size} bytes in {length} blocks")));
        }
        let sectors = (at / SECTOR, 0)..((at + bytes) / SECTOR, 0);
        if self.cancelled.range(sectors).next().is_some() {
            return Ok(());
        }
        let before = volume.read(at, bytes)?.bytes;
        let mut after = vec![0; before.len()];
        let first = superblock.inode_number(group, 0) + u64::from(block) * (superblock.block_bytes / size);
        for (number, inode) in (first..).zip(after.chunks_exact_mut(size as usize)) {
            inode[..2].copy_from_slice(b"IN");
            inode[4] = if superblock.v5 { 3 } else { 2 };
            inode[92..96].copy_from_slice(&generation.to_be_bytes());
            if superblock.v5 {
                inode[152..160].copy_from_slice(&number.to_be_bytes());
                inode[160..literal_at(true)].copy_from_slice(&superblock.meta_uuid);
            }
        }
        volume.replace(at, &before, &after)
    }
}

fn is_intent(kind: u16) -> bool {
    INTENTS.iter().any(|intent| intent.0 == kind)
}

fn kind(item: &Item) -> Result<u16, Error> {
    first_region(item)?.le16(0)
}

fn first_region(item: &Item) -> Result<Fields<'_>, Error> {
    let bytes = item.regions.first().map_or(&[] as &[u8], Vec::as_slice);
    Ok(Fields { bytes, what: "log item" })
}
