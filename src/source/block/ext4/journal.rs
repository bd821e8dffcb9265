//! The journal (jbd2) of a file system that was not unmounted: which block is newer in the log than in its place.
//!
//! Promises: the log ends where the kernel's recovery ends it, at the first block that does not continue the last complete
//! transaction; a transaction counts wholly or not at all. Where the kernel would refuse to mount (a checksum that does not
//! hold within a complete transaction), this refuses too.
//!
//! Never writes: what comes out is a table from block to place in the log.
//!
//! Numbers are big-endian. Source: `include/linux/jbd2.h`, `fs/jbd2/recovery.c` and `fs/jbd2/journal.c` of Linux 6.12, whose
//! three passes (scan, revoke, replay) are kept.

use super::checksum::{crc32_be, crc32c};
use super::disk::{Disk, JOURNAL_MAGIC, Log, Logged};
use super::map;
use super::record::Record;
use crate::model::FileMap;
use crate::source::block::Error;
use crate::source::block::bytes::Fields;
use std::collections::HashMap;

const DESCRIPTOR: u32 = 1;
const COMMIT: u32 = 2;
const SUPERBLOCK_V1: u32 = 3;
const SUPERBLOCK_V2: u32 = 4;
const REVOKE: u32 = 5;

const COMPAT_CHECKSUM: u32 = 0x1;
const INCOMPAT_REVOKE: u32 = 0x1;
const INCOMPAT_64BIT: u32 = 0x2;
const INCOMPAT_ASYNC_COMMIT: u32 = 0x4;
const INCOMPAT_CSUM_V2: u32 = 0x8;
const INCOMPAT_CSUM_V3: u32 = 0x10;
const INCOMPAT_FAST_COMMIT: u32 = 0x20;
const INCOMPAT_READABLE: u32 = INCOMPAT_REVOKE
    | INCOMPAT_64BIT
    | INCOMPAT_ASYNC_COMMIT
    | INCOMPAT_CSUM_V2
    | INCOMPAT_CSUM_V3
    | INCOMPAT_FAST_COMMIT;

const TAG_ESCAPED: u32 = 1;
const TAG_SAME_UUID: u32 = 2;
const TAG_LAST: u32 = 8;

const HEADER_BYTES: usize = 12;
const REVOKE_HEADER_BYTES: usize = 16;
const COMMIT_HEADER_BYTES: usize = 64;
const COMMIT_CHECKSUM_AT: usize = 16;
const COMMIT_SECONDS_AT: usize = 48;
const SUPERBLOCK_BYTES: usize = 1024;
const SUPERBLOCK_CHECKSUM_AT: usize = 0xFC;
const UUID_BYTES: usize = 16;
/// `JBD2_CRC32_CHKSUM`, and the length of such a checksum.
const CRC32_KIND: [u8; 2] = [1, 4];

/// `JBD2_DEFAULT_FAST_COMMIT_BLOCKS`
const FAST_COMMIT_BLOCKS: u32 = 256;
/// `JBD2_MIN_JOURNAL_BLOCKS`
const BLOCKS_MIN: u32 = 1024;
/// The largest journal that `mke2fs(8)` makes.
const BLOCKS_MAX: u32 = 10_240_000;
/// `EXT4_FC_TAG_HEAD` of `fs/ext4/fast_commit.h`: with it a run of fast commits begins.
const FAST_COMMIT_HEAD: u16 = 9;

/// What the tables of one replay may take: 256 MiB, at some 64 bytes for every block in the log or revoked.
const LOGGED_MAX: usize = 4 << 20;

/// Returns which blocks the log of `disk` has newer, and where.
///
/// # Errors
/// [`Error::Unsupported`] for an external journal, fast commits that are not in place yet, and features that are not
/// known; [`Error::Damaged`] where the kernel would not mount.
pub(super) fn replay(disk: &Disk) -> Result<Log, Error> {
    let sb = &disk.superblock;
    if !sb.features.has_journal() {
        return Err(damaged("the file system wants it replayed and has none".to_owned()));
    }
    if sb.journal_inode == 0 {
        return Err(Error::Unsupported(
            "journal: it is on another device, and what it holds is not in place yet".to_owned(),
        ));
    }
    let record = disk.record(sb.journal_inode)?;
    let journal = Journal::open(disk, &record)?;
    if journal.start == 0 {
        return Ok(Log::new());
    }
    let end = journal.scan()?;
    journal.check_fast_commits(end)?;
    let revoked = journal.revoked(end)?;
    journal.logged(end, &revoked)
}

struct Journal<'a> {
    disk: &'a Disk,
    map: FileMap,
    compat: u32,
    incompat: u32,
    seed: u32,
    /// The blocks of the log proper: a ring.
    first: u32,
    last: u32,
    /// Where the area of fast commits ends that follows the log, if there is one.
    end: u32,
    /// Where the oldest transaction begins; 0 if there is none.
    start: u32,
    /// The number of that transaction.
    sequence: u32,
}

/// A block of the log that is none of data.
struct Step {
    kind: u32,
    block: Vec<u8>,
    /// The next block.
    next: u32,
}

/// What a descriptor block says of one block of data.
struct Tag {
    block: u64,
    flags: u32,
    checksum: u32,
}

impl<'a> Journal<'a> {
    fn open(disk: &'a Disk, record: &Record) -> Result<Self, Error> {
        let map = map::of(disk, record)?;
        let mut journal =
            Self { disk, map, compat: 0, incompat: 0, seed: 0, first: 0, last: 0, end: 0, start: 0, sequence: 0 };
        let block = journal.block(0)?;
        let fields = Fields { bytes: &block, what: "journal superblock" };
        let (magic, kind) = (fields.be32(0)?, fields.be32(4)?);
        if magic != JOURNAL_MAGIC || !matches!(kind, SUPERBLOCK_V1 | SUPERBLOCK_V2) {
            return Err(damaged(format!("its superblock has magic {magic:#x} and type {kind}")));
        }
        if kind == SUPERBLOCK_V2 {
            (journal.compat, journal.incompat) = (fields.be32(0x24)?, fields.be32(0x28)?);
            journal.seed = crc32c(!0, fields.slice(0x30, UUID_BYTES)?);
        }
        journal.check_features(fields)?;
        journal.read_shape(fields, record)?;
        Ok(journal)
    }

    fn check_features(&self, fields: Fields<'_>) -> Result<(), Error> {
        let unknown = self.incompat & !INCOMPAT_READABLE;
        if unknown != 0 {
            return Err(Error::Unsupported(format!("journal: it uses features that are not read: {unknown:#x}")));
        }
        if !self.has_checksums() {
            return Ok(());
        }
        let kind = fields.byte(0x50)?;
        if kind != 4 {
            return Err(Error::Unsupported(format!(
                "journal: its checksums are of type {kind}, and 4 (crc32c) is read"
            )));
        }
        let bytes = fields.slice(0, SUPERBLOCK_BYTES)?;
        if sum_without(!0, bytes, SUPERBLOCK_CHECKSUM_AT) != fields.be32(SUPERBLOCK_CHECKSUM_AT)? {
            return Err(damaged("the checksum of its superblock does not hold".to_owned()));
        }
        Ok(())
    }

    fn read_shape(&mut self, fields: Fields<'_>, record: &Record) -> Result<(), Error> {
        let (block_bytes, blocks) = (u64::from(fields.be32(0xC)?), fields.be32(0x10)?);
        let file_blocks = record.size_bytes / self.disk.superblock.block_bytes;
        (self.first, self.last, self.end) = (fields.be32(0x14)?, blocks, blocks);
        (self.sequence, self.start) = (fields.be32(0x18)?, fields.be32(0x1C)?);
        if self.incompat & INCOMPAT_FAST_COMMIT != 0 {
            let wanted = fields.be32(0x54)?;
            let wanted = if wanted == 0 { FAST_COMMIT_BLOCKS } else { wanted };
            self.last = blocks.checked_sub(wanted).filter(|last| *last >= BLOCKS_MIN).unwrap_or(blocks);
        }
        let sound = block_bytes == self.disk.superblock.block_bytes
            && u64::from(blocks) <= file_blocks.min(BLOCKS_MAX.into())
            && self.first > 0
            && self.first < self.last
            && (self.start == 0 || (self.first..self.last).contains(&self.start));
        if !sound {
            return Err(damaged(format!(
                "{blocks} blocks of {block_bytes} bytes in a file of {file_blocks}, the log from {} to {}, begun at {}",
                self.first, self.last, self.start
            )));
        }
        Ok(())
    }

    fn has_checksums(&self) -> bool {
        self.incompat & (INCOMPAT_CSUM_V2 | INCOMPAT_CSUM_V3) != 0
    }

    /// Returns where on the volume a block of the journal is.
    fn at(&self, block: u32) -> Result<u64, Error> {
        let offset = u64::from(block) * self.disk.superblock.block_bytes;
        let index = self.map.extents.partition_point(|extent| extent.offset + extent.length <= offset);
        match self.map.extents.get(index) {
            Some(extent) if extent.offset <= offset => Ok(extent.at + (offset - extent.offset)),
            _ => Err(damaged(format!("its block {block} is a hole"))),
        }
    }

    fn block(&self, block: u32) -> Result<Vec<u8>, Error> {
        self.disk.read(self.at(block)?, self.disk.superblock.block_bytes)
    }

    /// Returns the block `count` after `block`, which the end of the log continues at its start.
    fn after(&self, block: u32, count: u32) -> u32 {
        let ring = u64::from(self.last - self.first);
        let position = u64::from(block - self.first) + u64::from(count);
        self.first + (position % ring) as u32
    }

    /// Reads the block at `at` if it is one of transaction `sequence`.
    fn step(&self, at: u32, sequence: u32) -> Result<Option<Step>, Error> {
        let block = self.block(at)?;
        let fields = Fields { bytes: &block, what: "journal block" };
        let (magic, kind, own_sequence) = (fields.be32(0)?, fields.be32(4)?, fields.be32(8)?);
        let continues = magic == JOURNAL_MAGIC && own_sequence == sequence;
        Ok(continues.then_some(Step { kind, block, next: self.after(at, 1) }))
    }

    /// Finds the number of the first transaction that is not complete (`PASS_SCAN`).
    fn scan(&self) -> Result<u32, Error> {
        let (mut at, mut sequence) = (self.start, self.sequence);
        // Blocks of an older round of the ring may have fallen to checksums and not to their number; their commit is older too.
        let (mut is_stale, mut last_commit) = (false, 0);
        let mut failed = None;
        let mut sum = !0;
        let mut budget = Budget(self.last - self.first);
        while let Some(step) = self.step(at, sequence)? {
            at = step.next;
            budget.spend(1)?;
            match step.kind {
                DESCRIPTOR => {
                    is_stale |= !self.has_sound_tail(&step.block)?;
                    let count = self.tags(&step.block)?.len() as u32;
                    budget.spend(count)?;
                    if self.compat & COMPAT_CHECKSUM != 0 && failed.is_none() {
                        sum = self.sum_of_data(crc32_be(sum, &step.block), at, count)?;
                    }
                    at = self.after(at, count);
                }
                REVOKE => is_stale |= !self.has_sound_tail(&step.block)?,
                COMMIT => {
                    let committed = Fields { bytes: &step.block, what: "commit block" }.be64(COMMIT_SECONDS_AT)?;
                    if is_stale {
                        return self.end_at_stale(committed >= last_commit, sequence, failed);
                    }
                    if !self.is_sound_commit(&step.block, sum)? {
                        if committed < last_commit {
                            break;
                        }
                        if self.incompat & INCOMPAT_ASYNC_COMMIT == 0 {
                            return Err(damaged(format!("the checksum of transaction {sequence} does not hold")));
                        }
                        // The commit block may have been written before the data that it commits.
                        failed.get_or_insert(sequence);
                    }
                    (last_commit, sum) = (committed, !0);
                    sequence = sequence.wrapping_add(1);
                }
                _ => break,
            }
        }
        Ok(failed.unwrap_or(sequence))
    }

    /// Tells what a commit block after a block with a bad checksum means: if it is not older than the one before it, the
    /// transaction is real and damaged; else it is from an older round.
    fn end_at_stale(&self, is_newer: bool, sequence: u32, failed: Option<u32>) -> Result<u32, Error> {
        if is_newer {
            return Err(damaged(format!("a checksum in transaction {sequence} does not hold")));
        }
        Ok(failed.unwrap_or(sequence))
    }

    fn sum_of_data(&self, mut sum: u32, mut at: u32, count: u32) -> Result<u32, Error> {
        for _ in 0..count {
            sum = crc32_be(sum, &self.block(at)?);
            at = self.after(at, 1);
        }
        Ok(sum)
    }

    /// Verifies the checksum at the end of a descriptor or revoke block.
    fn has_sound_tail(&self, block: &[u8]) -> Result<bool, Error> {
        let tail = block.len() - 4;
        let stored = Fields { bytes: block, what: "journal block" }.be32(tail)?;
        Ok(!self.has_checksums() || sum_without(self.seed, block, tail) == stored)
    }

    fn is_sound_commit(&self, block: &[u8], sum: u32) -> Result<bool, Error> {
        let fields = Fields { bytes: block, what: "commit block" };
        let stored = fields.be32(COMMIT_CHECKSUM_AT)?;
        if self.compat & COMPAT_CHECKSUM != 0 {
            let kind = fields.slice(HEADER_BYTES, 2)?;
            return Ok(kind == CRC32_KIND && stored == sum || kind == [0, 0] && stored == 0);
        }
        if !self.has_checksums() || sum_without(self.seed, block, COMMIT_CHECKSUM_AT) == stored {
            return Ok(true);
        }
        // All that counts lies in the first sector, and a crash may have kept the others from being written
        // (`jbd2_commit_block_csum_verify_partial`).
        let mut blanked = fields.slice(0, COMMIT_HEADER_BYTES)?.to_vec();
        blanked.resize(block.len(), 0);
        Ok(sum_without(self.seed, &blanked, COMMIT_CHECKSUM_AT) == stored)
    }

    /// Refuses if the area of fast commits continues the log.
    fn check_fast_commits(&self, end: u32) -> Result<(), Error> {
        // The area begins one block later than it could (`jbd2_journal_initialize_fast_commit`).
        if self.incompat & INCOMPAT_FAST_COMMIT == 0 || self.last.saturating_add(1) >= self.end {
            return Ok(());
        }
        let block = self.block(self.last + 1)?;
        let fields = Fields { bytes: &block, what: "fast commit" };
        if fields.le16(0)? == FAST_COMMIT_HEAD && fields.le32(8)? == end {
            return Err(Error::Unsupported(
                "journal: it ends with fast commits, which are not replayed; freeze the guest, or make its backup again"
                    .to_owned(),
            ));
        }
        Ok(())
    }

    /// Returns the blocks that were freed, with the last transaction whose log of them does not count (`PASS_REVOKE`).
    fn revoked(&self, end: u32) -> Result<HashMap<u64, u32>, Error> {
        let mut revoked = HashMap::new();
        self.pass(end, |step, sequence| {
            if step.kind == REVOKE {
                self.take_revoked(&step.block, sequence, &mut revoked)?;
            }
            Ok(())
        })?;
        Ok(revoked)
    }

    fn take_revoked(&self, block: &[u8], sequence: u32, revoked: &mut HashMap<u64, u32>) -> Result<(), Error> {
        let fields = Fields { bytes: block, what: "revoke block" };
        let used = fields.be32(HEADER_BYTES)? as usize;
        let room = block.len() - if self.has_checksums() { 4 } else { 0 };
        if used > room {
            return Err(damaged(format!("a revoke block with {used} bytes in {room}")));
        }
        let is_wide = self.incompat & INCOMPAT_64BIT != 0;
        let record_bytes = if is_wide { 8 } else { 4 };
        for at in (REVOKE_HEADER_BYTES..=used.saturating_sub(record_bytes)).step_by(record_bytes) {
            let number = if is_wide { fields.be64(at)? } else { fields.be32(at)?.into() };
            let last = revoked.entry(number).or_insert(sequence);
            if is_later(sequence, *last) {
                *last = sequence;
            }
            check_count(revoked.len())?;
        }
        Ok(())
    }

    /// Returns where the newest version of each block is (`PASS_REPLAY`).
    fn logged(&self, end: u32, revoked: &HashMap<u64, u32>) -> Result<Log, Error> {
        let mut log = Log::new();
        self.pass(end, |step, sequence| {
            if step.kind != DESCRIPTOR {
                return Ok(());
            }
            let mut at = step.next;
            for tag in self.tags(&step.block)? {
                // A block that was freed in this transaction or a later one belongs to somebody else now.
                let is_revoked = revoked.get(&tag.block).is_some_and(|last| !is_later(sequence, *last));
                if !is_revoked {
                    log.insert(tag.block, self.logged_block(&tag, at, sequence)?);
                    check_count(log.len())?;
                }
                at = self.after(at, 1);
            }
            Ok(())
        })?;
        Ok(log)
    }

    fn logged_block(&self, tag: &Tag, at: u32, sequence: u32) -> Result<Logged, Error> {
        // Block 0 is one that the log may have: the superblock of a file system with larger blocks lies in it.
        if tag.block >= self.disk.superblock.blocks {
            return Err(damaged(format!("transaction {sequence} changes block {}, which there is not", tag.block)));
        }
        if self.has_checksums() {
            let sum = crc32c(crc32c(self.seed, &sequence.to_be_bytes()), &self.block(at)?);
            let mask = if self.incompat & INCOMPAT_CSUM_V3 != 0 { !0 } else { 0xFFFF };
            if sum & mask != tag.checksum {
                return Err(damaged(format!(
                    "the checksum of block {} in transaction {sequence} does not hold",
                    tag.block
                )));
            }
        }
        Ok(Logged { at: self.at(at)?, escaped: tag.flags & TAG_ESCAPED != 0 })
    }

    /// Calls `each` for every descriptor, revoke and commit block of the transactions before `end`.
    fn pass(&self, end: u32, mut each: impl FnMut(&Step, u32) -> Result<(), Error>) -> Result<(), Error> {
        let (mut at, mut sequence) = (self.start, self.sequence);
        while sequence != end {
            let Some(step) = self.step(at, sequence)? else {
                return Err(damaged(format!("transaction {sequence} breaks off")));
            };
            each(&step, sequence)?;
            at = match step.kind {
                DESCRIPTOR => self.after(step.next, self.tags(&step.block)?.len() as u32),
                _ => step.next,
            };
            sequence = if step.kind == COMMIT { sequence.wrapping_add(1) } else { sequence };
        }
        Ok(())
    }

    /// Returns what a descriptor block says of the blocks that follow it.
    fn tags(&self, block: &[u8]) -> Result<Vec<Tag>, Error> {
        let fields = Fields { bytes: block, what: "descriptor block" };
        let (is_v3, is_v2) = (self.incompat & INCOMPAT_CSUM_V3 != 0, self.incompat & INCOMPAT_CSUM_V2 != 0);
        let is_wide = self.incompat & INCOMPAT_64BIT != 0;
        let tag_bytes = if is_v3 { 16 } else { 8 + if is_wide { 4 } else { 0 } + if is_v2 { 2 } else { 0 } };
        let end = block.len() - if self.has_checksums() { 4 } else { 0 };
        let (mut tags, mut at) = (Vec::new(), HEADER_BYTES);
        while at + tag_bytes <= end {
            let high = if is_wide { u64::from(fields.be32(at + 8)?) } else { 0 };
            let block = high << 32 | u64::from(fields.be32(at)?);
            let tag = if is_v3 {
                Tag { block, flags: fields.be32(at + 4)?, checksum: fields.be32(at + 12)? }
            } else {
                Tag { block, flags: fields.be16(at + 6)?.into(), checksum: fields.be16(at + 4)?.into() }
            };
            let flags = tag.flags;
            tags.push(tag);
            at += tag_bytes + if flags & TAG_SAME_UUID == 0 { UUID_BYTES } else { 0 };
            if flags & TAG_LAST != 0 {
                break;
            }
        }
        Ok(tags)
    }
}

/// How many blocks of the log may still be walked: a ring that is longer than itself has no end.
struct Budget(u32);

impl Budget {
    fn spend(&mut self, blocks: u32) -> Result<(), Error> {
        let left = self.0.checked_sub(blocks);
        self.0 = left.ok_or_else(|| damaged("its transactions are longer than the log".to_owned()))?;
        Ok(())
    }
}

/// Returns the CRC-32C of `bytes` with the four bytes at `at` taken as zeros.
fn sum_without(seed: u32, bytes: &[u8], at: usize) -> u32 {
    let (before, rest) = bytes.split_at(at.min(bytes.len()));
    crc32c(crc32c(crc32c(seed, before), &[0; 4]), rest.get(4..).unwrap_or_default())
}

/// Tells whether a transaction comes after another; their numbers wrap around (`tid_gt`).
fn is_later(sequence: u32, other: u32) -> bool {
    sequence.wrapping_sub(other) as i32 > 0
}

fn check_count(count: usize) -> Result<(), Error> {
    if count > LOGGED_MAX {
        return Err(Error::Unsupported(format!("journal: more than {LOGGED_MAX} blocks are to be replayed")));
    }
    Ok(())
}

fn damaged(what: String) -> Error {
    Error::Damaged(format!("journal: {what}"))
}
