//! File systems that a user mounted, who is neither root nor the one who runs this program.
//!
//! Promises: asks no such file system for anything: whoever mounts one with FUSE decides what it answers (owners, modes, bytes), and when,
//! which may be never. Kernel file systems are mounted by root alone, or in a user's own view of the mounts, which is not ours.

use super::mounts;
use crate::sys::walk::{self, FileAt, Whereabouts};
use crate::sys::{process, read};
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Fails if what is at `at` lies on a FUSE file system of another user than root and the one who runs this program, and not on the mount
/// that `near` tells of: that one was named by somebody who may.
///
/// **Cost:** one `statx(2)`; beyond `near` `/proc/self/mountinfo` is read.
///
/// # Errors
/// With the reason; as `statx(2)`, and if `/proc` is not there.
pub fn expect_no_stranger(at: FileAt<'_>, near: Whereabouts) -> io::Result<()> {
    if !walk::whereabouts(at)?.is_beyond(&near) {
        return Ok(());
    }
    match at {
        FileAt::Named(dir, name) => expect_none_on_mount_of(walk::hold(dir, name)?.as_fd()),
        FileAt::Held(file) | FileAt::Open(file) => expect_none_on_mount_of(file),
    }
}

/// Does the same for what has the absolute path `path` in its folder, which was named by somebody who may.
///
/// # Errors
/// As [`expect_no_stranger`].
pub fn expect_no_stranger_in_folder(path: &Path) -> io::Result<()> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return Ok(()) };
    let (folder, name) = (read::open_folder(folder)?, CString::new(name.as_bytes())?);
    let near = walk::whereabouts(FileAt::Held(folder.as_fd()))?;
    expect_no_stranger(FileAt::Named(folder.as_fd(), &name), near)
}

fn expect_none_on_mount_of(file: BorrowedFd<'_>) -> io::Result<()> {
    let number = super::id::number_of(file)?;
    let user = mounts()?.into_iter().find(|mounted| mounted.number == number).and_then(|mounted| mounted.fuse_user);
    match user {
        Some(user) if user != 0 && user != process::effective_ids().0 => {
            let what = format!("user {user} mounted a file system of his own there, which is not asked for anything");
            Err(io::Error::new(io::ErrorKind::PermissionDenied, what))
        }
        _ => Ok(()),
    }
}
