//! The law of the house: indexing on top of any history equals indexing alone.
//!
//! Random histories of shares, told in memory: copies are indexed in any order, forgotten (the newest, the oldest, one in between),
//! indexed again with what they hold now, and runs are killed half way and followed by another input. After every step the
//! public views must be those of a catalog in which the copies that are left were indexed alone, in the order of time; and every tree
//! must be the one that was told. `ASOF_SEED=N` plays one history, `ASOF_LAW=N` plays N of each kind, from
//! `ASOF_LAW_FIRST` on (scripts/soak).

use asof::catalog::{
    Checking, Column, NewGeneration, NewSource, Query, QueryLimits, Reader, SourceRow, Writer, Written,
};
use asof::clock::Fixed;
use asof::index::{NewCopy, index_copy};
use asof::model::{
    Attrs, EntryName, FileKey, Key, Kind, Level, ListedEntry, Listing, RelPath, Rule, SourceKind, Time, Timestamp,
    Walked, XattrSet,
};
use asof::monitor::Void;
use asof::source::{self, Discovered, Found, ScanStats, Source};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// 2026-01-01T00:00:00Z; copy `n` is of `n` days later.
const FIRST: i64 = 1_767_225_600;
const DAY: i64 = 86_400;
const NOW: Time = Time(FIRST + 400 * DAY);
/// Copies of one history.
const COPIES: usize = 6;
const STEPS: usize = 14;

/// Numbers without end, the same for the same seed (splitmix64; Steele, Lea, Flood: "Fast splittable pseudorandom number generators").
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.roll(from.len() as u64) as usize]
    }
}

/// A file or directory, as it is in one copy.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Node {
    kind: Kind,
    /// Contents 0 and 1 look equal by size and mtime.
    content: u8,
    mode: u32,
    comment: bool,
}

/// A whole tree: names (with the directory's node; 0 is the root) and nodes.
#[derive(Clone, Debug, Default)]
struct Plain {
    names: BTreeMap<(u64, &'static str), u64>,
    nodes: BTreeMap<u64, Node>,
}

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

impl Plain {
    fn new() -> Self {
        let mut plain = Self::default();
        plain.nodes.insert(0, Node { kind: Kind::Directory, content: 0, mode: 0o755, comment: false });
        plain
    }

    /// Returns every directory with its path, in the order of a walk.
    fn directories(&self) -> Vec<(u64, String)> {
        let mut found = vec![(0, String::new())];
        let mut next = 0;
        while next < found.len() {
            let (dir, path) = found[next].clone();
            next += 1;
            for ((_, name), node) in self.names.range((dir, "")..(dir + 1, "")) {
                if self.nodes[node].kind == Kind::Directory {
                    found.push((*node, join(&path, name)));
                }
            }
        }
        found
    }

    fn is_below(&self, dir: u64, top: u64) -> bool {
        let mut here = dir;
        while here != 0 && here != top {
            here = self.names.iter().find(|(_, node)| **node == here).expect("a directory has a name").0.0;
        }
        here == top
    }

    /// Takes away what is left below directories that are gone.
    fn reap(&mut self) {
        loop {
            let live: Vec<u64> = self.directories().into_iter().map(|(dir, _)| dir).collect();
            let before = self.names.len();
            self.names.retain(|(dir, _), _| live.contains(dir));
            if self.names.len() == before {
                break;
            }
        }
        let named: Vec<u64> = self.names.values().copied().collect();
        self.nodes.retain(|node, _| *node == 0 || named.contains(node));
    }

    fn mutate(&mut self, dice: &mut Dice, count: u64, next: &mut u64) {
        for _ in 0..count {
            let directories = self.directories();
            let dir = directories[dice.roll(directories.len() as u64) as usize].0;
            let slot = (dir, dice.pick(&NAMES));
            let there = self.names.get(&slot).copied();
            let files: Vec<u64> =
                self.nodes.iter().filter(|(_, n)| n.kind != Kind::Directory).map(|(n, _)| *n).collect();
            match (dice.roll(12), there) {
                (0..=2, None) => {
                    let kind = dice.pick(&[Kind::File, Kind::File, Kind::File, Kind::Directory, Kind::Symlink]);
                    let content = dice.roll(3) as u8;
                    self.nodes.insert(*next, Node { kind, content, mode: 0o644, comment: false });
                    self.names.insert(slot, *next);
                    *next += 1;
                }
                (3 | 4, None) if !files.is_empty() => drop(self.names.insert(slot, dice.pick(&files))),
                (5, None) => {
                    // Renamed, and not below itself.
                    let names: Vec<_> = self.names.keys().copied().collect();
                    if names.is_empty() {
                        continue;
                    }
                    let from = dice.pick(&names);
                    let node = self.names[&from];
                    if self.nodes[&node].kind != Kind::Directory || !self.is_below(dir, node) {
                        self.names.remove(&from);
                        self.names.insert(slot, node);
                    }
                }
                (6 | 7, Some(_)) => drop(self.names.remove(&slot)),
                (8, Some(node)) => {
                    // Replaced by something of another type or another file.
                    let kind = dice.pick(&[Kind::File, Kind::Symlink, Kind::Directory]);
                    if self.nodes[&node].kind != Kind::Directory || kind != Kind::Directory {
                        self.nodes
                            .insert(*next, Node { kind, content: dice.roll(3) as u8, mode: 0o600, comment: false });
                        self.names.insert(slot, *next);
                        *next += 1;
                    }
                }
                (9 | 10, Some(node)) => {
                    let (content, flip) = (dice.roll(3) as u8, dice.roll(3));
                    let node = self.nodes.get_mut(&node).expect("a name leads to a node");
                    match flip {
                        0 => node.mode ^= 0o010,
                        1 => node.comment = !node.comment,
                        _ => node.content = content,
                    }
                }
                _ => {}
            }
            self.reap();
        }
    }

    fn attrs(&self, node: u64, copy: usize) -> Attrs {
        let Node { kind, content, mode, comment } = self.nodes[&node].clone();
        // Contents 0 and 1 have one stamp; that of a directory says nothing of what is in it.
        let seconds = if kind == Kind::File { 1_000 + i64::from(content / 2) } else { 900 };
        let mtime = Timestamp { seconds, nanos: 5 };
        let items = if comment { vec![(b"user.comment".to_vec(), b"kept".to_vec())] } else { Vec::new() };
        let names = self.names.values().filter(|n| **n == node).count() as u32;
        Attrs {
            mode: kind.mode_bits() | mode,
            uid: 1000,
            gid: 100,
            size_bytes: match kind {
                Kind::File => 10 + u64::from(content / 2),
                Kind::Symlink => 2,
                _ => 4096,
            },
            allocated_bytes: None,
            mtime,
            ctime: Timestamp { seconds: 2_000 + if copy == SAME_CTIME { 0 } else { copy as i64 }, nanos: 0 },
            // As in a link farm: other copies count.
            nlink: if kind == Kind::Directory { 2 } else { names + 1 },
            rdev: 0,
            xattrs: XattrSet::new(items),
            target: if kind == Kind::Symlink { format!("t{content}").into_bytes() } else { Vec::new() },
        }
    }
}

/// In place of a copy's number: its files have ctimes of their own.
const SAME_CTIME: usize = usize::MAX;

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") }
}

/// A copy that is told and not walked.
struct Told<'t> {
    plain: &'t Plain,
    copy: usize,
    rule: Rule,
}

impl Told<'_> {
    fn key(&self, node: u64) -> FileKey {
        // Where inode numbers say nothing every copy has its own.
        let inode = if self.rule.by_inode { node + 10 } else { (node + 10) * 7 + self.copy as u64 };
        FileKey { device: 1, inode, born_ns: 1 }
    }

    fn attrs(&self, node: u64) -> Attrs {
        self.plain.attrs(node, if self.rule.by_inode { SAME_CTIME } else { self.copy })
    }
}

impl Source for Told<'_> {
    fn generations(&self) -> Result<Discovered, source::Error> {
        Ok(Discovered::default())
    }

    fn scan(&self, _: &Found, each: &mut dyn FnMut(Walked) -> ControlFlow<()>) -> Result<ScanStats, source::Error> {
        for (number, (dir, path)) in self.plain.directories().into_iter().enumerate() {
            let names = self.plain.names.range((dir, "")..(dir + 1, ""));
            let entries = names.map(|((_, name), node)| ListedEntry {
                name: EntryName::new(name.as_bytes()).expect("a plain name"),
                key: self.key(*node),
                attrs: self.attrs(*node),
                unreadable: false,
                origin: 0,
            });
            let listing = Listing {
                number: number as u64,
                path: RelPath::parse(path.as_bytes()).expect("a plain path"),
                root: (number == 0).then(|| (self.key(0), self.attrs(0))),
                entries: entries.collect(),
                complete: true,
                findings: Vec::new(),
            };
            if each(Walked::Listing(Box::new(listing))).is_break() {
                break;
            }
        }
        Ok(ScanStats::default())
    }

    fn digest(&self, _: &Path, path: &RelPath) -> std::io::Result<[u8; 32]> {
        let (mut dir, mut node) = (0, 0);
        for name in path.names() {
            let name = std::str::from_utf8(name).expect("a plain name");
            node = *self.plain.names.iter().find(|((d, n), _)| *d == dir && *n == name).expect("it was listed").1;
            dir = node;
        }
        Ok(digest_of(self.plain.nodes[&node].content))
    }
}

fn digest_of(content: u8) -> [u8; 32] {
    [content + 1; 32]
}

fn instant(copy: usize) -> Time {
    Time(FIRST + copy as i64 * DAY)
}

/// A catalog with one source.
struct Catalog {
    folder: tempfile::TempDir,
    source: SourceRow,
    rule: Rule,
}

impl Catalog {
    fn new(rule: Rule) -> Self {
        // In memory where there is such a place: generations are synced, and a disk would be waited for.
        let memory = Path::new("/dev/shm");
        let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        let folder = folder.expect("a temporary folder can be made");
        let path = folder.path().join("catalog.db");
        Writer::create(&path).expect("a new catalog can be made");
        let new = NewSource { name: "homes", kind: SourceKind::Nfs, settings: "{}", rule, added_at: Time(0) };
        Writer::open(&path).expect("it can be written").add_source(&new).expect("a source can be added");
        let source = Reader::open(&path).and_then(|reader| reader.source("homes")).expect("it was added");
        Self { folder, source, rule }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("catalog.db")
    }

    fn writer(&self) -> Writer {
        Writer::open(&self.path()).expect("it can be written")
    }

    fn index(&self, copy: usize, plain: &Plain, again: bool) {
        let found = Found { taken_at: instant(copy), path: PathBuf::from(format!("/copies/{copy}")) };
        let new = NewCopy {
            source: &self.source,
            found: &found,
            store: Path::new("/copies"),
            again,
            settle: std::time::Duration::ZERO,
        };
        let told = Told { plain, copy, rule: self.rule };
        index_copy(&mut self.writer(), &new, &told, &Fixed(NOW), &Void).expect("a copy can be indexed");
    }

    /// Begins to index a copy and is killed.
    fn killed(&self, copy: usize, dice: &mut Dice) {
        let mut writer = self.writer();
        let store = writer.store_at(Path::new("/copies")).expect("a store");
        let at = (store, b"x".as_slice());
        let new = NewGeneration {
            source: &self.source,
            at: instant(copy),
            level: Level::Full,
            copy: at,
            now: NOW,
            again: false,
        };
        let mut generation = writer.begin(&new).expect("a generation can be begun");
        let root = generation.root();
        let mut names = Vec::new();
        generation.list_previous(root, |entry| names.push(entry.name)).expect("it can be listed");
        for name in names.iter().filter(|_| dice.roll(2) == 0) {
            generation.unlink(root, name).expect("a name can be closed");
        }
        let node = generation.new_node().expect("a number");
        let name = EntryName::new(format!("killed{}", dice.roll(3)).as_bytes()).expect("a plain name");
        generation.link(root, &name, node, Kind::File).expect("a name can be opened");
        if dice.roll(2) == 0 {
            let attrs = Plain {
                nodes: BTreeMap::from([(1, Node { kind: Kind::File, content: 0, mode: 0o644, comment: true })]),
                ..Plain::default()
            }
            .attrs(1, copy);
            let row = generation.encode(&attrs, false, None).expect("attributes");
            generation.put(node, None, row, Written::Yes).expect("a version");
        }
        // Rows may be there when the end comes.
        generation.let_go().expect("a chunk can be committed");
        drop(generation);
    }

    fn forget(&self, copy: usize) {
        self.writer().forget(&self.source, instant(copy)).expect("a generation can be forgotten");
    }

    fn rows(&self, sql: &str) -> Vec<String> {
        let mut query =
            Query::open(&self.path(), QueryLimits { time: Duration::from_secs(60) }).expect("it can be read");
        let mut rows = Vec::new();
        let text = |column: &Column| match column {
            Column::Null => "NULL".to_owned(),
            Column::Integer(n) => n.to_string(),
            Column::Real(n) => n.to_string(),
            Column::Text(bytes) | Column::Blob(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        };
        let each = &mut |columns: Vec<Column>| {
            rows.push(columns.iter().map(text).collect::<Vec<_>>().join("|"));
            ControlFlow::Continue(())
        };
        query.run(sql, &mut |_| {}, each).expect("a query");
        rows.sort();
        rows
    }

    /// Returns the public views, all columns but ids and what belongs to the run.
    fn views(&self) -> Vec<(&'static str, Vec<String>)> {
        let files = "SELECT taken_at, path, name, kind, size_bytes, mtime_unix, mtime_ns, mode, uid, gid, nlink, has_xattrs, has_acl, \
                     link_target, unreadable, version_since FROM files";
        let versions =
            "SELECT path, name, since, until, kind, size_bytes, mtime_unix, mode, uid, gid, nlink FROM versions";
        let changes = "SELECT taken_at, what, path, old_path, name, kind, size_bytes FROM changes";
        // Which of several names `lives_as` tells is a matter of ids.
        let deleted =
            "SELECT path, kind, size_bytes, last_seen, deleted_in, restore_path, lives_as IS NULL FROM deleted";
        let generations = "SELECT taken_at, entries, size_bytes, changed, losses, notices FROM generations";
        let xattrs = "SELECT taken_at, path, attribute, value_raw FROM xattrs";
        let all = [
            ("files", files),
            ("versions", versions),
            ("changes", changes),
            ("deleted", deleted),
            ("generations", generations),
            ("xattrs", xattrs),
        ];
        all.into_iter().map(|(name, sql)| (name, self.rows(sql))).collect()
    }

    /// Fails if the catalog contradicts itself.
    fn assert_sound(&self, what: &str) {
        let mut found = Vec::new();
        let reader = Reader::open(&self.path()).expect("it can be read");
        let each = &mut |checking: Checking<'_>| {
            if let Checking::Found(violation) = checking {
                found.push(format!("{violation:?}"));
            }
        };
        reader.check(true, each).expect("it can be checked");
        assert!(found.is_empty(), "{what}: {}", found.join("\n"));
    }

    /// Fails if the tree of a copy is not the one that was told.
    fn assert_tree(&self, copy: usize, plain: &Plain, what: &str) {
        let at = instant(copy).0;
        let found = self.rows(&format!(
            "SELECT path, kind, size_bytes, mtime_unix, mode, nlink, has_xattrs, link_target FROM files WHERE taken_at_unix = {at}"
        ));
        let mut told = Vec::new();
        for (dir, path) in plain.directories() {
            for ((_, name), node) in plain.names.range((dir, "")..(dir + 1, "")) {
                let attrs = plain.attrs(*node, copy);
                let kind = plain.nodes[node].kind;
                let nlink = if kind == Kind::Directory { 2 } else { attrs.nlink - 1 };
                let target = if kind == Kind::Symlink {
                    String::from_utf8(attrs.target.clone()).unwrap()
                } else {
                    "NULL".into()
                };
                let word = match kind {
                    Kind::Directory => "directory",
                    Kind::Symlink => "symlink",
                    _ => "file",
                };
                told.push(format!(
                    "{}|{word}|{}|{}|{:04o}|{nlink}|{}|{target}",
                    join(&path, name),
                    attrs.size_bytes,
                    attrs.mtime.seconds,
                    attrs.mode & 0o7777,
                    i32::from(!attrs.xattrs.is_empty()),
                ));
            }
        }
        told.sort();
        assert_eq!(found, told, "{what}: the tree of copy {copy}");
        if self.rule.key == Key::Digest {
            self.assert_digests(copy, plain, what);
        }
    }

    fn assert_digests(&self, copy: usize, plain: &Plain, what: &str) {
        let at = instant(copy).0;
        let found = self.rows(&format!(
            "SELECT f.path, hex(d.blake3) FROM files f JOIN inode i ON i.node = f.node AND i.born = (SELECT max(v.born) FROM inode v \
             WHERE v.node = f.node AND v.born <= {at}) LEFT JOIN digest d ON d.node = i.node AND d.bytes = i.bytes \
             WHERE f.taken_at_unix = {at} AND f.kind = 'file'"
        ));
        let mut told = Vec::new();
        for (dir, path) in plain.directories() {
            for ((_, name), node) in plain.names.range((dir, "")..(dir + 1, "")) {
                if plain.nodes[node].kind == Kind::File {
                    let digest: String =
                        digest_of(plain.nodes[node].content).iter().map(|b| format!("{b:02X}")).collect();
                    told.push(format!("{}|{digest}", join(&path, name)));
                }
            }
        }
        told.sort();
        assert_eq!(found, told, "{what}: the digests of copy {copy}");
    }
}

/// Plays one history; returns how many states were compared.
fn play(seed: u64, rule: Rule) -> usize {
    let mut dice = Dice(seed.wrapping_mul(0x517c_c1b7_2722_0a95));
    let mut next = 1;
    let mut plain = Plain::new();
    let mut copies: Vec<Plain> = (0..COPIES)
        .map(|n| {
            let count = if n == 0 { 2 + dice.roll(10) } else { dice.roll(5) };
            plain.mutate(&mut dice, count, &mut next);
            plain.clone()
        })
        .collect();
    let catalog = Catalog::new(rule);
    let (mut there, mut log, mut states) = ([false; COPIES], Vec::new(), 0);
    for _ in 0..STEPS {
        let copy = dice.roll(COPIES as u64) as usize;
        match (there[copy], dice.roll(8)) {
            (false, 0) => {
                catalog.killed(copy, &mut dice);
                log.push(format!("kill {copy}"));
            }
            (false, _) => {
                catalog.index(copy, &copies[copy], false);
                there[copy] = true;
                log.push(format!("index {copy}"));
            }
            (true, 0..=3) => {
                catalog.forget(copy);
                there[copy] = false;
                log.push(format!("forget {copy}"));
            }
            (true, _) => {
                let count = dice.roll(3);
                copies[copy].mutate(&mut dice, count, &mut next);
                catalog.index(copy, &copies[copy], true);
                log.push(format!("again {copy}"));
            }
        }
        let what = format!("seed {seed}, {rule:?}, {}", log.join(", "));
        catalog.assert_sound(&what);
        let alone = Catalog::new(rule);
        for (n, plain) in copies.iter().enumerate().filter(|(n, _)| there[*n]) {
            alone.index(n, plain, false);
            catalog.assert_tree(n, plain, &what);
        }
        for ((name, found), (_, expected)) in catalog.views().into_iter().zip(alone.views()) {
            assert_eq!(found, expected, "{what}: the view {name} differs from that of indexing what is left alone");
        }
        states += 1;
    }
    states
}

fn play_all(rule: Rule) {
    if let Some(seed) = std::env::var("ASOF_SEED").ok().and_then(|seed| seed.parse().ok()) {
        play(seed, rule);
        return;
    }
    let number = |name, default| std::env::var(name).ok().and_then(|number| number.parse().ok()).unwrap_or(default);
    let (first, count): (u64, u64) = (number("ASOF_LAW_FIRST", 0), number("ASOF_LAW", 12));
    let states: usize = (first..first + count).map(|seed| play(seed, rule)).sum();
    println!("{rule:?}: {count} histories from {first} on, {states} states");
}

#[test]
fn copies_by_path_equal_those_that_are_left_indexed_alone() {
    play_all(Rule::COPIES);
}

#[test]
fn snapshots_by_inode_number_equal_those_that_are_left_indexed_alone() {
    play_all(Rule::SNAPSHOTS);
}

#[test]
fn copies_with_digests_equal_those_that_are_left_indexed_alone() {
    play_all(Rule { key: Key::Digest, by_inode: false });
}
