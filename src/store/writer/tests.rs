//! Copies that are written, taken over, and refused.
//! What is compared is what lies on the disk afterwards.

use super::*;
use crate::model::{Timestamp, XattrSet};
use std::os::unix::fs::MetadataExt;

fn attrs(size_bytes: u64) -> Attrs {
    Attrs {
        mode: 0o104_751,
        uid: 7,
        gid: 8,
        size_bytes,
        allocated_bytes: None,
        mtime: Timestamp { seconds: 1_600_000_000, nanos: 123_456_789 },
        ctime: Timestamp { seconds: 1_600_000_001, nanos: 5 },
        nlink: 1,
        rdev: 0,
        xattrs: XattrSet::new(vec![(b"user.x".to_vec(), b"y".to_vec())]),
        target: Vec::new(),
    }
}

fn key(number: u64) -> FileKey {
    FileKey { device: 0, inode: number, born_ns: -1 }
}

fn path(text: &str) -> RelPath {
    RelPath::parse(text.as_bytes()).unwrap()
}

fn file_of(folder: &Path, bytes: &[u8]) -> File {
    let path = folder.join("from");
    std::fs::write(&path, bytes).unwrap();
    File::open(path).unwrap()
}

fn room() -> tempfile::TempDir {
    // Extended attributes of users are not kept everywhere in memory.
    tempfile::tempdir_in("/var/tmp").unwrap()
}

#[test]
fn a_copy_has_its_name_when_it_is_whole_and_its_files_have_what_the_source_said() {
    let room = room();
    let from = file_of(room.path(), b"bytes");
    let store = room.path().join("store");
    let mut copy = CopyWriter::begin(&store, "one", "boot").unwrap();
    let linked = Attrs { nlink: 2, ..attrs(5) };
    assert!(matches!(copy.file(&path("a/b/file"), key(1), &linked, &from).unwrap(), Written::Whole));
    copy.link(&path("a/other"), key(1)).unwrap();
    copy.other(&path("a/sl"), &Attrs { mode: 0o120_777, target: b"b/file".to_vec(), ..attrs(6) }).unwrap();
    copy.other(&path("pipe"), &Attrs { mode: 0o010_640, ..attrs(0) }).unwrap();
    assert!(!store.join("one").exists());
    let counts = copy.finish().unwrap();
    assert_eq!((counts.files, counts.size_bytes, counts.attributes_lost), (1, 5, 0));
    let found = std::fs::metadata(store.join("one/a/b/file")).unwrap();
    assert_eq!((found.mode(), found.uid(), found.gid(), found.nlink()), (0o104_751, 7, 8, 2));
    assert_eq!((found.mtime(), found.mtime_nsec()), (1_600_000_000, 123_456_789));
    assert_eq!(found.ino(), std::fs::metadata(store.join("one/a/other")).unwrap().ino());
    assert_eq!(std::fs::read(store.join("one/a/sl")).unwrap(), b"bytes");
    assert_eq!(std::fs::symlink_metadata(store.join("one/pipe")).unwrap().mode(), 0o010_640);
    let names: Vec<_> = std::fs::read_dir(&store).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["one"]);
}

#[test]
fn a_file_that_ends_early_is_not_kept() {
    let room = room();
    let from = file_of(room.path(), b"bytes");
    let mut copy = CopyWriter::begin(&room.path().join("store"), "one", "boot").unwrap();
    assert!(matches!(copy.file(&path("file"), key(1), &attrs(9), &from).unwrap(), Written::Short(5)));
    assert!(!copy.draft().join("file").exists());
    // And is taken when it has come to rest.
    assert!(matches!(copy.file(&path("file"), key(1), &attrs(5), &from).unwrap(), Written::Whole));
}

/// Writes files 1 and 2 and is killed.
fn killed_run(store: &Path, from: &File) {
    let mut copy = CopyWriter::begin(store, "one", "boot").unwrap();
    for number in [1, 2] {
        copy.file(&path(&format!("d/{number}")), key(number), &attrs(5), from).unwrap();
    }
    copy.flush().unwrap();
    std::mem::forget(copy);
}

#[test]
fn what_a_killed_run_had_copied_is_taken_over_by_key_size_and_times() {
    let room = room();
    let from = file_of(room.path(), b"bytes");
    let store = room.path().join("store");
    killed_run(&store, &from);
    let mut copy = CopyWriter::begin(&store, "two", "boot").unwrap();
    assert!(copy.take_over(&path("moved/1"), key(1), &attrs(5)).unwrap());
    let touched = Attrs { ctime: Timestamp { seconds: 1_600_000_002, nanos: 0 }, ..attrs(5) };
    assert!(!copy.take_over(&path("d/2"), key(2), &touched).unwrap());
    assert!(!copy.take_over(&path("d/3"), key(3), &attrs(5)).unwrap());
    let counts = copy.finish().unwrap();
    assert_eq!((counts.files, counts.taken_over), (1, 1));
    assert_eq!(std::fs::read(store.join("two/moved/1")).unwrap(), b"bytes");
    assert!(!store.join("two/d").exists());
    let names: Vec<_> = std::fs::read_dir(&store).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["two"], "what was not taken over is gone");
}

#[test]
fn after_another_start_of_the_machine_nothing_is_taken_over() {
    let room = room();
    let from = file_of(room.path(), b"bytes");
    let store = room.path().join("store");
    killed_run(&store, &from);
    let mut copy = CopyWriter::begin(&store, "two", "next boot").unwrap();
    assert!(!copy.take_over(&path("d/1"), key(1), &attrs(5)).unwrap());
}

#[test]
fn a_line_of_the_journal_that_was_cut_off_is_no_file() {
    let room = room();
    let from = file_of(room.path(), b"bytes");
    let store = room.path().join("store");
    killed_run(&store, &from);
    let journal = store.join(JOURNAL);
    let text = std::fs::read_to_string(&journal).unwrap();
    std::fs::write(&journal, &text[..text.len() - 2]).unwrap();
    let mut copy = CopyWriter::begin(&store, "two", "boot").unwrap();
    assert!(copy.take_over(&path("d/1"), key(1), &attrs(5)).unwrap());
    assert!(!copy.take_over(&path("d/2"), key(2), &attrs(5)).unwrap());
}

#[test]
fn a_copy_is_never_written_over_another_one() {
    let room = room();
    let store = room.path().join("store");
    std::fs::create_dir_all(store.join("one")).unwrap();
    let error = CopyWriter::begin(&store, "one", "boot").unwrap_err();
    let text = crate::model::chain(&error);
    assert_eq!(text, format!("cannot write \"{}/one\": entity already exists", store.display()));
}
