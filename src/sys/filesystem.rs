//! What kind of file system a directory is on, and whether it can be written.
//!
//! Promises: a few system calls; the answers are as of that moment. Never follows up on them, never writes anything.

use std::ffi::CString;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// File systems over a network, by the magic numbers of `statfs(2)` and `linux/magic.h`.
const NETWORK: [(i64, &str); 7] = [
    (0x6969, "NFS"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB2"),
    (0x517b, "SMB"),
    (0x0102_1997, "9p"),
    (0x00c3_6400, "Ceph"),
    (0x6573_5546, "FUSE"),
];

/// Returns the kind of network file system that the directory `path` is on; none for a local one.
///
/// # Errors
/// That of `statfs(2)`.
pub fn network_filesystem(path: &Path) -> io::Result<Option<String>> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut answer = std::mem::MaybeUninit::<libc::statfs>::uninit();
    // SAFETY: `path` ends with a zero byte and `answer` is large enough for what statfs writes.
    let result = unsafe { libc::statfs(path.as_ptr(), answer.as_mut_ptr()) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: statfs returned 0, so it has filled `answer`.
    let kind = unsafe { answer.assume_init() }.f_type;
    Ok(NETWORK.iter().find(|(magic, _)| *magic == kind & 0xffff_ffff).map(|(_, name)| (*name).to_owned()))
}

/// Who can make files in a directory, as far as its file system goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writable {
    /// We can.
    Yes,
    /// We cannot: the permissions of the directory forbid it.
    NotByUs,
    /// Nobody can here: the mount is read-only. The file system is written through another mount, or may be.
    NotHere,
    /// Nobody can anywhere: the file system is read-only.
    Nowhere,
}

/// Returns whether files can be made in the directory `path`.
///
/// # Errors
/// As `faccessat(2)`, and if `/proc` does not tell how it is mounted.
pub fn writable(path: &Path) -> io::Result<Writable> {
    let Err(error) = may(path, libc::W_OK) else { return Ok(Writable::Yes) };
    match error.raw_os_error() {
        Some(libc::EACCES) => Ok(Writable::NotByUs),
        Some(libc::EROFS) => Ok(match mount_options(path)? {
            ("ro", "rw") => Writable::NotHere,
            // A read-only snapshot of btrfs is one though both say rw.
            _ => Writable::Nowhere,
        }),
        _ => Err(error),
    }
}

/// Tells whether this process may read the file `path`, without opening it.
///
/// # Errors
/// `EACCES` if not; else as `faccessat(2)`.
pub fn may_read(path: &Path) -> io::Result<()> {
    may(path, libc::R_OK)
}

fn may(path: &Path, how: i32) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: the path is zero-terminated and outlives the call.
    let result = unsafe { libc::faccessat(libc::AT_FDCWD, path.as_ptr(), how, libc::AT_EACCESS) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Returns whether the mount that the directory `path` is on, and the file system behind it, are `ro` or `rw`
/// (fields 6 and 11 of proc_pid_mountinfo(5)).
fn mount_options(path: &Path) -> io::Result<(&'static str, &'static str)> {
    // O_PATH: we may not be allowed to list it.
    let dir = std::fs::File::options().read(true).custom_flags(libc::O_PATH).open(path)?;
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", dir.as_raw_fd()))?;
    let id = info.lines().find_map(|line| line.strip_prefix("mnt_id:")).unwrap_or_default().trim();
    // Names in it may be any bytes.
    let mounts = std::fs::read("/proc/self/mountinfo")?;
    let mounts = String::from_utf8_lossy(&mounts);
    let mount = mounts.lines().find(|line| line.split(' ').next() == Some(id));
    let word = |options: Option<&str>| match options.and_then(|options| options.split(',').next()) {
        Some("ro") => Some("ro"),
        Some("rw") => Some("rw"),
        _ => None,
    };
    let words = mount.and_then(|line| Some((word(line.split(' ').nth(5))?, word(line.split(' ').next_back())?)));
    words.ok_or_else(|| io::Error::other(format!("/proc/self/mountinfo does not say how {path:?} is mounted")))
}
