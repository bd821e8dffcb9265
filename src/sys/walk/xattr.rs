//! Extended attributes, by the calls that the kernel has.
//!
//! Sources: `listxattrat`/`getxattrat` as added in Linux 6.13 (`include/uapi/asm-generic/unistd.h`, `fs/xattr.c`).

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

/// Tells which calls for extended attributes this kernel has, asked of the open directory `dir`.
pub fn probe_xattr_calls(dir: BorrowedFd<'_>) -> XattrCalls {
    match list_xattrs(XattrCalls::At, dir, Some(c"."), &mut []) {
        // EPERM: a container's filter that does not know the call; on a directory that is open for
        // listing the call itself has no such answer.
        Err(e) if matches!(e.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => XattrCalls::ProcFd,
        _ => XattrCalls::At,
    }
}

/// Puts the names of the extended attributes of `name` in `dir` (none: of `dir` itself) into `buffer`, each
/// ended by a zero byte, and returns their length. Links are not followed.
///
/// # Errors
/// `ERANGE` where the buffer is too small, `EOPNOTSUPP` where the file system has no extended attributes.
pub fn list_xattrs(
    calls: XattrCalls,
    dir: BorrowedFd<'_>,
    name: Option<&CStr>,
    buffer: &mut [u8],
) -> io::Result<usize> {
    let (fd, list, room) = (dir.as_raw_fd(), buffer.as_mut_ptr(), buffer.len());
    match (name, calls) {
        // SAFETY: the kernel writes at most `room` bytes at `list`, which is borrowed mutably.
        (None, _) => retry(|| unsafe { libc::flistxattr(fd, list.cast(), room) }),
        (Some(name), XattrCalls::At) => retry(|| {
            // SAFETY: as above, and `name` is zero-terminated and outlives the call.
            unsafe { libc::syscall(SYS_LISTXATTRAT, fd, name.as_ptr(), libc::AT_SYMLINK_NOFOLLOW, list, room) as isize }
        }),
        (Some(name), XattrCalls::ProcFd) => {
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

/// Puts the value of `attribute` of `name` in `dir` (none: of `dir` itself) into `buffer` and returns its length.
///
/// # Errors
/// `ERANGE` where the buffer is too small, `ENODATA` where there is no such attribute (any more).
pub fn get_xattr(
    calls: XattrCalls,
    dir: BorrowedFd<'_>,
    name: Option<&CStr>,
    attribute: &CStr,
    buffer: &mut [u8],
) -> io::Result<usize> {
    let (fd, value, room) = (dir.as_raw_fd(), buffer.as_mut_ptr(), buffer.len());
    match (name, calls) {
        (None, _) => {
            // SAFETY: the kernel writes at most `room` bytes at `value`; `attribute` is zero-terminated.
            retry(|| unsafe { libc::fgetxattr(fd, attribute.as_ptr(), value.cast(), room) })
        }
        (Some(name), XattrCalls::At) => {
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
                        fd,
                        name.as_ptr(),
                        libc::AT_SYMLINK_NOFOLLOW,
                        attribute.as_ptr(),
                        &raw const args,
                        size_of::<XattrArgs>(),
                    ) as isize
                }
            })
        }
        (Some(name), XattrCalls::ProcFd) => {
            let path = proc_path(dir, name);
            // SAFETY: as above, and `path` is zero-terminated and outlives the call.
            retry(|| unsafe { libc::lgetxattr(path.as_ptr(), attribute.as_ptr(), value.cast(), room) })
        }
    }
}

/// Returns `/proc/self/fd/N/name`: at most 14 + 10 + 1 + 255 bytes, so it fits for every name.
fn proc_path(dir: BorrowedFd<'_>, name: &CStr) -> CString {
    let mut path = format!("/proc/self/fd/{}/", dir.as_raw_fd()).into_bytes();
    path.extend_from_slice(name.to_bytes());
    CString::new(path).expect("a C string has no zero byte inside")
}
