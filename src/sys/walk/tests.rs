//! A walk over made-up trees: links and mounts on the way, long paths, names and attributes of any bytes.
//! Each way that kernels differ in is taken by hand.

use super::open::open_beneath_by_name;
use super::*;
use std::os::fd::{AsFd, OwnedFd};
use std::{fs, io};

#[test]
fn every_way_to_a_file_gives_the_same_extended_attributes_and_does_not_follow_links() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), b"").unwrap();
    std::os::unix::fs::symlink("file", dir.path().join("link")).unwrap();
    fixture::set_xattr(&dir.path().join("file"), "user.colour", b"blue\0!");
    let fd = open_root(dir.path()).unwrap();
    let (file, link) = (hold(fd.as_fd(), c"file").unwrap(), hold(fd.as_fd(), c"link").unwrap());
    let mut ways = vec![XattrCalls::ProcFd];
    if probe_xattr_calls(fd.as_fd()) == XattrCalls::At {
        ways.push(XattrCalls::At);
    }
    let named = |name| FileAt::Named(fd.as_fd(), name);
    for (way, file, link) in ways.into_iter().flat_map(|way| {
        [(way, named(c"file"), named(c"link")), (way, FileAt::Held(file.as_fd()), FileAt::Held(link.as_fd()))]
    }) {
        let mut room = [0; 100];
        let listed = list_xattrs(way, file, &mut room).unwrap();
        assert_eq!(&room[..listed], b"user.colour\0");
        let got = get_xattr(way, file, c"user.colour", &mut room).unwrap();
        assert_eq!(&room[..got], b"blue\0!");
        let short = get_xattr(way, file, c"user.colour", &mut room[..2]);
        assert_eq!(short.unwrap_err().raw_os_error(), Some(errno::ERANGE));
        assert_eq!(list_xattrs(way, link, &mut room).unwrap(), 0);
        assert_eq!(stat_of(link).unwrap().mode & 0o170_000, 0o120_000);
        assert_eq!(read_link(link, 4).unwrap(), b"file");
    }
}

#[test]
fn what_is_held_is_the_same_file_whatever_has_its_name_by_then() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::write(at("mine"), b"12345").unwrap();
    fs::write(at("other"), b"").unwrap();
    fixture::set_xattr(&at("mine"), "user.colour", b"blue");
    let fd = open_root(dir.path()).unwrap();
    let held = hold(fd.as_fd(), c"mine").unwrap();
    fs::rename(at("other"), at("mine")).unwrap();

    let mut room = [0; 100];
    assert_eq!(stat_of(FileAt::Held(held.as_fd())).unwrap().size_bytes, 5);
    assert_eq!(list_xattrs(XattrCalls::At, FileAt::Held(held.as_fd()), &mut room).unwrap(), 12);
    assert_eq!(stat_at(fd.as_fd(), c"mine").unwrap().size_bytes, 0);
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
        assert_eq!(read_link(FileAt::Named(fd.as_fd(), c"link"), expected).unwrap(), target.as_bytes(), "{expected}");
    }
}
