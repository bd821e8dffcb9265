//! What a directory is known by when its path and its device number mean nothing any more.
//!
//! Promises: two calls on an open directory, nothing is read from the disk for them. A file system that has no such
//! thing is no error. Sources: `statfs(2)`, `name_to_handle_at(2)`.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};

/// `MAX_HANDLE_SZ` of `linux/exportfs.h`: no file system has longer handles.
const HANDLE_BYTES_MAX: usize = 128;

/// Returns the id of the file system that `dir` is on. Some number all that they are (ext4, btrfs), some their device (XFS),
/// and some give 0 (NFS).
///
/// # Errors
/// What `fstatfs(2)` says.
pub fn filesystem_id(dir: BorrowedFd<'_>) -> io::Result<u64> {
    let mut answer = MaybeUninit::<libc::statfs>::zeroed();
    // SAFETY: `answer` has room for one `struct statfs`.
    if unsafe { libc::fstatfs(dir.as_raw_fd(), answer.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it was zeroed, which is a valid value of every field, and then filled by the kernel.
    let id = unsafe { answer.assume_init() }.f_fsid;
    // SAFETY: `fsid_t` is two `int`s whose names are private to the C library; any bits of them are a number.
    Ok(unsafe { std::mem::transmute::<libc::fsid_t, u64>(id) })
}

/// Returns the file handle of `dir`, which its file system knows it by for life: its type, and bytes that mean nothing to others.
/// None where the file system has none.
///
/// # Errors
/// What `name_to_handle_at(2)` says otherwise.
pub fn file_handle(dir: BorrowedFd<'_>) -> io::Result<Option<(i32, Vec<u8>)>> {
    /// `struct file_handle`, with room behind it.
    #[repr(C)]
    struct Handle {
        bytes: u32,
        kind: i32,
        handle: [u8; HANDLE_BYTES_MAX],
    }
    let mut handle = Handle { bytes: HANDLE_BYTES_MAX as u32, kind: 0, handle: [0; HANDLE_BYTES_MAX] };
    let mut mount: libc::c_int = 0;
    // SAFETY: the path is empty and ends with a zero byte; `handle` begins as `struct file_handle` does and has the room that it
    // tells; `mount` has room for one number.
    let done = unsafe {
        libc::syscall(
            libc::SYS_name_to_handle_at,
            dir.as_raw_fd(),
            c"".as_ptr(),
            &raw mut handle,
            &raw mut mount,
            libc::AT_EMPTY_PATH,
        )
    };
    if done == 0 {
        let length = (handle.bytes as usize).min(HANDLE_BYTES_MAX);
        return Ok(Some((handle.kind, handle.handle[..length].to_vec())));
    }
    match io::Error::last_os_error() {
        // EPERM, ENOSYS: a container's filter does not allow it.
        e if matches!(e.raw_os_error(), Some(libc::EOPNOTSUPP | libc::ENOSYS | libc::EPERM)) => Ok(None),
        e => Err(e),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn a_directory_has_the_same_handle_under_another_name_and_another_one_made_in_its_place_has_not() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (folder.path().join("one"), folder.path().join("two"));
        let handle = |path: &std::path::Path| {
            let dir = std::fs::File::open(path).unwrap();
            (filesystem_id(dir.as_fd()).unwrap(), file_handle(dir.as_fd()).unwrap())
        };
        std::fs::create_dir(&one).unwrap();
        let before = handle(&one);
        std::fs::rename(&one, &two).unwrap();
        std::fs::create_dir(&one).unwrap();
        assert_eq!(handle(&two), before);
        assert_eq!(handle(&one).0, before.0);
        if before.1.is_some() {
            assert_ne!(handle(&one).1, before.1);
        }
    }
}
