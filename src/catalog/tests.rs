//! What the writer does to the rows of a small history,
//! told by reading it back at every instant.

use super::*;
use crate::clock::Fixed;
use crate::index::{NewCopy, index_copy};
use crate::model::{
    Attrs, EntryName, FileKey, Finding, FindingKind, Kind, Level, ListedEntry, Listing, NodeId, RelPath, Rule,
    SourceKind, Time, Timestamp, XattrSet, escape_bytes,
};
use crate::monitor::Void;
use crate::source::Found;
use crate::source::told::Told;
use rusqlite::{Connection, params};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

mod chunks;
mod findings;
mod proof;

/// 2026-11-18T02:00:00Z; generation `n` is taken `n` days later.
const FIRST: i64 = 1_794_967_200;
const DAY: i64 = 86_400;
const OPEN: i64 = 253_402_300_799;

fn at(n: i64) -> Time {
    Time(FIRST + n * DAY)
}

/// A catalog with the source `homes`.
struct World {
    folder: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        Self::with(Rule::COPIES)
    }

    fn with(rule: Rule) -> Self {
        let world = Self { folder: tempfile::tempdir().unwrap() };
        Writer::create(&world.path()).unwrap();
        let new = NewSource { name: "homes", kind: SourceKind::Nfs, settings: "{}", rule, added_at: at(0) };
        world.writer().add_source(&new).unwrap();
        world
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("catalog.db")
    }

    fn writer(&self) -> Writer {
        Writer::open(&self.path()).unwrap()
    }

    fn reader(&self) -> Reader {
        Reader::open(&self.path()).unwrap()
    }

    fn source(&self) -> SourceRow {
        self.reader().source("homes").unwrap()
    }

    /// Writes and publishes generation `n`.
    fn generation(&self, n: i64, write: impl FnOnce(&mut GenerationWriter<'_>)) -> u64 {
        let mut writer = self.writer();
        let mut generation = begin(&mut writer, &self.source(), n);
        if generation.previous().is_none() {
            let root = generation.root();
            put(&mut generation, root, Kind::Directory, 4096);
        }
        write(&mut generation);
        generation.publish(None, 0).unwrap().changed_nodes
    }

    /// Indexes a told tree as generation `n`.
    fn index(&self, n: i64, told: &Told) {
        let found = Found { taken_at: at(n), path: PathBuf::from(format!("/copies/{n}")) };
        let source = self.source();
        let copy = NewCopy {
            source: &source,
            found: &found,
            store: Path::new("/copies"),
            again: false,
            settle: std::time::Duration::ZERO,
            root: None,
        };
        index_copy(&mut self.writer(), &copy, told, &Fixed(at(0)), &Void).unwrap();
    }

    fn names(&self, n: i64) -> Vec<String> {
        let (reader, root) = (self.reader(), self.source().root);
        let mut names = Vec::new();
        let each = |entry: DirEntry| {
            names.push(entry.name.to_string());
            ControlFlow::Continue(())
        };
        reader.list(root, at(n), None, usize::MAX, each).unwrap();
        names
    }

    /// Returns rows as text, times as days after the first and nodes as distances from the root.
    fn rows(&self, sql: &str) -> Vec<String> {
        let connection = Connection::open(self.path()).unwrap();
        let mut statement = connection.prepare(sql).unwrap();
        let width = statement.column_count();
        let root = self.source().root.0;
        let shown = |value: i64| match value {
            OPEN => "open".to_owned(),
            FIRST.. => format!("day {}", (value - FIRST) / DAY),
            value if value >= root => format!("node {}", value - root),
            value => value.to_string(),
        };
        let text = |row: &rusqlite::Row<'_>| {
            let value = |i| match row.get_ref(i).unwrap() {
                rusqlite::types::ValueRef::Integer(n) => shown(n),
                rusqlite::types::ValueRef::Null => "NULL".to_owned(),
                other => escape_bytes(other.as_bytes().unwrap()).into_owned(),
            };
            Ok((0..width).map(value).collect::<Vec<_>>().join(" "))
        };
        statement.query_map([], text).unwrap().collect::<rusqlite::Result<_>>().unwrap()
    }

    fn dirents(&self) -> Vec<String> {
        self.rows("SELECT CAST(name AS TEXT), node, born, died FROM dirent ORDER BY name, born")
    }

    fn versions(&self) -> Vec<String> {
        self.rows("SELECT node, born, size FROM inode ORDER BY node, born")
    }

    fn changes(&self) -> Vec<String> {
        self.rows("SELECT at, node, op FROM change ORDER BY at, node")
    }

    /// Returns all rows of all tables but those that an undone run may leave larger: counters, and parts that versions
    /// share.
    fn dump(&self) -> Vec<String> {
        let tables = [
            "generation",
            "copy",
            "finding",
            "object",
            "dirent",
            "inode",
            "content",
            "change",
            "identity",
            "xattr_node",
        ];
        let mut dump = Vec::new();
        for table in tables {
            dump.extend(self.rows(&format!("SELECT * FROM {table}")).into_iter().map(|row| format!("{table}: {row}")));
        }
        dump.sort();
        dump
    }

    fn count_of_rows(&self) -> i64 {
        let connection = Connection::open(self.path()).unwrap();
        let count = |table: &str| {
            let sql = format!("SELECT count(*) FROM {table}");
            connection.query_row(&sql, [], |row| row.get::<_, i64>(0)).unwrap()
        };
        ["dirent", "inode", "change", "perm", "identity", "content", "odd_name"].map(count).iter().sum()
    }
}

fn begin<'w>(writer: &'w mut Writer, source: &SourceRow, n: i64) -> GenerationWriter<'w> {
    let store = writer.store_at(Path::new("/copies")).unwrap();
    let copy = (store, b"x".as_slice());
    writer.begin(&NewGeneration { source, at: at(n), level: Level::Full, copy, now: at(0), again: false }).unwrap()
}

fn name(text: &str) -> EntryName {
    EntryName::new(text.as_bytes()).unwrap()
}

fn attrs(kind: Kind, size_bytes: u64) -> Attrs {
    let stamp = Timestamp { seconds: 1_000, nanos: 1 };
    Attrs {
        mode: kind.mode_bits() | 0o755,
        uid: 0,
        gid: 0,
        size_bytes,
        allocated_bytes: None,
        mtime: stamp,
        ctime: stamp,
        nlink: 1,
        rdev: 0,
        xattrs: XattrSet::default(),
        target: if kind == Kind::Symlink { b"target".to_vec() } else { Vec::new() },
    }
}

/// Writes something new in a directory.
fn add(generation: &mut GenerationWriter<'_>, dir: NodeId, text: &str, kind: Kind) -> NodeId {
    let node = generation.new_node().unwrap();
    generation.link(dir, &name(text), node, kind).unwrap();
    put(generation, node, kind, 1);
    node
}

fn put(generation: &mut GenerationWriter<'_>, node: NodeId, kind: Kind, size_bytes: u64) {
    let base = generation.living(node).unwrap();
    let row = generation.encode(&attrs(kind, size_bytes), false, base.as_ref()).unwrap();
    generation.put(node, base.as_ref(), row, Written::Unknown).unwrap();
}

/// Writes a new file in the root.
fn create(generation: &mut GenerationWriter<'_>, file: &str, size_bytes: u64) -> NodeId {
    let node = generation.new_node().unwrap();
    generation.link(generation.root(), &name(file), node, Kind::File).unwrap();
    resize(generation, node, size_bytes);
    node
}

fn resize(generation: &mut GenerationWriter<'_>, node: NodeId, size_bytes: u64) {
    let base = generation.living(node).unwrap();
    let mut row = generation.encode(&attrs(Kind::File, size_bytes), false, base.as_ref()).unwrap();
    row.nlink = generation.current_names(node).unwrap().len() as u32;
    generation.put(node, base.as_ref(), row, Written::Unknown).unwrap();
}

fn remove(generation: &mut GenerationWriter<'_>, file: &str, node: NodeId) {
    assert_eq!(generation.unlink(generation.root(), &name(file)).unwrap(), Some((node, Kind::File)));
}

fn entry(text: &str, kind: Kind, inode: u64, size_bytes: u64) -> ListedEntry {
    let key = FileKey { device: 1, inode, born_ns: 5 };
    ListedEntry { name: name(text), key, attrs: attrs(kind, size_bytes), unreadable: false, origin: 0 }
}

/// A tree with one directory, called `directory`, that holds `count` files.
fn one_directory(directory: &str, count: u64) -> Told {
    let files = (0..count).map(|n| entry(&format!("f{n:05}"), Kind::File, n + 10, 1)).collect();
    listings(vec![entry(directory, Kind::Directory, 3, 4096)], Some((directory, files)))
}

fn listings(top: Vec<ListedEntry>, below: Option<(&str, Vec<ListedEntry>)>) -> Told {
    let listing = |number, path: &str, entries| Listing {
        number,
        path: RelPath::parse(path.as_bytes()).unwrap(),
        root: (number == 0).then(|| (FileKey { device: 1, inode: 2, born_ns: 5 }, attrs(Kind::Directory, 4096))),
        entries,
        complete: true,
        findings: Vec::new(),
    };
    let mut all = vec![listing(0, "", top)];
    all.extend(below.map(|(path, entries)| listing(1, path, entries)));
    Told(all)
}

#[test]
fn a_newer_generation_opens_and_closes_rows_and_touches_no_other() {
    let world = World::new();
    let mut node = NodeId(0);
    world.generation(0, |g| {
        node = create(g, "a", 1);
        create(g, "b", 2);
    });
    world.generation(1, |g| {
        remove(g, "a", node);
        create(g, "c", 3);
    });
    assert_eq!(world.dirents(), ["a node 1 day 0 day 1", "b node 2 day 0 open", "c node 3 day 1 open"]);
    assert_eq!(world.versions(), ["node 0 day 0 4096", "node 1 day 0 1", "node 2 day 0 2", "node 3 day 1 3"]);
    assert_eq!(world.changes(), ["day 1 node 1 16", "day 1 node 3 9"]);
    assert_eq!((world.names(0), world.names(1)), (vec!["a".into(), "b".into()], vec!["b".to_owned(), "c".into()]));
}

#[test]
fn a_generation_put_in_between_splits_rows_and_leaves_its_neighbours_as_they_were() {
    let world = World::new();
    let file = |size| listings(vec![entry("a", Kind::File, 10, size), entry("b", Kind::File, 11, 1)], None);
    world.index(0, &file(1));
    world.index(2, &file(1));
    assert_eq!(world.dirents(), ["a node 1 day 0 open", "b node 2 day 0 open"]);
    let between = listings(vec![entry("a", Kind::File, 10, 9), entry("c", Kind::File, 12, 1)], None);
    world.index(1, &between);
    assert_eq!(
        world.dirents(),
        ["a node 1 day 0 open", "b node 2 day 0 day 1", "b node 2 day 2 open", "c node 3 day 1 day 2"]
    );
    assert_eq!(
        world.versions(),
        [
            "node 0 day 0 4096",
            "node 1 day 0 1",
            "node 1 day 1 9",
            "node 1 day 2 1",
            "node 2 day 0 1",
            "node 2 day 2 1",
            "node 3 day 1 1"
        ]
    );
    assert_eq!(
        world.changes(),
        ["day 1 node 1 2", "day 1 node 2 16", "day 1 node 3 9", "day 2 node 1 2", "day 2 node 2 9", "day 2 node 3 16"]
    );
}

/// The file of day 3 has no version of its own: it looks as on day 0. Days 1 and 2 come later, and day 2 has no such file.
#[test]
fn a_version_put_in_before_a_gap_does_not_reach_over_it() {
    let world = World::new();
    let with = |size| listings(vec![entry("a", Kind::File, 10, size)], None);
    world.index(0, &with(1));
    world.index(3, &with(1));
    world.index(2, &listings(vec![], None));
    world.index(1, &with(9));
    assert_eq!(world.versions(), ["node 0 day 0 4096", "node 1 day 0 1", "node 1 day 1 9", "node 1 day 3 1"]);
}

#[test]
fn a_renamed_directory_writes_as_many_rows_with_ten_thousand_entries_below_as_with_ten() {
    let rows = |count| {
        let world = World::with(Rule::SNAPSHOTS);
        world.index(0, &one_directory("old", count));
        let before = world.count_of_rows();
        world.index(1, &one_directory("renamed", count));
        world.count_of_rows() - before
    };
    // The name opened and the change noted; the name closed is an update.
    assert_eq!(rows(10), 2);
    assert_eq!(rows(10_000), 2);
}

#[test]
fn a_killed_run_is_undone_row_by_row_when_the_catalog_is_next_opened() {
    let world = World::new();
    let mut nodes = Vec::new();
    world.generation(0, |g| nodes = vec![create(g, "a", 1), create(g, "b", 2)]);
    world.generation(1, |g| resize(g, nodes[0], 7));
    let before = world.dump();
    let (mut writer, source) = (world.writer(), world.source());
    let mut generation = begin(&mut writer, &source, 2);
    remove(&mut generation, "a", nodes[0]);
    generation.let_go().unwrap();
    let root = generation.root();
    let link = create(&mut generation, "a", 3);
    let target = generation.encode(&attrs(Kind::Symlink, 6), false, None).unwrap();
    generation.amend(link, target).unwrap();
    generation.identify(FileKey { device: 1, inode: 5, born_ns: 5 }, link).unwrap();
    generation.link(root, &name("odd\n"), nodes[1], Kind::File).unwrap();
    resize(&mut generation, nodes[1], 99);
    let finding = Finding { kind: FindingKind::Unreadable, path: RelPath::root(), detail: "no".into() };
    generation.report(&finding).unwrap();
    generation.let_go().unwrap();
    create(&mut generation, "never committed", 1);
    drop(generation);
    drop(writer);
    assert_ne!(world.dump(), before, "chunks were committed");
    assert_eq!((world.names(0), world.names(1)), (vec!["a".into(), "b".into()], vec!["a".to_owned(), "b".into()]));
    let writer = world.writer();
    assert_eq!(writer.cleaned(), [("homes".to_owned(), at(2))]);
    drop(writer);
    assert_eq!(world.dump(), before);
    assert_eq!(world.writer().cleaned(), []);
}

#[test]
fn a_killed_first_run_leaves_an_empty_source() {
    let world = World::new();
    let before = world.dump();
    let (mut writer, source) = (world.writer(), world.source());
    let mut generation = begin(&mut writer, &source, 0);
    create(&mut generation, "a", 1);
    generation.let_go().unwrap();
    drop(generation);
    drop(writer);
    world.writer();
    assert_eq!(world.dump(), before);
    assert_eq!(world.generation(0, |g| _ = create(g, "a", 1)), 1);
    assert_eq!(world.dirents(), ["a node 1 day 0 open"], "numbers begin anew");
}

#[test]
fn an_abandoned_generation_leaves_nothing_newest_or_in_between() {
    let world = World::new();
    for n in [0, 2] {
        world.index(n, &listings(vec![entry("a", Kind::File, 10, 1)], None));
    }
    let before = world.dump();
    for n in [1, 3] {
        let (mut writer, source) = (world.writer(), world.source());
        let mut generation = begin(&mut writer, &source, n);
        create(&mut generation, "b", 1);
        generation.let_go().unwrap();
        generation.abandon().unwrap();
        assert_eq!(world.dump(), before, "day {n}");
    }
}

#[test]
fn a_generation_is_seen_when_it_is_published_and_not_before() {
    let world = World::new();
    let reader = world.reader();
    let seen = || {
        reader.rest().unwrap();
        let registry = reader.registry().unwrap();
        registry.sources[0].instants.clone()
    };
    let (mut writer, source) = (world.writer(), world.source());
    let mut generation = begin(&mut writer, &source, 0);
    create(&mut generation, "a", 1);
    generation.let_go().unwrap();
    assert_eq!(seen(), []);
    generation.publish(None, 0).unwrap();
    assert_eq!(seen(), [at(0)]);
}

/// A directory in which `dead` names died on day 1 while one lives on.
fn churned(dead: usize) -> World {
    let world = World::new();
    let mut nodes = Vec::new();
    world.generation(0, |g| {
        create(g, "keep", 1);
        nodes = (0..dead).map(|n| create(g, &format!("dead{n:04}"), 1)).collect();
    });
    world.generation(1, |g| nodes.iter().enumerate().for_each(|(n, node)| remove(g, &format!("dead{n:04}"), *node)));
    world
}

#[test]
fn a_directory_turns_hot_when_its_dead_names_outnumber_the_living_32_times_and_by_1024() {
    let is_hot = |dead| {
        let world = churned(dead);
        let reader = world.reader();
        reader.registry().unwrap();
        reader.is_hot(world.source().root)
    };
    assert!(!is_hot(1056), "1,024 and 32 for the one that lives");
    assert!(is_hot(1057));
}

#[test]
fn a_hot_directory_lists_alike_by_both_plans_at_every_instant() {
    let world = churned(1100);
    let mut brief = NodeId(0);
    world.generation(3, |g| brief = create(g, "brief", 1));
    world.generation(5, |g| remove(g, "brief", brief));
    // Late ones, before, between and after what died.
    world.index(2, &listings(vec![entry("dead0005", Kind::File, 10, 1), entry("keep", Kind::File, 11, 1)], None));
    world.index(4, &listings(vec![entry("keep", Kind::File, 11, 1)], None));
    let root = world.source().root;
    let connection = Connection::open(world.path()).unwrap();
    let by = |sql: &str, n| -> Vec<Vec<u8>> {
        let mut statement = connection.prepare(sql).unwrap();
        let rows = statement.query_map(params![root.0, at(n).0, b"".as_slice(), i64::MAX], |row| row.get(0)).unwrap();
        rows.collect::<rusqlite::Result<_>>().unwrap()
    };
    let lengths = [1101, 1, 2, 2, 1, 1];
    for (n, length) in (0..).zip(lengths) {
        let plain = by(&listing::list_sql(), n);
        assert_eq!(plain.len(), length, "day {n}");
        assert_eq!(by(&listing::list_hot_sql(), n), plain, "day {n}");
        assert_eq!(world.names(n).len(), length, "day {n}");
    }
}

#[test]
fn every_statement_of_a_mount_is_a_search_by_its_index() {
    let world = churned(1100);
    let connection = connect::open_read_only(&world.path()).unwrap();
    let plan = |sql: &str| -> Vec<String> {
        let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let nothing = vec![rusqlite::types::Null; statement.parameter_count()];
        let rows = statement.query_map(rusqlite::params_from_iter(nothing), |row| row.get(3)).unwrap();
        rows.collect::<rusqlite::Result<_>>().unwrap()
    };
    assert_eq!(plan(tables::LOOKUP), ["SEARCH dirent USING PRIMARY KEY (parent=? AND name=? AND born<?)"]);
    assert_eq!(plan(tables::NODE), ["SEARCH i USING PRIMARY KEY (node=? AND born<?)"]);
    let of_one =
        ["SEARCH g EXISTS USING INTEGER PRIMARY KEY (rowid=?)", "SEARCH i USING PRIMARY KEY (node=? AND born<?)"];
    assert_eq!(plan(tables::NODE_OF), of_one);
    assert_eq!(plan(tables::NAMES), ["SEARCH dirent USING INDEX dirent_node (node=?)"]);
    let version = [
        "SEARCH i USING PRIMARY KEY (node=? AND born=?) LEFT-JOIN",
        "CORRELATED SCALAR SUBQUERY 1",
        "SEARCH v USING PRIMARY KEY (node=? AND born<?)",
    ];
    let mut expected = vec!["SEARCH d USING PRIMARY KEY (parent=? AND name>?)"];
    expected.extend(version);
    assert_eq!(plan(&listing::list_sql()), expected);
    let mut expected = vec![
        "SEARCH p USING PRIMARY KEY (at=?)",
        "SEARCH d USING COVERING INDEX dirent_hot (parent=? AND fork=? AND born<?)",
    ];
    expected.extend(version);
    expected.push("USE TEMP B-TREE FOR ORDER BY");
    assert_eq!(plan(&listing::list_hot_sql()), expected);
}

#[test]
fn a_thousand_mixed_questions_plan_nothing_anew() {
    let world = churned(1100);
    let (reader, root) = (world.reader(), world.source().root);
    for n in 0..250 {
        let at = at(n % 2);
        let file = format!("dead{n:04}");
        let node = reader.lookup(root, file.as_bytes(), at).unwrap().map_or(root, |(node, _)| node);
        let row = reader.known_node(node, at).unwrap();
        reader.perm(row.perm).unwrap();
        reader.names(node, at).unwrap();
        reader.list(root, at, None, 10, |_| ControlFlow::Continue(())).unwrap();
        reader.rest().unwrap();
    }
    assert!(reader.query_count() >= 1000);
    assert_eq!(reader.replan_count().unwrap(), 0);
}

fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {}", chain(cause)),
        None => error.to_string(),
    }
}

#[test]
fn a_second_writer_is_told_who_writes() {
    let world = World::new();
    let writer = world.writer();
    let error = Writer::open(&world.path()).err().expect("it is locked");
    let pid = std::process::id();
    assert_eq!(error.to_string(), format!("catalog {:?} is being written by process {pid}", world.path()));
    drop(writer);
    world.writer();
}

#[test]
fn a_file_that_is_no_catalog_is_refused_by_what_it_is() {
    let world = World::new();
    let path = world.path();
    let refusal = |path: &Path| {
        let texts = [Reader::open(path).err(), Writer::open(path).err()].map(|e| chain(&e.expect("it is refused")));
        assert_eq!(texts[0], texts[1]);
        texts[0].clone()
    };
    let missing = world.folder.path().join("none.db");
    assert_eq!(refusal(&missing), format!("there is no catalog {missing:?}"));
    assert_eq!(chain(&Writer::create(&path).unwrap_err()), format!("catalog {path:?} exists already"));
    let note = world.folder.path().join("note.txt");
    std::fs::write(
        &note,
        "a text of some length that is no database of any kind, by far not, and goes on and on and on",
    )
    .unwrap();
    assert_eq!(refusal(&note), format!("{note:?} is not a catalog of asof: not an SQLite database"));
    let other = world.folder.path().join("other.db");
    Connection::open(&other).unwrap().execute_batch("CREATE TABLE t(a); PRAGMA application_id = 7;").unwrap();
    assert_eq!(
        refusal(&other),
        format!("{other:?} is not a catalog of asof: its application id is 0x7, not 0x61736f66")
    );
    Connection::open(&path).unwrap().execute_batch("PRAGMA user_version = 99").unwrap();
    assert_eq!(
        refusal(&path),
        format!("catalog {path:?} has format 99, and this asof reads formats up to {}", crate::catalog::FORMAT)
    );
    Connection::open(&path).unwrap().execute_batch("PRAGMA user_version = 0").unwrap();
    assert_eq!(
        chain(&Writer::open(&path).err().expect("it is refused")),
        format!("{path:?} is not a catalog of asof: its format is 0, and the first is 1")
    );
}

#[test]
fn what_cannot_be_added_is_refused_with_the_reason() {
    let world = World::new();
    let mut writer = world.writer();
    let mut add = |name| {
        let new = NewSource { name, kind: SourceKind::Nfs, settings: "{}", rule: Rule::COPIES, added_at: at(0) };
        writer.add_source(&new).unwrap_err().to_string()
    };
    assert_eq!(add("homes"), "there is a source \"homes\" already");
    assert_eq!(add(""), "\"\" cannot name a source: it is empty");
    assert_eq!(add("@2026"), "\"@2026\" cannot name a source: names with @ are dates");
    assert_eq!(add(".asof"), "\".asof\" cannot name a source: names with a leading dot are hidden");
    assert_eq!(add("-r"), "\"-r\" cannot name a source: names with a leading dash are options");
    assert_eq!(add("a/b"), "\"a/b\" cannot name a source: it may hold letters, digits, dots, dashes and underscores");
    let long = "x".repeat(256);
    assert_eq!(add(&long), format!("{long:?} cannot name a source: it is longer than 255 bytes"));
    drop(writer);
    let error = world.reader().source("web").unwrap_err();
    assert_eq!(error.to_string(), "there is no source \"web\"; known are homes");
    world.generation(0, |_| {});
    let mut writer = world.writer();
    let store = writer.store_at(Path::new("/copies")).unwrap();
    let source = world.source();
    let copy = (store, b"x".as_slice());
    let new = NewGeneration { source: &source, at: at(0), level: Level::Full, copy, now: at(0), again: false };
    let again = writer.begin(&new).err().expect("it is taken");
    assert_eq!(again.to_string(), "source \"homes\" has a generation of 2026-11-18T02:00:00Z already");
}

#[test]
fn a_row_that_is_missing_is_a_contradiction_and_names_the_node() {
    let world = World::new();
    world.generation(0, |g| _ = create(g, "a", 1));
    Connection::open(world.path()).unwrap().execute_batch("DELETE FROM inode").unwrap();
    let node = NodeId(world.source().root.0 + 1);
    assert_eq!(
        world.reader().known_node(node, at(0)).unwrap_err().to_string(),
        format!("catalog {:?} contradicts itself: no version of node 65537 as of 2026-11-18T02:00:00Z", world.path())
    );
}

#[test]
fn the_causes_of_the_system_are_told_after_what_was_being_done() {
    let path = PathBuf::from("c.db");
    let sqlite = |code| rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None);
    let full = Error::sqlite("adding a name", &path, sqlite(rusqlite::ffi::SQLITE_FULL));
    assert_eq!(chain(&full), "adding a name in catalog \"c.db\": the disk is full");
    let other = Error::sqlite("adding a name", &path, sqlite(rusqlite::ffi::SQLITE_CORRUPT));
    assert_eq!(chain(&other), "adding a name in catalog \"c.db\": Error code 11: database disk image is malformed");
    let io = Error::Io { doing: "locking", path: path.clone(), source: std::io::Error::from_raw_os_error(13) };
    assert_eq!(chain(&io), "locking catalog \"c.db\": Permission denied (os error 13)");
    let network = Error::NetworkFilesystem { path, filesystem: "nfs".to_owned() };
    assert_eq!(network.to_string(), "catalog \"c.db\" would lie on nfs, where its lock and shared memory do not work");
    assert_eq!(Error::Refused("no".to_owned()).to_string(), "no");
    let none = Error::NoSuchSource { name: "web".to_owned(), known: Vec::new() };
    assert_eq!(none.to_string(), "there is no source \"web\"; there is none yet");
}

#[test]
fn a_catalog_that_was_put_back_from_a_backup_has_its_log_again_once_it_is_written() {
    let world = World::new();
    let back = world.folder.path().join("back.db");
    Connection::open(world.path()).unwrap().execute("VACUUM INTO ?1", [back.to_str()]).unwrap();
    let mode = || {
        let connection = Connection::open(&back).unwrap();
        connection.query_row("PRAGMA journal_mode", [], |row| row.get::<_, String>(0)).unwrap()
    };
    assert_eq!(mode(), "delete");
    drop(Writer::open(&back).unwrap());
    assert_eq!(mode(), "wal");
}

#[test]
fn no_catalog_is_made_beside_the_log_or_the_journal_of_another_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("catalog.db");
    for ending in ["-wal", "-journal"] {
        let left = folder.path().join(format!("catalog.db{ending}"));
        std::fs::write(&left, b"").unwrap();
        let why = chain(&Writer::create(&path).unwrap_err());
        assert!(why.ends_with(&format!("{left:?} is still there, of a catalog that was here; move it away")), "{why}");
        std::fs::remove_file(left).unwrap();
    }
    Writer::create(&path).unwrap();
}

#[test]
fn files_of_eight_exbibytes_add_up_to_what_a_row_holds_and_no_more() {
    const EIGHT_EIB: u64 = 9_223_372_036_854_771_711;
    let world = World::new();
    let mut file = NodeId(0);
    world.generation(0, |g| {
        file = create(g, "a", EIGHT_EIB);
        create(g, "b", EIGHT_EIB);
    });
    world.generation(8, |g| remove(g, "a", file));
    // What comes between counts from a sum that is no sum.
    world.generation(4, |g| remove(g, "a", file));
    world.generation(9, |g| {
        create(g, "c", 1);
    });
    let sums = world.rows("SELECT CAST(size_bytes AS TEXT) FROM generation ORDER BY taken_at");
    let one = "9223372036854771711";
    assert_eq!(sums, ["9223372036854775807", one, one, "9223372036854771712"]);
    assert_eq!(world.reader().registry().unwrap().size_bytes, 9_223_372_036_854_771_712);
}
