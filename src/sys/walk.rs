//! The calls of a walk over a backup copy: open beneath, list, stat, readlink, extended attributes.
//!
//! Promises: no call follows a symbolic link below the copy's root, leaves the root, crosses a mount or
//! triggers an automount; opening a directory leaves its access time alone where the kernel permits that;
//! a call that a signal interrupted is made again. Names go in and come out as the bytes that they are.
//! Never builds a path per entry and never allocates per entry, except for a link's target.
//!
//! Sources: `openat2(2)`, `getdents64(2)`, `statx(2)`, `listxattrat`/`getxattrat` as added in Linux 6.13
//! (`include/uapi/asm-generic/unistd.h`, `fs/xattr.c`).

use crate::model::{Kind, Timestamp};
use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Errors of these calls that a caller tells apart and [`io::ErrorKind`] does not.
pub mod errno {
    pub use libc::{ELOOP, ENODATA, ENOENT, ENOTDIR, EOPNOTSUPP, ERANGE, EXDEV};
}

/// The longest path handed to the kernel at once; `PATH_MAX` is 4096 with the zero byte.
const STEP_BYTES_MAX: usize = 4000;

/// Numbers of calls that the C library does not wrap yet; the same on every architecture that Rust's
/// Linux targets use.
const SYS_GETXATTRAT: libc::c_long = 464;
const SYS_LISTXATTRAT: libc::c_long = 465;

/// What `statx(2)` tells of one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Type and permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Link count.
    pub nlink: u32,
    /// Length in bytes.
    pub size_bytes: u64,
    /// Allocated bytes.
    pub allocated_bytes: u64,
    /// Last change of the content.
    pub mtime: Timestamp,
    /// Last change of the attributes.
    pub ctime: Timestamp,
    /// Birth time, where the file system tells it.
    pub born: Option<Timestamp>,
    /// Device number of the file system.
    pub device: u64,
    /// Inode number.
    pub inode: u64,
    /// Device number of a device node, 0 for all others.
    pub rdev: u64,
    /// Id of the mount that it was found on (Linux 5.8).
    pub mount: Option<u64>,
    /// Whether it is the root of a mount, where the kernel tells (Linux 5.8).
    pub mount_root: Option<bool>,
}

/// Which calls reach the extended attributes of a name in an open directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XattrCalls {
    /// `listxattrat` and `getxattrat` (Linux 6.13).
    At,
    /// `llistxattr` and `lgetxattr` on `/proc/self/fd/N/name`; needs `/proc`.
    ProcFd,
}

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
fn open_beneath_by_name(root: BorrowedFd<'_>, path: &[u8]) -> io::Result<OwnedFd> {
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

/// Returns what `name` in `dir` is; a symbolic link is not followed, an automount point not triggered.
///
/// # Errors
/// What `statx(2)` says; `ENOENT` where the name vanished.
pub fn stat_at(dir: BorrowedFd<'_>, name: &CStr) -> io::Result<Stat> {
    statx(dir, name, libc::AT_SYMLINK_NOFOLLOW | libc::AT_NO_AUTOMOUNT)
}

/// Returns what the open file `fd` is.
///
/// # Errors
/// What `statx(2)` says.
pub fn stat_fd(fd: BorrowedFd<'_>) -> io::Result<Stat> {
    statx(fd, c"", libc::AT_EMPTY_PATH)
}

/// Tells whether the open file `fd` lies on btrfs.
///
/// # Errors
/// What `fstatfs(2)` says.
pub fn is_on_btrfs(fd: BorrowedFd<'_>) -> io::Result<bool> {
    // `BTRFS_SUPER_MAGIC` of statfs(2).
    Ok(super::read::magic_number(fd)? == 0x9123_683E)
}

/// Does the same with what the machine knows of the file, without asking a server.
///
/// # Errors
/// What `statx(2)` says.
pub fn stat_fd_without_waiting(fd: BorrowedFd<'_>) -> io::Result<Stat> {
    statx(fd, c"", libc::AT_EMPTY_PATH | libc::AT_STATX_DONT_SYNC)
}

fn statx(dir: BorrowedFd<'_>, name: &CStr, flags: libc::c_int) -> io::Result<Stat> {
    let mask = libc::STATX_BASIC_STATS | libc::STATX_BTIME | libc::STATX_MNT_ID;
    let mut raw = std::mem::MaybeUninit::<libc::statx>::zeroed();
    retry(|| {
        // SAFETY: `name` is zero-terminated and outlives the call; `raw` has room for one `struct statx`.
        unsafe { libc::statx(dir.as_raw_fd(), name.as_ptr(), flags, mask, raw.as_mut_ptr()) as isize }
    })?;
    // SAFETY: it was zeroed, which is a valid value of every field, and then filled by the kernel.
    let raw = unsafe { raw.assume_init() };
    let time = |t: libc::statx_timestamp| Timestamp { seconds: t.tv_sec, nanos: t.tv_nsec };
    let mount_root = libc::STATX_ATTR_MOUNT_ROOT as u64;
    Ok(Stat {
        mode: u32::from(raw.stx_mode),
        uid: raw.stx_uid,
        gid: raw.stx_gid,
        nlink: raw.stx_nlink,
        size_bytes: raw.stx_size,
        allocated_bytes: raw.stx_blocks.saturating_mul(512),
        mtime: time(raw.stx_mtime),
        ctime: time(raw.stx_ctime),
        born: (raw.stx_mask & libc::STATX_BTIME != 0).then(|| time(raw.stx_btime)),
        device: libc::makedev(raw.stx_dev_major, raw.stx_dev_minor),
        inode: raw.stx_ino,
        rdev: libc::makedev(raw.stx_rdev_major, raw.stx_rdev_minor),
        mount: (raw.stx_mask & libc::STATX_MNT_ID != 0).then_some(raw.stx_mnt_id),
        mount_root: (raw.stx_attributes_mask & mount_root != 0).then_some(raw.stx_attributes & mount_root != 0),
    })
}

/// Returns the target of the symbolic link `name` in `dir`, of any length; `expected_bytes` is a guess at it.
///
/// # Errors
/// What `readlinkat(2)` says; `EINVAL` where it is no link.
pub fn read_link(dir: BorrowedFd<'_>, name: &CStr, expected_bytes: u64) -> io::Result<Vec<u8>> {
    // One byte more than the guess, so that a target that fits is known to be whole.
    let mut room = usize::try_from(expected_bytes).unwrap_or(0).clamp(63, 1 << 16) + 1;
    loop {
        let mut target = vec![0; room];
        let length = retry(|| {
            // SAFETY: the kernel writes at most `target.len()` bytes into `target`; `name` is zero-terminated.
            unsafe { libc::readlinkat(dir.as_raw_fd(), name.as_ptr(), target.as_mut_ptr().cast(), target.len()) }
        })?;
        if length < room {
            target.truncate(length);
            target.shrink_to_fit();
            return Ok(target);
        }
        room *= 2;
    }
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

/// Returns the time as file systems stamp it: the clock of the kernel's last tick (`CLOCK_REALTIME_COARSE`),
/// up to 10 ms behind the real time, so that a file written after this call never looks older.
pub fn stamp_clock() -> Timestamp {
    clock(libc::CLOCK_REALTIME_COARSE)
}

/// Returns the real time.
pub fn real_clock() -> Timestamp {
    clock(libc::CLOCK_REALTIME)
}

fn clock(id: libc::clockid_t) -> Timestamp {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` has room for one `timespec`; both clocks exist since Linux 2.6.32, so it cannot fail.
    unsafe { libc::clock_gettime(id, &raw mut time) };
    Timestamp { seconds: time.tv_sec, nanos: time.tv_nsec as u32 }
}

/// Calls `call` until no signal interrupts it.
fn retry(mut call: impl FnMut() -> isize) -> io::Result<usize> {
    loop {
        match usize::try_from(call()) {
            Ok(value) => return Ok(value),
            Err(_) => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    }
}

/// Calls `open` until no signal interrupts it and takes what it returns as a descriptor.
fn new_fd(mut open: impl FnMut() -> libc::c_int) -> io::Result<OwnedFd> {
    let fd = retry(|| open() as isize)?;
    // SAFETY: the call has just returned this descriptor (it fits, it was a `c_int`); nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as libc::c_int) })
}

/// What tests of a walk need and `std` does not offer.
#[cfg(test)]
pub(crate) mod fixture {
    use std::ffi::CString;
    use std::io;
    use std::os::unix::ffi::OsStrExt;
    use std::path::Path;

    fn c(path: &Path) -> CString {
        CString::new(path.as_os_str().as_bytes()).expect("a path of a test has no zero byte")
    }

    fn done(result: libc::c_int) -> io::Result<()> {
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// Tells whether the tests run with the rights that some of them need, and says so if not.
    pub(crate) fn is_root() -> bool {
        // SAFETY: it takes nothing and cannot fail.
        let root = unsafe { libc::geteuid() } == 0;
        if !root {
            eprintln!("SKIPPED, needs root: {}", std::thread::current().name().unwrap_or("a test"));
        }
        root
    }

    pub(crate) fn make_node(path: &Path, mode: u32, major: u32, minor: u32) {
        // SAFETY: the path is zero-terminated and outlives the call.
        done(unsafe { libc::mknod(c(path).as_ptr(), mode, libc::makedev(major, minor)) }).unwrap();
    }

    pub(crate) fn set_xattr(path: &Path, name: &str, value: &[u8]) {
        let name = CString::new(name).unwrap();
        // SAFETY: path and name are zero-terminated, the value has the length passed.
        done(unsafe { libc::lsetxattr(c(path).as_ptr(), name.as_ptr(), value.as_ptr().cast(), value.len(), 0) })
            .unwrap();
    }

    /// Runs `body` on a thread of its own whose mounts vanish with it.
    pub(crate) fn in_own_mounts<T: Send>(body: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                // SAFETY: it takes a flag only and concerns this thread and those that it starts.
                done(unsafe { libc::unshare(libc::CLONE_NEWNS) }).unwrap();
                mount("none", Path::new("/"), "", libc::MS_REC | libc::MS_PRIVATE);
                body()
            });
            thread.join().unwrap()
        })
    }

    pub(crate) fn bind(from: &Path, to: &Path) {
        mount(from.to_str().unwrap(), to, "", libc::MS_BIND);
    }

    pub(crate) fn mount_tmpfs(on: &Path) {
        mount("none", on, "tmpfs", 0);
    }

    fn mount(from: &str, to: &Path, kind: &str, flags: libc::c_ulong) {
        let (from, kind) = (CString::new(from).unwrap(), CString::new(kind).unwrap());
        // SAFETY: all three strings are zero-terminated and outlive the call; no data is passed.
        done(unsafe { libc::mount(from.as_ptr(), c(to).as_ptr(), kind.as_ptr(), flags, std::ptr::null()) }).unwrap();
    }

    /// Runs `body` on a thread of its own that is the user "nobody", without capabilities.
    pub(crate) fn as_nobody<T: Send>(body: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                // SAFETY: the raw call takes numbers and changes this thread only, unlike the C library's.
                let result = unsafe { libc::syscall(libc::SYS_setresuid, 65534, 65534, 65534) };
                assert_eq!(result, 0);
                body()
            });
            thread.join().unwrap()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::fd::AsFd;

    #[test]
    fn both_ways_to_extended_attributes_give_the_same_and_do_not_follow_links() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), b"").unwrap();
        std::os::unix::fs::symlink("file", dir.path().join("link")).unwrap();
        fixture::set_xattr(&dir.path().join("file"), "user.colour", b"blue\0!");
        let fd = open_root(dir.path()).unwrap();
        let mut ways = vec![XattrCalls::ProcFd];
        if probe_xattr_calls(fd.as_fd()) == XattrCalls::At {
            ways.push(XattrCalls::At);
        }
        for way in ways {
            let mut room = [0; 100];
            let listed = list_xattrs(way, fd.as_fd(), Some(c"file"), &mut room).unwrap();
            assert_eq!(&room[..listed], b"user.colour\0");
            let got = get_xattr(way, fd.as_fd(), Some(c"file"), c"user.colour", &mut room).unwrap();
            assert_eq!(&room[..got], b"blue\0!");
            let short = get_xattr(way, fd.as_fd(), Some(c"file"), c"user.colour", &mut room[..2]);
            assert_eq!(short.unwrap_err().raw_os_error(), Some(errno::ERANGE));
            assert_eq!(list_xattrs(way, fd.as_fd(), Some(c"link"), &mut room).unwrap(), 0);
        }
    }

    #[test]
    fn without_openat2_the_same_directories_open_and_links_are_still_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("a/b/c")).unwrap();
        std::os::unix::fs::symlink("a", dir.path().join("link")).unwrap();
        let root = open_root(dir.path()).unwrap();
        let inode = |fd: OwnedFd| stat_fd(fd.as_fd()).unwrap().inode;
        let by_name = open_beneath_by_name(root.as_fd(), b"a/b/c").unwrap();
        let by_path = open_beneath(root.as_fd(), b"a/b/c").unwrap();
        assert_eq!(inode(by_name), inode(by_path));
        let refused = |done: io::Result<OwnedFd>| done.unwrap_err().raw_os_error();
        assert_eq!(refused(open_beneath(root.as_fd(), b"link/b")), Some(errno::ELOOP));
        assert_eq!(refused(open_beneath_by_name(root.as_fd(), b"link/b")), Some(errno::ENOTDIR));
        assert_eq!(refused(open_beneath(root.as_fd(), b"..")), Some(errno::EXDEV));
    }

    #[test]
    fn the_target_of_a_link_comes_whole_whatever_length_was_expected() {
        let dir = tempfile::tempdir().unwrap();
        let target = "t".repeat(4000);
        std::os::unix::fs::symlink(&target, dir.path().join("link")).unwrap();
        let fd = open_root(dir.path()).unwrap();
        for expected in [0, 63, 64, 3999, 4000, u64::MAX] {
            assert_eq!(read_link(fd.as_fd(), c"link", expected).unwrap(), target.as_bytes(), "{expected}");
        }
    }
}
