//! Runs of a disk as a file.
//!
//! Promises: a hole and a run that was allocated and never written are zeros, as the file system on the disk has it; every
//! other byte is read from the disk or is an error. What was allocated is data to those who look for holes, and
//! of the disk itself what lies in image files.

use super::Error;
use super::disk::Disk;
use crate::model::{Extent, StoreId};
use std::sync::Arc;

/// Which runs of a disk a file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Runs {
    /// All of it, from this byte on.
    WholeDisk {
        /// Where it begins.
        begin: u64,
    },
    /// These: sorted by their place in the file, without overlap.
    Extents(Vec<Extent>),
}

#[derive(Debug)]
pub(super) struct DiskFile {
    store: StoreId,
    disk: Arc<Disk>,
    runs: Runs,
    size_bytes: u64,
}

impl DiskFile {
    pub(super) fn new(store: StoreId, disk: Arc<Disk>, runs: Runs, size_bytes: u64) -> Self {
        Self { store, disk, runs, size_bytes }
    }

    pub(super) fn store(&self) -> StoreId {
        self.store
    }

    pub(super) fn disk_key(&self) -> (i64, i64) {
        self.disk.key()
    }

    pub(super) fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn wanted(&self, room: usize, offset: u64) -> usize {
        let left = self.size_bytes.saturating_sub(offset);
        usize::try_from(left).map_or(room, |left| room.min(left))
    }

    pub(super) fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize, Error> {
        let wanted = self.wanted(buffer.len(), offset);
        let buffer = &mut buffer[..wanted];
        let extents = match &self.runs {
            Runs::Extents(extents) => extents,
            Runs::WholeDisk { begin } => {
                self.disk.read_at(buffer, begin + offset)?;
                return Ok(wanted);
            }
        };
        let end = offset + wanted as u64;
        let mut at = offset;
        for extent in &extents[first_after(extents, offset)..] {
            let (from, until) = (extent.offset.max(offset), (extent.offset + extent.length).min(end));
            if from >= until {
                break;
            }
            buffer[(at - offset) as usize..(from - offset) as usize].fill(0);
            let part = &mut buffer[(from - offset) as usize..(until - offset) as usize];
            if extent.unwritten {
                part.fill(0);
            } else {
                self.disk.read_at(part, extent.at + (from - extent.offset))?;
            }
            at = until;
        }
        buffer[(at - offset) as usize..].fill(0);
        Ok(wanted)
    }

    pub(super) fn read_cached(&self, buffer: &mut [u8], offset: u64) -> Option<usize> {
        let wanted = self.wanted(buffer.len(), offset);
        let buffer = &mut buffer[..wanted];
        if wanted == 0 {
            return Some(0);
        }
        let at = match &self.runs {
            Runs::WholeDisk { begin } => begin + offset,
            Runs::Extents(extents) => {
                let extent = extents.get(first_after(extents, offset))?;
                let holds = extent.offset <= offset && offset + wanted as u64 <= extent.offset + extent.length;
                if !holds || extent.unwritten {
                    return None;
                }
                extent.at + (offset - extent.offset)
            }
        };
        self.disk.read_cached(buffer, at).then_some(wanted)
    }

    pub(super) fn seek_data(&self, offset: u64) -> Option<u64> {
        let found = match &self.runs {
            Runs::WholeDisk { begin } => self.disk.next_data(begin + offset).map(|at| at - begin),
            Runs::Extents(extents) => {
                let written = extents[first_after(extents, offset)..].iter().find(|e| !e.unwritten);
                written.map(|e| e.offset.max(offset))
            }
        };
        found.filter(|at| *at < self.size_bytes)
    }

    pub(super) fn seek_hole(&self, offset: u64) -> Option<u64> {
        if offset >= self.size_bytes {
            return None;
        }
        let found = match &self.runs {
            Runs::WholeDisk { begin } => self.disk.next_hole(begin + offset) - begin,
            Runs::Extents(extents) => {
                let mut at = offset;
                for extent in &extents[first_after(extents, offset)..] {
                    if extent.offset > at || extent.unwritten {
                        break;
                    }
                    at = extent.offset + extent.length;
                }
                at
            }
        };
        Some(found.min(self.size_bytes))
    }
}

/// Returns the first extent that ends after `offset`.
fn first_after(extents: &[Extent], offset: u64) -> usize {
    extents.partition_point(|e| e.offset + e.length <= offset)
}
