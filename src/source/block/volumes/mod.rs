//! Where the file systems of a disk lie: partitions (GPT, MBR), logical volumes (LVM), or the whole disk.
//!
//! Promises: every volume lies on the device; two volumes may overlap only if the table says so, and that is told.

mod gpt;
mod identify;
mod lvm;
mod mbr;
#[cfg(test)]
mod tests;

pub use identify::identify;

use super::{Device, Error, bytes};
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

/// Looks for the volumes of a disk. A disk without a table is one volume, `fs`.
///
/// # Errors
/// If not even the beginning of the disk can be read; trouble with one table or volume is a note.
pub fn find(device: &Arc<dyn Device>) -> Result<Volumes, Error> {
    let first_sector = bytes::read(device.as_ref(), 0, device.size_bytes().min(512))?;
    let table = gpt::find(device.as_ref(), &first_sector).or_else(|| mbr::find(device.as_ref(), &first_sector));
    let mut found = table.unwrap_or_else(|| whole(device.as_ref()));
    tell_overlaps(&mut found);
    lvm::expand(device, &mut found);
    Ok(found)
}

fn whole(device: &dyn Device) -> Volumes {
    let piece = Piece { offset: 0, at: 0, length: device.size_bytes() };
    let volume = Volume { name: "fs".to_owned(), label: String::new(), pieces: vec![piece] };
    Volumes { volumes: vec![volume], notes: Vec::new() }
}

/// Notes each partition that begins before one that lies in front of it ends.
fn tell_overlaps(found: &mut Volumes) {
    let runs = found.volumes.iter().filter_map(|volume| Some((volume.pieces.first()?, &volume.name)));
    let mut runs: Vec<_> = runs.map(|(piece, name)| (piece.at, piece.at + piece.length, name)).collect();
    runs.sort();
    let mut longest: Option<(u64, &String)> = None;
    for (at, end, name) in runs {
        if let Some((reach, other)) = longest.filter(|(reach, _)| *reach > at) {
            found.notes.push((name.clone(), format!("overlaps {other} by {} bytes", reach.min(end) - at)));
        }
        longest = longest.max(Some((end, name)));
    }
}
