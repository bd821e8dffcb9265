//! Where the file systems of a disk lie: partitions (GPT, MBR), logical volumes (LVM), or the whole disk.
//!
//! Promises: every volume lies on the device; two volumes may overlap only if the table says so, and that is told.

mod gpt;
mod identify;
mod lvm;
mod mbr;
#[cfg(test)]
mod tests;
mod volume;

use super::{Device, Error, bytes, ext4};
pub use identify::{holds_something, identify};
use std::sync::Arc;
pub use volume::{Piece, Volume, VolumeDevice, Volumes};

/// Looks for the volumes of a disk. A disk without a table is one volume, `fs`.
///
/// # Errors
/// If not even the beginning of the disk can be read; trouble with one table or volume is a note.
pub fn find(device: &Arc<dyn Device>) -> Result<Volumes, Error> {
    let first_sector = bytes::read(device.as_ref(), 0, device.size_bytes().min(512))?;
    let table = gpt::find(device.as_ref(), &first_sector)
        .or_else(|| mbr::find(device.as_ref(), &first_sector).filter(|found| !is_left_over(device, found)));
    let mut found = table.unwrap_or_else(|| whole(device.as_ref()));
    tell_overlaps(&mut found);
    lvm::expand(device, &mut found);
    Ok(found)
}

fn whole(device: &dyn Device) -> Volumes {
    let piece = Piece { offset: 0, at: 0, length: device.size_bytes() };
    let volume = Volume { name: "fs".to_owned(), label: String::new(), pieces: vec![piece] };
    Volumes { volumes: vec![volume], ..Volumes::default() }
}

/// Tells whether a table is what `mkfs` on the whole disk left in the sector before its superblock: nothing known is in any of its
/// partitions, and there is a file system that begins where the disk does.
fn is_left_over(device: &Arc<dyn Device>, found: &Volumes) -> bool {
    let is_known = |volume: &Volume| {
        let kind = identify(&VolumeDevice { device: Arc::clone(device), volume: volume.clone() });
        kind.is_some_and(|kind| !matches!(kind, "bsd" | "ldm"))
    };
    ext4::is(device.as_ref()) && ext4::open(Arc::clone(device)).is_ok() && !found.volumes.iter().any(is_known)
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
