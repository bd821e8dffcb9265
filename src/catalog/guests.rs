//! All disks of a guest: which of them a generation has an image of, and which image that is.
//!
//! Promises: a generation has one image of a disk at most, and its object has the images first among its files, in the order of the disks.
//! What is forgotten is forgotten with all its images. Knows no image format and no file system.

use super::objects::{copies_of, image_files, object_of, store_at};
use super::tables::insert_odd_name;
use super::take_out::Forgotten;
use super::{Error, Writer};
use crate::model::{ImageFile, SourceId, Time};
use rusqlite::{Connection, params};
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// One of the disks of a guest, as a generation has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownDisk {
    /// Its directory.
    pub name: String,
    /// Its size then.
    pub size_bytes: u64,
    /// Its image.
    pub image: ImageFile,
}

/// The disks of a generation, by their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DisksOf {
    /// Those that it has an image of.
    pub with_image: BTreeSet<String>,
    /// Those that it says to be missing.
    pub missing: BTreeSet<String>,
}

impl Writer {
    /// Returns the disks of the guest that the generation of `source` at `at` has an image of, in the order of their numbers; none where the
    /// source is one disk.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn guest_disks(&self, source: SourceId, at: Time) -> Result<Vec<KnownDisk>, Error> {
        let files = self.image_files(source, at)?;
        self.sql("reading the disks of a guest", |c| {
            let mut statement = c.prepare_cached(
                "SELECT v.name, v.size, CAST(v.pieces AS INTEGER) AS begin FROM generation g JOIN disk_volume v ON v.generation = g.id \
                 WHERE g.source = ?1 AND g.taken_at = ?2 AND g.status = 'published' AND v.kind = 'disk' ORDER BY begin",
            )?;
            let mut files = files.into_iter();
            let mut disks = Vec::new();
            let mut rows = statement.query([source.0, at.0])?;
            while let (Some(row), Some(image)) = (rows.next()?, files.next()) {
                disks.push(KnownDisk { name: row.get(0)?, size_bytes: row.get::<_, i64>(1)? as u64, image });
            }
            Ok(disks)
        })
    }

    /// Returns the published generations of the guest `source`, oldest first, with the disks that each has.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn disks_by_generation(&self, source: SourceId) -> Result<BTreeMap<Time, DisksOf>, Error> {
        self.sql("reading the disks of a guest", |c| {
            let mut statement = c.prepare_cached(
                "SELECT g.taken_at, v.name, 1 FROM generation g JOIN disk_volume v ON v.generation = g.id \
                 WHERE g.source = ?1 AND g.status = 'published' AND v.kind = 'disk' \
                 UNION ALL SELECT f.at, CAST(f.path AS TEXT), 0 FROM finding f WHERE f.source = ?1 AND f.kind = 'missing'",
            )?;
            let mut disks = BTreeMap::<Time, DisksOf>::new();
            let mut rows = statement.query([source.0])?;
            while let Some(row) = rows.next()? {
                let of = disks.entry(Time(row.get(0)?)).or_default();
                let set = if row.get(2)? { &mut of.with_image } else { &mut of.missing };
                set.insert(row.get(1)?);
            }
            Ok(disks)
        })
    }
}

/// Returns the images of the disks of a guest that a generation has; none where its source is one disk.
pub(super) fn images_of(c: &Connection, source: SourceId, at: Time) -> rusqlite::Result<Vec<ImageFile>> {
    let Some(object) = object_of(c, source, at)? else { return Ok(Vec::new()) };
    let disks: i64 = c.query_row(
        "SELECT count(*) FROM object o JOIN disk_volume v ON v.generation = o.generation WHERE o.id = ?1 AND v.kind = 'disk'",
        [object.0],
        |r| r.get(0),
    )?;
    let mut files = image_files(c, object)?;
    files.truncate(disks as usize);
    Ok(files)
}

/// Writes down each image that a forgotten generation of all disks of a guest has, as a copy of its own: none of them is to become a generation
/// again by itself. One of a single disk has one image, which its copy is.
pub(super) fn remember_images(c: &Connection, forgotten: &mut Forgotten, images: &[ImageFile]) -> rusqlite::Result<()> {
    let (Some(object), Some(first)) = (forgotten.object, forgotten.copies.first().cloned()) else { return Ok(()) };
    for image in images.iter().filter(|image| image.path != first.path) {
        let (store, below) = match image.path.strip_prefix(&first.store_path) {
            Ok(below) => (first.store, below),
            Err(_) => {
                let (folder, name) = (image.path.parent(), image.path.file_name());
                let folder = folder.unwrap_or(Path::new("/"));
                (store_at(c, folder)?, name.map_or(Path::new(""), Path::new))
            }
        };
        let below = below.as_os_str().as_bytes();
        insert_odd_name(c, below)?;
        c.execute(
            "INSERT OR IGNORE INTO copy(object, store, path) VALUES (?1, ?2, ?3)",
            params![object.0, store.0, below],
        )?;
    }
    forgotten.copies = copies_of(c, object)?;
    Ok(())
}
