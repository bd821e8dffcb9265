//! Where in a copy a file goes.
//! Never outside of the copy.

use crate::model::RelPath;
use crate::store::Error;
use crate::sys::walk;
use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// Opens the directory of `path` below `root`, and returns it with the last name.
pub(super) fn parent_of(root: &OwnedFd, path: &RelPath) -> std::io::Result<(OwnedFd, CString)> {
    let (dir, name) = split(path);
    let opened = walk::open_beneath(root.as_fd(), if dir.is_empty() { b"." } else { dir })?;
    Ok((opened, CString::new(name)?))
}

pub(super) fn split(path: &RelPath) -> (&[u8], &[u8]) {
    let bytes = path.as_bytes();
    match bytes.iter().rposition(|b| *b == b'/') {
        Some(slash) => (&bytes[..slash], &bytes[slash + 1..]),
        None => (&[], bytes),
    }
}

pub(super) fn cannot_write(path: &Path) -> impl FnOnce(std::io::Error) -> Error + '_ {
    move |source| Error::CannotWrite { path: path.to_owned(), source }
}

pub(super) fn remove_tree(path: &Path) -> Result<(), Error> {
    match std::fs::remove_dir_all(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(cannot_write(path)(e)),
        _ => Ok(()),
    }
}
