//! What images there may be: the files directly inside the folders of a disk, by their names.
//!
//! Promises: links are named and not followed; names that begin with a dot, and what `asof take` has not written to its end, are left
//! out. Nothing is opened: what a file is, its first bytes tell.

use crate::source::Error;
use crate::sys::mount;
use std::path::{Path, PathBuf};

/// What a look into the folders gave, in the order of the paths.
#[derive(Debug, Default)]
pub struct Files {
    /// Files that may be images.
    pub files: Vec<PathBuf>,
    /// Links, which are not followed.
    pub links: Vec<PathBuf>,
}

/// Looks for images in `folders`; a name that `is_other` says true to is none.
///
/// # Errors
/// [`Error::Images`].
pub fn files(folders: &[PathBuf], is_other: impl Fn(&[u8]) -> bool) -> Result<Files, Error> {
    let mut found = Files::default();
    for folder in folders {
        let fail = |source| Error::Images { path: folder.clone(), source };
        for entry in std::fs::read_dir(folder).map_err(fail)? {
            let entry = entry.map_err(fail)?;
            let name = entry.file_name();
            let name = name.as_encoded_bytes();
            // What asof take is writing, or a run of it that was killed, ends in .part.
            if name.starts_with(b".") || name.ends_with(b".part") || is_other(name) {
                continue;
            }
            let kind = entry.file_type().map_err(fail)?;
            if kind.is_symlink() {
                found.links.push(entry.path());
            } else if kind.is_file() {
                found.files.push(entry.path());
            }
        }
    }
    found.files.sort();
    found.links.sort();
    Ok(found)
}

/// Folders in which images of all disks of a guest may be.
#[derive(Debug, Default)]
pub struct Folders {
    /// They, in the order of their paths.
    pub folders: Vec<PathBuf>,
    /// Those that another user mounted a file system of his own on, which are not looked into, and what is said of that.
    pub strangers: Vec<(PathBuf, String)>,
}

/// Returns the folders in which images of all disks of a guest may be: these, and those directly inside them.
///
/// # Errors
/// [`Error::Images`].
pub fn folders_of_disks(folders: &[PathBuf]) -> Result<Folders, Error> {
    let mut found = Folders { folders: folders.to_vec(), strangers: Vec::new() };
    for folder in folders {
        let fail = |source| Error::Images { path: folder.clone(), source };
        for entry in std::fs::read_dir(folder).map_err(fail)? {
            let entry = entry.map_err(fail)?;
            let is_hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
            if !is_hidden && entry.file_type().map_err(fail)?.is_dir() {
                match mount::expect_no_stranger_in_folder(&entry.path()) {
                    Ok(()) => found.folders.push(entry.path()),
                    Err(e) => found.strangers.push((entry.path(), e.to_string())),
                }
            }
        }
    }
    found.folders.sort();
    found.folders.dedup();
    Ok(found)
}

/// Tells whether a file that begins as no image does is one: by its name.
pub fn is_named_raw(path: &Path) -> bool {
    has_extension(path, &["raw", "img", "bin", "dd"])
}

/// Tells whether a file is an image of another format than raw, by its name.
pub fn is_named_image(path: &Path) -> bool {
    has_extension(path, &["qcow", "qcow2"])
}

fn has_extension(path: &Path, names: &[&str]) -> bool {
    path.extension().is_some_and(|extension| names.iter().any(|name| extension.eq_ignore_ascii_case(name)))
}
