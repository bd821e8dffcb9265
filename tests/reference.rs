//! The catalog against a naive model: random histories, kept once by asof and once as plain trees.
//!
//! Every generation must read back equal, whatever the order in which the copies were indexed: names, attributes, link
//! counts, hard links, targets, extended attributes, and the bytes where there is a disk. What the catalog says of the
//! steps between generations (table `change`, the public views) must be what the plain trees say.
//!
//! Histories in memory are told by a [`Script`] in place of a disk, so that inode numbers can be chosen and thousands of
//! steps take seconds; histories on a disk are real copies, independent ones and link farms. A history is made
//! of its seed alone; a failure names the seed, and `ASOF_SEED=N` runs that one only.

mod common;

use asof::catalog::{Column, Dates, GenerationWriter, NewSource, Query, QueryLimits, Reader, SourceRow, Writer};
use asof::clock::Fixed;
use asof::index::{FileToKeep, Keep, KeepError, Kept, NewCopy, Taken, Told, index_copy, index_taken};
use asof::model::{
    Attrs, Changes, EntryName, FileKey, Kind, Level, ListedEntry, Listing, NodeState, RelPath, Rule, Scan, SourceKind,
    Time, Timestamp, Walked, XattrSet, escape_bytes,
};
use asof::monitor::Void;
use asof::source::{self, Discovered, FileStamp, Found, NoDigest, OpenCopy, ScanStats, Source, TopDirectory};
use asof::view::{Ino, Looked, Tree};
use common::dice::Dice;
use common::{NOW, Picture, PlainTree, Shown, World, assert_same, joined, listing, picture_of_copy, picture_of_view};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// 2026-01-01T00:00:00Z; generation `n` of a history in memory is taken `n` days later.
const FIRST: i64 = 1_767_225_600;
const DAY: i64 = 86_400;

/// Names that histories use: few, so that they meet often, and odd ones among them.
const NAMES: [&[u8]; 14] = [
    b"a",
    b"b",
    b"c",
    b"d",
    b"e",
    b"ab",
    b"a.b",
    b"\xff\xfe",
    b"new\nline",
    b"back\\slash",
    "\u{e9}t\u{e9}".as_bytes(),
    b" ",
    b"-rf",
    b"...",
];

/// A file, directory or other node of a plain tree.
#[derive(Clone, Debug)]
struct PlainNode {
    attrs: Attrs,
    /// What a directory holds: number of each name's node.
    children: BTreeMap<Vec<u8>, u64>,
}

/// The number of the root of every plain tree.
const ROOT: u64 = 2;

/// A tree as a file system would hold it: names, and nodes by number.
#[derive(Clone, Debug)]
struct Plain {
    nodes: BTreeMap<u64, PlainNode>,
}

impl Plain {
    /// Returns every path with its node's number, directories before what they hold; the root's path is empty.
    fn paths(&self) -> Vec<(Vec<u8>, u64)> {
        let mut paths = vec![(Vec::new(), ROOT)];
        let mut next = 0;
        while next < paths.len() {
            let (path, number) = paths[next].clone();
            paths.extend(self.nodes[&number].children.iter().map(|(name, child)| (joined(&path, name), *child)));
            next += 1;
        }
        paths
    }

    fn picture(&self, with_ctime: bool) -> Picture {
        let paths = self.paths();
        let mut firsts: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
        for (path, number) in &paths {
            let first = firsts.entry(*number).or_insert_with(|| path.clone());
            if path < first {
                first.clone_from(path);
            }
        }
        let shown = |number: u64| {
            let attrs = &self.nodes[&number].attrs;
            Shown {
                kind: attrs.kind(),
                perm: attrs.mode & 0o7777,
                uid: attrs.uid,
                gid: attrs.gid,
                size_bytes: attrs.size_bytes,
                mtime: (attrs.mtime.seconds, attrs.mtime.nanos),
                ctime: with_ctime.then_some((attrs.ctime.seconds, attrs.ctime.nanos)),
                nlink: attrs.nlink,
                rdev: attrs.rdev,
                target: attrs.target.clone(),
                xattrs: attrs.xattrs.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect(),
                same_file_as: firsts[&number].clone(),
                bytes: None,
            }
        };
        paths.into_iter().map(|(path, number)| (path, shown(number))).collect()
    }

    fn directories(&self) -> Vec<u64> {
        self.nodes.iter().filter(|(_, node)| node.attrs.kind() == Kind::Directory).map(|(number, _)| *number).collect()
    }

    /// Returns every name: directory, name, node.
    fn names(&self) -> Vec<(u64, Vec<u8>, u64)> {
        let of = |(dir, node): (&u64, &PlainNode)| {
            node.children.iter().map(|(name, child)| (*dir, name.clone(), *child)).collect::<Vec<_>>()
        };
        self.nodes.iter().flat_map(of).collect()
    }

    fn is_below(&self, dir: u64, top: u64) -> bool {
        dir == top || self.nodes[&top].children.values().any(|child| self.is_below(dir, *child))
    }

    /// Drops what has no name any more and counts the names of the rest.
    fn settle(&mut self) {
        let paths = self.paths();
        let mut names: BTreeMap<u64, u32> = BTreeMap::new();
        paths.iter().for_each(|(_, number)| *names.entry(*number).or_default() += 1);
        self.nodes.retain(|number, _| names.contains_key(number));
        let kinds: BTreeMap<u64, Kind> = self.nodes.iter().map(|(number, node)| (*number, node.attrs.kind())).collect();
        for (number, node) in &mut self.nodes {
            let below = node.children.values().filter(|child| kinds[child] == Kind::Directory).count() as u32;
            node.attrs.nlink = if node.attrs.kind() == Kind::Directory { 2 + below } else { names[number] };
        }
    }
}

/// What kind of history to make.
#[derive(Clone, Copy, Debug)]
struct Recipe {
    seed: u64,
    generations: usize,
    /// Changes before the first generation.
    changes_first: usize,
    /// At most so many changes before each other one.
    changes_max: usize,
    /// Whether copies keep inode numbers.
    inode_identity: bool,
    /// Whether the source tells what changed (after the first generation), and is not walked.
    is_told: bool,
}

impl Recipe {
    /// Tells whether the file system of the copies knows birth times; if not, a number can come again.
    fn tells_birth(self) -> bool {
        self.seed % 2 == 1
    }
}

/// A plain tree under change.
struct Maker {
    dice: Dice,
    tree: Plain,
    past: Vec<Plain>,
    next_number: u64,
    ticks: i64,
    /// Whether numbers of what is gone are given out again, as file systems do.
    reuses_numbers: bool,
}

impl Maker {
    fn history(recipe: Recipe) -> Vec<Plain> {
        let mut maker = Self {
            dice: Dice::new(recipe.seed),
            tree: Plain { nodes: BTreeMap::new() },
            past: Vec::new(),
            next_number: ROOT + 1,
            ticks: 0,
            reuses_numbers: recipe.inode_identity && !recipe.tells_birth(),
        };
        let attrs = maker.attrs(Kind::Directory);
        maker.tree.nodes.insert(ROOT, PlainNode { attrs, children: BTreeMap::new() });
        for generation in 0..recipe.generations {
            let changes = if generation == 0 { recipe.changes_first } else { maker.dice.roll(recipe.changes_max + 1) };
            for _ in 0..changes {
                maker.change();
                maker.tree.settle();
            }
            maker.tree.settle();
            maker.past.push(maker.tree.clone());
        }
        maker.past
    }

    fn now(&mut self) -> Timestamp {
        self.ticks += 1;
        // Every tenth file is older than 1970.
        let seconds = if self.dice.roll(10) == 0 { -1_000_000 } else { 1_700_000_000 } + self.ticks;
        Timestamp { seconds, nanos: (self.ticks * 7_919_333 % 1_000_000_000) as u32 }
    }

    fn attrs(&mut self, kind: Kind) -> Attrs {
        let now = self.now();
        let target =
            if kind == Kind::Symlink { vec![b"../x".to_vec(), b"/etc/\xffpasswd".to_vec()] } else { vec![vec![]] };
        let target = target[self.dice.roll(target.len())].clone();
        let size_bytes = match kind {
            Kind::File => self.dice.roll(3) as u64 * 5000,
            Kind::Symlink => target.len() as u64,
            Kind::Directory => 4096,
            _ => 0,
        };
        let is_device = matches!(kind, Kind::CharDevice | Kind::BlockDevice);
        Attrs {
            mode: kind.mode_bits() | [0o755, 0o4711, 0o1777][self.dice.roll(3)],
            uid: [0, 1000, u32::MAX - 1][self.dice.roll(3)],
            gid: [0, 1000][self.dice.roll(2)],
            size_bytes,
            allocated_bytes: None,
            mtime: now,
            ctime: now,
            nlink: 1,
            rdev: if is_device { [0x0103, 0x8000_0010_0003][self.dice.roll(2)] } else { 0 },
            xattrs: if self.dice.roll(6) == 0 { self.xattrs() } else { XattrSet::default() },
            target,
        }
    }

    fn xattrs(&mut self) -> XattrSet {
        let items = [
            (b"user.comment".to_vec(), b"kept".to_vec()),
            (b"user.\xff".to_vec(), vec![0, 255, 10]),
            (b"system.posix_acl_access".to_vec(), vec![2, 0, 0, 0]),
            (b"trusted.empty".to_vec(), Vec::new()),
        ];
        let count = self.dice.roll(items.len() + 1);
        XattrSet::new(items.into_iter().take(count).collect())
    }

    fn a_name(&mut self) -> Vec<u8> {
        let sides = if self.dice.roll(4) == 0 { NAMES.len() } else { 4 };
        NAMES[self.dice.roll(sides)].to_vec()
    }

    fn a_directory(&mut self) -> u64 {
        let directories = self.tree.directories();
        self.dice.pick(&directories).expect("the root is one")
    }

    fn stamp_directory(&mut self, dir: u64) {
        let now = self.now();
        let attrs = &mut self.tree.nodes.get_mut(&dir).expect("it is a directory of the tree").attrs;
        (attrs.mtime, attrs.ctime) = (now, now);
    }

    fn put(&mut self, dir: u64, name: Vec<u8>, node: u64) {
        self.tree.nodes.get_mut(&dir).expect("it is a directory of the tree").children.insert(name, node);
        self.stamp_directory(dir);
    }

    fn take(&mut self, dir: u64, name: &[u8]) {
        self.tree.nodes.get_mut(&dir).expect("it is a directory of the tree").children.remove(name);
        self.stamp_directory(dir);
    }

    fn create(&mut self, dir: u64, name: Vec<u8>, kind: Kind) {
        let attrs = self.attrs(kind);
        let number = self.a_number();
        self.tree.nodes.insert(number, PlainNode { attrs, children: BTreeMap::new() });
        self.put(dir, name, number);
    }

    fn a_number(&mut self) -> u64 {
        if self.reuses_numbers && self.dice.roll(2) == 0 {
            let free: Vec<u64> = (ROOT + 1..self.next_number).filter(|n| !self.tree.nodes.contains_key(n)).collect();
            if let Some(number) = self.dice.pick(&free) {
                return number;
            }
        }
        self.next_number += 1;
        self.next_number - 1
    }

    /// Changes one thing, or nothing where the dice ask for what cannot be.
    fn change(&mut self) {
        const KINDS: [Kind; 10] = [
            Kind::File,
            Kind::File,
            Kind::File,
            Kind::Directory,
            Kind::Directory,
            Kind::Symlink,
            Kind::Fifo,
            Kind::Socket,
            Kind::CharDevice,
            Kind::BlockDevice,
        ];
        let names = self.tree.names();
        let any = self.dice.pick(&names);
        let files: Vec<_> =
            names.iter().filter(|(_, _, n)| self.tree.nodes[n].attrs.kind() != Kind::Directory).cloned().collect();
        let file = self.dice.pick(&files);
        match (self.dice.roll(20), any, file) {
            // Also over what has the name: the type of a name changes.
            (0..5, ..) | (_, None, _) => {
                let (dir, name) = (self.a_directory(), self.a_name());
                let kind = KINDS[self.dice.roll(KINDS.len())];
                self.create(dir, name, kind);
            }
            (5..8, Some((_, _, node)), _) => self.alter(node),
            (8..10, Some((dir, name, _)), _) => self.take(dir, &name),
            (10..13, Some((dir, name, node)), _) => {
                let (to, to_name) = (self.a_directory(), self.a_name());
                if !self.tree.is_below(to, node) {
                    self.take(dir, &name);
                    self.put(to, to_name, node);
                    let now = self.now();
                    self.tree.nodes.get_mut(&node).expect("it has a name").attrs.ctime = now;
                }
            }
            (13..15, _, Some((_, _, node))) => {
                let (to, to_name) = (self.a_directory(), self.a_name());
                self.put(to, to_name, node);
            }
            // A name of a file gets a file of its own that looks the same, as a link is broken.
            (15, _, Some((dir, name, node))) => {
                let number = self.a_number();
                let copy = self.tree.nodes[&node].clone();
                self.tree.nodes.insert(number, copy);
                self.put(dir, name, number);
            }
            (16, _, Some(_)) => {
                let two = [self.dice.pick(&files), self.dice.pick(&files)];
                if let [Some((dir, name, node)), Some((other_dir, other_name, other))] = two {
                    self.put(dir, name, other);
                    self.put(other_dir, other_name, node);
                }
            }
            (17.., ..) => self.bring_back(),
            _ => {}
        }
    }

    fn alter(&mut self, node: u64) {
        let kind = self.tree.nodes[&node].attrs.kind();
        let fresh = self.attrs(kind);
        let which = self.dice.roll(5);
        let xattrs = self.xattrs();
        let attrs = &mut self.tree.nodes.get_mut(&node).expect("it has a name").attrs;
        attrs.ctime = fresh.ctime;
        match which {
            0 => (attrs.mode, attrs.uid, attrs.gid) = (fresh.mode, fresh.uid, fresh.gid),
            1 => attrs.xattrs = xattrs,
            2 => attrs.mtime = fresh.mtime,
            3 if kind == Kind::File => (attrs.size_bytes, attrs.mtime) = (fresh.size_bytes + 1, fresh.mtime),
            3 if kind == Kind::Directory => attrs.size_bytes += 4096,
            _ => {}
        }
    }

    /// Puts a file back where it was in an earlier generation and as it was then, number and times included.
    fn bring_back(&mut self) {
        let Some(then) = self.dice.pick(&self.past) else { return };
        let Some((dir, name, number)) = self.dice.pick(&then.names()) else { return };
        let node = then.nodes[&number].clone();
        let kind_now = self.tree.nodes.get(&dir).map(|n| n.attrs.kind());
        let is_taken = self.tree.nodes.contains_key(&number);
        if kind_now == Some(Kind::Directory) && !is_taken && node.attrs.kind() != Kind::Directory {
            self.tree.nodes.insert(number, node);
            self.put(dir, name, number);
        }
    }
}

/// A source whose copies are plain trees in memory.
struct Script {
    copies: BTreeMap<Time, Plain>,
    recipe: Recipe,
}

impl Script {
    /// Returns who a node is inside the copy of `at`: the same in all copies where they keep inode numbers, and a number
    /// of this copy only where they do not.
    fn key(&self, at: Time, number: u64) -> FileKey {
        if self.recipe.inode_identity {
            let born_ns = if self.recipe.tells_birth() { number as i64 * 1_000 } else { 0 };
            return FileKey { device: at.0 as u64, inode: number, born_ns };
        }
        FileKey { device: 7, inode: number ^ ((at.0 / DAY) as u64).wrapping_mul(0x5555), born_ns: at.0 }
    }

    /// Returns the link count that the file system tells: in a link farm it counts names of other copies too.
    fn told_nlink(&self, attrs: &Attrs) -> u32 {
        let is_farm = !self.recipe.inode_identity && self.recipe.seed.is_multiple_of(3);
        if is_farm && attrs.kind() != Kind::Directory { attrs.nlink + 5 } else { attrs.nlink }
    }
}

impl Source for Script {
    fn generations(&self) -> Result<Discovered, source::Error> {
        Ok(Discovered::default())
    }

    fn open(&self, found: &Found) -> Result<Box<dyn OpenCopy + '_>, source::Error> {
        Ok(Box::new(OpenScript { script: self, taken_at: found.taken_at }))
    }
}

/// One copy of a script.
struct OpenScript<'s> {
    script: &'s Script,
    taken_at: Time,
}

impl OpenCopy for OpenScript<'_> {
    fn top(&self) -> TopDirectory {
        TopDirectory::default()
    }

    fn scan(&self, each: &mut dyn FnMut(Walked) -> ControlFlow<()>) -> Result<ScanStats, source::Error> {
        let Self { script, taken_at } = *self;
        let tree = &script.copies[&taken_at];
        let told = |number: u64| {
            let attrs = tree.nodes[&number].attrs.clone();
            (script.key(taken_at, number), Attrs { nlink: script.told_nlink(&attrs), ..attrs })
        };
        let directories = tree.paths().into_iter().filter(|(_, n)| tree.nodes[n].attrs.kind() == Kind::Directory);
        for (place, (path, number)) in directories.enumerate() {
            let entry = |(name, child): (&Vec<u8>, &u64)| {
                let (key, attrs) = told(*child);
                ListedEntry {
                    name: EntryName::new(name).expect("a test name is one"),
                    key,
                    attrs,
                    unreadable: false,
                    origin: 0,
                }
            };
            let listing = Listing {
                number: place as u64,
                path: RelPath::parse(&path).expect("a test path is one"),
                root: (number == ROOT).then(|| told(ROOT)),
                entries: tree.nodes[&number].children.iter().map(entry).collect(),
                complete: true,
                findings: Vec::new(),
            };
            if each(Walked::Listing(Box::new(listing))).is_break() {
                break;
            }
        }
        Ok(ScanStats::default())
    }

    /// A plain tree in memory has no bytes; size and time stand for them.
    fn digest(&self, _: &RelPath, _: &FileStamp) -> Result<[u8; 32], NoDigest> {
        Err(std::io::Error::other("nothing is stored").into())
    }
}

impl Script {
    /// Returns what changed from `before` to `at`: each node that did with all its names, some that did not, in no order.
    fn changes(&self, before: Time, at: Time) -> Changes {
        let (old, new) = (&self.copies[&before], &self.copies[&at]);
        let mut dice = Dice::new(self.recipe.seed ^ at.0 as u64);
        let names_of = |tree: &Plain, number: u64| -> BTreeSet<(u64, Vec<u8>)> {
            tree.names().into_iter().filter(|(_, _, n)| *n == number).map(|(dir, name, _)| (dir, name)).collect()
        };
        let entry_name = |name: &[u8]| EntryName::new(name).expect("a test name is one");
        let mut changes = Changes::default();
        for (number, node) in &new.nodes {
            let names = names_of(new, *number);
            let same =
                old.nodes.get(number).is_some_and(|was| was.attrs == node.attrs) && names == names_of(old, *number);
            if same && dice.roll(6) > 0 {
                continue;
            }
            let content = |n: &PlainNode| (n.attrs.size_bytes, n.attrs.mtime);
            changes.nodes.push(NodeState {
                key: self.key(at, *number),
                attrs: node.attrs.clone(),
                unreadable: false,
                origin: 0,
                names: names.iter().map(|(dir, name)| (self.key(at, *dir), entry_name(name))).collect(),
                data: old.nodes.get(number).is_some_and(|was| content(was) != content(node)),
                made: !old.nodes.contains_key(number),
            });
        }
        // A removed directory is told and what was in it is not always.
        for number in old.nodes.keys().filter(|number| !new.nodes.contains_key(number)) {
            let parents: Vec<u64> = names_of(old, *number).into_iter().map(|(dir, _)| dir).collect();
            let is_left_over = parents.iter().all(|dir| !new.nodes.contains_key(dir));
            if !is_left_over || dice.roll(2) == 0 {
                changes.gone.push(self.key(at, *number));
            }
        }
        for (dir, name, number) in old.names() {
            let now = new.nodes.get(&dir).and_then(|node| node.children.get(&name)).copied();
            if dice.roll(3) == 0 || (now.is_none() && new.nodes.contains_key(&number) && dice.roll(2) == 0) {
                changes.names.push((self.key(at, dir), entry_name(&name), now.map(|n| self.key(at, n))));
            }
        }
        dice.shuffle(&mut changes.nodes);
        dice.shuffle(&mut changes.names);
        changes
    }
}

/// Takes no bytes, and says where they would be.
struct NoBytes(usize);

impl Keep for NoBytes {
    fn file(&mut self, file: FileToKeep<'_>) -> Result<Kept, KeepError> {
        Ok(if file.held.is_some() { Kept::Held } else { Kept::Copied { moved: None } })
    }

    fn link(&mut self, _path: &RelPath, _key: FileKey) -> Result<(), KeepError> {
        Ok(())
    }

    fn other(&mut self, _path: &RelPath, _attrs: &Attrs, _is_new: bool) -> Result<(), KeepError> {
        Ok(())
    }

    fn seal(&mut self, _generation: &GenerationWriter<'_>) -> Result<String, KeepError> {
        Ok(format!("\"after {}\"", self.0))
    }
}

/// A catalog that histories in memory are indexed into.
struct Bench {
    folder: tempfile::TempDir,
    script: Script,
    writer: Writer,
    source: SourceRow,
}

impl Recipe {
    /// Returns when two versions are the same by this recipe.
    fn rule(&self) -> Rule {
        match (self.is_told, self.inode_identity) {
            (true, _) => Rule::WRITES,
            (false, true) => Rule::SNAPSHOTS,
            (false, false) => Rule::COPIES,
        }
    }
}

impl Bench {
    fn new(recipe: Recipe, history: &[Plain]) -> Self {
        // In memory where there is such a place: each generation is synced, and a disk would be waited for.
        let memory = Path::new("/dev/shm");
        let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        let folder = folder.expect("a temporary folder can be made");
        let path = folder.path().join("catalog.db");
        Writer::create(&path).expect("a new catalog can be made");
        let mut writer = Writer::open(&path).expect("it can be written");
        let new =
            NewSource { name: "homes", kind: SourceKind::Nfs, settings: "{}", rule: recipe.rule(), added_at: Time(0) };
        writer.add_source(&new).expect("a source can be added");
        let source = Reader::open(&path).and_then(|reader| reader.source("homes")).expect("it was added");
        let copies = history.iter().enumerate().map(|(n, tree)| (instant(n), tree.clone())).collect();
        Self { folder, script: Script { copies, recipe }, writer, source }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("catalog.db")
    }

    fn index(&mut self, generation: usize) -> u64 {
        if self.script.recipe.is_told {
            return self.take(generation);
        }
        let found = Found { taken_at: instant(generation), path: PathBuf::from(format!("/copies/{generation}")) };
        let copy = NewCopy {
            source: &self.source,
            found: &found,
            store: Path::new("/copies"),
            again: false,
            settle: std::time::Duration::ZERO,
            root: None,
        };
        index_copy(&mut self.writer, &copy, &self.script, &Fixed(NOW), &Void).expect("it can be indexed").changed_nodes
    }

    /// Takes a generation as the source tells it: all of the first, then what changed.
    fn take(&mut self, generation: usize) -> u64 {
        let at = instant(generation);
        let level = if generation == 0 { Level::Full } else { Level::Incremental };
        let taken = Taken { source: &self.source, at, level, store: Path::new("/store"), below: b"copy" };
        let before = self.writer.resume(self.source.id).expect("the catalog can be read");
        let mut walk = |each: &mut dyn FnMut(Listing) -> ControlFlow<()>| {
            let found = Found { taken_at: at, path: PathBuf::from("/volume") };
            let each = &mut |walked| match walked {
                Walked::Listing(listing) => each(*listing),
                Walked::Waiting => ControlFlow::Continue(()),
            };
            self.script.open(&found)?.scan(each).map(drop)
        };
        let told = match &before {
            None => Told::All(&mut walk),
            Some(_) => {
                let changes = self.script.changes(instant(generation - 1), at);
                Told::Changes { changes, root: self.script.key(at, ROOT), scan: Scan::Changelog }
            }
        };
        let mut keep = NoBytes(generation);
        let done = index_taken(&mut self.writer, &taken, told, &mut keep, &Fixed(NOW), &Void).expect("it can be taken");
        let after = self.writer.resume(self.source.id).expect("the catalog can be read").expect("it was published");
        assert_eq!(after.state, Some(format!("\"after {generation}\"")));
        let tree = &self.script.copies[&at];
        assert_eq!(after.entries, tree.names().len() as u64, "names of generation {generation}");
        let files = tree.nodes.values().filter(|node| node.attrs.kind() == Kind::File);
        let size_bytes: u64 = files.map(|node| node.attrs.size_bytes).sum();
        assert_eq!(after.size_bytes, size_bytes, "bytes of generation {generation}");
        done.changed_nodes
    }

    fn tree(&self) -> Tree {
        Tree::over(&self.path(), 8, Arc::new(Fixed(NOW)), jiff::tz::TimeZone::UTC).expect("a tree over the catalog")
    }

    /// Returns the rows that `sql` gives.
    fn ask(&self, sql: &str) -> Vec<Vec<Column>> {
        let mut query = Query::open(
            &self.path(),
            QueryLimits { time: Duration::from_secs(600), memory_bytes: 256 << 20 },
            &Dates::utc(Time(0)),
        )
        .expect("it can be read");
        let mut rows = Vec::new();
        let mut each = |row| {
            rows.push(row);
            ControlFlow::Continue(())
        };
        query.run(sql, &mut |_| {}, &mut each).unwrap_or_else(|e| panic!("{sql}: {e}"));
        rows
    }
}

fn instant(generation: usize) -> Time {
    Time(FIRST + generation as i64 * DAY)
}

/// Returns the top directory of generation `n`.
fn root_of(tree: &Tree, n: usize) -> Ino {
    common::ino_of(tree, &format!("homes/@{}", instant(n).view_name())).expect("a generation that was indexed is there")
}

/// Returns the node of every path.
fn nodes_of(tree: &Tree, root: Ino) -> BTreeMap<Vec<u8>, i64> {
    const NODE_MASK: u64 = (1 << 36) - 1;
    let number = |ino: Ino| (ino.0 & NODE_MASK) as i64;
    let mut nodes = BTreeMap::from([(Vec::new(), number(root))]);
    let mut todo = vec![(Vec::new(), root)];
    while let Some((path, dir)) = todo.pop() {
        for (name, stat) in listing(tree, dir) {
            let below = joined(&path, &name);
            nodes.insert(below.clone(), number(stat.ino));
            if stat.kind == Kind::Directory {
                todo.push((below, stat.ino));
            }
        }
    }
    nodes
}

/// Checks that no name is found that is not there.
fn assert_nothing_more(tree: &Tree, root: Ino, plain: &Plain, what: &dyn Display) {
    let nodes = nodes_of(tree, root);
    let view = root.0 & !((1 << 36) - 1);
    for (path, number) in plain.paths() {
        let node = &plain.nodes[&number];
        if node.attrs.kind() != Kind::Directory {
            continue;
        }
        for name in NAMES.iter().filter(|name| !node.children.contains_key(**name)) {
            let dir = Ino(view | nodes[&path] as u64);
            let found = tree.lookup(dir, name).expect("a look-up answers");
            assert!(
                matches!(found, Looked::Missing(_)),
                "{what}: {:?} in {:?}",
                escape_bytes(name),
                escape_bytes(&path)
            );
        }
    }
}

const CREATED: i64 = 1;
const CONTENT: i64 = 2;
const ATTRIBUTES: i64 = 4;
const LINKED: i64 = 8;
const UNLINKED: i64 = 16;

/// For each node its places, by directory and name, with the whole path of each.
type NamesByNode = BTreeMap<i64, BTreeMap<(i64, Vec<u8>), Vec<u8>>>;

/// One generation with the nodes that the catalog gave it.
struct Numbered {
    nodes: BTreeMap<Vec<u8>, i64>,
    /// Directory and name of every name of a node, with its path.
    names: NamesByNode,
    attrs: BTreeMap<i64, Attrs>,
}

impl Numbered {
    fn new(plain: &Plain, nodes: BTreeMap<Vec<u8>, i64>) -> Self {
        let mut names = NamesByNode::new();
        let mut attrs = BTreeMap::new();
        for (path, number) in plain.paths() {
            let node = nodes[&path];
            attrs.insert(node, plain.nodes[&number].attrs.clone());
            let all = names.entry(node).or_default();
            if !path.is_empty() {
                let cut = path.iter().rposition(|b| *b == b'/');
                let (dir, name) = cut.map_or((&b""[..], &path[..]), |cut| (&path[..cut], &path[cut + 1..]));
                all.insert((nodes[dir], name.to_vec()), path.clone());
            }
        }
        Self { nodes, names, attrs }
    }
}

/// Returns what the second generation did to each node of the first, by comparing plain trees.
fn changes_between(before: &Numbered, after: &Numbered, inode_identity: bool) -> BTreeMap<i64, i64> {
    let mut changes = BTreeMap::new();
    let none = BTreeMap::new();
    for node in before.names.keys().chain(after.names.keys()).collect::<BTreeSet<_>>() {
        let (old, new) = (before.names.get(node).unwrap_or(&none), after.names.get(node).unwrap_or(&none));
        let mut op = 0;
        op |= if new.keys().any(|name| !old.contains_key(name)) { LINKED } else { 0 };
        op |= if old.keys().any(|name| !new.contains_key(name)) { UNLINKED } else { 0 };
        op |= match (before.attrs.get(node), after.attrs.get(node)) {
            (None, Some(_)) => CREATED,
            (Some(old), Some(new)) => difference(old, new, inode_identity),
            _ => 0,
        };
        if op != 0 {
            changes.insert(*node, op);
        }
    }
    changes
}

/// The content of a file is new when its size or time is, of a link when its target is, of a device when its number is; a
/// time of anything but a file is an attribute. The ctime counts where the copies keep it.
fn difference(old: &Attrs, new: &Attrs, inode_identity: bool) -> i64 {
    let is_file = new.kind() == Kind::File;
    let stamp = (old.size_bytes, old.mtime) != (new.size_bytes, new.mtime);
    let content = (is_file && stamp) || old.target != new.target || old.rdev != new.rdev;
    let rights = |a: &Attrs| (a.mode, a.uid, a.gid, a.nlink, a.xattrs.clone());
    let ctime = inode_identity && old.ctime != new.ctime;
    let attributes = rights(old) != rights(new) || (!is_file && stamp) || ctime;
    (if content { CONTENT } else { 0 }) | (if attributes { ATTRIBUTES } else { 0 })
}

/// Checks table `change` for every generation of a history.
fn assert_changes(bench: &Bench, generations: &[(usize, Numbered)], what: &dyn Display) {
    let inode_identity = bench.script.recipe.inode_identity;
    for (place, (n, after)) in generations.iter().enumerate() {
        let expected = match place {
            0 => BTreeMap::new(),
            place => changes_between(&generations[place - 1].1, after, inode_identity),
        };
        let rows = bench.ask(&format!("SELECT node, op FROM change WHERE at = {} ORDER BY node", instant(*n).0));
        let found: BTreeMap<i64, i64> = rows.iter().map(|row| (integer(&row[0]), integer(&row[1]))).collect();
        if found != expected {
            let of = |node: &i64| {
                let name = |g: &Numbered| {
                    g.nodes.iter().find(|(_, n)| *n == node).map(|(path, _)| escape_bytes(path).into_owned())
                };
                let before = place.checked_sub(1).and_then(|p| name(&generations[p].1));
                format!(
                    "node {node} ({:?} -> {:?}) found {:?} expected {:?}",
                    before,
                    name(after),
                    found.get(node),
                    expected.get(node)
                )
            };
            let nodes: BTreeSet<_> = found.keys().chain(expected.keys()).collect();
            let wrong: Vec<String> = nodes.into_iter().filter(|n| found.get(n) != expected.get(n)).map(of).collect();
            panic!("{what}: changes of generation {n}: {}", wrong.join("; "));
        }
    }
}

fn integer(column: &Column) -> i64 {
    match column {
        Column::Integer(n) => *n,
        other => panic!("{other:?} is no whole number"),
    }
}

/// Indexes `history` in `order` and compares everything with it after every step.
fn check_history(recipe: Recipe, history: &[Plain], order: &[usize], all_steps: bool) {
    let mut bench = Bench::new(recipe, history);
    let tree = bench.tree();
    let expected: Vec<Picture> = history.iter().map(|plain| plain.picture(recipe.inode_identity)).collect();
    for step in 1..=order.len() {
        let newest = order[step - 1];
        bench.index(newest);
        tree.refresh().expect("the catalog can be read");
        let mut known = order[..step].to_vec();
        known.sort_unstable();
        let is_last = step == order.len();
        let what = |n: usize| format!("{recipe:?} in order {order:?}, after step {step}, generation {n}");
        for n in known.iter().copied().filter(|n| all_steps || is_last || *n == newest) {
            let root = root_of(&tree, n);
            let found = picture_of_view(&tree, root, false, recipe.inode_identity);
            assert_same(&found, &expected[n], &what(n));
            if is_last || n == newest {
                assert_nothing_more(&tree, root, &history[n], &what(n));
            }
        }
        if all_steps || is_last {
            let numbered = |n: usize| (n, Numbered::new(&history[n], nodes_of(&tree, root_of(&tree, n))));
            let generations: Vec<_> = known.iter().map(|n| numbered(*n)).collect();
            assert_changes(&bench, &generations, &what(newest));
            if is_last && recipe.seed.is_multiple_of(5) {
                views::assert_views(&bench, &generations, &what(newest));
            }
        }
    }
}

/// The public views, asked by the program and by the system's `sqlite3`, against plain trees.
mod views {
    use super::{ATTRIBUTES, Bench, CONTENT, CREATED, Numbered, changes_between, instant};
    use asof::catalog::Column;
    use asof::model::{Attrs, Kind, escape_bytes};
    use std::collections::BTreeMap;
    use std::fmt::Display;
    use std::process::Command;

    /// Rows as text, sorted.
    type Rows = Vec<Vec<String>>;

    /// Checks `files`, `changes`, `deleted` and `versions` for every generation of a history.
    pub(super) fn assert_views(bench: &Bench, generations: &[(usize, Numbered)], what: &dyn Display) {
        let files = "SELECT quote(taken_at_unix), quote(path), quote(kind), quote(size_bytes), quote(mtime_unix), \
             quote(mtime_ns), quote(mode), quote(uid), quote(gid), quote(nlink), quote(has_xattrs), \
             quote(link_target), quote(hex(name_raw)), quote(node) FROM files WHERE source = 'homes'";
        assert_rows(&ask_both(bench, files), generations.iter().flat_map(files_of).collect(), "files", what);
        let changes = "SELECT quote(taken_at_unix), quote(what), quote(path), quote(old_path), quote(kind), quote(node) \
             FROM changes WHERE source = 'homes'";
        let inode_identity = bench.script.recipe.inode_identity;
        let expected = (0..generations.len()).flat_map(|n| changes_of(generations, n, inode_identity)).collect();
        assert_rows(&ask_both(bench, changes), expected, "changes", what);
        let deleted = "SELECT quote(deleted_in_unix), quote(last_seen_unix), quote(path), quote(kind), quote(size_bytes) \
             FROM deleted WHERE source = 'homes'";
        let expected = (1..generations.len()).flat_map(|n| deleted_of(generations, n)).collect();
        assert_rows(&ask_both(bench, deleted), expected, "deleted", what);
        for (n, generation) in generations {
            let at = instant(*n).0;
            let versions = format!(
                "SELECT quote(node), quote(hex(name_raw)), quote(kind), quote(size_bytes), quote(mtime_unix), quote(mtime_ns), \
                 quote(mode), quote(uid), quote(gid), quote(nlink) FROM versions WHERE source = 'homes' \
                 AND strftime('%s', since) + 0 <= {at} AND (until IS NULL OR strftime('%s', until) + 0 > {at})"
            );
            assert_rows(
                &ask_both(bench, &versions),
                versions_of(generation),
                "versions",
                &format!("{what}, as of {n}"),
            );
        }
    }

    fn assert_rows(found: &Rows, mut expected: Rows, view: &str, what: &dyn Display) {
        expected.sort();
        let missing: Rows = expected.iter().filter(|row| !found.contains(row)).cloned().collect();
        let surplus: Rows = found.iter().filter(|row| !expected.contains(row)).cloned().collect();
        assert!(
            found.len() == expected.len() && missing.is_empty() && surplus.is_empty(),
            "{what}: view {view} has {} rows of {}\nlacks {missing:?}\nhas {surplus:?}",
            found.len(),
            expected.len()
        );
    }

    /// Asks the program's SQL and the system's, which must agree.
    fn ask_both(bench: &Bench, sql: &str) -> Rows {
        let text = |column: Column| match column {
            Column::Text(bytes) => String::from_utf8(bytes).expect("quoted text is UTF-8"),
            other => panic!("{other:?} was not quoted"),
        };
        let mut rows: Rows = bench.ask(sql).into_iter().map(|row| row.into_iter().map(text).collect()).collect();
        rows.sort();
        let path = bench.path();
        match Command::new("sqlite3").args(["-readonly", "-batch"]).arg(&path).arg(sql).output() {
            Err(e) => eprintln!("SKIPPED: the views were not asked by the system's sqlite3: {e}"),
            Ok(output) => {
                let said = String::from_utf8_lossy(&output.stderr);
                assert!(output.status.success(), "sqlite3: {said}");
                let told = String::from_utf8(output.stdout).expect("quoted text is UTF-8");
                let mut lines: Vec<&str> = told.lines().collect();
                lines.sort_unstable();
                let mut ours: Vec<String> = rows.iter().map(|row| row.join("|")).collect();
                ours.sort_unstable();
                assert_eq!(ours, lines, "the program and sqlite3 answer alike: {sql}");
            }
        }
        rows
    }

    fn quoted(text: &str) -> String {
        format!("'{}'", text.replace('\'', "''"))
    }

    fn hex(bytes: &[u8]) -> String {
        quoted(&bytes.iter().map(|b| format!("{b:02X}")).collect::<String>())
    }

    fn path_text(path: &[u8]) -> String {
        quoted(&escape_bytes(path))
    }

    fn kind_text(attrs: &Attrs) -> String {
        quoted(match attrs.kind() {
            Kind::File => "file",
            Kind::Directory => "directory",
            Kind::Symlink => "symlink",
            Kind::Fifo => "fifo",
            Kind::Socket => "socket",
            Kind::CharDevice => "character device",
            Kind::BlockDevice => "block device",
        })
    }

    fn attributes_text(attrs: &Attrs) -> Vec<String> {
        vec![
            kind_text(attrs),
            attrs.size_bytes.to_string(),
            attrs.mtime.seconds.to_string(),
            attrs.mtime.nanos.to_string(),
            quoted(&format!("{:04o}", attrs.mode & 0o7777)),
            attrs.uid.to_string(),
            attrs.gid.to_string(),
            attrs.nlink.to_string(),
        ]
    }

    fn files_of((n, generation): &(usize, Numbered)) -> Rows {
        let mut rows = Rows::new();
        for (node, names) in &generation.names {
            let attrs = &generation.attrs[node];
            for ((_, name), path) in names {
                let mut row = vec![instant(*n).0.to_string(), path_text(path)];
                row.extend(attributes_text(attrs));
                row.push(u8::from(!attrs.xattrs.is_empty()).to_string());
                row.push(if attrs.target.is_empty() { "NULL".to_owned() } else { path_text(&attrs.target) });
                row.extend([hex(name), node.to_string()]);
                rows.push(row);
            }
        }
        rows
    }

    fn versions_of(generation: &Numbered) -> Rows {
        let mut rows = Rows::new();
        for (node, names) in &generation.names {
            for (_, name) in names.keys() {
                let mut row = vec![node.to_string(), hex(name)];
                row.extend(attributes_text(&generation.attrs[node]));
                rows.push(row);
            }
        }
        rows
    }

    /// New names of a new node are created. New and lost names of one that lived and lives are paired in the order of
    /// directory and name: a pair is renamed, a new name without partner is linked, a lost one is unlinked. Lost names of
    /// a node that is gone are deleted. What was changed and not created is told for each of its names.
    fn changes_of(generations: &[(usize, Numbered)], place: usize, inode_identity: bool) -> Rows {
        let (n, after) = &generations[place];
        let mut rows = Rows::new();
        let mut tell = |what: &str, path: &[u8], old_path: Option<&Vec<u8>>, attrs: &Attrs, node: i64| {
            let old_path = old_path.map_or("NULL".to_owned(), |path| path_text(path));
            let row = vec![
                instant(*n).0.to_string(),
                quoted(what),
                path_text(path),
                old_path,
                kind_text(attrs),
                node.to_string(),
            ];
            rows.push(row);
        };
        let Some((_, before)) = place.checked_sub(1).map(|p| &generations[p]) else {
            for (node, names) in &after.names {
                names.values().for_each(|path| tell("created", path, None, &after.attrs[node], *node));
            }
            return rows;
        };
        let none = BTreeMap::new();
        for (node, op) in changes_between(before, after, inode_identity) {
            let (old, new) = (before.names.get(&node).unwrap_or(&none), after.names.get(&node).unwrap_or(&none));
            let lost: Vec<&Vec<u8>> =
                old.iter().filter(|(name, _)| !new.contains_key(*name)).map(|(_, path)| path).collect();
            let got: Vec<&Vec<u8>> =
                new.iter().filter(|(name, _)| !old.contains_key(*name)).map(|(_, path)| path).collect();
            for (place, path) in got.iter().enumerate() {
                let attrs = &after.attrs[&node];
                match (op & CREATED != 0, lost.get(place)) {
                    (true, _) => tell("created", path, None, attrs, node),
                    (false, Some(partner)) => tell("renamed", path, Some(partner), attrs, node),
                    (false, None) => tell("linked", path, None, attrs, node),
                }
            }
            let what = if new.is_empty() { "deleted" } else { "unlinked" };
            lost.iter().skip(got.len()).for_each(|path| tell(what, path, None, &before.attrs[&node], node));
            if op & CREATED == 0 && op & (CONTENT | ATTRIBUTES) != 0 {
                let what = if op & CONTENT != 0 { "modified" } else { "attributes" };
                if node == after.nodes[&b""[..]] {
                    tell(what, b".", None, &after.attrs[&node], node);
                }
                new.values().for_each(|path| tell(what, path, None, &after.attrs[&node], node));
            }
        }
        rows
    }

    fn deleted_of(generations: &[(usize, Numbered)], place: usize) -> Rows {
        let ((n, after), (last, before)) = (&generations[place], &generations[place - 1]);
        let mut rows = Rows::new();
        for (node, names) in &before.names {
            let attrs = &before.attrs[node];
            for (name, path) in names {
                if !after.names.values().any(|names| names.contains_key(name)) {
                    let (n, last) = (instant(*n).0.to_string(), instant(*last).0.to_string());
                    rows.push(vec![n, last, path_text(path), kind_text(attrs), attrs.size_bytes.to_string()]);
                }
            }
        }
        rows
    }
}

/// Runs `check` for each seed, or for the one of `ASOF_SEED`.
fn for_seeds(seeds: std::ops::Range<u64>, mut check: impl FnMut(u64)) {
    let only = std::env::var("ASOF_SEED").ok().map(|text| text.parse::<u64>().expect("ASOF_SEED is a number"));
    for seed in seeds.filter(|seed| only.is_none_or(|only| only == *seed)) {
        let _named = NameOnPanic(seed);
        check(seed);
    }
}

/// Tells the seed when what runs meanwhile panics.
struct NameOnPanic(u64);

impl Drop for NameOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("run it alone with ASOF_SEED={}", self.0);
        }
    }
}

fn shuffled(recipe: Recipe) -> Vec<usize> {
    let mut order: Vec<usize> = (0..recipe.generations).collect();
    Dice::new(recipe.seed ^ 0xffff).shuffle(&mut order);
    order
}

fn oldest_first(recipe: Recipe) -> Vec<usize> {
    (0..recipe.generations).collect()
}

fn small(seed: u64, inode_identity: bool) -> Recipe {
    Recipe { seed, generations: 5, changes_first: 5, changes_max: 3, inode_identity, is_told: false }
}

fn large(seed: u64, inode_identity: bool) -> Recipe {
    Recipe { seed, generations: 12, changes_first: 30, changes_max: 9, inode_identity, is_told: false }
}

/// Small histories first: what fails here is short enough to be read.
#[test]
fn small_histories_by_path_read_back_equal_in_any_order() {
    for_seeds(0..100, |seed| {
        let recipe = small(seed, false);
        let history = Maker::history(recipe);
        check_history(recipe, &history, &oldest_first(recipe), true);
        check_history(recipe, &history, &shuffled(recipe), true);
    });
}

#[test]
fn small_histories_by_inode_number_read_back_equal_in_any_order() {
    for_seeds(0..100, |seed| {
        let recipe = small(seed, true);
        let history = Maker::history(recipe);
        check_history(recipe, &history, &oldest_first(recipe), true);
        check_history(recipe, &history, &shuffled(recipe), true);
    });
}

#[test]
fn histories_by_path_read_back_equal_in_any_order() {
    for_seeds(0..100, |seed| {
        let recipe = large(seed, false);
        let history = Maker::history(recipe);
        check_history(recipe, &history, &oldest_first(recipe), false);
        check_history(recipe, &history, &shuffled(recipe), true);
    });
}

#[test]
fn histories_by_inode_number_read_back_equal_in_any_order() {
    for_seeds(0..100, |seed| {
        let recipe = large(seed, true);
        let history = Maker::history(recipe);
        check_history(recipe, &history, &oldest_first(recipe), false);
        check_history(recipe, &history, &shuffled(recipe), true);
    });
}

#[test]
fn histories_of_a_source_that_tells_what_changed_read_back_equal() {
    for_seeds(0..200, |seed| {
        // Numbers are for life, as gfids are.
        let seed = 2 * seed + 1;
        let recipe = Recipe { is_told: true, ..if seed < 200 { small(seed, true) } else { large(seed, true) } };
        check_history(recipe, &Maker::history(recipe), &oldest_first(recipe), true);
    });
}

/// `system.posix_acl_access` as `acl(5)` lays it out: version 2, then type, rights and id of user 6, user 1000 4, group 4,
/// mask 4 and others 4.
const ACL: &[u8] = b"\x02\0\0\0\x01\0\x06\0\xff\xff\xff\xff\x02\0\x04\0\xe8\x03\0\0\x04\0\x04\0\xff\xff\xff\xff\
    \x10\0\x04\0\xff\xff\xff\xff\x20\0\x04\0\xff\xff\xff\xff";

/// Changes one thing in a tree on a disk; every file that changes gets a time of its own.
fn change_on_disk(tree: &PlainTree, dice: &mut Dice, ticks: &mut i64) {
    let picture = picture_of_copy(tree.path());
    let of = |wanted: fn(Kind) -> bool| -> Vec<Vec<u8>> {
        picture.iter().filter(|(path, s)| wanted(s.kind) && !path.is_empty()).map(|(path, _)| path.clone()).collect()
    };
    let mut directories = of(|kind| kind == Kind::Directory);
    directories.push(Vec::new());
    let files = of(|kind| kind == Kind::File);
    let others = of(|kind| kind != Kind::Directory);
    let dir = dice.pick(&directories).expect("the root is one");
    let place = joined(&dir, NAMES[dice.roll(NAMES.len())]);
    let free = !picture.contains_key(&place);
    *ticks += 1;
    let (seconds, nanos) = (1_600_000_000 + *ticks, (*ticks * 7_919_333 % 1_000_000_000) as u32);
    let bytes: Vec<u8> = (0..dice.roll(9000)).map(|n| (n as i64 * 31 + *ticks) as u8).collect();
    let any = dice.pick(&of(|_| true));
    match (dice.roll(15), any, dice.pick(&files), dice.pick(&others)) {
        (0, Some(path), ..) => drop(tree.remove(&path)),
        (1, Some(path), ..) if free && !joined(&dir, b"").starts_with(&joined(&path, b"")) && dir != path => {
            tree.rename(&path, &place);
        }
        // Written in place: all names of the file show it.
        (2 | 3, _, Some(path), _) => drop(tree.file(&path, bytes).mtime(&path, seconds, nanos)),
        (4, _, Some(path), _) => drop(tree.remove(&path).file(&path, bytes).mtime(&path, seconds, nanos)),
        (5, _, _, Some(path)) if free => drop(tree.hard_link(&path, &place)),
        (6, Some(path), ..) if picture[&path].kind != Kind::Symlink => {
            tree.mode(&path, [0o600, 0o4755, 0o1777][dice.roll(3)]);
        }
        (7, Some(path), ..) => drop(tree.owner(&path, [0, 1000][dice.roll(2)], [0, 4_000_000_000][dice.roll(2)])),
        (8, _, Some(path), _) => drop(tree.xattr(&path, "user.note", &bytes[..bytes.len().min(50)])),
        (9, _, Some(path), _) => drop(tree.xattr(&path, "system.posix_acl_access", ACL)),
        (10, Some(path), ..) if !free && path == place => drop(tree.remove(&path).directory(&path)),
        (11, ..) if free => drop(tree.symlink(&place, b"../\xff target").mtime(&place, seconds, nanos)),
        (12, ..) if free => drop(tree.directory(&place)),
        (13, ..) if free => {
            let kinds = [(Kind::Fifo, 0), (Kind::Socket, 0), (Kind::CharDevice, 0x0103), (Kind::BlockDevice, 0x0801)];
            let (kind, number) = kinds[dice.roll(4)];
            tree.special(&place, kind, number).mtime(&place, -seconds, nanos);
        }
        (14, ..) if free => {
            tree.sparse_file(&place, 1 << 20, 300_000, b"in the middle").mtime(&place, seconds, nanos);
        }
        _ if free => drop(tree.file(&place, bytes).mtime(&place, seconds, nanos)),
        _ => {}
    }
}

/// Makes copies of a changing tree, indexes them in `order` and compares all of them, bytes included, after every step.
fn check_on_disk(seed: u64, is_farm: bool, order: &[usize]) {
    let world = World::new();
    let mut dice = Dice::new(seed);
    let mut ticks = 0;
    let work = world.copy(".work");
    let name = |n: usize| format!("2026-11-{:02}", n + 1);
    let mut expected = Vec::new();
    for n in 0..order.len() {
        for _ in 0..if n == 0 { 40 } else { 12 } {
            change_on_disk(&work, &mut dice, &mut ticks);
        }
        let to = world.copies().join(name(n));
        if is_farm && n > 0 {
            work.farm_to(&to, &world.copies().join(name(n - 1)));
        } else {
            work.copy_to(&to);
        }
        expected.push(picture_of_copy(&to));
    }
    let tree = world.tree();
    for step in 1..=order.len() {
        world.index(&name(order[step - 1]));
        tree.refresh().expect("the catalog can be read");
        for n in &order[..step] {
            let root = common::ino_of(&tree, &format!("@{}T000000Z/homes", name(*n))).expect("it was indexed");
            let what = format!("seed {seed}, farm {is_farm}, order {order:?}, after step {step}, copy {}", name(*n));
            assert_same(&picture_of_view(&tree, root, true, false), &expected[*n], &what);
        }
    }
}

#[test]
fn copies_on_a_disk_read_back_equal_with_their_bytes_in_any_order() {
    for_seeds(0..6, |seed| {
        let mut order: Vec<usize> = (0..7).collect();
        if seed % 2 == 1 {
            Dice::new(seed).shuffle(&mut order);
        }
        check_on_disk(seed, false, &order);
    });
}

#[test]
fn link_farms_on_a_disk_read_back_equal_with_their_bytes_in_any_order() {
    if std::process::Command::new("rsync").arg("--version").output().is_err() {
        eprintln!("SKIPPED: link farms are made by rsync, which is not installed");
        return;
    }
    for_seeds(0..6, |seed| {
        let mut order: Vec<usize> = (0..7).collect();
        if seed % 2 == 1 {
            Dice::new(seed).shuffle(&mut order);
        }
        check_on_disk(seed, true, &order);
    });
}

#[test]
fn copies_that_the_program_indexes_read_back_equal() {
    let world = World::without_catalog();
    let (mut dice, mut ticks) = (Dice::new(1), 0);
    let work = world.copy(".work");
    let names = ["2026-11-18", "2026-11-19", "2026-11-20"];
    for name in names {
        for _ in 0..25 {
            change_on_disk(&work, &mut dice, &mut ticks);
        }
        work.copy_to(&world.copies().join(name));
    }
    let copies = world.copies().into_os_string().into_string().expect("a temporary path is UTF-8");
    for args in [&["init"][..], &["source", "add", "nfs", "homes", "--copies", &copies], &["index", "homes"]] {
        let output = world.asof(args);
        assert_eq!(output.status.code(), Some(0), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    let tree = world.tree();
    for name in names {
        let root = common::ino_of(&tree, &format!("@{name}/homes")).expect("it was indexed");
        assert_same(&picture_of_view(&tree, root, true, false), &picture_of_copy(&world.copies().join(name)), &name);
    }
}

/// Two file systems inside one copy, as nested subvolumes are, may give one inode number and birth time to two files.
#[test]
fn two_files_with_one_inode_number_on_two_devices_stay_two_files() {
    struct TwoDevices(Recipe);

    impl Source for TwoDevices {
        fn generations(&self) -> Result<Discovered, source::Error> {
            Ok(Discovered::default())
        }

        fn open(&self, _: &Found) -> Result<Box<dyn OpenCopy + '_>, source::Error> {
            Ok(Box::new(self))
        }
    }

    impl OpenCopy for &TwoDevices {
        fn top(&self) -> TopDirectory {
            TopDirectory::default()
        }

        fn scan(&self, each: &mut dyn FnMut(Walked) -> ControlFlow<()>) -> Result<ScanStats, source::Error> {
            let mut maker = Maker {
                dice: Dice::new(self.0.seed),
                tree: Plain { nodes: BTreeMap::new() },
                past: Vec::new(),
                next_number: ROOT,
                ticks: 0,
                reuses_numbers: false,
            };
            let mut file = |device: u64, name: &[u8]| ListedEntry {
                name: EntryName::new(name).expect("it is one"),
                key: FileKey { device, inode: 257, born_ns: 5 },
                attrs: maker.attrs(Kind::File),
                unreadable: false,
                origin: 0,
            };
            let entries = vec![file(1, b"a"), file(2, b"b")];
            let attrs = maker.attrs(Kind::Directory);
            let root = Some((FileKey { device: 1, inode: 256, born_ns: 1 }, attrs));
            let _ = each(Walked::Listing(Box::new(Listing {
                number: 0,
                path: RelPath::root(),
                root,
                entries,
                complete: true,
                findings: Vec::new(),
            })));
            Ok(ScanStats::default())
        }

        fn digest(&self, _: &RelPath, _: &FileStamp) -> Result<[u8; 32], NoDigest> {
            Err(std::io::Error::other("nothing is stored").into())
        }
    }

    let recipe = small(1, true);
    let mut bench = Bench::new(recipe, &[]);
    let found = Found { taken_at: instant(0), path: PathBuf::from("/copies/0") };
    let copy = NewCopy {
        source: &bench.source,
        found: &found,
        store: Path::new("/copies"),
        again: false,
        settle: std::time::Duration::ZERO,
        root: None,
    };
    index_copy(&mut bench.writer, &copy, &TwoDevices(recipe), &Fixed(NOW), &Void).expect("it can be indexed");
    let tree = bench.tree();
    let files = listing(&tree, root_of(&tree, 0));
    assert_eq!(files.len(), 2);
    assert_ne!(files[0].1.ino, files[1].1.ino, "they are no hard links");
    assert_ne!(files[0].1.mtime, files[1].1.mtime, "each has its own time");
}
