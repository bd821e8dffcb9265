//! Files of copies opened and read, and every way in which one can be the wrong one.
//! Each error is provoked and its whole text compared.

use super::*;
use crate::model::{RelPath, SeenRoot, Timestamp};
use crate::store::Owner;
use std::error::Error as _;
use std::fs;
use std::io::ErrorKind;
use std::time::{Duration, SystemTime};

struct World {
    dir: tempfile::TempDir,
    store: Store,
}

impl World {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), store: Store::new(2) }
    }

    /// Writes a file with mtime 2026-11-20T02:00:00.000000005Z and returns where it is and what it is.
    fn file(&self, path: &str, bytes: &[u8]) -> (Place, Identity) {
        let place = self.place(path);
        fs::create_dir_all(place.full_path().parent().unwrap()).unwrap();
        fs::write(place.full_path(), bytes).unwrap();
        let mtime = SystemTime::UNIX_EPOCH + Duration::new(1_795_140_000, 5);
        File::options().write(true).open(place.full_path()).unwrap().set_modified(mtime).unwrap();
        let mtime = Timestamp { seconds: 1_795_140_000, nanos: 5 };
        (place, Identity { size_bytes: bytes.len() as u64, mtime, owner: None })
    }

    fn place(&self, path: &str) -> Place {
        let path = RelPath::parse(path.as_bytes()).unwrap();
        let (folder, root) = (self.dir.path().to_owned(), self.dir.path().join("copy"));
        Place { store: StoreId(1), folder, root, seen: None, path }
    }

    fn root(&self) -> String {
        self.dir.path().join("copy").to_str().unwrap().to_owned()
    }
}

#[test]
fn bytes_come_back_and_reads_end_at_the_recorded_size() {
    let world = World::new();
    let (place, identity) = world.file("a/b", b"0123456789");
    let file = world.store.open((1, 1), &place, &identity).unwrap();
    let mut buffer = [0; 8];
    assert_eq!(file.read_at(&mut buffer, 0).unwrap(), 8);
    assert_eq!(&buffer, b"01234567");
    assert_eq!(file.read_at(&mut buffer, 8).unwrap(), 2);
    assert_eq!(&buffer[..2], b"89");
    assert_eq!(file.read_at(&mut buffer, 10).unwrap(), 0);
    assert_eq!((file.seek_data(3).unwrap(), file.seek_hole(3).unwrap()), (Some(3), Some(10)));
    assert_eq!((file.seek_data(10).unwrap(), file.seek_hole(11).unwrap()), (None, None));
}

#[test]
fn a_file_that_is_changed_while_it_is_open_is_not_read_on() {
    let world = World::new();
    let (place, identity) = world.file("a", b"0123456789");
    let file = world.store.open((1, 1), &place, &identity).unwrap();
    let mut buffer = [0; 10];
    assert_eq!(file.read_cached(&mut buffer, 0), Some(10));
    fs::write(place.full_path(), b"0000000000").unwrap();
    assert!(matches!(file.read_at(&mut buffer, 0), Err(Error::Changed { .. })));
    assert_eq!(file.read_cached(&mut buffer, 0), None);
}

#[test]
fn a_copy_whose_directory_became_a_link_is_not_entered() {
    let world = World::new();
    let (place, identity) = world.file("a", b"stolen");
    let link = world.dir.path().join("link");
    std::os::unix::fs::symlink(&place.root, &link).unwrap();
    let place = Place { root: link, ..place };
    assert!(matches!(world.store.open((1, 1), &place, &identity), Err(Error::LinkedCopy { .. })));
}

#[test]
fn the_least_recently_used_file_gives_way() {
    let world = World::new();
    for key in 1..=3 {
        let (place, identity) = world.file(&format!("f{key}"), b"x");
        world.store.open((key, 0), &place, &identity).unwrap();
    }
    assert!(world.store.cached((1, 0)).is_none());
    assert!(world.store.cached((2, 0)).is_some());
    assert!(world.store.cached((3, 0)).is_some());
}

#[test]
fn what_nobody_uses_is_closed() {
    let world = World::new();
    let (place, identity) = world.file("f", b"x");
    world.store.open((1, 0), &place, &identity).unwrap();
    world.store.rest(2);
    world.store.rest(2);
    assert!(world.store.cached((1, 0)).is_some());
    world.store.rest(2);
    world.store.rest(2);
    assert!(world.store.cached((1, 0)).is_some());
    for _ in 0..3 {
        world.store.rest(2);
    }
    assert!(world.store.cached((1, 0)).is_none());
    assert!(world.store.kept_root(&place).is_none());
}

#[test]
fn a_copy_that_was_replaced_under_the_same_name_is_found_again() {
    let world = World::new();
    let (place, identity) = world.file("f", b"old");
    world.store.open((1, 0), &place, &identity).unwrap();
    fs::rename(world.root(), world.dir.path().join("moved")).unwrap();
    let (place, identity) = world.file("g", b"new");
    let file = world.store.open((2, 0), &place, &identity).unwrap();
    let mut buffer = [0; 3];
    file.read_at(&mut buffer, 0).unwrap();
    assert_eq!(&buffer, b"new");
}

/// Returns what the catalog would have of the root of a copy.
fn seen(place: &Place) -> SeenRoot {
    let stat = walk::stat_path(&place.root).unwrap();
    let ns = |time: Timestamp| time.ns_since(Timestamp::default());
    SeenRoot { inode: stat.inode, born_ns: stat.born.map_or(0, ns), ctime_ns: ns(stat.ctime), filesystem: None }
}

#[test]
fn a_copy_that_is_another_directory_is_refused_though_its_files_look_the_same() {
    let world = World::new();
    let (place, identity) = world.file("f", b"old");
    let was = seen(&place);
    let place = Place { seen: Some(was), ..place };
    world.store.open((1, 0), &place, &identity).unwrap();
    // Beside the others it would be found.
    let away = tempfile::tempdir().unwrap();
    fs::rename(world.root(), away.path().join("moved")).unwrap();
    let (there, _) = world.file("f", b"new");
    let is = seen(&there);
    // Once with the directory of before, which is kept, and once with the one that is there.
    for key in [2, 3] {
        let error = world.store.open((key, 0), &place, &identity).unwrap_err();
        let words = |root: SeenRoot| match root.born_ns {
            0 => format!("inode {}", root.inode),
            ns => format!("inode {} of {}", root.inode, Timestamp::default().plus_ns(ns)),
        };
        let expected = format!(
            "copy \"{}\" is another directory than the one that was indexed: found {}, expected {}",
            world.root(),
            words(is),
            words(was)
        );
        assert_eq!(error.to_string(), expected);
        assert!(error.is_moved_copy());
    }
    fs::rename(world.root(), world.dir.path().join("other")).unwrap();
    fs::rename(away.path().join("moved"), world.root()).unwrap();
    let mut buffer = [0; 3];
    world.store.open((4, 0), &place, &identity).unwrap().read_at(&mut buffer, 0).unwrap();
    assert_eq!(&buffer, b"old");
}

#[test]
fn a_copy_that_became_a_link_or_lies_below_one_is_not_followed() {
    let world = World::new();
    let (place, identity) = world.file("sub/f", b"x");
    let below = Place { root: place.root.join("sub"), path: RelPath::parse(b"f").unwrap(), ..place };
    world.store.open((1, 0), &below, &identity).unwrap();
    let moved = world.dir.path().join("moved");
    fs::rename(world.root(), &moved).unwrap();
    std::os::unix::fs::symlink(&moved, world.root()).unwrap();
    let cold = Store::new(2);
    let error = cold.open((2, 0), &below, &identity).unwrap_err();
    let expected = format!("copy \"{}/sub\" is a symbolic link or below one, and is not followed", world.root());
    assert_eq!(error.to_string(), expected);
    assert!(error.is_moved_copy());
    // Where the store is somebody may have made a link.
    let elsewhere = Place { folder: below.folder.join("copy"), ..below };
    cold.open((3, 0), &elsewhere, &identity).unwrap();
}

#[test]
fn a_file_of_another_mode_is_refused_and_both_are_named() {
    let world = World::new();
    let (place, identity) = world.file("f", b"four");
    let stat = walk::stat_path(&place.full_path()).unwrap();
    let owner = Owner { mode: stat.mode, uid: stat.uid, gid: stat.gid };
    world.store.open((1, 0), &place, &Identity { owner: Some(owner), ..identity }).unwrap();
    let owner = Owner { mode: stat.mode ^ 0o4000, ..owner };
    let error = world.store.open((2, 0), &place, &Identity { owner: Some(owner), ..identity }).unwrap_err();
    let (mode, uid, gid) = (stat.mode & 0o7777, stat.uid, stat.gid);
    let expected = format!(
        "\"{}/f\" changed after it was indexed: found 4 bytes of 2026-11-20T02:00:00.000000005Z, mode {mode:04o} of {uid}:{gid}, \
         expected 4 bytes of 2026-11-20T02:00:00.000000005Z, mode {:04o} of {uid}:{gid}",
        world.root(),
        mode ^ 0o4000
    );
    assert_eq!(error.to_string(), expected);
}

#[test]
fn a_missing_copy_is_named() {
    let world = World::new();
    let identity = Identity { size_bytes: 1, mtime: Timestamp::default(), owner: None };
    let error = world.store.open((1, 0), &world.place("a"), &identity).unwrap_err();
    assert_eq!(error.to_string(), format!("cannot open copy \"{}\"", world.root()));
    assert_eq!(error.source().unwrap().to_string(), "No such file or directory (os error 2)");
}

#[test]
fn a_missing_file_is_named() {
    let world = World::new();
    world.file("other", b"x");
    let identity = Identity { size_bytes: 1, mtime: Timestamp::default(), owner: None };
    let error = world.store.open((1, 0), &world.place("a/b\n"), &identity).unwrap_err();
    assert_eq!(error.to_string(), format!("file \"{}/a/b\\n\" is missing", world.root()));
}

#[test]
fn what_is_not_a_regular_file_is_refused() {
    let world = World::new();
    let (_, identity) = world.file("dir/x", b"x");
    let error = world.store.open((1, 0), &world.place("dir"), &identity).unwrap_err();
    assert_eq!(error.to_string(), format!("\"{}/dir\" is a directory, a regular file was indexed", world.root()));
    std::os::unix::fs::symlink("dir/x", world.place("link").full_path()).unwrap();
    let error = world.store.open((1, 0), &world.place("link"), &identity).unwrap_err();
    let expected = format!("\"{}/link\" is a symbolic link or below one, a regular file was indexed", world.root());
    assert_eq!(error.to_string(), expected);
}

#[test]
fn a_path_through_a_file_is_unreadable() {
    let world = World::new();
    let (_, identity) = world.file("f", b"x");
    let error = world.store.open((1, 0), &world.place("f/x"), &identity).unwrap_err();
    assert_eq!(error.to_string(), format!("cannot read \"{}/f/x\"", world.root()));
    let Error::Unreadable { source, .. } = error else { panic!("{error:?}") };
    assert_eq!(source.kind(), ErrorKind::NotADirectory);
}

#[test]
fn a_file_changed_after_indexing_is_refused() {
    let world = World::new();
    let (place, mut identity) = world.file("f", b"four");
    identity.mtime.nanos = 6;
    let error = world.store.open((1, 0), &place, &identity).unwrap_err();
    let expected = format!(
        "\"{}/f\" changed after it was indexed: found 4 bytes of 2026-11-20T02:00:00.000000005Z, \
         expected 4 bytes of 2026-11-20T02:00:00.000000006Z",
        world.root()
    );
    assert_eq!(error.to_string(), expected);
}

#[test]
fn a_file_cut_while_open_gives_no_bytes_in_place_of_the_lost_ones() {
    let world = World::new();
    let (place, identity) = world.file("f", b"0123456789");
    let file = world.store.open((1, 0), &place, &identity).unwrap();
    File::options().write(true).open(place.full_path()).unwrap().set_len(7).unwrap();
    let error = file.read_at(&mut [0; 8], 5).unwrap_err();
    assert_eq!(error.to_string(), format!("\"{}/f\" ends at byte 7, expected 10 bytes", world.root()));
    assert_eq!(file.read_cached(&mut [0; 8], 5), None);
}
