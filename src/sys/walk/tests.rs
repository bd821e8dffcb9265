//! A walk over made-up trees: links and mounts on the way, long paths, names and attributes of any bytes.
//! Each way that kernels differ in is taken by hand.

use super::open::open_beneath_by_name;
use super::*;
use std::os::fd::{AsFd, OwnedFd};
use std::{fs, io};

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
