//! What a file is, and where a symbolic link points.
//! Never follows a link and never triggers an automount. Source: `statx(2)`, `readlinkat(2)`.

use super::FileAt;
use super::call::{new_fd, retry};
use crate::model::{FilesystemId, SeenRoot, Timestamp};
use crate::sys::handle;
use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// What `statx(2)` tells of one file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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

impl Stat {
    /// Returns where the file lies.
    pub fn whereabouts(&self) -> Whereabouts {
        Whereabouts { device: self.device, mount: self.mount, mount_root: self.mount_root }
    }
}

/// On which mount a file lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Whereabouts {
    device: u64,
    mount: Option<u64>,
    mount_root: Option<bool>,
}

impl Whereabouts {
    /// Tells whether it is another mount than that on which a tree begins whose top is at `top`. Device numbers alone would also stop
    /// at subvolumes of btrfs, which are part of the tree.
    pub fn is_beyond(&self, top: &Self) -> bool {
        match (self.mount, top.mount, self.mount_root) {
            (Some(mount), Some(top), _) => mount != top,
            (_, _, Some(mount_root)) => mount_root,
            _ => self.device != top.device,
        }
    }
}

/// Returns where the file at `at` lies. Asks nothing of its file system, so one that hangs is not waited for.
///
/// Nothing is wanted and nothing is to be brought up to date: what the kernel tells of the mount it tells all the same (`do_statx` of
/// `fs/stat.c`), and FUSE refuses nobody who wants nothing (`fuse_getattr` of `fs/fuse/dir.c`).
///
/// # Errors
/// What `statx(2)` says; `ENOENT` where a name vanished.
pub fn whereabouts(at: FileAt<'_>) -> io::Result<Whereabouts> {
    statx_of(at, libc::AT_STATX_DONT_SYNC, 0).map(|stat| stat.whereabouts())
}

/// Does the same for the absolute path `path`; links on the way to it are followed, it itself is not.
///
/// # Errors
/// What `statx(2)` says.
pub fn whereabouts_of_path(path: &Path) -> io::Result<Whereabouts> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let flags = libc::AT_SYMLINK_NOFOLLOW | libc::AT_NO_AUTOMOUNT | libc::AT_STATX_DONT_SYNC;
    statx(libc::AT_FDCWD, &path, flags, 0).map(|stat| stat.whereabouts())
}

/// Returns what `name` in `dir` is; a symbolic link is not followed, an automount point not triggered.
///
/// # Errors
/// What `statx(2)` says; `ENOENT` where the name vanished.
pub fn stat_at(dir: BorrowedFd<'_>, name: &CStr) -> io::Result<Stat> {
    stat_of(FileAt::Named(dir, name))
}

/// Returns what is at the absolute path `path`; links on the way to it are followed, it itself is not.
///
/// # Errors
/// What `statx(2)` says.
pub fn stat_path(path: &Path) -> io::Result<Stat> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    statx(libc::AT_FDCWD, &path, libc::AT_SYMLINK_NOFOLLOW, ALL)
}

/// Returns what the open file `fd`, or one that is only held, is.
///
/// # Errors
/// What `statx(2)` says.
pub fn stat_fd(fd: BorrowedFd<'_>) -> io::Result<Stat> {
    stat_of(FileAt::Held(fd))
}

/// Returns what the file at `at` is.
///
/// # Errors
/// What `statx(2)` says; `ENOENT` where a name vanished.
pub fn stat_of(at: FileAt<'_>) -> io::Result<Stat> {
    statx_of(at, 0, ALL)
}

/// Does the same with what the machine knows of the file, without asking a server.
///
/// # Errors
/// What `statx(2)` says.
pub fn stat_without_waiting(at: FileAt<'_>) -> io::Result<Stat> {
    statx_of(at, libc::AT_STATX_DONT_SYNC, ALL)
}

fn statx_of(at: FileAt<'_>, flags: libc::c_int, mask: libc::c_uint) -> io::Result<Stat> {
    match at {
        FileAt::Named(dir, name) => {
            statx(dir.as_raw_fd(), name, flags | libc::AT_SYMLINK_NOFOLLOW | libc::AT_NO_AUTOMOUNT, mask)
        }
        FileAt::Held(file) | FileAt::Open(file) => statx(file.as_raw_fd(), c"", flags | libc::AT_EMPTY_PATH, mask),
    }
}

/// Tells whether the open file `fd` lies on btrfs.
///
/// # Errors
/// What `fstatfs(2)` says.
pub fn is_on_btrfs(fd: BorrowedFd<'_>) -> io::Result<bool> {
    // `BTRFS_SUPER_MAGIC` of statfs(2).
    Ok(crate::sys::read::magic_number(fd)? == 0x9123_683E)
}

/// Returns the number of the btrfs subvolume whose top directory `name` in `dir` is, which `stat` tells of; none if it is none.
///
/// The top directories of all subvolumes have one inode number, and those of snapshots the birth time of their origin; the numbers
/// of subvolumes are never given twice. An empty name stands for `dir`. Source: `BTRFS_IOC_INO_LOOKUP` (ioctl-btrfs, `linux/btrfs.h`),
/// which tells anybody the subvolume of a file that he can open.
///
/// # Errors
/// What `openat(2)` and `ioctl(2)` say.
fn subvolume(dir: BorrowedFd<'_>, name: &CStr, stat: &Stat) -> io::Result<Option<u64>> {
    /// `BTRFS_FIRST_FREE_OBJECTID`.
    const TOP: u64 = 256;
    /// `_IOWR(BTRFS_IOCTL_MAGIC, 18, struct btrfs_ioctl_ino_lookup_args)`.
    const INO_LOOKUP: libc::c_ulong = 0xd000_9412;
    if stat.inode != TOP || stat.mode & libc::S_IFMT != libc::S_IFDIR {
        return Ok(None);
    }
    let opened = open_directory(dir, name)?;
    if !is_on_btrfs(opened.as_fd())? {
        return Ok(None);
    }
    // `treeid`, `objectid` and room for a path of 4,080 bytes.
    let mut asked = [0_u64; 512];
    asked[1] = TOP;
    // SAFETY: `asked` has the 4,096 bytes of the structure and outlives the call.
    retry(|| unsafe { libc::ioctl(opened.as_raw_fd(), INO_LOOKUP, asked.as_mut_ptr()) as isize })?;
    Ok(Some(asked[0]))
}

/// A file system that is mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mounted {
    /// Its device number, for as long as it is mounted.
    pub device: u64,
    /// What it is known by; none: not known.
    pub id: Option<FilesystemId>,
}

/// Returns what the top directory of a copy is known by for life, `name` in `dir`, which `stat` tells of: the number of its subvolume or
/// its inode number, its birth time (0 where unknown), its ctime and its file system, which is asked for if it is not `near`. An
/// empty name stands for `dir`. Of what is no directory the file system is not asked for.
///
/// # Errors
/// What the system says when a subvolume is asked for its number.
pub fn seen_root(dir: BorrowedFd<'_>, name: &CStr, stat: &Stat, near: Option<Mounted>) -> io::Result<SeenRoot> {
    let ns = |time: Timestamp| time.ns_since(Timestamp::default());
    let is_directory = stat.mode & libc::S_IFMT == libc::S_IFDIR;
    let filesystem = match near {
        Some(near) if near.device == stat.device => near.id,
        // Who may not list it does not learn it, which is no error.
        _ if is_directory => open_directory(dir, name).ok().and_then(|opened| handle::filesystem(opened.as_fd())),
        _ => None,
    };
    Ok(SeenRoot {
        inode: subvolume(dir, name, stat)?.unwrap_or(stat.inode),
        born_ns: stat.born.map_or(0, ns),
        ctime_ns: ns(stat.ctime),
        filesystem,
    })
}

/// Opens the directory `name` in `dir` for reading; an empty name stands for `dir`.
fn open_directory(dir: BorrowedFd<'_>, name: &CStr) -> io::Result<OwnedFd> {
    let path = if name.is_empty() { c"." } else { name };
    let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW | libc::O_CLOEXEC;
    // SAFETY: `path` is zero-terminated and outlives the call; the result is checked before it is taken as a descriptor.
    new_fd(|| unsafe { libc::openat(dir.as_raw_fd(), path.as_ptr(), flags) })
}

/// All that [`Stat`] has.
const ALL: libc::c_uint = libc::STATX_BASIC_STATS | libc::STATX_BTIME | libc::STATX_MNT_ID;

fn statx(dir: RawFd, name: &CStr, flags: libc::c_int, mask: libc::c_uint) -> io::Result<Stat> {
    let mut raw = std::mem::MaybeUninit::<libc::statx>::zeroed();
    retry(|| {
        // SAFETY: `name` is zero-terminated and outlives the call; `raw` has room for one `struct statx`.
        unsafe { libc::statx(dir, name.as_ptr(), flags, mask, raw.as_mut_ptr()) as isize }
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

/// Returns the target of the symbolic link at `at`, of any length; `expected_bytes` is a guess at it.
///
/// # Errors
/// What `readlinkat(2)` says; `EINVAL` where a name is no link, `ENOENT` where something held is none.
pub fn read_link(at: FileAt<'_>, expected_bytes: u64) -> io::Result<Vec<u8>> {
    let (dir, name) = match at {
        FileAt::Named(dir, name) => (dir, name),
        FileAt::Held(file) | FileAt::Open(file) => (file, c""),
    };
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
