//! Tombstones of forgotten generations: written before the generation is gone, and named after.
//!
//! Promises: what has the name of a tombstone is whole and on the disk, and its generation was forgotten. What was prepared and has no name
//! is hidden, and nobody but the run that cleans up obeys it.

use super::Error;
use super::manifest::{
    PREPARED, TOMBSTONE, cannot_write, make_folder, name_durably, open_manifest, tombstone_of, write_durably,
};
use crate::model::manifest::Tombstone;
use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// A tombstone has some 250 bytes.
const TOMBSTONE_BYTES_MAX: u64 = 64 << 10;

/// Writes the tombstone of the generation whose manifest is `path`, and returns where it is: it is on the disk and whole, under a name by
/// which nobody obeys it before [`name_tombstone`].
///
/// # Errors
/// [`Error::CannotWrite`].
pub fn prepare_tombstone(path: &Path, tombstone: &Tombstone) -> Result<PathBuf, Error> {
    let tomb = tombstone_of(path);
    let folder = path.parent().unwrap_or(Path::new("."));
    make_folder(folder).map_err(cannot_write(folder))?;
    let prepared = prepared_of(&tomb);
    write_durably(&prepared, &mut tombstone.encode().as_slice()).map_err(cannot_write(&tomb))?;
    Ok(prepared)
}

/// Gives a tombstone that was prepared its name, and returns where it is.
///
/// # Errors
/// [`Error::CannotWrite`].
pub fn name_tombstone(prepared: &Path) -> Result<PathBuf, Error> {
    let name = prepared.file_name().unwrap_or(OsStr::new("")).as_bytes();
    let name = name.strip_prefix(b".").and_then(|name| name.strip_suffix(PREPARED.as_bytes())).unwrap_or(name);
    let tomb = prepared.with_file_name(OsStr::from_bytes(name));
    name_durably(prepared, &tomb).map_err(cannot_write(&tomb))?;
    Ok(tomb)
}

/// Returns the tombstones in `folder` that were prepared and have no name; none if it cannot be listed.
pub fn prepared_tombstones(folder: &Path) -> Vec<PathBuf> {
    let ending = format!("{TOMBSTONE}{PREPARED}");
    let paths = fs::read_dir(folder).into_iter().flatten().filter_map(|entry| entry.ok().map(|entry| entry.path()));
    paths.filter(|path| path.as_os_str().as_bytes().ends_with(ending.as_bytes())).collect()
}

fn prepared_of(tomb: &Path) -> PathBuf {
    let name = [b".", tomb.file_name().unwrap_or(OsStr::new("")).as_bytes(), PREPARED.as_bytes()].concat();
    tomb.with_file_name(OsStr::from_bytes(&name))
}

/// Reads a tombstone.
///
/// # Errors
/// [`crate::model::manifest::Error`].
pub fn read_tombstone(path: &Path) -> Result<Tombstone, crate::model::manifest::Error> {
    let mut bytes = Vec::new();
    let read = open_manifest(path).and_then(|file| file.take(TOMBSTONE_BYTES_MAX).read_to_end(&mut bytes));
    read.map_err(crate::model::manifest::Error::Io)?;
    Tombstone::decode(&bytes)
}
