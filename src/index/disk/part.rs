//! Where a disk is in the tree of its generation, and in what places count in: the only one, or one of those of a guest.
//! Values only.

use super::new::GuestDisk;
use crate::model::{DISK_BITS, EntryName, disk_begin};
use crate::source::block::Device;
use crate::source::block::volumes::{Piece, Volume, VolumeDevice};
use std::sync::Arc;

/// A disk of a generation.
#[derive(Clone, Debug, Default)]
pub(super) struct Part {
    /// Its folder; none: the top.
    folder: Option<String>,
    /// Where its places begin.
    pub(super) begin: u64,
    pub(super) size_bytes: u64,
    /// How much of it is in image files.
    pub(super) allocated_bytes: u64,
}

impl Part {
    /// Returns the only disk of a source.
    pub(super) fn only(size_bytes: u64, allocated_bytes: u64) -> Self {
        Self { size_bytes, allocated_bytes, ..Self::default() }
    }

    pub(super) fn of(disk: &GuestDisk) -> Self {
        Self {
            folder: Some(disk.name.clone()),
            begin: disk_begin(disk.number),
            size_bytes: disk.size_bytes,
            allocated_bytes: disk.allocated_bytes,
        }
    }

    /// Returns the path of what is at `below` in its folder.
    pub(super) fn path(&self, below: &[EntryName]) -> Vec<EntryName> {
        let folder = self.folder.iter().filter_map(|folder| EntryName::new(folder.as_bytes()).ok());
        folder.chain(below.iter().cloned()).collect()
    }

    /// As [`Part::path`], as text.
    pub(super) fn text(&self, below: &str) -> String {
        self.folder.as_ref().map_or_else(|| below.to_owned(), |folder| format!("{folder}/{below}"))
    }

    /// Returns what a path as text is below its folder, if it is.
    pub(super) fn below<'p>(&self, path: &'p str) -> Option<&'p str> {
        match &self.folder {
            None => Some(path),
            Some(folder) => path.strip_prefix(folder.as_str())?.strip_prefix('/'),
        }
    }

    /// Returns the disk alone, where `all` is all that the generation has.
    pub(super) fn device(&self, all: &Arc<dyn Device>) -> Arc<dyn Device> {
        if self.folder.is_none() {
            return Arc::clone(all);
        }
        let piece = Piece { offset: 0, at: self.begin, length: self.size_bytes };
        let volume = Volume { name: String::new(), label: String::new(), pieces: vec![piece] };
        Arc::new(VolumeDevice { device: Arc::clone(all), volume })
    }

    /// Returns a volume of the disk as one of all that the generation has; one that would reach into the next disk, as one without bytes.
    pub(super) fn placed(&self, mut volume: Volume) -> Volume {
        volume.name = self.text(&volume.name);
        if volume.pieces.iter().any(|piece| piece.at.saturating_add(piece.length) > 1 << DISK_BITS)
            && self.folder.is_some()
        {
            volume.pieces.clear();
        }
        volume.pieces.iter_mut().for_each(|piece| piece.at += self.begin);
        volume
    }

    /// Tells whether any of these runs is on it.
    pub(super) fn has_any(&self, runs: &[(u64, u64)]) -> bool {
        if self.folder.is_none() {
            return !runs.is_empty();
        }
        let end = self.begin + (1 << DISK_BITS);
        runs.iter().any(|(at, length)| *at < end && at + length > self.begin)
    }
}
