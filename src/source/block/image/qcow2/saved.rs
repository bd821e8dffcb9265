//! What else is saved inside a qcow2 image: states of the disk, and bitmaps of changes (QEMU `docs/interop/qcow2.rst`,
//! Snapshots, Bitmaps).
//!
//! Promises: a state that cannot be read is a note and left out, the others stand. Of bitmaps only names and flags are
//! read; they never make the image unreadable.

use super::super::error::Error;
use super::super::gate::Opened;
use super::super::model::{Bitmap, Image, Snapshot};
use super::header::{self, Directory, Header};
use super::mapping::Mapper;
use crate::model::{Layer, LayerExtent, escape_bytes};
use crate::source::block::bytes::Fields;

const SNAPSHOT_BYTES: u64 = 40;
/// `QCOW_MAX_SNAPSHOT_EXTRA_DATA`.
const EXTRA_BYTES_MAX: u64 = 1024;
/// Where in the extra data the size of the disk ends.
const DISK_SIZE_END: u64 = 16;
const BITMAP_BYTES: u64 = 24;
/// `BME_MAX_NAME_SIZE` and `QCOW2_MAX_BITMAPS` (QEMU `block/qcow2-bitmap.c`, `qcow2.h`).
const BITMAP_NAME_BYTES_MAX: usize = 1023;
const BITMAPS_MAX: u32 = 65535;
/// `QCOW2_MAX_BITMAP_DIRECTORY_SIZE` is 1024 of the largest entry.
const DIRECTORY_BYTES_MAX: u64 = 64 << 20;

/// An entry of the table of snapshots.
struct Entry {
    l1: (u64, u32),
    id: String,
    name: String,
    taken_at: i64,
    size_bytes: u64,
    /// Where the next one begins.
    end: u64,
}

/// Adds all states of the disk to `image`.
pub(super) fn read_snapshots(mapper: &mut Mapper<'_>, image: &mut Image) -> Result<(), Error> {
    let (mut at, count) = mapper.header.snapshots;
    for _ in 0..count {
        let entry = match read_entry(mapper.image, mapper.header, at) {
            Ok(entry) => entry,
            Err(error @ (Error::Damaged { .. } | Error::Cut { .. })) => {
                image.notes.push(format!("the rest of its snapshots is left out: {error}"));
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        at = entry.end;
        match map_entry(mapper, &entry) {
            Ok(extents) => {
                let layer = Layer { size_bytes: entry.size_bytes, files: image.layer.files.clone(), extents };
                image.snapshots.push(Snapshot { id: entry.id, name: entry.name, taken_at: entry.taken_at, layer });
            }
            Err(error) => image.notes.push(format!("snapshot \"{}\" is left out: {error}", entry.name)),
        }
    }
    Ok(())
}

fn map_entry(mapper: &mut Mapper<'_>, entry: &Entry) -> Result<Vec<LayerExtent>, Error> {
    let (at, entries) = entry.l1;
    let cluster_bits = mapper.header.cluster_bits;
    mapper.image.check_disk(entry.size_bytes)?;
    header::check_table(mapper.image, "its L1 table", at, entries, header::L1_ENTRIES_MAX, cluster_bits)?;
    Ok(mapper.map(entry.l1, entry.size_bytes)?.0)
}

fn read_entry(opened: &Opened, header: &Header, at: u64) -> Result<Entry, Error> {
    let trouble = |error| opened.trouble(error);
    let start = opened.read(at, SNAPSHOT_BYTES)?;
    let fields = Fields { bytes: &start, what: "an entry of the table of snapshots" };
    let (id_bytes, name_bytes) = (fields.be16(12).map_err(trouble)?, fields.be16(14).map_err(trouble)?);
    let extra_bytes = u64::from(fields.be32(36).map_err(trouble)?);
    if extra_bytes > EXTRA_BYTES_MAX {
        return Err(opened.damaged(format!("the snapshot at byte {at} has {extra_bytes} bytes of extra data")));
    }
    let rest_bytes = extra_bytes + u64::from(id_bytes) + u64::from(name_bytes);
    let rest = opened.read(at.saturating_add(SNAPSHOT_BYTES), rest_bytes)?;
    let rest = Fields { bytes: &rest, what: "an entry of the table of snapshots" };
    let (id_at, name_at) = (extra_bytes as usize, extra_bytes as usize + usize::from(id_bytes));
    // Version 2 does not tell the size of the disk as it was (`qcow2_do_read_snapshots` in `block/qcow2-snapshot.c`).
    let size_bytes = if extra_bytes >= DISK_SIZE_END { rest.be64(8).map_err(trouble)? } else { header.size_bytes };
    Ok(Entry {
        l1: (fields.be64(0).map_err(trouble)?, fields.be32(8).map_err(trouble)?),
        id: text(rest.slice(id_at, usize::from(id_bytes)).map_err(trouble)?),
        name: text(rest.slice(name_at, usize::from(name_bytes)).map_err(trouble)?),
        taken_at: i64::from(fields.be32(16).map_err(trouble)?),
        size_bytes,
        end: at.saturating_add((SNAPSHOT_BYTES + rest_bytes).next_multiple_of(8)),
    })
}

fn text(bytes: &[u8]) -> String {
    escape_bytes(bytes).into_owned()
}

/// Adds all bitmaps to `image`.
pub(super) fn read_bitmaps(opened: &Opened, header: &Header, image: &mut Image) {
    let Some(directory) = &header.bitmaps else { return };
    if let Err(error) = read_directory(opened, directory, &mut image.bitmaps) {
        image.notes.push(format!("the rest of its bitmaps is left out: {error}"));
    }
}

fn read_directory(opened: &Opened, directory: &Directory, bitmaps: &mut Vec<Bitmap>) -> Result<(), Error> {
    let trouble = |error| opened.trouble(error);
    if directory.count > BITMAPS_MAX || directory.length > DIRECTORY_BYTES_MAX {
        let (count, length) = (directory.count, directory.length);
        return Err(opened.damaged(format!("its directory of bitmaps has {count} entries in {length} bytes")));
    }
    let bytes = opened.read(directory.at, directory.length)?;
    let fields = Fields { bytes: &bytes, what: "the directory of bitmaps" };
    let mut at = 0;
    for _ in 0..directory.count {
        let flags = fields.be32(at + 12).map_err(trouble)?;
        let name_bytes = usize::from(fields.be16(at + 18).map_err(trouble)?);
        let extra_bytes = fields.be32(at + 20).map_err(trouble)? as usize;
        let name_at = at.saturating_add(BITMAP_BYTES as usize).saturating_add(extra_bytes);
        if name_bytes > BITMAP_NAME_BYTES_MAX {
            return Err(opened.damaged(format!("the name of a bitmap has {name_bytes} bytes")));
        }
        let name = text(fields.slice(name_at, name_bytes).map_err(trouble)?);
        bitmaps.push(Bitmap { name, in_use: flags & 1 != 0, records: flags & 2 != 0 });
        at = name_at.saturating_add(name_bytes).next_multiple_of(8);
    }
    Ok(())
}
