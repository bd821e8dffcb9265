//! Mounting a FUSE file system, taking it away again, and knowing what is mounted where.
//!
//! Promises: [`create`] makes a file system that nobody sees until it is attached, so that it can be ready
//! first and can take the place of another one without a moment in which the mount point is empty.
//! What is mounted is read from `/proc/self/mountinfo`, and taken away as the one mount that it is ([`MountId`]): whoever owns a directory
//! above a mount point may rename it, or put a link in its place, and another mount may be at that path by then; and the kernel gives the
//! number of a mount that has ended to the next one. Only [`is_disconnected`] asks a mounted
//! file system anything and so waits for its server. Never mounts anything but `fuse`.

mod fstab;
mod id;
mod strangers;
mod way;

pub use fstab::absent_above;
pub use id::{MountId, is_covered, is_not_mounted, not_mounted};
pub use strangers::{expect_no_stranger, expect_no_stranger_in_folder};
pub use way::{NoWay, plain_folder};

use super::read;
use std::ffi::{CString, OsString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// `fsconfig(2)` takes strings of up to 255 bytes.
const SOURCE_BYTES_MAX: usize = 255;

/// `include/uapi/linux/mount.h`, since kernel 6.5.
const MOVE_MOUNT_BENEATH: u32 = 0x200;
const MOVE_MOUNT_F_EMPTY_PATH: u32 = 0x4;
const MOVE_MOUNT_T_EMPTY_PATH: u32 = 0x40;
const FSCONFIG_SET_FLAG: u32 = 0;
const FSCONFIG_SET_STRING: u32 = 1;
const FSCONFIG_CMD_CREATE: u32 = 6;
const FSOPEN_CLOEXEC: u32 = 1;
const FSMOUNT_CLOEXEC: u32 = 1;
const MOUNT_ATTR_RDONLY: u64 = 0x1;
const MOUNT_ATTR_NOSUID: u64 = 0x2;
const MOUNT_ATTR_NODEV: u64 = 0x4;

/// What a FUSE file system is mounted with, besides `ro,nosuid,nodev,default_permissions`.
#[derive(Clone, Copy, Debug)]
pub struct FuseMount<'a> {
    /// What `df` and `/proc/mounts` show as the device.
    pub source: &'a Path,
    /// The part after `fuse.` in the type.
    pub subtype: &'a str,
    /// Whether other users than the owner are let in (by the modes, as anywhere).
    pub allow_other: bool,
}

/// Opens the device through which a FUSE server speaks with the kernel.
///
/// # Errors
/// As `open(2)`: `ENOENT` without the kernel module, `ENODEV`, `EPERM` in some containers.
pub fn open_fuse_device() -> io::Result<OwnedFd> {
    let file = std::fs::File::options().read(true).write(true).open("/dev/fuse")?;
    Ok(file.into())
}

/// A mounted file system that has no place in the tree yet. Dropped, it is gone.
#[derive(Debug)]
pub struct Detached {
    top: OwnedFd,
    kind: String,
    source: OsString,
}

/// Makes a FUSE file system served through `device`, attached nowhere.
///
/// # Errors
/// `EPERM` without `CAP_SYS_ADMIN`; `ENOSYS` before kernel 5.2; else as `fsconfig(2)`.
pub fn create(device: BorrowedFd<'_>, mount: &FuseMount<'_>) -> io::Result<Detached> {
    // SAFETY: the name is a zero-terminated constant.
    let context = descriptor(unsafe { libc::syscall(libc::SYS_fsopen, c"fuse".as_ptr(), FSOPEN_CLOEXEC) })?;
    set(&context, "source", Some(shortened(mount.source)))?;
    set(&context, "subtype", Some(mount.subtype.as_bytes()))?;
    set(&context, "fd", Some(device.as_raw_fd().to_string().as_bytes()))?;
    set(&context, "rootmode", Some(b"40000"))?;
    let (uid, gid) = super::process::effective_ids();
    set(&context, "user_id", Some(uid.to_string().as_bytes()))?;
    set(&context, "group_id", Some(gid.to_string().as_bytes()))?;
    set(&context, "default_permissions", None)?;
    set(&context, "ro", None)?;
    if mount.allow_other {
        set(&context, "allow_other", None)?;
    }
    configure(&context, FSCONFIG_CMD_CREATE, None, None)?;
    let attributes = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
    // SAFETY: no memory is passed; `context` is open for the whole call.
    let fd = unsafe { libc::syscall(libc::SYS_fsmount, context.as_raw_fd(), FSMOUNT_CLOEXEC, attributes) };
    Ok(Detached {
        top: descriptor(fd)?,
        kind: format!("fuse.{}", mount.subtype),
        source: OsString::from_vec(shortened(mount.source).to_vec()),
    })
}

impl Detached {
    /// Returns which mount it is, which it stays when it is attached.
    ///
    /// # Errors
    /// If `/proc` is not there; as `statx(2)`.
    pub fn id(&self) -> io::Result<MountId> {
        MountId::of_top(self.top.as_fd(), &self.kind, &self.source)
    }

    /// Attaches the file system at `target`, over what is there.
    ///
    /// # Errors
    /// As `move_mount(2)`.
    pub fn attach(&self, target: &Target) -> io::Result<()> {
        self.move_to(target, 0)
    }

    /// Attaches the file system at `target`, the top of a mount, under that one, which hides it until it is
    /// unmounted.
    ///
    /// # Errors
    /// `EINVAL` before kernel 6.5, else as `move_mount(2)`.
    pub fn attach_beneath(&self, target: &Target) -> io::Result<()> {
        self.move_to(target, MOVE_MOUNT_BENEATH)
    }

    fn move_to(&self, target: &Target, flags: u32) -> io::Result<()> {
        // SAFETY: both paths are zero-terminated constants, and both descriptors are open for the whole call.
        let result = unsafe {
            libc::syscall(
                libc::SYS_move_mount,
                self.top.as_raw_fd(),
                c"".as_ptr(),
                target.0.as_raw_fd(),
                c"".as_ptr(),
                MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH | flags,
            )
        };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

/// A directory where something is or will be mounted, whatever its path leads to by now.
#[derive(Debug)]
pub struct Target(OwnedFd);

impl Target {
    /// Opens the directory at `dir`, an absolute path without links: what is mounted there, if anything is. Asks no server.
    ///
    /// # Errors
    /// As `openat2(2)`; `ELOOP` if there is a link on the way by now.
    pub fn open(dir: &Path) -> io::Result<Self> {
        let top = read::open_place(Path::new("/"))?;
        let below = dir.as_os_str().as_bytes();
        let below = &below[below.iter().take_while(|byte| **byte == b'/').count()..];
        if below.is_empty() { Ok(Self(top)) } else { read::open_place_beneath(top.as_fd(), below).map(Self) }
    }

    /// Opens the top of the mount `id`, wherever that is. Asks no server.
    ///
    /// # Errors
    /// [`is_not_mounted`] of it; [`is_covered`] of it; as `openat2(2)`.
    pub fn of_mount(id: &MountId) -> io::Result<Self> {
        where_it_is(id, |mounted| {
            let target = Self::open(&mounted.dir)?;
            id.expect_at(target.0.as_fd())?;
            Ok(target)
        })
    }

    /// Returns a path that leads to it for as long as this is open.
    pub fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.0.as_raw_fd()))
    }
}

/// Mounts at once with `mount(2)`, for kernels and sandboxes without [`create`].
///
/// # Errors
/// As `mount(2)`.
pub fn mount_at_once(device: BorrowedFd<'_>, mount: &FuseMount<'_>, target: &Target) -> io::Result<()> {
    let (uid, gid) = super::process::effective_ids();
    let allow_other = if mount.allow_other { ",allow_other" } else { "" };
    let device = device.as_raw_fd();
    let data = format!("fd={device},rootmode=40000,user_id={uid},group_id={gid},default_permissions{allow_other}");
    let data = c_string(data.as_bytes())?;
    let kind = c_string(format!("fuse.{}", mount.subtype).as_bytes())?;
    let source = c_string(mount.source.as_os_str().as_bytes())?;
    let dir = c_string(target.path().as_os_str().as_bytes())?;
    let flags = libc::MS_RDONLY | libc::MS_NOSUID | libc::MS_NODEV;
    // SAFETY: all strings are zero-terminated and outlive the call.
    let result = unsafe { libc::mount(source.as_ptr(), dir.as_ptr(), kind.as_ptr(), flags, data.as_ptr().cast()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// How [`unmount`] treats a file system that is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenBusy {
    /// Leaves it and says `EBUSY`.
    Refuse,
    /// Takes it out of the tree now; it ends when its last user is gone.
    Detach,
}

/// How often a mount is looked for that is somewhere else each time.
const LOOKS_MAX: usize = 64;

/// Unmounts the mount `id`, wherever that is by now, and nothing else.
///
/// # Errors
/// As `umount2(2)`: `EPERM` without `CAP_SYS_ADMIN`, `EBUSY`; [`is_not_mounted`] of it; [`is_covered`] of it.
pub fn unmount(id: &MountId, when_busy: WhenBusy) -> io::Result<()> {
    let detach = match when_busy {
        WhenBusy::Refuse => 0,
        WhenBusy::Detach => libc::MNT_DETACH,
    };
    where_it_is(id, |mounted| {
        let (Some(parent), Some(name)) = (mounted.dir.parent(), mounted.dir.file_name()) else {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        };
        // By the directory that holds the mount point: a descriptor in the mount itself would be a use of it. While something is
        // mounted there, nobody can rename the name.
        let parent = Target::open(parent)?;
        let is_there = read::open_place_beneath(parent.0.as_fd(), name.as_bytes())?;
        id.expect_at(is_there.as_fd())?;
        drop(is_there);
        let path = c_string(parent.path().join(name).as_os_str().as_bytes())?;
        // SAFETY: `path` is zero-terminated and outlives the call.
        let result = unsafe { libc::umount2(path.as_ptr(), libc::UMOUNT_NOFOLLOW | detach) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    })
}

/// Does something with the mount `id` where it is, again for as long as it turns out to be somewhere else.
fn where_it_is<T>(id: &MountId, mut act: impl FnMut(&Mounted) -> io::Result<T>) -> io::Result<T> {
    let mut result = Err(not_mounted());
    for _ in 0..LOOKS_MAX {
        let Some(mounted) = mounted_as(id)? else { return Err(not_mounted()) };
        result = act(&mounted);
        match &result {
            Err(e) if matches!(e.raw_os_error(), Some(libc::ENOENT | libc::ELOOP | libc::ENOTDIR | libc::EXDEV)) => {}
            Err(e) if is_covered(e) => {}
            _ => return result,
        }
    }
    result
}

/// One line of `/proc/self/mountinfo`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mounted {
    /// Its number, for as long as it is mounted.
    pub number: u64,
    /// Where.
    pub dir: PathBuf,
    /// Major and minor number of the file system's device.
    pub device: (u32, u32),
    /// The type, `fuse.asof` for one.
    pub kind: String,
    /// What was given as the device.
    pub source: OsString,
    /// Whether nothing can be written by way of this mount.
    pub is_read_only: bool,
    /// Whether nothing can be written to the file system, by way of whatever mount of it.
    pub is_file_system_read_only: bool,
    /// Who mounted it, if it is a FUSE file system: whose program answers for it.
    pub fuse_user: Option<u32>,
}

impl Mounted {
    /// Returns which mount it is. Asks no server.
    pub fn id(&self) -> MountId {
        // What is covered can be told by the table alone.
        let top = Target::open(&self.dir).ok();
        let top = top.as_ref().map(|top| top.0.as_fd());
        MountId::of_line(self.number, self.device, (&self.kind, &self.source), top)
    }
}

/// Returns what is mounted, in the order of mounting: of several at one place the last is seen.
///
/// # Errors
/// If `/proc` is not there.
pub fn mounts() -> io::Result<Vec<Mounted>> {
    Ok(parse_mountinfo(&std::fs::read(TABLE)?))
}

/// Returns what the table says of the mount `id`: where it is now.
///
/// # Errors
/// If `/proc` is not there.
pub fn mounted_as(id: &MountId) -> io::Result<Option<Mounted>> {
    Ok(mounts()?.into_iter().find(|line| id.is_line(line.number, line.device, &line.kind, &line.source)))
}

/// Returns the mount of the file system that `path` lies on, the first where it is mounted more than once; none where that is not
/// told (the device numbers of subvolumes are not in the list).
///
/// # Errors
/// If the path or `/proc` is not there.
pub fn mount_of(path: &Path) -> io::Result<Option<Mounted>> {
    let device = std::fs::metadata(path)?.dev();
    let device = (libc::major(device), libc::minor(device));
    Ok(mounts()?.into_iter().find(|mounted| mounted.device == device))
}

fn parse_mountinfo(text: &[u8]) -> Vec<Mounted> {
    text.split(|b| *b == b'\n').filter_map(parse_mount).collect()
}

/// `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue` (proc_pid_mountinfo(5)).
fn parse_mount(line: &[u8]) -> Option<Mounted> {
    let mut fields = line.split(|b| *b == b' ');
    let number = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
    let device = std::str::from_utf8(fields.nth(1)?).ok()?;
    let (major, minor) = device.split_once(':')?;
    let dir = unescape(fields.nth(1)?);
    let is_read_only = has_option(fields.next()?, b"ro");
    let mut fields = fields.skip_while(|f| *f != b"-").skip(1);
    let kind = String::from_utf8_lossy(fields.next()?).into_owned();
    let source = OsString::from_vec(unescape(fields.next()?));
    let options = fields.next()?;
    let user = options.split(|b| *b == b',').find_map(|option| option.strip_prefix(b"user_id="));
    let user = user.and_then(|user| std::str::from_utf8(user).ok()?.parse().ok());
    Some(Mounted {
        number,
        dir: PathBuf::from(OsString::from_vec(dir)),
        device: (major.parse().ok()?, minor.parse().ok()?),
        source,
        is_read_only,
        is_file_system_read_only: has_option(options, b"ro"),
        fuse_user: user.filter(|_| is_fuse(&kind)),
        kind,
    })
}

fn is_fuse(kind: &str) -> bool {
    kind == "fuse" || kind == "fuseblk" || kind.starts_with("fuse.")
}

fn has_option(options: &[u8], wanted: &[u8]) -> bool {
    options.split(|b| *b == b',').any(|option| option == wanted)
}

/// The table of mounts, to be told of its changes.
#[derive(Debug)]
pub struct Table(std::fs::File);

impl Table {
    /// Opens it.
    ///
    /// # Errors
    /// If `/proc` is not there.
    pub fn open() -> io::Result<Self> {
        std::fs::File::open(TABLE).map(Self)
    }

    /// Waits until something was mounted, mounted otherwise or unmounted since it was opened or last waited for
    /// (`POLLPRI`, proc_pid_mountinfo(5)), for so long at most. Returns whether it was.
    ///
    /// # Errors
    /// As `poll(2)`.
    pub fn wait(&self, limit: std::time::Duration) -> io::Result<bool> {
        super::process::wait_for(self.0.as_fd(), libc::POLLPRI, limit)
    }
}

const TABLE: &str = "/proc/self/mountinfo";

/// Makes the mount `id` and its file system read-only, as [`create`] made them.
///
/// # Errors
/// As `mount(2)`: `EBUSY` while somebody has a file open for writing; as [`Target::of_mount`].
pub fn make_read_only(id: &MountId) -> io::Result<()> {
    let target = Target::of_mount(id)?;
    let top = c_string(target.path().as_os_str().as_bytes())?;
    let flags = libc::MS_REMOUNT | libc::MS_RDONLY | libc::MS_NOSUID | libc::MS_NODEV;
    // SAFETY: `top` is zero-terminated and outlives the call; a remount takes no device and no type, and no options are given.
    let result = unsafe { libc::mount(std::ptr::null(), top.as_ptr(), std::ptr::null(), flags, std::ptr::null()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Turns `\040` into a blank; the kernel writes blank, tab, newline, backslash and `#` so.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, tail @ ..] = rest {
        let octal = |d: &[u8]| d.iter().all(|b| (b'0'..=b'7').contains(b));
        if *first == b'\\' && tail.len() >= 3 && octal(&tail[..3]) && tail[0] <= b'3' {
            out.push((tail[0] - b'0') * 64 + (tail[1] - b'0') * 8 + (tail[2] - b'0'));
            rest = &tail[3..];
        } else {
            out.push(*first);
            rest = tail;
        }
    }
    out
}

/// Sets how far the kernel reads ahead in the files of one file system.
///
/// # Errors
/// If `/sys` is not there or not writable.
pub fn set_read_ahead(device: (u32, u32), kib: u32) -> io::Result<()> {
    std::fs::write(format!("/sys/class/bdi/{}:{}/read_ahead_kb", device.0, device.1), kib.to_string())
}

/// Tells whether an error means that the kernel (or a sandbox around us) does not know a call.
pub fn is_unknown_call(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM))
}

/// Tells whether the server behind a mounted FUSE file system is gone.
///
/// Asks with `fstatfs(2)`, which the kernel never answers from memory (attributes it would, for as long as they
/// are valid). A live server is waited for.
pub fn is_disconnected(top: &Target) -> bool {
    // SAFETY: all-zero is a valid `statfs`; the call overwrites it.
    let mut status: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: the descriptor is open for the whole call, `status` is writable.
    let failed = unsafe { libc::fstatfs(top.0.as_raw_fd(), &raw mut status) } != 0;
    failed && matches!(io::Error::last_os_error().raw_os_error(), Some(libc::ENOTCONN | libc::ECONNABORTED))
}

fn set(context: &OwnedFd, key: &str, value: Option<&[u8]>) -> io::Result<()> {
    let command = if value.is_some() { FSCONFIG_SET_STRING } else { FSCONFIG_SET_FLAG };
    configure(context, command, Some(key), value)
}

fn configure(context: &OwnedFd, command: u32, key: Option<&str>, value: Option<&[u8]>) -> io::Result<()> {
    let key = key.map(|k| c_string(k.as_bytes())).transpose()?;
    let value = value.map(c_string).transpose()?;
    let pointer = |s: &Option<CString>| s.as_ref().map_or(std::ptr::null(), |s| s.as_ptr());
    // SAFETY: both strings are null or zero-terminated and outlive the call.
    let result =
        unsafe { libc::syscall(libc::SYS_fsconfig, context.as_raw_fd(), command, pointer(&key), pointer(&value), 0) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Returns what the table shows of the source `path`: one too long for `fsconfig` by its end, which tells more than its beginning.
pub fn shortened(path: &Path) -> &[u8] {
    let bytes = path.as_os_str().as_bytes();
    &bytes[bytes.len().saturating_sub(SOURCE_BYTES_MAX)..]
}

fn c_string(bytes: &[u8]) -> io::Result<CString> {
    CString::new(bytes).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))
}

fn descriptor(fd: libc::c_long) -> io::Result<OwnedFd> {
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just given out `fd` and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mountinfo_is_read_with_blanks_and_optional_fields() {
        let text =
            b"36 35 98:0 /mnt1 /mnt\\0402 rw,noatime master:1 shared:2 - fuse.asof /var/a\\134b ro,user_id=1001,fd=3\n\
                     37 35 0:5 / /x ro - tmpfs tmpfs rw,user_id=7\n";
        let expected = vec![
            Mounted {
                number: 36,
                dir: "/mnt 2".into(),
                device: (98, 0),
                kind: "fuse.asof".into(),
                source: "/var/a\\b".into(),
                is_read_only: false,
                is_file_system_read_only: true,
                fuse_user: Some(1001),
            },
            Mounted {
                number: 37,
                dir: "/x".into(),
                device: (0, 5),
                kind: "tmpfs".into(),
                source: "tmpfs".into(),
                is_read_only: true,
                is_file_system_read_only: false,
                fuse_user: None,
            },
        ];
        assert_eq!(parse_mountinfo(text), expected);
    }

    #[test]
    fn a_long_source_is_shown_by_its_end() {
        let path = "/".to_owned() + &"a".repeat(300) + "/catalog.db";
        let short = shortened(Path::new(&path));
        assert_eq!(short.len(), 255);
        assert!(short.ends_with(b"/catalog.db"));
    }
}
