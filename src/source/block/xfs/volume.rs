//! The volume as it is after the log was replayed: the device, and above it the sectors that the log changed.
//!
//! Promises: what is read always has the log's changes in it, and says whether it has any.

use super::super::bytes::{self, Fields};
use super::super::{Device, Error};
use super::checksum::crc_holds;
use super::superblock::Superblock;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The unit of the log: `BBSIZE`.
pub(super) const SECTOR: u64 = 512;
/// The most that is kept of what the log changes; a log has at most 2 GiB, and its changes overlap.
const REPLAYED_MAX_BYTES: u64 = 256 << 20;

/// A device with what its log changes.
pub(super) struct Volume {
    device: Arc<dyn Device>,
    superblock: Superblock,
    replayed: BTreeMap<u64, Box<[u8; SECTOR as usize]>>,
    /// Sectors whose checksum did not hold before the log changed a part of them.
    doubtful: BTreeSet<u64>,
}

/// Bytes of the volume.
pub(super) struct Read {
    /// As many as were wanted.
    pub(super) bytes: Vec<u8>,
    /// Whether some are from the log: then a checksum over them means nothing.
    pub(super) replayed: bool,
}

/// Where a structure of version 5 says who it is.
pub(super) struct Seal {
    /// Offset of the checksum.
    pub(super) crc: usize,
    /// Offset of the UUID.
    pub(super) uuid: usize,
    /// Offset of its own address, in sectors.
    pub(super) address: Option<usize>,
    /// Offset of the number of the inode that it belongs to.
    pub(super) owner: Option<usize>,
}

impl Volume {
    /// Returns the volume without any change.
    pub(super) fn new(device: Arc<dyn Device>, superblock: Superblock) -> Self {
        Self { device, superblock, replayed: BTreeMap::new(), doubtful: BTreeSet::new() }
    }

    /// Returns the superblock.
    pub(super) fn superblock(&self) -> &Superblock {
        &self.superblock
    }

    /// Returns the device without the changes, where the log itself is read.
    pub(super) fn device(&self) -> Arc<dyn Device> {
        Arc::clone(&self.device)
    }

    /// Takes the superblock that the log left: the file system may have grown.
    pub(super) fn reload_superblock(&mut self) -> Result<(), Error> {
        let read = self.read(0, self.superblock.sector_bytes)?;
        if read.replayed {
            self.superblock = Superblock::parse(&read.bytes, true, self.device.size_bytes())?;
        }
        Ok(())
    }

    /// Returns how many blocks of the file system the log changed.
    pub(super) fn replayed_blocks(&self) -> u64 {
        let sectors_per_block = self.superblock.block_bytes / SECTOR;
        let mut last = None;
        let blocks = self.replayed.keys().map(|sector| sector / sectors_per_block);
        blocks.filter(|block| last.replace(*block) != Some(*block)).count() as u64
    }

    /// Calls `each` for every run that the log changed.
    pub(super) fn for_each_replayed(&self, each: &mut dyn FnMut(u64, u64)) {
        self.replayed.keys().for_each(|sector| each(sector * SECTOR, SECTOR));
    }

    /// Tells whether the log changed any of these bytes.
    pub(super) fn was_replayed(&self, at: u64, length: u64) -> bool {
        let sectors = at / SECTOR..at.saturating_add(length).div_ceil(SECTOR);
        !self.replayed.is_empty() && self.replayed.range(sectors).next().is_some()
    }

    fn is_doubtful(&self, at: u64, length: u64) -> bool {
        self.doubtful.range(at / SECTOR..at.saturating_add(length).div_ceil(SECTOR)).next().is_some()
    }

    /// Says that this will be read soon.
    pub(super) fn read_ahead(&self, at: u64, length: u64) {
        self.device.read_ahead(at, length);
    }

    /// Reads bytes.
    pub(super) fn read(&self, at: u64, length: u64) -> Result<Read, Error> {
        let mut bytes = bytes::read(self.device.as_ref(), at, length)?;
        let end = at + length;
        let mut replayed = false;
        for (sector, from_log) in self.replayed.range(at / SECTOR..end.div_ceil(SECTOR)) {
            let start = sector * SECTOR;
            let (from, until) = (start.max(at), (start + SECTOR).min(end));
            let source = &from_log[(from - start) as usize..(until - start) as usize];
            bytes[(from - at) as usize..(until - at) as usize].copy_from_slice(source);
            replayed = true;
        }
        Ok(Read { bytes, replayed })
    }

    /// Puts `after` where `before` was read, from a whole sector on. Sectors that are the same stay the device's: then
    /// their checksums still count, and a log that says what is in place already changes nothing.
    pub(super) fn replace(&mut self, at: u64, before: &[u8], after: &[u8]) -> Result<(), Error> {
        let size = SECTOR as usize;
        let pairs = before.chunks_exact(size).zip(after.chunks_exact(size));
        for (index, (_, new)) in pairs.enumerate().filter(|(_, (old, new))| old != new) {
            let sector: &[u8; SECTOR as usize] = new.try_into().expect("a whole sector");
            self.replayed.insert(at / SECTOR + index as u64, Box::new(*sector));
        }
        if self.replayed.len() as u64 * SECTOR > REPLAYED_MAX_BYTES {
            return Err(Error::Unsupported(format!(
                "the log changes more than {} MiB; freeze the guest",
                REPLAYED_MAX_BYTES >> 20
            )));
        }
        Ok(())
    }

    /// Takes note of an inode before the log changes it. The kernel puts a new checksum over what it finds, so damage beside
    /// the change would look whole; here what was damaged before stays damaged. Only of what has one sector can that be
    /// known: of more, a copy made while it was written may have a part, and the log makes that whole again.
    pub(super) fn note_damage(&mut self, at: u64, before: &[u8], crc_at: usize) {
        let length = before.len() as u64;
        let is_unknown = !self.superblock.v5 || length > SECTOR || self.was_replayed(at, length);
        if !is_unknown && !crc_holds(before, crc_at) {
            self.doubtful.insert(at / SECTOR);
        }
    }

    /// Reads the record of an inode.
    pub(super) fn inode_bytes(&self, number: u64) -> Result<Read, Error> {
        self.read(self.superblock.inode_at(number)?, self.superblock.inode_bytes)
    }

    /// Reads a structure that lies in one piece, and checks its seal.
    pub(super) fn structure(
        &self,
        at: u64,
        length: u64,
        seal: &Seal,
        owner: u64,
        what: &str,
    ) -> Result<Vec<u8>, Error> {
        let read = self.read(at, length)?;
        self.check(&read, at, seal, owner, what)?;
        Ok(read.bytes)
    }

    /// Checks a structure that was read.
    pub(super) fn check(&self, read: &Read, at: u64, seal: &Seal, owner: u64, what: &str) -> Result<(), Error> {
        self.check_bytes(&read.bytes, read.replayed, at, seal, owner, what)
    }

    /// Checks that a structure of version 5 is what it should be: whole, of this file system, at its place, its owner's.
    pub(super) fn check_bytes(
        &self,
        bytes: &[u8],
        replayed: bool,
        at: u64,
        seal: &Seal,
        owner: u64,
        what: &str,
    ) -> Result<(), Error> {
        if !self.superblock.v5 {
            return Ok(());
        }
        let fields = Fields { bytes, what };
        let damaged = |found: String| Err(Error::Damaged(format!("{what} at byte {at}: {found}")));
        if !replayed && !crc_holds(bytes, seal.crc) {
            return damaged("its checksum does not hold".to_owned());
        }
        if replayed && self.is_doubtful(at, bytes.len() as u64) {
            return damaged("its checksum did not hold before the log changed it".to_owned());
        }
        if fields.slice(seal.uuid, 16)? != self.superblock.meta_uuid {
            return damaged("it belongs to another file system".to_owned());
        }
        if let Some(address) = seal.address
            && fields.be64(address)? != at / SECTOR
        {
            return damaged(format!("it says that it lies at sector {}", fields.be64(address)?));
        }
        if let Some(at) = seal.owner
            && fields.be64(at)? != owner
        {
            return damaged(format!("it belongs to inode {}", fields.be64(at)?));
        }
        Ok(())
    }
}
