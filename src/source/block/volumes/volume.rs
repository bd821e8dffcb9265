//! What may hold a file system, and where on the disk its bytes are.
//! A volume that is made of pieces reads as one device.

use crate::source::block::Device;
use std::io;
use std::sync::Arc;

/// A run of a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Where in the volume.
    pub offset: u64,
    /// Where on the disk.
    pub at: u64,
    /// How long.
    pub length: u64,
}

/// Something that may hold a file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// Its directory in the tree of the disk: `p1`, `lvm/VG/LV`, `fs` for a whole disk.
    pub name: String,
    /// Its type and label as the table says: `Linux filesystem "root"`; empty for a whole disk.
    pub label: String,
    /// Where its bytes are: without gap or overlap, from offset 0 on.
    pub pieces: Vec<Piece>,
}

/// What a disk holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Volumes {
    /// In the order of the tables.
    pub volumes: Vec<Volume>,
    /// What volumes are made of, and is no volume itself: physical volumes of LVM, with what they are.
    pub members: Vec<(Volume, String)>,
    /// What is odd or not read: the place (`gpt`, `p3`, `lvm/VG/LV`) and what about it, in one line each.
    pub notes: Vec<(String, String)>,
}

/// A volume of a device.
pub struct VolumeDevice {
    /// The disk.
    pub device: Arc<dyn Device>,
    /// The volume.
    pub volume: Volume,
}

impl Volume {
    /// Returns its size in bytes.
    pub fn size_bytes(&self) -> u64 {
        self.pieces.last().map_or(0, |piece| piece.offset + piece.length)
    }

    /// Calls `each` with where on the disk the runs are that `length` bytes from `offset` on lie in, in order: offset in the
    /// volume, offset on the disk, length. What lies past its end is left out.
    pub fn locate(&self, offset: u64, length: u64, mut each: impl FnMut(u64, u64, u64)) {
        let end = offset.saturating_add(length);
        let first = self.pieces.partition_point(|piece| piece.offset + piece.length <= offset);
        for piece in &self.pieces[first..] {
            if piece.offset >= end {
                break;
            }
            let from = piece.offset.max(offset);
            let until = (piece.offset + piece.length).min(end);
            each(from, piece.at + (from - piece.offset), until - from);
        }
    }
}

impl Device for VolumeDevice {
    fn size_bytes(&self) -> u64 {
        self.volume.size_bytes()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let end = offset.checked_add(buffer.len() as u64).filter(|end| *end <= self.size_bytes());
        if end.is_none() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut outcome = Ok(());
        self.volume.locate(offset, buffer.len() as u64, |from, at, length| {
            let start = (from - offset) as usize;
            if outcome.is_ok() {
                outcome = self.device.read_at(&mut buffer[start..start + length as usize], at);
            }
        });
        outcome
    }

    fn read_ahead(&self, offset: u64, length: u64) {
        self.volume.locate(offset, length, |_, at, length| self.device.read_ahead(at, length));
    }
}
