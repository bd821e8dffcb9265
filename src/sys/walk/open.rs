//! Opens directories of a copy, its root and those beneath.
//!
//! Promises: no call follows a symbolic link below the root, leaves the root, or crosses a mount where the kernel can tell;
//! the access time of a directory is left alone where the kernel permits that. Source: `openat2(2)`.

use super::call::new_fd;
use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The longest path handed to the kernel at once; `PATH_MAX` is 4096 with the zero byte.
const STEP_BYTES_MAX: usize = 4000;

/// Opens the root of a copy for listing. Its last component must not be a symbolic link.
///
/// # Errors
/// What `open(2)` says; `ENOTDIR` or `ELOOP` where the path is no directory.
pub fn open_root(path: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    with_or_without_noatime(|extra| {
        // SAFETY: `path` is a zero-terminated string that outlives the call; the result is checked
        // before it is taken as a descriptor.
        new_fd(|| unsafe { libc::open(path.as_ptr(), LIST_FLAGS | extra) })
    })
}

/// Holds what has the name `name` in `dir`, of any kind: for looking at it, not for reading it. A symbolic link is held itself, an automount
/// point not triggered, and no server, device or other end of a pipe asked.
///
/// # Errors
/// What `openat(2)` says; `ENOENT` where the name vanished.
pub fn hold(dir: BorrowedFd<'_>, name: &CStr) -> io::Result<OwnedFd> {
    let flags = libc::O_PATH | libc::O_NOFOLLOW | libc::O_CLOEXEC;
    // SAFETY: `name` is a zero-terminated string that outlives the call.
    new_fd(|| unsafe { libc::openat(dir.as_raw_fd(), name.as_ptr(), flags) })
}

/// Opens a directory below `root` for listing; `path` is relative to it, of any length.
///
/// Never passes a symbolic link, `..` or a mount point on the way. Costs one call for a path of up to 4000 bytes.
///
/// # Errors
/// What the kernel says: `EXDEV` where a mount lies on the way, `ELOOP` for a link, `ENOTDIR` for another kind.
pub fn open_beneath(root: BorrowedFd<'_>, path: &[u8]) -> io::Result<OwnedFd> {
    match open_beneath_with(root, path, open_step) {
        // No `openat2` before Linux 5.6; a container's filter may answer EPERM for calls that it does not know.
        Err(e) if matches!(e.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => open_beneath_by_name(root, path),
        done => done,
    }
}

/// Opens `path` in steps that each fit the kernel's limit, the last one for listing.
fn open_beneath_with(
    root: BorrowedFd<'_>,
    mut path: &[u8],
    step: impl Fn(BorrowedFd<'_>, &[u8], libc::c_int) -> io::Result<OwnedFd>,
) -> io::Result<OwnedFd> {
    let mut held: Option<OwnedFd> = None;
    loop {
        let at = held.as_ref().map_or(root, std::os::fd::AsFd::as_fd);
        if path.len() <= STEP_BYTES_MAX {
            return with_or_without_noatime(|extra| step(at, path, LIST_FLAGS | extra));
        }
        let Some(slash) = path[..STEP_BYTES_MAX].iter().rposition(|b| *b == b'/') else {
            return Err(io::Error::from_raw_os_error(libc::ENAMETOOLONG));
        };
        let next = step(at, &path[..slash], PASS_FLAGS)?;
        held = Some(next);
        path = &path[slash + 1..];
    }
}

/// Opens `path` name by name; for kernels without `openat2`.
///
/// A mount point on the way is passed here: the walk knows those from the listing of their parent.
pub(super) fn open_beneath_by_name(root: BorrowedFd<'_>, path: &[u8]) -> io::Result<OwnedFd> {
    let mut held: Option<OwnedFd> = None;
    let mut names = path.split(|b| *b == b'/').peekable();
    loop {
        let at = held.as_ref().map_or(root, std::os::fd::AsFd::as_fd);
        let name = CString::new(names.next().unwrap_or_default())?;
        let open = |flags: libc::c_int| {
            // SAFETY: `name` is a zero-terminated string that outlives the call.
            new_fd(|| unsafe { libc::openat(at.as_raw_fd(), name.as_ptr(), flags) })
        };
        if names.peek().is_none() {
            return with_or_without_noatime(|extra| open(LIST_FLAGS | extra));
        }
        let next = open(PASS_FLAGS)?;
        held = Some(next);
    }
}

const LIST_FLAGS: libc::c_int = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW | libc::O_CLOEXEC;
const PASS_FLAGS: libc::c_int = libc::O_PATH | libc::O_DIRECTORY | libc::O_NOFOLLOW | libc::O_CLOEXEC;

/// Calls `open` with `O_NOATIME`, and without it where the kernel refuses that: it is for the owner
/// of the directory and for `CAP_FOWNER` only (`open(2)`).
fn with_or_without_noatime(open: impl Fn(libc::c_int) -> io::Result<OwnedFd>) -> io::Result<OwnedFd> {
    match open(libc::O_NOATIME) {
        Err(e) if e.raw_os_error() == Some(libc::EPERM) => open(0),
        done => done,
    }
}

/// One `openat2`. `EAGAIN` means that a rename elsewhere kept the kernel from proving that the path
/// stayed beneath; it is tried again a few times.
fn open_step(at: BorrowedFd<'_>, path: &[u8], flags: libc::c_int) -> io::Result<OwnedFd> {
    let path = CString::new(path)?;
    // SAFETY: `open_how` is plain integers, for which zero is valid; the kernel wants unknown fields zero.
    let mut how: libc::open_how = unsafe { std::mem::zeroed() };
    how.flags = flags as u64;
    how.resolve = libc::RESOLVE_BENEATH | libc::RESOLVE_NO_SYMLINKS | libc::RESOLVE_NO_XDEV;
    let mut tries = 0;
    loop {
        let done = new_fd(|| {
            // SAFETY: `path` and `how` outlive the call, and the size passed is that of `how`.
            unsafe {
                libc::syscall(
                    libc::SYS_openat2,
                    at.as_raw_fd(),
                    path.as_ptr(),
                    &raw const how,
                    size_of::<libc::open_how>(),
                ) as libc::c_int
            }
        });
        match done {
            Err(e) if e.raw_os_error() == Some(libc::EAGAIN) && tries < 16 => tries += 1,
            done => return done,
        }
    }
}
