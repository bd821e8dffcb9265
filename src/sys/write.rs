//! The calls that make files, directories and the rest of a copy, relative to an open directory.
//!
//! Promises: no call follows a symbolic link in its last name; names and values go in as the bytes that they are; a call
//! that a signal interrupted is made again. Copying keeps holes and never writes past the size that was asked for.
//! Never removes anything.

use crate::model::Timestamp;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Bytes read and written at once where the kernel cannot copy by itself.
const BUFFER_BYTES: usize = 1 << 20;
/// A block of this many zeros becomes a hole where the source cannot tell its holes.
const HOLE_BYTES: usize = 4096;

/// Errors of these calls that a caller tells apart and [`io::ErrorKind`] does not.
pub mod errno {
    pub use libc::{EACCES, EDQUOT, ENOSPC, EOPNOTSUPP, EPERM, EROFS};
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Makes the directory `name` in `dir`, for its owner alone.
///
/// # Errors
/// What `mkdirat(2)` says.
pub fn make_directory(dir: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
    // SAFETY: `name` is zero-terminated and outlives the call.
    check(unsafe { libc::mkdirat(dir.as_raw_fd(), name.as_ptr(), 0o700) })
}

/// Makes the new file `name` in `dir`, for its owner alone, and opens it for writing.
///
/// # Errors
/// What `openat(2)` says; `EEXIST` where the name is taken.
pub fn make_file(dir: BorrowedFd<'_>, name: &CStr) -> io::Result<File> {
    let flags = libc::O_RDWR | libc::O_CREAT | libc::O_EXCL | libc::O_NOFOLLOW | libc::O_CLOEXEC;
    // SAFETY: `name` is zero-terminated and outlives the call.
    let fd = unsafe { libc::openat(dir.as_raw_fd(), name.as_ptr(), flags, 0o600) };
    check(fd)?;
    // SAFETY: the kernel has just given this descriptor to nobody else.
    Ok(File::from(unsafe { OwnedFd::from_raw_fd(fd) }))
}

/// Makes the symbolic link `name` in `dir`.
///
/// # Errors
/// What `symlinkat(2)` says.
pub fn make_symlink(dir: BorrowedFd<'_>, name: &CStr, target: &CStr) -> io::Result<()> {
    // SAFETY: both strings are zero-terminated and outlive the call.
    check(unsafe { libc::symlinkat(target.as_ptr(), dir.as_raw_fd(), name.as_ptr()) })
}

/// Makes the fifo, socket or device `name` in `dir`; `mode` has the type.
///
/// # Errors
/// What `mknodat(2)` says.
pub fn make_special(dir: BorrowedFd<'_>, name: &CStr, mode: u32, rdev: u64) -> io::Result<()> {
    // SAFETY: `name` is zero-terminated and outlives the call.
    check(unsafe { libc::mknodat(dir.as_raw_fd(), name.as_ptr(), mode, rdev) })
}

/// Gives `from` in `from_dir` the further name `name` in `dir`.
///
/// # Errors
/// What `linkat(2)` says.
pub fn make_link(from_dir: BorrowedFd<'_>, from: &CStr, dir: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
    // SAFETY: both strings are zero-terminated and outlive the call.
    check(unsafe { libc::linkat(from_dir.as_raw_fd(), from.as_ptr(), dir.as_raw_fd(), name.as_ptr(), 0) })
}

/// Moves `from` in `from_dir` to `name` in `dir`.
///
/// # Errors
/// What `renameat(2)` says.
pub fn move_to(from_dir: BorrowedFd<'_>, from: &CStr, dir: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
    // SAFETY: both strings are zero-terminated and outlive the call.
    check(unsafe { libc::renameat(from_dir.as_raw_fd(), from.as_ptr(), dir.as_raw_fd(), name.as_ptr()) })
}

/// Moves the file `from` to `to` on the same file system, where nothing may have that name.
///
/// # Errors
/// `AlreadyExists`; what `renameat2(2)` says, or `linkat(2)` on a file system that does not know how.
pub fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    let c_path = |path: &Path| CString::new(path.as_os_str().as_bytes()).map_err(io::Error::from);
    let (old, new) = (c_path(from)?, c_path(to)?);
    // SAFETY: both strings are zero-terminated and outlive the call.
    let done = check(unsafe {
        libc::renameat2(libc::AT_FDCWD, old.as_ptr(), libc::AT_FDCWD, new.as_ptr(), libc::RENAME_NOREPLACE)
    });
    match done {
        Err(e) if matches!(e.raw_os_error(), Some(libc::EINVAL | libc::ENOSYS)) => {
            std::fs::hard_link(from, to)?;
            std::fs::remove_file(from)
        }
        done => done,
    }
}

/// Sets owner and group of `name` in `dir`, links not followed.
///
/// # Errors
/// What `fchownat(2)` says.
pub fn set_owner(dir: BorrowedFd<'_>, name: &CStr, uid: u32, gid: u32) -> io::Result<()> {
    // SAFETY: `name` is zero-terminated and outlives the call.
    check(unsafe { libc::fchownat(dir.as_raw_fd(), name.as_ptr(), uid, gid, libc::AT_SYMLINK_NOFOLLOW) })
}

/// Sets the permission bits of `name` in `dir`, which must be no link.
///
/// # Errors
/// What `fchmodat(2)` says.
pub fn set_mode(dir: BorrowedFd<'_>, name: &CStr, mode: u32) -> io::Result<()> {
    // SAFETY: `name` is zero-terminated and outlives the call.
    check(unsafe { libc::fchmodat(dir.as_raw_fd(), name.as_ptr(), mode & 0o7777, 0) })
}

/// Sets the mtime (and atime) of `name` in `dir`, links not followed.
///
/// # Errors
/// What `utimensat(2)` says.
pub fn set_mtime(dir: BorrowedFd<'_>, name: &CStr, mtime: Timestamp) -> io::Result<()> {
    let time = libc::timespec { tv_sec: mtime.seconds, tv_nsec: i64::from(mtime.nanos) };
    let times = [time, time];
    // SAFETY: `name` is zero-terminated, `times` has two elements, both outlive the call.
    check(unsafe { libc::utimensat(dir.as_raw_fd(), name.as_ptr(), times.as_ptr(), libc::AT_SYMLINK_NOFOLLOW) })
}

/// Sets the extended attribute `attribute` of the open file `file`.
///
/// # Errors
/// What `fsetxattr(2)` says; `EOPNOTSUPP` where the file system has none.
pub fn set_xattr(file: BorrowedFd<'_>, attribute: &CStr, value: &[u8]) -> io::Result<()> {
    // SAFETY: `attribute` is zero-terminated, `value` has `value.len()` bytes, both outlive the call.
    check(unsafe { libc::fsetxattr(file.as_raw_fd(), attribute.as_ptr(), value.as_ptr().cast(), value.len(), 0) })
}

/// Writes all that the file system of `dir` has not written yet to its disk.
///
/// # Errors
/// What `syncfs(2)` says.
pub fn sync_filesystem(dir: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: no memory is passed; the descriptor is open for the whole call.
    check(unsafe { libc::syncfs(dir.as_raw_fd()) })
}

/// Copies bytes 0 to `size` of `from` to the empty file `to`, holes as holes, and sets the length of `to` to `size`.
/// Returns how many bytes there were: less than `size` where `from` ended early.
///
/// Cost: a seek for each run of data, the kernel copies (or shares) where it can.
///
/// # Errors
/// What reading or writing says, with whose it is.
pub fn copy_bytes(from: &File, to: &File, size: u64) -> Result<u64, CopyError> {
    to.set_len(size).map_err(CopyError::Writing)?;
    let mut copier = Copier { by_kernel: true, buffer: Vec::new() };
    let mut at = 0;
    while at < size {
        let (data, hole) = match data_after(from, at) {
            Ok(Some((data, hole))) => (data, hole.min(size)),
            // Nothing but a hole from here on: up to the end, wherever that is.
            Ok(None) => break,
            // The file system tells no holes: all is data, and blocks of zeros are left out.
            Err(_) => return copier.copy(from, to, at, size, true),
        };
        if data >= size {
            break;
        }
        let done = copier.copy(from, to, data, hole, false)?;
        if done < hole {
            return Ok(done);
        }
        at = hole;
    }
    Ok(from.metadata().map_err(CopyError::Reading)?.len().min(size))
}

/// Which side of a copy failed.
#[derive(Debug)]
pub enum CopyError {
    /// The file that is read.
    Reading(io::Error),
    /// The file that is written.
    Writing(io::Error),
}

fn data_after(from: &File, at: u64) -> io::Result<Option<(u64, u64)>> {
    use super::read::{Seek, seek};
    let Some(data) = seek(from.as_fd(), Seek::Data, at)? else { return Ok(None) };
    let hole = seek(from.as_fd(), Seek::Hole, data)?.unwrap_or(u64::MAX);
    Ok(Some((data, hole.max(data + 1))))
}

struct Copier {
    by_kernel: bool,
    buffer: Vec<u8>,
}

impl Copier {
    /// Copies bytes `at` to `end` and returns where the copying ended.
    fn copy(&mut self, from: &File, to: &File, mut at: u64, end: u64, skip_zeros: bool) -> Result<u64, CopyError> {
        while at < end {
            let wanted = usize::try_from(end - at).unwrap_or(usize::MAX);
            let done = match self.by_kernel && !skip_zeros {
                true => match copy_file_range(from, to, at, wanted) {
                    Ok(done) => done,
                    // Two file systems, or one that does not know the call; and what it says of a full disk is said
                    // again by the write.
                    Err(_) => {
                        self.by_kernel = false;
                        continue;
                    }
                },
                false => self.copy_buffer(from, to, at, wanted, skip_zeros)?,
            };
            if done == 0 {
                return Ok(at);
            }
            at += done as u64;
        }
        Ok(at)
    }

    fn copy_buffer(
        &mut self,
        from: &File,
        to: &File,
        at: u64,
        wanted: usize,
        skip_zeros: bool,
    ) -> Result<usize, CopyError> {
        self.buffer.resize(BUFFER_BYTES, 0);
        let room = wanted.min(BUFFER_BYTES);
        let done = loop {
            match from.read_at(&mut self.buffer[..room], at) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                done => break done.map_err(CopyError::Reading)?,
            }
        };
        if !skip_zeros {
            to.write_all_at(&self.buffer[..done], at).map_err(CopyError::Writing)?;
            return Ok(done);
        }
        for (number, block) in self.buffer[..done].chunks(HOLE_BYTES).enumerate() {
            if block.iter().any(|b| *b != 0) {
                to.write_all_at(block, at + (number * HOLE_BYTES) as u64).map_err(CopyError::Writing)?;
            }
        }
        Ok(done)
    }
}

fn copy_file_range(from: &File, to: &File, at: u64, wanted: usize) -> io::Result<usize> {
    let (mut read_at, mut write_at) = (at as libc::off64_t, at as libc::off64_t);
    // SAFETY: both offsets outlive the call; the descriptors are open for the whole call.
    let done = unsafe {
        libc::copy_file_range(
            from.as_raw_fd(),
            &raw mut read_at,
            to.as_raw_fd(),
            &raw mut write_at,
            wanted.min(1 << 30),
            0,
        )
    };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(done as usize) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn a_copy_has_the_same_bytes_and_the_same_holes() {
        let from = tempfile::tempfile_in("/var/tmp").unwrap();
        from.write_all_at(b"begin", 0).unwrap();
        from.write_all_at(b"middle", 5 << 20).unwrap();
        from.set_len(9 << 20).unwrap();
        let mut to = tempfile::tempfile_in("/var/tmp").unwrap();
        assert_eq!(copy_bytes(&from, &to, 9 << 20).unwrap(), 9 << 20);
        let (mut expected, mut found) = (vec![0; 9 << 20], Vec::new());
        expected[..5].copy_from_slice(b"begin");
        expected[5 << 20..(5 << 20) + 6].copy_from_slice(b"middle");
        to.read_to_end(&mut found).unwrap();
        assert!(found == expected);
        assert!(to.metadata().unwrap().blocks() <= 32, "{} blocks of 512 bytes", to.metadata().unwrap().blocks());
    }

    #[test]
    fn a_file_that_is_shorter_than_it_should_be_is_told() {
        let from = tempfile::tempfile_in("/var/tmp").unwrap();
        from.write_all_at(&[7; 5000], 0).unwrap();
        let to = tempfile::tempfile_in("/var/tmp").unwrap();
        assert_eq!(copy_bytes(&from, &to, 9000).unwrap(), 5000);
        assert_eq!(to.metadata().unwrap().len(), 9000);
    }

    #[test]
    fn where_holes_are_not_told_blocks_of_zeros_become_holes() {
        let from = tempfile::tempfile_in("/var/tmp").unwrap();
        from.write_all_at(&vec![0; 3 << 20], 0).unwrap();
        from.write_all_at(b"end", (3 << 20) - 3).unwrap();
        let to = tempfile::tempfile_in("/var/tmp").unwrap();
        to.set_len(3 << 20).unwrap();
        let mut copier = Copier { by_kernel: true, buffer: Vec::new() };
        assert_eq!(copier.copy(&from, &to, 0, 3 << 20, true).unwrap(), 3 << 20);
        assert!(to.metadata().unwrap().blocks() <= 16);
        let mut end = [0; 4];
        to.read_exact_at(&mut end, (3 << 20) - 4).unwrap();
        assert_eq!(&end, b"\0end");
    }
}
