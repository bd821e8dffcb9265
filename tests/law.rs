//! The law of the house: indexing on top of any history equals indexing alone.
//!
//! Random histories of shares, told in memory: copies are indexed in any order, forgotten (the newest, the oldest, one in between),
//! indexed again with what they hold now, and runs are killed half way and followed by another input. After every step the
//! public views must be those of a catalog in which the copies that are left were indexed alone, in the order of time; and every tree
//! must be the one that was told. Some copies have directories that cannot be listed while they are indexed. Now and then the catalog is
//! made again from its manifests, and an older one that was made so goes on: both must say all that it says. `ASOF_SEED=N` plays one history, `ASOF_LAW=N` plays N of each kind, from
//! `ASOF_LAW_FIRST` on (scripts/soak).

#[path = "common/catalogs.rs"]
mod catalogs;

use asof::catalog::{Checking, LockWait, NewGeneration, NewSource, Reader, SourceRow, Writer, Written};
use asof::clock::Fixed;
use asof::index::{NewCopy, index_copy};
use asof::jobs::manifests::Manifests;
use asof::jobs::rebuild::{Wish, rebuild};
use asof::model::{
    Attrs, EntryName, FileKey, Finding, FindingKind, Key, Kind, Level, ListedEntry, Listing, RelPath, Rule, SourceKind,
    Time, Timestamp, Walked, XattrSet,
};
use asof::monitor::Void;
use asof::source::{self, Discovered, Found, ScanStats, Source};
use catalogs::{asked, differences, differences_in_history};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// 2026-01-01T00:00:00Z; copy `n` is of `n` days later.
const FIRST: i64 = 1_767_225_600;
const DAY: i64 = 86_400;
const NOW: Time = Time(FIRST + 400 * DAY);
/// Copies of one history.
const COPIES: usize = 6;
const STEPS: usize = 14;
/// Steps between two catalogs that are made again.
const REBUILD_EVERY: usize = 7;

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

/// A whole tree: names (with the directory's node; 0 is the root) and nodes; and what a walk of it does not see.
#[derive(Clone, Debug, Default)]
struct Plain {
    names: BTreeMap<(u64, &'static str), u64>,
    nodes: BTreeMap<u64, Node>,
    /// Directories that cannot be listed, each with the names that the walk meets all the same.
    closed: BTreeMap<u64, Vec<&'static str>>,
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

    /// Returns what a walk sees of it: what lies in a closed directory is not there, but for what is met all the same.
    fn seen(&self) -> Self {
        let mut seen = self.clone();
        seen.names.retain(|(dir, name), _| self.closed.get(dir).is_none_or(|met| met.contains(name)));
        seen.reap();
        seen
    }

    /// Closes directories, or opens them again.
    fn close_some(&mut self, dice: &mut Dice) {
        self.closed.clear();
        if dice.roll(2) == 0 {
            return;
        }
        for _ in 0..1 + dice.roll(2) {
            let dirs = self.directories();
            let dir = dirs[dice.roll(dirs.len() as u64) as usize].0;
            let is_blind = dice.roll(3) != 0;
            let met = NAMES.iter().copied().filter(|_| !is_blind && dice.roll(2) == 0).collect();
            self.closed.insert(dir, met);
        }
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
        let Self { nodes, closed, .. } = self;
        closed.retain(|dir, _| nodes.contains_key(dir));
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
        let seen = self.plain.seen();
        for (number, (dir, path)) in seen.directories().into_iter().enumerate() {
            let names = seen.names.range((dir, "")..(dir + 1, ""));
            let path = RelPath::parse(path.as_bytes()).expect("a plain path");
            let complete = !seen.closed.contains_key(&dir);
            let finding = Finding { kind: FindingKind::Unreadable, path: path.clone(), detail: "listing: shut".into() };
            let entries = names.map(|((_, name), node)| ListedEntry {
                name: EntryName::new(name.as_bytes()).expect("a plain name"),
                key: self.key(*node),
                attrs: self.attrs(*node),
                unreadable: false,
                origin: 0,
            });
            let listing = Listing {
                number: number as u64,
                path,
                root: (number == 0).then(|| (self.key(0), self.attrs(0))),
                entries: entries.collect(),
                complete,
                findings: if complete { Vec::new() } else { vec![finding] },
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
        let mut writer = Writer::open(&self.path()).expect("it can be written");
        let manifests = Manifests::new(&self.path(), Box::new(Fixed(NOW)), |lacking| panic!("{lacking}"));
        writer.keep_manifests(Box::new(manifests));
        writer
    }

    /// Fails if what is made again from the manifests, or was and goes on, says anything else.
    fn assert_rebuilt(&self, what: &str) {
        let (path, wait) = (self.path(), LockWait::refuse("law"));
        let [new, older] = ["new.db", "older.db"].map(|name| self.folder.path().join(name));
        for into in [&new, &older] {
            let wish = Wish { catalog: &path, into, folders: &[], wait: &wait, busy: |_| (), now: NOW };
            let report = rebuild(&wish, &Void).expect("it can be made again");
            assert!(!report.is_lacking(), "{what}: {report:?}");
            // A run that was killed used up numbers, and counted names that died with it.
            let but = |line: &String| !line.starts_with("counters: ") && !line.starts_with("directory_history: ");
            let found: Vec<String> = differences(&path, into).into_iter().filter(but).collect();
            assert!(found.is_empty(), "{what}: {into:?}\n{}", found.join("\n"));
        }
        for name in ["new.db", "new.db-manifests"].map(|name| self.folder.path().join(name)) {
            let _ = std::fs::remove_file(&name).or_else(|_| std::fs::remove_dir_all(&name));
        }
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
        asked(&self.path(), sql)
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

    /// Fails if a generation is not what was told.
    fn assert_state(&self, copy: usize, told: &State, what: &str) {
        let at = instant(copy).0;
        let digest = "(SELECT hex(d.blake3) FROM inode i JOIN digest d ON d.node = i.node AND d.bytes = i.bytes \
                      WHERE i.node = f.node AND i.born <= f.taken_at_unix ORDER BY i.born DESC LIMIT 1)";
        let found = self.rows(&format!(
            "SELECT path, unknown, kind, size_bytes, mtime_unix, mode, nlink, has_xattrs, link_target, {digest} \
             FROM files f WHERE taken_at_unix = {at}"
        ));
        let mut expected: Vec<String> = told
            .names
            .iter()
            .map(|(slot, name)| format!("{}|{}|{}", told.path(slot), i32::from(name.is_kept), name.is))
            .collect();
        expected.sort();
        assert_eq!(found, expected, "{what}: the tree of copy {copy}");
    }
}

/// Who a node is: its number where copies keep that, else the path of the first of its names that was seen, with the type.
type Who = String;

/// A name of a generation.
#[derive(Clone, Debug)]
struct Name {
    who: Who,
    is_directory: bool,
    /// Its attributes, as `files` tells them.
    is: String,
    is_kept: bool,
}

/// What a generation is: what its copy shows, and what it keeps of the one before. The naive model.
#[derive(Clone, Debug, Default)]
struct State {
    /// By directory and name.
    names: BTreeMap<(Who, &'static str), Name>,
}

impl State {
    fn path(&self, (dir, name): &(Who, &'static str)) -> String {
        let above = self.names.iter().find(|(_, above)| above.is_directory && above.who == *dir);
        above.map_or_else(|| (*name).to_owned(), |(slot, _)| join(&self.path(slot), name))
    }

    /// Returns what a copy is over the generation before it.
    fn of(plain: &Plain, copy: usize, rule: Rule, before: &Self) -> Self {
        let seen = plain.seen();
        let mut state = Self::default();
        let mut doubtful = Vec::new();
        let mut known: BTreeMap<u64, Who> = BTreeMap::new();
        for (dir, path) in seen.directories() {
            let mut who = |node: u64, path: &str| {
                let by_path = || format!("{path}:{:?}", seen.nodes[&node].kind);
                known.entry(node).or_insert_with(|| if rule.by_inode { node.to_string() } else { by_path() }).clone()
            };
            let here = who(dir, &path);
            if seen.closed.contains_key(&dir) {
                doubtful.push(here.clone());
            }
            for ((_, name), node) in seen.names.range((dir, "")..(dir + 1, "")) {
                let is_directory = seen.nodes[node].kind == Kind::Directory;
                let name_of = Name {
                    who: who(*node, &join(&path, name)),
                    is_directory,
                    is: seen.described(*node, copy, rule),
                    is_kept: false,
                };
                state.names.insert((here.clone(), name), name_of);
            }
        }
        let walked: BTreeMap<Who, String> =
            state.names.values().map(|name| (name.who.clone(), name.is.clone())).collect();
        while let Some(dir) = doubtful.pop() {
            for (slot, name) in before.names.iter().filter(|((above, _), _)| *above == dir) {
                if state.names.contains_key(slot) || name.is_directory && walked.contains_key(&name.who) {
                    continue;
                }
                // A node that was seen under another name is what was seen.
                let is = walked.get(&name.who).unwrap_or(&name.is).clone();
                state.names.insert(slot.clone(), Name { is_kept: true, is, ..name.clone() });
                if name.is_directory {
                    doubtful.push(name.who.clone());
                }
            }
        }
        state
    }
}

impl Plain {
    /// Returns what `files` tells of a node that this copy shows.
    fn described(&self, node: u64, copy: usize, rule: Rule) -> String {
        let attrs = self.attrs(node, copy);
        let Node { kind, content, .. } = self.nodes[&node];
        let (word, nlink) = match kind {
            Kind::Directory => ("directory", 2),
            Kind::Symlink => ("symlink", attrs.nlink - 1),
            _ => ("file", attrs.nlink - 1),
        };
        let target = String::from_utf8(attrs.target).expect("a plain target");
        let digest: String = digest_of(content).iter().map(|b| format!("{b:02X}")).collect();
        format!(
            "{word}|{}|{}|{:04o}|{nlink}|{}|{}|{}",
            attrs.size_bytes,
            attrs.mtime.seconds,
            attrs.mode & 0o7777,
            i32::from(!attrs.xattrs.is_empty()),
            if kind == Kind::Symlink { &target } else { "NULL" },
            if kind == Kind::File && rule.key == Key::Digest { &digest } else { "NULL" },
        )
    }
}

/// Plays one history; returns how many states were compared.
fn play(seed: u64, rule: Rule, has_doubts: bool) -> usize {
    let mut dice = Dice(seed.wrapping_mul(0x517c_c1b7_2722_0a95));
    let mut next = 1;
    let mut plain = Plain::new();
    let mut copies: Vec<Plain> = (0..COPIES)
        .map(|n| {
            let count = if n == 0 { 2 + dice.roll(10) } else { dice.roll(5) };
            plain.mutate(&mut dice, count, &mut next);
            if has_doubts {
                plain.close_some(&mut dice);
            }
            plain.clone()
        })
        .collect();
    let catalog = Catalog::new(rule);
    let (mut there, mut log, mut states) = ([false; COPIES], Vec::new(), 0);
    for step in 1..=STEPS {
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
                if has_doubts && dice.roll(2) == 0 {
                    copies[copy].close_some(&mut dice);
                }
                catalog.index(copy, &copies[copy], true);
                log.push(format!("again {copy}"));
            }
        }
        let what = format!("seed {seed}, {rule:?}, {}", log.join(", "));
        catalog.assert_sound(&what);
        let alone = Catalog::new(rule);
        let mut state = State::default();
        for (n, plain) in copies.iter().enumerate().filter(|(n, _)| there[*n]) {
            alone.index(n, plain, false);
            state = State::of(plain, n, rule, &state);
            catalog.assert_state(n, &state, &what);
        }
        let differences = differences_in_history(&catalog.path(), &alone.path());
        assert!(
            differences.is_empty(),
            "{what}: indexing what is left alone says otherwise: {}",
            differences.join("\n")
        );
        if seed.is_multiple_of(4)
            && step.is_multiple_of(REBUILD_EVERY)
            && log.iter().any(|line| line.starts_with("index"))
        {
            catalog.assert_rebuilt(&what);
        }
        states += 1;
    }
    states
}

fn play_all(rule: Rule, has_doubts: bool) {
    if let Some(seed) = std::env::var("ASOF_SEED").ok().and_then(|seed| seed.parse().ok()) {
        play(seed, rule, has_doubts);
        return;
    }
    let number = |name, default| std::env::var(name).ok().and_then(|number| number.parse().ok()).unwrap_or(default);
    let (first, count): (u64, u64) = (number("ASOF_LAW_FIRST", 0), number("ASOF_LAW", if has_doubts { 6 } else { 12 }));
    let states: usize = (first..first + count).map(|seed| play(seed, rule, has_doubts)).sum();
    let doubts = if has_doubts { " with doubts" } else { "" };
    println!("{rule:?}{doubts}: {count} histories from {first} on, {states} states");
}

#[test]
fn names_in_a_directory_that_cannot_be_listed_are_those_of_the_generation_before_whatever_comes_between_later() {
    let dir = Node { kind: Kind::Directory, content: 0, mode: 0o755, comment: false };
    let file = Node { kind: Kind::File, content: 0, mode: 0o644, comment: false };
    let copy = |name, is_closed: bool| {
        let mut plain = Plain::new();
        plain.nodes.extend([(1, dir.clone()), (2, file.clone())]);
        plain.names.extend([((0, "d"), 1), ((1, name), 2)]);
        plain.closed.extend(is_closed.then_some((1, Vec::new())));
        plain
    };
    let catalog = Catalog::new(Rule::COPIES);
    let shown = || catalog.rows("SELECT taken_at_unix / 86400 - 20454, path, unknown FROM files WHERE path <> 'd'");
    catalog.index(0, &copy("a", false), false);
    catalog.index(3, &copy("c", true), false);
    catalog.index(4, &copy("c", true), false);
    assert_eq!(shown(), ["0|d/a|0", "3|d/a|1", "4|d/a|1"]);
    catalog.index(2, &copy("b", false), false);
    assert_eq!(shown(), ["0|d/a|0", "2|d/b|0", "3|d/b|1", "4|d/b|1"]);
    catalog.index(2, &copy("a", true), true);
    assert_eq!(shown(), ["0|d/a|0", "2|d/a|1", "3|d/a|1", "4|d/a|1"]);
    catalog.index(3, &copy("c", false), true);
    assert_eq!(shown(), ["0|d/a|0", "2|d/a|1", "3|d/c|0", "4|d/c|1"]);
    catalog.forget(0);
    assert_eq!(shown(), ["3|d/c|0", "4|d/c|1"]);
    catalog.forget(3);
    assert_eq!(shown(), [""; 0]);
    catalog.assert_sound("after all");
}

#[test]
fn copies_by_path_equal_those_that_are_left_indexed_alone() {
    play_all(Rule::COPIES, false);
}

#[test]
fn snapshots_by_inode_number_equal_those_that_are_left_indexed_alone() {
    play_all(Rule::SNAPSHOTS, false);
}

#[test]
fn copies_with_digests_equal_those_that_are_left_indexed_alone() {
    play_all(Rule { key: Key::Digest, by_inode: false }, false);
}

#[test]
fn copies_by_path_with_directories_that_cannot_be_listed_equal_those_that_are_left_indexed_alone() {
    play_all(Rule::COPIES, true);
}

#[test]
fn snapshots_by_inode_number_with_such_directories_equal_those_that_are_left_indexed_alone() {
    play_all(Rule::SNAPSHOTS, true);
}

#[test]
fn copies_with_digests_and_such_directories_equal_those_that_are_left_indexed_alone() {
    play_all(Rule { key: Key::Digest, by_inode: false }, true);
}
