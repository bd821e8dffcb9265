//! The only door through which image files are opened.
//!
//! Promises: a file that is opened lies in one of the folders of the source after all directories of its path were
//! resolved, is no symbolic link, and is a regular file or a block device. Names in images are what somebody wrote there:
//! of a file outside nothing is read, and nothing is ever opened for writing. What another user mounted in a folder is not asked for anything. A file that a QEMU may be writing to at this
//! moment is not opened either: what is read of it is of no moment, and its tables may not be in it yet.

use crate::model::{ImageFile, Timestamp};
use crate::source::block::FileDevice;
use crate::sys::lock::is_byte_locked;
use crate::sys::mount;
use crate::sys::read::{Mounts, is_link, open_beneath, open_place};
use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// The bytes that QEMU locks for as long as it may write to an image or resize it (`block/file-posix.c`: from `RAW_LOCK_PERM_BASE` on one
/// for each `BLK_PERM_*` that it uses). A lock is looked at and never taken.
const WRITER_BYTES: [u64; 2] = [101, 103];

/// Why a file is not opened: what follows its name in a message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// The source may not read there.
    #[error("is outside of the folders of the source")]
    Outside,
    /// It could be exchanged for another file at any time.
    #[error("is a symbolic link; name the file itself")]
    Link,
    /// There is nothing of that name.
    #[error("is missing")]
    Missing,
    /// A directory, a pipe, a character device.
    #[error("is neither a regular file nor a block device")]
    NotAFile,
    /// The name asks for a network or for a description of a disk in JSON.
    #[error("is not a plain file name, and only files are read")]
    Remote,
    /// A QEMU has it open for writing.
    #[error("is being written to by a running QEMU")]
    InUse,
    /// The kernel says no.
    #[error("cannot be opened: {0}")]
    Unreadable(String),
}

/// A file that may be read.
#[derive(Debug)]
pub(super) struct Opened {
    /// Its bytes.
    pub(super) device: FileDevice,
    /// What the layers call it.
    pub(super) file: ImageFile,
    /// Device and inode number.
    pub(super) key: (u64, u64),
}

/// Opens the file at `path`, which must lie in one of `folders` (canonical).
///
/// Directories on the way are resolved as the kernel does, since a disk under `/var/lib/libvirt/images` is named so also
/// where that is a link; the walk from the folder on then follows no link any more, so what changes meanwhile is refused.
pub(super) fn open(path: &Path, folders: &[PathBuf]) -> Result<Opened, Why> {
    for folder in folders {
        expect_no_stranger(path, folder).map_err(why)?;
    }
    let path = resolve(path)?;
    let inside = folders.iter().find_map(|folder| Some((folder, path.strip_prefix(folder).ok()?)));
    let (folder, rest) = inside.ok_or(Why::Outside)?;
    if rest.as_os_str().is_empty() {
        return Err(Why::NotAFile);
    }
    let place = open_place(folder).map_err(why)?;
    let file = open_beneath(place.as_fd(), rest.as_os_str().as_bytes(), Mounts::Crossed).map_err(why)?;
    // Where there are no locks nobody can say that he holds one.
    if WRITER_BYTES.iter().any(|at| is_byte_locked(&file, *at).unwrap_or(false)) {
        return Err(Why::InUse);
    }
    describe(file, path.clone()).map_err(why)?.ok_or(Why::NotAFile)
}

/// Fails if a user mounted a file system of his own on the way from `folder` to `path`, which may never answer. Each step is looked at
/// before the next one leads through it.
fn expect_no_stranger(path: &Path, folder: &Path) -> io::Result<()> {
    let Ok(rest) = path.strip_prefix(folder) else { return Ok(()) };
    let mut at = folder.to_owned();
    for name in rest {
        at.push(name);
        match mount::expect_no_stranger_in_folder(&at) {
            // What is not there is found out by who opens it.
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            looked => looked?,
        }
    }
    Ok(())
}

/// Tells whether there is a file at `path`, whose folder was looked at; nothing is one that another user mounted.
pub fn is_file(path: &Path) -> bool {
    mount::expect_no_stranger_in_folder(path).is_ok() && path.is_file()
}

fn resolve(path: &Path) -> Result<PathBuf, Why> {
    let name = path.file_name().ok_or(Why::NotAFile)?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Ok(fs::canonicalize(directory).map_err(why)?.join(name))
}

fn why(error: io::Error) -> Why {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Why::Missing,
        _ if is_link(&error) => Why::Link,
        _ => Why::Unreadable(error.to_string()),
    }
}

fn describe(mut file: File, path: PathBuf) -> io::Result<Option<Opened>> {
    let status = file.metadata()?;
    let kind = status.file_type();
    let (size_bytes, mtime) = if kind.is_file() {
        (status.len(), Timestamp { seconds: status.mtime(), nanos: status.mtime_nsec() as u32 })
    } else if kind.is_block_device() {
        (file.seek(SeekFrom::End(0))?, Timestamp::default())
    } else {
        return Ok(None);
    };
    let key = (status.dev(), status.ino());
    let device = FileDevice { file, size_bytes };
    Ok(Some(Opened { device, file: ImageFile { path, size_bytes, mtime }, key }))
}
