//! Extended attributes, by the calls that the kernel has.
//!
//! Sources: `listxattrat`/`getxattrat` as added in Linux 6.13 (`include/uapi/asm-generic/unistd.h`, `fs/xattr.c`).

use super::FileAt;
use super::call::retry;
use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Numbers of calls that the C library does not wrap yet; the same on every architecture that Rust's
/// Linux targets use.
const SYS_GETXATTRAT: libc::c_long = 464;
const SYS_LISTXATTRAT: libc::c_long = 465;

/// Which calls reach the extended attributes of a name in an open directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XattrCalls {
    /// `listxattrat` and `getxattrat` (Linux 6.13).
    At,
    /// `llistxattr` and `lgetxattr` on `/proc/self/fd/N/name`; needs `/proc`.
    ProcFd,
}

/// Tells which calls for extended attributes of names this kernel has, asked of the open directory `dir`.
pub fn probe_xattr_calls(dir: BorrowedFd<'_>) -> XattrCalls {
    match list_xattrs(XattrCalls::At, FileAt::Named(dir, c"."), &mut []) {
        // EPERM: a container's filter that does not know the call; on a directory that is open for
        // listing the call itself has no such answer.
        Err(e) if matches!(e.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => XattrCalls::ProcFd,
        _ => XattrCalls::At,
    }
}

/// Puts the names of the extended attributes of `at` into `buffer`, each ended by a zero byte, and returns their length. Links are not
/// followed.
///
/// # Errors
/// `ERANGE` where the buffer is too small, `EOPNOTSUPP` where the file system has no extended attributes.
pub fn list_xattrs(calls: XattrCalls, at: FileAt<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    let (list, room) = (buffer.as_mut_ptr(), buffer.len());
    match (at, calls) {
        // SAFETY: the kernel writes at most `room` bytes at `list`, which is borrowed mutably.
        (FileAt::Open(file), _) => retry(|| unsafe { libc::flistxattr(file.as_raw_fd(), list.cast(), room) }),
        (FileAt::Held(file), _) => {
            let path = proc_path_of(file);
            // SAFETY: as above, and `path` is zero-terminated and outlives the call.
            retry(|| unsafe { libc::listxattr(path.as_ptr(), list.cast(), room) })
        }
        (FileAt::Named(dir, name), XattrCalls::At) => retry(|| {
            let (dir, flags) = (dir.as_raw_fd(), libc::AT_SYMLINK_NOFOLLOW);
            // SAFETY: as above, and `name` is zero-terminated and outlives the call.
            unsafe { libc::syscall(SYS_LISTXATTRAT, dir, name.as_ptr(), flags, list, room) as isize }
        }),
        (FileAt::Named(dir, name), XattrCalls::ProcFd) => {
            let path = proc_path(dir, name);
            // SAFETY: as above, and `path` is zero-terminated and outlives the call.
            retry(|| unsafe { libc::llistxattr(path.as_ptr(), list.cast(), room) })
        }
    }
}

/// `struct xattr_args` (`include/uapi/linux/xattr.h`, Linux 6.13).
#[repr(C, align(8))]
struct XattrArgs {
    value: u64,
    size: u32,
    flags: u32,
}

/// Puts the value of `attribute` of `at` into `buffer` and returns its length.
///
/// # Errors
/// `ERANGE` where the buffer is too small, `ENODATA` where there is no such attribute (any more).
pub fn get_xattr(calls: XattrCalls, at: FileAt<'_>, attribute: &CStr, buffer: &mut [u8]) -> io::Result<usize> {
    let (value, room) = (buffer.as_mut_ptr(), buffer.len());
    match (at, calls) {
        (FileAt::Open(file), _) => {
            // SAFETY: the kernel writes at most `room` bytes at `value`; `attribute` is zero-terminated.
            retry(|| unsafe { libc::fgetxattr(file.as_raw_fd(), attribute.as_ptr(), value.cast(), room) })
        }
        (FileAt::Held(file), _) => {
            let path = proc_path_of(file);
            // SAFETY: as above, and `path` is zero-terminated and outlives the call.
            retry(|| unsafe { libc::getxattr(path.as_ptr(), attribute.as_ptr(), value.cast(), room) })
        }
        (FileAt::Named(dir, name), XattrCalls::At) => {
            let args = XattrArgs {
                value: value.expose_provenance() as u64,
                size: u32::try_from(room).unwrap_or(u32::MAX),
                flags: 0,
            };
            retry(|| {
                // SAFETY: as above; `args` names `buffer` and no more than its length, and outlives the
                // call together with `name`.
                unsafe {
                    libc::syscall(
                        SYS_GETXATTRAT,
                        dir.as_raw_fd(),
                        name.as_ptr(),
                        libc::AT_SYMLINK_NOFOLLOW,
                        attribute.as_ptr(),
                        &raw const args,
                        size_of::<XattrArgs>(),
                    ) as isize
                }
            })
        }
        (FileAt::Named(dir, name), XattrCalls::ProcFd) => {
            let path = proc_path(dir, name);
            // SAFETY: as above, and `path` is zero-terminated and outlives the call.
            retry(|| unsafe { libc::lgetxattr(path.as_ptr(), attribute.as_ptr(), value.cast(), room) })
        }
    }
}

/// Returns `/proc/self/fd/N`, which leads to what `file` holds and, if that is a symbolic link, no further (proc_pid_fd(5)).
///
/// The calls with a descriptor do not take one that only holds its file (`O_PATH`), `listxattrat` with an empty path neither (`EBADF`,
/// seen with Linux 6.18).
fn proc_path_of(file: BorrowedFd<'_>) -> CString {
    CString::new(format!("/proc/self/fd/{}", file.as_raw_fd())).expect("digits have no zero byte")
}

/// Returns `/proc/self/fd/N/name`: at most 14 + 10 + 1 + 255 bytes, so it fits for every name.
fn proc_path(dir: BorrowedFd<'_>, name: &CStr) -> CString {
    let mut path = format!("/proc/self/fd/{}/", dir.as_raw_fd()).into_bytes();
    path.extend_from_slice(name.to_bytes());
    CString::new(path).expect("a C string has no zero byte inside")
}
