//! What a trip costs, in catalog queries and calls to a store: counted and asserted, never timed.
//!
//! The tests that measure time are ignored here, and run by `scripts/bench-spool` and `scripts/bench-differing`.

use asof::catalog::{
    Column, Dates, GenerationWriter, NewGeneration, NewSource, NodeRow, Place, Query, QueryLimits, Reader, Writer,
    Written,
};
use asof::clock::{Fixed, System};
use asof::index::{FileToKeep, Keep, KeepError, Kept, NewCopy, Taken, Told, index_copy, index_taken};
use asof::model::{
    Attrs, Changes, EntryName, FileKey, Kind, Level, ListedEntry, Listing, NodeId, NodeState, RelPath, Rule, Scan,
    SourceKind, Time, Timestamp, XattrSet,
};
use asof::monitor::Void;
use asof::source::{self, Found, nfs};
use asof::view::{Content, Ino, Looked, Tree};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

const AT: Time = Time(1_763_604_000);

/// A catalog over one copy: `big/` with 10,000 empty files and `bytes` of 1 MiB.
fn tree(dir: &Path) -> Tree {
    let copy = dir.join("copies/2025-11-20");
    std::fs::create_dir_all(copy.join("big")).unwrap();
    for i in 0..10_000 {
        std::fs::write(copy.join(format!("big/{i:05}")), b"").unwrap();
    }
    std::fs::write(copy.join("bytes"), vec![7; 1 << 20]).unwrap();
    let catalog = dir.join("catalog.db");
    Writer::create(&catalog).unwrap();
    let mut writer = Writer::open(&catalog).unwrap();
    let settings = nfs::Settings::new(dir.join("copies")).to_json().unwrap();
    let new = NewSource { name: "homes", kind: SourceKind::Nfs, settings: &settings, rule: Rule::COPIES, added_at: AT };
    writer.add_source(&new).unwrap();
    let row = Reader::open(&catalog).unwrap().source("homes").unwrap();
    let copies = source::open(SourceKind::Nfs, &settings, &jiff::tz::TimeZone::UTC).unwrap();
    let found = Found { taken_at: AT, path: copy };
    let new = NewCopy {
        source: &row,
        found: &found,
        store: &dir.join("copies"),
        again: false,
        settle: std::time::Duration::ZERO,
        root: None,
    };
    index_copy(&mut writer, &new, &*copies, &System, &Void).unwrap();
    Tree::over(&catalog, 64, Arc::new(Fixed(Time(AT.0 + 60))), jiff::tz::TimeZone::UTC).unwrap()
}

fn ino(tree: &Tree, path: &[&str]) -> Ino {
    path.iter().fold(Ino::ROOT, |parent, name| match tree.lookup(parent, name.as_bytes()).unwrap() {
        Looked::Found(stat, _) => stat.ino,
        Looked::Missing(_) => panic!("{path:?} is there"),
    })
}

/// Returns the queries that `ask` cost.
fn queries(tree: &Tree, ask: impl FnOnce()) -> u64 {
    let before = tree.query_count();
    ask();
    tree.query_count() - before
}

#[test]
fn a_trip_costs_a_known_number_of_queries_and_store_calls() {
    let dir = tempfile::tempdir().unwrap();
    let tree = tree(dir.path());
    let top = ["@2025-11-20", "homes"];
    let big = ino(&tree, &[top[0], top[1], "big"]);
    let file = ino(&tree, &[top[0], top[1], "bytes"]);
    // Rights are read once and then known.
    tree.list(big, 0, &mut |_, _, _, _| ControlFlow::Break(())).unwrap();

    let mut names = 0;
    let listing = queries(&tree, || {
        let mut offset = 0;
        // As a kernel asks: 185 entries at a time.
        loop {
            let (before, mut room) = (offset, 185);
            tree.list(big, offset, &mut |_, _, next, _| {
                (offset, names, room) = (next, names + 1, room - 1);
                if room == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })
            .unwrap();
            if offset == before {
                break;
            }
        }
    });
    assert_eq!(names, 10_002);
    // Three windows of 4,096 names, and the directory's own attributes for "." and "..".
    assert_eq!(listing, 3 + 1);
    assert_eq!(queries(&tree, || _ = ino(&tree, &[])), 0, "the top is in memory");
    assert_eq!(queries(&tree, || _ = tree.lookup(big, b"00017").unwrap()), 2);
    assert_eq!(queries(&tree, || _ = tree.lookup(big, b"nobody").unwrap()), 1);
    assert_eq!(queries(&tree, || _ = tree.stat(file).unwrap()), 1);
    assert_eq!(queries(&tree, || _ = tree.xattr(file, b"user.x").unwrap()), 0);
    assert_eq!(queries(&tree, || _ = tree.xattr_names(file).unwrap()), 0);

    assert_eq!(tree.store_cost().opens, 0, "nothing so far has touched a copy");
    let first = queries(&tree, || {
        assert!(matches!(tree.content(file).unwrap(), Content::Stored { .. }));
        let open = tree.open(file).unwrap();
        for part in 0..8 {
            let mut buffer = vec![0; 1 << 17];
            assert_eq!(open.read_at(&mut buffer, part << 17).unwrap(), 1 << 17);
        }
    });
    // Where the bytes are (copies); row and name are known since it was looked up, and no level of directories is above.
    assert_eq!(first, 1);
    assert_eq!((tree.store_cost().opens, tree.store_cost().reads), (1, 8));
    assert_eq!(queries(&tree, || drop(tree.opened(file).expect("it is open"))), 0);
    tree.open(file).unwrap();
    assert_eq!(tree.store_cost().opens, 1, "an open file is not opened again");
    assert_eq!(queries(&tree, || assert!(tree.refresh().unwrap().is_none())), 0);
}

/// Takes no bytes; none are asked for here.
struct NoBytes;

impl Keep for NoBytes {
    fn file(&mut self, file: FileToKeep<'_>) -> Result<Kept, KeepError> {
        assert!(file.held.is_none(), "a file that did not change was taken up: {}", file.path);
        Ok(Kept::Copied { moved: None })
    }

    fn link(&mut self, _path: &RelPath, _key: FileKey) -> Result<(), KeepError> {
        Ok(())
    }

    fn other(&mut self, _path: &RelPath, _attrs: &Attrs, _is_new: bool) -> Result<(), KeepError> {
        Ok(())
    }

    fn seal(&mut self, _generation: &GenerationWriter<'_>) -> Result<String, KeepError> {
        Ok("{}".to_owned())
    }
}

fn number(catalog: &Path, sql: &str) -> i64 {
    let mut found = 0;
    let mut query = Query::open(
        catalog,
        QueryLimits { time: std::time::Duration::from_secs(60), memory_bytes: 256 << 20 },
        &Dates::utc(Time(0)),
    )
    .unwrap();
    query
        .run(sql, &mut |_| {}, &mut |row| {
            let Column::Integer(number) = row[0] else { panic!("{sql} tells no number") };
            found = number;
            ControlFlow::Continue(())
        })
        .unwrap();
    found
}

#[test]
fn a_renamed_directory_of_100000_files_is_one_name_closed_and_one_opened() {
    const FILES: u64 = 100_000;
    let dir = tempfile::tempdir().unwrap();
    let catalog = dir.path().join("catalog.db");
    Writer::create(&catalog).unwrap();
    let mut writer = Writer::open(&catalog).unwrap();
    let new = NewSource { name: "gv0", kind: SourceKind::Gluster, settings: "{}", rule: Rule::WRITES, added_at: AT };
    writer.add_source(&new).unwrap();
    let source = Reader::open(&catalog).unwrap().source("gv0").unwrap();
    let key = |number: u64| FileKey { device: 0, inode: number, born_ns: 1 };
    let name = |text: &str| EntryName::new(text.as_bytes()).unwrap();
    let attrs = |mode: u32| Attrs {
        mode,
        uid: 0,
        gid: 0,
        size_bytes: 0,
        allocated_bytes: None,
        mtime: Timestamp::default(),
        ctime: Timestamp::default(),
        nlink: 1,
        rdev: 0,
        xattrs: XattrSet::default(),
        target: Vec::new(),
    };
    let entry = |text: &str, number, mode| ListedEntry {
        name: name(text),
        key: key(number),
        attrs: attrs(mode),
        unreadable: false,
        origin: 0,
    };
    let mut walk = |each: &mut dyn FnMut(Listing) -> ControlFlow<()>| {
        let listing = |number, path: &str, root, entries| Listing {
            number,
            path: RelPath::parse(path.as_bytes()).unwrap(),
            root,
            entries,
            complete: true,
            findings: Vec::new(),
        };
        let files = (0..FILES).map(|n| entry(&format!("{n:06}"), 100 + n, 0o100_644)).collect();
        let _ = each(listing(0, "", Some((key(1), attrs(0o040_755))), vec![entry("old", 2, 0o040_755)]));
        let _ = each(listing(1, "old", None, files));
        Ok(())
    };
    let mut take = |at, level, told| {
        let taken = Taken { source: &source, at, level, store: Path::new("/store"), below: b"copy" };
        index_taken(&mut writer, &taken, told, &mut NoBytes, &Fixed(AT), &Void).unwrap()
    };
    take(AT, Level::Full, Told::All(&mut walk));
    let later = Time(AT.0 + 60);
    let node = |number, names| NodeState {
        key: key(number),
        attrs: attrs(0o040_755),
        unreadable: false,
        origin: 0,
        names,
        data: false,
        made: false,
    };
    let changes = Changes {
        nodes: vec![node(1, Vec::new()), node(2, vec![(key(1), name("new"))])],
        names: vec![(key(1), name("old"), None), (key(1), name("new"), Some(key(2)))],
        ..Changes::default()
    };
    let told = Told::Changes { changes, root: key(1), scan: Scan::Changelog };
    let done = take(later, Level::Incremental, told);
    assert_eq!((done.counts.entries, done.changed_nodes), (FILES + 1, 1));
    assert_eq!(number(&catalog, &format!("SELECT count(*) FROM dirent WHERE born = {}", later.0)), 1);
    assert_eq!(number(&catalog, &format!("SELECT count(*) FROM dirent WHERE died = {}", later.0)), 1);
    assert_eq!(number(&catalog, &format!("SELECT count(*) FROM inode WHERE born = {}", later.0)), 0);
    let files = format!("SELECT count(*) FROM files WHERE taken_at_unix = {} AND path LIKE 'new/%'", later.0);
    assert_eq!(number(&catalog, &files), FILES as i64);
    assert_shown_without_a_look_at_files(&catalog, (AT, later));
}

/// Of 100,000 files in a directory that was renamed none is looked at, to say that it was and what there ever was.
fn assert_shown_without_a_look_at_files(catalog: &Path, (before, after): (Time, Time)) {
    let tree = Tree::over(catalog, 64, Arc::new(Fixed(after)), jiff::tz::TimeZone::UTC).unwrap();
    let names = |dir: Ino| {
        let mut names = Vec::new();
        tree.list(dir, 0, &mut |name, _, _, _| {
            names.push(String::from_utf8(name.to_vec()).unwrap());
            ControlFlow::Continue(())
        })
        .unwrap();
        names.split_off(2)
    };
    let between = format!("@{}..@{}", before.view_name(), after.view_name());
    // The source; of the top its attributes and rights.
    assert_eq!(queries(&tree, || _ = ino(&tree, &["gv0", &between])), 2);
    let (new, old) = (ino(&tree, &["gv0", &between]), ino(&tree, &["gv0", &between, ".before"]));
    // The comparison; attributes of what is listed, the directory's own among them.
    assert_eq!(queries(&tree, || assert_eq!(names(new), [".before", "new"])), 5);
    assert_eq!(queries(&tree, || assert_eq!(names(old), ["old"])), 2);
    let history = ino(&tree, &["gv0", "@history"]);
    // What there ever was in one question, and who was let into each.
    assert_eq!(queries(&tree, || assert_eq!(names(history), ["new", "old"])), 3);
    assert_eq!(queries(&tree, || assert_eq!(names(history), ["new", "old"])), 0);
    let beyond = |dir| tree.list(dir, 1 << 40, &mut |_, _, _, _| panic!("nothing is there")).unwrap();
    assert_eq!(queries(&tree, || [new, old, history].into_iter().for_each(beyond)), 0, "an offset may be any");
    // A million look-ups of what never was leave nothing: the second pass asks as the first one.
    let nonsense = || (0..1000).for_each(|n| _ = tree.lookup(history, format!("no{n}").as_bytes()).unwrap());
    assert_eq!((queries(&tree, nonsense), queries(&tree, nonsense)), (1000, 1000));
}

/// A source of `NAMES` files: ten of them change, then all. Prints one JSON line for each question.
#[test]
#[ignore = "a benchmark: scripts/bench-differing"]
fn differing_names() {
    let names: u64 = std::env::var("NAMES").map_or(1_000_000, |n| n.parse().unwrap());
    const EACH: u64 = 1000;
    let dir = tempfile::tempdir().unwrap();
    let catalog = dir.path().join("catalog.db");
    Writer::create(&catalog).unwrap();
    let mut writer = Writer::open(&catalog).unwrap();
    let new = NewSource { name: "homes", kind: SourceKind::Nfs, settings: "{}", rule: Rule::COPIES, added_at: AT };
    writer.add_source(&new).unwrap();
    let source = Reader::open(&catalog).unwrap().source("homes").unwrap();
    let store = writer.store_at(Path::new("/nowhere")).unwrap();
    let attrs = |mode, size_bytes| Attrs {
        mode,
        uid: 0,
        gid: 0,
        size_bytes,
        allocated_bytes: None,
        mtime: Timestamp::default(),
        ctime: Timestamp::default(),
        nlink: 1,
        rdev: 0,
        xattrs: XattrSet::default(),
        target: Vec::new(),
    };
    let name = |i: u64| EntryName::new(format!("{i:07}").as_bytes()).unwrap();
    let mut files = Vec::new();
    for generation in 0..3 {
        let at = Time(AT.0 + generation * 86_400);
        let copy = (store, b"".as_slice());
        let new = NewGeneration { source: &source, at, level: Level::Full, copy, now: at, again: false };
        let mut w = writer.begin(&new).unwrap();
        let root = w.root();
        if generation == 0 {
            let row = w.encode(&attrs(0o040_755, 0), false, None).unwrap();
            w.put(root, None, row, Written::Unknown).unwrap();
            for i in 0..names {
                if i % EACH == 0 {
                    let node = w.new_node().unwrap();
                    w.link(root, &name(i), node, Kind::Directory).unwrap();
                    w.put(node, None, row, Written::Unknown).unwrap();
                    files.push((node, Vec::new()));
                }
                let node = w.new_node().unwrap();
                let row = w.encode(&attrs(0o100_644, 1), false, None).unwrap();
                let (dir, nodes) = files.last_mut().unwrap();
                w.link(*dir, &name(i), node, Kind::File).unwrap();
                w.put(node, None, row, Written::Unknown).unwrap();
                nodes.push(node);
            }
        } else {
            let count = if generation == 1 { 10 } else { usize::MAX };
            let all = files.iter().flat_map(|(_, nodes)| nodes);
            for node in all.step_by(if generation == 1 { names as usize / 10 } else { 1 }).take(count) {
                let base = w.living(*node).unwrap();
                let row = w.encode(&attrs(0o100_644, 1 + generation as u64), false, None).unwrap();
                w.put(*node, base.as_ref(), row, Written::Unknown).unwrap();
            }
        }
        w.publish(None, 0).unwrap();
    }
    drop(writer);
    let at = |generation: i64| Time(AT.0 + generation * 86_400);
    let between = |a: i64, b: i64| format!("@{}..@{}", at(a).view_name(), at(b).view_name());
    for (what, path) in
        [("10 changes", between(0, 1)), ("all changed", between(1, 2)), ("history", "@history".to_owned())]
    {
        let tree = Tree::over(&catalog, 64, Arc::new(Fixed(at(3))), jiff::tz::TimeZone::UTC).unwrap();
        let before = resident_kib();
        let started = Instant::now();
        let mut count = 0;
        let top = ino(&tree, &["homes", &path]);
        let mut first = String::new();
        tree.list(top, 2, &mut |name, _, _, _| {
            count += 1;
            first = String::from_utf8(name.to_vec()).unwrap();
            ControlFlow::Continue(())
        })
        .unwrap();
        let top_ms = started.elapsed().as_secs_f64() * 1000.0;
        let started = Instant::now();
        let mut below = 0;
        tree.list(ino(&tree, &["homes", &path, &first]), 2, &mut |_, _, _, _| {
            below += 1;
            ControlFlow::Continue(())
        })
        .unwrap();
        let below_ms = started.elapsed().as_secs_f64() * 1000.0;
        let kib = resident_kib() - before;
        println!(
            "{{\"bench\":\"differing\",\"what\":\"{what} of {names}\",\"first_ms\":{top_ms:.3},\"names\":{count},\"below_ms\":{below_ms:.3},\"below\":{below},\"memory_kib\":{kib}}}"
        );
    }
}

fn resident_kib() -> i64 {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap();
    status.split(' ').nth(1).unwrap().parse::<i64>().unwrap() * 4
}

/// A spool: 1,000 names live, 667 are replaced in each of the generations. Prints one JSON line for each of
/// the first, a middle and the last generation.
#[test]
#[ignore = "a benchmark: scripts/bench-spool"]
fn spool_directory() {
    let generations: i64 = std::env::var("GENERATIONS").map_or(3000, |n| n.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let catalog = dir.path().join("catalog.db");
    Writer::create(&catalog).unwrap();
    let mut writer = Writer::open(&catalog).unwrap();
    let new = NewSource { name: "spool", kind: SourceKind::Nfs, settings: "{}", rule: Rule::COPIES, added_at: AT };
    writer.add_source(&new).unwrap();
    let source = Reader::open(&catalog).unwrap().source("spool").unwrap();
    let store = writer.store_at(Path::new("/nowhere")).unwrap();
    let attrs = |mode| Attrs {
        mode,
        uid: 0,
        gid: 0,
        size_bytes: 100,
        allocated_bytes: None,
        mtime: Timestamp::default(),
        ctime: Timestamp::default(),
        nlink: 1,
        rdev: 0,
        xattrs: XattrSet::default(),
        target: Vec::new(),
    };
    let name = |i: u64| EntryName::new(format!("message-{i:09}.eml").as_bytes()).unwrap();
    let (mut oldest, mut next) = (0, 0);
    let written = Instant::now();
    for generation in 0..generations {
        let at = Time(AT.0 + generation * 86_400);
        let copy = (store, b"".as_slice());
        let new = NewGeneration { source: &source, at, level: Level::Full, copy, now: at, again: false };
        let mut w = writer.begin(&new).unwrap();
        let root = w.root();
        if generation == 0 {
            let row = w.encode(&attrs(0o040755), false, None).unwrap();
            w.put(root, None, row, Written::Unknown).unwrap();
        }
        let (gone, new) = if generation == 0 { (0, 1000) } else { (667, 667) };
        for i in oldest..oldest + gone {
            w.unlink(root, &name(i)).unwrap();
        }
        for i in next..next + new {
            let node = w.new_node().unwrap();
            let row: NodeRow = w.encode(&attrs(0o100644), false, None).unwrap();
            assert_eq!(row.place, Place::OwnPath);
            w.link(root, &name(i), node, Kind::File).unwrap();
            w.put(node, None, row, Written::Unknown).unwrap();
        }
        (oldest, next) = (oldest + gone, next + new);
        w.publish(None, 0).unwrap();
    }
    let rows_s = next as f64 / written.elapsed().as_secs_f64();
    let reader = Reader::open(&catalog).unwrap();
    for generation in [0, generations / 2, generations - 1] {
        let at = Time(AT.0 + generation * 86_400);
        let mut times: Vec<f64> = (0..15).map(|_| list_once(&reader, source.root, at)).collect();
        times.sort_by(f64::total_cmp);
        println!(
            "{{\"bench\":\"spool\",\"what\":\"list 1000 live as of generation {generation}\",\"asof_ms\":{:.3},\"dead\":{oldest},\"generations\":{generations},\"runs\":15,\"names_written_per_s\":{rows_s:.0}}}",
            times[times.len() / 2]
        );
    }
}

fn list_once(reader: &Reader, dir: NodeId, at: Time) -> f64 {
    let (started, mut names) = (Instant::now(), 0);
    reader
        .list(dir, at, None, usize::MAX, |_| {
            names += 1;
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(names, 1000);
    started.elapsed().as_secs_f64() * 1000.0
}
