//! What the view says, in the words of the FUSE protocol.
//!
//! Promises: every error of the view has one errno. Never asks anything.

use crate::model::{Kind, Timestamp};
use crate::view::{ErrorClass, Stat, Ttl};
use fuser::{Errno, FileAttr, FileType, INodeNo};
use std::time::{Duration, SystemTime};

/// For what never changes: the largest number of seconds that every kernel takes for "always".
pub(super) const FOREVER: Duration = Duration::from_secs(u32::MAX as u64);
const SHORT: Duration = Duration::from_secs(1);

/// `st_blksize`: a page, as the protocol's own default.
pub(super) const BLOCK_BYTES: u32 = 4096;

pub(super) fn duration(ttl: Ttl) -> Duration {
    match ttl {
        Ttl::Forever => FOREVER,
        Ttl::Short => SHORT,
        Ttl::None => Duration::ZERO,
    }
}

pub(super) fn errno(class: ErrorClass) -> Errno {
    match class {
        ErrorClass::NotFound => Errno::ENOENT,
        ErrorClass::Stale => Errno::ESTALE,
        ErrorClass::NotADirectory => Errno::ENOTDIR,
        ErrorClass::IsADirectory => Errno::EISDIR,
        ErrorClass::Invalid => Errno::EINVAL,
        ErrorClass::Io => Errno::EIO,
    }
}

pub(super) fn attributes(stat: &Stat) -> FileAttr {
    let mtime = system_time(stat.mtime);
    FileAttr {
        ino: INodeNo(stat.ino.0),
        size: stat.size_bytes,
        blocks: stat.blocks,
        // Backups do not record when a file was last read; the mount is read-only and never changes it.
        atime: mtime,
        mtime,
        ctime: system_time(stat.ctime),
        crtime: SystemTime::UNIX_EPOCH,
        kind: file_type(stat.kind),
        perm: (stat.perm & 0o7777) as u16,
        nlink: stat.nlink,
        uid: stat.uid,
        gid: stat.gid,
        // The lower half of glibc's dev_t is the kernel's 32-bit form (12 bits of major, 20 of minor).
        rdev: stat.rdev as u32,
        blksize: BLOCK_BYTES,
        flags: 0,
    }
}

/// The attributes of a name that is known not to exist: inode 0.
pub(super) fn no_attributes() -> FileAttr {
    let time = SystemTime::UNIX_EPOCH;
    FileAttr {
        ino: INodeNo(0),
        size: 0,
        blocks: 0,
        atime: time,
        mtime: time,
        ctime: time,
        crtime: time,
        kind: FileType::RegularFile,
        perm: 0,
        nlink: 0,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: BLOCK_BYTES,
        flags: 0,
    }
}

pub(super) fn file_type(kind: Kind) -> FileType {
    match kind {
        Kind::File => FileType::RegularFile,
        Kind::Directory => FileType::Directory,
        Kind::Symlink => FileType::Symlink,
        Kind::Fifo => FileType::NamedPipe,
        Kind::Socket => FileType::Socket,
        Kind::CharDevice => FileType::CharDevice,
        Kind::BlockDevice => FileType::BlockDevice,
    }
}

fn system_time(time: Timestamp) -> SystemTime {
    let seconds = Duration::from_secs(time.seconds.unsigned_abs());
    let whole = if time.seconds < 0 {
        SystemTime::UNIX_EPOCH.checked_sub(seconds)
    } else {
        SystemTime::UNIX_EPOCH.checked_add(seconds)
    };
    whole.and_then(|t| t.checked_add(Duration::from_nanos(time.nanos.into()))).unwrap_or(SystemTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_before_1970_keep_their_nanoseconds() {
        let time = system_time(Timestamp { seconds: -2, nanos: 300 });
        assert_eq!(SystemTime::UNIX_EPOCH.duration_since(time).unwrap(), Duration::new(1, 999_999_700));
        let time = system_time(Timestamp { seconds: 4_102_444_800, nanos: 1 });
        assert_eq!(time.duration_since(SystemTime::UNIX_EPOCH).unwrap(), Duration::new(4_102_444_800, 1));
    }
}
