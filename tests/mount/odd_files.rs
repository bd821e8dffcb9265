//! Copies on a file system that is served from here, so that single files can behave as they like.
//! What one file says is not taken for the others.

use crate::site::{Site, sh};
use fuser::{
    BackgroundSession, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, Generation, INodeNo, ReplyAttr,
    ReplyDirectory, ReplyEntry, ReplyXattr, Request,
};
use std::ffi::OsStr;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// Empty files in one directory, each with `user.k` but for the first, which says that it knows no attributes.
struct OneWithout;

const NAMES: [&str; 3] = ["a", "b", "c"];
const ROOT: u64 = 1;
const TTL: Duration = Duration::ZERO;

fn attributes(ino: u64) -> FileAttr {
    let (time, is_root) = (SystemTime::UNIX_EPOCH, ino == ROOT);
    FileAttr {
        ino: INodeNo(ino),
        size: 0,
        blocks: 0,
        atime: time,
        mtime: time,
        ctime: time,
        crtime: time,
        kind: if is_root { FileType::Directory } else { FileType::RegularFile },
        perm: 0o755,
        nlink: if is_root { 2 } else { 1 },
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: 4096,
        flags: 0,
    }
}

impl OneWithout {
    fn mount(dir: &Path) -> BackgroundSession {
        fuser::spawn_mount(Self, dir, &Config::default()).expect("root mounts")
    }

    fn answer(value: &[u8], room: u32, reply: ReplyXattr) {
        if room == 0 { reply.size(value.len() as u32) } else { reply.data(value) }
    }
}

impl Filesystem for OneWithout {
    fn lookup(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match NAMES.iter().position(|known| name == *known) {
            Some(at) => reply.entry(&TTL, &attributes(ROOT + 1 + at as u64), Generation(0)),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&TTL, &attributes(ino.0));
    }

    fn readdir(&self, _: &Request, _: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        for (at, name) in (0_u64..).zip(NAMES).skip(offset as usize) {
            if reply.add(INodeNo(ROOT + 1 + at), at + 1, FileType::RegularFile, name) {
                break;
            }
        }
        reply.ok();
    }

    fn listxattr(&self, _: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        match ino.0 - ROOT {
            1 => reply.error(Errno::EOPNOTSUPP),
            _ => Self::answer(b"user.k\0", size, reply),
        }
    }

    fn getxattr(&self, _: &Request, _: INodeNo, _: &OsStr, size: u32, reply: ReplyXattr) {
        Self::answer(b"v", size, reply);
    }
}

#[test]
fn one_file_that_knows_no_attributes_does_not_take_them_from_the_others() {
    let site = Site::with_source();
    let copy = site.path("copies/2026-11-20");
    std::fs::create_dir(&copy).expect("a directory");
    let mounted = OneWithout::mount(&copy);
    site.ok(&["index", "homes"]);
    let view = site.mount(&[]).join("homes/@latest");
    assert_eq!(sh(&view, "getfattr --only-values -n user.k b c"), "vv");
    assert_eq!(sh(&view, "getfattr a"), "");
    site.umount();
    drop(mounted);
}
