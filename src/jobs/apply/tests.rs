//! What does not go with what is there is refused,
//! and it is said what does not.

use super::*;
use crate::catalog::{NewGeneration, NewSource, SourceRow, Writer};
use crate::model::manifest::Permissions;
use crate::model::{Counts, FindingKind, Level, Rule, SourceKind, Timestamp};

/// Generation `n` is of `FIRST + n`.
const FIRST: i64 = 1_794_967_200;
/// What the first source of a catalog has.
const ROOT: NodeId = NodeId(1 << 16);
const FILE: NodeId = NodeId(ROOT.0 + 1);
const NEW: NodeId = NodeId(ROOT.0 + 2);
/// That of a source that is not there.
const FOREIGN: NodeId = NodeId(5 << 16);

/// A catalog with a source, whose generations 0 and 4 have the file `a`.
struct World {
    _folder: tempfile::TempDir,
    writer: Writer,
    source: SourceRow,
    restored: RestoredSource,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("catalog.db");
        Writer::create(&path).unwrap();
        let mut writer = Writer::open(&path).unwrap();
        let (settings, rule, added_at) = ("{}", Rule::COPIES, Time(FIRST));
        writer.add_source(&NewSource { name: "homes", kind: SourceKind::Nfs, settings, rule, added_at }).unwrap();
        let source = catalog::Reader::open(&path).unwrap().source("homes").unwrap();
        let restored = writer.resume_source(&source, &[RestoredSource::block_of(ROOT)]).unwrap().unwrap();
        let mut world = Self { _folder: folder, writer, source, restored };
        let link = Edit::Link { dir: ROOT, name: b"a", node: FILE, kind: Kind::File };
        let first = [Edit::Put(put(ROOT, 0o040_755, BytesAt::Nowhere)), link, a_file(BytesAt::OwnPath)];
        for (n, edits) in [(0, first.as_slice()), (4, &[])] {
            world.apply(n, |applying| edits.iter().for_each(|edit| fine(applying.edit(edit))), true);
        }
        world
    }

    /// Applies edits to generation `n`.
    fn apply<T>(&mut self, n: i64, apply: impl FnOnce(&mut Applying<'_, '_>) -> T, publishes: bool) -> T {
        let store = self.writer.store_at(Path::new("/copies")).unwrap();
        let (at, copy) = (Time(FIRST + n), (store, b"x".as_slice()));
        let new = NewGeneration { source: &self.source, at, level: Level::Full, copy, now: at, again: false };
        let generation = self.writer.begin(&new).unwrap();
        let mut applying = Applying::new(generation, &self.restored, &|_| None);
        let done = apply(&mut applying);
        let generation = applying.into_generation();
        if publishes {
            generation.publish(None, 0).unwrap();
        } else {
            generation.abandon().unwrap();
        }
        done
    }
}

fn put(node: NodeId, mode: u32, at: BytesAt<'_>) -> Put<'_> {
    let stamp = Timestamp { seconds: 1, nanos: 1 };
    let permissions = Permissions { mode, uid: 0, gid: 0, xattrs: None };
    let (size_bytes, allocated_bytes, nlink, bytes, written) = (1, None, 1, 1, Written::Unknown);
    Put { node, permissions, size_bytes, allocated_bytes, mtime: stamp, ctime: stamp, nlink, bytes, written, at }
}

/// The file with its bytes there.
fn a_file(at: BytesAt<'_>) -> Edit<'_> {
    Edit::Put(put(FILE, 0o100_644, at))
}

fn fine(done: Result<(), Trouble>) {
    done.unwrap_or_else(|trouble| match trouble {
        Trouble::Contradicts(what) => panic!("{what}"),
        Trouble::Catalog(e) => panic!("{e}"),
    });
}

fn why(done: Result<(), Trouble>) -> String {
    match done {
        Err(Trouble::Contradicts(what)) => what,
        Err(Trouble::Catalog(e)) => panic!("{e}"),
        Ok(()) => panic!("it was applied"),
    }
}

#[test]
fn an_edit_that_does_not_go_with_what_is_there_is_refused() {
    let of_nobody = |path| BytesAt::CopyOf { held: Held::Sequence(99), path };
    let of_the_first = |path| BytesAt::CopyOf { held: Held::At(Time(FIRST)), path };
    let link = |dir, name, node| Edit::Link { dir, name, node, kind: Kind::File };
    let cases: [(Edit<'_>, &str); 13] = [
        (link(ROOT, b"a", NEW), r#"it gives the name "a" in directory 65536, which is taken"#),
        (link(ROOT, b"a/b", NEW), r#""a/b" is no name"#),
        (link(FOREIGN, b"b", NEW), "node 327680 is none of its source"),
        (link(ROOT, b"b", FOREIGN), "node 327680 is none of its source"),
        (Edit::Unlink { dir: ROOT, name: b"b" }, r#"it takes away the name "b" in directory 65536, which is free"#),
        (Edit::Put(put(FOREIGN, 0o100_644, BytesAt::OwnPath)), "node 327680 is none of its source"),
        (
            Edit::Doubt { node: ROOT, subtree: true, reason: "" },
            "it has doubts of all below directory 65536, which this asof has not",
        ),
        (Edit::Report { kind: FindingKind::Skew, path: b"a/../b", detail: "" }, r#""a/../b" is no path"#),
        (Edit::Extents(b"x"), "it has extents of no layer"),
        (a_file(of_nobody(b"")), "it has bytes in the copy of another generation (Sequence(99)), which is not there"),
        (a_file(of_the_first(b"a/../b")), "a path is none"),
        (Edit::Amend(put(FOREIGN, 0o100_644, BytesAt::OwnPath)), "node 327680 is none of its source"),
        (Edit::Define { dir: ROOT, name: b"", kind: Kind::File, node: FILE }, r#""" is no name"#),
    ];
    for (edit, expected) in cases {
        for n in [2, 6] {
            let what = World::new().apply(n, |applying| why(applying.edit(&edit)), false);
            assert_eq!(what, expected, "{edit:?}, generation {n}");
        }
    }
    let runs = World::new().apply(6, |applying| why(applying.edit(&a_file(BytesAt::Map(b"\xff")))), false);
    assert!(runs.starts_with("the runs of node 65537: "), "{runs}");
}

#[test]
fn bytes_in_its_own_copy_are_told_by_the_newest_generation_only() {
    let tell = |n| World::new().apply(n, |applying| applying.edit(&a_file(BytesAt::ThisCopy)), false);
    fine(tell(6));
    assert_eq!(why(tell(2)), "its bytes are in its own copy, and it is put in between others");
}

#[test]
fn of_a_manifest_that_it_counts_from_bytes_may_be_missing_if_no_name_leads_to_them() {
    for at in [BytesAt::ThisCopy, BytesAt::CopyOf { held: Held::Sequence(99), path: b"" }] {
        let told = |applying: &mut Applying<'_, '_>| {
            applying.now = (7, false);
            fine(applying.edit(&a_file(at)));
            let before = why(applying.check_held());
            fine(applying.edit(&Edit::Unlink { dir: ROOT, name: b"a" }));
            fine(applying.check_held());
            before
        };
        let before = World::new().apply(6, told, false);
        assert_eq!(before, "the copy that holds the bytes of node 65537 is not in the catalog");
    }
}

#[test]
fn where_something_is_in_doubt_a_name_may_be_taken_away_twice_and_entries_are_not_those_that_were_seen() {
    let told = |applying: &mut Applying<'_, '_>| {
        let end = End::new(Counts { entries: 5, ..Counts::default() }, None);
        assert_eq!(applying.walked(&end), Some(5));
        assert_eq!(applying.walked(&End { counts: None, ..end }), None);
        fine(applying.edit(&Edit::Doubt { node: ROOT, subtree: false, reason: "it cannot be read" }));
        fine(applying.edit(&Edit::Unlink { dir: ROOT, name: b"b" }));
        assert_eq!(applying.walked(&end), None);
    };
    World::new().apply(6, told, false);
}
