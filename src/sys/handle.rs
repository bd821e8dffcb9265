//! What a directory is known by when its path and its device number mean nothing any more.
//!
//! Promises: a few calls on an open directory, nothing is read from the disk for them. A file system that has no such
//! thing is no error. Sources: `statfs(2)`, `name_to_handle_at(2)`, `linux/fs.h`, `linux/btrfs.h`, `xfs_fs.h` of xfsprogs.

use crate::model::FilesystemId;
use crate::sys::read;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};

/// `MAX_HANDLE_SZ` of `linux/exportfs.h`: no file system has longer handles.
const HANDLE_BYTES_MAX: usize = 128;

/// Returns the id of the file system that `dir` is on. Some number all that they are (ext4, btrfs), some their device (XFS),
/// and some give 0 (NFS).
///
/// # Errors
/// What `fstatfs(2)` says.
pub fn filesystem_id(dir: BorrowedFd<'_>) -> io::Result<u64> {
    let mut answer = MaybeUninit::<libc::statfs>::zeroed();
    // SAFETY: `answer` has room for one `struct statfs`.
    if unsafe { libc::fstatfs(dir.as_raw_fd(), answer.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it was zeroed, which is a valid value of every field, and then filled by the kernel.
    let id = unsafe { answer.assume_init() }.f_fsid;
    // SAFETY: `fsid_t` is two `int`s whose names are private to the C library; any bits of them are a number.
    Ok(unsafe { std::mem::transmute::<libc::fsid_t, u64>(id) })
}

/// Returns what the file system is known by that `dir`, which is open for reading, is on. None where that cannot be known: over a
/// network, behind FUSE, and on file systems other than ext2/3/4, XFS and btrfs before Linux 6.9.
///
/// A copy of a whole file system (`dd`) has the UUID of its origin.
pub fn filesystem(dir: BorrowedFd<'_>) -> Option<FilesystemId> {
    let folded = |uuid: [u8; 16]| {
        let (low, high) =
            (u64::from_le_bytes(uuid[..8].try_into().ok()?), u64::from_le_bytes(uuid[8..].try_into().ok()?));
        Some(low ^ high)
    };
    let id = match uuid(dir) {
        Some(uuid) => folded(uuid),
        None => match read::magic_number(dir).ok()? {
            // The id of its statfs is the UUID, folded.
            0xEF53 => filesystem_id(dir).ok(),
            0x5846_5342 => folded(xfs_uuid(dir)?),
            0x9123_683E => folded(btrfs_uuid(dir)?),
            _ => None,
        },
    };
    id.filter(|id| *id != 0).map(FilesystemId)
}

/// Asks as Linux 6.9 and later can be asked, whatever the file system.
fn uuid(dir: BorrowedFd<'_>) -> Option<[u8; 16]> {
    /// `FS_IOC_GETFSUUID`, `_IOR(0x15, 0, struct fsuuid2)`.
    const GET: libc::c_ulong = 0x8011_1500;
    let mut answer = [0_u8; 17];
    // SAFETY: `answer` has the 17 bytes of the structure: a length, and room for 16 bytes.
    let done = unsafe { libc::ioctl(dir.as_raw_fd(), GET, answer.as_mut_ptr()) };
    // FAT has numbers of four bytes, which many disks share.
    (done == 0 && answer[0] == 16).then(|| answer[1..].try_into().expect("16 bytes"))
}

fn xfs_uuid(dir: BorrowedFd<'_>) -> Option<[u8; 16]> {
    /// `XFS_IOC_FSGEOMETRY_V1`, `_IOR('X', 100, struct xfs_fsop_geom_v1)`.
    const GET: libc::c_ulong = 0x8070_5864;
    let mut answer = [0_u64; 14];
    // SAFETY: `answer` has the 112 bytes of the structure, and its alignment.
    let done = unsafe { libc::ioctl(dir.as_raw_fd(), GET, answer.as_mut_ptr()) };
    // After eight numbers of 32 and four of 64 bits.
    (done == 0).then(|| uuid_at(answer[8], answer[9]))
}

fn btrfs_uuid(dir: BorrowedFd<'_>) -> Option<[u8; 16]> {
    /// `BTRFS_IOC_FS_INFO`, `_IOR(BTRFS_IOCTL_MAGIC, 31, struct btrfs_ioctl_fs_info_args)`.
    const GET: libc::c_ulong = 0x8400_941f;
    let mut answer = [0_u64; 128];
    // SAFETY: `answer` has the 1,024 bytes of the structure, and its alignment.
    let done = unsafe { libc::ioctl(dir.as_raw_fd(), GET, answer.as_mut_ptr()) };
    // After two numbers of 64 bits.
    (done == 0).then(|| uuid_at(answer[2], answer[3]))
}

/// Returns the bytes of two words as they lie in memory.
fn uuid_at(first: u64, second: u64) -> [u8; 16] {
    let mut uuid = [0; 16];
    uuid[..8].copy_from_slice(&first.to_ne_bytes());
    uuid[8..].copy_from_slice(&second.to_ne_bytes());
    uuid
}

/// Returns the file handle of `dir`, which its file system knows it by for life: its type, and bytes that mean nothing to others.
/// None where the file system has none.
///
/// # Errors
/// What `name_to_handle_at(2)` says otherwise.
pub fn file_handle(dir: BorrowedFd<'_>) -> io::Result<Option<(i32, Vec<u8>)>> {
    /// `struct file_handle`, with room behind it.
    #[repr(C)]
    struct Handle {
        bytes: u32,
        kind: i32,
        handle: [u8; HANDLE_BYTES_MAX],
    }
    let mut handle = Handle { bytes: HANDLE_BYTES_MAX as u32, kind: 0, handle: [0; HANDLE_BYTES_MAX] };
    let mut mount: libc::c_int = 0;
    // SAFETY: the path is empty and ends with a zero byte; `handle` begins as `struct file_handle` does and has the room that it
    // tells; `mount` has room for one number.
    let done = unsafe {
        libc::syscall(
            libc::SYS_name_to_handle_at,
            dir.as_raw_fd(),
            c"".as_ptr(),
            &raw mut handle,
            &raw mut mount,
            libc::AT_EMPTY_PATH,
        )
    };
    if done == 0 {
        let length = (handle.bytes as usize).min(HANDLE_BYTES_MAX);
        return Ok(Some((handle.kind, handle.handle[..length].to_vec())));
    }
    match io::Error::last_os_error() {
        // EPERM, ENOSYS: a container's filter does not allow it.
        e if matches!(e.raw_os_error(), Some(libc::EOPNOTSUPP | libc::ENOSYS | libc::EPERM)) => Ok(None),
        e => Err(e),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::walk;
    use std::os::fd::AsFd;

    /// Each has the number that its tool prints as its UUID, by the call for all and by its own, before and after it was mounted anew.
    #[test]
    fn a_file_system_is_known_by_its_uuid_whatever_way_the_kernel_has_to_ask() {
        type Own = fn(BorrowedFd<'_>) -> Option<[u8; 16]>;
        let ways: [(&str, &str, Option<Own>); 3] =
            [("ext4", "16M", None), ("xfs", "300M", Some(xfs_uuid)), ("btrfs", "120M", Some(btrfs_uuid))];
        if !walk::fixture::is_root() {
            return;
        }
        for (kind, size, own) in ways {
            let folder = tempfile::tempdir().unwrap();
            let run = |script: &str| {
                let done = std::process::Command::new("sh").args(["-euc", script]).current_dir(folder.path()).output();
                let done = done.unwrap();
                assert!(done.status.success(), "{kind}: {}", String::from_utf8_lossy(&done.stderr));
                String::from_utf8(done.stdout).unwrap()
            };
            run(&format!("truncate -s {size} image; mkfs.{kind} -q image; mkdir on"));
            let uuid = run("blkid -p -o value -s UUID image").trim().replace('-', "");
            let byte = |at: usize| u8::from_str_radix(&uuid[at..at + 2], 16).unwrap();
            let uuid: Vec<u8> = (0..32).step_by(2).map(byte).collect();
            let word = |at: usize| u64::from_le_bytes(uuid[at..at + 8].try_into().unwrap());
            for _ in 0..2 {
                run("mount -o loop image on");
                let dir = std::fs::File::open(folder.path().join("on")).unwrap();
                let found = (filesystem(dir.as_fd()), own.map(|own| own(dir.as_fd()).unwrap().to_vec()));
                let by_statfs = filesystem_id(dir.as_fd()).unwrap();
                drop(dir);
                run("umount on");
                assert_eq!(found, (Some(FilesystemId(word(0) ^ word(8))), own.map(|_| uuid.clone())), "{kind}");
                assert!(kind != "ext4" || by_statfs == word(0) ^ word(8));
            }
        }
    }

    #[test]
    fn a_directory_has_the_same_handle_under_another_name_and_another_one_made_in_its_place_has_not() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (folder.path().join("one"), folder.path().join("two"));
        let handle = |path: &std::path::Path| {
            let dir = std::fs::File::open(path).unwrap();
            (filesystem_id(dir.as_fd()).unwrap(), file_handle(dir.as_fd()).unwrap())
        };
        std::fs::create_dir(&one).unwrap();
        let before = handle(&one);
        std::fs::rename(&one, &two).unwrap();
        std::fs::create_dir(&one).unwrap();
        assert_eq!(handle(&two), before);
        assert_eq!(handle(&one).0, before.0);
        if before.1.is_some() {
            assert_ne!(handle(&one).1, before.1);
        }
    }
}
