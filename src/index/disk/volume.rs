//! A volume of a disk: the file system in it, its place as text and its path in the tree.
//! Never writes to the catalog.

use crate::catalog::VolumeRow;
use crate::model::EntryName;
use crate::source::block::volumes::{self, Volume};
use crate::source::block::{self, Device, FileSystem, ext4, fat, xfs};
use std::sync::Arc;

/// Opens the file system of a volume; says in `row` what is there otherwise.
pub(super) fn open(device: &Arc<dyn Device>, row: &mut VolumeRow) -> Result<Option<Box<dyn FileSystem>>, block::Error> {
    if device.size_bytes() == 0 {
        return Err(block::Error::Damaged("the table of the disk does not say where it is".to_owned()));
    }
    if ext4::is(&**device) {
        let named = volumes::identify(&**device).filter(|kind| kind.starts_with("ext") || *kind == "jbd");
        row.kind = Some(named.unwrap_or("ext4").to_owned());
        return Ok(Some(Box::new(ext4::open(Arc::clone(device))?)));
    }
    if xfs::is(&**device) {
        row.kind = Some("xfs".to_owned());
        return Ok(Some(Box::new(xfs::open(Arc::clone(device))?)));
    }
    row.kind = volumes::identify(&**device).map(str::to_owned);
    if row.kind.as_deref() == Some("vfat") {
        return Ok(Some(Box::new(fat::open(Arc::clone(device))?)));
    }
    Ok(None)
}

/// Returns where the pieces of a volume are, counted from where its disk begins.
pub(super) fn pieces_text(volume: &Volume, begin: u64) -> String {
    let pieces: Vec<String> =
        volume.pieces.iter().map(|piece| format!("{}+{}", piece.at - begin, piece.length)).collect();
    pieces.join(" ")
}

/// Tells whether a volume is where these pieces are on the disk that begins at `begin`, as far as the shorter of both goes: one that grew is
/// the same.
pub(super) fn is_at(volume: &Volume, pieces: &str, begin: u64) -> bool {
    let number = |text: &str| text.parse::<u64>().ok();
    let mut offset = 0;
    pieces.split(' ').all(|piece| {
        let Some((at, length)) = piece.split_once('+').and_then(|(at, length)| Some((number(at)?, number(length)?)))
        else {
            return false;
        };
        let mut same = true;
        volume.locate(offset, length, |from, on_disk, _| same &= on_disk - begin == at + (from - offset));
        offset += length;
        same
    })
}

/// Returns the names of a volume's directory.
pub(super) fn path_of(volume: &str) -> Option<Vec<EntryName>> {
    volume.split('/').map(|name| EntryName::new(name.as_bytes()).ok()).collect()
}
