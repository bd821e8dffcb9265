//! The files of a catalog: what lies beside it, and removing it with all of that.
//!
//! Promises: of a catalog that is removed the file itself goes first, so a removal that was cut leaves no catalog. Opens no database.

use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What the name of the folder of manifests beside a catalog ends with.
pub(super) const MANIFESTS: &str = "-manifests";

/// What SQLite has beside a database.
pub(super) const SIDE_FILES: [&str; 3] = ["-wal", "-shm", "-journal"];

/// Returns the path of a file beside the catalog, whose name is that of the catalog and `ending`.
pub fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// Removes the catalog at `path` and all that this program and SQLite made beside it. The catalog goes first.
///
/// # Errors
/// As `unlink(2)`; `NotFound` if there is no catalog.
pub fn remove(path: &Path) -> io::Result<()> {
    fs::remove_file(path)?;
    for ending in SIDE_FILES.into_iter().chain([".lock"]) {
        remove_if_there(&beside(path, ending))?;
    }
    if let Err(e) = fs::remove_dir_all(beside(path, "-locks"))
        && e.kind() != io::ErrorKind::NotFound
    {
        return Err(e);
    }
    let copies = beside(Path::new(path.file_name().unwrap_or_default()), ".format");
    for entry in fs::read_dir(folder_of(path))? {
        let entry = entry?;
        if entry.file_name().as_bytes().starts_with(copies.as_os_str().as_bytes()) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Removes a database that is no catalog yet, with what SQLite made beside it; what is not there is as good.
pub(super) fn remove_with_side_files(path: &Path) -> io::Result<()> {
    for ending in SIDE_FILES {
        remove_if_there(&beside(path, ending))?;
    }
    remove_if_there(path)
}

pub(super) fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

/// Tells whether there is anything at `path`, were it a link to nothing.
pub(super) fn is_there(path: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e),
    }
}

/// Returns the folder that `path` is in.
pub(super) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Makes the names in the folder of `path` durable.
pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(folder_of(path))?.sync_all()
}
