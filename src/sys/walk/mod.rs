//! The calls of a walk over a backup copy: open beneath, list, stat, readlink, extended attributes.
//!
//! Promises: no call follows a symbolic link below the copy's root, leaves the root, crosses a mount or
//! triggers an automount; opening a directory leaves its access time alone where the kernel permits that;
//! a call that a signal interrupted is made again. Names go in and come out as the bytes that they are.
//! Never builds a path per entry and never allocates per entry, except for a link's target.
//!
//! Sources: `openat2(2)`, `getdents64(2)`, `statx(2)`, `listxattrat`/`getxattrat` as added in Linux 6.13
//! (`include/uapi/asm-generic/unistd.h`, `fs/xattr.c`).

mod call;
#[cfg(test)]
pub(crate) mod fixture;
mod list;
mod open;
mod stat;
#[cfg(test)]
mod tests;
mod time;
mod xattr;

use std::ffi::CStr;
use std::os::fd::BorrowedFd;

pub use list::{DirEntries, read_directory, rewind_directory};
pub use open::{hold, open_beneath, open_root};
pub use stat::{
    Mounted, Stat, Whereabouts, is_on_btrfs, read_link, seen_root, stat_at, stat_fd, stat_of, stat_path,
    stat_without_waiting, whereabouts, whereabouts_of_path,
};
pub use time::{real_clock, stamp_clock};
pub use xattr::{XattrCalls, get_xattr, list_xattrs, probe_xattr_calls};

/// Where a file of a copy, of any kind, is looked at.
#[derive(Clone, Copy, Debug)]
pub enum FileAt<'n> {
    /// What has this name in an open directory: another file at each call, if names are exchanged meanwhile.
    Named(BorrowedFd<'n>, &'n CStr),
    /// What [`hold`] holds: the same file at each call, at the price of more work.
    Held(BorrowedFd<'n>),
    /// A directory or file that is open for reading.
    Open(BorrowedFd<'n>),
}

/// Errors of these calls that a caller tells apart and [`std::io::ErrorKind`] does not.
pub mod errno {
    pub use libc::{ELOOP, ENODATA, ENOENT, ENOTDIR, EOPNOTSUPP, ERANGE, EXDEV};
}
