//! Opening a file of a copy without ever leaving the copy, and reading it without waiting.
//!
//! Promises: [`open_beneath`] follows no symbolic link and never steps out of the directory it is given, nor to another mount unless it
//! may, whatever was done to the tree since it was indexed; paths may be longer than `PATH_MAX`.
//! [`read_without_waiting`] never waits for a disk or a network. Never creates or writes anything.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The longest path that one system call takes, without its zero byte (`PATH_MAX` counts it).
const PATH_BYTES_MAX: usize = libc::PATH_MAX as usize - 1;

const FILE_FLAGS: i32 = libc::O_RDONLY | libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC;
const STEP_FLAGS: i32 = libc::O_PATH | libc::O_DIRECTORY | libc::O_NOFOLLOW | libc::O_CLOEXEC;

/// Whether a path may lead to another mount than the one that it begins on. Subvolumes of btrfs are none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mounts {
    /// It may.
    Crossed,
    /// `EXDEV` if it does; where `openat2(2)` is missing the caller compares the mounts ([`crate::sys::walk::Stat::mount`]).
    Refused,
}

/// Opens a directory as a place to start from ([`open_beneath`]); links on the way to it are followed, but it may not
/// be one itself.
///
/// The descriptor is an `O_PATH` one: closing it asks nothing of the file system, so that cannot hang.
///
/// # Errors
/// As `open(2)`.
pub fn open_place(path: &Path) -> io::Result<OwnedFd> {
    open_directory(path, STEP_FLAGS)
}

/// Does the same with a directory that may be a symbolic link: where somebody said that copies are.
///
/// # Errors
/// As `open(2)`.
pub fn open_folder(path: &Path) -> io::Result<OwnedFd> {
    open_directory(path, STEP_FLAGS & !libc::O_NOFOLLOW)
}

fn open_directory(path: &Path, flags: i32) -> io::Result<OwnedFd> {
    let path = c_string(path.as_os_str().as_bytes())?;
    // SAFETY: `path` is a zero-terminated string that outlives the call.
    descriptor(unsafe { libc::open(path.as_ptr(), flags) })
}

/// Opens the directory at `path` below `folder` as a place to start from; it may be a mount, or on one.
///
/// # Errors
/// As [`open_beneath`].
pub fn open_place_beneath(folder: BorrowedFd<'_>, path: &[u8]) -> io::Result<OwnedFd> {
    open_in_pieces(folder, path, STEP_FLAGS, Mounts::Crossed)
}

/// Opens the file at `path` (names joined by `/`, no leading slash) below `place` for reading.
///
/// No component may be a symbolic link. Does not wait for the other end of a named pipe.
///
/// **Cost:** one system call, one more for every 4,095 bytes of path; one for each component where
/// `openat2(2)` is missing (kernels before 5.6, some sandboxes).
///
/// # Errors
/// As `openat2(2)`; `ELOOP` for a symbolic link.
pub fn open_beneath(place: BorrowedFd<'_>, path: &[u8], mounts: Mounts) -> io::Result<File> {
    open_in_pieces(place, path, FILE_FLAGS, mounts).map(File::from)
}

fn open_in_pieces(place: BorrowedFd<'_>, path: &[u8], flags: i32, mounts: Mounts) -> io::Result<OwnedFd> {
    let mut rest = path;
    let mut step: Option<OwnedFd> = None;
    while rest.len() > PATH_BYTES_MAX {
        let Some(cut) = rest[..=PATH_BYTES_MAX].iter().rposition(|b| *b == b'/') else {
            return Err(io::Error::from_raw_os_error(libc::ENAMETOOLONG));
        };
        let from = step.as_ref().map_or(place, AsFd::as_fd);
        step = Some(open_piece(from, &rest[..cut], STEP_FLAGS, mounts)?);
        rest = &rest[cut + 1..];
    }
    let from = step.as_ref().map_or(place, AsFd::as_fd);
    open_piece(from, rest, flags, mounts)
}

fn open_piece(from: BorrowedFd<'_>, path: &[u8], flags: i32, mounts: Mounts) -> io::Result<OwnedFd> {
    let c_path = c_string(path)?;
    // SAFETY: all-zero is a valid `open_how`: no flags, no mode, no resolve restrictions.
    let mut how: libc::open_how = unsafe { std::mem::zeroed() };
    how.flags = flags as u64;
    how.resolve = libc::RESOLVE_BENEATH | libc::RESOLVE_NO_SYMLINKS | libc::RESOLVE_NO_MAGICLINKS;
    if mounts == Mounts::Refused {
        how.resolve |= libc::RESOLVE_NO_XDEV;
    }
    let at = from.as_raw_fd();
    // SAFETY: `c_path` and `how` outlive the call and the size given is that of `how`.
    let fd =
        unsafe { libc::syscall(libc::SYS_openat2, at, c_path.as_ptr(), &raw const how, size_of::<libc::open_how>()) };
    match descriptor(fd as i32) {
        // EPERM: sandboxes that do not know the call answer so (old Docker).
        Err(e) if matches!(e.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => open_by_component(at, path, flags),
        other => other,
    }
}

fn open_by_component(from: RawFd, path: &[u8], flags: i32) -> io::Result<OwnedFd> {
    let mut step: Option<OwnedFd> = None;
    let mut names = path.split(|b| *b == b'/').filter(|n| !n.is_empty()).peekable();
    while let Some(name) = names.next() {
        if name == b".." || name == b"." {
            return Err(io::Error::from_raw_os_error(libc::EXDEV));
        }
        let name = c_string(name)?;
        let flags = if names.peek().is_some() { STEP_FLAGS } else { flags };
        let at = step.as_ref().map_or(from, |s| s.as_raw_fd());
        // SAFETY: `name` is a zero-terminated string that outlives the call; `at` is open.
        step = Some(descriptor(unsafe { libc::openat(at, name.as_ptr(), flags) })?);
    }
    step.ok_or_else(|| io::Error::from_raw_os_error(libc::ENOENT))
}

/// Whether a link is followed that a path ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Links {
    /// It is.
    Followed,
    /// `ELOOP` if there is one.
    Refused,
}

/// Opens the regular file `path` for reading, and nothing else: does not wait for the other end of a named pipe.
///
/// # Errors
/// As `open(2)`; with what it is if it is no regular file.
pub fn open_regular(path: &Path, links: Links) -> io::Result<File> {
    let flags = match links {
        Links::Followed => FILE_FLAGS & !libc::O_NOFOLLOW,
        Links::Refused => FILE_FLAGS,
    };
    let c_path = c_string(path.as_os_str().as_bytes())?;
    // SAFETY: `c_path` is a zero-terminated string that outlives the call.
    let file = File::from(descriptor(unsafe { libc::open(c_path.as_ptr(), flags) })?);
    match file.metadata()?.file_type() {
        kind if kind.is_file() => Ok(file),
        kind => Err(io::Error::other(format!("it is {}", super::lock::kind_of(kind)))),
    }
}

/// Reads at `offset` what the page cache holds, without waiting. Returns the number of bytes, which may be short.
///
/// # Errors
/// `WouldBlock` if the first byte is not in memory, `EOPNOTSUPP` where the file system cannot tell
/// (NFS, FUSE), else as `preadv2(2)`.
pub fn read_without_waiting(file: BorrowedFd<'_>, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: `part` describes `buffer`, which is borrowed mutably for the whole call.
    let n = unsafe { libc::preadv2(file.as_raw_fd(), &raw const part, 1, offset as i64, libc::RWF_NOWAIT) };
    if n < 0 { Err(io::Error::last_os_error()) } else { Ok(n as usize) }
}

/// Has the kernel read a part of a file into memory meanwhile; where it cannot, nothing happens.
pub fn read_ahead(file: BorrowedFd<'_>, offset: u64, length: u64) {
    // SAFETY: no memory is passed; the descriptor is open for the whole call.
    let _ = unsafe { libc::posix_fadvise(file.as_raw_fd(), offset as i64, length as i64, libc::POSIX_FADV_WILLNEED) };
}

/// What [`seek`] looks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seek {
    /// The next byte that is stored.
    Data,
    /// The next hole, or the end of the file.
    Hole,
}

/// Returns where the next data or hole at or after `offset` begins, none if there is none before the end.
///
/// # Errors
/// `EINVAL` where the file system does not know holes, else as `lseek(2)`.
pub fn seek(file: BorrowedFd<'_>, what: Seek, offset: u64) -> io::Result<Option<u64>> {
    let whence = match what {
        Seek::Data => libc::SEEK_DATA,
        Seek::Hole => libc::SEEK_HOLE,
    };
    // SAFETY: no memory is passed; the descriptor is open for the whole call.
    let at = unsafe { libc::lseek(file.as_raw_fd(), offset as i64, whence) };
    if at >= 0 {
        return Ok(Some(at as u64));
    }
    match io::Error::last_os_error() {
        e if e.raw_os_error() == Some(libc::ENXIO) => Ok(None),
        e => Err(e),
    }
}

/// Tells whether a descriptor lies on a file system of this machine's own disks or memory, where closing a
/// file never waits for another machine or process.
///
/// # Errors
/// As `fstatfs(2)`.
pub fn is_local(file: BorrowedFd<'_>) -> io::Result<bool> {
    // Magic numbers: statfs(2); bcachefs and zfs from their own headers.
    const LOCAL: [i64; 11] = [
        0xEF53,
        0x5846_5342,
        0x9123_683E,
        0x0102_1994,
        0x8584_58F6,
        0xF2F5_2010,
        0x7371_7368,
        0xE0F5_E1E2,
        0x9660,
        0xCA45_1A4E,
        0x2FC1_2FC1,
    ];
    Ok(LOCAL.contains(&magic_number(file)?))
}

/// For how long the inode numbers of a file system stay those of one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numbers {
    /// As long as the file is there.
    ForLife,
    /// Perhaps until it is mounted anew, or shorter: behind FUSE may be anything.
    OfAMount,
    /// Until the kernel forgets it: the file system has none, and they are made up (FAT, exFAT).
    OfAMoment,
}

/// Returns for how long the inode numbers of the file system that a descriptor lies on hold.
///
/// # Errors
/// As `fstatfs(2)`.
pub fn numbers(file: BorrowedFd<'_>) -> io::Result<Numbers> {
    // Magic numbers: statfs(2) and linux/magic.h.
    Ok(match magic_number(file)? {
        0x4d44 | 0x2011_bab0 => Numbers::OfAMoment,
        0x6573_5546 => Numbers::OfAMount,
        _ => Numbers::ForLife,
    })
}

/// Returns the number that tells the type of the file system that a descriptor lies on (`statfs(2)`).
///
/// # Errors
/// As `fstatfs(2)`.
pub(super) fn magic_number(file: BorrowedFd<'_>) -> io::Result<i64> {
    // SAFETY: all-zero is a valid `statfs`; the call overwrites it.
    let mut status: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: `status` is writable and of the size that the call expects.
    if unsafe { libc::fstatfs(file.as_raw_fd(), &raw mut status) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(status.f_type as i64)
}

/// Tells whether an error means that this process, or the machine, has no descriptor left.
pub fn lacks_descriptors(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}

/// Tells whether an error means that the descriptor of a directory no longer leads to it: renamed away,
/// unmounted, server restarted.
pub fn is_stale(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESTALE | libc::EIO | libc::ENOTCONN | libc::ENODEV))
}

/// Tells whether an error means that a path leads to another mount, or out of its place.
pub fn is_elsewhere(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EXDEV)
}

/// Tells whether an error means that the last name of a path is a symbolic link, or one on the way is.
pub fn is_link(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ELOOP)
}

/// Tells whether an error means that a file system does not know holes.
pub fn is_unknown_seek(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EOPNOTSUPP | libc::ENOSYS))
}

fn c_string(bytes: &[u8]) -> io::Result<CString> {
    CString::new(bytes).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))
}

fn descriptor(fd: i32) -> io::Result<OwnedFd> {
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just given out `fd` and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn a_path_never_leaves_its_place() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("in")).unwrap();
        std::fs::write(dir.path().join("out"), b"secret").unwrap();
        std::fs::write(dir.path().join("in/file"), b"mine").unwrap();
        std::os::unix::fs::symlink("file", dir.path().join("in/link")).unwrap();
        std::os::unix::fs::symlink("..", dir.path().join("in/up")).unwrap();
        let place = open_place(&dir.path().join("in")).unwrap();
        let mut text = String::new();
        open_beneath(place.as_fd(), b"file", Mounts::Refused).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "mine");
        assert!(is_link(&open_beneath(place.as_fd(), b"link", Mounts::Refused).unwrap_err()));
        assert!(is_link(&open_beneath(place.as_fd(), b"up/out", Mounts::Refused).unwrap_err()));
        assert_eq!(
            open_beneath(place.as_fd(), b"../out", Mounts::Refused).unwrap_err().raw_os_error(),
            Some(libc::EXDEV)
        );
        for (path, errno) in [(&b"link"[..], libc::ELOOP), (b"up/out", libc::ENOTDIR), (b"../out", libc::EXDEV)] {
            let error = open_by_component(place.as_raw_fd(), path, FILE_FLAGS).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(errno), "{path:?}");
        }
        assert!(open_by_component(place.as_raw_fd(), b"file", FILE_FLAGS).is_ok());
    }

    #[test]
    fn a_path_longer_than_path_max_is_opened_in_steps() {
        let dir = tempfile::tempdir().unwrap();
        let place = open_place(dir.path()).unwrap();
        let name = "n".repeat(200);
        let mut at = open_place(dir.path()).unwrap();
        let mut path = String::new();
        for _ in 0..45 {
            let c_name = CString::new(name.as_str()).unwrap();
            // SAFETY: `c_name` is zero-terminated and outlives the call.
            assert_eq!(unsafe { libc::mkdirat(at.as_raw_fd(), c_name.as_ptr(), 0o700) }, 0);
            at = open_piece(at.as_fd(), name.as_bytes(), STEP_FLAGS, Mounts::Refused).unwrap();
            path = path + &name + "/";
        }
        // SAFETY: the name is zero-terminated.
        let fd = unsafe { libc::openat(at.as_raw_fd(), c"deep".as_ptr(), libc::O_CREAT | libc::O_WRONLY, 0o600) };
        drop(descriptor(fd).unwrap());
        assert_eq!(path.len(), 9045);
        assert!(open_beneath(place.as_fd(), (path + "deep").as_bytes(), Mounts::Refused).is_ok());
    }

    #[test]
    fn what_is_no_regular_file_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::write(at("file"), b"").unwrap();
        std::os::unix::fs::symlink("file", at("link")).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(at("pipe")).status().unwrap().success());
        let told = |name: &str, links| open_regular(&at(name), links).map(drop).map_err(|e| e.to_string());
        assert_eq!(told("file", Links::Refused), Ok(()));
        assert_eq!(told("link", Links::Followed), Ok(()));
        assert!(is_link(&open_regular(&at("link"), Links::Refused).unwrap_err()));
        assert_eq!(told("pipe", Links::Followed), Err("it is a fifo".to_owned()));
        assert_eq!(told("", Links::Followed), Err("it is a directory".to_owned()));
    }

    #[test]
    fn data_and_holes_are_told_apart() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(1 << 20).unwrap();
        std::os::unix::fs::FileExt::write_at(&file, b"x", 512 << 10).unwrap();
        assert_eq!(seek(file.as_fd(), Seek::Data, 0).unwrap(), Some(512 << 10));
        assert_eq!(seek(file.as_fd(), Seek::Hole, 0).unwrap(), Some(0));
        assert_eq!(seek(file.as_fd(), Seek::Data, 900 << 10).unwrap(), None);
    }
}
