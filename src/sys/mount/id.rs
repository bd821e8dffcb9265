//! Which mount is meant, after whatever was mounted and unmounted since.
//!
//! Promises: asks no server, also not one that hangs. What is told of one mount is never taken for another one's as far as the kernel
//! lets them be told apart.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// `include/uapi/linux/stat.h`, since kernel 6.8.
const STATX_MNT_ID_UNIQUE: u32 = 0x4000;

/// One mount, and none that gets its number when it has ended: that the kernel gives out again at once.
///
/// By a number that is given to no other where the kernel has such a one (6.8 and later); before that by all that the table of mounts
/// tells of it, which only another mount of the same source has, if it also gets the same numbers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MountId {
    /// In `/proc/self/mountinfo`.
    number: u64,
    unique: Option<u64>,
    device: (u32, u32),
    kind: String,
    source: OsString,
}

impl MountId {
    /// Returns the mount whose top is open.
    pub(super) fn of_top(top: BorrowedFd<'_>, kind: &str, source: &OsStr) -> io::Result<Self> {
        let Seen { unique, device } = Seen::of(top)?;
        Ok(Self { number: number_of(top)?, unique, device, kind: kind.to_owned(), source: source.to_owned() })
    }

    /// Returns the mount that the table has with `number`; `top` is what is seen where it is mounted, the top of another mount perhaps.
    pub(super) fn of_line(
        number: u64,
        device: (u32, u32),
        (kind, source): (&str, &OsStr),
        top: Option<BorrowedFd<'_>>,
    ) -> Self {
        let top = top.filter(|top| number_of(*top).is_ok_and(|found| found == number));
        let unique = top.and_then(|top| Seen::of(top).ok()?.unique);
        Self { number, unique, device, kind: kind.to_owned(), source: source.to_owned() }
    }

    /// Tells whether a line of the table may be about it.
    pub(super) fn is_line(&self, number: u64, device: (u32, u32), kind: &str, source: &OsStr) -> bool {
        (self.number, self.device, self.kind.as_str(), self.source.as_os_str()) == (number, device, kind, source)
    }

    /// Fails unless `opened` lies on it: with [`is_covered`] if another mount does, with [`is_not_mounted`] if that has its number.
    pub(super) fn expect_at(&self, opened: BorrowedFd<'_>) -> io::Result<()> {
        if number_of(opened)? != self.number {
            return Err(io::Error::new(io::ErrorKind::StaleNetworkFileHandle, COVERED));
        }
        match (self.unique, Seen::of(opened)) {
            (Some(own), Ok(Seen { unique: Some(found), .. })) if found != own => Err(not_mounted()),
            _ => Ok(()),
        }
    }
}

/// Returns the number of the mount that `opened` lies on. Asks no server.
pub(super) fn number_of(opened: BorrowedFd<'_>) -> io::Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", opened.as_raw_fd()))?;
    let number = text.lines().find_map(|line| line.strip_prefix("mnt_id:")?.trim().parse().ok());
    number.ok_or_else(|| io::Error::other("/proc/self/fdinfo has no mnt_id"))
}

/// What `statx(2)` tells of the mount that something lies on.
struct Seen {
    unique: Option<u64>,
    device: (u32, u32),
}

impl Seen {
    /// Asks no server: nothing is asked for that only a server knows, and it is not to be waited for.
    fn of(opened: BorrowedFd<'_>) -> io::Result<Self> {
        let mut raw = std::mem::MaybeUninit::<libc::statx>::zeroed();
        let flags = libc::AT_EMPTY_PATH | libc::AT_STATX_DONT_SYNC;
        // SAFETY: the path is a zero-terminated constant; `raw` has room for one `struct statx`.
        let result =
            unsafe { libc::statx(opened.as_raw_fd(), c"".as_ptr(), flags, STATX_MNT_ID_UNIQUE, raw.as_mut_ptr()) };
        if result < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: it was zeroed, which is a valid value of every field, and then filled by the kernel.
        let raw = unsafe { raw.assume_init() };
        Ok(Self {
            unique: (raw.stx_mask & STATX_MNT_ID_UNIQUE != 0).then_some(raw.stx_mnt_id),
            device: (raw.stx_dev_major, raw.stx_dev_minor),
        })
    }
}

const COVERED: &str = "something else is mounted over it";

/// Tells whether an error means that something else is mounted over it.
pub fn is_covered(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::StaleNetworkFileHandle
}

/// Tells whether an error means that nothing is mounted there.
pub fn is_not_mounted(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EINVAL)
}

/// As `umount2(2)` says it.
pub fn not_mounted() -> io::Error {
    io::Error::from_raw_os_error(libc::EINVAL)
}

#[cfg(test)]
mod tests {
    use super::super::{Target, WhenBusy, mounted_as, mounts, unmount};
    use super::*;

    /// What has the number of a mount that has ended is another mount.
    #[test]
    fn nothing_is_done_to_a_mount_that_only_has_the_number() {
        let proc = mounts()
            .unwrap()
            .into_iter()
            .rfind(|mounted| mounted.dir.as_os_str() == "/proc")
            .expect("/proc is mounted");
        let own = proc.id();
        assert_eq!(mounted_as(&own).unwrap().as_ref(), Some(&proc));
        Target::of_mount(&own).unwrap();
        // Were it unmounted all the same: it is in use.
        let _is_used = std::fs::File::open("/proc/self/stat").unwrap();
        let others = [
            MountId { unique: own.unique.map(|unique| unique - 1), ..own.clone() },
            MountId { device: (0, 0), ..own.clone() },
            MountId { kind: "fuse.asof".into(), ..own.clone() },
            MountId { source: "/c.db".into(), ..own.clone() },
        ];
        // A kernel without such numbers cannot tell the first one.
        for other in others.iter().filter(|other| **other != own) {
            assert!(is_not_mounted(&Target::of_mount(other).unwrap_err()));
            assert!(is_not_mounted(&unmount(other, WhenBusy::Refuse).unwrap_err()));
        }
        assert_eq!(mounted_as(&own).unwrap(), Some(proc));
    }
}
