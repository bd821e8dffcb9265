//! Names in a directory, as the kernel gives them: in no order.
//! Never allocates. Source: `getdents64(2)`.

use super::call::retry;
use crate::model::Kind;
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Reads the next entries of `dir` into `buffer` and returns them, `.` and `..` left out, in the order of the
/// file system; none is left when [`DirEntries::is_end`] says so.
///
/// # Errors
/// What `getdents64(2)` says; `ENOENT` where the directory was removed.
pub fn read_directory<'b>(dir: BorrowedFd<'_>, buffer: &'b mut [u8]) -> io::Result<DirEntries<'b>> {
    let length = retry(|| {
        // SAFETY: the kernel writes at most `buffer.len()` bytes into `buffer`, which is borrowed mutably.
        unsafe { libc::syscall(libc::SYS_getdents64, dir.as_raw_fd(), buffer.as_mut_ptr(), buffer.len()) as isize }
    })?;
    Ok(DirEntries { records: &buffer[..length] })
}

/// Has `dir` be read from its beginning by the next call of [`read_directory`].
///
/// # Errors
/// What `lseek(2)` says.
pub fn rewind_directory(dir: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: no memory is passed; the descriptor is open for the whole call.
    retry(|| unsafe { libc::lseek(dir.as_raw_fd(), 0, libc::SEEK_SET) as isize }).map(drop)
}

/// What one call of [`read_directory`] gave.
#[derive(Debug)]
pub struct DirEntries<'b> {
    records: &'b [u8],
}

impl<'b> DirEntries<'b> {
    /// Tells whether the whole directory has been read.
    pub fn is_end(&self) -> bool {
        self.records.is_empty()
    }

    /// Returns inode number and name of each entry.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &'b CStr)> + use<'b> {
        self.iter_kinds().map(|(inode, _, name)| (inode, name))
    }

    /// Returns inode number, kind and name of each entry; no kind where the file system does not tell it here.
    pub fn iter_kinds(&self) -> impl Iterator<Item = (u64, Option<Kind>, &'b CStr)> + use<'b> {
        let mut rest = self.records;
        std::iter::from_fn(move || {
            loop {
                // `struct linux_dirent64`: d_ino u64, d_off i64, d_reclen u16, d_type u8, d_name (getdents(2)).
                let inode = u64::from_ne_bytes(rest.get(..8)?.try_into().ok()?);
                let length = usize::from(u16::from_ne_bytes(rest.get(16..18)?.try_into().ok()?));
                // `DT_*` are the `S_IFMT` bits moved down (`IFTODT` of dirent.h); `DT_UNKNOWN` is 0, no kind.
                let kind = Kind::from_mode(u32::from(*rest.get(18)?) << 12);
                let name = CStr::from_bytes_until_nul(rest.get(19..length)?).ok()?;
                rest = &rest[length..];
                if !matches!(name.to_bytes(), b"." | b"..") {
                    return Some((inode, kind, name));
                }
            }
        })
    }
}
