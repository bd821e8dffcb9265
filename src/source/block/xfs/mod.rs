//! XFS, version 4 and 5: what the inodes are, where their bytes lie, what the log holds that is not in place yet.
//!
//! Promises: nothing is written; the log is replayed into memory, so a disk that was copied while it was mounted reads as
//! it would after mounting it. On version 5 the checksum, the UUID, the address and the owner of every structure hold
//! before it is believed; of blocks that the log changed all but the checksum, as in the kernel, which makes a new one. A
//! log that ends in a change that only XFS itself can finish is refused by name. Version 4 has no checksums: there only
//! contradictions are found.
//!
//! Sources: `fs/xfs/libxfs/xfs_format.h`, `xfs_da_format.h`, `xfs_log_format.h` and `fs/xfs/xfs_log_recover.c` of Linux 6.12,
//! and "XFS Algorithms & Data Structures", 3rd edition.

mod attr;
mod bmap;
mod checksum;
mod chunks;
mod dir;
mod inode;
mod log;
mod superblock;
mod tell;
#[cfg(test)]
mod tests;
mod volume;

use super::{Device, Entry, Error, FileSystem, Info, Inode, Records, State, bytes};
use chunks::{Chunk, INODES_PER_CHUNK};
use inode::Record;
use std::ops::{ControlFlow, RangeInclusive};
use std::sync::Arc;
use superblock::Superblock;
use volume::Volume;

/// How much of the inode tables is read at once.
const SCAN_BYTES: u64 = 1 << 20;
/// How many chunks of inodes are fetched ahead: 4 MiB, where an inode has 512 bytes.
const CHUNKS_AHEAD: usize = 128;

/// An XFS file system.
pub struct Xfs {
    volume: Volume,
    info: Info,
}

/// Tells whether `device` begins as an XFS does.
pub fn is(device: &dyn Device) -> bool {
    bytes::read(device, 0, 4).is_ok_and(|magic| magic == superblock::MAGIC)
}

/// Opens the file system on `device`, with what its log holds in place.
///
/// # Errors
/// [`Error::Unsupported`] for features that are not read and for a log that cannot be replayed here; [`Error::Damaged`].
pub fn open(device: Arc<dyn Device>) -> Result<Xfs, Error> {
    let superblock = Superblock::load(device.as_ref())?;
    let mut volume = Volume::new(device, superblock);
    log::replay(&mut volume)?;
    volume.reload_superblock()?;
    let info = info(&volume);
    Ok(Xfs { volume, info })
}

fn info(volume: &Volume) -> Info {
    let superblock = volume.superblock();
    let state = match volume.replayed_blocks() {
        0 => State::Clean,
        blocks => State::Replayed { blocks },
    };
    Info {
        kind: "xfs",
        uuid: superblock.uuid_text(),
        label: superblock.label.clone(),
        state,
        features: superblock.feature_names(),
        odd: None,
    }
}

impl FileSystem for Xfs {
    fn info(&self) -> &Info {
        &self.info
    }

    fn logged(&self, each: &mut dyn FnMut(u64, u64)) {
        self.volume.for_each_replayed(each);
    }

    fn root(&self) -> u64 {
        self.volume.superblock().root
    }

    fn records(&self) -> Option<&dyn Records> {
        Some(self)
    }

    fn scan_inodes(&self, each: &mut dyn FnMut(Result<Inode, (u64, Error)>) -> ControlFlow<()>) -> Result<(), Error> {
        for group in 0..self.volume.superblock().groups {
            let chunks = chunks::load(&self.volume, group)?;
            if self.scan_group(&chunks, each)?.is_break() {
                break;
            }
        }
        Ok(())
    }

    fn inode(&self, number: u64) -> Result<Inode, Error> {
        let bytes = self.volume.inode_bytes(number)?;
        let inode = Record::new(&self.volume, number, &bytes.bytes, bytes.replayed)?.inode()?;
        inode.ok_or(Error::NotInUse(number))
    }

    fn list(&self, directory: &Inode, each: &mut dyn FnMut(Entry)) -> Result<(), Error> {
        let bytes = self.volume.inode_bytes(directory.number)?;
        let record = Record::new(&self.volume, directory.number, &bytes.bytes, bytes.replayed)?;
        dir::list(&self.volume, &record, each)
    }
}

impl Records for Xfs {
    fn layout(&self) -> String {
        format!("{:?}", self.volume.superblock().without_label())
    }

    fn record_of(&self, number: u64) -> Option<(u64, u64)> {
        let superblock = self.volume.superblock();
        Some((superblock.inode_at(number).ok()?, superblock.inode_bytes))
    }

    fn numbers_in(&self, at: u64, length: u64, each: &mut dyn FnMut(RangeInclusive<u64>)) {
        self.volume.superblock().numbers_in(at, length, each);
    }

    fn check_tables(&self) -> Result<(), Error> {
        (0..self.volume.superblock().groups).try_for_each(|group| chunks::load(&self.volume, group).map(drop))
    }
}

/// A run of bytes that inodes lie in, and those of them that are told.
struct Run {
    at: u64,
    length: u64,
    wanted: Vec<(u64, u64)>,
}

impl Xfs {
    /// Tells the inodes of one allocation group.
    fn scan_group(
        &self,
        chunks: &[Chunk],
        each: &mut dyn FnMut(Result<Inode, (u64, Error)>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, Error> {
        let mut run = Run { at: 0, length: 0, wanted: Vec::new() };
        let size = self.volume.superblock().inode_bytes;
        for (number, chunk) in chunks.iter().enumerate() {
            // Chunks lie among the files: without this a cold disk is waited for at each one.
            if number % CHUNKS_AHEAD == 0 {
                let ahead =
                    chunks[number..].iter().take(2 * CHUNKS_AHEAD).skip(if number == 0 { 0 } else { CHUNKS_AHEAD });
                ahead.for_each(|chunk| self.volume.read_ahead(chunk.at, INODES_PER_CHUNK * size));
            }
            for index in 0..INODES_PER_CHUNK {
                let at = chunk.at + index * size;
                if chunk.is_hole(index) {
                    continue;
                }
                if at != run.at + run.length || run.length + size > SCAN_BYTES {
                    if self.scan_run(&run, each)?.is_break() {
                        return Ok(ControlFlow::Break(()));
                    }
                    run = Run { at, length: 0, wanted: Vec::new() };
                }
                run.length += size;
                let number = chunk.first + index;
                if chunk.is_used(index) && !self.volume.superblock().is_own(number) {
                    run.wanted.push((number, at));
                }
            }
        }
        self.scan_run(&run, each)
    }

    /// Reads a run and tells what is in it.
    fn scan_run(
        &self,
        run: &Run,
        each: &mut dyn FnMut(Result<Inode, (u64, Error)>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, Error> {
        if run.wanted.is_empty() {
            return Ok(ControlFlow::Continue(()));
        }
        let size = self.volume.superblock().inode_bytes;
        let read = self.volume.read(run.at, run.length)?;
        for (number, at) in &run.wanted {
            let from = (at - run.at) as usize;
            let bytes = &read.bytes[from..from + size as usize];
            let replayed = read.replayed && self.volume.was_replayed(*at, size);
            let outcome = Record::new(&self.volume, *number, bytes, replayed).and_then(|record| record.inode());
            let told = match outcome {
                Ok(None) => continue,
                Ok(Some(inode)) => each(Ok(inode)),
                Err(error) => each(Err((*number, error))),
            };
            if told.is_break() {
                return Ok(told);
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}
