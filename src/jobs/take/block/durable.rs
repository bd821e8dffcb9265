//! Files that are on the disk when a call returns.
//! A symbolic link that somebody put in the place of a new file is not followed.

use crate::sys::write::rename_new;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Writes a small file that is whole under its name or not there, also after a power failure.
///
/// # Errors
/// Those of the system; then the name is as before.
pub(super) fn write_durably(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let draft = path.with_extension("json.part");
    let written = create_anew(&draft).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    let moved = written.and_then(|()| fs::rename(&draft, path));
    if moved.is_err() {
        let _ = fs::remove_file(&draft);
    }
    moved.and_then(|()| sync_folder(path))
}

/// Gives a whole file its name, unless that is taken.
///
/// # Errors
/// `AlreadyExists`; those of the system.
pub(super) fn publish(part: &Path, path: &Path) -> io::Result<()> {
    rename_new(part, path)?;
    sync_folder(path)
}

/// As [`write_durably`], by way of `draft`, where nothing may have the name.
///
/// # Errors
/// `AlreadyExists`; those of the system.
pub(super) fn write_new_durably(path: &Path, draft: &Path, bytes: &[u8]) -> io::Result<()> {
    let written = create_anew(draft).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    let moved = written.and_then(|()| publish(draft, path));
    if moved.is_err() {
        let _ = fs::remove_file(draft);
    }
    moved
}

/// Makes a file of this name, in place of whatever had it; a link that somebody laid there is not followed.
pub(super) fn create_anew(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    File::options().read(true).write(true).create_new(true).mode(0o600).open(path)
}

/// Makes the names beside `path` durable.
pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}
