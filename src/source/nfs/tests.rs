//! What the walk and the search for copies promise, on real directories.
//!
//! Those that need device nodes, mounts or another user need root, and say so where they skip.

use super::directory::{Copy, Reader};
use super::mark::Mark;
use super::*;
use crate::model::{Attrs, FindingKind, Kind, ListedEntry, RelPath, SourceKind, Timestamp, escape_bytes};
use crate::source::{FileStamp, NoDigest};
use crate::sys::walk::{self as sys, fixture};
use jiff::tz::TimeZone;
use std::collections::VecDeque;
use std::ffi::OsStr;
use std::fs::{self, File, FileTimes, Permissions};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};
use tempfile::TempDir;

fn new_copy() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn scan_all(path: &Path) -> (Vec<Listing>, ScanStats) {
    let mut listings = Vec::new();
    let stats = scan_tree(path, &mut |listing| {
        listings.push(listing);
        ControlFlow::Continue(())
    });
    (listings, stats.unwrap())
}

fn entry<'l>(listing: &'l Listing, name: &[u8]) -> &'l ListedEntry {
    listing.entries.iter().find(|e| e.name.as_bytes() == name).expect("the name is listed")
}

fn attrs<'l>(listing: &'l Listing, name: &str) -> &'l Attrs {
    &entry(listing, name.as_bytes()).attrs
}

fn names(listing: &Listing) -> Vec<String> {
    listing.entries.iter().map(|e| escape_bytes(e.name.as_bytes()).into_owned()).collect()
}

fn findings(listing: &Listing) -> Vec<(FindingKind, String, &str)> {
    listing.findings.iter().map(|f| (f.kind, f.path.to_string(), f.detail.as_str())).collect()
}

fn rel(path: &str) -> RelPath {
    RelPath::parse(path.as_bytes()).unwrap()
}

#[test]
fn every_kind_of_file_is_listed_with_what_it_is() {
    if !fixture::is_root() {
        return;
    }
    let copy = new_copy();
    let at = |name: &str| copy.path().join(name);
    fs::write(at("file"), b"hello").unwrap();
    std::os::unix::fs::chown(at("file"), Some(1234), Some(5678)).unwrap();
    fs::set_permissions(at("file"), Permissions::from_mode(0o4640)).unwrap();
    fs::hard_link(at("file"), at("other-name")).unwrap();
    File::create(at("sparse")).unwrap().set_len(1 << 20).unwrap();
    fs::create_dir(at("directory")).unwrap();
    symlink("no/such/target", at("link")).unwrap();
    fixture::make_node(&at("fifo"), 0o010600, 0, 0);
    fixture::make_node(&at("socket"), 0o140600, 0, 0);
    fixture::make_node(&at("null"), 0o020666, 1, 3);
    fixture::make_node(&at("disk"), 0o060660, 259, 70_000);
    let stamp = SystemTime::UNIX_EPOCH - Duration::new(10, 250_000_000);
    File::open(at("file")).unwrap().set_times(FileTimes::new().set_modified(stamp)).unwrap();

    let (listings, stats) = scan_all(copy.path());

    let root = &listings[0];
    assert_eq!(names(root), ["directory", "disk", "fifo", "file", "link", "null", "other-name", "socket", "sparse"]);
    let file = attrs(root, "file");
    assert_eq!((file.mode, file.uid, file.gid, file.size_bytes), (0o104640, 1234, 5678, 5));
    assert_eq!((file.nlink, file.allocated_bytes), (2, None));
    assert_eq!(file.mtime, Timestamp { seconds: -11, nanos: 750_000_000 });
    assert_eq!(entry(root, b"file").key, entry(root, b"other-name").key);
    assert_ne!(entry(root, b"file").key, entry(root, b"sparse").key);
    assert_eq!((attrs(root, "sparse").size_bytes, attrs(root, "sparse").allocated_bytes), (1 << 20, Some(0)));
    assert_eq!((attrs(root, "link").size_bytes, &attrs(root, "link").target[..]), (14, &b"no/such/target"[..]));
    let kind = |name: &str| attrs(root, name).kind();
    assert_eq!(
        [kind("fifo"), kind("socket"), kind("null"), kind("disk"), kind("directory")],
        [Kind::Fifo, Kind::Socket, Kind::CharDevice, Kind::BlockDevice, Kind::Directory]
    );
    // The numbers that stat(1) shows as device type: major << 8 | minor, the minor's high bits above.
    assert_eq!((attrs(root, "null").rdev, attrs(root, "null").size_bytes), (0x103, 0));
    assert_eq!(attrs(root, "disk").rdev, 0x1111_0370);
    assert_eq!(attrs(root, "fifo").rdev, 0);
    assert!(root.entries.iter().all(|e| !e.unreadable) && root.complete);
    assert_eq!(stats, ScanStats { directories: 2, entries: 9, findings: 0, changed: false });
    let metadata = fs::metadata(copy.path()).unwrap();
    let (key, root_attrs) = root.root.as_ref().unwrap();
    assert_eq!((key.inode, root_attrs.mode), (metadata.ino(), metadata.mode()));
    assert!(listings[1].root.is_none() && listings[1].entries.is_empty() && listings[1].complete);
}

#[test]
fn names_are_bytes_and_come_in_the_order_of_their_bytes() {
    let copy = new_copy();
    let raw: [&[u8]; 7] = [b"\n", b" ", b"A", b"a", b"a\nb", b"caf\xe9", b"\xff\xfe"];
    for name in raw.iter().rev() {
        fs::write(copy.path().join(OsStr::from_bytes(name)), b"").unwrap();
    }
    let (listings, _) = scan_all(copy.path());
    let got: Vec<&[u8]> = listings[0].entries.iter().map(|e| e.name.as_bytes()).collect();
    assert_eq!(got, raw);
}

/// What the order has to be, by the plainest way: a queue of paths and `std::fs`.
fn naive_order(root: &Path) -> Vec<(Vec<u8>, Vec<Vec<u8>>)> {
    let mut queue = VecDeque::from([(root.to_owned(), RelPath::root())]);
    let mut order = Vec::new();
    while let Some((path, rel)) = queue.pop_front() {
        let mut names: Vec<Vec<u8>> =
            fs::read_dir(&path).unwrap().map(|e| e.unwrap().file_name().as_bytes().to_vec()).collect();
        names.sort();
        for name in &names {
            let child = path.join(OsStr::from_bytes(name));
            if child.symlink_metadata().unwrap().is_dir() {
                queue.push_back((child, rel.join(&crate::model::EntryName::new(name).unwrap())));
            }
        }
        order.push((rel.as_bytes().to_vec(), names));
    }
    order
}

#[test]
fn directories_come_breadth_first_numbered_as_they_were_named_whatever_their_shape() {
    let copy = new_copy();
    // Directories of very different size, some larger than the batches of the queue, on five levels.
    let mut seed = 7u64;
    let mut next = |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    let mut level = vec![copy.path().to_owned()];
    for _ in 0..5 {
        let mut below = Vec::new();
        for directory in &level {
            for _ in 0..next(6) + u64::from(level.len() < 4) * 3 {
                let child = directory.join(format!("{:x}", next(1 << 30)));
                fs::create_dir(&child).unwrap();
                below.push(child);
            }
            for _ in 0..next(12) {
                fs::write(directory.join(format!("{:x}", next(1 << 30))), b"").unwrap();
            }
        }
        level = below;
    }
    for number in 0..6000 {
        fs::write(level[0].join(format!("{:x}-{number}", next(1 << 30))), b"").unwrap();
    }

    let (listings, stats) = scan_all(copy.path());

    let expected = naive_order(copy.path());
    assert!(expected.len() > 200, "the tree is large enough to mean something");
    assert_eq!(stats.directories, expected.len() as u64);
    assert_eq!(stats.entries, expected.iter().map(|d| d.1.len() as u64).sum::<u64>());
    for (number, (listing, (path, names))) in listings.iter().zip(&expected).enumerate() {
        assert_eq!(listing.number, number as u64);
        assert_eq!(listing.path.as_bytes(), path);
        let got: Vec<&[u8]> = listing.entries.iter().map(|e| e.name.as_bytes()).collect();
        assert_eq!(&got, names);
    }
}

#[test]
fn extended_attributes_and_acls_come_as_the_kernel_gives_them() {
    let copy = new_copy();
    let at = |name: &str| copy.path().join(name);
    fs::write(at("file"), b"").unwrap();
    fs::write(at("plain"), b"").unwrap();
    fs::create_dir(at("directory")).unwrap();
    fixture::set_xattr(&at("file"), "user.b", b"two\0");
    fixture::set_xattr(&at("file"), "user.a", &[b'x'; 3000]);
    fixture::set_xattr(&at("file"), "user.empty", b"");
    fixture::set_xattr(copy.path(), "user.root", b"r");
    // Version 2, then tag, permissions, id: owner rw-, user 1234 r--, group r--, mask r--, others ---.
    let none = [0xff; 4];
    let mut acl = 2u32.to_le_bytes().to_vec();
    for (tag, perm, id) in
        [(1u16, 6u16, none), (2, 4, 1234u32.to_le_bytes()), (4, 4, none), (16, 4, none), (32, 0, none)]
    {
        acl.extend([tag.to_le_bytes(), perm.to_le_bytes()].concat());
        acl.extend(id);
    }
    fixture::set_xattr(&at("file"), "system.posix_acl_access", &acl);
    fixture::set_xattr(&at("directory"), "system.posix_acl_default", &acl);

    let (listings, _) = scan_all(copy.path());

    let root = &listings[0];
    let file = &attrs(root, "file").xattrs;
    let got: Vec<&[u8]> = file.iter().map(|item| item.0).collect();
    assert_eq!(got, [&b"system.posix_acl_access"[..], b"user.a", b"user.b", b"user.empty"]);
    assert_eq!(file.get(b"user.b"), Some(&b"two\0"[..]));
    assert_eq!(file.get(b"user.a"), Some(&[b'x'; 3000][..]));
    assert_eq!(file.get(b"user.empty"), Some(&b""[..]));
    assert_eq!(file.get(b"system.posix_acl_access"), Some(&acl[..]));
    assert_eq!(attrs(root, "directory").xattrs.get(b"system.posix_acl_default"), Some(&acl[..]));
    assert!(attrs(root, "plain").xattrs.is_empty());
    assert_eq!(root.root.as_ref().unwrap().1.xattrs.get(b"user.root"), Some(&b"r"[..]));
}

#[test]
fn a_path_longer_than_the_kernel_takes_is_walked_to_its_end() {
    let copy = new_copy();
    let name = "d".repeat(200);
    // 45 names of 200 bytes: more than twice PATH_MAX. Made step by step through descriptors.
    let mut at = File::open(copy.path()).unwrap();
    for _ in 0..45 {
        let child = format!("/proc/self/fd/{}/{name}", at.as_raw_fd());
        fs::create_dir(&child).unwrap();
        at = File::open(&child).unwrap();
    }
    fs::write(format!("/proc/self/fd/{}/bottom", at.as_raw_fd()), b"deep").unwrap();

    let (listings, stats) = scan_all(copy.path());

    assert_eq!((stats.directories, stats.findings), (46, 0));
    let last = listings.last().unwrap();
    assert_eq!(last.path.as_bytes().len(), 45 * 201 - 1);
    assert_eq!(attrs(last, "bottom").size_bytes, 4);
}

#[test]
fn a_chain_of_three_thousand_directories_is_walked() {
    let copy = new_copy();
    let mut at = File::open(copy.path()).unwrap();
    for _ in 0..3000 {
        let child = format!("/proc/self/fd/{}/d", at.as_raw_fd());
        fs::create_dir(&child).unwrap();
        at = File::open(&child).unwrap();
    }
    let (_, stats) = scan_all(copy.path());
    assert_eq!(stats, ScanStats { directories: 3001, entries: 3000, findings: 0, changed: false });
}

#[test]
fn mount_points_inside_a_copy_are_listed_and_not_entered() {
    if !fixture::is_root() {
        return;
    }
    let copy = new_copy();
    let at = |name: &str| copy.path().join(name);
    for name in ["a-plain", "bound", "mounted"] {
        fs::create_dir(at(name)).unwrap();
    }
    fs::write(at("a-plain/inside"), b"").unwrap();
    fs::write(at("bound-file"), b"").unwrap();
    fs::write(at("file"), b"12345").unwrap();

    let (listings, stats) = fixture::in_own_mounts(|| {
        // The same file system again, which device numbers cannot tell, and another one.
        fixture::bind(&at("a-plain"), &at("bound"));
        fixture::bind(&at("file"), &at("bound-file"));
        fixture::mount_tmpfs(&at("mounted"));
        fs::write(at("mounted/hidden"), b"").unwrap();
        scan_all(copy.path())
    });

    let root = &listings[0];
    assert_eq!(names(root), ["a-plain", "bound", "bound-file", "file", "mounted"]);
    let directory = "another file system is mounted here; it was not entered";
    let mut found = findings(root);
    found.sort_by(|a, b| a.1.cmp(&b.1));
    assert_eq!(
        found,
        [
            (FindingKind::Boundary, "bound".to_owned(), directory),
            (
                FindingKind::Boundary,
                "bound-file".to_owned(),
                "another file system is mounted here; this file is not of the copy"
            ),
            (FindingKind::Boundary, "mounted".to_owned(), directory),
        ]
    );
    let paths: Vec<String> = listings.iter().map(|l| l.path.to_string()).collect();
    assert_eq!(paths, ["", "a-plain", "bound", "mounted"]);
    assert_eq!(names(&listings[1]), ["inside"]);
    assert!(listings[2..].iter().all(|l| l.entries.is_empty() && l.findings.is_empty()));
    // What lies below a mount point is unknown: only the listings of others are complete.
    assert_eq!(listings.iter().map(|l| l.complete).collect::<Vec<_>>(), [true, true, false, false]);
    assert_eq!((stats.findings, stats.changed), (3, false));
}

#[test]
fn a_directory_that_may_not_be_listed_is_marked_and_the_walk_goes_on() {
    if !fixture::is_root() {
        return;
    }
    let copy = new_copy();
    let at = |name: &str| copy.path().join(name);
    let mode = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    mode(copy.path(), 0o755);
    for name in ["closed", "names-only", "open"] {
        fs::create_dir(at(name)).unwrap();
        fs::write(at(name).join("file"), b"").unwrap();
        mode(&at(name), 0o755);
    }
    mode(&at("closed"), 0o711);
    mode(&at("names-only"), 0o744);

    let (listings, stats) = fixture::as_nobody(|| scan_all(copy.path()));

    assert_eq!(names(&listings[0]), ["closed", "names-only", "open"]);
    assert_eq!(findings(&listings[0]), []);
    let (closed, names_only, open) = (&listings[1], &listings[2], &listings[3]);
    assert!(!closed.complete && closed.entries.is_empty());
    assert_eq!(
        findings(closed),
        [(FindingKind::Unreadable, "closed".to_owned(), "listing: Permission denied (os error 13)")]
    );
    assert!(!names_only.complete && names_only.entries.is_empty());
    assert_eq!(
        findings(names_only),
        [(FindingKind::Unreadable, "names-only/file".to_owned(), "attributes: Permission denied (os error 13)")]
    );
    assert!(open.complete);
    assert_eq!(findings(open), []);
    assert_eq!(names(open), ["file"]);
    assert_eq!(stats, ScanStats { directories: 4, entries: 4, findings: 2, changed: false });
}

fn copy_since(path: &Path, began: Timestamp) -> Copy {
    Copy::new(sys::open_root(path).unwrap(), began).unwrap()
}

const NEVER: Timestamp = Timestamp { seconds: i64::MAX, nanos: 0 };

#[test]
fn a_directory_that_vanished_or_became_a_link_after_it_was_named_is_a_loss() {
    let copy = new_copy();
    fs::create_dir(copy.path().join("elsewhere")).unwrap();
    symlink("elsewhere", copy.path().join("link")).unwrap();
    let held = copy_since(copy.path(), NEVER);
    let mut reader = Reader::new(&held);
    for (path, detail) in [
        ("gone", "it vanished while the copy was walked: No such file or directory (os error 2)"),
        ("link", "it vanished while the copy was walked: Not a directory (os error 20)"),
    ] {
        let read = reader.read(1, rel(path), held.root_mark());
        assert!(!read.listing.complete && read.listing.entries.is_empty() && read.changed);
        assert_eq!(findings(&read.listing), [(FindingKind::Unreadable, path.to_owned(), detail)]);
    }
}

#[test]
fn a_directory_that_is_not_the_one_that_was_named_is_not_listed() {
    let copy = new_copy();
    fs::create_dir(copy.path().join("new")).unwrap();
    fs::write(copy.path().join("new/file"), b"").unwrap();
    let held = copy_since(copy.path(), NEVER);
    let read = Reader::new(&held).read(1, rel("new"), held.root_mark());
    assert!(!read.listing.complete && read.changed);
    assert_eq!(names(&read.listing), Vec::<String>::new());
    let detail = "another directory was put in its place while the copy was walked";
    assert_eq!(findings(&read.listing), [(FindingKind::Unreadable, "new".to_owned(), detail)]);
}

#[test]
fn a_directory_that_was_made_since_is_another_one_though_it_has_the_same_inode_number() {
    let copy = new_copy();
    fs::create_dir(copy.path().join("new")).unwrap();
    fs::write(copy.path().join("new/file"), b"").unwrap();
    let held = copy_since(copy.path(), NEVER);
    let stat = sys::stat_path(&copy.path().join("new")).unwrap();
    let born = Some(Timestamp { seconds: 1, nanos: 0 });
    let read = Reader::new(&held).read(1, rel("new"), Mark::of(&sys::Stat { born, ..stat }));
    assert!(!read.listing.complete && read.changed);
    assert_eq!(names(&read.listing), Vec::<String>::new());
    let read = Reader::new(&held).read(1, rel("new"), Mark::of(&stat));
    assert_eq!(names(&read.listing), ["file"]);
}

/// A user exchanges his files with those of another one, which have an ACL, all the time.
#[test]
fn all_that_is_told_of_a_name_is_of_one_file_though_names_are_exchanged_meanwhile() {
    let copy = new_copy();
    let names: Vec<(PathBuf, PathBuf)> = (0..20)
        .map(|number| {
            let (mine, other) = (copy.path().join(format!("a{number}")), copy.path().join(format!("b{number}")));
            fs::write(&mine, b"").unwrap();
            fs::write(&other, b"12345").unwrap();
            fixture::set_xattr(&other, "user.limit", b"nobody");
            (mine, other)
        })
        .collect();
    let held = copy_since(copy.path(), sys::real_clock());
    let mut reader = Reader::new(&held);
    fixture::while_another_does(
        || names.iter().for_each(|(mine, other)| fixture::exchange(mine, other)),
        || {
            for _ in 0..300 {
                let read = reader.read(0, RelPath::root(), held.root_mark());
                for entry in &read.listing.entries {
                    let limit = entry.attrs.xattrs.get(b"user.limit").is_some();
                    assert_eq!(limit, entry.attrs.size_bytes == 5, "{:?}", entry);
                }
            }
        },
    );
}

#[test]
fn links_have_their_own_targets_though_names_are_exchanged_meanwhile() {
    let copy = new_copy();
    let at = |name: &str| copy.path().join(name);
    let (mine, other) = (at("a"), at("b"));
    symlink("short", &mine).unwrap();
    symlink("a target that is longer", &other).unwrap();
    let inode = |path: &Path| fs::symlink_metadata(path).unwrap().ino();
    let targets = [(inode(&mine), &b"short"[..]), (inode(&other), b"a target that is longer")];
    let held = copy_since(copy.path(), sys::real_clock());
    let mut reader = Reader::new(&held);
    fixture::while_another_does(
        || fixture::exchange(&mine, &other),
        || {
            for _ in 0..2000 {
                for entry in reader.read(0, RelPath::root(), held.root_mark()).listing.entries {
                    let expected = targets.iter().find(|(inode, _)| *inode == entry.key.inode).unwrap().1;
                    assert_eq!(entry.attrs.target, expected);
                }
            }
        },
    );
}

#[test]
fn a_directory_that_changed_while_it_was_read_is_listed_once() {
    let copy = new_copy();
    fs::create_dir(copy.path().join("d")).unwrap();
    for name in ["one", "two"] {
        fs::write(copy.path().join("d").join(name), b"").unwrap();
        fixture::set_xattr(&copy.path().join("d").join(name), "user.colour", b"blue");
    }
    let held = copy_since(copy.path(), NEVER);
    let before = Mark::of(&sys::stat_path(&copy.path().join("d")).unwrap());
    fs::write(copy.path().join("d/three"), b"").unwrap();

    let read = Reader::new(&held).read(1, rel("d"), before);

    assert_eq!(names(&read.listing), ["one", "three", "two"]);
    assert_eq!(attrs(&read.listing, "one").xattrs.get(b"user.colour"), Some(&b"blue"[..]));
    assert!(read.changed && read.listing.complete);
    let detail = "the directory changed while the copy was walked";
    assert_eq!(findings(&read.listing), [(FindingKind::Changed, "d".to_owned(), detail)]);
}

#[test]
fn a_file_written_during_the_walk_is_reported_and_one_from_the_future_is_not() {
    let copy = new_copy();
    let began = Timestamp { seconds: sys::real_clock().seconds - 3600, nanos: 0 };
    let at = |name: &str| copy.path().join(name);
    let touch = |name: &str, seconds: i64| {
        let stamp = SystemTime::UNIX_EPOCH + Duration::from_secs((began.seconds + seconds) as u64);
        File::create(at(name)).unwrap().set_times(FileTimes::new().set_modified(stamp)).unwrap();
    };
    touch("old-but-just-renamed-here", -60);
    // With a second name the change time says nothing.
    for (name, seconds) in [("future", 7200), ("old", -60), ("written", 60)] {
        touch(name, seconds);
        fs::hard_link(at(name), at(&format!("{name}-too"))).unwrap();
    }
    let held = copy_since(copy.path(), began);

    let read = Reader::new(&held).read(0, RelPath::root(), held.root_mark());

    // The directory got all of its names since.
    let files = read.listing.findings.iter().filter(|f| !f.path.is_root());
    let mut found: Vec<String> = files.map(|f| f.path.to_string()).collect();
    found.sort();
    assert_eq!(found, ["old-but-just-renamed-here", "written", "written-too"]);
    assert!(read.listing.findings.iter().all(|f| f.kind == FindingKind::Changed));
    let written = read.listing.findings.iter().find(|f| f.path == rel("written")).unwrap();
    let at = Timestamp { seconds: began.seconds + 60, nanos: 0 };
    assert_eq!(written.detail, format!("it changed at {at}, after the walk began"));
    assert!(read.changed && read.listing.complete);
}

#[test]
fn a_copy_finished_just_before_the_walk_has_not_changed() {
    for _ in 0..20 {
        let copy = new_copy();
        fs::create_dir(copy.path().join("d")).unwrap();
        fs::write(copy.path().join("d/file"), b"x").unwrap();
        let (_, stats) = scan_all(copy.path());
        assert_eq!(stats, ScanStats { directories: 2, entries: 2, findings: 0, changed: false });
    }
}

#[test]
fn a_name_that_moves_to_where_the_walk_has_been_leaves_a_finding_and_a_copy_that_changed() {
    let copy = new_copy();
    let at = |path: &str| copy.path().join(path);
    fs::create_dir_all(at("from/deep")).unwrap();
    fs::create_dir(at("been")).unwrap();
    fs::write(at("from/deep/wanderer"), b"x").unwrap();
    let held = copy_since(copy.path(), super::read::next_stamp());
    let mut reader = Reader::new(&held);
    // As it is when it is named.
    let mut read = |path: &str| reader.read(1, rel(path), Mark::of(&sys::stat_path(&at(path)).unwrap()));

    let been = read("been");
    fs::rename(at("from/deep/wanderer"), at("been/wanderer")).unwrap();
    let from = read("from/deep");

    assert!(names(&been.listing).is_empty() && names(&from.listing).is_empty());
    assert!(!been.changed && been.listing.findings.is_empty());
    assert!(from.changed && from.listing.complete);
    let detail = "the directory changed while the copy was walked";
    assert_eq!(findings(&from.listing), [(FindingKind::Changed, "from/deep".to_owned(), detail)]);
}

#[test]
fn nothing_is_read_in_a_directory_marked_as_boundary() {
    let copy = new_copy();
    fs::create_dir(copy.path().join("d")).unwrap();
    fs::write(copy.path().join("d/file"), b"").unwrap();
    let held = copy_since(copy.path(), NEVER);
    let read = Reader::new(&held).read(1, rel("d"), Mark::BOUNDARY);
    assert!(!read.listing.complete && read.listing.entries.is_empty() && read.listing.findings.is_empty());
}

#[test]
fn a_walk_that_is_broken_off_ends_with_what_was_handed_over() {
    let copy = new_copy();
    for number in 0..300 {
        fs::create_dir(copy.path().join(format!("{number:03}"))).unwrap();
    }
    let mut seen = 0;
    let stats = scan_tree(copy.path(), &mut |_| {
        seen += 1;
        if seen == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert_eq!(seen, 3);
    assert_eq!(stats.unwrap(), ScanStats { directories: 3, entries: 300, findings: 0, changed: false });
}

#[test]
fn a_panic_of_the_caller_ends_the_walk_and_is_passed_on() {
    let copy = new_copy();
    fs::create_dir(copy.path().join("d")).unwrap();
    let path = copy.path().to_owned();
    let panicked = std::thread::spawn(move || {
        let _ = scan_tree(&path, &mut |_| panic!("on purpose"));
    });
    assert!(panicked.join().is_err());
}

fn text(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[test]
fn a_copy_that_is_no_directory_cannot_be_walked() {
    let copy = new_copy();
    let file = copy.path().join("file");
    fs::write(&file, b"").unwrap();
    symlink("/", copy.path().join("link")).unwrap();
    let fail = |path: &Path| text(&scan_tree(path, &mut |_| ControlFlow::Continue(())).unwrap_err());
    assert_eq!(fail(&file), format!("cannot open the copy {file:?}: Not a directory (os error 20)"));
    let link = copy.path().join("link");
    assert_eq!(fail(&link), format!("cannot open the copy {link:?}: Not a directory (os error 20)"));
    let gone = copy.path().join("gone");
    assert_eq!(fail(&gone), format!("cannot open the copy {gone:?}: No such file or directory (os error 2)"));
}

fn source(settings: Settings) -> Nfs {
    Nfs::new(settings, &TimeZone::UTC).unwrap()
}

#[test]
fn bytes_are_those_of_the_copy_that_was_opened_and_of_the_file_that_was_listed() {
    let copies = new_copy();
    let at = |name: &str| copies.path().join(name);
    let stamp = SystemTime::UNIX_EPOCH + Duration::from_secs(1_763_604_000);
    let write = |name: &str, bytes: &[u8]| {
        fs::write(at(name), bytes).unwrap();
        File::options().write(true).open(at(name)).unwrap().set_times(FileTimes::new().set_modified(stamp)).unwrap();
    };
    fs::create_dir(at("2026-11-19")).unwrap();
    fs::create_dir(at("2026-11-20")).unwrap();
    write("2026-11-19/f", b"first");
    write("2026-11-20/f", b"other");
    for name in ["linked", "replaced", "written"] {
        write(&format!("2026-11-19/{name}"), b"first");
    }
    fs::hard_link(at("2026-11-19/linked"), at("2026-11-19/linked-too")).unwrap();
    let nfs = source(Settings::new(copies.path().to_owned()));
    let open = nfs.open(&Found { taken_at: Time(1_763_604_000), path: at("2026-11-19") }).unwrap();
    let mut listed = Vec::new();
    open.scan(&mut |walked| {
        if let Walked::Listing(listing) = walked {
            listed.extend(listing.entries);
        }
        ControlFlow::Continue(())
    })
    .unwrap();
    let digest = |name: &str| {
        let entry = listed.iter().find(|entry| entry.name.as_bytes() == name.as_bytes()).unwrap();
        open.digest(&rel(name), &FileStamp::of(entry))
    };
    let first = *blake3::hash(b"first").as_bytes();

    fixture::exchange(&at("2026-11-19"), &at("2026-11-20"));
    assert_eq!(digest("f").unwrap(), first);
    // A newer copy is linked against it: its ctime moves, and nothing else.
    fs::hard_link(at("2026-11-20/linked"), at("newer")).unwrap();
    assert_eq!(digest("linked").unwrap(), first);
    write("by-and-by", b"other");
    fs::rename(at("by-and-by"), at("2026-11-20/replaced")).unwrap();
    write("2026-11-20/written", b"other");
    for name in ["replaced", "written"] {
        assert!(matches!(digest(name), Err(NoDigest::Changed)), "{name}");
    }
}

#[test]
fn the_date_of_a_directory_that_was_looked_at_is_that_of_its_own_mtime() {
    let settings =
        Settings { instant_from: vec![InstantFrom::Name, InstantFrom::Mtime], ..Settings::new("/copies".into()) };
    let date =
        |name: &str| source(settings.clone()).instant_of_root(Path::new(name), Timestamp { seconds: 77, nanos: 5 });
    assert_eq!(date("/copies/daily.0"), Some(Time(77)));
    assert_eq!(date("/copies/2026-11-20").unwrap().to_string(), "2026-11-20T00:00:00Z");
    assert_eq!(date("/copies/2026-02-30"), None);
}

/// What was found, instant and name of each, and what was left aside, name of each and the reason.
type Looked = (Vec<(String, String)>, Vec<(String, NoCopy)>);

/// Looks for copies in a folder, with names read in the zone of Berlin.
fn look(folder: &Path, instant_from: &[InstantFrom]) -> Looked {
    let settings = Settings { instant_from: instant_from.to_vec(), ..Settings::new(folder.to_owned()) };
    let settings = Settings { zone: Some("Europe/Berlin".to_owned()), ..settings };
    let discovered = source(settings).generations().unwrap();
    let name = |path: &Path| path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
    let found = discovered.found.iter().map(|f| (f.taken_at.to_string(), name(&f.path))).collect();
    let aside = discovered.left_aside.into_iter().map(|l| (name(&l.path), l.why)).collect();
    (found, aside)
}

fn no_date() -> NoCopy {
    NoCopy::NoDate("its name is not a date".to_owned())
}

#[test]
fn copies_are_the_directories_that_tell_an_instant_oldest_first() {
    let copies = new_copy();
    let at = |name: &str| copies.path().join(name);
    let names = ["2026-11-20T0200", "2026-11-19", "20261119", "2026-11-20T0200-0330", "weekly", ".hidden-2026-11-18"];
    for name in names {
        fs::create_dir(at(name)).unwrap();
    }
    fs::write(at("2026-11-22"), b"").unwrap();

    let (found, aside) = look(copies.path(), &[InstantFrom::Name]);

    assert_eq!(
        found,
        [
            ("2026-11-18T23:00:00Z".to_owned(), "2026-11-19".to_owned()),
            ("2026-11-18T23:00:00Z".to_owned(), "20261119".to_owned()),
            ("2026-11-20T01:00:00Z".to_owned(), "2026-11-20T0200".to_owned()),
            ("2026-11-20T05:30:00Z".to_owned(), "2026-11-20T0200-0330".to_owned()),
        ]
    );
    assert_eq!(aside, [("weekly".to_owned(), no_date())]);
}

#[test]
fn a_name_with_the_form_of_a_date_that_tells_none_is_left_aside_whatever_its_time_of_last_change() {
    let copies = new_copy();
    // No such day, a time that the clocks skipped, another form of a day that is not there, a year that no date can name.
    let names = ["2026-02-30", "2026-03-29T0230", "20261399", "1969-12-31"];
    for name in names.iter().chain(&["0f3a", "10023423"]) {
        let copy = copies.path().join(name);
        fs::create_dir(&copy).unwrap();
        let stamp = SystemTime::UNIX_EPOCH + Duration::from_secs(1_763_604_000);
        File::open(&copy).unwrap().set_times(FileTimes::new().set_modified(stamp)).unwrap();
    }

    let (found, aside) = look(copies.path(), &[InstantFrom::Name, InstantFrom::Mtime]);

    let found: Vec<&str> = found.iter().map(|(_, name)| name.as_str()).collect();
    assert_eq!(found, ["0f3a", "10023423"], "these have no form of a date: their time of last change tells it");
    let refused = |name: &str, why: &str| (name.to_owned(), NoCopy::BadDate(format!("{name:?} {why}")));
    assert_eq!(
        aside,
        [
            refused("1969-12-31", "lies outside the years 1970 to 9998"),
            refused("2026-02-30", "is not a date: day 30, and 2026-02 has 28 days"),
            refused(
                "2026-03-29T0230",
                "is not a date: the clock skipped it, going from +01:00 to +02:00; write it with its offset"
            ),
            refused("20261399", "is not a date: month 13; write YYYY-MM-DD or YYYY-MM-DDTHH:MM"),
        ]
    );
}

#[test]
fn a_link_that_may_stand_for_a_copy_is_left_aside_and_one_that_names_another_copy_is_an_alias() {
    let copies = new_copy();
    let at = |name: &str| copies.path().join(name);
    fs::create_dir(at("2026-11-19")).unwrap();
    // To an absolute path beside it, as some tools write it.
    symlink(at("2026-11-19"), at("current")).unwrap();
    for (name, target) in [
        ("latest", "2026-11-19"),
        ("newest", "./2026-11-19/"),
        (".hidden", "/other/2026-11-18"),
        // Moved to another disk and linked back; a day without changes; rotated names.
        ("2026-11-20", "/other/2026-11-20"),
        ("2026-11-21", "2026-11-19"),
        ("2026-02-30", "2026-11-19"),
        ("daily.3", "../other/daily.3"),
        ("below", "2026-11-19/docs"),
    ] {
        symlink(target, at(name)).unwrap();
    }

    let (found, aside) = look(copies.path(), &[InstantFrom::Name, InstantFrom::Mtime]);

    assert_eq!(found.len(), 1);
    let link = |name: &str, target: &str| (name.to_owned(), NoCopy::Link { target: target.into() });
    let alias = |name: &str, target: &str| (name.to_owned(), NoCopy::Alias { target: target.into() });
    assert_eq!(
        aside,
        [
            link("2026-02-30", "2026-11-19"),
            link("2026-11-20", "/other/2026-11-20"),
            link("2026-11-21", "2026-11-19"),
            link("below", "2026-11-19/docs"),
            alias("current", at("2026-11-19").to_str().unwrap()),
            link("daily.3", "../other/daily.3"),
            alias("latest", "2026-11-19"),
            alias("newest", "./2026-11-19/"),
        ]
    );
    assert_eq!(
        aside[1].1.to_string(),
        "it is a symbolic link to \"/other/2026-11-20\"; links are not followed: put the directory itself there (mv, mount --bind)"
    );
}

#[test]
fn what_machines_keep_at_the_top_of_a_disk_is_no_copy_whatever_its_time_of_last_change() {
    if !fixture::is_root() {
        return;
    }
    let copies = new_copy();
    for name in ["lost+found", "System Volume Information", "$RECYCLE.BIN", "@eaDir", "#recycle", "lost+found.old"] {
        fs::create_dir(copies.path().join(name)).unwrap();
    }

    let (_, aside) = look(copies.path(), &[InstantFrom::Name]);

    let housekeeping = |name: &str| (name.to_owned(), NoCopy::Housekeeping);
    assert_eq!(
        aside,
        [
            housekeeping("#recycle"),
            housekeeping("$RECYCLE.BIN"),
            housekeeping("@eaDir"),
            housekeeping("System Volume Information"),
            housekeeping("lost+found"),
            ("lost+found.old".to_owned(), no_date()),
        ]
    );
    let (found, _) = look(copies.path(), &[InstantFrom::Mtime]);
    assert_eq!(found.len(), 1, "only lost+found.old: {found:?}");
    // What a user calls so is his.
    std::os::unix::fs::chown(copies.path().join("lost+found"), Some(1000), None).unwrap();
    let (_, aside) = look(copies.path(), &[InstantFrom::Name]);
    assert!(aside.contains(&("lost+found".to_owned(), no_date())));
}

#[test]
fn the_time_of_last_change_tells_the_instant_only_where_the_settings_say_so() {
    let copies = new_copy();
    let copy = copies.path().join("0f3a");
    fs::create_dir(&copy).unwrap();
    let stamp = SystemTime::UNIX_EPOCH + Duration::new(1_763_604_000, 900_000_000);
    File::open(&copy).unwrap().set_times(FileTimes::new().set_modified(stamp)).unwrap();
    let mut settings = Settings::new(copies.path().to_owned());
    assert_eq!(
        text(&source(settings.clone()).instant_of(&copy).unwrap_err()),
        format!("{copy:?} has no date: its name is not a date")
    );
    settings.instant_from = vec![InstantFrom::Name, InstantFrom::Mtime];
    let both = source(settings);
    assert_eq!(both.instant_of(&copy).unwrap(), Time(1_763_604_000));
    assert_eq!(both.instant_of(&copies.path().join("2026-11-20")).unwrap().to_string(), "2026-11-20T00:00:00Z");
    let gone = copies.path().join("gone");
    assert_eq!(
        text(&both.instant_of(&gone).unwrap_err()),
        format!("{gone:?} has no date: it cannot be read: No such file or directory (os error 2)")
    );
    let early = SystemTime::UNIX_EPOCH - Duration::from_secs(1);
    File::open(&copy).unwrap().set_times(FileTimes::new().set_modified(early)).unwrap();
    assert_eq!(
        text(&both.instant_of(&copy).unwrap_err()),
        format!(
            "{copy:?} has no date: its name is not a date; \
             its time of last change: 1969-12-31T23:59:59Z lies outside the years 1970 to 9998"
        )
    );
}

#[test]
fn settings_survive_the_catalog_and_unknown_ones_are_refused() {
    let mut settings = Settings::new(PathBuf::from("/srv/copies"));
    assert_eq!(Settings::from_json(r#"{"copies":"/srv/copies"}"#).unwrap(), settings);
    settings.zone = Some("Europe/Berlin".to_owned());
    settings.identity = IdentityRule::Inode;
    settings.instant_from = vec![InstantFrom::Mtime];
    let json = settings.to_json().unwrap();
    assert_eq!(
        json,
        r#"{"copies":"/srv/copies","instant_from":["mtime"],"name_patterns":[],"zone":"Europe/Berlin","identity":"inode","checksum":false}"#
    );
    assert_eq!(Settings::from_json(&json).unwrap(), settings);
    let error = Settings::from_json(r#"{"copies":"/srv","colour":"blue"}"#).unwrap_err();
    assert!(text(&error).starts_with("cannot read the settings of the source: unknown field `colour`"));
}

#[test]
fn settings_that_cannot_work_are_refused_with_the_reason() {
    let copies = new_copy();
    let file = copies.path().join("file");
    fs::write(&file, b"").unwrap();
    let good = Settings::new(copies.path().to_owned());
    good.check().unwrap();
    let refused = |settings: Settings| text(&settings.check().unwrap_err());
    assert_eq!(
        refused(Settings::new(PathBuf::from("copies"))),
        "the folder of copies \"copies\" is not an absolute path"
    );
    assert_eq!(refused(Settings::new(file.clone())), format!("the folder of copies {file:?} is not a directory"));
    let gone = copies.path().join("gone");
    assert_eq!(
        refused(Settings::new(gone.clone())),
        format!("cannot list the copies in {gone:?}: No such file or directory (os error 2)")
    );
    assert_eq!(
        refused(Settings { zone: Some("Mars/Olympus".to_owned()), ..good.clone() }),
        "no time zone is named \"Mars/Olympus\""
    );
    let pattern = refused(Settings { name_patterns: vec!["%H%M".to_owned()], ..good });
    assert!(pattern.starts_with("name pattern \"%H%M\" cannot give a date: "), "{pattern}");
    let opened = crate::source::open(SourceKind::Nfs, r#"{"copies":"/gone"}"#, &TimeZone::UTC).unwrap();
    assert_eq!(
        text(&opened.generations().unwrap_err()),
        "cannot list the copies in \"/gone\": No such file or directory (os error 2)"
    );
}
